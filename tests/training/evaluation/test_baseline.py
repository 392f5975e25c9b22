"""The linear baseline: it learns what it can see, and nothing else."""

from __future__ import annotations

import random
from itertools import count

import numpy as np
import pytest

pytest.importorskip("sklearn")

from filter.errors import UsageError
from filter.labels import LABELS
from filter.spans import Span
from training.calibration.scoring import Bounds
from training.corpus.records import LabelledPage
from training.evaluation.baseline import REACH, Baseline, baseline_figures, features, fit_baseline

ARTICLE = "村里的老人们坐在槐树下谈起了去年的收成今年雨水多庄稼长得好"
KEYWORDS = ("塑料混合机", "轴承钢球")


def make_page(seed: int, *, spam: bool = True) -> LabelledPage:
    rng = random.Random(seed)
    text, spans = "", []
    for _ in range(6):
        text += "".join(rng.sample(ARTICLE, 8))
        if spam:
            word = rng.choice(KEYWORDS)
            spans.append(Span(len(text), len(text) + len(word), "keyword", text=word))
            text += word
        text += "\n"
    return LabelledPage(str(seed), text, spans, labelled=spam)


TRAINING = [make_page(i, spam=i % 2 == 0) for i in range(120)]


@pytest.fixture(scope="module")
def baseline() -> Baseline:
    return fit_baseline(TRAINING)


def test_features_are_the_n_grams_near_a_character() -> None:
    left, right = "甲" * 40 + "乙丙丁", "丁丙乙" + "甲" * 40
    rows = features(left), features(right)
    middle = 20
    assert rows[0].shape == (43, 1 << 20)
    assert (rows[0][middle] != rows[1][middle + 3]).nnz == 0
    reaches = [i for i in range(40) if (rows[0][i] != rows[0][middle]).nnz and i > middle]
    assert reaches == list(range(40 - REACH, 40))


def test_probabilities_have_a_row_a_character_and_sum_to_one(baseline: Baseline) -> None:
    for text in ("", "一", "村里的塑料混合机老人 𠮷\n"):
        probabilities = baseline.predict_proba(text)
        assert probabilities.shape == (len(text), 1 + len(LABELS))
        assert np.allclose(probabilities.sum(axis=1), 1, atol=1e-5)


def test_it_finds_on_new_pages_the_words_that_it_learnt(baseline: Baseline) -> None:
    figures = baseline_figures(
        baseline,
        tune=[make_page(i) for i in range(100, 110)],
        prose=[make_page(i, spam=False) for i in range(110, 120)],
        test=[make_page(i) for i in range(200, 210)],
        bounds=Bounds(page=0.01, labelled=0.01),
    )
    assert figures["labelled"]["in_sentence_recall"] > 0.9
    assert figures["labelled"]["prose_loss"] < 0.05
    assert 0 < figures["threshold"] <= 1


def test_the_same_seed_fits_the_same_baseline(baseline: Baseline) -> None:
    again = fit_baseline(TRAINING)
    text = make_page(300).text
    assert np.array_equal(again.predict_proba(text), baseline.predict_proba(text))


def test_it_reads_no_more_than_it_was_told() -> None:
    endless = map(make_page, count())
    assert fit_baseline(endless, max_characters=500).labels == LABELS


@pytest.mark.parametrize("pages", [[], [make_page(1, spam=False)]])
def test_pages_without_spam_teach_nothing(pages: list[LabelledPage]) -> None:
    with pytest.raises(UsageError, match="with prose and with spam"):
        fit_baseline(pages)
