"""Imitations of data sets: rendered faces with noisy annotations by several annotators, split and grouped as the real
ones.

Face i of a set depends on the set's name, the split, the seed and i alone, so a shorter set is the beginning of a
longer one.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass

import numpy as np

from fa_lib.data.synthetic import people
from fa_lib.data.synthetic.head import HeadParameters, join
from fa_lib.data.synthetic.render import render
from fa_lib.errors import InputError

SPLITS = ("train", "common", "challenging", "full")
COMMON, CHALLENGING = 554, 135  # faces of the two parts of 300-W's full test set
HARD_SHARE = 0.15  # of the training split
ANNOTATORS = 4
# The points of a face that one annotator shifts together.
STRANDS = tuple(
    np.arange(a, b) for a, b in ((0, 17), (17, 22), (22, 27), (27, 31), (31, 36), (36, 42), (42, 48), (48, 60), (60, 68))
)
# Standard deviations in per cent of the inter-ocular distance, chosen so that two annotations of one face differ as
# they do in 300-W (photographs that were annotated twice: median 2.05 % over all points, 3.7 % on the jaw, 1.6 %
# inside the face).
ALONG_JAW, ACROSS_JAW, SHARED, SINGLE, HABIT = 2.5, 0.85, 0.48, 0.48, 0.46


@dataclass(frozen=True)
class RenderedSet:
    """N rendered faces. Landmarks are 0-based pixels of the pictures, order (x, y), pixel centres at integers."""

    images: np.ndarray  # (N, size, size, 3) uint8 RGB
    landmarks: np.ndarray  # (N, 68, 2) float32, the annotation: noisy, as in real sets
    truth: np.ndarray  # (N, 68, 2) float32, exact
    second: np.ndarray  # (N, 68, 2) float32, another annotator's annotation of the same picture
    annotator: np.ndarray  # (N,) int, who made `landmarks`
    subset: np.ndarray  # (N,) str, "common" or "challenging"
    names: np.ndarray  # (N,) str
    group: np.ndarray  # (N,) str, the photograph a face belongs to

    def __len__(self) -> int:
        return len(self.images)


def face_rng(name: str, split: str, seed: int, index: int) -> np.random.Generator:
    """The random numbers of one face."""
    return np.random.default_rng([zlib.crc32(f"{name}/{split}".encode()), seed, index])


def _smooth(n: int, rng: np.random.Generator, size: tuple[int, ...]) -> np.ndarray:
    """Random curves of unit spread over n points in a row, (*size, n): a shift, a stretch and a bend."""
    at = np.linspace(-1, 1, n)
    basis = np.stack([np.ones(n), 1.4 * at, 1.6 * (at * at - 1 / 3)]) * np.array([0.75, 0.55, 0.36])[:, None]
    return rng.normal(size=(*size, 3)) @ basis


def _tangents(points: np.ndarray) -> np.ndarray:
    """Unit directions along each strand of points (N, 68, 2)."""
    along = np.empty_like(points)
    for strand in STRANDS:
        along[:, strand] = np.gradient(points[:, strand], axis=1)
    return along / np.maximum(np.linalg.norm(along, axis=-1, keepdims=True), 1e-9)


def _habit(annotator: int) -> np.ndarray:
    """What one annotator always does: (68, 2) offsets along and across the strands, per cent."""
    rng = np.random.default_rng([1968, annotator])
    shift = np.empty((68, 2))
    for strand in STRANDS:
        spread = np.array([1.6, 0.75]) if len(strand) == 17 else np.array([HABIT, HABIT])
        shift[strand] = (_smooth(len(strand), rng, (2,)) * spread[:, None]).T
    return shift


def annotate(
    truth: np.ndarray, turned: HeadParameters | np.ndarray, annotator: int | np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """What an annotator marks on faces whose exact landmarks are known.

    An annotator has habits, the same on every face, and slips, new on every face; both run along the contour rather
    than across it, and are larger where the head is turned away.

    Args: truth (N, 68, 2) pixels; turned: the faces' parameters or their yaw (N,) in degrees; annotator (N,) or one
    number.
    Returns: (N, 68, 2) float32 pixels.
    """
    points = np.asarray(truth, float)
    n = len(points)
    yaw = turned.pose[:, 0] if isinstance(turned, HeadParameters) else np.asarray(turned)
    offset = np.stack([_habit(int(a)) for a in np.broadcast_to(annotator, n)])
    for strand in STRANDS:
        jaw = len(strand) == 17
        spread = np.array([ALONG_JAW, ACROSS_JAW]) if jaw else np.array([SHARED, SHARED])
        offset[:, strand] += np.swapaxes(_smooth(len(strand), rng, (n, 2)) * spread[:, None], 1, 2)
        offset[:, strand] += rng.normal(size=(n, len(strand), 2)) * SINGLE
    care = np.exp(rng.normal(0, 0.28, n)) * (1 + 0.4 * np.abs(yaw) / 60)
    along = _tangents(points)
    across = np.stack([-along[..., 1], along[..., 0]], -1)
    length = np.linalg.norm(points[:, 45] - points[:, 36], axis=-1) / np.maximum(np.cos(np.radians(yaw)), 0.5)
    step = (offset / 100) * (care * length)[:, None, None]
    return (points + step[..., :1] * along + step[..., 1:] * across).astype(np.float32)


def _plan(split: str, count: int, seed: int) -> list[tuple[str, int, str]]:
    """For each face: the split it is drawn for, its number there, and its subset."""
    if split == "train":
        hard = [face_rng("300w", "mix", seed, i).random() < HARD_SHARE for i in range(count)]
        return [("train", i, "challenging" if h else "common") for i, h in enumerate(hard)]
    if split != "full":
        return [(split, i, split) for i in range(count)]
    common = round(count * COMMON / (COMMON + CHALLENGING))
    return [("common", i, "common") for i in range(common)] + [("challenging", i, "challenging") for i in range(count - common)]


def make_300w(split: str, count: int, size: int, seed: int = 0, expand: float = 1.925, part: slice = slice(None)) -> RenderedSet:
    """An imitation of 300-W. `full` is `common` followed by `challenging`, 554 to 135; `train` mixes in 15 %
    challenging faces.

    Args: split, one of SPLITS; count of faces; size of the pictures in pixels; expand: side of the picture over the
    larger
        side of the landmarks' box; part: draw only these of the `count` faces.
    Raises: InputError for an unknown split or a count below 1.
    """
    if split not in SPLITS:
        raise InputError(f"split is {split!r}; the rendered 300-W has {', '.join(SPLITS)}")
    if count < 1:
        raise InputError(f"count is {count}; ask for at least 1 face")
    plan = _plan(split, count, seed)[part]
    rngs = [face_rng("300w", part, seed, i) for part, i, _ in plan]
    heads = join([people.sample(1, rng, difficulty=s) for rng, (_, _, s) in zip(rngs, plan, strict=True)])
    images, truth, _ = render(heads, size, expand=expand)
    annotator = np.array([int(rng.integers(0, ANNOTATORS)) for rng in rngs])
    other = np.array([int((a + rng.integers(1, ANNOTATORS)) % ANNOTATORS) for a, rng in zip(annotator, rngs, strict=True)])
    first, second = (
        np.concatenate([annotate(truth[i : i + 1], heads[i : i + 1], who[i], rng) for i, rng in enumerate(rngs)])
        for who in (annotator, other)
    )
    names = np.array([f"300w_{part}_s{seed}_{i:05d}" for part, i, _ in plan])
    subset = np.array([s for _, _, s in plan])
    return RenderedSet(images, first, truth, second, annotator, subset, names, names.copy())
