"""A study of our own, in the form of a paper: the methods of all five papers on one ground.

Every row learns from the same faces with the same augmentation and the same number of updates, and is measured by the same
code. A method of several steps (a search, then a slim network; a network, then its own student) shares the updates among its
steps; what its teachers or an auto-encoder cost besides is in Table 4.

A row is a network and what was done to it: `mnv2-kd-self` is MobileNetV2 that learned by KD-Loss from a self-distilled teacher.
"""

import functools
from dataclasses import dataclass

import torch
from torch import nn

from fa_lib import models, runs, training
from fa_lib.data import Augment
from fa_lib.errors import InputError, suggest
from fa_lib.export import latency
from fa_lib.papers import jitter_loss, kd_loss, kd_loss_training, scaf, sd_hrnet, self_distillation, sources
from fa_lib.papers.jitter_loss_training import Decoder, FineTune
from fa_lib.papers.scaf_training import FineTune as FewLabels
from fa_lib.papers.scaf_training import Labels
from fa_lib.papers.scoreboard_training import Measured, SelfTaught, Source
from fa_lib.papers.sd_hrnet_training import Distilled, Search, Slim, Teacher
from fa_lib.papers.self_distillation_training import Stage
from fa_lib.results import Claim, Table
from fa_lib.study import Study

SLUG = "scoreboard"
NOTEBOOK = "06_scoreboard"
OWN_DATA = True  # which method is best on one's own faces
TITLE = "All methods on one ground"
OFFICIAL = (3148, 689)  # training and test faces of 300-W

# KD-Loss needs landmarks inside the picture: the corner of a landmark box x 1.4 is 0.505 crops from the middle
SCALE = (0.86, 0.96)
AUGMENT = Augment(flip=0.5, scale=SCALE)
BATCH = 12


@dataclass(frozen=True)
class Settings:
    """What a profile trains: pictures that a network sees in all its steps, frames that a ConvLSTM sees; side of the crops and
    training faces, where they are not the profile's; `networks`: the profile whose widths the papers' networks have, where these
    are not this one's.
    """

    seen: int
    frames: int
    size: int | None = None
    faces: int | None = None
    networks: str | None = None


SETTINGS = {
    "smoke": Settings(24, 48),
    "quick": Settings(480, 400, faces=120, networks="smoke"),  # whole epochs in a half and in a quarter of the training
    "desk": Settings(8000, 2400, size=64),
    "full": Settings(120_000, 240_000),
    "paper": Settings(250 * 3148, 60 * 3148 * 6),
}  # fmt: skip

# row -> network it measures, in the words of `_Networks`, and whether that answers with heatmaps
_PARTS: dict[str, tuple[tuple, bool]] = {
    "resnet18": (("plain", "resnet18"), False),
    "resnet18-self": (("self", "resnet18"), False),
    "mnv2": (("mobile", "mobilenet_v2"), False),
    "mnv2-self": (("self", "mobilenet_v2"), False),
    "mnv2-kd": (("kd", False), False),
    "mnv2-kd-self": (("kd", True), False),
    "fan2": (("plain", "fan2"), True),
    "fan2-terms": (("terms", "fan2"), True),
    "fan2-self": (("self", "fan2"), True),
    "hrnet": (("hrnet",), True),
    "slim": (("slim",), True),
    "slim-self": (("self", "slim"), True),
    "sd": (("sd",), True),
    "sd-self": (("self", "sd"), True),
    "fabrec": (("fewlabels", False), True),
    "scaf": (("fewlabels", True), True),
    "hrnet-video": (("video", "hrnet"), True),
    "sd-self-video": (("video", "sd-self"), True),
}  # fmt: skip
ROWS = tuple(_PARTS)


def source(profile: str, root: str | None = None) -> Source:
    """The faces of a profile: see `sources.prepared`."""
    given = Source, profile, root, "300w", OFFICIAL, ("test", "video", "clips_to_learn")
    return sources.prepared(*given, size=SETTINGS[profile].size, faces=SETTINGS[profile].faces)


def run(row: str, profile: str, seed: int, source: Source) -> runs.Run:
    """The run of a row, with those that it starts from. Raises InputError for a row that there is not."""
    if row not in _PARTS:
        raise InputError(f"{SLUG} has no row {row!r}{suggest(row, ROWS)}; it has {', '.join(ROWS)}")
    (kind, *which), maps = _PARTS[row]
    measured = _Networks(profile, seed, source).named(kind, *which)
    decoder = None if not maps else Decoder("centroid") if row == "fan2" or row.startswith("fan2-") else Decoder("local")
    return runs.Run(SLUG, row, source.dataset, profile, seed, Measured(measured, source, decoder))


class _Networks:
    """The runs that are measured, and those that they start from; `share`: of all updates, what this step gets."""

    def __init__(self, profile: str, seed: int, source: Source) -> None:
        self.profile, self.seed, self.source = profile, seed, source
        self.seen, self.widths = SETTINGS[profile].seen, SETTINGS[profile].networks or profile
        small = profile in ("smoke", "quick", "desk")
        self.rates = {
            **(self_distillation.RATES if small else self_distillation.SETTINGS[profile].lr),
            **(kd_loss.RATES if small else kd_loss.SETTINGS[profile].lr),
            "hrnet_w18": sd_hrnet.SETTINGS[profile].lr,
            "scaf": scaf.SETTINGS[profile].lr,
        }

    def named(self, kind: str, *which) -> runs.Run:
        """The run of a kind."""
        return getattr(self, kind)(*which)

    def _plan(self, network: str, share: float = 1.0, slower: float = 1.0) -> training.Plan:
        epochs = max(1, round(share * self.seen / self.source.faces))
        return training.Plan(epochs, BATCH, self.rates[network] * slower, drops=(0.75, 0.92))

    def _run(self, name: str, config: object) -> runs.Run:
        return runs.Run(SLUG, f"net-{name}", self.source.dataset, self.profile, self.seed, config)

    def plain(self, network: str, share: float = 1.0, terms: bool = False) -> runs.Run:
        """A network of paper 1, without its terms or with them."""
        options = self_distillation.SETTINGS[self.widths].options[network]
        stage = Stage(network, options, self.source, self._plan(network, share), SCALE, elt=terms, sct=terms)
        return self._run(f"{network}{'-terms' if terms else ''}-{share:g}", stage)

    def terms(self, network: str) -> runs.Run:
        """ELT and SCT from the first step on (equation 5)."""
        return self.plain(network, terms=True)

    def mobile(self, network: str, share: float = 1.0, soft: bool = False, **teachers: runs.Run) -> runs.Run:
        """A network of paper 2, with L2 or KD-Loss."""
        options, gain = kd_loss.SETTINGS[self.widths].options[network], kd_loss.SETTINGS[self.profile].gain
        stage = kd_loss_training.Stage(
            network, options, self.source, self._plan(network, share), AUGMENT, gain, "kd" if teachers else "l2", soft, **teachers
        )
        how = "-soft" if soft else "-kd-self" if teachers and isinstance(teachers["tough"].config, SelfTaught) else ""
        return self._run(f"{network}{how or '-kd' * bool(teachers)}-{share:g}", stage)

    def kd(self, taught: bool) -> runs.Run:
        """MobileNetV2 by KD-Loss; its tough teacher is self-distilled if `taught`."""
        tough = self.self("efficientnet_b3") if taught else self.mobile("efficientnet_b3")
        return self.mobile("mobilenet_v2", tough=tough, tolerant=self.mobile("efficientnet_b3", soft=True))

    def self(self, start: str) -> runs.Run:
        """The second half (slim networks: quarter) of the updates as an iteration of self-distillation."""
        share, network, again = 0.5, start, self_distillation.SETTINGS[self.profile].again
        if start in ("resnet18", "fan2"):
            first = self.plain(start, 0.5, terms=True)
        elif start in ("slim", "sd"):
            share, network = 0.25, "hrnet_w18"
            first = getattr(self, start)(0.25)
        else:
            first = self.mobile(start, 0.5)
        return self._run(f"{start}-self", SelfTaught(first, self.source, self._plan(network, share, again), SCALE))

    def hrnet(self) -> runs.Run:
        """HRNet, the teacher of SD-HRNet."""
        options = sd_hrnet.SETTINGS[self.widths].hrnet
        return self._run("hrnet", Teacher("hrnet_w18", options, self.source, self._plan("hrnet_w18"), AUGMENT))

    def _search(self) -> runs.Run:
        settings = sd_hrnet.SETTINGS[self.profile]
        plan = self._plan("hrnet_w18", 0.25)  # each epoch of a search is two: one for the factors, one for the weights
        return self._run("search", Search(settings.supernet, self.source, plan, AUGMENT, settings.turns))

    def slim(self, share: float = 0.5) -> runs.Run:
        """S-HRNet: half of the updates are the search's."""
        plan = self._plan("hrnet_w18", share, slower=0.5)
        return self._run(f"slim-{share:g}", Slim(self._search(), sd_hrnet.OPERATIONS["300w"], plan))

    def sd(self, share: float = 0.5) -> runs.Run:
        """SD-HRNet: half of the updates are the search's."""
        cut = self._run("cut", Slim(self._search(), sd_hrnet.OPERATIONS["300w"]))
        plan = self._plan("hrnet_w18", share, slower=0.5)
        return self._run(f"sd-{share:g}", Distilled(cut, self.hrnet(), plan, *sd_hrnet.LAMBDAS["300w"]))

    def fewlabels(self, skips: bool) -> runs.Run:
        """3FabRec or SCAF with all labels; the auto-encoder is that of paper 5."""
        settings = scaf.SETTINGS[self.profile]
        # rendered faces that an auto-encoder learns from are always the same, photographs those that paper 5 has
        pool = self.source if self.source.root is None else scaf.source(self.profile, self.source.root)
        config = FewLabels(
            scaf.run("autoencoder", self.profile, 0, pool), skips, False, Labels(), self.source, self.seen, BATCH,
            settings.lr, settings.slower, AUGMENT, settings.method,
        )  # fmt: skip
        return self._run("scaf" if skips else "fabrec", config)

    def video(self, row: str) -> runs.Run:
        """A ConvLSTM on the heatmaps of a row's network, which stays as it is; it learns from clips where there are any."""
        (kind, *which), _ = _PARTS[row]
        settings, clips = jitter_loss.SETTINGS[self.profile], self.source.landmarks == 68
        a_pass = 3 * self.source.clips * self.source.frames if clips else self.source.faces
        epochs = max(1, round(SETTINGS[self.profile].frames / a_pass))
        plan = training.Plan(epochs, settings.sequences, settings.fine_lr, drops=(0.75, 0.92))
        config = FineTune(self.named(kind, *which), self.source, plan, hidden=settings.hidden, clips=clips)
        return self._run(f"{row}-video", config)


def chains() -> list[list[str]]:
    """Rows that may be trained side by side: those that share a search, a teacher or an auto-encoder one after another."""
    return [
        ["hrnet", "slim", "sd", "slim-self", "sd-self", "hrnet-video", "sd-self-video"],
        ["mnv2-kd", "mnv2-kd-self", "mnv2", "mnv2-self"],
        ["fan2-self", "fan2", "fan2-terms"],
        ["fabrec", "scaf"],
        ["resnet18", "resnet18-self"],
    ]


def cost(run: runs.Run) -> float:
    """How long a run takes, beside others of its profile, with those that only it needs."""
    row = run.row
    heavy = 1 + ("kd" in row) + 2 * row.startswith(("hrnet", "slim", "sd")) + 2 * row.startswith("fan2") + ("self" in row)
    return heavy * SETTINGS[run.profile].seen


def figures() -> dict:
    """Figure number -> function of a study that draws it (matplotlib is imported here, since training does without)."""
    from fa_lib.papers.scoreboard_figures import FIGURES

    return FIGURES


@functools.lru_cache(maxsize=64)
def _costs(study: Study, row: str) -> dict[str, float]:
    """What a row's network costs to use and, with all that it needed, to train; mean over seeds. Measured once a study."""
    trained = study.trained(row)
    net, size = trained[0].network(), study.source.size
    seconds = [sum(runs.get(one).provenance["seconds"] for one in runs.needed(each.run)) for each in trained]
    pictures = torch.zeros(1, 3, size, size)
    return {
        "parameters": sum(parameter.numel() for parameter in net.parameters()) / 1e6,
        "flops": models.count_macs(net, size) / 1e6,
        "latency": _milliseconds(net, pictures),
        "training": sum(seconds) / len(seconds) / 60,
    }


@torch.no_grad()
def _milliseconds(net: nn.Module, pictures: torch.Tensor) -> float:
    """Median time of a network on the CPU by one thread."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return latency(lambda: net(pictures), repeats=15, warm_up=3).median_ms
    finally:
        torch.set_num_threads(threads)


_LABELS = {
    "ResNet18": "resnet18", "ResNet18, self-distilled": "resnet18-self",
    "MobileNetV2": "mnv2", "MobileNetV2, self-distilled": "mnv2-self", "MobileNetV2, KD-Loss": "mnv2-kd",
    "MobileNetV2, KD-Loss, tough teacher self-distilled": "mnv2-kd-self",
    "FAN2HG": "fan2", "FAN2HG, ELT and SCT": "fan2-terms", "FAN2HG, self-distilled": "fan2-self",
    "HRNet": "hrnet", "S-HRNet": "slim", "SD-HRNet": "sd",
    "S-HRNet, self-distilled": "slim-self", "SD-HRNet, self-distilled": "sd-self",
    "3FabRec": "fabrec", "SCAF": "scaf",
    "HRNet, ConvLSTM": "hrnet-video", "SD-HRNet, self-distilled, ConvLSTM": "sd-self-video",
}  # fmt: skip
_SETS = ("common", "challenging", "test", "masked", "blurred", "shifted")
TABLES = (
    Table(1, "NME in % of test faces: as they are, behind masks, out of focus, in a moved box", _LABELS, ("nme",), _SETS,
          extra=()),
    Table(2, "Bias and std x 1000, failure rate in %", _LABELS, ("bias", "std", "fr"), "test", 1000, extra=()),
    Table(3, "Clips: NME in %, jitter x 1000 and MCV in %", _LABELS, ("nme", "jitter", "mcv"), "video", extra=()),
    Table(
        4, "Millions of parameters and multiply-adds; ms a face, one at a time, by one thread; minutes to train, with teachers",
        _LABELS, ("parameters", "flops", "latency", "training"), "network", extra=(), costs=_costs,
    ),
)  # fmt: skip


def _pays(text: str, ours: str, other: str, metric: str = "nme", split: str = "test", share: float = 1.0) -> Claim:
    return Claim(text, ours, other, metric, split, share=share)


CLAIMS = (
    _pays("ELT and SCT pay for FAN2HG", "fan2-terms", "fan2"),
    _pays("Self-distillation pays for FAN2HG", "fan2-self", "fan2"),
    _pays("Self-distillation makes FAN2HG more precise", "fan2-self", "fan2", "std"),
    _pays("Self-distillation pays for ResNet18", "resnet18-self", "resnet18"),
    _pays("Self-distillation pays for MobileNetV2", "mnv2-self", "mnv2"),
    _pays("KD-Loss pays for MobileNetV2", "mnv2-kd", "mnv2"),
    _pays("KD-Loss and a self-distilled teacher pay more than KD-Loss alone", "mnv2-kd-self", "mnv2-kd"),
    _pays("Slimming costs HRNet less than 3 %", "slim", "hrnet", share=1.03),
    _pays("Distillation pays for S-HRNet", "sd", "slim"),
    _pays("Distillation pays for S-HRNet behind masks", "sd", "slim", split="masked"),
    _pays("Self-distillation pays for S-HRNet", "slim-self", "slim"),
    _pays("Self-distillation pays for SD-HRNet", "sd-self", "sd"),
    _pays("Skips pay for 3FabRec", "scaf", "fabrec"),
    _pays("A ConvLSTM makes HRNet steadier", "hrnet-video", "hrnet", "jitter", "video"),
    _pays("A ConvLSTM makes the self-distilled SD-HRNet steadier", "sd-self-video", "sd-self", "jitter", "video"),
    _pays("A ConvLSTM costs HRNet less than 3 % on photographs", "hrnet-video", "hrnet", share=1.03),
    _pays("All tricks together beat HRNet", "sd-self-video", "hrnet"),
    _pays("All tricks together are steadier than HRNet", "sd-self-video", "hrnet", "jitter", "video"),
)
