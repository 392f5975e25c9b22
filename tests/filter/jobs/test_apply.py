"""`winnow run --sidecar` and then `winnow apply`: what the model cuts, without the model."""

from __future__ import annotations

import gzip
import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from filter.cli.app import run

GRID = (0.05, 0.3, 0.5, 0.8, 0.95, 0.999)


@pytest.fixture(scope="module")
def model(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny model with a curve."""
    path = tmp_path_factory.mktemp("curve") / "model"
    shutil.copytree(tiny_model, path)
    settings = json.loads((path / "decoder.json").read_text(encoding="utf-8"))
    settings["curve"] = [{"threshold": t, "prose_loss": 0.1, "recall": 0.5} for t in GRID]
    (path / "decoder.json").write_text(json.dumps(settings), encoding="utf-8")
    return path


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sample: str) -> None:
    """A corpus of every kind of line-based file, with a bad record and pages of other lengths."""
    monkeypatch.chdir(tmp_path)
    Path("corpus/b").mkdir(parents=True)
    rows = [{"id": n, "text": sample[n * 7 :] * (n % 3), "url": f"u{n}"} for n in range(9)]
    lines = [json.dumps(row, ensure_ascii=False).encode() for row in rows]
    Path("corpus/a.jsonl").write_bytes(b"\n".join([*lines[:4], b"{bad", *lines[4:]]))
    Path("corpus/b/a.jsonl.gz").write_bytes(gzip.compress(b'{"text": "\\ud800 x"}\n' + lines[0]))
    Path("corpus/page.txt").write_text(sample, encoding="utf-8", newline="")


@pytest.fixture
def sidecar(model: Path) -> str:
    assert call("run", "corpus/**/*.*", "-o", "side", "--sidecar", "-m", str(model)) == 1
    return "side"


def call(*arguments: str) -> int:
    engine = ("--engine", "onnx") * (arguments[0] == "run")
    return run([*arguments, *engine, "--quiet"])


def cut(directory: str) -> dict[str, Any]:
    """What was cut of each page, by its place: where, and under what labels."""
    found: dict[str, Any] = {}
    for path in sorted(Path(directory).rglob("a.jsonl*")):
        if ".winnow" in path.parts:
            continue
        data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        for number, line in enumerate(data.splitlines()):
            record = json.loads(line)
            place = f"{path.relative_to(directory)}:{number}"
            spans = [(s["start"], s["end"], s["label"], s["text"]) for s in record.pop("removed")]
            found[place] = record, spans
    found["page.txt"] = (Path(directory) / "page.txt").read_bytes(), []
    return found


def test_attributes_are_as_dolma_has_them(sidecar: str, sample: str) -> None:
    lines = Path("side/attributes/winnow/a.jsonl").read_bytes().splitlines()
    corpus = Path("corpus/a.jsonl").read_bytes().splitlines()
    good = [json.loads(line) for line in corpus if line != b"{bad"]
    assert len(lines) == len(good)
    for line, document in zip(map(json.loads, lines), good, strict=True):
        assert set(line) == {"id", "attributes", "winnow"}
        assert line["id"] == document["id"]
        for name, spans in line["attributes"].items():
            assert name.startswith("winnow__")
            for start, end, score in spans:
                assert 0 <= start <= end <= len(document["text"])
                assert isinstance(score, float) or name == "winnow__page"
    page = json.loads(Path("side/attributes/winnow/page.jsonl").read_bytes())
    assert page["id"] == "page.txt"
    assert page["attributes"]["winnow__page"][0][:2] == [0, len(sample)]
    assert gzip.decompress(Path("side/attributes/winnow/b/a.jsonl.gz").read_bytes())


@pytest.mark.parametrize(
    ("floor", "levels"),
    [((), GRID[1:]), (("--floor", "0"), GRID), (("--floor", "0.8"), (0.5, *GRID[3:]))],
)
def test_the_floor_is_the_one_asked_for(
    model: Path, floor: tuple[str, ...], levels: tuple[float, ...]
) -> None:
    made = ("-o", "floor", "--sidecar", *floor, "-m", str(model))
    assert call("run", "corpus/page.txt", *made) == 0
    description = json.loads(Path("floor/attributes/winnow/winnow.json").read_bytes())
    assert tuple(description["thresholds"]) == levels


@pytest.mark.parametrize("threshold", GRID[1:])
def test_apply_cuts_what_the_model_cuts_at_any_threshold_of_its_curve(
    sidecar: str, model: Path, threshold: float
) -> None:
    given = ("--threshold", str(threshold))
    assert call("run", "corpus/**/*.*", "-o", "cut", "-m", str(model), *given) == 1
    assert call("apply", "corpus/**/*.*", sidecar, "-o", "applied", *given) == 1
    for place, (result, spans) in cut("cut").items():
        again, spans_again = cut("applied")[place]
        assert result == again, place
        assert merged(spans) == merged(spans_again), place
        if threshold == 0.5:  # the model's own, by which pieces are named
            assert spans == spans_again
    state = ".winnow/rejects/a.jsonl.jsonl"
    assert Path("cut", state).read_bytes() == Path("applied", state).read_bytes()


def merged(spans: list[Any]) -> list[int]:
    return [index for start, end, *_ in spans for index in range(start, end)]


def test_labels_that_the_run_kept_stay_in_exactly(model: Path) -> None:
    kept = ("--keep", "link,ad", "-m", str(model))
    assert call("run", "corpus/*.jsonl", "corpus/page.txt", "-o", "side", "--sidecar", *kept) == 1
    at = ("--threshold", "0.3")
    assert call("run", "corpus/*.jsonl", "corpus/page.txt", "-o", "cut", *at, *kept) == 1
    assert call("apply", "corpus/*.jsonl", "corpus/page.txt", "side", "-o", "applied", *at) == 1
    for place, (result, spans) in cut("cut").items():
        assert result == cut("applied")[place][0], place
        assert merged(spans) == merged(cut("applied")[place][1])


def test_labels_kept_in_apply_are_never_cut(sidecar: str) -> None:
    assert call("apply", "corpus/**/*.*", sidecar, "-o", "all") == 1
    assert call("apply", "corpus/**/*.*", sidecar, "-o", "some", "--keep", "link,ad") == 1
    every, some = cut("all"), cut("some")
    assert any(spans for _, spans in some.values())
    for place, (_, spans) in some.items():
        assert spans == [span for span in every[place][1] if span[2] not in ("link", "ad")]
    assert any(len(some[place][1]) < len(every[place][1]) for place in every)


def test_a_part_of_the_corpus_finds_its_attributes(sidecar: str) -> None:
    assert call("apply", "corpus/b/a.jsonl.gz", "side/attributes/winnow", "-o", "one") == 0
    assert call("apply", "corpus/**/*.*", sidecar, "-o", "all") == 1
    assert Path("one/a.jsonl.gz").read_bytes() == Path("all/b/a.jsonl.gz").read_bytes()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ((b'"id": 3', b'"id": 33'), "a.jsonl:4: has the attributes of id 3, but"),
        (
            ("去年".encode(), "明年".encode()),
            "a.jsonl:2: the attributes of id 1 were made of another",
        ),
        ((b'"url": "u8"}', b'"url": "u8"}\n{"id": 9, "text": ""}'), "a.jsonl: ends after 9 pages"),
        ((b'{"id": 8, ', b"[]\n["), "a.jsonl:9: has attributes for more pages than"),
    ],
)
def test_attributes_of_other_pages_are_refused(
    sidecar: str, capsys: pytest.CaptureFixture[str], change: tuple[bytes, bytes], message: str
) -> None:
    shard = Path("corpus/a.jsonl")
    shard.write_bytes(shard.read_bytes().replace(*change))
    assert call("apply", "corpus/**/*.*", sidecar, "-o", "applied") == 2
    assert message in capsys.readouterr().err
    assert not Path("applied/a.jsonl").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("side", "--threshold", "0.01"), "has levels from 0.3 to 0.999; for lower ones"),
        (("side", "--threshold", "1"), "has levels from 0.3 to 0.999"),
        (("side", "--keep", "add"), "unknown label 'add' (did you mean 'ad'?)"),
        (("corpus",), "corpus: no attributes of Winnow's"),
        (("nowhere",), "nowhere: no attributes of Winnow's"),
    ],
)
def test_what_the_attributes_do_not_hold_is_refused(
    sidecar: str, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], message: str
) -> None:
    assert call("apply", "corpus/**/*.*", *arguments, "-o", "applied") == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("name", ["new.jsonl", f"{'题' * 83}12.txt"])
def test_a_file_without_attributes_is_refused(
    sidecar: str, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    Path("corpus", name).write_bytes(b"")
    assert call("apply", "corpus/**/*.*", sidecar, "-o", "applied") == 2
    assert f"corpus/{name}: no attributes of it" in capsys.readouterr().err


def test_a_description_of_others_is_not_overwritten(
    model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = Path("side/attributes/winnow/winnow.json")
    path.parent.mkdir(parents=True)
    path.write_text("mine")
    made = ("run", "corpus/page.txt", "-o", "side", "--sidecar", "-m", str(model))
    assert call(*made) == 2
    assert "winnow.json: exists already; --force overwrites it" in capsys.readouterr().err
    assert path.read_text() == "mine"
    assert call(*made, "--force") == 0
    assert call(*made) == 0


def test_names_that_are_not_utf_8_are_names(model: Path) -> None:
    old = os.fsdecode(b"\xb1\xea")  # GB 18030, as old archives unpack
    Path(old).mkdir()
    shutil.copy("corpus/a.jsonl", f"{old}/{old}.jsonl")
    Path(old, f"page{old}.txt").write_bytes(b"a page")
    for _ in ("begun", "gone on with"):
        made = ("-o", "side", "--sidecar", "-m", str(model), "--rejects", f"bad{old}")
        assert call("run", f"{old}/*", *made) == 1
        assert call("apply", f"{old}/*", "side", "-o", "applied") == 1
    assert Path("applied", f"page{old}.txt").is_file()
    assert len(Path("applied", f"{old}.jsonl").read_bytes().splitlines()) == 9
    assert Path(f"bad{old}", f"{old}.jsonl.jsonl").is_file()
    settings = json.loads(Path("side/summary.json").read_bytes())["settings"]
    assert settings["rejects"] == f"../bad{old}"


def test_a_threshold_between_two_of_the_grid_is_the_upper_one(
    sidecar: str, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["apply", "corpus/**/*.*", sidecar, "--threshold"]
    assert run([*arguments, "0.51", "-o", "between"]) == 1
    assert "cutting at 0.8, the attributes' next threshold" in capsys.readouterr().err
    assert run([*arguments, "0.8", "-o", "upper"]) == 1
    assert "cutting at" not in capsys.readouterr().err
    assert cut("between") == cut("upper")
