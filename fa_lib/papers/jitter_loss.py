"""Paper 3: Sun, Fan, Zhang, Guo and Xia, A Backbone Replaceable Fine-tuning Framework for Stable Face Alignment.

Its rows, tables and claims. Table 1 is of photographs (300-W with 68 points, AFLW with 19, COFW with 29, WFLW with 98), the
others are of clips (300-VW). How a row trains is in jitter_loss_training.py and jitter_loss_registration.py; what the figures
show in jitter_loss_figures.py (results) and jitter_loss_curves.py (the loss).
"""

import itertools
import math
from dataclasses import dataclass, replace

from fa_lib import runs, training
from fa_lib.data import Augment
from fa_lib.errors import InputError, suggest
from fa_lib.papers import sources
from fa_lib.papers.jitter_loss_registration import LOCAL, Registered
from fa_lib.papers.jitter_loss_training import PDC, QUARTER, Backbone, Decoder, FineTune, Reading, Source
from fa_lib.results import Claim, Table

SLUG = "jitter_loss"
NOTEBOOK = "03_jitter_loss"
OWN_DATA = True  # fine-tunes on any faces
TITLE = "A Backbone Replaceable Fine-tuning Framework for Stable Face Alignment"
OFFICIAL = {"300w": (3148, 689), "aflw": (20_000, 4386), "cofw": (1345, 507), "wflw": (7500, 2500)}  # training and test faces

NETWORKS = {"hrnet": "hrnet_w18", "awing": "awing", "lab": "lab", "cpm": "cpm"}  # row -> network
THETAS = (0.0, 0.5, 1.5, 2.0)  # Table 3, besides 1, which is what all others have
THRESHOLDS = (0.0, 0.1, 0.4, 0.6)  # Table 4, besides 0.2


@dataclass(frozen=True)
class Network:
    """How a profile trains a network on photographs: its options, how many it sees, of how many in a batch, at which rate."""

    options: tuple[tuple[str, float], ...]
    seen: int
    batch: int
    lr: float


@dataclass(frozen=True)
class Settings:
    """What a profile trains: the networks; photographs seen with registration, and frames seen by the ConvLSTM; the share of all
    these with which AFLW, COFW and WFLW make do; sequences in a batch; rate and width of the ConvLSTM; augmentation.
    """

    networks: dict[str, Network]
    registered: int
    frames: int
    share: float
    sequences: int
    fine_lr: float
    hidden: int | None
    augment: Augment


PLAIN = Augment(flip=0.5, scale=(0.85, 1.1))
TURNED = Augment(flip=0.5, scale=(0.75, 1.1), degrees=30, brightness=0.1, contrast=0.2, noise=0.02)
MASS = (("mass", math.pi),)  # of a Gaussian exp(-r^2), 1 high: networks start from maps that are positive, and learn sooner
TWO = (("width", 32), ("stacks", 2), ("depth", 3), *MASS)  # of four hourglasses
TINY = {
    "hrnet": Network((("width", 4), *MASS), 1200, 16, 1e-2),
    "awing": Network((("width", 32), ("stacks", 1), ("depth", 2), *MASS), 1000, 8, 6e-3),
    "lab": Network((("width", 32), ("stacks", 2), ("depth", 2), *MASS), 1200, 16, 8e-3),
    "cpm": Network((("width", 8), *MASS), 1200, 8, 2e-3),
}
SETTINGS = {
    "smoke": Settings(
        {name: replace(of, seen=24, batch=12) for name, of in TINY.items()},
        24, 48, 1, sequences=4, fine_lr=5e-3, hidden=4, augment=PLAIN,
    ),
    "quick": Settings(TINY, 600, 900, 0.5, sequences=4, fine_lr=5e-3, hidden=8, augment=PLAIN),
    "desk": Settings(
        {"hrnet": Network((("width", 4), *MASS), 6000, 16, 4e-3), "awing": Network(TWO, 6000, 16, 4e-3),
         "lab": Network(TWO, 6000, 16, 6e-3), "cpm": Network((("width", 8), *MASS), 6000, 16, 2e-3)},
        2000, 2400, 0.67, sequences=4, fine_lr=3e-3, hidden=16, augment=TURNED,
    ),
    "full": Settings(
        {name: Network(MASS, 120_000, 24, 2e-3) for name in NETWORKS},
        40_000, 240_000, 1, sequences=8, fine_lr=1e-4, hidden=None, augment=TURNED,
    ),
    "paper": Settings(
        {name: Network((), 60 * 3148, 16, 1e-4) for name in NETWORKS},
        20 * 3148, 60 * 3148 * 6, 1, sequences=8, fine_lr=1e-4, hidden=None, augment=TURNED,
    ),
}  # fmt: skip


def _rows() -> dict[str, tuple[str, dict]]:
    """Row -> its kind ("backbone", "registered", "tuned", "read"), and what else it needs: names of other rows, options."""
    rows: dict[str, tuple[str, dict]] = {name: ("backbone", {}) for name in NETWORKS}
    rows["cpm-sbr"] = ("registered", {"base": "cpm"})
    for name in ("hrnet", "awing", "lab", "cpm-sbr"):
        rows[f"{name}-ft"] = ("tuned", {"backbone": name})
    for name in ("l2", "awing"):  # figure 6
        rows[f"lab-ft-{name}"] = ("tuned", {"backbone": "lab", "loss": name})
    for name in ("hrnet", "awing", "lab", "cpm-sbr"):
        rows[f"{name}-video"] = ("tuned", {"backbone": name, "clips": True})
    for name in ("hrnet", "lab", "cpm-sbr"):  # Table 3
        rows |= {f"{name}-video-{t:g}": ("tuned", {"backbone": name, "clips": True, "theta": t}) for t in THETAS}
    for name in ("l2", "awing"):
        rows[f"awing-video-{name}"] = ("tuned", {"backbone": "awing", "clips": True, "loss": name})
    rows["awing-video-plain"] = ("tuned", {"backbone": "awing", "clips": True, "residual": False, "hidden": None})
    rows["awing-video-detached"] = ("tuned", {"backbone": "awing", "clips": True, "detach_psi": True})
    rows["hrnet-video-quarter"] = ("read", {"of": "hrnet-video", "decoder": QUARTER})
    rows |= {f"hrnet-video-pdc{t:g}": ("read", {"of": "hrnet-video", "decoder": Decoder("pdc", t)}) for t in THRESHOLDS}
    rows |= {f"awing-{d.method}": ("read", {"of": "awing", "decoder": d}) for d in (Decoder("argmax"), LOCAL, PDC)}
    rows |= {f"awing-video-{d.method}": ("read", {"of": "awing-video", "decoder": d}) for d in (Decoder("argmax"), QUARTER)}
    by = {"of": "awing", "decoder": PDC}
    rows["awing-pdc-average"] = ("read", {**by, "filter": ("moving_average", (("window", 3),))})
    rows["awing-pdc-kalman"] = ("read", {**by, "filter": ("kalman", (("ratio", 0.1),))})
    rows["awing-pdc-euro"] = ("read", {**by, "filter": ("one_euro", (("min_cutoff", 3.0), ("beta", 0.05)))})
    rows["awing-pdc-euro-equal"] = ("read", {**by, "late_as": "awing-video"})
    return rows


_PARTS = _rows()
ROWS = tuple(_PARTS)


def source(profile: str, root: str | None = None, dataset: str = "300w") -> Source:
    """The faces of a profile and data set ("300w", "aflw", "cofw", "wflw"): see `sources.prepared`."""
    return sources.prepared(Source, profile, root, dataset, OFFICIAL[dataset], ("test", "video", "clips_to_learn"))


def run(row: str, profile: str, seed: int, source: Source) -> runs.Run:
    """The run of a row, with those that it starts from. Raises InputError for a row that there is not."""
    if row not in _PARTS:
        raise InputError(f"{SLUG} has no row {row!r}{suggest(row, ROWS)}; it has {', '.join(ROWS)}")
    kind, others = _PARTS[row]
    other = {
        key: run(name, profile, seed, source) for key, name in others.items() if key in ("base", "backbone", "of", "late_as")
    }
    options, settings = {**others, **other}, SETTINGS[profile]
    share = settings.share if source.dataset.removeprefix("synthetic/") in ("aflw", "cofw", "wflw") else 1

    def plan(seen: int, faces: int, batch: int, rate: float) -> training.Plan:
        return training.Plan(epochs=max(1, round(share * seen / faces)), batch_size=batch, lr=rate, drops=(0.75, 0.92))

    if kind == "backbone":
        network = settings.networks[row]
        schedule = plan(network.seen, source.faces, network.batch, network.lr)
        config = Backbone(NETWORKS[row], network.options, source, schedule, settings.augment)
    elif kind == "registered":
        network = settings.networks[others["base"]]
        config = Registered(plan=plan(settings.registered, source.faces, network.batch, network.lr / 10), **options)
    elif kind == "tuned":
        clips = others.get("clips", False) and source.landmarks == 68  # there are no clips of other points
        a_pass = 3 * source.clips * source.frames if clips else source.faces  # frames in one, nearly
        schedule = plan(settings.frames, a_pass, settings.sequences, settings.fine_lr)
        config = FineTune(source=source, plan=schedule, **{"hidden": settings.hidden, **options, "clips": clips})
    else:
        config = Reading(**{"decoder": PDC, **options})
    return runs.Run(SLUG, row, source.dataset, profile, seed, config)


def chains() -> list[list[str]]:
    """Rows that may be trained side by side: all that start from one network, which they share, follow one another."""
    return [[row for row in ROWS if _start(row) == name] for name in NETWORKS]


def _start(row: str) -> str:
    """The network from which a row starts."""
    kind, others = _PARTS[row]
    return row if kind == "backbone" else _start(next(others[key] for key in ("base", "backbone", "of") if key in others))


def cost(run: runs.Run) -> float:
    """How long a run takes, beside others of its profile: pictures seen, by network."""
    config = run.config
    if isinstance(config, Reading):
        return 10 if config.late_as is None else 300
    of = {"hrnet_w18": 2.5, "awing": 1.6, "lab": 1.0, "cpm": 1.0}
    if isinstance(config, Backbone):
        return config.plan.epochs * config.faces * of[config.network]
    if isinstance(config, Registered):
        return config.plan.epochs * config.faces * 2
    if config.clips:
        return config.plan.epochs * 3 * config.source.clips * config.source.frames * 0.2 + 200
    return config.plan.epochs * config.faces * (of[base(run).config.network] / 3 + 0.2) + 200


def base(run: runs.Run) -> runs.Run:
    """The run of the network that learned photographs, from which a run starts.

    >>> base(runs.Run("paper", "row", "data", "quick", 0, Reading(runs.Run("p", "hrnet", "d", "quick", 0, None), PDC))).row
    'hrnet'
    """
    for name in ("of", "backbone", "base"):
        if hasattr(run.config, name):
            return base(getattr(run.config, name))
    return run


def figures() -> dict:
    """Figure number -> function of a study that draws it (matplotlib is imported here, since training does without)."""
    from fa_lib.papers.jitter_loss_figures import FIGURES

    return FIGURES


_NAMES = {"CPM+SBR": "cpm-sbr", "LAB": "lab", "HRNetV2": "hrnet", "AWing": "awing"}
_SCENARIOS = ("scenario 1", "scenario 2", "scenario 3")
_STEADY = ("nrmse_all", "mcv", "mav")


def _paired(suffix: str) -> dict[str, str]:
    """Each network of the paper, and beside it the same fine-tuned.

    >>> list(_paired("ft").items())[:2]
    [('CPM+SBR', 'cpm-sbr'), ('CPM+SBR fine-tuned', 'cpm-sbr-ft')]
    """
    return {label: row for name, of in _NAMES.items() for label, row in ((name, of), (f"{name} fine-tuned", f"{of}-{suffix}"))}


def _thetas() -> dict[str, str]:
    """Label and row of each cell of Table 3."""
    every = sorted((*THETAS, 1.0))
    names = {"HRNetV2": "hrnet-video", "LAB (4HG)": "lab-video", "CPM": "cpm-sbr-video"}
    return {f"{name}, Theta {t:g}": of if t == 1 else f"{of}-{t:g}" for name, of in names.items() for t in every}


TABLES = (
    Table(
        1, "NME in %, and on COFW and WFLW failure rate in % and AUC, of networks before and after fine-tuning",
        _paired("ft"), ("nme", "fr", "auc"),
        ("common", "challenging", "test", "private", "aflw/full", "aflw/frontal", "cofw/test", "wflw/test"), extra=(),
        gaps=tuple(itertools.product(("cpm-sbr", "cpm-sbr-ft"), ("cofw", "wflw"))),
    ),
    Table(
        2, "NRMSE and MCV in %, MAV in pixels^2 of a crop of 256 pixels, on the clips of 300-VW",
        {**_paired("video"), "FHR+STA": None, "Best without PDC": "hrnet-video-quarter",
         "Best with PDC": "awing-video", "AWing, PDC": "awing-pdc", "AWing, PDC, moving average": "awing-pdc-average",
         "AWing, PDC, One-Euro": "awing-pdc-euro", "AWing, PDC, Kalman": "awing-pdc-kalman",
         "AWing, PDC, One-Euro at equal lag": "awing-pdc-euro-equal"},
        _STEADY, _SCENARIOS, extra=("spread", "jitter", "lag"),
    ),
    Table(3, "NRMSE x MCV on scenario 3, by Theta", _thetas(), ("nrmse*mcv",), "scenario 3", extra=()),
    Table(
        4, "NRMSE, MAV and their product on scenario 3, by the threshold of PDC",
        {f"{t:g}": "hrnet-video" if t == 0.2 else f"hrnet-video-pdc{t:g}" for t in sorted((*THRESHOLDS, 0.2))},
        ("nrmse_all", "mav", "nrmse*mav"), "scenario 3", extra=(),
    ),
)  # fmt: skip


def _claims() -> tuple[Claim, ...]:
    """The paper's sentences as comparisons; "at least 40 %" means lower than 0.6 of the other. Our questions follow."""
    found = []
    for label in ("LAB", "HRNetV2", "AWing"):
        row = _NAMES[label]
        for metric, name in (("mcv", "MCV"), ("mav", "MAV")):
            text = f"Fine-tuning {label} lowers the {name} by at least 40 %"
            found.append(Claim(text, f"{row}-video", row, metric, "video", share=0.6))
        found.append(Claim(f"Fine-tuning {label} lowers the NRMSE on clips", f"{row}-video", row, "nrmse_all", "video"))
    found += [Claim(f"Fine-tuning {label} lowers the NME on 300-W", f"{row}-ft", row, "nme", "test", paper=paper)
              for (label, row), paper in zip(_NAMES.items(), (-0.01, -0.14, -0.09, -0.03))]  # fmt: skip
    by = "awing-video"
    return (
        *found,
        Claim("It lowers true jitter, read by the same decoder", by, "awing-pdc", "jitter", "video"),
        Claim("Jitter loss is steadier than L2", by, f"{by}-l2", "mcv", "video"),
        Claim("Jitter loss is steadier than AWing loss", by, f"{by}-awing", "mcv", "video"),
        Claim("Jitter loss has less true jitter than L2", by, f"{by}-l2", "jitter", "video"),
        Claim("Jitter loss has less true jitter than AWing loss", by, f"{by}-awing", "jitter", "video"),
        Claim("Jitter loss is more accurate than L2 on WFLW", "lab-ft", "lab-ft-l2", "nme", "test", dataset="wflw"),
        Claim("Jitter loss is more accurate than AWing loss on WFLW", "lab-ft", "lab-ft-awing", "nme", "test", dataset="wflw"),
        Claim("PDC is steadier than argmax", by, f"{by}-argmax", "mav", "video"),
        Claim("PDC is more accurate than argmax", by, f"{by}-argmax", "nrmse_all", "video"),
        Claim("Theta 1 is better than 0.5", "hrnet-video", "hrnet-video-0.5", "nrmse*mcv", "scenario 3", paper=-1.36),
        Claim("Theta 1 is better than 2", "hrnet-video", "hrnet-video-2", "nrmse*mcv", "scenario 3", paper=-5.21),
        Claim("PDC at 0.2 is better than at 0", "hrnet-video", "hrnet-video-pdc0", "nrmse*mav", "scenario 3", paper=-1.46),
        Claim("PDC at 0.2 is better than at 0.4", "hrnet-video", "hrnet-video-pdc0.4", "nrmse*mav", "scenario 3", paper=-0.42),
        Claim("It is steadier than a One-Euro filter at equal lag", by, "awing-pdc-euro-equal", "jitter", "video"),
        Claim("It is more accurate than a One-Euro filter at equal lag", by, "awing-pdc-euro-equal", "nrmse_all", "video"),
        Claim("Psi should carry gradient", by, f"{by}-detached", "jitter", "video"),
        Claim("A residual output is better than the plain reading", by, f"{by}-plain", "nrmse_all", "video"),
    )


CLAIMS = _claims()
