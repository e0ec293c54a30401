"""What an auto-encoder of faces learns from without labels (3FabRec, Browatzki and Wallraven, 2020, section 3.1; paper 5, 3.1).

It draws each face again, right in colour (`reconstruction`) and in structure (`structural`), so that one critic takes its
codes for draws from a normal distribution and another takes its pictures for photographs. A critic, or discriminator, returns
logits, greater for what looks real: it learns to tell by `discriminate`, the auto-encoder to deceive it by `fool`.

`unsupervised` puts all of them into one sum, of which one backward gives every network the gradient of its own loss.
"""

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F

from fa_lib.errors import InputError

SIGMA = 1.5  # pixels, of the windows of structural similarity
FAINT = 0.03**2  # C2 of structural similarity for pictures in [0, 1]: contrast far below it counts as none


def reconstruction(images: Tensor, again: Tensor) -> Tensor:
    """255 times the mean absolute difference of pictures (B, C, H, W) in [0, 1]: in grey levels. InputError: shapes differ.

    >>> reconstruction(torch.zeros(1, 3, 2, 2), torch.full((1, 3, 2, 2), 0.25)).item()
    63.75
    """
    _check(images, again)
    return 255 * (_precise(again) - _precise(images)).abs().mean()


def structural(images: Tensor, again: Tensor, window: int = 31) -> Tensor:
    """1 - structural similarity of pictures (B, C, H, W) in [0, 1], as 3FabRec takes it: of contrast and correlation alone.

    A window of x has the variance v(x), windows of x and y at the same place have the covariance c(x, y), and their similarity
    is (2 c(x, y) + C2) / (v(x) + v(y) + C2), C2 = 0.03^2: the second factor of Wang et al.'s SSIM (2004). The first, which
    compares means, is left out, so that a constant added to either picture changes nothing: brightness is what
    `reconstruction` is for. Mean over all windows that lie wholly inside, channels and pictures: 0 if equal, nearly 2 if one
    is the negative of the other.

    Windows are Gaussian, with sigma 1.5 pixels at any size, `window` pixels a side, or the greatest odd number that fits into
    the picture. All but 0.04 % of the weight lies within 11 x 11. So a wider window does not look at more, it leaves out more
    at the border: at 64 pixels 31 compares the middle 34 x 34, 11 the middle 54 x 54.

    Differs from 3FabRec: its C2 is four times as large for pictures, less their mean, with a value below -0.5, nearly black.

    Raises InputError where shapes differ, a picture's side is below 3 or `window` is not an odd number from 3 on.

    >>> stripes = torch.tensor([0.0, 1.0, 0.0, 1.0]).expand(1, 1, 4, 4)
    >>> round(structural(stripes, 0.5 + 0 * stripes, window=3).item(), 4)  # v = 0.2366: 1 - 0.0009 / (0.2366 + 0.0009)
    0.9962
    """
    _check(images, again)
    side = min(images.shape[-2:])
    if not isinstance(window, int) or window < 3 or window % 2 == 0 or side < 3:
        raise InputError(
            f"window={window} on pictures of {side} pixels: a window is an odd number of pixels, at least 3, and so is a side"
        )
    window = min(window, side - 1 + side % 2)
    x, y = _precise(images), _precise(again)
    weights = torch.exp(-((torch.arange(window, device=x.device, dtype=x.dtype) - window // 2) ** 2) / (2 * SIGMA**2))
    weights = weights / weights.sum()
    with torch.autocast(x.device.type, enabled=False):  # differences of squares, in half precision, would be noise
        # one matrix for the rows, one for the columns: on a CPU 25 times as fast as convolutions of single channels
        down, across = (torch.eye(n, device=x.device, dtype=x.dtype).unfold(0, window, 1) @ weights for n in x.shape[-2:])
        mean_x, mean_y, xx, yy, xy = down @ torch.stack([x, y, x * x, y * y, x * y]) @ across.T
    variances, covariance = xx - mean_x**2 + (yy - mean_y**2), xy - mean_x * mean_y
    return 1 - ((2 * covariance + FAINT) / (variances + FAINT)).mean()


def discriminate(real: Tensor, fake: Tensor) -> Tensor:
    """A critic's own loss, - log p(real) - log(1 - p(fake)), p the sigmoid of its logits: the mean of each, then their sum.

    Any shape, for both the same. No gradient must lead from `fake` into what made it: detach that. InputError: shapes differ.

    >>> discriminate(torch.zeros(4, 1), torch.zeros(4, 1)).item() / torch.tensor(2.0).log().item()  # who guesses has 2 log 2
    2.0
    """
    if real.shape != fake.shape or not real.numel():
        raise InputError(f"logits of real ones are {tuple(real.shape)}, of fakes {tuple(fake.shape)}: give as many of both")
    return fool(real) + fool(-fake)


def fool(fake: Tensor) -> Tensor:
    """- log p(fake), the mean over a critic's logits of any shape: what the maker of fakes has to make small.

    Not log(1 - p), which has hardly any slope as long as no fake passes (Goodfellow et al., 2014).

    >>> round(fool(torch.tensor([[3.0]]).log()).item(), 4)  # p = 3 / 4: log(4 / 3)
    0.2877
    """
    return -F.logsigmoid(_precise(fake)).mean()


def unsupervised(
    autoencoder: nn.Module,
    latent_critic: nn.Module | None,
    image_critic: nn.Module | None,
    images: Tensor,
    noise: Tensor,
    *,
    pixels: float = 0.5,
    structure: float = 30.0,
    codes: float = 1.0,
    realism: float = 1.0,
    window: int = 31,
) -> dict[str, Tensor]:
    """All losses of 3FabRec's unsupervised training for pictures (B, 3, H, H) in [0, 1] and normal `noise` (B, latent).

    Args: `autoencoder` has `encode`, pictures -> (codes (B, latent), anything), and `decode`, codes -> pictures; critics give
    logits; the weights are of `reconstruction`, `structural` (of that `window`) and of fooling the critics of codes and of
    pictures. What has the weight 0 is left out, at no cost: its critic learns nothing then, and may be None. The defaults are
    of the last of the published stages, which have 1, 0, 1, 0, then 1, 0, 1, 1, then 1 / 2, 60 / 2, 1, 1.

    Returns "pixels", "structure", "codes", "realism" (not weighted), "codes_critic", "realism_critic" and "total", the weighted
    sum of the four plus the critics' losses. The total itself says little: what a critic gains, the auto-encoder loses.

    One backward of the total gives each network its own gradient: critics see codes and pictures detached, and where they are
    to be fooled their parameters are constants and their batch norms keep the averages of their own step. So one optimiser
    over all three, as in `training.fit`, takes the step that an optimiser for each would take, each without the others' losses.

    Differs from the paper: there the critic of codes learns every 4th iteration, the critic of pictures every 2nd at half the
    rate, and the encoder has a step of its own every 2nd that only fools the critic of codes; here all learn at each step, at
    one rate. There Adam has beta1 = 0, and pictures from between two codes may be drawn to fool the critic; not here.

    Raises InputError where a weight is negative, a critic with a weight is None, or shapes do not fit.

    >>> from fa_lib.models.fabrec import AutoEncoder, ImageDiscriminator, LatentDiscriminator
    >>> nets = AutoEncoder(width=4, size=32, latent=5), LatentDiscriminator(5), ImageDiscriminator(width=4, size=32)
    >>> for parameter in [*nets[1].parameters(), *nets[2].parameters()]:
    ...     _ = nn.init.zeros_(parameter)  # critics that guess: log 2 and 2 log 2
    >>> parts = unsupervised(*nets, torch.rand(2, 3, 32, 32), torch.randn(2, 5))
    >>> {name: round(part.item(), 4) for name, part in parts.items() if name.startswith(("codes", "realism"))}
    {'codes': 0.6931, 'codes_critic': 1.3863, 'realism': 0.6931, 'realism_critic': 1.3863}
    """
    weights = {"pixels": pixels, "structure": structure, "codes": codes, "realism": realism}
    if not all(weight >= 0 for weight in weights.values()):
        raise InputError(f"{', '.join(f'{name}={weight!r}' for name, weight in weights.items())}: weights must be 0 or more")
    z, _ = autoencoder.encode(images)
    if noise.shape != z.shape:
        raise InputError(f"noise is {tuple(noise.shape)}, the codes are {tuple(z.shape)}: draw as many numbers from a normal one")
    again = autoencoder.decode(z)
    parts = {"pixels": reconstruction(images, again)}
    if structure:
        parts["structure"] = structural(images, again, window)
    for name, critic, real, fake in (("codes", latent_critic, noise, z), ("realism", image_critic, images, again)):
        if weights[name]:
            if critic is None:
                raise InputError(f"{name}={weights[name]!r}: a weight above 0 needs a critic to fool, not None")
            parts[name] = fool(_constant(critic, fake))
            parts[f"{name}_critic"] = discriminate(critic(real), critic(fake.detach()))
    return {**parts, "total": sum(weights.get(name, 1) * part for name, part in parts.items())}


def _constant(critic: nn.Module, fake: Tensor) -> Tensor:
    """The critic's logits with gradient for what it looks at alone, and without a trace in the critic."""
    state = {name: parameter.detach() for name, parameter in critic.named_parameters()}
    state |= {name: buffer.clone() for name, buffer in critic.named_buffers()}  # batch norms write into these
    return functional_call(critic, state, (fake,))


def _precise(values: Tensor) -> Tensor:
    return values.to(torch.promote_types(values.dtype, torch.float32))


def _check(images: Tensor, again: Tensor) -> None:
    if images.ndim != 4 or images.shape != again.shape:
        shapes = f"{tuple(images.shape)}, those drawn again {tuple(again.shape)}"
        raise InputError(f"pictures are {shapes}: give (B, C, H, W) of the same faces")
