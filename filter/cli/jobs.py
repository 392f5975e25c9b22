"""``winnow run`` and ``winnow apply``: whole corpora, shard in, shard out, resumable."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import redirect_stdout
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from filter.cli import options
from filter.cli.pages import FilterOptions, split_labels
from filter.cli.progress import JobProgress, job_summary
from filter.documents import Adds, FormatOptions
from filter.errors import UsageError, unknown

if TYPE_CHECKING:
    from filter.content_filter import ContentFilter
    from filter.jobs.finish import Ledger
    from filter.jobs.plan import Job
    from filter.jobs.run import JobOptions

Inputs = Annotated[
    list[str],
    typer.Argument(
        metavar="FILES",
        help="What is read: files, or patterns in quotation marks, such as 'crawl/**/*.jsonl.zst'.",
    ),
]
Output = Annotated[
    str,
    typer.Option("--output", "-o", metavar="OUT", help="Directory for the results."),
]
Added = Annotated[
    str | None,
    typer.Option("--format", metavar="NAME", help="What records gain: clean (default) or spans."),
]
RejectsDirectory = Annotated[
    str | None,
    typer.Option(
        "--rejects", metavar="DIR", help="Directory of bad records. [default: OUT/.winnow/rejects]"
    ),
]
Workers = Annotated[
    int | None,
    typer.Option(
        "--workers",
        "-j",
        metavar="N",
        min=1,
        help="Processes that filter. One has all processors do the model's work, but reads and"
        " writes with one of them: from some eight processors on, several are faster, such as one"
        " for every four. Each holds the model. [default: 1]",
    ),
]
Anew = Annotated[
    bool,
    typer.Option("--force", help="Begin anew, and remove what a job has written to OUT before."),
]


def run(
    paths: Inputs,
    output: Output,
    adds: Added = None,
    sidecar: Annotated[
        bool,
        typer.Option(
            "--sidecar",
            help="Write spans beside the corpus rather than records: OUT/attributes/winnow/, as"
            " Dolma has them, from which `winnow apply` cuts at other thresholds.",
        ),
    ] = False,
    floor: Annotated[
        float | None,
        typer.Option(
            "--floor",
            metavar="P",
            help="Lowest threshold that the sidecar can be cut at; 0 for all that the model's curve"
            " has. [default: 0.1]",
        ),
    ] = None,
    model: options.Model = None,
    keep: options.Keep = None,
    threshold: options.Threshold = None,
    max_prose_loss: options.MaxProseLoss = None,
    input_format: options.InputFormat = None,
    text_key: options.TextKey = None,
    id_key: options.IdKey = None,
    extractor: options.Extractor = None,
    rejects: RejectsDirectory = None,
    limit: options.Limit = None,
    workers: Workers = None,
    threads: options.Threads = None,
    ray: Annotated[
        str | None,
        typer.Option(
            "--ray", metavar="ADDRESS", help="Run on a Ray cluster; local is this machine."
        ),
    ] = None,
    device: options.Device = None,
    engine: options.Engine = None,
    dtype: options.Dtype = None,
    batch_tokens: options.BatchTokens = None,
    force: Anew = False,
    quiet: options.Quiet = False,
) -> int:
    """Filter whole corpora: a file out for each file in.

    Results have the names of their files, with the directories below the lowest one that holds
    all of them; they appear one by one, each when it is whole. A job that was stopped, however,
    goes on where it was when the same command is given again, and ends with the same bytes. What
    it must remember lies in OUT/.winnow. OUT/summary.json has its counts.

    Bad records are left out and written to a file of their own with place and reason; the exit
    code is then 1. A file that breaks off counts as one bad record after those that can be read.
    """
    from filter.jobs.run import plan_run
    from filter.jobs.sidecar import FLOOR, Sidecar

    if sidecar and adds:
        raise UsageError("--sidecar writes no records for --format to add to; give one of them")
    if floor is not None and not sidecar:
        raise UsageError("--floor is for --sidecar")
    if floor is not None and not 0 <= floor <= 1:
        raise UsageError(f"--floor must be between 0 and 1, not {floor}")
    chosen = FilterOptions(
        model=model,
        device=device,
        engine=engine,
        dtype=dtype,
        threshold=threshold,
        max_prose_loss=max_prose_loss,
        keep=keep,
        batch_tokens=batch_tokens,
        threads=_threads(workers, threads, ray),
    )
    content_filter, picked = chosen.open()
    if picked is not None:
        content_filter, _ = replace(chosen, threshold=picked, max_prose_loss=None).open()
    lowest = FLOOR if floor is None else floor
    job = plan_run(
        paths,
        output,
        content_filter,
        sidecar=Sidecar.of(content_filter, floor=lowest) if sidecar else None,
        options=_job_options(
            adds, input_format, _format_options(text_key, id_key, extractor), rejects, limit
        ),
    )
    execute = partial(
        _execute, content_filter=content_filter, workers=workers, threads=threads, ray=ray
    )
    return _carry_out(job, execute, force=force, quiet=quiet)


def apply(
    paths: Inputs,
    attributes: Annotated[
        str,
        typer.Argument(
            metavar="ATTRIBUTES", help="What `winnow run --sidecar -o ATTRIBUTES` has made of them."
        ),
    ],
    output: Output,
    adds: Added = None,
    threshold: Annotated[
        float | None,
        typer.Option(
            "--threshold",
            metavar="P",
            help="Cut from this probability on: taken for the next one that the attributes hold,"
            " which are those of the model's curve. [default: that of the run]",
        ),
    ] = None,
    keep: Annotated[
        list[str] | None,
        typer.Option(
            "--keep",
            metavar="LABEL",
            help="Leave this kind in; repeat it, or use commas. By the label that each piece was"
            " given: where kinds mix in one piece, a run with --keep may cut a little less of it."
            " Kinds that the run itself left in stay in, exactly.",
        ),
    ] = None,
    input_format: options.InputFormat = None,
    text_key: options.TextKey = None,
    id_key: options.IdKey = None,
    extractor: options.Extractor = None,
    rejects: RejectsDirectory = None,
    limit: options.Limit = None,
    workers: Workers = None,
    force: Anew = False,
    quiet: options.Quiet = False,
) -> int:
    """Cut pages by the attributes that `winnow run --sidecar` has written, without the model.

    What is cut at a threshold is what the model cuts at it. Attributes of other pages, or of pages
    that have changed, are refused. All else is as `winnow run` does it.
    """
    from filter.jobs.apply import plan_apply
    from filter.jobs.local import run_local

    job, cutter = plan_apply(
        paths,
        attributes,
        output,
        threshold=threshold,
        keep=split_labels(keep),
        options=_job_options(
            adds, input_format, _format_options(text_key, id_key, extractor), rejects, limit
        ),
    )
    if threshold is not None and threshold != cutter.threshold and not quiet:
        print(
            f"winnow: cutting at {cutter.threshold:g}, the attributes' next threshold from"
            f" {threshold:g} on",
            file=sys.stderr,
        )
    execute = partial(run_local, work=cutter, workers=workers or 1)
    return _carry_out(job, execute, force=force, quiet=quiet)


VERBS = (run, apply)


def _execute(
    ledger: Ledger,
    *,
    content_filter: ContentFilter,
    workers: int | None,
    threads: int | None,
    ray: str | None,
) -> None:
    """Does a job's parts where it was asked for, or where the filter's engine is best fed."""
    if ray is not None:
        from filter.integrations.ray import run_ray

        with redirect_stdout(sys.stderr):  # where Ray has something to say of its workers
            run_ray(ledger, content_filter, address=ray, workers=workers, threads=threads or 1)
        return
    _, _, device = content_filter.engine.split("/")
    if device.startswith("cuda"):
        from filter.jobs.gpu import cuda_devices, run_gpu

        run_gpu(ledger, content_filter, devices=cuda_devices(device), workers=workers)
        return
    from filter.jobs.local import run_local
    from filter.jobs.work import do_parts

    run_local(ledger, partial(do_parts, content_filter), workers=workers or 1)


def _carry_out(job: Job, execute: Callable[[Ledger], None], *, force: bool, quiet: bool) -> int:
    from filter.jobs.run import carry_out

    try:
        with JobProgress(quiet=quiet) as progress:
            summary = carry_out(job, execute, force=force, watch=progress)
    except KeyboardInterrupt:
        print("winnow: interrupted; the same command goes on where it was", file=sys.stderr)
        raise
    if not quiet:
        print(f"winnow: {job_summary(summary)}", file=sys.stderr)
        if summary["rejects"]:
            print(f"winnow: bad records are in {job.rejects}", file=sys.stderr)
    return 1 if summary["rejects"] else 0


def _job_options(
    adds: str | None,
    input_format: str | None,
    formats: FormatOptions,
    rejects: str | None,
    limit: int | None,
) -> JobOptions:
    from filter.jobs.run import JobOptions

    names: tuple[Adds, ...] = ("clean", "spans")
    for name in names:
        if name == (adds or "clean"):
            return JobOptions(
                input_format=input_format, formats=formats, adds=name, rejects=rejects, limit=limit
            )
    raise UsageError(unknown("format", adds or "", names))


def _format_options(
    text_key: str | None, id_key: str | None, extractor: str | None
) -> FormatOptions:
    given = {"text_key": text_key, "id_key": id_key, "extractor": extractor}
    return FormatOptions(**{key: value for key, value in given.items() if value is not None})


def _threads(workers: int | None, threads: int | None, ray: str | None) -> int | None:
    """Threads of each process: several divide the processors among them, on a cluster one each."""
    if threads is not None:
        return threads
    if ray is not None:
        return 1
    if workers is None or workers == 1:
        return None
    from filter.engines.onnx import available_cpus

    return max(1, available_cpus() // workers)
