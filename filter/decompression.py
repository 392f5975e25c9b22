"""Bytes out of a compressed file, as they are read; one that ends too early is an error."""

from __future__ import annotations

import io
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any

from filter.errors import WinnowError


@contextmanager
def named_errors(path: str) -> Iterator[None]:
    """Has errors of the machine say which file they are about."""
    try:
        yield
    except OSError as error:
        if error.errno is not None and error.filename is None:
            error.filename = path
        raise


class Decompressed(io.RawIOBase):
    """What a compressed file holds; an error in it names the file."""

    def __init__(self, raw: io.BufferedReader, path: str, extension: str) -> None:
        self._raw = raw
        self._begun = False
        self._path = path
        self._errors: tuple[type[Exception], ...] = (EOFError, OSError, zlib.error)
        self._stream: Any
        if extension == ".gz":
            import gzip

            self._stream = gzip.GzipFile(fileobj=raw)
        elif extension == ".xz":
            import lzma

            self._stream = lzma.LZMAFile(raw)  # noqa: SIM115  (closed by close)
            self._errors += (lzma.LZMAError,)
        else:
            import zstandard

            self._stream = _ZstdReader(raw)
            self._errors += (zstandard.ZstdError,)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        try:
            with named_errors(self._path):
                # Not all that unpack take a file without a byte for one that ends too early.
                if not self._begun and not self._raw.peek(1):
                    raise EOFError("it is empty")
                self._begun = True
                # One piece at a time: what stands before the place where a file breaks off is read.
                return int(self._stream.readinto1(buffer))
        except self._errors as error:
            if isinstance(error, OSError) and error.errno is not None:
                raise  # the machine's trouble, not the file's
            raise WinnowError(f"{self._path}: broken compressed file: {error}") from error

    def close(self) -> None:
        self._stream.close()
        self._raw.close()
        super().close()


class _ZstdReader(io.RawIOBase):
    """Decompresses Zstandard frames, one after the other, and says when the last is cut short.

    (The library's own stream reader takes a truncated file for a finished one.)
    """

    INPUT_SIZE = 8192

    def __init__(self, raw: IO[bytes]) -> None:
        import zstandard

        self._raw = raw
        self._new_frame = zstandard.ZstdDecompressor().decompressobj
        self._frame = self._new_frame()
        self._in_frame = False
        self._input = b""
        self._output = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._output:
            if not self._input:
                self._input = self._raw.read(self.INPUT_SIZE)
            if not self._input:
                if self._in_frame:
                    raise EOFError("it ends before its end-of-stream marker")
                return 0
            self._in_frame = True
            self._output = memoryview(self._frame.decompress(self._input))
            self._input = b""
            if self._frame.eof:
                self._input = self._frame.unused_data
                self._frame = self._new_frame()
                self._in_frame = False
        size = min(len(buffer), len(self._output))
        buffer[:size] = self._output[:size]
        self._output = self._output[size:]
        return size

    readinto1 = readinto
