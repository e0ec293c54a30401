"""Paper 1: Nagae and Takeuchi, Iterative Self-distillation for Precise Facial Landmark Localization.

Its rows (arms), tables and claims. How a row trains is in self_distillation_training.py, what the figures show in
self_distillation_figures.py.
"""

import math
from dataclasses import dataclass, replace

from fa_lib import runs, training
from fa_lib.data import symmetry
from fa_lib.data.readers import own
from fa_lib.errors import InputError, suggest
from fa_lib.papers.self_distillation_training import AUGMENT, DataSource, Stage
from fa_lib.results import Claim, Table

SLUG = "self_distillation"
NOTEBOOK = "01_self_distillation"
OWN_DATA = True  # learns from any faces
TITLE = "Iterative Self-distillation for Precise Facial Landmark Localization"
ITERATIONS = {"resnet18": 6, "fan2": 3}  # section 4.2
ARMS = {"gt": {}, "elt": {"elt": True}, "sct": {"sct": True}, "all": {"elt": True, "sct": True}}  # section 4.4
MASS = (("mass", math.pi),)  # of the Gaussians of equation 10, at amplitude 1 and sigma 1


@dataclass(frozen=True)
class Settings:
    """What a profile trains: options and (first, later) numbers of faces seen by each network, batch, rate, augmentation; the
    training faces, where they are not the profile's.
    """

    options: dict[str, tuple[tuple[str, float], ...]]
    passes: dict[str, tuple[int, int]]
    batch_size: int
    lr: dict[str, float]
    scale: tuple[float, float]
    again: float = 1.0  # share of the rate at which a self-distillation starts; the paper resets it in full
    faces: int | None = None


# tried on a sixth of 300-W's training photographs, held out: the best of 3e-4, 7e-4, 2e-3 (ResNet18) and of 1e-3, 2e-3, 4e-3
# (FAN2HG); HRNet's is FAN2HG's, somewhat lower, untried
RATES = {"resnet18": 7e-4, "fan2": 4e-3, "hrnet_w18": 3e-3}
SMALL, MODERATE, WHOLE = (0.8, 1.1), (0.75, 1.1), AUGMENT.scale
SETTINGS = {
    "smoke": Settings(
        {"resnet18": (("width", 8),), "fan2": (("width", 16), *MASS), "hrnet_w18": (("width", 3), *MASS)},
        {"resnet18": (24, 24), "fan2": (24, 24), "hrnet_w18": (24, 24)},
        batch_size=12, lr=RATES, scale=SMALL,
    ),
    "quick": Settings(  # small batches of few faces: steps, more than their size, decide how far it comes
        {"resnet18": (("width", 16),), "fan2": (("width", 32), ("depth", 2), *MASS), "hrnet_w18": (("width", 6), *MASS)},
        {"resnet18": (1200, 300), "fan2": (1200, 300), "hrnet_w18": (600, 0)},
        # one epoch is too short to come back from a rate reset in full: NME rises with each iteration, and less at a tenth of it
        batch_size=8, lr=RATES, scale=SMALL, again=0.1, faces=300,
    ),
    "desk": Settings(
        {"resnet18": (("width", 24),), "fan2": (("width", 32), ("depth", 3), *MASS), "hrnet_w18": (("width", 6), *MASS)},
        {"resnet18": (24_000, 2000), "fan2": (16_000, 2000), "hrnet_w18": (6000, 0)},
        batch_size=16, lr=RATES, scale=MODERATE,
    ),
    "full": Settings(
        {"resnet18": (), "fan2": MASS, "hrnet_w18": MASS},
        {"resnet18": (120_000, 40_000), "fan2": (80_000, 30_000), "hrnet_w18": (80_000, 0)},
        batch_size=24, lr=RATES, scale=WHOLE,
    ),
    "paper": Settings(
        {"resnet18": (), "fan2": MASS, "hrnet_w18": MASS},
        {"resnet18": (250 * 3148, 150 * 3148), "fan2": (250 * 3148, 150 * 3148), "hrnet_w18": (250 * 3148, 0)},
        batch_size=12, lr=dict.fromkeys(RATES, 1e-2), scale=WHOLE,
    ),
}  # fmt: skip


def _rows() -> dict[str, tuple[str, str, int, bool]]:
    """Row -> network, arm, self-distillation iteration, and whether the student starts from its teacher's weights."""
    rows = {"hrnet_w18-gt": ("hrnet_w18", "gt", 0, True)}
    for network, iterations in ITERATIONS.items():
        for arm in ARMS:
            rows[f"{network}-{arm}"] = (network, arm, 0, True)
            for i in range(1, iterations + 1):
                rows[f"{network}-{arm}-sd{i}"] = (network, arm, i, True)
        rows[f"{network}-all-sd1-random"] = (network, "all", 1, False)
    return rows


_PARTS = _rows()
ROWS = tuple(_PARTS)


def last(network: str, arm: str = "all") -> str:
    """The row of a network's last self-distillation.

    >>> last("fan2")
    'fan2-all-sd3'
    """
    return f"{network}-{arm}-sd{ITERATIONS[network]}"


def source(profile: str, root: str | None = None) -> DataSource:
    """The faces of a profile: rendered ones, the real 300-W where `root` names its folder, or a user's own by their manifest.

    Raises InputError where the flip of a user's own scheme is wrong: training would mirror faces by it.
    """
    p = runs.PROFILES[profile]
    name = "synthetic/300w" if root is None else own.describe(root).name if own.is_manifest(root) else "300w"
    small = root is None or profile in ("smoke", "quick")  # real faces: all for testing, and all to learn from where time allows
    counts = ((SETTINGS[profile].faces or p.train_faces) if small else None, p.test_faces if root is None else None)
    unseen = DataSource(name, p.size, *counts, p.clips, p.frames, faces=0, fingerprint="", root=root)
    train = unseen.train()
    if unseen.own:
        symmetry.check(train.landmarks, train.scheme, root)
    unseen = replace(unseen, landmarks=train.landmarks.shape[1])
    # a run holds predictions of all three, so it is another run when any of them changes
    prints = [faces.fingerprint for faces in (train, unseen.test(), unseen.video())]
    return replace(unseen, faces=len(train), fingerprint="-".join(prints))


def run(row: str, profile: str, seed: int, source: DataSource) -> runs.Run:
    """The run of a row, with the runs that it starts from. Raises InputError for a row that there is not."""
    if row not in _PARTS:
        raise InputError(
            f"{SLUG} has no row {row!r}{suggest(row, ROWS)}; rows are called network-arm or network-arm-sdI, such as "
            f"{ROWS[0]} and {ROWS[-2]} (networks {', '.join(SETTINGS['paper'].options)}; arms {', '.join(ARMS)})"
        )
    network, arm, iteration, warm = _PARTS[row]
    settings = SETTINGS[profile]
    first, later = settings.passes[network]
    # a student that starts from random weights gets as many faces as the supervised stage
    seen = first if iteration == 0 or not warm else later
    plan = training.Plan(
        epochs=max(1, round(seen / source.faces)),
        batch_size=settings.batch_size,
        lr=settings.lr[network] * (settings.again if iteration and warm else 1.0),
        drops=(150 / 250, 230 / 250) if iteration == 0 else (100 / 150, 130 / 150),  # section 4.3
    )
    teacher = base = None
    if iteration:
        previous = f"{network}-{arm}" + (f"-sd{iteration - 1}" if iteration > 1 else "")
        teacher, base = (run(name, profile, seed, source) for name in (previous, f"{network}-{arm}"))
    stage = Stage(
        network, settings.options[network], source, plan, settings.scale, **ARMS[arm],
        iteration=iteration, warm=warm, teacher=teacher, base=base,
    )  # fmt: skip
    return runs.Run(SLUG, row, source.dataset, profile, seed, stage)


def chains() -> list[list[str]]:
    """Rows that must be trained in order, as lists that may be trained side by side; the longest first."""
    grouped: dict[tuple[str, str], list[str]] = {}
    for row, (network, arm, _, _) in _PARTS.items():
        grouped.setdefault((network, arm), []).append(row)
    return sorted(grouped.values(), key=lambda rows: (-("fan2" in rows[0]), -len(rows)))


def cost(run: runs.Run) -> float:
    """How long a run takes, beside others of its profile: faces seen, twice with ELT, plus the teachers, by network."""
    stage = run.config
    looks = 1 + stage.elt + (stage.iteration > 0) / 3 + (stage.iteration > 1 and stage.sct) / 3
    return stage.plan.epochs * stage.source.faces * looks * {"resnet18": 1, "fan2": 2.3, "hrnet_w18": 9}[stage.network]


def figures() -> dict:
    """Figure number -> function of a study that draws it (matplotlib is imported here, since training does without)."""
    from fa_lib.papers.self_distillation_figures import FIGURES

    return FIGURES


_ERRORS = ("bias", "std", "nrmse")
_OTHERS = {"SAN": None, "SBR": None, "HRNet": "hrnet_w18-gt"}
_FAN = {"FAN2HG": "fan2-gt", "FAN2HG + loss": "fan2-all", "FAN2HG + loss + SD": last("fan2")}
_RESNET = {"ResNet18": "resnet18-gt", "ResNet18 + loss": "resnet18-all", "ResNet18 + loss + SD": last("resnet18")}
TABLES = (
    Table(1, "Bias, std and NRMSE x 1000 on 300-W", {**_OTHERS, **_RESNET, **_FAN}, _ERRORS, "test", 1000),
    Table(2, "Bias, std and NRMSE x 1000 on 300-VW, trained on 300-W", {**_OTHERS, **_FAN}, _ERRORS, "video", 1000),
)


def _claims() -> tuple[Claim, ...]:
    """The paper's sentences as comparisons, with its own differences (x 1000) from Tables 1 and 2."""
    r, f, rl, fl = "resnet18", "fan2", last("resnet18"), last("fan2")
    return (
        Claim("The loss terms lower the std (ResNet18)", f"{r}-all", f"{r}-gt", "std", "test", paper=-5.1),
        Claim("The loss terms lower the std (FAN2HG)", f"{f}-all", f"{f}-gt", "std", "test", paper=-0.8),
        Claim("Self-distillation lowers the std further (ResNet18)", rl, f"{r}-all", "std", "test", paper=-0.2),
        Claim("Self-distillation lowers the std further (FAN2HG)", fl, f"{f}-all", "std", "test", paper=-0.5),
        Claim("Self-distillation lowers the bias (ResNet18)", rl, f"{r}-all", "bias", "test", paper=-0.21),
        Claim("Self-distillation lowers the bias (FAN2HG)", fl, f"{f}-all", "bias", "test", paper=-1.64),
        Claim("The whole method lowers the NRMSE (ResNet18)", rl, f"{r}-gt", "nrmse", "test", paper=-4.8),
        Claim("The whole method lowers the NRMSE (FAN2HG)", fl, f"{f}-gt", "nrmse", "test", paper=-1.9),
        Claim("The loss terms lower the std on video", f"{f}-all", f"{f}-gt", "std", "video", paper=-1.3),
        Claim("Self-distillation lowers the std on video further", fl, f"{f}-all", "std", "video", paper=-0.3),
        Claim("ELT alone lowers the std", f"{f}-elt", f"{f}-gt", "std", "video"),
        Claim("ELT alone may raise the bias", f"{f}-elt", f"{f}-gt", "bias", "video", "higher"),
        Claim("SCT alone lowers the std slightly", f"{f}-sct", f"{f}-gt", "std", "video"),
        Claim("ELT alone shrinks the output (ResNet18)", f"{r}-elt", f"{r}-gt", "scale", "test"),
        Claim("ELT alone shrinks the output (FAN2HG)", f"{f}-elt", f"{f}-gt", "scale", "test"),
        Claim("SCT undoes ELT's shrinking (ResNet18)", f"{r}-all", f"{r}-elt", "scale", "test", "higher"),
        Claim("SCT undoes ELT's shrinking (FAN2HG)", f"{f}-all", f"{f}-elt", "scale", "test", "higher"),
        Claim("A third iteration harms FAN2HG (std)", fl, f"{f}-all-sd2", "std", "video", "higher"),
        Claim("A third iteration harms FAN2HG (bias)", fl, f"{f}-all-sd2", "bias", "video", "higher"),
        Claim("Random initialisation is worse (FAN2HG)", f"{f}-all-sd1-random", f"{f}-all-sd1", "nrmse", "test", "higher"),
        Claim("Random initialisation is worse (ResNet18)", f"{r}-all-sd1-random", f"{r}-all-sd1", "nrmse", "test", "higher"),
        Claim("Trajectories shrink on video", fl, f"{f}-gt", "jitter", "still"),
        Claim("Outputs are more consistent than labels", f"{f}-all", "labels", "inconsistency", "twice"),
    )


CLAIMS = _claims()
