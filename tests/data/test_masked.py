"""Masks: their share, area and place; and batches in which two students see one face behind different masks."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Generator, Tensor, nn

from fa_lib import training
from fa_lib.data import Augment, Batches
from fa_lib.data.masked import MASKS, MaskedBatches, Masks

AUGMENT = Augment(flip=0.5, scale=(0.9, 1.1), degrees=20, brightness=0.1)


@pytest.fixture
def faces(by_hand):
    return by_hand(np.random.default_rng(0).uniform(8, 56, (9, 68, 2)))


def stream(faces, masks: Masks = MASKS["large"], augment: Augment = AUGMENT, seed: int = 1) -> MaskedBatches:
    return MaskedBatches(faces, augment, 4, generator=Generator().manual_seed(seed), masks=masks)


def sides(covered: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Of masks (B, 1, H, W): pixels, width and height of the box around them."""
    return covered.sum((1, 2, 3)), covered.any(2).sum((1, 2)), covered.any(3).sum((1, 2))


@pytest.mark.parametrize("variant", MASKS)
def test_share_area_and_aspect_of_many(variant: str):
    masks = MASKS[variant]
    pixels, wide, high = sides(masks.rectangles(torch.zeros(4000, 3, 64, 64), Generator().manual_seed(0)))
    used = pixels > 0
    assert used.float().mean().item() == pytest.approx(masks.share, abs=0.03)
    pixels, wide, high = pixels[used], wide[used], high[used]
    assert torch.equal(pixels, wide * high)  # full rectangles
    area, slack = pixels / 64**2, (wide + high + 1) / 2 / 64**2  # half a pixel on either side
    low, most = masks.area
    assert (area >= low - slack).all() and (area <= most + slack).all()
    assert area.mean().item() == pytest.approx((low + most) / 2, rel=0.03)
    assert area.min() < low + 0.01 and area.max() > most - 0.01
    aspect = (wide / high).log()
    assert aspect.abs().max() < math.log(1 / 0.3) + 0.2 and aspect.mean().abs() < 0.05  # as often wide as high
    assert aspect.min() < -1 and aspect.max() > 1
    assert wide.max() <= 64 and high.max() <= 64


@settings(max_examples=40)
@given(st.integers(0, 99), st.integers(1, 40), st.integers(1, 40), st.floats(0.05, 1), st.floats(0.05, 20))
def test_rectangles_lie_inside_and_are_as_large_as_asked(seed: int, height: int, width: int, area: float, aspect: float):
    masks = Masks(share=1, area=(area, area), aspect=(aspect, aspect))
    pixels, wide, high = sides(masks.rectangles(torch.zeros(20, 3, height, width), Generator().manual_seed(seed)))
    assert (wide.min(), high.min()) == (wide.max(), high.max()) and torch.equal(pixels, wide * high)
    wanted = area * height * width
    held = min(max(aspect, wanted / height**2), width**2 / wanted)  # to the picture; a pixel is the least there is
    assert abs(wide[0] - max(1, math.sqrt(wanted * held))) <= 0.501
    assert abs(high[0] - max(1, math.sqrt(wanted / held))) <= 0.501


def test_every_place_is_as_likely():
    masks = Masks(share=1, area=(0.25, 0.25), aspect=(1, 1))
    covered = masks.rectangles(torch.zeros(9000, 3, 8, 8), Generator().manual_seed(0))[:, 0].int()
    corners = covered.flatten(1).argmax(1)  # the first covered pixel in reading order
    places, counts = corners.unique(return_counts=True)
    assert places.tolist() == [8 * y + x for y in range(5) for x in range(5)]  # 4 x 4 in 8 x 8
    assert counts.float().div(9000 / 25).sub(1).abs().max() < 0.2


def test_a_whole_picture_and_none():
    pictures = torch.rand(5, 3, 6, 9, generator=Generator().manual_seed(0))
    whole = Masks(share=1, area=(1, 1), fill=0.25)(pictures, Generator().manual_seed(0))
    assert (whole == 0.25).all()
    assert torch.equal(Masks(share=0, area=(1, 1))(pictures, Generator().manual_seed(0)), pictures)


def test_pixels_beside_the_mask_stay_and_those_below_are_nearly_black():
    pictures = torch.rand(50, 3, 32, 32, generator=Generator().manual_seed(0)) / 2 + 0.5
    before = pictures.clone()
    masked = MASKS["released"](pictures, Generator().manual_seed(3))
    covered = MASKS["released"].rectangles(pictures, Generator().manual_seed(3)).expand_as(pictures)
    assert torch.equal(pictures, before) and torch.equal(masked[~covered], before[~covered])
    assert covered.any() and (masked[covered] * 255).allclose(torch.tensor(1.0))


def test_students_see_different_masks_on_the_crop_that_the_teacher_sees(faces):
    for batch in stream(faces):
        covered = [(view != batch.images).any(1) for view in (batch.first, batch.second)]
        for view, mask in zip((batch.first, batch.second), covered):
            assert mask.flatten(1).any(1).all()
            assert (view.permute(0, 2, 3, 1)[mask] == 1 / 255).all()
        assert (covered[0] != covered[1]).flatten(1).any(1).all()  # of every face


def test_teacher_sees_what_batches_without_masks_show(faces):
    masked, clean = stream(faces), Batches(faces, AUGMENT, 4, generator=Generator().manual_seed(1))
    one, other = next(iter(masked)), next(iter(clean))
    assert torch.equal(one.images, other.images) and torch.equal(one.landmarks, other.landmarks)
    assert torch.equal(one.index, other.index) and one.visible is None and len(masked) == len(clean) == len(list(masked)) == 2
    unmasked = next(iter(stream(faces, Masks(share=0, area=(0.1, 0.1)))))
    assert torch.equal(unmasked.first, unmasked.images) and torch.equal(unmasked.second, unmasked.images)


def test_the_stream_goes_on_from_its_generator(faces):
    first, second = stream(faces), stream(faces, seed=2)
    list(first)
    state = first.generator.get_state()
    wanted = list(first)
    second.generator.set_state(state)
    for one, other in zip(wanted, second, strict=True):
        assert all(torch.equal(getattr(one, view), getattr(other, view)) for view in ("images", "first", "second", "landmarks"))
    again = list(stream(faces))
    assert not torch.equal(again[0].first, wanted[0].first) and torch.equal(again[0].first, next(iter(stream(faces))).first)


def test_a_resumed_training_is_the_same(faces, tmp_path, monkeypatch):
    class Killed(Exception):
        pass

    def train(folder, epochs_until_killed: int = 99) -> list[Tensor]:
        torch.manual_seed(0)
        net, calls = nn.Conv2d(3, 4, 8, stride=8), iter(range(2 * epochs_until_killed))

        def loss_of(net, batch):
            if next(calls, None) is None:
                raise Killed
            return {
                "total": sum((net(view) - net(batch.images).detach() - 1).square().mean() for view in (batch.first, batch.second))
            }

        training.fit(net, stream(faces), loss_of, training.Plan(epochs=4, batch_size=4), folder)
        return list(net.parameters())

    monkeypatch.setattr(training, "CHECKPOINT_EVERY", -1.0)
    wanted = train(tmp_path / "whole")
    with pytest.raises(Killed):
        train(tmp_path / "killed", 2)
    assert (tmp_path / "killed" / "checkpoint.pt").exists()
    assert all(torch.equal(one, other) for one, other in zip(wanted, train(tmp_path / "killed"), strict=True))


def test_wrong_input_is_refused(faces, refusal):
    refusal("share=1.5", Masks, 1.5, (0.1, 0.2))
    refusal("fill=255", Masks, 1, (0.1, 0.2), fill=255)
    refusal("area=(0.2, 0.1)", Masks, 1, (0.2, 0.1))
    refusal("area=(2, 10)", Masks, 1, (2, 10))  # in %
    refusal("aspect=(0, 1)", Masks, 1, (0.1, 0.2), aspect=(0, 1))
    refusal("augment.mask=0.5", stream, faces, augment=Augment(mask=0.5))
