"""Faces of three coloured spots, whose landmarks are known exactly, are found in pictures; boxes are refined once."""

import numpy as np
import pytest
import torch
from torch import nn

from fa_lib.confidence import Calibration
from fa_lib.data.crops import cut_face
from fa_lib.finding import Finder, Judge, _cut, around, overlap, shrunk

SIZE = 32  # crops
FACE = np.array([[-10.0, -8], [10, -8], [0, 12]])  # a red, a green and a blue spot about the middle; tight box 20 x 20
JUDGE = Judge(Calibration((0, 1), (0, 1)), least=0.35)


class Spots(nn.Module):
    """Heatmaps of the three landmarks: the colours. Where a colour is missing, its map is flat."""

    def forward(self, images: torch.Tensor) -> list[torch.Tensor]:
        return [(images - 0.08).clamp(min=0) + 0.003]


class Fixed(nn.Module):
    """Landmarks at the same places of every crop of 28 pixels."""

    def __init__(self, *places: tuple[float, float]) -> None:
        super().__init__()
        self.places = torch.tensor(places)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.places.expand(len(images), -1, 2)


def picture_of(*faces: tuple[float, float, float], size: tuple[int, int] = (120, 90)) -> np.ndarray:
    """A picture (H, W, 3) with a face at each (x, y, scale); `size` is width, height."""
    x, y = np.meshgrid(np.arange(size[0]), np.arange(size[1]))
    picture = np.zeros((size[1], size[0], 3))
    for cx, cy, scale in faces:
        for colour, (px, py) in enumerate(FACE * scale + (cx, cy)):
            picture[..., colour] += 250 * np.exp(-((x - px) ** 2 + (y - py) ** 2) / (2 * scale**2))
    return picture.clip(0, 255).round().astype(np.uint8)


@pytest.mark.parametrize("order", [1, -1])
def test_every_face_is_found_once_and_the_largest_first(order: int):
    known = [(35, 60, 1), (200, 45, 1.6)]  # too far from each other to be seen in one window
    faces = Finder(Spots(), SIZE, JUDGE)(picture_of(*known[::order], size=(240, 100)))
    assert len(faces) == 2
    for face, (x, y, scale) in zip(faces, known[::-1], strict=True):
        assert np.abs(face.landmarks - FACE * scale - (x, y)).max() < 0.3
        assert face.score == pytest.approx(face.shares.mean()) and np.array_equal(face.chances, face.shares)


@pytest.mark.parametrize("size", [(120, 90), (1, 1), (2, 300), (31, 31)])
def test_nothing_is_found_where_nothing_is(size: tuple[int, int]):
    finder = Finder(Spots(), SIZE, JUDGE)
    assert finder(np.zeros((*size[::-1], 3), np.uint8)) == []
    assert finder(np.random.default_rng(0).integers(0, 256, (*size[::-1], 3), dtype=np.uint8)) == []
    assert finder(np.full((*size[::-1], 3), 200, np.uint8)) == []


def test_threshold_decides_what_is_a_face():
    picture = picture_of((60, 45, 1))
    (face,) = Finder(Spots(), SIZE, JUDGE)(picture)
    for least, count in ((face.score - 0.001, 1), (face.score + 0.001, 0)):
        assert len(Finder(Spots(), SIZE, Judge(JUDGE.calibration, least))(picture)) == count


def test_box_is_refined_once():
    """What a network puts 2 pixels beside the box it is shown comes out 4 pixels beside the one it was given: it looked twice."""
    net = Fixed((5.5, 3.5), (25.5, 23.5))
    (face,) = Finder(net, 28)(np.zeros((60, 80, 3), np.uint8), np.array([[9.5, 19.5, 29.5, 39.5]]))
    assert face.landmarks.tolist() == [[13.5, 19.5], [33.5, 39.5]]
    assert face.shares is None and face.chances is None and face.score is None


def test_given_boxes_are_answered_in_their_order_whatever_they_show():
    boxes = np.array([[20, 32, 40, 52], [90.0, 7, 110, 27]])
    first, second = Finder(Spots(), SIZE, JUDGE)(picture_of((30, 40, 1)), boxes)
    assert np.abs(first.landmarks - FACE - (30, 40)).max() < 0.15 and first.score > 0.35 > second.score
    assert first.box == pytest.approx((20, 32, 40, 52), abs=0.15)


def test_without_a_judge_windows_agree_about_the_largest_face():
    (face,) = Finder(Spots(), SIZE)(picture_of((70, 50, 1)))
    assert np.abs(face.landmarks - FACE - (70, 50)).max() < 0.15 and face.chances is None and face.score > 0.35
    assert Finder(Spots(), SIZE)(picture_of()) == []


def test_pictures_may_be_far_larger_than_crops():
    (face,) = Finder(Spots(), SIZE, JUDGE)(picture_of((400, 300, 10), size=(800, 600)))
    assert np.abs(face.landmarks - FACE * 10 - (400, 300)).max() < 1.5


@pytest.mark.parametrize("crop", [(10, 5, 38, 33), (-9.3, 40.2, 30.7, 80.2), (20, 10, 110, 100)])
def test_cut_is_that_of_the_whole_picture(crop: tuple):
    picture = np.random.default_rng(0).integers(0, 256, (90, 120, 3), dtype=np.uint8)
    cut, scale, offset = _cut(picture, np.array(crop, float), SIZE)
    whole, _, matrix = cut_face(picture, np.zeros((1, 2)), SIZE, 1.0, np.array(crop, float))
    assert scale == pytest.approx(matrix[0, 0]) and offset == pytest.approx(matrix[:, 2])
    far = np.abs(cut.astype(int) - whole)
    assert far.max() <= 1 if scale >= 1 else far.mean() < 25  # shrinking begins at another pixel, and this is noise


@pytest.mark.parametrize("crop", [(500.0, 5, 530, 35), (-90.0, -90, -60, -60), (np.nan, 0, 1, 1)])
def test_crops_outside_are_black(crop: tuple):
    cut, scale, offset = _cut(np.full((90, 120, 3), 255, np.uint8), np.array(crop), SIZE)
    assert cut.shape == (SIZE, SIZE, 3) and not cut.any() and np.isfinite([scale, *offset]).all()


def test_network_that_finds_no_numbers_finds_no_face():
    nothing = Fixed((float("nan"), 0.0), (1.0, 1.0))
    assert len(Finder(nothing, 28)(np.zeros((60, 80, 3), np.uint8), np.array([[9.5, 19.5, 29.5, 39.5]]))) == 1
    assert Finder(nothing, 28)(np.zeros((60, 80, 3), np.uint8)) == []


def test_overlap_of_boxes():
    box = np.array([0.0, 0, 4, 2])
    assert overlap(box, box) == 1 and overlap(box, box + 5) == 0
    assert overlap(box, np.array([2.0, 1, 6, 3])) == 2 / 14
    assert overlap(np.zeros(4), np.zeros(4)) == 0


def test_shrunk_says_how_many_pixels_became_one():
    small, ratio = shrunk(np.zeros((60, 100, 3), np.uint8), 0.5)
    assert small.shape == (30, 50, 3) and ratio.tolist() == [2, 2]
    same, ratio = shrunk(np.zeros((60, 100, 3), np.uint8), 3)
    assert same.shape == (60, 100, 3) and ratio.tolist() == [1, 1]


def test_crops_about_landmarks_are_those_that_networks_learn():
    assert around(FACE[None])[0] == pytest.approx((-14, -12, 14, 16))
