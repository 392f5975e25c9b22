"""Where a filter was wrong: spam that it missed and prose that it lost, page by page.

They go out as records for programs (`errors_of`), and as pages cut down to the surroundings of
their errors, for people (`worst_pages`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from filter.spans import Span
from training.corpus.arrays import ambiguous_mask, ignored_mask
from training.corpus.records import LabelledPage

CONTEXT = 12
"""Characters on either side of an error that is written out."""

STATES = ("prose", "found", "missed", "lost", "ambiguous")
_PROSE, _FOUND, _MISSED, _LOST, _AMBIGUOUS = range(len(STATES))

AROUND = 40
"""Characters on either side of an error that are shown."""

WHOLE = 300
"""A page of at most so many characters is shown whole."""

MOST = 1500
"""Characters of one page that are shown at most, about."""


def covered(spans: Iterable[Span], length: int) -> NDArray[np.bool_]:
    """(length,) where the spans are."""
    mask = np.zeros(length, dtype=bool)
    for span in spans:
        mask[span.start : span.end] = True
    return mask


def errors_of(
    pages: Iterable[LabelledPage], cut: Iterable[Sequence[Span]]
) -> Iterator[dict[str, Any]]:
    """For each page with errors: spam that was missed and prose that was lost, with context."""
    for page, spans in zip(pages, cut, strict=True):
        counted = ~ignored_mask(page)
        gold, gone = (covered(each, len(page.text)) for each in (page.spans, spans))
        missed = _pieces(page.text, gold & ~gone, counted, page.spans)
        lost = _pieces(page.text, gone & ~gold, counted, spans)
        if missed or lost:
            yield {
                "id": page.id,
                "kind": page.kind,
                "source": page.source,
                "missed": missed,
                "lost": lost,
            }


def _pieces(
    text: str, wrong: NDArray[np.bool_], counted: NDArray[np.bool_], spans: Sequence[Span]
) -> list[dict[str, Any]]:
    """Connected stretches of wrong characters, with the label and score of the span over them."""
    pieces = []
    for start, end in _stretches(wrong):
        if not counted[start:end].any():
            continue
        over = [span for span in spans if span.start < end and start < span.end]
        pieces.append(
            {
                "start": start,
                "text": text[start:end],
                "label": "/".join(dict.fromkeys(span.label for span in over)),
                "score": round(max(span.score for span in over), 4),
                "before": text[max(0, start - CONTEXT) : start],
                "after": text[end : end + CONTEXT],
            }
        )
    return pieces


def _stretches(mask: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Where the connected stretches of a mask start and end."""
    edges = np.flatnonzero(np.diff(mask.astype(np.int8), prepend=0, append=0)).tolist()
    return list(zip(edges[::2], edges[1::2], strict=True))


@dataclass(frozen=True, slots=True)
class Segment:
    """A piece of a page of one state: `text` with what it is, a name of `STATES`, and whose label
    it has; `label` is empty for prose."""

    text: str
    state: str
    label: str


@dataclass(frozen=True, slots=True)
class Excerpt:
    """A stretch of a page in segments; `skipped` characters of the page lie before it."""

    start: int
    skipped: int
    segments: list[Segment]


@dataclass(frozen=True, slots=True)
class MarkedPage:
    """A page cut down to the surroundings of its errors.

    Attributes:
        page: The whole of it.
        missed: Spam characters that were not cut.
        lost: Prose characters that were.
        excerpts: What is shown.
        left_out: Characters of the page after the last excerpt.
        errors_left_out: Errors among them.
    """

    page: LabelledPage
    missed: int
    lost: int
    excerpts: list[Excerpt]
    left_out: int
    errors_left_out: int


def worst_pages(
    pages: Sequence[LabelledPage],
    cut: Sequence[Sequence[Span]],
    *,
    missed: Sequence[int],
    lost: Sequence[int],
    most: int = 40,
) -> list[MarkedPage]:
    """The pages with the most wrong characters, the worst first.

    Half of the places are for the pages that lost most prose and half for those that missed most
    spam, so that neither crowds out the other; what one leaves free goes to the rest.

    Args:
        pages: The pages.
        cut: What was cut from each.
        missed: Spam characters of each that were not cut.
        lost: Prose characters of each that were.
        most: How many to show.
    """
    wrong = np.asarray(missed) + np.asarray(lost)
    chosen: dict[int, None] = {}
    for by, places in ((lost, most // 2), (missed, most // 2), (wrong, most)):
        ranked = [i for i in np.argsort(-np.asarray(by), kind="stable").tolist() if by[i]]
        chosen |= dict.fromkeys(ranked[:places])
    shown = sorted(list(chosen)[:most], key=lambda i: (-wrong[i], i))
    return [marked_page(pages[i], cut[i], missed=int(missed[i]), lost=int(lost[i])) for i in shown]


def marked_page(page: LabelledPage, cut: Sequence[Span], *, missed: int, lost: int) -> MarkedPage:
    """A page in segments of one state, cut down to the surroundings of its errors."""
    n = len(page.text)
    state = page_states(page, cut)
    wrong = _stretches((state == _MISSED) | (state == _LOST))
    windows: list[tuple[int, int]] = []
    size = hidden = 0
    for start, end in wrong if n > WHOLE else [(0, n)]:
        low, high = max(0, start - AROUND), min(n, end + AROUND)
        if windows and low <= windows[-1][1]:
            low = windows.pop()[0]
        elif size > MOST:
            hidden += 1
            continue
        high = min(high, low + max(MOST, WHOLE))
        windows.append((low, high))
        size = sum(b - a for a, b in windows)
    labels = _labels(page, cut)
    excerpts, position = [], 0
    for low, high in windows:
        excerpts.append(
            Excerpt(low, low - position, _segments(page.text, state, labels, low, high))
        )
        position = high
    return MarkedPage(page, missed, lost, excerpts, n - position, hidden)


def page_states(page: LabelledPage, cut: Sequence[Span]) -> NDArray[np.int8]:
    """What became of every character, (len(text),) indices of `STATES`.

    A blank that was cut or kept in error counts neither way: it goes with the character before it.
    """
    n = len(page.text)
    gold, gone = covered(page.spans, n), covered(cut, n)
    state = np.select([gold & gone, gold, gone], [_FOUND, _MISSED, _LOST], _PROSE).astype(np.int8)
    ambiguous = ambiguous_mask(page)
    blank = ignored_mask(page) & ~ambiguous & (gold != gone)
    last = np.maximum.accumulate(np.where(blank, -1, np.arange(n)))
    state = np.where(last >= 0, state[last], _PROSE).astype(np.int8) if n else state
    state[ambiguous] = _AMBIGUOUS
    return state


def _labels(page: LabelledPage, cut: Sequence[Span]) -> NDArray[np.object_]:
    """The label over every character: the gold one, or else the one it was cut under."""
    labels = np.full(len(page.text), "", dtype=object)
    for span in (*cut, *page.spans):
        labels[span.start : span.end] = span.label
    return labels


def _segments(
    text: str, state: NDArray[np.int8], labels: NDArray[np.object_], low: int, high: int
) -> list[Segment]:
    """The stretch [low, high) of a page in segments of one state and label."""
    kind = np.where(state[low:high] == _PROSE, "", labels[low:high])
    changes = (np.diff(state[low:high]) != 0) | (kind[1:] != kind[:-1])
    edges = [0, *(np.flatnonzero(changes) + 1).tolist(), high - low]
    return [
        Segment(text[low + a : low + b], STATES[state[low + a]], str(kind[a]))
        for a, b in pairwise(edges)
        if a < b
    ]
