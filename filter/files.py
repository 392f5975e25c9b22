"""Files in and out: opened by extension, read by line, written whole or not at all.

``.gz``, ``.xz`` and ``.zst`` are decompressed as they are read, in bounded memory; a file that ends
too early is an error, never a short page. What is written goes to a temporary file beside its
target, which takes the target's name only when all of it is there. ``-`` is stdin or stdout.
"""

from __future__ import annotations

import hashlib
import io
import os
import secrets
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any, Protocol, cast
from weakref import WeakValueDictionary

from filter.decompression import Decompressed, named_errors
from filter.errors import UsageError

COMPRESSED = (".gz", ".xz", ".zst")
"""Extensions that are decompressed on reading and compressed on writing."""

BUFFER_SIZE = 1 << 20

LONGEST_NAME = 255
"""Bytes of a file's name that most file systems take."""

GZIP_LEVEL = 6
"""Three times as fast as the highest level, for one hundredth of the size."""


class Tells(Protocol):
    """What knows how far a file has been read."""

    def tell(self) -> int:
        """Bytes of the file, as it lies on the disk, that have been read."""


_being_read: WeakValueDictionary[str, Tells] = WeakValueDictionary()


def base_name(path: str) -> str:
    """The file's name without the extension of a compression: ``a/b.jsonl.zst`` is ``b.jsonl``."""
    name = os.path.basename(path)
    root, extension = os.path.splitext(name)
    return root if extension.lower() in COMPRESSED else name


def renamed(name: str, extension: str) -> str:
    """A name with another extension, before that of a compression: ``a.txt.gz``, ``a.jsonl.gz``."""
    stem, compression = _parted(name)
    return os.path.splitext(stem)[0] + extension + compression


def extended(name: str, extension: str) -> str:
    """A name with one more extension, before that of a compression: ``a.warc.jsonl.gz``."""
    stem, compression = _parted(name)
    return stem + extension + compression


def _parted(name: str) -> tuple[str, str]:
    """A name without the extension of its compression, and that."""
    length = len(os.path.basename(name)) - len(base_name(name))
    return (name[:-length], name[-length:]) if length else (name, "")


def temporary_stem(name: str) -> str:
    """What the name of a file's temporary begins with: ``.STEM.`` and a random number.

    The name itself, or a hash of it where that would make a name which is too long.
    """
    length, added = len(os.fsencode(name)), len("..01234567.tmp")
    if LONGEST_NAME - added < length <= LONGEST_NAME:
        return hashlib.sha256(os.fsencode(name)).hexdigest()
    return name


def require_file(path: str) -> None:
    """Checks that a path can be read from, before anything else is done.

    Raises:
        UsageError: there is nothing of that name, or it is a directory, or not ours to read.
    """
    if path == "-":
        return
    if os.path.isdir(path):
        raise UsageError(f"{path}: is a directory; name the files in it, such as {path}/*.txt")
    if not os.path.exists(path):
        raise UsageError(f"{path}: no such file")
    if not os.access(path, os.R_OK):
        raise UsageError(f"{path}: permission denied")


def open_bytes(path: str) -> io.BufferedReader:
    """Opens a file for reading, decompressed by its extension; close it, or use it in ``with``.

    Raises:
        UsageError: the file cannot be opened.
        WinnowError: on reading, when it cannot be decompressed to its end.
    """
    require_file(path)
    if path == "-":
        return open(0, "rb", closefd=False)
    raw = open(path, "rb")  # noqa: SIM115  (whoever asked for it closes it)
    watch(path, raw)
    extension = os.path.splitext(path)[1].lower()
    if extension not in COMPRESSED:
        return raw
    return io.BufferedReader(Decompressed(raw, path, extension), BUFFER_SIZE)


def watch(path: str, reader: Tells) -> None:
    """Has `position` ask this reader, for as long as there is a reference to it."""
    _being_read[path] = reader


def position(path: str) -> int | None:
    """Bytes of a file, as it lies on the disk, that this process has read; None if it is not read.

    For showing how far a job has come: reading ahead counts as reading.
    """
    reader = _being_read.get(path)
    try:
        return None if reader is None else reader.tell()
    except ValueError:  # it is closed
        return None


def read_bytes(path: str) -> bytes:
    """The whole of a file, decompressed by its extension."""
    with open_bytes(path) as stream:
        return stream.read()


@contextmanager
def atomic_write(path: str | os.PathLike[str], *, compress: bool = True) -> Iterator[IO[bytes]]:
    """Opens a file for writing that appears under its name only when the block ends well.

    Whatever is no regular file (``-``, a device, a pipe) is written to directly. An error in the
    block leaves an earlier file of that name as it was.

    Args:
        path: The file, or ``-`` for stdout.
        compress: Compress by extension; not so for bytes that are compressed already.

    Raises:
        UsageError: the file cannot be created there.
    """
    if os.fspath(path) == "-":
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    # A link is followed: what it points to is replaced, not the link.
    target = Path(os.path.realpath(path))
    if target.exists() and not target.is_file():
        if target.is_dir():
            raise UsageError(f"{target}: is a directory")
        with io.BufferedWriter(_Output(target, "wb", os.fspath(path))) as raw:
            yield raw
        return
    temporary = target.with_name(f".{temporary_stem(target.name)}.{secrets.token_hex(4)}.tmp")
    try:
        raw = io.BufferedWriter(_Output(temporary, "xb", os.fspath(path)))
    except OSError as error:
        raise UsageError(f"{path}: cannot be written ({error.strerror})") from error
    try:
        with raw:
            if compress:
                with _compressed(raw, target.name) as stream:
                    yield stream
            else:
                yield raw
        os.replace(temporary, target)
    except BaseException:
        with suppress(OSError):
            temporary.unlink()
        raise


def _compressed(raw: IO[bytes], name: str) -> IO[bytes]:
    """A stream that compresses what is written to it, by the extension of the target's name."""
    extension = os.path.splitext(name)[1].lower()
    if extension == ".gz":
        import gzip

        # No time stamp: the same pages give the same bytes.
        packed = gzip.GzipFile("", "wb", compresslevel=GZIP_LEVEL, fileobj=raw, mtime=0)
        return cast("IO[bytes]", packed)
    if extension == ".xz":
        import lzma

        return cast("IO[bytes]", lzma.LZMAFile(raw, "wb"))
    if extension == ".zst":
        import zstandard

        # Left open on closing: the temporary file is the caller's to close.
        return zstandard.ZstdCompressor().stream_writer(raw, closefd=False)
    return raw


class _Output(io.FileIO):
    """A file that is written; an error names what the user has asked for, and not a temporary."""

    def __init__(self, file: Path, mode: str, path: str) -> None:
        self._path = path  # before anything fails: what cannot be opened is closed all the same
        super().__init__(file, mode)

    def write(self, data: Any) -> int:
        with named_errors(self._path):
            return super().write(data)

    def close(self) -> None:
        with named_errors(self._path):
            super().close()
