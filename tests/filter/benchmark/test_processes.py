"""What a process costs is measured of that process alone."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from filter.benchmark.processes import cold_start, peak_memory
from filter.errors import WinnowError


@pytest.fixture
def options(tiny_model: Path) -> dict[str, Any]:
    return {
        "name_or_path": str(tiny_model),
        "engine": "onnx",
        "device": "cpu",
        "dtype": "float32",
        "threshold": 0.6,
        "keep": ("ad", "link"),
    }


def test_a_start_is_the_sum_of_its_phases(options: dict[str, Any], sample: str) -> None:
    start = cold_start(options, sample, starts=1)
    phases = start["phases"]
    assert list(phases) == [
        *("interpreter", "imports", "model_files", "runtime_import", "session", "page", "rest")
    ]
    assert sum(phases.values()) == pytest.approx(start["seconds"])
    assert all(phases[name] > 0 for name in ("interpreter", "imports", "model_files", "page"))
    assert start["runs"] == [start["seconds"]]
    assert start["characters"] == len(sample)


def test_a_start_that_fails_says_why(options: dict[str, Any], sample: str) -> None:
    with pytest.raises(WinnowError, match="unknown label 'adv'"):
        cold_start({**options, "keep": ("adv",)}, sample, starts=1)


def test_memory_is_that_of_the_process_not_of_the_one_that_started_it(
    options: dict[str, Any], sample: str
) -> None:
    ballast = bytearray(b"x") * 300_000_000
    found = peak_memory(options, [sample, sample, "\ud800"])
    assert found["characters"] == 2 * len(sample) + 1
    assert 10_000_000 < found["peak_memory_bytes"] < len(ballast)


def test_memory_that_a_process_held_once_counts() -> None:
    code = """
from filter.benchmark import child
before = child.peak_memory()
ballast = bytearray(b"x") * 150_000_000
del ballast
print(child.peak_memory() - before)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    assert 100_000_000 < int(done.stdout) < 400_000_000
