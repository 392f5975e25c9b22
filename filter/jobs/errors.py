"""What is said when the machine ends a job."""

from __future__ import annotations

import os

from filter.errors import WinnowError


def stopped(error: OSError, path: str | os.PathLike[str]) -> WinnowError:
    """The error for trouble of the machine, such as a full disk, that ends a job.

    Args:
        error: What went wrong.
        path: What was being read or written, where the error does not say.
    """
    return WinnowError(
        f"{error.filename or path}: {error.strerror or error}. The job is stopped; the same command"
        " goes on where it was"
    )
