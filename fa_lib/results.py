"""From a study's scores to tables beside the papers' numbers, and to claims with verdicts; see study.py and scores.py."""

import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from types import ModuleType
from typing import Literal

import numpy as np
import pandas as pd

from fa_lib import runs, storage
from fa_lib.errors import InputError
from fa_lib.scores import UNITS, Estimate, contrast
from fa_lib.study import Study


@dataclass(frozen=True)
class Table:
    """A table of a paper: label -> row of ours (None: not trained here), the metrics of its columns, the test set or sets.

    `dataset`: which of the paper's data sets, None for its first; a test set of another one is written "cofw/test".
    `costs`: for a table of what networks cost, a function of a study and a row that measures its columns; such a table needs
    no run. `gaps`: pairs of a row and a data set where the paper has a dash, and nothing is trained.
    `photographs`: a table of ours beside the paper's, made where the first data set's faces are real.
    """

    number: int
    title: str
    rows: dict[str, str | None]
    columns: tuple[str, ...]
    split: str | tuple[str, ...]
    factor: float = 1.0
    extra: tuple[str, ...] = ("kept", "nme")  # columns of ours that the paper does not have
    dataset: str | None = None
    costs: Callable[[Study, str], dict[str, float]] | None = None
    gaps: tuple[tuple[str, str], ...] = ()
    photographs: bool = False

    @property
    def splits(self) -> tuple[str, ...]:
        """The test sets, also where there is one."""
        return (self.split,) if isinstance(self.split, str) else self.split

    def locate(self, split: str) -> tuple[str | None, str]:
        """The data set (None: the paper's first) and the name of a test set as the table has it."""
        dataset, _, name = split.rpartition("/")
        return dataset or self.dataset, name

    @property
    def datasets(self) -> tuple[str | None, ...]:
        """The data sets of its test sets."""
        return tuple(dict.fromkeys(self.locate(split)[0] for split in self.splits))

    @property
    def metrics(self) -> tuple[str, ...]:
        """Its columns, then ours."""
        return tuple(dict.fromkeys((*self.columns, *self.extra)))


@dataclass(frozen=True)
class Claim:
    """A sentence of a paper as a comparison: `metric` of row `ours` is lower (or higher) than `share` of that of row `other`.

    With `than`, a data set and a split: that difference is lower (or higher) than the same difference there.
    """

    text: str
    ours: str
    other: str
    metric: str
    split: str
    direction: Literal["lower", "higher"] = "lower"
    paper: float | None = None  # the paper's own difference, in the unit of its table
    dataset: str | None = None
    than: tuple[str | None, str] | None = None
    share: float = 1.0


def published(paper: ModuleType) -> pd.DataFrame:
    """The numbers that a paper prints: table, label, split, metric, value (in the table's own unit); none for a study of ours."""
    file = storage.PROJECT / "figures" / "published" / f"{paper.SLUG}.csv"
    if not file.exists():
        return pd.DataFrame(columns=["table", "label", "split", "metric", "value"])
    found = pd.read_csv(file, comment="#")
    if "split" not in found:  # a paper whose tables have one test set each
        found["split"] = found["table"].map({t.number: t.split for t in paper.TABLES})
    return found


def folder(paper: ModuleType, profile: str, dataset: str) -> str:
    """Where tables and figures of a study go, below figures/: rendered faces at the top, other data sets one deeper."""
    return f"{profile}/{paper.SLUG}" + ("" if dataset.startswith("synthetic/") else f"/{dataset}")


KEY = ["label", "split", "metric"]  # what makes a number of a table the same number


def recorded(paper: ModuleType, number: int, dataset: str) -> pd.DataFrame | None:
    """The committed result of a table: of profile `full`, else `desk`, else None."""
    for profile in ("full", "desk"):
        file = storage.PROJECT / "figures" / folder(paper, profile, dataset) / f"tab{number:02d}.csv"
        if file.exists():
            return pd.read_csv(file)
    return None


def measure(study: Study, table: Table) -> pd.DataFrame:
    """This study's numbers for a table, tidy: one line a label, test set and metric, with interval and provenance."""
    lines = []
    for label, row in table.rows.items():
        if row is None:
            continue
        if table.costs:
            costs, where = (
                table.costs(study.on(table.dataset), row),
                {"dataset": "", "split": table.split, "profile": study.profile.name},
            )
            lines += [
                {"label": label, "row": row, "metric": m, "value": v, "low": v, "high": v, **where} for m, v in costs.items()
            ]
            continue
        for split in table.splits:
            dataset, name = table.locate(split)
            if (row, dataset) in table.gaps:
                continue
            part = study.on(dataset)
            origin = {**_origin(part, row, name), "split": split}
            for metric in table.metrics:
                found, factor = part.estimate(row, metric, name), UNITS.get(metric, table.factor)
                values = {"value": found.value * factor, "low": found.low * factor, "high": found.high * factor}
                lines.append({"label": label, "row": row, "metric": metric, **values, **origin})
    return pd.DataFrame(lines)


def _origin(study: Study, row: str, split: str) -> dict:
    """Where a row's numbers on a test set come from."""
    faces, trained = study._faces(split)[1], study.trained(row)
    return {
        "dataset": study.source.dataset, "title": faces.title, "train_faces": trained[0].run.config.faces,
        "split": split, "normaliser": faces.scheme.normaliser, "box": "landmarks x 1.4",
        "profile": study.profile.name, "size": study.source.size,
        "seeds": len(trained), "device": trained[0].provenance["device"], "code": trained[0].provenance["code"],
        "hours": round(sum(t.provenance["seconds"] for t in trained) / 3600, 4),
        "runs": " ".join(t.run.hash for t in trained),
    }  # fmt: skip


def table(study: Study, number: int | Table) -> pd.DataFrame:
    """A table of the paper to look at: the paper's number | the recorded one | this run's with interval.

    One line a label where there is one test set; else a line a metric, label and origin, and a column a test set.
    """
    definition = number if isinstance(number, Table) else numbered(study.paper, number)
    now = measure(study, definition).set_index(KEY)
    before = recorded(study.paper, definition.number, study.on(definition.dataset).source.dataset)
    kept = before.set_index(KEY) if before is not None else None

    def cells(row: str | None, at: tuple[str, str, str]) -> dict[str, str]:
        current = None if definition.costs or row is None else runs.code_hash(study.run(row, 0).config.code)
        dataset, name = definition.locate(at[1])
        absent = row and definition.costs is None and not study.on(dataset).has(name)
        return {"recorded": _cell(kept, at, current), "this run": "no such data" if absent else _cell(now, at)}

    return _side_by_side(study.paper, definition, cells)


def recorded_table(paper: ModuleType, number: int, found: pd.DataFrame, codes: Mapping[str, str]) -> pd.DataFrame:
    """The same from a recorded table alone: the paper's number | the recorded one, of the test sets that were recorded.

    `codes`: what the hash of a recorded number's code is now, where that is known; where it is another one the number is stale.
    """
    definition, kept = numbered(paper, number), found.set_index(KEY)
    present = set(found["split"])
    code = kept["code"].map(lambda code: codes.get(code, code)) if "code" in kept else pd.Series(dtype=str)
    definition = replace(definition, split=tuple(split for split in definition.splits if split in present))
    return _side_by_side(paper, definition, lambda _, at: {"recorded": _cell(kept, at, code.get(at))})


def _side_by_side(
    paper: ModuleType, definition: Table, cells: Callable[[str | None, tuple[str, str, str]], dict[str, str]]
) -> pd.DataFrame:
    """The paper's numbers and, for a row and each label, split and metric, what `cells` says, laid out as `table` has them."""
    every = published(paper)
    printed = every[every["table"] == definition.number].set_index(KEY)["value"]
    wide, lines = len(definition.splits) > 1, {}
    for metric, (label, row), split in itertools.product(definition.metrics, definition.rows.items(), definition.splits):
        at = (label, split, metric)
        told = {"paper": f"{printed[at]:g}" if at in printed.index else "–"} if len(printed) else {}
        told |= cells(row, at)
        if metric not in definition.columns:
            told.pop("paper", None)
        for origin, text in told.items():
            if wide and (row or origin == "paper"):
                lines.setdefault((metric, label, origin), {})[split] = text
            elif not wide:
                lines.setdefault(label, {})[metric, origin] = text
    found = pd.DataFrame.from_dict(lines, orient="index")
    if wide:
        found.index = pd.MultiIndex.from_tuples(found.index)
    else:
        found.columns = pd.MultiIndex.from_tuples(found.columns)
    return found


def numbered(paper: ModuleType, number: int) -> Table:
    """The table of a paper with this number; InputError names those there are."""
    found = next((t for t in paper.TABLES if t.number == number), None)
    if found is None:
        raise InputError(f"{paper.SLUG} has no table {number}: choose from {[t.number for t in paper.TABLES]}")
    return found


def about(study: Study, table: Table) -> str:
    """Under a table: one line of provenance for each of its data sets; none for a table of what networks cost."""
    if table.costs:
        return ""
    names = {dataset: [table.locate(s)[1] for s in table.splits if table.locate(s)[0] == dataset] for dataset in table.datasets}
    return "\n".join(study.on(dataset).about(*splits) for dataset, splits in names.items())


def _cell(frame: pd.DataFrame | None, at: tuple[str, str, str], current: str | None = None) -> str:
    if frame is None or at not in frame.index:
        return "–"
    line = frame.loc[at]
    if np.isnan(line["value"]):
        return "–"  # no landmark was near enough to be kept
    if line["low"] == line["high"] == line["value"]:
        return f"{line['value']:.4g}"  # counted, not sampled
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


def difference(study: Study, claim: Claim) -> Estimate:
    """What a claim compares, measured here, in the metric's own unit."""
    here = study.on(claim.dataset).estimate(claim.ours, claim.metric, claim.split, minus=claim.other, share=claim.share)
    if claim.than is None:
        return here
    dataset, split = claim.than
    return contrast(here, study.on(dataset).estimate(claim.ours, claim.metric, split, minus=claim.other))


def comparison(claim: Claim) -> str:
    """The two rows that a claim compares, as its line says it.

    >>> comparison(Claim("Within 2 %", "sd", "hrnet", "nme", "test", share=1.02))
    'sd - 1.02 x hrnet'
    """
    return f"{claim.ours} - {claim.other if claim.share == 1 else f'{claim.share:g} x {claim.other}'}"


def claims(study: Study) -> pd.DataFrame:
    """Every claim of the paper with its difference here (mean, interval; same unit as the paper's), a verdict and provenance.

    `files` names the code that `code` is the hash of (`runs.code_hash`), by commas; there are several where rows differ.
    """
    lines = []
    for claim in study.paper.CLAIMS:
        found, factor = difference(study, claim), UNITS.get(claim.metric, 1000)
        sets = [(claim.dataset, claim.split), *([claim.than] if claim.than else [])]
        known = all(study.on(dataset).has(split) for dataset, split in sets)
        lines.append(
            {
                "claim": claim.text, "comparison": comparison(claim), "metric": claim.metric,
                "split": " - ".join(_where(study, *one) for one in sets),
                "expected": claim.direction, "paper": claim.paper, "here": found.value * factor, "low": found.low * factor,
                "high": found.high * factor, "verdict": verdict(found, claim.direction) if known else "no such data",
                **_origin_of_claim(study, claim, sets),
            }
        )  # fmt: skip
    return pd.DataFrame(lines).astype({"paper": float})  # a study of our own has no number of a paper at all


def _origin_of_claim(study: Study, claim: Claim, sets: list[tuple[str | None, str]]) -> dict:
    """Where the numbers of both rows come from; what differs between them, or between data sets, is listed."""
    parts = [study.on(dataset) for dataset, _ in sets]
    rows = [row for row in (claim.ours, claim.other) if row in study.paper.ROWS]  # annotators were not trained
    trained = [part.trained(row) for part in parts for row in rows]
    origins = [t.provenance for seeds in trained for t in seeds]
    codes = dict.fromkeys((origin["code"], ",".join(origin["files"])) for origin in origins)
    return {
        "dataset": " - ".join(dict.fromkeys(part.source.dataset for part in parts)),
        "title": " - ".join(dict.fromkeys(part._faces(split)[1].title for part, (_, split) in zip(parts, sets))),
        "profile": study.profile.name, "size": study.source.size, "seeds": min(map(len, trained)),
        "device": "; ".join(dict.fromkeys(origin["device"] for origin in origins)),
        "code": " ".join(code for code, _ in codes), "files": " ".join(files for _, files in codes),
        "runs": " ".join(dict.fromkeys(t.run.hash for seeds in trained for t in seeds)),
    }  # fmt: skip


def _where(study: Study, dataset: str | None, split: str) -> str:
    """A test set as claims name it: rendered faces are called so where the study is of real ones."""
    return split if dataset is None else f"{study.on(dataset).source.dataset} {split}"
