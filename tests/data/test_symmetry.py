"""Flip maps: right ones pass, also for heads that all turn to one side; wrong ones are caught with the pair that is wrong."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fa_lib.data import symmetry
from fa_lib.landmarks import SCHEMES, Scheme


def heads(scheme: Scheme, count: int, seed: int, turned: float = 0.0) -> np.ndarray:
    """Symmetric heads with `scheme`'s flip, a little different, turned about the vertical axis and tilted: (count, K, 2)."""
    rng = np.random.default_rng(seed)
    points = rng.uniform(0.15, 1, (scheme.count, 3)) * [1, 2, 0.5] - [0, 1, 0]
    for i, j in enumerate(scheme.flip):
        points[i] = [0, *points[i, 1:]] if i == j else points[j] * [-1, 1, 1] if j < i else points[i]
    angle = np.radians(turned + rng.normal(0, 8, count))
    x = points[:, 0] * np.cos(angle)[:, None] + points[:, 2] * np.sin(angle)[:, None]
    flat = np.stack([x, np.broadcast_to(points[:, 1], x.shape)], -1) + rng.normal(0, 0.01, (count, scheme.count, 2))
    return flat * rng.uniform(20, 200, (count, 1, 1)) + rng.uniform(0, 500, (count, 1, 2))


FIVE = Scheme(5, (1, 0, 2, 4, 3), (0, 1), None, {})


@given(st.integers(0, 10_000), st.sampled_from([FIVE, SCHEMES[19], SCHEMES[29]]), st.sampled_from([0.0, 30.0]))
@settings(max_examples=40)
def test_right_flip_is_never_called_wrong(seed: int, scheme: Scheme, turned: float):
    assert not symmetry.reflect(heads(scheme, 20, seed, turned), scheme).wrong


@given(st.integers(0, 10_000), st.sampled_from([FIVE, SCHEMES[19], SCHEMES[29]]))
@settings(max_examples=40)
def test_two_crossed_pairs_are_caught(seed: int, scheme: Scheme):
    pairs = [(i, j) for i, j in enumerate(scheme.flip) if i < j]
    rng = np.random.default_rng(seed)
    (a, b), (c, d) = (pairs[i] for i in rng.choice(len(pairs), 2, replace=False))
    faces, flip = heads(scheme, 30, seed), list(scheme.flip)
    size = np.sqrt(((faces[0] - faces[0].mean(0)) ** 2).sum(-1).mean()) * 2
    if np.linalg.norm(faces[0, a] - faces[0, c]) < 0.3 * size:  # so near each other that exchanging them does no harm
        return
    flip[a], flip[d], flip[c], flip[b] = d, a, b, c
    found = symmetry.reflect(faces, replace(scheme, flip=tuple(flip)))
    assert found.wrong and set(found.worst) <= {a, b, c, d}
    assert f"{found.worst[0]} and {found.worst[1]} are mirror images" in found.complaint()


def test_forgotten_flip_says_where_the_point_belongs():
    found = symmetry.reflect(heads(FIVE, 10, 0), replace(FIVE, flip=(0, 1, 2, 3, 4)))
    i = found.worst[0]
    assert found.wrong and FIVE.flip[i] != i and found.lands[i] == FIVE.flip[i]
    assert f"point {i} is its own mirror image" in found.complaint() and f"belongs to point {FIVE.flip[i]}" in found.complaint()


def test_heads_turned_to_one_side_are_a_remark_and_no_fault():
    found = symmetry.reflect(heads(FIVE, 40, 3, turned=45), FIVE)
    assert not found.wrong and "either most heads turn to one side or flip is wrong" in found.complaint()
    assert symmetry.reflect(heads(FIVE, 40, 3), FIVE).complaint() == ""


def test_mean_of_a_symmetric_face_lies_on_its_mirror_image():
    face = np.array([[[-3.0, 0], [3, 0], [0, 2], [-2, 5], [2, 5]]]) + 50
    found = symmetry.reflect(np.repeat(face, 6, 0), FIVE)
    assert found.apart.max() < 1e-12 and np.allclose(found.mean, found.mirrored) and not found.wrong


@pytest.mark.parametrize("count", [1, 4])
def test_too_few_faces_are_not_judged(count: int):
    assert not symmetry.reflect(heads(FIVE, count, 0), replace(FIVE, flip=(0, 1, 2, 3, 4))).wrong


def test_a_single_point_is_its_own_mirror_image():
    assert symmetry.reflect(np.full((9, 1, 2), 4.0), Scheme(1, (0,), None, None, {}, "box")).complaint() == ""
