"""The filter and the peer on the same pages, cut to within one window of the model.

In a round both get the same pieces; the filter gets them several times over, in one stream, so that
it is at work for as long as the peer. Nothing is kept from one time to the next.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from filter.benchmark import rounds as turns
from filter.benchmark.agreement import agreement, cut, most_likely
from filter.benchmark.pages import cut_pages
from filter.benchmark.peer import Peer
from filter.benchmark.workload import Workload
from filter.content_filter import ContentFilter
from filter.model_directory import ModelDirectory
from filter.windows import SPECIAL_TOKENS

LEAST_COMPARED = 32
"""Pages on which results are compared, however slow the peer is."""


class Beside:
    """Both, ready to run; the peer has found its batch size.

    Args:
        directory: The model.
        content_filter: The filter.
        texts: Pages of any length.
        device: Where the peer runs.

    Raises:
        WinnowError: the peer cannot be had.
    """

    def __init__(
        self,
        directory: ModelDirectory,
        content_filter: ContentFilter,
        texts: Sequence[str],
        device: str,
    ) -> None:
        self.peer = Peer(directory, device=device)
        self._filter = content_filter
        longest = directory.decoder.window - SPECIAL_TOKENS
        self._pieces = Workload(directory, list(cut_pages(texts, longest)), None)
        self._speed = turns.warm_up(content_filter, self._pieces)
        trial = self._pieces.block(max(self.peer.batch_sizes))
        self._peer_speed = self.peer.tune(trial.texts)  # pieces a second, as the filter's

    def tasks(self, seconds: float, rounds: int) -> dict[str, turns.Task]:
        """The tasks of both, each of about as many seconds a round."""
        size = self.peer.batch_size
        pieces = size * max(1, round(self._peer_speed * seconds / size))
        blocks = [self._pieces.block(pieces) for _ in range(rounds)]
        times = max(1, round(self._speed * seconds / pieces))
        return {
            "filter_beside_peer": turns.cut_task(self._filter, blocks, times),
            "peer": turns.peer_task(self.peer, blocks),
        }

    def compare(self, options: Mapping[str, Any], seconds: float) -> dict[str, Any]:
        """Whether both say the same.

        Args:
            options: What the filter was opened with.
            seconds: About as long the peer has.

        Returns:
            `most_likely`: where the likeliest label is not prose, by the filter's engine and by the
            peer. `cut`: what the filter cuts, with its own engine and with the peer's weights,
            float32 in torch, through the filter's own decoding. Each as `agreement` has it.
        """
        pieces = self._pieces.block(max(LEAST_COMPARED, self._peer_speed * seconds)).texts
        reference = ContentFilter.from_pretrained(
            **{**options, "engine": "torch", "dtype": "float32"}
        )
        return {
            "most_likely": agreement(most_likely(self._filter, pieces), self.peer.masks(pieces)),
            "cut": agreement(cut(self._filter, pieces), cut(reference, pieces)),
        }
