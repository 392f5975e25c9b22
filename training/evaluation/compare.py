"""Two models on the same pages: by how much one is better, and whether that could be chance.

Pages are drawn with replacement, the same ones for both models, and the difference of a figure is
taken in every draw (the paired bootstrap; Efron and Tibshirani, 1993). What makes a page hard makes
it hard for both, so the difference varies far less than the figures themselves.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training.corpus.records import LabelledPage
from training.evaluation.counts import FIELDS, PageCounts, pool, resample
from training.evaluation.metrics import headline_figures, interval, number, scheme

BY_LABEL = ("macro_recall", "in_sentence_recall", "in_sentence_span_recall", "strict_span_f1")
"""Figures that mean something only where both models know the same labels."""

EXTREMES = 10
"""Pages that are named as the most improved, and as the most worsened."""


def comparison(
    pages: Sequence[LabelledPage],
    counts: Sequence[PageCounts],
    other: Sequence[PageCounts],
    labels: Sequence[str],
    *,
    same_labels: bool,
    draws: int,
    seed: int = 0,
) -> dict[str, Any]:
    """Compare two models.

    Args:
        pages: The pages.
        counts: What became of each by this model.
        other: What became of each by the other.
        labels: The labels under which both were counted.
        same_labels: Whether the models have the same labels; only spam and prose are compared
            otherwise.
        draws: Draws of the pages.
        seed: Of the draws.

    Returns:
        `same_labels`, and under `labelled` and `prose` what `paired_difference` gives.
    """
    result: dict[str, Any] = {"same_labels": same_labels}
    for name, labelled in (("labelled", True), ("prose", False)):
        part = [i for i, page in enumerate(pages) if page.labelled is labelled]
        if part:
            difference = paired_difference(
                [counts[i] for i in part],
                [other[i] for i in part],
                labels,
                draws=draws,
                seed=seed,
            )
            if not same_labels:
                for figure in BY_LABEL:
                    difference["figures"].pop(figure, None)
            for key in ("most_better", "most_worse"):
                for row in difference[key]:
                    row["id"] = pages[part[row.pop("page")]].id
            result[name] = difference
    return result


def paired_difference(
    counts: Sequence[PageCounts],
    other: Sequence[PageCounts],
    labels: Sequence[str],
    *,
    draws: int,
    seed: int = 0,
) -> dict[str, Any]:
    """The difference of every figure, this minus other, over the same pages.

    Returns:
        `figures`: by name `this`, `other`, `difference`, its 95% `interval`, None where no more
        than one page counts, and `significant`, whether that leaves out 0; figures that are not
        defined for both are left out.
        `pages_better`, `pages_worse`, `pages_equal`: by the number of wrong characters.
        `most_better`, `most_worse`: `page` (its number), `wrong` and `other_wrong` of the extremes.
    """
    over = scheme(pool(counts), labels)
    plain = [headline_figures(pool(rows), over) for rows in (counts, other)]
    drawn = [headline_figures(resample(rows, draws, seed=seed), over) for rows in (counts, other)]
    alone = [headline_figures(stacked(rows), over) for rows in (counts, other)]
    figures = {}
    for name in plain[0]:
        this, that = (number(own[name].item()) for own in plain)
        if this is None or that is None:
            continue
        # One page drawn again and again is the same page: that would be an interval without width.
        counting = np.count_nonzero(~np.isnan([own[name] for own in alone]).all(axis=0))
        ends = interval(drawn[0][name] - drawn[1][name]) if counting > 1 else None
        figures[name] = {
            "this": this,
            "other": that,
            "difference": this - that,
            "interval": ends,
            "significant": ends is not None and (ends[0] > 0 or ends[1] < 0),
        }
    wrong, other_wrong = (wrong_characters(rows).sum(axis=1) for rows in (counts, other))
    change = wrong - other_wrong
    order = np.argsort(change, kind="stable")

    def extremes(indices: NDArray[np.intp], sign: int) -> list[dict[str, int]]:
        return [
            {"page": int(i), "wrong": int(wrong[i]), "other_wrong": int(other_wrong[i])}
            for i in indices[:EXTREMES]
            if sign * change[i] > 0
        ]

    return {
        "figures": figures,
        "pages_better": int((change < 0).sum()),
        "pages_worse": int((change > 0).sum()),
        "pages_equal": int((change == 0).sum()),
        "most_better": extremes(order, -1),
        "most_worse": extremes(order[::-1], 1),
    }


def stacked(rows: Sequence[PageCounts]) -> PageCounts:
    """The counts of pages side by side, with an axis of pages before their own."""
    return PageCounts(*(np.stack([getattr(row, name) for row in rows]) for name in FIELDS))


def wrong_characters(counts: Sequence[PageCounts]) -> NDArray[np.int64]:
    """(pages, 2) spam characters that were missed, and prose characters that were lost."""
    return np.array(
        [(row.confusion[1:, 0].sum(), row.confusion[0, 1:].sum()) for row in counts],
        dtype=np.int64,
    ).reshape(-1, 2)
