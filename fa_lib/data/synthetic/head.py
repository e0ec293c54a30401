"""Parameters of a head, and the posed surface with its landmarks in every point scheme.

Frame: millimetres, x to picture-right, y down, z towards the camera. Yaw > 0 turns the nose to picture-right, pitch >
0 looks down, roll > 0 turns clockwise in the picture; the head turns about the neck and the shoulders follow only a
little.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from functools import lru_cache

import numpy as np

from fa_lib.data.synthetic import curves, deform, surface
from fa_lib.data.synthetic.threads import one_thread
from fa_lib.errors import InputError

PIVOT = np.array([0.0, 75.0, -20.0], np.float32)


@dataclass(frozen=True)
class HeadParameters:
    """A batch of N heads. Colours are linear RGB in [0, 1]; everything a picture needs follows from these numbers."""

    identity: np.ndarray  # (N, I), standard deviations, order deform.IDENTITY_NAMES
    expression: np.ndarray  # (N, E), order deform.EXPRESSION_NAMES
    pose: np.ndarray  # (N, 3) degrees: yaw, pitch, roll
    gaze: np.ndarray  # (N, 2) degrees: to picture-right, down; relative to the head
    distance: np.ndarray  # (N,) mm from the camera to the middle of the head
    skin: np.ndarray  # (N, 3)
    lips: np.ndarray  # (N, 3)
    iris: np.ndarray  # (N, 3)
    hair: np.ndarray  # (N, 3)
    cloth: np.ndarray  # (N, 3)
    detail: np.ndarray  # (N, 6) freckles, blush, beard, age lines, shine, pupil size; each 0..1
    style: np.ndarray  # (N, 4) int: hair, glasses, occluder, background
    light: np.ndarray  # (N, 8) key azimuth and elevation (degrees), key RGB, ambient RGB
    camera: np.ndarray  # (N, 8) blur (per cent of the picture), motion blur (same), its angle, noise, JPEG quality, gain RGB
    look: np.ndarray  # (N, L), order people.LOOK_NAMES: second light, make-up, development of the photograph; 0 is plain
    seed: np.ndarray  # (N,) int64, seeds textures, hair strands and background

    def __len__(self) -> int:
        return len(self.pose)

    def __getitem__(self, index: slice | np.ndarray) -> HeadParameters:
        """A sub-batch: `parameters[2:5]`, or with an index array, which may repeat heads."""
        return HeadParameters(**{f.name: getattr(self, f.name)[index] for f in fields(self)})

    def change(self, **arrays: np.ndarray) -> HeadParameters:
        """The same heads with some arrays replaced."""
        return replace(self, **{k: np.asarray(v, getattr(self, k).dtype) for k, v in arrays.items()})


def join(parts: list[HeadParameters]) -> HeadParameters:
    """One batch from several."""
    return HeadParameters(**{f.name: np.concatenate([getattr(p, f.name) for p in parts]) for f in fields(HeadParameters)})


def rotations(pose: np.ndarray) -> np.ndarray:
    """Rotation matrices (N, 3, 3) of pose (N, 3) in degrees: first yaw, then pitch, then roll.

    >>> nose = rotations(np.array([[90.0, 0.0, 0.0]]))[0] @ [0.0, 0.0, 1.0]
    >>> [abs(round(float(v), 6)) for v in nose]
    [1.0, 0.0, 0.0]
    """
    (sy, sp, sr), (cy, cp, cr) = np.sin(np.radians(pose)).T, np.cos(np.radians(pose)).T
    yaw, pitch, roll = turns = np.zeros((3, len(sy), 3, 3), sy.dtype)
    turns[:, :, [0, 1, 2], [0, 1, 2]] = 1
    yaw[:, 0, 0], yaw[:, 0, 2], yaw[:, 2, 0], yaw[:, 2, 2] = cy, sy, -sy, cy
    pitch[:, 1, 1], pitch[:, 1, 2], pitch[:, 2, 1], pitch[:, 2, 2] = cp, sp, -sp, cp
    roll[:, 0, 0], roll[:, 0, 1], roll[:, 1, 0], roll[:, 1, 1] = cr, -sr, sr, cr
    return (roll @ pitch @ yaw).astype(np.float32)


@one_thread
def rest_surface(parameters: HeadParameters) -> np.ndarray:
    """The heads with their identity and expression, not yet turned: (N, V, 3) mm, V = surface.ROWS *
    surface.COLUMNS."""
    identity, expression = deform.bases()
    moved = parameters.identity.astype(np.float32) @ identity + parameters.expression.astype(np.float32) @ expression
    return surface.mean_head().reshape(1, -1, 3) + moved.reshape(len(parameters), -1, 3)


def turn(points: np.ndarray, pose: np.ndarray, follow: np.ndarray | float = 1.0) -> np.ndarray:
    """Points (N, P, 3) turned by pose (N, 3); where `follow` (P,) is below 1 they follow the head only in part."""
    pivot = PIVOT[:, None]
    away = np.ascontiguousarray(np.swapaxes(points, 1, 2)) - pivot  # rows of x, y, z: numpy is much faster along long axes
    turned = rotations(pose) @ away
    if np.ndim(follow) > 0:
        part = np.asarray(follow, np.float32)
        body = rotations(pose * np.array([0.25, 0.1, 0.3])) @ away
        turned = part * turned + (1 - part) * body
    return np.swapaxes(turned + pivot, 1, 2)


def project(points: np.ndarray, distance: np.ndarray) -> np.ndarray:
    """Perspective picture of points (N, P, 3): x, y in mm on a plane through the middle of the head, z kept as
    nearness."""
    x, y, z = np.moveaxis(points, -1, 0)
    scale = distance[:, None].astype(np.float32) / np.maximum(distance[:, None] - z, 50.0)
    return np.swapaxes(np.stack([x * scale, y * scale, z], 1).astype(np.float32, copy=False), 1, 2)


def read(points: np.ndarray, place: np.ndarray) -> np.ndarray:
    """Values (N, ..., D) of per-vertex values (N, V, D) at places (..., 2) of (column, row)."""
    return weigh(points, *surface.corners(place))


def weigh(points: np.ndarray, index: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Values (N, ..., D) of per-vertex values (N, V, D) where `surface.corners` gave index and weight (..., 4)."""
    # Rows and plain additions: numpy is much faster along long axes, 20 us a head here instead of 160.
    a, b, c, d = np.moveaxis(np.take(np.swapaxes(points, 1, 2), index, axis=2) * weight, -1, 0)
    values = np.moveaxis(a + b + c + d, (0, 1), (-2, -1))
    # In memory the heads lie inmost but for D, which settles how sums over the other axes are rounded.
    return np.moveaxis(np.ascontiguousarray(values), -2, 0)


SOFT = 0.5  # mm: within this of the outline a part of the cheek counts as outline, so that the contour never jumps
SLID = 30.0  # mm over the cheek from its frontal place: farther than this, a contour point is not the same skin any more
TURNED = -0.3  # cosine between view and skin below which a place shows its back


@dataclass(frozen=True)
class Marks:
    """K landmarks of N projected heads."""

    points: np.ndarray  # (N, K, 2) mm
    near: np.ndarray  # (N, K) nearness, mm
    place: np.ndarray  # (N, K, 2) where on the skin, (column, row)
    turned: np.ndarray  # (N, K) bool, the skin there is turned away from the camera
    outline: np.ndarray  # (K,) bool, lies on the outline: nothing of the head itself can be in front

    def __getitem__(self, chosen: slice) -> Marks:
        """Some of the points, `marks[68:]`."""
        every = (self.points, self.near, self.place, self.turned)
        return Marks(*(v[:, chosen] for v in every), self.outline[chosen])


@lru_cache(maxsize=8)
def _skin_readings(points: int) -> tuple[np.ndarray, np.ndarray]:
    """How to read a scheme's places on the skin, and those a little to their four sides: (5, F, 4) twice."""
    place = curves.skin_places(points)[1]
    steps = np.array([[0, 0], [1.5, 0], [-1.5, 0], [0, 1.5], [0, -1.5]])  # farther than the folds of shut lips and lids
    return surface.corners(place + steps[:, None])


@lru_cache(maxsize=1)
def _contour_readings() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """How to read the contour's lines (2, L, S, 4) twice, their places, and mm over the cheek from the lines' ends."""
    place = curves.contour_places()
    skin = surface.sample_grid(surface.mean_head(), place)
    step = np.linalg.norm(np.diff(skin, axis=2), axis=-1)
    slid = np.concatenate([np.cumsum(step[..., ::-1], -1)[..., ::-1], 0 * step[..., :1]], -1)
    return *surface.corners(place), place.astype(np.float32), slid.astype(np.float32)


def _contour(projected: np.ndarray, count: int) -> np.ndarray:
    """`count` contour points as annotators place them: (N, count, 6) of x, y, nearness, column, row, mm from the anchor.

    Annotators follow the outline that they see, from beside the eyes to the chin, at even distances on each side. On
    each level of the cheek, what reaches farthest sideways is the outline.
    """
    index, weight, place, slid = _contour_readings()
    values = weigh(projected, index, weight)  # (N, 2, L, S, 3)
    ears = surface.JAW_ROW * surface.COLUMNS + np.round(surface.column_of(np.array([-90.0, 90.0]))).astype(int)
    down = projected[:, ears, :2].mean(1) - projected[:, 0, :2]
    sideways = np.stack([down[:, 1], -down[:, 0]], -1) / np.linalg.norm(down, axis=-1, keepdims=True)
    reach = (values[..., :2] * sideways[:, None, None, None]).sum(-1) * np.float32([-1, 1])[:, None, None]
    share = np.exp((reach - reach.max(-1, keepdims=True)) / np.float32(SOFT))
    share /= share.sum(-1, keepdims=True)
    fixed = np.broadcast_to(np.concatenate([place, slid[..., None]], -1), (*values.shape[:-1], 3))
    line = (np.concatenate([values, fixed], -1) * share[..., None]).sum(-2)  # (N, 2, L, 6)
    if count == 1:
        return line[:, 0, -1:]
    step = np.linalg.norm(np.diff(line[..., :2], axis=2), axis=-1)
    length = np.concatenate([0 * step[..., :1], np.cumsum(step, -1)], -1)
    half = count // 2 + 1
    even = np.empty((len(projected), 2, half, 6), np.float32)
    for n, side in np.ndindex(*length.shape[:2]):
        at = np.linspace(0, length[n, side, -1], half)
        for k in range(6):
            even[n, side, :, k] = np.interp(at, length[n, side], line[n, side, :, k])
    return np.concatenate([even[:, 0], even[:, 1, -2::-1]], 1)


def _pupils(projected: np.ndarray, irises: np.ndarray | None) -> np.ndarray:
    """Both pupils (N, 2, 5) of x, y, nearness, column, row: the middle of the iris, or of the slit where lids hide it."""
    place = curves.lid_places()
    lids = read(projected, place)  # (N, 2 eyes, 2 lids, 5, 3)
    first, last, middle = lids[:, :, 0, 0, :2], lids[:, :, 0, 4, :2], lids[:, :, :, 2].mean(2)
    wanted = middle[..., :2] if irises is None else irises
    axis = last - first
    along = ((wanted - first) * axis).sum(-1) / np.maximum((axis * axis).sum(-1), 1e-3)
    at = np.clip(along, 0.08, 0.92) * 4
    low = np.minimum(at.astype(int), 3)[:, :, None, None, None]
    part = (at[:, :, None, None] - low[..., 0])[..., None]
    a, b = (np.take_along_axis(lids, np.broadcast_to(low + k, (*lids.shape[:3], 1, 3)), 3) for k in (0, 1))
    upper, lower = np.moveaxis((a + (b - a) * part)[..., 0, :], 2, 0)
    gap = (lower - upper)[..., :2]
    open_ = np.clip(((wanted - upper[..., :2]) * gap).sum(-1) / np.maximum((gap * gap).sum(-1), 1e-3), 0, 1)[..., None]
    found = upper + open_ * (lower - upper)
    short = at / 4 - ((found[..., :2] - first) * axis).sum(-1) / np.maximum((axis * axis).sum(-1), 1e-3)
    found[..., :2] += short[..., None] * axis
    return np.concatenate([found, np.tile(place[:, :, 2].mean(1), (len(projected), 1, 1))], -1)


def marks(projected: np.ndarray, points: int = 68, irises: np.ndarray | None = None) -> Marks:
    """The landmarks of projected surfaces (N, V, 3) in a scheme of 68, 98, 29 or 19 points, and how they can be seen.

    Points inside the face are fixed places on the skin; those of the contour follow the visible outline; pupils are at
    `irises` (N, 2, 2) mm, or in the middle of the eyes where that is None.
    """
    n = len(projected)
    numbers, place = curves.skin_places(points)
    index, weight = _skin_readings(points)
    middle, right, left, lower, upper = np.moveaxis(weigh(projected, index, weight), 1, 0)
    (ax, ay, az), (dx, dy, dz) = np.moveaxis(right - left, -1, 0), np.moveaxis(lower - upper, -1, 0)
    facing = ax * dy - ay * dx
    size = np.sqrt((ay * dz - az * dy) ** 2 + (az * dx - ax * dz) ** 2 + facing**2)
    every = np.zeros((n, points, 5), np.float32)
    turned = np.zeros((n, points), bool)
    outline = np.zeros(points, bool)
    every[:, numbers] = np.concatenate([middle, np.broadcast_to(place, (n, *place.shape))], -1)
    turned[:, numbers] = facing < TURNED * size
    contour = list(curves.CONTOUR[points])
    followed = _contour(projected, len(contour))
    every[:, contour], turned[:, contour], outline[contour] = followed[..., :5], followed[..., 5] > SLID, True
    if curves.PUPILS[points]:
        every[:, list(curves.PUPILS[points])] = _pupils(projected, irises)
    return Marks(every[..., :2], every[..., 2], every[..., 3:], turned, outline)


def landmarks(projected: np.ndarray, points: int = 68, irises: np.ndarray | None = None) -> np.ndarray:
    """The landmarks (N, points, 2), mm, of projected surfaces (N, V, 3); see `marks`."""
    return marks(projected, points, irises).points


def square_boxes(points: np.ndarray, expand: float) -> np.ndarray:
    """Square boxes (N, 4) x0 y0 x1 y1 about the tight box of points (N, K, 2), side = expand * its larger side.

    >>> square_boxes(np.array([[[0.0, 0.0], [4.0, 2.0]]]), 2.0).tolist()
    [[-2.0, -3.0, 6.0, 5.0]]
    """
    if expand <= 0:
        raise InputError(f"expand is {expand}; it must be greater than 0")
    low, high = points.min(1), points.max(1)
    half = (high - low).max(-1, keepdims=True) * expand / 2
    return np.concatenate([(low + high) / 2 - half, (low + high) / 2 + half], -1)
