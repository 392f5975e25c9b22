"""Muon for the encoder's matrices, AdamW for everything else, as one optimizer.

Muon (Jordan and others, 2024) orthogonalises the momentum of each matrix; its steps are scaled to
AdamW's root mean square (Liu and others, 2025), so that one schedule serves both. The Trainer and
its checkpoints see a single optimizer whose ``state_dict`` round-trips.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.optim import AdamW, Muon, Optimizer

from training.config import OptimizerConfig


class MuonAdamW(Optimizer):
    """Two optimizers over disjoint parameters behind one interface."""

    def __init__(self, muon: Muon, adamw: AdamW) -> None:
        self.parts: tuple[Optimizer, ...] = (muon, adamw)
        super().__init__([{"params": []}], {})
        self.param_groups = [group for part in self.parts for group in part.param_groups]

    @torch.no_grad()
    def step(  # type: ignore[override]  # torch has an overload for each
        self, closure: Callable[[], float] | None = None
    ) -> float | None:
        loss = closure() if closure is not None else None
        for part in self.parts:
            part.step()
        return loss

    def zero_grad(self, set_to_none: bool = True) -> None:
        for part in self.parts:
            part.zero_grad(set_to_none=set_to_none)

    def state_dict(self) -> dict[str, Any]:
        return {"parts": [part.state_dict() for part in self.parts]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        for part, state in zip(self.parts, state_dict["parts"], strict=True):
            part.load_state_dict(state)
        self.param_groups = [group for part in self.parts for group in part.param_groups]


def build_optimizer(model: torch.nn.Module, config: OptimizerConfig) -> Optimizer:
    """The optimizer of a configuration; embeddings, norms, biases and heads never go to Muon."""
    matrices, decayed, rest = [], [], []
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        in_encoder = "layers." in name or "layer." in name
        if config.name == "muon" and parameter.ndim == 2 and in_encoder:
            matrices.append(parameter)
        elif parameter.ndim >= 2:
            decayed.append(parameter)
        else:
            rest.append(parameter)
    rate = config.adamw_learning_rate if matrices else config.learning_rate
    adamw = AdamW(
        [
            {"params": decayed, "weight_decay": config.weight_decay},
            {"params": rest, "weight_decay": 0.0},
        ],
        lr=rate,
        betas=(0.9, 0.98),
    )
    if not matrices:
        return adamw
    muon = Muon(
        matrices,
        lr=config.learning_rate,
        weight_decay=config.weight_decay,
        adjust_lr_fn="match_rms_adamw",
    )
    return MuonAdamW(muon, adamw)


def trapezoid(step: int, *, steps: int, warmup: float, decay: float) -> float:
    """Factor of the learning rate: linear warm-up, a plateau, linear decay to zero at the end."""
    rise, fall = max(1, round(steps * warmup)), max(1, round(steps * decay))
    return max(0.0, min(1.0, (step + 1) / rise, (steps - step) / fall))
