"""CoNLL files: a token and its tag a line, a blank line between pages.

Read are BIO (IOB2), IOB1, BIOES, BILOU and BMES, columns parted by tabs or blanks, the token first
and the tag last; `-DOCSTART-` lines are passed over. Tokens are put together with nothing between
them, or with a joiner. Comments of the form `# id = a1` are fields of the page that follows.

Written is a character a line under BIO. Blanks, line breaks, control characters and the backslash
cannot stand in such a file as they are, so they are written as in a string of Python (`\\n`,
`\\u3000`, `\\\\`), and the first line, `# escape = backslash`, says so; without it a backslash is a
backslash.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import IO, Any

from filter.text import replace_surrogates
from training.corpus.formats.pages import RawPage, ReadOptions, RecordError, Region, Reject
from training.corpus.messages import short
from training.corpus.records import CorpusError, LabelledPage

ESCAPE_LINE = "# escape = backslash"
TAG = re.compile(r"O|([BIESLUM])-(.+)", re.DOTALL)
"""A tag: outside, or the place of a token in a span and its label."""

_COMMENT = re.compile(r"# ?([\w.-]+) = (.*)", re.DOTALL)
_ESCAPED = re.compile(r"\\(u[0-9a-f]{4}|U[0-9a-f]{8}|.)", re.DOTALL)
_JSON_FIELDS = ("ambiguous", "meta")
_UNKEPT_FIELDS = ("text", "spans")  # CoNLL-U repeats the sentence above it
_NAMED = {"\\": "\\", "n": "\n", "r": "\r", "t": "\t"}
_NAMES = {character: name for name, character in _NAMED.items()}


@dataclass
class _Block:
    """The lines of one page.

    Attributes:
        line: The number of the first, or of the one that is wrong.
        fields: Its comments.
        tokens: Its tokens.
        tags: A tag for each.
        error: The first thing wrong with it.
    """

    line: int
    fields: dict[str, str] = field(default_factory=dict)
    tokens: list[str] = field(default_factory=list)
    tags: list[str] = field(default_factory=list)
    error: str | None = None


def read(data: bytes, name: str, options: ReadOptions) -> Iterator[RawPage | Reject]:
    """The pages of a file."""
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise CorpusError(f"{name}: not UTF-8 (byte {error.start})") from None
    for block in _blocks(text):
        try:
            if block.error is not None:
                raise RecordError(block.error)
            yield _page(block, name, options)
        except RecordError as error:
            record = {**block.fields, "tokens": block.tokens, "tags": block.tags}
            yield Reject(name, f":{block.line}", str(error), record)


def write(pages: Iterable[LabelledPage], stream: IO[bytes]) -> None:
    """A character a line, with the fields of each page in comments above it."""
    stream.write(f"{ESCAPE_LINE}\n".encode())
    for page in pages:
        fields: dict[str, str] = {"id": page.id}
        if page.source:
            fields["source"] = page.source
        if page.kind:
            fields["kind"] = page.kind
        if not page.labelled:
            fields["labelled"] = "false"
        if page.ambiguous:
            fields["ambiguous"] = json.dumps(page.ambiguous)
        if page.meta:
            fields["meta"] = json.dumps(page.meta)
        lines = [f"# {key} = {escape(value, keep=' ')}" for key, value in fields.items()]
        tags = ["O"] * len(page.text)
        for span in page.spans:
            label = escape(span.label)
            tags[span.start : span.end] = [f"I-{label}"] * (span.end - span.start)
            tags[span.start] = f"B-{label}"
        lines += (f"{escape(c)}\t{tag}" for c, tag in zip(page.text, tags, strict=True))
        stream.write("".join(f"{line}\n" for line in (*lines, "")).encode())


def escape(text: str, *, keep: str = "") -> str:
    """A text without blanks, control characters and line breaks but for those to be kept.

    >>> escape("a b\\n")
    'a\\\\u0020b\\\\n'
    """
    return "".join(c if c in keep else _escape(c) for c in text)


def unescape(text: str) -> str:
    """The reverse of `escape`.

    Raises:
        RecordError: a backslash has no meaning.
    """
    return _ESCAPED.sub(_unescape, text)


def _escape(character: str) -> str:
    if character in _NAMES:
        return f"\\{_NAMES[character]}"
    if unicodedata.category(character)[0] not in "CZ":
        return character
    code = ord(character)
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def _unescape(match: re.Match[str]) -> str:
    escaped = match[1]
    if len(escaped) > 1:
        return chr(int(escaped[1:], 16))
    if escaped not in _NAMED:
        raise RecordError(f"\\{escaped} has no meaning; a backslash itself is written \\\\")
    return _NAMED[escaped]


def _blocks(text: str) -> Iterator[_Block]:
    """The lines between blank ones, those without a page left out."""
    escaped = False
    block = _Block(1)
    for number, ended in enumerate((*text.split("\n"), ""), 1):
        line = ended.removesuffix("\r")
        if line == ESCAPE_LINE:
            escaped = True
        elif not line.strip():
            if block.tokens or block.error or "id" in block.fields:
                yield block
            block = _Block(number + 1)
        elif not line.startswith("-DOCSTART-") and block.error is None:
            try:
                _add(block, line, escaped)
            except RecordError as error:
                block.line, block.error = number, str(error)


def _add(block: _Block, line: str, escaped: bool) -> None:
    """Takes in a line that is neither blank nor the first of a document."""
    comment = _COMMENT.fullmatch(line)
    if comment:
        block.fields[comment[1]] = unescape(comment[2]) if escaped else comment[2]
        return
    columns = line.split("\t") if "\t" in line else line.split()
    token, tag = columns[0], columns[-1].strip()
    if len(columns) < 2 or not TAG.fullmatch(tag):
        if line.startswith("#"):
            return  # a comment that is no field
        raise RecordError(f"{short(line)} does not end in a tag such as O, B-ad or I-ad")
    block.tokens.append(unescape(token) if escaped else token)
    block.tags.append(unescape(tag) if escaped else tag)


def _page(block: _Block, name: str, options: ReadOptions) -> RawPage:
    identity = block.fields.pop("id", str(block.line))
    labelled = block.fields.pop("labelled", "true") != "false"
    fields: dict[str, Any] = {}
    for key, value in block.fields.items():
        if key not in _JSON_FIELDS:
            if key not in _UNKEPT_FIELDS:
                fields[key] = value
            continue
        try:
            fields[key] = json.loads(value)
        except ValueError as error:
            raise RecordError(f"page {identity!r}: {key} is not JSON: {error}") from None
    meta = fields.pop("meta", None)
    tokens = [replace_surrogates(token) for token in block.tokens]
    return RawPage(
        place=(name, f":{block.line}"),
        name=f"page {identity!r}",
        id=identity,
        text=options.joiner.join(tokens),
        regions=list(_regions(tokens, block.tags, len(options.joiner))),
        fields={**fields, **(meta if isinstance(meta, dict) else {})},
        labelled=labelled,
    )


def _regions(tokens: Sequence[str], tags: Sequence[str], gap: int) -> Iterator[Region]:
    """Spans from tags, of whichever scheme they are.

    A span begins at B, S and U, and at any other tag that does not go on with the one before; it
    goes on through I, M, E and L of its own label, and ends with E, L, S and U.
    """
    number, start, end, label, going = 0, 0, 0, "", False
    position = 0
    for token, tag in zip(tokens, tags, strict=True):
        match = TAG.fullmatch(tag)
        place, name = (match[1], match[2]) if match else (None, None)
        goes_on = going and name == label and place in ("I", "M", "E", "L")
        if label and not goes_on:
            yield Region(f"span {number}", start, end, label)
            number, label = number + 1, ""
        if name:
            start = start if goes_on else position
            end, label = position + len(token), name
            going = place not in ("E", "L", "S", "U")
        position += len(token) + gap
    if label:
        yield Region(f"span {number}", start, end, label)
