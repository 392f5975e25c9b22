"""The ceiling runs the products that are counted, all of them and nothing else."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from filter.benchmark.arithmetic import Arithmetic, Attention, Linear, read_arithmetic
from filter.benchmark.ceiling import create_ceiling, fastest, repeat, sample_lengths
from filter.benchmark.products import input_shapes, products_model
from filter.errors import MissingPackageError, WinnowError

PRODUCTS = Arithmetic(
    (Linear(8, 24, 2), Linear(12, 8, 2), Linear(8, 3, 1)),
    (Attention(2, 4, 1), Attention(2, 4, 1, reach=5)),
)


@pytest.mark.parametrize("quantised", [True, False])
@pytest.mark.parametrize("length", [3, 9])
def test_the_graph_has_the_operations_that_are_counted(quantised: bool, length: int) -> None:
    pytest.importorskip("onnx")
    import onnxruntime

    session = onnxruntime.InferenceSession(
        products_model(PRODUCTS, quantised=quantised, fused=False),
        providers=["CPUExecutionProvider"],
    )
    feed = {
        name: np.ones(shape, np.uint8 if quantised and name.startswith("rows") else np.float32)
        for name, shape in input_shapes(PRODUCTS, length, fused=False).items()
    }
    (shapes,) = session.run(None, feed)
    inner = [8, 8, 12, 12, 8]  # of the linear layers, in their order
    operations = 2 * sum(
        rows * columns * depth
        for rows, columns, depth in zip(*shapes[:10].reshape(5, 2).T, inner, strict=True)
    )
    for attention, (scores, mixed) in zip(
        PRODUCTS.attentions, shapes[10:].reshape(2, 2, 3), strict=True
    ):
        keys = attention.keys(length)
        assert scores.tolist() == [2, length, keys]
        assert mixed.tolist() == [2, length, 4]
        operations += 2 * np.prod(scores) * 4 + 2 * np.prod(mixed) * keys
    assert operations == PRODUCTS.operations(length)


@pytest.mark.parametrize(
    ("engine", "dtype"),
    [("onnx", "int8"), ("onnx", "float32"), ("torch", "float32"), ("torch", "bfloat16")],
)
def test_every_engine_has_a_ceiling(engine: str, dtype: str, tiny_model: Path) -> None:
    pytest.importorskip("onnx")
    ceiling = create_ceiling(
        read_arithmetic(tiny_model),
        np.array([48, 48, 7]),
        engine=engine,
        dtype=dtype,
        device="cpu",
        threads=2,
    )
    assert ceiling.measure(0.0) > 0


def test_local_attention_has_a_ceiling_too() -> None:
    pytest.importorskip("onnx")
    for engine in ("onnx", "torch"):
        ceiling = create_ceiling(
            PRODUCTS, np.array([9]), engine=engine, dtype="float32", device="cpu", threads=1
        )
        assert ceiling.measure(0.0) > 0


def test_a_number_format_without_products_is_refused() -> None:
    with pytest.raises(WinnowError, match="float16"):
        create_ceiling(
            PRODUCTS, np.array([4]), engine="onnx", dtype="float16", device="cpu", threads=1
        )


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(MissingPackageError, match=r"needs onnx.*winnow-zh\[benchmark\]"):
        products_model(PRODUCTS, quantised=True, fused=False)


def test_a_sample_of_lengths_is_spread_as_they_are() -> None:
    lengths = np.array([256] * 75 + [100] * 25)
    assert sample_lengths(lengths, 8) == [256] * 6 + [100] * 2
    assert sample_lengths(np.array([3]), 2) == [3, 3]


def test_all_calls_are_made_until_time_is_up(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = {"now": 0.0}
    monkeypatch.setattr("filter.benchmark.ceiling.time.perf_counter", lambda: clock["now"])

    def takes(seconds: float) -> Any:
        def call() -> None:
            clock["now"] += seconds

        return call

    assert repeat([(takes(1.0), 30), (takes(3.0), 10)], 5.0) == 80 / 8
    slow, fast = [(takes(2.0), 10)], [(takes(1.0), 10)]
    assert fastest([slow, fast]) is fast
