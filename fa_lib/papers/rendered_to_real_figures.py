"""The figure of the study from rendered faces to photographs: numbers only, whatever the test faces are."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from fa_lib import metrics, plots
from fa_lib.papers.rendered_to_real import TABLES
from fa_lib.papers.self_distillation_figures import INDEX
from fa_lib.plots import BLACK, BLUE, GREY, ORANGE, WIDTH
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


@plots.drawn
def figure1(study: Study) -> tuple[Figure, pd.DataFrame]:
    """NME of every row with its interval, beside the mean shape; and where in the face the error is."""
    figure = Figure(figsize=(WIDTH, 2.9))
    left, right = figure.subplots(1, 2, width_ratios=[1.25, 1])
    lines = []
    for label, row in TABLES[0].rows.items():
        found = study.estimate(row, "nme")
        lines.append(
            {"panel": "rows", "label": label, "nme": 100 * found.value, "low": 100 * found.low, "high": 100 * found.high}
        )
    rows = pd.DataFrame(lines)
    at = np.arange(len(rows))[::-1]
    own = np.array([row.endswith("-own") for row in TABLES[0].rows.values()])
    for mask, look in ((~own, {"color": BLUE, "marker": "D"}), (own, {"color": ORANGE, "marker": "s"})):
        part = rows[mask]
        around = np.abs(part[["low", "high"]].to_numpy() - part[["nme"]].to_numpy()).T
        left.errorbar(part["nme"], at[mask], xerr=around, linestyle="none", capsize=2, **look)
    guess = 100 * mean_shape(study)
    left.axvline(guess, color=GREY, linestyle="--", linewidth=1)
    left.text(guess, at.mean(), "mean shape", color=GREY, ha="right", va="center", fontsize=7, rotation=90)
    left.set_yticks(at, rows["label"])
    left.grid(visible=True, axis="x")
    left.grid(visible=False, axis="y")
    left.set(xlabel="NME [% of inter-ocular]", xlim=(0, None), title="learned from")
    regions = {label: by_region(study, row) for row, label in SHOWN.items()}
    for number, (label, values) in enumerate(regions.items()):
        look = {"color": (BLUE, "white")[number], "edgecolor": BLACK, "linewidth": 0.6, "hatch": ("", "////")[number]}
        bars = 100 * np.array(list(values.values()))
        right.bar(np.arange(len(bars)) + 0.36 * number - 0.18, bars, 0.34, label=label, **look)
    right.set_xticks(range(len(INDEX) + 1), [*INDEX, "all points"], rotation=30, ha="right")
    right.set(ylabel="mean error [% of inter-ocular]", title="where the error is")
    right.set_ylim(0, 1.3 * right.get_ylim()[1])  # room for the legend above the highest bar
    right.legend(loc="upper right")
    parts = [{"panel": "regions", "label": k, "region": r, "nme": 100 * v} for k, d in regions.items() for r, v in d.items()]
    baseline = [{"panel": "baseline", "label": "mean shape", "nme": guess}]
    return figure, pd.concat([rows, pd.DataFrame(parts + baseline)], ignore_index=True)


FIGURES = {1: figure1}
