"""Imitated data sets: prefixes, proportions, and annotators who differ as much as real ones."""

import numpy as np
import pytest

from fa_lib.data.synthetic import annotators, head, people, sets
from fa_lib.errors import InputError


def test_faces_do_not_depend_on_the_length_of_the_set():
    long, short = sets.make("300w", "train", 5, 48), sets.make("300w", "train", 3, 48)
    for name in ("images", "landmarks", "truth", "second", "annotator", "names"):
        assert (getattr(long, name)[:3] == getattr(short, name)).all()


def test_splits_and_seeds_give_other_faces():
    base = sets.make("300w", "common", 1, 48)
    assert (base.images != sets.make("300w", "common", 1, 48, seed=1).images).any()
    assert (base.images != sets.make("300w", "challenging", 1, 48).images).any()


def test_full_is_common_then_challenging():
    full = sets.make("300w", "full", 10, 32)
    assert full.subset.tolist() == ["common"] * 8 + ["challenging"] * 2
    assert (full.images[:8] == sets.make("300w", "common", 8, 32).images).all()
    assert (full.images[8:] == sets.make("300w", "challenging", 2, 32).images).all()


def test_common_landmarks_lie_in_the_picture():
    common = sets.make("300w", "common", 12, 48)
    assert common.truth.min() > 0 and common.truth.max() < 47
    assert common.landmarks.dtype == np.float32 and common.images.shape == (12, 48, 48, 3)
    assert (common.landmarks != common.second).any(axis=(1, 2)).all()


def test_two_annotators_differ_as_on_300w():
    heads = people.sample(600, np.random.default_rng(5))
    truth = head.landmarks(head.project(head.turn(head.rest_surface(heads), heads.pose), heads.distance))
    rng = np.random.default_rng(6)
    first = rng.integers(0, annotators.ANNOTATORS, 600)
    second = (first + rng.integers(1, annotators.ANNOTATORS, 600)) % annotators.ANNOTATORS
    a, b = (annotators.annotate(truth, heads, who, rng) for who in (first, second))
    length = np.linalg.norm(truth[:, 45] - truth[:, 36], axis=-1)[:, None]
    apart = np.linalg.norm(a - b, axis=-1) / length * 100
    measured = [np.median(apart[:, part].mean(1)) for part in (slice(None), slice(17), slice(17, None))]
    assert np.allclose(measured, [2.05, 3.7, 1.6], rtol=0.15)


def test_an_annotator_has_habits():
    heads = people.sample(400, np.random.default_rng(7), difficulty="clip")
    truth = head.landmarks(head.project(head.turn(head.rest_surface(heads), heads.pose), heads.distance))
    error = [annotators.annotate(truth, heads, who, np.random.default_rng(8)) - truth for who in (0, 1)]
    assert np.linalg.norm(error[0].mean(0) - error[1].mean(0), axis=-1).mean() > 0.3  # mm


@pytest.mark.parametrize(("split", "count"), [("test", 3), ("train", 0)])
def test_make_rejects_wrong_input(split, count):
    with pytest.raises(InputError):
        sets.make("300w", split, count, 32)
