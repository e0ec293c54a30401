"""Where things are: the conventions of this project, and the affine maps and crops that follow them.

Conventions
- Landmarks are (B, K, 2) in the order (x, y), 0-based, with **pixel centres at integers**: the centre of the top left
  pixel is (0, 0), a picture of width W spans x from -0.5 to W - 0.5. Files that count from 1 are shifted when they are read.
- Normalised landmarks are (xy + 0.5) / size, so that the picture spans exactly [0, 1].
- A box is (x0, y0, x1, y1): edges, not pixels. The whole picture is the box (-0.5, -0.5, W - 0.5, H - 0.5).
- An `Affine` maps source pixels to target pixels. One matrix moves the picture and its landmarks; nothing else does.
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
        offset = centre + translation - (linear @ centre[:, :, None])[:, :, 0]
        return cls(torch.cat([linear, offset[:, :, None]], -1))

    def inverse(self) -> "Affine":
        """The maps that undo these."""
        linear = torch.linalg.inv(self.matrix[:, :, :2])
        return Affine(torch.cat([linear, -linear @ self.matrix[:, :, 2:]], -1))

    def __matmul__(self, first: "Affine") -> "Affine":
        """`second @ first`: apply `first`, then `second`."""
        linear = self.matrix[:, :, :2] @ first.matrix[:, :, :2]
        offset = self.matrix[:, :, :2] @ first.matrix[:, :, 2:] + self.matrix[:, :, 2:]
        return Affine(torch.cat([linear, offset], -1))


def apply_to_landmarks(affine: Affine, landmarks: Tensor) -> Tensor:
    """Move landmarks (B, K, 2) by the maps of `affine` (one map a face)."""
    matrix = affine.matrix.to(landmarks)
    return landmarks @ matrix[:, :, :2].mT + matrix[:, None, :, 2]


def warp_images(images: Tensor, affine: Affine, size: int | None = None, padding: str = "zeros") -> Tensor:
    """Pictures (B, C, H, W), float, moved by `affine` into squares (B, C, size, size); bilinear, `size` default: H.

    The same `affine` given to `apply_to_landmarks` moves the landmarks with the picture. Outside the source the result is
    black, or the nearest edge pixel with `padding="border"`. No low-pass filter: shrink by more than 2 in two steps.

    >>> image = torch.zeros(1, 1, 4, 4); image[0, 0, 1, 2] = 1
    >>> right = Affine(torch.tensor([[[1.0, 0.0, 1.0], [0.0, 1.0, 0.0]]]))
    >>> warp_images(image, right)[0, 0, 1].tolist()
    [0.0, 0.0, 0.0, 1.0]
    """
    height, width = images.shape[-2:]
    size = height if size is None else size
    back = affine.inverse().matrix.to(images)  # target pixel -> source pixel
    # grid_sample wants coordinates in [-1, 1] with (x + 0.5) * 2 / W - 1; fold both changes of unit into the matrix
    to_unit = images.new_tensor([2.0 / width, 2.0 / height])[:, None]
    linear = back[:, :, :2] * to_unit * (size / 2)
    centre = back[:, :, :2].sum(-1, keepdim=True) * (size / 2 - 0.5) + back[:, :, 2:]
    theta = torch.cat([linear, (centre + 0.5) * to_unit - 1], -1)
    grid = F.affine_grid(theta, [len(images), images.shape[1], size, size], align_corners=False)
    return F.grid_sample(images, grid, mode="bilinear", padding_mode=padding, align_corners=False)


def crop_box(landmarks: Tensor, expand: float = 1.4) -> Tensor:
    """Square boxes (B, 4) about faces: same centre as the landmarks' tight box, side `expand` x its longer side.

    Paper 1 (section 4.3) crops at 1.4 x the landmark box and does not say how it becomes square; this takes max(w, h).

    >>> crop_box(torch.tensor([[[0.0, 0.0], [10.0, 4.0]]]), expand=2.0)
    tensor([[-5., -8., 15., 12.]])
    """
    low, high = landmarks.amin(1), landmarks.amax(1)
    half = (high - low).amax(-1, keepdim=True) * expand / 2
    centre = (low + high) / 2
    return torch.cat([centre - half, centre + half], -1)


def crop_affine(box: Tensor, size: int) -> Affine:
    """The maps from a photo to square crops of `size` pixels that show `box` (B, 4), a square.

    >>> crop_affine(torch.tensor([[9.5, 19.5, 19.5, 29.5]]), size=10).matrix[0].tolist()
    [[1.0, 0.0, -10.0], [0.0, 1.0, -20.0]]
    """
    scale = size / (box[:, 2] - box[:, 0])
    zero = torch.zeros_like(scale)
    offset = -0.5 - box[:, :2] * scale[:, None]
    return Affine(
        torch.stack([torch.stack([scale, zero, offset[:, 0]], -1), torch.stack([zero, scale, offset[:, 1]], -1)], 1)
    )


def normalise(landmarks: Tensor, size: int) -> Tensor:
    """Pixels of a square picture -> [0, 1].

    >>> normalise(torch.tensor([[[-0.5, 3.5]]]), 8).tolist()
    [[[0.0, 0.5]]]
    """
    return (landmarks + 0.5) / size


def denormalise(landmarks: Tensor, size: int) -> Tensor:
    """[0, 1] -> pixels of a square picture, the inverse of `normalise`."""
    return landmarks * size - 0.5
