"""Which unlabelled faces to annotate next: the acquisition functions of paper 5 (section 3.2, Table 4).

Two score how unsure a network is of a face, from its heatmaps: `nnm` and `spatial_entropy`, both greater where it is less
sure, and `unsureness` does so for pictures; `choose` then takes the greatest scores below the share that `discard_hardest`
drops. `k_center_greedy` spreads the choice over the pool instead. All are deterministic: of equals, the lowest index comes
first.
"""

from collections.abc import Iterator, Sequence
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from fa_lib.errors import InputError
from fa_lib.heatmaps import Method, decode

_NOTHING = 1e-30  # a value of a heatmap that is as good as 0, but has a logarithm


def nnm(heatmaps: Tensor, window: int = 9, landmarks: Tensor | None = None) -> Tensor:
    """Negative Neighbourhood Magnitude (B,) of heatmaps (B, K, H, W), equation 1 of paper 5: greater is less sure.

    NNM = - sum_i sum_(u, v) in W_i H_i(u, v), where W_i is the square of `window` x `window` cells about landmark i. Where a
    network is unsure, a heatmap learned by least squares is low and wide, so that less of it lies near the landmark. Values may
    be negative and are summed as they are; a window that reaches over the border sees zeros there.

    `landmarks` (B, K, 2), (x, y) in heatmap pixels, saves the decoding where it is done already; a window is centred on the
    nearest cell. Default: `decode(heatmaps, "box_blur")`, the argmax after a 9 x 9 mean by which 3FabRec, the network that
    paper 5 builds on, is evaluated. With it and a window of 9, NNM is -81 times the sum of the maxima of the blurred maps.

    Differs from the paper: it does not give the window's size, nor what happens at the border.

    >>> maps = torch.zeros(1, 1, 5, 5); maps[0, 0, 1, 3] = 1; maps[0, 0, 1, 4] = 0.5; maps[0, 0, 4, 0] = 0.25
    >>> nnm(maps, 3, torch.tensor([[[3.0, 1.0]]])).tolist(), nnm(maps, 3, torch.tensor([[[1.0, 3.0]]])).tolist()
    ([-1.5], [-0.25])
    """
    if isinstance(window, bool) or not isinstance(window, int) or window < 1 or window % 2 == 0:
        raise InputError(f"window={window}: a square about a landmark is an odd number of cells wide, at least 1")
    heatmaps = _checked(heatmaps)
    if landmarks is None:
        landmarks = decode(heatmaps, "box_blur")
    if landmarks.shape != (*heatmaps.shape[:2], 2) or not landmarks.isfinite().all():
        given = f"landmarks {tuple(landmarks.shape)} of heatmaps {tuple(heatmaps.shape)}"
        raise InputError(f"{given}: they must be (B, K, 2), in heatmap pixels, all of them finite")
    height, width = heatmaps.shape[-2:]
    near = torch.arange(window, device=heatmaps.device) - window // 2
    x, y = (landmarks.round().long()[..., None] + near).unbind(-2)  # (B, K, window) each
    inside = ((y >= 0) & (y < height))[..., :, None] & ((x >= 0) & (x < width))[..., None, :]
    cells = y.clamp(0, height - 1)[..., :, None] * width + x.clamp(0, width - 1)[..., None, :]
    values = heatmaps.flatten(2).gather(2, cells.flatten(2))
    return -torch.where(inside.flatten(2), values, values.new_zeros(())).sum((1, 2))


def spatial_entropy(heatmaps: Tensor) -> Tensor:
    """Mean entropy (B,) of a face's heatmaps (B, K, H, W), in nats: 0 for a single lit cell, log(H W) for a flat map.

    Each map is a distribution over its cells, p = max(H, 0) / sum of it, with the entropy - sum p log p; then the mean over
    landmarks. A map without a positive value counts as flat: the network knows nothing of that landmark.

    Differs from the paper: it normalises without saying how; negative values are taken as 0 here.

    >>> maps = torch.zeros(1, 2, 2, 2); maps[0, 0, 0] = 3.0
    >>> [round(v, 4) for v in spatial_entropy(maps).tolist()]  # (log 2 + log 4) / 2
    [1.0397]
    """
    mass = _checked(heatmaps).flatten(2).clamp(min=_NOTHING)  # a new tensor: it may change in place
    share = mass.div_(mass.sum(-1, keepdim=True))
    return -share.log().mul_(share).sum(-1).mean(-1)


@torch.no_grad()
def unsureness(
    net: nn.Module, crops: np.ndarray, function: Literal["nnm", "entropy"], batch: int = 64, method: Method = "box_blur"
) -> Tensor:
    """How unsure a heatmap network is of each of the crops (N, size, size, 3) uint8: (N,), greater is less sure.

    `method` finds the landmarks about which NNM sums; "local" takes a tenth of the time of 3FabRec's "box_blur".

    >>> class Bright(nn.Module):  # sure of bright pictures
    ...     def forward(self, pictures):
    ...         return [pictures.mean((1, 2, 3), keepdim=True)]
    >>> crops = np.array([255, 51], np.uint8).reshape(2, 1, 1, 1).repeat(3, axis=3)
    >>> [round(score, 3) for score in unsureness(Bright(), crops, "nnm").tolist()]
    [-1.0, -0.2]
    """
    measure = {"nnm": lambda maps: nnm(maps, landmarks=decode(maps, method)), "entropy": spatial_entropy}[function]
    return torch.cat([measure(net(pictures)[-1].float()).cpu() for pictures in in_batches(net, crops, batch)])


def in_batches(net: nn.Module, crops: np.ndarray, batch: int = 64) -> Iterator[Tensor]:
    """Crops (N, size, size, 3) uint8 as a network takes them, (B, 3, size, size) in [0, 1], where its weights are.

    >>> [tuple(pictures.shape) for pictures in in_batches(nn.Identity(), np.zeros((3, 4, 4, 3), np.uint8), batch=2)]
    [(2, 3, 4, 4), (1, 3, 4, 4)]
    """
    where = next((parameter.device for parameter in net.parameters()), torch.device("cpu"))
    net.eval()
    for start in range(0, len(crops), batch):
        yield torch.from_numpy(np.array(crops[start : start + batch])).to(where).permute(0, 3, 1, 2).float() / 255


def k_center_greedy(features: Tensor, chosen: Sequence[int], count: int) -> list[int]:
    """`count` further indices of `features` (N, D) that cover the rest well (Sener and Savarese, ICLR 2018, algorithm 1).

    Each next face is the one that is farthest, by Euclidean distance, from its nearest neighbour among those already chosen;
    this leaves none farther than twice the best possible. Of equally far ones, duplicates among them, the lowest index is
    taken; with none chosen, index 0 is first. Distances to one centre at a time: O(N) memory beside the features.

    >>> k_center_greedy(torch.tensor([[0.0], [1.0], [9.0], [6.0], [1.0]]), chosen=[0], count=3)
    [2, 3, 1]
    """
    if features.ndim != 2 or not features.isfinite().all():
        raise InputError(f"features {tuple(features.shape)}: they must be (N, D), one vector a face, all of them finite")
    size, chosen = len(features), [int(index) for index in chosen]
    if len(set(chosen)) < len(chosen) or any(not 0 <= index < size for index in chosen):
        raise InputError(f"chosen faces: they must be different indices from 0 to {size - 1}")
    _check_budget(count, size - len(chosen))
    features = features.to(torch.promote_types(features.dtype, torch.float32))
    distance = features.new_full((size,), torch.inf)

    def add(index: int) -> None:
        # differences, not products of vectors: only then is a duplicate at distance 0
        to_it = torch.cdist(features, features[index, None], compute_mode="donot_use_mm_for_euclid_dist")[:, 0]
        torch.minimum(distance, to_it, out=distance)
        distance[index] = -1  # below every distance: chosen once

    for index in chosen:
        add(index)
    found = []
    for _ in range(count):
        found.append(int(distance.argmax()))  # the first of equals
        add(found[-1])
    return found


def discard_hardest(scores: Tensor, share: float = 0.1) -> list[int]:
    """Indices, in their order, of `scores` (N,) without the greatest floor(`share` N) of them (section 3.2 of paper 5).

    Faces that are hidden almost wholly have the greatest scores and are of no use to learn from: paper 5 discards a tenth.
    It is of the pool that is left in a round, and the faces are back in the pool of the next round.

    >>> discard_hardest(torch.tensor([5.0, 9.0, 1.0, 7.0]), share=0.25)
    [0, 2, 3]
    """
    return sorted(_ranked(scores, share))


def choose(scores: Tensor, count: int, share: float = 0.0) -> list[int]:
    """Indices of the `count` greatest of `scores` (N,), the greatest first, after `discard_hardest(scores, share)`.

    >>> choose(torch.tensor([5.0, 9.0, 1.0, 7.0]), count=2, share=0.25)
    [3, 0]
    """
    left = _ranked(scores, share)
    _check_budget(count, len(left))
    return left[:count]


def _ranked(scores: Tensor, share: float) -> list[int]:
    """Indices from the greatest score down, without the hardest."""
    if scores.ndim != 1 or not scores.isfinite().all():
        raise InputError(f"scores {tuple(scores.shape)}: they must be (N,), one a face, all of them finite")
    if not 0 <= share < 1:
        raise InputError(f"share={share}: the part of the pool to discard must be at least 0 and less than 1")
    hardest = int(share * len(scores) + 1e-9)  # 0.29 * 100 is a little less than 29
    return scores.sort(descending=True, stable=True).indices[hardest:].tolist()


def _check_budget(count: int, left: int) -> None:
    if isinstance(count, bool) or not isinstance(count, int) or count < 1:
        raise InputError(f"count={count}: a round annotates a whole number of faces, at least 1")
    if count > left:
        raise InputError(f"count={count}: only {left} faces are left to choose from, so a round can annotate at most as many")


def _checked(heatmaps: Tensor) -> Tensor:
    """Heatmaps in float32 or more: half precision cannot add up a map."""
    if heatmaps.ndim != 4 or 0 in heatmaps.shape[1:]:
        raise InputError(f"heatmaps {tuple(heatmaps.shape)}: they must be (B, K, H, W), with at least one landmark and one cell")
    return heatmaps.to(torch.promote_types(heatmaps.dtype, torch.float32))
