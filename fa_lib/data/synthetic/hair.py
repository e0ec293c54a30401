"""Hair and hats as a second skin over the skull: how thick they are and where they end, per style and variant."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from fa_lib.data.synthetic import people, surface
from fa_lib.data.synthetic.head import HeadParameters

ROWS = surface.JAW_ROW + 1
VARIANTS = 24  # of every style: hair line, parting, length and thickness differ
# Height of the hair line (mm, y down) at angles around the head, short hair: forehead, temple, sideburn, ear, nape.
LINE_AT = (0, 20, 40, 52, 62, 70, 77, 84, 98, 108, 125, 180)
LINE = (-70, -71, -68, -57, -36, -2, 18, 0, -28, 15, 42, 48)
# Thickness in mm at the sides and at the crown.
THICK = {
    people.BALD: (0.5, 0.5), people.BUZZ: (1.5, 2.5), people.SHORT: (5, 14), people.RECEDING: (4, 6), people.FRINGE: (9, 13),
    people.LONG: (11, 12), people.CURLY: (20, 26), people.TIED: (3.5, 7), people.PARTED: (9, 17), people.AFRO: (38, 40),
    people.SCARF: (8, 9), people.CAP: (9, 13), people.BEANIE: (8, 15), people.BRIM: (10, 26), people.HOOD: (19, 22),
    people.WAVES: (17, 16),
}  # fmt: skip
FALLS = (people.LONG, people.WAVES)  # styles whose hair hangs down beside the face
BRIMS = {people.CAP: 58, people.BRIM: 48}  # mm by which they stand out over the brow
BRIM_ROW = 10  # of the grid, just above the brows


@dataclass(frozen=True)
class Style:
    """Rest shape of one hair style: surface (ROWS, C, 3) mm; cover (ROWS, C) mm inside the hair line; frayed edge in
    mm."""

    shape: np.ndarray
    cover: np.ndarray
    fray: float
    curl: float
    long: bool
    deep: bool  # thick enough that its inside can be seen beside the face
    shade: float  # mm below its edge that it can keep from the light


def _line(style: int, theta: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    theta = theta * rng.choice((-1, 1))
    a = np.abs(theta)
    line = np.interp(a, LINE_AT, LINE)
    if style == people.RECEDING:
        line = line - 9 * np.exp(-((a / 45) ** 4)) - rng.uniform(8, 22) * np.exp(-(((a - 34) / 16) ** 2))
    if style == people.FRINGE:
        low = rng.uniform(-46, -20)
        line = np.where(a < 62, np.maximum(line, np.interp(a, (0, 45, 62), (low - 2, low + 2, low + 12))), line)
    if style == people.PARTED:
        line = line + rng.uniform(0.6, 1.9) * np.interp(theta, (-70, -45, -24, 10, 40, 62, 80), (3, 0, -6, 6, 13, 10, 0))
    if style in FALLS:
        near = np.array((0, 12, 30, 46, 58, 66, 74, 82)) - np.array((0, 0, 0, 1, 1, 1, 1, 1)) * rng.uniform(-4, 11)
        line = np.interp(a, near, (-74, -70, -60, -42, -10, 40, 120, 160))
    if style == people.SCARF:
        line = np.interp(a, (0, 25, 45, 60, 72, 84, 110, 180), (-55, -53, -42, -22, 6, 34, 48, 60))
    if style == people.HOOD:
        line = np.interp(a, (0, 25, 45, 58, 68, 76, 84, 180), (-76, -74, -62, -38, 0, 60, 130, 130))
    if style in (people.CAP, people.BRIM):
        return np.interp(a, (0, 50, 70, 90, 120, 180), (-38, -38, -38, -36, -10, 14))
    if style == people.BEANIE:
        low = rng.uniform(-8, 8)
        return np.interp(a, (0, 40, 62, 78, 95, 130, 180), (-46, -44, -34, -12, 6, 22, 34)) + low
    if style in (people.CURLY, people.AFRO):
        line = line + np.interp(a, (0, 40, 60, 84, 100, 180), (6, 4, 0, 12, 45, 20))
    front = np.interp(a, (50, 75), (1, 0))
    wave = sum(rng.normal(0, 2.2) * np.sin(np.radians(k * theta) + rng.uniform(0, 6.3)) for k in (3, 7, 13))
    return line + front * (rng.normal(0, 0 if style in (people.FRINGE, people.SCARF) else 6) + wave)


def _thickness(style: int, theta: np.ndarray, y: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    top = np.clip(-(y + 20) / 70, 0, 1)
    side, crown = THICK[style]
    thick = (side + (crown - side) * top) * rng.uniform(0.75, 1.35)
    if style == people.PARTED:
        thick = thick * (1 + 0.35 * np.sin(np.radians(theta))) * (1 - 0.5 * np.exp(-(((theta + 24) / 7) ** 2)) * top)
    if style in FALLS:
        thick = thick * (1 - 0.45 * np.exp(-(((theta - rng.uniform(-25, 25)) / 6) ** 2)) * top)
    return thick


def _hang(shape: np.ndarray, length: float, loose: float) -> np.ndarray:
    """The shape with hair that hangs down `length` mm beside the face, `loose` mm away from it."""
    t = np.clip(surface.FACE_Y / surface.CHIN, 0, 1)[:, None]
    sin, cos = np.sin(np.radians(surface.THETA))[None], np.cos(np.radians(surface.THETA))[None]
    out = (70, 88 + 10 * t)
    columns = ((82 + (14 + loose) * t) * sin, t * (length - 20 * np.abs(sin)), -8 + np.where(cos > 0, out[0], out[1]) * cos)
    keep = (1 - np.clip(t * 4, 0, 1))[..., None]
    fall = np.stack(np.broadcast_arrays(*columns), -1)
    return np.where((t > 0)[..., None], fall * (1 - keep) + shape * keep, shape)


def _brim(shape: np.ndarray, style: int, lift: float) -> np.ndarray:
    """The shape with a brim that stands out in front (a cap) or all around."""
    a = np.abs(surface.THETA)
    ahead = np.clip(1 - (a / 66) ** 4, 0, 1) if style == people.CAP else np.ones_like(a)
    sin, cos = np.sin(np.radians(surface.THETA)), np.cos(np.radians(surface.THETA))
    shape = shape.copy()
    for row, part in ((BRIM_ROW, 1.0), (BRIM_ROW + 1, 0.97)):
        push = BRIMS[style] * part * ahead
        shape[row] += np.stack([push * sin, -lift * ahead, push * cos], -1)
    return shape


@lru_cache(maxsize=people.HAIR_STYLES * VARIANTS)
def style_of(style: int, variant: int = 0) -> Style:
    """The rest shape of a hair style (numbers in people.py) in one of its variants."""
    rng = np.random.default_rng([style, variant])
    theta, base = surface.THETA[None], surface.skull()
    y = base[..., 1]
    line = _line(style, theta, rng)
    cover = line - y
    thick = _thickness(style, theta + 0 * y, y, rng) * np.clip(cover / 22 + 0.12, 0.05, 1) ** 0.6
    shape = surface.skull(thick)
    if style in FALLS:
        length = rng.uniform(75, 210)
        shape = _hang(shape, length, rng.uniform(-6, 10))
        t = np.clip(surface.FACE_Y / surface.CHIN, 0, 1)[:, None]
        cover = np.minimum(line - np.where(t > 0, t * 120, y), (1.02 - t) * 160)
    if style in BRIMS:
        shape = _brim(shape, style, rng.uniform(2, 14))
    fray = {people.BUZZ: 4.0, people.FRINGE: 9.0, people.CURLY: 9.0, people.WAVES: 8.0}.get(style, 5.0)
    curl = {people.CURLY: 1.0, people.AFRO: 1.0, people.WAVES: 0.5}.get(style, 0.0)
    return Style(
        shape.astype(np.float32), cover.astype(np.float32), 0.4 if style in people.WORN else fray, curl, style in FALLS,
        float(thick[int(surface.row_of(-10.0))].max()) > 8 and style not in BRIMS, BRIMS.get(style, 18.0) * 0.8,
    )  # fmt: skip


def of(one: HeadParameters) -> Style:
    """The hair of one head: its style, in a variant that goes with its seed."""
    return style_of(int(one.style[0, 0]), int(one.seed[0]) % VARIANTS)
