"""The columns that a filter adds to a table, in Arrow's types.

Parquet files, Ray, Spark and `datasets` all hold tables that are Arrow's, so what is added to a
page has one schema for them all.
"""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa

from filter.documents import provenance
from filter.spans import FilteredPage

SPANS = pa.list_(
    pa.struct(
        {
            "start": pa.int32(),
            "end": pa.int32(),
            "label": pa.string(),
            "score": pa.float32(),
            "text": pa.string(),
        }
    )
)
PROVENANCE = pa.struct({"engine": pa.string(), "model": pa.string()})


def added_fields(adds: str) -> list[pa.Field]:
    """The columns that are added to a page.

    Args:
        adds: "clean" for the cleaned text and what was cut, "spans" for what was found.
    """
    found = (
        [pa.field("clean_text", pa.string()), pa.field("removed", SPANS)]
        if adds == "clean"
        else [pa.field("spans", SPANS)]
    )
    return [*found, pa.field("winnow", PROVENANCE)]


def added_columns(pages: Sequence[FilteredPage | None], adds: str) -> list[pa.Array]:
    """The values of `added_fields`, a row a page; all are null where there is no page."""
    spans = [page and [span.as_dict() for span in page.removed] for page in pages]
    made_by = [page and provenance(page) for page in pages]
    columns = [pa.array(spans, SPANS), pa.array(made_by, PROVENANCE)]
    if adds == "clean":
        texts = [page and page.clean_text for page in pages]
        columns.insert(0, pa.array(texts, pa.string()))
    return columns
