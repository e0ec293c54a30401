"""Losses between heatmaps (B, K, H, W)."""

from torch import Tensor


def heatmap_mse(pred: Tensor, target: Tensor, *, amplitude: float = 1.0) -> Tensor:
    """Mean squared difference of heatmaps whose peaks are drawn `amplitude` high (paper 1: A = 4096, equation 10).

    Networks here predict peaks near 1; the paper's are 4096 high. Both maps are multiplied by `amplitude` before the
    difference is squared, which is the same loss with a last layer that need not grow to 4096 first.

    >>> import torch
    >>> heatmap_mse(torch.zeros(1, 1, 2, 2), torch.full((1, 1, 2, 2), 0.5), amplitude=4.0).item()
    4.0
    """
    return (pred - target).square().mean() * amplitude**2
