"""What is wrong with a labelled corpus, and what looks as if it were.

Files that are checked together are taken for splits of one corpus: a page, a copy of it or a site
that is on two sides makes every figure too good. Problems are what must be put right before a model
is trained or measured; warnings are what an annotator should look at.
"""

from __future__ import annotations

import itertools
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from filter.errors import nearest
from filter.labels import LABELS
from filter.spans import Span
from training.corpus.duplicates import THRESHOLD, find_copies
from training.corpus.records import CorpusError, LabelledPage, read_records

FEW_SPANS = 10
"""Spans of a label below which nothing can be learned or measured."""

OFTEN = 3
"""How often a string must be labelled, and left unlabelled, to be inconsistent."""

MOST_STRINGS = 300
"""Most labelled strings that are looked for elsewhere, the commonest first."""

_RARE = 0.05


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was found.

    Attributes:
        check: Which check found it.
        message: What it is and where.
        problem: Whether it must be put right, or may be meant.
    """

    check: str
    message: str
    problem: bool = True


@dataclass
class _Corpus:
    """All pages of all files, and where each is from.

    Attributes:
        pages: The pages that can be read.
        files: The file of each.
        faults: What is wrong with the other records.
    """

    pages: list[LabelledPage] = field(default_factory=list)
    files: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)

    def at(self, number: int) -> str:
        """How to name a page."""
        return f"{self.files[number]} {self.pages[number].id!r}"


def check_corpus(
    paths: Sequence[str], *, text_key: str = "text", threshold: float = THRESHOLD
) -> dict[str, Any]:
    """Checks files as splits of one corpus.

    Args:
        paths: The files.
        text_key: The key that holds the page.
        threshold: Similarity from which on two pages are near-duplicates.

    Returns:
        `pages` and `files` as counts, and the lists `problems` and `warnings` of objects with
        `check` and `message`.

    Raises:
        WinnowError: a file cannot be read at all.
    """
    corpus = _Corpus()
    for path in paths:
        for _, page in read_records(path, text_key=text_key):
            if isinstance(page, CorpusError):
                corpus.faults.append(str(page))
            else:
                corpus.pages.append(page)
                corpus.files.append(path)
    findings = list(
        itertools.chain(
            (Finding("broken record", fault) for fault in corpus.faults),
            _empty_files(corpus, paths),
            _empty_pages(corpus),
            _repeated_ids(corpus),
            _copies(corpus, threshold),
            _sources(corpus),
            _label_names(corpus),
            _few_spans(corpus, paths),
            _blank_edges(corpus),
            _inconsistent(corpus),
        )
    )
    return {
        "files": len(paths),
        "pages": len(corpus.pages),
        "problems": [_as_dict(finding) for finding in findings if finding.problem],
        "warnings": [_as_dict(finding) for finding in findings if not finding.problem],
    }


def report_lines(result: dict[str, Any], *, most: int = 10) -> Iterator[str]:
    """The result as lines to read.

    Args:
        result: What `check_corpus` gave.
        most: Most findings of one check that are listed.
    """
    for kind in ("problems", "warnings"):
        for check, found in itertools.groupby(result[kind], key=lambda finding: finding["check"]):
            messages = [finding["message"] for finding in found]
            yield f"{kind.removesuffix('s')}: {check}: {len(messages):,}"
            yield from (f"  {message}" for message in messages[:most])
            if len(messages) > most:
                yield f"  and {len(messages) - most:,} more (--format json lists them all)"
    yield (
        f"{result['pages']:,} pages in {result['files']:,} file{'s' * (result['files'] != 1)}: "
        f"{len(result['problems']):,} problems, {len(result['warnings']):,} warnings"
    )


def _as_dict(finding: Finding) -> dict[str, str]:
    return {"check": finding.check, "message": finding.message}


def _empty_files(corpus: _Corpus, paths: Sequence[str]) -> Iterator[Finding]:
    for path in paths:
        if path not in corpus.files:
            message = f"{path}: holds no page; winnow convert makes a corpus of an export"
            yield Finding("no pages", message)


def _empty_pages(corpus: _Corpus) -> Iterator[Finding]:
    for number, page in enumerate(corpus.pages):
        if not page.text.strip():
            yield Finding("empty page", f"{corpus.at(number)}: has no character but blanks")


def _repeated_ids(corpus: _Corpus) -> Iterator[Finding]:
    first: dict[str, int] = {}
    for number, page in enumerate(corpus.pages):
        earlier = first.setdefault(page.id, number)
        if earlier != number and page.text != corpus.pages[earlier].text:
            message = f"{corpus.at(number)}: has the id of another page, {corpus.at(earlier)}"
            yield Finding("repeated id", message, problem=False)


def _copies(corpus: _Corpus, threshold: float) -> list[Finding]:
    """Pages that are there twice, those on two sides first."""
    findings = []
    for copy in find_copies([page.text for page in corpus.pages], threshold=threshold):
        across = corpus.files[copy.first] != corpus.files[copy.second]
        exact = copy.similarity == 1 and _same(corpus, copy.first, copy.second)
        kind = "duplicate" if exact else "near-duplicate"
        message = f"{corpus.at(copy.second)}: {'copy' if exact else 'nearly a copy'} of "
        message += corpus.at(copy.first)
        if not exact:
            message += f" (similarity {copy.similarity:.2f})"
        elif corpus.pages[copy.first].spans != corpus.pages[copy.second].spans:
            message += ", with other spans"
        check = f"{kind} across files" if across else f"{kind} within a file"
        findings.append(Finding(check, message, problem=across))
    return sorted(findings, key=lambda finding: (not finding.problem, finding.check))


def _same(corpus: _Corpus, first: int, second: int) -> bool:
    a, b = corpus.pages[first].text, corpus.pages[second].text
    return "".join(a.split()) == "".join(b.split())


def _sources(corpus: _Corpus) -> Iterator[Finding]:
    files: dict[str, Counter[str]] = defaultdict(Counter)
    for page, file in zip(corpus.pages, corpus.files, strict=True):
        if page.source:
            files[page.source][file] += 1
    for source, counts in files.items():
        if len(counts) > 1:
            where = ", ".join(
                f"{count:,} page{'s' * (count != 1)} in {file}" for file, count in counts.items()
            )
            yield Finding("source in several files", f"{source!r}: {where}")


def _label_names(corpus: _Corpus) -> Iterator[Finding]:
    """Labels that look like a misspelling of another."""
    counts = Counter(span.label for page in corpus.pages for span in page.spans)
    own = sum(counts[label] for label in LABELS) > counts.total() / 2
    for label, count in sorted(counts.items()):
        common = [
            other
            for other, times in counts.items()
            if other != label and count <= max(1, times * _RARE)
        ]
        if own and label not in LABELS:
            common += [other for other in LABELS if other not in common]
        meant = _meant(label, common)
        if meant is not None:
            message = f"{label!r} ({count:,} span{'s' * (count != 1)}): did you mean {meant!r}?"
            yield Finding("label that looks misspelt", message)


def _meant(label: str, others: Iterable[str]) -> str | None:
    """The label that another is a slip of: but for a number, `ad1` and `ad2` are two labels."""
    spoken = {other: _plain(other) for other in others}
    for other, plain in spoken.items():
        if plain == _plain(label) and re.sub(r"\d", "", label) != re.sub(r"\d", "", other):
            return other
    without_digits = re.sub(r"\d", "", label)
    candidates = [other for other in spoken if re.sub(r"\d", "", other) != without_digits]
    return nearest(label, candidates) if len(label) > 3 else None


def _plain(label: str) -> str:
    return re.sub(r"[\W_]", "", label).casefold()


def _few_spans(corpus: _Corpus, paths: Sequence[str]) -> Iterator[Finding]:
    counts: dict[str, Counter[str]] = {path: Counter() for path in paths}
    for page, file in zip(corpus.pages, corpus.files, strict=True):
        counts[file].update(span.label for span in page.spans)
    for label in sorted(set().union(*counts.values())):
        for path in dict.fromkeys(paths):
            count = counts[path][label]
            if count < FEW_SPANS and counts[path].total():
                message = f"{path}: {count} span{'s' * (count != 1)} of {label!r}"
                yield Finding("label with few spans", message, problem=False)


def _blank_edges(corpus: _Corpus) -> Iterator[Finding]:
    """Spans that begin or end with blanks, but for lines that are whole with their line breaks."""
    for number, page in enumerate(corpus.pages):
        for span in page.spans:
            text = page.text[span.start : span.end]
            at_line = span.start == 0 or page.text[span.start - 1] in "\r\n"
            inner = text.rstrip("\r\n") if at_line else text
            if inner != inner.strip() or not inner:
                message = f"{corpus.at(number)}: {span.start} to {span.end}, {text[:40]!r}"
                yield Finding("span that begins or ends with blanks", message, problem=False)


def _inconsistent(corpus: _Corpus) -> Iterator[Finding]:
    """Strings that are labelled here and left unlabelled there."""
    labelled = Counter(
        page.text[span.start : span.end] for page in corpus.pages for span in page.spans
    )
    strings = [
        text
        for text, count in labelled.most_common()
        if count >= OFTEN and 2 <= len(text.strip()) <= 40
    ][:MOST_STRINGS]
    unlabelled: Counter[str] = Counter()
    examples: dict[str, int] = {}
    for number, page in enumerate(corpus.pages):
        if not page.labelled:
            continue
        for string in strings:
            if string in page.text:
                count = _outside(string, page.text, page.spans)
                unlabelled[string] += count
                if count:
                    examples.setdefault(string, number)
    for string in strings:
        if unlabelled[string] >= max(OFTEN, labelled[string] // 4):
            message = (
                f"{string!r}: labelled {labelled[string]:,} times, unlabelled "
                f"{unlabelled[string]:,} times, as in {corpus.at(examples[string])}"
            )
            yield Finding("string labelled and unlabelled", message, problem=False)


def _outside(string: str, text: str, spans: Sequence[Span]) -> int:
    """How often a string occurs where no span touches it."""
    count, position = 0, text.find(string)
    while position >= 0:
        end = position + len(string)
        count += not any(span.start < end and position < span.end for span in spans)
        position = text.find(string, end)
    return count
