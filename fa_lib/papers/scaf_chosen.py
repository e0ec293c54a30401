"""What paper 5's acquisition functions cost, which faces they choose, and how many labels they save: beyond its tables."""

from collections.abc import Sequence

import cv2
import numpy as np
import pandas as pd
import torch
from scipy import stats

from fa_lib import acquisition, export, runs
from fa_lib.heatmaps import decode, draw
from fa_lib.papers import scaf
from fa_lib.papers.scaf_training import SIGMA
from fa_lib.results import Study

WINDOW = 9  # cells: of NNM, and of the mean by which 3FabRec finds landmarks
NAMES = {"": "random", "nnm": "NNM", "nnm10": "NNM10", "entropy": "entropy", "entropy10": "entropy10", "kcenter": "k-center"}


def nnm_by_loops(maps: np.ndarray, landmarks: np.ndarray, window: int = WINDOW) -> float:
    """`acquisition.nnm` of one face's heatmaps (K, H, W) about `landmarks` (K, 2), (x, y) in cells: one map after another.

    >>> nnm_by_loops(np.ones((2, 5, 5)), np.array([[2.0, 2.0], [0.0, 0.0]]), window=3)  # 9 cells; 4, as it lies in a corner
    -13.0
    """
    total, reach = 0.0, window // 2
    for one, (x, y) in zip(maps, landmarks.round().astype(int)):
        total += one[max(y - reach, 0) : y + reach + 1, max(x - reach, 0) : x + reach + 1].sum()
    return -float(total)


def entropy_by_loops(maps: np.ndarray) -> float:
    """`acquisition.spatial_entropy` of one face's heatmaps (K, H, W), in nats: one map after another.

    >>> round(entropy_by_loops(np.ones((3, 2, 2))), 4)  # log 4
    1.3863
    """
    total = 0.0
    for one in maps:
        mass = np.maximum(one, 1e-30)
        share = mass / mass.sum()
        total -= (share * np.log(share)).sum()
    return float(total / len(maps))


def landmarks_by_loops(maps: np.ndarray, window: int = WINDOW) -> np.ndarray:
    """`decode(..., "box_blur")` of one face's heatmaps (K, H, W): (K, 2), (x, y) in cells, one map after another."""
    blurred = [cv2.blur(one, (window, window), borderType=cv2.BORDER_CONSTANT) for one in maps]
    return np.array([np.unravel_index(one.argmax(), one.shape)[::-1] for one in blurred], float)


def speeds(landmarks: int = 68, side: int = 128, batch: int = 1, repeats: int = 30) -> pd.DataFrame:
    """Milliseconds a face of NNM and of spatial entropy on one thread of this machine's processor: median and quartiles.

    Heatmaps are of the published size. `code`: "loops" goes through the maps of a face in numpy, "batched" is
    `fa_lib.acquisition`, `batch` faces at once. NNM is timed where landmarks are known, as they are after a prediction, and
    with the finding of them; the entropy needs none. `ratio`: how often NNM fits into the entropy of the same code. The paper
    measures 12 ms and 42 ms, 3.5 times as fast, with code and number of faces not given.
    """
    torch_threads, cv_threads = torch.get_num_threads(), cv2.getNumThreads()
    random = torch.Generator().manual_seed(0)
    points = side * torch.rand(batch, landmarks, 2, generator=random)
    maps = draw(points, side, SIGMA * side) + 0.01 * torch.randn(batch, landmarks, side, side, generator=random)
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    try:
        found, faces = decode(maps, "box_blur"), list(maps.numpy())
        known = list(found.numpy())
        calls = {
            ("loops", "NNM"): lambda: [nnm_by_loops(face, at) for face, at in zip(faces, known)],
            ("loops", "NNM with landmarks"): lambda: [nnm_by_loops(face, landmarks_by_loops(face)) for face in faces],
            ("loops", "entropy"): lambda: [entropy_by_loops(face) for face in faces],
            ("batched", "NNM"): lambda: acquisition.nnm(maps, WINDOW, found),
            ("batched", "NNM with landmarks"): lambda: acquisition.nnm(maps, WINDOW),
            ("batched", "entropy"): lambda: acquisition.spatial_entropy(maps),
        }
        device, lines = runs.provenance()["device"].replace("1 threads", "1 thread"), []
        for (code, function), call in calls.items():
            taken = export.latency(call, repeats, warm_up=2)
            times = {"ms": taken.median_ms / batch, "low": taken.low_ms / batch, "high": taken.high_ms / batch}
            lines.append({"code": code, "function": function, **times, "faces": batch, "device": device})
    finally:
        torch.set_num_threads(torch_threads)
        cv2.setNumThreads(cv_threads)
    frame = pd.DataFrame(lines)
    entropy = frame[frame["function"] == "entropy"].set_index("code")["ms"]
    return frame.assign(ratio=frame["code"].map(entropy) / frame["ms"])


def chosen_by_attribute(study: Study, budget: str = "tenth", net: str = "scaf") -> pd.DataFrame:
    """Which training faces of WFLW each acquisition function has annotated: the share of each attribute among them, in %.

    A line a function and attribute: `chosen`, the mean over seeds; `pool`, the share among all training faces; `low` and
    `high`, between which it would be in 95 % of random choices of as many (of one choice: a mean of several varies less).
    All but "random" contain the 10 random faces that active learning begins with.
    """
    one = study.on("wflw")
    faces, lines = one.source.train(), []
    parts = {part: faces.part(part) for part in faces.parts()}
    for function, label in NAMES.items():
        labelled = [trained.predictions["labelled"] for trained in one.trained(_row(net, function, budget))]
        for part, has in parts.items():
            if not has.all():
                lines.append({"function": label, "attribute": part, "labels": len(labelled[0]), "seeds": len(labelled),
                              "chosen": 100 * np.mean([has[index].mean() for index in labelled]),
                              **by_chance(has, len(labelled[0]))})  # fmt: skip
    return pd.DataFrame(lines)


def by_chance(has: np.ndarray, count: int) -> dict[str, float]:
    """Share in % of those who have something, `has` (N,) bool: of all, and the 95 % range of it in `count` drawn at random.

    >>> by_chance(np.arange(100) < 20, 100)  # drawing all leaves nothing to chance
    {'pool': 20.0, 'low': 20.0, 'high': 20.0}
    """
    drawn = stats.hypergeom(len(has), int(has.sum()), count)
    return {"pool": 100 * float(has.mean()), "low": 100 * float(drawn.ppf(0.025)) / count,
            "high": 100 * float(drawn.ppf(0.975)) / count}  # fmt: skip


def labels_for(nme: float, counts: Sequence[int], errors: Sequence[float]) -> float:
    """How many labels lead to an error of `nme`, by a curve of `errors` at increasing `counts` of labels; NaN beyond its ends.

    An error that is greater with more labels counts as the least before it, as more labels do no harm; between two counts the
    error falls by equal steps for equal factors.

    >>> round(labels_for(6.0, [10, 100, 1000], [8.0, 7.0, 5.0]))  # half way from 7 to 5: the geometric mean of 100 and 1000
    316
    >>> labels_for(7.0, [10, 100, 1000], [8.0, 7.0, 5.0]), labels_for(9.0, [10, 100, 1000], [8.0, 7.0, 5.0])
    (100.0, nan)
    """
    least = np.minimum.accumulate(np.asarray(errors, float))
    if not least[-1] <= nme <= least[0]:
        return float("nan")
    after = int((least <= nme).argmax())
    if after == 0:
        return float(counts[0])
    way = (least[after - 1] - nme) / (least[after - 1] - least[after])
    return float(counts[after - 1] * (counts[after] / counts[after - 1]) ** way)


def labels_saved(study: Study) -> pd.DataFrame:
    """How many labels each acquisition function saves at equal NME: what random faces need for its NME, less its own labels.

    A line a network, function and budget of this study's data set. `needed` comes from the curve of the random subsets' mean
    NME in % over numbers of labels, from 10 to all: see `labels_for`; NaN where the NME is outside it. `saved` is negative
    where random faces do better; `saved_share` is in % of `needed`. The seeds' spread is not in these numbers: where it is as
    large as the difference to random faces of the same budget (Table 4), nothing is saved for sure.

    For example: with NME 7 % at 100 random labels and 5 % at 1000, 200 chosen ones that reach 6 % save 316 - 200 = 116.
    """
    few, lines = scaf.SETTINGS[study.profile.name].few, []
    budgets = (*scaf.COUNTS, *scaf.SHARES)
    for net in scaf.NETWORKS:
        functions = {_row(net, function, budget): function for function in scaf.FUNCTIONS for budget in budgets}
        chosen = [row for row in study.rows if row in functions]
        if not chosen:
            continue
        plain = {_row(net, "", budget) for budget in budgets}.intersection(study.rows)
        curve = {_count(study, row, few): row for row in (*sorted(plain), f"{net}-start")}  # a small set has alike budgets
        counts = sorted(curve)
        errors = [100 * study.estimate(curve[count], "nme").value for count in counts]
        for row in chosen:
            nme, count = 100 * study.estimate(row, "nme").value, _count(study, row, few)
            needed = labels_for(nme, counts, errors)
            saved = {"needed": needed, "saved": needed - count, "saved_share": 100 * (needed - count) / needed}
            lines.append({"network": net, "function": NAMES[functions[row]], "labels": count, "nme": nme, **saved})
    return pd.DataFrame(lines)


def _row(net: str, function: str, budget: str) -> str:
    return "-".join(part for part in (net, function, budget) if part)


def _count(study: Study, row: str, few: float) -> int:
    return scaf.labels(row.rsplit("-", 1)[1], study.source.faces, few)
