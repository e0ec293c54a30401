"""Filters: closed forms, the equations written out as loops, and what all of them owe their users."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import solve_discrete_are

from fa_lib.errors import InputError
from fa_lib.filters import Filter, Kalman, MovingAverage, OneEuro, smooth
from fa_lib.metrics import lag, mav

ALL = {
    "moving average": lambda: MovingAverage(5),
    "one euro": lambda: OneEuro(min_cutoff=1.0, beta=0.02),
    "kalman": lambda: Kalman(ratio=1e-2),
}
each = pytest.mark.parametrize("make", ALL.values(), ids=ALL)
ONE_CLIP = np.zeros(90)


def walk(frames: int = 90, seed: int = 0, points: int = 4) -> np.ndarray:
    """Landmarks (T, K, 2) that wander smoothly and are seen with noise."""
    random = np.random.default_rng(seed)
    path = 100 + np.cumsum(random.normal(0, 1, (frames, points, 2)), axis=0)
    return path + random.normal(0, 0.5, path.shape)


def on_x(values) -> np.ndarray:
    """A track (T, 1, 2) of one landmark with these x and y = 0."""
    return np.stack([np.asarray(values, float), np.zeros(len(values))], -1)[:, None]


def filtered(one: Filter, values) -> np.ndarray:
    return smooth(one, on_x(values), np.zeros(len(values)))[:, 0, 0]


# -- all filters --


@each
def test_constant_track_stays_as_it_is(make):
    still = np.broadcast_to(walk(1), (90, 4, 2))
    np.testing.assert_allclose(smooth(make(), still, ONE_CLIP), still, rtol=1e-14)


@each
def test_frame_by_frame_equals_smooth(make):
    tracks, one = walk(), make()
    assert np.array_equal(np.stack([one(landmarks) for landmarks in tracks]), smooth(make(), tracks, ONE_CLIP))


@each
def test_clips_do_not_know_of_each_other(make):
    tracks, clips = walk(), np.repeat(["b", "a", "b"], [20, 1, 69])  # one that is named again, one of a single frame
    found, one = smooth(make(), tracks, clips), make()
    for part in (slice(0, 20), slice(20, 21), slice(21, 90)):
        assert np.array_equal(found[part], smooth(make(), tracks[part], clips[part]))
        one.reset()
        assert np.array_equal(found[part], [one(landmarks) for landmarks in tracks[part]])
    assert not np.allclose(found, smooth(make(), tracks, ONE_CLIP))


@each
def test_a_filter_that_was_left_in_the_middle_starts_anew_in_smooth(make):
    tracks, used = walk(), make()
    used(tracks[50]), used(tracks[70])
    assert np.array_equal(smooth(used, tracks, ONE_CLIP), smooth(make(), tracks, ONE_CLIP))


@each
def test_noise_is_lowered_and_frames_ahead_are_unknown(make):
    tracks = 100 + np.random.default_rng(0).normal(0, 1, (90, 4, 2))
    found = smooth(make(), tracks, ONE_CLIP)
    assert mav([found]) < 0.3 * mav([tracks]) and found.std() < 0.8 * tracks.std()
    assert np.array_equal(found[:30], smooth(make(), tracks[:30], ONE_CLIP[:30]))


@each
def test_answer_is_the_users_and_the_frame_too(make):
    """What is changed in place, before or after, must not reach into the filter."""
    tracks, one = walk(), make()
    expected, found = smooth(make(), tracks, ONE_CLIP), []
    for landmarks in tracks:
        frame = landmarks.copy()
        answer = one(frame)
        found.append(answer.copy())
        frame += 1000
        answer += 1000
    assert np.array_equal(found, expected)


@each
@settings(max_examples=20)
@given(seed=st.integers(0, 1000), shift=st.floats(-50, 50))
def test_place_and_order_of_landmarks_do_not_matter(make, seed: int, shift: float):
    tracks, order = walk(12, seed), np.random.default_rng(seed).permutation(4)
    found = smooth(make(), tracks, np.zeros(12))
    np.testing.assert_allclose(smooth(make(), tracks[:, order, ::-1] + shift, np.zeros(12)), found[:, order, ::-1] + shift)


def test_smooth_of_no_frames_is_empty():
    assert smooth(MovingAverage(3), np.zeros((0, 68, 2)), np.zeros(0)).shape == (0, 68, 2)


# -- moving average --


@pytest.mark.parametrize("window", [1, 2, 5])
def test_moving_average_of_a_step_is_a_ramp(window: int):
    """It begins with the mean of what there is, and is all the way up `window` frames after the step."""
    step = np.r_[np.zeros(10), np.ones(10)]
    expected = [min(max(t - 9, 0), window) / window for t in range(20)]
    np.testing.assert_allclose(filtered(MovingAverage(window), step), expected, rtol=1e-12)
    assert filtered(MovingAverage(window), [0, 6])[1] == (6 if window == 1 else 3)


@pytest.mark.parametrize("window", [3, 6, 9])
def test_moving_average_is_half_its_window_late(window: int):
    curve = np.sin(np.arange(200) / 15) * 20
    assert lag(on_x(filtered(MovingAverage(window), curve)), on_x(curve)) == pytest.approx((window - 1) / 2, abs=0.02)


# -- One-Euro --


@pytest.mark.parametrize("cutoff, rate", [(1.0, 30.0), (0.1, 1.0), (5.0, 25.0)])
def test_one_euro_without_beta_is_exponential_smoothing(cutoff: float, rate: float):
    """With alpha = 1 / (1 + tau / Te), tau = 1 / (2 pi cutoff), Te = 1 / rate (Casiez et al., equations 5 and 6)."""
    alpha = 1 / (1 + (1 / (2 * math.pi * cutoff)) / (1 / rate))
    values = walk()[:, 0, 0]
    expected = [values[0]]
    for value in values[1:]:
        expected.append(alpha * value + (1 - alpha) * expected[-1])
    np.testing.assert_allclose(filtered(OneEuro(cutoff, 0.0, rate=rate), values), expected, rtol=1e-12)


def test_one_euro_equals_literal_loops():
    """Casiez et al., algorithms 1 and 2, one number at a time."""
    low, beta, derivative, rate = 0.7, 0.05, 2.0, 25.0

    def alpha(cutoff: float) -> float:
        tau, period = 1 / (2 * math.pi * cutoff), 1 / rate
        return 1 / (1 + tau / period)

    tracks = walk()
    found = smooth(OneEuro(low, beta, derivative, rate=rate), tracks, ONE_CLIP)
    for k in range(tracks.shape[1]):
        for axis in range(2):
            last, speed = float(tracks[0, k, axis]), 0.0
            for t in range(1, len(tracks)):
                x = float(tracks[t, k, axis])
                a = alpha(derivative)
                speed = a * (x - last) * rate + (1 - a) * speed
                a = alpha(low + beta * abs(speed))
                last = a * x + (1 - a) * last
                assert found[t, k, axis] == pytest.approx(last, rel=1e-12)


def test_one_euro_follows_closer_where_a_point_is_fast():
    ramp = np.arange(200.0)
    late = [(ramp - filtered(OneEuro(0.5, beta), ramp))[-1] for beta in (0.0, 0.05, 1.0)]
    alpha = (r := 2 * math.pi * 0.5 / 30) / (1 + r)
    assert late[0] == pytest.approx((1 - alpha) / alpha, rel=1e-6)  # frames, in closed form
    assert late[0] > 3 * late[1] > 9 * late[2] > 0


def test_one_euro_with_a_frame_as_unit_of_time_is_the_same():
    values = walk()[:, 0, 0]
    seconds, frames = OneEuro(1.2, 0.03, 2.0, rate=30.0), OneEuro(1.2 / 30, 0.03, 2.0 / 30, rate=1.0)
    np.testing.assert_allclose(filtered(seconds, values), filtered(frames, values), rtol=1e-12)


# -- Kalman --


@pytest.mark.parametrize("ratio", [1e-4, 1e-2, 1.0])
def test_kalman_reaches_the_gain_of_the_riccati_equation(ratio: float):
    """The answer to a unit impulse, long after the start, is that of x <- F x + g (z - H F x) with the steady gain g."""
    move, see = np.array([[1.0, 1.0], [0.0, 1.0]]), np.array([[1.0, 0.0]])
    noise = ratio * np.array([[0.25, 0.5], [0.5, 1.0]])
    ahead = solve_discrete_are(move.T, see.T, noise, np.eye(1))
    gain = (ahead @ see.T / (see @ ahead @ see.T + 1))[:, 0]
    state, expected = np.zeros(2), []
    for z in np.r_[1.0, np.zeros(30)]:
        state = move @ state
        state = state + gain * (z - state[0])
        expected.append(state[0])
    found = filtered(Kalman(ratio), np.r_[np.zeros(300), 1.0, np.zeros(30)])[300:]
    np.testing.assert_allclose(found, expected, atol=1e-6)
    assert found[0] == pytest.approx(gain[0], abs=1e-6)


@pytest.mark.parametrize("ratio", [1e-4, 1e-2, 1.0])
def test_kalman_follows_steady_motion_without_lag(ratio: float):
    jump = np.r_[np.zeros(30), 5 + 3.0 * np.arange(400)]  # rest, then a jump into motion
    off = np.abs(filtered(Kalman(ratio), jump) - jump)
    assert off[30] > 0.1 and off[-1] < 1e-6


def test_kalman_begins_with_the_line_through_two_frames():
    """A speed that is unknown before: each answer is the end of the straight line fitted to all frames so far."""
    values = walk(6)[:, 0, 0]
    expected = [np.polyval(np.polyfit(np.arange(t), values[:t], 1), t - 1) for t in range(2, 7)]
    np.testing.assert_allclose(filtered(Kalman(1e-12), values)[1:], expected, atol=1e-4)


def test_kalman_of_a_small_ratio_is_smoother():
    tracks = walk()
    steps = [mav([smooth(Kalman(ratio), tracks, ONE_CLIP)[10:]]) for ratio in (1e-4, 1e-2, 1.0)]
    assert steps[0] < 0.7 * steps[1] and steps[1] < 0.7 * steps[2]


# -- wrong input --


@pytest.mark.parametrize(
    "call, words",
    [
        (lambda: MovingAverage(0), "window=0: a moving average is over a whole number of frames"),
        (lambda: MovingAverage(2.5), "window=2.5: a moving average is over a whole number"),
        (lambda: OneEuro(0.0, 0.1), "min_cutoff=0.0, .* must be greater than 0"),
        (lambda: OneEuro(1.0, -0.1), "beta=-0.1, .* beta at least 0"),
        (lambda: OneEuro(1.0, 0.1, 0.0), "derivative_cutoff=0.0, .* must be greater than 0"),
        (lambda: OneEuro(1.0, 0.1, rate=-30), "rate=-30: .* must be greater than 0"),
        (lambda: OneEuro(math.nan, 0.1), "min_cutoff=nan"),
        (lambda: OneEuro(1.0, math.inf), "beta=inf, .* finite"),
        (lambda: Kalman(0.0), "ratio=0.0: process noise over measurement noise"),
        (lambda: Kalman(math.inf), "ratio=inf: .* a finite number"),
        (lambda: Kalman(0.1)(np.zeros((1, 68, 2))), r"landmarks of shape \(1, 68, 2\): .* one frame, \(K, 2\)"),
        (lambda: Kalman(0.1)(np.zeros((68, 3))), r"landmarks of shape \(68, 3\)"),
        (lambda: OneEuro(1.0, 0.1)(np.full((68, 2), np.nan)), "all of them finite"),
        (lambda: smooth(MovingAverage(2), np.zeros((5, 68)), np.zeros(5)), r"tracks \(5, 68\) and clips \(5,\)"),
        (
            lambda: smooth(MovingAverage(2), np.zeros((5, 68, 2)), np.zeros(4)),
            r"clips \(4,\): they must be \(T, K, 2\) and \(T,\)",
        ),
    ],
)
def test_wrong_input_is_named(call, words: str):
    with pytest.raises(InputError, match=words):
        call()


@each
def test_another_number_of_landmarks_needs_a_reset(make):
    one = make()
    one(np.zeros((68, 2)))
    with pytest.raises(InputError, match="19 landmarks after 68 in the frame before"):
        one(np.zeros((19, 2)))
    one.reset()
    assert one(np.ones((19, 2))).tolist() == np.ones((19, 2)).tolist()
