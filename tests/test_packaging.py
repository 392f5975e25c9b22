"""The distribution, installed outside the checkout, has all that it needs.

The wheel is built by way of the source distribution, and put into a fresh environment that sees the
libraries of the running one, but nothing of the checkout.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SAMPLE = (ROOT / "tests" / "data" / "sample-page.txt").read_text(encoding="utf-8")


@dataclass(frozen=True)
class Installed:
    """A fresh environment with the wheel in it."""

    environment: Path
    wheel: Path
    sdist: Path

    def run(self, *command: str, cwd: Path) -> str:
        """Runs a program of the environment and gives back its stdout."""
        variables = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "PYTHONHOME")}
        program = self.environment / ("Scripts" if os.name == "nt" else "bin") / command[0]
        done = subprocess.run(
            [str(program), *command[1:]],
            capture_output=True,
            cwd=cwd,
            env=variables,
            timeout=300,
            check=False,
        )
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout.decode()


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Installed:
    """The wheel, built and installed without network."""
    pytest.importorskip("build")
    pytest.importorskip("hatchling")
    directory = tmp_path_factory.mktemp("packaging")
    dist = directory / "dist"
    _check("build", "--no-isolation", "--outdir", str(dist), str(ROOT))
    (wheel,) = dist.glob("*.whl")
    (sdist,) = dist.glob("*.tar.gz")
    environment = directory / "environment"
    venv.create(environment, symlinks=os.name != "nt", with_pip=False)
    layout = {"base": str(environment), "platbase": str(environment)}
    site = Path(sysconfig.get_path("purelib", "venv", layout))
    # The libraries are those at hand; what makes them see the checkout (a .pth file) is not read.
    libraries = sorted({sysconfig.get_path("purelib"), sysconfig.get_path("platlib")})
    (site / "libraries.pth").write_text("\n".join(libraries) + "\n")
    python = Path(sysconfig.get_path("scripts", "venv", layout)) / "python"
    _check("pip", "--python", str(python), "install", "--no-index", "--no-deps", str(wheel))
    return Installed(environment, wheel, sdist)


def _check(module: str, *arguments: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", module, *arguments], capture_output=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stdout.decode() + done.stderr.decode()


def test_the_wheel_carries_models_and_configurations_and_no_tests(installed: Installed) -> None:
    names = set(zipfile.ZipFile(installed.wheel).namelist())
    top = {name.partition("/")[0] for name in names if ".dist-info/" not in name}
    assert top == {"filter", "training"}
    model = ROOT / "filter" / "models" / "default"
    files = [path for path in model.rglob("*") if path.is_file()]
    assert files
    assert {path.relative_to(ROOT).as_posix() for path in files} <= names
    configs = {f"training/configs/{path.name}" for path in (ROOT / "configs").glob("*.yaml")}
    assert configs <= names
    assert "filter/py.typed" in names


def test_the_source_distribution_can_be_tested(installed: Installed) -> None:
    with tarfile.open(installed.sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"pyproject.toml", "README.md", "LICENSE", "tests/data/sample-page.txt"} <= names


def test_what_is_imported_is_what_was_installed(installed: Installed, tmp_path: Path) -> None:
    code = "import filter, training; print(filter.__file__); print(training.__file__)"
    for file in installed.run("python", "-c", code, cwd=tmp_path).split():
        assert Path(file).is_relative_to(installed.environment)
    version = installed.run("winnow", "--version", cwd=tmp_path).split()[1]
    assert f"-{version}-" in installed.wheel.name


def test_a_page_is_cleaned(installed: Installed, tmp_path: Path) -> None:
    (tmp_path / "page.txt").write_text(SAMPLE, encoding="utf-8")
    cleaned = installed.run("winnow", "clean", "page.txt", cwd=tmp_path)
    assert 0 < len(cleaned) < len(SAMPLE)


def test_a_model_is_trained_and_used(installed: Installed, tmp_path: Path) -> None:
    sentences = [sentence for sentence in SAMPLE.split("。") if len(sentence) > 40]
    prose = [
        {"text": "。".join(sentences) + f"。这是第{number}篇。\n" * 3, "source": f"s{number % 4}"}
        for number in range(40)
    ]
    lines = "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in prose)
    (tmp_path / "prose.jsonl").write_text(lines, encoding="utf-8")
    overrides = [
        "data.root=.",
        "data.prose=[prose.jsonl]",
        "data.hosts=[]",
        "data.material=[]",
        "data.labelled=[]",
        "data.held_out.prose_sources=[s3]",
        "evaluation.labelled=[]",
        "evaluation.injected_pages=2",
        "evaluation.prose_characters=500",
        "evaluation.steps=2",
        "encoder.layers=1",
        "encoder.hidden_size=32",
        "encoder.intermediate_size=32",
        "encoder.heads=2",
        "embeddings=random",
        "compile=false",
        "batch_size=2",
        "steps=2",
        "save_steps=2",
    ]
    arguments = ("--config", "small", "--limit", "20", "--output", "run", *overrides)
    model = installed.run("winnow", "train", *arguments, cwd=tmp_path).strip().splitlines()[-1]
    assert (tmp_path / model / "model.safetensors").is_file()
    (tmp_path / "page.txt").write_text(SAMPLE, encoding="utf-8")
    spans = installed.run("winnow", "spans", "page.txt", "--model", model, cwd=tmp_path)
    assert json.loads(spans)["text"] == SAMPLE
