"""What became of the characters and the spans of a page, as integers.

A page is a few arrays of its characters: the gold label (0 is prose), whether the character was
cut, and whether it is ignored (blanks and ambiguous ranges count neither way). `page_counts`
reduces them to integers that add up over pages, so that every figure is a ratio of sums, and a
bootstrap over pages one matrix product.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from filter.labels import LABELS
from filter.tokenizer import code_points

# Code points for which str.isspace() is true. All lie in the basic plane, so one table serves.
_BLANK = np.fromiter((chr(code).isspace() for code in range(0x10000)), dtype=bool, count=0x10000)

SCALARS = (
    "prose",  # prose characters
    "prose_cut",  # of them cut
    "spam_page",  # 1 where the page holds spam
    "restored",  # 1 where it does and the cleaned text is the annotated prose
    "clean_page",  # 1 where it holds none
    "clean_prose",  # prose characters of clean pages
    "clean_prose_cut",
    "false_spans",  # connected pieces cut out of a clean page
)
MATCHES = (
    "gold",  # gold spans
    "cut",  # spans that were cut
    "exact",  # pairs of the two with the same ends
    "strict",  # of them with the same label
    "partial",  # further pairs that overlap, each span in one pair at most
)
LENGTHS = (1, 5, 10, 20, 50, 100)
"""Where the classes of span length begin, in characters that count."""

LENGTH_NAMES = (
    *(f"{low}-{high - 1}" for low, high in pairwise(LENGTHS)),
    f"{LENGTHS[-1]}+",
)

BLOCK = 1 << 22
"""Most weights of a bootstrap in memory at once."""


def blanks(text: str) -> NDArray[np.bool_]:
    """Where `str.isspace()` is true, (len(text),)."""
    codes = code_points(text)
    return np.asarray(_BLANK[np.minimum(codes, 0xFFFF)] & (codes <= 0xFFFF))


@dataclass(frozen=True, slots=True)
class PageCounts:
    """One page, or several pooled, as integers.

    Attributes:
        scalars: (8,) the counts named in `SCALARS`.
        confusion: (1 + labels, 2 + labels) characters by gold label (row, prose first) and by
            what became of them (column): kept, cut under each label, cut under no known label.
        spans: (1 + labels, lengths, 4) by gold label and class of `LENGTHS`: spans that hold a
            character that counts; of them wholly cut; their characters; of them cut.
        matches: (5,) the counts named in `MATCHES`.
    """

    scalars: NDArray[Any]
    confusion: NDArray[Any]
    spans: NDArray[Any]
    matches: NDArray[Any]


FIELDS = tuple(field.name for field in fields(PageCounts))


def page_counts(
    gold: NDArray[Any],
    cut: NDArray[np.bool_],
    ignored: NDArray[np.bool_],
    *,
    n_labels: int = len(LABELS),
    predicted: NDArray[Any] | None = None,
    span_ids: NDArray[Any] | None = None,
    characters: NDArray[Any] | None = None,
) -> PageCounts:
    """Count one page.

    Args:
        gold: (n,) integer labels, 0 for prose, 1 to `n_labels` for spam.
        cut: (n,) whether the character was cut.
        ignored: (n,) characters that count neither way: blanks and ambiguous ranges.
        n_labels: how many spam labels there are.
        predicted: (n,) labels under which the cut characters were cut, read where `cut` is true;
            only the confusion and the strict matches need it.
        span_ids: (n,) a number for each gold span. Without it a gold span is a connected stretch
            of one label, so two neighbours of one label are taken as one.
        characters: (n,) code points or token ids. With them a page is restored when the kept
            characters read the same, wherever the cut was made (`，轴承，` may lose either comma);
            without them it is when the same positions were cut.

    Raises:
        ValueError: the arrays differ in length, or a label is out of range.
    """
    gold = np.asarray(gold)
    n = len(gold)
    for name, array in (("cut", cut), ("ignored", ignored), ("predicted", predicted),
                        ("span_ids", span_ids), ("characters", characters)):  # fmt: skip
        if array is not None and len(array) != n:
            raise ValueError(f"{name} has {len(array)} characters, gold has {n}")
    if n and (gold.min() < 0 or gold.max() > n_labels):
        raise ValueError(f"gold labels must be 0 to {n_labels}, found {gold.min()} to {gold.max()}")

    counted = ~np.asarray(ignored, dtype=bool)
    gone = np.asarray(cut, dtype=bool)
    unnamed = n_labels + 1
    fate = np.where(gone, unnamed, 0)
    if predicted is not None:
        named = np.asarray(predicted).astype(np.int64)
        fate = np.where(gone, np.where((named < 1) | (named > n_labels), unnamed, named), 0)
    # Spans are told apart before the ignored characters go: two keywords with a blank of prose
    # between them are two spans.
    gold_pieces = _pieces(counted, gold, *(() if span_ids is None else (np.asarray(span_ids),)))
    cut_pieces = _pieces(counted, fate)

    spam, gone, fate = gold[counted].astype(np.int64), gone[counted], fate[counted]
    confusion = np.bincount(
        spam * (n_labels + 2) + fate, minlength=(n_labels + 1) * (n_labels + 2)
    ).reshape(n_labels + 1, n_labels + 2)
    scalars = _scalars(spam, gone, None if characters is None else np.asarray(characters)[counted])
    return PageCounts(
        scalars,
        confusion.astype(np.int32),
        _spans(gold_pieces, gone, n_labels),
        _matches(gold_pieces, cut_pieces),
    )


def _run_starts(values: NDArray[Any]) -> NDArray[np.bool_]:
    """Where a value differs from the one before it; the first always does."""
    starts = np.ones(len(values), dtype=bool)
    starts[1:] = values[1:] != values[:-1]
    return starts


def _pieces(
    counted: NDArray[np.bool_], values: NDArray[Any], *also: NDArray[Any]
) -> NDArray[np.int64]:
    """(k, 3) start, end and value of the runs that are not 0, counted in characters that count.

    A run ends where `values` changes, or one of `also`; runs that hold no such character are left
    out.
    """
    borders = _run_starts(values)
    for array in also:
        borders |= _run_starts(array)
    run = np.cumsum(borders)[counted]
    starts = np.flatnonzero(_run_starts(run))
    ends = np.append(starts[1:], len(run))
    value = values[counted][starts] if len(run) else np.zeros(0)
    table = np.stack((starts[: len(value)], ends[: len(value)], value), axis=1).astype(np.int64)
    return np.asarray(table[table[:, 2] != 0])


def _spans(pieces: NDArray[np.int64], gone: NDArray[np.bool_], n_labels: int) -> NDArray[np.int32]:
    """The field `spans` of a page's gold spans."""
    start, end, label = pieces.T
    length = end - start
    before = np.concatenate(([0], np.cumsum(gone)))
    lost = before[end] - before[start]
    size = np.searchsorted(LENGTHS, length, side="right") - 1
    table = np.zeros((n_labels + 1, len(LENGTHS), 4), dtype=np.int32)
    rows = np.stack((np.ones_like(length), lost == length, length, lost), axis=1)
    np.add.at(table, (label, size), rows.astype(np.int32))
    return table


def _matches(gold: NDArray[np.int64], cut: NDArray[np.int64]) -> NDArray[np.int32]:
    """The field `matches`: spans of one kind do not overlap, so two pointers find all pairs."""
    exact = strict = partial = 0
    here = 0
    for start, end, label in cut.tolist():
        while here < len(gold) and gold[here, 1] <= start:
            here += 1
        if here == len(gold):
            break
        if gold[here, 0] == start and gold[here, 1] == end:
            exact += 1
            strict += int(gold[here, 2] == label)
        elif gold[here, 0] < end:
            partial += 1
        else:
            continue
        here += 1  # a span is in one pair at most
    return np.array([len(gold), len(cut), exact, strict, partial], dtype=np.int32)


def _scalars(
    spam: NDArray[np.int64], gone: NDArray[np.bool_], characters: NDArray[Any] | None
) -> NDArray[np.int64]:
    """The field `scalars`, of the characters that count."""
    is_spam = spam > 0
    prose = int(len(spam) - is_spam.sum())
    prose_cut = int((gone & ~is_spam).sum())
    spam_page = bool(is_spam.any())
    if characters is None:
        restored = bool((gone == is_spam).all())
    else:
        restored = bool(np.array_equal(characters[~gone], characters[~is_spam]))
    false_spans = 0 if spam_page else int((gone & _run_starts(gone)).sum())
    clean = not spam_page
    return np.array(
        [prose, prose_cut, spam_page, spam_page and restored, clean,
         prose * clean, prose_cut * clean, false_spans],
        dtype=np.int64,
    )  # fmt: skip


def pool(counts: Iterable[PageCounts]) -> PageCounts:
    """The sum of the counts.

    Raises:
        ValueError: there is nothing to sum.
    """
    rows = list(counts)
    if not rows:
        raise ValueError("no pages to count")
    return PageCounts(
        *(
            np.asarray(np.sum([getattr(row, name) for row in rows], axis=0, dtype=np.int64))
            for name in FIELDS
        )
    )


def resample(rows: Sequence[PageCounts], draws: int, *, seed: int) -> PageCounts:
    """Pools of pages drawn with replacement, as many as there are, again and again.

    The same seed draws the same pages for any counts of as many pages: two models can be compared
    draw by draw.

    Returns:
        Counts with an axis of `draws` before their own.
    """
    n = len(rows)
    generator = np.random.default_rng(seed)
    shapes = [getattr(rows[0], name).shape for name in FIELDS]
    table = np.stack(
        [np.concatenate([getattr(row, name).ravel() for name in FIELDS]) for row in rows]
    ).astype(float)  # sums stay exact: they are far below 2 ** 53
    step = max(1, BLOCK // n)
    blocks = []
    for done in range(0, draws, step):
        size = min(step, draws - done)
        blocks.append(generator.multinomial(n, np.full(n, 1 / n), size=size).astype(float) @ table)
    ends = np.cumsum([np.prod(shape, dtype=int) for shape in shapes])
    parts = np.split(np.concatenate(blocks), ends[:-1], axis=1)
    return PageCounts(
        *(part.reshape(draws, *shape) for part, shape in zip(parts, shapes, strict=True))
    )
