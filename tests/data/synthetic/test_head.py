"""The parametric head: symmetry, the jaw's outline, curves and sampling."""

import numpy as np
import pytest

from fa_lib.data.synthetic import curves, deform, head, people, surface
from fa_lib.errors import InputError
from fa_lib.landmarks import SCHEMES


def plain(n: int = 1, **changes: np.ndarray) -> head.HeadParameters:
    """n mean heads: neutral, frontal, one light from the front, no hair, a perfect camera."""
    one = people.sample(n, np.random.default_rng(0))
    zero = {k: np.zeros_like(getattr(one, k)) for k in ("identity", "expression", "pose", "gaze", "detail")}
    light = np.tile([0.0, 25, 0.6, 0.6, 0.6, 0.4, 0.4, 0.4], (n, 1))
    camera = np.tile([0.0, 0, 0, 0, 100, 1, 1, 1], (n, 1))
    style = np.zeros((n, 4), int)
    every = {**zero, "light": light, "camera": camera, "style": style, "distance": np.full(n, 900.0), **changes}
    return one.change(**every)


def landmarks_of(parameters: head.HeadParameters) -> np.ndarray:
    """Landmarks in projected millimetres."""
    return head.landmarks(head.project(head.turn(head.rest_surface(parameters), parameters.pose), parameters.distance))


def test_landmarks_of_a_symmetric_head_mirror_under_the_flip_permutation():
    points = landmarks_of(plain())
    mirrored = points[:, SCHEMES[68].flip] * [-1, 1]
    assert np.abs(points - mirrored).max() < 0.05  # mm; the outer eye corners are 90 mm apart


def test_turning_the_other_way_mirrors_the_landmarks():
    right, left = (landmarks_of(plain(pose=np.array([[yaw, 8.0, 0.0]]))) for yaw in (35.0, -35.0))
    assert np.abs(right - left[:, SCHEMES[68].flip] * [-1, 1]).max() < 0.1


def test_positive_yaw_turns_the_nose_to_picture_right():
    assert landmarks_of(plain(pose=np.array([[30.0, 0, 0]])))[0, 30, 0] > 20


def test_far_jaw_points_lie_on_the_visible_outline():
    turned = plain(pose=np.array([[40.0, 0.0, 0.0]]))
    posed = head.project(head.turn(head.rest_surface(turned), turned.pose), turned.distance)
    points = head.landmarks(posed)[0]
    side = (surface.THETA > 20) & (surface.THETA < 88)  # without nose and ears
    cheek = posed[0].reshape(surface.ROWS, surface.COLUMNS, 3)[: surface.JAW_ROW + 1, side]
    for i in (12, 13, 14):
        level = np.abs(cheek[..., 1] - points[i, 1]) < 2
        assert abs(points[i, 0] - cheek[..., 0][level].max()) < 2.5


def test_near_jaw_points_stay_on_the_jaw_at_even_distances():
    frontal, turned = (head.rest_surface(plain()), plain(pose=np.array([[40.0, 0.0, 0.0]])))
    posed = head.project(head.turn(frontal, turned.pose), turned.distance)
    jaw = head.read(posed[..., :2], curves.contour_places()[0, :, -1])[0]
    points = head.landmarks(posed)[0, :9]
    ends, steps = jaw[:-1], np.diff(jaw, axis=0)
    part = np.clip(((points[:, None] - ends) * steps).sum(-1) / (steps**2).sum(-1), 0, 1)
    assert np.linalg.norm(points[:, None] - (ends + part[..., None] * steps), axis=-1).min(1).max() < 1.0
    apart = np.linalg.norm(np.diff(points, axis=0), axis=-1)
    assert apart.max() / apart.min() < 1.1


def test_shut_lids_and_lips_meet():
    e = np.zeros((1, len(deform.EXPRESSION_NAMES)))
    for name in ("left_eye_close", "right_eye_close", "lips_close"):
        e[0, deform.EXPRESSION_NAMES.index(name)] = 1
    points = landmarks_of(plain(expression=e))[0]
    assert np.abs(points[[37, 38, 61, 62, 63], 1] - points[[41, 40, 67, 66, 65], 1]).max() < 1.3


def test_curve_runs_through_its_landmarks():
    knots = curves.inner_places()[np.array([36, 37, 38, 39]) - 17]
    assert np.allclose(curves.curve("left_upper_lid", np.array([0, 1 / 3, 2 / 3, 1])), knots, atol=1e-3)


def test_sample_draws_every_skin_tone_evenly():
    bright = people.sample(2000, np.random.default_rng(1)).skin.mean(1)
    shares = np.histogram(np.sqrt(bright) * 255, bins=[0, 80, 125, 165, 205, 256])[0] / 2000
    assert shares.min() > 0.08


def test_sample_rejects_an_unknown_difficulty():
    with pytest.raises(InputError, match="difficulty"):
        people.sample(1, np.random.default_rng(0), difficulty="easy")


def test_read_is_the_bilinear_sum_of_four_corners():
    rng = np.random.default_rng(0)
    values = rng.normal(size=(2, surface.ROWS * surface.COLUMNS, 3))
    place = rng.uniform(0, [surface.COLUMNS - 1, surface.ROWS - 1], (4, 5, 2))
    read = head.read(values, place)
    assert read.shape == (2, 4, 5, 3)
    for n, i, j in np.ndindex(2, 4, 5):
        c, r = place[i, j].astype(int)
        fc, fr = place[i, j] - (c, r)
        grid = values[n].reshape(surface.ROWS, surface.COLUMNS, 3)[r : r + 2, c : c + 2]
        expected = np.array([1 - fr, fr]) @ (grid * np.array([1 - fc, fc])[:, None]).sum(1)
        assert np.allclose(read[n, i, j], expected, atol=1e-6)
