"""Figures 2 to 4 of paper 5, its results: heatmaps of sure and unsure faces, reconstructions, faces to annotate first.

All are of WFLW, as in the paper. No figure shows a real photograph: where a study is of real faces, its networks are shown on
rendered ones.
"""

import numpy as np
import pandas as pd
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator
from scipy import stats
from torch import nn

from fa_lib import acquisition, data, metrics, plots, runs, training
from fa_lib.data import Faces
from fa_lib.heatmaps import to_map
from fa_lib.papers import scaf_drawings as drawings
from fa_lib.papers.kd_loss_figures import QUANTILES, by_quantile, name_of
from fa_lib.plots import BLUE, GREEN, ORANGE, RED, WIDTH
from fa_lib.results import Study

TRUTH = {"marker": "o", "color": GREEN, "markersize": 2.1, "markeredgewidth": 0, "linestyle": ""}
FOUND = {"marker": "D", "color": ORANGE, "markersize": 1.6, "markeredgewidth": 0.2, "linestyle": ""}
UNSURE = 0.98  # quantile of NNM of the unsure face of figure 2
FIRST, SHARE = 5, 0.1  # faces in a row of figure 4; the share that its second row leaves out


def shown_faces(study: Study, split: str) -> Faces:
    """The training or test faces that may be shown: those of the study, or rendered ones that stand in for photographs.

    Of these as many as the profile has of rendered faces.
    """
    if study.source.root is None:
        return study.test if split == "test" else study.source.train()
    count = study.profile.test_faces if split == "test" else study.profile.train_faces
    return data.load(f"synthetic/{study.dataset}", split, None, study.source.size, count)


def located(study: Study, row: str, faces: Faces) -> tuple[nn.Module, np.ndarray]:
    """The network of a row's first seed, where it computes, and the landmarks (M, K, 2) that it finds, in crop pixels."""
    trained = study.trained(row)[0]
    net = trained.network().to(training.device()).eval()
    known = faces is study.test
    return net, trained.predictions["test"] if known else training.evaluate(net, faces, trained.run.config.method)


@torch.no_grad()
def heatmaps_of(net: nn.Module, crops: np.ndarray) -> np.ndarray:
    """The heatmaps (M, K, h, h) of crops (M, size, size, 3)."""
    return np.concatenate([net(pictures)[-1].float().cpu().numpy() for pictures in acquisition.in_batches(net, crops)])


def judged(net: nn.Module, faces: Faces, found: np.ndarray) -> pd.DataFrame:
    """A line a face: `nnm` and `entropy` (nats), both greater where the network is less sure, and `nme` in %.

    `found`: the landmarks (M, K, 2) about which NNM sums, in crop pixels.
    """
    crops, truth = faces.crops()
    lines = []
    for start in range(0, len(faces), 64):
        maps = torch.from_numpy(heatmaps_of(net, crops[start : start + 64]))
        points = to_map(torch.from_numpy(found[start : start + 64]), faces.size / maps.shape[-1])
        scores = {"nnm": acquisition.nnm(maps, landmarks=points), "entropy": acquisition.spatial_entropy(maps)}
        lines.append(pd.DataFrame({name: values.numpy() for name, values in scores.items()}))
    frame = pd.concat(lines, ignore_index=True).assign(nme=100 * metrics.nme(found, truth, faces.lengths()))
    frame.insert(0, "face", faces.names)
    return frame


def confidence(study: Study, row: str = "scaf-all") -> pd.DataFrame:
    """`judged` of all test faces of a study, its photographs, too: how well NNM and entropy tell which faces are wrong."""
    net, found = located(study, row, study.test)
    return judged(net, study.test, found)


@plots.drawn
def figure2(study: Study) -> tuple[Figure, pd.DataFrame]:
    """Faces of which SCAF with all labels is sure and unsure, with their heatmaps; and its NNM against its error, face by face.

    An image is the greatest value over all landmarks' heatmaps. The sure face is that of the least NNM, the unsure one that
    which 2 % of the faces exceed. Right: all test faces, a user's own where these are given, with Spearman's rank correlation.
    """
    one, measured = study.on("wflw"), study if study.source.own else study.on("wflw")
    faces = shown_faces(one, "test")
    net, found = located(one, "scaf-all", faces)
    frame = judged(net, faces, found).assign(faces="rendered", shown="")
    order = np.argsort(frame["nnm"].to_numpy(), kind="stable")
    chosen = order[[0, round(UNSURE * (len(order) - 1))]]
    frame.loc[chosen, "shown"] = ["sure", "unsure"]
    figure = Figure(figsize=(WIDTH, 3.3))
    left, right = figure.subfigures(1, 2, width_ratios=[1.15, 1])
    left.get_layout_engine().set(wspace=0.02, w_pad=0.02)
    _maps(left, faces.select(chosen), found[chosen], heatmaps_of(net, faces.crops()[0][chosen]), frame.loc[chosen])
    everyone = frame
    if faces is not measured.test:
        everyone = confidence(measured).assign(faces="photographs", shown="")
        frame = pd.concat([frame, everyone], ignore_index=True)
    _ordered(right.subplots(), everyone, measured)
    return figure, frame


def _maps(figure: Figure, faces: Faces, found: np.ndarray, maps: np.ndarray, told: pd.DataFrame) -> None:
    """Each face with its landmarks beside the maximum of its heatmaps, in one scale of colours."""
    crops, truth = faces.crops()
    panels = figure.subplots(len(crops), 2)
    look = {"cmap": "viridis", "vmin": 0, "vmax": maps.max()}
    for (one, other), picture, true, points, lit, (_, row) in zip(panels, crops, truth, found, maps.max(1), told.iterrows()):
        plots.faces(one, picture, true, points, styles=[TRUTH, FOUND], contours=False)
        image = other.imshow(lit, **look)
        plots.bare(other)
        one.set_ylabel(row["shown"])
        one.set_xlabel(f"NME {row['nme']:.1f} %", fontsize=7, labelpad=2)
        other.set_xlabel(f"NNM {_minus(row['nnm'])}\nentropy {row['entropy']:.2f} nats", fontsize=7, labelpad=2)
    bar = figure.colorbar(image, ax=panels[:, 1], shrink=0.9, aspect=25, pad=0.03)
    bar.set_label("greatest of all heatmaps", fontsize=7)
    bar.ax.tick_params(labelsize=6.5)
    bar.outline.set_linewidth(0.5)
    _legend(figure, "truth", "found by SCAF")


def _ordered(axes: Axes, frame: pd.DataFrame, study: Study) -> None:
    """NME against NNM of all test faces, and how far one orders them as the other does."""
    axes.plot(frame["nnm"], frame["nme"], ".", color=BLUE, markersize=3, alpha=0.5, markeredgewidth=0)
    for text, marker in (("sure", "v"), ("unsure", "^")):
        shown = frame[frame["shown"] == text]
        axes.plot(shown["nnm"], shown["nme"], marker, color=RED, markersize=5, linestyle="", label=text if len(shown) else None)
    rank = stats.spearmanr(frame["nnm"], frame["nme"]).statistic
    axes.set(yscale="log", xlabel="NNM (to the right: less sure)", ylabel=f"NME [% of {study.test.scheme.ruler}]")
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_locator(MaxNLocator(4))
    text = f"{name_of(study)}, {len(frame):,} faces\nSpearman's rank correlation {rank:.2f}"
    axes.set_title(text.replace("-", "\N{MINUS SIGN}"), fontsize=7.5)
    if axes.get_legend_handles_labels()[0]:
        axes.legend(loc="upper left")


def _minus(value: float) -> str:
    """A whole number with a true minus sign.

    >>> _minus(-1234.4).encode("unicode-escape")
    b'\\\\u22121,234'
    """
    return f"{value:,.0f}".replace("-", "\N{MINUS SIGN}")


def _legend(figure: Figure, *texts: str) -> None:
    """What the colours of landmarks mean, and more texts without a mark."""
    handles = [Line2D([], [], **{**look, "markersize": 4}) for look in (TRUTH, FOUND)]
    handles += [Line2D([], [], linestyle="")] * (len(texts) - len(handles))
    figure.legend(handles, texts, loc="outside lower center", ncols=len(texts), handlelength=1.2)


@torch.no_grad()
def redrawn(net: nn.Module, crops: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What an auto-encoder makes of crops (M, size, size, 3) uint8: pictures to show, alike; mean absolute errors (M,).

    Errors are in grey levels, of 255, before a picture is clipped to what can be shown.
    """
    pictures, errors = [], []
    for given in acquisition.in_batches(net, crops):
        made = net(given)
        errors.append(255 * (made - given).abs().mean((1, 2, 3)).cpu().numpy())
        pictures.append((255 * made.clamp(0, 1)).round().byte().permute(0, 2, 3, 1).cpu().numpy())
    return np.concatenate(pictures), np.concatenate(errors)


@plots.drawn
def figure3(study: Study) -> tuple[Figure, pd.DataFrame]:
    """Test faces from easy to hard ones, and what the auto-encoder makes of them before and after SCAF learned from all labels.

    Its generator has stayed, its encoder has learned to find landmarks. At the rows: mean absolute error of all test faces, in
    grey levels of 255, which the paper sees rise; it gives no number.
    """
    one = study.on("wflw")
    faces = shown_faces(one, "test")
    net, found = located(one, "scaf-all", faces)
    first = runs.get(one.trained("scaf-all")[0].run.config.autoencoder).network().autoencoder.to(training.device())
    (crops, truth), stages = faces.crops(), {"before": first, "after": net.autoencoder}
    made = {name: redrawn(each, crops) for name, each in stages.items()}
    nme = 100 * metrics.nme(found, truth, faces.lengths())
    chosen, quantiles = by_quantile(nme), np.full(len(nme), np.nan)
    quantiles[chosen] = QUANTILES
    errors = {name: error for name, (_, error) in made.items()}
    frame = pd.DataFrame({"face": faces.names, "faces": "rendered", "quantile": quantiles, "nme": nme, **errors})
    if faces is not one.test:  # pictures of rendered faces, errors of photographs
        errors = {name: redrawn(each, one.test.crops()[0])[1] for name, each in stages.items()}
        frame = pd.concat([frame, pd.DataFrame({"face": one.test.names, "faces": "photographs", **errors})], ignore_index=True)
    figure = Figure(figsize=(WIDTH, 3.75))
    figure.get_layout_engine().set(wspace=0.01, w_pad=0.02, h_pad=0.02)
    rows = {"test face" if faces is one.test else "rendered\ntest face": (crops, [truth]), **{
        f"{text}\n{errors[name].mean():.1f} of 255": (made[name][0], sets)
        for name, text, sets in (("before", "auto-encoder:", []), ("after", "SCAF:", [truth, found]))
    }}  # fmt: skip
    for panels, (text, (pictures, sets)) in zip(figure.subplots(len(rows), len(QUANTILES)), rows.items()):
        for axes, i in zip(panels, chosen):
            plots.faces(axes, pictures[i], *(points[i] for points in sets), styles=[TRUTH, FOUND], contours=False)
        panels[0].set_ylabel(text, fontsize=7)
    for axes, quantile in zip(figure.axes, QUANTILES):
        axes.set_title(f"harder than {100 * quantile:.0f} %", loc="center", fontsize=7)
    for axes, i in zip(panels, chosen):
        axes.set_xlabel(f"NME {nme[i]:.1f} %", fontsize=7, labelpad=2)
    kind = "rendered faces" if faces is one.test else "photographs"
    _legend(figure, "truth", "found by SCAF", f"numbers: mean absolute error of {len(one.test):,} {kind}")
    return figure, frame


@plots.drawn
def figure4(study: Study) -> tuple[Figure, pd.DataFrame]:
    """The unlabelled training faces of greatest NNM after training on 10 random ones: of all, and without the hardest 10 %."""
    one = study.on("wflw")
    trained, pool = one.trained("scaf-start")[0], shown_faces(one, "train")
    net, method = trained.network().to(training.device()), trained.run.config.method
    if one.source.root is None:
        pool = pool.select(np.setdiff1d(np.arange(len(pool)), trained.predictions["labelled"]))
    nnm = acquisition.unsureness(net, pool.crops()[0], "nnm", method=method)
    rows = {"all": 0.0, f"without the\nhardest {100 * SHARE:.0f} %": SHARE}
    figure, lines = Figure(figsize=(WIDTH, 3.35)), []
    figure.get_layout_engine().set(wspace=0.01, w_pad=0.02, h_pad=0.02)
    for panels, (text, share) in zip(figure.subplots(len(rows), FIRST), rows.items()):
        chosen = acquisition.choose(nnm, FIRST, share)
        faces = pool.select(chosen)
        crops, truth = faces.crops()
        found = training.evaluate(net, faces, method)
        errors = 100 * metrics.nme(found, truth, faces.lengths())
        for rank, (axes, i) in enumerate(zip(panels, chosen)):
            plots.faces(axes, crops[rank], truth[rank], found[rank], styles=[TRUTH, FOUND], contours=False)
            axes.set_xlabel(f"NNM {_minus(nnm[i])}\nNME {errors[rank]:.1f} %", fontsize=7, labelpad=2)
            lines.append({"discarded": share, "rank": rank + 1, "face": faces.names[rank], "attributes": faces.attributes[rank],
                          "nnm": float(nnm[i]), "nme": errors[rank], "pool": len(pool)})  # fmt: skip
        panels[0].set_ylabel(text)
    for rank, axes in enumerate(figure.axes[:FIRST], 1):
        axes.set_title(f"rank {rank}", loc="center", fontsize=7)
    _legend(figure, "truth", f"SCAF after {len(trained.predictions['labelled'])} labels")
    return figure, pd.DataFrame(lines)


FIGURES = {1: drawings.figure1, 2: figure2, 3: figure3, 4: figure4}
