"""Draws heads: a mesh in perspective, painted layers, light, hair, things in front, a camera. About 100 faces a second
and core.

The camera looks exactly at a square crop: its edges lie at -0.5 and size - 0.5 of the picture, pixel centres at
integers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np

from fa_lib.data.synthetic import curves, hair, head, paint, people, raster, surface, texture
from fa_lib.data.synthetic.camera import photograph
from fa_lib.data.synthetic.head import HeadParameters
from fa_lib.data.synthetic.scenery import background
from fa_lib.data.synthetic.things import put_in_front
from fa_lib.data.synthetic.threads import one_thread
from fa_lib.errors import InputError


class Rendered(NamedTuple):
    """N pictures and their K landmarks: 0-based pixels, order (x, y), pixel centres at integers."""

    images: np.ndarray  # (N, size, size, 3) uint8 RGB
    landmarks: np.ndarray  # (N, K, 2) float32
    visible: np.ndarray  # (N, K) bool, False where the head itself, or something before it, hides the point


@one_thread
def render(
    parameters: HeadParameters, size: int, *, expand: float = 1.925, view: np.ndarray | None = None,
    frame: np.ndarray | None = None, points: int = 68,
) -> Rendered:  # fmt: skip
    """Draw heads and tell where their landmarks are and which of them can be seen.

    Args:
        parameters: N heads.
        size: side of the square pictures in pixels.
        expand: side of the picture over the larger side of the landmarks' tight box, which lies in its middle.
        view: explicit square windows (N, 4) x0 y0 x1 y1 in the projected millimetres of the head, instead of `expand`.
        frame: number of the frame (N,) in a clip; the same head has the same background, but other sensor noise.
        points: the scheme of the landmarks, 68, 98, 29 or 19.
    Raises:
        InputError: size below 16, a view of another shape, or a number of points that no scheme has.
    """
    if size < 16:
        raise InputError(f"size is {size} pixels; a face needs at least 16")
    if points not in curves.CONTOUR:
        raise InputError(f"points is {points}; a head has {', '.join(map(str, curves.CONTOUR))} points")
    if view is not None and np.shape(view) != (len(parameters), 4):
        raise InputError(f"view has shape {np.shape(view)}; it must be ({len(parameters)}, 4): x0 y0 x1 y1 of each face")
    images = np.empty((len(parameters), size, size, 3), np.uint8)
    landmarks = np.empty((len(parameters), points, 2), np.float32)
    visible = np.empty((len(parameters), points), bool)
    for i in range(len(parameters)):
        one = parameters[i : i + 1]
        rest = head.rest_surface(one)
        posed = head.turn(rest, one.pose, _FOLLOW)
        flat = head.project(posed, one.distance)
        standard = head.marks(flat)
        marks = standard if points == 68 else head.marks(flat, points, irises(one, rest))
        box = head.square_boxes(marks.points, expand)[0] if view is None else np.asarray(view[i], float)
        across, landmarks[i] = ((m.points[0] - box[:2]) / (box[2] - box[0]) * size - 0.5 for m in (standard, marks))
        shot = _Shot(one, rest, posed, flat, box, size, 0 if frame is None else int(frame[i]))
        images[i], visible[i] = _picture(shot, across.astype(np.float32), marks, landmarks[i])
    return Rendered(images, landmarks, visible)


def irises(parameters: HeadParameters, rest: np.ndarray) -> np.ndarray:
    """Where the middles of both irises are drawn, (N, 2, 2) mm, on heads whose surfaces before turning are rest (N, V, 3)."""
    every = [paint.eyes(parameters[i : i + 1], rest[i : i + 1], lambda flat: flat) for i in range(len(parameters))]
    return np.array([[centre for centre, _ in both] for both in every], np.float32)


_FOLLOW = np.repeat(surface.follow_head(), surface.COLUMNS)


def _to_pixels(flat: np.ndarray, box: np.ndarray, size: int) -> np.ndarray:
    scale, (x, y, z) = np.float32(size / (box[2] - box[0])), flat.T
    left, top = box[:2].astype(np.float32)
    return np.stack([(x - left) * scale - 0.5, (y - top) * scale - 0.5, z]).T


@dataclass(frozen=True)
class _Shot:
    """One head before the camera."""

    one: HeadParameters
    rest: np.ndarray  # (1, V, 3) before turning
    posed: np.ndarray  # (1, V, 3)
    flat: np.ndarray  # (1, V, 3) projected
    box: np.ndarray  # (4,) what the picture shows, in projected mm
    size: int
    frame: int


def _picture(shot: _Shot, standard: np.ndarray, marks: head.Marks, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """One finished picture (size, size, 3) uint8, and which of its points (K, 2) can be seen; standard: its 68 points."""
    one, size = shot.one, shot.size
    rng = np.random.default_rng(int(one.seed[0]))
    fine = size * (16 if size <= 64 else 12 if size <= 96 else 9) // 8  # drawn larger, then averaged
    locks = None if one.style[0, 0] == people.BALD else _hair_surface(one, shot.rest)
    offset = rng.integers(0, 512, 2).astype(np.float32)
    xyz = _to_pixels(shot.flat[0], shot.box, fine)
    hit, place, nearness = raster.rasterise(xyz, (surface.ROWS, surface.COLUMNS), fine)
    near = np.full(fine * fine, -1e9, np.float32)
    near[hit] = nearness
    at = (points + 0.5) * (fine / size) - 0.5
    visible = _unhidden(near, marks, at, fine) & ~paint.covered(one, marks.place[0])
    canvas = np.zeros((fine * fine, 4), np.float32)  # linear RGB times alpha, alpha
    over = np.zeros(fine * fine, np.float32)  # how opaque the hair is
    if locks is not None:
        front, colour, alpha = _hair(shot, locks, fine, offset, near)
        over[front] = alpha
        visible &= over[_nearest(at, fine)] < 0.5
        shown = np.flatnonzero(over[hit] < 1)  # skin below opaque hair need not be painted
        hit, place = hit[shown], np.take(place, shown, axis=0)
    if len(hit):
        _put(canvas, hit, _skin(shot, xyz, near.reshape(fine, fine), hit, place, offset))
    if locks is not None:
        if hair.of(one).deep:
            behind, inside, thick = _hair(shot, locks, fine, offset, near, back=True)
            _put(canvas, behind, inside * thick)
        below = np.take(canvas, front, axis=0).T  # twenty times as fast as canvas[front]
        _put(canvas, front, below * (1 - alpha) + colour * alpha)
    canvas = canvas.reshape(fine, fine, 4)
    if fine != size:
        canvas = cv2.resize(canvas, (size, size), interpolation=cv2.INTER_AREA)
    scene = background(one, size, rng)
    scene *= cv2.cvtColor(1 - canvas[..., 3], cv2.COLOR_GRAY2BGR)
    scene += cv2.cvtColor(canvas, cv2.COLOR_BGRA2BGR)
    scene, cover = put_in_front(scene, one, standard, rng)
    visible &= cover.ravel()[_nearest(points, size)] < 0.5
    return photograph(scene, one, np.random.default_rng([int(one.seed[0]), shot.frame])), visible


def _put(canvas: np.ndarray, pixels: np.ndarray, rows: np.ndarray) -> None:
    """Set some pixels (P,) of a canvas (h * w, 4) float32 to rows (4, P)."""
    if len(pixels):  # seen as one complex number a pixel, which numpy moves seven times as fast as four numbers
        canvas.view(np.complex128)[pixels, 0] = np.ascontiguousarray(rows.T).view(np.complex128)[:, 0]


def _nearest(points: np.ndarray, size: int) -> np.ndarray:
    """Flat numbers of the pixels nearest to points (..., 2) of a square picture; beyond the border, those of the border."""
    x, y = np.moveaxis(np.clip(np.round(points), 0, size - 1).astype(int), -1, 0)
    return y * size + x


BEHIND = 4.0  # mm: a point that lies deeper than what the pixels around it show is hidden


_AROUND = np.array([(dx, dy) for dx in (-1, 0, 1) for dy in (-1, 0, 1)])[:, None]


def _unhidden(near: np.ndarray, marks: head.Marks, points: np.ndarray, size: int) -> np.ndarray:
    """Which points (K, 2) of one head its own skin does not hide, by the nearness (size * size,) of what is seen."""
    around = near[_nearest(points + _AROUND, size)]
    hidden = (around.min(0) > marks.near[0] + BEHIND) & ~marks.outline
    return ~(hidden | marks.turned[0])


def _hair_surface(one: HeadParameters, rest: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The posed hair surface (rows, columns, 3) and its projection (V, 3)."""
    style = hair.of(one)
    n = hair.ROWS * surface.COLUMNS
    moved = (rest[0] - surface.mean_head().reshape(-1, 3))[:n]  # the scalp goes with the skin
    start = style.shape.reshape(-1, 3) + moved
    falls = np.interp(np.arange(hair.ROWS), (surface.row_of(20.0), hair.ROWS), (1.0, 0.55))
    posed = head.turn(start[None], one.pose, np.repeat(falls, surface.COLUMNS).astype(np.float32) if style.long else 1.0)
    return posed[0].reshape(hair.ROWS, surface.COLUMNS, 3), head.project(posed, one.distance)[0]


def _lookup(grid: np.ndarray, place: np.ndarray) -> np.ndarray:
    return cv2.remap(grid, place, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


def packed(place: np.ndarray) -> np.ndarray:
    """Places (P, 2) as a padded picture (rows, 256, 2), as cv2.remap limits the length of a side."""
    padded = np.zeros((-(-len(place) // 256) * 256, 2), np.float32)
    padded[: len(place)] = place
    return padded.reshape(-1, 256, 2)


def _skin(shot: _Shot, xyz: np.ndarray, near: np.ndarray, hit: np.ndarray, place: np.ndarray, offset: np.ndarray) -> np.ndarray:
    """Linear RGB and alpha (4, P) of head, neck and shoulders.

    Args: xyz (V, 3) pixels and nearness; near (h, w) nearness of all pixels; hit (P,) and place (P, 2) of those to paint.
    """
    one, at = shot.one, packed(place)
    dark = paint.shadows(one, xyz, near, np.ptp(xyz[:, 0]) / np.ptp(shot.flat[0, :, 0]))
    light = _lookup(paint.light_map(shot.posed[0].reshape(surface.ROWS, surface.COLUMNS, 3), one, dark), at)
    cell = np.linalg.norm(xyz[surface.COLUMNS * 30 + 35, :2] - xyz[surface.COLUMNS * 31 + 35, :2])
    k = 8 if cell > 5 else 4 if cell > 2.2 else 2
    texel = at * k
    masks = [mask.ravel()[: len(hit)] for layers in texture.layers(k) for mask in cv2.split(_lookup(layers, texel))]
    grain = texture.grain(at, (texture.GRAIN, texture.GRAIN), offset)[:3, : len(hit)]
    seen = texture.Seen(hit, len(near), place, masks, grain, cv2.transpose(light.reshape(-1, 4)[: len(hit)]))
    iris = paint.eyes(one, shot.rest, lambda flat: _to_pixels(flat, shot.box, len(near)))
    return np.concatenate([paint.skin(one, seen, iris, shot.rest), np.ones((1, len(hit)))]).astype(np.float32)


def _hair(
    shot: _Shot, locks: tuple, size: int, offset: np.ndarray, near: np.ndarray, back: bool = False
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The outside of the hair over the head, or with `back` its inside where there is no head.

    Returns the P pixels on which it is seen, their linear RGB and 1 (4, P), and how opaque it is (P,).
    """
    grid, flat = locks
    style = hair.of(shot.one)
    xyz = _to_pixels(flat, shot.box, size)
    hit, place, nearness = raster.rasterise(xyz, (hair.ROWS, surface.COLUMNS), size, back=back, stride=2)
    keep = np.flatnonzero(near[hit] < -1e8 if back else nearness > near[hit] - 5)
    hit, place = hit[keep], np.take(place, keep, axis=0)
    if len(hit) and not back:
        keep = np.flatnonzero(_lookup(style.cover, packed(place)).ravel()[: len(hit)] > -2 * style.fray)
        hit, place = hit[keep], np.take(place, keep, axis=0)
    if len(hit) == 0:
        return hit, np.empty((4, 0), np.float32), np.empty(0, np.float32)
    return hit, *paint.locks(shot.one, grid, style, packed(place), len(hit), offset, back)
