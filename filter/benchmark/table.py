"""The figures as tables for a terminal: a dash where one could not be taken, and below it why."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

DASH = "–"

Show = Callable[[float], str]


def _count(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _milliseconds(value: float) -> str:
    return f"{1000 * value:,.1f} ms"


def _seconds(value: float) -> str:
    return f"{value:.3f} s"


def _percent(value: float) -> str:
    return f"{100 * value:.1f}%"


def _times(value: float) -> str:
    return f"{value:.2f} x"


def _giga(value: float) -> str:
    return f"{value / 1e9:,.1f} G"


def _megabytes(value: float) -> str:
    return f"{value / 1e6:,.0f} MB"


def _share(value: float) -> str:
    return f"{value:.4f}"


ROWS: tuple[tuple[str, str, Show], ...] = (
    ("characters_per_second", "characters a second", _count),
    ("pages_per_second", "pages a second", _count),
    ("latency_p50_seconds", "one page by itself, median", _milliseconds),
    ("latency_p95_seconds", "one page by itself, 95th percentile", _milliseconds),
    ("peer_characters_per_second", "peer: characters a second", _count),
    ("characters_per_second_beside_peer", "filter on the peer's pages: the same", _count),
    ("ratio", "ratio of the two", _times),
    ("engine_share", "time inside the engine", _percent),
    ("engine_processor_share", "processor time inside the engine", _percent),
    ("operations_per_second", "operations a second", _giga),
    ("ceiling_operations_per_second", "the same products alone (ceiling)", _giga),
    ("utilisation", "utilisation", _percent),
    ("cold_start_seconds", "cold start", _seconds),
    ("peak_memory_bytes", "peak memory", _megabytes),
)
"""Figures in their order: key, what it is called, and how it is written."""

AGREEMENT = {
    "most_likely": "same likeliest labels as the peer, character F1",
    "cut": "same characters cut as float32, character F1",
}


def print_benchmark(result: dict[str, Any], console: Console) -> None:
    """Prints what `filter.benchmark.measure.benchmark` found."""
    for line in _head(result):
        console.print(line, highlight=False, markup=False)
    console.print(_figures(result))
    if result.get("accuracy"):
        console.print(_accuracy(result["accuracy"]))
    if result["cold_start"]:
        console.print(_phases(result["cold_start"]))
    for name, reason in result["reasons"].items():
        console.print(f"{DASH} {name}: {reason}", highlight=False, markup=False)


def _head(result: dict[str, Any]) -> Iterator[str]:
    model, machine, pages = result["model"], result["machine"], result["pages"]
    yield f"model {model['hash']}, {model['engine']}, {model['threads']} threads"
    where = machine.get("device") or machine["processor"]
    load = machine["load"]
    busy = "" if load is None else f", load before {load:.1f}"
    yield f"{where}, {machine['processors']} processors{busy}"
    median = pages["length_percentiles"]["50"]
    yield (
        f"{pages['pages']:,} pages of {pages['mean_length']:,.0f} characters on average,"
        f" median {median:,.0f}; {result['settings']['rounds']} rounds"
    )
    if result["peer"]:
        peer = result["peer"]
        yield (
            f"peer {peer['name']}: transformers {peer['transformers']}, {peer['dtype']},"
            f" {peer['threads']} threads, batches of {peer['batch_size']}"
        )


def _figures(result: dict[str, Any]) -> Table:
    from rich.table import Table

    table = Table("figure", *_right("value", "95% interval"))
    for name, title, show in ROWS:
        if name not in result:
            continue
        value, ends = result[name], result["intervals"].get(name)
        interval = f"{show(ends[0])} to {show(ends[1])}" if ends else ""
        table.add_row(title, DASH if value is None else show(value), interval)
    on_device = (result["memory"] or {}).get("peak_device_memory_bytes")
    if on_device is not None:
        table.add_row("peak memory of the device", _megabytes(on_device), "")
    for name, title in AGREEMENT.items():
        if result["agreement"]:
            value = result["agreement"][name]["character_f1"]
            table.add_row(title, DASH if value is None else _share(value), "")
    return table


def _accuracy(accuracy: dict[str, Any]) -> Table:
    from rich.table import Table

    table = Table(
        f"{accuracy['pages']:,} labelled pages",
        *_right(accuracy["engine"], accuracy["reference"], "difference", "95% interval"),
    )
    for part in ("labelled", "prose"):
        for name, row in accuracy.get(part, {}).items():
            ends = row["interval"]
            table.add_row(
                f"{part}: {name.replace('_', ' ')}",
                f"{row['this']:.5f}",
                f"{row['other']:.5f}",
                f"{row['difference']:+.5f}",
                f"{ends[0]:+.5f} to {ends[1]:+.5f}" if ends else "",
            )
    return table


def _phases(start: dict[str, Any]) -> Table:
    from rich.table import Table

    table = Table(f"cold start on {start['characters']} characters", *_right("median"))
    for name, seconds in start["phases"].items():
        table.add_row(name.replace("_", " "), _milliseconds(seconds))
    table.add_row("all", _milliseconds(start["seconds"]))
    return table


def _right(*names: str) -> Iterator[Any]:
    from rich.table import Column

    return (Column(name, justify="right") for name in names)
