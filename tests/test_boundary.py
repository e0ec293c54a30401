"""Boundary maps: distances cell by cell, the ends of lines, the cut, and the lines of the schemes."""

import math
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from fa_lib.boundary import LINES, draw_boundary
from fa_lib.landmarks import SCHEMES

positions = st.lists(st.tuples(st.floats(-3, 11), st.floats(-3, 11)), min_size=4, max_size=4)


def literal(points: Tensor, lines: list[tuple[int, ...]], size: int, sigma: float) -> Tensor:
    """One face, cell by cell: the distance to a piece is that to one of its ends, or the height above it."""
    result = torch.zeros(size, size, dtype=points.dtype)
    for y in range(size):
        for x in range(size):
            best = math.inf
            for line in lines:
                best = min([best, *(math.dist((x, y), points[i].tolist()) for i in line)])
                for a, b in pairwise(line):
                    (ax, ay), (bx, by) = points[a].tolist(), points[b].tolist()
                    length = math.dist((ax, ay), (bx, by))
                    if length > 0 and 0 <= (x - ax) * (bx - ax) + (y - ay) * (by - ay) <= length**2:
                        best = min(best, abs((bx - ax) * (y - ay) - (by - ay) * (x - ax)) / length)
            result[y, x] = math.exp(-(best**2) / (2 * sigma**2)) if best <= 3 * sigma else 0
    return result


@settings(max_examples=15)
@given(positions, positions, st.sampled_from([0.7, 1.5]))
def test_each_cell_has_its_distance(one: list, other: list, sigma: float):
    landmarks, lines = torch.tensor([one, other], dtype=torch.float64), [(0, 1, 2), (3,)]
    maps = draw_boundary(landmarks, lines, 9, sigma)
    assert maps.shape == (2, 1, 9, 9)
    for face in range(2):
        expected = literal(landmarks[face], lines, 9, sigma)
        at_the_cut = (expected == 0) != (maps[face, 0] == 0)  # a distance of 3 sigma exactly may round to either side
        assert torch.allclose(torch.where(at_the_cut, expected, maps[face, 0]), expected, atol=1e-7)
        assert at_the_cut.sum() <= 1


def test_convention_x_comes_first():
    """A line down the column x = 5."""
    found = draw_boundary(torch.tensor([[[5.0, 1.0], [5.0, 6.0]]]), [(0, 1)], 8, 1.0)[0, 0]
    assert torch.equal(found[1:7, 5], torch.ones(6)) and found[3, 4] == found[3, 6] == pytest.approx(math.exp(-0.5))
    assert found[5, 1] == 0 and found[0, 5] == found[7, 5] == pytest.approx(math.exp(-0.5))  # a line ends where it ends


def test_nothing_is_drawn_beyond_three_sigma():
    found = draw_boundary(torch.tensor([[[0.0, 0.0]]]), [(0,)], 8, 2.0)[0, 0, 0]
    assert found[6] == pytest.approx(math.exp(-4.5)) and found[7] == 0


def test_a_line_of_one_landmark_is_a_heatmap():
    from fa_lib.heatmaps import draw

    landmarks = torch.tensor([[[3.2, 4.7]], [[1.0, 2.0]]])
    found, expected = draw_boundary(landmarks, [(0,)], 10, 1.0), draw(landmarks, 10, 1.0)
    assert torch.allclose(found, torch.where(found > 0, expected, torch.zeros(()))) and (found > 0).sum() > 30
    twice = landmarks.expand(-1, 2, -1)  # a line between two landmarks at one place is that place
    assert torch.allclose(draw_boundary(twice, [(0, 1)], 10, 1.0), found)


def test_lines_join_as_the_greater_of_them():
    landmarks = 16 * torch.rand(3, 68, 2, generator=torch.Generator().manual_seed(0))
    each = torch.cat([draw_boundary(landmarks, [line], 16, 1.0) for line in LINES[68]], 1)
    assert torch.allclose(draw_boundary(landmarks, LINES[68], 16, 1.0), each.amax(1, keepdim=True))


def test_gradient_moves_a_line():
    landmarks = torch.tensor([[[1.1, 2.3], [6.2, 4.9]]], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda points: draw_boundary(points, [(0, 1)], 8, 1.0), landmarks)
    together = torch.ones(1, 2, 2, requires_grad=True)
    draw_boundary(together, [(0, 1)], 4, 1.0).sum().backward()
    assert together.grad.isfinite().all()


@pytest.mark.parametrize("count", SCHEMES)
def test_lines_lie_in_regions_and_mirror(count: int):
    scheme, lines = SCHEMES[count], LINES[count]
    pieces = {frozenset(piece) for line in lines for piece in pairwise(line)}
    assert {frozenset(scheme.flip[i] for i in piece) for piece in pieces} == pieces
    left_out = set(range(count)) - {i for line in lines for i in line}
    pupils = {i for pupil in scheme.pupils for i in pupil if len(pupil) == 1}
    assert left_out <= pupils | set(scheme.regions["jaw"])
    for line in lines:
        names = {name.split("_")[-1] for name, ids in scheme.regions.items() if set(ids) & set(line)}
        assert len(names) == 1


def test_what_cannot_be_drawn_is_refused(refusal):
    landmarks = torch.zeros(1, 5, 2)
    refusal("(5, 2)", draw_boundary, landmarks[0], [(0, 1)], 8, 1.0)
    for lines in [[], [()], [(0, 5)], [(-1, 0)]]:
        refusal(f"lines={lines}", draw_boundary, landmarks, lines, 8, 1.0)
    for sigma in [0.0, -1.0, math.nan]:
        refusal(f"sigma={sigma}", draw_boundary, landmarks, [(0, 1)], 8, sigma)
