"""What a run computes on: device, number format, kind of attention."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import torch

from filter.errors import UsageError
from training.config import RunConfig

if TYPE_CHECKING:
    from transformers import PreTrainedModel

EAGER_WINDOW, EAGER_WINDOW_FLOAT32 = 512, 256
"""Longest windows for which plain attention is the fastest on a CPU, in bfloat16 (by 9% at 256,
compiled) and in float32, where a step at 512 takes a quarter less with torch's fused one."""


def place_arguments(config: RunConfig) -> dict[str, Any]:
    """The Trainer's arguments that depend on the machine.

    Raises:
        UsageError: a GPU is asked for and there is none.
    """
    if config.device == "cuda" and not torch.cuda.is_available():
        raise UsageError(
            f"device: cuda was asked for, and torch {torch.__version__} sees no GPU; set device=cpu"
            " or device=auto, or install a torch built for the GPU's driver"
        )
    launched = "LOCAL_RANK" in os.environ
    gpu = config.device != "cpu" and torch.cuda.is_available()
    return {
        "use_cpu": not gpu,
        "ddp_backend": "gloo" if launched and not gpu else None,
        "bf16": use_bf16(config, gpu=gpu),
        "dataloader_pin_memory": gpu,
    }


def use_bf16(config: RunConfig, *, gpu: bool) -> bool:
    """Whether to train under bf16 autocast: where the processor or the GPU computes in it."""
    if config.bf16 != "auto":
        return config.bf16
    return computes_in_bf16(torch.device("cuda" if gpu else "cpu"))


def computes_in_bf16(device: torch.device) -> bool:
    """Whether a device multiplies bfloat16 itself; one that emulates it is far slower so."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    capabilities = torch.cpu.get_capabilities()
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))


def device_name(device: torch.device) -> str:
    """The GPU's name, or what the processor can."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return str(torch.backends.cpu.get_cpu_capability())


def pick_attention(config: RunConfig, device: torch.device) -> str:
    """The implementation of attention: the fastest for a device and a length of window."""
    if config.attention != "auto":
        return config.attention
    if device.type != "cpu":
        return "sdpa"
    longest = EAGER_WINDOW if use_bf16(config, gpu=False) else EAGER_WINDOW_FLOAT32
    return "eager" if config.window <= longest else "sdpa"


def set_attention(model: PreTrainedModel, name: str) -> None:
    """Makes a network use an implementation of attention.

    Raises:
        UsageError: the network or the machine has none of that name.
    """
    try:
        model.set_attn_implementation(name)
    except (ImportError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise UsageError(
            f"attention: {name} cannot be used here ({reason[:200]}); set attention=auto"
        ) from error
