"""What a file of a model costs against float32 torch, in probabilities and in what is found.

Both run over the same pages through the filter itself, with its tokenizer, windows, temperature and
biases. Where the pages are labelled, both are judged through the same decoder. A file that costs
more than is allowed is refused.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from filter.content_filter import ContentFilter
from filter.decoder_settings import DecoderSettings
from filter.engines.onnx import open_network
from filter.language import han_share
from filter.model_directory import ONNX_FILES
from training.calibration.scoring import Point, Scored, filter_scorer, measure, score_pages
from training.corpus.records import LabelledPage
from training.evaluation.evaluate import all_labels
from training.model_files.graphs import ExportError

GENERATED_PAGES, GENERATED_CHARACTERS = 8, 400
TIMED_WINDOWS = 8


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What a file may cost.

    Attributes:
        tolerance: Difference of the probability of spam from float32 torch that all but a
            hundredth of the characters keep within.
        max_drop: How far the mean recall over the labels may fall.
        max_prose_loss_rise: How far the prose loss, pooled over the pages, may rise.
    """

    tolerance: float = 0.05
    max_drop: float = 0.01
    max_prose_loss_rise: float = 0.0005


def generated_pages(directory: Path) -> list[LabelledPage]:
    """Pages of Han characters of the vocabulary, drawn at random: better than none."""
    from tokenizers import Tokenizer

    tokens = Tokenizer.from_file(str(directory / "tokenizer.json")).get_vocab()
    characters = sorted(token for token in tokens if len(token) == 1)
    drawn_from = [char for char in characters if han_share(char) == 1 and char.isalpha()]
    rng = np.random.default_rng(0)
    texts = rng.choice(drawn_from or characters, (GENERATED_PAGES, GENERATED_CHARACTERS))
    return [
        LabelledPage(f"generated {number}", "".join(text), [], labelled=False)
        for number, text in enumerate(texts.tolist())
    ]


class Reference:
    """A model in float32 torch on some pages, which files are held against.

    Args:
        directory: The model directory.
        pages: What to compare on.
        windows: The windows of these pages, for timing.
    """

    def __init__(
        self,
        directory: Path,
        pages: Sequence[LabelledPage],
        windows: Sequence[NDArray[np.int64]],
    ) -> None:
        self.pages = pages
        self.windows = windows[:TIMED_WINDOWS]
        content_filter = ContentFilter.from_pretrained(
            directory, engine="torch", device="cpu", dtype="float32"
        )
        self.settings: DecoderSettings = content_filter.decoder
        self._n_labels = len(content_filter.labels)
        self.labels = all_labels(pages, content_filter.labels[1:])
        self.scored = self._score(content_filter)
        self.point = self._point(self.scored)

    @property
    def accuracy(self) -> dict[str, float | None]:
        """What the model finds and costs in float32 torch; empty where nothing is labelled."""
        return _accuracy(self.point) if self.scored.labelled.any() else {}

    def compare(self, directory: Path, dtype: str) -> dict[str, Any]:
        """The figures of a file: size, speed, error, and what it finds and costs.

        Args:
            directory: A model directory that holds it.
            dtype: Its number format.
        """
        content_filter = ContentFilter.from_pretrained(directory, engine="onnx", dtype=dtype)
        scored = self._score(content_filter)
        error = np.abs(scored.p_spam.astype(np.float64) - self.scored.p_spam)[scored.counted]
        path = directory / ONNX_FILES[dtype]
        figures: dict[str, Any] = {
            "bytes": path.stat().st_size,
            "milliseconds": self._milliseconds(path),
            "mean_error": float(error.mean()) if len(error) else 0.0,
            "p99_error": float(np.quantile(error, 0.99)) if len(error) else 0.0,
            "max_error": float(error.max(initial=0.0)),
        }
        if self.accuracy:
            figures["accuracy"] = _accuracy(self._point(scored))
        return figures

    def faults(self, figures: dict[str, Any], limits: Limits) -> list[str]:
        """What is beyond the limits, in words."""
        found = []
        if figures["p99_error"] > limits.tolerance:
            found.append(
                f"99% of the probabilities are within {figures['p99_error']:.4f} of torch's"
                f" (--tolerance {limits.tolerance:g}; the largest difference is"
                f" {figures['max_error']:.4f})"
            )
        ours, theirs = figures.get("accuracy"), self.accuracy
        if not ours:
            return found
        for name, words, limit, option, sign in (
            ("macro_recall", "macro recall", limits.max_drop, "--max-drop", -1),
            ("prose_loss", "prose loss", limits.max_prose_loss_rise, "--max-prose-loss-rise", 1),
        ):
            before, after = theirs[name], ours[name]
            if before is None or after is None:
                continue
            if sign * (after - before) > limit:
                found.append(f"{words} goes from {before:.5f} to {after:.5f} ({option} {limit:g})")
        return found

    def _score(self, content_filter: ContentFilter) -> Scored:
        scorer = filter_scorer(content_filter)
        return score_pages(self.pages, scorer, self.labels, min_han=self.settings.min_han)

    def _point(self, scored: Scored) -> Point:
        return measure(scored, threshold=self.settings.threshold, shape=self.settings.shape)

    def _milliseconds(self, path: Path) -> float:
        """Processor time of a window, which on one thread is what it costs a machine at work."""
        run = open_network(path, self._n_labels)
        seconds = []
        for window in self.windows:
            started = time.process_time()
            run(window)
            seconds.append(time.process_time() - started)
        return 1e3 * float(np.median(seconds))


def _accuracy(point: Point) -> dict[str, float | None]:
    return {
        "recall": point.recall,
        "macro_recall": point.macro_recall,
        "in_sentence_recall": point.in_sentence_recall,
        "prose_loss": point.prose_loss,
    }


def require(faults: dict[str, list[str]], directory: Path) -> None:
    """Refuse files that cost too much.

    Raises:
        ExportError: One has faults.
    """
    told = [f"{dtype}: {'; '.join(own)}" for dtype, own in faults.items() if own]
    if told:
        raise ExportError(
            f"{directory}: refused, and nothing was written: {'. '.join(told)}. Leave matrices in"
            " float32 with --exclude, or allow more"
        )
