"""Two processes over gloo, by torchrun or accelerate, are one with batches of twice the size."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from training.config import TrainConfig
from training.config_files import write_yaml
from training.provenance import read_provenance
from training.trainer import train

ROOT = Path(__file__).parents[2]


TORCHRUN = ("torch.distributed.run", "--nproc-per-node", "2", "--master-addr", "127.0.0.1")
# Without a GPU, accelerate starts several processes only under this flag; the variable keeps them
# on the CPU.
ACCELERATE = (
    "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2", "--num_machines", "1",
    "--mixed_precision", "no", "--dynamo_backend", "no",
)  # fmt: skip


def launch(launcher: tuple[str, ...], *arguments: str) -> subprocess.CompletedProcess[str]:
    """Starts ``python -m training`` in two processes."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    module, *options = launcher
    master = ["--master-port" if module == TORCHRUN[0] else "--main_process_port", str(port)]
    environment = {
        **os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "1"
    }  # fmt: skip
    return subprocess.run(
        [sys.executable, "-m", module, *options, *master, "-m", "training", *arguments],
        capture_output=True,
        text=True,
        env=environment,
        timeout=300,
        check=False,
    )


def weights(directory: Path) -> dict[str, torch.Tensor]:
    from safetensors.torch import load_file

    return load_file(directory / "model.safetensors")


def log(output: Path) -> list[dict[str, float]]:
    lines = (output / "log.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


@pytest.mark.slow
@pytest.mark.parametrize("launcher", [TORCHRUN, ACCELERATE], ids=["torchrun", "accelerate"])
def test_two_processes_are_one_with_twice_the_batch(
    launcher: tuple[str, ...], labelled_config: dict[str, Any], tmp_path: Path
) -> None:
    if not torch.distributed.is_available():
        pytest.skip("this torch has no torch.distributed")
    one, two = tmp_path / "one", tmp_path / "two"
    loss = {"focal_gamma": 1.0, "label_weights": "balanced"}
    common = {**labelled_config, "loss": loss, "accumulation": 2, "labels": ["link", "boilerplate"]}
    write_yaml(tmp_path / "two.yaml", {**common, "output": str(two), "batch_size": 2})
    done = launch(launcher, "--config", str(tmp_path / "two.yaml"))
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{two / 'model'}\n"
    assert done.stderr.count("mixture:") == 1

    train(TrainConfig.model_validate({**common, "output": str(one), "batch_size": 4}))
    for expected, found in zip(log(one), log(two), strict=True):
        assert expected.keys() == found.keys()
        for key in expected.keys() - {"eval_seconds"}:
            assert found[key] == pytest.approx(expected[key], rel=1e-3, abs=1e-4), key
    after = weights(two / "model")
    for name, tensor in weights(one / "model").items():
        assert torch.allclose(tensor, after[name], atol=1e-4), name
    assert read_provenance(two)["sittings"][0]["processes"] == 2
    random = {path.name for path in (two / "checkpoint-6").glob("rng_state*")}
    assert random == {"rng_state_0.pth", "rng_state_1.pth"}
