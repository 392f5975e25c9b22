"""The verbs that make models: what they write. What they compute is tested with ``training``."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Winnow = Callable[..., Any]

SENTENCES = (
    "村里的老人们坐在槐树下，谈起了去年的收成，也谈起了今年的雨水。",
    "学校的图书馆添了三千册新书，孩子们放学以后都愿意留下来读一会儿。",
    "河水在春天涨了起来，岸边的柳树也绿了，渔夫们开始修补他们的渔网。",
    "医生说，每天走一万步并不难，难的是一年三百六十五天都走一万步。",
)


@pytest.fixture
def prose(winnow: Winnow) -> str:
    """A file of clean prose."""
    records = [
        {"text": "".join(SENTENCES[(n + k) % 4] for k in range(6)) + f"第{n}篇。", "source": "s"}
        for n in range(30)
    ]
    lines = (json.dumps(record, ensure_ascii=False) for record in records)
    Path("prose.jsonl").write_text("\n".join(lines) + "\n", "utf-8")
    return "prose.jsonl"


def test_injected_pages_are_a_labelled_corpus_and_depend_on_the_seed_alone(
    winnow: Winnow, prose: str
) -> None:
    pytest.importorskip("opencc")
    from training.corpus.records import read_labelled

    first = winnow("inject", prose, "--seed", "1", "--pages", "20")
    assert first.code == 0
    assert winnow("inject", prose, "--seed", "1", "--pages", "8").records == first.records[:8]
    assert winnow("inject", prose, "--seed", "2", "--pages", "20").out != first.out
    assert winnow("inject", prose, "--seed", "1", "--pages", "20", "-o", "a.jsonl.zst").code == 0
    pages = list(read_labelled("a.jsonl.zst"))
    assert [page.text for page in pages] == [record["text"] for record in first.records]
    assert any(page.spans for page in pages)


def test_shown_pages_have_their_injected_parts_marked(winnow: Winnow, prose: str) -> None:
    pytest.importorskip("opencc")
    records = winnow("inject", prose, "--seed", "1", "--pages", "12").records
    shown = winnow("inject", prose, "--seed", "1", "--show", "12").out.decode()
    assert shown.count("== 1-") == 12
    assert shown.count("⟦") == sum(len(record["spans"]) for record in records)
    record = next(record for record in records if record["spans"])
    span = record["spans"][0]
    assert (
        f"⟦{span['label']}:{record['text'][span['start'] : span['end']]}⟧".split("\n")[0] in shown
    )


def test_a_vocabulary_is_counted_and_layout_added_to_another(winnow: Winnow, prose: str) -> None:
    pytest.importorskip("opencc")
    from filter.tokenizer import PageTokenizer

    assert winnow("tokenizer", prose, "-o", "own", "--size", "400").code == 0
    own = PageTokenizer.from_directory(Path("own"))
    assert 100 < own.vocab_size <= 400
    assert len(set(own.encode("村\n\u3000里").ids.tolist())) == 4
    _write_bert("bert")
    result = winnow("tokenizer", "--base", "bert", "-o", "extended")
    assert result.code == 0
    assert "12 layout tokens are new to bert" in result.err
    extended = PageTokenizer.from_directory(Path("extended"))
    assert len(set(extended.encode("村\n\u3000里").ids.tolist())) == 4


def test_a_tokenizer_is_overwritten_only_by_force(winnow: Winnow, prose: str) -> None:
    pytest.importorskip("opencc")
    assert winnow("tokenizer", prose, "-o", "own", "--size", "300").code == 0
    before = Path("own/tokenizer.json").read_bytes()
    refused = winnow("tokenizer", prose, "-o", "own", "--size", "200")
    assert refused.code == 2
    assert refused.err == (
        "winnow: error: own/tokenizer.json: exists already; --force overwrites it\n"
    )
    assert Path("own/tokenizer.json").read_bytes() == before
    assert winnow("tokenizer", prose, "-o", "own", "--size", "200", "--force").code == 0
    assert Path("own/tokenizer.json").read_bytes() != before


def test_a_tokenizer_that_is_none_is_one_line(winnow: Winnow) -> None:
    Path("empty").mkdir()
    result = winnow("tokenizer", "--base", "empty", "-o", "out")
    assert (result.code, result.err.count("\n")) == (2, 1)
    assert result.err.startswith("winnow: error: empty: no tokenizer.json")


def _write_bert(directory: str) -> None:
    """A tokenizer as BERT's: blanks and line breaks are dropped."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "村", "里"]
    vocabulary = {word: number for number, word in enumerate(words)}
    bert = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    bert.normalizer = normalizers.BertNormalizer()
    bert.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    bert.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    bert.add_special_tokens(words[:5])
    Path(directory).mkdir()
    bert.save(f"{directory}/tokenizer.json")


def test_a_model_is_measured_tuned_and_converted(
    copy_model: Callable[..., Path],
    sample: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    from filter.cli.app import run

    model = copy_model()
    pages = tmp_path / "pages.jsonl"
    start = sample.index("塑料混合机")
    span = {"start": start, "end": start + 5, "label": "keyword"}
    records = [{"id": str(i), "text": f"{sample}{i}", "spans": [span]} for i in range(8)]
    pages.write_text("".join(json.dumps(record) + "\n" for record in records))
    common = [str(model), str(pages)]

    assert run(["evaluate", *common, "--threshold", "0.3", "-o", "-"]) == 0
    measured = json.loads(capsys.readouterr().out)
    assert measured["model"]["threshold"] == 0.3
    assert measured["labelled"]["by_label"]["keyword"]["characters"] == 5 * 8

    assert run(["calibrate", *common, "--max-prose-loss", "0.01"]) == 2
    assert (
        "a prose loss of 0.01 needs 99 calibration pages or more; there are 4 (of 8 pages), and the"
        " smallest bound that these can promise is 0.2" in capsys.readouterr().err
    )
    assert run(["calibrate", str(pages)]) == 2
    assert "name one before the files" in capsys.readouterr().err
    assert run(["calibrate", *common, "--max-prose-loss", "0.9"]) == 0
    captured = capsys.readouterr()
    chosen = json.loads(captured.out)
    assert "like the 4 calibrated on loses 0.9 of its prose at most" in captured.err
    decoder = json.loads((model / "decoder.json").read_bytes())
    assert decoder["threshold"] == chosen["threshold"]
    assert decoder["promise"]["pages"] == 4
    assert "at most **0.9** at the threshold" in (model / "README.md").read_text()
    assert run(["evaluate", *common, "--max-prose-loss", "1", "-o", "-"]) == 0
    lowest = min(point["threshold"] for point in decoder["curve"])
    assert json.loads(capsys.readouterr().out)["model"]["threshold"] == lowest

    (model / "onnx" / "model_int8.onnx").unlink()
    allowed = ["--tolerance", "1", "--max-drop", "1", "--max-prose-loss-rise", "1"]
    assert run(["export", str(model), "--pages", str(pages), "--no-float32", *allowed]) == 0
    assert set(json.loads(capsys.readouterr().out)["files"]) == {"int8"}
    assert (model / "onnx" / "model_int8.onnx").is_file()
    assert "on 8 pages" in (model / "README.md").read_text()
    assert run(["export", str(model), "--no-int8", "--no-float32"]) == 2


def test_export_says_when_another_engine_takes_the_place_of_the_one_promised_of(
    copy_model: Callable[..., Path],
    sample: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    from filter.cli.app import run

    promise = {
        "method": "conformal risk control",
        "max_prose_loss": 0.01,
        "pages": 500,
        "pages_with_spam": 9,
        "share": 0.5,
        "seed": 0,
        "data": "0123456789ab",
        "engine": "onnx/float32/cpu",
        "model": "ab12",
    }
    allowed = ["--tolerance", "1", "--max-drop", "1", "--max-prose-loss-rise", "1"]
    model = copy_model(promise=promise)
    (model / "onnx" / "model_int8.onnx").unlink()
    assert run(["export", str(model), "--no-int8", *allowed]) == 0
    assert capsys.readouterr().err == ""

    # Pages are chosen and read as the other verbs do it.
    pages = tmp_path / "pages.jsonl"
    records = [{"page": sample, "source": source} for source in "aab"]
    pages.write_text("".join(json.dumps(record) + "\n" for record in records))
    given = ["--pages", str(pages), "--text-key", "page", "--source"]
    assert run(["export", str(model), "--no-float32", *allowed, *given, "a"]) == 0
    captured = capsys.readouterr()
    assert json.loads(captured.out)["pages"] == 2
    assert captured.err == (
        "winnow: the promise of at most 0.01 was made with onnx/float32/cpu; run `winnow calibrate`"
        " again to promise it of onnx/int8/cpu\n"
    )
    assert run(["export", str(model), *given, "c"]) == 2
    assert "no pages to hold the files against" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["export", "nowhere"], "nowhere: no such model directory"),
        (["calibrate", "model", "a.jsonl", "--seed", "-1"], "Invalid value for '--seed'"),
    ],
)
def test_what_a_verb_cannot_use_is_one_line(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    from filter.cli.app import run

    assert run(arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("winnow: error: ")
    assert err.count("\n") == 1
    assert message in err
