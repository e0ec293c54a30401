"""Augmentation: pictures and landmarks move together, mirrors swap points, and a generator's state is the whole state."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Generator, Tensor

from fa_lib.data import Augment, Batches, Faces
from fa_lib.geometry import apply_to_landmarks
from fa_lib.heatmaps import decode, draw
from fa_lib.landmarks import SCHEMES, Scheme

SIZE = 64
FLIP = torch.as_tensor(SCHEMES[68].flip)
CHANNEL = torch.arange(68) % 3  # landmark i lies on the blob of channel i mod 3
MOVES = Augment(scale=(0.8, 1.1), degrees=30, shift=0.05)


def seeded(seed: int = 0) -> Generator:
    return Generator().manual_seed(seed)


@pytest.fixture
def blob_faces(by_hand: Callable) -> Faces:
    """Nine faces whose pictures are three smooth blobs, red, green and blue, with all landmarks of a colour on its blob."""
    where = torch.rand(9, 3, 2, generator=seeded()) * 24 + 20
    pictures = draw(where + 12, 88, sigma=2.5, amplitude=255)  # the stored frame is 88 pixels wide
    images = pictures.round().byte().permute(0, 2, 3, 1).numpy()
    return by_hand(where[:, CHANNEL].numpy(), SIZE, images)


def one_batch(faces: Faces, augment: Augment, seed: int = 0) -> tuple[Tensor, Tensor]:
    batch = next(iter(Batches(faces, augment, len(faces), generator=seeded(seed))))
    return batch.images, batch.landmarks


def apart(images: Tensor, landmarks: Tensor, channel: Tensor = CHANNEL) -> float:
    """Greatest distance between a landmark and the blob of its colour, in pixels."""
    return float((decode(images, "centroid")[:, channel] - landmarks).norm(dim=-1).max())


@pytest.mark.parametrize("augment", [Augment(), MOVES], ids=["still", "moved"])
def test_picture_and_landmarks_move_together(blob_faces: Faces, augment: Augment):
    images, landmarks = one_batch(blob_faces, augment)
    assert images.shape == (9, 3, SIZE, SIZE)
    assert apart(images, landmarks) < 0.05
    assert apart(images, landmarks + 0.1) > 0.05  # the test sees a tenth of a pixel


def test_mirrored_landmarks_take_the_name_of_the_other_side(blob_faces: Faces):
    images, landmarks = one_batch(blob_faces, Augment(flip=1.0, scale=(0.8, 1.1), degrees=30, shift=0.05))
    assert apart(images, landmarks, CHANNEL[FLIP]) < 0.05
    assert apart(images, landmarks) > 5  # without the permutation


def test_without_augmentation_the_crop_comes_out(blob_faces: Faces):
    batch = next(iter(Batches(blob_faces, Augment(), 9, generator=seeded())))
    crops, landmarks = blob_faces.crops()
    assert np.allclose(batch.images.permute(0, 2, 3, 1).numpy() * 255, crops[batch.index], atol=1e-3)
    assert np.allclose(batch.landmarks.numpy(), landmarks[batch.index], atol=1e-4)


def test_flip_twice_is_the_identity():
    mirror, images, landmarks = Augment(flip=1.0), torch.rand(4, 3, SIZE, SIZE), torch.rand(4, 68, 2) * SIZE
    once = mirror(images, landmarks, SIZE, seeded())
    twice = mirror(*once[:2], SIZE, seeded())
    assert torch.allclose(once[0], images.flip(-1), atol=1e-4)
    assert not torch.allclose(once[1], landmarks)
    assert torch.allclose(twice[0], images, atol=1e-4) and torch.allclose(twice[1], landmarks, atol=1e-4)


def test_half_of_the_faces_are_mirrored():
    _, mirrored = Augment(flip=0.5).affine(2000, SIZE, seeded())
    assert 0.45 < mirrored.float().mean() < 0.55


def test_affine_stays_within_its_ranges():
    affine, _ = MOVES.affine(2000, SIZE, seeded())
    linear = affine.matrix[:, :, :2]
    scale = torch.linalg.det(linear).sqrt()
    degrees = torch.rad2deg(torch.atan2(linear[:, 1, 0], linear[:, 0, 0]))
    middle = torch.full((2000, 1, 2), (SIZE - 1) / 2)
    shift = (apply_to_landmarks(affine, middle) - middle).abs()
    assert 0.8 <= scale.min() < 0.81 and 1.09 < scale.max() <= 1.1 + 1e-6
    assert -30.01 <= degrees.min() < -29 and 29 < degrees.max() <= 30.01
    assert 3.1 < shift.max() <= 0.05 * SIZE + 1e-4


def test_shrunk_faces_see_their_surroundings(by_hand: Callable):
    """The stored frame is 11/8 as wide as the crop: down to 8/11 there are no black borders."""
    white = by_hand(np.full((2, 68, 2), 30.0), SIZE, np.full((2, 88, 88, 3), 255, np.uint8))
    assert one_batch(white, Augment(scale=(0.75, 0.75)))[0].min() > 0.99
    assert one_batch(white, Augment(scale=(0.6, 0.6)))[0].min() == 0


def test_same_generator_same_batches(blob_faces: Faces):
    augment = Augment(flip=0.5, degrees=20, brightness=0.1, contrast=0.1, colour=0.1, noise=0.1, mask=0.5)
    first, again, other = (one_batch(blob_faces, augment, seed) for seed in (3, 3, 4))
    assert all(torch.equal(a, b) for a, b in zip(first, again))
    assert not any(torch.equal(a, b) for a, b in zip(first, other))


def test_a_pass_sees_every_face_at_most_once_and_drops_the_odd_batch(blob_faces: Faces):
    batches = Batches(blob_faces, Augment(), 4, generator=seeded())
    passes = [torch.cat([batch.index for batch in batches]).tolist() for _ in range(2)]
    assert len(batches) == 2
    for seen in passes:
        assert len(seen) == 8 == len(set(seen)) and set(seen) <= set(range(9))
    assert passes[0] != passes[1]


def test_batch_is_no_larger_than_the_set(blob_faces: Faces):
    batches = Batches(blob_faces, Augment(), 100, generator=seeded())
    assert len(batches) == 1 and [len(batch.images) for batch in batches] == [9]


def test_state_of_the_generator_is_the_whole_state(blob_faces: Faces):
    augment = Augment(flip=0.5, scale=(0.5, 1.1), noise=0.1)
    batches = Batches(blob_faces, augment, 4, generator=seeded())
    list(batches)
    state = batches.generator.get_state()
    expected = list(batches)
    restored = Batches(blob_faces, augment, 4, generator=seeded(99))
    restored.generator.set_state(state)
    for batch, again in zip(expected, restored, strict=True):
        assert torch.equal(batch.images, again.images) and torch.equal(batch.landmarks, again.landmarks)


def test_masks_cover_2_to_15_per_cent():
    images = torch.ones(400, 3, SIZE, SIZE)
    masked = Augment(mask=1.0).recolour(images, seeded()) == 0.5
    area = masked[:, 0].float().mean((1, 2))
    rows, columns = masked[:, 0].any(2), masked[:, 0].any(1)
    inside = ~(rows[:, 0] | rows[:, -1] | columns[:, 0] | columns[:, -1])  # not cut by the border
    assert area.max() <= 0.17 and 0.015 <= area[inside].min() and area[inside].max() > 0.12
    assert torch.equal(area, rows.float().mean(1) * columns.float().mean(1))  # rectangles
    assert (masked == masked[:, :1]).all()


def test_masks_come_as_often_as_asked():
    masked = (Augment(mask=0.3).recolour(torch.ones(1000, 1, 16, 16), seeded()) == 0.5).any((1, 2, 3))
    assert 0.2 < masked.float().mean() < 0.35


@pytest.mark.parametrize("change", ["brightness", "contrast", "colour", "noise"])
def test_recolour_changes_and_stays_in_range(change: str):
    images = torch.rand(20, 3, 16, 16, generator=seeded())
    found = Augment(**{change: 0.8}).recolour(images, seeded(1))
    assert found.min() >= 0 and found.max() <= 1 and not torch.equal(found, images)
    plain = torch.full((20, 3, 16, 16), 0.4)
    spread = Augment(**{change: 0.2}).recolour(plain, seeded(1)).std((2, 3)).max()
    assert (spread > 0.01) == (change == "noise")


def test_colour_casts_differ_by_channel_and_contrast_does_not():
    plain = torch.full((5, 3, 4, 4), 0.3)
    cast, contrast = (Augment(**{key: 0.3}).recolour(plain, seeded()).mean((2, 3)) for key in ("colour", "contrast"))
    assert (cast.std(1) > 1e-3).all() and (contrast.std(1) < 1e-6).all()


def test_nothing_is_recoloured_without_being_asked():
    images = torch.rand(2, 3, 8, 8)
    assert Augment(flip=0.5, degrees=10).recolour(images, seeded()) is images


def test_trap_flags_of_a_mirrored_face_change_places_with_its_points(by_hand: Callable):
    """What hides the eye on the left hides, in the mirror, the eye on the right; without augmentation flags stay."""
    hidden = np.array(list(SCHEMES[68].regions["left_eye"]))
    visible = np.ones((3, 68), bool)
    visible[:, hidden] = False
    faces = replace(by_hand(np.full((3, 68, 2), 30.0), SIZE), visible=visible)
    mirrored, plain = (next(iter(Batches(faces, Augment(flip=flip), 3))).visible for flip in (1.0, 0.0))
    assert not mirrored[:, list(SCHEMES[68].regions["right_eye"])].any() and int(mirrored.sum()) == 3 * 62
    assert mirrored.dtype == torch.bool and torch.equal(plain, torch.from_numpy(visible))


def test_half_mirrored_batch_moves_the_flags_of_the_mirrored_faces_alone():
    points, flags = torch.rand(40, 68, 2) * SIZE, torch.rand(40, 68, generator=seeded(5)) < 0.5
    _, moved, seen = Augment(flip=0.5)(torch.zeros(40, 3, SIZE, SIZE), points, SIZE, seeded(), visible=flags)
    mirrored = (moved - points).abs().amax((1, 2)) > 1e-3
    assert 5 < mirrored.sum() < 35
    assert torch.equal(seen[mirrored], flags[mirrored][:, FLIP]) and torch.equal(seen[~mirrored], flags[~mirrored])


def test_scheme_of_the_faces_says_how_they_mirror(by_hand: Callable):
    """Three points of one's own, a number that no known scheme has; and 68 points that mirror otherwise than 300-W's."""
    three = Scheme(3, (1, 0, 2), (0, 1), None, {})
    faces = replace(by_hand(np.array([[[10.0, 20], [50, 20], [30, 40]]]).repeat(2, 0), SIZE), scheme=three)
    moved = next(iter(Batches(faces, Augment(flip=1.0), 2))).landmarks
    assert torch.allclose(moved, torch.tensor([[13.0, 20], [53, 20], [33, 40]]), atol=1e-4)
    plain = replace(SCHEMES[68], flip=tuple(range(68)))
    points = torch.rand(1, 68, 2) * SIZE
    moved = Augment(flip=1.0)(torch.zeros(1, 3, SIZE, SIZE), points, SIZE, seeded(), plain)[1]
    assert torch.allclose(moved[..., 0], SIZE - 1 - points[..., 0], atol=1e-4)


def test_unlabelled_faces_are_augmented_without_points(by_hand: Callable):
    faces = by_hand(np.zeros((4, 0, 2)), SIZE)
    assert faces.scheme is None
    batch = next(iter(Batches(faces, Augment(flip=0.5, degrees=20, noise=0.1), 4)))
    assert batch.images.shape == (4, 3, SIZE, SIZE) and batch.landmarks.shape == (4, 0, 2) and batch.visible is None


def test_few_pictures_at_a_time_give_the_same_crops(blob_faces: Faces, monkeypatch: pytest.MonkeyPatch):
    crops = []
    for cache in (0, 1 << 40):
        monkeypatch.setattr("fa_lib.data.augment.CACHE", cache)
        crops.append(one_batch(blob_faces, MOVES)[0])
    assert len(crops[0]) > 1 and torch.equal(*crops)
