"""What ``corpus check`` finds: each fault once, with its place, and nothing in a sound corpus."""

from __future__ import annotations

import json
from pathlib import Path
from random import Random
from typing import Any

import pytest

pytest.importorskip("datasketch")

from training.corpus.check import check_corpus, report_lines

CHARACTERS = [chr(0x4E00 + i) for i in range(2000)]


def prose(seed: int, length: int = 100) -> str:
    return "".join(Random(seed).choices(CHARACTERS, k=length))


def page(seed: int, label: str = "ad", **more: Any) -> dict[str, Any]:
    text = prose(seed)
    spans = [{"start": 10, "end": 14, "label": label}]
    return {"id": f"p{seed}", "text": text, "spans": spans, **more}


def write(path: Path, *records: Any) -> str:
    lines = (record if isinstance(record, str) else json.dumps(record) for record in records)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return str(path)


def found(result: dict[str, Any], kind: str = "problems") -> dict[str, list[str]]:
    checks: dict[str, list[str]] = {}
    for finding in result[kind]:
        checks.setdefault(finding["check"], []).append(finding["message"])
    return checks


def test_a_sound_corpus_has_no_findings(tmp_path: Path) -> None:
    a = write(tmp_path / "a.jsonl", *(page(i, source="x") for i in range(12)))
    b = write(tmp_path / "b.jsonl", *(page(100 + i, source="y") for i in range(12)))
    result = check_corpus([a, b])
    assert (result["pages"], result["problems"], result["warnings"]) == (24, [], [])
    assert list(report_lines(result)) == ["24 pages in 2 files: 0 problems, 0 warnings"]


def test_all_broken_records_are_named(tmp_path: Path) -> None:
    overlap = {"id": "o", "text": "一二三四", "spans": [
        {"start": 0, "end": 3, "label": "ad"}, {"start": 2, "end": 4, "label": "ad"}
    ]}  # fmt: skip
    a = write(tmp_path / "a.jsonl", page(1), "{", overlap, {"id": "n", "spans": []}, page(2))
    result = check_corpus([a])
    broken = found(result)["broken record"]
    assert [message.split(": ")[0] for message in broken] == [f"{a}:{n}" for n in (2, 3, 4)]
    assert "overlaps span 0" in broken[1]
    assert result["pages"] == 2


def test_copies_between_files_are_problems_and_within_one_warnings(tmp_path: Path) -> None:
    near = page(1)
    near["text"] = near["text"][:98] + "甲乙"
    again = {**page(2), "id": "again", "spans": []}
    a = write(tmp_path / "a.jsonl", page(1), page(2), again)
    b = write(tmp_path / "b.jsonl", {**page(2), "id": "other"}, {**near, "id": "near"}, page(5))
    result = check_corpus([a, b])
    problems = found(result)
    assert problems["duplicate across files"] == [f"{b} 'other': copy of {a} 'p2'"]
    (message,) = problems["near-duplicate across files"]
    assert message.startswith(f"{b} 'near': nearly a copy of {a} 'p1' (similarity 0.")
    assert found(result, "warnings")["duplicate within a file"] == [
        f"{a} 'again': copy of {a} 'p2', with other spans"
    ]


def test_a_source_on_two_sides_is_a_problem(tmp_path: Path) -> None:
    a = write(tmp_path / "a.jsonl", page(1, source="x"), page(2, source="y"), page(3))
    b = write(tmp_path / "b.jsonl", page(4, source="x"), page(5))
    assert found(check_corpus([a, b]))["source in several files"] == [
        f"'x': 1 page in {a}, 1 page in {b}"
    ]


def test_empty_pages_and_repeated_ids(tmp_path: Path) -> None:
    empty = {"id": "e", "text": " \n", "spans": []}
    a = write(tmp_path / "a.jsonl", empty, page(1), {**page(2), "id": "p1"})
    result = check_corpus([a])
    assert found(result) == {"empty page": [f"{a} 'e': has no character but blanks"]}
    assert "repeated id" in found(result, "warnings")


@pytest.mark.parametrize(
    ("common", "rare", "meant"),
    [
        ("keyword", "keyowrd", "'keyword'"),
        ("spam", "Spam", "'spam'"),
        ("related list", "related_list", "'related list'"),
        ("ad", "link", None),
        ("spam1", "spam2", None),
        ("广告", "链接", None),
    ],
)
def test_labels_that_are_slips_are_named(
    tmp_path: Path, common: str, rare: str, meant: str | None
) -> None:
    a = write(tmp_path / "a.jsonl", *(page(i, common) for i in range(30)), page(99, rare))
    problems = found(check_corpus([a]))
    if meant is None:
        assert not problems
    else:
        (message,) = problems["label that looks misspelt"]
        assert message == f"{rare!r} (1 span): did you mean {meant}?"


def test_two_kinds_that_are_both_common_are_no_slip(tmp_path: Path) -> None:
    records = [page(i, label) for i, label in enumerate(["spams", "spamx"] * 15)]
    assert not check_corpus([write(tmp_path / "a.jsonl", *records)])["problems"]


def test_rare_labels_and_blank_edges_are_warnings(tmp_path: Path) -> None:
    lines = {"id": "l", "text": "首页\n正文。 好", "spans": [
        {"start": 0, "end": 3, "label": "ad"}, {"start": 5, "end": 7, "label": "ad"}
    ]}  # fmt: skip
    a = write(tmp_path / "a.jsonl", *(page(i) for i in range(9)), lines)
    b = write(tmp_path / "b.jsonl", *(page(50 + i, "link") for i in range(10)))
    result = check_corpus([a, b])
    assert not result["problems"]
    warnings = found(result, "warnings")
    assert warnings["label with few spans"] == [f"{b}: 0 spans of 'ad'", f"{a}: 0 spans of 'link'"]
    # The first span is a whole line with its line break, which is how lines are cut.
    assert warnings["span that begins or ends with blanks"] == [f"{a} 'l': 5 to 7, '。 '"]


def test_a_string_that_is_labelled_here_and_not_there(tmp_path: Path) -> None:
    def with_string(seed: int, *, labelled: bool) -> dict[str, Any]:
        text = prose(seed, 50) + "钢球" + prose(seed + 1000, 50)
        spans = [{"start": 50, "end": 52, "label": "ad"}] if labelled else []
        return {"id": f"s{seed}", "text": text, "spans": spans}

    records = [with_string(i, labelled=i < 4) for i in range(7)]
    a = write(tmp_path / "a.jsonl", *records)
    (message,) = found(check_corpus([a]), "warnings")["string labelled and unlabelled"]
    assert message == f"'钢球': labelled 4 times, unlabelled 3 times, as in {a} 's4'"
    consistent = write(tmp_path / "b.jsonl", *records[:6])
    assert "string labelled and unlabelled" not in found(check_corpus([consistent]), "warnings")


def test_a_long_list_is_cut_in_the_report_and_whole_in_the_result(tmp_path: Path) -> None:
    a = write(tmp_path / "a.jsonl", page(1), *["{"] * 15)
    result = check_corpus([a])
    lines = list(report_lines(result))
    assert len(result["problems"]) == 15
    assert lines[0] == "problem: broken record: 15"
    assert lines[11] == "  and 5 more (--format json lists them all)"
