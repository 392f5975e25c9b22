"""WARC and WET files: the pages of a crawl, each with its address and date, to JSON Lines.

Of HTML that was found under its address (a ``response`` that succeeded, or a ``resource``) the main
text is taken; of conversions, which WET files are made of, the text. All other records are no
pages, and are passed over: requests, redirects, pictures, what the server did not find.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO

from filter.documents import Adds, BadRecord, Document, DocumentWriter, FormatOptions
from filter.documents.encoding import decode_html
from filter.documents.extraction import extractor, main_text
from filter.documents.http import LARGEST, decoded, media_type, parse_response
from filter.documents.lines import PageWriter, as_record, concatenate
from filter.documents.warc_records import Record, read_records
from filter.errors import WinnowError
from filter.files import extended
from filter.text import decode

HTML_TYPES = ("text/html", "application/xhtml+xml")
HEAD_SIZE = 1 << 16
"""Bytes of a record that are read to see whether the rest is wanted."""

_UNTOLD = ("", "application/octet-stream", "unknown")
_HTML = re.compile(rb"\s*(<!doctype\s+html|<html|<head|<body)", re.IGNORECASE)


class WarcFormat:
    """A page a record."""

    name = "warc"

    def __init__(self, options: FormatOptions, path: str) -> None:
        self._options = options
        self._extract = extractor(options.extractor)

    def read(self, path: str) -> Iterator[Document | BadRecord]:
        for record in read_records(path):
            if isinstance(record, BadRecord):
                yield record
                continue
            try:
                page = self._page(record)
            except WinnowError as error:
                yield BadRecord(path, record.number, str(error), record.header("WARC-Target-URI"))
            else:
                if page is not None:
                    yield self._document(path, record, *page)

    def writer(self, stream: IO[bytes], *, adds: Adds) -> DocumentWriter:
        return PageWriter(stream, as_record(adds))

    def output_name(self, name: str, *, adds: Adds = "clean") -> str:
        return extended(name, ".jsonl")

    def join(self, parts: Sequence[Path], stream: IO[bytes]) -> None:
        concatenate(parts, stream)

    def _document(self, path: str, record: Record, text: str, hidden: int) -> Document:
        record_id = record.header("WARC-Record-ID") or f"{path}:{record.number}"
        fields = {
            self._options.id_key: record_id,
            "url": record.header("WARC-Target-URI"),
            "date": record.header("WARC-Date"),
            self._options.text_key: text,
        }
        return Document(text, record_id, fields, hidden)

    def _page(self, record: Record) -> tuple[str, int] | None:
        """The text of a record, and how much of it was hidden; None if it is no page.

        Raises:
            WinnowError: the record is broken, or its text cannot be told.
        """
        if record.type == "conversion":
            _check_size(record)
            return decode(record.read(LARGEST), name="the text")[0], 0
        kind = record.header("Content-Type")
        if record.type == "response" and kind.startswith("application/http"):
            head = record.read(HEAD_SIZE)
            status, headers, begin = parse_response(head)
            if not 200 <= status < 300:
                return None
            kind = headers.get("content-type", "")
        elif record.type == "resource":
            head = record.read(HEAD_SIZE)
            headers, begin = {}, 0
        else:
            return None
        kind, charset = media_type(kind)
        if kind in _UNTOLD:
            kind = record.header("WARC-Identified-Payload-Type")
            kind = kind or ("text/html" if _HTML.match(head, begin) else "")
        if kind not in HTML_TYPES:
            return None
        _check_size(record)
        body = decoded(head[begin:] + record.read(LARGEST), headers)
        return main_text(self._extract, decode_html(body, charset=charset, name="the page"))


def _check_size(record: Record) -> None:
    if record.length > LARGEST:
        raise WinnowError(f"larger than {LARGEST >> 20} MB")
