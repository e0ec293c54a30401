"""Things before the face: glasses, hands, telephones, cups, loose hair, the head of a neighbour."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import cv2
import numpy as np

from fa_lib.data.synthetic import curves, head, people, scenery, surface
from fa_lib.data.synthetic.draw import SKIN
from fa_lib.data.synthetic.head import HeadParameters

FINE = 4  # bits of a pixel to which cv2 draws
Picture = tuple[np.ndarray, np.ndarray]


@lru_cache(maxsize=1)
def _mean_points() -> np.ndarray:
    return surface.sample_grid(surface.mean_head().astype(float), curves.inner_places())


class Frame:
    """The head's own millimetres in the picture, about enough for things that need not touch the skin exactly."""

    def __init__(self, one: HeadParameters, points: np.ndarray) -> None:
        self.turn = head.rotations(one.pose)[0].astype(float)
        ours = (_mean_points() @ self.turn.T)[:, :2]
        theirs = points[17:]
        a, b = ours - ours.mean(0), theirs - theirs.mean(0)
        self.scale = max(float((a * b).sum() / (a * a).sum()), 1e-3)  # pixels per mm

    def at(self, anchor: np.ndarray, mm: np.ndarray) -> np.ndarray:
        """Pixels (..., 2) of what lies `mm` (..., 3) from the pixel `anchor` in the frame of the head."""
        return anchor + self.scale * (np.asarray(mm, float) @ self.turn.T)[..., :2]


def _fixed(points: np.ndarray) -> np.ndarray:
    return np.round(np.asarray(points) * (1 << FINE)).astype(np.int32)


def _line(canvas: np.ndarray, points: np.ndarray, colour: float | tuple, width: float, closed: bool = False) -> None:
    """A line of `width` pixels; thinner than one pixel it is drawn fainter."""
    if width < 1 and canvas.ndim == 2:
        colour = colour * max(width, 0.25)
    cv2.polylines(canvas, [_fixed(points)], closed, colour, max(1, round(width)), cv2.LINE_AA, FINE)


def _fill(canvas: np.ndarray, points: np.ndarray, colour: float | tuple) -> None:
    cv2.fillPoly(canvas, [_fixed(points)], colour, cv2.LINE_AA, FINE)


def _blend(scene: np.ndarray, over: np.ndarray, colour: np.ndarray) -> np.ndarray:
    """The scene with a colour, (3,) or (h, w, 3), over it; `over` (h, w, 1) says how opaque it is."""
    scene, rows = scene.copy(), np.flatnonzero(over.any((1, 2)))
    if len(rows):
        painted = slice(rows[0], rows[-1] + 1)  # from the first row to the last in which anything changes
        part = cv2.cvtColor(over[painted], cv2.COLOR_GRAY2BGR)
        scene[painted] += ((colour[painted] if colour.ndim == 3 else colour) - scene[painted]) * part
    return scene


def _alpha(mask: np.ndarray, soft: float = 0.0) -> np.ndarray:
    """A drawn mask (h, w) uint8 as (h, w, 1) float32 in [0, 1]."""
    mask = cv2.GaussianBlur(mask, (0, 0), soft) if soft > 0.3 else mask
    return mask[..., None].astype(np.float32) / 255


def _lens(rng: np.random.Generator) -> np.ndarray:
    """The rim of one lens, (48, 2) mm about its middle, x towards the temple."""
    t = np.linspace(0, 2 * np.pi, 48, endpoint=False)
    cos, sin = np.cos(t), np.sin(t)
    power = 2 / rng.uniform(2.0, 5.0)
    wide, tall = rng.uniform(21, 30), rng.uniform(12, 24)
    x, y = wide * np.sign(cos) * np.abs(cos) ** power, tall * np.sign(sin) * np.abs(sin) ** power
    lift, drop = rng.normal(0, 0.08), rng.uniform(-0.05, 0.25)  # cat's eyes, aviators
    return np.stack([x * (1 - drop * y / tall), y - lift * x + 0.1 * tall], -1)


def _glasses(scene: np.ndarray, one: HeadParameters, p: np.ndarray, rng: np.random.Generator) -> Picture:
    frame, size = Frame(one, p), len(scene)
    dark = one.style[0, 1] == people.SUNGLASSES
    rim = np.clip(rng.uniform(0, 0.22) + rng.normal(0, 0.08, 3) * rng.integers(0, 2), 0, 0.9).astype(np.float32)
    thick = rng.choice((rng.uniform(0.5, 1.2), rng.uniform(1.2, 3.5))) * frame.scale
    shape, ahead, wrap = _lens(rng), rng.uniform(9, 15), rng.uniform(2, 8)
    half_rim, slide = rng.random() < 0.15, rng.uniform(-3, 9)
    lines, lenses, glass = np.zeros((size, size), np.uint8), [], np.zeros((size, size), np.uint8)
    far = float(np.sign(frame.turn[2, 0])) if abs(one.pose[0, 0]) > 18 else 0.0
    away = p[27] + np.array([1e3, -1e3])[:, None] * (p[30] - p[27]) / max(np.linalg.norm(p[30] - p[27]), 1e-3)
    for side, a, b in ((-1, 36, 39), (1, 42, 45)):
        mm = np.stack([side * shape[:, 0], shape[:, 1] + slide, ahead - wrap * (shape[:, 0] / 30) ** 2], -1)
        lens = frame.at((p[a] + p[b]) / 2, mm)
        lenses.append(lens)
        own, rims = np.zeros((size, size), np.uint8), np.zeros((size, size), np.uint8)
        _fill(own, lens, 255)
        _line(rims, lens[len(lens) // 2 - 3 :] if half_rim else lens, 255, thick, not half_rim)
        outer = lens[0]
        if side * frame.turn[2, 0] < 0.12:  # this temple can be seen
            ear = frame.at((p[a] + p[b]) / 2, np.array([side * 44.0, -2.0 + 0.4 * slide, -70.0]))
            _line(rims, np.stack([outer, ear]), 255, 1.2 * thick)
        if side == far:  # the nose hides a part
            beyond = np.zeros((size, size), np.uint8)
            out = np.sign(outer - p[27])[0] * np.array([2e3, 0])
            _fill(beyond, np.clip(np.stack([away[0], away[1], away[1] + out, away[0] + out]), -4e3, 4e3), 255)
            own, rims = cv2.min(own, beyond), cv2.min(rims, beyond)
        glass, lines = cv2.max(glass, own), cv2.max(lines, rims)
    _line(lines, np.stack([lenses[0][24], lenses[1][24]]), 255, thick)
    clear, over = _alpha(glass), _alpha(lines)
    deep = rng.uniform(0.8, 0.985) if dark else rng.choice((0.03, rng.uniform(0.05, 0.25)), p=(0.75, 0.25))
    tint = np.clip(rng.uniform(0, 0.06) + rng.uniform(0, 0.04, 3), 0, 1).astype(np.float32)
    fade = np.linspace(1, rng.uniform(0.6, 1), size, dtype=np.float32)[:, None, None] if dark else np.float32(1)
    scene = _blend(scene, clear * np.float32(deep) * fade, tint)
    if rng.random() < 0.35:  # a window mirrored in the glass
        shine = np.zeros((size, size), np.uint8)
        for lens in lenses:
            middle, spread = lens.mean(0), frame.scale * rng.uniform(4, 20, 2)
            corner = middle + rng.uniform(-8, 8, 2) * frame.scale
            _fill(shine, corner + np.array([[-1, -1], [0.6, -1], [1, 1], [-0.6, 1]]) * spread, 255)
        scene = scene + _alpha(cv2.min(shine, glass), 0.6 * frame.scale) * np.float32(rng.uniform(0.03, 0.5))
    return _blend(scene, over, rim), np.maximum(over, clear * np.float32(deep))


def _lit(one: HeadParameters, colour: np.ndarray, shade: np.ndarray) -> np.ndarray:
    """Linear colours under the head's light; shade (h, w) in 0..255 is how much of the main light arrives."""
    return np.clip(colour * (one.light[0, 5:8] * 0.8 + one.light[0, 2:5] * (shade[..., None].astype(np.float32) / 255)), 0, 2)


def _hand(
    scene: np.ndarray, one: HeadParameters, p: np.ndarray, rng: np.random.Generator, at: np.ndarray | None = None
) -> Picture:
    """A hand with fingers in the skin's colour, before the lower face, a cheek or the brow."""
    size, unit = len(scene), 1.05 * Frame(one, p).scale
    at = p[int(rng.choice((4, 12, 8, 57, 3, 13, 48, 54, 17, 26, 1, 15)))] + rng.normal(0, 8, 2) * unit if at is None else at
    angle = rng.normal(0, 0.7) - np.pi / 2
    spread, bent = rng.uniform(13.5, 20), rng.choice((1.0, rng.uniform(0.35, 0.8)))
    mask, shade = np.zeros((size, size), np.uint8), np.zeros((size, size), np.uint8)
    ahead, side = np.array([np.cos(angle), np.sin(angle)]), np.array([-np.sin(angle), np.cos(angle)]) * rng.choice((-1, 1))
    palm = at + np.array([[33, 4], [-33, 4], [-27, -78], [27, -78]]) @ np.stack([side, ahead]) * unit
    _fill(mask, palm, 255)
    _fill(shade, palm, 178)
    arm = at + np.array([[26, -70], [-26, -70], [-34, -400], [34, -400]]) @ np.stack([side, ahead]) * unit
    _fill(mask, arm, 255)
    _fill(shade, arm, 165)
    fan = rng.uniform(0, 0.16)
    strokes = [(at + side * 26 * unit - ahead * 52 * unit, at + side * 47 * unit + ahead * 4 * unit, 17.0, 190)]
    for k in range(4):
        root = at + side * (k - 1.5) * spread * 0.95 * unit
        tip = root + (ahead + side * fan * (k - 1.5)) * bent * (62 - 9 * abs(k - 1.4)) * unit
        strokes.append((root - ahead * 8 * unit, tip, 15.5 - 0.8 * abs(k - 1.5), 200 - 12 * (k % 2)))
    for a, b, width, bright in strokes:
        line = np.stack([a, b])
        _line(mask, line, 255, width * unit)
        _line(shade, line, 95, width * unit)  # the dark between fingers
        _line(shade, line, bright, (width - 3) * unit)
    shade = cv2.GaussianBlur(shade, (0, 0), max(1.6 * unit, 0.4))
    over = _alpha(mask, 0.5)
    return _blend(scene, over, _lit(one, one.skin[0] * np.float32([1.0, 0.92, 0.9]), shade)), over


def _object(scene: np.ndarray, one: HeadParameters, p: np.ndarray, rng: np.random.Generator, corners: np.ndarray) -> Picture:
    """A thing of any material with the given outline (P, 2)."""
    size = len(scene)
    mask = np.zeros((size, size), np.uint8)
    _fill(mask, corners, 255)
    over = _alpha(mask, rng.choice((0.0, 0.5, 1.5)) * size / 128)
    a, b = rng.uniform(0, 0.9, (2, 3)) * rng.uniform(0.1, 1) if rng.random() < 0.4 else np.tile(rng.uniform(0.02, 0.9, (2, 1)), 3)
    mix = scenery.texture(size, rng)[..., :1].astype(np.float32) / 255
    mix = np.float32(0.3) * mix if rng.random() < 0.6 else np.clip((mix - 0.5) * 4 + 0.5, 0, 1)
    shade = np.full((size, size), 160, np.uint8)
    return _blend(scene, over, _lit(one, (a + (b - a) * mix).astype(np.float32), shade)), over


def _card(scene: np.ndarray, one: HeadParameters, p: np.ndarray, rng: np.random.Generator) -> Picture:
    half = np.linalg.norm(p[8] - p[27]) * rng.uniform(0.12, 0.45, 2)
    t = np.linspace(0, 2 * np.pi, 24, endpoint=False)
    corner = np.array([[-1.0, -1], [1, -1], [1, 1], [-1, 1]]) if rng.random() < 0.6 else np.stack([np.cos(t), np.sin(t)], -1)
    turn = rng.uniform(0, np.pi)
    corner = (corner * half) @ np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
    return _object(scene, one, p, rng, p[int(rng.integers(0, 68))] + corner)


def _microphone(scene: np.ndarray, one: HeadParameters, p: np.ndarray, rng: np.random.Generator) -> Picture:
    size, unit = len(scene), Frame(one, p).scale
    tip = p[57] + np.array([rng.normal(0, 22), rng.uniform(2, 30)]) * unit
    foot = tip + np.array([rng.normal(0, 60), rng.uniform(90, 160)]) * unit
    mask, shade = np.zeros((size, size), np.uint8), np.zeros((size, size), np.uint8)
    ball = rng.uniform(15, 26)
    for points, width in (((tip, foot), 0.9 * ball), ((tip, tip + 0.01), 2 * ball)):
        _line(mask, np.stack(points), 255, width * unit)
        _line(shade, np.stack(points) - 0.2 * width * unit, 255, 0.35 * width * unit)
    over, shade = _alpha(mask, 0.4), cv2.GaussianBlur(shade, (0, 0), max(3 * unit, 0.4))
    colour = rng.choice((0.02, rng.uniform(0.02, 0.5))) * np.ones(3, np.float32)
    return _blend(scene, over, _lit(one, colour.astype(np.float32), cv2.max(shade, 40))), over


def _phone(scene: np.ndarray, one: HeadParameters, p: np.ndarray, rng: np.random.Generator) -> Picture:
    unit, side = Frame(one, p).scale, int(rng.choice((0, 1)))
    ear, mouth = p[(1, 15)[side]], p[(4, 12)[side]]
    out = np.array([(-1, 1)[side] * rng.uniform(4, 16), rng.uniform(-10, 10)]) * unit
    along = (mouth - ear) / max(np.linalg.norm(mouth - ear), 1e-3)
    across, middle = np.array([-along[1], along[0]]), (ear + mouth) / 2 + out
    corner = np.array([[-1.0, -1], [1, -1], [1, 1], [-1, 1]]) * np.array([rng.uniform(45, 75), rng.uniform(14, 30)]) * unit
    scene, over = _object(scene, one, p, rng, middle + corner @ np.stack([along, across]))
    scene, hand = _hand(scene, one, p, rng, middle + np.array([(-1, 1)[side] * 12, 38]) * unit)
    return scene, np.maximum(over, hand)


def _cup(scene: np.ndarray, one: HeadParameters, p: np.ndarray, rng: np.random.Generator) -> Picture:
    unit = Frame(one, p).scale
    top = p[62] + np.array([rng.normal(0, 16), rng.uniform(-4, 26)]) * unit
    wide, tall = rng.uniform(10, 40), rng.uniform(70, 130)
    mm = np.array([[-wide, 0], [wide, 0], [0.8 * wide, tall], [-0.8 * wide, tall]])
    turn = rng.normal(0, 0.4)
    mm = mm @ np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
    scene, over = _object(scene, one, p, rng, top + mm * unit)
    if rng.random() < 0.6:
        scene, hand = _hand(scene, one, p, rng, top + mm[2:].mean(0) * 0.6 * unit)
        over = np.maximum(over, hand)
    return scene, over


def _neighbour(scene: np.ndarray, one: HeadParameters, p: np.ndarray, rng: np.random.Generator) -> Picture:
    """Somebody else's head or shoulder that reaches over an edge of the face."""
    size, unit = len(scene), Frame(one, p).scale
    number = int(rng.choice((1, 3, 5, 11, 13, 15, 8)))
    out = p[number] - p[30]
    centre = p[number] + out / max(np.linalg.norm(out), 1e-3) * rng.uniform(38, 68) * unit
    t = np.linspace(0, 2 * np.pi, 40, endpoint=False)
    wobble = 1 + 0.05 * np.sin(3 * t + rng.uniform(0, 6))
    oval = np.stack([np.cos(t) * rng.uniform(55, 75), np.sin(t) * rng.uniform(70, 95)], -1) * (wobble[:, None] * unit)
    if rng.random() < 0.5:
        return _object(scene, one, p, rng, centre + oval)
    mask, shade = np.zeros((size, size), np.uint8), np.zeros((size, size), np.uint8)
    _fill(mask, centre + oval, 255)
    _fill(shade, centre + 0.7 * oval - 8 * unit, 220)
    shade = cv2.GaussianBlur(shade, (0, 0), max(14 * unit, 0.5))
    over = _alpha(mask, 0.6 * size / 128)
    skin = people.linear(np.array(SKIN[int(rng.integers(0, len(SKIN)))])).astype(np.float32)
    return _blend(scene, over, _lit(one, skin, shade)), over


def _strands(scene: np.ndarray, one: HeadParameters, p: np.ndarray, rng: np.random.Generator) -> Picture:
    """Loose hair that falls over brow, eyes and cheeks."""
    size, frame = len(scene), Frame(one, p)
    mask, shade = np.zeros((size, size), np.uint8), np.full((size, size), 60, np.uint8)
    for _ in range(int(rng.integers(1, 4))):
        side, root = rng.choice((-1, 1)), frame.at(p[27], np.array([rng.uniform(-45, 45), -68, 5.0]))
        tip = frame.at(p[27], np.array([side * rng.uniform(15, 85), rng.uniform(-15, 110), 5.0]))
        bow = np.array([side * rng.uniform(-20, 45), 0]) * frame.scale
        for _ in range(int(rng.integers(2, 14))):
            a, b = root + rng.normal(0, 6, 2) * frame.scale, tip + rng.normal(0, 9, 2) * frame.scale
            t = np.linspace(0, 1, 12)[:, None]
            curve = a + (b - a) * t + 4 * t * (1 - t) * bow
            _line(mask, curve, int(rng.integers(150, 256)), rng.uniform(0.3, 2.2) * frame.scale)
            _line(shade, curve, int(rng.integers(20, 230)), rng.uniform(0.3, 1.2) * frame.scale)
    over = _alpha(mask, 0.3)
    return _blend(scene, over, _lit(one, one.hair[0], shade)), over


BEFORE: dict[int, Callable[..., Picture]] = {
    people.HAND: _hand, people.CARD: _card, people.MICROPHONE: _microphone, people.PHONE: _phone, people.CUP: _cup,
    people.NEIGHBOUR: _neighbour, people.STRANDS: _strands,
}  # fmt: skip


def put_in_front(scene: np.ndarray, one: HeadParameters, points: np.ndarray, rng: np.random.Generator) -> Picture:
    """Glasses and whatever else is before the face; points (68, 2) are pixels of the scene.

    Returns: the scene (size, size, 3) and how opaque what lies before it is: (size, size) float32 in [0, 1].
    """
    p = points.astype(float)
    cover = np.zeros((*scene.shape[:2], 1), np.float32)
    if one.style[0, 1]:
        scene, cover = _glasses(scene, one, p, rng)
    thing = BEFORE.get(int(one.style[0, 2]) % people.MASK)
    if thing is not None:
        scene, over = thing(scene, one, p, rng)
        cover = np.maximum(cover, over)
    return scene.astype(np.float32, copy=False), cover[..., 0].astype(np.float32, copy=False)
