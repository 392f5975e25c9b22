"""One function on Arrow tables, for every framework whose batches are Arrow's.

    dataset.map_batches(filter_table, batch_format="pyarrow", fn_kwargs={"threads": 1})  # Ray Data
    dataset.with_format("arrow").map(filter_table, batched=True)                         # datasets
    frame.mapInArrow(filter_batches, schema)                                             # Spark

Three columns are added: `clean_text`, `removed` (the spans that were cut) and `winnow` (engine and
model). All other columns, and the rows and their order, stay as they are.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import islice, tee
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from filter.errors import UsageError, missing_package, nearest
from filter.integrations import process_filter

try:
    import pyarrow as pa
except ImportError as error:
    raise missing_package("filter.integrations.arrow", "pyarrow", "parquet") from error

from filter.documents.arrow import added_columns, added_fields

if TYPE_CHECKING:
    from filter.content_filter import ContentFilter
    from filter.spans import FilteredPage

ROWS = 1024
"""Rows that are Python objects at one time; beyond that they are Arrow's."""

TableLike = TypeVar("TableLike", bound=Any)
"""A `pyarrow.Table` or a `pyarrow.RecordBatch`."""


def filter_table(
    table: TableLike,
    *,
    text_key: str = "text",
    content_filter: ContentFilter | None = None,
    model: str | Path | None = None,
    **options: Any,
) -> TableLike:
    """A table with the columns `clean_text`, `removed` and `winnow` added.

    A row without a page (null) has null in all three.

    Args:
        table: A `pyarrow.Table` or `RecordBatch`.
        text_key: The column that holds the pages: strings of any of Arrow's kinds, also encoded
            as a dictionary.
        content_filter: The filter; without one, the filter of this process for `model` and
            `options`, which is opened once.
        model: As for `ContentFilter.from_pretrained`.
        options: As for `ContentFilter.from_pretrained`: `threshold`, `keep`, `threads`...

    Returns:
        What was given, of the same type.

    Raises:
        UsageError: There is no such column or it holds no text, or a column that is to be added is
            there already.
    """
    schema = output_schema(table.schema, text_key=text_key)
    if content_filter is None:
        content_filter = process_filter(model, **options)
    else:
        check_no_options(model, options)
    pages = _pages(content_filter, table.column(text_key))
    pieces = []
    while rows := list(islice(pages, ROWS)):
        pieces.append(added_columns(rows, "clean"))
    added = [
        _joined(table, [piece[index] for piece in pieces], field.type)
        for index, field in enumerate(added_fields("clean"))
    ]
    joined: TableLike = type(table).from_arrays([*table.columns, *added], schema=schema)
    return joined


def check_no_options(model: str | Path | None, options: Mapping[str, Any]) -> None:
    """Check that nothing is asked of a filter that is made already.

    Raises:
        UsageError: Something is.
    """
    given = [*(["model"] if model is not None else []), *options]
    if given:
        raise UsageError(f"either a filter or options for one, not both: {', '.join(given)}")


def filter_batches(batches: Iterable[Any], **options: Any) -> Iterator[Any]:
    """`filter_table` on each of a stream of `pyarrow.RecordBatch`es, with the same options."""
    for batch in batches:
        yield filter_table(batch, **options)


def output_schema(schema: pa.Schema, *, text_key: str = "text") -> pa.Schema:
    """The schema that `filter_table` gives a table of this schema.

    Raises:
        UsageError: As `filter_table`.
    """
    added = added_fields("clean")
    if taken := [field.name for field in added if field.name in schema.names]:
        raise UsageError(
            f"column {taken[0]!r} is there already, and would be added; drop it or rename it first"
        )
    places = schema.get_all_field_indices(text_key)
    if len(places) != 1:
        guess = nearest(text_key, schema.names)
        hint = f" (did you mean {guess!r}?)" if guess is not None and not places else ""
        fault = "several columns" if places else "no column"
        columns = ", ".join(schema.names) or "none"
        raise UsageError(
            f"{fault} {text_key!r}{hint}; name the one with the pages as text_key;"
            f" columns: {columns}"
        )
    kind = schema.field(places[0]).type
    if not _is_text(kind):
        raise UsageError(f"column {text_key!r} holds no text but {kind}; convert it to a string")
    return pa.schema([*schema, *added], metadata=schema.metadata)


def _is_text(kind: pa.DataType) -> bool:
    if pa.types.is_dictionary(kind):
        return _is_text(kind.value_type)
    checks = (
        pa.types.is_string,
        pa.types.is_large_string,
        pa.types.is_string_view,
        pa.types.is_null,  # what a column without a single page is
    )
    return any(check(kind) for check in checks)


def _pages(content_filter: ContentFilter, column: Any) -> Iterator[FilteredPage | None]:
    """The pages of a column, filtered, in order; None for null."""
    texts, given = tee(_texts(column))
    pages = content_filter.pipe(text or "" for text in texts)
    for text, page in zip(given, pages, strict=True):
        yield None if text is None else page


def _texts(column: Any) -> Iterator[str | None]:
    chunks = column.chunks if isinstance(column, pa.ChunkedArray) else [column]
    for chunk in chunks:
        for start in range(0, len(chunk), ROWS):
            yield from _strings(chunk.slice(start, ROWS))


def _strings(array: Any) -> list[str | None]:
    try:
        strings: list[str | None] = array.to_pylist()
    except UnicodeDecodeError:
        # Arrow trusts whoever made the array; one broken page must not end a job.
        if pa.types.is_dictionary(array.type):
            array = array.dictionary_decode()
        rows = array.cast(pa.large_binary()).to_pylist()
        strings = [None if row is None else row.decode("utf-8", "replace") for row in rows]
    return strings


def _joined(table: Any, pieces: list[pa.Array], kind: pa.DataType) -> Any:
    """Pieces of a column as the kind of column that such a table has."""
    if isinstance(table, pa.Table):
        return pa.chunked_array(pieces, kind)
    return pa.concat_arrays(pieces) if pieces else pa.array([], kind)
