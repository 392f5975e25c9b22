"""Figures from counts: recall, prose loss and the rest, over all pages and by part.

Every figure is a ratio of pooled counts (`training.evaluation.counts`), so the same lines give the
figure of a corpus, of a group of its pages and of every draw of a bootstrap.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from filter.labels import IN_SENTENCE, LABELS, PROSE
from training.evaluation.counts import LENGTH_NAMES, MATCHES, SCALARS, PageCounts, pool, resample

Figures = dict[str, Any]

LEVEL = (0.025, 0.975)
"""The quantiles between which an interval lies."""


def ratio(part: NDArray[Any], whole: NDArray[Any]) -> NDArray[np.float64]:
    """part / whole, NaN where there is nothing to divide by."""
    part, whole = np.broadcast_arrays(np.asarray(part, float), np.asarray(whole, float))
    return np.asarray(np.divide(part, whole, out=np.full(part.shape, np.nan), where=whole > 0))


def number(value: float) -> float | None:
    """A figure as JSON has it: None for NaN."""
    return None if np.isnan(value) else float(value)


def interval(values: NDArray[np.float64]) -> list[float] | None:
    """The 95% percentile interval of a figure's draws; None where no draw has a value."""
    if np.isnan(values).all():
        return None
    return [float(x) for x in np.nanquantile(values, LEVEL)]


@dataclass(frozen=True, slots=True)
class Scheme:
    """What the figures of a corpus are taken over.

    Attributes:
        labels: the names of the spam labels, in the order of their numbers from 1.
        in_sentence: the numbers of those that stand inside sentences.
        judged: the numbers of those that count towards the macro recall.
    """

    labels: tuple[str, ...]
    in_sentence: list[int]
    judged: list[int]


def scheme(
    pooled: PageCounts,
    labels: Sequence[str],
    *,
    in_sentence: Sequence[str] = IN_SENTENCE,
    min_spans: int = 1,
) -> Scheme:
    """The scheme of a corpus.

    Args:
        pooled: the counts of the whole corpus.
        labels: the names of the spam labels, in the order of their numbers from 1.
        in_sentence: the labels of spam inside sentences; those not in `labels` are passed over.
        min_spans: a label counts towards the macro recall from this many gold spans on.

    Raises:
        ValueError: the counts hold another number of labels.
    """
    if len(pooled.spans) != len(labels) + 1:
        raise ValueError(f"counts hold {len(pooled.spans) - 1} labels, {len(labels)} were named")
    return Scheme(
        tuple(labels),
        [i for i, label in enumerate(labels, 1) if label in in_sentence],
        [
            i for i in range(1, len(labels) + 1)
            if pooled.spans[i, :, 0].sum() >= max(1, min_spans)
        ],
    )  # fmt: skip


def headline_figures(counts: PageCounts, over: Scheme) -> dict[str, NDArray[np.float64]]:
    """The figures of pooled counts; leading axes of the counts (draws) are kept."""
    column = {name: counts.scalars[..., i] for i, name in enumerate(SCALARS)}
    match = {name: counts.matches[..., i] for i, name in enumerate(MATCHES)}
    total = counts.confusion.sum(axis=-1)
    lost = total - counts.confusion[..., 0]
    spam, spam_cut = total[..., 1:].sum(-1), lost[..., 1:].sum(-1)
    spans = counts.spans.sum(axis=-2)
    inside = over.in_sentence
    figures = {
        "recall": ratio(spam_cut, spam),
        "precision": ratio(spam_cut, spam_cut + column["prose_cut"]),
        "f1": ratio(2 * spam_cut, spam_cut + column["prose_cut"] + spam),
        "prose_loss": ratio(column["prose_cut"], column["prose"]),
        "in_sentence_recall": ratio(lost[..., inside].sum(-1), total[..., inside].sum(-1)),
        "in_sentence_span_recall": ratio(
            spans[..., inside, 1].sum(-1), spans[..., inside, 0].sum(-1)
        ),
        "span_recall": ratio(spans[..., 1].sum(-1), spans[..., 0].sum(-1)),
        "exact_span_f1": ratio(2 * match["exact"], match["gold"] + match["cut"]),
        "strict_span_f1": ratio(2 * match["strict"], match["gold"] + match["cut"]),
        "restored_pages": ratio(column["restored"], column["spam_page"]),
        "clean_prose_loss": ratio(column["clean_prose_cut"], column["clean_prose"]),
        "false_spans_per_100k": 1e5 * ratio(column["false_spans"], column["clean_prose"]),
    }
    # A bootstrap draw may miss a rare label altogether: the mean is over the labels it has.
    rows = ratio(lost, total)[..., over.judged]
    known = ~np.isnan(rows)
    figures["macro_recall"] = ratio(np.where(known, rows, 0).sum(-1), known.sum(-1))
    return figures


def summarize(
    counts: Iterable[PageCounts],
    *,
    labels: Sequence[str] = LABELS,
    in_sentence: Sequence[str] = IN_SENTENCE,
    min_spans: int = 1,
    bootstrap: int = 0,
    seed: int = 0,
    parts: bool = True,
) -> Figures:
    """Figures pooled over pages, as plain JSON values; None where there is nothing to divide by.

    Args:
        counts: a `PageCounts` per page.
        labels: the names of the spam labels, in the order of their numbers from 1.
        in_sentence: the labels of spam inside sentences; those not in `labels` are passed over.
        min_spans: a label counts towards the macro recall from this many gold spans on.
        bootstrap: how many times to draw the pages anew for the 95% intervals; 0 for none. A
            figure that rests on one page has none either.
        seed: of the draws.
        parts: whether to give the figures by label and by length, and the confusion.

    Returns:
        The figures of `headline_figures` by name, the counts under them (`pages`,
        `prose_characters`, `spam_characters`, `spans`, ...), with `bootstrap` also `intervals`, a
        `[low, high]` for each figure. With `parts` also `by_label`, `by_length` (all spam),
        `in_sentence_by_length` (where a label stands inside sentences) and `confusion`; a row of
        the first three has `pages`, those with such a span, and `intervals` of its own.
    """
    rows = list(counts)
    pooled = pool(rows)
    over = scheme(pooled, labels, in_sentence=in_sentence, min_spans=min_spans)
    # One page drawn again and again is the same page: that would be an interval without width.
    drawn = resample(rows, bootstrap, seed=seed) if bootstrap and len(rows) > 1 else None
    column = dict(zip(SCALARS, pooled.scalars.tolist(), strict=True))
    match = dict(zip(MATCHES, pooled.matches.tolist(), strict=True))
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
        "spans": match["gold"],
        "spans_cut": match["cut"],
        "spans_exact": match["exact"],
        "spans_strict": match["strict"],
        "spans_partial": match["partial"],
        "false_spans": column["false_spans"],
        **{name: number(value.item()) for name, value in headline_figures(pooled, over).items()},
    }
    if drawn is not None:
        values = {name: interval(v) for name, v in headline_figures(drawn, over).items()}
        result["intervals"] = {name: ends for name, ends in values.items() if ends is not None}
    if parts:
        has_span = np.stack([row.spans[..., 0] > 0 for row in rows])
        result |= _parts(pooled, drawn, has_span, over)
    return result


def _parts(
    pooled: PageCounts,
    drawn: PageCounts | None,
    has_span: NDArray[np.bool_],
    over: Scheme,
) -> Figures:
    """The figures by label and by length, and the confusion.

    `has_span` is (pages, 1 + labels, lengths), where a page has a span of a label and a length.
    """

    def row(labels: Any, lengths: Any) -> Figures:
        pages = int(has_span[:, labels][:, :, lengths].any(axis=(1, 2)).sum())
        own = pooled.spans[labels][:, lengths].sum(axis=(0, 1))
        anew = None if drawn is None else drawn.spans[:, labels][:, :, lengths].sum(axis=(1, 2))
        return {"pages": pages, **_span_row(own, anew if pages > 1 else None)}

    def by_length(labels: list[int]) -> dict[str, Figures]:
        return {name: row(labels, [i]) for i, name in enumerate(LENGTH_NAMES)}

    parts: Figures = {
        "by_label": {label: row([i], slice(None)) for i, label in enumerate(over.labels, 1)},
        "by_length": by_length(list(range(1, len(over.labels) + 1))),
        "confusion": {
            "gold": [PROSE, *over.labels],
            "cut_as": ["kept", *over.labels, "unnamed"],
            "characters": pooled.confusion.tolist(),
        },
    }
    if over.in_sentence:
        parts["in_sentence_by_length"] = by_length(over.in_sentence)
    return parts


def _span_row(counts: NDArray[Any], drawn: NDArray[Any] | None) -> Figures:
    """The figures of some spans, from (4,) counts of `PageCounts.spans`, and (draws, 4) of them."""
    spans, whole, characters, lost = (int(x) for x in counts)
    row: Figures = {
        "spans": spans,
        "characters": characters,
        "recall": lost / characters if characters else None,
        "span_recall": whole / spans if spans else None,
    }
    if drawn is not None:
        row["intervals"] = {
            "recall": interval(ratio(drawn[:, 3], drawn[:, 2])),
            "span_recall": interval(ratio(drawn[:, 1], drawn[:, 0])),
        }
    return row
