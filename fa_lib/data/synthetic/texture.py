"""Painted layers of the skin: masks in the (column, row) frame of the grid, made once from the feature curves."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np

from fa_lib.data.synthetic import curves, surface

FINEST = 8  # texels per grid cell
LAYERS = ("lips", "eye", "mouth", "brow", "shade", "red", "lash", "beard", "cloth", "fold", "lid_shadow", "orbit")


def _texel_shape(k: int) -> tuple[int, int]:
    return (surface.ROWS - 1) * k + 1, (surface.COLUMNS - 1) * k + 1


def _frontal(k: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Frontal x, y (mm) and the row number of every texel; the back of the head has x = 999."""
    h, w = _texel_shape(k)
    column, row = (v.astype(np.float32) for v in np.meshgrid(np.arange(w) / k, np.arange(h) / k))
    head = surface.mean_head()
    x, y = (cv2.remap(np.ascontiguousarray(head[..., i]), column, row, cv2.INTER_LINEAR) for i in (0, 1))
    x[np.abs(np.interp(column, np.arange(surface.COLUMNS), surface.THETA)) > 100] = 999
    return x, y, row


def _polygon(k: int, place: np.ndarray) -> np.ndarray:
    mask = np.zeros(_texel_shape(k), np.uint8)
    cv2.fillPoly(mask, [np.round(place * k * 256).astype(np.int32)], 255, cv2.LINE_AA, 8)
    return mask.astype(np.float32) / 255


def _stroke(k: int, frontal: np.ndarray | tuple, width: float, blur: float) -> np.ndarray:
    """A soft line along frontal points (mm); width in mm, blur in texels of the finest layer."""
    place = surface.locate(np.asarray(frontal, float))
    mask = np.zeros(_texel_shape(k), np.uint8)
    thick = max(1, round(width * k / 3.4))
    cv2.polylines(mask, [np.round(place * k * 256).astype(np.int32)], False, 255, thick, cv2.LINE_AA, 8)
    return cv2.GaussianBlur(mask, (0, 0), max(blur * k / FINEST, 0.3)).astype(np.float32) / 255


def _both(points: tuple) -> list[np.ndarray]:
    p = np.array(points, float)
    return [p, p * [-1, 1]]


def _spot(x: np.ndarray, y: np.ndarray, at: tuple[float, float], spread: tuple[float, float]) -> np.ndarray:
    return np.exp(-0.5 * (((np.abs(x) - at[0]) / spread[0]) ** 2 + ((y - at[1]) / spread[1]) ** 2))


def _brows(k: int) -> np.ndarray:
    total = np.zeros(_texel_shape(k), np.float32)
    line = curves.frontal_curves()
    for side in ("left", "right"):
        band = np.concatenate([line[f"{side}_brow_top"], line[f"{side}_brow_bottom"][::-1]])
        total += _polygon(k, surface.locate(band))
    return cv2.GaussianBlur(total, (0, 0), 4.0 * k / FINEST)  # its soft edge makes wide and narrow brows


def _shade(k: int, x: np.ndarray, y: np.ndarray, row: np.ndarray) -> np.ndarray:
    """Darkening by folds and hollows, 1 = none: nostrils, creases, line between the lips, under the jaw."""
    lines = curves.frontal_curves()
    dark = 0.75 * np.maximum.reduce([np.clip(1.5 * _spot(x, y, (6.8, 45.6), (2.5, 1.1)), 0, 1)])
    for p in _both(((-17.5, 34), (-19, 39), (-17.5, 43.5), (-14, 46))):
        dark = np.maximum(dark, 0.5 * _stroke(k, p, 1.2, 4))
    for p in _both(((-19, 44), (-26, 51), (-32, 60), (-34, 67))):
        dark = np.maximum(dark, 0.16 * _stroke(k, p, 2.4, 9))
    for side in ("left", "right"):
        lid = lines[f"{side}_upper_lid"]
        dark = np.maximum(dark, 0.42 * _stroke(k, lid * [1.03, 1] - [0, 4.2], 1.0, 3.0))
        dark = np.maximum(dark, 0.15 * _stroke(k, lines[f"{side}_lower_lid"][6:] + [0, 5.5], 2.5, 9))
    for name in ("inner_upper_lip", "inner_lower_lip"):
        dark = np.maximum(dark, 0.75 * _stroke(k, lines[name], 0.9, 2.2))
    for p in _both(((-26, 64.4), (-29, 65.3))):
        dark = np.maximum(dark, 0.4 * _stroke(k, p, 2, 6))
    dark = np.maximum(dark, 0.22 * _spot(x, y, (0, 82.5), (11, 3.2)) * (np.abs(x) < 500))
    dark = np.maximum(dark, 0.14 * _spot(x, y, (0, 53), (2.2, 4)))
    dark = np.maximum(dark, 0.22 * _spot(x, y, (19, -5), (5, 7)))
    under = np.interp(row, surface.JAW_ROW + np.array([-0.3, 1.2, 6, 10]), (0, 0.5, 0.48, 0.1))
    # Below the ears the jaw has no edge, so the shadow fades there.
    theta = np.abs(np.interp(np.arange(row.shape[1]) / k, np.arange(surface.COLUMNS), surface.THETA))
    soft = np.interp(row, surface.JAW_ROW + np.array([-1.5, 4, 6, 10]), (0, 0.3, 0.3, 0.1))
    under = soft + (under - soft) * np.interp(theta, (40, 72), (1, 0))
    return (1 - np.maximum(np.maximum(dark, under), _ear_hollows(k))).astype(np.float32)


def _ear_hollows(k: int) -> np.ndarray:
    """Darkening inside and behind the ears."""
    h, w = _texel_shape(k)
    theta = np.abs(np.interp(np.arange(w) / k, np.arange(surface.COLUMNS), surface.THETA))[None]
    y = np.interp(np.arange(h) / k, np.arange(len(surface.FACE_Y)), surface.FACE_Y)[:, None] / surface.CHIN * 36
    y = np.where(y < 0, y * surface.CHIN / 36, y) - 8
    bowl = 0.5 * np.exp(-0.5 * (((theta - 96.0) / 2.2) ** 2 + (y / 9) ** 2))
    rim = 0.35 * np.exp(-0.5 * (((theta - 98.5 - 0.1 * y) / 1.0) ** 2)) * np.exp(-((y / 18) ** 4))
    back = 0.45 * np.exp(-0.5 * ((theta - 109) / 3.5) ** 2) * np.exp(-((y / 30) ** 4))
    return np.maximum(np.maximum(bowl, rim), back).astype(np.float32)


def _orbits(k: int) -> np.ndarray:
    """The lids above the eyes up to the brows' lower edge, and the bags below the eyes."""
    total = np.zeros(_texel_shape(k), np.float32)
    for side in ("left", "right"):
        upper, lower = (curves.frontal_curves()[f"{side}_{part}_lid"] for part in ("upper", "lower"))
        s = np.sin(np.linspace(0, np.pi, len(upper)))[:, None] * [0, 1]
        total += _polygon(k, surface.locate(np.concatenate([upper - [0, 1], (upper - [0, 1] - 6.5 * s)[::-1]])))
        total += _polygon(k, surface.locate(np.concatenate([lower + [0, 2.5], (lower + [0, 2.5] + 6.5 * s)[::-1]])))
    return cv2.GaussianBlur(total, (0, 0), 5.0 * k / FINEST)


def _beard(x: np.ndarray, y: np.ndarray, row: np.ndarray, lips: np.ndarray) -> np.ndarray:
    ax = np.abs(x)
    jaw = np.clip((y - np.interp(ax, (0, 22, 40, 58, 72), (84, 76, 68, 46, 12))) / 7, 0, 1)
    lip = np.clip(1 - np.abs(y - 54 - 0.02 * ax**1.6) / 6, 0, 1) * np.clip((33 - ax) / 6, 0, 1) * np.clip(ax / 4 + 0.5, 0, 1)
    side = np.clip(1 - np.abs(ax - 33) / 6, 0, 1) * np.clip((y - 60) / 8, 0, 1)
    area = np.maximum.reduce([jaw, np.clip(1.6 * lip, 0, 1), side]) * np.clip((surface.JAW_ROW + 3.5 - row) / 3, 0, 1)
    return np.where(ax < 500, area, 0) * (1 - lips)


@lru_cache(maxsize=4)
def layers(k: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Three uint8 pictures of four or three layers each, k texels per grid cell, in the order of LAYERS."""
    if k < FINEST:
        finer = layers(k * 2)
        h, w = _texel_shape(k)
        return tuple(np.ascontiguousarray(cv2.GaussianBlur(f, (0, 0), 0.7)[::2, ::2][:h, :w]) for f in finer)
    x, y, row = _frontal(k)
    place = curves.surface_curves()
    eye = sum(_polygon(k, np.concatenate([place[f"{s}_upper_lid"], place[f"{s}_lower_lid"][1:-1]])) for s in ("left", "right"))
    mouth = _polygon(k, np.concatenate([place["inner_upper_lip"], place["inner_lower_lip"][1:-1]]))
    lips = _polygon(k, np.concatenate([place["outer_upper_lip"], place["outer_lower_lip"][1:-1]]))
    lips = cv2.GaussianBlur(lips, (0, 0), 2.0 * k / FINEST)
    line = curves.frontal_curves()
    lash = np.maximum.reduce(
        [_stroke(k, line[f"{s}_upper_lid"] - [0, 0.3], 1.3, 1.3) for s in ("left", "right")]
        + [0.45 * _stroke(k, line[f"{s}_lower_lid"] + [0, 0.2], 0.6, 1.5) for s in ("left", "right")]
    )
    red = 0.8 * _spot(x, y, (43, 33), (14, 11)) + 0.6 * _spot(x, y, (0, 38), (11, 8)) + 0.35 * _spot(x, y, (0, 104), (14, 7))
    fold = sum(0.6 * _stroke(k, p, 1.5, 3) for p in _both(((-17, 45), (-27, 52), (-33, 61), (-35, 70))))
    for level in (-48, -58, -68):
        fold = fold + 0.4 * _stroke(k, ((-34, level + 3), (-15, level), (0, level + 2), (15, level), (34, level + 3)), 1.2, 3)
    for p in _both(((-49, 2), (-57, 6))) + _both(((-49, -1), (-58, -3))) + _both(((-22, 10), (-32, 13), (-42, 10))):
        fold = fold + 0.4 * _stroke(k, p, 0.9, 2.5)
    cloth = np.clip((row - surface.COLLAR_ROW - 0.5) * 3, 0, 1)
    lid = sum(_stroke(k, line[f"{s}_upper_lid"] + [0, 0.6], 3.0, 4) for s in ("left", "right"))
    every = (
        lips, eye, mouth, _brows(k), _shade(k, x, y, row), red, lash, _beard(x, y, row, lips),
        cloth, fold, lid, _orbits(k),
    )  # fmt: skip
    stack = np.stack([np.clip(v, 0, 1) for v in every], -1)
    stack = np.round(stack * 255).astype(np.uint8)
    return tuple(np.ascontiguousarray(stack[..., i : i + 4]) for i in (0, 4, 8))


GRAIN = 11  # most texels of noise per cell of the grid


@lru_cache(maxsize=1)
def noise() -> np.ndarray:
    """Random patterns (h, w, 4) uint8 around 128: soft blotches, pores, strands along rows, curls.

    A tile of 512 texels repeats so often that the whole grid fits in from any place in the first tile: looking up beyond
    the border of a single tile would take six times as long.
    """
    h, w = 512 + GRAIN * surface.ROWS, 512 + GRAIN * surface.COLUMNS
    return np.ascontiguousarray(np.tile(_noise_tile(), (3, 3, 1))[:h, :w])


def _noise_tile() -> np.ndarray:
    rng = np.random.default_rng(17)

    def field(spread_x: float, spread_y: float) -> np.ndarray:
        white = np.tile(rng.normal(size=(512, 512)).astype(np.float32), (2, 2))
        soft = cv2.GaussianBlur(white, (0, 0), sigmaX=spread_x, sigmaY=spread_y)[256:768, 256:768]
        return soft / soft.std()

    blotch = 0.7 * field(14, 14) + 0.5 * field(5, 5)
    strand = 0.8 * field(1.0, 18) + 0.6 * field(3.5, 30)
    curl = 0.8 * field(3, 3) + 0.6 * field(8, 8)
    stack = np.stack([blotch, 0.8 * field(0.9, 0.9) + 0.5 * field(2, 2), strand, curl], -1)
    return np.clip(128 + 42 * stack, 0, 255).astype(np.uint8)


def grain(at: np.ndarray, texels: tuple[int, int], offset: np.ndarray) -> np.ndarray:
    """The four patterns of the noise (4, P), -1..1, at packed places; texels: across and down in a cell of the grid."""
    across, down = at[..., 0] * texels[0] + offset[0], at[..., 1] * texels[1] + offset[1]
    looked_up = cv2.remap(noise(), across, down, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.stack(cv2.split(looked_up)).reshape(4, -1).astype(np.float32) / 128 - 1


@dataclass(frozen=True)
class Seen:
    """The P pixels of a square picture on which the head is seen."""

    hit: np.ndarray  # (P,) their flat numbers
    size: int  # of the picture
    place: np.ndarray  # (P, 2)
    masks: list[np.ndarray]  # (P,) uint8 for each of LAYERS
    grain: np.ndarray  # (3, P) blotches, pores, strands, -1..1
    light: np.ndarray  # (4, P)

    def xy(self, where: np.ndarray) -> np.ndarray:
        """Pixels (n, 2) of some of them."""
        y, x = np.divmod(self.hit[where], self.size)
        return np.stack([x, y], -1)

    def layer(self, name: str, where: np.ndarray | slice = slice(None)) -> np.ndarray:
        """One painted layer as (P,) float32 in [0, 1]."""
        return self.masks[LAYERS.index(name)][where].astype(np.float32) * np.float32(1 / 255)
