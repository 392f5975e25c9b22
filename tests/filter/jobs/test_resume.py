"""Killed at any moment, a job goes on to the same bytes; nothing that is whole is done twice.

The job runs in forks of this process that kill themselves with SIGKILL at one of the seams between
its steps: before one of the changes that it makes to a directory, or while it writes a file.
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from filter.errors import WinnowError
from filter.jobs.finish import Ledger
from filter.jobs.plan import Job
from filter.jobs.work import do_parts

Do = Callable[..., dict[str, Any]]
Written = Callable[[Path], dict[str, bytes]]

CHANGES = ("replace", "unlink", "rmdir", "mkdir")
"""Functions of `os` by which a job changes what is in a directory."""


def in_fork(run: Callable[[], object]) -> int:
    """Runs a function in a fork of this process.

    Returns:
        Its exit code: 0, 1 where it raised an error, or minus the signal that ended it.
    """
    child = os.fork()
    if child == 0:
        code = 1
        try:
            run()
            code = 0
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def die_at(change: int) -> None:
    """Has this process killed before its n-th change to a directory."""
    count = 0

    def counted(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **options: Any) -> Any:
            nonlocal count
            count += 1
            if count == change:
                os.kill(os.getpid(), signal.SIGKILL)
            return function(*args, **options)

        return call

    for name in CHANGES:
        setattr(os, name, counted(getattr(os, name)))


@pytest.fixture
def undisturbed(do: Do, written: Written, tmp_path: Path) -> dict[str, bytes]:
    """What the job writes when nothing happens to it."""
    do(output="undisturbed")
    return written(tmp_path / "undisturbed")


def test_a_job_killed_at_any_change_goes_on_to_the_same_bytes(
    do: Do, written: Written, tmp_path: Path, corpus: Path
) -> None:
    shards = (f"{corpus}/b/a.jsonl", f"{corpus}/c.jsonl")  # bad records, several parts, no record

    def killed() -> None:
        die_at(change)
        do(*shards)

    do(*shards, output="undisturbed")
    undisturbed = written(tmp_path / "undisturbed")
    change = 0
    code = -signal.SIGKILL
    while code == -signal.SIGKILL:
        change += 1
        shutil.rmtree(tmp_path / "out", ignore_errors=True)
        code = in_fork(killed)
        summary = do(*shards)
        assert written(tmp_path / "out") == undisturbed, change
        assert (summary["pages"], summary["rejects"], summary["shards"]) == (3, 1, 2), change
        assert not (tmp_path / "out" / ".winnow" / "parts").exists()
        assert not list((tmp_path / "out").rglob("*.tmp"))
    assert code == 0
    assert change > 30  # it has as many seams as that


def test_a_job_killed_again_and_again_gets_to_its_end(
    do: Do, written: Written, undisturbed: dict[str, bytes], tmp_path: Path
) -> None:
    def killed() -> None:
        die_at(13)
        do()

    runs = 1
    while in_fork(killed) == -signal.SIGKILL:
        runs += 1
    assert runs > 3
    assert written(tmp_path / "out") == undisturbed


def test_a_job_killed_while_a_part_is_written_goes_on(
    do: Do, written: Written, undisturbed: dict[str, bytes], tmp_path: Path, mark_filter: Any
) -> None:
    class Deadly(mark_filter):  # type: ignore[misc]  # a fixture's class
        def _page(self, text: str) -> Any:
            if self.pages == 3:
                os.kill(os.getpid(), signal.SIGKILL)
            return super()._page(text)

    assert in_fork(lambda: do(content_filter=Deadly())) == -signal.SIGKILL
    assert list((tmp_path / "out" / ".winnow" / "parts").rglob("*.tmp"))
    do()
    assert written(tmp_path / "out") == undisturbed


def test_parts_and_shards_that_are_done_are_not_done_again(
    do: Do, mark_filter: Any, tmp_path: Path
) -> None:
    class Stops(mark_filter):  # type: ignore[misc]  # a fixture's class
        def _page(self, text: str) -> Any:
            if self.pages == 5:
                raise KeyboardInterrupt
            return super()._page(text)

    with pytest.raises(KeyboardInterrupt):
        do(content_filter=Stops())
    again = mark_filter()
    summary = do(content_filter=again)
    assert again.pages == 6  # the first two parts, of two pages each, were whole
    assert summary["pages"] == 10
    assert summary["pages_filtered_now"] == 6
    nothing = mark_filter()
    assert do(content_filter=nothing)["pages"] == 10
    assert nothing.pages == 0


@pytest.mark.parametrize("name", ["a.jsonl", "b/a.jsonl"])
def test_an_output_that_is_gone_or_cut_short_is_made_again(
    do: Do, written: Written, undisturbed: dict[str, bytes], tmp_path: Path, name: str
) -> None:
    do()
    (tmp_path / "out" / name).unlink()
    do()
    assert written(tmp_path / "out") == undisturbed
    os.truncate(tmp_path / "out" / name, 3)  # as after a power cut, without its data on the disk
    do()
    assert written(tmp_path / "out") == undisturbed


def test_a_part_that_the_disk_has_lost_is_done_again(
    do: Do, written: Written, undisturbed: dict[str, bytes], tmp_path: Path
) -> None:
    def killed() -> None:
        die_at(14)
        do()

    assert in_fork(killed) == -signal.SIGKILL
    parts = sorted((tmp_path / "out" / ".winnow" / "parts").rglob("*-????????"))
    assert len(parts) >= 2
    parts[0].write_bytes(b"")
    parts[1].with_suffix(".done").write_bytes(b"")
    do()
    assert written(tmp_path / "out") == undisturbed


def test_a_full_disk_stops_the_job_and_room_on_it_lets_it_go_on(
    do: Do, written: Written, undisturbed: dict[str, bytes], tmp_path: Path
) -> None:
    def run() -> None:
        # The kernel refuses to let a file grow beyond this, much as a full disk does.
        resource.setrlimit(resource.RLIMIT_FSIZE, (700, resource.RLIM_INFINITY))
        try:
            do(part_records=2)
        except WinnowError as error:
            (tmp_path / "said").write_text(str(error))
            raise

    largest = max(len(data) for data in undisturbed.values())
    assert largest > 700
    assert in_fork(run) == 1
    said = (tmp_path / "said").read_text()
    assert "File too large. The job is stopped; the same command goes on where it was" in said
    assert str(tmp_path / "out") in said
    assert not list((tmp_path / "out").rglob("*.tmp"))
    do()
    assert written(tmp_path / "out") == undisturbed


def test_a_job_with_names_as_long_as_titles_goes_on(
    do: Do, written: Written, tmp_path: Path, corpus: Path
) -> None:
    long = corpus / f"{'题' * 81}123456.jsonl"  # which leaves no room for a marker of that name
    (corpus / "b" / "a.jsonl").rename(long)
    page = corpus / f"1.{'题' * 83}.txt"
    page.write_text("第1篇。【广告】", "utf-8")

    def killed(change: int) -> None:
        die_at(change)
        do(str(long), str(page))

    for change in range(1, 40, 3):
        in_fork(partial(killed, change))
        summary = do(str(long), str(page))
        assert (summary["pages"], summary["rejects"], summary["shards"]) == (4, 1, 2)
        out = written(tmp_path / "out")
        assert out.pop(page.name).decode() == "第1篇。"
        assert len(out.pop(long.name).splitlines()) == 3
        ((rejects, data),) = out.items()
        assert rejects.startswith(".winnow/rejects/") and rejects.endswith(".jsonl")
        assert json.loads(data)["file"] == str(long)
        assert do(str(long), str(page))["pages_filtered_now"] == 0
        shutil.rmtree(tmp_path / "out")


def test_parts_may_come_in_any_order(
    make_job: Callable[..., Job],
    mark_filter: Any,
    written: Written,
    undisturbed: dict[str, bytes],
    tmp_path: Path,
) -> None:
    ledger = Ledger(make_job())
    parts = list(ledger.parts())
    for part in reversed(parts):
        (statistics,) = do_parts(mark_filter(), ledger.job, [part])
        assert (tmp_path / "out" / part.shard.name).exists() is False
        ledger.add(statistics)
        assert (part.shard.name in ledger.done) == (part.number == 0)
    assert len(parts) == 7
    assert written(tmp_path / "out") == undisturbed


def test_a_limit_holds_over_all_runs(do: Do, written: Written, tmp_path: Path) -> None:
    def killed() -> None:
        die_at(15)
        do(limit=8)

    summary = do(limit=8, output="undisturbed")
    assert (summary["pages"], summary["shards"]) == (8, 2)
    assert in_fork(killed) == -signal.SIGKILL
    assert do(limit=8)["pages"] == 8
    assert written(tmp_path / "out") == written(tmp_path / "undisturbed")


def test_bytes_do_not_depend_on_what_a_part_was_read_with(
    do: Do, undisturbed: dict[str, bytes], corpus: Path
) -> None:
    """Each shard's file holds its records in order, with what was found in them."""
    records = [json.loads(line) for line in undisturbed["a.jsonl"].splitlines()]
    originals = [json.loads(line) for line in (corpus / "a.jsonl").read_bytes().splitlines()]
    assert [record["id"] for record in records] == list(range(7))
    for record, original in zip(records, originals, strict=True):
        assert record["clean_text"] == original["text"].replace("【广告】", "")
        assert {key: record[key] for key in original} == original
    assert undisturbed["c.jsonl"] == b""
    rejects = undisturbed[".winnow/rejects/b/a.jsonl.jsonl"].splitlines()
    assert [json.loads(line)["line"] for line in rejects] == [2]
