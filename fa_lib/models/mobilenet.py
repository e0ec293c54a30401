"""MobileNetV2 with landmarks as its output (paper 2, section 3.3): small enough for a phone."""

import timm
import torch
from torch import Tensor, nn

from fa_lib.geometry import denormalise
from fa_lib.models import standardise


class MobileNetV2(nn.Module):
    """Pictures (B, 3, H, H) -> landmarks (B, K, 2) in input pixels, by timm's MobileNetV2 and one fully connected layer.

    The average pooling forgets where things are, so small pictures need a finer last map: `stride` is the input's side over
    the map's, 32 as published for 224 pixels (a map of 7 x 7), 16 or 8 for smaller pictures. It changes no weight's shape.
    `width` multiplies the numbers of channels: 1.0 as published, or 1.4, 0.75, 0.5, 0.35.

    >>> sum(p.numel() for p in MobileNetV2(landmarks=68).parameters())
    2398088
    """

    def __init__(self, landmarks: int = 68, stride: int = 32, width: float = 1.0) -> None:
        super().__init__()
        name = f"mobilenetv2_{round(100 * width):03d}"
        self.net = timm.create_model(name, num_classes=2 * landmarks, output_stride=stride)
        with torch.no_grad():  # start quietly at the centre of the picture, which is near every landmark
            self.net.classifier.weight.mul_(0.1)
            self.net.classifier.bias.fill_(0.5)

    def forward(self, images: Tensor) -> Tensor:
        return denormalise(self.net(standardise(images)).unflatten(1, (-1, 2)), images.shape[-1])
