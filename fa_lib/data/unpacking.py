"""Unpacks archives without trusting them, and shows how far downloading and unpacking have come."""

import errno
import os
import shutil
import stat
import sys
import tarfile
import tempfile
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from posixpath import dirname, normpath
from typing import Any

from fa_lib import storage
from fa_lib.data.readers.files import inside
from fa_lib.errors import InputError

RATIO, SMALL = 50, 100 * 2**20  # photographs hardly shrink: what would grow 50-fold, and beyond 100 MiB, is no data set


@dataclass(frozen=True)
class _Member:
    """One file of an archive: its path below the folder, its size, what opens it, and the member that it only links to."""

    name: str
    size: int
    handle: Any
    link: str = ""


def unpack(path: str | Path, folder: str | Path, into: str = "") -> int:
    """Unpacks a zip or tar archive into `folder`/`into` and returns the number of files; links become copies.

    Everything is looked through first, and nothing is written where the archive is cut off, has a password, holds an absolute
    path, '..', a link that leads out of it or a device, or would grow beyond the disk or 50-fold: that raises InputError. Files
    are moved to their place when all of them are unpacked whole.
    """
    path, folder = Path(path), Path(folder).expanduser()
    if not path.is_file():
        raise InputError(f"{path}: there is no such file; give a zip or tar archive")
    with storage.disk_errors(str(folder)), _archive_errors(path):
        folder.mkdir(parents=True, exist_ok=True)
        limit = min(max(RATIO * path.stat().st_size, SMALL), shutil.disk_usage(folder).free)
        with zipfile.ZipFile(path) if zipfile.is_zipfile(path) else tarfile.open(path) as archive:
            members = _members(archive, path, limit)
            for parent in {dirname(member.name) for member in members}:
                inside(folder, normpath(f"{into}/{parent}".strip("/")))  # a link that lies there already
            with tempfile.TemporaryDirectory(prefix=".unpacking.", dir=folder) as fresh:
                _extract(archive, members, Path(fresh), path.name)
                for member in members:
                    target = folder / into / member.name
                    target.parent.mkdir(parents=True, exist_ok=True)
                    os.replace(Path(fresh, member.name), target)
    return len(members)


@contextmanager
def _archive_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except InputError:
        raise
    except Exception as error:  # damage makes the readers of archives raise whatever they meet first, OSError 22 as well
        if isinstance(error, OSError) and error.errno not in (None, errno.EINVAL):
            raise  # the disk's
        raise InputError(
            f"{path}: is cut off, damaged or no archive ({' '.join(str(error).split()) or 'it ends too early'}); "
            "delete it and download it again"
        ) from None


def _members(archive: zipfile.ZipFile | tarfile.TarFile, path: Path, limit: int) -> list[_Member]:
    """The files of an archive, links with the name of the file that they lead to; InputErrors as `unpack`."""
    members: dict[str, _Member] = {}
    total = 0
    for member in _zipped(archive, path) if isinstance(archive, zipfile.ZipFile) else _tarred(archive, path):
        members[member.name] = member
        total += member.size
        if total > limit:
            raise InputError(
                f"{path}: would grow from {amount(path.stat().st_size)} to more than {amount(limit)}, the most that the disk or "
                "a data set allows, so nothing was unpacked; unpack it yourself if you trust it"
            )
    for member in members.values():
        if member.link and (member.link not in members or members[member.link].link):
            raise InputError(
                f"{path}: {member.name!r} is a link to {member.link!r}, which is no file in it; nothing was unpacked"
            )
    return list(members.values())


def _safe(name: str, path: Path, what: str = "holds") -> str:
    """A member's path with plain slashes; InputError where it could lie outside the folder."""
    parts = name.replace("\\", "/").split("/")
    if parts[0] == "" or ".." in parts or ":" in parts[0] or "\0" in name:
        raise InputError(
            f"{path}: {what} {name!r}, which leads out of the folder, so nothing was unpacked; do not trust this archive"
        )
    return "/".join(part for part in parts if part not in ("", "."))


def _zipped(archive: zipfile.ZipFile, path: Path) -> Iterator[_Member]:
    for info in archive.infolist():
        name = _safe(info.filename, path)
        if info.flag_bits & 1:
            raise InputError(f"{path}: {name!r} is locked by a password; unpack it yourself")
        if stat.S_ISLNK(info.external_attr >> 16):
            target = archive.read(info)[:4096].decode(errors="replace") if info.file_size <= 4096 else ".."
            yield _Member(name, 0, info, _safe(_beside(name, target), path, "links to"))
        elif not info.is_dir():
            yield _Member(name, info.file_size, info)


def _tarred(archive: tarfile.TarFile, path: Path) -> Iterator[_Member]:
    for info in archive:
        name = _safe(info.name, path)
        if info.issym() or info.islnk():
            target = _beside(name, info.linkname) if info.issym() else info.linkname
            yield _Member(name, 0, info, _safe(target, path, "links to"))
        elif info.isfile():
            yield _Member(name, info.size, info)
        elif not info.isdir():
            raise InputError(f"{path}: {name!r} is neither file nor folder; nothing was unpacked, do not trust this archive")


def _beside(name: str, target: str) -> str:
    """Where a link at `name` leads, seen from the top of the archive."""
    return target if target.startswith("/") else normpath(f"{dirname(name)}/{target}".lstrip("/"))


def _extract(archive: zipfile.ZipFile | tarfile.TarFile, members: list[_Member], folder: Path, title: str) -> None:
    report, total, done = Progress(f"unpacking {title}"), sum(member.size for member in members), 0
    for member in sorted(members, key=lambda member: bool(member.link)):  # files first, which links are copies of
        target = folder / member.name
        target.parent.mkdir(parents=True, exist_ok=True)
        if member.link:
            shutil.copyfile(folder / member.link, target)
            continue
        opened = archive.open(member.handle) if isinstance(archive, zipfile.ZipFile) else archive.extractfile(member.handle)
        assert opened is not None
        with opened as source, target.open("wb") as file:
            shutil.copyfileobj(source, file, 2**20)
        done += member.size
        report(done, total)


def amount(count: int) -> str:
    """A number of bytes for people.

    >>> amount(3 * 2**30), amount(2**19)
    ('3.0 GiB', '0.5 MiB')
    """
    return f"{count / 2**30:,.1f} GiB" if count >= 2**30 else f"{count / 2**20:,.1f} MiB"


class Progress:
    """One line that moves where a person watches, one line every ten seconds where nobody does."""

    def __init__(self, title: str) -> None:
        self.title, self.begin, self.first, self.last = title, time.monotonic(), -1, 0.0

    def __call__(self, done: int, total: int | None) -> None:
        now, watched = time.monotonic() - self.begin, sys.stderr.isatty()
        self.first = done if self.first < 0 else self.first
        if done != total and now - self.last < (0.2 if watched else 10):
            return
        self.last = now
        left = f", {now * (total - done) / (done - self.first):.0f} s left" if total and done > self.first else ""
        text = f"{self.title}: {amount(done)}{f' of {amount(total)}' if total else ''}{left}"
        print(f"\r{text:70}" if watched else text, end="\n" if done == total or not watched else "", file=sys.stderr, flush=True)
