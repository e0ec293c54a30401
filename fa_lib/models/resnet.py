"""ResNet-18 without average pooling: landmarks straight from all positions of the last feature map (paper 1, section 4.2)."""

import math

import torch
from timm.models.resnet import BasicBlock
from torch import Tensor, nn

from fa_lib.geometry import denormalise
from fa_lib.models import shortcut, standardise


class ResNet18(nn.Module):
    """Pictures (B, 3, size, size) -> landmarks (B, K, 2) in input pixels.

    The fully connected layer sees every position of the last map, since pooling would forget where things are. It predicts
    normalised landmarks. `width` is the number of channels of the first stage (64 in the paper); timm's own ResNet cannot be
    narrowed in the stem, so the stages are put together here from its blocks.

    >>> sum(p.numel() for p in ResNet18(landmarks=68, size=256).parameters())
    15633096
    """

    def __init__(self, landmarks: int = 68, size: int = 256, width: int = 64) -> None:
        super().__init__()
        self.size = size
        self.stem = nn.Sequential(
            nn.Conv2d(3, width, 7, stride=2, padding=3, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.MaxPool2d(3, stride=2, padding=1),
        )
        blocks, inputs = [], width
        for stage in range(4):
            outputs, stride = width * 2**stage, 1 if stage == 0 else 2
            past = shortcut(inputs, outputs, stride) if stage else None
            blocks += [BasicBlock(inputs, outputs, stride, past), BasicBlock(outputs, outputs)]
            inputs = outputs
        self.blocks = nn.Sequential(*blocks)
        self.head = nn.Linear(inputs * math.ceil(size / 32) ** 2, 2 * landmarks)
        with torch.no_grad():  # start quietly at the centre of the picture, which is near every landmark
            self.head.weight.mul_(0.1)
            self.head.bias.fill_(0.5)

    def forward(self, images: Tensor) -> Tensor:
        features = self.blocks(self.stem(standardise(images))).flatten(1)
        return denormalise(self.head(features).unflatten(1, (-1, 2)), self.size)
