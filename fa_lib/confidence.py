"""How sure a heatmap is of its landmark: as a share of its mass, and, calibrated on known faces, as a probability.

What is promised is checked by `reliability`: of all landmarks that are said to be right with a chance of 0.8, 80 % should be.
"""

from dataclasses import dataclass

import numpy as np
import torch
from scipy.optimize import isotonic_regression
from torch import Tensor

from fa_lib.errors import InputError

RIGHT = 0.05  # a landmark counts as right when its error is below this share of the inter-ocular distance
KNOTS = 40  # of the calibration: as many groups of landmarks, alike in number, that are counted


def peak_share(heatmaps: Tensor, landmarks: Tensor, radius: int = 1) -> Tensor:
    """How much (B, K) of each heatmap (B, K, H, W) lies in the (2 `radius` + 1)-square of cells about its landmark, in [0, 1].

    `landmarks` (B, K, 2) in heatmap pixels, (x, y). Negative values count as 0, and a map without mass has a share of 0. All of
    a sharp peak lies in its square; of a flat map as much as the square covers:

    >>> peak_share(torch.ones(1, 1, 6, 6), torch.tensor([[[2.0, 3.0]]])).item()
    0.25
    """
    mass = heatmaps.float().clamp(min=0)
    near = [  # (B, K, W), (B, K, H)
        (torch.arange(count, device=mass.device) - landmarks[..., [axis]].round()).abs() <= radius
        for axis, count in enumerate((mass.shape[-1], mass.shape[-2]))
    ]
    inside = torch.einsum("bkhw,bkw,bkh->bk", mass, near[0].float(), near[1].float())
    whole = mass.sum((-2, -1))
    return torch.where(whole > 0, inside / whole.clamp(min=1e-30), 0)


@dataclass(frozen=True)
class Calibration:
    """From shares to chances: the probability that a landmark's error is below 5 % of the inter-ocular distance.

    `shares` (M,), ascending, and `chances` (M,), which never fall; between them lines, beyond them the first and the last.

    >>> Calibration((0.2, 0.6), (0.0, 0.8))(np.array([0.1, 0.3, 0.6, 0.9])).round(3).tolist()
    [0.0, 0.2, 0.8, 0.8]
    """

    shares: tuple[float, ...]
    chances: tuple[float, ...]

    def __call__(self, shares: np.ndarray) -> np.ndarray:
        """Chances of the same shape as `shares`."""
        return np.interp(shares, self.shares, self.chances)


def calibrate(shares: np.ndarray, errors: np.ndarray, right: float = RIGHT) -> Calibration:
    """The calibration of landmarks of known error: `shares` and `errors` (fractions of a length), both of any one shape.

    Landmarks are put in order of their shares, cut into 40 groups alike in number, and the share of right ones of each group is
    made to rise by isotonic regression: no form of the curve is assumed. Use validation faces, neither learned from nor tested.

    Raises InputError for shapes that differ, and for fewer than 400 landmarks.

    >>> shares = np.linspace(0, 1, 1000)
    >>> bool(calibrate(shares, np.where(shares > 0.5, 0.01, 0.1))(0.8) == 1)
    True
    """
    shares, errors = np.asarray(shares, np.float64).ravel(), np.asarray(errors, np.float64).ravel()
    if shares.shape != errors.shape or len(shares) < 10 * KNOTS:
        raise InputError(f"{len(shares)} shares and {len(errors)} errors: give one of each, for at least {10 * KNOTS} landmarks")
    groups = np.array_split(np.argsort(shares, kind="stable"), KNOTS)
    places, group = np.unique([shares[index].mean() for index in groups], return_inverse=True)  # equal shares are one group
    count = np.bincount(group, weights=list(map(len, groups)))
    hits = np.bincount(group, weights=[(errors[index] < right).sum() for index in groups])
    rising = isotonic_regression(hits / count, weights=count).x
    return Calibration(tuple(places.tolist()), tuple(rising.tolist()))


@dataclass(frozen=True)
class Reliability:
    """Chances against what happened, in bins of chances: `promised` and `happened`, the means of each bin, and its `count`."""

    promised: np.ndarray
    happened: np.ndarray
    count: np.ndarray

    @property
    def ece(self) -> float:
        """Expected calibration error: how far promise and event are apart, on average over landmarks, in [0, 1]."""
        return float((np.abs(self.promised - self.happened) * self.count).sum() / self.count.sum())


def reliability(chances: np.ndarray, errors: np.ndarray, right: float = RIGHT, bins: int = 10) -> Reliability:
    """What a reliability diagram shows, of `chances` and `errors` of one shape; bins of equal width without any are left out.

    Two landmarks of chance 0.75, one of which is right, are a quarter off:

    >>> found = reliability(np.array([0.75, 0.75]), np.array([0.01, 0.2]))
    >>> found.promised.tolist(), found.happened.tolist(), found.count.tolist(), found.ece
    ([0.75], [0.5], [2], 0.25)
    """
    chances, happened = np.asarray(chances, np.float64).ravel(), (np.asarray(errors) < right).ravel()
    if chances.shape != happened.shape or not len(chances):
        raise InputError(f"{len(chances)} chances and {len(happened)} errors: give one of each")
    place = np.minimum((chances * bins).astype(int), bins - 1)
    count = np.bincount(place, minlength=bins)
    sums = [np.bincount(place, weights=values, minlength=bins)[count > 0] for values in (chances, happened)]
    count = count[count > 0]
    return Reliability(sums[0] / count, sums[1] / count, count)
