"""Pages that are copies of one another, whole or nearly so.

Scraped pages come in families: the same article on ten sites, each with its own spam. Two pages are
near-duplicates if the sets of their character 5-grams, blanks left out, have a Jaccard similarity
over a threshold. MinHash estimates it (Broder, 1997) and locality-sensitive hashing finds the
candidates, so that the cost grows with the pages and not with their pairs.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from datasketch import MinHash, MinHashLSH
from numpy.typing import NDArray

from filter.tokenizer import code_points

THRESHOLD = 0.8
SHINGLE = 5
PERMUTATIONS = 64

_BANDS = (16, 4)
"""Bands of the index and hashes in each. A false candidate costs a comparison, a missed one is a
leak: of pairs with a similarity of 0.8 these miss 2 in 10,000, at 0.7 1 in 80, at 0.6 1 in 9."""

_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)


@dataclass(frozen=True, slots=True)
class Copy:
    """A page that was seen before.

    Attributes:
        first: The number of the earlier page.
        second: The number of the later one.
        similarity: Estimated Jaccard similarity; 1 also where a few characters differ.
    """

    first: int
    second: int
    similarity: float


class Groups:
    """Pages that belong together, joined pair by pair."""

    def __init__(self, size: int) -> None:
        self._parents = list(range(size))

    def find(self, item: int) -> int:
        """The first page of the group that a page is in."""
        while self._parents[item] != item:
            self._parents[item] = self._parents[self._parents[item]]
            item = self._parents[item]
        return item

    def join(self, first: int, second: int) -> None:
        """Makes one group of the groups of two pages."""
        low, high = sorted((self.find(first), self.find(second)))
        self._parents[high] = low

    def join_by(self, keys: Iterable[Hashable | None]) -> None:
        """Makes one group of all pages that have the same key; None is no key."""
        seen: dict[Hashable, int] = {}
        for item, key in enumerate(keys):
            if key is not None:
                self.join(seen.setdefault(key, item), item)

    def members(self) -> list[list[int]]:
        """The pages of every group, each in order."""
        groups = defaultdict(list)
        for item in range(len(self._parents)):
            groups[self.find(item)].append(item)
        return list(groups.values())


def find_copies(texts: Sequence[str], *, threshold: float = THRESHOLD) -> Iterator[Copy]:
    """Pairs that join every page to the copies of it among the pages before.

    Not all pairs of a family are given, but so many that they hold it together. Pages without a
    character are no copies.

    Args:
        texts: Pages.
        threshold: Estimated Jaccard similarity from which on pages are near-duplicates.
    """
    groups = Groups(len(texts))
    first_of: dict[str, int] = {}
    for number, text in enumerate(texts):
        bare = "".join(text.split())
        if bare:
            first = first_of.setdefault(bare, number)
            if first != number:
                groups.join(first, number)
                yield Copy(first, number, 1.0)
    index = MinHashLSH(num_perm=PERMUTATIONS, params=_BANDS)
    hashed = MinHash.generator(
        (shingles(bare).tolist() for bare in first_of), num_perm=PERMUTATIONS, hashfunc=int
    )
    sketches: dict[int, MinHash] = {}
    for number, sketch in zip(first_of.values(), hashed, strict=True):
        for candidate in sorted(index.query(sketch)):
            if groups.find(candidate) == groups.find(number):
                continue
            similarity = sketch.jaccard(sketches[candidate])
            if similarity >= threshold:
                groups.join(candidate, number)
                yield Copy(candidate, number, similarity)
        sketches[number] = sketch
        index.insert(number, sketch, check_duplication=False)


def shingles(text: str) -> NDArray[np.uint32]:
    """Hashes of the character 5-grams of a text; of all of it if it is shorter.

    Returns:
        (n,) uint32.
    """
    codes = code_points(text).astype(np.uint64)
    size = min(SHINGLE, len(codes))
    hashes = np.zeros(len(codes) - size + 1, dtype=np.uint64)
    for i in range(size):  # arithmetic wraps around, as is meant
        hashes = (hashes + codes[i : len(codes) - size + 1 + i]) * _MULTIPLIER
        hashes ^= hashes >> np.uint64(29)
    return (hashes >> np.uint64(32)).astype(np.uint32)
