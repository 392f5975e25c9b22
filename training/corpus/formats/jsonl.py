"""The project's own records, which are Prodigy's and spaCy's too.

One object a line with `text` and `spans` of `start`, `end` and `label`; offsets count code points.
A span may carry its `text`, and is then held against it. Prodigy's `answer` is minded: what an
annotator rejected or ignored is left out.
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
    own_fields,
    read_pages,
    require_text,
)
from training.corpus.messages import short
from training.corpus.records import CorpusError, LabelledPage

_OWN_KEYS = ("id", "text", "spans", "source", "kind", "ambiguous")


def read(data: bytes, name: str, options: ReadOptions) -> Iterator[RawPage | Reject]:
    """The pages of a file of records."""
    return read_pages(data, name, lambda item: _page(item, options))


def write(pages: Iterable[LabelledPage], stream: IO[bytes]) -> None:
    """One record a line."""
    for page in pages:
        stream.write(json_line(record(page)))


def record(page: LabelledPage) -> dict[str, Any]:
    """A page as it stands in a corpus.

    Raises:
        CorpusError: a field of the user's own has the name of one of the format's.
    """
    taken = [key for key in page.meta if key in _OWN_KEYS]
    if taken:
        raise CorpusError(
            f"page {page.id!r}: has a field {taken[0]!r} beside its text, where the text or the "
            "spans are to be written; rename it first"
        )
    made: dict[str, Any] = {"id": page.id, "text": page.text}
    if page.labelled:
        made["spans"] = [{"start": s.start, "end": s.end, "label": s.label} for s in page.spans]
    return {**made, **own_fields(page), **page.meta}


def _page(item: Item, options: ReadOptions) -> RawPage | None:
    record = item.record
    if not isinstance(record, dict):
        raise RecordError(f"expected a JSON object, found {short(record)}")
    if record.get("answer", "accept") != "accept":
        options.notes["records that were rejected or ignored, left out"] += 1
        return None
    text_key = options.text_key or "text"
    text = replace_surrogates(require_text(record, text_key))
    identity = str(record.get("id", item.where.strip(":[]") or "0"))
    spans = record.get("spans")
    if spans is not None and not isinstance(spans, list):
        raise RecordError(f"page {identity!r}: 'spans' must be a list, not {short(spans)}")
    dropped = ("id", "spans", text_key)
    return RawPage(
        place=(item.path, item.where),
        name=f"page {identity!r}",
        id=identity,
        text=text,
        regions=[_region(i, span, identity) for i, span in enumerate(spans or ())],
        fields={key: value for key, value in record.items() if key not in dropped},
        labelled=spans is not None,
    )


def _region(number: int, span: Any, identity: str) -> Region:
    name = f"span {number}"
    if not isinstance(span, dict) or not {"start", "end", "label"} <= set(span):
        raise RecordError(
            f"page {identity!r}: {name} {short(span)}: must be an object with start, end and label"
        )
    text = span.get("text")
    text = text if isinstance(text, str) else None
    return Region(name, span["start"], span["end"], span["label"], text)
