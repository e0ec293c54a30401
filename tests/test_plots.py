"""Figures: the same bytes each time, whatever the settings; points where they belong; words and shapes, not colours alone."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from fa_lib import plots
from fa_lib.landmarks import Scheme

FACE = np.random.default_rng(0).uniform(5, 40, (68, 2))
PICTURE = np.random.default_rng(1).integers(0, 256, (48, 64, 3), dtype=np.uint8)
SMOKE, QUICK = (SimpleNamespace(profile=SimpleNamespace(name=name)) for name in ("smoke", "quick"))


@plots.drawn
def curve(study) -> tuple[Figure, pd.DataFrame]:
    data = pd.DataFrame({"x": [0, 1, 2], "y": [1 / 3, 2.0, 1.0]})
    figure = Figure(figsize=(3, 2))
    axes = figure.subplots()
    axes.plot(data["x"], data["y"], label="a")
    axes.fill_between(data["x"], data["y"], hatch="//")
    axes.legend()
    return figure, data


@plots.drawn
def portrait(study) -> tuple[Figure, pd.DataFrame]:
    figure = Figure(figsize=(3, 2))
    plots.faces(figure.subplots(), PICTURE, FACE)
    return figure, pd.DataFrame(FACE, columns=["x", "y"])


@pytest.mark.parametrize(("make", "suffix"), [(curve, ".svg"), (portrait, ".png")])
def test_save_writes_the_same_bytes_each_time(tmp_path: Path, make, suffix: str):
    figure, data = make(QUICK)
    first, again, anew = tmp_path / "a" / "fig01", tmp_path / "b" / "fig01", tmp_path / "c" / "fig01"
    assert [p.name for p in plots.save(figure, data, first)] == [f"fig01{suffix}", "fig01.csv"]
    plots.save(figure, data, again)
    with mpl.rc_context({"font.size": 30, "lines.linewidth": 9, "savefig.dpi": 10, "svg.hashsalt": None}):
        plots.save(*make(QUICK), anew)
    for ending in (suffix, ".csv"):
        contents = {target.with_suffix(ending).read_bytes() for target in (first, again, anew)}
        assert len(contents) == 1
    content = first.with_suffix(suffix).read_bytes()
    assert not [word for word in (b"matplotlib version", b"Matplotlib v", b"dc:date", b"Software", b"tIME") if word in content]
    assert sorted(p.name for p in first.parent.iterdir()) == sorted([f"fig01{suffix}", "fig01.csv"])


def test_saved_data_is_what_was_drawn(tmp_path: Path):
    figure, data = curve(QUICK)
    plots.save(figure, data, tmp_path / "fig01")
    assert np.allclose(pd.read_csv(tmp_path / "fig01.csv"), data, rtol=1e-5)
    assert (tmp_path / "fig01.csv").read_text() == "x,y\n0,0.333333\n1,2\n2,1\n"


def test_a_name_with_a_dot_keeps_it(tmp_path: Path):
    assert [p.name for p in plots.save(*curve(QUICK), tmp_path / "v1.2")] == ["v1.2.svg", "v1.2.csv"]


def test_smoke_is_marked_and_nothing_else_is():
    words = [[text.get_text() for text in curve(study)[0].texts] for study in (SMOKE, QUICK)]
    assert words == [["smoke: not a result"], []]


def test_style_does_not_leak():
    before = dict(mpl.rcParams)
    curve(QUICK)
    plots.grid_of_faces(PICTURE[None])
    assert dict(mpl.rcParams) == before


def test_lines_differ_in_every_way():
    for values in ([line.colour for line in plots.LINES], [line.marker for line in plots.LINES]):
        assert len(set(values)) == len(values)
    assert len({str(line.dash) for line in plots.LINES}) >= 6


def test_convention_faces_are_drawn_at_x_then_y_with_pixel_centres_at_integers():
    axes = Figure().subplots()
    plots.faces(axes, PICTURE, FACE, FACE + 1)
    assert axes.get_xlim() == (-0.5, 63.5) and axes.get_ylim() == (47.5, -0.5)
    points = [line.get_xydata() for line in axes.lines if len(line.get_xydata()) == 68]
    assert np.allclose(points, [FACE, FACE + 1])
    assert (axes.images[0].get_array() == PICTURE).all()
    assert axes.images[0].get_extent() == [-0.5, 63.5, 47.5, -0.5]


def test_strands_join_neighbours_of_one_region_and_close_eyes_and_lips():
    lines = [line[:, 0].astype(int).tolist() for line in plots.strands(np.arange(68)[:, None] * np.ones(2))]
    assert [lines[0], lines[3], lines[4]] == [list(range(17)), [27, 28, 29, 30], [31, 32, 33, 34, 35]]
    assert lines[5] == [*range(36, 42), 36] and lines[8] == [*range(60, 68), 60]
    assert plots.strands(np.zeros((29, 2))) == []


def test_grid_of_faces_shows_every_face_once():
    pictures = np.stack([np.full((8, 8, 3), 30 * i, np.uint8) for i in range(7)])
    figure = plots.grid_of_faces(pictures, columns=3, titles=list("abcdefg"))
    shown = [axes for axes in figure.axes if axes.images]
    assert [int(axes.images[0].get_array()[0, 0, 0]) for axes in shown] == [30 * i for i in range(7)]
    assert [axes.get_title() for axes in shown] == list("abcdefg") and len(figure.axes) == 9


def test_ced_is_in_per_cent_and_ends_at_the_share_below_the_threshold():
    axes = Figure().subplots()
    plots.ced(axes, {"one": np.array([0.02, 0.04, 0.30, 0.06]), "two": np.array([0.2])})
    one, two = (line.get_xydata() for line in axes.lines)
    assert one[-1].tolist() == [10.0, 75.0] and two[-1].tolist() == [10.0, 0.0]
    assert axes.lines[0].get_label() == "one (AUC 0.450)"  # (0.08 + 0.06 + 0.04) / 0.1 / 4


def test_learning_curves_are_means_over_runs():
    axes = Figure().subplots()
    logs = [pd.DataFrame({"total": [4.0, 2.0]}), pd.DataFrame({"total": [8.0, 4.0]})]
    plots.learning_curves(axes, {"row": logs})
    assert axes.lines[0].get_xydata().tolist() == [[1.0, 6.0], [2.0, 3.0]]


def test_against_iteration_draws_values_with_their_intervals():
    axes = Figure().subplots()
    frame = pd.DataFrame({"arm": "a", "iteration": [1, 0], "value": [2.0, 3.0], "low": [1.5, 1.0], "high": [2.5, 3.5]})
    plots.against_iteration(axes, {"a": plots.LINES[0]}, frame, "arm")
    assert axes.lines[0].get_xydata().tolist() == [[0.0, 3.0], [1.0, 2.0]]
    bars = [segment[:, 1].tolist() for segment in axes.collections[0].get_segments()]
    assert bars == [[1.0, 3.5], [1.5, 2.5]]


def test_against_iteration_bears_a_missing_interval_and_a_missing_value():
    axes = Figure().subplots()
    frame = pd.DataFrame({"arm": "a", "iteration": [0, 1], "value": [2.0, np.nan], "low": np.nan, "high": np.nan})
    plots.against_iteration(axes, {"a": plots.LINES[0]}, frame, "arm")
    axes.figure.draw_without_rendering()


def claim(text: str, verdict: str, **more) -> dict:
    usual = {"expected": "lower", "paper": np.nan, "here": -2.0, "low": -3.0, "high": -1.0, "metric": "std", "split": "test"}
    return {"claim": text, "verdict": verdict, **usual, **more}


def test_claims_say_the_verdict_in_words_shape_and_place():
    frame = pd.DataFrame(
        [
            claim("one", "reproduced", paper=-1.5),
            claim("two", "not reproduced", expected="higher"),
            claim("three", "undecided", here=0.2, low=np.nan, high=np.nan),
        ]
    )
    axes = plots.claims(frame).axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["one", "two", "three"]
    words = [text.get_text() for text in axes.texts]
    assert words == ["reproduced (std, test)", "not reproduced (std, test)", "undecided (std, test)"]
    ours = {line.get_marker(): line.get_xydata()[0].tolist() for line in axes.lines if line.get_marker() in "osX"}
    assert ours == {"o": [-2.0, 0], "X": [-2.0, 1], "s": [0.2, 2]}
    paper = [line.get_xydata()[0].tolist() for line in axes.lines if line.get_marker() == "|"]
    assert paper[0] == [-1.5, 0] and np.isnan([x for x, _ in paper[1:]]).all()
    assert [bar.get_width() < 0 for bar in axes.patches] == [True, False, True]  # the side that is claimed
    assert len({to_hex(text.get_color()) for text in axes.texts}) == 3


def test_claims_of_smoke_are_marked():
    assert [text.get_text() for text in plots.claims(pd.DataFrame([claim("one", "undecided")]), smoke=True).texts]


def test_zoom_shows_all_points_as_a_square_with_y_down():
    axes = Figure().subplots()
    plots.zoom(axes, np.array([[0.0, 0.0], [10.0, 4.0]]))
    (left, right), (bottom, top) = axes.get_xlim(), axes.get_ylim()
    assert left < 0 and right > 10 and top < 0 and bottom > 4 and np.isclose(right - left, bottom - top)


def numbers(figure: Figure) -> list[str]:
    return [text.get_text() for axes in figure.axes for text in axes.texts]


def test_flip_check_draws_the_mean_face_its_mirror_image_and_the_worst_pair(by_hand):
    face = np.array([[20.0, 20], [44, 20], [32, 34], [24, 44], [40, 44]])
    random = np.random.default_rng(0)
    five = Scheme(5, (1, 0, 2, 4, 3), (0, 1), None, {})
    faces = replace(by_hand(face + random.normal(0, 0.3, (20, 5, 2))), scheme=five)
    right = plots.flip_check(faces)
    assert numbers(right) == list("01234") and right.axes[0].get_title("left").startswith("flip is right")
    wrong = plots.flip_check(replace(faces, scheme=replace(five, flip=(1, 0, 4, 3, 2))))
    assert "wrong flip" in wrong.axes[0].get_title("left")
    drawn = {line.get_label(): line.get_xydata() for line in wrong.axes[0].lines if len(line.get_xydata()) == 5}
    mean, mirrored = drawn["mean face"], drawn["mirrored and renamed by flip"]
    assert np.allclose(mirrored[[0, 1]], mean[[1, 0]] * [-1, 1]) and np.allclose(mirrored[2], mean[4] * [-1, 1])
    red = [line for line in wrong.axes[0].lines if line.get_color() == plots.RED]
    assert len(red) == (1 if "3 and 3" in wrong.axes[0].get_title("left") else 2)


def test_no_data_is_a_figure_that_says_so():
    figure, frame = plots.no_data("no clips")
    assert [text.get_text() for text in figure.texts] == ["no clips"] and frame.to_numpy().tolist() == [["no clips"]]


def test_claims_without_data_say_so():
    frame = pd.DataFrame([claim("one", "no such data", here=np.nan, low=np.nan, high=np.nan)])
    assert [text.get_text() for text in plots.claims(frame).axes[0].texts] == ["no such data (std, test)"]
