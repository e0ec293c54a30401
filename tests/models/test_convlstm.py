"""The ConvLSTM: sizes, its equations written out, the start at the identity, clips in pieces and clips side by side."""

import math

import pytest
import torch
from torch import Tensor, nn

from fa_lib import models
from fa_lib.models.convlstm import ConvLSTM


def trained(landmarks: int = 3, **options) -> ConvLSTM:
    """One whose correction is not zero any more."""
    torch.manual_seed(0)
    net = ConvLSTM(landmarks, **options)
    for parameter in net.parameters():
        nn.init.normal_(parameter, std=0.3)
    return net


@pytest.mark.parametrize(("landmarks", "parameters"), [(19, 26_068), (29, 60_668), (68, 333_200), (98, 691_880)])
def test_number_of_parameters(landmarks: int, parameters: int):
    assert models.count_parameters(models.create("convlstm", landmarks, residual=False)) == parameters
    assert models.count_parameters(models.create("convlstm", landmarks)) == parameters + landmarks * (landmarks + 1)


def one_cell(weight: Tensor, bias: Tensor, looks: Tensor, x: int, y: int) -> float:
    """The convolution at one cell, tap by tap: `looks` is (inputs, H, W), zero outside; `weight` is (inputs, 3, 3)."""
    total = bias.item()
    for channel in range(looks.shape[0]):
        for dy in (-1, 0, 1):
            for dx in (-1, 0, 1):
                if 0 <= y + dy < looks.shape[1] and 0 <= x + dx < looks.shape[2]:
                    total += (weight[channel, 1 + dy, 1 + dx] * looks[channel, y + dy, x + dx]).item()
    return total


def test_one_step_is_the_equations_written_out():
    net, frame = trained(2, residual=False).double(), torch.rand(1, 1, 2, 3, 4, dtype=torch.float64)
    h, c = torch.randn(2, 1, 2, 3, 4, dtype=torch.float64)
    found, (new_h, new_c) = net(frame, (h, c))
    weight, bias, looks = net.gates.weight, net.gates.bias, torch.cat([frame[0, 0], h[0]])
    for k in range(2):
        for y in range(3):
            for x in range(4):
                i, f, o, g = (one_cell(weight[gate * 2 + k], bias[gate * 2 + k], looks, x, y) for gate in range(4))
                i, f, o = (1 / (1 + math.exp(-value)) for value in (i, f, o))
                cell = f * c[0, k, y, x].item() + i * math.tanh(g)
                assert new_c[0, k, y, x].item() == pytest.approx(cell, abs=1e-12)
                assert new_h[0, k, y, x].item() == pytest.approx(o * math.tanh(cell), abs=1e-12)
    assert torch.equal(found[:, 0], new_h)


def test_residual_adds_a_map_of_the_state():
    net, maps = trained(3, hidden=5), torch.rand(2, 1, 3, 6, 6)
    found, (h, _) = net(maps)
    assert h.shape == (2, 5, 6, 6)
    weight, bias = net.correction.weight[:, :, 0, 0], net.correction.bias
    expected = maps[:, 0] + torch.einsum("kh,bhyx->bkyx", weight, h) + bias[:, None, None]
    assert torch.allclose(found[:, 0], expected, atol=1e-6)


def test_residual_starts_as_the_identity_and_can_leave_it():
    net, maps = ConvLSTM(4), torch.randn(2, 3, 4, 8, 8)
    found, _ = net(maps)
    assert torch.equal(found, maps)
    optimiser = torch.optim.Adam(net.parameters(), lr=0.01)
    for _ in range(2):  # the gates learn from the second step on: at first the correction passes nothing back
        optimiser.zero_grad()
        net(maps)[0].square().mean().backward()
        optimiser.step()
    assert not torch.allclose(net(maps)[0], maps)
    assert all(parameter.grad.abs().sum() > 0 for parameter in net.parameters())


@pytest.mark.parametrize("residual", [True, False])
def test_one_frame_at_a_time_equals_the_whole_clip(residual: bool):
    net, maps = trained(3, residual=residual), torch.rand(2, 6, 3, 8, 8)
    with torch.no_grad():
        whole, (h, c) = net(maps)
        state, frames = None, []
        for t in range(6):
            frame, state = net(maps[:, t : t + 1], state)
            frames.append(frame)
    assert torch.allclose(torch.cat(frames, 1), whole, atol=1e-5)
    assert torch.equal(state[0], h) and torch.equal(state[1], c)
    assert not torch.allclose(whole[:, 1:], net(maps[:, 1:])[0], atol=1e-3)  # the first frame is remembered


def test_no_clip_reaches_another():
    """Neither one beside it in the batch nor one that was seen before."""
    net, maps = trained(3), torch.rand(2, 4, 3, 8, 8)
    with torch.no_grad():
        alone = net(maps[:1])[0]
        net(torch.rand(1, 9, 3, 8, 8))
        assert torch.equal(net(maps[:1])[0], alone)
        beside = maps.clone()
        beside[1] = 100.0
        assert torch.allclose(net(beside)[0][:1], alone, atol=1e-5)


def test_past_reaches_the_present_but_the_future_does_not():
    net, maps = trained(2).double(), torch.rand(1, 3, 2, 4, 4, dtype=torch.float64, requires_grad=True)
    (grad,) = torch.autograd.grad(net(maps)[0][:, 1].sum(), maps)
    assert grad[:, 0].abs().sum() > 0 and grad[:, 2].abs().sum() == 0
    assert torch.autograd.gradcheck(lambda m: net(m)[0], torch.rand(1, 2, 2, 3, 3, dtype=torch.float64, requires_grad=True))


def test_plain_reading_stays_between_minus_one_and_one():
    found, _ = trained(3, residual=False)(100 * torch.randn(1, 4, 3, 8, 8))
    assert found.abs().max() <= 1


def test_what_does_not_fit_is_refused(refusal):
    net = ConvLSTM(3)
    refusal("kernel=4", ConvLSTM, 3, kernel=4)
    refusal("hidden=5", ConvLSTM, 3, hidden=5, residual=False)
    for shape in [(2, 3, 8, 8), (1, 2, 4, 8, 8), (1, 0, 3, 8, 8)]:
        refusal(shape, net, torch.rand(shape))
    _, state = net(torch.rand(2, 1, 3, 8, 8))
    for shape in [(1, 1, 3, 8, 8), (2, 1, 3, 16, 16)]:
        refusal("the state is (2, 3, 8, 8)", net, torch.rand(shape), state)
