"""Boundary maps: the lines of a face drawn as a soft ridge, the extra channel that LAB and Adaptive Wing Loss learn.

`LINES` says which landmarks lie on which line, by the number of landmarks; a closed line ends where it began.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from fa_lib.errors import InputError

Line = tuple[int, ...]


def _open(*spans: tuple[int, int]) -> tuple[Line, ...]:
    return tuple(tuple(range(first, last + 1)) for first, last in spans)


def _closed(*spans: tuple[int, int]) -> tuple[Line, ...]:
    return tuple((*range(first, last + 1), first) for first, last in spans)


LINES: dict[int, tuple[Line, ...]] = {
    68: _open((0, 16), (17, 21), (22, 26), (27, 30), (31, 35)) + _closed((36, 41), (42, 47), (48, 59), (60, 67)),
    98: _open((0, 32), (51, 54), (55, 59)) + _closed((33, 41), (42, 50), (60, 67), (68, 75), (76, 87), (88, 95)),
    29: (
        (0, 4, 2, 5, 0), (1, 6, 3, 7, 1), (8, 12, 10, 13, 8), (9, 14, 11, 15, 9),
        (18, 20, 19, 21, 18), (22, 24, 23, 27, 22), (22, 25, 23, 26, 22),
    ),
    19: _open((0, 2), (3, 5), (6, 8), (9, 11), (12, 14), (15, 17)),
}  # fmt: skip


def draw_boundary(landmarks: Tensor, lines: Sequence[Line], size: int, sigma: float) -> Tensor:
    """Maps (B, 1, size, size) of exp(-d^2 / (2 sigma^2)), d the distance of a cell to the nearest of the poly-lines.

    `landmarks` (B, K, 2) in heatmap pixels (heatmaps.to_map), (x, y); `lines`: indices of the landmarks along each line, for
    example LINES[68]; a line of one landmark is a point. Beyond 3 `sigma` the map is 0, as in LAB and Adaptive Wing Loss.

    Differs from the papers: they put splines through the landmarks; here the pieces between them are straight. Raises
    InputError without lines, for a landmark that is not there, and for a sigma that is not positive.

    >>> line_along_x = torch.tensor([[[0.0, 1.0], [2.0, 1.0]]])
    >>> [[round(v, 3) for v in row] for row in draw_boundary(line_along_x, [(0, 1)], size=3, sigma=1.0)[0, 0].tolist()]
    [[0.607, 0.607, 0.607], [1.0, 1.0, 1.0], [0.607, 0.607, 0.607]]
    """
    if landmarks.ndim != 3 or landmarks.shape[-1] != 2:
        raise InputError(f"landmarks must be (B, K, 2), x before y, not {tuple(landmarks.shape)}")
    if not lines or not all(line and 0 <= min(line) <= max(line) < landmarks.shape[1] for line in lines):
        raise InputError(f"lines={lines!r} must be tuples of indices of the {landmarks.shape[1]} landmarks, none of them empty")
    if not sigma > 0:
        raise InputError(f"sigma={sigma}: the width of a boundary must be positive")
    pieces = [piece for line in lines for piece in zip(line, line[1:] or line, strict=False)]
    start, end = (landmarks[:, [piece[side] for piece in pieces], None, None] for side in (0, 1))  # (B, pieces, 1, 1, 2)
    cells = torch.arange(size, device=landmarks.device, dtype=landmarks.dtype)
    grid = torch.stack(torch.meshgrid(cells, cells, indexing="xy"), -1)  # (size, size, 2)
    along = end - start
    length2 = (along**2).sum(-1).clamp(min=torch.finfo(landmarks.dtype).tiny)  # landmarks that coincide are a point
    part = (((grid - start) * along).sum(-1) / length2).clamp(0, 1)  # where on the piece the nearest point is
    distance2 = ((grid - start - part[..., None] * along) ** 2).sum(-1).amin(1, keepdim=True)
    ridge = torch.exp(-distance2 / (2 * sigma**2))
    return torch.where(distance2 <= (3 * sigma) ** 2, ridge, ridge.new_zeros(()))
