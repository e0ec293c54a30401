"""Feature curves of the face and the 68 landmarks on them, as places (column, row) on the skin.

Every drawn feature (lids, lips, brows) and every landmark is taken from these curves, so that points sit on features
in every pose. A curve is continuous: `curve("outer_lip", 0.25)` gives any point of it, which is what other point
schemes need.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from fa_lib.data.synthetic import surface

# Frontal millimetres on the mean head, picture-left half (x < 0); the other half is the mirror image.
_BROW = ((-60, -13.5), (-51, -21.5), (-38.5, -24.5), (-25, -22.5), (-12.5, -17.5))
_UPPER_LID = ((-45, 0.2), (-36.8, -5.6), (-27, -5.4), (-17.5, 2.0))
_LOWER_LID = ((-17.5, 2.0), (-27.2, 5.0), (-36.6, 4.7), (-45, 0.2))
_NOSE_RIDGE = ((0, -3), (0, 9.5), (0, 22), (0, 34.5))
_NOSE_BASE = ((-14.8, 43), (-7.6, 45.6), (0, 47.6))
_OUTER_LIP = ((-27, 64.4), (-17.1, 59.6), (-7.2, 57.2), (0, 58.8), (-17, 72.0), (-8.3, 75.9), (0, 76.8))
_INNER_LIP = ((-23.6, 64.5), (-7.8, 63.1), (0, 63.7), (-7.8, 66.7), (0, 67.3))
# Jaw points 0..8: angle around the head (degrees) and midline height (mm) of the row they lie in.
# As evenly spaced along the jaw as the annotations of 300-W (median over its faces, both sides).
_JAW = ((90, -1.5), (89.2, 41.7), (80.5, 78.5), (72, 97), (62, 108.4), (48.3, 113), (31.7, 113), (15.7, 113), (0, 113))
JAW_SAMPLES = 24


def _mirror(points: np.ndarray) -> np.ndarray:
    return points * np.array([-1.0, 1.0])


def frontal_points() -> np.ndarray:
    """The 51 landmarks inside the face (numbers 17-67) on the mean head, frontal mm: (51, 2)."""
    brow, up, low = (np.array(v, float) for v in (_BROW, _UPPER_LID, _LOWER_LID))
    ridge, base, outer, inner = (np.array(v, float) for v in (_NOSE_RIDGE, _NOSE_BASE, _OUTER_LIP, _INNER_LIP))
    left_eye = np.concatenate([up, low[1:3]])
    right_eye = _mirror(left_eye)[[3, 2, 1, 0, 5, 4]]
    top, bottom = outer[:4], outer[4:]
    mouth = np.concatenate([top, _mirror(top[2::-1]), _mirror(bottom[:2]), bottom[2:], bottom[1::-1]])
    inside = np.concatenate([inner[:3], _mirror(inner[1::-1]), _mirror(inner[3:4]), inner[4:], inner[3:4]])
    return np.concatenate([brow, _mirror(brow[::-1]), ridge, base, _mirror(base[1::-1]), left_eye, right_eye, mouth, inside])


def _spline(knots: np.ndarray, closed: bool, each: int = 12) -> np.ndarray:
    """Catmull-Rom curve through the knots, `each` points a segment; the knots stay exactly on it."""
    n = len(knots)
    padded = np.concatenate(
        [knots[-1:], knots, knots[:2]] if closed else [2 * knots[:1] - knots[1:2], knots, 2 * knots[-1:] - knots[-2:-1]]
    )
    t = (np.arange(each) / each)[:, None]
    parts = []
    for i in range(n if closed else n - 1):
        a, b, c, d = padded[i : i + 4]
        parts.append(0.5 * (2 * b + (c - a) * t + (2 * a - 5 * b + 4 * c - d) * t**2 + (3 * b - a - 3 * c + d) * t**3))
    return np.concatenate([*parts, knots[:1] if closed else knots[-1:]])


@lru_cache(maxsize=1)
def frontal_curves() -> dict[str, np.ndarray]:
    """All feature curves as dense frontal polylines in mm, name -> (P, 2). Twelve points between neighbouring knots."""
    p = np.concatenate([np.zeros((17, 2)), frontal_points()])
    lids = {}
    for side, first in (("left", 36), ("right", 42)):
        lids[f"{side}_upper_lid"] = _spline(p[first : first + 4], False)
        lids[f"{side}_lower_lid"] = _spline(p[[first + 3, first + 4, first + 5, first]], False)
    lips = {
        "outer_upper_lip": _spline(p[48:55], False),
        "outer_lower_lip": _spline(p[[54, 55, 56, 57, 58, 59, 48]], False),
        "inner_upper_lip": _spline(p[60:65], False),
        "inner_lower_lip": _spline(p[[64, 65, 66, 67, 60]], False),
    }
    brows = {"left_brow": _spline(p[17:22], False), "right_brow": _spline(p[22:27], False)}
    return {**brows, **lids, **lips, "nose_ridge": _spline(p[27:31], False), "nose_base": _spline(p[31:36], False)}


def curve(name: str, position: np.ndarray | float) -> np.ndarray:
    """Places (column, row) on a named curve; `position` runs from 0 (its first knot) to 1 (its last)."""
    line = surface_curves()[name]
    at = np.asarray(position, float) * (len(line) - 1)
    return np.stack([np.interp(at, np.arange(len(line)), line[:, k]) for k in (0, 1)], -1)


@lru_cache(maxsize=1)
def surface_curves() -> dict[str, np.ndarray]:
    """The feature curves as places on the skin, name -> (P, 2) of (column, row)."""
    return {name: surface.locate(line) for name, line in frontal_curves().items()}


@lru_cache(maxsize=1)
def inner_places() -> np.ndarray:
    """Places of the landmarks 17-67: (51, 2) of (column, row)."""
    return surface.locate(frontal_points())


@lru_cache(maxsize=1)
def jaw_places() -> np.ndarray:
    """For each jaw point the line of places it may slide along, from inside the face to its anchor: (17, JAW_SAMPLES,
    2)."""
    half = np.array(_JAW, float)
    theta = np.concatenate([-half[:, 0], half[-2::-1, 0]])
    row = surface.row_of(np.concatenate([half[:, 1], half[-2::-1, 1]]))
    anchor = np.stack([surface.column_of(theta), row], -1)
    inside = np.stack([surface.column_of(theta * 0.25), np.minimum(row, surface.row_of(78.0 - 0 * row))], -1)
    inside[:, 1] = np.where(np.abs(theta) > 60, row, np.minimum(inside[:, 1], row))
    s = np.linspace(0, 1, JAW_SAMPLES)[None, :, None]
    angle = np.interp(inside[:, 0], np.arange(surface.COLUMNS), surface.THETA)
    between = angle[:, None] + (theta - angle)[:, None] * s[..., 0]
    rows = inside[:, None, 1] + (row - inside[:, 1])[:, None] * s[..., 0]
    places = np.stack([surface.column_of(between), rows], -1)
    places[:, -1] = anchor
    return places
