"""The head as one grid of vertices, and the smooth fields that deform it.

Columns run around the head (angle theta, degrees, 0 = nose, +90 = picture-right ear), rows from the crown over the
face, the jaw edge and the neck to the shoulders. A place on the skin is a pair (column, row), both may be fractions:
landmarks, painted masks and light all live there. Millimetres; x to picture-right, y down (0 = eye line), z towards
the camera. The mean head has 90 mm between the outer eye corners, its eyes are open, and its lips are a little apart.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

CROWN, CHIN = -114.0, 113.0  # mm above and below the eye line
_SIDE = np.concatenate([np.linspace(50, 86, 8)[1:], np.linspace(88.5, 108, 8), np.linspace(115, 180, 5)])
THETA = np.concatenate([-_SIDE[::-1], np.linspace(-50, 50, 41), _SIDE])
FACE_Y = np.concatenate([CROWN * np.sin(np.radians(np.linspace(90, 22, 11))), np.linspace(-40, CHIN, 44)])  # mm on the midline
JAW_ROW = len(FACE_Y) - 1
NECK_ROW, COLLAR_ROW = JAW_ROW + 5, JAW_ROW + 10
ROWS, COLUMNS = JAW_ROW + 17, len(THETA)

# Height of the jaw edge (mm below the eye line) at an angle around the head; behind the ears it is the hair's nape.
JAW_EDGE = ((0, 14, 28, 41, 54, 65, 75, 90, 110, 140, 180), (113, 110.5, 104, 95.5, 86, 77.5, 69.5, 55, 40, 42, 52))

# Bumps on the smooth head: x, y, height, spread x, spread y (mm); each is mirrored to the other side where x is not 0.
BUMPS = (
    (0, -20, 2.5, 10, 9), (26, -19, 3.4, 17, 7), (44, -15, 2.5, 9, 8),  # brow ridge
    (17.5, 3, -7.0, 6.5, 9), (33, -1, -5.2, 16, 9), (46, 2, -2.5, 8, 8), (31, 0.5, 2.6, 9.5, 7),  # socket, ball
    (46, 27, 4.5, 15, 11), (36, 62, 1.5, 14, 16),  # cheek bone, cheek
    (0, 62, 6.5, 27, 19), (0, 58.5, 2.0, 14, 4.5), (5, 58.5, 1.2, 4, 3), (0, 72.2, 4.2, 14, 4.6), (0, 65.4, -1.5, 22, 2.5),
    (27, 65, -2.5, 5, 6), (0, 53, -1.6, 3, 5), (0, 84.5, -3.8, 16, 5), (0, 104, 7.5, 16, 9), (24, 56, -1.2, 4, 9),  # chin
    (13.2, 39, 10, 4.8, 5.0), (6.5, 46, -1.5, 3.5, 2.5), (17, 34, -1.5, 4, 8),  # wings of the nose, nostrils
)  # fmt: skip
NOSE_Y = (-30, -16, -6, 2, 12, 22, 30, 36, 40, 44, 47, 51, 58)
NOSE_HEIGHT = (0, 1.0, 3.5, 6, 11, 17.5, 23.5, 26.5, 24, 15, 7, 2, 0)
NOSE_WIDTH = (12, 10, 8.5, 8, 8.4, 9.2, 9.8, 10, 9.6, 8.5, 7.5, 7, 7)


def row_of(y: np.ndarray | float) -> np.ndarray:
    """Row (a fraction is fine) at which the midline reaches y mm. `row_of(-114.0)` is 0, the crown."""
    return np.interp(y, FACE_Y, np.arange(len(FACE_Y)))


def column_of(theta: np.ndarray | float) -> np.ndarray:
    """Column at an angle around the head in degrees; `column_of(0)` is the middle one."""
    return np.interp(theta, THETA, np.arange(COLUMNS))


def _jaw_edge(theta: np.ndarray) -> np.ndarray:
    smooth = np.mean([np.interp(np.abs(theta) + d, *JAW_EDGE) for d in (-6, -3, 0, 3, 6)], axis=0)
    return np.where(np.abs(theta) < 8, np.interp(np.abs(theta), *JAW_EDGE), smooth)


def skull(thickness: np.ndarray | float = 0.0) -> np.ndarray:
    """The head without features down to the jaw edge, each point moved outwards by `thickness` mm: (JAW_ROW + 1, C,
    3)."""
    sin, cos = np.sin(np.radians(THETA))[None], np.cos(np.radians(THETA))[None]
    t = FACE_Y[:, None]
    y = np.where(t > 0, t / CHIN * _jaw_edge(THETA)[None], t)
    dome = (1 - np.clip(-t / -CROWN * 1.0, 0, 1) ** 2.7) ** (1 / 2.1)
    below = np.clip(t / CHIN, 0, 1)
    in_front = np.interp(np.abs(THETA[None]), (45, 80), (1, 0.15))  # the jaw's edge fades towards the ears
    tuck = 1 - 0.10 * np.clip((below - 0.78) / 0.22, 0, 1) ** 2 * in_front
    temple = 1 - 0.035 * np.exp(-(((t + 32) / 22) ** 2)) * np.exp(-(((np.abs(THETA[None]) - 55) / 18) ** 2))
    wide = (75.5 - 2.0 * below + 2.5 * below * (1 - below)) * dome * tuck * temple
    deep = np.where(cos > 0, 84.0 - 3 * below, 100.0 - 30 * below) * dome * tuck * temple
    point = np.stack(np.broadcast_arrays(wide * sin, y, deep * cos), axis=-1)
    out = np.stack(np.broadcast_arrays(sin * dome, np.where(t < 0, t / -CROWN, 0) + 0 * sin, cos * dome), axis=-1)
    return point + out * np.asarray(thickness)[..., None]


def _features(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """How far the face stands out in z (mm) at the frontal place (x, y)."""
    height = np.zeros_like(x)
    for bx, by, h, sx, sy in BUMPS:
        for side in (1, -1) if bx else (1,):
            height += h * np.exp(-0.5 * (((x - side * bx) / sx) ** 2 + ((y - by) / sy) ** 2))
    fine = np.linspace(-40, 70, 400)
    kernel = np.hanning(21) / np.hanning(21).sum()
    ridge, width = (np.convolve(np.interp(fine, NOSE_Y, v), kernel, "same") for v in (NOSE_HEIGHT, NOSE_WIDTH))
    h, w = np.interp(y, fine, ridge, 0, 0), np.interp(y, fine, width, 9, 6)
    return height + h * np.exp(-(np.abs(x / np.maximum(w, 3)) ** 2.0))


def _ears(face: np.ndarray) -> np.ndarray:
    """Flaps that stand out at the sides of the rows of the face: displacement (rows, C, 3) mm."""
    theta = THETA[None]
    y = (face[..., 1] - 9) / np.where(face[..., 1] < 9, 27, 30)  # an egg about 9 mm below the eye line
    lean = np.abs(theta) - 98 - 3.0 * y
    height = np.sqrt(np.clip(1 - y * y, 0, 1))
    out = height * np.interp(lean, (-9, -5.5, 2, 6, 9.5), (0, 2.5, 15, 13, 0))
    behind = height * np.interp(lean, (-9, -3, 4, 9.5), (0, 0, 7, 4))
    return np.stack([np.sign(theta) * out, 0 * out, -behind], -1)


@lru_cache(maxsize=1)
def mean_head() -> np.ndarray:
    """The mean head, (ROWS, COLUMNS, 3) mm. Its first rows are the face, then neck, then shoulders."""
    face = skull()
    front = np.clip(face[..., 2] / 30, 0, 1)
    face[..., 2] += _features(face[..., 0], face[..., 1]) * front * front * (3 - 2 * front)
    sin, cos = np.sin(np.radians(THETA)), np.cos(np.radians(THETA))
    face += _ears(face)
    side = np.abs(sin) ** 1.5
    back = np.clip(-cos, 0, 1)
    rings = [
        np.stack([56 * sin, 121 - 22 * side - 46 * back, -14 + 48 * cos], -1),
        np.stack([57 * sin, 166 - 18 * side - 30 * back, -20 + 48 * cos], -1),
        np.stack([86 * sin, 186 - 18 * side - 18 * back, -20 + 58 * cos], -1),
        np.stack([158 * sin, 210 - 12 * side, -22 + 78 * cos], -1),
        np.stack([212 * sin, 250 - 6 * side, -22 + 94 * cos], -1),
        np.stack([230 * sin, 420 + 0 * sin, -22 + 114 * cos], -1),
    ]
    below = [face]
    jaw = face[-1]
    for s in np.linspace(0, 1, 6)[1:]:
        sag = np.array([0.0, 3.0, 0.0]) * np.sin(np.pi * s)
        below.append((jaw + (rings[0] - jaw) * s + sag * np.clip(cos, 0, 1)[:, None])[None])
    for a, b, n in zip(rings[:-1], rings[1:], (5, 2, 2, 1, 1), strict=True):
        below.append(a + (b - a) * (np.arange(1, n + 1) / n)[:, None, None])
    return np.concatenate(below).astype(np.float32)


def follow_head() -> np.ndarray:
    """How much each row turns with the head: 1 for the face, falling to 0 at the collar. (ROWS,)"""
    return np.interp(np.arange(ROWS), (JAW_ROW, NECK_ROW, COLLAR_ROW), (1.0, 0.8, 0.0)).astype(np.float32)


def locate(xy: np.ndarray) -> np.ndarray:
    """(column, row) of frontal points (..., 2) mm on the mean face; by Newton steps on the grid."""
    grid = mean_head()[: JAW_ROW + 1, :, :2].astype(float)
    target = np.asarray(xy, float).reshape(-1, 2)
    place = np.stack([column_of(np.degrees(np.arcsin(np.clip(target[:, 0] / 80, -1, 1)))), row_of(target[:, 1])], -1)
    for _ in range(30):
        here = sample_grid(grid, place)
        step_c = (sample_grid(grid, place + [0.05, 0]) - here) / 0.05
        step_r = (sample_grid(grid, place + [0, 0.05]) - here) / 0.05
        jacobian = np.stack([step_c, step_r], -1)
        place = place + 0.7 * np.linalg.solve(jacobian, (target - here)[..., None])[..., 0]
        place = np.clip(place, 0, [COLUMNS - 1.1, JAW_ROW - 0.1])
    return place.reshape(np.shape(xy))


def corners(place: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Bilinear reading of the grid: flat vertex numbers (..., 4) and weights (..., 4) for places (..., 2)."""
    c0 = np.clip(np.floor(place[..., 0]), 0, COLUMNS - 2).astype(np.int64)
    r0 = np.clip(np.floor(place[..., 1]), 0, ROWS - 2).astype(np.int64)
    fc, fr = place[..., 0] - c0, place[..., 1] - r0
    index = np.stack([r0 * COLUMNS + c0, r0 * COLUMNS + c0 + 1, (r0 + 1) * COLUMNS + c0, (r0 + 1) * COLUMNS + c0 + 1], -1)
    weight = np.stack([(1 - fc) * (1 - fr), fc * (1 - fr), (1 - fc) * fr, fc * fr], -1)
    return index, weight.astype(np.float32)


def sample_grid(grid: np.ndarray, place: np.ndarray) -> np.ndarray:
    """Values of a grid (R, C, D) at places (..., 2): (..., D)."""
    padded = grid if len(grid) == ROWS else np.concatenate([grid, np.repeat(grid[-1:], ROWS - len(grid), 0)])
    index, weight = corners(np.asarray(place, float))
    return (padded.reshape(-1, padded.shape[-1])[index] * weight[..., None]).sum(-2)
