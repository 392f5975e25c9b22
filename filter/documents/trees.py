"""HTML pages as the trees of two parsers, each with what `filter.documents.hidden` asks of them.

lxml's is the tree that trafilatura works on, lexbor's the one that Resiliparse brings along.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from lxml import etree, html

from filter.documents.hidden import SELECTOR, XPATH
from filter.errors import WinnowError

_HIDING = ("style", "hidden")

# Characters that lxml reads but does not write, as they are and as references to them.
_UNWRITABLE = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]"
    "|&#0*(?:[0-8]|1[124-9]|2[0-9]|3[01]|6553[45])(?![0-9]);?"
    "|&#x0*(?:[0-8bcef]|1[0-9a-f]|fff[ef])(?![0-9a-f]);?",
    re.IGNORECASE,
)
_SEEN_TEXT = etree.XPath(".//text()[not(parent::script or parent::style)]")


class LxmlTree:
    """A page that lxml has parsed; elements are lxml's."""

    def __init__(self, root: Any) -> None:
        self.root = root

    def text(self, element: Any = None) -> str:
        return "".join(_SEEN_TEXT(self.root if element is None else element))

    def tag(self, element: Any) -> str:
        return str(element.tag)

    def attributes(self, element: Any) -> Mapping[str, str | None]:
        attributes: Mapping[str, str | None] = element.attrib
        return attributes

    def styles_within(self, element: Any) -> Iterable[str]:
        styles: Iterable[str] = element.xpath(".//*/@style")
        return styles

    def candidates(self) -> Sequence[Any]:
        found: Sequence[Any] = self.root.xpath(XPATH)
        return found

    def show(self, element: Any) -> None:
        for name in _HIDING:
            element.attrib.pop(name, None)

    def remove(self, element: Any) -> None:
        if element.getparent() is not None:
            element.drop_tree()


class LexborTree:
    """A page that Resiliparse has parsed; elements are its nodes."""

    def __init__(self, tree: Any) -> None:
        self.tree = tree
        for element in tree.document.query_selector_all("script,style"):
            element.remove()  # not shown, but they would count as text

    def text(self, element: Any = None) -> str:
        node = self.tree.body if element is None else element
        return "" if node is None else node.text or ""

    def tag(self, element: Any) -> str:
        return str(element.tag)

    def attributes(self, element: Any) -> Mapping[str, str | None]:
        return {name: element.getattr(name) for name in element.attrs}

    def styles_within(self, element: Any) -> Iterable[str]:
        return (child.getattr("style") or "" for child in element.query_selector_all("[style]"))

    def candidates(self) -> Sequence[Any]:
        return list(self.tree.document.query_selector_all(SELECTOR))

    def show(self, element: Any) -> None:
        for name in _HIDING:
            if element.hasattr(name):
                element.delattr(name)

    def remove(self, element: Any) -> None:
        element.remove()


def parse(markup: str) -> Any:
    """The root of lxml's tree of a page; None if there is nothing in it.

    Raises:
        WinnowError: its elements are nested too deeply for all of it to be read.
    """
    parser = html.HTMLParser(
        encoding="utf-8", huge_tree=True, remove_comments=True, remove_pis=True, collect_ids=False
    )
    try:
        data = _UNWRITABLE.sub("", markup).encode("utf-8")
        root = html.document_fromstring(data, parser=parser)
    except etree.ParserError:
        return None
    if any("depth" in entry.message for entry in parser.error_log):
        raise WinnowError("its elements are nested too deeply to be read")
    return root
