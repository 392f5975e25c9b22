"""Copies of pages: found however they are spaced, and not found where there are none."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("datasketch")

from training.corpus.duplicates import Groups, find_copies, shingles


def page(seed: int, length: int = 400) -> str:
    return "".join(Random(seed).choices([chr(0x4E00 + i) for i in range(2000)], k=length))


def test_copies_are_found_across_blanks_and_small_changes() -> None:
    a, b = page(1), page(2)
    near = a[:190] + "广告" + a[200:]
    texts = [a, b, " ".join(a), near, page(3)]
    copies = list(find_copies(texts))
    assert [(copy.first, copy.second) for copy in copies] == [(0, 2), (0, 3)]
    assert copies[0].similarity == 1
    assert 0.8 <= copies[1].similarity < 1
    assert len(list(find_copies(texts, threshold=1.0))) == 1


def test_halves_are_no_copies() -> None:
    a, b = page(1), page(2)
    assert not list(find_copies([a, b, a[:200] + b[:200]]))


def test_pages_without_characters_are_no_copies_and_short_ones_must_be_equal() -> None:
    assert not list(find_copies(["", " \n", "一", "二", "一二三"]))
    assert [(c.first, c.second) for c in find_copies(["一二", "一 二"])] == [(0, 1)]


def test_the_estimate_is_close_to_the_similarity() -> None:
    a = page(5, 1000)
    for cut in (20, 60, 100):
        b = a[:-cut] + page(6, cut)
        x, y = ({t[i : i + 5] for i in range(len(t) - 4)} for t in (a, b))
        (copy,) = find_copies([a, b], threshold=0.5)
        assert copy.similarity == pytest.approx(len(x & y) / len(x | y), abs=0.15)


@given(st.text(min_size=5, max_size=40))
def test_equal_grams_have_equal_hashes(text: str) -> None:
    hashes = shingles(text)
    assert len(hashes) == len(text) - 4
    assert hashes.tolist() == [int(shingles(text[i : i + 5])[0]) for i in range(len(hashes))]


def test_groups_are_joined_through_others() -> None:
    groups = Groups(6)
    groups.join(4, 2)
    groups.join(0, 4)
    groups.join_by(["a", None, None, "a", None, None])
    assert groups.members() == [[0, 2, 3, 4], [1], [5]]


def test_hardly_a_copy_is_missed() -> None:
    originals = [page(seed, 300) for seed in range(40)]
    copies = [text[:-24] + page(1000 + i, 24) for i, text in enumerate(originals)]  # some 0.85
    found = {(c.first, c.second) for c in find_copies([*originals, *copies], threshold=0.7)}
    assert found == {(i, i + 40) for i in range(40)}
