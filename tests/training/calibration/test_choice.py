"""Choosing settings from what they cost: bounds kept, promises corrected, pages parted."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from filter.errors import UsageError, WinnowError
from filter.labels import LABELS
from filter.masks import Shape
from training.calibration.choice import (
    LOW_RATIOS,
    check_pages,
    choose,
    fingerprint,
    parted,
    promised,
)
from training.calibration.conformal import smallest_bound
from training.calibration.scoring import Bounds, Point, Scored, measure
from training.corpus.records import LabelledPage


def scored(*pages: list[tuple[float, int]], one_line: bool = False) -> Scored:
    """Characters by page with a probability and a label, each on a line of its own."""
    items = [(p, gold, number) for number, page in enumerate(pages) for p, gold in page]
    n = len(items)
    return Scored(
        np.array([p for p, _, _ in items], dtype=np.float32),
        np.array([gold for _, gold, _ in items], dtype=np.int16),
        np.arange(n, dtype=np.int32),
        np.zeros(n, np.int32) if one_line else np.arange(n, dtype=np.int32),
        np.ones(n + 1, dtype=bool),
        np.ones(n, dtype=bool),
        np.array([number for _, _, number in items], dtype=np.int32),
        np.array([any(gold for _, gold in page) for page in pages]),
        LABELS,
    )


def test_the_lowest_threshold_within_all_bounds_is_chosen() -> None:
    pages = scored(
        [(0.9, 1), (0.35, 0), (0.5, 2), (0.2, 1), (0.1, 0)],
        [(0.3, 0), (0.05, 0), (0.05, 0), (0.05, 0)],
    )
    grid: dict[str, Any] = {
        "thresholds": [0.01, 0.08, 0.2, 0.32, 0.4, 0.8],
        "shapes": [Shape(low_ratio=1.0, min_gap=0)],
    }

    def threshold(page: float, labelled: float | None = None, plain: float | None = None) -> float:
        return choose(pages, Bounds(page=page, labelled=labelled, plain=plain), **grid)[1].threshold

    assert threshold(1) == 0.01
    assert threshold(0.7) == 0.08  # (1 + 1/4) / 2
    assert threshold(0.4) == 0.2  # (1/2 + 1/4) / 2
    assert threshold(0.25) == 0.32
    assert threshold(0.4, 0.5) == 0.2
    assert threshold(0.4, 0.0) == 0.4
    assert threshold(0.0) == 0.4
    assert threshold(1, None, 0.5) == 0.08
    assert threshold(1, 0.6, 0.1) == 0.32


def test_the_other_settings_are_chosen_by_what_they_find() -> None:
    line = [(0.9, 1), (0.3, 1), (0.9, 1), (0.0, 0), (0.0, 0), (0.4, 0)]
    shapes = [Shape(low_ratio=low_ratio, min_gap=0) for low_ratio in LOW_RATIOS]
    shape, point = choose(scored(line, one_line=True), Bounds(page=0), shapes=shapes)
    assert point.recall == 1
    assert shape.low_ratio * point.threshold <= 0.3 < 0.4 < point.threshold


def test_what_is_found_with_bonuses_is_what_they_find() -> None:
    line = [(0.95, 1), (0.9, 1), (0.95, 1), (0.9, 1)]
    pages = scored(line, [(0.97, 0), (0.0, 0)], one_line=False)
    shapes = [Shape(1.0, 0, bonus, other) for bonus in (None, 1.0) for other in (None, 1.0)]
    for shape in shapes:
        chosen, point = choose(pages, Bounds(page=0.3), shapes=[shape])
        assert chosen == shape
        assert point == measure(pages, threshold=point.threshold, shape=shape)


def test_bounds_that_cannot_be_kept_are_told() -> None:
    with pytest.raises(WinnowError, match=r"1\.00000 of a page \(0\.0005\), 1\.00000 of labelled"):
        choose(scored([(1.0, 0), (1.0, 1)]), Bounds(page=0.0005, labelled=1))


def points(*costs: tuple[float, float]) -> list[Point]:
    """Thresholds 0.1, 0.2, ... with their loss a page and on labelled pages."""
    return [Point(i / 10, a, a, b, 0.0, 0.5, 0.5, None) for i, (a, b) in enumerate(costs, 1)]


def test_the_promise_is_corrected_and_the_other_bound_only_raises_the_threshold() -> None:
    sweep = points((0.4, 0.5), (0.095, 0.5), (0.09, 0.2), (0.01, 0.1))

    def threshold(page: float, labelled: float | None = None) -> float:
        return promised(sweep, 99, Bounds(page=page, labelled=labelled, plain=0)).threshold

    assert threshold(0.5) == 0.1
    # 99 / 100 * 0.095 + 1 / 100 is above 0.1, at 0.09 it is below.
    assert threshold(0.1) == 0.3
    assert threshold(0.1, 0.5) == 0.3
    assert threshold(0.1, 0.15) == 0.4
    assert threshold(0.5, 0.2) == 0.3
    with pytest.raises(WinnowError, match=r"no threshold promises.*lose 0\.01000.*0\.01990"):
        threshold(0.015)
    with pytest.raises(WinnowError, match=r"at 0\.4, .*0\.10000 of labelled pages \(0\.05\)"):
        threshold(0.1, 0.05)


def test_too_few_pages_name_the_smallest_bound_which_is_then_accepted() -> None:
    check_pages(999, 2000, 0.001)
    with pytest.raises(UsageError) as caught:
        check_pages(150, 300, 0.001)
    message = str(caught.value)
    assert "needs 999 calibration pages" in message
    assert "there are 150 (of 300 pages)" in message
    smallest = float(message.rsplit(" ", 1)[1])
    assert 1 / 151 <= smallest < 1.01 / 151
    check_pages(150, 300, smallest)
    with pytest.raises(UsageError, match="no number of pages"):
        check_pages(150, 300, 0.0)


def test_pages_are_parted_by_the_seed_alone() -> None:
    pages = [LabelledPage(str(i), "字", []) for i in range(100)]
    tuning, calibration = parted(pages, 0.3, seed=4)
    assert (len(tuning), len(calibration)) == (70, 30)
    assert {page.id for page in tuning} | {page.id for page in calibration} == set(
        map(str, range(100))
    )
    assert parted(pages, 0.3, seed=4) == (tuning, calibration)
    assert parted(pages, 0.3, seed=5) != (tuning, calibration)
    assert fingerprint(calibration) != fingerprint(calibration[:-1])


@given(st.integers(0, 10**7))
def test_the_bound_that_is_suggested_is_accepted_and_no_larger_than_need_be(pages: int) -> None:
    with pytest.raises(UsageError) as caught:
        check_pages(pages, 2 * pages, 0.0)
    suggested = float(str(caught.value).rsplit(" ", 1)[1])
    check_pages(pages, 2 * pages, suggested)
    assert suggested <= 1.01 * smallest_bound(pages)
