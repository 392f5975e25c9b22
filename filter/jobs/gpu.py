"""A job on the CUDA devices of one machine.

A process for each device does nothing but run the model, so that the device never waits for Python
to encode, decode, read or write: all that is done by the workers of an ordinary local job, whose
filter has an engine that sends windows to one of these processes and waits for their logits. There
are more workers than processors, since most of them wait.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from filter.engines.onnx import available_cpus
from filter.engines.remote import serve
from filter.errors import UsageError, WinnowError
from filter.jobs.finish import Ledger
from filter.jobs.local import run_local
from filter.jobs.parts import Part
from filter.jobs.plan import Job
from filter.jobs.work import PartStatistics, Seen, do_parts

if TYPE_CHECKING:
    from filter.content_filter import ContentFilter

WORKERS_PER_CPU = 2

WORKERS_PER_DEVICE = 32
"""More could not make a device any busier."""


def cuda_devices(device: str) -> tuple[str, ...]:
    """The devices that a name stands for: "cuda" for all that torch sees, "cuda:N" for one."""
    import torch

    if device != "cuda":
        return (device,)
    return tuple(f"cuda:{number}" for number in range(torch.cuda.device_count()))


def run_gpu(
    ledger: Ledger,
    content_filter: ContentFilter,
    *,
    devices: Sequence[str],
    workers: int | None = None,
) -> None:
    """Does all that is not done of a job.

    Args:
        ledger: The job's books.
        content_filter: The filter, with engine "torch"; its model is opened once for each device.
        devices: As torch names them; a device may be named twice.
        workers: Processes that read pages, encode, decode and write; by default two for each
            processor, but no more than keep the devices busy.

    Raises:
        WinnowError: a device cannot be used, input or output failed, or a process died. What was
            done stays done.
    """
    engine: Any = content_filter.backend
    if engine.name != "torch":
        raise UsageError(f"GPUs run engine 'torch', not {engine.name!r}")
    if not devices:
        raise WinnowError("torch sees no CUDA device here; use device 'cpu'")
    if next(ledger.shards(), None) is None:
        return
    if workers is None:
        workers = min(WORKERS_PER_CPU * available_cpus(), WORKERS_PER_DEVICE * len(devices))
    with serve(engine, devices) as remote:
        work = partial(part_by_part, content_filter.with_engine(remote))
        run_local(ledger, work, workers=workers)


def part_by_part(
    content_filter: ContentFilter, job: Job, parts: Iterable[Part], *, seen: Seen | None = None
) -> Iterator[PartStatistics]:
    """As `do_parts`, but no batch holds pages of two parts.

    On a GPU logits may depend on a batch's shape in their last bits. This way they follow from the
    part alone, and a job that goes on writes the bytes that it would have written.
    """
    for part in parts:
        yield from do_parts(content_filter, job, [part], seen=seen)
