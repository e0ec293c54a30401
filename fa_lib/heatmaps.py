"""Heatmaps of landmarks: drawing them and reading landmarks from them. Stride and half pixels live here alone.

A heatmap network with stride s (input 256, map 64: s = 4) sees map pixel i where the input's pixels s*i ... s*i + s - 1 lie,
so the centre of map pixel i is the input position (i + 0.5) * s - 0.5. `to_input` and `to_map` say this in code.
"""

import math
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from fa_lib.errors import InputError

Variance = Literal["2s2", "s2"]
Method = Literal["argmax", "quarter", "centroid", "local", "pdc", "box_blur"]


def to_input(landmarks: Tensor, stride: float) -> Tensor:
    """Landmarks (..., 2) in heatmap pixels -> pixels of the network's input.

    >>> to_input(torch.tensor([0.0, 1.0]), 4).tolist()
    [1.5, 5.5]
    """
    return (landmarks + 0.5) * stride - 0.5


def to_map(landmarks: Tensor, stride: float) -> Tensor:
    """Landmarks (..., 2) in input pixels -> heatmap pixels, the inverse of `to_input`."""
    return (landmarks + 0.5) / stride - 0.5


def draw(landmarks: Tensor, size: int, sigma: float = 1.0, amplitude: float = 1.0, variance: Variance = "2s2") -> Tensor:
    """Gaussian heatmaps (B, K, size, size) with their peaks at `landmarks` (B, K, 2), in heatmap pixels, sub-pixel exact.

    `variance="2s2"` draws exp(-r^2 / (2 sigma^2)), as most papers do; `"s2"` draws exp(-r^2 / sigma^2), equation 10 of paper 1.
    Each map is an outer product of two lines, so drawing costs one multiplication a pixel. What would be below 1e-38 is 0.

    >>> [round(v, 4) for v in draw(torch.tensor([[[2.0, 1.0]]]), size=3, variance="s2")[0, 0, 1].tolist()]
    [0.0183, 0.3679, 1.0]
    """
    if variance not in ("2s2", "s2"):
        raise InputError(f"variance={variance!r}: write '2s2' for exp(-r^2 / 2 sigma^2) or 's2' for exp(-r^2 / sigma^2)")
    if landmarks.ndim != 3 or landmarks.shape[-1] != 2:
        raise InputError(f"landmarks must be (B, K, 2), x before y, not {tuple(landmarks.shape)}")
    spread = (2 if variance == "2s2" else 1) * sigma**2
    cells = torch.arange(size, device=landmarks.device, dtype=landmarks.dtype)
    power = -((cells - landmarks[..., None]) ** 2) / spread  # (B, K, 2, size)
    lines = torch.exp(F.threshold(power, -87, -math.inf))  # exp takes eight times as long over numbers below 1e-38
    return amplitude * lines[:, :, 1, :, None] * lines[:, :, 0, None, :]


def with_mass(logits: Tensor, mass: float) -> Tensor:
    """Maps (B, K, H, W) of any sign -> heatmaps that are nowhere negative and sum to `mass`: a softmax over the cells.

    Equation 9 of paper 1 divides by the sum of a map, which must then be positive; the paper does not say how its network
    ensures that. The Gaussians of its equation 10 have the mass pi sigma^2, at an amplitude of 1.

    >>> with_mass(torch.zeros(1, 1, 2, 2), mass=2.0)[0, 0].tolist()
    [[0.5, 0.5], [0.5, 0.5]]
    """
    return mass * logits.float().flatten(2).softmax(-1).view_as(logits)


def decode(heatmaps: Tensor, method: Method = "local", threshold: float = 0.2, radius: int = 4, window: int = 9) -> Tensor:
    """Landmarks (B, K, 2) in heatmap pixels (x, y), read from heatmaps (B, K, H, W).

    - `argmax`: the greatest cell; `quarter`: argmax moved 0.25 towards the greater neighbour on each axis (HRNet), but
      not on an axis where it lies at the border;
    - `centroid`: centre of mass of the whole map, negative values taken as 0 (paper 1, equation 9), differentiable;
    - `local`: centre of mass of the (2 `radius` + 1)-square about the argmax, differentiable within it. `radius` should
      be at least 3 standard deviations: radius 4 is exact to 0.02 px up to 1.5 px, but off by 0.07 px at 2 px;
    - `pdc`: centre of mass of all values >= `threshold` (paper 3, algorithm 1), argmax where there is none. Of a
      peak of 1 with sigma 1 some ten cells reach 0.2, so the cut costs 0.04 px on average and up to 0.12 px;
    - `box_blur`: argmax after a `window` x `window` mean, `window` odd (paper 5's evaluation, zeros outside).

    The result is float32 (float64 from float64), as half precision cannot tell the pixels of a map apart.

    Differs from the paper: paper 3 counts cells from 1, here the first is 0. `local` in (x, y) order:

    >>> maps = torch.zeros(1, 1, 3, 5); maps[0, 0, 1, 2:4] = 0.5
    >>> decode(maps, "local").tolist()
    [[[2.5, 1.0]]]
    """
    if method not in _DECODERS:
        raise InputError(f"method={method!r}: heatmaps can be decoded by {', '.join(_DECODERS)}")
    if heatmaps.ndim != 4:
        raise InputError(f"heatmaps must be (B, K, H, W), not {tuple(heatmaps.shape)}")
    if method == "box_blur" and window % 2 == 0:
        raise InputError(f"window={window}: a box_blur window must be odd, or every landmark moves by half a pixel")
    heatmaps = heatmaps.to(torch.promote_types(heatmaps.dtype, torch.float32))
    return _DECODERS[method](heatmaps, threshold=threshold, radius=radius, window=window)


def _centre_of_mass(mass: Tensor) -> tuple[Tensor, Tensor]:
    """Centre (B, K, 2) of non-negative maps, and whether they have enough mass to have one (B, K)."""
    height, width = mass.shape[-2:]
    x = torch.arange(width, device=mass.device, dtype=mass.dtype)
    y = torch.arange(height, device=mass.device, dtype=mass.dtype)
    columns, rows = mass.sum(-2), mass.sum(-1)
    total = columns.sum(-1)
    least = torch.finfo(mass.dtype).tiny * 1e6  # below, the gradient of the division overflows
    safe = total.clamp(min=least)
    return torch.stack([(columns * x).sum(-1) / safe, (rows * y).sum(-1) / safe], -1), total > least


def _argmax(heatmaps: Tensor, **_) -> Tensor:
    heatmaps = heatmaps.detach()
    y = heatmaps.amax(-1).argmax(-1)  # the row first: amax takes a sixth of argmax's time
    row = heatmaps.gather(2, y[..., None, None].expand(*y.shape, 1, heatmaps.shape[-1]))[:, :, 0]
    return torch.stack([row.argmax(-1), y], -1).to(heatmaps.dtype)


def _quarter(heatmaps: Tensor, **_) -> Tensor:
    peak = _argmax(heatmaps)
    x, y = peak.long().unbind(-1)
    height, width = heatmaps.shape[-2:]
    # to the next cell on either axis; no step at the border, so that both neighbours are the peak itself
    steps = torch.stack([((x > 0) & (x < width - 1)).long(), width * ((y > 0) & (y < height - 1)).long()], -1)
    cells = (y * width + x)[..., None]
    neighbours = heatmaps.flatten(2).gather(2, torch.cat([cells + steps, cells - steps], -1))  # (B, K, 4)
    return peak + 0.25 * (neighbours[..., :2] - neighbours[..., 2:]).sign()


def _centroid(heatmaps: Tensor, **_) -> Tensor:
    centre, enough = _centre_of_mass(heatmaps.clamp(min=0))
    return torch.where(enough[..., None], centre, _argmax(heatmaps))


def _local(heatmaps: Tensor, *, radius: int, **_) -> Tensor:
    peak = _argmax(heatmaps)
    cells_x = torch.arange(heatmaps.shape[-1], device=heatmaps.device)
    cells_y = torch.arange(heatmaps.shape[-2], device=heatmaps.device)
    near_x = (cells_x - peak[..., :1]).abs() <= radius  # (B, K, W)
    near_y = (cells_y - peak[..., 1:]).abs() <= radius  # (B, K, H)
    inside = near_y[..., :, None] & near_x[..., None, :]
    centre, enough = _centre_of_mass(torch.where(inside, heatmaps.clamp(min=0), heatmaps.new_zeros(())))
    return torch.where(enough[..., None], centre, peak)


def _pdc(heatmaps: Tensor, *, threshold: float, **_) -> Tensor:
    centre, enough = _centre_of_mass(torch.where(heatmaps >= threshold, heatmaps, heatmaps.new_zeros(())))
    return torch.where(enough[..., None], centre, _argmax(heatmaps))


def _box_blur(heatmaps: Tensor, *, window: int, **_) -> Tensor:
    # in two passes, with a cell's landmarks side by side in memory: a fifth of one pass's time on a CPU
    maps, reach = heatmaps.contiguous(memory_format=torch.channels_last), window // 2
    rows = F.avg_pool2d(maps, (1, window), stride=1, padding=(0, reach))
    return _argmax(F.avg_pool2d(rows, (window, 1), stride=1, padding=(reach, 0)))


_DECODERS = {
    "argmax": _argmax,
    "quarter": _quarter,
    "centroid": _centroid,
    "local": _local,
    "pdc": _pdc,
    "box_blur": _box_blur,
}
