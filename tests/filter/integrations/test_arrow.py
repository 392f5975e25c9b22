"""Pages in Arrow tables: every kind of column that holds text, and the frameworks that take one."""

from __future__ import annotations

import pickle
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from filter import ContentFilter
from filter.errors import UsageError
from filter.integrations import process_filter

pytest.importorskip("pyarrow")

import pyarrow as pa

from filter.integrations import arrow
from filter.integrations.arrow import filter_batches, filter_table, output_schema


@pytest.fixture(scope="module")
def content_filter(tiny_model: Path) -> ContentFilter:
    return ContentFilter.from_pretrained(tiny_model, engine="onnx")


@pytest.fixture(scope="module")
def texts(sample: str) -> list[str]:
    return [sample, "", "槐树下的收成。", sample[10:60] * 3, "𠮷野家\r\n上一篇：无"]


def expected(content_filter: ContentFilter, texts: list[str | None]) -> list[dict[str, Any]]:
    """The added columns, as the filter itself gives them."""
    rows = []
    for text in texts:
        if text is None:
            rows.append({"clean_text": None, "removed": None, "winnow": None})
            continue
        page = content_filter(text)
        removed = [span.as_dict() for span in page.removed]
        made_by = {"engine": page.engine, "model": page.model_hash}
        rows.append({"clean_text": page.clean_text, "removed": removed, "winnow": made_by})
    return rows


def added(table: Any) -> list[dict[str, Any]]:
    rows = table.select(["clean_text", "removed", "winnow"]).to_pylist()
    for row in rows:  # from float32
        for span in row["removed"] or []:
            span["score"] = round(span["score"], 4)
    return rows


@pytest.mark.parametrize("kind", [pa.Table, pa.RecordBatch])
def test_columns_are_added_and_all_others_kept(
    kind: Any, content_filter: ContentFilter, texts: list[str]
) -> None:
    schema = pa.schema(
        [
            pa.field("url", pa.string(), nullable=False),
            pa.field("text", pa.string(), metadata={"from": "crawl"}),
            ("tags", pa.list_(pa.int8())),
        ],
        metadata={"made": "by hand"},
    )
    columns = [[f"u{i}" for i in range(len(texts))], texts, [[i] for i in range(len(texts))]]
    arrays = [pa.array(column, field.type) for column, field in zip(columns, schema, strict=True)]
    table = kind.from_arrays(arrays, schema=schema)
    result = filter_table(table, content_filter=content_filter)
    assert type(result) is kind
    result.validate(full=True)
    assert result.schema.names == ["url", "text", "tags", "clean_text", "removed", "winnow"]
    assert result.select(["url", "text", "tags"]).equals(table, check_metadata=True)
    assert result.schema.equals(output_schema(table.schema), check_metadata=True)
    rows = added(result)
    assert rows == expected(content_filter, texts)
    assert any(row["removed"] for row in rows)
    assert rows[1]["clean_text"] == "" and rows[1]["removed"] == []


@pytest.mark.parametrize("kind", [pa.Table, pa.RecordBatch])
@pytest.mark.parametrize(
    "column",
    [
        pa.string(),
        pa.large_string(),
        pa.string_view(),
        pa.dictionary(pa.int32(), pa.string()),
        pa.dictionary(pa.int8(), pa.large_string()),
    ],
    ids=str,
)
def test_text_of_any_kind_with_nulls(
    kind: Any, column: Any, content_filter: ContentFilter, texts: list[str]
) -> None:
    given = [None, *texts, None, texts[0], None]
    table = kind.from_arrays([pa.array(given, pa.string()).cast(column)], names=["body"])
    result = filter_table(table, text_key="body", content_filter=content_filter)
    result.validate(full=True)
    assert result.column("body").type == column
    assert result.column("body").to_pylist() == given
    assert added(result) == expected(content_filter, given)


def test_chunks_of_any_size_are_one_column(
    content_filter: ContentFilter, texts: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(arrow, "ROWS", 2)
    chunks = pa.chunked_array([texts[:3], [], texts[3:], [None], texts[:1]], pa.string())
    other = pa.chunked_array([[0], list(range(1, 7))])
    table = pa.table({"n": other, "text": chunks})
    result = filter_table(table, content_filter=content_filter)
    result.validate(full=True)
    assert result.column("n").to_pylist() == list(range(7))
    assert added(result) == expected(content_filter, [*texts, None, texts[0]])
    sliced = filter_table(table.slice(2, 3), content_filter=content_filter)
    assert added(sliced) == expected(content_filter, texts[2:5])


@pytest.mark.parametrize("kind", [pa.Table, pa.RecordBatch])
@pytest.mark.parametrize("column", [pa.string(), pa.null()], ids=str)
def test_an_empty_table_gets_the_same_schema(
    kind: Any, column: Any, content_filter: ContentFilter
) -> None:
    table = kind.from_arrays([pa.array([], column)], names=["text"])
    result = filter_table(table, content_filter=content_filter)
    result.validate(full=True)
    assert result.num_rows == 0
    assert result.schema == output_schema(table.schema)


def test_a_column_without_a_single_page_stays_one(content_filter: ContentFilter) -> None:
    table = pa.table({"text": pa.nulls(3)})
    result = filter_table(table, content_filter=content_filter)
    assert added(result) == expected(content_filter, [None] * 3)


@pytest.mark.parametrize("dictionary", [False, True])
def test_a_page_that_is_not_utf_8_costs_nothing_but_itself(
    dictionary: bool, content_filter: ContentFilter, sample: str
) -> None:
    broken = pa.array([sample.encode(), b"\xe6\xa7", None]).view(pa.string())
    column = pa.DictionaryArray.from_arrays([0, 1, 2], broken) if dictionary else broken
    result = filter_table(pa.table({"text": column}), content_filter=content_filter)
    assert added(result) == expected(content_filter, [sample, "\ufffd", None])


@pytest.mark.parametrize("name", ["clean_text", "removed", "winnow"])
def test_a_column_that_would_be_overwritten_is_refused(name: str) -> None:
    table = pa.table({"text": ["页"], name: ["甲"]})
    with pytest.raises(UsageError, match=f"'{name}' is there already.*rename"):
        filter_table(table, model="not opened")


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (
            {"txt": ["页"], "n": [1]},
            r"no column 'text' \(did you mean 'txt'\?\).*text_key; columns: txt, n",
        ),
        ({"text": [1, 2]}, "column 'text' holds no text but int64"),
        ({"text": [b"1"]}, "column 'text' holds no text but binary"),
        ({"text": [["page"]]}, "holds no text but list<"),
    ],
)
def test_a_column_that_holds_no_pages_is_named(
    table: dict[str, list[Any]], message: str, content_filter: ContentFilter
) -> None:
    with pytest.raises(UsageError, match=message):
        filter_table(pa.table(table), content_filter=content_filter)


def test_two_columns_of_that_name_are_refused(content_filter: ContentFilter) -> None:
    table = pa.Table.from_arrays([["甲"], ["乙"]], names=["text", "text"])
    with pytest.raises(UsageError, match="several columns 'text'"):
        filter_table(table, content_filter=content_filter)


def test_batches_are_filtered_one_by_one(tiny_model: Path, texts: list[str]) -> None:
    asked = []

    def batches() -> Any:
        for text in texts:
            asked.append(text)
            yield pa.record_batch({"text": [text]})

    results = filter_batches(batches(), model=tiny_model, engine="onnx")
    assert added(next(results)) == expected(
        ContentFilter.from_pretrained(tiny_model, engine="onnx"), texts[:1]
    )
    assert asked == texts[:1]
    assert len(list(results)) == len(texts) - 1


def test_options_open_one_filter_a_process(tiny_model: Path, sample: str) -> None:
    first = process_filter(tiny_model, engine="onnx", keep=["ad"], threads=1)
    assert process_filter(tiny_model, threads=1, keep=("ad",), engine="onnx") is first
    assert first.keep == ("ad",)
    assert process_filter(tiny_model, engine="onnx", threshold=0.9).threshold == 0.9
    table = pa.table({"text": [sample]})
    kept = filter_table(table, model=tiny_model, engine="onnx", keep=first.labels[1:])
    assert kept.column("clean_text").to_pylist() == [sample]


def test_a_filter_and_options_are_one_too_many(content_filter: ContentFilter) -> None:
    table = pa.table({"text": ["页"]})
    with pytest.raises(UsageError, match="not both: model, threshold"):
        filter_table(table, content_filter=content_filter, model="m", threshold=0.5)


def test_it_goes_to_a_worker_with_its_options(
    tiny_model: Path, content_filter: ContentFilter, texts: list[str]
) -> None:
    table = pa.table({"text": texts})
    for options in ({"model": tiny_model, "engine": "onnx"}, {"content_filter": content_filter}):
        arrived = pickle.loads(pickle.dumps(partial(filter_table, **options)))
        assert added(arrived(table)) == expected(content_filter, texts)


@pytest.mark.parametrize("num_proc", [None, 2])
def test_datasets_map(
    num_proc: int | None, tiny_model: Path, content_filter: ContentFilter, texts: list[str]
) -> None:
    datasets = pytest.importorskip("datasets")
    texts = texts * 2
    rows = {"n": list(range(len(texts))), "text": texts}
    dataset = datasets.Dataset.from_dict(rows).with_format("arrow")
    filtered = dataset.map(
        filter_table,
        batched=True,
        batch_size=3,
        num_proc=num_proc,
        fn_kwargs={"model": str(tiny_model), "engine": "onnx", "threads": 1},
    )
    assert filtered.column_names == ["n", "text", "clean_text", "removed", "winnow"]
    table = filtered.with_format("arrow")[:]
    assert table.column("n").to_pylist() == rows["n"]
    assert added(table) == expected(content_filter, texts)
    assert filtered.with_format(None)[0]["removed"][0]["label"]
