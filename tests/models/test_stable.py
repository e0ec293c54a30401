"""The two stages together: the first stays as it is to the bit, the second learns, clips may come frame by frame."""

import copy

import pytest
import torch
from torch import Tensor, nn

from fa_lib import models
from fa_lib.models.convlstm import ConvLSTM
from fa_lib.models.stable import Stable


@pytest.fixture
def net() -> Stable:
    """Two hourglasses and a ConvLSTM whose correction is not zero."""
    torch.manual_seed(0)
    stable = Stable(models.create("fan2", landmarks=5, width=16), ConvLSTM(5))
    nn.init.normal_(stable.convlstm.correction.weight)
    return stable


def weights(module: nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in module.state_dict().items()}


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def test_only_the_convlstm_learns(net: Stable):
    backbone, convlstm = weights(net.backbone), weights(net.convlstm)
    assert any("running_mean" in name for name in backbone)
    net.train()
    optimiser = torch.optim.AdamW(net.parameters(), lr=0.1)
    for _ in range(2):
        optimiser.zero_grad()
        net.sequence(torch.rand(2, 3, 3, 64, 64))[0].square().mean().backward()
        optimiser.step()
    assert same(weights(net.backbone), backbone)
    assert not any(torch.equal(value, convlstm[name]) for name, value in net.convlstm.state_dict().items())


def test_backbone_stays_in_evaluation_mode(net: Stable):
    for mode in (True, False):
        net.train(mode)
        assert net.training == net.convlstm.training == mode
        assert not any(module.training for module in net.backbone.modules())


def test_trainable_parameters_are_those_of_the_convlstm(net: Stable):
    trainable = {id(parameter) for parameter in net.parameters() if parameter.requires_grad}
    assert trainable == {id(parameter) for parameter in net.convlstm.parameters()}
    assert models.count_parameters(net) == models.count_parameters(net.convlstm) == 4 * 5 * (10 * 9 + 1) + 5 * 6


def test_starts_at_the_answer_of_its_backbone():
    backbone, pictures = models.create("fan2", landmarks=5, width=16).eval(), torch.rand(2, 3, 64, 64)
    with torch.no_grad():
        before = backbone(pictures)[-1]
        (found,) = Stable(backbone, ConvLSTM(5))(pictures)
    assert torch.equal(found, before)
    assert models.landmarks_of([found], 64).shape == (2, 5, 2)


def test_one_frame_at_a_time_equals_the_whole_clip(net: Stable):
    clips = torch.rand(2, 4, 3, 64, 64)
    with torch.no_grad():
        whole, (h, c) = net.sequence(clips)
        state, frames = None, []
        for t in range(4):
            frame, state = net.sequence(clips[:, t : t + 1], state)
            frames.append(frame)
        assert whole.shape == (2, 4, 5, 16, 16)
        for found, expected in [(torch.cat(frames, 1), whole), (state[0], h), (state[1], c)]:
            assert torch.allclose(found, expected, atol=1e-5)
        assert torch.allclose(net(clips[:, 0])[0], whole[:, 0], atol=1e-5)  # a picture alone is a clip's first frame
        assert not torch.allclose(net(clips[:, 1])[0], whole[:, 1], atol=1e-3)
        _, first = net.sequence(clips[:, :1])
        assert torch.allclose(net(clips[:, 1], first)[0], whole[:, 1], atol=1e-5)


def test_frames_are_not_mixed_up_with_clips(net: Stable):
    clips = torch.rand(2, 3, 3, 64, 64)
    with torch.no_grad():
        both = net.sequence(clips)[0]
        for i in range(2):
            assert torch.allclose(net.sequence(clips[i : i + 1])[0][0], both[i], atol=1e-5)


def test_weights_can_be_kept_and_a_copy_stands_alone(net: Stable):
    pictures = torch.rand(2, 3, 64, 64)
    other = Stable(models.create("fan2", landmarks=5, width=16), ConvLSTM(5))
    assert not torch.equal(other(pictures)[0], net(pictures)[0])
    other.load_state_dict(net.state_dict())
    assert torch.equal(other(pictures)[0], net(pictures)[0])
    twin = copy.deepcopy(net)
    for parameter in twin.backbone.parameters():
        nn.init.zeros_(parameter)
    assert not torch.equal(twin(pictures)[0], net(pictures)[0])
    assert torch.equal(other(pictures)[0], net(pictures)[0])


def test_what_does_not_fit_is_refused(net: Stable, refusal):
    pictures = torch.rand(2, 3, 64, 64)
    coordinates = Stable(models.create("resnet18", landmarks=5, size=64, width=8), ConvLSTM(5))
    refusal("ResNet18 returns landmarks", coordinates, pictures)
    refusal("(2, 1, 5, 16, 16)", Stable(net.backbone, ConvLSTM(7)), pictures)
    for shape in [(2, 3, 64, 64), (1, 0, 3, 64, 64), (1, 2, 1, 64, 64)]:
        refusal(shape, net.sequence, torch.rand(shape))
