"""From rounds to figures: rates, shares and ratios, each with its interval over rounds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from filter.benchmark.rounds import Results, RoundResult
from filter.benchmark.statistics import Figure, Floats, rate, round_figure


def figures(results: Results, *, callers: int, seed: int = 0) -> dict[str, Figure]:
    """The figures that rounds give.

    Args:
        results: What came of each task of `filter.benchmark.rounds` in each round.
        callers: Calls of the engine's runtime that can be under way at once.
        seed: Of the intervals.

    Returns:
        By name a value with its interval; what has not been run is left out.
    """
    rounds = len(results["filter"])

    def over_rounds(compute: Any) -> Figure:
        return round_figure(compute, rounds, seed=seed)

    characters, pages, operations, seconds = columns(
        results["filter"], "characters", "pages", "operations", "seconds"
    )
    found = {
        "characters_per_second": over_rounds(rate(characters, seconds)),
        "pages_per_second": over_rounds(rate(pages, seconds)),
    }
    if "clocked" in results:
        busy, spent = columns(results["clocked"], "busy", "seconds")
        if busy.all():
            found["engine_share"] = over_rounds(rate(busy / callers, spent))
        if all("processor" in one for one in results["clocked"]):
            processor, process = columns(results["clocked"], "processor", "process")
            found["engine_processor_share"] = over_rounds(rate(processor, process))
    if "ceiling" in results:
        (ceiling,) = columns(results["ceiling"], "operations_per_second")
        achieved = rate(operations, seconds)

        def mean_ceiling(weights: Floats) -> Any:
            return (weights @ ceiling) / weights.sum(axis=-1)

        found["operations_per_second"] = over_rounds(achieved)
        found["ceiling_operations_per_second"] = over_rounds(mean_ceiling)
        found["utilisation"] = over_rounds(lambda w: achieved(w) / mean_ceiling(w))
    if "peer" in results:
        peer = rate(*columns(results["peer"], "characters", "seconds"))
        own = rate(*columns(results["filter_beside_peer"], "characters", "seconds"))
        found["peer_characters_per_second"] = over_rounds(peer)
        found["characters_per_second_beside_peer"] = over_rounds(own)
        found["ratio"] = over_rounds(lambda w: own(w) / peer(w))
    return found


def columns(results: Sequence[RoundResult], *names: str) -> tuple[Floats, ...]:
    """Some values of all rounds, each as an array of (rounds,)."""
    return tuple(np.array([one[name] for one in results], dtype=np.float64) for name in names)
