"""Paper 2's losses: known values, equations 4-14 written out, borders, limits, the claim that is false, and refusals."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from fa_lib import models
from fa_lib.losses import assistive, kd_loss, l1, main_loss, weight

quick = settings(max_examples=60)
places = st.floats(-0.5, 0.5, width=32).map(float)
errors = st.floats(0.01, 0.5)
sigmas = st.floats(0.05, 1.0)


def double(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def faces(seed: int, count: int = 3, spread: float = 0.5) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return (2 * torch.rand(count, 5, 2, generator=generator, dtype=torch.float64) - 1) * spread


# One coordinate after another, with the paper's own symbols.


def sign(x: float) -> float:
    return float(x > 0) - float(x < 0)


def equations_4_to_10(pr: float, gt: float, te: float, sigma: float) -> tuple[float, float]:
    """Omega and ALoss; the third line of Eq. 6 with the factor that it lacks."""
    reflected = gt + sign(pr - gt) * abs(te - gt)
    beta = gt + sigma * sign(pr - gt) * abs(te - gt)
    if abs(pr - gt) - abs(reflected - gt) >= 0:
        omega = 1.0
    elif abs(reflected - gt) - abs(pr - gt) >= 0 and abs(pr - gt) - abs(beta - gt) >= 0:
        omega = -0.5
    else:
        omega = -0.5 / (beta - gt) * (pr - gt)
    return omega, omega * abs(reflected - pr)


def authors_code(pr: float, gt: float, te: float, positive: float, negative: float) -> float:
    """What the published code computes for one teacher, sign by sign."""
    reflected = gt + sign(pr - gt) * abs(te - gt)
    beta = gt + 0.15 * sign(pr - gt) * abs(te - gt)
    pull = positive if sign(pr - reflected) * sign(reflected - gt) > 0 else 0.0
    push = -negative if sign(reflected - pr) * sign(pr - beta) >= 0 else 0.0
    return (pull + push) * abs(reflected - pr)


def equations_12_and_13(pr: float, gt: float) -> float:
    delta = abs(gt - pr)
    return delta if delta <= 0.5 else delta**2 + 0.25


def authors_main(pr: float, gt: float, tol: float) -> float:
    delta, at = abs(gt - pr), abs(gt - tol)
    return 3 * delta if delta <= at else delta**2 + 3 * at - at**2


def each(of, *tensors: Tensor) -> list[float]:
    return [of(*numbers) for numbers in zip(*(tensor.flatten().tolist() for tensor in tensors))]


def mean(values: list[float]) -> float:
    return sum(values) / len(values)


PRED, TARGET, TOUGH, TOLERANT = faces(0, spread=1.2), faces(1), faces(2), faces(3)


def test_known_values():
    pred = double(0, 0.08, 0.16, 0.3, 0.4, 0.5)
    found = assistive(pred, torch.zeros_like(pred), torch.full_like(pred, 0.4), sigma=0.4)
    assert found.tolist() == pytest.approx([0, -0.08, -0.12, -0.05, 0, 0.1], abs=1e-15)
    omega = weight(pred, torch.zeros_like(pred), torch.full_like(pred, 0.4), sigma=0.4)
    assert omega.tolist() == pytest.approx([0, -0.25, -0.5, -0.5, 1, 1])


@pytest.mark.parametrize("sigma", [0.1, 0.4, 1.0])
def test_assistive_is_equations_4_to_10(sigma: float):
    omegas, losses = zip(*each(lambda pr, gt, te: equations_4_to_10(pr, gt, te, sigma), PRED, TARGET, TOUGH))
    assert weight(PRED, TARGET, TOUGH, sigma=sigma).flatten().tolist() == pytest.approx(omegas)
    assert assistive(PRED, TARGET, TOUGH, sigma=sigma).flatten().tolist() == pytest.approx(losses)
    if sigma == 0.4:
        assert min(omegas) == -0.5 and max(omegas) == 1 and any(-0.5 < omega < 0 for omega in omegas)  # every region


@pytest.mark.parametrize("role, positive, negative", [("tough", 1.9, 0.45), ("tolerant", 1.8, 0.4)])
def test_assistive_of_the_authors_code(role: str, positive: float, negative: float):
    pred = torch.cat([PRED, TARGET + 0.05 * PRED])  # some below beta
    target, teacher = torch.cat([TARGET, TARGET]), torch.cat([TOUGH, TOUGH])
    expected = each(lambda pr, gt, te: authors_code(pr, gt, te, positive, negative), pred, target, teacher)
    assert 0 in expected and min(expected) < 0 < max(expected)
    found = assistive(pred, target, teacher, variant="official", role=role)
    assert found.flatten().tolist() == pytest.approx(expected)


def test_main_loss_is_equations_12_and_13():
    assert (PRED - TARGET).abs().max() > 0.5 > (PRED - TARGET).abs().min()
    assert main_loss(PRED, TARGET).flatten().tolist() == pytest.approx(each(equations_12_and_13, PRED, TARGET))


def test_main_loss_of_the_authors_code():
    expected = each(authors_main, PRED, TARGET, TOLERANT)
    assert main_loss(PRED, TARGET, variant="official", tolerant=TOLERANT).flatten().tolist() == pytest.approx(expected)
    half = each(lambda pr, gt: authors_main(pr, gt, gt + 0.5), PRED, TARGET)
    assert main_loss(PRED, TARGET, variant="official").flatten().tolist() == pytest.approx(half)


@pytest.mark.parametrize("phi, sigma", [(2.0, 0.4), (2.5, 0.2), (1.0, 0.9)])
def test_kd_loss_is_equations_11_and_14(phi: float, sigma: float):
    found = kd_loss(PRED, TARGET, TOUGH, TOLERANT, phi=phi, sigma=sigma)
    expected = {
        "main": mean(each(equations_12_and_13, PRED, TARGET)),
        "tough": mean(each(lambda *p: equations_4_to_10(*p, sigma)[1], PRED, TARGET, TOUGH)),
        "tolerant": mean(each(lambda *p: equations_4_to_10(*p, sigma)[1], PRED, TARGET, TOLERANT)),
    }
    expected["total"] = phi * expected["main"] + expected["tough"] + expected["tolerant"]
    assert {part: loss.item() for part, loss in found.items()} == pytest.approx(expected)


def test_kd_loss_of_the_authors_code():
    main = mean(each(authors_main, PRED, TARGET, TOLERANT))
    tough = mean(each(lambda *p: authors_code(*p, 1.9, 0.45), PRED, TARGET, TOUGH))
    tolerant = mean(each(lambda *p: authors_code(*p, 1.8, 0.4), PRED, TARGET, TOLERANT))
    found = kd_loss(PRED, TARGET, TOUGH, TOLERANT, variant="official")
    assert found["total"].item() == pytest.approx(2 * main + tough + tolerant)


def test_parts_are_those_of_the_teachers_given():
    both = kd_loss(PRED, TARGET, TOUGH, TOLERANT)
    for teachers in ({}, {"tough": TOUGH}, {"tolerant": TOLERANT}):
        found, names = kd_loss(PRED, TARGET, **teachers), list(teachers)
        assert list(found) == ["main", *names, "total"]
        assert all(torch.equal(found[name], both[name]) for name in ["main", *names])
        assert found["total"].item() == pytest.approx(2 * both["main"].item() + sum(both[name].item() for name in names))


def test_sigma_is_the_variants_own_unless_given():
    for variant, own in (("paper", 0.4), ("official", 0.15)):
        assert torch.equal(
            assistive(PRED, TARGET, TOUGH, variant=variant), assistive(PRED, TARGET, TOUGH, variant=variant, sigma=own)
        )
        assert torch.equal(
            kd_loss(PRED, TARGET, TOUGH, variant=variant)["total"],
            kd_loss(PRED, TARGET, TOUGH, variant=variant, sigma=own)["total"],
        )


@quick
@given(places, st.floats(-1, 1), places, sigmas)
def test_assistive_is_symmetric_about_the_truth(truth: float, move: float, teacher: float, sigma: float):
    gt = double(truth)
    there, back = assistive(gt + move, gt, double(teacher), sigma=sigma), assistive(gt - move, gt, double(teacher), sigma=sigma)
    mirrored = assistive(gt + move, gt, 2 * gt - double(teacher), sigma=sigma)
    assert there.item() == pytest.approx(back.item(), abs=1e-9) == pytest.approx(mirrored.item(), abs=1e-9)


@quick
@given(places, errors, sigmas, st.sampled_from([-1, 1]))
def test_assistive_is_continuous_at_the_borders_of_its_regions(truth: float, error: float, sigma: float, side: int):
    for border, value in ((sigma * error, -0.5 * (1 - sigma) * error), (error, 0.0), (0.0, 0.0)):
        for step in (-1e-9, 0.0, 1e-9):
            loss = assistive(double(truth + side * (border + step)), double(truth), double(truth + error), sigma=sigma)
            assert loss.item() == pytest.approx(value, abs=1e-7)


def test_the_authors_code_jumps_at_beta():
    near, far = assistive(double(0.0599, 0.0601), double(0, 0), double(0.4, 0.4), variant="official").tolist()
    assert near == 0 and far == pytest.approx(-0.45 * 0.34, abs=1e-3)


@quick
@given(errors, st.floats(-1e-9, 1e-9))
def test_main_loss_is_continuous(error: float, step: float):
    truth = double(0.0)
    assert main_loss(double(0.5 + step), truth).item() == pytest.approx(0.5, abs=1e-8)
    official = main_loss(double(error + step), truth, variant="official", tolerant=double(error))
    assert official.item() == pytest.approx(3 * error, abs=1e-7)


@quick
@given(places, places, st.floats(-1, 1), st.floats(0.1, 1), sigmas)
def test_assistive_scales_with_its_landmarks(truth: float, teacher: float, pred: float, factor: float, sigma: float):
    """A length in, a length out: half a face has half the loss."""
    whole = assistive(double(pred), double(truth), double(teacher), sigma=sigma)
    part = assistive(factor * double(pred), factor * double(truth), factor * double(teacher), sigma=sigma)
    assert part.item() == pytest.approx(factor * whole.item(), abs=1e-9)


def test_a_teacher_without_error_pulls_to_the_truth():
    r = (PRED - TARGET).abs()
    assert torch.equal(weight(PRED, TARGET, TARGET), torch.ones_like(PRED))
    assert torch.equal(assistive(PRED, TARGET, TARGET), r)
    for teachers in ({"tough": TARGET}, {"tolerant": TARGET}, {"tough": TARGET, "tolerant": TARGET}):
        found = kd_loss(PRED, TARGET, **teachers, phi=2.0)["total"].item()
        assert found == pytest.approx(2 * main_loss(PRED, TARGET).mean().item() + len(teachers) * r.mean().item())
    assert assistive(TARGET, TARGET, TARGET).abs().max() == 0


def test_sigma_1_leaves_no_negative_region_and_the_least_push():
    pred, target, teacher = (
        double(*torch.linspace(0, 0.6, 61).tolist()),
        torch.zeros(61).double(),
        torch.full((61,), 0.4).double(),
    )
    whole = assistive(pred, target, teacher, sigma=1.0)
    inside = pred < 0.4
    assert torch.allclose(whole[inside], -0.5 * pred[inside] / 0.4 * (0.4 - pred[inside]))
    assert (assistive(pred, target, teacher, sigma=0.4) <= whole + 1e-12).all()


def test_a_teacher_far_off_pushes_with_its_distance():
    """Below beta the push is 1.25 r (1 - r / d) with sigma = 0.4: a far teacher changes the slope no more."""
    for error in (0.1, 1.0, 100.0, 1e6):
        loss = assistive(double(0.01), double(0.0), double(error))
        assert loss.item() == pytest.approx(-1.25 * 0.01 * (1 - 0.01 / error))


def test_teachers_of_different_error_act_each_in_its_own_region():
    found = kd_loss(double(0.2), double(0.0), tough=double(0.1), tolerant=double(0.4))
    assert found["tough"].item() == pytest.approx(0.1)
    assert found["tolerant"].item() == pytest.approx(-0.1)
    assert found["total"].item() == pytest.approx(0.4)


def along(error: float, **options) -> tuple[Tensor, Tensor]:
    """Student's errors 0 ... 2 d, and KD-Loss there with two teachers of the error d."""
    r = torch.linspace(0, 2 * error, 401, dtype=torch.float64)
    truth, teacher = double(0.0), double(error)
    return r, torch.stack([kd_loss(at.reshape(1), truth, teacher, teacher, **options)["total"] for at in r])


@pytest.mark.parametrize("error", [0.04, 0.2])
def test_false_claim_kd_loss_is_negative_near_the_truth(error: float):
    r, loss = along(error)
    assert loss.min().item() == pytest.approx(-0.025 * error)
    assert r[loss.argmin()].item() == pytest.approx(0.1 * error)
    assert ((loss[1] - loss[0]) / (r[1] - r[0])).item() == pytest.approx(2 - 2 * 0.5 / 0.4, abs=0.02)
    at_beta = loss[80].item()  # r = 0.4 d
    assert at_beta == pytest.approx((3 * 0.4 - 1) * error)  # where the paper looked, it is positive


@pytest.mark.parametrize(
    "options, negative",
    [
        ({"sigma": 0.49}, True),
        ({"sigma": 0.5}, False),
        ({"sigma": 0.8}, False),
        ({"phi": 2.4}, True),
        ({"phi": 2.5}, False),
        ({"phi": 3.0}, False),
        ({"variant": "official"}, False),
    ],
)
def test_what_makes_kd_loss_positive(options: dict, negative: bool):
    loss = along(0.2, **options)[1]
    assert loss[0] == 0 and (loss.min() < -1e-6).item() is negative and (negative or loss.min() > -1e-12)


def test_with_one_teacher_kd_loss_is_nowhere_negative():
    truth, teacher = double(0.0), double(0.2)
    for at in torch.linspace(0.001, 0.4, 400, dtype=torch.float64):
        assert kd_loss(at.reshape(1), truth, teacher)["total"] > 0


def gradient(pred: Tensor, *others: Tensor, **options) -> Tensor:
    pred = pred.clone().requires_grad_()
    return torch.autograd.grad(kd_loss(pred, *others, **options)["total"], pred)[0]


@pytest.mark.parametrize("variant", ["paper", "official"])
def test_gradients_are_right(variant: str):
    """Away from the kinks, of which random faces of doubles stay clear."""
    pred = PRED.clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda p: kd_loss(p, TARGET, TOUGH, TOLERANT, variant=variant)["total"], (pred,))
    assert torch.autograd.gradcheck(lambda p: assistive(p, TARGET, TOUGH, variant=variant), (pred,))
    assert torch.autograd.gradcheck(lambda p: main_loss(p, TARGET, variant=variant, tolerant=TOLERANT), (pred,))


def test_gradient_of_the_known_case():
    """Beyond the teacher +1, then +0.5 (away from the teacher is towards the truth's other side), below beta it turns round."""
    pred = double(0.5, 0.3, 0.08, 0.0).requires_grad_()
    assistive(pred, torch.zeros(4).double(), torch.full((4,), 0.4).double()).sum().backward()
    slope = -0.5 / 0.16 * (0.4 - 2 * 0.08)  # d/dr of -0.5 r (d - r) / b
    assert pred.grad.tolist() == pytest.approx([1, 0.5, slope, 0])


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
@pytest.mark.parametrize("error", [0.0, 1e-45, 1e-38, 1e-8, 0.3])
def test_gradients_are_finite_everywhere(error: float, dtype: torch.dtype):
    pred = torch.tensor([0.0, 1e-30, 1e-9, 0.1, 0.3, 0.5, 40.0], dtype=dtype)
    target, teacher = torch.zeros_like(pred), torch.full_like(pred, error)
    for variant in ("paper", "official"):
        assert gradient(pred, target, teacher, teacher, variant=variant).isfinite().all()


def test_descent_ends_beside_the_truth_with_the_papers_numbers_and_on_it_with_others():
    truth, teacher = torch.zeros(4).double(), torch.full((4,), 0.3).double()
    for sigma, end in ((0.4, 0.03), (0.6, 0.0)):
        pred = double(0.051, -0.052, 0.203, -0.404)
        for step in range(400):
            pred = pred - 0.05 * 0.98**step * gradient(pred, truth, teacher, teacher, sigma=sigma).sign()
        assert pred.abs().tolist() == pytest.approx([end] * 4, abs=1e-3)


def test_without_teachers_it_is_main_loss_and_l1_up_to_half():
    near = TARGET + 0.3 * PRED
    parts = kd_loss(near, TARGET, phi=3.0)
    assert set(parts) == {"main", "total"}
    assert parts["total"].item() == pytest.approx(3 * l1(near, TARGET).item() / 2)  # l1 adds x and y


def test_teacher_is_bitwise_unchanged_by_a_step_and_gets_no_gradient():
    torch.manual_seed(0)
    nets = [nn.Sequential(nn.Linear(8, 10), nn.BatchNorm1d(10), nn.Unflatten(1, (5, 2))) for _ in range(3)]
    student, teachers = nets[0], [models.freeze(net) for net in nets[1:]]
    before = [{key: value.clone() for key, value in net.state_dict().items()} for net in nets]
    pictures = torch.rand(4, 8)
    kd_loss(student(pictures), faces(0, 4).float(), *(teacher(pictures) for teacher in teachers))["total"].backward()
    with torch.no_grad():
        for parameter in student.parameters():
            parameter -= 0.1 * parameter.grad
    assert all(p.grad is None for net in nets[1:] for p in net.parameters())
    same = [all(torch.equal(value, old[key]) for key, value in net.state_dict().items()) for net, old in zip(nets, before)]
    assert same == [False, True, True]


@pytest.mark.parametrize("function", [weight, assistive, kd_loss])
def test_wrong_faces_are_refused(function, refusal):
    assert "in pixels?" in refusal("the target reaches 1.5, beyond 0.5", function, PRED, 3 * TARGET.sign() / 2, TOUGH)
    assert "(xy + 0.5) / size - 0.5" in refusal("nan", function, PRED, math.nan * TARGET, TOUGH)
    assert "another point scheme" in refusal("(3, 4, 2), the target's (3, 5, 2)", function, PRED, TARGET, TOUGH[:, :4])
    assert "(3, 4, 2)" in refusal("the student's landmarks", function, PRED[:, :4], TARGET, TOUGH)
    assert "swapped" in refusal("the tough teacher carries a gradient", function, TOUGH, TARGET, PRED.clone().requires_grad_())
    for sigma in (0.0, -0.4, 1.5, math.nan):
        refusal(f"sigma={sigma!r}", function, PRED, TARGET, TOUGH, sigma=sigma)
    refusal("variant='code'", function, PRED, TARGET, TOUGH, variant="code")


def test_wrong_tolerant_teacher_is_refused_as_well(refusal):
    refusal("the tolerant teacher's landmarks are (3, 4, 2)", kd_loss, PRED, TARGET, TOUGH, TOLERANT[:, :4])
    refusal("the tolerant teacher carries a gradient", kd_loss, PRED, TARGET, TOUGH, TOLERANT.clone().requires_grad_())
    refusal("the tolerant teacher's landmarks", main_loss, PRED, TARGET, variant="official", tolerant=TOLERANT[:, :4])
    refusal("role='kind'", weight, PRED, TARGET, TOUGH, role="kind")
    refusal("variant='code'", main_loss, PRED, TARGET, variant="code")
    refusal("in pixels?", main_loss, PRED, 64 * TARGET)


def test_a_target_on_the_edge_is_welcome(refusal):
    edge = TARGET.sign() / 2
    kd_loss(PRED, edge, TOUGH)
    refusal("the target reaches 0.6, beyond 0.5", kd_loss, PRED, 1.2 * edge, TOUGH)
