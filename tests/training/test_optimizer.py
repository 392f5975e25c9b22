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


def test_a_training_goes_on_with_the_other_kind() -> None:
    _, theirs = trained(Muon)
    _, ours = trained(Float32Muon, 0)
    ours.load_state_dict(theirs.state_dict())
    for own, other in zip(ours.state.values(), theirs.state.values(), strict=True):
        assert torch.equal(own["momentum_buffer"], other["momentum_buffer"])


@pytest.mark.parametrize(("bf16", "kind"), [(True, Muon), (False, Float32Muon)])
def test_bfloat16_is_used_where_the_processor_has_it(
    bf16: bool, kind: type[Muon], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(optimizer, "computes_in_bf16", lambda device: bf16)
    model = torch.nn.ModuleDict({"layer": torch.nn.ModuleList([torch.nn.Linear(4, 4)])})
    built = build_optimizer(model, OptimizerConfig(name="muon"))
    assert isinstance(built, optimizer.MuonAdamW)
    assert type(built.parts[0]) is kind
