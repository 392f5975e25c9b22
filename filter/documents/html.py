"""HTML files: one file is one page, whose main text is looked for.

Spans are offsets into that text, which is written along with them; cleaned, a page is text. A page
without a main text (a redirect, a form, a picture) is an empty page, as an empty file is: there is
nothing wrong with it. A bad record is what cannot be read: a picture named ``.html``, say.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO

from filter.documents import Adds, BadRecord, Document, DocumentWriter, FormatOptions
from filter.documents.encoding import decode_html
from filter.documents.extraction import extractor, main_text
from filter.documents.lines import PageWriter, as_record, as_text, concatenate
from filter.errors import WinnowError
from filter.files import read_bytes, renamed


class HtmlFormat:
    """A page a file."""

    name = "html"

    def __init__(self, options: FormatOptions, path: str) -> None:
        self._extract = extractor(options.extractor)

    def read(self, path: str) -> Iterator[Document | BadRecord]:
        try:
            text, hidden = main_text(self._extract, decode_html(read_bytes(path), name=path))
        except WinnowError as error:
            yield BadRecord(path, None, str(error))
        else:
            yield Document(text, path, hidden=hidden)

    def writer(self, stream: IO[bytes], *, adds: Adds) -> DocumentWriter:
        return PageWriter(stream, as_text if adds == "clean" else as_record(adds))

    def output_name(self, name: str, *, adds: Adds = "clean") -> str:
        return renamed(name, ".txt" if adds == "clean" else ".jsonl")

    def join(self, parts: Sequence[Path], stream: IO[bytes]) -> None:
        concatenate(parts, stream)
