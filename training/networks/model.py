"""The network to train: loaded from a directory or a hub, or our own encoder from scratch.

The project's own encoder is of the ModernBERT class (rotary positions, pre-normalisation, gated
linear units): relative positions are there from the first step, which is what training from
scratch needs.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from filter.labels import PROSE
from filter.tokenizer import PageTokenizer
from training.config import EncoderConfig
from training.networks.bases import base_directory, check_window, load_network, resize_embeddings

if TYPE_CHECKING:
    import torch
    from transformers import ModernBertConfig, PreTrainedModel

ROPE_THETA = 10_000.0


def encoder_config(
    shape: EncoderConfig, tokenizer: PageTokenizer, *, window: int, **settings: Any
) -> ModernBertConfig:
    """The configuration of the project's own encoder; every layer attends to the whole window."""
    from transformers import ModernBertConfig

    made: Any = ModernBertConfig  # its options are more than its signature says
    config: ModernBertConfig = made(
        vocab_size=tokenizer.vocab_size,
        hidden_size=shape.hidden_size,
        intermediate_size=shape.intermediate_size,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        max_position_embeddings=max(512, window),
        global_attn_every_n_layers=1,
        pad_token_id=tokenizer.pad_id,
        cls_token_id=tokenizer.cls_id,
        sep_token_id=tokenizer.sep_id,
        bos_token_id=tokenizer.cls_id,
        eos_token_id=tokenizer.sep_id,
        rope_parameters={
            kind: {"rope_type": "default", "rope_theta": ROPE_THETA}
            for kind in ("full_attention", "sliding_attention")
        },
        attn_implementation="sdpa",
        **settings,
    )
    return config


def new_encoder(
    shape: EncoderConfig,
    tokenizer: PageTokenizer,
    labels: list[str],
    *,
    window: int,
    embeddings: NDArray[np.float32] | None = None,
) -> PreTrainedModel:
    """A token-classification model with random weights and, if given, an embedding table.

    Args:
        embeddings: ``(vocab, hidden_size)`` with unit variance; scaled to the initialiser's.
    """
    from transformers import ModernBertForTokenClassification

    names = [PROSE, *labels]
    config = encoder_config(
        shape,
        tokenizer,
        window=window,
        id2label=dict(enumerate(names)),
        label2id={name: index for index, name in enumerate(names)},
    )
    model = ModernBertForTokenClassification(config)
    if embeddings is not None:
        start_embeddings(model, embeddings, tokenizer.pad_id)
    return model


def start_embeddings(model: PreTrainedModel, embeddings: NDArray[np.float32], pad_id: int) -> None:
    """Sets the embedding table of a new network, scaled to its initialiser."""
    import torch

    table = embedding_table(model).weight
    with torch.no_grad():
        table.copy_(torch.from_numpy(embeddings) * model.config.initializer_range)
        table[pad_id].zero_()


def embedding_table(network: PreTrainedModel) -> torch.nn.Embedding:
    """The input embeddings of a network."""
    return cast("torch.nn.Embedding", cast(Any, network).get_input_embeddings())


def load_base(
    base: str | Path, labels: list[str], tokenizer: PageTokenizer, *, window: int
) -> PreTrainedModel:
    """A model to go on from, with a head for the given labels and a row for every token.

    The base's own head is kept where it is for the same labels in the same order.

    Raises:
        WinnowError: the directory or hub model cannot be loaded, or has fewer positions than a
            window has tokens.
    """
    from transformers import AutoConfig, AutoModelForTokenClassification

    names = dict(enumerate([PROSE, *labels]))
    model = load_network(
        AutoModelForTokenClassification,
        base,
        id2label=names,
        label2id={name: index for index, name in names.items()},
        num_labels=len(names),
    )
    if AutoConfig.from_pretrained(base_directory(base)).id2label != names:
        _start_head(model)
    check_window(model, window, base)
    resize_embeddings(model, tokenizer.vocab_size)
    return model


def _start_head(model: PreTrainedModel) -> None:
    """Forgets the classifier: it told other labels apart, though perhaps as many."""
    import torch

    head = cast("torch.nn.Linear", model.classifier)
    torch.nn.init.normal_(head.weight, std=model.config.initializer_range)
    torch.nn.init.zeros_(head.bias)
