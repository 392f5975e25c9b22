"""Family ``scatter``: a foreign string every few words, and none of them twice.

No spammer's page looks like that. It is what replaced-token detection is to pretraining (Clark and
others, 2020, "ELECTRA: Pre-training Text Encoders as Discriminators Rather Than Generators"): with
nothing that recurs and no layout to go by, whether a word belongs where it stands is all there is
to learn, and every line asks for it.
"""

from __future__ import annotations

from training.injection import fragment, placement, strings
from training.injection.page import Edit, Page


def inject(page: Page) -> None:
    """Drops strings of other documents into the page, each its own."""
    rng = page.rng
    rules = ["any"] if rng.random() < 0.6 else [*placement.choose_rules(rng), "any"]
    points = placement.spread(page, rng.uniform(8, 45), rules)
    page.apply(Edit(point, point, *_string(page)) for point in points)


def _string(page: Page) -> tuple[str, str]:
    kind = page.rng.random()
    if kind < 0.3:
        return strings.term(page), "keyword"
    if kind < 0.45:
        return strings.ngram(page), "keyword"
    if kind < 0.55:
        return strings.term(page, page.domain), "keyword"
    if kind < 0.75:
        return strings.keyword(page), "keyword"
    return fragment.clause(page) or strings.term(page), "fragment"
