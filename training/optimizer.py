"""Muon for the encoder's matrices, AdamW for everything else, as one optimizer.

Muon (Jordan and others, 2024) orthogonalises the momentum of each matrix; its steps are scaled to
AdamW's root mean square (Liu and others, 2025), so that one schedule serves both. The Trainer and
its checkpoints see a single optimizer whose ``state_dict`` round-trips.

torch's Muon orthogonalises in bfloat16, which a processor without bfloat16 products emulates forty
times slower than float32: there `Float32Muon` does the same in float32.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.optim import AdamW, Muon, Optimizer

from training.config import OptimizerConfig
from training.machine import computes_in_bf16


def orthogonalised(
    matrix: Tensor, *, coefficients: tuple[float, float, float], steps: int, eps: float
) -> Tensor:
    """A matrix with its singular values driven towards 1 by Newton-Schulz steps, in float32.

    Args:
        matrix: (rows, columns).
        coefficients: Of the odd quintic polynomial, first power first.
        steps: How often it is applied.
        eps: Least norm that the matrix is divided by.
    """
    a, b, c = coefficients
    tall = matrix.shape[0] > matrix.shape[1]
    x = matrix.float().T if tall else matrix.float()
    x = x / x.norm().clamp(min=eps)
    for _ in range(steps):
        gram = x @ x.T
        x = torch.addmm(x, torch.addmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x.T if tall else x


class Float32Muon(Muon):
    """torch's Muon with Nesterov momentum and steps scaled to AdamW's, orthogonalising in float32.

    The state is the same, so a training may go on on another machine.
    """

    @torch.no_grad()
    def step(  # type: ignore[override]  # torch has an overload for each
        self, closure: Callable[[], float] | None = None
    ) -> float | None:
        with torch.enable_grad():
            loss = closure() if closure is not None else None
        for group in self.param_groups:
            rate, momentum = group["lr"], group["momentum"]
            for parameter in group["params"]:
                gradient = parameter.grad
                if gradient is None:
                    continue
                state = self.state[parameter]
                if "momentum_buffer" not in state:
                    state["momentum_buffer"] = torch.zeros_like(gradient)
                buffer = state["momentum_buffer"]
                buffer.lerp_(gradient, 1 - momentum)
                update = orthogonalised(
                    gradient.lerp(buffer, momentum),
                    coefficients=group["ns_coefficients"],
                    steps=group["ns_steps"],
                    eps=group["eps"],
                )
                parameter.mul_(1 - rate * group["weight_decay"])
                parameter.add_(update, alpha=-rate * 0.2 * math.sqrt(max(parameter.shape)))
        return loss


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


def build_optimizer(
    model: torch.nn.Module, config: OptimizerConfig, *, device: torch.device
) -> Optimizer:
    """The optimizer of a configuration; embeddings, norms, biases and heads never go to Muon.

    Args:
        model: the network, which need not be on the device yet.
        config: rates, weight decay and the kind of optimizer.
        device: where it will be trained.
    """
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
    muon = (Muon if computes_in_bf16(device) else Float32Muon)(
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
