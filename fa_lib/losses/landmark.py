"""Losses between landmarks (B, K, 2)."""

from torch import Tensor


def l2(pred: Tensor, target: Tensor) -> Tensor:
    """Squared distance between landmarks, mean over faces and landmarks; in the unit of the landmarks, squared.

    >>> import torch
    >>> l2(torch.tensor([[[3.0, 4.0], [0.0, 0.0]]]), torch.zeros(1, 2, 2)).item()
    12.5
    """
    return (pred - target).square().sum(-1).mean()
