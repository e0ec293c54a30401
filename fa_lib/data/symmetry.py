"""Whether a flip map is right: the mean face of a set, mirrored, must lie on itself."""

from dataclasses import dataclass

import numpy as np
from scipy.optimize import linear_sum_assignment

from fa_lib.errors import InputError
from fa_lib.landmarks import Scheme

TOLERANCE = 0.05  # share of the face's size; a mean over 100 faces and its mirror image differ by half of it
# With the right map the points' best order brings mean face and mirror image hardly nearer (to 0.42 at worst, in 200 draws of 5
# faces with 68 points), also where all heads turn to one side; with a wrong one it brings them to 0.3 at most.
NEARER = 0.4
LEAST = 5  # faces; the mean of fewer may be turned any way


@dataclass(frozen=True)
class Mirror:
    """Mean face (K, 2) about its middle, in units of its size; the same `mirrored` and renamed by the flip; `apart` (K,) is the
    distance between both, and `lands` (K,) says on which point each mirrored one lands when all are matched at best.
    """

    mean: np.ndarray
    mirrored: np.ndarray
    apart: np.ndarray
    lands: np.ndarray
    flip: tuple[int, ...]
    wrong: bool

    @property
    def worst(self) -> tuple[int, int]:
        """The pair of points that are farthest from being mirror images of each other."""
        i = int(self.apart.argmax())
        return i, self.flip[i]

    def complaint(self) -> str:
        """What is wrong, in a sentence that names the worst pair; "" where nothing is."""
        i, other = self.worst
        apart = f"{100 * self.apart[i]:.0f} % of the face's size"
        if self.wrong:
            said = (
                f"points {i} and {other} are mirror images of each other" if i != other else f"point {i} is its own mirror image"
            )
            return (
                f"flip says that {said}, but in the mean face the image of point {other} lies {apart} from point {i} and belongs "
                f"to point {self.lands[i]}; plots.flip_check draws it"
            )
        if self.apart[i] > 4 * TOLERANCE:
            return (
                f"the mean face is no mirror image of itself: points {i} and {other} are {apart} apart; either most heads turn "
                "to one side or flip is wrong, and plots.flip_check shows which"
            )
        return ""


def reflect(landmarks: np.ndarray, scheme: Scheme) -> Mirror:
    """Mirrors the mean of faces (N, K, 2), N > 0, and compares it with itself, point by point."""
    faces = np.asarray(landmarks, np.float64)
    faces = faces - faces.mean(1, keepdims=True)
    size = np.sqrt((faces**2).sum(-1).mean(-1)) * 2  # about the side of the box, also where all points lie on a line
    mean = (faces / np.maximum(size, 1e-9)[:, None, None]).mean(0)
    mirrored = (mean * [-1, 1])[list(scheme.flip)]
    distance = np.linalg.norm(mirrored[:, None] - mean, axis=-1)
    order, lands = linear_sum_assignment(distance**2)
    apart, best = np.diag(distance), distance[order, lands].max()
    wrong = len(faces) >= LEAST and apart.max() > TOLERANCE and best < NEARER * apart.max()
    return Mirror(mean, mirrored, apart, lands, scheme.flip, bool(wrong))


def check(landmarks: np.ndarray, scheme: Scheme, source: str) -> None:
    """InputError, which names `source`, where the faces (N, K, 2) show that the flip is wrong, by which training mirrors."""
    if (found := reflect(landmarks, scheme)).wrong:
        raise InputError(f"{source}: {found.complaint()}")
