"""Figures 2 (a drawing), 3, 4 (left) and 5 of paper 3, computed by the losses themselves; and how equation 8 differs from 2-4.

As in the paper, errors are drawn in one dimension: positions and errors in heatmap pixels, of one coordinate of one landmark.
"""

import math

import numpy as np
import pandas as pd
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from fa_lib import diagram, plots
from fa_lib.losses import adaptive_wing, geman_mcclure, modulation
from fa_lib.plots import BLACK, BLUE, GREEN, GREY, ORANGE, RED, SKY, WIDTH, Line
from fa_lib.results import Study

THETA, XI = 1.0, 1.0  # the paper's Theta; its xi is not given
LAM = 0.5  # the lambda of equation 8, which the paper does not give either
TRUTH = np.array([0.0, 1.0, 2.0, 2.5, 2.5, 2.5])  # figure 3: the face slows down and stands still
SIZE_OF_ERROR = 0.6
START, RATE, STEPS, REACH, NEAR = (1.8, 0.6), 0.2, 200, 2.0, 0.05  # figure 5
STAGES = {  # figure 2: what one frame goes through; text, place from left to right, and below the frame's line, width, kind
    "frame": ("frame $t$", 0.8, 0, 1.3, "data"), "backbone": ("backbone", 2.75, 0, 1.4, "frozen"),
    "lstm": ("ConvLSTM", 5.25, 0, 1.5, "trained"), "maps": ("heatmaps $s_t$", 7.7, 0, 2.0, "data"),
    "points": ("landmarks $u_t$", 7.7, 1.05, 2.0, "data"),
}  # fmt: skip
CHAIN = (("frame", "backbone", ""), ("backbone", "lstm", "$o_t$"), ("lstm", "maps", ""), ("maps", "points", "PDC"))
BOXES: dict[str, diagram.Box] = {"loss": ("Jitter loss\n$\\Psi \\cdot L_{pixel}$", 10.4, 2, 1.9, "loss")}
BOXES["truth"] = ("truth $\\hat{s}_t$,\n$\\hat{u}_t$, $\\hat{u}_{t-1}$", 10.4, 4, 1.9, "data")
ARROWS = [("lstm before", "lstm", "$h_{t-1}$, $c_{t-1}$", "flow")]
ARROWS += [(name, "loss", "", "flow") for name in ("points before", "maps", "points", "truth")]
for _when, _high, _index in ((" before", 4, "{t-1}$"), ("", 2, "t$")):
    BOXES |= {n + _when: (text.replace("t$", _index), x, _high - y, *more) for n, (text, x, y, *more) in STAGES.items()}
    ARROWS += [(a + _when, b + _when, text.replace("t$", _index), "flow") for a, b, text in CHAIN]


@plots.drawn
def figure2(study: Study) -> tuple[Figure, pd.DataFrame]:
    """The two stages over two frames: one frozen backbone, one ConvLSTM that hands h and c on, and what the loss compares."""
    figure = Figure(figsize=(WIDTH, 2.6))
    axes = figure.subplots()
    diagram.draw(axes, BOXES, ARROWS, fork=9.05, bus=0)
    axes.set(xlim=(0, 11.5), ylim=(0.45, 4.5))
    return figure, diagram.table(BOXES, ARROWS)


def psi(error: Tensor, previous: Tensor, offset: Tensor, theta: float = THETA, xi: float = XI) -> Tensor:
    """Psi (equation 4) of errors and offsets in one dimension, all of one shape, in heatmap pixels.

    >>> psi(torch.tensor([0.6]), torch.tensor([-0.6]), torch.tensor([1.0])).item()  # 1.2 / (1 + 1)
    0.6000000238418579
    """
    flat = [torch.stack([x, torch.zeros_like(x)], -1) for x in (error, previous, offset)]
    return modulation(*flat, theta=theta, xi=xi)


@plots.drawn
def figure3(study: Study) -> tuple[Figure, pd.DataFrame]:
    """Two predictions with the same L2 error: one keeps its error, the other jitters; below, the jitter criterion (equation 5).

    Differs from the paper: it calls equations 4 and 5 consistent. Psi reaches Theta at Theta (|c| + xi), not at Theta |c|; both
    are drawn, and while the face moves, what is jitter by one is none by the other.
    """
    signs = {"steady error": np.ones(len(TRUTH)), "error that changes sides": (-1.0) ** np.arange(len(TRUTH))}
    figure, frames = Figure(figsize=(WIDTH, 4.4)), []
    panels = figure.subplots(2, 2, sharex=True, sharey="row", gridspec_kw={"height_ratios": [3, 2]})
    for (upper, lower), (name, sign) in zip(panels.T, signs.items()):
        error = SIZE_OF_ERROR * sign
        change, offset = np.abs(np.diff(error)), np.abs(np.diff(TRUTH))
        weight = psi(*(torch.from_numpy(x) for x in (error[1:], error[:-1], np.diff(TRUTH)))).numpy()
        later = {"change": change, "offset": offset, "criterion": THETA * offset, "bound": THETA * (offset + XI), "psi": weight}
        frame = pd.DataFrame({"panel": name, "t": np.arange(len(TRUTH)), "truth": TRUTH, "pred": TRUTH + error, "error": error})
        frame = frame.join(pd.DataFrame(later, index=frame["t"][1:]))
        frame["jitter"] = frame["change"] > frame["criterion"]
        frames.append(frame)
        _tracks(upper, frame, f"{name}: mean $e^2$ = {np.square(error).mean():.2f} px$^2$")
        _criterion(lower, frame)
    panels[0, 0].set_ylabel("position [heatmap px]")
    panels[1, 0].set_ylabel("change of the error\n[heatmap px]")
    figure.legend(*panels[0, 0].get_legend_handles_labels(), loc="outside upper center", ncols=2)
    figure.legend(*panels[1, 0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return figure, pd.concat(frames, ignore_index=True)


def _tracks(axes: Axes, frame: pd.DataFrame, title: str) -> None:
    """Truth and prediction over frames, with e_{t-1}, e_t and c marked at frames 1 and 2."""
    axes.plot(frame["t"], frame["truth"], **Line(BLACK, "o")(label="truth $\\hat{u}_t$"))
    axes.plot(frame["t"], frame["pred"], **Line(RED, "s", (0, (5, 1.5)))(label="prediction $u_t$"))
    box = {"facecolor": "white", "edgecolor": "none", "pad": 0.6}
    for t, name in ((1, "$e_{t-1}$"), (2, "$e_t$")):
        low, high = frame["truth"][t], frame["pred"][t]
        axes.annotate("", (t, high), (t, low), arrowprops={"arrowstyle": "-|>", "color": BLUE, "shrinkA": 2, "shrinkB": 2})
        axes.annotate(
            name, (t, (low + high) / 2), (-4, 0), textcoords="offset points", ha="right", va="center", color=BLUE, bbox=box
        )
    low, high = frame["truth"][1], frame["truth"][2]
    axes.plot([1, 2.45], [low, low], color=GREY, linewidth=0.6, linestyle=":")
    axes.plot([2, 2.45], [high, high], color=GREY, linewidth=0.6, linestyle=":")
    look = {"arrowstyle": "<|-|>", "color": "#00694d", "shrinkA": 0, "shrinkB": 0, "mutation_scale": 8}
    axes.annotate("", (2.4, high), (2.4, low), arrowprops=look)
    axes.text(2.48, (low + high) / 2, "$c_{t-1,t}$", va="center", color="#00694d")
    axes.set(title=title, xticks=frame["t"])


def _criterion(axes: Axes, frame: pd.DataFrame) -> None:
    """Change of the error as bars with their Psi, and where jitter begins by equation 5 and Psi ends by equation 4."""
    part = frame[1:]
    axes.bar(part["t"], part["change"], 0.45, color=SKY, label="$|e_t - e_{t-1}|$")
    for line, column, label in (
        (Line(RED, "", (0, (5, 1.5))), "criterion", "$\\Theta\\,|c|$ (Eq. 5)"),
        (Line(BLACK, ""), "bound", "$\\Theta\\,(|c| + \\xi)$ (Eq. 4)"),
    ):
        ends = np.repeat([part["t"] - 0.4, part["t"] + 0.4, np.full(len(part), np.nan)], 1, 0).T.ravel()
        axes.plot(ends, np.repeat(part[column].to_numpy(), 3), **line(label=label))
    for t, high, weight in zip(part["t"], part[["bound", "change"]].max(axis=1), part["psi"]):
        axes.text(t, high + 0.08, f"$\\Psi$ = {weight:.1f}", ha="center", fontsize=7)
    axes.set(xlabel="frame $t$", ylim=(-0.1, 2.6))


def slopes(theta: float = THETA, reach: float = 1.5, points: int = 1501) -> pd.DataFrame:
    """Gradients of the pixel losses over the pixel error 0 ... `reach`: "gradient", and its "share" of the peak.

    AWing's shape depends on the true heatmap y, so there are two of it. Shares compare shapes: the optimiser, Adam, does
    not see how large a loss is. Where equation 7 is steepest: see `peak`.

    >>> found = slopes(reach=1.0, points=11)
    >>> found.query("curve == 'L2'")["gradient"].tolist()[-1], len(found)
    (2.0, 44)
    """
    maps = torch.linspace(0, reach, points, dtype=torch.float64).reshape(1, 1, 1, points)
    truth = torch.zeros_like(maps)
    losses = {
        "L2": lambda d: d.square().sum(),
        "AWing, y = 0": lambda d: points * adaptive_wing(d, truth, weight=None),
        "AWing, y = 1": lambda d: points * adaptive_wing(1 + d, 1 + truth, weight=None),
        "Geman-McClure": lambda d: geman_mcclure(d, truth, theta).sum(),
    }
    frames = []
    for name, loss in losses.items():
        error = maps.clone().requires_grad_()
        gradient = torch.autograd.grad(loss(error), error)[0].flatten().numpy()
        share = gradient / gradient.max()
        frames.append(pd.DataFrame({"curve": name, "error": maps.flatten().numpy(), "gradient": gradient, "share": share}))
    return pd.concat(frames, ignore_index=True)


def peak(theta: float = THETA) -> tuple[float, float]:
    """Where the gradient of equation 7 is greatest, theta / sqrt(3), and how great: 9 / (8 sqrt(3) theta).

    Differs from the paper, which says theta / 2; there it is 0.64 / theta, 98.5 % of the peak.

    >>> [round(value, 4) for value in peak()]
    [0.5774, 0.6495]
    """
    return theta / math.sqrt(3), 9 / (8 * math.sqrt(3) * theta)


def gradients(axes: Axes, frame: pd.DataFrame) -> None:
    """Draws the left half of figure 4: `slopes`, with the true peak of Geman-McClure's."""
    dashes = {ORANGE: (0, (5, 1.5)), SKY: (0, (5, 1.5, 1, 1.5)), GREEN: (0, (1, 1.2)), BLUE: "-"}
    for (colour, dash), (name, part) in zip(dashes.items(), frame.groupby("curve", sort=False)):
        axes.plot(part["error"], part["share"], color=colour, linestyle=dash, label=name)
    at, most = peak()
    half = 0.64 / THETA / most
    axes.plot(at, 1, color=RED, marker="v", linestyle="")
    axes.annotate(f"$\\Theta/\\sqrt{{3}}$ = {at:.2f}", (at, 1), (8, 4), textcoords="offset points", color=RED)
    axes.plot(THETA / 2, half, color=BLACK, marker="o", markerfacecolor="white", linestyle="")
    look = {"arrowstyle": "-", "color": GREY, "linewidth": 0.6}
    axes.annotate(f"paper's $\\Theta/2$: {100 * half:.1f} %", (THETA / 2, half), (0.03, 1.07), arrowprops=look, fontsize=7)
    axes.set(xlabel="pixel error $|s_t - \\hat{s}_t|$ [a heatmap's peak is 1]", ylabel="gradient [share of its greatest]")
    axes.set(xlim=(0, frame["error"].max()), ylim=(0, 1.15))
    axes.legend(loc="lower right")


def terms(errors: Tensor, lam: float = LAM, theta: float = THETA) -> dict[str, Tensor]:
    """Equation 8 and its two terms, each (...), of errors (..., 2): here the last axis holds e_t and e_{t-1}, not x and y.

    >>> {name: value.item() for name, value in terms(torch.tensor([1.0, -1.0])).items()}  # L = 1 / 2 twice
    {'pixel': 0.5, 'modulated': 2.0, 'sum': 2.5}
    """
    both = geman_mcclure(errors, torch.zeros_like(errors), theta).sum(-1)
    modulated = (errors[..., 0] - errors[..., 1]).abs() * both
    return {"pixel": lam * both, "modulated": modulated, "sum": lam * both + modulated}


def descend(
    term: str, start: tuple[float, float] = START, rate: float = RATE, steps: int = STEPS, lam: float = LAM
) -> np.ndarray:
    """Gradient descent on a term of equation 8 from e_t, e_{t-1} = `start`; all points (steps + 1, 2).

    >>> descend("pixel", (1.0, 0.0), rate=1.0, steps=1).tolist()  # the slope is 0.5 * 2 / 2^2
    [[1.0, 0.0], [0.75, 0.0]]
    """
    path = [torch.tensor(start, dtype=torch.float64)]
    for _ in range(steps):
        point = path[-1].clone().requires_grad_()
        (slope,) = torch.autograd.grad(terms(point, lam)[term], point)
        path.append((point - rate * slope).detach())
    return torch.stack(path).numpy()


TITLES = {
    "pixel": "$\\lambda\\{L(e_t) + L(e_{t-1})\\}$",
    "modulated": "$|e_t - e_{t-1}|\\,\\{L(e_t) + L(e_{t-1})\\}$",
    "sum": "their sum (Eq. 8)",
}


@plots.drawn
def figure5(study: Study) -> tuple[Figure, pd.DataFrame]:
    """The terms of equation 8 over the errors of two frames: values above, contours with gradient descent from P_0 below.

    Differs from the paper: each panel is divided by its greatest value. The pixel loss alone crosses no axis: plain descent
    does only with a rate above theta^2 / (2 lambda), here 1. The modulated term does swing about e_t = e_{t-1}, and creeps
    along it, since its value there is 0 for every error: that line, not the origin, is its minimum. In the data, lines of
    kind "surface" are the values, "path" the descent, with its "step".
    """
    line = torch.linspace(-REACH, REACH, 41, dtype=torch.float64)
    now, before = torch.meshgrid(line, line, indexing="xy")
    values = terms(torch.stack([now, before], -1))
    figure, frames = Figure(figsize=(WIDTH, 4.1)), []
    panels = figure.subplots(2, 3, sharex=True, sharey=True)
    for (upper, lower), (name, title) in zip(panels.T, TITLES.items()):
        surface, path = (values[name] / values[name].max()).numpy(), descend(name)
        extent = np.array([-1, 1, -1, 1]) * (REACH + REACH / 40)  # pixels have their middles on the grid
        shown = upper.imshow(surface, cmap="viridis", extent=extent, origin="lower", vmin=0, vmax=1, interpolation="bilinear")
        upper.set_title(title, fontsize=7.5)
        lower.contour(line, line, surface, np.linspace(0.05, 0.95, 13), cmap="viridis", vmin=0, vmax=1, linewidths=0.8)
        _path(lower, path)
        along = terms(torch.from_numpy(path))[name].numpy()
        whole = {"e_t": now.flatten(), "e_before": before.flatten(), "loss": values[name].flatten()}
        steps = {"e_t": path[:, 0], "e_before": path[:, 1], "loss": along, "step": np.arange(len(path))}
        frames += [pd.DataFrame({"panel": name, "kind": kind, **of}) for kind, of in (("surface", whole), ("path", steps))]
    for axes in panels.flat:
        axes.set(xlim=(-REACH, REACH), ylim=(-REACH, REACH), aspect="equal", xticks=range(-2, 3), yticks=range(-2, 3))
        axes.grid(False)
        axes.plot([-REACH, REACH], [-REACH, REACH], color=GREY, linewidth=0.6, linestyle=":")
    for axes in panels[:, 0]:
        axes.set_ylabel("$e_{t-1}$ [heatmap px]")
    for axes in panels[1]:
        axes.set_xlabel("$e_t$ [heatmap px]")
    figure.colorbar(shown, ax=panels[0], label="loss [share of the greatest]", shrink=0.85, pad=0.01)
    return figure, pd.concat(frames, ignore_index=True)


def _path(axes: Axes, path: np.ndarray) -> None:
    """A descent, its ends, and how soon it is near the origin."""
    axes.plot(*path.T, color=RED, linewidth=0.9, marker="o", markersize=1.6)
    for name, point, place in (("$P_0$", path[0], (4, 4)), ("$P_1$", path[-1], (-13, -10))):
        axes.plot(*point, color=BLACK, marker="D", markersize=4)
        axes.annotate(name, point, place, textcoords="offset points")
    near = np.flatnonzero(np.abs(path).max(1) < NEAR)
    far = f"{np.abs(path[-1]).max():.2f} px off after {len(path) - 1} steps"
    axes.set_title(f"within {NEAR} px after {near[0]} steps" if len(near) else far, fontsize=7.5)


def equation8_gap(
    error: np.ndarray, previous: np.ndarray, offset: float, lam: float = LAM, theta: float = THETA, xi: float = XI
) -> pd.DataFrame:
    """Equation 8 beside what equations 2-4 give for the same two frames, and the lambda that would make them equal.

    "eq2" is Psi {L(e_t) + L(e_{t-1})}: the most that equation 2 can have in common with 8. Equal they are where lambda =
    Psi - |e_t - e_{t-1}|. That depends on the errors, is 0 where both errors are the same, and negative wherever
    |c| + xi > 1 or the change is beyond Theta: no weight lambda > 0 does it.

    >>> equation8_gap(np.array([1.0, 2.0]), np.array([1.0, 0.0]), 0.0).round(2).values.tolist()
    [[1.0, 1.0, 0.0, 0.5, 0.5, 0.0], [2.0, 0.0, 0.8, 2.0, 1.2, -1.0]]
    """
    errors = torch.from_numpy(np.stack([error, previous], -1))
    both = terms(errors, 1.0, theta)["pixel"]
    weight = psi(*errors.unbind(-1), torch.full_like(both, offset), theta, xi)
    found = {"eq2": weight * both, "eq8": terms(errors, lam, theta)["sum"]}
    gap, needed = found["eq8"] - found["eq2"], weight - (errors[:, 0] - errors[:, 1]).abs()
    return pd.DataFrame({"e_t": error, "e_before": previous, **found, "difference": gap, "lambda_needed": needed})


FIGURES = {2: figure2, 3: figure3, 5: figure5}
