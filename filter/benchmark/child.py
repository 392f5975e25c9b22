"""What runs in a process of its own: the phases of a start, and pages for the peak of memory.

Nothing is imported here before it is asked for, since the imports are what is timed. Both write
one line of JSON.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any


def phases(begin: float) -> None:
    """Does what `winnow clean` does with one page, and says when it was where.

    Arguments of the process: the time at which it was started, what `from_pretrained` takes as
    JSON, and a file with the page.

    Args:
        begin: The time at which Python was ready (of `time.time`, which processes share).
    """
    started, options, path = sys.argv[1:4]
    # The name of each phase, and when it began.
    marks = [("interpreter", float(started)), ("imports", begin)]
    import filter.cli.app  # noqa: F401  (what the command imports)
    from filter.content_filter import ContentFilter

    marks.append(("model_files", time.time()))
    content_filter = ContentFilter.from_pretrained(**json.loads(options))
    marks.append(("runtime_import", time.time()))
    if content_filter.engine.startswith("onnx"):
        import onnxruntime  # noqa: F401  (so that it has a phase of its own)
    text = Path(path).read_text(encoding="utf-8")
    marks.append(("session", time.time()))
    content_filter(text)
    marks.append(("page", time.time()))
    content_filter(text)
    marks.append(("end", time.time()))
    seconds = {name: end - at for (name, at), (_, end) in pairwise(marks)}
    # The first page opens the session, too; the second is but a page.
    seconds["session"] -= seconds["page"]
    print(json.dumps(seconds))


def memory() -> None:
    """Filters the pages on stdin, JSON strings, a line each, and says what that took at most.

    Argument of the process: what `from_pretrained` takes as JSON.
    """
    from filter.content_filter import ContentFilter

    content_filter = ContentFilter.from_pretrained(**json.loads(sys.argv[1]))
    characters = sum(len(page.text) for page in content_filter.pipe(_pages()))
    result: dict[str, Any] = {"characters": characters, "peak_memory_bytes": peak_memory()}
    device = content_filter.engine.rpartition("/")[2]
    if device != "cpu":
        import torch

        result["peak_device_memory_bytes"] = torch.cuda.max_memory_reserved(device)
    print(json.dumps(result))


def _pages() -> Iterator[str]:
    for line in sys.stdin.buffer:
        yield json.loads(line)


def peak_memory() -> int | None:
    """Bytes that this process has held at most; None where the system does not say."""
    try:
        # getrusage counts in what the parent held when this process was forked off from it.
        for line in Path("/proc/self/status").read_bytes().splitlines():
            if line.startswith(b"VmHWM:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    try:
        import resource
    except ImportError:
        return None
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
