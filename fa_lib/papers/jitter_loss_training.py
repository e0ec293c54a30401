"""How paper 3 trains: a heatmap net on single pictures, then a ConvLSTM that steadies it (Sun et al., sections 3 and 4.2).

Stage 1, `Backbone`, is any detector for photographs. Stage 2, `FineTune`, freezes it and trains a ConvLSTM on its heatmaps, on
photographs that are shifted from frame to frame or on clips. A `Reading` trains nothing: it reads the landmarks of a network
that there is in another way, or smooths them with a filter.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache, partial
from itertools import pairwise
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
import pandas as pd
import torch
from torch import Generator, Tensor, nn

from fa_lib import data, filters, heatmaps, losses, metrics, models, runs, training
from fa_lib.boundary import draw_boundary
from fa_lib.data import Augment, Batch, Faces
from fa_lib.data.sequences import Sequences
from fa_lib.heatmaps import draw, to_input, to_map
from fa_lib.models.convlstm import ConvLSTM
from fa_lib.models.stable import Stable
from fa_lib.papers.self_distillation_training import DataSource

SIGMA = 1.0  # cells; the height of the Gaussians is 1
UNIT = 256  # registration counts pixels of a 256-pixel crop, whatever the input size
SHIFT = 6 / 256  # section 4.2: "a few pixels"
FRAMES = (5, 8)  # section 4.2
THETA, THETA_PDC, XI = 1.0, 0.2, 0.25  # section 4.5; the paper gives no xi: here a quarter of a cell, a pixel of 256

# the files whose meaning decides what this paper's runs compute: when one changes, recorded results show as stale
CODE = (
    "boundary", "filters", "geometry", "heatmaps", "landmarks", "training",
    "data/augment", "data/crops", "data/sequences",
    "models/awing", "models/convlstm", "models/cpm", "models/fan", "models/hourglass", "models/hrnet", "models/stable",
    "losses/adaptive_wing", "losses/heatmap", "losses/jitter", "losses/landmark",
    "papers/jitter_loss_training",
)  # fmt: skip


@dataclass(frozen=True)
class Decoder:
    """How landmarks are read from heatmaps: see heatmaps.decode."""

    method: heatmaps.Method = "pdc"
    threshold: float = THETA_PDC

    def __str__(self) -> str:
        return f"{self.method} {self.threshold:g}" if self.method == "pdc" else self.method

    def __call__(self, maps: Tensor, size: int) -> Tensor:
        """Landmarks (B, K, 2) in pixels of the `size` x `size` picture, from heatmaps (B, K, h, h)."""
        return to_input(heatmaps.decode(maps, self.method, self.threshold), size / maps.shape[-1])


QUARTER, PDC = Decoder("quarter"), Decoder()
# how predictions of every network are kept: argmax and what improves it, and Algorithm 1 with the thresholds of Table 4
DECODERS = tuple(Decoder(m) for m in ("argmax", "quarter", "local")) + tuple(Decoder("pdc", t) for t in (0.0, 0.1, 0.2, 0.4, 0.6))


@dataclass(frozen=True)
class Source(DataSource):
    """Faces of 300-W, AFLW, COFW or WFLW, rendered or real, or a user's own, and clips of 300-VW and DDD."""

    def test(self) -> Faces:
        """Test faces: all of 300-W's and AFLW's "full", the test split of others."""
        return self._load("full" if self.dataset.endswith(("300w", "aflw")) else "test", self.test_faces)

    def clips_to_learn(self) -> Faces:
        """Frames of training clips: three times as many as there are test clips of a scenario."""
        return data.load("synthetic/300vw", "train", None, self.size, 3 * self.clips, frames=self.frames)


@dataclass(frozen=True)
class Backbone:
    """A heatmap net that learns single pictures: AWing's with the adaptive wing loss and a boundary map, others with L2."""

    network: str
    options: tuple[tuple[str, float], ...]
    source: Source
    plan: training.Plan
    augment: Augment
    decoder: Decoder = QUARTER

    code: ClassVar[tuple[str, ...]] = CODE

    @property
    def faces(self) -> int:
        """How many faces it learns from."""
        return self.source.faces

    def build(self) -> nn.Module:
        """The untrained network; its weights come from torch's global generator."""
        return models.create(self.network, landmarks=self.source.landmarks, **dict(self.options))

    def train(self, run: runs.Run, folder: Path) -> tuple[nn.Module, pd.DataFrame, dict[str, np.ndarray]]:
        """Trains; landmarks of test faces and test clips, by each decoder."""
        with torch.random.fork_rng():
            torch.manual_seed(run.seed)
            net = self.build()
        generator = Generator().manual_seed(1000 * run.seed)
        faces = self.source.train()
        batches = data.Batches(faces, self.augment, self.plan.batch_size, training.device(), generator)
        log = training.fit(net, batches, BackboneStep(tuple(faces.scheme.regions.values())), self.plan, folder, title=run.id)
        return net, log, predictions(net, self.source, self.decoder)


class BackboneStep:
    """The loss of one batch of pictures, as `training.fit` calls it."""

    def __init__(self, lines: tuple[tuple[int, ...], ...]) -> None:
        self.lines = lines

    def __call__(self, net: nn.Module, batch: Batch) -> dict[str, Tensor]:
        lined = hasattr(net, "with_boundary")
        output = net.with_boundary(batch.images) if lined else net(batch.images)
        cells = output[-1].shape[-1]
        at = to_map(batch.landmarks, batch.images.shape[-1] / cells)
        target = draw(at, cells, SIGMA, variance="s2")
        if lined:
            target = torch.cat([target, draw_boundary(at, self.lines, cells, SIGMA)], 1)
        fit = losses.adaptive_wing if lined else _summed_mse
        return {"total": torch.stack([fit(maps, target) for maps in output]).sum()}


def _summed_mse(pred: Tensor, target: Tensor) -> Tensor:
    """Squared difference of heatmaps, summed over a map's cells: of the order of 1 however large the maps."""
    return losses.heatmap_mse(pred, target) * pred.shape[-1] * pred.shape[-2]


@dataclass(frozen=True)
class FineTune:
    """A ConvLSTM on the heatmaps of a trained `backbone`, any run of a heatmap net, which stays as it is.

    It learns sequences of shifted photographs (`clips` False) or clips, with the Jitter loss (equation 2), or for comparison with
    L2 or the adaptive wing loss between heatmaps. `theta` 0 is allowed, as in Table 3, and learns nothing.
    """

    backbone: runs.Run
    source: Source
    plan: training.Plan
    loss: Literal["jitter", "l2", "awing"] = "jitter"
    clips: bool = False
    theta: float = THETA
    hidden: int | None = None
    residual: bool = True
    detach_psi: bool = False
    decoder: Decoder = PDC

    code: ClassVar[tuple[str, ...]] = CODE

    @property
    def faces(self) -> int:
        """How many faces the backbone learned from."""
        return self.backbone.config.faces

    def build(self) -> nn.Module:
        """The backbone and its ConvLSTM, untrained; weights come from torch's global generator."""
        net = self.backbone.config.build()
        return Stable(net, ConvLSTM(self.source.landmarks, self.hidden, residual=self.residual))

    def train(self, run: runs.Run, folder: Path) -> tuple[nn.Module, pd.DataFrame, dict[str, np.ndarray]]:
        """Trains the ConvLSTM, the backbone first where it is missing; landmarks of test faces and clips, by each decoder."""
        with torch.random.fork_rng():
            torch.manual_seed(run.seed)
            net = self.build()
        net.backbone.load_state_dict(runs.get(self.backbone).network().state_dict())
        generator = Generator().manual_seed(1000 * run.seed)
        faces = self.source.clips_to_learn() if self.clips else self.source.train()
        augment, jitter = (Augment(), 0.0) if self.clips else (self.backbone.config.augment, SHIFT)
        batches = Sequences(faces, augment, self.plan.batch_size, training.device(), generator, frames=FRAMES, jitter=jitter)
        frozen = frozen_maps(self.backbone, self.source, "clips_to_learn") if self.clips else None
        log = training.fit(net, batches, partial(self.step, frozen=frozen), self.plan, folder, title=run.id)
        return net, log, predictions(net, self.source, self.decoder, self.backbone)

    def step(self, net: nn.Module, batch: Batch, frozen: Tensor | None = None) -> dict[str, Tensor]:
        """The loss of one batch of sequences: the mean over their frames. `frozen`: see `frozen_maps`."""
        maps, _ = net.sequence(batch.images) if frozen is None else net.convlstm(frozen[batch.index])
        size, cells = batch.images.shape[-1], maps.shape[-1]
        at = to_map(batch.landmarks, size / cells)
        target = draw(at.flatten(0, 1), cells, SIGMA, variance="s2").view_as(maps)
        if self.loss != "jitter":
            fit = _summed_mse if self.loss == "l2" else losses.adaptive_wing
            return {"total": fit(maps.flatten(0, 1), target.flatten(0, 1))}
        found = heatmaps.decode(maps.flatten(0, 1), "pdc", THETA_PDC).view_as(at)
        error, offset = found - at, at.diff(dim=1)
        kind = {"theta": self.theta, "xi": XI, "detach_psi": self.detach_psi}
        frames = [losses.jitter(maps[:, 0], target[:, 0], error[:, 0], **kind)]
        for t in range(1, maps.shape[1]):
            frames.append(losses.jitter(maps[:, t], target[:, t], error[:, t], error[:, t - 1], offset[:, t - 1], **kind))
        return {key: torch.stack([frame[key] for frame in frames]).mean() for key in frames[0]}


@dataclass(frozen=True)
class Reading:
    """Another run's predictions, read by one `decoder`, and smoothed by a `filter` within each clip; trains nothing.

    With `late_as`, a run, the One-Euro filter's cutoff is the one with which it lags as far behind training clips as that run's
    network does: the two can then be compared at equal lag.
    """

    of: runs.Run
    decoder: Decoder
    filter: tuple[str, tuple[tuple[str, float], ...]] | None = None
    late_as: runs.Run | None = None

    code: ClassVar[tuple[str, ...]] = CODE
    FILTERS: ClassVar[dict[str, Callable]] = {
        "moving_average": filters.MovingAverage, "one_euro": filters.OneEuro, "kalman": filters.Kalman,
    }  # fmt: skip

    @property
    def source(self) -> Source:
        """The faces that the other run is tested on."""
        return self.of.config.source

    @property
    def faces(self) -> int:
        """How many faces the other run learned from."""
        return self.of.config.faces

    def build(self) -> nn.Module:
        """The other run's network, untrained."""
        return self.of.config.build()

    def train(self, run: runs.Run, folder: Path) -> tuple[nn.Module, pd.DataFrame, dict[str, np.ndarray]]:
        """The other run's network, which is trained where it is missing, its log, and its predictions read anew."""
        other = runs.get(self.of)
        found = {name: other.predictions[f"{name} {self.decoder}"] for name in ("test", "video") if name in other.predictions}
        clips = len(found.get("video", ()))  # other points than 68 have none
        smoother = None if self.filter is None else self.FILTERS[self.filter[0]](**dict(self.filter[1]))
        log = other.log
        if self.late_as is not None and clips:
            smoother = self._equally_late()
            log = log.assign(min_cutoff=smoother.min_cutoff)
        if smoother is not None and clips:
            found["video"] = filters.smooth(smoother, found["video"], self.source.video().group).astype(np.float32)
        return other.network(), log, found

    def _equally_late(self) -> filters.OneEuro:
        clips, tracks = self.source.clips_to_learn(), {}
        pictures, truth = clips.crops()
        for run in (self.of, self.late_as):
            net = runs.get(run).network().to(training.device())
            tracks[run] = read(net, pictures, (self.decoder,), clips.group)[str(self.decoder)]
        return equally_late(tracks[self.of], truth, clips.group, _mean_lag(tracks[self.late_as], truth, clips.group))


def equally_late(tracks: np.ndarray, truth: np.ndarray, clips: np.ndarray, lag: float) -> filters.OneEuro:
    """The exponential (One-Euro with beta 0) filter that makes tracks (T, K, 2) follow the truth `lag` frames late on average.

    By bisection, since a lower cutoff is later; where the tracks are late already, or `lag` is not above theirs, it changes
    next to nothing.
    """
    low, high = np.log(1e-3), np.log(1e3)
    for _ in range(24):
        smoother = filters.OneEuro(float(np.exp((low + high) / 2)), beta=0.0)
        late = _mean_lag(filters.smooth(smoother, tracks, clips), truth, clips)
        low, high = ((low + high) / 2, high) if late > lag else (low, (low + high) / 2)
    return smoother


def _mean_lag(tracks: np.ndarray, truth: np.ndarray, clips: np.ndarray) -> float:
    """By how many frames the tracks (T, K, 2) follow late, on average over clips (T,) in which the face moves."""
    return float(np.nanmean([metrics.lag(tracks[clips == name], truth[clips == name]) for name in np.unique(clips)]))


@lru_cache(maxsize=3)  # those of one backbone, from which many rows start
def frozen_maps(backbone: runs.Run, source: Source, split: Literal["test", "video", "clips_to_learn"]) -> Tensor | None:
    """Heatmaps (N, K, h, h) of a trained backbone, which never change, on the faces of a split of `source`; on the device.

    None for pictures of more than 128 pixels, whose maps would fill the memory: they are then computed whenever needed.
    """
    if source.size > 128:
        return None
    net = runs.get(backbone).network().to(training.device())
    return torch.cat(list(_maps(net, getattr(source, split)().crops()[0])))


def predictions(net: nn.Module, source: Source, decoder: Decoder, backbone: runs.Run | None = None) -> dict[str, np.ndarray]:
    """Landmarks (N, K, 2) in crop pixels of test faces and, with 68 points, of test clips: "test", "video" as `decoder` reads
    them, "test argmax" and so on by each decoder. A `Stable` net starts each photograph and each clip anew (section 4.2);
    `backbone` is the run that its backbone comes from.
    """
    (test, video), found = (source.test(), source.video()), {}
    sets = {"test": (test, None), "video": (video, video.group)}  # clips have 68 points, but a user's own faces have no clips
    for name, (faces, clips) in sets.items():
        if faces.landmarks.shape[1] == source.landmarks:
            none = dict.fromkeys(map(str, DECODERS), np.zeros((0, source.landmarks, 2), np.float32))
            frozen = frozen_maps(backbone, source, name) if backbone and len(faces) else None
            every = read(net, faces.crops()[0], DECODERS, clips, frozen) if len(faces) else none
            found |= {name: every[str(decoder)], **{f"{name} {by}": landmarks for by, landmarks in every.items()}}
    return found


@torch.no_grad()
def read(
    net: nn.Module,
    crops: np.ndarray,
    decoders: tuple[Decoder, ...],
    clips: np.ndarray | None = None,
    frozen: Tensor | None = None,
) -> dict[str, np.ndarray]:
    """Landmarks (N, K, 2) by decoder in crop pixels, for crops (N, size, size, 3) uint8.

    `clips` (N,) says which frames belong together, in order; None for photographs, each of which is alone. `frozen`
    (N, K, h, h): what the backbone of a `Stable` net says of the crops, where that is known.
    """
    net.eval()
    found: dict[str, list[Tensor]] = {str(decoder): [] for decoder in decoders}
    for maps in _maps(net, crops, clips, frozen):
        for decoder in decoders:
            found[str(decoder)].append(decoder(maps, crops.shape[1]).float().cpu())
    return {name: torch.cat(parts).numpy() for name, parts in found.items()}


@torch.no_grad()
def _maps(
    net: nn.Module, crops: np.ndarray, clips: np.ndarray | None = None, frozen: Tensor | None = None, batch_size: int = 32
) -> Iterator[Tensor]:
    """Heatmaps (B, K, h, h) of all crops in their order; a `Stable` net carries its state from frame to frame of a clip."""
    where, stable = next(net.parameters()).device, isinstance(net, Stable)
    edges = np.flatnonzero(np.r_[True, clips[1:] != clips[:-1], True]) if stable and clips is not None else (0, len(crops))
    for first, end in pairwise(edges):
        state = None
        for start in range(first, end, batch_size):
            part = slice(start, min(start + batch_size, end))
            if frozen is None:
                pictures = torch.from_numpy(np.array(crops[part])).to(where).permute(0, 3, 1, 2).float() / 255
                maps = (net.backbone if stable else net)(pictures)[-1]
            else:
                maps = frozen[part]
            if stable and clips is not None:
                maps, state = net.convlstm(maps[None], state)
                yield maps[0]
            else:
                yield net.convlstm(maps[:, None])[0][:, 0] if stable else maps
