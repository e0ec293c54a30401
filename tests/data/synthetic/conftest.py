"""What tests of the renderer share: heads without distraction, and colours of a part of a picture."""

from collections.abc import Callable

import cv2
import numpy as np
import pytest

from fa_lib.data.synthetic import deform, head, people


@pytest.fixture
def clean() -> Callable[..., head.HeadParameters]:
    """Makes n different bald people: frontal, lips shut, in even light, before a plain wall and a good camera."""

    def make(n: int, **changes: np.ndarray) -> head.HeadParameters:
        some = people.sample(n, np.random.default_rng(4))
        expression = np.zeros((n, len(deform.EXPRESSION_NAMES)))
        expression[:, deform.EXPRESSION_NAMES.index("lips_close")] = 0.9
        every = {
            "expression": expression, "pose": np.zeros((n, 3)), "gaze": np.zeros((n, 2)), "detail": np.zeros((n, 6)),
            "light": np.tile([0.0, 25, 0.6, 0.6, 0.6, 0.4, 0.4, 0.4], (n, 1)), "style": np.zeros((n, 4), int),
            "camera": np.tile([0.0, 0, 0, 0, 100, 1, 1, 1], (n, 1)), "look": np.zeros_like(some.look),
        }  # fmt: skip
        return some.change(**{**every, **changes})

    return make


@pytest.fixture
def mean_inside() -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    """The mean colour of a picture inside a polygon of pixels."""

    def mean(image: np.ndarray, polygon: np.ndarray) -> np.ndarray:
        mask = np.zeros(image.shape[:2], np.uint8)
        cv2.fillPoly(mask, [np.round(polygon).astype(np.int32)], 1)
        return image[mask > 0].mean(0)

    return mean
