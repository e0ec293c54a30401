"""Rendered data sets as chunks for the crop store: drawn straight in the stored frame, or cut from the frames of clips."""

import functools
import hashlib
import itertools
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import numpy as np

from fa_lib.data.crops import EXPAND, cut_face, stored_size
from fa_lib.data.synthetic import motion, sets
from fa_lib.errors import InputError

CHUNK = 64  # faces drawn at once: bounds memory, and shows progress
PREFIX = "synthetic/"
# Splits of the sets of clips, and the parts they are made of.
CLIPS = {
    "300vw": {"train": ("train",), "1": ("1",), "2": ("2",), "3": ("3",), "test": ("1", "2", "3")},
    "ddd": {"train": ("train",), "evaluation": ("evaluation",)},
}


def splits() -> dict[str, tuple[str, ...]]:
    """The splits of every rendered set, by the set's full name.

    >>> splits()["synthetic/cofw"]
    ('train', 'test')
    """
    stills = {PREFIX + name: tuple(kind.splits) for name, kind in sets.SETS.items()}
    return stills | {PREFIX + name: tuple(parts) for name, parts in CLIPS.items()}


def plan(name: str, split: str, size: int, count: int | None, frames: int, seed: int) -> Callable[[], Iterator[dict]]:
    """What will draw a set, chunk by chunk: `count` faces, or `count` clips of each part (None: as many as the real set has).

    Raises InputError where there is no such set or split.
    """
    short = _known(name, split)
    if short in CLIPS:
        return functools.partial(_clips, short, CLIPS[short][split], size, count, frames, seed)
    return functools.partial(_stills, short, split, size, count or sets.SETS[short].splits[split], seed)


def count(name: str, split: str, count: int | None, frames: int) -> int:
    """How many faces `plan` would draw.

    >>> count("synthetic/300w", "train", None, 1), count("synthetic/300vw", "test", 2, 50)
    (3148, 300)
    """
    short = _known(name, split)
    if short in CLIPS:
        return sum(count or motion.PARTS[short][part] for part in CLIPS[short][split]) * frames
    return count or sets.SETS[short].splits[split]


def _known(name: str, split: str) -> str:
    """A set's name without prefix; refused where there is no such set or split."""
    if split not in splits().get(name, ()):
        known = "; ".join(f"{known} with {', '.join(every)}" for known, every in splits().items())
        raise InputError(f"data set {name!r}, split {split!r}: there is {known}")
    return name.removeprefix(PREFIX)


def stream(name: str, size: int, seed: int = 0) -> Iterator[dict]:
    """Faces of a rendered set without end, chunk by chunk: its training split, and on from there.

    Face i depends on name, size, seed and i alone, and memory stays flat. Args: name, of a set of single faces such as
    "synthetic/celeba"; size, side of the crops in pixels (the chunks hold the stored frame, 11/8 as large).
    Raises InputError for a set that has no single faces or no training split.
    """
    short = name.removeprefix(PREFIX)
    if not name.startswith(PREFIX) or "train" not in splits().get(name, ()) or short not in sets.SETS:
        known = [PREFIX + known for known, kind in sets.SETS.items() if "train" in kind.splits]
        raise InputError(f"data set {name!r} cannot be streamed: choose one of {', '.join(known)}")
    return (_still_chunk(short, "train", size, start, start + CHUNK, None, seed) for start in itertools.count(0, CHUNK))


def _stills(name: str, split: str, size: int, count: int, seed: int) -> Iterator[dict]:
    for start in range(0, count, CHUNK):
        yield _still_chunk(name, split, size, start, min(start + CHUNK, count), count, seed)


def _still_chunk(name: str, split: str, size: int, start: int, stop: int, count: int | None, seed: int) -> dict:
    """Faces start to stop of a set of `count` faces, None: of one without end."""
    side, kind = stored_size(size), sets.SETS[name]
    drawn = sets.make(name, split, count or stop, side, seed, EXPAND * side / size, slice(start, stop))
    chunk = {
        "images": drawn.images,
        "landmarks": drawn.landmarks,
        "truth": drawn.truth,
        "matrix": np.tile(np.eye(2, 3), (len(drawn), 1, 1)),
        "names": drawn.names,
        "subset": drawn.subset,
        "group": drawn.group,
        "attributes": drawn.attributes,
        "size": size,
        "title": f"{PREFIX}{name} (rendered, seed {seed})",
        "progress": (stop, count or stop),
    }
    if kind.labelled:
        chunk["second"] = drawn.second
    if kind.flags:
        chunk["visible"] = drawn.visible
    if name == "aflw":  # the set whose errors are divided by the size of its own face boxes
        chunk["length"] = drawn.length
    return chunk


def _clips(name: str, parts: tuple[str, ...], size: int, count: int | None, frames: int, seed: int) -> Iterator[dict]:
    side = stored_size(size)
    every = [(part, number) for part in parts for number in range(count or motion.PARTS[name][part])]
    for done, (part, number) in enumerate(every):
        clip = motion.draw_clip(name, part, number, frames, round(1.3 * side), seed)
        # The box of each frame is that of its annotation, as papers on 300-VW crop it; an unlabelled clip has one box for all.
        about = clip.landmarks if clip.landmarks.shape[1] else clip.truth[np.zeros(frames, int)]
        cut = [cut_face(p, a, side, EXPAND * side / size) for p, a in zip(clip.images, about, strict=True)]
        matrix = np.stack([c[2] for c in cut])
        yield {
            "images": np.stack([c[0] for c in cut]),
            "landmarks": np.stack([c[1] for c in cut])[:, : clip.landmarks.shape[1]],
            "truth": (clip.truth @ matrix[:, :, :2].swapaxes(1, 2) + matrix[:, None, :, 2]).astype(np.float32),
            "still": clip.still,
            "matrix": matrix,
            "names": [f"{clip.name}/{t:06d}" for t in range(1, frames + 1)],
            "subset": [f"scenario {part}" if part.isdigit() else part] * frames,
            "group": [clip.name] * frames,
            "size": size,
            "title": f"{PREFIX}{name} (rendered, {len(every)} clips, seed {seed})",
            "progress": ((done + 1) * frames, len(every) * frames),
        }


@cache
def code_hash() -> str:
    """Hash of the renderer's files: rendered sets in the store are drawn anew when one of them changes."""
    files = sorted(Path(sets.__file__).parent.glob("*.py"))
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()[:12]
