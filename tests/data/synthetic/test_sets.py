"""Imitated data sets: prefixes, proportions, and annotators who differ as much as real ones."""

import numpy as np
import pytest

from fa_lib.data.synthetic import annotators, head, people, sets
from fa_lib.data.synthetic.render import render
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


@pytest.mark.parametrize("name", sorted(sets.SETS))
def test_a_part_of_any_set_is_that_slice_of_the_whole(name):
    split = list(sets.SETS[name].splits)[-1]
    whole, part = sets.make(name, split, 5, 32), sets.make(name, split, 5, 32, part=slice(2, 4))
    for field in ("images", "landmarks", "truth", "visible", "length", "attributes", "subset", "names"):
        assert (getattr(whole, field)[2:4] == getattr(part, field)).all(), field
    count = sets.SETS[name].points
    assert whole.truth.shape == (5, count, 2) and whole.visible.shape == (5, count)
    assert whole.landmarks.shape[1] == (count if sets.SETS[name].labelled else 0)


def test_masked_faces_are_the_faces_of_300w_with_a_mask():
    plain, masked = (sets.make(name, "full", 10, 96) for name in ("300w", "masked_300w"))
    assert (plain.landmarks == masked.landmarks).all() and (plain.truth == masked.truth).all()
    assert (plain.second == masked.second).all() and (plain.subset == masked.subset).all()
    hidden = plain.visible & ~masked.visible
    assert (masked.visible <= plain.visible).all() and hidden.any(1).mean() >= 0.8


def test_a_mask_changes_the_picture_only_under_the_mask():
    clear = np.tile([0.0, 0, 0, 0, 100, 1, 1, 1], (6, 1))  # the camera's noise and blur would spread the difference
    heads = people.sample(6, np.random.default_rng(3), difficulty="challenging")
    heads = heads.change(camera=clear, look=np.zeros_like(heads.look))
    before, after = render(heads, 96), render(people.masked(heads), 96)
    for one, other, points in zip(before.images, after.images, before.landmarks, strict=True):
        changed = np.abs(one.astype(int) - other).max(-1) > 8
        brows = points[17:27]
        down = points[8] - brows.mean(0)
        y, x = np.nonzero(changed)
        depth = ((np.stack([x, y], -1) - brows.mean(0)) @ down) / (down @ down)
        assert len(x) == 0 or depth.min() > 0.1  # nothing at the brows or above


def test_attributes_of_wflw_have_the_shares_of_its_test_set():
    chosen = [sets._person("wflw", "test", sets.face_rng("wflw", "test", 0, i))[1].split(",") for i in range(1500)]
    for name, share in sets.WFLW_SHARES.items():
        assert abs(np.mean([name in one for one in chosen]) - share) < 4 * np.sqrt(share * (1 - share) / 1500)
    both = np.mean(["pose" in one and "blur" in one for one in chosen])
    assert 0.01 < both < 0.08  # drawn independently: 4 %


def test_aflw_turns_to_both_sides_and_says_which_faces_are_frontal():
    faces = sets.make("aflw", "full", 40, 32)
    frontal = faces.attributes == "frontal"
    assert (frontal == faces.visible.all(1)).all() and 0.05 < frontal.mean() < 0.7
    assert faces.length.min() > 10  # the box of the head's 68 points does not get thin in profile
    ahead = faces.truth[:, 13, 0] - faces.truth[:, [6, 11], 0].mean(1)  # from the eyes to the tip of the nose
    assert ahead.min() < -3 and ahead.max() > 3


def test_cofw_hides_as_many_points_as_the_real_set():
    assert abs(1 - sets.make("cofw", "train", 150, 32).visible.mean() - 0.23) < 0.05


@pytest.mark.parametrize("points", [98, 29, 19])
def test_annotators_of_every_scheme_differ_by_a_few_per_cent(points):
    heads = people.sample(200, np.random.default_rng(5))
    truth = head.landmarks(head.project(head.turn(head.rest_surface(heads), heads.pose), heads.distance), points)
    a, b = (annotators.annotate(truth, heads, who, np.random.default_rng(who)) for who in (0, 1))
    length = annotators.face_length(truth, heads.pose[:, 0])[:, None]
    assert 0.01 < np.median(np.linalg.norm(a - b, axis=-1) / length) < 0.035
    assert sorted(i for strand in annotators.STRANDS[points] for i in strand) == list(range(points))


def test_an_unknown_set_is_refused_with_the_names_there_are():
    with pytest.raises(InputError, match="300w, masked_300w, wflw"):
        sets.make("lfpw", "train", 1, 32)
