"""What a job reads, and what its outputs are called: settled before the first page."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from filter.documents import document_format
from filter.errors import UsageError
from filter.jobs.inputs import find_shards


def find(*patterns: str, results: str = "out", **options: Any) -> dict[str, str]:
    """Names of the shards, each with its file."""
    shards = find_shards(patterns, document_format, results=Path(results), **options)
    return {shard.name: os.path.relpath(shard.path) for shard in shards}


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("a/x.jsonl", "a/b/x.jsonl", "a/y.jsonl.gz", "a/page.txt", "z.jsonl"):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_bytes(b"{}\n")


def test_outputs_keep_the_directories_below_those_that_all_have_in_common() -> None:
    assert find("a/*.jsonl") == {"x.jsonl": "a/x.jsonl"}
    assert find("a/**/x.jsonl") == {"b/x.jsonl": "a/b/x.jsonl", "x.jsonl": "a/x.jsonl"}
    assert find("z.jsonl", "a/y.jsonl.gz") == {"a/y.jsonl.gz": "a/y.jsonl.gz", "z.jsonl": "z.jsonl"}


def test_a_file_that_two_patterns_match_is_read_once() -> None:
    assert list(find("a/x.jsonl", "a/*.jsonl", "./a/x.jsonl")) == ["x.jsonl"]


def test_a_name_that_looks_like_a_pattern_is_a_name_if_there_is_such_a_file() -> None:
    Path("a/[1].jsonl").write_bytes(b"")
    assert list(find("a/[1].jsonl")) == ["[1].jsonl"]


def test_outputs_are_named_by_their_format_and_by_what_is_added() -> None:
    assert list(find("a/page.txt")) == ["page.txt"]
    assert list(find("a/page.txt", adds="spans")) == ["page.jsonl"]
    assert list(find("a/page.txt", sidecar=True)) == ["page.jsonl"]
    assert list(find("a/y.jsonl.gz", sidecar=True)) == ["y.jsonl.gz"]


@pytest.mark.parametrize(
    ("patterns", "message"),
    [
        (["missing.jsonl"], "missing.jsonl: no such file"),
        (["a/*.parquet"], r"a/\*\.parquet: no file matches"),
        (["a"], r"a: is a directory; name the files in it, such as a/\*"),
        (["a/b*"], r"a/b\*: only directories match"),
        (["-"], "cannot read stdin"),
        ([], "nothing to read"),
    ],
)
def test_what_cannot_be_read_is_said_at_once(patterns: list[str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        find(*patterns)


def test_a_pipe_is_no_input_for_what_must_be_able_to_read_it_again() -> None:
    os.mkfifo("pipe.jsonl")
    with pytest.raises(UsageError, match=r"pipe\.jsonl: not a file that can be read again"):
        find("*.jsonl")


def test_two_files_for_one_output_are_refused() -> None:
    Path("a/page.html").write_bytes(b"")
    with pytest.raises(UsageError, match=r"a/page\..* and .*a/page\..* would both be written to"):
        find("a/page.*")


def test_an_output_that_must_be_a_file_and_a_directory_is_refused() -> None:
    Path("a/b.html").write_bytes(b"")
    Path("a/b.txt").mkdir()
    Path("a/b.txt/c.txt").write_bytes(b"")
    with pytest.raises(UsageError, match=r"b\.txt, which must be a directory for .*c\.txt"):
        find("a/b.html", "a/b.txt/c.txt")


def test_an_input_is_never_overwritten() -> None:
    with pytest.raises(UsageError, match=r"a/x\.jsonl: would be overwritten, and is an input"):
        find("a/x.jsonl", results="a")
    os.symlink("a", "link")
    with pytest.raises(UsageError, match="would be overwritten"):
        find("a/x.jsonl", results="link")
    assert find("a/x.jsonl", results=".") == {"x.jsonl": "a/x.jsonl"}


def test_bad_records_take_the_place_of_no_input_and_no_output() -> None:
    Path("a/x.jsonl.jsonl").write_bytes(b"")
    with pytest.raises(UsageError, match=r"x\.jsonl\.jsonl: would be overwritten, and is an input"):
        find("a/x.jsonl*", rejects=Path("a"))
    with pytest.raises(UsageError, match=r"would both be written to out/x\.jsonl\.jsonl"):
        find("a/x.jsonl*", rejects=Path("out"))
    with pytest.raises(UsageError, match=r"written to out/x\.jsonl, which must be a directory"):
        find("a/x.jsonl", rejects=Path("out/x.jsonl"))
    assert len(find("a/x.jsonl*", rejects=Path("bad"))) == 2


@pytest.mark.parametrize("directory", ["out", "not/there/yet"])
def test_a_name_that_no_output_can_have_is_said_at_once(directory: str) -> None:
    title = Path("a", f"{'题' * 83}12.txt")
    title.write_bytes(b"")
    assert list(find(str(title), results=directory)) == [title.name]
    with pytest.raises(UsageError) as caught:
        find("a/*.txt", results=directory, adds="spans")
    assert str(caught.value) == (
        f"{title.absolute()}: what is written for it would have a name of 257 bytes, and"
        f" {directory} takes 255; give the file a shorter name"
    )


def test_the_job_s_own_files_are_not_to_be_had() -> None:
    Path("summary.json").write_bytes(b"")
    with pytest.raises(UsageError, match=r"summary\.json: its output would take the place"):
        find("summary.json")
    with pytest.raises(UsageError, match=r"summary\.json: would be overwritten, and is an input"):
        find("summary.json", "a/x.jsonl", results=".")
    Path("winnow.json").write_bytes(b"")
    with pytest.raises(UsageError, match=r"winnow\.json: its output would take the place"):
        find_shards(
            ["winnow.json"],
            lambda path: document_format(path, "jsonl"),
            results=Path("out"),
            sidecar=True,
        )


def test_patterns_pass_over_what_the_job_has_written_and_names_of_it_are_refused() -> None:
    written = [Path("a/b/x.jsonl")]
    assert list(find("**/*.jsonl", written=written)) == ["a/x.jsonl", "z.jsonl"]
    with pytest.raises(UsageError, match=r"was written by the job itself; .* quotation marks"):
        find("a/x.jsonl", "a/b/x.jsonl", written=written)
    with pytest.raises(UsageError, match="the outputs of the job alone match"):
        find("a/b/*.jsonl", written=written)
