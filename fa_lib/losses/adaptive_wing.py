"""Wing loss between landmarks (Feng et al., CVPR 2018) and adaptive Wing loss between heatmaps (Wang et al., ICCV 2019).

The pixel losses that paper 3 sets its own against. Both are a logarithm near 0, where they are steep, and a line beyond.
"""

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from fa_lib.errors import InputError


def wing(pred: Tensor, target: Tensor, *, w: float, epsilon: float) -> Tensor:
    """Per coordinate w ln(1 + d / epsilon) where the error d is below `w`, and d - C beyond; sum and means as in `l1`.

    C = w - w ln(1 + w / epsilon) makes it continuous. `w` and `epsilon` are in the unit of the landmarks (B, K, 2); Feng et al.
    use 10 and 2 for pixels of a 224-pixel crop. InputError where shapes differ or one of the two is not positive.

    >>> round(wing(torch.tensor([[[1.0, -6.0]]]), torch.zeros(1, 1, 2), w=2.0, epsilon=1.0).item(), 4)  # 2 ln 2 + 6 - 2 + 2 ln 3
    7.5835
    """
    _check(pred, target, w=w, epsilon=epsilon)
    error = (pred - target).abs()
    beyond = error - (w - w * math.log1p(w / epsilon))
    return torch.where(error < w, w * torch.log1p(error / epsilon), beyond).sum(-1).mean()


def adaptive_wing(
    pred_maps: Tensor,
    target_maps: Tensor,
    *,
    omega: float = 14.0,
    epsilon: float = 1.0,
    alpha: float = 2.1,
    theta: float = 0.5,
    weight: float | None = 10.0,
) -> Tensor:
    """AWing of each pixel, weighted, mean over faces, landmarks and pixels; maps (B, K, H, W), targets y in [0, 1].

    With d = |pred - y|: omega ln(1 + (d / epsilon)^(alpha - y)) where d < theta, and A d - C beyond, with A and C such that value
    and slope are continuous (the paper's Eq. 3, its defaults). On background (y = 0) it is nearly d^2 and forgives small
    errors; at a peak (y = 1) nearly d, and does not. `weight` W counts the pixels at or beside (3 x 3) one with y >= 0.2
    1 + W times, 11 with the paper's W (its Eqs. 7 and 8); None counts all pixels once.

    Raises InputError where shapes differ, a parameter is not positive, or alpha is not above 1 + the greatest target: the
    slope at d = 0 would then not be 0 but a jump.

    >>> y = torch.zeros(1, 1, 1, 1)
    >>> round(adaptive_wing(y + 0.25, y, alpha=2.0, omega=16.0).item(), 4)  # 16 ln(1 + 1 / 16)
    0.97
    >>> round(adaptive_wing(y + 1, y, alpha=2.0, epsilon=0.5, omega=2.0).item(), 4)  # A = 4, C = 2 - 2 ln 2
    3.3863
    """
    _check(pred_maps, target_maps, omega=omega, epsilon=epsilon, theta=theta)
    if target_maps.ndim != 4:
        raise InputError(f"heatmaps must be (B, K, H, W), not {tuple(target_maps.shape)}")
    if weight is not None and not weight > 0:
        raise InputError(f"weight={weight!r}: the landmark's pixels count 1 + weight times; give a number above 0, or None")
    if not alpha > 1 + target_maps.max().item():
        raise InputError(
            f"alpha={alpha!r}: it must be above 1 + the greatest target, {target_maps.max().item():g}; the paper's is 2.1"
        )
    error, power = (pred_maps - target_maps).abs(), alpha - target_maps
    at_theta = (theta / epsilon) ** power
    slope = omega * power * at_theta / (theta * (1 + at_theta))
    beyond = slope * (error - theta) + omega * torch.log1p(at_theta)
    loss = torch.where(error < theta, omega * torch.log1p((error / epsilon) ** power), beyond)
    if weight is None:
        return loss.mean()
    near = F.max_pool2d(target_maps, 3, stride=1, padding=1) >= 0.2
    return (loss * (1 + weight * near)).mean()


def _check(pred: Tensor, target: Tensor, **positive: float) -> None:
    if pred.shape != target.shape:
        raise InputError(f"predictions are {tuple(pred.shape)}, targets {tuple(target.shape)}: give the same landmarks")
    for name, value in positive.items():
        if not value > 0:
            raise InputError(f"{name}={value!r}: it must be above 0")
