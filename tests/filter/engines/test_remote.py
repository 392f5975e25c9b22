"""An engine in other processes: the same logits, and an end that everybody hears of."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
import pytest

from filter.content_filter import ContentFilter
from filter.engines.remote import RemoteEngine, serve
from filter.engines.torch import TorchEngine
from filter.errors import WinnowError
from filter.model_directory import ModelDirectory
from tests.filter.stand_in import StandIn


class Failing(StandIn):
    def answer(self, ids: np.ndarray) -> np.ndarray:
        if len(ids) == 13:
            raise RuntimeError("CUDA error: an illegal memory access\nmore of it")
        return super().answer(ids)


class Dying(StandIn):
    def answer(self, ids: np.ndarray) -> np.ndarray:
        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError


class Broken(StandIn):
    def open(self) -> None:
        raise WinnowError("model: transformers cannot open it")


@pytest.fixture(scope="module")
def engine(directory: ModelDirectory) -> TorchEngine:
    pytest.importorskip("torch")
    return TorchEngine(directory, device="cpu", batching="packed", max_batch_tokens=100)


@pytest.fixture(scope="module")
def remote(engine: TorchEngine) -> Iterator[RemoteEngine]:
    with serve(engine, ("cpu", "cpu")) as remote:
        yield remote


def test_logits_are_those_of_the_engine(
    engine: TorchEngine, remote: RemoteEngine, make_windows: Callable[..., list[np.ndarray]]
) -> None:
    windows = make_windows(150)
    for one, other in zip(engine.logits(windows), remote.logits(windows), strict=True):
        np.testing.assert_array_equal(one, other)
    assert (remote.name, remote.dtype, remote.device) == ("torch", "float32", "cpu")
    assert remote.weights == engine.weights
    assert list(remote.logits([])) == []


def test_many_ask_at_once_and_each_gets_its_own(
    engine: TorchEngine, remote: RemoteEngine, make_windows: Callable[..., list[np.ndarray]]
) -> None:
    given = [make_windows(40, seed) for seed in range(12)]
    with ThreadPoolExecutor(12) as pool:
        found = list(pool.map(lambda windows: list(remote.logits(windows)), given))
    for windows, logits in zip(given, found, strict=True):
        for one, other in zip(engine.logits(windows), logits, strict=True):
            np.testing.assert_array_equal(one, other)


def test_a_filter_on_it_gives_the_same_pages_and_can_be_pickled(
    tiny_model: Path, sample: str, remote: RemoteEngine
) -> None:
    pages = [sample, sample[:30], "", sample * 3]
    content_filter = ContentFilter.from_pretrained(tiny_model, engine="torch", device="cpu")
    expected = list(content_filter.pipe(pages))
    shared = pickle.loads(pickle.dumps(content_filter.with_engine(remote)))
    for one, other in zip(expected, shared.pipe(pages), strict=True):
        assert one.clean_text == other.clean_text and one.engine == other.engine
        assert [(s.start, s.end, s.label) for s in one.spans] == [
            (s.start, s.end, s.label) for s in other.spans
        ]


def test_a_worker_that_dies_while_it_waits_harms_nobody(
    remote: RemoteEngine, make_windows: Callable[..., list[np.ndarray]]
) -> None:
    windows = make_windows(20)
    expected = list(remote.logits(windows))
    code = """
import os, pickle, sys, threading
import numpy as np
from multiprocessing.connection import Client
for address in pickle.loads(sys.stdin.buffer.read()):
    half, whole = Client(address), Client(address)
    half.send_bytes(np.arange(4, dtype=np.int32))
    whole.send_bytes(np.full(2_000, 5, dtype=np.int32))
    whole.send_bytes(np.full(50, 40, dtype=np.int64))
os._exit(9)
"""
    given = pickle.dumps(remote.addresses)
    assert subprocess.run([sys.executable, "-c", code], input=given).returncode == 9
    for one, other in zip(expected, remote.logits(windows), strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_failure_is_told_to_all_who_wait_and_all_who_come_later(
    make_windows: Callable[..., list[np.ndarray]],
) -> None:
    with serve(Failing(), ["cpu"]) as remote:
        assert len(list(remote.logits(make_windows([12, 14])))) == 2
        for lengths in ([13], [12]):
            with pytest.raises(WinnowError, match="'cpu': RuntimeError: CUDA error: an ill") as e:
                list(remote.logits(make_windows(lengths)))
            assert "\n" not in str(e.value)


def test_a_process_that_is_killed_is_told(make_windows: Callable[..., list[np.ndarray]]) -> None:
    message = r"device 'cpu': the process .* was killed by SIGKILL.*goes on where it was"
    with pytest.raises(WinnowError, match=message), serve(Dying(), ["cpu"]) as remote:
        list(remote.logits(make_windows(3)))


def test_a_model_that_cannot_be_opened_is_told() -> None:
    with pytest.raises(WinnowError, match="transformers cannot"), serve(Broken(), ["cpu"] * 2):
        pass


def test_errors_of_others_stay_what_they_are() -> None:
    with pytest.raises(WinnowError, match="disk full"), serve(StandIn(), ["cpu"]):
        raise WinnowError("disk full")


def test_nobody_is_left_when_the_context_ends() -> None:
    before = set(multiprocessing.active_children())
    with serve(StandIn(), ["cpu"]) as remote:
        (server,) = set(multiprocessing.active_children()) - before
        directory = Path(remote.addresses[0]).parent
        assert directory.is_dir() and directory.stat().st_mode & 0o077 == 0
    assert not server.is_alive()
    assert not directory.exists()


def test_nobody_is_left_when_the_parent_is_killed() -> None:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    parent = context.Process(target=serve_until_killed, args=(theirs,))
    parent.start()
    theirs.close()
    assert ours.recv() == "serving"
    assert parent.pid is not None
    os.kill(parent.pid, signal.SIGKILL)
    parent.join()
    # The end comes when the last process that has the other end is gone: the server.
    with pytest.raises(EOFError):
        ours.recv()


def serve_until_killed(connection: Connection) -> None:
    with serve(StandIn(connection=connection), ["cpu"]):
        connection.send("serving")
        connection.recv()
