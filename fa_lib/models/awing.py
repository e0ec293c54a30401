"""The network of Adaptive Wing Loss (Wang et al., 2019): FAN's hourglasses that see coordinates and also draw the boundary."""

import torch
from torch import Tensor, nn

from fa_lib.heatmaps import with_mass
from fa_lib.models import standardise
from fa_lib.models.fan import FAN


def coordinates(images: Tensor) -> Tensor:
    """Channels (B, 3, H, W) that say where a pixel of `images` (B, C, H, W) lies: x and y from -1 to 1, and r, 1 in the corners.

    A convolution is the same everywhere; one that sees these (CoordConv, Liu et al., 2018) can tell the chin from the brow.

    >>> coordinates(torch.zeros(1, 3, 2, 3))[0, :2].tolist()
    [[[-1.0, 0.0, 1.0], [-1.0, 0.0, 1.0]], [[-1.0, -1.0, -1.0], [1.0, 1.0, 1.0]]]
    """
    height, width = images.shape[-2:]
    y, x = torch.meshgrid(
        torch.linspace(-1, 1, height, device=images.device, dtype=images.dtype),
        torch.linspace(-1, 1, width, device=images.device, dtype=images.dtype),
        indexing="ij",
    )
    return torch.stack([x, y, torch.hypot(x, y) / 2**0.5]).expand(len(images), -1, -1, -1)


class AWing(FAN):
    """Pictures (B, 3, H, H) -> one list entry (B, K, H / stride, H / stride) a stack, the last the best.

    `with_boundary` gives a map more, of the lines of the face, for training (draw it with fa_lib.boundary): what a
    stack drew there reaches the next one as the heatmaps do. `width`, `stride`, `depth`: as FAN's. With `mass`, the maps of
    the landmarks sum to it (see heatmaps.with_mass); that of the boundary is left as convolved.

    Differs from the paper: there each hourglass begins with a second CoordConv, which also sees x and y where the boundary of
    the stack before is above 0.05; here the stem alone has one.

    >>> sum(p.numel() for p in AWing(landmarks=98).parameters())
    23885260
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
        super().__init__(stacks, landmarks + 1, width, stride, depth, mass)
        self.stem[0] = nn.Conv2d(6, width // 4, 7, stride=2, padding=3)

    def forward(self, images: Tensor) -> list[Tensor]:
        return [maps[:, :-1] for maps in self.with_boundary(images)]

    def with_boundary(self, images: Tensor) -> list[Tensor]:
        """One list entry (B, K + 1, h, h) a stack: heatmaps of the landmarks, then the map of the boundary."""
        x = self.stem(torch.cat([standardise(images), coordinates(images)], 1))
        outputs = []
        for stack in self.stacks:
            maps, x = stack(x)
            if self.mass is not None:
                maps = torch.cat([with_mass(maps[:, :-1], self.mass), maps[:, -1:].float()], 1)
            outputs.append(maps)
        return outputs
