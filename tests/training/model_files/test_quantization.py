"""int8: what stays in float, what takes a byte, and the channels evened out before."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")
pytest.importorskip("onnx")

import onnx
import torch
from transformers import AutoModelForTokenClassification

from training.model_files.quantization import SMALLEST_TABLE, quantized, smooth_gated_units


def windows(vocabulary: int) -> list[np.ndarray]:
    return [np.random.default_rng(i).integers(0, vocabulary, 30) for i in range(4)]


def test_smoothing_changes_nothing_but_the_channels_between(tiny_model: Path) -> None:
    model = AutoModelForTokenClassification.from_pretrained(tiny_model, dtype="float32").eval()
    unit = model.model.layers[0].mlp
    with torch.no_grad():
        unit.Wi.weight[unit.Wo.in_features + 3] *= 100  # one channel far above the others
    ids = windows(model.config.vocab_size)
    inputs = [torch.from_numpy(window[None]) for window in ids]

    def state() -> tuple[list[torch.Tensor], torch.Tensor]:
        seen: list[torch.Tensor] = []
        hook = unit.Wo.register_forward_pre_hook(lambda _, x: seen.append(x[0].abs().amax((0, 1))))
        with torch.no_grad():
            logits = [model(input_ids=x).logits for x in inputs]
        hook.remove()
        return logits, torch.stack(seen).amax(0)

    before, wide = state()
    smooth_gated_units(model, ids)
    after, even = state()
    for old, new in zip(before, after, strict=True):
        assert torch.allclose(old, new, atol=1e-3, rtol=1e-4)
    assert even.max() / even.median() < 0.3 * wide.max() / wide.median()


def test_the_last_matrices_and_those_excluded_stay_in_float(tiny_model: Path) -> None:
    graph = onnx.load(tiny_model / "onnx/model.onnx")

    def floats(*exclude: str) -> set[str]:
        nodes = quantized(graph, exclude).graph.node
        return {node.name for node in nodes if node.op_type == "MatMul"}

    last = {"head.dense.weight", "classifier.weight"}
    assert floats() == last
    assert floats("layers.0.mlp") == last | {
        "model.layers.0.mlp.Wi.weight.inner",
        "model.layers.0.mlp.Wi.weight.gate",
        "model.layers.0.mlp.Wo.weight",
    }


def test_a_row_of_a_large_table_is_kept_to_half_a_step_of_its_own_scale() -> None:
    from onnx import TensorProto, helper, numpy_helper

    from training.model_files.graphs import session_of

    rng = np.random.default_rng(0)
    rows = SMALLEST_TABLE // 16
    table = (rng.normal(size=(rows, 16)) * np.geomspace(1e-3, 1e3, rows)[:, None]).astype("f4")
    table[7] = 0
    graph = helper.make_graph(
        [helper.make_node("Gather", ["table", "ids"], ["values"])],
        "lookup",
        [helper.make_tensor_value_info("ids", TensorProto.INT64, ["n"])],
        [helper.make_tensor_value_info("values", TensorProto.FLOAT, ["n", 16])],
        [numpy_helper.from_array(table, "table")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    packed = quantized(model, ()).SerializeToString()
    assert len(packed) < 0.35 * len(model.SerializeToString())
    (values,) = session_of(packed).run(None, {"ids": np.arange(rows)})
    step = np.abs(table).max(axis=1, keepdims=True) / 127
    assert (np.abs(values - table) <= 0.501 * step).all()
