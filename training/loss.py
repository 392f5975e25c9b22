"""The loss: cross entropy by token, weighted by label, focused on what is still wrong.

It is summed over the tokens of a batch and divided by the tokens of the whole global batch, so that
the same windows give the same gradient however they are spread over accumulated batches and
processes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import cross_entropy

from filter.labels import PROSE
from training.config import LossConfig
from training.data import IGNORED

if TYPE_CHECKING:
    from training.data import WindowDataset

BALANCE_WINDOWS = 500
"""Windows from which the frequencies of labels are taken."""


class TokenLoss:
    """Focal, weighted, smoothed cross entropy, as the Trainer calls it.

    Args:
        weights: (1 + labels,) a weight for each label, prose first.
        focal_gamma: a token whose label has probability p counts (1 - p) ** gamma (Lin and others,
            2017, "Focal Loss for Dense Object Detection"); 0 for plain cross entropy.
        smoothing: share of a target that is spread evenly over all labels (Szegedy and others,
            2016, "Rethinking the Inception Architecture").
    """

    def __init__(
        self, weights: torch.Tensor, *, focal_gamma: float = 0.0, smoothing: float = 0.0
    ) -> None:
        self.weights = weights
        self.focal_gamma = focal_gamma
        self.smoothing = smoothing

    def __call__(
        self,
        outputs: Any,
        labels: torch.Tensor,
        num_items_in_batch: Any = None,
        *,
        window_weights: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """The loss of one batch.

        Args:
            outputs: of the network, with `logits` of (windows, tokens, 1 + labels).
            labels: (windows, tokens), `IGNORED` where no loss is taken.
            num_items_in_batch: counted tokens of the global batch; none takes those of this one.
            window_weights: (windows,) factors of the windows' losses; none for 1.
        """
        logits, target = outputs.logits.float().flatten(0, 1), labels.flatten()
        loss = cross_entropy(
            logits,
            target,
            weight=self.weights.to(logits.device),
            ignore_index=IGNORED,
            label_smoothing=self.smoothing,
            reduction="none",
        )
        if self.focal_gamma:
            chosen = target.clamp(min=0).unsqueeze(1)
            right = logits.log_softmax(-1).gather(1, chosen).squeeze(1).exp()
            # A slope at exactly 1 would be infinite for a gamma below 1.
            loss = loss * (1 - right).clamp(min=1e-6) ** self.focal_gamma
        if window_weights is not None:
            loss = (loss.view(labels.shape) * window_weights.unsqueeze(1)).flatten()
        counted = (target != IGNORED).sum() if num_items_in_batch is None else num_items_in_batch
        return loss.sum() / counted


def build_loss(config: LossConfig, labels: Sequence[str], dataset: WindowDataset) -> TokenLoss:
    """The loss of a configuration; balanced weights are counted on the training mixture."""
    if config.label_weights == "balanced":
        weights = balanced_weights(label_counts(dataset, 1 + len(labels)))
    else:
        named = config.label_weights
        weights = np.array([named.get(name, 1.0) for name in (PROSE, *labels)])
    return TokenLoss(
        torch.tensor(weights, dtype=torch.float32),
        focal_gamma=config.focal_gamma,
        smoothing=config.smoothing,
    )


def label_counts(dataset: WindowDataset, size: int) -> NDArray[np.int64]:
    """(size,) tokens of each label in windows taken evenly from the mixture."""
    counts = np.zeros(size, dtype=np.int64)
    for index in range(0, len(dataset), max(1, len(dataset) // BALANCE_WINDOWS)):
        labels = dataset[index]["labels"]
        counts += np.bincount(labels[labels != IGNORED], minlength=size)
    return counts


def balanced_weights(counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """Weights under which every label counts as much as any other; the mean over tokens is 1.

    A label that does not occur has weight 1.
    """
    seen = counts > 0
    weights = np.ones(len(counts))
    weights[seen] = counts.sum() / (seen.sum() * counts[seen])
    return weights
