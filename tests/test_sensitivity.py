"""Box sensitivity: exact without disturbance, flat for a model that knows the truth, and boxes move as they say."""

from collections.abc import Callable

import numpy as np
import pytest
import torch

from fa_lib import metrics, models, plots, sensitivity, training
from fa_lib.data import Faces
from fa_lib.geometry import apply_to_landmarks
from fa_lib.heatmaps import decode, draw

SIZE = 64
CHANNEL = np.arange(68) // 9 % 3  # nine landmarks a blob; the eye corners 36 and 45 lie on different ones
NEUTRAL = {"shift": (0.0,), "scale": (100.0,), "rotation": (0.0,)}


@pytest.fixture
def blobs(by_hand: Callable) -> Faces:
    """Seven faces whose pictures are three smooth blobs, red, green and blue, with all landmarks of a colour on its blob."""
    where = torch.rand(7, 3, 2, generator=torch.Generator().manual_seed(0)) * 20 + 22
    pictures = draw(where + 12, 88, sigma=2.5, amplitude=255)
    return by_hand(where[:, CHANNEL].numpy(), SIZE, pictures.round().byte().permute(0, 2, 3, 1).numpy())


def oracle(crops: np.ndarray) -> np.ndarray:
    """Finds the blobs, wherever they are."""
    return decode(torch.from_numpy(crops).permute(0, 3, 1, 2).float(), "local", radius=9)[:, CHANNEL].numpy()


def test_without_disturbance_it_is_the_plain_nme_exactly(by_hand: Callable):
    random = np.random.default_rng(0)
    faces = by_hand(random.uniform(10, 50, (70, 68, 2)), 32)  # more than one batch
    net = models.create("resnet18", landmarks=68, size=32, width=8)
    crops, target = faces.crops()
    plain = metrics.nme(training.predict(net, crops), target, faces.lengths()).mean()
    found = sensitivity.box_sensitivity(net, faces, NEUTRAL)
    assert list(found["kind"]) == ["shift", "scale", "rotation"] and (found["nme"] == plain).all()
    assert ((found["low"] < plain) & (plain < found["high"])).all()


def test_model_that_follows_the_picture_is_flat(blobs: Faces):
    found = sensitivity.box_sensitivity(oracle, blobs, {"shift": (0, 10), "scale": (85, 120), "rotation": (-30, 30)})
    assert (found["nme"] * blobs.lengths().mean() < 0.05).all()  # pixels


def test_model_that_ignores_the_picture_pays_for_the_box(blobs: Faces):
    answer = blobs.crops()[1]
    calls = iter(range(100))

    def stubborn(crops: np.ndarray) -> np.ndarray:
        next(calls)
        return answer

    found = sensitivity.box_sensitivity(stubborn, blobs, {"shift": (0.0, 5.0, 10.0)})["nme"]
    lengths = blobs.lengths()
    assert found.tolist() == pytest.approx([(share * SIZE / lengths).mean() for share in (0, 0.05, 0.1)], rel=1e-4, abs=1e-6)


def test_boxes_move_grow_and_turn_as_they_say():
    middle, right = torch.full((3, 1, 2), 31.5), torch.tensor([[[41.5, 31.5]]]).expand(3, 1, 2)
    moved = apply_to_landmarks(sensitivity.boxes("shift", 10, 3, SIZE), middle) - middle
    assert torch.allclose(moved.norm(dim=-1), torch.tensor(6.4)) and len(torch.unique(moved[:, 0], dim=0)) == 3
    again = apply_to_landmarks(sensitivity.boxes("shift", 5, 3, SIZE), middle) - middle
    assert torch.allclose(2 * again, moved, atol=1e-4)  # the same way at each amount
    wide = apply_to_landmarks(sensitivity.boxes("scale", 120, 3, SIZE), right)
    assert torch.allclose(wide, torch.tensor([43.5, 31.5]))  # what lies 10 px from the middle of a large box is 12 px away
    turned = apply_to_landmarks(sensitivity.boxes("rotation", 90, 3, SIZE), right)
    assert torch.allclose(turned, torch.tensor([31.5, 41.5]), atol=1e-4)  # clockwise, as y points down


def test_no_black_border_within_the_stored_margin(by_hand: Callable):
    white = by_hand(np.random.default_rng(0).uniform(20, 40, (4, 68, 2)), SIZE, np.full((4, 88, 88, 3), 255, np.uint8))
    seen = []

    def look(crops: np.ndarray) -> np.ndarray:
        seen.append(int(crops.min()))
        return white.crops()[1]

    sensitivity.box_sensitivity(look, white, {"shift": (15,), "scale": (80, 130), "rotation": (20,)})
    assert seen == [255, 255, 255, 255]


def test_figure_has_a_panel_with_units_for_each_kind_and_a_line_for_each_model(blobs: Faces):
    amounts = {"shift": (0, 10), "scale": (90, 100), "rotation": (-10, 0)}
    figure, frame = plots.box_sensitivity({"one": oracle, "two": lambda crops: oracle(crops) + 2}, blobs, amounts=amounts)
    assert [axes.get_xlabel() for axes in figure.axes] == [
        "box moved by [% of its side]", "size of the box [%]", "box turned by [degrees]",
    ]  # fmt: skip
    assert "% of inter-ocular distance" in figure.axes[0].get_ylabel()
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["one", "two"]
    for axes, kind in zip(figure.axes, amounts):
        lines = [line for line in axes.lines if line.get_label() in ("one", "two")]
        assert len({(line.get_marker(), line.get_linestyle(), line.get_color()) for line in lines}) == 2
        for line in lines:
            part = frame[(frame["kind"] == kind) & (frame["model"] == line.get_label())]
            assert np.allclose(line.get_xydata(), part[["amount", "nme"]] * [1, 100])
    assert not plots.box_sensitivity(oracle, blobs, amounts=NEUTRAL)[0].legends  # a single model needs no name
