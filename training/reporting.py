"""Where figures are reported to besides standard error: TensorBoard, Weights & Biases, MLflow."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from transformers import TrainerCallback

from filter.errors import UsageError


def require_reporters(names: Sequence[str]) -> None:
    """Checks that the libraries of all reporters are there, before anything is read.

    Raises:
        UsageError: one is not installed.
    """
    for name in names:
        if find_spec(name) is None:
            raise UsageError(f"report_to: {name} is not installed: pip install {name}")


def reporting_callbacks(names: Sequence[str], output: Path) -> list[TrainerCallback]:
    """A callback for each reporter; TensorBoard writes into ``OUTPUT/tensorboard``."""
    from transformers.integrations.integration_utils import (
        MLflowCallback,
        TensorBoardCallback,
        WandbCallback,
    )

    callbacks: list[TrainerCallback] = []
    for name in names:
        if name == "tensorboard":
            board = TensorBoardCallback()
            board.logging_dir = str(output / "tensorboard")
            callbacks.append(board)
        else:
            callbacks.append(WandbCallback() if name == "wandb" else MLflowCallback())
    return callbacks
