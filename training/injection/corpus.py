"""Clean prose to inject into and to cut foreign strings from.

Documents are held in memory by domain. Whole sources, and documents that hold one of some
strings, are held out for evaluation; a store serves either part.
"""

from __future__ import annotations

import json
import logging
from bisect import bisect
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from itertools import accumulate
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

from filter.errors import WinnowError
from filter.files import open_bytes
from filter.text import replace_surrogates
from training.injection.article import article

logger = logging.getLogger(__name__)

MIN_DOCUMENT = 40
"""Shorter documents make no page."""


class Prose(NamedTuple):
    """What `read_prose` reads; rows are ``(source, domain, text)``.

    Attributes:
        train: rows of the training part.
        held_out: rows of the held-out part.
        credits: who wrote them, as it stood at the ends of documents of the training part.
    """

    train: list[tuple[str, str, str]]
    held_out: list[tuple[str, str, str]]
    credits: list[str]


class ProseStore:
    """Documents with their domains, drawn by source weight."""

    def __init__(self, documents: Sequence[tuple[str, str, str]], weights: Mapping[str, float]):
        """Takes ``(source, domain, text)`` rows; weights multiply the chance of a source.

        A document counts by its length up to 2,000 characters, so that neither one-line reviews nor
        whole books crowd out the rest.
        """
        if not documents:
            raise WinnowError(
                "no prose to inject into: every document is short, held out or no article"
            )
        self.documents = documents
        chance = [weights.get(s, 1.0) * min(len(text), 2000) for s, _, text in documents]
        self._cumulative = list(accumulate(chance))
        by_domain: dict[str, list[int]] = {}
        for index, (_, domain, _) in enumerate(documents):
            by_domain.setdefault(domain, []).append(index)
        self._by_domain = {
            domain: (indices, list(accumulate(chance[i] for i in indices)))
            for domain, indices in by_domain.items()
        }

    def draw(self, rng: Random, domain: str | None = None) -> tuple[str, str]:
        """A document's ``(domain, text)``; of one domain if given and known."""
        if domain in self._by_domain:
            indices, cumulative = self._by_domain[domain]
            index = indices[bisect(cumulative, rng.random() * cumulative[-1])]
        else:
            index = bisect(self._cumulative, rng.random() * self._cumulative[-1])
        return self.documents[index][1:]

    def piece(self, rng: Random, length: int, domain: str | None = None) -> str:
        """A random stretch of about ``length`` characters on one line of a random document."""
        for _ in range(5):
            _, text = self.draw(rng, domain)
            start = rng.randrange(max(1, len(text) - length))
            piece = text[start : start + length]
            if "\n" in piece:
                piece = max(piece.split("\n"), key=len)
            piece = piece.strip()
            if len(piece) * 2 > length:
                return piece
        return piece


def read_prose(
    paths: Iterable[str | Path],
    *,
    held_out_sources: Iterable[str] = (),
    held_out_containing: Iterable[str] = (),
    limit: int | None = None,
) -> Prose:
    """Reads prose JSONL (``text``, optional ``source`` and ``domain``), plain or compressed.

    What its site added to a document is left out (`article`): taken for prose, it would teach that
    boilerplate is none.

    Args:
        paths: the files.
        held_out_sources: sources of which all documents are held out.
        held_out_containing: strings; documents with one of them are held out.
        limit: at most so many documents of each file, held-out ones among them.

    Raises:
        WinnowError: a line is no JSON object with a ``text`` that is a string.
    """
    sources, strings = set(held_out_sources), tuple(held_out_containing)
    train: list[tuple[str, str, str]] = []
    held_out: list[tuple[str, str, str]] = []
    credits: dict[str, None] = {}
    shortened = 0
    for path in paths:
        before = len(train) + len(held_out)
        for record in _records(path):
            if limit is not None and len(train) + len(held_out) - before >= limit:
                break
            text, credit = article(record["text"])
            shortened += text != record["text"].strip()
            if len(text) < MIN_DOCUMENT:
                continue
            row = (record.get("source", ""), record.get("domain", ""), text)
            if row[0] in sources or any(string in text for string in strings):
                held_out.append(row)
            else:
                train.append(row)
                if credit:
                    credits[credit] = None
    if shortened:
        logger.info("prose: what sites added was left out of %s documents", f"{shortened:,}")
    return Prose(train, held_out, list(credits))


def _records(path: str | Path) -> Iterator[dict[str, Any]]:
    """The objects of a file of prose, each with a ``text`` without lone surrogates."""
    with open_bytes(str(path)) as lines:
        for number, line in enumerate(lines, 1):
            try:
                record = json.loads(line)
                text = record["text"]
            except (ValueError, KeyError, TypeError) as error:
                raise WinnowError(
                    f"{path}:{number}: not a JSON object with a 'text' ({error})"
                ) from error
            if not isinstance(text, str):
                found = json.dumps(text, ensure_ascii=False)[:40]
                raise WinnowError(f"{path}:{number}: 'text' must be a string, not {found}")
            yield {**record, "text": replace_surrogates(text)}


def read_paragraphs(
    paths: Iterable[str | Path], *, without: Container[str] = (), shortest: int = 50
) -> list[tuple[str, str, str]]:
    """Rows as `read_prose` gives them, of the long lines that end as sentences do.

    For pages as crawled: what stands on short lines may be navigation, so it is left out.

    Args:
        paths: the files.
        without: ids of pages that are left out.
        shortest: characters of a long line.
    """
    kept = []
    for path in paths:
        for record in _records(path):
            if str(record.get("id", "")) in without:
                continue
            lines = [line.strip() for line in record["text"].split("\n")]
            lines = [line for line in lines if len(line) >= shortest and line[-1] in "。！？”"]
            text, _ = article("\n".join(lines))
            if len(text) >= MIN_DOCUMENT:
                domain = record.get("domain", "") or "industry"
                kept.append((record.get("source", ""), domain, text))
    return kept
