"""What makes rendered photographs look different: attributes, light, hair and hats, clothes, things in front, cameras."""

from collections.abc import Callable

import cv2
import numpy as np
import pytest

from fa_lib.data.synthetic import (
    camera,
    cloth,
    curves,
    deform,
    draw,
    hair,
    head,
    paint,
    people,
    raster,
    scenery,
    surface,
    texture,
    things,
)  # fmt: skip
from fa_lib.data.synthetic.render import render
from fa_lib.errors import InputError

GREY = draw.LOOK_NAMES.index("grey")


@pytest.fixture
def looking(clean: Callable) -> Callable[..., head.HeadParameters]:
    """Makes clean heads with some of their looks set."""

    def make(n: int, **look: float) -> head.HeadParameters:
        heads = clean(n)
        values = np.zeros_like(heads.look)
        for name, value in look.items():
            values[:, draw.LOOK_NAMES.index(name)] = value
        return heads.change(look=values)

    return make


def detail_of(images: np.ndarray) -> np.ndarray:
    """Energy of the finest structures of each picture."""
    return np.array([cv2.Laplacian(cv2.cvtColor(i, cv2.COLOR_RGB2GRAY), cv2.CV_64F).var() for i in images])


def with_style(heads: head.HeadParameters, column: int, value: int) -> head.HeadParameters:
    style = heads.style.copy()
    style[:, column] = value
    return heads.change(style=style)


def test_with_attribute_rejects_an_unknown_one(clean: Callable):
    with pytest.raises(InputError, match="attribute"):
        people.with_attribute(clean(1), "weather", np.random.default_rng(0))


@pytest.mark.parametrize("name", people.ATTRIBUTES)
def test_with_attribute_changes_the_picture_and_repeats(name):
    heads = people.sample(6, np.random.default_rng(2))
    changed, again = (people.with_attribute(heads, name, np.random.default_rng(1)) for _ in range(2))
    first, second = render(changed, 64), render(again, 64)
    assert (first.images == second.images).all()
    difference = np.abs(first.images.astype(int) - render(heads, 64).images).mean((1, 2, 3))
    assert (difference > 0.5).all()


def test_attribute_pose_turns_every_head_far(clean: Callable):
    pose = people.with_attribute(clean(200), "pose", np.random.default_rng(0)).pose
    assert ((np.abs(pose[:, 0]) > 37) | (np.abs(pose[:, 1]) > 21) | (np.abs(pose[:, 2]) > 27)).all()


def test_attribute_expression_moves_points_and_nothing_else(clean: Callable):
    heads = clean(20)
    changed = people.with_attribute(heads, "expression", np.random.default_rng(0))
    before, after = (head.landmarks(head.project(head.rest_surface(h), h.distance)) for h in (heads, changed))
    assert np.linalg.norm(after - before, axis=-1).max(1).min() > 4  # mm
    assert (changed.pose == heads.pose).all() and (changed.camera == heads.camera).all()


def test_attribute_illumination_changes_light_not_geometry(clean: Callable):
    heads = clean(30)
    changed = people.with_attribute(heads, "illumination", np.random.default_rng(0))
    before, after = render(heads, 48), render(changed, 48)
    assert (before.landmarks == after.landmarks).all()
    change = np.abs(before.images.astype(int) - after.images)[:, 12:36, 12:36].mean((1, 2, 3))
    assert np.mean(change > 12) > 0.8


def test_attribute_makeup_paints_lips_lids_and_cheeks_only(clean: Callable, mean_inside: Callable):
    heads = clean(8, detail=np.zeros((8, 6)), style=np.tile([0, 0, 0, 0], (8, 1)))
    before, after = (render(h, 128) for h in (heads, people.with_attribute(heads, "makeup", np.random.default_rng(0))))
    for a, b, p in zip(before.images, after.images, before.landmarks, strict=True):
        change = np.abs(a.astype(float) - b)
        lips = mean_inside(change, p[48:60]).max()
        lids = mean_inside(change, np.concatenate([p[36:40], p[36:40][::-1] - [0, 3]])).max()
        nose = mean_inside(change, p[29] + np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]])).max()
        assert lips > 8 and lids > 5 and nose < min(lips, lids)


def test_attribute_occlusion_hides_points(clean: Callable):
    heads = clean(24)
    seen = render(heads, 64).visible.mean()
    changed = people.with_attribute(heads, "occlusion", np.random.default_rng(0))
    hidden = render(changed, 64).visible.mean(1)
    assert hidden.mean() < seen - 0.1 and np.mean(hidden < seen - 0.01) > 0.8


def test_attribute_blur_takes_away_detail():
    heads = people.sample(12, np.random.default_rng(1))
    changed = people.with_attribute(heads, "blur", np.random.default_rng(0))
    quiet = []  # noise and JPEG would add detail again
    for h in (heads, changed):
        still = h.camera.copy()
        still[:, 3:5] = (0, 100)
        quiet.append(h.change(camera=still))
    sharp, soft = (detail_of(render(h, 128).images) for h in quiet)
    assert (soft < 0.6 * sharp).all()


def test_wild_has_its_share_of_grey_photographs_and_wide_poses():
    heads = people.sample(3000, np.random.default_rng(0), difficulty="wild")
    assert 0.04 < heads.look[:, GREY].mean() < 0.14
    yaw = np.abs(heads.pose[:, 0])
    assert np.mean(yaw < 30) > 0.75 and yaw.max() > 55
    assert heads.style[:, 0].max() == people.HAIR_STYLES - 1 and heads.style[:, 3].max() == people.CROWD


def test_profile_reaches_both_profiles_evenly():
    yaw = people.sample(2000, np.random.default_rng(0), difficulty="profile").pose[:, 0]
    shares = np.histogram(yaw, [-90, -60, -30, 0, 30, 60, 90])[0] / 2000
    assert shares.min() > 0.13


def test_wild_repeats_byte_for_byte():
    first, second = (render(people.sample(8, np.random.default_rng(5), difficulty="wild"), 64).images for _ in range(2))
    assert (first == second).all()


def test_grey_pictures_have_one_colour(looking: Callable):
    images = render(looking(2, grey=1), 48).images
    assert np.ptp(images.astype(int), axis=-1).max() <= 2


@pytest.mark.parametrize("look", [{"low_resolution": 0.6}, {"sharpen": -1}])
def test_low_resolution_is_softer_and_sharpening_is_harder(look, looking: Callable):
    if "sharpen" in look:
        assert (detail_of(render(looking(3, sharpen=0.8), 96).images) > 1.3 * detail_of(render(looking(3), 96).images)).all()
    else:
        assert (detail_of(render(looking(3, **look), 96).images) < 0.5 * detail_of(render(looking(3), 96).images)).all()


@pytest.mark.parametrize("contrast", [-1.0, 0.0, 0.5, 1.0])
def test_tone_curve_rises_and_turns_about_the_middle(contrast):
    curve = camera.tone_curve(contrast).astype(int)
    assert (np.diff(curve) >= 0).all() and abs(curve[127] + curve[128] - 255) <= 1
    slope = (curve[148] - curve[108]) / 40
    assert slope > 1 if contrast > 0 else slope <= 1
    assert (curve[0], curve[255]) == (0, 255) or contrast < 0


@pytest.mark.parametrize("kind", sorted(things.BEFORE))
def test_put_in_front_covers_what_it_paints_and_nothing_else(kind, clean: Callable):
    heads = with_style(clean(4), 2, kind)
    points = render(heads, 96).landmarks
    scene = np.full((96, 96, 3), 0.37, np.float32)
    shown = 0
    for i in range(4):
        drawn, cover = things.put_in_front(scene, heads[i : i + 1], points[i], np.random.default_rng(i))
        assert cover.shape == (96, 96) and cover.dtype == np.float32 and cover.min() >= 0 and cover.max() <= 1
        assert (drawn[cover == 0] == np.float32(0.37)).all()
        shown += (cover > 0.5).sum()
        other, _ = things.put_in_front(0 * scene, heads[i : i + 1], points[i], np.random.default_rng(i))
        through = (drawn - other).max(-1) / 0.37  # how much of what is behind can be seen
        assert (through <= 1 - cover + 1e-5).all()
    assert shown > 10


def test_nothing_in_front_leaves_the_scene(clean: Callable):
    scene = np.random.default_rng(0).random((48, 48, 3)).astype(np.float32)
    drawn, cover = things.put_in_front(scene, clean(1), render(clean(1), 48).landmarks[0], np.random.default_rng(0))
    assert (drawn == scene).all() and not cover.any()


@pytest.mark.parametrize("yaw", [-55.0, 0.0, 55.0])
def test_sunglasses_hide_the_nearer_eye_and_clear_glasses_do_not(yaw, clean: Callable):
    heads = clean(6, pose=np.tile([yaw, 0, 0], (6, 1)))
    eye = np.arange(42, 48) if yaw < 0 else np.arange(36, 42)
    dark, light = (render(with_style(heads, 1, kind), 96).visible[:, eye] for kind in (people.SUNGLASSES, people.GLASSES))
    assert dark.mean() < 0.25 and light.mean() > 0.75


def test_covered_is_what_a_mask_hides(clean: Callable):
    place = curves.inner_places()
    heads = with_style(clean(5), 2, people.COVER)
    for i in range(5):
        hidden = paint.covered(heads[i : i + 1], place)
        assert hidden[48 - 17 :].all() and not hidden[:10].any()
    assert not paint.covered(clean(1), place).any()


def test_shadow_of_the_nose_falls_away_from_the_light(looking: Callable):
    heads = looking(1, shadow=1)
    light = heads.light.copy()
    light[:, :2] = (55, 10)
    one = heads.change(light=light, identity=np.zeros_like(heads.identity))
    rest = head.rest_surface(one)
    xyz = rest[0] + np.array([100, 120, 0], np.float32)
    hit, _, nearness = raster.rasterise(xyz, (surface.ROWS, surface.COLUMNS), 200)
    near = np.full(200 * 200, -1e9, np.float32)
    near[hit] = nearness
    dark = paint.shadows(one, xyz, near.reshape(200, 200), 1.0)
    row, middle = int(surface.row_of(32.0)), int(surface.column_of(0.0))
    assert (
        dark[row - 2 : row + 3, middle - 8 : middle - 3].mean()
        > 0.1 + 2 * dark[row - 2 : row + 3, middle + 4 : middle + 9].mean()
    )


def test_a_cap_shades_the_brow(mean_inside: Callable, looking: Callable):
    heads = looking(6, shadow=1)
    light = heads.light.copy()
    light[:, :2] = (0, 45)
    heads = heads.change(light=light, skin=np.full((6, 3), 0.5))
    bare, capped = (render(with_style(heads, 0, style), 96) for style in (people.BALD, people.CAP))
    for a, b, p in zip(bare.images, capped.images, bare.landmarks, strict=True):
        spot = (p[21] + p[22]) / 2 + np.array([[-2, -1], [2, -1], [2, 2], [-2, 2]])
        assert mean_inside(b, spot).mean() < 0.9 * mean_inside(a, spot).mean()


def test_hair_has_variants_that_differ_and_repeat():
    for style in range(people.HAIR_STYLES):
        a, b = hair.style_of(style, 1), hair.style_of(style, 2)
        assert np.abs(a.shape - b.shape).max() > 0.05 and (hair.style_of(style, 1).cover == a.cover).all()


def test_beards_grow_where_their_name_says(looking: Callable):
    chin, lip, side = ((surface.locate(np.array(xy, float))) for xy in ((5.0, 98.0), (10.0, 53.5), (45.0, 85.0)))
    n = 8
    detail = np.zeros((n, 6))
    detail[:, 2] = 1
    grown = {}
    for number, name in enumerate(draw.BEARDS):
        heads = looking(n, beard_shape=number).change(
            detail=detail,
            skin=np.full((n, 3), 0.5),
            hair=np.full((n, 3), 0.01),
            identity=np.zeros((n, len(deform.IDENTITY_NAMES))),
        )
        bare = heads.change(detail=0 * detail)
        spots = head.read(head.project(head.rest_surface(heads), heads.distance), np.stack([chin, lip, side]))[..., :2]
        box = head.square_boxes(head.landmarks(head.project(head.rest_surface(heads), heads.distance)), 1.925)
        at = np.round((spots - box[:, None, :2]) / (box[:, 2:3] - box[:, :1])[:, None] * 96 - 0.5).astype(int)
        dark = render(bare, 96).images.astype(int) - render(heads, 96).images
        grown[name] = np.array([[dark[i, y, x].mean() for x, y in at[i]] for i in range(n)]).mean(0) > 15
    assert grown["full"].all() and grown["whiskers"].tolist() == [False, False, True]
    assert grown["moustache"].tolist() == [False, True, False] and grown["goatee"].tolist() == [True, True, False]


def test_clothes_leave_the_face_alone(clean: Callable):
    rng = np.random.default_rng(0)
    place = np.stack([rng.uniform(0, surface.COLUMNS - 1, 400), rng.uniform(0, surface.ROWS - 1, 400)], -1).astype(np.float32)
    colour = np.full((3, 400), 0.2, np.float32)
    before = colour.copy()
    grain, light = np.zeros((3, 400), np.float32), np.ones((4, 400), np.float32)
    cloth.wear(colour, clean(1), texture.Seen(np.arange(400), 20, place, [], grain, light), 1.0)
    face, chest = place[:, 1] < surface.NECK_ROW, place[:, 1] > surface.ROWS - 3
    assert (colour[:, face] == before[:, face]).all() and np.abs(colour[:, chest] - before[:, chest]).max(0).min() > 0


@pytest.mark.parametrize("kind", range(8))
def test_background_is_a_picture_whose_light_can_be_set(kind, looking: Callable):
    dim, bright = (with_style(looking(1, surround=s), 3, kind) for s in (-1.0, 0.0))
    a, b = (scenery.background(one, 80, np.random.default_rng(3)) for one in (dim, bright))
    assert a.shape == (80, 80, 3) and a.dtype == np.float32 and b.max() <= 1 and b.std() > 0.005
    assert np.allclose(a, np.exp(-1) * b, atol=1e-6)


def test_noise_repeats_a_tile_as_far_as_places_reach():
    noise = texture.noise()
    assert (noise[512:] == noise[:-512]).all() and (noise[:, 512:] == noise[:, :-512]).all()
    assert noise.shape[0] > 512 + texture.GRAIN * (surface.ROWS - 1) and noise.shape[1] > 512 + texture.GRAIN * (
        surface.COLUMNS - 1
    )


def test_rasterise_leaves_out_only_rows_below_the_picture():
    column, row = (v.ravel().astype(np.float32) for v in np.meshgrid(np.arange(9), np.arange(11)))
    for down, seen in ((0.0, 16 * 9), (6.4, 10 * 9), (15.4, 9), (16.6, 0)):  # 1.6 pixels a row, so each grid reaches below
        xyz = np.stack([column, 1.6 * row + np.float32(down), 0 * row], -1)
        hit, place, near = raster.rasterise(xyz, (11, 9), 16)
        assert len(hit) == len(place) == len(near) and abs(len(hit) - seen) <= 9
        assert np.allclose(place[:, 0], hit % 16, atol=0.01) and np.allclose(1.6 * place[:, 1] + down, hit // 16, atol=0.01)
