"""Figures of rounds, with intervals from the bootstrap.

A figure is a function of weights, one a round: all 1 for the figure itself, and for its interval
the number of times that each round is drawn with replacement (Efron, 1979). A ratio of two figures
is drawn in the same rounds for both, so that what slows the machine in a round cancels out.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

DRAWS = 2000
"""Draws behind an interval."""

LEVEL = (0.025, 0.975)
"""The quantiles between which a 95% interval lies."""

Figure = dict[str, Any]
"""`value`, and `interval`: [low, high], or None where one round is all there is."""


def round_figure(compute: Callable[[Floats], Any], rounds: int, *, seed: int) -> Figure:
    """A figure over rounds.

    Args:
        compute: From (..., rounds) weights to (...) values.
        rounds: How many there are.
        seed: Of the draws.
    """
    value = float(compute(np.ones(rounds)))
    if rounds < 2:
        return {"value": value, "interval": None}
    rng = np.random.default_rng(seed)
    drawn = rng.multinomial(rounds, np.full(rounds, 1 / rounds), size=DRAWS).astype(np.float64)
    return {"value": value, "interval": np.quantile(compute(drawn), LEVEL).tolist()}


def rate(amounts: Floats, seconds: Floats) -> Callable[[Floats], Any]:
    """The figure of an amount a second, over rounds of both."""
    return lambda weights: (weights @ amounts) / (weights @ seconds)


def percentile_figure(values: Floats, percent: float, *, seed: int) -> Figure:
    """A percentile of values, drawn anew value by value."""
    value = float(np.percentile(values, percent))
    if len(values) < 2:
        return {"value": value, "interval": None}
    rng = np.random.default_rng(seed)
    drawn = values[rng.integers(len(values), size=(DRAWS, len(values)))]
    ends = np.quantile(np.percentile(drawn, percent, axis=1), LEVEL)
    return {"value": value, "interval": ends.tolist()}
