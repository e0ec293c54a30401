"""A question of our own, in the form of a paper: does a network that has seen rendered faces alone find the landmarks of others?

Every row learns from one kind of faces and is tested on the same ones: real photographs with `--data`, else `synthetic/300w`.
The rows climb: an imitation of 300-W as it is, the same augmented, the widest variety of people, light and cameras (`wild`),
more of those, and for comparison the training faces that belong to the test. The choices (renderer, augmentation, rates) were
made on training photographs (AFW, and for the jaw HELEN), which are no part of the test set.
"""

from dataclasses import dataclass, replace

from fa_lib import data, runs, training
from fa_lib.data import Augment
from fa_lib.data.readers.own import is_manifest
from fa_lib.errors import InputError, suggest
from fa_lib.papers.rendered_to_real_training import Learner
from fa_lib.papers.self_distillation import MASS, RATES
from fa_lib.papers.self_distillation_training import DataSource
from fa_lib.results import Claim, Table

SLUG = "rendered_to_real"
NOTEBOOK = "00_start_here"
OWN_DATA = False  # rendered faces have 68 points, whatever a user's own have
TITLE = "From rendered faces to photographs"

PLAIN = Augment(flip=0.5, scale=(0.9, 1.1))
STRONG = Augment(
    flip=0.5, scale=(0.8, 1.15), degrees=25, shift=0.06, brightness=0.2, contrast=0.35, colour=0.1, noise=0.06, mask=0.3
)


@dataclass(frozen=True)
class Settings:
    """What a profile trains: network options, faces at hand (few, many), faces seen (rungs, best, MobileNetV2); batch."""

    fan: tuple[tuple[str, float], ...]
    mobile: tuple[tuple[str, float], ...]
    faces: tuple[int, int]
    seen: tuple[int, int, int]
    batch: int = 16


SETTINGS = {
    "smoke": Settings((("width", 16), *MASS), (("width", 0.35), ("stride", 16)), (24, 32), (32, 32, 32)),
    "quick": Settings(
        (("width", 32), ("depth", 2), *MASS), (("width", 0.35), ("stride", 16)), (500, 1000), (1200, 2400, 1200), batch=8
    ),
    "desk": Settings(
        (("width", 32), ("depth", 3), *MASS), (("width", 1.0), ("stride", 16)), (2000, 8000), (8000, 56_000, 16_000)
    ),
    "full": Settings(MASS, (), (3148, 100_000), (100_000, 1_000_000, 1_000_000)),
    "paper": Settings(MASS, (), (3148, 200_000), (100_000, 4_000_000, 4_000_000)),
}  # fmt: skip
MOBILE_RATE = 1e-3

# row -> network, what it learns from (None: the training faces of the test's own set), augmentation, which of (few, many) faces
# it has, which of the three numbers of faces it sees
_PARTS: dict[str, tuple[str, str | None, Augment, int, int]] = {
    "fan2-imitation-plain": ("fan2", "synthetic/300w", PLAIN, 0, 0),
    "fan2-imitation": ("fan2", "synthetic/300w", STRONG, 0, 0),
    "fan2-wild-few": ("fan2", "synthetic/wild", STRONG, 0, 0),
    "fan2-wild": ("fan2", "synthetic/wild", STRONG, 1, 0),
    "fan2-wild-long": ("fan2", "synthetic/wild", STRONG, 1, 1),
    "fan2-own": ("fan2", None, STRONG, 0, 0),
    "mobilenet_v2-wild": ("mobilenet_v2", "synthetic/wild", STRONG, 1, 2),
}
ROWS = tuple(_PARTS)


def source(profile: str, root: str | None = None) -> DataSource:
    """What every row is tested on: rendered faces, or the real 300-W where `root` names its folder."""
    if is_manifest(root):
        raise InputError(
            f"{SLUG}: rendered faces are compared with faces of the same 68 points; give a folder of 300-W, not {root}"
        )
    p = runs.PROFILES[profile]
    name = "synthetic/300w" if root is None else "300w"
    small = root is None or profile in ("smoke", "quick")
    counts = (p.train_faces if small else None, p.test_faces if root is None else None)
    unseen = DataSource(name, p.size, *counts, clips=0, frames=0, faces=0, fingerprint="", root=root)
    return replace(unseen, fingerprint=unseen.test().fingerprint)


def run(row: str, profile: str, seed: int, source: DataSource) -> runs.Run:
    """The run of a row. Raises InputError for a row that there is not."""
    if row not in _PARTS:
        raise InputError(f"{SLUG} has no row {row!r}{suggest(row, ROWS)}; it has {', '.join(ROWS)}")
    network, dataset, augment, many, long = _PARTS[row]
    settings = SETTINGS[profile]
    count = settings.faces[many] if dataset else source.train_faces
    faces = data.load(dataset or source.dataset, "train", source.root, source.size, count)
    plan = training.Plan(
        epochs=max(1, round(settings.seen[long] / len(faces))),
        batch_size=settings.batch,
        lr=MOBILE_RATE if network == "mobilenet_v2" else RATES[network],
        drops=(0.6, 0.85),
    )
    options = settings.mobile if network == "mobilenet_v2" else settings.fan
    name, fingerprint = dataset or source.dataset, faces.fingerprint
    learner = Learner(network, options, name, count, len(faces), fingerprint, augment, plan, source)
    return runs.Run(SLUG, row, source.dataset, profile, seed, learner)


def chains() -> list[list[str]]:
    """Rows that may be trained side by side; the longest first."""
    return [[row] for row in sorted(ROWS, key=lambda row: -_PARTS[row][4])]


def cost(run: runs.Run) -> float:
    """How long a run takes, beside others of its profile."""
    return run.config.plan.epochs * run.config.faces * (1.5 if run.config.network == "mobilenet_v2" else 1)


_LABELS = {
    "imitation, hardly augmented": "fan2-imitation-plain",
    "+ strong augmentation": "fan2-imitation",
    "+ the widest variety": "fan2-wild-few",
    "+ more faces": "fan2-wild",
    "+ longer training": "fan2-wild-long",
    "MobileNetV2, all of it": "mobilenet_v2-wild",
    "the test's own training faces": "fan2-own",
}
TABLES = (Table(1, "Learned from rendered faces alone, or from the test's own training faces", _LABELS, ("fr",), "test", 100),)
CLAIMS = (
    Claim("Strong augmentation helps", "fan2-imitation", "fan2-imitation-plain", "nme", "test"),
    Claim("A wider variety of rendered faces helps", "fan2-wild-few", "fan2-imitation", "nme", "test"),
    Claim("More rendered faces help, seen as often in all", "fan2-wild", "fan2-wild-few", "nme", "test"),
    Claim("Longer training helps", "fan2-wild-long", "fan2-wild", "nme", "test"),
    Claim("The test's own training faces are better still", "fan2-own", "fan2-wild-long", "nme", "test"),
    Claim("A heatmap net carries over better than MobileNetV2", "fan2-wild-long", "mobilenet_v2-wild", "nme", "test"),
)


def figures() -> dict:
    """Figure number -> function of a study that draws it (matplotlib is imported here, since training does without)."""
    from fa_lib.papers.rendered_to_real_figures import FIGURES

    return FIGURES
