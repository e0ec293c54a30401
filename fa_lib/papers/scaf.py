"""Paper 5: Dornier, Gosselin, Raymond, Ricquebourg and Coüasnon, SCAF: Skip-Connections in Auto-encoder for Face Alignment
with Few Annotated Data.

Its rows, tables and claims, on 300-W and WFLW. How a row trains is in scaf_training.py.

A row is a network ("fabrec" or "scaf"), perhaps an acquisition function, and how many training faces are annotated, by which
its name ends: `scaf-nnm10-50`. Without a function they are random, by the seed.
"""

import itertools
from dataclasses import dataclass

from fa_lib import runs, training
from fa_lib.data import Augment
from fa_lib.errors import InputError, suggest
from fa_lib.heatmaps import Method
from fa_lib.papers import sources
from fa_lib.papers.scaf_training import Acquired, FineTune, Labels, Pool, Source, Unsupervised
from fa_lib.results import Claim, Table

SLUG = "scaf"
NOTEBOOK = "05_scaf"
OWN_DATA = True  # an auto-encoder and few labels serve any faces
TITLE = "SCAF: Skip-Connections in Auto-encoder for Face Alignment with Few Annotated Data"
OFFICIAL = {"300w": (3148, 689), "wflw": (7500, 2500)}  # training and test faces
NETWORKS = {"fabrec": False, "scaf": True}  # with skips?
FUNCTIONS = {  # acquisition function of a row's name -> score, share of the hardest that is discarded
    "nnm": ("nnm", 0.0), "entropy": ("entropy", 0.0), "nnm10": ("nnm", 0.1), "entropy10": ("entropy", 0.1),
    "kcenter": ("k-center", 0.0),
}  # fmt: skip
START = 10  # random labels that active learning begins with
COUNTS = {"50": 50, "100": 100, "200": 200}  # final numbers of labels ...
SHARES = {"twentieth": 0.05, "tenth": 0.1, "fifth": 0.2, "all": 1.0}  # ... and shares of the training faces, 5 to 100 %
BUDGETS = {"300w": ("50", "twentieth", "tenth"), "wflw": (*COUNTS, "twentieth", "tenth")}  # of active learning
ADDED = {  # section 4.2: how many labels a round adds, K
    "300w": {"50": 10, "twentieth": 30, "tenth": 60},
    "wflw": {"50": 10, "100": 20, "200": 40, "twentieth": 75, "tenth": 100},
}  # fmt: skip
MORE_SEEDS = 5  # random subsets of few faces differ by more than networks do


@dataclass(frozen=True)
class Settings:
    """What a profile trains: width and rate of the auto-encoder, its batch, the weight of its critics, the rendered
    faces it learns from, and how many pictures it sees in the first of its stages; pictures that a detector sees, its batch,
    its rate, the encoder's share of that, its decoder; augmentation; a factor on 10, 50, 100 and 200 labels; whether rounds are
    the budgets themselves; the side of crops and the training faces, where they are not the profile's.
    """

    width: int
    autoencoder_lr: float
    autoencoder_batch: int
    critics: float
    pool: int
    drawn: int
    seen: int
    batch: int
    lr: float
    slower: float
    method: Method
    augment: Augment
    few: float = 1.0
    nested: bool = True
    size: int | None = None
    faces: int | None = None


PLAIN = Augment(flip=0.5, scale=(0.9, 1.06))
TURNED = Augment(flip=0.5, scale=(0.94, 1.05), degrees=30, shift=0.04)  # 3FabRec's, without its shear
SMALL = {"width": 16, "autoencoder_lr": 1e-3, "critics": 0.02, "lr": 3e-3, "slower": 0.1, "method": "local", "augment": PLAIN}
LARGE = {"width": 64, "autoencoder_lr": 2e-5, "critics": 1.0, "lr": 1e-3, "slower": 0.02, "method": "box_blur", "augment": TURNED}
SETTINGS = {
    "smoke": Settings(**SMALL | {"width": 8}, autoencoder_batch=12, pool=24, drawn=24, seen=24, batch=12, few=0.1),
    "quick": Settings(  # small batches: the auto-encoder learns in many short steps what it does not in few long ones
        **SMALL | {"width": 8, "method": "quarter", "autoencoder_lr": 2e-3}, autoencoder_batch=8, pool=600, drawn=1800, seen=256,
        batch=4, few=0.5, faces=500,
    ),
    "desk": Settings(**SMALL, autoencoder_batch=32, pool=4000, drawn=900_000, seen=3600, batch=12, size=64),
    "full": Settings(**LARGE, autoencoder_batch=50, pool=50_000, drawn=100_000, seen=60_000, batch=40),
    "paper": Settings(**LARGE, autoencoder_batch=50, pool=200_000, drawn=50_000_000, seen=400_000, batch=40, nested=False),
}  # fmt: skip


def _rows() -> dict[str, dict]:
    """Row -> what it is: network, budget, and the acquisition function, or how its labels and stages differ."""
    rows: dict[str, dict] = {"autoencoder": {}}
    for net in NETWORKS:
        rows[f"{net}-start"] = {"net": net, "budget": "start"}
        rows |= {f"{net}-{budget}": {"net": net, "budget": budget} for budget in (*COUNTS, *SHARES)}
        for function in FUNCTIONS:
            rows |= {f"{net}-{function}-{b}": {"net": net, "budget": b, "function": function} for b in BUDGETS["wflw"]}
    rows |= {f"fabrec-two-{budget}": {"net": "fabrec", "budget": budget, "two_stages": True} for budget in ("50", "all")}
    rows["fabrec-first-50"] = {"net": "fabrec", "budget": "50", "first": True}
    return rows


_PARTS = _rows()
ROWS = tuple(_PARTS)


def source(profile: str, root: str | None = None, dataset: str = "300w") -> Source:
    """The faces of a profile and data set ("300w", "wflw"): see `sources.prepared`."""
    settings = SETTINGS[profile]
    given = Source, profile, root, dataset, OFFICIAL[dataset], ("test",)
    return sources.prepared(*given, size=settings.size, faces=settings.faces)


def seeds(row: str, profile: str) -> int:
    """How many seeds a row has at least: random subsets differ by more than networks do. A smoke run says nothing anyway."""
    part = _PARTS[row]
    few = part and part["budget"] not in ("start", "all") and not part.keys() & {"function", "first", "two_stages"}
    return MORE_SEEDS if few and profile != "smoke" else 0


def labels(budget: str, faces: int, few: float = 1.0) -> int:
    """How many of `faces` training faces a budget annotates: of shares to the nearest whole one; others times `few`, at least 1.

    >>> labels("tenth", 3148), labels("twentieth", 3148), labels("twentieth", 7500), labels("200", 3148), labels("start", 3148)
    (315, 157, 375, 200, 10)
    """
    if budget in SHARES:
        return max(1, round(SHARES[budget] * faces))
    return max(1, round(few * {"start": START, **COUNTS}[budget]))


def run(row: str, profile: str, seed: int, source: Source) -> runs.Run:
    """The run of a row, with those that it starts from. Raises InputError for a row that there is not.

    Where two budgets are as many labels, as 5 % of 1,000 faces and 50 are, their rows are one run.
    """
    if row not in _PARTS:
        raise InputError(f"{SLUG} has no row {row!r}{suggest(row, ROWS)}; it has {', '.join(ROWS)}")
    if row == "autoencoder":
        return _autoencoder(profile, source)
    return _Rounds(profile, seed, source).run(**_PARTS[row])


def _autoencoder(profile: str, source: Source) -> runs.Run:
    """One for all rows and seeds of a profile; with photographs, where `source` has them, but without their labels."""
    settings = SETTINGS[profile]
    photographs = source if source.root is not None else None
    faces = settings.pool + (source.faces if photographs else 0)
    pool = Pool(settings.pool, source.size, photographs, faces=faces)
    epochs = max(1, round(settings.drawn / faces))
    plan = training.Plan(epochs, settings.autoencoder_batch, settings.autoencoder_lr, drops=(0.8,))
    config = Unsupervised(settings.width, 99, pool, plan, settings.augment, settings.critics)
    return runs.Run(SLUG, "autoencoder", source.dataset if photographs else "synthetic/celeba", profile, 0, config)


class _Rounds:
    """The runs of one profile, seed and source, by network, function and number of labels."""

    def __init__(self, profile: str, seed: int, source: Source) -> None:
        self.profile, self.seed, self.source, self.settings = profile, seed, source, SETTINGS[profile]
        name = source.dataset.removeprefix("synthetic/")
        self.name = name if name in OFFICIAL else "300w"  # a user's own faces take its place

    def count(self, budget: str) -> int:
        """How many labels that is here."""
        return labels(budget, self.source.faces, self.settings.few)

    def run(self, net: str, budget: str, function: str | None = None, two_stages: bool = False, first: bool = False) -> runs.Run:
        """The run of a row, by its parts."""
        if function:
            return self._acquired(net, function, budget)
        among = (*COUNTS, *SHARES) if self.name == "wflw" else ("50", *SHARES)
        budget = self._same(budget, among)
        kind = f"{net}-two" if two_stages else f"{net}-first" if first else net
        return self._detector(f"{kind}-{budget}", net, Labels(self.count(budget), first), two_stages)

    def _same(self, budget: str, among: tuple[str, ...]) -> str:
        """The first of the budgets that is as many labels here."""
        return next((other for other in among if self.count(other) == self.count(budget)), budget)

    def _acquired(self, net: str, function: str, budget: str) -> runs.Run:
        """The last of the rounds that lead to a budget, with those before it.

        From 10 random labels on each adds K, the last one as many as are left (section 4.2). With nested rounds, which need a
        fifth of the time, the rounds are the smaller budgets.
        """
        budget = self._same(budget, BUDGETS[self.name])
        total, known = self.count(budget), self.count("start")
        if self.settings.nested:
            stops = {self.count(other): f"{net}-{function}-{other}" for other in reversed(BUDGETS[self.name])}
            stops = {count: stops[count] for count in sorted(stops) if known < count <= total}
        else:
            added = ADDED[self.name].get(budget, total)
            stops = {count: f"{net}-{function}-{budget}-after{count}" for count in range(known + added, total, added)}
            stops[total] = f"{net}-{function}-{budget}"
        last = self.run(net, "start")
        score, share = FUNCTIONS[function]
        for count, name in stops.items():
            last = self._detector(name, net, Acquired(last, score, count - known, share))
            known = count
        return last

    def _detector(self, row: str, net: str, chosen: Labels | Acquired, two_stages: bool = False) -> runs.Run:
        s, source = self.settings, self.source
        config = FineTune(
            _autoencoder(self.profile, source), NETWORKS[net], two_stages, chosen, source, s.seen, s.batch, s.lr, s.slower,
            s.augment, s.method,
        )  # fmt: skip
        return runs.Run(SLUG, row, source.dataset, self.profile, self.seed, config)


def chains() -> list[list[str]]:
    """Rows that may be trained side by side: the auto-encoder first, then each acquisition function's rounds."""
    plain = [row for row, part in _PARTS.items() if part and "function" not in part and part["budget"] != "start"]
    rounds = [[f"{net}-{f}-{budget}" for budget in BUDGETS["wflw"]] for net in NETWORKS for f in FUNCTIONS]
    return [["autoencoder"], *([f"{net}-start"] for net in NETWORKS), *rounds, *([row] for row in plain)]


def cost(run: runs.Run) -> float:
    """How long a run takes, beside others of its profile: pictures seen, by network."""
    if isinstance(run.config, Unsupervised):
        return 2 * run.config.plan.epochs * run.config.faces
    return run.config.seen


def figures() -> dict:
    """Figure number -> function of a study that draws it (matplotlib is imported here, since training does without)."""
    from fa_lib.papers.scaf_figures import FIGURES

    return FIGURES


_PARTS_OF_ALL = {"100 %": "all", "20 %": "fifth", "10 %": "tenth", "5 %": "twentieth", "50": "50"}
_OURS = {"3FabRec retrained": "fabrec", "SCAF": "scaf"}


def _sizes(method: str, net: str | None, sizes: str = "100 %|20 %|10 %|5 %|50") -> dict[str, str | None]:
    """The rows of a method in Tables 2 and 3, one a size of the training set; without `net` not trained here."""
    return {f"{method}, {size}": net and f"{net}-{_PARTS_OF_ALL[size]}" for size in sizes.split("|")}


_FEW = "10 %|5 %|50"
_PRINTED = {**_sizes("3FabRec", None), "3FabRec, 100 %": "fabrec-two-all", "3FabRec, 50": "fabrec-two-50"}
_COMPARED = {
    **_PRINTED, **_sizes("3FabRec retrained", "fabrec"), **_sizes("SCAF", "scaf"), **_sizes("SCAF + AL", "scaf-nnm10", _FEW),
}  # fmt: skip
_ACQUIRED = {"Random": "", "NNM": "nnm-", "Entropy": "entropy-", "NNM10": "nnm10-", "Entropy10": "entropy10-",
             "K-center-greedy": "kcenter-"}  # fmt: skip
_FINAL = {"50": "50", "100": "100", "200": "200", "5 %": "twentieth", "10 %": "tenth"}


def _chosen(dataset: str) -> dict[str, str]:
    """The rows of Table 4, with the budgets of a data set: label -> row."""
    every = itertools.product(_OURS.items(), _ACQUIRED.items(), _FINAL.items())
    return {
        f"{label}, {name}, {size}": f"{net}-{function}{budget}"
        for (label, net), (name, function), (size, budget) in every
        if budget in BUDGETS[dataset]
    }


TABLES = (
    Table(
        1, "NME in % with all labels, on 300-W and WFLW",
        {**dict.fromkeys(("SDM", "SAN", "LAB", "ODN", "SA", "TS3", "AWing", "LUVLi")), "3FabRec": "fabrec-two-all",
         **{label: f"{net}-all" for label, net in _OURS.items()}},
        ("nme",), ("common", "challenging", "test", "wflw/test"), extra=(),
    ),
    Table(
        2, "NME in % on 300-W, by how many training faces are annotated",
        {**_sizes("RCN+", None, "100 %|20 %|10 %|5 %"), **_sizes("SA", None, "100 %|20 %|10 %|5 %"),
         **_sizes("TS3", None, "100 %|20 %|10 %"), **_COMPARED, "3FabRec retrained, first 50": "fabrec-first-50"},
        ("nme",), ("common", "challenging", "test"), extra=(),
    ),
    Table(
        3, "NME in % on WFLW, by how many training faces are annotated",
        {**_sizes("SA", None, "100 %|20 %|10 %"), **_COMPARED}, ("nme",), "test", extra=(), dataset="wflw",
    ),
    Table(
        4, "NME in % on WFLW, by how the training faces that are annotated were chosen",
        _chosen("wflw"), ("nme",), "test", extra=(), dataset="wflw",
    ),
    # of WFLW there are seldom photographs; of the 2,009 faces that its two open parts of 300-W have, 5 and 10 % are 100 and 201
    Table(
        5, "NME in % on 300-W, by how the training faces that are annotated were chosen: Table 4 on photographs",
        _chosen("300w"), ("nme",), ("common", "challenging", "test"), extra=(), photographs=True,
    ),
)  # fmt: skip


def _skips() -> tuple[Claim, ...]:
    """Claims about SCAF beside 3FabRec, size by size."""
    gains = {"100 %": (-0.06, -0.08), "20 %": (-0.12, -0.16), "10 %": (-0.07, -0.14), "5 %": (-0.14, -0.12), "50": (0.12, 0.32)}
    found = []
    for size, both in gains.items():
        rows, direction = (f"scaf-{_PARTS_OF_ALL[size]}", f"fabrec-{_PARTS_OF_ALL[size]}"), "higher" if size == "50" else "lower"
        text = f"Skips {'raise' if size == '50' else 'lower'} the NME with {size} of labels".replace("50 of", "50")
        found.append(Claim(text, *rows, "nme", "test", direction, paper=both[0]))
        found.append(Claim(f"{text}, on WFLW", *rows, "nme", "test", direction, paper=both[1], dataset="wflw"))
    return tuple(found)


CLAIMS = (
    *_skips(),
    Claim("Skips help challenging faces more than common ones", "scaf-all", "fabrec-all", "nme", "challenging", paper=0.02,
          than=(None, "common")),
    Claim("One stage beats two with all labels, on WFLW", "fabrec-all", "fabrec-two-all", "nme", "test", paper=-0.04,
          dataset="wflw"),
    Claim("One stage beats two with 50 labels, on WFLW", "fabrec-50", "fabrec-two-50", "nme", "test", paper=-0.65,
          dataset="wflw"),
    Claim("One stage beats two with 50 labels", "fabrec-50", "fabrec-two-50", "nme", "test", paper=-0.25),
    Claim("50 random faces beat the first 50 of the list", "fabrec-50", "fabrec-first-50", "nme", "test"),
    Claim("Active learning helps challenging faces with 10 %", "scaf-nnm10-tenth", "scaf-tenth", "nme", "challenging",
          paper=-0.11),
    Claim("Active learning helps challenging faces with 5 %", "scaf-nnm10-twentieth", "scaf-twentieth", "nme", "challenging",
          paper=-0.06),
    Claim("Active learning helps challenging faces with 50", "scaf-nnm10-50", "scaf-50", "nme", "challenging", paper=-0.67),
    Claim("Active learning harms common faces with 10 %", "scaf-nnm10-tenth", "scaf-tenth", "nme", "common", "higher",
          paper=0.12),
    Claim("Active learning beats random faces with 50, on WFLW", "scaf-nnm10-50", "scaf-50", "nme", "test", paper=-0.46,
          dataset="wflw"),
    Claim("Active learning beats random faces with 10 %, on WFLW", "scaf-nnm10-tenth", "scaf-tenth", "nme", "test", paper=-0.04,
          dataset="wflw"),
    *(
        Claim(f"Discarding the hardest helps with {count}", f"scaf-nnm10-{count}", f"scaf-nnm-{count}", "nme", "test", paper=gain,
              dataset="wflw")
        for count, gain in (("50", -0.44), ("100", -0.45), ("200", -0.29))
    ),
    Claim("Discarding no longer helps with 10 %", "scaf-nnm-tenth", "scaf-nnm10-tenth", "nme", "test", paper=-0.02, share=1.01,
          dataset="wflw"),
    *(
        Claim(f"NNM is within 2 % of entropy with {count}", f"scaf-nnm10-{count}", f"scaf-entropy10-{count}", "nme", "test",
              paper=gain, share=1.02, dataset="wflw")
        for count, gain in (("50", 0.07), ("100", 0.03), ("200", -0.01))
    ),
    Claim("NNM beats k-center with 50", "scaf-nnm10-50", "scaf-kcenter-50", "nme", "test", paper=-0.14, dataset="wflw"),
    Claim("K-center beats random faces with 50", "scaf-kcenter-50", "scaf-50", "nme", "test", paper=-0.32, dataset="wflw"),
)  # fmt: skip
