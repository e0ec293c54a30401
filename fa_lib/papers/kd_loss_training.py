"""How paper 2 trains: teachers on hard or soft landmarks, then small students (Pourramezan Fard and Mahoor, sections 3 and 4.3).

Phase 1 trains two EfficientNets with L2: the tough teacher on the annotations, the tolerant one on soft landmarks (equations
1-3). Phase 2 trains a student with a plain loss, or with KD-Loss (equation 14) and one or both teachers, which stay as they are.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
import pandas as pd
import torch
from torch import Generator, Tensor, nn

from fa_lib import data, losses, models, runs, training
from fa_lib.data import Augment, Batch, Faces
from fa_lib.errors import InputError
from fa_lib.geometry import normalise
from fa_lib.losses.knowledge_distillation import Variant
from fa_lib.models.from_mean import FromMean
from fa_lib.papers.self_distillation_training import DataSource
from fa_lib.shape_model import ShapeModel

# Section 4.3: mirrored, turned, recoloured, noisy; boxes up to 10 % wider. The corner of a landmark box x 1.4 is 0.505 crops from
# the middle, so 0.96 of it, moved by 0.015, stays inside the picture however it is turned: labels stay in [-0.5, 0.5].
AUGMENT = Augment(flip=0.5, scale=(0.86, 0.96), degrees=45, shift=0.015, brightness=0.15, contrast=0.25, colour=0.1, noise=0.04)
KEEP = 0.9  # section 3.1: the share that soft landmarks keep
LEARNED = 500  # training faces on which the error on a network's own targets is measured

# the files whose meaning decides what this paper's runs compute: when one changes, recorded results show as stale
CODE = (
    "geometry", "landmarks", "shape_model", "training", "data/augment", "data/crops",
    "models/asmnet", "models/efficientnet", "models/from_mean", "models/mobilenet",
    "losses/knowledge_distillation", "losses/landmark", "losses/robust",
    "papers/kd_loss_training",
)  # fmt: skip


@dataclass(frozen=True)
class Source(DataSource):
    """Faces of 300-W, COFW or WFLW, rendered or real, or a user's own; no video, no face annotated twice."""

    def test(self) -> Faces:
        """Test faces: common and challenging of 300-W, the test split of others."""
        return self._load("full" if self.dataset.endswith("300w") else "test", self.test_faces)


def soft_landmarks(landmarks: np.ndarray) -> np.ndarray:
    """Soft landmarks (N, K, 2) of the hard ones: what the shape model of the same faces keeps of them (equations 1-3).

    Differs from the paper: 90 % of the variance, as its code has it, not of the eigenvectors, which would change next to nothing.
    """
    return ShapeModel.fit(landmarks, KEEP, by="variance").soften(landmarks).astype(np.float32)


@dataclass(frozen=True)
class Stage:
    """One network of the paper. `soft` ones learn soft landmarks; those of `loss` "kd" have a `tough` or `tolerant` teacher.

    `gain` below 1 is for trainings that are short (see `FromMean`); the paper's are long.

    Raises InputError where a teacher did not learn the landmarks that it stands for, or those of another data set.
    """

    network: str
    options: tuple[tuple[str, float], ...]
    source: Source
    plan: training.Plan
    augment: Augment = AUGMENT
    gain: float = 1.0
    loss: Literal["l2", "l1", "smooth_l1", "kd"] = "l2"
    soft: bool = False
    tough: runs.Run | None = None
    tolerant: runs.Run | None = None
    variant: Variant = "paper"
    sigma: float | None = None

    code: ClassVar[tuple[str, ...]] = CODE

    def __post_init__(self) -> None:
        for name, run, soft in (("tough", self.tough, False), ("tolerant", self.tolerant, True)):
            if run is None:
                continue
            taught = run.config
            if taught.soft != soft or taught.loss == "kd":
                learned = "from teachers" if taught.loss == "kd" else f"{'soft' if taught.soft else 'hard'} landmarks"
                raise InputError(f"{run.id} learned {learned}; a {name} teacher learns {'soft' if soft else 'hard'} landmarks")
            if taught.source.landmarks != self.source.landmarks:
                raise InputError(
                    f"{run.id} finds {taught.source.landmarks} landmarks, its student {self.source.landmarks}; "
                    "both need the same point scheme"
                )
        if (self.loss == "kd") != bool(self.tough or self.tolerant):
            raise InputError(f"loss={self.loss!r}: KD-Loss, and no other loss, needs a teacher")

    @property
    def faces(self) -> int:
        """How many faces it learns from."""
        return self.source.faces

    def build(self) -> nn.Module:
        """The untrained network; its weights come from torch's global generator."""
        net = models.create(self.network, landmarks=self.source.landmarks, **dict(self.options))
        return FromMean(net, self.source.landmarks, self.gain)

    def learned_from(self) -> Faces:
        """The training faces, with the landmarks that this network is to learn: hard or soft."""
        faces = self.source.train()
        return replace(faces, landmarks=soft_landmarks(faces.landmarks)) if self.soft else faces

    def train(self, run: runs.Run, folder: Path) -> tuple[nn.Module, pd.DataFrame, dict[str, np.ndarray]]:
        """Trains this network, its teachers first where they are missing; predictions of test and of some training faces."""
        with torch.random.fork_rng():
            torch.manual_seed(run.seed)
            net = self.build()
        faces, where = self.learned_from(), training.device()
        if self.gain != 1:
            net.mean.copy_(normalise(torch.from_numpy(faces.crops()[1].mean(0)), faces.size))
        batches = data.Batches(faces, self.augment, self.plan.batch_size, where, Generator().manual_seed(1000 * run.seed))
        teachers = {
            name: models.freeze(runs.get(teacher).network().to(where))
            for name, teacher in (("tough", self.tough), ("tolerant", self.tolerant))
            if teacher is not None
        }
        log = training.fit(net, batches, Step(self, teachers), self.plan, folder, title=run.id)
        some = faces.select(np.arange(min(LEARNED, len(faces))))
        found = {"test": training.evaluate(net, self.source.test()), "learned": training.evaluate(net, some)}
        return net, log, found | {"learned_target": some.crops()[1]}


class Step:
    """The loss of one batch, as `training.fit` calls it, in zero-centred normalised coordinates."""

    def __init__(self, stage: Stage, teachers: dict) -> None:
        self.stage, self.teachers = stage, teachers

    def __call__(self, net: nn.Module, batch: Batch) -> dict[str, Tensor]:
        size = batch.images.shape[-1]
        pred, target = centred(net(batch.images), size), centred(batch.landmarks, size)
        if self.stage.loss == "kd":
            taught = {name: centred(teacher(batch.images), size) for name, teacher in self.teachers.items()}
            return losses.kd_loss(pred, target, **taught, sigma=self.stage.sigma, variant=self.stage.variant)
        fit = {"l2": losses.l2, "l1": losses.l1, "smooth_l1": losses.smooth_l1}[self.stage.loss]
        return {"total": fit(pred, target)}


def centred(landmarks: Tensor, size: int) -> Tensor:
    """Landmarks (B, K, 2) in pixels of a `size` x `size` crop -> zero-centred normalised coordinates (section 3.3).

    >>> centred(torch.tensor([[[-0.5, 31.5]]]), 64).tolist()
    [[[-0.5, 0.0]]]
    """
    return normalise(landmarks.float(), size) - 0.5
