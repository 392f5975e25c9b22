"""A job in a pool of processes: the same bytes, and an end to it whoever dies."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import Any

import pytest

from filter import ContentFilter
from filter.errors import WinnowError
from filter.jobs.finish import Ledger
from filter.jobs.local import run_local
from filter.jobs.parts import Part
from filter.jobs.plan import Job
from filter.jobs.run import JobOptions, carry_out, plan_run
from filter.jobs.work import PartStatistics, Seen, do_parts

ROOT = Path(__file__).parents[3]

# Work for processes that import nothing of this file: it is written down as a module of its own.
WORK = """
import os, signal, time
from filter.errors import WinnowError

def killed(job, parts, *, seen=None):
    for part in parts:
        os.kill(os.getpid(), signal.SIGKILL)
        yield

def leaves(job, parts, *, seen=None):
    for part in parts:
        os._exit(7)
        yield

def raises(job, parts, *, seen=None):
    for part in parts:
        raise WinnowError(f"{part.shard.name}: cannot be done")
        yield

class Local(Exception):
    def __init__(self, one, two):
        super().__init__(one)

def fails(job, parts, *, seen=None):
    for part in parts:
        raise Local("a bug", 2)
        yield

def sleeps(job, parts, *, seen=None):
    for part in parts:
        with open(os.path.join(job.output, f"worker-{os.getpid()}"), "w"):
            time.sleep(600)
        yield
"""


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The module of work that goes wrong, to be found by other processes too."""
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "work_of_tests.py").write_text(WORK)
    monkeypatch.syspath_prepend(tmp_path / "work")
    import work_of_tests

    yield work_of_tests
    del sys.modules["work_of_tests"]


@pytest.mark.parametrize(
    ("name", "error", "message"),
    [
        ("killed", WinnowError, "a worker process was killed by SIGKILL, as .* fewer --workers"),
        ("leaves", WinnowError, "a worker process left with exit code 7.*same command goes on"),
        ("raises", WinnowError, "a.jsonl: cannot be done"),
        ("fails", RuntimeError, "Local: a bug"),
    ],
)
def test_a_worker_that_dies_or_fails_is_one_clear_error(
    make_job: Callable[..., Job], work: Any, name: str, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        carry_out(make_job(), partial(run_local, work=getattr(work, name), workers=2))


def test_a_worker_that_has_only_just_started_leaves_ctrl_c_to_its_parent(
    make_job: Callable[..., Job], work: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = SpawnProcess.start

    def interrupted(process: SpawnProcess) -> None:
        start(process)
        assert process.pid is not None
        os.kill(process.pid, signal.SIGINT)

    monkeypatch.setattr(SpawnProcess, "start", interrupted)
    with pytest.raises(WinnowError, match=r"a.jsonl: cannot be done"):  # it came so far as to work
        carry_out(make_job(), partial(run_local, work=work.raises, workers=2))


def test_workers_are_gone_when_their_parent_is_killed(
    corpus: Path, tmp_path: Path, work: Any
) -> None:
    script = f"""
import sys
sys.path[:0] = {[str(ROOT), str(tmp_path / "work")]!r}
from functools import partial
from pathlib import Path
import work_of_tests
from filter.jobs.finish import Ledger
from filter.jobs.inputs import find_shards
from filter.documents import document_format
from filter.jobs.local import run_local
from filter.jobs.plan import Job
if __name__ == "__main__":
    output = Path({str(tmp_path)!r})
    shards = find_shards([{str(corpus / "a.jsonl")!r}], document_format, results=output)
    sizes = dict(part_records=1, part_characters=8)
    job = Job(output=output, shards=shards, settings={{}}, rejects=output, **sizes)
    run_local(Ledger(job), work_of_tests.sleeps, workers=2)
"""
    (tmp_path / "script.py").write_text(script)
    parent = subprocess.Popen([sys.executable, str(tmp_path / "script.py")])
    try:
        deadline = time.monotonic() + 60
        while len(workers := list(tmp_path.glob("worker-*"))) < 2:
            assert time.monotonic() < deadline and parent.poll() is None
            time.sleep(0.01)
    finally:
        parent.kill()
        parent.wait()
    pids = [int(path.name.partition("-")[2]) for path in workers]
    while any(map(alive, pids)):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


def test_several_processes_write_the_bytes_of_one(
    tiny_model: Path, sample: str, corpus: Path, tmp_path: Path, written: Any, line: Any
) -> None:
    for number in range(4):
        (corpus / f"page-{number}.txt").write_text(sample * (number + 1), encoding="utf-8")
    (corpus / "long.jsonl").write_bytes(b"".join(line(n, sample[n:] * 2) for n in range(12)))
    content_filter = ContentFilter.from_pretrained(tiny_model, engine="onnx", threads=1)
    summaries = []
    for workers in (1, 2):
        job = plan_run(
            [f"{corpus}/**/*.*"],
            tmp_path / str(workers),
            content_filter,
            options=JobOptions(part_records=4, part_characters=4000),
        )
        execute = partial(run_local, work=partial(do_parts, content_filter), workers=workers)
        summaries.append(carry_out(job, execute))
    assert written(tmp_path / "1") == written(tmp_path / "2")
    for key in ("pages", "characters", "labels", "rejects", "shards", "input_bytes"):
        assert summaries[0][key] == summaries[1][key]
    assert summaries[0]["characters_cut"] > 0


def test_pages_are_seen_before_their_part_is_done(
    make_job: Callable[..., Job], mark_filter: Any
) -> None:
    ledger = Ledger(make_job(part_records=1000))
    ledger.job.state.mkdir(parents=True)
    states = []

    def watched(
        job: Job, parts: Iterable[Part], *, seen: Seen | None = None
    ) -> Iterator[PartStatistics]:
        def see(pages: int, characters: int) -> None:
            assert seen is not None
            seen(pages, characters)
            states.append((ledger.so_far.pages, ledger.now.pages))

        return do_parts(mark_filter(), job, parts, seen=see)

    run_local(ledger, watched)
    assert states[:7] == [(n, 0) for n in range(1, 8)]
    assert states[7:] == [(n, 7) for n in range(8, 11)]
    assert ledger.so_far.pages == ledger.now.pages == 10


def test_the_reader_is_no_more_than_a_part_ahead(
    make_job: Callable[..., Job], mark_filter: Any, corpus: Path, line: Any
) -> None:
    """Memory does not grow with the input: parts that are read are soon done."""
    (corpus / "long.jsonl").write_bytes(b"".join(line(number) for number in range(200)))
    ledger = Ledger(make_job(f"{corpus}/long.jsonl", part_records=5))
    read = 0

    def done() -> int:
        return len(list(ledger.job.state.glob("parts/**/*.done")))

    def counted(parts: Iterable[Part]) -> Iterator[Part]:
        nonlocal read
        for part in parts:
            read += 1
            assert read - done() <= 2
            yield part

    for statistics in do_parts(mark_filter(), ledger.job, counted(ledger.parts())):
        if not statistics.last:  # the last one has the shard joined, and its parts removed
            ledger.add(statistics)
    assert read == 40
