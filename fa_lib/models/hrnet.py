"""HRNetV2-W18 with its landmark head (Wang et al., 2020), the comparison row of paper 1 and the teacher of paper 4."""

from copy import deepcopy

import torch
import torch.nn.functional as F
from timm.models.hrnet import HighResolutionNetFeatures, cfg_cls
from torch import Tensor, nn

from fa_lib.heatmaps import with_mass
from fa_lib.models import standardise


class HRNet(nn.Module):
    """Pictures (B, 3, H, H) -> a list of one: heatmaps (B, K, H / 4, H / 4).

    The four branches are brought to the finest size, joined, and read by two 1 x 1 convolutions. `width` is the number of
    channels of the finest branch (18 in the paper); the others have 2, 4 and 8 times as many. `mass`: see heatmaps.with_mass.

    >>> sum(p.numel() for p in HRNet(landmarks=68).parameters())
    9654398
    """

    def __init__(self, landmarks: int = 68, width: int = 18, mass: float | None = None) -> None:
        super().__init__()
        self.mass = mass
        cfg = deepcopy(cfg_cls["hrnet_w18"])
        cfg["stem_width"] = cfg["stem_width"] * width // 18
        cfg["stage1"]["num_channels"] = (cfg["stage1"]["num_channels"][0] * width // 18,)
        for number in (2, 3, 4):
            cfg[f"stage{number}"]["num_channels"] = tuple(width * 2**branch for branch in range(number))
        # without feature_location='' timm appends classification blocks that the landmark net does not have
        self.backbone = HighResolutionNetFeatures(cfg, feature_location="", out_indices=(1, 2, 3, 4))
        joined = width * (1 + 2 + 4 + 8)
        self.head = nn.Sequential(
            nn.Conv2d(joined, joined, 1), nn.BatchNorm2d(joined), nn.ReLU(), nn.Conv2d(joined, landmarks, 1)
        )

    def forward(self, images: Tensor) -> list[Tensor]:
        branches = self.backbone(standardise(images))
        finest = branches[0].shape[-2:]
        upsampled = [F.interpolate(b, finest, mode="bilinear", align_corners=False) for b in branches[1:]]
        maps = self.head(torch.cat([branches[0], *upsampled], 1))
        return [maps if self.mass is None else with_mass(maps, self.mass)]
