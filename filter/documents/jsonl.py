"""JSON Lines: one object a line, its text under one key; every other field is passed on.

Lines are read as bytes and parted at ``\\n`` alone, so that one line which is not UTF-8, or holds
another kind of line break, costs nothing but itself.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import IO, Any

from filter.documents import Adds, BadRecord, Document, DocumentWriter, FormatOptions
from filter.documents.lines import PageWriter, as_record, concatenate
from filter.errors import WinnowError, nearest
from filter.files import open_bytes
from filter.text import detect

BYTE_ORDER_MARK = b"\xef\xbb\xbf"
HEAD_SIZE = 4096


class JsonlFormat:
    """Records with a text field; results are added to the record, in its order of fields."""

    name = "jsonl"

    def __init__(self, options: FormatOptions, path: str) -> None:
        self._options = options

    def read(self, path: str) -> Iterator[Document | BadRecord]:
        try:
            with closing(open_bytes(path)) as lines:
                _require_json_lines(lines.peek(HEAD_SIZE), path)
                for number, ended in enumerate(lines, start=1):
                    line = ended.rstrip(b"\r\n")
                    if number == 1:
                        line = line.removeprefix(BYTE_ORDER_MARK)
                    if line.strip():
                        yield self._parse(line, path, number)
        except WinnowError as error:
            yield BadRecord(path, None, str(error))

    def writer(self, stream: IO[bytes], *, adds: Adds) -> DocumentWriter:
        return PageWriter(stream, as_record(adds))

    def output_name(self, name: str, *, adds: Adds = "clean") -> str:
        return name

    def join(self, parts: Sequence[Path], stream: IO[bytes]) -> None:
        concatenate(parts, stream)

    def _parse(self, line: bytes, path: str, number: int) -> Document | BadRecord:
        try:
            record = json.loads(line.decode("utf-8"))
            text = self._text(record)
        except UnicodeDecodeError as error:
            reason = f"not UTF-8 (byte {error.start}), which JSON Lines are"
        except json.JSONDecodeError as error:
            reason = f"not JSON: {error.msg} at column {error.colno}"
        except RecursionError:
            reason = "not JSON that can be read: nested too deeply"
        except ValueError as error:
            reason = str(error)
        else:
            return Document(text, record.get(self._options.id_key, f"{path}:{number}"), record)
        return BadRecord(path, number, reason, line.decode("utf-8", "replace"))

    def _text(self, record: Any) -> str:
        if not isinstance(record, dict):
            raise ValueError(f"not an object but {_kind(record)}")
        text_key = self._options.text_key
        if text_key not in record:
            guess = nearest(text_key, record)
            hint = f" (did you mean {guess!r}?)" if guess is not None else ""
            fields = ", ".join(map(str, record)) or "none"
            raise ValueError(
                f"no field {text_key!r}{hint}; name it with --text-key; fields: {fields}"
            )
        text = record[text_key]
        if not isinstance(text, str):
            raise ValueError(f"field {text_key!r} is not a text but {_kind(text)}")
        return text


def _require_json_lines(head: bytes, path: str) -> None:
    """Refuses a file that is no JSON Lines at all, rather than each of its lines.

    Raises:
        WinnowError: the file is binary, or in UTF-16 or UTF-32.
    """
    if b"\0" not in head:  # which all of those have, and JSON has not
        return
    encoding = detect(head, name=path)
    if encoding.startswith(("utf-16", "utf-32")):
        raise WinnowError(f"{path}: is {encoding.upper()}; convert it to UTF-8 first")


def _kind(value: Any) -> str:
    kinds = {str: "a string", list: "an array", dict: "an object", bool: "a boolean"}
    return "null" if value is None else kinds.get(type(value), "a number")
