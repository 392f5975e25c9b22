"""Parquet: rows keep their columns and types, whatever the size of the file."""

from __future__ import annotations

import io
import json
import os
import pickle
import subprocess
import sys
from collections.abc import Callable, Iterable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from filter.documents import BadRecord, Document, document_format
from filter.errors import WinnowError
from filter.files import atomic_write, position
from filter.spans import FilteredPage, Span

pytest.importorskip("pyarrow")

import pyarrow as pa
from pyarrow import parquet as pq

from filter.documents import parquet

Winnow = Callable[..., Any]
ROOT = Path(__file__).parents[3]

ADDED = ["clean_text", "removed", "winnow"]


def filtered(text: str) -> FilteredPage:
    """A page whose first character is spam."""
    spans = (Span(0, 1, "ad", 0.5, text[0]),) if text else ()
    return FilteredPage(text, spans, spans, "onnx/int8/cpu", "0123456789ab")


def write_parquet(path: Path, table: Any, **options: Any) -> str:
    pq.write_table(table, path, **options)
    return str(path)


def items_of(path: str, **options: Any) -> list[Document | BadRecord]:
    return list(document_format(path, **options).read(path))


def documents_of(path: str, **options: Any) -> list[Document]:
    return [item for item in items_of(path, **options) if isinstance(item, Document)]


def written(path: str, documents: Iterable[Document], adds: Any = "clean") -> Any:
    """The file that documents are written into."""
    stream = io.BytesIO()
    writer = document_format(path).writer(stream, adds=adds)
    for document in documents:
        writer.write(document, filtered(document.text))
    writer.close()
    assert not stream.closed
    return pq.ParquetFile(io.BytesIO(stream.getvalue()))


RICH = pa.table(
    {
        "id": pa.array([3, 1, 2], pa.int64()),
        "text": pa.array(["甲乙", "", "丙"], pa.large_string()),
        "when": pa.array([0, None, 5], pa.timestamp("us", tz="Asia/Shanghai")),
        "kind": pa.array(["a", "b", "a"]).dictionary_encode(),
        "nested": pa.array([[{"x": 1}], [], None], pa.list_(pa.struct({"x": pa.int8()}))),
        "score": pa.array([1.5, None, float("nan")], pa.float32()),
        "raw": pa.array([b"\xff\x00", b"", None], pa.binary()),
    },
    metadata={"made by": "a test"},
)


def test_rows_are_read_as_documents(tmp_path: Path) -> None:
    path = write_parquet(tmp_path / "a.parquet", RICH)
    documents = documents_of(path)
    assert [(d.id, d.text) for d in documents] == [(3, "甲乙"), (1, ""), (2, "丙")]
    assert documents[0].record is not None
    assert dict(documents[0].record)["nested"] == [{"x": 1}]
    assert list(documents[0].record) == RICH.column_names
    named = documents_of(path, text_key="kind", id_key="nothing")
    assert [(d.id, d.text) for d in named] == [(f"{path}:{n + 1}", "aba"[n]) for n in range(3)]


@pytest.mark.parametrize("adds", ["clean", "spans"])
def test_every_column_is_kept_in_its_type(tmp_path: Path, adds: Any) -> None:
    path = write_parquet(tmp_path / "a.parquet", RICH)
    file = written(path, documents_of(path), adds)
    table = file.read()
    assert table.schema.names == [
        *RICH.column_names,
        *(ADDED if adds == "clean" else ["spans", "winnow"]),
    ]
    for name in RICH.column_names:
        assert table.schema.field(name).type == RICH.schema.field(name).type, name
        assert str(table.column(name).to_pylist()) == str(RICH.column(name).to_pylist()), name
    assert table.schema.metadata[b"made by"] == b"a test"


def test_what_is_added_says_what_was_found(tmp_path: Path) -> None:
    path = write_parquet(tmp_path / "a.parquet", RICH)
    (row, empty, _) = written(path, documents_of(path)).read().to_pylist()
    assert row["clean_text"] == "乙"
    assert row["removed"] == [{"start": 0, "end": 1, "label": "ad", "score": 0.5, "text": "甲"}]
    assert row["winnow"] == {"engine": "onnx/int8/cpu", "model": "0123456789ab"}
    assert (empty["clean_text"], empty["removed"]) == ("", [])
    schema = written(path, documents_of(path)).schema_arrow
    assert schema.field("clean_text").type == pa.string()
    assert str(schema.field("removed").type) == (
        "list<element: struct<start: int32, end: int32, label: string, score: float, text: string>>"
    )


@pytest.mark.parametrize("compression", ["none", "snappy", "zstd", "gzip", "lz4", "brotli"])
def test_the_compression_is_kept(tmp_path: Path, compression: str) -> None:
    path = write_parquet(tmp_path / "a.parquet", RICH, compression=compression)
    before = pq.ParquetFile(path).metadata.row_group(0).column(0).compression
    metadata = written(path, documents_of(path)).metadata.row_group(0)
    assert {metadata.column(n).compression for n in range(metadata.num_columns)} == {before}


def test_results_of_an_earlier_run_are_replaced(tmp_path: Path) -> None:
    table = pa.table({"winnow": [1], "text": ["甲乙"], "clean_text": [2]})
    path = write_parquet(tmp_path / "a.parquet", table)
    (row,) = written(path, documents_of(path)).read().to_pylist()
    assert list(row) == ["text", *ADDED]
    assert row["clean_text"] == "乙"


@pytest.mark.parametrize(
    "column",
    [
        ["甲乙", None, "丙"],
        pa.array(["甲乙", None, "丙"]).dictionary_encode(),
        pa.array(["甲乙", None, "丙"], pa.large_string()),
        pa.array(["甲乙".encode(), b"\xff\xfe", "丙".encode()], pa.binary()),
    ],
    ids=["string", "dictionary", "large", "binary"],
)
def test_a_row_without_text_is_a_bad_record_and_costs_nothing_but_itself(
    tmp_path: Path, column: Any
) -> None:
    path = write_parquet(tmp_path / "a.parquet", pa.table({"text": column, "n": [0, 1, 2]}))
    first, bad, last = items_of(path)
    assert isinstance(bad, BadRecord)
    assert str(bad).startswith(f"{path}:2: column 'text' is ")
    assert isinstance(first, Document) and isinstance(last, Document)
    assert written(path, [first, last]).read().column("n").to_pylist() == [0, 2]


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"txet": ["x"], "n": [1]}, "no column 'text' (did you mean 'txet'?); name it with"),
        ({"txet": ["x"], "n": [1]}, "columns: txet, n"),
        ({"text": [1]}, "column 'text' is not of texts but of int64"),
        ({"text": [["x"]]}, "column 'text' is not of texts but of list"),
    ],
)
def test_a_file_without_texts_is_one_error(
    tmp_path: Path, table: dict[str, Any], message: str
) -> None:
    path = write_parquet(tmp_path / "a.parquet", pa.table(table))
    (bad,) = items_of(path)
    assert isinstance(bad, BadRecord)
    assert bad.line is None
    assert message in str(bad)


def test_what_is_no_parquet_is_one_error(tmp_path: Path) -> None:
    (tmp_path / "a.parquet").write_bytes(b"no such thing")
    (bad,) = items_of(str(tmp_path / "a.parquet"))
    assert "a.parquet: not a Parquet file that can be read" in str(bad)
    (bad,) = items_of("a.parquet.gz", name="parquet")
    assert "compressed within" in str(bad)


def test_a_broken_row_group_costs_nothing_but_itself(tmp_path: Path) -> None:
    table = pa.table({"text": [f"第{n}页" + "文" * 500 for n in range(90)]})
    path = write_parquet(
        tmp_path / "a.parquet", table, row_group_size=30, compression="none", use_dictionary=False
    )
    column = pq.ParquetFile(path).metadata.row_group(1).column(0)
    data = bytearray(Path(path).read_bytes())
    start = column.data_page_offset
    data[start : start + 40] = b"\xff" * 40
    Path(path).write_bytes(data)
    items = items_of(path)
    (bad,) = (item for item in items if isinstance(item, BadRecord))
    assert bad.line == 31
    assert "rows 31 to 60 cannot be read" in bad.error
    assert [item.text[:4].rstrip("页文") for item in items if isinstance(item, Document)] == [
        f"第{n}" for n in (*range(30), *range(60, 90))
    ]


def test_an_empty_file_becomes_an_empty_file_with_the_columns(tmp_path: Path) -> None:
    path = write_parquet(tmp_path / "a.parquet", RICH.slice(0, 0))
    assert items_of(path) == []
    file = written(path, [])
    assert (file.metadata.num_rows, file.schema_arrow.names) == (0, [*RICH.column_names, *ADDED])


def test_parts_are_joined_and_few_row_groups_come_of_many(tmp_path: Path) -> None:
    table = pa.table({"text": [f"第{n}页" for n in range(40)], "kind": list("ab" * 20)})
    table = table.set_column(1, "kind", table.column("kind").dictionary_encode())
    path = write_parquet(tmp_path / "a.parquet", table, compression="zstd")
    made = document_format(path)
    documents = documents_of(path)
    parts = [tmp_path / f"{n}.parquet" for n in range(4)]
    for part, some in zip(parts, ((0, 0), (0, 7), (7, 8), (8, 40)), strict=True):
        with atomic_write(part) as stream:
            writer = made.writer(stream, adds="clean")
            for document in documents[slice(*some)]:
                writer.write(document, filtered(document.text))
            writer.close()
    with atomic_write(tmp_path / "joined.parquet", compress=False) as stream:
        made.join(parts, stream)
    joined = pq.ParquetFile(tmp_path / "joined.parquet")
    whole = written(path, documents)
    assert joined.read().equals(whole.read())
    assert joined.schema_arrow.equals(whole.schema_arrow, check_metadata=True)
    assert joined.metadata.num_row_groups == 1
    assert joined.metadata.row_group(0).column(0).compression == "ZSTD"
    with atomic_write(tmp_path / "none.parquet", compress=False) as stream:
        made.join(parts[:1], stream)
    assert pq.ParquetFile(tmp_path / "none.parquet").metadata.num_rows == 0


cells = st.one_of(st.none(), st.text(st.characters(codec="utf-8"), max_size=5))


@settings(max_examples=40, deadline=None)
@given(
    rows=st.lists(st.tuples(st.text(st.characters(codec="utf-8"), max_size=9), cells, cells)),
    group=st.integers(1, 7),
    cuts=st.lists(st.integers(0, 20), max_size=3),
)
def test_whatever_is_written_in_parts_is_read_back(
    tmp_path_factory: pytest.TempPathFactory,
    rows: list[tuple[str, str | None, str | None]],
    group: int,
    cuts: list[int],
) -> None:
    directory = tmp_path_factory.mktemp("rows")
    columns = list(zip(*rows, strict=True)) or [(), (), ()]
    table = pa.table(
        {
            "text": pa.array(columns[0], pa.string()),
            "a": pa.array(columns[1], pa.large_string()),
            "b": pa.array(columns[2], pa.string()).dictionary_encode(),
        }
    )
    path = write_parquet(directory / "a.parquet", table, row_group_size=group)
    made = document_format(path)
    documents = documents_of(path)
    edges = [0, *sorted(cuts), max(len(rows), *cuts, 0)]
    parts = []
    for start, end in pairwise(edges):
        parts.append(directory / f"{len(parts)}.parquet")
        with atomic_write(parts[-1]) as stream:
            writer = made.writer(stream, adds="spans")
            # As processes send them to each other.
            for document in pickle.loads(pickle.dumps(documents[start:end])):
                writer.write(document, filtered(document.text))
            writer.close()
    joined = directory / "joined.parquet"
    with atomic_write(joined, compress=False) as stream:
        made.join(parts, stream)
    found = [dict(document.record or {}) for document in documents_of(str(joined))]
    assert [tuple(row[name] for name in ("text", "a", "b")) for row in found] == rows
    assert [row["spans"] for row in found] == [
        [span.as_dict() for span in filtered(text).spans] for text, _, _ in rows
    ]


def test_a_part_that_is_sent_holds_its_batches_once(tmp_path: Path) -> None:
    table = pa.table({"text": ["文" * 300] * 500, "other": [os.urandom(1000) for _ in range(500)]})
    path = write_parquet(tmp_path / "a.parquet", table)
    documents = documents_of(path)
    assert len(pickle.dumps(documents)) < 3 * table.nbytes
    assert len(pickle.dumps(documents[:1])) < 1.2 * table.nbytes


def test_batches_and_row_groups_are_bounded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parquet, "BATCH_BYTES", 100_000)
    monkeypatch.setattr(parquet, "ROW_GROUP_BYTES", 200_000)
    monkeypatch.setattr(parquet, "PENDING_CHARACTERS", 10_000)
    table = pa.table({"text": [f"{n:04}" * 250 for n in range(2000)]})
    path = write_parquet(tmp_path / "a.parquet", table, row_group_size=2000, use_dictionary=False)
    seen = []
    for document in document_format(path).read(path):
        assert isinstance(document, Document) and isinstance(document.record, parquet.Row)
        seen.append(document.record.batch.nbytes)
    assert len(seen) == 2000
    assert max(seen) < 250_000
    file = written(path, documents_of(path))
    sizes = [file.metadata.row_group(n).total_byte_size for n in range(file.num_row_groups)]
    assert len(sizes) > 10
    assert max(sizes) < 400_000
    assert file.read().column("text").to_pylist() == table.column("text").to_pylist()


def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    """Of a file of 40 MB in one row group, in a process of its own, a small part is held."""
    path = str(tmp_path / "a.parquet")
    rows = [f"{number:08}" * 250 for number in range(10_000)]
    table = pa.table({"text": rows, "other": rows})
    pq.write_table(table, path, row_group_size=10_000, compression="none", use_dictionary=False)
    assert os.path.getsize(path) > 40_000_000
    code = """
import sys, io
import pyarrow as pa
from filter.documents import document_format, parquet
from filter.spans import FilteredPage
parquet.ROW_GROUP_BYTES = 4 << 20
made = document_format(sys.argv[1])
with open(sys.argv[2], "wb") as stream:
    writer = made.writer(stream, adds="spans")
    for document in made.read(sys.argv[1]):
        writer.write(document, FilteredPage(document.text, (), ()))
    writer.close()
print(pa.default_memory_pool().max_memory())
"""
    command = [sys.executable, "-c", code, path, str(tmp_path / "b.parquet")]
    done = subprocess.run(command, capture_output=True, cwd=ROOT, timeout=100, check=True)
    assert int(done.stdout) < 30_000_000


def test_how_far_a_file_is_read_can_be_asked(tmp_path: Path) -> None:
    path = write_parquet(tmp_path / "a.parquet", RICH, row_group_size=1)
    items = document_format(path).read(path)
    next(items), next(items)
    assert 0 < (position(path) or 0) < os.path.getsize(path)
    list(items)


def test_files_are_cleaned_into_files(winnow: Winnow) -> None:
    table = pa.table({"id": ["x", "y"], "text": ["页【买吧】", None]})
    write_parquet(Path("a.parquet"), table)
    result = winnow("clean", "a.parquet", "-o", "b.parquet", "--removed", "cut.jsonl")
    assert (result.code, result.out) == (1, b"")
    assert "bad record: a.parquet:2: column 'text' is null here" in result.err
    (row,) = pq.read_table("b.parquet").to_pylist()
    assert (row["id"], row["clean_text"], row["removed"][0]["text"]) == ("x", "页", "【买吧】")
    assert json.loads(Path("cut.jsonl").read_bytes())["id"] == "x"
    result = winnow("clean", "b.parquet")
    assert pq.read_table(io.BytesIO(result.out)).column("clean_text").to_pylist() == ["页"]


def test_spans_can_be_had_as_lines_of_json(winnow: Winnow) -> None:
    table = pa.table({"id": [b"x"], "text": ["页【买吧】"], "when": pa.array([0], pa.date32())})
    write_parquet(Path("a.parquet"), table)
    (record,) = winnow("spans", "a.parquet", "--format", "jsonl").records
    assert list(record) == ["id", "text", "spans", "winnow"]
    assert winnow("spans", "a.parquet", "--format", "jsonl", "-o", "out/").code == 0
    assert json.loads(Path("out/a.jsonl").read_bytes()) == record
    assert winnow("spans", "a.parquet", "-o", "out/").code == 0
    assert pq.read_table("out/a.parquet").column("spans").to_pylist()[0][0]["text"] == "【买吧】"


def test_files_of_other_columns_do_not_share_a_file(winnow: Winnow) -> None:
    write_parquet(Path("a.parquet"), pa.table({"text": ["x"]}))
    write_parquet(Path("b.parquet"), pa.table({"text": ["x"], "n": [1]}))
    result = winnow("clean", "a.parquet", "b.parquet", "-o", "c.parquet")
    assert result.code == 2
    assert "b.parquet: has other columns than the file before it" in result.err
    assert not Path("c.parquet").exists()
    assert winnow("clean", "a.parquet", "b.parquet", "-o", "out/").code == 0
    assert sorted(os.listdir("out")) == ["a.parquet", "b.parquet"]


def test_a_missing_library_is_answered_with_the_extra(
    winnow: Winnow, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("a.parquet").write_bytes(b"")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    monkeypatch.delitem(sys.modules, "filter.documents.parquet")
    result = winnow("clean", "a.parquet")
    assert (result.code, result.err) == (
        2,
        "winnow: error: format 'parquet' needs pyarrow, which is not installed: "
        "pip install 'winnow-zh[parquet]'\n",
    )


def test_other_records_are_not_written_as_rows(tmp_path: Path) -> None:
    path = write_parquet(tmp_path / "a.parquet", RICH)
    writer = document_format(path).writer(io.BytesIO(), adds="clean")
    with pytest.raises(TypeError, match="a row of a Parquet file"):
        writer.write(Document("x", 1, {"text": "x"}), filtered("x"))


def test_trouble_with_the_disk_is_not_taken_for_a_broken_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_parquet(tmp_path / "a.parquet", RICH)

    def fail(*_: Any, **__: Any) -> Any:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(pq.ParquetFile, "iter_batches", fail)
    with pytest.raises(OSError, match="Input/output error"):
        items_of(path)
    assert not issubclass(OSError, WinnowError)
