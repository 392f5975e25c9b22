"""An evaluation as tables of words: for a terminal, and for the HTML report."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from filter.labels import PROSE
from training.evaluation.metrics import Figures

if TYPE_CHECKING:
    from rich.console import Console

HEADLINES = (
    ("recall", "spam recall"),
    ("macro_recall", "macro recall"),
    ("in_sentence_recall", "in-sentence recall"),
    ("in_sentence_span_recall", "in-sentence, whole spans"),
    ("span_recall", "whole spans"),
    ("exact_span_f1", "exact spans, F1"),
    ("precision", "precision"),
    ("f1", "F1"),
    ("prose_loss", "prose loss"),
    ("clean_prose_loss", "prose loss on clean pages"),
    ("restored_pages", "restored pages"),
)
PROSE_HEADLINES = (
    ("prose_loss", "prose loss"),
    ("false_spans_per_100k", "false spans per 100,000"),
)
GROUP_HEADLINES = (
    ("recall", "recall"),
    ("in_sentence_recall", "in-sentence"),
    ("precision", "precision"),
    ("prose_loss", "prose loss"),
    ("restored_pages", "restored"),
)
WITH_INTERVAL = ("recall", "in_sentence_recall", "span_recall", "prose_loss")
"""Figures of a row that are followed by their interval."""

LOWER_IS_BETTER = ("prose_loss", "clean_prose_loss", "false_spans_per_100k")
MOST_GROUPS = 40
"""Rows of a table by kind or source; a corpus may have thousands of sources."""


@dataclass(frozen=True, slots=True)
class Table:
    """A table of words; the first column stands to the left, numbers to the right.

    Attributes:
        title: What it shows.
        columns: Heads of the columns.
        rows: Cells, as many as there are columns.
        note: A line below, or nothing.
        wide: Whether the last column is words, too.
    """

    title: str
    columns: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]
    note: str = ""
    wide: bool = False


def shown(name: str, value: float | None) -> str:
    """A figure as it is printed: losses are small and need their digits."""
    if value is None:
        return "-"
    if name.startswith("false_spans"):
        return f"{value:.2f}"
    return f"{value:.5f}" if name.endswith("loss") else f"{value:.3f}"


def result_tables(result: dict[str, Any]) -> Iterator[Table]:
    """The tables of a result of `evaluate`, in the order of reading."""
    if "labelled" in result:
        figures = result["labelled"]
        title = (
            f"labelled pages: {figures['pages']:,}, {figures['pages_with_spam']:,} with spam; "
            f"characters of spam {figures['spam_characters']:,}, "
            f"of prose {figures['prose_characters']:,}"
        )
        yield _headlines(title, figures, HEADLINES)
    if "prose" in result:
        figures = result["prose"]
        title = (
            f"plain prose: {figures['pages']:,} pages, {figures['prose_characters']:,} characters"
        )
        yield _headlines(title, figures, PROSE_HEADLINES)
    for part, title in (("labelled", "labelled pages"), ("prose", "plain prose")):
        if part in result.get("compare", {}):
            yield _comparison(title, result["compare"], part)
    if "labelled" in result:
        figures = result["labelled"]
        yield _labels(figures)
        yield _lengths("by span length, all spam", figures["by_length"])
        if any(row["spans"] for row in figures.get("in_sentence_by_length", {}).values()):
            yield _lengths("by span length, in-sentence", figures["in_sentence_by_length"])
        for field in ("kind", "source"):
            if len(figures[f"by_{field}"]) > 1:
                yield _groups(f"by {field}", field, figures[f"by_{field}"], GROUP_HEADLINES)
    if "prose" in result and len(result["prose"]["by_source"]) > 1:
        groups = result["prose"]["by_source"]
        yield _groups("plain prose by source", "source", groups, PROSE_HEADLINES)


def print_tables(result: dict[str, Any], console: Console) -> None:
    """Print a result of `evaluate` as tables."""
    from rich.table import Table as RichTable

    console.print(model_line(result["model"]), style="bold")
    if "compare" in result:
        console.print(f"compared with {model_line(result['compare']['model'])}", style="bold")
    for table in result_tables(result):
        console.print(table.title, style="bold")  # a title of the table's own would be wrapped
        drawn = RichTable()
        for i, column in enumerate(table.columns):
            is_words = i == 0 or (table.wide and i == len(table.columns) - 1)
            drawn.add_column(column, justify="left" if is_words else "right")
        for row in table.rows:
            drawn.add_row(*row)
        console.print(drawn)
        console.print(table.note, style="dim")


def model_line(model: dict[str, Any]) -> str:
    """Which model, in one line."""
    return f"model {model['hash']}, {model['engine']}, threshold {model['threshold']:g}"


def _range(name: str, ends: Sequence[float] | None) -> str:
    return "" if ends is None else " to ".join(shown(name, value) for value in ends)


def _cell(name: str, row: Figures) -> str:
    """A figure, and where there is room its interval."""
    ends = row.get("intervals", {}).get(name) if name in WITH_INTERVAL else None
    value = shown(name, row[name])
    if ends is None or ends[0] == ends[1]:
        return value
    return f"{value} ({'–'.join(shown(name, x) if x else '0' for x in ends)})"


def _headlines(title: str, figures: Figures, names: Sequence[tuple[str, str]]) -> Table:
    intervals = figures.get("intervals", {})
    rows = [
        (words, shown(name, figures[name]), _range(name, intervals.get(name)))
        for name, words in names
        if figures[name] is not None
    ]
    if not intervals:
        return Table(title, ("figure", "value"), [row[:2] for row in rows])
    return Table(title, ("figure", "value", "95% interval"), rows)


def _labels(figures: Figures) -> Table:
    confusion = figures["confusion"]
    rows = []
    characters = dict(zip(confusion["gold"], confusion["characters"], strict=True))
    fates = confusion["cut_as"][1:]
    for label, own in figures["by_label"].items():
        if not own["spans"]:
            continue
        cut_as = sorted(zip(characters[label][1:], fates, strict=True), key=lambda x: -x[0])
        most = ", ".join(f"{name} {n:,}" for n, name in cut_as[:3] if n)
        rows.append((label, *_span_cells(own), most))
    lost = ", ".join(
        f"{name} {n:,}" for n, name in zip(characters[PROSE][1:], fates, strict=True) if n
    )
    rows.append((PROSE, "", f"{figures['prose_characters']:,}", "", "", lost))
    columns = ("label", "spans", "characters", "recall", "whole spans", "cut mostly as")
    return Table("by label", columns, rows, wide=True)


def _span_cells(row: Figures) -> tuple[str, ...]:
    return (
        f"{row['spans']:,}",
        f"{row['characters']:,}",
        _cell("recall", row),
        _cell("span_recall", row),
    )


def _lengths(title: str, lengths: dict[str, Figures]) -> Table:
    rows = [(name, *_span_cells(row)) for name, row in lengths.items() if row["spans"]]
    return Table(title, ("characters a span", "spans", "characters", "recall", "whole spans"), rows)


def _groups(
    title: str, field: str, groups: dict[str, Figures], names: Sequence[tuple[str, str]]
) -> Table:
    largest = sorted(groups.items(), key=lambda item: -item[1]["pages"])[:MOST_GROUPS]
    names = [
        (name, words)
        for name, words in names
        if any(own[name] is not None for own in groups.values())
    ]
    rows = [
        (group, f"{own['pages']:,}", *(_cell(name, own) for name, _ in names))
        for group, own in sorted(largest)
    ]
    left_out = len(groups) - len(rows)
    return Table(
        title,
        (field, "pages", *(words for _, words in names)),
        rows,
        note=f"and {left_out:,} with fewer pages" if left_out else "",
    )


def _comparison(title: str, compare: dict[str, Any], part: str) -> Table:
    own = compare[part]
    rows = []
    for name, words in HEADLINES if part == "labelled" else PROSE_HEADLINES:
        if name not in own["figures"]:
            continue
        row = own["figures"][name]
        better = (row["difference"] < 0) is (name in LOWER_IS_BETTER)
        verdict = ("better" if better else "worse") if row["significant"] else "not significant"
        ends = row["interval"]
        rows.append(
            (
                words,
                shown(name, row["this"]),
                shown(name, row["other"]),
                _signed(name, row["difference"]),
                "" if ends is None else " to ".join(_signed(name, x) for x in ends),
                verdict,
            )
        )
    note = (
        f"pages with fewer wrong characters {own['pages_better']:,}, with more"
        f" {own['pages_worse']:,}, with as many {own['pages_equal']:,}"
    )
    if not compare["same_labels"]:
        note += "; the models' labels differ: compared on spam and prose alone"
    columns = ("figure", "this", "other", "difference", "95% interval", "")
    return Table(f"{title}: this minus other, paired", columns, rows, note=note, wide=True)


def _signed(name: str, value: float) -> str:
    sign = "+" if value > 0 else "−" if value < 0 else "±"
    return sign + shown(name, abs(value))
