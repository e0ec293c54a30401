"""Filters that steady a face's landmarks from frame to frame: what paper 3 does not compare with, and everybody would try first.

Each is called with the landmarks (K, 2) of one frame, (x, y) in pixels, and returns the smoothed ones of the same frame, as
float64: none looks ahead. `reset` forgets what came before; `smooth` runs one over whole clips.

The code is our own since none of the packages at hand filters many points at once: scipy.signal has filters of fixed
coefficients only, cv2.KalmanFilter one state for all points (a covariance of (4 K)^2 numbers instead of 2^2), and
OneEuroFilter on PyPI, by the filter's authors, takes one number at a time.
"""

from abc import ABC, abstractmethod
from collections import deque

import numpy as np

from fa_lib.errors import InputError

UNKNOWN_SPEED = 1e6  # Kalman: variance of the speed at the first frame, over that of the measurement


class Filter(ABC):
    """What the filters have in common: the check of their input, and a first frame that they return as it is."""

    def __init__(self) -> None:
        self._shape: tuple[int, ...] | None = None

    def reset(self) -> None:
        """Forget all frames: the next one is the first of a clip."""
        self._shape = None

    def __call__(self, landmarks: np.ndarray) -> np.ndarray:
        """Smoothed landmarks (K, 2) of a frame. InputError if they are not finite, or not as many as in the frame before."""
        points = np.array(landmarks, dtype=np.float64)
        if points.ndim != 2 or points.shape[-1] != 2 or not np.isfinite(points).all():
            raise InputError(f"landmarks of shape {points.shape}: a filter takes those of one frame, (K, 2), all of them finite")
        if self._shape is None:
            self._shape = points.shape
            self._first(points)
            return points
        if points.shape != self._shape:
            raise InputError(f"{len(points)} landmarks after {self._shape[0]} in the frame before: reset() before another clip")
        return self._next(points)

    @abstractmethod
    def _first(self, points: np.ndarray) -> None:
        """Remember the first frame of a clip, and nothing from before."""

    @abstractmethod
    def _next(self, points: np.ndarray) -> np.ndarray:
        """Smooth a later one."""


class MovingAverage(Filter):
    """Mean of the last `window` frames, of all frames so far at the start of a clip. It is (window - 1) / 2 frames late.

    >>> average = MovingAverage(2)
    >>> [average([[x, 10 * x]]).tolist() for x in (0, 2, 4)]
    [[[0.0, 0.0]], [[1.0, 10.0]], [[3.0, 30.0]]]
    """

    def __init__(self, window: int) -> None:
        super().__init__()
        if not isinstance(window, int) or window < 1:
            raise InputError(f"window={window}: a moving average is over a whole number of frames, at least 1")
        self._last: deque[np.ndarray] = deque(maxlen=window)

    def _first(self, points: np.ndarray) -> None:
        self._last.clear()
        self._last.append(points.copy())

    def _next(self, points: np.ndarray) -> np.ndarray:
        self._last.append(points)
        return np.mean(self._last, axis=0)


class OneEuro(Filter):
    """One-Euro filter (Casiez, Roussel and Vogel, CHI 2012): an exponential one that smooths less where a point is fast.

    Each coordinate on its own: x̂ += alpha (x - x̂), alpha = r / (1 + r), r = 2 pi cutoff / rate, cutoff = min_cutoff + beta |v|,
    and v, the speed, is x - x̂ times rate, smoothed in the same way with the cutoff `derivative_cutoff`.

    `min_cutoff` and `derivative_cutoff` are in Hz and `beta` in 1 / pixel (Hz for each pixel a second: it belongs to a size of
    picture); `rate` is in frames a second. With rate=1 the unit of time is a frame.

    >>> slow = OneEuro(min_cutoff=1 / (2 * np.pi), beta=0.0, rate=1.0)  # alpha is 1 / 2
    >>> [slow([[x, 0]])[0, 0].tolist() for x in (0, 4, 4)]
    [0.0, 2.0, 3.0]
    """

    def __init__(self, min_cutoff: float, beta: float, derivative_cutoff: float = 1.0, *, rate: float = 30.0) -> None:
        super().__init__()
        positive = (min_cutoff, derivative_cutoff, rate)
        if not (min(positive) > 0 and beta >= 0 and np.isfinite([*positive, beta]).all()):
            given = f"min_cutoff={min_cutoff}, beta={beta}, derivative_cutoff={derivative_cutoff}, rate={rate}"
            raise InputError(f"{given}: cutoffs and rate must be greater than 0, beta at least 0, all of them finite")
        self.min_cutoff, self.beta, self.derivative_cutoff, self.rate = min_cutoff, beta, derivative_cutoff, rate

    def _first(self, points: np.ndarray) -> None:
        self._position, self._speed = points.copy(), np.zeros_like(points)

    def _next(self, points: np.ndarray) -> np.ndarray:
        # The speed is measured from the last smoothed position, as in the publication; from the last raw one in older code.
        away = points - self._position
        self._speed = self._speed + self._alpha(self.derivative_cutoff) * (away * self.rate - self._speed)
        self._position = self._position + self._alpha(self.min_cutoff + self.beta * np.abs(self._speed)) * away
        return self._position.copy()

    def _alpha(self, cutoff: float | np.ndarray) -> float | np.ndarray:
        r = 2 * np.pi * cutoff / self.rate
        return r / (1 + r)


class Kalman(Filter):
    """Kalman filter of points that keep their speed but for random accelerations, one for each frame.

    A coordinate has a state (position, speed) in pixels and pixels a frame. All coordinates share one 2 x 2 covariance, as it
    does not depend on what is measured. `ratio` is the variance of the accelerations, in pixels^2 / frame^4, over that of the
    measured positions, in pixels^2; only this ratio matters. The smaller, the smoother; steady motion is followed without lag.

    At the first frame the speed is unknown, so that the second is taken almost as it is measured.

    >>> steady = Kalman(ratio=1e-3)
    >>> [round(float(steady([[3 * t, 0]])[0, 0]), 4) for t in range(4)]
    [0.0, 3.0, 6.0, 9.0]
    """

    _MOVE = np.array([[1.0, 1.0], [0.0, 1.0]])
    _PUSH = np.array([[0.25, 0.5], [0.5, 1.0]])  # an acceleration a moves the position by a / 2 and the speed by a

    def __init__(self, ratio: float) -> None:
        super().__init__()
        if not 0 < ratio < np.inf:
            raise InputError(f"ratio={ratio}: process noise over measurement noise, a finite number greater than 0")
        self.ratio = ratio

    def _first(self, points: np.ndarray) -> None:
        self._state = np.stack([points, np.zeros_like(points)])  # (2, K, 2): positions, speeds
        self._covariance = np.diag([1.0, UNKNOWN_SPEED])  # over the variance of a measurement

    def _next(self, points: np.ndarray) -> np.ndarray:
        state = np.tensordot(self._MOVE, self._state, 1)
        covariance = self._MOVE @ self._covariance @ self._MOVE.T + self.ratio * self._PUSH
        gain = covariance[:, 0] / (covariance[0, 0] + 1)  # (2,): of the position, of the speed
        self._state = state + gain[:, None, None] * (points - state[0])
        self._covariance = covariance - np.outer(gain, covariance[0])
        return self._state[0].copy()


def smooth(filter: Filter, tracks: np.ndarray, clips: np.ndarray) -> np.ndarray:
    """Smoothed landmarks (T, K, 2) of frames in the order of time; the filter is reset wherever the clip's name (T,) changes.

    >>> tracks = np.array([0.0, 2.0, 8.0, 10.0])[:, None, None] * np.ones((1, 1, 2))
    >>> smooth(MovingAverage(9), tracks, np.array(["a", "a", "b", "b"]))[:, 0, 0].tolist()
    [0.0, 1.0, 8.0, 9.0]
    """
    tracks, clips = np.asarray(tracks, dtype=np.float64), np.asarray(clips)
    if tracks.ndim != 3 or tracks.shape[-1] != 2 or clips.shape != tracks.shape[:1]:
        raise InputError(f"tracks {tracks.shape} and clips {clips.shape}: they must be (T, K, 2) and (T,), a clip's name a frame")
    smoothed = np.empty_like(tracks)
    for t, landmarks in enumerate(tracks):
        if t == 0 or clips[t] != clips[t - 1]:
            filter.reset()
        smoothed[t] = filter(landmarks)
    filter.reset()
    return smoothed
