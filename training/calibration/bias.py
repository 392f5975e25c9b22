"""A bias a label, in nats, chosen where the shape of the decoder is: on the tuning pages.

Training shows far more of some kinds of spam than real pages hold, so a probability of 0.9 means
less for one label than for another. One number a label, added to its logit, mends that before one
threshold decides for all (vector scaling without the scales: Guo and others, 2017, "On Calibration
of Modern Neural Networks"). It is searched for by coordinates: recall at a bound is what counts.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from filter.labels import IN_SENTENCE

STEPS = (-2.0, -1.0, -0.5, 0.5, 1.0, 2.0)
LOWEST, HIGHEST = -3.0, 4.0
ROUNDS = 3


def spam_log_odds(log_p: NDArray[np.float32], bias: NDArray[np.float32]) -> NDArray[np.float32]:
    """Log odds of spam, ``(n,)``, from log probabilities ``(n, 1 + labels)`` under a bias."""
    biased = log_p[:, 1:] + bias
    top = biased.max(axis=1)
    odds = top + np.log(np.exp(biased - top[:, None]).sum(axis=1)) - log_p[:, 0]
    return np.asarray(odds, dtype=np.float32)


def fit_bias(
    log_p: NDArray[np.float32],
    gold: NDArray[np.int16],
    labels: Sequence[str],
    costs: Sequence[tuple[NDArray[np.float64], float]],
) -> dict[str, float]:
    """The biases under which most is found at the bounds on prose loss.

    Args:
        log_p: ``(n, 1 + labels)`` log probabilities of the characters of some pages.
        gold: ``(n,)`` their labels, 0 for prose.
        labels: the model's spam labels.
        costs: for each bound, ``(n,)`` what losing a character adds to the loss, and the bound.

    Returns:
        Nats by label; labels without one are left out.
    """
    inside = np.isin(gold, [i for i, label in enumerate(labels, 1) if label in IN_SENTENCE])
    limited = [(np.flatnonzero(cost), cost[cost > 0], bound) for cost, bound in costs]

    def merit(bias: NDArray[np.float32]) -> float:
        odds = spam_log_odds(log_p, bias)
        cut = odds > max(_lowest(odds[where], cost, bound) for where, cost, bound in limited)
        found = [cut[gold == i].mean() for i in range(1, len(labels) + 1) if (gold == i).any()]
        parts = [float(np.mean(found))] if found else []
        parts += [float(cut[inside].mean())] if inside.any() else []
        return sum(parts) / max(1, len(parts))

    bias = np.zeros(len(labels), dtype=np.float32)
    best = merit(bias)
    for _ in range(ROUNDS):
        before = best
        for index in range(len(labels)):
            for step in STEPS:
                tried = bias.copy()
                tried[index] = np.clip(tried[index] + step, LOWEST, HIGHEST)
                value = merit(tried)
                if value > best + 1e-4:
                    best, bias = value, tried
        if best == before:
            break
    return {label: float(b) for label, b in zip(labels, bias, strict=True) if b}


def page_cost(
    gold: NDArray[np.int16], page: NDArray[np.int32], n_pages: int
) -> NDArray[np.float64]:
    """``(n,)`` what losing a character adds to the mean over pages of their prose loss."""
    prose = gold == 0
    sizes = np.bincount(page[prose], minlength=n_pages)
    return np.where(prose, 1 / (np.maximum(sizes[page], 1) * max(1, n_pages)), 0.0)


def pooled_cost(gold: NDArray[np.int16], chosen: NDArray[np.bool_]) -> NDArray[np.float64]:
    """``(n,)`` what losing a character adds to the prose loss pooled over those chosen."""
    prose = (gold == 0) & chosen
    return np.asarray(prose / max(1, int(prose.sum())))


def _lowest(odds: NDArray[np.float32], cost: NDArray[np.float64], bound: float) -> float:
    """The lowest value above which no more than `bound` of the cost lies."""
    order = np.argsort(-odds)
    above = np.cumsum(cost[order]) > bound + 1e-12
    return float(odds[order[int(above.argmax())]]) if above.any() else -np.inf
