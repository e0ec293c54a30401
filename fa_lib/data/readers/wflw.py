"""WFLW: 98 points, six overlapping subsets by attribute; a line of a list is a face."""

from collections import Counter
from functools import partial
from pathlib import Path

import numpy as np

from fa_lib.data.manifests import Manifest
from fa_lib.data.readers import files
from fa_lib.data.readers.files import Inspection, Part, Sample
from fa_lib.errors import InputError

SPLITS = ("train", "test")
ATTRIBUTES = ("pose", "expression", "illumination", "makeup", "occlusion", "blur")  # in the order of a line's flags
_HOLDER = "WFLW_images/ and WFLW_annotations/, the unpacked archives of WFLW"
_LISTS = "list_98pt_rect_attr_train_test"


def read(root: str | Path, split: str) -> list[Sample]:
    """The faces of a split (train, test) of WFLW in the order of its list; faces whose picture is absent are left out.

    Points and boxes are taken as they are: 0-based, and a point may lie outside the picture. The boxes of the list are too
    small or beside the face for several hundred faces: cut by the points. The second face of a photograph is called
    `<name>#2`. Raises InputError for another folder, a bad line, a path that leaves WFLW_images/, and where no picture is there.
    """
    if split not in SPLITS:
        raise InputError(f"split={split!r}: WFLW has {', '.join(SPLITS)}")
    samples = [sample for sample in listed(root, split) if sample.path.is_file()]
    if not samples:
        raise InputError(
            f"{files.find(root, 'WFLW_images', _HOLDER)}: holds no picture of split {split}; unpack WFLW_images.tar.gz there"
        )
    return samples


def listed(root: str | Path, split: str) -> list[Sample]:
    """The faces of a split's list, whether their pictures are there or not; InputErrors as `read`."""
    pictures = files.find(root, "WFLW_images", _HOLDER)
    path = _list(root, f"{_LISTS}/list_98pt_rect_attr_{split}.txt")
    faces, samples = Counter(), []
    for number, line in enumerate(files.read_lines(path), start=1):
        values, name = parse_line(line, f"{path}: line {number}")
        faces[name] += 1
        stem = name.rpartition(".")[0]
        samples.append(
            Sample(
                files.inside(pictures, name),
                values[:196].reshape(98, 2),
                stem if faces[name] == 1 else f"{stem}#{faces[name]}",
                split,
                stem,
                attributes=tuple(attribute for attribute, flag in zip(ATTRIBUTES, values[200:]) if flag),
                box=values[196:200],
            )
        )
    return samples


def parse_line(line: str, source: str) -> tuple[np.ndarray, str]:
    """The 206 numbers of a line, float64, and its picture's name; InputErrors begin with `source`."""
    fields = line.split()
    if len(fields) != 207:
        raise InputError(
            f"{source} has {len(fields)} fields, but 207 are expected: 98 x and y, a box, six attributes and the picture's name"
        )
    values = _floats(fields[:206], source)
    if not all(flag in ("0", "1") for flag in fields[200:206]):
        raise InputError(f"{source}: the attributes are {' '.join(fields[200:206])}, but each must be 0 or 1")
    if Path(fields[206]).suffix.lower() not in files.PICTURES:
        raise InputError(f"{source} ends in {fields[206]!r}, but the name of a picture is expected: the list is cut off")
    return values, fields[206]


def _floats(fields: list[str], source: str) -> np.ndarray:
    try:
        values = np.array(fields, np.float64)
    except ValueError as error:
        raise InputError(f"{source}: a field is not a number ({error})") from None
    if not np.isfinite(values).all():
        raise InputError(f"{source}: a number is not finite")
    return values


def _list(root: str | Path, name: str) -> Path:
    return files.inside(files.find(root, "WFLW_annotations", _HOLDER), name)


def subset_keys(root: str | Path, attribute: str) -> set[tuple[float, str]] | None:
    """The faces of a subset file (196 coordinates and a name a line), as (first coordinate, name); None where it is absent.

    One photograph holds several faces, so the name alone would not do.
    """
    path = _list(root, f"list_98pt_test/list_98pt_test_{'largepose' if attribute == 'pose' else attribute}.txt")
    if not path.is_file():
        return None
    keys = set()
    for number, line in enumerate(files.read_lines(path), start=1):
        fields = line.split()
        if len(fields) != 197:
            raise InputError(f"{path}: line {number} has {len(fields)} fields, but 197 are expected: 98 x and y and a name")
        keys.add((float(_floats(fields[:1], f"{path}: line {number}")[0]), fields[196].rpartition(".")[0]))
    return keys


def inspect(root: Path, manifest: Manifest) -> Inspection:
    """Compares the lists and pictures below `root` with the manifest, and the subset files with the attributes of the list."""
    parts, faults = [], []
    lists: dict[str, list[Sample]] = {"train": [], "test": []}
    pictures: dict[Path, bool] = {}
    for split in SPLITS:
        try:
            lists[split] = faces = listed(root, split)
        except InputError as error:
            faults.append(str(error))
            continue
        for path in dict.fromkeys(sample.path for sample in faces if sample.path not in pictures):
            pictures[path] = path.is_file()
            faults += files.faults_of(files.check_picture, path) if pictures[path] else []
        missing = dict.fromkeys(sample.group for sample in faces if not pictures[sample.path])
        expected = manifest.splits[split].expected or len(faces)
        parts.append(Part(split, sum(pictures[sample.path] for sample in faces), expected, tuple(missing)))
        if len(faces) != expected:
            faults.append(f"the list of split {split} has {len(faces):,} faces, but the official one has {expected:,}")
    for attribute, expected in manifest.subsets.items():
        holders = [sample for sample in lists["test"] if attribute in sample.attributes]
        parts.append(Part(f"test: {attribute}", sum(pictures[sample.path] for sample in holders), expected))
        faults += files.faults_of(partial(_compare_subset, root, attribute, holders))
    if faults and not any(part.present for part in parts):
        raise InputError(faults[0])
    return Inspection(tuple(parts), tuple(faults))


def _compare_subset(root: Path, attribute: str, holders: list[Sample]) -> None:
    keys = subset_keys(root, attribute)
    found = {(float(sample.landmarks[0, 0]), sample.group) for sample in holders}
    if keys is not None and keys != found:
        raise InputError(
            f"the list of subset {attribute} names {len(keys - found):,} faces that the test list does not flag, and leaves out "
            f"{len(found - keys):,} that it flags; unpack WFLW_annotations.tar.gz again"
        )
