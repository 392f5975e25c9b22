"""Counts over a corpus, held against counting by hand."""

from __future__ import annotations

import io

from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from filter.spans import Span
from training.corpus.records import LabelledPage
from training.corpus.stats import corpus_stats, stats_tables


def page(text: str, *spans: tuple[int, int, str], source: str = "", kind: str = "") -> LabelledPage:
    return LabelledPage("p", text, [Span(*span) for span in spans], source=source, kind=kind)


def test_blanks_and_ambiguous_ranges_count_neither_way() -> None:
    ambiguous = LabelledPage("a", "一二三 四", [Span(0, 4, "ad")], ambiguous=[(0, 1)])
    stats = corpus_stats([ambiguous, page("好")])
    assert stats["characters"] == 4
    assert stats["spam_characters"] == 2
    assert stats["spam_share"] == 0.5
    assert stats["labels"]["ad"] == {
        "spans": 1, "characters": 2, "length": {"p10": 4, "p50": 4, "p90": 4}
    }  # fmt: skip
    assert stats["pages_without_spam"] == 1


def test_groups_are_counted_apart() -> None:
    prose = LabelledPage("c", "好文", [], source="x", labelled=False)
    stats = corpus_stats([page("一二", (0, 1, "ad"), source="x", kind="seo"), prose, page("三")])
    assert stats["unlabelled_pages"] == 1
    assert {name: row["pages"] for name, row in stats["sources"].items()} == {"": 1, "x": 2}
    assert stats["kinds"]["seo"]["spam_share"] == 0.5


def test_an_empty_corpus_is_counted_too() -> None:
    stats = corpus_stats([])
    assert (stats["pages"], stats["spam_share"], stats["labels"]) == (0, 0.0, {})
    assert len(list(stats_tables(stats))) == 1


def test_quantiles_are_lengths_that_occur() -> None:
    pages = [page("一" * 30, (0, n, "ad")) for n in (1, 2, 3, 4, 20)]
    assert corpus_stats(pages)["labels"]["ad"]["length"] == {"p10": 1, "p50": 3, "p90": 20}


@given(st.lists(st.tuples(st.text(max_size=12), st.sampled_from(["ad", "甲"])), max_size=5))
def test_labels_and_prose_make_up_all_characters(items: list[tuple[str, str]]) -> None:
    pages = [page(text, (0, len(text) // 2 or 1, label)) for text, label in items if text]
    stats = corpus_stats(pages)
    halves = ["".join(p.text[: p.spans[0].end].split()) for p in pages]
    assert stats["spam_characters"] == sum(map(len, halves))
    assert stats["characters"] == sum(len("".join(p.text.split())) for p in pages)


def test_tables_show_every_label_and_the_largest_sources() -> None:
    pages = [page("一二", (0, 1, "ad"), source=f"s{i:02}") for i in range(30)]
    pages.append(page("一二", (0, 2, "链接"), source="big"))
    pages.append(page("一二", source="big"))
    shown = io.StringIO()
    console = Console(file=shown, width=100)
    for table in stats_tables(corpus_stats(pages)):
        console.print(table)
    for part in ("32 pages, 31 spans", "链接", "31 sources", "big", "11 more"):
        assert part in shown.getvalue()
