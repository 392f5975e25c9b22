"""Label Studio's JSON: tasks with annotations, and its short form JSON-MIN.

A task is `{"id", "data": {"text", ...}, "annotations": [{"result": [region, ...]}], "predictions"}`
and a region `{"type": "labels", "value": {"start", "end", "text", "labels"}}`. Releases before 1.5
count UTF-16 units; the substring is as the browser showed it, its blanks run together unless the
page is shown with `white-space: pre-wrap`, which the configuration written here asks for.
What a task has no place for goes into `data`, so that it comes back with the export.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import IO, Any
from xml.etree import ElementTree

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
)
from training.corpus.messages import short
from training.corpus.records import LabelledPage

FROM_NAME, TO_NAME = "label", "text"
"""What the configuration calls its labels and the page; regions name both."""

_COLOURS = ("#d62728", "#9467bd", "#2ca02c", "#ff7f0e", "#17becf", "#1f77b4", "#e377c2", "#8c564b")
_SHORT_FORM_KEYS = ("annotator", "annotation_id", "created_at", "updated_at", "lead_time")


def read(data: bytes, name: str, options: ReadOptions) -> Iterator[RawPage | Reject]:
    """The pages of an export; tasks that nobody labelled are left out and counted."""
    short_form: dict[str, RawPage] = {}

    def made(item: Item) -> RawPage | None:
        if not isinstance(item.record, dict) or isinstance(item.record.get("data"), dict):
            return _page(item, options)
        page = _short_page(item, options)
        if page.id in short_form:
            options.notes["tasks with several annotations, of which one is taken"] += 1
        short_form[page.id] = page  # one item an annotation: the last stands
        return None

    yield from read_pages(data, name, made)
    yield from short_form.values()


def write(pages: Iterable[LabelledPage], stream: IO[bytes]) -> None:
    """The pages as tasks, ready to be imported."""
    write_tasks(map(task, pages), stream)


def write_tasks(tasks: Iterable[dict[str, Any]], stream: IO[bytes]) -> None:
    """A list with one task a line."""
    before = b"[\n"
    for own in tasks:
        stream.write(before + json_line(own).rstrip(b"\n"))
        before = b",\n"
    stream.write(b"[]\n" if before == b"[\n" else b"\n]\n")


def task(page: LabelledPage, *, predicted_by: str | None = None) -> dict[str, Any]:
    """A page as a task.

    Args:
        page: A page; one that nobody labelled has no annotation.
        predicted_by: The model whose spans these are: they become a prediction to be corrected,
            each with its score.
    """
    regions = [
        {
            "id": f"{span.start}-{span.end}",
            "from_name": FROM_NAME,
            "to_name": TO_NAME,
            "type": "labels",
            "value": {
                "start": span.start,
                "end": span.end,
                "text": page.text[span.start : span.end],
                "labels": [span.label],
            },
            **({} if predicted_by is None else {"score": round(span.score, 4)}),
        }
        for span in page.spans
    ]
    made: dict[str, Any] = {"data": {"id": page.id, "text": page.text, **nested(page)}}
    if predicted_by is not None:
        made["predictions"] = [{"model_version": predicted_by, "result": regions}]
    elif page.labelled:
        made["annotations"] = [{"result": regions, "was_cancelled": False, "ground_truth": False}]
    return made


def label_config(labels: Sequence[str]) -> str:
    """The labelling configuration of a project with these labels, as XML."""
    view = ElementTree.Element("View")
    ElementTree.SubElement(view, "Style").text = ".htx-text{ white-space: pre-wrap; }"
    group = ElementTree.SubElement(view, "Labels", name=FROM_NAME, toName=TO_NAME)
    for i, label in enumerate(labels):
        colour = _COLOURS[i % len(_COLOURS)]
        ElementTree.SubElement(group, "Label", value=label, background=colour)
    ElementTree.SubElement(view, "Text", name=TO_NAME, value="$text", granularity="symbol")
    ElementTree.indent(view)
    return ElementTree.tostring(view, encoding="unicode") + "\n"


def _page(item: Item, options: ReadOptions) -> RawPage | None:
    record = item.record
    if not isinstance(record, dict):
        raise RecordError(f"expected a task, found {short(record)}")
    data = record["data"]
    name = f"task {record.get('id', item.where.strip(':[]') or '0')}"
    result = _result(record, name, options)
    if result is None:
        options.notes["tasks without an annotation, left out"] += 1
        return None
    text_key = _text_key(data, options, name)
    fields = {key: value for key, value in data.items() if key not in (text_key, "id")}
    regions = [region for region in result if _is_region(region, name)]
    ignored = len(result) - len(regions)
    if ignored:
        options.notes["results that are no labelled spans, ignored"] += ignored
    return RawPage(
        place=(item.path, item.where),
        name=name,
        id=str(data.get("id", record.get("id", item.where.strip(":[]") or "0"))),
        text=replace_surrogates(data[text_key]),
        regions=[
            _region(i, region.get("id"), region["value"], name) for i, region in enumerate(regions)
        ],
        fields=flattened(fields),
        blanks_may_differ=True,
    )


def _result(task: dict[str, Any], name: str, options: ReadOptions) -> list[Any] | None:
    """The regions of the annotation that counts: ground truth, or else the last one."""
    annotations = _list(task.get("annotations") or task.get("completions"), name)
    valid = [item for item in annotations if not item.get("was_cancelled")]
    if len(valid) > 1:
        options.notes["tasks with several annotations, of which one is taken"] += 1
    if not valid and options.predictions:
        valid = _list(task.get("predictions"), name)
    if not valid:
        return None
    chosen = max(
        enumerate(valid),
        key=lambda item: (
            bool(item[1].get("ground_truth")),
            str(item[1].get("updated_at") or item[1].get("created_at") or ""),
            item[0],
        ),
    )[1]
    return _list(chosen.get("result"), name)


def _list(value: Any, name: str) -> list[Any]:
    value = value or []
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise RecordError(f"{name}: expected a list of objects, not {short(value)}")
    return value


def _text_key(data: dict[str, Any], options: ReadOptions, name: str) -> str:
    """The key that holds the page: as asked for, `text`, or the only string there is."""
    strings = [key for key, value in data.items() if isinstance(value, str)]
    others = [key for key in strings if key not in ("id", "source", "kind")]
    key = options.text_key or ("text" if "text" in strings else None)
    if key is None and len(others) == 1:
        key = others[0]
    if key is None or key not in strings:
        raise RecordError(
            f"{name}: no {key or 'text'!r} in its data; name the key that holds the page with "
            f"--text-key (strings in it: {', '.join(map(repr, strings)) or 'none'})"
        )
    return key


def _is_region(region: dict[str, Any], name: str) -> bool:
    """Whether a result is a labelled span of the text.

    Raises:
        RecordError: it is one of HTML, whose offsets are paths.
    """
    if region.get("type") == "hypertextlabels":
        raise RecordError(
            f"{name}: region {region.get('id')}: is one of HTML, and its offsets are those of "
            "elements; label pages as Text"
        )
    return region.get("type") == "labels" and isinstance(region.get("value"), dict)


def _region(number: int, identity: Any, value: dict[str, Any], name: str) -> Region:
    at = f"region {number if identity is None else identity}"
    labels = value.get("labels")
    if not isinstance(labels, list) or len(labels) != 1:
        raise RecordError(f"{name}: {at}: must have one label, not {short(labels)}")
    text = value.get("text")
    return Region(
        at,
        _number(value.get("start")),
        _number(value.get("end")),
        labels[0],
        text if isinstance(text, str) else None,
    )


def _number(value: Any) -> Any:
    """An offset, which some releases write as a string."""
    return int(value) if isinstance(value, str) and value.isascii() and value.isdigit() else value


def _short_page(item: Item, options: ReadOptions) -> RawPage:
    """A record of the short form, where regions stand under the name of their labels."""
    record = item.record
    name = f"task {record.get('id', item.where.strip(':[]') or '0')}"
    keys = [
        key
        for key, value in record.items()
        if isinstance(value, list)
        and value
        and all(isinstance(region, dict) and {"start", "end"} <= set(region) for region in value)
        and any("labels" in region for region in value)
    ]
    text_key = _text_key(record, options, name)
    dropped = (*keys, *_SHORT_FORM_KEYS, "id", text_key)
    regions = [region for key in keys for region in record[key]]
    return RawPage(
        place=(item.path, item.where),
        name=name,
        id=str(record.get("id", item.where.strip(":[]") or "0")),
        text=replace_surrogates(record[text_key]),
        regions=[_region(i, region.get("id"), region, name) for i, region in enumerate(regions)],
        fields=flattened({key: value for key, value in record.items() if key not in dropped}),
        blanks_may_differ=True,
    )
