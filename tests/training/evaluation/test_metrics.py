"""Character metrics against a brute-force oracle, and the definitions one by one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from training.evaluation.counts import PageCounts, page_counts, pool
from training.evaluation.metrics import summarize

LABELS = ("keyword", "fragment", "ad")

Character = tuple[int, bool, bool, int, int]  # gold, cut, ignored, cut as, code point
characters = st.tuples(
    st.integers(0, 3), st.booleans(), st.booleans(), st.integers(1, 3), st.integers(97, 99)
)
pages = st.lists(st.lists(characters, max_size=30), min_size=1, max_size=6)


def counts_of(page: list[Character], *, with_text: bool = True) -> PageCounts:
    gold, cut, ignored, predicted, codes = (
        (np.array(column) for column in zip(*page, strict=True)) if page else (np.array([]),) * 5
    )
    return page_counts(
        gold.astype(np.int16),
        cut.astype(bool),
        ignored.astype(bool),
        n_labels=3,
        predicted=predicted,
        characters=codes if with_text else None,
    )


def gold_spans(page: list[Character]) -> list[tuple[int, list[bool]]]:
    """The label of each gold span, and which of its countable characters were cut."""
    spans, start = [], 0
    for end in range(1, len(page) + 1):
        if end == len(page) or page[end][0] != page[start][0]:
            counted = [cut for _, cut, ignored, _, _ in page[start:end] if not ignored]
            if page[start][0] and counted:
                spans.append((page[start][0], counted))
            start = end
    return spans


def oracle(corpus: list[list[Character]]) -> dict[str, Any]:
    """Every figure by looping over characters."""
    prose = prose_cut = spam = spam_cut = inside = inside_cut = 0
    clean_prose = clean_cut = false_spans = spam_pages = restored = 0
    spans: list[tuple[int, bool]] = []
    per_label = {label: [0, 0] for label in (1, 2, 3)}
    for page in corpus:
        has_spam = any(gold and not ignored for gold, _, ignored, _, _ in page)
        previous_cut = False
        for gold, cut, ignored, _, _ in page:
            if ignored:
                continue
            if gold:
                spam += 1
                spam_cut += cut
                per_label[gold][0] += 1
                per_label[gold][1] += cut
                inside += gold in (1, 2)
                inside_cut += gold in (1, 2) and cut
            else:
                prose += 1
                prose_cut += cut
                if not has_spam:
                    clean_prose += 1
                    clean_cut += cut
                    false_spans += cut and not previous_cut
            previous_cut = cut
        spans += [(label, all(cut)) for label, cut in gold_spans(page)]
        if has_spam:
            spam_pages += 1
            kept = [code for _, cut, ignored, _, code in page if not ignored and not cut]
            article = [code for gold, _, ignored, _, code in page if not ignored and not gold]
            restored += kept == article

    def ratio(part: float, whole: float) -> float | None:
        return part / whole if whole else None

    recalls = [ratio(cut, n) for n, cut in per_label.values() if n]
    in_sentence = [whole for label, whole in spans if label in (1, 2)]
    return {
        "pages": len(corpus),
        "pages_with_spam": spam_pages,
        "clean_pages": len(corpus) - spam_pages,
        "prose_characters": prose,
        "prose_characters_cut": prose_cut,
        "spam_characters": spam,
        "spam_characters_cut": spam_cut,
        "spans": len(spans),
        "false_spans": false_spans,
        "recall": ratio(spam_cut, spam),
        "precision": ratio(spam_cut, spam_cut + prose_cut),
        "f1": ratio(2 * spam_cut, spam_cut + prose_cut + spam),
        "prose_loss": ratio(prose_cut, prose),
        "in_sentence_recall": ratio(inside_cut, inside),
        "in_sentence_span_recall": ratio(sum(in_sentence), len(in_sentence)),
        "span_recall": ratio(sum(whole for _, whole in spans), len(spans)),
        "restored_pages": ratio(restored, spam_pages),
        "clean_prose_loss": ratio(clean_cut, clean_prose),
        "false_spans_per_100k": ratio(1e5 * false_spans, clean_prose),
        "macro_recall": ratio(sum(r for r in recalls if r is not None), len(recalls)),
    }


@given(pages)
@settings(max_examples=300, deadline=None)
def test_every_figure_is_that_of_the_brute_force(corpus: list[list[Character]]) -> None:
    summary = summarize([counts_of(page) for page in corpus], labels=LABELS)
    for name, expected in oracle(corpus).items():
        if expected is None:
            assert summary[name] is None, name
        else:
            assert summary[name] == pytest.approx(expected), name


@given(pages)
@settings(max_examples=100, deadline=None)
def test_the_confusion_holds_every_countable_character_once(corpus: list[list[Character]]) -> None:
    confusion = pool([counts_of(page) for page in corpus]).confusion
    expected = np.zeros_like(confusion)
    for page in corpus:
        for gold, cut, ignored, predicted, _ in page:
            if not ignored:
                expected[gold, predicted if cut else 0] += 1
    assert np.array_equal(confusion, expected)


def row(gold: str, cut: str, ignored: str | None = None, **options: Any) -> PageCounts:
    """Counts of a page written as digits; `cut` and `ignored` mark characters with x."""
    return page_counts(
        np.array([int(c) for c in gold]),
        np.array([c == "x" for c in cut]),
        np.array([c == "x" for c in ignored or "." * len(gold)]),
        n_labels=3,
        **options,
    )


def test_a_span_of_blanks_alone_counts_neither_way() -> None:
    summary = summarize([row("00300", "..x..", "..x..")], labels=LABELS)
    assert summary["spans"] == 0
    assert summary["pages_with_spam"] == 0
    assert summary["recall"] is None
    assert summary["prose_loss"] == 0


def test_a_span_is_whole_when_its_countable_characters_are_all_cut() -> None:
    blank_inside = row("0111100", ".x.xx..", "..x....")
    missing_one = row("0111100", ".xxx...")
    summary = summarize([blank_inside, missing_one], labels=LABELS)
    assert summary["in_sentence_span_recall"] == 0.5
    assert summary["in_sentence_recall"] == pytest.approx(6 / 7)


def test_neighbouring_spans_of_one_label_are_told_apart_by_their_ids() -> None:
    ids = np.array([0, 1, 1, 2, 2, 0])
    assert summarize([row("011110", ".xx...")], labels=LABELS)["span_recall"] == 0
    told = summarize([row("011110", ".xx...", span_ids=ids)], labels=LABELS)
    assert told["spans"] == 2
    assert told["span_recall"] == 0.5


def test_a_page_is_restored_when_the_text_left_is_the_article() -> None:
    comma_before = {"characters": np.array([ord(c) for c in "化,轴承,二"])}
    gold, cut = "011100", "..xxx."
    assert summarize([row(gold, cut, **comma_before)], labels=LABELS)["restored_pages"] == 1
    assert summarize([row(gold, cut)], labels=LABELS)["restored_pages"] == 0


def test_false_spans_are_connected_pieces_cut_from_clean_pages() -> None:
    summary = summarize(
        [row("0000000", "xx..xxx", "....x.."), row("0100000", ".x..x..")], labels=LABELS
    )
    assert summary["false_spans"] == 2
    assert summary["clean_prose_loss"] == pytest.approx(4 / 6)
    assert summary["false_spans_per_100k"] == pytest.approx(2 / 6 * 1e5)


def test_macro_recall_passes_over_labels_with_too_few_spans() -> None:
    page = row("1102033", "xx...x.")
    assert summarize([page], labels=LABELS)["macro_recall"] == pytest.approx(0.5)
    many = summarize([page, page, row("30", "..")], labels=LABELS, min_spans=3)
    assert many["macro_recall"] == pytest.approx(2 / 5)


def test_a_label_that_the_model_does_not_name_is_cut_all_the_same() -> None:
    counts = row("0120", ".xx.", predicted=np.array([0, 9, 3, 0]))
    assert summarize([counts], labels=LABELS)["recall"] == 1
    assert counts.confusion[1].tolist() == [0, 0, 0, 0, 1]
    assert counts.confusion[2].tolist() == [0, 0, 0, 1, 0]


@pytest.mark.parametrize(
    ("gold", "cut", "message"),
    [("00", ".", "cut has 1 characters, gold has 2"), ("04", "..", "must be 0 to 3")],
)
def test_arrays_that_do_not_fit_are_refused(gold: str, cut: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        row(gold, cut, "." * len(gold))


def test_no_pages_are_refused() -> None:
    with pytest.raises(ValueError, match="no pages"):
        summarize([], labels=LABELS)


def test_intervals_hold_the_figure_and_are_seeded() -> None:
    corpus = [row("0011", "..x."), row("0022", "..xx"), row("0100", "...x"), row("00", "..")]
    first = summarize(corpus, labels=LABELS, bootstrap=500, seed=3)
    for name, (low, high) in first["intervals"].items():
        assert low <= first[name] <= high, name
    assert (
        first["intervals"] == summarize(corpus, labels=LABELS, bootstrap=500, seed=3)["intervals"]
    )
    assert first["intervals"]["recall"][0] < first["intervals"]["recall"][1]


def test_intervals_of_pages_all_alike_have_no_width() -> None:
    summary = summarize([row("0011", "..x.")] * 5, labels=LABELS, bootstrap=50)
    assert summary["intervals"]["recall"] == [0.5, 0.5]


def test_a_figure_that_rests_on_one_page_has_no_interval() -> None:
    corpus = [row("0110", "....")]
    assert "intervals" not in summarize(corpus, labels=LABELS, bootstrap=20)
    two = summarize([*corpus, row("0000", "....")], labels=LABELS, bootstrap=20)
    assert two["intervals"]["recall"] == [0, 0]
    assert two["by_label"]["keyword"]["pages"] == 1
    assert "intervals" not in two["by_label"]["keyword"]


def test_rows_by_label_have_intervals_over_pages() -> None:
    corpus = [row("0110", ".xx."), row("0110", "...."), row("0022", "..xx")]
    own = summarize(corpus, labels=LABELS, bootstrap=200)["by_label"]["keyword"]
    assert (own["pages"], own["spans"], own["characters"]) == (2, 2, 4)
    assert own["recall"] == own["span_recall"] == 0.5
    assert own["intervals"] == {"recall": [0, 1], "span_recall": [0, 1]}


@given(pages)
@settings(max_examples=100, deadline=None)
def test_rows_by_length_are_those_of_the_brute_force(corpus: list[list[Character]]) -> None:
    summary = summarize([counts_of(page) for page in corpus], labels=LABELS)
    lows = (1, 5, 10, 20, 50, 100)
    for key, labels in (("by_length", (1, 2, 3)), ("in_sentence_by_length", (1, 2))):
        expected = {low: [0, 0, 0, 0] for low in lows}
        for page in corpus:
            for label, cut in gold_spans(page):
                if label in labels:
                    low = max(low for low in lows if low <= len(cut))
                    found = (1, all(cut), len(cut), sum(cut))
                    expected[low] = [a + b for a, b in zip(expected[low], found, strict=True)]
        for own, (spans, whole, characters, lost) in zip(
            summary[key].values() if key in summary else [], expected.values(), strict=True
        ):
            assert (own["spans"], own["characters"]) == (spans, characters)
            assert own["recall"] == (lost / characters if characters else None)
            assert own["span_recall"] == (whole / spans if spans else None)


def test_classes_of_length_have_names_that_people_read() -> None:
    long = row("3" * 120, "x" * 120)
    lengths = summarize([long, row("0" + "3" * 9, "." * 10)], labels=LABELS)["by_length"]
    assert [name for name, own in lengths.items() if own["spans"]] == ["5-9", "100+"]
    assert lengths["100+"]["recall"] == 1
    assert list(lengths) == ["1-4", "5-9", "10-19", "20-49", "50-99", "100+"]


def test_labels_of_the_users_own_have_no_figures_inside_sentences() -> None:
    page = page_counts(np.array([0, 1, 1]), np.array([0, 1, 0], bool), np.zeros(3, bool),
                       n_labels=1)  # fmt: skip
    summary = summarize([page, page], labels=("spam",), bootstrap=10)
    assert summary["in_sentence_recall"] is None
    assert summary["in_sentence_span_recall"] is None
    assert "in_sentence_by_length" not in summary
    assert "in_sentence_recall" not in summary["intervals"]
    assert summary["macro_recall"] == summary["recall"] == 0.5
    with pytest.raises(ValueError, match="1 labels, 2 were named"):
        summarize([page], labels=("spam", "ham"))


def test_twenty_labels_work_as_one() -> None:
    labels = [f"kind-{i}" for i in range(20)]
    gold = np.repeat(np.arange(21), 3)
    counts = page_counts(gold, gold % 2 == 0, np.zeros(63, bool), n_labels=20, predicted=gold)
    summary = summarize([counts], labels=labels)
    assert summary["macro_recall"] == 0.5
    assert summary["by_label"]["kind-19"]["recall"] == 1
    assert summary["spans_strict"] == summary["spans_exact"] == 10
