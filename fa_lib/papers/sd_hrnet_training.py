"""How paper 4 trains: a search in a supernetwork, the slim network that is cut out of it, and triple distillation (Lin et al.).

Sections 3.1 and 3.2, Algorithm 1. `Teacher` is HRNet, trained as usual. `Search` trains a supernetwork and its importance factors
in turn. `Slim` cuts, and trains on where it has a plan. `Distilled` trains two copies of a slim network together.
"""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
import pandas as pd
import torch
from torch import Generator, Tensor, nn

from fa_lib import data, losses, models, runs, training
from fa_lib.data import Augment, Batch, Batches, Faces
from fa_lib.data.masked import MASKS, MaskedBatch, MaskedBatches, Masks
from fa_lib.errors import InputError
from fa_lib.heatmaps import draw, to_map
from fa_lib.models.hrsupernet import HRSuperNet, cut
from fa_lib.models.topology import Topology
from fa_lib.papers.self_distillation_training import DataSource

SIGMA = 1.0  # cells, with exp(-r^2 / 2) as in HRNet's code; the height of the Gaussians is 1
SPARSITY = 5e-5  # lambda of equation 2, beside a mean square error per cell

# the files whose meaning decides what this paper's runs compute: when one changes, recorded results show as stale
CODE = (
    "geometry", "heatmaps", "landmarks", "training",
    "data/augment", "data/crops", "data/masked",
    "models/hrnet", "models/hrsupernet", "models/topology",
    "losses/heatmap", "losses/heatmap_distillation",
    "papers/sd_hrnet_training",
)  # fmt: skip


@dataclass(frozen=True)
class Source(DataSource):
    """Faces of 300-W, COFW or WFLW, rendered or real, or a user's own, and 300-W's test faces with masks."""

    def test(self) -> Faces:
        """Test faces: all of 300-W's "full", the test split of others."""
        return self._load("full" if self.dataset.endswith("300w") else "test", self.test_faces)

    def masked(self) -> Faces:
        """The faces of 300-W's test set behind face masks; rendered, as the real ones are not at hand."""
        return data.load("synthetic/masked_300w", "full", None, self.size, self.test_faces)


def heatmap_loss(maps: Tensor, landmarks: Tensor, size: int) -> Tensor:
    """Mean square error per cell between maps (B, K, h, h) and the true Gaussians of landmarks (B, K, 2) in crop pixels."""
    return losses.heatmap_mse(maps, target_maps(landmarks, size, maps.shape[-1]))


def target_maps(landmarks: Tensor, size: int, cells: int) -> Tensor:
    """The true heatmaps (B, K, cells, cells) of landmarks (B, K, 2) in pixels of a crop of `size`."""
    return draw(to_map(landmarks, size / cells), cells, SIGMA)


def learn_alone(net: nn.Module, batch: Batch) -> dict[str, Tensor]:
    """Mean square error of heatmaps: how a single network learns."""
    return {"total": heatmap_loss(net(batch.images)[-1], batch.landmarks, batch.images.shape[-1])}


@dataclass(frozen=True)
class Teacher:
    """HRNet, or any other heatmap net, with the loss of HRNet's publication."""

    network: str
    options: tuple[tuple[str, float], ...]
    source: Source
    plan: training.Plan
    augment: Augment

    code: ClassVar[tuple[str, ...]] = CODE

    @property
    def faces(self) -> int:
        """How many faces it learns from."""
        return self.source.faces

    def build(self) -> nn.Module:
        """The untrained network; its weights come from torch's global generator."""
        return models.create(self.network, landmarks=self.source.landmarks, **dict(self.options))

    def train(self, run: runs.Run, folder: Path) -> tuple[nn.Module, pd.DataFrame, dict[str, np.ndarray]]:
        """Trains; landmarks of test faces and of those with masks."""
        net = _seeded(self, run.seed)
        batches = Batches(self.source.train(), self.augment, self.plan.batch_size, training.device(), _stream(run))
        log = training.fit(net, batches, learn_alone, self.plan, folder, title=run.id)
        return net, log, predictions(net, self.source)


@dataclass(frozen=True, kw_only=True)
class TurnBatch(Batch):
    """A batch of the search, and what it is to change: the importance factors or the weights."""

    turn: Literal["alphas", "weights"]


class Turns:
    """All of `batches` for the factors and all for the weights, in turn by "pass" (Algorithm 1, lines 2 to 11) or by "batch".

    Both together are one epoch of `training.fit`, which is killed and resumed as a whole. Differs from the paper: by batch where
    a training is short, or all factors move far before the weights can follow.
    """

    def __init__(self, batches: Batches, by: Literal["pass", "batch"]) -> None:
        self.batches, self.by, self.device, self.generator = batches, by, batches.device, batches.generator

    def __len__(self) -> int:
        return 2 * len(self.batches)

    def __iter__(self) -> Iterator[TurnBatch]:
        passes = [zip(itertools.repeat(turn), self.batches, strict=False) for turn in ("alphas", "weights")]
        in_turn = passes if self.by == "pass" else zip(*passes, strict=True)
        for turn, batch in itertools.chain.from_iterable(in_turn):
            yield TurnBatch(**vars(batch), turn=turn)


@dataclass(frozen=True)
class Search:
    """The supernetwork, whose importance factors and weights learn in turn (section 3.1, equation 2).

    `turns`: see Turns; `sparsity` is lambda. Both learn at the plan's rate; the paper's factors at 0.9 to 3.5 times the weights'.
    """

    options: tuple[tuple[str, object], ...]
    source: Source
    plan: training.Plan
    augment: Augment
    turns: Literal["pass", "batch"]
    sparsity: float = SPARSITY

    code: ClassVar[tuple[str, ...]] = CODE

    @property
    def faces(self) -> int:
        """How many faces it learns from."""
        return self.source.faces

    def build(self) -> HRSuperNet:
        """The untrained supernetwork; its weights come from torch's global generator."""
        return HRSuperNet(landmarks=self.source.landmarks, **dict(self.options))

    def train(self, run: runs.Run, folder: Path) -> tuple[nn.Module, pd.DataFrame, dict[str, np.ndarray]]:
        """Searches; landmarks that the whole supernetwork finds."""
        net = _seeded(self, run.seed)
        batches = Batches(self.source.train(), self.augment, self.plan.batch_size, training.device(), _stream(run))
        log = training.fit(net, Turns(batches, self.turns), self.step, self.plan, folder, title=run.id)
        for parameter in net.parameters():
            parameter.requires_grad_(True)
        return net, log, predictions(net, self.source)

    def step(self, net: nn.Module, batch: TurnBatch) -> dict[str, Tensor]:
        """Equation 2; only those whose turn it is get a gradient, and a parameter without one is left as it is."""
        for name, parameter in net.named_parameters():
            parameter.requires_grad_(name.endswith("alpha") == (batch.turn == "alphas"))
        mse = heatmap_loss(net(batch.images)[-1], batch.landmarks, batch.images.shape[-1])
        sparsity = next(p for name, p in net.named_parameters() if name.endswith("alpha")).abs().sum()
        return {"mse": mse, "alphas": sparsity, "total": mse + self.sparsity * sparsity}


def kept(net: HRSuperNet, operations: int) -> Topology:
    """The smallest topology of the greatest importance factors in which at least `operations` are alive (see `Topology`).

    Differs from the paper: its thresholds (0.0017 on 300-W) belong to the length of its search, which decides how small a
    factor can become; how many operations they left (50 on 300-W, 42 on COFW, 40 on WFLW) can be asked for at any length.

    Raises InputError where there are not as many.

    >>> torch.manual_seed(0)  # doctest: +ELLIPSIS
    <torch...>
    >>> net = HRSuperNet(landmarks=5, width=2, blocks=1)
    >>> kept(net, 132) == Topology.full()
    True
    """
    sizes = net.alphas().detach().abs().sort(descending=True).values.tolist()
    if not 1 <= operations <= len(sizes):
        raise InputError(f"operations={operations}: the supernetwork has {len(sizes)}, so keep 1 to {len(sizes)} of them")
    for threshold in sizes[operations - 1 :]:
        try:
            topology = net.topology.pruned(net.alphas().detach(), threshold)
        except InputError:  # no path is left
            continue
        if len(topology.edges) >= operations:
            return topology
    raise AssertionError("the whole network has all of them")


@dataclass(frozen=True)
class Slim:
    """S-HRNet: the `operations` most important ones of a search, cut out of its network (Algorithm 1, lines 13 to 17).

    With a `plan` it learns on, alone, as long as a distilled one: without that, distillation and length would be confused. The
    factors stay as the search left them, as in the algorithm.
    """

    search: runs.Run
    operations: int
    plan: training.Plan | None = None

    code: ClassVar[tuple[str, ...]] = CODE

    @property
    def source(self) -> Source:
        """The faces of the search."""
        return self.search.config.source

    @property
    def faces(self) -> int:
        """How many faces it learns from."""
        return self.source.faces

    def build(self) -> HRSuperNet:
        """The network as it was cut; it is searched for where that is missing."""
        net = runs.get(self.search).network()
        slim = cut(net, kept(net, self.operations))
        slim.alphas().requires_grad_(False)
        return slim

    def train(self, run: runs.Run, folder: Path) -> tuple[nn.Module, pd.DataFrame, dict[str, np.ndarray]]:
        """Cuts, and trains on where there is a plan."""
        net = self.build().to(training.device())
        log = pd.DataFrame({"epoch": [0], "seconds": [0.0], "total": [0.0]})
        if self.plan is not None:
            augment = self.search.config.augment
            batches = Batches(self.source.train(), augment, self.plan.batch_size, training.device(), _stream(run))
            log = training.fit(net, batches, learn_alone, self.plan, folder, title=run.id)
        return net, log, predictions(net, self.source)


class Peers(nn.Module):
    """Two students of one architecture: `forward` is that of the first, so that the pair can stand for it anywhere."""

    def __init__(self, first: nn.Module, second: nn.Module) -> None:
        super().__init__()
        self.first, self.second = first, second

    def forward(self, images: Tensor) -> list[Tensor]:
        return self.first(images)


@dataclass(frozen=True)
class Distilled:
    """SD-HRNet: two copies of a slim network that learn together, from each other and from a teacher (section 3.2).

    `slim` is the run of a `Slim` without a plan. `teacher` None and `lambda2` 0 go together. `masks` names what covers the
    students' pictures, None for nothing (Table 6): the two then start alike, see the same and stay alike, so that the peer
    tells nothing, against Table 6. The predictions "test 2" and "masked 2" are those of the second student.
    """

    slim: runs.Run
    teacher: runs.Run | None
    plan: training.Plan
    lambda1: float
    lambda2: float
    masks: Literal["released", "large"] | None = "released"

    code: ClassVar[tuple[str, ...]] = CODE

    @property
    def source(self) -> Source:
        """The faces of the search."""
        return self.slim.config.source

    @property
    def faces(self) -> int:
        """How many faces it learns from."""
        return self.source.faces

    def build(self) -> Peers:
        """Both students, as they were cut."""
        return Peers(self.slim.config.build(), self.slim.config.build())

    def train(self, run: runs.Run, folder: Path) -> tuple[nn.Module, pd.DataFrame, dict[str, np.ndarray]]:
        """Trains both, the teacher first where it is missing; landmarks that either finds."""
        pair, where = self.build().to(training.device()), training.device()
        augment = self.slim.config.search.config.augment
        masks = MASKS[self.masks] if self.masks else Masks(share=0, area=(0.1, 0.1))
        batches = MaskedBatches(self.source.train(), augment, self.plan.batch_size, where, _stream(run), masks=masks)
        teacher = None if self.teacher is None else runs.get(self.teacher).network().to(where).requires_grad_(False)
        step = DistillStep(self, teacher)
        log = training.fit(pair, batches, step, self.plan, folder, title=run.id)
        second = {f"{name} 2": found for name, found in predictions(pair.second, self.source).items()}
        return pair, log, {**predictions(pair.first, self.source), **second}


class DistillStep:
    """Equation 4 for one batch: the students see it behind different masks, the teacher as it is."""

    def __init__(self, config: Distilled, teacher: nn.Module | None) -> None:
        self.config, self.teacher = config, teacher

    def __call__(self, pair: nn.Module, batch: MaskedBatch) -> dict[str, Tensor]:
        first, second = (student(seen)[-1] for student, seen in ((pair.first, batch.first), (pair.second, batch.second)))
        truth = target_maps(batch.landmarks, batch.images.shape[-1], first.shape[-1])
        with torch.no_grad():
            told = None if self.teacher is None else self.teacher(batch.images)[-1]
        return losses.triple(first, second, told, truth, lambda1=self.config.lambda1, lambda2=self.config.lambda2)


@dataclass(frozen=True)
class Second:
    """The second student of a distillation; trains nothing."""

    pair: runs.Run

    code: ClassVar[tuple[str, ...]] = CODE

    @property
    def source(self) -> Source:
        """The faces of the search."""
        return self.pair.config.source

    @property
    def faces(self) -> int:
        """How many faces it learned from."""
        return self.pair.config.faces

    def build(self) -> nn.Module:
        """The slim network, as it was cut."""
        return self.pair.config.slim.config.build()

    def train(self, run: runs.Run, folder: Path) -> tuple[nn.Module, pd.DataFrame, dict[str, np.ndarray]]:
        """The second student, which is trained with the first where they are missing."""
        both = runs.get(self.pair)
        found = {name.removesuffix(" 2"): values for name, values in both.predictions.items() if name.endswith(" 2")}
        return both.network().second, both.log, found


def predictions(net: nn.Module, source: Source) -> dict[str, np.ndarray]:
    """Landmarks (N, K, 2) in crop pixels: "test", and "masked" where the network has as many points as the masked faces."""
    found = {"test": training.evaluate(net, source.test(), "quarter")}
    if source.landmarks == 68 and not source.own:
        found["masked"] = training.evaluate(net, source.masked(), "quarter")
    return found


def _seeded(config: Teacher | Search, seed: int) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return config.build()


def _stream(run: runs.Run) -> Generator:
    return Generator().manual_seed(1000 * run.seed)
