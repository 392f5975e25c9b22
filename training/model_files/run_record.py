"""training.json of a model directory: what made the model, taken from its run.

The run directory stays where the training was; this goes along with the model, and the card is
written from it. It names no place on the machine: data are known by their names below the data root
and by their hashes.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from filter.decoder_settings import read_json
from training.config_files import read_yaml
from training.model_files.export import write_json

FILE = "training.json"
OF_THE_MACHINE = ("output", "workers", "device", "compile", "attention", "report_to", "tokenizer")
"""Keys of a configuration that say where it ran, not what was made."""


def write_run_record(model_dir: Path, run: Path) -> None:
    """Write a model's training.json from the configuration and the provenance of its run.

    Raises:
        WinnowError: The run has no configuration that can be read.
    """
    config = read_yaml(run / "resolved.yaml")
    provenance = read_json(run / "provenance.json") if (run / "provenance.json").is_file() else {}
    card = config.pop("card", None) or {}
    base = config.get("base")
    if base and Path(base).exists():
        config["base"] = Path(base).resolve().name
    config["data"] = {key: own for key, own in config.get("data", {}).items() if key != "root"}
    kept = ("source", "libraries", "python", "seed", "data", "base", "finished")
    sittings = provenance.get("sittings") or []
    record = {
        "config": {key: own for key, own in config.items() if key not in OF_THE_MACHINE},
        "card": {"name": run.resolve().name, **{key: own for key, own in card.items() if own}},
        "provenance": {
            **{key: _named(provenance[key]) for key in kept if key in provenance},
            "hours": round(sum(map(_hours, sittings)), 2),
            "machine": _machine(sittings[-1]) if sittings else {},
        },
    }
    write_json(model_dir / FILE, record)


def read_run_record(model_dir: Path) -> dict[str, Any]:
    """A model's training.json; empty if it has none."""
    path = model_dir / FILE
    return read_json(path) if path.is_file() else {}


def _named(values: Any) -> Any:
    """Files that lie outside of the data root go by their names alone."""
    if not isinstance(values, dict):
        return values
    return {Path(key).name if key.startswith("/") else key: own for key, own in values.items()}


def _hours(sitting: Mapping[str, Any]) -> float:
    started, ended = sitting.get("started"), sitting.get("ended")
    if not started or not ended:
        return 0.0
    passed = datetime.fromisoformat(ended) - datetime.fromisoformat(started)
    return passed.total_seconds() / 3600


def _machine(sitting: Mapping[str, Any]) -> dict[str, Any]:
    left_out = {"command", "started", "ended", "resumed_from", "changed_files"}
    return {key: own for key, own in sitting.items() if key not in left_out}
