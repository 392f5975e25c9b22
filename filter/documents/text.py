"""Text files: one file is one page, in whatever encoding it is."""

from __future__ import annotations

from collections.abc import Iterator

from filter.documents import BadRecord, Document, json_line, provenance
from filter.errors import WinnowError
from filter.files import read_bytes
from filter.spans import FilteredPage
from filter.text import decode


class TextFormat:
    """A page a file; cleaned, it is the text alone, without a byte added."""

    name = "text"

    def __init__(self, *, text_key: str = "text", id_key: str = "id") -> None:
        """Takes the names of fields as every format does; a text has none."""

    def read(self, path: str) -> Iterator[Document | BadRecord]:
        try:
            text, _ = decode(read_bytes(path), name=path)
        except WinnowError as error:
            yield BadRecord(path, None, str(error))
        else:
            yield Document(text, path)

    def cleaned(self, document: Document, page: FilteredPage) -> bytes:
        return page.clean_text.encode("utf-8")

    def found(self, document: Document, page: FilteredPage) -> bytes:
        return json_line(
            {
                "id": document.id,
                "text": page.text,
                "spans": [span.as_dict() for span in page.removed],
                "winnow": provenance(page),
            }
        )
