"""Clean prose to inject into and to cut foreign strings from.

Documents are held in memory by domain. Whole sources, and documents that hold one of some
strings, are held out for evaluation; a store serves either part.
"""

from __future__ import annotations

import json
import re
from bisect import bisect
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from itertools import accumulate
from pathlib import Path
from random import Random
from typing import Any

from filter.errors import WinnowError
from filter.files import open_bytes
from filter.text import replace_surrogates

MIN_DOCUMENT = 40
"""Shorter documents make no page."""

_SENTENCE_END = re.compile(r"[。．！？；…!?;][”’」』\"）)】]*(?:[（(]全?[文书書]?完[）)])?")

_REMNANT = 120
"""Characters up to which what follows the last sentence of a document is no part of it."""

_PICTURE_CREDIT = re.compile(
    r"[（(](?=[^（()）\n]*(?:图源|供图|資料圖|资料图|制图|图片来源|摄[）)]|攝[）)]))"
    r"[^（()）\n]{2,40}[）)]"
)
"""Whose picture it was, in brackets after a caption."""

_FURNITURE = re.compile(
    r"(?:来源|图源|作者|编辑|责编|校对|通讯员|原标题|发稿时间|撰文|供图|摄影|编审)"
    r"(?:\s*[：:|｜丨︱]|/)"
    r"|本文属于原创|此文系转载|声明：本|版权归|如有侵权|侵权请|转载请|转载，请|关注小编|[文图][/丨｜]"
    r"|点击[^。，\n]{0,6}关注"
)
"""What a site adds to an article, in the midst of it: lost line breaks have made it one with it."""

_CREDIT = re.compile(
    r"(?=.*(?:记者|编辑|校对|通讯员|来源|作者|责编|摄影|供图|综合|审核|供稿|编译|报道$|摄$))"
    r"(?!.*(?:告诉|表示|[说了从将]|获悉|认为|进行|提醒))[^，\n]{4,60}\Z"
    r"|[^\n]{0,30}(?:转载|版权|原创|授权)[^\n]{0,30}\Z"
)
"""What of the ends that are cut off names who wrote it and whose it is, and is no sentence."""

_CLINIC = re.compile(
    r"(?:哪家|哪个|那家|最好|主治|定点|专治)"
    r"(?![^，。？！\n]{0,10}[去到在上往][^，。？！\n]{0,10}医院)"
    r"[^，。？！\n]{0,10}医院(?=[？?。，\s]|\Z)"
    r"|医院[^，。？！\n]{0,6}(?:哪家|哪里|排名)|医院在哪(?!个)"
    r"|(?:治疗|治|看)[^，。？！\n]{1,10}(?:哪里|哪家)最?[好强]"
)
"""What patients' questions are made of where a clinic has written them."""


class ProseStore:
    """Documents with their domains, drawn by source weight."""

    def __init__(self, documents: Sequence[tuple[str, str, str]], weights: Mapping[str, float]):
        """Takes ``(source, domain, text)`` rows; weights multiply the chance of a source.

        A document counts by its length up to 2,000 characters, so that neither one-line reviews nor
        whole books crowd out the rest.
        """
        if not documents:
            raise WinnowError("no prose to inject into: every document is short or held out")
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
    without: Container[str] = (),
    limit: int | None = None,
) -> tuple[list[tuple[str, str, str]], list[tuple[str, str, str]]]:
    """Reads prose JSONL (``text``, optional ``source`` and ``domain``), plain or compressed.

    Args:
        paths: the files.
        held_out_sources: sources of which all documents are held out.
        held_out_containing: strings; documents with one of them are held out.
        without: ids of documents that belong to neither part.
        limit: at most so many documents of each file, held-out ones among them.

    Returns:
        ``(source, domain, text)`` rows of the training part and of the held-out part, without
        the documents that are `no_prose` and what is no part of the others (`article`).

    Raises:
        WinnowError: a line is no JSON object with a ``text`` that is a string.
    """
    sources, strings = set(held_out_sources), tuple(held_out_containing)
    train: list[tuple[str, str, str]] = []
    held_out: list[tuple[str, str, str]] = []
    for path in paths:
        before = len(train) + len(held_out)
        for record in _records(path):
            if limit is not None and len(train) + len(held_out) - before >= limit:
                break
            text = article(record["text"])
            if len(text) < MIN_DOCUMENT or str(record.get("id", "")) in without:
                continue
            if no_prose(text):
                continue
            row = (record.get("source", ""), record.get("domain", ""), text)
            out = row[0] in sources or any(string in text for string in strings)
            (held_out if out else train).append(row)
    return train, held_out


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


def article(text: str) -> str:
    """A document without what its site added at its end, and without the credits of its pictures.

    On a page these count as boilerplate; taken for prose, they teach that it is none. The end is
    what follows the last sentence, if it is short: credits, or a sentence that was cut off.
    """
    text = _PICTURE_CREDIT.sub("", text).rstrip()
    last = max((own.end() for own in _SENTENCE_END.finditer(text, len(text) // 2)), default=0)
    return text[:last] if last and len(text) - last <= _REMNANT else text


def read_credits(paths: Iterable[str | Path]) -> Iterator[str]:
    """The credits at the ends of prose documents, as sites have written them.

    Raises:
        WinnowError: as `read_prose`.
    """
    for path in paths:
        for record in _records(path):
            text = record["text"].rstrip(" \u3000\n【[（(")
            if text and text[-1] not in "。！？；…":
                credit = text[len(article(text)) :].strip()
                if _CREDIT.match(credit) and text.endswith(credit):
                    yield credit


def no_prose(text: str) -> bool:
    """Whether a document holds what is not its author's and cannot be told apart by a rule."""
    return bool(_FURNITURE.search(text) or _CLINIC.search(text))


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
    rows, _ = read_prose(paths, without=without)
    kept = []
    for source, domain, text in rows:
        lines = [line.strip() for line in text.split("\n")]
        lines = [line for line in lines if len(line) >= shortest and line[-1] in "。！？”"]
        if lines:
            kept.append((source, domain or "industry", "\n".join(lines)))
    return kept
