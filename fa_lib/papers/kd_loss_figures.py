"""Figures 10-14 of paper 2, its results: error curves, faces with failed points, response times.

No figure shows a real photograph: where a study is of real faces, its networks are shown on rendered ones.
"""

import functools
import itertools
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from torch import nn

from fa_lib import data, export, metrics, plots, scores, training
from fa_lib.data import Faces
from fa_lib.landmarks import SCHEMES
from fa_lib.papers import kd_loss
from fa_lib.plots import BLACK, BLUE, GREEN, GREY, ORANGE, RED, SKY, WIDTH, Line
from fa_lib.redraw import FromFrame
from fa_lib.results import Study

SETS = {"cofw": "COFW", None: "300-W", "wflw": "WFLW"}
POINTS = {"cofw": 29, None: 68, "wflw": 98}
COMPARED = {"mnv2": Line(ORANGE, "^", (0, (5, 1.5))), "mnv2_kd": Line(BLUE, "D"), "efn": Line(BLACK, "o", (0, (1, 1.2)))}
GRID = np.linspace(0, scores.FAIL, 101)  # errors at which figure 10 counts faces


def within(errors: np.ndarray, grid: np.ndarray) -> np.ndarray:
    """Share of faces whose NME (..., M) is at most each value of `grid` (G,): (..., G).

    >>> within(np.array([0.02, 0.1, 0.3, 0.4]), np.array([0.01, 0.02, 0.1])).tolist()
    [0.0, 0.25, 0.5]
    """
    return (errors[..., None, :] <= grid[:, None]).mean(-1)


def name_of(study: Study) -> str:
    """What a figure calls a study's faces: COFW, 300-W, WFLW, these rendered, or a user's own."""
    if study.source.own:
        return study.source.dataset
    return SETS[study.dataset] + (" (rendered)" if study.source.root is None else "")


def error_curves(study: Study) -> pd.DataFrame:
    """Share of faces below each error of GRID, with failure rate and AUC, by data set and network; all in % but the AUC.

    Faces of all seeds together; `low` and `high` are the least and the greatest of single seeds.
    """
    frames = []
    for one, row in itertools.product(map(study.on, SETS), COMPARED):
        errors = one.scores(row, "test")[..., scores.FIELDS.index("nme")]  # (S, M)
        share, seeds = 100 * within(errors.ravel(), GRID), 100 * within(errors, GRID)
        fr, auc = 100 * metrics.failure_rate(errors.ravel()), metrics.auc(errors.ravel())
        values = {"nme": 100 * GRID, "faces": share, "low": seeds.min(0), "high": seeds.max(0), "fr": fr, "auc": auc}
        frames.append(pd.DataFrame({"dataset": name_of(one), "row": row, **values, "ruler": one.test.scheme.ruler}))
    return pd.concat(frames, ignore_index=True)


@FromFrame.of(error_curves)
def figure10(frame: pd.DataFrame) -> Figure:
    """Share of faces below each error, with failure rate and AUC: students with L2 and KD-Loss, and the tough teacher.

    Faces of all seeds together; bands reach from the least seed to the greatest.
    """
    figure, names = Figure(figsize=(WIDTH, 3.3)), frame["dataset"].unique()
    figure.get_layout_engine().set(rect=(0, 0.27, 1, 0.73), wspace=0.07)  # legends below
    for axes, name in zip(figure.subplots(1, len(names), sharey=True), names):
        for row, part in frame[frame["dataset"] == name].groupby("row", sort=False):
            line, (fr, auc, ruler) = COMPARED[row], part[["fr", "auc", "ruler"]].iloc[0]
            axes.plot(part["nme"], part["faces"], **line(label=f"{row}: {fr:.1f} %, {auc:.3f}", markevery=20, markersize=3.5))
            axes.fill_between(part["nme"], part["low"], part["high"], color=line.colour, alpha=0.18, linewidth=0)
        axes.set(title=name, xlim=(0, 100 * scores.FAIL), ylim=(0, 101), xticks=range(0, 11, 2))
        axes.set_xlabel(f"NME [% of {ruler.removesuffix(' distance')}]")
        place = {"loc": "upper left", "bbox_to_anchor": (-0.1, -0.28), "borderaxespad": 0, "alignment": "left"}
        axes.legend(title=f"failure rate, AUC at {100 * scores.FAIL:.0f} %", title_fontsize=7.5, **place).set_in_layout(False)
    figure.axes[0].set_ylabel("faces [%]")
    return figure


QUANTILES = (0.1, 0.3, 0.5, 0.7, 0.9, 0.98)  # of the error: easy faces to hard ones
STAND_INS = 100  # rendered faces that stand in for photographs
POINT = {"marker": "o", "color": GREEN, "markersize": 2.3, "markeredgewidth": 0.3, "linestyle": ""}
FAILED = {"marker": "X", "color": RED, "markersize": 3.6, "markeredgewidth": 0.4, "linestyle": ""}


def failed_points(pred: np.ndarray, target: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """Which landmarks (M, K) are farther from the truth than 0.1 of the face's length (M,); `pred`, `target` (M, K, 2).

    >>> failed_points(np.array([[[0.0, 0.0], [11.0, 0.0]]]), np.zeros((1, 2, 2)), np.array([100.0])).tolist()
    [[False, True]]
    """
    return np.linalg.norm(metrics.displacements(pred, target, lengths), axis=-1) > scores.FAIL


def by_quantile(errors: np.ndarray) -> np.ndarray:
    """The faces (indices) at QUANTILES of the errors (M,).

    >>> by_quantile(np.arange(100.0)[::-1]).tolist()
    [89, 69, 49, 30, 10, 2]
    """
    return np.argsort(errors, kind="stable")[[round(q * (len(errors) - 1)) for q in QUANTILES]]


def shown_faces(study: Study) -> tuple[Faces, dict[str, np.ndarray]]:
    """Rendered test faces and what the first network of each student finds on them, (M, K, 2) in crop pixels."""
    first = {row: study.trained(row)[0] for row in ("mnv2", "mnv2_kd")}
    if study.source.root is None:
        return study.test, {row: trained.predictions["test"] for row, trained in first.items()}
    name, split = f"synthetic/{study.dataset or '300w'}", "test" if study.dataset else "full"
    faces = data.load(name, split, None, study.source.size, min(STAND_INS, study.profile.test_faces))
    return faces, {row: training.evaluate(trained.network(), faces) for row, trained in first.items()}


def _faces_figure(study: Study, dataset: str | None, number: int) -> tuple[Figure, pd.DataFrame]:
    """Faces at quantiles of the mean error of mnv2 and mnv2_kd, so that the choice favours neither; failed points marked."""
    one = study.on(dataset)
    if one.test.scheme != SCHEMES[POINTS[dataset]]:
        return plots.no_data(f"Figure {number} shows rendered faces with {POINTS[dataset]} points: no such data for these points")
    faces, found = shown_faces(one)
    (pictures, target), lengths = faces.crops(), faces.lengths()
    errors = {row: metrics.nme(pred, target, lengths) for row, pred in found.items()}
    chosen, lines = by_quantile(np.mean(list(errors.values()), 0)), []
    figure = Figure(figsize=(WIDTH, 2.75))
    figure.get_layout_engine().set(wspace=0.01, w_pad=0.02, h_pad=0.02)
    for panels, (row, pred) in zip(figure.subplots(2, len(QUANTILES)), found.items()):
        failed = failed_points(pred, target, lengths)
        for axes, i, quantile in zip(panels, chosen, QUANTILES):
            good, bad = pred[i][~failed[i]], pred[i][failed[i]]
            plots.faces(axes, pictures[i], good, bad, styles=[POINT, FAILED], contours=False)
            text = f"{100 * errors[row][i]:.1f} %, {failed[i].sum()} failed"
            axes.set_xlabel(text, fontsize=7, labelpad=1)
            lines += [
                {"row": row, "face": faces.names[i], "quantile": quantile, "nme": 100 * errors[row][i], "landmark": k,
                 "x": x, "y": y, "failed": bool(failed[i, k])}
                for k, (x, y) in enumerate(pred[i])
            ]  # fmt: skip
        panels[0].set_ylabel({"mnv2": "mnv2: L2", "mnv2_kd": "mnv2: KD-Loss"}[row])
    for axes, quantile in zip(figure.axes, QUANTILES):
        axes.set_title(f"harder than {100 * quantile:.0f} %", loc="center", fontsize=7)
    handles = [Line2D([], [], **POINT), Line2D([], [], **FAILED)]
    limit = f"{scores.FAIL:g} of the {faces.scheme.ruler}"
    figure.legend(handles, [f"error up to {limit}", "failed: beyond it"], loc="outside lower center", ncols=2)
    return figure, pd.DataFrame(lines)


@plots.drawn
def figure11(study: Study) -> tuple[Figure, pd.DataFrame]:
    """Landmarks of both students on faces like COFW's, from easy to hard ones; failed points are red crosses."""
    return _faces_figure(study, "cofw", 11)


@plots.drawn
def figure12(study: Study) -> tuple[Figure, pd.DataFrame]:
    """Landmarks of both students on faces like those of 300-W, from easy to hard ones; failed points are red crosses."""
    return _faces_figure(study, None, 12)


@plots.drawn
def figure14(study: Study) -> tuple[Figure, pd.DataFrame]:
    """Landmarks of both students on faces like WFLW's, from easy to hard ones; failed points are red crosses."""
    return _faces_figure(study, "wflw", 14)


PRINTED = {  # milliseconds: Intel i7-6850K; and from 417 frames a second, NVIDIA 1080 Ti
    "CPU": {"mnv2_kd": 3.95, "efn": 9.44, "asmnet": 2.38},
    "GPU": {"mnv2_kd": 1000 / 417},
}
WAYS = {"torch": Line(BLUE, "s"), "ONNX, fp32": Line(SKY, "o"), "ONNX, int8": Line(ORANGE, "^"), "torch, GPU": Line(GREEN, "P")}
REPEATS, WARM_UP = 15, 3


@functools.cache
def response_times(profile: str, rows: tuple[str, ...] = tuple(PRINTED["CPU"])) -> pd.DataFrame:
    """Milliseconds from one picture to its landmarks on this machine: median and quartiles of each row and way to compute it.

    Networks of the published size, untrained; one CPU thread, and the GPU where there is one. Measured once a process.
    """
    threads, lines = torch.get_num_threads(), []
    torch.set_num_threads(1)
    try:
        for row in rows:
            net, size = kd_loss.published_network(row, profile)
            for way, found in _timed(net.eval(), size, kd_loss.exported(row, profile)).items():
                values = {"ms": found.median_ms, "low": found.low_ms, "high": found.high_ms, "fps": found.fps}
                lines.append({"row": row, "way": way, "size": size, **values})
    finally:
        torch.set_num_threads(threads)
    return pd.DataFrame(lines)


def _timed(net: nn.Module, size: int, files: dict[export.Precision, Path]) -> dict[str, export.Latency]:
    picture = torch.rand(1, 3, size, size, generator=torch.Generator().manual_seed(0))

    def timed(call: Callable, shown: torch.Tensor = picture) -> export.Latency:
        return export.latency(lambda: call(shown), REPEATS, WARM_UP)

    with torch.inference_mode():
        found = {"torch": timed(net)}
        found |= {f"ONNX, {precision}": timed(export.session(files[precision])) for precision in ("fp32", "int8")}
        if torch.cuda.is_available():
            found["torch, GPU"] = timed(net.cuda(), picture.cuda())
    return found


def times(study: Study) -> pd.DataFrame:
    """`response_times`, and the paper's."""
    printed = [
        {"row": row, "way": f"paper, {way}", "ms": ms, "fps": 1000 / ms} for way, d in PRINTED.items() for row, ms in d.items()
    ]
    return pd.concat([response_times(study.profile.name), pd.DataFrame(printed)], ignore_index=True)


@FromFrame.of(times)
def figure13(frame: pd.DataFrame) -> Figure:
    """Time from a picture to its landmarks, and frames a second, on this machine; the paper's, of another one, as marks.

    One picture at a time; one thread, beside another process where `fa reproduce` executes the notebook meanwhile. At profile
    smoke the networks are small, as those of all its results.
    """
    ways, rows = [way for way in WAYS if way in set(frame["way"])], list(PRINTED["CPU"])
    figure = Figure(figsize=(WIDTH, 3.0))
    axes = figure.subplots()
    for number, way in enumerate(ways):
        part = frame[frame["way"] == way].set_index("row").loc[rows]
        place = np.arange(len(rows)) + 0.2 * (number - (len(ways) - 1) / 2)
        around = np.stack([part["ms"] - part["low"], part["high"] - part["ms"]])
        axes.errorbar(part["ms"], place, xerr=around, label=way, **WAYS[way](linestyle="", elinewidth=0.9, capsize=2))
        for y, one in zip(place, part.itertuples()):
            axes.annotate(
                f"{one.ms:.3g} ms, {one.fps:.{0 if one.fps >= 100 else 1}f} fps",
                (one.high, y),
                (6, 0),
                textcoords="offset points",
                va="center",
                fontsize=7,
            )
    for way, marker in (("CPU", "D"), ("GPU", "*")):
        part = frame[frame["way"] == f"paper, {way}"]
        place = [rows.index(row) + 0.48 for row in part["row"]]
        chip = {"CPU": "i7-6850K", "GPU": "1080 Ti"}[way]
        axes.plot(part["ms"], place, marker, color=RED, label=f"the paper's, {chip}", markersize=5)
    _time_axes(axes, frame, rows)
    axes.legend(loc="upper left", bbox_to_anchor=(1.02, 1), borderaxespad=0)
    return figure


def _time_axes(axes: Axes, frame: pd.DataFrame, rows: list[str]) -> None:
    """Milliseconds below, frames a second above."""
    every = frame.loc[frame["way"] != "paper, GPU", "ms"]
    axes.set(xscale="log", xlim=(0.6 * min(every), 10 * max(every)), ylim=(len(rows) - 0.33, -0.5))
    axes.set_yticks(range(len(rows)), rows)
    axes.set_xlabel(f"time a picture of {frame['size'].iloc[0]:.0f} px [ms]; machines differ: compare within one")
    above = axes.secondary_xaxis("top", functions=(_inverse, _inverse))
    above.set_xlabel("frames a second")
    for axis in (axes.xaxis, above.xaxis):
        axis.set_major_formatter("{x:g}")
    axes.grid(False)
    axes.grid(visible=True, axis="x")
    for border in range(1, len(rows)):
        axes.axhline(border - 0.33, color=GREY, linewidth=0.5)


def _inverse(value: np.ndarray) -> np.ndarray:
    """Milliseconds a picture <-> pictures a second."""
    with np.errstate(divide="ignore"):
        return 1000 / np.asarray(value, float)


FIGURES = {10: figure10, 11: figure11, 12: figure12, 13: figure13, 14: figure14}
