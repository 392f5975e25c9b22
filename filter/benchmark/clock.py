"""How long the engine's runtime is at work, taken from outside.

Every call of the runtime goes through a clock for as long as one is set, and nothing else changes.
ONNX Runtime: the calls of its sessions, in whichever thread they are made. torch: the outermost
`forward` of a model; on CUDA between two events on the device's own stream, so that only what the
device did counts. What an engine does around these calls counts as outside.

The share of the time inside is that over all callers: two threads that are at work all the time
are one whole. A thread that waits for a processor seems at work, however; the share of the
processor time, where it can be had, shows that up.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any

from filter.errors import WinnowError

ONNX_CALLS = ("run", "run_with_iobinding", "run_with_ort_values")
"""Methods of a session that compute."""


class EngineClock:
    """What was measured while the clock was set; complete when its block has ended.

    Attributes:
        calls: Calls of the runtime.
        busy: Seconds inside them, summed over threads.
        processor: Seconds of processor time inside them; None where it is spent in other threads.
    """

    def __init__(self) -> None:
        self.calls = 0
        self.busy = 0.0
        self.processor: float | None = None


@contextmanager
def engine_clock(engine: str, device: str) -> Iterator[EngineClock]:
    """Sets a clock on an engine's runtime for the length of the block.

    Args:
        engine: "onnx" or "torch".
        device: Where it runs.

    Raises:
        WinnowError: the engine is none whose calls are known.
    """
    if engine == "onnx":
        clocked = _onnx_clock()
    elif engine == "torch":
        clocked = _torch_clock(device)
    else:
        raise WinnowError(f"time inside engine {engine!r} cannot be taken")
    with clocked as clock:
        yield clock


@contextmanager
def _onnx_clock() -> Iterator[EngineClock]:
    from onnxruntime import InferenceSession

    clock = EngineClock()
    spent: list[tuple[float, float]] = []  # appending is safe from any thread

    def timed(run: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(run)
        def call(*arguments: Any, **named: Any) -> Any:
            begin, begin_processor = time.perf_counter(), time.thread_time()
            result = run(*arguments, **named)
            spent.append((time.perf_counter() - begin, time.thread_time() - begin_processor))
            return result

        return call

    names = [name for name in ONNX_CALLS if hasattr(InferenceSession, name)]
    own = {name: vars(InferenceSession).get(name) for name in names}  # None: inherited
    for name in names:
        setattr(InferenceSession, name, timed(getattr(InferenceSession, name)))
    try:
        yield clock
    finally:
        for name, method in own.items():
            if method is None:
                delattr(InferenceSession, name)
            else:
                setattr(InferenceSession, name, method)
        clock.calls = len(spent)
        clock.busy = sum(busy for busy, _ in spent)
        clock.processor = sum(processor for _, processor in spent)


@contextmanager
def _torch_clock(device: str) -> Iterator[EngineClock]:
    import torch
    from torch.nn.modules import module as hooks
    from transformers import PreTrainedModel

    clock = EngineClock()
    depth = threading.local()
    on_cpu = device == "cpu"
    spent: list[tuple[Any, Any]] = []

    def now() -> Any:
        if on_cpu:
            return time.perf_counter()
        cuda: Any = torch.cuda  # its events have no types
        event = cuda.Event(enable_timing=True)
        event.record(cuda.current_stream(device))
        return event

    def enter(called: Any, _: Any) -> None:
        if isinstance(called, PreTrainedModel):
            depth.value = getattr(depth, "value", 0) + 1
            if depth.value == 1:
                depth.begin = now()

    def leave(called: Any, *_: Any) -> None:
        if isinstance(called, PreTrainedModel):
            depth.value -= 1
            if depth.value == 0:
                spent.append((depth.begin, now()))

    before = hooks.register_module_forward_pre_hook(enter)
    after = hooks.register_module_forward_hook(leave)
    try:
        yield clock
    finally:
        before.remove()
        after.remove()
        clock.calls = len(spent)
        if on_cpu:
            clock.busy = sum(end - begin for begin, end in spent)
        else:
            torch.cuda.synchronize(device)
            clock.busy = sum(begin.elapsed_time(end) for begin, end in spent) / 1000
