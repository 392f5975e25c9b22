"""``winnow convert`` and ``winnow corpus``: files in, files out, and what is said of them."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import pytest

pytest.importorskip("datasketch")

Winnow = Callable[..., Any]

TEXT = "😀深入轴承推进。"
CHARACTERS = [chr(0x4E00 + i) for i in range(2000)]


def task(number: int, start: int = 4, end: int = 6, text: str = "轴承") -> dict[str, Any]:
    value = {"start": start, "end": end, "text": text, "labels": ["keyword"]}
    result = [{"id": "r1", "type": "labels", "value": value}]
    return {"id": number, "data": {"text": TEXT}, "annotations": [{"result": result}]}


def write_json(name: str, *tasks: Any) -> str:
    Path(name).write_text(json.dumps(tasks), "utf-8")
    return name


def write_corpus(name: str, numbers: range, sources: int = 10) -> str:
    lines = []
    for i in numbers:
        text = "".join(Random(i).choices(CHARACTERS, k=60))
        spans = [{"start": 5, "end": 15, "label": "ad", "score": 0.5}]
        record = {"id": f"p{i}", "text": text, "spans": spans, "source": f"s{i % sources}"}
        lines.append(json.dumps(record, ensure_ascii=False) + "\n")
    Path(name).write_text("".join(lines), "utf-8")
    return name


def test_an_export_becomes_a_corpus_and_says_what_was_corrected(winnow: Winnow) -> None:
    unlabelled = {"id": 3, "data": {"text": "好"}, "annotations": []}
    write_json("export.json", task(1), task(2), unlabelled)
    result = winnow("convert", "export.json", "out.jsonl")
    assert (result.code, result.out) == (0, b"")
    assert result.err.splitlines() == [
        "winnow: 2 pages, 2 spans (keyword 2)",
        "winnow: tasks without an annotation, left out: 1",
        "winnow: pages with offsets in UTF-16 units, corrected: 2",
    ]
    for line in Path("out.jsonl").read_text("utf-8").splitlines():
        record = json.loads(line)
        (span,) = record["spans"]
        assert record["text"][span["start"] : span["end"]] == "轴承"


@pytest.mark.parametrize("way", ["label-studio", "doccano", "conll", "jsonl"])
def test_formats_go_through_pipes_and_come_back(winnow: Winnow, way: str) -> None:
    corpus = Path(write_corpus("in.jsonl", range(3)))
    there = winnow("convert", "-", "-", "--to", way, stdin=corpus.read_bytes())
    assert there.code == 0
    back = winnow("convert", "-", "-", "--to", "jsonl", "-q", stdin=there.out)
    assert (back.code, back.err) == (0, "")
    given = [json.loads(line) for line in corpus.read_text("utf-8").splitlines()]
    for record in given:
        del record["spans"][0]["score"]
    assert back.records == given


def test_compressed_files_and_a_labelling_configuration(winnow: Winnow) -> None:
    write_corpus("in.jsonl", range(3))
    packed = winnow("convert", "in.jsonl", "packed.json.gz", "--label-config", "config.xml")
    assert packed.code == 0
    assert '<Label value="ad"' in Path("config.xml").read_text("utf-8")
    assert winnow("convert", "packed.json.gz", "out.conll.zst").code == 0
    assert winnow("convert", "out.conll.zst", "-", "--to", "jsonl").records[2]["id"] == "p2"


def test_a_span_that_fits_nowhere_is_refused_with_file_record_and_span(winnow: Winnow) -> None:
    write_json("export.json", task(1), task(2, 1, 3, "轴承"), task(3))
    result = winnow("convert", "export.json", "out.jsonl")
    assert result.code == 2
    assert result.err.startswith('winnow: error: export.json[1]: task 2: region r1 (1 to 3, "keyw')
    assert result.err.count("\n") == 1
    assert not os.path.exists("out.jsonl")
    result = winnow("convert", "export.json", "out.jsonl", "--rejects", "bad.jsonl")
    assert result.code == 1
    assert "records rejected: 1" in result.err
    assert len(Path("out.jsonl").read_text("utf-8").splitlines()) == 2
    (bad,) = map(json.loads, Path("bad.jsonl").read_text("utf-8").splitlines())
    assert (bad["file"], bad["record"], bad["raw"]["text"]) == ("export.json", 1, TEXT)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("convert", "no.jsonl", "o.jsonl"), "no.jsonl: no such file"),
        (("convert", "page.txt", "o.jsonl"), "name it with --from: jsonl, label-studio, doccano"),
        (("convert", "in.jsonl", "o.xml"), "name it with --to: jsonl, label-studio, doccano"),
        (("convert", "in.jsonl", "o.x", "--to", "connl"), "did you mean 'conll'?"),
        (("convert", "in.jsonl", "o.x", "--from", "json"), "did you mean 'jsonl'?"),
        (("convert", "in.jsonl", "in.jsonl"), "in.jsonl: exists already; --force overwrites it"),
        (("convert", "in.jsonl", "o.jsonl", "--offsets", "utf16"), "did you mean 'utf-16'?"),
        (("convert", "in.jsonl", "o.jsonl", "--on-overlap", "last"), "known: refuse, first"),
        (("corpus", "check", "no.jsonl"), "no.jsonl: no such file"),
        (("convert", "empty.jsonl", "o.jsonl"), "empty.jsonl: is empty"),
        (("convert", "none.json", "o.jsonl"), "none.json: holds no records"),
        (("convert", "gbk.jsonl", "o.jsonl"), "gbk.jsonl:1: not UTF-8 (byte "),
        (("convert", "broken.conll", "o.jsonl"), 'broken.conll:2: "二" does not end in a tag'),
        (("convert", "broken.conll", "o.jsonl"), "--rejects FILE sets such records aside"),
        (("corpus", "stats", "gbk.jsonl"), "gbk.jsonl:1: not UTF-8 (byte "),
        (("corpus", "stats", "doccano.jsonl"), "spans of a label tool under 'label'; winnow conv"),
        (("corpus", "split", "tasks.json", "-o", "d"), "makes a corpus of Label Studio's tasks"),
        (("corpus", "check", "in.jsonl", "in.jsonl"), "in.jsonl: named twice"),
        (("corpus", "split", "empty.jsonl", "-o", "d"), "there is no page to split"),
        (("corpus", "split", "in.jsonl", "-o", "d", "--test", "0.9"), "leave nothing"),
        (("corpus", "check", "in.jsonl", "--similarity", "0"), "--similarity must be above 0"),
        (("corpus", "check", "in.jsonl", "--format", "tabel"), "did you mean 'table'?"),
        (("corpus", "stats", "broken.jsonl"), "broken.jsonl:1: not JSON"),
        (("corpus", "split", "in.jsonl"), "--output"),
        (("corpus", "split", "in.jsonl", "-o", "d", "--by", "site"), "unknown grouping 'site'"),
        (("corpus", "split", "in.jsonl", "-o", "d", "--tune", "1"), "--tune must be at least 0"),
        (("corpus", "split", "two.jsonl", "-o", "d"), "20 pages are 2 groups by sources"),
        (("corpus", "split", "broken.jsonl", "-o", "d"), "broken.jsonl:1: not JSON"),
        (("corpus", "chekc"), "'chekc'"),
    ],
)
def test_usage_errors_are_one_line_and_touch_nothing(
    winnow: Winnow, arguments: tuple[str, ...], message: str
) -> None:
    write_corpus("in.jsonl", range(3))
    write_corpus("two.jsonl", range(20), sources=2)
    Path("page.txt").write_text("一篇文章。\n", "utf-8")
    Path("broken.jsonl").write_text("{\n", "utf-8")
    Path("broken.conll").write_text("一 O\n二\n", "utf-8")
    Path("empty.jsonl").write_text("", "utf-8")
    Path("none.json").write_text("[]", "utf-8")
    Path("gbk.jsonl").write_bytes('{"text": "一篇文章"}\n'.encode("gbk"))
    Path("doccano.jsonl").write_text('{"text": "一二三", "label": [[0, 2, "ad"]]}\n', "utf-8")
    write_json("tasks.json", task(1))
    before = sorted(os.listdir())
    result = winnow(*arguments)
    assert (result.code, result.out) == (2, b"")
    assert result.err.startswith("winnow: error: ")
    assert result.err.count("\n") == 1
    assert message in result.err
    assert sorted(os.listdir()) == before


def test_a_corpus_is_split_without_a_leak_and_checked(winnow: Winnow) -> None:
    write_corpus("in.jsonl", range(60), sources=20)
    result = winnow("corpus", "split", "in.jsonl", "-o", "parts", "--tune", "0.2", "--test", "0.2")
    assert result.code == 0
    shown = result.out.decode()
    for part in ("parts/train.jsonl", "parts/tune.jsonl", "parts/test.jsonl", "pages", "of ad"):
        assert part in shown
    lines = {name: Path("parts", name).read_text("utf-8").splitlines()
             for name in ("train.jsonl", "tune.jsonl", "test.jsonl")}  # fmt: skip
    # Records are as they were, fields that Winnow does not know included.
    assert sorted(line for part in lines.values() for line in part) == sorted(
        Path("in.jsonl").read_text("utf-8").splitlines()
    )
    assert [len(part) for part in lines.values()] == [36, 12, 12]
    parts = [f"parts/{name}" for name in lines]
    assert winnow("corpus", "check", *parts).code == 0
    again = winnow("corpus", "split", "in.jsonl", "-o", "parts", "--tune", "0.2", "--test", "0.2")
    assert (again.code, "exists already" in again.err) == (2, True)
    arguments = ("--tune", "0.2", "--test", "0.2", "--force")
    assert winnow("corpus", "split", "in.jsonl", "-o", "parts", *arguments).code == 0
    assert Path("parts/tune.jsonl").read_text("utf-8").splitlines() == lines["tune.jsonl"]


def test_a_split_is_compressed_as_its_input_is(winnow: Winnow) -> None:
    write_corpus("in.jsonl", range(40))
    winnow("convert", "in.jsonl", "in.jsonl.zst")
    assert winnow("corpus", "split", "in.jsonl.zst", "-o", "parts", "--by", "page").code == 0
    assert sorted(os.listdir("parts")) == ["test.jsonl.zst", "train.jsonl.zst", "tune.jsonl.zst"]


def test_problems_exit_with_one_and_are_listed(winnow: Winnow) -> None:
    write_corpus("a.jsonl", range(10))
    write_corpus("b.jsonl", range(9, 12), sources=100)
    result = winnow("corpus", "check", "a.jsonl", "b.jsonl")
    assert (result.code, result.err) == (1, "")
    assert "problem: duplicate across files: 1\n  b.jsonl 'p9': copy of a.jsonl" in (
        result.out.decode()
    )
    result = winnow("corpus", "check", "a.jsonl", "b.jsonl", "--format", "json")
    assert result.code == 1
    checks = {finding["check"] for finding in json.loads(result.out)["problems"]}
    assert "duplicate across files" in checks


def test_what_looks_done_and_is_not_is_said(winnow: Winnow) -> None:
    Path("prose.jsonl").write_text('{"text": "一篇文章"}\n', "utf-8")
    assert "is --from right?" in winnow("convert", "prose.jsonl", "out.jsonl").err
    assert (
        "1 pages (1 unlabelled), 0 spans" in winnow("corpus", "stats", "prose.jsonl").out.decode()
    )
    record = '{"text": "😀一二三", "label": [[2, 4, "ad"]]}'
    Path("doccano.jsonl").write_text(f"{record}\n", "utf-8")
    result = winnow("convert", "doccano.jsonl", "shifted.jsonl")
    assert (result.code, "--offsets utf-16 if spans" in result.err) == (0, True)
    result = winnow("convert", "doccano.jsonl", "right.jsonl", "--offsets", "utf-16")
    assert "if spans" not in result.err
    Path("empty.jsonl").write_text("", "utf-8")
    result = winnow("corpus", "check", "empty.jsonl")
    assert (result.code, "empty.jsonl: holds no page" in result.out.decode()) == (1, True)


def test_counts_come_as_tables_and_as_json(winnow: Winnow) -> None:
    write_corpus("a.jsonl", range(10))
    table = winnow("corpus", "stats", "a.jsonl").out.decode()
    assert "10 pages, 10 spans" in table
    assert "10 sources" in table
    stats = json.loads(winnow("corpus", "stats", "a.jsonl", "--format", "json").out)
    assert (stats["pages"], stats["labels"]["ad"]["characters"]) == (10, 100)


def test_help_lists_the_verbs_as_elsewhere(winnow: Winnow) -> None:
    assert "corpus " in winnow("--help").out.decode()
    for arguments in (("corpus",), ("corpus", "-h")):
        result = winnow(*arguments)
        assert result.code == 0
        assert all(verb in result.out.decode() for verb in ("check", "stats", "split"))
