"""Stacked hourglass of bottleneck residual blocks (Newell et al., 2016), four of them as LAB has it (Wu et al., 2018)."""

import torch.nn.functional as F
from torch import Tensor, nn

from fa_lib.heatmaps import with_mass
from fa_lib.models import standardise


def _conv(inputs: int, outputs: int, kernel: int) -> list[nn.Module]:
    """Batch norm, ReLU, convolution: a pre-activation block normalises before it convolves."""
    return [nn.BatchNorm2d(inputs), nn.ReLU(), nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2)]


class Bottleneck(nn.Module):
    """1 x 1, 3 x 3 and 1 x 1 convolution with half the channels between them, plus the input.

    >>> sum(p.numel() for p in Bottleneck(256, 256).parameters())  # 256 * 128 + 9 * 128 * 128 + 128 * 256, biases and norms
    214528
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        half = outputs // 2
        self.body = nn.Sequential(*_conv(inputs, half, 1), *_conv(half, half, 3), *_conv(half, outputs, 1))
        self.shortcut = nn.Identity() if inputs == outputs else nn.Conv2d(inputs, outputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x) + self.shortcut(x)


class _Hourglass(nn.Module):
    """Down `depth` times, up again, adding at each size what was seen there on the way down."""

    def __init__(self, depth: int, features: int) -> None:
        super().__init__()
        inner = _Hourglass(depth - 1, features) if depth > 1 else Bottleneck(features, features)
        self.skip = Bottleneck(features, features)
        self.low = nn.Sequential(nn.MaxPool2d(2), Bottleneck(features, features), inner, Bottleneck(features, features))

    def forward(self, x: Tensor) -> Tensor:
        return self.skip(x) + F.interpolate(self.low(x), scale_factor=2, mode="nearest")


class StackedHourglass(nn.Module):
    """Pictures (B, 3, H, H) -> one list entry (B, K, H / stride, H / stride) a stack.

    Each stack's features and heatmaps are added to what the next one sees. `width` features (256 in the paper), `stride` 4 as
    published or 2 (no pooling after the stem) for small pictures; the map must be divisible by 2^`depth`. `mass`: see
    heatmaps.with_mass.

    Differs from the paper: of LAB this is the regressor's backbone alone. Its branch that estimates the boundaries of the
    face, the fusion of their maps into the regressor and the discriminator are not reproduced; nor does the head regress
    coordinates, as paper 3 needs heatmaps.

    >>> sum(p.numel() for p in StackedHourglass(landmarks=68).parameters())
    12951696
    """

    def __init__(
        self,
        landmarks: int = 68,
        stacks: int = 4,
        width: int = 256,
        stride: int = 4,
        depth: int = 4,
        mass: float | None = None,
    ) -> None:
        super().__init__()
        self.mass = mass
        self.stem = nn.Sequential(
            nn.Conv2d(3, width // 4, 7, stride=2, padding=3),
            nn.BatchNorm2d(width // 4),
            nn.ReLU(),
            Bottleneck(width // 4, width // 2),
            nn.MaxPool2d(2) if stride == 4 else nn.Identity(),
            Bottleneck(width // 2, width // 2),
            Bottleneck(width // 2, width),
        )
        self.features = nn.ModuleList(
            nn.Sequential(
                _Hourglass(depth, width), Bottleneck(width, width), nn.Conv2d(width, width, 1), nn.BatchNorm2d(width), nn.ReLU()
            )
            for _ in range(stacks)
        )
        self.heads = nn.ModuleList(nn.Conv2d(width, landmarks, 1) for _ in range(stacks))
        self.from_features = nn.ModuleList(nn.Conv2d(width, width, 1) for _ in range(stacks - 1))
        self.from_maps = nn.ModuleList(nn.Conv2d(landmarks, width, 1) for _ in range(stacks - 1))

    def forward(self, images: Tensor) -> list[Tensor]:
        x, outputs = self.stem(standardise(images)), []
        for number, (stack, head) in enumerate(zip(self.features, self.heads, strict=True)):
            features = stack(x)
            maps = head(features)
            if number < len(self.from_maps):
                x = x + self.from_features[number](features) + self.from_maps[number](maps)
            outputs.append(maps if self.mass is None else with_mass(maps, self.mass))
        return outputs
