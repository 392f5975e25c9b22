"""torch, on a CPU or on CUDA.

On a CPU one window a call, so that a page's answer is its own to the last bit. On CUDA many windows
go through the model at once, packed without padding where there is a kernel for it, and batches
follow one another without the device waiting for copies; kernels may differ with the shape of a
batch there, so that logits agree within rounding only.
torch and transformers are imported when an engine is first made, not before.
"""

from __future__ import annotations

import copy
import logging
import os
import threading
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from filter.engines.packing import (
    Request,
    forward_packed,
    forward_padded,
    make_requests,
    plan_packed,
    plan_padded,
    split,
)
from filter.engines.transfers import (
    SLOTS,
    CudaStreams,
    Forward,
    HostStreams,
    Plan,
    Slot,
    run_requests,
)
from filter.errors import UsageError, WinnowError, unknown
from filter.model_directory import ModelDirectory

DTYPES = ("float32", "bfloat16", "float16")

BATCHING = ("single", "packed", "padded")

CUDA_BATCH_TOKENS = 65_536
"""Tokens of a batch on CUDA: enough that the device computes longer than it takes to ask it to."""


@dataclass(frozen=True)
class _Opened:
    """A model on its device, and how windows go through it.

    Attributes:
        model: The model.
        batching: One of BATCHING.
        plan: Lengths of windows to batches.
        forward: How a batch is run.
        idle: Slots that no stream of batches uses at present, SLOTS of them together.
    """

    model: Any
    batching: str
    plan: Plan
    forward: Forward
    idle: list[list[Slot]] = field(default_factory=list)


class TorchEngine:
    """Runs the safetensors of a model directory with torch and transformers.

    Args:
        directory: The model.
        device: "auto", "cpu", "cuda" or "cuda:N". "cuda" is the first of several, and stays "cuda":
            a job may give the engine's copies others.
        dtype: Number format; None for float32 on a CPU and bfloat16 on CUDA.
        max_batch_tokens: Tokens in one call of the model, padding included, if windows share calls.
        threads: Threads on a CPU, of all that the process does with torch; None leaves them as they
            are.
        pad_id: Token that fills up a batch.
        batching: "single", a window a call; "packed", many in one row; "padded", many of similar
            length. None for "single" on a CPU, and on CUDA "packed" where there is a kernel for the
            model and its number format, else "padded".
    """

    name = "torch"

    def __init__(
        self,
        directory: ModelDirectory,
        *,
        device: str = "auto",
        dtype: str | None = None,
        max_batch_tokens: int | None = None,
        threads: int | None = None,
        pad_id: int = 0,
        batching: str | None = None,
    ) -> None:
        torch = _import()[0]
        if not directory.safetensors:
            raise WinnowError(
                f"{directory.path}: model.safetensors is missing; engine 'torch'"
                " needs it, engine 'onnx' does not"
            )
        if device == "auto":
            device = "cuda" if torch.cuda.is_available() else "cpu"
        if device != "cpu":
            _check_cuda(torch, device)
        self.device = device
        self.dtype = dtype or ("float32" if device == "cpu" else "bfloat16")
        if self.dtype not in DTYPES:
            raise UsageError(f"engine 'torch': {unknown('dtype', self.dtype, DTYPES)}")
        if batching is not None and batching not in BATCHING:
            raise UsageError(f"engine 'torch': {unknown('batching', batching, BATCHING)}")
        self.weights = directory.safetensors
        self.max_batch_tokens = max_batch_tokens or CUDA_BATCH_TOKENS
        self._directory = directory
        self._threads = threads
        self._pad_id = pad_id
        self._batching = batching or ("single" if device == "cpu" else None)
        self._reset()

    def open(self) -> str:
        """Opens the model, if it is not yet, and says how windows go through it: its batching."""
        return self._open().batching

    @property
    def _place(self) -> str:
        """The device as torch is told: one and the same in all threads."""
        return "cuda:0" if self.device == "cuda" else self.device

    @property
    def n_labels(self) -> int:
        """Labels of the model: columns of its logits."""
        return len(self._directory.labels)

    def on(self, device: str) -> TorchEngine:
        """The same engine on another device."""
        if device != "cpu":
            _check_cuda(_import()[0], device)
        engine = copy.copy(self)
        engine.device = device
        return engine

    def logits(self, windows: Iterable[NDArray[np.int32]]) -> Iterator[NDArray[np.float32]]:
        """For each window of (n,) token ids, (n, labels) logits, in order."""
        opened = self._open()
        if opened.batching == "single":
            return (self._run(opened.model, ids) for ids in windows)
        return self._regrouped(iter(windows))

    def flat_logits(self, requests: Iterable[Request | None]) -> Iterator[NDArray[np.float32]]:
        """The logits of many windows at once, without an object for each.

        What a request gets follows from it alone: none of its batches holds windows of another.

        Args:
            requests: For each (tokens,) ids, window after window, and (windows,) lengths. None says
                that there is none at present; what is under way goes on meanwhile.

        Yields:
            For each request, in order, (tokens, labels) logits.
        """
        opened = self._open()
        if opened.batching == "single":
            for request in requests:
                if request is not None:
                    logits = [self._run(opened.model, ids) for ids in split(*request)]
                    yield np.concatenate([np.empty((0, self.n_labels), np.float32), *logits])
            return
        slots = opened.idle.pop() if opened.idle else self._slots()
        try:
            yield from run_requests(
                requests,
                plan=opened.plan,
                forward=opened.forward,
                slots=slots,
                n_labels=self.n_labels,
            )
        except _import()[0].OutOfMemoryError as error:
            raise WinnowError(
                f"device {self.device!r}: out of memory with batches of {self.max_batch_tokens}"
                " tokens; set max_batch_tokens (--batch-tokens) lower"
            ) from error
        finally:
            opened.idle.append(slots)

    def _regrouped(self, windows: Iterator[NDArray[np.int32]]) -> Iterator[NDArray[np.float32]]:
        asked: deque[NDArray[np.int64]] = deque()

        def requests() -> Iterator[Request]:
            for request in make_requests(windows, self.max_batch_tokens):
                asked.append(request[1])
                yield request

        for logits in self.flat_logits(requests()):
            yield from split(logits, asked.popleft())

    def _slots(self) -> list[Slot]:
        streams = HostStreams() if self.device == "cpu" else CudaStreams(self._place)
        return [
            Slot(self._place, streams, n_labels=self.n_labels, pad_id=self._pad_id)
            for _ in range(SLOTS)
        ]

    def _reset(self) -> None:
        self._process = os.getpid()
        self._lock = threading.Lock()
        self._opened: _Opened | None = None

    def __getstate__(self) -> dict[str, Any]:
        """All but what belongs to a process: a copy opens the model again where it arrives."""
        own = ("_process", "_lock", "_opened")
        return {name: value for name, value in vars(self).items() if name not in own}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._reset()

    def _open(self) -> _Opened:
        if self._process != os.getpid():
            if self._opened is not None and self.device != "cpu":
                raise WinnowError(
                    f"device {self.device!r}: a process that was forked from one that uses CUDA"
                    " cannot use it; start it with the method 'spawn'"
                )
            # Forked: the lock may be held for ever, and the threads of OpenMP did not come along.
            self._reset()
            _import()[0].set_num_threads(1)
        with self._lock:
            if self._opened is None:
                if self._threads is not None and self.device == "cpu":
                    _import()[0].set_num_threads(self._threads)
                self._opened = self._prepare(self._load())
            return self._opened

    def _prepare(self, model: Any) -> _Opened:
        """Chooses how windows go through the model, and gives it a kernel if they are packed."""
        from filter.engines.attention import pick_kernel, use_kernel

        batching = self._batching
        if batching == "packed" and self.device == "cpu":
            use_kernel(model, "loop")
        elif batching in (None, "packed"):
            kernel, reasons = pick_kernel(model)
            if kernel is None and batching == "packed":
                raise WinnowError(f"device {self.device!r}: windows cannot be packed: {reasons}")
            if kernel is None:
                logging.getLogger(__name__).warning(
                    "device %r: windows are padded, not packed, which is slower (%s)",
                    self.device,
                    reasons,
                )
            batching = "padded" if kernel is None else "packed"
        plan, forward = (
            (plan_packed, forward_packed) if batching == "packed" else (plan_padded, forward_padded)
        )
        return _Opened(
            model, batching, partial(plan, budget=self.max_batch_tokens), partial(forward, model)
        )

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
        return model.eval().to(self._place)

    def _run(self, model: Any, ids: NDArray[np.int32]) -> NDArray[np.float32]:
        torch = _import()[0]
        with torch.inference_mode():
            row = torch.from_numpy(ids.astype(np.int64)).to(self._place)[None]
            logits = model(input_ids=row, attention_mask=torch.ones_like(row)).logits
            whole: NDArray[np.float32] = logits[0].float().cpu().numpy()
        return whole


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


def _check_cuda(torch: Any, device: str) -> None:
    if not torch.cuda.is_available():
        raise WinnowError(f"device {device!r}: torch sees no CUDA device here; use device 'cpu'")
    number = device.partition(":")[2] or "0"
    if not number.isdecimal() or int(number) >= torch.cuda.device_count():
        raise WinnowError(f"device {device!r}: there are {torch.cuda.device_count()} CUDA devices")
