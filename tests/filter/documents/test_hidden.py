"""What markup hides, and what it only seems to."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from filter.documents.hidden import Tree, drop_hidden, hidden_by, length_of

pytest.importorskip("lxml")
pytest.importorskip("resiliparse")

from filter.documents.trees import LexborTree, LxmlTree, parse

ARTICLE = "<p>" + "村里的老人们坐在槐树下谈起了去年的收成，说雨水比往年多。" * 4 + "</p>"


def lxml_tree(markup: str) -> LxmlTree:
    return LxmlTree(parse(markup))


def lexbor_tree(markup: str) -> LexborTree:
    from resiliparse.parse.html import HTMLTree

    return LexborTree(HTMLTree.parse(markup))


both = pytest.mark.parametrize("make", [lxml_tree, lexbor_tree])
Make = Callable[[str], Tree[object]]


@pytest.mark.parametrize(
    "style",
    [
        "display:none",
        "DISPLAY : None !important",
        "color:red;display:none;",
        "visibility: hidden",
        "opacity:0",
        "opacity:0.0",
        "font-size:0",
        "font-size:0px;line-height:0",
        "font-size:1px",
        "color:transparent",
        "position:absolute;left:-9999px",
        "position:fixed; top:-2000px",
        "position:absolute;left:-99em",
        "position:absolute;clip:rect(0,0,0,0)",
        "position:absolute;clip:rect(1px 1px 1px 1px)",
        "text-indent:-9999px",
        "height:0;overflow:hidden",
        "overflow:hidden;max-height:0px",
        "width:1px;height:1px;overflow:hidden",
        "display:/* no */none",
    ],
)
def test_styles_that_hide(style: str) -> None:
    assert hidden_by("div", {"style": style}) is not None


@pytest.mark.parametrize(
    "style",
    [
        "",
        "display:block",
        "display:none;display:block",
        "opacity:0.5",
        "opacity:.8",
        "font-size:12px",
        "font-size:0.8em",
        "font-size:medium",
        "height:0",
        "overflow:hidden",
        "overflow:hidden;height:auto;width:100%",
        "position:absolute;left:0;top:-30px",
        "position:absolute;clip:auto",
        "left:-9999px",
        "text-indent:2em",
        "text-indent:-2em",
        "margin-left:-15px",
        "background:url(a.png;display:none)x",
        "nonsense",
        ";;:;",
    ],
)
def test_styles_that_do_not(style: str) -> None:
    assert hidden_by("div", {"style": style}) is None or "url" in style


@pytest.mark.parametrize(
    ("markup", "hidden"),
    [
        ("<span hidden>广告</span>", 2),
        ("<span hidden=''>广 告</span>", 2),
        ("<noscript>请打开脚本</noscript>", 5),
        ("<dialog>广告</dialog>", 2),
        ("<dialog open>广告</dialog>", 0),
        ("<marquee width=1 height='1'><a href=x>广告</a></marquee>", 2),
        ("<marquee width=100%>公告</marquee>", 0),
        ("<span aria-hidden='true'>正文</span>", 0),
        ("<div style='display:none'>一<p hidden>二</p><noscript>三</noscript></div>", 3),
        ("<div style='display:none'><script>var a;</script><style>b</style>一</div>", 1),
        ("<input type=hidden value=x>", 0),
    ],
)
@both
def test_hidden_text_is_dropped_and_counted(make: Make, markup: str, hidden: int) -> None:
    tree = make(f"<body>{ARTICLE}前{markup}后{ARTICLE}</body>")
    before = tree.text()
    assert drop_hidden(tree) == hidden
    assert "前" in tree.text() and "后" in tree.text()
    assert length_of(before) - length_of(tree.text()) == hidden


@both
def test_a_child_that_is_shown_again_keeps_its_parent(make: Make) -> None:
    for style, again in (
        ("font-size:0", "font-size:14px"),
        ("visibility:hidden", "visibility:visible"),
    ):
        markup = f"<ul style='{style}'><li style='{again}'>正文</li></ul>"
        assert drop_hidden(make(f"<body>{ARTICLE}{markup}</body>")) == 0
    markup = "<div style='display:none'><p style='display:block'>广告</p></div>"
    assert drop_hidden(make(f"<body>{ARTICLE}{markup}</body>")) == 2


@both
def test_what_holds_most_of_the_page_is_the_page(make: Make) -> None:
    """Articles that a script shows when it is done, as on WeChat."""
    styles = ("visibility: hidden; opacity: 0;", "display:none")
    for style in styles:
        tree = make(f"<body><p>页眉</p><div style='{style}'>{ARTICLE}</div></body>")
        assert drop_hidden(tree) == 0
        assert "老人们" in tree.text()
    tree = make(f"<body hidden><div style='{styles[0]}'>{ARTICLE}</div></body>")
    assert drop_hidden(tree) == 0
