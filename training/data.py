"""Training windows: sample ``i`` is a function of ``(seed, i)``, drawn from a mixture by rates.

A window comes from an injected page or from a labelled page (into which in-sentence families may
be injected as well, so that foreign strings stand in real layout). Reading it again gives it
again: a run resumes exactly and workers need no coordination.
"""

from __future__ import annotations

from bisect import bisect
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache
from itertools import accumulate
from random import Random
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from filter.tokenizer import Encoding, PageTokenizer
from training.corpus import LabelledPage

if TYPE_CHECKING:
    from training.injection import Injector

IGNORED = -100
"""Label of tokens that no loss is taken on: special tokens, padding, ambiguous ranges."""

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
    """

    def __init__(
        self,
        pages: Sequence[LabelledPage],
        sources: Sequence[str],
        *,
        rate: float,
        injected: float = 0.0,
    ) -> None:
        self.pages = pages
        self.rate = rate
        self.injected = injected
        sizes = Counter(sources)
        self._cumulative = list(accumulate(sizes[source] ** -0.5 for source in sources))

    def draw(self, rng: Random) -> LabelledPage:
        """A page."""
        return self.pages[bisect(self._cumulative, rng.random() * self._cumulative[-1])]


def token_labels(encoding: Encoding, labels: NDArray[np.int16]) -> NDArray[np.int16]:
    """Labels of tokens from those of characters: a token has the label of its first character."""
    return labels[encoding.starts] if len(encoding) else np.zeros(0, dtype=np.int16)


class WindowDataset:
    """Windows as ``(input_ids, attention_mask, labels)``, fixed length, by index.

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
        self._page = lru_cache(maxsize=8)(self._make_page)

    def __len__(self) -> int:
        return self.length

    def __getstate__(self) -> dict[str, Any]:
        return {key: value for key, value in self.__dict__.items() if key != "_page"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._page = lru_cache(maxsize=8)(self._make_page)

    def __getitem__(self, index: int) -> dict[str, NDArray[np.int64]]:
        ids, labels = self._page(index // self.windows_per_page)
        rng = Random(f"{self.seed}:window:{index}")
        body = self.window - 2
        start = 0
        if len(ids) > body:
            # A margin beyond both ends, so that beginnings and ends of pages are seen often.
            margin = body // 3
            start = min(max(0, rng.randint(-margin, len(ids) - body + margin)), len(ids) - body)
        return self._window(ids[start : start + body], labels[start : start + body])

    def _window(self, ids: NDArray[np.int32], labels: NDArray[np.int16]) -> dict[str, Any]:
        size = len(ids)
        sample = {
            "input_ids": np.full(self.window, self.tokenizer.pad_id, dtype=np.int64),
            "attention_mask": np.zeros(self.window, dtype=np.int64),
            "labels": np.full(self.window, IGNORED, dtype=np.int64),
        }
        sample["input_ids"][0] = self.tokenizer.cls_id
        sample["input_ids"][1 : size + 1] = ids
        sample["input_ids"][size + 1] = self.tokenizer.sep_id
        sample["attention_mask"][: size + 2] = 1
        sample["labels"][1 : size + 1] = labels
        return sample

    def _make_page(self, index: int) -> TokenPage:
        rng = Random(f"{self.seed}:stream:{index}")
        draw = rng.random()
        for stream in self.streams:
            if draw < stream.rate:
                page = stream.draw(rng)
                if self.injector is not None and rng.random() < stream.injected:
                    page = self.injector.into(page, index)
                return self.tokens(page)
            draw -= stream.rate
        if self.injector is None:
            return self.tokens(self.streams[-1].draw(rng))
        return self.tokens(self.injector.page(index))

    def tokens(self, page: LabelledPage) -> TokenPage:
        """Ids and labels of a page; characters in ambiguous ranges are ignored."""
        labels = np.zeros(len(page.text), dtype=np.int16)
        for span in page.spans:
            labels[span.start : span.end] = self.label_ids[span.label]
        for start, end in page.ambiguous:
            labels[start:end] = IGNORED
        encoding = self.tokenizer.encode(page.text)
        return encoding.ids, token_labels(encoding, labels)
