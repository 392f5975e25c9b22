"""doccano's JSONL, in both of its shapes.

Sequence labelling writes `"label": [[start, end, "ad"], ...]` (older releases `labels`), relation
extraction `"entities": [{"id", "label", "start_offset", "end_offset"}, ...]`. Substrings are never
beside the offsets, so only the user can tell what was counted where a page has characters beyond
the basic plane: code points, as current releases do, unless `--offsets utf-16` says otherwise.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import IO, Any

from filter.documents import json_line
from filter.text import replace_surrogates
from training.corpus.formats.pages import (
    Item,
    RawPage,
    ReadOptions,
    RecordError,
    Region,
    Reject,
    flattened,
    nested,
    read_pages,
    require_text,
)
from training.corpus.messages import short
from training.corpus.records import LabelledPage

_SPAN_KEYS = ("entities", "label", "labels")
_TOOL_KEYS = (*_SPAN_KEYS, "relations", "Comments", "comments", "id")


def read(data: bytes, name: str, options: ReadOptions) -> Iterator[RawPage | Reject]:
    """The pages of an export."""
    return read_pages(data, name, lambda item: _page(item, options))


def write(pages: Iterable[LabelledPage], stream: IO[bytes]) -> None:
    """One record a line, in the shape that a sequence labelling project imports."""
    for page in pages:
        record: dict[str, Any] = {"id": page.id, "text": page.text}
        if page.labelled:
            record["label"] = [[span.start, span.end, span.label] for span in page.spans]
        stream.write(json_line({**record, **nested(page)}))


def _page(item: Item, options: ReadOptions) -> RawPage:
    record = item.record
    if not isinstance(record, dict):
        raise RecordError(f"expected a JSON object, found {short(record)}")
    text_key = options.text_key or ("data" if "text" not in record and "data" in record else "text")
    text = replace_surrogates(require_text(record, text_key))
    identity = str(record.get("id", item.where.strip(":[]") or "0"))
    given = [key for key in _SPAN_KEYS if record.get(key) is not None]
    regions = [
        _region(key, i, span, identity)
        for key in given
        for i, span in enumerate(_list(record, key))
    ]
    if regions and options.offsets == "auto" and any(c > "\uffff" for c in text):
        options.notes[
            "pages with emoji or rare characters; --offsets utf-16 if spans behind them are shifted"
        ] += 1
    if record.get("relations"):
        options.notes["pages with relations, which are not kept"] += 1
    fields = {k: v for k, v in record.items() if k != text_key and k not in _TOOL_KEYS}
    return RawPage(
        place=(item.path, item.where),
        name=f"page {identity!r}",
        id=identity,
        text=text,
        regions=regions,
        fields=flattened(fields),
        labelled=bool(given),
    )


def _list(record: dict[str, Any], key: str) -> list[Any]:
    if not isinstance(record[key], list):
        raise RecordError(f"{key!r} must be a list of spans, not {short(record[key])}")
    return list(record[key])


def _region(key: str, number: int, span: Any, identity: str) -> Region:
    name = f"{'entity' if key == 'entities' else 'span'} {number}"
    if isinstance(span, dict) and {"start_offset", "end_offset", "label"} <= set(span):
        name = f"entity {span['id']}" if "id" in span else name
        return Region(name, span["start_offset"], span["end_offset"], span["label"])
    if isinstance(span, list) and len(span) == 3:
        return Region(name, *span)
    raise RecordError(
        f"page {identity!r}: {name} {short(span)}: must be [start, end, label], or an object with "
        "start_offset, end_offset and label"
    )
