"""The backbones of paper 3 beside HRNet: pose machine, LAB's hourglasses, Adaptive Wing Loss's with coordinates and boundary."""

import pytest
import torch
from torch import nn

from fa_lib import models
from fa_lib.models.awing import coordinates
from fa_lib.models.hourglass import Bottleneck

SMALL = {"cpm": {"width": 4, "stride": 4}, "lab": {"width": 16}, "awing": {"width": 16}}
STACKS = {"cpm": 3, "lab": 4, "awing": 4}


def small(name: str, landmarks: int = 5, **options) -> nn.Module:
    torch.manual_seed(0)
    return models.create(name, landmarks, **{**SMALL[name], **options})


def on_paper(name: str, **options) -> nn.Module:
    with torch.device("meta"):
        return models.create(name, **options)


@pytest.mark.parametrize("landmarks", [19, 29, 68, 98])
@pytest.mark.parametrize("name", SMALL)
def test_shapes_of_all_schemes(name: str, landmarks: int):
    with torch.no_grad():
        output = small(name, landmarks)(torch.rand(2, 3, 64, 64))
    assert [tuple(maps.shape) for maps in output] == [(2, landmarks, 16, 16)] * STACKS[name]


@pytest.mark.parametrize(("name", "billions"), [("cpm", 27.51), ("lab", 15.08), ("awing", 25.40)])
def test_multiply_adds_at_256_pixels(name: str, billions: float):
    assert models.count_macs(on_paper(name)) / 1e9 == pytest.approx(billions, rel=0.002)


def test_pose_machine_counts_as_written_down():
    """Weights of VGG-16's ten convolutions, of the two after them, of the first stage and of two later ones, layer by layer."""
    vgg = [(3, 3, 64), (3, 64, 64), (3, 64, 128), (3, 128, 128), (3, 128, 256), (3, 256, 256), (3, 256, 256)]
    vgg += [(3, 256, 512), (3, 512, 512), (3, 512, 512)]
    first = [(3, 128, 128)] * 4 + [(1, 128, 512)]
    later = [(7, 128 + 68, 128), *[(7, 128, 128)] * 2, *[(3, 128, 128)] * 4, (1, 128, 128)]
    hidden = vgg + [(3, 512, 256), (3, 256, 128)] + first + 2 * later
    expected = sum(kernel**2 * a * b + 2 * b for kernel, a, b in hidden)  # a batch norm has two numbers a channel
    expected += 68 * (512 + 1) + 2 * 68 * (128 + 1)  # the last of a stage has a bias instead
    net = on_paper("cpm")
    assert models.count_parameters(net) == expected == 16_709_516
    assert sum(isinstance(module, nn.Conv2d) for module in net.modules()) == 10 + 2 + 6 + 9 + 9


def test_eight_hourglasses_have_about_the_published_size():
    """25.6 million in the best known implementation, whose stem is a little wider than Newell's."""
    assert models.count_parameters(on_paper("lab", landmarks=16, stacks=8)) == pytest.approx(25.6e6, rel=0.01)


def test_bottleneck_without_its_body_is_the_identity():
    block, x = Bottleneck(8, 8), torch.randn(2, 8, 4, 4)
    nn.init.zeros_(block.body[-1].weight)
    nn.init.zeros_(block.body[-1].bias)
    assert torch.equal(block(x), x)


@pytest.mark.parametrize("name", SMALL)
def test_gradient_reaches_every_parameter(name: str):
    net, pictures = small(name), torch.rand(2, 3, 64, 64)
    for maps in net.with_boundary(pictures) if name == "awing" else net(pictures):
        (maps * torch.randn_like(maps)).sum().backward(retain_graph=True)
    for label, parameter in net.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all(), label
        if label.endswith("weight"):  # a bias before a batch norm changes nothing
            assert parameter.grad.abs().sum() > 0, label


@pytest.mark.parametrize("name", SMALL)
def test_last_stage_alone_reaches_the_first_one(name: str):
    """Each stage sees the heatmaps of the one before, and the loss on the last one teaches all of them."""
    net = small(name)
    net(torch.rand(2, 3, 64, 64))[-1].square().sum().backward()
    assert all(parameter.grad.abs().sum() > 0 for label, parameter in net.named_parameters() if label.endswith("weight"))


@pytest.mark.parametrize("name", SMALL)
def test_evaluation_is_the_same_twice_and_alone(name: str):
    net, pictures = small(name), torch.rand(3, 3, 64, 64)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 1.0  # one look fills the averages, without which an untrained net's features vanish
    with torch.no_grad():
        net(pictures)
        net.eval()
        once = net(pictures)[-1]
        assert torch.equal(net(pictures)[-1], once)
        assert torch.allclose(net(pictures[:1])[-1], once[:1], atol=1e-4 * once.abs().max().item())
        assert not torch.allclose(once[0], once[1])


def test_coordinates_say_where_a_pixel_lies():
    x, y, r = coordinates(torch.zeros(2, 3, 5, 9))[1]
    assert x[0].tolist() == [-1, -0.75, -0.5, -0.25, 0, 0.25, 0.5, 0.75, 1] and torch.equal(x, x[:1].expand(5, 9))
    assert y[:, 0].tolist() == [-1, -0.5, 0, 0.5, 1] and torch.equal(y, y[:, :1].expand(5, 9))
    assert torch.allclose(r[[0, 0, 4, 4], [0, 8, 0, 8]], torch.ones(4)) and r[2, 4] == 0
    assert torch.allclose(r[2, 8], torch.tensor(0.5).sqrt())


def test_awing_sees_where_a_pixel_lies():
    """Of an empty picture FAN's stem makes the same everywhere, away from the border; this one does not."""
    empty = torch.full((1, 3, 64, 64), 0.5)
    seen = {}
    for name in ("fan4", "awing"):
        net = models.create(name, landmarks=5, width=16)
        net.stem[0].register_forward_hook(lambda module, inputs, output, name=name: seen.update({name: output[0, :, 4:-4, 4:-4]}))
        net(empty.expand(2, -1, -1, -1))
    spread = {name: (maps - maps[:, :1, :1]).abs().max().item() for name, maps in seen.items()}
    assert spread["fan4"] < 1e-6 and spread["awing"] > 0.1


def test_awing_gives_landmarks_and_beside_them_the_boundary():
    for mass in (None, 3.0):
        net, pictures = small("awing", mass=mass).eval(), torch.rand(2, 3, 64, 64)
        with torch.no_grad():
            plain, all_maps = net(pictures), net.with_boundary(pictures)
        assert [tuple(maps.shape) for maps in all_maps] == [(2, 6, 16, 16)] * 4
        assert all(torch.equal(a, b[:, :5]) for a, b in zip(plain, all_maps, strict=True))
        sums = all_maps[-1].sum((2, 3))
        assert torch.allclose(sums[:, :5], torch.tensor(3.0), rtol=1e-4) == (mass is not None)
        assert not torch.allclose(sums[:, 5], torch.tensor(3.0), rtol=1e-2)


@pytest.mark.parametrize("stride", [0, 1, 3, 16])
def test_pose_machine_refuses_another_stride(stride: int, refusal):
    assert "8 as published" in refusal(f"stride={stride}", models.create, "cpm", stride=stride)
