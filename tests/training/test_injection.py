"""Injected pages: seeded, exact in their labels, with every family as counted on real pages."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from random import Random

import pytest

from filter.errors import WinnowError
from filter.spans import Span, cut
from training import injection
from training.corpus.records import LabelledPage
from training.injection import Injector, damage, hard_negative, load_recipe, tail
from training.injection.corpus import ProseStore, read_paragraphs, read_prose
from training.injection.material import Material, read_material
from training.injection.page import Edit, Page
from training.injection.recipe import FAMILIES

INSERTING = sorted(set(FAMILIES) - {"substitution", "title", "masking", "head", "tail"})
"""Families that only insert: what is left without the spans is the host, line breaks aside."""

LABELS_OF = {
    "substitution": {"keyword"}, "title": {"keyword", "boilerplate"}, "keyword": {"keyword"},
    "portal": {"keyword", "link"}, "fragment": {"fragment"}, "scatter": {"keyword", "fragment"},
    "advert": {"ad"}, "watermark": {"link"}, "marks": {"link"}, "pinyin": {"noise"},
    "masking": {"noise"}, "tags": {"keyword"},
    "links": {"link", "boilerplate", "ad"}, "tail": {"boilerplate", "link", "ad"},
    "head": {"boilerplate", "link", "ad"},
}  # fmt: skip


@pytest.fixture(scope="module")
def prose(corpus: Path) -> ProseStore:
    return ProseStore(read_prose([corpus / "prose.jsonl"])[0], {})


@pytest.fixture(scope="module")
def material(corpus: Path) -> Material:
    return read_material([corpus / "material"])


@pytest.fixture(scope="module")
def injector(prose: ProseStore, material: Material) -> Injector:
    return Injector(prose, material, load_recipe("inject"), seed=3)


def new_page(prose: ProseStore, material: Material, seed: int) -> Page:
    rng = Random(seed)
    domain, text = prose.draw(rng)
    text = "堤岸修缮之后\n" + text
    return Page(text, rng=rng, prose=prose, material=material, domain=domain)


def test_edits_are_applied_in_offsets_of_the_page_as_it_stands(
    prose: ProseStore, material: Material
) -> None:
    page = Page("一二三四", rng=Random(0), prose=prose, material=material)
    page.apply([Edit(3, 3, "乙", "ad"), Edit(1, 2, "甲甲", "keyword"), Edit(1, 1, "丙", "noise")])
    assert page.text == "一丙甲甲三乙四"
    assert list(page.spans()) == [(1, 2, "noise"), (2, 4, "keyword"), (5, 6, "ad")]


@pytest.mark.parametrize("family", FAMILIES)
def test_family_strikes_under_its_own_labels(
    family: str, prose: ProseStore, material: Material
) -> None:
    struck = 0
    for seed in range(30):
        page = new_page(prose, material, seed)
        FAMILIES[family](page)
        assert len(page.text) == len(page.labels)
        found = {label for _, _, label in page.spans()}
        assert found <= LABELS_OF[family]
        struck += bool(found)
    assert struck > 15


@pytest.mark.parametrize("family", INSERTING)
def test_what_is_left_without_the_spans_is_the_host(
    family: str, prose: ProseStore, material: Material
) -> None:
    for seed in range(20):
        page = new_page(prose, material, seed)
        host = page.text
        FAMILIES[family](page)
        kept = "".join(c for c, label in zip(page.text, page.labels, strict=True) if not label)
        assert kept == host


@pytest.mark.parametrize("background", [damage.inject, hard_negative.inject])
def test_backgrounds_change_the_host_and_label_nothing(
    background: Callable[[Page], object], prose: ProseStore, material: Material
) -> None:
    changed = 0
    for seed in range(30):
        page = new_page(prose, material, seed)
        host = page.text
        background(page)
        assert not any(page.labels)
        changed += page.text != host
    assert changed > 20


def test_page_is_a_function_of_seed_and_index(
    injector: Injector, prose: ProseStore, material: Material
) -> None:
    forward = [injector.page(index) for index in range(8)]
    backward = [injector.page(index) for index in reversed(range(8))]
    assert forward == backward[::-1]
    other = Injector(prose, material, injector.recipe, seed=4)
    assert other.page(0) != forward[0]


def test_spans_are_exact(injector: Injector) -> None:
    for page in injector.pages(0, 60):
        for span in page.spans:
            assert page.text[span.start : span.end] == span.text
        assert all(a.end <= b.start for a, b in pairwise(page.spans))
        assert len(cut(page.text, page.spans)) + sum(len(s.text) for s in page.spans) == len(
            page.text
        )


def test_some_pages_are_clean_and_every_label_occurs(injector: Injector) -> None:
    pages = list(injector.pages(0, 200))
    assert 20 < sum(not page.spans for page in pages) < 100
    labels = {span.label for page in pages for span in page.spans}
    assert labels == {"keyword", "fragment", "ad", "link", "boilerplate", "noise"}


def test_keywords_of_a_page_recur(prose: ProseStore, material: Material) -> None:
    """A page cycles through at most seven strings, whatever the number of insertions."""
    most = 0
    for seed in range(40):
        page = new_page(prose, material, seed)
        FAMILIES["keyword"](page)
        strings = [page.text[start:end] for start, end, _ in page.spans()]
        assert len(set(strings)) <= 7
        most = max(most, len(strings))
    assert most > 10


def test_most_fragments_are_cut_out_of_other_documents(
    prose: ProseStore, material: Material
) -> None:
    everything = "\n".join(text for _, _, text in prose.documents)
    found = []
    for seed in range(60):
        page = new_page(prose, material, seed)
        FAMILIES["fragment"](page)
        found += [page.text[start:end] in everything for start, end, _ in page.spans()]
    assert sum(found) / len(found) > 0.5


def test_labelled_pages_lend_their_keywords_and_fragments(prose: ProseStore) -> None:
    keywords, fragment = ["橡皮艇租赁", "桨板俱乐部", "充气帐篷"], "其浮力为三百公斤两种"
    host = "今天的报纸讲了堤岸。"
    spans, text = [], ""
    for piece, label in zip((*keywords, fragment), ("keyword",) * 3 + ("fragment",), strict=True):
        text += host
        spans.append(Span(len(text), len(text) + len(piece), label, text=piece))
        text += piece
    material = Material({})
    material.add_pages([LabelledPage(id="1", text=text, spans=spans, source="s", kind="")])
    drawn: dict[str, set[str]] = {"keyword": set(), "fragment": set()}
    for seed in range(60):
        for family in drawn:
            page = new_page(prose, material, seed)
            FAMILIES[family](page)
            drawn[family] |= {page.text[start:end] for start, end, _ in page.spans()}
    assert set(keywords) <= drawn["keyword"]
    assert fragment in drawn["fragment"]


def test_some_heads_repeat_how_the_article_begins(prose: ProseStore, material: Material) -> None:
    repeated = 0
    for seed in range(60):
        page = new_page(prose, material, seed)
        beginning = page.text.split("\n")[1][:20]
        FAMILIES["head"](page)
        foreign = [page.text[start:end] for start, end, _ in page.spans()]
        repeated += any(beginning in text for text in foreign)
    assert repeated > 0


def test_traditional_pages_keep_their_spans(prose: ProseStore, material: Material) -> None:
    page = Page("图书馆的切片机开放了", rng=Random(0), prose=prose, material=material)
    page.labels[4:7] = bytes((1, 1, 1))
    damage.to_traditional(page)
    assert page.text == "圖書館的切片機開放了"
    assert list(page.spans()) == [(4, 7, "keyword")]


def test_labelled_pages_are_injected_into_their_prose_alone(
    injector: Injector, corpus: Path
) -> None:
    from training.corpus.records import read_labelled

    for host in read_labelled(corpus / "labelled.jsonl"):
        page = injector.into(host, 5)
        assert {s.text for s in host.spans if s.label == "link"} <= {
            s.text for s in page.spans
        } or (page.text != host.text)
        assert len(page.spans) >= len(host.spans)


def test_held_out_strings_are_never_drawn_for_training(material: Material) -> None:
    rng = Random(0)
    train = {material.draw(rng, "boilerplate_real") for _ in range(500)}
    held_out = {material.draw(rng, "boilerplate_real", held_out=True) for _ in range(500)}
    assert held_out and not train & held_out


def test_held_out_prose_is_told_apart(corpus: Path) -> None:
    train, held_out, _ = read_prose(
        [corpus / "prose.jsonl"], held_out_sources=["source-1"], held_out_containing=["钟楼"]
    )
    assert held_out
    assert all(source != "source-1" and "钟楼" not in text for source, _, text in train)
    assert all(source == "source-1" or "钟楼" in text for source, _, text in held_out)


def test_a_limit_holds_for_each_file(tmp_path: Path) -> None:
    texts = {name: [f"{name}{n}" + "一句话。" * 20 for n in range(4)] for name in ("甲", "乙")}
    for name, documents in texts.items():
        lines = [json.dumps({"text": text, "source": text[:2]}) for text in ["短", *documents]]
        (tmp_path / name).write_text("\n".join(lines), encoding="utf-8")
    paths = [tmp_path / name for name in texts]
    train, held_out, _ = read_prose(paths, held_out_sources=["甲0"], limit=2)
    assert [source for source, _, _ in train] == ["甲1", "乙0", "乙1"]
    assert [source for source, _, _ in held_out] == ["甲0"]


def test_lone_surrogates_are_replaced(tmp_path: Path) -> None:
    path = tmp_path / "prose.jsonl"
    path.write_text('{"text": "%s\\ud83d。"}' % ("一句话。" * 20), encoding="utf-8")
    (((_, _, text),), _, _) = read_prose([path])
    assert text == "一句话。" * 20 + "\ufffd。"


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
    own = Material({}, held_out_share=0)
    own.add(tail.CREDITS, ["江城晚报记者李云编辑王平校对赵一"])
    recipe = load_recipe({"profiles": {"t": {"weight": 1, "families": {"tail": 1}}}})
    injector = Injector(prose, own, recipe, seed=1)
    marked = [span.text for page in injector.pages(0, 60) for span in page.spans]
    assert any("李云编辑王平" in text for text in marked)


def test_look_alikes_of_our_own_are_prose_as_they_stand() -> None:
    path = Path(injection.__file__).parent / "written" / "clean.jsonl"
    texts = [json.loads(line)["text"].strip() for line in path.read_text("utf-8").splitlines()]
    read = {text for _, _, text in read_prose([path]).train}
    assert sum(text not in read for text in texts) < 0.03 * len(texts)


def test_what_is_short_without_its_credit_makes_no_page(tmp_path: Path) -> None:
    path = tmp_path / "prose.jsonl"
    path.write_text(json.dumps({"text": "一句话。" * 9 + "（记者" + "李云" * 12 + "）"}), "utf-8")
    assert read_prose([path])[:2] == ([], [])


def test_only_whole_paragraphs_of_crawled_pages_are_prose(tmp_path: Path) -> None:
    paragraph = "这一段足够长，" * 8 + "并且以句号结束。"
    path = tmp_path / "pages.jsonl"
    head = "首页 登录 注册\\n来源：江城网 编辑：王平"
    path.write_text(f'{{"text": "{head}\\n{paragraph}\\n上一篇"}}', encoding="utf-8")
    assert [text for _, _, text in read_paragraphs([path])] == [paragraph]


def test_unknown_family_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(WinnowError, match="did you mean 'keyword'"):
        load_recipe({"profiles": {"a": {"weight": 1, "families": {"keywrod": 1}}}})


@pytest.mark.parametrize("line", ['{"txt": "坏"}', '{"text": null}', '{"text": 3}', "[]", "{"])
def test_broken_prose_names_file_and_line(tmp_path: Path, line: str) -> None:
    path = tmp_path / "prose.jsonl"
    path.write_text(f'{{"text": "好"}}\n{line}\n', encoding="utf-8")
    with pytest.raises(WinnowError, match=r"prose\.jsonl:2") as error:
        read_prose([path])
    assert "\n" not in str(error.value)
