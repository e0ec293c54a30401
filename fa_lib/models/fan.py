"""Face Alignment Network: stacked hourglasses of hierarchical, parallel, multi-scale blocks (Bulat and Tzimiropoulos, 2017)."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fa_lib.heatmaps import with_mass
from fa_lib.models import standardise


def _conv(inputs: int, outputs: int) -> nn.Sequential:
    """Batch norm, ReLU, 3 x 3 convolution: FAN normalises before it convolves."""
    return nn.Sequential(nn.BatchNorm2d(inputs), nn.ReLU(), nn.Conv2d(inputs, outputs, 3, padding=1, bias=False))


class ConvBlock(nn.Module):
    """Three 3 x 3 convolutions in a row, their outputs side by side (1/2, 1/4, 1/4 of the channels), plus the input.

    >>> [sum(p.numel() for p in ConvBlock(c, c).parameters()) for c in (64, 128, 256)]
    [25568, 101824, 406400]
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv1 = _conv(inputs, outputs // 2)
        self.conv2 = _conv(outputs // 2, outputs // 4)
        self.conv3 = _conv(outputs // 4, outputs // 4)
        self.shortcut: nn.Module = nn.Identity()
        if inputs != outputs:
            self.shortcut = nn.Sequential(nn.BatchNorm2d(inputs), nn.ReLU(), nn.Conv2d(inputs, outputs, 1, bias=False))

    def forward(self, x: Tensor) -> Tensor:
        first = self.conv1(x)
        second = self.conv2(first)
        return torch.cat([first, second, self.conv3(second)], 1) + self.shortcut(x)


class Hourglass(nn.Module):
    """Down `depth` times, up again, adding at each size what was seen there on the way down."""

    def __init__(self, depth: int, features: int) -> None:
        super().__init__()
        self.skip = ConvBlock(features, features)
        self.down = ConvBlock(features, features)
        self.inner = Hourglass(depth - 1, features) if depth > 1 else ConvBlock(features, features)
        self.up = ConvBlock(features, features)

    def forward(self, x: Tensor) -> Tensor:
        low = self.up(self.inner(self.down(F.avg_pool2d(x, 2))))
        return self.skip(x) + F.interpolate(low, scale_factor=2, mode="nearest")


class _Stack(nn.Module):
    """One hourglass with its heatmap head, and the way back into the next stack (`feedback`)."""

    def __init__(self, features: int, landmarks: int, depth: int, feedback: bool) -> None:
        super().__init__()
        self.hourglass = Hourglass(depth, features)
        self.top = ConvBlock(features, features)
        self.last = nn.Sequential(nn.Conv2d(features, features, 1), nn.BatchNorm2d(features), nn.ReLU())
        self.heatmaps = nn.Conv2d(features, landmarks, 1)
        self.from_features = nn.Conv2d(features, features, 1) if feedback else None
        self.from_heatmaps = nn.Conv2d(landmarks, features, 1) if feedback else None

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        features = self.last(self.top(self.hourglass(x)))
        maps = self.heatmaps(features)
        if self.from_features is not None and self.from_heatmaps is not None:
            x = x + self.from_features(features) + self.from_heatmaps(maps)
        return maps, x


class FAN(nn.Module):
    """Pictures (B, 3, H, H) -> one list entry (B, K, H / stride, H / stride) a stack; heatmaps with peaks near 1.

    `width` features (256 in the paper), `stride` 4 as published or 2 (no pooling after the stem), for small pictures.
    With `mass`, each map is a softmax over its cells that sums to `mass` (see heatmaps.with_mass); else as convolved.
    Differs from the paper: paper 1 says that its heatmaps are as large as the input; FAN's are a quarter, and so are these.

    >>> sum(p.numel() for p in FAN(stacks=1).parameters())
    6249668
    """

    def __init__(
        self,
        stacks: int = 2,
        landmarks: int = 68,
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
            ConvBlock(width // 4, width // 2),
            nn.AvgPool2d(2) if stride == 4 else nn.Identity(),
            ConvBlock(width // 2, width // 2),
            ConvBlock(width // 2, width),
        )
        self.stacks = nn.ModuleList(_Stack(width, landmarks, depth, feedback=i < stacks - 1) for i in range(stacks))

    def forward(self, images: Tensor) -> list[Tensor]:
        x = self.stem(standardise(images))
        outputs = []
        for stack in self.stacks:
            maps, x = stack(x)
            outputs.append(maps if self.mass is None else with_mass(maps, self.mass))
        return outputs
