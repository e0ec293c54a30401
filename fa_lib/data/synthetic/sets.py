"""Imitations of data sets: rendered faces with noisy annotations by several annotators, split and grouped as the real
ones.

Face i of a set depends on the set's name, the split, the seed and i alone, so a shorter set is the beginning of a
longer one, and any part of a set can be drawn alone.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass

import numpy as np

from fa_lib.data.synthetic import head, people
from fa_lib.data.synthetic.annotators import ANNOTATORS, annotate
from fa_lib.data.synthetic.head import HeadParameters, join
from fa_lib.data.synthetic.render import render
from fa_lib.data.synthetic.threads import one_thread
from fa_lib.errors import InputError


@dataclass(frozen=True)
class Kind:
    """What a set is made of."""

    points: int  # landmarks a face
    splits: dict[str, int]  # with as many faces as the real set has
    labelled: bool = True
    flags: bool = False  # says which points are hidden


_300W = {"train": 3148, "common": 554, "challenging": 135, "full": 689}
SETS = {
    "300w": Kind(68, _300W),
    "masked_300w": Kind(68, {split: count for split, count in _300W.items() if split != "train"}),
    "wflw": Kind(98, {"train": 7500, "test": 2500}),
    "cofw": Kind(29, {"train": 1345, "test": 507}, flags=True),
    "aflw": Kind(19, {"train": 20000, "full": 4386}, flags=True),
    "celeba": Kind(68, {"train": 162770, "valid": 19867, "test": 19962}, labelled=False),
    "wild": Kind(68, {"train": 20000, "test": 1000}),
}
HARD_SHARE = 0.15  # challenging faces in the training split of 300-W and in the unlabelled pool
# Shares of WFLW's test faces that have each attribute; they overlap.
WFLW_SHARES = {
    "pose": 326 / 2500, "expression": 314 / 2500, "illumination": 698 / 2500, "makeup": 206 / 2500,
    "occlusion": 736 / 2500, "blur": 773 / 2500,
}  # fmt: skip
COFW_OCCLUDED = 0.55  # share of faces that get something in front, so that 23 % of all points are hidden, as in COFW


@dataclass(frozen=True)
class RenderedSet:
    """N rendered faces. Landmarks are 0-based pixels of the pictures, order (x, y), pixel centres at integers."""

    images: np.ndarray  # (N, size, size, 3) uint8 RGB
    landmarks: np.ndarray  # (N, K, 2) float32, the annotation: noisy, as in real sets; K = 0 for unlabelled sets
    truth: np.ndarray  # (N, K, 2) float32, exact; 68 points for unlabelled sets
    second: np.ndarray | None  # (N, K, 2) float32, another annotator's annotation of the same picture; None if unlabelled
    visible: np.ndarray  # (N, K) bool, for truth
    length: np.ndarray  # (N,) float32, side in pixels of the square as large as the box of the head's 68 points
    annotator: np.ndarray  # (N,) int, who made `landmarks`
    subset: np.ndarray  # (N,) str, the part it is reported under
    attributes: np.ndarray  # (N,) str, overlapping subsets, joined by commas
    names: np.ndarray  # (N,) str
    group: np.ndarray  # (N,) str, the photograph a face belongs to

    def __len__(self) -> int:
        return len(self.images)


def face_rng(name: str, split: str, seed: int, index: int) -> np.random.Generator:
    """The random numbers of one face."""
    return np.random.default_rng([zlib.crc32(f"{name}/{split}".encode()), seed, index])


def check(name: str, split: str, count: int) -> Kind:
    """The kind of a set; InputError for a set or split that does not exist, or a count below 1."""
    if name not in SETS:
        raise InputError(f"rendered set {name!r} does not exist; there are {', '.join(SETS)}")
    if split not in SETS[name].splits:
        raise InputError(f"split is {split!r}; the rendered {name} has {', '.join(SETS[name].splits)}")
    if count < 1:
        raise InputError(f"count is {count}; ask for at least 1 face")
    return SETS[name]


def _drawn_as(name: str, split: str, count: int, seed: int, index: int) -> tuple[str, int, str]:
    """For face `index`: the split it is drawn for, its number there, and its subset."""
    if not name.endswith("300w"):
        return split, index, split
    if split == "train":
        hard = face_rng("300w", "mix", seed, index).random() < HARD_SHARE
        return split, index, "challenging" if hard else "common"
    if split == "full":
        common = round(count * _300W["common"] / _300W["full"])
        split, index = ("common", index) if index < common else ("challenging", index - common)
    return split, index, split


def _person(name: str, subset: str, rng: np.random.Generator) -> tuple[HeadParameters, str]:
    """One head as a set shows it, and its attributes."""
    if name in ("300w", "masked_300w"):
        return people.sample(1, rng, difficulty=subset), ""
    if name == "wflw":
        chosen = [attribute for attribute, share in WFLW_SHARES.items() if rng.random() < share]
        one = people.sample(1, rng)
        for attribute in chosen:
            one = people.with_attribute(one, attribute, rng)
        return one, ",".join(chosen)
    if name == "cofw":
        hidden = rng.random() < COFW_OCCLUDED
        one = people.sample(1, rng, difficulty="challenging")
        return (people.with_attribute(one, "occlusion", rng) if hidden else one), ""
    if name == "celeba":
        return people.sample(1, rng, difficulty="challenging" if rng.random() < HARD_SHARE else "common"), ""
    return people.sample(1, rng, difficulty={"aflw": "profile", "wild": "wild"}[name]), ""


@one_thread
def make(
    name: str, split: str, count: int, size: int, seed: int = 0, expand: float = 1.925, part: slice = slice(None)
) -> RenderedSet:
    """Draw faces of an imitated set.

    `300w`: `full` is `common` followed by `challenging`, 554 to 135; `train` mixes in 15 % challenging faces.
    `masked_300w`: the same faces, annotated alike, with a mask over mouth and nose. `wflw`: every attribute with its
    share of the official test set, drawn independently. `cofw`: things in front, and flags that say what they hide.
    `aflw`: yaw up to 90 degrees; attribute "frontal" where all points can be seen. `celeba`: unlabelled. `wild`: the
    widest variety, to train on.

    Args: name, one of SETS; split, one of its splits; count of faces; size of the pictures in pixels; expand: side of
        the picture over the larger side of the landmarks' box; part: draw only these of the `count` faces.
    Raises: InputError for an unknown set or split or a count below 1.
    """
    kind = check(name, split, count)
    numbers = range(count)[part]
    plan = [_drawn_as(name, split, count, seed, i) for i in numbers]
    drawn = "300w" if name == "masked_300w" else name
    rngs = [face_rng(drawn, s, seed, i) for s, i, _ in plan]
    persons = [_person(name, subset, rng) for rng, (_, _, subset) in zip(rngs, plan, strict=True)]
    heads = join([person for person, _ in persons])
    if name == "masked_300w":
        heads = people.masked(heads)
    images, truth, visible = render(heads, size, expand=expand, points=kind.points)
    annotator, landmarks, second = _annotations(heads, truth, rngs, kind.labelled)
    attributes = [text for _, text in persons]
    if name == "aflw":
        attributes = ["frontal" if every else "" for every in visible.all(1)]
    names = np.array([f"{name}_{s}_s{seed}_{i:05d}" for s, i, _ in plan])
    subset = np.array([s for _, _, s in plan])
    # one by one: sums over several heads at once may be rounded in another order
    length = np.concatenate([_box_sides(heads[i : i + 1], truth[i : i + 1], size / expand) for i in range(len(plan))])
    return RenderedSet(
        images, landmarks, truth, second, visible, length, annotator, subset, np.array(attributes), names, names.copy()
    )


def _annotations(
    heads: HeadParameters, truth: np.ndarray, rngs: list[np.random.Generator], labelled: bool
) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """Who annotated each face, that annotation, and somebody else's."""
    annotator = np.array([int(rng.integers(0, ANNOTATORS)) for rng in rngs])
    if not labelled:
        return annotator, np.zeros((len(heads), 0, 2), np.float32), None
    other = np.array([int((a + rng.integers(1, ANNOTATORS)) % ANNOTATORS) for a, rng in zip(annotator, rngs, strict=True)])
    first, second = (
        np.concatenate([annotate(truth[i : i + 1], heads[i : i + 1], who[i], rng) for i, rng in enumerate(rngs)])
        for who in (annotator, other)
    )
    return annotator, first, second


def _box_sides(heads: HeadParameters, truth: np.ndarray, side: float) -> np.ndarray:
    """sqrt(w * h) of the tight box of all 68 points, in pixels; `side` is the larger side of the box of truth (N, K, 2)."""
    if truth.shape[1] == 68:
        return np.sqrt(np.ptp(truth, axis=1).prod(-1))
    flat = head.project(head.turn(head.rest_surface(heads), heads.pose), heads.distance)
    scale = side / np.ptp(head.landmarks(flat, truth.shape[1]), axis=1).max(-1)
    return (np.sqrt(np.ptp(head.landmarks(flat), axis=1).prod(-1)) * scale).astype(np.float32)
