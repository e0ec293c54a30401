"""Paper 1's losses: equations written out as loops, zeros where they must be, and what ELT and SCT do to a network."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from fa_lib.data import Augment
from fa_lib.geometry import Affine, apply_to_landmarks, warp_images
from fa_lib.heatmaps import decode, draw
from fa_lib.losses import elt, face_l2, heatmap_mse, l2, scale, sct, self_distillation

SIZE = 64
MOVES = Augment(scale=(0.8, 1.0), degrees=30, shift=8 / 256)  # the paper's T


def random_moves(count: int, size: int = SIZE, seed: int = 0) -> Affine:
    return MOVES.affine(count, size, torch.Generator().manual_seed(seed))[0]


def random_faces(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(*shape, 2, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * 40 + 10


def blobs(count: int = 6, points: int = 5) -> Tensor:
    """Pictures (B, K, 64, 64) with one smooth blob a channel."""
    where = torch.rand(count, points, 2, generator=torch.Generator().manual_seed(1)) * 28 + 18
    return draw(where, SIZE, sigma=2.5)


def finder(pictures: Tensor) -> Tensor:
    """An equivariant model: where the blob of each channel is."""
    return decode(pictures, "centroid")


def without_inverse(model: Callable, images: Tensor, pred: Tensor, affine: Affine) -> Tensor:
    """ELT as it would be if T^-1 were forgotten."""
    return l2(pred, model(warp_images(images, affine)))


def moved_once_more(model: Callable, images: Tensor, pred: Tensor, affine: Affine) -> Tensor:
    """ELT as it would be with T in place of T^-1."""
    return l2(pred, apply_to_landmarks(affine, model(warp_images(images, affine))))


def is_zero_for_an_equivariant_model(loss: Callable) -> bool:
    images = blobs()
    return bool(loss(finder, images, finder(images), random_moves(len(images))) < 0.02**2)  # 0.02 px


def test_elt_is_zero_for_an_equivariant_model():
    assert is_zero_for_an_equivariant_model(elt)


@pytest.mark.parametrize("broken", [without_inverse, moved_once_more])
def test_elt_without_the_right_inverse_is_caught(broken: Callable):
    assert not is_zero_for_an_equivariant_model(broken)


def test_elt_is_not_zero_for_a_model_that_looks_elsewhere():
    images = blobs()

    def fixed(pictures: Tensor) -> Tensor:
        return torch.full((len(pictures), 5, 2), 20.0)

    assert elt(fixed, images, fixed(images), random_moves(len(images))) > 1


def linear_model(points: int, size: int, seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Flatten(), nn.Linear(3 * size * size, 2 * points), nn.Unflatten(1, (points, 2))).double()


def test_elt_is_equation_1_written_out():
    model, images, affine = linear_model(4, 16), torch.rand(3, 3, 16, 16, dtype=torch.float64), random_moves(3, 16)
    affine = Affine(affine.matrix.double())
    total, pred = 0.0, model(images)
    for i in range(3):
        moved = model(warp_images(images[i : i + 1], Affine(affine.matrix[i : i + 1])))[0].detach().numpy()
        back = np.linalg.inv(np.vstack([affine.matrix[i].numpy(), [0, 0, 1]]))
        for k in range(4):
            x, y, _ = back @ [*moved[k], 1]
            total += (pred[i, k, 0].item() - x) ** 2 + (pred[i, k, 1].item() - y) ** 2
    assert elt(model, images, pred, affine, distance=face_l2).item() == pytest.approx(total / 3, rel=1e-9)
    assert elt(model, images, pred, affine).item() == pytest.approx(total / 12, rel=1e-9)


def test_gradient_of_elt_flows_through_both_looks():
    model, images, affine = linear_model(4, 16), torch.rand(3, 3, 16, 16, dtype=torch.float64), random_moves(3, 16)

    def gradient(first: Tensor, second: Callable) -> Tensor:
        return torch.autograd.grad(elt(second, images, first, affine), model[1].weight)[0]

    def still(pictures: Tensor) -> Tensor:
        return model(pictures).detach()

    whole, first, second = gradient(model(images), model), gradient(model(images), still), gradient(still(images), model)
    assert first.norm() > 0 and second.norm() > 0
    assert torch.allclose(whole, first + second)


def test_scale_and_sct_are_equations_2_and_3_written_out():
    pred, reference = random_faces(3, 5), random_faces(3, 5, seed=1)
    sizes = []
    for faces in (pred, reference):
        sizes.append([])
        for face in faces.tolist():
            centre_x, centre_y = sum(x for x, _ in face) / 5, sum(y for _, y in face) / 5
            sizes[-1].append(sum(abs(x - centre_x) + abs(y - centre_y) for x, y in face))
    assert scale(pred).tolist() == pytest.approx(sizes[0])
    expected = sum(abs(a - b) for a, b in zip(*sizes)) / 3
    assert sct(pred, reference).item() == pytest.approx(expected)


def test_sct_sees_size_alone():
    faces = random_faces(3, 5)
    move = torch.tensor([[[3.0, -7.0]]], dtype=torch.float64)
    assert sct(faces + move, faces) < 1e-9
    assert sct(faces[:, [2, 0, 1, 4, 3]], faces) < 1e-9
    assert sct(faces.flip(-1), faces) < 1e-9
    assert sct(0.9 * faces, faces).item() == pytest.approx(0.1 * scale(faces).mean().item())
    assert sct(1.1 * faces, faces).item() == pytest.approx(0.1 * scale(faces).mean().item())


@pytest.mark.parametrize("of", [sct, face_l2, l2])
def test_gradients_are_right(of: Callable):
    pred, other = random_faces(2, 5).requires_grad_(), random_faces(2, 5, seed=1)
    assert torch.autograd.gradcheck(lambda p: of(p, other), (pred,))


def test_gradient_of_elt_is_right():
    model, images, affine = linear_model(2, 8), torch.rand(2, 3, 8, 8, dtype=torch.float64), random_moves(2, 8)
    affine = Affine(affine.matrix.double())
    inputs = images.requires_grad_()
    assert torch.autograd.gradcheck(lambda i: elt(model, i, model(i), affine), (inputs,), eps=1e-5, atol=1e-4)


class Counted:
    """`finder` that counts its calls."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, pictures: Tensor) -> Tensor:
        self.calls += 1
        return finder(pictures)


def whole_loss(**options) -> tuple[dict[str, Tensor], int]:
    images, model = blobs(), Counted()
    pred = finder(images) + 1
    target, reference = pred + 0.5, 1.2 * pred
    options = {"reference": reference, "affine": random_moves(len(images)), **options}
    return self_distillation(model, images, pred, target, **options), model.calls


def test_total_is_the_weighted_sum_of_the_parts():
    parts, calls = whole_loss(w_elt=3.0, w_sct=2.0)
    assert set(parts) == {"fit", "elt", "sct", "total"} and calls == 1
    assert min(parts["fit"], parts["elt"], parts["sct"]) > 0.1
    expected = parts["fit"] + 3 * parts["elt"] + 2 * parts["sct"]
    assert parts["total"].item() == pytest.approx(expected.item())


@pytest.mark.parametrize(
    ("options", "left", "looks"),
    [
        ({"affine": None}, {"fit", "sct"}, 0),
        ({"w_elt": 0.0}, {"fit", "sct"}, 0),
        ({"reference": None}, {"fit", "elt"}, 1),
        ({"w_sct": 0.0}, {"fit", "elt"}, 1),
        ({"affine": None, "reference": None}, {"fit"}, 0),
    ],
)
def test_terms_without_input_or_weight_are_left_out(options: dict, left: set[str], looks: int):
    parts, calls = whole_loss(**options)
    assert set(parts) == left | {"total"} and calls == looks
    assert parts["total"].item() == pytest.approx(sum(parts[key].item() for key in left))


def test_unit_scales_squares_twice():
    plain, doubled = whole_loss()[0], whole_loss(unit=2.0)[0]
    factors = {key: (doubled[key] / plain[key]).item() for key in ("fit", "elt", "sct")}
    assert factors == pytest.approx({"fit": 4, "elt": 4, "sct": 2}, rel=1e-4)


def test_unit_does_not_change_what_is_moved():
    """ELT turns about the middle of the picture, in its own pixels, whatever the unit of the loss."""
    images, affine = blobs(), random_moves(6)
    pred = finder(images)
    found = self_distillation(finder, images, pred, pred, affine=affine, unit=4.0)["elt"]
    assert found < 5 * (4 * 0.02) ** 2  # five points, 0.02 px each


def test_heatmap_mse_multiplies_both_maps():
    where = torch.rand(2, 3, 2) * 10 + 3
    pred, target = draw(where, 16), draw(where + 0.7, 16)
    tall = nn.functional.mse_loss(draw(where, 16, amplitude=4096), draw(where + 0.7, 16, amplitude=4096))
    assert heatmap_mse(pred, target, amplitude=4096).item() == pytest.approx(tall.item(), rel=1e-4)
    assert heatmap_mse(pred, target).item() == pytest.approx(tall.item() / 4096**2, rel=1e-4)


def size_after_training(w_sct: float) -> float:
    """A linear network learns from ELT, and SCT if it has weight, on noise: its size of faces, over that at the start."""
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(4, 3, 8, 8, generator=generator, dtype=torch.float64)
    net = linear_model(4, 8)
    with torch.no_grad():
        net[1].bias.copy_(torch.tensor([[-2.0, -2.0], [2.0, -2.0], [-2.0, 2.0], [2.0, 2.0]]).flatten() + 3.5)
        before = net(images)
    optimiser = torch.optim.Adam(net.parameters(), lr=0.01)
    for _ in range(250):
        pred = net(images)
        loss = elt(net, images, pred, MOVES.affine(4, 8, generator)[0]) + w_sct * sct(pred, before)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return (scale(net(images)).mean() / scale(before).mean()).item()


def test_elt_alone_shrinks_faces_and_sct_keeps_their_size():
    assert size_after_training(w_sct=0.0) < 0.2
    assert size_after_training(w_sct=3.0) == pytest.approx(1, abs=0.05)
