"""Configuration files: found by path or by name, overridden by dotted keys, checked key by key.

`load_config` takes a path or the name of a file in ``configs/`` (which the wheel carries), then
dotted overrides such as ``optimizer.learning_rate=1e-3``. What is wrong is one line that names the
file, the key, the value and the nearest right key.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Protocol, TypeVar, get_args, get_origin

import yaml
from pydantic import BaseModel, ValidationError

from filter.errors import UsageError, nearest
from filter.files import atomic_write
from training.config import TrainConfig
from training.injection import written

Model = TypeVar("Model", bound=BaseModel)

OWN = "winnow:"
"""Before the name of a file of the project's own writing, in the place of a path."""

_TYPE_NAMES = frozenset({"bool", "dict", "float", "int", "str"})


class Rooted(Protocol):
    """A section of data paths that start at a root."""

    root: str


def load_config(name: str | Path, overrides: Iterable[str] = ()) -> TrainConfig:
    """Reads, overrides and checks a training configuration."""
    values = override(read_yaml(name), overrides)
    return validated(TrainConfig, values, where=str(config_path(name)))


def data_paths(config: Rooted, patterns: Iterable[str]) -> list[Path]:
    """The files that some patterns name below the data root, sorted.

    ``winnow:NAME`` is a file of the project's own writing, which comes with it.

    Raises:
        UsageError: a pattern matches nothing.
    """
    found: list[Path] = []
    for pattern in patterns:
        if pattern.startswith(OWN):
            found.append(_own_file(pattern))
            continue
        path = Path(config.root) / pattern
        matches = [path] if path.exists() else sorted(path.parent.glob(path.name))
        if not matches:
            raise UsageError(
                f"{path}: no such file; set data.root or data paths (data.root is '{config.root}')"
            )
        found += matches
    return found


def _own_file(pattern: str) -> Path:
    path = written.DIRECTORY / pattern.removeprefix(OWN)
    if path.is_file():
        return path
    names = [f"{OWN}{own.name}" for own in sorted(written.DIRECTORY.iterdir())]
    guess = nearest(pattern, names)
    hint = f" (did you mean '{guess}'?)" if guess else ""
    raise UsageError(
        f"no file '{pattern}' of the project's own{hint}; there are: {', '.join(names)}"
    )


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


def write_yaml(path: str | Path, values: dict[str, Any]) -> None:
    """Writes a mapping, keys in their order."""
    text = yaml.safe_dump(values, allow_unicode=True, sort_keys=False)
    with atomic_write(path) as stream:
        stream.write(text.encode())


def override(values: dict[str, Any], assignments: Iterable[str]) -> dict[str, Any]:
    """Applies ``dotted.key=value`` assignments; values are read as YAML."""
    for assignment in assignments:
        key, equals, value = assignment.partition("=")
        if not equals or not key:
            raise UsageError(f"'{assignment}': an override has the form key.sub=value")
        try:
            set_key(values, key, yaml.safe_load(value))
        except yaml.YAMLError as error:
            raise UsageError(f"'{assignment}': {' '.join(str(error).split())}") from error
    return values


def set_key(values: dict[str, Any], key: str, value: Any) -> None:
    """Sets a dotted key, making the mappings on the way to it."""
    place = values
    *parents, last = key.split(".")
    for parent in parents:
        if place.get(parent) is None:
            place[parent] = {}
        place = place[parent]
        if not isinstance(place, dict):
            raise UsageError(f"'{key}': '{parent}' holds no keys")
    place[last] = value


def validated(model: type[Model], values: dict[str, Any], *, where: str) -> Model:
    """Checks a mapping; the error is one line that names key, value and the nearest right key."""
    try:
        return model.model_validate(values)
    except ValidationError as error:
        problem = error.errors()[0]
        key = ".".join(str(part) for part in problem["loc"] if not _is_type(part))
        if problem["type"] == "extra_forbidden":
            known = _known_keys(model, problem["loc"][:-1])
            last = str(problem["loc"][-1])
            guess = nearest(last, known) or _elsewhere(model, last)
            hint = f" (did you mean '{guess}'?)" if guess else ""
            message = f"unknown key '{key}'{hint}; known: {', '.join(known)}"
        elif problem["type"] == "missing":
            message = f"key '{key}' is missing"
        elif problem["type"] == "value_error":  # of our own validators, which say it all
            text = problem["msg"].removeprefix("Value error, ")
            message = f"{key}: {text}" if key else text
        else:
            message = f"{key}: {problem['msg']}, got {problem['input']!r}"
        raise UsageError(f"{where}: {message}") from error


def dotted_keys(model: type[BaseModel], prefix: str = "") -> Iterator[str]:
    """All keys of a configuration, those of its sections dotted."""
    for name, field in model.model_fields.items():
        section = _section(field.annotation)
        if section is None or get_origin(field.annotation) is list:
            yield prefix + name
        else:
            yield from dotted_keys(section, f"{prefix}{name}.")


def _elsewhere(model: type[BaseModel], name: str) -> str | None:
    """The dotted key, in whatever section, whose last part is nearest to a name."""
    keys = {key.rpartition(".")[2]: key for key in reversed(list(dotted_keys(model)))}
    guess = nearest(name, keys)
    return keys[guess] if guess is not None else None


def _is_type(part: Any) -> bool:
    """Whether a part of a location is the alternative of a union rather than a key."""
    return isinstance(part, str) and ("[" in part or part in _TYPE_NAMES)


def _section(annotation: Any) -> type[BaseModel] | None:
    """The section behind an annotation such as ``Section`` or ``Section | None``."""
    for candidate in (annotation, *get_args(annotation)):
        if isinstance(candidate, type) and issubclass(candidate, BaseModel):
            return candidate
    return None


def _known_keys(model: type[BaseModel], path: tuple[Any, ...]) -> list[str]:
    for part in path:
        field = model.model_fields.get(str(part))
        section = None if field is None else _section(field.annotation)
        if section is not None:
            model = section
    return list(model.model_fields)
