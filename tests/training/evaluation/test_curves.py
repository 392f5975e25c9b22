"""What thresholds cost and bring, against brute force and scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from training.evaluation.curves import (
    POINTS,
    ScoreHistogram,
    calibration,
    recall_at_prose_loss,
    threshold_curve,
)

scored = st.lists(
    st.tuples(st.sampled_from([0.0, 0.1, 0.2, 0.5, 0.9, 1.0]), st.integers(0, 3), st.booleans()),
    min_size=1,
    max_size=40,
)


@given(scored, st.sampled_from([0.0, 0.05, 0.1, 0.25, 0.5, 1.0]))
@settings(max_examples=300, deadline=None)
def test_the_operating_point_is_the_best_that_the_bound_allows(
    items: list[tuple[float, int, bool]], max_loss: float
) -> None:
    p, gold, ignored = (np.array(column) for column in zip(*items, strict=True))
    point = recall_at_prose_loss(p.astype(np.float32), gold, max_loss, ignored=ignored, n_labels=3)
    prose = [x for x, g, skip in items if not g and not skip]
    spam = [x for x, g, skip in items if g and not skip]

    def loss(threshold: float) -> float:
        return sum(np.float32(x) >= threshold for x in prose) / len(prose) if prose else 0.0

    def recall(threshold: float) -> float:
        return sum(np.float32(x) >= threshold for x in spam) / len(spam) if spam else float("nan")

    assert point.prose_loss == loss(point.threshold) <= max_loss
    best = max((recall(t) for t in [*map(np.float32, p), 2.0] if loss(t) <= max_loss), default=0.0)
    assert point.recall == pytest.approx(best, nan_ok=True)


def test_the_operating_point_gives_the_share_cut_by_label() -> None:
    point = recall_at_prose_loss(
        np.array([0.1, 0.8, 0.9, 0.3]), np.array([0, 0, 1, 3]), 0.0, n_labels=3
    )
    assert 0.8 < point.threshold <= 0.9
    assert point.by_label[[0, 1, 3]].tolist() == [0, 1, 0]
    assert np.isnan(point.by_label[2])


def test_a_bound_is_met_exactly_in_spite_of_rounding() -> None:
    # 0.29 * 100 is 28.999999999999996.
    point = recall_at_prose_loss(np.arange(100) / 100, np.zeros(100, int), 0.29)
    assert point.prose_loss == pytest.approx(0.29)


@pytest.mark.parametrize("bound", [-0.1, 1.5])
def test_a_bound_that_is_no_share_is_refused(bound: float) -> None:
    with pytest.raises(ValueError, match="from 0 to 1"):
        recall_at_prose_loss(np.array([0.5]), np.array([0]), bound)


probabilities = st.lists(
    st.tuples(st.floats(0, 1, width=32), st.booleans()), min_size=1, max_size=60
)
EMPTY = ScoreHistogram()


def histogram(p: np.ndarray, spam: np.ndarray, *thresholds: float) -> ScoreHistogram:
    """The histogram of one page, counted in two parts."""
    counted = ScoreHistogram(thresholds)
    half = len(p) // 2
    counted.add(p[:half], spam[:half])
    counted.add(p[half:], spam[half:])
    return counted


@given(probabilities, st.floats(2**-7, 1, width=32))
@settings(max_examples=200, deadline=None)
def test_a_threshold_that_is_asked_about_is_exact(
    items: list[tuple[float, bool]], threshold: float
) -> None:
    p, spam = np.array([x for x, _ in items], np.float32), np.array([s for _, s in items])
    counted = histogram(p, spam, threshold)
    at = int(np.flatnonzero(counted.edges == np.float32(threshold))[0])
    for share, chosen in zip(counted.shares_cut()[:, at], (~spam, spam), strict=True):
        if chosen.any():
            assert share == pytest.approx((p[chosen] >= np.float32(threshold)).mean())
        else:
            assert np.isnan(share)


def test_the_curve_is_that_of_scikit_learn() -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(0)
    spam = rng.random(3000) < 0.2
    p = (1 / (1 + np.exp(-rng.normal(4.0 * spam - 2.0, 2.0)))).astype(np.float32)
    prose = ScoreHistogram([0.7])
    prose.add(p[~spam][:100], np.zeros(100, bool))
    curve = threshold_curve(histogram(p, spam, 0.7), prose)
    # Scores that share a bin are a tie here; bins are narrow.
    expected = metrics.average_precision_score(spam, p)
    assert curve["average_precision"] == pytest.approx(expected, abs=0.002)
    points = curve["points"]
    assert len(points) <= POINTS + 1
    assert [x["threshold"] for x in points] == sorted(x["threshold"] for x in points)
    for point in points:
        cut = p >= np.float32(point["threshold"])
        # The threshold is rounded to six digits: a character or two may stand on its other side.
        assert point["recall"] == pytest.approx((cut & spam).sum() / spam.sum(), abs=0.004)
        assert point["prose_loss"] == pytest.approx((cut & ~spam).sum() / (~spam).sum(), abs=0.004)
    (chosen,) = [point for point in points if point["threshold"] == 0.7]
    assert chosen["plain_prose_loss"] == pytest.approx((p[~spam][:100] >= 0.7).mean())


def test_without_spam_there_is_no_curve_and_without_prose_no_loss() -> None:
    p = np.array([0.2, 0.9], np.float32)
    assert threshold_curve(histogram(p, np.zeros(2, bool)), EMPTY) == {}
    curve = threshold_curve(histogram(p, np.ones(2, bool)), EMPTY)
    assert curve["average_precision"] == pytest.approx(1)
    assert {point["prose_loss"] for point in curve["points"]} == {None}
    assert {point["plain_prose_loss"] for point in curve["points"]} == {None}


@given(probabilities)
@settings(max_examples=100, deadline=None)
def test_calibration_is_that_of_the_brute_force(items: list[tuple[float, bool]]) -> None:
    p, spam = np.array([x for x, _ in items], np.float32), np.array([s for _, s in items])
    found = calibration(histogram(p, spam))
    tenths = np.float32([i / 10 for i in range(1, 10)])
    number = np.searchsorted(tenths, p, side="right")
    error = 0.0
    for i, own in enumerate(found["bins"]):
        here = number == i
        assert own["characters"] == here.sum()
        if here.any():
            mean, share = p[here].astype(float).mean(), spam[here].mean()
            assert own["probability"] == pytest.approx(mean, rel=1e-4)
            assert own["spam"] == pytest.approx(share, rel=1e-4)
            error += abs(mean - share) * here.sum() / len(p)
        else:
            assert own["probability"] is own["spam"] is None
    assert found["expected_calibration_error"] == pytest.approx(error)


def test_what_is_well_calibrated_has_no_error() -> None:
    p = np.repeat(np.float32([0.25, 0.75]), 4)
    spam = np.array([1, 0, 0, 0, 1, 1, 1, 0], bool)
    assert calibration(histogram(p, spam))["expected_calibration_error"] == pytest.approx(0)
    assert calibration(histogram(p, ~spam))["expected_calibration_error"] == pytest.approx(0.5)
    assert calibration(EMPTY) == {}
