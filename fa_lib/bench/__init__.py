"""`fa bench`: how fast the package is on this machine, beside what the machine can do and beside the plain way of this field."""

import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from fa_lib import runs, storage, training
from fa_lib.bench import measure, report, works
from fa_lib.errors import InputError, suggest

GROUPS = tuple(dict.fromkeys(work.group for work in works.WORKS))


def run(only: str | None = None) -> str:
    """Measures all, or one group of GROUPS; returns the table, and writes it with a picture unless it is of one group alone.

    Takes up to five minutes on two cores. Wherever a library is missing, the line says which. The files are
    figures/bench/<device>/bench.csv and .svg. Raises InputError for a group that there is not.

    >>> run("pipelne")
    Traceback (most recent call last):
    fa_lib.errors.InputError: --only 'pipelne', did you mean 'pipeline'?: choose one of pipeline, training, inference, decoding, \
acquisition, rendering, video
    """
    if only is not None and only not in GROUPS:
        raise InputError(f"--only {only!r}{suggest(only, GROUPS)}: choose one of {', '.join(GROUPS)}")
    where = training.device()
    chosen = [work for work in works.WORKS if only in (None, work.group)]
    progress = _Progress(chosen)
    with tempfile.TemporaryDirectory() as folder, measure.threads(measure.cores()):
        progress("the machine's ceilings")
        limits = measure.ceilings(where)
        stage = works.Stage(where, Path(folder))
        lines = []
        for work in chosen:
            progress(f"{work.group}, {work.name}", work)
            lines.append(line(work, stage, limits))
        progress.end()
    lines += share_of_training(lines)
    measure.keep_pages(False)
    origin = runs.provenance(where)
    device = measure.device_name(where)
    origin = {"device": device, "torch": origin["torch"], "commit": origin["commit"], "date": origin["date"][:10]}
    frame = report.joined(limits, lines).assign(**origin)
    text = report.table(frame, device)
    if only:
        return f"{text}\n(nothing is written: with --only the table is not whole)"
    with storage.disk_errors("figures/bench"):
        target = storage.PROJECT / "figures" / "bench" / measure.folder_name(device) / "bench"
        return f"{text}\n{' and '.join(map(str, report.save(frame, device, target)))}"


def line(work: works.Work, stage: works.Stage, limits: dict[tuple[str, int], measure.Ceiling]) -> dict:
    """One line of the table: milliseconds a unit with quartiles, the plain way's, their ratio, the ceiling and the target."""
    row = {"group": work.group, "work": work.name, "unit": f"ms a {work.unit}", "plain": work.plain}
    try:
        calls = work.make(stage)
    except ImportError as error:
        return row | {"note": f"not measured: {error.name} is not installed"}
    with measure.threads(calls.threads or measure.cores()):
        ways = {"ours": calls.ours} | ({"plain": calls.plain} if calls.plain else {})
        taken = measure.paired(ways, work.seconds, stage.where)
    row |= dict(zip(("value", "low", "high"), measure.spread(taken["ours"] / calls.count)))
    row |= {"threads": calls.threads, "rounds": len(taken["ours"])}
    ratio = np.nan
    if calls.plain:
        row |= dict(zip(("plain_value", "plain_low", "plain_high"), measure.spread(taken["plain"] / calls.plain_count)))
        faster = (taken["plain"] / calls.plain_count) / (taken["ours"] / calls.count)
        ratio, low, high = measure.spread(faster)
        row |= {"ratio": ratio, "ratio_low": low, "ratio_high": high}
    best = max(limits[calls.rate, calls.threads].rate[0], limits["convolution", calls.threads].rate[0])
    if calls.rate == "int8":
        best = limits["int8", calls.threads].rate[0]
    least = max(calls.flops / best, calls.moved / limits["copy", calls.threads].rate[0]) / 1e6  # milliseconds
    row |= {"ceiling": least, "reached": least / row["value"]}
    target = work.aim(stage.where.type == "cuda")
    if target:
        row |= {"target": str(target), "verdict": "met" if target.met(row["value"], ratio) else "missed"}
    return row


def share_of_training(lines: list[dict]) -> list[dict]:
    """A line that says how large the pipeline is beside the training step of HRNet, where both were measured; else none.

    >>> timed = [{"group": "pipeline", "work": "whole machine", "value": 1.0, "low": 0.5, "high": 2.0}]
    >>> timed += [{"group": "training", "work": "HRNetV2-W18", "value": 100.0, "low": 50.0, "high": 200.0}]
    >>> [share_of_training(timed)[0][key] for key in ("value", "low", "high", "verdict")]
    [1.0, 0.25, 4.0, 'met']
    """
    timed = [one for one in lines if "value" in one]
    parts = [one for one in timed if one["group"] == "pipeline" and one["work"].endswith("whole machine")]
    steps = [one for one in timed if one["group"] == "training" and one["work"].startswith("HRNetV2-W18")]
    if not (parts and steps):
        return []
    part, step = parts[0], steps[0]
    row = {
        "group": "pipeline",
        "work": "share of HRNet's training step",
        "unit": "%",
        "value": 100 * part["value"] / step["value"],
    }
    row |= {"low": 100 * part["low"] / step["high"], "high": 100 * part["high"] / step["low"], "target": "<= 5 %"}
    return [row | {"verdict": "met" if row["value"] <= 5 else "missed"}]


class _Progress:
    """What is being measured and about how long the rest takes, on stderr."""

    def __init__(self, chosen: list[works.Work]) -> None:
        self.left, self.done, self.begin = sum(w.seconds + 3 for w in chosen) + 5.0, 0.0, time.monotonic()
        self.whole, self.current, self.watched = self.left, 5.0, sys.stderr.isatty()

    def __call__(self, what: str, work: works.Work | None = None) -> None:
        spent = time.monotonic() - self.begin
        if work:
            self.done, self.current = self.done + self.current, work.seconds + 3
        share = max(1.0, spent / self.done) if self.done else 1.5
        text = f"fa bench: {what}; about {share * (self.whole - self.done):.0f} s left"
        print(f"\r{text}\033[K" if self.watched else text, end="" if self.watched else "\n", file=sys.stderr, flush=True)

    def end(self) -> None:
        print("\r\033[K" if self.watched else f"fa bench: {time.monotonic() - self.begin:.0f} s", file=sys.stderr)
