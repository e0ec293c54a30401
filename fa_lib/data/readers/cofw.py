"""COFW: 29 points with occlusion flags, pictures inside a Matlab file; COFW-68: the test pictures with 68 points."""

from functools import partial
from pathlib import Path

import numpy as np

from fa_lib.data.manifests import Manifest
from fa_lib.data.readers import files, matlab
from fa_lib.data.readers.files import Inspection, Part, Sample
from fa_lib.errors import InputError

SPLITS = ("train", "test")
_FILES = {"train": ("COFW_train_color.mat", "Tr"), "test": ("COFW_test_color.mat", "T")}  # file, end of its variables' names
_HOLDER = "COFW_train_color.mat and COFW_test_color.mat, the unpacked archive COFW_color.zip"
_HOLDER_68 = "COFW_test_color.mat of COFW and test_annotations/ of COFW-68"


def read(root: str | Path, split: str) -> list[Sample]:
    """The faces of a split (train, test) of COFW, in the order of its file; `picture` reads one picture from it.

    A face is called by its split and place in the file, from 1 (`test/0001`). `visible` is False for occluded points. Raises
    InputError for another folder, and a file that is cut off or holds other variables.
    """
    if split not in SPLITS:
        raise InputError(f"split={split!r}: COFW has {', '.join(SPLITS)}")
    name, end = _FILES[split]
    path = files.find(root, name, _HOLDER)
    count = _count(path, f"Is{end}")
    phis = matlab.read_table(path, f"phis{end}", count, 87)  # 29 x, 29 y, 29 flags
    hidden = _flags(path, f"phis{end}", phis[:, 58:])
    boxes = _boxes(matlab.read_table(path, f"bboxes{end}", count, 4))
    points = phis[:, :58].reshape(count, 2, 29).transpose(0, 2, 1) - 1  # Matlab counts pixels from 1
    return [_sample(path, f"Is{end}", split, i, points[i], ~hidden[i], boxes[i]) for i in range(count)]


def read_68(root: str | Path, split: str) -> list[Sample]:
    """The 507 test faces of COFW with the 68 points of COFW-68; names and flags as in `read`.

    Raises InputError for a split other than test, another folder, and points without picture or a picture without points.
    """
    if split != "test":
        raise InputError(f"split={split!r}: COFW-68 has test alone")
    path, folder = _places_68(root)
    count = _count(path, "IsT")
    boxes: list[np.ndarray | None] = [None] * count
    given = folder.parent / "cofw68_test_bboxes.mat"
    if given.is_file():
        boxes = list(_boxes(matlab.read_table(files.inside(folder.parent, given.name), "bboxes", count, 4)))
    extra = _numbers(folder) - set(range(1, count + 1))
    if extra:
        raise InputError(f"{folder / f'{min(extra)}_points.mat'}: {path.name} has {count:,} pictures, so there is none for it")
    return [_sample(path, "IsT", split, i, *_points_68(folder, i + 1), boxes[i]) for i in range(count)]


def read_picture(path: Path, name: str, index: int) -> np.ndarray:
    """Picture `index` (0-based) of a cell array as (H, W, 3) uint8 RGB; grey ones get three equal channels."""
    pixels = matlab.read_cell(path, name, index)
    if pixels.dtype != np.uint8 or not _is_picture(pixels.shape):
        shape = " x ".join(map(str, pixels.shape))
        raise InputError(f"{path}: cell {index + 1} of {name} is {shape} {pixels.dtype}, but a picture in uint8 is expected")
    return np.ascontiguousarray(pixels if pixels.ndim == 3 else np.repeat(pixels[..., None], 3, 2))


def _sample(
    path: Path, cells: str, split: str, i: int, points: np.ndarray, visible: np.ndarray, box: np.ndarray | None
) -> Sample:
    name = f"{split}/{i + 1:04}"
    return Sample(path, points, name, split, name, visible, box=box, picture=partial(read_picture, path, cells, i))


def _is_picture(shape: tuple[int, ...]) -> bool:
    return (len(shape) == 2 or (len(shape) == 3 and shape[2] == 3)) and min(shape) > 1


def _count(path: Path, cells: str) -> int:
    """The pictures of a cell array; InputError where one of them is no picture."""
    shapes = matlab.cell_shapes(path, cells)
    for number, shape in enumerate(shapes, start=1):
        if not _is_picture(shape):
            raise InputError(f"{path}: cell {number} of {cells} is {' x '.join(map(str, shape))}, but a picture is expected")
    return len(shapes)


def _flags(path: Path, name: str, values: np.ndarray) -> np.ndarray:
    if not np.isin(values, (0, 1)).all():
        raise InputError(f"{path}: the occlusion flags of {name} must be 0 or 1; it is damaged or another file")
    return values == 1


def _boxes(boxes: np.ndarray) -> np.ndarray:
    """Boxes x, y, width, height that count from 1 -> x0 y0 x1 y1 that count from 0."""
    return np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], 1) - 1


def _places_68(root: str | Path) -> tuple[Path, Path]:
    return files.find(root, "COFW_test_color.mat", _HOLDER_68), files.find(root, "test_annotations", _HOLDER_68)


def _numbers(folder: Path) -> set[int]:
    """The pictures, from 1, that have points in `folder`."""
    stems = [entry.name.removesuffix("_points.mat") for entry in files.entries(folder) if entry.name.endswith("_points.mat")]
    return {int(stem) for stem in stems if stem.isdecimal()}


def _points_68(folder: Path, number: int) -> tuple[np.ndarray, np.ndarray]:
    """Points (68, 2), 0-based, and visibility (68,) of a picture, its number counted from 1."""
    path = files.inside(folder, f"{number}_points.mat")
    points = matlab.read_table(path, "Points", 68, 2) - 1
    return points, ~_flags(path, "Occ", matlab.read_table(path, "Occ", 1, 68))[0]


def inspect(root: Path, manifest: Manifest) -> Inspection:
    """Compares the two files of COFW with the manifest: pictures by their shapes, points, flags and boxes."""
    parts, faults = [], []
    for split in SPLITS:
        expected = manifest.splits[split].expected or 0
        try:
            path = files.find(root, _FILES[split][0], _HOLDER)
        except InputError:
            parts.append(Part(split, 0, expected, (_FILES[split][0],)))
            continue
        samples: list[Sample] = []
        faults += files.faults_of(lambda split=split, samples=samples: samples.extend(read(root, split)))
        parts.append(Part(split, min(len(samples), expected), expected))
        if samples and len(samples) != expected:
            faults.append(f"{path}: holds {len(samples):,} faces, but the official file has {expected:,}")
    if not any(part.present for part in parts) and not faults:
        files.find(root, _FILES["train"][0], _HOLDER)
    return Inspection(tuple(parts), tuple(faults))


def inspect_68(root: Path, manifest: Manifest) -> Inspection:
    """Compares the points of COFW-68 with the manifest, and with the pictures of COFW's test file."""
    path, folder = _places_68(root)
    expected, present, faults = manifest.splits["test"].expected or 0, _numbers(folder), []
    count = _count(path, "IsT")
    if count != expected:
        faults.append(f"{path}: holds {count:,} faces, but the official file has {expected:,}")
    for number in sorted(present):
        faults += files.faults_of(_points_68, folder, number)
    wanted = [f"{number}_points.mat" for number in range(1, expected + 1) if number not in present]
    others = [f"{number}_points.mat" for number in sorted(present) if not 1 <= number <= expected]
    return Inspection((Part("test", expected - len(wanted), expected, tuple(wanted), tuple(others)),), tuple(faults))
