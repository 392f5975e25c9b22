"""Conformal risk control: what is promised is kept, and what cannot be promised is not."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from filter.decoding import decode_spans
from filter.labels import LABELS, PROSE
from filter.masks import Shape
from training.calibration.conformal import corrected, lowest_threshold, pages_needed, smallest_bound
from training.calibration.scoring import measure, score_pages
from training.calibration.simulation import population, simulate, table
from training.corpus.arrays import ignored_mask
from training.corpus.records import LabelledPage

NAMES = (PROSE, *LABELS)


@pytest.mark.parametrize(
    ("bound", "pages"), [(0.001, 999), (0.0005, 1999), (0.005, 199), (0.3, 3), (0.5, 1), (1, 0)]
)
def test_the_fewest_pages_that_a_bound_needs(bound: float, pages: int) -> None:
    assert pages_needed(bound) == pages
    assert smallest_bound(pages) <= bound
    assert pages == 0 or smallest_bound(pages - 1) > bound


@given(st.floats(1e-6, 1))
def test_no_fewer_pages_would_do(bound: float) -> None:
    pages = pages_needed(bound)
    assert smallest_bound(pages) <= bound
    assert pages == 0 or smallest_bound(pages - 1) > bound


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12), st.integers(1, 400), st.floats(0, 1))
def test_the_lowest_threshold_is_taken_and_all_higher_ones_fit(
    drawn: list[float], pages: int, bound: float
) -> None:
    risks = sorted(drawn, reverse=True)
    place = lowest_threshold(risks, pages, bound)
    promised = [(pages * risk + 1) / (pages + 1) for risk in risks]
    fits = [value <= bound for value in promised]
    assert corrected(risks, pages) == pytest.approx(promised)
    assert fits == sorted(fits)
    assert place == (fits.index(True) if True in fits else None)


def test_a_risk_that_rises_is_refused() -> None:
    with pytest.raises(ValueError, match="not nested"):
        lowest_threshold([0.1, 0.2], 100, 0.5)


@st.composite
def scored_pages(draw: st.DrawFn) -> tuple[list[LabelledPage], list[np.ndarray]]:
    """Pages with blanks, lines and ambiguous ranges, and random probabilities for them."""
    pages, probabilities = [], []
    for number in range(draw(st.integers(1, 3))):
        text = draw(st.text("一二三\n \r", min_size=1, max_size=30))
        ambiguous = [(0, 1)] if draw(st.booleans()) else []
        pages.append(LabelledPage(str(number), text, [], ambiguous=ambiguous))
        rng = np.random.default_rng(draw(st.integers(0, 1000)))
        rows = rng.dirichlet(np.full(len(NAMES), 0.3), len(text)).astype(np.float32)
        probabilities.append(rows)
    return pages, probabilities


@given(
    scored_pages(),
    st.lists(st.floats(0.01, 1), min_size=2, max_size=6),
    st.builds(
        Shape,
        low_ratio=st.sampled_from([0.1, 0.5, 1.0]),
        min_gap=st.integers(0, 3),
        line_bonus=st.sampled_from([None, -1.0, 1.0]),
        repeat_bonus=st.sampled_from([None, -1.0, 1.0]),
        whole_line_bonus=st.sampled_from([None, 0.0, 2.0]),
        page_bonus=st.sampled_from([None, 0.5]),
    ),
    st.sampled_from([(), ("ad",), ("noise", "keyword")]),
)
def test_what_a_higher_threshold_cuts_is_a_subset_and_no_page_loses_more(
    drawn: tuple[list[LabelledPage], list[np.ndarray]],
    thresholds: list[float],
    shape: Shape,
    keep: tuple[str, ...],
) -> None:
    pages, probabilities = drawn
    before: list[set[int]] | None = None
    losses_before = None
    for threshold in sorted(thresholds):
        cut = []
        for page, rows in zip(pages, probabilities, strict=True):
            spans = decode_spans(
                page.text, rows, NAMES, threshold=threshold, keep=keep, shape=shape
            )
            cut.append({i for span in spans for i in range(span.start, span.end)})
        if before is not None:
            assert all(now <= then for now, then in zip(cut, before, strict=True))
        before = cut
        if keep:
            continue
        losses = []
        for page, gone in zip(pages, cut, strict=True):
            prose = np.flatnonzero(~ignored_mask(page))
            losses.append(sum(i in gone for i in prose) / len(prose) if len(prose) else 0.0)
        scored = score_pages(pages, lambda _: iter(probabilities), LABELS)
        found = scored.page_losses(scored.cut(threshold=threshold, shape=shape))
        assert found == pytest.approx(losses)
        point = measure(scored, threshold=threshold, shape=shape)
        assert point.page_loss == pytest.approx(np.mean(losses))
        if losses_before is not None:
            assert (found <= losses_before).all()
        losses_before = found


def test_the_promise_holds_on_exchangeable_pages_and_needs_its_correction() -> None:
    losses = population(pages=4000, seed=3)
    assert (np.diff(losses, axis=1) <= 0).all()
    results = [
        simulate(losses, bound=bound, pages=pages, draws=600, seed=1)
        for bound, pages in ((0.1, 9), (0.1, 100), (0.02, 60), (0.02, 400), (0.005, 199))
    ]
    for own in results:
        assert own.loss <= own.bound + 2 * own.error, own
        assert own.loss > 0
    # Not for want of trying: more pages come closer to the bound,
    assert results[1].loss > results[0].loss
    assert results[3].loss > 0.7 * results[3].bound
    # and the threshold that merely kept within the bound breaks it.
    few = results[2]
    assert few.uncorrected_loss > few.bound + 3 * few.uncorrected_error
    assert len(table(results).splitlines()) == 2 + len(results)
