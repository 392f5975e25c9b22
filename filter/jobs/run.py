"""A job from its first to its last step, whatever does its parts and wherever.

job = plan_run(["crawl/*.jsonl.zst"], "out", content_filter)
summary = carry_out(job, partial(run_local, work=partial(do_parts, content_filter)))
"""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filter import __version__
from filter.documents import Adds, FormatOptions, document_format
from filter.files import atomic_write
from filter.jobs.finish import Ledger
from filter.jobs.inputs import find_shards
from filter.jobs.plan import PART_CHARACTERS, PART_RECORDS, STATE, SUMMARY, Job
from filter.jobs.sidecar import Sidecar, write_description
from filter.jobs.state import claimed, read_job, written_by

if TYPE_CHECKING:
    from filter.content_filter import ContentFilter

Execute = Callable[[Ledger], None]
"""Does all parts that are not done, and tells the ledger of each."""


@dataclass(frozen=True, kw_only=True)
class JobOptions:
    """How a job reads and writes, whatever it does in between.

    Attributes:
        input_format: Format of the files; by default each by its extension.
        formats: What the formats are told.
        adds: What is added to records.
        rejects: Directory for bad records; one in `OUT/.winnow` by default.
        limit: Most pages to read.
        part_characters: Characters of records that make up a part.
        part_records: Most records in a part.
    """

    input_format: str | None = None
    formats: FormatOptions = field(default_factory=FormatOptions)
    adds: Adds = "clean"
    rejects: str | os.PathLike[str] | None = None
    limit: int | None = None
    part_characters: int = PART_CHARACTERS
    part_records: int = PART_RECORDS


def plan_run(
    patterns: Iterable[str],
    output: str | os.PathLike[str],
    content_filter: ContentFilter,
    *,
    sidecar: Sidecar | None = None,
    options: JobOptions | None = None,
) -> Job:
    """The job of running a filter over files.

    Args:
        patterns: Files, or patterns such as `crawl/**/*.jsonl.zst`.
        output: Directory for the results.
        content_filter: What the pages are filtered with.
        sidecar: Write attribute files of this kind rather than records.
        options: How files are read, and what is written.

    Raises:
        UsageError: there is nothing to read, or no place to write to.
    """
    settings = {
        "winnow": __version__,
        "engine": content_filter.engine,
        "model": content_filter.model_hash,
        "decoder": content_filter.decoder.digest,
        "task": "run",
        "threshold": content_filter.threshold,
        "keep": sorted(content_filter.keep),
    }
    return plan(
        patterns, output, settings=settings, sidecar=sidecar, options=options or JobOptions()
    )


def plan(
    patterns: Iterable[str],
    output: str | os.PathLike[str],
    *,
    settings: Mapping[str, Any],
    options: JobOptions,
    sidecar: Sidecar | None = None,
) -> Job:
    """A job over files.

    Args:
        patterns: Files, or patterns.
        output: Directory for the results.
        settings: Whatever else the results depend on.
        options: How files are read, and what is written.
        sidecar: What attribute files hold, if those are to be written.
    """
    directory = Path(os.path.abspath(output))
    told = asdict(options.formats)
    shards = find_shards(
        patterns,
        lambda path: document_format(path, options.input_format, **told),
        results=directory if sidecar is None else directory / sidecar.directory,
        rejects=None if options.rejects is None else Path(os.path.abspath(options.rejects)),
        written=written_by(directory, read_job(directory)),
        adds=options.adds,
        sidecar=sidecar is not None,
    )
    return Job(
        output=directory,
        shards=shards,
        settings={**settings, "input_format": options.input_format, **told},
        rejects=Path(os.path.abspath(options.rejects or directory / STATE / "rejects")),
        adds=options.adds,
        sidecar=sidecar,
        limit=options.limit,
        part_characters=options.part_characters,
        part_records=options.part_records,
    )


def carry_out(
    job: Job,
    execute: Execute,
    *,
    force: bool = False,
    watch: Callable[[Ledger], None] | None = None,
) -> dict[str, Any]:
    """Begins a job, or goes on with it, to its end.

    Args:
        job: The job.
        execute: Does its parts.
        force: Begin anew, whatever there is in its output directory.
        watch: Called with the job's books whenever something was done.

    Returns:
        The summary, as it stands in `summary.json`.

    Raises:
        WinnowError: it cannot be begun, or was stopped; what is done stays done.
    """
    begin = time.monotonic()
    with claimed(job, force=force):
        if job.sidecar is not None:
            write_description(job.results, job.sidecar, job.settings)
        ledger = Ledger(job, watch=watch)
        if watch is not None:
            watch(ledger)
        execute(ledger)
        shutil.rmtree(job.state / "parts", ignore_errors=True)
        summary = summarise(ledger, seconds=time.monotonic() - begin)
        with atomic_write(job.output / SUMMARY) as stream:
            shown = json.dumps(summary, ensure_ascii=False, indent=1) + "\n"
            # The directory of rejects need not be UTF-8; what is none becomes an escape of JSON's.
            stream.write(shown.encode("utf-8", "backslashreplace"))
    return summary


def summarise(ledger: Ledger, *, seconds: float) -> dict[str, Any]:
    """What came of a job.

    Args:
        ledger: Its books.
        seconds: That this process took for it.

    Returns:
        Counts over the whole job; `seconds` and the rate are those of this process alone, which
        may have found some of it done.
    """
    total, now = ledger.total, ledger.now
    settings = ledger.job.record()["settings"]
    characters_cut = total.cut.total()

    def share(characters: int) -> float:
        return round(characters / total.characters, 6) if total.characters else 0.0

    return {
        "pages": total.pages,
        "characters": total.characters,
        "characters_cut": characters_cut,
        "share_cut": share(characters_cut),
        "labels": {
            label: {"spans": total.spans[label], "characters": cut, "share": share(cut)}
            for label, cut in sorted(total.cut.items())
        },
        "hidden_characters": total.hidden,
        "rejects": total.rejects,
        "shards": len(ledger.done),
        "input_bytes": total.input_bytes,
        "engine": settings["engine"],
        "model": settings["model"],
        "settings": settings,
        "seconds": round(seconds, 3),
        "pages_filtered_now": now.pages,
        "characters_per_second": round(now.characters / seconds, 1) if seconds else 0.0,
    }
