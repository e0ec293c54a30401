"""The networks of finished runs, from what lies in the store: `fa predict` and `fa suggest` need no data set."""

import json
from pathlib import Path

import numpy as np
from torch import Tensor, nn

from fa_lib import models, runs, storage
from fa_lib.errors import InputError
from fa_lib.models.convlstm import ConvLSTM
from fa_lib.models.fabrec import AutoEncoder, FabRec
from fa_lib.models.from_mean import FromMean
from fa_lib.models.hrsupernet import HRSuperNet
from fa_lib.models.stable import Stable

BELOW = ("of", "backbone", "base", "search", "slim", "pair")  # what papers call the run whose network a run takes


def stored(name: str) -> dict:
    """The one finished run that has this name or hash, as `runs.stored` says it; of several, the one of the present code.

    Raises InputError where there is none, or still several.
    """
    found = [run for run in runs.stored() if name in (run["id"], run["hash"])]
    chosen = [run for run in found if not run["stale"]] or found
    if len(chosen) != 1:
        several = f"is the name of {len(chosen)} finished runs; choose one by its hash: {', '.join(r['hash'] for r in chosen)}"
        unknown = "is the name or hash of no finished run; `fa runs list` prints those there are"
        raise InputError(f"{name!r} {several if chosen else unknown}")
    return chosen[0]


def restore(found: dict) -> tuple[nn.Module, int]:
    """The network of a finished run, one of `runs.stored()`, and the side of its crops in pixels; no data set is needed.

    Of two students that learned together it is the first. Raises InputError where the run finds no landmarks, the present code
    builds another network than the run's, or a folder lacks a file.
    """
    folder = Path(found["folder"])
    try:
        weights = _weights(folder)
        with np.load(folder / "predictions.npz", allow_pickle=False) as archive:
            landmarks = [archive[name].shape[1] for name in archive.files if name.startswith("test")]
        if not landmarks:
            raise ValueError("it is no detector, since it finds no landmarks")
        net, size = _built(folder, landmarks[0], weights)
        net.load_state_dict(weights)
    except Exception as error:  # damage makes the readers of weights and predictions raise whatever they meet first
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise InputError(f"{found['id']} ({found['hash']}) cannot be loaded by the present code: {reason}") from error
    return net.eval(), size


def start(config: dict) -> Path | None:
    """The folder of the run whose network a run takes, by its configuration as plain data; None where it has one of its own.

    >>> start({"of": "jitter_loss/awing/synthetic-300w/quick/0-670435d7", "decoder": "pdc"}).name, start({"network": "fan2"})
    ('s0-670435d7', None)
    """
    key = next((key for key in BELOW if key in config), None)
    return None if "network" in config or key is None else _folder(config[key])


def _folder(run: str) -> Path:
    place, seed = run.rsplit("/", 1)
    return storage.runs_folder() / place / f"s{seed}"


def _config(folder: Path) -> dict:
    return json.loads((folder / "config.json").read_text())["config"]


def _weights(folder: Path) -> dict[str, Tensor]:
    from safetensors.torch import load_file

    found = load_file(folder / "model.safetensors")
    first = {name.removeprefix("first."): value for name, value in found.items() if name.startswith("first.")}
    return first or found


def _built(folder: Path, landmarks: int, weights: dict[str, Tensor]) -> tuple[nn.Module, int]:
    """What the `build` of a paper's configuration builds, from plain data in the run's folder; and the crops' side."""
    config = _config(folder)
    if below := start(config):
        net, size = _built(below, landmarks, weights)
        if "backbone" in config:
            net = Stable(net, ConvLSTM(landmarks, config["hidden"], residual=config["residual"]))
        if "operations" in config:
            net = _slim(net, below, weights["alpha"])
        return net, size
    size, options = config["source"]["size"], dict(config.get("options", ()))
    if "autoencoder" in config:
        learned = _config(_folder(config["autoencoder"]))
        autoencoder = AutoEncoder(learned["width"], learned["latent"], learned["pool"]["size"])
        return FabRec(autoencoder, landmarks, config["skips"]), size
    if config.get("network") == "resnet18":
        options["size"] = size
    net = models.create(config.get("network", "hrsupernet"), landmarks=landmarks, **options)  # a search names no network
    return (FromMean(net, landmarks, config["gain"]) if "gain" in config else net), size


def _slim(net: HRSuperNet, search: Path, kept: Tensor) -> HRSuperNet:
    """The supernetwork without what was cut off: its factors, which stay as searched, tell where the search was cut."""
    searched = _weights(search)["alpha"]
    topology = net.topology.pruned(searched, kept.abs().min().item())
    return HRSuperNet(**{**net.options, "topology": topology})
