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


def smooth_l1(pred: Tensor, target: Tensor, beta: float = 0.04) -> Tensor:
    """Per coordinate e^2 / (2 beta) where the error e is below `beta`, |e| - beta / 2 beyond; sum and means as in `l1`.

    `beta` is in the unit of the landmarks; the default is for normalised ones, about a tenth of the distance between the
    eyes in a crop, from which on the papers count a landmark as failed. The paper does not give it. The usual 1 cannot be
    meant: no error of landmarks in [-0.5, 0.5] reaches the straight part then, and the loss is l2 / 2, while Table 8
    has another result for it than for L2. InputError where `beta` is not positive.

    >>> import torch
    >>> smooth_l1(torch.tensor([[[3.0, -1.0]]]), torch.zeros(1, 1, 2), beta=2.0).item()  # 3 - 1 and 1 / 4
    2.25
    """
    if not beta > 0:
        raise InputError(f"beta={beta!r}: smooth L1 turns from a parabola to a line at an error beta above 0")
    return F.smooth_l1_loss(pred, target, reduction="none", beta=beta).sum(-1).mean()
