"""Where things are: each line of the conventions, and one matrix for the picture and its landmarks."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from fa_lib import heatmaps
from fa_lib.errors import InputError
from fa_lib.geometry import Affine, apply_to_landmarks, crop_affine, crop_box, denormalise, normalise, warp_images

F64 = torch.float64
quick = settings(max_examples=60)
numbers = st.floats(-300, 300, allow_subnormal=False)
seeds = st.integers(0, 2**32 - 1)


def random_affine(seed: int, count: int = 4, centre: float = 63.5, dtype: torch.dtype = F64) -> Affine:
    """Turns of +-30 degrees, scales 0.7-1.3 and shifts of +-8 px about (centre, centre); half of them mirrored."""
    generator = torch.Generator().manual_seed(seed)

    def uniform(low: float, high: float, *shape: int) -> Tensor:
        return torch.rand(count, *shape, generator=generator, dtype=F64) * (high - low) + low

    middle = torch.full((count, 2), centre, dtype=F64)
    move = Affine.about(middle, uniform(0.7, 1.3), uniform(-30, 30), uniform(-8, 8, 2)).matrix.clone()
    mirror = torch.eye(2, 3, dtype=F64).repeat(count, 1, 1)
    mirror[::2, 0] = torch.tensor([-1.0, 0.0, 2 * centre], dtype=F64)
    return Affine((Affine(move) @ Affine(mirror)).matrix.to(dtype))


def random_points(seed: int, *shape: int) -> Tensor:
    return torch.rand(*shape, 2, generator=torch.Generator().manual_seed(seed), dtype=F64) * 256


def lit(row: int, column: int, height: int = 16, width: int = 16) -> Tensor:
    image = torch.zeros(1, 1, height, width)
    image[0, 0, row, column] = 1
    return image


def whole(height: int, width: int) -> Tensor:
    return torch.tensor([[-0.5, -0.5, width - 0.5, height - 0.5]])


# -- conventions --


def test_convention_x_before_y():
    move = Affine(torch.tensor([[[1.0, 0.0, 3.0], [0.0, 1.0, 1.0]]]))
    assert apply_to_landmarks(move, torch.tensor([[[5.0, 2.0]]])).tolist() == [[[8.0, 3.0]]]
    assert torch.equal(warp_images(lit(row=2, column=5), move), lit(row=3, column=8))


def test_convention_pixel_centres_at_integers():
    """Twice as large about the centre of the top left pixel: that pixel stays, and (1, 2) lands on (2, 4) exactly."""
    double = Affine(torch.tensor([[[2.0, 0.0, 0.0], [0.0, 2.0, 0.0]]]))
    assert warp_images(lit(0, 0), double)[0, 0, 0, 0] == 1
    larger = warp_images(lit(row=2, column=1), double)[0, 0]
    assert larger[4, 1:4].tolist() == [0.5, 1.0, 0.5]
    assert larger[3:6, 2].tolist() == [0.5, 1.0, 0.5]


def test_convention_picture_spans_from_minus_half():
    """Half the size means the mean of each block of 2 x 2 pixels, so no half pixel is lost on the way."""
    image = torch.rand(1, 3, 12, 12, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(warp_images(image, crop_affine(whole(12, 12), 6), size=6), F.avg_pool2d(image, 2))


def test_convention_normalised_spans_zero_to_one():
    edges = torch.tensor([[[-0.5, 63.5], [31.5, -0.5]]])
    assert normalise(edges, 64).tolist() == [[[0.0, 1.0], [0.5, 0.0]]]
    points = random_points(0, 1, 5).float()
    small = apply_to_landmarks(crop_affine(whole(256, 256), 64), points)
    torch.testing.assert_close(normalise(small, 64), normalise(points, 256))  # whatever the resolution


def test_convention_box_is_edges_not_pixels():
    """The box around the pixels 3 and 4 is two pixels wide; cropped to two pixels, it is these two."""
    image = torch.arange(64.0).reshape(1, 1, 8, 8)
    crop = warp_images(image, crop_affine(torch.tensor([[2.5, 4.5, 4.5, 6.5]]), 2), size=2)
    assert torch.equal(crop, image[:, :, 5:7, 3:5])


def test_convention_affine_maps_source_to_target():
    double = Affine(torch.tensor([[[2.0, 0.0, -5.0], [0.0, 2.0, -5.0]]]))
    assert apply_to_landmarks(double, torch.tensor([[[5.0, 4.0]]])).tolist() == [[[5.0, 3.0]]]
    assert warp_images(lit(5, 5), double).sum() == 4  # the spot has four times the area, not a quarter


def test_convention_positive_angle_is_clockwise_on_screen():
    turn = Affine.about(torch.full((1, 2), 5.5), torch.ones(1), torch.tensor([90.0]), torch.zeros(1, 2))
    torch.testing.assert_close(apply_to_landmarks(turn, torch.tensor([[[9.0, 5.0]]])), torch.tensor([[[6.0, 9.0]]]))
    torch.testing.assert_close(warp_images(lit(row=5, column=9), turn), lit(row=9, column=6))


def test_convention_letters_in_shapes():
    maps = Affine.identity(2)
    assert warp_images(torch.zeros(2, 3, 5, 7), maps).shape == (2, 3, 5, 5)
    assert warp_images(torch.zeros(2, 3, 5, 7), maps, size=4).shape == (2, 3, 4, 4)
    assert apply_to_landmarks(maps, torch.zeros(2, 9, 2)).shape == (2, 9, 2)
    assert crop_box(torch.zeros(2, 9, 2)).shape == (2, 4)
    assert crop_affine(torch.ones(2, 4), 8).matrix.shape == (2, 2, 3)


# -- affine maps --


@quick
@given(seeds)
def test_affine_inverse_undoes(seed: int):
    move, points = random_affine(seed), random_points(seed, 4, 7)
    torch.testing.assert_close(apply_to_landmarks(move.inverse(), apply_to_landmarks(move, points)), points)
    identity = Affine.identity(4, dtype=F64).matrix
    for product in (move.inverse() @ move, move @ move.inverse()):
        torch.testing.assert_close(product.matrix, identity, rtol=0, atol=1e-9)


@quick
@given(seeds)
def test_affine_matmul_applies_right_one_first(seed: int):
    first, second, points = random_affine(seed), random_affine(seed + 1), random_points(seed, 4, 7)
    one_by_one = apply_to_landmarks(second, apply_to_landmarks(first, points))
    torch.testing.assert_close(apply_to_landmarks(second @ first, points), one_by_one)
    third = random_affine(seed + 2)
    torch.testing.assert_close(((third @ second) @ first).matrix, (third @ (second @ first)).matrix)


def test_affine_matmul_is_a_product_of_homogeneous_matrices():
    first, second = random_affine(1), random_affine(2)
    bottom = torch.tensor([0.0, 0.0, 1.0], dtype=F64).expand(4, 1, 3)
    a, b = (torch.cat([affine.matrix, bottom], 1) for affine in (first, second))
    torch.testing.assert_close((second @ first).matrix, (b @ a)[:, :2])
    torch.testing.assert_close(first.inverse().matrix, torch.linalg.inv(a)[:, :2])


@quick
@given(numbers, numbers, st.floats(0.5, 2), st.floats(-180, 180), numbers, numbers)
def test_affine_about_moves_centre_by_translation(x: float, y: float, scale: float, degrees: float, dx: float, dy: float):
    centre, shift = torch.tensor([[x, y]], dtype=F64), torch.tensor([[dx, dy]], dtype=F64)
    move = Affine.about(centre, torch.tensor([scale], dtype=F64), torch.tensor([degrees], dtype=F64), shift)
    torch.testing.assert_close(apply_to_landmarks(move, centre[None])[0], centre + shift, rtol=0, atol=1e-9)
    points = random_points(0, 1, 6)
    torch.testing.assert_close(torch.pdist(apply_to_landmarks(move, points)[0]), scale * torch.pdist(points[0]))


def test_apply_to_landmarks_equals_literal_loop():
    move, points = random_affine(3), random_points(3, 4, 5)
    moved = apply_to_landmarks(move, points)
    for b in range(4):
        for k in range(5):
            for axis in range(2):
                row = move.matrix[b, axis]
                x, y = points[b, k]
                assert abs(float(moved[b, k, axis] - (row[0] * x + row[1] * y + row[2]))) < 1e-10


def test_positions_are_exact_under_autocast():
    """bfloat16 has a step of one pixel at x = 200; mixed precision must not reach coordinates."""
    move, points = random_affine(4, dtype=torch.float32), random_points(4, 4, 9).float()
    images, centre, ones = torch.rand(4, 1, 32, 32), torch.full((4, 2), 200.3), torch.ones(4)

    def everything() -> list[Tensor]:
        turn = Affine.about(centre, ones, 20 * ones, centre)
        moved = apply_to_landmarks(move, points)
        return [moved, move.inverse().matrix, (move @ move).matrix, turn.matrix, warp_images(images, move)]

    plain = everything()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = everything()
    for a, b in zip(plain, mixed):
        assert b.dtype == torch.float32
        torch.testing.assert_close(a, b, rtol=0, atol=0)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.int64])
def test_positions_of_coarse_types_become_float32(dtype: torch.dtype):
    half = Affine(torch.tensor([[[0.5, 0.0, 0.25], [0.0, 0.5, 100.25]]]))
    moved = apply_to_landmarks(half, torch.tensor([[[5, 7]]], dtype=dtype))
    assert moved.dtype == torch.float32 and moved.tolist() == [[[2.75, 103.75]]]
    image = torch.rand(1, 1, 16, 16).mul(8).to(dtype)  # exact in every type
    shift = Affine(torch.tensor([[[1.0, 0.0, 0.3], [0.0, 1.0, 0.0]]]))
    torch.testing.assert_close(warp_images(image, shift), warp_images(image.float(), shift))


# -- pictures --


def test_warp_images_identity_returns_the_same_pixels():
    image = torch.rand(2, 3, 33, 33, generator=torch.Generator().manual_seed(0), dtype=F64)
    torch.testing.assert_close(warp_images(image, Affine.identity(2, dtype=F64)), image, rtol=0, atol=1e-12)
    torch.testing.assert_close(warp_images(image.float(), Affine.identity(2)), image.float(), rtol=0, atol=1e-5)


def test_warp_images_mirror_and_quarter_turn_are_exact():
    image = torch.rand(1, 2, 16, 16, dtype=F64)
    mirror = Affine(torch.tensor([[[-1.0, 0.0, 15.0], [0.0, 1.0, 0.0]]], dtype=F64))
    torch.testing.assert_close(warp_images(image, mirror), image.flip(-1))
    middle, one = torch.full((1, 2), 7.5, dtype=F64), torch.ones(1, dtype=F64)
    turn = Affine.about(middle, one, 90 * one, 0 * middle)
    torch.testing.assert_close(warp_images(image, turn), image.rot90(-1, (2, 3)))


@pytest.mark.parametrize("sigma, worst", [(3.0, 0.02), (2.0, 0.04)])
@pytest.mark.parametrize("seed", range(4))
def test_warp_images_moves_blobs_with_their_landmarks(seed: int, sigma: float, worst: float):
    """Bilinear interpolation itself moves small blobs where the scale is near 1: 0.033 px at most with sigma 2."""
    generator = torch.Generator().manual_seed(seed)
    landmarks = 63.5 + 40 * (torch.rand(8, 6, 2, generator=generator) - 0.5)  # one blob a channel
    blobs = heatmaps.draw(landmarks, 128, sigma)
    move = random_affine(seed, count=8, dtype=torch.float32)
    found = heatmaps.decode(warp_images(blobs, move), "local", radius=14)
    errors = (found - apply_to_landmarks(move, landmarks)).norm(dim=-1)
    assert errors.max() < worst and errors.median() < 0.005


def test_warp_images_crops_blobs_of_an_oblong_picture():
    landmarks = torch.tensor([[[70.3, 30.6], [85.2, 41.9]]])
    blobs = heatmaps.draw(landmarks, 120, sigma=2.5)[:, :, :64]  # 64 rows, 120 columns
    crop = crop_affine(torch.tensor([[53.0, 11.0, 103.0, 61.0]]), 80)
    found = heatmaps.decode(warp_images(blobs, crop, size=80), "local", radius=14)
    assert (found - apply_to_landmarks(crop, landmarks)).norm(dim=-1).max() < 0.02


@pytest.mark.parametrize("padding", ["zeros", "border"])
def test_warp_images_equals_kornia(padding: str):
    from kornia.geometry.transform import warp_affine  # slow to import, so only where it is used

    image = torch.rand(4, 3, 48, 60, generator=torch.Generator().manual_seed(0), dtype=F64)
    move = random_affine(5, centre=25.0)
    # kornia scales matrices by W - 1, so its pixel centres are at integers only with align_corners=True
    expected = warp_affine(image, move.matrix, (40, 40), padding_mode=padding, align_corners=True)
    torch.testing.assert_close(warp_images(image, move, size=40, padding=padding), expected, rtol=0, atol=1e-9)


def test_warp_images_gradcheck():
    images = torch.rand(2, 1, 6, 6, generator=torch.Generator().manual_seed(0), dtype=F64, requires_grad=True)
    matrix = random_affine(6, count=2, centre=2.5).matrix.clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda i, m: warp_images(i, Affine(m)), (images, matrix))


def test_apply_to_landmarks_gradcheck():
    matrix = random_affine(7, count=2).matrix.clone().requires_grad_()
    landmarks = random_points(7, 2, 3).requires_grad_()
    assert torch.autograd.gradcheck(lambda m, p: apply_to_landmarks(Affine(m).inverse(), p), (matrix, landmarks))


# -- boxes and crops --


@quick
@given(seeds, st.floats(1, 3), st.integers(8, 512))
def test_crop_affine_lands_box_edges_on_crop_edges(seed: int, expand: float, size: int):
    box = crop_box(random_points(seed, 3, 5), expand)
    landed = apply_to_landmarks(crop_affine(box, size), box.reshape(3, 2, 2))
    expected = torch.tensor([[-0.5, -0.5], [size - 0.5, size - 0.5]], dtype=F64).expand(3, 2, 2)
    torch.testing.assert_close(landed, expected, rtol=0, atol=1e-7)


@quick
@given(seeds, st.floats(1, 3), numbers, numbers)
def test_crop_box_is_a_square_about_the_landmarks(seed: int, expand: float, dx: float, dy: float):
    points = random_points(seed, 3, 5)
    box = crop_box(points, expand)
    low, high = points.amin(1), points.amax(1)
    side = (box[:, 2:] - box[:, :2]).T
    torch.testing.assert_close(side[0], side[1])
    torch.testing.assert_close(side[0], expand * (high - low).amax(1))
    torch.testing.assert_close(box[:, :2] + box[:, 2:], low + high)
    shift = torch.tensor([dx, dy], dtype=F64)
    torch.testing.assert_close(crop_box(points + shift, expand), box + shift.repeat(2))


def test_crop_box_uses_the_longer_side():
    tall = torch.tensor([[[10.0, 0.0], [14.0, 20.0]]])
    assert crop_box(tall, 1.0).tolist() == [[2.0, 0.0, 22.0, 20.0]]
    torch.testing.assert_close(crop_box(tall), torch.tensor([[-2.0, -4.0, 26.0, 24.0]]))  # 1.4 x 20 = 28


@quick
@given(seeds, st.integers(1, 1024))
def test_denormalise_undoes_normalise(seed: int, size: int):
    points = random_points(seed, 2, 4)
    torch.testing.assert_close(denormalise(normalise(points, size), size), points, rtol=0, atol=1e-9)
    torch.testing.assert_close(normalise(points + 1, size) - normalise(points, size), torch.full_like(points, 1 / size))


@pytest.mark.parametrize(
    "call, words",
    [
        (lambda: Affine(torch.zeros(2, 3)), r"matrix \(B, 2, 3\), not \(2, 3\)"),
        (lambda: Affine(torch.zeros(1, 3, 3)), r"matrix \(B, 2, 3\), not \(1, 3, 3\)"),
        (lambda: Affine.identity(2) @ Affine.identity(3), "3 maps but 2 affine maps"),
        (lambda: apply_to_landmarks(Affine.identity(2), torch.zeros(68, 2)), r"\(B, K, 2\), x before y, not \(68, 2\)"),
        (lambda: apply_to_landmarks(Affine.identity(2), torch.zeros(2, 2, 68)), r"not \(2, 2, 68\)"),
        (lambda: apply_to_landmarks(Affine.identity(2), torch.zeros(3, 68, 2)), "3 landmarks but 2 affine maps"),
        (lambda: warp_images(torch.zeros(3, 8, 8), Affine.identity(3)), r"\(B, C, H, W\), not \(3, 8, 8\)"),
        (lambda: warp_images(torch.zeros(3, 1, 8, 8), Affine.identity(1)), "3 pictures but 1 affine maps"),
        (lambda: crop_box(torch.zeros(68, 2)), r"\(B, K, 2\), x before y, not \(68, 2\)"),
        (lambda: crop_affine(torch.zeros(4), 8), r"boxes must be \(B, 4\).* not \(4,\)"),
    ],
)
def test_wrong_shape_is_named(call, words: str):
    with pytest.raises(InputError, match=words):
        call()
