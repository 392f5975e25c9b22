"""What does a job cost around its engine? JSONL through the whole of it, with no model to wait for.

    python -m tests.benchmarks.null_job [--sizes 100M,2G] [--workers 1] [--compression zst] [--bare]
    python -m tests.benchmarks.null_job --sizes 10M --profile job.prof

Makes one shard of each size (pages of the lengths of real ones, of nobody's writing), runs the job
on it in a process of its own, and prints its speed and its peak of memory, which must not grow with
the size. The engine finds prose everywhere and costs nothing; what remains is reading, encoding,
decoding and writing. With --bare pages skip the filter too, which leaves reading and writing.
"""

from __future__ import annotations

import argparse
import cProfile
import json
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from functools import partial
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from filter import ContentFilter, FilteredPage
from filter.benchmark.pages import generate_pages, take_characters
from filter.decoder_settings import DecoderSettings
from filter.files import atomic_write
from filter.jobs.local import run_local
from filter.jobs.run import carry_out, plan_run
from filter.jobs.work import do_parts

UNITS = {"K": 1e3, "M": 1e6, "G": 1e9}
DISTINCT_CHARACTERS = 2e6  # of pages that are made; a larger shard has them again, under new ids


class NullEngine:
    """Everything is prose, at no cost."""

    name, dtype, device = "null", "none", "cpu"
    weights: tuple[Path, ...] = ()

    def __init__(self, n_labels: int) -> None:
        self._prose = np.zeros((1, n_labels), dtype=np.float32)
        self._prose[0, 0] = 20.0

    def logits(self, windows: Iterable[NDArray[np.int32]]) -> Iterator[NDArray[np.float32]]:
        for window in windows:
            yield np.broadcast_to(self._prose, (len(window), self._prose.shape[1]))


class NullFilter:
    """Finds nothing, at no cost."""

    engine, model_hash = "null/none/cpu", "000000000000"
    decoder, threshold, keep = DecoderSettings(), 0.5, ()

    def pipe(self, texts: Iterable[str]) -> Iterator[FilteredPage]:
        return (FilteredPage(text, (), (), self.engine, self.model_hash) for text in texts)


def write_shard(path: Path, size: float, *, escaped: bool = False) -> None:
    """Writes records until they have a number of bytes, before compression; as ASCII if asked."""
    pages = take_characters(generate_pages(), DISTINCT_CHARACTERS)
    with atomic_write(path) as stream:
        for number, text in enumerate(cycle(pages)):
            record = {"id": f"page-{number}", "url": f"https://example.com/{number}", "text": text}
            line = json.dumps(record, ensure_ascii=escaped).encode() + b"\n"
            stream.write(line)
            size -= len(line)
            if size <= 0:
                return


def run(shard: Path, output: Path, *, workers: int, bare: bool, profile: str | None) -> None:
    """Does the job and prints what it took, as JSON."""
    content_filter: Any = NullFilter()
    if not bare:
        real = ContentFilter.from_pretrained()
        content_filter = real.with_engine(NullEngine(len(real.labels)))
    job = plan_run([str(shard)], output, content_filter)
    execute = partial(run_local, work=partial(do_parts, content_filter), workers=workers)
    profiler = cProfile.Profile()
    begin = time.perf_counter()
    if profile:
        profiler.enable()
    summary = carry_out(job, execute)
    profiler.disable()
    if profile:
        profiler.dump_stats(profile)
    peaks = {
        name: resource.getrusage(who).ru_maxrss / 1024
        for name, who in (("self", resource.RUSAGE_SELF), ("worker", resource.RUSAGE_CHILDREN))
    }
    seconds = time.perf_counter() - begin
    print(json.dumps({"seconds": seconds, "characters": summary["characters"], "peaks": peaks}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--sizes", default="100M,2G", help="bytes of JSONL, such as 100M,2G")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--compression", choices=("gz", "xz", "zst"))
    parser.add_argument("--bare", action="store_true", help="without encoding and decoding")
    parser.add_argument("--directory", help="where to work; must have room for twice the size")
    parser.add_argument("--profile", metavar="FILE", help="write a profile of the (last) job")
    parser.add_argument("--shard", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    told = {"workers": options.workers, "bare": options.bare, "profile": options.profile}
    if options.shard is not None:
        run(options.shard, options.shard.parent / "out", **told)
        return
    print(f"{'JSONL':>8} {'MB/s':>8} {'characters/s':>13} {'peak MiB':>9} {'a worker':>9}")
    for size in options.sizes.split(","):
        n_bytes = float(size.rstrip("KMG")) * UNITS.get(size[-1], 1)
        directory = Path(tempfile.mkdtemp(dir=options.directory))
        try:
            name = "shard.jsonl" + (f".{options.compression}" if options.compression else "")
            write_shard(directory / name, n_bytes)
            command = [sys.executable, "-m", "tests.benchmarks.null_job", *sys.argv[1:]]
            command += ["--shard", str(directory / name)]
            found = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
        finally:
            shutil.rmtree(directory)
        seconds, peaks = found["seconds"], found["peaks"]
        print(
            f"{size:>8} {n_bytes / 1e6 / seconds:8.1f} {found['characters'] / seconds:13,.0f}"
            f" {peaks['self']:9.0f} {peaks['worker'] if options.workers > 1 else 0:9.0f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
