"""Labels that stand apart from their pages, for pages whose text may not come along with them.

One JSON object a line: the `id` of a page in another file, `start` and `end` of the part of it that
was labelled, `sha256` of that part, and `spans` (and `ambiguous`, `source`, `kind`) as in a corpus,
with offsets from `start`. The part becomes a page of its own. A text that is not the one which was
labelled is an error, for every offset would be wrong.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from os import PathLike, fspath
from typing import Any

from filter.labels import LABELS
from training.corpus.records import (
    CorpusError,
    LabelledPage,
    numbered_records,
    page_of,
    read_corpora,
)


def checksum(text: str) -> str:
    """What `sha256` holds: that of the UTF-8 bytes, in hexadecimal."""
    return hashlib.sha256(text.encode("utf-8")).hexdigest()


def read_standoff(
    path: str | PathLike[str],
    pages: Iterable[str | PathLike[str]],
    *,
    labels: Sequence[str] | None = LABELS,
    require_spans: bool = True,
) -> Iterator[LabelledPage]:
    """Read labels and the pages that they are of, in the order of the pages.

    Args:
        path: JSON lines as above, plain or compressed.
        pages: the files that hold the pages, as JSON lines with `id` and `text`.
        labels: the labels that may occur; None allows any.
        require_spans: whether a record without `spans` is an error, or else plain prose.

    Raises:
        CorpusError: a record is broken, a page is missing, or its text is another one; the message
            names file, line and page.
        WinnowError: a file cannot be read.
    """
    name = fspath(path)
    wanted: dict[str, list[tuple[str, dict[str, Any]]]] = {}
    for where, record in numbered_records(name):
        if isinstance(record, CorpusError):
            raise record
        _check(record, f"{name}{where}")
        wanted.setdefault(record["id"], []).append((where, record))
    files = [fspath(file) for file in pages]
    for page in read_corpora(files):
        for where, record in wanted.pop(page.id, ()):
            part = page.text[record["start"] : record["end"]]
            if checksum(part) != record["sha256"]:
                raise CorpusError(
                    f"{name}{where}: page {page.id!r}: characters {record['start']} to"
                    f" {record['end']} are not those that were labelled (sha256"
                    f" {checksum(part):.8}, not {record['sha256']:.8}); the pages must come from"
                    " the same version of the file"
                )
            whole = {"source": page.source, **record, "text": part}
            yield page_of(
                whole, f"{name}{where}", where=where, labels=labels, require_spans=require_spans
            )
    if wanted:
        id_, [(where, _), *_] = next(iter(wanted.items()))
        raise CorpusError(
            f"{name}{where}: page {id_!r} is in none of the files of pages ({', '.join(files)});"
            f" {len(wanted)} are missing"
        )


def _check(record: Any, place: str) -> None:
    if not isinstance(record, dict):
        raise CorpusError(f"{place}: expected a JSON object, found {type(record).__name__}")
    for key, kind in (("id", str), ("start", int), ("end", int), ("sha256", str)):
        if not isinstance(record.get(key), kind):
            raise CorpusError(
                f"{place}: no {key!r} in the record, or not of type {kind.__name__}; labels without"
                " a text name their page by id, start, end and sha256"
            )
