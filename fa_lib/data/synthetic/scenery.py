"""Backgrounds: from an empty wall to a crowd. None of them copies a picture; their statistics are those of photographs."""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np

from fa_lib.data.synthetic.draw import HAIR, LOOK_NAMES, SKIN
from fa_lib.data.synthetic.head import HeadParameters
from fa_lib.data.synthetic.people import BLOBS, CROWD, GRADIENT, NATURE, ROOM, SHELVES, SIGNS

FINEST = 160  # pixels a side at which surroundings are drawn at most
TO_LINEAR = (np.arange(256, dtype=np.float32) / 255) ** 2


@lru_cache(maxsize=1)
def _natural() -> np.ndarray:
    """Three patterns (512, 512, 3) uint8 whose amplitude falls with frequency as it does in photographs."""
    rng = np.random.default_rng(71)
    fx, fy = np.fft.fftfreq(512)[:, None], np.fft.rfftfreq(512)[None]
    falloff = 1 / np.maximum(np.hypot(fx, fy), 1 / 512) ** 1.15
    fields = np.stack([np.fft.irfft2(np.fft.rfft2(rng.normal(size=(512, 512))) * falloff) for _ in range(4)], -1)
    fields = fields / fields.std((0, 1))
    mixed = 0.92 * fields[..., :1] + 0.39 * fields[..., 1:]  # the channels of a photograph go together
    return np.clip(128 + 55 * mixed, 0, 255).astype(np.uint8)


def _muted(rng: np.random.Generator, n: int) -> np.ndarray:
    """n colours (n, 3) of 0..255 as surroundings have them: many dark, mostly brownish or bluish, some strong."""
    tint = rng.normal(0, 0.16, (n, 1)) * [1.0, 0.1, -1.1] + rng.normal(0, 0.07, (n, 1)) * [-0.6, 1.0, -0.4]
    strong = (rng.random((n, 1)) < 0.25) * rng.normal(0, 0.45, (n, 3))
    colours = 255 * rng.uniform(0.06, 0.95, (n, 1)) ** 1.3 * (1 + 1.6 * tint + strong)
    return np.clip(colours, 2, 253).astype(np.float32)


def texture(side: int, rng: np.random.Generator) -> np.ndarray:
    """A random piece of the natural patterns, (side, side, 3) uint8."""
    part = int(rng.integers(60, 400))
    x, y = rng.integers(0, 512 - part, 2)
    return cv2.resize(_natural()[y : y + part, x : x + part], (side, side), interpolation=cv2.INTER_LINEAR)


def _nature(side: int, rng: np.random.Generator) -> np.ndarray:
    """Leaves, stone, sky: three colours mixed by natural patterns."""
    a, b, c = _muted(rng, 3)
    mix = texture(side, rng).astype(np.float32) / 255
    first, second, third = np.ascontiguousarray(np.moveaxis(mix, -1, 0))
    steep = np.float32(rng.uniform(1, 5))
    first = np.clip((first - 0.5) * steep + 0.5, 0, 1)
    second = np.clip((second - 0.5) * steep + 0.5, 0, 1) * third
    return cv2.merge([cv2.convertScaleAbs(np.maximum(a[k] + (b - a)[k] * first + (c - a)[k] * second, 0)) for k in range(3)])


def _leaves(picture: np.ndarray, rng: np.random.Generator, count: int) -> None:
    """Things of all sizes before each other, small ones most often, as in photographs; in place."""
    side = len(picture)
    colours = _muted(rng, count).tolist()
    places = rng.uniform(-0.05, 1.05, (count, 2)) * side
    reach = side * 0.03 * np.minimum(rng.random(count) ** -0.6, 12)[:, None] * [1, 1]
    reach[:, 1] *= rng.uniform(0.15, 1, count)
    turn = np.radians(rng.choice((0, 90, 1), count) * rng.uniform(1, 180, count))
    u = np.stack([np.cos(turn), np.sin(turn)], -1) * reach[:, :1]
    v = np.stack([-np.sin(turn), np.cos(turn)], -1) * reach[:, 1:]
    corners = (16 * (places[:, None] + np.stack([u + v, u - v, -u - v, v - u], 1))).astype(np.int32)
    ovals = zip((16 * places).astype(int).tolist(), (16 * reach).astype(int).tolist(), np.degrees(turn).tolist(), strict=True)
    round_ = (rng.random(count) < 0.5).tolist()
    for colour, corner, oval, is_round in zip(colours, corners, ovals, round_, strict=True):
        if is_round:
            cv2.ellipse(picture, *oval, 0, 360, colour, -1, cv2.LINE_AA, 4)
        else:
            cv2.fillConvexPoly(picture, corner, colour, cv2.LINE_AA, 4)


def _rows(picture: np.ndarray, rng: np.random.Generator) -> None:
    """Shelves, blinds, bricks, fences: rows of pieces; in place."""
    side = len(picture)
    step, wide = rng.uniform(0.05, 0.3) * side, rng.uniform(0.02, 0.5) * side
    shift, upright = rng.uniform(0, 0.6), rng.random() < 0.4
    palette = _muted(rng, int(rng.integers(2, 7))).astype(int)
    gap = int(rng.integers(0, 3))
    for row, y in enumerate(np.arange(-step, side, step)):
        x = -wide * ((row * shift) % 1)
        while x < side:
            width = wide * rng.uniform(0.6, 1.4)
            colour = palette[int(rng.integers(0, len(palette)))].tolist()
            a, b = (int(x), int(y)), (int(x + width) - gap, int(y + step) - gap)
            cv2.rectangle(picture, a[::-1] if upright else a, b[::-1] if upright else b, colour, -1)
            x += width


def _letters(picture: np.ndarray, rng: np.random.Generator) -> None:
    """Signs and posters with writing on them, in place."""
    side = len(picture)
    for _ in range(int(rng.integers(2, 6))):
        text = "".join(chr(int(c)) for c in rng.integers(48, 91, int(rng.integers(1, 8))))
        scale, thick = rng.uniform(0.3, 2.2) * side / 128, int(rng.integers(1, 5))
        at = (rng.uniform(-0.1, 0.9, 2) * side).astype(int).tolist()
        board, ink = _muted(rng, 2).tolist()
        if rng.random() < 0.5:
            wide = int(0.62 * 32 * scale * len(text))
            cv2.rectangle(picture, (at[0] - 4, at[1] + 6), (at[0] + wide, at[1] - int(30 * scale)), board, -1)
        cv2.putText(picture, text, at, int(rng.integers(0, 5)), scale, ink, thick, cv2.LINE_AA)


def _person(picture: np.ndarray, rng: np.random.Generator) -> None:
    """A bystander: shoulders, hair, face with shadow, brows, eyes and mouth, in place."""
    side = len(picture)
    r = side * rng.uniform(0.07, 0.24)
    x = rng.choice((rng.uniform(-0.1, 0.22), rng.uniform(0.78, 1.1), rng.uniform(0, 1))) * side
    y, lean = rng.uniform(0.05, 0.75) * side, rng.normal(0, 12)
    skin = np.array(SKIN[int(rng.integers(0, len(SKIN)))]) * rng.uniform(0.45, 1)
    hair = np.array(HAIR[int(rng.integers(0, len(HAIR)))]) * rng.uniform(0.5, 1)
    turn = np.array([[np.cos(np.radians(lean)), -np.sin(np.radians(lean))], [np.sin(np.radians(lean)), np.cos(np.radians(lean))]])
    look = rng.uniform(-0.3, 0.3)

    def blot(at: tuple[float, float], axes: tuple[float, float], colour: np.ndarray) -> None:
        centre = ((np.array([x, y]) + turn @ np.array(at) * r) * 16).astype(int).tolist()
        size = np.maximum(np.array(axes) * r * 16, 6).astype(int).tolist()
        cv2.ellipse(picture, centre, size, lean, 0, 360, colour.tolist(), -1, cv2.LINE_AA, 4)

    cloth = _muted(rng, 1)[0]
    blot((0, 2.6), (1.9, 1.25), cloth)
    blot((0, 1.1), (0.42, 0.7), skin * 0.75)
    if rng.random() < 0.4:
        blot((0, 0.25), (1.05, 1.6), hair)
    blot((0, -0.22), (0.92, 1.12), hair)
    blot((0, 0.12), (0.74, 1.0), skin * 0.8)
    blot((0.12 * np.sign(look), 0.08), (0.62, 0.9), skin)
    for s in (-1, 1):
        blot((look + s * 0.3, -0.17), (0.17, 0.04), hair * 0.8)
        blot((look + s * 0.3, -0.03), (0.12, 0.055), skin * 0.3)
    blot((look * 1.2, 0.3), (0.12, 0.06), skin * 0.6)
    blot((look, 0.55), (0.28, 0.07), skin * np.array([0.75, 0.4, 0.4]))


def background(one: HeadParameters, size: int, rng: np.random.Generator) -> np.ndarray:
    """A linear picture (size, size, 3) float32 behind the head, in or out of focus."""
    kind, side = int(one.style[0, 3]), min(size, FINEST)
    a, b = _muted(rng, 2)
    angle = rng.uniform(0, 2 * np.pi)
    line = np.linspace(-0.5, 0.5, 16)
    ramp = np.clip(0.5 + line[None] * np.cos(angle) + line[:, None] * np.sin(angle), 0, 1)[..., None]
    picture = cv2.resize((a * ramp + b * (1 - ramp)).astype(np.uint8), (side, side), interpolation=cv2.INTER_LINEAR)
    if kind == NATURE:
        picture = _nature(side, rng)
    elif kind == SHELVES:
        _rows(picture, rng)
    if kind not in (GRADIENT, SHELVES) or rng.random() < 0.3:
        _leaves(picture, rng, int(rng.integers(3, 14)) if kind in (BLOBS, NATURE, CROWD) else int(rng.integers(12, 45)))
    if kind == ROOM:
        for x, w, colour in zip(rng.uniform(-0.2, 1, 4), rng.uniform(0.03, 0.5, 4), _muted(rng, 4).tolist(), strict=True):
            top = int(rng.choice((-9, 0.6 * side * rng.random())))
            cv2.rectangle(picture, (int(x * side), top), (int((x + w) * side), side + 9), colour, -1)
    elif kind == SIGNS:
        _letters(picture, rng)
    elif kind == CROWD:
        for _ in range(int(rng.integers(1, 4))):
            _person(picture, rng)
    if rng.random() < 0.7:
        gain = rng.uniform(0.1, 0.9)
        grain = cv2.addWeighted(texture(side, rng), gain, picture, 0, 128 * (1 - gain))
        picture = cv2.multiply(picture, grain, scale=1 / 128)
    focus = rng.choice((0.0, rng.uniform(0, 0.012), rng.uniform(0.01, 0.06))) * side
    if focus > 2.4:  # far out of focus: on a small copy, which is cheaper
        picture = cv2.resize(picture, (side // 4, side // 4), interpolation=cv2.INTER_AREA)
        picture = cv2.GaussianBlur(picture, (0, 0), focus / 4)
    elif focus > 0.4:
        picture = cv2.GaussianBlur(picture, (0, 0), focus)
    if len(picture) != size:
        picture = cv2.resize(picture, (size, size), interpolation=cv2.INTER_LINEAR)
    return cv2.LUT(picture, TO_LINEAR * np.float32(np.exp(one.look[0, LOOK_NAMES.index("surround")])))
