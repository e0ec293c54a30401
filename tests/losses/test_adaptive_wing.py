"""Wing and adaptive Wing loss: values by hand, equations as loops, no jump of value or slope where the line begins."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from fa_lib.losses import adaptive_wing, l1, wing

quick = settings(max_examples=40)


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def pixel(value: float) -> Tensor:
    return torch.full((1, 1, 1, 1), value, dtype=torch.float64)


def value_and_slope(y: float, d: float, **options) -> tuple[float, float]:
    pred = pixel(y + d).requires_grad_()
    loss = adaptive_wing(pred, pixel(y), weight=None, **options)
    return loss.item(), torch.autograd.grad(loss, pred)[0].item()


# One number after another, as the two papers write them.


def wing_as_written(x: float, w: float, epsilon: float) -> float:
    c = w - w * math.log(1 + w / epsilon)
    return w * math.log(1 + abs(x) / epsilon) if abs(x) < w else abs(x) - c


def awing_as_written(y: float, guess: float, omega: float, epsilon: float, alpha: float, theta: float) -> float:
    at = theta / epsilon
    a = omega * (1 / (1 + at ** (alpha - y))) * (alpha - y) * at ** (alpha - y - 1) * (1 / epsilon)
    c = theta * a - omega * math.log(1 + at ** (alpha - y))
    d = abs(y - guess)
    return omega * math.log(1 + abs((y - guess) / epsilon) ** (alpha - y)) if d < theta else a * d - c


@pytest.mark.parametrize(("w", "epsilon"), [(10.0, 2.0), (0.1, 0.02), (2.0, 5.0)])
def test_wing_is_its_definition(w: float, epsilon: float):
    pred, target = 20 * random(3, 5, 2), 20 * random(3, 5, 2, seed=1)
    errors = (pred - target).flatten().tolist()
    assert wing(pred, target, w=w, epsilon=epsilon).item() == pytest.approx(
        sum(wing_as_written(x, w, epsilon) for x in errors) / 15
    )


def test_wing_by_hand():
    pred = torch.tensor([[[1.0, 0.0]], [[0.0, -7.0]]], dtype=torch.float64)
    found = wing(pred, torch.zeros_like(pred), w=3.0, epsilon=1.0).item()
    assert found == pytest.approx((3 * math.log(2) + 7 - 3 + 3 * math.log(4)) / 2)


@quick
@given(st.floats(0.1, 20), st.floats(0.1, 5))
def test_wing_does_not_jump_and_is_a_line_beyond(w: float, epsilon: float):
    truth = torch.zeros(1, 1, 2, dtype=torch.float64)
    below, at, beyond = (wing(truth + x, truth, w=w, epsilon=epsilon).item() for x in (w * (1 - 1e-9), w, w + 1))
    assert at == pytest.approx(below, rel=1e-7) and beyond - at == pytest.approx(2)  # two coordinates
    assert wing(truth, truth, w=w, epsilon=epsilon).item() == 0


def test_wing_of_small_w_is_l1():
    pred, target = random(2, 3, 2), random(2, 3, 2, seed=1)
    assert wing(pred, target, w=1e-9, epsilon=1.0).item() == pytest.approx(l1(pred, target).item())


@pytest.mark.parametrize("weight", [10.0, 3.0, None])
@pytest.mark.parametrize("options", [{}, {"omega": 8.0, "epsilon": 0.5, "alpha": 2.5, "theta": 0.3}])
def test_adaptive_wing_is_its_definition(weight: float | None, options: dict):
    target = 1.2 * random(2, 3, 6, 5) ** 9  # most pixels near 0, so that some neighbourhoods are background
    target = target.clamp(max=1)
    pred = target + 1.6 * random(2, 3, 6, 5, seed=1) - 0.8
    every = {"omega": 14.0, "epsilon": 1.0, "alpha": 2.1, "theta": 0.5} | options
    total, near = 0.0, 0
    for guess, truth in zip(pred.flatten(0, 1).tolist(), target.flatten(0, 1).tolist()):
        for i in range(6):
            for j in range(5):
                around = [truth[a][b] for a in range(max(0, i - 1), min(6, i + 2)) for b in range(max(0, j - 1), min(5, j + 2))]
                near += max(around) >= 0.2
                count = 1 + weight * (max(around) >= 0.2) if weight else 1
                total += count * awing_as_written(truth[i][j], guess[i][j], **every)
    assert 0.2 < near / target.numel() < 0.9
    assert adaptive_wing(pred, target, weight=weight, **options).item() == pytest.approx(total / target.numel())


def test_adaptive_wing_by_hand():
    # ln(1 + d^(alpha - y)): d^1.5 at a peak, d^2 on background
    assert value_and_slope(1.0, 0.2, alpha=2.5, omega=10.0)[0] == pytest.approx(10 * math.log(1 + 0.2**1.5))
    assert value_and_slope(0.0, 0.2, alpha=2.0, omega=10.0)[0] == pytest.approx(10 * math.log(1.04))
    value, found = value_and_slope(0.0, -2.0, alpha=2.0, omega=10.0)  # A = 10 / 1.25 * 2 * 0.5 = 8, C = 4 - 10 ln 1.25
    assert (value, found) == pytest.approx((16 - 4 + 10 * math.log(1.25), -8))


@quick
@given(st.floats(0, 1), st.floats(0.1, 1), st.floats(0.3, 2), st.sampled_from([-1, 1]))
def test_adaptive_wing_and_its_slope_do_not_jump_at_theta(y: float, theta: float, epsilon: float, side: int):
    (below, steep), (beyond, straight) = (
        value_and_slope(y, side * d, theta=theta, epsilon=epsilon) for d in (theta * (1 - 1e-9), theta * (1 + 1e-9))
    )
    assert below == pytest.approx(beyond, rel=1e-6) and steep == pytest.approx(straight, rel=1e-6)
    assert value_and_slope(y, side * 3 * theta, theta=theta, epsilon=epsilon)[1] == pytest.approx(straight, rel=1e-6)


def test_adaptive_wing_is_least_and_level_at_the_truth():
    target = random(1, 2, 4, 4).requires_grad_(False)
    pred = target.clone().requires_grad_()
    loss = adaptive_wing(pred, target)
    assert loss.item() == 0 and (torch.autograd.grad(loss, pred)[0] == 0).all()


def test_weight_counts_a_landmark_with_its_neighbours():
    target = torch.zeros(1, 1, 5, 5, dtype=torch.float64)
    target[..., 0, 2] = 0.2
    pred = target.clone()
    pred[..., 1, 3] += 0.1  # beside it
    near = adaptive_wing(pred, target).item() / adaptive_wing(pred, target, weight=None).item()
    pred[..., 1, 3] -= 0.1
    pred[..., 2, 2] += 0.1  # two rows away
    far = adaptive_wing(pred, target).item() / adaptive_wing(pred, target, weight=None).item()
    assert (near, far) == pytest.approx((11, 1))


def test_gradients_are_right():
    target = random(1, 2, 4, 4)
    pred = (target + 1.6 * random(1, 2, 4, 4, seed=1) - 0.8).requires_grad_()
    assert ((pred - target).abs() < 0.5).any() and ((pred - target).abs() > 0.5).any()
    assert torch.autograd.gradcheck(lambda p: adaptive_wing(p, target), (pred,))
    points = (4 * random(2, 3, 2)).requires_grad_()
    assert torch.autograd.gradcheck(lambda p: wing(p, torch.zeros_like(p), w=2.0, epsilon=0.5), (points,))


def test_wrong_input_is_refused(refusal):
    maps, points = random(2, 3, 4, 4), random(2, 3, 2)
    refusal("(2, 1, 4, 4)", adaptive_wing, maps, maps[:, :1])
    refusal("(3, 4, 4)", adaptive_wing, maps[0], maps[0])
    refusal("(2, 3, 1)", wing, points, points[..., :1], w=1.0, epsilon=1.0)
    for name in ("omega", "epsilon", "theta", "weight"):
        for value in (0.0, -1.0, math.nan):
            refusal(f"{name}={value!r}", adaptive_wing, maps, maps, **{name: value})
    refusal("alpha=1.5", adaptive_wing, maps, maps, alpha=1.5)
    refusal("alpha=2.1", adaptive_wing, 255 * maps, 255 * maps)
    for name in ("w", "epsilon"):
        refusal(f"{name}=0.0", wing, points, points, **{"w": 1.0, "epsilon": 1.0, name: 0.0})
