"""From a grid of vertices to, per pixel, the place (column, row) of the skin seen there. Needs OpenCV 5's
rasteriser."""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np

FAR = 5000.0
CAMERA = 1500.0  # the rasteriser sees along z from here; perspective is already in the vertices
SCALE = 128.0  # places are interpolated as colours, which must lie in [0, 1]


@lru_cache(maxsize=8)
def grid_triangles(rows: int, columns: int) -> np.ndarray:
    """Two triangles a cell, (T, 3) int32 flat vertex numbers.

    >>> grid_triangles(2, 2).tolist()
    [[0, 1, 2], [3, 2, 1]]
    """
    r, c = (v.ravel() for v in np.meshgrid(np.arange(rows - 1), np.arange(columns - 1), indexing="ij"))
    a = r * columns + c
    upper, lower = np.stack([a, a + 1, a + columns], -1), np.stack([a + columns + 1, a + columns, a + 1], -1)
    return np.stack([upper, lower], 1).reshape(-1, 3).astype(np.int32)


@lru_cache(maxsize=8)
def _grid_places(rows: int, columns: int) -> np.ndarray:
    column, row = np.meshgrid(np.arange(columns), np.arange(rows))
    return np.stack([column.ravel(), row.ravel(), 0 * row.ravel()], -1).astype(np.float32) / np.float32(SCALE)


def rasterise(
    xyz: np.ndarray, grid: tuple[int, int], size: int, *, back: bool = False, stride: int = 1
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Which place of the grid each pixel of a square picture sees; what is nearer hides what is farther.

    Args: xyz (V, 3) float32, pixels and nearness; grid (rows, columns); back: draw the inside, not the outside;
        stride 2: use every second row and column, for smooth grids with odd numbers of both.
    Returns: flat numbers of the P seen pixels, their places (column, row) float32 (P, 2), their nearness (P,).
    """
    if stride > 1:
        xyz = xyz.reshape(*grid, 3)[::stride, ::stride].reshape(-1, 3)
        grid = (grid[0] // stride + 1, grid[1] // stride + 1)
    above = np.flatnonzero(xyz[:, 1].reshape(grid).min(1) < size + 1)
    rows = min(above[-1] + 2, grid[0]) if len(above) else 1  # those farther down lie below the picture
    xyz, places = xyz[: rows * grid[1]], _grid_places(*grid)[: rows * grid[1]]
    triangles = grid_triangles(*grid)[: 2 * (rows - 1) * (grid[1] - 1)]
    if len(triangles) == 0:
        return np.empty(0, np.int64), np.empty((0, 2), np.float32), np.empty(0, np.float32)
    deep = np.float32(CAMERA) - xyz[:, 2]
    half = np.float32(size / 2)
    # Pixel centres lie at integers here and at halves in the rasteriser, whose y and z point the other way.
    vertices = np.stack([(xyz[:, 0] + 0.5 - half) * deep / half, (half - 0.5 - xyz[:, 1]) * deep / half, -deep], -1)
    settings = cv2.TriangleRasterizeSettings()
    settings.setShadingType(cv2.RASTERIZE_SHADING_SHADED)
    settings.setCullingMode(cv2.RASTERIZE_CULLING_CW if back else cv2.RASTERIZE_CULLING_CCW)
    settings.setGlCompatibleMode(cv2.RASTERIZE_COMPAT_INVDEPTH)  # spares two turns over the whole picture
    colour = np.zeros((size, size, 3), np.float32)
    depth = np.ones((size, size), np.float32)  # 0 at 1 mm, 1 at FAR, linear in the inverse of the distance
    cv2.triangleRasterize(
        vertices[None].astype(np.float32, copy=False), triangles[None], places[None], colour, depth,
        np.eye(4, dtype=np.float32), float(np.pi / 2), 1.0, FAR, settings,
    )  # fmt: skip
    hit = np.flatnonzero(depth < 1)
    place, column, row = np.empty((len(hit), 2), np.float32), colour[..., 0].ravel(), colour[..., 1].ravel()
    place[:, 0], place[:, 1] = column[hit], row[hit]  # ten times as fast as colour.reshape(-1, 3)[hit, :2]
    place *= np.float32(SCALE * stride)
    deep = depth.ravel()[hit]
    return hit, place, np.float32(CAMERA) - 1 / ((1 - deep) + deep * np.float32(1 / FAR))
