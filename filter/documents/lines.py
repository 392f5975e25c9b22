"""Pages written one after the other: what texts and records in lines have in common."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO

from filter.documents import Adds, Document, json_line, results
from filter.files import BUFFER_SIZE
from filter.spans import FilteredPage

Render = Callable[[Document, FilteredPage], bytes]
"""What is written for a page."""


class PageWriter:
    """Writes pages one after the other, parted by a line break where one does not end in it."""

    def __init__(self, stream: IO[bytes], render: Render) -> None:
        self._stream = stream
        self._render = render
        self._parted = True
        self._shown = stream.isatty()

    def write(self, document: Document, page: FilteredPage) -> None:
        data = self._render(document, page)
        if not data:
            return
        if not self._parted:
            self._stream.write(b"\n")
        self._stream.write(data)
        self._parted = data.endswith(b"\n")
        if self._shown:
            self._stream.flush()

    def close(self) -> None:
        """Lines need nothing to end them."""


def as_text(document: Document, page: FilteredPage) -> bytes:
    """The cleaned text alone, without a byte added."""
    return page.clean_text.encode("utf-8")


def as_record(adds: Adds) -> Render:
    """A line of JSON: the record, or else the id and the text, with what was found added."""

    def render(document: Document, page: FilteredPage) -> bytes:
        record = document.record
        if record is None:
            record = {"id": document.id, "text": page.text}
        return json_line({**record, **results(page, adds)})

    return render


def concatenate(parts: Sequence[Path], stream: IO[bytes]) -> None:
    """Files one after the other, which joins lines, and compressed ones of every kind too."""
    for part in parts:
        with open(part, "rb") as source:
            shutil.copyfileobj(source, stream, BUFFER_SIZE)
