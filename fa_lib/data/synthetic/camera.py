"""The camera and what becomes of its picture: exposure, blur, tone, colour, noise, low resolution and JPEG."""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np

from fa_lib.data.synthetic.draw import LOOK_NAMES
from fa_lib.data.synthetic.head import HeadParameters

GREY = np.array([0.299, 0.587, 0.114])
BRIGHTEST = 1.9  # linear light that becomes white


@lru_cache(maxsize=1)
def _grain() -> np.ndarray:
    return np.random.default_rng(3).normal(size=1 << 20).astype(np.float32)


@lru_cache(maxsize=1)
def _film() -> np.ndarray:
    """What a camera makes of values that are the square root of light: (256,) uint8. Highlights fade into white."""
    light = np.linspace(0, 1, 256) ** 2 * BRIGHTEST
    bright = np.maximum(light - 0.45, 0)
    value = np.sqrt(light + bright / (1 + 1.1 * bright) - bright)
    return np.round(np.clip(255 * value * (1.08 - 0.08 * value), 0, 255)).astype(np.uint8)


def _blurred(scene: np.ndarray, blur: float, motion: float, angle: float) -> np.ndarray:
    """Out of focus by `blur` and moved by `motion` per cent of the picture along `angle` degrees."""
    size = len(scene)
    sigma = blur * size / 100
    if sigma > 0.25:
        scene = cv2.GaussianBlur(scene, (0, 0), sigma)
    length = motion * size / 100
    if length > 1:
        reach = int(np.ceil(length / 2))
        kernel = np.zeros((2 * reach + 1, 2 * reach + 1), np.float32)
        step = np.array([np.cos(np.radians(angle)), np.sin(np.radians(angle))]) * length / 2
        ends = [np.round((reach + s * step) * 64).astype(int).tolist() for s in (-1, 1)]
        cv2.line(kernel, *ends, 1.0, 1, cv2.LINE_AA, 6)
        scene = cv2.filter2D(scene, -1, kernel / kernel.sum())
    return scene


def tone_curve(contrast: float) -> np.ndarray:
    """What 8-bit values become: (256,) uint8. Contrast above 0 is an S, as cameras' own curves are; below 0 the
    picture is flat.

    >>> [int(tone_curve(c)[64]) for c in (-1.0, 0.0, 1.0)]
    [96, 64, 27]
    """
    at = np.linspace(0, 1, 256)
    steep = at * at * (3 - 2 * at) if contrast <= 0 else 1 / (1 + np.exp(-8 * (at - 0.5)))
    steep = (steep - steep[0]) / (steep[-1] - steep[0])
    curve = at + contrast * (steep - at) if contrast > 0 else 0.5 + (at - 0.5) * (1 + 0.5 * contrast)
    return np.round(curve * 255).astype(np.uint8)


def _developed(picture: np.ndarray, look: dict[str, float]) -> np.ndarray:
    """Contrast, colour and sharpening of an 8-bit picture."""
    if look["contrast"]:
        picture = cv2.LUT(picture, tone_curve(look["contrast"]))
    colour = 0.0 if look["grey"] > 0 else 1 + look["saturation"]
    if colour != 1:
        picture = cv2.transform(picture, colour * np.eye(3) + (1 - colour) * GREY)
    if look["sharpen"] > 0:
        soft = cv2.GaussianBlur(picture, (0, 0), max(0.8, len(picture) / 160))
        picture = cv2.addWeighted(picture, 1 + 1.5 * look["sharpen"], soft, -1.5 * look["sharpen"], 0)
    return picture


def photograph(scene: np.ndarray, one: HeadParameters, rng: np.random.Generator) -> np.ndarray:
    """What the camera stores of a linear scene (size, size, 3): uint8 RGB after exposure, blur, noise and JPEG."""
    full = size = len(scene)
    blur, motion, angle, grain, quality = (float(v) for v in one.camera[0, :5])
    look = dict(zip(LOOK_NAMES, one.look[0].tolist(), strict=True))
    if look["low_resolution"] > 0:
        size = max(round(full * (1 - 0.78 * look["low_resolution"])), 16)
        scene = cv2.resize(scene, (size, size), interpolation=cv2.INTER_AREA)
    gain = np.tile(one.camera[0, 5:8].astype(np.float32), size)  # of a row of pixels: numpy is slow along axes as short as 3
    scene = (scene.reshape(size, -1) * gain).reshape(size, size, 3)
    if look["vignette"] > 0:
        away = np.linspace(-1, 1, size, dtype=np.float32) ** 2
        scene *= cv2.cvtColor(1 - 0.38 * look["vignette"] * (away[:, None] + away[None]), cv2.COLOR_GRAY2BGR)
    scene = np.clip(_blurred(scene, blur, motion, angle), 0, BRIGHTEST)
    picture = np.sqrt(scene, out=scene)
    picture *= 255 / np.sqrt(BRIGHTEST)
    start, need = int(rng.integers(0, 1 << 19)), size * size * 3
    noise = np.resize(_grain()[start : start + need], need) if start + need > 1 << 20 else _grain()[start : start + need]
    picture += np.float32(grain / np.sqrt(BRIGHTEST)) * noise.reshape(size, size, 3)
    picture = cv2.convertScaleAbs(np.maximum(picture, 0, out=picture))
    picture = _developed(cv2.LUT(picture, _film()), look)
    if quality < 90:
        stored = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, int(quality)])[1]
        picture = cv2.imdecode(stored, cv2.IMREAD_COLOR)
    return picture if size == full else cv2.resize(picture, (full, full), interpolation=cv2.INTER_LINEAR)
