"""The mean of the weights of several models that come from one another.

    python -m training.model_files.average RUN/model OTHER/model -w 0.7 -w 0.3 -o RUN/mean

Models fine-tuned from the same weights lie in one basin, and their mean is often better than each
of them at the cost of one (Wortsman and others, 2022, "Model soups"). Everything but the weights is
the first model's; its ONNX files and figures are left out, for they are another's: export,
calibrate and evaluate the mean as any model.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import torch
import typer
from safetensors.torch import load_file, save_file
from torch import Tensor

from filter.cli.app import run_script
from filter.errors import UsageError

WEIGHTS = "model.safetensors"
OF_ONE_MODEL = ("onnx", "metrics.json", "README.md")
"""What a model directory says of the weights in it."""


def average(models: Sequence[Path], output: Path, *, weights: Sequence[float] = ()) -> None:
    """Write the mean of some models as a model directory.

    Args:
        models: Two model directories or more, of one architecture.
        output: The model directory; it must not exist.
        weights: One for each model, of any sum; without any all count the same.

    Raises:
        UsageError: The models do not fit together, or there are not as many weights.
    """
    weights = weights or [1.0] * len(models)
    if len(models) < 2 or len(weights) != len(models):
        raise UsageError(
            f"{len(models)} models with {len(weights)} weights: name two or more of each"
        )
    if min(weights) < 0 or not sum(weights) > 0:
        raise UsageError(f"weights must be 0 or more and not all 0, not {list(weights)}")
    if output.exists():
        raise UsageError(f"{output}: is there already")
    loaded = [load_file(model / WEIGHTS) for model in models]
    first = loaded[0]
    for model, tensors in zip(models[1:], loaded[1:], strict=True):
        for name in sorted(first.keys() | tensors.keys()):
            shapes = [tuple(t[name].shape) if name in t else None for t in (first, tensors)]
            if shapes[0] != shapes[1]:
                raise UsageError(
                    f"{model / WEIGHTS}: '{name}' has shape {shapes[1]}, and {shapes[0]} in"
                    f" {models[0]}: only models of one architecture have a mean"
                )
    mean = {name: _mean([tensors[name] for tensors in loaded], weights) for name in first}
    output.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=output.parent, prefix=f".{output.name}.") as staged:
        made = Path(staged) / output.name
        shutil.copytree(models[0], made, ignore=shutil.ignore_patterns(*OF_ONE_MODEL))
        save_file(mean, made / WEIGHTS, metadata={"format": "pt"})
        made.rename(output)


def _mean(tensors: Sequence[Tensor], weights: Sequence[float]) -> Tensor:
    """In float32, whatever the weights are kept in."""
    total = torch.zeros(tensors[0].shape)
    for tensor, weight in zip(tensors, weights, strict=True):
        total += weight / sum(weights) * tensor.float()
    return total.to(tensors[0].dtype)


def main(
    models: Annotated[list[Path], typer.Argument(help="Model directories.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The model directory.")],
    weights: Annotated[
        list[float] | None, typer.Option("--weight", "-w", help="Of each model, in order.")
    ] = None,
) -> None:
    """Write the mean of some models' weights."""
    average(models, output, weights=weights or ())


if __name__ == "__main__":
    run_script(main)
