"""What the machine gives the model's own matrix products when there is nothing else to do.

The products of one window (`filter.benchmark.arithmetic`) run alone: nothing between them, no
quantising, no softmax, as many at once as the engine runs, in the engine's runtime and number
format. What comes of it in operations a second is the ceiling that utilisation is taken of.
ONNX Runtime: linear layers as MatMulInteger of uint8 by int8 where the engine's weights are int8,
else as MatMul of float32; attention in float32, which is what an int8 model has there, too.
torch: everything in the engine's number format. Attention runs as two bare products or as the
runtime's one operator, whichever is faster here: a ceiling must not be too low.
"""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from filter.benchmark.arithmetic import Arithmetic, Attention
from filter.benchmark.products import Shapes, input_shapes, products_model
from filter.errors import WinnowError, missing_package

SAMPLE = 16
"""Windows whose lengths stand for those of all pages."""

BATCH_TOKENS, BATCHES = 32_768, 8
"""Tokens in one go on CUDA, and how often it goes before it is waited for."""

TRIAL_SECONDS = 0.3
"""How long it is tried which way of attention is faster."""

Work = list[tuple[Callable[[], Any], int]]
"""What to call, and the operations of each call."""


class Ceiling(Protocol):
    """Runs the products of windows, over and over."""

    def measure(self, seconds: float) -> float:
        """Operations a second, over at least `seconds`."""


def create_ceiling(
    arithmetic: Arithmetic,
    lengths: NDArray[np.int64],
    *,
    engine: str,
    dtype: str,
    device: str,
    threads: int,
) -> Ceiling:
    """The ceiling for an engine.

    Args:
        arithmetic: The model's products.
        lengths: (windows,) tokens of the windows that the engine is given.
        engine: "onnx" or "torch".
        dtype: Number format of the engine's weights.
        device: Where it runs.
        threads: Calls of ONNX Runtime at once.

    Raises:
        WinnowError: a library is missing, or the number format is none that is known here.
    """
    sample = sample_lengths(lengths)
    if engine == "torch":
        return TorchCeiling(arithmetic, sample, dtype=dtype, device=device)
    return OnnxCeiling(arithmetic, sample, dtype=dtype, threads=threads)


def sample_lengths(lengths: NDArray[np.int64], size: int = SAMPLE) -> list[int]:
    """`size` lengths that are spread as all of them are: their quantiles, longest first."""
    places = 1 - (np.arange(size) + 0.5) / size
    return [int(length) for length in np.quantile(lengths, places, method="nearest")]


class OnnxCeiling:
    """The products in ONNX Runtime, one window a call, `threads` calls at once."""

    def __init__(
        self, arithmetic: Arithmetic, lengths: Sequence[int], *, dtype: str, threads: int
    ) -> None:
        if dtype not in ("int8", "float32"):
            raise WinnowError(f"products of {dtype} are not known for ONNX Runtime here")
        self._threads = threads
        plans = [
            self._plan(arithmetic, lengths, quantised=dtype == "int8", fused=fused)
            for fused in (False, True)
        ]
        self._work = fastest(plans)

    def measure(self, seconds: float) -> float:
        with ThreadPoolExecutor(self._threads) as pool:
            rates = pool.map(partial(repeat, self._work), [seconds] * self._threads)
            return sum(rates)

    @staticmethod
    def _plan(
        arithmetic: Arithmetic, lengths: Sequence[int], *, quantised: bool, fused: bool
    ) -> Work:
        session = _session(products_model(arithmetic, quantised=quantised, fused=fused))
        # All windows read the same memory, as one window after the other does in an engine.
        longest = input_shapes(arithmetic, max(lengths), fused=fused)
        buffers = _buffers(longest, quantised=quantised)

        def call(length: int) -> Callable[[], Any]:
            shapes = input_shapes(arithmetic, length, fused=fused)
            feed = {
                name: buffers[name][: math.prod(shape)].reshape(shape)
                for name, shape in shapes.items()
            }
            return lambda: session.run(None, feed)

        return [(call(length), arithmetic.operations(length)) for length in lengths]


class TorchCeiling:
    """The products in torch: one window a call on a CPU, many windows in one go on CUDA."""

    def __init__(
        self, arithmetic: Arithmetic, lengths: Sequence[int], *, dtype: str, device: str
    ) -> None:
        try:
            import torch
        except ImportError as error:
            raise missing_package("the ceiling", "torch", "torch") from error
        self._torch = torch
        self._device, self._dtype = device, getattr(torch, dtype)
        self._arithmetic = arithmetic
        self._memory: dict[str, Any] = {}
        self._weights = [
            [self._random(own.outputs, own.inputs) for _ in range(own.count)]
            for own in arithmetic.linears
        ]
        batches: list[list[tuple[int, int]]] = [[(length, 1)] for length in lengths]
        if device != "cpu":
            copies = max(1, BATCH_TOKENS // sum(lengths))
            batches = [[(length, n * copies) for length, n in Counter(lengths).items()]]
        plans = [self._plan(batches, fused=fused) for fused in (False, True)]
        self._work = fastest(plans, self._wait)

    def measure(self, seconds: float) -> float:
        return repeat(self._work, seconds, self._wait)

    def _plan(self, batches: list[list[tuple[int, int]]], *, fused: bool) -> Work:
        """A call for each batch of (length, windows)."""
        work: Work = []
        for batch in batches:
            call = self._call(batch, fused)
            operations = sum(n * self._arithmetic.operations(length) for length, n in batch)
            if self._device == "cpu":
                work.append((call, operations))
            else:
                work += [(self._recorded(call), operations)] * BATCHES
        return work

    def _recorded(self, call: Callable[[], Any]) -> Callable[[], Any]:
        """The same kernels without Python between them, which would be slower than they are."""
        cuda = self._torch.cuda
        with cuda.device(self._device):
            side = cuda.Stream()
            side.wait_stream(cuda.current_stream())
            with cuda.stream(side):
                call()  # what libraries set up on their first call must not be recorded
            cuda.current_stream().wait_stream(side)
            graph = cuda.CUDAGraph()
            with cuda.graph(graph):
                call()
        replay: Callable[[], Any] = graph.replay
        return replay

    def _call(self, batch: list[tuple[int, int]], fused: bool) -> Callable[[], Any]:
        functional = self._torch.nn.functional
        tokens = sum(length * n for length, n in batch)
        rows = {
            own.inputs: self._shared("rows", tokens, own.inputs) for own in self._arithmetic.linears
        }
        attentions = [
            (own, [self._heads(own, length, n) for length, n in batch])
            for own in self._arithmetic.attentions
        ]

        def call() -> None:
            for own, weights in zip(self._arithmetic.linears, self._weights, strict=True):
                for weight in weights:
                    functional.linear(rows[own.inputs], weight)
            for attention, groups in attentions:
                for _ in range(attention.layers):
                    for query, key, value, scores in groups:
                        if fused:
                            functional.scaled_dot_product_attention(query, key, value)
                        else:
                            self._torch.matmul(query, key.mT)
                            self._torch.matmul(scores, value)

        return call

    def _heads(self, own: Attention, length: int, n: int) -> tuple[Any, Any, Any, Any]:
        keys = own.keys(length)
        return (
            self._shared("query", n, own.heads, length, own.head_size),
            self._shared("key", n, own.heads, keys, own.head_size),
            self._shared("value", n, own.heads, keys, own.head_size),
            self._shared("scores", n, own.heads, length, keys),
        )

    def _random(self, *shape: int) -> Any:
        return self._torch.randn(shape, device=self._device).to(self._dtype)

    def _shared(self, name: str, *shape: int) -> Any:
        """Random numbers in memory that all inputs of a name share, as in an engine."""
        size = math.prod(shape)
        if name not in self._memory or len(self._memory[name]) < size:
            self._memory[name] = self._random(size)
        return self._memory[name][:size].view(shape)

    def _wait(self) -> None:
        if self._device != "cpu":
            self._torch.cuda.synchronize(self._device)


def _session(model: bytes) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    # Like products of like inputs would be taken for one.
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    return onnxruntime.InferenceSession(
        model, sess_options=options, providers=["CPUExecutionProvider"]
    )


def _buffers(shapes: Shapes, *, quantised: bool) -> dict[str, NDArray[Any]]:
    """Random numbers for each input, flat."""
    rng = np.random.default_rng(0)
    return {
        name: rng.integers(0, 256, math.prod(shape), dtype=np.uint8)
        if quantised and name.startswith("rows")
        else rng.standard_normal(math.prod(shape), dtype=np.float32)
        for name, shape in shapes.items()
    }


def fastest(plans: Sequence[Work], wait: Callable[[], None] = lambda: None) -> Work:
    """The plan that does most in a short trial, after one pass that does not count."""
    for plan in plans:
        repeat(plan, 0.0, wait)
    return max(plans, key=lambda plan: repeat(plan, TRIAL_SECONDS, wait))


def repeat(work: Work, seconds: float, wait: Callable[[], None] = lambda: None) -> float:
    """Operations a second of calls that are made in turn, all of them, until time is up.

    Args:
        work: The calls.
        seconds: How long, at least; all calls are made once in any case.
        wait: Waits until what was called is done.
    """
    operations = 0
    wait()
    begin = time.perf_counter()
    while True:
        for call, own in work:
            call()
            operations += own
        wait()
        passed = time.perf_counter() - begin
        if passed >= seconds:
            return operations / passed
