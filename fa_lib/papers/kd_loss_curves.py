"""Figures 6-9 of paper 2: the assistive loss, the main loss and KD-Loss of one coordinate, computed by the losses themselves.

The truth P_Gt is at 0 throughout; positions are zero-centred normalised coordinates, shares of the crop's side.
"""

import numpy as np
import pandas as pd
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from fa_lib import plots
from fa_lib.losses.knowledge_distillation import Role, Variant, assistive, main_loss, weight
from fa_lib.plots import BLACK, BLUE, GREEN, GREY, ORANGE, PURPLE, RED, WIDTH, Line
from fa_lib.results import Study

PHI, SIGMA = 2.0, 0.4  # the paper's
PLACE = "position of $P_{Pr}$ [share of the crop]"
WORDS = {"low influence": "low", "negative": "negative", "positive": "positive"}
SHADES = {"low influence": "#ffffff", "negative": "#fbe3cf", "positive": "#cfe3f3"}
HATCHES = {"low influence": "", "negative": "////", "positive": ""}
EXAMPLES = {  # figure 6: where the student is, where the teachers are
    "A": {"pred": 0.22, "tough": 0.12, "tolerant": 0.38},
    "B": {"pred": 0.32, "tough": -0.10, "tolerant": 0.20},
}
BROWN = "#8a5d00"  # orange that can be read as text
NAMES = {"tough": ("Ac", "Tou", BLUE, BLUE, "D"), "tolerant": ("Sm", "Tol", ORANGE, BROWN, "^")}  # colours of line and text
FAR_AND_NEAR = {"far teachers": {"tough": 0.2, "tolerant": 0.4}, "near teachers": {"tough": 0.1, "tolerant": 0.2}}  # figure 9


def region(distance: float, teacher: float, sigma: float = SIGMA) -> str:
    """The region of equations 7-9 in which a student is, from its distance and the `teacher`'s from the truth.

    >>> [region(r, 0.4) for r in (0.1, 0.3, 0.5)]
    ['low influence', 'negative', 'positive']
    """
    return "positive" if distance >= teacher else "negative" if distance >= sigma * teacher else "low influence"


def at(position: float | np.ndarray, **options) -> dict[str, np.ndarray]:
    """`weight` and `assistive` with the truth at 0 and their `teacher` at a position; and the slope of the loss there.

    >>> {name: round(float(value), 3) for name, value in at(0.3, teacher=-0.4).items()}
    {'weight': -0.5, 'loss': -0.05, 'slope': 0.5}
    """
    pred = torch.as_tensor(position, dtype=torch.float64).requires_grad_()
    truth, teacher = torch.zeros_like(pred), torch.full_like(pred, options.pop("teacher")).detach()
    loss = assistive(pred, truth, teacher, **options)
    (slope,) = torch.autograd.grad(loss.sum(), pred)
    found = {"weight": weight(pred, truth, teacher, **options), "loss": loss, "slope": slope}
    return {name: value.detach().numpy() for name, value in found.items()}


@plots.drawn
def figure6(study: Study) -> tuple[Figure, pd.DataFrame]:
    """The assistive loss on a number line, teachers as positive and as negative assistants: both examples of the paper.

    Arrows at P_Pr show where each loss pushes it; the bars show which teacher's region is where.
    """
    figure, lines = Figure(figsize=(WIDTH, 4.3)), []
    for axes, (letter, places) in zip(figure.subplots(2, 1, sharex=True), EXAMPLES.items()):
        lines += _number_line(axes, letter, places)
        kinds = "; ".join(f"{line['point']} teacher: {line['region']} assistant" for line in lines[-2:])
        axes.set(xlim=(-0.45, 0.45), ylim=(-1.75, 1.45), yticks=[], title=f"({letter}) {kinds}")
        axes.spines["left"].set_visible(False)
        axes.grid(False)
    figure.axes[1].set_xlabel("coordinate of a landmark, zero-centred [share of the crop]")
    return figure, pd.DataFrame(lines)


def _number_line(axes: Axes, letter: str, places: dict[str, float]) -> list[dict]:
    """One example of figure 6; returns its points and its losses."""
    pred = places["pred"]
    axes.axhline(0, color=BLACK, linewidth=0.9)
    for name, x, colour, marker in (("Gt", 0.0, BLACK, "o"), ("Pr", pred, RED, "s")):
        axes.plot(x, 0, color=colour, marker=marker, markersize=7, zorder=3)
        axes.annotate(f"$P_{{{name}}}$", (x, 0), (0, -15), textcoords="offset points", ha="center", color=colour)
    lines = [{"example": letter, "point": "truth", "x": 0.0}, {"example": letter, "point": "pred", "x": pred}]
    for level, (role, (name, short, colour, ink, marker)) in enumerate(NAMES.items()):
        teacher = places[role]
        axes.plot(teacher, 0, color=colour, marker=marker, markersize=7, zorder=3)
        axes.annotate(f"$P_{{{name}}}$", (teacher, 0), (0, -15), textcoords="offset points", ha="center", color=ink)
        if teacher * pred < 0:  # equation 4
            axes.plot(-teacher, 0, color=colour, marker=marker, markersize=7, zorder=3, markerfacecolor="white")
            axes.annotate(f"$P'_{{{name}}}$", (-teacher, 0), (0, -15), textcoords="offset points", ha="center", color=ink)
            arc = {"arrowstyle": "-|>", "connectionstyle": "arc3,rad=-0.35", "linestyle": ":", "color": colour, "shrinkA": 5}
            axes.annotate("", (-teacher, 0.06), (teacher, 0.06), arrowprops={**arc, "shrinkB": 5})
        found = at(pred, teacher=teacher)
        kind, pull = region(abs(pred), abs(teacher)), -0.12 * float(np.sign(found["slope"]))
        height = 0.55 + 0.55 * level
        axes.annotate(
            "", (pred + pull, height), (pred, height), arrowprops={"arrowstyle": "-|>", "color": colour, "linewidth": 1.6}
        )
        axes.plot([pred, pred], [0, height], color=GREY, linewidth=0.6, linestyle=":")
        text = f"$ALoss_{{{short}}}$ = {float(found['loss']):+.2f}: {kind}".replace("-", "\N{MINUS SIGN}")
        axes.text(pred + 0.012, height, text, va="center", color=ink)
        _regions(axes, abs(teacher), -0.95 - 0.5 * level, f"${short}$")
        values = {key: float(value) for key, value in found.items()}
        lines.append(
            {"example": letter, "point": role, "x": teacher, "used": np.sign(pred) * abs(teacher), "region": kind, **values}
        )
    return lines


def _regions(axes: Axes, teacher: float, y: float, name: str) -> None:
    """A bar with the regions of a teacher at distance `teacher` from the truth."""
    edges = [-0.42, -teacher, -SIGMA * teacher, SIGMA * teacher, teacher, 0.42]
    for left, right, kind in zip(edges, edges[1:], ["positive", "negative", "low influence", "negative", "positive"]):
        look = {"facecolor": SHADES[kind], "hatch": HATCHES[kind], "edgecolor": GREY, "linewidth": 0.5}
        axes.barh(y, right - left, 0.36, left, **look)
        if right - left > 0.07:
            box = {"facecolor": SHADES[kind], "edgecolor": "none", "pad": 0.8}
            axes.text((left + right) / 2, y, WORDS[kind], ha="center", va="center", fontsize=6.5, bbox=box)
    axes.text(-0.43, y, name, ha="right", va="center")


CURVES: tuple[tuple[Variant, Role, str, Line], ...] = (
    ("paper", "tough", "paper: $\\sigma$ = 0.4", Line(BLUE, "")),
    ("official", "tough", "authors' code, tough", Line(RED, "", (0, (5, 1.5)))),
    ("official", "tolerant", "authors' code, tolerant", Line(PURPLE, "", (0, (1, 1.2)))),
)


@plots.drawn
def figure7(study: Study) -> tuple[Figure, pd.DataFrame]:
    """Omega and the assistive loss for P_Gt = 0 and P_Te = 0.4: the paper's, and those of the authors' code, which jump."""
    teacher, position = 0.4, np.linspace(-0.5, 0.5, 501).round(4)
    frames = []
    for variant, role, label, _ in CURVES:
        found = at(position, teacher=teacher, variant=variant, role=role)
        frames.append(pd.DataFrame({"curve": label, "variant": variant, "role": role, "x": position, **found}))
    frame = pd.concat(frames, ignore_index=True)
    figure = Figure(figsize=(WIDTH, 2.7))
    for axes, (value, title) in zip(figure.subplots(1, 2), {"weight": "$\\omega_{Te}$", "loss": "$ALoss_{Te}$"}.items()):
        for side in (-1, 1):
            axes.axvspan(side * SIGMA * teacher, side * teacher, color=SHADES["negative"], linewidth=0, zorder=0)
            axes.axvspan(side * teacher, side * 0.5, color=SHADES["positive"], linewidth=0, zorder=0)
        for _, _, label, line in CURVES:
            part = frame[frame["curve"] == label]
            axes.plot(part["x"], _broken(part[value].to_numpy(), 0.1), **line(label=label))
        axes.axhline(0, color=GREY, linewidth=0.7)
        axes.set(xlabel=PLACE, title=f"{title} for $P_{{Gt}}$ = 0, $P_{{Te}}$ = {teacher}", xlim=(-0.5, 0.5))
    figure.axes[0].set_ylabel("weight")
    figure.axes[1].set_ylabel("loss [share of the crop]")
    figure.legend(*figure.axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=3)
    bottom = figure.axes[1].get_ylim()[0]
    for x, text in ((0, "low"), (0.28, "negative"), (-0.28, "negative"), (0.45, "positive"), (-0.45, "positive")):
        turn = 90 if text == "positive" else 0
        figure.axes[1].text(x, bottom, f" {text} ", rotation=turn, ha="center", va="bottom", fontsize=6.5, color="#333333")
    return figure, frame


def _broken(values: np.ndarray, jump: float) -> np.ndarray:
    """`values` with a gap where they jump, so that no line is drawn there."""
    gaps = np.abs(np.diff(values, prepend=values[0])) > jump
    return np.where(gaps, np.nan, values)


@plots.drawn
def figure8(study: Study) -> tuple[Figure, pd.DataFrame]:
    """The main loss for P_Gt = 0, beside L1 and L2; and that of the authors' code, for two errors t of the tolerant teacher."""
    position = np.linspace(-1, 1, 401).round(4)
    pred = torch.from_numpy(position)
    truth = torch.zeros_like(pred)
    panels = {
        "(a) the paper's": {"L1": pred.abs(), "L2": pred.square(), "$Loss_{Main}$": main_loss(pred, truth)},
        "(b) the authors' code": {
            f"t = {t}": main_loss(pred, truth, variant="official", tolerant=torch.full_like(pred, t)) for t in (0.1, 0.3)
        }
        | {"the paper's": main_loss(pred, truth)},
    }
    looks = (Line(ORANGE, "", (0, (5, 1.5))), Line(GREEN, "", (0, (5, 1.5, 1, 1.5))), Line(BLUE, ""))
    figure, frames = Figure(figsize=(WIDTH, 2.6)), []
    for axes, (title, curves) in zip(figure.subplots(1, 2), panels.items()):
        for line, (label, values) in zip(looks, curves.items()):
            axes.plot(position, values, **line(label=label))
            frames.append(pd.DataFrame({"panel": title, "curve": label, "x": position, "loss": values}))
        axes.set(xlabel=PLACE, ylabel="loss", title=title, xlim=(-1, 1), ylim=(0, None))
        axes.legend(loc="upper center")
    for side in (-0.5, 0.5):
        figure.axes[0].axvline(side, color=GREY, linewidth=0.7, linestyle=":")
    return figure, pd.concat(frames, ignore_index=True)


def parts(position: np.ndarray, tough: float, tolerant: float, sigma: float = SIGMA, phi: float = PHI) -> dict[str, np.ndarray]:
    """KD-Loss (equation 14) of one coordinate at each position, truth at 0, teachers at two others; and its three parts.

    >>> {name: value.round(4).tolist() for name, value in parts(np.array([0.04]), 0.4, 0.4).items()}
    {'main': [0.08], 'tough': [-0.045], 'tolerant': [-0.045], 'total': [-0.01]}
    """
    pred = torch.from_numpy(np.asarray(position, np.float64))
    truth = torch.zeros_like(pred)
    found: dict[str, Tensor] = {"main": phi * main_loss(pred, truth)}
    for role, teacher in (("tough", tough), ("tolerant", tolerant)):
        found[role] = assistive(pred, truth, torch.full_like(pred, teacher), sigma=sigma)
    return {name: value.numpy() for name, value in {**found, "total": sum(found.values())}.items()}


def minimum(tough: float, tolerant: float) -> tuple[float, float]:
    """Where KD-Loss with the paper's phi and sigma is least, and how much it is there: 0.1 d and -0.025 d.

    d is the harmonic mean of the teachers' errors: below both betas the loss is -r / 2 + 1.25 r^2 (1 / d1 + 1 / d2).

    >>> [round(value, 6) for value in minimum(0.4, 0.4)]
    [0.04, -0.01]
    """
    d = 2 / (1 / abs(tough) + 1 / abs(tolerant))
    return 0.1 * d, -0.025 * d


@plots.drawn
def figure9(study: Study) -> tuple[Figure, pd.DataFrame]:
    """KD-Loss with far and near teachers, and its parts; below, near the truth: it is negative, and least beside the truth.

    Differs from the paper: "will never be negative" holds from sigma = 0.5 on, which is drawn beside the paper's 0.4.
    """
    position = np.union1d(np.linspace(-0.5, 0.5, 201), np.linspace(-0.06, 0.06, 241)).round(5)
    looks = {"main": Line(GREY, "", (0, (5, 1.5))), "tough": Line(BLUE, "", (0, (1, 1.2))),
             "tolerant": Line(ORANGE, "", (0, (5, 1.5, 1, 1.5))), "total": Line(BLACK, "")}  # fmt: skip
    labels = ("$\\phi\\,Loss_{Main}$", "$ALoss_{Tou}$", "$ALoss_{Tol}$", "KD-Loss")
    figure, frames = Figure(figsize=(WIDTH, 4.6)), []
    for (upper, lower), (title, teachers) in zip(figure.subplots(2, 2).T, FAR_AND_NEAR.items()):
        found = {sigma: parts(position, **teachers, sigma=sigma) for sigma in (SIGMA, 0.5)}
        places = {f"{role}_at": place for role, place in teachers.items()}
        frames += [pd.DataFrame({"panel": title, **places, "sigma": s, "x": position, **f}) for s, f in found.items()]
        for (name, line), label in zip(looks.items(), labels):
            upper.plot(position, found[SIGMA][name], **line(label=label))
        for role, (name, _, colour, ink, _) in NAMES.items():
            upper.axvline(teachers[role], color=colour, linewidth=0.6)
            upper.text(teachers[role], 1.38, f"$P_{{{name}}}$", color=ink, ha="center", va="bottom", fontsize=7)
        upper.set(xlabel=PLACE, xlim=(-0.5, 0.5), ylim=(-0.25, 1.35))
        upper.set_title(title, pad=13)
        _near(lower, position, {sigma: f["total"] for sigma, f in found.items()}, minimum(**teachers))
    for axes in figure.axes[::2]:
        axes.set_ylabel("loss [share of the crop]")
    figure.axes[0].legend(loc="upper center")
    return figure, pd.concat(frames, ignore_index=True)


def _near(axes: Axes, position: np.ndarray, totals: dict[float, np.ndarray], least: tuple[float, float]) -> None:
    """KD-Loss near the truth, with its minima."""
    for line, (sigma, total) in zip((Line(BLACK, ""), Line(GREEN, "", (0, (5, 1.5)))), totals.items()):
        axes.plot(position, total, **line(label=f"$\\sigma$ = {sigma}"))
    axes.axhline(0, color=GREY, linewidth=0.7)
    axes.fill_between(position, totals[SIGMA], 0, where=totals[SIGMA] < 0, color=RED, alpha=0.25, linewidth=0, label="negative")
    for side in (-1, 1):
        axes.plot(side * least[0], least[1], color=RED, marker="v")
    text = f"least: {least[1]:.4f} at $\\pm${least[0]:.4f}".replace("-", "\N{MINUS SIGN}")
    axes.text(0, -0.0095, text, ha="center", va="top", fontsize=7, color=RED)
    axes.set(xlabel=PLACE, xlim=(-0.06, 0.06), ylim=(-0.014, 0.03), title="near the truth")
    axes.legend(loc="upper center")


FIGURES = {6: figure6, 7: figure7, 8: figure8, 9: figure9}
