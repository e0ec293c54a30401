"""The figures of paper 1, each drawn from a `Study`: the figure, and the tidy data that drew it.

No figure shows a real photograph: where a study is of real faces, rendered ones stand in, and of the real ones there are
numbers only.
"""

import numpy as np
import pandas as pd
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from fa_lib import data, diagram, metrics, models, plots
from fa_lib.data import Faces, readers
from fa_lib.geometry import Affine, apply_to_landmarks, warp_images
from fa_lib.landmarks import SCHEMES
from fa_lib.plots import BLACK, BLUE, GREEN, GREY, ORANGE, WIDTH
from fa_lib.redraw import FromFrame
from fa_lib.results import Study

ARMS = {"gt": "only GT", "elt": "GT + ELT", "sct": "GT + SCT", "all": "all losses"}
NETWORKS = {"fan2": "FAN2HG", "resnet18": "ResNet18"}
LINES = dict(zip(ARMS.values(), plots.LINES))
PARTS = {  # regions of the 68 points, left and right together
    "jaw": ("jaw",), "brows": ("left_brow", "right_brow"), "nose": ("nose",), "eyes": ("left_eye", "right_eye"),
    "outer lips": ("outer_mouth",), "inner lips": ("inner_mouth",),
}  # fmt: skip
INDEX = {name: [i for part in parts for i in SCHEMES[68].regions[part]] for name, parts in PARTS.items()}
REGION = {i: name for name, ids in INDEX.items() for i in ids}


def rendered_test(study: Study, size: int | None = None, count: int | None = None) -> Faces:
    """Rendered test faces, also for a study of real ones: `study.test` itself where it is rendered and no `size` is asked for."""
    if study.source.root is None and size is None:
        return study.test
    return data.load("synthetic/300w", "full", None, size or study.source.size, count or study.profile.test_faces)


def by_region(first: np.ndarray, second: np.ndarray, groups: np.ndarray) -> dict[str, float]:
    """Mean distance between two annotations (N, 68, 2) of the same faces, % of inter-ocular, by region and of all points.

    One value a group of pictures of the same face, then the mean over groups.
    """
    distance = 100 * np.linalg.norm(metrics.displacements(second, first, metrics.lengths(first)), axis=-1)  # (N, 68)
    grouped = pd.DataFrame(distance).groupby(np.asarray(groups)).mean().to_numpy()
    return {**{name: float(grouped[:, ids].mean()) for name, ids in INDEX.items()}, "all": float(grouped.mean())}


def photographs_twice(study: Study) -> dict[str, float]:
    """As `by_region`, for real photographs: by region where they are at hand, else the overall value our manifest records."""
    if study.source.root is not None and study.has("twice"):
        pairs = study.twice
        return by_region(pairs.first_labels, pairs.second_labels, pairs.group)
    table = pd.read_csv(readers.MANIFESTS / "300w_twice.csv").query("ecc >= 0.995")  # below, it may be the next shot
    number, _ = pd.factorize(pd.concat([table["a"], table["b"]]))
    a, b = number.reshape(2, -1)
    count = number.max() + 1
    _, group = connected_components(coo_array((np.ones(len(a)), (a, b)), shape=(count, count)), directed=False)
    return {"all": float(table["nme_pct"].groupby(group[a]).mean().mean())}


@plots.drawn
def figure1(study: Study) -> tuple[Figure, pd.DataFrame]:
    """Two annotations of the same rendered faces, and how far two annotators are apart by region, rendered and real."""
    shown = rendered_test(study, size=256, count=5).select(np.array([0, 1, 2]))
    every = rendered_test(study)
    apart = {
        "rendered faces, two annotators": by_region(every.landmarks, every.second, every.group),
        "300-W photographs annotated twice": photographs_twice(study),
    }
    figure = Figure(figsize=(WIDTH, 3.9))
    top, bottom = figure.subfigures(2, 1, height_ratios=[2.1, 1.8])
    top.get_layout_engine().set(wspace=0.01, w_pad=0.02, h_pad=0.02)
    (pictures, first), second = shown.crops(), shown.second - shown.offset
    for axes, picture, *pair in zip(top.subplots(1, len(shown)), pictures, first, second):
        looks = {"markersize": 3.2, "markeredgewidth": 0.5}
        axes.plot(*np.stack(pair).transpose(2, 0, 1), color=BLACK, linewidth=0.6)
        plots.faces(axes, picture, *pair, styles=[{"color": "white", **looks}, {"color": GREEN, **looks}], contours=False)
    axes = bottom.subplots()
    for number, (label, values) in enumerate(apart.items()):
        shift = {name: 0.16 * (2 * number - 1) if all(name in one for one in apart.values()) else 0.0 for name in values}
        at = [[*PARTS, "all"].index(name) + shift[name] for name in values]
        look = {"color": (GREEN, "white")[number], "edgecolor": BLACK, "linewidth": 0.6, "hatch": ("", "////")[number]}
        bars = axes.bar(at, values.values(), 0.3, label=label, **look)
        axes.bar_label(bars, fmt="%.1f", fontsize=7, padding=1)
    axes.set_xticks(range(len(PARTS) + 1), [*PARTS, "all points"])
    axes.set_ylabel("mean distance\n[% of inter-ocular]")
    axes.legend()
    points = [
        {"panel": "faces", "face": shown.names[i], "annotator": a, "landmark": k, "x": p[0], "y": p[1]}
        for i in range(len(shown)) for a, one in enumerate((first, second), 1) for k, p in enumerate(one[i])
    ]  # fmt: skip
    means = [{"panel": "distance", "faces": k, "region": r, "value": v} for k, d in apart.items() for r, v in d.items()]
    return figure, pd.DataFrame(points + means)


TURN = {"scale": 0.85, "degrees": 20.0, "shift": (5 / 256, -3 / 256)}  # a T within the paper's ranges; shift: share of the crop


def follow(study: Study, row: str, picture: np.ndarray) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Equation 1 by hand: T I, and the landmarks f(I), f(T I), T^-1 f(T I), each (68, 2), of a crop I (size, size, 3)."""
    size = picture.shape[0]
    net = study.trained(row)[0].network()
    image = torch.from_numpy(np.array(picture)).permute(2, 0, 1)[None].float() / 255
    middle, shift = torch.full((1, 2), (size - 1) / 2), torch.tensor([TURN["shift"]]) * size
    transform = Affine.about(middle, torch.tensor([TURN["scale"]]), torch.tensor([TURN["degrees"]]), shift)
    turned = warp_images(image, transform)
    with torch.no_grad():
        pred, there = (models.landmarks_of(net(i), size) for i in (image, turned))
    found = {"f(I)": pred, "f(TI)": there, "T^-1 f(TI)": apply_to_landmarks(transform.inverse(), there)}
    shown = (turned[0] * 255).round().byte().permute(1, 2, 0).numpy()
    return shown, {name: points[0].numpy() for name, points in found.items()}


@plots.drawn
def figure2(study: Study) -> tuple[Figure, pd.DataFrame]:
    """ELT as a picture: a trained network's landmarks on a crop and on the turned crop, brought back and compared."""
    if study.test.scheme != SCHEMES[68]:  # there are no rendered faces with such points
        return plots.no_data("Figure 2 shows rendered faces, which have 68 points: no such data for these points")
    faces = rendered_test(study)
    (pictures, labels), lines = faces.crops(), []
    length = metrics.lengths(labels[:1])[0]
    figure = Figure(figsize=(WIDTH, 3.9))
    figure.get_layout_engine().set(wspace=0.16, hspace=0.06, w_pad=0.02, h_pad=0.02)
    grid = figure.subplots(2, 4)
    for panels, (row, title) in zip(grid, {"fan2-gt": "trained with GT only", "fan2-all": "trained with GT + ELT + SCT"}.items()):
        turned, found = follow(study, row, pictures[0])
        apart = 100 * np.linalg.norm(found["T^-1 f(TI)"] - found["f(I)"], axis=-1) / length
        white, orange = {"color": "white", "markersize": 2.4}, {"color": ORANGE, "marker": "D", "markersize": 2.2}
        plots.faces(panels[0], pictures[0], found["f(I)"], styles=[white], contours=False)
        plots.faces(panels[1], turned, found["f(TI)"], styles=[orange], contours=False)
        pair = found["f(I)"], found["T^-1 f(TI)"]
        for axes in panels[2:]:
            axes.plot(*np.stack(pair).transpose(2, 0, 1), color=BLACK, linewidth=0.9)
            plots.faces(axes, pictures[0], *pair, styles=[white, orange], contours=False)
        plots.zoom(panels[3], labels[0][list(SCHEMES[68].regions["left_eye"])], 0.42 * length)
        for line in panels[3].lines:
            line.set_markersize(2.2 * line.get_markersize())
        panels[0].set_ylabel(title)
        panels[2].set_xlabel(f"mean distance {apart.mean():.2f} %\nof inter-ocular")
        for name, points in found.items():
            lines += [{"row": row, "landmarks": name, "landmark": k, "x": p[0], "y": p[1], "apart": d}
                      for k, (p, d) in enumerate(zip(points, apart))]  # fmt: skip
    for axes, title in zip(grid[0], ("$f(I)$ on $I$", "$f(T I)$ on $T I$", "$T^{-1} f(T I)$ on $I$", "the left eye")):
        axes.set_title(title, loc="center")
    plots.settle(figure)
    for panels in grid:
        for one, other, text in zip(panels, panels[1:3], ("$T$", "$T^{-1}$")):
            plots.arrow_between(figure, one, other, text)
    return figure, pd.DataFrame(lines)


# name: text, x and y of the middle, width, kind
BOXES = {
    "image": ("image $I$", 0.9, 3.9, 1.5, "data"), "turned": ("turned image $T I$", 0.9, 0.8, 1.7, "data"),
    "base": ("$f_0$", 3.3, 5.3, 1.5, "frozen"), "base out": ("$f_0(I)$", 5.6, 5.3, 1.4, "data"),
    "teacher": ("$f_{i-1}$", 3.3, 3.9, 1.5, "frozen"), "teacher out": ("$f_{i-1}(I)$", 5.6, 3.9, 1.4, "data"),
    "student": ("$f_i$", 3.3, 2.3, 1.5, "trained"), "student out": ("$f_i(I)$", 5.6, 2.3, 1.4, "data"),
    "again": ("$f_i$", 3.3, 0.8, 1.5, "trained"), "back": ("$T^{-1} f_i(T I)$", 5.6, 0.8, 1.4, "data"),
    "sct": ("$loss_i^{SCT}$: sizes", 8.2, 5.3, 2.0, "loss"), "sd": ("$loss_i^{SD}$: landmarks", 8.2, 3.9, 2.0, "loss"),
    "elt": ("$loss_i^{ELT}$: landmarks", 8.2, 0.8, 2.0, "loss"),
}  # fmt: skip
ARROWS = (  # from, to, text, kind
    ("image", "base", "", "flow"), ("image", "teacher", "", "flow"), ("image", "student", "", "flow"),
    ("image", "turned", "$T$", "flow"), ("turned", "again", "", "flow"), ("base", "base out", "", "flow"),
    ("teacher", "teacher out", "", "flow"), ("student", "student out", "", "flow"), ("again", "back", "$T^{-1}$", "flow"),
    ("base out", "sct", "", "flow"), ("teacher out", "sd", "", "flow"), ("back", "elt", "", "flow"),
    ("student out", "sct", "", "bus"), ("student out", "sd", "", "bus"), ("student out", "elt", "", "bus"),
    ("teacher", "student", "starts as a copy", "copy"), ("student", "again", "same weights", "same"),
)  # fmt: skip


@plots.drawn
def figure3(study: Study) -> tuple[Figure, pd.DataFrame]:
    """What is trained, what is frozen and what is compared in iteration i."""
    figure = Figure(figsize=(WIDTH, 3.75))
    axes = figure.subplots()
    axes.set(xlim=(0, 10), ylim=(-0.55, 5.95))
    diagram.draw(axes, BOXES, ARROWS, fork=2.15, bus=9.65)
    total = "$loss_i = loss_i^{SD} + (i+1)\\,loss_i^{ELT} + (i+1)\\,loss_i^{SCT}$"
    axes.text(5, -0.3, f"{total}     (iteration 1: $f_{{i-1}} = f_0$)", ha="center", va="center", fontsize=8.5)
    return figure, diagram.table(BOXES, ARROWS)


SHOWN = [*SCHEMES[68].regions["nose"], *SCHEMES[68].regions["left_eye"]]
LETTERS = {"A": 30, "B": 36}  # tip of the nose, outer corner of the left eye
FRAMES = 25  # one second


def still_frames(video: Faces) -> dict[str, np.ndarray]:
    """Clip -> its frames (indices) in which the face holds still, at most one second of them."""
    still = np.ones(len(video), bool) if video.still is None else video.still
    return {str(clip): np.flatnonzero((video.group == clip) & still)[:FRAMES] for clip in pd.unique(video.group)}


def spread(video: Faces, found: np.ndarray) -> np.ndarray:
    """How far each landmark (68,) wanders about its own mean while faces hold still, % of inter-ocular; mean over clips.

    `found` (N, 68, 2) in crop pixels; measured in pixels of the video, since the crops follow their annotation.
    """
    points, labels = video.to_photo(found), video.to_photo(video.landmarks - video.offset)
    values = []
    for frames in still_frames(video).values():
        length = metrics.lengths(labels[frames]).mean()
        values.append(100 * np.sqrt(points[frames].var(0).sum(-1)) / length)
    return np.mean(values, 0)


def _traces(study: Study, rows: dict[str, str]) -> tuple[np.ndarray, pd.DataFrame]:
    """The picture of a still stretch's middle frame, and what each row's first network finds in all of its frames."""
    video = study.video
    frames = next(iter(still_frames(video).values()))
    middle = video.select(frames[len(frames) // 2 : len(frames) // 2 + 1])
    length = metrics.lengths(video.landmarks[frames]).mean()
    lines = []
    for row, label in rows.items():
        in_video = video.to_photo(study.trained(row)[0].predictions["video"])[frames]
        points = in_video @ middle.matrix[0, :, :2].T + middle.matrix[0, :, 2] - middle.offset
        away = 100 * (points - points.mean(0)) / length
        lines += [
            {"panel": "track", "network": label, "row": row, "frame": t, "landmark": k, "x": points[t, k, 0],
             "y": points[t, k, 1], "away_x": away[t, k, 0], "away_y": away[t, k, 1]}
            for t in range(len(frames)) for k in SHOWN
        ]  # fmt: skip
    return middle.crops()[0][0], pd.DataFrame(lines)


@plots.drawn
def figure4(study: Study) -> tuple[Figure, pd.DataFrame]:
    """Landmarks of one still second of video, without and with the method: where they are found, and how far they wander."""
    if not study.has("video"):
        return plots.no_data(f"Figure 4 shows video: no such data; {study.video.title}")
    rows = {"fan2-gt": "without", study.paper.last("fan2"): "with"}
    picture, tracks = _traces(study, rows)
    values = [np.mean([spread(study.video, t.predictions["video"]) for t in study.trained(row)], 0) for row in rows]
    figure = Figure(figsize=(WIDTH, 3.9))
    panels = figure.subplot_mosaic([["a", "b", "e"], ["c", "d", "legends"]], width_ratios=[1, 1, 1.1])
    for axes, letter, (row, label) in zip((panels["a"], panels["b"]), "ab", rows.items()):
        _draw_tracks(axes, picture, tracks, row)
        axes.set_title(f"({letter}) {label} SD, ELT, SCT")
    for letter, (name, landmark) in zip("cd", LETTERS.items()):
        _draw_wander(panels[letter], tracks[tracks["landmark"] == landmark], rows)
        panels[letter].set_title(f"({letter}) landmark {name}")
    _draw_spread(panels["e"], *values)
    count = tracks["frame"].nunique()
    place = {"loc": "upper left", "alignment": "left", "borderaxespad": 0}
    title = f"(a-d) {count} frames, {count / FRAMES:.2f} s"
    key = panels["legends"].legend(*panels["c"].get_legend_handles_labels(), title=title, bbox_to_anchor=(0, 1), **place)
    panels["legends"].add_artist(key)
    points, names = panels["e"].get_legend_handles_labels()
    panels["legends"].legend(points, names, title="(e) 68 landmarks, all clips", ncols=2, bbox_to_anchor=(0, 0.55), **place)
    panels["legends"].set_axis_off()
    spreads = [
        {"panel": "spread", "network": label, "row": row, "landmark": k, "region": REGION[k], "value": value[k]}
        for (row, label), value in zip(rows.items(), values) for k in range(68)
    ]  # fmt: skip
    return figure, pd.concat([tracks, pd.DataFrame(spreads)], ignore_index=True)


def _draw_tracks(axes: Axes, picture: np.ndarray, tracks: pd.DataFrame, row: str) -> None:
    plots.zoom(axes, tracks[["x", "y"]].to_numpy())
    axes.imshow(picture.mean(-1), cmap="gray", alpha=0.45)
    for landmark, track in tracks[tracks["row"] == row].groupby("landmark"):
        axes.plot(track["x"], track["y"], color=BLUE, linewidth=0.5, marker="o", markersize=1.2, markeredgewidth=0)
        for name in (n for n, k in LETTERS.items() if k == landmark):
            text = {"xytext": (-9, 6), "textcoords": "offset points", "fontsize": 8, "weight": "bold"}
            axes.annotate(name, track[["x", "y"]].mean(), **text, arrowprops={"arrowstyle": "-", "linewidth": 0.6})
    plots.bare(axes)


def _draw_wander(axes: Axes, tracks: pd.DataFrame, rows: dict[str, str]) -> None:
    reach = 1.15 * tracks[["away_x", "away_y"]].abs().to_numpy().max() + 1e-6
    for line, (row, label) in zip((plots.Line(GREY, "o", ":"), plots.Line(BLUE, "D")), rows.items()):
        track = tracks[tracks["row"] == row]
        axes.plot(track["away_x"], track["away_y"], **line(label=label, linewidth=0.9, markersize=2.4))
    axes.set(xlim=(-reach, reach), ylim=(reach, -reach), aspect="equal", xlabel="x [% inter-ocular]", ylabel="y [%]")


def _draw_spread(axes: Axes, without: np.ndarray, with_method: np.ndarray) -> None:
    for line, (name, ids) in zip(plots.LINES, INDEX.items()):
        axes.plot(without[ids], with_method[ids], **line(linestyle="", label=name, alpha=0.85))
    reach = 1.06 * max(without.max(), with_method.max()) + 1e-6
    axes.plot([0, reach], [0, reach], color=GREY, linewidth=0.8)
    axes.set(xlim=(0, reach), ylim=(0, reach), xlabel="without", ylabel="with the method", box_aspect=1)
    axes.set_title("(e) spread [% inter-ocular]")


def by_iteration(study: Study, metric: str, split: str, network: str, factor: float = 1.0) -> pd.DataFrame:
    """A metric of all arms of a network against the self-distillation iteration, with 95 % intervals, tidy."""
    lines = []
    for arm, label in ARMS.items():
        for iteration in range(study.paper.ITERATIONS[network] + 1):
            row = f"{network}-{arm}" + (f"-sd{iteration}" if iteration else "")
            with np.errstate(invalid="ignore"):  # a network of profile smoke may have no landmark near the truth: no value
                found = study.estimate(row, metric, split)
            values = {"value": factor * found.value, "low": factor * found.low, "high": factor * found.high}
            lines.append({"network": NETWORKS[network], "split": split, "metric": metric, "arm": label, "row": row,
                          "iteration": iteration, **values})  # fmt: skip
    return pd.DataFrame(lines)


def ablation(study: Study) -> pd.DataFrame:
    """Figure 5's numbers: FAN2HG on clips where there are any, ResNet18 on test faces."""
    splits = {"fan2": "video" if study.has("video") else "test", "resnet18": "test"}
    frames = [by_iteration(study, m, split, net, 1000) for net, split in splits.items() for m in ("bias", "std", "nrmse")]
    return pd.concat(frames, ignore_index=True).assign(ruler=study.test.scheme.ruler)


@FromFrame.of(ablation)
def figure5(frame: pd.DataFrame) -> Figure:
    """Bias, std and NRMSE (x 1000) against the iteration for each choice of losses; intervals over faces and seeds."""
    figure = Figure(figsize=(WIDTH, 4.3))
    grid = figure.subplots(2, 3)
    for axes, ((network, split, metric), part) in zip(grid.flat, frame.groupby(["network", "split", "metric"], sort=False)):
        plots.against_iteration(axes, LINES, part, "arm")
        axes.set_title({"nrmse": "NRMSE"}.get(metric, metric))
        if metric == "bias":
            axes.set_ylabel(f"{network}, {'test faces' if split == 'test' else split}\n[{part['ruler'].iloc[0]} x 1000]")
        axes.set_xlabel("self-distillation iteration" if axes in grid[1] else "")
    figure.legend(*grid[0, 0].get_legend_handles_labels(), loc="outside upper center", ncols=4)
    return figure


@plots.drawn
def scale_figure(study: Study) -> tuple[Figure, pd.DataFrame]:
    """The size of the output relative to the annotation against the iteration: ELT shrinks it, SCT undoes that."""
    figure = Figure(figsize=(WIDTH, 2.4))
    frames = [by_iteration(study, "scale", "test", network, 100) for network in NETWORKS]
    for axes, frame in zip(figure.subplots(1, 2), frames):
        axes.axhline(100, color=GREY, linewidth=0.8)
        plots.against_iteration(axes, LINES, frame, "arm")
        axes.set(title=frame["network"].iloc[0], xlabel="self-distillation iteration")
    figure.axes[0].set_ylabel("size of the output\n[% of the annotation's]")
    figure.legend(*figure.axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=4)
    return figure, pd.concat(frames, ignore_index=True)


@plots.drawn
def learning_curves(study: Study, rows: tuple[str, ...] = ("fan2-gt", "fan2-all", "fan2-all-sd1")) -> tuple[Figure, pd.DataFrame]:
    """The total loss of some rows by epoch; the band spans the seeds."""
    logs = {row: [trained.log for trained in study.trained(row)] for row in rows}
    figure = Figure(figsize=(WIDTH, 2.4))
    plots.learning_curves(figure.subplots(), logs)
    frames = [run.assign(row=row, seed=seed) for row, found in logs.items() for seed, run in zip(study.seeds, found)]
    return figure, pd.concat(frames, ignore_index=True)


FIGURES = {1: figure1, 2: figure2, 3: figure3, 4: figure4, 5: figure5}
