"""Pictures of heads: shapes, boxes, determinism, and that points sit on what is drawn."""

from collections.abc import Callable

import numpy as np
import pytest

from fa_lib.data.synthetic import deform, head, people
from fa_lib.data.synthetic.render import render
from fa_lib.errors import InputError


def test_render_shapes_types_and_determinism():
    heads = people.sample(3, np.random.default_rng(2), difficulty="challenging")
    images, points, _ = render(heads, 64)
    again, _, _ = render(heads[1:2], 64)
    assert images.shape == (3, 64, 64, 3) and images.dtype == np.uint8
    assert points.shape == (3, 68, 2) and points.dtype == np.float32
    assert (images[1:2] == again).all()
    assert images.std(axis=(1, 2, 3)).min() > 5


@pytest.mark.parametrize("expand", [1.4, 1.925])
def test_convention_the_picture_is_expand_times_the_landmark_box(expand):
    _, points, _ = render(people.sample(4, np.random.default_rng(3)), 64, expand=expand)
    low, high = points.min(1), points.max(1)
    assert np.allclose((high - low).max(-1), 64 / expand, atol=1e-3)
    assert np.allclose((low + high) / 2, 31.5, atol=1e-3)  # the middle of [-0.5, 63.5]


def test_view_moves_the_picture_and_the_landmarks_together(clean: Callable):
    one = clean(1)
    posed = head.project(head.turn(head.rest_surface(one), one.pose), one.distance)
    box = head.square_boxes(head.landmarks(posed), 1.925)
    _, points, _ = render(one, 64)
    step = (box[:, 2:3] - box[:, :1]) / 64
    _, moved, _ = render(one, 64, view=box + step * [8, 0, 8, 0])
    assert np.allclose(moved, points - [8, 0], atol=1e-3)


def test_iris_is_dark_where_the_eye_looks(clean: Callable):
    images, points, _ = render(clean(8), 192)
    for image, p in zip(images, points, strict=True):
        for eye in (p[36:42], p[42:48]):
            x, y = np.round(eye[[1, 2, 4, 5]].mean(0)).astype(int)
            pupil = image[y - 1 : y + 2, x - 1 : x + 2].min(axis=2).min()
            assert pupil < 75


def test_lips_differ_in_colour_from_the_chin(clean: Callable, mean_inside: Callable):
    heads = clean(8, skin=np.tile([0.55, 0.36, 0.27], (8, 1)), lips=np.tile([0.4, 0.1, 0.12], (8, 1)))
    for image, p in zip(*render(heads, 128)[:2], strict=True):
        lip = mean_inside(image, p[[48, 49, 50, 51, 52, 53, 54, 64, 63, 62, 61, 60]])
        chin = mean_inside(image, (p[8] * 0.45 + p[57] * 0.55) + np.array([[-3, -2], [3, -2], [3, 2], [-3, 2]]))
        assert lip[0] / lip[1] > 1.15 * chin[0] / chin[1]


def test_jaw_points_lie_where_the_bald_head_ends(clean: Callable):
    # Skin that shines against a dark scene: just outside the cheek there is background, just inside there is skin.
    heads = clean(4, identity=np.zeros((4, len(deform.IDENTITY_NAMES))), skin=np.full((4, 3), 0.8))
    images, points, _ = render(heads, 128)
    for image, p in zip(images, points, strict=True):
        out = (p[[3, 13]] - p[[13, 3]]) / np.linalg.norm(p[3] - p[13])
        inside = image[tuple(np.round(p[[3, 13]] - 3 * out).astype(int).T[::-1])].astype(float)
        cheek = image[tuple(np.round(p[[3, 13]] - 8 * out).astype(int).T[::-1])].astype(float)
        assert np.abs(inside - cheek).max() < 60


def test_render_shows_light_and_dark_skin(clean: Callable, mean_inside: Callable):
    images, points, _ = render(clean(24), 48)
    bright = [mean_inside(i, p[[1, 31, 48]]).mean() for i, p in zip(images, points, strict=True)]
    assert min(bright) < 90 and max(bright) > 180


def test_render_rejects_a_bad_view(clean: Callable):
    with pytest.raises(InputError, match="view"):
        render(clean(2), 64, view=np.zeros((1, 4)))
    with pytest.raises(InputError, match="size"):
        render(clean(1), 4)
