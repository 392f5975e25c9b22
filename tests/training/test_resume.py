"""A run that was killed, or had no room, goes on as if nothing had happened."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch

from filter.cli.app import run
from training.config import TrainConfig
from training.config_files import write_yaml
from training.provenance import read_provenance
from training.run_directory import is_whole, last_checkpoint, remove_broken
from training.trainer import train

Values = dict[str, Any]


def write_config(values: Values, path: Path) -> str:
    write_yaml(path, values)
    return str(path)


def weights(directory: Path) -> dict[str, torch.Tensor]:
    from safetensors.torch import load_file

    return load_file(directory / "model.safetensors")


def log(output: Path) -> list[dict[str, float]]:
    """What was logged, but for the seconds that it took."""
    lines = (output / "log.jsonl").read_text(encoding="utf-8").splitlines()
    entries = [json.loads(line) for line in lines]
    return [{k: v for k, v in entry.items() if k != "eval_seconds"} for entry in entries]


def assert_same_run(one: Path, two: Path) -> None:
    assert log(one) == log(two)
    expected, found = weights(one / "model"), weights(two / "model")
    assert expected.keys() == found.keys()
    for name, tensor in expected.items():
        assert torch.equal(tensor, found[name]), name
    for key in ("steps", "best_step", "best"):
        assert read_provenance(one)["finished"][key] == read_provenance(two)["finished"][key]


@pytest.mark.slow
def test_a_run_killed_in_its_midst_goes_on_to_the_same_end(
    labelled_config: Values, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    values = {**labelled_config, "steps": 60, "save_steps": 4, "log_steps": 3}
    values["evaluation"] = {"labelled": ["labelled.jsonl"], "steps": 4}
    values["early_stopping"] = {"patience": 50}  # its count is to survive, too
    values["base"] = dropout_base(values, tmp_path / "base")
    killed = tmp_path / "killed"
    command = ["train", "-c", write_config({**values, "output": str(killed)}, tmp_path / "k.yaml")]
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["training.trainer"])
    process = context.Process(target=run, args=(command,))
    process.start()
    while not (killed / "checkpoint-8" / "trainer_state.json").exists():
        process.join(timeout=0.01)
        assert process.is_alive(), "the run ended before it was killed"
    assert process.pid is not None
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    assert process.exitcode == -signal.SIGKILL and not (killed / "model").exists()

    assert run(command) == 0
    errors = capfd.readouterr().err
    sittings = read_provenance(killed)["sittings"]
    assert [sitting["resumed_from"] is None for sitting in sittings] == [True, False]
    assert f"going on from {killed}/checkpoint-{sittings[1]['resumed_from']}" in errors
    undisturbed = {**values, "output": str(tmp_path / "undisturbed")}
    assert run(["train", "-c", write_config(undisturbed, tmp_path / "u.yaml")]) == 0
    assert_same_run(tmp_path / "undisturbed", killed)


def dropout_base(values: Values, output: Path) -> str:
    """A model whose training draws random numbers at every step."""
    start = {**values, "output": str(output), "steps": 1, "save_steps": 4, "early_stopping": None}
    model = train(TrainConfig.model_validate(start))
    config = json.loads((model / "config.json").read_bytes())
    config.update(classifier_dropout=0.3, embedding_dropout=0.3, mlp_dropout=0.3)
    (model / "config.json").write_text(json.dumps(config), encoding="utf-8")
    return str(model)


@pytest.fixture
def finished(labelled_config: Values) -> tuple[TrainConfig, Path]:
    config = TrainConfig.model_validate({**labelled_config, "save_total_limit": 9})
    train(config)
    return config, Path(config.output)


def test_a_checkpoint_written_in_part_is_thrown_away(finished: tuple[TrainConfig, Path]) -> None:
    config, output = finished
    undisturbed = log(output), weights(output / "model")
    files = {path.name for path in (output / "checkpoint-6").iterdir()}
    for name in sorted(files & {"optimizer.pt", "scheduler.pt", "rng_state.pth"}):
        whole = (output / "checkpoint-6" / name).read_bytes()
        (output / "checkpoint-6" / name).write_bytes(whole[: len(whole) // 2])
        assert not is_whole(output / "checkpoint-6"), name
        (output / "checkpoint-6" / name).write_bytes(whole)
        assert is_whole(output / "checkpoint-6")
    state = output / "checkpoint-6" / "trainer_state.json"
    state.write_text(state.read_text(encoding="utf-8")[:-30], encoding="utf-8")
    assert last_checkpoint(output) == output / "checkpoint-4"
    (output / "model" / "config.json").unlink()
    train(config)
    assert (log(output), weights(output / "model").keys()) == (
        undisturbed[0],
        undisturbed[1].keys(),
    )
    assert all(torch.equal(t, undisturbed[1][n]) for n, t in weights(output / "model").items())
    assert is_whole(output / "checkpoint-6")


def test_a_checkpoint_of_several_processes_has_the_numbers_of_all(
    finished: tuple[TrainConfig, Path],
) -> None:
    _, output = finished
    checkpoint = output / "checkpoint-6"
    state = json.loads((checkpoint / "trainer_state.json").read_bytes())
    state["stateful_callbacks"]["Rhythm"]["attributes"]["processes"] = 2
    (checkpoint / "trainer_state.json").write_text(json.dumps(state), encoding="utf-8")
    numbers = (checkpoint / "rng_state.pth").read_bytes()
    (checkpoint / "rng_state_0.pth").write_bytes(numbers)
    assert not is_whole(checkpoint)
    (checkpoint / "rng_state_1.pth").write_bytes(numbers)
    assert is_whole(checkpoint)
    (checkpoint / "rng_state_1.pth").unlink()
    remove_broken(output)
    assert not checkpoint.exists() and (output / "checkpoint-4").exists()


def test_a_finished_run_says_so_and_longer_ones_go_on(
    finished: tuple[TrainConfig, Path],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
) -> None:
    config, output = finished
    stamp = (output / "model" / "model.safetensors").stat().st_mtime_ns
    assert run(["train", "-c", str(output / "resolved.yaml")]) == 0
    assert capsys.readouterr().out == f"{output / 'model'}\n"
    assert "this run is done" in caplog.text
    assert (output / "model" / "model.safetensors").stat().st_mtime_ns == stamp
    longer = config.model_copy(update={"steps": 9, "save_steps": 3})
    longer.evaluation.steps = 3
    train(longer)
    assert read_provenance(output)["finished"]["steps"] == 9
    evaluated = [entry["step"] for entry in log(output) if "eval_recall" in entry]
    assert evaluated == [2, 4, 6, 9]  # the steps of the configuration, not of the checkpoint


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """Writing beyond so many bytes fails, as it does on a full disk."""
    resource = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("culprit", ["model.safetensors", "optimizer.pt"])
def test_a_full_disk_is_one_line_and_the_run_goes_on_with_room(
    finished: tuple[TrainConfig, Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    culprit: str,
) -> None:
    _, undisturbed = finished
    size = (undisturbed / "checkpoint-6" / culprit).stat().st_size
    output = tmp_path / "full"
    command = ["train", "-c", str(undisturbed / "resolved.yaml"), "-o", str(output)]
    with largest_file(size - 1):
        assert run(command) == 2
    last_line = capsys.readouterr().err.splitlines()[-1]
    assert last_line.startswith(f"winnow: error: {output}: no room to write (")
    assert last_line.endswith("the run goes on from its beginning")
    assert not list(output.glob("checkpoint-*"))
    assert run(command) == 0
    assert_same_run(undisturbed, output)


def test_no_space_left_keeps_the_checkpoint_before(
    finished: tuple[TrainConfig, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    _, undisturbed = finished
    output = tmp_path / "full"
    command = ["train", "-c", str(undisturbed / "resolved.yaml"), "-o", str(output)]
    save = torch.save

    def full(value: object, path: Any, *rest: Any, **more: Any) -> None:
        if "checkpoint-4" in str(path):
            raise OSError(28, "No space left on device", str(path))
        save(value, path, *rest, **more)

    with monkeypatch.context() as patch:
        patch.setattr(torch, "save", full)
        assert run(command) == 2
    assert "No space left on device" in (errors := capsys.readouterr().err)
    assert errors.splitlines()[-1].endswith("the run goes on from checkpoint-2")
    assert run(command) == 0
    assert_same_run(undisturbed, output)
