"""Pages from prose, material and a recipe: page ``i`` is a function of ``(seed, i)`` alone.

So any page can be made again, a stopped training goes on exactly, and workers need no coordination.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping
from random import Random

from filter.spans import Span
from training.corpus.records import LabelledPage
from training.injection import damage, strings
from training.injection.corpus import ProseStore
from training.injection.material import Material
from training.injection.page import LABEL_IDS, Page
from training.injection.recipe import FAMILIES, Recipe, background

IN_SENTENCE_FAMILIES = (
    ("keyword",), ("fragment",), ("keyword", "fragment"), ("substitution",), ("title", "keyword"),
    ("title", "fragment"), ("portal",), ("watermark",), ("masking",), ("pinyin",),
)  # fmt: skip
"""What is injected into pages that are labelled already, a choice a page."""


class Injector:
    """Makes labelled pages.

    Args:
        prose: where hosts and foreign pieces come from.
        material: lists of strings.
        recipe: rates.
        seed: of all pages.
        held_out: whether strings come from the held-out part of the material.
        label_ids: numbers of all labels, where they are not the project's own.
        left_out: families that strike no page, whatever the recipe says.
    """

    def __init__(
        self,
        prose: ProseStore,
        material: Material,
        recipe: Recipe,
        *,
        seed: int = 0,
        held_out: bool = False,
        label_ids: Mapping[str, int] = LABEL_IDS,
        left_out: Collection[str] = (),
    ) -> None:
        self.prose = prose
        self.material = material
        self.recipe = recipe
        self.seed = seed
        self.held_out = held_out
        self.label_ids = label_ids
        self.left_out = left_out
        self._names = list(recipe.profiles)
        self._weights = [profile.weight for profile in recipe.profiles.values()]

    def make(self, index: int) -> tuple[Page, str]:
        """Page ``index`` as text and labels, and the name of its profile."""
        rng = Random(f"{self.seed}:{index}")
        domain, text = self._host(rng)
        page = Page(
            text,
            rng=rng,
            prose=self.prose,
            material=self.material,
            domain=domain,
            held_out=self.held_out,
            label_ids=self.label_ids,
            gap=self.recipe.gap,
            own_words=self.recipe.own_words,
        )
        background(page, self.recipe)
        name = rng.choices(self._names, self._weights)[0]
        rates = self.recipe.profiles[name].families
        for family, inject in FAMILIES.items():
            strikes = family in rates and family not in self.left_out
            if strikes and rng.random() < rates[family]:
                inject(page)
        if rng.random() < self.recipe.traditional:
            damage.to_traditional(page)
        return page, name

    def page(self, index: int) -> LabelledPage:
        """Page ``index`` as a record of a labelled corpus."""
        page, name = self.make(index)
        return _record(page, id=f"{self.seed}-{index}", source="injected", kind=name)

    def into(self, host: LabelledPage, index: int) -> LabelledPage:
        """A labelled page with in-sentence spam injected into its prose, seeded by ``index``."""
        rng = Random(f"{self.seed}:into:{index}")
        page = Page(
            host.text,
            rng=rng,
            prose=self.prose,
            material=self.material,
            held_out=self.held_out,
            label_ids=self.label_ids,
            gap=self.recipe.gap,
            own_words=self.recipe.own_words,
        )
        for span in host.spans:
            number = self.label_ids[span.label]
            page.labels[span.start : span.end] = bytes((number,)) * (span.end - span.start)
        for family in IN_SENTENCE_FAMILIES[rng.randrange(len(IN_SENTENCE_FAMILIES))]:
            if family not in self.left_out:
                FAMILIES[family](page)
        if rng.random() < self.recipe.traditional:
            damage.to_traditional(page)
        return _record(page, id=f"{host.id}+{index}", source=host.source, kind=host.kind)

    def pages(self, start: int, stop: int) -> Iterator[LabelledPage]:
        """Pages ``start`` to ``stop``, the latter left out."""
        return map(self.page, range(start, stop))

    def _host(self, rng: Random) -> tuple[str, str]:
        """A stretch of a document, short documents put together, with or without a title line."""
        recipe = self.recipe
        low, high = math.log(recipe.min_length), math.log(recipe.max_length)
        length = int(math.exp(rng.uniform(low, high)))
        domain, text = self.prose.draw(rng)
        while len(text) < length and rng.random() < 0.7:
            text += "\n" + self.prose.draw(rng, domain)[1]
        if len(text) > length:
            start = rng.randrange(len(text) - length) if rng.random() < 0.5 else 0
            line = text.rfind("\n", 0, start) + 1
            if start - line < 200:
                start = line  # most pages begin with a paragraph
            text = text[start : start + length]
            stop = max(text.rfind(mark) for mark in "。！？\n")
            if stop > length // 2 and rng.random() < 0.8:
                text = text[: stop + 1]
        text = text.strip("\n") or text
        if rng.random() < recipe.title:
            text = _title(rng, text) + "\n" + text
        return domain, text


def _record(page: Page, *, id: str, source: str, kind: str) -> LabelledPage:
    text = page.text
    spans = [Span(s, e, label, text=text[s:e]) for s, e, label in page.spans()]
    return LabelledPage(id=id, text=text, spans=spans, source=source, kind=kind)


def _title(rng: Random, text: str) -> str:
    """A headline in the page's own words: a clause of its beginning, or two."""
    clauses = [c.strip() for c in strings.split_clauses(text[:200]) if 5 <= len(c.strip()) <= 30]
    if not clauses:
        return text[: rng.randint(8, 20)].replace("\n", "")
    title = clauses[0]
    if len(clauses) > 1 and len(title) < 12 and rng.random() < 0.6:
        title += rng.choice((" ", "，", "：")) + clauses[1]
    return title
