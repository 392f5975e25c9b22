"""torch, on a CPU or on CUDA.

On a CPU one window a call, so that a page's answer is its own to the last bit. On CUDA windows of
similar length are padded into batches under a budget of tokens; kernels may differ with the shape
of a batch there, so that logits agree within rounding only.
torch and transformers are imported when an engine is first made, not before.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from filter.errors import UsageError, WinnowError, unknown
from filter.model_directory import ModelDirectory

DTYPES = ("float32", "bfloat16", "float16")
CUDA_BATCH_TOKENS = 32_768
BATCHES_AHEAD = 8
"""Batches that are sorted by length together; more waste less on padding and hold more."""


class TorchEngine:
    """Runs the safetensors of a model directory with torch and transformers.

    Args:
        directory: The model.
        device: "auto", "cpu", "cuda" or "cuda:N".
        dtype: Number format; None for float32 on a CPU and bfloat16 on CUDA.
        max_batch_tokens: Tokens in one call on CUDA, padding included.
        pad_id: Token that fills up a batch.
    """

    name = "torch"

    def __init__(
        self,
        directory: ModelDirectory,
        *,
        device: str = "auto",
        dtype: str | None = None,
        max_batch_tokens: int | None = None,
        pad_id: int = 0,
    ) -> None:
        torch = _import()[0]
        if not directory.safetensors:
            raise WinnowError(
                f"{directory.path}: model.safetensors is missing; engine 'torch'"
                " needs it, engine 'onnx' does not"
            )
        if device == "auto":
            device = "cuda" if torch.cuda.is_available() else "cpu"
        if device.startswith("cuda"):
            device = _check_cuda(torch, device)
        self.device = device
        self.dtype = dtype or ("float32" if device == "cpu" else "bfloat16")
        if self.dtype not in DTYPES:
            raise UsageError(f"engine 'torch': {unknown('dtype', self.dtype, DTYPES)}")
        self.weights = directory.safetensors
        self._directory = directory
        self._max_batch_tokens = max_batch_tokens or CUDA_BATCH_TOKENS
        self._pad_id = pad_id
        self._reset()

    def logits(self, windows: Iterable[NDArray[np.int32]]) -> Iterator[NDArray[np.float32]]:
        """For each window of (n,) token ids, (n, labels) logits, in order."""
        model = self._open()
        if self.device != "cpu":
            return self._batched(model, iter(windows))
        return (self._run(model, [ids])[0] for ids in windows)

    def _batched(
        self, model: Any, windows: Iterator[NDArray[np.int32]]
    ) -> Iterator[NDArray[np.float32]]:
        while group := list(take_tokens(windows, self._max_batch_tokens * BATCHES_AHEAD)):
            # Sorted by length, ties by place: the batches follow from the windows alone.
            order = sorted(range(len(group)), key=lambda i: len(group[i]), reverse=True)
            found: dict[int, NDArray[np.float32]] = {}
            while order:
                size = max(1, self._max_batch_tokens // len(group[order[0]]))
                batch, order = order[:size], order[size:]
                logits = self._run(model, [group[i] for i in batch])
                found.update(zip(batch, logits, strict=True))
            yield from (found[i] for i in range(len(group)))

    def _reset(self) -> None:
        self._process = os.getpid()
        self._lock = threading.Lock()
        self._model: Any = None

    def _open(self) -> Any:
        if self._process != os.getpid():
            # Forked: the lock may be held for ever, and the threads of OpenMP did not come along.
            self._reset()
            _import()[0].set_num_threads(1)
        with self._lock:
            if self._model is None:
                self._model = self._load()
            return self._model

    def _load(self) -> Any:
        torch, transformers = _import()
        progress = transformers.utils.logging
        had_bar = progress.is_progress_bar_enabled()
        progress.disable_progress_bar()
        try:
            model = transformers.AutoModelForTokenClassification.from_pretrained(
                str(self._directory.path),
                use_safetensors=True,
                local_files_only=True,
                trust_remote_code=False,
                dtype=getattr(torch, self.dtype),
            )
        except (OSError, ValueError, KeyError, RuntimeError) as error:
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
            raise WinnowError(
                f"{self._directory.path}: transformers cannot open it ({reason})"
            ) from error
        finally:
            if had_bar:
                progress.enable_progress_bar()
        return model.eval().to(self.device)

    def _run(self, model: Any, windows: Sequence[NDArray[np.int32]]) -> list[NDArray[np.float32]]:
        torch = _import()[0]
        longest = max(map(len, windows))
        ids = np.full((len(windows), longest), self._pad_id, dtype=np.int64)
        mask = np.zeros_like(ids)
        for row, window in enumerate(windows):
            ids[row, : len(window)] = window
            mask[row, : len(window)] = 1
        with torch.inference_mode():
            logits = model(
                input_ids=torch.from_numpy(ids).to(self.device),
                attention_mask=torch.from_numpy(mask).to(self.device),
            ).logits
            whole: NDArray[np.float32] = logits.float().cpu().numpy()
        return [whole[row, : len(window)] for row, window in enumerate(windows)]


def take_tokens(windows: Iterator[NDArray[np.int32]], budget: int) -> Iterator[NDArray[np.int32]]:
    """Windows from an iterator until they hold `budget` tokens; at least one, if there is one."""
    total = 0
    while total < budget and (window := next(islice(windows, 1), None)) is not None:
        total += len(window)
        yield window


def _import() -> tuple[Any, Any]:
    try:
        import torch
        import transformers
    except ImportError as error:
        raise WinnowError(
            f"engine 'torch' needs {error.name}, which is not installed:"
            " pip install 'winnow-zh[torch]'"
        ) from error
    return torch, transformers


def _check_cuda(torch: Any, device: str) -> str:
    if not torch.cuda.is_available():
        raise WinnowError(f"device {device!r}: torch sees no CUDA device here; use device 'cpu'")
    number = device.partition(":")[2] or "0"
    if not number.isdecimal() or int(number) >= torch.cuda.device_count():
        raise WinnowError(f"device {device!r}: there are {torch.cuda.device_count()} CUDA devices")
    return f"cuda:{int(number)}"
