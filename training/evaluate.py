"""How good a filter is on pages whose spam is known, and on prose that has none.

Labelled pages and plain prose are reported apart: pooled, a million clean characters would drown
what the filter does to a page with spam in it. The figures over all come with a 95% interval,
drawn over pages, because a page is what varies from one crawl to the next. They go out as tables
for people and as one JSON object for programs.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from os import PathLike, fspath
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from filter.content_filter import ContentFilter
from filter.errors import UsageError
from filter.files import atomic_write
from filter.labels import PROSE
from filter.spans import Span
from filter.tokenizer import code_points
from training.corpus import (
    LabelledPage,
    ignored_mask,
    label_array,
    read_corpora,
    span_ids,
    without_near_misses,
)
from training.metrics import Figures, PageCounts, page_counts, summarize

if TYPE_CHECKING:
    from rich.console import Console

FORMAT = 1
DRAWS = 1000
"""Draws of the pages behind an interval."""

CONTEXT = 12
"""Characters on either side of an error that is written out."""

FindSpans = Callable[[Iterable[str]], Iterator[Sequence[Span]]]


def evaluate(
    model: ContentFilter | str | PathLike[str],
    data_paths: Sequence[str | PathLike[str]],
    *,
    threshold: float | None = None,
    sources: Sequence[str] | None = None,
    limit: int | None = None,
    text_key: str = "text",
    draws: int = DRAWS,
    seed: int = 0,
    output: str | PathLike[str] | None = None,
    errors: str | PathLike[str] | None = None,
) -> dict[str, Any]:
    """Filter the pages of some files and count what was cut.

    Args:
        model: A filter, or a model directory.
        data_paths: Labelled pages, or plain prose: records without `spans`.
        threshold: Instead of the model's own.
        sources: Only pages whose `source` is one of these.
        limit: At most so many pages of each file.
        text_key: The key that holds the page.
        draws: Draws for the intervals; 0 for none.
        seed: Of the draws.
        output: Where to write the result as JSON.
        errors: Where to write what was missed and what was lost, as JSONL, a line a page.

    Returns:
        `model`, `files`, `labelled` (figures of `summarize`, with `by_kind` and `by_source`) and
        `prose` (those of plain prose, with `by_source`); a part without pages is left out.

    Raises:
        WinnowError: The model or a file is missing or broken, or there are no pages.
    """
    content_filter = (
        model if isinstance(model, ContentFilter) else ContentFilter.from_pretrained(fspath(model))
    )
    known = content_filter.labels[1:]
    files = {fspath(path): [] for path in data_paths}  # type: dict[str, list[LabelledPage]]
    for path, pages in files.items():
        read = read_corpora([path], text_key=text_key, sources=sources, limit=limit)
        pages += (without_near_misses(page, known) for page in read)
    every = [page for pages in files.values() for page in pages]
    if not every:
        raise UsageError(f"{', '.join(files) or 'no file'}: no pages to evaluate on")
    labels = all_labels(every, known)

    def find(texts: Iterable[str]) -> Iterator[Sequence[Span]]:
        for page in content_filter.pipe(texts, threshold=threshold):
            yield page.removed

    cut = list(find(page.text for page in every))
    result = {
        "format": FORMAT,
        "model": {
            "hash": content_filter.model_hash,
            "engine": content_filter.engine,
            "threshold": content_filter.threshold if threshold is None else threshold,
        },
        "files": {Path(path).name: len(pages) for path, pages in files.items()},
        **report(every, cut, labels, draws=draws, seed=seed),
    }
    if output is not None:
        with atomic_write(output) as file:
            file.write((json.dumps(result, ensure_ascii=False, indent=2) + "\n").encode())
    if errors is not None:
        with atomic_write(errors) as file:
            for found in errors_of(every, cut):
                file.write((json.dumps(found, ensure_ascii=False) + "\n").encode())
    return result


def all_labels(pages: Iterable[LabelledPage], known: Sequence[str]) -> tuple[str, ...]:
    """The labels of a model, and after them those that only the pages have."""
    found = {span.label for page in pages for span in page.spans}
    return (*known, *sorted(found - set(known)))


def count_page(page: LabelledPage, cut: Sequence[Span], labels: Sequence[str]) -> PageCounts:
    """Count one page of which `cut` was cut."""
    number = {label: i for i, label in enumerate(labels, 1)}
    predicted = np.zeros(len(page.text), dtype=np.int16)
    mask = np.zeros(len(page.text), dtype=bool)
    for span in cut:
        mask[span.start : span.end] = True
        predicted[span.start : span.end] = number.get(span.label, 0)
    return page_counts(
        label_array(page, labels),
        mask,
        ignored_mask(page),
        n_labels=len(labels),
        predicted=predicted,
        span_ids=span_ids(page),
        characters=code_points(page.text),
    )


def report(
    pages: Sequence[LabelledPage],
    cut: Iterable[Sequence[Span]],
    labels: Sequence[str],
    *,
    draws: int = DRAWS,
    seed: int = 0,
) -> dict[str, Any]:
    """Figures of labelled pages and of plain prose, each over all and by group."""
    counts = [count_page(page, spans, labels) for page, spans in zip(pages, cut, strict=True)]
    result = {}
    for name, labelled, fields in (
        ("labelled", True, ("kind", "source")),
        ("prose", False, ("source",)),
    ):
        part = [i for i, page in enumerate(pages) if page.labelled is labelled]
        if not part:
            continue

        result[name] = summarize(
            [counts[i] for i in part], labels=labels, bootstrap=draws, seed=seed
        )
        for field in fields:
            groups: dict[str, list[int]] = {}
            for i in part:
                groups.setdefault(getattr(pages[i], field) or "unnamed", []).append(i)
            result[name][f"by_{field}"] = {
                group: summarize([counts[i] for i in chosen], labels=labels)
                for group, chosen in sorted(groups.items())
            }
    return result


def errors_of(
    pages: Iterable[LabelledPage], cut: Iterable[Sequence[Span]]
) -> Iterator[dict[str, Any]]:
    """For each page with errors: spam that was missed and prose that was lost, with context."""
    for page, spans in zip(pages, cut, strict=True):
        counted = ~ignored_mask(page)
        gold = label_array(page, sorted({span.label for span in page.spans})) > 0
        mask = np.zeros(len(page.text), dtype=bool)
        for span in spans:
            mask[span.start : span.end] = True
        missed = _pieces(page.text, gold & ~mask, counted, page.spans)
        lost = _pieces(page.text, mask & ~gold, counted, spans)
        if missed or lost:
            yield {
                "id": page.id,
                "kind": page.kind,
                "source": page.source,
                "missed": missed,
                "lost": lost,
            }


def _pieces(text: str, wrong: Any, counted: Any, spans: Sequence[Span]) -> list[dict[str, Any]]:
    """Connected stretches of wrong characters, with the label and score of the span over them."""
    edges = np.flatnonzero(np.diff(wrong.astype(np.int8), prepend=0, append=0))
    pieces = []
    for start, end in zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True):
        if not counted[start:end].any():
            continue
        over = [span for span in spans if span.start < end and start < span.end]
        pieces.append(
            {
                "start": start,
                "text": text[start:end],
                "label": "/".join(dict.fromkeys(span.label for span in over)),
                "score": round(max(span.score for span in over), 4),
                "before": text[max(0, start - CONTEXT) : start],
                "after": text[end : end + CONTEXT],
            }
        )
    return pieces


HEADLINES = (
    ("recall", "spam recall"),
    ("macro_recall", "macro recall"),
    ("in_sentence_recall", "in-sentence recall"),
    ("in_sentence_span_recall", "in-sentence, whole spans"),
    ("precision", "precision"),
    ("f1", "F1"),
    ("prose_loss", "prose loss"),
    ("clean_prose_loss", "prose loss on clean pages"),
    ("restored_pages", "restored pages"),
)
GROUP_HEADLINES = (
    ("recall", "recall"),
    ("macro_recall", "macro"),
    ("in_sentence_recall", "in-sentence"),
    ("precision", "precision"),
    ("prose_loss", "prose loss"),
    ("restored_pages", "restored"),
)
PROSE_HEADLINES = (
    ("prose_loss", "prose loss"),
    ("false_spans_per_100k", "false spans per 100,000"),
)


def print_tables(result: dict[str, Any], console: Console) -> None:
    """Print a result of `evaluate` as tables."""
    model = result["model"]
    console.print(
        f"model {model['hash']}, {model['engine']}, threshold {model['threshold']:g}", style="bold"
    )
    if "labelled" in result:
        figures = result["labelled"]
        title = (
            f"labelled pages: {figures['pages']:,}, {figures['pages_with_spam']:,} with spam; "
            f"characters of spam {figures['spam_characters']:,}, "
            f"of prose {figures['prose_characters']:,}"
        )
        console.print(_headlines(title, figures, HEADLINES))
        console.print(_label_table(figures))
        for field in ("kind", "source"):
            if len(figures[f"by_{field}"]) > 1:
                console.print(_group_table(field, figures[f"by_{field}"], GROUP_HEADLINES))
    if "prose" in result:
        figures = result["prose"]
        title = (
            f"plain prose: {figures['pages']:,} pages, {figures['prose_characters']:,} characters"
        )
        console.print(_headlines(title, figures, PROSE_HEADLINES))
        if len(figures["by_source"]) > 1:
            console.print(_group_table("source", figures["by_source"], PROSE_HEADLINES))


def _table(title: str, *columns: str) -> Any:
    from rich.table import Table

    table = Table(title=title, title_justify="left", title_style="bold")
    for i, column in enumerate(columns):
        table.add_column(column, justify="right" if i else "left")
    return table


def shown(name: str, value: float | None) -> str:
    """A figure as it is printed: losses are small and need their digits."""
    if value is None:
        return "-"
    if name == "false_spans_per_100k":
        return f"{value:.2f}"
    return f"{value:.5f}" if name.endswith("loss") else f"{value:.3f}"


def _headlines(title: str, figures: Figures, names: Sequence[tuple[str, str]]) -> Any:
    intervals = figures.get("intervals", {})
    table = _table(title, "figure", "value", *(["95% interval"] if intervals else []))
    for name, words in names:
        if figures[name] is None:
            continue
        row = [words, shown(name, figures[name])]
        if name in intervals:
            row.append(" to ".join(shown(name, value) for value in intervals[name]))
        table.add_row(*row)
    return table


def _label_table(figures: Figures) -> Any:
    confusion = figures["confusion"]
    table = _table(
        "by label", "label", "spans", "characters", "recall", "whole spans", "cut mostly as"
    )
    rows = dict(zip(confusion["gold"], confusion["characters"], strict=True))
    for label, own in figures["by_label"].items():
        if not own["spans"]:
            continue
        cut_as = sorted(
            zip(rows[label][1:], confusion["cut_as"][1:], strict=True), key=lambda item: -item[0]
        )
        most = ", ".join(f"{name} {n:,}" for n, name in cut_as[:3] if n)
        table.add_row(
            label, f"{own['spans']:,}", f"{own['characters']:,}",
            shown("recall", own["recall"]), shown("recall", own["span_recall"]), most,
        )  # fmt: skip
    lost = ", ".join(
        f"{name} {n:,}"
        for n, name in zip(rows[PROSE][1:], confusion["cut_as"][1:], strict=True)
        if n
    )
    table.add_row(PROSE, "", f"{figures['prose_characters']:,}", "", "", lost)
    return table


def _group_table(field: str, groups: dict[str, Figures], names: Sequence[tuple[str, str]]) -> Any:
    table = _table(f"by {field}", field, "pages", *(words for _, words in names))
    for group, figures in groups.items():
        table.add_row(
            group, f"{figures['pages']:,}", *(shown(name, figures[name]) for name, _ in names)
        )
    return table
