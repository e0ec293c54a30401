"""How paper 1 trains: one stage of iterative self-distillation (Nagae and Takeuchi, sections 3 and 4.3).

Stage 0 learns from annotations, with any of the ELT and SCT terms (equation 5). Stage i >= 1 starts from the network of
stage i - 1, learns from that network's output, takes f_0's output as the size to keep, and weighs both terms with i + 1
(equation 8).
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import numpy as np
import pandas as pd
import torch
from torch import Generator, Tensor, nn

from fa_lib import data, losses, models, runs, training
from fa_lib.data import Augment, Batch, Faces, twice
from fa_lib.data.readers import own
from fa_lib.data.twice import Twice
from fa_lib.heatmaps import draw, to_map

UNIT = 256  # landmark losses count pixels of a 256-pixel crop, whatever the input size
AMPLITUDE, SIGMA = 4096, 1.0  # equation 10

# Section 4.3: random flips and scaling 0.5-1.1 ...
AUGMENT = Augment(flip=0.5, scale=(0.5, 1.1))
# ... and for ELT translation of +-8 of 256 pixels, scaling 0.8-1.0, rotation +-30 degrees
TRANSFORM = Augment(scale=(0.8, 1.0), degrees=30, shift=8 / 256)

# the files whose meaning decides what this paper's runs compute: when one changes, recorded results show as stale
CODE = (
    "geometry", "heatmaps", "landmarks", "training",
    "data/augment", "data/crops", "data/twice",
    "models/fan", "models/hrnet", "models/resnet",
    "losses/heatmap", "losses/landmark", "losses/self_distillation",
    "papers/self_distillation_training",
)  # fmt: skip


@dataclass(frozen=True)
class DataSource:
    """The faces that a run learns from (`faces` of them) and is tested on.

    `root` is where real ones lie: the folder of 300-W, or the manifest of a user's own data, a .yaml file. It is no part of a
    run's identity, nor are `landmarks`, their number a face, which follows from the data.
    """

    dataset: str
    size: int
    train_faces: int | None
    test_faces: int | None
    clips: int
    frames: int
    faces: int
    fingerprint: str
    root: str | None = field(default=None, compare=False)
    landmarks: int = field(default=68, compare=False)

    @property
    def own(self) -> bool:
        """Whether these are a user's own faces, in a scheme of their own."""
        return own.is_manifest(self.root)

    def train(self) -> Faces:
        """Training faces with their annotations."""
        return self._load("train", self.train_faces)

    def test(self) -> Faces:
        """Test faces: common and challenging, or all of a user's own."""
        return self._load("test" if self.own else "full", self.test_faces)

    def _load(self, split: str, count: int | None) -> Faces:
        return data.load(self.root if self.own else self.dataset, split, self.root, self.size, count)

    def video(self) -> Faces:
        """The frames of all test clips. Rendered for real stills, too, where no clips are at hand; none for own faces."""
        if self.own:
            return data.no_faces(self.size, self.test().scheme, f"{self.dataset} has no clips")
        return data.load("synthetic/300vw", "test", None, self.size, self.clips, frames=self.frames)

    def twice(self) -> Twice:
        """Faces with two annotations: near-duplicate photographs of 300-W, or rendered faces with two annotators."""
        if self.own:
            return twice.nothing(self.size, self.landmarks)
        return twice.rendered(self.test()) if self.root is None else twice.photographed(self.root, self.size)


@dataclass(frozen=True)
class Stage:
    """One network of the paper: `iteration` 0 learns from annotations, later ones from `teacher`, the run before.

    `base` is f_0, whose sizes are kept. `warm` students start from the teacher's weights, as the paper's do; the others from
    random ones.
    """

    network: str
    options: tuple[tuple[str, float], ...]
    source: DataSource
    plan: training.Plan
    scale: tuple[float, float] = AUGMENT.scale
    elt: bool = False
    sct: bool = False
    iteration: int = 0
    warm: bool = True
    teacher: runs.Run | None = None
    base: runs.Run | None = None

    code: ClassVar[tuple[str, ...]] = CODE

    @property
    def faces(self) -> int:
        """How many faces this network or its teachers learn from."""
        return self.source.faces

    def build(self) -> nn.Module:
        """The untrained network; its weights come from torch's global generator."""
        size = {"size": self.source.size} if self.network == "resnet18" else {}
        return models.create(self.network, landmarks=self.source.landmarks, **size, **dict(self.options))

    def train(self, run: runs.Run, folder: Path) -> tuple[nn.Module, pd.DataFrame, dict[str, np.ndarray]]:
        """Trains this stage, its teachers first where they are missing; predictions on all test sets."""
        with torch.random.fork_rng():
            torch.manual_seed(run.seed)
            net = self.build()
        teacher = base = None
        if self.teacher is not None and self.base is not None:
            where = training.device()
            taught = runs.get(self.teacher).network()
            if self.warm:
                net.load_state_dict(taught.state_dict())
            teacher = models.freeze(taught.to(where))
            base = teacher if self.base == self.teacher else models.freeze(runs.get(self.base).network().to(where))
        # each stage has its own stream, or a student would see its teacher's batches in the teacher's order
        generator = Generator().manual_seed(1000 * run.seed + self.iteration)
        augment = Augment(flip=AUGMENT.flip, scale=self.scale)
        batches = data.Batches(self.source.train(), augment, self.plan.batch_size, training.device(), generator)
        step = Step(self, teacher, base, generator)
        log = training.fit(net, batches, step, self.plan, folder, title=run.id)
        return net, log, self.predict(net)

    def predict(self, net: nn.Module) -> dict[str, np.ndarray]:
        """Landmarks in crop pixels: of the test faces, of the video frames, of faces annotated twice in both pictures."""
        pairs = self.source.twice()
        return {
            "test": training.evaluate(net, self.source.test()),
            "video": training.evaluate(net, self.source.video()),
            "twice_first": training.predict(net, pairs.first),
            "twice_second": pairs.bring_back(training.predict(net, pairs.second)),
        }


class Step:
    """The loss of one batch (equation 5 or 8), as `training.fit` calls it."""

    def __init__(self, stage: Stage, teacher, base, generator: Generator) -> None:
        self.stage, self.teacher, self.base, self.generator = stage, teacher, base, generator

    def __call__(self, net: nn.Module, batch: Batch) -> dict[str, Tensor]:
        stage, images, size = self.stage, batch.images, batch.images.shape[-1]

        def landmarks(pictures: Tensor) -> Tensor:
            return models.landmarks_of(net(pictures), size)

        output = net(images)
        pred = models.landmarks_of(output, size)
        taught = self.teacher(images) if self.teacher else None
        target = batch.landmarks if taught is None else models.landmarks_of(taught, size)
        reference = None
        if stage.sct:
            reference = target if self.base in (None, self.teacher) else models.landmarks_of(self.base(images), size)
        weight = stage.iteration + 1.0  # i + 1 in iteration i, 1 in the supervised stage
        parts = losses.self_distillation(
            landmarks,
            images,
            pred,
            target,
            reference=reference,
            affine=TRANSFORM.affine(len(images), size, self.generator)[0] if stage.elt else None,
            w_elt=weight,
            w_sct=weight,
            unit=UNIT / size,
        )
        if isinstance(output, list):
            parts["heatmaps"] = self.fit_heatmaps(output, taught, batch.landmarks, size)
            parts["total"] = parts["total"] + parts["heatmaps"]
        return parts

    def fit_heatmaps(self, output: list[Tensor], taught: list[Tensor] | None, landmarks: Tensor, size: int) -> Tensor:
        """L2 between heatmaps, all stacks: drawn ones (equation 10) at first, then the teacher's last."""
        cells = output[-1].shape[-1]
        if taught is None:
            target = draw(to_map(landmarks, size / cells), cells, SIGMA, variance="s2")
        else:
            target = taught[-1].float()
        return torch.stack([losses.heatmap_mse(maps, target, amplitude=AMPLITUDE) for maps in output]).sum()
