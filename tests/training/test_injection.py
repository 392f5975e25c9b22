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
from training.corpus.records import LabelledPage
from training.injection import Injector, damage, hard_negative, load_recipe
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
