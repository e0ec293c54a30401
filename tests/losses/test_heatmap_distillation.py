"""Divergence of heatmaps: values by hand, equations 3 and 4 as loops, who learns from whom, and its size beside a mean square."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from fa_lib.heatmaps import draw
from fa_lib.losses import heatmap_mse, kl_maps, triple

quick = settings(max_examples=30)


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def four(seed: int = 0) -> list[Tensor]:
    """Maps of both students, of the teacher and as drawn: each (2, 3, 4, 5)."""
    return [random(2, 3, 4, 5, seed=4 * seed + i) for i in range(4)]


def shares(*values: float) -> Tensor:
    """A map of one row whose softmax is these shares of 1."""
    return torch.tensor(values, dtype=torch.float64).log()[None, None, None]


def peaks(moved: float) -> Tensor:
    return draw(torch.tensor([[[20.0, 30.0], [33.3, 12.6]]], dtype=torch.float64) + moved, 64)


# One number after another, with the paper's own symbols.


def softmax(grid: list[list[float]]) -> list[float]:
    raised = [math.exp(value) for row in grid for value in row]
    return [value / sum(raised) for value in raised]


def equation_3(p2: Tensor, p1: Tensor) -> float:
    found, (n, m) = 0.0, p1.shape[:2]
    for face2, face1 in zip(p2.tolist(), p1.tolist()):
        for grid2, grid1 in zip(face2, face1):
            found += sum(a * math.log(a / b) for a, b in zip(softmax(grid2), softmax(grid1))) / (n * m)
    return found


def equation_4(student: Tensor, peer: Tensor, teacher: Tensor, truth: Tensor, lambda1: float, lambda2: float) -> float:
    (n, m, height, width), found = truth.shape, 0.0
    for s, g in zip(student.flatten().tolist(), truth.flatten().tolist()):
        found += (s - g) ** 2 / (height * width) / (n * m)
    return found + lambda1 * equation_3((student + peer) / 2, student) + lambda2 * equation_3(teacher, student)


@pytest.mark.parametrize(
    ("target", "student", "expected"),
    [
        ((0.5, 0.5), (0.25, 0.75), math.log(4 / 3) / 2),
        ((0.25, 0.75), (0.5, 0.5), 0.75 * math.log(3) - math.log(2)),
        ((0.9, 0.1), (0.5, 0.5), 0.9 * math.log(1.8) + 0.1 * math.log(0.2)),
        ((0.5, 0.5), (0.9, 0.1), 0.5 * math.log(5 / 9) + 0.5 * math.log(5)),
    ],
)
def test_divergence_by_hand_has_the_target_first(target, student, expected: float):
    assert kl_maps(shares(*student), shares(*target)).item() == pytest.approx(expected)


def test_it_is_summed_over_cells_and_averaged_over_faces_and_landmarks():
    even, other = shares(0.5, 0.5), shares(0.25, 0.75)
    student = torch.cat([torch.cat([other, even, even], 1), torch.cat([even, other, other], 1)])
    assert kl_maps(student, even.expand_as(student)).item() == pytest.approx(math.log(4 / 3) / 2 / 2)
    wide = [shares(*(share / 2 for share in row for _ in range(2))) for row in ((0.25, 0.75), (0.5, 0.5))]
    assert kl_maps(*wide).item() == pytest.approx(math.log(4 / 3) / 2)  # twice the cells, each with half: the same


@quick
@given(st.integers(0, 50), st.floats(0, 5), st.floats(0, 5))
def test_losses_are_their_equations(seed: int, lambda1: float, lambda2: float):
    first, second, teacher, truth = four(seed)
    assert kl_maps(first, teacher).item() == pytest.approx(equation_3(teacher, first))
    found = triple(first, second, teacher, truth, lambda1=lambda1, lambda2=lambda2)
    expected = [equation_4(*pair, teacher, truth, lambda1, lambda2) for pair in ((first, second), (second, first))]
    assert found["total"].item() == pytest.approx(sum(expected))
    assert found["mse"].item() == pytest.approx(sum(equation_4(s, s, teacher, truth, 0, 0) for s in (first, second)))


@quick
@given(st.integers(0, 50), st.floats(-20, 20), st.floats(0, 30))
def test_a_constant_changes_nothing_and_nothing_is_negative(seed: int, constant: float, gain: float):
    student, target, *_ = four(seed)
    student, shift = gain * student, constant * random(2, 3, 1, 1, seed=seed)  # one for each map
    found = kl_maps(student, target).item()
    assert found > 0
    assert kl_maps(student + shift, target).item() == pytest.approx(found) == kl_maps(student, target - shift).item()
    assert -1e-15 < kl_maps(student + shift, student).item() < 1e-14


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_equal_maps_have_none_at_all(dtype: torch.dtype):
    maps = (30 * random(2, 3, 16, 16)).to(dtype).requires_grad_()
    loss = kl_maps(maps, maps.detach().clone())
    (slope,) = torch.autograd.grad(loss, maps)
    assert loss.item() == 0 and slope.abs().max() < 1e-7


def test_single_precision_is_precise_enough_for_trained_maps():
    for moved in (0.01, 0.3, 2.0):
        exact, found = kl_maps(peaks(moved), peaks(0)).item(), kl_maps(peaks(moved).float(), peaks(0).float()).item()
        assert found == pytest.approx(exact, rel=5e-3, abs=5e-10)
    half = (random(1, 2, 8, 8).bfloat16(), random(1, 2, 8, 8, seed=1).bfloat16())
    assert kl_maps(*half).item() == kl_maps(*(maps.float() for maps in half)).item()
    far = torch.tensor([[[[0.0, 300.0]]]])
    assert kl_maps(far, 0 * far).item() == pytest.approx(150 - math.log(2)) and math.isfinite(kl_maps(0 * far, far).item())


def test_it_is_half_a_mean_square_of_faint_noise():
    """As the module says: so the mean square error beside it must be per cell."""
    noise, truth = 0.01 * random(1, 2, 64, 64), peaks(0)
    assert (kl_maps(truth + noise, truth) / heatmap_mse(truth + noise, truth)).item() == pytest.approx(0.5, abs=0.02)
    assert (kl_maps(peaks(0.3), truth) / heatmap_mse(peaks(0.3), truth)).item() == pytest.approx(0.8, abs=0.02)


def test_gradients_are_right():
    first, second, teacher, truth = four()
    first, second, target = first.requires_grad_(), second.requires_grad_(), teacher.clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda s, t: kl_maps(s, t, detach=False), (first, target))
    assert torch.autograd.gradcheck(lambda s: kl_maps(s, teacher), first)
    # not the peers, whose slope is by design not that of their sum
    assert torch.autograd.gradcheck(lambda a, b: triple(a, b, teacher, truth, lambda1=0, lambda2=1)["total"], (first, second))


def test_slope_is_softmax_minus_softmax():
    student, target, *_ = four()
    student = student.requires_grad_()
    (slope,) = torch.autograd.grad(kl_maps(student, target), student)
    student, target = (maps.detach().flatten(2).softmax(-1).view_as(maps) for maps in (student, target))
    assert torch.allclose(slope, (student - target) / 6, atol=1e-15)


@pytest.mark.parametrize("detach", [True, False])
def test_a_detached_target_learns_nothing(detach: bool):
    student, target = (maps.requires_grad_() for maps in four()[:2])
    loss = kl_maps(student, target, detach=detach)
    assert loss.item() == kl_maps(student, target).item()
    of_student, of_target = torch.autograd.grad(loss, (student, target), allow_unused=True)
    assert of_student.abs().max() > 0
    assert of_target is None if detach else of_target.abs().max() > 0


@pytest.mark.parametrize("detach", [True, False])
def test_each_student_follows_its_own_loss(detach: bool):
    """As in Algorithm 1, though the two losses are added: nothing reaches a student through the other's."""
    first, second, teacher, truth = four()
    first, second = first.requires_grad_(), second.requires_grad_()
    slopes = torch.autograd.grad(
        triple(first, second, teacher, truth, lambda1=4, lambda2=1, detach=detach)["total"], (first, second)
    )
    for student, peer, slope in ((first, second, slopes[0]), (second, first, slopes[1])):
        ensemble = (student + peer.detach()) / 2
        own = heatmap_mse(student, truth) + kl_maps(student, teacher) + 4 * kl_maps(student, ensemble, detach=detach)
        assert torch.allclose(slope, torch.autograd.grad(own, student)[0], atol=1e-15)


def test_gradient_through_the_own_half_is_half_and_through_both_halves_the_same_as_none():
    first, away, teacher, truth = four()
    first, second = first.requires_grad_(), (first.detach() + 1e-3 * away).requires_grad_()

    def slope(loss: Tensor) -> Tensor:
        return torch.autograd.grad(loss, first)[0]

    none, own = (slope(triple(first, second, None, truth, lambda1=1, lambda2=0, detach=d)["peers"]) for d in (True, False))
    assert torch.allclose(own, none / 2, atol=1e-3 * none.abs().max().item(), rtol=1e-2) and not torch.allclose(
        own, none, rtol=0.1
    )
    far = (first.detach() + 3 * away).requires_grad_()
    ensemble = (first + far) / 2
    both, none = (slope(kl_maps(first, ensemble, detach=d) + kl_maps(far, ensemble, detach=d)) for d in (False, True))
    assert torch.allclose(both, none, atol=1e-15) and none.abs().max() > 0.01


def test_only_students_learn_and_neither_is_preferred():
    first, second, teacher, truth = four()
    first, second = first.requires_grad_(), second.requires_grad_()
    found, other = (triple(*pair, teacher, truth, lambda1=3, lambda2=0.1) for pair in ((first, second), (second, first)))
    assert list(found) == ["mse", "peers", "teacher", "total"]
    assert all(found[part].item() == other[part].item() for part in found)
    found["total"].backward()
    assert first.grad.abs().min() > 0 and second.grad.abs().min() > 0 and teacher.grad is None and truth.grad is None
    for part, slope in {"peers": 0.0, "teacher": 0.0}.items():  # KL has no slope along a constant, which changes nothing
        of_first, of_second = torch.autograd.grad(
            triple(first, second, teacher, truth, lambda1=1, lambda2=1)[part], (first, second)
        )
        assert of_first.sum().item() == pytest.approx(slope, abs=1e-15) == of_second.sum().item()


def test_components_of_table_6():
    first, second, teacher, truth = four()
    both = triple(first, second, teacher, truth, lambda1=4, lambda2=2)
    neither = triple(first, second, None, truth, lambda1=0, lambda2=0)
    taught = triple(first, second, teacher, truth, lambda1=0, lambda2=2)
    peers = triple(first, second, None, truth, lambda1=4, lambda2=0)
    assert (list(neither), list(taught), list(peers)) == (
        ["mse", "total"], ["mse", "teacher", "total"], ["mse", "peers", "total"],
    )  # fmt: skip
    assert neither["total"] == neither["mse"] == both["mse"]
    assert taught["total"].item() == pytest.approx((both["mse"] + 2 * both["teacher"]).item())
    assert peers["total"].item() == pytest.approx((both["mse"] + 4 * both["peers"]).item())
    assert triple(first, first, first, first, lambda1=4, lambda2=2)["total"].item() == 0  # nothing left to learn


def test_wrong_input_is_refused(refusal):
    first, second, teacher, truth = four()
    refusal("(2, 3, 4, 4)", kl_maps, first, teacher[..., :4])
    refusal("(3, 4, 5)", kl_maps, first[0], teacher[0])
    refusal("(2, 1, 4, 5)", kl_maps, first, teacher[:, :1])  # would broadcast
    refusal("second", triple, first, second[:1], teacher, truth, lambda1=0, lambda2=0)
    refusal("ground_truth", triple, first, second, teacher, truth[:, :1], lambda1=0, lambda2=0)
    refusal("target", triple, first, second, teacher[:1], truth, lambda1=1, lambda2=1)
    refusal("lambda1=-1", triple, first, second, teacher, truth, lambda1=-1, lambda2=0)
    refusal("lambda2=nan", triple, first, second, teacher, truth, lambda1=1, lambda2=math.nan)
    refusal("absent", triple, first, second, None, truth, lambda1=1, lambda2=1)
    refusal("carrying a gradient", triple, first, second, teacher.requires_grad_(), truth, lambda1=1, lambda2=1)
