"""Random people in random situations: `sample` draws the parameters of heads, evenly over skin tones."""

from __future__ import annotations

import numpy as np

from fa_lib.data.synthetic import draw
from fa_lib.data.synthetic.draw import LOOK_NAMES, linear
from fa_lib.data.synthetic.head import HeadParameters
from fa_lib.errors import InputError

BALD, BUZZ, SHORT, RECEDING, FRINGE, LONG, CURLY, TIED, PARTED, AFRO, SCARF, CAP, BEANIE, BRIM, HOOD, WAVES = range(16)
HAIR_STYLES = 16
LOOSE = (FRINGE, LONG, CURLY, PARTED, WAVES)  # hair of which a strand may fall over the face
HAIR_SHARES = (0.05, 0.08, 0.14, 0.07, 0.10, 0.12, 0.07, 0.07, 0.11, 0.02, 0.02, 0.03, 0.02, 0.02, 0.01, 0.07)
WORN = (SCARF, CAP, BEANIE, BRIM, HOOD)  # hair styles that are cloth
GLASSES, SUNGLASSES = 1, 2  # style[:, 1]
HAND, COVER, CARD, MICROPHONE, PHONE, CUP, NEIGHBOUR, STRANDS = range(1, 9)  # style[:, 2], what is before the face
MASK = 16  # added to style[:, 2]: a mask is worn as well
GRADIENT, BLOBS, ROOM, CLUTTER, NATURE, SHELVES, SIGNS, CROWD = range(8)  # style[:, 3], the background
DIFFICULTIES = ("common", "challenging", "clip", "wild", "profile")
ATTRIBUTES = ("pose", "expression", "illumination", "makeup", "occlusion", "blur")  # as WFLW names its subsets


def _style(n: int, rng: np.random.Generator, hard: bool) -> np.ndarray:
    hair = rng.choice(HAIR_STYLES, n, p=HAIR_SHARES)
    glasses = np.where(rng.random(n) < 0.14, 1, 0)
    glasses = np.where(rng.random(n) < (0.10 if hard else 0.01), 2, glasses)
    occluder = np.where(rng.random(n) < (0.35 if hard else 0.0), rng.integers(1, 9, n), 0)
    occluder = np.where((occluder == STRANDS) & ~np.isin(hair, LOOSE), HAND, occluder)
    return np.stack([hair, glasses, occluder, rng.integers(0, 8, n)], -1)


def sample(n: int, rng: np.random.Generator, *, difficulty: str = "common") -> HeadParameters:
    """Draw n heads.

    `difficulty`: "common"; "challenging" (large pose, strong expression, harsh light, things in front, blur); "clip"
    (as common, but nothing in front; motion.py sets what moves); "wild" (the widest variety, to train on); "profile"
    (as wild, with yaw evenly from -90 to 90 degrees).

    Raises: InputError for an unknown difficulty.
    """
    if difficulty not in DIFFICULTIES:
        raise InputError(f"difficulty is {difficulty!r}; it must be one of {', '.join(DIFFICULTIES)}")
    wild, hard = difficulty in ("wild", "profile"), difficulty == "challenging"
    identity = draw.identity(n, rng, 1.15 if wild else 1.0)
    style = _style(n, rng, hard or wild)
    beard = np.where((rng.random(n) < 0.3) & ~np.isin(style[:, 0], (LONG, WAVES, TIED, SCARF)), rng.uniform(0.15, 1, n), 0)
    detail = np.stack(
        [
            np.where(rng.random(n) < 0.3, rng.random(n), 0), rng.random(n), beard, rng.random(n) ** 1.5,
            rng.random(n), rng.random(n),
        ], -1,
    )  # fmt: skip
    arrays = {
        "identity": identity, "pose": draw.pose(n, rng, difficulty),
        "expression": draw.wild_expression(n, rng) if wild else draw.expression(n, rng, hard),
        "gaze": np.clip(rng.normal(0, (9, 5), (n, 2)), -24, 24), "distance": np.exp(rng.uniform(6.4, 7.5, n)),
        **draw.colours(n, rng), "detail": detail, 
        "light": draw.wild_light(n, rng) if wild else draw.light(n, rng, hard),
        "camera": draw.wild_camera(n, rng) if wild else draw.camera(n, rng, hard),
        "look": draw.look(n, rng, 1.6 if wild else 1.0),
    }  # fmt: skip
    if wild:  # cameras expose for the face
        arrays["camera"][:, 5:8] *= np.clip(arrays["skin"].mean(1, keepdims=True) / 0.3, 0.03, 2) ** -0.3
    seed = rng.integers(0, 2**31, n)
    return HeadParameters(**{k: v.astype(np.float32) for k, v in arrays.items()}, style=style.astype(np.int64), seed=seed)


def masked(parameters: HeadParameters) -> HeadParameters:
    """The same heads with a mask over mouth and nose, behind whatever else is before the face."""
    style = parameters.style.copy()
    style[:, 2] = style[:, 2] % MASK + MASK
    return parameters.change(style=style)


def wears_cover(one: HeadParameters) -> bool:
    """Whether a mask or scarf is painted on the skin of one head."""
    return bool(one.style[0, 2] == COVER or one.style[0, 2] >= MASK)


def with_attribute(parameters: HeadParameters, name: str, rng: np.random.Generator) -> HeadParameters:
    """The same heads so that each clearly belongs to a subset of WFLW: name is one of ATTRIBUTES.

    Raises: InputError for another name.
    """
    if name not in ATTRIBUTES:
        raise InputError(f"the attribute is {name!r}; it must be one of {', '.join(ATTRIBUTES)}")
    n = len(parameters)
    if name == "pose":
        return parameters.change(pose=draw.large_pose(n, rng))
    if name == "expression":
        return parameters.change(expression=draw.strong_expression(n, rng))
    if name == "illumination":
        return _lit(parameters, rng)
    if name == "makeup":
        return _made_up(parameters, rng)
    if name == "occlusion":
        return _occluded(parameters, rng)
    return _blurred(parameters, rng)


def _lit(parameters: HeadParameters, rng: np.random.Generator) -> HeadParameters:
    """Light from the side, below or behind, coloured light, or a wrong exposure."""
    n, light, camera = len(parameters), parameters.light.copy(), parameters.camera.copy()
    kind = rng.integers(0, 5, n)
    side = rng.choice((-1, 1), n)
    light[:, 0] = np.choose(kind, (side * rng.uniform(60, 105, n), rng.normal(0, 25, n), side * 150, *2 * (light[:, 0],)))
    light[:, 1] = np.where(kind == 1, rng.uniform(-60, -30, n), light[:, 1])
    dark = kind < 3
    light[:, 5:8] *= np.where(dark, rng.uniform(0.15, 0.5, n), 1)[:, None]
    light[:, 2:5] *= np.where(dark, 1.4, 1)[:, None]
    tint = np.exp(rng.normal(0, 0.7, (n, 3)))
    light[:, 2:5] *= np.where((kind == 3)[:, None], tint / tint.mean(1, keepdims=True), 1)
    gain = np.where(rng.random(n) < 0.5, rng.uniform(0.12, 0.3, n), rng.uniform(2.2, 3.5, n))
    camera[:, 5:8] *= np.where(kind == 4, gain, 1)[:, None]
    return parameters.change(light=light, camera=camera)


def _made_up(parameters: HeadParameters, rng: np.random.Generator) -> HeadParameters:
    """Painted lips, eye shadow, eye liner, rouge and darker brows; no beard."""
    n, detail, look = len(parameters), parameters.detail.copy(), parameters.look.copy()
    lips = np.stack([rng.uniform(110, 215, n), rng.uniform(10, 70, n), rng.uniform(25, 100, n)], -1)
    lips *= np.where(parameters.skin.mean(1) < 0.15, 0.75, 1)[:, None]
    detail[:, 2] = 0
    for key, low, high in (
        ("eye_shadow", 0.5, 1), ("eye_liner", 0.5, 1), ("rouge", 0.4, 1), ("brow_density", 0.2, 1),
    ):  # fmt: skip
        look[:, LOOK_NAMES.index(key)] = rng.uniform(low, high, n)
    return parameters.change(lips=linear(lips), detail=detail, look=look)


def _occluded(parameters: HeadParameters, rng: np.random.Generator) -> HeadParameters:
    """Something before the face, or sunglasses."""
    n, style = len(parameters), parameters.style.copy()
    shades = rng.random(n) < 0.2
    style[:, 1] = np.where(shades, SUNGLASSES, style[:, 1])
    style[:, 2] = np.where(shades, style[:, 2], rng.integers(HAND, STRANDS, n))
    return parameters.change(style=style)


def _blurred(parameters: HeadParameters, rng: np.random.Generator) -> HeadParameters:
    """Out of focus, in motion, or of low resolution."""
    n, camera, look = len(parameters), parameters.camera.copy(), parameters.look.copy()
    kind = rng.integers(0, 3, n)
    camera[:, 0] = np.where(kind == 0, rng.uniform(1.2, 3.0, n), camera[:, 0])
    camera[:, 1] = np.where(kind == 1, rng.uniform(4, 9, n), camera[:, 1])
    look[:, LOOK_NAMES.index("low_resolution")] = np.where(kind == 2, rng.uniform(0.5, 1, n), 0)
    return parameters.change(camera=camera, look=look)
