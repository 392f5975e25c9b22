"""Two models on the same pages: the paired difference."""

from __future__ import annotations

import numpy as np
import pytest

from filter.spans import Span
from training.corpus.records import LabelledPage
from training.evaluation.compare import comparison, paired_difference, wrong_characters
from training.evaluation.counts import PageCounts
from training.evaluation.evaluate import count_page
from training.evaluation.metrics import summarize

LABELS = ("keyword", "ad")
GOLD = Span(4, 8, "keyword")


def page(number: int = 0, *, labelled: bool = True) -> LabelledPage:
    return LabelledPage(f"page-{number}", "一二三四广告广告五六", [GOLD] if labelled else [],
                        labelled=labelled)  # fmt: skip


def counts(*cut: Span, labelled: bool = True) -> PageCounts:
    return count_page(page(labelled=labelled), cut, LABELS)


def test_a_model_is_no_better_than_itself() -> None:
    rows = [counts(GOLD), counts(), counts(Span(0, 6, "ad"))]
    difference = paired_difference(rows, rows, LABELS, draws=50)
    assert all(
        row["difference"] == 0 and row["interval"] == [0, 0] and not row["significant"]
        for row in difference["figures"].values()
    )
    assert (difference["pages_better"], difference["pages_worse"]) == (0, 0)
    assert difference["pages_equal"] == 3
    assert difference["most_better"] == difference["most_worse"] == []


def test_the_difference_is_that_of_the_figures_and_its_sign_is_this_minus_other() -> None:
    this = [counts(GOLD)] * 6 + [counts(Span(0, 8, "keyword"))] * 2
    other = [counts(Span(4, 6, "keyword"))] * 7 + [counts(GOLD)]
    figures = paired_difference(this, other, LABELS, draws=400, seed=2)["figures"]
    mine, theirs = summarize(this, labels=LABELS), summarize(other, labels=LABELS)
    for name, row in figures.items():
        assert row["this"] == mine[name]
        assert row["other"] == theirs[name]
        assert row["difference"] == pytest.approx(mine[name] - theirs[name])
        low, high = row["interval"]
        assert low <= row["difference"] <= high
    assert figures["recall"]["difference"] > 0
    assert figures["recall"]["significant"]
    assert figures["prose_loss"]["difference"] > 0
    assert not figures["f1"]["significant"] or figures["f1"]["interval"][0] > 0


def test_what_makes_pages_hard_for_both_drops_out_of_the_interval() -> None:
    rng = np.random.default_rng(0)
    ends = rng.integers(4, 8, size=60)
    other = [counts(Span(4, int(end), "ad")) if end > 4 else counts() for end in ends]
    this = [counts(Span(4, int(end) + 1, "ad")) for end in ends]
    paired = paired_difference(this, other, LABELS, draws=300)["figures"]["recall"]
    alone = summarize(this, labels=LABELS, bootstrap=300)["intervals"]["recall"]
    assert paired["interval"] == pytest.approx([0.25, 0.25])
    assert paired["significant"]
    assert alone[1] - alone[0] > 0.05


def test_pages_are_better_or_worse_by_their_wrong_characters() -> None:
    this = [counts(GOLD), counts(Span(0, 2, "ad")), counts(), counts()]
    other = [counts(), counts(GOLD), counts(), counts(Span(4, 5, "ad"))]
    assert wrong_characters(this).tolist() == [[0, 0], [4, 2], [4, 0], [4, 0]]
    pages = [page(i) for i in range(4)]
    found = comparison(pages, this, other, LABELS, same_labels=True, draws=20)["labelled"]
    assert (found["pages_better"], found["pages_worse"], found["pages_equal"]) == (1, 2, 1)
    assert found["most_better"] == [{"wrong": 0, "other_wrong": 4, "id": "page-0"}]
    assert [row["id"] for row in found["most_worse"]] == ["page-1", "page-3"]


def test_what_rests_on_one_page_is_no_more_than_chance() -> None:
    alone = paired_difference([counts(GOLD)], [counts()], LABELS, draws=50)["figures"]
    assert alone["recall"]["difference"] == 1
    assert all(row["interval"] is None and not row["significant"] for row in alone.values())
    # Nor where there are more pages, but spam in one of them alone.
    clean = [counts(Span(0, 1, "ad"), labelled=False), counts(labelled=False)]
    idle = [counts(labelled=False)] * 2
    figures = paired_difference([counts(GOLD), *clean], [counts(), *idle], LABELS, draws=50)[
        "figures"
    ]
    for name in ("recall", "macro_recall", "in_sentence_recall"):
        assert figures[name]["interval"] is None
        assert not figures[name]["significant"]
    low, high = figures["prose_loss"]["interval"]
    assert low < high


def test_models_with_other_labels_are_compared_on_spam_and_prose_alone() -> None:
    pages = [page(), page(labelled=False)]
    rows = [counts(GOLD), counts(labelled=False)]
    found = comparison(pages, rows, rows, LABELS, same_labels=False, draws=20)
    assert "recall" in found["labelled"]["figures"]
    assert "macro_recall" not in found["labelled"]["figures"]
    assert "in_sentence_recall" not in found["labelled"]["figures"]
    assert set(found["prose"]["figures"]) >= {"prose_loss", "false_spans_per_100k"}
    assert (
        "in_sentence_recall"
        in comparison(pages, rows, rows, LABELS, same_labels=True, draws=20)["labelled"]["figures"]
    )


def test_the_interval_holds_the_true_difference_as_often_as_it_says() -> None:
    """Over 100 corpora drawn from pages whose true difference is known."""
    rng = np.random.default_rng(1)
    found, idle = counts(GOLD), counts()
    held = 0
    for trial in range(100):
        this, other = (
            [found if whole else idle for whole in rng.random(40) < share] for share in (0.7, 0.5)
        )
        row = paired_difference(this, other, LABELS, draws=200, seed=trial)["figures"]["recall"]
        held += row["interval"][0] <= 0.2 <= row["interval"][1]
    assert 86 <= held <= 100
