"""Landmarks from an auto-encoder of faces: 3FabRec (Browatzki and Wallraven, 2020), and paper 5's SCAF, which adds skips.

Without labels an `AutoEncoder` learns to draw faces, against two discriminators. Then its generator stays as it is, and
`FabRec` puts small layers between the generator's own that make it draw heatmaps instead, which a few labels can teach.
"""

import copy
from itertools import pairwise
from typing import Self

import torch
from torch import Tensor, nn

from fa_lib.errors import InputError
from fa_lib.models import shortcut
from fa_lib.models.fan import ConvBlock

MEAN = (0.518, 0.418, 0.361)  # red, green and blue of 3FabRec's faces
HALVINGS = 5  # down to the last features that a skip takes, 8 x 8 of 256 x 256


def _he(net: nn.Module) -> None:
    """He et al.'s start for the convolutions (not the transposed ones), as in 3FabRec."""
    for module in net.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")


class Encoder(nn.Module):
    """Pictures less their mean (B, 3, H, H) -> code z (B, latent), features of layers 0 to 3.

    ResNet-18 with a layer more: after the stem, layers 0 to 4 of two blocks each, `width` * (1, 1, 2, 4, 8) channels and
    1/4, 1/8, ... 1/64 of the side; then the mean over all positions and a linear layer.

    >>> sum(p.numel() for p in Encoder().parameters())
    11379491
    """

    def __init__(self, width: int = 64, latent: int = 99) -> None:
        super().__init__()
        from timm.models.resnet import BasicBlock  # it imports torchvision, which takes seconds

        self.stem = nn.Sequential(
            nn.Conv2d(3, width, 7, stride=2, padding=3, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.MaxPool2d(3, stride=2, padding=1),
        )
        layers, inputs = [nn.Sequential(BasicBlock(width, width), BasicBlock(width, width))], width
        for outputs in (width, 2 * width, 4 * width, 8 * width):
            layers.append(
                nn.Sequential(BasicBlock(inputs, outputs, 2, shortcut(inputs, outputs, 2)), BasicBlock(outputs, outputs))
            )
            inputs = outputs
        self.layers = nn.ModuleList(layers)
        self.code = nn.Linear(inputs, latent)
        _he(self)

    def forward(self, images: Tensor) -> tuple[Tensor, list[Tensor]]:
        x, features = self.stem(images), []
        for layer in self.layers:
            x = layer(x)
            features.append(x)
        return self.code(x.mean((2, 3))), features[:-1]


def _enlarge(inputs: int, outputs: int, kernel: int) -> list[nn.Module]:
    """Transposed convolution to twice the side (one cell less with a kernel of 3), batch norm."""
    return [nn.ConvTranspose2d(inputs, outputs, kernel, stride=2, padding=1, bias=False), nn.BatchNorm2d(outputs)]


class _Up(nn.Module):
    """ResNet's basic block backwards: maps (B, inputs, h, h) -> (B, outputs, 2 h, 2 h)."""

    def __init__(self, inputs: int, outputs: int, kernel: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            *_enlarge(inputs, outputs, kernel),
            nn.ReLU(),
            nn.Conv2d(outputs, outputs, 3, padding=1, bias=False),
            nn.BatchNorm2d(outputs),
        )
        self.shortcut = nn.Sequential(*_enlarge(inputs, outputs, kernel))

    def forward(self, x: Tensor) -> Tensor:
        return (self.body(x) + self.shortcut(x)).relu()


class Decoder(nn.Module):
    """The generator: code z (B, latent) -> picture less its mean (B, 3, size, size), within (-1, 1) by a tanh.

    `start` spreads z over a map of size / 64 (rounded up) cells a side. Five `layers` follow, of 4, 2, 1, 1 and 1 `width`
    channels, 1/32, 1/16, ... 1/2 of the side: the first four match the encoder's layers 3 to 0.

    Differs from the paper: other sizes than 256 have the same layers on smaller maps; where size / 32 is odd, as at 96, the
    first layer has kernels of 3 instead of 4, which lead from 2 to 3 cells just as the encoder led from 3 to 2.

    >>> sum(p.numel() for p in Decoder().parameters())
    10868096
    """

    def __init__(self, width: int = 64, latent: int = 99, size: int = 256) -> None:
        super().__init__()
        cells, top = size // 2**HALVINGS, 8 * width
        self.start = nn.Sequential(
            nn.Linear(latent, top),
            nn.Unflatten(1, (top, 1, 1)),
            nn.ConvTranspose2d(top, top, (cells + 1) // 2, bias=False),
            nn.BatchNorm2d(top),
            nn.ReLU(),
        )
        channels = [factor * width for factor in (8, 4, 2, 1, 1, 1)]
        kernels = [3 + (cells + 1) % 2, 4, 4, 4, 4]
        self.layers = nn.ModuleList(_Up(*pair, kernel) for pair, kernel in zip(pairwise(channels), kernels))
        self.picture = nn.Sequential(nn.ConvTranspose2d(width, 3, 4, stride=2, padding=1, bias=False), nn.Tanh())
        _he(self)

    def forward(self, z: Tensor) -> Tensor:
        x = self.start(z)
        for layer in self.layers:
            x = layer(x)
        return self.picture(x)


class LatentDiscriminator(nn.Module):
    """Codes (B, latent) -> how much each looks drawn from a normal distribution (B, 1), as a logit.

    Differs from 3FabRec's code, as does `ImageDiscriminator`: no sigmoid at the end, so that the loss can take the logarithm
    of the probability where it is next to 0.

    >>> sum(p.numel() for p in LatentDiscriminator().parameters())
    1102001
    """

    def __init__(self, latent: int = 99, hidden: int = 1000) -> None:
        super().__init__()
        first = [nn.Linear(latent, hidden), nn.Dropout(0.2), nn.ReLU()]
        self.body = nn.Sequential(*first, nn.Linear(hidden, hidden), nn.Dropout(0.2), nn.ReLU(), nn.Linear(hidden, 1))

    def forward(self, z: Tensor) -> Tensor:
        return self.body(z)


class ImageDiscriminator(nn.Module):
    """Pictures (B, 3, size, size) -> how much each looks like a photograph (B, 1), as a logit, the mean over its patches.

    `width`: that of the auto-encoder; here the first layer has half of it. Pictures in [0, 1] or less their mean, always the
    same. Differs from 3FabRec: below 128 pixels the last kernel is as large as the map that is left, not 4.

    >>> sum(p.numel() for p in ImageDiscriminator().parameters())
    1743744
    """

    def __init__(self, width: int = 64, size: int = 256) -> None:
        super().__init__()
        channels = [width // 2 * factor for factor in (1, 2, 4, 8, 8)]
        layers: list[nn.Module] = [nn.Conv2d(3, channels[0], 4, stride=2, padding=1, bias=False), nn.LeakyReLU(0.2)]
        for inputs, outputs in pairwise(channels):
            layers += [nn.Conv2d(inputs, outputs, 4, stride=2, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.LeakyReLU(0.2)]
        self.body = nn.Sequential(*layers, nn.Conv2d(channels[-1], 1, min(4, size // 2**HALVINGS), bias=False))

    def forward(self, images: Tensor) -> Tensor:
        return self.body(images).mean((2, 3))


class AutoEncoder(nn.Module):
    """Pictures (B, 3, size, size) in [0, 1] -> their reconstructions, through a code of `latent` numbers.

    `width`: channels of the first layers, 64 as published, a multiple of 4. `size`: a multiple of 32.

    3FabRec takes the mean colour from the pictures and lets a tanh draw what is left. Here both happen inside: `encode` takes
    pictures as they are, and `decode` adds the mean. A reconstruction may therefore leave [0, 1] (by half at most); it is not
    clamped, since a loss has no gradient where it is. `models.standardise`, which other networks begin with, would lead out of
    the range of a tanh.

    Raises InputError for another width or size, and for pictures of another size.

    >>> net = AutoEncoder(width=8, size=64)
    >>> z, features = net.encode(torch.rand(2, 3, 64, 64))
    >>> z.shape, [tuple(maps.shape[1:]) for maps in features], net.decode(z).shape
    (torch.Size([2, 99]), [(8, 16, 16), (8, 8, 8), (16, 4, 4), (32, 2, 2)], torch.Size([2, 3, 64, 64]))
    """

    def __init__(self, width: int = 64, latent: int = 99, size: int = 256) -> None:
        super().__init__()
        if width < 4 or width % 4:
            raise InputError(f"width={width}: the width of an auto-encoder must be a multiple of 4, 64 as published")
        if size < 32 or size % 32:
            raise InputError(f"size={size}: the side of an auto-encoder's pictures must be a multiple of 32, 256 as published")
        self.size = size
        self.encoder, self.decoder = Encoder(width, latent), Decoder(width, latent, size)
        self.register_buffer("mean", torch.tensor(MEAN)[:, None, None], persistent=False)

    def encode(self, images: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Pictures (B, 3, size, size) in [0, 1] -> codes (B, latent), features of the encoder's layers 0 to 3."""
        if images.shape[1:] != (3, self.size, self.size):
            raise InputError(f"this auto-encoder's pictures must be (B, 3, {self.size}, {self.size}), not {tuple(images.shape)}")
        return self.encoder(images - self.mean)

    def decode(self, z: Tensor) -> Tensor:
        """Codes (B, latent) -> pictures (B, 3, size, size), about in [0, 1]."""
        return self.decoder(z) + self.mean

    def forward(self, images: Tensor) -> Tensor:
        return self.decode(self.encode(images)[0])


class FabRec(nn.Module):
    """A heatmap net from a copy of a trained `autoencoder`: pictures (B, 3, H, H) -> a list of one, maps (B, K, H / 2, H / 2).

    Interleaved transfer layers, 3 x 3 convolutions without bias, norm or activation, follow each of the generator's layers 1
    to 4; a transposed convolution reads the heatmaps instead of its layer 5. With `skips`, SCAF (paper 5, section 3.1, figure
    1): the input of a transfer layer is the generator's output plus that of the encoder at the same size, which first passes a
    block of FAN's, the "bottleneck". The maps are as convolved, of either sign.

    The generator is frozen: gradients pass it on their way to the encoder, but it has no gradient of its own. Encoder and
    generator stay in evaluation mode after `train()`, as in 3FabRec's fine-tuning: their batch norms keep the averages of the
    unlabelled faces. The norms of the skips learn theirs. `autoencoder` itself is not changed; the copy, `net.autoencoder`,
    shows what the encoder has forgotten: its reconstructions after training (figure 3).

    >>> from fa_lib.models import count_parameters
    >>> with torch.device("meta"):
    ...     scaf = FabRec(AutoEncoder())
    >>> count_parameters(scaf), count_parameters(scaf.transfers) + count_parameters(scaf.heatmaps), count_parameters(scaf.skips)
    (12819491, 880640, 559360)
    """

    def __init__(self, autoencoder: AutoEncoder, landmarks: int = 68, skips: bool = True) -> None:
        super().__init__()
        self.autoencoder = copy.deepcopy(autoencoder).eval().requires_grad_(True)
        self.autoencoder.decoder.requires_grad_(False)
        width = autoencoder.encoder.stem[0].out_channels
        channels = [factor * width for factor in (4, 2, 1, 1)]
        self.transfers = nn.ModuleList(nn.Conv2d(c, c, 3, padding=1, bias=False) for c in channels)
        self.skips = nn.ModuleList(ConvBlock(c, c) for c in channels) if skips else None
        self.heatmaps = nn.ConvTranspose2d(width, landmarks, 4, stride=2, padding=1, bias=False)

    def train(self, mode: bool = True) -> Self:
        """As every module's, but for encoder and generator, which stay in evaluation mode."""
        super().train(mode)
        self.autoencoder.eval()
        return self

    def groups(self) -> dict[str, list[nn.Parameter]]:
        """What learns: "encoder" (2e-5 in the paper) and "head", transfer layers, skips and heatmaps (1e-3).

        3FabRec's first stage trains the head alone, its second both; SCAF trains both from the start.

        >>> net = FabRec(AutoEncoder(width=4, size=32), landmarks=5, skips=False)
        >>> sum(p.numel() for p in net.groups()["head"])  # 9 * (16 * 16 + 8 * 8 + 4 * 4 + 4 * 4) + 16 * 4 * 5
        3488
        """
        head = [parameter for name, parameter in self.named_parameters() if not name.startswith("autoencoder.")]
        return {"encoder": list(self.autoencoder.encoder.parameters()), "head": head}

    def forward(self, images: Tensor) -> list[Tensor]:
        z, features = self.autoencoder.encode(images)
        decoder = self.autoencoder.decoder
        x = decoder.start(z)
        for i, transfer in enumerate(self.transfers):
            x = decoder.layers[i](x)
            if self.skips is not None:
                x = x + self.skips[i](features[-1 - i])
            x = transfer(x)
        return [self.heatmaps(x)]
