"""L1 and smooth L1 between landmarks: equations written out as loops, and where one turns into another."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from fa_lib.losses import l1, l2, smooth_l1

quick = settings(max_examples=40)


def faces(seed: int) -> Tensor:
    return torch.rand(3, 5, 2, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) - 0.5


def written_out(pred: Tensor, target: Tensor, of_error) -> float:
    """Mean over faces and landmarks of the sum over coordinates, one number after another."""
    errors = [of_error(abs(p - t)) for a, b in zip(pred.tolist(), target.tolist()) for c, d in zip(a, b) for p, t in zip(c, d)]
    return sum(errors) / (len(pred) * pred.shape[1])


def test_l1_is_its_definition():
    pred, target = faces(0), faces(1)
    assert l1(pred, target).item() == pytest.approx(written_out(pred, target, lambda e: e))


@pytest.mark.parametrize("beta", [0.05, 0.3, 2.0])
def test_smooth_l1_is_its_definition(beta: float):
    pred, target = faces(0), faces(1)
    expected = written_out(pred, target, lambda e: e * e / (2 * beta) if e < beta else e - beta / 2)
    assert smooth_l1(pred, target, beta).item() == pytest.approx(expected)


def test_smooth_l1_of_large_beta_is_a_share_of_l2():
    pred, target = faces(0), faces(1)
    assert smooth_l1(pred, target, 1.0).item() == pytest.approx(l2(pred, target).item() / 2)
    assert smooth_l1(pred, target, 4.0).item() == pytest.approx(l2(pred, target).item() / 8)


def test_smooth_l1_is_neither_l1_nor_l2_for_normalised_landmarks_unless_told():
    truth = torch.zeros(1, 1, 2, dtype=torch.float64)
    small, large = (smooth_l1(truth + error, truth).item() for error in (0.02, 0.06))
    assert (small, large) == pytest.approx((2 * 0.02**2 / 0.08, 2 * (0.06 - 0.02)))  # a parabola, then a line


def test_smooth_l1_of_small_beta_is_l1():
    pred, target = faces(0), faces(1)
    assert smooth_l1(pred, target, 1e-9).item() == pytest.approx(l1(pred, target).item())


@quick
@given(st.floats(0.01, 3), st.floats(0.001, 2))
def test_smooth_l1_lies_below_l1_by_half_a_beta_at_most(beta: float, error: float):
    truth = torch.zeros(1, 1, 2, dtype=torch.float64)
    below = l1(truth + error, truth).item() - smooth_l1(truth + error, truth, beta).item()
    assert -1e-12 <= below <= 2 * beta / 2 + 1e-12  # two coordinates
    if error >= beta:
        assert below == pytest.approx(beta)


@pytest.mark.parametrize("loss", [l1, smooth_l1])
def test_gradients_are_right(loss):
    assert torch.autograd.gradcheck(lambda pred: loss(pred, faces(1)), (faces(0).requires_grad_(),))


@pytest.mark.parametrize("beta", [0.0, -1.0, float("nan")])
def test_beta_must_be_positive(beta: float, refusal):
    refusal(f"beta={beta!r}", smooth_l1, faces(0), faces(1), beta)
