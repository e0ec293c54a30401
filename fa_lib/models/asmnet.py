"""ASMNet (Fard et al., 2021), a row of paper 2's tables: MobileNetV2 cut short and read at six depths."""

import timm
import torch
from torch import Tensor, nn

from fa_lib.errors import InputError
from fa_lib.geometry import denormalise
from fa_lib.models import standardise


class ASMNet(nn.Module):
    """Pictures (B, 3, H, H) -> landmarks (B, K, 2) in input pixels. With `pose`, `with_pose` gives three angles as well.

    MobileNetV2 up to the sum of block 15. The first block of each of its stages from the second on (blocks 1, 3, 6, 10 and 13
    in Keras's numbering) and that sum are averaged over all positions and put side by side, 536 numbers, so that the head sees
    small features as well as large ones. `width` and `stride` as in MobileNetV2.

    Differs from the paper: no L2 penalty on the head here; weight decay belongs to the optimiser.

    >>> sum(p.numel() for p in ASMNet(landmarks=68, pose=True).parameters())
    1412435
    """

    def __init__(
        self, landmarks: int = 68, pose: bool = False, stride: int = 32, width: float = 1.0, dropout: float = 0.3
    ) -> None:
        super().__init__()
        whole = timm.create_model(f"mobilenetv2_{round(100 * width):03d}", output_stride=stride)
        self.stem = nn.Sequential(whole.conv_stem, whole.bn1)  # bn1 is batch norm and ReLU6
        self.stages = whole.blocks[:6]  # of 7: block 16 and the last convolution are cut off
        channels = [stage[-1].conv_pwl.out_channels for stage in self.stages[1:]]  # equal within a stage
        features = sum(channels) + channels[-1]
        self.dropout = nn.Dropout(dropout)
        self.landmarks = nn.Linear(features, 2 * landmarks)
        self.angles = nn.Linear(features, 3) if pose else None
        with torch.no_grad():  # start quietly at the centre of the picture, which is near every landmark
            self.landmarks.weight.mul_(0.1)
            self.landmarks.bias.fill_(0.5)

    def forward(self, images: Tensor) -> Tensor:
        return self._read(self._features(images), images.shape[-1])

    def with_pose(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Landmarks (B, K, 2) in input pixels, and the head's pose (B, 3) in the unit and order it is trained in.

        InputError for a network that was built without `pose`.
        """
        if self.angles is None:
            raise InputError("this network has no pose: build it with pose=True")
        features = self._features(images)
        return self._read(features, images.shape[-1]), self.angles(features)

    def _features(self, images: Tensor) -> Tensor:
        """(B, 536) at width 1: averages of six maps."""
        x = self.stages[0](self.stem(standardise(images)))
        averages = []
        for stage in self.stages[1:]:
            first, *rest = stage
            x = first(x)
            averages.append(x.mean((2, 3)))
            for block in rest:
                x = block(x)
        return self.dropout(torch.cat([*averages, x.mean((2, 3))], 1))

    def _read(self, features: Tensor, size: int) -> Tensor:
        return denormalise(self.landmarks(features).unflatten(1, (-1, 2)), size)
