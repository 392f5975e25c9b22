"""Pages as they stand in an export, before anyone has checked them, and what could not be read."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from training.corpus.messages import not_json, short
from training.corpus.records import CorpusError, LabelledPage


@dataclass(frozen=True, slots=True)
class Region:
    """A span as the tool gives it.

    Attributes:
        name: What to call it in a message: `span 3`, `region x7Df`.
        start: Its first character, in whatever units the tool counts.
        end: The character after its last.
        label: Its label.
        text: The substring that the tool exported beside it, if it did.
    """

    name: str
    start: Any
    end: Any
    label: Any
    text: str | None = None


@dataclass(frozen=True, slots=True)
class RawPage:
    """One record, its offsets not yet believed.

    Attributes:
        place: The file and the record in it: `export.json[3]`.
        name: What the tool calls it: `page 'a1'`, `task 12`.
        id: The page's id.
        text: The page, without lone surrogates.
        regions: Its spans in any order.
        fields: Everything else that is kept; `source`, `kind` and `ambiguous` have their meaning.
        labelled: Whether somebody labelled it at all.
        blanks_may_differ: Whether the tool tidies up the blanks of the substrings that it exports.
    """

    place: tuple[str, str]
    name: str
    id: str
    text: str
    regions: list[Region]
    fields: dict[str, Any]
    labelled: bool = True
    blanks_may_differ: bool = False


@dataclass(frozen=True, slots=True)
class Item:
    """A JSON value and where it stood: `:12` is line 12, `[3]` the fourth of a list."""

    path: str
    where: str
    record: Any


@dataclass(frozen=True, slots=True)
class Reject:
    """A record that was refused.

    Attributes:
        path: The file.
        where: The record in it, as in `Item`.
        error: What is wrong with it.
        raw: The record itself, as far as it could be read.
    """

    path: str
    where: str
    error: str
    raw: Any = None

    def __str__(self) -> str:
        return f"{self.path}{self.where}: {self.error}"

    def as_dict(self) -> dict[str, Any]:
        """The line of a file of rejects."""
        key = "line" if self.where.startswith(":") else "record"
        number = int(self.where.strip(":[]")) if self.where else None
        return {"file": self.path, key: number, "error": self.error, "raw": self.raw}


class RecordError(ValueError):
    """What is wrong with a record, without its place."""


@dataclass(frozen=True)
class ReadOptions:
    """How an export is to be understood.

    Attributes:
        text_key: The key that holds the page; None takes `text`, or what can be meant.
        predictions: Take the predictions of tasks that nobody has labelled.
        joiner: What stands between the tokens of a CoNLL file.
        offsets: What offsets are said to count.
        notes: What a user should know of the reading, counted.
    """

    text_key: str | None = None
    predictions: bool = False
    joiner: str = ""
    offsets: str = "auto"
    notes: Counter[str] = field(default_factory=Counter)


def read_items(data: bytes, path: str) -> Iterator[Item | Reject]:
    """The JSON values of a file: of a list, of one object, or one a line.

    Raises:
        CorpusError: the file begins as a list and is not JSON.
    """
    start = data.lstrip(b"\xef\xbb\xbf \t\r\n")
    if start.startswith(b"["):
        try:
            whole = json.loads(data)
        except (ValueError, RecursionError) as error:
            raise CorpusError(f"{path}: {not_json(error)}") from None
        yield from (Item(path, f"[{i}]", record) for i, record in enumerate(whole))
        return
    if not _is_json(start.split(b"\n", 1)[0]) and _is_json(data):
        yield Item(path, "", json.loads(data))
        return
    yield from _lines(data, path)


def read_pages(
    data: bytes, path: str, page: Callable[[Item], RawPage | None]
) -> Iterator[RawPage | Reject]:
    """The pages of a JSON file, with a `Reject` in the place of what is none.

    Args:
        data: The file.
        path: Its name.
        page: Makes a page of a value, or None to leave it out; a `RecordError` refuses it.
    """
    for item in read_items(data, path):
        if isinstance(item, Reject):
            yield item
            continue
        try:
            made = page(item)
        except RecordError as error:
            yield Reject(item.path, item.where, str(error), item.record)
        else:
            if made is not None:
                yield made


def _lines(data: bytes, path: str) -> Iterator[Item | Reject]:
    for number, line in enumerate(data.split(b"\n"), 1):
        if line.strip():
            try:
                yield Item(path, f":{number}", json.loads(line))
            except (ValueError, RecursionError) as error:
                raw = line.decode("utf-8", "replace")
                yield Reject(path, f":{number}", not_json(error), raw)


def _is_json(data: bytes) -> bool:
    try:
        json.loads(data)
    except (ValueError, RecursionError):
        return False
    return True


def flattened(fields: dict[str, Any]) -> dict[str, Any]:
    """Fields with those of their `meta` beside them, where it holds some and none is there twice.

    Writers put what a tool has no place for into `meta`; this takes it out again.
    """
    meta = fields.get("meta")
    rest = {key: value for key, value in fields.items() if key != "meta"}
    if not isinstance(meta, dict) or set(meta) & set(rest):
        return fields
    return {**rest, **meta}


def own_fields(page: LabelledPage) -> dict[str, Any]:
    """The fields of a page that the corpus format names, beside its id, text and spans."""
    fields: dict[str, Any] = {}
    if page.source:
        fields["source"] = page.source
    if page.kind:
        fields["kind"] = page.kind
    if page.ambiguous:
        fields["ambiguous"] = [list(item) for item in page.ambiguous]
    return fields


def nested(page: LabelledPage) -> dict[str, Any]:
    """The fields of a page beside its text and spans, the user's own below `meta`."""
    fields = own_fields(page)
    return {**fields, "meta": page.meta} if page.meta else fields


def require_text(record: dict[str, Any], text_key: str) -> str:
    """The page in a record.

    Raises:
        RecordError: there is none, or it is no string.
    """
    text = record.get(text_key)
    if isinstance(text, str):
        return text
    if text_key not in record:
        have = ", ".join(map(repr, record)) or "nothing"
        raise RecordError(
            f"no {text_key!r} in the record; name the key that holds the page with --text-key "
            f"(it has: {have})"
        )
    raise RecordError(f"{text_key!r} must be a string, not {short(text)}")
