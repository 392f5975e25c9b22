"""A job on a Ray cluster: `winnow run --ray ADDRESS`, or `--ray local` for this machine alone.

Shards flow through Ray Data as parts. Tasks read them; on CPUs a pool of actors then does whole
parts, filtering and writing in one place. On GPUs the steps part: tasks encode, actors with a GPU
each turn windows into logits, and tasks decode and write. What comes back to the driver is what
came of each part, with which it keeps the job's books and joins finished shards; so a job goes on
after any end as it does on one machine, and its files are the same to the byte.

All machines must see the input and the output under the same paths. What lies between two stages is
in Ray's object store, and Ray holds the reading back when that fills up.
"""

from __future__ import annotations

import logging
import os
import pickle
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filter.engines.onnx import available_cpus
from filter.errors import UsageError, WinnowError, missing_package
from filter.jobs.finish import Ledger

try:
    import ray
    from ray import cloudpickle
    from ray.data import ActorPoolStrategy, DataContext, Dataset
    from ray.exceptions import RayError
except ImportError as error:
    raise missing_package("--ray", "ray", "ray") from error

from filter.integrations import ray_stages as stages

if TYPE_CHECKING:
    from filter.content_filter import ContentFilter

BLOCK_BYTES = 1 << 18
"""What is sent to a worker at once: a part, or several that are smaller than this."""

AHEAD = 2
"""Blocks that a worker has been sent: one to do, and one to find when that is done."""

READ_TASKS = 1000
"""Most tasks that shards are divided among; each reads its own one after the other."""

READ_CPUS = 0.5
"""What a task is said to need that reads, and mostly waits for others."""

CONNECT_SECONDS = 5
"""How long a cluster may take to answer."""

STORE_BYTES = 1 << 30
"""Object store of a Ray that is started for one job on one machine."""


def run_ray(
    ledger: Ledger,
    content_filter: ContentFilter,
    *,
    address: str = "local",
    workers: int | None = None,
    threads: int = 1,
    staged: bool | None = None,
) -> None:
    """Does all that is not done of a job, on Ray.

    A Ray that runs in this process already is used whatever the address, and is left running.

    Args:
        ledger: The job's books.
        content_filter: The filter; workers open it again by its name and options.
        address: "local" starts a Ray for this job; otherwise that of a cluster, or "auto".
        workers: Actors that run the engine, each on a GPU of its own if the engine is on CUDA; by
            default as many as there are GPUs, or CPUs for them.
        threads: CPUs that each of them is given: as many as the filter's engine has threads.
        staged: Whether encoding and decoding run in processes of their own; by default if the
            engine is on CUDA.

    Raises:
        WinnowError: The job has a limit, there is no such cluster or it is too small, workers
            died, or input or output failed. What was done stays done.
    """
    if ledger.job.limit is not None:
        raise UsageError("--limit cannot be kept on Ray, where shards are read at the same time")
    unfinished = [(shard, ledger.done_parts(shard)) for shard in ledger.shards()]
    if not unfinished:
        return
    on_gpu = "/cuda" in content_filter.engine
    staged = on_gpu if staged is None else staged
    # One CPU beside those of the workers reads; encoding and decoding want all that there are.
    beside = available_cpus() if staged else 1
    cpus = (workers or max(1, available_cpus() // threads)) * threads + beside
    with connected(address, cpus=cpus), _settings(), _tries(ledger) as tries:
        workers = _room(workers, threads=threads, on_gpu=on_gpu)
        run = _Runner(tries, workers=workers, threads=threads, gpus=int(on_gpu))
        rows = [{"item": pickle.dumps(item), "error": b""} for item in unfinished]
        job = replace(ledger.job, shards=())
        shards = ray.data.from_items(rows, override_num_blocks=min(len(rows), READ_TASKS))
        parts = run.tasks(shards, stages.Read(job), cpus=READ_CPUS)
        if staged:
            encoder, decoder = content_filter.stages
            cut = stages.Decode(job, decoder, content_filter.threshold, content_filter.keep)
            encoded = run.tasks(parts, stages.Encode(encoder))
            done = run.tasks(run.actors(encoded, stages.Forward(content_filter)), cut)
        else:
            done = run.actors(parts, stages.Whole(job, content_filter))
        for table in done.iter_batches(batch_size=None, batch_format="pyarrow"):
            for statistics in stages.results(table):
                ledger.add(statistics)


@dataclass(frozen=True)
class _Runner:
    """Puts stages behind a dataset.

    Attributes:
        tries: Directory in which stages count their attempts.
        workers: Actors in a pool.
        threads: CPUs of each of them.
        gpus: GPUs of each of them.
    """

    tries: Path
    workers: int
    threads: int
    gpus: int

    def tasks(self, dataset: Dataset, stage: stages.Stage, *, cpus: float = 1) -> Dataset:
        """Runs a stage on each block in tasks that come and go."""
        return dataset.map_batches(
            stages.run_stage,
            batch_size=None,
            batch_format="pyarrow",
            fn_kwargs={"shipped": self._shipped(stage)},
            num_cpus=cpus,
        )

    def actors(self, dataset: Dataset, stage: stages.Stage) -> Dataset:
        """Runs a stage on each block in actors that open it once."""
        return dataset.map_batches(
            stages.Worker,
            batch_size=None,
            batch_format="pyarrow",
            fn_constructor_kwargs={"shipped": self._shipped(stage)},
            compute=ActorPoolStrategy(size=self.workers, max_tasks_in_flight_per_actor=AHEAD),
            num_cpus=self.threads,
            num_gpus=self.gpus,
        )

    def _shipped(self, stage: stages.Stage) -> stages.Shipped:
        return stages.Shipped(cloudpickle.dumps(stage), self.tries)


def _room(workers: int | None, *, threads: int, on_gpu: bool) -> int:
    """How many workers there are to be.

    Raises:
        UsageError: the cluster has no room for them, and Ray would wait for it for ever.
    """
    resources = ray.cluster_resources()
    cpus, gpus = int(resources.get("CPU", 0)), int(resources.get("GPU", 0))
    room = (cpus - 1) // threads  # one is left for all else
    has = f"{cpus} CPUs"
    if on_gpu:
        room, has = min(room, gpus), f"{gpus} GPUs and {has}"
    if room < (workers or 1):
        raise UsageError(
            f"Ray has no room for {workers or 1} workers of {threads} CPUs"
            f"{' and a GPU' * on_gpu} each, and one CPU for all else: it has {has}"
        )
    return workers or room


@contextmanager
def connected(address: str, *, cpus: int) -> Iterator[None]:
    """A connection to Ray, with what goes wrong there as one clear error.

    Args:
        address: "local" to start a Ray, or that of a cluster; not looked at if there is one.
        cpus: CPUs of a Ray that is started.
    """
    own = not ray.is_initialized()
    if own:
        _connect(address, cpus)
    try:
        yield
    except RayError as error:
        cause = getattr(error, "cause", None) or error  # what was raised in a task
        reason = (str(cause).strip().splitlines() or [type(cause).__name__])[0]
        raise WinnowError(
            f"Ray: {reason.rstrip('.')}. The job is stopped; the same command goes on where it was"
        ) from error
    finally:
        if own:
            ray.shutdown()


def _connect(address: str, cpus: int) -> None:
    # What Ray has to say by itself is in its logs; a job says what matters.
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    options: dict[str, Any] = {"logging_level": logging.ERROR, "log_to_driver": False}
    if address == "local":
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        options |= {
            "num_cpus": cpus,
            "include_dashboard": False,
            "object_store_memory": STORE_BYTES,
            "_node_ip_address": "127.0.0.1",
            # Workers of Ray yield to whatever else runs; these are all that this Ray is for.
            "_system_config": {"worker_niceness": 0},
        }
    try:
        host, _, port = address.removeprefix("ray://").rpartition(":")
        if host and port.isdecimal():  # Ray would try for minutes, and say nothing
            socket.create_connection((host.strip("[]"), int(port)), CONNECT_SECONDS).close()
        ray.init(address=address, **options)
    except (OSError, RuntimeError, ValueError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise UsageError(
            f"--ray {address}: no cluster there ({reason}); `ray start --head` starts one, and"
            " --ray local runs on this machine alone"
        ) from error


@contextmanager
def _settings() -> Iterator[None]:
    """Ray Data as a job needs it: small blocks, and not a word."""
    context = DataContext.get_current()
    wanted = {"target_max_block_size": BLOCK_BYTES, "enable_progress_bars": False}
    before = {name: getattr(context, name) for name in wanted}
    logger = logging.getLogger("ray.data")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    for name, value in wanted.items():
        setattr(context, name, value)
    try:
        yield
    finally:
        logger.setLevel(level)
        for name, value in before.items():
            setattr(context, name, value)


@contextmanager
def _tries(ledger: Ledger) -> Iterator[Path]:
    """A directory in which attempts are counted."""
    path = ledger.job.state / "tries"
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir(parents=True)
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)
