"""A start at the mean face, for networks that answer with coordinates."""

import torch
from torch import Tensor, nn

from fa_lib.geometry import denormalise


class FromMean(nn.Module):
    """Pictures (B, 3, H, H) -> landmarks (B, K, 2): the `mean` face, moved by `gain` times what `net` says about the centre.

    `mean` (K, 2) is in [0, 1], a buffer that whoever trains sets and the weights' file keeps; until then it is the centre, from
    which a coordinate net starts anyway. Why a gain below 1: a step of Adam moves each weight of the last layer by the learning
    rate, whatever its gradient. With 1280 features the landmarks of all faces together then jump by half a picture a step, and
    a short training is over before the network has looked at anything. With gain 1 and the mean unset nothing changes.

    >>> class OneFurtherRight(nn.Module):  # than the centre of a picture of 8 pixels, (3.5, 3.5)
    ...     def forward(self, images):
    ...         return torch.tensor([[[4.5, 3.5]]])
    >>> FromMean(OneFurtherRight(), landmarks=1, gain=0.5)(torch.zeros(1, 3, 8, 8)).tolist()
    [[[4.0, 3.5]]]
    """

    mean: Tensor

    def __init__(self, net: nn.Module, landmarks: int, gain: float = 1.0) -> None:
        super().__init__()
        self.net, self.gain = net, gain
        self.register_buffer("mean", torch.full((landmarks, 2), 0.5))

    def forward(self, images: Tensor) -> Tensor:
        size = images.shape[-1]
        middle = (size - 1) / 2
        return denormalise(self.mean, size) + self.gain * (self.net(images) - middle)
