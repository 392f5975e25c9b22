"""Many windows in one call of a model: packed end to end, or padded to one length.

Packed, the windows of a batch lie in one row without anything between them: positions begin anew
with each, and attention keeps to each by the bounds that it is told (varlen attention). A row has
one of few lengths, whatever windows come, so that kernels and memory are chosen once; what is left
over at its end is filled with windows of padding that nobody looks at. Padded, windows of similar
length make up a rectangle: it needs no kernel of its own, and wastes what is padding.

What a batch holds follows from the windows that are asked for together, and from nothing else.
Nothing here imports torch before it is called.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

ROW_LENGTHS = 8
"""Lengths that a packed row may have above an eighth of the budget; below it they are halved."""

SHORTEST_ROW = 256

FIRST_POSITION: dict[str, Callable[[Any], int]] = {
    "bert": lambda config: 0,
    "electra": lambda config: 0,
    "ernie": lambda config: 0,
    "modernbert": lambda config: 0,
    # RoBERTa counts from behind the padding token, and only when it is not told.
    "roberta": lambda config: int(config.pad_token_id) + 1,
    "xlm-roberta": lambda config: int(config.pad_token_id) + 1,
}
"""Architectures that can be packed: those that take positions as they are told, and whose
attention goes through transformers' registry. To each the position of a window's first token."""


REQUEST_BATCHES = 8
"""Batches whose windows are taken from the input together; more pad less, and hold more."""

Request = tuple[NDArray[np.int32], NDArray[np.int64]]
"""Some windows, asked for together: ids, (tokens,), window after window; and (windows,) lengths."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Windows that go through a model together, as a rectangle of tokens.

    Attributes:
        rows: Rows of the rectangle; one if it is packed.
        columns: Tokens of a row.
        longest: Tokens of the longest window.
        extents: Packed: (windows + 1,) int32, where each window begins, and the end; windows of
            padding included. Padded: (rows,) int32, tokens of each row.
        place: Which cells of the rectangle, counted row by row, hold tokens that were asked for.
        tokens: Which tokens of those that were asked for they hold, in the same order.
    """

    rows: int
    columns: int
    longest: int
    extents: NDArray[np.int32]
    place: slice | NDArray[np.int64]
    tokens: slice | NDArray[np.int64]

    @property
    def cells(self) -> int:
        """Tokens of the rectangle, padding included."""
        return self.rows * self.columns


def plan_packed(lengths: NDArray[np.int64], budget: int) -> Iterator[Batch]:
    """Packed batches of windows in the order in which they come.

    Args:
        lengths: (windows,) tokens of each.
        budget: Tokens of a batch, padding included; a longer window has a batch of its own.
    """
    ends = np.cumsum(lengths)
    first, start = 0, 0
    while first < len(lengths):
        last = max(first + 1, int(np.searchsorted(ends, start + budget, side="right")))
        end = int(ends[last - 1])
        n_tokens, longest = end - start, int(lengths[first:last].max())
        columns = row_length(n_tokens, budget)
        whole, rest = divmod(columns - n_tokens, longest)
        filling = [longest] * whole + [rest] * (rest > 0)
        extents = np.zeros(1 + last - first + len(filling), dtype=np.int32)
        np.cumsum(np.concatenate((lengths[first:last], filling)), out=extents[1:])
        yield Batch(1, columns, longest, extents, slice(0, n_tokens), slice(start, end))
        first, start = last, end


def row_length(n_tokens: int, budget: int) -> int:
    """The length of the packed row that takes so many tokens: one of few, and not much longer."""
    if n_tokens >= budget:
        return n_tokens
    step = max(SHORTEST_ROW, -(-budget // ROW_LENGTHS))
    if n_tokens > step:
        return min(budget, step * -(-n_tokens // step))
    while step >= 2 * max(n_tokens, SHORTEST_ROW):
        step //= 2
    return min(step, budget)


def plan_padded(lengths: NDArray[np.int64], budget: int) -> Iterator[Batch]:
    """Padded batches, the longest windows first; ties in the order in which they come.

    Args:
        lengths: (windows,) tokens of each.
        budget: Tokens of a batch, padding included; a longer window has a batch of its own.
    """
    starts = np.cumsum(lengths) - lengths
    order = np.argsort(-lengths, kind="stable")
    first = 0
    while first < len(order):
        longest = int(lengths[order[first]])
        chosen = order[first : first + max(1, budget // longest)]
        first += len(chosen)
        sizes = lengths[chosen]
        within = np.arange(longest)
        is_token = within < sizes[:, None]
        tokens = (starts[chosen][:, None] + within)[is_token]
        place = np.flatnonzero(is_token)
        yield Batch(len(chosen), longest, longest, sizes.astype(np.int32), place, tokens)


def forward_packed(model: Any, ids: Any, extents: Any, batch: Batch) -> Any:
    """Runs a packed batch.

    Args:
        model: With the attention of its packed kernel.
        ids: (cells,) int32 on the model's device.
        extents: Those of the batch, on the model's device.
        batch: The batch.

    Returns:
        (cells, labels) logits; those of padding mean nothing.
    """
    import torch

    # With the length of the outcome told, no number has to come back from the device.
    starts = torch.repeat_interleave(extents[:-1], extents.diff(), output_size=batch.columns)
    positions = torch.arange(batch.columns, device=ids.device) - starts
    positions += FIRST_POSITION[model.config.model_type](model.config)
    return model(
        input_ids=ids.long()[None],
        position_ids=positions[None],
        cu_seq_lens_q=extents,
        cu_seq_lens_k=extents,
        max_length_q=batch.longest,
        max_length_k=batch.longest,
    ).logits[0]


def forward_padded(model: Any, ids: Any, extents: Any, batch: Batch) -> Any:
    """Runs a padded batch; arguments and result as of `forward_packed`."""
    import torch

    mask = torch.arange(batch.columns, device=ids.device) < extents[:, None]
    logits = model(
        input_ids=ids.long().view(batch.rows, batch.columns), attention_mask=mask.long()
    ).logits
    return logits.flatten(0, 1)


def make_requests(windows: Iterator[NDArray[np.int32]], max_batch_tokens: int) -> Iterator[Request]:
    """Windows by the handful, some batches each, in order."""
    while group := list(_take(windows, max_batch_tokens * REQUEST_BATCHES)):
        yield np.concatenate(group), np.array([len(ids) for ids in group], dtype=np.int64)


def split(flat: NDArray[Any], lengths: NDArray[np.int64]) -> Iterator[NDArray[Any]]:
    """The windows of an array that has them one after another; views, not copies."""
    ends = np.cumsum(lengths).tolist()
    return (flat[end - n : end] for end, n in zip(ends, lengths.tolist(), strict=True))


def _take(windows: Iterator[NDArray[np.int32]], budget: int) -> Iterator[NDArray[np.int32]]:
    """Windows until they hold `budget` tokens; at least one, if there is one."""
    total = 0
    while total < budget and (window := next(windows, None)) is not None:
        total += len(window)
        yield window
