"""Splits: no site and no copy on two sides, everything somewhere, and as asked for."""

from __future__ import annotations

from collections import Counter
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("datasketch")

from filter.errors import UsageError
from filter.spans import Span
from training.corpus.records import CorpusError, LabelledPage
from training.corpus.split import assign, shares, split_corpus

CHARACTERS = [chr(0x4E00 + i) for i in range(2000)]
THIRDS = {"train": 0.6, "tune": 0.2, "test": 0.2}


def page(seed: int, source: str = "", label: str = "ad", spam: int = 4) -> LabelledPage:
    text = "".join(Random(seed).choices(CHARACTERS, k=40))
    return LabelledPage(str(seed), text, [Span(0, spam, label)], source=source)


@given(
    st.lists(st.tuples(st.integers(0, 25), st.integers(0, 30)), min_size=40, max_size=60),
    st.integers(0, 3),
)
@settings(max_examples=25)
def test_no_source_and_no_copy_is_on_two_sides(items: list[tuple[int, int]], seed: int) -> None:
    # Pages of one text seed are copies; source 0 is none.
    pages = [page(text, f"s{source}" if source else "") for source, text in items]
    try:
        sides = split_corpus(pages, THIRDS, seed=seed).sides
    except CorpusError:
        return  # all of it hangs together
    assert sorted(i for numbers in sides.values() for i in numbers) == list(range(len(pages)))
    for key in (lambda p: p.source, lambda p: p.text):
        seen = [{key(pages[i]) for i in numbers} - {""} for numbers in sides.values()]
        assert len(set.union(*seen)) == sum(map(len, seen))


def test_labels_are_balanced_by_characters() -> None:
    rng = Random(4)
    pages = [
        page(i, f"s{i // 3}", rng.choice(["ad", "link", "rare"]), rng.randint(1, 30))
        for i in range(240)
    ]
    sides = split_corpus(pages, shares(0.1, 0.1)).sides
    totals: Counter[str] = Counter()
    for p in pages:
        totals[p.spans[0].label] += p.spans[0].end
    for side, share in (("train", 0.8), ("tune", 0.1), ("test", 0.1)):
        got: Counter[str] = Counter()
        for i in sides[side]:
            got[pages[i].spans[0].label] += pages[i].spans[0].end
        for label, total in totals.items():
            assert got[label] / total == pytest.approx(share, abs=0.02), (side, label)
        assert len(sides[side]) / len(pages) == pytest.approx(share, abs=0.02)


def test_a_seed_is_a_split() -> None:
    pages = [page(i) for i in range(50)]
    assert split_corpus(pages, THIRDS, seed=1) == split_corpus(pages, THIRDS, seed=1)
    assert split_corpus(pages, THIRDS, seed=1) != split_corpus(pages, THIRDS, seed=2)


def test_a_share_of_nothing_makes_no_side() -> None:
    assert shares(0.2, 0) == {"train": 0.8, "tune": 0.2}
    assert set(split_corpus([page(i) for i in range(20)], shares(0.2, 0)).sides) == {
        "train",
        "tune",
    }


@pytest.mark.parametrize(("tune", "test"), [(0.5, 0.5), (-0.1, 0.1), (0, 0), (1.0, 0)])
def test_shares_that_leave_nothing_are_usage_errors(tune: float, test: float) -> None:
    with pytest.raises(UsageError):
        shares(tune, test)


def test_too_few_groups_are_named_with_the_way_out() -> None:
    two = [page(i, f"s{i % 2}") for i in range(20)]
    with pytest.raises(CorpusError, match=r"the 20 pages are 2 groups .* --by page"):
        split_corpus(two, THIRDS)
    # Three groups are enough in number, but one of them is nearly everything.
    uneven = [page(i, f"s{max(0, i - 17)}") for i in range(20)]
    with pytest.raises(CorpusError, match=r"3 groups.*the largest has 18"):
        split_corpus(uneven, THIRDS)
    assert set(split_corpus(two, THIRDS, by="page").groups) == set(THIRDS)
    with pytest.raises(CorpusError, match=r"1 group by copies.*label more pages"):
        split_corpus([page(1) for _ in range(20)], THIRDS, by="page")
    with pytest.raises(CorpusError, match=r"1 group by sources.*label more pages"):
        split_corpus([page(1) for _ in range(20)], THIRDS)
    with pytest.raises(CorpusError, match="no page to split"):
        split_corpus([], THIRDS)


sizes_of_groups = st.tuples(st.integers(1, 9), st.integers(0, 50), st.integers(0, 50))


@given(st.lists(sizes_of_groups, min_size=3, max_size=20), st.integers(0, 5))
def test_no_side_is_empty_and_no_single_move_would_help(
    sizes: list[tuple[int, ...]], seed: int
) -> None:
    wanted = [0.8, 0.1, 0.1]
    held = np.array(sizes, dtype=float)
    chosen = assign(held, wanted, seed=seed)
    assert set(chosen) == {0, 1, 2}

    def cost(sides: np.ndarray) -> float:
        relative = held[:, held.sum(axis=0) > 0]
        got = [relative[sides == side].sum(axis=0) / relative.sum(axis=0) for side in range(3)]
        return sum(float(((g - w) ** 2).sum() / w) for g, w in zip(got, wanted, strict=True))

    for group in range(len(sizes)):
        for side in range(3):
            moved = chosen.copy()
            moved[group] = side
            if set(moved) == {0, 1, 2}:
                assert cost(moved) >= cost(chosen) - 1e-9
