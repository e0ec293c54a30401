"""How the shipped network learns: landmarks of rendered faces, and nothing at all where there is no face.

A heatmap net whose maps are a softmax puts its mass somewhere, face or not. Here a quarter of each batch shows no whole face, and
there the maps shall be flat: how much of a map lies about its peak then tells both how sure a landmark is and whether there
is a face (`confidence`).
"""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from fa_lib import data, losses, models, runs, training
from fa_lib.data import Augment, Batch, Faces
from fa_lib.data.synthetic import people
from fa_lib.data.synthetic.camera import photograph
from fa_lib.data.synthetic.scenery import background
from fa_lib.heatmaps import draw, to_map

UNIT, AMPLITUDE, SIGMA = 256, 4096, 1.0  # as in paper 1: pixels of a 256-px crop, and the peaks of equation 10
KINDS = 6  # of pictures without a face
# the files whose meaning decides what the run computes: when one changes, it shows as stale
CODE = (
    "geometry", "heatmaps", "landmarks", "training", "data/augment", "data/crops", "models/fan", "losses/heatmap",
    "losses/landmark", "pretrained/learning",
)  # fmt: skip


@dataclass(frozen=True)
class Source:
    """The rendered faces that it learns from, and `scenes` without any."""

    dataset: str
    size: int
    count: int
    scenes: int
    fingerprint: str

    def faces(self) -> Faces:
        """The training faces."""
        return data.load(self.dataset, "train", size=self.size, count=self.count)


@dataclass(frozen=True)
class Learner:
    """A heatmap network that learns from `source`; of each batch of faces `blank` more pictures show none."""

    network: str
    options: tuple[tuple[str, float], ...]
    source: Source
    augment: Augment
    plan: training.Plan
    blank: int

    code: ClassVar[tuple[str, ...]] = CODE

    @property
    def faces(self) -> int:
        """How many faces it learns from."""
        return self.source.count

    def build(self) -> nn.Module:
        """The untrained network; its weights come from torch's global generator."""
        return models.create(self.network, landmarks=68, **dict(self.options))

    def train(self, run: runs.Run, folder: Path) -> tuple[nn.Module, pd.DataFrame, dict[str, np.ndarray]]:
        """Trains, and finds the landmarks of the rendered validation faces."""
        with torch.random.fork_rng():
            torch.manual_seed(run.seed)
            net = self.build()
        generator = Generator().manual_seed(1000 * run.seed)
        batches = data.Batches(self.source.faces(), self.augment, self.plan.batch_size, training.device(), generator)
        blanks = Blanks(scenes(self.source.scenes, self.source.size, run.seed), self.augment, generator)
        log = training.fit(net, batches, Step(self, blanks), self.plan, folder, title=run.id)
        seen = data.load(self.source.dataset, "test", size=self.source.size, count=max(8, self.source.count // 16))
        return net, log, {"test": training.evaluate(net, seen)}


def scenes(count: int, size: int, seed: int) -> Tensor:
    """Rendered surroundings with nobody in them, (count, 3, size, size) uint8, as a camera sees them.

    >>> scenes(2, 32, seed=0).shape
    torch.Size([2, 3, 32, 32])
    """
    drawn = []
    for index in range(count):
        rng = np.random.default_rng([7, seed, index])
        one = people.sample(1, rng, difficulty="wild")
        while one.style[0, 3] == people.CROWD:  # bystanders have faces
            one = people.sample(1, rng, difficulty="wild")
        drawn.append(photograph(background(one, size, rng), one, rng))
    return torch.from_numpy(np.stack(drawn)).permute(0, 3, 1, 2).contiguous()


class Blanks:
    """Pictures without a whole face in the middle, made of `places` (N, 3, S, S) uint8 and of the faces of a batch.

    Six kinds, equally often: a piece of a scene; a small part of a face; a face that leaves the crop and comes in on the other
    side; its squares in another order; a face far too small; noise of any coarseness. All randomness comes from `generator`.
    """

    def __init__(self, places: Tensor, augment: Augment, generator: Generator) -> None:
        self.places, self.augment, self.generator = places, augment, generator

    def __call__(self, images: Tensor, count: int) -> Tensor:
        """`count` pictures (count, 3, S, S), from faces (B, 3, S, S) in [0, 1]."""
        faces = torch.randint(len(images), (count,), generator=self.generator).tolist()
        kinds = torch.randint(KINDS, (count,), generator=self.generator).tolist()
        made = torch.stack([self._one(images[face], kind) for face, kind in zip(faces, kinds, strict=True)])
        return self.augment.recolour(made, self.generator)

    def _one(self, face: Tensor, kind: int) -> Tensor:
        if kind == 0:
            return self._piece(self._scene(face), 0.4, 1.0)
        if kind == 1:
            return self._piece(face, 0.2, 0.45)
        if kind == 2:
            far = round(self._number(0.35, 0.65) * face.shape[-1])
            return torch.roll(face, far, 1 + self._pick(2))
        if kind == 3:
            return self._shuffled(face, 3 + self._pick(2))
        if kind == 4:
            return self._far(face)
        side = 2 + self._pick(30)
        coarse = torch.rand((1, 3, side, side), generator=self.generator).to(face.device)
        return F.interpolate(coarse, face.shape[1:], mode="bilinear", align_corners=False)[0]

    def _number(self, low: float, high: float) -> float:
        return low + (high - low) * float(torch.rand((), generator=self.generator))

    def _pick(self, count: int) -> int:
        return int(torch.randint(count, (), generator=self.generator))

    def _scene(self, like: Tensor) -> Tensor:
        place = self.places[self._pick(len(self.places))].to(like.device).float() / 255
        return place.flip(2) if self._pick(2) else place

    def _piece(self, picture: Tensor, least: float, most: float) -> Tensor:
        """A random square of it, enlarged to its size."""
        side = picture.shape[-1]
        part = round(self._number(least, most) * side)
        x, y = self._pick(side - part + 1), self._pick(side - part + 1)
        return F.interpolate(picture[None, :, y : y + part, x : x + part], side, mode="bilinear", align_corners=False)[0]

    def _shuffled(self, face: Tensor, cells: int) -> Tensor:
        side = face.shape[-1]
        part = side // cells
        squares = (
            face[:, : part * cells, : part * cells].reshape(3, cells, part, cells, part).permute(1, 3, 0, 2, 4).flatten(0, 1)
        )
        squares = squares[torch.randperm(cells * cells, generator=self.generator).to(face.device)]
        mixed = squares.unflatten(0, (cells, cells)).permute(2, 0, 3, 1, 4).reshape(1, 3, part * cells, part * cells)
        return F.interpolate(mixed, side, mode="nearest")[0]

    def _far(self, face: Tensor) -> Tensor:
        """The face at a third of its size or less, somewhere in a scene."""
        side = face.shape[-1]
        part = round(self._number(0.18, 0.36) * side)
        x, y = self._pick(side - part + 1), self._pick(side - part + 1)
        scene = self._scene(face).clone()
        scene[:, y : y + part, x : x + part] = F.interpolate(face[None], part, mode="area")[0]
        return scene


class Step:
    """The loss of one batch: L2 between landmarks and between heatmaps on faces, flat heatmaps elsewhere."""

    def __init__(self, learner: Learner, blanks: Blanks) -> None:
        self.learner, self.blanks = learner, blanks

    def __call__(self, net: nn.Module, batch: Batch) -> dict[str, Tensor]:
        count, size = len(batch.images), batch.images.shape[-1]
        output = net(torch.cat([batch.images, self.blanks(batch.images, self.learner.blank)]))
        cells = output[-1].shape[-1]
        target = draw(to_map(batch.landmarks, size / cells), cells, SIGMA, variance="s2")
        flat = dict(self.learner.options)["mass"] / cells**2
        pred = models.landmarks_of([output[-1][:count]], size)
        parts = {
            "landmarks": losses.l2(pred * (UNIT / size), batch.landmarks * (UNIT / size)),
            "heatmaps": sum(losses.heatmap_mse(maps[:count], target, amplitude=AMPLITUDE) for maps in output),
            "blank": sum(losses.heatmap_mse(maps[count:], maps.new_tensor(flat), amplitude=AMPLITUDE) for maps in output),
        }
        return {**parts, "total": sum(parts.values())}
