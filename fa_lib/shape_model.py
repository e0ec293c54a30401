"""Principal component model of face shapes (Cootes et al.; paper 2, equations 1-3)."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from fa_lib.errors import InputError


@dataclass(frozen=True)
class ShapeModel:
    """Mean shape (2K,), `components` (P, 2K) in rows, their variances (P,), of the flattened landmarks x0 y0 x1 y1 ..."""

    mean: np.ndarray
    components: np.ndarray
    variances: np.ndarray

    @classmethod
    def fit(cls, landmarks: np.ndarray, keep: float = 0.9, by: Literal["variance", "components"] = "variance") -> "ShapeModel":
        """Fit to landmarks (N, K, 2), by scikit-learn's PCA. `keep` is the share of the variance, or of the components, to keep.

        By variance (what paper 2's code does): as few components as hold that share. By components (its text: "90 % of
        all the Eigenvectors"): that share of all min(N, 2K) of them, which softens far less. The sign of each component is the
        one that makes its largest entry positive. InputError for fewer than two faces, another shape, or another `keep` or `by`.

        Differs from the paper: k in its equation 1 must be the number of coordinates, 2K, not of landmarks.

        >>> line = np.arange(5.0)[:, None, None] * np.ones((1, 3, 2))  # shapes that move along one direction only
        >>> ShapeModel.fit(line).components.shape
        (1, 6)
        """
        if by not in ("variance", "components") or not 0 < keep <= 1:
            raise InputError(f"keep={keep!r}, by={by!r}: keep is in (0, 1], by is 'variance' or 'components'")
        flat = _flat(landmarks)
        if len(flat) < 2:
            raise InputError("a shape model needs at least two faces")
        mean, components, variances = _principal_components(flat)
        if by == "variance":
            count = int(np.searchsorted(np.cumsum(variances), keep * variances.sum() * (1 - 1e-12))) + 1
        else:
            count = max(1, round(keep * len(variances)))
        return cls(mean, components[:count], variances[:count])

    def project(self, landmarks: np.ndarray) -> np.ndarray:
        """Coefficients (N, P) of landmarks (N, K, 2)."""
        flat = _flat(landmarks)
        if flat.shape[1] != len(self.mean):
            raise InputError(f"the shape model has {len(self.mean) // 2} landmarks, these faces {flat.shape[1] // 2}")
        return (flat - self.mean) @ self.components.T

    def soften(self, landmarks: np.ndarray, limit: float = 3.0) -> np.ndarray:
        """The nearest shapes (N, K, 2) of the model, each coefficient kept within `limit` standard deviations."""
        bound = limit * np.sqrt(self.variances)
        coefficients = np.clip(self.project(landmarks), -bound, bound)
        return (self.mean + coefficients @ self.components).reshape(np.shape(landmarks))


def _principal_components(flat: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean, all components in rows, largest variance first, and their variances."""
    from sklearn.decomposition import PCA  # here because it takes seconds to import

    with np.errstate(invalid="ignore"):  # equal faces have no variance, of which PCA takes shares
        fitted = PCA(svd_solver="full").fit(flat)
    return fitted.mean_, fitted.components_, fitted.explained_variance_


def _flat(landmarks: np.ndarray) -> np.ndarray:
    """Landmarks (N, K, 2) as rows (N, 2K); InputError where they are of another shape."""
    landmarks = np.asarray(landmarks, dtype=np.float64)
    if landmarks.ndim != 3 or landmarks.shape[-1] != 2:
        raise InputError(f"landmarks must be (N, K, 2), x before y, not {landmarks.shape}")
    return landmarks.reshape(len(landmarks), -1)
