"""A result in words: which tables there are, and what stands in them."""

from __future__ import annotations

import io
from typing import Any

from rich.console import Console

from filter.labels import LABELS
from filter.spans import Span
from training.corpus.records import LabelledPage
from training.evaluation.compare import comparison
from training.evaluation.evaluate import count_page, report
from training.evaluation.tables import MOST_GROUPS, print_tables, result_tables, shown

MODEL = {"hash": "0123456789ab", "engine": "onnx/int8/cpu", "threshold": 0.625}


def corpus(label: str = "keyword") -> list[LabelledPage]:
    return [
        LabelledPage("a", "做好帮塑料混合扶工作", [Span(3, 7, label)], kind="seo", source="x"),
        LabelledPage("b", "帮塑料混合扶", [Span(1, 5, label)], kind="seo", source="y"),
        LabelledPage("c", "干净的文章", [], kind="news", source="y"),
        LabelledPage("d", "长长的文章", [], labelled=False),
    ]


def result(labels: tuple[str, ...] = LABELS, *cut: list[Span], **fields: Any) -> dict[str, Any]:
    spans = [*cut, *[[]] * (4 - len(cut))]
    return {"model": MODEL, **report(corpus(labels[0]), spans, labels, draws=20), **fields}


def printed(result: dict[str, Any]) -> str:
    stream = io.StringIO()
    print_tables(result, Console(file=stream, width=120))
    return stream.getvalue()


def test_tables_name_figures_labels_lengths_kinds_and_sources() -> None:
    titles = [table.title for table in result_tables(result(LABELS, [Span(3, 7, "keyword")]))]
    assert titles == [
        "labelled pages: 3, 2 with spam; characters of spam 8, of prose 13",
        "plain prose: 1 pages, 5 characters",
        "by label",
        "by span length, all spam",
        "by span length, in-sentence",
        "by kind",
        "by source",
    ]
    text = printed(result(LABELS, [Span(3, 7, "keyword")]))
    for words in (*titles, "in-sentence recall", "prose loss", "95% interval", "news", "0.500 (0"):
        assert words in text
    assert "boilerplate" not in text  # no page has any


def test_every_row_has_a_cell_for_every_column() -> None:
    for table in result_tables(result(LABELS, [Span(0, 7, "ad")], [], [Span(0, 1, "link")])):
        assert {len(row) for row in table.rows} == {len(table.columns)}, table.title


def test_two_labels_of_the_users_own_have_no_rows_inside_sentences() -> None:
    text = printed(result(("spam",), [Span(3, 6, "spam")]))
    assert "in-sentence" not in text
    assert "spam recall" in text
    assert "0.375" in text


def test_a_comparison_says_what_is_significant_and_what_is_better() -> None:
    pages = corpus()
    cut = [[Span(3, 7, "keyword")], [Span(1, 5, "keyword")], [Span(0, 1, "ad")], []]
    this, other = (
        [count_page(page, spans, LABELS) for page, spans in zip(pages, each, strict=True)]
        for each in (cut, [[]] * 4)
    )
    compare = {
        "model": {**MODEL, "threshold": 0.5},
        **comparison(pages, this, other, LABELS, same_labels=False, draws=200),
    }
    (table, plain) = [
        table
        for table in result_tables(result(LABELS, *cut, compare=compare))
        if "this minus other" in table.title
    ]
    rows = {row[0]: row for row in table.rows}
    assert rows["spam recall"][1:4] == ("1.000", "0.000", "+1.000")
    assert rows["spam recall"][-1] == "better"
    assert rows["prose loss"][3].startswith("+0.0")
    assert rows["prose loss"][-1] == "not significant"
    assert "in-sentence recall" not in rows
    assert "fewer wrong characters 2, with more 1, with as many 0" in table.note
    assert "labels differ" in plain.note
    assert "compared with model 0123456789ab" in printed(result(LABELS, *cut, compare=compare))


def test_a_table_of_very_many_sources_keeps_the_largest() -> None:
    pages = [
        LabelledPage("p", "正文广告", [Span(2, 4, "ad")], source=f"site-{i:03}")
        for i in range(60)
        for _ in range(1 + (i >= 50))
    ]
    made = {"model": MODEL, **report(pages, [[]] * len(pages), LABELS, draws=0)}
    table = list(result_tables(made))[-1]
    assert len(table.rows) == MOST_GROUPS
    assert {f"site-{i:03}" for i in range(50, 60)} <= {row[0] for row in table.rows}
    assert table.note == "and 20 with fewer pages"


def test_figures_are_shown_with_the_digits_that_they_need() -> None:
    assert shown("recall", 0.25) == "0.250"
    assert shown("prose_loss", 0.00012) == "0.00012"
    assert shown("false_spans_per_100k", 1.234) == "1.23"
    assert shown("recall", None) == "-"
