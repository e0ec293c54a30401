"""The PCA model of shapes, on faces whose mean, axes and variances are known exactly."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fa_lib.errors import InputError
from fa_lib.shape_model import ShapeModel

quick = settings(max_examples=40)
VARIANCES = np.array([50.0, 30.0, 12.0, 5.0, 1.2, 0.8, 0.5, 0.25, 0.15, 0.1])  # sum 100: shares in per cent


def known_faces(count: int = 40) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Faces (count, 5, 2) with exactly `VARIANCES` along known axes; their mean (10,); the axes (10, 10) in rows."""
    random = np.random.default_rng(0)
    scores = random.normal(size=(count, 10))
    scores = np.linalg.qr(scores - scores.mean(0))[0] * np.sqrt(VARIANCES * (count - 1))
    axes = np.linalg.qr(random.normal(size=(10, 10)))[0].T
    mean = random.uniform(0, 256, 10)
    return (mean + scores @ axes).reshape(count, 5, 2), mean, axes


FACES, MEAN, AXES = known_faces()


def along(axis: int, deviations: float) -> np.ndarray:
    """The mean face moved along one axis, as (1, 5, 2)."""
    return (MEAN + deviations * np.sqrt(VARIANCES[axis]) * AXES[axis]).reshape(1, 5, 2)


def test_fit_finds_mean_axes_and_variances():
    model = ShapeModel.fit(FACES, keep=1.0)
    np.testing.assert_allclose(model.mean, MEAN, atol=1e-9)
    np.testing.assert_allclose(model.variances, VARIANCES, rtol=1e-9)
    np.testing.assert_allclose(np.abs(model.components @ AXES.T), np.eye(10), atol=1e-7)  # the sign of an axis is free


def test_fit_equals_eigenvectors_of_the_covariance():
    faces = np.random.default_rng(1).normal(size=(30, 4, 2))
    model = ShapeModel.fit(faces, keep=1.0)
    covariance = np.cov(faces.reshape(30, 8), rowvar=False)
    np.testing.assert_allclose(covariance @ model.components.T, model.components.T * model.variances, atol=1e-9)


@pytest.mark.parametrize(
    "keep, by, count",
    [
        (0.9, "variance", 3),  # 50 + 30 + 12 = 92
        (0.9, "components", 9),
        (0.5, "variance", 1),  # exactly 50
        (0.8, "variance", 2),  # exactly 80
        (0.801, "variance", 3),
        (1.0, "variance", 10),
        (1.0, "components", 10),
        (0.5, "components", 5),
        (0.01, "components", 1),  # never none
    ],
)
def test_fit_keeps_as_many_components_as_asked(keep: float, by: str, count: int):
    model = ShapeModel.fit(FACES, keep, by)
    assert model.components.shape == (count, 10) and model.variances.shape == (count,)
    if by == "variance":
        assert model.variances.sum() >= keep * 100 - 1e-9 > model.variances[:-1].sum() - 1e-6


def test_fit_keeps_90_per_cent_of_the_variance_unless_told():
    np.testing.assert_array_equal(ShapeModel.fit(FACES).components, ShapeModel.fit(FACES, 0.9, "variance").components)


def test_fit_flattens_x_before_y():
    """Faces that move in x alone, all points together: the axis is 1 0 1 0 1 0."""
    faces = np.arange(5.0)[:, None, None] * np.array([1.0, 0.0]) * np.ones((1, 3, 1))
    component = ShapeModel.fit(faces).components[0]
    np.testing.assert_allclose(np.abs(component), np.array([1, 0, 1, 0, 1, 0]) / np.sqrt(3), atol=1e-12)


def test_project_of_the_mean_is_zero():
    model = ShapeModel.fit(FACES, keep=1.0)
    np.testing.assert_allclose(model.project(model.mean.reshape(1, 5, 2)), np.zeros((1, 10)), atol=1e-12)
    np.testing.assert_allclose(model.project(FACES).mean(0), np.zeros(10), atol=1e-9)


def test_project_is_in_units_of_the_axis():
    coefficients = ShapeModel.fit(FACES).project(along(1, 2.0))
    np.testing.assert_allclose(np.abs(coefficients), [[0, 2 * np.sqrt(30), 0]], atol=1e-6)
    np.testing.assert_allclose(ShapeModel.fit(FACES).project(FACES).var(0, ddof=1), VARIANCES[:3])


def test_soften_clips_at_three_standard_deviations():
    model = ShapeModel.fit(FACES)
    for deviations, expected in [(10, 3), (-10, -3), (3, 3), (2.9, 2.9), (-1, -1)]:
        np.testing.assert_allclose(model.soften(along(0, deviations)), along(0, expected), atol=1e-6)
    np.testing.assert_allclose(model.soften(along(2, 10), limit=1.5), along(2, 1.5), atol=1e-6)


def test_soften_forgets_what_the_model_left_out():
    np.testing.assert_allclose(ShapeModel.fit(FACES).soften(along(5, 2.0)), along(5, 0.0), atol=1e-6)


def test_soften_of_all_components_returns_ordinary_faces():
    model = ShapeModel.fit(FACES, keep=1.0)
    np.testing.assert_allclose(model.soften(FACES, limit=100.0), FACES, atol=1e-9)


@quick
@given(st.integers(0, 2**32 - 1), st.floats(0.1, 50))
def test_soften_is_idempotent(seed: int, size: float):
    model = ShapeModel.fit(FACES)
    faces = MEAN.reshape(1, 5, 2) + np.random.default_rng(seed).normal(0, size, (4, 5, 2))
    once = model.soften(faces)
    np.testing.assert_allclose(model.soften(once), once, atol=1e-9)


@quick
@given(st.integers(0, 2**32 - 1))
def test_soften_is_the_nearest_shape_of_the_model(seed: int):
    random = np.random.default_rng(seed)
    model = ShapeModel.fit(FACES)
    face = MEAN.reshape(1, 5, 2) + random.normal(0, 20, (1, 5, 2))
    bound = 3 * np.sqrt(model.variances)
    others = (model.mean + random.uniform(-bound, bound, (50, 3)) @ model.components).reshape(50, 5, 2)
    nearest = np.linalg.norm(model.soften(face) - face)
    assert (np.linalg.norm((others - face).reshape(50, -1), axis=1) >= nearest - 1e-9).all()


def test_fit_of_fewer_faces_than_coordinates():
    model = ShapeModel.fit(FACES[:3], keep=1.0)
    assert model.components.shape == (2, 10)  # three faces span two directions
    np.testing.assert_allclose(model.soften(FACES[:3]), FACES[:3], atol=1e-9)


def test_share_of_the_components_is_of_as_many_as_the_faces_allow():
    assert len(ShapeModel.fit(FACES[:4], 0.5, "components").components) == 2  # four faces, not ten coordinates
    assert len(ShapeModel.fit(FACES[:4], 1.0, "components").components) == 4


def test_share_of_the_components_softens_less_than_the_same_share_of_the_variance():
    """The two readings of paper 2's 90 %: its code changes faces visibly, its text hardly."""
    code, text = (np.abs(ShapeModel.fit(FACES, 0.9, by).soften(FACES) - FACES).mean() for by in ("variance", "components"))
    assert 0 < 4 * text < code


def test_sign_of_a_component_makes_its_largest_entry_positive():
    components = ShapeModel.fit(FACES, keep=1.0).components
    assert (components[np.arange(10), np.abs(components).argmax(1)] > 0).all()
    mirrored = ShapeModel.fit(2 * MEAN.reshape(1, 5, 2) - FACES, keep=1.0).components  # the same axes
    np.testing.assert_allclose(mirrored, components, atol=1e-7)


@pytest.mark.filterwarnings("error")
def test_fit_of_equal_faces_softens_to_that_face():
    model = ShapeModel.fit(np.repeat(FACES[:1], 4, axis=0))
    np.testing.assert_allclose(model.soften(FACES[:2]), FACES[[0, 0]], atol=1e-6)


@pytest.mark.parametrize(
    "call, words",
    [
        (lambda: ShapeModel.fit(FACES, keep=0.0), r"keep=0.0, by='variance': keep is in \(0, 1\]"),
        (lambda: ShapeModel.fit(FACES, keep=90), "keep=90"),
        (lambda: ShapeModel.fit(FACES, by="count"), "by='count': .* by is 'variance' or 'components'"),
        (lambda: ShapeModel.fit(FACES[:1]), "at least two faces"),
        (lambda: ShapeModel.fit(FACES.reshape(40, 10)), r"\(N, K, 2\), x before y, not \(40, 10\)"),
        (lambda: ShapeModel.fit(FACES.swapaxes(1, 2)), r"\(N, K, 2\), x before y, not \(40, 2, 5\)"),
        (lambda: ShapeModel.fit(FACES).project(FACES[:, :4]), "the shape model has 5 landmarks, these faces 4"),
        (lambda: ShapeModel.fit(FACES).soften(FACES[0]), r"\(N, K, 2\), x before y, not \(5, 2\)"),
    ],
)
def test_wrong_input_is_named(call, words: str):
    with pytest.raises(InputError, match=words):
        call()
