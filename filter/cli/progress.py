"""What is seen of a run while it lasts and when it is over.

The bar's library costs as long to import as a short page to clean, so a bar waits for a second.
Where nobody watches, in a log, a job that lasts for days says a line now and then.
"""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from types import TracebackType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from filter.cli.pages import Filtered
    from filter.jobs.finish import Ledger

DELAY = 1.0
"""Seconds before a bar is shown."""

LINE_SECONDS = 30.0
"""Seconds between two lines about a job where no bar is shown."""

BAR_SECONDS = 0.1
"""Seconds between two changes of a job's bar."""


@dataclass
class Summary:
    """Counts over the pages of a run; printed, it is one line."""

    begin: float = field(default_factory=time.monotonic)
    pages: int = 0
    characters: int = 0
    cut: int = 0
    hidden: int = 0
    labels: Counter[str] = field(default_factory=Counter)
    made_by: str = ""

    def add(self, filtered: Filtered) -> None:
        """Counts one page."""
        page = filtered.page
        self.pages += 1
        self.characters += len(page.text)
        self.cut += sum(span.end - span.start for span in page.removed)
        self.hidden += filtered.document.hidden
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
        hidden = f"; {self.hidden:,} hidden by markup" if self.hidden else ""
        return f"{self.rate}; {spans}{hidden}" + (self.made_by and f"; {self.made_by}")


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


class JobProgress:
    """Shows how far a job is: a bar on a terminal, a line now and then elsewhere.

    It is called with the job's books whenever something was done.
    """

    def __init__(self, *, quiet: bool = False) -> None:
        self._quiet = quiet
        self._on_terminal = sys.stderr.isatty()
        self._begin = self._shown = time.monotonic()
        self._bar: Any = None

    def __enter__(self) -> JobProgress:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def __call__(self, ledger: Ledger) -> None:
        """Shows the state of a job, if it is time to."""
        now = time.monotonic()
        if self._quiet or now - self._shown < (BAR_SECONDS if self._on_terminal else LINE_SECONDS):
            return
        self._shown = now
        seconds = now - self._begin
        if not self._on_terminal:
            print(f"winnow: {job_line(ledger, seconds)}", file=sys.stderr, flush=True)
        elif seconds >= DELAY:
            if self._bar is None:
                self._bar = _bar()
            self._bar.update(
                self._bar.task_ids[0],
                completed=job_share(ledger) or 0.0,
                description=f"{_rate(ledger, seconds)}{_left(ledger, seconds)}",
            )


def job_line(ledger: Ledger, seconds: float) -> str:
    """How far a job is, how fast it goes and how long it will take, in one line.

    Args:
        ledger: The job's books.
        seconds: Since this process took it up.
    """
    share = job_share(ledger)
    done = "" if share is None else f"{share:.1%} done, "
    return f"{done}{_rate(ledger, seconds)}{_left(ledger, seconds)}"


def job_share(ledger: Ledger) -> float | None:
    """The share of a job that is done, 0 to 1, by bytes of input; None where that is not known."""
    if ledger.job.limit is not None:
        pages = ledger.total.pages + ledger.so_far.pages - ledger.now.pages
        return min(1.0, pages / max(1, ledger.job.limit))
    return ledger.input_done / ledger.input_bytes if ledger.input_bytes else None


def job_summary(summary: dict[str, Any]) -> str:
    """The summary of a job in one line."""
    shards, rejects, hidden = (summary[key] for key in ("shards", "rejects", "hidden_characters"))
    speed = summary["characters_per_second"]
    kinds = ", ".join(f"{label} {of['share']:.2%}" for label, of in summary["labels"].items())
    said = [
        f"{_counted(shards, 'shard')}, {_counted(summary['pages'], 'page')},"
        f" {_counted(summary['characters'], 'character')}, {speed:,.0f} a second",
        f"{summary['share_cut']:.2%} cut" + (kinds and f" ({kinds})"),
        _counted(hidden, "hidden character") * bool(hidden),
        _counted(rejects, "bad record") * bool(rejects),
        f"{summary['engine']}, model {summary['model']}",
    ]
    return "; ".join(part for part in said if part)


def _counted(number: int, what: str) -> str:
    return f"{number:,} {what}{'s' * (number != 1)}"


def _rate(ledger: Ledger, seconds: float) -> str:
    """Pages of the whole job, and how fast this process goes."""
    seen = ledger.so_far
    pages = ledger.total.pages + seen.pages - ledger.now.pages
    speed = seen.characters / max(seconds, 0.001)
    return f"{_counted(pages, 'page')}, {speed:,.0f} characters a second"


def _left(ledger: Ledger, seconds: float) -> str:
    """How long it will take, from how long what was done now took."""
    share = job_share(ledger)
    before = (ledger.total.input_bytes - ledger.now.input_bytes) / max(1, ledger.input_bytes)
    if ledger.job.limit is not None:
        before = (ledger.total.pages - ledger.now.pages) / max(1, ledger.job.limit)
    if share is None or share <= before:
        return ""
    return f", {_duration(seconds * (1 - share) / (share - before))} left"


def _duration(seconds: float) -> str:
    """``45 s``, ``12 min``, ``3 h 05 min``, ``2 d 4 h``."""
    minutes = round(seconds / 60)
    if seconds < 90:
        return f"{seconds:.0f} s"
    if minutes < 60:
        return f"{minutes} min"
    if minutes < 48 * 60:
        return f"{minutes // 60} h {minutes % 60:02} min"
    return f"{minutes // 1440} d {minutes % 1440 // 60} h"


def _bar() -> Any:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn

    columns = (BarColumn(), TaskProgressColumn(), TextColumn("{task.description}"))
    bar = Progress(*columns, console=Console(stderr=True), transient=True)
    bar.add_task("", total=1.0)
    bar.start()
    return bar
