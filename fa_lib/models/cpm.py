"""Convolutional pose machine (Wei et al., 2016) on VGG-16, as Supervision by Registration has it (SBR; Dong et al., 2018)."""

import torch
from torch import Tensor, nn

from fa_lib.errors import InputError
from fa_lib.heatmaps import with_mass
from fa_lib.models import standardise


def _convs(inputs: int, *layers: tuple[int, int]) -> nn.Sequential:
    """Convolution, batch norm, ReLU for each (kernel, outputs)."""
    modules: list[nn.Module] = []
    for kernel, outputs in layers:
        modules += [nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()]
        inputs = outputs
    return nn.Sequential(*modules)


class CPM(nn.Module):
    """Pictures (B, 3, H, H) -> three stages' heatmaps (B, K, H / stride, H / stride), the last the best.

    The first ten convolutions of VGG-16 and two more give 2 `width` features. The first stage reads heatmaps from them; each
    later one sees features and heatmaps of the stage before through 7 x 7 convolutions, and so can use where other landmarks
    are. `width` is that of VGG's first block (64 in the paper), the others have 2, 4 and 8 times as many. `stride` is 8 as
    published, or 4 (without VGG's third pooling) or 2, for small pictures. `mass`: see heatmaps.with_mass.

    Differs from the paper: SBR starts from weights of ImageNet and needs no batch norm; this net starts from random ones, and
    has one after each convolution but the last of a stage. No map of the background beside those of the landmarks.
    Raises InputError for another stride.

    >>> [sum(p.numel() for p in CPM(landmarks=k).parameters()) for k in (19, 68)]
    [16057081, 16709516]
    """

    def __init__(self, landmarks: int = 68, width: int = 64, stride: int = 8, mass: float | None = None) -> None:
        super().__init__()
        if stride not in (2, 4, 8):
            raise InputError(f"stride={stride}: a convolutional pose machine has stride 8 as published, 4 or 2")
        self.mass = mass
        blocks, inputs = [], 3
        for number, (convolutions, times) in enumerate([(2, 1), (2, 2), (3, 4), (3, 8)]):
            if 1 < 2**number <= stride:
                blocks.append(nn.MaxPool2d(2))
            blocks.append(_convs(inputs, *[(3, times * width)] * convolutions))
            inputs = times * width
        self.features = nn.Sequential(*blocks, _convs(inputs, (3, 4 * width), (3, 2 * width)))
        wide = 2 * width
        first = nn.Sequential(_convs(wide, *[(3, wide)] * 4, (1, 4 * wide)), nn.Conv2d(4 * wide, landmarks, 1))
        later = [*[(7, wide)] * 3, *[(3, wide)] * 4, (1, wide)]
        self.stages = nn.ModuleList([first])
        for _ in range(2):
            self.stages.append(nn.Sequential(_convs(wide + landmarks, *later), nn.Conv2d(wide, landmarks, 1)))

    def forward(self, images: Tensor) -> list[Tensor]:
        features = self.features(standardise(images))
        outputs = [self.stages[0](features)]
        for stage in list(self.stages)[1:]:
            outputs.append(stage(torch.cat([features, outputs[-1]], 1)))
        return [maps if self.mass is None else with_mass(maps, self.mass) for maps in outputs]
