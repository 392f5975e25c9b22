"""Figures over rounds: what they are of, and what their intervals leave out."""

from __future__ import annotations

import numpy as np
import pytest

from filter.benchmark.figures import figures
from filter.benchmark.statistics import percentile_figure, rate, round_figure


def test_a_rate_is_of_sums_not_of_rates() -> None:
    found = round_figure(rate(np.array([100.0, 300.0]), np.array([1.0, 1.0])), 2, seed=0)
    assert found["value"] == 200
    assert found["interval"] == [100, 300]
    assert round_figure(rate(np.array([900.0, 100.0]), np.array([9.0, 1.0])), 2, seed=0) == {
        "value": 100,
        "interval": [100, 100],
    }


def test_one_round_has_no_interval() -> None:
    assert round_figure(rate(np.array([7.0]), np.array([2.0])), 1, seed=0)["interval"] is None


def test_an_interval_is_the_same_for_a_seed_and_holds_the_value() -> None:
    rng = np.random.default_rng(0)
    amounts, seconds = rng.uniform(80, 120, 20), rng.uniform(0.9, 1.1, 20)
    found = round_figure(rate(amounts, seconds), 20, seed=3)
    low, high = found["interval"]
    assert low < found["value"] < high
    assert 0.02 < (high - low) / found["value"] < 0.2
    assert round_figure(rate(amounts, seconds), 20, seed=3) == found


def test_a_percentile_is_drawn_value_by_value() -> None:
    values = np.arange(1.0, 102.0)
    found = percentile_figure(values, 50, seed=0)
    assert found["value"] == 51
    assert found["interval"][0] < 51 < found["interval"][1]
    assert percentile_figure(np.array([4.0]), 95, seed=0) == {"value": 4.0, "interval": None}


def test_figures_are_of_what_the_rounds_say() -> None:
    # The second round runs on a machine half as fast.
    slow = [1.0, 2.0]
    results = {
        "filter": [
            {"seconds": s, "characters": 1000, "pages": 10, "operations": 6e6} for s in slow
        ],
        "clocked": [
            {"seconds": s, "busy": 1.8 * s, "processor": 1.6 * s, "process": 2 * s} for s in slow
        ],
        "ceiling": [{"operations_per_second": 12e6 / s} for s in slow],
        "filter_beside_peer": [{"seconds": s, "characters": 1200} for s in slow],
        "peer": [{"seconds": s, "characters": 100} for s in slow],
    }
    found = figures(results, callers=2)
    assert found["characters_per_second"]["value"] == pytest.approx(2000 / 3)
    assert found["characters_per_second"]["interval"] == pytest.approx([500, 1000])
    assert found["pages_per_second"]["value"] == pytest.approx(20 / 3)
    assert found["engine_share"] == {
        "value": pytest.approx(0.9),
        "interval": pytest.approx([0.9, 0.9]),
    }
    assert found["engine_processor_share"]["value"] == pytest.approx(0.8)
    # Both rounds were as slow for the peer: the ratio is as sure as if there had been one speed.
    assert found["ratio"] == {"value": pytest.approx(12), "interval": pytest.approx([12, 12])}
    assert found["peer_characters_per_second"]["value"] == pytest.approx(200 / 3)
    assert found["utilisation"]["value"] == pytest.approx(4e6 / 9e6)


def test_what_was_not_run_is_left_out() -> None:
    one = {"seconds": 1.0, "characters": 10, "pages": 1, "operations": 0}
    clocked = {"seconds": 1.0, "busy": 0.0, "characters": 10}
    found = figures({"filter": [one], "clocked": [clocked]}, callers=1)
    assert set(found) == {"characters_per_second", "pages_per_second"}
