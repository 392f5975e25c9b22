"""The torch engine: one window a call, packed, padded; all three give the same."""

from __future__ import annotations

import logging
import pickle
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from filter.engines.torch import TorchEngine
from filter.errors import UsageError, WinnowError
from filter.model_directory import EMBEDDED, ModelDirectory, read_model_directory

torch = pytest.importorskip("torch")

BATCHES = ("packed", "padded")


def cpu_engine(directory: ModelDirectory, **options: Any) -> TorchEngine:
    return TorchEngine(directory, device="cpu", **{"max_batch_tokens": 100, **options})


@pytest.mark.parametrize("batching", BATCHES)
def test_batches_give_what_one_window_a_call_gives(
    directory: ModelDirectory, batching: str, make_windows: Callable[..., list[np.ndarray]]
) -> None:
    windows = make_windows(200)
    alone = list(cpu_engine(directory).logits(windows))
    together = list(cpu_engine(directory, batching=batching).logits(windows))
    largest = max(np.abs(logits).max() for logits in alone)
    for one, other in zip(alone, together, strict=True):
        assert one.shape == other.shape and one.dtype == other.dtype == np.float32
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-5 * largest)


def test_threads_are_those_that_are_asked_for(
    directory: ModelDirectory, make_windows: Callable[..., list[np.ndarray]]
) -> None:
    before = torch.get_num_threads()
    try:
        for threads in (1, 2):
            list(cpu_engine(directory, threads=threads).logits(make_windows([5])))
            assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("batching", BATCHES)
def test_the_shipped_model_gives_the_same_in_batches(
    batching: str, make_windows: Callable[..., list[np.ndarray]]
) -> None:
    directory = read_model_directory(EMBEDDED)
    windows = make_windows([3, 130, 77, 2, 40])
    alone = np.concatenate(list(cpu_engine(directory).logits(windows)))
    engine = cpu_engine(directory, batching=batching, max_batch_tokens=200)
    together = np.concatenate(list(engine.logits(windows)))
    assert np.abs(alone - together).max() <= 1e-5 * np.abs(alone).max()


@pytest.mark.parametrize("batching", ["single", *BATCHES])
def test_flat_requests_give_what_windows_give(
    directory: ModelDirectory, batching: str, make_windows: Callable[..., list[np.ndarray]]
) -> None:
    engine = cpu_engine(directory, batching=batching)
    windows = make_windows(40)
    expected = np.concatenate(list(engine.logits(windows)))
    groups = [windows[:25], [], windows[25:]]
    requests = [
        (np.concatenate([np.empty(0, np.int32), *group]), np.array([len(w) for w in group], int))
        for group in groups
    ]
    found = list(engine.flat_logits([requests[0], None, requests[1], None, requests[2]]))
    assert [len(logits) for logits in found] == [len(ids) for ids, _ in requests]
    np.testing.assert_allclose(np.concatenate(found), expected, rtol=0, atol=1e-3)


def test_streams_of_several_threads_do_not_mix(
    directory: ModelDirectory, make_windows: Callable[..., list[np.ndarray]]
) -> None:
    engine = cpu_engine(directory, batching="packed")
    given = [make_windows(30, seed) for seed in range(6)]
    expected = [np.concatenate(list(engine.logits(windows))) for windows in given]
    with ThreadPoolExecutor(6) as pool:
        found = pool.map(lambda windows: np.concatenate(list(engine.logits(windows))), given)
        for one, other in zip(expected, found, strict=True):
            np.testing.assert_array_equal(one, other)


def test_a_stream_that_is_left_off_harms_no_other(
    directory: ModelDirectory, make_windows: Callable[..., list[np.ndarray]]
) -> None:
    engine = cpu_engine(directory, batching="packed")
    windows = make_windows(60)
    expected = np.concatenate(list(engine.logits(windows)))
    for _ in range(3):
        left_off = engine.logits(windows)
        next(left_off)
        left_off.close()  # type: ignore[attr-defined]  # a generator
    np.testing.assert_array_equal(np.concatenate(list(engine.logits(windows))), expected)


def test_windows_are_taken_a_bounded_number_ahead(directory: ModelDirectory) -> None:
    taken = 0

    def endless() -> Iterator[np.ndarray]:
        nonlocal taken
        while True:
            taken += 1
            yield np.full(20, 7, dtype=np.int32)

    logits = cpu_engine(directory, batching="packed").logits(endless())
    next(logits)
    # A request of 8 batches of 5 windows, and those of the next that its last batches wait for.
    assert taken <= 2 * 8 * 5


def test_a_copy_on_another_device_is_an_engine_of_its_own(directory: ModelDirectory) -> None:
    engine = cpu_engine(directory)
    other = engine.on("cpu")
    assert other is not engine and other.device == "cpu"
    if not torch.cuda.is_available():
        with pytest.raises(WinnowError, match="torch sees no CUDA device"):
            engine.on("cuda:1")


def test_it_can_be_pickled(
    directory: ModelDirectory, make_windows: Callable[..., list[np.ndarray]]
) -> None:
    engine = cpu_engine(directory, batching="packed")
    windows = make_windows(10)
    expected = list(engine.logits(windows))
    copy = pickle.loads(pickle.dumps(engine))
    for one, other in zip(expected, copy.logits(windows), strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_batching_that_cannot_be_meant(directory: ModelDirectory) -> None:
    with pytest.raises(UsageError, match="unknown batching 'paked'"):
        cpu_engine(directory, batching="paked")


def test_without_a_kernel_windows_are_padded_and_it_says_so(
    directory: ModelDirectory,
    make_windows: Callable[..., list[np.ndarray]],
    caplog: pytest.LogCaptureFixture,
) -> None:
    engine = cpu_engine(directory)
    # As on CUDA, where it is left to the engine; the kernels for CUDA fail on this device.
    engine._batching = None
    with caplog.at_level(logging.WARNING):
        assert engine.open() == "padded"
    assert "windows are padded, not packed" in caplog.text
    windows = make_windows(10)
    alone = cpu_engine(directory).logits(windows)
    for one, other in zip(alone, engine.logits(windows), strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-3)


def test_memory_that_runs_out_is_told_with_the_way_out(
    directory: ModelDirectory,
    make_windows: Callable[..., list[np.ndarray]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def exhausted(model: Any, ids: Any, extents: Any, batch: Any) -> Any:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB.")

    monkeypatch.setattr("filter.engines.torch.forward_packed", exhausted)
    with pytest.raises(WinnowError, match=r"out of memory with batches of 100 tokens.*--batch-tok"):
        next(cpu_engine(directory, batching="packed").logits(make_windows(3)))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device here")
@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float32"])
@pytest.mark.parametrize("batching", ["single", *BATCHES])
def test_cuda_gives_what_the_cpu_gives(
    dtype: str, batching: str, make_windows: Callable[..., list[np.ndarray]]
) -> None:
    if dtype == "float32" and batching == "packed":
        pytest.skip("there is no kernel for it")
    directory = read_model_directory(EMBEDDED)
    windows = make_windows(60)
    engine = TorchEngine(
        directory, device="cuda", dtype=dtype, batching=batching, max_batch_tokens=1000
    )
    exact = np.concatenate(list(cpu_engine(directory).logits(windows)))
    found = np.concatenate(list(engine.logits(windows)))
    bound = {"bfloat16": 0.02, "float16": 0.005, "float32": 0.0005}[dtype]
    assert np.linalg.norm(found - exact) <= bound * np.linalg.norm(exact)
    again = np.concatenate(list(engine.logits(windows)))
    np.testing.assert_array_equal(found, again)
