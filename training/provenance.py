"""What made a run: commit, libraries, seed, machine, and a hash of every file that it read.

`provenance.json` stands beside the run and tells each sitting apart, from the first start to the
end. Data that have changed since, when a run goes on or is repeated, are named.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import logging
import os
import platform
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filter import __version__
from filter.files import atomic_write
from filter.model_directory import locate
from training.config import DataConfig, TrainConfig
from training.config_files import OWN, data_paths
from training.injection import written

if TYPE_CHECKING:
    from training.pretraining.config import PretrainConfig

logger = logging.getLogger(__name__)

FILE = "provenance.json"
LIBRARIES = ("torch", "transformers", "datasets", "accelerate", "tokenizers", "numpy")
BASE_FILES = (
    "config.json",
    "tokenizer.json",
    "vocab.txt",
    "model.safetensors",
    "pytorch_model.bin",
)


def read_provenance(run: Path) -> dict[str, Any]:
    """The provenance of a run; empty if it has none."""
    try:
        values = json.loads((run / FILE).read_bytes())
    except (OSError, ValueError):
        return {}
    return values if isinstance(values, dict) else {}


def begin(
    config: TrainConfig | PretrainConfig,
    *,
    machine: dict[str, Any],
    resumed_from: int | None = None,
    repeats: Path | None = None,
) -> dict[str, Any]:
    """Writes the provenance of a run that starts or goes on; warns of data that have changed.

    Args:
        config: the resolved configuration.
        machine: device, processes, number formats of this sitting.
        resumed_from: step of the checkpoint from which it goes on.
        repeats: directory of the run that it repeats.
    """
    run = Path(config.output)
    before = read_provenance(run)
    hashes = {
        "data": data_hashes(config),
        "base": base_hashes(config),
        "importance": importance_hashes(config),
    }
    changed = warn_of_changes(before or read_provenance(repeats or run), hashes)
    sitting = {
        "command": command_line(),
        "started": _now(),
        "ended": None,
        "resumed_from": resumed_from,
        "changed_files": changed,
        **machine,
    }
    values = {
        "source": source(),
        "libraries": {name: importlib.metadata.version(name) for name in LIBRARIES},
        "python": platform.python_version(),
        "platform": platform.platform(),
        "seed": config.seed,
        **hashes,
        "sittings": [*before.get("sittings", []), sitting],
        "finished": None,
    }
    _write(run, values)
    return values


def finish(run: Path, values: dict[str, Any], **figures: Any) -> None:
    """Notes that a run has come to its end, and with what figures."""
    values["sittings"][-1]["ended"] = _now()
    values["finished"] = figures
    _write(run, values)


def finished_model(config: TrainConfig | PretrainConfig) -> Path | None:
    """The model of a run that has taken all its steps, or was stopped early."""
    run = Path(config.output)
    finished = read_provenance(run).get("finished")
    model = run / "model"
    if not finished or not (model / "config.json").is_file():
        return None
    done = finished["steps"] >= config.steps or finished["stopped_early"]
    return model if done else None


def warn_of_changes(before: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """Names the files whose content is no longer what it was; those not read before are passed."""
    changed = []
    for part in ("data", "base", "importance"):
        known = before.get(part) or {}
        for path, entry in (now.get(part) or {}).items():
            if path in known and known[path]["sha256"] != entry["sha256"]:
                logger.warning(
                    "%s is not the file that it was (sha256 %.8s, before %.8s); the result differs",
                    path, entry["sha256"], known[path]["sha256"],
                )  # fmt: skip
                changed.append(path)
    return changed


def data_hashes(config: TrainConfig | PretrainConfig) -> dict[str, Any]:
    """Hash of every data file that a run reads, by its path below the data root.

    Those of the project's own writing go by ``winnow:NAME``.
    """
    return {
        _data_name(path, Path(config.data.root)): file_hash(path) for path in _data_files(config)
    }


def _data_name(path: Path, root: Path) -> str:
    if path.parent == written.DIRECTORY:
        return OWN + path.name
    return str(path.relative_to(root) if path.is_relative_to(root) else path)


def _data_files(config: TrainConfig | PretrainConfig) -> Iterator[Path]:
    for path in dict.fromkeys(data_paths(config.data, config.data_patterns)):
        yield from filter(Path.is_file, sorted(path.iterdir()) if path.is_dir() else [path])
    if isinstance(config.data, DataConfig) and config.data.injects:  # pretraining has none
        yield from sorted(written.DIRECTORY.glob("*.txt"))
    if config.tokenizer is not None:
        yield from sorted(Path(config.tokenizer).glob("tokenizer*.json"))


def base_hashes(config: TrainConfig | PretrainConfig) -> dict[str, Any]:
    """Hashes of the files of the base model, by name; empty if there is none."""
    if config.base is None:
        return {}
    from training.networks.bases import base_directory

    directory = base_directory(config.base)
    found = [directory / name for name in BASE_FILES if (directory / name).is_file()]
    return {f"{config.base}/{path.name}": file_hash(path) for path in found}


def importance_hashes(config: TrainConfig | PretrainConfig) -> dict[str, Any]:
    """Hashes of the files of the model that windows are chosen by; empty if there is none."""
    if not isinstance(config, TrainConfig) or config.importance is None:
        return {}
    directory = locate(config.importance.model)
    found = [*directory.glob("*.json"), *directory.glob("*.safetensors"), *directory.glob("onnx/*")]
    return {f"importance/{path.name}": file_hash(path) for path in sorted(found)}


def file_hash(path: Path) -> dict[str, Any]:
    """Size in bytes and SHA-256 of a file."""
    with path.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    return {"bytes": path.stat().st_size, "sha256": digest}


def source() -> dict[str, Any]:
    """Version of the package, and commit of the checkout that it is run from, if it is one."""
    root = Path(__file__).resolve().parents[1]
    if not (root / ".git").exists():
        return {"version": __version__, "commit": None, "dirty": None}
    commit = _git(root, "rev-parse", "HEAD")
    changes = _git(root, "status", "--porcelain", "--untracked-files=normal")
    dirty = None if changes is None else bool(changes)
    return {"version": __version__, "commit": commit, "dirty": dirty}


def command_line() -> list[str]:
    """How this process was called, without the place of the program."""
    return [os.path.basename(sys.argv[0]), *sys.argv[1:]]


def _git(root: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "-C", str(root), *arguments], capture_output=True, text=True, timeout=30
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _write(run: Path, values: dict[str, Any]) -> None:
    with atomic_write(run / FILE) as stream:
        stream.write(json.dumps(values, ensure_ascii=False, indent=2).encode() + b"\n")
