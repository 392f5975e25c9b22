"""Does a job that is killed, and goes on, write what it writes undisturbed? With the model.

    python -m tests.benchmarks.killed_job [--size 100M] [--shards 2] [--kills 2] [--escaped]

Makes shards of JSONL (pages of the lengths of real ones, of nobody's writing) and runs the command
line on them twice. The first run is left alone. The second is killed by SIGKILL as often as asked,
each time after an equal part of what the first took, and the same command is given again. Prints
speed and peak of memory of both and whether their files are the same; the exit code is 1 if not.
With --escaped the records are ASCII, as `json.dumps` writes them by default: 100 MB hold half as
many characters.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from tests.benchmarks.null_job import UNITS, write_shard


class Attempt(NamedTuple):
    """One process of a job.

    Attributes:
        seconds: From its start to its end.
        peak: Resident memory of its largest process at most, in MiB.
    """

    seconds: float
    peak: float


def attempt(command: list[str], *, log: Path, kill_after: float | None = None) -> Attempt:
    """Runs a command to its end, or kills it and all that it started after so many seconds.

    Raises:
        SystemExit: it failed, or came to its end when it should have been killed.
    """
    begin = time.perf_counter()
    with log.open("ab") as stream:
        process = subprocess.Popen(command, stderr=stream, start_new_session=True)
    if kill_after is not None:
        time.sleep(kill_after)
        os.killpg(process.pid, signal.SIGKILL)
    _, status, usage = os.wait4(process.pid, 0)
    expected = 0 if kill_after is None else -signal.SIGKILL
    if os.waitstatus_to_exitcode(status) != expected:
        raise SystemExit(f"{' '.join(command)}: status {status}\n{log.read_text()[-2000:]}")
    return Attempt(time.perf_counter() - begin, usage.ru_maxrss / 1024)


def digests(output: Path) -> dict[str, str]:
    """SHA-256 of each result of a job, by its name; times are no part of them."""
    return {
        str(path.relative_to(output)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(output.rglob("*.jsonl"))
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--size", default="100M", help="bytes of JSONL in all, such as 100M")
    parser.add_argument("--shards", type=int, default=2)
    parser.add_argument("--kills", type=int, default=2)
    parser.add_argument("--escaped", action="store_true", help="ASCII records")
    parser.add_argument("--directory", help="where to work; must have room for four times the size")
    parser.add_argument("options", nargs="*", help="options of the run, after --")
    told = parser.parse_args()
    n_bytes = float(told.size.rstrip("KMG")) * UNITS.get(told.size[-1], 1)
    with tempfile.TemporaryDirectory(dir=told.directory) as name:
        directory = Path(name)
        shards = [directory / f"in/{number}.jsonl" for number in range(told.shards)]
        shards[0].parent.mkdir()
        for shard in shards:
            write_shard(shard, n_bytes / told.shards, escaped=told.escaped)

        def job(output: str) -> list[str]:
            command = [str(Path(sys.executable).with_name("winnow")), "run", *map(str, shards)]
            return [*command, "-o", str(directory / output), "--quiet", *told.options]

        log = directory / "log"
        whole = attempt(job("whole"), log=log)
        characters = json.loads((directory / "whole/summary.json").read_bytes())["characters"]
        print(
            f"undisturbed: {whole.seconds:.0f} s, {characters:,} characters,"
            f" {characters / whole.seconds:,.0f} a second, peak {whole.peak:.0f} MiB",
            flush=True,
        )
        attempts = []
        for _ in range(told.kills):
            each = whole.seconds / (told.kills + 1)
            attempts.append(attempt(job("killed"), log=log, kill_after=each))
            print(f"killed after {attempts[-1].seconds:.0f} s", flush=True)
        if not any(path.is_file() for path in (directory / "killed/.winnow").glob("*/**/*")):
            raise SystemExit("nothing was done when it was killed: give a larger --size")
        attempts.append(attempt(job("killed"), log=log))
        print(
            f"gone on, to the end: {attempts[-1].seconds:.0f} s, in all"
            f" {sum(each.seconds for each in attempts):.0f} s,"
            f" peak {max(each.peak for each in attempts):.0f} MiB"
        )
        expected, found = digests(directory / "whole"), digests(directory / "killed")
        same = expected == found
        print(f"{len(expected)} files, {'the same' if same else 'NOT THE SAME'}: {expected}")
        if not same or not expected:
            raise SystemExit(1)


if __name__ == "__main__":
    main()
