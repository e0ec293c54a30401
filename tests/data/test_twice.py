"""Faces labelled twice: what is found in the second picture comes back to the first."""

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import torch

from fa_lib import training
from fa_lib.data import Augment, load, twice
from fa_lib.geometry import Affine, apply_to_landmarks, warp_images
from fa_lib.heatmaps import decode, draw

PAIR = ("lfpw/testset/image_0066", "lfpw/trainset/image_0215")  # one photograph, annotated twice
POINTS = np.random.default_rng(0).uniform(30, 110, (68, 2)).astype(np.float32)


def test_rendered_labels_are_the_two_annotators(source):
    test = source.test()
    found = twice.rendered(test)
    assert np.allclose(found.first_labels, test.landmarks - test.offset)
    assert np.allclose(found.second_labels, test.second - test.offset)
    assert (found.first == test.crops()[0]).all() and found.second.shape == found.first.shape
    assert (found.first != found.second).mean() > 0.5 and list(found.group) == list(test.group)


def test_the_second_look_is_the_same_each_time(source):
    first, second = (twice.rendered(source.test()) for _ in range(2))
    assert (first.second == second.second).all() and torch.equal(first.back.matrix, second.back.matrix)


def test_what_is_found_in_the_second_picture_comes_back(by_hand: Callable):
    """A model that sees exactly where a blob is must agree with itself, and disagrees where nothing is brought back."""
    where = torch.rand(6, 3, 2, generator=torch.Generator().manual_seed(0)) * 24 + 20
    images = draw(where + 12, 88, sigma=2.5, amplitude=255).round().byte().permute(0, 2, 3, 1).numpy()
    faces = by_hand(where[:, np.arange(68) % 3].numpy(), 64, images)
    object.__setattr__(faces, "second", faces.landmarks)  # rendered faces have one
    found = twice.rendered(faces)

    def find(pictures: np.ndarray) -> np.ndarray:
        maps = torch.from_numpy(pictures).permute(0, 3, 1, 2).float()
        background = maps.amin((2, 3), keepdim=True) + 25  # noise and lifted light
        return decode((maps - background).clamp(min=0), "centroid").numpy()

    apart = np.linalg.norm(found.bring_back(find(found.second)) - where.numpy(), axis=-1)
    assert apart.max() < 0.25
    assert np.linalg.norm(find(found.second) - where.numpy(), axis=-1).max() > 1


def photograph(path: Path, affine: Affine, points: np.ndarray) -> None:
    """A smooth, textured picture of 150 x 150 seen through `affine`, with its points moved by it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(1).random((150, 150, 3)).astype(np.float32)
    texture = cv2.normalize(cv2.GaussianBlur(noise, (0, 0), 5), None, 0, 255, cv2.NORM_MINMAX)
    moved = warp_images(torch.from_numpy(texture).permute(2, 0, 1)[None], affine, padding="border")
    cv2.imwrite(str(path.with_suffix(".png")), moved[0].permute(1, 2, 0).round().byte().numpy())
    moved_points = apply_to_landmarks(affine, torch.from_numpy(points)[None])[0].numpy() + 1
    rows = "\n".join(f"{x} {y}" for x, y in moved_points)
    path.with_suffix(".pts").write_text(f"version: 1\nn_points: 68\n{{\n{rows}\n}}\n")


def test_photographs_are_registered_by_their_pictures(tmp_path: Path):
    """The second copy is turned, and its annotator marked everything 2 pixels further right: registration shows just that."""
    turn = Affine.about(torch.full((1, 2), 74.5), torch.ones(1), torch.tensor([4.0]), torch.tensor([[1.5, -1.0]]))
    photograph(tmp_path / PAIR[0], Affine.identity(1), POINTS)
    photograph(tmp_path / PAIR[1], turn, POINTS + np.float32([2, 0]))
    found = twice.photographed(str(tmp_path), 96)
    assert found.first.shape == (1, 96, 96, 3) and list(found.group) == [PAIR[0]]
    side = 1.4 * np.ptp(POINTS, axis=0).max()
    apart = (found.second_labels - found.first_labels)[0] / 96 * side  # in pixels of the photograph
    assert np.abs(apart - [2, 0]).max() < 0.35


def test_copies_that_do_not_register_are_left_out(tmp_path: Path):
    photograph(tmp_path / PAIR[0], Affine.identity(1), POINTS)
    photograph(tmp_path / PAIR[1], Affine.identity(1), POINTS)
    other = np.random.default_rng(2).integers(0, 256, (150, 150, 3), dtype=np.uint8)
    cv2.imwrite(str(tmp_path / f"{PAIR[1]}.png"), other)
    assert len(twice.photographed(str(tmp_path), 96).group) == 0


def test_set_without_pairs_gives_no_faces_and_can_be_predicted(tmp_path: Path, cache: Path):
    photograph(tmp_path / PAIR[0], Affine.identity(1), POINTS)
    found = twice.photographed(str(tmp_path), 64)
    net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 64 * 64, 136), torch.nn.Unflatten(1, (68, 2)))
    assert found.bring_back(training.predict(net, found.second)).shape == (0, 68, 2) == found.first_labels.shape
    assert len(load("300w", "common", tmp_path, 64)) == 1


def test_looks_change_little(source):
    """A second photograph, not another face: at most 5 degrees, 5 % in size, 2 % in place."""
    assert twice.LOOK == Augment(scale=(0.95, 1.05), degrees=5, shift=0.02, brightness=0.05, contrast=0.1, noise=0.02)
    apart = np.linalg.norm(twice.rendered(source.test()).bring_back(POINTS[None].repeat(3, 0)) - POINTS, axis=-1)
    assert apart.max() < 0.2 * 32 + 0.2 * 110
