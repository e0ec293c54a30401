"""The table and the picture of `fa bench`."""

from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from fa_lib import plots
from fa_lib.bench.measure import Ceiling

COLUMNS = (
    "group", "work", "threads", "rounds", "unit", "value", "low", "high", "plain", "plain_value", "plain_low", "plain_high",
    "ratio", "ratio_low", "ratio_high", "ceiling", "reached", "target", "verdict", "note",
)  # fmt: skip


def joined(limits: dict[tuple[str, int], Ceiling], lines: list[dict]) -> pd.DataFrame:
    """The ceilings, whose value is a rate, and the lines of all work, in COLUMNS."""
    first = []
    for one in limits.values():
        rate = dict(zip(("value", "low", "high"), one.rate))
        first.append({"group": "ceiling", "work": one.name, "threads": one.threads, "unit": one.unit, **rate})
    return pd.DataFrame([*first, *lines]).reindex(columns=list(COLUMNS))


def short(value: float) -> str:
    """A number of three digits, "–" for none.

    >>> short(0.01234), short(12.34), short(12345.6), short(float("nan"))
    ('0.0123', '12.3', '12,346', '–')
    """
    if np.isnan(value):
        return "–"
    return f"{value:,.0f}" if value >= 100 else f"{value:#.3g}".rstrip(".")


def table(frame: pd.DataFrame, device: str) -> str:
    """The table as people read it: a line a work; medians with quartiles in brackets; what was not measured says why."""
    text = [f"{device}; medians with quartiles"]
    for one in frame[frame["group"] == "ceiling"].itertuples():
        threads = f"{one.threads} thread{'s' * (one.threads > 1)}" if one.threads else "GPU"
        text.append(f"  ceiling: {one.work}, {threads}: {short(one.value)} [{short(one.low)}, {short(one.high)}] {one.unit}")
    head = ("", "unit", "here", "plain way", "plain / here", "of ceiling", "target", "")
    rows = [head]
    for one in frame[frame["group"] != "ceiling"].itertuples():
        name = f"{one.group}: {one.work}"
        if isinstance(one.note, str):
            rows.append((name, one.unit, one.note, "", "", "", "", ""))
            continue
        reached = "–" if np.isnan(one.reached) else f"{100 * one.reached:.2g} %"
        cells = [
            f"{short(a)} [{short(b)}, {short(c)}]" if not np.isnan(a) else "–"
            for a, b, c in ((one.value, one.low, one.high), (one.plain_value, one.plain_low, one.plain_high))
        ]
        ratio = "–" if np.isnan(one.ratio) else f"{short(one.ratio)} [{short(one.ratio_low)}, {short(one.ratio_high)}]"
        aim = [part if isinstance(part, str) else "" for part in (one.target, one.verdict)]
        rows.append((name, one.unit, *cells, ratio, reached, *aim))
    widths = [max(len(row[i]) for row in rows if len(row[3]) or i < 2 or row is head) for i in range(len(head))]
    text += ["  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in rows]
    ways = frame[frame["plain"].fillna("") != ""].groupby("plain", sort=False)["work"].apply(list)
    text += ["the plain way:", *(f"  {way}: {', '.join(names)}" for way, names in ways.items())]
    return "\n".join(text)


def draw(frame: pd.DataFrame, device: str) -> Figure:
    """A line a work on a logarithmic axis: the ceiling, ours, the plain way, the target; bars from quartile to quartile."""
    shown = frame[frame["unit"].str.startswith("ms ") & frame["value"].notna()].reset_index(drop=True)
    with plots.style():
        figure = Figure(figsize=(plots.WIDTH, 1.0 + 0.2 * len(shown)))
        axes = figure.subplots()
        at = np.arange(len(shown))
        ways = (
            ("value", "low", "high", plots.BLUE, "o", "this package"),
            ("plain_value", "plain_low", "plain_high", plots.RED, "^", "plain way"),
        )
        axes.hlines(at, shown["ceiling"], shown[["value", "plain_value"]].max(axis=1), color=plots.PALE, linewidth=2.5, zorder=0)
        axes.plot(
            shown["ceiling"], at, "|", color=plots.BLACK, markersize=9, markeredgewidth=1.6, label="what the machine could do"
        )
        for middle, low, high, colour, marker, label in ways:
            reach = np.abs(shown[[low, high]].to_numpy().T - shown[middle].to_numpy())
            axes.errorbar(shown[middle], at, xerr=reach, fmt=marker, color=colour, elinewidth=1, capsize=1.8, label=label)
        limits = shown["target"].astype(str).str.extract(r"<= ([\d.]+) ms")[0].astype(float)
        axes.plot(limits, at, "D", markerfacecolor="none", color=plots.BLACK, markersize=5.5, label="target")
        for i, one in enumerate(shown.itertuples()):
            if not np.isnan(one.ratio):
                axes.text(1.01, i, f"{short(one.ratio)} x", transform=axes.get_yaxis_transform(), va="center", fontsize=7)
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}"))
        axes.grid(True, axis="x")
        names = [f"{one.group}: {one.work}" for one in shown.itertuples()]
        axes.set(yticks=at, yticklabels=names, ylim=(len(shown) - 0.4, -0.6), title=f"{device}; right: plain way / this package")
        axes.set_xlabel("time a face, or a frame [ms]; less is better")
        figure.legend(loc="outside lower center", ncols=4)
        plots.settle(figure)
    return figure


def save(frame: pd.DataFrame, device: str, target: Path) -> list[Path]:
    """Writes `target` with .svg and .csv; returns both."""
    return plots.save(draw(frame, device), frame, target)
