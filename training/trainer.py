"""Fine-tuning: windows from the mixture, transformers' Trainer, checkpoints judged by character.

A run directory holds the resolved configuration, the tokenizer, Trainer checkpoints and at the
end a model directory. Running the same configuration again goes on from the last checkpoint. The
best checkpoint is the one with the highest mean recall over labels at a fixed prose loss, on
pages that training does not see.
"""

from __future__ import annotations

import json
import logging
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import yaml
from numpy.typing import NDArray
from torch.optim.lr_scheduler import LambdaLR
from torch.utils.data import SequentialSampler
from transformers import PrinterCallback, Trainer, TrainerCallback, TrainingArguments
from transformers.trainer_utils import get_last_checkpoint
from transformers.utils.logging import disable_progress_bar

from filter.errors import WinnowError
from filter.tokenizer import PageTokenizer
from filter.windows import merge_windows, plan_windows, spread_to_characters
from training.config import TrainConfig
from training.corpus import LabelledPage, label_array
from training.data import IGNORED
from training.inputs import Inputs, read_inputs, write_held_out
from training.metrics import blanks, recall_at_prose_loss
from training.model import load_base, new_encoder
from training.optimizer import build_optimizer, trapezoid

if TYPE_CHECKING:
    from transformers import PreTrainedModel

logger = logging.getLogger(__name__)

SCORE = "mean_recall"
"""The figure that chooses the best checkpoint."""


def train(config: TrainConfig) -> Path:
    """Runs a configuration to its end, from its last checkpoint if there is one.

    Returns:
        The model directory, ``OUTPUT/model``.

    Raises:
        WinnowError: data or base are missing or broken, or the output is another run's.
    """
    disable_progress_bar()
    output = Path(config.output)
    _claim(output, config)
    inputs = read_inputs(config)
    if not (output / "held-out").is_dir():
        write_held_out(inputs, output / "held-out")
    tokenizer_directory = make_tokenizer(config, inputs, output / "tokenizer")
    tokenizer = PageTokenizer.from_directory(tokenizer_directory)
    checkpoint = get_last_checkpoint(str(output))
    if checkpoint:
        logger.info("going on from %s", checkpoint)
    model = make_model(config, inputs, tokenizer, warm=checkpoint is None)
    trainer = build_trainer(config, inputs, tokenizer, model)
    trainer.train(resume_from_checkpoint=checkpoint)
    from training.export import save_model_directory

    target = output / "model"
    save_model_directory(
        trainer.model,
        tokenizer_directory,
        target,
        dtype=config.dtype,
        decoder={
            "window": config.window,
            "overlap": config.overlap,
            "min_han": config.min_han,
        },
    )
    return target


def use_bf16(config: TrainConfig) -> bool:
    """Whether to train under bf16 autocast: where the processor or the GPU computes in it."""
    if config.bf16 != "auto":
        return config.bf16
    if torch.cuda.is_available():
        return torch.cuda.is_bf16_supported()
    capabilities = torch.cpu.get_capabilities()
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))


def make_tokenizer(config: TrainConfig, inputs: Inputs, output: Path) -> Path:
    """The run's tokenizer: the configuration's own, the base's made to see layout, or a new one."""
    from training.vocabulary import (
        build_tokenizer,
        count_characters,
        extend_tokenizer,
        select_characters,
    )

    if config.tokenizer is not None:
        return Path(config.tokenizer)
    if (output / "tokenizer_config.json").is_file():
        return output
    if config.base is not None:
        added = extend_tokenizer(config.base, output)
        logger.info("%d layout tokens are new to %s", added, config.base)
    else:
        counts = count_characters(inputs.texts())
        build_tokenizer(select_characters(counts, size=config.vocabulary_size), output)
    return output


def make_model(
    config: TrainConfig, inputs: Inputs, tokenizer: PageTokenizer, *, warm: bool = True
) -> PreTrainedModel:
    """The network to train, seeded; ``warm`` starts its embeddings from the corpus."""
    torch.manual_seed(config.seed)
    if config.base is not None:
        return load_base(config.base, config.labels, tokenizer)
    embeddings = None
    if warm and config.embeddings == "cooccurrence":
        from training.embeddings import cooccurrence_embeddings

        texts = [text for _, _, text in inputs.prose]
        width = config.encoder.hidden_size
        embeddings = cooccurrence_embeddings(texts, tokenizer, width, seed=config.seed)
    return new_encoder(
        config.encoder, tokenizer, config.labels, window=config.window, embeddings=embeddings
    )


def build_trainer(
    config: TrainConfig, inputs: Inputs, tokenizer: PageTokenizer, model: PreTrainedModel
) -> CharacterTrainer:
    """The Trainer of a configuration."""
    evaluation = config.evaluation
    optimizer = build_optimizer(model, config.optimizer)
    schedule = partial(
        trapezoid,
        steps=config.steps,
        warmup=config.optimizer.warmup,
        decay=config.optimizer.decay,
    )
    pages = inputs.evaluation_pages()
    arguments = TrainingArguments(
        output_dir=config.output,
        max_steps=config.steps,
        per_device_train_batch_size=config.batch_size,
        max_grad_norm=config.optimizer.gradient_clip,
        bf16=use_bf16(config),
        torch_compile=config.compile,
        use_cpu=not torch.cuda.is_available(),
        eval_strategy="steps" if pages else "no",
        eval_steps=evaluation.steps,
        save_steps=config.save_steps,
        save_total_limit=2,
        load_best_model_at_end=bool(pages),
        metric_for_best_model=SCORE,
        greater_is_better=True,
        logging_steps=config.log_steps,
        report_to="none",
        disable_tqdm=True,
        seed=config.seed,
        remove_unused_columns=False,
        dataloader_pin_memory=torch.cuda.is_available(),
    )
    trainer = CharacterTrainer(
        model=model,
        args=arguments,
        train_dataset=inputs.dataset(tokenizer),
        data_collator=collate,
        optimizers=(optimizer, LambdaLR(optimizer, schedule)),
        eval_dataset=pages,  # not read by the Trainer, which asks for one
        callbacks=[RateLog(config)],
        config=config,
        page_tokenizer=tokenizer,
        pages=pages,
    )
    trainer.remove_callback(PrinterCallback)  # standard output is for results
    return trainer


def collate(samples: list[dict[str, NDArray[np.int64]]]) -> dict[str, torch.Tensor]:
    """Stacks windows into a batch."""
    return {
        key: torch.from_numpy(np.stack([sample[key] for sample in samples])) for key in samples[0]
    }


class CharacterTrainer(Trainer):
    """Trainer that draws samples in order, weighs labels and evaluates whole pages by character."""

    def __init__(
        self,
        *,
        config: TrainConfig,
        page_tokenizer: PageTokenizer,
        pages: list[LabelledPage],
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.config = config
        self.page_tokenizer = page_tokenizer
        self.pages = pages
        names = ["prose", *config.labels]
        weights = [config.loss.label_weights.get(name, 1.0) for name in names]
        self.label_weights = torch.tensor(weights, dtype=torch.float32)

    def _get_train_sampler(self, *_: Any, **__: Any) -> SequentialSampler:
        return SequentialSampler(self.train_dataset)

    def compute_loss(self, model: Any, inputs: Any, return_outputs: bool = False, **_: Any) -> Any:
        labels = inputs.pop("labels")
        outputs = model(**inputs)
        logits = outputs.logits.float()
        loss = torch.nn.functional.cross_entropy(
            logits.flatten(0, 1),
            labels.flatten(),
            weight=self.label_weights.to(logits.device),
            ignore_index=IGNORED,
            label_smoothing=self.config.loss.smoothing,
        )
        return (loss, outputs) if return_outputs else loss

    def evaluate(self, *_: Any, metric_key_prefix: str = "eval", **__: Any) -> dict[str, float]:
        """Recall at the fixed prose loss over the evaluation pages, and what it costs."""
        started = time.monotonic()
        figures = self._figures()
        seconds = time.monotonic() - started
        figures["seconds"] = seconds
        metrics = {f"{metric_key_prefix}_{name}": value for name, value in figures.items()}
        self.log(metrics)
        self.control = self.callback_handler.on_evaluate(
            self.args, self.state, self.control, metrics
        )
        return metrics

    def _figures(self) -> dict[str, float]:
        spam, gold, ignored = [], [], []
        for page in self.pages:
            probabilities = self._probabilities(page.text)
            spam.append(1.0 - probabilities[:, 0])
            gold.append(label_array(page, self.config.labels))
            mask = blanks(page.text)
            for start, end in page.ambiguous:
                mask[start:end] = True
            ignored.append(mask)
        sizes = np.cumsum([0, *map(len, spam)])
        tune = sizes[sum(page.source != "injected" for page in self.pages)]
        figures = {}
        every, is_ignored, label = map(np.concatenate, (spam, ignored, gold))
        count = len(self.config.labels)
        point = recall_at_prose_loss(
            every, label, self.config.evaluation.max_prose_loss, ignored=is_ignored, n_labels=count
        )
        figures["threshold"] = point.threshold
        figures["recall"] = point.recall
        for part, name in ((slice(0, tune), "real"), (slice(tune, None), "injected")):
            counted = ~is_ignored[part]
            cut = every[part][counted] >= point.threshold
            truth = label[part][counted]
            recalls = []
            for index, kind in enumerate(["prose", *self.config.labels]):
                chosen = cut[truth == index]
                if len(chosen):
                    figures[f"{name}_{kind}"] = float(chosen.mean())
                    recalls += [float(chosen.mean())] if index else []
            if recalls:
                figures[f"{name}_macro"] = float(np.mean(recalls))
        macros = [value for name, value in figures.items() if name.endswith("_macro")]
        figures[SCORE] = float(np.mean(macros)) if macros else 0.0
        return figures

    @torch.no_grad()
    def _probabilities(self, text: str) -> NDArray[np.float32]:
        """``(len(text), labels)`` probabilities by the model in training, window by window."""
        tokenizer, window = self.page_tokenizer, self.config.window
        encoding = tokenizer.encode(text)
        plan = plan_windows(len(encoding), window, self.config.overlap)
        model = self.model.eval()
        rows: list[NDArray[np.float32]] = []
        for first in range(0, len(plan), 32):
            chunk = plan[first : first + 32]
            size = max(end - start for start, end in chunk) + 2
            ids = np.full((len(chunk), size), tokenizer.pad_id, dtype=np.int64)
            mask = np.zeros_like(ids)
            for row, (start, end) in enumerate(chunk):
                body = end - start
                ids[row, 0], ids[row, body + 1] = tokenizer.cls_id, tokenizer.sep_id
                ids[row, 1 : body + 1] = encoding.ids[start:end]
                mask[row, : body + 2] = 1
            device = model.device
            with torch.autocast(device.type, torch.bfloat16, enabled=self.args.bf16):
                logits = model(
                    input_ids=torch.from_numpy(ids).to(device),
                    attention_mask=torch.from_numpy(mask).to(device),
                ).logits
            probabilities = logits.float().softmax(-1).cpu().numpy()
            rows += [
                probabilities[row, 1 : end - start + 1] for row, (start, end) in enumerate(chunk)
            ]
        model.train()
        count = 1 + len(self.config.labels)
        merged = merge_windows(plan, rows, len(encoding), count)
        return spread_to_characters(merged, encoding.starts, encoding.ends, len(text))


class RateLog(TrainerCallback):
    """Logs progress, loss and characters a second, a line each time."""

    def __init__(self, config: TrainConfig) -> None:
        self.per_step = config.batch_size * config.window
        self.mark: tuple[int, float] | None = None

    def on_step_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if self.mark is None:
            self.mark = (state.global_step, time.monotonic())

    def on_log(
        self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **_: Any
    ) -> None:
        logs = {key: value for key, value in (logs or {}).items() if key != "epoch"}
        now = time.monotonic()
        if "loss" in logs and self.mark is not None:
            steps, since = state.global_step - self.mark[0], now - self.mark[1]
            logs["characters_per_second"] = round(steps * self.per_step / max(since, 1e-9))
            self.mark = (state.global_step, now)
        elif self.mark is not None:  # time spent on evaluation is not training time
            self.mark = (state.global_step, now)
        rounded = {k: round(v, 4) if isinstance(v, float) else v for k, v in logs.items()}
        logger.info("step %d/%d %s", state.global_step, state.max_steps, json.dumps(rounded))


def _claim(output: Path, config: TrainConfig) -> None:
    """Writes the resolved configuration, or checks that the directory is this run's."""
    path = output / "resolved.yaml"
    resolved = config.model_dump()
    if path.is_file():
        before = yaml.safe_load(path.read_text(encoding="utf-8"))
        free = {"steps", "output", "save_steps", "log_steps", "compile", "evaluation"}
        changed = [key for key in resolved if key not in free and before.get(key) != resolved[key]]
        if changed:
            raise WinnowError(
                f"{output}: holds another run ({', '.join(changed)} differ); name another output"
            )
    output.mkdir(parents=True, exist_ok=True)
    text = yaml.safe_dump(resolved, allow_unicode=True, sort_keys=False)
    path.write_text(text, encoding="utf-8")
