"""What every reader shares: a sample, points and pictures as they lie on disk, and paths that stay below their root.

Points come out 0-based, in (x, y) order, in pixels of the photograph; pictures RGB. Wrong input ends in one InputError
that names the file.
"""

import os
import re
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from fa_lib.data.manifests import FOLDER as MANIFESTS
from fa_lib.data.manifests import Inspection, Part
from fa_lib.errors import InputError

__all__ = [
    "MANIFESTS", "PICTURES", "Inspection", "Part", "Sample", "check_picture", "entries", "faults_of", "find", "inside",
    "parse_pts", "read_bytes", "read_image", "read_lines", "read_pts",
]  # fmt: skip

PICTURES = (".png", ".jpg", ".jpeg", ".bmp")


@dataclass(frozen=True, eq=False)
class Sample:
    """One face. `landmarks` (K, 2): pixels of the photograph, 0-based, float64; (0, 2) for unlabelled sets.

    `path` is the file that holds the picture: a photograph, a .mat, a video. `name` is the official name without suffix
    (`afw/111076519_2`); `subset` is what it is reported under ("common", "test", "scenario 1"); `group` is the same for all
    faces of a photograph and of its near-duplicates, or of a clip: cut validation sets by it.
    `visible` (K,) bool, None where the set has no flags; `attributes`: overlapping subsets that hold the face ("pose", "blur");
    `box` (4,) x0 y0 x1 y1 of the face, 0-based, where the set gives one; `picture` reads the pixels where `path` is no picture.
    """

    path: Path
    landmarks: np.ndarray
    name: str
    subset: str
    group: str
    visible: np.ndarray | None = None
    attributes: tuple[str, ...] = ()
    box: np.ndarray | None = None
    picture: Callable[[], np.ndarray] | None = None

    def read(self) -> np.ndarray:
        """The picture, (H, W, 3) uint8 RGB; InputError where it cannot be read."""
        return self.picture() if self.picture else read_image(self.path)


def parse_pts(text: str, expected: int | None = 68, source: str = "points") -> np.ndarray:
    r"""The points of a `.pts` text as (n, 2) float64, shifted from the file's 1-based to 0-based coordinates.

    Read by its braces, not by line numbers: real files differ in line ends, blanks, padding and the spelling of the
    version. Raises InputError that begins with `source` where braces are missing, `n_points` differs from the rows,
    something is not a finite number, or there are not `expected` points (None: any number).

    >>> parse_pts("version: 1\nn_points:  2\n{\n1.0 1.0\n12.5 3.0\n}\n", expected=2).tolist()
    [[0.0, 0.0], [11.5, 2.0]]
    """
    match = re.fullmatch(r"([^{}]*)\{([^{}]*)\}[^{}]*", text)
    if not match:
        raise InputError(f"{source}: is cut off or no .pts file: points stand between one {{ and one }}")
    header, body = match.groups()
    rows = [line.split() for line in body.splitlines() if line.strip()]
    claimed = re.search(r"n_points\s*:\s*(\d{1,9})", header)
    if not claimed:
        raise InputError(f"{source}: the line 'n_points: {expected or len(rows)}' is missing before the opening brace")
    if int(claimed[1]) != len(rows):
        raise InputError(f"{source}: n_points says {claimed[1]}, but {len(rows)} points follow")
    if expected is not None and len(rows) != expected:
        raise InputError(f"{source}: has {len(rows)} points, but {expected} are expected")
    for number, row in enumerate(rows, start=1):
        if len(row) != 2:
            raise InputError(f"{source}: point {number} has {len(row)} numbers, but a point is two: x and y")
    try:
        points = np.array(rows, dtype=np.float64).reshape(-1, 2)
    except ValueError as error:
        raise InputError(f"{source}: a coordinate is not a number ({error})") from None
    if not np.isfinite(points).all():
        bad = int(np.flatnonzero(~np.isfinite(points).all(1))[0]) + 1
        raise InputError(f"{source}: point {bad} is {' '.join(rows[bad - 1])}, but coordinates must be finite numbers")
    return points - 1.0


def read_pts(path: str | Path, expected: int | None = 68) -> np.ndarray:
    """The points of a `.pts` file as (n, 2) float64, 0-based; see `parse_pts`, also for the InputErrors."""
    data = read_bytes(Path(path))
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise InputError(f"{path}: is not a text file; a .pts file with points is expected") from None
    return parse_pts(text, expected, str(path))


def read_bytes(path: Path) -> bytes:
    """What a file holds; InputError where it cannot be read or is empty."""
    try:
        if data := path.read_bytes():
            return data
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None
    raise InputError(f"{path}: is empty")


_MARKER = re.compile(rb"\xff+([^\x00\xff\xd0-\xd7])")  # neither a stuffed byte nor a restart


def _is_whole(data: bytes) -> bool:
    """False for a JPEG, PNG or BMP without its end; decoders may fill the rest with grey and only warn."""
    if data[:2] == b"\xff\xd8":
        position = 2
        while marker := _MARKER.search(data, position):
            if marker[1] == b"\xd9":
                return True
            # A segment is skipped by its length: the thumbnail in an EXIF segment has an end marker of its own.
            position = marker.end() + int.from_bytes(data[marker.end() : marker.end() + 2], "big")
        return False
    if data[:8] == b"\x89PNG\r\n\x1a\n":
        position = 8
        while position + 12 <= len(data):
            length, kind = struct.unpack_from(">I4s", data, position)
            if kind == b"IEND":
                return True
            position += 12 + length
        return False
    return data[:2] != b"BM" or len(data) >= int.from_bytes(data[2:6], "little")


def read_image(path: str | Path, upright: bool = False) -> np.ndarray:
    """A picture as (H, W, 3) uint8 RGB, whatever its channels and depth (16 bits are divided by 256).

    EXIF rotation is ignored: the points belong to the pixels as stored. `upright`: it is applied. Raises InputError for a file
    that is missing, empty, cut off or not a picture.
    """
    data = read_bytes(Path(path))
    if not _is_whole(data):
        raise InputError(f"{path}: the picture is cut off after {len(data):,} bytes; copy or download it again")
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR | (0 if upright else cv2.IMREAD_IGNORE_ORIENTATION))
    except cv2.error:
        image = None
    if image is None:
        raise InputError(f"{path}: is not a picture that can be decoded (PNG, JPEG and BMP can)")
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)


def check_picture(path: Path) -> None:
    """Raises InputError where `read_image` would, from both ends of the file alone: quick, blind to damage between."""
    try:
        with path.open("rb") as file:
            head = file.read(8)
            file.seek(max(0, path.stat().st_size - 2048))
            tail = file.read()
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None
    ends = ((b"\xff\xd8\xff", b"\xff\xd9"), (b"\x89PNG\r\n\x1a\n", b"IEND\xaeB`\x82"))
    if not any(head.startswith(start) and end in tail for start, end in ends):
        read_image(path)


def entries(folder: Path) -> list[Path]:
    """What a folder holds, sorted, without hidden files (macOS leaves `._name.jpg` beside copied pictures)."""
    try:
        return sorted(entry for entry in folder.iterdir() if not entry.name.startswith("."))
    except OSError as error:
        raise InputError(f"{folder}: cannot be read ({error.strerror})") from None


def inside(root: Path, relative: str) -> Path:
    """The path of a list file's entry below `root`; InputError where it is absolute or leads out of `root`, by .. or a link."""
    parts = relative.replace("\\", "/").split("/")
    if any("\0" in part or len(part.encode(errors="surrogatepass")) > 255 for part in parts):
        raise InputError(f"{relative[:60]!r}: a list of pictures names no file that there can be below {root}")
    if parts[0] == "" or ".." in parts or parts[0][1:2] == ":":
        raise InputError(f"{relative!r}: a list of pictures names a path outside {root}; paths must lie below it, without '..'")
    path = root.joinpath(*parts)
    steps = [os.path.join(root, *parts[:depth]) for depth in range(1, len(parts) + 1)]
    if any(map(os.path.islink, steps)) and not path.resolve().is_relative_to(root.resolve()):
        raise InputError(f"{path}: is a link that leads out of {root}; copy what it points to into the folder")
    return path


def find(root: str | Path, name: str, holder: str) -> Path:
    """The file or folder called `name` in `root` or at most two folders below it, the topmost one.

    InputError where `root` is no folder or holds none, or it is a link that leads out of `root`; `holder` completes the
    sentence "give the folder that holds ...".
    """
    given = Path(root).expanduser()
    if not given.is_dir():
        what = "is a file" if given.exists() else "there is no such folder"
        raise InputError(f"{given}: {what}; give the folder that holds {holder}")
    level = [given]
    for _ in range(3):
        for folder in level:
            if (folder / name).exists() or (folder / name).is_symlink():
                return inside(given, str((folder / name).relative_to(given)))
        level = [entry for folder in level for entry in entries(folder) if entry.is_dir() and not entry.is_symlink()]
    what = f"holds no {name}" if entries(given) else "is an empty folder"
    raise InputError(f"{given}: {what}; give the folder that holds {holder}")


def read_lines(path: Path) -> list[str]:
    """The lines of a text file that are not blank, without their ends (LF or CRLF); InputError where it is no text."""
    try:
        return [line for line in read_bytes(path).decode("utf-8-sig").splitlines() if line.strip()]
    except UnicodeDecodeError:
        raise InputError(f"{path}: is not a text file") from None


def faults_of(check: Callable[..., Any], *arguments: Any) -> list[str]:
    """The sentence in which a check ends, as a list of one; empty where it finds nothing wrong."""
    try:
        check(*arguments)
    except InputError as error:
        return [str(error)]
    return []
