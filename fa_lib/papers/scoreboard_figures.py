"""The figures of the scoreboard: what accuracy costs, how much of it is lost in hard conditions, how steady it is."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator

from fa_lib.papers.scoreboard import TABLES
from fa_lib.plots import BLACK, BLUE, GREEN, GREY, ORANGE, RED, WIDTH, Line
from fa_lib.redraw import FromFrame
from fa_lib.results import Study

FAMILIES = {  # how the name of a row begins -> name and look of its network
    "resnet18": ("ResNet18", Line(GREY, "v")),
    "mnv2": ("MobileNetV2", Line(ORANGE, "^")),
    "fan2": ("FAN2HG", Line(BLACK, "o")),
    "hrnet": ("HRNet", Line(BLUE, "D")),
    "slim": ("S-HRNet", Line(BLUE, "s")),
    "sd": ("SD-HRNet", Line(BLUE, "P")),
    "fabrec": ("3FabRec", Line(GREEN, "X")),
    "scaf": ("SCAF", Line(RED, "X")),
}
SETS = {"test": ("as they are", "o", BLACK), "shifted": ("box moved", "s", BLUE), "blurred": ("out of focus", "^", ORANGE),
        "masked": ("behind masks", "X", RED)}  # fmt: skip
STEPPED = (1, 1.5, 2, 3, 5, 7)  # where a logarithmic axis has numbers, times powers of ten


def family(row: str) -> tuple[str, Line]:
    """Name and look of a row's network."""
    return FAMILIES[row.split("-")[0]]


def front(cost: np.ndarray, error: np.ndarray) -> np.ndarray:
    """Indices of the points (M,) that no other beats in both, from the cheapest on: the Pareto front.

    >>> front(np.array([1.0, 2.0, 3.0, 2.5]), np.array([5.0, 4.0, 4.5, 3.0])).tolist()
    [0, 1, 3]
    """
    found, best = [], np.inf
    for i in np.lexsort((error, cost)):
        if error[i] < best:
            found.append(i)
            best = error[i]
    return np.array(found)


COSTS = {
    "flops": "multiply-adds a face [millions]",
    "latency": "time a face [ms], one CPU thread",
    "training": "training [min]",
}


def costs(study: Study) -> pd.DataFrame:
    """A line a row of the tables: label, NME in % with interval, what `TABLES` measures of its cost, and by which of COSTS it is
    on the front.
    """
    lines = []
    for label, row in TABLES[-1].rows.items():
        found = study.estimate(row, "nme")
        errors = {"nme": 100 * found.value, "low": 100 * found.low, "high": 100 * found.high}
        lines.append({"label": label, "row": row, **errors, **TABLES[-1].costs(study, row)})
    frame = pd.DataFrame(lines).assign(ruler=study.test.scheme.ruler)
    for column in COSTS:
        best = front(frame[column].to_numpy(), frame["nme"].to_numpy())
        frame[f"front by {column}"] = frame.index.isin(best)
    return frame


@FromFrame.of(costs)
def figure1(frame: pd.DataFrame) -> Figure:
    """NME against what a method costs: to compute, to wait for, to train. The line joins those that no other beats in both."""
    figure = Figure(figsize=(WIDTH, 3.6))
    panels = figure.subplots(1, 3, sharey=True)
    for axes, (column, label) in zip(panels, COSTS.items(), strict=True):
        _pareto(axes, frame, column)
        axes.set_xlabel(label)
    panels[0].set_ylabel(f"NME [% of {frame['ruler'][0]}]")
    handles, labels = panels[0].get_legend_handles_labels()
    unique = dict(zip(labels, handles, strict=True))
    unique["learned in one step (open: with a trick)"] = panels[0].plot([], [], "o", color=GREY)[0]
    figure.legend(unique.values(), unique.keys(), loc="outside upper center", ncols=5, handlelength=1.2)
    return figure


def _pareto(axes: Axes, frame: pd.DataFrame, column: str) -> None:
    for one in frame.to_dict("records"):
        name, look = family(one["row"])
        filled = {} if "-" not in one["row"] else {"markerfacecolor": "white"}
        around = [[max(0, one["nme"] - one["low"])], [max(0, one["high"] - one["nme"])]]
        axes.errorbar(one[column], one["nme"], around, elinewidth=0.6, label=name, **look(linestyle="none", **filled))
    best = frame[frame[f"front by {column}"]].sort_values(column)
    axes.plot(best[column], best["nme"], color=GREY, linewidth=0.8, zorder=0)
    axes.set(xscale="log", yscale="log")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(LogLocator(subs=STEPPED if axis is axes.yaxis else (1, 2, 5)))
        axis.set_major_formatter("{x:g}")
        axis.set_minor_locator(NullLocator())


def conditions(study: Study) -> pd.DataFrame:
    """NME in % of all rows on each of SETS, and jitter x 1000 on clips, where there are such faces."""
    lines = []
    for label, row in TABLES[0].rows.items():
        for split, metric in (*((split, "nme") for split in SETS), ("video", "jitter")):
            if not study.has(split):
                continue
            found, unit = study.estimate(row, metric, split), 100 if metric == "nme" else 1000
            values = {"value": unit * found.value, "low": unit * found.low, "high": unit * found.high}
            lines.append({"label": label, "row": row, "split": split, "metric": metric, **values})
    return pd.DataFrame(lines).assign(ruler=study.test.scheme.ruler)


@FromFrame.of(conditions)
def figure2(frame: pd.DataFrame) -> Figure:
    """Left: NME of the test faces as they are, in a moved box, out of focus and behind masks. Right: jitter on clips."""
    figure = Figure(figsize=(WIDTH, 4.2))
    left, right = figure.subplots(1, 2, sharey=True, width_ratios=[1.5, 1])
    at = {row: -i for i, row in enumerate(frame["row"].unique())}
    for split, (text, marker, colour) in SETS.items():
        part = frame[frame["split"] == split]
        left.plot(part["value"], part["row"].map(at), marker, color=colour, label=text)
    clips = frame[frame["split"] == "video"]
    around = np.abs(clips[["low", "high"]].to_numpy() - clips[["value"]].to_numpy()).T
    right.errorbar(clips["value"], clips["row"].map(at), xerr=around, fmt="D", color=BLUE, capsize=2)
    left.set_yticks(list(at.values()), frame["label"].unique(), fontsize=7)
    left.set_xlabel(f"NME [% of {frame['ruler'][0]}]")
    right.set_xlabel("jitter x 1000 [of the same]")
    for axes in (left, right):
        axes.grid(visible=True, axis="both")
        axes.set_xlim(0, None)
    figure.legend(*left.get_legend_handles_labels(), loc="outside upper center", ncols=4)
    return figure


FIGURES = {1: figure1, 2: figure2}
