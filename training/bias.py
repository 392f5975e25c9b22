"""A bias a label, in nats, chosen where thresholds are: on tuning pages and clean prose.

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
    labelled: NDArray[np.float32],
    gold: NDArray[np.int16],
    prose: NDArray[np.float32],
    labels: Sequence[str],
    *,
    max_prose_loss: float,
    max_labelled_prose_loss: float,
) -> dict[str, float]:
    """The biases under which most is found at the bounds on prose loss.

    Args:
        labelled: ``(n, 1 + labels)`` log probabilities of the characters of tuning pages.
        gold: ``(n,)`` their labels, 0 for prose.
        prose: ``(m, 1 + labels)`` log probabilities of clean prose.
        labels: the model's spam labels.
        max_prose_loss: bound on the clean prose.
        max_labelled_prose_loss: bound on the prose of the tuning pages.

    Returns:
        Nats by label; labels without one are left out.
    """
    inside = np.isin(gold, [i for i, label in enumerate(labels, 1) if label in IN_SENTENCE])

    def merit(bias: NDArray[np.float32]) -> float:
        odds = spam_log_odds(labelled, bias)
        threshold = max(
            _lowest(odds[gold == 0], max_labelled_prose_loss),
            _lowest(spam_log_odds(prose, bias), max_prose_loss),
        )
        cut = odds > threshold
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


def _lowest(odds: NDArray[np.float32], share: float) -> float:
    """The value that all but ``share`` of the odds stay at or below."""
    if not len(odds):
        return -np.inf
    place = len(odds) - 1 - int(share * len(odds))
    return float(np.partition(odds, place)[place])
