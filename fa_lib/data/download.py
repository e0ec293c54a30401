"""Fetches the data sets that anybody may download.

Downloads go through pooch, which compares checksums; it does not resume, so `_Resuming` does: what came before an interruption
stays beside the archive as `NAME.part`, and the next attempt asks the server for the rest of it alone.
"""

import json
import os
import re
import shutil
import sys
import time
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlparse

from filelock import FileLock

from fa_lib import storage
from fa_lib.data import manifests
from fa_lib.data.manifests import Archive, Manifest
from fa_lib.data.unpacking import Progress, amount, unpack
from fa_lib.errors import InputError

ATTEMPTS = 5  # in a row that bring nothing
BLOCK = 2**14  # bytes written at once: as many are lost when a server breaks off
_ARCHIVE = re.compile(r"\.(zip|tar|tar\.gz|tgz|tar\.bz2|tar\.xz)$", re.IGNORECASE)
_FILE = re.compile(_ARCHIVE.pattern.replace("zip", "zip|txt|csv|mat|json|npy", 1), re.IGNORECASE)


def fetch(name: str, folder: str | Path, *, mirror: bool = False) -> None:
    """Downloads and unpacks the archives of a data set into `folder`, those that are not there yet; progress on stderr.

    `mirror` takes the copies that others keep instead of the official archives, where the manifest knows any. An interrupted
    call goes on from where it stopped. Raises InputError for sets that only people can get (it says how), for servers that
    do not deliver, other checksums, full disks, and archives that `unpack` refuses.
    """
    manifest = manifests.load(name)
    folder = Path(folder).expanduser()
    if manifest.get == "rendered":
        raise InputError(f"{name}: is rendered by the project, so there is nothing to fetch")
    if manifest.get != "open link":
        how = "after a request" if manifest.get == "form" else "only from a copy that you have"
        raise InputError(
            f"{name}: {manifest.title} can be had {how}, not fetched; see {manifest.home}, unpack it into {folder} as "
            f"`fa data show {name}` says, then run `fa data verify {name} --root {folder}`"
        )
    wanted = [archive for archive in manifest.archives if archive.mirror == mirror]
    if not wanted:
        other = "leave --mirror out" if mirror else "add --mirror for a copy that others keep"
        raise InputError(f"{name}: its manifest knows no {'mirror' if mirror else 'official archive'}; {other}")
    for archive in wanted:
        if _file_name(archive):
            _fetch_one(archive, manifest, folder)
    if by_hand := [archive for archive in wanted if not _file_name(archive)]:
        places = " and ".join(f"{archive.url} ({archive.holds})" for archive in by_hand)
        raise InputError(f"{name}: a browser is needed for {places}; unpack that into {folder / by_hand[0].into}")


def _file_name(archive: Archive) -> str:
    """The file that an address ends in, "" where it is a page for people."""
    name = PurePosixPath(urlparse(archive.url).path).name
    return name if _FILE.search(name) else ""


def _fetch_one(archive: Archive, manifest: Manifest, folder: Path) -> None:
    place, name = folder / ".archives", _file_name(archive)
    done = place / f"{name}.done"
    with storage.disk_errors(str(folder)):
        place.mkdir(parents=True, exist_ok=True)
        with FileLock(place / "lock"):
            if done.is_file():
                print(f"{name} is unpacked already (delete {done} to fetch it again)", file=sys.stderr)
                return
            path = _download(archive, manifest, place, name)
            if _ARCHIVE.search(name):
                unpack(path, folder, archive.into)
                path.unlink()
            else:
                (folder / archive.into).mkdir(parents=True, exist_ok=True)
                os.replace(path, folder / archive.into / name)
            done.write_text(archive.url + "\n")


def _download(archive: Archive, manifest: Manifest, place: Path, name: str) -> Path:
    """The archive in the folder `place`, with the right checksum where one is known."""
    import pooch
    import requests

    pooch.get_logger().setLevel("ERROR")
    try:
        resuming = _Resuming(place / f"{name}.part", manifest.home)
        return Path(pooch.retrieve(archive.url, archive.checksum or None, name, place, downloader=resuming))
    except requests.RequestException as error:
        raise InputError(f"{archive.url}: {_reason(error)}; see {manifest.home}") from None
    except InputError:
        raise
    except ValueError:  # pooch's word for another checksum; it has removed the file
        raise InputError(
            f"{archive.url}: what came is not the file with {archive.checksum}, so it was deleted; fetch it again, "
            f"or see {manifest.home}"
        ) from None


def _reason(error: Exception) -> str:
    answer = getattr(error, "response", None)
    if answer is not None:
        return f"the server answered {answer.status_code} {answer.reason}"
    kinds = {"Timeout": "the server did not answer in time", "SSLError": "the server's certificate is not accepted"}
    found = [words for kind, words in kinds.items() if kind in type(error).__name__]
    return found[0] if found else "the server cannot be reached or broke off"


class _Resuming:
    """A downloader for pooch that keeps what came in `part`, and asks for the rest after an interruption."""

    def __init__(self, part: Path, home: str) -> None:
        self.part, self.home = part, home
        self.about = part.with_name(part.name + ".json")  # which version of the file the part is of

    def __call__(self, url: str, output_file: str, pooch: Any, check_only: bool = False) -> None:
        """Downloads `url` to `output_file`; tries again while attempts bring something, and five times when they do not."""
        import requests

        idle = 0
        while True:
            before = self._held()
            try:
                self._attempt(url)
                break
            except requests.RequestException as error:
                answer = getattr(error, "response", None)
                idle = idle + 1 if self._held() <= before else 0
                if idle >= ATTEMPTS or (answer is not None and answer.status_code < 500):
                    raise
                time.sleep(min(2**idle, 30) / 2)
        os.replace(self.part, output_file)
        self.about.unlink(missing_ok=True)

    def _held(self) -> int:
        return self.part.stat().st_size if self.part.is_file() else 0

    def _attempt(self, url: str) -> None:
        import requests

        held, known = self._held(), self._known()
        headers = {"Accept-Encoding": "identity"}  # the file itself, so that its bytes can be counted
        if held:
            headers["Range"] = f"bytes={held}-"
            if known.get("version"):
                headers["If-Range"] = known["version"]  # a file that has changed since comes whole
        with requests.get(url, headers=headers, stream=True, timeout=(20, 60)) as answer:
            span = re.fullmatch(r"bytes (?:(\d+)-\d+|\*)/(\d+)", answer.headers.get("Content-Range", ""))
            if answer.status_code == 416 and span and int(span[2]) == held:
                return  # all of it came before
            if answer.status_code == 416 or (answer.status_code == 206 and (not span or span[1] != str(held))):
                self.part.unlink(missing_ok=True)
                raise requests.ConnectionError("the server's answer does not continue what came before")
            answer.raise_for_status()
            if "text/html" in answer.headers.get("Content-Type", ""):
                raise InputError(f"{url}: the server sent a page instead of the file; see {self.home}")
            start = held if answer.status_code == 206 else 0
            size = answer.headers.get("Content-Length")
            total = start + int(size) if size else None
            if total and total - start > shutil.disk_usage(self.part.parent).free:
                raise InputError(f"{url}: has {amount(total - start)} to come, but the disk of {self.part.parent} has less space")
            version = answer.headers.get("ETag", "")
            version = answer.headers.get("Last-Modified", "") if version.startswith("W/") else version
            self.about.write_text(json.dumps({"url": url, "version": version}))
            self._receive(answer, start, total)

    def _known(self) -> dict[str, str]:
        try:
            return json.loads(self.about.read_text())
        except (OSError, ValueError):
            return {}

    def _receive(self, answer: Any, start: int, total: int | None) -> None:
        import requests

        report = Progress(self.part.name.removesuffix(".part"))
        with self.part.open("ab" if start else "wb") as file:
            for block in answer.iter_content(BLOCK):
                file.write(block)
                start += len(block)
                report(start, total)
        if total is not None and start != total:
            raise requests.ConnectionError("the server broke off")
