"""All point schemes of one head: mirrors, conversion, the contour in every pose, and which points can be seen."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fa_lib.data.synthetic import curves, deform, head, people
from fa_lib.data.synthetic.render import irises, render
from fa_lib.errors import InputError
from fa_lib.landmarks import SCHEMES, convert


def bare(n: int, seed: int = 4, **changes: np.ndarray) -> head.HeadParameters:
    """n people without hair, glasses, or anything before their faces, seen by a perfect camera."""
    some = people.sample(n, np.random.default_rng(seed))
    plain = {
        "style": np.zeros((n, 4), int), "look": np.zeros_like(some.look), "pose": np.zeros((n, 3)),
        "camera": np.tile([0.0, 0, 0, 0, 100, 1, 1, 1], (n, 1)),
    }  # fmt: skip
    return some.change(**{**plain, **changes})


def flat(parameters: head.HeadParameters) -> np.ndarray:
    """Projected surfaces (N, V, 3)."""
    return head.project(head.turn(head.rest_surface(parameters), parameters.pose), parameters.distance)


def expressed(n: int = 1, **strength: float) -> np.ndarray:
    """Expression coefficients (n, E) with the named ones set."""
    values = np.zeros((n, len(deform.EXPRESSION_NAMES)))
    for name, value in strength.items():
        values[:, deform.EXPRESSION_NAMES.index(name)] = value
    return values


def mirrored(one: head.HeadParameters) -> head.HeadParameters:
    """The head in a mirror: the mean identity, turned and winking the other way."""
    swap = [deform.EXPRESSION_NAMES.index(n) for n in ("left_eye_close", "right_eye_close")]
    expression = one.expression.copy()
    expression[:, swap] = expression[:, swap[::-1]]
    return one.change(pose=one.pose * [-1, 1, -1], gaze=one.gaze * [-1, 1], expression=expression)


@pytest.mark.parametrize("points", [68, 98, 29, 19])
@settings(max_examples=8)
@given(yaw=st.floats(-90, 90), pitch=st.floats(-25, 25), roll=st.floats(-30, 30), wink=st.floats(0, 1), look=st.floats(-20, 20))
def test_flips_of_every_scheme_fit_a_mirrored_head(points, yaw, pitch, roll, wink, look):
    one = bare(
        1, identity=np.zeros((1, len(deform.IDENTITY_NAMES))), pose=np.array([[yaw, pitch, roll]]), gaze=np.array([[look, 3.0]]),
        expression=expressed(left_eye_close=wink, smile=0.5),
    )  # fmt: skip
    found = []
    for shown in (one, mirrored(one)):
        found.append(head.landmarks(flat(shown), points, irises(shown, head.rest_surface(shown)))[0])
    apart = np.abs(found[0] - found[1][list(SCHEMES[points].flip)] * [-1, 1]).max(-1)  # mm; the eyes are 90 mm apart
    pupils = list(curves.PUPILS[points])
    assert np.delete(apart, pupils).max() < 0.3
    # between lids that nearly touch, a hair's breadth decides how high the middle lies: 0.56 mm in 5,000 random heads
    assert not pupils or apart[pupils].max() < (0.8 if wink > 0.85 else 0.3)


def test_98_points_as_68_are_the_68_points():
    heads = people.sample(60, np.random.default_rng(1), difficulty="profile")
    shapes = flat(heads)
    standard, other = head.landmarks(shapes), convert(head.landmarks(shapes, 98), 98, 68)
    apart = np.linalg.norm(standard - other, axis=-1) / 90
    eyes = slice(36, 48)
    assert apart[:, eyes].max() < 0.045  # between the corners WFLW has three points on a lid, 300-W has two
    rest = np.ones(68, bool)
    rest[eyes] = False
    assert apart[:, rest].max() < 1e-3


@pytest.mark.parametrize(
    ("points", "same"), [(29, {8: 36, 9: 45, 20: 30, 22: 48, 28: 8}), (19, {6: 36, 11: 45, 13: 30, 15: 48, 18: 8})]
)
def test_smaller_schemes_share_points_with_the_68(points, same):
    shapes = flat(bare(8))
    standard, small = head.landmarks(shapes), head.landmarks(shapes, points)
    assert np.abs(small[:, list(same)] - standard[:, list(same.values())]).max() < 1e-3


@pytest.mark.parametrize(("points", "pairs"), [(29, ((16, 96), (17, 97))), (19, ((7, 96), (10, 97)))])
def test_pupils_are_the_same_in_all_schemes_and_follow_the_gaze(points, pairs):
    ahead, aside = (bare(1, gaze=np.array([[gaze, 0.0]]), expression=expressed()) for gaze in (0.0, 18.0))
    few, many = list(zip(*pairs, strict=True))
    found = {}
    for name, one in (("ahead", ahead), ("aside", aside)):
        drawn = irises(one, head.rest_surface(one))
        found[name] = head.landmarks(flat(one), 98, drawn)[0, list(many)]
        assert np.allclose(head.landmarks(flat(one), points, drawn)[0, list(few)], found[name], atol=1e-4)
        assert np.allclose(found[name], drawn[0], atol=0.5)
    assert (found["aside"] - found["ahead"])[:, 0].min() > 2


def test_pupil_of_a_shut_eye_lies_between_its_lids():
    one = bare(1, expression=expressed(left_eye_close=1.0), gaze=np.array([[0.0, -15.0]]))
    p = head.landmarks(flat(one), 98, irises(one, head.rest_surface(one)))[0]
    assert np.linalg.norm(p[96] - p[[62, 66]].mean(0)) < 3
    assert abs(p[96, 1] - p[66, 1]) < 1.5


@pytest.mark.parametrize("points", [68, 98])
@pytest.mark.parametrize("pitch", [-20.0, 0.0, 20.0])
def test_contour_moves_without_jumps_over_all_yaws(points, pitch):
    yaw = np.arange(-90.0, 90.5, 1.0)
    for seed in (0, 1):
        heads = people.sample(1, np.random.default_rng(seed), difficulty="challenging")[np.zeros(len(yaw), int)]
        heads = heads.change(pose=np.stack([yaw, np.full_like(yaw, pitch), 0 * yaw], -1))
        contour = head.landmarks(flat(heads), points)[:, : len(curves.CONTOUR[points])]
        step = np.linalg.norm(np.diff(contour, axis=0), axis=-1)
        assert step.max() < 8  # mm for a degree; the skin itself moves by up to 2.5


def test_contour_of_a_turned_head_does_not_cross_itself():
    yaw = np.linspace(-90, 90, 19)
    heads = bare(1)[np.zeros(len(yaw), int)].change(pose=np.stack([yaw, 0 * yaw, 0 * yaw], -1))
    contour = head.landmarks(flat(heads), 98)[:, :33]
    left, right = contour[:, :17, 1], contour[:, 16:, 1]
    assert (np.diff(left, axis=1) > 0).all()  # down to the chin
    assert (np.diff(right, axis=1) < 0).all()  # and up again


def test_far_contour_points_lie_where_the_picture_of_the_head_ends():
    one = bare(
        1, pose=np.array([[35.0, 0, 0]]), expression=expressed(lips_close=0.9), identity=np.zeros((1, len(deform.IDENTITY_NAMES)))
    )
    box = head.square_boxes(head.landmarks(flat(one)), 1.6)
    drawn = [render(one.change(skin=np.full((1, 3), s)), 256, view=box) for s in (0.02, 0.9)]
    differs = np.abs(drawn[0].images[0].astype(int) - drawn[1].images[0]).max(-1) > 40
    for x, y in drawn[0].landmarks[0, [12, 13, 14]]:
        row = np.flatnonzero(differs[round(float(y))])
        assert abs(row.max() - x) < 3


@pytest.mark.parametrize("yaw", [80.0, -80.0])
@pytest.mark.parametrize("points", [68, 98, 29, 19])
def test_a_head_turned_far_hides_its_far_eye(points, yaw):
    one = bare(1, pose=np.array([[yaw, 0.0, 0.0]]))
    visible = render(one, 96, points=points).visible[0]
    regions = SCHEMES[points].regions
    near, far = (regions["left_eye"], regions["right_eye"])[:: 1 if yaw > 0 else -1]
    assert not visible[list(far)].any() and visible[list(near)].mean() >= 0.6


@pytest.mark.parametrize("points", [68, 98, 29, 19])
def test_a_frontal_face_shows_all_its_points(points):
    assert render(bare(4, expression=expressed(4, lips_close=0.9)), 96, points=points).visible.all()


def test_a_mask_hides_mouth_and_chin_and_shows_the_eyes():
    heads = people.masked(bare(6))
    visible = render(heads, 96).visible
    regions = SCHEMES[68].regions
    assert not visible[:, [*regions["outer_mouth"], *regions["inner_mouth"], 8, 33]].any()
    assert visible[:, [*regions["left_eye"], *regions["right_eye"]]].all()


def test_dark_glasses_hide_the_eyes_and_clear_ones_do_not():
    eyes = [i for i in range(36, 48) if i not in (36, 39, 42, 45)]  # a rim may lie over a corner
    style = {kind: np.tile([0, kind, 0, 0], (4, 1)) for kind in (people.GLASSES, people.SUNGLASSES)}
    assert not render(bare(4, style=style[people.SUNGLASSES]), 128).visible[:, eyes].any()
    assert render(bare(4, style=style[people.GLASSES]), 128).visible[:, eyes].mean() > 0.9


def test_a_card_hides_points_that_lie_on_it_and_no_others():
    card = bare(12, style=np.tile([0, 0, people.CARD, 0], (12, 1)))
    with_card, without = render(card, 128), render(card.change(style=np.zeros((12, 4), int)), 128)
    changed = np.abs(with_card.images.astype(int) - without.images).max(-1)
    hidden = without.visible & ~with_card.visible
    assert hidden.sum() > 20
    for face, point in np.argwhere(without.visible):
        x, y = np.clip(np.round(without.landmarks[face, point]), 2, 125).astype(int)
        if not changed[face, y - 2 : y + 3, x - 2 : x + 3].any():
            assert with_card.visible[face, point]


def test_long_hair_hides_the_contour_behind_it():
    shown, hidden = (bare(6, style=np.tile([kind, 0, 0, 0], (6, 1))) for kind in (people.BALD, people.LONG))
    upper = [0, 1, 15, 16]
    assert render(shown, 96).visible[:, upper].mean() > render(hidden, 96).visible[:, upper].mean() + 0.3


def test_render_rejects_points_that_no_scheme_has():
    with pytest.raises(InputError, match="points is 5"):
        render(bare(1), 32, points=5)
