"""Decoder settings chosen on data: how much prose may be lost, and what that buys.

Pages are scored once. Every setting is then tried on the stored probabilities through the same
operators that the decoder runs, and of all settings that keep the pooled prose loss within its
bounds, on plain prose and on labelled pages, the one that finds most is written to decoder.json,
together with the curve of prose loss and recall by threshold.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from filter.content_filter import ContentFilter
from filter.decoder_settings import FORMAT, CurvePoint, DecoderSettings, read_decoder
from filter.decoding import Lines, close_holes, hysteresis
from filter.errors import UsageError, WinnowError
from filter.labels import IN_SENTENCE
from training.bias import fit_bias
from training.corpus import (
    LabelledPage,
    ignored_mask,
    label_array,
    read_corpora,
    without_near_misses,
)
from training.evaluate import all_labels
from training.export import write_json

THRESHOLDS = tuple(
    float(f"{1 / (1 + np.exp(-x)):.5f}") for x in np.linspace(-4, 9, 79)
)  # 0.018 to 0.99988, evenly in log odds
LOW_RATIOS = (0.1, 0.2, 0.35, 0.5, 0.7, 1.0)
MIN_GAPS = (0, 1, 2, 3)
TEMPERATURES = tuple(float(x) for x in np.round(np.geomspace(0.4, 4.0, 60), 3))

BIAS_PAGES = 800
"""Pages of plain prose that the biases are chosen on; all of them for the threshold."""

PredictProba = Callable[[str], NDArray[np.float32]]


@dataclass(frozen=True)
class Scored:
    """The characters of several pages that are not blank, with the model's probability.

    Pages follow each other with one character of no probability between them, which is ignored, so
    that the decoder's operators run over all of them at once and never across a border.

    Attributes:
        p_spam: (n,) probability that the character is spam.
        gold: (n,) labels, 0 for prose.
        line: (n,) number of the line, different on every page.
        counted: (n,) characters that count in figures.
        labels: The names of the labels from 1.
    """

    p_spam: NDArray[np.float32]
    gold: NDArray[np.int16]
    line: NDArray[np.int32]
    counted: NDArray[np.bool_]
    labels: tuple[str, ...]

    def cut(self, *, threshold: float, low_ratio: float, min_gap: int) -> NDArray[np.bool_]:
        """Which characters the decoder cuts, (n,); blanks count in no figure and are not here."""
        weak, strong = self.p_spam >= low_ratio * threshold, self.p_spam >= threshold
        return close_holes(hysteresis(weak, strong), self.line, min_gap)

    def recalls(self, cut: NDArray[np.bool_]) -> NDArray[np.float64]:
        """(1 + labels,) the share cut of each label, prose first; NaN where there is none."""
        size = len(self.labels) + 1
        total = np.bincount(self.gold[self.counted], minlength=size)
        gone = np.bincount(self.gold[self.counted & cut], minlength=size)
        return np.asarray(np.divide(gone, total, out=np.full(size, np.nan), where=total > 0))


def score_pages(
    pages: Iterable[LabelledPage], predict_proba: PredictProba, labels: Sequence[str]
) -> Scored:
    """Score pages with a model.

    Args:
        pages: Labelled pages, or plain prose.
        predict_proba: A page to its (len(text), 1 + model's labels) probabilities, prose first.
        labels: The names of the labels that the pages may have.
    """
    parts: list[tuple[NDArray[Any], ...]] = []
    n_lines = 0
    for page in pages:
        if not page.text:
            continue
        lines = Lines(page.text)
        probabilities = predict_proba(page.text)
        # Summed as the decoder sums it: 1 - p(prose) differs in the last digit.
        p_spam = np.zeros(len(page.text), dtype=np.float32)
        for column in probabilities[:, 1:].T:
            p_spam += column
        solid = lines.solid
        parts.append(
            (
                np.append(p_spam[solid], np.float32(0)),
                np.append(label_array(page, labels)[solid], np.int16(0)),
                np.append(lines.line[solid], np.int32(lines.line[-1] + 1)) + n_lines,
                np.append(~ignored_mask(page)[solid], False),
            )
        )
        n_lines += int(lines.line[-1]) + 2
    if not parts:
        empty = np.zeros(0)
        return Scored(
            empty.astype(np.float32), empty.astype(np.int16), empty.astype(np.int32),
            empty.astype(bool), tuple(labels),
        )  # fmt: skip
    p_spam, gold, line, counted = (np.concatenate(column) for column in zip(*parts, strict=True))
    return Scored(p_spam, gold, line.astype(np.int32), counted, tuple(labels))


@dataclass(frozen=True)
class Point:
    """What one threshold costs and brings; None for what the data cannot tell."""

    threshold: float
    prose_loss: float | None
    """On plain prose."""
    labelled_prose_loss: float | None
    recall: float | None
    macro_recall: float | None
    in_sentence_recall: float | None

    def fits(self, max_prose_loss: float, max_labelled_prose_loss: float) -> bool:
        """Whether both losses keep within their bounds."""
        return (self.prose_loss or 0.0) <= max_prose_loss and (
            self.labelled_prose_loss or 0.0
        ) <= max_labelled_prose_loss

    @property
    def merit(self) -> float:
        """What is found: spam of all kinds alike and, as much again, that inside sentences."""
        parts = [x for x in (self.macro_recall, self.in_sentence_recall) if x is not None]
        return sum(parts) / len(parts) if parts else 0.0


def measure(
    labelled: Scored, prose: Scored, *, threshold: float, low_ratio: float, min_gap: int
) -> Point:
    """The costs and the gains of one setting."""
    setting: dict[str, Any] = {
        "threshold": threshold, "low_ratio": low_ratio, "min_gap": min_gap
    }  # fmt: skip
    cut = labelled.cut(**setting)
    recalls = labelled.recalls(cut)
    inside = [i for i, name in enumerate(labelled.labels, 1) if name in IN_SENTENCE]
    spam = labelled.counted & (labelled.gold > 0)
    in_sentence = labelled.counted & np.isin(labelled.gold, inside)
    known = recalls[1:][~np.isnan(recalls[1:])]
    return Point(
        threshold=threshold,
        prose_loss=_number(prose.recalls(prose.cut(**setting))[0]),
        labelled_prose_loss=_number(recalls[0]),
        recall=float(cut[spam].mean()) if spam.any() else None,
        macro_recall=float(known.mean()) if len(known) else None,
        in_sentence_recall=float(cut[in_sentence].mean()) if in_sentence.any() else None,
    )


def _number(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


def choose(
    labelled: Scored,
    prose: Scored,
    *,
    max_prose_loss: float,
    max_labelled_prose_loss: float,
    low_ratios: Sequence[float] = LOW_RATIOS,
    min_gaps: Sequence[int] = MIN_GAPS,
    thresholds: Sequence[float] = THRESHOLDS,
) -> tuple[float, int, Point]:
    """The setting that finds most among those whose prose loss keeps within the bounds.

    For each pair of the other two settings the lowest threshold that fits is what finds most:
    a higher one cuts a subset. So it is searched by halving.

    Returns:
        The low ratio, the gap, and what the threshold costs and brings with them.

    Raises:
        WinnowError: No threshold fits.
    """
    thresholds = sorted(thresholds)
    best: tuple[float, int, Point] | None = None
    least: Point | None = None
    for low_ratio in low_ratios:
        for min_gap in min_gaps:
            low, high = 0, len(thresholds)
            found = None
            while low < high:
                middle = (low + high) // 2
                point = measure(
                    labelled, prose, threshold=thresholds[middle], low_ratio=low_ratio,
                    min_gap=min_gap,
                )  # fmt: skip
                if point.fits(max_prose_loss, max_labelled_prose_loss):
                    found, high = point, middle
                else:
                    least, low = point, middle + 1
            if found and (best is None or found.merit > best[2].merit):
                best = (low_ratio, min_gap, found)
    if best is None:
        assert least is not None
        raise WinnowError(
            f"no threshold keeps the prose loss within {max_prose_loss:g} on prose and"
            f" {max_labelled_prose_loss:g} on labelled pages; at {least.threshold:g} it is"
            f" {least.prose_loss or 0:.5f} and {least.labelled_prose_loss or 0:.5f}"
        )
    return best


def fit_temperature(
    pages: Iterable[LabelledPage], predict_proba: PredictProba, labels: Sequence[str]
) -> float:
    """The temperature under which the labels of pages are most probable, of `TEMPERATURES`.

    Args:
        pages: Labelled pages whose labels are those of the model.
        predict_proba: The model's probabilities at temperature 1.
        labels: The model's spam labels.
    """
    losses = np.zeros(len(TEMPERATURES))
    for page in pages:
        counted = ~ignored_mask(page)
        log = np.log(np.maximum(predict_proba(page.text)[counted], 1e-9)).astype(np.float64)
        gold = label_array(page, labels)[counted]
        for i, temperature in enumerate(TEMPERATURES):
            scaled = log / temperature
            losses[i] += (
                np.logaddexp.reduce(scaled, axis=1) - scaled[range(len(gold)), gold]
            ).sum()
    return TEMPERATURES[int(losses.argmin())]


def calibrate(
    model_dir: str | PathLike[str],
    labelled_paths: Sequence[str | PathLike[str]],
    prose_paths: Sequence[str | PathLike[str]] = (),
    *,
    max_prose_loss: float = 0.0005,
    max_labelled_prose_loss: float = 0.003,
    temperature: bool = False,
    bias: bool = False,
    low_ratios: Sequence[float] = LOW_RATIOS,
    min_gaps: Sequence[int] = MIN_GAPS,
    sources: Sequence[str] | None = None,
    limit: int | None = None,
    engine: str = "auto",
    dtype: str | None = None,
) -> dict[str, Any]:
    """Choose the decoder settings of a model and write them to its decoder.json.

    Args:
        model_dir: A model directory.
        labelled_paths: Labelled pages that may be tuned on.
        prose_paths: Plain prose that training did not see.
        max_prose_loss: Bound on the pooled prose loss on the plain prose.
        max_labelled_prose_loss: Bound on that of the labelled pages.
        temperature: Whether to fit a temperature on the labelled pages first.
        bias: Whether to choose a bias a label, by `training.bias`.
        low_ratios: Values to try of `low_ratio`.
        min_gaps: Values to try of `min_gap`.
        sources: Only prose whose `source` is one of these.
        limit: At most so many pages of each file.
        engine: As of `ContentFilter.from_pretrained`.
        dtype: As of `ContentFilter.from_pretrained`.

    Returns:
        The settings written, `at` them the costs and gains, the `bounds`, what was `read`, and the
        whole `sweep` over thresholds with the chosen other settings. The curve in decoder.json
        takes its prose loss from the plain prose, or from the labelled pages if there is none.

    Raises:
        WinnowError: A file is missing or broken, there are no pages, or no threshold fits.
    """
    for name, bound in (
        ("max_prose_loss", max_prose_loss),
        ("max_labelled_prose_loss", max_labelled_prose_loss),
    ):
        if not 0 <= bound <= 1:
            raise UsageError(f"{name} must be from 0 to 1, not {bound:g}")
    directory = Path(model_dir)
    open_filter = ContentFilter.from_pretrained
    content_filter = open_filter(directory, engine=engine, dtype=dtype)
    known = content_filter.labels[1:]
    pages = [
        without_near_misses(page, known)
        for page in read_corpora(labelled_paths, require_spans=True, limit=limit)
    ]
    clean = list(read_corpora(prose_paths, sources=sources, limit=limit))
    if not pages:
        raise UsageError("no labelled pages to calibrate on")
    if prose_paths and not clean:
        raise UsageError("no plain prose to calibrate on: no page of these sources in the files")
    labels = all_labels([*pages, *clean], known)
    settings = replace(content_filter.decoder, curve=())
    if temperature:
        if labels != known:
            raise UsageError(
                "a temperature can be fitted only on pages with the model's own labels, "
                f"not {', '.join(label for label in labels if label not in known)}"
            )
        settings = replace(settings, temperature=1.0)
        with _with_settings(directory, settings) as copy:
            plain = open_filter(copy, engine=engine, dtype=dtype)
            chosen = fit_temperature(pages, plain.predict_proba, known)
        settings = replace(settings, temperature=chosen)
    if bias:
        settings = replace(settings, bias={})
        with _with_settings(directory, settings) as copy:
            plain = open_filter(copy, engine=engine, dtype=dtype)
            found = fit_bias(
                *_log_probabilities(pages, plain, known),
                _log_probabilities(clean[:BIAS_PAGES], plain, known)[0],
                known,
                max_prose_loss=max_prose_loss,
                max_labelled_prose_loss=max_labelled_prose_loss,
            )
        settings = replace(settings, bias=found)
    with _with_settings(directory, settings) as copy:
        scorer = open_filter(copy, engine=engine, dtype=dtype)
        labelled = score_pages(pages, scorer.predict_proba, labels)
        prose = score_pages(clean, scorer.predict_proba, labels)
    low_ratio, min_gap, point = choose(
        labelled, prose, max_prose_loss=max_prose_loss,
        max_labelled_prose_loss=max_labelled_prose_loss, low_ratios=low_ratios, min_gaps=min_gaps,
    )  # fmt: skip
    sweep = [
        measure(labelled, prose, threshold=threshold, low_ratio=low_ratio, min_gap=min_gap)
        for threshold in THRESHOLDS
    ]
    curve = tuple(
        CurvePoint(
            threshold=p.threshold,
            prose_loss=(p.prose_loss if clean else p.labelled_prose_loss) or 0.0,
            recall=p.recall or 0.0,
        )
        for p in sweep
    )
    settings = replace(
        settings, threshold=point.threshold, low_ratio=low_ratio, min_gap=min_gap, curve=curve
    )
    write_decoder(directory, settings)
    return {
        **{name: value for name, value in asdict(settings).items() if name != "curve"},
        "at": asdict(point),
        "bounds": {
            "prose_loss": max_prose_loss, "labelled_prose_loss": max_labelled_prose_loss
        },
        "read": {
            "labelled_pages": len(pages),
            "labelled_characters": int(labelled.counted.sum()),
            "prose_pages": len(clean),
            "prose_characters": int(prose.counted.sum()),
        },
        "sweep": [asdict(p) for p in sweep],
    }  # fmt: skip


def _log_probabilities(
    pages: Iterable[LabelledPage], content_filter: ContentFilter, labels: Sequence[str]
) -> tuple[NDArray[np.float32], NDArray[np.int16]]:
    """Log probabilities of the characters that count, (n, 1 + labels), and their gold labels."""
    rows = [np.zeros((0, 1 + len(labels)), dtype=np.float32)]
    gold = [np.zeros(0, dtype=np.int16)]
    for page in pages:
        counted = ~ignored_mask(page)
        rows.append(np.log(np.maximum(content_filter.predict_proba(page.text)[counted], 1e-9)))
        gold.append(label_array(page, labels)[counted])
    return np.concatenate(rows), np.concatenate(gold)


def write_decoder(directory: Path, settings: DecoderSettings) -> None:
    """Write decoder.json, whole or not at all."""
    write_json(directory / "decoder.json", {"format": FORMAT, **asdict(settings)})
    read_decoder(directory / "decoder.json")


@contextmanager
def _with_settings(directory: Path, settings: DecoderSettings) -> Iterator[Path]:
    """A copy of a model directory with other decoder settings, while it lasts.

    So the directory itself never holds settings that were not chosen.
    """
    with tempfile.TemporaryDirectory() as name:
        copy = Path(name) / "model"
        shutil.copytree(directory, copy)
        write_decoder(copy, settings)
        yield copy
