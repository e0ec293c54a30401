"""Reads the real data sets where they lie on disk: points, pictures, and 300-W in its official layout.

Points come out 0-based, in (x, y) order, in pixels of the photograph; pictures RGB. Wrong input ends in one InputError
that names the file.
"""

import csv
import re
import struct
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import cv2
import numpy as np

from fa_lib.errors import InputError

MANIFESTS = Path(__file__).resolve().parents[2] / "data_manifests"
PICTURES = (".png", ".jpg", ".jpeg", ".bmp")
SPLITS = {
    "train": ("afw", "helen/trainset", "lfpw/trainset"),
    "common": ("helen/testset", "lfpw/testset"),
    "challenging": ("ibug",),
    "full": ("helen/testset", "lfpw/testset", "ibug"),
}
_SUBSET = {folder: split for split, folders in SPLITS.items() if split != "full" for folder in folders}


@dataclass(frozen=True, eq=False)
class Sample:
    """One annotated face. `landmarks` (K, 2): pixels of the photograph at `path`, 0-based, float64.

    `name` is folder and file without suffix (`afw/111076519_2`); `subset` is train, common or challenging; `group` is
    the same for all faces of a photograph and of its near-duplicates: cut validation sets by it.
    """

    path: Path
    landmarks: np.ndarray
    name: str
    subset: str
    group: str


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
    claimed = re.search(r"n_points\s*:\s*(\d+)", header)
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
    data = _bytes(Path(path))
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise InputError(f"{path}: is not a text file; a .pts file with points is expected") from None
    return parse_pts(text, expected, str(path))


def _bytes(path: Path) -> bytes:
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


def read_image(path: str | Path) -> np.ndarray:
    """A picture as (H, W, 3) uint8 RGB, whatever its channels and depth (16 bits are divided by 256).

    EXIF rotation is ignored: the points belong to the pixels as stored. Raises InputError for a file that is missing,
    empty, cut off or not a picture.
    """
    data = _bytes(Path(path))
    if not _is_whole(data):
        raise InputError(f"{path}: the picture is cut off after {len(data):,} bytes; copy or download it again")
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
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


@cache
def official_faces(listing: str = "300w_files.txt") -> dict[str, int | None]:
    """Official face names (folder/name without suffix) and the size of their pictures in bytes, None where unknown."""
    rows = [line.split("\t") for line in _bytes(MANIFESTS / listing).decode().splitlines() if line[:1] not in ("", "#")]
    return {name: int(size[0]) if size else None for name, *size in rows}


@cache
def _annotated_twice() -> tuple[tuple[str, str, float], ...]:
    """Pairs of near-duplicate photographs of one face, and how well they register (ECC, 1 is the same photograph)."""
    rows = csv.DictReader(_bytes(MANIFESTS / "300w_twice.csv").decode().splitlines())
    return tuple((row["a"], row["b"], float(row["ecc"])) for row in rows)


def photograph(name: str) -> str:
    """The photograph a 300-W face was cut from, by its name.

    >>> photograph("afw/111076519_2"), photograph("lfpw/trainset/image_0862"), photograph("ibug/image_092 _01")
    ('afw/111076519', 'lfpw/trainset/image_0862', 'ibug/image_092')
    """
    return name if name.startswith("lfpw/") else re.sub(r"(?<=\d)\s*_\d+$", "", name)


@cache
def _twins() -> dict[str, str]:
    """Photograph -> the first of its near-duplicates, for photographs that have any."""
    first: dict[str, str] = {}

    def root(item: str) -> str:
        above = first.setdefault(item, item)
        return item if above == item else root(above)

    for a, b, _ in _annotated_twice():
        low, high = sorted((root(photograph(a)), root(photograph(b))))
        first[high] = low
    return {item: root(item) for item in first}


@cache
def leaked() -> frozenset[str]:
    """Training faces whose photograph is also in the test set: what `read_300w` leaves out of training.

    >>> sorted(leaked())
    ['lfpw/trainset/image_0215', 'lfpw/trainset/image_0828', 'lfpw/trainset/image_0862']
    """
    return frozenset(b for a, b, _ in _annotated_twice() if "/testset/" in a and "/trainset/" in b)


def find_root(root: str | Path) -> Path:
    """The folder that holds afw/, helen/, lfpw/ or ibug/: `root` or `root`/300W. InputError where there is none."""
    given = Path(root).expanduser()
    if not given.is_dir():
        what = "is a file" if given.exists() else "there is no such folder"
        raise InputError(f"{given}: {what}; give the folder that holds afw/, helen/, lfpw/ and ibug/")
    for place in (given, given / "300W"):
        if any((place / top).is_dir() for top in ("afw", "helen", "lfpw", "ibug")):
            return place
    what = "holds none of afw/, helen/, lfpw/, ibug/" if _entries(given) else "is an empty folder"
    raise InputError(f"{given}: {what}; give the folder that holds the unpacked archives of 300-W")


def _entries(folder: Path) -> list[Path]:
    """What a folder holds, sorted, without hidden files (macOS leaves `._name.jpg` beside copied pictures)."""
    try:
        return sorted(entry for entry in folder.iterdir() if not entry.name.startswith("."))
    except OSError as error:
        raise InputError(f"{folder}: cannot be read ({error.strerror})") from None


def scan(root: Path, folder: str) -> tuple[dict[str, tuple[Path, Path]], list[str]]:
    """Faces of one folder, name -> (picture, points), and a sentence for each file without its counterpart."""
    pictures: dict[str, Path] = {}
    points: dict[str, Path] = {}
    faults: list[str] = []
    for entry in _entries(root / folder) if (root / folder).is_dir() else ():
        suffix = entry.suffix.lower()
        kind = pictures if suffix in PICTURES else points if suffix == ".pts" else None
        if kind is not None and entry.stem in kind:
            faults.append(f"{entry}: {kind[entry.stem].name} beside it has the same name; keep one of them")
        elif kind is not None:
            kind[entry.stem] = entry
    for stem in sorted(pictures.keys() ^ points.keys()):
        lacking = ".pts" if stem in pictures else "picture"
        faults.append(f"{(pictures | points)[stem]}: there is no {lacking} of that name beside it")
    return {f"{folder}/{stem}": (pictures[stem], points[stem]) for stem in pictures if stem in points}, faults


def _samples(root: Path, folders: tuple[str, ...], only: frozenset[str] | None = None) -> list[Sample]:
    samples = []
    for folder in folders:
        faces, faults = scan(root, folder)
        if faults:
            more = f" (and {len(faults) - 1:,} more such files in {folder}/)" if len(faults) > 1 else ""
            raise InputError(faults[0] + more)
        for name, (picture, points) in faces.items():
            if only is None or name in only:
                group = _twins().get(photograph(name), photograph(name))
                samples.append(Sample(picture, read_pts(points), name, _SUBSET[folder], group))
    return samples


def read_300w(root: str | Path, split: str) -> list[Sample]:
    """The faces of a split (train, common, challenging, full) of 300-W: afw, helen, lfpw, ibug, each sorted by name.

    `root` holds afw/, helen/, lfpw/ and ibug/, or holds the folder 300W/ that does. A partial set is read as it is, and so are
    faces with other names; `coverage` says what there is. Left out of training: lfpw/trainset image_0862, image_0828 and
    image_0215, whose photographs are image_0007, image_0096 and image_0066 of lfpw/testset. Points on the border stay.

    Raises InputError for a folder without such faces, a picture or points without its counterpart, and bad `.pts`.
    """
    if split not in SPLITS:
        raise InputError(f"split={split!r}: 300-W has {', '.join(SPLITS)}")
    place = find_root(root)
    left_out = leaked() if split == "train" else ()
    samples = [sample for sample in _samples(place, SPLITS[split]) if sample.name not in left_out]
    if not samples:
        folders = ", ".join(SPLITS[split])
        raise InputError(f"{place}: holds no face of split {split}; put pictures and .pts into {folders}")
    return samples


def second_annotations(root: str | Path, *, least: float = 0.995) -> list[tuple[Sample, Sample]]:
    """Pairs of faces on disk that are one face annotated twice, independently: near-duplicate photographs inside 300-W.

    `least` is the smallest ECC, the correlation after registration; 1 is the same photograph, below 0.995 it may be the
    next shot. The photographs of a pair differ in size and crop: register them before comparing the annotations. Pairs
    share faces: average within `group` first. The list is empty where no pair is complete.
    """
    place = find_root(root)
    pairs = [(a, b) for a, b, ecc in _annotated_twice() if ecc >= least]
    wanted = frozenset(name for pair in pairs for name in pair)
    found = {sample.name: sample for sample in _samples(place, tuple(_SUBSET), wanted)}
    return [(found[a], found[b]) for a, b in pairs if a in found and b in found]


def match_name(name: str) -> str:
    """The name without blanks: some copies write `image_092_01` for the official `image_092 _01`."""
    return "".join(name.split())


@dataclass(frozen=True)
class Coverage:
    """How much of 300-W is on disk: folder -> (faces present, official faces); `others` counts faces not in 300-W.

    >>> lfpw = Coverage({"lfpw/trainset": (805, 811), "helen/testset": (0, 330), "lfpw/testset": (224, 224)})
    >>> lfpw.count("train"), lfpw.title()
    ((805, 811), '300-W, partial: 805 of 811 training faces; test: LFPW half of common')
    """

    folders: dict[str, tuple[int, int]]
    others: int = 0

    def count(self, split: str) -> tuple[int, int]:
        """Faces of a split: present, and in the official set (train: before the leaked ones are left out)."""
        counts = [self.folders[folder] for folder in SPLITS[split] if folder in self.folders]
        return sum(present for present, _ in counts), sum(expected for _, expected in counts)

    def title(self) -> str:
        """What tables call this data set: "300-W" where it is complete, otherwise what there is of it."""
        extra = f"plus {self.others:,} other face{'s' * (self.others > 1)}" if self.others else ""
        if all(present == expected for present, expected in self.folders.values()):
            return "300-W" + (f", {extra}" if extra else "")
        present, expected = self.count("train")
        training = f"{present:,} of {expected:,}" if 0 < present < expected else "all" if present else "no"
        tests = [part for part in (self._common(), self._part("challenging")) if part]
        parts = [f"{training} training faces", f"test: {' and '.join(tests) or 'none'}", *([extra] if extra else [])]
        return f"300-W, partial: {'; '.join(parts)}"

    def _part(self, split: str) -> str:
        present, expected = self.count(split)
        return "" if not present else split if present == expected else f"{present:,} of {expected:,} {split} faces"

    def _common(self) -> str:
        total, expected = self.count("common")
        for folder in SPLITS["common"]:
            if total < expected and self.folders.get(folder) == (total, total):
                return f"{folder.split('/')[0].upper()} half of common"
        return self._part("common")


def coverage(root: str | Path) -> Coverage:
    """Counts the faces of 300-W (a picture and its points) below `root`, by name alone. InputError as `find_root`."""
    place = find_root(root)
    expected = {folder: set() for folder in _SUBSET}
    for name in official_faces():
        expected[name.rpartition("/")[0]].add(match_name(name))
    folders, others = {}, 0
    for folder, official in expected.items():
        present = {match_name(name) for name in scan(place, folder)[0]}
        folders[folder] = (len(present & official), len(official))
        others += len(present - official)
    return Coverage(folders, others)
