"""Annotators of rendered faces: where a person would click, knowing the exact points; and how far two people disagree."""

from __future__ import annotations

import itertools

import numpy as np

from fa_lib.data.synthetic.curves import CONTOUR
from fa_lib.data.synthetic.head import HeadParameters
from fa_lib.landmarks import SCHEMES

ANNOTATORS = 4


def _runs(*starts: int) -> tuple[tuple[int, ...], ...]:
    return tuple(tuple(range(a, b)) for a, b in itertools.pairwise(starts))


# For each scheme, the points that an annotator shifts together, in order along their curve.
STRANDS = {
    68: _runs(0, 17, 22, 27, 31, 36, 42, 48, 60, 68),
    98: _runs(0, 33, 38, 42, 47, 51, 55, 60, 68, 76, 88, 96, 97, 98),
    29: (
        (0, 4, 2, 5), (1, 6, 3, 7), (8, 12, 10, 13), (9, 14, 11, 15), (16,), (17,), (18, 21, 19), (20,),
        (22, 24, 23, 27), (25, 26), (28,),
    ),
    19: ((0, 1, 2), (3, 4, 5), (6, 7, 8), (9, 10, 11), (12, 13, 14), (15, 16, 17), (18,)),
}  # fmt: skip
# Standard deviations in per cent of the inter-ocular distance, chosen so that two annotations of one face differ as
# they do in 300-W (photographs that were annotated twice: median 2.05 % over all points, 3.7 % on the jaw, 1.6 %
# inside the face).
ALONG_JAW, ACROSS_JAW, SHARED, SINGLE, HABIT = 2.5, 0.85, 0.48, 0.48, 0.46


def is_contour(strand: tuple[int, ...], points: int) -> bool:
    """Whether a strand of a scheme is its contour, which annotators place by eye rather than on a feature."""
    return strand[0] in CONTOUR[points]


def smooth(n: int, rng: np.random.Generator, size: tuple[int, ...]) -> np.ndarray:
    """Random curves of unit spread over n points in a row, (*size, n): a shift, a stretch and a bend."""
    at = np.linspace(-1, 1, n)
    basis = np.stack([np.ones(n), 1.4 * at, 1.6 * (at * at - 1 / 3)]) * np.array([0.75, 0.55, 0.36])[:, None]
    return rng.normal(size=(*size, 3)) @ basis


def tangents(points: np.ndarray) -> np.ndarray:
    """Unit directions along each strand of points (N, K, 2); to picture-right where a point stands alone."""
    along = np.zeros_like(points)
    for strand in STRANDS[points.shape[1]]:
        numbers = list(strand)
        along[:, numbers] = np.gradient(points[:, numbers], axis=1) if len(strand) > 1 else [1.0, 0.0]
    return along / np.maximum(np.linalg.norm(along, axis=-1, keepdims=True), 1e-9)


def _habit(annotator: int, points: int) -> np.ndarray:
    """What one annotator always does: (points, 2) offsets along and across the strands, per cent."""
    rng = np.random.default_rng([1968, annotator] if points == 68 else [1968, annotator, points])
    shift = np.empty((points, 2))
    for strand in STRANDS[points]:
        spread = np.array([1.6, 0.75]) if is_contour(strand, points) else np.array([HABIT, HABIT])
        shift[list(strand)] = (smooth(len(strand), rng, (2,)) * spread[:, None]).T
    return shift


def face_length(points: np.ndarray, yaw: np.ndarray | float = 0.0) -> np.ndarray:
    """About the inter-ocular distance (N,) of faces (N, K, 2) if they looked at the camera, in the points' unit."""
    outer = points[:, list(SCHEMES[points.shape[1]].outer_eyes)]
    apart = np.linalg.norm(outer[:, 1] - outer[:, 0], axis=-1) / np.maximum(np.cos(np.radians(yaw)), 0.5)
    return np.maximum(apart, 0.5 * np.ptp(points, axis=1).max(-1))  # in profile the eyes tell nothing


def annotate(
    truth: np.ndarray, turned: HeadParameters | np.ndarray, annotator: int | np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """What an annotator marks on faces whose exact landmarks are known.

    An annotator has habits, the same on every face, and slips, new on every face; both run along the contour rather
    than across it, and are larger where the head is turned away.

    Args: truth (N, K, 2) pixels, of any scheme; turned: the faces' parameters or their yaw (N,) in degrees; annotator
    (N,) or one number.
    Returns: (N, K, 2) float32 pixels.
    """
    points = np.asarray(truth, float)
    n, count = points.shape[:2]
    yaw = turned.pose[:, 0] if isinstance(turned, HeadParameters) else np.asarray(turned)
    offset = np.stack([_habit(int(a), count) for a in np.broadcast_to(annotator, n)])
    for strand in STRANDS[count]:
        numbers = list(strand)
        spread = np.array([ALONG_JAW, ACROSS_JAW]) if is_contour(strand, count) else np.array([SHARED, SHARED])
        offset[:, numbers] += np.swapaxes(smooth(len(strand), rng, (n, 2)) * spread[:, None], 1, 2)
        offset[:, numbers] += rng.normal(size=(n, len(strand), 2)) * SINGLE
    care = np.exp(rng.normal(0, 0.28, n)) * (1 + 0.4 * np.abs(yaw) / 60)
    along = tangents(points)
    across = np.stack([-along[..., 1], along[..., 0]], -1)
    step = (offset / 100) * (care * face_length(points, yaw))[:, None, None]
    return (points + step[..., :1] * along + step[..., 1:] * across).astype(np.float32)
