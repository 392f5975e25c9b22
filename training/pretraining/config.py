"""The configuration of `winnow pretrain`: a small encoder on raw prose."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from training.config import Positive, Rate, RunConfig, Section
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


class PretrainConfig(RunConfig):
    """A whole pretraining run."""

    embeddings: Literal["random", "cooccurrence"] = "random"
    data: ProseConfig
    objective: ObjectiveConfig = ObjectiveConfig()
    evaluation: PretrainEvaluationConfig = PretrainEvaluationConfig()
    steps: Positive = 10_000
    batch_size: Positive = 64

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
