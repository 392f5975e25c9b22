"""WARC and WET files: every page of a crawl, whatever is broken between them."""

from __future__ import annotations

import gzip
import json
import lzma
import sys
import zlib
from collections.abc import Callable
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import pytest

from filter.documents import BadRecord, Document, document_format
from filter.files import position

pytest.importorskip("fastwarc")
pytest.importorskip("trafilatura")
pytest.importorskip("brotli")

import brotli
import zstandard

from filter.documents import http

Winnow = Callable[..., Any]

SIMPLIFIED = "昨天下午，村里的老人们坐在槐树下谈起了去年的收成，说雨水比往年多，玉米却没有减产。"
TRADITIONAL = "這座圖書館建於三十年前，原本是一間小學的禮堂，館員說每到週末都有人帶著孩子來聽故事。"
DATE = "2020-01-02T03:04:05Z"
HTML = "Content-Type: text/html; charset=utf-8\r\n"


gz = partial(gzip.compress, mtime=0)  # the same bytes in every run
zst = zstandard.ZstdCompressor(write_checksum=True).compress


def markup(text: str, charset: str = "utf-8") -> bytes:
    head = f"<html><head><meta charset='{charset}'></head><body><div class='content'>"
    more = "这里还有一段文字，好让这一页看起来像一篇文章，而不是一行导航。"
    codec = {"gb2312": "gb18030", "big5": "cp950"}.get(charset, charset)
    more = more if charset != "big5" else "這裡還有一段文字，好讓這一頁看起來像一篇文章。"
    return f"{head}<p>{text}</p><p>{more}</p></div></body></html>".encode(codec)


PAGE = markup(SIMPLIFIED)


def record(
    kind: str, block: bytes, name: str, content_type: str = "application/http; msgtype=response"
) -> bytes:
    header = (
        f"WARC/1.0\r\nWARC-Type: {kind}\r\nWARC-Record-ID: <urn:uuid:{name}>\r\n"
        f"WARC-Date: {DATE}\r\nWARC-Target-URI: http://x.test/{name}\r\n"
        f"Content-Type: {content_type}\r\nContent-Length: {len(block)}\r\n\r\n"
    )
    return header.encode() + block + b"\r\n\r\n"


def response(body: bytes, name: str, headers: str = HTML, status: str = "200 OK") -> bytes:
    return record("response", f"HTTP/1.1 {status}\r\n{headers}\r\n".encode() + body, name)


def chunked(data: bytes, size: int = 7) -> bytes:
    chunks = [data[i : i + size] for i in range(0, len(data), size)]
    return b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\n\r\n"


def conversion(text: str, name: str) -> bytes:
    return record("conversion", text.encode(), name, "text/plain")


BROKEN = gz(PAGE)[:12] + b"\xff" * 30

INFO = record("warcinfo", b"software: x\r\n", "info", "application/warc-fields")
REQUEST = record("request", b"GET / HTTP/1.1\r\n\r\n", "request")

ALL_PACKED = pytest.mark.parametrize("pack", [bytes, gz], ids=["plain", "gz"])


def read(path: Path, **options: Any) -> list[Document | BadRecord]:
    return list(document_format(str(path), "warc", **options).read(str(path)))


def names(items: list[Document | BadRecord]) -> list[str]:
    """The ids of documents; bad records as their numbers."""
    return [
        item.id.removeprefix("<urn:uuid:").removesuffix(">")
        if isinstance(item, Document)
        else f"bad {item.line}"
        for item in items
    ]


def one_page(tmp_path: Path, *records: bytes) -> Document:
    (tmp_path / "a.warc").write_bytes(b"".join(records))
    (item,) = read(tmp_path / "a.warc")
    assert isinstance(item, Document), item
    return item


@pytest.mark.parametrize("name", ["trafilatura", "resiliparse"])
@ALL_PACKED
def test_a_page_comes_with_its_address_and_date(
    tmp_path: Path, pack: Callable[[bytes], bytes], name: str
) -> None:
    page = PAGE.replace(b"<p>", b"<p style='display:none'>\xe5\xb9\xbf\xe5\x91\x8a</p><p>", 1)
    data = b"".join(map(pack, (INFO, REQUEST, response(page, "1"), response(PAGE, "2"))))
    (tmp_path / "a.warc").write_bytes(data)
    first, second = read(tmp_path / "a.warc", extractor=name)
    assert isinstance(first, Document) and isinstance(second, Document)
    assert first.record == {
        "id": "<urn:uuid:1>",
        "url": "http://x.test/1",
        "date": DATE,
        "text": first.text,
    }
    assert first.text.splitlines()[0] == second.text.splitlines()[0] == SIMPLIFIED
    assert (first.id, first.hidden, second.hidden) == ("<urn:uuid:1>", 2, 0)


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        (gz(PAGE), "Content-Encoding: gzip\r\n"),
        (gz(PAGE[:50]) + gz(PAGE[50:]), "Content-Encoding: x-gzip\r\n"),
        (zlib.compress(PAGE), "Content-Encoding: deflate\r\n"),
        (zlib.compress(PAGE)[2:-4], "content-encoding:deflate\r\n"),
        (brotli.compress(PAGE), "Content-Encoding: br\r\n"),
        (zstandard.ZstdCompressor().compress(PAGE), "Content-Encoding: zstd\r\n"),
        (chunked(PAGE), "Transfer-Encoding: chunked\r\n"),
        (chunked(gz(PAGE)), "Transfer-Encoding: chunked\r\nContent-Encoding: gzip\r\n"),
        (chunked(PAGE).replace(b"7\r\n", b"7;x=y\r\n"), "Transfer-Encoding: Chunked\r\n"),
        (gz(brotli.compress(PAGE)), "Content-Encoding: br, gzip\r\n"),
        # Headers of what it was before the crawler unpacked it.
        (PAGE, "Content-Encoding: gzip\r\n"),
        (PAGE, "Content-Encoding: deflate\r\n"),
        (PAGE, "Content-Encoding: br\r\n"),
        (PAGE, "Content-Encoding: zstd\r\n"),
        (PAGE, "Transfer-Encoding: chunked\r\n"),
        (PAGE, "Content-Encoding: unheard-of\r\n"),
        (PAGE, "Content-Encoding: \r\n"),
        (PAGE, "X-Folded: a\r\n b\r\n"),
        (PAGE, "no colon\r\n"),
    ],
)
def test_a_body_is_unpacked_where_it_is_packed(tmp_path: Path, body: bytes, headers: str) -> None:
    page = one_page(tmp_path, response(body, "1", HTML + headers))
    assert page.text.splitlines()[0] == SIMPLIFIED
    assert page.text.splitlines()[1].endswith("而不是一行导航。")


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        (gz(PAGE)[:-20], "Content-Encoding: gzip\r\n"),
        (brotli.compress(PAGE)[:-9], "Content-Encoding: br\r\n"),
        (chunked(PAGE)[:-60], "Transfer-Encoding: chunked\r\n"),
    ],
)
def test_of_a_page_that_is_cut_short_there_is_what_there_is(
    tmp_path: Path, body: bytes, headers: str
) -> None:
    page = one_page(tmp_path, response(body, "1", HTML + headers))
    assert page.text.startswith(SIMPLIFIED[:20])


@pytest.mark.parametrize(
    ("text", "charset", "declared"),
    [
        (SIMPLIFIED, "gb2312", "gb2312"),
        (SIMPLIFIED, "gb18030", ""),
        (SIMPLIFIED, "utf-8", "gbk"),
        (SIMPLIFIED, "gb2312", "ISO-8859-1"),
        (TRADITIONAL, "big5", "big5"),
        (TRADITIONAL, "big5", "utf-8"),
    ],
)
def test_chinese_encodings_are_read_right(
    tmp_path: Path, text: str, charset: str, declared: str
) -> None:
    headers = (
        f"Content-Type: text/html; charset={declared}\r\n"
        if declared
        else "Content-Type: text/html\r\n"
    )
    page = one_page(tmp_path, response(markup(text, charset), "1", headers))
    assert page.text.splitlines()[0] == text


def test_a_wet_file_is_its_texts(tmp_path: Path) -> None:
    texts = ["第一行\n第二行\n", "", "  另一页 \r\n"]
    wet = [INFO, *(conversion(text, str(number)) for number, text in enumerate(texts))]
    (tmp_path / "a.warc.wet.gz").write_bytes(b"".join(map(gz, wet)))
    items = list(document_format("a.warc.wet.gz").read(str(tmp_path / "a.warc.wet.gz")))
    assert [item.text for item in items if isinstance(item, Document)] == texts
    assert items[0].record["url"] == "http://x.test/0"  # type: ignore[union-attr,index]  # a page


@pytest.mark.parametrize(
    "other",
    [
        INFO,
        REQUEST,
        response(b"\x89PNG\r\n\x1a\n", "1", "Content-Type: image/png\r\n"),
        response(PAGE, "1", status="404 Not Found"),
        response(PAGE, "1", status="301 Moved", headers=HTML + "Location: /\r\n"),
        response(b"User-agent: *", "1", "Content-Type: text/plain\r\n"),
        record("revisit", b"HTTP/1.1 200 OK\r\n\r\n", "1"),
        record("metadata", b"outlink: x\r\n", "1", "application/warc-fields"),
        record("response", b"93.184.216.34\r\n", "1", "text/dns"),
        record("resource", b"body {}", "1", "text/css"),
        response(b'{"a": 1}', "1", "Server: x\r\n"),
    ],
)
def test_what_is_no_page_is_passed_over(tmp_path: Path, other: bytes) -> None:
    assert one_page(tmp_path, other, response(PAGE, "2")).id == "<urn:uuid:2>"


@pytest.mark.parametrize(
    "page",
    [
        record("resource", PAGE, "1", "text/html; charset=utf-8"),
        response(PAGE, "1", "Content-Type: application/xhtml+xml\r\n"),
        response(b"<!DOCTYPE html>" + PAGE, "1", "Server: x\r\n"),
        response(PAGE, "1", "Content-Type: TEXT/HTML\r\n"),
        response(PAGE, "1", status="206 Partial Content"),
        record("response", b"HTTP/1.1 200\nContent-Type: text/html\n\n" + PAGE, "1"),
    ],
)
def test_pages_are_known_by_their_type(tmp_path: Path, page: bytes) -> None:
    assert one_page(tmp_path, page).text.startswith(SIMPLIFIED)


def test_an_empty_page_is_a_page(tmp_path: Path) -> None:
    assert one_page(tmp_path, response(b"", "1")).text == ""


@ALL_PACKED
@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (record("response", b"garbage", "bad"), "no HTTP response: it begins with 'garbage'"),
        (response(b"\x89PNG\r\n\x1a\n" + bytes(99), "bad"), "the page: not a text but a PNG image"),
        (
            response(BROKEN, "bad", HTML + "Content-Encoding: gzip\r\n"),
            "cannot be unpacked: its gzip is broken",
        ),
    ],
)
def test_a_bad_page_is_named_and_the_rest_goes_on(
    tmp_path: Path, pack: Callable[[bytes], bytes], bad: bytes, reason: str
) -> None:
    path = tmp_path / "a.warc"
    path.write_bytes(b"".join(map(pack, (INFO, response(PAGE, "1"), bad, response(PAGE, "2")))))
    items = read(path)
    assert names(items) == ["1", "bad 3", "2"]
    assert str(items[1]) == f"{path}:3: {reason}"
    assert isinstance(items[1], BadRecord) and items[1].raw == "http://x.test/bad"


def spoiled_in_the_middle(data: bytes) -> bytes:
    return data[:60] + b"\xff" * 8 + data[68:]


def cut_short(data: bytes) -> bytes:
    return data[: len(data) // 2]


def beheaded(data: bytes) -> bytes:
    return b"nonsense\r\n\r\n" + data[20:]


@pytest.mark.parametrize("spoil", [spoiled_in_the_middle, cut_short, beheaded])
@pytest.mark.parametrize("times", [1, 2])
def test_a_broken_member_of_gzip_costs_nothing_but_itself(
    tmp_path: Path, spoil: Callable[[bytes], bytes], times: int
) -> None:
    good = [gz(response(PAGE, str(number))) for number in range(4)]
    broken = spoil(gz(response(PAGE, "broken")))
    (tmp_path / "a.warc.gz").write_bytes(b"".join([*good[:2], *[broken] * times, *good[2:]]))
    found = names(read(tmp_path / "a.warc.gz"))
    assert [name for name in found if not name.startswith("bad")] == ["0", "1", "2", "3"]
    assert found[2] in ("bad 3", "bad 4")  # what is spoilt may look like two
    assert 1 <= sum(name.startswith("bad") for name in found) <= times


@pytest.mark.parametrize("spoil", [spoiled_in_the_middle, cut_short, beheaded])
@pytest.mark.parametrize("times", [1, 2])
def test_a_broken_frame_of_zstd_costs_nothing_but_itself(
    tmp_path: Path, spoil: Callable[[bytes], bytes], times: int
) -> None:
    good = [zst(response(PAGE, str(number))) for number in range(4)]
    broken = spoil(zst(response(PAGE, "broken")))
    (tmp_path / "a.warc.zst").write_bytes(b"".join([*good[:2], *[broken] * times, *good[2:]]))
    found = names(read(tmp_path / "a.warc.zst"))
    assert [name for name in found if not name.startswith("bad")] == ["0", "1", "2", "3"]
    assert found[2] in ("bad 3", "bad 4")
    assert 1 <= sum(name.startswith("bad") for name in found) <= times


@pytest.mark.parametrize(
    ("name", "pack"), [("a.warc.gz", gz), ("a.warc.zst", zst)], ids=["gz", "zst"]
)
@pytest.mark.parametrize("bad", [0, 2])
def test_what_is_lost_after_a_broken_record_is_told(
    tmp_path: Path, name: str, pack: Callable[[bytes], bytes], bad: int
) -> None:
    """In a file that is packed as one piece the next record cannot be found."""
    pages = [response(PAGE, str(number)) for number in range(4)]
    pages[bad] = pages[bad].replace(b"Content-Length: ", b"Nothing: ")
    (tmp_path / name).write_bytes(pack(b"".join(pages)))
    items = read(tmp_path / name)
    assert names(items) == [*map(str, range(bad)), f"bad {bad + 1}", "bad None"]
    assert str(items[-1]) == f"{tmp_path / name}: the rest of the file is lost"


def test_a_wet_file_may_be_packed_with_xz(tmp_path: Path) -> None:
    texts = ["".join(map(chr, Random(n).choices(range(0x4E00, 0x9FA5), k=90_000))) for n in "012"]
    data = lzma.compress(INFO + b"".join(map(conversion, texts, "012")))
    path = tmp_path / "a.warc.wet.xz"
    path.write_bytes(data)
    items = read(path)
    assert [item.text for item in items if isinstance(item, Document)] == texts
    path.write_bytes(data[: len(data) // 2])
    first, broken, rest = read(path)
    assert names([first]) == ["0"]
    assert isinstance(broken, BadRecord) and "broken compressed file" in broken.error
    assert str(rest) == f"{path}: the rest of the file is lost"


@pytest.mark.parametrize(
    "spoil",
    [
        beheaded,
        lambda data: data.replace(b"Content-Length: ", b"Content-Length: 99"),
        lambda data: data.replace(b"Content-Length: ", b"Content-Length: -"),
        lambda data: data.replace(b"Content-Length: ", b"Nothing: "),
        lambda data: data.replace(b"WARC/1.0", b"WARC/x"),
    ],
)
def test_a_broken_record_costs_nothing_but_itself(
    tmp_path: Path, spoil: Callable[[bytes], bytes]
) -> None:
    good = [response(PAGE, str(number)) for number in range(4)]
    broken = spoil(response(PAGE, "broken"))
    (tmp_path / "a.warc").write_bytes(b"".join([*good[:2], broken, *good[2:]]))
    found = names(read(tmp_path / "a.warc"))
    assert [name for name in found if not name.startswith("bad")] == ["0", "1", "2", "3"]
    assert found[2] == "bad 3"


def test_what_is_taken_for_the_end_of_the_file_is_not(tmp_path: Path) -> None:
    """Flags of gzip that no writer sets: FastWARC says nothing and stops."""
    request = bytearray(gz(REQUEST))
    request[3] = 0x1F
    data = gz(INFO) + request + gz(response(PAGE, "1"))
    (tmp_path / "a.warc.gz").write_bytes(data)
    assert names(read(tmp_path / "a.warc.gz")) == ["bad 2", "1"]


@pytest.mark.parametrize(
    ("name", "pack"), [("a.warc.gz", gz), ("a.warc.zst", zst)], ids=["gz", "zst"]
)
def test_whatever_is_spoilt_the_rest_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, pack: Callable[[bytes], bytes]
) -> None:
    monkeypatch.setattr("filter.documents.warc.main_text", lambda extract, markup: (markup, 0))
    records = [INFO, *(response(PAGE, str(number)) for number in range(3)), conversion("w", "3")]
    packed = [pack(data) for data in records]
    random = Random(0)
    for _ in range(300):
        spoilt = random.randrange(len(packed))
        data = bytearray(packed[spoilt])
        for _ in range(random.choice([1, 1, 5])):
            place = random.randrange(len(data))
            data[place : place + random.randrange(9)] = random.randbytes(random.randrange(9))
        (tmp_path / name).write_bytes(b"".join([*packed[:spoilt], data, *packed[spoilt + 1 :]]))
        found = names(read(tmp_path / name))
        others = {str(number) for number in range(4) if number + 1 != spoilt}
        assert others <= set(found)


@pytest.mark.parametrize("cut", [12, 30, 100, 200, 250])
@ALL_PACKED
def test_a_file_that_is_cut_short_is_read_as_far_as_it_goes(
    tmp_path: Path, pack: Callable[[bytes], bytes], cut: int
) -> None:
    pages = [pack(response(PAGE, str(number))) for number in range(3)]
    (tmp_path / "a.warc").write_bytes(b"".join(pages)[:-cut])
    found = names(read(tmp_path / "a.warc"))
    assert found[:2] == ["0", "1"]
    assert found[2:] in (["bad 3"], ["2"] if cut == 12 else ["bad 3"])


@pytest.mark.parametrize("together", [1, 3], ids=["a member each", "one member"])
def test_a_member_that_is_cut_in_its_header_is_a_bad_record(tmp_path: Path, together: int) -> None:
    texts = [conversion(str(number), str(number)) for number in range(3)]
    whole = b"".join(gz(b"".join(texts[i : i + together])) for i in range(0, 3, together))
    path = tmp_path / "a.warc.gz"
    for length in range(40):
        path.write_bytes(whole + gz(response(PAGE, "3"))[:length])
        assert names(read(path))[:4] == ["0", "1", "2", *["bad 4"] * (length > 0)], length


@pytest.mark.parametrize("extension", [".gz", ".zst"])
def test_a_packed_file_without_a_byte_is_a_bad_record(tmp_path: Path, extension: str) -> None:
    path = tmp_path / f"a.warc{extension}"
    path.touch()
    assert names(read(path)) == ["bad 1"]


def test_a_file_that_is_one_member_of_gzip_is_read(tmp_path: Path) -> None:
    pages = b"".join(response(PAGE, str(number)) for number in range(3))
    (tmp_path / "a.warc.gz").write_bytes(gz(pages))
    assert names(read(tmp_path / "a.warc.gz")) == ["0", "1", "2"]
    (tmp_path / "a.warc.zst").write_bytes(zstandard.ZstdCompressor().compress(pages))
    assert names(read(tmp_path / "a.warc.zst")) == ["0", "1", "2"]


@pytest.mark.parametrize("data", [b"no such thing", b"\x1f\x8b\x08 not so", b"\x89PNG\r\n\x1a\n"])
def test_what_is_no_warc_file_is_one_bad_record(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "a.warc.gz").write_bytes(data)
    assert names(read(tmp_path / "a.warc.gz")) == ["bad 1"]


def test_an_empty_file_holds_nothing(tmp_path: Path) -> None:
    (tmp_path / "a.warc").touch()
    assert read(tmp_path / "a.warc") == []


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        (gz(b"<p>" * 50_000), "Content-Encoding: gzip\r\n"),
        (brotli.compress(b"<p>" * 50_000), "Content-Encoding: br\r\n"),
        (zstandard.ZstdCompressor().compress(b"<p>" * 50_000), "Content-Encoding: zstd\r\n"),
        (zlib.compress(b"<p>" * 50_000), "Content-Encoding: deflate\r\n"),
        (b"<p>" * 50_000, ""),
    ],
)
def test_a_page_that_fills_the_memory_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, body: bytes, headers: str
) -> None:
    monkeypatch.setattr(http, "LARGEST", 100_000)
    monkeypatch.setattr("filter.documents.warc.LARGEST", 100_000)
    monkeypatch.setattr(http, "STEP", 10_000)
    data = response(body, "1", HTML + headers) + response(PAGE, "2")
    (tmp_path / "a.warc").write_bytes(data)
    items = read(tmp_path / "a.warc")
    assert names(items) == ["bad 1", "2"]
    assert "larger than 0 MB" in str(items[0])


def test_what_is_not_wanted_is_not_held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import tracemalloc

    film = response(bytes(30_000_000), "film", "Content-Type: video/mp4\r\n")
    (tmp_path / "a.warc").write_bytes(film + response(PAGE, "1"))
    read(tmp_path / "a.warc")  # libraries are imported
    tracemalloc.start()
    try:
        assert names(read(tmp_path / "a.warc")) == ["1"]
        assert tracemalloc.get_traced_memory()[1] < 8_000_000
    finally:
        tracemalloc.stop()


def test_records_are_read_one_at_a_time(tmp_path: Path) -> None:
    pages = [gz(response(PAGE + b" " * 9000, str(n)), 0) for n in range(200)]
    path = str(tmp_path / "a.warc.gz")
    Path(path).write_bytes(b"".join(pages))
    items = document_format(path).read(path)
    next(items)
    first = position(path)
    for _ in range(99):
        next(items)
    middle = position(path)
    assert first is not None and middle is not None
    assert first < 300_000 < middle < len(b"".join(pages)) - 500_000


def test_a_crawl_is_cleaned_to_records(winnow: Winnow) -> None:
    page = PAGE.replace("收成，".encode(), "收成，【买吧】".encode())
    data = b"".join(map(gz, (INFO, response(page, "1"), b"x", response(PAGE, "2"))))
    Path("a.warc.gz").write_bytes(data)
    result = winnow("clean", "a.warc.gz", "--rejects", "bad.jsonl")
    assert result.code == 1
    first, second = result.records
    assert list(first) == ["id", "url", "date", "text", "clean_text", "removed", "winnow"]
    assert (first["id"], first["url"]) == ("<urn:uuid:1>", "http://x.test/1")
    assert first["clean_text"] == second["clean_text"] == second["text"]
    assert (
        first["text"][slice(*(first["removed"][0][key] for key in ("start", "end")))] == "【买吧】"
    )
    (reject,) = map(json.loads, Path("bad.jsonl").read_bytes().splitlines())
    assert (reject["file"], reject["line"]) == ("a.warc.gz", 3)
    assert winnow("clean", "a.warc.gz", "-o", "out/", "--rejects", "-").code == 1
    assert [path.name for path in Path("out").iterdir()] == ["a.warc.jsonl.gz"]
    assert winnow("spans", "out/a.warc.jsonl.gz").records[0]["spans"] == first["removed"]


def test_a_crawl_can_come_by_a_pipe(winnow: Winnow) -> None:
    import subprocess

    data = b"".join(map(gz, (INFO, response(PAGE, "1"))))
    code = (
        "from filter.documents import document_format\n"
        "print(ascii([item.text for item in document_format('-', 'warc').read('-')]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        input=data,
        capture_output=True,
        check=False,
        cwd=Path(__file__).parents[3],
    )
    assert done.stdout.decode().startswith(ascii([SIMPLIFIED])[:30]), done.stderr.decode()


def test_a_missing_library_is_answered_with_the_extra(
    winnow: Winnow, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("a.warc").touch()
    for name in ("fastwarc", "fastwarc.warc"):
        monkeypatch.setitem(sys.modules, name, None)
    for name in ("filter.documents.warc", "filter.documents.warc_records"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    result = winnow("clean", "a.warc")
    assert (result.code, result.err) == (
        2,
        "winnow: error: format 'warc' needs fastwarc, which is not installed: "
        "pip install 'winnow-zh[warc]'\n",
    )


def test_trouble_with_the_disk_is_not_taken_for_a_broken_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from filter.documents import warc_records

    class Failing:
        def __init__(self, path: str) -> None: ...

        def seekable(self) -> bool:
            return True

        def tell(self) -> int:
            return 0

        def read(self, size: int = -1) -> bytes:
            raise OSError(5, "Input/output error")

    from contextlib import nullcontext

    monkeypatch.setattr(warc_records, "_opened", lambda path: nullcontext(Failing(path)))
    with pytest.raises(OSError, match="Input/output error"):
        read(tmp_path / "a.warc")
