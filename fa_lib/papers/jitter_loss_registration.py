"""Supervision by registration (Dong et al., CVPR 2018), the video detector that paper 3 starts from and compares with.

A detector that has learned photographs goes on learning them, and at the same time that its landmarks move from frame to frame
of a clip as optical flow says that they do. Nothing in the clips is annotated.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import cv2
import numpy as np
import pandas as pd
import torch
from torch import Generator, Tensor, nn

from fa_lib import data, models, runs, training
from fa_lib.data import Batch, Faces
from fa_lib.papers.jitter_loss_training import CODE, UNIT, Backbone, BackboneStep, Decoder, Source, predictions, read

LOCAL = Decoder("local")  # sub-pixel and differentiable, as registration needs
BACK = 1.0  # pixels: a point that flow does not bring back this near was lost


@dataclass(frozen=True)
class Registered:
    """The network of `base`, a run of a `Backbone`, trained further: its own loss on photographs, and registration on clips.

    Differs from the publication: flow starts where `base` finds the landmarks, and is measured once, before the training.
    """

    base: runs.Run
    plan: training.Plan
    pairs: int = 8
    weight: float = 0.5
    decoder: Decoder = LOCAL

    code: ClassVar[tuple[str, ...]] = (*CODE, "papers/jitter_loss_registration")

    @property
    def source(self) -> Source:
        """The faces that it learns from and is tested on."""
        return self.base.config.source

    @property
    def augment(self) -> data.Augment:
        """How photographs are changed."""
        return self.base.config.augment

    @property
    def faces(self) -> int:
        """How many faces it learns from."""
        return self.base.config.faces

    def build(self) -> nn.Module:
        """The untrained network; its weights come from torch's global generator."""
        return self.base.config.build()

    def train(self, run: runs.Run, folder: Path) -> tuple[nn.Module, pd.DataFrame, dict[str, np.ndarray]]:
        """Trains; landmarks of test faces and test clips, by each decoder."""
        assert isinstance(self.base.config, Backbone)
        net, where = runs.get(self.base).network().to(training.device()), training.device()
        generator = Generator().manual_seed(1000 * run.seed)
        faces, clips = self.source.train(), self.source.clips_to_learn()
        batches = data.Batches(faces, self.augment, self.plan.batch_size, where, generator)
        found = read(net, clips.crops()[0], (self.decoder,))[str(self.decoder)]
        step = RegistrationStep(self, clips, flow(clips, found), tuple(faces.scheme.regions.values()), generator)
        log = training.fit(net, batches, step, self.plan, folder, title=run.id)
        return net, log, predictions(net, self.source, self.decoder)


class RegistrationStep:
    """The loss of one batch of photographs and of as many pairs of frames, drawn from the same stream of random numbers."""

    def __init__(self, config: Registered, clips: Faces, moved: np.ndarray, lines: tuple, generator: Generator) -> None:
        self.supervised, self.config, self.generator = BackboneStep(lines), config, generator
        where = training.device()
        self.seconds = torch.from_numpy(np.flatnonzero(clips.group[1:] == clips.group[:-1]) + 1)
        self.images, self.moved = torch.from_numpy(np.array(clips.crops()[0])).to(where), torch.from_numpy(moved).to(where)

    def __call__(self, net: nn.Module, batch: Batch) -> dict[str, Tensor]:
        learned = self.supervised(net, batch)["total"]
        drawn = torch.randint(len(self.seconds), (self.config.pairs,), generator=self.generator)
        second = self.seconds[drawn].to(self.images.device)
        pictures = self.images[torch.cat([second - 1, second])].permute(0, 3, 1, 2).float() / 255
        size = pictures.shape[-1]
        before, after = models.landmarks_of(net(pictures), size, self.config.decoder.method).chunk(2)
        registered = registration(before, after, self.moved[second]) * (UNIT / size)
        return {"heatmaps": learned, "registration": registered, "total": learned + self.config.weight * registered}


def registration(before: Tensor, after: Tensor, moved: Tensor) -> Tensor:
    """Mean distance in pixels between where landmarks are found and where flow takes those of the frame before.

    before, after (B, K, 2): found in two successive frames; moved (B, K, 2): by flow, NaN where flow lost the point, which then
    does not count.

    >>> found, lost = torch.zeros(1, 2, 2), torch.tensor([[[3.0, 4.0], [torch.nan, torch.nan]]])
    >>> registration(found, found, lost).item()
    5.0
    """
    known = moved.isfinite().all(-1)
    apart = (after - before - torch.where(known[..., None], moved, 0.0))[known]
    return torch.linalg.vector_norm(apart, dim=-1).sum() / known.sum().clamp(min=1)


def flow(clips: Faces, found: np.ndarray) -> np.ndarray:
    """How far optical flow (Lucas and Kanade, with pyramids) moves each landmark from the frame before (N, K, 2), in crop pixels.

    NaN in the first frame of a clip, and where a point that is followed there and back ends more than a pixel away.
    """
    grey = [cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY) for picture in clips.crops()[0]]
    moved = np.full(found.shape, np.nan, np.float32)
    for t in np.flatnonzero(clips.group[1:] == clips.group[:-1]) + 1:
        start = np.ascontiguousarray(found[t - 1], np.float32)[:, None]
        end, seen, _ = cv2.calcOpticalFlowPyrLK(grey[t - 1], grey[t], start, None, winSize=(15, 15), maxLevel=2)
        back, again, _ = cv2.calcOpticalFlowPyrLK(grey[t], grey[t - 1], end, None, winSize=(15, 15), maxLevel=2)
        good = (seen & again)[:, 0].astype(bool) & (np.linalg.norm(back - start, axis=-1)[:, 0] < BACK)
        moved[t, good] = (end - start)[good, 0]
    return moved
