"""Imitated clips: smooth motion, a still stretch, a background that stays put, fresh noise."""

import numpy as np
import pytest

from fa_lib.data.synthetic.motion import draw_clip, make_300vw
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


def test_a_driver_nearly_holds_still_and_has_no_landmarks():
    clip = draw_clip("ddd", "evaluation", 0, 50, 48)
    assert clip.landmarks.shape == (50, 0, 2) and clip.truth.shape == (50, 68, 2)
    length = np.linalg.norm(clip.truth[0, 45] - clip.truth[0, 36])
    driver, arbitrary = (
        np.mean([np.ptp(draw_clip(*part, i, 30, 16).truth[:, 27:36].mean(1), axis=0).max() for i in range(4)])
        for part in (("ddd", "evaluation"), ("300vw", "3"))
    )
    assert driver < 0.6 * arbitrary
    assert np.ptp(clip.truth[:, 27:36].mean(1), axis=0).max() < 0.35 * length


def test_scenario_3_is_strongly_compressed_and_the_same_in_every_frame():
    clip = draw_clip("300vw", "3", 1, 3, 64)
    assert clip.scenario == 3 and draw_clip("300vw", "train", 4, 3, 32).scenario == 2


@pytest.mark.parametrize(("name", "part"), [("300vw", "4"), ("ddd", "1"), ("wflw", "train")])
def test_clips_that_do_not_exist_are_refused(name, part):
    with pytest.raises(InputError, match="ddd with train, evaluation"):
        draw_clip(name, part, 0, 5, 32)
