"""What made a run is written beside it; the same again gives the same."""

from __future__ import annotations

import hashlib
import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from filter import __version__
from filter.cli.app import run
from training import provenance
from training.config import TrainConfig
from training.config_files import read_yaml, write_yaml
from training.injection import written
from training.run_directory import last_checkpoint

Values = dict[str, Any]


@pytest.fixture
def own_data(labelled_config: Values, corpus: Path, tmp_path: Path) -> Values:
    """A run on injected and labelled pages, over copies of the files."""
    root = tmp_path / "data"
    root.mkdir()
    for name in ("labelled.jsonl", "prose.jsonl"):
        (root / name).write_bytes((corpus / name).read_bytes())
    data = {
        "root": str(root),
        "prose": ["prose.jsonl"],
        "labelled": [{"path": "labelled.jsonl", "rate": 0.5, "injected": 0.5}],
    }
    evaluation = {"labelled": ["labelled.jsonl"], "steps": 3, "injected_pages": 1}
    return {**labelled_config, "data": data, "evaluation": evaluation, "save_steps": 3}


def start(values: Values, path: Path) -> Path:
    write_yaml(path, values)
    assert run(["train", "-c", str(path)]) == 0
    return Path(values["output"])


def test_a_run_tells_what_made_it_and_is_repeated_by_its_configuration(
    own_data: Values, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    first = start(own_data, tmp_path / "run.yaml")
    record = provenance.read_provenance(first)
    labelled = Path(own_data["data"]["root"]) / "labelled.jsonl"
    assert record["data"]["labelled.jsonl"] == {
        "bytes": labelled.stat().st_size,
        "sha256": hashlib.sha256(labelled.read_bytes()).hexdigest(),
    }
    own = {f"winnow:{path.name}" for path in written.DIRECTORY.glob("*.txt")}
    assert set(record["data"]) == {"labelled.jsonl", "prose.jsonl"} | own
    assert record["libraries"]["transformers"] == transformers.__version__
    assert record["source"]["version"] == __version__ and record["seed"] == 1
    (sitting,) = record["sittings"]
    assert sitting["started"] <= sitting["ended"] and sitting["resumed_from"] is None
    assert (sitting["device"], sitting["processes"]) == ("cpu", 1)
    assert record["finished"]["steps"] == 6

    resolved = read_yaml(first / "resolved.yaml")
    assert resolved["data"]["recipe"]["profiles"] and "keyword" in resolved["labels"]
    again = tmp_path / "again"
    assert run(["train", "-c", str(first / "resolved.yaml"), "-o", str(again)]) == 0
    one, two = ((path / "model" / "model.safetensors").read_bytes() for path in (first, again))
    assert one == two
    assert "is not the file that it was" not in caplog.text

    labelled.write_text(labelled.read_text(encoding="utf-8").replace("2020", "2021"), "utf-8")
    third = tmp_path / "third"
    assert run(["train", "-c", str(first / "resolved.yaml"), "-o", str(third)]) == 0
    (warning,) = (e.getMessage() for e in caplog.records if e.name == provenance.__name__)
    assert warning.startswith("labelled.jsonl is not the file that it was (sha256 ")
    assert provenance.read_provenance(third)["sittings"][0]["changed_files"] == ["labelled.jsonl"]


def test_data_that_changed_under_a_run_that_goes_on_are_named(
    own_data: Values, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    output = start(own_data, tmp_path / "run.yaml")
    prose = Path(own_data["data"]["root"]) / "prose.jsonl"
    with prose.open("a", encoding="utf-8") as file:
        file.write(json.dumps({"text": "新的一篇。" * 20}) + "\n")
    (output / "model" / "config.json").unlink()
    assert last_checkpoint(output) is not None
    assert run(["train", "-c", str(tmp_path / "run.yaml")]) == 0
    assert "prose.jsonl is not the file that it was" in caplog.text
    sittings = provenance.read_provenance(output)["sittings"]
    assert [sitting["resumed_from"] for sitting in sittings] == [None, 6]
    assert [sitting["changed_files"] for sitting in sittings] == [[], ["prose.jsonl"]]


def test_the_files_of_the_base_are_hashed(labelled_config: Values, tmp_path: Path) -> None:
    base = tmp_path / "base"
    base.mkdir()
    (base / "config.json").write_text("{}", encoding="utf-8")
    config = TrainConfig.model_validate({**labelled_config, "base": str(base)})
    assert provenance.base_hashes(config) == {
        f"{base}/config.json": {"bytes": 2, "sha256": hashlib.sha256(b"{}").hexdigest()}
    }


def test_a_checkout_is_known_by_its_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "training"
    package.mkdir()
    monkeypatch.setattr(provenance, "__file__", str(package / "provenance.py"))
    assert provenance.source() == {"version": __version__, "commit": None, "dirty": None}
    identity = ["-c", "user.name=a", "-c", "user.email=a@b.example"]
    (package / "a.py").write_text("", encoding="utf-8")
    for command in (["init", "-q"], ["add", "."], [*identity, "commit", "-qm", "a"]):
        done = subprocess.run(["git", "-C", str(tmp_path), *command], capture_output=True)
        if done.returncode:
            pytest.skip("git is not to be had")
    found = provenance.source()
    assert len(found["commit"]) == 40 and found["dirty"] is False
    (package / "a.py").write_text("1", encoding="utf-8")
    assert provenance.source()["dirty"] is True


def test_threads_and_precision_are_noted(own_data: Values, tmp_path: Path) -> None:
    (sitting,) = provenance.read_provenance(start(own_data, tmp_path / "run.yaml"))["sittings"]
    assert sitting["threads"] == torch.get_num_threads()
    assert (sitting["bf16"], sitting["attention"]) == (False, "eager")
