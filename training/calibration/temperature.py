"""Temperature scaling: one number that makes probabilities mean what they say.

A network trained to the end is surer than it is right. All its logits are divided by one
temperature, the one under which the labels of pages it was not trained on are most probable (Guo,
Pleiss, Sun and Weinberger, 2017, "On Calibration of Modern Neural Networks"). The order of the
labels of a character stays as it was.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

TEMPERATURES = tuple(float(x) for x in np.round(np.geomspace(0.4, 4.0, 60), 3))
CHUNK = 50_000  # characters whose losses are in memory at once


def fit_temperature(
    log_p: NDArray[np.float32], gold: NDArray[np.int16], bias: NDArray[np.float64] | None = None
) -> float:
    """The temperature of `TEMPERATURES` with the smallest negative log likelihood.

    Windows that overlap are merged after the softmax, so that for characters in two windows this is
    near the truth rather than exact.

    Args:
        log_p: (n, 1 + labels) log probabilities at temperature 1, without biases.
        gold: (n,) labels, 0 for prose.
        bias: (1 + labels,) nats that are added after the division.
    """
    losses = np.zeros(len(TEMPERATURES))
    for start in range(0, len(gold), CHUNK):
        log = log_p[start : start + CHUNK].astype(np.float64)
        truth = gold[start : start + CHUNK]
        for i, temperature in enumerate(TEMPERATURES):
            scaled = log / temperature + (0.0 if bias is None else bias)
            own = scaled[np.arange(len(truth)), truth]
            losses[i] += (np.logaddexp.reduce(scaled, axis=1) - own).sum()
    return TEMPERATURES[int(losses.argmin())]
