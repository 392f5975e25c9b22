"""Records in, records out, behind one small interface.

A format reads a file as a stream of `Document`s, with a `BadRecord` in the place of what it could
not read, and makes writers that put filtered pages into a stream: the cleaned record, or the record
with its spans. A new format is a class with the methods of `DocumentFormat`, which is made from
`FormatOptions` and the path of a file, and an entry in `FORMATS`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import IO, Any, Literal, Protocol

from filter.errors import UsageError, missing_package, unknown
from filter.files import base_name
from filter.spans import FilteredPage

FORMATS = {
    "text": "filter.documents.text:TextFormat",
    "jsonl": "filter.documents.jsonl:JsonlFormat",
    "html": "filter.documents.html:HtmlFormat",
    "parquet": "filter.documents.parquet:ParquetFormat",
    "warc": "filter.documents.warc:WarcFormat",
}
"""Where each format lives; imported when a file asks for it."""

EXTENSIONS = {
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".html": "html",
    ".htm": "html",
    ".xhtml": "html",
    ".shtml": "html",
    ".parquet": "parquet",
    ".warc": "warc",
    ".wet": "warc",
}
"""Formats by extension; what has none of these is text."""

EXTRACTORS = ("trafilatura", "resiliparse")
"""What finds the main text of an HTML page: the first finds more of it, the second is faster."""

Adds = Literal["clean", "spans"]
"""What is added to a page: the cleaned text with what was cut from it, or the spans alone."""


@dataclass(frozen=True, slots=True)
class Document:
    """One page and where it came from.

    Attributes:
        text: The page.
        id: The record's own id, or a name for it.
        record: The whole record, where the format has more than a text.
        hidden: Characters that markup hid from readers of the page, and that are not in its text.
    """

    text: str
    id: Any
    record: Mapping[str, Any] | None = None
    hidden: int = 0


@dataclass(frozen=True, slots=True)
class BadRecord:
    """What could not be read, and why.

    Attributes:
        path: The file.
        line: Number of the line, row or record from 1, or None where the file as a whole could not
            be read.
        error: What is wrong, in a few words.
        raw: The line as it stands in the file, as far as it is text.
    """

    path: str
    line: int | None
    error: str
    raw: str = ""

    def __str__(self) -> str:
        return self.error if self.line is None else f"{self.path}:{self.line}: {self.error}"


class DocumentWriter(Protocol):
    """Puts filtered pages into one stream of bytes, which it leaves open."""

    def write(self, document: Document, page: FilteredPage) -> None:
        """Writes one page; pages come in the order of the file."""

    def close(self) -> None:
        """Writes what ends a file, once all its pages are written."""


class DocumentFormat(Protocol):
    """How the pages of a file are read, and how they are written again."""

    name: str

    def read(self, path: str) -> Iterator[Document | BadRecord]:
        """The pages of a file (``-`` is stdin), one at a time."""

    def writer(self, stream: IO[bytes], *, adds: Adds) -> DocumentWriter:
        """What writes the pages that were read, with the cleaned text or with their spans."""

    def output_name(self, name: str, *, adds: Adds = "clean") -> str:
        """The name of the file that is written for a file of this name."""

    def join(self, parts: Sequence[Path], stream: IO[bytes]) -> None:
        """Writes one file with the pages of all parts.

        Args:
            parts: Files that a writer has written whole, compressed as their names say.
            stream: Takes bytes as they are, compressed ones too.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class FormatOptions:
    """What formats are told; each looks at what concerns it.

    Attributes:
        text_key: Field that holds the page, where records have fields.
        id_key: Field that holds the record's id.
        extractor: What finds the main text of an HTML page, one of `EXTRACTORS`.
    """

    text_key: str = "text"
    id_key: str = "id"
    extractor: str = EXTRACTORS[0]

    def __post_init__(self) -> None:
        if self.extractor not in EXTRACTORS:
            raise UsageError(unknown("extractor", self.extractor, EXTRACTORS))


def document_format(
    path: str,
    name: str | None = None,
    *,
    text_key: str = "text",
    id_key: str = "id",
    extractor: str = EXTRACTORS[0],
) -> DocumentFormat:
    """The format of a file, by its name or as asked for.

    Args:
        path: The file; the extension of a compression does not count.
        name: A key of `FORMATS`, or None to go by the file's extension.
        text_key: As in `FormatOptions`.
        id_key: As in `FormatOptions`.
        extractor: As in `FormatOptions`.

    Raises:
        UsageError: no such format or extractor, or a library is missing that the format needs.
    """
    if name is None:
        extension = os.path.splitext(base_name(path))[1].lower()
        name = EXTENSIONS.get(extension, "text")
    if name not in FORMATS:
        raise UsageError(unknown("input format", name, FORMATS))
    options = FormatOptions(text_key=text_key, id_key=id_key, extractor=extractor)
    module, _, attribute = FORMATS[name].partition(":")
    try:
        made: DocumentFormat = getattr(import_module(module), attribute)(options, path)
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package == "filter":
            raise  # a fault of ours, not of the environment
        raise missing_package(f"format {name!r}", package, name) from error
    return made


def json_line(record: Mapping[str, Any]) -> bytes:
    """A record as one line of UTF-8 JSON, its characters as they are."""
    line = json.dumps(record, ensure_ascii=False) + "\n"
    try:
        return line.encode("utf-8")
    except UnicodeEncodeError:
        # A lone surrogate somewhere in a field that is passed on: only an escape can hold it.
        return (json.dumps(record) + "\n").encode("ascii")


def provenance(page: FilteredPage) -> dict[str, str]:
    """What made a result: stands in every record that is written."""
    return {"engine": page.engine, "model": page.model_hash}


def results(page: FilteredPage, adds: Adds) -> dict[str, Any]:
    """The fields that are added to a record."""
    removed = [span.as_dict() for span in page.removed]
    if adds == "spans":
        return {"spans": removed, "winnow": provenance(page)}
    return {"clean_text": page.clean_text, "removed": removed, "winnow": provenance(page)}
