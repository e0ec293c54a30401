"""The curves of paper 3: numbers of figures 3, 4 (left) and 5 against closed forms, and what the paper prints."""

import math
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.figure import Figure

from fa_lib import plots, results
from fa_lib.papers import jitter_loss_curves as curves

SMOKE = SimpleNamespace(profile=SimpleNamespace(name="smoke"))  # all that these figures ask of a study


@pytest.fixture(scope="module")
def drawn() -> dict:
    """Both figures with their data, drawn once."""
    return {number: draw(SMOKE) for number, draw in curves.FIGURES.items()}


def loss(error: np.ndarray) -> np.ndarray:
    """Equation 7 with Theta = 1, of errors."""
    return error**2 / (error**2 + 1)


@pytest.mark.parametrize(("number", "suffix"), [(3, ".svg"), (5, ".png")])
def test_figure_is_marked_saved_and_the_same_when_drawn_again(drawn: dict, number: int, suffix: str, tmp_path: Path):
    figure, frame = drawn[number]
    assert [text for text in figure.texts if "not a result" in text.get_text()]
    picture, table = plots.save(figure, frame, tmp_path / "fig")
    assert picture.suffix == suffix and len(pd.read_csv(table)) == len(frame)
    assert plots.rendered(curves.FIGURES[number](SMOKE)[0])[1] == picture.read_bytes()


def test_figure_3_has_one_l2_error_and_two_jitters(drawn: dict):
    frame = drawn[3][1]
    assert np.allclose(frame["pred"] - frame["truth"], frame["error"])
    steady, other = (part.set_index("t") for _, part in frame.groupby("panel", sort=False))
    assert (steady["error"] ** 2).mean() == pytest.approx((other["error"] ** 2).mean()) == pytest.approx(0.36)
    assert (steady["psi"][1:] == 0).all() and not steady["jitter"].any()
    # changes of 1.2 px beside motions of 1, 1, 0.5, 0 and 0 px; Theta = xi = 1
    assert other["change"][1:].tolist() == pytest.approx([1.2] * 5)
    assert other["psi"][1:].tolist() == pytest.approx([1.2 / 2, 1.2 / 2, 1.2 / 1.5, 1, 1])
    assert other["jitter"][1:].all()  # by equation 5, also where Psi (equation 4) is below its bound
    assert np.isnan(other["psi"][0]) and not other["jitter"][0]


def test_figure_4_has_the_gradients_by_closed_form():
    by_curve = {name: part.set_index("error")["gradient"] for name, part in curves.slopes().groupby("curve")}
    d = by_curve["L2"].index.to_numpy()
    assert np.allclose(by_curve["L2"], 2 * d)
    assert np.allclose(by_curve["Geman-McClure"], 2 * d / (d**2 + 1) ** 2)
    for y, name in ((0, "AWing, y = 0"), (1, "AWing, y = 1")):
        power, near = 2.1 - y, np.minimum(d, 0.5)  # straight from 0.5 on
        assert np.allclose(by_curve[name], 14 * power * near ** (power - 1) / (1 + near**power))


@pytest.mark.parametrize("theta", [0.5, 1.0, 2.0])
def test_peak_is_where_the_gradient_is_greatest(theta: float):
    frame = curves.slopes(theta, reach=2 * theta, points=20_001).query("curve == 'Geman-McClure'").set_index("error")["gradient"]
    at, most = curves.peak(theta)
    assert frame.idxmax() == pytest.approx(at, abs=2e-4 * theta) and frame.max() == pytest.approx(most)


def test_figure_4_marks_the_peak_and_the_paper_s():
    axes = Figure().subplots()
    frame = curves.slopes()
    curves.gradients(axes, frame)
    marks = {line.get_marker(): (line.get_xdata()[0], line.get_ydata()[0]) for line in axes.lines[-2:]}
    assert marks == {"v": (pytest.approx(1 / math.sqrt(3)), 1), "o": (0.5, pytest.approx(0.98534, abs=1e-5))}
    curve = frame.query("curve == 'Geman-McClure'").set_index("error")["share"]
    assert all(np.interp(x, curve.index, curve) == pytest.approx(y, abs=1e-5) for x, y in marks.values())
    assert "98.5 %" in " ".join(text.get_text() for text in axes.texts)


def test_figure_5_has_the_surfaces_by_closed_form(drawn: dict):
    frame = drawn[5][1]
    both, change = loss(frame["e_t"]) + loss(frame["e_before"]), (frame["e_t"] - frame["e_before"]).abs()
    expected = {"pixel": 0.5 * both, "modulated": change * both, "sum": (0.5 + change) * both}
    for name, part in frame.groupby("panel"):
        assert np.allclose(part["loss"], expected[name][part.index])
        surface = part[part["kind"] == "surface"]
        assert len(surface) == 41**2 and surface[["e_t", "e_before"]].drop_duplicates().shape[0] == 41**2


def test_figure_5_shows_each_loss_the_right_way_up(drawn: dict):
    figure, frame = drawn[5]
    for axes, name in zip(figure.axes, curves.TITLES):
        picture, surface = np.asarray(axes.images[0].get_array()), frame[(frame["panel"] == name) & (frame["kind"] == "surface")]
        grid = surface.pivot(index="e_before", columns="e_t", values="loss").to_numpy()
        assert axes.images[0].origin == "lower" and np.allclose(picture, grid / grid.max())


def test_figure_5_paths_are_steps_of_gradient_descent(drawn: dict):
    for name, part in drawn[5][1].query("kind == 'path'").groupby("panel"):
        (now, before), points = part[["e_t", "e_before"]].to_numpy().T, part[["e_t", "e_before"]].to_numpy()
        each, both = 2 * points / (points**2 + 1) ** 2, (loss(now) + loss(before))[:, None]
        side = np.sign(now - before)[:, None] * [1, -1]
        slope = {"pixel": 0.5 * each, "modulated": np.abs(now - before)[:, None] * each + side * both}
        slope["sum"] = slope["pixel"] + slope["modulated"]
        assert tuple(points[0]) == curves.START and np.allclose(np.diff(points, axis=0), -curves.RATE * slope[name][:-1])


def test_pixel_loss_crosses_an_axis_only_with_large_steps_and_modulated_loss_swings_about_equal_errors(drawn: dict):
    paths = {name: part[["e_t", "e_before"]].to_numpy() for name, part in drawn[5][1].query("kind == 'path'").groupby("panel")}
    assert (paths["pixel"] > 0).all()
    assert (curves.descend("pixel", (0.01, 0.02), rate=0.99) >= 0).all()
    assert (curves.descend("pixel", (0.01, 0.02), rate=1.01, steps=1)[1] < 0).all()  # Theta^2 / (2 lambda) = 1
    late = np.diff(paths["modulated"][-50:])[:, 0]
    assert (late[1:] * late[:-1] < 0).all()
    end = {name: np.abs(path[-1]).max() for name, path in paths.items()}
    assert end["pixel"] < 1e-3 and end["sum"] < 1e-3 and end["modulated"] > 0.1


@settings(max_examples=40)
@given(st.floats(-3, 3), st.floats(-3, 3), st.floats(0, 4), st.sampled_from([0.1, 1.0]), st.sampled_from([0.5, 1.0, 2.0]))
def test_equation_8_is_not_equation_2(now: float, before: float, offset: float, xi: float, theta: float):
    found = curves.equation8_gap(np.array([now]), np.array([before]), offset, theta=theta, xi=xi).iloc[0]
    both = sum(e**2 / (e**2 + theta**2) for e in (now, before))
    change = abs(now - before)
    psi = min(change / (offset + xi), theta)
    assert (found["eq2"], found["eq8"]) == pytest.approx((psi * both, (0.5 + change) * both))
    assert found["difference"] == pytest.approx((0.5 - found["lambda_needed"]) * both)
    if offset + xi >= 1 or change >= theta:
        assert found["lambda_needed"] <= 1e-12 and found["difference"] >= 0.5 * both - 1e-12


def test_steady_errors_cost_nothing_by_equation_2_and_something_by_equation_8():
    found = curves.equation8_gap(np.array([0.0, 1.0, 2.0]), np.array([0.0, 1.0, 2.0]), 1.0)
    assert (found["eq2"] == 0).all() and (found["lambda_needed"] == 0).all()
    assert found["difference"].tolist() == pytest.approx([0, 0.5, 0.8])


@pytest.fixture(scope="module")
def printed() -> pd.DataFrame:
    """What the paper prints."""
    return results.published(SimpleNamespace(SLUG="jitter_loss"))


def test_every_printed_number_is_there_once(printed: pd.DataFrame):
    assert not printed.duplicated(["table", "label", "split", "metric"]).any() and printed["value"].notna().all()
    arrows = printed["metric"].str.endswith("change")
    counts = printed.groupby(["table", arrows]).size().to_dict()
    # 8 rows of 11 without 13 dashes, 10 rows of 9, 3 backbones x 5, 3 metrics x 5; and the arrows
    assert counts == {(1, False): 75, (1, True): 31, (2, False): 90, (2, True): 36, (3, False): 15, (4, False): 15}


def test_printed_tables_say_what_the_notes_say(printed: pd.DataFrame):
    at = printed.set_index(["table", "label", "split", "metric"])["value"].to_dict()
    for again, row in (("Best without PDC", "HRNetV2 fine-tuned"), ("Best with PDC", "AWing fine-tuned")):
        cells = [(f"scenario {number}", metric) for number in (1, 2, 3) for metric in ("nrmse_all", "mcv", "mav")]
        assert all(at[2, again, *cell] == at[2, row, *cell] for cell in cells)
    rows = {row: (2, f"{row} fine-tuned", "scenario 3") for row in ("HRNetV2", "LAB", "AWing")}
    product = {row: at[*where, "nrmse_all"] * at[*where, "mcv"] for row, where in rows.items()}
    assert product["HRNetV2"] == pytest.approx(5.93, abs=0.005) and product["LAB"] == pytest.approx(9.54, abs=0.005)
    assert at[3, "HRNetV2, Theta 1", "scenario 3", "nrmse*mcv"] == pytest.approx(product["AWing"], abs=0.005)
    for threshold in ("0", "0.1", "0.2", "0.4", "0.6"):
        nrmse, mav, both = (at[4, threshold, "scenario 3", metric] for metric in ("nrmse_all", "mav", "nrmse*mav"))
        assert both == pytest.approx(nrmse * mav, abs=0.011)
