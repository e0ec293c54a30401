"""How paper 5 trains: an auto-encoder without labels, and a detector out of it with few of them (Dornier et al., SCAF).

`Unsupervised` is 3FabRec's adversarial auto-encoder, one for all rows of a profile. `FineTune` makes a detector of it with the
labels that `Labels` picks, or `Acquired`, one round of active learning after another (sections 3.1 and 3.2).
"""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
import pandas as pd
import torch
from torch import Generator, Tensor, nn
from torch.nn.utils import parametrize

from fa_lib import acquisition, data, losses, runs, training
from fa_lib.data import Augment, Batch, Batches, Faces
from fa_lib.errors import InputError
from fa_lib.heatmaps import Method, draw, to_map
from fa_lib.models.fabrec import AutoEncoder, FabRec, ImageDiscriminator, LatentDiscriminator
from fa_lib.papers.self_distillation_training import DataSource

SIGMA = 7 / 128  # standard deviation of a true heatmap, as a share of its side
WINDOW = 11  # pixels, of structural similarity; its Gaussians fit into that, and 31, as published, leaves out more of the border

# the files whose meaning decides what this paper's runs compute: when one changes, recorded results show as stale
CODE = (
    "acquisition", "geometry", "heatmaps", "landmarks", "training",
    "data/augment", "data/crops",
    "losses/heatmap", "losses/reconstruction",
    "models/fabrec", "models/fan",
    "papers/scaf_training",
)  # fmt: skip


@dataclass(frozen=True)
class Source(DataSource):
    """Faces of 300-W or WFLW, rendered or real, or a user's own."""

    def test(self) -> Faces:
        """Test faces: all of 300-W's "full", the test split of others."""
        return self._load("full" if self.dataset.endswith("300w") else "test", self.test_faces)


@dataclass(frozen=True)
class Pool:
    """Faces without labels: `rendered` ones as CelebA has them, and the photographs of `source` where these are real."""

    rendered: int
    size: int
    source: Source | None = None
    faces: int = field(default=0, compare=False)

    def load(self) -> Faces:
        """All of them, K = 0; the labels of photographs are left behind."""
        faces = data.load("synthetic/celeba", "train", None, self.size, self.rendered)
        if self.source is None:
            return faces
        photographs = self.source.train()
        return replace(
            faces,
            images=np.concatenate([faces.images, photographs.images]),
            landmarks=np.zeros((len(faces) + len(photographs), 0, 2), np.float32),
            title=f"{faces.title} and {photographs.title}",
            fingerprint=f"{faces.fingerprint}-{photographs.fingerprint}",
            **dict.fromkeys(("truth", "second", "still", "visible", "length")),
            **{name: np.concatenate([getattr(faces, name), getattr(photographs, name)])
               for name in ("matrix", "names", "subset", "group", "attributes")},
        )  # fmt: skip


class Adversaries(nn.Module):
    """An auto-encoder and its two critics, which one optimiser trains together; see losses.unsupervised."""

    def __init__(self, width: int, latent: int, size: int) -> None:
        super().__init__()
        self.autoencoder = AutoEncoder(width, latent, size)
        self.latent_critic = LatentDiscriminator(latent)
        self.image_critic = ImageDiscriminator(width, size)

    def forward(self, images: Tensor) -> Tensor:
        return self.autoencoder(images)


@dataclass(frozen=True)
class Unsupervised:
    """The auto-encoder, which learns to draw faces again (section 2.3, after 3FabRec).

    Three stages with more losses each time: reconstruction and the critic of codes, by `plan`; that of pictures; structure. The
    last two refine, with a quarter of the epochs and a tenth of the rate (`later`). `critics` weighs both critics: at 1, as
    published, they outweigh the pixels in short trainings (mean absolute error 34 of 255 after the last stage, 26 before it).

    Differs from the paper, as `losses.unsupervised` does, and in the rates and lengths of the stages.
    """

    width: int
    latent: int
    pool: Pool
    plan: training.Plan
    augment: Augment
    critics: float = 1.0

    code: ClassVar[tuple[str, ...]] = CODE
    stages: ClassVar[tuple[dict[str, float], ...]] = (
        {"pixels": 1, "structure": 0, "realism": 0},
        {"pixels": 1, "structure": 0, "realism": 1},
        {"pixels": 0.5, "structure": 30, "realism": 1},
    )
    later: ClassVar[tuple[float, float]] = (0.25, 0.1)

    @property
    def faces(self) -> int:
        """How many faces it learns from."""
        return self.pool.faces

    def build(self) -> Adversaries:
        """The untrained networks; their weights come from torch's global generator."""
        return Adversaries(self.width, self.latent, self.pool.size)

    def train(self, run: runs.Run, folder: Path) -> tuple[nn.Module, pd.DataFrame, dict[str, np.ndarray]]:
        """Trains all three; no landmarks are found."""
        with torch.random.fork_rng():
            torch.manual_seed(run.seed)
            nets = self.build()
        batches = Batches(self.pool.load(), self.augment, self.plan.batch_size, training.device(), _stream(run))
        logs = []
        for number, weights in enumerate(self.stages, 1):
            stage = folder / f"stage{number}"
            stage.mkdir(exist_ok=True)
            weights = {**weights, "codes": self.critics, "realism": self.critics * weights["realism"]}
            step = UnsupervisedStep(weights, batches.generator)
            share, rate = self.later if number > 1 else (1, 1)
            plan = replace(self.plan, epochs=max(1, round(share * self.plan.epochs)), lr=rate * self.plan.lr)
            logs.append(training.fit(nets, batches, step, plan, stage, title=run.id).assign(stage=number))
        return nets, pd.concat(logs, ignore_index=True), {}


class UnsupervisedStep:
    """One batch of the auto-encoder's training, with the normal codes that its critic is to tell from those of faces."""

    def __init__(self, weights: dict[str, float], generator: Generator) -> None:
        self.weights, self.generator = weights, generator

    def __call__(self, nets: nn.Module, batch: Batch) -> dict[str, Tensor]:
        latent = nets.autoencoder.encoder.code.out_features
        noise = torch.randn(len(batch.images), latent, generator=self.generator).to(batch.images.device)
        three = nets.autoencoder, nets.latent_critic, nets.image_critic
        return losses.unsupervised(*three, batch.images, noise, **self.weights, window=WINDOW)


@dataclass(frozen=True)
class Labels:
    """Which training faces are annotated: `count` of them, None for all; at random by the seed of the run, or the first ones.

    The first are what 3FabRec takes: of 300-W's list the first fifty are AFW's alone.
    """

    count: int | None = None
    first: bool = False

    def pick(self, run: runs.Run, faces: int) -> np.ndarray:
        """Indices of annotated faces (count,), of `faces`. Raises InputError for more than there are, or none."""
        count = faces if self.count is None else self.count
        if not 1 <= count <= faces:
            raise InputError(f"{run.id}: {count} labels of {faces} training faces: ask for 1 to {faces}")
        order = np.arange(faces) if self.first else np.random.default_rng(1000 * run.seed).permutation(faces)
        return np.sort(order[:count])


@dataclass(frozen=True)
class Acquired:
    """A round of active learning: the labels of an earlier run, and `count` more where its network is the least sure.

    `share` of the remaining pool, the hardest, is discarded first, and is back in the pool in the next round. "k-center" spreads
    the choice over the codes of the pool instead.
    """

    previous: runs.Run
    function: Literal["nnm", "entropy", "k-center"]
    count: int
    share: float = 0.0

    def pick(self, run: runs.Run, faces: int) -> np.ndarray:
        """Indices of annotated faces; looks at pictures alone. Raises InputError where the pool has too few."""
        before = runs.get(self.previous)
        known = before.predictions["labelled"]
        rest = np.setdiff1d(np.arange(faces), known)
        crops = self.previous.config.source.train().crops()[0]
        net = before.network().to(training.device())
        if self.function == "k-center":
            chosen = acquisition.k_center_greedy(_codes(net, crops), known.tolist(), self.count)
        else:
            scores = acquisition.unsureness(net, crops[rest], self.function, method=self.previous.config.method)
            chosen = rest[acquisition.choose(scores, self.count, self.share)]
        return np.sort(np.concatenate([known, chosen]))


@dataclass(frozen=True)
class FineTune:
    """A detector out of the auto-encoder of a run, by the labels that `labels` picks (section 3.1).

    `skips`: SCAF, else 3FabRec. `seen`: how many pictures it is shown, whatever the number of labels. `two_stages`: the new
    layers learn alone for half of the time, as in 3FabRec. The generator stays as it is.

    Differs from the paper: it does not say how long it trains.
    """

    autoencoder: runs.Run
    skips: bool
    two_stages: bool
    labels: Labels | Acquired
    source: Source
    seen: int
    batch: int
    lr: float
    slower: float
    augment: Augment
    method: Method = "box_blur"

    code: ClassVar[tuple[str, ...]] = CODE

    @property
    def faces(self) -> int:
        """How many training faces there are; how many have labels is in the run's predictions."""
        return self.source.faces

    def build(self) -> FabRec:
        """The detector before it has seen a label; its new layers come from torch's global generator.

        Its maps start at 0, as most of a true map is: from random ones short trainings end 1 to 10 % of NME worse.
        """
        net = FabRec(runs.get(self.autoencoder).network().autoencoder, self.source.landmarks, self.skips)
        nn.init.zeros_(net.heatmaps.weight)
        return net

    def train(self, run: runs.Run, folder: Path) -> tuple[nn.Module, pd.DataFrame, dict[str, np.ndarray]]:
        """Picks, trains; landmarks of test faces ("test"), indices of annotated training faces ("labelled")."""
        with torch.random.fork_rng():
            torch.manual_seed(run.seed)
            net = self.build()
        labelled = self.labels.pick(run, self.faces)
        faces = self.source.train().select(labelled)
        batches = Batches(faces, self.augment, self.batch, training.device(), _stream(run))
        shares = {"head": 0.5, "all": 0.5} if self.two_stages else {"all": 1.0}
        logs = []
        for name, share in shares.items():
            (folder / name).mkdir(exist_ok=True)
            plan = training.Plan(max(1, round(share * self.seen / len(faces))), self.batch, self.lr, drops=(0.75, 0.92))
            slow_down(net, 0.0 if name == "head" else self.slower)
            logs.append(training.fit(net, batches, learn_heatmaps, plan, folder / name, title=run.id).assign(stage=name))
            settle(net)
        found = {"test": training.evaluate(net, self.source.test(), self.method), "labelled": labelled}
        return net, pd.concat(logs, ignore_index=True), found


def learn_heatmaps(net: nn.Module, batch: Batch) -> dict[str, Tensor]:
    """Mean square error between heatmaps and the true Gaussians, 1 high: the loss of 3FabRec and SCAF."""
    maps, size = net(batch.images)[-1], batch.images.shape[-1]
    cells = maps.shape[-1]
    truth = draw(to_map(batch.landmarks, size / cells), cells, SIGMA * cells).to(memory_format=torch.channels_last)  # as maps are
    return {"total": losses.heatmap_mse(maps, truth)}


class _Slowed(nn.Module):
    """A parameter as its start plus `rate` times what is learned: Adam, whose steps do not depend on scale, then goes slower."""

    def __init__(self, start: Tensor, rate: float) -> None:
        super().__init__()
        self.register_buffer("start", start.detach().clone())
        self.rate = rate

    def forward(self, learned: Tensor) -> Tensor:
        return self.start + self.rate * learned

    def right_inverse(self, value: Tensor) -> Tensor:
        return torch.zeros_like(value)


def slow_down(net: FabRec, rate: float) -> None:
    """Lets the encoder learn at `rate` times the optimiser's; at 0 not at all. `settle` undoes it, with what was learned."""
    for module in list(net.autoencoder.encoder.modules()):
        for name, parameter in list(module.named_parameters(recurse=False)):
            if rate:
                parametrize.register_parametrization(module, name, _Slowed(parameter, rate))
            else:
                parameter.requires_grad_(False)


def settle(net: FabRec) -> None:
    """The encoder's parameters as plain ones again, with what they have learned."""
    for module in list(net.autoencoder.encoder.modules()):
        for name in list(getattr(module, "parametrizations", {})):
            parametrize.remove_parametrizations(module, name)
    net.autoencoder.encoder.requires_grad_(True)


@torch.no_grad()
def _codes(net: FabRec, crops: np.ndarray, batch: int = 64) -> Tensor:
    return torch.cat([net.autoencoder.encode(pictures)[0].cpu() for pictures in acquisition.in_batches(net, crops, batch)])


def _stream(run: runs.Run) -> Generator:
    return Generator().manual_seed(1000 * run.seed)
