"""Character metrics: what was cut against what should have been.

A page is three arrays of its characters: the gold label (0 is prose), whether the character was
cut, and whether it is ignored (blanks and ambiguous ranges count neither way). `page_counts`
reduces a page to one row of integers, and every figure is a ratio of pooled columns. So a report
over any group of pages is a sum of rows, and a bootstrap over pages is one matrix product.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from filter.labels import IN_SENTENCE, LABELS, PROSE
from filter.tokenizer import code_points

Figures = dict[str, Any]

# Code points for which str.isspace() is true. All lie in the basic plane, so one table serves.
_BLANK = np.fromiter((chr(code).isspace() for code in range(0x10000)), dtype=bool, count=0x10000)

_SCALARS = (
    "prose",  # prose characters
    "prose_cut",  # of them cut
    "spam_page",  # 1 where the page holds spam
    "restored",  # 1 where it does and the cleaned text is the annotated prose
    "clean_page",  # 1 where it holds none
    "clean_prose",  # prose characters of clean pages
    "clean_prose_cut",
    "false_spans",  # connected pieces cut out of a clean page
)


def blanks(text: str) -> NDArray[np.bool_]:
    """Where `str.isspace()` is true, (len(text),)."""
    codes = code_points(text)
    return np.asarray(_BLANK[np.minimum(codes, 0xFFFF)] & (codes <= 0xFFFF))


@dataclass(frozen=True, slots=True)
class PageCounts:
    """One page, or several pooled, as integers.

    Attributes:
        scalars: (8,) the counts named in `_SCALARS`.
        confusion: (1 + labels, 2 + labels) characters by gold label (row, prose first) and by
            what became of them (column): kept, cut under each label, cut under no known label.
        spans: (1 + labels, 2) gold spans that hold a countable character; of them wholly cut.
    """

    scalars: NDArray[np.int64]
    confusion: NDArray[np.int64]
    spans: NDArray[np.int64]


def _run_starts(values: NDArray[Any]) -> NDArray[np.bool_]:
    """Where a value differs from the one before it; the first always does."""
    starts = np.ones(len(values), dtype=bool)
    starts[1:] = values[1:] != values[:-1]
    return starts


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
            only the confusion needs it.
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
    spam = gold[counted].astype(np.int64)
    gone = np.asarray(cut, dtype=bool)[counted]
    unnamed = n_labels + 1
    if predicted is None:
        fate = np.where(gone, unnamed, 0)
    else:
        named = np.asarray(predicted)[counted].astype(np.int64)
        fate = np.where(gone, np.where((named < 1) | (named > n_labels), unnamed, named), 0)
    confusion = np.bincount(
        spam * (n_labels + 2) + fate, minlength=(n_labels + 1) * (n_labels + 2)
    ).reshape(n_labels + 1, n_labels + 2)

    spans = np.zeros((n_labels + 1, 2), dtype=np.int64)
    if spam.any():
        # Spans are told apart before the ignored characters go: two keywords with a blank of
        # prose between them are two spans.
        borders = _run_starts(gold)
        if span_ids is not None:
            borders |= _run_starts(np.asarray(span_ids))
        piece = np.cumsum(borders)[counted]
        first = np.flatnonzero(_run_starts(piece))
        label = spam[first]
        whole = np.logical_and.reduceat(gone, first)
        spans[:, 0] = np.bincount(label, minlength=n_labels + 1)
        spans[:, 1] = np.bincount(label[whole], minlength=n_labels + 1)
        spans[0] = 0

    is_spam = spam > 0
    prose = int(len(spam) - is_spam.sum())
    prose_cut = int((gone & ~is_spam).sum())
    spam_page = bool(is_spam.any())
    if characters is None:
        restored = bool((gone == is_spam).all())
    else:
        kept = np.asarray(characters)[counted]
        restored = bool(np.array_equal(kept[~gone], kept[~is_spam]))
    false_spans = 0 if spam_page else int((gone & _run_starts(gone)).sum())
    clean = not spam_page
    scalars = np.array(
        [prose, prose_cut, spam_page, spam_page and restored, clean,
         prose * clean, prose_cut * clean, false_spans],
        dtype=np.int64,
    )  # fmt: skip
    return PageCounts(scalars, confusion, spans)


def _ratio(part: NDArray[Any], whole: NDArray[Any]) -> NDArray[np.float64]:
    """part / whole, NaN where there is nothing to divide by."""
    part, whole = np.broadcast_arrays(np.asarray(part, float), np.asarray(whole, float))
    return np.asarray(np.divide(part, whole, out=np.full(part.shape, np.nan), where=whole > 0))


def _figures(
    scalars: NDArray[Any],
    confusion: NDArray[Any],
    spans: NDArray[Any],
    *,
    in_sentence: Sequence[int],
    judged: Sequence[int],
) -> dict[str, NDArray[np.float64]]:
    """The ratios of pooled counts; any leading axes (bootstrap draws) are kept."""
    column = {name: scalars[..., i] for i, name in enumerate(_SCALARS)}
    total = confusion.sum(axis=-1)
    lost = total - confusion[..., 0]
    spam, spam_cut = total[..., 1:].sum(-1), lost[..., 1:].sum(-1)
    inside = list(in_sentence)
    by_label = _ratio(lost, total)
    figures = {
        "recall": _ratio(spam_cut, spam),
        "precision": _ratio(spam_cut, spam_cut + column["prose_cut"]),
        "f1": _ratio(2 * spam_cut, spam_cut + column["prose_cut"] + spam),
        "prose_loss": _ratio(column["prose_cut"], column["prose"]),
        "in_sentence_recall": _ratio(lost[..., inside].sum(-1), total[..., inside].sum(-1)),
        "in_sentence_span_recall": _ratio(
            spans[..., inside, 1].sum(-1), spans[..., inside, 0].sum(-1)
        ),
        "span_recall": _ratio(spans[..., 1].sum(-1), spans[..., 0].sum(-1)),
        "restored_pages": _ratio(column["restored"], column["spam_page"]),
        "clean_prose_loss": _ratio(column["clean_prose_cut"], column["clean_prose"]),
        "false_spans_per_100k": 1e5 * _ratio(column["false_spans"], column["clean_prose"]),
    }
    # A bootstrap draw may miss a rare label altogether: the mean is over the labels it has.
    rows = by_label[..., list(judged)]
    known = ~np.isnan(rows)
    figures["macro_recall"] = _ratio(np.where(known, rows, 0).sum(-1), known.sum(-1))
    return figures


def pool(counts: Iterable[PageCounts]) -> PageCounts:
    """The sum of the counts.

    Raises:
        ValueError: there is nothing to sum.
    """
    rows = list(counts)
    if not rows:
        raise ValueError("no pages to count")
    return PageCounts(
        np.sum([row.scalars for row in rows], axis=0),
        np.sum([row.confusion for row in rows], axis=0),
        np.sum([row.spans for row in rows], axis=0),
    )


def _number(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


def summarize(
    counts: Iterable[PageCounts],
    *,
    labels: Sequence[str] = LABELS,
    in_sentence: Sequence[str] = IN_SENTENCE,
    min_spans: int = 1,
    bootstrap: int = 0,
    seed: int = 0,
) -> Figures:
    """Figures pooled over pages, as plain JSON values; None where there is nothing to divide by.

    Args:
        counts: a `PageCounts` per page.
        labels: the names of the spam labels, in the order of their numbers from 1.
        in_sentence: the labels of spam inside sentences; those not in `labels` are passed over.
        min_spans: a label counts towards the macro recall from this many gold spans on.
        bootstrap: how many times to draw the pages anew for the 95% intervals; 0 for none.
        seed: of the draws.

    Returns:
        The figures of `_figures` by name, the counts under them (`pages`, `prose_characters`,
        `spam_characters`, `spans`, ...), `by_label` and `confusion`; with `bootstrap` also
        `intervals`, a `[low, high]` for each figure.
    """
    rows = list(counts)
    pooled = pool(rows)
    if len(pooled.spans) != len(labels) + 1:
        raise ValueError(f"counts hold {len(pooled.spans) - 1} labels, {len(labels)} were named")
    inside = [i for i, label in enumerate(labels, 1) if label in in_sentence]
    judged = [
        i for i in range(1, len(labels) + 1)
        if pooled.spans[i, 0] >= max(1, min_spans)
    ]  # fmt: skip
    figures = _figures(
        pooled.scalars, pooled.confusion, pooled.spans, in_sentence=inside, judged=judged
    )
    column = dict(zip(_SCALARS, pooled.scalars.tolist(), strict=True))
    total = pooled.confusion.sum(axis=1)
    lost = total - pooled.confusion[:, 0]
    result: Figures = {
        "pages": len(rows),
        "pages_with_spam": column["spam_page"],
        "clean_pages": column["clean_page"],
        "prose_characters": column["prose"],
        "prose_characters_cut": column["prose_cut"],
        "spam_characters": int(total[1:].sum()),
        "spam_characters_cut": int(lost[1:].sum()),
        "spans": int(pooled.spans[:, 0].sum()),
        "false_spans": column["false_spans"],
        **{name: _number(float(value)) for name, value in figures.items()},
        "by_label": {
            label: {
                "spans": int(pooled.spans[i, 0]),
                "characters": int(total[i]),
                "recall": _number(float(_ratio(lost[i], total[i]))),
                "span_recall": _number(float(_ratio(pooled.spans[i, 1], pooled.spans[i, 0]))),
            }
            for i, label in enumerate(labels, 1)
        },
        "confusion": {
            "gold": [PROSE, *labels],
            "cut_as": ["kept", *labels, "unnamed"],
            "characters": pooled.confusion.tolist(),
        },
    }
    if bootstrap:
        result["intervals"] = _intervals(
            rows, bootstrap, seed=seed, in_sentence=inside, judged=judged
        )
    return result


def _intervals(
    rows: Sequence[PageCounts],
    draws: int,
    *,
    seed: int,
    in_sentence: Sequence[int],
    judged: Sequence[int],
) -> dict[str, list[float]]:
    """95% percentile intervals of every figure over pages drawn with replacement."""
    n = len(rows)
    weights = np.random.default_rng(seed).multinomial(n, np.full(n, 1 / n), size=draws)
    drawn = [
        (weights @ np.stack([getattr(row, name).ravel() for row in rows])).reshape(
            draws, *getattr(rows[0], name).shape
        )
        for name in ("scalars", "confusion", "spans")
    ]
    figures = _figures(*drawn, in_sentence=in_sentence, judged=judged)
    return {
        name: [float(x) for x in np.nanquantile(values, [0.025, 0.975])]
        for name, values in figures.items()
        if not np.isnan(values).all()
    }


@dataclass(frozen=True, slots=True)
class OperatingPoint:
    """What a threshold buys: characters with a probability of at least `threshold` are cut.

    `by_label` is (1 + labels,): the share cut of each gold label, prose first, NaN where the
    label does not occur.
    """

    threshold: float
    prose_loss: float
    recall: float
    by_label: NDArray[np.float64]


def recall_at_prose_loss(
    p_spam: NDArray[Any],
    gold: NDArray[Any],
    max_loss: float,
    *,
    ignored: NDArray[np.bool_] | None = None,
    n_labels: int = len(LABELS),
) -> OperatingPoint:
    """The lowest threshold at which the pooled prose loss is at most `max_loss`, and its recall.

    Args:
        p_spam: (n,) probability that the character is spam, over all pages.
        gold: (n,) labels, 0 for prose.
        max_loss: the bound on prose characters cut / prose characters.
        ignored: (n,) characters that count neither way.
        n_labels: how many spam labels there are.

    Raises:
        ValueError: the arrays differ in length or `max_loss` is no share.
    """
    if not 0 <= max_loss <= 1:
        raise ValueError(f"max_loss must be from 0 to 1, not {max_loss}")
    p_spam, gold = np.asarray(p_spam), np.asarray(gold)
    if len(p_spam) != len(gold):
        raise ValueError(f"{len(p_spam)} probabilities for {len(gold)} characters")
    if ignored is not None:
        p_spam, gold = p_spam[~ignored], gold[~ignored]
    prose = p_spam[gold == 0]
    allowed = int(max_loss * len(prose))
    if len(prose) and (allowed + 1) / len(prose) <= max_loss:
        allowed += 1  # the product was rounded down across an integer
    if allowed >= len(prose):
        threshold = float(p_spam.min()) if len(p_spam) else 0.0
    else:
        # The first prose character that may not be cut: everything above it may.
        barrier = prose[np.argpartition(-prose, allowed)[allowed]]
        threshold = float(np.nextafter(barrier, np.asarray(np.inf, dtype=barrier.dtype)))
    cut = p_spam >= threshold
    total = np.bincount(gold, minlength=n_labels + 1)
    by_label = _ratio(np.bincount(gold[cut], minlength=n_labels + 1), total)
    spam_cut, spam = (cut & (gold > 0)).sum(), total[1:].sum()
    return OperatingPoint(
        threshold,
        float(by_label[0]) if total[0] else 0.0,
        float(_ratio(spam_cut, spam)),
        by_label,
    )


def precision_recall(
    p_spam: NDArray[Any], gold: NDArray[Any], *, points: int = 101
) -> tuple[list[dict[str, float]], float]:
    """The precision-recall curve of cutting by character, thinned out, and its area.

    Args:
        p_spam: (n,) probability that the character is spam.
        gold: (n,) labels, 0 for prose.
        points: about how many points of the curve to keep.

    Returns:
        A list of `{"threshold", "precision", "recall"}` by rising threshold, and the average
        precision.

    Raises:
        ValueError: there is no spam to recall.
    """
    from sklearn.metrics import average_precision_score, precision_recall_curve

    spam = np.asarray(gold) > 0
    if not spam.any():
        raise ValueError("a precision-recall curve needs characters of spam")
    precision, recall, threshold = precision_recall_curve(spam, p_spam, drop_intermediate=True)
    keep = np.unique(np.linspace(0, len(threshold) - 1, min(points, len(threshold))).astype(int))
    curve = [
        {"threshold": float(threshold[i]), "precision": float(precision[i]),
         "recall": float(recall[i])}
        for i in keep
    ]  # fmt: skip
    return curve, float(average_precision_score(spam, p_spam))
