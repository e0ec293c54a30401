"""A vectorised rasteriser: a grid of vertices becomes, per pixel, the place (column, row) of the skin seen there."""

from __future__ import annotations

from functools import lru_cache

import numpy as np


@lru_cache(maxsize=8)
def grid_triangles(rows: int, columns: int) -> tuple[np.ndarray, np.ndarray]:
    """Two triangles a cell, (T, 3) flat vertex numbers, and the (column, row) of each one's first vertex with the sign of its axes.

    >>> triangles, base = grid_triangles(2, 2)
    >>> triangles.tolist(), base.tolist()
    ([[0, 1, 2], [3, 2, 1]], [[0.0, 0.0, 1.0], [1.0, 1.0, -1.0]])
    """
    r, c = (v.ravel() for v in np.meshgrid(np.arange(rows - 1), np.arange(columns - 1), indexing="ij"))
    a = r * columns + c
    upper = np.stack([a, a + 1, a + columns], -1)
    lower = np.stack([a + columns + 1, a + columns, a + 1], -1)
    one = np.ones_like(r)
    base = np.stack([np.stack([c, r, one], -1), np.stack([c + 1, r + 1, -one], -1)], 1).reshape(-1, 3)
    return np.stack([upper, lower], 1).reshape(-1, 3), base.astype(np.float32)


def visible(xyz: np.ndarray, triangles: np.ndarray, size: tuple[int, int], *, back: bool = False) -> np.ndarray:
    """Numbers of the triangles that face the camera (or, with `back`, face away) and touch the picture, far ones first."""
    p = xyz[triangles]
    x, y = p[..., 0], p[..., 1]
    area = (x[:, 1] - x[:, 0]) * (y[:, 2] - y[:, 0]) - (x[:, 2] - x[:, 0]) * (y[:, 1] - y[:, 0])
    low_x, high_x, low_y, high_y = x.min(1), x.max(1), y.min(1), y.max(1)
    keep = (area < -1e-6) if back else (area > 1e-6)
    keep &= (high_x >= 0) & (low_x <= size[1] - 1) & (high_y >= 0) & (low_y <= size[0] - 1)
    chosen = np.flatnonzero(keep)
    return chosen[np.argsort(p[chosen, :, 2].sum(1), kind="stable")]


def _spans(p: np.ndarray, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Pixel rows crossed by each triangle: (triangle, y, first x, count), empty ones left out."""
    y = p[..., 1]
    top = np.maximum(np.ceil(y.min(1)), 0).astype(np.int32)
    bottom = np.minimum(np.floor(y.max(1)), size[0] - 1).astype(np.int32)
    height = np.maximum(bottom - top + 1, 0)
    owner = np.repeat(np.arange(len(p)), height)
    start = np.cumsum(height) - height
    row = (np.arange(len(owner)) - start[owner] + top[owner]).astype(np.float32)
    left = np.full(len(owner), -1e9, np.float32)
    right = np.full(len(owner), 1e9, np.float32)
    for i in range(3):
        a, b = p[:, i], p[:, (i + 1) % 3]
        rise = b[:, 1] - a[:, 1]
        slope = (b[:, 0] - a[:, 0]) / np.where(np.abs(rise) < 1e-6, 1e-6, rise)
        at = (a[:, 0] - a[:, 1] * slope)[owner] + row * slope[owner]
        inside = (row >= np.minimum(a[:, 1], b[:, 1])[owner]) & (row <= np.maximum(a[:, 1], b[:, 1])[owner])
        np.copyto(left, np.where(left == -1e9, at, np.minimum(left, at)), where=inside)
        np.copyto(right, np.where(right == 1e9, at, np.maximum(right, at)), where=inside)
    first = np.maximum(np.ceil(left - 1e-3), 0).astype(np.int32)
    count = np.minimum(np.floor(right + 1e-3), size[1] - 1).astype(np.int32) - first + 1
    keep = (count > 0) & (left > -1e9)
    return owner[keep], row[keep], first[keep], count[keep]


def rasterise(
    xyz: np.ndarray, triangles: np.ndarray, base: np.ndarray, size: tuple[int, int], *, back: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """Which place of the grid each pixel sees, nearer triangles over farther ones.

    Args: xyz (V, 3) float32 pixels and nearness; triangles and base from `grid_triangles`; size (height, width).
    Returns: place (height, width, 2) float32 of (column, row), -1 where nothing is seen, and the mask (height, width) bool.
    """
    number = visible(xyz, triangles, size, back=back)
    p = xyz[triangles[number], :2]
    owner, row, first, count = _spans(p, size)
    which = np.repeat(np.arange(len(owner), dtype=np.int32), count)
    x = np.arange(len(which), dtype=np.int32) - np.repeat(np.cumsum(count) - count, count) + first[which]
    pixel = x + row[which].astype(np.int32) * size[1]
    seen = np.full(size[0] * size[1], -1, np.int32)
    seen[pixel] = owner[which]
    mask = seen >= 0
    hit = np.flatnonzero(mask)
    t = seen[hit]
    a, b, c = p[:, 0], p[:, 1] - p[:, 0], p[:, 2] - p[:, 0]
    scale = base[number, 2] / (b[:, 0] * c[:, 1] - b[:, 1] * c[:, 0])
    # (column, row) is an affine function of the pixel inside each triangle.
    to_column = np.stack([c[:, 1] * scale, -c[:, 0] * scale], -1)
    to_row = np.stack([-b[:, 1] * scale, b[:, 0] * scale], -1)
    zero = base[number, :2] - np.stack([(to_column * a).sum(-1), (to_row * a).sum(-1)], -1)
    px, py = (hit % size[1]).astype(np.float32), (hit // size[1]).astype(np.float32)
    place = np.full((size[0] * size[1], 2), -1, np.float32)
    place[hit, 0] = to_column[t, 0] * px + to_column[t, 1] * py + zero[t, 0]
    place[hit, 1] = to_row[t, 0] * px + to_row[t, 1] * py + zero[t, 1]
    return place.reshape(*size, 2), mask.reshape(size)
