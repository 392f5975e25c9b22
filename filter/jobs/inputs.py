"""What a job is to read: patterns and names to shards, each with the name of its output.

Everything that can be known before the first page is filtered is checked here: a job that runs for
days must not end on a file that was never there.
"""

from __future__ import annotations

import glob
import os
import stat
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path, PurePath

from filter.documents import Adds, DocumentFormat
from filter.errors import UsageError
from filter.files import LONGEST_NAME, require_file
from filter.jobs.plan import STATE, SUMMARY, Shard, beside
from filter.jobs.sidecar import DESCRIPTION, attribute_name


def find_shards(
    patterns: Iterable[str],
    make_format: Callable[[str], DocumentFormat],
    *,
    results: Path,
    rejects: Path | None = None,
    written: Iterable[Path] = (),
    adds: Adds = "clean",
    sidecar: bool = False,
) -> tuple[Shard, ...]:
    """The shards of a job, by their names.

    Their outputs are called as they are, with the directories in which they lie below the lowest
    one that holds them all, so that a/x.jsonl and b/x.jsonl do not meet.

    Args:
        patterns: Files, or patterns such as `crawl/**/*.jsonl.zst`.
        make_format: The format of a file.
        results: Directory of the outputs.
        rejects: Directory of bad records, where it is none of the job's own.
        written: What an earlier run has written; patterns pass over it.
        adds: What will be added to records.
        sidecar: Whether attribute files are written, which are JSON Lines whatever the format.

    Raises:
        UsageError: nothing matches, a file cannot be read, an output's name is too long, or outputs
            would not be one each and clear of the inputs.
    """
    paths = sorted(set(_expanded(patterns, {os.path.realpath(path) for path in written})))
    if not paths:
        raise UsageError("nothing to read; name files, or a pattern that matches some")
    root = os.path.commonpath([os.path.dirname(path) for path in paths])
    shards = []
    for path in paths:
        status = _checked(path)
        made = make_format(path)
        name = PurePath(os.path.relpath(path, root)).as_posix()
        name = attribute_name(made, name) if sidecar else made.output_name(name, adds=adds)
        shards.append(Shard(path, name, status.st_size, status.st_mtime_ns, made))
    _check_names(shards, results)
    _check_outputs(shards, results, rejects, own=DESCRIPTION if sidecar else SUMMARY)
    return tuple(sorted(shards, key=lambda shard: shard.name))


def check_unchanged(shard: Shard) -> None:
    """Checks that a file is what it was when the job was planned.

    Raises:
        UsageError: it is not.
    """
    status = _checked(shard.path)
    if (status.st_size, status.st_mtime_ns) != (shard.size, shard.modified):
        raise UsageError(f"{shard.path}: changed since the job began")


def _expanded(patterns: Iterable[str], written: set[str]) -> Iterator[str]:
    for pattern in patterns:
        if pattern == "-":
            raise UsageError("a job cannot read stdin, which is gone when it goes on; name files")
        if os.path.lexists(pattern) or not glob.has_magic(pattern):
            if os.path.realpath(pattern) in written:
                raise UsageError(
                    f"{pattern}: was written by the job itself; put the pattern in quotation"
                    " marks, or write to a directory that it does not match"
                )
            require_file(pattern)
            yield os.path.abspath(pattern)
            continue
        found = glob.glob(pattern, recursive=True)
        files = [path for path in found if os.path.realpath(path) not in written]
        files = [path for path in files if not os.path.isdir(path)]
        if not files:
            why = "the outputs of the job alone match" if found else "no file matches"
            why = "only directories match" if any(map(os.path.isdir, found)) else why
            raise UsageError(f"{pattern}: {why}")
        yield from map(os.path.abspath, files)


def _checked(path: str) -> os.stat_result:
    require_file(path)
    status = os.stat(path)
    if not stat.S_ISREG(status.st_mode):
        raise UsageError(f"{path}: not a file that can be read again when the job goes on")
    return status


def _check_names(shards: list[Shard], results: Path) -> None:
    """Checks that what is written can have its names, of which some are longer than the input's."""
    limit = _longest_name(str(results))
    for shard in shards:
        for name in (shard.name, beside(shard.name, ".jsonl")):
            longest = max(map(len, os.fsencode(name).split(b"/")))
            if longest > limit:
                raise UsageError(
                    f"{shard.path}: what is written for it would have a name of {longest} bytes,"
                    f" and {results} takes {limit}; give the file a shorter name"
                )


def _longest_name(directory: str) -> int:
    """Bytes that a name may have in a directory, or in the one that it will be made in."""
    if sys.platform == "win32":
        return LONGEST_NAME
    while not os.path.exists(directory):
        directory = os.path.dirname(directory) or "."
    limit = os.pathconf(directory, "PC_NAME_MAX")
    return limit if limit > 0 else LONGEST_NAME  # there are file systems that do not say


def _check_outputs(shards: list[Shard], results: Path, rejects: Path | None, *, own: str) -> None:
    """Checks that what is written is one file each, and none of them an input.

    Args:
        shards: With the names of their outputs.
        results: As in `find_shards`.
        rejects: As in `find_shards`.
        own: Name of the file that the job itself writes among the outputs.
    """
    inputs = {os.path.realpath(shard.path) for shard in shards}
    _check_no_input(str(results / own), inputs)
    by_path: dict[str, Shard] = {}
    for shard in shards:
        if shard.name == own or shard.name.split("/")[0] == STATE:
            raise UsageError(f"{shard.path}: its output would take the place of the job's own")
        paths = [os.path.join(results, shard.name)]
        if rejects is not None:
            paths.append(os.path.join(rejects, beside(shard.name, ".jsonl")))
        for path in paths:
            if path in by_path:
                raise UsageError(
                    f"{by_path[path].path} and {shard.path} would both be written to {path}"
                )
            by_path[path] = shard
    for path in by_path:
        _check_no_input(path, inputs)
    roots = {str(results), str(rejects)}
    for path, shard in by_path.items():
        while path not in roots:
            path = os.path.dirname(path)
            if path in by_path:
                raise UsageError(
                    f"{by_path[path].path} would be written to {path}, which must be a directory"
                    f" for {shard.path}"
                )


def _check_no_input(path: str, inputs: set[str]) -> None:
    path = os.path.realpath(path)
    if path in inputs:
        raise UsageError(f"{path}: would be overwritten, and is an input; write elsewhere")
