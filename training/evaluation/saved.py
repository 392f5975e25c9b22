"""Results that stand in a model directory, in metrics.json, and the model that they are of.

A model is its weights and its decoder: other thresholds give other figures. What was promised and
measured when it was calibrated, though, changes nothing of what it cuts.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from os import PathLike
from pathlib import Path
from typing import Any

from filter.decoder_settings import DecoderSettings, read_json
from filter.files import atomic_write

STATE = ("hash", "decoder")
"""What of a result's `model` says which state of the model was measured."""


def decoder_digest(settings: DecoderSettings) -> str:
    """First 12 hex digits of the SHA-256 of decoder settings, curve and promise aside."""
    own = asdict(settings)
    del own["curve"], own["promise"]
    return hashlib.sha256(json.dumps(own, sort_keys=True).encode()).hexdigest()[:12]


def save_metrics(model_dir: str | PathLike[str], result: dict[str, Any]) -> Path:
    """Put a result into a model directory's metrics.json, under the names of its files.

    What stands there for other files stays, unless another state of the model was measured: other
    weights, or another decoder.
    """
    path = Path(model_dir) / "metrics.json"
    entries = read_json(path) if path.is_file() else {}

    def is_current(entry: Any) -> bool:
        if not isinstance(entry, dict) or "model" not in entry:
            return True  # of no state of this model, such as a baseline
        return all(entry["model"].get(key) == result["model"][key] for key in STATE)

    kept = {name: entry for name, entry in entries.items() if is_current(entry)}
    kept[" + ".join(result["files"])] = result
    with atomic_write(path) as file:
        file.write((json.dumps(kept, ensure_ascii=False, indent=2) + "\n").encode())
    return path
