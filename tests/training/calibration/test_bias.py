"""Label biases: what they find at a bound that one threshold does not."""

from __future__ import annotations

import numpy as np

from training.calibration.bias import fit_bias, page_cost, pooled_cost, spam_log_odds

LABELS = ("keyword", "link")


def log_probabilities(rows: list[tuple[float, float, float]], times: int) -> np.ndarray:
    return np.log(np.repeat(np.array(rows, dtype=np.float32), times, axis=0))


def test_without_bias_the_odds_are_those_of_the_summed_probability() -> None:
    log_p = log_probabilities([(0.4, 0.25, 0.35)], 1)
    assert np.allclose(spam_log_odds(log_p, np.zeros(2, np.float32)), np.log(0.6 / 0.4))


def test_a_label_whose_probabilities_are_low_is_lifted() -> None:
    """Keywords stand at 0.4 and prose that looks like links at 0.6: one threshold loses either."""
    keyword, false_link, prose = (0.6, 0.39, 0.01), (0.4, 0.01, 0.59), (0.98, 0.01, 0.01)
    log_p = log_probabilities([keyword, false_link, prose], 50)
    gold = np.repeat(np.array([1, 0, 0], dtype=np.int16), 50)
    page = np.arange(150, dtype=np.int32) % 10
    bias = fit_bias(log_p, gold, LABELS, [(page_cost(gold, page, 10), 0.0)])
    assert bias.get("keyword", 0.0) > bias.get("link", 0.0)
    odds = spam_log_odds(log_p, np.array([bias.get(x, 0.0) for x in LABELS], np.float32))
    assert odds[:50].min() > odds[50:].max()


def test_what_needs_no_bias_gets_none() -> None:
    log_p = log_probabilities([(0.1, 0.8, 0.1), (0.9, 0.05, 0.05)], 10)
    gold = np.repeat(np.array([1, 0], dtype=np.int16), 10)
    everywhere = np.ones(20, dtype=bool)
    assert not fit_bias(log_p, gold, LABELS, [(pooled_cost(gold, everywhere), 0.0)])


def test_the_bounds_count_by_page_and_pooled_as_they_say() -> None:
    """Prose that looks like links is a hundredth of all characters, and the whole of one page."""
    keyword, false_link, prose = (0.6, 0.39, 0.01), (0.4, 0.01, 0.59), (0.98, 0.01, 0.01)
    log_p = np.concatenate(
        [log_probabilities([row], n) for row, n in ((keyword, 20), (false_link, 5), (prose, 500))]
    )
    gold = np.repeat(np.array([1, 0, 0], dtype=np.int16), [20, 5, 500])
    page = np.repeat(np.array([0, 1, 0], dtype=np.int32), [20, 5, 500])
    by_page, pooled = page_cost(gold, page, 2), pooled_cost(gold, gold >= 0)
    assert np.allclose([by_page.sum(), by_page[20:25].sum()], [1, 0.5])
    assert np.allclose([pooled.sum(), pooled[20:25].sum()], [1, 5 / 505])
    # Pooled they may be lost, and nothing is in the way of the keywords.
    assert not fit_bias(log_p, gold, LABELS, [(pooled, 0.02)])
    assert fit_bias(log_p, gold, LABELS, [(by_page, 0.02)])
    assert fit_bias(log_p, gold, LABELS, [(pooled, 0.02), (by_page, 0.02)])
