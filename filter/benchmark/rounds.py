"""The rounds: what is compared runs in turn, and in the reverse order in every other round.

A machine that slows down, or is lent to somebody else for a second, so slows all of them. Each
round has pages of its own: intervals that are drawn over rounds hold for other pages, too.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Mapping

from filter.benchmark.clock import engine_clock
from filter.benchmark.peer import Peer
from filter.benchmark.workload import Block, Workload
from filter.content_filter import ContentFilter

RoundResult = dict[str, float]
Results = dict[str, list[RoundResult]]
"""By task, what came of each round."""

Task = Callable[[int], RoundResult]
"""Does its part of a round, of which it is told the number, and says what came of it."""

LONG_ENOUGH = 0.4
"""Seconds from which on a pass says how fast the next one will be."""


def run_rounds(tasks: Mapping[str, Task], rounds: int) -> Results:
    """Runs all tasks, round by round."""
    results: Results = {name: [] for name in tasks}
    for number in range(rounds):
        for name in list(tasks) if number % 2 == 0 else reversed(list(tasks)):
            gc.collect()
            results[name].append(tasks[name](number))
    return results


def seconds_of(content_filter: ContentFilter, block: Block, times: int = 1) -> float:
    """Seconds that a block takes through `pipe`, `times` times in one stream."""
    begin = time.perf_counter()
    texts = (text for _ in range(times) for text in block.texts)
    # The cleaned text is made when it is asked for, and is part of the work.
    sum(len(page.clean_text) for page in content_filter.pipe(texts))
    return time.perf_counter() - begin


def warm_up(content_filter: ContentFilter, workload: Workload) -> float:
    """Runs pages until their number is large enough to take a while.

    Returns:
        Pages a second.
    """
    seconds_of(content_filter, workload.block(1))
    pages = 8
    while (seconds := seconds_of(content_filter, workload.block(pages))) < LONG_ENOUGH:
        pages *= 2
    return pages / seconds


def filter_task(content_filter: ContentFilter, blocks: list[Block]) -> Task:
    """The filter on pages as they are."""

    def task(number: int) -> RoundResult:
        block = blocks[number]
        return {
            "seconds": seconds_of(content_filter, block),
            "characters": block.characters,
            "pages": len(block.texts),
            "windows": block.windows,
            "operations": block.operations,
        }

    return task


def clocked_task(
    content_filter: ContentFilter, blocks: list[Block], *, engine: str, device: str
) -> Task:
    """The same with a clock on the engine's runtime."""

    def task(number: int) -> RoundResult:
        before = time.process_time()
        with engine_clock(engine, device) as clock:
            seconds = seconds_of(content_filter, blocks[number])
        found = {
            "seconds": seconds,
            "characters": blocks[number].characters,
            "calls": clock.calls,
            "busy": clock.busy,
        }
        if clock.processor is not None:
            found["processor"] = clock.processor
            found["process"] = time.process_time() - before
        return found

    return task


def cut_task(content_filter: ContentFilter, blocks: list[Block], times: int) -> Task:
    """The filter on the pages that the peer gets, as often as fills the time."""

    def task(number: int) -> RoundResult:
        seconds = seconds_of(content_filter, blocks[number], times)
        return {"seconds": seconds, "characters": blocks[number].characters * times}

    return task


def peer_task(peer: Peer, blocks: list[Block]) -> Task:
    """The peer."""

    def task(number: int) -> RoundResult:
        seconds = peer.run(blocks[number].texts)
        return {"seconds": seconds, "characters": blocks[number].characters}

    return task


def ceiling_task(measure: Callable[[float], float], seconds: float) -> Task:
    """The products alone."""
    return lambda _: {"operations_per_second": measure(seconds)}
