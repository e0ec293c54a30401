"""How figures look, and how they are saved: one style, faces with landmarks, curves, claims.

Figures are made without pyplot, so nothing stays open and no window is needed. `drawn` gives a function the style; `save`
writes a figure beside the data that drew it, and the same figure always as the same bytes.
"""

import functools
import io
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import matplotlib.style
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import ConnectionPatch
from matplotlib.ticker import FuncFormatter, LogFormatter

from fa_lib import metrics, scores, sensitivity, storage
from fa_lib.data import Faces, symmetry
from fa_lib.landmarks import scheme_of
from fa_lib.sensitivity import Model

WIDTH = 6.3  # inches: the text width of A4; still legible when shrunk to the 4.8 of a Springer column
BLACK, ORANGE, SKY, GREEN, YELLOW, BLUE, RED, PURPLE = (  # Okabe and Ito: told apart by colour-blind readers, too
    "#000000", "#E69F00", "#56B4E9", "#009E73", "#F0E442", "#0072B2", "#D55E00", "#CC79A7",
)  # fmt: skip
GREY, PALE = "#6b6b6b", "#e4e4e4"


@dataclass(frozen=True)
class Line:
    """A curve's colour, marker and dashes: each alone tells it apart, so that a black and white print does."""

    colour: str
    marker: str
    dash: str | tuple = "-"

    def __call__(self, **more) -> dict:
        """Keywords for `Axes.plot` and `Axes.errorbar`."""
        return {"color": self.colour, "marker": self.marker, "linestyle": self.dash, **more}


LINES = (
    Line(BLACK, "o", (0, (1, 1.2))),
    Line(ORANGE, "^", (0, (5, 1.5))),
    Line(SKY, "s", (0, (5, 1.5, 1, 1.5))),
    Line(BLUE, "D"),
    Line(RED, "v", (0, (3, 1, 1, 1, 1, 1))),
    Line(GREEN, "P", (0, (8, 2))),
    Line(PURPLE, "X"),
)
STYLE = {
    "font.family": "DejaVu Sans", "font.size": 8, "axes.titlesize": 8.5, "axes.labelsize": 8, "legend.fontsize": 7.5,
    "xtick.labelsize": 7.5, "ytick.labelsize": 7.5, "axes.titlelocation": "left", "axes.titlepad": 5,
    "axes.spines.top": False, "axes.spines.right": False, "axes.linewidth": 0.7, "axes.axisbelow": True,
    "axes.grid": True, "axes.grid.axis": "y", "grid.color": PALE, "grid.linewidth": 0.6,
    "xtick.major.width": 0.7, "ytick.major.width": 0.7, "xtick.major.size": 2.5, "ytick.major.size": 2.5,
    "lines.linewidth": 1.3, "lines.markersize": 4.5, "legend.frameon": False, "legend.handlelength": 2.6,
    "figure.dpi": 110, "savefig.dpi": 200, "figure.constrained_layout.use": True,
    "svg.hashsalt": "fa_lib", "svg.fonttype": "path", "image.interpolation": "bicubic",
}  # fmt: skip


def style() -> AbstractContextManager:
    """A context in which figures are drawn in the project's style, whatever the user's matplotlibrc says."""
    return matplotlib.style.context(["default", STYLE])


def drawn(make: Callable[..., tuple[Figure, pd.DataFrame]]) -> Callable[..., tuple[Figure, pd.DataFrame]]:
    """Makes `make(study, ...)` draw in the project's style, and marks what it draws at profile smoke as no result."""

    @functools.wraps(make)
    def make_in_style(study, *arguments, **options) -> tuple[Figure, pd.DataFrame]:
        with style():
            figure, data = make(study, *arguments, **options)
            if study.profile.name == "smoke":
                watermark(figure)
            settle(figure)
        return figure, data

    return make_in_style


def settle(figure: Figure) -> None:
    """Lays the figure out for good: a layout that is solved at each drawing moves a little every time."""
    if figure.get_layout_engine() is not None:
        figure.draw_without_rendering()
        figure.set_layout_engine("none")


def watermark(figure: Figure, text: str = "smoke: not a result") -> None:
    """Writes `text` large and pale across the figure."""
    figure.text(
        0.5, 0.5, text, fontsize=30, color=RED, alpha=0.28, rotation=18, ha="center", va="center", weight="bold", zorder=1000
    ).set_in_layout(False)


def rendered(figure: Figure) -> tuple[str, bytes]:
    """The figure as a file: (".svg", bytes), or (".png", bytes) where it shows pictures. No date, no version: stable bytes."""
    settle(figure)
    raster = any(axes.images for axes in figure.axes)
    form, metadata = ("png", {"Software": None}) if raster else ("svg", {"Date": None, "Creator": None})
    buffer = io.BytesIO()
    with style():
        figure.savefig(buffer, format=form, metadata=metadata)
    return f".{form}", buffer.getvalue()


def csv_bytes(frame: pd.DataFrame) -> bytes:
    """A frame as it is written: six digits a number."""
    return frame.to_csv(index=False, float_format="%.6g", lineterminator="\n").encode()


def save(figure: Figure, data: pd.DataFrame, target: Path) -> list[Path]:
    """Writes `target` (a path without suffix) as .svg, or .png where the figure shows pictures, and .csv; returns both paths."""
    suffix, picture = rendered(figure)
    written = []
    for ending, content in ((suffix, picture), (".csv", csv_bytes(data))):
        path = target.with_name(target.name + ending)
        with storage.new_file(path) as part:
            part.write_bytes(content)
        written.append(path)
    return written


def strands(landmarks: np.ndarray) -> list[np.ndarray]:
    """The contour lines of a face (K, 2) of 68 points, region by region; eyes and lips are closed. Other schemes have none.

    >>> [len(line) for line in strands(np.zeros((68, 2)))]
    [17, 5, 5, 4, 5, 7, 7, 13, 9]
    """
    if len(landmarks) != 68:
        return []
    parts = []
    for name, ids in scheme_of(landmarks).regions.items():
        closed = "eye" in name or "mouth" in name
        parts += [ids[:4], ids[4:]] if name == "nose" else [(*ids, ids[0])] if closed else [ids]
    return [landmarks[list(ids)] for ids in parts]


def faces(axes: Axes, picture: np.ndarray, *landmarks: np.ndarray, styles: Sequence[Mapping] = (), contours: bool = True) -> None:
    """A picture (H, W, 3) with landmarks (K, 2) on it, one or more sets; `styles`: keywords for `Axes.plot` of each set."""
    plain = [{"color": "white"}, {"color": GREEN}]
    shade = "gray" if picture.ndim == 2 else None
    axes.imshow(picture, cmap=shade, vmin=0, vmax=255)
    for i, points in enumerate(landmarks):
        look = {"marker": "o", "markersize": 2.2, "linestyle": "", "markeredgecolor": "#222222", "markeredgewidth": 0.35}
        look |= {**(styles[i] if i < len(styles) else plain[i % 2])}
        if contours:
            for line in strands(points):
                axes.plot(*line.T, color=look.get("color", "white"), linewidth=0.7, alpha=0.65)
        axes.plot(*points.T, **look)
    height, width = picture.shape[:2]
    axes.set(xlim=(-0.5, width - 0.5), ylim=(height - 0.5, -0.5))
    bare(axes)


def bare(axes: Axes) -> None:
    """Takes ticks, grid and frame from axes that show a picture."""
    axes.set(xticks=[], yticks=[])
    axes.grid(False)
    axes.spines[:].set_visible(False)


def grid_of_faces(
    pictures: np.ndarray, landmarks: np.ndarray | None = None, columns: int = 6, titles: Sequence[str] = ()
) -> Figure:
    """Pictures (N, H, W, 3) side by side, with landmarks (N, K, 2) if given."""
    columns = min(columns, len(pictures))
    rows = -(-len(pictures) // columns)
    with style():
        figure = Figure(figsize=(WIDTH, WIDTH / columns * rows * (1.12 if titles else 1.0)))
        figure.get_layout_engine().set(w_pad=0.01, h_pad=0.01, wspace=0.01, hspace=0.01)
        for i, axes in enumerate(figure.subplots(rows, columns, squeeze=False).flat):
            bare(axes)
            if i < len(pictures):
                faces(axes, pictures[i], *([] if landmarks is None else [landmarks[i]]))
                axes.set_title(titles[i] if i < len(titles) else "", fontsize=7, loc="center")
        settle(figure)
    return figure


NO_DATA = "no such data"


def no_data(sentence: str) -> tuple[Figure, pd.DataFrame]:
    """What stands for a figure whose data a set has not got: a sentence that says so."""
    figure = Figure(figsize=(WIDTH, 0.5))
    figure.text(0.5, 0.5, sentence, ha="center", va="center")
    return figure, pd.DataFrame({NO_DATA: [sentence]})


def ced(axes: Axes, errors: Mapping[str, np.ndarray], threshold: float = 0.10, ruler: str = "inter-ocular distance") -> None:
    """Cumulative error curves: share of faces with an NME (a fraction of `ruler`) of at most x; area in the legend."""
    for line, (label, values) in zip(LINES, errors.items(), strict=False):
        x, share = metrics.ced(values, threshold)
        name = f"{label} (AUC {metrics.auc(values, threshold):.3f})"
        axes.step(100 * x, 100 * share, where="post", **line(markevery=0.1, label=name))
    axes.set(xlabel=f"NME [% of {ruler}]", ylabel="faces [%]", xlim=(0, 100 * threshold), ylim=(0, 101))
    axes.legend(loc="lower right")


def flip_check(sample: Faces) -> Figure:
    """The mean of some faces and its mirror image, renamed by their scheme's flip: they lie on each other where it is right.

    Dots with numbers: the mean face; triangles: its mirror image; red: the pair that is farthest apart.
    """
    found = symmetry.reflect(sample.landmarks, sample.scheme)
    (a, b), complaint = found.worst, found.complaint()
    with style():
        figure = Figure(figsize=(WIDTH / 2, WIDTH / 2))
        axes = figure.subplots()
        for i, (one, other) in enumerate(zip(found.mean, found.mirrored)):
            bad = i in (a, b) and complaint
            axes.plot(*zip(one, other), color=RED if bad else GREY, linewidth=2.5 if bad else 0.8, zorder=1)
            axes.annotate(str(i), one, xytext=(3, 3), textcoords="offset points", fontsize=6, color=RED if bad else BLACK)
        axes.plot(*found.mean.T, "o", color=BLACK, markersize=3, label="mean face")
        axes.plot(*found.mirrored.T, "^", color=ORANGE, markersize=3, label="mirrored and renamed by flip")
        word = "wrong flip" if found.wrong else "worst pair" if complaint else "flip is right, worst pair"
        axes.set(aspect="equal", title=f"{word}: {a} and {b}, {100 * found.apart[a]:.0f} % of the face's size")
        axes.invert_yaxis()
        bare(axes)
        figure.legend(loc="outside lower center", ncols=2)
        settle(figure)
    return figure


BOXES = {  # kind of disturbance -> axis label, the box as it should be
    "shift": ("box moved by [% of its side]", 0),
    "scale": ("size of the box [%]", 100),
    "rotation": ("box turned by [degrees]", 0),
}


def box_sensitivity(models: Model | Mapping[str, Model], sample: Faces, **options) -> tuple[Figure, pd.DataFrame]:
    """NME against shift, scale and rotation of the face box, for one network or several by name; bands are 95 % intervals.

    `options` go to `sensitivity.box_sensitivity`, which computes what is drawn.
    """
    named = models if isinstance(models, Mapping) else {"": models}
    found = [sensitivity.box_sensitivity(model, sample, **options).assign(model=name) for name, model in named.items()]
    frame = pd.concat(found, ignore_index=True)
    kinds = list(frame["kind"].unique())
    with style():
        figure = Figure(figsize=(WIDTH, 2.3))
        for axes, kind in zip(figure.subplots(1, len(kinds), sharey=True, squeeze=False)[0], kinds):
            label, right = BOXES[kind]
            axes.axvline(right, color=GREY, linewidth=0.8, linestyle=":")
            for line, name in zip(LINES, named):
                part = frame[(frame["kind"] == kind) & (frame["model"] == name)]
                axes.plot(part["amount"], 100 * part["nme"], **line(label=name))
                axes.fill_between(
                    part["amount"], 100 * part["low"], 100 * part["high"], color=line.colour, alpha=0.15, linewidth=0
                )
            axes.set(xlabel=label, title=kind)
        figure.axes[0].set_ylabel(f"NME\n[% of {sample.scheme.ruler}]")
        figure.axes[0].set_ylim(bottom=0)
        if any(named):
            figure.legend(*figure.axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=len(named))
        settle(figure)
    return figure, frame


def learning_curves(axes: Axes, logs: Mapping[str, Sequence[pd.DataFrame]], part: str = "total") -> None:
    """The loss `part` by epoch, mean over a row's runs; the band reaches from the least run to the greatest. Log scale."""
    for line, (label, runs) in zip(LINES, logs.items(), strict=False):
        epochs = min(len(run) for run in runs)
        values = np.stack([run[part].to_numpy()[:epochs] for run in runs])
        at = np.arange(1, epochs + 1)
        axes.plot(at, values.mean(0), **line(label=label, markevery=max(1, epochs // 6), linewidth=1.1))
        axes.fill_between(at, values.min(0), values.max(0), color=line.colour, alpha=0.15, linewidth=0)
    axes.set(xlabel="epoch", ylabel=f"loss ({part})", yscale="log")
    axes.yaxis.set_minor_formatter(LogFormatter(minor_thresholds=(1, 0.5)))
    axes.yaxis.set_major_formatter(LogFormatter())
    axes.legend()


def against_iteration(axes: Axes, lines: Mapping[str, Line], frame: pd.DataFrame, of: str, factor: float = 1.0) -> None:
    """`value` with `low` and `high` against `iteration`, one curve for each kind in column `of`, moved a little apart."""
    for number, (name, line) in enumerate(lines.items()):
        part = frame[frame[of] == name].sort_values("iteration")
        value = factor * part["value"].to_numpy()
        reach = np.abs(factor * part[["low", "high"]].to_numpy().T - value)
        at = part["iteration"].to_numpy() + 0.07 * (number - (len(lines) - 1) / 2)
        axes.errorbar(at, value, reach, **line(label=name, elinewidth=0.7, capsize=1.6, capthick=0.7))
    axes.set(xticks=sorted(frame["iteration"].unique()))


def zoom(axes: Axes, points: np.ndarray, reach: float | None = None) -> None:
    """Shows the square about `points` (N, 2) of a picture: `reach` to each side of their middle, or all of them."""
    low, high = points.min(0), points.max(0)
    x, y = (low + high) / 2
    reach = 0.62 * (high - low).max() if reach is None else reach
    axes.set(xlim=(x - reach, x + reach), ylim=(y + reach, y - reach))


def arrow_between(figure: Figure, one: Axes, other: Axes, text: str) -> None:
    """An arrow with `text` over it in the gap between two panels that lie side by side, in a figure that is settled."""
    ends = {"coordsA": "axes fraction", "coordsB": "axes fraction", "axesA": one, "axesB": other}
    figure.add_artist(ConnectionPatch((1.02, 0.5), (-0.02, 0.5), arrowstyle="-|>", mutation_scale=9, linewidth=1.2, **ends))
    left, right = one.get_position(), other.get_position()
    figure.text((left.x1 + right.x0) / 2, (left.y0 + left.y1) / 2 + 0.02, text, ha="center", va="bottom", fontsize=8)


VERDICTS = {"reproduced": ("o", BLUE), "undecided": ("s", GREY), "not reproduced": ("X", RED), "no such data": ("", GREY)}


def claims(frame: pd.DataFrame, smoke: bool = False) -> Figure:
    """The claims of `results.claims` one below the other: our difference with its interval, the paper's, the verdict.

    The pale side is where the paper expects the difference. The axis is linear near 0 and logarithmic beyond, since the
    differences of one paper span two orders of magnitude.
    """
    with style():
        figure = Figure(figsize=(WIDTH, 0.9 + 0.235 * len(frame)))
        axes = figure.subplots()
        at = np.arange(len(frame))
        known = frame[["here", "low", "high", "paper"]].to_numpy(float)
        reach = 1.3 * np.nanmax(np.abs(np.append(known[np.isfinite(known)], 1.0)))
        axes.set_xscale("symlog", linthresh=1.0, linscale=0.8)
        axes.set(xlim=(-reach, reach), ylim=(len(frame) - 0.4, -0.6), yticks=at, yticklabels=frame["claim"])
        for i, claim in enumerate(frame.itertuples()):
            marker, colour = VERDICTS[claim.verdict]
            side = -reach if claim.expected == "lower" else reach
            axes.barh(i, side, height=0.86, color="#f1f1f1", zorder=0)
            axes.plot([claim.low, claim.high], [i, i], color=colour, linewidth=1.4, solid_capstyle="butt")
            axes.plot(claim.here, i, marker=marker, color=colour, markersize=5)
            axes.plot(claim.paper, i, marker="|", color=BLACK, markersize=8, markeredgewidth=1.6)
            text = f"{claim.verdict} ({claim.metric}, {claim.split})"
            axes.text(1.02, i, text, transform=axes.get_yaxis_transform(), va="center", fontsize=6.5, color=colour)
        axes.axvline(0, color=BLACK, linewidth=0.7)
        axes.grid(False)
        axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}"))
        axes.tick_params(axis="y", length=0, labelsize=7)
        units = {scores.UNITS.get(metric, 1000) for metric in frame["metric"]}
        unit = {(100,): "in %", (1000,): "x 1000"}.get(tuple(units), "in the unit of its table")
        paper = "bar: the paper's; " if frame["paper"].notna().any() else ""
        axes.set_xlabel(f"difference {unit}, with 95 % interval; {paper}shaded: the side it claims")
        if smoke:
            watermark(figure)
        settle(figure)
    return figure
