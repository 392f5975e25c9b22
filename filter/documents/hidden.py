"""Text that the markup of a page hides from whoever reads it.

Spam is put where search engines see it and readers do not: styles that show nothing or put it off
the screen, ``hidden``, ``<noscript>``, a ``<marquee>`` of one pixel. It is taken out of the page
before the main text is looked for, and counted.

Looked at are the attributes of an element alone, not style sheets. Two kinds of text are left,
since they are seen: ``aria-hidden`` hides from screen readers what the eye is shown, and an element
that holds more text than all the rest is the page itself, which a script will show (articles of
WeChat come with ``visibility: hidden``).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol, TypeVar

Element = TypeVar("Element")

SELECTOR = "[style],[hidden],noscript,template,dialog,marquee"
"""CSS for the elements that may be hidden."""

XPATH = "//*[@style or @hidden]|//noscript|//template|//dialog|//marquee"
"""XPath for the same elements."""

RESTORING = ("visibility", "font-size")
"""What a child may set otherwise than the element around it, and be seen."""

OFF_SCREEN = 999
"""Pixels to the side from which nothing is left to be seen."""

_COMMENT = re.compile(r"/\*.*?\*/", re.DOTALL)
_NUMBER = re.compile(r"(-?(?:\d+(?:\.\d*)?|\.\d+))\s*(px|pt|em|rem|ex|ch|vw|vh|%)?")
_PIXELS = {None: 1.0, "px": 1.0, "pt": 1.33, "%": 5.0}
_ABOUT_AN_EM = 16.0
_UNSEEN = frozenset(("noscript", "template"))
_SIDES = ("left", "right", "top", "bottom")
_SIZES = ("width", "height", "max-width", "max-height")


class Tree(Protocol[Element]):
    """A page as some parser's tree."""

    def text(self, element: Element | None = None) -> str:
        """All text within an element, or the page; scripts and style sheets are none."""

    def tag(self, element: Element) -> str:
        """The name of an element, in lower case."""

    def attributes(self, element: Element) -> Mapping[str, str | None]:
        """The attributes of an element."""

    def styles_within(self, element: Element) -> Iterable[str]:
        """The style attributes of all elements within an element."""

    def candidates(self) -> Sequence[Element]:
        """Elements that may be hidden, as in `SELECTOR`, in the order of the page."""

    def show(self, element: Element) -> None:
        """Takes from an element what hides it."""

    def remove(self, element: Element) -> None:
        """Takes an element out of the page, and nothing of what follows it."""


def drop_hidden(tree: Tree[Element]) -> int:
    """Takes hidden elements out of a page.

    Returns:
        How many characters they held, blanks not counted.
    """
    candidates = tree.candidates()
    most = length_of(tree.text()) / 2 if candidates else 0
    dropped = 0
    for element in reversed(candidates):  # from within: what is gone is not counted twice
        cause = hidden_by(tree.tag(element), tree.attributes(element))
        if cause is None:
            continue
        length = length_of(tree.text(element))
        if cause not in _UNSEEN and length > most:
            tree.show(element)
            continue
        if cause in RESTORING and any(
            is_restored(cause, declarations(style)) for style in tree.styles_within(element)
        ):
            continue
        dropped += length
        tree.remove(element)
    return dropped


def hidden_by(tag: str, attributes: Mapping[str, str | None]) -> str | None:
    """What hides an element: a property of its style, an attribute or its tag; None if it is seen.

    Args:
        tag: Its name in lower case.
        attributes: Its attributes, of which `style`, `hidden`, `open`, `width` and `height` count.
    """
    if tag in _UNSEEN or (tag == "dialog" and "open" not in attributes):
        return tag
    if "hidden" in attributes:
        return "hidden"
    if tag == "marquee" and any(_tiny(attributes.get(side), 5) for side in ("width", "height")):
        return tag
    return _hiding_property(declarations(attributes.get("style") or ""))


def declarations(style: str) -> dict[str, str]:
    """The properties that a ``style`` attribute sets, in lower case; the last of a name counts."""
    if "/*" in style:
        style = _COMMENT.sub("", style)
    pairs = (part.partition(":") for part in style.lower().split(";"))
    return {
        name.strip(): value.replace("!important", "").strip() for name, _, value in pairs if value
    }


def length_of(text: str) -> int:
    """Characters that are seen where they are shown: blanks do not count."""
    return sum(map(len, text.split()))


def is_restored(property_name: str, style: Mapping[str, str]) -> bool:
    """Whether a child's own style shows it again within an element that this property hides."""
    value = style.get(property_name)
    if property_name not in RESTORING or value is None or value == "inherit":
        return False
    return _hiding_property({property_name: value}) is None


def _hiding_property(style: Mapping[str, str]) -> str | None:
    """The property of a style that hides an element."""
    if style.get("display") == "none":
        return "display"
    if style.get("visibility") in ("hidden", "collapse"):
        return "visibility"
    if _tiny(style.get("opacity"), 0):
        return "opacity"
    if _tiny(style.get("font-size"), 1):
        return "font-size"
    if style.get("color") == "transparent":
        return "color"
    if style.get("position") in ("absolute", "fixed"):
        for side in _SIDES:
            if _pixels(style.get(side)) <= -OFF_SCREEN:
                return side
        corners = [float(found[1]) for found in _NUMBER.finditer(style.get("clip", ""))]
        if corners and max(corners) <= 1:
            return "clip"
    for name in ("text-indent", "margin-left", "margin-top"):
        if _pixels(style.get(name)) <= -OFF_SCREEN:
            return name
    if style.get("overflow") in ("hidden", "clip"):
        for name in _SIZES:
            if _tiny(style.get(name), 1):
                return name
    return None


def _pixels(value: str | None) -> float:
    """About how many pixels a length is; 0 for none."""
    found = _NUMBER.match(value or "")
    return float(found[1]) * _PIXELS.get(found[2], _ABOUT_AN_EM) if found else 0.0


def _tiny(value: str | None, most: float) -> bool:
    """Whether a value is a length of at most so many pixels."""
    return _NUMBER.match(value or "") is not None and _pixels(value) <= most
