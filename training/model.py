"""The network to train: loaded from a directory or a hub, or our own encoder from scratch.

The project's own encoder is of the ModernBERT class (rotary positions, pre-normalisation, gated
linear units): relative positions are there from the first step, which is what training from
scratch needs.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from filter.errors import WinnowError
from filter.labels import PROSE
from filter.tokenizer import PageTokenizer
from training.config import EncoderConfig

if TYPE_CHECKING:
    from transformers import PreTrainedModel

ROPE_THETA = 10_000.0


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
    import torch
    from transformers import ModernBertConfig, ModernBertForTokenClassification

    names = [PROSE, *labels]
    config = ModernBertConfig(
        vocab_size=tokenizer.vocab_size,
        hidden_size=shape.hidden_size,
        intermediate_size=shape.intermediate_size,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        max_position_embeddings=max(512, window),
        global_attn_every_n_layers=1,
        id2label=dict(enumerate(names)),
        label2id={name: index for index, name in enumerate(names)},
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
    )
    model = ModernBertForTokenClassification(config)
    if embeddings is not None:
        table = model.get_input_embeddings().weight
        with torch.no_grad():
            table.copy_(torch.from_numpy(embeddings) * config.initializer_range)
            table[tokenizer.pad_id].zero_()
    return model


def load_base(base: str | Path, labels: list[str], tokenizer: PageTokenizer) -> PreTrainedModel:
    """A model to go on from, with a head for the given labels and a row for every token.

    Raises:
        WinnowError: the directory or hub model cannot be loaded.
    """
    from transformers import AutoModelForTokenClassification

    names = [PROSE, *labels]
    settings: dict[str, Any] = {
        "id2label": dict(enumerate(names)),
        "label2id": {name: index for index, name in enumerate(names)},
        "num_labels": len(names),
        "ignore_mismatched_sizes": True,
        "use_safetensors": True,
        "dtype": "float32",
    }
    try:
        model: PreTrainedModel = AutoModelForTokenClassification.from_pretrained(base, **settings)
    except (OSError, ValueError) as error:
        raise WinnowError(f"base '{base}': {str(error).splitlines()[0]}") from error
    if tokenizer.vocab_size > model.get_input_embeddings().num_embeddings:
        model.resize_token_embeddings(tokenizer.vocab_size)
    return model
