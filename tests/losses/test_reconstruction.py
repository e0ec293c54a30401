"""Learning without labels: values by hand, structural similarity as loops, and networks that each follow their own loss."""

import copy
import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from fa_lib.losses import discriminate, fool, reconstruction, structural, unsupervised
from fa_lib.models.fabrec import AutoEncoder, ImageDiscriminator, LatentDiscriminator

C2 = 0.03**2
PARTS = ["pixels", "structure", "codes", "codes_critic", "realism", "realism_critic", "total"]


def pictures(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def values(*numbers: float) -> Tensor:
    return torch.tensor(numbers, dtype=torch.float64)[:, None]


class Three(nn.Module):
    """All that learns, small, in double precision; without dropout, so that twice the same is the same."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.autoencoder = AutoEncoder(width=4, size=32, latent=5)
        self.latent_critic, self.image_critic = LatentDiscriminator(5, hidden=8), ImageDiscriminator(width=4, size=32)
        for module in self.modules():
            if isinstance(module, nn.Dropout):
                module.p = 0.0
        self.double()

    def all(self) -> tuple[AutoEncoder, LatentDiscriminator, ImageDiscriminator]:
        return self.autoencoder, self.latent_critic, self.image_critic


@pytest.fixture
def three() -> Three:
    return Three()


IMAGES, NOISE = pictures(4, 3, 32, 32), torch.randn(4, 5, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def slopes(net: nn.Module) -> dict[str, Tensor | None]:
    return {name: parameter.grad for name, parameter in net.named_parameters()}


def same(found: dict[str, Tensor | None], expected: dict[str, Tensor | None]) -> bool:
    assert found.keys() == expected.keys() and all(value is not None for value in expected.values())
    return all(torch.allclose(found[name], expected[name], rtol=1e-9, atol=1e-12) for name in found)


# One number after another, with the publication's own symbols.


def similarity(x: Tensor, y: Tensor, window: int) -> float:
    """Mean over the windows of two pictures of one channel (H, W)."""
    gauss = [math.exp(-((i - window // 2) ** 2) / (2 * 1.5**2)) for i in range(window)]
    found, (height, width) = [], x.shape
    for top in range(height - window + 1):
        for left in range(width - window + 1):
            cells = [(i, j) for i in range(window) for j in range(window)]
            w = [gauss[i] * gauss[j] / sum(gauss) ** 2 for i, j in cells]
            a, b = ([picture[top + i, left + j].item() for i, j in cells] for picture in (x, y))
            mean_a, mean_b = (sum(wi * value for wi, value in zip(w, values)) for values in (a, b))
            var_a = sum(wi * (value - mean_a) ** 2 for wi, value in zip(w, a))
            var_b = sum(wi * (value - mean_b) ** 2 for wi, value in zip(w, b))
            covariance = sum(wi * (one - mean_a) * (other - mean_b) for wi, one, other in zip(w, a, b))
            found.append((2 * covariance + C2) / (var_a + var_b + C2))
    return sum(found) / len(found)


def test_reconstruction_by_hand():
    images = torch.tensor([[[[0.0, 1.0]]], [[[0.5, 0.5]]]])
    again = torch.tensor([[[[0.25, 0.5]]], [[[0.5, 1.5]]]])  # off by 1/4, 1/2, 0, 1, on either side
    assert reconstruction(images, again).item() == 255 * 1.75 / 4 == reconstruction(again, images).item()
    assert reconstruction(images, images).item() == 0


@pytest.mark.parametrize(("height", "width", "window", "used"), [(7, 6, 3, 3), (7, 8, 5, 5), (7, 9, 31, 7), (8, 6, 31, 5)])
def test_structural_is_its_equation(height: int, width: int, window: int, used: int):
    x, y = pictures(2, 2, height, width), pictures(2, 2, height, width, seed=1)
    expected = sum(similarity(x[b, c], y[b, c], used) for b in range(2) for c in range(2)) / 4
    assert structural(x, y, window).item() == pytest.approx(1 - expected, abs=1e-12)


def test_structural_is_kornias_less_the_comparison_of_means():
    from kornia.filters import gaussian_blur2d  # slow to import, so only where it is used
    from kornia.metrics import ssim

    x, y = pictures(2, 3, 40, 36), pictures(2, 3, 40, 36, seed=1)
    y = (x + y) / 2
    means = [gaussian_blur2d(picture, 31, (1.5, 1.5))[..., 15:-15, 15:-15] for picture in (x, y)]
    of_means = (2 * means[0] * means[1] + 0.01**2) / (means[0] ** 2 + means[1] ** 2 + 0.01**2)
    expected = 1 - (ssim(x, y, 31, eps=0.0, padding="valid") / of_means).mean()
    assert structural(x, y).item() == pytest.approx(expected.item(), abs=1e-9)


def test_structural_by_hand():
    x = pictures(1, 1, 3, 3)
    found = structural(x, 0 * x, 3).item()
    variance = C2 * found / (1 - found)
    assert structural(x, 1 - x, 3).item() == pytest.approx(4 * variance / (2 * variance + C2))  # the negative: c = - v
    assert structural(x, x / 2, 3).item() == pytest.approx(1 - (variance + C2) / (1.25 * variance + C2))
    assert structural(0 * x, 0 * x + 0.7, 3).item() == pytest.approx(0, abs=1e-12)  # nothing but brightness


@settings(max_examples=30)
@given(st.integers(0, 50), st.floats(-1, 1), st.floats(-1, 1))
def test_structural_sees_no_brightness_and_has_no_sides(seed: int, one: float, other: float):
    x, y = pictures(1, 2, 9, 9, seed=seed), pictures(1, 2, 9, 9, seed=seed + 1)
    found = structural(x, y, 5).item()
    assert 0 < found < 2
    assert structural(x + one, y + other, 5).item() == pytest.approx(found) == structural(y, x, 5).item()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_equal_pictures_have_no_structural_loss_at_all(dtype: torch.dtype):
    x = pictures(2, 3, 40, 40).to(dtype)
    y = x.clone().requires_grad_()
    loss = structural(x, y)
    loss.backward()
    assert loss.item() == 0 and y.grad.abs().max() < 1e-6


def test_structural_is_as_precise_where_networks_are_not():
    x, y = pictures(2, 3, 32, 32).float(), pictures(2, 3, 32, 32, seed=1).float()
    found = structural(x, y).item()
    assert found == pytest.approx(structural(x.double(), y.double()).item(), abs=1e-5)
    with torch.autocast("cpu", torch.bfloat16):
        assert structural(x, y).item() == found


def test_losses_of_pictures_have_the_right_gradient():
    x, y = pictures(1, 1, 6, 5), pictures(1, 1, 6, 5, seed=1).requires_grad_()
    assert torch.autograd.gradcheck(lambda again: structural(x, again, 3), y)
    assert torch.autograd.gradcheck(lambda again: reconstruction(x, again), y)


def test_losses_of_logits_by_hand():
    nothing, surely = values(0, 0), values(math.log(3), math.log(3))  # p = 1 / 2 and 3 / 4
    assert fool(nothing).item() == pytest.approx(math.log(2))
    assert discriminate(nothing, nothing).item() == pytest.approx(2 * math.log(2))
    assert discriminate(surely, nothing).item() == pytest.approx(math.log(4 / 3) + math.log(2))
    assert discriminate(nothing, surely).item() == pytest.approx(math.log(2) + math.log(4))
    assert fool(values(0, math.log(3))).item() == pytest.approx((math.log(2) + math.log(4 / 3)) / 2)
    assert fool(values(-1000)).item() == 1000 and discriminate(values(1000), values(-1000)).item() == 0


def test_losses_of_logits_are_cross_entropies():
    real, fake = 9 * pictures(5, 1) - 4, 9 * pictures(5, 1, seed=1) - 5
    entropy, one, zero = F.binary_cross_entropy_with_logits, torch.ones_like(real), torch.zeros_like(real)
    assert fool(fake).item() == pytest.approx(entropy(fake, one).item())
    assert discriminate(real, fake).item() == pytest.approx((entropy(real, one) + entropy(fake, zero)).item())
    assert fool(fake.bfloat16()).dtype == torch.float32


def alone(three: Three, which: str, pixels: float, structure: float, codes: float, realism: float) -> nn.Module:
    """One network of a copy of the three after the backward of its own loss, with gradients that no other loss has touched."""
    autoencoder, latent_critic, image_critic = copy.deepcopy(three).all()
    z, _ = autoencoder.encode(IMAGES)
    again = autoencoder.decode(z)
    if which == "latent_critic":
        discriminate(latent_critic(NOISE), latent_critic(z.detach())).backward()
        return latent_critic
    if which == "image_critic":
        discriminate(image_critic(IMAGES), image_critic(again.detach())).backward()
        return image_critic
    loss = pixels * reconstruction(IMAGES, again) + structure * structural(IMAGES, again)
    (loss + codes * fool(latent_critic(z)) + realism * fool(image_critic(again))).backward()
    return autoencoder


@pytest.mark.parametrize("weights", [(0.5, 30.0, 1.0, 1.0), (0.1, 2.0, 50.0, 7.0), (0.0, 0.0, 1.0, 1.0)])
def test_each_network_follows_its_own_loss(three: Three, weights: tuple[float, ...]):
    options = dict(zip(("pixels", "structure", "codes", "realism"), weights))
    parts = unsupervised(*copy.deepcopy(three).all(), IMAGES, NOISE, **options)
    trained = copy.deepcopy(three)
    unsupervised(*trained.all(), IMAGES, NOISE, **options)["total"].backward()
    for name, net in trained.named_children():
        own = alone(three, name, **options)
        assert same(slopes(net), slopes(own)), name
        assert max(slope.abs().max() for slope in slopes(own).values()) > 1e-6
    assert parts["total"].item() == pytest.approx(
        sum(weight * parts.get(name, torch.zeros(())).item() for name, weight in options.items())
        + parts["codes_critic"].item() + parts["realism_critic"].item()
    )  # fmt: skip


def test_batch_norms_count_each_step_once(three: Three):
    expected, trained = copy.deepcopy(three), copy.deepcopy(three)
    unsupervised(*trained.all(), IMAGES, NOISE)["total"].backward()
    with torch.no_grad():
        again = expected.autoencoder(IMAGES)
        expected.image_critic(IMAGES), expected.image_critic(again)  # what is real, what is not: nothing for fooling
    found, wanted, before = (dict(net.named_buffers()) for net in (trained, expected, three))
    assert all(torch.allclose(found[name].double(), wanted[name].double(), atol=1e-12) for name in wanted)
    assert found["image_critic.body.3.num_batches_tracked"] == 2
    assert not torch.equal(found["image_critic.body.3.running_mean"], before["image_critic.body.3.running_mean"])
    assert all(parameter.requires_grad and parameter.is_leaf for parameter in trained.parameters())


def test_one_optimiser_does_the_work_of_three(three: Three):
    """Also over steps, with momentum and with a gradient that grows and shrinks."""
    together, apart = copy.deepcopy(three), copy.deepcopy(three)
    one = torch.optim.AdamW(together.parameters(), lr=1e-3)
    own = {name: torch.optim.AdamW(net.parameters(), lr=1e-3) for name, net in apart.named_children()}
    for _ in range(3):
        one.zero_grad()
        unsupervised(*together.all(), IMAGES, NOISE)["total"].backward()
        one.step()
        found = {name: slopes(alone(apart, name, 0.5, 30.0, 1.0, 1.0)) for name in own}
        for name, optimiser in own.items():
            for parameter, slope in zip(getattr(apart, name).parameters(), found[name].values()):
                parameter.grad = slope
            optimiser.step()
    moved = torch.cat([(p - q).flatten() for p, q in zip(together.parameters(), three.parameters())])
    away = torch.cat([(p - q).flatten() for p, q in zip(together.parameters(), apart.parameters())])
    assert moved.abs().max() > 2e-3 and away.abs().median() < 1e-9 and away.norm() < 1e-3 * moved.norm()


def test_what_has_no_weight_is_left_out(three: Three):
    parts = unsupervised(*three.all(), IMAGES, NOISE)
    assert list(parts) == PARTS and all(part.ndim == 0 for part in parts.values())
    first = unsupervised(three.autoencoder, three.latent_critic, None, IMAGES, NOISE, pixels=1, structure=0, realism=0)
    assert list(first) == ["pixels", "codes", "codes_critic", "total"]
    assert first["total"].item() == pytest.approx(sum(first[name].item() for name in list(first)[:-1]))
    only = unsupervised(three.autoencoder, None, None, IMAGES, NOISE, pixels=2, structure=0, codes=0, realism=0)
    assert only["total"].item() == 2 * only["pixels"].item()
    small = unsupervised(*three.all(), IMAGES, NOISE, window=3)["structure"]
    again = three.autoencoder(IMAGES)
    assert small.item() == pytest.approx(structural(IMAGES, again, 3).item()) != pytest.approx(parts["structure"].item())


def test_wrong_input_is_refused(refusal, three: Three):
    x = pictures(2, 3, 8, 8)
    for loss in (reconstruction, structural):
        refusal("(2, 1, 8, 8)", loss, x, x[:, :1])  # would broadcast
        refusal("(3, 8, 8)", loss, x[0], x[0])
    for window in (1, 4, -3, 3.0):
        refusal(f"window={window}", structural, x, x, window)
    refusal("2 pixels", structural, x[..., :2], x[..., :2])
    refusal("(4, 1)", discriminate, values(0, 0, 0, 0), values(0, 0))
    refusal("(0, 1)", discriminate, values(), values())
    refusal("(4, 4)", unsupervised, *three.all(), IMAGES, NOISE[:, :4])
    refusal("(1, 5)", unsupervised, *three.all(), IMAGES, NOISE[:1])
    refusal("(4, 3, 32, 16)", unsupervised, *three.all(), IMAGES[..., :16], NOISE)
    refusal("structure=-1", unsupervised, *three.all(), IMAGES, NOISE, structure=-1)
    refusal("codes=nan", unsupervised, *three.all(), IMAGES, NOISE, codes=math.nan)
    refusal("realism=1.0", unsupervised, *three.all()[:2], None, IMAGES, NOISE)
    refusal("codes=2", unsupervised, three.autoencoder, None, three.image_critic, IMAGES, NOISE, codes=2)
