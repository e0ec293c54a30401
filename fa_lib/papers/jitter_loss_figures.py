"""Figures 1, 4 and 6-8 of paper 3, its results; steadiness against lag, and a clip with landmarks. Others: jitter_loss_curves.

Every picture and clip here is rendered. Landmarks of a figure are those of the first seed where it does not say otherwise.
"""

import itertools
import math
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure
from matplotlib.patches import Ellipse
from scipy.stats import gaussian_kde
from torch import nn

from fa_lib import data, filters, metrics, plots, scores, training
from fa_lib.data import Faces
from fa_lib.papers import jitter_loss_curves as curves
from fa_lib.papers.jitter_loss_training import PDC, UNIT, Decoder, Reading, read
from fa_lib.plots import BLACK, BLUE, GREEN, ORANGE, PURPLE, RED, SKY, WIDTH, Line
from fa_lib.redraw import FromFrame, Incomplete
from fa_lib.results import Study

NAMES = {
    "awing": "backbone", "awing-pdc": "backbone, PDC", "awing-pdc-euro": "backbone, One-Euro", "cpm-sbr": "CPM + SBR",
    "awing-video-l2": "L2 loss", "awing-video-awing": "AWing loss", "awing-video": "Jitter loss",
    "lab": "backbone", "lab-ft-l2": "L2 loss", "lab-ft-awing": "AWing loss", "lab-ft": "Jitter loss",
}  # fmt: skip
LOOKS = {
    "backbone": Line(ORANGE, "^", (0, (5, 1.5))), "backbone, PDC": Line(RED, "^"), "CPM + SBR": Line(BLACK, "o", (0, (1, 1))),
    "backbone, One-Euro": Line(GREEN, "P", (0, (8, 2))), "L2 loss": Line(SKY, "s", (0, (5, 1.5, 1, 1.5))),
    "AWing loss": Line(PURPLE, "X", (0, (3, 1, 1, 1, 1, 1))), "Jitter loss": Line(BLUE, "D"),
}  # fmt: skip
LOSSES = ("awing-video-l2", "awing-video-awing", "awing-video")
INSIDE = -2 * math.log(0.05)  # 5.991: a normal distribution in two dimensions has 95 % within this squared distance


def _of_clips(make: Callable) -> Callable:
    """A figure of clips, which says so where faces of a user's own have none."""

    def checked(study: Study) -> tuple[Figure, pd.DataFrame]:
        return make(study) if study.has("video") else _no_clips(study)

    checked.__doc__ = make.__doc__
    return plots.drawn(checked)


def _no_clips(study: Study) -> tuple[Figure, pd.DataFrame]:
    return plots.no_data(f"{study.source.dataset} has no clips for this figure")


def ellipses(tracks: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Means (K, 2), half axes (K, 2; the longer first) and directions (K; of the longer, in degrees from x to y) of the ellipses
    that hold 95 % of normal distributions with the covariances of tracks (T, K, 2).

    >>> cross = np.array([[2.0, 0], [-2, 0], [0, 1], [0, -1]])[:, None]  # variances 8 / 3 and 2 / 3
    >>> ellipses(cross)[1].round(3).tolist()  # the roots of 8 / 3 * 5.991 and 2 / 3 * 5.991
    [[3.997, 1.999]]
    """
    away = tracks - tracks.mean(0)
    values, vectors = np.linalg.eigh(np.einsum("tki,tkj->kij", away, away) / (len(tracks) - 1))
    half = np.sqrt(INSIDE * np.maximum(values, 0))[:, ::-1]
    return tracks.mean(0), half, np.degrees(np.arctan2(vectors[:, 1, 1], vectors[:, 0, 1]))


@_of_clips
def figure1(study: Study) -> tuple[Figure, pd.DataFrame]:
    """Ellipses with 95 % of what is found of each landmark while a face holds still, before and after fine-tuning; their areas.

    Consecutive frames of the first test clip, 30 or as many as it holds still, in pixels of a crop of 256.
    """
    index = np.flatnonzero((study.video.group == study.video.group[0]) & study.video.still)[:30]
    part, frames = study.video.select(index), []
    figure = Figure(figsize=(WIDTH, 3.1))
    left, right = figure.subplots(1, 2, width_ratios=[1.15, 1])
    for row in ("awing", "awing-video"):
        found, first = study.trained(row)[0].predictions["video"][index], part.matrix[0]
        tracks = part.to_photo(found) @ first[:, :2].T + first[:, 2] - part.offset  # a crop's own motion is none of the face
        centre, half, angle = ellipses((tracks + 0.5) * UNIT / part.size - 0.5)
        values = {"x": centre[:, 0], "y": centre[:, 1], "long": half[:, 0], "short": half[:, 1], "angle": angle}
        frames.append(pd.DataFrame({"row": row, "landmark": range(len(centre)), **values, "area": np.pi * half.prod(-1)}))
        area = np.sort(frames[-1]["area"])
        line = LOOKS[NAMES[row]](label=f"{NAMES[row]}: median {np.median(area):.2g} px$^2$", marker="")
        right.step([0, *area], np.linspace(0, 100, len(area) + 1), where="post", **line)
    frame = pd.concat(frames, ignore_index=True)
    larger = next((factor for factor in (100, 50, 20, 10, 5, 2) if factor * frame["long"].quantile(0.9) < 20), 1)
    picture = cv2.resize(part.crops()[0][0], (UNIT, UNIT), interpolation=cv2.INTER_CUBIC)
    plots.faces(left, (0.55 * picture + 0.45 * 255).astype(np.uint8))  # paler than the ellipses
    for one in frame.itertuples():
        colour = LOOKS[NAMES[one.row]].colour
        look = {"facecolor": colour + "55", "edgecolor": colour, "linewidth": 0.7}
        left.add_patch(Ellipse((one.x, one.y), 2 * larger * one.long, 2 * larger * one.short, angle=one.angle, **look))
    left.set_title(f"95 % ellipses of {len(part)} frames, {larger} x as large")
    right.set(xlabel="area [px$^2$ of a 256-px crop]", ylabel="landmarks up to it [%]", xlim=(0, None), ylim=(0, 101))
    right.legend(loc="lower right")
    return figure, frame


def distances(study: Study) -> pd.DataFrame:
    """The gradients of figure 4, and how far landmarks on test clips are from the truth, in % of the inter-ocular distance: a
    density for each loss of fine-tuning, and the radii that hold half and 95 % of them; all seeds together.
    """
    if not study.has("video"):
        return _no_clips(study)[1]
    frames = [curves.slopes().assign(panel="gradients")]
    target, lengths = study.video.crops()[1], study.video.lengths()
    for row in LOSSES:
        away = [metrics.displacements(t.predictions["video"], target, lengths) for t in study.trained(row)]
        distance = 100 * np.linalg.norm(away, axis=-1).ravel()
        radii = dict(zip(("median", "p95"), np.quantile(distance, (0.5, 0.95))))
        count, edges = np.histogram(distance, 30, (0, 1.25 * radii["p95"]))
        density, at = count / len(distance) / edges[1], (edges[1:] + edges[:-1]) / 2
        frames.append(pd.DataFrame({"panel": "distances", "row": row, "distance": at, "density": density, **radii}))
    return pd.concat(frames, ignore_index=True)


@FromFrame.of(distances)
def figure4(frame: pd.DataFrame) -> Figure:
    """Left, gradients of the pixel losses; right, how far landmarks on test clips are from the truth, by the loss of fine-tuning.

    All seeds together, distances in % of the inter-ocular distance; the radii that hold half and 95 % of them are marked.
    """
    figure = Figure(figsize=(WIDTH, 2.7))
    left, right = figure.subplots(1, 2)
    curves.gradients(left, frame[frame["panel"] == "gradients"])
    for row, part in frame[frame["panel"] == "distances"].groupby("row", sort=False):
        radii, line, (at, density) = (
            part[["median", "p95"]].iloc[0],
            LOOKS[NAMES[row]],
            part[["distance", "density"]].to_numpy().T,
        )
        right.plot(at, density, **line(label=f"{NAMES[row]}: {radii['median']:.2f}, {radii['p95']:.2f}", marker=""))
        for radius, face in zip(radii, (line.colour, "white")):
            right.plot(radius, np.interp(radius, at, density), **line(markerfacecolor=face, zorder=3))
    right.set(xlabel="distance from the truth [% of inter-ocular]", ylabel="share of landmarks for each %", xlim=(0, None))
    right.set_ylim(0, 1.45 * right.get_ylim()[1])  # room for the legend
    right.legend(title="radius of 50 % (filled), of 95 % (open)", title_fontsize=7, loc="upper right", alignment="left")
    return figure


def before_and_after(study: Study) -> pd.DataFrame:
    """NME and failure rate, in %, on faces like WFLW's, of LAB before and after fine-tuning with each loss; all seeds."""
    one, lines = study.on("wflw"), []
    for metric, row in itertools.product(("nme", "fr"), ("lab", "lab-ft-l2", "lab-ft-awing", "lab-ft")):
        found = one.estimate(row, metric)
        values = {"value": 100 * found.value, "low": 100 * found.low, "high": 100 * found.high}
        lines.append({"row": row, "metric": metric, **values, "ruler": one.test.scheme.ruler})
    return pd.DataFrame(lines)


@FromFrame.of(before_and_after)
def figure6(frame: pd.DataFrame) -> Figure:
    """NME and failure rate, with 95 % intervals, on faces like WFLW's, before and after fine-tuning with each loss; all seeds."""
    figure = Figure(figsize=(WIDTH, 2.1))
    labels = {"nme": f"NME [% of {frame['ruler'][0]}]", "fr": f"faces with an NME above {100 * scores.FAIL:.0f} % [%]"}
    for axes, (metric, label) in zip(figure.subplots(1, 2, sharey=True), labels.items()):
        part = frame[frame["metric"] == metric]
        for place, (row, value, low, high) in enumerate(part[["row", "value", "low", "high"]].itertuples(index=False)):
            look = LOOKS[NAMES[row]](linestyle="", elinewidth=1, capsize=2.5)
            axes.errorbar(value, place, xerr=np.abs([[value - low], [high - value]]), **look)
            axes.annotate(f"{value:.3g}", (value, place), (0, 6), textcoords="offset points", ha="center", fontsize=7)
        axes.set(xlabel=label, ylim=(len(part) - 0.5, -0.7), yticks=range(len(part)), yticklabels=[NAMES[r] for r in part["row"]])
        axes.grid(visible=True, axis="x")
        axes.margins(x=0.15)
    return figure


def drivers(study: Study) -> Faces:
    """A few rendered clips like those of DDD: nobody labelled them, the face moves little, and one box is for a whole clip."""
    few, frames = min(study.profile.clips, 4), study.profile.frames
    return data.load("synthetic/ddd", "evaluation", None, study.source.size, few, frames=frames)


def deviations(tracks: np.ndarray, faces: Faces) -> np.ndarray:
    """How far landmarks (T, K, 2) are from their mean over the frames in which the face of their clip holds still: (t, K, 2)."""
    parts = [tracks[(faces.group == clip) & faces.still] for clip in np.unique(faces.group)]
    return np.concatenate([part - part.mean(0) for part in parts])


MARKS = {"low": 2.5, "q1": 25, "median": 50, "q3": 75, "high": 97.5}  # percentiles
OUTLINE = 61  # places at which a violin's width is known


def stillness(study: Study) -> pd.DataFrame:
    """How far what is found of drivers who hold still is from its mean, in pixels of a crop of 256: by loss, decoder and axis.

    A line with MARKS and the standard deviation; for x also OUTLINE lines with the `density` at a distance `away`.
    """
    if not study.has("video"):
        return _no_clips(study)[1]
    clips, lines, decoders = drivers(study), [], (Decoder("argmax"), PDC)
    for row in ("awing", *LOSSES):
        found = read(study.trained(row)[0].network().to(training.device()), clips.crops()[0], decoders, clips.group)
        for decoder in map(str, decoders):
            away = UNIT / clips.size * deviations(found[decoder], clips)
            for axis, values in zip("xy", away.reshape(-1, 2).T):
                marks, about = np.percentile(values, list(MARKS.values())), {"row": row, "decoder": decoder, "axis": axis}
                lines.append({**about, **dict(zip(MARKS, marks)), "std": values.std()})
                inner = values[(values >= marks[0]) & (values <= marks[-1])]
                if axis == "x" and np.ptp(inner):  # a network of profile smoke may find the same in every frame
                    at = np.linspace(inner.min(), inner.max(), OUTLINE)
                    lines += [{**about, "away": x, "density": d} for x, d in zip(at, gaussian_kde(inner)(at))]
    return pd.DataFrame(lines, columns=["row", "decoder", "axis", *MARKS, "std", "away", "density"])


@FromFrame.of(stillness)
def figure7(frame: pd.DataFrame) -> Figure:
    """How far what is found of a face that holds still is from its mean, x (violins) and y (boxes), by loss and decoder.

    Drivers whom nobody labelled. Violins and whiskers end at 2.5 and 97.5 %; pixels are those of a crop of 256.
    """
    if "density" not in frame:
        raise Incomplete("it was recorded before its CSV held the outlines of the violins")
    figure, decoders, rows = Figure(figsize=(WIDTH, 2.9)), frame["decoder"].unique(), list(frame["row"].unique())
    reach = max(0.1, 1.3 * frame[["low", "high"]].abs().to_numpy()[frame["low"].notna()].max())
    for axes, decoder in zip(figure.subplots(1, 2, sharey=True), decoders):
        for place, row in enumerate(rows):
            part, colour = frame[(frame["decoder"] == decoder) & (frame["row"] == row)], LOOKS[NAMES[row]].colour
            outline = part.dropna(subset="density")
            width = 0.19 * outline["density"] / outline["density"].max()
            axes.fill_betweenx(outline["away"], place - 0.2 - width, place - 0.2 + width, color=colour, alpha=0.55, linewidth=1)
            low, q1, median, q3, high = part.loc[part["axis"] == "y", list(MARKS)].to_numpy()[0]
            looks = {f"{name}props": {"color": colour} for name in ("box", "whisker", "cap")} | {"medianprops": {"color": BLACK}}
            box = {"whislo": low, "q1": q1, "med": median, "q3": q3, "whishi": high}
            axes.bxp([box], positions=[place + 0.2], widths=0.26, showfliers=False, **looks)
        axes.set(title=f"read by {decoder}", xlabel="violins: x; boxes: y", xlim=(-0.6, len(rows) - 0.4), ylim=(-reach, reach))
        axes.set_xticks(range(len(rows)), [NAMES[row].replace(" ", "\n") for row in rows])
    figure.axes[0].set_ylabel("away from the clip's mean\n[px of a 256-px crop]")
    return figure


def disturbed(pictures: np.ndarray, noise: float = 0.0, blur: float = 0.0, seed: int = 0) -> np.ndarray:
    """Pictures (N, S, S, 3) uint8 after Gaussian blur (`blur`: sigma in pixels), then with Gaussian noise (`noise`: its standard
    deviation, of the range 0 ... 255). Computed on the device, some at a time, with one generator.

    >>> grey = np.full((2, 8, 8, 3), 100, np.uint8)
    >>> bool((disturbed(grey, blur=2.0) == 100).all()), bool(disturbed(grey, noise=0.1).std() > 20)
    (True, True)
    """
    where, parts = training.device(), []
    generator, at = torch.Generator(where).manual_seed(seed), torch.arange(pictures.shape[1], device=where)
    bell = torch.softmax(-(((at[:, None] - at) / max(blur, 1e-3)) ** 2) / 2, -1)  # the unit matrix where blur is 0
    for start in range(0, len(pictures), 64):
        x = torch.from_numpy(np.array(pictures[start : start + 64])).to(where).permute(0, 3, 1, 2).float()
        x = bell @ x @ bell.T + 255 * noise * torch.randn(x.shape, generator=generator, device=where)
        parts.append(x.round().clamp(0, 255).byte().permute(0, 2, 3, 1).cpu().numpy())
    return np.concatenate(parts)


def tracks_of(config: Any, net: nn.Module, pictures: np.ndarray, clips: np.ndarray) -> np.ndarray:
    """What a row's network finds in pictures (N, S, S, 3) of clips (N,), read and smoothed as its configuration says."""
    found = read(net, pictures, (config.decoder,), clips)[str(config.decoder)]
    if isinstance(config, Reading) and config.filter:
        found = filters.smooth(config.FILTERS[config.filter[0]](**dict(config.filter[1])), found, clips)
    return found


LEVELS = {"noise": (0.0, 0.05, 0.1, 0.15, 0.2), "blur": (0.0, 1.0, 2.0, 3.0)}
DISTURBED = ("awing", "awing-pdc-euro", "awing-video-l2", "awing-video", "cpm-sbr")


def unsteadiness(study: Study, rows: tuple[str, ...] = DISTURBED) -> pd.DataFrame:
    """MCV and residual spread of rows on clips of `drivers`, both in %, by disturbance ("kind") and its level."""
    if not study.has("video"):
        return _no_clips(study)[1]
    faces, lines = drivers(study), []
    truth, clips = faces.truth - faces.offset, [faces.group == name for name in np.unique(faces.group)]
    trained = {row: study.trained(row)[0] for row in rows}
    networks = {row: found.network().to(training.device()) for row, found in trained.items()}
    for kind, level in ((kind, level) for kind, levels in LEVELS.items() for level in levels):
        pictures = disturbed(faces.crops()[0], **{kind: level})
        for row in rows:
            tracks = tracks_of(trained[row].run.config, networks[row], pictures, faces.group)
            every = tracks, truth, metrics.lengths(truth)
            found, *true = ([values[clip] for clip in clips] for values in every)
            values = {"mcv": 100 * metrics.mcv(found), "spread": 100 * metrics.spread_residual(found, *true)}
            lines.append({"kind": kind, "level": level, "row": row, **values, "size": faces.size})
    return pd.DataFrame(lines)


@FromFrame.of(unsteadiness)
def figure8(frame: pd.DataFrame) -> Figure:
    """MCV, and the spread of the error, which true motion does not raise, against noise and blur, on clips of `drivers`."""
    figure = Figure(figsize=(WIDTH, 4.2))
    panels = figure.subplots(2, 2, sharex="col", sharey="row")
    for axes, (metric, kind) in zip(panels.flat, itertools.product(("mcv", "spread"), LEVELS)):
        for row, part in frame[frame["kind"] == kind].groupby("row", sort=False):
            axes.plot(part["level"], part[metric], **LOOKS[NAMES[row]](label=NAMES[row]))
    panels[0, 0].set(ylabel="MCV [%]", ylim=(0, None))
    panels[1, 0].set(ylabel="spread of the error\n[% of inter-ocular]", ylim=(0, None), xlabel="std of the noise [of the range]")
    panels[1, 1].set_xlabel(f"sigma of the blur [px of a {frame['size'][0]}-px crop]")
    figure.legend(*panels[0, 0].get_legend_handles_labels(), loc="outside upper center", ncols=len(DISTURBED))
    return figure


STRENGTHS = {  # window in frames; cutoff in Hz; noise of the process over that of the measurement
    "moving average": (filters.MovingAverage, (1, 2, 3, 4, 5, 7)),
    "One-Euro": (lambda cutoff: filters.OneEuro(cutoff, beta=0.05), (30.0, 10.0, 5.0, 3.0, 2.0, 1.0)),
    "Kalman": (filters.Kalman, (10.0, 1.0, 0.1, 0.03, 0.01, 0.003)),
}


@_of_clips
def steadiness_against_lag(study: Study) -> tuple[Figure, pd.DataFrame]:
    """True jitter against lag on test clips: filters of several strengths on what the backbone finds by PDC, and fine-tuning.

    Not in the paper, which compares with no filter. Jitter in 1/1000 of the inter-ocular distance, lag in frames; mean of seeds.
    """
    video, lines = study.video, []
    told = {"lengths": video.lengths(), "scheme": video.scheme, "size": video.size}
    for name, make, strength in ((name, make, one) for name, (make, every) in STRENGTHS.items() for one in every):
        tracks = [filters.smooth(make(strength), t.predictions[f"video {PDC}"], video.group) for t in study.trained("awing")]
        sums = np.stack([scores.features(track, video.crops()[1], video.group, **told).sum(0) for track in tracks])
        lines.append({"method": name, "strength": strength, **{m: scores.METRICS[m](sums).mean() for m in ("jitter", "lag")}})
    for row in ("awing-pdc", "awing-video"):
        lines.append({"method": NAMES[row], **{m: study.estimate(row, m, "video").value for m in ("jitter", "lag")}})
    frame, figure = pd.DataFrame(lines), Figure(figsize=(WIDTH * 0.75, 2.8))
    frame["jitter"] *= scores.UNITS["jitter"]
    axes, looks = figure.subplots(), dict(zip(STRENGTHS, (plots.LINES[0], plots.LINES[2], plots.LINES[5])))
    for name, part in frame.groupby("method", sort=False):
        look = looks[name](label=name) if name in looks else LOOKS[name](label=name, linestyle="", markersize=8)
        axes.plot(part["lag"], part["jitter"], **look)
    axes.set(xlabel="lag [frames]", ylabel="jitter that is no motion\n[1/1000 of inter-ocular]", ylim=(0, None))
    axes.grid(visible=True, axis="x")
    axes.legend(loc="upper left", bbox_to_anchor=(1.02, 1), borderaxespad=0)
    return figure, frame


def animation(study: Study, side: int = 128, frames: int = 60) -> list[np.ndarray]:
    """A test clip as pictures (side, 3 side, 3) uint8 RGB with landmarks: as the backbone finds them by PDC, smoothed by a
    One-Euro filter, and after fine-tuning, from left to right. Empty where there are no clips.
    """
    shown, (pictures, _), scale = [], study.video.crops(), side / study.video.size
    found = [
        study.trained(row)[0].predictions["video"] for row in ("awing-pdc", "awing-pdc-euro", "awing-video") if len(pictures)
    ]
    for i in np.flatnonzero(study.video.group == study.video.group[:1])[:frames]:
        shown.append(np.tile(cv2.resize(pictures[i], (side, side), interpolation=cv2.INTER_CUBIC), (1, 3, 1)))
        for place, tracks in enumerate(found):
            points = (tracks[i] + 0.5) * scale - 0.5 + [place * side, 0]
            for at in (16 * points).round().astype(int).tolist():  # in sixteenths of a pixel
                cv2.circle(shown[-1], at, 20, (240, 228, 66), -1, cv2.LINE_AA, shift=4)
    return shown


FIGURES = {1: figure1, 2: curves.figure2, 3: curves.figure3, 4: figure4, 5: curves.figure5, 6: figure6, 7: figure7, 8: figure8}
