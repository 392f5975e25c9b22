"""An engine that is run by processes of its own, one for each device.

A process of these does nothing but run the model, so that its device never waits for Python to do
anything else: whoever has windows sends them to one of the processes and waits for their logits.
Both travel as plain bytes over local sockets. Sockets carry some gigabytes a second, of which a
device that reads five million characters a second needs a tenth; shared memory would take less of
the processor, but containers have little of it, and the end of a process is the end of its sockets,
so that nobody waits for the dead.
"""

from __future__ import annotations

import multiprocessing
import os
import queue
import signal
import socket
import tempfile
import threading
import traceback
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from itertools import count
from multiprocessing.connection import Client, Connection, Listener, wait
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from filter.engines.packing import Request, make_requests, split
from filter.errors import WinnowError

BACKLOG = 1024
"""Processes that may knock at once."""

SECONDS_TO_LEAVE = 10.0
"""How long a process that was told to leave is waited for."""

_turns = count(os.getpid())
"""Which device is asked next; processes begin with different ones."""


class Served(Protocol):
    """An engine that can be run by other processes: `TorchEngine`."""

    name: str
    dtype: str
    device: str
    weights: tuple[Path, ...]
    max_batch_tokens: int

    @property
    def n_labels(self) -> int:
        """Labels of the model."""
        ...

    def on(self, device: str) -> Served:
        """The same engine on another device."""
        ...

    def open(self) -> object:
        """Opens the model."""
        ...

    def flat_logits(self, requests: Iterable[Request | None]) -> Iterator[NDArray[np.float32]]:
        """The logits of each request; None says that there is none at present."""
        ...


@dataclass(unsafe_hash=True)
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
            with Client(address) as connection:
                for part in request:
                    connection.send_bytes(part.data.cast("B"))
                error = connection.recv_bytes().decode()
                answer = b"" if error else connection.recv_bytes()
        except (EOFError, OSError) as lost:
            raise _Lost(f"the process that runs the model is gone ({lost!r})") from lost
        if error:
            raise WinnowError(error)
        return np.frombuffer(answer, dtype=np.float32).reshape(-1, self.n_labels)


class _Lost(WinnowError):
    """A process that runs the model has died, as one that asks it sees it."""


@contextmanager
def serve(engine: Served, devices: Sequence[str]) -> Iterator[RemoteEngine]:
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
        except _Lost as error:
            dead = wait([server.process.sentinel for server in servers], timeout=SECONDS_TO_LEAVE)
            for server in servers:
                if server.process.sentinel in dead:
                    raise WinnowError(
                        f"{server.end()}. The job is stopped, and the same command goes on where"
                        " it was"
                    ) from error
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
            raise WinnowError(self.end()) from lost
        if error:
            raise WinnowError(error)
        return address

    def end(self) -> str:
        """How it ended; waits until it has."""
        self.process.join()
        code = self.process.exitcode
        how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"left with {code}"
        return f"device {self.device!r}: the process that runs the model {how}"


@contextmanager
def _started(engine: Served, path: str) -> Iterator[_Server]:
    # Started afresh: what uses CUDA cannot be forked.
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    address = path if hasattr(socket, "AF_UNIX") else None  # elsewhere the system gives one
    process = context.Process(
        target=_run_server, args=(engine, theirs, address), name="winnow-model", daemon=True
    )
    process.start()
    theirs.close()
    try:
        yield _Server(engine.device, process, ours)
    finally:
        ours.close()
        process.join(timeout=SECONDS_TO_LEAVE)
        if process.is_alive():
            process.kill()
            process.join()


@dataclass
class _Asked:
    """A request that a worker waits for."""

    request: Request
    answer: queue.SimpleQueue[tuple[str, NDArray[np.float32] | None]] = field(
        default_factory=queue.SimpleQueue
    )


def _run_server(engine: Served, control: Connection, address: str | None) -> None:
    """What the process of a device does, until its parent closes the pipe or is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent to act on
    threading.Thread(target=_leave_with, args=(control,), daemon=True).start()
    inbox: queue.SimpleQueue[_Asked] = queue.SimpleQueue()
    under_way: deque[_Asked] = deque()
    try:
        engine.open()
        listener = Listener(address, backlog=BACKLOG)
    except Exception as error:
        control.send((_message(engine.device, error), None))
        return
    threading.Thread(target=_accept, args=(listener, inbox), daemon=True).start()
    control.send(("", listener.address))
    try:
        for logits in engine.flat_logits(_requests(inbox, under_way)):
            under_way.popleft().answer.put(("", logits))
    except Exception as error:
        message = _message(engine.device, error)
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
    traceback.print_exception(error)
    reason = (str(error).strip().splitlines() or [""])[0]
    return f"device {device!r}: {type(error).__name__}: {reason}"
