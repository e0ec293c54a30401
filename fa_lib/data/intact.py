"""Whether a crop store still holds what was written, so that damaged ones are noticed and built again."""

import functools
import hashlib
import json
import math
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

ALWAYS = 2**28  # bytes of pictures that are hashed at every first open of a process: some tenths of a second


def digest(parts: list, *arrays: np.ndarray) -> str:
    """Twelve letters that change with plain data and with the bytes of arrays."""
    found = hashlib.sha256(json.dumps(parts).encode())
    for array in arrays:
        found.update(np.ascontiguousarray(array).tobytes())
    return found.hexdigest()[:12]


def fingerprint(pictures: str, index: Mapping[str, Any]) -> str:
    """Hash of pictures (their SHA-256), names, landmarks, and of attributes, visibility and boxes where a set has them."""
    told = [list(map(str, index["attributes"]))] if any(map(str, index.get("attributes", ()))) else []
    extra = [index[key] for key in ("visible", "length") if index.get(key) is not None]
    return digest([pictures, list(map(str, index["names"])), *told], index["landmarks"], *extra)


def sealed(meta: dict) -> dict:
    """What is told of a store, with a hash of itself."""
    return {**meta, "seal": digest([sorted(meta.items())])}


def check(file: Path, meta: dict, index: Mapping[str, Any]) -> None:
    """Raises ValueError where the pictures in `file`, `meta` or the index are not those that were written.

    The size is looked at every time, and so is what `meta` says. Every picture is hashed where there are few, or where `file`
    was written to since: 100,000 faces at 256 pixels are 37 GB, a minute of reading each time. The index is a zip, which sums
    up its files itself. Stores of old have neither seal nor time; they are hashed.
    """
    told, known = {key: value for key, value in meta.items() if key != "seal"}, file.stat()
    if "seal" in meta and sealed(told) != meta:
        raise ValueError("meta.json is not what was written")
    if known.st_size != math.prod(meta["shape"]):
        raise ValueError(f"{file.name} has {known.st_size:,} bytes instead of {math.prod(meta['shape']):,}")
    untouched = known.st_mtime_ns == meta.get("written")  # equal or not, never earlier or later: a clock may have been set back
    if untouched and known.st_size > ALWAYS:
        return
    if fingerprint(_sha256(file, known.st_size, known.st_mtime_ns), index) != meta["fingerprint"]:
        raise ValueError("its pictures, names or landmarks are not those that were written")
    if not untouched and "written" in meta:
        with suppress(OSError):  # a copy, now known to be whole: the next process need not read all of it again
            os.utime(file, ns=(known.st_atime_ns, meta["written"]))


@functools.cache
def _sha256(file: Path, size: int, written: int) -> str:  # size and time: a file that has changed since is hashed again
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()
