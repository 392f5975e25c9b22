"""What thresholds cost and bring, and whether probabilities mean what they say.

Both are read off a histogram of the probability of spam, over prose and over spam: bins fine enough
in log odds that nothing is lost to the eye, and the memory does not grow with the corpus. A bin
begins at every threshold that is asked about, so what is said of those is exact.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from filter.labels import LABELS
from training.evaluation.metrics import ratio

REACH = 16.0
"""Log odds beyond which probabilities share a bin: the last of a 32-bit float below 1."""

STEP = 0.02
TENTHS = tuple(i / 10 for i in range(1, 10))

POINTS = 200
"""About how many points of a curve are kept."""


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
    by_label = ratio(np.bincount(gold[cut], minlength=n_labels + 1), total)
    spam_cut, spam = (cut & (gold > 0)).sum(), total[1:].sum()
    return OperatingPoint(
        threshold,
        float(by_label[0]) if total[0] else 0.0,
        float(ratio(spam_cut, spam)),
        by_label,
    )


@dataclass
class ScoreHistogram:
    """How the probability of spam is spread over the characters of prose and of spam.

    Attributes:
        thresholds: Probabilities at which a bin must begin, besides those evenly in log odds.
        edges: (k,) where the bins begin; the first bin, of what lies below, has none.
        characters: (2, k + 1) of prose and of spam.
        mass: (k + 1,) sums of their probabilities.
    """

    thresholds: Sequence[float] = ()
    edges: NDArray[np.float64] = field(init=False)
    characters: NDArray[np.int64] = field(init=False)
    mass: NDArray[np.float64] = field(init=False)

    def __post_init__(self) -> None:
        even = 1 / (1 + np.exp(-np.arange(-REACH, REACH + STEP, STEP)))
        # As 32-bit floats, which is what probabilities and the decoder's comparisons are.
        asked = np.asarray([*self.thresholds, *TENTHS], dtype=np.float32).astype(np.float64)
        self.edges = np.unique(np.concatenate((even, asked)))
        self.characters = np.zeros((2, len(self.edges) + 1), dtype=np.int64)
        self.mass = np.zeros(len(self.edges) + 1)

    def add(self, p_spam: NDArray[Any], is_spam: NDArray[np.bool_]) -> None:
        """Count the characters of a page: (n,) their probability, and whether they are spam."""
        n_bins = len(self.mass)
        p_spam = np.asarray(p_spam, dtype=np.float64)
        number = np.searchsorted(self.edges, p_spam, side="right")
        both = np.bincount(number + n_bins * is_spam.astype(np.int64), minlength=2 * n_bins)
        self.characters += both.reshape(2, n_bins)
        self.mass += np.bincount(number, weights=p_spam, minlength=n_bins)

    def shares_cut(self) -> NDArray[np.float64]:
        """(2, k) the share of prose and of spam at or above each edge; NaN where there is none."""
        above = self.characters[:, ::-1].cumsum(axis=1)[:, ::-1]
        return ratio(above[:, 1:], above[:, :1])


def threshold_curve(labelled: ScoreHistogram, prose: ScoreHistogram) -> dict[str, Any]:
    """What cutting by character brings at every threshold, without the decoder's own steps.

    Args:
        labelled: Of pages with spam; its edges are those of `prose`.
        prose: Of plain prose.

    Returns:
        `points` by rising threshold, each with `threshold`, `precision`, `recall`, `prose_loss`
        (of the labelled pages) and `plain_prose_loss` (None without plain prose), and
        `average_precision`, the area under precision by recall. Empty where there is no spam.
    """
    n_prose, n_spam = labelled.characters.sum(axis=1)
    if not n_spam:
        return {}
    loss, recall = labelled.shares_cut()
    plain = prose.shares_cut()[0]
    loss = np.nan_to_num(loss)
    # Nothing is cut above the highest probability: there is no precision there.
    cut = recall * n_spam + loss * n_prose
    some = np.flatnonzero(cut > 0)
    precision = np.divide(recall * n_spam, cut, out=np.ones_like(cut), where=cut > 0)
    # A rising threshold lowers recall: each step down is weighed with the precision before it.
    steps = -np.diff(np.append(recall, 0.0))
    first = (1 - recall[0]) * n_spam / (n_prose + n_spam) if len(recall) else 0.0
    average = float((steps * precision).sum() + first)
    asked = np.searchsorted(labelled.edges, np.asarray(labelled.thresholds, dtype=np.float32))
    keep = np.union1d(_spread(recall, loss, plain, some), np.intersect1d(asked, some))
    return {
        "average_precision": average,
        "points": [
            {
                "threshold": _short(labelled.edges[i]),
                "precision": _short(precision[i]),
                "recall": _short(recall[i]),
                "prose_loss": _short(loss[i]) if n_prose else None,
                "plain_prose_loss": None if np.isnan(plain[i]) else _short(plain[i]),
            }
            for i in keep
        ],
    }


def _spread(
    recall: NDArray[Any], loss: NDArray[Any], plain: NDArray[Any], some: NDArray[np.intp]
) -> NDArray[np.intp]:
    """About `POINTS` of the indices `some`, spread as the eye sees the curves.

    By the way that they go: recall on a straight axis, losses on one of powers of ten.
    """
    if not len(some):
        return some
    columns = (recall, np.log10(np.maximum(loss, 1e-6)), np.log10(np.maximum(plain, 1e-6)))
    way = np.zeros(len(some))
    for column in columns:
        chosen = np.nan_to_num(column[some])
        way[1:] += np.abs(np.diff(chosen)) / max(float(np.ptp(chosen)), 1e-9)
    travelled = way.cumsum()
    stops = np.linspace(0, travelled[-1], POINTS)
    nearest = np.searchsorted(travelled, stops).clip(0, len(some) - 1)
    return np.asarray(some[np.unique(nearest)])


def _short(value: float) -> float:
    """Six digits: what a curve is drawn with."""
    return float(f"{value:.6g}")


def calibration(histogram: ScoreHistogram) -> dict[str, Any]:
    """Whether of the characters with a probability of p a share of p is spam.

    Returns:
        `bins`, ten of equal width (Guo and others, 2017), each with `low`, `high`, `characters`,
        `probability` (their mean) and `spam` (the share of them that is); and
        `expected_calibration_error`, the mean distance of the two, weighed by characters. Empty
        where there are no characters.
    """
    total = int(histogram.characters.sum())
    if not total:
        return {}
    inner = np.searchsorted(histogram.edges, np.asarray(TENTHS, dtype=np.float32)) + 1
    starts = np.concatenate(([0], inner))
    spam = np.add.reduceat(histogram.characters[1], starts)
    count = np.add.reduceat(histogram.characters.sum(axis=0), starts)
    mean, share = ratio(np.add.reduceat(histogram.mass, starts), count), ratio(spam, count)
    apart = np.nan_to_num(np.abs(mean - share))
    ends = (0.0, *TENTHS, 1.0)
    return {
        "expected_calibration_error": float((apart * count).sum() / total),
        "bins": [
            {
                "low": ends[i],
                "high": ends[i + 1],
                "characters": int(count[i]),
                "probability": None if np.isnan(mean[i]) else _short(mean[i]),
                "spam": None if np.isnan(share[i]) else _short(share[i]),
            }
            for i in range(len(starts))
        ],
    }
