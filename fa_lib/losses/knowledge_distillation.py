"""KD-Loss with a tough and a tolerant teacher (paper 2: Fard and Mahoor, equations 4-14).

Everything is per coordinate, in zero-centred normalised landmarks (xy + 0.5) / size - 0.5, which lie in [-0.5, 0.5]. Write r for
the student's distance from the truth |P_Pr - P_Gt|, d for the teacher's |P_Te - P_Gt|, and b = sigma d for the distance of beta
(Eq. 5). Eq. 4 moves the teacher to the student's side of the truth, so that its distance from the student is |d - r|: with
distances alone, no gradient can flow through the sign of Eqs. 4 and 5, and beta is a function of the teacher only.

Differs from the paper: the third line of Eq. 6 lacks P_Pr. Its text (continuous, 0 at the truth, -0.5 at beta) and Fig. 7 say
-0.5 r / b. Its claim that KD-Loss "will never be negative" is false: see `kd_loss`.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from fa_lib.errors import InputError

Variant = Literal["paper", "official"]
Role = Literal["tough", "tolerant"]


@dataclass(frozen=True)
class Assistance:
    """How a teacher assists: `sigma` of Eq. 5, and omega of Eq. 6 in its three regions.

    Omega is `positive` beyond the teacher, -`negative` between beta and the teacher, and -`low` at beta, from where it falls
    linearly to 0 at the truth. With low = negative the loss is continuous.
    """

    sigma: float
    positive: float
    negative: float
    low: float


ASSISTANCE: dict[Variant, dict[Role, Assistance]] = {
    "paper": {"tough": Assistance(0.4, 1.0, 0.5, 0.5), "tolerant": Assistance(0.4, 1.0, 0.5, 0.5)},
    # the authors' code: other numbers than the paper's, and nothing at all below beta, where the loss jumps to 0
    "official": {"tough": Assistance(0.15, 1.9, 0.45, 0.0), "tolerant": Assistance(0.15, 1.8, 0.4, 0.0)},
}


def weight(
    pred: Tensor, target: Tensor, teacher: Tensor, *, sigma: float | None = None, variant: Variant = "paper", role: Role = "tough"
) -> Tensor:
    """Omega of Eq. 6 for each coordinate, same shape as `pred`: how, and how much, the teacher assists there.

    1 where r >= d (the student is beyond the teacher), -0.5 where b <= r < d, and -0.5 r / b where r < b. The regions of
    Eqs. 7-9 share their borders. At r = d the assistive loss is 0 either way, at r = b both say -0.5; so the choice of
    the outer region changes no value. Where the teacher has no error (d = 0), everything is beyond it: 1.

    Arguments and errors as in `assistive`.

    >>> pred, teacher = torch.tensor([0.08, 0.16, 0.3, 0.5]), torch.full((4,), 0.4)
    >>> [round(w, 3) for w in weight(pred, torch.zeros(4), teacher).tolist()]
    [-0.25, -0.5, -0.5, 1.0]
    """
    _check(pred, target, **{role: teacher})
    return _omega((pred - target).abs(), (teacher - target).abs(), sigma, _assistance(variant, role))


def assistive(
    pred: Tensor, target: Tensor, teacher: Tensor, *, sigma: float | None = None, variant: Variant = "paper", role: Role = "tough"
) -> Tensor:
    """ALoss of Eq. 10 for each coordinate, omega |T' - P_Pr| = omega |d - r|, same shape as `pred`, not reduced.

    Beyond the teacher it pulls towards the teacher (and the truth); inside it pushes away from the teacher (to the truth),
    and fades as the student comes nearer to the truth than beta. With a teacher without error it is r.

    Args: `pred`, `target`, `teacher`, all of one shape, zero-centred normalised; `sigma` of Eq. 5, in (0, 1], None for
    the variant's own (0.4 in the paper, 0.15 in the authors' code); `variant`, the paper's equations or the numbers of the
    authors' code; `role` tells which of that code's teachers this is, and means nothing in the paper's variant.

    The gradient flows through omega: below beta the loss is quadratic (section 3.3). It is 0 at the truth itself, where
    the loss has a peak.

    Raises InputError where the target is outside [-0.5, 0.5], shapes differ, the teacher carries a gradient (teacher and
    student swapped, or the teacher not frozen), or `sigma`, `variant` or `role` is none of these.

    >>> pred, teacher = torch.tensor([0.0, 0.08, 0.16, 0.3, 0.4, 0.5]), torch.full((6,), 0.4)
    >>> [round(loss, 3) for loss in assistive(pred, torch.zeros(6), teacher).tolist()]
    [-0.0, -0.08, -0.12, -0.05, 0.0, 0.1]
    """
    _check(pred, target, **{role: teacher})
    return _assist(pred, target, teacher, sigma, _assistance(variant, role))


def main_loss(pred: Tensor, target: Tensor, *, variant: Variant = "paper", tolerant: Tensor | None = None) -> Tensor:
    """Loss_Main of Eqs. 12 and 13 for each coordinate: r up to an error of 0.5, r^2 + 0.25 beyond; same shape as `pred`.

    Official: 3 r up to the tolerant teacher's error t, r^2 + 3 t - t^2 beyond. Without `tolerant` (the authors' code always
    has one) t is the paper's 0.5. Both are continuous. InputError as in `assistive`.

    Differs from the paper: Eq. 13 prints one choice for whole means; here, as in the authors' code, each coordinate chooses.

    >>> main_loss(torch.tensor([0.25, 0.5, 1.0]), torch.zeros(3)).tolist()
    [0.25, 0.5, 1.25]
    >>> main_loss(torch.tensor([0.25, 0.5]), torch.zeros(2), variant="official", tolerant=torch.full((2,), 0.25)).tolist()
    [0.75, 0.9375]
    """
    _check(pred, target, tolerant=tolerant)
    return _main(pred, target, variant, tolerant)


def kd_loss(
    pred: Tensor,
    target: Tensor,
    tough: Tensor | None = None,
    tolerant: Tensor | None = None,
    *,
    phi: float = 2.0,
    sigma: float | None = None,
    variant: Variant = "paper",
) -> dict[str, Tensor]:
    """KD-Loss of Eq. 14: phi main + ALoss of each teacher given, each the mean over faces, landmarks and both coordinates.

    Args: `pred`, `target`, `tough`, `tolerant` (B, K, 2), zero-centred normalised; leave out a teacher for the ablations of
    Table 7. The rest as in `assistive`. Returns "main", "tough", "tolerant" (those used) and "total" = phi main + the others.

    Differs from the paper: Eq. 11 divides by N k and leaves open what happens to x and y; here k counts both. And with
    the paper's numbers the loss is negative near the truth. For two teachers of the same error d its slope at the truth is
    phi - 2 * 0.5 / sigma = -0.5, so the minimum is not the truth: it is -0.025 d, at 0.1 d from it. The loss is nowhere
    negative if sigma >= 0.5 (with phi = 2) or phi >= 2.5 (with sigma = 0.4); the authors' code (`variant="official"`), which
    pays nothing below beta, is not negative either. Without teacher errors the total is (phi + teachers) r for r up to 0.5.

    Raises InputError as `assistive` does.

    >>> truth, teacher = torch.zeros(1, 1, 2), torch.full((1, 1, 2), 0.4)
    >>> {part: round(loss.item(), 3) for part, loss in kd_loss(truth + 0.04, truth, teacher, teacher).items()}
    {'main': 0.04, 'tough': -0.045, 'tolerant': -0.045, 'total': -0.01}
    """
    _check(pred, target, tough=tough, tolerant=tolerant)
    parts = {"main": _main(pred, target, variant, tolerant).mean()}
    total = phi * parts["main"]
    teachers: dict[Role, Tensor | None] = {"tough": tough, "tolerant": tolerant}
    for role, teacher in teachers.items():
        if teacher is not None:
            parts[role] = _assist(pred, target, teacher, sigma, _assistance(variant, role)).mean()
            total = total + parts[role]
    return {**parts, "total": total}


def _omega(r: Tensor, d: Tensor, sigma: float | None, of: Assistance) -> Tensor:
    """Eqs. 5-9 in distances from the truth."""
    sigma = of.sigma if sigma is None else sigma
    if not 0 < sigma <= 1:
        raise InputError(f"sigma={sigma!r}: beta is a share above 0 and up to 1 of the way from the truth to the teacher")
    b = sigma * d
    # a denominator of 0 would make the gradient of this branch NaN even where another one is taken: 0 times NaN is NaN
    low = -of.low * r / b.clamp(min=torch.finfo(b.dtype).tiny)
    return torch.where(r >= d, of.positive, torch.where(r >= b, -of.negative, low))


def _assist(pred: Tensor, target: Tensor, teacher: Tensor, sigma: float | None, of: Assistance) -> Tensor:
    """Eq. 10, with the teacher of Eq. 4."""
    r, d = (pred - target).abs(), (teacher - target).abs()
    return _omega(r, d, sigma, of) * (d - r).abs()


def _main(pred: Tensor, target: Tensor, variant: Variant, tolerant: Tensor | None) -> Tensor:
    """Eqs. 12 and 13: slope * r up to a border, a parabola that meets it there beyond."""
    _assistance(variant, "tolerant")
    r = (pred - target).abs()
    slope, border = (1.0 if variant == "paper" else 3.0), torch.full_like(r, 0.5)
    if variant == "official" and tolerant is not None:
        border = (tolerant - target).abs()
    return torch.where(r <= border, slope * r, r.square() + slope * border - border.square())


def _assistance(variant: Variant, role: Role) -> Assistance:
    """The numbers of one teacher; InputError where there is no such variant or role."""
    if variant not in ASSISTANCE:
        raise InputError(f"variant={variant!r}: choose 'paper' or 'official', which is the authors' code")
    return ASSISTANCE[variant][role]


def _check(pred: Tensor, target: Tensor, **teachers: Tensor | None) -> None:
    """InputError unless shapes agree, the target is zero-centred normalised and no teacher would be trained."""
    if pred.shape != target.shape:
        raise InputError(
            f"the student's landmarks are {tuple(pred.shape)}, the target's {tuple(target.shape)}: give the same points"
        )
    furthest = target.detach().abs().max().item()
    if not furthest <= 0.5 + 1e-4:
        raise InputError(f"the target reaches {furthest:.3g}, beyond 0.5: in pixels? it must be (xy + 0.5) / size - 0.5")
    for role, teacher in teachers.items():
        if role not in ("tough", "tolerant"):
            raise InputError(f"role={role!r}: a teacher is 'tough' or 'tolerant'")
        if teacher is not None and teacher.shape != target.shape:
            shapes = f"{tuple(teacher.shape)}, the target's {tuple(target.shape)}"
            raise InputError(f"the {role} teacher's landmarks are {shapes}: was it trained on another point scheme?")
        if teacher is not None and teacher.requires_grad:
            raise InputError(f"the {role} teacher carries a gradient: freeze it, or were teacher and student swapped?")
