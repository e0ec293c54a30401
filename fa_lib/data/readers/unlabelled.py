"""Large sets read without landmarks, for training that needs none: CelebA, AffectNet, VGGFace2.

Each has lists with a row per picture, up to three million, so lists are read by pandas and folders by one walk. Pictures that
are listed but not there are passed over: a part of a set can be used. `box` says where the face is.
"""

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from fa_lib.data.manifests import Manifest
from fa_lib.data.readers import files
from fa_lib.data.readers.files import Inspection, Part, Sample
from fa_lib.errors import InputError

SPLITS_CELEBA = ("train", "valid", "test")  # 0, 1 and 2 in list_eval_partition.txt
SPLITS_AFFECTNET = ("train", "validation")
SPLITS_VGGFACE2 = ("train", "test")
CHECKED = 4000  # pictures whose ends `inspect` reads: a draw from larger sets

_NONE = np.empty((0, 2))  # the landmarks of every sample here
_ALIGNED = (178, 218)  # width and height of CelebA's aligned pictures
_AFFECTNET = (
    "subDirectory_filePath", "face_x", "face_y", "face_width", "face_height", "facial_landmarks", "expression", "valence",
    "arousal",
)  # fmt: skip


def read_celeba(root: str | Path, split: str) -> list[Sample]:
    """The aligned pictures of a split (train, valid, test) of CelebA, in the order of its list.

    `root` holds img_align_celeba/, list_landmarks_align_celeba.txt and list_eval_partition.txt, or the official folders Img/,
    Anno/ and Eval/ that do. The group is the person where identity_CelebA.txt is there, else the picture. `box` is derived
    from the picture's own five points (see `box_of_five_points`); list_bbox_celeba.txt is for other pictures and not used. Where
    MAFL/testing.txt is there, its pictures are left out of training, of which they are a part.

    Raises InputError for an unknown split, missing or inconsistent lists, and a folder without pictures.
    """
    return _samples(Path(root).expanduser(), _celeba(Path(root).expanduser(), split))


def read_affectnet(root: str | Path, split: str) -> list[Sample]:
    """The faces of a split (train, validation) of AffectNet: rows with expression below 8 and face_width above 0.

    `root` holds Manually_Annotated_Images/, training.csv and validation.csv (or Manually_Annotated_file_lists/ with the lists).
    `box` is the list's. Its 68 points are a program's, no ground truth, and are not read. InputErrors as `read_celeba`.
    """
    return _samples(Path(root).expanduser(), _affectnet(Path(root).expanduser(), split))


def read_vggface2(root: str | Path, split: str) -> list[Sample]:
    """The faces of a split (train, test) of VGGFace2 whose box is higher than 100 px.

    `root` holds train/, test/ and bb_landmark/loose_bb_train.csv, loose_bb_test.csv. `box` is the list's, extended by 5 % of its
    height above and 10 % below, as 3FabRec does; the group is the person. InputErrors as `read_celeba`.
    """
    return _samples(Path(root).expanduser(), _vggface2(Path(root).expanduser(), split))


def box_of_five_points(points: np.ndarray) -> np.ndarray:
    """Boxes (N, 4), x0 y0 x1 y1, that resemble those of 68 landmarks, from (N, 5, 2): eyes, nose, corners of the mouth.

    With d the distance of the eyes and v the way from between them to between the mouth's corners, the box is centred at 0.65 v
    and has the side 1.15 (d + |v|): medians over AFW and LFPW's training faces. A turned face keeps |v| where d shrinks.

    >>> box_of_five_points(np.array([[[40, 50], [80, 50], [60, 70], [45, 90], [75, 90]]])).tolist()
    [[14.0, 30.0, 106.0, 122.0]]
    """
    eyes, mouth = points[:, :2].mean(1), points[:, 3:].mean(1)
    way = mouth - eyes
    side = 1.15 * (np.linalg.norm(points[:, 1] - points[:, 0], axis=1) + np.linalg.norm(way, axis=1))
    centre = eyes + 0.65 * way
    return np.hstack([centre - side[:, None] / 2, centre + side[:, None] / 2])


@dataclass(frozen=True)
class _List:
    """The faces of a split as its list names them: file (below the folder of pictures), name and group of each, boxes (N, 4)."""

    folder: str
    subset: str
    files: pd.Series
    names: pd.Series
    groups: pd.Series
    boxes: np.ndarray
    notes: tuple[str, ...] = ()


class _NoList(InputError):
    """A split's list is not there."""


def _celeba(root: Path, split: str) -> _List:
    _check(root, split, SPLITS_CELEBA, "CelebA")
    points = _listed(_find(root, "Anno", "list_landmarks_align_celeba.txt"), 11)
    partition = _listed(_find(root, "Eval", "list_eval_partition.txt"), 2)
    if list(points[0]) != list(partition[0]):
        raise InputError(f"{root}: list_landmarks_align_celeba.txt and list_eval_partition.txt name other pictures")
    chosen = (partition[1] == SPLITS_CELEBA.index(split)).to_numpy()
    notes, mafl = [], root / "MAFL" / "testing.txt"
    if split == "train" and mafl.is_file():
        overlap = points[0].isin(files.read_bytes(mafl).decode(errors="replace").split()).to_numpy() & chosen
        chosen = chosen & ~overlap
        notes.append(f"{overlap.sum():,} of the training pictures are test faces of MAFL and are left out")
    five = points.loc[chosen, 1:].to_numpy(np.float64).reshape(-1, 5, 2)
    outside = ((five < 0) | (five > _ALIGNED)).any((1, 2))
    if outside.any():
        name = points[0][chosen].iloc[int(outside.argmax())]
        raise InputError(
            f"{root}: the points of {name} lie outside its {_ALIGNED[0]} x {_ALIGNED[1]} px; list_landmarks_celeba.txt is for "
            "the pictures in the wild, the aligned ones need list_landmarks_align_celeba.txt"
        )
    listed = points[0][chosen]
    names = _stem(listed)
    groups = names
    for path in (root / "identity_CelebA.txt", root / "Anno" / "identity_CelebA.txt"):
        if path.is_file():
            rows = _table(path, sep=r"\s+", header=None, names=["file", "person"], dtype=str).dropna()
            people = dict(zip(rows["file"], "person " + rows["person"]))
            groups = pd.Series([people.get(file, name) for file, name in zip(listed, names)], listed.index)
    folder = "img_align_celeba" if (root / "img_align_celeba").is_dir() else "Img/img_align_celeba"
    return _List(folder, split, listed, names, groups, box_of_five_points(five), tuple(notes))


def _affectnet(root: Path, split: str) -> _List:
    _check(root, split, SPLITS_AFFECTNET, "AffectNet")
    path = _find(root, "Manually_Annotated_file_lists", {"train": "training.csv", "validation": "validation.csv"}[split])
    first = files.read_bytes(path)[:2000].decode("utf-8-sig", errors="replace")
    named = first.startswith(_AFFECTNET[0])
    columns = [_AFFECTNET[i] for i in (0, 1, 2, 3, 4, 6)]
    rows = _table(path, usecols=columns, dtype=str, **({} if named else {"header": None, "names": _AFFECTNET}))
    numbers = _numbers(rows, columns[1:], path, 2 if named else 1)
    chosen = ((numbers["expression"] < 8) & (numbers["face_width"] > 0)).to_numpy()
    x, y, width, height = (numbers[key].to_numpy(np.float64)[chosen] for key in columns[1:5])
    listed = rows[columns[0]][chosen]
    names = _stem(listed)
    note = f"{split}: {len(chosen) - chosen.sum():,} of {len(chosen):,} rows are no faces and are not read"
    boxes = np.stack([x, y, x + width, y + height], 1)
    return _List("Manually_Annotated_Images", split, listed, names, names, boxes, (note,))


def _vggface2(root: Path, split: str) -> _List:
    _check(root, split, SPLITS_VGGFACE2, "VGGFace2")
    path = _find(root, "bb_landmark", f"loose_bb_{split}.csv")
    rows = _table(path, usecols=["NAME_ID", "X", "Y", "W", "H"], dtype={"NAME_ID": str})
    numbers = _numbers(rows, ["X", "Y", "W", "H"], path, 2)
    chosen = (numbers["H"] > 100).to_numpy()
    x, y, width, height = (numbers[key].to_numpy(np.float64)[chosen] for key in "XYWH")
    names = rows["NAME_ID"][chosen]
    boxes = np.stack([x, y - 0.05 * height, x + width, y + 1.1 * height], 1)
    note = f"{split}: {len(chosen) - chosen.sum():,} of {len(chosen):,} boxes are not higher than 100 px and are not read"
    return _List(split, split, names + ".jpg", names, names.str.split("/").str[0], boxes, (note,))


def _stem(listed: pd.Series) -> pd.Series:
    return listed.str.replace(r"\.\w+$", "", regex=True)


def _check(root: Path, split: str, splits: tuple[str, ...], title: str) -> None:
    if not root.is_dir():
        what = "is a file" if root.exists() else "there is no such folder"
        raise InputError(f"{root}: {what}; give the folder that holds {title}")
    if split not in splits:
        raise InputError(f"split={split!r}: {title} has {', '.join(splits)}")


def _find(root: Path, folder: str, name: str) -> Path:
    found = next((path for path in (root / name, root / folder / name) if path.is_file()), None)
    if found is None:
        raise _NoList(f"{root}: holds neither {name} nor {folder}/{name}; give the folder with the lists of the set")
    return found


def _table(path: Path, **options) -> pd.DataFrame:
    """A list as pandas reads it, missing values as empty text where columns are text."""
    try:
        return pd.read_csv(path, encoding="utf-8-sig", keep_default_na=False, **options)
    except (ValueError, OSError, pd.errors.ParserError) as error:
        raise InputError(f"{path}: cannot be read as a list of this set ({' '.join(str(error).split())})") from None


def _listed(path: Path, columns: int) -> pd.DataFrame:
    """A list of CelebA: name and whole numbers; in the longer one a count and column names come first."""
    head = files.read_bytes(path)[:400].decode("utf-8-sig", errors="replace").splitlines()
    first = head[0].strip() if head else ""
    count = int(first) if first.isdecimal() and len(first) < 10 else None
    above = sum(not line.split()[0].endswith(".jpg") for line in head[:2] if line.split())
    rows = _table(path, sep=r"\s+", header=None, skiprows=above, dtype={0: str})
    if rows.shape[1] != columns or not all(pd.api.types.is_numeric_dtype(rows[i]) for i in range(1, columns)):
        raise InputError(f"{path}: a row is a picture's name and {columns - 1} numbers; unpack or download the list again")
    if count is not None and count != len(rows):
        raise InputError(f"{path}: says that it lists {count:,} pictures, but {len(rows):,} follow; download it again")
    return rows


def _numbers(rows: pd.DataFrame, columns: list[str], path: Path, first: int) -> pd.DataFrame:
    """Columns as numbers; InputError names the line of the first that is none (`first`: the line of row 0)."""
    try:
        numbers = rows[columns].apply(pd.to_numeric, errors="coerce")
    except OverflowError:  # a whole number of 400 digits, which pandas does not coerce
        numbers = rows[columns].astype(str).apply(lambda text: pd.to_numeric(text.where(text.str.len() < 300), errors="coerce"))
    bad = ~np.isfinite(numbers.to_numpy(np.float64)).all(1)
    if bad.any():
        row = int(bad.argmax())
        raise InputError(f"{path}: line {row + first} has no number where {', '.join(columns)} must be numbers")
    return numbers


# pictures on disk


def _present(root: Path, faces: _List) -> np.ndarray:
    """Which of the listed pictures are there, (N,) bool, from one walk through their folder.

    InputError for listed paths that are absolute or hold '..', and for links that lead out of `root`.
    """
    listed = faces.files.str.replace("\\", "/", regex=False)
    for name in listed[listed.str.contains(r"^/|^\w:|(?:^|/)\.\.(?:/|$)", regex=True)]:
        files.inside(root / faces.folder, name)
    there: set[str] = set()
    pending = [""]
    while pending:
        folder = pending.pop()
        place = files.inside(root, faces.folder + "/" + folder)
        for entry in os.scandir(place) if place.is_dir() else ():
            name = folder + entry.name
            if entry.is_symlink():
                files.inside(root, f"{faces.folder}/{name}")
            if entry.is_dir():
                pending.append(name + "/")
            else:
                there.add(name)
    return listed.isin(there).to_numpy()


def _samples(root: Path, faces: _List) -> list[Sample]:
    present = _present(root, faces)
    place = root / faces.folder
    if not present.any():
        raise InputError(f"{place}: holds none of the {len(present):,} listed pictures; unpack the pictures of the set there")
    columns = (column[present].to_list() for column in (faces.files, faces.names, faces.groups))
    return [
        Sample(place / file, _NONE, name, faces.subset, group, box=box)
        for file, name, group, box in zip(*columns, faces.boxes[present], strict=True)
    ]


def _inspect(lists: Callable[[Path, str], _List], root: Path, manifest: Manifest) -> Inspection:
    """Compares lists and pictures: every name, and the ends of at most 4,000 pictures a split."""
    parts, faults, notes, absent = [], [], [], []
    for split, official in manifest.splits.items():
        try:
            faces = lists(root, split)
        except _NoList as error:
            absent.append(error)
            parts.append(Part(split, 0, official.expected or 1, ("its list",)))
            continue
        present = _present(root, faces)
        parts.append(Part(split, int(present.sum()), len(present), tuple(faces.names[~present])))
        found = faces.files[present].to_numpy()
        notes += faces.notes
        if official.expected and len(present) != official.expected:
            notes.append(f"{split}: the list has {len(present):,} faces, {official.expected:,} are known from publications")
        if len(found) > CHECKED:
            notes.append(f"{split}: the ends of {CHECKED:,} pictures were read, not of all")
            found = np.random.default_rng(0).choice(found, CHECKED, replace=False)
        faults += [fault for name in found for fault in files.faults_of(files.check_picture, root / faces.folder / name)]
    if len(absent) == len(parts):
        raise absent[0]
    return Inspection(tuple(parts), tuple(faults), tuple(notes))


inspect_celeba = partial(_inspect, _celeba)
inspect_affectnet = partial(_inspect, _affectnet)
inspect_vggface2 = partial(_inspect, _vggface2)


def check_lists_celeba(root: Path, manifest: Manifest) -> Inspection:
    """Compares the md5 of CelebA's lists, where they are, with the manifest's; the archive of pictures is gone once unpacked."""
    faults, same = [], 0
    for archive in manifest.archives:
        name = archive.holds.split()[0]
        for path in (root / folder / name for folder in ("", "Anno", "Eval")):
            if name.endswith(".txt") and path.is_file():
                equal = "md5:" + hashlib.md5(files.read_bytes(path)).hexdigest() == archive.checksum
                same += equal
                faults += [] if equal else [f"{path}: is not the official list ({archive.checksum}); download it again"]
    return Inspection((), tuple(faults), (f"md5: {same} lists are the official files",))
