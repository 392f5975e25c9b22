"""The BERT encoder written out as an ONNX graph.

At [CLS] and [SEP] a few channels are ten times as large as any other, and would take the digits of
int8 from all of them. They go through a product of their own, which stays in float (Dettmers and
others, 2022, "LLM.int8(): 8-bit Matrix Multiplication for Transformers at Scale").
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from training.model_files.graph_writer import GraphWriter
from training.model_files.quantization import APART

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def is_bert(config: Any) -> bool:
    """Whether the graph of a network with this configuration can be written here."""
    return bool(
        config.model_type == "bert"
        and config.hidden_act == "gelu"
        and not getattr(config, "is_decoder", False)
        and getattr(config, "position_embedding_type", "absolute") == "absolute"
    )


def bert_graph(model: PreTrainedModel, apart: Mapping[str, NDArray[np.int64]]) -> Any:
    """The network as an ONNX model in float32, for windows without padding.

    Args:
        model: A token-classification model of which `is_bert` says yes.
        apart: Channels that go into a linear layer by a product of their own, by its name.
    """
    graph = GraphWriter(model)
    states = _embedded(graph)
    for index in range(graph.config.num_hidden_layers):
        layer = f"bert.encoder.layer.{index}"
        mixed = _attention(graph, states, f"{layer}.attention.self")
        mixed = graph.product(mixed, f"{layer}.attention.output.dense.weight")
        states = _joined(graph, states, mixed, f"{layer}.attention.output")
        inner = _product(graph, states, f"{layer}.intermediate.dense", apart)
        bias = graph.weight(f"{layer}.intermediate.dense.bias")
        inner = graph.contrib("BiasGelu", [inner, bias], f"{layer}.gelu")
        inner = _product(graph, inner, f"{layer}.output.dense", apart)
        states = _joined(graph, states, inner, f"{layer}.output")
    bias = graph.weight("classifier.bias")
    graph.node("Add", [graph.product(states, "classifier.weight"), bias], "logits")
    return graph.finish()


def _embedded(graph: GraphWriter) -> str:
    """Words, and positions with the first token type, which is every token's."""
    name = "bert.embeddings"
    places = graph.weights[f"{name}.position_embeddings.weight"]
    graph.constant("places", places + graph.weights[f"{name}.token_type_embeddings.weight"][:1])
    graph.constant("first", np.zeros(1, dtype=np.int64))
    length = graph.node("Shape", ["input_ids"], "length", start=1, end=2)
    own = graph.node("Slice", ["places", "first", length], "own_places")
    table = graph.weight(f"{name}.word_embeddings.weight")
    words = graph.node("Gather", [table, "input_ids"], "embedded", axis=0)
    states = graph.node("Add", [words, own], "placed")
    return _norm(graph, states, f"{name}.LayerNorm")


def _attention(graph: GraphWriter, states: str, name: str) -> str:
    parts = ("query", "key", "value")
    inputs = [graph.product(states, f"{name}.{part}.weight") for part in parts]
    biases = np.concatenate([graph.weights[f"{name}.{part}.bias"] for part in parts])
    return graph.attention([*inputs, graph.constant(f"{name}.biases", biases)], f"{name}.mixed")


def _product(
    graph: GraphWriter, states: str, layer: str, apart: Mapping[str, NDArray[np.int64]]
) -> str:
    """The product of a linear layer, some of its channels by themselves."""
    weight = f"{layer}.weight"
    if layer not in apart:
        return graph.product(states, weight)
    channels = apart[layer]
    kept = np.ones(graph.weights[weight].shape[1], dtype=np.float32)
    kept[channels] = 0
    mask = graph.constant(f"{layer}.kept", kept)
    rest = graph.product(graph.node("Mul", [states, mask], f"{layer}.masked"), weight)
    index = graph.constant(f"{layer}.channels", channels)
    large = graph.node("Gather", [states, index], f"{layer}.large", axis=-1)
    name = f"{layer}{APART}"
    matrix = graph.constant(name, np.ascontiguousarray(graph.weights[weight][:, channels].T))
    own = graph.node("MatMul", [large, matrix], f"{name}.product", name=name)
    return graph.node("Add", [rest, own], f"{layer}.sum")


def _joined(graph: GraphWriter, states: str, change: str, name: str) -> str:
    """The norm of a state and its change, to which a bias is added.

    ONNX Runtime has an operator for all of it, which takes three times as long as the three.
    """
    bias = graph.weight(f"{name}.dense.bias")
    change = graph.node("Add", [change, bias], f"{name}.biased")
    return _norm(graph, graph.node("Add", [change, states], f"{name}.joined"), f"{name}.LayerNorm")


def _norm(graph: GraphWriter, states: str, name: str) -> str:
    weights = [graph.weight(f"{name}.{part}") for part in ("weight", "bias")]
    epsilon = graph.config.layer_norm_eps
    return graph.node("LayerNormalization", [states, *weights], name, axis=-1, epsilon=epsilon)
