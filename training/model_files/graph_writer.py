"""An ONNX graph written operator by operator out of a torch network's weights.

What a tracer makes of a network has a mask that a window without padding does not need, and splits
and reshapes between the operators. In a graph that is written, products that share an input stand
side by side, so that int8 quantizes that input once, and attention is ONNX Runtime's one operator.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from training.model_files.tracing import OPSET

if TYPE_CHECKING:
    from transformers import PreTrainedModel

CONTRIB = "com.microsoft"


class GraphWriter:
    """Nodes and weights, gathered in the order in which a window passes them.

    Args:
        model: A network in float32; its weights go by their names in its ``state_dict``.
    """

    def __init__(self, model: PreTrainedModel) -> None:
        from onnx import helper

        self.config: Any = model.config
        self.weights = {k: v.float().numpy() for k, v in model.state_dict().items()}
        self._constants: dict[str, NDArray[Any]] = {}
        self._nodes: list[Any] = []
        self._make_node = helper.make_node

    def finish(self) -> Any:
        """The model, of which the node called `logits` gives what comes out.

        It takes `input_ids`, int64 (batch, sequence), and gives `logits`, float32 (batch,
        sequence, labels).
        """
        from onnx import TensorProto, helper, numpy_helper

        info = helper.make_tensor_value_info
        shape = ["batch", "sequence"]
        graph = helper.make_graph(
            self._nodes,
            self.config.model_type,
            [info("input_ids", TensorProto.INT64, shape)],
            [info("logits", TensorProto.FLOAT, [*shape, self.config.num_labels])],
            [numpy_helper.from_array(value, name) for name, value in self._constants.items()],
            # The quantizer must know the type of every product.
            value_info=[
                info(node.output[0], TensorProto.FLOAT, None)
                for node in self._nodes
                if node.op_type == "MatMul"
            ],
        )
        opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid(CONTRIB, 1)]
        return helper.make_model(graph, opset_imports=opsets, ir_version=10)

    def product(self, states: str, weight: str) -> str:
        """The product with a weight matrix, which torch keeps as (outputs, inputs)."""
        return self.products(states, weight, ("",))[0]

    def products(self, states: str, weight: str, parts: tuple[str, ...]) -> list[str]:
        """A product with each of the parts, row upon row, of which a weight matrix is made."""
        outputs = []
        for part, matrix in zip(parts, np.split(self.weights[weight], len(parts)), strict=True):
            name = f"{weight}.{part}" if part else weight
            self.constant(name, np.ascontiguousarray(matrix.T))
            # A node is called as its weight: so it can be left in float32 by that name.
            outputs.append(self.node("MatMul", [states, name], f"{name}.product", name=name))
        return outputs

    def attention(self, inputs: list[str], output: str) -> str:
        """Attention of all heads over query, key and value, with their biases as a fourth."""
        heads = self.config.num_attention_heads
        return self.contrib("MultiHeadAttention", inputs, output, num_heads=heads)

    def contrib(self, operator: str, inputs: list[str], output: str, **attributes: Any) -> str:
        """One of ONNX Runtime's own operators."""
        return self.node(operator, inputs, output, domain=CONTRIB, **attributes)

    def node(self, operator: str, inputs: list[str], output: str, **attributes: Any) -> str:
        """An operator; returns the name of what it gives."""
        attributes.setdefault("name", output)
        self._nodes.append(self._make_node(operator, inputs, [output], **attributes))
        return output

    def weight(self, name: str) -> str:
        """A weight of the network as it is."""
        return self.constant(name, self.weights[name])

    def constant(self, name: str, value: NDArray[Any]) -> str:
        """A constant; returns its name."""
        self._constants[name] = value
        return name
