"""The main text of an HTML page, by one of two libraries.

trafilatura is set to favour recall: by default it leaves out paragraphs that are full of links, and
so would lose the author's words wherever links were put between them. What it keeps is written down
here, block by block, so that nothing is added to the page's own characters (its own texts have
``- `` before items and ``|`` between cells) and every line of the page stays one. Resiliparse looks
at a page once, and is several times as fast.

Comments of readers, alternative texts and form fields are not part of a main text.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from configparser import ConfigParser
from copy import deepcopy
from functools import cache
from typing import Any

from filter.documents.hidden import drop_hidden
from filter.errors import WinnowError, is_error, missing_package
from filter.text import replace_surrogates

Extract = Callable[[str], tuple[str, int]]
"""Takes markup; gives the main text, and how many hidden characters were dropped before."""

SHORT = 50
"""Characters under which trafilatura doubts what it found; its own 250 are for English letters."""

MANY_TAGS = 5_000
"""Tags from which pages for Resiliparse are checked for their depth, which costs it its square."""

_BLOCKS = frozenset(("p", "head", "list", "item", "quote", "table", "row", "div", "lb"))
_INLINE = frozenset(
    ("a", "b", "br", "em", "font", "i", "img", "small", "span", "strong", "sub", "sup", "u")
)
_BLANKS = re.compile(r"[ \t\r\n\f]+")


def extractor(name: str) -> Extract:
    """The function that finds main texts.

    Args:
        name: One of `filter.documents.EXTRACTORS`.

    Raises:
        MissingPackageError: a library is not installed.
    """
    try:
        import lxml.html  # noqa: F401  (is it installed?)

        if name == "resiliparse":
            import resiliparse.extract.html2text  # noqa: F401  (is it installed?)

            return _by_resiliparse
        import trafilatura.core  # noqa: F401  (is it installed?)
    except ModuleNotFoundError as error:
        raise missing_package(
            "reading HTML", (error.name or name).partition(".")[0], "html"
        ) from error
    # It would tell stderr of each page in which it finds nothing.
    logging.getLogger("trafilatura").addHandler(logging.NullHandler())
    return _by_trafilatura


def _by_trafilatura(markup: str) -> tuple[str, int]:
    from trafilatura.core import bare_extraction

    from filter.documents.trees import LxmlTree, parse

    root = parse(markup)
    if root is None:
        return "", 0
    dropped = drop_hidden(LxmlTree(root))
    _mark_lines_and_paragraphs(root)
    found: Any = bare_extraction(
        root,
        favor_recall=True,
        include_comments=False,
        include_formatting=False,
        output_format="xml",  # of which only the tree is used
        config=_settings(),
    )
    return ("" if found is None else text_of(found.body)), dropped


def _by_resiliparse(markup: str) -> tuple[str, int]:
    from resiliparse.extract.html2text import extract_plain_text
    from resiliparse.parse.html import HTMLTree

    from filter.documents.trees import LexborTree, parse

    if markup.count("<") > MANY_TAGS:
        parse(markup)
    tree = HTMLTree.parse(markup)
    dropped = drop_hidden(LexborTree(tree))
    text = extract_plain_text(
        tree, main_content=True, list_bullets=False, alt_texts=False, comments=False
    )
    return text, dropped


def main_text(extract: Extract, markup: str) -> tuple[str, int]:
    """What an extractor gives for a page; whatever it stumbles over is an error of that page.

    Raises:
        WinnowError: it cannot read the page.
    """
    try:
        text, hidden = extract(markup)
    except WinnowError:
        raise
    except BaseException as error:  # a crawl holds what no library was tried on
        if not is_error(error):
            raise
        reason = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
        raise WinnowError(f"its main text cannot be found ({reason})") from error
    return replace_surrogates(text), hidden


def text_of(body: Any) -> str:
    """The text of the tree that trafilatura makes of an article, a line a block."""
    from lxml import etree

    pieces = ["\n"]
    row_begins = False
    for event, element in etree.iterwalk(body, events=("start", "end")):
        tag = element.tag
        if tag in _BLOCKS:
            pieces.append("\n")
        if event == "start":
            if tag == "cell" and not row_begins:
                pieces.append("\t")
            row_begins = tag == "row" or (row_begins and tag != "cell")
            text = element.text
        else:
            text = None if element is body else element.tail
        if text:
            text = _BLANKS.sub(" ", text)
            pieces.append(text.lstrip(" ") if pieces[-1] == "\n" else text)
    lines = (line.rstrip() for line in "".join(pieces).split("\n"))
    return "\n".join(line for line in lines if line)


def _mark_lines_and_paragraphs(root: Any) -> None:
    """Marks up what is a line or a paragraph without being marked as one, or it would be lost.

    Where a page has some elements ``p``, trafilatura passes over text that stands elsewhere.
    """
    body = root.find("body")
    if body is not None and not _blank(body.text):
        paragraph = root.makeelement("p")
        paragraph.text, body.text = body.text, None
        body.insert(0, paragraph)
    for element in root.iter("div", "section"):
        if all(child.tag in _INLINE for child in element.iterdescendants()) and _is_text(element):
            element.tag = "p"
    for block in root.iter("pre"):
        for element in list(block.iter()):
            _break_lines(element, "text")
            if element is not block:
                _break_lines(element, "tail")
        block.tag = "p"


def _is_text(element: Any) -> bool:
    """Whether an element holds text, rather than links with something between them."""
    links = sum(len(link.text_content()) for link in element.iter("a"))
    return len(element.text_content().strip()) > 2 * links


def _break_lines(element: Any, where: str) -> None:
    """Puts an element ``br`` for each line break in an element's text, or in what follows it."""
    first, *others = (getattr(element, where) or "").split("\n")
    if not others:
        return
    setattr(element, where, first)
    parent, index = (element, 0) if where == "text" else (element.getparent(), _index(element) + 1)
    for line in reversed(others):
        line_break = element.makeelement("br")
        line_break.tail = line
        parent.insert(index, line_break)


def _index(element: Any) -> int:
    return int(element.getparent().index(element))


def _blank(text: str | None) -> bool:
    return not text or text.isspace()


@cache
def _settings() -> ConfigParser:
    from trafilatura.settings import DEFAULT_CONFIG

    settings = deepcopy(DEFAULT_CONFIG)
    settings["DEFAULT"]["MIN_EXTRACTED_SIZE"] = str(SHORT)
    return settings
