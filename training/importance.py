"""Importance sampling: a batch holds the windows that a model still gets wrong.

A model that is trained on knows most windows already, and a window costs the same whatever it
teaches. So the windows of a batch are chosen among several times as many candidates, by the tokens
that a scoring model gets wrong in them, and weighted by the inverse of their chance: what is
minimised stays the loss over the whole mixture, its gradient has less noise, and what the model
forgets meanwhile is still drawn (Katharopoulos and Fleuret, 2018, "Not All Samples Are Created
Equal: Deep Learning with Importance Sampling"). It pays where scoring is much cheaper than a step,
as in int8 on a CPU.

The scoring model does not change during a run, so a batch is a function of its number.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from random import Random
from typing import Any

import numpy as np
from numpy.typing import NDArray

from filter.engines import create_engine
from filter.errors import UsageError
from filter.model_directory import locate, read_model_directory
from filter.tokenizer import PageTokenizer
from training.config import ImportanceConfig
from training.data import IGNORED, WindowDataset

EVEN = 0.2
"""Share of the chances that all candidates have alike, so that no weight is beyond bounds."""

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
        self._chosen = lru_cache(maxsize=2)(self._choose)

    def __len__(self) -> int:
        return len(self.windows)

    def __getstate__(self) -> dict[str, Any]:
        return {key: value for key, value in self.__dict__.items() if key != "_chosen"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._chosen = lru_cache(maxsize=2)(self._choose)

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
    mixed = EVEN + (1 - EVEN) * (scores / mean if mean > 0 else 1.0) + np.zeros(len(scores))
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
    ends = np.cumsum(chances)
    ends *= count / ends[-1]  # rounding may not lose the last
    return [int(number) for number in np.searchsorted(ends, start + np.arange(count), "right")]


def importance_dataset(
    windows: WindowDataset, config: ImportanceConfig, labels: Sequence[str], *, batch: int
) -> ImportanceDataset:
    """The training mixture, chosen from by what a model directory's model gets wrong.

    Raises:
        UsageError: the model has other labels or another tokenizer than the run.
        WinnowError: there is no such model.
    """
    directory = read_model_directory(locate(config.model))
    if directory.labels[1:] != tuple(labels):
        raise UsageError(
            f"importance.model: {directory.path} has the labels {', '.join(directory.labels[1:])},"
            f" this run {', '.join(labels)}; name a model that was trained on the same"
        )
    tokenizer = PageTokenizer.from_directory(directory.path)
    if not _alike(tokenizer, windows.tokenizer):
        raise UsageError(
            f"importance.model: {directory.path} has another tokenizer than this run; name a model"
            " of the same base"
        )
    engine = create_engine(directory, pad_id=tokenizer.pad_id)

    def mistakes(pool: Sequence[Sample]) -> NDArray[np.float64]:
        logits = engine.logits(sample["input_ids"].astype(np.int32) for sample in pool)
        return np.array(
            [
                wrong_tokens(rows, sample["labels"])
                for rows, sample in zip(logits, pool, strict=True)
            ]
        )

    return ImportanceDataset(windows, mistakes, candidates=config.candidates, batch=batch)


def _alike(one: PageTokenizer, other: PageTokenizer) -> bool:
    """Whether two tokenizers give the same ids for every character up to U+D7FF."""
    characters = "".join(map(chr, range(0xD800)))
    return (
        (one.cls_id, one.sep_id, one.vocab_size) == (other.cls_id, other.sep_id, other.vocab_size)
    ) and np.array_equal(one.encode(characters).ids, other.encode(characters).ids)


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
