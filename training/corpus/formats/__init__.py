"""Corpora as label tools write them: one module a format, each with `read` and `write`.

A reader turns the bytes of a file into `RawPage`s, with a `Reject` in the place of what it could
not read; `training.corpus.formats.offsets` checks them against the substrings that the tool
exported and makes `LabelledPage`s of them; a writer turns those into bytes. A new format is a
module with these two functions and an entry in `FORMATS`.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from importlib import import_module
from typing import IO, Any, Protocol, cast

from filter.errors import UsageError, unknown
from filter.files import base_name
from training.corpus.formats.pages import RawPage, ReadOptions, Reject, read_items
from training.corpus.records import LabelledPage

FORMATS = {
    "jsonl": "training.corpus.formats.jsonl",
    "label-studio": "training.corpus.formats.label_studio",
    "doccano": "training.corpus.formats.doccano",
    "conll": "training.corpus.formats.conll",
}
"""Where each format lives."""

_EXTENSIONS = {
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "label-studio",
    ".conll": "conll",
    ".bio": "conll",
    ".bioes": "conll",
    ".bmes": "conll",
    ".iob": "conll",
    ".iob2": "conll",
}
"""What a file to be written is taken for; one to be read is looked into first."""


class CorpusFormat(Protocol):
    """What a module of this package offers."""

    def read(self, data: bytes, name: str, options: ReadOptions) -> Iterator[RawPage | Reject]:
        """The pages of a file."""

    def write(self, pages: Iterable[LabelledPage], stream: IO[bytes]) -> None:
        """A whole file."""


def corpus_format(name: str) -> CorpusFormat:
    """The format of this name.

    Raises:
        UsageError: no such format.
    """
    if name not in FORMATS:
        raise UsageError(unknown("format", name, FORMATS))
    return cast(CorpusFormat, import_module(FORMATS[name]))


def guess_input_format(data: bytes, path: str) -> str:
    """The format of a file that is there, by its first record, or else by its name.

    Raises:
        UsageError: it cannot be told, or there is nothing in it.
    """
    by_name = _EXTENSIONS.get(os.path.splitext(base_name(path))[1].lower())
    if not data.strip():
        raise UsageError(f"{path}: is empty")
    if by_name == "conll":
        return by_name
    if data.lstrip(b"\xef\xbb\xbf \t\r\n")[:1] in (b"{", b"["):
        first = next(iter(read_items(data, path)), None)
        if first is None:
            raise UsageError(f"{path}: holds no records")
        name = _of_record(getattr(first, "record", None))
        # Plain prose has nothing that would tell, and broken lines are for the reader to name.
        if name is None and by_name == "jsonl":
            name = by_name
    else:
        name = "conll" if _has_tags(data) else None
    if name is None:
        raise UsageError(f"{path}: cannot tell its format; name it with --from: {_known()}")
    return name


def guess_output_format(path: str) -> str:
    """The format of a file to be written, by its extension.

    Raises:
        UsageError: it has none that says.
    """
    name = _EXTENSIONS.get(os.path.splitext(base_name(path))[1].lower())
    if name is None:
        raise UsageError(f"{path}: cannot tell its format; name it with --to: {_known()}")
    return name


def _of_record(record: Any) -> str | None:
    if not isinstance(record, dict):
        return None
    if isinstance(record.get("data"), dict) or "annotation_id" in record:
        return "label-studio"
    if "spans" in record:
        return "jsonl"
    if any(_is_region_list(value) for value in record.values()):
        return "label-studio"  # its short form, JSON-MIN
    if any(isinstance(record.get(key), list) for key in ("label", "labels", "entities")):
        return "doccano"
    return None


def _is_region_list(value: Any) -> bool:
    return (
        isinstance(value, list)
        and bool(value)
        and isinstance(value[0], dict)
        and {"start", "end", "labels"} <= set(value[0])
    )


def _has_tags(data: bytes) -> bool:
    """Whether the first lines that are no comments end in a tag."""
    from training.corpus.formats.conll import TAG

    lines = data[:4096].decode("utf-8", "replace").split("\n")[:-1]
    tokens = [line.split() for line in lines if line.strip() and not line.startswith(("#", "-DOC"))]
    return bool(tokens) and all(len(line) > 1 and TAG.fullmatch(line[-1]) for line in tokens[:20])


def _known() -> str:
    return ", ".join(FORMATS)
