"""Does the library's memory stay flat? One page after the other through one filter.

    python -m tests.benchmarks.library_loop [PAGE] [--times 10000]

Prints the resident memory on the way; what grows after the first hundred calls is a leak.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from filter import ContentFilter


def resident_mib() -> float:
    """Memory that this process holds, from /proc."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS:")) / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("page", nargs="?", default="tests/data/sample-page.txt")
    parser.add_argument("--times", type=int, default=10_000)
    options = parser.parse_args()
    text = Path(options.page).read_text(encoding="utf-8")
    content_filter = ContentFilter.from_pretrained()
    expected = content_filter(text).spans
    started = time.perf_counter()
    for number in range(1, options.times + 1):
        assert content_filter(text).spans == expected
        if number in (1, 10, 100) or number % 1000 == 0:
            seconds = time.perf_counter() - started
            print(f"{number:>7,} calls  {resident_mib():7.1f} MiB  {seconds:7.1f} s", flush=True)


if __name__ == "__main__":
    main()
