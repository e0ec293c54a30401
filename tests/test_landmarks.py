"""Point schemes: every flip is an involution that swaps the sides, and conversions keep each point where it was."""

import hashlib

import numpy as np
import pytest
import torch

from fa_lib.errors import InputError
from fa_lib.landmarks import SCHEMES, convert, scheme_of

# First digits of the SHA-256 of "16 15 14 ..." and the points on the middle line, from a table drawn up independently.
FLIPS = {
    68: ("d679873fbcadacac", (8, 27, 28, 29, 30, 33, 51, 57, 62, 66)),
    98: ("8b1d3c5c728e4bf1", (16, 51, 52, 53, 54, 57, 79, 85, 90, 94)),
    29: ("83710972cd9b7802", (20, 21, 24, 25, 26, 27, 28)),
    19: ("744027d7227a7b70", (13, 16, 18)),
}
each_scheme = pytest.mark.parametrize("count", FLIPS)


@each_scheme
def test_flip_equals_reference(count: int):
    digest, middle = FLIPS[count]
    flip = SCHEMES[count].flip
    assert hashlib.sha256(" ".join(map(str, flip)).encode()).hexdigest()[:16] == digest
    assert tuple(i for i, j in enumerate(flip) if i == j) == middle


@each_scheme
def test_flip_twice_is_identity(count: int):
    flip = np.array(SCHEMES[count].flip)
    assert SCHEMES[count].count == count == len(flip)
    assert (flip[flip] == np.arange(count)).all()


@each_scheme
def test_flip_swaps_outer_eyes_and_pupils(count: int):
    scheme = SCHEMES[count]
    left, right = scheme.outer_eyes
    assert scheme.flip[left] == right != left
    assert {scheme.flip[i] for i in scheme.pupils[0]} == set(scheme.pupils[1])
    assert not set(scheme.pupils[0]) & set(scheme.pupils[1])


@each_scheme
def test_flip_maps_each_region_to_its_mirror(count: int):
    scheme = SCHEMES[count]
    for name, ids in scheme.regions.items():
        mirror = name.replace("left", "RIGHT").replace("right", "left").replace("RIGHT", "right")
        assert {scheme.flip[i] for i in ids} == set(scheme.regions[mirror]), name


@each_scheme
def test_regions_are_disjoint_and_complete(count: int):
    assert sorted(i for ids in SCHEMES[count].regions.values() for i in ids) == list(range(count))


@each_scheme
def test_eyes_lie_in_their_regions(count: int):
    scheme = SCHEMES[count]
    for side, corner, pupil in zip(("left_eye", "right_eye"), scheme.outer_eyes, scheme.pupils):
        assert {corner, *pupil} <= set(scheme.regions[side])


def test_outer_eyes_are_the_published_ones():
    assert {count: scheme.outer_eyes for count, scheme in SCHEMES.items()} == {
        68: (36, 45), 98: (60, 72), 29: (8, 9), 19: (6, 11)
    }  # fmt: skip


def mirrored(landmarks: np.ndarray, width: int) -> np.ndarray:
    """The face in the mirror: x runs backwards, and each name moves to the point on the other side."""
    flipped = landmarks[..., list(SCHEMES[landmarks.shape[-2]].flip), :].copy()
    flipped[..., 0] = width - 1 - flipped[..., 0]
    return flipped


@each_scheme
def test_mirror_twice_is_identity_on_coordinates(count: int):
    face = np.random.default_rng(count).uniform(0, 256, (3, count, 2))
    np.testing.assert_allclose(mirrored(mirrored(face, 256), 256), face, rtol=0, atol=1e-12)


@pytest.mark.parametrize("source, target", [(98, 68), (68, 68), (29, 29)])
def test_convert_commutes_with_flip(source: int, target: int):
    face = np.random.default_rng(0).uniform(0, 256, (2, source, 2))
    np.testing.assert_array_equal(mirrored(convert(face, source, target), 256), convert(mirrored(face, 256), source, target))


def test_convert_keeps_regions_and_normalising_points():
    ids = convert(np.stack([np.arange(98), np.zeros(98)], -1), 98, 68)[:, 0].astype(int)
    assert len(set(ids.tolist())) == 68
    for name, region in SCHEMES[68].regions.items():
        assert set(ids[list(region)].tolist()) <= set(SCHEMES[98].regions[name]), name
    assert tuple(ids[list(SCHEMES[68].outer_eyes)].tolist()) == SCHEMES[98].outer_eyes
    assert not {62, 66, 70, 74, 96, 97} & set(ids.tolist())  # the middles of the lids, and the pupils
    # chin, brow ends, nose bridge and tip, inner eye corners, mouth corners: read off the two drawings
    assert ids[[8, 17, 21, 22, 26, 27, 30, 33, 39, 42, 48, 54, 60, 64]].tolist() == [
        16, 33, 37, 42, 46, 51, 54, 57, 64, 68, 76, 82, 88, 92
    ]  # fmt: skip


def test_convert_is_the_same_for_tensors_and_arrays():
    face = np.random.default_rng(1).normal(size=(2, 98, 2))
    converted = convert(torch.from_numpy(face), 98, 68)
    assert isinstance(converted, torch.Tensor)
    np.testing.assert_array_equal(converted.numpy(), convert(face, 98, 68))


def test_scheme_of_knows_every_count():
    for count, scheme in SCHEMES.items():
        assert scheme_of(np.zeros((5, count, 2))) is scheme is scheme_of(torch.zeros(count, 2))


@pytest.mark.parametrize(
    "call, words",
    [
        (lambda: scheme_of(np.zeros((4, 67, 2))), r"67 landmarks.*known: \[19, 29, 68, 98\]"),
        (lambda: scheme_of(np.zeros(2)), r"landmarks must be \(\.\.\., K, 2\), x before y, not \(2,\)"),
        (lambda: scheme_of(np.zeros((4, 2, 68))), r"landmarks must be .* not \(4, 2, 68\)"),
        (lambda: convert(np.zeros((4, 68, 2)), 98, 68), "68 points, but the source scheme 98"),
        (lambda: convert(np.zeros((4, 68, 2)), 68, 98), "no conversion from 68 to 98 points: only 98 -> 68"),
        (lambda: convert(np.zeros((4, 2, 98)), 98, 68), r"landmarks must be .* not \(4, 2, 98\)"),
    ],
)
def test_wrong_input_is_named(call, words: str):
    with pytest.raises(InputError, match=words):
        call()
