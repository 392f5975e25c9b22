"""HTML pages: their main text, whole, line by line, and nothing that readers do not see."""

from __future__ import annotations

import json
import logging
import pickle
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from filter.documents import BadRecord, Document, document_format
from filter.errors import UsageError, WinnowError

pytest.importorskip("trafilatura")
pytest.importorskip("resiliparse")

from filter.documents.extraction import extractor, main_text

Winnow = Callable[..., Any]

LINES = [
    "昨天下午，村里的老人们坐在槐树下谈起了去年的收成，说雨水比往年多，玉米却没有减产。",
    "今年春天，又有几户人家买了新的农机，准备把坡上的地也种起来，孩子们放学以后会来帮忙。",
    "县里派来的技术员站在田埂上，先讲了排水的道理，又带着大家去看水渠的走向和坡度。",
    "他说雨季来临之前必须把淤泥清掉，否则再好的种子也要泡烂在地里，一年的辛苦就白费了。",
    "傍晚时分，炊烟从瓦房上升起来，村口的广播开始播报第二天的天气，大家这才慢慢散去。",
]
NAVIGATION = (
    '<div class="nav"><a href="/">首页</a> | <a href="/n">新闻</a> | <a href="/s">产品</a></div>'
)
RELATED = (
    "<ul>" + "".join(f'<li><a href="/{n}">另一篇的标题之{n}</a></li>' for n in range(9)) + "</ul>"
)
FOOTER = '<div class="footer">版权所有 <a href="/about">联系我们</a></div>'

LAYOUTS = {
    "paragraphs": "<div class='content'>" + "".join(f"<p>{line}</p>" for line in LINES) + "</div>",
    "breaks": "<div id='zoom'>" + "<br>\n<br>".join(LINES) + "</div>",
    "bare divs": "<div>" + "".join(f"<div><span>{line}</span></div>" for line in LINES) + "</div>",
    "mixed": "<div class='content'>"
    + "".join(f"<p>{line}</p>" if n % 2 else f"<div>{line}</div>" for n, line in enumerate(LINES))
    + "</div>",
    "table": "<table><tr><td><table><tr><td>"
    + "<br>".join(LINES)
    + "</td></tr></table></td></tr></table>",
    "preformatted": "<pre>" + "\n".join(LINES) + "</pre>",
    "wrapped source": "<div class='content'>"
    + "".join(f"<p>\n   {line}\n  </p>" for line in LINES)
    + "</div>",
    "sections": "<article>"
    + "".join(f"<section><section><p><span>{line}</span></p></section></section>" for line in LINES)
    + "</article>",
}


def page(body: str) -> str:
    return (
        "<!DOCTYPE html><html><head><meta charset='utf-8'><title>标题</title></head>"
        f"<body>{NAVIGATION}<h1>标题</h1>{body}{RELATED}{FOOTER}</body></html>"
    )


def text_of(markup: str, name: str = "trafilatura") -> str:
    return main_text(extractor(name), markup)[0]


def lines_of(text: str) -> list[str]:
    return [line.strip() for line in text.splitlines() if line.strip()]


@pytest.mark.parametrize("name", ["trafilatura", "resiliparse"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_an_article_is_found_whole_and_line_by_line(layout: str, name: str) -> None:
    lines = lines_of(text_of(page(LAYOUTS[layout]), name))
    assert [line for line in lines if line in LINES] == LINES
    assert not any("另一篇" in line or "首页" in line or "版权" in line for line in lines)


@pytest.mark.parametrize("name", ["trafilatura", "resiliparse"])
@pytest.mark.parametrize("element", ["p", "div"])
@pytest.mark.parametrize("links", [1, 2, 4])
def test_paragraphs_with_links_in_them_keep_the_authors_words(
    name: str, element: str, links: int
) -> None:
    spam = "<a href='http://x.test/'>颈椎病医院排名</a>" * links
    salted = "".join(f"<{element}>{line[:9]}{spam}{line[9:]}</{element}>" for line in LINES)
    lines = lines_of(text_of(page(f"<div class='content'>{salted}</div>"), name))
    for line in LINES:
        assert f"{line[:9]}{'颈椎病医院排名' * links}{line[9:]}" in lines


def test_nothing_is_added_to_the_characters_of_the_page() -> None:
    body = (
        "<div class='content'><p>"
        + LINES[0]
        + "</p><ul><li>第一条是挖沟</li><li>第二条是施肥</li></ul>"
        "<table><tr><td>品种</td><td>产量</td></tr><tr><td>玉米</td><td>五百斤</td></tr></table>"
        f"<p>{LINES[1]}</p><h2>小标题</h2><p>&amp;amp; &lt;b&gt; &#20013;&#x6587;</p>"
        f"<p>{LINES[2]}</p></div>"
    )
    assert text_of(page(body)).splitlines() == [
        LINES[0],
        "第一条是挖沟",
        "第二条是施肥",
        "品种\t产量",
        "玉米\t五百斤",
        LINES[1],
        "小标题",
        "&amp; <b> 中文",
        LINES[2],
    ]


@pytest.mark.parametrize("name", ["trafilatura", "resiliparse"])
def test_hidden_text_is_dropped_and_counted(tmp_path: Path, name: str) -> None:
    body = LAYOUTS["paragraphs"].replace(
        "收成，", "收成，<span style='display:none'>塑料混合机价格</span>"
    )
    (tmp_path / "a.html").write_text(page(body + "<noscript>请 打开</noscript>"), "utf-8")
    (document,) = document_format("a.html", extractor=name).read(str(tmp_path / "a.html"))
    assert isinstance(document, Document)
    assert "塑料" not in document.text
    assert LINES[0] in document.text
    assert document.hidden == 7 + 3


@pytest.mark.parametrize("name", ["trafilatura", "resiliparse"])
@pytest.mark.parametrize(
    "markup",
    [
        "",
        " ",
        "<html></html>",
        "<p></p>",
        "<!-- -->",
        "<img src='a.png'>",
        "<meta http-equiv=refresh content='0;url=/'>",
        "<html><body style='display:none'></body></html>",
        "\0",
    ],
)
def test_a_page_without_text_is_an_empty_page(markup: str, name: str) -> None:
    assert lines_of(text_of(markup, name)) in ([], ["\ufffd"])


@pytest.mark.parametrize("name", ["trafilatura", "resiliparse"])
@pytest.mark.parametrize(
    "spoil",
    [
        lambda text: text.replace("</p>", "").replace("</span>", ""),
        lambda text: text.replace("<p>", "<p><b><i></b>"),
        lambda text: text[: text.index(LINES[4]) + len(LINES[4])],
        lambda text: "<?xml version='1.0' encoding='gb2312'?>" + text,
        lambda text: text.replace("<body>", "<body><body><table><tr><font color=red <div>"),
        lambda text: text.replace("<p>", "<p style='\"' class=\"'>\" \0 =>"),
    ],
)
def test_malformed_pages_are_read(spoil: Callable[[str], str], name: str) -> None:
    text = text_of(spoil(page(LAYOUTS["paragraphs"])), name)
    for line in LINES[:4]:
        assert line in text


@pytest.mark.parametrize("name", ["trafilatura", "resiliparse"])
def test_characters_that_xml_does_not_know_are_no_obstacle(name: str) -> None:
    for odd in (
        "\x01",
        "\0",
        "\ufffe",
        "\x0b",
        "&#1;",
        "&#0;",
        "&#x1F;",
        "&#65534;",
        "&#x8",
        "&#12;",
    ):
        body = LAYOUTS["paragraphs"].replace("收成，", f"收成{odd}，").replace("<p>", f"<p>{odd}")
        text = text_of(page(odd + body), name)
        assert all(line in text for line in LINES[1:])
        assert "收成" in text
    kept = "&#10;&#13;&#20013;&#128;&#310;&#x1F600;&#xfffd;"
    assert "中€Ķ😀�" in text_of(page(LAYOUTS["paragraphs"].replace("收成，", kept)), name)


@pytest.mark.parametrize("name", ["trafilatura", "resiliparse"])
def test_a_huge_page_is_a_page(name: str) -> None:
    paragraphs = "".join(f"<p>第{n}段。{LINES[n % 5]}</p>" for n in range(8000))
    text = text_of(page(f"<div class='content'>{paragraphs}</div>"), name)
    assert "第0段。" in text and "第7999段。" in text
    assert len(text) > 300_000


@pytest.mark.parametrize("name", ["trafilatura", "resiliparse"])
def test_a_page_that_cannot_be_read_whole_is_refused(name: str) -> None:
    markup = "<div>深" * 30_000 + LINES[0] + "</div>" * 30_000 + LINES[1]
    with pytest.raises(WinnowError, match="nested too deeply"):
        text_of(markup, name)


def test_whatever_an_extractor_stumbles_over_is_an_error_of_the_page() -> None:
    def fail(markup: str) -> tuple[str, int]:
        raise RecursionError

    with pytest.raises(WinnowError, match=r"main text cannot be found \(RecursionError\)"):
        main_text(fail, "")


def test_a_file_that_is_no_page_is_a_bad_record(tmp_path: Path) -> None:
    (tmp_path / "a.html").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(range(256)))
    (record,) = document_format("a.html").read(str(tmp_path / "a.html"))
    assert isinstance(record, BadRecord)
    assert record.line is None
    assert str(record).endswith("a.html: not a text but a PNG image")


def test_finding_nothing_is_not_told_to_stderr(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = logging.getLogger()
    handlers, root.handlers = root.handlers, []
    try:
        assert text_of("<form><input></form>") == ""
    finally:
        root.handlers = handlers
    assert capsys.readouterr().err == ""


def test_a_format_can_be_sent_to_another_process() -> None:
    made = pickle.loads(pickle.dumps(document_format("a.html", extractor="resiliparse")))
    assert made.output_name("b/a.htm.gz") == "b/a.txt.gz"
    assert made.output_name("a.html", adds="spans") == "a.jsonl"


def test_pages_are_cleaned_to_texts(winnow: Winnow) -> None:
    salted = page(LAYOUTS["paragraphs"].replace("收成，", "收成，【买吧】"))
    Path("a.html").write_bytes(salted.replace("utf-8", "gb2312").encode("gb18030"))
    result = winnow("clean", "a.html")
    assert result.code == 0
    assert result.out.decode().splitlines() == LINES
    hidden = salted.replace("收成，", "收成，<span hidden>塑料机</span>")
    Path("a.html").write_text(hidden, "utf-8")
    result = winnow("clean", "a.html", "-o", "out/", "-v")
    assert result.code == 0
    assert "; 3 hidden by markup; " in result.err
    assert Path("out/a.txt").read_text("utf-8").splitlines() == LINES


@pytest.mark.parametrize("name", ["trafilatura", "resiliparse"])
def test_spans_are_offsets_into_the_text_beside_them(winnow: Winnow, name: str) -> None:
    Path("a.html").write_text(page(LAYOUTS["breaks"].replace("，", "，【买吧】")), "utf-8")
    (record,) = winnow("spans", "a.html", "--extractor", name).records
    assert list(record) == ["id", "text", "spans", "winnow"]
    assert len(record["spans"]) == sum(line.count("，") for line in LINES)
    for span in record["spans"]:
        assert record["text"][span["start"] : span["end"]] == span["text"] == "【买吧】"


def test_an_unknown_extractor_is_answered_with_the_nearest() -> None:
    with pytest.raises(UsageError, match=r"'resiliparser' \(did you mean 'resiliparse'\?\)"):
        document_format("a.html", extractor="resiliparser")


@pytest.mark.parametrize(
    ("extractor_name", "package"), [("trafilatura", "trafilatura"), ("resiliparse", "resiliparse")]
)
def test_a_missing_library_is_answered_with_the_extra(
    winnow: Winnow, monkeypatch: pytest.MonkeyPatch, extractor_name: str, package: str
) -> None:
    Path("a.html").write_text(page(""), "utf-8")
    for name in [name for name in sys.modules if name.partition(".")[0] == package]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, package, None)
    result = winnow("clean", "a.html", "--extractor", extractor_name)
    assert result.code == 2
    assert result.err == (
        f"winnow: error: reading HTML needs {package}, which is not installed: "
        "pip install 'winnow-zh[html]'\n"
    )


def test_the_input_format_can_be_named(winnow: Winnow) -> None:
    data = page(LAYOUTS["paragraphs"]).encode()
    assert winnow("clean", "-", "--input-format", "html", stdin=data).out.decode().split() == LINES
    assert json.loads(winnow("spans", "--input-format", "html", stdin=data).out)["id"] == "-"
