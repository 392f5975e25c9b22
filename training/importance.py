"""Importance sampling: a batch holds the windows that a model still gets wrong.

A model that is trained on knows most windows already, and a window costs the same whatever it
teaches. So the windows of a batch are chosen among several times as many candidates, by the tokens
that a scoring model gets wrong in them, and weighted by the inverse of their chance: what is
minimised stays the loss over the whole mixture, its gradient has less noise, and what the model
forgets meanwhile is still drawn (Katharopoulos and Fleuret, 2018, "Not All Samples Are Created
Equal: Deep Learning with Importance Sampling"). It pays where scoring is much cheaper than a step,
as in int8 on a CPU.

The scoring model does not change during a run, so a batch is a function of its number, on one kind
of device. What is drawn hangs on the size of a batch: two processes do not train on what one with
batches twice as large would.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from filter.decoder_settings import read_json
from filter.engines import Engine, create_engine
from filter.errors import UsageError
from filter.model_directory import ModelDirectory, locate, read_model_directory
from training.config import TrainConfig
from training.data import IGNORED, Recent, WindowDataset

if TYPE_CHECKING:
    import torch

EVEN = 0.2
"""Share of the chances that all candidates have alike: no weight is above its inverse."""

Sample = dict[str, NDArray[Any]]

Mistakes = Callable[[Sequence[Sample]], NDArray[np.float64]]
"""Windows to the number of tokens, expected by a model, whose label it gets wrong: (windows,)."""


class ImportanceDataset:
    """`WindowDataset` with windows chosen by importance; each has its weight as ``weights``.

    Args:
        windows: the mixture; sample ``i`` is chosen among its next ``candidates`` for each sample.
        mistakes: what a model gets wrong.
        candidates: windows that one is chosen from.
        batch: samples that are chosen together: those of a batch.
    """

    def __init__(
        self, windows: WindowDataset, mistakes: Mistakes, *, candidates: int, batch: int
    ) -> None:
        self.windows = windows
        self.mistakes = mistakes
        self.candidates = candidates
        self.batch = batch
        self._chosen = Recent(self._choose, 2)

    def __len__(self) -> int:
        return len(self.windows)

    def __getitem__(self, index: int) -> Sample:
        batch, place = divmod(index, self.batch)
        return self._chosen(batch)[place]

    def _choose(self, batch: int) -> list[Sample]:
        size = self.batch * self.candidates
        pool: list[Sample] = [self.windows[batch * size + number] for number in range(size)]
        chances = inclusion_chances(self.mistakes(pool), self.batch)
        start = Random(f"{self.windows.seed}:importance:{batch}").random()
        return [
            {**pool[number], "weights": np.asarray(1 / (self.candidates * chances[number]), "f4")}
            for number in systematic_sample(chances, start)
        ]


def inclusion_chances(scores: NDArray[np.float64], count: int) -> NDArray[np.float64]:
    """Chances of being among ``count`` that are drawn: in proportion to the scores, 1 at most.

    Args:
        scores: (n,), none below 0; a share of `EVEN` of the chances is alike for all.
        count: how many are drawn, n at most.

    Returns:
        (n,) chances whose sum is ``count``.
    """
    mean = scores.mean()
    mixed = EVEN + (1 - EVEN) * (scores / mean if mean > 0 else np.ones(len(scores)))
    chances = np.zeros(len(scores))
    free = np.ones(len(scores), dtype=bool)
    while True:
        left = count - np.count_nonzero(~free)
        chances[free] = mixed[free] * left / mixed[free].sum() if left else 0.0
        above = free & (chances >= 1)
        if not above.any():
            return chances
        chances[above] = 1.0
        free &= ~above
        if not free.any():
            return chances


def systematic_sample(chances: NDArray[np.float64], start: float) -> list[int]:
    """Draws each number with its chance, as many as the chances sum to, none twice.

    Args:
        chances: (n,), 1 at most, with a whole sum.
        start: uniform in [0, 1).
    """
    count = round(float(chances.sum()))
    ends = np.round(np.cumsum(chances), 9)  # a chance of 1 is no more than 1
    drawn = np.searchsorted(ends, start + np.arange(count), "right")
    return [int(number) for number in np.minimum(drawn, len(chances) - 1)]


def scoring_model(config: TrainConfig) -> ModelDirectory:
    """The model directory that a run's windows are scored by.

    Raises:
        UsageError: the model has other labels than the run, or fewer positions than its windows.
        WinnowError: there is no such model.
    """
    assert config.importance is not None
    directory = read_model_directory(locate(config.importance.model))
    if directory.labels[1:] != tuple(config.label_names):
        raise UsageError(
            f"importance.model: {directory.path} has the labels {', '.join(directory.labels[1:])},"
            f" this run {', '.join(config.label_names)}; name a model that was trained on the same"
        )
    limit = read_json(directory.path / "config.json").get("max_position_embeddings")
    if isinstance(limit, int) and config.window > limit:
        raise UsageError(
            f"window: {config.window} tokens, but importance.model {directory.path} has positions"
            f" for {limit}; set window={limit} or less"
        )
    return directory


def check_same_tokenizer(model: ModelDirectory, tokenizer: Path) -> None:
    """Checks that a scoring model reads the ids of a run's tokenizer as the run does.

    Raises:
        UsageError: it has another vocabulary.
    """
    if _vocabulary(model.path) != _vocabulary(tokenizer):
        raise UsageError(
            f"importance.model: {model.path} has another tokenizer than this run ({tokenizer});"
            " name a model of the same base"
        )


def _vocabulary(directory: Path) -> tuple[object, dict[str, int]]:
    spec = read_json(directory / "tokenizer.json")
    added = {token["content"]: token["id"] for token in spec.get("added_tokens") or []}
    return spec.get("model"), added


def importance_dataset(
    windows: WindowDataset, config: TrainConfig, *, device: torch.device
) -> ImportanceDataset:
    """The training mixture, chosen from by what a model directory's model gets wrong.

    Args:
        windows: the mixture.
        config: with `importance`, checked by `scoring_model`.
        device: what the run trains on. The model scores there, too, but on the CPU with a thread
            in each worker, where batches are prepared beside the training.
    """
    assert config.importance is not None
    mistakes = ModelMistakes(
        scoring_model(config),
        device="cpu" if config.workers else str(device),
        threads=1 if config.workers else None,
        pad_id=windows.tokenizer.pad_id,
    )
    return ImportanceDataset(
        windows, mistakes, candidates=config.importance.candidates, batch=config.batch_size
    )


class ModelMistakes:
    """What the model of a directory gets wrong; it is opened on first use in each process.

    Args:
        directory: the model.
        device: as `create_engine` takes it.
        threads: on a CPU; none for as many as there are processors.
        pad_id: token that fills up a batch.
    """

    def __init__(
        self, directory: ModelDirectory, *, device: str, threads: int | None, pad_id: int
    ) -> None:
        self.directory = directory
        self.device = device
        self.threads = threads
        self.pad_id = pad_id
        self._engine: Engine | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_engine": None}

    def __call__(self, pool: Sequence[Sample]) -> NDArray[np.float64]:
        if self._engine is None:
            self._engine = create_engine(
                self.directory, device=self.device, threads=self.threads, pad_id=self.pad_id
            )
        logits = self._engine.logits(sample["input_ids"].astype(np.int32) for sample in pool)
        pairs = zip(logits, pool, strict=True)
        return np.array([wrong_tokens(rows, sample["labels"]) for rows, sample in pairs])


def wrong_tokens(logits: NDArray[np.float32], labels: NDArray[np.int64]) -> float:
    """The sum over counted tokens of one less the probability of their label.

    Args:
        logits: (tokens, 1 + labels).
        labels: (tokens,), `IGNORED` where none counts.
    """
    counted = labels != IGNORED
    rows = np.exp(logits[counted] - logits[counted].max(axis=1, keepdims=True))
    right = rows[np.arange(len(rows)), labels[counted]] / rows.sum(axis=1)
    return float((1 - right).sum())
