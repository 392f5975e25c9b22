"""One job in an output directory at a time, and the same one until it is done.

`OUT/.winnow/job.json` says which: whoever comes with another is refused, and told what differs. A
lock that goes with the process that holds it keeps two from the same directory.
"""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from filter.errors import UsageError
from filter.files import atomic_write, temporary_stem
from filter.jobs.plan import STATE, SUMMARY, Job, beside
from filter.jobs.sidecar import DESCRIPTION

FORMAT = 1
"""Version of job.json."""

_TEMPORARY = re.compile(r"\.(?P<name>.+)\.[0-9a-f]{8}\.tmp")


@contextmanager
def claimed(job: Job, *, force: bool = False) -> Iterator[None]:
    """Holds the output directory of a job, which is begun or gone on with.

    Args:
        job: The job.
        force: Begin anew: what an earlier job has written there is removed.

    Raises:
        UsageError: the directory holds another job or files that would be overwritten, or another
            process is at work there.
    """
    try:
        job.state.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"{job.output}: cannot be written to ({error.strerror})") from error
    with _locked(job.state / "lock"):
        earlier = read_job(job.output)
        if force:
            _remove(job, earlier)
            earlier = None
        if earlier is None:
            if not force:
                _check_free(job)
            with atomic_write(job.state / "job.json") as stream:
                record = {"format": FORMAT, **job.record()}
                # Escaped: the names of files need not be UTF-8.
                stream.write(json.dumps(record, indent=1).encode())
        else:
            _check_same(job, earlier)
        _remove_temporaries(job)
        yield


def read_job(output: Path) -> dict[str, Any] | None:
    """The job that an output directory holds; None where there is none.

    Raises:
        UsageError: there is one that cannot be read.
    """
    path = output / STATE / "job.json"
    try:
        record = json.loads(path.read_bytes())
        if record["format"] != FORMAT:
            raise ValueError(f"format {record['format']!r}")
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise UsageError(f"{path}: is not a job that can go on ({error}); remove it") from error
    return dict(record)


def written_by(output: Path, record: dict[str, Any] | None) -> list[Path]:
    """The files that a job writes, as its job.json has it."""
    if record is None:
        return []
    settings = record["settings"]
    sidecar = settings["sidecar"]
    results = output / "attributes" / sidecar["name"] if sidecar else output
    # By its name, as it was taken down: beyond a link, `..` would be somebody else's directory.
    rejects = Path(os.path.normpath(output / settings["rejects"]))
    names = [shard["name"] for shard in record["shards"]]
    return [
        output / SUMMARY,
        *([results / DESCRIPTION] if sidecar else []),
        *(results / name for name in names),
        *(rejects / beside(name, ".jsonl") for name in names),
    ]


def _check_free(job: Job) -> None:
    for path in written_by(job.output, job.record()):
        if path.exists():
            raise UsageError(f"{path}: exists already; --force overwrites it")


def _check_same(job: Job, earlier: dict[str, Any]) -> None:
    wanted = json.loads(json.dumps(job.record()))
    difference = _difference(job, wanted, earlier)
    if difference is not None:
        raise UsageError(
            f"{job.output}: holds another job: {difference}; write to another directory, or begin"
            " anew with --force"
        )


def _difference(job: Job, wanted: dict[str, Any], earlier: dict[str, Any]) -> str | None:
    new: dict[str, Any] = wanted["settings"]
    old: dict[str, Any] = earlier["settings"]
    for key in [*new, *(key for key in old if key not in new)]:
        if new.get(key) != old.get(key):
            what = f"{key} was {_shown(old.get(key))}"
            return f"{what} and is {_shown(new.get(key))}"
    before = {shard["name"]: shard for shard in earlier["shards"]}
    for shard in job.shards:
        was = before.pop(shard.name, None)
        if was is None:
            return f"{shard.path} was not one of its inputs"
        if (was["size"], was["modified"]) != (shard.size, shard.modified):
            sizes = f" ({was['size']:,} bytes then, {shard.size:,} now)"
            return f"{shard.path} has changed" + sizes * bool(was["size"] != shard.size)
    for name in before:
        return f"{name} was one of its inputs and is none now"
    return None


def _shown(value: Any) -> str:
    shown = json.dumps(value, ensure_ascii=False)
    return shown if len(shown) <= 60 else shown[:57] + "..."


def _remove(job: Job, earlier: dict[str, Any] | None) -> None:
    """Removes what an earlier job has written; job.json goes last, should this be cut short."""
    for path in written_by(job.output, earlier):
        path.unlink(missing_ok=True)
    for name in ("done", "parts"):
        shutil.rmtree(job.state / name, ignore_errors=True)
    (job.state / "job.json").unlink(missing_ok=True)


def _remove_temporaries(job: Job) -> None:
    """Removes what a process that was killed had begun to write."""
    paths = [job.state / "job.json", job.output / SUMMARY, job.results / DESCRIPTION]
    for shard in job.shards:
        paths += job.output_path(shard), job.rejects_path(shard), job.done_path(shard)
    names_in: dict[Path, set[str]] = {}
    for path in paths:
        names_in.setdefault(path.parent, set()).add(temporary_stem(path.name))
    for directory, names in names_in.items():
        if not directory.is_dir():
            continue
        with os.scandir(directory) as entries:
            for entry in entries:
                match = _TEMPORARY.fullmatch(entry.name)
                if match and match["name"] in names:
                    os.unlink(entry)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with open(path, "a+b") as file:
        if not _lock(file):
            raise UsageError(f"{path.parent.parent}: another process is at work on the job there")
        yield


if sys.platform == "win32":
    import msvcrt

    def _lock(file: IO[bytes]) -> bool:
        try:
            file.seek(0)
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True

else:
    import fcntl

    def _lock(file: IO[bytes]) -> bool:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            # Some file systems of clusters know no locks; a job there is its user's to keep single.
            return error.errno not in (errno.EWOULDBLOCK, errno.EAGAIN)
        return True
