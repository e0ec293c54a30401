"""Distributions that people and their photographs are drawn from: colours, expressions, poses, light and cameras."""

from __future__ import annotations

import numpy as np

from fa_lib.data.synthetic import deform

SKIN = (
    (248, 222, 205),
    (240, 204, 178),
    (226, 182, 150),
    (206, 160, 130),
    (174, 127, 99),
    (140, 99, 75),
    (102, 69, 53),
    (68, 46, 39),
)
RUDDY = np.array([1.03, 0.955, 0.965])  # photographs show skin redder than the tones of charts
HAIR = (
    (22, 18, 18),
    (42, 28, 22),
    (78, 50, 34),
    (122, 86, 54),
    (186, 148, 96),
    (128, 58, 30),
    (120, 118, 116),
    (200, 198, 194),
)
IRIS = ((60, 36, 20), (92, 60, 32), (110, 92, 50), (84, 112, 84), (86, 120, 150), (120, 134, 144))


BEARDS = ("full", "moustache", "goatee", "whiskers", "stubble")
# Columns of HeadParameters.look; 0 everywhere is a plain photograph of a plain face.
LOOK_NAMES = (
    "rim_azimuth", "rim_elevation", "rim_red", "rim_green", "rim_blue",  # a second light: degrees, linear RGB
    "shadow",  # how dark the shadows are that brow, nose and chin cast, 0..1
    "wrinkles", "eye_bags",  # 0..1
    "brow_width", "brow_density", "beard_shape",  # -1..1, -1..1, number in BEARDS
    "eye_shadow", "eye_liner", "rouge",  # make-up, 0..1
    "contrast", "saturation", "grey", "vignette",  # development of the photograph: -1..1, -1..1, 0 or 1, 0..1
    "surround",  # log of how much brighter the background is
    "low_resolution", "sharpen",  # 0..1
)  # fmt: skip
# Where the mean of real people lies, and how widely they differ, in standard deviations of the head's fields: measured
# by fitting the head to annotated photographs (300-W's AFW). Fields that are not named have mean 0 and spread 1.
MEAN = {
    "jaw_drop": 0.5, "chin_forward": 0.3, "jaw_width": -0.3, "chin_square": -0.2, "eye_opening": -0.1, "eye_depth": -0.5,
    "eye_width": -0.2, "eye_height": 0.3, "brow_tilt": -0.2, "nose_length": -0.6, "nose_forward": 0.2, "nose_tip": 0.3,
    "lips_forward": 0.6, "mouth_width": 0.2, "mouth_height": -0.2, "face_width": -0.7, "face_height": -0.3, "head_depth": -0.5,
}  # fmt: skip
SPREAD = {"jaw_width": 1.2, "chin_forward": 1.4, "eye_height": 1.5, "eye_depth": 1.3, "eye_distance": 1.15, "face_width": 1.1,
    "eye_opening": 0.8, "cupid": 0.8}  # fmt: skip


def identity(n: int, rng: np.random.Generator, wide: float = 1.0) -> np.ndarray:
    """Identities (n, I), order deform.IDENTITY_NAMES, that differ as real people do, or `wide` times as much."""
    names = deform.IDENTITY_NAMES
    mean, spread = (np.array([table.get(k, d) for k in names]) for table, d in ((MEAN, 0.0), (SPREAD, 1.0)))
    return mean + np.clip(rng.normal(size=(n, len(names))) * wide, -2.6, 2.6) * spread


def linear(srgb: np.ndarray) -> np.ndarray:
    """Linear light of 8-bit colours; the renderer uses gamma 2 throughout.

    >>> linear(np.array([255.0, 127.5])).tolist()
    [1.0, 0.25]
    """
    return (np.asarray(srgb, float) / 255.0) ** 2


def _mix(table: tuple, at: np.ndarray) -> np.ndarray:
    colours = np.array(table, float)
    return np.stack([np.interp(at * (len(table) - 1), np.arange(len(table)), colours[:, c]) for c in range(3)], -1)


def expression(n: int, rng: np.random.Generator, strong: bool) -> np.ndarray:
    """Mixed expressions (n, E), order deform.EXPRESSION_NAMES; `strong` ones reach farther and open the mouth wide."""
    names = deform.EXPRESSION_NAMES
    e = np.zeros((n, len(names)))

    def put(name: str, chance: float, low: float, high: float) -> np.ndarray:
        value = np.where(rng.random(n) < chance, rng.uniform(low, high, n), 0)
        e[:, names.index(name)] += value
        return value

    scale = 1.25 if strong else 1.0
    smile = put("smile", 0.55, 0.1, 1.0 * scale)
    put("frown", 0.15, 0.2, 0.8 * scale)
    put("pucker", 0.22 if strong else 0.05, 0.2, 0.7 * scale)
    put("brow_raise", 0.3, -0.3, 0.9 * scale)
    put("brow_furrow", 0.3, -0.3, 0.9 * scale)
    put("brow_sad", 0.15, 0, 0.7 * scale)
    put("sneer", 0.2 if strong else 0.05, 0, 0.8)
    put("lip_lift", 0.3, 0.1, 0.7)
    put("mouth_side", 0.5, -0.6 * scale, 0.6 * scale)
    put("brow_side", 0.4, -0.5 * scale, 0.5 * scale)
    jaw = put("jaw_open", 0.55 if strong else 0.25, 0.05, 2.2 if strong else 0.8)
    shut = (jaw < 0.3) & (rng.random(n) < np.where(smile > 0.4, 0.35, 0.8))
    e[:, names.index("lips_close")] = np.where(shut, rng.uniform(0.85, 1.0, n), rng.uniform(-0.4, 0.5, n))
    e[:, names.index("jaw_open")] *= ~shut
    lids = np.where(rng.random(n) < (0.18 if strong else 0.06), rng.uniform(0.5, 1, n), rng.normal(-0.04, 0.12, n))
    wink = np.where(rng.random(n) < 0.03, 0.8, 0) + rng.normal(0, 0.02, n)
    e[:, names.index("left_eye_close")] = np.clip(lids + 0.06 * smile, -0.4, 1)
    e[:, names.index("right_eye_close")] = np.clip(lids + 0.06 * smile + wink, -0.4, 1)
    return e


def pose(n: int, rng: np.random.Generator, difficulty: str) -> np.ndarray:
    """Yaw, pitch and roll (n, 3) in degrees."""
    if difficulty in ("wild", "profile"):
        wide = rng.random(n) < 0.3
        yaw = np.clip(np.where(wide, rng.normal(0, 34, n), rng.normal(0, 14, n)), -70, 70)
        yaw = rng.uniform(-90, 90, n) if difficulty == "profile" else yaw
        pitch = np.clip(rng.normal(0, 9.5, n) + wide * rng.normal(0, 6, n), -32, 32)
        return np.stack([yaw, pitch, np.clip(rng.normal(0, 9, n) + wide * rng.normal(0, 12, n), -50, 50)], -1)
    if difficulty == "challenging":
        yaw = np.clip(np.where(rng.random(n) < 0.6, rng.uniform(-60, 60, n), rng.normal(0, 18, n)), -60, 60)
        return np.stack([yaw, np.clip(rng.normal(2, 13, n), -30, 32), np.clip(rng.normal(0, 16, n), -45, 45)], -1)
    yaw = np.clip(rng.normal(0, 13, n) + np.where(rng.random(n) < 0.25, rng.normal(0, 14, n), 0), -42, 42)
    return np.stack([yaw, np.clip(rng.normal(1, 7.5, n), -20, 22), np.clip(rng.normal(0, 7, n), -25, 25)], -1)


def colours(n: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Linear colours (n, 3) of skin, lips, iris, hair and cloth that go together in one person."""
    tone = rng.random(n)
    skin = _mix(SKIN, tone) * RUDDY * (1 + rng.normal(0, [0.025, 0.02, 0.045], (n, 3)))
    hair = rng.random(n) ** (1 + 1.6 * tone) * np.where(tone > 0.55, 0.25, 0.72)
    grey = rng.random(n) < 0.16
    hair = np.where(grey, rng.uniform(0.84, 1.0, n), hair)
    iris = rng.random(n) * np.where((tone < 0.4), 1.0, 0.25)
    made_up = (rng.random(n) < 0.25)[:, None]
    natural = skin * np.array([0.88, 0.64, 0.64])
    paint = np.stack([rng.uniform(120, 190, n), rng.uniform(30, 80, n), rng.uniform(45, 95, n)], -1)
    share = rng.uniform(0.35, 0.8, (n, 1)) * made_up
    cloth = rng.uniform(12, 215, (n, 1)) * (1 + rng.normal(0, 0.16, (n, 3)) * (rng.random((n, 1)) < 0.6))
    return {
        "skin": linear(np.clip(skin, 8, 253)),
        "lips": linear(np.clip(natural * (1 - share) + paint * share, 6, 250)),
        "iris": linear(_mix(IRIS, iris) * rng.uniform(0.8, 1.15, (n, 1))),
        "hair": linear(np.clip(_mix(HAIR, hair) * (1 + rng.normal(0, 0.05, (n, 3))), 6, 245)),
        "cloth": linear(np.clip(cloth, 5, 245)),
    }


def light(n: int, rng: np.random.Generator, hard: bool) -> np.ndarray:
    """HeadParameters.light (n, 8); `hard` light comes from farther aside and leaves darker shadows."""
    azimuth = rng.normal(0, 48 if hard else 32, n)
    elevation = np.clip(rng.normal(28, 22 if hard else 15, n), -30, 75)
    warm = rng.normal(0, 0.10 if hard else 0.05, n)[:, None] * np.array([1.0, 0.1, -1.0])
    ambient = rng.uniform(0.14 if hard else 0.26, 0.40 if hard else 0.52, n)
    key = (rng.uniform(0.75, 1.05, n) - 0.7 * ambient) * (1.25 if hard else 1.0)
    cool = rng.normal(0, 0.07, (n, 1)) * np.array([-1.0, 0.0, 1.0])
    return np.concatenate([azimuth[:, None], elevation[:, None], key[:, None] * (1 + warm), ambient[:, None] * (1 + cool)], -1)


def camera(n: int, rng: np.random.Generator, hard: bool) -> np.ndarray:
    """HeadParameters.camera (n, 8); `hard` cameras are blurred, noisy and store little."""
    soft = rng.random(n) < (0.45 if hard else 0.12)
    blur = np.where(soft, rng.uniform(0.3, 2.0 if hard else 0.9, n), rng.uniform(0, 0.3, n))
    motion = np.where(rng.random(n) < (0.15 if hard else 0.03), rng.uniform(0.5, 4, n), 0)
    noise = rng.gamma(1.5, 2.2 if hard else 1.2, n)
    quality = rng.uniform(25 if hard else 60, 96, n)
    exposure = np.exp(rng.normal(0, 0.25 if hard else 0.13, (n, 1))) * np.exp(rng.normal(0, 0.05, (n, 3)))
    return np.concatenate([np.stack([blur, motion, rng.uniform(0, 180, n), noise, quality], -1), exposure], -1)


def wild_expression(n: int, rng: np.random.Generator) -> np.ndarray:
    """Expressions (n, E) as people have in photographs, measured as MEAN was, with a share of strong ones."""
    names = deform.EXPRESSION_NAMES
    mean = {"smile": 0.5, "frown": 0.3, "pucker": 0.2, "jaw_open": 0.2, "lips_close": 0.6, "brow_furrow": 0.3}
    spread = {"smile": 0.5, "frown": 0.45, "brow_furrow": 0.8, "brow_raise": 0.45, "mouth_side": 0.5, "jaw_open": 0.33}
    e = rng.normal([mean.get(k, 0) for k in names], [spread.get(k, 0.35) for k in names], (n, len(names)))
    column = {k: names.index(k) for k in names}
    e[:, column["jaw_open"]] = np.clip(e[:, column["jaw_open"]], -0.1, 2.2)
    shut = np.clip(1 - 1.6 * np.maximum(e[:, column["jaw_open"]], 0) + rng.normal(0, 0.25, n), -0.3, 1)
    e[:, column["lips_close"]] = np.where(rng.random(n) < 0.6, np.clip(shut + 0.3, -0.3, 1), shut * rng.random(n))
    lids = np.where(rng.random(n) < 0.06, rng.uniform(0.6, 1, n), np.clip(rng.normal(0.12, 0.15, n), -0.3, 0.8))
    e[:, column["left_eye_close"]] = lids + rng.normal(0, 0.03, n)
    e[:, column["right_eye_close"]] = np.where(rng.random(n) < 0.02, 0.9, lids + rng.normal(0, 0.03, n))
    return np.where((rng.random(n) < 0.25)[:, None], expression(n, rng, True), e)


def look(n: int, rng: np.random.Generator, wide: float) -> np.ndarray:
    """HeadParameters.look (n, L): second lights, brows, make-up and photographs as they are found, `wide` times as varied."""

    def some(chance: float, low: float, high: float) -> np.ndarray:
        return np.where(rng.random(n) < chance * wide, rng.uniform(low, high, n), 0)

    rim = np.clip(some(0.22, 0.15, 0.7)[:, None] * np.exp(rng.normal(0, 0.2 * wide, (n, 3))), 0, 1.5)
    painted = rng.random(n) < 0.2
    columns = {
        "rim_azimuth": rng.choice((-1, 1), n) * rng.uniform(75, 165, n), "rim_elevation": rng.normal(20, 20, n),
        "rim_red": rim[:, 0], "rim_green": rim[:, 1], "rim_blue": rim[:, 2], "shadow": rng.uniform(0.2, 1, n),
        "wrinkles": rng.random(n) ** 2, "eye_bags": rng.random(n) ** 2,
        "brow_width": rng.normal(0, 0.45, n), "brow_density": rng.normal(0, 0.45, n),
        "beard_shape": rng.integers(0, len(BEARDS), n),
        "eye_shadow": painted * rng.random(n), "eye_liner": painted * rng.random(n), "rouge": painted * rng.random(n),
        "contrast": np.clip(rng.normal(0.25, 0.25 * wide, n), -0.6, 0.9),
        "saturation": np.clip(rng.normal(0.05, 0.16 * wide, n), -0.6, 0.7),
        "grey": some(0.05, 1, 1) > 0, "vignette": some(0.2, 0.2, 1), "surround": rng.normal(-0.2, 0.5, n),
        "low_resolution": some(0.06, 0.1, 0.75), "sharpen": some(0.2, 0.1, 0.9),
    }  # fmt: skip
    return np.stack([np.clip(columns[name], -200, 200).astype(float) for name in LOOK_NAMES], -1)


def wild_light(n: int, rng: np.random.Generator) -> np.ndarray:
    """HeadParameters.light (n, 8) of rooms, the open air, flashes and coloured lamps."""
    flash, lamp = rng.random(n) < 0.2, rng.random(n) < 0.12
    azimuth = np.where(flash, rng.normal(0, 7, n), rng.normal(0, 50, n))
    elevation = np.where(flash, rng.normal(6, 5, n), np.clip(rng.normal(27, 22, n), -40, 78))
    warm = rng.normal(0.03, 0.11, (n, 1)) * np.array([1.0, 0.1, -1.0])
    tint = np.where(lamp[:, None], rng.uniform(-0.6, 0.6, (n, 3)), 0)
    ambient = np.where(flash, rng.uniform(0.1, 0.3, n), rng.uniform(0.1, 0.55, n))
    key = np.exp(rng.normal(0, 0.2, n)) * np.where(flash, 0.95, 1.0) - 0.6 * ambient
    cool = rng.normal(0, 0.09, (n, 1)) * np.array([-1.0, 0.0, 1.0])
    every = [azimuth[:, None], elevation[:, None], key[:, None] * (1 + warm + tint), ambient[:, None] * (1 + cool - 0.5 * tint)]
    return np.concatenate(every, -1)


def wild_camera(n: int, rng: np.random.Generator) -> np.ndarray:
    """HeadParameters.camera (n, 8) of cameras of every kind, most of them sharp."""
    blur = np.where(rng.random(n) < 0.2, rng.uniform(0.3, 1.8, n), rng.uniform(0, 0.35, n))
    motion = np.where(rng.random(n) < 0.06, rng.uniform(0.5, 4, n), 0)
    noise = rng.gamma(1.2, 1.6, n)
    quality = rng.uniform(25, 110, n)
    exposure = np.exp(rng.normal(0, 0.27, (n, 1))) * np.exp(rng.normal(0, 0.07, (n, 3)))
    return np.concatenate([np.stack([blur, motion, rng.uniform(0, 180, n), noise, quality], -1), exposure], -1)


def large_pose(n: int, rng: np.random.Generator) -> np.ndarray:
    """Poses (n, 3) far from frontal: mostly yaw, some pitch, some roll."""
    kind = rng.random(n)
    side = rng.choice((-1.0, 1.0), (n, 3))
    yaw = np.where(kind < 0.7, side[:, 0] * rng.uniform(38, 75, n), rng.normal(0, 15, n))
    pitch = np.where((kind >= 0.7) & (kind < 0.9), side[:, 1] * rng.uniform(22, 36, n), rng.normal(0, 9, n))
    roll = np.where(kind >= 0.9, side[:, 2] * rng.uniform(28, 50, n), rng.normal(0, 11, n))
    return np.stack([yaw, pitch, roll], -1)


def strong_expression(n: int, rng: np.random.Generator) -> np.ndarray:
    """Expressions (n, E) at the edge of what a face can do: laughing, shouting, blowing, grimacing, eyes shut."""
    e = expression(n, rng, True) * 0.4
    kinds = (
        {"smile": 1.25, "lips_close": -0.3, "lip_lift": 0.5, "jaw_open": 0.8, "left_eye_close": 0.35, "right_eye_close": 0.35},
        {"jaw_open": 2.2, "lips_close": -0.3, "brow_raise": 1.0},
        {"pucker": 1.0, "lips_close": 0.7, "brow_raise": 0.6},
        {"frown": 1.2, "brow_furrow": 1.1, "sneer": 0.9, "lips_close": 0.9},
        {"left_eye_close": 1.0, "right_eye_close": 1.0, "brow_furrow": 0.7, "jaw_open": 1.0, "lips_close": -0.2},
        {"mouth_side": 1.3, "brow_side": 1.0, "left_eye_close": 0.7, "lips_close": 0.8},
    )
    for i, kind in enumerate(rng.integers(0, len(kinds), n)):
        for name, value in kinds[kind].items():
            e[i, deform.EXPRESSION_NAMES.index(name)] = value * rng.uniform(0.8, 1.1)
    return e
