"""A job on one machine: in this process, or in a pool of others.

The process that runs the job reads, keeps the books and joins; with one worker it filters too.
A pool is made of plain processes, each with a pipe of its own: a worker that dies is known by the
end of its pipe, and so is a parent, whose workers are gone at once and leave nothing half-written.
"""

from __future__ import annotations

import multiprocessing
import os
import pickle
import queue
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from typing import Any

from filter.errors import WinnowError
from filter.jobs.errors import portable
from filter.jobs.finish import Ledger
from filter.jobs.parts import Part, bundles
from filter.jobs.work import Work

AHEAD = 2
"""Bundles of parts that a worker has been sent: one to do, and one to find when that is done."""

SEEN_SECONDS = 1.0
"""How often a worker tells of pages in parts that are not done."""


def run_local(ledger: Ledger, work: Work, *, workers: int = 1) -> None:
    """Does all that is not done of a job.

    Args:
        ledger: The job's books.
        work: What is done with parts; pickled to each process where there are several.
        workers: Processes that filter; 1 is this process itself.

    Raises:
        WinnowError: input or output failed, or a worker died. What was done stays done.
    """
    if workers == 1:
        for statistics in work(ledger.job, ledger.parts(), seen=ledger.see):
            ledger.add(statistics)
        return
    job = replace(ledger.job, shards=())
    order = pickle.dumps((job, work))
    pool = [_start(order) for _ in range(workers)]
    try:
        _feed(pool, ledger)
    except BaseException:
        for worker in pool:
            worker.process.terminate()
        raise
    finally:
        for worker in pool:
            worker.connection.close()
            worker.process.join()


@dataclass(eq=False)
class _Worker:
    process: Any
    connection: Connection
    bundles: int = 0


def _start(order: bytes) -> _Worker:
    # Started afresh: a fork would take along threads' locks, and the lock of the job.
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_work, args=(theirs, order), name="winnow", daemon=True)
    with _interrupts_held():
        process.start()
    theirs.close()
    return _Worker(process, ours)


@contextmanager
def _interrupts_held() -> Iterator[None]:
    """Holds Ctrl-C back here, and for good in processes started meanwhile.

    It goes to all processes of a terminal, and what becomes of it is the parent's to say. A worker
    cannot ignore it before it has imported what it needs; what is held back is inherited.
    """
    if sys.platform == "win32":  # signals cannot be held there: a worker ignores it once it can
        yield
        return
    resource_tracker.ensure_running()  # which would let Ctrl-C through again, were it started here
    held = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, held)


def _feed(pool: list[_Worker], ledger: Ledger) -> None:
    """Sends parts to whoever has room for them and takes what comes back, until all is done."""
    waiting = bundles(ledger.parts(), ledger.job)
    bundle = next(waiting, None)
    while True:
        for worker in sorted(pool, key=lambda worker: worker.bundles):
            if bundle is not None and worker.bundles < AHEAD:
                _send(worker, bundle)
                worker.bundles += 1
                bundle = next(waiting, None)
                break
        else:
            if not any(worker.bundles for worker in pool):
                return
            for ready in wait([worker.connection for worker in pool]):
                _take(next(worker for worker in pool if worker.connection is ready), ledger)


def _send(worker: _Worker, bundle: list[Part]) -> None:
    try:
        worker.connection.send(bundle)
    except OSError as error:
        raise _death(worker) from error


def _take(worker: _Worker, ledger: Ledger) -> None:
    try:
        kind, value = worker.connection.recv()
    except (EOFError, OSError) as error:
        raise _death(worker) from error
    if kind == "part":
        ledger.add(value)
    elif kind == "seen":
        ledger.see(*value)
    elif kind == "done":
        worker.bundles -= 1
    else:
        raise value


def _death(worker: _Worker) -> WinnowError:
    worker.process.join(timeout=5)
    code = worker.process.exitcode
    how = f"left with exit code {code}"
    if code is not None and code < 0:
        how = f"was killed by {signal.Signals(-code).name}"
        if code == -signal.SIGKILL:
            how += ", as the system does when memory runs out: fewer --workers need less"
    return WinnowError(
        f"a worker process {how}. The job is stopped, and the same command goes on where it was"
    )


def _work(connection: Connection, order: bytes) -> None:
    """What a worker does: bundles of parts, one after the other, until its parent is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    inbox: queue.SimpleQueue[list[Part]] = queue.SimpleQueue()
    threading.Thread(target=_receive, args=(connection, inbox), daemon=True).start()
    with suppress(BrokenPipeError):
        try:
            job, work = pickle.loads(order)
            tell = _Teller(connection)
            while True:
                for statistics in work(job, inbox.get(), seen=tell):
                    tell.flush()
                    connection.send(("part", statistics))
                connection.send(("done", None))
        except Exception as error:
            connection.send(("error", portable(error)))


def _receive(connection: Connection, inbox: queue.SimpleQueue[list[Part]]) -> None:
    """Takes parts out of the pipe, so that the parent need not wait for the worker to do so."""
    while True:
        try:
            bundle = connection.recv()
        except (EOFError, OSError):
            os._exit(0)  # the parent has closed the pipe, or is gone: nobody waits for what is left
        inbox.put(bundle)


class _Teller:
    """Tells the parent of pages that were filtered, now and then rather than one by one."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._pages = self._characters = 0
        self._told = time.monotonic()

    def __call__(self, pages: int, characters: int) -> None:
        self._pages += pages
        self._characters += characters
        if time.monotonic() - self._told >= SEEN_SECONDS:
            self.flush()

    def flush(self) -> None:
        if self._pages:
            self._connection.send(("seen", (self._pages, self._characters)))
        self._pages = self._characters = 0
        self._told = time.monotonic()
