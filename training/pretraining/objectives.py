"""Networks that learn from raw prose, and what they are judged by.

Masked-language modelling is transformers' own. Replaced-token detection (Clark and others, 2020,
"ELECTRA") has a small generator fill in what was masked; the encoder says of each token whether it
is the author's, which is near to the question that a filter answers. Both read one embedding table.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor, nn

from filter.tokenizer import PageTokenizer
from training.config import EncoderConfig
from training.data import IGNORED
from training.networks.bases import check_window, load_network, resize_embeddings
from training.networks.model import embedding_table, encoder_config
from training.pretraining.config import PretrainConfig

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def build_network(config: PretrainConfig, tokenizer: PageTokenizer) -> PreTrainedModel | Detector:
    """The network of a configuration, seeded."""
    from transformers import (
        AutoModel,
        AutoModelForMaskedLM,
        ModernBertForMaskedLM,
        ModernBertModel,
    )

    torch.manual_seed(config.seed)
    masked = config.objective.name == "mlm"
    if config.base is not None:
        network = load_network(AutoModelForMaskedLM if masked else AutoModel, config.base)
        check_window(network, config.window, config.base)
        resize_embeddings(network, tokenizer.vocab_size)
    else:
        shape = encoder_config(config.encoder, tokenizer, window=config.window)
        network = (ModernBertForMaskedLM if masked else ModernBertModel)(shape)
    if not masked:
        return Detector(network, config, tokenizer)
    if hasattr(network, "sparse_prediction"):
        cast(Any, network).sparse_prediction = True  # no logits where nothing is asked
    return network


def encoder_of(network: nn.Module) -> PreTrainedModel:
    """The part of a network that is kept: with its head for mlm, without the generator for rtd."""
    return network.encoder if isinstance(network, Detector) else cast("PreTrainedModel", network)


class Detector(nn.Module):
    """A generator that replaces tokens and an encoder that tells which were replaced."""

    def __init__(
        self, encoder: PreTrainedModel, config: PretrainConfig, tokenizer: PageTokenizer
    ) -> None:
        from transformers import ModernBertModel

        super().__init__()
        self.encoder = encoder
        if getattr(encoder, "pooler", None) is not None:
            cast(Any, encoder).pooler = None  # it reads [CLS] alone and would learn nothing
        vocabulary, width = embedding_table(encoder).weight.shape
        hidden = encoder.config.hidden_size
        heads = max(1, round(hidden * config.objective.generator / 64))
        inner = 2 * heads * max(1, round(hidden * config.objective.generator / (2 * heads)))
        shape = EncoderConfig(
            hidden_size=inner,
            intermediate_size=2 * inner,
            layers=encoder.config.num_hidden_layers,
            heads=heads,
        )
        self.generator = ModernBertModel(encoder_config(shape, tokenizer, window=config.window))
        self.generator.set_input_embeddings(
            nn.Identity()
        )  # it is given vectors of the shared table
        self.narrow = nn.Linear(width, inner, bias=False)
        self.widen = nn.Sequential(nn.Linear(inner, width), nn.GELU(), nn.LayerNorm(width))
        self.bias = nn.Parameter(torch.zeros(vocabulary))
        self.head = nn.Sequential(nn.Linear(hidden, hidden), nn.GELU(), nn.Linear(hidden, 1))
        self.weight = config.objective.weight

    def forward(self, input_ids: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """Losses and, for the figures, what was told of each token.

        Args:
            input_ids: ``(batch, window)``, some of them [MASK].
            labels: the tokens that were there, `IGNORED` where none is masked.

        Returns:
            ``loss``, the sum to be lowered; ``generator_loss`` and ``detection_loss``, in nats;
            ``guesses`` of the masked tokens; ``scores`` and ``replaced``, ``(batch, window)``.
        """
        masked = labels != IGNORED
        truth = labels[masked]
        table = self.encoder.get_input_embeddings()
        hidden = self.generator(inputs_embeds=self.narrow(table(input_ids))).last_hidden_state
        logits = self.widen(hidden[masked]) @ table.weight.T + self.bias
        generator_loss = nn.functional.cross_entropy(logits.float(), truth)
        with torch.no_grad():
            guesses = torch.multinomial(logits.float().softmax(-1), 1).squeeze(-1)
            page = input_ids.masked_scatter(masked, guesses)
            replaced = torch.zeros_like(masked).masked_scatter(masked, guesses != truth)
        scores = self.head(self.encoder(input_ids=page).last_hidden_state).squeeze(-1).float()
        detection_loss = nn.functional.binary_cross_entropy_with_logits(scores, replaced.float())
        return {
            "loss": generator_loss + self.weight * detection_loss,
            "generator_loss": generator_loss,
            "detection_loss": detection_loss,
            "guesses": guesses,
            "scores": scores,
            "replaced": replaced,
        }


def counts(outputs: Any, labels: Tensor) -> dict[str, float]:
    """Sums over the tokens of a batch, of which `figures` are made."""
    truth = labels[labels != IGNORED]
    found: dict[str, float] = {"asked": len(truth), "tokens": labels.numel()}
    if "scores" not in outputs:
        logits = outputs["logits"]
        logits = logits if logits.ndim == 2 else logits[labels != IGNORED]
        loss, guesses = outputs["loss"], logits.argmax(-1)
    else:
        loss, guesses = outputs["generator_loss"], outputs["guesses"]
        told, replaced = outputs["scores"] > 0, outputs["replaced"]
        found |= {
            "detection_loss": float(outputs["detection_loss"]) * labels.numel(),
            "right": int((told == replaced).sum()),
            "told": int(told.sum()),
            "replaced": int(replaced.sum()),
            "hits": int((told & replaced).sum()),
        }
    correct = int((guesses == truth).sum())
    return {**found, "loss": float(loss) * len(truth), "correct": correct}


def figures(sums: Mapping[str, float]) -> dict[str, float]:
    """Loss in nats and accuracy over masked tokens; for rtd those are the generator's own.

    For rtd ``detection_loss`` and ``detection_accuracy`` are over all tokens, precision and recall
    over those that the generator got wrong.
    """
    found = {"loss": sums["loss"] / sums["asked"], "accuracy": sums["correct"] / sums["asked"]}
    if "told" in sums:
        found = {f"generator_{name}": value for name, value in found.items()} | {
            "detection_loss": sums["detection_loss"] / sums["tokens"],
            "detection_accuracy": sums["right"] / sums["tokens"],
            "precision": sums["hits"] / max(1, sums["told"]),
            "recall": sums["hits"] / max(1, sums["replaced"]),
        }
    return found
