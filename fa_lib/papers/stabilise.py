"""Any finished run of a heatmap net, of whatever paper, made steady as paper 3 does it: what `fa predict --stable` asks for.

    net = steadied(next(run for run in runs.stored() if run["hash"] == "670435d7"))  # for a `tracking.Tracker`

It trains a ConvLSTM behind the network, once: that is a run in the store like any other.
"""

import json
import sys
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
from torch import nn

from fa_lib import restoring, runs
from fa_lib.data import Augment
from fa_lib.errors import InputError
from fa_lib.models.stable import Stable
from fa_lib.papers import jitter_loss
from fa_lib.papers.jitter_loss_training import Source


@dataclass(frozen=True)
class Finished:
    """The configuration of a finished run as its folder tells it: no data set is needed to have it."""

    id: str
    hash: str
    folder: str

    @property
    def settings(self) -> dict:
        """Plain data: the run's configuration, and below it that of the run that it starts from, if any."""
        folder, settings = Path(self.folder), {}
        while folder is not None:
            config = json.loads((folder / "config.json").read_text())["config"]
            folder, settings = restoring.start(config), {**config, **settings}
        return settings

    @property
    def faces(self) -> int:
        """How many faces it learned from."""
        return self.settings.get("faces") or self.settings["source"]["faces"]

    @property
    def augment(self) -> Augment:
        """How its photographs were changed; mirrored where its paper does not say so in its configuration."""
        found = self.settings.get("augment", {"flip": 0.5})
        return Augment(**{key: tuple(value) if isinstance(value, list) else value for key, value in found.items()})

    def build(self) -> nn.Module:
        """Its network."""
        return restoring.restore(asdict(self))[0]


@dataclass(frozen=True)
class _Stored(runs.Run):
    """A finished run, with the hash under which it is stored: others that start from it are the same, whoever asks for them."""

    hash: str = ""


def steadied(found: dict) -> nn.Module:
    """A finished run's network, steadied: loaded or trained (see `stabilised`), or as it is where it is a `Stable` already.

    Says on stderr which of these it does.
    """
    net, _ = restoring.restore(found)
    if isinstance(net, Stable):
        print(f"{found['id']} is stable already: it is used as it is", file=sys.stderr)
        return net
    run = stabilised(found)
    what = "is in the store" if run.folder.exists() else "is trained now, and is in the store from then on"
    print(f"{run.id} ({run.hash}), which steadies {found['id']}, {what}", file=sys.stderr)
    return runs.get(run).network()


def stabilised(found: dict) -> runs.Run:
    """The run that steadies a finished run of a heatmap net, one of `runs.stored()`: get it with `runs.get`.

    It is paper 3's row "...-video" with the settings of the run's profile, and for a network of paper 3 the very run of that
    paper. It learns rendered clips, also where the network learned photographs: no annotated clips come with these. Clips have
    68 points; a network of others learns shifted photographs, those that it knows, and these must be rendered ones.

    Raises InputError for a network that finds landmarks without heatmaps, and for one of other points that learned photographs.
    """
    net, size = restoring.restore(found)
    with torch.no_grad():
        output = net(torch.zeros(1, 3, size, size))
    if isinstance(output, torch.Tensor):
        raise InputError(
            f"{found['id']} finds landmarks without heatmaps, and only heatmaps can be steadied: choose a run of a heatmap net, "
            "such as fan2 or hrnet_w18"
        )
    paper, row, dataset, profile, seed = found["id"].split("/")
    config, points = Finished(found["id"], found["hash"], found["folder"]), output[-1].shape[1]
    backbone = _Stored(paper, row, dataset, profile, int(seed), config, config.hash)
    learned = Source(**config.settings["source"], landmarks=points)
    if paper == jitter_loss.SLUG or points != 68:
        own = _tuned(backbone, learned)
        if own.folder.exists() or learned.dataset.startswith("synthetic/"):
            return own
    if points != 68:
        raise InputError(
            f"{found['id']} finds {points} points, but clips have 68, and its own photographs are not at hand here: choose a run "
            "of 68 points, or one that learned rendered faces"
        )
    return _tuned(backbone, replace(jitter_loss.source(profile), size=size))


def _tuned(backbone: runs.Run, source: Source) -> runs.Run:
    pattern = jitter_loss.run("hrnet-video", backbone.profile, backbone.seed, source)
    name = backbone.row if backbone.paper == jitter_loss.SLUG else f"{backbone.paper}-{backbone.row}"
    return replace(pattern, row=f"{name}-video", dataset=backbone.dataset, config=replace(pattern.config, backbone=backbone))
