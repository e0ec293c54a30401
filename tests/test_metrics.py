"""Metrics: the equations written out as loops, exact values, and the tables that the papers printed."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import simpson

from fa_lib.errors import InputError
from fa_lib.landmarks import SCHEMES, Scheme
from fa_lib.metrics import (
    auc,
    bias_std_nrmse,
    ced,
    decompose,
    displacements,
    failure_rate,
    jitter_residual,
    lag,
    lengths,
    mav,
    mcv,
    nme,
    spread_residual,
)

quick = settings(max_examples=60)
errors_of_faces = st.lists(st.floats(0, 0.3), min_size=1, max_size=30).map(np.array)

# Paper 1, Tables 1 (300-W) and 2 (300-VW), times 1000 as printed: bias, std, NRMSE.
PRINTED = {
    "300-W SAN": ("0.87", "20.8", "22.6"),
    "300-W SBR": ("0.50", "19.1", "19.1"),
    "300-W HRNet": ("5.14", "23.7", "24.3"),
    "300-W ResNet18": ("5.92", "25.4", "26.1"),
    "300-W ResNet18 + loss": ("7.28", "20.3", "21.6"),
    "300-W ResNet18 + loss + SD": ("7.07", "20.1", "21.3"),
    "300-W FAN2HG": ("6.41", "20.0", "21.0"),
    "300-W FAN2HG + loss": ("5.64", "19.2", "20.0"),
    "300-W FAN2HG + loss + SD": ("4.00", "18.7", "19.1"),
    "300-VW SAN": ("9.20", "28.0", "29.5"),
    "300-VW SBR": ("5.51", "26.9", "27.4"),
    "300-VW HRNet": ("17.9", "26.5", "32.0"),
    "300-VW FAN2HG": ("4.86", "26.9", "27.3"),
    "300-VW FAN2HG + loss": ("7.62", "25.6", "26.7"),
    "300-VW FAN2HG + loss + SD": ("4.49", "25.3", "25.7"),
}


def faces(count: int = 6, points: int = 5, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Predictions, truth and lengths of a few faces; errors of about 3 in 100."""
    random = np.random.default_rng(seed)
    target = random.uniform(0, 256, (count, points, 2))
    return target + random.normal(0.8, 3.0, target.shape), target, random.uniform(60, 140, count)


def constructed_face(count: int, **places: tuple[float, float]) -> np.ndarray:
    """One face (1, count, 2) far from everything, with some points, named p<index>, put in place."""
    face = 1000 + np.random.default_rng(0).uniform(0, 9, (1, count, 2))
    for name, place in places.items():
        face[0, int(name[1:])] = place
    return face


# -- normalising lengths --


@pytest.mark.parametrize("count, left, right", [(68, 36, 45), (98, 60, 72), (29, 8, 9), (19, 6, 11)])
def test_lengths_inter_ocular_is_between_outer_corners(count: int, left: int, right: int):
    face = constructed_face(count, **{f"p{left}": (10, 20), f"p{right}": (10 + 30, 20 - 40)})
    assert lengths(face, "inter_ocular").tolist() == [50.0]


@pytest.mark.parametrize("count, expected", [(68, 50.0), (98, 50.0), (29, 50.0), (19, 6.0)])
def test_lengths_without_a_word_are_by_the_normaliser_of_the_scheme(count: int, expected: float):
    """19 points are AFLW's, whose papers divide by the face box: profiles have no two eyes. Here it is 3 by 12 pixels."""
    left, right = SCHEMES[count].outer_eyes
    face = np.zeros((1, count, 2)) + (10, 20)
    face[0, left], face[0, right] = (10, 20), ((13, 32) if count == 19 else (40, -20))
    assert lengths(face).tolist() == [expected]


def test_lengths_take_a_scheme_of_ones_own():
    face = np.array([[[0.0, 0.0], [8.0, 2.0], [3.0, 4.0]]])
    by_points = Scheme(3, (0, 1, 2), (0, 2), None, {})
    assert lengths(face, scheme=by_points).tolist() == [5.0]
    assert lengths(face, scheme=replace(by_points, outer_eyes=None, normaliser="box")).tolist() == [32**0.5]
    assert lengths(face, "box").tolist() == [32**0.5]  # needs no scheme at all


@pytest.mark.parametrize("count, left, right", [(98, 96, 97), (29, 16, 17), (19, 7, 10)])
def test_lengths_inter_pupil_is_between_pupils(count: int, left: int, right: int):
    face = constructed_face(count, **{f"p{left}": (1, 2), f"p{right}": (1 - 5, 2 + 12)})
    assert lengths(face, "inter_pupil").tolist() == [13.0]


def test_lengths_inter_pupil_of_68_is_between_means_of_six():
    """Six points an eye, none of them at the mean: (6, 12) above the origin on one side, (21, -8) away on the other."""
    left = {f"p{36 + i}": (x, y) for i, (x, y) in enumerate([(36, 0), (0, 72), (0, 0), (0, 0), (0, 0), (0, 0)])}
    right = {f"p{42 + i}": (x, y) for i, (x, y) in enumerate([(0, 0), (126, 0), (0, 0), (0, -48), (0, 0), (0, 0)])}
    assert lengths(constructed_face(68, **left, **right), "inter_pupil").tolist() == [25.0]


def test_lengths_box_is_root_of_width_times_height():
    face = np.array([[[3.0, 5.0], [30.0, 8.0], [7.0, 17.0]]])  # 27 wide, 12 high
    assert lengths(face, "box").tolist() == [18.0]


# -- errors of faces --


def test_nme_equals_literal_loop():
    pred, target, scale = faces()
    for m in range(len(pred)):
        total = 0.0
        for k in range(pred.shape[1]):
            (px, py), (tx, ty) = pred[m, k], target[m, k]
            total += math.sqrt((px - tx) ** 2 + (py - ty) ** 2) / scale[m]
        assert nme(pred, target, scale)[m] == pytest.approx(total / pred.shape[1], rel=1e-12)


def test_nme_does_not_depend_on_the_size_of_the_picture():
    pred, target, scale = faces()
    np.testing.assert_allclose(nme(4 * pred + 7, 4 * target + 7, 4 * scale), nme(pred, target, scale))


def test_failure_rate_is_strict():
    assert failure_rate(np.array([0.1, 0.1, 0.05])) == 0.0
    assert failure_rate(np.array([0.1, np.nextafter(0.1, 1), 0.05, 7.0])) == 0.5
    assert failure_rate(np.array([0.1, 0.07]), threshold=0.08) == 0.5


@pytest.mark.parametrize("seed", range(5))
def test_auc_equals_fine_simpson_sampling(seed: int):
    """As other code does it: the CED sampled every 1e-4 and integrated by Simpson's rule."""
    errors = np.random.default_rng(seed).lognormal(-3.2, 0.6, 400)
    steps = np.linspace(0, 0.1, 1001)
    sampled = simpson([(errors <= step).mean() for step in steps], x=steps) / 0.1
    assert auc(errors) == pytest.approx(sampled, abs=2e-3)


@quick
@given(errors_of_faces, st.sampled_from([0.05, 0.08, 0.1]))
def test_auc_is_at_least_one_minus_nme(errors: np.ndarray, threshold: float):
    """The CED of faces within the threshold alone; equality where none fails."""
    bound = 1 - errors.mean() / threshold
    assert auc(errors, threshold) >= bound - 1e-12
    if failure_rate(errors, threshold) == 0:
        assert auc(errors, threshold) == pytest.approx(bound, abs=1e-12)


def test_auc_extremes():
    assert auc(np.zeros(3)) == 1.0 and auc(np.array([0.1, 0.5, np.inf])) == 0.0


@quick
@given(errors_of_faces, st.sampled_from([0.05, 0.08, 0.1]))
def test_ced_is_a_step_function_whose_area_is_the_auc(errors: np.ndarray, threshold: float):
    x, share = ced(errors, threshold)
    assert x[0] == 0 and x[-1] == threshold and share[0] == 0
    assert (np.diff(x) >= 0).all() and (np.diff(share) >= 0).all()
    area = sum((x[i + 1] - x[i]) * share[i] for i in range(len(x) - 1))
    assert area / threshold == pytest.approx(auc(errors, threshold), abs=1e-12)
    assert share[-1] == pytest.approx(1 - failure_rate(errors, threshold), abs=1e-12)
    for value in errors[errors <= threshold]:  # the last step at a value counts all faces at or below it
        assert share[x <= value][-1] == pytest.approx((errors <= value).mean())


# -- paper 1: bias, standard deviation, NRMSE --


@pytest.mark.parametrize("reject", [None, 0.05, 0.02])
def test_decompose_is_an_exact_sum_of_squares(reject: float | None):
    for seed in range(20):
        parts = bias_std_nrmse(*faces(20, 68, seed), reject=reject)
        assert abs(parts["bias"] ** 2 + parts["std"] ** 2 - parts["nrmse"] ** 2) < 1e-9
        assert parts["kept"] == 1 if reject is None else 0 < parts["kept"] < 1


@pytest.mark.parametrize("alpha", [math.inf, 0.05, 0.03])
def test_bias_std_nrmse_equals_literal_loops(alpha: float):
    """Paper 1, equations 11-14, after its rule of rejection: not used where |d_im| > alpha."""
    pred, target, scale = faces()
    d = []
    for m in range(len(pred)):
        for i in range(pred.shape[1]):
            x, y = ((pred[m, i, axis] - target[m, i, axis]) / scale[m] for axis in (0, 1))
            if not math.hypot(x, y) > alpha:
                d.append((x, y))
    count = len(d)
    mean_x, mean_y = sum(x for x, _ in d) / count, sum(y for _, y in d) / count
    expected = {
        "bias": math.hypot(sum(x for x, _ in d), sum(y for _, y in d)) / count,
        "std": math.sqrt(sum((x - mean_x) ** 2 + (y - mean_y) ** 2 for x, y in d) / count),
        "nrmse": math.sqrt(sum(x**2 + y**2 for x, y in d) / count),
        "kept": count / (pred.shape[0] * pred.shape[1]),
    }
    reject = None if math.isinf(alpha) else alpha
    assert bias_std_nrmse(pred, target, scale, reject=reject) == pytest.approx(expected, rel=1e-12)


def test_bias_std_nrmse_of_a_constant_offset_is_all_bias():
    _, target, scale = faces()
    pred = target + scale[:, None, None] * np.array([0.012, -0.016])
    expected = {"bias": 0.02, "std": 0.0, "nrmse": 0.02, "kept": 1.0}
    assert bias_std_nrmse(pred, target, scale) == pytest.approx(expected, abs=1e-12)


def test_decompose_keeps_errors_of_exactly_alpha():
    on_the_line = np.array([[0.05, 0.0], [0.0, 0.0500001]])
    assert decompose(on_the_line) == {"bias": 0.05, "std": 0.0, "nrmse": 0.05, "kept": 0.5}


def test_decompose_of_nothing_kept_is_nan():
    parts = decompose(np.full((3, 2), 0.3))
    assert parts.pop("kept") == 0 and all(math.isnan(value) for value in parts.values())


def fits_to_rounding(bias: str, std: str, nrmse: str) -> bool:
    """Whether some values that round to the printed ones satisfy bias^2 + std^2 = NRMSE^2."""

    def ends(printed: str) -> tuple[float, float]:
        half = 0.5 * 10.0 ** -len(printed.partition(".")[2])
        return float(printed) - half, float(printed) + half

    low, high = (math.hypot(ends(bias)[side], ends(std)[side]) for side in (0, 1))
    return low <= ends(nrmse)[1] and ends(nrmse)[0] <= high


def test_printed_rows_fit_but_one():
    assert len(PRINTED) == 15
    assert [name for name, row in PRINTED.items() if not fits_to_rounding(*row)] == ["300-W SAN"]


# -- paper 3: steadiness --


def clips(seed: int = 0) -> list[np.ndarray]:
    random = np.random.default_rng(seed)
    return [random.uniform(50, 200, (1, 3, 2)) + random.normal(0, 2, (frames, 3, 2)) for frames in (4, 9, 2)]


def test_mcv_equals_literal_loops():
    """Paper 3, equations 9 and 10, averaged over coordinates and landmarks within a clip."""
    tracks, by_clip = clips(), []
    for track in tracks:
        values = []
        for k in range(track.shape[1]):
            for axis in range(2):
                x = [float(v) for v in track[:, k, axis]]
                mean = sum(x) / len(x)
                values.append(math.sqrt(sum((v - mean) ** 2 for v in x) / (len(x) - 1)) / mean)
        by_clip.append(sum(values) / len(values))
    assert mcv(tracks) == pytest.approx(sum(by_clip) / len(by_clip), rel=1e-12)


def test_mav_equals_literal_loops():
    """Paper 3, equation 11."""
    tracks, by_clip = clips(), []
    for track in tracks:
        frames, values = len(track), []
        for k in range(track.shape[1]):
            for axis in range(2):
                u = track[:, k, axis]
                values.append(sum((u[t + 1] - u[t]) ** 2 for t in range(frames - 1)) / (2 * (frames - 1)))
        by_clip.append(sum(values) / len(values))
    assert mav(tracks) == pytest.approx(sum(by_clip) / len(by_clip), rel=1e-12)


def test_mcv_and_mav_of_constant_tracks_are_zero():
    still = [np.full((frames, 68, 2), 71.3) for frames in (2, 30)]
    assert mav(still) == 0 and mcv(still) == pytest.approx(0, abs=1e-15)


@pytest.mark.parametrize("a", [0.5, 3.0])
def test_mav_of_steady_motion_is_half_its_square(a: float):
    assert mav([100 + a * np.arange(25.0)[:, None, None] * np.ones((1, 68, 2))]) == pytest.approx(a**2 / 2)


def test_mcv_of_steady_motion_by_hand():
    """1, 2, 3 has mean 2 and sample standard deviation 1."""
    assert mcv([np.array([1.0, 2.0, 3.0])[:, None, None] * np.ones((1, 4, 2))]) == pytest.approx(0.5)


def test_mav_of_white_noise_is_its_variance():
    track = 100 + np.random.default_rng(0).normal(0, 0.7, (4000, 5, 2))
    assert mav([track]) == pytest.approx(0.7**2, rel=0.03)


def test_jitter_residual_of_white_noise():
    """Standard deviation s of the length on each axis gives s sqrt(2), whatever the face does."""
    random = np.random.default_rng(0)
    motion = 50 * np.sin(np.arange(4000)[:, None, None] / 9) + random.uniform(50, 200, (1, 5, 2))
    scale = np.linspace(60, 120, 4000)
    noisy = motion + scale[:, None, None] * random.normal(0, 0.01, motion.shape)
    assert jitter_residual([noisy], [motion], [scale]) == pytest.approx(0.01 * math.sqrt(2), rel=0.02)


def test_jitter_residual_of_a_constant_error_is_zero():
    motion = np.cumsum(np.random.default_rng(0).normal(0, 5, (50, 3, 2)), axis=0)
    assert jitter_residual([motion + (3.0, -1.0)], [motion], [np.full(50, 80.0)]) == pytest.approx(0, abs=1e-12)


def test_jitter_residual_is_the_root_of_the_mean_over_clips():
    """Errors that alternate between +a and -a step by 2a, so their MAV is 2 a^2 and their residual 2a on both axes."""
    still, one = np.zeros((11, 4, 2)), np.ones(11)
    swings = [a * (-1.0) ** np.arange(11)[:, None, None] * np.ones((1, 4, 2)) for a in (0.01, 0.03)]
    expected = 2 * math.sqrt((0.01**2 + 0.03**2) / 2)
    assert jitter_residual(swings, [still, still], [one, one]) == pytest.approx(expected)


def test_mcv_of_a_coordinate_that_stays_at_zero_is_zero():
    """0 / 0 by the letter of equation 9. The other coordinate is 1, 2, 3: 1 / 2."""
    track = np.zeros((3, 1, 2))
    track[:, 0, 1] = (1, 2, 3)
    assert mcv([track]) == pytest.approx(0.25)


def test_spread_residual_equals_literal_loops():
    """Paper 3, equation 9 without its division by the mean, of errors over the face's length in each frame."""
    random, tracks = np.random.default_rng(3), clips()
    truths = [track + random.normal(0, 3, track.shape) for track in tracks]
    scales = [random.uniform(60, 120, len(track)) for track in tracks]
    by_clip = []
    for track, truth, scale in zip(tracks, truths, scales):
        values = []
        for k in range(track.shape[1]):
            for axis in range(2):
                x = [float((track[t, k, axis] - truth[t, k, axis]) / scale[t]) for t in range(len(track))]
                mean = sum(x) / len(x)
                values.append(math.sqrt(sum((v - mean) ** 2 for v in x) / (len(x) - 1)))
        by_clip.append(sum(values) / len(values))
    assert spread_residual(tracks, truths, scales) == pytest.approx(sum(by_clip) / len(by_clip), rel=1e-12)


def test_spread_residual_sees_slow_drift_and_no_motion():
    """A drift that `jitter_residual` hardly sees; a constant error beside a face that moves is none at all."""
    motion = np.cumsum(np.random.default_rng(0).normal(0, 5, (200, 3, 2)), axis=0)
    scale, drift = np.full(200, 80.0), np.linspace(-4, 4, 200)[:, None, None]
    assert spread_residual([motion + (3.0, -1.0)], [motion], [scale]) == pytest.approx(0, abs=1e-12)
    expected = np.linspace(-4, 4, 200).std(ddof=1) / 80
    assert spread_residual([motion + drift], [motion], [scale]) == pytest.approx(expected)
    assert jitter_residual([motion + drift], [motion], [scale]) < 0.03 * expected


def smooth_motion(seed: int, fastest: float = 0.05, points: int = 5):
    """Landmarks (T, K, 2) at any times (T,): sums of six waves, of at most `fastest` cycles a frame, and some 15 pixels."""
    random = np.random.default_rng(seed)
    speed = 2 * np.pi * random.uniform(0.2, 1, (6, points, 2)) * fastest
    phase, height = random.uniform(0, 2 * np.pi, (6, points, 2)), random.normal(0, 6, (6, points, 2))
    return lambda times: 128 + (height * np.sin(speed * np.asarray(times)[:, None, None, None] + phase)).sum(1)


@quick
@given(st.integers(0, 10_000), st.floats(-2, 6), st.sampled_from([50, 90, 200]), st.sampled_from([0.02, 0.05, 0.1]))
def test_lag_of_a_pure_delay_is_the_delay(seed: int, delay: float, frames: int, fastest: float):
    """Whole or not, for landmarks that are found anywhere beside their places."""
    move, times = smooth_motion(seed, fastest), np.arange(frames)
    beside = np.random.default_rng(seed).normal(0, 30, (1, 5, 2))
    assert lag(move(times - delay) + beside, move(times)) == pytest.approx(delay, abs=0.01)


@pytest.mark.parametrize("delay", [0.0, 0.5, 1.3, 4.0])
def test_lag_is_unbiased_under_noise_on_both_sides(delay: float):
    """The noise of an annotation must not draw the answer to whole or half frames."""
    random, times, found = np.random.default_rng(0), np.arange(90), []
    for seed in range(30):
        move = smooth_motion(seed)
        pred, target = (move(t) + random.normal(0, 2, (90, 5, 2)) for t in (times - delay, times))
        found.append(lag(pred, target))
    assert np.mean(found) == pytest.approx(delay, abs=3 * np.std(found) / math.sqrt(30))
    assert np.std(found) < 0.15


def test_lag_of_a_parabola_is_exact():
    """Shifted by d, it differs by a straight line: the sum of squares is a parabola in d, which the spline meets."""
    fall = lambda t: t[:, None, None] ** 2 * np.array([[0.0, 1.0], [0.5, -2.0]])  # noqa: E731
    times = np.arange(4.0)  # the shortest clip there is; its reach is one frame
    assert lag(fall(times - 0.75), fall(times)) == pytest.approx(0.75, abs=1e-12)
    assert lag(fall(times - 3), fall(times)) == 1
    times = np.arange(30.0)
    assert lag(fall(times - 20), fall(times)) == 8 and lag(fall(times + 20), fall(times), reach=3) == -3


def test_lag_of_a_face_that_does_not_move_is_nan():
    pred = clips()[1]
    assert math.isnan(lag(pred, np.full((9, 3, 2), 71.3)))
    assert math.isnan(lag(pred, 71.3 + 1e-4 * pred / pred.max()))  # what float32 leaves of a place in two crops
    assert math.isnan(lag(pred[:3], pred[:3] + 1)) and math.isfinite(lag(pred[:4], pred[:4] + 1))


# -- wrong input --

FACE, LENGTH = np.zeros((3, 68, 2)), np.ones(3)


@pytest.mark.parametrize(
    "call, words",
    [
        (lambda: lengths(FACE, "iod"), "normaliser='iod': choose inter_ocular, inter_pupil or box"),
        (lambda: lengths(FACE[0]), r"\(M, K, 2\), one face a row and x before y, not \(68, 2\)"),
        (lambda: lengths(FACE[0], "box"), r"\(M, K, 2\).* not \(68, 2\)"),
        (lambda: lengths(np.zeros((3, 67, 2))), "67 landmarks a face: no point scheme"),
        (lambda: displacements(FACE, FACE[:, :67], LENGTH), r"shapes differ: pred \(3, 68, 2\), target \(3, 67, 2\)"),
        (lambda: displacements(FACE, FACE, np.ones(68)), r"shapes differ: .* lengths \(68,\)"),
        (lambda: displacements(FACE[0], FACE[0], np.ones(68)), r"\(M, K, 2\).* not \(68, 2\)"),
        (lambda: nme(FACE, FACE, np.array([1.0, 0.0, 1.0])), "normalising length is not positive"),
        (lambda: nme(FACE, FACE, np.array([1.0, np.nan, 1.0])), "normalising length is not positive"),
        (lambda: failure_rate(np.array([0.02, np.nan])), "no NaN"),
        (lambda: failure_rate(np.array([])), r"errors of shape \(0,\): give one NME a face"),
        (lambda: auc(np.zeros((3, 68))), r"errors of shape \(3, 68\): give one NME a face"),
        (lambda: ced(np.array([np.nan])), "no NaN"),
        (lambda: decompose(np.zeros((3, 68))), r"displacements of shape \(3, 68\)"),
        (lambda: decompose(np.zeros((0, 2))), r"displacements of shape \(0, 2\).*at least one"),
        (lambda: decompose(np.full((4, 2), np.nan)), "must be finite"),
        (lambda: mav([]), r"list of arrays \(T, K, 2\) with at least two frames each"),
        (lambda: mav([np.zeros((1, 68, 2))]), "at least two frames"),
        (lambda: mcv([np.zeros((9, 68))]), r"\(T, K, 2\)"),
        (lambda: jitter_residual([FACE], [FACE, FACE], [LENGTH]), "1 predicted clips, 2 true ones, 1 lengths"),
        (lambda: spread_residual([FACE], [FACE], []), "1 predicted clips, 1 true ones, 0 lengths"),
        (lambda: spread_residual([], [], []), "at least two frames"),
        (lambda: lag(FACE, FACE[:2]), r"tracks of shapes \(3, 68, 2\) and \(2, 68, 2\): both must be \(T, K, 2\)"),
        (lambda: lag(FACE[..., 0], FACE[..., 0]), r"both must be \(T, K, 2\)"),
    ],
)
def test_wrong_input_is_named(call, words: str):
    with pytest.raises(InputError, match=words):
        call()
