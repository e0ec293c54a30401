"""Hair as a second skin over the skull: how thick it is and where it ends, per style."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from fa_lib.data.synthetic import people, surface

ROWS = surface.JAW_ROW + 1
# Height of the hair line (mm, y down) at angles around the head, short hair: forehead, temple, sideburn, ear, nape.
LINE_AT = (0, 20, 40, 52, 62, 70, 77, 84, 98, 108, 125, 180)
LINE = (-70, -71, -68, -57, -36, -2, 18, 0, -28, 15, 42, 48)


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


def _line(style: int, theta: np.ndarray) -> np.ndarray:
    a = np.abs(theta)
    line = np.interp(a, LINE_AT, LINE)
    if style == people.RECEDING:
        line = line - 9 * np.exp(-((a / 45) ** 4)) - 15 * np.exp(-(((a - 34) / 16) ** 2))
    if style == people.FRINGE:
        line = np.where(a < 62, np.maximum(line, np.interp(a, (0, 45, 62), (-33, -30, -20))), line)
    if style == people.PARTED:
        line = line + np.interp(theta, (-70, -45, -24, 10, 40, 62, 80), (3, 0, -6, 6, 13, 10, 0))
    if style == people.LONG:
        line = np.interp(a, (0, 12, 30, 46, 58, 66, 74, 82), (-74, -70, -60, -42, -10, 40, 120, 160))
    if style == people.SCARF:
        line = np.interp(a, (0, 25, 45, 60, 72, 84, 110, 180), (-55, -53, -42, -22, 6, 34, 48, 60))
    if style in (people.CURLY, people.AFRO):
        line = line + np.interp(a, (0, 40, 60, 84, 100, 180), (6, 4, 0, 12, 45, 20))
    return line


def _thickness(style: int, theta: np.ndarray, y: np.ndarray) -> np.ndarray:
    top = np.clip(-(y + 20) / 70, 0, 1)
    side = {people.BUZZ: 1.5, people.SHORT: 5, people.RECEDING: 4, people.FRINGE: 9, people.LONG: 11, people.CURLY: 20}
    crown = {
        people.BUZZ: 2.5,
        people.SHORT: 14,
        people.RECEDING: 6,
        people.FRINGE: 13,
        people.LONG: 12,
        people.CURLY: 26,
    }
    side |= {people.TIED: 3.5, people.PARTED: 9, people.AFRO: 38, people.SCARF: 8, people.BALD: 0.5}
    crown |= {people.TIED: 7, people.PARTED: 17, people.AFRO: 40, people.SCARF: 9, people.BALD: 0.5}
    thick = side[style] + (crown[style] - side[style]) * top
    if style == people.PARTED:
        thick = thick * (1 + 0.35 * np.sin(np.radians(theta))) * (1 - 0.5 * np.exp(-(((theta + 24) / 7) ** 2)) * top)
    if style == people.LONG:
        thick = thick * (1 - 0.45 * np.exp(-((theta / 6) ** 2)) * top)
    return thick


@lru_cache(maxsize=people.HAIR_STYLES)
def style_of(style: int) -> Style:
    """The rest shape of a hair style (numbers in people.py)."""
    theta, base = surface.THETA[None], surface.skull()
    y = base[..., 1]
    cover = _line(style, theta) - y
    thick = _thickness(style, theta + 0 * y, y) * np.clip(cover / 22 + 0.12, 0.05, 1) ** 0.6
    long = style == people.LONG
    shape = surface.skull(thick)
    if long:
        t = np.clip(surface.FACE_Y / surface.CHIN, 0, 1)[:, None]
        sin, cos = np.sin(np.radians(theta)), np.cos(np.radians(theta))
        ease = t * t * (3 - 2 * t)
        fall = np.stack(
            np.broadcast_arrays((82 + 14 * t) * sin, t * (190 - 20 * np.abs(sin)), -8 + np.where(cos > 0, 70, 88 + 10 * t) * cos),
            -1,
        )
        keep = (1 - np.clip(t * 4, 0, 1))[..., None]
        shape = np.where((t > 0)[..., None], fall * (1 - keep) + shape * keep + 0 * ease[..., None], shape)
        cover = _line(style, theta) - np.where(t > 0, t * 120, y)
        cover = np.minimum(cover, (1.02 - t) * 160)
    fray = {people.SCARF: 0.4, people.BUZZ: 4.0, people.FRINGE: 9.0, people.CURLY: 9.0, people.AFRO: 5.0}.get(style, 5.0)
    curl = {people.CURLY: 1.0, people.AFRO: 1.0}.get(style, 0.0)
    return Style(
        shape.astype(np.float32),
        cover.astype(np.float32),
        fray,
        curl,
        long,
        float(thick[int(surface.row_of(-10.0))].max()) > 8,
    )
