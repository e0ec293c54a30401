"""Where files live, and how to write them so that nothing half-written is ever found."""

import errno
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fa_lib.errors import InputError

PROJECT = Path(__file__).resolve().parent.parent  # the checkout: notebooks run in another folder than the command line


def runs_folder() -> Path:
    """Trained runs: `$FA_RUNS`, or `runs/` of the checkout."""
    return Path(os.environ.get("FA_RUNS", PROJECT / "runs"))


def cache_folder() -> Path:
    """Crops and rendered faces: `$FA_CACHE`, or `cache/` of the checkout."""
    return Path(os.environ.get("FA_CACHE", PROJECT / "cache"))


@contextmanager
def disk_errors(what: str) -> Iterator[None]:
    """Turns a full, read-only or forbidden disk into one sentence about `what`."""
    reasons = {errno.ENOSPC: "the disk is full", errno.EDQUOT: "the disk quota is used up", errno.EROFS: "the disk is read-only"}
    reasons |= {errno.EACCES: "permission is denied", errno.EPERM: "permission is denied"}
    reasons |= {errno.EFBIG: "a file would be larger than the disk or the limit of `ulimit -f` allows"}
    reasons |= {errno.ENOTDIR: "a file stands where a folder is needed", errno.EEXIST: "a file stands where a folder is needed"}
    try:
        yield
    except OSError as error:
        if error.errno not in reasons:
            raise
        raise InputError(
            f"{what} cannot be written: {reasons[error.errno]}; free space there, or set FA_RUNS and FA_CACHE to another disk"
        ) from error


def require_space(folder: Path, needed: int, what: str) -> None:
    """Raises InputError where the disk of `folder` has fewer than `needed` bytes free: before hours of work, not after."""
    there = next(place for place in (folder, *folder.absolute().parents) if place.is_dir())
    free = shutil.disk_usage(there).free
    if needed > free:
        raise InputError(
            f"{what}: needs {needed / 2**30:,.1f} GiB in {folder}, where {free / 2**30:,.1f} are free; set FA_CACHE to another "
            "disk, or take smaller crops or another split"
        )


@contextmanager
def new_folder(target: Path) -> Iterator[Path]:
    """A temporary folder beside `target` that becomes `target` when the block ends well, and vanishes when it does not."""
    with disk_errors(str(target)):
        target.parent.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
        try:
            yield folder
            folder.chmod(0o755)
            if target.exists():
                shutil.rmtree(target)
            folder.rename(target)
        finally:
            shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def new_file(target: Path) -> Iterator[Path]:
    """A temporary path beside `target` that replaces `target` when the block ends well, and vanishes when it does not."""
    with disk_errors(str(target)):
        target.parent.mkdir(parents=True, exist_ok=True)
        # keeps the suffix, since savers choose a format by it
        part = target.with_name(f".{target.stem}.{os.getpid()}.part{target.suffix}")
        try:
            yield part
            os.replace(part, target)
        finally:
            part.unlink(missing_ok=True)


def write_json(target: Path, content: Any) -> None:
    """JSON with stable key order, written whole or not at all."""
    with new_file(target) as part:
        part.write_text(json.dumps(content, indent=1, sort_keys=True) + "\n")
