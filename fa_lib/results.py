"""From predictions to numbers: scores per face, tables with intervals beside the papers' numbers, claims with verdicts.

Every metric here is a function of sums over faces, so that a bootstrap sample is a sum of resampled rows. Intervals are 95 %
percentile intervals over resampled groups of faces (a photograph, a clip) and resampled seeds; differences between rows are
paired: the same faces and seeds on both sides.
"""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from types import ModuleType
from typing import Literal

import numpy as np
import pandas as pd
from scipy import stats

from fa_lib import metrics, runs, storage
from fa_lib.data import Faces
from fa_lib.data.twice import Twice
from fa_lib.errors import InputError, suggest

FIELDS = ("kept", "dx", "dy", "r2", "points", "nme", "faces", "failed", "short", "scale", "step2", "steps", "apart")
REJECT, FAIL = 0.05, 0.10  # paper 1's alpha; failure rate and AUC threshold


def features(
    pred: np.ndarray, target: np.ndarray, clips: np.ndarray | None = None, again: np.ndarray | None = None
) -> np.ndarray:
    """Per face (M, len(FIELDS)): what the metrics below need, from landmarks (M, K, 2); inter-ocular normaliser.

    `clips` (M,) names the clip of each frame, for steps from frame to frame; `again` (M, K, 2) are landmarks found on a
    second picture of each face.
    """
    lengths = metrics.lengths(target)
    d = metrics.displacements(pred, target, lengths)  # (M, K, 2)
    distance = np.linalg.norm(d, axis=-1)
    good = distance <= REJECT
    error = distance.mean(-1)
    size = [np.abs(a - a.mean(1, keepdims=True)).sum((1, 2)) for a in (np.asarray(pred, np.float64), target)]
    ones = np.ones(len(error))
    kept = np.where(good[..., None], d, 0)
    columns = [good.sum(-1), kept[..., 0].sum(-1), kept[..., 1].sum(-1), (distance**2 * good).sum(-1)]
    columns += [d.shape[1] * ones, error, ones, error > FAIL, np.minimum(error, FAIL), size[0] / size[1]]
    inside = np.zeros(len(d), bool)  # frames that follow another of their clip
    if clips is not None:
        inside[1:] = clips[1:] == clips[:-1]
    step2 = (np.diff(d, axis=0, prepend=d[:1]) ** 2).sum(-1).mean(-1) / 2  # both axes of the Allan variance
    apart = 0 * ones if again is None else metrics.nme(again, pred, lengths)
    columns += [np.where(inside, step2, 0), inside, apart]
    return np.stack(columns, -1).astype(np.float64)


def _ratio(top: str, bottom: str) -> Callable[[np.ndarray], np.ndarray]:
    return lambda s: s[..., FIELDS.index(top)] / s[..., FIELDS.index(bottom)]


def _nrmse(s: np.ndarray) -> np.ndarray:
    return np.sqrt(s[..., 3] / s[..., 0])


def _bias(s: np.ndarray) -> np.ndarray:
    return np.hypot(s[..., 1], s[..., 2]) / s[..., 0]


METRICS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "bias": _bias,
    "std": lambda s: np.sqrt(np.maximum(_nrmse(s) ** 2 - _bias(s) ** 2, 0)),
    "nrmse": _nrmse,
    "kept": _ratio("kept", "points"),
    "nme": _ratio("nme", "faces"),
    "fr": _ratio("failed", "faces"),
    "auc": lambda s: 1 - _ratio("short", "faces")(s) / FAIL,
    "scale": _ratio("scale", "faces"),
    "jitter": lambda s: np.sqrt(_ratio("step2", "steps")(s)),
    "inconsistency": _ratio("apart", "faces"),
}


@dataclass(frozen=True)
class Estimate:
    """A value with its 95 % interval, and the value of each seed."""

    value: float
    low: float
    high: float
    per_seed: tuple[float, ...]


def estimate(
    scores: np.ndarray, metric: str, groups: Sequence, minus: np.ndarray | None = None, resamples: int = 999
) -> Estimate:
    """`metric` of scores (S seeds, M faces, fields), mean over seeds; or its difference to the scores `minus`, paired.

    Faces of one group (M,) are drawn together. With a single seed the interval speaks of faces alone.
    """
    if not len(groups):  # no pairs labelled twice in a partial set, no challenging faces
        return Estimate(np.nan, np.nan, np.nan, (np.nan,) * len(scores))
    _, member = np.unique(np.asarray(groups), return_inverse=True)
    count, seeds = member.max() + 1, len(scores)

    def pooled(values: np.ndarray) -> np.ndarray:
        sums = np.zeros((seeds, count, values.shape[-1]))
        np.add.at(sums, (slice(None), member), values)
        return sums

    sides = [pooled(scores)] + ([pooled(minus)] if minus is not None else [])
    of = METRICS[metric]

    def value(group: np.ndarray, seed: np.ndarray, axis: int = -1) -> np.ndarray:
        per_side = []
        for sums in sides:
            drawn = of(sums[:, group].sum(-2))  # (S, R)
            per_side.append(np.take_along_axis(np.moveaxis(drawn, 0, -1), seed, -1).mean(-1))
        return per_side[0] - per_side[1] if len(per_side) > 1 else per_side[0]

    with np.errstate(invalid="ignore", divide="ignore"):  # a network may keep no landmark at all
        totals = [of(sums.sum(1)) for sums in sides]
    per_seed = totals[0] - totals[1] if len(totals) > 1 else totals[0]
    sample = (np.arange(count), np.arange(seeds) if seeds > 1 else np.zeros(2, int))
    if count < 2 or not np.isfinite(per_seed).all():
        return Estimate(float(per_seed.mean()), np.nan, np.nan, tuple(map(float, per_seed)))
    with np.errstate(invalid="ignore", divide="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore", stats.DegenerateDataWarning)  # where all resamples agree, the interval says so
        found = stats.bootstrap(
            sample, value, vectorized=True, n_resamples=resamples, batch=100, method="percentile", rng=0
        ).confidence_interval
    return Estimate(float(per_seed.mean()), float(found.low), float(found.high), tuple(map(float, per_seed)))


@dataclass(frozen=True)
class Table:
    """A table of a paper: label -> row of ours (None: not trained here), the metrics of its columns, the test set."""

    number: int
    title: str
    rows: dict[str, str | None]
    columns: tuple[str, ...]
    split: str
    factor: float


@dataclass(frozen=True)
class Claim:
    """A sentence of a paper as a comparison: `metric` of row `ours` is lower (or higher) than that of row `other`."""

    text: str
    ours: str
    other: str
    metric: str
    split: str
    direction: Literal["lower", "higher"] = "lower"
    paper: float | None = None  # the paper's own difference, in the unit of its table


class Study:
    """The finished runs of a paper at one profile and on one data set, and what follows from them.

    `paper` is a module of fa_lib.papers; `root` the folder of real data, None for rendered faces. Missing runs are trained.
    """

    def __init__(self, paper: ModuleType, profile: str = "quick", root: str | None = None, seeds: int | None = None) -> None:
        if profile not in runs.PROFILES:
            hint = suggest(profile, runs.PROFILES)
            raise InputError(f"there is no profile {profile!r}{hint}; there are: {', '.join(runs.PROFILES)}")
        self.paper, self.profile = paper, runs.PROFILES[profile]
        self.source = paper.source(profile, root)
        self.seeds = self.profile.seeds[:seeds]
        self._scores: dict[tuple[str, str], np.ndarray] = {}

    def run(self, row: str, seed: int) -> runs.Run:
        """The run of a row and seed; InputError names the rows there are."""
        return self.paper.run(row, self.profile.name, seed, self.source)

    def trained(self, row: str) -> list[runs.Trained]:
        """The finished runs of a row, one a seed."""
        return [runs.get(self.run(row, seed)) for seed in self.seeds]

    @cached_property
    def test(self) -> Faces:
        """Test faces."""
        return self.source.test()

    @cached_property
    def video(self) -> Faces:
        """Frames of the test clips."""
        return self.source.video()

    @cached_property
    def twice(self) -> Twice:
        """Faces that were annotated twice."""
        return self.source.twice()

    def _faces(self, split: str) -> tuple[str, Faces, np.ndarray]:
        """The predictions' name, the faces, and the mask of a split."""
        if split in ("video", "still"):
            every = np.ones(len(self.video), bool)
            return "video", self.video, every if split == "video" or self.video.still is None else self.video.still
        every = np.ones(len(self.test), bool)
        return "test", self.test, every if split in ("test", "truth", "twice") else self.test.subset == split

    def groups(self, split: str) -> np.ndarray:
        """What belongs together in a split: photographs, clips."""
        _, faces, mask = self._faces(split)
        return self.twice.group if split == "twice" else faces.group[mask]

    def scores(self, row: str, split: str) -> np.ndarray:
        """(S, M, fields) of a row on `test`, `common`, `challenging`; `video`, `still` (frames without motion); `truth` (exact
        landmarks, rendered only); `twice` (faces annotated twice, where the row may be "labels": the annotators themselves).
        """
        if (row, split) not in self._scores:
            self._scores[row, split] = np.stack(self._twice(row) if split == "twice" else self._once(row, split))
        return self._scores[row, split]

    def _once(self, row: str, split: str) -> list[np.ndarray]:
        name, faces, mask = self._faces(split)
        exact = split in ("truth", "still") and faces.truth is not None
        target = (faces.truth if exact else faces.landmarks)[mask] - faces.offset
        clips = faces.group[mask] if name == "video" else None
        return [features(t.predictions[name][mask], target, clips) for t in self.trained(row)]

    def _twice(self, row: str) -> list[np.ndarray]:
        labels = self.twice.first_labels
        if row == "labels":
            return [features(labels, labels, again=self.twice.second_labels)] * len(self.seeds)
        found = [t.predictions for t in self.trained(row)]
        return [features(f["twice_first"], labels, again=f["twice_second"]) for f in found]

    def estimate(self, row: str, metric: str, split: str = "test", minus: str | None = None) -> Estimate:
        """A metric of a row, or its paired difference to the row `minus`, with interval."""
        other = self.scores(minus, split) if minus else None
        return estimate(self.scores(row, split), metric, self.groups(split), other)

    def about(self, split: str) -> str:
        """One line under a table: data set, split, normaliser, box, profile, seeds, device."""
        _, faces, mask = self._faces(split)
        shown = {row for table in self.paper.TABLES for row in table.rows.values() if row}
        devices = sorted({t.provenance["device"] for row in shown for t in self.trained(row)})
        watermark = " SMOKE RUN: sizes are too small for the numbers to mean anything." if self.profile.name == "smoke" else ""
        parts = (
            faces.title, f"learned from {self.source.faces} faces", f"{split}: {mask.sum()} faces", "inter-ocular normaliser",
            f"landmark box x 1.4; {self.source.size} px; profile {self.profile.name}; {len(self.seeds)} seeds", *devices,
        )  # fmt: skip
        return "; ".join(parts) + "." + watermark


def published(paper: ModuleType) -> pd.DataFrame:
    """The numbers that a paper prints: table, label, metric, value (in the table's own unit)."""
    return pd.read_csv(storage.PROJECT / "figures" / "published" / f"{paper.SLUG}.csv", comment="#")


def folder(paper: ModuleType, profile: str, dataset: str) -> str:
    """Where tables and figures of a study go, below figures/: rendered faces at the top, other data sets one deeper."""
    return f"{profile}/{paper.SLUG}" + ("" if dataset.startswith("synthetic/") else f"/{dataset}")


def recorded(paper: ModuleType, number: int, dataset: str) -> pd.DataFrame | None:
    """The committed result of a table: of profile `full`, else `desk`, else None."""
    for profile in ("full", "desk"):
        file = storage.PROJECT / "figures" / folder(paper, profile, dataset) / f"tab{number:02d}.csv"
        if file.exists():
            return pd.read_csv(file)
    return None


def measure(study: Study, table: Table) -> pd.DataFrame:
    """This study's numbers for a table, tidy: one line a label and metric, with interval and provenance."""
    lines = []
    for label, row in table.rows.items():
        if row is None:
            continue
        trained = study.trained(row)
        origin = {
            "dataset": study.source.dataset, "title": study._faces(table.split)[1].title, "train_faces": study.source.faces,
            "split": table.split,
            "normaliser": "inter_ocular", "box": "landmarks x 1.4", "profile": study.profile.name, "size": study.source.size,
            "seeds": len(trained), "device": trained[0].provenance["device"], "code": trained[0].provenance["code"],
            "hours": round(sum(t.provenance["seconds"] for t in trained) / 3600, 4),
            "runs": " ".join(t.run.hash for t in trained),
        }  # fmt: skip
        for metric in (*table.columns, "kept", "nme"):
            found = study.estimate(row, metric, table.split)
            factor = {"kept": 100, "nme": 100}.get(metric, table.factor)
            values = {"value": found.value * factor, "low": found.low * factor, "high": found.high * factor}
            lines.append({"label": label, "row": row, "metric": metric, **values, **origin})
    return pd.DataFrame(lines)


def table(study: Study, number: int) -> pd.DataFrame:
    """A table of the paper to look at: one line a label; for each metric paper | recorded | this run with interval."""
    definition = next((t for t in study.paper.TABLES if t.number == number), None)
    if definition is None:
        raise InputError(f"{study.paper.SLUG} has no table {number}: choose from {[t.number for t in study.paper.TABLES]}")
    printed = published(study.paper).query("table == @number").set_index(["label", "metric"])["value"]
    now = measure(study, definition).set_index(["label", "metric"])
    before = recorded(study.paper, number, study.source.dataset)
    current = runs.code_hash(study.run(study.paper.ROWS[0], 0).config.code)
    kept = before.set_index(["label", "metric"]) if before is not None else None
    lines = {}
    for label in definition.rows:
        line = {}
        for metric in (*definition.columns, "kept", "nme"):
            if metric in definition.columns:
                line[metric, "paper"] = f"{printed[label, metric]:g}" if (label, metric) in printed.index else "–"
            line[metric, "recorded"] = _cell(kept, label, metric, current)
            line[metric, "this run"] = _cell(now, label, metric)
        lines[label] = line
    found = pd.DataFrame.from_dict(lines, orient="index")
    found.columns = pd.MultiIndex.from_tuples(found.columns)
    return found


def _cell(frame: pd.DataFrame | None, label: str, metric: str, current: str | None = None) -> str:
    if frame is None or (label, metric) not in frame.index:
        return "–"
    line = frame.loc[(label, metric)]
    if np.isnan(line["value"]):
        return "–"  # no landmark was near enough to be kept
    old = " (stale)" if current and line["code"] != current else ""
    return f"{line['value']:.3g} [{line['low']:.3g}, {line['high']:.3g}]{old}"


def verdict(difference: Estimate, direction: str) -> str:
    """reproduced, not reproduced (the interval lies on the other side of 0), or undecided (it holds 0).

    >>> verdict(Estimate(-2.0, -3.0, -1.0, ()), "lower")
    'reproduced'
    """
    sign = 1 if direction == "lower" else -1
    if not np.isfinite([difference.low, difference.high]).all():
        return "undecided"
    low, high = sorted((sign * difference.low, sign * difference.high))
    return "reproduced" if high < 0 else "not reproduced" if low > 0 else "undecided"


def claims(study: Study) -> pd.DataFrame:
    """Every claim of the paper with its difference here (mean, interval; same unit as the paper's) and a verdict."""
    lines = []
    for claim in study.paper.CLAIMS:
        found = study.estimate(claim.ours, claim.metric, claim.split, minus=claim.other)
        factor = {"nme": 100, "kept": 100}.get(claim.metric, 1000)
        lines.append(
            {
                "claim": claim.text, "comparison": f"{claim.ours} - {claim.other}", "metric": claim.metric, "split": claim.split,
                "expected": claim.direction, "paper": claim.paper, "here": found.value * factor, "low": found.low * factor,
                "high": found.high * factor, "verdict": verdict(found, claim.direction),
            }
        )  # fmt: skip
    return pd.DataFrame(lines)
