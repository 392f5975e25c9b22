"""Records in and out: text files and JSON Lines."""

from __future__ import annotations

import json
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from filter.documents import Adds, BadRecord, Document, document_format, json_line
from filter.errors import UsageError
from filter.files import atomic_write
from filter.spans import FilteredPage, Span

PAGE = FilteredPage(
    "甲乙广告丙",
    spans=(Span(2, 4, "ad", 0.9, "广告"),),
    removed=(Span(2, 4, "ad", 0.9, "广告"),),
    engine="onnx/int8/cpu",
    model_hash="0123456789ab",
)
SPAN = {"start": 2, "end": 4, "label": "ad", "score": 0.9, "text": "广告"}


def read(path: Path, **options: Any) -> list[Document | BadRecord]:
    return list(document_format(str(path), **options).read(str(path)))


def only_document(items: list[Document | BadRecord]) -> Document:
    (item,) = items
    assert isinstance(item, Document)
    return item


def written(path: str, document: Document, adds: Adds) -> bytes:
    """What the format of a file makes of a document in which `PAGE` was found."""
    stream = BytesIO()
    writer = document_format(path).writer(stream, adds=adds)
    writer.write(document, PAGE)
    writer.close()
    return stream.getvalue()


def bad(items: list[Document | BadRecord]) -> list[BadRecord]:
    return [item for item in items if isinstance(item, BadRecord)]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a.txt", "text"),
        ("a", "text"),
        ("-", "text"),
        ("a.jsonl", "jsonl"),
        ("b/a.JSONL.zst", "jsonl"),
        ("a.ndjson.gz", "jsonl"),
        ("jsonl", "text"),
        ("a.HTML", "html"),
        ("a.htm.gz", "html"),
        ("a.parquet", "parquet"),
        ("CC-MAIN-1.warc.gz", "warc"),
        ("CC-MAIN-1.warc.wet.gz", "warc"),
    ],
)
def test_the_format_goes_by_the_extension(name: str, expected: str) -> None:
    assert document_format(name).name == expected


def test_an_unknown_format_is_answered_with_the_nearest() -> None:
    with pytest.raises(UsageError, match=r"input format 'josnl' \(did you mean 'jsonl'\?\)"):
        document_format("a.txt", "josnl")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "gb18030"])
def test_a_text_file_is_one_page_in_any_encoding(tmp_path: Path, encoding: str) -> None:
    text = "第一行，中国的网站。\r\n\r\n第二行，我们的文章是这样的。\n"
    path = tmp_path / "page.txt"
    path.write_bytes(text.encode(encoding))
    document = only_document(read(path))
    assert (document.text, document.id) == (text, str(path))


def test_an_empty_file_is_an_empty_page(tmp_path: Path) -> None:
    (tmp_path / "empty.txt").touch()
    assert only_document(read(tmp_path / "empty.txt")).text == ""
    (tmp_path / "empty.jsonl").touch()
    assert read(tmp_path / "empty.jsonl") == []


@pytest.mark.parametrize("name", ["page.txt", "pages.jsonl"])
def test_a_binary_file_is_one_bad_record(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 20)
    (record,) = bad(read(path))
    assert record.line is None
    assert str(record).startswith(str(path))


def test_a_utf16_file_of_records_is_refused_as_a_whole(tmp_path: Path) -> None:
    path = tmp_path / "pages.jsonl"
    path.write_bytes('{"text": "页面"}\n{"text": "页面"}\n'.encode("utf-16"))
    (record,) = bad(read(path))
    assert "UTF-16" in str(record)


def test_bad_lines_cost_nothing_but_themselves(tmp_path: Path) -> None:
    path = tmp_path / "pages.jsonl"
    lines = [
        '\ufeff{"text": "一"}'.encode(),
        b"",
        b'{"text": "\xff"}',
        b'{"text": ',
        b'["text"]',
        b'{"txet": "x"}',
        b'{"text": null}',
        b'{"text": ' + b"[" * 100_000,
        b'{"text": "x", "n": ' + b"1" * 5000 + b"}",
        '{"text": "二\u2028三"}'.encode() + b"\r",
    ]
    path.write_bytes(b"\n".join(lines))
    items = read(path)
    assert [item.text for item in items if isinstance(item, Document)] == ["一", "二\u2028三"]
    assert {record.line: record.error.partition(",")[0] for record in bad(items)} == {
        3: "not UTF-8 (byte 10)",
        4: "not JSON: Expecting value at column 10",
        5: "not an object but an array",
        6: "no field 'text' (did you mean 'txet'?); name it with --text-key; fields: txet",
        7: "field 'text' is not a text but null",
        8: "not JSON that can be read: nested too deeply",
        9: bad(items)[-1].error.partition(",")[0],
    }
    assert str(bad(items)[1]).startswith(f"{path}:4: ")
    assert bad(items)[1].raw == '{"text": '


def test_a_broken_compression_ends_a_file_and_keeps_what_was_read(tmp_path: Path) -> None:
    path = tmp_path / "pages.jsonl.gz"
    path.write_bytes(b"\x1f\x8b\x08 not so")
    (record,) = bad(read(path))
    assert "broken compressed file" in str(record)


def test_keys_can_be_named(tmp_path: Path) -> None:
    path = tmp_path / "pages.jsonl"
    path.write_text('{"url": 7, "body": "页"}\n', "utf-8")
    document = only_document(read(path, text_key="body", id_key="url"))
    assert (document.text, document.id) == ("页", 7)
    assert only_document(read(path, text_key="body")).id == f"{path}:1"


def test_jsonl_keeps_every_field_in_its_place() -> None:
    record = {"z": [1, {"y": None}], "text": PAGE.text, "a": "é", "n": 1.0}
    document = Document(PAGE.text, "1", record)
    cleaned = json.loads(written("a.jsonl", document, "clean"))
    assert list(cleaned) == ["z", "text", "a", "n", "clean_text", "removed", "winnow"]
    assert {key: cleaned[key] for key in record} == record
    assert (cleaned["clean_text"], cleaned["removed"]) == ("甲乙丙", [SPAN])
    found = json.loads(written("a.jsonl", document, "spans"))
    assert list(found) == ["z", "text", "a", "n", "spans", "winnow"]
    assert found["spans"] == [SPAN]
    assert found["winnow"] == {"engine": "onnx/int8/cpu", "model": "0123456789ab"}


def test_text_comes_out_as_it_is_and_its_spans_as_a_record() -> None:
    document = Document(PAGE.text, "a.txt")
    assert written("a.txt", document, "clean") == "甲乙丙".encode()
    found = json.loads(written("a.txt", document, "spans"))
    assert (found["id"], found["text"], found["spans"]) == ("a.txt", PAGE.text, [SPAN])


@pytest.mark.parametrize(
    ("name", "clean", "spans"),
    [
        ("a.txt", "a.txt", "a.jsonl"),
        ("a.b.TXT.gz", "a.b.TXT.gz", "a.b.jsonl.gz"),
        ("noextension", "noextension", "noextension.jsonl"),
        ("a.ndjson.zst", "a.ndjson.zst", "a.ndjson.zst"),
    ],
)
def test_an_output_is_named_by_what_is_in_it(name: str, clean: str, spans: str) -> None:
    made = document_format(name)
    assert (made.output_name(name), made.output_name(name, adds="spans")) == (clean, spans)


@pytest.mark.parametrize("extension", ["", ".gz", ".xz", ".zst"])
def test_parts_of_lines_are_joined_into_one_file(tmp_path: Path, extension: str) -> None:
    made = document_format("a.jsonl")
    documents = [Document(PAGE.text, n, {"id": n, "text": PAGE.text}) for n in range(10)]
    parts = [tmp_path / f"{number}.jsonl{extension}" for number in range(4)]
    for part, some in zip(parts, ([0, 1, 2], [], [3], range(4, 10)), strict=True):
        with atomic_write(part) as stream:
            writer = made.writer(stream, adds="clean")
            for number in some:
                writer.write(documents[number], PAGE)
            writer.close()
    joined = tmp_path / f"joined.jsonl{extension}"
    with atomic_write(joined, compress=False) as stream:
        made.join(parts, stream)
    read_back = [item for item in read(joined) if isinstance(item, Document)]
    assert [document.id for document in read_back] == list(range(10))


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**30), 10**30)
    | st.floats(allow_nan=False)
    | st.text(st.characters(codec=None)),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=100, deadline=None)
@given(record=st.dictionaries(st.text(), json_values, max_size=5))
def test_any_record_is_one_line_that_reads_back(record: dict[str, Any]) -> None:
    line = json_line(record)
    assert line.count(b"\n") == 1
    assert json.loads(line.decode("utf-8")) == record
