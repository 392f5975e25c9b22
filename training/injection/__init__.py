"""Injection: clean prose into labelled pages that are spammed as real ones are.

One small module a family; `recipe` says how often each strikes, `generator` composes them. A
string's identity must carry no information (most inserted strings are cut out of other documents,
where they stand as prose), so that a model learns what is foreign to its place, not lists of
words.
"""

from __future__ import annotations

from training.injection.generator import Injector
from training.injection.recipe import Recipe, load_recipe

__all__ = ["Injector", "Recipe", "load_recipe"]
