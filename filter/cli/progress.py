"""What is seen of a run while it lasts and when it is over.

The bar's library costs as long to import as a short page to clean, so a bar waits for a second.
"""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from filter.cli.pages import Filtered

DELAY = 1.0
"""Seconds before a bar is shown."""


@dataclass
class Summary:
    """Counts over the pages of a run; printed, it is one line."""

    begin: float = field(default_factory=time.monotonic)
    pages: int = 0
    characters: int = 0
    cut: int = 0
    labels: Counter[str] = field(default_factory=Counter)
    made_by: str = ""

    def add(self, filtered: Filtered) -> None:
        """Counts one page."""
        page = filtered.page
        self.pages += 1
        self.characters += len(page.text)
        self.cut += sum(span.end - span.start for span in page.removed)
        self.labels.update(span.label for span in page.removed)
        self.made_by = f"{page.engine}, model {page.model_hash}"

    @property
    def rate(self) -> str:
        """How much was done, and how fast."""
        speed = self.characters / (time.monotonic() - self.begin)
        pages = f"{self.pages:,} page{'s' * (self.pages != 1)}"
        return f"{pages}, {self.characters:,} characters, {speed:,.0f} a second"

    def __str__(self) -> str:
        kinds = ", ".join(f"{label} {count:,}" for label, count in self.labels.most_common())
        spans = f"{self.cut:,} cut in {self.labels.total():,} spans" + (kinds and f" ({kinds})")
        return f"{self.rate}; {spans}" + (self.made_by and f"; {self.made_by}")


def watched(
    pages: Iterable[Filtered], summary: Summary, *, output: str | None, quiet: bool
) -> Iterator[Filtered]:
    """The pages as they are, counted, with a progress bar if someone can see it.

    Args:
        pages: Filtered pages.
        summary: Where they are counted.
        output: Where they are written; results on a terminal leave no room for a bar.
        quiet: Show nothing.
    """
    busy = output in (None, "-") and sys.stdout.isatty()
    if quiet or busy or not sys.stderr.isatty():
        for filtered in pages:
            summary.add(filtered)
            yield filtered
        return
    iterator = iter(pages)
    for filtered in iterator:
        summary.add(filtered)
        yield filtered
        if time.monotonic() - summary.begin > DELAY:
            break
    else:
        return
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(summary.rate)
        for filtered in iterator:
            summary.add(filtered)
            progress.update(task, description=summary.rate)
            yield filtered
