"""Pages read together with the attributes that stand beside them.

A format around a format: it reads the pages of a shard in step with the lines of an attribute file,
holds each against its page, and writes the pages as their own format does.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from filter.documents import Adds, BadRecord, Document, DocumentFormat, DocumentWriter
from filter.errors import WinnowError
from filter.files import open_bytes
from filter.jobs.sidecar import fingerprint, record_id
from filter.spans import FilteredPage
from filter.text import replace_surrogates


@dataclass(frozen=True, slots=True)
class AttributedDocument(Document):
    """A page with what attribute files say of it.

    Attributes:
        original: The page as its format reads it.
        attributes: The line of the attribute file.
    """

    original: Document | None = None
    attributes: dict[str, Any] = field(default_factory=dict)


class AttributedFormat:
    """A format whose pages are read together with their attributes.

    Args:
        inner: The format.
        path: The attribute file.
        prefix: What the attributes begin with.
    """

    def __init__(self, inner: DocumentFormat, path: str, prefix: str) -> None:
        self.name = inner.name
        self._inner = inner
        self._path = path
        self._prefix = prefix

    def read(self, path: str) -> Iterator[Document | BadRecord]:
        """The pages of a file.

        Raises:
            WinnowError: the attributes are those of other pages.
        """
        with closing(open_bytes(self._path)) as lines:
            number = 0
            for item in self._inner.read(path):
                if isinstance(item, BadRecord):
                    yield item  # which has no attributes: they were made of what could be read
                    continue
                number += 1
                yield self._attributed(item, path, lines.readline(), number)
            if lines.readline():
                raise WinnowError(
                    f"{self._path}:{number + 1}: has attributes for more pages than {path} holds"
                )

    def writer(self, stream: IO[bytes], *, adds: Adds) -> DocumentWriter:
        return _OriginalWriter(self._inner.writer(stream, adds=adds))

    def output_name(self, name: str, *, adds: Adds = "clean") -> str:
        return self._inner.output_name(name, adds=adds)

    def join(self, parts: Sequence[Path], stream: IO[bytes]) -> None:
        self._inner.join(parts, stream)

    def _attributed(
        self, document: Document, path: str, line: bytes, number: int
    ) -> AttributedDocument:
        if not line:
            raise WinnowError(f"{self._path}: ends after {number - 1} pages; {path} holds more")
        try:
            record = json.loads(line)
            known_id, pages = record["id"], record["attributes"][f"{self._prefix}__page"]
        except (ValueError, TypeError, KeyError) as error:
            raise WinnowError(
                f"{self._path}:{number}: not attributes of Winnow's ({error!r})"
            ) from error
        text = replace_surrogates(document.text)
        own_id = record_id(document, path)
        if known_id != own_id:
            raise WinnowError(
                f"{self._path}:{number}: has the attributes of id {known_id!r}, but {path} has id"
                f" {own_id!r} there"
            )
        if pages != [[0, len(text), fingerprint(text)]]:
            raise WinnowError(
                f"{self._path}:{number}: the attributes of id {own_id!r} were made of another text"
                f" than {path} has there"
            )
        return AttributedDocument(
            document.text, document.id, document.record, document.hidden, document, record
        )


class _OriginalWriter:
    """Writes documents as their own format knows them."""

    def __init__(self, writer: DocumentWriter) -> None:
        self._writer = writer

    def write(self, document: Document, page: FilteredPage) -> None:
        assert isinstance(document, AttributedDocument) and document.original is not None
        self._writer.write(document.original, page)

    def close(self) -> None:
        self._writer.close()
