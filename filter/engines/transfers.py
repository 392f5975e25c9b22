"""Batches to a device and logits back, without the device waiting for either.

A batch goes through a slot: pinned memory that its ids are written to, memory on the device that
they are copied to, pinned memory that its logits come back to. Ids go up and logits come down on
streams of their own, so that both happen while another batch is computed. A slot is used again only
once its logits have arrived; that they have means that nothing of its batch is under way any more.
On a CPU the same slots are used, and every copy is over when it is asked for.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from filter.engines.packing import Batch, Request

SLOTS = 3
"""One batch whose logits come back, one that is computed, one that is made ready."""

Plan = Callable[[NDArray[np.int64]], Iterable[Batch]]
"""(windows,) lengths to batches that hold each window once."""

Forward = Callable[[Any, Any, Batch], Any]
"""Ids, (cells,) int32, and extents of a batch, on the device, to (cells, labels) logits there."""


class Streams(Protocol):
    """How copies are ordered with what the device computes."""

    pinned: bool

    def here(self) -> AbstractContextManager[Any]:
        """Makes the device the current one."""
        ...

    def settle(self) -> None:
        """Waits until all that the device was asked to compute is computed."""
        ...

    def upload(self, target: Any, source: Any) -> None:
        """Copies to the device; what is computed from now on finds it there."""
        ...

    def download(self, target: Any, source: Any) -> Callable[[], None]:
        """Copies from the device once what was asked for is computed; gives a way to wait.

        The source must be kept until then, or its memory may be given away while it is copied.
        """
        ...


class HostStreams:
    """A CPU: what is asked for has happened."""

    pinned = False

    def here(self) -> AbstractContextManager[Any]:
        return nullcontext()

    def settle(self) -> None:
        pass

    def upload(self, target: Any, source: Any) -> None:
        target.copy_(source)

    def download(self, target: Any, source: Any) -> Callable[[], None]:
        target.copy_(source)
        return lambda: None


class CudaStreams:
    """A CUDA device, with a stream for each direction beside the one that computes."""

    pinned = True

    def __init__(self, device: str) -> None:
        import torch

        self._cuda: Any = torch.cuda
        self._device = torch.device(device)
        self._up = self._cuda.Stream(self._device)
        self._down = self._cuda.Stream(self._device)

    def here(self) -> AbstractContextManager[Any]:
        guard: AbstractContextManager[Any] = self._cuda.device(self._device)
        return guard

    def settle(self) -> None:
        self._cuda.current_stream(self._device).synchronize()

    def upload(self, target: Any, source: Any) -> None:
        with self._cuda.stream(self._up):
            target.copy_(source, non_blocking=True)
        self._cuda.current_stream(self._device).wait_stream(self._up)

    def download(self, target: Any, source: Any) -> Callable[[], None]:
        self._down.wait_stream(self._cuda.current_stream(self._device))
        # Blocking: who waits sleeps, and leaves the processor to others.
        arrived = self._cuda.Event(blocking=True)
        with self._cuda.stream(self._down):
            target.copy_(source, non_blocking=True)
            arrived.record(self._down)
        wait: Callable[[], None] = arrived.synchronize
        return wait


class Slot:
    """Memory for one batch under way, on both sides.

    Args:
        device: As torch names it.
        streams: How copies are ordered there.
        n_labels: Labels of the model.
        pad_id: Token that fills up a batch.
    """

    def __init__(self, device: str, streams: Streams, *, n_labels: int, pad_id: int) -> None:
        self._device, self._streams = device, streams
        self._n_labels, self._pad_id = n_labels, pad_id
        self._cells = 0
        self._wait: Callable[[], None] | None = None

    def launch(self, forward: Forward, batch: Batch, ids: NDArray[np.int32]) -> None:
        """Sends a batch on its way; it may still be under way when this returns.

        Args:
            forward: The model.
            batch: What of the ids goes where.
            ids: Those of the batch's request.
        """
        import torch

        with self._streams.here():
            self._reserve(batch.cells)
            n_numbers = batch.cells + len(batch.extents)
            numbers = self._numbers.numpy()
            numbers[: batch.cells] = self._pad_id
            numbers[: batch.cells][batch.place] = ids[batch.tokens]
            numbers[batch.cells : n_numbers] = batch.extents
            there = self._numbers_there[:n_numbers]
            self._streams.upload(there, self._numbers[:n_numbers])
            with torch.inference_mode():
                logits = forward(there[: batch.cells], there[batch.cells :], batch).float()
            self._batch, self._logits_there = batch, logits
            self._wait = self._streams.download(self._logits[: batch.cells], logits)

    def collect(self, logits: NDArray[np.float32]) -> None:
        """Waits for the batch's logits and puts them where its tokens belong.

        Args:
            logits: (tokens, labels), those of the batch's request.
        """
        self.wait()
        batch = self._batch
        logits[batch.tokens] = self._logits.numpy()[: batch.cells][batch.place]

    def wait(self) -> None:
        """Waits until nothing of the batch is under way."""
        if self._wait is not None:
            self._wait()
            self._wait = self._logits_there = None

    def _reserve(self, cells: int) -> None:
        if cells <= self._cells:
            return
        import torch

        pinned = self._streams.pinned
        # Besides the ids a bound for every window, of which there are never more than tokens.
        n_numbers = 2 * cells + 1
        self._numbers = torch.empty(n_numbers, dtype=torch.int32, pin_memory=pinned)
        self._logits = torch.empty(cells, self._n_labels, pin_memory=pinned)
        self._numbers_there = torch.empty(n_numbers, dtype=torch.int32, device=self._device)
        # Whoever had this memory before may still compute with it, and uploads do not wait for it.
        self._streams.settle()
        self._cells = cells


def run_requests(
    requests: Iterable[Request | None],
    *,
    plan: Plan,
    forward: Forward,
    slots: Sequence[Slot],
    n_labels: int,
) -> Iterator[NDArray[np.float32]]:
    """The logits of some requests, while those after them are already under way.

    Args:
        requests: None among them says that there is none at present: what is under way is brought
            a batch further to its end meanwhile, and then the next is asked for again.
        plan: How the windows of a request become batches.
        forward: The model.
        slots: As many batches may be under way. None of them is when this ends, however it does.
        n_labels: Labels of the model.

    Yields:
        For each request, in order, (tokens, labels) logits.
    """
    idle = deque(slots)
    under_way: deque[tuple[Slot | None, NDArray[np.float32], bool]] = deque()

    def collect() -> Iterator[NDArray[np.float32]]:
        slot, logits, is_last = under_way.popleft()
        if slot is not None:
            idle.append(slot)
            slot.collect(logits)
        if is_last:
            yield logits

    try:
        for request in requests:
            if request is None:
                if under_way:
                    yield from collect()
                continue
            ids, lengths = request
            logits = np.empty((len(ids), n_labels), dtype=np.float32)
            batches = list(plan(lengths))
            for batch in batches:
                while not idle:
                    yield from collect()
                slot = idle.popleft()
                slot.launch(forward, batch, ids)
                under_way.append((slot, logits, batch is batches[-1]))
            if not batches:
                under_way.append((None, logits, True))
        while under_way:
            yield from collect()
    finally:
        for slot in slots:
            slot.wait()
