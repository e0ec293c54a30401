"""Point schemes of the data sets: which index is which point, how a face mirrors, where the eyes are.

All indices are 0-based. "Left" and "right" mean the side of the *picture*, as in 300-W: point 36 of the 68 is the outer
corner of the eye on the left of the picture.
"""

from dataclasses import dataclass
from typing import Literal, TypeVar

import numpy as np
import torch

from fa_lib.errors import InputError

Points = TypeVar("Points", np.ndarray, torch.Tensor)
Normaliser = Literal["inter_ocular", "inter_pupil", "box"]


@dataclass(frozen=True)
class Scheme:
    """One way to place K landmarks on a face.

    `flip[i]` is the index of the point that lands on i when the picture is mirrored. `outer_eyes` are the two points whose
    distance is the inter-ocular normaliser (a user's own scheme may name any two); `pupils` are two groups of points whose
    means are the pupils; both are None where a scheme has no eyes. `regions` names groups of points (disjoint, together all K).
    `normaliser` is what errors on this scheme are divided by where nothing else is asked for.

    >>> SCHEMES[68].flip[36], SCHEMES[68].outer_eyes
    (45, (36, 45))
    """

    count: int
    flip: tuple[int, ...]
    outer_eyes: tuple[int, int] | None
    pupils: tuple[tuple[int, ...], tuple[int, ...]] | None
    regions: dict[str, tuple[int, ...]]
    normaliser: Normaliser = "inter_ocular"

    @property
    def ruler(self) -> str:
        """The normaliser in words, as axes and captions name it.

        >>> SCHEMES[68].ruler, SCHEMES[19].ruler
        ('inter-ocular distance', 'size of the face box')
        """
        if self.normaliser == "inter_ocular" and self != SCHEMES.get(self.count) and self.outer_eyes:
            return f"distance of points {self.outer_eyes[0]} and {self.outer_eyes[1]}"
        return {"inter_ocular": "inter-ocular distance", "inter_pupil": "inter-pupil distance"}.get(
            self.normaliser, "size of the face box"
        )


def _span(first: int, last: int) -> tuple[int, ...]:
    return tuple(range(first, last + 1))


def _mirror(count: int, *paths: tuple[tuple[int, ...], tuple[int, ...]]) -> tuple[int, ...]:
    """Flip permutation from pairs of paths: the i-th point of one path mirrors the i-th of the other."""
    flip = list(range(count))
    for one, other in paths:
        for a, b in zip(one, other, strict=True):
            flip[a], flip[b] = b, a
    return tuple(flip)


def _reversed(*spans: tuple[int, int]) -> list[tuple[tuple[int, ...], tuple[int, ...]]]:
    """Paths that mirror onto themselves read backwards, such as a jaw line."""
    return [(_span(a, b), _span(a, b)[::-1]) for a, b in spans]


SCHEMES: dict[int, Scheme] = {
    68: Scheme(
        68,
        _mirror(
            68,
            *_reversed((0, 16), (31, 35), (48, 54), (55, 59), (60, 64), (65, 67)),
            (_span(17, 21), _span(22, 26)[::-1]),
            (_span(36, 39), _span(42, 45)[::-1]),
            ((40, 41), (47, 46)),
        ),
        (36, 45),
        (_span(36, 41), _span(42, 47)),
        {
            "jaw": _span(0, 16),
            "left_brow": _span(17, 21),
            "right_brow": _span(22, 26),
            "nose": _span(27, 35),
            "left_eye": _span(36, 41),
            "right_eye": _span(42, 47),
            "outer_mouth": _span(48, 59),
            "inner_mouth": _span(60, 67),
        },
    ),
    98: Scheme(
        98,
        _mirror(
            98,
            *_reversed((0, 32), (55, 59), (76, 82), (83, 87), (88, 92), (93, 95)),
            (_span(33, 37), _span(42, 46)[::-1]),
            (_span(38, 41), (50, 49, 48, 47)),
            (_span(60, 64), _span(68, 72)[::-1]),
            (_span(65, 67), _span(73, 75)[::-1]),
            ((96,), (97,)),
        ),
        (60, 72),
        ((96,), (97,)),
        {
            "jaw": _span(0, 32),
            "left_brow": _span(33, 41),
            "right_brow": _span(42, 50),
            "nose": _span(51, 59),
            "left_eye": (*_span(60, 67), 96),
            "right_eye": (*_span(68, 75), 97),
            "outer_mouth": _span(76, 87),
            "inner_mouth": _span(88, 95),
        },
    ),
    29: Scheme(
        29,
        _mirror(29, ((0, 2, 4, 5, 8, 10, 12, 13, 16, 18, 22), (1, 3, 6, 7, 9, 11, 14, 15, 17, 19, 23))),
        (8, 9),
        ((16,), (17,)),
        {
            "jaw": (28,),
            "left_brow": (0, 2, 4, 5),
            "right_brow": (1, 3, 6, 7),
            "nose": (18, 19, 20, 21),
            "left_eye": (8, 10, 12, 13, 16),
            "right_eye": (9, 11, 14, 15, 17),
            "outer_mouth": (22, 23, 24, 27),
            "inner_mouth": (25, 26),
        },
    ),
    19: Scheme(
        19,
        _mirror(19, *_reversed((0, 5), (6, 11), (12, 14), (15, 17))),
        (6, 11),
        ((7,), (10,)),
        {
            "jaw": (18,),
            "left_brow": (0, 1, 2),
            "right_brow": (3, 4, 5),
            "nose": (12, 13, 14),
            "left_eye": (6, 7, 8),
            "right_eye": (9, 10, 11),
            "outer_mouth": (15, 16, 17),
        },
        normaliser="box",  # on AFLW's profiles the eyes are as good as one point
    ),
}

# 98 -> 68: every second jaw point, the upper rows of the brows, the nose, six of eight points an eye, the mouth.
_68_FROM_98 = (
    *range(0, 33, 2), *_span(33, 37), *_span(42, 46), *_span(51, 59),
    60, 61, 63, 64, 65, 67, 68, 69, 71, 72, 73, 75, *_span(76, 95),
)  # fmt: skip


def scheme_of(landmarks: np.ndarray | torch.Tensor) -> Scheme:
    """The scheme that has as many points as `landmarks` (..., K, 2); InputError where none has."""
    count = _count(landmarks)
    if count not in SCHEMES:
        raise InputError(f"{count} landmarks a face: no point scheme has that many (known: {sorted(SCHEMES)})")
    return SCHEMES[count]


def convert(landmarks: Points, source: int, target: int) -> Points:
    """Landmarks (..., source, 2) of one scheme as landmarks (..., target, 2) of another, by index alone.

    Raises InputError for a pair of schemes without an index map (only 98 -> 68 and n -> n have one).

    >>> points = np.stack([np.arange(98), np.zeros(98)], -1)
    >>> convert(points, 98, 68)[[8, 36, 45], 0]
    array([16., 60., 72.])
    """
    if _count(landmarks) != source:
        raise InputError(f"landmarks have {_count(landmarks)} points, but the source scheme {source} was named")
    if source == target:
        return landmarks
    if (source, target) != (98, 68):
        raise InputError(f"no conversion from {source} to {target} points: only 98 -> 68 is defined by indices")
    return landmarks[..., list(_68_FROM_98), :]


def _count(landmarks: np.ndarray | torch.Tensor) -> int:
    if landmarks.ndim < 2 or landmarks.shape[-1] != 2:
        raise InputError(f"landmarks must be (..., K, 2), x before y, not {tuple(landmarks.shape)}")
    return landmarks.shape[-2]
