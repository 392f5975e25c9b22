"""Training windows: sample ``i`` is a function of ``(seed, i)``, drawn from a mixture by rates.

A window comes from an injected page or from a labelled page (into which in-sentence families may
be injected as well, so that foreign strings stand in real layout). What a short page leaves free is
filled with further pages, each between its own [CLS] and [SEP]: there is no padding, so attention
needs no mask, which costs a third of the speed on a CPU.
Reading a sample again gives it again: a run resumes exactly, workers need no coordination.
"""

from __future__ import annotations

from bisect import bisect
from collections import Counter
from collections.abc import Callable, Sequence
from functools import lru_cache
from itertools import accumulate
from random import Random
from typing import TYPE_CHECKING, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from filter.tokenizer import Encoding, PageTokenizer
from training.corpus.records import LabelledPage
from training.injection.scripts import TRADITIONAL, convert_page

if TYPE_CHECKING:
    from training.injection import Injector

IGNORED = -100
"""Label of tokens that no loss is taken on: special tokens and ambiguous ranges."""

FURTHER = 1 << 40
"""Index of the first page that fills up a window: far beyond those that begin one."""

Made = TypeVar("Made")

TokenPage = tuple[NDArray[np.int32], NDArray[np.int16]]
"""Token ids and labels of a page, without special tokens."""


class Stream:
    """Labelled pages in the mixture.

    Sources are drawn by the square root of their size, so that no large one crowds out the rest.

    Args:
        pages: the corpus.
        sources: source of each page.
        rate: share of the training pages that come from it.
        injected: share of its pages that get in-sentence spam as well.
        traditional: share of its pages that are converted into traditional characters.
    """

    def __init__(
        self,
        pages: Sequence[LabelledPage],
        sources: Sequence[str],
        *,
        rate: float,
        injected: float = 0.0,
        traditional: float = 0.0,
    ) -> None:
        self.pages = pages
        self.rate = rate
        self.injected = injected
        self.traditional = traditional
        sizes = Counter(sources)
        self._cumulative = list(accumulate(sizes[source] ** -0.5 for source in sources))

    def draw(self, rng: Random) -> LabelledPage:
        """A page."""
        return self.pages[bisect(self._cumulative, rng.random() * self._cumulative[-1])]


def token_labels(encoding: Encoding, labels: NDArray[np.int16]) -> NDArray[np.int16]:
    """Labels of tokens from those of characters.

    A token over several characters, such as a Latin word, has the label of most of them; where two
    are as many, that of its first character if it is one of the two.
    """
    if len(encoding) == 0:
        return np.zeros(0, dtype=np.int16)
    chosen = labels[encoding.starts]
    lasts = np.maximum(encoding.ends - 1, encoding.starts)
    if np.array_equal(lasts, encoding.starts):
        return chosen
    changes = np.concatenate(([0], np.cumsum(labels[1:] != labels[:-1])))
    for token in np.flatnonzero(changes[lasts] != changes[encoding.starts]):
        inside = labels[encoding.starts[token] : encoding.ends[token]]
        names, counts = np.unique(inside, return_counts=True)
        if counts.max() > (inside == inside[0]).sum():
            chosen[token] = names[counts.argmax()]
    return chosen


def _stretch(rng: Random, page: TokenPage, length: int) -> TokenPage:
    """A random stretch of a page; beginnings and ends of pages are drawn more often."""
    ids, labels = page
    start = 0
    if len(ids) > length:
        margin = length // 3
        start = rng.randint(-margin, len(ids) - length + margin)
        start = min(max(0, start), len(ids) - length)
    return ids[start : start + length], labels[start : start + length]


class Recent(Generic[Made]):
    """What was made last of some numbers; what is pickled for a worker leaves it behind.

    Args:
        make: makes it; a method of an object that may hold this one.
        size: how many are kept.
    """

    def __init__(self, make: Callable[[int], Made], size: int) -> None:
        self._made = lru_cache(maxsize=size)(make)
        self._reduced = make, size

    def __call__(self, number: int) -> Made:
        return self._made(number)

    def __reduce__(self) -> tuple[type[Recent[Made]], tuple[Callable[[int], Made], int]]:
        return type(self), self._reduced


class WindowDataset:
    """Windows as ``{"input_ids", "labels"}`` of one length, by index.

    Args:
        injector: makes pages; none if the mixture is of labelled pages alone.
        streams: labelled corpora; what their rates leave over is injected.
        length: number of samples.
        window: tokens a window, the two special tokens included.
        windows_per_page: neighbouring samples that share a page.
    """

    def __init__(
        self,
        tokenizer: PageTokenizer,
        labels: Sequence[str],
        *,
        injector: Injector | None,
        streams: Sequence[Stream] = (),
        seed: int,
        length: int,
        window: int,
        windows_per_page: int = 2,
    ) -> None:
        self.tokenizer = tokenizer
        self.label_ids = {label: index for index, label in enumerate(labels, 1)}
        self.injector = injector
        self.streams = list(streams)
        self.seed = seed
        self.length = length
        self.window = window
        self.windows_per_page = windows_per_page
        self._page = Recent(self._make_page, 8)

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> dict[str, NDArray[np.int64]]:
        rng = Random(f"{self.seed}:window:{index}")
        tokenizer = self.tokenizer
        input_ids = np.full(self.window, tokenizer.sep_id, dtype=np.int64)
        labels = np.full(self.window, IGNORED, dtype=np.int64)
        page = self._page(index // self.windows_per_page)
        place, further = 0, FURTHER + index * self.window
        while self.window - place > 2:
            ids, truth = _stretch(rng, page, self.window - place - 2)
            input_ids[place] = tokenizer.cls_id
            input_ids[place + 1 : place + 1 + len(ids)] = ids
            labels[place + 1 : place + 1 + len(ids)] = truth
            place += len(ids) + 2
            if self.window - place > 2:
                page = self._make_page(further)
                further += 1
        return {"input_ids": input_ids, "labels": labels}

    def page(self, index: int) -> LabelledPage:
        """Page ``index`` of the mixture."""
        rng = Random(f"{self.seed}:stream:{index}")
        draw = rng.random()
        for stream in self.streams:
            if draw < stream.rate:
                page = stream.draw(rng)
                # An ambiguous range would be lost, and be taken for prose.
                injected = not page.ambiguous and rng.random() < stream.injected
                if self.injector is not None and injected:
                    page = self.injector.into(page, index)
                # After the injection, so that the script tells nothing.
                if rng.random() < stream.traditional:
                    page = convert_page(page, rng.choice(TRADITIONAL))
                return page
            draw -= stream.rate
        if self.injector is None:
            return self.streams[-1].draw(rng)
        return self.injector.page(index)

    def _make_page(self, index: int) -> TokenPage:
        return self.tokens(self.page(index))

    def tokens(self, page: LabelledPage) -> TokenPage:
        """Ids and labels of a page; characters in ambiguous ranges are ignored."""
        labels = np.zeros(len(page.text), dtype=np.int16)
        for span in page.spans:
            labels[span.start : span.end] = self.label_ids[span.label]
        for start, end in page.ambiguous:
            labels[start:end] = IGNORED
        encoding = self.tokenizer.encode(page.text)
        return encoding.ids, token_labels(encoding, labels)
