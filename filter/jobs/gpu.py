"""A job on the CUDA devices of one machine.

A process for each device does nothing but run the model, so that the device never waits for Python
to encode, decode, read or write: all that is done by the workers of an ordinary local job, whose
filter has an engine that sends windows to one of these processes and waits for their logits. There
are more workers than processors, since most of them wait.

Ids and logits travel as plain bytes over local sockets: sockets carry some gigabytes a second, of
which a device that reads five million characters a second needs a tenth; shared memory would be a
little faster, but containers have little of it; and the end of a process is the end of its sockets,
so that nobody waits for the dead.
"""

from __future__ import annotations

import multiprocessing
import os
import queue
import signal
import tempfile
import threading
import traceback
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from multiprocessing.connection import Client, Connection, Listener
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from filter.engines.onnx import available_cpus
from filter.engines.packing import Request, make_requests, split
from filter.errors import UsageError, WinnowError
from filter.jobs.finish import Ledger
from filter.jobs.local import run_local
from filter.jobs.parts import Part
from filter.jobs.plan import Job
from filter.jobs.work import PartStatistics, Seen, do_parts

if TYPE_CHECKING:
    from filter.content_filter import ContentFilter
    from filter.engines.torch import TorchEngine

WORKERS_PER_CPU = 2
WORKERS_PER_DEVICE = 32
"""More could not make a device any busier."""

_turns = count(os.getpid())
"""Which device is asked next; processes begin with different ones."""


def cuda_devices(device: str) -> tuple[str, ...]:
    """The devices that a name stands for: "cuda" for all that torch sees, "cuda:N" for one."""
    import torch

    if device != "cuda":
        return (device,)
    return tuple(f"cuda:{number}" for number in range(torch.cuda.device_count()))


def run_gpu(
    ledger: Ledger,
    content_filter: ContentFilter,
    *,
    devices: Sequence[str],
    workers: int | None = None,
) -> None:
    """Does all that is not done of a job.

    Args:
        ledger: The job's books.
        content_filter: The filter, with engine "torch"; its model is opened once for each device.
        devices: As torch names them; a device may be named twice.
        workers: Processes that read pages, encode, decode and write; by default two for each
            processor, but no more than keep the devices busy.

    Raises:
        WinnowError: a device cannot be used, input or output failed, or a process died. What was
            done stays done.
    """
    engine: Any = content_filter._engine
    if engine.name != "torch":
        raise UsageError(f"GPUs run engine 'torch', not {engine.name!r}")
    if not devices:
        raise WinnowError("torch sees no CUDA device here; use device 'cpu'")
    if next(ledger.shards(), None) is None:
        return
    if workers is None:
        workers = min(WORKERS_PER_CPU * available_cpus(), WORKERS_PER_DEVICE * len(devices))
    with serve(engine, devices) as remote:
        work = partial(part_by_part, content_filter.with_engine(remote))
        run_local(ledger, work, workers=workers)


def part_by_part(
    content_filter: ContentFilter, job: Job, parts: Iterable[Part], *, seen: Seen | None = None
) -> Iterator[PartStatistics]:
    """As `do_parts`, but no batch holds pages of two parts.

    On a GPU logits may depend on a batch's shape in their last bits. This way they follow from the
    part alone, and a job that goes on writes the bytes that it would have written.
    """
    for part in parts:
        yield from do_parts(content_filter, job, [part], seen=seen)


@dataclass(frozen=True)
class RemoteEngine:
    """An engine that has its work done by other processes.

    Attributes:
        name: As of the engine there.
        dtype: As of the engine there.
        device: As of the engine there.
        weights: As of the engine there.
        n_labels: Labels of the model.
        max_batch_tokens: Tokens of a batch there.
        addresses: Where those processes listen; they are asked in turn.
    """

    name: str
    dtype: str
    device: str
    weights: tuple[Path, ...]
    n_labels: int
    max_batch_tokens: int
    addresses: tuple[Any, ...]

    def logits(self, windows: Iterable[NDArray[np.int32]]) -> Iterator[NDArray[np.float32]]:
        """For each window of (n,) token ids, (n, labels) logits, in order."""
        iterator = iter(windows)
        for request in make_requests(iterator, self.max_batch_tokens):
            yield from split(self._ask(request), request[1])

    def _ask(self, request: Request) -> NDArray[np.float32]:
        address = self.addresses[next(_turns) % len(self.addresses)]
        try:
            with Client(address, authkey=_key()) as connection:
                for part in request:
                    connection.send_bytes(part.data.cast("B"))
                error = connection.recv_bytes().decode()
                answer = b"" if error else connection.recv_bytes()
        except (EOFError, OSError) as lost:
            raise WinnowError(f"the process that runs the model is gone ({lost!r})") from lost
        if error:
            raise WinnowError(error)
        return np.frombuffer(answer, dtype=np.float32).reshape(-1, self.n_labels)


@contextmanager
def serve(engine: TorchEngine, devices: Sequence[str]) -> Iterator[RemoteEngine]:
    """Has an engine run by a process for each device, until the context ends.

    Raises:
        WinnowError: one of them cannot open the model, or has died.
    """
    with ExitStack() as stack:
        # A directory that nobody else may enter, for sockets where there are any.
        directory = stack.enter_context(tempfile.TemporaryDirectory(prefix="winnow-"))
        servers = [
            stack.enter_context(_started(engine.on(device), os.path.join(directory, str(number))))
            for number, device in enumerate(devices)
        ]
        addresses = tuple(server.address() for server in servers)
        remote = RemoteEngine(
            engine.name,
            engine.dtype,
            engine.device,
            engine.weights,
            engine.n_labels,
            engine.max_batch_tokens,
            addresses,
        )
        try:
            yield remote
        except WinnowError as error:
            for server in servers:
                server.check(error)
            raise


@dataclass
class _Server:
    """A process that runs the model, as its parent sees it."""

    device: str
    process: Any
    control: Connection

    def address(self) -> Any:
        """Where it listens, as soon as it does."""
        try:
            error, address = self.control.recv()
        except (EOFError, OSError) as lost:
            raise WinnowError(f"device {self.device!r}: {self._end()}") from lost
        if error:
            raise WinnowError(error)
        return address

    def check(self, error: Exception) -> None:
        """Says how it ended, if it did, in the place of what that led to elsewhere."""
        self.process.join(timeout=1)
        if self.process.exitcode is not None:
            raise WinnowError(
                f"device {self.device!r}: {self._end()}. The job is stopped, and the same command"
                " goes on where it was"
            ) from error

    def _end(self) -> str:
        self.process.join()
        code = self.process.exitcode
        how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"left with {code}"
        return f"the process that runs the model {how}"


@contextmanager
def _started(engine: TorchEngine, path: str) -> Iterator[_Server]:
    # Started afresh: what uses CUDA cannot be forked.
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    address = path if hasattr(signal, "SIGKILL") else None  # a pipe of the system's on Windows
    process = context.Process(
        target=_run_server, args=(engine, theirs, address), name="winnow-model", daemon=True
    )
    process.start()
    theirs.close()
    try:
        yield _Server(engine.device, process, ours)
    finally:
        ours.close()
        process.join()


@dataclass
class _Asked:
    """A request that a worker waits for."""

    request: Request
    answer: queue.SimpleQueue[tuple[str, NDArray[np.float32] | None]] = field(
        default_factory=queue.SimpleQueue
    )


def _run_server(engine: TorchEngine, control: Connection, address: str | None) -> None:
    """What the process of a device does, until its parent closes the pipe or is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent to act on
    threading.Thread(target=_leave_with, args=(control,), daemon=True).start()
    inbox: queue.SimpleQueue[_Asked] = queue.SimpleQueue()
    under_way: deque[_Asked] = deque()
    try:
        engine.batching  # noqa: B018  # opens the model
        listener = Listener(address, backlog=1024, authkey=_key())
        threading.Thread(target=_accept, args=(listener, inbox), daemon=True).start()
        control.send(("", listener.address))
        for logits in engine.flat_logits(_requests(inbox, under_way)):
            under_way.popleft().answer.put(("", logits))
    except Exception as error:
        message = _message(engine.device, error)
        with suppress(OSError):
            control.send((message, None))
        for asked in under_way:
            asked.answer.put((message, None))
        while True:
            inbox.get().answer.put((message, None))


def _requests(
    inbox: queue.SimpleQueue[_Asked], under_way: deque[_Asked]
) -> Iterator[Request | None]:
    """Requests as they come in; None where there are none, but answers that are waited for."""
    while True:
        try:
            asked = inbox.get(block=not under_way)
        except queue.Empty:
            yield None
        else:
            under_way.append(asked)
            yield asked.request


def _accept(listener: Listener, inbox: queue.SimpleQueue[_Asked]) -> None:
    while True:
        with suppress(EOFError, OSError, multiprocessing.AuthenticationError):
            connection = listener.accept()
            threading.Thread(target=_answer, args=(connection, inbox), daemon=True).start()


def _answer(connection: Connection, inbox: queue.SimpleQueue[_Asked]) -> None:
    """Takes the request of a worker and gives it its logits."""
    with suppress(EOFError, OSError), connection:  # the worker may die as it likes
        ids = np.frombuffer(connection.recv_bytes(), dtype=np.int32)
        asked = _Asked((ids, np.frombuffer(connection.recv_bytes(), dtype=np.int64)))
        inbox.put(asked)
        error, logits = asked.answer.get()
        connection.send_bytes(error.encode())
        if logits is not None:
            connection.send_bytes(logits.data.cast("B"))


def _leave_with(control: Connection) -> None:
    """Ends this process as soon as its parent's end of a pipe is closed."""
    with suppress(EOFError, OSError):
        control.recv()
    os._exit(0)


def _message(device: str, error: Exception) -> str:
    if isinstance(error, WinnowError):
        return str(error)
    return f"device {device!r}: {''.join(traceback.format_exception(error)).strip()}"


def _key() -> bytes:
    """What processes of one job know each other by."""
    return bytes(multiprocessing.current_process().authkey)
