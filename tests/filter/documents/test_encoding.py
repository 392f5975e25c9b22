"""What an HTML page declares is a hint; what it is in decides."""

from __future__ import annotations

import pytest

from filter.documents.encoding import codec_name, decode_html
from filter.errors import WinnowError

SIMPLIFIED = "昨天下午，村里的老人们坐在槐树下谈起了去年的收成。他们说，雨水比往年多。"
TRADITIONAL = "這座圖書館建於三十年前，原本是一間小學的禮堂。館員說，每到週末都有人來。"
JAPANESE = "この図書館は三十年前に建てられました。もとは小学校の講堂だったそうです。"
KOREAN = "이 도서관은 삼십 년 전에 지어졌습니다. 원래는 초등학교 강당이었다고 합니다."


def page(text: str, charset: str = "", *, head: str = "") -> str:
    meta = f'<meta charset="{charset}">' if charset else ""
    return f"<html><head>{meta}{head}<title>t</title></head><body><p>{text}</p></body></html>"


@pytest.mark.parametrize(
    "declared", ["", "utf-8", "gb2312", "gbk", "big5", "iso-8859-1", "nonsense"]
)
@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        (SIMPLIFIED, "utf-8"),
        (SIMPLIFIED, "gb18030"),
        (SIMPLIFIED, "utf-16"),
        (SIMPLIFIED, "utf-8-sig"),
        (TRADITIONAL, "cp950"),
        (TRADITIONAL, "utf-8"),
    ],
)
def test_chinese_is_read_right_whatever_is_declared(
    text: str, encoding: str, declared: str
) -> None:
    assert decode_html(page(text, declared).encode(encoding)) == page(text, declared)
    assert decode_html(page(text).encode(encoding), charset=declared) == page(text)


def test_gb2312_stands_for_all_of_gb18030() -> None:
    text = page("朱镕基总理说，镕字不在当年的字表里，㐀𠮷更不在。", "gb2312")
    assert decode_html(text.encode("gb18030")) == text


@pytest.mark.parametrize(
    ("text", "encoding", "declared"),
    [
        (JAPANESE, "cp932", "Shift_JIS"),
        (JAPANESE, "euc_jp", "euc-jp"),
        (KOREAN, "cp949", "euc-kr"),
        ("Прошлым летом в деревне перекрыли крышу старой школы.", "cp1251", "windows-1251"),
        ("L'été dernier, on a réparé le toit de la vieille école.", "cp1252", "ISO-8859-1"),
    ],
)
def test_a_declaration_counts_where_the_page_is_not_chinese(
    text: str, encoding: str, declared: str
) -> None:
    assert decode_html(page(text, declared).encode(encoding)) == page(text, declared)
    assert decode_html(page(text).encode(encoding), charset=declared) == page(text)


@pytest.mark.parametrize(
    "head",
    [
        '<meta http-equiv="Content-Type" content="text/html; charset=euc-kr">',
        "<META content='text/html;charset = EUC-KR' http-equiv=content-type>",
        '<meta charset=euc-kr name="x">',
    ],
)
def test_a_declaration_is_found_however_it_is_written(head: str) -> None:
    text = page(KOREAN, head=head)
    assert decode_html(text.encode("cp949")) == text


def test_a_long_script_before_the_text_does_not_hide_it() -> None:
    script = "<script>" + "var a = [1, 2, 3];\n" * 20_000 + "</script>"
    for text, encoding in ((SIMPLIFIED, "gb18030"), (TRADITIONAL, "cp950")):
        markup = page(text, head=script)
        assert decode_html(markup.encode(encoding)) == markup


def test_damage_costs_the_characters_that_are_damaged() -> None:
    data = page(SIMPLIFIED * 5, "utf-8").encode().replace("老人".encode(), b"\xe8\x80", 1)
    text = decode_html(data)
    assert "\ufffd" in text
    assert text.count("老人们") == 4


def test_what_is_no_text_is_refused_by_name() -> None:
    with pytest.raises(WinnowError, match=r"a\.html: not a text but a PNG image"):
        decode_html(b"\x89PNG\r\n\x1a\n" + bytes(range(256)), name="a.html")


@pytest.mark.parametrize("name", ["hex", "unicode_escape", "utf-16", "idna", "x", "", "a\0b"])
def test_names_that_no_page_can_mean_are_passed_over(name: str) -> None:
    assert codec_name(name) is None
