"""What is to be read: files, each with its format, and what becomes of records that are bad.

A bad record is reported where it is met, the rest goes on, and the exit code remembers it.
"""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

from filter.documents import BadRecord, Document, DocumentFormat, document_format, json_line
from filter.errors import UsageError
from filter.files import atomic_write, require_file


@dataclass(frozen=True, slots=True, eq=False)
class Source:
    """A file of pages and how it is read."""

    path: str
    format: DocumentFormat


@dataclass
class Reading:
    """Reads sources, and keeps what must be known when all is read.

    Attributes:
        report: Called with every bad record.
        limit: Most pages to read.
        finished: Sources that were read to their end.
        exit_code: 0, 1 after a bad record, 2 after a file that could not be read.
    """

    report: Callable[[BadRecord], None]
    limit: int | None = None
    finished: list[Source] = field(default_factory=list)
    exit_code: int = 0

    def documents(self, sources: Iterable[Source]) -> Iterator[tuple[Source, Document]]:
        """The pages of all sources in their order, bad records reported and left out."""
        return itertools.islice(self._documents(sources), self.limit)

    def _documents(self, sources: Iterable[Source]) -> Iterator[tuple[Source, Document]]:
        for source in sources:
            whole = True
            for item in source.format.read(source.path):
                if isinstance(item, Document):
                    yield source, item
                    continue
                whole = whole and item.line is not None
                self.exit_code = max(self.exit_code, 1 if item.line is not None else 2)
                self.report(item)
            if whole:
                self.finished.append(source)


def open_sources(
    paths: list[str] | None,
    *,
    input_format: str | None,
    text_key: str | None,
    id_key: str | None,
    extractor: str | None = None,
) -> list[Source]:
    """The sources that are named, all of them checked before any is read.

    Args:
        paths: Files; none for stdin.
        input_format: Of all of them, or None to go by their extensions.
        text_key: As in `FormatOptions`, None for the default.
        id_key: As in `FormatOptions`, None for the default.
        extractor: As in `FormatOptions`, None for the default.

    Raises:
        UsageError: a file is missing or is a directory, there is no such format, or nothing is
            named and stdin is a terminal.
    """
    if not paths and sys.stdin.isatty():
        raise UsageError("nothing to read; name a file, or pipe a page in")
    told = {"text_key": text_key, "id_key": id_key, "extractor": extractor}
    given = {name: value for name, value in told.items() if value is not None}
    sources = []
    for path in paths or ["-"]:
        require_file(path)
        made = document_format(path, input_format, **given)
        sources.append(Source(path, made))
    return sources


def reporter(stack: ExitStack, rejects: str | None) -> Callable[[BadRecord], None]:
    """Where bad records go: a line each on stderr, or into a file of JSON lines."""
    if rejects is None:
        return lambda bad: print(f"winnow: bad record: {bad}", file=sys.stderr)
    write = record_writer(stack, rejects)
    return lambda bad: write(
        {"file": bad.path, "line": bad.line, "error": bad.error, "raw": bad.raw}
    )


def record_writer(stack: ExitStack, path: str) -> Callable[[dict[str, Any]], None]:
    """Opens a file of JSON lines, which appears under its name when the stack is closed."""
    stream = stack.enter_context(atomic_write(path))

    def write(record: dict[str, Any]) -> None:
        stream.write(json_line(record))

    return write
