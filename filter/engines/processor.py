"""What the processor can multiply fast, which decides the number format on a CPU.

ONNX Runtime's int8 is the choice wherever a model has it: its kernels use AMX, AVX-512 VNNI,
AVX-VNNI or plain AVX2 (and dot products on Arm) as they find them, and each of these multiplies
bytes faster than floats. torch, for models without ONNX files, multiplies bfloat16 faster than
float32 only where there are instructions for it.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

KNOWN = (
    "amx_int8",
    "amx_bf16",
    "avx512_vnni",
    "avx_vnni",
    "avx512_bf16",
    "avx2",
    "asimddp",
    "bf16",
)
"""Features that matter here, by their names in /proc/cpuinfo; the last two are Arm's."""

BFLOAT16 = frozenset({"amx_bf16", "avx512_bf16", "bf16"})


@cache
def features() -> frozenset[str]:
    """Those of `KNOWN` that this processor has; none where it cannot be asked (not Linux)."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return frozenset()
    flags = next((line for line in lines if line.lower().startswith(("flags", "features"))), "")
    return frozenset(KNOWN) & frozenset(flags.partition(":")[2].split())


def multiplies_bfloat16() -> bool:
    """Whether products in bfloat16 have instructions of their own."""
    return bool(features() & BFLOAT16)
