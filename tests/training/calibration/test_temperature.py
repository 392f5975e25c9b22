"""Temperature scaling finds the temperature that was applied."""

from __future__ import annotations

import numpy as np
import pytest

from training.calibration.temperature import fit_temperature


def drawn(bias: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Log probabilities twice as sharp as those that the labels were drawn from, under a bias."""
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(4000, 7)) * 2
    true = np.exp(logits + bias)
    true /= true.sum(1, keepdims=True)
    gold = np.array([rng.choice(7, p=row) for row in true], dtype=np.int16)
    sharp = 2 * logits
    return (sharp - np.logaddexp.reduce(sharp, axis=1, keepdims=True)).astype(np.float32), gold


def test_a_temperature_is_found_again() -> None:
    assert fit_temperature(*drawn(np.zeros(7))) == pytest.approx(2, rel=0.1)


def test_biases_are_added_after_the_division_as_the_filter_does() -> None:
    bias = np.array([0, 2, -2, 0, 1, 0, 3.0])
    log_p, gold = drawn(bias)
    assert fit_temperature(log_p, gold, bias) == pytest.approx(2, rel=0.1)
    assert fit_temperature(log_p, gold) != pytest.approx(2, rel=0.1)
