"""The configuration of `winnow pretrain`: a small encoder on raw prose."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from training.config import EncoderConfig, OptimizerConfig, Positive, Rate, Section
from training.config_files import config_path, override, read_yaml, validated


class ProseConfig(Section):
    """Where prose comes from. Relative paths start at ``root``; paths may be glob patterns."""

    root: str = "."
    prose: Annotated[list[str], Field(min_length=1)]
    """JSONL with a ``text``, or .txt with a blank line between documents; compressed or not."""
    held_out_sources: list[str] = Field(default=[])
    held_out_share: Rate = 0.005
    """Share of the other documents, by their hash, that training never sees either."""
    limit: int | None = None
    """At most so many documents a JSONL file, for trying things out."""


class ObjectiveConfig(Section):
    """What is learnt from prose: to fill in what was masked, or to see what was replaced."""

    name: Literal["mlm", "rtd"] = "mlm"
    share: Annotated[float, Field(gt=0, le=0.5)] = 0.3
    """Share of the tokens of a window that are masked."""
    span: Annotated[float, Field(ge=1, le=10)] = 1.0
    """Mean length of a masked span; 1 masks tokens one by one."""
    generator: Annotated[float, Field(gt=0, le=1)] = 0.25
    """Width of the generator by that of the encoder, for rtd; it has as many layers."""
    weight: float = 50.0
    """Weight of telling replaced tokens beside the generator's own loss, for rtd."""


class PretrainEvaluationConfig(Section):
    """Figures on held-out prose, always of the same windows with the same tokens masked."""

    characters: Positive = 200_000
    steps: Positive = 500


class PretrainConfig(Section):
    """A whole run."""

    output: str
    seed: int = 1
    base: str | None = None
    """Directory or hub id to go on from; none starts from scratch."""
    encoder: EncoderConfig = EncoderConfig()
    tokenizer: str | None = None
    """Directory of a tokenizer; none takes the base's, or counts the prose."""
    vocabulary_size: Positive = 8000
    embeddings: Literal["random", "cooccurrence"] = "random"
    window: Annotated[int, Field(ge=8)] = 256
    data: ProseConfig
    objective: ObjectiveConfig = ObjectiveConfig()
    optimizer: OptimizerConfig = OptimizerConfig()
    evaluation: PretrainEvaluationConfig = PretrainEvaluationConfig()
    steps: Positive = 10_000
    batch_size: Positive = 64
    """Windows that a process takes at once."""
    accumulation: Positive = 1
    """Batches whose gradients are summed before a step."""
    workers: Annotated[int, Field(ge=0)] = 0
    """Processes that prepare batches beside the one that trains."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    bf16: Literal["auto"] | bool = "auto"
    compile: bool = False
    attention: Literal["auto", "eager", "sdpa", "flash_attention_2"] = "auto"
    save_steps: Positive = 500
    save_total_limit: Positive = 2
    log_steps: Positive = 50
    report_to: list[Literal["tensorboard", "wandb", "mlflow"]] = Field(default=[])

    @property
    def data_patterns(self) -> list[str]:
        """All files that are read, as they are named."""
        return self.data.prose

    @model_validator(mode="after")
    def _agrees(self) -> PretrainConfig:
        if self.base is not None and self.tokenizer is not None:
            raise ValueError(
                "tokenizer: a base brings its own; leave tokenizer out, or base to start afresh"
            )
        return self


def load_pretrain_config(name: str | Path, overrides: Iterable[str] = ()) -> PretrainConfig:
    """Reads, overrides and checks a configuration for pretraining."""
    values = override(read_yaml(name), overrides)
    return validated(PretrainConfig, values, where=str(config_path(name)))
