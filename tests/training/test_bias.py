"""Label biases: what they find at a bound that one threshold does not."""

from __future__ import annotations

import numpy as np

from training.bias import fit_bias, spam_log_odds

LABELS = ("keyword", "link")


def log_probabilities(rows: list[tuple[float, float, float]], times: int) -> np.ndarray:
    return np.log(np.repeat(np.array(rows, dtype=np.float32), times, axis=0))


def test_without_bias_the_odds_are_those_of_the_summed_probability() -> None:
    log_p = log_probabilities([(0.4, 0.25, 0.35)], 1)
    assert np.allclose(spam_log_odds(log_p, np.zeros(2, np.float32)), np.log(0.6 / 0.4))


def test_a_label_whose_probabilities_are_low_is_lifted() -> None:
    """Keywords stand at 0.4 and prose that looks like links at 0.6: one threshold loses either."""
    keyword, false_link, prose = (0.6, 0.39, 0.01), (0.4, 0.01, 0.59), (0.98, 0.01, 0.01)
    labelled = log_probabilities([keyword, false_link, prose], 50)
    gold = np.repeat(np.array([1, 0, 0], dtype=np.int16), 50)
    clean = log_probabilities([false_link, prose], 50)
    bias = fit_bias(labelled, gold, clean, LABELS, max_prose_loss=0.0, max_labelled_prose_loss=0.0)
    assert bias.get("keyword", 0.0) > bias.get("link", 0.0)
    odds = spam_log_odds(labelled, np.array([bias.get(x, 0.0) for x in LABELS], np.float32))
    assert odds[:50].min() > odds[50:].max()


def test_what_needs_no_bias_gets_none() -> None:
    labelled = log_probabilities([(0.1, 0.8, 0.1), (0.9, 0.05, 0.05)], 10)
    gold = np.repeat(np.array([1, 0], dtype=np.int16), 10)
    assert not fit_bias(
        labelled, gold, labelled[10:], LABELS, max_prose_loss=0.0, max_labelled_prose_loss=0.0
    )
