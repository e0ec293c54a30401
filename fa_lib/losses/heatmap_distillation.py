"""Triple distillation of heatmaps (paper 4: Lin et al., SD-HRNet, equations 3 and 4; section 3.2).

Two students of one architecture, which see the same face behind different masks, learn from the true heatmaps, from the mean of
their own two heatmaps and from those of a frozen teacher. What one heatmap tells another is the KL divergence of their softmaxes.

Of maps in [0, 1] the softmax is nearly flat, and L_KD(P^2 || P^1) is nearly half the variance of P^2 - P^1 over the cells: at
64 x 64 cells 0.50 of the mean squared difference for faint noise, 0.80 for a peak of sigma 1 that moved by 0.3 cells along both
axes. So the "implicit distribution" says little that a squared difference would not, and the weights, 4 and 1 on 300-W, mean
something only beside a mean square error *per cell*: summed over the cells, it would drown both KL terms 4096-fold.
"""

import torch
from torch import Tensor

from fa_lib.errors import InputError
from fa_lib.losses.heatmap import heatmap_mse


def kl_maps(student: Tensor, target: Tensor, *, detach: bool = True) -> Tensor:
    """L_KD(target || student) of Eq. 3: KL(p || q), p and q the softmax of `target` and `student` over all cells of each map.

    Maps (B, K, H, W); summed over a map's cells, mean over faces and landmarks, no temperature. Never negative, and 0 where maps
    differ by a constant at most. `detach`: the target is taken as it is, without gradient; the paper does not say. Half
    precision is computed in single. InputError where shapes differ or are no maps.

    Each cell has p ln(p / q) - p + q: the same sum, as p and q sum to 1, but not negative in any cell. The plain sum
    has errors up to 7e-6 a map in float32, as large as the divergence of trained maps; this one less than 1e-7.

    >>> import math
    >>> flat, steep = torch.zeros(1, 1, 1, 2), torch.tensor([[[[0.0, math.log(3)]]]])  # (1/2, 1/2) and (1/4, 3/4)
    >>> round(kl_maps(steep, flat).item(), 4), round(math.log(2) / 2 + math.log(2 / 3) / 2, 4)
    (0.1438, 0.1438)
    >>> round(kl_maps(flat, steep).item(), 4), round(math.log(1 / 2) / 4 + math.log(3 / 2) * 3 / 4, 4)
    (0.1308, 0.1308)
    """
    _check(student, target=target)
    log_q = _precise(student).flatten(2).log_softmax(-1)
    log_p = _precise(target.detach() if detach else target).flatten(2).log_softmax(-1)
    p, q = log_p.exp(), log_q.exp()
    return (p * (log_p - log_q) - p + q).sum(-1).mean()


def triple(
    first: Tensor,
    second: Tensor,
    teacher: Tensor | None,
    ground_truth: Tensor,
    *,
    lambda1: float,
    lambda2: float,
    detach: bool = True,
) -> dict[str, Tensor]:
    """L_S1 + L_S2 of Eq. 4: each student's mse + lambda1 L_KD(P^E || P^Si) + lambda2 L_KD(P^T || P^Si), P^E = (P^S1 + P^S2) / 2.

    Args: heatmaps (B, K, H, W) of both students, of the frozen teacher and as drawn. A KL term of weight 0 is left out, at no
    cost; without the teacher's, `teacher` may be None (lambda1 = 0 is Table 6's row of the teacher alone). `detach` takes P^E as
    it is; otherwise a student's own half of it carries gradient, its peer's does not.

    So backward of the total gives each student the slope of its own loss, as Algorithm 1 has it, in either case. The paper does
    not say which it means: without `detach` the slopes of "peers" are half as large, nearly, if the students agree: lambda1 / 2.
    Gradient through both halves at once would be the same as through none: no target has a smaller sum than the softmax of P^E.

    Returns "mse", "peers", "teacher" (those used, each summed over the two students, not weighted) and "total".

    The paper's "standard mean square error" of one map, divided by N M, is taken per cell; see above why.

    Raises InputError where shapes differ, a weight is negative, or the teacher is absent or carries a gradient.

    >>> maps = torch.zeros(1, 1, 2, 2)
    >>> {name: round(part.item(), 4) for name, part in triple(maps, maps + 1, maps + 5, maps, lambda1=4, lambda2=1).items()}
    {'mse': 1.0, 'peers': 0.0, 'teacher': 0.0, 'total': 1.0}
    """
    if not (lambda1 >= 0 and lambda2 >= 0):
        raise InputError(f"lambda1={lambda1!r}, lambda2={lambda2!r}: weights of losses must be 0 or more")
    _check(first, second=second, ground_truth=ground_truth)
    first, second = _precise(first), _precise(second)
    parts = {"mse": heatmap_mse(first, ground_truth) + heatmap_mse(second, ground_truth)}
    total = parts["mse"]
    if lambda1:
        of_first, of_second = (first + second.detach()) / 2, (first.detach() + second) / 2
        parts["peers"] = kl_maps(first, of_first, detach=detach) + kl_maps(second, of_second, detach=detach)
        total = total + lambda1 * parts["peers"]
    if lambda2:
        if teacher is None or teacher.requires_grad:
            found = "absent" if teacher is None else "carrying a gradient"
            raise InputError(f"the teacher's maps are {found}: give those of a frozen teacher, or lambda2=0")
        parts["teacher"] = kl_maps(first, teacher) + kl_maps(second, teacher)
        total = total + lambda2 * parts["teacher"]
    return {**parts, "total": total}


def _precise(maps: Tensor) -> Tensor:
    return maps if maps.dtype == torch.float64 else maps.float()


def _check(student: Tensor, **others: Tensor) -> None:
    for name, maps in {"student": student, **others}.items():
        if maps.ndim != 4 or maps.shape != student.shape:
            shapes = f"{tuple(maps.shape)}, the student's {tuple(student.shape)}"
            raise InputError(f"heatmaps of {name} are {shapes}: give (B, K, H, W) of the same faces and landmarks")
