"""``winnow spans``: the spans of a page as records, as a table, in colour."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

Winnow = Callable[..., Any]

PAGE = "句【买\n吧】。\x1b[2J〔首页〕"


def spans_of(record: dict[str, Any]) -> list[tuple[str, str]]:
    assert all(record["text"][s["start"] : s["end"]] == s["text"] for s in record["spans"])
    return [(s["label"], s["text"]) for s in record["spans"]]


def test_a_text_file_becomes_a_record(winnow: Winnow) -> None:
    Path("page.txt").write_text(PAGE, "utf-8")
    (record,) = winnow("spans", "page.txt").records
    assert list(record) == ["id", "text", "spans", "winnow"]
    assert record["id"] == "page.txt"
    assert spans_of(record) == [("ad", "【买\n吧】"), ("link", "〔首页〕")]


def test_a_directory_gets_a_file_of_records_a_source(winnow: Winnow) -> None:
    Path("page.txt").write_text(PAGE, "utf-8")
    assert winnow("spans", "page.txt", "-o", "out/").code == 0
    record = json.loads(Path("out/page.jsonl").read_bytes())
    assert len(spans_of(record)) == 2


def test_records_get_their_spans(winnow: Winnow) -> None:
    given = {"title": "t", "text": PAGE, "spans": "old", "last": 0}
    Path("pages.jsonl").write_text(json.dumps(given) + "\n")
    (record,) = winnow("spans", "pages.jsonl").records
    assert list(record) == ["title", "text", "spans", "last", "winnow"]
    assert len(spans_of(record)) == 2


def test_kinds_that_are_kept_are_not_listed(winnow: Winnow) -> None:
    (record,) = winnow("spans", "--keep", "ad", stdin=PAGE.encode()).records
    assert spans_of(record) == [("link", "〔首页〕")]


def test_what_is_listed_is_a_labelled_corpus(winnow: Winnow) -> None:
    from training.corpus.records import read_labelled

    assert winnow("spans", "-o", "labelled.jsonl", stdin=PAGE.encode()).code == 0
    (page,) = read_labelled("labelled.jsonl")
    assert [span.label for span in page.spans] == ["ad", "link"]


def test_a_table_has_a_line_a_span(winnow: Winnow) -> None:
    out = winnow("spans", "--format", "table", stdin=PAGE.encode()).out.decode()
    lines = [line.split() for line in out.splitlines()]
    assert lines == [
        ["-"],
        ["1", "6", "ad", "0.90", "【买␊吧】"],
        ["11", "15", "link", "0.90", "〔首页〕"],
    ]


def test_the_name_above_a_table_is_shown_whatever_is_in_it(winnow: Winnow) -> None:
    name = os.fsdecode(b"\xb1\xea\x1b[2J.txt")  # GB 18030, as old archives unpack
    Path(name).write_text(PAGE, "utf-8")
    out = winnow("spans", name, "--format", "table").out
    assert out.splitlines()[0].decode() == "\\udcb1\\udcea␛[2J.txt"
    records = ({"id": "a\n\ud800\x9b", "text": PAGE}, {"id": 7, "text": ""})
    Path("pages.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    result = winnow("spans", "pages.jsonl", "--format", "table")
    assert result.code == 0
    lines = result.out.decode().splitlines()
    assert (lines[0], lines[-1]) == ("a␊\\ud800\ufffd", "7")


def test_colours_mark_the_spans_and_nothing_in_a_page_acts_on_the_terminal(winnow: Winnow) -> None:
    out = winnow("spans", "--format", "color", stdin=PAGE.encode()).out.decode()
    legend, _, page = out.partition("\n")
    colour = dict(re.findall(r"\x1b\[([\d;]+)m (\w+) \x1b\[0m", legend))
    assert set(colour.values()) == {"ad", "link"}
    assert len(set(colour)) == 2
    ground = {label: code for code, label in colour.items()}
    assert page == (
        f"句\x1b[{ground['ad']}m【买\x1b[0m\n\x1b[{ground['ad']}m吧】\x1b[0m。␛[2J"
        f"\x1b[{ground['link']}m〔首页〕\x1b[0m"
    )


def test_an_unknown_format_is_answered_with_the_nearest(winnow: Winnow) -> None:
    result = winnow("spans", "--format", "tabel", stdin=PAGE.encode())
    assert result.code == 2
    assert "unknown format 'tabel' (did you mean 'table'?)" in result.err
