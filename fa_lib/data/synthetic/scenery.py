"""What is not the head: backgrounds and things in front of the face."""

from __future__ import annotations

import cv2
import numpy as np

from fa_lib.data.synthetic.head import HeadParameters
from fa_lib.data.synthetic.people import BLOBS, CARD, CLUTTER, HAND, ROOM, SUNGLASSES
from fa_lib.data.synthetic.texture import noise


def _muted(rng: np.random.Generator, n: int) -> np.ndarray:
    """n linear colours (n, 3) as surroundings have them: mostly greys, browns and greens, now and then a strong one."""
    tint = rng.normal(0, 0.13, (n, 1)) * [1.0, 0.1, -1.1] + rng.normal(0, 0.05, (n, 1)) * [-0.6, 1.0, -0.4]
    strong = (rng.random((n, 1)) < 0.12) * rng.normal(0, 0.4, (n, 3))
    return np.clip(rng.uniform(0.08, 0.95, (n, 1)) ** 2 * (1 + 1.6 * tint + strong), 0.003, 1)


def background(one: HeadParameters, size: int, rng: np.random.Generator) -> np.ndarray:
    """A linear picture (size, size, 3) float32 behind the head: gradient, blurred blobs, a room's planes, or
    clutter."""
    kind = int(one.style[0, 3])
    small = 64
    a, b = _muted(rng, 2)
    angle = rng.uniform(0, 2 * np.pi)
    yy, xx = np.mgrid[:small, :small].astype(np.float32) / small - 0.5
    ramp = np.clip(0.5 + xx * np.cos(angle) + yy * np.sin(angle), 0, 1)[..., None]
    picture = (a * ramp + b * (1 - ramp)).astype(np.float32)
    count = (0, 14, 7, 34)[kind]
    colours, places = _muted(rng, count).tolist(), rng.integers(-5, small + 5, (count, 2)).tolist()
    for colour, (x, y), (w, h) in zip(colours, places, rng.integers(3, 32, (count, 2)).tolist(), strict=True):
        if kind == BLOBS:
            cv2.circle(picture, (x, y), max(w // 3, 2), colour, -1, cv2.LINE_AA)
        elif kind == ROOM:
            cv2.rectangle(picture, (x, -9 if h % 2 else y), (x + w, small + 9), colour, -1)
        else:
            cv2.ellipse(picture, (x, y), (w // 2 + 1, h // 2 + 1), float(h * 7), 0, 360, colour, -1, cv2.LINE_AA)
    focus = rng.uniform(0.8, 4.0)
    picture = cv2.GaussianBlur(picture, (0, 0), focus)
    picture = cv2.resize(picture, (size, size), interpolation=cv2.INTER_LINEAR)
    if kind == CLUTTER or kind == ROOM:
        shift = rng.integers(0, 512 - 128, 2)
        tile = noise()[shift[0] : shift[0] + 128, shift[1] : shift[1] + 128, int(rng.integers(0, 4))]
        grain = cv2.resize(tile, (size, size), interpolation=cv2.INTER_LINEAR).astype(np.float32) / 128
        picture *= 1 + (grain[..., None] - 1) * np.float32(rng.uniform(0, 0.6))
    return np.clip(picture, 0, 1)


def _polygon(size: int, points: np.ndarray, soft: float) -> np.ndarray:
    mask = np.zeros((size, size), np.uint8)
    cv2.fillPoly(mask, [np.round(points * 64).astype(np.int32)], 255, cv2.LINE_AA, 6)
    if soft > 0.3:
        mask = cv2.GaussianBlur(mask, (0, 0), soft)
    return mask[..., None].astype(np.float32) / 255


def _glasses(
    scene: np.ndarray, one: HeadParameters, p: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    size, dark = len(scene), one.style[0, 1] == SUNGLASSES
    frame = rng.uniform(0.0, 0.25, 3).astype(np.float32) * rng.uniform(0.1, 1.0)
    round_ = rng.uniform(2.0, 4.5)
    t = np.linspace(0, 2 * np.pi, 40, endpoint=False)
    shape = np.stack(
        [
            np.sign(np.cos(t)) * np.abs(np.cos(t)) ** (2 / round_),
            np.sign(np.sin(t)) * np.abs(np.sin(t)) ** (2 / round_),
        ],
        -1,
    )
    mm = np.linalg.norm(p[27] - p[8]) / 116
    lines = np.zeros((size, size), np.uint8)
    tall, wide = rng.uniform(0.62, 0.85), rng.uniform(1.45, 1.65)
    thick = max(1, round(rng.uniform(1.2, 3.2) * mm))
    lenses = []
    for a, b, temple in ((36, 39, 0), (42, 45, 16)):
        across = (p[b] - p[a]) / 2
        down = (p[33] - p[27]) / 50 * 14.5
        lens = (p[a] + p[b]) / 2 + 0.12 * down + shape[:, :1] * across * wide * 0.98 + shape[:, 1:] * down * tall * 1.45
        lenses.append(lens)
        cv2.polylines(lines, [np.round(lens * 64).astype(np.int32)], True, 255, thick, cv2.LINE_AA, 6)
        outer = lens[np.argmin(np.linalg.norm(lens - p[temple], axis=1))]
        tip = p[temple] * 0.97 + p[27] * 0.03
        if abs(p[temple][0] - p[27][0]) > 0.5 * abs(p[16 - temple][0] - p[27][0]):
            cv2.line(
                lines,
                np.round(outer * 64).astype(int).tolist(),
                np.round(tip * 64).astype(int).tolist(),
                255,
                thick,
                cv2.LINE_AA,
                6,
            )
    bridge = np.stack(
        [
            lenses[0][np.argmin(((lenses[0] - p[27]) ** 2).sum(1))],
            lenses[1][np.argmin(((lenses[1] - p[27]) ** 2).sum(1))],
        ]
    )
    cv2.line(lines, *np.round(bridge * 64).astype(int).tolist(), 255, thick, cv2.LINE_AA, 6)
    over = lines[..., None].astype(np.float32) / 255
    cover = over
    for lens in lenses:
        glass = _polygon(size, lens, 0)
        if dark:
            scene = scene * (1 - 0.94 * glass) + 0.015 * glass
            cover = np.maximum(cover, 0.94 * glass)
        low = np.clip(rng.normal(0.02, 0.03), 0, 0.1)
        scene = scene * (1 - 0.05 * glass) + low * glass
    return scene * (1 - over) + frame * over, cover


def _hand(
    scene: np.ndarray, one: HeadParameters, p: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """A blunt hand with fingers in the skin's colour, before the lower face or a cheek."""
    size = len(scene)
    unit = max(np.linalg.norm(p[36] - p[45]) / 90, np.linalg.norm(p[27] - p[8]) / 125)
    at = p[int(rng.choice([4, 12, 8, 57, 3, 13]))] + rng.normal(0, 6, 2) * unit
    angle = rng.normal(0, 0.5) - np.pi / 2
    mask = np.zeros((size, size), np.uint8)
    shade = np.zeros((size, size), np.float32)
    ahead, side = np.array([np.cos(angle), np.sin(angle)]), np.array([-np.sin(angle), np.cos(angle)])
    for k in range(4):
        root = at + side * (k - 1.5) * 16.5 * unit
        tip = root + ahead * (48 - 7 * abs(k - 1.3)) * unit
        finger = [np.round(v * 64).astype(int).tolist() for v in (root - ahead * 10 * unit, tip)]
        cv2.line(mask, *finger, 255, max(1, round(16 * unit)), cv2.LINE_AA, 6)
        cv2.line(shade, *finger, 0.75 + 0.1 * k % 0.25, max(1, round(9 * unit)), cv2.LINE_AA, 6)
    palm = np.stack(
        [
            at + side * 33 * unit,
            at - side * 33 * unit,
            at - side * 26 * unit - ahead * 70 * unit,
            at + side * 26 * unit - ahead * 70 * unit,
        ]
    )
    cv2.fillConvexPoly(mask, np.round(palm * 64).astype(np.int32), 255, cv2.LINE_AA, 6)
    cv2.fillConvexPoly(shade, np.round(palm * 64).astype(np.int32), 0.7, cv2.LINE_AA, 6)
    thumb = [np.round(v * 64).astype(int).tolist() for v in (at - ahead * 50 * unit, at - side * 46 * unit + ahead * 2 * unit)]
    cv2.line(mask, *thumb, 255, max(1, round(17 * unit)), cv2.LINE_AA, 6)
    cv2.line(shade, *thumb, 0.8, max(1, round(9 * unit)), cv2.LINE_AA, 6)
    soft = cv2.GaussianBlur(shade, (0, 0), max(3.0 * unit, 0.4))[..., None]
    over = cv2.GaussianBlur(mask, (0, 0), 0.6)[..., None].astype(np.float32) / 255
    tint = one.skin[0] * one.light[0, 5:8] * 0.8 + one.skin[0] * one.light[0, 2:5] * soft
    return scene * (1 - over) + np.clip(tint, 0, 1) * over, over


def put_in_front(
    scene: np.ndarray, one: HeadParameters, points: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """Glasses and whatever else is before the face; points (68, 2) are pixels of the scene.

    Returns: the scene (size, size, 3) and how opaque what lies before it is: (size, size) float32 in [0, 1].
    """
    p = points.astype(float)
    cover = np.zeros((*scene.shape[:2], 1), np.float32)
    if one.style[0, 1]:
        scene, over = _glasses(scene, one, p, rng)
        cover = np.maximum(cover, over)
    kind = int(one.style[0, 2])
    if kind == HAND:
        scene, over = _hand(scene, one, p, rng)
        cover = np.maximum(cover, over)
    elif kind == CARD:
        centre = p[int(rng.integers(0, 68))]
        half = np.linalg.norm(p[36] - p[45]) * rng.uniform(0.15, 0.5, 2)
        corner = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * half
        turn = rng.uniform(0, np.pi)
        corner = corner @ np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
        over = _polygon(len(scene), centre + corner, 0.4)
        scene = scene * (1 - over) + rng.uniform(0, 0.8, 3) * over
        cover = np.maximum(cover, over)
    return scene.astype(np.float32), cover[..., 0]
