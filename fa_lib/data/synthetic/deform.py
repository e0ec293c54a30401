"""Identity and expression of the head: linear fields of displacement, smooth over the skin.

Each field moves a few control places (landmarks, midpoints of the feature curves, anchors) by given millimetres; a
radial interpolant carries the movement to the whole grid. A coefficient of 1 is about one standard deviation of people
for identity, and a full movement (eyes shut, a broad smile) for expression.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from fa_lib.data.synthetic import curves, surface
from fa_lib.data.synthetic.threads import one_thread

Move = tuple[tuple[int, ...], tuple[float, float, float]]  # landmark numbers, (outwards, down, forwards) in mm

_EYE, _BROW, _LIPS = tuple(range(36, 48)), tuple(range(17, 27)), tuple(range(48, 68))
IDENTITY: dict[str, tuple[Move, ...]] = {
    "jaw_width": (((3, 4, 5, 11, 12, 13), (3.6, 0, 0)), ((1, 2, 14, 15, 6, 10), (2.0, 0, 0))),
    "jaw_drop": (((3, 4, 5, 11, 12, 13), (1.0, 4.0, 0)), ((6, 10, 2, 14), (1.0, 2.0, 0))),
    "chin_length": (((7, 8, 9), (0, 4.5, 0)), ((5, 6, 10, 11), (0, 2.5, 0)), ((55, 56, 57, 58, 59), (0, 0.8, 0))),
    "chin_forward": (((7, 8, 9), (0, 0, 3.5)), ((6, 10), (0, 0, 1.5))),
    "chin_square": (((6, 7, 9, 10), (2.6, 1.0, 0)), ((5, 11), (1.5, 0, 0))),
    "cheeks": (((100, 101), (4.0, 1.5, 3.0)), ((2, 3, 13, 14), (1.8, 0, 0)), ((102, 103), (2.5, 0, 2.0))),
    "eye_distance": ((_EYE, (1.6, 0, -0.6)), (_BROW, (1.0, 0, 0))),
    "eye_width": (((36, 45), (1.2, 0, -0.6)), ((39, 42), (-0.8, 0, 0))),
    "eye_opening": (((37, 38, 43, 44), (0, -0.9, 0)), ((40, 41, 46, 47), (0, 0.4, 0))),
    "eye_tilt": (((36, 45), (0, -1.4, 0)), ((37, 41, 44, 46), (0, -0.5, 0)), ((39, 42), (0, 0.7, 0))),
    "eye_height": ((_EYE, (0, 1.6, 0)), (_BROW, (0, 0.8, 0)), ((27,), (0, 1.0, 0))),
    "eye_depth": ((_EYE, (0, 0, 1.4)), (_BROW, (0, 0, -1.0))),
    "brow_height": ((_BROW, (0, -2.0, 0)),),
    "brow_arch": (((18, 19, 24, 25), (0, -1.4, 0)), ((17, 26, 21, 22), (0, 1.2, 0))),
    "brow_tilt": (((17, 18, 25, 26), (0, -1.5, 0)), ((20, 21, 22, 23), (0, 1.2, 0))),
    "nose_length": (((30, 31, 32, 33, 34, 35), (0, 2.4, 0)), ((29,), (0, 1.5, 0)), ((50, 51, 52), (0, 0.8, 0))),
    "nose_width": (((31, 35), (2.0, 0, 0)), ((32, 34), (1.0, 0, 0))),
    "nose_forward": (((30,), (0, 0, 3.0)), ((29, 33), (0, 0, 2.0)), ((32, 34, 28), (0, 0, 1.0))),
    "nose_bridge": (((27, 28), (0, 0, 2.4)), ((29,), (0, 0, 1.0))),
    "nose_tip": (((30,), (0, -2.0, 0.5)), ((33,), (0, -1.2, 0))),
    "mouth_width": (((48, 54, 60, 64), (2.2, 0, -0.8)), ((49, 53, 55, 59), (1.2, 0, 0))),
    "mouth_height": ((_LIPS, (0, 1.8, 0)),),
    "upper_lip": (((49, 50, 51, 52, 53), (0, -1.3, 0.5)),),
    "lower_lip": (((55, 56, 57, 58, 59), (0, 1.4, 0.5)),),
    "lips_forward": (((49, 50, 51, 52, 53, 55, 56, 57, 58, 59, 61, 62, 63, 65, 66, 67), (0, 0, 1.8)),),
    "cupid": (((50, 52), (0, -0.8, 0)), ((51,), (0, 0.5, 0))),
}
WHOLE = ("face_width", "face_height", "forehead", "head_depth")
EXPRESSION: dict[str, tuple[Move, ...]] = {
    "smile": (
        ((48, 54, 60, 64), (6.5, -5.0, -5.0)), ((49, 53, 59, 55), (3.5, -2.5, -2.0)), ((57, 58, 56), (0, -0.5, -1.0)),
        ((50, 51, 52), (0, 0.6, -1.5)), ((61, 63, 65, 67), (1.5, -0.8, -1.0)), ((31, 35), (1.5, -0.8, 0)),
        ((100, 101), (1.5, -3.0, 3.0)), ((40, 41, 46, 47), (0, -1.0, 0)), ((102, 103), (2.5, -1, 0)),
    ),
    "frown": (((48, 54, 60, 64), (-1.0, 4.5, 0)), ((49, 53, 55, 59), (0, 1.5, 0)), ((57,), (0, -1.5, 1.0))),
    "pucker": (
        ((48, 54, 60, 64), (-8.5, 0, 4.0)), ((49, 53, 55, 59), (-4.0, 0, 5.0)), ((61, 63, 65, 67), (-3.0, 0, 4)),
        ((50, 51, 52), (-1.5, -0.8, 6.0)), ((56, 57, 58), (-1.5, 0.8, 5.5)),
    ),
    "brow_raise": ((_BROW, (0, -5.5, 0)), ((37, 38, 43, 44), (0, -0.8, 0))),
    "brow_furrow": (((20, 21, 22, 23), (-2.2, 3.6, 1.0)), ((19, 24), (-1.0, 1.5, 0)), ((39, 42), (0, 0.4, 0))),
    "brow_sad": (((21, 22), (-1.0, -4.0, 0)), ((20, 23), (-0.5, -2.0, 0)), ((17, 18, 25, 26), (0, 1.5, 0))),
    "sneer": (((31, 35), (1.0, -2.5, 1.0)), ((49, 50, 52, 53), (0, -2.5, 0)), ((61, 62, 63), (0, -1.8, 0))),
    "lip_lift": (
        ((50, 51, 52, 61, 62, 63), (0, -2.4, 0)), ((49, 53), (0, -1.2, 0)), ((56, 57, 58, 65, 66, 67), (0, 2.4, 0)),
    ),
}  # fmt: skip
SPECIAL = ("jaw_open", "lips_close", "left_eye_close", "right_eye_close", "mouth_side", "brow_side")
RANDOM_FIELDS = 6
IDENTITY_NAMES = (*IDENTITY, *WHOLE, *(f"random_{i}" for i in range(RANDOM_FIELDS)))
EXPRESSION_NAMES = (*EXPRESSION, *SPECIAL)


def _metric(place: np.ndarray) -> np.ndarray:
    """Places as millimetres on the unrolled skin, so that the interpolant is about isotropic."""
    theta = np.interp(place[..., 0], np.arange(surface.COLUMNS), surface.THETA)
    rows = np.concatenate([surface.FACE_Y, surface.CHIN + 7.0 * np.arange(1, surface.ROWS - surface.JAW_ROW)])
    return np.stack([np.radians(theta) * 75.0, np.interp(place[..., 1], np.arange(surface.ROWS), rows)], -1)


@lru_cache(maxsize=1)
@one_thread
def _controls() -> tuple[np.ndarray, np.ndarray]:
    """Control places (P, 2) and, for each, how it mixes the 68 landmarks and the extra points 100.. (P, 104)."""
    places, mixes = [], []

    def add(place: np.ndarray, numbers: tuple[int, ...] = (), weights: tuple[float, ...] = ()) -> None:
        mix = np.zeros(104)
        mix[list(numbers)] = weights
        places.append(place)
        mixes.append(mix)

    for i in range(17):
        add(curves.jaw_controls()[i], (i,), (1.0,))
    for i, place in enumerate(curves.inner_places()):
        add(place, (17 + i,), (1.0,))
    for name, knots in KNOTS.items():
        for k in range(len(knots) - 1):
            add(curves.surface_curves()[name][12 * k + 6], knots[k : k + 2], (0.5, 0.5))
    for number, (x, y) in ((100, (-46, 30)), (101, (46, 30)), (102, (-44, 66)), (103, (44, 66))):
        add(surface.locate(np.array([x, y], float)), (number,), (1.0,))
    still = [
        (0, -52),
        (35, -48),
        (62, -35),
        (0, -90),
        (60, -85),
        (110, 0),
        (110, 25),
        (150, -20),
        (175, 10),
        (100, -60),
    ]
    for theta, y in [(side * t, y) for t, y in still for side in (-1, 1)]:
        add(np.array([surface.column_of(theta), surface.row_of(y)]))
    for theta in (-150, -90, -45, 0, 45, 90, 150):
        add(np.array([surface.column_of(theta), float(surface.NECK_ROW)]))
    return np.array(places), np.array(mixes)


KNOTS = {
    "left_brow": (17, 18, 19, 20, 21), "right_brow": (22, 23, 24, 25, 26), "nose_ridge": (27, 28, 29, 30),
    "left_upper_lid": (36, 37, 38, 39), "left_lower_lid": (39, 40, 41, 36),
    "right_upper_lid": (42, 43, 44, 45), "right_lower_lid": (45, 46, 47, 42),
    "outer_upper_lip": (48, 49, 50, 51, 52, 53, 54), "outer_lower_lip": (54, 55, 56, 57, 58, 59, 48),
    "inner_upper_lip": (60, 61, 62, 63, 64), "inner_lower_lip": (64, 65, 66, 67, 60),
}  # fmt: skip


@lru_cache(maxsize=1)
@one_thread
def _interpolant() -> np.ndarray:
    """Matrix (V, P) that carries displacements of the controls to every vertex."""
    at = _metric(_controls()[0])
    grid = np.stack(np.meshgrid(np.arange(surface.COLUMNS), np.arange(surface.ROWS)), -1).reshape(-1, 2).astype(float)

    def kernel(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return -np.sqrt(((a[:, None] - b[None]) ** 2).sum(-1) + 3.0**2)

    spread = kernel(_metric(grid), at) @ np.linalg.inv(kernel(at, at) - 0.001 * np.eye(len(at)))
    # Between vertices the grid is read bilinearly, which flattens narrow movements: undo that at the controls.
    index, weight = surface.corners(_controls()[0])
    response = (spread[index] * weight[..., None]).sum(1)
    spread = spread @ np.linalg.solve(response.T @ response + 0.02 * np.eye(len(at)), response.T)
    fade = np.interp(np.arange(surface.ROWS), (surface.NECK_ROW - 1, surface.NECK_ROW + 1), (1, 0))
    return spread * np.repeat(fade, surface.COLUMNS)[:, None]


def _from_moves(moves: tuple[Move, ...]) -> np.ndarray:
    """One field (V, 3) from a table row; `outwards` points away from the middle of the face on both sides."""
    control = np.zeros((104, 3))
    for numbers, step in moves:
        control[list(numbers)] += step
    places, mixes = _controls()
    moved = mixes @ control
    side = np.sign(np.round(places[:, 0] - surface.column_of(0.0), 6))
    moved[:, 0] *= side
    return _interpolant() @ moved


def _gap(upper: str, lower: str) -> dict[tuple[float, float], float]:
    up, low = curves.frontal_curves()[upper], curves.frontal_curves()[lower][::-1]
    return {tuple(np.round(p, 4)): float(np.interp(p[0], low[:, 0], low[:, 1]) - p[1]) for p in up}


def _closing(upper: str, lower: str, share: float, follow: dict[int, float]) -> np.ndarray:
    """A field that shuts the opening between two curves; the upper one does `share` of the way."""
    line = curves.frontal_curves()
    places = _controls()[0]
    moved = np.zeros((len(places), 3))
    for name, other, part in ((upper, lower, share), (lower, upper, share - 1)):
        there = line[other][::-1]
        for point, place in zip(line[name], curves.surface_curves()[name], strict=True):
            hit = np.flatnonzero(np.abs(places - place).sum(-1) < 1e-6)
            moved[hit, 1] = part * abs(np.interp(point[0], there[:, 0], there[:, 1]) - point[1])
    moved += _controls()[1] @ np.array([[0, follow.get(i, 0.0), 0] for i in range(104)], float)
    return _interpolant() @ moved


def _jaw_open() -> np.ndarray:
    """Turning the lower jaw by 10 degrees about an axis through the ears: 1 opens the lips by about 17 mm."""
    weight = np.zeros(104)
    weight[[4, 5, 6, 7, 8, 9, 10, 11, 12, 55, 56, 57, 58, 59, 65, 66, 67]] = 1.0
    weight[[3, 13]], weight[[48, 54, 60, 64, 102, 103]], weight[[2, 14]] = 0.8, 0.45, 0.5
    weight[[60, 64, 48, 54]] = 0.42
    places, mixes = _controls()
    rest = surface.sample_grid(surface.mean_head().astype(float), places) - np.array([0.0, 12.0, 0.0])
    turn = np.radians(10.0)
    moved = (mixes @ weight)[:, None] * np.stack([0 * rest[:, 0], turn * rest[:, 2], -turn * rest[:, 1]], -1)
    return _interpolant() @ moved


def _sideways(numbers: tuple[int, ...], step: tuple[float, float, float], other: tuple[int, ...] = ()) -> np.ndarray:
    control = np.zeros((104, 3))
    control[list(numbers)] += step
    control[list(other)] -= np.array(step) * [-1, 1, 1]
    return _interpolant() @ (_controls()[1] @ control)


def _whole() -> list[np.ndarray]:
    """Fields of the whole head; the neck follows by half and the shoulders stay."""
    head = surface.mean_head().astype(float)
    part = np.interp(np.arange(surface.ROWS), (surface.JAW_ROW, surface.COLLAR_ROW + 1), (1, 0))[:, None]
    zero = 0 * head[..., 0]
    down = np.clip(head[..., 1], 0, None) * 0.04
    up = -np.clip(-30 - head[..., 1], 0, None) * 0.09
    fields = [
        (0.038 * head[..., 0], zero, zero),
        (zero, down, zero),
        (zero, up, zero),
        (zero, zero, 0.04 * head[..., 2]),
    ]
    return [(np.stack(f, -1) * part[..., None]).reshape(-1, 3) for f in fields]


@lru_cache(maxsize=1)
@one_thread
def bases() -> tuple[np.ndarray, np.ndarray]:
    """Identity and expression fields, (I, V * 3) and (E, V * 3) float32, in the order of the two name tuples."""
    rng = np.random.default_rng(68)
    rough = []
    for _ in range(RANDOM_FIELDS):
        control = rng.normal(size=(104, 3)) * 0.25
        at = _metric(_controls()[0])
        wave = sum(rng.normal(size=3) * np.sin(at @ rng.normal(size=2) / 35 + rng.uniform(0, 6.3))[:, None] for _ in range(3))
        rough.append(_interpolant() @ (_controls()[1] @ control + 0.5 * wave * (_controls()[1].sum(1) > 0)[:, None]))
    identity = [*(_from_moves(m) for m in IDENTITY.values()), *_whole(), *rough]
    lips = {55: -1.5, 56: -2.3, 57: -2.4, 58: -2.3, 59: -1.5, 49: 0.6, 50: 0.9, 51: 0.9, 52: 0.9, 53: 0.6, 8: -0.8}
    mouth = (48, 49, 50, 51, 52, 53, 54, 55, 56, 57, 58, 59, *range(60, 68))
    special = [
        _jaw_open(),
        _closing("inner_upper_lip", "inner_lower_lip", 0.25, lips),
        _closing("left_upper_lid", "left_lower_lid", 0.86, {}),
        _closing("right_upper_lid", "right_lower_lid", 0.86, {}),
        _sideways(mouth, (3.0, 0, 0)) + _sideways((48, 60, 49, 59), (0, -2.5, 0)),
        _sideways((17, 18, 19, 20, 21), (0, -3.0, 0)) - _sideways((22, 23, 24, 25, 26), (0, -3.0, 0)),
    ]
    expression = [*(_from_moves(m) for m in EXPRESSION.values()), *special]
    return tuple(np.stack(b).reshape(len(b), -1).astype(np.float32) for b in (identity, expression))
