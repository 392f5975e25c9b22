"""Parquet: a row a page; every column is passed on in its own type, and results are added to them.

A file is read in batches of rows and written in row groups of some megabytes, so memory does not
depend on its size. A row stays in the batch that it came in until it is written: values of other
columns are neither converted nor copied one by one.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import IO, Any

import pyarrow as pa
from pyarrow import parquet as pq

from filter.documents import Adds, BadRecord, Document, DocumentWriter, FormatOptions
from filter.documents.arrow import added_columns, added_fields
from filter.errors import WinnowError, nearest
from filter.files import base_name, watch
from filter.spans import FilteredPage

BATCH_BYTES = 4 << 20
"""About how many bytes of columns are read at a time."""

BATCH_ROWS = 1024
"""Most rows that are read at a time, however small they are."""

PENDING_CHARACTERS = 1 << 20
"""Characters of pages that wait until their columns are made."""

ROW_GROUP_BYTES = 32 << 20
"""Bytes of columns from which rows are written as a row group."""

BUFFER_SIZE = 1 << 20

Broken = (pa.ArrowException, OSError)


@dataclass(frozen=True)
class Origin:
    """The file that rows come from: what is needed to write others like it."""

    path: str
    schema: Any
    compression: str


class Row(Mapping[str, Any]):
    """A row of a batch, as a record; values are made when they are asked for."""

    __slots__ = ("batch", "index", "origin")

    def __init__(self, origin: Origin, batch: Any, index: int) -> None:
        self.origin = origin
        self.batch = batch
        self.index = index

    def __getitem__(self, name: str) -> Any:
        return self.batch.column(name)[self.index].as_py()

    def __iter__(self) -> Iterator[str]:
        return iter(self.origin.schema.names)

    def __len__(self) -> int:
        return len(self.origin.schema.names)


class ParquetFormat:
    """Rows with a column of texts."""

    name = "parquet"

    def __init__(self, options: FormatOptions, path: str) -> None:
        self._options = options
        self._path = path

    def read(self, path: str) -> Iterator[Document | BadRecord]:
        try:
            with _opened(path) as file:
                origin = _origin(path, file)
                self._check_columns(origin)
                yield from self._documents(origin, file)
        except WinnowError as error:
            yield BadRecord(path, None, str(error))

    def writer(self, stream: IO[bytes], *, adds: Adds) -> DocumentWriter:
        return RowWriter(stream, adds, self._path)

    def output_name(self, name: str, *, adds: Adds = "clean") -> str:
        return name

    def join(self, parts: Sequence[Path], stream: IO[bytes]) -> None:
        files = [str(part) for part in parts]
        compression = "snappy"
        for path in files:
            with _opened(path) as file:
                schema = file.schema_arrow
                if file.num_row_groups:
                    compression = _compression(file)
                    break
        with RowGroups(stream, schema, compression) as groups:
            for path in files:
                with _opened(path) as file:
                    for number in range(file.num_row_groups):
                        groups.add(file.read_row_group(number))

    def _check_columns(self, origin: Origin) -> None:
        key, names = self._options.text_key, origin.schema.names
        if key not in names:
            guess = nearest(key, names)
            hint = f" (did you mean {guess!r}?)" if guess is not None else ""
            raise WinnowError(
                f"{origin.path}: no column {key!r}{hint}; name it with --text-key; columns: "
                f"{', '.join(names) or 'none'}"
            )
        kind = origin.schema.field(key).type
        if not _is_text(kind):
            raise WinnowError(f"{origin.path}: column {key!r} is not of texts but of {kind}")
        twice = {name for name in names if names.count(name) > 1}
        if twice:
            raise WinnowError(f"{origin.path}: has two columns {', '.join(sorted(twice))}")

    def _documents(self, origin: Origin, file: Any) -> Iterator[Document | BadRecord]:
        progress = _Progress(origin.path, file.metadata.num_rows)
        watch(origin.path, progress)
        end = 0
        for group in range(file.num_row_groups):
            metadata = file.metadata.row_group(group)
            begin, end = end, end + metadata.num_rows
            row_bytes = max(1, metadata.total_byte_size // max(1, metadata.num_rows))
            rows = max(1, min(BATCH_ROWS, BATCH_BYTES // row_bytes))
            number = begin
            try:
                for batch in file.iter_batches(batch_size=rows, row_groups=[group]):
                    yield from self._rows(origin, batch, number)
                    number += batch.num_rows
                    progress.rows = number
            except Broken as error:
                if isinstance(error, OSError) and error.errno is not None:
                    raise  # the machine's trouble, not the file's
                yield BadRecord(
                    origin.path, number + 1, f"rows {number + 1} to {end} cannot be read: {error}"
                )

    def _rows(self, origin: Origin, batch: Any, before: int) -> Iterator[Document | BadRecord]:
        texts = batch.column(self._options.text_key)
        has_ids = self._options.id_key in origin.schema.names
        ids = batch.column(self._options.id_key) if has_ids else None
        for index in range(batch.num_rows):
            number = before + index + 1
            try:
                text = texts[index].as_py()
                if isinstance(text, bytes):
                    text = text.decode()
            except UnicodeDecodeError as error:
                reason = f"column {self._options.text_key!r} is not UTF-8 (byte {error.start})"
                yield BadRecord(origin.path, number, reason)
                continue
            if text is None:
                yield BadRecord(
                    origin.path, number, f"column {self._options.text_key!r} is null here"
                )
                continue
            name = f"{origin.path}:{number}" if ids is None else _plain(ids[index].as_py())
            yield Document(text, name, Row(origin, batch, index))


class RowWriter:
    """Writes rows with what was found in them, as the file that they came from is written.

    Args:
        stream: Where they go.
        adds: What is added to a row.
        path: The file whose columns a file without rows has.
    """

    def __init__(self, stream: IO[bytes], adds: Adds, path: str) -> None:
        self._stream = stream
        self._adds = adds
        self._path = path
        self._origin: Origin | None = None
        self._groups: RowGroups | None = None
        self._pending: list[tuple[Row, FilteredPage]] = []
        self._characters = 0

    def write(self, document: Document, page: FilteredPage) -> None:
        if not isinstance(document.record, Row):
            raise TypeError(f"a row of a Parquet file was expected, not {document.record!r:.100}")
        self._pending.append((document.record, page))
        self._characters += len(page.text)
        if self._characters >= PENDING_CHARACTERS or len(self._pending) >= BATCH_ROWS:
            self._write_pending()

    def close(self) -> None:
        self._write_pending()
        if self._groups is None:
            with _opened(self._path) as file:
                self._groups = self._open(_origin(self._path, file))
        self._groups.close()

    def _write_pending(self) -> None:
        for origin, rows in groupby(self._pending, key=lambda pending: pending[0].origin):
            groups = self._groups or self._open(origin)
            if self._origin is None or not origin.schema.equals(self._origin.schema):
                raise WinnowError(
                    f"{origin.path}: has other columns than the file before it; give each a file "
                    "of its own, by -o DIR/"
                )
            groups.add(self._table(origin, list(rows)))
        self._pending = []
        self._characters = 0

    def _open(self, origin: Origin) -> RowGroups:
        self._origin = origin
        kept = [origin.schema.field(name) for name in self._kept(origin)]
        schema = pa.schema([*kept, *added_fields(self._adds)], metadata=origin.schema.metadata)
        self._groups = RowGroups(self._stream, schema, origin.compression)
        return self._groups

    def _kept(self, origin: Origin) -> list[str]:
        """Columns that are passed on: all but those of results that were there before."""
        added = {field.name for field in added_fields(self._adds)}
        return [name for name in origin.schema.names if name not in added]

    def _table(self, origin: Origin, rows: list[tuple[Row, FilteredPage]]) -> Any:
        batches = [
            batch.take(pa.array([row.index for row, _ in group], pa.int64()))
            for batch, group in _by_batch(rows)
        ]
        table = pa.Table.from_batches(batches, origin.schema).select(self._kept(origin))
        columns = added_columns([page for _, page in rows], self._adds)
        for column_field, column in zip(added_fields(self._adds), columns, strict=True):
            table = table.append_column(column_field, column)
        return table


class RowGroups:
    """Gathers tables into row groups of some size and writes those."""

    def __init__(self, stream: IO[bytes], schema: Any, compression: str) -> None:
        self._writer = pq.ParquetWriter(stream, schema, compression=compression)
        self._tables: list[Any] = []
        self._bytes = 0

    def __enter__(self) -> RowGroups:
        return self

    def __exit__(self, kind: Any, *_: object) -> None:
        if kind is None:
            self.close()

    def __del__(self) -> None:
        # Left before its end, by an error: no footer, and none when it is collected either.
        self._writer.is_open = False

    def add(self, table: Any) -> None:
        """Takes a table, whose columns are those of the file."""
        self._tables.append(table)
        self._bytes += table.nbytes
        if self._bytes >= ROW_GROUP_BYTES:
            self._flush()

    def close(self) -> None:
        """Writes what is left, and the footer."""
        self._flush()
        self._writer.close()

    def _flush(self) -> None:
        if self._tables:
            table = pa.concat_tables(self._tables).unify_dictionaries()
            self._writer.write_table(table, row_group_size=max(1, table.num_rows))
        self._tables = []
        self._bytes = 0


@dataclass
class _Progress:
    """How far a file has been read, by its rows."""

    path: str
    all_rows: int
    rows: int = 0
    size: int = field(init=False)

    def __post_init__(self) -> None:
        self.size = Path(self.path).stat().st_size if self.path != "-" else 0

    def tell(self) -> int:
        return self.size * self.rows // max(1, self.all_rows)


def _opened(path: str) -> Any:
    """A Parquet file, opened for reading without more of it in memory than is asked for.

    Raises:
        WinnowError: it is none, or cannot be read at all.
    """
    if base_name(path) != Path(path).name:
        raise WinnowError(f"{path}: Parquet is compressed within; unpack the file first")
    if path == "-" and not sys.stdin.buffer.seekable():
        raise WinnowError("Parquet cannot be read from a pipe: it begins at its end; name a file")
    try:
        return pq.ParquetFile(
            sys.stdin.buffer if path == "-" else path, buffer_size=BUFFER_SIZE, pre_buffer=False
        )
    except Broken as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise WinnowError(f"{path}: not a Parquet file that can be read: {error}") from error


def _origin(path: str, file: Any) -> Origin:
    return Origin(path, file.schema_arrow, _compression(file))


def _compression(file: Any) -> str:
    """The compression of a file's first column, which the others will have too."""
    if not file.num_row_groups or not file.metadata.num_columns:
        return "snappy"
    name = str(file.metadata.row_group(0).column(0).compression).lower()
    return {"uncompressed": "none", "lz4_raw": "lz4", "lzo": "snappy"}.get(name, name)


def _is_text(kind: Any) -> bool:
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    return bool(
        pa.types.is_string(kind)
        or pa.types.is_large_string(kind)
        or pa.types.is_string_view(kind)
        or pa.types.is_binary(kind)
        or pa.types.is_large_binary(kind)
    )


def _plain(value: Any) -> Any:
    """An id as JSON can hold it."""
    return value if value is None or isinstance(value, str | int | float) else str(value)


def _by_batch(
    rows: Iterable[tuple[Row, FilteredPage]],
) -> Iterator[tuple[Any, list[tuple[Row, FilteredPage]]]]:
    for _, group in groupby(rows, key=lambda row: id(row[0].batch)):
        same = list(group)
        yield same[0][0].batch, same
