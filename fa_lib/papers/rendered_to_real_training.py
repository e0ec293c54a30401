"""How the rows of rendered_to_real learn: one network, from faces of any kind."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import pandas as pd
import torch
from torch import Generator, Tensor, nn

from fa_lib import data, losses, models, runs, training
from fa_lib.data import Augment, Batch, Faces
from fa_lib.heatmaps import draw, to_map
from fa_lib.papers.self_distillation_training import AMPLITUDE, SIGMA, UNIT, DataSource

# the files whose meaning decides what this study's runs compute: when one changes, recorded results show as stale
CODE = (
    "geometry", "heatmaps", "landmarks", "training", "data/augment", "data/crops", "models/fan", "models/mobilenet",
    "losses/heatmap", "losses/landmark", "papers/rendered_to_real_training",
)  # fmt: skip


@dataclass(frozen=True)
class Learner:
    """One network that learns from `faces` faces of `dataset` and is tested on those of `source`."""

    network: str
    options: tuple[tuple[str, float], ...]
    dataset: str
    count: int | None
    faces: int
    fingerprint: str
    augment: Augment
    plan: training.Plan
    source: DataSource

    code: ClassVar[tuple[str, ...]] = CODE

    def learned_from(self) -> Faces:
        """The training faces."""
        return data.load(self.dataset, "train", self.source.root, self.source.size, self.count)

    def build(self) -> nn.Module:
        """The untrained network; its weights come from torch's global generator."""
        return models.create(self.network, landmarks=68, **dict(self.options))

    def train(self, run: runs.Run, folder: Path) -> tuple[nn.Module, pd.DataFrame, dict[str, np.ndarray]]:
        """Trains, and finds the landmarks of the test faces."""
        with torch.random.fork_rng():
            torch.manual_seed(run.seed)
            net = self.build()
        generator = Generator().manual_seed(1000 * run.seed)
        batches = data.Batches(self.learned_from(), self.augment, self.plan.batch_size, training.device(), generator)
        log = training.fit(net, batches, step, self.plan, folder, title=run.id)
        return net, log, {"test": training.evaluate(net, self.source.test())}


def step(net: nn.Module, batch: Batch) -> dict[str, Tensor]:
    """L2 between landmarks in pixels of a 256-px crop; for heatmap nets also between heatmaps, all stacks."""
    output, size = net(batch.images), batch.images.shape[-1]
    pred = models.landmarks_of(output, size)
    parts = {"landmarks": losses.l2(pred * (UNIT / size), batch.landmarks * (UNIT / size))}
    if isinstance(output, list):
        cells = output[-1].shape[-1]
        target = draw(to_map(batch.landmarks, size / cells), cells, SIGMA, variance="s2")
        parts["heatmaps"] = torch.stack([losses.heatmap_mse(maps, target, amplitude=AMPLITUDE) for maps in output]).sum()
    return {**parts, "total": sum(parts.values())}
