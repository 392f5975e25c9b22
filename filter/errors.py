"""Errors that a user can act on.

Everything Winnow refuses on purpose is a `WinnowError`: one line that names the file, the record
or the value at fault and the way out. The command line prints that line and leaves with
`exit_code`; anything else that escapes is a bug and keeps its traceback.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def nearest(name: str, choices: Iterable[str]) -> str | None:
    """The one of `choices` that `name` was most likely meant to be, or None."""
    matches = difflib.get_close_matches(name, list(choices), n=1, cutoff=0.6)
    return matches[0] if matches else None


def unknown(kind: str, name: str, choices: Iterable[str]) -> str:
    """A message for a name that is not known.

    >>> unknown("label", "keywrod", ["keyword", "ad"])
    "unknown label 'keywrod' (did you mean 'keyword'?); known: keyword, ad"
    """
    known = list(choices)
    guess = nearest(name, known)
    hint = f" (did you mean {guess!r}?)" if guess is not None else ""
    return f"unknown {kind} {name!r}{hint}; known: {', '.join(known)}"


class WinnowError(Exception):
    """Something that the user can put right: a file, a record, a model or a setting."""

    exit_code = 2


class UsageError(WinnowError):
    """An option or an argument that cannot be meant."""

    exit_code = 2


class MissingPackageError(WinnowError, ImportError):
    """A package that is not always needed, and is not there."""


def missing_package(what: str, package: str, extra: str) -> MissingPackageError:
    """The error for a package that is not always needed.

    >>> missing_package("format 'parquet'", "pyarrow", "parquet").args[0]
    "format 'parquet' needs pyarrow, which is not installed: pip install 'winnow-zh[parquet]'"
    """
    return MissingPackageError(
        f"{what} needs {package}, which is not installed: pip install 'winnow-zh[{extra}]'"
    )


def is_error(error: BaseException) -> bool:
    """Whether this is an error rather than the end of the program.

    Libraries in Rust have errors of their own, which Python does not count among its exceptions.
    """
    return isinstance(error, Exception) or type(error).__name__ == "PanicException"
