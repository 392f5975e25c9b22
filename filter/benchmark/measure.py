"""The measurement: starts, warming up, single pages, rounds, and the figures that come of them.

All runs in this one process but the starts and the peak of memory, which have processes of their
own. A figure that cannot be taken (no peer asked for, a package that is not installed) is None, and
`reasons` says why; the others are taken all the same.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping, Sequence
from itertools import cycle
from typing import Any, TypeVar

import numpy as np

from filter.benchmark import rounds as turns
from filter.benchmark.arithmetic import read_arithmetic
from filter.benchmark.beside import Beside
from filter.benchmark.ceiling import Ceiling, create_ceiling
from filter.benchmark.figures import figures
from filter.benchmark.machine import describe_machine
from filter.benchmark.pages import take_characters
from filter.benchmark.peer import NAME
from filter.benchmark.processes import cold_start, peak_memory
from filter.benchmark.statistics import Floats, percentile_figure
from filter.benchmark.workload import Workload
from filter.content_filter import READ_AHEAD, ContentFilter
from filter.engines.onnx import available_cpus
from filter.errors import UsageError, WinnowError, unknown
from filter.model_directory import locate, read_model_directory

FORMAT = 1

HEADLINES = (
    "characters_per_second",
    "peer_characters_per_second",
    "ratio",
    "utilisation",
    "engine_share",
    "cold_start_seconds",
    "peak_memory_bytes",
)
"""The figures that stand first, and are there even where they could not be taken."""

OF_PEER = ("peer_characters_per_second", "ratio", "agreement")

SECONDS = 50.0
ROUNDS = 8

SINGLE_PAGES, MEMORY, AGREEMENT, ROUNDS_SHARE = 0.15, 0.1, 0.05, 0.6
"""Shares of the time; the rest is for starts, warming up and the peer's batch size."""

MOST_STARTS, SECONDS_A_START = 7, 7.0
"""Cold starts of which the median is taken, and how many seconds in all ask for one more."""

LEAST_PAGES = 30
"""Pages that are timed one at a time, however long they take."""

SHORT_PAGE = 300
"""Characters of the page of a cold start."""

BUSY = 0.5
"""Load from which on it is said that somebody else is at work."""

T = TypeVar("T")


class Reasons(dict[str, str]):
    """Why figures are missing, by their names."""

    def attempt(self, names: Sequence[str], take: Callable[[], T]) -> T | None:
        """What `take` gives; None if it cannot, and the reason is kept."""
        try:
            return take()
        except WinnowError as error:
            self.update(dict.fromkeys(names, str(error)))
            return None


def benchmark(
    options: Mapping[str, Any],
    pages: Sequence[str],
    *,
    peer: str | None = None,
    seconds: float = SECONDS,
    rounds: int = ROUNDS,
    seed: int = 0,
    say: Callable[[str], None] = lambda message: None,
) -> dict[str, Any]:
    """Measure a filter.

    Args:
        options: What `ContentFilter.from_pretrained` takes, by name.
        pages: What to measure it on; gone through in a random order, over and over.
        peer: "hf-pipeline" to put the stock pipeline beside it.
        seconds: Time for all of it, about; a slow model takes longer.
        rounds: How many there are.
        seed: Of the order of the pages and of the intervals.
        say: Is told what is being done.

    Returns:
        All figures, as JSON has them: those of `HEADLINES` first, `intervals` of them by name, and
        what they rest on. `reasons` says by name why one is None.

    Raises:
        WinnowError: the model cannot be used, there are no pages, or no such peer.
    """
    if peer not in (None, NAME):
        raise UsageError(unknown("peer", str(peer), (NAME,)))
    texts = [page for page in pages if page and not page.isspace()]
    if not texts:
        raise UsageError("no pages to measure on")
    random.Random(seed).shuffle(texts)
    content_filter = ContentFilter.from_pretrained(**options)
    engine, dtype, device = content_filter.engine.split("/")
    directory = read_model_directory(locate(options.get("name_or_path")))
    threads = options.get("threads") or available_cpus()
    machine = describe_machine(device)  # its load before there is ours
    reasons = Reasons()
    if machine["load"] is not None and machine["load"] > BUSY:
        say(f"others are at work here (load {machine['load']:.1f}): all will be slower than it is")

    # Processes first, while this one has not yet loaded what may be at work beside them.
    say("cold start")
    start = reasons.attempt(
        ("cold_start_seconds",),
        lambda: cold_start(
            options,
            max(texts, key=len)[:SHORT_PAGE],
            starts=min(MOST_STARTS, 1 + int(seconds / SECONDS_A_START)),
        ),
    )
    say("warming up")
    arithmetic = reasons.attempt(("utilisation",), lambda: read_arithmetic(directory.path))
    workload = Workload(directory, texts, arithmetic)
    speed = turns.warm_up(content_filter, workload)
    say("pages one at a time")
    latencies = _latencies(content_filter, texts, seconds * SINGLE_PAGES)
    say("peak memory")
    enough = min(2 * READ_AHEAD, speed * workload.mean_length * seconds * MEMORY)
    memory = reasons.attempt(
        ("peak_memory_bytes",), lambda: peak_memory(options, take_characters(cycle(texts), enough))
    )
    ceiling: Ceiling | None = None
    if arithmetic is not None:
        say("arithmetic ceiling")
        ceiling = reasons.attempt(
            ("utilisation",),
            lambda: create_ceiling(
                arithmetic,
                workload.lengths,
                engine=engine,
                dtype=dtype,
                device=device,
                threads=threads,
            ),
        )
    beside: Beside | None = None
    if peer is None:
        reasons.update(dict.fromkeys(OF_PEER, f"no peer asked for (--peer {NAME})"))
    else:
        say("the peer's best batch size")
        beside = reasons.attempt(OF_PEER, lambda: Beside(directory, content_filter, texts, device))

    share = seconds * ROUNDS_SHARE / rounds / (2 + bool(ceiling) + 2 * bool(beside))
    blocks = [workload.block(speed * share) for _ in range(rounds)]
    tasks = {
        "filter": turns.filter_task(content_filter, blocks),
        "clocked": turns.clocked_task(content_filter, blocks, engine=engine, device=device),
    }
    if ceiling is not None:
        tasks["ceiling"] = turns.ceiling_task(ceiling.measure, share)
    if beside is not None:
        tasks |= beside.tasks(share, rounds)
    say(f"{rounds} rounds: {', '.join(tasks)}")
    results = turns.run_rounds(tasks, rounds)
    found = figures(results, callers=threads if engine == "onnx" else 1, seed=seed)
    if "engine_share" not in found:
        reasons["engine_share"] = f"no call of the runtime of {content_filter.engine} was seen"
    for percent in (50, 95):
        name = f"latency_p{percent}_seconds"
        found[name] = percentile_figure(latencies, percent, seed=seed)
    same: dict[str, Any] | None = None
    if beside is not None:
        say("whether both say the same")
        same = beside.compare(options, seconds * AGREEMENT)

    return {
        **dict.fromkeys(HEADLINES),
        **{name: figure["value"] for name, figure in found.items()},
        "cold_start_seconds": start and start["seconds"],
        "peak_memory_bytes": memory and memory["peak_memory_bytes"],
        "intervals": {name: figure["interval"] for name, figure in found.items()},
        "reasons": dict(reasons),
        "cold_start": start,
        "memory": memory,
        "agreement": same,
        "peer": beside and beside.peer.settings,
        "pages": {**workload.describe(), "timed_one_at_a_time": len(latencies)},
        "model": {
            "hash": content_filter.model_hash,
            "engine": content_filter.engine,
            "window": content_filter.decoder.window,
            "overlap": content_filter.decoder.overlap,
            "threads": threads,
        },
        "machine": machine,
        "settings": {"seconds": seconds, "rounds": rounds, "seed": seed},
        "rounds": results,
        "format": FORMAT,
    }


def _latencies(content_filter: ContentFilter, texts: Sequence[str], seconds: float) -> Floats:
    """(pages,) seconds that a page takes by itself."""
    found: list[float] = []
    end = time.perf_counter() + seconds
    for text in cycle(texts):
        begin = time.perf_counter()
        if begin > end and len(found) >= LEAST_PAGES:
            break
        len(content_filter(text).clean_text)
        found.append(time.perf_counter() - begin)
    return np.array(found)
