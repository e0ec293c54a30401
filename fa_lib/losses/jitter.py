"""The Jitter loss for landmarks in video (paper 3: Sun et al., A Backbone Replaceable Fine-tuning Framework, equations 2-7).

For each landmark, u_t is where it is predicted in frame t and û_t where it is, both (x, y) in heatmap pixels; e_t = u_t - û_t is
the error, c = û_t - û_{t-1} the true motion. The loss between the heatmaps of a frame (Eq. 7) is multiplied by Psi (Eq. 4), which
is small where the error stayed the same, and so the prediction moved as the face did.

What this does not punish: an error that never changes has e_t = e_{t-1}, Psi = 0 and no loss at all, however large it is.
"""

import torch
from torch import Tensor

from fa_lib.errors import InputError


def geman_mcclure(pred: Tensor, target: Tensor, theta: float = 1.0) -> Tensor:
    """L_pixel of Eq. 7, d^2 / (d^2 + theta^2) with d = pred - target: in [0, 1), one value a pixel, same shape as `pred`.

    Differs from the paper: its text has the greatest slope at d = theta / 2. The slope is 2 d theta^2 / (d^2 + theta^2)^2, whose
    own slope is 0 where theta^2 = 3 d^2: the peak is at theta / sqrt(3) = 0.577 theta, 9 / (8 sqrt(3) theta) = 0.650 / theta
    high. At theta / 2 it is 0.640 / theta, 98.5 % of that. With theta = 0, where the paper's Table 3 begins, the loss is 1
    wherever d is not 0: no slope anywhere, so nothing is learned from it. At d = 0 it is 0 here, for any theta.

    Raises InputError where shapes differ or theta is negative.

    >>> geman_mcclure(torch.tensor([0.0, 1.0, -3.0]), torch.zeros(3)).mul(10).tolist()  # 0, 1 / 2, 9 / 10
    [0.0, 5.0, 9.0]
    """
    _check_theta(theta)
    if pred.shape != target.shape:
        raise InputError(f"predicted maps are {tuple(pred.shape)}, true ones {tuple(target.shape)}: give the same landmarks")
    square = (pred - target).square()
    if theta == 0:  # the fraction itself would have the slope of its rounding
        return (square > 0).to(square) + 0 * square
    return square / (square + theta**2)


def modulation(error: Tensor, previous_error: Tensor, offset: Tensor, *, theta: float = 1.0, xi: float = 1.0) -> Tensor:
    """Psi of Eqs. 3 and 4, min(|e_t - e_{t-1}| / (|c| + xi), theta): (...) from three tensors (..., 2), x before y.

    Args: `error` e_t, `previous_error` e_{t-1} and `offset` c, in pixels of one grid; `theta`, at which Psi ends, no unit;
    `xi` in the same pixels. The paper gives no xi. With a face that stands still |c| is 0, and xi alone says what jitter is:
    with xi = 1 an error that changed by theta pixels. Where the face moves by a pixel or more it matters little.

    Psi carries gradient below theta (to both errors, if they have any) and none beyond. At e_t = e_{t-1}, where the norm has
    a tip, the gradient is 0. Differs from the paper: its jitter criterion (Eq. 5), "exactly in consistency", lacks xi.

    Raises InputError where shapes differ or do not end in 2, theta is negative or xi is not positive.

    >>> modulation(torch.tensor([3.0, 4.0]), torch.zeros(2), torch.tensor([0.0, 9.0]), xi=1.0).item()  # 5 / (9 + 1)
    0.5
    >>> modulation(torch.tensor([3.0, 4.0]), torch.zeros(2), torch.zeros(2), theta=2.0).item()
    2.0
    """
    _check_theta(theta)
    if not xi > 0:
        raise InputError(f"xi={xi!r}: it keeps the denominator of Psi from 0 where a face stands still, so it must be above 0")
    shapes = {tuple(given.shape) for given in (error, previous_error, offset)}
    if len(shapes) > 1 or error.shape[-1:] != (2,):
        found = ", ".join(str(tuple(given.shape)) for given in (error, previous_error, offset))
        raise InputError(f"errors of two frames and the true offset are {found}: give three times (..., 2)")
    step = torch.linalg.vector_norm(error - previous_error, dim=-1)
    return (step / (torch.linalg.vector_norm(offset, dim=-1) + xi)).clamp(max=theta)


def jitter(
    pred_maps: Tensor,
    target_maps: Tensor,
    error: Tensor,
    previous_error: Tensor | None = None,
    offset: Tensor | None = None,
    *,
    theta: float = 1.0,
    xi: float = 1.0,
    detach_psi: bool = False,
) -> dict[str, Tensor]:
    """The Jitter loss of one frame, Psi * L_pixel (Eq. 2), mean over faces, landmarks and pixels.

    Args: `pred_maps` s_t and `target_maps` (B, K, H, W), peaks near 1; `error` e_t (B, K, 2), (x, y) in heatmap pixels, u_t
    decoded from `pred_maps` (Eq. 6) so that gradient flows through it; `previous_error` and `offset`, the same of e_{t-1} and c,
    both absent in the first frame of a clip, where Psi = 1; `detach_psi`: Psi weighs, but is not itself made smaller.

    Returns "pixel", the mean of L_pixel; "psi", the mean of Psi; "total", the mean of their product, to be minimised.

    Differs from the paper: it says nothing of the first frame. Its Theta is both the bound of Psi and the width of L_pixel, so
    theta = 0 makes Psi and with it the loss 0: the numbers that its Table 3 has for that are of another loss.

    Raises InputError where shapes do not fit, one of `previous_error` and `offset` is absent, or as `modulation` does.

    >>> maps, still = torch.ones(1, 1, 2, 2), torch.zeros(1, 1, 2)
    >>> loss = jitter(maps, 0 * maps, torch.tensor([[[0.3, 0.4]]]), still, torch.tensor([[[1.0, 0.0]]]))
    >>> {name: round(part.item(), 3) for name, part in loss.items()}  # 1 / (1 + 1), 0.5 / (1 + 1)
    {'pixel': 0.5, 'psi': 0.25, 'total': 0.125}
    """
    if pred_maps.ndim != 4 or error.shape != (*pred_maps.shape[:2], 2):
        shapes = f"{tuple(pred_maps.shape)} and {tuple(error.shape)}"
        raise InputError(
            f"maps and errors are {shapes}: they must be (B, K, H, W) and (B, K, 2), of the same faces and landmarks"
        )
    if (previous_error is None) != (offset is None):
        raise InputError("previous_error and offset belong together: give both, or neither for the first frame of a clip")
    pixel = geman_mcclure(pred_maps, target_maps, theta)
    if previous_error is None:
        psi = torch.ones_like(error[..., 0])  # without gradient
    else:
        psi = modulation(error, previous_error, offset, theta=theta, xi=xi)
    weight = psi.detach() if detach_psi else psi
    return {"pixel": pixel.mean(), "psi": psi.mean(), "total": (weight[..., None, None] * pixel).mean()}


def _check_theta(theta: float) -> None:
    if not theta >= 0:
        raise InputError(f"theta={theta!r}: the bound of Psi and the width of the pixel loss must be 0 or more")
