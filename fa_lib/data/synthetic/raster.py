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
    x, y, z = (np.ascontiguousarray(xyz[:, i]) for i in range(3))
    # A cell of the grid is two triangles with a common edge: vertices 0 1 2 and 3 2 1.
    (x0, y0), (x1, y1), (x2, y2), (x3, y3) = ((x[v], y[v]) for v in (*triangles[::2].T, triangles[1::2, 0]))
    area = np.empty(len(triangles), np.float32)
    area[::2] = (x1 - x0) * (y2 - y0) - (x2 - x0) * (y1 - y0)
    area[1::2] = (x2 - x3) * (y1 - y3) - (x1 - x3) * (y2 - y3)
    low_x, high_x = np.minimum(np.minimum(x0, x1), np.minimum(x2, x3)), np.maximum(np.maximum(x0, x1), np.maximum(x2, x3))
    low_y, high_y = np.minimum(np.minimum(y0, y1), np.minimum(y2, y3)), np.maximum(np.maximum(y0, y1), np.maximum(y2, y3))
    inside = (high_x >= 0) & (low_x <= size[1] - 1) & (high_y >= 0) & (low_y <= size[0] - 1)
    keep = ((area < -1e-6) if back else (area > 1e-6)) & np.repeat(inside, 2)
    chosen = np.flatnonzero(keep)
    depth = z[triangles[chosen, 0]] + z[triangles[chosen, 1]] + z[triangles[chosen, 2]]
    return chosen[np.argsort(depth, kind="stable")]


def _spans(p: np.ndarray, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Pixel rows crossed by each triangle of p (3, T, 2): (triangle, y, first x, count), empty ones left out."""
    order = np.argsort(p[..., 1], axis=0)
    (ax, ay), (bx, by), (cx, cy) = (np.moveaxis(np.take_along_axis(p, order[k][None, :, None], 0)[0], -1, 0) for k in range(3))
    top = np.maximum(np.ceil(ay), 0).astype(np.int32)
    bottom = np.minimum(np.floor(cy), size[0] - 1).astype(np.int32)
    height = np.maximum(bottom - top + 1, 0)
    owner = np.repeat(np.arange(p.shape[1], dtype=np.int32), height)
    start = (np.cumsum(height) - height).astype(np.int32)
    row = (np.arange(len(owner), dtype=np.int32) - (start - top)[owner]).astype(np.float32)
    # The long edge runs from the top to the bottom corner; the other two bound the row on the side of the middle corner.
    tiny = np.float32(1e-6)
    slope = (cx - ax) / np.maximum(cy - ay, tiny)
    side = np.where(bx >= ax + slope * (by - ay), np.float32(1), np.float32(-1))
    edges = [side * slope, side * (ax - ay * slope)]
    for px, py, qx, qy in ((ax, ay, bx, by), (bx, by, cx, cy)):
        flat = qy - py < 1e-5
        slope = np.where(flat, 0, (qx - px) / np.maximum(qy - py, tiny))
        edges += [side * slope, np.where(flat, np.float32(1e9), side * (px - py * slope))]
    s_long, z_long, s_one, z_one, s_two, z_two = (e[owner] for e in edges)
    side = side[owner]
    near = side * (z_long + s_long * row)
    far = side * np.minimum(z_one + s_one * row, z_two + s_two * row)
    left, right = np.minimum(near, far), np.maximum(near, far)
    first = np.maximum(np.ceil(left - 1e-3), 0).astype(np.int32)
    count = np.minimum(np.floor(right + 1e-3), size[1] - 1).astype(np.int32) - first + 1
    keep = np.flatnonzero(count > 0)
    return owner[keep], row[keep], first[keep], count[keep]


def rasterise(
    xyz: np.ndarray, triangles: np.ndarray, base: np.ndarray, size: tuple[int, int], *, back: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """Which place of the grid each pixel sees, nearer triangles over farther ones.

    Args: xyz (V, 3) float32 pixels and nearness; triangles and base from `grid_triangles`; size (height, width).
    Returns: flat numbers of the P seen pixels, and their places (column, row) as float32 (P, 2).
    """
    number = visible(xyz, triangles, size, back=back)
    p = np.ascontiguousarray(xyz[:, :2])[triangles[number].T]
    owner, row, first, count = _spans(p, size)
    which = np.repeat(np.arange(len(owner), dtype=np.int32), count)
    begin = first + row.astype(np.int32) * size[1] - (np.cumsum(count) - count).astype(np.int32)
    seen = np.full(size[0] * size[1], -1, np.int32)
    # Of repeated pixels the last assignment stays, and the triangles come far ones first.
    seen[np.arange(len(which), dtype=np.int32) + begin[which]] = owner[which]
    hit = np.flatnonzero(seen >= 0)
    a, b, c = p[0], p[1] - p[0], p[2] - p[0]
    scale = base[number, 2] / (b[:, 0] * c[:, 1] - b[:, 1] * c[:, 0])
    # (column, row) is an affine function of the pixel inside each triangle.
    x_part = np.stack([c[:, 1] * scale, -b[:, 1] * scale], -1)
    y_part = np.stack([-c[:, 0] * scale, b[:, 0] * scale], -1)
    start = base[number, :2] - x_part * a[:, :1] - y_part * a[:, 1:]
    affine = np.concatenate([x_part, y_part, start], -1)[seen[hit]]
    py, px = np.divmod(hit, size[1])
    place = affine[:, :2] * px[:, None].astype(np.float32)
    place += affine[:, 2:4] * py[:, None].astype(np.float32)
    place += affine[:, 4:]
    return hit, place
