"""The operations that are counted are those that torch counts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from filter.benchmark.arithmetic import Attention, read_arithmetic
from filter.benchmark.workload import Workload
from filter.content_filter import ContentFilter
from filter.errors import WinnowError
from filter.model_directory import read_model_directory

SIZES = {
    "vocab_size": 30,
    "hidden_size": 24,
    "intermediate_size": 40,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "num_labels": 5,
    "attn_implementation": "eager",  # its products are ordinary ones, which torch counts
}
MODERN = {"global_attn_every_n_layers": 1, "pad_token_id": 0, "cls_token_id": 1, "sep_token_id": 2}


def counted_by_torch(model: Any, *lengths: int) -> int:
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter:
        for length in lengths:
            model(input_ids=torch.ones(1, length, dtype=torch.long))
    return counter.get_total_flops()


@pytest.mark.parametrize(
    ("kind", "options"),
    [("ModernBert", MODERN), ("Bert", {}), ("Electra", {"embedding_size": 16}), ("Roberta", {})],
)
def test_operations_are_those_that_torch_counts(
    kind: str, options: dict[str, int], tmp_path: Path
) -> None:
    transformers = pytest.importorskip("transformers")
    config = getattr(transformers, f"{kind}Config")(**SIZES, **options)
    config.save_pretrained(tmp_path)
    model = getattr(transformers, f"{kind}ForTokenClassification")(config).eval()
    arithmetic = read_arithmetic(tmp_path)
    for length in (1, 17):
        assert arithmetic.operations(length) == counted_by_torch(model, length)


def test_layers_that_see_their_neighbourhood_need_no_more_than_it(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    options = {**MODERN, "global_attn_every_n_layers": 3, "local_attention": 8}
    transformers.ModernBertConfig(**SIZES, **options).save_pretrained(tmp_path)
    arithmetic = read_arithmetic(tmp_path)
    assert arithmetic.attentions == (Attention(2, 12, 1), Attention(2, 12, 2, reach=9))
    assert [arithmetic.attentions[1].keys(n) for n in (4, 9, 100)] == [4, 9, 9]
    beyond = arithmetic.operations(101) - arithmetic.operations(100)
    everywhere = (101**2 - 100**2) * 4 * 24
    nearby = 9 * 4 * 24 * 2
    assert beyond == everywhere + nearby + sum(
        2 * own.inputs * own.outputs * own.count for own in arithmetic.linears
    )


@pytest.mark.parametrize(
    ("config", "message"),
    [({"model_type": "mamba"}, "model_type 'mamba'"), ({"model_type": "bert"}, "hidden_size")],
)
def test_an_unknown_model_is_refused(config: dict[str, str], message: str, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(WinnowError, match=message):
        read_arithmetic(tmp_path)


def test_a_block_s_operations_are_those_of_the_windows_that_the_engine_is_given(
    tiny_model: Path, sample: str
) -> None:
    transformers = pytest.importorskip("transformers")
    texts = [sample, sample[:5], sample[:60] * 3, sample[:46]]
    arithmetic = read_arithmetic(tiny_model)
    workload = Workload(read_model_directory(tiny_model), texts, arithmetic)
    block = workload.block(len(texts))
    encoder, _ = ContentFilter.from_pretrained(tiny_model, engine="onnx").stages
    lengths = [len(window) for window in encoder.encode(texts).windows()]
    assert workload.lengths.tolist() == lengths
    assert block.windows == len(lengths) > len(texts)
    assert block.characters == sum(map(len, texts))
    model = transformers.AutoModelForTokenClassification.from_pretrained(
        tiny_model, attn_implementation="eager"
    )
    assert block.operations == counted_by_torch(model, *lengths)


def test_blocks_go_through_the_pages_over_and_over(tiny_model: Path) -> None:
    workload = Workload(read_model_directory(tiny_model), ["一", "二二", "三三三"], None)
    assert [workload.block(n).texts for n in (2, 0.1, 4)] == [
        ["一", "二二"],
        ["三三三"],
        ["一", "二二", "三三三", "一"],
    ]
    assert workload.block(1).operations == 0
    assert workload.mean_length == 2
