"""Records in, records out, behind one small interface.

A format reads a file as a stream of `Document`s, with a `BadRecord` in the place of what it could
not read, and turns a filtered page back into what is written: the cleaned record, or the record
with its spans. A new format is a class with those three methods and an entry in `FORMATS`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Protocol

from filter.errors import UsageError, unknown
from filter.files import base_name
from filter.spans import FilteredPage

FORMATS = {
    "text": "filter.documents.text:TextFormat",
    "jsonl": "filter.documents.jsonl:JsonlFormat",
}
"""Where each format lives; imported when a file asks for it."""

EXTENSIONS = {".jsonl": "jsonl", ".ndjson": "jsonl"}
"""Formats by extension; what has none of these is text."""


@dataclass(frozen=True, slots=True)
class Document:
    """One page and where it came from.

    Attributes:
        text: The page.
        id: The record's own id, or a name for it.
        record: The whole record, where the format has more than a text.
    """

    text: str
    id: Any
    record: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class BadRecord:
    """What could not be read, and why.

    Attributes:
        path: The file.
        line: Line number from 1, or None where the file as a whole could not be read.
        error: What is wrong, in a few words.
        raw: The line as it stands in the file, as far as it is text.
    """

    path: str
    line: int | None
    error: str
    raw: str = ""

    def __str__(self) -> str:
        return self.error if self.line is None else f"{self.path}:{self.line}: {self.error}"


class DocumentFormat(Protocol):
    """How the pages of a file are read, and how they are written again."""

    name: str

    def read(self, path: str) -> Iterator[Document | BadRecord]:
        """The pages of a file (``-`` is stdin), one at a time."""

    def cleaned(self, document: Document, page: FilteredPage) -> bytes:
        """What is written for a cleaned page."""

    def found(self, document: Document, page: FilteredPage) -> bytes:
        """A line of JSON with the spans that were found in a page."""


def document_format(
    path: str, name: str | None = None, *, text_key: str = "text", id_key: str = "id"
) -> DocumentFormat:
    """The format of a file, by its name or as asked for.

    Args:
        path: The file; the extension of a compression does not count.
        name: A key of `FORMATS`, or None to go by the file's extension.
        text_key: Field that holds the page, where records have fields.
        id_key: Field that holds the record's id.

    Raises:
        UsageError: no such format.
    """
    if name is None:
        extension = os.path.splitext(base_name(path))[1].lower()
        name = EXTENSIONS.get(extension, "text")
    if name not in FORMATS:
        raise UsageError(unknown("input format", name, FORMATS))
    module, _, attribute = FORMATS[name].partition(":")
    made: DocumentFormat = getattr(import_module(module), attribute)(
        text_key=text_key, id_key=id_key
    )
    return made


def json_line(record: dict[str, Any]) -> bytes:
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
