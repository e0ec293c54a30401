"""300-W in its official layout, 68 points: AFW, HELEN, LFPW and iBUG; the private test set of 300-W; Masked 300W."""

import csv
import hashlib
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from fa_lib.data.manifests import Manifest
from fa_lib.data.readers import files
from fa_lib.data.readers.files import Inspection, Part, Sample
from fa_lib.errors import InputError

SPLITS = {
    "train": ("afw", "helen/trainset", "lfpw/trainset"),
    "common": ("helen/testset", "lfpw/testset"),
    "challenging": ("ibug",),
    "full": ("helen/testset", "lfpw/testset", "ibug"),
}
PRIVATE = {"test": ("01_Indoor", "02_Outdoor"), "indoor": ("01_Indoor",), "outdoor": ("02_Outdoor",)}
MASKED = {split: folders for split, folders in SPLITS.items() if split != "train"}
FOLDERS = (*SPLITS["train"], *SPLITS["full"])
_SUBSET = {folder: split for split, folders in SPLITS.items() if split != "full" for folder in folders}
_SUBSET |= {folder: split for split, folders in PRIVATE.items() if split != "test" for folder in folders}
_HOLDER_PRIVATE = "01_Indoor/ and 02_Outdoor/, the private test set of 300-W"
_HOLDER_MASKED = "the unpacked archive of Masked 300W, with ibug/ in it"


@cache
def official_faces(listing: str = "300w_files.txt") -> dict[str, int | None]:
    """Official face names (folder/name without suffix) and the size of their pictures in bytes, None where unknown."""
    rows = [
        line.split("\t")
        for line in files.read_bytes(files.MANIFESTS / listing).decode().splitlines()
        if line[:1] not in ("", "#")
    ]
    return {name: int(size[0]) if size else None for name, *size in rows}


@cache
def _annotated_twice() -> tuple[tuple[str, str, float], ...]:
    """Pairs of near-duplicate photographs of one face, and how well they register (ECC, 1 is the same photograph)."""
    rows = csv.DictReader(files.read_bytes(files.MANIFESTS / "300w_twice.csv").decode().splitlines())
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
    what = "holds none of afw/, helen/, lfpw/, ibug/" if files.entries(given) else "is an empty folder"
    raise InputError(f"{given}: {what}; give the folder that holds the unpacked archives of 300-W")


def scan(root: Path, folder: str) -> tuple[dict[str, tuple[Path, Path]], list[str]]:
    """Faces of one folder, name -> (picture, points), and a sentence for each file without its counterpart."""
    pictures: dict[str, Path] = {}
    points: dict[str, Path] = {}
    faults: list[str] = []
    place = files.inside(root, folder)
    for entry in files.entries(place) if place.is_dir() else ():
        suffix = entry.suffix.lower()
        kind = pictures if suffix in files.PICTURES else points if suffix == ".pts" else None
        if kind is not None and entry.is_symlink():
            faults += files.faults_of(files.inside, root, f"{folder}/{entry.name}")
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
                samples.append(Sample(picture, files.read_pts(points), name, _SUBSET[folder], group))
    return samples


def read_300w(root: str | Path, split: str) -> list[Sample]:
    """The faces of a split (train, common, challenging, full) of 300-W: afw, helen, lfpw, ibug, each sorted by name.

    `root` holds afw/, helen/, lfpw/ and ibug/, or holds the folder 300W/ that does. A partial set is read as it is, and so are
    faces with other names; `coverage` says what there is. Left out of training: lfpw/trainset image_0862, image_0828 and
    image_0215, whose photographs are image_0007, image_0096 and image_0066 of lfpw/testset. Points on the border stay.

    Raises InputError for a folder without such faces, a picture or points without its counterpart, and bad `.pts`.
    """
    samples = _read(find_root, root, SPLITS, split, "300-W")
    return [sample for sample in samples if sample.name not in leaked()]


def read_private(root: str | Path, split: str) -> list[Sample]:
    """The faces of the private test set of 300-W: indoor, outdoor or test (both).

    Names say nothing of the photograph, though some hold several faces: each face is a `group` of its own. InputErrors as
    `read_300w`.
    """
    return _read(find_private, root, PRIVATE, split, "the private test set of 300-W")


def read_masked(root: str | Path, split: str) -> list[Sample]:
    """The faces of Masked 300W: common, challenging, full. Points are those of 300-W; InputErrors as `read_300w`."""
    return _read(find_masked, root, MASKED, split, "Masked 300W")


def _read(
    find: Callable[[str | Path], Path], root: str | Path, splits: dict[str, tuple[str, ...]], split: str, title: str
) -> list[Sample]:
    if split not in splits:
        raise InputError(f"split={split!r}: {title} has {', '.join(splits)}")
    place = find(root)
    samples = _samples(place, splits[split])
    if not samples:
        raise InputError(f"{place}: holds no face of split {split}; put pictures and .pts into {', '.join(splits[split])}")
    return samples


def find_private(root: str | Path) -> Path:
    """The folder that holds 01_Indoor/ and 02_Outdoor/, `root` or one below it (300W/, Test/)."""
    try:
        return files.find(root, "02_Outdoor", _HOLDER_PRIVATE).parent
    except InputError:
        return files.find(root, "01_Indoor", _HOLDER_PRIVATE).parent


def find_masked(root: str | Path) -> Path:
    """The folder of Masked 300W, `root` or one below it; InputError for the folder of 300-W itself, whose names are the same."""
    try:
        place = files.find(root, "ibug", _HOLDER_MASKED).parent
    except InputError:  # perhaps only the common faces are there
        place = files.find(root, "helen", _HOLDER_MASKED).parent
    if (place / "afw").is_dir():
        raise InputError(f"{place}: holds afw/, so it is 300-W itself; give the folder that holds {_HOLDER_MASKED}")
    return place


def second_annotations(root: str | Path, *, least: float = 0.995) -> list[tuple[Sample, Sample]]:
    """Pairs of faces on disk that are one face annotated twice, independently: near-duplicate photographs inside 300-W.

    `least` is the smallest ECC, the correlation after registration; 1 is the same photograph, below 0.995 it may be the
    next shot. The photographs of a pair differ in size and crop: register them before comparing the annotations. Pairs
    share faces: average within `group` first. The list is empty where no pair is complete.
    """
    place = find_root(root)
    pairs = [(a, b) for a, b, ecc in _annotated_twice() if ecc >= least]
    wanted = frozenset(name for pair in pairs for name in pair)
    found = {sample.name: sample for sample in _samples(place, FOLDERS, wanted)}
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
    expected = {folder: set() for folder in FOLDERS}
    for name in official_faces():
        expected[name.rpartition("/")[0]].add(match_name(name))
    folders, others = {}, 0
    for folder, official in expected.items():
        present = {match_name(name) for name in scan(place, folder)[0]}
        folders[folder] = (len(present & official), len(official))
        others += len(present - official)
    return Coverage(folders, others)


def inspect(root: Path, manifest: Manifest) -> Inspection:
    """Compares the faces below `root` with the official list: names, points, ends and sizes of pictures."""
    place = find_root(root)
    found = _compare(place, manifest, official_faces(manifest.files))
    note = f"tables call it: {coverage(place).title()}"
    sizes = [(size, official) for size, official in _sizes(place, official_faces(manifest.files)) if official]
    other = sum(size != official for size, official in sizes)
    notes = (
        [f"{other:,} of {len(sizes):,} pictures differ in size from the official files: cut or encoded again"] if other else []
    )
    return Inspection(found.parts, found.faults, (note, *notes))


def inspect_private(root: Path, manifest: Manifest) -> Inspection:
    """Compares the faces of the private test set below `root` with their names, which are numbers from 001 to 300."""
    kinds = (("01_Indoor", "indoor"), ("02_Outdoor", "outdoor"))
    return _compare(find_private(root), manifest, [f"{folder}/{kind}_{i:03}" for folder, kind in kinds for i in range(1, 301)])


def inspect_masked(root: Path, manifest: Manifest) -> Inspection:
    """Compares the faces of Masked 300W below `root` with the test faces of 300-W, whose names they bear."""
    place = find_masked(root)
    official = official_faces(manifest.files)
    found = _compare(place, manifest, official)
    unmasked = sum(size == known for size, known in _sizes(place, official))
    faults = (f"{place}: {unmasked:,} pictures have the size of 300-W's own: they are not masked",) if unmasked else ()
    return Inspection(found.parts, found.faults + faults, found.notes)


def _compare(place: Path, manifest: Manifest, names: Iterable[str]) -> Inspection:
    """Faces below `place` against the official names; points are read, of pictures the ends."""
    parts, faults = [], []
    for folder in dict.fromkeys(folder for split in manifest.splits.values() for folder in split.folders):
        faces, alone = scan(place, folder)
        official = {match_name(name): name for name in names if name.rpartition("/")[0] == folder}
        present = {match_name(name): name for name in faces}
        missing = tuple(name for key, name in official.items() if key not in present)
        unexpected = tuple(name for key, name in present.items() if key not in official)
        parts.append(Part(folder, len(official) - len(missing), len(official), missing, unexpected))
        faults += alone
        for picture, points in faces.values():
            faults += files.faults_of(files.check_picture, picture) + files.faults_of(files.read_pts, points, manifest.scheme)
    return Inspection(tuple(parts), tuple(faults))


def _sizes(place: Path, official: dict[str, int | None]) -> list[tuple[int, int | None]]:
    """Size in bytes of each picture below `place`, and of the official one."""
    known = {match_name(name): size for name, size in official.items()}
    faces = {name: picture for folder in FOLDERS for name, (picture, _) in scan(place, folder)[0].items()}
    return [(picture.stat().st_size, known.get(match_name(name))) for name, picture in faces.items()]


def check_content(root: Path, manifest: Manifest) -> Inspection:
    """Compares the sha256 of pictures of 300-W with the manifest's table: a fault where the size agrees and the sum does not."""
    place = find_root(root)
    rows = [line.split("\t") for line in files.read_lines(files.MANIFESTS / manifest.checksums) if not line.startswith("#")]
    same, sized, faults = 0, 0, []
    for name, sha256, size in rows:
        path = files.inside(place, name)
        if path.is_file() and path.stat().st_size == int(size):
            sized += 1
            equal = hashlib.sha256(files.read_bytes(path)).hexdigest() == sha256
            same += equal
            faults += [] if equal else [f"{path}: has the official size, but other content (sha256); copy or download it again"]
    others = f"{len(rows) - sized:,} are absent or of another size"
    note = f"sha256: {same:,} of {len(rows):,} known pictures are the official files, {others}"
    return Inspection((), tuple(faults), (note,))
