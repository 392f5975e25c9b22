"""A clock on the engine's runtime: what it counts, and that nothing else changes."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest

from filter import ContentFilter
from filter.benchmark.clock import engine_clock
from filter.errors import WinnowError


@pytest.fixture
def pages(sample: str) -> list[str]:
    return [sample, sample[:30], sample[10:90], sample * 3]


@pytest.mark.parametrize(("engine", "threads"), [("onnx", 1), ("onnx", 2), ("torch", 1)])
def test_every_window_is_counted_and_no_answer_changes(
    engine: str, threads: int, tiny_model: Path, pages: list[str]
) -> None:
    content_filter = ContentFilter.from_pretrained(
        tiny_model, engine=engine, device="cpu", threads=threads
    )
    before = list(content_filter.pipe(pages))
    encoder, _ = content_filter.stages
    windows = len(encoder.encode(pages).lengths)
    begin = time.perf_counter()
    with engine_clock(engine, "cpu") as clock:
        during = list(content_filter.pipe(pages))
    wall = time.perf_counter() - begin
    assert during == before
    assert clock.calls == windows
    assert 0 < clock.busy < threads * wall
    if engine == "onnx":
        assert clock.processor is not None and clock.processor > 0


def test_it_is_gone_when_its_block_ends(tiny_model: Path, sample: str) -> None:
    import onnxruntime
    from torch.nn.modules import module

    sessions = onnxruntime.InferenceSession
    before = {name: getattr(sessions, name) for name in dir(sessions) if name.startswith("run")}
    for engine in ("onnx", "torch"):
        content_filter = ContentFilter.from_pretrained(tiny_model, engine=engine, device="cpu")
        with pytest.raises(KeyError), engine_clock(engine, "cpu") as clock:
            content_filter(sample)
            raise KeyError
        calls = clock.calls
        content_filter(sample)
        assert clock.calls == calls > 0
    after = {name: getattr(sessions, name) for name in dir(sessions) if name.startswith("run")}
    assert after == before
    assert "run" not in vars(sessions) or vars(sessions)["run"] is before["run"]
    assert not module._global_forward_hooks and not module._global_forward_pre_hooks


def test_time_outside_the_engine_does_not_count(tiny_model: Path, sample: str) -> None:
    content_filter = ContentFilter.from_pretrained(tiny_model, engine="onnx")
    content_filter(sample)
    with engine_clock("onnx", "cpu") as clock:
        begin = time.perf_counter()
        while time.perf_counter() - begin < 0.05:
            np.sort(np.arange(1000))
    assert clock.busy == clock.calls == 0


def test_an_unknown_engine_is_refused() -> None:
    with pytest.raises(WinnowError, match="'abacus'"), engine_clock("abacus", "cpu"):
        pass
