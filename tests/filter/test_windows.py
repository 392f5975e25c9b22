"""Windows over a page and the merging of what they say, against a plain account of the same."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from filter.windows import merge_windows, plan_windows, spread_to_characters, window_weights

shapes = st.integers(3, 40).flatmap(
    lambda window: st.tuples(st.integers(0, 200), st.just(window), st.integers(0, window - 3))
)


@given(shapes)
def test_windows_cover_the_page_and_overlap(shape: tuple[int, int, int]) -> None:
    n_tokens, window, overlap = shape
    plan = plan_windows(n_tokens, window, overlap)
    assert sorted({i for start, end in plan for i in range(start, end)}) == list(range(n_tokens))
    assert all(end - start == min(window - 2, n_tokens) for start, end in plan)
    assert len(set(plan)) == len(plan)
    for (start, end), (next_start, _) in pairwise(plan):
        assert start < next_start <= end - overlap


@given(shapes)
def test_no_window_could_be_left_out(shape: tuple[int, int, int]) -> None:
    n_tokens, window, overlap = shape
    plan = plan_windows(n_tokens, window, overlap)
    body = window - 2
    steps = max(0, -(-(n_tokens - body) // (body - overlap)))
    assert len(plan) == (steps + 1 if n_tokens else 0)


def test_the_last_window_is_moved_back_rather_than_short() -> None:
    assert plan_windows(21, 12, 2) == [(0, 10), (8, 18), (11, 21)]


@pytest.mark.parametrize("overlap", [-1, 10, 50])
def test_an_overlap_without_a_step_is_refused(overlap: int) -> None:
    with pytest.raises(ValueError, match="overlap must be 0 to 9"):
        plan_windows(100, 12, overlap)


def test_weights_fall_towards_edges_but_not_towards_page_ends() -> None:
    assert window_weights(0, 4, 4).tolist() == [4, 4, 4, 4]
    assert window_weights(0, 4, 9).tolist() == [4, 3, 2, 1]
    assert window_weights(5, 9, 9).tolist() == [1, 2, 3, 4]
    assert window_weights(2, 7, 9).tolist() == [1, 2, 3, 2, 1]


@given(shapes, st.integers(0, 2**32 - 1))
def test_merging_is_the_weighted_mean_over_the_windows(
    shape: tuple[int, int, int], seed: int
) -> None:
    n_tokens, window, overlap = shape
    plan = plan_windows(n_tokens, window, overlap)
    rng = np.random.default_rng(seed)
    rows = [rng.dirichlet(np.ones(3), end - start).astype(np.float32) for start, end in plan]
    merged = merge_windows(plan, rows, n_tokens, 3)

    for token in range(n_tokens):
        total, weight = np.zeros(3), 0.0
        for (start, end), row in zip(plan, rows, strict=True):
            if start <= token < end:
                to_left = token - start + 1 if start > 0 else end - start
                to_right = end - token if end < n_tokens else end - start
                total += min(to_left, to_right) * row[token - start].astype(float)
                weight += min(to_left, to_right)
        np.testing.assert_allclose(merged[token], total / weight, atol=1e-6)
    np.testing.assert_allclose(merged.sum(axis=1), 1, atol=1e-5)


def test_a_page_of_a_million_characters_is_merged_as_a_stream() -> None:
    n_tokens, n_labels = 1_000_000, 7
    plan = plan_windows(n_tokens, 256, 64)
    alive = 0

    def rows() -> Iterator[np.ndarray]:
        nonlocal alive
        for start, end in plan:
            alive += 1
            yield np.full((end - start, n_labels), 1 / n_labels, dtype=np.float32)

    tracemalloc.start()
    merged = merge_windows(plan, rows(), n_tokens, n_labels)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert alive == len(plan)
    np.testing.assert_allclose(merged, 1 / n_labels, atol=1e-6)
    # One accumulator and its weights: 32 bytes a token, and not much beside it.
    assert peak < 34 * n_tokens


def brute_force_spread(
    tokens: np.ndarray, starts: np.ndarray, ends: np.ndarray, length: int
) -> np.ndarray:
    means = {}
    for character in range(length):
        over = [token for token in range(len(tokens)) if starts[token] <= character < ends[token]]
        if over:
            means[character] = tokens[over].mean(axis=0)
    if not means:
        return np.tile([1.0, *[0.0] * (tokens.shape[1] - 1)], (length, 1))
    return np.array(
        [
            means[min(means, key=lambda other: (abs(other - character), other))]
            for character in range(length)
        ]
    ).reshape(length, tokens.shape[1])


@given(st.data())
def test_characters_take_the_mean_of_their_tokens_or_of_the_nearest(data: st.DataObject) -> None:
    length = data.draw(st.integers(0, 30))
    starts = np.array(sorted(data.draw(st.lists(st.integers(0, length)))), dtype=np.int32)
    lengths = data.draw(st.lists(st.integers(0, 4), min_size=len(starts), max_size=len(starts)))
    ends = np.minimum(starts + np.array(lengths, dtype=np.int32), length).astype(np.int32)
    rng = np.random.default_rng(data.draw(st.integers(0, 1000)))
    tokens = rng.dirichlet(np.ones(3), len(starts)).astype(np.float32).reshape(-1, 3)
    spread = spread_to_characters(tokens, starts, ends, length)
    assert spread.shape == (length, 3)
    expected = brute_force_spread(tokens, starts, ends, length)
    np.testing.assert_allclose(spread, expected, atol=1e-6)
    np.testing.assert_allclose(spread.sum(axis=1), 1, atol=1e-5)


def test_where_each_character_is_a_token_nothing_is_copied() -> None:
    tokens = np.ones((4, 2), dtype=np.float32)
    starts = np.arange(4, dtype=np.int32)
    assert spread_to_characters(tokens, starts, starts + 1, 4) is tokens
