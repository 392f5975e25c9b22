"""The kinds of spam that the project's own models tell apart.

A model carries its labels itself (`id2label` in its config.json, `prose` first): a user may train
with two or with twenty. What stands here is the default set, and the two names that others use.
"""

from __future__ import annotations

PROSE = "prose"
"""The label of everything that the author of the article wrote. Always has id 0."""

NOISE = "noise"
"""Characters put in to obfuscate; the only kind under which a blank alone may be cut."""

LABELS = ("keyword", "fragment", "ad", "link", "boilerplate", NOISE)
"""The default spam labels, in the order of their ids (1 to 6)."""

IN_SENTENCE = ("keyword", "fragment")
"""The labels that stand inside sentences; in-sentence recall is taken over these."""
