"""What is said when the machine ends a job, and errors on their way from one process to another."""

from __future__ import annotations

import os
import pickle
import traceback

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


def portable(error: Exception) -> Exception:
    """An error that gets through a pipe, with a note of where it was raised."""
    error.add_note(f"In a worker process:\n{traceback.format_exc()}")
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return RuntimeError("".join(traceback.format_exception(error)))
    return error
