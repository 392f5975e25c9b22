"""What a measurement was taken on: without it a figure means nothing."""

from __future__ import annotations

import os
import platform
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from filter.engines.onnx import available_cpus

PACKAGES = ("winnow-zh", "onnxruntime", "numpy", "torch", "transformers")
INSTRUCTIONS = ("avx2", "avx512f", "avx_vnni", "avx512_vnni", "amx_int8", "amx_bf16", "asimddp")
"""Sets of instructions that engines choose by, as Linux names them."""


def describe_machine(device: str) -> dict[str, Any]:
    """Processor, device, versions, and how busy the machine was.

    Args:
        device: Where the engine runs.
    """
    model, flags = _processor()
    described: dict[str, Any] = {
        "processor": model,
        "processors": available_cpus(),
        "instructions": [name for name in INSTRUCTIONS if name in flags],
        "system": platform.platform(),
        "python": platform.python_version(),
        "packages": _versions(),
        "load": load(),
    }
    if device != "cpu":
        import torch

        described["device"] = torch.cuda.get_device_name(device)
    return described


def load() -> float | None:
    """Processes that wanted a processor over the last minute, on average; None if not known."""
    try:
        return os.getloadavg()[0]
    except (AttributeError, OSError):
        return None


def _processor() -> tuple[str, set[str]]:
    name, flags = platform.processor() or platform.machine(), set()
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            key, _, value = line.partition(":")
            if key.strip() == "model name":
                name = value.strip()
            if key.strip() in ("flags", "Features"):
                flags = set(value.split())
    return name, flags


def _versions() -> dict[str, str]:
    found = {}
    for package in PACKAGES:
        with suppress(PackageNotFoundError):
            found[package] = version(package)
    return found
