"""One YAML a training run; every key checked, unknown keys refused with the nearest right name.

`load_config` takes a path or the name of a file in ``configs/`` (which the wheel carries), then
dotted overrides such as ``optimizer.learning_rate=1e-3``.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from filter.errors import UsageError, nearest
from filter.labels import LABELS

Rate = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[int, Field(gt=0)]
Model = TypeVar("Model", bound=BaseModel)


class Section(BaseModel):
    """A part of a configuration; keys that it does not know are refused."""

    model_config = ConfigDict(extra="forbid")


class EncoderConfig(Section):
    """Shape of an encoder trained from scratch."""

    hidden_size: Positive = 256
    intermediate_size: Positive = 512
    layers: Positive = 6
    heads: Positive = 4


class LabelledConfig(Section):
    """A labelled corpus in the mixture."""

    path: str
    rate: Rate
    """Share of the training windows that come from it."""
    injected: Rate = 0.0
    """Share of its pages that get in-sentence spam injected as well."""


class HeldOutConfig(Section):
    """What training never sees: it is there to be judged on."""

    prose_sources: list[str] = []
    prose_containing: list[str] = []
    labelled_sources: list[str] = []
    material_share: Rate = 0.1


class DataConfig(Section):
    """Where text comes from. Relative paths start at ``root``; paths may be glob patterns."""

    root: str = "."
    prose: list[str]
    hosts: list[str] = []
    """Pages of which only whole paragraphs are taken as prose: their heads and tails are none."""
    source_weights: dict[str, float] = {}
    material: list[str] = []
    labelled: list[LabelledConfig] = []
    recipe: str | dict[str, Any] = "inject"
    held_out: HeldOutConfig = HeldOutConfig()
    limit: int | None = None
    """At most so many prose documents a file, for trying things out."""


class OptimizerConfig(Section):
    """Muon for the encoder's matrices and AdamW for the rest, or AdamW alone."""

    name: Literal["muon", "adamw"] = "muon"
    learning_rate: float = 2e-3
    adamw_learning_rate: float = 1e-3
    weight_decay: float = 0.01
    warmup: Rate = 0.02
    decay: Rate = 0.3
    """Share of the steps over which the rate falls linearly to zero, at the end."""
    gradient_clip: float = 1.0


class LossConfig(Section):
    """Cross entropy over the tokens of a window, by label weight."""

    label_weights: dict[str, float] = {}
    smoothing: Rate = 0.0


class EvaluationConfig(Section):
    """What chooses the best checkpoint: recall on labelled pages at a fixed prose loss."""

    labelled: list[str] = []
    prose_characters: int = 200_000
    """Held-out prose that checkpoints are compared on."""
    held_out_characters: int = 1_200_000
    """Held-out prose that is written beside the run, once for thresholds and once for figures."""
    injected_pages: int = 200
    max_prose_loss: Rate = 0.003
    steps: Positive = 500


class TrainConfig(Section):
    """A whole run."""

    output: str
    seed: int = 1
    base: str | None = None
    """Directory or hub id to start from; none trains from scratch."""
    encoder: EncoderConfig = EncoderConfig()
    tokenizer: str | None = None
    """Directory of a tokenizer; none counts the prose."""
    vocabulary_size: Positive = 8000
    embeddings: Literal["random", "cooccurrence"] = "cooccurrence"
    labels: list[str] = list(LABELS)
    window: Annotated[int, Field(ge=8)] = 256
    overlap: Annotated[int, Field(ge=0)] = 64
    min_han: Rate = 0.2
    """Share of Han characters below which a filter passes a page as not Chinese."""
    data: DataConfig
    optimizer: OptimizerConfig = OptimizerConfig()
    loss: LossConfig = LossConfig()
    evaluation: EvaluationConfig = EvaluationConfig()
    steps: Positive = 1000
    batch_size: Positive = 32
    windows_per_page: Positive = 2
    bf16: Literal["auto"] | bool = "auto"
    compile: bool = False
    save_steps: Positive = 500
    log_steps: Positive = 50
    dtype: Literal["bfloat16", "float16", "float32"] = "float16"
    """Number format of the saved weights."""


def config_path(name: str | Path) -> Path:
    """A configuration file by path, or by name from ``configs/``.

    Raises:
        UsageError: there is none; the message offers the nearest name.
    """
    path = Path(name)
    if path.suffix in (".yaml", ".yml"):
        if path.is_file():
            return path
        raise UsageError(f"{path}: no such configuration file")
    places = (Path(__file__).parent / "configs", Path(__file__).parent.parent / "configs")
    names = []
    for place in places:
        if (place / f"{name}.yaml").is_file():
            return place / f"{name}.yaml"
        names += sorted(p.stem for p in place.glob("*.yaml"))
    guess = nearest(str(name), names)
    hint = f" (did you mean '{guess}'?)" if guess else ""
    raise UsageError(f"no configuration '{name}'{hint}; there are: {', '.join(names)}")


def read_yaml(name: str | Path) -> dict[str, Any]:
    """The mapping in a YAML file, by path or by name."""
    path = config_path(name)
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise UsageError(f"{path}: not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(values, dict):
        raise UsageError(f"{path}: a configuration is a mapping of keys to values")
    return values


def validated(model: type[Model], values: dict[str, Any], *, where: str) -> Model:
    """Checks a mapping; the error is one line that names key, value and the nearest right key."""
    try:
        return model.model_validate(values)
    except ValidationError as error:
        problem = error.errors()[0]
        key = ".".join(str(part) for part in problem["loc"])
        if problem["type"] == "extra_forbidden":
            known = _known_keys(model, problem["loc"][:-1])
            guess = nearest(str(problem["loc"][-1]), known)
            hint = f" (did you mean '{guess}'?)" if guess else ""
            message = f"unknown key '{key}'{hint}; known: {', '.join(known)}"
        elif problem["type"] == "missing":
            message = f"key '{key}' is missing"
        else:
            message = f"{key}: {problem['msg']}, got {problem['input']!r}"
        raise UsageError(f"{where}: {message}") from error


def _known_keys(model: type[BaseModel], path: tuple[Any, ...]) -> list[str]:
    for part in path:
        field = model.model_fields.get(str(part))
        if field is None:
            continue
        candidates = [field.annotation, *getattr(field.annotation, "__args__", ())]
        nested = [c for c in candidates if isinstance(c, type) and issubclass(c, BaseModel)]
        if nested:
            model = nested[0]
    return list(model.model_fields)


def override(values: dict[str, Any], assignments: Iterable[str]) -> dict[str, Any]:
    """Applies ``dotted.key=value`` assignments; values are read as YAML."""
    for assignment in assignments:
        key, equals, value = assignment.partition("=")
        if not equals or not key:
            raise UsageError(f"'{assignment}': an override has the form key.sub=value")
        place = values
        *parents, last = key.split(".")
        for parent in parents:
            place = place.setdefault(parent, {})
            if not isinstance(place, dict):
                raise UsageError(f"'{assignment}': '{parent}' holds no keys")
        place[last] = yaml.safe_load(value)
    return values


def load_config(name: str | Path, overrides: Iterable[str] = ()) -> TrainConfig:
    """Reads, overrides and checks a training configuration."""
    values = override(read_yaml(name), overrides)
    return validated(TrainConfig, values, where=str(config_path(name)))


def data_paths(config: DataConfig, patterns: Iterable[str]) -> list[Path]:
    """The files that some patterns name below the data root, sorted.

    Raises:
        UsageError: a pattern matches nothing.
    """
    found: list[Path] = []
    for pattern in patterns:
        path = Path(config.root) / pattern
        matches = [path] if path.exists() else sorted(path.parent.glob(path.name))
        if not matches:
            raise UsageError(
                f"{path}: no such file; set data.root or data paths (data.root is '{config.root}')"
            )
        found += matches
    return found
