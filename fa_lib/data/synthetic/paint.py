"""Colours of the seen pixels: light on the grid, skin, lips, eyes, mouth, beard, hair. All in linear light (gamma
2)."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import cv2
import numpy as np

from fa_lib.data.synthetic import cloth, curves, deform, draw, hair, head, people, surface, texture
from fa_lib.data.synthetic.hair import Style
from fa_lib.data.synthetic.head import HeadParameters
from fa_lib.data.synthetic.texture import Seen

# Linear colours (3, 1).
_DARK, _TONGUE, _TEETH = np.float32([[[0.035], [0.008], [0.007]], [[0.34], [0.09], [0.085]], [[0.74], [0.68], [0.57]]])
_WHITE, _PUPIL = np.float32([[[0.58], [0.545], [0.52]], [[0.003], [0.003], [0.003]]])


def normals(grid: np.ndarray) -> np.ndarray:
    """Unit outward normals (3, R, C) of a grid of points (R, C, 3); its first and last columns are one seam."""
    grid = np.ascontiguousarray(np.moveaxis(grid, -1, 0))  # numpy is much faster along long axes
    across, down = np.empty_like(grid), np.empty_like(grid)
    across[..., 1:-1] = grid[..., 2:] - grid[..., :-2]
    across[..., 0], across[..., -1] = grid[..., 1] - grid[..., -2], grid[..., 1] - grid[..., -2]
    down[:, 1:-1] = grid[:, 2:] - grid[:, :-2]
    down[:, 0], down[:, -1] = grid[:, 1] - grid[:, 0], grid[:, -1] - grid[:, -2]
    (ax, ay, az), (bx, by, bz) = across, down
    x, y, z = ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx
    length = np.sqrt(np.maximum(x * x + y * y + z * z, 1e-12))
    return np.stack([x / length, y / length, z / length])


def _towards(azimuth: float, elevation: float) -> np.ndarray:
    """Unit vector towards a light at the given degrees."""
    a, e = np.radians(azimuth), np.radians(elevation)
    return np.array([np.sin(a) * np.cos(e), -np.sin(e), np.cos(a) * np.cos(e)], np.float32)


REACH = (5, 10, 17, 26, 40)  # mm towards the light at which something may stand in its way


def shadows(one: HeadParameters, xyz: np.ndarray, near: np.ndarray, scale: float) -> np.ndarray:
    """How much of the main light brow, nose, lips and chin keep from every vertex: (R, C) float32 in [0, 1].

    Only what the camera sees can cast a shadow. Args: xyz (V, 3) pixels and nearness (mm); near (h, w) nearness of the
    pixels; scale in pixels per mm.
    """
    to_key = _towards(*one.light[0, :2])
    step = max(len(near) // 96, 1)
    small = np.maximum(near[::step, ::step], -300)
    x, y, z = np.ascontiguousarray(xyz.T).reshape(3, surface.ROWS, surface.COLUMNS)
    x, y, scale = x / np.float32(step), y / np.float32(step), np.float32(scale / step)
    dark = np.zeros_like(x)
    for reach in REACH:
        across, down = x + scale * reach * to_key[0], y + scale * reach * to_key[1]
        above = cv2.remap(small, across, down, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT, borderValue=-300.0)
        above -= z + np.float32(reach * to_key[2] + 1.5)
        above[above > 60] = 0  # so far before it that the light comes through between
        np.maximum(dark, above, out=dark)
    dark = np.minimum(dark / 4, 1)
    if to_key[1] < 0 and one.style[0, 0] != people.BALD:  # hair and hats keep light from above off the brow
        over = hair.of(one)
        reach = np.float32(-to_key[1] * over.shade + 1e-3)
        np.maximum(dark[: hair.ROWS], np.clip(1.6 + 1.6 * over.cover / reach, 0, 0.8), out=dark[: hair.ROWS])
    return cv2.blur(dark, (3, 3)) * one.look[0, draw.LOOK_NAMES.index("shadow")]


def light_map(grid: np.ndarray, one: HeadParameters, dark: np.ndarray | None = None) -> np.ndarray:
    """Light on every vertex: (R, C, 4) float32, RGB arriving and shine. `dark` (R, C) keeps off the main light."""
    light, rim = one.light[0], one.look[0, :5]
    to_key = _towards(*light[:2])
    n = normals(grid)
    lit = np.empty((*grid.shape[:2], 4), np.float32)

    def facing(way: np.ndarray) -> np.ndarray:
        return n[0] * way[0] + n[1] * way[1] + n[2] * way[2]

    towards = facing(to_key)
    half = to_key + np.float32([0, 0, 1])
    shine = np.maximum(facing(half / np.linalg.norm(half)), 0)
    shine = shine * shine * shine  # a power of 24 by products, which are much cheaper
    shine = shine * shine
    shine = shine * shine
    shine = shine * shine * np.clip(towards * 3, 0, 1)
    arrives = np.float32(1) if dark is None else 1 - dark
    sky = 0.72 - 0.28 * n[1] + 0.25 * n[2]
    back = np.maximum(facing(_towards(*rim[:2])), 0) if rim[2:].any() else None
    # Red light travels under the skin, so the edge of the shadow is softer and redder.
    for c, wrap in enumerate((0.30, 0.18, 0.14)):
        direct = np.clip((towards + np.float32(wrap)) / np.float32(1 + wrap), 0, 1)
        direct *= (0.85 + 0.15 * direct) * arrives
        lit[..., c] = direct * (light[2 + c] * np.float32(1.25)) + sky * light[5 + c]
        if back is not None:
            lit[..., c] += back * rim[2 + c]
    lit[..., 3] = shine * arrives * (light[2:5].mean() * np.float32(1.2))
    return lit


def eyes(one: HeadParameters, rest: np.ndarray, to_pixels: Callable[[np.ndarray], np.ndarray]) -> list[tuple]:
    """For both eyes: pixel of the iris centre (2,) and the matrix (2, 2) from pixels to iris radii."""
    corner = head.weigh(rest, *_eye_corners())[0]
    gx, gy = np.radians(one.gaze[0])
    ahead = np.array([np.sin(gx) * np.cos(gy), np.sin(gy), np.cos(gx) * np.cos(gy)])
    right, down = np.array([np.cos(gx), 0, -np.sin(gx)]), np.array([0, np.cos(gy), -np.sin(gy)])
    centres = (corner[[0, 2]] + corner[[1, 3]]) / 2 + [0, -1.0, -4.6] + 11.2 * ahead
    points = (centres[:, None] + 6.2 * np.stack([0 * right, right, down])).reshape(1, 6, 3).astype(np.float32)
    pixels = to_pixels(head.project(head.turn(points, one.pose), one.distance)[0])[:, :2]
    both = pixels.reshape(2, 3, 2)
    axes = np.stack([both[:, 1] - both[:, 0], both[:, 2] - both[:, 0]], -1)
    axes += np.eye(2) * 1e-3
    return list(zip(both[:, 0], np.linalg.inv(axes), strict=True))


@lru_cache(maxsize=1)
def _eye_corners() -> tuple[np.ndarray, np.ndarray]:
    return surface.corners(curves.inner_places()[[36 - 17, 39 - 17, 42 - 17, 45 - 17]])


def mouth_depth(rest: np.ndarray, place: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """How far places (P, 2) inside the mouth lie below the upper lip, and how high the mouth is there; both (P,) mm."""
    edges, fits = _lip_edges()
    # A parabola, as the mesh is too coarse to keep the edge of a wide-open mouth smooth between the landmarks.
    bends = np.einsum("ekp,ep->ek", fits, head.weigh(rest[..., 1:2], *edges)[0, ..., 0])
    x = place[:, 0]
    upper, lower = ((b[0] * x + b[1]) * x + b[2] for b in bends.astype(np.float32))
    y = head.read(rest[..., 1:2], place)[0, :, 0]
    return (y - upper).astype(np.float32), (lower - upper).astype(np.float32)


@lru_cache(maxsize=1)
def _lip_edges() -> tuple[tuple[np.ndarray, np.ndarray], np.ndarray]:
    """How to read places on the upper and lower inner lip (2, 5, 4) twice, and what makes parabolas of their heights
    (2, 3, 5)."""
    numbers = np.array([(60, 61, 62, 63, 64), (60, 67, 66, 65, 64)]) - 17
    places = curves.inner_places()[numbers]
    return surface.corners(places), np.stack([np.linalg.pinv(np.vander(p[:, 0], 3)) for p in places])


def _blend(colour: np.ndarray, other: np.ndarray, share: np.ndarray) -> np.ndarray:
    return colour + (other - colour) * share


def skin(one: HeadParameters, seen: Seen, iris: list[tuple], rest: np.ndarray) -> np.ndarray:
    """Linear colour (3, P) of head, neck and clothes, as rows: numpy is much faster along long axes."""
    look = dict(zip(draw.LOOK_NAMES, one.look[0].tolist(), strict=True))
    freckles, blush, _, age, shine, _ = one.detail[0]
    blotch, pore, strand = seen.grain
    colour = one.skin[0][:, None] * (1 + 0.10 * blotch + (0.07 + 0.05 * age) * pore)
    if freckles > 0:
        colour *= 1 - np.clip((pore - 0.42) * 1.6, 0, 1) * freckles * np.float32([[0.35], [0.5], [0.6]])
    red = seen.layer("red") * (0.15 + 0.45 * blush + 0.9 * look["rouge"])
    colour *= 1 + red * np.float32([[0.10], [-0.28], [-0.24]])
    lips = seen.layer("lips")
    colour = _blend(colour, one.lips[0][:, None] * (1 + 0.10 * pore), 0.9 * lips)
    _paint_orbits(colour, one, seen, look)
    hairy = _hairy(one, seen, strand, pore, look)
    colour = _blend(colour, one.hair[0][:, None] * 0.8 * (1 + 0.5 * strand), hairy)
    deep = min(0.45 * (0.15 + age) + 0.35 * look["wrinkles"] + 0.15 * max(_smile(one), 0), 0.8)
    shade = seen.layer("shade") * (1 - deep * seen.layer("fold"))
    lash = np.clip(seen.layer("lash") * (0.85 + 0.9 * look["eye_liner"]), 0, 0.97)
    colour = _blend(colour, np.float32([[0.004], [0.003], [0.003]]), lash)
    sparkle = seen.light[3]
    # Shadows in folds keep some warmth, as light shines through skin.
    colour *= seen.light[:3]
    colour *= shade
    colour[0] *= 1.22 - 0.22 * shade
    polish = sparkle * (0.03 + 0.10 * shine) * (1 - hairy) * (shade - 0.3) * (1 + 1.3 * lips) * (1 + 0.5 * pore)
    colour += np.clip(polish, 0, 1)
    unit = 1 / (6.2 * min(np.linalg.norm(to_iris[1]) for _, to_iris in iris))
    cloth.wear(colour, one, seen, unit)
    _paint_mouth(colour, seen, rest)
    _paint_eyes(colour, one, seen, iris)
    if people.wears_cover(one):
        _paint_cover(colour, one, seen)
    return np.clip(colour, 0, 4)


def _smile(one: HeadParameters) -> float:
    return float(one.expression[0, deform.EXPRESSION_NAMES.index("smile")])


def _hairy(one: HeadParameters, seen: Seen, strand: np.ndarray, pore: np.ndarray, look: dict[str, float]) -> np.ndarray:
    """How much of the skin (P,) brows and beard hide."""
    brow = seen.layer("brow")
    brow = np.clip((brow - 0.42 + 0.22 * look["brow_width"]) * 2.6 + 0.3, 0, 1) * (1.0 + 0.8 * strand)
    hairy = np.clip(brow, 0, 1) * np.clip(0.78 + 0.25 * look["brow_density"], 0.2, 0.97)
    beard = one.detail[0, 2]
    if beard <= 0:
        return hairy
    shape = draw.BEARDS[int(look["beard_shape"]) % len(draw.BEARDS)]
    area = seen.layer("beard")
    if shape == "moustache":
        area = area * np.clip((surface.row_of(66.0) - seen.place[:, 1]) * 1.5, 0, 1)
    elif shape == "goatee":
        area = area * np.clip((10.0 - np.abs(seen.place[:, 0] - surface.column_of(0.0))) / 2, 0, 1)
    elif shape == "whiskers":
        area = area * np.clip((np.abs(seen.place[:, 0] - surface.column_of(0.0)) - 6.0) / 2, 0, 1)
    most = 0.45 if shape == "stubble" else 0.35 + 0.6 * beard
    rough = np.clip(area * (0.25 + 1.1 * beard) * (0.85 + 0.9 * strand + 0.3 * pore), 0, most)
    return np.maximum(hairy, rough)


def _paint_orbits(colour: np.ndarray, one: HeadParameters, seen: Seen, look: dict[str, float]) -> None:
    """Shadowed bags below the eyes and paint on the lids above them, in place, on colours (3, P)."""
    where = np.flatnonzero(seen.masks[texture.LAYERS.index("orbit")] > 8)
    if len(where) == 0 or look["eye_bags"] + look["eye_shadow"] <= 0:
        return
    around, upper = seen.layer("orbit", where), seen.place[where, 1] < surface.row_of(-1.0)
    painted = np.take(colour, where, axis=1)
    painted *= 1 - (0.32 * look["eye_bags"]) * around * ~upper * np.float32([[0.8], [1.1], [1.0]])
    if look["eye_shadow"] > 0:
        tint = np.random.default_rng([int(one.seed[0]), 9]).uniform(0.01, 0.35, (3, 1)).astype(np.float32)
        painted = _blend(painted, tint, 0.9 * look["eye_shadow"] * around * upper)
    colour[:, where] = painted


def _mask(one: HeadParameters, place: np.ndarray) -> tuple[np.ndarray, np.random.Generator]:
    """How far a mask or scarf painted over nose and mouth hides places (P, 2) of the skin, (P, 1), and its random
    numbers."""
    knob = np.random.default_rng([int(one.seed[0]), 5])
    height = knob.uniform(14, 40)
    away = np.abs(place[:, :1] - surface.column_of(0.0))
    top = surface.row_of(height) + 0.004 * knob.uniform(-1.0, 0.8) * away**2
    over = np.clip((place[:, 1:] - top) * 2, 0, 1) * np.clip((knob.uniform(29, 34) - away) * 1.5, 0, 1)
    return over * np.clip((surface.JAW_ROW + knob.uniform(2, 6) - place[:, 1:]) * 2, 0, 1), knob


def covered(one: HeadParameters, place: np.ndarray) -> np.ndarray:
    """Which places (P, 2) of one head's skin a painted mask or scarf hides: (P,) bool."""
    if not people.wears_cover(one):
        return np.zeros(len(place), bool)
    return _mask(one, place)[0][:, 0] > 0.5


def _paint_cover(colour: np.ndarray, one: HeadParameters, seen: Seen) -> None:
    """A mask or scarf over nose and mouth, in place on colours (3, P), with a soft weave."""
    over, knob = _mask(one, seen.place)
    pleat = 1 + 0.10 * np.sin(seen.place[:, 1] * knob.uniform(1.0, 1.6)) + 0.08 * seen.grain[2]
    tint = np.clip(knob.uniform(0.02, 0.8) * (1 + knob.normal(0, 0.15, 3)), 0, 1).astype(np.float32)
    colour[:] = _blend(colour, tint[:, None] * seen.light[:3] * pleat, over[:, 0])


def _paint_mouth(colour: np.ndarray, seen: Seen, rest: np.ndarray) -> None:
    """Teeth, tongue and the dark of the mouth, in place on colours (3, P), where the layer `mouth` is seen."""
    where = np.flatnonzero(seen.masks[texture.LAYERS.index("mouth")] > 8)
    if len(where) == 0:
        return
    deep, gap = mouth_depth(rest, np.take(seen.place, where, axis=0))
    some = np.flatnonzero(gap > 0)  # closed lips show nothing of it
    if len(some) == 0:
        return
    where, deep, gap = where[some], deep[some], gap[some]
    across = np.abs(seen.place[where, 0] - surface.column_of(0.0))
    tongue = np.clip((deep - 0.62 * gap) / np.maximum(0.2 * gap, 0.1), 0, 1) * np.clip(1 - across / 7, 0, 1)
    inside = _blend(_DARK, _TONGUE, tongue * np.clip((gap - 7) / 8, 0, 1))
    length = np.minimum(7.5 - 0.10 * across**1.5, 0.8 * gap + 2)
    teeth = np.clip((length - deep) * 1.2, 0, 1) * np.clip((7.2 - across) / 2.5, 0, 1)
    low = np.clip((deep - (gap - 3.5)) * 1.2, 0, 1) * np.clip((5.0 - across) / 2, 0, 1) * np.clip((gap - 9) / 6, 0, 1)
    gaps = 1 - 0.16 * np.exp(-(((across + 0.0) % 2.1 / 0.22) ** 2))
    white = _TEETH * gaps * np.clip(1 - 0.011 * across**2, 0.1, 1) * np.clip(0.55 + deep / 3, 0.2, 1)
    inside = _blend(inside, white, np.maximum(teeth, 0.7 * low))
    light = 0.35 + 0.6 * np.take(seen.light[:3], where, axis=1)
    share = seen.layer("mouth", where) * np.clip(gap / 0.8, 0, 1)
    colour[:, where] = _blend(np.take(colour, where, axis=1), inside * light, share)


def _paint_eyes(colour: np.ndarray, one: HeadParameters, seen: Seen, iris: list[tuple]) -> None:
    """White, iris, pupil and highlight, in place on colours (3, P), where the layer `eye` is seen."""
    picked = np.flatnonzero(seen.masks[texture.LAYERS.index("eye")] > 8)
    right = seen.place[picked, 0] > surface.column_of(0.0)
    for side, (centre, to_iris) in enumerate(iris):
        where = picked[right == bool(side)]
        if len(where) == 0:
            continue
        at = (seen.xy(where) - centre) @ to_iris.T
        x, y = at.T
        r = np.hypot(x, y)
        soft = max(0.5 * np.abs(to_iris).max(), 0.06)
        ring = np.clip((1 - r) / soft + 0.5, 0, 1)
        pupil = np.clip((0.32 + 0.16 * one.detail[0, 5] - r) / soft + 0.5, 0, 1)
        spokes = 1 + 0.22 * np.sin(np.arctan2(y, x) * 17 + 3 * r)
        disc = (
            one.iris[0][:, None] * spokes * (0.75 + 0.75 * (r - 0.35)) * np.clip(1.0 - 0.75 * (r - 0.78) / 0.22, 0.25, 1) * 1.35
        )
        white = _WHITE * (1 - 0.10 * np.clip(r - 1.2, 0, 2)) * np.float32([[1], [0.985], [0.97]])
        ball = _blend(_blend(white, disc, ring), _PUPIL, pupil)
        ball = ball * (0.25 + 0.62 * np.take(seen.light[:3], where, axis=1)) * (1 - 0.6 * seen.layer("lid_shadow", where))
        spot = np.float32([np.sin(np.radians(one.light[0, 0])) * 0.45, -0.38])
        glint = np.clip((0.17 - np.hypot(*(at - spot).T)) / soft + 0.5, 0, 1) * 0.85
        ball = _blend(ball, np.float32(1), glint)
        shown = seen.layer("eye", where) * (1 - 0.8 * seen.layer("lash", where))
        colour[:, where] = _blend(np.take(colour, where, axis=1), ball, shown)


def locks(
    one: HeadParameters, grid: np.ndarray, style: Style, at: np.ndarray, count: int, offset: np.ndarray, back: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Linear colour and 1 (4, P), and cover (P,), of the hair seen at packed places."""

    def look(array: np.ndarray) -> np.ndarray:
        seen = cv2.remap(array, at, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        return cv2.transpose(seen.reshape(-1, 1 if array.ndim == 2 else array.shape[2])[:count])

    cover = look(style.cover)[0]
    soft, fine, strand, curl = texture.grain(at, (9, 7), offset)[:, :count]
    strand = strand * (1 - style.curl) + curl * style.curl
    worn = one.style[0, 0] in people.WORN
    if worn:
        strand = 0.25 * soft
    alpha = np.clip((cover + strand * style.fray) / (0.35 * style.fray + 0.8) + 0.3, 0, 1)
    if one.style[0, 0] == people.BUZZ:
        alpha *= np.clip(0.72 + 0.5 * fine, 0, 1)
    tint = (np.roll(one.cloth, one.seed[0] % 3) if worn else one.hair)[0][:, None]
    depth = np.clip((0.62 + 0.62 * strand) * np.clip(0.55 + cover / 40, 0, 1), 0.12, 1.6)
    if back:
        colour = tint * (one.light[0, 5:8] + 0.2 * one.light[0, 2:5])[:, None] * depth * 0.35
    else:
        light = look(light_map(grid, one))
        colour = tint * light[:3] * depth + light[3] * np.clip(0.4 + 1.2 * strand, 0, 1) * (0.02 + 0.16 * tint)
    return np.concatenate([np.clip(colour, 0, 4), np.ones((1, count))]).astype(np.float32), alpha.astype(np.float32)
