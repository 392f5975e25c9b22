"""Kernels: each agrees with the loop over windows, and one that does not is left alone."""

from __future__ import annotations

import sys
import types
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest

from filter.engines import attention
from filter.engines.attention import KERNELS, Reach, loop_kernel, pick_kernel

torch = pytest.importorskip("torch")


def parts(n_tokens: int) -> tuple[Any, Any, Any]:
    generator = torch.Generator().manual_seed(0)
    query, key, value = (torch.randn(n_tokens, 2, 8, generator=generator) for _ in range(3))
    return query, key, value


def reach(*bounds: int, scale: float = 8**-0.5, side: int | None = None) -> Reach:
    longest = max(b - a for a, b in pairwise(bounds))
    return Reach(torch.tensor(bounds, dtype=torch.int32), longest, scale, side)


@pytest.mark.parametrize("side", [None, 2])
def test_the_loop_is_attention_under_a_mask(side: int | None) -> None:
    query, key, value = parts(12)
    window = torch.tensor([0] * 3 + [1] * 1 + [2] * 8)
    allowed = window[:, None] == window
    if side is not None:
        place = torch.arange(12)
        allowed &= (place[:, None] - place).abs() <= side
    scores = torch.einsum("qhw,khw->hqk", query, key) * 0.5
    weights = scores.masked_fill(~allowed, float("-inf")).softmax(-1)
    expected = torch.einsum("hqk,khw->qhw", weights, value)
    found = loop_kernel(query, key, value, reach(0, 3, 4, 12, scale=0.5, side=side))
    torch.testing.assert_close(found, expected)


def early_varlen(
    query: Any,
    key: Any,
    value: Any,
    cu_seq_q: Any,
    cu_seq_k: Any,
    max_q: int,
    max_k: int,
    is_causal: bool = False,
    return_aux: Any = None,
) -> Any:
    """torch 2.10's: no scale, no sliding window."""
    assert torch.equal(cu_seq_q, cu_seq_k) and max_q == max_k and not is_causal
    return loop_kernel(query, key, value, Reach(cu_seq_q, max_q, query.shape[-1] ** -0.5, None))


def late_varlen(
    query: Any,
    key: Any,
    value: Any,
    cu_seq_q: Any,
    cu_seq_k: Any,
    max_q: int,
    max_k: int,
    *,
    return_aux: Any = None,
    scale: float | None = None,
    window_size: tuple[int, int] = (-1, -1),
) -> Any:
    """torch 2.11's and later."""
    assert torch.equal(cu_seq_q, cu_seq_k) and max_q == max_k and window_size[0] == window_size[1]
    side = None if window_size[0] < 0 else window_size[0]
    return loop_kernel(query, key, value, Reach(cu_seq_q, max_q, scale or 1.0, side))


@pytest.mark.parametrize("function", [early_varlen, late_varlen])
def test_torchs_kernel_is_told_what_its_version_knows(
    function: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.nn.attention.varlen.varlen_attn", function)
    asked = reach(0, 5, 12, scale=0.7)
    found = attention.torch_kernel(*parts(12), asked)
    torch.testing.assert_close(found, loop_kernel(*parts(12), asked))
    sliding = reach(0, 5, 12, side=2)
    if function is late_varlen:
        found = attention.torch_kernel(*parts(12), sliding)
        torch.testing.assert_close(found, loop_kernel(*parts(12), sliding))
    else:
        with pytest.raises(TypeError, match="window_size"):
            attention.torch_kernel(*parts(12), sliding)


def test_this_torch_takes_the_arguments_that_it_is_given() -> None:
    # There is no such kernel for a CPU; it must be the device that is refused, and nothing else.
    with pytest.raises(NotImplementedError, match="'CPU' backend"):
        attention.torch_kernel(*parts(12), reach(0, 5, 12, side=2))


@pytest.mark.parametrize("side", [None, 2])
def test_flash_attns_kernel(side: int | None, monkeypatch: pytest.MonkeyPatch) -> None:
    def flash_attn_varlen_func(
        q: Any,
        k: Any,
        v: Any,
        cu_seqlens_q: Any,
        cu_seqlens_k: Any,
        max_seqlen_q: int,
        max_seqlen_k: int,
        dropout_p: float = 0.0,
        softmax_scale: float | None = None,
        causal: bool = False,
        window_size: tuple[int, int] = (-1, -1),
    ) -> Any:
        side = None if window_size == (-1, -1) else window_size[0]
        return loop_kernel(q, k, v, Reach(cu_seqlens_k, max_seqlen_k, softmax_scale or 1.0, side))

    module: Any = types.ModuleType("flash_attn")
    module.flash_attn_varlen_func = flash_attn_varlen_func
    monkeypatch.setitem(sys.modules, "flash_attn", module)
    asked = reach(0, 5, 12, side=side)
    found = attention.flash_attn_kernel(*parts(12), asked)
    torch.testing.assert_close(found, loop_kernel(*parts(12), asked))


def test_a_kernel_that_agrees_is_taken(make_network: Callable[..., Any]) -> None:
    model = make_network("Bert")
    assert pick_kernel(model, ["loop"]) == ("loop", "")
    assert model.config._attn_implementation == "winnow_loop"


@pytest.mark.parametrize("architecture", ["Bert", "ModernBert"])
def test_a_kernel_that_lets_windows_see_each_other_is_refused(
    architecture: str, make_network: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def everything(query: Any, key: Any, value: Any, asked: Reach) -> Any:
        whole = torch.tensor([0, len(query)])
        return loop_kernel(query, key, value, Reach(whole, len(query), asked.scale, None))

    monkeypatch.setitem(KERNELS, "torch", everything)
    model = make_network(architecture)
    kernel, reasons = pick_kernel(model, ["torch"])
    assert kernel is None
    assert "off by" in reasons
    assert model.config._attn_implementation == "sdpa"


def test_wrong_positions_are_noticed(
    make_network: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(attention.FIRST_POSITION, "bert", lambda config: 3)
    kernel, reasons = pick_kernel(make_network("Bert"), ["loop"])
    assert kernel is None and "off by" in reasons


def test_the_next_kernel_is_tried_and_what_failed_is_told(
    make_network: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "flash_attn", None)
    kernel, reasons = pick_kernel(make_network("ModernBert"), ["flash-attn", "torch", "loop"])
    assert kernel == "loop"
    assert "kernel 'flash-attn': import of flash_attn halted" in reasons
    assert "kernel 'torch': " in reasons and "\n" not in reasons


def test_an_architecture_that_is_not_known_is_left_as_it_was(
    make_network: Callable[..., Any],
) -> None:
    model = make_network("DebertaV2", attn_implementation="eager")
    assert pick_kernel(model, ["loop"]) == (None, "not known to work for 'deberta-v2'")
