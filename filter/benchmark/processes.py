"""What a process costs: a start of `winnow clean`, phase by phase, and the peak of memory.

Both are taken of new processes, so that what this one has loaded for the peer does not count. The
files are in the system's cache: the first start is not counted.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from filter.errors import WinnowError

COMMAND = "from filter.cli.app import main; main()"
PHASES = "import time; begin = time.time(); from filter.benchmark import child; child.phases(begin)"
MEMORY = "from filter.benchmark import child; child.memory()"

FLAGS = {
    "name_or_path": "--model",
    "device": "--device",
    "engine": "--engine",
    "dtype": "--dtype",
    "threshold": "--threshold",
    "max_batch_tokens": "--batch-tokens",
}
"""Options of `winnow clean` by what `from_pretrained` calls them."""


def cold_start(options: Mapping[str, Any], page: str, *, starts: int) -> dict[str, Any]:
    """Seconds from nothing to the end of `winnow clean` on one page.

    Args:
        options: What `from_pretrained` takes.
        page: The page.
        starts: How many are counted; one before them is not.

    Returns:
        `seconds` (median), `runs` (all), `characters` of the page, and `phases`: median seconds by
        phase, in order, the last of which (`rest`) is what the others leave of `seconds`.
    """
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "page.txt"
        path.write_text(page, encoding="utf-8", newline="")
        flags = [
            f"{FLAGS[name]}={options[name]}" for name in FLAGS if options.get(name) is not None
        ]
        flags += [f"--keep={label}" for label in options.get("keep", ())]
        runs, parts = [], []
        for _ in range(starts + 1):
            # Both in turn: what slows the machine slows both.
            begin = time.perf_counter()
            _run(COMMAND, "clean", str(path), *flags)
            runs.append(time.perf_counter() - begin)
            parts.append(json.loads(_run(PHASES, str(time.time()), json.dumps(options), str(path))))
    seconds = statistics.median(runs[1:])
    phases = {name: statistics.median(part[name] for part in parts[1:]) for name in parts[0]}
    phases["rest"] = seconds - sum(phases.values())
    return {"seconds": seconds, "runs": runs[1:], "characters": len(page), "phases": phases}


def peak_memory(options: Mapping[str, Any], pages: Iterable[str]) -> dict[str, Any]:
    """Bytes that a process which filters pages holds at most.

    Args:
        options: What `from_pretrained` takes.
        pages: The pages.

    Returns:
        `peak_memory_bytes`, `characters`, and on CUDA `peak_device_memory_bytes`.

    Raises:
        WinnowError: the process failed, or the system does not say.
    """
    lines = "".join(json.dumps(page) + "\n" for page in pages)
    found: dict[str, Any] = json.loads(_run(MEMORY, json.dumps(options), given=lines.encode()))
    if found["peak_memory_bytes"] is None:
        raise WinnowError("this system does not say how much memory a process has held")
    return found


def _run(code: str, *arguments: str, given: bytes = b"") -> bytes:
    """What a new Python writes to stdout.

    Raises:
        WinnowError: it failed; the message has its last line.
    """
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], input=given, capture_output=True, check=False
    )
    if done.returncode != 0:
        lines = done.stderr.decode("utf-8", "replace").strip().splitlines()
        reason = lines[-1] if lines else f"exit code {done.returncode}"
        raise WinnowError(f"a process that was started to be measured failed: {reason}")
    return done.stdout
