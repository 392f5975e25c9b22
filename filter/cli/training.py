"""Verbs that make models. Each imports its part of ``training`` when it is called, not before."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import typer

from filter.cli.options import Force
from filter.errors import UsageError, WinnowError

Overrides = Annotated[
    list[str] | None,
    typer.Argument(metavar="KEY=VALUE", help="Overrides, such as optimizer.name=adamw."),
]
Config = Annotated[
    str,
    typer.Option("--config", "-c", metavar="NAME", help="A YAML file, or a name in configs/."),
]
Seed = Annotated[int | None, typer.Option("--seed", metavar="N", help="Seed of all that is drawn.")]
Output = Annotated[str | None, typer.Option("--output", "-o", metavar="PATH")]


@contextmanager
def training_extra() -> Iterator[None]:
    """Turns the absence of a library that training needs into one line that names the extra.

    Raises:
        WinnowError: a library is not installed.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package in ("filter", "training"):
            raise  # a fault of ours, not of the environment
        raise WinnowError(
            f"{package} is not installed, which training needs: pip install 'winnow-zh[train]'"
        ) from error


def inject(
    prose: Annotated[
        list[str], typer.Argument(metavar="FILE", help="Clean prose, jsonl with a text field.")
    ],
    output: Annotated[
        str | None,
        typer.Option("--output", "-o", metavar="FILE", help="Labelled jsonl. [default: stdout]"),
    ] = None,
    pages: Annotated[int, typer.Option("--pages", metavar="N", help="How many to make.")] = 100,
    seed: Annotated[int, typer.Option("--seed", metavar="N", help="Page i is made by it.")] = 0,
    show: Annotated[
        int | None,
        typer.Option("--show", metavar="N", help="Print N pages with the injected parts marked."),
    ] = None,
    config: Annotated[
        str,
        typer.Option("--config", "-c", metavar="NAME", help="Recipe: YAML, or a name in configs/."),
    ] = "inject",
    material: Annotated[
        list[str] | None,
        typer.Option("--material", metavar="PATH", help="List of strings, or directory of lists."),
    ] = None,
    force: Force = False,
) -> int:
    """Make labelled pages: clean prose with spam injected by a recipe.

    Page i depends on the seed and i alone, so the same command makes the same pages.
    """
    from filter.cli.pages import check_output
    from filter.files import atomic_write, require_file

    check_output(output, [], beside=(), force=force)
    for path in prose:
        require_file(path)
    with training_extra():
        from training.injection import Injector, load_recipe
        from training.injection.corpus import ProseStore, read_prose
        from training.injection.material import read_material

        documents, _ = read_prose(prose)
        injector = Injector(
            ProseStore(documents, {}), read_material(material or ()), load_recipe(config), seed=seed
        )
        made = injector.pages(0, pages if show is None else show)
        if show is not None:
            from filter.cli.show import marked

            for page in made:
                print(f"== {page.id} ({page.kind})\n{marked(page.text, page.spans)}\n")
            return 0
        from filter.documents import json_line

        with atomic_write(output or "-") as stream:
            for page in made:
                spans = [{"start": s.start, "end": s.end, "label": s.label} for s in page.spans]
                record = {"id": page.id, "text": page.text, "spans": spans}
                stream.write(json_line({**record, "source": page.source, "kind": page.kind}))
    return 0


def tokenizer(
    prose: Annotated[
        list[str] | None,
        typer.Argument(metavar="FILE", help="Prose to count, jsonl with a text field."),
    ] = None,
    output: Annotated[
        str | None, typer.Option("--output", "-o", metavar="DIR", help="Where it is saved.")
    ] = None,
    size: Annotated[int, typer.Option("--size", metavar="N", help="Most tokens.")] = 8000,
    min_count: Annotated[
        int, typer.Option("--min-count", metavar="N", help="Leave out rarer characters.")
    ] = 5,
    base: Annotated[
        str | None,
        typer.Option(
            "--base",
            metavar="DIR",
            help="Take this tokenizer (or hub id) and add what it needs to see layout.",
        ),
    ] = None,
) -> int:
    """Build a character vocabulary from prose, or add layout tokens to a BERT's tokenizer."""
    if output is None:
        raise UsageError("name the directory to save to with --output")
    if (base is None) == (not prose):
        raise UsageError("give either files of prose to count, or --base with a tokenizer")
    with training_extra():
        from training import vocabulary

        if base is not None:
            bert = _load_tokenizer(base)
            added = vocabulary.add_layout_tokens(bert)
            vocabulary.save_tokenizer(bert, output)
            print(f"winnow: {added} layout tokens are new to {base}", file=sys.stderr)
            return 0
        from training.injection.corpus import read_prose

        documents, _ = read_prose(prose or ())
        counts = vocabulary.count_characters(text for _, _, text in documents)
        characters = vocabulary.select_characters(counts, size=size, min_count=min_count)
        vocabulary.build_tokenizer(characters, output)
    print(f"winnow: {len(characters):,} tokens from {counts.sum():,} characters", file=sys.stderr)
    return 0


def train(
    config: Config,
    overrides: Overrides = None,
    output: Annotated[
        str | None,
        typer.Option("--output", "-o", metavar="DIR", help="Instead of the configuration's own."),
    ] = None,
    seed: Seed = None,
    limit: Annotated[
        int | None,
        typer.Option("--limit", metavar="N", help="Read at most N prose documents of each file."),
    ] = None,
) -> int:
    """Train a model as a configuration says; a run that was stopped goes on."""
    options = {"output": output, "seed": seed, "data.limit": limit}
    given = [f"{key}={value}" for key, value in options.items() if value is not None]
    with training_extra():
        from training.config import load_config

        chosen = load_config(config, [*given, *(overrides or ())])
        from training.trainer import train as run

        _log_to_stderr()
        print(run(chosen))
    return 0


def _load_tokenizer(base: str) -> Any:
    """A tokenizer from a directory, or from the hub."""
    from tokenizers import Tokenizer

    file = os.path.join(base, "tokenizer.json")
    try:
        return Tokenizer.from_file(file) if os.path.isdir(base) else Tokenizer.from_pretrained(base)
    except Exception as error:  # of the library's own making, without a class
        raise WinnowError(f"{base}: no tokenizer.json that can be read ({error})") from error


def _log_to_stderr() -> None:
    """Shows what training says of itself, a line at a time."""
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%H:%M:%S"))
    logger = logging.getLogger("training")
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)


VERBS = (inject, tokenizer, train)
"""The verbs of this module, in the order of their help."""
