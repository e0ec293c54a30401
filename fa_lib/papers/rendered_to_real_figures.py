"""The figure of the study from rendered faces to photographs: numbers only, whatever the test faces are."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from fa_lib import metrics
from fa_lib.papers.rendered_to_real import TABLES
from fa_lib.papers.self_distillation_figures import INDEX
from fa_lib.plots import BLACK, BLUE, GREY, ORANGE, WIDTH
from fa_lib.redraw import FromFrame
from fa_lib.results import Study

SHOWN = {"fan2-wild-long": "rendered faces alone", "fan2-own": "the test's own training faces"}


def mean_shape(study: Study) -> float:
    """NME of the answer that looks at no picture: the mean landmarks of the training faces of the test's own set."""
    (_, target), (_, known) = study.test.crops(), study.source.train().crops()
    guess = np.repeat(known.mean(0, keepdims=True), len(target), 0)
    return float(metrics.nme(guess, target, metrics.lengths(target)).mean())


def by_region(study: Study, row: str) -> dict[str, float]:
    """Mean error of a row by region of the face, and of all points; mean over seeds, a fraction of the inter-ocular distance."""
    _, target = study.test.crops()
    lengths = metrics.lengths(target)
    errors = [metrics.displacements(trained.predictions["test"], target, lengths) for trained in study.trained(row)]
    distance = np.linalg.norm(np.stack(errors), axis=-1)  # (S, M, K)
    return {**{name: float(distance[..., ids].mean()) for name, ids in INDEX.items()}, "all points": float(distance.mean())}


def errors(study: Study) -> pd.DataFrame:
    """NME of every row with its interval ("rows"), mean error by region of the face ("regions"), and the mean shape's; in %."""
    lines = []
    for label, row in TABLES[0].rows.items():
        found = study.estimate(row, "nme")
        values = {"nme": 100 * found.value, "low": 100 * found.low, "high": 100 * found.high}
        lines.append({"panel": "rows", "label": label, **values})
    for row, label in SHOWN.items():
        parts = by_region(study, row).items()
        lines += [{"panel": "regions", "label": label, "region": region, "nme": 100 * value} for region, value in parts]
    return pd.DataFrame([*lines, {"panel": "baseline", "label": "mean shape", "nme": 100 * mean_shape(study)}])


@FromFrame.of(errors)
def figure1(frame: pd.DataFrame) -> Figure:
    """NME of every row with its interval, beside the mean shape; and where in the face the error is."""
    figure, rows = Figure(figsize=(WIDTH, 2.9)), frame[frame["panel"] == "rows"]
    left, right = figure.subplots(1, 2, width_ratios=[1.25, 1])
    at = np.arange(len(rows))[::-1]
    own = rows["label"].map(TABLES[0].rows).str.endswith("-own").to_numpy()
    for mask, look in ((~own, {"color": BLUE, "marker": "D"}), (own, {"color": ORANGE, "marker": "s"})):
        part = rows[mask]
        around = np.abs(part[["low", "high"]].to_numpy() - part[["nme"]].to_numpy()).T
        left.errorbar(part["nme"], at[mask], xerr=around, linestyle="none", capsize=2, **look)
    guess = frame.loc[frame["panel"] == "baseline", "nme"].item()
    left.axvline(guess, color=GREY, linestyle="--", linewidth=1)
    left.text(guess, at.mean(), "mean shape", color=GREY, ha="right", va="center", fontsize=7, rotation=90)
    left.set_yticks(at, rows["label"])
    left.grid(visible=True, axis="x")
    left.grid(visible=False, axis="y")
    left.set(xlabel="NME [% of inter-ocular]", xlim=(0, None), title="learned from")
    for number, (label, part) in enumerate(frame[frame["panel"] == "regions"].groupby("label", sort=False)):
        look = {"color": (BLUE, "white")[number], "edgecolor": BLACK, "linewidth": 0.6, "hatch": ("", "////")[number]}
        right.bar(np.arange(len(part)) + 0.36 * number - 0.18, part["nme"], 0.34, label=label, **look)
    right.set_xticks(range(len(part)), part["region"], rotation=30, ha="right")
    right.set(ylabel="mean error [% of inter-ocular]", title="where the error is")
    right.set_ylim(0, 1.3 * right.get_ylim()[1])  # room for the legend above the highest bar
    right.legend(loc="upper right")
    return figure


FIGURES = {1: figure1}
