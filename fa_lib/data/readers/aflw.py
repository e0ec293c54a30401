"""AFLW with 19 points: the annotation file of Zhu et al. over the photographs of AFLW."""

from collections import Counter
from pathlib import Path

import numpy as np

from fa_lib.data.manifests import Manifest
from fa_lib.data.readers import files, matlab
from fa_lib.data.readers.files import Inspection, Part, Sample
from fa_lib.errors import InputError

SPLITS = ("train", "full", "frontal")
FACES, TRAIN = 24386, 20000
_ANNOTATION = "AFLWinfo_release.mat"
_HOLDER = f"{_ANNOTATION} and flickr/, the photographs of AFLW"


def read(root: str | Path, split: str) -> list[Sample]:
    """The faces of a split of AFLW: train, full (the test set), frontal (its faces with all 19 points visible).

    They come in the official order; faces whose picture is absent are left out. The second face of a photograph is called
    `<name>#2`. `box` is the set's own face box, `visible` its flags. Raises InputError for another folder, a damaged or another
    annotation file, a path that leaves flickr/, and where no picture is there.
    """
    samples = [sample for sample in listed(root, split) if sample.path.is_file()]
    if not samples:
        place = files.find(root, "flickr", _HOLDER)
        raise InputError(f"{place}: holds no picture of split {split}; put the photographs into 0/, 2/ and 3/ there")
    return samples


def listed(root: str | Path, split: str) -> list[Sample]:
    """The faces of a split in the annotation file, whether their pictures are there or not; InputErrors as `read`."""
    if split not in SPLITS:
        raise InputError(f"split={split!r}: AFLW has {', '.join(SPLITS)}")
    path, pictures = files.find(root, _ANNOTATION, _HOLDER), files.find(root, "flickr", _HOLDER)
    names = matlab.read_texts(path, "nameList")
    if len(names) != FACES:
        raise InputError(f"{path}: nameList has {len(names):,} faces, but the official file has {FACES:,}")
    points = matlab.read_table(path, "data", FACES, 38).reshape(FACES, 2, 19).transpose(0, 2, 1)  # 19 x, then 19 y
    boxes = matlab.read_table(path, "bbox", FACES, 4)[:, [0, 2, 1, 3]]  # the file has x1 x2 y1 y2
    visible = matlab.read_table(path, "mask_new", FACES, 19)
    order = matlab.read_table(path, "ra", 1, FACES)[0]
    if not np.array_equal(np.sort(order), np.arange(1, FACES + 1)):
        raise InputError(f"{path}: ra is not an order of the faces 1 to {FACES:,}; the file is damaged")
    if not np.isin(visible, (0, 1)).all():
        raise InputError(f"{path}: mask_new must hold 0 and 1 alone; the file is damaged")
    chosen = order.astype(int)[:TRAIN] - 1 if split == "train" else order.astype(int)[TRAIN:] - 1
    if split == "frontal":
        chosen = chosen[visible[chosen].all(1)]
    paths, unique = _Pictures(pictures), _numbered(names)
    return [
        Sample(
            paths.of(names[i]),
            points[i],
            unique[i],
            "train" if split == "train" else "full",
            names[i].rpartition(".")[0],
            visible=visible[i] == 1,
            attributes=("frontal",) if visible[i].all() and split != "train" else (),
            box=boxes[i],
        )
        for i in chosen
    ]


def _numbered(names: list[str]) -> list[str]:
    """Names without suffix, with #2, #3 where one is met again."""
    met, unique = Counter(), []
    for name in names:
        met[name] += 1
        stem = name.rpartition(".")[0]
        unique.append(stem if met[name] == 1 else f"{stem}#{met[name]}")
    return unique


class _Pictures:
    """Pictures below a folder by the annotation file's names, some of which end in .png while the file is a .jpg."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.folders: dict[Path, dict[str, Path]] = {}

    def of(self, name: str) -> Path:
        """The picture of a name; where there is none, the path at which it should be."""
        path = files.inside(self.root, name)
        if path.parent not in self.folders:
            here = files.entries(path.parent) if path.parent.is_dir() else []
            self.folders[path.parent] = {e.stem: e for e in here if e.suffix.lower() in files.PICTURES}
        other = self.folders[path.parent].get(path.stem)
        if other is None or path.exists():
            return path
        return files.inside(self.root, str(other.relative_to(self.root)))


def inspect(root: Path, manifest: Manifest) -> Inspection:
    """Compares the photographs below `root` with the annotation file, and that with the manifest."""
    parts, faults, seen = [], [], set()
    for split in SPLITS:
        faces = listed(root, split)
        missing = {sample.path: sample.group for sample in faces if not sample.path.is_file()}
        present = sum(sample.path not in missing for sample in faces)
        parts.append(Part(split, present, manifest.splits[split].expected or len(faces), tuple(missing.values())))
        for path in dict.fromkeys(sample.path for sample in faces if sample.path not in missing):
            faults += [] if path in seen else files.faults_of(files.check_picture, path)
            seen.add(path)
        if len(faces) != manifest.splits[split].expected:
            faults.append(f"split {split} has {len(faces):,} faces, but {manifest.splits[split].expected:,} are expected")
    return Inspection(tuple(parts), tuple(faults))
