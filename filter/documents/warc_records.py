"""The records of a WARC file, broken ones told from whole ones and passed over.

FastWARC finds records and unpacks them. Where one is broken it stops, and takes a record that is
cut short, or says that it is longer than it is, for the last; so how long each one is gets checked,
and after a broken one the next is looked for.
"""

from __future__ import annotations

import sys
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any

from fastwarc.warc import ArchiveIterator

from filter.documents import BadRecord
from filter.errors import WinnowError, is_error
from filter.files import BUFFER_SIZE, require_file, watch

GZIP_MEMBER = b"\x1f\x8b\x08"
BEGINNING = b"WARC/"
AFTER_RECORD = b"\n\r\n" + BEGINNING


class Record:
    """A record, whose bytes are read as far as they are wanted.

    Attributes:
        number: From 1, in the file.
        type: `response`, say.
        length: Bytes that its header says it has; -1 if it does not say.
        reported: Whether it is known that it is broken.
    """

    def __init__(self, record: Any, number: int) -> None:
        self._record = record
        self._read = 0
        self.number = number
        self.type = self.header("WARC-Type").lower()
        length = self.header("Content-Length")
        self.length = int(length) if length.isascii() and length.isdigit() else -1
        self.reported = False

    def header(self, name: str) -> str:
        """A field of its header; empty where it has none."""
        return self._record.headers.get(name) or ""

    def read(self, size: int) -> bytes:
        """So many of the bytes that were not read yet, or all that there are.

        Raises:
            WinnowError: the record is broken, or ends early.
        """
        pieces = []
        wanted = min(size, self.length - self._read)
        while wanted > 0:
            try:
                piece: bytes = self._record.reader.read(wanted)
            except BaseException as error:
                self.reported = True
                raise _broken(error) from error
            if not piece:
                self.reported = True
                raise WinnowError(f"ends after {self._read:,} of {self.length:,} bytes")
            pieces.append(piece)
            wanted -= len(piece)
            self._read += len(piece)
        return b"".join(pieces)

    def check_length(self) -> None:
        """Passes over what was not read.

        Raises:
            WinnowError: the record is broken, or ends early.
        """
        if self.length < 0:
            raise WinnowError("its header does not say how long it is")
        while self.read(BUFFER_SIZE):
            pass
        if self.reported:
            raise WinnowError("is broken")


def read_records(path: str) -> Iterator[Record | BadRecord]:
    """The records of a file (``-`` is stdin), each to be read before the next is asked for."""
    with _opened(path) as stream:
        archive = _Archive(path, stream)
        start: int | None = 0
        number = 0
        expected = False  # whether a broken record that was reported may be found once more
        while start is not None:
            last, record = None, None
            try:
                for found in archive.records(start):
                    number += 1
                    expected = False
                    last = found.stream_pos
                    record = Record(found, number)
                    if record.length >= 0:
                        yield record
                    record.check_length()
                    record = None
                return
            except WinnowError as error:
                if record is not None:
                    if not record.reported:
                        yield BadRecord(path, number, str(error), record.header("WARC-Target-URI"))
                else:
                    if not expected:
                        number += 1
                        yield BadRecord(path, number, str(error))
                    expected = last is not None
            start = archive.next_record((start if last is None else last) + 1)


class _Archive:
    """A file of records, which can be read from any of them on."""

    def __init__(self, path: str, stream: Any) -> None:
        self._stream = stream
        self._seekable = stream.seekable()
        head = stream.read(len(GZIP_MEMBER)) if self._seekable else b""
        self._packed = path.lower().endswith(".gz") or head == GZIP_MEMBER

    def records(self, start: int) -> Iterator[Any]:
        """FastWARC's records from one of them on.

        Raises:
            WinnowError: the next one is broken, or FastWARC stops before the end of the file.
        """
        if self._seekable:
            self._stream.seek(start)
        last = None
        try:
            for record in ArchiveIterator(self._stream, parse_http=False):
                last = record.stream_pos
                yield record
        except GeneratorExit:
            raise
        except BaseException as error:
            raise _broken(error) from error
        if not self._is_finished(start, last):
            raise WinnowError("no record can be found here")

    def next_record(self, begin: int) -> int | None:
        """Where the next record begins, at or after a place in the file."""
        if not self._seekable:
            return None
        mark = GZIP_MEMBER if self._packed else AFTER_RECORD
        self._stream.seek(begin)
        window = b""
        while data := self._stream.read(BUFFER_SIZE):
            window += data
            found = -1
            while (found := window.find(mark, found + 1)) >= 0:
                place: int = self._stream.tell() - len(window) + found
                if not self._packed:
                    return place + len(AFTER_RECORD) - len(BEGINNING)
                if self._is_member(place):
                    return place
            window = window[-len(mark) + 1 :]
        return None

    def _is_finished(self, start: int, last: int | None) -> bool:
        if self._stream.read(1):
            return False
        if not self._seekable:
            return True
        if last is None:
            self._stream.seek(start)
            return not self._stream.read(1)
        return not self._packed or self.next_record(last + 1) is None

    def _is_member(self, place: int) -> bool:
        """Whether there is a member of gzip at a place in which a record begins."""
        before = self._stream.tell()
        self._stream.seek(place)
        head = self._stream.read(4096)
        self._stream.seek(before)
        try:
            return zlib.decompressobj(31).decompress(head, len(BEGINNING)) == BEGINNING
        except zlib.error:
            return False


class _Pipe:
    """A stream that cannot be sought, as FastWARC wants it."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self._position = 0

    def read(self, size: int = -1) -> bytes:
        data = self._stream.read(size)
        self._position += len(data)
        return data

    def tell(self) -> int:
        return self._position

    def seekable(self) -> bool:
        return False

    def close(self) -> None:
        """The stream is not ours to close."""


@contextmanager
def _opened(path: str) -> Iterator[Any]:
    require_file(path)
    if path == "-":
        stdin = sys.stdin.buffer
        yield stdin if stdin.seekable() else _Pipe(stdin)
        return
    with open(path, "rb") as stream:
        watch(path, stream)
        yield stream


def _broken(error: BaseException) -> WinnowError:
    """What is wrong with a record; whatever is no fault of a file is raised as it is."""
    if not is_error(error) or (isinstance(error, OSError) and error.errno is not None):
        raise error
    return WinnowError(f"cannot be read: {error}")
