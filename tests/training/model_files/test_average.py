"""Means of weights."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

pytest.importorskip("torch")

import torch
from safetensors.torch import load_file, save_file

from filter import ContentFilter
from filter.errors import UsageError
from training.model_files.average import WEIGHTS, average


@pytest.fixture
def pair(copy_model: Callable[..., Path]) -> tuple[Path, Path]:
    """Two models, the second with every weight a half more."""
    one, other = copy_model("one"), copy_model("other")
    tensors = {name: tensor * 1.5 for name, tensor in load_file(one / WEIGHTS).items()}
    save_file(tensors, other / WEIGHTS, metadata={"format": "pt"})
    return one, other


def test_the_mean_is_weighted_and_can_be_opened(pair: tuple[Path, Path], tmp_path: Path) -> None:
    output = tmp_path / "deep" / "mean"
    average(pair, output, weights=[3, 1])
    first, mean = load_file(pair[0] / WEIGHTS), load_file(output / WEIGHTS)
    assert mean.keys() == first.keys()
    for name, tensor in first.items():
        assert mean[name].dtype == tensor.dtype
        assert torch.allclose(mean[name].float(), tensor.float() * 1.125, rtol=1e-2)
    assert not (output / "onnx").exists()
    assert ContentFilter.from_pretrained(str(output)).engine.startswith("torch")
    assert [path.name for path in output.parent.iterdir()] == ["mean"]


def test_of_one_model_twice_it_is_the_model(pair: tuple[Path, Path], tmp_path: Path) -> None:
    average([pair[0], pair[0]], tmp_path / "mean")
    first, mean = load_file(pair[0] / WEIGHTS), load_file(tmp_path / "mean" / WEIGHTS)
    assert all(torch.equal(mean[name], first[name]) for name in first)


def test_what_does_not_fit_together_is_named(pair: tuple[Path, Path], tmp_path: Path) -> None:
    tensors = load_file(pair[1] / WEIGHTS)
    name = sorted(tensors)[0]
    tensors[name] = tensors[name][:1].contiguous()
    save_file(tensors, pair[1] / WEIGHTS)
    with pytest.raises(UsageError, match=rf"'{name}' has shape \(1,"):
        average(pair, tmp_path / "mean")
    with pytest.raises(UsageError, match="2 models with 1 weights"):
        average(pair, tmp_path / "mean", weights=[1])
    with pytest.raises(UsageError, match="not all 0"):
        average(pair, tmp_path / "mean", weights=[0, 0])
    with pytest.raises(UsageError, match="is there already"):
        shutil.copytree(pair[0], tmp_path / "mean")
        average(pair, tmp_path / "mean")
    assert not list(tmp_path.glob(".mean*"))
