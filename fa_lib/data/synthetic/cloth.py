"""Clothes: necklines, collars, jackets with shirts and ties, stripes, checks and prints."""

from __future__ import annotations

import numpy as np

from fa_lib.data.synthetic import surface
from fa_lib.data.synthetic.head import HeadParameters
from fa_lib.data.synthetic.texture import Seen

PLAIN, STRIPES, CHECKS, PRINT, KNIT = range(5)  # patterns
OPEN, COLLAR, JACKET, HIGH = range(4)  # cuts
Knobs = np.random.Generator


def _peak(distance: np.ndarray, width: float) -> np.ndarray:
    """1 where the distance is 0, falling to 0 at `width` on both sides."""
    return np.maximum(1 - np.abs(distance) * np.float32(1 / width), 0)


def _neckline(cut: int, place: np.ndarray, knob: Knobs) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """How much of the skin at places (P, 2) is clothed (P,), and the columns from the middle (P,) and rows below the
    collar (P,) there."""
    away = np.abs(place[:, 0] - surface.column_of(0.0)).astype(np.float32)
    below = place[:, 1].astype(np.float32) - np.float32(surface.COLLAR_ROW)
    deep, wide = knob.uniform(0, 2.6), knob.uniform(5, 15)
    edge = 0.5 + (deep * np.maximum(1 - away / wide, 0) if cut == OPEN else 0.0)
    edge = edge - knob.uniform(2.0, 4.5) if cut == HIGH else edge - 1.6 if cut in (COLLAR, JACKET) else edge
    return np.clip((below - edge) * 3, 0, 1), away, below


def _pattern(kind: int, xy: np.ndarray, unit: float, grain: np.ndarray, knob: Knobs) -> np.ndarray:
    """How much of the second colour is seen (P,), in the plane of the picture; unit is pixels per mm."""
    turn = knob.normal(0, 0.25) + (np.pi / 2 if knob.random() < 0.35 else 0)
    x, y = xy.T.astype(np.float32)
    u, v = (x * np.cos(turn) - y * np.sin(turn)) / unit, (x * np.sin(turn) + y * np.cos(turn)) / unit
    period, part = knob.uniform(5, 32), knob.uniform(-0.7, 0.7)
    if kind == STRIPES:
        return (np.sin(2 * np.pi * v / period) > part).astype(np.float32)
    if kind == CHECKS:
        return 0.5 * (np.sin(2 * np.pi * v / period) > part) + np.float32(0.5) * (np.sin(2 * np.pi * u / period) > part)
    if kind == PRINT:
        return np.clip((grain[0] - 0.5 * part) * 7 + 0.5, 0, 1)
    return 0.35 + 0.35 * np.sin(2 * np.pi * u / (0.25 * period + 2)).astype(np.float32)


def wear(colour: np.ndarray, one: HeadParameters, seen: Seen, unit: float) -> None:
    """Paint the clothes over linear colours (3, P) of the seen pixels, in place; unit: pixels per mm."""
    knob = np.random.default_rng([int(one.seed[0]), 7])
    where = np.flatnonzero(seen.place[:, 1] > surface.COLLAR_ROW - 4.6)
    if len(where) == 0:
        return
    cut, kind = int(knob.choice(4, p=(0.5, 0.2, 0.2, 0.1))), int(knob.choice(5, p=(0.42, 0.17, 0.13, 0.16, 0.12)))
    over, away, below = _neckline(cut, np.take(seen.place, where, axis=0), knob)
    grain = np.take(seen.grain, where, axis=1)
    first = one.cloth[0][:, None]
    second = np.float32(knob.uniform(0.01, 0.8) * (1 + knob.normal(0, 0.3, (3, 1))))
    mix = np.float32(knob.uniform(0.3, 1)) * _pattern(kind, seen.xy(where), unit, grain, knob) if kind else np.float32(0)
    cloth = first + (second - first) * mix
    crease = np.ones(len(where), np.float32)
    if cut == JACKET:  # a jacket open over a shirt, often with a tie
        shirt = np.clip((np.float32(knob.uniform(9, 13)) - away - 1.3 * np.maximum(below, 0)) * 1.5, 0, 1)
        inside = np.float32(knob.uniform(0.25, 0.85) * (1 + knob.normal(0, 0.05, (3, 1))))
        cloth = cloth * 0.5 + (inside - cloth * 0.5) * shirt
        if knob.random() < 0.6:
            tie = np.clip((1.5 + 0.35 * np.maximum(below, 0) - away) * 2, 0, 1) * np.clip(below * 2 + 2, 0, 1)
            cloth = cloth + (np.clip(second * np.float32(0.5), 0, 1) - cloth) * tie
        crease -= 0.5 * _peak(shirt - 0.5, 0.5)
    if cut in (COLLAR, JACKET):  # the edge of the collar and its opening throw a shadow
        crease -= 0.45 * _peak(below - 0.9 + 0.05 * away, 0.35) + 0.35 * _peak(away, 0.6) * (below < 1)
    else:
        crease -= 0.3 * _peak(over - 0.85, 0.15)
    crease = crease * (1 + 0.22 * grain[0] + 0.14 * grain[2])
    skin = np.take(colour, where, axis=1)
    colour[:, where] = skin + (np.clip(cloth, 0.002, 1) * np.take(seen.light[:3], where, axis=1) * crease - skin) * over
