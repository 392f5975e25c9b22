"""The loss against sums by hand; the same whatever the batches are."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from training.data import IGNORED
from training.loss import TokenLoss, balanced_weights

WEIGHTS = torch.tensor([1.0, 4.0, 0.5])


def batch(windows: int = 4, tokens: int = 7) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits and labels, some of them ignored, a different number in each window."""
    generator = torch.Generator().manual_seed(3)
    logits = torch.randn(windows, tokens, 3, generator=generator)
    labels = torch.randint(0, 3, (windows, tokens), generator=generator)
    for window in range(windows):
        labels[window, : window + 1] = IGNORED
    return logits, labels


def by_hand(logits: torch.Tensor, labels: torch.Tensor, gamma: float, smoothing: float) -> float:
    total, count = 0.0, 0
    for row, label in zip(logits.flatten(0, 1).double(), labels.flatten().tolist(), strict=True):
        if label == IGNORED:
            continue
        log_p = row - row.exp().sum().log()
        hard = -float(WEIGHTS[label] * log_p[label])
        soft = -float((WEIGHTS * log_p).mean())
        loss = (1 - smoothing) * hard + smoothing * soft
        total += loss * (1 - float(log_p[label].exp())) ** gamma
        count += 1
    return total / count


@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_loss_is_the_sum_by_hand(gamma: float, smoothing: float) -> None:
    logits, labels = batch()
    loss = TokenLoss(WEIGHTS, focal_gamma=gamma, smoothing=smoothing)
    found = loss(SimpleNamespace(logits=logits), labels)
    assert float(found) == pytest.approx(by_hand(logits, labels, gamma, smoothing), rel=1e-5)


def test_parts_of_a_batch_sum_to_the_whole() -> None:
    logits, labels = batch()
    loss = TokenLoss(WEIGHTS, focal_gamma=1.0)
    whole = loss(SimpleNamespace(logits=logits), labels)
    count = (labels != IGNORED).sum()
    parts = [
        loss(SimpleNamespace(logits=logits[i : i + 1]), labels[i : i + 1], num_items_in_batch=count)
        for i in range(len(labels))
    ]
    assert float(sum(parts)) == pytest.approx(float(whole), rel=1e-6)


def test_a_focal_gradient_is_finite_where_all_is_right() -> None:
    logits = torch.tensor([[[60.0, -60.0, -60.0]]], requires_grad=True)
    loss = TokenLoss(WEIGHTS, focal_gamma=0.5)
    loss(SimpleNamespace(logits=logits), torch.tensor([[0]])).backward()
    assert logits.grad is not None and torch.isfinite(logits.grad).all()


def test_balanced_weights_make_labels_count_alike() -> None:
    counts = np.array([900, 90, 10, 0])
    weights = balanced_weights(counts)
    assert weights[3] == 1.0
    assert np.allclose((weights * counts)[:3], counts.sum() / 3)
    assert (weights * counts).sum() == pytest.approx(counts.sum())


def test_windows_count_by_their_weights() -> None:
    logits, labels = batch()
    loss, outputs = TokenLoss(WEIGHTS), SimpleNamespace(logits=logits)
    twice = torch.tensor([2.0, 0.0, 1.0, 1.0])
    chosen = [0, 0, 2, 3]
    expected = loss(SimpleNamespace(logits=logits[chosen]), labels[chosen], 20)
    assert torch.allclose(loss(outputs, labels, 20, window_weights=twice), expected)
