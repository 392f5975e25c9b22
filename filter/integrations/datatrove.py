"""Winnow as a step of a datatrove pipeline.

    pipeline = [JsonlReader("crawl/"), WinnowFilter(), JsonlWriter("clean/")]
    LocalPipelineExecutor(pipeline, tasks=8).run()

A document goes on with the cleaned text as its text; its metadata gain `removed`, the spans that
were cut with their text and offsets into the page as it was, and `winnow`, which engine and model
did it. What was cut is counted by label.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filter.documents import provenance
from filter.errors import WinnowError, missing_package
from filter.integrations import process_filter
from filter.spans import FilteredPage

try:
    from datatrove.pipeline.base import PipelineStep
    from datatrove.utils.batching import batched
    from datatrove.utils.typeshelper import StatHints
except ImportError as error:
    raise missing_package("filter.integrations.datatrove", "datatrove", "datatrove") from error

if TYPE_CHECKING:
    from datatrove.data import Document
    from datatrove.pipeline.writers.disk_base import DiskWriter

BATCH_SIZE = 256
"""Documents that pass the filter together."""


class WinnowFilter(PipelineStep):  # type: ignore[misc]  # datatrove is not typed
    """Cuts injected spam out of documents.

    Args:
        model: As for `ContentFilter.from_pretrained`.
        exclusion_writer: Takes each page that lost something as it was, with what it lost in its
            metadata.
        batch_size: Documents that pass the filter together.
        threads: Threads of the engine; one for each worker of an executor.
        options: As for `ContentFilter.from_pretrained`: `threshold`, `keep`, `device`...
    """

    name = "🌾 Winnow"
    type = "✂️ - FORMAT"

    def __init__(
        self,
        model: str | Path | None = None,
        *,
        exclusion_writer: DiskWriter | None = None,
        batch_size: int = BATCH_SIZE,
        threads: int = 1,
        **options: Any,
    ) -> None:
        super().__init__()
        self.exclusion_writer = exclusion_writer
        self.batch_size = batch_size
        self.model = model
        self.options = {"threads": threads, **options}

    def run(
        self, data: Iterator[Document] | None, rank: int = 0, world_size: int = 1
    ) -> Iterator[Document]:
        """The documents, filtered, in order."""
        content_filter = process_filter(self.model, **self.options)
        with self.exclusion_writer or contextlib.nullcontext() as writer:
            for documents in batched(data or (), self.batch_size):
                with self.track_time("batch"):
                    pages = list(content_filter.pipe(document.text for document in documents))
                for document, page in zip(documents, pages, strict=True):
                    _annotate(document, page)
                    if page.removed and writer is not None:
                        writer.write(replace(document, text=page.text), rank)
                    document.text = page.clean_text
                    self._count(document, page)
                    yield document

    def _count(self, document: Document, page: FilteredPage) -> None:
        self.stat_update(StatHints.total, StatHints.forwarded)
        self.update_doc_stats(document)
        if page.removed:
            self.stat_update("cut")
        for span in page.removed:
            self.stat_update(f"cut_{span.label}", value=span.end - span.start, unit="span")


def _annotate(document: Document, page: FilteredPage) -> None:
    added = {"removed": [span.as_dict() for span in page.removed], "winnow": provenance(page)}
    for key in added:
        if key in document.metadata:
            raise WinnowError(
                f"document {document.id!r}: its metadata have {key!r} already; was it filtered"
                " before? Drop or rename that first"
            )
    document.metadata.update(added)
