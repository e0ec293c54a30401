"""The figures of paper 3 at profile smoke: their numbers are those of the study, of closed forms, and of a second computation."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm

from fa_lib import filters, metrics
from fa_lib.papers import jitter_loss
from fa_lib.papers import jitter_loss_curves as curves
from fa_lib.papers import jitter_loss_figures as figures
from fa_lib.papers.jitter_loss_training import PDC, read
from fa_lib.study import Study


@pytest.fixture(scope="module")
def study(stores) -> Study:
    return Study(jitter_loss, "smoke", seeds=1)


def test_ellipses_hold_95_per_cent_of_normal_tracks():
    rng = np.random.default_rng(0)
    mix = np.array([[3.0, 0.0], [1.5, 0.7]])
    tracks = rng.normal(size=(40_000, 1, 2)) @ mix.T + [5, -2]
    (centre,), (half,), (angle,) = figures.ellipses(tracks)
    turn = np.radians(angle)
    along = (tracks[:, 0] - centre) @ np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    assert abs(((along / half) ** 2).sum(-1).__le__(1).mean() - 0.95) < 0.004
    assert np.isclose(np.pi * half.prod(), np.pi * 5.9915 * abs(np.linalg.det(mix)), rtol=0.02)
    assert np.allclose(centre, (5, -2), atol=0.06)


@settings(max_examples=30)
@given(turn=st.floats(-3, 3), long=st.floats(2, 50))
def test_an_ellipse_turns_with_its_tracks(turn: float, long: float):
    t = np.arange(12) * 2 * np.pi / 12
    flat = np.stack([long * np.cos(t), np.sin(t)], -1)[:, None]  # variances long^2 * 6 / 11 and 6 / 11
    rotation = np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
    _, half, angle = figures.ellipses(flat @ rotation)
    assert np.allclose(half, np.sqrt(-2 * np.log(0.05) * 6 / 11) * np.array([[long, 1]]))
    assert np.isclose(np.sin(np.radians(angle[0]) - turn), 0, atol=1e-6)


def test_disturbances_are_as_strong_as_they_say():
    grey = np.full((70, 16, 16, 3), 128, np.uint8)
    assert np.array_equal(figures.disturbed(grey), grey)
    noisy = figures.disturbed(grey, noise=0.1)
    assert abs(noisy.std() - 25.5) < 0.3 and abs(noisy.mean() - 128) < 0.3
    assert np.array_equal(noisy, figures.disturbed(grey, noise=0.1)) and not np.array_equal(noisy[:6], noisy[64:])
    assert not np.array_equal(noisy, figures.disturbed(grey, noise=0.1, seed=1))
    edge = np.zeros((1, 65, 65, 3), np.uint8)
    edge[:, :, 33:] = 200  # bright from 32.5 on
    away = np.arange(65) - 32.5
    for picture in (edge, edge.swapaxes(1, 2)):
        soft = figures.disturbed(picture, blur=3.0)[0, ..., 1]
        line = soft[32] if picture is edge else soft[:, 32]
        assert np.abs(line - 200 * norm.cdf(away / 3)).max() < 1.5
        assert np.ptp(soft, axis=0 if picture is edge else 1).max() == 0


def test_deviations_are_from_the_mean_of_each_clips_still_frames(by_hand):
    shape = np.random.default_rng(0).uniform(5, 60, (68, 2))
    step = np.array([[0, 0], [1, -2], [-1, 2], [40, 40], [7, 7], [11, 9]], float)
    faces = replace(by_hand(shape + 0 * step[:, None], group=list("aaaabb")), still=np.array([1, 1, 1, 0, 1, 1], bool))
    found = figures.deviations(shape + step[:, None], faces)
    assert np.allclose(found, np.array([[0, 0], [1, -2], [-1, 2], [-2, -1], [2, 1]])[:, None])


def test_figure_1_has_the_areas_of_the_still_stretch(study: Study):
    figure, frame = figures.figure1(study)
    video, size = study.video, study.source.size
    index = np.flatnonzero(video.still & (video.group == video.group[0]))
    assert 2 < len(index) <= 30 and (np.diff(index) == 1).all()
    zoom = np.abs(np.linalg.det(video.matrix[index[0]][:, :2])) * (256 / size) ** 2  # photograph -> 256-pixel crop
    for row, part in frame.groupby("row"):
        tracks = video.select(index).to_photo(study.trained(row)[0].predictions["video"][index])
        squares = [np.linalg.det(np.cov(tracks[:, k].T)) for k in range(68)]
        expected = np.pi * 5.99146 * np.sqrt(np.maximum(squares, 0)) * zoom
        assert np.allclose(part["area"], expected, rtol=1e-3, atol=1e-2)
        first = study.trained(row)[0].predictions["video"][index[0]]
        assert np.abs(part[["x", "y"]].to_numpy() - ((first + 0.5) * 256 / size - 0.5)).max() < 256
    assert len(figure.axes[0].patches) == len(frame) == 2 * 68


def test_figure_2_joins_what_it_names_and_trains_the_second_stage_alone():
    boxes, arrows = curves.BOXES, curves.ARROWS
    assert {name for a, b, *_ in arrows for name in (a, b)} == set(boxes)
    assert {name for name, box in boxes.items() if box[-1] == "trained"} == {"lstm", "lstm before"}
    assert {name for name, box in boxes.items() if box[-1] == "frozen"} == {"backbone", "backbone before"}
    assert sorted(a for a, b, *_ in arrows if b == "lstm") == ["backbone", "lstm before"]
    assert sorted(a for a, b, *_ in arrows if b == "loss") == ["maps", "points", "points before", "truth"]
    assert boxes["maps before"][0] == "heatmaps $s_{t-1}$" and boxes["maps before"][1] == boxes["maps"][1]


def test_figure_4_marks_the_radii_of_the_displacements(study: Study, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(figures, "LOSSES", ("awing-video",))
    frame = figures.figure4(study)[1]
    assert set(frame["panel"]) == {"gradients", "distances"}
    part, target = frame[frame["panel"] == "distances"], study.video.crops()[1]
    pred = study.trained("awing-video")[0].predictions["video"]
    distance = 100 * np.hypot(*(pred - target).T) / study.video.lengths()
    assert np.allclose(part["median"], np.median(distance)) and np.allclose(part["p95"], np.percentile(distance, 95))
    assert np.isclose(
        part["density"].sum() * np.diff(part["distance"])[0], (distance <= 1.25 * np.percentile(distance, 95)).mean()
    )


@pytest.mark.parametrize("number", [4, 7, 8])
def test_figures_are_drawn_anew_from_their_csv(study: Study, monkeypatch: pytest.MonkeyPatch, same_from_file, number: int):
    monkeypatch.setattr(figures, "LOSSES", ("awing-video",))
    monkeypatch.setattr(figures, "LEVELS", {"noise": (0.0, 0.1), "blur": (0.0, 2.0)})
    same_from_file(figures.FIGURES[number], study)


def test_figure_7_reads_each_network_twice(study: Study, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(figures, "LOSSES", ("awing-video",))
    whole = figures.figure7(study)[1]
    frame = whole.dropna(subset="std").set_index(["row", "decoder", "axis"])
    assert len(frame) == 2 * 2 * 2
    for (row, decoder), outline in whole.dropna(subset="density").groupby(["row", "decoder"]):
        assert outline["away"].between(*frame.loc[(row, decoder, "x"), ["low", "high"]]).all()
        assert 0.5 < np.trapezoid(outline["density"], outline["away"]) < 1.001
    clips = figures.drivers(study)
    run = study.trained("awing-video")[0]
    found = figures.tracks_of(run.run.config, run.network(), clips.crops()[0], clips.group)[clips.still]
    assert clips.landmarks.shape[1] == 0 and len(np.unique(clips.group)) == 1
    away = (found - found.mean(0)) * 256 / study.source.size
    for axis, values in zip("xy", away.reshape(-1, 2).T):
        assert np.isclose(frame["std"]["awing-video", "pdc 0.2", axis], values.std())
        assert np.isclose(frame["q3"]["awing-video", "pdc 0.2", axis], np.percentile(values, 75))


def test_unsteadiness_is_that_of_the_rows_own_tracks(study: Study):
    frame = figures.unsteadiness(study, ("awing", "awing-pdc-euro")).set_index(["kind", "level", "row"])
    assert {kind: part.index.unique("level").max() for kind, part in frame.groupby("kind")} == {"noise": 0.2, "blur": 3.0}
    clips = figures.drivers(study)
    truth = clips.truth - clips.offset
    net = study.trained("awing")[0].network()
    raw = read(net, figures.disturbed(clips.crops()[0], noise=0.1), (PDC,), clips.group)[str(PDC)]
    smooth = filters.smooth(filters.OneEuro(3.0, 0.05), raw, clips.group)
    assert np.isclose(frame["mcv"]["noise", 0.1, "awing-pdc-euro"], 100 * metrics.mcv([smooth]))
    spread = 100 * metrics.spread_residual([smooth], [truth], [metrics.lengths(truth)])
    assert np.isclose(frame["spread"]["noise", 0.1, "awing-pdc-euro"], spread)
    assert np.isclose(frame["mcv"]["noise", 0.0, "awing"], frame["mcv"]["blur", 0.0, "awing"])


def test_steadiness_against_lag_begins_at_the_studys_own_scores(study: Study):
    figure, frame = figures.steadiness_against_lag(study)
    raw = frame[(frame["method"] == "moving average") & (frame["strength"] == 1)].iloc[0]
    for line, row in (
        (raw, "awing-pdc"),
        (frame[frame["method"] == "backbone, PDC"].iloc[0], "awing-pdc"),
        (frame[frame["method"] == "Jitter loss"].iloc[0], "awing-video"),
    ):
        assert np.isclose(line["jitter"], 1000 * study.estimate(row, "jitter", "video").value)
        assert np.isclose(line["lag"], study.estimate(row, "lag", "video").value)
    assert len(frame) == 3 * 6 + 2 and any("not a result" in text.get_text() for text in figure.texts)
    assert frame[frame["method"] == "One-Euro"]["jitter"].is_monotonic_decreasing


def test_animation_shows_landmarks_of_each_row_in_its_place(study: Study):
    shown = figures.animation(study)
    assert len(shown) == (study.video.group == study.video.group[0]).sum() <= 60
    assert {(picture.shape, picture.dtype) for picture in shown} == {((128, 384, 3), np.dtype(np.uint8))}
    for place, row in enumerate(("awing-pdc", "awing-pdc-euro", "awing-video")):
        points = (study.trained(row)[0].predictions["video"][5] + 0.5) * 2 - 0.5
        x, y = points.clip(0, 127).round().astype(int).T
        panel = shown[5][:, 128 * place : 128 * (place + 1)]
        yellow = (panel[..., 0] > 180) & (panel[..., 2] < 110)
        assert yellow[y, x].all() and not yellow.all()


@pytest.mark.parametrize("number", [1, 4, 7, 8])
def test_faces_without_clips_have_no_figure_of_clips(stores, own_data: Path, number: int):
    figure, frame = figures.FIGURES[number](Study(jitter_loss, "smoke", str(own_data), seeds=1))
    assert "no clips" in figure.texts[0].get_text() and list(frame.columns) == ["no such data"]


def test_every_figure_of_the_paper_is_there():
    assert list(jitter_loss.figures()) == list(range(1, 9))
    assert all(figure.__doc__ for figure in figures.FIGURES.values())
