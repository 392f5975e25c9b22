"""What several tests share: no network, and a tiny model of the project's own kind."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

# Before any library reads them: tests never look for anything on a hub.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["HF_DATASETS_OFFLINE"] = "1"
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import pytest
from hypothesis import settings

settings.register_profile("winnow", deadline=None, derandomize="CI" in os.environ)
settings.load_profile("winnow")

SAMPLE = (
    "当前位置: 首页 >> 新闻\n\n做好帮塑料混合机扶工作，是今年的头等大事。\r\n"
    "村里的老人们坐在槐树下，谈起了去年的收成。机(jī)床 3mm 和6mm 两种，热线：400-000-0000\n"
    "上一篇：无\u3000下一篇：www.example.com\n"
)


@pytest.fixture(scope="session")
def sample() -> str:
    """A page of a few lines, longer than two windows of the tiny model."""
    return SAMPLE


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model directory of the project's own kind with random weights, in all formats.

    Its head is turned up so that its probabilities go all the way from 0 to 1; its windows are
    short, so that a page of some hundred characters has several.
    """
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    # So small a model loses more to waiting for threads than it gains.
    torch.set_num_threads(1)
    from filter.labels import LABELS, PROSE
    from filter.tokenizer import PageTokenizer
    from training.model_files.export import export_onnx
    from training.networks.vocabulary import build_tokenizer

    path = tmp_path_factory.mktemp("tiny") / "model"
    build_tokenizer(sorted(set(SAMPLE)), path)
    names = (PROSE, *LABELS)
    tokenizer = PageTokenizer.from_directory(path)
    config = transformers.ModernBertConfig(
        vocab_size=tokenizer.vocab_size,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=512,
        global_attn_every_n_layers=1,
        pad_token_id=tokenizer.pad_id,
        cls_token_id=tokenizer.cls_id,
        sep_token_id=tokenizer.sep_id,
        bos_token_id=tokenizer.cls_id,
        eos_token_id=tokenizer.sep_id,
        id2label=dict(enumerate(names)),
        label2id={name: index for index, name in enumerate(names)},
        attn_implementation="sdpa",
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = transformers.ModernBertForTokenClassification(config).eval()
        with torch.no_grad():
            model.get_input_embeddings().weight.mul_(20)
            model.classifier.weight.mul_(60)
            model.classifier.bias[0] += 2.0
    model.save_pretrained(path)
    decoder = {"format": 1, "window": 48, "overlap": 12, "threshold": 0.5}
    (path / "decoder.json").write_text(json.dumps(decoder), encoding="utf-8")
    export_onnx(path, float32=True)
    return path


@pytest.fixture
def copy_model(tiny_model: Path, tmp_path: Path) -> Callable[..., Path]:
    """Makes a copy of the tiny model that a test may change."""

    def copy(name: str = "copy", **decoder: object) -> Path:
        path = tmp_path / name
        shutil.copytree(tiny_model, path)
        if decoder:
            settings = json.loads((path / "decoder.json").read_text(encoding="utf-8"))
            text = json.dumps({**settings, **decoder})
            (path / "decoder.json").write_text(text, encoding="utf-8")
        return path

    return copy
