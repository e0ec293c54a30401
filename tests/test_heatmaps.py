"""Heatmaps: drawing and reading agree to a fraction of a pixel, and each reading equals its equation, written out."""

import math

import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from fa_lib.errors import InputError
from fa_lib.heatmaps import _DECODERS, decode, draw, to_input, to_map

F64 = torch.float64
METHODS = tuple(_DECODERS)
quick = settings(max_examples=40)
seeds = st.integers(0, 2**32 - 1)


def positions(count: int, low: float = 20, high: float = 44, seed: int = 0) -> Tensor:
    """Random sub-pixel landmarks (1, count, 2), well inside a map of 64 cells."""
    generator = torch.Generator().manual_seed(seed)
    return low + (high - low) * torch.rand(1, count, 2, generator=generator)


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=F64)


def worst(found: Tensor, true: Tensor) -> float:
    return float((found - true).norm(dim=-1).max())


# -- conventions --


def test_convention_x_before_y_in_heatmaps():
    maps = draw(torch.tensor([[[5.0, 2.0]]]), size=12)
    assert (maps[0, 0] == maps.max()).nonzero().tolist() == [[2, 5]]  # row y, column x
    for method in METHODS:
        torch.testing.assert_close(decode(maps, method, window=3), torch.tensor([[[5.0, 2.0]]]), rtol=0, atol=0.02)


@pytest.mark.parametrize("method", METHODS)
def test_convention_zero_based_pixel_centres(method: str):
    """A map that is lit in its first cell alone is a landmark at (0, 0); in its last, at (6, 4)."""
    maps = torch.zeros(1, 2, 5, 7)
    maps[0, 0, 0, 0] = maps[0, 1, 4, 6] = 1
    assert decode(maps, method, window=1).tolist() == [[[0.0, 0.0], [6.0, 4.0]]]


@pytest.mark.parametrize("stride", [2, 4, 8])
def test_convention_stride_and_half_pixel(stride: int):
    """Averaging blocks of pixels is what a stride does; a blob in the input is then found at `to_map` of its place."""
    landmarks = positions(6, 60, 68)
    pooled = F.avg_pool2d(draw(landmarks, 128, sigma=8.0), stride)
    assert worst(decode(pooled, "centroid"), to_map(landmarks, stride)) < 1e-3
    assert worst(to_input(decode(pooled, "centroid"), stride), landmarks) < 1e-2


def test_convention_map_spans_the_input():
    assert to_input(torch.tensor([-0.5, 63.5]), 4).tolist() == [-0.5, 255.5]
    assert to_map(torch.tensor([1.5, 5.5, 128.0]), 4).tolist() == [0.0, 1.0, 31.625]


def test_convention_letters_in_heatmap_shapes():
    assert draw(torch.zeros(2, 3, 2), size=5).shape == (2, 3, 5, 5)
    for method in METHODS:
        assert decode(torch.rand(2, 3, 5, 7), method, window=3).shape == (2, 3, 2)


@quick
@given(st.floats(-100, 100), st.sampled_from([1, 2, 4, 8]))
def test_to_map_undoes_to_input(value: float, stride: int):
    point = torch.tensor([value], dtype=F64)
    torch.testing.assert_close(to_map(to_input(point, stride), stride), point, rtol=0, atol=1e-12)


# -- drawing --


@pytest.mark.parametrize("variance, factor", [("2s2", 2.0), ("s2", 1.0)])
def test_draw_equals_literal_loop(variance: str, factor: float):
    """Paper 1, equation 10 (`s2`): A exp(-|p - l|^2 / sigma^2)."""
    landmarks = torch.tensor([[[3.3, 1.2], [-2.0, 7.9]]], dtype=F64)
    maps = draw(landmarks, 7, sigma=1.5, amplitude=4096.0, variance=variance)
    for k, (lx, ly) in enumerate(landmarks[0].tolist()):
        for y in range(7):
            for x in range(7):
                expected = 4096.0 * math.exp(-((x - lx) ** 2 + (y - ly) ** 2) / (factor * 1.5**2))
                assert float(maps[0, k, y, x]) == pytest.approx(expected, rel=1e-12)


def test_draw_sum_is_the_volume_of_the_gaussian():
    maps = draw(positions(5), 64, sigma=2.0, amplitude=3.0)
    torch.testing.assert_close(maps.sum((2, 3)), torch.full((1, 5), 3.0 * 2 * math.pi * 4.0), rtol=1e-5, atol=0)


def test_draw_gradcheck():
    landmarks = positions(2, 2, 5).double().requires_grad_()
    assert torch.autograd.gradcheck(lambda p: draw(p, 6, 1.3, 2.0, "s2"), (landmarks,))


# -- drawing, then reading --


@pytest.mark.parametrize("variance", ["2s2", "s2"])
@pytest.mark.parametrize("sigma", [1.0, 1.5, 2.0])
@pytest.mark.parametrize("method", ["centroid", "local"])
def test_decode_returns_what_was_drawn(method: str, sigma: float, variance: str):
    landmarks = positions(400)
    spread = sigma if variance == "2s2" else sigma / math.sqrt(2)
    radius = max(4, math.ceil(3 * spread))  # as decode's docstring asks for
    maps = draw(landmarks, 64, sigma, amplitude=4096.0, variance=variance)
    assert worst(decode(maps, method, radius=radius), landmarks) < 0.02


def test_decode_local_needs_three_standard_deviations():
    """The limits that decode's docstring states."""
    landmarks = positions(2000)
    assert worst(decode(draw(landmarks, 64, 1.5), "local"), landmarks) < 0.02
    too_narrow = draw(landmarks, 64, 2.0)
    assert 0.05 < float((decode(too_narrow, "local") - landmarks).abs().max()) < 0.08
    assert worst(decode(too_narrow, "local", radius=6), landmarks) < 0.02


def test_decode_argmax_is_the_rounded_position():
    landmarks = positions(400)
    assert torch.equal(decode(draw(landmarks, 64), "argmax"), landmarks.round())


def test_decode_quarter_halves_the_error_of_argmax():
    """The quarter goes the right way: what is left is at most 0.25 on each axis, half of what argmax leaves."""
    landmarks = positions(400)
    errors = (decode(draw(landmarks, 64), "quarter") - landmarks).abs()
    assert errors.max() < 0.2501
    assert errors.mean() < 0.55 * (landmarks.round() - landmarks).abs().mean()


@pytest.mark.parametrize("place", [(0.3, 20.0), (20.0, 0.3), (62.7, 20.0), (20.0, 62.7)])
def test_decode_quarter_stays_at_the_border(place: tuple[float, float]):
    """A cell at the border has one neighbour, so nothing says where to go; above all not out of the map."""
    found = decode(draw(torch.tensor([[place]]), 64), "quarter")
    assert found.tolist() == torch.tensor([[place]]).round().tolist()


def test_decode_pdc_of_a_clean_peak():
    landmarks = positions(2000)
    errors = (decode(draw(landmarks, 64), "pdc", threshold=0.2) - landmarks).abs()
    assert errors.mean() < 0.05 and errors.max() < 0.13  # the cut is no circle about the landmark
    assert worst(decode(draw(landmarks, 64), "pdc", threshold=1e-4), landmarks) < 0.02
    assert worst(decode(draw(landmarks.round(), 64), "pdc"), landmarks.round()) < 1e-4


# -- parity with the equations --


def test_decode_centroid_equals_literal_loop():
    """Paper 1, equation 9: sum_p p H(p) / sum_p' H(p')."""
    maps = noise(1, 2, 4, 6)
    for k in range(2):
        total, x_sum, y_sum = 0.0, 0.0, 0.0
        for y in range(4):
            for x in range(6):
                value = float(maps[0, k, y, x])
                total, x_sum, y_sum = total + value, x_sum + x * value, y_sum + y * value
        assert decode(maps, "centroid")[0, k].tolist() == pytest.approx([x_sum / total, y_sum / total], abs=1e-12)


def test_decode_local_equals_literal_loop():
    maps = noise(1, 5, 9, 11) - 0.2
    for k, landmark in enumerate(decode(maps, "local", radius=2)[0].tolist()):
        array = maps[0, k].numpy()
        row, column = np.unravel_index(array.argmax(), array.shape)
        total, x_sum, y_sum = 0.0, 0.0, 0.0
        for y in range(max(0, row - 2), min(9, row + 3)):
            for x in range(max(0, column - 2), min(11, column + 3)):
                value = max(0.0, array[y, x])
                total, x_sum, y_sum = total + value, x_sum + x * value, y_sum + y * value
        assert landmark == pytest.approx([x_sum / total, y_sum / total], abs=1e-12)


def algorithm_1(heatmap: np.ndarray, threshold: float) -> tuple[float, float]:
    """Paper 3, algorithm 1, line by line; it counts cells from 1."""
    height, width = heatmap.shape
    heatmap = np.where(heatmap < threshold, 0.0, heatmap)
    total = heatmap.sum()
    sum_x = 0.0
    for i in range(width):
        sum_x += (i + 1) * sum(heatmap[h, i] for h in range(height))
    sum_y = 0.0
    for i in range(height):
        sum_y += (i + 1) * sum(heatmap[i, w] for w in range(width))
    return sum_x / total, sum_y / total


@pytest.mark.parametrize("threshold", [0.0, 0.2, 0.7])
def test_decode_pdc_equals_algorithm_1(threshold: float):
    maps = noise(2, 3, 5, 8)
    maps[0, 0, 1, 2] = threshold  # "less than" is set to 0, so this one stays
    found = decode(maps, "pdc", threshold=threshold)
    for b in range(2):
        for k in range(3):
            x, y = algorithm_1(maps[b, k].numpy(), threshold)
            assert found[b, k].tolist() == pytest.approx([x - 1, y - 1], abs=1e-12)


def test_decode_pdc_falls_back_to_argmax():
    maps = 0.19 * noise(2, 3, 5, 8)
    assert torch.equal(decode(maps, "pdc", threshold=0.2), decode(maps, "argmax"))


@pytest.mark.parametrize("window", [3, 9])
def test_decode_box_blur_equals_cv2_blur(window: int):
    maps = noise(2, 4, 13, 17)
    maps[0, 0, 0, 0] = 50.0  # at the corner, where the border rule decides
    found = decode(maps, "box_blur", window=window)
    for b in range(2):
        for k in range(4):
            blurred = cv2.blur(maps[b, k].numpy(), (window, window), borderType=cv2.BORDER_CONSTANT)
            row, column = np.unravel_index(blurred.argmax(), blurred.shape)
            assert found[b, k].tolist() == [column, row]


def test_decode_box_blur_needs_a_broad_peak():
    """One bright wrong cell wins the argmax, but not the mean over 9 x 9."""
    maps = draw(torch.tensor([[[20.0, 30.0]]]), 64, sigma=3.0)
    maps[0, 0, 50, 5] = 2.0
    assert decode(maps, "argmax").tolist() == [[[5.0, 50.0]]]
    assert decode(maps, "box_blur").tolist() == [[[20.0, 30.0]]]


# -- properties of every decoder --


@pytest.mark.parametrize("method", METHODS)
@quick
@given(seeds, st.integers(-6, 6), st.integers(-6, 6))
def test_decode_follows_shifts(method: str, seed: int, dx: int, dy: int):
    maps = F.pad(noise(1, 2, 5, 5, seed=seed), (12, 12, 12, 12))
    moved = decode(maps.roll((dy, dx), (2, 3)), method, window=3)
    torch.testing.assert_close(moved, decode(maps, method, window=3) + torch.tensor([dx, dy]))


@pytest.mark.parametrize("method", METHODS)
@quick
@given(seeds)
def test_decode_swaps_axes_with_the_map(method: str, seed: int):
    maps = noise(2, 3, 6, 9, seed=seed)
    torch.testing.assert_close(decode(maps.mT, method, window=3), decode(maps, method, window=3).flip(-1))


@pytest.mark.parametrize("method", [method for method in METHODS if method != "pdc"])
@quick
@given(seeds, st.integers(-30, 30))
def test_decode_ignores_amplitude(method: str, seed: int, exponent: int):
    maps = noise(1, 3, 6, 9, seed=seed)
    torch.testing.assert_close(decode(maps * 2.0**exponent, method, window=3), decode(maps, method, window=3))


@pytest.mark.parametrize("method", METHODS)
@quick
@given(seeds)
def test_decode_stays_within_the_map(method: str, seed: int):
    generator = torch.Generator().manual_seed(seed)
    found = decode(torch.randn(2, 3, 4, 7, generator=generator), method, window=3)
    assert (found >= 0).all() and (found <= torch.tensor([6.0, 3.0])).all()


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("value", [0.0, -1.0, -1e30])
def test_decode_of_flat_and_negative_maps_is_finite(method: str, value: float):
    maps = torch.full((2, 3, 12, 12), value, requires_grad=True)
    found = decode(maps, method)
    assert found.isfinite().all()
    if found.requires_grad:
        found.sum().backward()
        assert maps.grad.isfinite().all()


@pytest.mark.parametrize("method", ["centroid", "local", "pdc", "quarter"])
def test_decode_of_negative_maps_is_near_the_argmax(method: str):
    maps = -1 - noise(2, 3, 12, 12)
    away = (decode(maps, method) - decode(maps, "argmax")).abs()
    assert away.max() <= (0.25 if method == "quarter" else 0)


@pytest.mark.parametrize("method", METHODS)
def test_decode_of_hardly_any_mass_is_the_argmax_or_near(method: str):
    """What is left on the map of a landmark far outside it: the nearest cell, not the origin."""
    maps = draw(torch.tensor([[[30.0, -13.0]]]), 64)  # 1e-37 at best
    assert 0 < maps.max() < 1e-35
    assert worst(decode(maps, method), torch.tensor([[[30.0, 0.0]]])) <= (4 if method == "box_blur" else 0.5)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_decode_is_precise_for_maps_of_any_type(method: str, dtype: torch.dtype):
    """Half-precision maps: float16 has no number below 6e-8, bfloat16 no x between 40 and 40.25."""
    maps = draw(torch.tensor([[[40.3, 20.7]]]), 64).to(dtype)
    found = decode(maps, method)
    assert found.dtype == (F64 if dtype == F64 else torch.float32)
    assert worst(found.double(), decode(maps.double(), method)) < 1e-4


@pytest.mark.parametrize("method", ["centroid", "local", "pdc"])
def test_decode_gradcheck(method: str):
    maps = noise(1, 2, 5, 6)
    maps[0, 0, 2, 3] = maps[0, 1, 1, 1] = 2.0  # no ties for the argmax
    maps[(maps - 0.2).abs() < 0.02] = 0.5  # nothing on the threshold
    maps.requires_grad_()
    assert torch.autograd.gradcheck(lambda m: decode(m, method, radius=1), (maps,))


@pytest.mark.parametrize(
    "call, words",
    [
        (lambda: draw(torch.zeros(68, 2), 8), r"landmarks must be \(B, K, 2\), x before y, not \(68, 2\)"),
        (lambda: draw(torch.zeros(1, 2, 68), 8), r"landmarks must be .* not \(1, 2, 68\)"),
        (lambda: draw(torch.zeros(1, 1, 2), 8, variance="s"), "variance='s': write '2s2' .* or 's2'"),
        (lambda: decode(torch.zeros(68, 8, 8)), r"heatmaps must be \(B, K, H, W\), not \(68, 8, 8\)"),
        (lambda: decode(torch.zeros(1, 1, 8, 8), "mean"), "method='mean': .* argmax, quarter, .* box_blur"),
        (lambda: decode(torch.zeros(1, 1, 8, 8), "box_blur", window=8), "window=8: .* must be odd"),
    ],
)
def test_wrong_input_is_named(call, words: str):
    with pytest.raises(InputError, match=words):
        call()
