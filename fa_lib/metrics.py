"""How good and how steady landmarks are. Numpy, one convention: fractions of a normalising length, never per cent.

Arrays: `pred`, `target` (M, K, 2) in pixels of one frame, M faces or frames; `lengths` (M,) in the same pixels.
"""

import numpy as np
from scipy.interpolate import CubicSpline

from fa_lib.errors import InputError
from fa_lib.landmarks import Normaliser, Scheme, scheme_of

STILL = 1e-3  # pixels; a face whose landmarks move less does not move


def lengths(target: np.ndarray, normaliser: Normaliser | None = None, scheme: Scheme | None = None) -> np.ndarray:
    """The normalising length of each face (M,), in pixels, from its true landmarks (M, K, 2).

    `inter_ocular`: between the outer eye corners; `inter_pupil`: between the pupils (means of the eye points where a scheme
    has no pupil); `box`: sqrt(width * height) of the landmarks' tight box; None: what the scheme says. `scheme` defaults to
    the known one with as many points. Raises InputError where the scheme has not the points that a normaliser needs.

    >>> face = np.zeros((1, 68, 2)); face[0, 45] = (30, 40)
    >>> lengths(face).tolist()
    [50.0]
    """
    target = np.asarray(target, dtype=np.float64)
    _check_faces(target)
    if normaliser != "box":
        scheme = scheme or scheme_of(target)
        normaliser = normaliser or scheme.normaliser
    if scheme is None or normaliser == "box":
        return np.sqrt(np.ptp(target, axis=1).prod(-1))
    if normaliser not in ("inter_ocular", "inter_pupil"):
        raise InputError(f"normaliser={normaliser!r}: choose inter_ocular, inter_pupil or box")
    if scheme.count != target.shape[1]:
        raise InputError(f"landmarks have {target.shape[1]} points a face, but their scheme has {scheme.count}")
    ends = scheme.outer_eyes if normaliser == "inter_ocular" else scheme.pupils
    if ends is None:
        raise InputError(f"normaliser={normaliser!r}: this scheme of {scheme.count} points names no such points; use 'box'")
    left, right = (target[:, i] if isinstance(i, int) else target[:, list(i)].mean(1) for i in ends)
    return np.linalg.norm(left - right, axis=-1)


def displacements(pred: np.ndarray, target: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """Normalised displacements (M, K, 2): (pred - target) / length of the face (paper 1, equation 11)."""
    pred, target, lengths = (np.asarray(a, dtype=np.float64) for a in (pred, target, lengths))
    _check_faces(target)
    if pred.shape != target.shape or lengths.shape != pred.shape[:1]:
        raise InputError(f"shapes differ: pred {pred.shape}, target {target.shape}, lengths {lengths.shape}")
    if not (lengths > 0).all():
        raise InputError("a normalising length is not positive: check the eye corners of the target landmarks")
    return (pred - target) / lengths[:, None, None]


def nme(pred: np.ndarray, target: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """Normalised mean error of each face (M,): mean over landmarks of the distance, over the face's length.

    >>> nme(np.zeros((1, 2, 2)), np.array([[[3.0, 4.0], [0.0, 0.0]]]), np.array([10.0])).tolist()
    [0.25]
    """
    return np.linalg.norm(displacements(pred, target, lengths), axis=-1).mean(-1)


def failure_rate(errors: np.ndarray, threshold: float = 0.10) -> float:
    """Share of faces whose NME is greater than `threshold`.

    >>> failure_rate(np.array([0.05, 0.10, 0.11, 0.30]))
    0.5
    """
    return float((_checked_errors(errors) > threshold).mean())


def ced(errors: np.ndarray, threshold: float = 0.10) -> tuple[np.ndarray, np.ndarray]:
    """Cumulative error distribution up to `threshold` as steps: errors (ascending, from 0) and share of faces at or below."""
    ordered = np.sort(_checked_errors(errors))
    inside = ordered[ordered <= threshold]
    share = np.arange(1, len(inside) + 1) / len(ordered)
    last = share[-1:] if len(share) else np.zeros(1)
    return np.concatenate([[0.0], inside, [threshold]]), np.concatenate([[0.0], share, last])


def auc(errors: np.ndarray, threshold: float = 0.10) -> float:
    """Area under the CED up to `threshold`, over `threshold`: 1 is perfect. Exact, not sampled: 1 - mean(min(e, t)) / t.

    >>> round(auc(np.array([0.0, 0.05, 0.20])), 12)
    0.5
    """
    return float(1 - (np.minimum(_checked_errors(errors), threshold) / threshold).mean())


def decompose(displacements: np.ndarray, reject: float | None = 0.05) -> dict[str, float]:
    """Bias, std and NRMSE (paper 1, equations 12-14) of normalised displacements (..., 2), and the share `kept`.

    Points farther than `reject` (the paper's alpha) from the truth are left out of all three first; `kept` says how many stay.
    Then bias^2 + std^2 = NRMSE^2 exactly, since std is taken about the mean over all faces and landmarks.

    Differs from the paper: equation 13 prints an index at the mean, but only the global mean fits the printed tables.
    All four are NaN but `kept` where nothing is kept.
    """
    points = np.asarray(displacements, dtype=np.float64)
    if points.shape[-1:] != (2,) or not points.size or not np.isfinite(points).all():
        raise InputError(f"displacements of shape {points.shape}: they must be finite and (..., 2), at least one")
    points = points.reshape(-1, 2)
    good = points if reject is None else points[np.linalg.norm(points, axis=-1) <= reject]
    kept = len(good) / len(points)
    if not len(good):
        return {"bias": np.nan, "std": np.nan, "nrmse": np.nan, "kept": kept}
    mean = good.mean(0)
    return {
        "bias": float(np.linalg.norm(mean)),
        "std": float(np.sqrt(((good - mean) ** 2).sum(-1).mean())),
        "nrmse": float(np.sqrt((good**2).sum(-1).mean())),
        "kept": kept,
    }


def bias_std_nrmse(pred: np.ndarray, target: np.ndarray, lengths: np.ndarray, *, reject: float | None = 0.05) -> dict[str, float]:
    """`decompose` of the displacements between `pred` and `target` (paper 1, equations 11-14).

    >>> pred = np.array([[[1.0, 0.0], [3.0, 0.0]]])
    >>> bias_std_nrmse(pred, np.zeros((1, 2, 2)), np.array([100.0]))["bias"]
    0.02
    """
    return decompose(displacements(pred, target, lengths), reject)


def mcv(tracks: list[np.ndarray]) -> float:
    """Mean coefficient of variation (paper 3, equations 9 and 10) of landmark tracks [(T, K, 2)], as a fraction.

    Sample standard deviation over mean of each raw coordinate along time, averaged over coordinates, landmarks and then clips.
    It depends on the origin: give landmarks of the crop, not of the photo. True motion counts as jitter; see `spread_residual`.
    A coordinate that stays the same has no variation, be it 0.

    >>> mcv([np.ones((5, 68, 2))])
    0.0
    """
    moments = [(track.std(0, ddof=1), track.mean(0)) for track in _clips(tracks)]
    return float(np.mean([np.divide(std, mean, out=np.zeros_like(mean), where=std > 0).mean() for std, mean in moments]))


def mav(tracks: list[np.ndarray]) -> float:
    """Mean Allan variation (paper 3, equation 11) of landmark tracks [(T, K, 2)], in pixels^2.

    Half the mean squared step between frames, averaged over coordinates, landmarks and then clips.

    >>> mav([3.0 * np.arange(4.0)[:, None, None] * np.ones((4, 1, 2))])  # u_t = a t has a^2 / 2
    4.5
    """
    return float(np.mean([(np.diff(track, axis=0) ** 2).mean() / 2 for track in _clips(tracks)]))


def jitter_residual(pred: list[np.ndarray], target: list[np.ndarray], lengths: list[np.ndarray]) -> float:
    """Jitter that is not motion: Allan deviation of the normalised error, a fraction of the normalising length.

    Root of the mean over clips of `mav` of (pred - target) / length, both axes summed; true motion cancels.
    For white noise of standard deviation s on each axis it is s * sqrt(2).
    """
    return float(np.sqrt(2 * mav(_residuals(pred, target, lengths))))


def spread_residual(pred: list[np.ndarray], target: list[np.ndarray], lengths: list[np.ndarray]) -> float:
    """Spread that is not motion: paper 3's equation 9 read on normalised errors, a fraction of the normalising length.

    Sample standard deviation over time of each coordinate of (pred - target) / length, averaged over coordinates, landmarks and
    then clips; `pred` and `target` [(T, K, 2)] in pixels, `lengths` [(T,)] in the same. True motion and constant errors cancel.

    Differs from the paper: `mcv` is its measure; this one divides by the length, not by the mean, and needs no origin.

    >>> walk = 9.0 * np.arange(3)[:, None, None] * np.ones((1, 1, 2))
    >>> spread_residual([walk + [[[0, 0]], [[2, 0]], [[4, 0]]]], [walk], [np.full(3, 100.0)])  # x: 2 pixels, y: none
    0.01
    """
    return float(np.mean([clip.std(0, ddof=1).mean() for clip in _clips(_residuals(pred, target, lengths))]))


def lag(pred: np.ndarray, target: np.ndarray, reach: int = 8) -> float:
    """By how many frames the tracks (T, K, 2) of a clip follow the true ones late: a fraction of a frame counts, early is < 0.

    The shift d between -`reach` and `reach`, or a third of a short clip, that makes the sum of squares of pred(t) - target(t - d)
    least. Every shift is judged on the same frames of `pred`, and each coordinate less its mean, so that a landmark found beside
    its place is not late. The sum is smooth in d: a cubic spline through its values at whole d says where between them it is
    least. (Truth that is interpolated instead loses noise between frames, and would seem nearest half-way.)

    NaN where the truth does not move, or for fewer than four frames. Tracks that do not follow at all get any number.

    >>> fall = lambda t: t[:, None, None] ** 2 * np.array([[0.0, 1.0]])  # (T, 1, 2): x stays, y falls
    >>> t = np.arange(20.0)
    >>> round(lag(fall(t - 1.5) + [7, -3], fall(t)), 9)
    1.5
    """
    pred, target = (np.asarray(a, dtype=np.float64) for a in (pred, target))
    if pred.shape != target.shape or pred.ndim != 3 or pred.shape[-1] != 2:
        raise InputError(f"tracks of shapes {pred.shape} and {target.shape}: both must be (T, K, 2), of the same clip")
    reach = min(reach, (len(pred) - 1) // 3)
    if reach < 1 or np.ptp(target, axis=0).max() < STILL:
        return float("nan")
    shifts = np.arange(-reach, reach + 1)
    inner = np.arange(reach, len(pred) - reach)
    apart = [(gap := pred[inner] - target[inner - d]) - gap.mean(0) for d in shifts]
    total = CubicSpline(shifts, [(gap**2).sum() for gap in apart])
    turns = total.derivative().roots(extrapolate=False)
    candidates = np.concatenate([shifts, turns[np.isfinite(turns)]])
    return float(candidates[total(candidates).argmin()])


def _residuals(pred: list[np.ndarray], target: list[np.ndarray], lengths: list[np.ndarray]) -> list[np.ndarray]:
    if not len(pred) == len(target) == len(lengths):
        raise InputError(f"{len(pred)} predicted clips, {len(target)} true ones, {len(lengths)} lengths: one of each")
    return [displacements(p, t, d) for p, t, d in zip(pred, target, lengths)]


def _clips(tracks: list[np.ndarray]) -> list[np.ndarray]:
    clips = [np.asarray(track, dtype=np.float64) for track in tracks]
    if not clips or any(clip.ndim != 3 or len(clip) < 2 for clip in clips):
        raise InputError("tracks must be a list of arrays (T, K, 2) with at least two frames each")
    return clips


def _check_faces(landmarks: np.ndarray) -> None:
    if landmarks.ndim != 3 or landmarks.shape[-1] != 2:
        raise InputError(f"landmarks must be (M, K, 2), one face a row and x before y, not {landmarks.shape}")


def _checked_errors(errors: np.ndarray) -> np.ndarray:
    """`errors` as float64 (M,). A NaN would count as no failure, so it may not pass."""
    errors = np.asarray(errors, dtype=np.float64)
    if errors.ndim != 1 or not errors.size or np.isnan(errors).any():
        raise InputError(f"errors of shape {errors.shape}: give one NME a face, (M,) with M > 0, and no NaN")
    return errors
