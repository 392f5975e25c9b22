"""The recipe: how often each family strikes, read from YAML.

A page draws one profile (a kind of spammed site) by weight; each family of the profile then strikes
with its own rate. Backgrounds (damage, hard negatives, traditional script) are drawn beside it.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, field_validator

from filter.errors import unknown
from training.injection import (
    advert,
    damage,
    fragment,
    hard_negative,
    head,
    keyword,
    links,
    masking,
    pinyin,
    scatter,
    substitution,
    tail,
    title,
    watermark,
)  # fmt: skip
from training.injection.page import Page

FAMILIES: dict[str, Callable[[Page], None]] = {
    "substitution": substitution.inject,
    "title": title.inject,
    "keyword": keyword.inject,
    "portal": keyword.inject_portal,
    "fragment": fragment.inject,
    "scatter": scatter.inject,
    "advert": advert.inject,
    "watermark": watermark.inject,
    "marks": watermark.inject_marks,
    "pinyin": pinyin.inject,
    "masking": masking.inject,
    "links": links.inject,
    "tags": keyword.inject_tags,
    "tail": tail.inject,
    "head": head.inject,
}
"""Families in the order in which they are applied: from inside sentences outwards."""

Rate = Annotated[float, Field(ge=0, le=1)]


class Profile(BaseModel):
    """One kind of site: its share of pages and the rates of its families."""

    model_config = ConfigDict(extra="forbid")

    weight: Annotated[float, Field(gt=0)]
    families: dict[str, Rate] = {}

    @field_validator("families")
    @classmethod
    def _known(cls, families: dict[str, float]) -> dict[str, float]:
        for name in families:
            if name not in FAMILIES:
                raise ValueError(unknown("family", name, FAMILIES))
        return families


class Recipe(BaseModel):
    """Rates of everything that makes a page."""

    model_config = ConfigDict(extra="forbid")

    profiles: dict[str, Profile]
    damage: Rate = 0.5
    """Share of the pages whose host text is damaged as by scraping, unlabelled."""
    hard_negative: Rate = 0.35
    """Share of the pages that get clean text which looks like spam, unlabelled."""
    traditional: Rate = 0.15
    """Share of the pages that are converted into traditional characters."""
    title: Rate = 0.6
    """Share of the pages with a headline of their own words above them."""
    min_length: Annotated[int, Field(ge=20)] = 60
    max_length: Annotated[int, Field(ge=50)] = 2000
    gap: Annotated[float, Field(gt=0)] | None = None
    """Characters between in-sentence insertions; without it every page draws its own."""
    own_words: Rate = 0.0
    """How often a keyword is a word of the host itself, on top of what the families draw."""


def background(page: Page, recipe: Recipe) -> None:
    """Hard negatives first, then damage over all of it."""
    if page.rng.random() < recipe.hard_negative:
        hard_negative.inject(page)
    if page.rng.random() < recipe.damage:
        damage.inject(page)


def load_recipe(source: str | Path | dict[str, Any]) -> Recipe:
    """Reads a recipe from a YAML file, a name in ``configs/`` or a mapping."""
    from training.config_files import read_yaml, validated

    values = source if isinstance(source, dict) else read_yaml(source)
    return validated(
        Recipe, values, where=str(source) if not isinstance(source, dict) else "recipe"
    )
