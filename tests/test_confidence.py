"""Shares of mass are counted by hand; chances that are promised come true, and a measure says so where they do not."""

from collections.abc import Callable

import numpy as np
import pytest
import torch

from fa_lib.confidence import Calibration, calibrate, peak_share, reliability
from fa_lib.heatmaps import draw


def test_share_is_counted_about_x_then_y():
    maps = torch.zeros(1, 2, 5, 7)
    maps[0, :, 1, 5] = 3  # y 1, x 5
    maps[0, :, 4, 0] = 1
    at = torch.tensor([[[5.3, 0.6], [1.0, 5.0]]])
    assert peak_share(maps, at).tolist() == [[0.75, 0.25]]
    assert peak_share(maps, at, radius=0).tolist() == [[0.75, 0.0]]


def test_share_of_nothing_is_zero_and_below_zero_is_nothing():
    assert peak_share(torch.zeros(1, 1, 4, 4), torch.ones(1, 1, 2)).item() == 0
    maps = torch.full((1, 1, 4, 4), -1.0)
    maps[0, 0, 1, 1] = 1
    assert peak_share(maps, torch.ones(1, 1, 2)).item() == 1


def test_share_falls_with_the_spread_of_a_peak():
    at = torch.full((1, 1, 2), 12.0)
    shares = [peak_share(draw(at, 25, sigma), at).item() for sigma in (0.3, 1, 2, 4)]
    assert shares[0] > 0.99 and shares == sorted(shares, reverse=True)


def landmarks(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Shares, and errors that are below 5 % with the chance share ** 2."""
    rng = np.random.default_rng(seed)
    shares = rng.uniform(0, 1, (count, 5))
    return shares, np.where(rng.random(shares.shape) < shares**2, 0.02, 0.3)


def test_calibration_finds_the_chances():
    calibration = calibrate(*landmarks(20_000, seed=0))
    places = np.linspace(0.05, 0.95, 19)
    assert np.abs(calibration(places) - places**2).max() < 0.03
    assert np.all(np.diff(calibration.chances) >= 0) and np.all(np.diff(calibration.shares) > 0)
    shares, errors = landmarks(20_000, seed=1)
    assert reliability(calibration(shares), errors).ece < 0.01 < 0.15 < reliability(shares, errors).ece


def test_calibration_of_equal_shares_is_their_mean():
    errors = np.tile([0.01, 0.2, 0.2, 0.01], 100)
    assert calibrate(np.full(400, 0.5), errors)(np.array([0.1, 0.9])) == pytest.approx([0.5, 0.5])


def test_reliability_counts_each_landmark_once():
    found = reliability(np.array([0.0, 0.05, 0.95, 1.0]), np.array([0.1, 0.01, 0.01, 0.01]))
    assert found.count.tolist() == [2, 2] and found.happened.tolist() == [0.5, 1.0]
    assert found.promised == pytest.approx([0.025, 0.975])
    assert found.ece == pytest.approx((0.475 + 0.025) / 2)


def test_too_few_or_unlike_numbers_are_refused(refusal: Callable):
    refusal("at least 400", calibrate, np.zeros(399), np.zeros(399))
    refusal("one of each", calibrate, np.zeros(500), np.zeros(499))
    refusal("one of each", reliability, np.zeros(5), np.zeros(4))
    refusal("one of each", reliability, np.zeros(0), np.zeros(0))


def test_calibration_beyond_its_knots_stays():
    assert Calibration((0.3, 0.5), (0.2, 0.9))(np.array([0.0, 1.0])).tolist() == [0.2, 0.9]
