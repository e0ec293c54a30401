"""Scores per face, and what follows from sums of them: every metric of the papers, with 95 % intervals.

Every metric here is a function of sums over faces, so that a bootstrap sample is a sum of resampled rows. Intervals are 95 %
percentile intervals over resampled groups of faces (a photograph, a clip) and resampled seeds; differences between rows are
paired: the same faces and seeds on both sides.
"""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from scipy import stats

from fa_lib import metrics
from fa_lib.landmarks import Scheme

OF_CLIP = ("clips", "variation", "allan", "spread", "lag", "moving")  # of a whole clip, on its first frame; 0 on the others
FIELDS = ("kept", "dx", "dy", "r2", "points", "nme", "faces", "failed", "short", "scale", "step2", "steps", "apart", "pupil")
FIELDS += ("all_r2", *OF_CLIP)
REJECT, FAIL = 0.05, 0.10  # paper 1's alpha; failure rate and AUC threshold
CROP = 256  # side of the crops in whose pixels paper 3 counts


def features(
    pred: np.ndarray,
    target: np.ndarray,
    clips: np.ndarray | None = None,
    again: np.ndarray | None = None,
    *,
    lengths: np.ndarray | None = None,
    scheme: Scheme | None = None,
    size: int = CROP,
) -> np.ndarray:
    """Per face (M, len(FIELDS)): what the metrics below need, from landmarks (M, K, 2).

    `clips` (M,) names the clip of each frame, for steps from frame to frame and for OF_CLIP; `again` (M, K, 2) are landmarks
    found on a second picture of each face; `lengths` (M,), in the same pixels, are what errors are divided by
    (`Faces.lengths`), by default the distance that the scheme of K points names; `scheme` says where the pupils are, for errors
    over their distance; `size` is the side of the crops whose pixels these are.
    """
    lengths = metrics.lengths(target) if lengths is None else lengths
    d = metrics.displacements(pred, target, lengths)  # (M, K, 2)
    distance = np.linalg.norm(d, axis=-1)
    good = distance <= REJECT
    error = distance.mean(-1)
    extent = [np.abs(a - a.mean(1, keepdims=True)).sum((1, 2)) for a in (np.asarray(pred, np.float64), target)]
    ones = np.ones(len(error))
    kept = np.where(good[..., None], d, 0)
    columns = [good.sum(-1), kept[..., 0].sum(-1), kept[..., 1].sum(-1), (distance**2 * good).sum(-1)]
    columns += [d.shape[1] * ones, error, ones, error > FAIL, np.minimum(error, FAIL), extent[0] / extent[1]]
    inside = np.zeros(len(d), bool)  # frames that follow another of their clip
    if clips is not None:
        inside[1:] = clips[1:] == clips[:-1]
    step2 = (np.diff(d, axis=0, prepend=d[:1]) ** 2).sum(-1).mean(-1) / 2  # both axes of the Allan variance
    apart = 0 * ones if again is None else metrics.nme(again, pred, lengths)
    pupils = np.nan * ones if scheme is None or scheme.pupils is None else metrics.lengths(target, "inter_pupil", scheme)
    columns += [np.where(inside, step2, 0), inside, apart, error * lengths / pupils, (distance**2).sum(-1)]
    whole = _of_clips(pred, target, lengths, ~inside, size) if clips is not None else np.zeros((len(d), len(OF_CLIP)))
    return np.concatenate([np.stack(columns, -1), whole], -1).astype(np.float64)


def _of_clips(pred: np.ndarray, target: np.ndarray, lengths: np.ndarray, starts: np.ndarray, size: int) -> np.ndarray:
    """The fields OF_CLIP (M, 6) of frames (M,), where `starts` marks the first of each clip: paper 3, equations 9-11, and lag.

    A clip of a single frame does not count, and one whose face does not move has no lag.
    """
    found = np.zeros((len(pred), len(OF_CLIP)))
    for frames in np.split(np.arange(len(pred)), np.flatnonzero(starts)):
        if len(frames) < 2:
            continue
        p, t, own = pred[frames], target[frames], lengths[frames]
        late = metrics.lag(p, t)
        steady = [metrics.mcv([p]), metrics.mav([p]) * (CROP / size) ** 2, metrics.spread_residual([p], [t], [own])]
        found[frames[0]] = [1, *steady, np.nan_to_num(late), np.isfinite(late)]
    return found


def _ratio(top: str, bottom: str) -> Callable[[np.ndarray], np.ndarray]:
    return lambda s: s[..., FIELDS.index(top)] / s[..., FIELDS.index(bottom)]


def _nrmse(s: np.ndarray) -> np.ndarray:
    return np.sqrt(s[..., 3] / s[..., 0])


def _bias(s: np.ndarray) -> np.ndarray:
    return np.hypot(s[..., 1], s[..., 2]) / s[..., 0]


METRICS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "bias": _bias,
    "std": lambda s: np.sqrt(np.maximum(_nrmse(s) ** 2 - _bias(s) ** 2, 0)),
    "nrmse": _nrmse,
    "kept": _ratio("kept", "points"),
    "nme": _ratio("nme", "faces"),
    "nme_pupil": _ratio("pupil", "faces"),
    "fr": _ratio("failed", "faces"),
    "auc": lambda s: 1 - _ratio("short", "faces")(s) / FAIL,
    "scale": _ratio("scale", "faces"),
    "jitter": lambda s: np.sqrt(_ratio("step2", "steps")(s)),
    "inconsistency": _ratio("apart", "faces"),
    "nrmse_all": lambda s: np.sqrt(_ratio("all_r2", "points")(s)),  # paper 3's NRMSE: nothing is rejected
    "mcv": _ratio("variation", "clips"),
    "mav": _ratio("allan", "clips"),
    "spread": _ratio("spread", "clips"),
    "lag": _ratio("lag", "moving"),
}

# paper 3's Tables 3 and 4 rank by products
METRICS["nrmse*mcv"] = lambda s: METRICS["nrmse_all"](s) * METRICS["mcv"](s)
METRICS["nrmse*mav"] = lambda s: METRICS["nrmse_all"](s) * METRICS["mav"](s)

# What tables multiply by: all of these are in %, but AUC, MAV (pixels^2 of crops of CROP), lag (frames) and jitter (x 1000).
UNITS = {"kept": 100, "nme": 100, "nme_pupil": 100, "fr": 100, "auc": 1}
UNITS |= {"nrmse_all": 100, "mcv": 100, "mav": 1, "spread": 100, "lag": 1, "jitter": 1000, "nrmse*mcv": 10_000, "nrmse*mav": 100}


@dataclass(frozen=True)
class Estimate:
    """A value with its 95 % interval, the value of each seed, and of each bootstrap sample."""

    value: float
    low: float
    high: float
    per_seed: tuple[float, ...]
    resampled: np.ndarray | None = field(default=None, repr=False, compare=False)


def estimate(
    scores: np.ndarray,
    metric: str,
    groups: Sequence,
    minus: np.ndarray | None = None,
    resamples: int = 999,
    share: float = 1.0,
) -> Estimate:
    """`metric` of scores (S seeds, M faces, fields), mean over seeds; or its difference to `share` of that of `minus`, paired.

    Faces of one group (M,) are drawn together. With a single seed the interval speaks of faces alone.
    """
    if not len(groups):  # no pairs labelled twice in a partial set, no challenging faces
        return Estimate(np.nan, np.nan, np.nan, (np.nan,) * len(scores))
    _, member = np.unique(np.asarray(groups), return_inverse=True)
    count, seeds = member.max() + 1, len(scores)

    def pooled(values: np.ndarray) -> np.ndarray:
        sums = np.zeros((seeds, count, values.shape[-1]))
        np.add.at(sums, (slice(None), member), values)
        return sums

    sides = [pooled(scores)] + ([pooled(minus)] if minus is not None else [])
    of = METRICS[metric]

    def value(group: np.ndarray, seed: np.ndarray, axis: int = -1) -> np.ndarray:
        samples = group.reshape(-1, count)  # (R, G)
        cells = samples + count * np.arange(len(samples))[:, None]
        times = np.bincount(cells.ravel(), minlength=cells.size).reshape(cells.shape).astype(float)  # how often each was drawn
        per_side = []
        for sums in sides:
            drawn = of(times @ sums).reshape(seeds, *group.shape[:-1])  # (S, R)
            per_side.append(np.take_along_axis(np.moveaxis(drawn, 0, -1), seed, -1).mean(-1))
        return per_side[0] - share * per_side[1] if len(per_side) > 1 else per_side[0]

    with np.errstate(invalid="ignore", divide="ignore"):  # a network may keep no landmark at all
        totals = [of(sums.sum(1)) for sums in sides]
    per_seed = totals[0] - share * totals[1] if len(totals) > 1 else totals[0]
    sample = (np.arange(count), np.arange(seeds) if seeds > 1 else np.zeros(2, int))
    if count < 2 or not np.isfinite(per_seed).all():
        return Estimate(float(per_seed.mean()), np.nan, np.nan, tuple(map(float, per_seed)))
    with np.errstate(invalid="ignore", divide="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore", stats.DegenerateDataWarning)  # where all resamples agree, the interval says so
        found = stats.bootstrap(sample, value, vectorized=True, n_resamples=resamples, batch=100, method="percentile", rng=0)
    low, high = map(float, found.confidence_interval)
    return Estimate(float(per_seed.mean()), low, high, tuple(map(float, per_seed)), found.bootstrap_distribution)


def contrast(one: Estimate, other: Estimate) -> Estimate:
    """How much greater one value is than another that was measured on other faces; their samples are independent.

    >>> flat = np.zeros(99)
    >>> contrast(Estimate(3.0, 3.0, 3.0, (3.0,), flat + 3), Estimate(1.0, 1.0, 1.0, (1.0,), flat + 1)).value
    2.0
    """
    value, per_seed = one.value - other.value, tuple(a - b for a, b in zip(one.per_seed, other.per_seed))
    if one.resampled is None or other.resampled is None:
        return Estimate(value, np.nan, np.nan, per_seed)
    shuffled = np.random.default_rng(0).permutation(other.resampled)  # both were drawn by one recipe, perhaps in step
    low, high = np.percentile(one.resampled - shuffled, (2.5, 97.5))
    return Estimate(value, float(low), float(high), per_seed)
