"""Attention that keeps to each window of a packed row, by a kernel of torch or of flash-attn.

A kernel is registered with transformers under a name of ours, so that a model is never changed but
in its setting. Which kernels there are depends on the library, the device, the number format and
the width of a head; therefore each is tried on a few windows first, and used only if they come out
as they do one by one.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from filter.engines.packing import (
    FIRST_POSITION,
    Batch,
    forward_packed,
    forward_padded,
    plan_packed,
    plan_padded,
)

CUDA_KERNELS = ("torch", "flash-attn")
"""Kernels for CUDA, the better ones first."""

TOLERANCE = 0.05
"""What rounding may make of a difference, as a share of what is compared: half a percent is usual
in bfloat16; windows that see each other, or are told wrong positions, make more."""


@dataclass(frozen=True, slots=True)
class Reach:
    """What a token of a packed row attends to, and how.

    Attributes:
        bounds: (windows + 1,) int32 on the device: where each window begins, and the end.
        longest: Tokens of the longest window.
        scale: Factor of the scores.
        side: Tokens seen to either side, or None for all the window.
    """

    bounds: Any
    longest: int
    scale: float
    side: int | None


def torch_kernel(query: Any, key: Any, value: Any, reach: Reach) -> Any:
    """The varlen attention that comes with torch (2.10 or later)."""
    from torch.nn.attention.varlen import varlen_attn

    options: dict[str, Any] = {}
    if "scale" in _parameters(varlen_attn):
        options["scale"] = reach.scale
    else:
        query = query * (reach.scale * query.shape[-1] ** 0.5)
    if reach.side is not None:
        options["window_size"] = (reach.side, reach.side)
    bounds, longest = reach.bounds, reach.longest
    return varlen_attn(query, key, value, bounds, bounds, longest, longest, **options)


def flash_attn_kernel(query: Any, key: Any, value: Any, reach: Reach) -> Any:
    """The varlen attention of the package flash-attn."""
    from flash_attn import flash_attn_varlen_func

    return flash_attn_varlen_func(
        query,
        key,
        value,
        cu_seqlens_q=reach.bounds,
        cu_seqlens_k=reach.bounds,
        max_seqlen_q=reach.longest,
        max_seqlen_k=reach.longest,
        softmax_scale=reach.scale,
        window_size=(-1, -1) if reach.side is None else (reach.side, reach.side),
    )


def loop_kernel(query: Any, key: Any, value: Any, reach: Reach) -> Any:
    """Attention window by window, on any device: what the others must agree with."""
    import torch
    from torch.nn.functional import scaled_dot_product_attention

    found = torch.empty_like(query)
    bounds = reach.bounds.tolist()
    for start, end in pairwise(bounds):
        near = None
        if reach.side is not None:
            place = torch.arange(end - start, device=query.device)
            near = (place[:, None] - place).abs() <= reach.side
        # (1, heads, tokens, width), as torch wants it.
        q, k, v = (part[start:end].transpose(0, 1)[None] for part in (query, key, value))
        outcome = scaled_dot_product_attention(q, k, v, attn_mask=near, scale=reach.scale)
        found[start:end] = outcome[0].transpose(0, 1)
    return found


Kernel = Callable[[Any, Any, Any, Reach], Any]
"""Query, key and value, each (tokens, heads, width), to (tokens, heads, width)."""

KERNELS: dict[str, Kernel] = {
    "torch": torch_kernel,
    "flash-attn": flash_attn_kernel,
    "loop": loop_kernel,
}


def use_kernel(model: Any, name: str) -> None:
    """Gives a model one of the KERNELS; from then on it takes packed batches, and no others."""
    from transformers import AttentionInterface

    kernel = KERNELS[name]

    def attention(
        module: Any,
        query: Any,
        key: Any,
        value: Any,
        attention_mask: Any,
        *,
        cu_seq_lens_q: Any,
        max_length_q: int,
        scaling: float | None = None,
        sliding_window: int | None = None,
        **_: Any,
    ) -> tuple[Any, None]:
        scale = query.shape[-1] ** -0.5 if scaling is None else scaling
        # A sliding window of transformers counts the token itself.
        side = None if sliding_window is None else sliding_window - 1
        # Models have (1, heads, tokens, width).
        query, key, value = (part[0].transpose(0, 1) for part in (query, key, value))
        return kernel(query, key, value, Reach(cu_seq_lens_q, max_length_q, scale, side))[
            None
        ], None

    # It has no mask function beside it, and so no mask is made for it.
    AttentionInterface.register(f"winnow_{name}", attention)
    model.set_attn_implementation(f"winnow_{name}")


def pick_kernel(model: Any, names: Sequence[str] = CUDA_KERNELS) -> tuple[str | None, str]:
    """Gives a model the first kernel that gives it the logits which it gives without.

    Args:
        model: On its device, in its number format, with an attention of its own.
        names: Some of the KERNELS.

    Returns:
        The kernel, or None where the model is left as it was; and what spoke against those before.
    """
    kind = model.config.model_type
    if kind not in FIRST_POSITION:
        return None, f"not known to work for {kind!r}"
    before = model.config._attn_implementation
    lengths, ids = _trial(model.config)
    expected = _logits(model, ids, next(plan_padded(lengths, len(ids) * len(lengths))))
    reasons: list[str] = []
    for name in names:
        try:
            difference = _kernel_difference(KERNELS[name], model, lengths)
            if difference < TOLERANCE:
                use_kernel(model, name)
                found = _logits(model, ids, next(plan_packed(lengths, len(ids))))
                difference = float(np.linalg.norm(found - expected) / np.linalg.norm(expected))
            if difference < TOLERANCE:
                return name, "; ".join(reasons)
            reason = f"its results are off by {difference:.0%}"
        except Exception as error:  # a library of others raises what it pleases
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        reasons.append(f"kernel {name!r}: {reason}")
        model.set_attn_implementation(before)
    return None, "; ".join(reasons)


def _trial(config: Any) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    """Windows to try a kernel on: lengths and ids, no padding token among them."""
    positions = getattr(config, "max_position_embeddings", 32) - 2  # RoBERTa's table has two more
    lengths = np.minimum(np.array([3, 32, 1, 17, 29]), positions)
    allowed = np.setdiff1d(np.arange(min(config.vocab_size, 4096)), [config.pad_token_id or 0])
    ids = allowed[np.arange(lengths.sum()) * 7919 % len(allowed)]
    return lengths, ids.astype(np.int32)


def _kernel_difference(kernel: Kernel, model: Any, lengths: NDArray[np.int64]) -> float:
    """How far a kernel is from the loop, on random numbers in the shapes of a model."""
    import torch

    heads = model.config.num_attention_heads
    shape = (int(lengths.sum()), heads, model.config.hidden_size // heads)
    generator = torch.Generator().manual_seed(0)
    query, key, value = (
        torch.randn(shape, generator=generator).to(model.device, model.dtype) for _ in range(3)
    )
    bounds = torch.from_numpy(np.concatenate(([0], np.cumsum(lengths))).astype(np.int32))
    sliding = "sliding_attention" in getattr(model.config, "layer_types", ())
    differences = []
    for side in (None, model.config.sliding_window) if sliding else (None,):
        reach = Reach(bounds.to(model.device), int(lengths.max()), shape[2] ** -0.5, side)
        with torch.inference_mode():
            expected = loop_kernel(query, key, value, reach).float()
            found = kernel(query, key, value, reach).float()
        differences.append(float((found - expected).norm() / expected.norm()))
    return max(differences)


def _logits(model: Any, ids: NDArray[np.int32], batch: Batch) -> NDArray[np.float32]:
    """The logits of a batch that holds all of the ids."""
    import torch

    row = np.full(batch.cells, model.config.pad_token_id or 0, dtype=np.int32)
    row[batch.place] = ids[batch.tokens]
    forward = forward_padded if batch.rows > 1 else forward_packed
    with torch.inference_mode():
        there, extents = (torch.from_numpy(part).to(model.device) for part in (row, batch.extents))
        cells = forward(model, there, extents, batch).float().cpu().numpy()
    logits = np.empty((len(ids), cells.shape[1]), dtype=np.float32)
    logits[batch.tokens] = cells[batch.place]
    return logits


@lru_cache
def _parameters(function: Callable[..., Any]) -> frozenset[str]:
    return frozenset(inspect.signature(function).parameters)
