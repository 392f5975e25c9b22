from __future__ import annotations

import pytest
import torch
from torch.optim import Muon

from training import optimizer
from training.config import OptimizerConfig
from training.optimizer import Float32Muon, build_optimizer

SHAPES = [(24, 24), (24, 96), (96, 24)]


def trained(kind: type[Muon], steps: int = 3) -> tuple[list[torch.Tensor], Muon]:
    """Matrices after some steps on the same made-up gradients."""
    generator = torch.Generator().manual_seed(1)
    matrices = [torch.nn.Parameter(torch.randn(s, generator=generator)) for s in SHAPES]
    own = kind(matrices, lr=0.02, weight_decay=0.1, adjust_lr_fn="match_rms_adamw")
    for _ in range(steps):
        for matrix in matrices:
            matrix.grad = torch.randn(matrix.shape, generator=generator)
        own.step()
    return [matrix.detach() for matrix in matrices], own


def test_the_float32_steps_are_those_of_torch_but_for_the_rounding() -> None:
    (start, _), (torchs, _), (ours, _) = trained(Muon, 0), trained(Muon), trained(Float32Muon)
    for before, theirs, own in zip(start, torchs, ours, strict=True):
        assert (own - theirs).abs().max() < 0.02 * (theirs - before).abs().max()


@pytest.mark.parametrize(("first", "second"), [(Muon, Float32Muon), (Float32Muon, Muon)])
def test_a_training_goes_on_with_the_other_kind(first: type[Muon], second: type[Muon]) -> None:
    _, before = trained(first)
    matrices, after = trained(second, 0)
    after.load_state_dict(before.state_dict())
    for own, other in zip(after.state.values(), before.state.values(), strict=True):
        assert torch.equal(own["momentum_buffer"], other["momentum_buffer"])
    for group in after.param_groups:
        for parameter in group["params"]:
            parameter.grad = torch.zeros_like(parameter)
    start = [matrix.clone() for matrix in matrices]
    after.step()  # the momentum alone moves them
    assert all(not torch.equal(own, old) for own, old in zip(matrices, start, strict=True))


@pytest.mark.parametrize(("bf16", "kind"), [(True, Muon), (False, Float32Muon)])
def test_bfloat16_is_used_where_the_device_has_it(
    bf16: bool, kind: type[Muon], monkeypatch: pytest.MonkeyPatch
) -> None:
    gpu = torch.device("cuda:0")
    monkeypatch.setattr(optimizer, "computes_in_bf16", lambda device: device == gpu and bf16)
    model = torch.nn.ModuleDict({"layer": torch.nn.ModuleList([torch.nn.Linear(4, 4)])})
    built = build_optimizer(model, OptimizerConfig(name="muon"), device=gpu)
    assert isinstance(built, optimizer.MuonAdamW)
    assert type(built.parts[0]) is kind
