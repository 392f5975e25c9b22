"""The matrix products of a model, by its config.json, and the operations that they take.

Only matrix products count: linear layers and the two products of attention. Embeddings, norms,
softmax, rotation and number formats are what an engine adds to them. Counted is what a window
needs at its own length, special tokens included and padding left out; a layer that sees only its
neighbourhood needs no more than its reach. One multiplication with its addition is two operations.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from filter.decoder_settings import read_json
from filter.errors import WinnowError

GATED = ("modernbert",)
PLAIN = ("bert", "electra", "roberta", "xlm-roberta")
KNOWN = (*GATED, *PLAIN)
"""Architectures (`model_type`) whose products are known."""


@dataclass(frozen=True, slots=True)
class Linear:
    """A linear layer: (n, inputs) by (inputs, outputs), `count` times in the model."""

    inputs: int
    outputs: int
    count: int


@dataclass(frozen=True, slots=True)
class Attention:
    """The two products of attention, in `layers` layers.

    Attributes:
        heads: Heads.
        head_size: Width of one.
        layers: How many layers are like this.
        reach: Most keys that a token sees; None for all of its window.
    """

    heads: int
    head_size: int
    layers: int
    reach: int | None = None

    def keys(self, length: int) -> int:
        """Keys of a token in a window of `length` tokens."""
        return length if self.reach is None else min(length, self.reach)


@dataclass(frozen=True, slots=True)
class Arithmetic:
    """All matrix products of a model."""

    linears: tuple[Linear, ...]
    attentions: tuple[Attention, ...]

    def operations(self, length: int) -> int:
        """Operations of one window of `length` tokens."""
        linear = sum(2 * length * own.inputs * own.outputs * own.count for own in self.linears)
        attention = sum(
            2 * 2 * length * own.keys(length) * own.heads * own.head_size * own.layers
            for own in self.attentions
        )
        return linear + attention


def read_arithmetic(directory: Path) -> Arithmetic:
    """The products of the model in a directory.

    Raises:
        WinnowError: its architecture is not known here, or config.json lacks a size.
    """
    path = directory / "config.json"
    config = read_json(path)
    kind = config.get("model_type")
    if kind not in KNOWN:
        raise WinnowError(
            f"{path}: the matrix products of model_type {kind!r} are not known; known:"
            f" {', '.join(KNOWN)}"
        )
    try:
        hidden, inner = int(config["hidden_size"]), int(config["intermediate_size"])
        layers, heads = int(config["num_hidden_layers"]), int(config["num_attention_heads"])
        labels = len(config["id2label"])
        head_size = hidden // heads
        if kind in GATED:
            return Arithmetic(
                (
                    Linear(hidden, 3 * hidden, layers),
                    Linear(hidden, hidden, layers),
                    Linear(hidden, 2 * inner, layers),
                    Linear(inner, hidden, layers),
                    Linear(hidden, hidden, 1),
                    Linear(hidden, labels, 1),
                ),
                tuple(_modernbert_attentions(config, heads, head_size, layers)),
            )
        linears = [
            Linear(hidden, hidden, 4 * layers),
            Linear(hidden, inner, layers),
            Linear(inner, hidden, layers),
            Linear(hidden, labels, 1),
        ]
        embedding = int(config.get("embedding_size", hidden))
        if embedding != hidden:
            linears.append(Linear(embedding, hidden, 1))
        return Arithmetic(tuple(linears), (Attention(heads, head_size, layers),))
    except (KeyError, TypeError, ValueError, ZeroDivisionError) as error:
        raise WinnowError(f"{path}: the sizes of the model are not all there ({error})") from error


def _modernbert_attentions(
    config: dict[str, object], heads: int, head_size: int, layers: int
) -> list[Attention]:
    kinds = config.get("layer_types")
    if isinstance(kinds, list):
        everywhere = sum(kind == "full_attention" for kind in kinds)
    else:
        every = int(str(config.get("global_attn_every_n_layers", 3)))
        everywhere = len(range(0, layers, every))
    found = []
    if everywhere:
        found.append(Attention(heads, head_size, everywhere))
    if everywhere < layers:
        # Half of the neighbourhood on either side, and the token itself.
        reach = int(str(config.get("local_attention", 128))) // 2 * 2 + 1
        found.append(Attention(heads, head_size, layers - everywhere, reach))
    return found
