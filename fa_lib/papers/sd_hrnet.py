"""Paper 4: Lin, Zheng, Zhao and Liang, SD-HRNet: Slimming and Distilling High-Resolution Network for Efficient Face Alignment.

Its rows, tables and claims, on 300-W, COFW (29 points) and WFLW (98). How a row trains is in sd_hrnet_training.py.
"""

import math
from dataclasses import dataclass, replace
from typing import Literal

import torch

from fa_lib import models, runs, training
from fa_lib.data import Augment
from fa_lib.errors import InputError, suggest
from fa_lib.models.hrsupernet import HRSuperNet
from fa_lib.models.topology import PUBLISHED, Topology
from fa_lib.papers import sources
from fa_lib.papers.sd_hrnet_training import Distilled, Search, Second, Slim, Source, Teacher
from fa_lib.results import Claim, Table
from fa_lib.study import Study

SLUG = "sd_hrnet"
NOTEBOOK = "04_sd_hrnet"
OWN_DATA = True  # searches and distils on any faces
TITLE = "SD-HRNet: Slimming and Distilling High-Resolution Network for Efficient Face Alignment"
OFFICIAL = {"300w": (3148, 689), "cofw": (1345, 507), "wflw": (7500, 2500)}  # training and test faces
OPERATIONS = {"300w": 50, "cofw": 42, "wflw": 40}  # left of 132 in the networks that the authors released
LAMBDAS = {"300w": (4.0, 1.0), "cofw": (3.0, 0.1), "wflw": (0.3, 0.1)}  # section 4.3: peers, teacher


@dataclass(frozen=True)
class Settings:
    """What a profile trains: options of HRNet and of the supernetworks; photographs seen by one network alone, in each turn of
    the search and by distilled pairs; the share of these with which COFW and WFLW make do; batch, rate, augmentation; turns; the
    training faces, where they are not the profile's.
    """

    hrnet: tuple[tuple[str, object], ...]
    supernet: tuple[tuple[str, object], ...]
    seen: tuple[int, int, int]
    share: float
    batch: int
    lr: float
    augment: Augment
    turns: Literal["pass", "batch"] = "batch"
    faces: int | None = None


PLAIN = Augment(flip=0.5, scale=(0.85, 1.1))
TURNED = Augment(flip=0.5, scale=(0.75, 1.25), degrees=30)  # section 4.3
MASS = (("mass", 2 * math.pi),)  # of a Gaussian exp(-r^2 / 2), 1 high: short trainings start from maps that are positive
SMALL = {"hrnet": (("width", 8), *MASS), "supernet": (("width", 8), ("blocks", 1), ("momentum", 0.1), *MASS)}
SETTINGS = {
    "smoke": Settings(**SMALL, seen=(24, 24, 24), share=1, batch=12, lr=1e-2, augment=PLAIN),
    "quick": Settings(**SMALL, seen=(600, 600, 300), share=0.5, batch=12, lr=1e-2, augment=PLAIN, faces=300),
    "desk": Settings(**SMALL, seen=(4000, 4000, 4000), share=0.75, batch=8, lr=8e-3, augment=TURNED),
    "full": Settings(MASS, MASS, seen=(120_000, 120_000, 120_000), share=1, batch=24, lr=1e-3, augment=TURNED),
    "paper": Settings((), (), seen=(60 * 3148,) * 3, share=1, batch=16, lr=1e-4, augment=TURNED, turns="pass"),
}  # fmt: skip


def _rows() -> dict[str, tuple[str, dict]]:
    """Row -> its kind ("teacher", "search", "slim", "distilled", "second"), and what else it needs: rows, options."""
    rows: dict[str, tuple[str, dict]] = {"hrnet": ("teacher", {}), "super": ("search", {})}
    rows["cut"] = ("slim", {"search": "super"})
    rows["slim"] = ("slim", {"search": "super", "further": True})
    rows["sd"] = ("distilled", {"slim": "cut", "teacher": "hrnet"})
    rows["sd-2"] = ("second", {"pair": "sd"})
    rows["sd-teacher"] = ("distilled", {"slim": "cut", "teacher": "hrnet", "lambda1": 0.0, "masks": None})  # Table 6
    rows["sd-peers"] = ("distilled", {"slim": "cut", "teacher": "hrnet", "masks": None})
    rows["sd-large"] = ("distilled", {"slim": "cut", "teacher": "hrnet", "masks": "large"})
    rows["super-residual"] = ("search", {"unit": "residual"})  # figure 6
    rows["hr"] = ("search", {"topology": Topology.hrnet().edges})
    rows["hr-residual"] = ("search", {"unit": "residual", "topology": Topology.hrnet().edges})
    return rows


_PARTS = _rows()
ROWS = tuple(_PARTS)


def source(profile: str, root: str | None = None, dataset: str = "300w") -> Source:
    """The faces of a profile and data set ("300w", "cofw", "wflw"): see `sources.prepared`."""
    return sources.prepared(Source, profile, root, dataset, OFFICIAL[dataset], ("test",), faces=SETTINGS[profile].faces)


def run(row: str, profile: str, seed: int, source: Source) -> runs.Run:
    """The run of a row, with those that it starts from. Raises InputError for a row that there is not."""
    if row not in _PARTS:
        raise InputError(f"{SLUG} has no row {row!r}{suggest(row, ROWS)}; it has {', '.join(ROWS)}")
    kind, given = _PARTS[row]
    settings, name = SETTINGS[profile], source.dataset.removeprefix("synthetic/")
    name = name if name in OFFICIAL else "300w"  # a user's own faces take its place
    started = {key: run(given[key], profile, seed, source) for key in ("search", "slim", "teacher", "pair") if key in given}
    share = 1 if name == "300w" else settings.share
    alone, turns, pairs = (
        training.Plan(max(1, round(share * seen / source.faces)), settings.batch, settings.lr, drops=(0.75, 0.92))
        for seen in settings.seen
    )
    if kind == "teacher":
        config = Teacher("hrnet_w18", settings.hrnet, source, alone, settings.augment)
    elif kind == "search":
        config = Search((*settings.supernet, *given.items()), source, turns, settings.augment, settings.turns)
    elif kind == "slim":
        config = Slim(started["search"], OPERATIONS[name], replace(pairs, lr=pairs.lr / 2) if "further" in given else None)
    elif kind == "second":
        config = Second(started["pair"])
    else:
        lambda1, lambda2 = LAMBDAS[name]
        config = Distilled(
            started["slim"], started["teacher"], replace(pairs, lr=pairs.lr / 2), given.get("lambda1", lambda1), lambda2,
            given.get("masks", "released"),
        )  # fmt: skip
    return runs.Run(SLUG, row, source.dataset, profile, seed, config)


def chains() -> list[list[str]]:
    """Rows that may be trained side by side: a teacher and a search are done before the pairs that need both."""
    first = [[row] for row in ("hrnet", "super-residual", "hr", "hr-residual")]
    return [["super", "cut", "slim"], *first, *([row] for row in ROWS if row.startswith("sd") and row != "sd-2"), ["sd-2"]]


def cost(run: runs.Run) -> float:
    """How long a run takes, beside others of its profile: pictures seen, by network."""
    config = run.config
    if isinstance(config, Search):
        return config.plan.epochs * config.faces * 2
    if isinstance(config, Teacher | Distilled):
        return config.plan.epochs * config.faces * (1 if isinstance(config, Teacher) else 1.5)
    return config.plan.epochs * config.faces / 2 if isinstance(config, Slim) and config.plan else 10


def figures() -> dict:
    """Figure number -> function of a study that draws it (matplotlib is imported here, since training does without)."""
    from fa_lib.papers.sd_hrnet_figures import FIGURES

    return FIGURES


def _counted(study: Study, row: str) -> dict[str, float]:
    """Table 1: millions of parameters and billions of multiply-adds at 256 pixels, as published (width 18), of all and of what
    the paper counts: of slim networks all but the head, of the supernetwork all but stem and head, of HRNet all but the head.
    """
    with torch.device("meta"):
        if row == "hrnet":
            net, without = models.create("hrnet_w18", landmarks=68), ("head",)
        elif row == "super":
            net, without = HRSuperNet(landmarks=68), ("stem", "head")
        else:
            points = {"300w": 68, "cofw": 29, "wflw": 98}[row]
            net, without = HRSuperNet(landmarks=points, topology=PUBLISHED[row]), ("head",)
    net = net.to_empty(device="cpu")
    left = {"parameters": ("alpha", *without), "flops": without}
    return {
        "parameters": models.count_parameters(net, left["parameters"]) / 1e6,
        "flops": models.count_macs(net, 256, left["flops"]) / 1e9,
        "all parameters": models.count_parameters(net, ("alpha",)) / 1e6,
        "all flops": models.count_macs(net, 256) / 1e9,
    }


def _others(*labels: str) -> dict[str, None]:
    return dict.fromkeys(labels)


_OURS = {"HRSuperNet": "super", "S-HRNet": "slim", "SD-HRNet1": "sd", "SD-HRNet2": "sd-2"}
_CUT = {"S-HRNet, not trained on": "cut"}
_SMALL = ("MobileFAN", "EfficientFAN", "EFLD", "mnv2_KD")
_WFLW = ("test", "pose", "expression", "illumination", "makeup", "occlusion", "blur")

TABLES = (
    Table(
        1, "Parameters in millions and multiply-adds in billions at 256 pixels, as the paper counts them and of all",
        {**_others("DVLN", "Wing+PDB", "SAN", "LAB"), "HRNet": "hrnet",
         **_others("AWing", "BL+AFS", "LGSA", "SLPT", "SRN", "GlomFace", *_SMALL), "HRSuperNet": "super",
         "SD-HRNet (300W)": "300w", "SD-HRNet (COFW)": "cofw", "SD-HRNet (WFLW)": "wflw"},
        ("parameters", "flops"), "network", extra=("all parameters", "all flops"), costs=_counted,
    ),
    Table(
        2, "NME in % on 300-W",
        {**_others("ODN", "SAN", "LAB"), "HRNet": "hrnet",
         **_others("AWing", "BL+AFS", "LGSA", "SAAT", "SRN", "GlomFace", "SLPT", *_SMALL), **_CUT, **_OURS},
        ("nme",), ("common", "challenging", "test"), extra=(),
    ),
    Table(
        3, "NME in % on the same faces behind masks",
        {**_others("CFSS", "DHGN", "SBR", "SHG", "MDM", "FHR", "LAB", "SAAT", "SRN", "GlomFace"), **_CUT, **_OURS,
         "SD-HRNet1, larger masks": "sd-large", "SD-HRNet1, no masks": "sd-peers"},
        ("nme",), ("masked common", "masked challenging", "masked"), extra=(),
    ),
    Table(
        4, "NME and failure rate in % on COFW",
        {**_others("HPM", "CCR", "DRDA", "RAR", "DAC-CSR", "Wing+PDB", "LAB"), "HRNet": "hrnet",
         **_others("LGSA", "SLPT", *_SMALL), **_OURS},
        ("nme", "fr"), "test", extra=(), dataset="cofw",
    ),
    Table(
        5, "NME in % on WFLW",
        {**_others("ESR", "SDM", "CFSS", "DVLN", "LAB", "Wing+PDB"), "HRNet": "hrnet",
         **_others("AWing", "LUVLi", "LGSA", "mnv2_KD", "MobileFAN", "EFLD", "EfficientFAN"), **_OURS},
        ("nme",), _WFLW, extra=(), dataset="wflw",
    ),
    Table(
        6, "NME in % on 300-W, by what the slim network is distilled from",
        {"none": "slim", "teacher": "sd-teacher", "teacher + peer": "sd-peers", "teacher + peer + masks": "sd"},
        ("nme",), "test", extra=(),
    ),
)  # fmt: skip

CLAIMS = (
    Claim("Slimming keeps the NME within 3 % of the supernetwork's", "slim", "super", "nme", "test", paper=0.05, share=1.03),
    Claim("Slimming alone, without training on, keeps it", "cut", "super", "nme", "test", paper=0.05, share=1.03),
    Claim("Distillation lowers the NME of the slim network", "sd", "slim", "nme", "test", paper=-0.10),
    Claim("Distillation lowers it on COFW", "sd", "slim", "nme", "test", paper=-0.08, dataset="cofw"),
    Claim("Distillation lowers it on WFLW", "sd", "slim", "nme", "test", paper=-0.05, dataset="wflw"),
    Claim("Distillation brings it below the supernetwork's", "sd", "super", "nme", "test", paper=-0.05),
    Claim("The distilled network is within 2 % of HRNet", "sd", "hrnet", "nme", "test", paper=0.08, share=1.02),
    Claim("The teacher alone helps", "sd-teacher", "slim", "nme", "test", paper=-0.04),
    Claim("A peer helps beside the teacher", "sd-peers", "sd-teacher", "nme", "test", paper=-0.02),
    Claim("Masks help beside both", "sd", "sd-peers", "nme", "test", paper=-0.05),
    Claim("Distillation with masks cuts the error behind masks by two thirds", "sd", "slim", "nme", "masked", share=1 / 3),
    Claim("It is the masks: without them it is higher", "sd", "sd-peers", "nme", "masked"),
    Claim("The second student is within 2 % of the first", "sd-2", "sd", "nme", "test", paper=0.01, share=1.02),
    Claim("MBConvs make a better supernetwork than residual blocks", "super", "super-residual", "nme", "test"),
    Claim("All connections make a better one than HRNet's alone", "super", "hr", "nme", "test"),
)
