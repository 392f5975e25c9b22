"""An ONNX graph to int8, and a network made ready for it.

Dynamic quantization: weights per channel in seven bits, so that processors without VNNI do not
saturate; activations with one scale a call. A channel that is now and then fifty times as large as
the others would take the digits from all of them, as happens in gated linear units; there the
scale is moved into the weights beforehand, which changes nothing in float (SmoothQuant, Xiao and
others, 2022). A row of the embedding table takes one byte a value, with a scale of its own.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from training.model_files.tracing import silence

if TYPE_CHECKING:
    from transformers import PreTrainedModel

APART = ".apart"
"""Ends the name of a product of a layer's largest channels alone."""

KEPT_IN_FLOAT = ("head.", "classifier", APART)
"""The last matrices, next to the answer, and products of few channels: too small to be worth an
error."""

FEED_FORWARD = re.compile(r".*\.layer\.\d+\.(intermediate|output)\.dense")
"""BERT's linear layers around the activation."""

CHANNELS_APART = 1 / 96
"""Share of a layer's channels that are taken apart."""

GATED_UNITS = ("ModernBertMLP",)
"""Classes of which the output is Wo(act(a) * b) with (a, b) = Wi(x)."""

SMALLEST_TABLE = 100_000
"""Values below which an embedding table is not worth a byte a value."""


def smooth_gated_units(model: PreTrainedModel, windows: Iterable[NDArray[np.int64]]) -> None:
    """Even out the channels between the two matrices of each gated unit, in place.

    A channel of the gate is divided by a factor and its column of the matrix after it multiplied,
    the factor being the square root of the channel's largest activation over its largest weight.

    Args:
        model: A network in float32.
        windows: (n,) token ids each, as the network will see them.
    """
    import torch

    units: list[Any] = [unit for unit in model.modules() if type(unit).__name__ in GATED_UNITS]
    largest = [torch.full((unit.Wo.in_features,), 1e-5) for unit in units]

    def watch(index: int) -> Any:
        def look(_: Any, inputs: tuple[Any, ...]) -> None:
            seen = inputs[0].abs().flatten(0, -2).amax(0)
            largest[index] = torch.maximum(largest[index], seen)

        return look

    hooks = [unit.Wo.register_forward_pre_hook(watch(i)) for i, unit in enumerate(units)]
    with torch.no_grad():
        for window in windows if units else ():
            model(input_ids=torch.from_numpy(window[None]))
        for hook in hooks:
            hook.remove()
        for unit, activation in zip(units, largest, strict=True):
            factor = (activation / unit.Wo.weight.abs().amax(0).clamp_min(1e-5)).sqrt()
            gate = slice(unit.Wo.in_features, None)
            unit.Wi.weight[gate] /= factor[:, None]
            if unit.Wi.bias is not None:
                unit.Wi.bias[gate] /= factor
            unit.Wo.weight *= factor


def large_channels(
    model: PreTrainedModel, windows: Iterable[NDArray[np.int64]]
) -> dict[str, NDArray[np.int64]]:
    """The channels that are largest where they go into the layers around BERT's activations.

    Args:
        model: A network in float32.
        windows: (n,) token ids each, as the network will see them.

    Returns:
        Numbers of channels, in order, by the name of the layer.
    """
    import torch

    layers: dict[str, Any] = {
        name: layer for name, layer in model.named_modules() if FEED_FORWARD.fullmatch(name)
    }
    largest = {name: torch.zeros(layer.in_features) for name, layer in layers.items()}

    def watch(name: str) -> Any:
        def look(_: Any, inputs: tuple[Any, ...]) -> None:
            largest[name] = torch.maximum(largest[name], inputs[0].abs().flatten(0, -2).amax(0))

        return look

    hooks = [layer.register_forward_pre_hook(watch(name)) for name, layer in layers.items()]
    with torch.no_grad():
        for window in windows:
            model(input_ids=torch.from_numpy(window[None]))
    for hook in hooks:
        hook.remove()
    return {
        name: seen.topk(max(1, round(len(seen) * CHANNELS_APART))).indices.sort().values.numpy()
        for name, seen in largest.items()
    }


def quantized(graph: Any, exclude: Sequence[str]) -> Any:
    """The model with int8 weights.

    Args:
        graph: An ONNX model in float32, its products named after their weights.
        exclude: Parts of names of weights that stay in float32, beside those in `KEPT_IN_FLOAT`.
    """
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic

    model = onnx.ModelProto()
    model.CopyFrom(graph)
    _quantize_embeddings(model)
    left_out = [
        node.name
        for node in model.graph.node
        if node.op_type == "MatMul"
        and any(part in node.name for part in (*KEPT_IN_FLOAT, *exclude))
    ]
    with tempfile.TemporaryDirectory() as name, silence():
        path = Path(name) / "int8.onnx"
        quantize_dynamic(
            model,
            path,
            op_types_to_quantize=["MatMul"],
            nodes_to_exclude=left_out,
            per_channel=True,
            reduce_range=True,
            weight_type=QuantType.QInt8,
        )
        return onnx.load(path)


def _quantize_embeddings(model: Any) -> None:
    """Keep large embedding tables as int8 with a scale a row; what is looked up becomes float32."""
    from onnx import TensorProto, helper, numpy_helper

    graph = model.graph
    tables = {tensor.name: tensor for tensor in graph.initializer}
    nodes = []
    for node in graph.node:
        table = tables.get(node.input[0]) if node.op_type == "Gather" else None
        axis = next((a.i for a in node.attribute if a.name == "axis"), 0)
        if (
            table is None
            or axis != 0
            or len(table.dims) != 2
            or table.data_type != TensorProto.FLOAT
            or np.prod(table.dims) < SMALLEST_TABLE
            or sum(table.name in other.input for other in graph.node) > 1
        ):
            nodes.append(node)
            continue
        values = numpy_helper.to_array(table)
        scale = np.abs(values).max(axis=1, keepdims=True).astype(np.float32) / 127
        scale[scale == 0] = 1
        graph.initializer.remove(table)
        for value in [value for value in graph.value_info if value.name == table.name]:
            graph.value_info.remove(value)  # it says float
        graph.initializer.extend(
            [
                numpy_helper.from_array(np.rint(values / scale).astype(np.int8), table.name),
                numpy_helper.from_array(scale, f"{table.name}_scale"),
            ]
        )
        ids, output = node.input[1], node.output[0]
        nodes += [
            helper.make_node("Gather", [table.name, ids], [f"{output}_int8"]),
            helper.make_node("Gather", [f"{table.name}_scale", ids], [f"{output}_scale"]),
            helper.make_node("Cast", [f"{output}_int8"], [f"{output}_cast"], to=TensorProto.FLOAT),
            helper.make_node("Mul", [f"{output}_cast", f"{output}_scale"], [output]),
        ]
    del graph.node[:]
    graph.node.extend(nodes)
