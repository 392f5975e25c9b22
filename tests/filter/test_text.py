"""Bytes to text: encodings are told apart, what is no text is refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filter.errors import WinnowError
from filter.text import decode, detect, replace_surrogates

SIMPLIFIED = (
    "昨天下午，村里的老人们坐在槐树下谈起了去年的收成。他们说，雨水比往年多，玉米却没有减产，"
    "因为县里派来的技术员教大家挖了排水沟。今年春天，又有几户人家买了新的农机，准备把坡上的地"
    "也种起来。孩子们放学以后，会到田边帮忙拔草，顺便捉几只蚂蚱带回家喂鸡。\n"
)
TRADITIONAL = (
    "這座圖書館建於三十年前，原本是一間小學的禮堂。館員說，每到週末，附近的居民會帶著孩子來聽"
    "故事，老人家則坐在窗邊看報紙。去年夏天颱風過後，屋頂漏水，許多舊書都受了潮，大家花了兩個"
    "月才把它們一本一本地曬乾。「書還在，人就會回來。」她笑著說。\n"
)
SHORT = {
    "gb18030": ["你好，世界。", "今天天气很好", "会议通知", "关于印发工作方案的通知"],
    "cp950": ["你好，世界。", "今天天氣很好", "會議通知", "關於活動報名的說明"],
}


@pytest.mark.parametrize("encoding", ["utf-8", "gb18030", "utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("text", [SIMPLIFIED, TRADITIONAL], ids=["simplified", "traditional"])
@pytest.mark.parametrize("times", [1, 1000], ids=["short", "long"])
def test_passages_are_read_in_their_encoding(text: str, encoding: str, times: int) -> None:
    assert decode((text * times).encode(encoding)) == (text * times, encoding)


@pytest.mark.parametrize("times", [1, 1000], ids=["short", "long"])
def test_big5_is_not_taken_for_gb18030(times: int) -> None:
    data = (TRADITIONAL * times).encode("cp950")
    data.decode("gb18030", errors="replace")  # nearly valid: that is the trap
    assert decode(data) == (TRADITIONAL * times, "cp950")


@pytest.mark.parametrize(
    ("encoding", "text"), [(encoding, text) for encoding, texts in SHORT.items() for text in texts]
)
def test_a_heading_alone_is_enough(encoding: str, text: str) -> None:
    assert decode(text.encode(encoding))[0] == text


@pytest.mark.parametrize("encoding", ["gb18030", "cp950"])
def test_a_page_that_is_mostly_markup(encoding: str) -> None:
    text = '<div class="nav"><a href="/index.html">' * 20 + "首頁" + "</a></div>" * 20
    assert decode(text.encode(encoding))[0] == text


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32", "gb18030"])
def test_a_byte_order_mark_is_believed_and_dropped(encoding: str) -> None:
    mark = "\ufeff" if encoding == "gb18030" else ""  # other codecs write their own
    assert decode((mark + SIMPLIFIED).encode(encoding))[0] == SIMPLIFIED


def test_english_in_utf_16_without_a_mark() -> None:
    text = "A page of plain English, saved by an old editor.\r\n"
    assert decode(text.encode("utf-16-le")) == (text, "utf-16-le")
    assert decode(text.encode("utf-16-be")) == (text, "utf-16-be")


@pytest.mark.parametrize("encoding", ["utf-8", "gb18030", "cp950", "utf-16-le", "utf-16-be"])
def test_a_character_cut_at_the_end_becomes_one_replacement(encoding: str) -> None:
    data = TRADITIONAL.rstrip("。」她笑著說\n").encode(encoding)
    text, found = decode(data[:-1])
    assert found == encoding
    assert text == data.decode(encoding)[:-1] + "\ufffd"


def test_stray_bytes_do_not_change_the_encoding() -> None:
    half = SIMPLIFIED.encode() * 10
    text, encoding = decode(half + b"\xff" + half)
    assert (text, encoding) == (SIMPLIFIED * 10 + "\ufffd" + SIMPLIFIED * 10, "utf-8")


def test_the_head_of_a_file_is_enough() -> None:
    data = SIMPLIFIED.encode("gb18030") * 10
    assert {detect(data[:length]) for length in range(300, 340)} == {"gb18030"}


@pytest.mark.parametrize("before", ["", "·"], ids=["ascii", "almost ascii"])
@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        (SIMPLIFIED, "gb18030"),
        (TRADITIONAL, "cp950"),
        (SIMPLIFIED, "utf-16-le"),
        (SIMPLIFIED, "utf-16-be"),
        (SIMPLIFIED, "utf-8"),
    ],
)
@pytest.mark.parametrize("stray", [b"", b"\xff\xff"], ids=["whole", "damaged"])
def test_text_after_a_long_head_of_ascii_is_read(
    before: str, text: str, encoding: str, stray: bytes
) -> None:
    page = before + "Plain words of the head.\r\n" * 3000 + text * 20
    data = page.encode(encoding) + stray
    assert decode(data) == (data.decode(encoding, "replace"), encoding)


@pytest.mark.parametrize("encoding", ["gb18030", "cp950"])
def test_a_nul_in_a_long_head_of_ascii_changes_nothing(encoding: str) -> None:
    page = "Plain words of the head.\r\n" * 3000 + "\0" + TRADITIONAL * 20
    assert decode(page.encode(encoding)) == (page, encoding)


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        ("今日はとても良い天気ですね。図書館で本を借りて、公園で読みました。" * 5, "shift_jis"),
        ("Le café était fermé, et l'élève a dû rentrer à pied sous la pluie. " * 5, "cp1252"),
    ],
)
def test_pages_that_are_not_chinese(text: str, encoding: str) -> None:
    assert decode(text.encode(encoding))[0] == text


@pytest.mark.parametrize(
    "data",
    [
        b"%PDF-1.7\n1 0 obj",
        b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR",
        b"\xff\xd8\xff\xe0\0\x10JFIF",
        b"GIF89a\1\0\1\0",
        b"PK\x03\x04\x14\0",
        b"\x1f\x8b\x08\0",
        b"\xfd7zXZ\0",
        b"\x28\xb5\x2f\xfd\x04",
        b"\0" * 500,
        bytes(range(256)) * 40,
        b"text \x01\x02\x03\x04 of controls",
    ],
    ids=lambda data: repr(data[:6]),
)
def test_binary_data_is_refused_by_name(data: bytes) -> None:
    with pytest.raises(WinnowError, match=r"^page\.txt: not a text"):
        decode(data, name="page.txt")


def test_a_nul_in_a_page_is_text() -> None:
    text = SIMPLIFIED + "\0" + SIMPLIFIED
    assert decode(text.encode()) == (text, "utf-8")


@pytest.mark.parametrize(
    "page",
    [
        "Product ABC-123 \0 price 12.50 好",
        "The weather\0 of today\0, in words\0: 天气 is fine, and will be so tomorrow as well\0.",
        "\0" + "Plain words of the head.\r\n" * 3000 + SIMPLIFIED,
        "Plain words of the head.\r\n" * 3000 + "\0" + SIMPLIFIED,
        "no\0thing but ASCII, and one NUL in it",
    ],
    ids=lambda page: ascii(page[:20]),
)
def test_utf_8_with_nuls_is_utf_8(page: str) -> None:
    assert decode(page.encode()) == (page, "utf-8")


def test_a_list_of_names_that_nuls_part_is_no_chinese_page() -> None:
    with pytest.raises(WinnowError, match="not a text"):
        decode(b"name\0value\0origin\0entry\0" * 20)


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
def test_utf_16_that_is_valid_utf_8_is_utf_16(encoding: str) -> None:
    text = "第一"
    assert decode(text.encode(encoding)) == (text, encoding)


def test_an_empty_page_is_a_page() -> None:
    assert decode(b"") == ("", "utf-8")


@given(st.text())
def test_what_is_utf_8_is_never_changed(text: str) -> None:
    padded = "字" * 100 + text.replace("\0", "")  # no page of control characters alone
    if sum(ord(char) < 32 for char in text) < 5:
        assert decode(padded.encode()) == (padded, "utf-8")


@given(st.binary())
def test_any_bytes_give_a_text_or_a_clear_error(data: bytes) -> None:
    try:
        text, _ = decode(data, name="page.txt")
    except WinnowError as error:
        assert str(error).startswith("page.txt: ")
        assert "\n" not in str(error)
    else:
        text.encode()  # no lone surrogates


@given(st.lists(st.one_of(st.characters(), st.sampled_from("字\ud800\udbff\udc00"))).map("".join))
def test_lone_surrogates_are_replaced_in_place(text: str) -> None:
    replaced = replace_surrogates(text)
    assert len(replaced) == len(text)
    for before, after in zip(text, replaced, strict=True):
        assert after == ("\ufffd" if "\ud800" <= before <= "\udfff" else before)
