"""Packing: every window once, no window cut, few shapes, and logits as of a window alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from filter.engines.attention import use_kernel
from filter.engines.packing import (
    FIRST_POSITION,
    Batch,
    forward_packed,
    forward_padded,
    make_requests,
    plan_packed,
    plan_padded,
    row_length,
    split,
)

ARCHITECTURES: dict[str, dict[str, Any]] = {
    "Bert": {},
    "Electra": {"embedding_size": 16},
    "Ernie": {"use_task_id": True},
    "ModernBert": {"global_attn_every_n_layers": 1},
    "Roberta": {},
    "XLMRoberta": {},
}

lengths = st.lists(st.integers(1, 60), max_size=40).map(lambda n: np.array(n, dtype=np.int64))
budgets = st.integers(1, 400)


def cells(batches: Iterator[Batch], ids: np.ndarray) -> Iterator[tuple[Batch, np.ndarray]]:
    """Batches filled with ids, padding as -1."""
    for batch in batches:
        filled = np.full(batch.cells, -1, dtype=np.int64)
        filled[batch.place] = ids[batch.tokens]
        yield batch, filled


@given(lengths=lengths, budget=budgets)
def test_packed_rows_hold_each_window_once_and_whole(lengths: np.ndarray, budget: int) -> None:
    ids = np.arange(lengths.sum())
    held = []
    for batch, row in cells(plan_packed(lengths, budget), ids):
        bounds = batch.extents.tolist()
        assert bounds[0] == 0 and bounds[-1] == batch.columns
        windows = [row[a:b] for a, b in pairwise(bounds)]
        assert 0 < max(map(len, windows)) == batch.longest
        real = [window for window in windows if window[0] >= 0]
        assert all((window >= 0).all() for window in real)
        assert all((window < 0).all() for window in windows[len(real) :])
        assert batch.cells <= budget or len(real) == 1
        held += real
    assert [window.tolist() for window in held] == [w.tolist() for w in split(ids, lengths)]


@given(lengths=lengths, budget=budgets)
def test_padded_batches_hold_each_window_once_and_whole(lengths: np.ndarray, budget: int) -> None:
    ids = np.arange(lengths.sum())
    held = []
    for batch, filled in cells(plan_padded(lengths, budget), ids):
        assert batch.cells <= budget or batch.rows == 1
        rows = filled.reshape(batch.rows, batch.columns)
        for row, length in zip(rows, batch.extents, strict=True):
            assert (row[:length] >= 0).all() and (row[length:] < 0).all()
            held.append(row[:length].tolist())
    assert sorted(held) == sorted(window.tolist() for window in split(ids, lengths))


def test_padded_batches_take_the_longest_first_and_pad_little() -> None:
    lengths = np.array([10, 500, 20, 490, 15, 500])
    batches = list(plan_padded(lengths, 1500))
    assert [(batch.rows, batch.columns) for batch in batches] == [(3, 500), (3, 20)]


@pytest.mark.parametrize("budget", [100, 1000, 4096, 65_536])
def test_rows_have_few_lengths_and_little_filling(budget: int) -> None:
    found = {row_length(n, budget) for n in range(1, budget + 1)}
    assert len(found) <= 16
    for n in range(1, budget + 1, 7):
        assert n <= row_length(n, budget) <= min(budget, max(2 * n, n + budget / 8, 256))
    assert row_length(budget + 5, budget) == budget + 5


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@settings(max_examples=12)
@given(data=st.data())
def test_batches_give_the_logits_of_a_window_alone(
    architecture: str,
    data: st.DataObject,
    make_network: Callable[..., Any],
    make_windows: Callable[..., list[np.ndarray]],
) -> None:
    chosen = data.draw(st.lists(st.integers(1, 48), min_size=1, max_size=12))
    budget = data.draw(st.integers(1, 300))
    windows = make_windows(chosen)
    for kind in ("packed", "padded"):
        model = make_network(architecture, **ARCHITECTURES[architecture])
        alone = _alone(model, windows)
        found = _batched(model, windows, kind, budget)
        assert np.abs(found - alone).max() <= 1e-5 * max(1.0, np.abs(alone).max())


def test_every_architecture_that_can_be_packed_is_tested(make_network: Callable[..., Any]) -> None:
    tested = {make_network(name, **ARCHITECTURES[name]).config.model_type for name in ARCHITECTURES}
    assert tested == set(FIRST_POSITION)


def test_sliding_attention_keeps_to_its_window_and_its_reach(
    make_network: Callable[..., Any], make_windows: Callable[..., list[np.ndarray]]
) -> None:
    model = make_network("ModernBert", global_attn_every_n_layers=3, local_attention=8)
    windows = make_windows([40, 3, 25, 48])
    alone = _alone(model, windows)
    found = _batched(model, windows, "packed", 200)
    assert np.abs(found - alone).max() <= 1e-5 * np.abs(alone).max()


def test_requests_hold_some_batches_of_windows_in_order(
    make_windows: Callable[..., list[np.ndarray]],
) -> None:
    windows = make_windows(100)
    taken = list(make_requests(iter(windows), 40))
    assert all(40 * 8 <= len(ids) < 40 * 8 + 48 for ids, _ in taken[:-1])
    again = [window for request in taken for window in split(*request)]
    assert [w.tolist() for w in again] == [w.tolist() for w in windows]


def test_a_request_takes_no_more_windows_than_it_holds() -> None:
    taken = []

    def endless() -> Iterator[np.ndarray]:
        while True:
            taken.append(1)
            yield np.zeros(40, dtype=np.int32)

    next(make_requests(endless(), 40))
    assert len(taken) == 8


def _alone(model: Any, windows: list[np.ndarray]) -> np.ndarray:
    import torch

    with torch.inference_mode():
        rows = [torch.from_numpy(window.astype(np.int64))[None] for window in windows]
        return np.concatenate([model(input_ids=row).logits[0].numpy() for row in rows])


def _batched(model: Any, windows: list[np.ndarray], kind: str, budget: int) -> np.ndarray:
    import torch

    if kind == "packed":
        use_kernel(model, "loop")
    plan, forward = {
        "packed": (plan_packed, forward_packed),
        "padded": (plan_padded, forward_padded),
    }[kind]
    ids = np.concatenate(windows)
    logits = np.full((len(ids), model.config.num_labels), np.nan, dtype=np.float32)
    for batch in plan(np.array([len(window) for window in windows]), budget):
        row = np.full(batch.cells, model.config.pad_token_id, dtype=np.int32)
        row[batch.place] = ids[batch.tokens]
        with torch.inference_mode():
            found = forward(model, torch.from_numpy(row), torch.from_numpy(batch.extents), batch)
        logits[batch.tokens] = found.numpy()[batch.place]
    return logits
