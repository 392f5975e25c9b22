"""The matrix products of one window as an ONNX model, with nothing between them.

Each product is fed from outside, and its result is dropped: only its shape comes out, which costs
nothing and keeps the product from being left out. Every product of the model is there with weights
of its own, as in the model.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from filter.benchmark.arithmetic import Arithmetic
from filter.errors import missing_package

OPSET, IR_VERSION = 17, 8
"""Old enough for every ONNX Runtime that Winnow runs with."""

CONTRIB = "com.microsoft"

Shapes = dict[str, tuple[int, ...]]


def input_shapes(arithmetic: Arithmetic, length: int, *, fused: bool) -> Shapes:
    """The inputs of `products_model` for a window of `length` tokens, by name."""
    shapes: Shapes = {f"rows_{own.inputs}": (length, own.inputs) for own in arithmetic.linears}
    for i, own in enumerate(arithmetic.attentions):
        keys, heads, size = own.keys(length), own.heads, own.head_size
        if fused:
            shapes[f"query_{i}"] = (1, length, heads * size)
            shapes[f"key_{i}"] = shapes[f"value_{i}"] = (1, keys, heads * size)
        else:
            shapes[f"query_{i}"] = (heads, length, size)
            shapes[f"key_{i}"] = (heads, size, keys)
            shapes[f"scores_{i}"] = (heads, length, keys)
            shapes[f"value_{i}"] = (heads, keys, size)
    return shapes


def products_model(arithmetic: Arithmetic, *, quantised: bool, fused: bool) -> bytes:
    """The model, to be opened by ONNX Runtime.

    Args:
        arithmetic: The products.
        quantised: Linear layers as uint8 by int8 rather than float32.
        fused: Attention as one operator, softmax and all, rather than two products.

    Raises:
        WinnowError: `onnx` is not installed.
    """
    try:
        from onnx import TensorProto, helper, numpy_helper
    except ImportError as error:
        raise missing_package("the arithmetic ceiling", "onnx", "benchmark") from error
    rng = np.random.default_rng(0)
    nodes: list[Any] = []
    weights: list[Any] = []
    results: list[str] = []

    def product(operator: str, *inputs: str, **attributes: Any) -> None:
        results.append(f"product_{len(results)}")
        nodes.append(helper.make_node(operator, inputs, results[-1:], **attributes))

    for i, own in enumerate(arithmetic.linears):
        shape = (own.inputs, own.outputs)
        weight = (
            rng.integers(-127, 128, shape, dtype=np.int8)
            if quantised
            else rng.standard_normal(shape, dtype=np.float32)
        )
        weights.append(numpy_helper.from_array(weight, f"weight_{i}"))
        for _ in range(own.count):  # the runtime packs a copy for each
            operator = "MatMulInteger" if quantised else "MatMul"
            product(operator, f"rows_{own.inputs}", f"weight_{i}")
    for i, attention in enumerate(arithmetic.attentions):
        for _ in range(attention.layers):
            if fused:
                inputs = (f"query_{i}", f"key_{i}", f"value_{i}")
                heads = attention.heads
                product("MultiHeadAttention", *inputs, domain=CONTRIB, num_heads=heads)
            else:
                product("MatMul", f"query_{i}", f"key_{i}")
                product("MatMul", f"scores_{i}", f"value_{i}")
    shapes = [f"{name}_shape" for name in results]
    nodes += [
        helper.make_node("Shape", [name], [shape])
        for name, shape in zip(results, shapes, strict=True)
    ]
    nodes.append(helper.make_node("Concat", shapes, ["shapes"], axis=0))
    given = [
        helper.make_tensor_value_info(
            name,
            TensorProto.UINT8 if quantised and name.startswith("rows") else TensorProto.FLOAT,
            [None] * len(shape),
        )
        for name, shape in input_shapes(arithmetic, 1, fused=fused).items()
    ]
    output = helper.make_tensor_value_info("shapes", TensorProto.INT64, [None])
    graph = helper.make_graph(nodes, "products", given, [output], weights)
    opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid(CONTRIB, 1)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION)
    return bytes(model.SerializeToString())
