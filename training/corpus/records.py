"""Labelled pages from JSONL, checked as they are read.

One JSON object a line: `id`, `text`, `spans`, and if at hand `source`, `kind` and `ambiguous`.
Offsets count code points, are half-open, sorted and do not overlap. A corpus is believed only
where it has been checked: every error names the file, the line, the span and the value, because
one shifted offset teaches a model the wrong character and nobody sees it afterwards.
"""

from __future__ import annotations

import json
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from os import PathLike, fspath
from typing import Any

from filter.errors import WinnowError, nearest, unknown
from filter.files import base_name, open_bytes
from filter.labels import LABELS
from filter.spans import Span
from filter.text import replace_surrogates
from training.corpus.messages import not_json, short

_KNOWN_KEYS = ("id", "spans", "source", "kind", "ambiguous")


class CorpusError(WinnowError):
    """A labelled corpus is not as it should be."""


@dataclass(frozen=True, slots=True)
class LabelledPage:
    """A page and what is foreign in it.

    `labelled` is false for plain prose, a record that has no `spans` at all; it is a clean page
    then. `meta` holds the fields of the record that are not named here.
    """

    id: str
    text: str
    spans: list[Span]
    source: str = ""
    kind: str = ""
    ambiguous: list[tuple[int, int]] = field(default_factory=list)
    meta: dict[str, Any] = field(default_factory=dict)
    labelled: bool = True


def read_labelled(
    path: str | PathLike[str],
    *,
    labels: Sequence[str] | None = LABELS,
    text_key: str = "text",
    require_spans: bool = True,
) -> Iterator[LabelledPage]:
    """Read the pages of a corpus in order.

    Args:
        path: `.jsonl` with one object a line, plain or `.gz`, `.xz`, `.zst`; or `.json` with one
            object, or a list of them.
        labels: the labels that may occur; None allows any.
        text_key: the key that holds the page.
        require_spans: whether a record without `spans` is an error, or else plain prose.

    Raises:
        CorpusError: a record is broken; the message names file, line, span and value.
        WinnowError: the file cannot be read.
    """
    for _, page in read_records(
        path, labels=labels, text_key=text_key, require_spans=require_spans
    ):
        if isinstance(page, CorpusError):
            raise page
        yield page


def read_records(
    path: str | PathLike[str],
    *,
    labels: Sequence[str] | None = None,
    text_key: str = "text",
    require_spans: bool = False,
) -> Iterator[tuple[Any, LabelledPage | CorpusError]]:
    """Every record of a corpus with its page, or with what is wrong with it.

    Takes what `read_labelled` takes, and goes on behind a broken record.

    Raises:
        CorpusError: the file as a whole is broken.
        WinnowError: the file cannot be read.
    """
    name = fspath(path)
    for where, record in numbered_records(name):
        page: LabelledPage | CorpusError
        try:
            if isinstance(record, CorpusError):
                raise record
            page = page_of(
                record,
                f"{name}{where}",
                where=where,
                labels=labels,
                text_key=text_key,
                require_spans=require_spans,
            )
        except CorpusError as error:
            page = error
        yield record, page


def numbered_records(path: str) -> Iterator[tuple[str, Any]]:
    """Each record, or why it is none, with its place in the file (`:12` for line 12)."""
    with open_bytes(path) as file:
        if base_name(path).lower().endswith(".json"):
            try:
                whole = json.loads(file.read())
            except (ValueError, RecursionError) as error:
                raise CorpusError(f"{path}: {not_json(error)}") from None
            many = whole if isinstance(whole, list) else [whole]
            yield from ((f"[{i}]" if many is whole else "", item) for i, item in enumerate(many))
            return
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            try:
                record = json.loads(line)
            except (ValueError, RecursionError) as error:
                record = CorpusError(f"{path}:{number}: {not_json(error)}")
            yield f":{number}", record


def page_of(
    record: Any,
    place: str,
    *,
    where: str,
    labels: Sequence[str] | None,
    require_spans: bool,
    text_key: str = "text",
) -> LabelledPage:
    """The page of one record, as `read_labelled` gives it.

    Errors name it by ``place``; without an `id` it goes by ``where``, its place in the file.

    Raises:
        CorpusError: the record is broken.
    """
    if not isinstance(record, dict):
        raise CorpusError(f"{place}: expected a JSON object, found {type(record).__name__}")
    if text_key not in record:
        near = nearest(text_key, list(record))
        hint = f"; is it {near!r}?" if near else ""
        way_out = "name the key that holds the page with --text-key"
        if isinstance(record.get("data"), dict):
            way_out = "winnow convert makes a corpus of Label Studio's tasks"
        raise CorpusError(
            f"{place}: no {text_key!r} in the record{hint}; {way_out} (this record has: "
            f"{', '.join(map(repr, record)) or 'nothing'})"
        )
    text = record[text_key]
    if not isinstance(text, str):
        raise CorpusError(f"{place}: {text_key!r} must be a string, not {short(text)}")
    text = replace_surrogates(text)
    identity = str(record.get("id", where.strip(":[]") or "0"))
    at = f"{place}: page {identity!r}"
    labelled = record.get("spans") is not None
    exported = None if labelled else next(filter(_is_exported, record.items()), None)
    if exported is not None:
        raise CorpusError(
            f"{at}: no 'spans' in the record, but spans of a label tool under {exported[0]!r}; "
            "winnow convert makes a corpus of its exports"
        )
    if not labelled and require_spans:
        raise CorpusError(
            f"{at}: no 'spans' in the record; a page without spam has an empty list there"
        )
    return LabelledPage(
        id=identity,
        text=text,
        spans=_spans(record.get("spans") or [], text, at, labels),
        source=str(record.get("source") or ""),
        kind=str(record.get("kind") or ""),
        ambiguous=_ambiguous(record.get("ambiguous") or [], text, at),
        meta={k: v for k, v in record.items() if k != text_key and k not in _KNOWN_KEYS},
        labelled=labelled,
    )


def _is_exported(field: tuple[str, Any]) -> bool:
    """Whether a field holds spans as doccano or Label Studio write them."""
    key, value = field
    match value:
        case [[int(), int(), str()], *_]:
            return key in ("label", "labels", "entities")
        case [{"start_offset": _, "end_offset": _}, *_] | [{"start": _, "end": _, "labels": _}, *_]:
            return True
    return False


def _spans(items: Any, text: str, at: str, labels: Sequence[str] | None) -> list[Span]:
    if not isinstance(items, list):
        raise CorpusError(f"{at}: 'spans' must be a list, not {short(items)}")
    spans: list[Span] = []
    for i, item in enumerate(items):
        here = f"{at}: span {i} {short(item)}"
        if not isinstance(item, Mapping):
            raise CorpusError(f"{here}: must be an object with start, end and label")
        missing = [key for key in ("start", "end", "label") if key not in item]
        if missing:
            raise CorpusError(f"{here}: no {missing[0]!r}")
        start, end = _range(item["start"], item["end"], text, here)
        label = item["label"]
        if not isinstance(label, str) or not label:
            raise CorpusError(f"{here}: label must be a name, not {short(label)}")
        if labels is not None and label not in labels:
            raise CorpusError(f"{here}: {unknown('label', label, labels)}")
        if "text" in item and item["text"] != text[start:end]:
            raise CorpusError(
                f"{here}: the page has {short(text[start:end])} there, the span says "
                f"{short(item['text'])}; offsets must count code points, not UTF-16 units or bytes"
            )
        if spans and start < spans[-1].end:
            last = spans[-1]
            fault = "overlaps" if end > last.start else "comes before"
            raise CorpusError(
                f"{here}: {fault} span {i - 1} ({last.start} to {last.end}); "
                "spans must be sorted and must not overlap"
            )
        spans.append(Span(start, end, label, text=text[start:end]))
    return spans


def _ambiguous(items: Any, text: str, at: str) -> list[tuple[int, int]]:
    if not isinstance(items, list):
        raise CorpusError(f"{at}: 'ambiguous' must be a list, not {short(items)}")
    ranges = []
    for i, item in enumerate(items):
        here = f"{at}: ambiguous range {i} {short(item)}"
        if isinstance(item, Mapping) and {"start", "end"} <= set(item):
            item = [item["start"], item["end"]]
        if not isinstance(item, list) or len(item) != 2:
            raise CorpusError(f"{here}: must be [start, end]")
        ranges.append(_range(item[0], item[1], text, here))
    return ranges


def _range(start: Any, end: Any, text: str, here: str) -> tuple[int, int]:
    for name, value in (("start", start), ("end", end)):
        # A JSON `true` is an int to Python, and `3.0` compares like one.
        if not isinstance(value, int) or isinstance(value, bool):
            raise CorpusError(f"{here}: {name} must be a whole number, not {short(value)}")
    if start < 0 or end > len(text):
        raise CorpusError(
            f"{here}: {start} to {end} lies outside the page, which has {len(text)} characters"
        )
    if start >= end:
        raise CorpusError(f"{here}: start {start} must be less than end {end}")
    return start, end


def read_corpora(
    paths: Iterable[str | PathLike[str]],
    *,
    labels: Sequence[str] | None = None,
    text_key: str = "text",
    require_spans: bool = False,
    sources: Container[str] | None = None,
    limit: int | None = None,
) -> Iterator[LabelledPage]:
    """Read the pages of several corpora, one after the other, as `read_labelled` does.

    Args:
        paths: The files.
        labels: The labels that may occur; None allows any.
        text_key: The key that holds the page.
        require_spans: Whether a record without `spans` is an error, or else plain prose.
        sources: Only pages whose `source` is one of these.
        limit: At most so many pages of each file.
    """
    for path in paths:
        pages = read_labelled(
            path, labels=labels, text_key=text_key, require_spans=require_spans
        )  # fmt: skip
        chosen = (page for page in pages if sources is None or page.source in sources)
        yield from islice(chosen, limit)


def without_near_misses(page: LabelledPage, labels: Sequence[str]) -> LabelledPage:
    """The page, if none of its labels looks like a misspelling of one in `labels`.

    A corpus may have labels that a model does not know; one that is nearly right is a mistake.

    Raises:
        CorpusError: a label is nearly one of `labels`.
    """
    for span in page.spans:
        if span.label not in labels and nearest(span.label, labels) is not None:
            raise CorpusError(f"page {page.id!r}: {unknown('label', span.label, labels)}")
    return page
