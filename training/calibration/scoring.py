"""Pages scored once, so that every decoder setting can be tried on the stored probabilities.

A setting is tried through the same operators that the decoder runs. Its costs and gains are counted
by character and pooled, as figures are, and its prose loss also page by page, which is what a
promise is about.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from filter.content_filter import ContentFilter
from filter.evidence import with_evidence
from filter.labels import IN_SENTENCE
from filter.language import han_share
from filter.lines import Lines
from filter.masks import Shape, cut_solid
from training.corpus.arrays import ignored_mask, label_array
from training.corpus.records import LabelledPage

PredictProba = Callable[[Iterable[str]], Iterator[NDArray[np.float32]]]
"""Pages to their (len(page), 1 + model's labels) probabilities, prose first, in order."""


@dataclass(frozen=True)
class Scored:
    """The characters of several pages that are not blank, with the model's probability.

    Pages follow each other with one character of no probability between them, which is ignored, so
    that the decoder's operators run over all of them at once and never across a border.

    Attributes:
        p_spam: (n,) probability that the character is spam.
        gold: (n,) labels, 0 for prose.
        codes: (n,) code points.
        line: (n,) number of the line, different on every page.
        edge: (n + 1,) where clauses and lines begin and end.
        counted: (n,) characters that count in figures.
        page: (n,) number of the page, from 0.
        labelled: (pages,) whether the page is a labelled one, or plain prose.
        labels: The names of the labels from 1.
    """

    p_spam: NDArray[np.float32]
    gold: NDArray[np.int16]
    codes: NDArray[np.integer]
    line: NDArray[np.int32]
    edge: NDArray[np.bool_]
    counted: NDArray[np.bool_]
    page: NDArray[np.int32]
    labelled: NDArray[np.bool_]
    labels: tuple[str, ...]
    _raised: dict[tuple[float | None, float | None], NDArray[np.float32]] = field(
        default_factory=dict, repr=False, compare=False
    )

    def raised(self, shape: Shape) -> NDArray[np.float32]:
        """(n,) the probabilities with what lines and repetitions say, found once for a shape."""
        bonuses = shape.line_bonus, shape.repeat_bonus
        if bonuses not in self._raised:
            self._raised[bonuses] = with_evidence(
                self.p_spam, codes=self.codes, line=self.line, page=self.page, shape=shape
            )
        return self._raised[bonuses]

    def cut(self, *, threshold: float, shape: Shape) -> NDArray[np.bool_]:
        """Which characters the decoder cuts, (n,); blanks count in no figure and are not here."""
        p = self.raised(shape)
        return cut_solid(p, self.line, self.edge, threshold=threshold, shape=shape, page=self.page)

    def recalls(self, cut: NDArray[np.bool_]) -> NDArray[np.float64]:
        """(1 + labels,) the share cut of each label, prose first; NaN where there is none."""
        size = len(self.labels) + 1
        total = np.bincount(self.gold[self.counted], minlength=size)
        gone = np.bincount(self.gold[self.counted & cut], minlength=size)
        return _share(gone, total, np.nan)

    def page_losses(self, cut: NDArray[np.bool_]) -> NDArray[np.float64]:
        """(pages,) the share of each page's prose that is cut; 0 for a page without prose."""
        prose = self.counted & (self.gold == 0)
        total = np.bincount(self.page[prose], minlength=len(self.labelled))
        gone = np.bincount(self.page[prose & cut], minlength=len(self.labelled))
        return _share(gone, total, 0.0)

    @property
    def spam_pages(self) -> int:
        """Pages with spam that counts."""
        return len(np.unique(self.page[self.counted & (self.gold > 0)]))


def _share(part: NDArray[Any], whole: NDArray[Any], otherwise: float) -> NDArray[np.float64]:
    return np.asarray(np.divide(part, whole, out=np.full(len(whole), otherwise), where=whole > 0))


def score_pages(
    pages: Sequence[LabelledPage],
    predict_proba: PredictProba,
    labels: Sequence[str],
    *,
    min_han: float = 0.0,
) -> Scored:
    """Score pages with a model.

    Args:
        pages: Labelled pages, or plain prose.
        predict_proba: The model's probabilities of some pages.
        labels: The names of the labels that the pages may have.
        min_han: Share of Han characters below which the filter passes a page as it is.
    """
    parts: list[tuple[NDArray[Any], ...]] = []
    n_lines = 0
    every = predict_proba(page.text for page in pages)
    for number, (page, probabilities) in enumerate(zip(pages, every, strict=True)):
        if not page.text:
            continue
        lines = Lines(page.text)
        p_spam = spam_probability(probabilities)
        if min_han and han_share(page.text) < min_han:
            p_spam[:] = 0
        solid = lines.solid
        parts.append(
            (
                np.append(p_spam[solid], np.float32(0)),
                np.append(label_array(page, labels)[solid], np.int16(0)),
                np.append(lines.codes[solid], 0),
                np.append(lines.line[solid], np.int32(lines.line[-1] + 1)) + n_lines,
                lines.edge,
                np.append(~ignored_mask(page)[solid], False),
                np.full(len(solid) + 1, number, dtype=np.int32),
            )
        )
        n_lines += int(lines.line[-1]) + 2
    types = (np.float32, np.int16, np.int32, np.int32, np.bool_, np.bool_, np.int32)
    columns: list[NDArray[Any]] = [
        np.concatenate([np.zeros(0, dtype), *(part[i] for part in parts)]).astype(dtype)
        for i, dtype in enumerate(types)
    ]
    p_spam, gold, codes, line, edge, counted, page_of = columns
    labelled = np.array([page.labelled for page in pages], dtype=np.bool_)
    edge = np.append(edge, True)
    return Scored(p_spam, gold, codes, line, edge, counted, page_of, labelled, tuple(labels))


def filter_scorer(content_filter: ContentFilter) -> PredictProba:
    """The probabilities of a filter, as `score_pages` asks for them."""

    def predict_proba(texts: Iterable[str]) -> Iterator[NDArray[np.float32]]:
        return (own for _, own in content_filter.pipe_with_probabilities(texts))

    return predict_proba


def spam_probability(probabilities: NDArray[np.float32]) -> NDArray[np.float32]:
    """(n, 1 + labels) probabilities to (n,), summed as the decoder sums them.

    (One minus that of prose differs in the last digit, and a threshold may lie there.)
    """
    p_spam = np.zeros(len(probabilities), dtype=np.float32)
    for column in probabilities[:, 1:].T:
        p_spam += column
    return p_spam


@dataclass(frozen=True)
class Point:
    """What one threshold costs and brings; None for what the data cannot tell."""

    threshold: float
    page_loss: float
    """Mean over all pages of each page's prose loss."""
    prose_loss: float | None
    """Pooled over all pages."""
    labelled_prose_loss: float | None
    """Pooled over the labelled pages."""
    plain_prose_loss: float | None
    """Pooled over plain prose."""
    recall: float | None
    macro_recall: float | None
    in_sentence_recall: float | None

    @property
    def merit(self) -> float:
        """What is found: spam of all kinds alike and, as much again, that inside sentences.

        Labels that the data lack have no say in it.
        """
        parts = [x for x in (self.macro_recall, self.in_sentence_recall) if x is not None]
        return sum(parts) / len(parts) if parts else 0.0


@dataclass(frozen=True, kw_only=True)
class Bounds:
    """What may be lost of the prose.

    Attributes:
        page: Of a page, in the mean over all pages.
        labelled: Of the labelled pages, pooled; None for no such bound.
        plain: Of plain prose, pooled; None for no such bound.
    """

    page: float
    labelled: float | None = None
    plain: float | None = None

    def hold_for(self, point: Point) -> bool:
        """Whether a threshold keeps within all of them."""
        return point.page_loss <= self.page and self.pooled_hold_for(point)

    def pooled_hold_for(self, point: Point) -> bool:
        """Whether a threshold keeps within those that are pooled."""
        return all(
            bound is None or (loss or 0.0) <= bound
            for bound, loss in (
                (self.labelled, point.labelled_prose_loss),
                (self.plain, point.plain_prose_loss),
            )
        )

    def compared(self, point: Point) -> str:
        """What a threshold loses beside what it may lose, in words."""
        parts = [(self.page, point.page_loss, "a page")]
        if self.labelled is not None:
            parts.append((self.labelled, point.labelled_prose_loss or 0.0, "labelled pages"))
        if self.plain is not None:
            parts.append((self.plain, point.plain_prose_loss or 0.0, "plain prose"))
        return ", ".join(f"{loss:.5f} of {words} ({bound:g})" for bound, loss, words in parts)


def measure(pages: Scored, *, threshold: float, shape: Shape) -> Point:
    """The costs and the gains of one setting."""
    cut = pages.cut(threshold=threshold, shape=shape)
    recalls = pages.recalls(cut)
    inside = [i for i, name in enumerate(pages.labels, 1) if name in IN_SENTENCE]
    prose = pages.counted & (pages.gold == 0)
    losses = pages.page_losses(cut)
    on_labelled = pages.labelled[pages.page]
    known = recalls[1:][~np.isnan(recalls[1:])]
    return Point(
        threshold=threshold,
        page_loss=float(losses.mean()) if len(losses) else 0.0,
        prose_loss=_mean(cut[prose]),
        labelled_prose_loss=_mean(cut[prose & on_labelled]),
        plain_prose_loss=_mean(cut[prose & ~on_labelled]),
        recall=_mean(cut[pages.counted & (pages.gold > 0)]),
        macro_recall=_mean(known),
        in_sentence_recall=_mean(cut[pages.counted & np.isin(pages.gold, inside)]),
    )


def _mean(values: NDArray[Any]) -> float | None:
    return float(values.mean()) if len(values) else None
