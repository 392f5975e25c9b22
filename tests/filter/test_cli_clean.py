"""``winnow clean``: what comes out, and where."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from filter.files import read_bytes

ROOT = Path(__file__).parents[2]
Winnow = Callable[..., Any]

PAGE = "第一句【买吧】。\r\n第二句〔首页〕。"
CLEAN = "第一句。\r\n第二句。"
AD = {"start": 3, "end": 7, "label": "ad", "score": 0.9, "text": "【买吧】"}
LINK = {"start": 13, "end": 17, "label": "link", "score": 0.9, "text": "〔首页〕"}
MADE_BY = {"engine": "pattern/text/cpu", "model": "0123456789ab"}


def write(name: str, text: str, *, encoding: str = "utf-8") -> str:
    Path(name).write_bytes(text.encode(encoding))
    return name


def records(*values: dict[str, Any]) -> str:
    return "".join(json.dumps(value, ensure_ascii=False) + "\n" for value in values)


def test_a_page_comes_out_without_its_spam_and_otherwise_byte_for_byte(winnow: Winnow) -> None:
    result = winnow("clean", write("page.txt", PAGE))
    assert (result.code, result.out, result.err) == (0, CLEAN.encode(), "")


@pytest.mark.parametrize("arguments", [(), ("-",)])
def test_stdin_is_read(winnow: Winnow, arguments: tuple[str, ...]) -> None:
    result = winnow("clean", *arguments, stdin=PAGE.encode("gb18030"))
    assert (result.code, result.out) == (0, CLEAN.encode())


def test_an_empty_page_comes_out_empty(winnow: Winnow) -> None:
    result = winnow("clean", write("empty.txt", ""))
    assert (result.code, result.out, result.err) == (0, b"", "")


def test_several_pages_are_parted_by_a_line_break_where_they_lack_one(winnow: Winnow) -> None:
    pages = ("a", "【x】", "b\n", "c")
    names = [write(f"{number}.txt", text) for number, text in enumerate(pages)]
    assert winnow("clean", *names).out == b"a\nb\nc"


def test_a_directory_gets_a_file_a_source_of_the_same_name(winnow: Winnow) -> None:
    Path("in").mkdir()
    names = [write("in/a.txt", PAGE), write("in/b.txt", "b"), write("in/c.jsonl", "")]
    result = winnow("clean", *names, "-o", "out/")
    assert (result.code, result.out) == (0, b"")
    written = {path.name: path.read_bytes() for path in Path("out").iterdir()}
    assert written == {"a.txt": CLEAN.encode(), "b.txt": b"b", "c.jsonl": b""}


def test_records_keep_their_fields_and_get_the_cleaned_text(winnow: Winnow) -> None:
    record = {"url": "u", "text": PAGE, "n": 1}
    (cleaned,) = winnow("clean", write("pages.jsonl", records(record))).records
    assert cleaned == {**record, "clean_text": CLEAN, "removed": [AD, LINK], "winnow": MADE_BY}
    assert list(cleaned)[:3] == ["url", "text", "n"]


def test_records_of_several_files_come_out_in_order(winnow: Winnow) -> None:
    first = write("a.jsonl", records(*({"id": n, "text": f"{n}【x】"} for n in range(5))))
    second = write("b.jsonl", records({"id": 5, "text": "5"}))
    result = winnow("clean", first, second)
    assert [(r["id"], r["clean_text"]) for r in result.records] == [(n, f"{n}") for n in range(6)]


@pytest.mark.parametrize("extension", ["gz", "xz", "zst"])
def test_compressed_in_compressed_out(winnow: Winnow, extension: str) -> None:
    plain = write("pages.jsonl", records({"text": PAGE}))
    assert winnow("clean", plain, "-o", f"packed.jsonl.{extension}").code == 0
    result = winnow("clean", f"packed.jsonl.{extension}", "-o", f"again.jsonl.{extension}")
    assert result.code == 0
    assert json.loads(read_bytes(f"again.jsonl.{extension}"))["clean_text"] == CLEAN
    assert Path(f"again.jsonl.{extension}").read_bytes()[:1] != b"{"


def test_the_format_and_the_keys_can_be_named(winnow: Winnow) -> None:
    data = records({"nr": 7, "body": PAGE}).encode()
    result = winnow(
        "clean", "-", "--input-format", "jsonl", "--text-key", "body", "--id-key", "nr",
        "--removed", "cut.jsonl", stdin=data,
    )  # fmt: skip
    assert result.records[0]["clean_text"] == CLEAN
    assert json.loads(Path("cut.jsonl").read_bytes())["id"] == 7


def test_what_was_cut_is_kept_and_makes_the_page_again(winnow: Winnow) -> None:
    from filter.spans import Span, restore

    winnow("clean", write("page.txt", PAGE), "--removed", "cut.jsonl.gz")
    record = json.loads(read_bytes("cut.jsonl.gz"))
    assert record == {"id": "page.txt", "removed": [AD, LINK], "winnow": MADE_BY}
    assert restore(CLEAN, [Span(**span) for span in record["removed"]]) == PAGE


@pytest.mark.parametrize(
    ("keep", "expected"),
    [
        (("--keep", "link"), "第一句。\r\n第二句〔首页〕。"),
        (("--keep", "link", "--keep", "ad"), PAGE),
        (("--keep", "link, ad"), PAGE),
    ],
)
def test_kinds_can_be_left_in(winnow: Winnow, keep: tuple[str, ...], expected: str) -> None:
    assert winnow("clean", write("page.txt", PAGE), *keep).out.decode() == expected


def test_options_reach_the_filter(winnow: Winnow, pattern_filter: Any) -> None:
    result = winnow(
        "clean", write("page.txt", PAGE), "-m", "some/model", "--device", "cpu", "--engine", "onnx",
        "--dtype", "int8", "--threshold", "0.25", "--batch-tokens", "512", "--keep", "ad",
    )  # fmt: skip
    assert result.code == 0
    assert pattern_filter.opened == [
        {
            "model": "some/model",
            "device": "cpu",
            "engine": "onnx",
            "dtype": "int8",
            "threshold": 0.25,
            "max_batch_tokens": 512,
            "threads": None,
            "keep": ("ad",),
        }
    ]


def test_a_prose_loss_picks_the_threshold_from_the_curve(
    winnow: Winnow, pattern_filter: Any
) -> None:
    page = write("page.txt", PAGE)
    assert winnow("clean", page, "--max-prose-loss", "0.01").code == 0
    assert pattern_filter.thresholds == [0.75]


def test_the_limit_counts_pages_over_all_files(winnow: Winnow) -> None:
    names = [write(f"{n}.jsonl", records({"text": f"{n}-1"}, {"text": f"{n}-2"})) for n in range(3)]
    assert [r["text"] for r in winnow("clean", *names, "--limit", "3").records] == [
        "0-1",
        "0-2",
        "1-1",
    ]
    assert winnow("clean", *names, "--limit", "0").out == b""


def test_verbose_says_what_was_done_and_with_what(winnow: Winnow) -> None:
    err = winnow("clean", write("page.txt", PAGE), "-v").err
    assert "1 page, 18 characters" in err
    assert "8 cut in 2 spans (ad 1, link 1)" in err
    assert "pattern/text/cpu, model 0123456789ab" in err


def test_a_file_that_is_there_is_overwritten_only_by_force(winnow: Winnow) -> None:
    page = write("page.txt", PAGE)
    before = write("out.txt", "before")
    for arguments in (("-o", "out.txt"), ("--removed", "out.txt"), ("--rejects", "out.txt")):
        result = winnow("clean", page, *arguments)
        assert (result.code, result.out) == (2, b"")
        assert "out.txt: exists already; --force overwrites it" in result.err
    assert Path(before).read_text() == "before"
    assert winnow("clean", page, "-o", "out.txt", "--force").code == 0
    assert Path(before).read_bytes() == CLEAN.encode()


def test_a_page_can_be_cleaned_in_place(winnow: Winnow) -> None:
    page = write("page.txt", PAGE)
    assert winnow("clean", page, "-o", "page.txt", "--force").code == 0
    assert Path("page.txt").read_bytes() == CLEAN.encode()


def test_a_plain_run_imports_no_library_that_it_does_not_need(tiny_model: Path) -> None:
    """A cold start is what a short page costs most."""
    heavy = (
        *("torch", "transformers", "datasets", "rich", "pydantic", "yaml", "tokenizers"),
        *("lxml", "trafilatura", "resiliparse", "fastwarc", "pyarrow", "ray"),
    )
    code = (
        "import sys\n"
        "from filter.cli.app import run\n"
        "code = run(['clean', '-', '--engine', 'onnx', '--model', sys.argv[1]])\n"
        f"print([name for name in {heavy!r} if name in sys.modules], file=sys.stderr)\n"
        "sys.exit(code)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tiny_model)],
        input="机床和热线。".encode(),
        capture_output=True,
        cwd=ROOT,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr.decode().strip()) == (0, "[]")
