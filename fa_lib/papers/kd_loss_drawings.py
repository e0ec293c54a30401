"""Figures 1-9 of paper 2, which explain its method: soft landmarks, the two phases; those of the losses are in kd_loss_curves.py.

No figure shows a real photograph: where a study is of real faces, rendered ones stand in.
"""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

from fa_lib import data, diagram, metrics, plots
from fa_lib.data import Faces
from fa_lib.geometry import denormalise, normalise
from fa_lib.landmarks import SCHEMES
from fa_lib.papers import kd_loss_curves
from fa_lib.papers.kd_loss_training import KEEP
from fa_lib.plots import BLACK, BLUE, GREEN, GREY, ORANGE, WIDTH, Line
from fa_lib.results import Study
from fa_lib.shape_model import ShapeModel

SHARP = 256  # pixels of the pictures that figures 1 and 2 show
SHARES = (0.7, 0.9, 0.95, 1.0)  # m of figure 1
READINGS = {"variance": "of the variance", "components": "of the eigenvectors"}
WHITE_DOTS = {"color": "white", "markersize": 2.6, "markeredgewidth": 0.45}
ORANGE_DOTS = {"color": ORANGE, "marker": "D", "markersize": 2.2, "markeredgewidth": 0.4}


def rendered_train(study: Study) -> Faces:
    """Rendered training faces of 68 points, also for a study of real ones."""
    if study.source.root is None:
        return study.source.train()
    return data.load("synthetic/300w", "train", None, study.source.size, study.profile.train_faces)


def centred(faces: Faces) -> np.ndarray:
    """The annotations (N, K, 2) in zero-centred normalised coordinates of the crop (section 3.3)."""
    return normalise(faces.crops()[1], faces.size) - 0.5


def apart(one: np.ndarray, other: np.ndarray, hard: np.ndarray) -> np.ndarray:
    """Mean distance (N,) of two sets of landmarks (N, K, 2), % of the inter-ocular distance of the `hard` ones."""
    return 100 * metrics.nme(one, other, metrics.lengths(hard))


def _shown(count: int) -> tuple[np.ndarray, np.ndarray]:
    """The first pictures (N, 256, 256, 3) of the rendered training faces, larger, and their centred landmarks."""
    faces = data.load("synthetic/300w", "train", None, SHARP, count)
    return faces.crops()[0], centred(faces)


def _pixels(landmarks: np.ndarray) -> np.ndarray:
    return denormalise(landmarks + 0.5, SHARP)


def _rows(points: np.ndarray, **what) -> list[dict]:
    return [{**what, "landmark": k, "x": x, "y": y} for k, (x, y) in enumerate(points)]


def _pair(axes: Axes, picture: np.ndarray, hard: np.ndarray, soft: np.ndarray) -> None:
    """Hard landmarks (white) and soft ones (orange) on a picture, joined."""
    axes.plot(*np.stack([hard, soft]).transpose(2, 0, 1), color=BLACK, linewidth=0.8)
    plots.faces(axes, picture, hard, soft, styles=[WHITE_DOTS, ORANGE_DOTS], contours=False)


@plots.drawn
def figure1(study: Study) -> tuple[Figure, pd.DataFrame]:
    """Mean, hard and soft landmarks of one face, and how far soft ones are from hard ones for each share that is kept.

    The face is that of the first nine training faces whose distance from the mean face is their median. With all components, soft
    landmarks are hard ones but for the limit of three standard deviations.
    """
    every = centred(rendered_train(study))
    pictures, landmarks = _shown(9)
    mean = every.mean(0, keepdims=True)
    face = int(apart(landmarks, mean.repeat(9, 0), landmarks).argsort()[4])
    picture, hard = pictures[face], landmarks[face : face + 1]
    figure = Figure(figsize=(WIDTH, 3.85))
    top, bottom = figure.subfigures(2, 1, height_ratios=[1, 1.12])
    panels = top.subplot_mosaic([["hard", "mean", "curve"]], width_ratios=[1, 1, 2])
    panels |= dict(zip(SHARES, bottom.subplots(1, len(SHARES))))
    plots.faces(panels["hard"], picture, _pixels(hard[0]), styles=[WHITE_DOTS])
    plots.faces(panels["mean"], picture, _pixels(mean[0]), styles=[{"color": GREEN, "marker": "s", "markersize": 2.2}])
    lines = _rows(_pixels(hard[0]), panel="hard") + _rows(_pixels(mean[0]), panel="mean")
    for share in SHARES:
        model = ShapeModel.fit(every, share)
        soft = model.soften(hard)
        _pair(panels[share], picture, _pixels(hard[0]), _pixels(soft[0]))
        distance, count = apart(soft, hard, hard)[0], len(model.variances)
        panels[share].set_title(f"soft, $\\tilde{{m}}$ = {100 * share:.0f} %", loc="center")
        panels[share].set_xlabel(f"components: {count}\n{distance:.1f} % of inter-ocular")
        lines += _rows(_pixels(soft[0]), panel="soft", keep=share, components=count, apart=distance)
    for name in ("hard", "mean"):
        panels[name].set_title(f"{name} landmarks", loc="center")
    curves = _softening(every)
    for line, (reading, label) in zip((Line(BLUE, "D"), Line(ORANGE, "^", "--")), READINGS.items()):
        part = curves[curves["reading"] == reading]
        panels["curve"].plot(100 * part["keep"], part["apart"], **line(label=label))
    panels["curve"].axvline(100 * KEEP, color=GREY, linewidth=0.8, linestyle=":")
    panels["curve"].set(xlabel="share kept [%]", ylabel="soft to hard\n[% of inter-ocular]", ylim=(0, None))
    panels["curve"].legend(loc="center left")
    panels["curve"].set_title("all training faces", loc="center")
    return figure, pd.concat([pd.DataFrame(lines), curves.assign(panel="curve")], ignore_index=True)


def _softening(landmarks: np.ndarray) -> pd.DataFrame:
    """Mean distance of soft from hard landmarks (N, K, 2) for several shares kept, by both readings of the paper."""
    lines = []
    for reading in READINGS:
        for keep in (0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 1.0):
            model = ShapeModel.fit(landmarks, keep, by=reading)
            distance = apart(model.soften(landmarks), landmarks, landmarks).mean()
            lines.append({"reading": reading, "keep": keep, "components": len(model.variances), "apart": distance})
    return pd.DataFrame(lines)


@plots.drawn
def figure2(study: Study) -> tuple[Figure, pd.DataFrame]:
    """Soft landmarks (orange) beside hard ones (white) on the first training faces, by both readings of "90 %".

    The authors' code keeps 90 % of the variance; the paper's text, 90 % of the eigenvectors, changes almost nothing.
    """
    every, (pictures, hard) = centred(rendered_train(study)), _shown(5)
    figure, lines = Figure(figsize=(WIDTH, 2.85)), []
    figure.get_layout_engine().set(wspace=0.01, w_pad=0.02)
    for panels, (reading, label) in zip(figure.subplots(2, 5), READINGS.items()):
        model = ShapeModel.fit(every, KEEP, by=reading)
        soft = model.soften(hard)
        for i, axes in enumerate(panels):
            _pair(axes, pictures[i], _pixels(hard[i]), _pixels(soft[i]))
            distance = apart(soft, hard, hard)[i]
            axes.set_xlabel(f"{distance:.1f} % of inter-ocular", fontsize=7, labelpad=1)
            lines += _rows(_pixels(hard[i]), reading=reading, face=i, kind="hard")
            lines += _rows(_pixels(soft[i]), reading=reading, face=i, kind="soft", apart=distance)
        panels[0].set_ylabel(f"90 % {label}\n({len(model.variances)} components)")
    return figure, pd.DataFrame(lines)


BINS = np.linspace(-0.5, 0.5, 57)  # coordinates of figure 3


@plots.drawn
def figure3(study: Study) -> tuple[Figure, pd.DataFrame]:
    """Where hard and soft landmarks of WFLW's training faces lie, and how far each is spread: all points, and the boundary."""
    faces = study.on("wflw").source.train()
    hard = centred(faces)
    kinds = {"hard": hard, "soft": ShapeModel.fit(hard, KEEP).soften(hard)}
    shade = LinearSegmentedColormap.from_list("white to blue", ["white", BLUE, BLACK])
    figure, frames = Figure(figsize=(WIDTH, 4.1)), []
    parts = {"(a) all points": range(hard.shape[1]), "(b) face boundary": SCHEMES[98].regions["jaw"]}
    for panels, (name, ids) in zip(figure.subplots(2, 3, width_ratios=[1, 1, 1.15]), parts.items()):
        clouds = {kind: _density(points[:, list(ids)]) for kind, points in kinds.items()}
        top = max(cloud.max() for cloud in clouds.values())
        for axes, (kind, cloud) in zip(panels, clouds.items()):
            axes.imshow(np.sqrt(cloud.T / top), cmap=shade, extent=(-0.5, 0.5, 0.5, -0.5), interpolation="nearest")
            axes.set(xticks=(-0.5, 0, 0.5), yticks=(-0.5, 0, 0.5), title=f"{name}: {kind}", xlabel="x [crop]")
            axes.grid(False)
            i, j = np.nonzero(cloud)
            middle = (BINS[1:] + BINS[:-1]) / 2
            cells = {"x": middle[i], "y": middle[j], "share": cloud[i, j]}
            frames.append(pd.DataFrame({"panel": name, "kind": kind, **cells}))
        panels[0].set_ylabel("y [crop]")
        for line, (kind, points) in zip((Line(BLACK, "o"), Line(ORANGE, "D")), kinds.items()):
            spread = 100 * np.sqrt(points[:, list(ids)].var(0).sum(-1))
            panels[2].plot(ids, spread, **line(label=kind, markersize=2.4, linewidth=0.8))
            frames.append(pd.DataFrame({"panel": name, "kind": kind, "landmark": list(ids), "spread": spread}))
        panels[2].set(title="spread of each landmark", xlabel="landmark", ylabel="std [% of the crop]", ylim=(0, None))
        panels[2].legend(loc="lower right", ncols=2)
    return figure, pd.concat(frames, ignore_index=True)


def _density(landmarks: np.ndarray) -> np.ndarray:
    """Share of the landmarks (N, K, 2) in each cell of BINS, x first."""
    count, _, _ = np.histogram2d(*landmarks.reshape(-1, 2).T, bins=(BINS, BINS))
    return count / len(landmarks) / landmarks.shape[1]


# name: text, x and y of the middle, width, kind
PHASE1 = {
    "image": ("image", 0.75, 3.1, 1.2, "data"), "tough": ("tough teacher", 3.1, 4.7, 1.9, "trained"),
    "tolerant": ("tolerant teacher", 3.1, 1.0, 1.9, "trained"), "accurate": ("predicted points", 5.6, 4.7, 2.0, "data"),
    "smooth": ("predicted points", 5.6, 1.0, 2.0, "data"), "loss tough": ("L2", 8.2, 4.7, 1.0, "loss"),
    "loss tolerant": ("L2", 8.2, 1.0, 1.0, "loss"), "hard": ("hard landmarks", 8.2, 5.9, 1.9, "data"),
    "model": ("shape model (PCA)", 8.2, 3.4, 2.3, "data"), "soft": ("soft landmarks", 8.2, 2.2, 1.9, "data"),
}  # fmt: skip
ARROWS1 = (  # from, to, text, kind
    ("image", "tough", "", "flow"), ("image", "tolerant", "", "flow"), ("tough", "accurate", "", "flow"),
    ("tolerant", "smooth", "", "flow"), ("accurate", "loss tough", "", "flow"), ("smooth", "loss tolerant", "", "flow"),
    ("hard", "loss tough", "", "flow"), ("hard", "model", "", "bus"), ("model", "soft", "", "flow"),
    ("soft", "loss tolerant", "", "flow"),
)  # fmt: skip
PHASE2 = {
    "image": ("image", 0.75, 3.0, 1.2, "data"), "tough": ("tough teacher", 3.1, 5.2, 1.9, "frozen"),
    "tolerant": ("tolerant teacher", 3.1, 4.0, 1.9, "frozen"), "student": ("student", 3.1, 2.2, 1.9, "trained"),
    "accurate": ("$P_{Ac}$: accurate", 5.6, 5.2, 1.8, "data"), "smooth": ("$P_{Sm}$: smooth", 5.6, 4.0, 1.8, "data"),
    "pred": ("$P_{Pr}$: predicted", 5.6, 2.2, 1.8, "data"), "hard": ("$P_{Gt}$: hard", 5.6, 0.8, 1.8, "data"),
    "aloss tough": ("$ALoss_{Tou}$", 8.2, 5.2, 1.6, "loss"), "aloss tolerant": ("$ALoss_{Tol}$", 8.2, 4.0, 1.6, "loss"),
    "main": ("$Loss_{Main}$", 8.2, 1.5, 1.6, "loss"),
}  # fmt: skip
ARROWS2 = (
    ("image", "tough", "", "flow"), ("image", "tolerant", "", "flow"), ("image", "student", "", "flow"),
    ("tough", "accurate", "", "flow"), ("tolerant", "smooth", "", "flow"), ("student", "pred", "", "flow"),
    ("accurate", "aloss tough", "", "flow"), ("smooth", "aloss tolerant", "", "flow"),
    *((points, loss, "", "bus") for points in ("pred", "hard") for loss in ("main", "aloss tolerant", "aloss tough")),
)  # fmt: skip


@plots.drawn
def figure4(study: Study) -> tuple[Figure, pd.DataFrame]:
    """Phase 1: a tough teacher learns the hard landmarks, a tolerant one the soft landmarks, each with L2."""
    note = "Both teachers: EfficientNet-B3. Soft landmarks keep 90 % of the variance of the hard ones (equations 1-3)."
    return _diagram(PHASE1, ARROWS1, note, (-0.15, 6.4))


@plots.drawn
def figure5(study: Study) -> tuple[Figure, pd.DataFrame]:
    """Phase 2: the student learns with KD-Loss; both teachers see the same picture and stay as they are."""
    note = (
        "$KD\\,Loss = \\phi\\,Loss_{Main} + ALoss_{Tou} + ALoss_{Tol}$     (only the student learns, and only it is used later)"
    )
    return _diagram(PHASE2, ARROWS2, note, (-0.3, 5.75))


def _diagram(boxes: dict, arrows: tuple, note: str, ylim: tuple[float, float]) -> tuple[Figure, pd.DataFrame]:
    figure = Figure(figsize=(WIDTH, 0.58 * (ylim[1] - ylim[0])))
    axes = figure.subplots()
    axes.set(xlim=(0, 10), ylim=ylim)
    diagram.draw(axes, boxes, arrows, fork=1.75, bus=9.65)
    axes.text(5, ylim[0] + 0.2, note, ha="center", va="center", fontsize=8)
    return figure, diagram.table(boxes, arrows)


FIGURES = {1: figure1, 2: figure2, 3: figure3, 4: figure4, 5: figure5, **kd_loss_curves.FIGURES}
