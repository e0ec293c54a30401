"""A user's own faces: a folder of pictures with points in .pts files, one CSV or COCO keypoint JSON, described by a manifest.

data_manifests/template.yaml explains every key of the manifest. All paths are relative to the manifest's folder and stay below
it. Points come out 0-based with pixel centres at integers. COCO counts keypoints in pixels from 0, which is the same, and
measures boxes from the picture's corner, so half a pixel is taken off a box.
"""

import csv
import hashlib
import io
import json
import warnings
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from fa_lib.data import symmetry
from fa_lib.data.manifests import parse_yaml
from fa_lib.data.readers.files import PICTURES, Sample, inside, read_bytes, read_pts
from fa_lib.errors import InputError, suggest
from fa_lib.landmarks import Scheme

SPLITS = ("train", "test")
KEYS = {
    "name": (str,), "title": (str,), "format": (str,), "pictures": (str,), "annotations": (str, dict), "test_share": (float,),
    "landmarks": (int,), "flip": (list,), "normaliser": (list, str), "index_base": (int,), "regions": (dict,), "columns": (list,),
}  # fmt: skip
OPTIONAL = ("annotations", "test_share", "regions", "columns")
SPELT = {str: "text", dict: "a mapping", float: "a number such as 0.2", int: "a whole number", list: "a list"}


@dataclass(frozen=True)
class Own:
    """A checked manifest. `annotations`: split -> file, or folder of .pts; "" stands for all faces, some of which test."""

    source: str
    name: str
    title: str
    format: str
    pictures: Path
    annotations: dict[str, Path]
    test_share: float
    scheme: Scheme
    index_base: int
    columns: tuple[str, ...] = field(default=())


def is_manifest(data: str | None) -> bool:
    """Whether what a user named as data is a manifest of own faces, rather than a folder or a known set."""
    return data is not None and data.endswith((".yaml", ".yml"))


def describe(path: str | Path) -> Own:
    """The manifest at `path`, checked: known keys, a flip that undoes itself, points in range; InputError names the key."""
    path = Path(path).expanduser()
    if not path.is_file():
        raise InputError(f"{path}: there is no such manifest; copy data_manifests/template.yaml and describe your faces in it")
    given = parse_yaml(_text(path), str(path))
    if not isinstance(given, dict):
        raise InputError(f"{path}: must be a mapping of keys to values, as data_manifests/template.yaml is")
    for key, value in given.items():
        if key not in KEYS:
            raise InputError(f"{path}: unknown key {key!r}{suggest(str(key), KEYS)}; known are {', '.join(KEYS)}")
        if type(value) not in KEYS[key]:
            raise InputError(f"{path}: {key} is {value!r}, but must be {' or '.join(SPELT[kind] for kind in KEYS[key])}")
    for key in KEYS:
        if key not in given and key not in OPTIONAL:
            raise InputError(f"{path}: the key {key!r} is missing; data_manifests/template.yaml says what it means")
    for key, choices in {"format": ("pts", "csv", "coco"), "index_base": (0, 1)}.items():
        if given[key] not in choices:
            raise InputError(f"{path}: {key} is {given[key]!r}; choose {' or '.join(map(str, choices))}")
    if not given["name"].replace("-", "").replace("_", "").isalnum():
        raise InputError(f"{path}: name is {given['name']!r}; it becomes a folder's, so write letters, digits, - and _ alone")
    pictures = inside(path.parent, given["pictures"])
    if not pictures.is_dir():
        raise InputError(f"{pictures}: there is no such folder; 'pictures' in {path.name} must name the folder of the pictures")
    scheme, columns = _scheme(given, str(path)), tuple(map(str, given.get("columns", ())))
    if columns and len(columns) != 1 + 2 * scheme.count:
        raise InputError(
            f"{path}: columns has {len(columns)} names, but 1 picture and {scheme.count} points need {1 + 2 * scheme.count}"
        )
    annotations, share = _annotations(given, path, pictures), given.get("test_share", 0.0)
    kept = {key: given[key] for key in ("name", "title", "format", "index_base")}
    return Own(str(path), **kept, pictures=pictures, annotations=annotations, test_share=share, scheme=scheme, columns=columns)


def _annotations(given: dict, path: Path, pictures: Path) -> dict[str, Path]:
    """Where the annotations of each split lie, or of all faces (key "") where a share is cut off as test."""
    named, share = given.get("annotations"), given.get("test_share")
    base = pictures if given["format"] == "pts" else path.parent
    if isinstance(named, dict):
        if sorted(named) != sorted(SPLITS) or not all(isinstance(name, str) for name in named.values()) or share is not None:
            raise InputError(f"{path}: annotations must name train and test, without test_share, or one file with test_share")
        found = {split: inside(base, named[split]) for split in SPLITS}
        if found["train"].resolve() == found["test"].resolve():
            raise InputError(f"{path}: annotations of train and test are the same file; give one file and test_share instead")
    else:
        if named is None and given["format"] != "pts":
            raise InputError(f"{path}: the key 'annotations' is missing; it names the {given['format'].upper()} file")
        if share is None or not 0 < share < 1:
            raise InputError(f"{path}: test_share is {share!r}, but must say which share of the pictures is for testing, as 0.2")
        found = {"": pictures if named is None else inside(base, named)}
    for place in found.values():
        if not (place.is_dir() if given["format"] == "pts" else place.is_file()):
            raise InputError(
                f"{place}: there is no such {'folder' if given['format'] == 'pts' else 'file'}; {path.name} names it"
            )
    return found


def _scheme(given: dict, source: str) -> Scheme:
    count, flip, normaliser = given["landmarks"], given["flip"], given["normaliser"]
    if count < 1:
        raise InputError(f"{source}: landmarks is {count}, but a face has at least 1")
    regions = {str(name): _indices(ids, count, f"{source}: regions: {name}") for name, ids in given.get("regions", {}).items()}
    used = Counter(i for ids in regions.values() for i in ids)
    if twice := [i for i, times in used.items() if times > 1]:
        raise InputError(f"{source}: regions name point {twice[0]} more than once, but each point belongs to one region")
    if rest := tuple(i for i in range(count) if i not in used):
        regions["other" if regions else "points"] = rest
    if all(isinstance(pair, list) for pair in flip):
        order = list(range(count))
        for pair in flip:
            a, b = _indices(pair, count, f"{source}: flip", 2)
            if order[a] != a or order[b] != b:
                raise InputError(
                    f"{source}: flip names point {a if order[a] != a else b} in two pairs, but each has one mirror image"
                )
            order[a], order[b] = b, a
    else:
        order = _indices(flip, count, f"{source}: flip", count)
        if wrong := [i for i in range(count) if order[order[i]] != i]:
            i = wrong[0]
            raise InputError(
                f"{source}: flip sends point {i} to {order[i]}, but {order[i]} to {order[order[i]]}; mirrored twice, each point "
                "must be itself again"
            )
    if isinstance(normaliser, str) and normaliser != "box":
        raise InputError(f"{source}: normaliser is {normaliser!r}; write box, or two points as [0, 1]")
    if normaliser == "box":
        return Scheme(count, tuple(order), None, None, regions, "box")
    a, b = _indices(normaliser, count, f"{source}: normaliser", 2)
    if a == b:
        raise InputError(f"{source}: normaliser is [{a}, {b}], but must be two different points")
    return Scheme(count, tuple(order), (a, b), None, regions)


def _indices(given: Any, count: int, where: str, length: int | None = None) -> tuple[int, ...]:
    """Point numbers, checked; `length` says how many there must be."""
    if not isinstance(given, list) or (length is not None and len(given) != length):
        raise InputError(f"{where}: {given!r} must be a list of {'points' if length is None else f'{length} points'}")
    for i in given:
        if type(i) is not int or not 0 <= i < count:
            raise InputError(f"{where}: names point {i!r}, but points are numbered from 0 to {count - 1}")
    return tuple(given)


@dataclass(frozen=True, eq=False)
class _Row:
    """One face of an annotation file; `where` is what a complaint about it begins with."""

    where: str
    picture: str
    points: np.ndarray
    visible: np.ndarray | None = None
    box: np.ndarray | None = None


def read(own: Own, split: str) -> list[Sample]:
    """The faces of a split, "train" or "test". InputError names the file and what is wrong with it.

    Warns where the mean of the training faces is no mirror image of itself: the flip is wrong, or all heads turn to one side.
    """
    if split not in SPLITS:
        raise InputError(f"split={split!r}: {own.source} has train and test")
    found = {part: _samples(own, place, part or "all") for part, place in own.annotations.items()}
    if "" in found:
        pictures = sorted({s.group for s in found[""]}, key=lambda group: hashlib.sha256(group.encode()).digest())
        if len(pictures) < 2:
            raise InputError(f"{own.source}: holds one picture, but train and test need one each")
        test = set(pictures[: min(max(1, round(own.test_share * len(pictures))), len(pictures) - 1)])
        samples = [replace(s, subset=split) for s in found[""] if (s.group in test) == (split == "test")]
    else:
        if both := {s.path.resolve() for s in found["train"]} & {s.path.resolve() for s in found["test"]}:
            raise InputError(f"{sorted(both)[0]}: is in train and in test, so the test would be no test; take it out of one")
        samples = found[split]
    if split == "train" and (complaint := symmetry.reflect(np.stack([s.landmarks for s in samples]), own.scheme).complaint()):
        warnings.warn(f"{own.source}: {complaint}", stacklevel=2)
    return samples


def _samples(own: Own, place: Path, subset: str) -> list[Sample]:
    rows = {"pts": _pts, "csv": _csv, "coco": _coco}[own.format](own, place)
    if not rows:
        raise InputError(f"{place}: holds no face")
    seen: Counter[str] = Counter()
    known: dict[tuple[str, bytes], str] = {}
    samples = []
    for row in rows:
        path = inside(own.pictures, row.picture)
        if not path.is_file():
            raise InputError(f"{row.where}: there is no picture {path}")
        if not np.isfinite(row.points).all():
            raise InputError(f"{row.where}: point {int(np.flatnonzero(~np.isfinite(row.points).all(1))[0])} is not a number")
        if (first := known.setdefault((row.picture, row.points.tobytes()), row.where)) is not row.where:
            raise InputError(f"{row.where}: is the same face as {first}; keep one of them")
        points = row.points - own.index_base
        if len(points) > 1 and np.ptp(points, axis=0).max() < 2:
            raise InputError(
                f"{row.where}: all points lie within {np.ptp(points, axis=0).max():.2g} pixels; points must be in pixels"
            )
        ends = own.scheme.outer_eyes
        if ends and np.allclose(*points[list(ends)]):
            raise InputError(f"{row.where}: points {ends[0]} and {ends[1]}, the normaliser, lie on each other")
        seen[row.picture] += 1
        name = Path(row.picture).with_suffix("").as_posix() + (f"#{seen[row.picture]}" if seen[row.picture] > 1 else "")
        samples.append(Sample(path, points, name, subset, row.picture, row.visible, box=row.box))
    return samples


def _pts(own: Own, folder: Path) -> list[_Row]:
    """Every picture below a folder, with the .pts of the same name beside it."""
    files = [file for file in sorted(folder.rglob("*")) if not any(p.startswith(".") for p in file.relative_to(folder).parts)]
    points = {file.with_suffix(""): file for file in files if file.suffix.lower() == ".pts"}
    pictures: dict[Path, Path] = {}
    for file in (file for file in files if file.suffix.lower() in PICTURES):
        if (first := pictures.setdefault(file.with_suffix(""), file)) is not file:
            raise InputError(f"{file}: {first.name} beside it has the same name; keep one of them")
    if alone := sorted(points.keys() ^ pictures.keys()):
        lacking = ".pts" if alone[0] in pictures else "picture"
        raise InputError(f"{(pictures | points)[alone[0]]}: there is no {lacking} of that name beside it")
    rows = []
    for stem, file in points.items():
        inside(own.pictures, file.relative_to(own.pictures).as_posix())
        picture = pictures[stem].relative_to(own.pictures).as_posix()
        rows.append(_Row(str(file), picture, read_pts(file, own.scheme.count) + 1))
    return rows


def _csv(own: Own, file: Path) -> list[_Row]:
    """One face a line: the picture's name, then x and y of each point."""
    count = own.scheme.count
    columns = own.columns or ("image", *(f"{axis}{i}" for i in range(count) for axis in "xy"))
    lines = _lines(file)
    _, header = next(lines, ("", []))
    header = [name.strip() for name in header]
    if absent := [name for name in columns if name not in header]:
        raise InputError(f"{file}: has no column {absent[0]!r}; its header is {','.join(header[:6])}...")
    at, rows = [header.index(name) for name in columns], []
    for where, line in lines:
        if not any(cell.strip() for cell in line):
            continue
        if len(line) != len(header):
            raise InputError(f"{where}: has {len(line)} values, but the header names {len(header)} columns")
        try:
            points = np.array([float(line[i]) for i in at[1:]]).reshape(count, 2)
        except ValueError as error:
            raise InputError(f"{where}: a coordinate is not a number ({error})") from None
        rows.append(_Row(where, line[at[0]].strip(), points))
    return rows


def _lines(file: Path) -> Iterator[tuple[str, list[str]]]:
    """The lines of a CSV file, each with what a complaint about it begins with."""
    lines = csv.reader(io.StringIO(_text(file), newline=""))
    try:
        for line in lines:
            yield f"{file}, line {lines.line_num}", line
    except csv.Error as error:
        raise InputError(f"{file}, line {lines.line_num}: is no line of a CSV file ({error})") from None


def _coco(own: Own, file: Path) -> list[_Row]:
    """COCO keypoint JSON: images with id and file_name; annotations with image_id, keypoints x y v ... and perhaps bbox."""
    content = _json(file)
    try:
        images = {image["id"]: image["file_name"] for image in content["images"]}
        if not all(isinstance(name, str) for name in images.values()):
            raise TypeError("a file_name is no text")
        twice = Counter(images.values()).most_common(1)
        if len(images) < len(content["images"]) or (twice and twice[0][1] > 1):
            raise InputError(f"{file}: two of its images have the same id or file_name")
        annotations = [
            (a.get("id", n), images[a["image_id"]], a["keypoints"], a.get("bbox")) for n, a in enumerate(content["annotations"])
        ]
    except (KeyError, TypeError, AttributeError) as error:
        raise InputError(
            f"{file}: is no COCO keypoint file ({error!r}); it needs images with id and file_name, and annotations with "
            "keypoints and image_id, the id of one of the images"
        ) from None
    rows, count = [], own.scheme.count
    for number, picture, keypoints, bbox in annotations:
        where = f"{file}, annotation {number} of {picture}"
        if not isinstance(keypoints, list) or len(keypoints) != 3 * count:
            raise InputError(f"{where}: keypoints must be {3 * count} numbers, x y v for each of {count} landmarks")
        values = _numbers(keypoints, where).reshape(count, 3)
        if not np.isin(values[:, 2], (0, 1, 2)).all():
            raise InputError(f"{where}: a keypoint's flag v is not 0, 1 or 2")
        if (values[:, 2] == 0).any():
            blank = int(np.flatnonzero(values[:, 2] == 0)[0])
            raise InputError(f"{where}: keypoint {blank} is not labelled (v is 0); label all of them, or leave the face out")
        box = None if bbox is None else _numbers(bbox, where)
        if box is not None and (box.shape != (4,) or not (box[2:] > 0).all()):
            raise InputError(f"{where}: bbox is {bbox}, but must be x, y, width and height, both above 0")
        corners = None if box is None else np.concatenate([box[:2], box[:2] + box[2:]]) - own.index_base - 0.5
        rows.append(_Row(where, picture, values[:, :2].copy(), values[:, 2] == 2, corners))
    return rows


def _json(file: Path) -> Any:
    text = _text(file)
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise InputError(f"{file}: is not JSON ({error.msg} in line {error.lineno})") from None
    except (ValueError, RecursionError) as error:  # a number of 5,000 digits, a list in a list in a list ...
        raise InputError(f"{file}: is no JSON that can be read ({error})") from None


def _text(file: Path) -> str:
    try:
        return read_bytes(file).decode("utf-8-sig")
    except UnicodeDecodeError:
        raise InputError(f"{file}: is not a text file in UTF-8") from None


def _numbers(values: Any, where: str) -> np.ndarray:
    try:
        return np.array(values, np.float64)
    except (TypeError, ValueError, OverflowError):  # the last: a whole number of 400 digits
        raise InputError(f"{where}: {str(values)[:60]} holds something that is not a number") from None
