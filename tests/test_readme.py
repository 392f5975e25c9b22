"""What the README shows is what happens: its commands and its Python are run."""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import shlex
import stat
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
NOT_RUN = r"(?:<!-- not run:[^>]*-->\n)"


def blocks(language: str) -> list[str]:
    """The code blocks of a language, but for those marked with a reason not to run them."""
    pattern = rf"{NOT_RUN}?```{language}\n(.*?)```"
    found = re.finditer(pattern, README, re.DOTALL)
    return [match[1] for match in found if not match[0].startswith("<!--")]


def commands() -> list[str]:
    """The shell commands, a line each."""
    return [line for block in blocks("sh") for line in block.splitlines() if line.strip()]


INSTALL, TEST = (line for line in commands() if line.startswith("pip "))
WINNOW = [line for line in commands() if line not in (INSTALL, TEST)]


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory with the README's files in it, that may be written to, and `winnow` on PATH."""
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "data").symlink_to(ROOT / "tests" / "data")
    (tmp_path / "bin").mkdir()
    script = tmp_path / "bin" / "winnow"
    script.write_text(
        f"#!{sys.executable}\nimport sys\nsys.path.insert(0, {str(ROOT)!r})\n"
        "from filter.cli.app import main\nmain()\n"
    )
    script.chmod(script.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_continuous_integration_runs_the_readme_s_test_command() -> None:
    assert TEST in (ROOT / ".ci" / "run").read_text(encoding="utf-8").splitlines()
    assert "pytest" in TEST


def test_the_first_command_cleans_a_page_of_the_repository() -> None:
    page = INSTALL.split()[-1]
    assert f"pip install . && winnow clean {page}" == INSTALL
    assert (ROOT / page).is_file()


def test_the_commands_run(checkout: Path) -> None:
    assert len(WINNOW) > 5
    for command in WINNOW:
        done = subprocess.run(
            ["bash", "-o", "pipefail", "-c", command], capture_output=True, timeout=120, check=False
        )
        assert done.returncode == 0, (command, done.stderr)
        if command.split()[1] in ("clean", "spans"):
            assert done.stderr == b"", command
    assert (checkout / "cleaned" / "sample-page.txt").stat().st_size > 0
    assert (checkout / "cleaned.jsonl.zst").stat().st_size > 0


def test_trainings_that_are_not_run_are_configured_rightly() -> None:
    from training.config_files import load_config

    trainings = [
        shlex.split(line.replace("\\\n", " "))
        for line in re.findall(r"^winnow train (?:.*\\\n)*.*", README, re.MULTILINE)
    ]
    assert len(trainings) > 4
    for _, _, *arguments in trainings:
        overrides = [argument for argument in arguments if "=" in argument]
        assert load_config(arguments[arguments.index("--config") + 1], overrides).output


def test_the_python_runs(checkout: Path) -> None:
    output = io.StringIO()
    names: dict[str, object] = {}
    with contextlib.redirect_stdout(output):
        for number, code in enumerate(blocks("python")):
            exec(compile(code, f"README block {number}", "exec"), names)
    assert "keyword" in output.getvalue()


def test_before_and_after_are_as_shown() -> None:
    from filter import ContentFilter

    before, after = (re.search(rf"\*\*{key}\*\* (.*)<br>", README) for key in ("before", "after"))
    cut = re.search(r"\*\*cut\*\* `(\w+)` (.*)", README)
    assert before and after and cut
    lines = (ROOT / "tests" / "data" / "floor.jsonl").read_text(encoding="utf-8").splitlines()
    text = next(page["text"] for page in map(json.loads, lines) if before[1] in page["text"])
    start = text.index(before[1])
    page = ContentFilter.from_pretrained()(text)
    spans = [
        (span.label, span.text)
        for span in page.removed
        if start <= span.start < start + len(before[1])
    ]
    assert spans == [(cut[1], cut[2])]
    assert before[1].replace(cut[2], "") == after[1]
    assert after[1] in page.clean_text


def test_the_options_it_names_exist(checkout: Path) -> None:
    verbs = ["clean", "spans", "inject", "convert", "corpus split", "train", "calibrate"]
    verbs += ["evaluate", "export", "select", "pretrain", "run", "apply", "benchmark"]
    helps = "".join(
        subprocess.run(
            ["winnow", *verb.split(), "--help"],
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        ).stdout
        for verb in verbs
    )
    own = re.sub(r"^(torchrun|accelerate) .* -m |^python .*", "", README, flags=re.MULTILINE)
    options = set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", own))
    assert options
    assert {option for option in options if option not in helps} == set()


FIGURES = {
    "spam recall": ("development pages", "labelled", "recall"),
    "macro recall over the labels": ("development pages", "labelled", "macro_recall"),
    "in-sentence recall": ("development pages", "labelled", "in_sentence_recall"),
    "prose loss on the same pages": ("development pages", "labelled", "prose_loss"),
    "prose loss on held-out prose": ("held-out prose", "prose", "prose_loss"),
}


def test_its_figures_are_those_of_the_model() -> None:
    path = ROOT / "filter" / "models" / "default" / "metrics.json"
    metrics = json.loads(path.read_text(encoding="utf-8"))
    rows = dict(re.findall(r"^\| ([a-z -]+) \| ([\d.]+) \|$", README, re.MULTILINE))
    assert set(rows) == set(FIGURES)
    for words, (data, part, name) in FIGURES.items():
        decimals = len(rows[words].partition(".")[2])
        assert float(rows[words]) == round(metrics[data][part][name], decimals), words
