"""Labelled corpora as tables of `datasets`."""

from __future__ import annotations

from pathlib import Path

import pytest

from filter.errors import WinnowError
from filter.labels import LABELS
from filter.spans import Span
from training.corpus.formats.jsonl import write
from training.corpus.records import LabelledPage, read_labelled
from training.corpus.table import load_pages


def test_table_gives_the_pages_that_were_read(corpus: Path) -> None:
    path = corpus / "labelled.jsonl"
    table = load_pages([path], LABELS)
    pages = list(read_labelled(path))
    assert [(p.id, p.text, p.spans, p.source) for p in table] == [
        (p.id, p.text, p.spans, p.source) for p in pages
    ]
    assert table[-1].id == pages[-1].id
    assert len(table[2:5]) == 3


def test_parts_by_source_are_disjoint_and_whole(corpus: Path) -> None:
    table = load_pages([corpus / "labelled.jsonl"], LABELS)
    inside, outside = (table.part(["site-1"], inside=flag) for flag in (True, False))
    assert {page.source for page in inside} == {"site-1"}
    assert "site-1" not in {page.source for page in outside}
    assert len(inside) + len(outside) == len(table)


def test_pages_with_a_label_can_be_left_out(tmp_path: Path) -> None:
    path = tmp_path / "pages.jsonl"
    kinds: list[list[str]] = [["ad"], [], ["link", "ad"], ["link"]]
    pages = [
        LabelledPage(
            str(number), "甲乙丙丁", [Span(i, i + 1, label) for i, label in enumerate(own)]
        )
        for number, own in enumerate(kinds)
    ]
    with path.open("wb") as stream:
        write(pages, stream)
    table = load_pages([path], LABELS)
    assert [page.id for page in table.without(["ad"])] == ["1", "3"]
    assert [page.id for page in table.without(["ad", "link"])] == ["1"]
    assert len(table.without([])) == 4


def test_a_changed_file_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "pages.jsonl"
    path.write_text('{"id": "a", "text": "甲", "spans": []}\n', encoding="utf-8")
    assert len(load_pages([path], LABELS)) == 1
    path.write_text('{"id": "a", "text": "甲", "spans": []}\n' * 2, encoding="utf-8")
    assert len(load_pages([path], LABELS)) == 2


def test_broken_record_names_file_and_line(tmp_path: Path) -> None:
    path = tmp_path / "pages.jsonl"
    path.write_text('{"id": "a", "text": "甲", "spans": [{"start": 0, "end": 9, "label": "ad"}]}\n')
    with pytest.raises(WinnowError, match=r"pages\.jsonl:1"):
        load_pages([path], LABELS)
