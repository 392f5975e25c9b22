"""Attribute files in the manner of Dolma: spans beside a corpus, with the threshold of each.

A line a page, in the order of the corpus. Every piece carries the highest threshold of a grid at
which it is still cut: masks are nested, so that for any threshold of the grid the pieces that reach
it are what the filter cuts at it, and no model need run again to cut more, or less.
"""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from filter.decoding import CutPage
from filter.documents import Document, DocumentFormat, json_line, provenance
from filter.errors import UsageError
from filter.files import atomic_write, renamed
from filter.language import han_share
from filter.lines import Mask
from filter.masks import Shape
from filter.spans import FilteredPage

if TYPE_CHECKING:
    from filter.content_filter import ContentFilter

FLOOR = 0.1
"""Threshold below which no levels are kept, unless the job's own is lower."""

TENTHS = tuple(tenth / 10 for tenth in range(1, 10))
"""The grid of a model that has no curve."""

DESCRIPTION = "winnow.json"
"""Stands beside the attribute files and says what thresholds they hold."""

FORMAT = 2

MADE_BY = ("winnow", "engine", "model")
"""Settings of a job that its attribute files name."""


@dataclass(frozen=True, kw_only=True)
class Sidecar:
    """What attribute files hold, and all that it takes to make them from probabilities.

    Attributes:
        name: Of their directory, and what their attributes begin with.
        labels: Labels of the model by id, prose first.
        keep: Labels that are left in.
        thresholds: The grid, ascending.
        threshold: The one of the grid by which pieces are named: the filter's own.
        shape: The settings of decoder.json of that name.
        min_han: As in decoder.json.
    """

    name: str = "winnow"
    labels: tuple[str, ...]
    keep: tuple[str, ...]
    thresholds: tuple[float, ...]
    threshold: float
    shape: Shape
    min_han: float

    @classmethod
    def of(cls, content_filter: ContentFilter, *, floor: float = FLOOR) -> Sidecar:
        """What a filter's attributes hold.

        Args:
            content_filter: Its model's curve is the grid.
            floor: Lowest threshold that is kept; the filter's own is kept in any case.
        """
        settings = content_filter.decoder
        grid = [point.threshold for point in settings.curve] or TENTHS
        above = {threshold for threshold in grid if threshold >= floor}
        return cls(
            labels=content_filter.labels,
            keep=content_filter.keep,
            thresholds=tuple(sorted(above | {content_filter.threshold})),
            threshold=content_filter.threshold,
            shape=settings.shape,
            min_han=settings.min_han,
        )

    @property
    def directory(self) -> str:
        """Where attribute files lie below OUT."""
        return f"attributes/{self.name}"

    def as_dict(self) -> dict[str, Any]:
        """As it stands in JSON."""
        return {key: list(v) if isinstance(v, tuple) else v for key, v in asdict(self).items()}


def write_description(directory: Path, sidecar: Sidecar, settings: Mapping[str, Any]) -> None:
    """Says beside attribute files what they hold, for `winnow apply` and for people.

    Args:
        directory: Where the attribute files lie.
        sidecar: What they hold.
        settings: Of the job that writes them.
    """
    directory.mkdir(parents=True, exist_ok=True)
    made_by = {key: settings[key] for key in MADE_BY}
    with atomic_write(directory / DESCRIPTION) as stream:
        record = {"format": FORMAT, **sidecar.as_dict(), **made_by}
        stream.write((json.dumps(record, ensure_ascii=False, indent=1) + "\n").encode())


def read_description(path: Path) -> tuple[Sidecar, dict[str, str]]:
    """What attribute files hold, and the version, engine and model that made them.

    Raises:
        UsageError: the file is none of Winnow's, or of another version of it.
    """
    try:
        record = json.loads(path.read_bytes())
        if record.pop("format") != FORMAT:
            raise ValueError("another version wrote it")
        made_by = {key: str(record.pop(key)) for key in MADE_BY}
        lists = {key: tuple(record[key]) for key in ("labels", "keep", "thresholds")}
        return Sidecar(**{**record, **lists, "shape": Shape(**record["shape"])}), made_by
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise UsageError(f"{path}: does not describe attribute files ({error})") from error


class SidecarWriter:
    """Writes the attributes of the pages of a file, a line each."""

    def __init__(self, stream: IO[bytes], sidecar: Sidecar, path: str) -> None:
        self._stream = stream
        self._sidecar = sidecar
        self._path = path

    def write(
        self, document: Document, page: FilteredPage, probabilities: NDArray[np.float32]
    ) -> None:
        """Writes the line of one page."""
        name = self._sidecar.name
        attributes: dict[str, list[list[float]]] = {
            f"{name}__page": [[0, len(page.text), fingerprint(page.text)]]
        }
        for start, end, label, threshold in pieces(page.text, probabilities, self._sidecar):
            attributes.setdefault(f"{name}__{label}", []).append([start, end, threshold])
        record = {
            "id": record_id(document, self._path),
            "attributes": attributes,
            name: provenance(page),
        }
        self._stream.write(json_line(record))


def fingerprint(text: str) -> int:
    """CRC-32 of a page: tells it from others, and is a number as Dolma's attributes must be."""
    return zlib.crc32(text.encode("utf-8", "surrogatepass"))


def record_id(document: Document, path: str) -> Any:
    """A record's id; that of one without begins with the name of its file, not with its path."""
    if isinstance(document.id, str) and document.id.startswith(path):
        return os.path.basename(path) + document.id[len(path) :]
    return document.id


def attribute_name(made: DocumentFormat, name: str) -> str:
    """The name of the attribute file for a file of a format: always one of JSON Lines."""
    name = made.output_name(name, adds="spans")
    return name if made.name == "jsonl" else renamed(name, ".jsonl")


def pieces(
    text: str, probabilities: NDArray[np.float32], sidecar: Sidecar
) -> list[tuple[int, int, str, float]]:
    """What is cut of a page at the lowest threshold of the grid, in pieces of one threshold each.

    Args:
        text: A page.
        probabilities: (len(text), labels) probabilities, prose first.
        sidecar: The grid, and how probabilities become masks.

    Returns:
        Start, end, label and the highest threshold at which the piece is still cut; sorted.
    """
    page = CutPage(text, probabilities, sidecar.labels, keep=sidecar.keep, shape=sidecar.shape)
    grid = sidecar.thresholds
    if not page.reaches(grid[0]) or han_share(text) < sidecar.min_han:
        return []
    lowest = page.mask(grid[0])
    levels = _levels(lambda index: page.mask(grid[index]), lowest, len(grid))
    names = page.names(lowest)
    own = page.mask(sidecar.threshold)
    names[own] = page.names(own)[own]
    labels = [label for label in sidecar.labels[1:] if label not in sidecar.keep]
    key = levels * len(labels) + names
    key[levels == 0] = -1
    edges = np.flatnonzero(np.diff(key, prepend=-2, append=-2)).tolist()
    return [
        (start, end, labels[int(names[start])], grid[int(levels[start]) - 1])
        for start, end in pairwise(edges)
        if levels[start]
    ]


def _levels(mask_at: Callable[[int], Mask], lowest: Mask, n: int) -> NDArray[np.int32]:
    """How many thresholds of a grid each character is cut at; they are the lowest ones.

    Most neighbours in a grid cut the same of a page. Where two thresholds do, so do all between
    them, which are not looked at.

    Args:
        mask_at: (characters,) mask at a threshold, by its index.
        lowest: That of the first.
        n: Thresholds of the grid.
    """
    levels = np.zeros(len(lowest), dtype=np.int32)
    stack = [(0, lowest, n, np.zeros_like(lowest))]
    while stack:
        low, low_mask, high, high_mask = stack.pop()
        between = low_mask & ~high_mask
        if not between.any():
            continue
        if high == low + 1:
            levels[between] = high
            continue
        middle = (low + high) // 2
        mask = mask_at(middle)
        stack += [(low, low_mask, middle, mask), (middle, mask, high, high_mask)]
    return levels
