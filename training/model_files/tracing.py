"""A torch network to an ONNX graph, by `torch.onnx`.

Attention and rotary positions go into the graph as single ONNX Runtime operators, which saves the
many small ones that tracing would leave. Products are named after their weights, so that one can
be spoken of; where in which source file a node came from is left out.
"""

from __future__ import annotations

import logging
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from transformers import PreTrainedModel

OPSET = 20  # the first with Gelu as one operator
FUSED = "onnxruntime"
"""The name of attention as one operator among those of transformers."""


def onnx_graph(model: PreTrainedModel) -> Any:
    """The network as an ONNX model in float32, any batch and any length of sequence.

    Args:
        model: A token-classification model in float32, loaded with the attention `FUSED` (after
            `register_attention`) or with any that torch traces, such as "eager".
    """
    import torch

    class Network(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, input_ids: Any, attention_mask: Any) -> Any:
            return self.model(input_ids=input_ids, attention_mask=attention_mask).logits

    ids = torch.ones((2, 12), dtype=torch.int64)
    mask = torch.ones_like(ids)
    mask[1, 8:] = 0
    longest = getattr(model.config, "max_position_embeddings", None)
    axes = {0: torch.export.Dim("batch"), 1: torch.export.Dim("sequence", min=2, max=longest)}
    is_fused = model.config._attn_implementation == FUSED
    with _fused_rotary(model) if is_fused else nullcontext(), silence():
        program = torch.onnx.export(
            Network(),
            (ids, mask),
            input_names=["input_ids", "attention_mask"],
            output_names=["logits"],
            dynamic_shapes={"input_ids": axes, "attention_mask": axes},
            opset_version=OPSET,
            dynamo=True,
            verbose=False,
        )
    assert program is not None  # so it is only for the older exporter
    proto = program.model_proto
    _name_matrices(proto, model)
    for node in proto.graph.node:
        del node.metadata_props[:]
        node.doc_string = ""
    for value in proto.graph.value_info:
        del value.metadata_props[:]
    return proto


def _name_matrices(proto: Any, model: PreTrainedModel) -> None:
    """Call each product with a weight matrix as the matrix is called in `model.safetensors`.

    The exporter transposes the weights and numbers them, so they are known by what they hold.
    """
    from onnx import numpy_helper

    known = {
        np.ascontiguousarray(value.numpy().T).tobytes(): name
        for name, value in model.state_dict().items()
        if value.dim() == 2
    }
    content = {
        tensor.name: np.ascontiguousarray(numpy_helper.to_array(tensor)).tobytes()
        for tensor in proto.graph.initializer
        if len(tensor.dims) == 2
    }
    for node in proto.graph.node:
        if node.op_type == "MatMul":
            node.name = known.get(content.get(node.input[1], b""), node.name)


def register_attention() -> None:
    """Make known to transformers an attention that is traced as one operator."""
    import torch
    from transformers import AttentionInterface
    from transformers.masking_utils import AttentionMaskInterface, eager_mask

    def attention(
        module: Any, query: Any, key: Any, value: Any, mask: Any, scaling: Any = None, **_: Any
    ) -> tuple[Any, None]:
        batch, heads, length, width = query.shape
        inputs = [_joined(query), _joined(key), _joined(value)]
        if mask is not None:
            inputs += [None, None, mask]  # no bias, no key padding; added to the scores
        scale = float(width**-0.5 if scaling is None else scaling)
        output = torch.onnx.ops.symbolic(
            "com.microsoft::MultiHeadAttention",
            inputs,
            {"num_heads": heads, "scale": scale},
            dtype=query.dtype,
            shape=(batch, length, heads * width),
            version=1,
        )
        return output.reshape(batch, length, heads, width), None

    AttentionInterface.register(FUSED, attention)
    AttentionMaskInterface.register(FUSED, eager_mask)


def _joined(states: Any) -> Any:
    """(batch, heads, length, width) to (batch, length, heads * width)."""
    batch, heads, length, width = states.shape
    return states.transpose(1, 2).reshape(batch, length, heads * width)


@contextmanager
def _fused_rotary(model: PreTrainedModel) -> Iterator[None]:
    """While it lasts, the model's rotary positions are traced as one operator."""
    import torch

    module: Any = sys.modules[type(model).__module__]
    original = getattr(module, "apply_rotary_pos_emb", None)
    if original is None:
        yield
        return

    def rotate(query: Any, key: Any, cos: Any, sin: Any, *_: Any, **__: Any) -> tuple[Any, Any]:
        # Every window starts at position 0, so one row of the batch has the angles of all.
        half = cos.shape[-1] // 2
        angles = (cos[0, :, :half], sin[0, :, :half])
        start = torch.zeros(1, dtype=torch.int64)

        def one(states: Any) -> Any:
            batch, heads, length, width = states.shape
            turned = torch.onnx.ops.symbolic(
                "com.microsoft::RotaryEmbedding",
                [_joined(states), start, *angles],
                {},
                dtype=states.dtype,
                shape=(batch, length, heads * width),
                version=1,
            )
            return turned.reshape(batch, length, heads, width).transpose(1, 2)

        return one(query), one(key)

    module.apply_rotary_pos_emb = rotate
    try:
        yield
    finally:
        module.apply_rotary_pos_emb = original


@contextmanager
def silence() -> Iterator[None]:
    """Keep the chatter of exporter and quantizer off the terminal; errors are raised anyway."""
    disabled = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(disabled)
