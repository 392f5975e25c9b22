"""Prose as it is read: what its site added is left out, what the author wrote stays."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from training import injection
from training.injection import Injector, load_recipe
from training.injection.corpus import ProseStore, read_prose
from training.injection.material import FEWEST_CREDITS, Material


@pytest.fixture(scope="module")
def prose(corpus: Path) -> ProseStore:
    return ProseStore(read_prose([corpus / "prose.jsonl"]).train, {})


@pytest.mark.parametrize(
    ("end", "left"),
    [
        ("（记者李云 通讯员王平）", ""),
        ("\n【来源：某某日报】\n", ""),
        ("江城晚报记者李云编辑王平校对赵一", ""),
        ("（總台記者李雲） 【", ""),
        ("他说：“我也走了。”这一句没有写", "他说：“我也走了。”"),
        ("（完）", "（完）"),
        ("（记者没有来）他也走了。", "（记者没有来）他也走了。"),
        ("\n联系电话:0838-7752011", "\n联系电话:0838-7752011"),
        ("\n提高学生的综合素质", "\n提高学生的综合素质"),
        ("\n面，一斤\n水，半斤", "\n面，一斤\n水，半斤"),
        ("没有句号的一段" * 20, "没有句号的一段" * 20),
        ("\n见 http://example.org/a?id=3", "\n见 http://example.org/a?id=3"),
    ],
)
def test_what_a_site_adds_at_the_end_is_no_prose(tmp_path: Path, end: str, left: str) -> None:
    path = tmp_path / "prose.jsonl"
    path.write_text(json.dumps({"text": "一句话。" * 40 + end}), encoding="utf-8")
    (((_, _, text),), _, _) = read_prose([path])
    assert text == "一句话。" * 40 + left


@pytest.mark.parametrize(
    ("bracket", "is_prose"),
    [
        ("（江城报供图）", False),
        ("（新华社记者 王平 摄 ）", False),
        ("【王平摄】", False),
        ("（图源：江城报）", False),
        ("（资料图）", False),
        ("（江城報供圖）", False),
        ("（该片于1998年拍摄）", True),
        ("（免费提供图纸）", True),
        ("（机械制图）", True),
        ("（国家资料图书馆）", True),
    ],
)
def test_credits_of_pictures_are_no_prose(tmp_path: Path, bracket: str, is_prose: bool) -> None:
    path = tmp_path / "prose.jsonl"
    text = "一句话。" * 20 + f"河边修了一条新路{bracket}，路上的人很多。"
    path.write_text(json.dumps({"text": text}), encoding="utf-8")
    (((_, _, read),), _, credits) = read_prose([path])
    assert read == (text if is_prose else text.replace(bracket, "")) and credits == []


@pytest.mark.parametrize(
    ("paragraph", "is_prose"),
    [
        ("孩子看到了飞机。图源：江城晚报记者昨天来到现场。", False),
        ("2023-08-14 作者：李云一家公司昨天说，价格要涨。", False),
        ("文/江城晚报记者李云昨天一早，河边的路修好了。", False),
        ("本文属于原创文章，如若转载，请注明出处。", False),
        ("多吃青菜。定点痔疮医院。每天散步半小时。", False),
        ("治疗湿疹哪里最好？我头上痒了三天。", False),
        ("这家医院在哪个城市都有名。", True),
        ("他走进那家医院，住进了全市最好的医院。", True),
        ("如果不见好转，最好去医院做一次检查。", True),
        ("记者来到现场，看到编辑正在校对。", True),
        ("资金来源：自筹一半，银行贷款一半。", True),
        ("论文/专利都要交，中文/英文都可以。", True),
        ("一旁的记者：“冰的量可以选吗？”", True),
    ],
)
def test_paragraphs_with_what_is_not_the_authors_are_left_out(
    tmp_path: Path, paragraph: str, is_prose: bool
) -> None:
    path = tmp_path / "prose.jsonl"
    first, last = "一句话。" * 20, "又一句话。" * 20
    path.write_text(json.dumps({"text": f"{first}\n{paragraph}\n{last}"}), encoding="utf-8")
    (((_, _, text),), _, _) = read_prose([path])
    assert text.split("\n") == [first, *([paragraph] if is_prose else []), last]


def test_credits_that_prose_ended_with_are_put_below_pages(
    prose: ProseStore, tmp_path: Path
) -> None:
    ends = {
        "（江城报供图）路上人多。晚报记者李云编辑王平校对赵一": "晚报记者李云编辑王平校对赵一",
        "（总台记者李云） 【": "（总台记者李云）",
        "本文属于原创文章，如若转载，请注明": "本文属于原创文章，如若转载，请注明",
        "他告诉记者这条路": None,  # a sentence that was cut off
        "拥有国家授权专利三项，产品远销海外": None,
        "提供图书借阅服务": None,
        "记者走了。": None,
    }
    path = tmp_path / "prose.jsonl"
    lines = [json.dumps({"text": "一句话。" * 20 + end, "source": "in"}) for end in ends]
    lines.append(json.dumps({"text": "一句话。" * 20 + "（记者赵一）", "source": "out"}))
    path.write_text("\n".join(lines), encoding="utf-8")
    _, held_out, credits = read_prose([path], held_out_sources=["out"])
    assert len(held_out) == 1 and credits == [credit for credit in ends.values() if credit]
    recipe = load_recipe({"profiles": {"t": {"weight": 1, "families": {"tail": 1}}}})
    found = []
    for number in (FEWEST_CREDITS - 1, FEWEST_CREDITS):
        own = Material({}, held_out_share=0)
        own.add_credits(["晚报记者李云编辑王平校对赵一"] * number)
        pages = Injector(prose, own, recipe, seed=1).pages(0, 60)
        found.append(any("李云编辑王平" in s.text for page in pages for s in page.spans))
    assert found == [False, True]  # of a few, one that is no credit would be drawn too often


def test_look_alikes_of_our_own_are_prose_as_they_stand() -> None:
    path = Path(injection.__file__).parent / "written" / "clean.jsonl"
    texts = [json.loads(line)["text"].strip() for line in path.read_text("utf-8").splitlines()]
    read = {text for _, _, text in read_prose([path]).train}
    assert sum(text not in read for text in texts) < 0.03 * len(texts)


def test_what_is_short_without_its_credit_makes_no_page(tmp_path: Path) -> None:
    path = tmp_path / "prose.jsonl"
    path.write_text(json.dumps({"text": "一句话。" * 9 + "（记者" + "李云" * 12 + "）"}), "utf-8")
    assert read_prose([path])[:2] == ([], [])
