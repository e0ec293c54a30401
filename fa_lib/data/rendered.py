"""Rendered data sets as chunks for the crop store: drawn straight in the stored frame, or cut from the frames of clips."""

import functools
import hashlib
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import numpy as np

from fa_lib.data.crops import EXPAND, cut_face, stored_size
from fa_lib.data.synthetic import motion, sets
from fa_lib.errors import InputError

CHUNK = 64  # faces drawn at once: bounds memory, and shows progress
SIZES = {"train": 3148, "common": 554, "challenging": 135, "full": 689}  # as many faces as 300-W has
SCENARIOS = {"1": (1,), "2": (2,), "3": (3,), "test": (1, 2, 3)}


def plan(name: str, split: str, size: int, count: int | None, frames: int, seed: int) -> Callable[[], Iterator[dict]]:
    """What will draw a set, chunk by chunk; InputError where there is no such set or split."""
    if name == "synthetic/300w" and split in SIZES:
        return functools.partial(_stills, split, size, count or SIZES[split], seed)
    if name == "synthetic/300vw" and split in SCENARIOS:
        return functools.partial(_clips, SCENARIOS[split], size, count or 4, frames, seed)
    raise InputError(
        f"data set {name!r}, split {split!r}: there is synthetic/300w with {', '.join(SIZES)} "
        f"and synthetic/300vw with {', '.join(SCENARIOS)}"
    )


def _stills(split: str, size: int, count: int, seed: int) -> Iterator[dict]:
    side = stored_size(size)
    for start in range(0, count, CHUNK):
        part = slice(start, min(start + CHUNK, count))
        drawn = sets.make_300w(split, count, side, seed, EXPAND * side / size, part)
        yield {
            "images": drawn.images,
            "landmarks": drawn.landmarks,
            "truth": drawn.truth,
            "second": drawn.second,
            "matrix": np.tile(np.eye(2, 3), (len(drawn), 1, 1)),
            "names": drawn.names,
            "subset": drawn.subset,
            "group": drawn.group,
            "size": size,
            "title": f"synthetic/300w (rendered, seed {seed})",
            "progress": (part.stop, count),
        }


def _clips(scenarios: tuple[int, ...], size: int, count: int, frames: int, seed: int) -> Iterator[dict]:
    side = stored_size(size)
    for done, scenario in enumerate(scenarios):
        for number, clip in enumerate(motion.make_300vw(scenario, count, frames, round(1.3 * side), seed)):
            # the box of each frame is that of its annotation, as papers on 300-VW crop it
            cut = [cut_face(p, a, side, EXPAND * side / size) for p, a in zip(clip.images, clip.landmarks, strict=True)]
            matrix = np.stack([c[2] for c in cut])
            yield {
                "images": np.stack([c[0] for c in cut]),
                "landmarks": np.stack([c[1] for c in cut]),
                "truth": (clip.truth @ matrix[:, :, :2].swapaxes(1, 2) + matrix[:, None, :, 2]).astype(np.float32),
                "still": clip.still,
                "matrix": matrix,
                "names": [f"{clip.name}/{t:06d}" for t in range(1, frames + 1)],
                "subset": [f"scenario {scenario}"] * frames,
                "group": [clip.name] * frames,
                "size": size,
                "title": f"synthetic/300vw (rendered, {count * len(scenarios)} clips, seed {seed})",
                "progress": ((done * count + number + 1) * frames, count * len(scenarios) * frames),
            }


@cache
def code_hash() -> str:
    """Hash of the renderer's files: rendered sets in the store are drawn anew when one of them changes."""
    files = sorted(Path(sets.__file__).parent.glob("*.py"))
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()[:12]
