"""Where things are: the conventions of this project, and the affine maps and crops that follow them.

Conventions
- Landmarks are (B, K, 2) in the order (x, y), 0-based, with **pixel centres at integers**: the centre of the top left
  pixel is (0, 0), a picture of width W spans x from -0.5 to W - 0.5. Files that count from 1 are shifted when they are read.
- Normalised landmarks are (xy + 0.5) / size, so that the picture spans exactly [0, 1].
- A box is (x0, y0, x1, y1): edges, not pixels. The whole picture is the box (-0.5, -0.5, W - 0.5, H - 0.5).
- An `Affine` maps source pixels to target pixels. One matrix moves the picture and its landmarks; nothing else does.
  Positions are computed in float32 at least, also under autocast: bfloat16 rounds x = 200 to a whole pixel.
- Letters in shapes: B batch, T time, K landmarks, C channels, H and W height and width.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from fa_lib.errors import InputError


@dataclass(frozen=True)
class Affine:
    """A batch of affine maps, `matrix` (B, 2, 3): target = matrix[:, :, :2] @ source + matrix[:, :, 2], in pixels.

    >>> move = Affine(torch.tensor([[[1.0, 0.0, 5.0], [0.0, 1.0, 0.0]]]))
    >>> apply_to_landmarks(move, torch.tensor([[[1.0, 2.0]]]))
    tensor([[[6., 2.]]])
    """

    matrix: Tensor

    def __post_init__(self) -> None:
        if self.matrix.ndim != 3 or self.matrix.shape[1:] != (2, 3):
            raise InputError(f"an affine map needs a matrix (B, 2, 3), not {tuple(self.matrix.shape)}")

    @classmethod
    def identity(cls, count: int, **options) -> "Affine":
        """`count` maps that move nothing; `options` as for torch.eye (dtype, device)."""
        return cls(torch.eye(2, 3, **options).expand(count, 2, 3))

    @classmethod
    def about(cls, centre: Tensor, scale: Tensor, degrees: Tensor, translation: Tensor) -> "Affine":
        """Turn and scale about `centre` (B, 2), then move by `translation` (B, 2), in pixels. `scale`, `degrees`: (B,).

        A positive angle turns x towards y, which looks clockwise on a screen, where y points down.

        >>> turn = Affine.about(torch.ones(1, 2), torch.ones(1), torch.tensor([90.0]), torch.zeros(1, 2))
        >>> apply_to_landmarks(turn, torch.tensor([[[3.0, 1.0]]])).round().tolist()
        [[[1.0, 3.0]]]
        """
        angle = torch.deg2rad(degrees)
        c, s = scale * torch.cos(angle), scale * torch.sin(angle)
        linear = torch.stack([torch.stack([c, -s], -1), torch.stack([s, c], -1)], -2)  # (B, 2, 2)
        offset = centre + translation - _product(linear, centre[:, :, None])[:, :, 0]
        return cls(torch.cat([linear, offset[:, :, None]], -1))

    def inverse(self) -> "Affine":
        """The maps that undo these."""
        linear = torch.linalg.inv(self.matrix[:, :, :2])
        return Affine(torch.cat([linear, -_product(linear, self.matrix[:, :, 2:])], -1))

    def __matmul__(self, first: "Affine") -> "Affine":
        """`second @ first`: apply `first`, then `second`."""
        _same_batch("maps", first.matrix, self)
        linear = _product(self.matrix[:, :, :2], first.matrix[:, :, :2])
        offset = _product(self.matrix[:, :, :2], first.matrix[:, :, 2:]) + self.matrix[:, :, 2:]
        return Affine(torch.cat([linear, offset], -1))


def apply_to_landmarks(affine: Affine, landmarks: Tensor) -> Tensor:
    """Move landmarks (B, K, 2) by the maps of `affine` (one map a face); InputError where the shapes do not fit.

    >>> half = Affine(torch.tensor([[[0.5, 0.0, 0.0], [0.0, 0.5, 1.0]]]))
    >>> apply_to_landmarks(half, torch.tensor([[[4, 6]]])).tolist()
    [[[2.0, 4.0]]]
    """
    _check_landmarks(landmarks)
    _same_batch("landmarks", landmarks, affine)
    landmarks = _precise(landmarks)
    matrix = affine.matrix.to(landmarks)
    return _product(landmarks, matrix[:, :, :2].mT) + matrix[:, None, :, 2]


def warp_images(images: Tensor, affine: Affine, size: int | None = None, padding: str = "zeros") -> Tensor:
    """Pictures (B, C, H, W) moved by `affine` into squares (B, C, size, size), float; bilinear, `size` default: H.

    The same `affine` given to `apply_to_landmarks` moves the landmarks with the picture. Outside the source the result is
    black, or the nearest edge pixel with `padding="border"`. No low-pass filter: shrink by more than 2 in two steps.
    Raises InputError where the shapes do not fit.

    >>> image = torch.zeros(1, 1, 4, 4); image[0, 0, 1, 2] = 1
    >>> right = Affine(torch.tensor([[[1.0, 0.0, 1.0], [0.0, 1.0, 0.0]]]))
    >>> warp_images(image, right)[0, 0, 1].tolist()
    [0.0, 0.0, 0.0, 1.0]
    """
    if images.ndim != 4:
        raise InputError(f"pictures must be (B, C, H, W), not {tuple(images.shape)}")
    _same_batch("pictures", images, affine)
    images = _precise(images)
    height, width = images.shape[-2:]
    cells = torch.arange(height if size is None else size, device=images.device, dtype=images.dtype)
    back = affine.inverse().matrix.to(images)[:, :, :, None, None]  # target pixel -> source pixel
    source = back[:, :, 0] * cells + back[:, :, 1] * cells[:, None]  # (B, 2, size, size), x and y
    # grid_sample counts from -1 to 1, from edge to edge of the picture; in place, as each new tensor takes as long as sampling
    source.add_(back[:, :, 2]).add_(0.5).mul_(images.new_tensor([2.0 / width, 2.0 / height])[:, None, None]).sub_(1)
    return F.grid_sample(images, source.movedim(1, -1), mode="bilinear", padding_mode=padding, align_corners=False)


def crop_box(landmarks: Tensor, expand: float = 1.4) -> Tensor:
    """Square boxes (B, 4) about faces: same centre as the landmarks' tight box, side `expand` x its longer side.

    Paper 1 (section 4.3) crops at 1.4 x the landmark box and does not say how it becomes square; this takes max(w, h).

    >>> crop_box(torch.tensor([[[0.0, 0.0], [10.0, 4.0]]]), expand=2.0)
    tensor([[-5., -8., 15., 12.]])
    """
    _check_landmarks(landmarks)
    low, high = landmarks.amin(1), landmarks.amax(1)
    half = (high - low).amax(-1, keepdim=True) * expand / 2
    centre = (low + high) / 2
    return torch.cat([centre - half, centre + half], -1)


def crop_affine(box: Tensor, size: int) -> Affine:
    """The maps from a photo to square crops of `size` pixels that show `box` (B, 4), a square.

    >>> crop_affine(torch.tensor([[9.5, 19.5, 19.5, 29.5]]), size=10).matrix[0].tolist()
    [[1.0, 0.0, -10.0], [0.0, 1.0, -20.0]]
    """
    if box.ndim != 2 or box.shape[1] != 4:
        raise InputError(f"boxes must be (B, 4), that is x0, y0, x1, y1, not {tuple(box.shape)}")
    scale = size / (box[:, 2] - box[:, 0])
    zero = torch.zeros_like(scale)
    offset = -0.5 - box[:, :2] * scale[:, None]
    return Affine(torch.stack([torch.stack([scale, zero, offset[:, 0]], -1), torch.stack([zero, scale, offset[:, 1]], -1)], 1))


def normalise(landmarks: Tensor, size: int) -> Tensor:
    """Pixels of a square picture -> [0, 1].

    >>> normalise(torch.tensor([[[-0.5, 3.5]]]), 8).tolist()
    [[[0.0, 0.5]]]
    """
    return (landmarks + 0.5) / size


def denormalise(landmarks: Tensor, size: int) -> Tensor:
    """[0, 1] -> pixels of a square picture, the inverse of `normalise`."""
    return landmarks * size - 0.5


def _product(a: Tensor, b: Tensor) -> Tensor:
    """a @ b of small matrices (B, M, 2) and (B, 2, N), multiplied one by one: autocast and TF32 round inside `@`."""
    return (a[:, :, :, None] * b[:, None]).sum(2)


def _precise(values: Tensor) -> Tensor:
    """`values` in float32, or in float64 where they already are."""
    return values.to(torch.promote_types(values.dtype, torch.float32))


def _check_landmarks(landmarks: Tensor) -> None:
    if landmarks.ndim != 3 or landmarks.shape[-1] != 2:
        raise InputError(f"landmarks must be (B, K, 2), x before y, not {tuple(landmarks.shape)}")


def _same_batch(name: str, values: Tensor, affine: Affine) -> None:
    if len(values) != len(affine.matrix):
        raise InputError(f"{len(values)} {name} but {len(affine.matrix)} affine maps: one map a face is needed")
