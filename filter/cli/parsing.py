"""Commands whose parameters are converted only where there is something to convert.

Typer takes even an option that is not given, and a text that is to be a text, through pydantic,
which takes a tenth of a second to import: as long as a short page takes to be cleaned.
"""

from __future__ import annotations

from typing import Any

from typer.core import TyperCommand, TyperGroup


class _Sparing:
    """A command that spares its parameters conversions without effect."""

    def get_params(self, context: Any) -> list[Any]:
        parameters: list[Any] = super().get_params(context)  # type: ignore[misc]  # the next base's
        for parameter in parameters:
            if "process_value" not in vars(parameter):
                parameter.process_value = _sparing(parameter)
        return parameters


class Command(_Sparing, TyperCommand):
    """A verb."""


class Group(_Sparing, TyperGroup):
    """The command that has the verbs."""


def _sparing(parameter: Any) -> Any:
    """The parameter's own processing, but for values that are as they should be."""
    process = parameter.process_value
    descriptor = getattr(parameter, "type_descriptor", None)
    is_text = getattr(descriptor, "annotation", None) in (str, list[str])
    many = parameter.multiple or parameter.nargs == -1

    def process_value(context: Any, value: Any) -> Any:
        unset = value is None or value == ()
        if (unset and parameter.required) or not (unset or is_text):
            return process(context, value)
        if unset:
            value = () if many else None
        return parameter.callback(context, parameter, value) if parameter.callback else value

    return process_value
