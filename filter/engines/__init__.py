"""Engines: what turns token ids into logits.

Everything that varies with the runtime lies behind `Engine`. An engine takes windows and gives
logits back in the same order; what a window gets must not depend on what else it is given, exactly
so on a CPU.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from filter.engines.processor import multiplies_bfloat16
from filter.errors import UsageError, WinnowError, unknown
from filter.model_directory import ONNX_FILES, ModelDirectory

ENGINES = ("auto", "onnx", "torch")


class Engine(Protocol):
    """Token ids to logits.

    Attributes:
        name: "onnx" or "torch".
        dtype: Number format of the weights, as "int8", "float32" or "bfloat16".
        device: Where it runs, as "cpu", "cuda:0", or "cuda" for whichever there is.
        weights: The files that it reads.
    """

    name: str
    dtype: str
    device: str
    weights: tuple[Path, ...]

    def logits(self, windows: Iterable[NDArray[np.int32]]) -> Iterator[NDArray[np.float32]]:
        """For each window of (n,) token ids, special tokens included, (n, labels) logits."""
        ...


def create_engine(
    directory: ModelDirectory,
    *,
    engine: str = "auto",
    device: str = "auto",
    dtype: str | None = None,
    max_batch_tokens: int | None = None,
    threads: int | None = None,
    pad_id: int = 0,
) -> Engine:
    """The engine for a model; nothing is loaded before it is first called.

    `auto` is torch where that is installed with a CUDA device, and otherwise ONNX Runtime, in int8
    if the model has it. A model without ONNX files runs in torch, on a CPU in bfloat16 if the
    processor has instructions for it.

    Args:
        directory: The model.
        engine: "auto", "onnx" or "torch".
        device: "auto", "cpu", "cuda" or "cuda:N". With "cuda" one process uses the first CUDA
            device, and a job all of them.
        dtype: Number format; None for the engine's own choice, which on CUDA is bfloat16. Windows
            are packed without padding in bfloat16 and float16 only.
        max_batch_tokens: Tokens in one call of a model on CUDA, padding included; 65,536 by
            default.
        threads: Threads on the CPU; None for as many as there are processors. Those of torch are
            the process's.
        pad_id: Token that fills up a batch.

    Raises:
        WinnowError: If the model has no weights for what is asked, or a library is missing.
    """
    if engine not in ENGINES:
        raise UsageError(unknown("engine", engine, ENGINES))
    if device not in ("auto", "cpu") and device.split(":")[0] != "cuda":
        raise UsageError(unknown("device", device, ("auto", "cpu", "cuda", "cuda:0")))
    if engine == "onnx" and device.startswith("cuda"):
        raise UsageError(f"engine 'onnx' runs on the CPU; for device {device!r} use engine 'torch'")
    if engine == "auto":
        engine = _choose(directory, device, dtype)
        if engine == "torch" and dtype is None and not (device != "cpu" and _has_cuda()):
            dtype = "bfloat16" if multiplies_bfloat16() else "float32"
    if engine == "onnx":
        from filter.engines.onnx import OnnxEngine

        if dtype is None:
            dtype = "int8" if "int8" in directory.onnx else "float32"
        if dtype not in ONNX_FILES:
            raise UsageError(f"engine 'onnx': {unknown('dtype', dtype, ONNX_FILES)}")
        if dtype not in directory.onnx:
            raise WinnowError(
                f"{directory.path}: {ONNX_FILES[dtype]} is missing; `winnow export` makes it from"
                " model.safetensors, or use engine 'torch'"
            )
        return OnnxEngine(
            directory.onnx[dtype], dtype=dtype, n_labels=len(directory.labels), threads=threads
        )
    from filter.engines.torch import TorchEngine

    return TorchEngine(
        directory,
        device=device,
        dtype=dtype,
        max_batch_tokens=max_batch_tokens,
        threads=threads,
        pad_id=pad_id,
    )


def _choose(directory: ModelDirectory, device: str, dtype: str | None) -> str:
    if device.startswith("cuda"):
        return "torch"
    if dtype is not None:
        if dtype in directory.onnx and (dtype == "int8" or device == "cpu" or not _has_cuda()):
            return "onnx"
        return "torch" if dtype != "int8" and directory.safetensors else "onnx"
    if device == "auto" and directory.safetensors and _has_cuda():
        return "torch"
    return "onnx" if directory.onnx else "torch"


def _has_cuda() -> bool:
    # Importing torch takes seconds: it is asked only where there is a driver to be found.
    has_driver = os.path.exists("/dev/nvidiactl") or os.path.exists("/dev/dxg") or os.name == "nt"
    if not has_driver or importlib.util.find_spec("torch") is None:
        return False
    if importlib.util.find_spec("transformers") is None:
        return False
    import torch

    return bool(torch.cuda.is_available())
