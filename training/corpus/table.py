"""Labelled corpora as `datasets` tables: on disk, memory-mapped, whatever their size.

Every record is checked as it is read (`training.corpus.records`); the table then serves pages by
index to as many workers as there are.
"""

from __future__ import annotations

from collections.abc import Container, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

from filter.labels import LABELS
from filter.spans import Span
from training.corpus.records import CorpusError, LabelledPage, read_labelled
from training.corpus.standoff import read_standoff

if TYPE_CHECKING:
    from datasets import Dataset


class PageTable(Sequence[LabelledPage]):
    """The pages of a `datasets.Dataset` made by `load_pages`."""

    def __init__(self, dataset: Dataset) -> None:
        self.dataset = dataset

    def __len__(self) -> int:
        return len(self.dataset)

    @overload
    def __getitem__(self, index: int) -> LabelledPage: ...
    @overload
    def __getitem__(self, index: slice) -> list[LabelledPage]: ...
    def __getitem__(self, index: int | slice) -> LabelledPage | list[LabelledPage]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        if not -len(self) <= index < len(self):
            raise IndexError(index)
        return _page(self.dataset[index])

    @property
    def sources(self) -> list[str]:
        """The source of every page."""
        return list(self.dataset["source"])

    def part(self, sources: Container[str], *, inside: bool) -> PageTable:
        """The pages whose source is among some, or those whose source is not."""
        kept = [index for index, source in enumerate(self.sources) if (source in sources) is inside]
        return PageTable(self.dataset.select(kept))

    def without(self, labels: Container[str]) -> PageTable:
        """The pages that have no span of these labels."""
        kept = [
            index
            for index, own in enumerate(self.dataset["label"])
            if not any(label in labels for label in own)
        ]
        return PageTable(self.dataset.select(kept))


def load_pages(
    paths: Sequence[Path],
    labels: Sequence[str],
    *,
    clean: bool = False,
    texts: Sequence[Path] = (),
) -> PageTable:
    """Reads labelled JSONL, plain or compressed, into a table.

    The table is kept in the cache of `datasets` and made anew when a file changes.

    Args:
        paths: the files.
        labels: the labels that may occur.
        clean: whether the pages are clean, so that records need no spans and may have none.
        texts: the files that hold the pages, where ``paths`` have labels alone
            (`training.corpus.standoff`).

    Raises:
        CorpusError: a record is broken; the message names file, line and value.
        WinnowError: a file cannot be read.
    """
    from datasets import Dataset, Features, List, Value, disable_progress_bars
    from datasets.exceptions import DatasetGenerationError

    disable_progress_bars()
    number = Value("int32")
    features = Features(
        {
            "id": Value("string"),
            "text": Value("large_string"),
            "source": Value("string"),
            "kind": Value("string"),
            "start": List(number),
            "end": List(number),
            "label": List(Value("string")),
            "ambiguous": List(List(number)),
        }
    )
    versions = [(path.stat().st_size, path.stat().st_mtime_ns) for path in (*paths, *texts)]
    try:
        dataset = Dataset.from_generator(
            _rows,
            features=features,
            gen_kwargs={
                "paths": tuple(map(str, paths)),
                "labels": tuple(labels),
                "clean": clean,
                "texts": tuple(map(str, texts)),
                "versions": tuple(versions),
            },
        )
    except DatasetGenerationError as error:
        raise error.__cause__ or error from None
    return PageTable(dataset)


def read_pages(
    path: str | Path,
    *,
    texts: Sequence[str | Path] = (),
    labels: Sequence[str] | None = LABELS,
    require_spans: bool = True,
) -> Iterator[LabelledPage]:
    """The pages of a corpus, whether they are in its file or in others (``texts``)."""
    if texts:
        return read_standoff(path, texts, labels=labels, require_spans=require_spans)
    return read_labelled(path, labels=labels, require_spans=require_spans)


def _rows(
    paths: Sequence[str],
    labels: Sequence[str],
    clean: bool,
    texts: Sequence[str],
    versions: Sequence[tuple[int, int]],
) -> Iterator[dict[str, Any]]:
    for path in paths:
        for page in read_pages(path, texts=texts, labels=labels, require_spans=not clean):
            if clean and page.spans:
                raise CorpusError(
                    f"{path}: page {page.id!r}: has spans ({page.spans[0].label!r} at"
                    f" {page.spans[0].start}), but the pages of this corpus are said to be clean;"
                    " leave out clean: true"
                )
            yield {
                "id": page.id,
                "text": page.text,
                "source": page.source,
                "kind": page.kind,
                "start": [span.start for span in page.spans],
                "end": [span.end for span in page.spans],
                "label": [span.label for span in page.spans],
                "ambiguous": [list(pair) for pair in page.ambiguous],
            }


def _page(row: dict[str, Any]) -> LabelledPage:
    text = row["text"]
    return LabelledPage(
        id=row["id"],
        text=text,
        spans=[
            Span(start, end, label, text=text[start:end])
            for start, end, label in zip(row["start"], row["end"], row["label"], strict=True)
        ],
        source=row["source"],
        kind=row["kind"],
        ambiguous=[(start, end) for start, end in row["ambiguous"]],
    )
