"""Losses between landmarks (B, K, 2) that a few wrong landmarks cannot rule: the rows of paper 2's Table 8 beside L2 and KD-Loss.

Like `l2`, each adds the two coordinates of a landmark and takes the mean over faces and landmarks.
"""

from torch import Tensor
from torch.nn import functional as F

from fa_lib.errors import InputError


def l1(pred: Tensor, target: Tensor) -> Tensor:
    """|x error| + |y error| of landmarks, mean over faces and landmarks; in the unit of the landmarks.

    >>> import torch
    >>> l1(torch.tensor([[[3.0, -4.0], [0.0, 0.0]]]), torch.zeros(1, 2, 2)).item()
    3.5
    """
    return (pred - target).abs().sum(-1).mean()


def smooth_l1(pred: Tensor, target: Tensor, beta: float = 1.0) -> Tensor:
    """Per coordinate e^2 / (2 beta) where the error e is below `beta`, |e| - beta / 2 beyond; sum and means as in `l1`.

    `beta` is in the unit of the landmarks. The paper does not give it. With the usual 1 and landmarks in [-0.5, 0.5] no error
    reaches the straight part, and the loss is l2 / 2: choose the error from which on a landmark counts as wrong. InputError
    where `beta` is not positive.

    >>> import torch
    >>> smooth_l1(torch.tensor([[[3.0, -1.0]]]), torch.zeros(1, 1, 2), beta=2.0).item()  # 3 - 1 and 1 / 4
    2.25
    """
    if not beta > 0:
        raise InputError(f"beta={beta!r}: smooth L1 turns from a parabola to a line at an error beta above 0")
    return F.smooth_l1_loss(pred, target, reduction="none", beta=beta).sum(-1).mean()
