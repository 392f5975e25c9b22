"""What happens beside the steps of a training: when it logs, saves and stops, and what it says."""

from __future__ import annotations

import json
import logging
import time
from pathlib import Path
from typing import Any

from transformers import TrainerCallback
from transformers.trainer_callback import ExportableState

from filter.files import atomic_write
from training.config import RunConfig

logger = logging.getLogger(__name__)

SCORE = "mean_recall"
"""The figure that chooses the best checkpoint."""


class Rhythm(TrainerCallback, ExportableState):
    """The configured steps, a log entry before each checkpoint, a checkpoint for each best figure.

    A mean loss that is logged starts anew with each entry: with one at each checkpoint, the entries
    of a resumed run are those of an undisturbed one. Checkpoints keep the number of processes, so
    that one which lacks a file is known.
    """

    def __init__(self) -> None:
        self.processes = 1

    def state(self) -> dict[str, Any]:
        return {"args": {}, "attributes": {"processes": self.processes}}

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.processes = args.world_size
        # A checkpoint brings along the steps that it was made with: the present ones win.
        state.compute_steps(args, state.max_steps)

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if control.should_save or control.should_evaluate:
            control.should_log = True

    def on_evaluate(self, args: Any, state: Any, control: Any, **told: Any) -> None:
        metrics: dict[str, float] = told["metrics"]
        score = metrics.get(f"eval_{SCORE}")  # none where there is no spam to find
        if score is not None and (state.best_metric is None or score > state.best_metric):
            control.should_save = True


class RateLog(TrainerCallback):
    """Logs progress, loss and characters a second, a line each time."""

    def __init__(self, config: RunConfig, *, processes: int = 1) -> None:
        self.per_step = config.batch_size * config.accumulation * config.window * processes
        self.mark: tuple[int, float] | None = None

    def on_step_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if self.mark is None:
            self.mark = (state.global_step, time.monotonic())

    def on_log(
        self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **_: Any
    ) -> None:
        logs = {key: value for key, value in (logs or {}).items() if key != "epoch"}
        now = time.monotonic()
        if "loss" in logs and self.mark is not None:
            steps, since = state.global_step - self.mark[0], now - self.mark[1]
            logs["characters_per_second"] = round(steps * self.per_step / max(since, 1e-9))
            self.mark = (state.global_step, now)
        elif self.mark is not None:  # time spent on evaluation is not training time
            self.mark = (state.global_step, now)
        rounded = {k: round(v, 4) if isinstance(v, float) else v for k, v in logs.items()}
        logger.info("step %d/%d %s", state.global_step, state.max_steps, json.dumps(rounded))


class LogFile(TrainerCallback):
    """Writes what was logged so far into a JSONL file, with every checkpoint and at the end."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if state.is_world_process_zero:
            with atomic_write(self.path) as stream:
                for entry in state.log_history:
                    if "train_runtime" in entry:
                        continue  # of this sitting, not of the run
                    stream.write(json.dumps(entry).encode() + b"\n")

    on_train_end = on_save
