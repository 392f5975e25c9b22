"""What goes wrong is one line on stderr and an exit code, and costs nothing else."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Winnow = Callable[..., Any]
ROOT = Path(__file__).parents[2]
BINARY = b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 20


@pytest.fixture(autouse=True)
def page(winnow: Winnow) -> str:
    Path("page.txt").write_text("页【x】", "utf-8")
    return "page.txt"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("clean", "page.txt", "nothing.txt"), "nothing.txt: no such file"),
        (("clean", "page.txt", "."), ".: is a directory; name the files in it, such as ./*.txt"),
        (("clean", "page.txt", "-m", "missing"), "missing: no such model directory"),
        (("clean", "page.txt", "--threshold", "2"), "threshold must be above 0"),
        (("clean", "page.txt", "--threshold", "much"), "'--threshold'"),
        (("clean", "page.txt", "--max-prose-loss", "0.0001"), "the lowest is 0.001"),
        (
            ("clean", "page.txt", "--threshold", "0.5", "--max-prose-loss", "0.01"),
            "--threshold and --max-prose-loss exclude each other",
        ),
        (("clean", "page.txt", "--limit", "-1"), "--limit"),
        (("clean", "page.txt", "--input-format", "pdf"), "unknown input format 'pdf'"),
        (("clean", "page.txt", "-o", "no/such/out.txt"), "no/such/out.txt: cannot be written"),
        (("clean", "-", "-o", "out/"), "stdin has no name"),
        (("clean", "page.txt", "./page.txt", "-o", "out/"), "would both be written to out/page"),
        (("clean", "page.txt", "-o", "a", "--removed", "./a"), "./a: named for two outputs"),
        (("clean", "page.txt", "pages.jsonl"), "page.txt is text, pages.jsonl is jsonl"),
        (("clean", "--modle", "x"), "--modle"),
        (("cleen", "page.txt"), "'cleen'"),
        (("train",), "'--config'"),
        (("train", "-c", "smal"), "did you mean 'small'?"),
        (("train", "-c", "small", "optimiser.name=adamw"), "did you mean 'optimizer'?"),
        (("inject", "nothing.jsonl"), "nothing.jsonl: no such file"),
        (("tokenizer", "-o", "out"), "--base"),
    ],
)
def test_usage_errors_are_one_line_and_touch_nothing(
    winnow: Winnow, arguments: tuple[str, ...], message: str
) -> None:
    Path("pages.jsonl").write_text('{"text": ""}\n')
    before = sorted(os.listdir())
    result = winnow(*arguments)
    assert result.code == 2
    assert result.out == b""
    assert result.err.startswith("winnow: error: ")
    assert result.err.count("\n") == 1
    assert message in result.err
    assert sorted(os.listdir()) == before


def test_bad_lines_are_named_and_the_rest_goes_on(winnow: Winnow) -> None:
    Path("pages.jsonl").write_bytes(
        b'{"text": "1"}\n{"text": \n{"txet": "3"}\n{"text": "4"}\n\xff\n'
    )
    result = winnow("clean", "pages.jsonl")
    assert result.code == 1
    assert [record["clean_text"] for record in result.records] == ["1", "4"]
    places = [line.split(": ")[2] for line in result.err.splitlines()]
    assert places == ["pages.jsonl:2", "pages.jsonl:3", "pages.jsonl:5"]
    assert "did you mean 'txet'?" in result.err


def test_bad_lines_can_be_kept_apart(winnow: Winnow) -> None:
    Path("pages.jsonl").write_text('{"text": "1"}\n{"text": \n')
    result = winnow("clean", "pages.jsonl", "--rejects", "bad.jsonl")
    assert (result.code, result.err) == (1, "")
    (reject,) = map(json.loads, Path("bad.jsonl").read_text().splitlines())
    assert (reject["file"], reject["line"], reject["raw"]) == ("pages.jsonl", 2, '{"text": ')
    assert reject["error"].startswith("not JSON")


def test_a_file_that_cannot_be_read_is_passed_over(winnow: Winnow, page: str) -> None:
    Path("image.txt").write_bytes(BINARY)
    Path("cut.txt.gz").write_bytes(b"\x1f\x8b\x08")
    result = winnow("clean", "image.txt", "cut.txt.gz", page, "-o", "out/")
    assert result.code == 2
    assert os.listdir("out") == [page]
    lines = result.err.splitlines()
    assert len(lines) == 2
    assert "image.txt: not a text" in lines[0]
    assert "cut.txt.gz: broken compressed file" in lines[1]


def test_a_twenty_megabyte_line_is_a_page_like_any_other(winnow: Winnow) -> None:
    text = "长句子，" * 1_750_000
    line = json.dumps({"text": text + "【x】"}, ensure_ascii=False).encode()
    assert len(line) > 20_000_000
    result = winnow("clean", "-", "--input-format", "jsonl", stdin=line + b'\n{"text": "y"}')
    assert result.code == 0
    assert [len(record["clean_text"]) for record in result.records] == [len(text), 1]


def test_a_full_disk_is_one_line(winnow: Winnow, page: str) -> None:
    if not os.path.exists("/dev/full"):
        pytest.skip("this system has no /dev/full")
    result = winnow("clean", page, "-o", "/dev/full")
    assert result.code == 2
    assert result.err.startswith("winnow: error: ")
    assert result.err.count("\n") == 1


def test_debugging_shows_where_an_error_came_from(
    winnow: Winnow, monkeypatch: pytest.MonkeyPatch
) -> None:
    from filter.errors import UsageError

    monkeypatch.setenv("WINNOW_DEBUG", "1")
    with pytest.raises(UsageError):
        winnow("clean", "nothing.txt")


def test_an_absent_library_is_answered_with_the_extra(
    winnow: Winnow, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    monkeypatch.delitem(sys.modules, "training.trainer", raising=False)
    result = winnow("train", "-c", "small")
    assert result.code == 2
    assert result.err.endswith("pip install 'winnow-zh[train]'\n")
    assert result.err.count("\n") == 1


def test_help_and_version_are_no_errors(winnow: Winnow) -> None:
    for arguments in ((), ("--help",), ("clean", "-h")):
        result = winnow(*arguments)
        assert (result.code, result.err) == (0, "")
        assert result.out.startswith(b"Usage: winnow")
    assert winnow("--version").out.startswith(b"winnow ")


def start(*arguments: str) -> subprocess.Popen[bytes]:
    """A command in a process of its own, with pipes to all its ends."""
    code = (
        "import signal, sys; sys.path.insert(0, sys.argv.pop(1))\n"
        # A test run in the background of a shell inherits that SIGINT is ignored.
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "from filter.cli.app import main\nmain()"
    )
    return subprocess.Popen(
        [sys.executable, "-c", code, str(ROOT), *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def test_a_closed_pipe_ends_quietly(tiny_model: Path) -> None:
    with start("clean", "-", "--input-format", "jsonl", "-m", str(tiny_model)) as process:
        assert process.stdin and process.stdout and process.stderr
        process.stdout.close()
        process.stdin.write(b'{"text": "y"}\n' * 20)
        process.stdin.close()
        assert process.stderr.read() == b""
        assert process.wait(60) == 0


def test_an_interrupt_ends_with_130_and_leaves_no_half_of_a_file(
    tiny_model: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    arguments = ("--input-format", "jsonl", "-m", str(tiny_model), "-o", str(out / "a.jsonl"))
    with start("clean", "-", *arguments) as process:
        assert process.stdin and process.stderr
        # A bad line is reported as it is read: from then on the command is at work.
        process.stdin.write(b"bad\n")
        process.stdin.flush()
        assert select.select([process.stderr], [], [], 60)[0]
        assert b"bad record" in process.stderr.readline()
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 130
        assert process.stderr.read() == b""
    assert list(out.iterdir()) == []
