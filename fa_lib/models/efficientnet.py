"""EfficientNet-B3 with landmarks as its output (paper 2, section 3.2): the network of both teachers."""

import torch
from timm.models.efficientnet import _gen_efficientnet
from torch import Tensor, nn

from fa_lib.geometry import denormalise
from fa_lib.models import standardise


class EfficientNetB3(nn.Module):
    """Pictures (B, 3, H, H) -> landmarks (B, K, 2) in input pixels: average pooling, dropout, one fully connected layer.

    `width` and `depth` multiply the numbers of channels and of blocks a stage: 1 is B3, which itself is B0 1.2 times as wide
    and 1.4 times as deep; 0.5 is a teacher for small machines. `stride` is the input's side over the last map's: 32 as
    published for 300 pixels, 16 or 8 for small pictures, since the pooling forgets where things are; it changes no weight's
    shape. `dropout` is what the authors' code has; the paper does not mention it.

    Differs from the paper: the students' pictures of 224 pixels go in, as in the authors' code. Table 5's 12 M parameters and
    1.8 GFLOPs are those of the classifier with 1000 classes at 300 pixels, and multiply-adds where other rows count both.

    >>> sum(p.numel() for p in EfficientNetB3(landmarks=68).parameters())
    10905264
    """

    def __init__(
        self, landmarks: int = 68, stride: int = 32, width: float = 1.0, depth: float = 1.0, dropout: float = 0.5
    ) -> None:
        super().__init__()
        # timm's own efficientnet_b3 has its multipliers fixed; this is the function below it that takes them
        self.net = _gen_efficientnet(
            "efficientnet_b3",
            channel_multiplier=1.2 * width,
            depth_multiplier=1.4 * depth,
            num_classes=2 * landmarks,
            drop_rate=dropout,
            output_stride=stride,
        )
        with torch.no_grad():  # start quietly at the centre of the picture, which is near every landmark
            self.net.classifier.weight.mul_(0.1)
            self.net.classifier.bias.fill_(0.5)

    def forward(self, images: Tensor) -> Tensor:
        return denormalise(self.net(standardise(images)).unflatten(1, (-1, 2)), images.shape[-1])
