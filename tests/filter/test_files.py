"""Reading by extension, and writing whole or not at all."""

from __future__ import annotations

import errno
import gzip
import lzma
import os
import stat
from pathlib import Path

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from filter.errors import UsageError, WinnowError
from filter.files import (
    atomic_write,
    base_name,
    extended,
    open_bytes,
    position,
    read_bytes,
    renamed,
    require_file,
    temporary_stem,
)

EXTENSIONS = ("", ".gz", ".xz", ".zst")
LINES = b"".join(b'{"id": %d, "text": "\xe9\xa1\xb5"}\n' % i for i in range(5000))


@pytest.mark.parametrize("extension", EXTENSIONS)
def test_what_is_written_is_read(tmp_path: Path, extension: str) -> None:
    path = tmp_path / f"pages.jsonl{extension}"
    with atomic_write(path) as stream:
        stream.write(LINES)
    assert read_bytes(str(path)) == LINES
    with open_bytes(str(path)) as lines:
        assert list(lines) == LINES.splitlines(keepends=True)
    if extension:
        assert path.stat().st_size < len(LINES) / 3


def test_standard_compressors_are_understood(tmp_path: Path) -> None:
    skippable = b"\x50\x2a\x4d\x18" + b"\x03\x00\x00\x00" + b"pad"
    zstd = zstandard.ZstdCompressor()
    packed = {
        "a.gz": gzip.compress(LINES) + gzip.compress(LINES),
        "a.xz": lzma.compress(LINES) + lzma.compress(LINES),
        "a.ZST": zstd.compress(LINES) + skippable + zstd.compress(LINES),
    }
    for name, data in packed.items():
        (tmp_path / name).write_bytes(data)
        assert read_bytes(str(tmp_path / name)) == LINES + LINES, name


@pytest.mark.parametrize("extension", EXTENSIONS[1:])
@pytest.mark.parametrize("spoil", ["cut", "flip"])
def test_broken_compression_is_an_error_that_names_the_file(
    tmp_path: Path, extension: str, spoil: str
) -> None:
    path = tmp_path / f"pages.jsonl{extension}"
    with atomic_write(path) as stream:
        stream.write(LINES)
    data = path.read_bytes()
    broken = data[: len(data) // 2] if spoil == "cut" else b"\0\1\2\3" + data[4:]
    path.write_bytes(broken)
    with pytest.raises(WinnowError, match=rf"pages\.jsonl\{extension}: broken compressed file"):
        read_bytes(str(path))


@pytest.mark.parametrize("extension", EXTENSIONS[1:])
def test_a_compressed_file_without_a_byte_ends_too_early(tmp_path: Path, extension: str) -> None:
    path = tmp_path / f"pages.jsonl{extension}"
    path.touch()
    with pytest.raises(WinnowError, match=rf"{extension}: broken compressed file: it is empty"):
        read_bytes(str(path))
    with atomic_write(path):
        pass
    assert read_bytes(str(path)) == b""  # nothing, compressed, is a file of some bytes


@settings(max_examples=30, deadline=None)
@given(data=st.binary(max_size=5000), sizes=st.lists(st.integers(1, 700), min_size=1))
def test_zstandard_frames_of_any_size_are_read_in_any_pieces(
    tmp_path_factory: pytest.TempPathFactory, data: bytes, sizes: list[int]
) -> None:
    path = tmp_path_factory.mktemp("frames") / "a.zst"
    frames, position = b"", 0
    for size in sizes:
        frames += zstandard.ZstdCompressor().compress(data[position : position + size])
        position += size
    path.write_bytes(frames)
    pieces = []
    with open_bytes(str(path)) as stream:
        while piece := stream.read(333):
            pieces.append(piece)
    assert b"".join(pieces) == data[:position]


def test_a_line_of_twenty_megabytes_is_one_line(tmp_path: Path) -> None:
    line = b'{"text": "' + "长".encode() * 7_000_000 + b'"}\n'
    path = tmp_path / "long.jsonl.zst"
    with atomic_write(path) as stream:
        stream.write(line + b"{}\n")
    with open_bytes(str(path)) as lines:
        assert [len(each) for each in lines] == [len(line), 3]


def test_a_failed_write_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "out.txt"
    path.write_text("before")
    with pytest.raises(RuntimeError), atomic_write(path) as stream:
        stream.write(b"half of it")
        raise RuntimeError
    assert path.read_text() == "before"
    assert os.listdir(tmp_path) == ["out.txt"]


def test_nothing_stands_under_the_name_until_all_is_written(tmp_path: Path) -> None:
    path = tmp_path / "out.txt"
    with atomic_write(path) as stream:
        stream.write(b"all of it")
        assert not path.exists()
    assert path.read_bytes() == b"all of it"


@pytest.mark.parametrize("name", ["长" * 85, "a" * 241, "a" * 242, "a" * 251 + ".zst"])
def test_a_name_may_be_as_long_as_the_file_system_takes(tmp_path: Path, name: str) -> None:
    for text in (b"before", b"after"):
        with atomic_write(tmp_path / name) as stream:
            (temporary,) = set(os.listdir(tmp_path)) - {name}
            assert temporary.startswith(f".{temporary_stem(name)}.")
            stream.write(text)
    assert read_bytes(str(tmp_path / name)) == b"after"
    assert os.listdir(tmp_path) == [name]


def test_a_written_file_has_the_usual_permissions(tmp_path: Path) -> None:
    with atomic_write(tmp_path / "written"):
        pass
    (tmp_path / "usual").touch()
    modes = {stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("written", "usual")}
    assert len(modes) == 1


def test_a_link_is_followed_and_a_device_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "target").write_text("before")
    (tmp_path / "link").symlink_to("target")
    with atomic_write(tmp_path / "link") as stream:
        stream.write(b"after")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "target").read_text() == "after"
    with atomic_write(os.devnull) as stream:
        stream.write(b"gone")
    assert not Path(os.devnull).is_file()


def test_what_cannot_be_opened_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="nothing: no such file"):
        require_file(str(tmp_path / "nothing"))
    with pytest.raises(UsageError, match="is a directory"):
        require_file(str(tmp_path))
    with pytest.raises(UsageError, match="cannot be written"), atomic_write(tmp_path / "no" / "x"):
        pass
    with pytest.raises(UsageError, match="is a directory"), atomic_write(tmp_path):
        pass


@pytest.mark.parametrize("extension", EXTENSIONS)
def test_how_far_a_file_is_read_is_counted_in_bytes_on_the_disk(
    tmp_path: Path, extension: str
) -> None:
    path = str(tmp_path / f"pages.jsonl{extension}")
    with atomic_write(path) as stream:
        stream.write(os.urandom(1 << 21))
    assert position(path) is None
    with open_bytes(path) as stream:
        assert position(path) == 0
        stream.read(1 << 20)
        half = position(path)
        assert half is not None
        stream.read()
        assert 0 < half < os.path.getsize(path) == position(path)
    assert position(path) is None


def test_trouble_of_the_machine_is_not_taken_for_a_broken_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "pages.jsonl.gz"
    path.write_bytes(gzip.compress(LINES))
    stream = open_bytes(str(path))

    def fail(*arguments: object) -> int:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(gzip.GzipFile, "readinto1", fail)
    with stream, pytest.raises(OSError, match="Input/output error") as caught:
        stream.read()
    assert caught.value.filename == str(path)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no /dev/full")
def test_a_full_device_is_named() -> None:
    with pytest.raises(OSError) as caught, atomic_write("/dev/full") as stream:
        stream.write(b"page")
    assert (caught.value.errno, caught.value.filename) == (errno.ENOSPC, "/dev/full")


@pytest.mark.parametrize("extension", EXTENSIONS)
@pytest.mark.parametrize("size", [3, 1 << 20])
def test_where_a_disk_takes_no_more_the_file_that_was_asked_for_is_named(
    tmp_path: Path, extension: str, size: int
) -> None:
    resource = pytest.importorskip("resource")
    path = tmp_path / f"pages.jsonl{extension}"
    data = os.urandom(size)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, before[1]))
    try:
        with pytest.raises(OSError) as caught, atomic_write(path) as stream:
            stream.write(data)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert (caught.value.errno, caught.value.filename) == (errno.EFBIG, str(path))
    assert os.listdir(tmp_path) == []


def test_an_error_of_somebody_else_keeps_its_file_name(tmp_path: Path) -> None:
    with pytest.raises(OSError) as caught, atomic_write(tmp_path / "out.txt"):
        raise OSError(errno.EIO, "Input/output error")
    assert caught.value.filename is None


def test_another_extension_stands_before_that_of_a_compression() -> None:
    names = ("a.txt", "d.x/a.txt.gz", "a", "a.b.ZST")
    renamed_names = [renamed(name, ".jsonl") for name in names]
    assert renamed_names == ["a.jsonl", "d.x/a.jsonl.gz", "a.jsonl", "a.jsonl.ZST"]
    extended_names = [extended(name, ".jsonl") for name in names]
    assert extended_names == ["a.txt.jsonl", "d.x/a.txt.jsonl.gz", "a.jsonl", "a.b.jsonl.ZST"]


def test_base_name_leaves_out_the_compression_alone() -> None:
    names = ("a/b.jsonl.zst", "b.jsonl", "x/page.txt.GZ", "archive.tar")
    assert [base_name(name) for name in names] == ["b.jsonl", "b.jsonl", "page.txt", "archive.tar"]
