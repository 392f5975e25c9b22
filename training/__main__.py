"""``python -m training`` is ``winnow train``: what a launcher starts in every process.

torchrun --nproc-per-node 2 -m training -c small
"""

from __future__ import annotations

import sys

from filter.cli.app import run

if __name__ == "__main__":
    sys.exit(run(["train", *sys.argv[1:]]))
