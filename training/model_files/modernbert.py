"""The ModernBERT encoder written out as an ONNX graph, angles of its positions and all."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from training.model_files.graph_writer import GraphWriter

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def is_modernbert(config: Any) -> bool:
    """Whether the graph of a network with this configuration can be written here.

    Networks with biases, sliding windows or an activation other than GELU are left to the tracer.
    """
    return bool(
        config.model_type == "modernbert"
        and set(config.layer_types) == {"full_attention"}
        and not (config.attention_bias or config.mlp_bias or config.norm_bias)
        and not config.classifier_bias
        and config.hidden_activation == config.classifier_activation == "gelu"
    )


def modernbert_graph(model: PreTrainedModel) -> Any:
    """The network as an ONNX model in float32, for windows without padding.

    Args:
        model: A token-classification model of which `is_modernbert` says yes.
    """
    graph = GraphWriter(model)
    _rotary_angles(graph)
    graph.constant("first_position", np.zeros(1, dtype=np.int64))
    table = graph.weight("model.embeddings.tok_embeddings.weight")
    states = graph.node("Gather", [table, "input_ids"], "embedded", axis=0)
    states = _norm(graph, states, "model.embeddings.norm")
    for index in range(graph.config.num_hidden_layers):
        layer = f"model.layers.{index}"
        normed = states if index == 0 else _norm(graph, states, f"{layer}.attn_norm")
        states = _added(graph, states, _attention(graph, normed, f"{layer}.attn"))
        normed = _norm(graph, states, f"{layer}.mlp_norm")
        states = _added(graph, states, _gated_unit(graph, normed, f"{layer}.mlp"))
    states = _norm(graph, states, "model.final_norm")
    states = graph.product(states, "head.dense.weight")
    states = _norm(graph, graph.node("Gelu", [states], "head.gelu"), "head.norm")
    bias = graph.weight("classifier.bias")
    graph.node("Add", [graph.product(states, "classifier.weight"), bias], "logits")
    return graph.finish()


def _attention(graph: GraphWriter, states: str, name: str) -> str:
    query, key, value = graph.products(states, f"{name}.Wqkv.weight", ("query", "key", "value"))
    query, key = (
        graph.contrib(
            "RotaryEmbedding",
            [matrix, "first_position", "cosines", "sines"],
            f"{matrix}.rotated",
            num_heads=graph.config.num_attention_heads,
        )
        for matrix in (query, key)
    )
    mixed = graph.attention([query, key, value], f"{name}.mixed")
    return graph.product(mixed, f"{name}.Wo.weight")


def _gated_unit(graph: GraphWriter, states: str, name: str) -> str:
    inner, gate = graph.products(states, f"{name}.Wi.weight", ("inner", "gate"))
    active = graph.node("Gelu", [inner], f"{name}.gelu")
    return graph.product(graph.node("Mul", [active, gate], f"{name}.gated"), f"{name}.Wo.weight")


def _rotary_angles(graph: GraphWriter) -> None:
    config = graph.config
    width = config.hidden_size // config.num_attention_heads
    theta = config.rope_parameters["full_attention"]["rope_theta"]
    frequencies = theta ** -(np.arange(0, width, 2) / width)
    angles = np.arange(config.max_position_embeddings)[:, None] * frequencies
    graph.constant("cosines", np.cos(angles).astype(np.float32))
    graph.constant("sines", np.sin(angles).astype(np.float32))


def _norm(graph: GraphWriter, states: str, name: str) -> str:
    weight = graph.weight(f"{name}.weight")
    return graph.node(
        "LayerNormalization", [states, weight], name, axis=-1, epsilon=graph.config.norm_eps
    )


def _added(graph: GraphWriter, states: str, change: str) -> str:
    return graph.node("Add", [states, change], f"{change}.added")
