"""A run's directory: whose it is, which checkpoint it goes on from, whether it is finished.

    resolved.yaml     all of the configuration: `winnow train -c` with it repeats the run elsewhere
    provenance.json   what made it: commit, libraries, hashes of the data (`training.provenance`)
    tokenizer/  held-out/  checkpoint-N/  log.jsonl  tensorboard/
    model/            at the end

A run that is killed while it writes a checkpoint leaves a part of one; that is found out and thrown
away, and the run goes on from the one before.
"""

from __future__ import annotations

import errno
import json
import logging
import re
import shutil
import zipfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from filter.errors import WinnowError
from training.config import RunConfig, TrainConfig
from training.config_files import read_yaml, write_yaml

logger = logging.getLogger(__name__)

FREE = {
    "output", "steps", "save_steps", "save_total_limit", "log_steps", "report_to", "evaluation",
    "workers", "device", "compile", "attention", "data.root", "card",
}  # fmt: skip
"""What may differ when a run goes on; the rest would make it another one."""

MADE_AT_START = ("tokenizer", "held-out", "provenance.json")
"""What a start leaves that failed before the first checkpoint."""

TENSOR_FILES = ("optimizer.pt", "scheduler.pt")
NO_ROOM = re.compile(
    "No space left|Disk quota exceeded|File too large|PytorchStreamWriter|inline_container|iostream"
)
"""How libraries that raise no OSError say that a file could not be written."""


def with_inlined_recipe(config: TrainConfig) -> TrainConfig:
    """The configuration with the recipe of injection in it rather than named."""
    if not config.data.injects:
        return config
    from training.injection import load_recipe

    recipe = load_recipe(config.data.recipe).model_dump()
    return config.model_copy(update={"data": config.data.model_copy(update={"recipe": recipe})})


def claim(config: RunConfig) -> None:
    """Writes the resolved configuration, or checks that the directory is this run's.

    A start that came to no checkpoint is no run: what it made is thrown away.

    Raises:
        WinnowError: another run is there.
    """
    output = Path(config.output)
    path = output / "resolved.yaml"
    resolved = config.model_dump()
    if path.is_file():
        before, now = _flat(read_yaml(path)), _flat(resolved)
        changed = [
            key
            for key in {**now, **before}
            if before.get(key) != now.get(key) and not {key, key.partition(".")[0]} & FREE
        ]
        if not checkpoints(output) and not (output / "model").exists():
            _remove_start(output, own=(before.get("tokenizer"), config.tokenizer))
        elif changed:
            raise WinnowError(
                f"{output}: holds another run ({', '.join(changed)} differ); name another output"
            )
    output.mkdir(parents=True, exist_ok=True)
    write_yaml(path, resolved)


def _remove_start(output: Path, *, own: Iterable[str | None]) -> None:
    """Deletes what a start made, but for directories that the user named."""
    named = [Path(path).resolve() for path in own if path is not None]
    for path in (output / name for name in MADE_AT_START):
        if path.is_dir() and path.resolve() not in named:
            shutil.rmtree(path)
        elif path.is_file():
            path.unlink()


def _flat(values: dict[str, Any]) -> dict[str, Any]:
    """Keys of sections dotted, one level down."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, dict):
            flat.update({f"{key}.{name}": item for name, item in value.items()})
        else:
            flat[key] = value
    return flat


def checkpoints(output: Path) -> list[Path]:
    """The checkpoints of a run, whole or not, the last one first."""
    found = [path for path in output.glob("checkpoint-*") if path.name[11:].isdigit()]
    return sorted(found, key=lambda path: -int(path.name[11:]))


def last_checkpoint(output: Path) -> Path | None:
    """The last checkpoint that is whole."""
    return next(filter(is_whole, checkpoints(output)), None)


def remove_broken(output: Path) -> None:
    """Deletes checkpoints that were not written to their end."""
    for path in checkpoints(output):
        if not is_whole(path):
            logger.info("%s was not written to its end; removed", path)
            shutil.rmtree(path)


def is_whole(checkpoint: Path) -> bool:
    """Whether all of a checkpoint was written.

    The state comes last of what the first process writes; others may write their random numbers
    later. PyTorch's files are archives, whose directory stands at their end.
    """
    try:
        state = json.loads((checkpoint / "trainer_state.json").read_bytes())
    except (OSError, ValueError):
        return False
    processes = written_by(state)
    random = ["rng_state.pth"]
    if processes > 1:
        random = [f"rng_state_{rank}.pth" for rank in range(processes)]
    return (
        state.get("global_step") == int(checkpoint.name[11:])
        and (checkpoint / "model.safetensors").is_file()
        and all(zipfile.is_zipfile(checkpoint / name) for name in (*TENSOR_FILES, *random))
    )


def written_by(state: dict[str, Any]) -> int:
    """How many processes wrote a checkpoint, by its ``trainer_state.json``."""
    kept = state.get("stateful_callbacks", {}).get("Rhythm", {})
    return int(kept.get("attributes", {}).get("processes", 1))


@contextmanager
def room_to_write(output: Path) -> Iterator[None]:
    """Turns a full disk into one line, and throws away what was written in part.

    Raises:
        WinnowError: a file could not be written.
    """
    try:
        yield
    except (OSError, RuntimeError, SafetensorError) as error:
        number = getattr(error, "errno", None)
        if number not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG) and not NO_ROOM.search(
            str(error)
        ):
            raise
        remove_broken(output)
        checkpoint = last_checkpoint(output)
        start = "its beginning" if checkpoint is None else checkpoint.name
        raise WinnowError(
            f"{output}: no room to write ({' '.join(str(error).split())[:200]}); free some and give"
            f" the command again: the run goes on from {start}"
        ) from error
