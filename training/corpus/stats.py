"""What is in a labelled corpus: pages, characters, spans, and how they spread.

Blanks and ambiguous ranges count neither way, as in all of the project's figures.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from rich.table import Table

from training.corpus.arrays import ignored_mask, span_ids
from training.corpus.records import LabelledPage

QUANTILES = (10, 50, 90)


@dataclass
class Tally:
    """Counts over pages.

    Attributes:
        pages: Pages.
        clean_pages: Those of them without a span.
        unlabelled_pages: Those of them that nobody labelled: plain prose.
        characters: Characters that count.
        spam: Characters that count and lie under a span, by label.
        lengths: Lengths of the spans in characters of the page, by label.
    """

    pages: int = 0
    clean_pages: int = 0
    unlabelled_pages: int = 0
    characters: int = 0
    spam: dict[str, int] = field(default_factory=dict)
    lengths: dict[str, list[int]] = field(default_factory=dict)

    def add(self, page: LabelledPage) -> None:
        """Counts a page."""
        counted = ~ignored_mask(page)
        self.pages += 1
        self.clean_pages += not page.spans
        self.unlabelled_pages += not page.labelled
        self.characters += int(counted.sum())
        # (spans + 1,) characters that count under each span, prose first.
        under = np.bincount(span_ids(page)[counted], minlength=len(page.spans) + 1)
        for span, count in zip(page.spans, under[1:].tolist(), strict=True):
            self.spam[span.label] = self.spam.get(span.label, 0) + count
            self.lengths.setdefault(span.label, []).append(span.end - span.start)

    def as_dict(self) -> dict[str, Any]:
        """The counts with what follows from them, ready for JSON."""
        spam = sum(self.spam.values())
        return {
            "pages": self.pages,
            "pages_without_spam": self.clean_pages,
            "unlabelled_pages": self.unlabelled_pages,
            "characters": self.characters,
            "spam_characters": spam,
            "spam_share": round(spam / self.characters, 6) if self.characters else 0.0,
            "spans": sum(map(len, self.lengths.values())),
            "labels": {label: self._label(label) for label in sorted(self.spam)},
        }

    def _label(self, label: str) -> dict[str, Any]:
        lengths = self.lengths[label]
        quantiles = np.percentile(lengths, QUANTILES, method="inverted_cdf").tolist()
        return {
            "spans": len(lengths),
            "characters": self.spam[label],
            "length": {f"p{q}": int(n) for q, n in zip(QUANTILES, quantiles, strict=True)},
        }


def corpus_stats(pages: Iterable[LabelledPage]) -> dict[str, Any]:
    """Counts over a corpus, and over its pages by source and by kind."""
    whole = Tally()
    groups: dict[str, dict[str, Tally]] = {"sources": {}, "kinds": {}}
    for page in pages:
        whole.add(page)
        for group, name in (("sources", page.source), ("kinds", page.kind)):
            groups[group].setdefault(name, Tally()).add(page)
    return {
        **whole.as_dict(),
        **{
            group: {name: tallies[name].as_dict() for name in sorted(tallies)}
            for group, tallies in groups.items()
        },
    }


def stats_tables(stats: dict[str, Any], *, most: int = 20) -> Iterator[Table]:
    """The counts as tables for a terminal.

    Args:
        stats: What `corpus_stats` gave.
        most: Most rows of a table of sources or kinds, the largest first.
    """
    unlabelled = stats["unlabelled_pages"] and f" ({stats['unlabelled_pages']:,} unlabelled)"
    title = f"{stats['pages']:,} pages{unlabelled or ''}, {stats['spans']:,} spans"
    table = Table(title=title)
    for column in ("label", "spans", "characters", "share", *(f"p{q}" for q in QUANTILES)):
        table.add_column(column, justify="left" if column == "label" else "right")
    characters = stats["characters"] or 1
    for label, row in stats["labels"].items():
        table.add_row(
            label,
            f"{row['spans']:,}",
            f"{row['characters']:,}",
            f"{row['characters'] / characters:.2%}",
            *(str(length) for length in row["length"].values()),
        )
    table.add_section()
    spam = stats["spam_characters"]
    table.add_row("all", f"{stats['spans']:,}", f"{spam:,}", f"{stats['spam_share']:.2%}")
    table.add_row("prose", "", f"{stats['characters'] - spam:,}", f"{1 - stats['spam_share']:.2%}")
    yield table
    for group in ("sources", "kinds"):
        if set(stats[group]) - {""}:
            yield _group_table(group, stats[group], most)


def _group_table(group: str, rows: dict[str, Any], most: int) -> Table:
    table = Table(title=f"{len(rows):,} {group if len(rows) != 1 else group.removesuffix('s')}")
    table.add_column(group.removesuffix("s"), overflow="fold")
    for column in ("pages", "without spam", "characters", "spans", "spam"):
        table.add_column(column, justify="right")
    ordered = sorted(rows.items(), key=lambda item: (-item[1]["pages"], item[0]))
    for name, row in ordered[:most]:
        table.add_row(
            name or "(none)",
            f"{row['pages']:,}",
            f"{row['pages_without_spam']:,}",
            f"{row['characters']:,}",
            f"{row['spans']:,}",
            f"{row['spam_share']:.2%}",
        )
    if len(ordered) > most:
        table.add_row(f"{len(ordered) - most:,} more", "", "", "", "", "")
    return table
