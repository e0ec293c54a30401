"""Parameters of a head, how to draw people at random, and the posed surface with its 68 landmarks.

Frame: millimetres, x to picture-right, y down, z towards the camera. Yaw > 0 turns the nose to picture-right, pitch >
0 looks down, roll > 0 turns clockwise in the picture; the head turns about the neck and the shoulders follow only a
little.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from functools import lru_cache

import numpy as np

from fa_lib.data.synthetic import curves, deform, surface
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
    one, zero = np.ones_like(sy), np.zeros_like(sy)
    yaw = np.stack([cy, zero, sy, zero, one, zero, -sy, zero, cy], -1).reshape(-1, 3, 3)
    pitch = np.stack([one, zero, zero, zero, cp, sp, zero, -sp, cp], -1).reshape(-1, 3, 3)
    roll = np.stack([cr, -sr, zero, sr, cr, zero, zero, zero, one], -1).reshape(-1, 3, 3)
    return (roll @ pitch @ yaw).astype(np.float32)


def rest_surface(parameters: HeadParameters) -> np.ndarray:
    """The heads with their identity and expression, not yet turned: (N, V, 3) mm, V = surface.ROWS *
    surface.COLUMNS."""
    identity, expression = deform.bases()
    moved = parameters.identity.astype(np.float32) @ identity + parameters.expression.astype(np.float32) @ expression
    return surface.mean_head().reshape(1, -1, 3) + moved.reshape(len(parameters), -1, 3)


def turn(points: np.ndarray, pose: np.ndarray, follow: np.ndarray | float = 1.0) -> np.ndarray:
    """Points (N, P, 3) turned by pose (N, 3); where `follow` (P,) is below 1 they follow the head only in part."""
    away = points - PIVOT
    head = away @ np.swapaxes(rotations(pose), 1, 2)
    if np.ndim(follow) == 0:
        return head + PIVOT
    body = away @ np.swapaxes(rotations(pose * np.array([0.25, 0.1, 0.3])), 1, 2)
    part = np.asarray(follow, np.float32)[None, :, None]
    return part * head + (1 - part) * body + PIVOT


def project(points: np.ndarray, distance: np.ndarray) -> np.ndarray:
    """Perspective picture of points (N, P, 3): x, y in mm on a plane through the middle of the head, z kept as
    nearness."""
    scale = distance[:, None].astype(np.float32) / np.maximum(distance[:, None] - points[..., 2], 50.0)
    return np.stack([points[..., 0] * scale, points[..., 1] * scale, points[..., 2]], -1).astype(np.float32)


def read(points: np.ndarray, place: np.ndarray) -> np.ndarray:
    """Values (N, ..., D) of per-vertex values (N, V, D) at places (..., 2) of (column, row)."""
    index, weight = surface.corners(place)
    return (points[:, index] * weight[..., None]).sum(-2)


@lru_cache(maxsize=1)
def _marked_places() -> tuple[np.ndarray, np.ndarray]:
    """How to read the inner landmarks, the jaw's lines, and places half a cell to the four sides of those lines."""
    lines = curves.jaw_places().reshape(-1, 2)
    steps = np.array([[0, 0], [0.5, 0], [-0.5, 0], [0, 0.5], [0, -0.5]])
    return surface.corners(np.concatenate([curves.inner_places(), *(lines + step for step in steps)]))


def landmarks(projected: np.ndarray) -> np.ndarray:
    """The 68 landmarks (N, 68, 2), mm, of projected surfaces (N, V, 3).

    The 51 inner points are fixed places on the skin. Each jaw point lies at the outer end of its line over the cheek,
    or, where the skin there is turned away from the camera, at the place where the line passes the visible outline.
    """
    index, weight = _marked_places()
    flat = np.ascontiguousarray(projected[..., :2])
    values = (flat[:, index] * weight[..., None]).sum(-2)
    inner, rest = values[:, :51], values[:, 51:]
    lines, right, left, lower, upper = np.moveaxis(rest.reshape(len(rest), 5, 17, -1, 2), 1, 0)  # each (N, 17, S, 2)
    across, down = right - left, lower - upper
    facing = across[..., 0] * down[..., 1] - across[..., 1] * down[..., 0]  # area of a cell in the picture
    last = facing.shape[-1] - 1
    best = last - (facing > 0)[..., ::-1].argmax(-1)[..., None]  # the outermost place that faces the camera
    best = np.where((facing > 0).any(-1, keepdims=True), best, 0)
    a, b = (np.take_along_axis(facing, np.minimum(best + d, last), -1) for d in (0, 1))
    part = np.where(best < last, np.clip(a / np.maximum(a - b, 1e-9), 0, 1), 0)[..., None]
    p, q = (np.take_along_axis(lines, np.minimum(best + d, last)[..., None], 2) for d in (0, 1))
    jaw = (p * (1 - part) + q * part)[:, :, 0]
    return np.concatenate([jaw, inner], 1).astype(np.float32)


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
