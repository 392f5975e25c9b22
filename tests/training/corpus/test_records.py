"""Reading labelled pages: what is accepted, and what every refusal names."""

from __future__ import annotations

import gzip
import json
import lzma
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from filter.errors import WinnowError
from filter.spans import Span
from training.corpus.arrays import ambiguous_mask, ignored_mask, label_array, span_ids
from training.corpus.records import CorpusError, LabelledPage, read_labelled

PAGE = {
    "id": "a1",
    "text": "深入轴承钢球推进。\n𠮷 广告",
    "spans": [
        {"start": 2, "end": 6, "label": "keyword"},
        {"start": 12, "end": 14, "label": "ad", "text": "广告"},
    ],
    "source": "site",
    "kind": "seo",
    "ambiguous": [[0, 1]],
    "note": 7,
}


def write(path: Path, *records: Any) -> Path:
    lines = "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records)
    path.write_text(lines, encoding="utf-8")
    return path


def refusal(path: Path, **options: Any) -> str:
    with pytest.raises(CorpusError) as caught:
        list(read_labelled(path, **options))
    message = str(caught.value)
    assert str(path) in message
    assert "\n" not in message
    return message


def test_a_record_becomes_a_page(tmp_path: Path) -> None:
    (page,) = read_labelled(write(tmp_path / "a.jsonl", PAGE))
    assert page == LabelledPage(
        id="a1",
        text=str(PAGE["text"]),
        spans=[Span(2, 6, "keyword", text="轴承钢球"), Span(12, 14, "ad", text="广告")],
        source="site",
        kind="seo",
        ambiguous=[(0, 1)],
        meta={"note": 7},
    )


@pytest.mark.parametrize(
    ("extension", "compress"),
    [
        (".gz", gzip.compress),
        (".xz", lzma.compress),
        (".zst", lambda data: zstandard.ZstdCompressor().compress(data)),
    ],
)
def test_compressed_files_read_like_plain_ones(
    tmp_path: Path, extension: str, compress: Any
) -> None:
    plain = write(tmp_path / "a.jsonl", PAGE, PAGE)
    packed = tmp_path / f"a.jsonl{extension}"
    packed.write_bytes(compress(plain.read_bytes()))
    assert list(read_labelled(packed)) == list(read_labelled(plain))


@pytest.mark.parametrize("content", [PAGE, [PAGE]])
def test_a_json_file_holds_one_page_or_a_list(tmp_path: Path, content: Any) -> None:
    path = tmp_path / "seed.json"
    path.write_text(json.dumps(content, indent=1), encoding="utf-8")
    assert [page.id for page in read_labelled(path)] == ["a1"]


def test_blank_lines_are_passed_over_and_still_counted(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text("\n\n" + json.dumps({"text": "好", "spans": []}) + "\n{", encoding="utf-8")
    assert next(iter(read_labelled(path))).id == "3"
    assert f"{path}:4: not JSON" in refusal(path)


def test_a_byte_order_mark_is_no_part_of_the_record(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(json.dumps(PAGE), encoding="utf-8-sig")
    assert next(iter(read_labelled(path))).id == "a1"


def test_plain_prose_is_a_clean_page_where_it_is_allowed(tmp_path: Path) -> None:
    path = write(tmp_path / "prose.jsonl", {"id": "p", "text": "好文章", "domain": "news"})
    assert "an empty list" in refusal(path)
    (page,) = read_labelled(path, require_spans=False)
    assert page.spans == []
    assert not page.labelled
    assert page.meta == {"domain": "news"}


def test_a_lone_surrogate_becomes_a_replacement_character(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"text": "a\\ud800b", "spans": []}\n', encoding="utf-8")
    assert next(iter(read_labelled(path))).text == "a\ufffdb"


def test_other_labels_are_the_users_to_name(tmp_path: Path) -> None:
    path = write(
        tmp_path / "a.jsonl",
        {"id": "x", "text": "广告", "spans": [{"start": 0, "end": 2, "label": "spam"}]},
    )
    for labels in (None, ["spam"]):
        (page,) = read_labelled(path, labels=labels)
        assert page.spans[0].label == "spam"
    assert "unknown label 'spam'" in refusal(path)


def with_spans(*spans: Any) -> dict[str, Any]:
    return {"id": "a1", "text": "一二三四五六", "spans": list(spans)}


def span(start: Any, end: Any, label: Any = "ad", **more: Any) -> dict[str, Any]:
    return {"start": start, "end": end, "label": label, **more}


@pytest.mark.parametrize(
    ("record", "parts"),
    [
        (with_spans(span(4, 7)), ["span 0", "4 to 7", "outside the page", "6 characters"]),
        (with_spans(span(-1, 2)), ["span 0", "-1 to 2", "outside"]),
        (with_spans(span(3, 3)), ["span 0", "start 3 must be less than end 3"]),
        (with_spans(span(0, 3), span(2, 4)), ["span 1", "overlaps span 0 (0 to 3)"]),
        (with_spans(span(3, 5), span(0, 2)), ["span 1", "comes before span 0 (3 to 5)", "sorted"]),
        (with_spans(span(0, 2, "keywrod")), ["'keywrod'", "did you mean 'keyword'?"]),
        (with_spans(span(0, 2, 5)), ["label must be a name, not 5"]),
        (with_spans(span("0", 2)), ["start must be a whole number", '"0"']),
        (with_spans(span(0, 2.0)), ["end must be a whole number", "2.0"]),
        (with_spans(span(True, 2)), ["start must be a whole number", "true"]),
        (with_spans({"start": 0, "end": 2}), ["span 0", "no 'label'"]),
        (with_spans([0, 2, "ad"]), ["span 0", "must be an object"]),
        (with_spans(span(0, 2, text="二三")), ["一二", "二三", "code points", "UTF-16"]),
        ({"id": "a1", "text": "一", "spans": 3}, ["'spans' must be a list, not 3"]),
        ({"id": "a1", "text": "一", "spans": [], "ambiguous": [[0]]}, ["range 0", "[start, end]"]),
        ({"id": "a1", "text": "一", "spans": [], "ambiguous": [[0, 2]]}, ["range 0", "outside"]),
        ({"id": "a1", "text": 5, "spans": []}, ["'text' must be a string, not 5"]),
        ({"id": "a1", "txt": "一", "spans": []}, ["no 'text'", "is it 'txt'?", "--text-key"]),
        ([1], ["expected a JSON object, found list"]),
    ],
)
def test_a_refusal_names_line_page_span_and_value(
    tmp_path: Path, record: Any, parts: list[str]
) -> None:
    message = refusal(write(tmp_path / "bad.jsonl", PAGE, record))
    assert "bad.jsonl:2: " in message
    for part in parts:
        assert part in message


def test_a_missing_file_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(WinnowError, match=r"nowhere\.jsonl"):
        list(read_labelled(tmp_path / "nowhere.jsonl"))


def test_arrays_have_an_entry_for_every_character(tmp_path: Path) -> None:
    (page,) = read_labelled(write(tmp_path / "a.jsonl", PAGE))
    assert label_array(page).tolist() == [0, 0, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 3, 3]
    assert label_array(page, ["ad", "keyword"])[[2, 12]].tolist() == [2, 1]
    assert span_ids(page)[[2, 5, 6, 12]].tolist() == [1, 1, 0, 2]
    assert np.flatnonzero(ambiguous_mask(page)).tolist() == [0]
    assert np.flatnonzero(ignored_mask(page)).tolist() == [0, 9, 11]
    with pytest.raises(CorpusError, match="unknown label 'ad'"):
        label_array(page, ["keyword"])


@given(st.data())
def test_labels_are_those_of_the_span_over_each_character(data: st.DataObject) -> None:
    text = data.draw(st.text(min_size=1, max_size=30))
    borders = sorted(data.draw(st.sets(st.integers(0, len(text)), max_size=8)))
    spans = [
        Span(start, end, label)
        for start, end in zip(borders[::2], borders[1::2], strict=False)
        for label in [data.draw(st.sampled_from(["keyword", "noise"]))]
    ]
    page = LabelledPage("p", text, spans)
    gold, ids = label_array(page), span_ids(page)
    for i in range(len(text)):
        over = [(n, s.label) for n, s in enumerate(spans, 1) if s.start <= i < s.end]
        assert ids[i] == (over[0][0] if over else 0)
        assert gold[i] == ({"keyword": 1, "noise": 6}[over[0][1]] if over else 0)
