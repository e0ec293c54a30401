"""Feature curves of the face, and where the landmarks of every point scheme lie on them: places (column, row) on the skin.

Every drawn feature (lids, lips, brows) and every landmark is taken from these curves, so that points sit on features
in every pose. A curve is continuous: `curve("left_brow", 0.25)` gives any point of it, so each scheme is a table of
names and positions.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from fa_lib.data.synthetic import surface

# Frontal millimetres on the mean head, picture-left half (x < 0); the other half is the mirror image.
_BROW = ((-60, -12.5), (-51, -20.3), (-38.5, -23.6), (-25, -22.4), (-12.5, -17.5))  # upper edge, as annotators mark it
_UPPER_LID = ((-45, 0.2), (-36.8, -5.6), (-27, -5.5), (-17.5, 1.8))
_LOWER_LID = ((-17.5, 1.8), (-27.2, 3.7), (-36.6, 3.4), (-45, 0.2))
_NOSE_RIDGE = ((0, -3), (0, 9.5), (0, 22), (0, 34.5))
_NOSE_BASE = ((-14.8, 43), (-7.6, 45.6), (0, 47.6))
_OUTER_LIP = ((-27, 64.4), (-17.1, 59.6), (-7.2, 57.2), (0, 58.8), (-17, 72.0), (-8.3, 75.9), (0, 76.8))
_INNER_LIP = ((-23.6, 64.5), (-7.8, 63.1), (0, 63.7), (-7.8, 66.7), (0, 67.3))
# Controls 0..8 of the jaw, which people's identities move: angle around the head (degrees), midline height (mm) of the row.
_JAW = ((90, -1.5), (89.2, 41.7), (80.5, 78.5), (72, 97), (62, 108.4), (48.3, 113), (31.7, 113), (15.7, 113), (0, 113))
# The contour that annotators follow, from beside the eye to the chin: angle, and midline height of the row.
_CONTOUR = ((90, 3), (90, 60), (89.5, 85), (87, 100), (81, 108), (72, 112), (60, 113), (0, 113))
# How far the contour may slide towards the middle of a turned face, at heights (mm): it passes behind nose and lips.
_SLIDE_AT, _SLIDE_TO = (0, 48, 60, 84, 98, 110, 113), (20, 15, 17, 14, -8, -4, 0)
LEVELS, STEPS = 25, 16
_BROW_HALF = ((0, 0.35, 0.8, 1), (0.9, 2.6, 3.5, 3.0))  # half the height (mm) of a brow, from its outer to its inner end


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
    lips["mouth_line"] = (lips["inner_upper_lip"] + lips["inner_lower_lip"][::-1]) / 2
    brows = {"left_brow": _spline(p[17:22], False), "right_brow": _spline(p[22:27], False)}
    for side, line in list(brows.items()):
        s = np.linspace(0, 1, len(line))
        half = np.interp(s if side == "left_brow" else 1 - s, *_BROW_HALF)[:, None] * [0, 1]
        brows |= {f"{side}_top": line, f"{side}_bottom": line + 1.6 * half}
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
def jaw_controls() -> np.ndarray:
    """Places on the jaw that identities and expressions move: (17, 2) of (column, row), numbered as the jaw's points."""
    half = np.array(_JAW, float)
    theta = np.concatenate([-half[:, 0], half[-2::-1, 0]])
    return np.stack([surface.column_of(theta), surface.row_of(np.concatenate([half[:, 1], half[-2::-1, 1]]))], -1)


@lru_cache(maxsize=1)
def contour_places() -> np.ndarray:
    """Where the contour can be: (2 sides, LEVELS, STEPS, 2) of (column, row), left side first, from the eyes to the chin.

    Each level is a line over the cheek at one height, from its inner end to the contour of a frontal face; in a turned
    face the contour is where that line passes the visible outline.
    """
    dense = np.linspace(0, len(_CONTOUR) - 1, 400)
    theta, row = (np.interp(dense, np.arange(len(_CONTOUR)), [c[k] for c in _CONTOUR]) for k in (0, 1))
    edge = np.interp(theta, *surface.JAW_EDGE)
    line = np.stack([75.0 * np.sin(np.radians(theta)), row / surface.CHIN * edge, 84.0 * np.cos(np.radians(theta))], -1)
    length = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(line, axis=0), axis=1))])
    at = np.linspace(0, length[-1], LEVELS)
    outer, height = np.interp(at, length, theta), np.interp(at, length, line[:, 1])
    inner = np.minimum(np.interp(height, _SLIDE_AT, _SLIDE_TO), outer)
    angle = inner[:, None] + (outer - inner)[:, None] * np.linspace(0, 1, STEPS)
    rows = surface.row_of(height[:, None] / np.interp(np.abs(angle), *surface.JAW_EDGE) * surface.CHIN)
    return np.stack([np.stack([surface.column_of(side * angle), rows], -1) for side in (-1, 1)])


def _spread(*curves: tuple[str, tuple[float, ...]]) -> list[tuple[str, float]]:
    return [(name, position) for name, positions in curves for position in positions]


_FIFTHS, _QUARTERS, _LIDS = (0, 0.25, 0.5, 0.75, 1), (0, 0.25, 0.5, 0.75), (0, 0.27, 0.5, 0.73)
# Points of each scheme that are fixed places on the skin, in order: curve and position on it. Contour and pupils are not.
_ON_CURVES: dict[int, list[tuple[str, float]]] = {
    98: _spread(
        ("left_brow_top", _FIFTHS), ("left_brow_bottom", (1, 0.75, 0.5, 0.25)),
        ("right_brow_top", _FIFTHS), ("right_brow_bottom", (0.75, 0.5, 0.25, 0)),
        ("nose_ridge", (0, 1 / 3, 2 / 3, 1)), ("nose_base", _FIFTHS),
        ("left_upper_lid", _LIDS), ("left_lower_lid", _LIDS), ("right_upper_lid", _LIDS), ("right_lower_lid", _LIDS),
        ("outer_upper_lip", tuple(i / 6 for i in range(7))), ("outer_lower_lip", tuple(i / 6 for i in range(1, 6))),
        ("inner_upper_lip", _FIFTHS), ("inner_lower_lip", _QUARTERS[1:]),
    ),
    29: _spread(
        ("left_brow", (0,)), ("right_brow", (1,)), ("left_brow", (1,)), ("right_brow", (0,)),
        ("left_brow_top", (0.5,)), ("left_brow_bottom", (0.5,)), ("right_brow_top", (0.5,)), ("right_brow_bottom", (0.5,)),
        ("left_upper_lid", (0,)), ("right_upper_lid", (1,)), ("left_upper_lid", (1,)), ("right_upper_lid", (0,)),
        ("left_upper_lid", (0.5,)), ("left_lower_lid", (0.5,)), ("right_upper_lid", (0.5,)), ("right_lower_lid", (0.5,)),
        ("nose_base", (0, 1)), ("nose_ridge", (1,)), ("nose_base", (0.5,)),
        ("outer_upper_lip", (0, 1, 0.5)), ("inner_upper_lip", (0.5,)), ("inner_lower_lip", (0.5,)), ("outer_lower_lip", (0.5,)),
    ),
    19: _spread(
        ("left_brow", (0, 0.5, 1)), ("right_brow", (0, 0.5, 1)), ("left_upper_lid", (0, 1)), ("right_upper_lid", (0, 1)),
        ("nose_base", (0,)), ("nose_ridge", (1,)), ("nose_base", (1,)),
        ("outer_upper_lip", (0,)), ("mouth_line", (0.5,)), ("outer_upper_lip", (1,)),
    ),
}  # fmt: skip
# The numbers of the contour's points (in order along it, evenly spaced; one alone is the chin) and of the two pupils.
CONTOUR = {68: tuple(range(17)), 98: tuple(range(33)), 29: (28,), 19: (18,)}
PUPILS = {68: (), 98: (96, 97), 29: (16, 17), 19: (7, 10)}


@lru_cache(maxsize=4)
def skin_places(points: int) -> tuple[np.ndarray, np.ndarray]:
    """The points of a scheme that are fixed places on the skin: their numbers (F,), and (F, 2) of (column, row)."""
    moving = CONTOUR[points] + PUPILS[points]
    numbers = np.array([i for i in range(points) if i not in moving])
    if points == 68:
        return numbers, inner_places()
    return numbers, np.stack([curve(name, position) for name, position in _ON_CURVES[points]])


@lru_cache(maxsize=1)
def lid_places() -> np.ndarray:
    """Five places along each lid, from the outer left to the inner right: (2 eyes, 2 upper and lower, 5, 2)."""
    along = np.linspace(0, 1, 5)
    names = [(f"{side}_upper_lid", f"{side}_lower_lid") for side in ("left", "right")]
    return np.stack([[curve(upper, along), curve(lower, 1 - along)] for upper, lower in names])
