"""`winnow run` as it is called: exit codes, what it says, and what it leaves behind."""

from __future__ import annotations

import gzip
import json
import lzma
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import pytest
import zstandard

from filter.cli import progress
from filter.cli.app import run
from filter.files import open_bytes

ROOT = Path(__file__).parents[3]


@pytest.fixture(autouse=True)
def here(tmp_path: Path, corpus: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("WINNOW_DEBUG", raising=False)


@pytest.fixture
def winnow(
    mark_filter: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str]]:
    """Runs the command with a filter that is no model; its exit code and what it says."""
    import filter.content_filter

    def from_pretrained(model: str | None, **options: Any) -> Any:
        made = mark_filter()
        made.keep = options["keep"]
        made.threshold = options["threshold"] or made.threshold
        return made

    monkeypatch.setattr(
        mark_filter, "from_pretrained", staticmethod(from_pretrained), raising=False
    )
    monkeypatch.setattr(filter.content_filter, "ContentFilter", mark_filter)

    def call(*arguments: str) -> tuple[int, str]:
        capsys.readouterr()
        code = run(["run", *arguments])
        out, err = capsys.readouterr()
        assert out == ""
        return code, err

    return call


def test_the_summary_is_said_and_written(winnow: Any) -> None:
    code, said = winnow("corpus/**/*.jsonl", "-o", "out")
    assert code == 1
    summary = json.loads(Path("out/summary.json").read_bytes())
    characters = sum(
        len(json.loads(line)["text"])
        for name in ("a.jsonl", "b/a.jsonl")
        for line in Path("out", name).read_bytes().splitlines()
    )
    expected = {
        "pages": 10,
        "characters": characters,
        "characters_cut": 40,
        "share_cut": round(40 / characters, 6),
        "labels": {"ad": {"spans": 10, "characters": 40, "share": round(40 / characters, 6)}},
        "hidden_characters": 0,
        "rejects": 1,
        "shards": 3,
        "input_bytes": sum(path.stat().st_size for path in Path("corpus").rglob("*.jsonl")),
        "engine": "marks/text/cpu",
        "model": "0123456789ab",
    }
    assert {key: summary[key] for key in expected} == expected
    assert summary["seconds"] > 0
    assert summary["settings"]["adds"] == "clean"
    lines = said.splitlines()
    assert lines[0].startswith(f"winnow: 3 shards, 10 pages, {characters:,} characters, ")
    assert f"{40 / characters:.2%} cut (ad {40 / characters:.2%}); 1 bad record; " in lines[0]
    assert lines[0].endswith("marks/text/cpu, model 0123456789ab")
    assert lines[1] == f"winnow: bad records are in {Path.cwd()}/out/.winnow/rejects"
    assert len(lines) == 2


def test_a_job_that_is_done_says_so_again(winnow: Any) -> None:
    first, _ = winnow("corpus/**/*.jsonl", "-o", "out")
    before = Path("out/a.jsonl").stat()
    second, said = winnow("corpus/**/*.jsonl", "-o", "out")
    assert (first, second) == (1, 1)
    assert "10 pages" in said and ", 0 a second" in said
    assert Path("out/a.jsonl").stat().st_mtime_ns == before.st_mtime_ns


def test_quiet_says_nothing_and_a_clean_corpus_is_0(winnow: Any) -> None:
    assert winnow("corpus/a.jsonl", "-o", "out", "-q") == (0, "")
    assert not Path("out/.winnow/rejects").exists()


def test_rejects_go_where_they_are_asked_for_with_place_and_reason(winnow: Any) -> None:
    assert winnow("corpus/**/*.jsonl", "-o", "out", "--rejects", "bad", "-q")[0] == 1
    (path,) = (path for path in Path("bad").rglob("*") if path.is_file())
    assert path == Path("bad/b/a.jsonl.jsonl")
    (bad,) = map(json.loads, path.read_bytes().splitlines())
    assert bad == {
        "file": str(Path("corpus/b/a.jsonl").absolute()),
        "line": 2,
        "error": "not JSON: Expecting property name enclosed in double quotes at column 2",
        "raw": "{broken",
    }


def test_spans_can_be_added_rather_than_cleaned_text(winnow: Any) -> None:
    winnow("corpus/a.jsonl", "-o", "out", "--format", "spans", "-q")
    record = json.loads(Path("out/a.jsonl").read_bytes().splitlines()[0])
    assert record["spans"] == [
        {"start": 10, "end": 14, "label": "ad", "score": 0.9, "text": "【广告】"}
    ]
    assert "clean_text" not in record


@pytest.mark.parametrize(
    ("name", "compress"),
    [
        ("broken.jsonl.gz", gzip.compress),
        ("broken.jsonl.xz", lzma.compress),
        ("broken.jsonl.zst", zstandard.compress),
    ],
)
@pytest.mark.parametrize("left", [0.99, 0.7])
def test_a_shard_that_breaks_off_gives_what_can_be_read_and_the_job_goes_on(
    winnow: Any, line: Any, name: str, compress: Callable[[bytes], bytes], left: float
) -> None:
    noise = Random(0)  # which compresses badly, so that there are many blocks
    whole = compress(b"".join(line(n, noise.randbytes(2000).hex()) for n in range(100)))
    Path("corpus", name).write_bytes(whole[: int(len(whole) * left)])
    code, said = winnow("corpus/*.*", "-o", "out")
    assert code == 1
    with open_bytes(str(Path("out", name))) as lines:
        records = lines.readlines()
    assert 100 * left - 40 < len(records) <= 100
    assert [json.loads(record)["id"] for record in records] == list(range(len(records)))
    (bad,) = Path("out/.winnow/rejects", f"{name}.jsonl").read_bytes().splitlines()
    error = json.loads(bad)["error"]
    assert f"{name}: broken compressed file: " in error
    assert error.endswith(f"(after {len(records)} records)")
    assert Path("out/a.jsonl").stat().st_size > 0
    assert "1 bad record" in said


def test_shards_without_a_page_are_written_all_the_same(winnow: Any) -> None:
    Path("corpus/bad.jsonl").write_bytes(b"{\n[]\n")
    assert winnow("corpus/bad.jsonl", "corpus/c.jsonl", "-o", "out", "-q")[0] == 1
    assert Path("out/bad.jsonl").read_bytes() == Path("out/c.jsonl").read_bytes() == b""
    assert json.loads(Path("out/summary.json").read_bytes())["rejects"] == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("corpus", "-o", "out"), "corpus: is a directory; name the files in it"),
        (("corpus/a.jsonl", "-o", "corpus"), "would be overwritten, and is an input"),
        (("corpus/a.jsonl", "-o", "out", "--format", "cleaned"), "(did you mean 'clean'?)"),
        (("corpus/a.jsonl", "-o", "out", "--sidecar", "--format", "spans"), "give one of them"),
        (("corpus/a.jsonl", "-o", "out", "--floor", "0.2"), "--floor is for --sidecar"),
        *(
            (("corpus/a.jsonl", "-o", "out", "--sidecar", "--floor", floor), "between 0 and 1, not")
            for floor in ("-0.1", "1.5", "50", "nan")
        ),
        (("corpus/a.jsonl", "-o", "out", "--workers", "0"), "--workers"),
        (("corpus/a.jsonl",), "--output"),
        (("-o", "out"), "FILES"),
    ],
)
def test_what_cannot_be_meant_is_refused(
    winnow: Any, arguments: tuple[str, ...], message: str
) -> None:
    code, said = winnow(*arguments)
    assert code == 2
    assert message in said
    assert not Path("out").exists()


def test_a_pattern_that_matches_its_own_outputs_goes_on_and_is_not_fed_with_them(
    winnow: Any,
) -> None:
    assert winnow("**/*.jsonl", "-o", "out", "-q")[0] == 1
    assert winnow("**/*.jsonl", "-o", "out", "-q")[0] == 1
    assert json.loads(Path("out/summary.json").read_bytes())["shards"] == 3


def test_a_log_gets_a_line_now_and_then(winnow: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "LINE_SECONDS", 0.0)
    _, said = winnow("corpus/**/*.jsonl", "-o", "out")
    lines = said.splitlines()[:-2]
    assert len(lines) > 10
    assert lines[0].startswith("winnow: 0.0% done, 0 pages, 0 characters a second")
    assert lines[-1].startswith("winnow: 100.0% done, 10 pages, ")
    assert any(line.endswith(" left") for line in lines)
    shares = [float(line.split()[1].rstrip("%")) for line in lines]
    assert shares == pytest.approx(sorted(shares), abs=2)  # pages in work are estimated


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(1, "1 s"), (89, "89 s"), (90, "2 min"), (3599, "1 h 00 min"), (11_000, "3 h 03 min"),
     (200_000, "2 d 7 h")],
)  # fmt: skip
def test_time_left_is_said_as_people_do(seconds: float, shown: str) -> None:
    assert progress._duration(seconds) == shown


def command(*arguments: str) -> subprocess.Popen[str]:
    """The command in a process of its own."""
    code = f"import sys; sys.path.insert(0, {str(ROOT)!r}); from filter.cli.app import main; main()"
    return subprocess.Popen(
        [sys.executable, "-c", code, "run", *arguments],
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def wait_for(pattern: str, process: subprocess.Popen[str]) -> None:
    """Waits for a file that the process writes below `out`."""
    deadline = time.monotonic() + 120
    while not list(Path("out").glob(pattern)):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.001)


@pytest.fixture
def real(tiny_model: Path, sample: str, line: Any) -> tuple[str, ...]:
    """A job for a real model that takes a second or so."""
    Path("corpus/long.jsonl").write_bytes(b"".join(line(n, sample * 4) for n in range(60)))
    Path("corpus/page.txt").write_text(sample, encoding="utf-8")
    options = ("--model", str(tiny_model), "--engine", "onnx", "--threads", "1")
    return ("corpus/**/*.*", *options)


def test_killed_at_work_again_and_again_a_job_ends_with_the_same_bytes(
    real: tuple[str, ...], written: Any
) -> None:
    for pattern in (".winnow/job.json", ".winnow/parts/**/.*.tmp", ".winnow/done/*"):
        process = command(*real, "-o", "out")
        wait_for(pattern, process)
        process.kill()
        process.communicate()
    assert command(*real, "-o", "out").wait() == 1
    assert command(*real, "-o", "undisturbed").wait() == 1
    assert written(Path("out")) == written(Path("undisturbed"))


@pytest.mark.parametrize("workers", ["1", "2"])
def test_ctrl_c_is_130_and_says_how_to_go_on(real: tuple[str, ...], workers: str) -> None:
    process = command(*real, "-o", "out", "--workers", workers)
    wait_for(".winnow/parts/**/.*.tmp", process)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: workers get it too
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert said == "winnow: interrupted; the same command goes on where it was\n"
