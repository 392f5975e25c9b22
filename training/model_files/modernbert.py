"""The ModernBERT encoder written out as an ONNX graph, operator by operator.

What a tracer makes of the network has a mask that a window without padding does not need, splits
and reshapes between the operators, and angles of rotary positions computed anew in each call. Here
the products that share an input stand side by side, so that int8 quantizes that input once, and
attention and rotary positions are ONNX Runtime's single operators.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from training.model_files.tracing import OPSET

if TYPE_CHECKING:
    from transformers import PreTrainedModel

CONTRIB = "com.microsoft"


def is_written_out(config: Any) -> bool:
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

    It takes `input_ids`, int64 (batch, sequence), and gives `logits`, float32 (batch, sequence,
    labels).

    Args:
        model: A token-classification model of which `is_written_out` says yes.
    """
    return _Graph(model).model


class _Graph:
    """Nodes and weights, gathered in the order in which a window passes them."""

    def __init__(self, model: PreTrainedModel) -> None:
        from onnx import TensorProto, helper, numpy_helper

        self._config: Any = model.config
        self._weights = {k: v.float().numpy() for k, v in model.state_dict().items()}
        self._constants: dict[str, NDArray[Any]] = {}
        self._nodes: list[Any] = []
        self._make_node = helper.make_node
        self._write()
        info = helper.make_tensor_value_info
        shape = ["batch", "sequence"]
        graph = helper.make_graph(
            self._nodes,
            model.config.model_type,
            [info("input_ids", TensorProto.INT64, shape)],
            [info("logits", TensorProto.FLOAT, [*shape, model.config.num_labels])],
            [numpy_helper.from_array(value, name) for name, value in self._constants.items()],
            # The quantizer must know the type of every product.
            value_info=[info(node.output[0], TensorProto.FLOAT, None) for node in self._nodes[:-1]],
        )
        opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid(CONTRIB, 1)]
        self.model = helper.make_model(graph, opset_imports=opsets, ir_version=10)

    def _write(self) -> None:
        config = self._config
        self._rotary_angles()
        self._constant("first_position", np.zeros(1, dtype=np.int64))
        table = self._weight("model.embeddings.tok_embeddings.weight")
        states = self._node("Gather", [table, "input_ids"], "embedded", axis=0)
        states = self._norm(states, "model.embeddings.norm")
        for index in range(config.num_hidden_layers):
            layer = f"model.layers.{index}"
            normed = states if index == 0 else self._norm(states, f"{layer}.attn_norm")
            states = self._added(states, self._attention(normed, f"{layer}.attn"))
            normed = self._norm(states, f"{layer}.mlp_norm")
            states = self._added(states, self._gated_unit(normed, f"{layer}.mlp"))
        states = self._norm(states, "model.final_norm")
        states = self._product(states, "head.dense.weight")
        states = self._norm(self._node("Gelu", [states], "head.gelu"), "head.norm")
        bias = self._weight("classifier.bias")
        self._node("Add", [self._product(states, "classifier.weight"), bias], "logits")

    def _attention(self, states: str, name: str) -> str:
        heads = self._config.num_attention_heads
        query, key, value = self._products(states, f"{name}.Wqkv.weight", ("query", "key", "value"))
        angles = ["first_position", "cosines", "sines"]
        query, key = (
            self._node(
                "RotaryEmbedding",
                [matrix, *angles],
                f"{matrix}.rotated",
                domain=CONTRIB,
                num_heads=heads,
            )
            for matrix in (query, key)
        )
        mixed = self._node(
            "MultiHeadAttention",
            [query, key, value],
            f"{name}.mixed",
            domain=CONTRIB,
            num_heads=heads,
        )
        return self._product(mixed, f"{name}.Wo.weight")

    def _gated_unit(self, states: str, name: str) -> str:
        inner, gate = self._products(states, f"{name}.Wi.weight", ("inner", "gate"))
        active = self._node("Gelu", [inner], f"{name}.gelu")
        return self._product(
            self._node("Mul", [active, gate], f"{name}.gated"), f"{name}.Wo.weight"
        )

    def _rotary_angles(self) -> None:
        config = self._config
        width = config.hidden_size // config.num_attention_heads
        theta = config.rope_parameters["full_attention"]["rope_theta"]
        frequencies = theta ** -(np.arange(0, width, 2) / width)
        angles = np.arange(config.max_position_embeddings)[:, None] * frequencies
        self._constant("cosines", np.cos(angles).astype(np.float32))
        self._constant("sines", np.sin(angles).astype(np.float32))

    def _norm(self, states: str, name: str) -> str:
        weight = self._weight(f"{name}.weight")
        return self._node(
            "LayerNormalization", [states, weight], name, axis=-1, epsilon=self._config.norm_eps
        )

    def _added(self, states: str, change: str) -> str:
        return self._node("Add", [states, change], f"{change}.added")

    def _product(self, states: str, weight: str) -> str:
        return self._products(states, weight, ("",))[0]

    def _products(self, states: str, weight: str, parts: tuple[str, ...]) -> list[str]:
        """A product with each of the parts, row upon row, of which a weight matrix is made."""
        outputs = []
        for part, matrix in zip(parts, np.split(self._weights[weight], len(parts)), strict=True):
            name = f"{weight}.{part}" if part else weight
            self._constant(name, np.ascontiguousarray(matrix.T))
            # A node is called as its weight: so it can be left in float32 by that name.
            outputs.append(self._node("MatMul", [states, name], f"{name}.product", name=name))
        return outputs

    def _node(self, operator: str, inputs: list[str], output: str, **attributes: Any) -> str:
        attributes.setdefault("name", output)
        self._nodes.append(self._make_node(operator, inputs, [output], **attributes))
        return output

    def _weight(self, name: str) -> str:
        return self._constant(name, self._weights[name])

    def _constant(self, name: str, value: NDArray[Any]) -> str:
        self._constants[name] = value
        return name
