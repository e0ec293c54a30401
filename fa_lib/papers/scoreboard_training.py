"""What the scoreboard trains itself: self-distillation for networks of any paper; and how it measures them all alike.

Everything else is trained by the configurations of the five papers, with the same faces, augmentation and number of updates.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import pandas as pd
from torch import Generator, nn

from fa_lib import data, models, runs, sensitivity, training
from fa_lib.data import Augment
from fa_lib.papers import jitter_loss_training, sd_hrnet_training
from fa_lib.papers.jitter_loss_training import Decoder
from fa_lib.papers.self_distillation_training import Step

BLUR = 1 / 64  # standard deviation of the blur, as a share of the crop's side
SHIFT = 10.0  # per cent of the box's side by which it is moved, in a random direction

# the files whose meaning decides what is computed here: when one changes, recorded results show as stale
CODE = (
    "geometry", "heatmaps", "landmarks", "training", "sensitivity", "data/augment", "data/crops", "data/masked",
    "losses/heatmap", "losses/landmark", "losses/self_distillation",
    "papers/self_distillation_training", "papers/jitter_loss_training", "papers/scoreboard_training",
)  # fmt: skip


@dataclass(frozen=True)
class Source(sd_hrnet_training.Source, jitter_loss_training.Source):
    """Faces for every paper's configuration: of 300-W, rendered or real, or a user's own; with masks, and clips to learn from."""


@dataclass(frozen=True)
class SelfTaught:
    """An iteration of paper 1's self-distillation (equation 8, i = 1) for the network of any run `of`, by its own output.

    Weights start from those of `of`, which is also f_0, whose sizes are kept. Both terms, ELT and SCT, are on; a heatmap net
    learns the maps of its teacher, too.
    """

    of: runs.Run
    source: Source
    plan: training.Plan
    scale: tuple[float, float]

    code: ClassVar[tuple[str, ...]] = CODE
    elt: ClassVar[bool] = True
    sct: ClassVar[bool] = True
    iteration: ClassVar[int] = 1
    soft: ClassVar[bool] = False  # what a teacher of KD-Loss learned in the end: annotations, however they were taught
    loss: ClassVar[str] = "self"

    @property
    def faces(self) -> int:
        """How many faces it learns from."""
        return self.source.faces

    @property
    def augment(self) -> Augment:
        """How its pictures vary."""
        return Augment(flip=0.5, scale=self.scale)

    def build(self) -> nn.Module:
        """The network of the run it starts from."""
        return _student(self.of.config.build())

    def train(self, run: runs.Run, folder: Path) -> tuple[nn.Module, pd.DataFrame, dict[str, np.ndarray]]:
        """Trains; landmarks of the test faces."""
        net, where = _student(runs.get(self.of).network()), training.device()
        teacher = models.freeze(_student(runs.get(self.of).network()).to(where))
        generator = Generator().manual_seed(1000 * run.seed + self.iteration)
        batches = data.Batches(self.source.train(), self.augment, self.plan.batch_size, where, generator)
        log = training.fit(net.requires_grad_(True), batches, Step(self, teacher, teacher, generator), self.plan, folder, run.id)
        return net, log, {"test": training.evaluate(net, self.source.test())}


def _student(net: nn.Module) -> nn.Module:
    """The network that is used of a pair that learned together (paper 4), else the network itself."""
    return net.first if isinstance(net, sd_hrnet_training.Peers) else net


@dataclass(frozen=True)
class Measured:
    """A run `of` any paper on all test sets of the scoreboard; trains nothing.

    Landmarks of heatmaps are read by `decoder`, None for networks that answer with coordinates. Sets: "test"; "blurred" and
    "shifted", the same faces out of focus and in a box that is moved; "masked" and "video" for faces of 68 points.
    """

    of: runs.Run
    source: Source
    decoder: Decoder | None

    code: ClassVar[tuple[str, ...]] = CODE

    @property
    def faces(self) -> int:
        """How many faces the run learned from."""
        return self.of.config.faces

    def build(self) -> nn.Module:
        """The network that is measured, untrained."""
        return _student(self.of.config.build())

    def train(self, run: runs.Run, folder: Path) -> tuple[nn.Module, pd.DataFrame, dict[str, np.ndarray]]:
        """The network, which is trained where it is missing, its log, and what it finds."""
        trained = runs.get(self.of)
        net, test = _student(trained.network()), self.source.test()
        find = self.finder(net.to(training.device()))
        moved = sensitivity.boxes("shift", SHIFT, len(test), test.size)
        found = {
            "test": find(test.crops()[0]),
            "blurred": find(blurred(test.crops()[0])),
            "shifted": sensitivity.in_boxes(find, test, moved),
        }
        if self.source.landmarks == 68 and not self.source.own:
            found["masked"] = find(self.source.masked().crops()[0])
            clips = self.source.video()
            found["video"] = find(clips.crops()[0], clips.group)
        return net, trained.log, found

    def finder(self, net: nn.Module) -> Callable[..., np.ndarray]:
        """A function of crops (N, size, size, 3) uint8, and of the clip of each where they are frames -> landmarks (N, K, 2)."""
        if self.decoder is None:
            return lambda crops, clips=None: training.predict(net, crops)
        name = str(self.decoder)
        return lambda crops, clips=None: jitter_loss_training.read(net, crops, (self.decoder,), clips)[name]


def blurred(crops: np.ndarray) -> np.ndarray:
    """Crops (N, size, size, 3) uint8 out of focus: by a Gaussian of BLUR of their side.

    >>> blurred(np.full((1, 8, 8, 3), 7, np.uint8)).max()
    np.uint8(7)
    """
    import cv2

    sigma = BLUR * crops.shape[1]
    return np.stack([cv2.GaussianBlur(crop, (0, 0), sigma) for crop in crops])
