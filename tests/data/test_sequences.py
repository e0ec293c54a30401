"""Sequences: shifted stills hold one face, clips hold frames that follow one another, and pictures move with their landmarks."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from fa_lib.data import Augment
from fa_lib.data.sequences import Sequences, starts
from fa_lib.errors import InputError
from fa_lib.geometry import Affine, warp_images

SIZE, MARGIN = 64, 12


@pytest.fixture
def faces(by_hand):
    """Twenty frames in clips of 9, 8 and 3, each picture dark but for a bright blot at its only landmark that counts."""
    rng = np.random.default_rng(0)
    landmarks = rng.uniform(16, 48, (20, 68, 2)).round()
    images = np.zeros((20, SIZE + 2 * MARGIN, SIZE + 2 * MARGIN, 3), np.uint8)
    for picture, (x, y) in zip(images, landmarks[:, 0].astype(int) + MARGIN):
        picture[y - 2 : y + 3, x - 2 : x + 3] = 255
    return replace(by_hand(landmarks, SIZE, images), group=np.repeat(["a", "b", "c"], (9, 8, 3)))


def stream(faces, **options) -> Sequences:
    return Sequences(faces, options.pop("augment", Augment()), 2, generator=torch.Generator().manual_seed(1), **options)


def blot(images: torch.Tensor) -> torch.Tensor:
    """Where the bright blot of each picture (N, 3, S, S) is: (N, 2)."""
    light = images.mean(1)
    cells = torch.arange(images.shape[-1], dtype=torch.float)
    return torch.stack([(light.sum(1) * cells).sum(-1), (light.sum(2) * cells).sum(-1)], -1) / light.sum((1, 2))[:, None]


@pytest.mark.parametrize("jitter", [0.0, 0.05])
def test_pictures_move_with_their_landmarks(faces, jitter: float):
    augment = Augment(flip=0.5, scale=(0.9, 1.1), degrees=20, shift=0.03)
    for batch in stream(faces, augment=augment, jitter=jitter):
        images, landmarks = batch.images.flatten(0, 1), batch.landmarks.flatten(0, 1)
        assert images.shape[1:] == (3, SIZE, SIZE) and landmarks.shape[1:] == (68, 2)
        found = blot(images)
        first = (found - landmarks[:, 0]).norm(dim=-1)
        mirrored = (found - landmarks[:, 16]).norm(dim=-1)  # point 0 is point 16 of a mirrored face
        assert torch.minimum(first, mirrored).max() < 0.1


def test_shifted_stills_are_one_face_that_moves_a_little(faces):
    for batch in stream(faces, jitter=4 / SIZE):
        assert (batch.index == batch.index[:, :1]).all() and 5 <= batch.index.shape[1] <= 8
        moved = batch.landmarks - torch.from_numpy(faces.crops()[1])[batch.index].float()
        assert torch.allclose(moved, moved[:, :, :1].expand_as(moved), atol=1e-4)  # all points of a frame alike
        assert moved.abs().max() <= 4 and moved[:, :, 0].std() > 0.5 and not torch.allclose(moved[:, 0], moved[:, 1], atol=0.1)


def test_without_moves_nor_augmentation_frames_are_the_crops(faces):
    (crops, landmarks), batch = faces.crops(), next(iter(stream(faces)))
    assert torch.allclose(batch.images, torch.from_numpy(crops[batch.index.numpy()]).permute(0, 1, 4, 2, 3) / 255, atol=1e-5)
    assert torch.allclose(batch.landmarks, torch.from_numpy(landmarks[batch.index.numpy()]).float(), atol=1e-4)


def test_clips_give_frames_that_follow_one_another(faces):
    seen = set()
    for _ in range(40):
        for batch in stream(faces, frames=(3, 3)):
            assert (batch.index.diff(dim=1) == 1).all()
            assert all(len(set(faces.group[row.numpy()])) == 1 for row in batch.index)
    for seed in range(60):
        source = Sequences(faces, Augment(), 2, generator=torch.Generator().manual_seed(seed), frames=(3, 3))
        seen |= {int(first) for batch in source for first in batch.index[:, 0]}
    assert seen == {*range(7), *range(9, 15), 17}


def test_all_frames_of_a_sequence_have_one_augmentation(faces):
    augment = Augment(flip=0.5, scale=(0.8, 1.2), degrees=30, shift=0.05)
    before = torch.from_numpy(faces.crops()[1]).float()
    for batch in stream(faces, augment=augment):
        for index, after in zip(batch.index, batch.landmarks):
            ones = torch.ones(*before[index].shape[:2], 1)
            fitted = torch.linalg.lstsq(torch.cat([before[index], ones], -1), after).solution  # (T, 3, 2), unless mirrored
            apart = (torch.cat([before[index], ones], -1) @ fitted - after).abs().amax((1, 2))
            assert (apart < 1e-2).all() or (apart > 1).all()  # a mirrored sequence has its points in another order
            if (apart < 1e-2).all():
                assert torch.allclose(fitted, fitted[:1].expand_as(fitted), atol=1e-3)


def test_the_stream_goes_on_from_its_generator(faces):
    first, second = stream(faces, jitter=0.03), stream(faces, jitter=0.03)
    list(first)
    state = first.generator.get_state()
    wanted = [batch.images for batch in first]
    second.generator.set_state(state)
    assert all(torch.equal(a, b.images) for a, b in zip(wanted, second, strict=True))


def test_lengths_of_a_pass(faces):
    for jitter in (0.03, 0.0):
        assert len(stream(faces, jitter=jitter)) == 1  # twenty faces, as many frames, sixteen at a time
        assert len(list(stream(faces, jitter=jitter))) == 1
    assert len(Sequences(faces, Augment(), 2, frames=(2, 3), jitter=0.03)) == 3  # six at a time


def test_clips_that_are_too_short_are_refused(faces, refusal):
    refusal("no clip has 10 frames", Sequences, faces, Augment(), 2, frames=(5, 10))
    assert starts(np.array(["a"]), 2).tolist() == [] and starts(np.array([], str), 1).tolist() == []
    with pytest.raises(InputError):
        Sequences(faces.select(np.arange(3)), Augment(), 2)


def test_a_move_is_a_share_of_the_crop():
    picture = torch.zeros(1, 3, 9, 9)
    picture[:, :, 4, 4] = 1
    matrix = torch.eye(2, 3)[None].clone()
    matrix[:, 0, 2] = 2  # what Sequences adds to x moves the picture to the right
    assert torch.equal(blot(warp_images(picture, Affine(matrix), 9)), torch.tensor([[6.0, 4.0]]))
