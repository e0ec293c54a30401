"""Figures 1, 4, 5 and 6 of paper 4, its results: costs against errors, speed, faces, curves of cuts.

No figure shows a real photograph: where a study is of real faces, its networks are shown on rendered ones. Times are measured
on this machine when a figure is drawn.
"""

import functools

import numpy as np
import pandas as pd
import torch
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, NullLocator
from matplotlib.transforms import Bbox
from torch import nn

from fa_lib import data, export, metrics, plots, results, runs, training
from fa_lib.data import Faces
from fa_lib.landmarks import SCHEMES
from fa_lib.papers import sd_hrnet_drawings as drawings
from fa_lib.papers.kd_loss_figures import QUANTILES, by_quantile
from fa_lib.papers.sd_hrnet_drawings import NAMES, costs, cut_to
from fa_lib.papers.sd_hrnet_training import Peers
from fa_lib.plots import BLACK, BLUE, GREEN, GREY, ORANGE, RED, SKY, WIDTH, Line
from fa_lib.redraw import FromFrame
from fa_lib.results import Study

OURS = {"hrnet": "HRNet", "super": "HRSuperNet", "slim": "S-HRNet", "sd": "SD-HRNet"}
LOOKS = {
    "hrnet": Line(BLACK, "o", (0, (1, 1.2))), "super": Line(ORANGE, "^", (0, (5, 1.5))),
    "slim": Line(SKY, "s", (0, (5, 1.5, 1, 1.5))), "sd": Line(BLUE, "D"),
}  # fmt: skip
AREA = 9.0  # square points of a bubble for a million parameters


def network(study: Study, row: str) -> nn.Module:
    """The network of a row's first seed; of a distilled pair its first student."""
    net = study.trained(row)[0].network()
    return net.first if isinstance(net, Peers) else net


BATCHES = (1, 2, 4, 8, 16, 32)
TIMED, REPEATS, WARM_UP = 14, 3, 1  # faces of a time, in at least so many calls, after calls that do not count


@functools.lru_cache(maxsize=2)
def speeds(study: Study) -> pd.DataFrame:
    """Milliseconds a batch, median and quartiles, and faces a second, of rows `hrnet`, `super` and `sd` by batch size.

    The networks of the study at its size of pictures, from picture to heatmaps, on the GPU where there is one, else on one
    thread of the CPU. Measured once a study.
    """
    where, threads, lines = training.device(), torch.get_num_threads(), []
    batches = BATCHES if where.type == "cpu" else (*BATCHES, 64, 128)
    torch.set_num_threads(1)
    try:
        device = runs.provenance(where)["device"].replace("1 threads", "1 thread")
        for row in ("hrnet", "super", "sd"):
            net = network(study, row).to(where).eval()
            for batch in batches:
                pictures = torch.rand(batch, 3, study.source.size, study.source.size, device=where)
                with torch.inference_mode():
                    found = export.latency(functools.partial(net, pictures), max(REPEATS, TIMED // batch), WARM_UP)
                values = {"ms": found.median_ms, "low": found.low_ms, "high": found.high_ms, "fps": batch * found.fps}
                lines.append({"row": row, "batch": batch, "size": study.source.size, "device": device, **values})
    finally:
        torch.set_num_threads(threads)
    return pd.DataFrame(lines)


def as_printed(study: Study) -> pd.DataFrame:
    """What the paper prints of each network: label, parameters in millions, macs in billions, nme in % on 300-W.

    Those of which Table 1 lacks a number are left out. Differs from the paper: mnv2_KD's row counts two for a multiply-add, here
    it is halved.
    """
    found = results.published(study.paper)
    first = found[found["table"] == 1].pivot(index="label", columns="metric", values="value")
    nme = found[(found["table"] == 2) & (found["split"] == "test") & (found["metric"] == "nme")].set_index("label")["value"]
    slim = first.loc["SD-HRNet (300W)"]
    first = pd.concat([first, pd.DataFrame({"S-HRNet": slim, "SD-HRNet1": slim}).T])
    both = first.join(nme.rename("nme"), how="inner").dropna().rename(columns={"flops": "macs"})
    both.loc["mnv2_KD", "macs"] /= 2
    return both.rename(index={"SD-HRNet1": "SD-HRNet"}).rename_axis("label").reset_index()


def costs_and_errors(study: Study) -> pd.DataFrame:
    """`as_printed`, and the same of our networks as trained with measured milliseconds a face; `title` is of the test faces."""
    one = speeds(study).query("batch == 1").set_index("row")
    lines = []
    for row, label in OURS.items():
        counted = costs(network(study, row), study.source.size)
        values = {"parameters": counted["parameters"] / 1e6, "macs": counted["macs"] / 1e9}
        time = one.loc["sd" if row == "slim" else row]
        nme = 100 * study.estimate(row, "nme", "test").value
        lines.append({"label": label, "from": "ours", "row": row, **values, "nme": nme, **time[["ms", "low", "high", "device"]]})
    about = {"size": study.source.size, "title": study.test.title, "ruler": study.test.scheme.ruler}
    printed, ours = as_printed(study).assign(**{"from": "paper"}), pd.DataFrame(lines).assign(**about)
    return pd.concat([printed, ours], ignore_index=True)


@FromFrame.of(costs_and_errors)
def figure1(frame: pd.DataFrame) -> Figure:
    """NME against multiply-adds, printed and ours; and ours against measured time, as multiply-adds mislead. Area: parameters.

    Printed: 300-W, 256 pixels, counted as Table 1 does. Ours: networks as trained, whole; NME is the mean of the seeds, costs
    are those of the first. S-HRNet and SD-HRNet are one architecture, so they share a time.
    """
    figure = Figure(figsize=(WIDTH, 3.5))
    left, right = figure.subplots(1, 2, width_ratios=[1.7, 1])
    ours = frame[frame["from"] == "ours"]
    size, title, ruler, device = ours[["size", "title", "ruler", "device"]].iloc[0]
    _bubbles(left, frame, "macs")
    _bubbles(right, ours, "ms")
    left.set(xlabel="multiply-adds a face [billions]", ylabel=f"NME [% of {ruler}]")
    right.set(xlabel=f"time a face [ms], measured\n({device}, {size:.0f} px, one at a time)")
    marks = [Line2D([], [], linestyle="", marker="o", markersize=np.sqrt(AREA * m), color=GREY, alpha=0.4) for m in (1, 10)]
    kinds = [Line2D([], [], linestyle="", marker=".", color=GREY), Line2D([], [], **LOOKS["sd"](linestyle=""))]
    texts = ["paper, 300-W", f"ours, {title}", "1 M parameters", "10 M"]
    figure.legend([*kinds, *marks], texts, loc="outside upper center", ncols=4, handlelength=1.5)
    figure.draw_without_rendering()
    for axes, part, column in ((left, frame, "macs"), (right, ours, "ms")):
        _name(axes, part, column)
    return figure


STEPPED = (1, 1.5, 2, 3, 4, 5, 7)  # where a logarithmic axis of errors has numbers, times powers of ten


def _plain(axis: Axis, steps: tuple[float, ...]) -> None:
    """Numbers without powers at `steps` of a logarithmic axis."""
    axis.set_major_locator(LogLocator(subs=steps))
    axis.set_major_formatter("{x:g}")
    axis.set_minor_locator(NullLocator())


def _bubbles(axes: Axes, frame: pd.DataFrame, column: str) -> None:
    for one in frame.to_dict("records"):
        mine = one["from"] == "ours"
        look = LOOKS[one["row"]](linestyle="") if mine else {"color": GREY, "marker": ".", "markersize": 3, "linestyle": ""}
        axes.scatter(one[column], one["nme"], s=AREA * one["parameters"], color=look["color"], alpha=0.28, linewidth=0)
        axes.plot(one[column], one["nme"], **look)
    axes.set(xscale="log", yscale="log")
    axes.margins(x=0.15, y=0.18)
    axes.grid(visible=True, axis="x")
    _plain(axes.xaxis, (1, 3) if frame[column].max() > 30 * frame[column].min() else (1, 1.5, 2, 3, 4, 5, 6, 8))
    _plain(axes.yaxis, STEPPED)


def _name(axes: Axes, frame: pd.DataFrame, column: str) -> None:
    """Writes the labels beside their points, each at the first place where it covers no other label and no point.

    Needs the final layout.
    """
    at = axes.transData.transform(frame[[column, "nme"]].to_numpy(float))
    taken = [Bbox.from_bounds(x - 4, y - 4, 8, 8) for x, y in at]
    panel = axes.get_window_extent()
    round_about = ((6, 0), (-6, 0), (0, 6), (0, -6), (5, 5), (5, -5), (-5, 5), (-5, -5), (3, 6), (-3, 6), (3, -6), (-3, -6))
    ways = [(x * reach, y * reach) for reach in (1, 2, 3, 4, 5, 6.5, 8, 10) for x, y in round_about]
    for one in frame.to_dict("records"):
        mine = one["from"] == "ours"
        for dx, dy in ways:
            side = {"ha": "left" if dx > 0 else "right" if dx < 0 else "center",
                    "va": "bottom" if dy > 0 else "top" if dy < 0 else "center"}  # fmt: skip
            text = axes.annotate(
                one["label"], (one[column], one["nme"]), (dx, dy), textcoords="offset points", fontsize=6.5,
                color=BLACK if mine else GREY, weight="bold" if mine else "normal", **side,
            )  # fmt: skip
            text.set_in_layout(False)
            box = text.get_window_extent()
            inside = panel.x0 <= box.x0 and box.x1 <= panel.x1 + 8 and panel.y0 <= box.y0 and box.y1 <= panel.y1
            if (inside and not any(box.overlaps(other) for other in taken)) or (dx, dy) == ways[-1]:
                taken.append(box)
                if max(abs(dx), abs(dy)) > 6:  # far from its point: a line leads there
                    ends = {"xy": (one[column], one["nme"]), "xytext": (dx, dy), "textcoords": "offset points"}
                    axes.annotate("", **ends, arrowprops={"arrowstyle": "-", "linewidth": 0.4, "color": GREY, "shrinkA": 0})
                break
            text.remove()


@FromFrame.of(speeds)
def figure4(frame: pd.DataFrame) -> Figure:
    """Faces a second against batch size, measured here; bars are quartiles. The paper says "more than 500" on its GPU."""
    figure = Figure(figsize=(WIDTH * 0.75, 2.8))
    axes = figure.subplots()
    for row, part in frame.groupby("row", sort=False):
        ends = 1000 * part["batch"] / part["high"], 1000 * part["batch"] / part["low"]
        around = np.stack([part["fps"] - ends[0], ends[1] - part["fps"]])
        axes.errorbar(part["batch"], part["fps"], np.maximum(around, 0), **LOOKS[row](label=OURS[row], elinewidth=0.8, capsize=2))
    axes.axhline(500, color=RED, linewidth=0.9, linestyle="--", label="paper: SD-HRNet exceeds it,\n256 px, TITAN Xp")
    axes.set(xscale="log", yscale="log", xlabel="batch size [faces]", ylabel="faces a second")
    axes.set_xticks(frame["batch"].unique(), frame["batch"].unique(), minor=False)
    axes.xaxis.set_minor_locator(NullLocator())
    _plain(axes.yaxis, (1, 2, 5))
    axes.set_title(f"{frame['device'].iloc[0]}, {frame['size'].iloc[0]} px")
    axes.legend(loc="upper left", bbox_to_anchor=(1.02, 1), borderaxespad=0)
    return figure


POINTS = {"300w": 68, "wflw": 98, "cofw": 29}
STAND_INS = 100  # rendered faces that stand in for photographs
TRUTH = {"color": GREEN, "markersize": 2.6, "markeredgewidth": 0}
FOUND = {"color": ORANGE, "marker": "D", "markersize": 1.7, "markeredgewidth": 0.25}


def shown_faces(study: Study) -> tuple[Faces, np.ndarray]:
    """Rendered test faces, and what the first distilled network finds on them, (M, K, 2) in crop pixels."""
    first, name = study.trained("sd")[0], study.dataset or "300w"
    if study.source.root is None:
        return study.test, first.predictions["test"]
    count, split = min(STAND_INS, study.profile.test_faces), "full" if name == "300w" else "test"
    faces = data.load(f"synthetic/{name}", split, None, study.source.size, count)
    return faces, training.evaluate(network(study, "sd"), faces, "quarter")


@plots.drawn
def figure5(study: Study) -> tuple[Figure, pd.DataFrame]:
    """Landmarks of SD-HRNet (orange) and the truth (green) on rendered faces of three schemes, from easy to hard ones."""
    studies = {name: study.on(None if name == "300w" else name) for name in POINTS}
    studies = {name: one for name, one in studies.items() if one.test.scheme == SCHEMES[POINTS[name]]}  # not a user's own scheme
    figure, lines = Figure(figsize=(WIDTH, 0.35 + 1.2 * len(studies))), []
    figure.get_layout_engine().set(wspace=0.01, w_pad=0.02, h_pad=0.02)
    for panels, (name, one) in zip(figure.subplots(len(studies), len(QUANTILES), squeeze=False), studies.items()):
        faces, found = shown_faces(one)
        pictures, truth = faces.crops()
        errors = 100 * metrics.nme(found, truth, faces.lengths())
        for axes, i, quantile in zip(panels, by_quantile(errors), QUANTILES):
            plots.faces(axes, pictures[i], truth[i], found[i], styles=[TRUTH, FOUND], contours=False)
            axes.set_xlabel(f"{errors[i]:.1f} %", fontsize=7, labelpad=1)
            for kind, points in (("truth", truth[i]), ("found", found[i])):
                about = {"dataset": NAMES[name], "face": faces.names[i], "quantile": quantile, "nme": errors[i], "kind": kind}
                lines += [{**about, "landmark": k, "x": x, "y": y} for k, (x, y) in enumerate(points)]
        panels[0].set_ylabel(f"{NAMES[name]} (rendered)\n{POINTS[name]} points", fontsize=7)
    for axes, quantile in zip(figure.axes, QUANTILES):
        axes.set_title(f"harder than {100 * quantile:.0f} %", loc="center", fontsize=7)
    handles = [Line2D([], [], linestyle="", marker="o", **TRUTH), Line2D([], [], linestyle="", **FOUND)]
    figure.legend(handles, ["truth", "SD-HRNet; below: its NME"], loc="outside lower center", ncols=2)
    return figure, pd.DataFrame(lines)


PANELS = {"MBConv": {"super": "HRSuperNet", "hr": "HRNet"}, "residual": {"super-residual": "HRSuperNet", "hr-residual": "HRNet"}}
STEPS, LEAST = 6, 30  # networks of a curve, operations of the smallest


def cuts(study: Study) -> pd.DataFrame:
    """What networks cut out of four supernetworks cost and find, without training on; first seed, all test faces."""
    lines = []
    for unit, row in ((unit, row) for unit, rows in PANELS.items() for row in rows):
        net = network(study, row)
        asked = np.linspace(len(net.topology.edges), LEAST, STEPS).round().astype(int).tolist()
        found = pd.DataFrame([cut_to(net, count, study.test)[1] for count in asked]).drop_duplicates("operations")
        lines.append(found.assign(row=row, unit=unit, ruler=study.test.scheme.ruler))
    return pd.concat(lines, ignore_index=True)


@FromFrame.of(cuts)
def figure6(frame: pd.DataFrame) -> Figure:
    """NME against multiply-adds of networks cut out of four supernetworks, by their blocks; first seed, all test faces.

    Cut networks are not trained on; the paper does not say whether its are. How many operations are left stands beside each.
    """
    figure = Figure(figsize=(WIDTH, 2.9))
    for axes, (unit, rows) in zip(figure.subplots(1, 2, sharey=True), PANELS.items()):
        for line, (row, name) in zip((LOOKS["super"], LOOKS["hrnet"]), rows.items()):
            found = frame[frame["row"] == row]
            axes.plot(found["macs"] / 1e6, found["nme"], **line(label=f"cut out of {name}"))
            for one in found.itertuples():
                place = {"xytext": (0, 5 if name == "HRNet" else -10), "textcoords": "offset points", "ha": "center"}
                axes.annotate(str(one.operations), (one.macs / 1e6, one.nme), fontsize=6, color=line.colour, **place)
        axes.set(title=f"{unit} blocks", xlabel="multiply-adds a face [millions]", yscale="log")
        axes.margins(x=0.1, y=0.12)
        _plain(axes.yaxis, STEPPED)
    handles, texts = figure.axes[0].get_legend_handles_labels()
    figure.legend(
        [*handles, Line2D([], [], linestyle="")], [*texts, "numbers: operations left"], loc="outside upper center", ncols=3
    )
    figure.axes[0].set_ylabel(f"NME [% of {frame['ruler'][0]}]")
    return figure


FIGURES = dict(sorted({**drawings.FIGURES, 1: figure1, 4: figure4, 5: figure5, 6: figure6}.items()))
