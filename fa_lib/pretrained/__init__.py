"""The network that comes with the package: small, free of any data set's licence, trained on rendered faces alone.

    net, size, judge = pretrained.load().parts
    faces = finding.Finder(net, size, judge)(picture)

MODEL_CARD.md says what it can do and what it cannot; `python -m fa_lib.pretrained make` makes it again, and
`python -m fa_lib.pretrained measure --data DIR` measures it on photographs.
"""

import json
import math
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from fa_lib import data, models, runs, storage
from fa_lib.confidence import Calibration, calibrate
from fa_lib.data import Augment
from fa_lib.errors import InputError
from fa_lib.finding import Finder, Judge
from fa_lib.pretrained import measuring
from fa_lib.pretrained.learning import Learner, Source
from fa_lib.training import Plan

FOLDER = Path(__file__).parent
WEIGHTS, ABOUT = "fan2.safetensors", "fan2.json"
AUGMENT = Augment(
    flip=0.5, scale=(0.72, 1.25), degrees=30, shift=0.1, brightness=0.2, contrast=0.35, colour=0.1, noise=0.06, mask=0.3
)
ALARMS = 0.01  # share of validation pictures without a face in which one may be found
LOOSE = 0.25  # least mean share of what may be a face at all


@dataclass(frozen=True, eq=False)
class Shipped:
    """A network in evaluation mode, the `size` of its crops in pixels, its `judge`, and which training it came from."""

    net: nn.Module
    size: int
    judge: Judge
    name: str
    hash: str

    @property
    def parts(self) -> tuple[nn.Module, int, Judge]:
        """What a `finding.Finder` is made of."""
        return self.net, self.size, self.judge


def load(folder: Path = FOLDER) -> Shipped:
    """The network and its calibration, on the CPU; 16-bit floats are stored, 32 computed. InputError where files are damaged."""
    from safetensors.torch import load_file

    try:
        about = json.loads((folder / ABOUT).read_text())
        net = models.create(about["network"], landmarks=about["landmarks"], **about["options"])
        weights = load_file(folder / WEIGHTS)
        net.load_state_dict({name: value.float() if value.is_floating_point() else value for name, value in weights.items()})
        judge = Judge(Calibration(tuple(about["shares"]), tuple(about["chances"])), about["least"])
    except Exception as error:  # damage makes the readers raise whatever they meet first
        raise InputError(
            f"{folder}: the network that comes with the package is damaged ({type(error).__name__}); install it again"
        ) from error
    return Shipped(net.eval(), about["size"], judge, about["run"], about["hash"])


def run(profile: str = "desk") -> runs.Run:
    """The training of the shipped network; `smoke` is the same code in seconds, whose result is of no use."""
    size, count, epochs, width, blank = (96, 8000, 11, 48, 5) if profile == "desk" else (64, 24, 1, 16, 2)
    dataset = "synthetic/wild"
    faces = data.load(dataset, "train", size=size, count=count)
    options = (("width", width), ("depth", 3), ("mass", math.pi))
    source = Source(dataset, size, count, min(count, 3000), faces.fingerprint)
    learner = Learner("fan2", options, source, AUGMENT, Plan(epochs, 16, lr=4e-3, drops=(0.6, 0.85)), blank)
    return runs.Run("pretrained", "fan2", dataset, profile, 0, learner)


def judged(net: nn.Module, size: int, count: int) -> Judge:
    """Calibrates a network and chooses its threshold, on validation pictures, `count` faces and `count` pictures without any.

    The faces are rendered ones that it has not learned from. The threshold is the least one at which at most 1 % of the pictures
    without a face, as many of each kind, show one.
    """
    pairs = list(measuring.faces("wild", "test", count))
    known = measuring.at_boxes(Finder(net, size), pairs)
    calibration = calibrate(known.shares, known.errors)
    loose = Finder(net, size, Judge(calibration, LOOSE))
    each = -(-count // len(measuring.BLANKS))
    found = [loose(one) for kind in measuring.BLANKS for one in measuring.blanks(kind, each, seed=0)]
    scores = torch.tensor([max((face.score for face in faces), default=0.0) for faces in found])
    return Judge(calibration, max(LOOSE, math.ceil(1000 * torch.quantile(scores, 1 - ALARMS).item()) / 1000))


def make(folder: Path = FOLDER, profile: str = "desk", count: int = 240) -> Path:
    """Trains, calibrates and writes the network to a folder; what is trained already is loaded. Returns the file of weights."""
    from safetensors.torch import save

    trained = runs.get(run(profile))
    learner = trained.run.config
    halves = {
        name: value.half() if value.is_floating_point() else value for name, value in trained.network().state_dict().items()
    }
    net = learner.build().eval()
    net.load_state_dict({name: value.float() if value.is_floating_point() else value for name, value in halves.items()})
    judge = judged(net, learner.source.size, count)  # of the network as it is stored
    about = {
        "run": trained.run.id,
        "hash": trained.run.hash,
        "code": trained.provenance["code"],
        "network": learner.network,
        "landmarks": 68,
        "options": dict(learner.options),
        "size": learner.source.size,
        "shares": [round(share, 4) for share in judge.calibration.shares],
        "chances": [round(chance, 4) for chance in judge.calibration.chances],
        "least": judge.least,
    }
    with storage.new_file(folder / WEIGHTS) as part:
        part.write_bytes(save({name: value.contiguous() for name, value in halves.items()}))
    storage.write_json(folder / ABOUT, about)
    return folder / WEIGHTS


def measure(root: str | None = None, count: int = 120) -> dict[str, dict[str, float]]:
    """Scores of the shipped network by test: rendered faces, pictures without any, photographs where `root` is 300-W's folder."""
    finder = Finder(*load().parts)
    report = {"rendered": measuring.found(finder, list(measuring.faces("300w", "full", count)))}
    report["false alarms"] = measuring.false_alarms(finder, count // 3, seed=1)
    if root is not None:
        pairs = measuring.photographs(root)
        report["photographs"] = measuring.found(finder, pairs)
        pieces = measuring.beside_faces(pairs)
        alarms = sum(bool(finder(piece)) for piece in pieces)
        report["beside faces"] = {"pictures": len(pieces), "false alarms": alarms / max(1, len(pieces))}
    return report
