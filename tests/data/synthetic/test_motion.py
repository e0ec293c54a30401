"""Imitated clips: smooth motion, a still stretch, a background that stays put, fresh noise."""

import numpy as np
import pytest

from fa_lib.data.synthetic.motion import make_300vw
from fa_lib.errors import InputError


@pytest.fixture(scope="module")
def clips():
    return {scenario: make_300vw(scenario, 1, 30, 48)[0] for scenario in (1, 2, 3)}


@pytest.mark.parametrize("scenario", [1, 2, 3])
def test_clip_moves_smoothly_and_holds_still(clips, scenario):
    clip = clips[scenario]
    length = np.linalg.norm(clip.truth[0, 45] - clip.truth[0, 36])
    step = np.diff(clip.truth, axis=0)
    assert np.linalg.norm(step, axis=-1).mean(1).max() < (0.25 if scenario == 3 else 0.12) * length
    still = clip.still[1:] & clip.still[:-1]
    assert still.sum() >= 3 and np.abs(step[still]).max() == 0
    assert np.abs(step[~still]).max() > 0.05


@pytest.mark.parametrize("scenario", [1, 2, 3])
def test_annotation_is_near_the_truth_and_smooth(clips, scenario):
    clip = clips[scenario]
    length = np.linalg.norm(clip.truth[0, 45] - clip.truth[0, 36])
    error = clip.landmarks - clip.truth
    assert 0.003 * length < np.linalg.norm(error, axis=-1).mean() < 0.03 * length
    assert np.linalg.norm(np.diff(error, axis=0), axis=-1).mean() < 0.004 * length


def test_sensor_noise_is_fresh_while_face_and_background_stay(clips):
    clip = clips[1]
    held = clip.images[clip.still].astype(float)
    assert (held[0] != held[1]).any()
    assert np.abs(held[0] - held[1]).mean() < 12
    assert np.abs(clip.images[0, :4, :4].astype(float) - clip.images[-1, :4, :4]).mean() < 12


def test_a_clip_repeats_and_does_not_depend_on_the_number_of_clips():
    one, two = make_300vw(2, 1, 6, 32, seed=3), make_300vw(2, 2, 6, 32, seed=3)
    assert (one[0].images == two[0].images).all() and one[0].name == two[0].name
    assert (two[0].images != two[1].images).any()


def test_make_300vw_rejects_an_unknown_scenario():
    with pytest.raises(InputError, match="scenario"):
        make_300vw(4, 1, 5, 32)
