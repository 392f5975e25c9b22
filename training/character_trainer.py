"""transformers' Trainer, drawing windows in order and evaluating whole pages by character.

Pages are evaluated as a filter reads them: windows overlap, probabilities are merged by character.
Several processes share the pages; each then knows all figures.
"""

from __future__ import annotations

import time
from collections.abc import Sequence, Sized
from functools import partial
from typing import Any, cast

import numpy as np
import torch
from accelerate.utils import gather_object
from numpy.typing import NDArray
from torch.utils.data import SequentialSampler
from transformers import Trainer

from filter.tokenizer import PageTokenizer
from filter.windows import merge_windows, plan_windows, spread_to_characters
from training.callbacks import SCORE
from training.config import TrainConfig
from training.corpus.arrays import ignored_mask, label_array
from training.corpus.records import LabelledPage
from training.evaluation.curves import recall_at_prose_loss
from training.loss import TokenLoss

WINDOWS_AT_ONCE = 32


def collate(samples: list[dict[str, NDArray[np.int64]]]) -> dict[str, torch.Tensor]:
    """Stacks windows into a batch."""
    return {
        key: torch.from_numpy(np.stack([sample[key] for sample in samples])) for key in samples[0]
    }


class CharacterTrainer(Trainer):
    """Trainer over `WindowDataset` or `ImportanceDataset`.

    Args:
        config: the run's, with its labels named.
        page_tokenizer: encodes the pages to evaluate on.
        pages: what checkpoints are compared on.
        token_loss: what is minimised.
        options: of `Trainer`.
    """

    def __init__(
        self,
        *,
        config: TrainConfig,
        page_tokenizer: PageTokenizer,
        pages: Sequence[LabelledPage],
        token_loss: TokenLoss,
        **options: Any,
    ) -> None:
        super().__init__(compute_loss_func=token_loss, **options)
        self.token_loss = token_loss
        # The count of tokens goes to the loss alone; some networks would take it as an option.
        self.model_accepts_loss_kwargs = False
        self.config = config
        self.page_tokenizer = page_tokenizer
        self.pages = pages

    def _get_train_sampler(self, *_: Any, **__: Any) -> SequentialSampler:
        return SequentialSampler(cast(Sized, self.train_dataset))

    def compute_loss(self, model: Any, inputs: Any, *args: Any, **options: Any) -> Any:
        """As the Trainer's; the weights of windows go to the loss, and not to the network."""
        weights = inputs.pop("weights", None)
        self.compute_loss_func = partial(self.token_loss, window_weights=weights)
        return super().compute_loss(model, inputs, *args, **options)

    def evaluate(self, *_: Any, metric_key_prefix: str = "eval", **__: Any) -> dict[str, float]:
        """Recall at the fixed prose loss over the evaluation pages, and what it costs."""
        started = time.monotonic()
        rank, processes = self.args.process_index, self.args.world_size
        own = [self._probabilities(page.text) for page in self.pages[rank::processes]]
        shares = gather_object([own]) if processes > 1 else [own]
        probabilities = [shares[i % processes][i // processes] for i in range(len(self.pages))]
        figures = evaluation_figures(
            self.pages,
            probabilities,
            self.config.labels,
            max_prose_loss=self.config.evaluation.max_prose_loss,
        )
        figures["seconds"] = time.monotonic() - started
        metrics = {f"{metric_key_prefix}_{name}": value for name, value in figures.items()}
        self.log(metrics)
        self.control = self.callback_handler.on_evaluate(
            self.args, self.state, self.control, metrics
        )
        return metrics

    @torch.no_grad()
    def _probabilities(self, text: str) -> NDArray[np.float32]:
        """``(len(text), 1 + labels)`` probabilities by the model in training, window by window."""
        tokenizer, window = self.page_tokenizer, self.config.window
        encoding = tokenizer.encode(text)
        plan = plan_windows(len(encoding), window, self.config.overlap)
        model: Any = self.model
        model.eval()
        rows: list[NDArray[np.float32]] = []
        for first in range(0, len(plan), WINDOWS_AT_ONCE):
            chunk = plan[first : first + WINDOWS_AT_ONCE]
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
        merged = merge_windows(plan, rows, len(encoding), 1 + len(self.config.labels))
        return spread_to_characters(merged, encoding.starts, encoding.ends, len(text))


def has_spam(pages: Sequence[LabelledPage], labels: Sequence[str]) -> bool:
    """Whether there is a character of spam that counts: without one, checkpoints have no score."""
    return any((label_array(page, labels)[~ignored_mask(page)] > 0).any() for page in pages)


def evaluation_figures(
    pages: Sequence[LabelledPage],
    probabilities: Sequence[NDArray[np.float32]],
    labels: Sequence[str],
    *,
    max_prose_loss: float,
) -> dict[str, float]:
    """What checkpoints are compared by.

    Args:
        pages: labelled pages, those of the source ``injected`` counted apart.
        probabilities: of each page, ``(len(text), 1 + labels)``.
        labels: the spam labels.
        max_prose_loss: bound on the prose of all pages, at which recall is taken.

    Returns:
        Threshold and recall; the share cut of each label, on real and on injected pages; the mean
        over both of the mean over labels as ``mean_recall``, absent where there is no spam to find.
    """
    spam = np.concatenate([1.0 - rows[:, 0] for rows in probabilities])
    gold = np.concatenate([label_array(page, labels) for page in pages])
    counted = ~np.concatenate([ignored_mask(page) for page in pages])
    injected = np.repeat(
        [page.source == "injected" for page in pages], list(map(len, probabilities))
    )
    point = recall_at_prose_loss(spam, gold, max_prose_loss, ignored=~counted, n_labels=len(labels))
    figures = {"threshold": point.threshold}
    if (gold[counted] > 0).any():
        figures["recall"] = point.recall
    cut = spam >= point.threshold
    for part, name in ((~injected, "real"), (injected, "injected")):
        recalls = []
        for number, label in enumerate(("prose", *labels)):
            chosen = cut[counted & part & (gold == number)]
            if len(chosen):
                figures[f"{name}_{label}"] = float(chosen.mean())
                recalls += [float(chosen.mean())] if number else []
        if recalls:
            figures[f"{name}_macro"] = float(np.mean(recalls))
    macros = [value for name, value in figures.items() if name.endswith("_macro")]
    if macros:
        figures[SCORE] = float(np.mean(macros))
    return figures
