"""Videos, one sample per frame: 300-VW with its 68 points, and NTHU-DDD, which has labels of frames but no points.

300-VW is read by the official protocol: without the frames that its authors excluded (2,127 of 16 test clips).
"""

import csv
import functools
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from fa_lib.data import manifests
from fa_lib.data.crops import EXPAND
from fa_lib.data.manifests import Manifest
from fa_lib.data.readers import files, video
from fa_lib.data.readers.files import Inspection, Part, Sample
from fa_lib.errors import InputError

SPLITS_300VW = {"train": ("train",), "1": ("1",), "2": ("2",), "3": ("3",), "test": ("1", "2", "3")}
SPLITS_DDD = ("train", "evaluation")


@cache
def excluded_frames() -> dict[str, frozenset[int]]:
    """Clip of 300-VW -> the numbers of its frames that the authors excluded, from 1.

    >>> len(excluded_frames()), len(excluded_frames()["540"]), 744 in excluded_frames()["540"]
    (16, 6, True)
    """
    found: dict[str, set[int]] = {}
    for row in csv.DictReader(files.read_bytes(files.MANIFESTS / "300vw_excluded.csv").decode().splitlines()):
        found.setdefault(row["clip"], set()).update(range(int(row["first"]), int(row["last"]) + 1))
    return {clip: frozenset(numbers) for clip, numbers in found.items()}


def read_300vw(root: str | Path, split: str, *, broken: bool = False) -> list[Sample]:
    """The frames of a split of 300-VW (train; the scenarios 1, 2, 3; test: all three), clip by clip, in order.

    `root` holds 001/, 002/, ... or the one folder that does. Frame k of `vid.avi`, from 1, belongs to `annot/%06d.pts`. The
    officially excluded frames are left out; `broken=True` keeps them, as many repositories do: say so where you do. Names are
    "401/000017", subsets "train" or "scenario 1", groups the clips. A partial set is read as it is.

    Raises InputError for an unknown split, a folder without its clips, a video that has not as many frames as there are
    annotations (also where it is one: then no frame can be trusted to be that of its annotation), and bad `.pts`.
    """
    if split not in SPLITS_300VW:
        raise InputError(f"split={split!r}: 300-VW has {', '.join(SPLITS_300VW)}")
    manifest = manifests.load("300vw")
    place = _place(Path(root).expanduser(), manifest)
    samples = []
    for part in SPLITS_300VW[split]:
        subset = "train" if part == "train" else f"scenario {part}"
        for clip in manifest.splits[part].clips:
            if (place / clip).is_dir():
                excluded = frozenset() if broken else excluded_frames().get(clip, frozenset())
                samples += _clip(place / clip, subset, excluded)
    if not samples:
        raise InputError(f"{place}: holds no clip of split {split}; unpack {manifest.splits[part].clips[0]} and others into it")
    return samples


def _clip(folder: Path, subset: str, excluded: frozenset[int]) -> Iterator[Sample]:
    count, path = _check_clip(folder), folder / "vid.avi"
    for number in range(1, count + 1):
        if number not in excluded:
            points = files.read_pts(folder / "annot" / f"{number:06d}.pts")
            picture = functools.partial(video.read_frame, path, number)
            yield Sample(path, points, f"{folder.name}/{number:06d}", subset, folder.name, picture=picture)


def _check_clip(folder: Path) -> int:
    """The number of frames of a clip, all of them annotated; InputError where video and annotations do not agree."""
    path, annotations = (files.inside(folder.parent, f"{folder.name}/{name}") for name in ("vid.avi", "annot"))
    if not path.is_file():
        raise InputError(f"{folder}: holds no vid.avi; unpack the clip again")
    names = {entry.name for entry in files.entries(annotations)} if annotations.is_dir() else set()
    names = {name for name in names if name.endswith(".pts")}
    if not names:
        raise InputError(f"{folder}: holds no annot/*.pts; unpack the clip again")
    expected = {f"{number:06d}.pts" for number in range(1, len(names) + 1)}
    if names != expected:
        foreign = f"{annotations / min(names - expected)}: "
        raise InputError(f"{foreign}annotations are numbered without a gap from 000001, but {min(expected - names)} is missing")
    frames = video.count_frames(path, len(names))
    if frames != len(names):
        by_one = ", off by one, and which frame is too many or missing cannot be told" * (abs(frames - len(names)) == 1)
        raise InputError(
            f"{path}: {frames:,} frames can be decoded, but annot/ holds {len(names):,} .pts files{by_one}; unpack the clip "
            "again, or move its folder away to go without it"
        )
    return frames


def _place(root: Path, manifest: Manifest) -> Path:
    """The folder that holds the clips: `root`, or a folder in it."""
    if not root.is_dir():
        what = "is a file" if root.exists() else "there is no such folder"
        raise InputError(f"{root}: {what}; give the folder that holds the clips 001/, 002/, ...")
    clips = {clip for split in manifest.splits.values() for clip in split.clips}
    places = [root, *(entry for entry in files.entries(root) if entry.is_dir() and entry.name not in clips)]
    place = next((place for place in places if any((place / clip).is_dir() for clip in clips)), None)
    if place is None:
        raise InputError(f"{root}: holds no clip of {manifest.title}; give the folder that holds 001/, 002/, ...")
    return place


def inspect_300vw(root: Path, manifest: Manifest) -> Inspection:
    """Compares the clips below `root` with those of the manifest: folders, frames against annotations, some of the points.

    Of each clip the first and the last annotation are read; the frames are counted by the header of the video, and decoded
    where that does not agree.
    """
    place = _place(root, manifest)
    parts, faults, notes = [], [], []
    for name, split in ((name, split) for name, split in manifest.splits.items() if split.clips):
        present = [clip for clip in split.clips if (place / clip).is_dir()]
        missing = tuple(clip for clip in split.clips if clip not in present)
        parts.append(Part(name, len(present), len(split.clips), missing))
        frames = left_out = 0
        for clip in present:
            wrong = files.faults_of(_check_clip, place / clip)
            if not wrong:
                numbers = sorted((place / clip / "annot").glob("*.pts"))
                wrong = [fault for path in (numbers[0], numbers[-1]) for fault in files.faults_of(files.read_pts, path)]
                frames += len(numbers)
                left_out += sum(number <= len(numbers) for number in excluded_frames().get(clip, ()))
            faults += wrong
        if present:
            notes.append(f"{name}: {frames:,} annotated frames, {left_out:,} of them officially excluded and not read")
    return Inspection(tuple(parts), tuple(faults), tuple(notes))


# NTHU-DDD

_SCENARIOS = ("glasses", "noglasses", "sunglasses", "nightglasses", "night_noglasses")  # as the folders are spelled
_SPELLINGS = {name.replace("_", ""): name for name in _SCENARIOS}
_VIDEOS = ("nonsleepyCombination", "sleepyCombination", "slowBlinkWithNodding", "yawning")
_LABELS = {
    "drowsiness": ("alert", "drowsy"),
    "head": ("head still", "nodding", "looking aside"),
    "mouth": ("mouth still", "yawning", "talking"),
    "eye": ("eyes still", "sleepy eyes"),
}
_SLACK = 2  # digits that a string of labels may be shorter or longer than the video


@dataclass(frozen=True)
class _Drive:
    """One video of NTHU-DDD: its name ("001/glasses/yawning"), scenario, file, and the start of its labels' names."""

    name: str
    scenario: str
    path: Path
    labels: str


def read_ddd(root: str | Path, split: str) -> list[Sample]:
    """The frames of a split (train, evaluation) of NTHU-DDD, video by video, in order. The set has no landmarks.

    Videos are found below `root` by their official names: `001/glasses/yawning.avi`, `004_noglasses_mix.avi`. Samples are called
    "001/glasses/yawning/000001"; the subset is the scenario, the group the video, the attributes are the labels of the frame
    ("drowsy", "head still", "yawning", ...); strings of labels may be two digits shorter or longer than the video, and what is
    beyond its end is dropped. The set gives no boxes of faces either: `box` is the rectangle that you wrote into
    `root`/boxes.csv (columns video,x0,y0,x1,y1), one per video, and where there is none the square in the middle of the frame
    whose crop is as high as the frame.

    Raises InputError for an unknown split, a folder without such videos, videos that cannot be opened, and bad labels.
    """
    drives = _drives(Path(root).expanduser())
    if split not in SPLITS_DDD:
        raise InputError(f"split={split!r}: NTHU-DDD has {', '.join(SPLITS_DDD)}")
    if not drives[split]:
        raise InputError(f"{root}: holds no video of split {split}; unpack the {split} data of NTHU-DDD into it")
    boxes = _boxes(Path(root).expanduser())
    samples = []
    for name, drive in sorted(drives[split].items()):
        labels, frames = _labels(drive)
        width, height = video.frame_size(drive.path)
        half = height / EXPAND / 2
        middle = np.array([width / 2 - half, height / 2 - half, width / 2 + half, height / 2 + half]) - 0.5
        for number in range(1, frames + 1):
            codes = tuple(digits[number - 1] if number <= len(digits) else "" for digits in labels)
            samples.append(
                Sample(
                    drive.path,
                    np.empty((0, 2)),
                    f"{name}/{number:06d}",
                    drive.scenario,
                    name,
                    attributes=_attributes(codes),
                    box=boxes.get(name, middle),
                    picture=functools.partial(video.read_frame, drive.path, number),
                )
            )
    return samples


@cache
def _attributes(codes: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(words[int(code)] for code, words in zip(codes, _LABELS.values(), strict=True) if code)


def _labels(drive: _Drive) -> tuple[list[str], int]:
    """The digits of each kind of label, "" where there is no such file (drowsiness must be there), and the number of frames."""
    found = []
    for kind, words in _LABELS.items():
        path = drive.path.with_name(f"{drive.labels}_{kind}.txt")
        if kind != "drowsiness" and not path.is_file():
            found.append("")
            continue
        digits = files.read_bytes(path).decode(errors="replace").strip()
        if wrong := re.search(f"[^0-{len(words) - 1}]", digits):
            raise InputError(f"{path}: digit {wrong.start() + 1} is {wrong[0]!r}, but {kind} is 0 to {len(words) - 1} per frame")
        found.append(digits)
    frames = video.count_frames(drive.path, len(found[0]))
    for kind, digits in zip(_LABELS, found, strict=True):
        if digits and abs(len(digits) - frames) > _SLACK:
            raise InputError(
                f"{drive.path}: has {frames:,} frames, but {drive.labels}_{kind}.txt labels {len(digits):,}; "
                f"up to {_SLACK} digits more or less are usual"
            )
    return found, frames


def _drives(root: Path) -> dict[str, dict[str, _Drive]]:
    """Split -> name -> video, found by the official names anywhere below `root`. InputError where there is none."""
    if not root.is_dir():
        what = "is a file" if root.exists() else "there is no such folder"
        raise InputError(f"{root}: {what}; give the folder that holds NTHU-DDD")
    found: dict[str, dict[str, _Drive]] = {split: {} for split in SPLITS_DDD}
    for folder, _, names in os.walk(root):
        for name in sorted(names):
            split, drive = _drive(Path(folder, name))
            if drive:
                files.inside(root, str(drive.path.relative_to(root)))
            if drive and drive.name in found[split]:
                raise InputError(f"{drive.path}: {found[split][drive.name].path} is the same video; keep one of them")
            if drive:
                found[split][drive.name] = drive
    if not any(found.values()):
        raise InputError(f"{root}: holds no video of NTHU-DDD; give the folder below which 001/glasses/yawning.avi lies")
    return found


def _drive(path: Path) -> tuple[str, _Drive | None]:
    """Split and video that a file is by its name and folders; None where it is no official one."""
    if mixed := re.fullmatch(r"(\d{3})_(\w+)_mix\.avi", path.name):  # labels: 004_noglasses_mixing_drowsiness.txt
        if scenario := _SPELLINGS.get(mixed[2].replace("_", "")):
            return "evaluation", _Drive(f"{mixed[1]}/{scenario}/mix", scenario, path, f"{path.stem}ing")
    subject, scenario = path.parent.parent.name, _SPELLINGS.get(path.parent.name.replace("_", ""))
    if path.suffix == ".avi" and path.stem in _VIDEOS and scenario and re.fullmatch(r"\d{3}", subject):
        return "train", _Drive(f"{subject}/{scenario}/{path.stem}", scenario, path, f"{subject}_{path.stem}")
    return "", None


def _boxes(root: Path) -> dict[str, np.ndarray]:
    """Video -> (4,) x0 y0 x1 y1 from boxes.csv, which is the user's own; empty where there is none."""
    path = root / "boxes.csv"
    if not path.exists():
        return {}
    boxes = {}
    for number, row in enumerate(csv.DictReader(files.read_bytes(path).decode("utf-8-sig").splitlines()), start=2):
        try:
            box = np.array([float(row[key]) for key in ("x0", "y0", "x1", "y1")])
            assert np.isfinite(box).all() and (box[2:] > box[:2]).all()
            boxes[row["video"]] = box
        except (KeyError, TypeError, ValueError, AssertionError):
            raise InputError(
                f"{path}: line {number} is no box; write the columns video,x0,y0,x1,y1, as 001/glasses/yawning,200,90,420,360"
            ) from None
    return boxes


def inspect_ddd(root: Path, manifest: Manifest) -> Inspection:
    """Compares the videos below `root` with the official ones: names, whole files, labels against the number of frames."""
    drives, boxes = _drives(root), _boxes(root)
    subjects = manifest.splits["train"].folders
    official = [f"{subject}/{scenario}/{stem}" for subject in subjects for scenario in _SCENARIOS for stem in _VIDEOS]
    parts = []
    for split in SPLITS_DDD:
        # the subjects of the evaluation are not known here, so its missing videos cannot be named
        missing = tuple(name for name in official if name not in drives[split]) if split == "train" else ()
        other = tuple(name for name in drives[split] if split == "train" and name not in official)
        parts.append(Part(split, len(drives[split]) - len(other), manifest.splits[split].expected or 0, missing, other))
    every = [drive for split in SPLITS_DDD for drive in drives[split].values()]
    faults = [fault for drive in every for fault in files.faults_of(_labels, drive)]
    boxed = sum(drive.name in boxes for drive in every)
    note = (
        f"the set has no boxes: boxes.csv gives those of {boxed:,} of {len(every):,} videos, the others are cut from the middle"
    )
    return Inspection(tuple(parts), tuple(faults), (note,))
