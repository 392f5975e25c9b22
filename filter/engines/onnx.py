"""ONNX Runtime on the CPU, one window a call.

Dynamic int8 scales activations over all that a call holds, so a neighbour in a batch, or padding,
would change a window's logits. Hence one window a call, never padded, with one thread each, and
several calls at once: what a window gets is the same whatever the number of threads.
The session and the threads are made on first use in each process, so that an engine survives a
fork.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from filter.errors import WinnowError

Network = Callable[[NDArray[np.integer[Any]]], NDArray[np.float32]]

IDS, MASK = "input_ids", "attention_mask"

AHEAD = 4
"""Windows in flight a thread: enough to keep each busy, few enough to hold a page of any length."""


class OnnxEngine:
    """Runs an exported model with ONNX Runtime.

    Args:
        path: The ONNX file: `input_ids` and, if it takes one, `attention_mask`, both int64 (batch,
            sequence), to `logits`, float32 (batch, sequence, labels).
        dtype: Number format of its weights, for the record.
        n_labels: Labels that the model must have.
        threads: Calls at once; None for as many as there are processors.
    """

    name = "onnx"
    device = "cpu"

    def __init__(
        self, path: Path, *, dtype: str, n_labels: int, threads: int | None = None
    ) -> None:
        self.dtype = dtype
        self.weights: tuple[Path, ...] = (path,)
        self._n_labels = n_labels
        self._threads = threads
        self._reset()

    def logits(self, windows: Iterable[NDArray[np.int32]]) -> Iterator[NDArray[np.float32]]:
        """For each window of (n,) token ids, (n, labels) logits, in order."""
        run, pool, n_threads = self._open()
        iterator = iter(windows)
        first = list(islice(iterator, 2))
        if n_threads == 1 or len(first) < 2:
            for ids in chain(first, iterator):
                yield run(ids)
            return
        pending: deque[Future[NDArray[np.float32]]] = deque()
        try:
            for ids in chain(first, iterator):
                pending.append(pool.submit(run, ids))
                if len(pending) >= AHEAD * n_threads:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            for future in pending:
                future.cancel()

    def _reset(self) -> None:
        self._process = os.getpid()
        self._lock = threading.Lock()
        self._opened: tuple[Network, ThreadPoolExecutor, int] | None = None

    def _open(self) -> tuple[Network, ThreadPoolExecutor, int]:
        if self._process != os.getpid():
            # Forked: the threads did not come along, and the lock may be held for ever.
            self._reset()
        with self._lock:
            if self._opened is None:
                n_threads = self._threads or available_cpus()
                pool = ThreadPoolExecutor(n_threads, thread_name_prefix="winnow")
                self._opened = (open_network(self.weights[0], self._n_labels), pool, n_threads)
            return self._opened


def available_cpus() -> int:
    """Processors that this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not Linux
        return os.cpu_count() or 1


def open_network(path: Path, n_labels: int) -> Network:
    """A function from the (n,) token ids of a window to (n, labels) float32 logits.

    Args:
        path: The ONNX file.
        n_labels: Labels that it must give.

    Raises:
        WinnowError: It cannot be opened, or is not the network of a filter.
    """
    session = _session(path)
    inputs = [value.name for value in session.get_inputs()]
    outputs = [(value.name, value.shape[-1]) for value in session.get_outputs()]
    if set(inputs) - {MASK} != {IDS} or [name for name, _ in outputs] != ["logits"]:
        raise WinnowError(
            f"{path}: must take {IDS} (and {MASK}) and give logits; it takes"
            f" {', '.join(sorted(inputs))} and gives {', '.join(name for name, _ in outputs)}"
        )
    if isinstance(outputs[0][1], int) and outputs[0][1] != n_labels:
        raise WinnowError(
            f"{path}: gives {outputs[0][1]} labels, but id2label in config.json has {n_labels}"
        )
    return partial(_run, session, MASK in inputs)


def _session(path: Path) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    # A plan of memory would be kept for every length of window that was ever seen.
    options.enable_mem_pattern = False
    try:
        return onnxruntime.InferenceSession(
            str(path),
            sess_options=options,
            providers=["CPUExecutionProvider"],
            # Apart, the two operators take a fifth of the time of the one they would become.
            disabled_optimizers=["SkipLayerNormFusion"],
        )
    except Exception as error:  # ONNX Runtime's own classes have no common base
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise WinnowError(f"{path}: ONNX Runtime cannot open it ({reason})") from error


def _run(session: Any, has_mask: bool, ids: NDArray[np.integer[Any]]) -> NDArray[np.float32]:
    batch = ids[None].astype(np.int64)
    feed = {IDS: batch}
    if has_mask:  # windows are not padded: no token is masked
        feed[MASK] = np.ones_like(batch)
    logits: NDArray[np.float32] = session.run(["logits"], feed)[0][0]
    return logits
