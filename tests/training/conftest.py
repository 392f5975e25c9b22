"""A small corpus of the project's own writing, put together from sentences by a fixed rule."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest

SUBJECTS = [
    "村里的小学",
    "县图书馆",
    "老船长",
    "研究人员",
    "这家医院",
    "镇上的合唱团",
    "年轻的工程师",
    "社区食堂",
    "邮递员",
]
VERBS = [
    "修好了",
    "讨论过",
    "记录下",
    "重新布置了",
    "认真检查了",
    "终于完成了",
    "悄悄改进了",
    "公开展示了",
]
OBJECTS = [
    "一座旧钟楼",
    "三年的观测数据",
    "门前的石板路",
    "夏天的演出计划",
    "两台水泵",
    "一份借阅名单",
    "河边的堤岸",
]
TAILS = [
    "邻居们都来看热闹",
    "天色渐渐暗了下来",
    "没有人提出反对",
    "结果比预想的好",
    "大家约定明年再见",
]
DOMAINS = ("news", "literature", "industry")


def document(rng: Random) -> str:
    paragraphs = []
    for _ in range(rng.randint(2, 5)):
        sentences = [
            f"{rng.choice(SUBJECTS)}{rng.choice(VERBS)}{rng.choice(OBJECTS)}，{rng.choice(TAILS)}。"
            for _ in range(rng.randint(2, 6))
        ]
        paragraphs.append("".join(sentences))
    return "\n".join(paragraphs)


def documents(count: int = 60) -> Iterator[dict[str, str]]:
    rng = Random(7)
    for index in range(count):
        yield {
            "id": str(index),
            "source": f"source-{index % 4}",
            "domain": DOMAINS[index % 3],
            "text": document(rng),
        }


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data root with prose, material and a labelled corpus."""
    root = tmp_path_factory.mktemp("corpus")
    rows = [json.dumps(row, ensure_ascii=False) for row in documents()]
    (root / "prose.jsonl").write_text("\n".join(rows) + "\n", encoding="utf-8")
    material = root / "material"
    material.mkdir()
    lists = {
        "products_industrial": [f"{a}{b}机" for a in "切磨钻压洗烘" for b in "片粉孔块砂箱"],
        "cities": ["临江", "北桥", "南塘", "东岭", "西渡"],
        "watermarks_real": [f"www.liushu{n}.example" for n in range(40)],
        "contact_real": [f"咨询热线：010-5550{n:04}" for n in range(40)],
        "boilerplate_real": [f"第{n}栏 首页 关于本站" for n in range(40)],
        "link_real": [f"相关报道之{n}：堤岸的故事" for n in range(40)],
        "pseudo_original_synonyms": ["完成\t达成", "公开\t公然", "讨论\t商量"],
    }
    for name, items in lists.items():
        (material / f"{name}.txt").write_text("\n".join(items), encoding="utf-8")
    labelled = []
    for index, row in enumerate(documents(12)):
        head = f"首页 > 新闻 > 正文\n发布时间：2020-01-{index + 1:02}\n"
        text = head + row["text"] + "\n上一篇：没有了"
        end = len(head + row["text"])
        spans = [
            {"start": 0, "end": len(head), "label": "boilerplate"},
            {"start": end, "end": len(text), "label": "link"},
        ]
        labelled.append(
            {"id": f"page-{index}", "text": text, "spans": spans, "source": f"site-{index % 3}"}
        )
    rows = [json.dumps(row, ensure_ascii=False) for row in labelled]
    (root / "labelled.jsonl").write_text("\n".join(rows) + "\n", encoding="utf-8")
    return root


@pytest.fixture
def labelled_config(corpus: Path, tmp_path: Path) -> dict[str, object]:
    """A run of some seconds on labelled pages alone, with labels of its own counting."""
    return {
        "output": str(tmp_path / "run"),
        "encoder": {"hidden_size": 16, "intermediate_size": 16, "layers": 1, "heads": 2},
        "embeddings": "random",
        "labels": "auto",
        "window": 32,
        "overlap": 8,
        "data": {"root": str(corpus), "labelled": [{"path": "labelled.jsonl"}]},
        "evaluation": {"labelled": ["labelled.jsonl"], "steps": 2},
        "steps": 6,
        "batch_size": 4,
        "save_steps": 2,
        "log_steps": 1,
        "bf16": False,
        "device": "cpu",
        "dtype": "float32",
    }
