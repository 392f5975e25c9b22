"""A job on one machine: in this process, or in a pool of others.

The process that runs the job reads, keeps the books and joins; with one worker it filters too. A
worker that dies is an error that says so; workers whose parent dies are gone at once.
"""

from __future__ import annotations

from filter.jobs.finish import Ledger
from filter.jobs.work import Work


def run_local(ledger: Ledger, work: Work, *, workers: int = 1) -> None:
    """Does all that is not done of a job.

    Args:
        ledger: The job's books; executors for clusters and GPUs take the same.
        work: What is done with parts; pickled to each process where there are several.
        workers: Processes that filter; 1 is this process itself.

    Raises:
        WinnowError: input or output failed, or a worker died. What was done stays done.
    """
    raise NotImplementedError
