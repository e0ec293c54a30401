"""Paper 2: Pourramezan Fard and Mahoor, Facial Landmark Points Detection Using Knowledge Distillation-Based Neural Networks.

Its rows (arms), tables and claims, on three data sets: 300-W with 68 points, COFW with 29, WFLW with 98. How a row trains is in
kd_loss_training.py; what the figures show in kd_loss_figures.py (results) and kd_loss_drawings.py (the method).
"""

import hashlib
from dataclasses import dataclass, replace
from importlib import metadata
from pathlib import Path

import torch
from filelock import FileLock
from torch import nn

from fa_lib import export, models, runs, storage, training
from fa_lib.data import Augment, symmetry
from fa_lib.data.readers import own
from fa_lib.errors import InputError, suggest
from fa_lib.papers.kd_loss_training import AUGMENT, CODE, Source, Stage
from fa_lib.results import Claim, Table
from fa_lib.study import Study

SLUG = "kd_loss"
NOTEBOOK = "02_kd_loss"
OWN_DATA = True  # learns from any faces
TITLE = "Facial Landmark Points Detection Using Knowledge Distillation-Based Neural Networks"
SIDE = 224  # pixels of the paper's pictures
OFFICIAL = {"300w": (3148, 689), "cofw": (1345, 507), "wflw": (7500, 2500)}  # training and test faces of the data sets

_BOTH = {"tough": "efn", "tolerant": "efn-soft"}
# row -> network, loss, teachers' rows, what else differs
_PARTS: dict[str, tuple[str, str, dict[str, str], dict]] = {
    "efn": ("efficientnet_b3", "l2", {}, {}),  # the tough teacher
    "efn-soft": ("efficientnet_b3", "l2", {}, {"soft": True}),  # the tolerant teacher
    "mnv2": ("mobilenet_v2", "l2", {}, {}),
    "mnv2_l1": ("mobilenet_v2", "l1", {}, {}),
    "mnv2_smooth_l1": ("mobilenet_v2", "smooth_l1", {}, {}),
    "mnv2_tou": ("mobilenet_v2", "kd", {"tough": "efn"}, {}),
    "mnv2_tol": ("mobilenet_v2", "kd", {"tolerant": "efn-soft"}, {}),
    "mnv2_kd": ("mobilenet_v2", "kd", _BOTH, {}),
    "mnv2_kd-official": ("mobilenet_v2", "kd", _BOTH, {"variant": "official"}),  # the numbers of the authors' code
    "mnv2_kd-half": ("mobilenet_v2", "kd", _BOTH, {"sigma": 0.5}),  # the least sigma with which KD-Loss is never negative
    "asmnet": ("asmnet", "l2", {}, {}),
}
ROWS = tuple(_PARTS)


@dataclass(frozen=True)
class Settings:
    """What a profile trains: options of each network, faces seen by (teachers, students), batch, rates, augmentation, gain."""

    options: dict[str, tuple[tuple[str, float], ...]]
    seen: tuple[int, int]
    batch_size: int
    lr: dict[str, float]
    augment: Augment
    gain: float = 0.02


# a short training learns nothing but how faces turn where they turn by 45 degrees
PLAIN, MODERATE = Augment(flip=0.5, scale=(0.9, 0.96)), replace(AUGMENT, degrees=15)
# tried on rendered faces: the best of 3e-3, 5e-3, 1e-2 and of gains from 0.003 to 1, with drops late enough
RATES = {"efficientnet_b3": 5e-3, "mobilenet_v2": 1e-2, "asmnet": 1e-2}
SETTINGS = {
    "smoke": Settings(
        {
            "efficientnet_b3": (("width", 0.2), ("depth", 0.2), ("stride", 16), ("dropout", 0.0)),
            "mobilenet_v2": (("width", 0.35), ("stride", 16)),
            "asmnet": (("width", 0.35), ("stride", 16), ("dropout", 0.0)),
        },
        seen=(24, 24), batch_size=12, lr=RATES, augment=PLAIN,
    ),
    "quick": Settings(
        {
            "efficientnet_b3": (("width", 0.4), ("depth", 0.3), ("dropout", 0.0)),
            "mobilenet_v2": (("width", 0.35),),
            "asmnet": (("width", 0.35), ("dropout", 0.0)),
        },
        # half the steps at sqrt(2) times the rate learn as much in less time
        seen=(1500, 1500), batch_size=32, lr={network: 1.4 * rate for network, rate in RATES.items()}, augment=PLAIN,
    ),
    "desk": Settings(
        {
            "efficientnet_b3": (("width", 0.5), ("depth", 0.4), ("dropout", 0.0)),
            "mobilenet_v2": (("width", 0.5),),
            "asmnet": (("width", 0.5), ("dropout", 0.0)),
        },
        seen=(12_000, 8000), batch_size=16, lr=RATES, augment=MODERATE,
    ),
    "full": Settings(
        {"efficientnet_b3": (), "mobilenet_v2": (), "asmnet": ()},
        seen=(150_000, 150_000), batch_size=64, lr=dict.fromkeys(RATES, 1e-3), augment=AUGMENT, gain=0.1,
    ),
    "paper": Settings(
        {"efficientnet_b3": (), "mobilenet_v2": (), "asmnet": ()},
        seen=(250 * 3148, 250 * 3148), batch_size=70, lr=dict.fromkeys(RATES, 1e-3), augment=AUGMENT, gain=1.0,
    ),
}  # fmt: skip


def source(profile: str, root: str | None = None, dataset: str = "300w") -> Source:
    """The faces of a profile and data set ("300w", "cofw", "wflw"): rendered, real where `root` is its folder, or a user's own.

    InputError where the flip of a user's own scheme is wrong: training would mirror faces by it.
    """
    p, name = runs.PROFILES[profile], f"synthetic/{dataset}" if root is None else dataset
    if own.is_manifest(root):
        name = own.describe(root).name
    train, test = OFFICIAL[dataset]
    small = root is None or profile in ("smoke", "quick")
    count = min(p.train_faces, train) if profile in ("smoke", "quick", "desk") else train
    counts = (count if small else None, min(p.test_faces, test) if root is None else None)
    size = SIDE if profile in ("full", "paper") else p.size
    unseen = Source(name, size, *counts, clips=0, frames=0, faces=0, fingerprint="", root=root)
    faces = unseen.train()
    if unseen.own:
        symmetry.check(faces.landmarks, faces.scheme, root)
    fingerprint = "-".join(part.fingerprint for part in (faces, unseen.test()))
    return replace(unseen, faces=len(faces), landmarks=faces.landmarks.shape[1], fingerprint=fingerprint)


def run(row: str, profile: str, seed: int, source: Source) -> runs.Run:
    """The run of a row, with those of its teachers. Raises InputError for a row that there is not."""
    if row not in _PARTS:
        raise InputError(f"{SLUG} has no row {row!r}{suggest(row, ROWS)}; it has {', '.join(ROWS)}")
    network, loss, teachers, others = _PARTS[row]
    settings = SETTINGS[profile]
    plan = training.Plan(
        epochs=max(1, round(settings.seen[network != "efficientnet_b3"] / source.faces)),
        batch_size=settings.batch_size,
        lr=settings.lr[network],
        drops=(0.8, 0.95),
    )
    taught = {name: run(teacher, profile, seed, source) for name, teacher in teachers.items()}
    stage = Stage(network, settings.options[network], source, plan, settings.augment, settings.gain, loss, **taught, **others)
    return runs.Run(SLUG, row, source.dataset, profile, seed, stage)


def chains() -> list[list[str]]:
    """Rows that may be trained side by side: teachers first, who keep their students waiting, then those who need none."""
    return [[row] for row in sorted(ROWS, key=lambda row: (len(_PARTS[row][2]), row not in _BOTH.values()))]


def cost(run: runs.Run) -> float:
    """How long a run takes, beside others of its profile."""
    stage = run.config
    of = {"efficientnet_b3": 1.8, "mobilenet_v2": 1.0, "asmnet": 0.9}
    return stage.plan.epochs * stage.faces * (of[stage.network] + 0.5 * sum(t is not None for t in (stage.tough, stage.tolerant)))


def figures() -> dict:
    """Figure number -> function of a study that draws it (matplotlib is imported here, since training does without)."""
    from fa_lib.papers import kd_loss_drawings, kd_loss_figures

    return dict(sorted({**kd_loss_drawings.FIGURES, **kd_loss_figures.FIGURES}.items()))


def published_network(row: str, profile: str) -> tuple[nn.Module, int]:
    """The untrained network of a row as the paper has it, and the side of its pictures; only `smoke` has smaller ones."""
    chosen = "smoke" if profile == "smoke" else "paper"
    network = _PARTS[row][0]
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = models.create(network, landmarks=68, **dict(SETTINGS[chosen].options[network]))
    return net, 64 if chosen == "smoke" else SIDE


def _counted(study: Study, row: str) -> dict[str, float]:
    """Table 5: parameters in millions, multiply-adds and twice as many operations in billions."""
    net, size = published_network(row, study.profile.name)
    macs = models.count_macs(net, size) / 1e9
    return {"parameters": models.count_parameters(net) / 1e6, "flops": 2 * macs, "macs": macs}


def exported(row: str, profile: str) -> dict[export.Precision, Path]:
    """A row's published network as ONNX files in the cache, by precision; exported again where code or packages have changed."""
    net, size = published_network(row, profile)
    packages = "-".join(metadata.version(name) for name in ("torch", "onnx", "onnxscript", "onnxruntime"))
    written = f"{runs.code_hash(('export', *CODE))}-{packages}"
    folder = storage.cache_folder() / f"onnx-{_PARTS[row][0]}-{size}-{hashlib.sha256(written.encode()).hexdigest()[:12]}"
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{folder}.lock"):
        if not folder.exists():
            with storage.new_folder(folder) as fresh:
                export.write_all(net, fresh, size)
    return {precision: folder / f"{precision}.onnx" for precision in export.PRECISIONS}


def _stored(study: Study, row: str) -> dict[str, float]:
    """Table 6: megabytes (10^6 bytes) on disk as ONNX."""
    return {precision: file.stat().st_size / 1e6 for precision, file in exported(row, study.profile.name).items()}


_PARTS_300W = ("common", "challenging", "test")
_WFLW = ("test", "pose", "expression", "illumination", "makeup", "occlusion", "blur")
_OURS = {"mnv2": "mnv2", "mnv2_KD": "mnv2_kd", "efn": "efn"}


def _others(*labels: str) -> dict[str, None]:
    return dict.fromkeys(labels)


TABLES = (
    Table(
        1, "NME and failure rate in % on COFW",
        {**_others("SFPD", "DAC-CSR", "CNN6 (Wing + PDB)", "ResNet50 (Wing + PDB)", "LAB", "ODN", "HRNetV2", "ResNet50-FFLD",
                   "GV(HRNet)"), **_OURS},
        ("nme", "fr"), "test", extra=(), dataset="cofw",
    ),
    Table(
        2, "NME in % on 300-W",
        {**_others("DAN", "DSRN", "RCN", "CPM", "PCD-CNN", "ODN", "SAN", "LAB", "DCFE", "PFLD 1X", "LRefNets", "HRNetV", "AWing",
                   "3DDE", "ResNet50-FFLD", "GEAN", "GV(HRNet)", "CCNN"), **_OURS},
        ("nme",), _PARTS_300W, extra=(),
    ),
    Table(
        3, "NME in % of small models on 300-W, over the inter-ocular and over the inter-pupil distance",
        {**_others("res_loss"), "ASMNet": "asmnet", **_others("MobileNet+ASMLoss", "LBF", "LBF fast", "CFSS", "3DDFA", "DOF",
                   "MuSiCa68", "G&LSR"), "mnv2_KD": "mnv2_kd"},
        ("nme", "nme_pupil"), _PARTS_300W, extra=(),
    ),
    Table(
        4, "NME in %, failure rate in % and AUC on WFLW",
        {**_others("DVLN", "LAB", "ResNet50(Wing+PDB)", "3DDE", "GV(HRNet)"), **_OURS},
        ("nme", "fr", "auc"), _WFLW, extra=(), dataset="wflw",
    ),
    Table(
        5, "Parameters in millions and operations in billions, at 224 pixels",
        {**_others("DVLN", "SAN", "LAB", "ResNet50 (Wing + PDB)", "HRNetV"), "ASMNet": "asmnet", "EfficientNet-B3": "efn",
         "mnv2_KD": "mnv2_kd"},
        ("parameters", "flops"), "network", extra=("macs",), costs=_counted,
    ),
    Table(
        6, "Megabytes on disk: the paper's, and ONNX files",
        {"efn": "efn", "mnv2_KD": "mnv2_kd", "ASMNet": "asmnet", **_others("MuSiCa68", "G&LSR")},
        ("fp32",), "network", extra=("fp16", "int8"), costs=_stored,
    ),
    Table(
        7, "One teacher or both: NME and failure rate in %, AUC on 300-W",
        {"mnv2": "mnv2", "mnv2_Tou": "mnv2_tou", "mnv2_Tol": "mnv2_tol", "mnv2_KD": "mnv2_kd",
         "mnv2_KD, the authors' code": "mnv2_kd-official", "mnv2_KD, sigma 0.5": "mnv2_kd-half"},
        ("nme", "fr", "auc"), ("challenging", "common", "test"), extra=(),
    ),
    Table(
        8, "NME in % with different losses on 300-W",
        {"L2": "mnv2", "L1": "mnv2_l1", "smooth L1": "mnv2_smooth_l1", "KD-Loss": "mnv2_kd"}, ("nme",), _PARTS_300W, extra=(),
    ),
)  # fmt: skip


def _claims() -> tuple[Claim, ...]:
    """The paper's sentences as comparisons, with its own differences from Tables 1, 2, 4, 7 and 8."""
    kd, l2, tou, tol = "mnv2_kd", "mnv2", "mnv2_tou", "mnv2_tol"
    return (
        Claim("KD-Loss beats L2 on 300-W", kd, l2, "nme", "test", paper=-0.44),
        Claim("KD-Loss beats L2 on COFW", kd, l2, "nme", "test", paper=-0.93, dataset="cofw"),
        Claim("KD-Loss beats L2 on WFLW", kd, l2, "nme", "test", paper=-0.50, dataset="wflw"),
        Claim("KD-Loss lowers the failure rate on COFW", kd, l2, "fr", "test", paper=-1.38, dataset="cofw"),
        Claim("KD-Loss lowers the failure rate on WFLW", kd, l2, "fr", "test", paper=-3.04, dataset="wflw"),
        Claim("It gains most on challenging faces", kd, l2, "nme", "challenging", paper=-0.34, than=(None, "common")),
        Claim("It gains most on large poses", kd, l2, "nme", "pose", paper=-0.50, dataset="wflw", than=("wflw", "test")),
        Claim(
            "It gains more with 29 points than with 68", kd, l2, "nme", "test", paper=-0.49, dataset="cofw", than=(None, "test")
        ),
        Claim("It gains more with 68 points than with 98", kd, l2, "nme", "test", paper=0.06, than=("wflw", "test")),
        Claim("The tough teacher alone beats L2", tou, l2, "nme", "test", paper=-0.11),
        Claim("The tolerant teacher alone beats the tough one", tol, tou, "nme", "test", paper=-0.14),
        Claim("Both teachers beat the tolerant one alone", kd, tol, "nme", "test", paper=-0.19),
        Claim("L1 beats L2", "mnv2_l1", l2, "nme", "test", paper=-0.30),
        Claim("Smooth L1 beats L1", "mnv2_smooth_l1", "mnv2_l1", "nme", "test", paper=-0.02),
        Claim("KD-Loss beats smooth L1", kd, "mnv2_smooth_l1", "nme", "test", paper=-0.12),
        Claim("KD-Loss beats L1, nearly its own main part", kd, "mnv2_l1", "nme", "test", paper=-0.14),
        Claim("Soft landmarks are easier to learn", "efn-soft", "efn", "nme", "learned"),
        Claim("KD-Loss beats ASMNet", kd, "asmnet", "nme", "test", paper=-1.44),
        Claim("The authors' own numbers do better than the paper's", "mnv2_kd-official", kd, "nme", "test"),
        Claim("A KD-Loss that is never negative does better", "mnv2_kd-half", kd, "nme", "test"),
    )


CLAIMS = _claims()
