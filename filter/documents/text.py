"""Text files: one file is one page, in whatever encoding it is."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO

from filter.documents import Adds, BadRecord, Document, DocumentWriter, FormatOptions
from filter.documents.lines import PageWriter, as_record, as_text, concatenate
from filter.errors import WinnowError
from filter.files import read_bytes, renamed
from filter.text import decode


class TextFormat:
    """A page a file; cleaned, it is the text alone, without a byte added."""

    name = "text"

    def __init__(self, options: FormatOptions, path: str) -> None:
        """Takes what every format is told; a text has no use for it."""

    def read(self, path: str) -> Iterator[Document | BadRecord]:
        try:
            text, _ = decode(read_bytes(path), name=path)
        except WinnowError as error:
            yield BadRecord(path, None, str(error))
        else:
            yield Document(text, path)

    def writer(self, stream: IO[bytes], *, adds: Adds) -> DocumentWriter:
        return PageWriter(stream, as_text if adds == "clean" else as_record(adds))

    def output_name(self, name: str, *, adds: Adds = "clean") -> str:
        return name if adds == "clean" else renamed(name, ".jsonl")

    def join(self, parts: Sequence[Path], stream: IO[bytes]) -> None:
        concatenate(parts, stream)
