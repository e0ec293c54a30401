"""The auto-encoder of faces and the detectors made of it: sizes as published, a generator that stays as it is, skips."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fa_lib import models
from fa_lib.models.fabrec import MEAN, AutoEncoder, Decoder, Encoder, FabRec, ImageDiscriminator, LatentDiscriminator

SMALL = {"width": 8, "size": 64, "latent": 12}


@pytest.fixture
def autoencoder() -> AutoEncoder:
    """A narrow one whose batch norms have seen something."""
    torch.manual_seed(0)
    net = AutoEncoder(**SMALL)
    with torch.no_grad():
        for _ in range(3):
            net(torch.rand(4, 3, 64, 64))
    return net


def size_of(net: nn.Module) -> int:
    return sum(parameter.numel() for parameter in net.parameters())


def weights(module: nn.Module) -> dict[str, Tensor]:
    """Parameters and buffers, also those that no file keeps."""
    return {name: value.clone() for name, value in [*module.named_parameters(), *module.named_buffers()]}


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize(
    ("net", "parameters"),
    [(Encoder, 11_379_491), (Decoder, 10_868_096), (LatentDiscriminator, 1_102_001), (ImageDiscriminator, 1_743_744)],
)
def test_parts_have_the_published_size(net: type[nn.Module], parameters: int):
    with torch.device("meta"):
        assert size_of(net()) == parameters


@pytest.mark.parametrize(("landmarks", "head"), [(68, 880_640), (98, 911_360)])
def test_detectors_have_the_published_size(landmarks: int, head: int):
    with torch.device("meta"):
        fabrec, scaf = (models.create(name, landmarks) for name in ("fabrec", "scaf"))
    assert models.count_parameters(fabrec) == 11_379_491 + head
    assert models.count_parameters(scaf) == 11_379_491 + head + 559_360
    assert [size_of(block) for block in scaf.skips] == [406_400, 101_824, 25_568, 25_568]
    for net, skips in ((fabrec, 0), (scaf, 559_360)):
        assert {name: sum(p.numel() for p in group) for name, group in net.groups().items()} == {
            "encoder": 11_379_491,
            "head": head + skips,
        }
        assert size_of(net) - models.count_parameters(net) == size_of(net.autoencoder.decoder) == 10_868_096


def test_maps_at_256_pixels_are_those_of_the_paper():
    """Channels and sides of the generator's layers; the encoder's have the same, from the back."""
    seen = []
    with torch.device("meta"):
        net = models.create("scaf", 98).eval()
        for layer in (*net.autoencoder.decoder.start[2:3], *net.autoencoder.decoder.layers):
            layer.register_forward_hook(lambda module, inputs, output: seen.append(tuple(output.shape[1:])))
        pictures = torch.rand(2, 3, 256, 256)
        z, features = net.autoencoder.encode(pictures)
        assert z.shape == (2, 99) and net.autoencoder.decode(z).shape == pictures.shape
        deep, *layers, last = seen
        assert deep == (512, 4, 4) and layers == [(256, 8, 8), (128, 16, 16), (64, 32, 32), (64, 64, 64)]
        assert last == (64, 128, 128) and [tuple(maps.shape[1:]) for maps in features] == layers[::-1]
        (maps,) = net(pictures)
        assert maps.shape == (2, 98, 128, 128) and seen[6:] == [deep, *layers]


@pytest.mark.parametrize("size", [32, 64, 96, 128, 160, 256])
def test_any_multiple_of_32_will_do(size: int):
    autoencoder, pictures = AutoEncoder(width=4, latent=7, size=size), torch.rand(2, 3, size, size)
    assert autoencoder(pictures).shape == pictures.shape
    assert ImageDiscriminator(4, size)(pictures).shape == (2, 1)
    for skips in (False, True):
        (maps,) = FabRec(autoencoder, 5, skips)(pictures)
        assert maps.shape == (2, 5, size // 2, size // 2)
        assert models.landmarks_of([maps], size).shape == (2, 5, 2)


def test_discriminators_answer_with_one_logit_a_sample():
    torch.manual_seed(0)
    latent, image = LatentDiscriminator(12, hidden=20), ImageDiscriminator(8, 256).eval()
    codes, pictures = torch.randn(6, 12), torch.rand(2, 3, 256, 256)
    with torch.no_grad():
        assert latent(codes).shape == (6, 1)
        assert [m.p for m in latent.body if isinstance(m, nn.Dropout)] == [0.2, 0.2] and not torch.equal(
            latent(codes), latent(codes)
        )
        assert torch.equal(latent.eval()(codes), latent(codes))
        patches = image.body(pictures)
        assert patches.shape == (2, 1, 5, 5) and torch.allclose(image(pictures), patches.mean((2, 3)))
        for net, samples in ((latent, codes), (image, pictures)):
            last = [module for module in net.body if isinstance(module, nn.Linear | nn.Conv2d)][-1]
            before = net(samples)
            last.weight.mul_(-1000)
            if last.bias is not None:
                last.bias.mul_(-1000)
            assert torch.allclose(net(samples), -1000 * before, rtol=1e-3)  # no sigmoid


def test_reconstruction_is_the_mean_colour_and_what_a_tanh_draws(autoencoder: AutoEncoder):
    pictures, mean = torch.rand(2, 3, 64, 64), torch.tensor(MEAN)[:, None, None]
    with torch.no_grad():
        z, _ = autoencoder.eval().encode(pictures)
        assert torch.equal(z, autoencoder.encoder(pictures - mean)[0])
        assert torch.equal(autoencoder(pictures), autoencoder.decode(z))
        drawn = autoencoder.decode(1000 * torch.randn(2, 12)) - mean
        assert drawn.abs().max() <= 1 + 1e-6 and drawn.min() < -0.9 and drawn.max() > 0.9
        nn.init.zeros_(autoencoder.decoder.picture[0].weight)
        assert torch.equal(autoencoder(pictures), mean.expand(2, 3, 64, 64))


def test_autoencoder_learns_two_pictures_by_heart():
    """Better than one picture for both, and than the best single colour for each."""
    torch.manual_seed(0)
    net, pictures = AutoEncoder(**SMALL), F.interpolate(torch.rand(2, 3, 2, 2), size=64, mode="bilinear")
    optimiser = torch.optim.Adam(net.parameters(), lr=3e-3)
    for _ in range(100):  # 30 steps at 1e-2 are a matter of luck: of the seed, and of how a processor rounds
        loss = (net(pictures) - pictures).abs().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    for simple in (pictures.mean(0), pictures.mean((2, 3), keepdim=True)):
        assert loss < 0.8 * (pictures - simple).abs().mean()


@pytest.mark.parametrize("skips", [False, True])
def test_generator_and_every_average_stay_bitwise_as_they_were(autoencoder: AutoEncoder, skips: bool):
    net = FabRec(autoencoder, 5, skips).train()
    inside = net.autoencoder
    generator, averages = weights(inside.decoder), {n: v.clone() for n, v in inside.encoder.named_buffers()}
    encoder, head = ([p.detach().clone() for p in group] for group in net.groups().values())
    assert any("running_var" in name for name in generator) and averages
    optimiser = torch.optim.AdamW(net.parameters(), lr=0.01, weight_decay=0.1)
    for _ in range(3):
        optimiser.zero_grad()
        net.train()(torch.rand(3, 3, 64, 64))[0].sub(1).square().mean().backward()
        optimiser.step()
    assert same(weights(inside.decoder), generator)
    assert same(dict(inside.encoder.named_buffers()), averages)
    for before, group in zip((encoder, head), net.groups().values()):
        assert not any(torch.equal(old, new) for old, new in zip(before, group))


@pytest.mark.parametrize("skips", [False, True])
def test_encoder_learns_through_the_frozen_generator(autoencoder: AutoEncoder, skips: bool):
    net = FabRec(autoencoder, 5, skips).train()
    net(torch.rand(2, 3, 64, 64))[0].square().mean().backward()
    for name, parameter in net.named_parameters():
        if name.startswith("autoencoder.decoder"):
            assert parameter.grad is None and not parameter.requires_grad
        else:
            assert parameter.grad is not None and parameter.grad.abs().sum() > 0, name


def test_only_the_skips_have_norms_in_training_mode(autoencoder: AutoEncoder):
    net = FabRec(autoencoder, 5, skips=True)
    for mode in (True, False):
        net.train(mode)
        assert not any(module.training for module in net.autoencoder.modules())
        assert all(module.training == mode for part in (net.skips, net.transfers, net.heatmaps) for module in part.modules())
    before = weights(net.skips)
    net.train()(torch.rand(2, 3, 64, 64))
    assert not torch.equal(net.skips[0].conv1[0].running_mean, before["0.conv1.0.running_mean"])


@pytest.mark.parametrize("size", [64, 96])
def test_skip_adds_the_bottleneck_of_the_encoder_to_the_generator(size: int):
    """Equal to the sentence of section 3.1, layer by layer, with FAN's block written out."""
    torch.manual_seed(0)
    net = FabRec(AutoEncoder(width=8, latent=12, size=size), 5).eval()
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_mean)
            nn.init.uniform_(module.running_var, 0.5, 2)
    pictures, inputs = torch.rand(2, 3, size, size), []
    for transfer in net.transfers:
        transfer.register_forward_hook(lambda module, args, output: inputs.append(args[0]))

    def norm_relu_convolution(x: Tensor, part: nn.Sequential) -> Tensor:
        norm, _, convolution = part
        scale = norm.weight / (norm.running_var + norm.eps).sqrt()
        x = (x - norm.running_mean[:, None, None]) * scale[:, None, None] + norm.bias[:, None, None]
        return F.conv2d(x.clamp(min=0), convolution.weight, padding=1)

    with torch.no_grad():
        (maps,) = net(pictures)
        encoder, decoder = net.autoencoder.encoder, net.autoencoder.decoder
        x = encoder.stem(pictures - torch.tensor(MEAN)[:, None, None])
        layer0 = encoder.layers[0](x)
        layer1 = encoder.layers[1](layer0)
        layer2 = encoder.layers[2](layer1)
        layer3 = encoder.layers[3](layer2)
        layer4 = encoder.layers[4](layer3)
        x = decoder.start(encoder.code(layer4.flatten(2).mean(2)))
        for i, feature in enumerate([layer3, layer2, layer1, layer0]):
            generated, bottleneck = decoder.layers[i](x), net.skips[i]
            first = norm_relu_convolution(feature, bottleneck.conv1)
            second = norm_relu_convolution(first, bottleneck.conv2)
            third = norm_relu_convolution(second, bottleneck.conv3)
            expected = generated + feature + torch.cat([first, second, third], 1)
            assert torch.allclose(inputs[i], expected, rtol=1e-4, atol=1e-4 * float(expected.abs().max()))
            x = F.conv2d(expected, net.transfers[i].weight, padding=1)
        expected = F.conv_transpose2d(x, net.heatmaps.weight, stride=2, padding=1)
        assert torch.allclose(maps, expected, rtol=1e-4, atol=1e-4 * float(expected.abs().max()))


def test_without_skips_the_code_is_all_that_counts(autoencoder: AutoEncoder):
    """The maps of 3FabRec are a function of z; those of SCAF see more of the picture."""
    fabrec, scaf = (FabRec(autoencoder, 5, skips).eval() for skips in (False, True))
    for net in (fabrec, scaf):
        nn.init.zeros_(net.autoencoder.encoder.code.weight)  # every picture has the same code
    one, other = torch.rand(2, 1, 3, 64, 64)
    with torch.no_grad():
        assert torch.equal(fabrec(one)[0], fabrec(other)[0])
        assert not torch.allclose(scaf(one)[0], scaf(other)[0], rtol=1e-3)


def test_detector_takes_a_copy_and_may_train_any_of_it_again(autoencoder: AutoEncoder):
    before, trained = weights(autoencoder), FabRec(autoencoder, 5)
    assert same(weights(autoencoder), before)
    assert autoencoder.training and all(parameter.requires_grad for parameter in autoencoder.parameters())
    assert same(weights(trained.autoencoder), before)
    with torch.no_grad():
        for parameter in trained.parameters():
            parameter.zero_()
    assert same(weights(autoencoder), before)
    models.freeze(autoencoder)
    assert all(p.requires_grad for group in FabRec(autoencoder, 5).groups().values() for p in group)


def test_groups_are_everything_that_learns_and_nothing_twice(autoencoder: AutoEncoder):
    for skips in (False, True):
        net = FabRec(autoencoder, 5, skips)
        grouped = [id(p) for group in net.groups().values() for p in group]
        assert sorted(grouped) == sorted(id(p) for p in net.parameters() if p.requires_grad)


def test_weights_can_be_kept_and_names_build_what_they_say(autoencoder: AutoEncoder):
    pictures = torch.rand(2, 3, 64, 64)
    for name, skips in (("fabrec", False), ("scaf", True)):
        net, other = FabRec(autoencoder, 5, skips).eval(), models.create(name, 5, **SMALL).eval()
        assert (other.skips is not None) == skips
        assert not torch.equal(other(pictures)[0], net(pictures)[0])
        other.load_state_dict(net.state_dict())
        twin = copy.deepcopy(net)
        assert torch.equal(other(pictures)[0], net(pictures)[0]) and torch.equal(twin(pictures)[0], net(pictures)[0])


def test_what_does_not_fit_is_refused(autoencoder: AutoEncoder, refusal):
    for width in (0, 6, 66):
        refusal(f"width={width}", AutoEncoder, width=width)
    for size in (0, 16, 100):
        refusal(f"size={size}", AutoEncoder, width=8, size=size)
    for shape in [(2, 3, 96, 96), (2, 3, 64, 32), (2, 1, 64, 64), (3, 64, 64)]:
        refusal(shape, autoencoder, torch.rand(shape))
        refusal("(B, 3, 64, 64)", FabRec(autoencoder, 5), torch.rand(shape))
