"""Modules that are commands of their own fail as the verbs of ``winnow`` do: in one line."""

from __future__ import annotations

import runpy
import sys
import warnings

import pytest


@pytest.mark.parametrize(
    ("module", "arguments", "reason"),
    [
        ("training.model_files.release", ["nowhere", "-o", "x", "--test", "y"], "holds no model"),
        ("training.model_files.average", ["nowhere", "-o", "x"], "two or more"),
        ("training.networks.narrowing", ["./nowhere", "-o", "x"], "no such directory"),
        ("training.evaluation.robustness", ["model", "--config", "nowhere"], "nowhere"),
        ("training.model_files.release", ["nowhere", "--outptu", "x"], "--output"),
    ],
)
def test_an_error_of_a_script_is_one_line(
    module: str,
    arguments: list[str],
    reason: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(sys, "argv", [module, *arguments])
    with pytest.raises(SystemExit) as stopped, warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # the module may have been imported
        runpy.run_module(module, run_name="__main__")
    assert stopped.value.code == 2
    said = capsys.readouterr().err
    assert said.startswith("winnow: error: ")
    assert said.count("\n") == 1
    assert reason in said
