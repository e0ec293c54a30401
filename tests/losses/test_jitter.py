"""The Jitter loss: values by hand, equations 2-7 as loops, where its slopes are, and what it does not punish."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from fa_lib.losses import geman_mcclure, jitter, modulation

quick = settings(max_examples=30)
numbers = st.floats(-4, 4)


def double(*values) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def frame(seed: int = 0) -> tuple[Tensor, ...]:
    """Maps and true maps (2, 3, 4, 5); e_t, e_{t-1} and c (2, 3, 2): some Psi are above 1, some below."""
    sizes = ((2, 3, 4, 5), (2, 3, 4, 5), (2, 3, 2), (2, 3, 2), (2, 3, 2))
    return tuple(random(*size, seed=10 * seed + i) for i, size in enumerate(sizes))


def slope(pixel_error: Tensor, theta: float) -> Tensor:
    error = pixel_error.clone().requires_grad_()
    return torch.autograd.grad(geman_mcclure(error, torch.zeros_like(error), theta).sum(), error)[0]


# One number after another, with the paper's own symbols.


def equation_4(e: list[float], before: list[float], c: list[float], theta: float, xi: float) -> float:
    return min(math.dist(e, before) / (math.hypot(*c) + xi), theta)


def equation_7(s: float, truth: float, theta: float) -> float:
    return (s - truth) ** 2 / ((s - truth) ** 2 + theta**2)


def equation_2(maps, true_maps, error, previous, offset, theta: float, xi: float) -> float:
    values = []
    for b, face in enumerate(maps.tolist()):
        for k, grid in enumerate(face):
            psi = equation_4(error[b, k].tolist(), previous[b, k].tolist(), offset[b, k].tolist(), theta, xi)
            for y, row in enumerate(grid):
                values += [psi * equation_7(s, true_maps[b, k, y, x].item(), theta) for x, s in enumerate(row)]
    return sum(values) / len(values)


@pytest.mark.parametrize(("theta", "expected"), [(1.0, [0.5, 0.8, 0.1, 0.0]), (2.0, [0.2, 0.5, 1 / 37, 0.0])])
def test_equation_7_by_hand(theta: float, expected: list[float]):
    found = geman_mcclure(double(1.5, -2.0, 1.0, 0.25), double(0.5, 0.0, 2 / 3, 0.25), theta)
    assert found.tolist() == pytest.approx(expected)


@pytest.mark.parametrize(
    ("error", "before", "offset", "theta", "xi", "expected"),
    [
        ((3, 4), (0, 0), (6, 8), 1.0, 2.5, 5 / 12.5),
        ((3, 4), (3, 0), (0, 0), 9.0, 0.5, 8.0),  # a still face: xi alone
        ((3, 4), (0, 0), (0, 0), 1.5, 0.1, 1.5),  # at its bound
        ((1, 0), (-1, 0), (3, 0), 1.0, 1.0, 0.5),  # to the other side
        ((7, -7), (7, -7), (3, 0), 1.0, 1.0, 0.0),
    ],
)
def test_psi_by_hand(error, before, offset, theta: float, xi: float, expected: float):
    found = modulation(double(*error), double(*before), double(*offset), theta=theta, xi=xi)
    assert found.shape == () and found.item() == pytest.approx(expected)


@quick
@given(st.integers(0, 50), st.sampled_from([0.3, 1.0, 2.5]), st.sampled_from([0.1, 1.0]))
def test_loss_is_its_equations(seed: int, theta: float, xi: float):
    given = frame(seed)
    found = jitter(*given, theta=theta, xi=xi)
    assert found["total"].item() == pytest.approx(equation_2(*given, theta, xi))
    rows = zip(*(part.reshape(-1, 2).tolist() for part in given[2:]))
    assert found["psi"].item() == pytest.approx(sum(equation_4(*row, theta, xi) for row in rows) / 6)
    assert found["pixel"].item() == pytest.approx(geman_mcclure(*given[:2], theta).mean().item())


@quick
@given(numbers, numbers, st.floats(0.1, 5), st.floats(0.1, 3))
def test_psi_is_in_its_bounds_and_does_not_know_left_from_right(x: float, y: float, theta: float, xi: float):
    offset = double(1.0, 2.0)
    psi = modulation(double(x, y), double(y, x), offset, theta=theta, xi=xi)
    assert 0 <= psi.item() <= theta
    assert modulation(double(y, x), double(x, y), offset.flip(0), theta=theta, xi=xi).item() == pytest.approx(psi.item())


@pytest.mark.parametrize("theta", [0.5, 1.0, 2.0])
def test_slope_of_equation_7_peaks_at_theta_by_the_root_of_3_not_at_half_of_theta(theta: float):
    errors = torch.linspace(0, 3 * theta, 30_001, dtype=torch.float64)
    found = slope(errors, theta)
    peak = errors[found.argmax()].item()
    assert peak == pytest.approx(theta / math.sqrt(3), abs=1e-4 * theta)
    assert found.max().item() == pytest.approx(9 / (8 * math.sqrt(3) * theta))
    half = slope(double(theta / 2), theta).item()
    assert half == pytest.approx(0.64 / theta) and half / found.max().item() == pytest.approx(0.985, abs=5e-4)


def test_gradients_are_right():
    maps, true_maps, error, previous, offset = frame()
    psi = modulation(error, previous, offset)
    assert (psi < 1).any() and (psi == 1).any()  # both sides of the bound
    learned = (maps.requires_grad_(), error.requires_grad_(), previous.requires_grad_())
    assert torch.autograd.gradcheck(lambda m, e, p: jitter(m, true_maps, e, p, offset)["total"], learned)


def test_psi_carries_gradient_below_theta_and_none_beyond():
    error = double([0.6, 0.8], [6.0, 8.0]).requires_grad_()
    psi = modulation(error, torch.zeros_like(error), torch.zeros_like(error), theta=2.0, xi=1.0)
    (found,) = torch.autograd.grad(psi.sum(), error)
    assert psi.tolist() == pytest.approx([1.0, 2.0])
    assert found.tolist() == [pytest.approx([0.6, 0.8]), [0.0, 0.0]]


@pytest.mark.parametrize("detach", [False, True])
def test_detached_psi_weighs_the_same_but_is_not_itself_minimised(detach: bool):
    maps, true_maps, error, previous, offset = frame()
    maps, error = maps.requires_grad_(), (0.1 * error).requires_grad_()
    found = jitter(maps, true_maps, error, 0.1 * previous, offset, detach_psi=detach)
    assert found["total"].item() == pytest.approx(jitter(maps, true_maps, error, 0.1 * previous, offset)["total"].item())
    of_maps, of_error = torch.autograd.grad(found["total"], (maps, error), allow_unused=True)
    assert of_maps.abs().max() > 0
    assert of_error is None if detach else of_error.abs().min() > 0


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_gradient_is_zero_and_no_nan_where_errors_are_the_same(dtype: torch.dtype):
    maps, true_maps, error, _, offset = (part.to(dtype) for part in frame())
    maps, error, before = maps.requires_grad_(), error.requires_grad_(), error.detach().clone().requires_grad_()
    loss = jitter(maps, true_maps, error, before, 0 * offset)["total"]
    assert loss.item() == 0
    assert all((gradient == 0).all() for gradient in torch.autograd.grad(loss, (maps, error, before)))


@quick
@given(st.floats(-1e3, 1e3), st.floats(-1e3, 1e3))
def test_constant_error_costs_nothing_however_large(x: float, y: float):
    maps, true_maps, _, _, offset = frame()
    same = double(x, y).expand(2, 3, 2)
    found = jitter(maps, true_maps, same, same, offset)
    assert found["total"].item() == 0 < found["pixel"].item()


def test_theta_0_gives_no_loss_and_no_gradient():
    maps, true_maps, error, previous, offset = frame()
    maps = torch.cat([true_maps[:, :1], maps[:, 1:]], 1).requires_grad_()  # also where prediction and truth agree: 0 / 0
    error = error.requires_grad_()
    found = jitter(maps, true_maps, error, previous, offset, theta=0.0)
    assert found["total"].item() == found["psi"].item() == 0 and found["pixel"].item() == pytest.approx(2 / 3)
    assert all((gradient == 0).all() for gradient in torch.autograd.grad(found["total"], (maps, error)))
    first = jitter(maps, true_maps, error, theta=0.0)["total"]
    assert (torch.autograd.grad(first, maps)[0] == 0).all()  # not even of rounding, which Adam would follow


@pytest.mark.parametrize("theta", [0.5, 2.0])
def test_first_frame_is_the_pixel_loss_alone(theta: float):
    maps, true_maps, error, *_ = frame()
    found = jitter(maps, true_maps, error, theta=theta)
    assert found["psi"].item() == 1
    assert found["total"].item() == found["pixel"].item() == geman_mcclure(maps, true_maps, theta).mean().item()


def test_wrong_input_is_refused(refusal):
    maps, true_maps, error, previous, offset = frame()
    refusal("theta=-0.1", geman_mcclure, maps, true_maps, -0.1)
    refusal("theta=nan", modulation, error, previous, offset, theta=math.nan)
    refusal("(2, 3, 4, 4)", geman_mcclure, maps, true_maps[..., :4])
    for xi in (0.0, -1.0, math.nan):
        refusal(f"xi={xi!r}", modulation, error, previous, offset, xi=xi)
    refusal("(2, 1, 2)", modulation, error, previous, offset[:, :1])  # would broadcast
    refusal("(2, 3, 1)", modulation, error[..., :1], previous[..., :1], offset[..., :1])
    refusal("(2, 2, 2)", jitter, maps, true_maps, error[:, :2], previous[:, :2], offset[:, :2])
    refusal("(3, 4, 5)", jitter, maps[0], true_maps[0], random(3, 4, 2))  # one face, no batch
    refusal("belong together", jitter, maps, true_maps, error, previous)
    refusal("belong together", jitter, maps, true_maps, error, None, offset)
    refusal("theta=-1.0", jitter, maps, true_maps, error, theta=-1.0)
