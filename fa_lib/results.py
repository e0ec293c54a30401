"""From predictions to numbers: a study's scores, tables beside the papers' numbers, claims with verdicts; see scores.py."""

from dataclasses import dataclass
from functools import cached_property
from types import ModuleType
from typing import Literal

import numpy as np
import pandas as pd

from fa_lib import metrics, runs, storage
from fa_lib.data import Faces
from fa_lib.data.twice import Twice
from fa_lib.errors import InputError, suggest
from fa_lib.scores import Estimate, estimate, features


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
        return "test", self.test, every if split in ("test", "truth", "twice") else self.test.part(split)

    def has(self, split: str) -> bool:
        """Whether there is anything to measure on a split: many data sets have no clips, and no face that was labelled twice."""
        return len(self.groups(split)) > 0

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
        target = (faces.truth if exact else faces.landmarks) - faces.offset
        clips = faces.group[mask] if name == "video" else None
        lengths = faces.lengths(target)[mask]
        return [features(t.predictions[name][mask], target[mask], clips, lengths=lengths) for t in self.trained(row)]

    def _twice(self, row: str) -> list[np.ndarray]:
        labels = self.twice.first_labels
        lengths = metrics.lengths(labels, scheme=self.test.scheme)
        if row == "labels":
            return [features(labels, labels, again=self.twice.second_labels, lengths=lengths)] * len(self.seeds)
        found = [t.predictions for t in self.trained(row)]
        return [features(f["twice_first"], labels, again=f["twice_second"], lengths=lengths) for f in found]

    def estimate(self, row: str, metric: str, split: str = "test", minus: str | None = None) -> Estimate:
        """A metric of a row, or its paired difference to the row `minus`, with interval."""
        other = self.scores(minus, split) if minus else None
        return estimate(self.scores(row, split), metric, self.groups(split), other)

    def about(self, split: str) -> str:
        """One line under a table: data set, split, normaliser, box, profile, seeds, device."""
        _, faces, mask = self._faces(split)
        if not self.has(split):
            return f"{faces.title}: no such data ({split})."
        shown = {row for table in self.paper.TABLES for row in table.rows.values() if row}
        trained = [t for row in shown for t in self.trained(row)]
        devices = sorted({t.provenance["device"] for t in trained})
        learned = " or ".join(f"{faces:,}" for faces in sorted({t.run.config.faces for t in trained}))
        watermark = " SMOKE RUN: sizes are too small for the numbers to mean anything." if self.profile.name == "smoke" else ""
        parts = (
            faces.title, f"learned from {learned} faces", f"{split}: {mask.sum()} faces",
            f"errors over the {faces.scheme.ruler}",
            f"landmark box x 1.4; {self.source.size} px; profile {self.profile.name}; {len(self.seeds)} seeds", *devices,
        )  # fmt: skip
        return "; ".join(parts) + "." + watermark


def published(paper: ModuleType) -> pd.DataFrame:
    """The numbers that a paper prints: table, label, metric, value (in the table's own unit); none for a study of our own."""
    file = storage.PROJECT / "figures" / "published" / f"{paper.SLUG}.csv"
    return pd.read_csv(file, comment="#") if file.exists() else pd.DataFrame(columns=["table", "label", "metric", "value"])


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
    lines, faces = [], study._faces(table.split)[1]
    for label, row in table.rows.items():
        if row is None:
            continue
        trained = study.trained(row)
        origin = {
            "dataset": study.source.dataset, "title": faces.title, "train_faces": trained[0].run.config.faces,
            "split": table.split, "normaliser": faces.scheme.normaliser, "box": "landmarks x 1.4",
            "profile": study.profile.name, "size": study.source.size,
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
    now, absent = measure(study, definition).set_index(["label", "metric"]), not study.has(definition.split)
    before = recorded(study.paper, number, study.source.dataset)
    current = runs.code_hash(study.run(study.paper.ROWS[0], 0).config.code)
    kept = before.set_index(["label", "metric"]) if before is not None else None
    lines = {}
    for label in definition.rows:
        line = {}
        for metric in (*definition.columns, "kept", "nme"):
            if metric in definition.columns and len(printed):
                line[metric, "paper"] = f"{printed[label, metric]:g}" if (label, metric) in printed.index else "–"
            line[metric, "recorded"] = _cell(kept, label, metric, current)
            line[metric, "this run"] = "no such data" if absent and definition.rows[label] else _cell(now, label, metric)
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
                "high": found.high * factor,
                "verdict": verdict(found, claim.direction) if study.has(claim.split) else "no such data",
            }
        )  # fmt: skip
    return pd.DataFrame(lines).astype({"paper": float})  # a study of our own has no number of a paper at all
