"""Equivariance, scale compensation and their sum (paper 1: Nagae and Takeuchi, Iterative Self-distillation, equations 1-8).

The unit matters: the landmark terms are squared distances, the scale term is a plain one, and the paper weighs both with 1
without naming a unit. Here landmarks are in pixels of a 256-pixel crop, whatever the network's input size, and distances are
summed over a face's landmarks as equation 3 sums scales: the reading in which neither term drowns the other.
"""

from collections.abc import Callable

from torch import Tensor

from fa_lib.geometry import Affine, apply_to_landmarks, warp_images
from fa_lib.losses.landmark import l2

Distance = Callable[[Tensor, Tensor], Tensor]


def face_l2(pred: Tensor, target: Tensor) -> Tensor:
    """Squared distance between faces as vectors of 2K coordinates, mean over faces: the g of equations 1, 4 and 6.

    >>> import torch
    >>> face_l2(torch.tensor([[[3.0, 4.0], [1.0, 0.0]]]), torch.zeros(1, 2, 2)).item()
    26.0
    """
    return l2(pred, target) * pred.shape[1]


def elt(model: Callable[[Tensor], Tensor], images: Tensor, pred: Tensor, affine: Affine, *, distance: Distance = l2) -> Tensor:
    """Punishes landmarks that do not move with the picture (equation 1): distance(f(I), T^-1 f(T I)).

    Args: `model` maps pictures to landmarks in their pixels; `images` (B, C, H, H); `pred` (B, K, 2) = model(images), given
    so that it is computed once; `affine` T, one map a picture. Zero for a model that follows every T.

    Differs from the paper: for heatmap networks T^-1 moves coordinates only, as in Honari et al., not the maps as well.

    >>> import torch
    >>> images, turn = torch.rand(1, 3, 8, 8), Affine.identity(1)
    >>> fixed = lambda pictures: torch.tensor([[[2.0, 5.0]]])   # always the same answer, whatever the picture
    >>> elt(fixed, images, fixed(images), turn).item()
    0.0
    >>> right = Affine(torch.tensor([[[1.0, 0.0, 3.0], [0.0, 1.0, 0.0]]]))
    >>> elt(fixed, images, fixed(images), right).item()          # did not follow 3 pixels
    9.0
    """
    moved = model(warp_images(images, affine))
    return distance(pred, apply_to_landmarks(affine.inverse(), moved))


def scale(landmarks: Tensor) -> Tensor:
    """The size of each face (B,): sum of its landmarks' L1 distances from their mean (equation 3).

    >>> import torch
    >>> scale(torch.tensor([[[0.0, 0.0], [4.0, 2.0]]])).tolist()
    [6.0]
    """
    return (landmarks - landmarks.mean(1, keepdim=True)).abs().sum((1, 2))


def sct(pred: Tensor, reference: Tensor) -> Tensor:
    """Scale compensation: mean absolute difference between the sizes of faces (B, K, 2) (equation 2; 7 with f_0's output).

    Zero wherever the sizes agree, even for wrong landmarks: it holds what ELT would shrink, and nothing else.

    >>> import torch
    >>> face = torch.tensor([[[0.0, 0.0], [4.0, 2.0]]])
    >>> sct(face + 7, face).item(), sct(0.5 * face, face).item()
    (0.0, 3.0)
    """
    return (scale(pred) - scale(reference)).abs().mean()


def self_distillation(
    model: Callable[[Tensor], Tensor],
    images: Tensor,
    pred: Tensor,
    target: Tensor,
    *,
    reference: Tensor | None = None,
    affine: Affine | None = None,
    w_elt: float = 1.0,
    w_sct: float = 1.0,
    unit: float = 1.0,
    distance: Distance = face_l2,
) -> dict[str, Tensor]:
    """The whole loss: fit + w_elt * elt + w_sct * sct (equation 5 with ground truth, equation 8 with a teacher's output).

    Args: `target` (B, K, 2), the annotation l or the teacher's f_{i-1}(I); `reference` (B, K, 2), whose size is kept: the
    annotation, or f_0(I) in every self-distillation; `affine`, the T of equation 1; `unit`, what one pixel of the input
    counts (256 / size makes it pixels of a 256-pixel crop). A term without its input, or with weight 0, is left out, at no cost.

    Returns the parts "fit", "elt", "sct" (those used) and "total".

    Differs from the paper: it writes SCT with the annotation at first and with f_0 later; both are `reference` here.
    """

    def in_units(one: Tensor, other: Tensor) -> Tensor:
        return distance(one * unit, other * unit)

    parts = {"fit": in_units(pred, target)}
    total = parts["fit"]
    if affine is not None and w_elt:
        parts["elt"] = elt(model, images, pred, affine, distance=in_units)
        total = total + w_elt * parts["elt"]
    if reference is not None and w_sct:
        parts["sct"] = sct(pred * unit, reference * unit)
        total = total + w_sct * parts["sct"]
    return {**parts, "total": total}
