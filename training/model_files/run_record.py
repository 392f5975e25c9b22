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
    if base:
        config["base"] = Path(base).resolve().name if Path(base).exists() else _name(base)
    config["data"] = _without_places(config.get("data", {}))
    evaluation = config.get("evaluation") or {}
    if "labelled" in evaluation:
        config["evaluation"] = {**evaluation, "labelled": list(map(_name, evaluation["labelled"]))}
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
    """What is known of files, by their names."""
    if not isinstance(values, dict):
        return values
    return {_name(key): own for key, own in values.items()}


def _name(path: str) -> str:
    """Files that lie outside of the data root go by their names alone."""
    outside = Path(path).is_absolute() or ".." in Path(path).parts
    return Path(path).name if outside else path


def _without_places(data: Mapping[str, Any]) -> dict[str, Any]:
    """The section ``data`` of a configuration, its paths by their names."""
    kept = {key: own for key, own in data.items() if key != "root"}
    for key in ("prose", "hosts", "material"):
        if key in kept:
            kept[key] = list(map(_name, kept[key]))
    if "labelled" in kept:
        kept["labelled"] = [{**part, "path": _name(part["path"])} for part in kept["labelled"]]
    if isinstance(kept.get("recipe"), str):
        kept["recipe"] = _name(kept["recipe"])
    return kept


def _hours(sitting: Mapping[str, Any]) -> float:
    started, ended = sitting.get("started"), sitting.get("ended")
    if not started or not ended:
        return 0.0
    passed = datetime.fromisoformat(ended) - datetime.fromisoformat(started)
    return passed.total_seconds() / 3600


def _machine(sitting: Mapping[str, Any]) -> dict[str, Any]:
    left_out = {"command", "started", "ended", "resumed_from", "changed_files"}
    return {key: own for key, own in sitting.items() if key not in left_out}
