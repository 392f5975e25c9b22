"""Strings to inject: lists of products, brands, adverts and lines that stood on real pages.

A material directory holds one file a kind (``.txt`` one item a line, ``.jsonl`` with a ``text``);
what is absent is simply not drawn. A share of every list, chosen by a hash of the string, is held
out. Labelled pages lend their real heads, tails and adverts; those of held-out sites lend them to
held-out pages.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

from filter.errors import UsageError, WinnowError
from filter.files import open_bytes
from training.injection import written

if TYPE_CHECKING:
    from training.corpus.records import LabelledPage

Block = list[tuple[str, str]]
"""Consecutive ``(text, label)`` pieces taken from one real page, line breaks included."""

MIN_LIST, MAX_BLOCK = 3, 700
MAX_KEYWORD, MAX_FRAGMENT = 30, 80


@dataclass
class Lent:
    """What labelled pages lend.

    Whole heads and tails, adverts, lines that stood alone, fragments, and the keywords of a page
    together, in their order.
    """

    heads: list[Block] = field(default_factory=list)
    tails: list[Block] = field(default_factory=list)
    adverts: list[str] = field(default_factory=list)
    marks: list[tuple[str, str]] = field(default_factory=list)
    keywords: list[list[str]] = field(default_factory=list)
    fragments: list[str] = field(default_factory=list)

    def add(self, page: LabelledPage) -> None:
        """Takes a page's heads, tails, adverts, one-line insertions, keywords and fragments."""
        pieces = _pieces(page)
        keywords = dict.fromkeys(_short(pieces, "keyword", MAX_KEYWORD))
        if keywords:
            self.keywords.append(list(keywords))
        self.fragments += _short(pieces, "fragment", MAX_FRAGMENT)
        body = [i for i, piece in enumerate(pieces) if _is_body(piece)]
        if not page.spans or not body:
            return
        for blocks, block in (
            (self.heads, pieces[: body[0]]),
            (self.tails, pieces[body[-1] + 1 :]),
        ):
            if block and sum(len(text) for text, _ in block) <= MAX_BLOCK:
                blocks.append(block)
        self.adverts += [text for text, label in pieces if label == "ad" and 30 <= len(text) <= 400]
        self.marks += [
            (text.strip(), label)
            for text, label in pieces
            if label != "prose" and 2 < len(text.strip()) <= 120 and "\n" not in text.strip()
        ]


CREDITS = "prose_credits"
"""The list of credits that prose documents ended with."""

FEWEST_CREDITS = 20
"""Below this, one that is no credit would be drawn too often."""


class Material:
    """Lists by name, the project's own among them, and what labelled pages lend.

    Each has a training and a held-out part.
    """

    def __init__(
        self, lists: Mapping[str, Sequence[str]], *, held_out_share: float = 0.1, salt: str = ""
    ) -> None:
        self._parts: dict[tuple[str, bool], list[str]] = {}
        self._limit, self._salt = int(held_out_share * 10_000), salt
        for name, items in {**written.lists(), **lists}.items():
            self._add(name, items)
        self._lent = {False: Lent(), True: Lent()}

    def add_credits(self, credits: Sequence[str]) -> None:
        """Takes what prose documents ended with, if it is enough."""
        if len(credits) >= FEWEST_CREDITS:
            self._add(CREDITS, credits)

    def _add(self, name: str, items: Iterable[str]) -> None:
        for item in items:
            held_out = zlib.crc32((self._salt + item).encode()) % 10_000 < self._limit
            self._parts.setdefault((name, held_out), []).append(item)

    def has(self, name: str) -> bool:
        return (name, False) in self._parts

    def items(self, name: str) -> Sequence[str]:
        """The training part of a list."""
        return self._parts.get((name, False), [])

    def draw(self, rng: Random, name: str, *, held_out: bool = False) -> str:
        """One item of a list, or of the training part where the held-out part is empty."""
        items = self._parts.get((name, held_out)) or self._parts.get((name, False))
        return rng.choice(items) if items else ""

    def lent(self, *, held_out: bool = False) -> Lent:
        """What labelled pages lend, those of held-out sites or the others."""
        return self._lent[held_out]

    def add_pages(self, pages: Iterable[LabelledPage], *, held_out: bool = False) -> None:
        """Takes what can be put into other pages out of labelled ones."""
        for page in pages:
            self._lent[held_out].add(page)


def _short(pieces: Block, label: str, longest: int) -> list[str]:
    return [
        text
        for text, kind in pieces
        if kind == label and 1 < len(text) <= longest and "\n" not in text
    ]


def _pieces(page: LabelledPage) -> Block:
    pieces: Block = []
    done = 0
    for span in page.spans:
        if span.start > done:
            pieces.append((page.text[done : span.start], "prose"))
        pieces.append((page.text[span.start : span.end], span.label))
        done = span.end
    if done < len(page.text):
        pieces.append((page.text[done:], "prose"))
    return pieces


def _is_body(piece: tuple[str, str]) -> bool:
    return piece[1] == "prose" and len(piece[0].strip()) > 3


def read_material(paths: Iterable[str | Path], *, held_out_share: float = 0.1) -> Material:
    """Reads lists: files, or every ``.txt``, ``.tsv`` and ``.jsonl`` of directories.

    A list goes by its file's name without extensions, ``-`` read as ``_``.

    Raises:
        WinnowError: a file does not exist, has a name of the project's own lists, or a JSONL line
            has no ``text``.
    """
    lists: dict[str, list[str]] = {}
    for path in map(Path, paths):
        for file in sorted(path.iterdir()) if path.is_dir() else [path]:
            if path.is_dir() and file.suffix not in (".txt", ".tsv", ".jsonl"):
                continue
            name = file.name.split(".")[0].replace("-", "_")
            if name.startswith(written.PREFIX):
                raise UsageError(
                    f"{file}: names that begin with '{written.PREFIX}' are the project's own;"
                    " give the list another"
                )
            items = list(dict.fromkeys(_read_list(file)))
            if len(items) >= MIN_LIST:
                lists[name] = items
    return Material(lists, held_out_share=held_out_share)


def _read_list(path: Path) -> Iterable[str]:
    with open_bytes(str(path)) as lines:
        for number, line in enumerate(lines, 1):
            item = line.decode("utf-8", "replace").rstrip("\r\n")
            if ".jsonl" in path.suffixes:
                try:
                    item = json.loads(item)["text"]
                except (ValueError, KeyError, TypeError) as error:
                    raise WinnowError(f"{path}:{number}: no 'text' in this line") from error
            if item.strip():
                yield item.strip() if path.suffix != ".tsv" else item
