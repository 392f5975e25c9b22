"""The records of a WARC file, broken ones told from whole ones and passed over.

FastWARC finds records and unpacks them. Where one is broken it stops, and takes a record that is
cut short, or says that it is longer than it is, for the last; so how long each one is gets checked,
and after a broken one the next is looked for. Where none can be found although there may be one,
that the rest is lost is said too.
"""

from __future__ import annotations

import io
import os
import sys
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import zstandard
from fastwarc.warc import ArchiveIterator

from filter.documents import BadRecord
from filter.errors import WinnowError, is_error
from filter.files import BUFFER_SIZE, open_bytes, require_file, watch

STEP = 1 << 16
"""Bytes of packed records that are unpacked at a time."""

GZIP_MEMBER = b"\x1f\x8b\x08"
ZSTD_FRAME = b"\x28\xb5\x2f\xfd"
BEGINNING = b"WARC/"
AFTER_RECORD = b"\n\r\n" + BEGINNING

_MARKS = {".gz": GZIP_MEMBER, ".zst": ZSTD_FRAME}

MEMBER_HEAD = (1 << 17) + 64
"""Bytes that are enough to unpack the beginning of a record: the largest block of zstd."""


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
            begin = start if last is None else last
            start = archive.next_record(begin + 1)
            # (A file in which there is no record at all is none of WARC, and bad as a whole.)
            found_any = number > 1 or last is not None
            if start is None and found_any and archive.may_hold_more(begin):
                yield BadRecord(path, None, f"{path}: the rest of the file is lost")


class _Archive:
    """A file of records, which can be read from any of them on."""

    def __init__(self, path: str, stream: Any) -> None:
        self._stream = stream
        self._seekable = stream.seekable()
        head = stream.read(len(ZSTD_FRAME)) if self._seekable else b""
        self._mark = _MARKS.get(os.path.splitext(path)[1].lower(), AFTER_RECORD)
        for mark in _MARKS.values():
            if head.startswith(mark):
                self._mark = mark
        self._packed = self._mark != AFTER_RECORD

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
        mark = self._mark
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

    def may_hold_more(self, last: int) -> bool:
        """Whether there may be records after a broken one, though none can be found.

        Args:
            last: Where the last one begins that was found.
        """
        if not self._seekable:
            return True
        # A member that holds several records, or the whole file, cannot be entered in the middle.
        return self._packed and (last == 0 or not self._is_member(last))

    def _is_finished(self, start: int, last: int | None) -> bool:
        if self._stream.read(1):
            return False
        if not self._seekable:
            return True
        if last is None:
            self._stream.seek(start)
            return not self._packed and not self._stream.read(1)  # packed, nothing has some bytes
        if not self._packed:
            return True
        if self.next_record(last + 1) is not None:
            return False
        return self._mark != GZIP_MEMBER or not self._has_rest(
            last if self._is_member(last) else start
        )

    def _has_rest(self, place: int) -> bool:
        """Whether the members of gzip from a place on are followed by bytes that are no record.

        FastWARC passes over what is too short to be unpacked: a member that was cut in its header.
        """
        self._stream.seek(place)
        data = self._stream.read(STEP)
        while data:
            member, head = zlib.decompressobj(31), b""
            try:
                while data and not member.eof:
                    head = (head + member.decompress(data, BUFFER_SIZE))[: len(BEGINNING)]
                    data = member.unused_data or member.unconsumed_tail or self._stream.read(STEP)
            except zlib.error:
                return head != BEGINNING
            if not member.eof:
                return head != BEGINNING
        return False

    def _is_member(self, place: int) -> bool:
        """Whether there is a member of gzip, or a frame of zstd, in which a record begins."""
        before = self._stream.tell()
        self._stream.seek(place)
        head = self._stream.read(MEMBER_HEAD)
        self._stream.seek(before)
        return _unpacked(head, len(BEGINNING)) == BEGINNING


class _Pipe:
    """A stream that cannot be sought, as FastWARC wants it."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self._position = 0

    def read(self, size: int = -1) -> bytes:
        # One piece at a time: what stands before the place where a file breaks off is read.
        data: bytes = self._stream.read1(size)
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
    if path.lower().endswith(".xz"):  # which FastWARC does not unpack
        with open_bytes(path) as unpacked:
            yield _Pipe(unpacked)
        return
    with open(path, "rb") as stream:
        watch(path, stream)
        yield stream


def _unpacked(data: bytes, size: int) -> bytes:
    """So many bytes of what is packed with gzip or zstd; none where it is not."""
    try:
        if not data.startswith(ZSTD_FRAME):
            return zlib.decompressobj(31).decompress(data, size)
        return zstandard.ZstdDecompressor().stream_reader(io.BytesIO(data)).read(size)
    except (zlib.error, zstandard.ZstdError):
        return b""


def _broken(error: BaseException) -> WinnowError:
    """What is wrong with a record; whatever is no fault of a file is raised as it is."""
    if not is_error(error) or (isinstance(error, OSError) and error.errno is not None):
        raise error
    return WinnowError(f"cannot be read: {error}")
