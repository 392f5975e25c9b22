"""One job in an output directory, the same one until it is done, and one process at a time."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from filter.decoder_settings import DecoderSettings
from filter.errors import UsageError
from filter.files import atomic_write
from filter.jobs.plan import Job
from filter.jobs.state import claimed, read_job

Do = Callable[..., dict[str, Any]]
MakeJob = Callable[..., Job]


def refusal(job: Job) -> str:
    with pytest.raises(UsageError) as caught, claimed(job):
        pass
    return str(caught.value)


def test_another_setting_is_another_job(
    make_job: MakeJob, mark_filter: Any, tmp_path: Path
) -> None:
    with claimed(make_job()):
        pass
    with claimed(make_job()):
        pass
    stricter, hotter = mark_filter(), mark_filter()
    stricter.threshold = 0.9
    hotter.decoder = DecoderSettings(temperature=2.0)
    decoders = [f'"{made.decoder.digest}"' for made in (mark_filter(), hotter)]
    for job, difference in (
        (make_job(content_filter=stricter), "threshold was 0.5 and is 0.9"),
        (make_job(content_filter=hotter), "decoder was {} and is {}".format(*decoders)),
        (make_job(adds="spans"), 'adds was "clean" and is "spans"'),
        (make_job(limit=3), "limit was null and is 3"),
        (make_job(part_records=3), "part_records was 2 and is 3"),
        (make_job(rejects=tmp_path / "bad"), 'rejects was ".winnow/rejects" and is "../bad"'),
    ):
        assert f"out: holds another job: {difference};" in refusal(job)
        assert "begin anew with --force" in refusal(job)


def test_an_input_that_has_changed_is_named(make_job: MakeJob, corpus: Path, line: Any) -> None:
    with claimed(make_job()):
        pass
    shard = corpus / "a.jsonl"
    status = shard.stat()
    os.utime(shard, ns=(0, 1))
    assert f"holds another job: {shard} has changed;" in refusal(make_job())
    shard.write_bytes(line(1))
    assert f"({status.st_size:,} bytes then, {len(line(1))} now)" in refusal(make_job())


def test_inputs_that_have_come_or_gone_are_named(make_job: MakeJob, corpus: Path) -> None:
    with claimed(make_job()):
        pass
    (corpus / "new.jsonl").write_bytes(b"")
    assert f"{corpus}/new.jsonl was not one of its inputs" in refusal(make_job())
    (corpus / "new.jsonl").unlink()
    (corpus / "c.jsonl").unlink()
    assert "c.jsonl was one of its inputs and is none now" in refusal(make_job())


def test_a_copy_of_the_input_elsewhere_is_the_same_input(
    make_job: MakeJob, corpus: Path, tmp_path: Path
) -> None:
    with claimed(make_job()):
        pass
    moved = tmp_path / "moved"
    corpus.rename(moved)
    with claimed(make_job(f"{moved}/**/*.jsonl")):
        pass


def test_beginning_anew_removes_what_the_job_before_has_written(
    do: Do, written: Any, tmp_path: Path, corpus: Path
) -> None:
    do()
    (tmp_path / "out" / "notes.md").write_text("mine")
    do(f"{corpus}/a.jsonl", force=True)
    assert set(written(tmp_path / "out")) == {"a.jsonl", "notes.md"}
    do(f"{corpus}/a.jsonl", force=True)
    assert set(written(tmp_path / "out")) == {"a.jsonl", "notes.md"}


def test_files_that_are_there_are_not_overwritten(
    do: Do, make_job: MakeJob, tmp_path: Path
) -> None:
    (tmp_path / "out" / "b").mkdir(parents=True)
    (tmp_path / "out" / "b" / "a.jsonl").write_text("mine")
    assert "b/a.jsonl: exists already; --force overwrites it" in refusal(make_job())
    assert read_job(tmp_path / "out") is None
    do(force=True)
    assert b"clean_text" in (tmp_path / "out" / "b" / "a.jsonl").read_bytes()


@pytest.mark.parametrize("name", ["out/summary.json", "bad/b/a.jsonl.jsonl"])
def test_other_files_of_a_job_take_nobody_s_place_either(
    do: Do, make_job: MakeJob, tmp_path: Path, name: str
) -> None:
    path = tmp_path / name
    path.parent.mkdir(parents=True)
    path.write_text("mine")
    rejects = tmp_path / "bad"
    assert f"{path}: exists already; --force overwrites it" in refusal(make_job(rejects=rejects))
    assert path.read_text() == "mine"
    do(force=True, rejects=rejects)
    assert path.read_text() != "mine"
    do(rejects=rejects)  # which goes on: they are its own by now


def test_bad_records_are_found_again_where_out_is_a_link(
    do: Do, tmp_path: Path, corpus: Path
) -> None:
    (tmp_path / "disk" / "out").mkdir(parents=True)
    (tmp_path / "out").symlink_to(tmp_path / "disk" / "out")
    others = tmp_path / "disk" / "bad" / "b" / "a.jsonl.jsonl"
    others.parent.mkdir(parents=True)
    others.write_text("mine")
    do(rejects=tmp_path / "bad")
    assert (tmp_path / "bad" / "b" / "a.jsonl.jsonl").is_file()
    do(f"{corpus}/a.jsonl", rejects=tmp_path / "bad", force=True)
    assert not (tmp_path / "bad" / "b" / "a.jsonl.jsonl").exists()
    assert others.read_text() == "mine"


def test_two_processes_do_not_share_a_directory(make_job: MakeJob) -> None:
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe()

    def hold() -> None:
        with claimed(make_job()):
            theirs.send("held")
            signal.pause()

    other = context.Process(target=hold)
    other.start()
    try:
        ours.recv()
        assert "out: another process is at work" in refusal(make_job())
    finally:
        other.kill()
        other.join()
    with claimed(make_job()):
        pass


def test_what_a_killed_process_had_begun_to_write_is_removed(
    make_job: MakeJob, tmp_path: Path
) -> None:
    begun = tmp_path / "out" / "b" / ".a.jsonl.0123abcd.tmp"
    others = [tmp_path / "out" / "b" / name for name in (".other.0123abcd.tmp", ".a.jsonl.tmp")]
    begun.parent.mkdir(parents=True)
    for path in (begun, *others):
        path.write_bytes(b"")
    with claimed(make_job()):
        pass
    assert not begun.exists()
    assert all(path.exists() for path in others)


def test_it_is_removed_where_its_name_is_a_hash(
    make_job: MakeJob, corpus: Path, tmp_path: Path
) -> None:
    long = corpus / f"{'题' * 79}.jsonl"  # which leaves no room for the name of a temporary
    (corpus / "b" / "a.jsonl").rename(long)
    (tmp_path / "out").mkdir()
    begun: list[Path] = []
    with pytest.raises(ZeroDivisionError), atomic_write(tmp_path / "out" / long.name) as stream:
        begun = list((tmp_path / "out").glob(".*.tmp"))
        raise ZeroDivisionError(stream)
    assert len(begun) == 1
    begun[0].write_bytes(b"")  # as if nobody had cleared up
    with claimed(make_job(str(long))):
        pass
    assert not begun[0].exists()


def test_a_job_file_that_cannot_be_read_is_not_guessed_at(
    make_job: MakeJob, tmp_path: Path
) -> None:
    job = make_job()
    path = tmp_path / "out" / ".winnow" / "job.json"
    path.parent.mkdir(parents=True)
    for data in ("", "{}", json.dumps({"format": 99})):
        path.write_text(data)
        assert "job.json: is not a job that can go on" in refusal(job)


def test_a_place_that_cannot_be_written_to_is_said_at_once(
    make_job: MakeJob, tmp_path: Path
) -> None:
    (tmp_path / "out").write_text("a file")
    assert "out: cannot be written to" in refusal(make_job())
