"""Pages worth labelling next: those that the model is least sure of, from as many sites as can be.

How unsure the model is of a character is the chance that the cut is wrong there. A threshold other
than one half says that one kind of error weighs more than the other, so log odds are taken from the
threshold: `q = sigmoid(logit(p) - logit(threshold))`, and the character counts `min(q, 1 - q)`, the
expected number of wrong decisions under these weights (least confidence, summed over a sequence:
Settles, 2009, "Active Learning Literature Survey", section 3.1; Settles and Craven, 2008). A sum
over the page would always choose the longest page and a mean the shortest, so it is the sum over
the page's worst passage of `PASSAGE` characters: a long page may have its say in any of its
passages, and a page of one line cannot make up for its length.

Pages are then dealt out to their sources as seats are to parties by the method of D'Hondt: the next
page is that with the highest score divided by one more than its source has already. A page whose
passage is much like one that was chosen is passed over. What is read is a stream: a pool of
candidates is kept, some times as large as what is asked for.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from filter.content_filter import ContentFilter
from filter.documents import Document
from filter.language import han_share
from filter.lines import Lines
from filter.spans import Span
from training.calibration.scoring import spam_probability
from training.corpus.formats.label_studio import task
from training.corpus.records import LabelledPage

PASSAGE = 300
"""Characters, blanks aside, over which uncertainty is summed."""

POOL = 10
"""Candidates that are kept for each page asked for."""

SHINGLE = 4
SIMILAR = 0.5
"""Share of the shingles of two passages that are common to both from which one is enough."""

_CLIP = 1e-6


@dataclass(frozen=True, slots=True)
class Candidate:
    """A page that may be worth labelling.

    Attributes:
        page: The page; its spans are what the model found.
        uncertainty: Expected wrong characters in its worst passage.
        start: Where that passage begins in the page.
        end: Where it ends.
        order: Number of the page in what was read.
    """

    page: LabelledPage
    uncertainty: float
    start: int
    end: int
    order: int

    @property
    def passage(self) -> str:
        """The passage that the model is least sure of."""
        return self.page.text[self.start : self.end]


def select(
    pages: Iterable[LabelledPage],
    content_filter: ContentFilter,
    count: int,
    *,
    max_characters: int | None = None,
) -> list[Candidate]:
    """The pages that are most worth labelling, the most uncertain first.

    The same pages in the same order give the same answer; each passage is chosen once.

    Args:
        pages: Pages without labels, any number of them.
        content_filter: The model that is to be made better.
        count: How many to choose; fewer where there are fewer.
        max_characters: Cut longer pages to so many characters around the passage; `page_start` in
            their `meta` says where the cut begins.
    """
    pool: dict[bytes, Candidate] = {}
    for candidate in candidates(pages, content_filter):
        key = hashlib.blake2b(candidate.passage.encode("utf-8"), digest_size=16).digest()
        held = pool.get(key)
        if held is None or candidate.uncertainty > held.uncertainty:
            pool[key] = candidate
        if len(pool) >= 2 * POOL * count:
            kept = sorted(pool.items(), key=lambda item: _rank(item[1]))
            pool = dict(_dealt(kept, POOL * count))
    chosen = sorted(deal(sorted(pool.values(), key=_rank), count), key=_rank)
    if max_characters is None:
        return chosen
    return [cut_out(candidate, max_characters) for candidate in chosen]


def unlabelled(document: Document, text_key: str, file: str) -> LabelledPage:
    """A page as it was read; its source is the record's own, or else the file.

    Fields of the record go along in `meta`, but for spans: those are for the model to find.
    """
    record = document.record or {}
    left_out = (text_key, "id", "source", "kind", "spans", "ambiguous", "winnow")
    return LabelledPage(
        id=str(document.id),
        text=document.text,
        spans=[],
        source=str(record.get("source") or file),
        kind=str(record.get("kind") or ""),
        meta={key: value for key, value in record.items() if key not in left_out},
        labelled=False,
    )


def candidates(pages: Iterable[LabelledPage], content_filter: ContentFilter) -> Iterator[Candidate]:
    """What the model makes of each page, those left out that it would pass as not Chinese."""
    read: list[LabelledPage] = []

    def texts() -> Iterator[str]:
        for page in pages:
            read.append(page)  # read a little ahead of what comes back
            yield page.text

    scored = content_filter.pipe_with_probabilities(texts())
    for order, (filtered, probabilities) in enumerate(scored):
        page = read.pop(0)
        if not page.text.strip() or han_share(page.text) < content_filter.decoder.min_han:
            continue
        spans = list(filtered.removed)
        page = replace(page, text=filtered.text, spans=spans, ambiguous=[], labelled=False)
        doubt = doubts(spam_probability(probabilities), content_filter.threshold)
        uncertainty, start, end = worst_passage(page.text, doubt)
        yield Candidate(page, uncertainty, start, end, order)


def doubts(p_spam: NDArray[np.float32], threshold: float) -> NDArray[np.float64]:
    """(n,) the chance, 0 to one half, that the decision on a character is wrong."""
    p = np.clip(p_spam.astype(np.float64), _CLIP, 1 - _CLIP)
    t = min(max(threshold, _CLIP), 1 - _CLIP)
    q = 1 / (1 + (1 - p) / p * (t / (1 - t)))
    return np.asarray(np.minimum(q, 1 - q))


def worst_passage(text: str, doubt: NDArray[np.float64]) -> tuple[float, int, int]:
    """The stretch of `PASSAGE` characters, blanks aside, with the largest sum of doubts.

    Returns:
        The sum, and where the stretch begins and ends in the text.
    """
    solid = Lines(text).solid
    total = np.concatenate(([0.0], np.cumsum(doubt[solid])))
    size = min(PASSAGE, len(solid))
    sums = total[size:] - total[: len(total) - size]
    first = int(sums.argmax())
    return float(sums[first]), int(solid[first]), int(solid[first + size - 1]) + 1


def deal(ranked: Sequence[Candidate], count: int) -> list[Candidate]:
    """Deal pages out to their sources, near-copies passed over.

    Args:
        ranked: Candidates, the most uncertain first.
        count: How many to choose.
    """
    waiting: dict[str, list[Candidate]] = {}
    for candidate in reversed(ranked):
        waiting.setdefault(candidate.page.source, []).append(candidate)
    taken: Counter[str] = Counter()
    chosen: list[Candidate] = []
    seen: list[set[str]] = []
    while len(chosen) < count and waiting:
        best = min(
            waiting, key=lambda name: (-waiting[name][-1].uncertainty / (1 + taken[name]), name)
        )
        candidate = waiting[best].pop()
        if not waiting[best]:
            del waiting[best]
        shingles = _shingles(candidate.passage)
        if any(_similar(shingles, other) for other in seen):
            continue
        chosen.append(candidate)
        seen.append(shingles)
        taken[best] += 1
    return chosen


def cut_out(candidate: Candidate, max_characters: int) -> Candidate:
    """A candidate whose page is cut around its passage; spans that are cut through are clipped."""
    page = candidate.page
    if len(page.text) <= max_characters:
        return candidate
    middle = (candidate.start + candidate.end) // 2
    start = min(max(0, middle - max_characters // 2), len(page.text) - max_characters)
    end = start + max_characters
    spans = [
        Span(max(s.start, start) - start, min(s.end, end) - start, s.label, s.score)
        for s in page.spans
        if s.start < end and start < s.end
    ]
    text = page.text[start:end]
    spans = [replace(span, text=text[span.start : span.end]) for span in spans]
    meta = {**page.meta, "page_start": start}
    return replace(
        candidate,
        page=replace(page, text=text, spans=spans, meta=meta),
        start=max(0, candidate.start - start),
        end=min(max_characters, candidate.end - start),
    )


def as_task(candidate: Candidate, content_filter: ContentFilter) -> dict[str, Any]:
    """A candidate as a Label Studio task, pre-annotated by the model."""
    meta = {
        **candidate.page.meta,
        "uncertainty": round(candidate.uncertainty, 4),
        "passage": [candidate.start, candidate.end],
    }
    made = task(replace(candidate.page, meta=meta), predicted_by=content_filter.model_hash)
    made["predictions"][0]["score"] = round(candidate.uncertainty, 4)
    return made


def as_record(candidate: Candidate, content_filter: ContentFilter) -> dict[str, Any]:
    """A candidate as a line of JSONL: the spans are what the model found, to be corrected."""
    page = candidate.page
    return {
        **page.meta,  # may have a `text` of its own, where the page is under another key
        "id": page.id,
        "text": page.text,
        "spans": [span.as_dict() for span in page.spans],
        "source": page.source,
        "kind": page.kind,
        "uncertainty": round(candidate.uncertainty, 4),
        "passage": [candidate.start, candidate.end],
        "model": content_filter.model_hash,
    }


def _rank(candidate: Candidate) -> tuple[float, int]:
    return -candidate.uncertainty, candidate.order


def _dealt(
    ranked: Sequence[tuple[bytes, Candidate]], count: int
) -> Iterator[tuple[bytes, Candidate]]:
    """The candidates that come first when pages are dealt out, near-copies and all."""
    taken: Counter[str] = Counter()
    shares = []
    for key, candidate in ranked:
        source = candidate.page.source
        shares.append((candidate.uncertainty / (1 + taken[source]), key, candidate))
        taken[source] += 1
    shares.sort(key=lambda item: (-item[0], item[2].order))
    return ((key, candidate) for _, key, candidate in shares[:count])


def _shingles(passage: str) -> set[str]:
    solid = "".join(passage.split())
    return {solid[i : i + SHINGLE] for i in range(max(1, len(solid) - SHINGLE + 1))}


def _similar(first: set[str], second: set[str]) -> bool:
    common = len(first & second)
    return common >= SIMILAR * (len(first) + len(second) - common)
