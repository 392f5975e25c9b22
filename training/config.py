"""One YAML a training run; every key checked, unknown keys refused with the nearest right name.

`training.config_files` reads it.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from filter.labels import LABELS, PROSE

Rate = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[int, Field(gt=0)]
Above0 = Annotated[float, Field(gt=0)]


class Section(BaseModel):
    """A part of a configuration; keys that it does not know are refused."""

    model_config = ConfigDict(extra="forbid")


class EncoderConfig(Section):
    """Shape of an encoder trained from scratch."""

    hidden_size: Positive = 256
    intermediate_size: Positive = 512
    layers: Positive = 6
    heads: Positive = 4

    @model_validator(mode="after")
    def _heads_divide(self) -> EncoderConfig:
        if self.hidden_size % (2 * self.heads):
            raise ValueError(
                f"hidden_size ({self.hidden_size}) must be a multiple of twice the heads"
                f" ({self.heads}): rotary positions turn the numbers of a head in pairs"
            )
        return self


class LabelledConfig(Section):
    """A labelled corpus in the mixture."""

    path: str
    texts: list[str] = []
    """Files that hold its pages, where ``path`` has labels alone (training/corpus/standoff.py)."""
    rate: Rate | None = None
    """Share of the training windows that come from it; none takes an equal part of what is left."""
    injected: Rate = 0.0
    """Share of its pages that get in-sentence spam injected as well."""
    traditional: Rate = 0.0
    """Share of its pages that are converted into traditional characters."""
    clean: bool = False
    """Its pages are clean, hard negatives: records need no spans, and may have none."""


class HeldOutConfig(Section):
    """What training never sees: it is there to be judged on."""

    prose_sources: list[str] = []
    """Sources of prose documents, by their field ``source``."""
    prose_containing: list[str] = []
    """Prose documents with one of these strings in them."""
    labelled_sources: list[str] = []
    """Sources of labelled pages."""
    material_share: Rate = 0.1
    """Share of each list of strings."""
    families: list[str] = []
    """Families that no training page is injected with; pages to be judged on are."""
    labels: list[str] = []
    """Labelled pages with spam of these kinds are not trained on."""


class DataConfig(Section):
    """Where text comes from. Relative paths start at ``root``; paths may be glob patterns.

    ``winnow:NAME`` is a file of the project's own writing (``training/injection/written/NAME``).
    """

    root: str = "."
    prose: list[str] = []
    """Clean text to inject into; without any, training is on labelled pages alone."""
    hosts: list[str] = []
    """Pages of which only whole paragraphs are taken as prose: their heads and tails are none."""
    source_weights: dict[str, float] = {}
    """Factor on the chance of a prose document by its ``source``; 1 where not named."""
    material: list[str] = []
    """Files with strings to inject, an item a line, or directories of such files."""
    labelled: list[LabelledConfig] = []
    injected_labels: dict[str, str] = {}
    """For label sets of one's own: the label that each kind of injected spam is given."""
    recipe: str | dict[str, Any] = "inject"
    """Rates of what is injected: a YAML file, a name in ``configs/``, or the mapping itself."""
    held_out: HeldOutConfig = HeldOutConfig()
    limit: int | None = None
    """At most so many prose documents a file, for trying things out."""

    @property
    def injects(self) -> bool:
        """Whether there is prose to inject into."""
        return bool(self.prose or self.hosts)

    def shares(self) -> list[float]:
        """Share of each labelled corpus in the windows; injected pages have the rest.

        Corpora without a rate share evenly what the others leave over, with the injected pages as
        one of them. Without prose to inject into, lower rates are scaled up to 1.
        """
        given = sum(corpus.rate or 0.0 for corpus in self.labelled)
        unrated = sum(corpus.rate is None for corpus in self.labelled)
        left = max(0.0, 1.0 - given) / max(1, unrated + self.injects)
        scale = 1.0 if unrated or self.injects else 1.0 / given
        return [left if c.rate is None else c.rate * scale for c in self.labelled]

    @model_validator(mode="after")
    def _mixture(self) -> DataConfig:
        given = [corpus.rate for corpus in self.labelled if corpus.rate is not None]
        if not self.injects and not self.labelled:
            raise ValueError(
                "nothing to train on; name clean prose in data.prose, labelled pages in"
                " data.labelled, or both"
            )
        if sum(given) > 1 + 1e-9:
            raise ValueError(
                f"the rates of data.labelled are shares of the whole and sum to {sum(given):g};"
                " lower them to 1 at most (what is left over is injected into data.prose)"
            )
        if not self.injects and len(given) == len(self.labelled) and not sum(given):
            raise ValueError(
                "the rates of data.labelled are all 0 and there is no data.prose to inject into"
            )
        for corpus in self.labelled:
            if corpus.injected and not self.injects:
                raise ValueError(
                    f"data.labelled '{corpus.path}' has injected: {corpus.injected:g}, but there is"
                    " no data.prose to cut foreign strings from; name some, or set injected: 0"
                )
        return self


class OptimizerConfig(Section):
    """Muon for the encoder's matrices and AdamW for the rest, or AdamW alone."""

    name: Literal["muon", "adamw"] = "muon"
    learning_rate: Above0 = 2e-3
    adamw_learning_rate: Above0 = 1e-3
    weight_decay: Annotated[float, Field(ge=0)] = 0.01
    warmup: Rate = 0.02
    decay: Rate = 0.3
    """Share of the steps over which the rate falls linearly to zero, at the end."""
    gradient_clip: Above0 = 1.0


class LossConfig(Section):
    """Cross entropy over the tokens of a window."""

    label_weights: Literal["balanced"] | dict[str, float] = {}
    """Weight by label (1 where not named), or by the inverse of the label's frequency."""
    focal_gamma: Annotated[float, Field(ge=0)] = 0.0
    """Exponent of the focal loss: how much less what is right already counts; 0 for none."""
    smoothing: Rate = 0.0
    """Share of each target that is spread evenly over all labels."""


class ImportanceConfig(Section):
    """Windows are chosen by what a trained model gets wrong in them (training/importance.py)."""

    model: str | None = None
    """Directory or hub id of the model; none is the embedded one."""
    candidates: Annotated[int, Field(ge=2)] = 4
    """Windows that are made and scored for each that is trained on."""


class EvaluationConfig(Section):
    """What chooses the best checkpoint: recall on labelled pages at a fixed prose loss."""

    labelled: list[str] = []
    prose_characters: int = 200_000
    """Held-out prose that checkpoints are compared on."""
    held_out_characters: int = 1_200_000
    """Held-out prose that is written beside the run, once for thresholds and once for figures."""
    injected_pages: int = 200
    max_prose_loss: Rate = 0.003
    """Prose loss at which the recall of checkpoints is compared."""
    steps: Positive = 500


class EarlyStoppingConfig(Section):
    """Ends a run whose evaluations get no better."""

    patience: Positive = 5
    """Evaluations without a better figure after which it ends."""
    min_delta: Annotated[float, Field(ge=0)] = 0.0
    """How much a figure must rise to be better."""


class SourceConfig(Section):
    """Where data came from, for the model card."""

    name: str
    licence: str = ""
    """As the source states it."""
    note: str = ""


class CardConfig(Section):
    """What the model card says that the run cannot know."""

    name: str | None = None
    licence: str | None = None
    """Of the weights, as the Hugging Face hub spells it, such as apache-2.0."""
    sources: list[SourceConfig] = []
    notes: list[str] = []
    """What else is to be said, a sentence or more each."""


class RunConfig(Section):
    """What fine-tuning and pretraining are both told."""

    output: str
    seed: int = 1
    base: str | None = None
    """Directory or hub id to start from, or `winnow:default`; none trains from scratch."""
    encoder: EncoderConfig = EncoderConfig()
    tokenizer: str | None = None
    """Directory of a tokenizer; none takes the base's, or counts the training text."""
    vocabulary_size: Positive = 8000
    window: Annotated[int, Field(ge=8)] = 256
    optimizer: OptimizerConfig = OptimizerConfig()
    steps: Positive = 1000
    batch_size: Positive = 32
    """Windows that a process takes at once."""
    accumulation: Positive = 1
    """Batches whose gradients are summed before a step."""
    workers: Annotated[int, Field(ge=0)] = 0
    """Processes that prepare batches beside the one that trains."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    bf16: Literal["auto"] | bool = "auto"
    compile: bool = False
    attention: Literal["auto", "eager", "sdpa", "flash_attention_2"] = "auto"
    save_steps: Positive = 500
    save_total_limit: Positive = 2
    """Checkpoints that are kept, the best and the last among them."""
    log_steps: Positive = 50
    report_to: list[Literal["tensorboard", "wandb", "mlflow"]] = []


class TrainConfig(RunConfig):
    """A whole fine-tuning run."""

    embeddings: Literal["random", "cooccurrence"] = "cooccurrence"
    labels: Literal["auto"] | list[str] = list(LABELS)
    """The kinds of spam; ``auto`` counts those of the labelled corpora."""
    overlap: Annotated[int, Field(ge=0)] = 64
    min_han: Rate = 0.2
    """Share of Han characters below which a filter passes a page as not Chinese."""
    data: DataConfig
    loss: LossConfig = LossConfig()
    importance: ImportanceConfig | None = None
    evaluation: EvaluationConfig = EvaluationConfig()
    early_stopping: EarlyStoppingConfig | None = None
    windows_per_page: Positive = 2
    """Neighbouring samples that are drawn from one page."""
    dtype: Literal["bfloat16", "float16", "float32"] = "float16"
    """Number format of the saved weights."""
    card: CardConfig = CardConfig()

    @property
    def label_names(self) -> list[str]:
        """The labels, which must have been counted where they are ``auto``."""
        assert self.labels != "auto"
        return self.labels

    @property
    def data_patterns(self) -> list[str]:
        """All files that are read, as they are named."""
        data = self.data
        labelled = [name for corpus in data.labelled for name in (corpus.path, *corpus.texts)]
        return [*data.prose, *data.hosts, *data.material, *labelled, *self.evaluation.labelled]

    @property
    def evaluates(self) -> bool:
        """Whether there is something to compare checkpoints on."""
        settings = self.evaluation
        made = self.data.injects and (settings.injected_pages or settings.prose_characters)
        return bool(settings.labelled or made)

    @model_validator(mode="after")
    def _agrees(self) -> TrainConfig:
        if isinstance(self.labels, list):
            _check_labels(self.labels)
        if self.overlap > self.window - 3:
            raise ValueError(
                f"overlap ({self.overlap}) must be less than window ({self.window}) minus 2:"
                " windows must advance"
            )
        every = self.evaluation.steps
        if self.evaluates and self.save_steps % every:
            rounded = max(every, round(self.save_steps / every) * every)
            raise ValueError(
                f"save_steps ({self.save_steps}) must be a multiple of evaluation.steps ({every}),"
                " because the best checkpoint is chosen among those evaluated; set"
                f" save_steps={rounded} or evaluation.steps={self.save_steps}"
            )
        if self.early_stopping and not self.evaluates:
            raise ValueError(
                "early_stopping has nothing to go by; name labelled pages in evaluation.labelled"
            )
        return self


def _check_labels(labels: list[str]) -> None:
    if not labels:
        raise ValueError("labels: name at least one kind of spam, or set labels=auto")
    if PROSE in labels:
        raise ValueError(f"labels: '{PROSE}' is what is not labelled; name the kinds of spam only")
    twice = [label for label in labels if labels.count(label) > 1]
    if twice:
        raise ValueError(f"labels: '{twice[0]}' is named twice")
