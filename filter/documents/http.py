"""HTTP responses as crawlers store them: the body as the server meant it.

Crawlers store a body as it came over the wire, or unpacked and with the headers of the packed one,
or cut short. So headers are hints here too: a body is unpacked where it is packed, and taken as it
is where it is not.
"""

from __future__ import annotations

import io
import zlib
from collections.abc import Mapping

from filter.errors import WinnowError

LARGEST = 64 << 20
"""Bytes of the largest page that is read: a few bytes can unpack to fill the memory."""

STEP = 4 << 20
"""Bytes that are unpacked at a time where a library cannot be told when to stop."""

GZIP = b"\x1f\x8b"
ZSTD = b"\x28\xb5\x2f\xfd"


def parse_response(head: bytes) -> tuple[int, dict[str, str], int]:
    """Reads what stands before the body of a response.

    Args:
        head: The beginning of a response.

    Returns:
        Its status, its headers by lower-case name, and where the body begins.

    Raises:
        WinnowError: it is no HTTP response.
    """
    end, blank = min(
        ((found, mark) for mark in (b"\r\n\r\n", b"\n\n") if (found := head.find(mark)) >= 0),
        default=(len(head), b""),
    )
    first, *lines = head[:end].decode("latin-1").splitlines() or [""]
    protocol, _, status = first.partition(" ")
    if not protocol.upper().startswith("HTTP/") or not status[:3].isdigit():
        raise WinnowError(f"no HTTP response: it begins with {first[:40]!r}")
    headers: dict[str, str] = {}
    name = ""
    for line in lines:
        if line[:1] in (" ", "\t") and name:  # goes on with the header before it
            headers[name] += " " + line.strip()
            continue
        name, _, value = line.partition(":")
        name = name.strip().lower()
        headers[name] = f"{headers[name]}, {value.strip()}" if name in headers else value.strip()
    return int(status[:3]), headers, end + len(blank)


def media_type(value: str) -> tuple[str, str | None]:
    """The type and the charset that a ``Content-Type`` names."""
    kind, *parameters = value.split(";")
    for parameter in parameters:
        name, _, charset = parameter.partition("=")
        if name.strip().lower() == "charset":
            return kind.strip().lower(), charset.strip().strip("\"'") or None
    return kind.strip().lower(), None


def decoded(body: bytes, headers: Mapping[str, str]) -> bytes:
    """The body, joined from its chunks and unpacked.

    Raises:
        WinnowError: it is larger than any page.
    """
    if "chunked" in headers.get("transfer-encoding", "").lower():
        body = _joined(body)
    for coding in reversed(headers.get("content-encoding", "").lower().split(",")):
        body = _unpacked(body, coding.strip())
    return body


def _joined(body: bytes) -> bytes:
    """A body from its chunks; as it is, where it does not come in chunks."""
    chunks: list[bytes] = []
    position = 0
    while position < len(body):
        end = body.find(b"\n", position, position + 100)
        try:
            size = int(body[position:end].partition(b";")[0], 16) if end >= 0 else -1
        except ValueError:
            size = -1
        if size < 0 or (position and body[position - 1 : position] != b"\n"):
            # Not in chunks at all, or cut short, or spoilt from here on.
            return b"".join(chunks) if chunks else body
        if size == 0:
            break
        chunks.append(body[end + 1 : end + 1 + size])
        position = end + 1 + size
        position += 2 if body[position : position + 2] == b"\r\n" else 1
    return b"".join(chunks)


def _unpacked(body: bytes, coding: str) -> bytes:
    """A body without its packing; as it is, where it is not packed so."""
    unpacked: bytes | None = body
    if coding in ("gzip", "x-gzip") and body.startswith(GZIP):
        unpacked = _inflated(body, 31)
    elif coding == "zstd" and body.startswith(ZSTD):
        unpacked = _from_zstd(body)
    elif coding == "deflate":
        # By the standard with zlib's header; some servers leave it out.
        unpacked = _inflated(body, 15) or _inflated(body, -15) or body
    elif coding == "br":  # which has no mark to know it by
        unpacked = _from_brotli(body) or body
    if unpacked is None:
        raise WinnowError(f"cannot be unpacked: its {coding} is broken")
    if len(unpacked) > LARGEST:
        raise WinnowError(f"larger than {LARGEST >> 20} MB when it is unpacked")
    return unpacked


def _inflated(body: bytes, window: int) -> bytes | None:
    """What zlib makes of a body, or of its beginning if it is cut short; None if it is broken."""
    unpacked = b""
    while body and len(unpacked) <= LARGEST:
        inflate = zlib.decompressobj(window)
        try:
            unpacked += inflate.decompress(body, LARGEST + 1 - len(unpacked))
        except zlib.error:
            return unpacked or None
        body = inflate.unused_data if window == 31 else b""  # gzip may have several members
    return unpacked


def _from_zstd(body: bytes) -> bytes | None:
    import zstandard

    source = io.BytesIO(body)
    stream = zstandard.ZstdDecompressor().stream_reader(source, read_across_frames=True)
    try:
        return stream.read(LARGEST + 1)
    except zstandard.ZstdError:
        return None


def _from_brotli(body: bytes) -> bytes | None:
    import brotli

    unpack = brotli.Decompressor()
    unpacked = b""
    try:
        piece = unpack.process(body, output_buffer_limit=STEP)
        while piece and len(unpacked) <= LARGEST:
            unpacked += piece
            piece = unpack.process(b"", output_buffer_limit=STEP)
    except brotli.error:
        return None
    return unpacked
