"""Pages that are made up have the lengths that they should have."""

from __future__ import annotations

from itertools import islice

import numpy as np

from filter.benchmark.pages import (
    KEYWORDS,
    KINDS,
    LONGEST,
    SHORTEST,
    cut_pages,
    generate_pages,
    take_characters,
)


def test_the_same_pages_for_a_seed() -> None:
    first = list(islice(generate_pages(seed=1), 30))
    assert first == list(islice(generate_pages(seed=1), 30))
    assert first != list(islice(generate_pages(seed=2), 30))


def test_each_kind_has_its_lengths() -> None:
    pages = list(islice(generate_pages(), 1500))
    for number, kind in enumerate(KINDS):
        lengths = np.array([len(page) for page in pages[number :: len(KINDS)]])
        assert lengths.min() >= SHORTEST and lengths.max() <= LONGEST
        assert abs(np.median(np.log(lengths)) - kind.log_mean) < 4 * kind.log_deviation / 500**0.5


def test_spam_is_where_it_should_be() -> None:
    pages = list(islice(generate_pages(), 300))
    with_spam = [any(word in page for word in KEYWORDS) for page in pages]
    assert not any(with_spam[2::3])
    assert np.mean(with_spam[1::3]) > 0.9


def test_pieces_are_the_page_and_fit() -> None:
    page = "".join(islice(generate_pages(), 4))
    pieces = list(cut_pages([page, " \n", "短"], 254))
    assert "".join(pieces[:-1]) == page
    assert pieces[-1] == "短"
    assert max(map(len, pieces)) == 254


def test_pages_are_taken_until_there_are_enough() -> None:
    assert take_characters(iter(["一一", "二二", "三三"]), 3) == ["一一", "二二"]
    assert take_characters(iter(["一"]), 100) == ["一"]
