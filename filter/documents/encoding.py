"""Bytes of an HTML page to text: what it declares to be in is a hint, what it is in decides.

Chinese pages declare one encoding and come in another often enough. A byte order mark and valid
UTF-8 are believed before any declaration; a declaration, by HTTP or by a ``meta`` element, is one
more candidate when the reading with the commonest characters is looked for, and is what counts for
pages that are not Chinese.
"""

from __future__ import annotations

import codecs
import re

from filter.text import decode_as, detect, squeeze_ascii

PRESCAN = 4096
"""Bytes at the head of a page in which it may declare its encoding; browsers look at 1024."""

_META = re.compile(rb"<meta\b[^<>]*?\bcharset\s*=\s*[\"']?\s*([\w:.-]+)", re.IGNORECASE)
_XML = re.compile(rb"<\?xml\b[^<>]*?\bencoding\s*=\s*[\"']\s*([\w:.-]+)", re.IGNORECASE)

# Those that hold ASCII as it is: a page that can name its encoding is not in UTF-16, whatever it
# says. Python has codecs besides that are none of characters.
_OF_PAGES = re.compile(r"utf-8|gb18030|big5hkscs|euc_\w+|koi8-\w|(cp|iso8859-|mac-)\w+|tis-620")

# As the WHATWG reads them: a name stands for the largest set of characters that is sent under it.
_ALIASES = {
    **dict.fromkeys(("gb2312", "gb_2312", "gb_2312-80", "gbk", "x-gbk", "cp936"), "gb18030"),
    **dict.fromkeys(("chinese", "csgb2312", "iso-ir-58", "gb18030"), "gb18030"),
    **dict.fromkeys(("big5", "big-5", "cn-big5", "csbig5", "x-x-big5"), "cp950"),
    **dict.fromkeys(("big5-hkscs", "big5hkscs"), "big5hkscs"),
    **dict.fromkeys(("iso-8859-1", "latin1", "us-ascii", "ascii", "x-cp1252"), "cp1252"),
    **dict.fromkeys(("shift_jis", "shift-jis", "sjis", "x-sjis"), "cp932"),
    **dict.fromkeys(("euc-kr", "ks_c_5601-1987", "ksc5601", "korean"), "cp949"),
    **dict.fromkeys(("utf8", "x-unicode20utf8", "unicode-1-1-utf-8"), "utf-8"),
}


def decode_html(data: bytes, *, charset: str | None = None, name: str = "input") -> str:
    """The markup of a page.

    Args:
        data: A whole page.
        charset: The encoding by the HTTP header, if there is one.
        name: What to call the page in an error.

    Raises:
        WinnowError: the data is no text, or in no encoding that can be told.
    """
    names = [charset or ""]
    names += [found[1].decode("ascii") for found in (_XML.search(data, 0, PRESCAN),) if found]
    names += [found[1].decode("ascii") for found in (_META.search(data, 0, PRESCAN),) if found]
    declared = [codec for codec in map(codec_name, names) if codec is not None]
    # Markup and scripts tell nothing, and may fill all that is looked at. (In UTF-16, where every
    # tag is full of NULs, half of a Chinese character looks like ASCII.)
    sample = data if b"\0" in data else squeeze_ascii(data)
    return decode_as(data, detect(sample, name=name, declared=declared))


def codec_name(charset: str) -> str | None:
    """Python's name for an encoding as pages name it, or None if it knows none that is meant."""
    charset = charset.strip("\"' \t").lower()
    if charset in _ALIASES:
        return _ALIASES[charset]
    try:
        name = codecs.lookup(charset).name
    except (LookupError, ValueError):
        return None
    return name if _OF_PAGES.fullmatch(name) else None
