"""The figures of paper 5, and which faces are chosen at what gain: what is shown follows from modules, networks and scores."""

from dataclasses import replace
from fractions import Fraction
from math import comb
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from torch import Tensor, nn

from fa_lib import acquisition, runs
from fa_lib.data import Faces
from fa_lib.heatmaps import decode
from fa_lib.papers import scaf, scaf_chosen, scaf_drawings
from fa_lib.papers import scaf_figures as figures
from fa_lib.papers.scaf_training import Source
from fa_lib.plots import GREEN
from fa_lib.results import Table
from fa_lib.scores import Estimate
from fa_lib.study import Study


@pytest.fixture(scope="module")
def study(stores) -> Study:
    return Study(scaf, "smoke", seeds=1)


@pytest.fixture(scope="module")
def wflw(study: Study) -> Study:
    return study.on("wflw")


def pictures(figure: Figure) -> list[np.ndarray]:
    """The photograph-like images of a figure, subfigures' too."""
    return [image.get_array() for axes in figure.axes for image in axes.images if image.get_array().ndim == 3]


def test_architecture_is_that_of_the_modules():
    table = scaf_drawings.architecture().set_index("name")
    assert table.groupby("group")["parameters"].sum().to_dict() == {
        "encoder": 11_379_491, "generator": 10_868_096, "critics": 1_102_001 + 1_743_744, "transfer": 880_640, "skips": 559_360,
    }  # fmt: skip
    assert set(table.index[table["frozen"]]) == set(scaf_drawings.GENERATOR)
    assert set(table.index[table["stage"] == "1"]) == {"latent_critic", "image_critic", "decoder.layers.4", "decoder.picture"}
    for i, shape in enumerate([[256, 8], [128, 16], [64, 32], [64, 64]]):
        joined = [f"decoder.layers.{i}", f"encoder.layers.{3 - i}", f"skips.{i}", f"transfers.{i}"]
        assert table.loc[joined, ["channels", "side"]].to_numpy().tolist() == [shape] * 4
    assert table.loc["heatmaps", ["channels", "side"]].tolist() == [68, 128] and table.loc["encoder.code", "side"] == 1


def test_figure_1_has_a_box_for_each_module(study: Study):
    figure, frame = scaf_drawings.figure1(study)
    first, second = ([p for p in axes.patches if isinstance(p, Rectangle)] for axes in figure.axes)
    assert len(first) == 1 + 7 + 7 + 2 and len(second) == 1 + 7 + 5 + 4 + 4 + 1  # the face, then modules
    assert sum(bool(box.get_hatch()) for box in second) == 5 and not any(box.get_hatch() for box in first)
    new = [box for box in second if box.get_edgecolor() == to_rgba(GREEN)]
    assert len(new) == (frame["stage"] == "2").sum() == 9
    told = " ".join(text.get_text() for text in figure.legends[0].get_texts())
    assert all(number in told for number in ("11,379,491", "10,868,096", "880,640", "559,360", "1,102,001", "1,743,744"))


def test_faces_are_judged_as_by_loops(wflw: Study):
    net, found = figures.located(wflw, "scaf-all", wflw.test)
    frame, maps = figures.confidence(wflw), figures.heatmaps_of(net, wflw.test.crops()[0])
    assert np.array_equal(found, wflw.trained("scaf-all")[0].predictions["test"])
    at = decode(torch.from_numpy(maps), "local").numpy()
    truth = wflw.test.crops()[1]
    for i in (0, 7, 15):
        assert np.isclose(frame["nnm"][i], scaf_chosen.nnm_by_loops(maps[i], at[i]), rtol=1e-4)
        assert np.isclose(frame["entropy"][i], scaf_chosen.entropy_by_loops(maps[i]), rtol=1e-4)
        away = np.linalg.norm(found[i] - truth[i], axis=-1).mean()
        assert np.isclose(frame["nme"][i], 100 * away / np.linalg.norm(truth[i, 60] - truth[i, 72]))


def test_figure_2_shows_the_surest_face_and_an_unsure_one(study: Study, wflw: Study, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(figures, "UNSURE", 0.9)
    figure, frame = figures.figure2(study)
    order = frame.sort_values("nnm", kind="stable").index
    shown = [order[0], order[14]]  # of 16: 0.9 of the way
    assert frame["shown"][shown].tolist() == ["sure", "unsure"] and (frame["shown"] != "").sum() == 2
    net, _ = figures.located(wflw, "scaf-all", wflw.test)
    lit = [image for axes in figure.axes for image in axes.images if image.get_array().ndim == 2]
    maps = figures.heatmaps_of(net, wflw.test.crops()[0][shown]).max(1)
    assert all(np.array_equal(image.get_array(), one) for image, one in zip(lit, maps, strict=True))
    assert {image.get_clim() for image in lit} == {(0, maps.max())}
    assert np.array_equal(pictures(figure), wflw.test.crops()[0][shown])
    rank = np.corrcoef(frame["nnm"].rank(), frame["nme"].rank())[0, 1]
    assert f"correlation {rank:.2f}".replace("-", "\N{MINUS SIGN}") in figure.axes[-1].get_title("left")


class Painter(nn.Module):
    """Paints every picture in one grey."""

    def __init__(self, grey: float) -> None:
        super().__init__()
        self.grey = grey

    def forward(self, pictures: Tensor) -> Tensor:
        return torch.full_like(pictures, self.grey)


def test_errors_of_reconstructions_are_those_before_clipping():
    crops = np.stack([np.full((4, 4, 3), 255, np.uint8), np.zeros((4, 4, 3), np.uint8)])
    shown, errors = figures.redrawn(Painter(1.2), crops)
    assert np.allclose(errors, [51, 306]) and shown.dtype == np.uint8 and (shown == 255).all()
    shown, errors = figures.redrawn(Painter(0.4), crops)
    assert np.allclose(errors, [153, 102]) and (shown == 102).all()


def test_figure_3_draws_faces_before_and_after(study: Study, wflw: Study):
    figure, frame = figures.figure3(study)
    trained = wflw.trained("scaf-all")[0]
    given = torch.from_numpy(wflw.test.crops()[0].copy()).permute(0, 3, 1, 2) / 255
    first = runs.get(study.run("autoencoder", 0)).network().autoencoder
    for name, net in (("before", first), ("after", trained.network().autoencoder)):
        with torch.no_grad():
            assert np.allclose(frame[name], 255 * (net.eval()(given) - given).abs().mean((1, 2, 3)), rtol=1e-4)
    assert not np.array_equal(frame["before"], frame["after"])
    chosen = frame.dropna(subset="quantile").sort_values("quantile")
    assert len(chosen) == 6 and chosen["nme"].is_monotonic_increasing and len(pictures(figure)) == 18
    assert [len(axes.lines) for axes in figure.axes] == [1] * 6 + [0] * 6 + [2] * 6
    assert f"{frame['before'].mean():.1f} of 255" in figure.axes[6].get_ylabel()
    assert f"{frame['after'].mean():.1f} of 255" in figure.axes[12].get_ylabel()


def test_figure_4_ranks_the_faces_without_labels(study: Study, wflw: Study):
    figure, frame = figures.figure4(study)
    trained, faces = wflw.trained("scaf-start")[0], wflw.source.train()
    scores = acquisition.unsureness(trained.network(), faces.crops()[0], "nnm", method="local").numpy()
    scores[trained.predictions["labelled"]] = -np.inf  # last
    ranked = faces.names[np.argsort(-scores, kind="stable")]
    left = len(faces) - len(trained.predictions["labelled"])
    assert frame["face"].tolist() == [*ranked[:5], *ranked[left // 10 : left // 10 + 5]] and left // 10 > 0
    assert (frame["pool"] == left).all() and len(pictures(figure)) == 10


def red(faces: Faces) -> Faces:
    """Faces whose pictures are all red, as no other picture is."""
    return replace(faces, images=np.broadcast_to(np.array([255, 0, 0], np.uint8), faces.images.shape))


@pytest.fixture
def photographed(study: Study, monkeypatch: pytest.MonkeyPatch) -> Study:
    """A study of photographs, all of them red; the networks are those that learned from rendered faces."""
    real = Study(scaf, "smoke", seeds=1)
    one = real.on("wflw")
    known = {row: study.on("wflw").trained(row) for row in ("scaf-all", "scaf-start")}
    monkeypatch.setattr(one, "trained", known.__getitem__)
    one.source = replace(one.source, root="no such folder")
    one.test = red(study.on("wflw").test)
    train = Source.train
    monkeypatch.setattr(Source, "train", lambda self: red(train(self)) if self.root else train(self))
    return real


@pytest.mark.parametrize(("draw", "count"), [(figures.figure2, 2), (figures.figure3, 18), (figures.figure4, 10)])
def test_no_photograph_is_shown(photographed: Study, draw, count: int):
    figure, frame = draw(photographed)
    shown = pictures(figure)
    assert len(shown) == count and not any((picture == [255, 0, 0]).all() for picture in shown)
    if draw is figures.figure4:
        assert (frame["pool"] == 24).all()
    else:
        assert frame["faces"].value_counts().to_dict() == {"rendered": 16, "photographs": 16}
    if draw is figures.figure3:  # the errors are those of photographs
        mean = frame[frame["faces"] == "photographs"]["after"].mean()
        assert f"{mean:.1f} of 255" in figure.axes[12].get_ylabel() and figure.axes[0].get_ylabel().startswith("rendered")
        assert "photographs" in figure.legends[0].get_texts()[-1].get_text()


def test_own_faces_are_judged_and_not_shown(own_data: Path, stores):
    own = Study(scaf, "smoke", str(own_data), seeds=1)
    figure, frame = figures.figure2(own)
    assert frame["faces"].value_counts().to_dict() == {"rendered": 16, "photographs": 12}
    assert "mydata, 12 faces" in figure.axes[-1].get_title("left") and len(pictures(figure)) == 2
    assert "points 0 and 1" in figure.axes[-1].get_ylabel()


@settings(max_examples=10)
@given(st.integers(0, 10**6), st.sampled_from([1, 3, 9]))
def test_loops_compute_what_batches_do(seed: int, window: int):
    random = np.random.default_rng(seed)
    maps = random.normal(0, 1, (2, 3, 12, 14)).astype(np.float32)
    points = random.uniform(0, [13, 11], (2, 3, 2)).astype(np.float32)
    every, at = torch.from_numpy(maps), torch.from_numpy(points)
    loops = [scaf_chosen.nnm_by_loops(one, where, window) for one, where in zip(maps, points)]
    assert np.allclose(acquisition.nnm(every, window, at), loops, atol=1e-3)
    assert np.allclose(acquisition.spatial_entropy(every), [scaf_chosen.entropy_by_loops(one) for one in maps], atol=1e-4)
    assert np.array_equal(decode(every, "box_blur"), [scaf_chosen.landmarks_by_loops(one) for one in maps])


def test_speeds_are_of_both_codes_on_one_thread():
    threads = torch.get_num_threads()
    frame = scaf_chosen.speeds(landmarks=3, side=16, batch=2, repeats=3)
    assert torch.get_num_threads() == threads and (frame["low"] <= frame["high"]).all() and len(frame) == 6
    times = frame.set_index(["code", "function"])
    for code in ("loops", "batched"):
        entropy = times.loc[(code, "entropy"), "ms"]
        assert np.isclose(times.loc[(code, "NNM"), "ratio"], entropy / times.loc[(code, "NNM"), "ms"])
        assert times.loc[(code, "entropy"), "ratio"] == 1


@pytest.mark.parametrize(("all_of_them", "having", "count"), [(30, 9, 10), (300, 100, 60)])
def test_chance_is_that_of_drawing_without_putting_back(all_of_them: int, having: int, count: int):
    ways = [comb(having, k) * comb(all_of_them - having, count - k) for k in range(count + 1)]
    below = np.cumsum([float(Fraction(way, comb(all_of_them, count))) for way in ways])
    found = scaf_chosen.by_chance(np.arange(all_of_them) < having, count)
    ends = [int(np.searchsorted(below, end)) for end in (0.025, 0.975)]  # the least number with at least this share below
    assert [found["low"], found["high"]] == pytest.approx([100 * end / count for end in ends])
    assert found["pool"] == pytest.approx(100 * having / all_of_them)


def test_chosen_faces_are_counted_by_attribute(study: Study, wflw: Study, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(scaf_chosen, "NAMES", {"": "random", "nnm10": "NNM10"})
    frame = scaf_chosen.chosen_by_attribute(study, "50").set_index(["function", "attribute"])
    faces = wflw.source.train()
    assert "train" not in frame.index.levels[1] and {"pose", "occlusion", "blur"} <= set(frame.index.levels[1])
    for label, row in (("random", "scaf-50"), ("NNM10", "scaf-nnm10-50")):
        index = wflw.trained(row)[0].predictions["labelled"]
        one = frame.loc[(label, "occlusion")]
        assert one["labels"] == len(index) == 5 and one["chosen"] == 20 * faces.part("occlusion")[index].sum()
        assert one["pool"] == 100 * faces.part("occlusion").mean()


@settings(max_examples=100)
@given(st.lists(st.integers(1, 12).map(float), min_size=2, max_size=7), st.integers(1, 24).map(lambda half: half / 2))
@example(errors=[9.0, 6.0, 8.0, 4.0], nme=7.0)  # reached before the curve rises ...
@example(errors=[9.0, 6.0, 8.0, 4.0], nme=5.0)  # ... and after: from 6 down to 4, not from 8
def test_labels_for_an_error_by_steps_along_the_curve(errors: list[float], nme: float):
    counts = [10 * 2**i for i in range(len(errors))]
    found, least, expected = scaf_chosen.labels_for(nme, counts, errors), errors[0], float("nan")
    if nme == errors[0]:
        expected = counts[0]
    for before, after, error in zip(counts, counts[1:], errors[1:]):
        lower = min(least, error)
        if lower <= nme < least:
            expected = before * (after / before) ** ((least - nme) / (least - lower))
        least = lower
    assert found == pytest.approx(expected, nan_ok=True)


def test_labels_saved_follow_from_the_curve(wflw: Study, monkeypatch: pytest.MonkeyPatch):
    rows = {"50": "scaf-50", "all": "scaf-all", "nnm10": "scaf-nnm10-50", "nnm": "scaf-nnm-tenth"}
    monkeypatch.setattr(scaf, "TABLES", (Table(4, "NME", rows, ("nme",), "test", dataset="wflw"),))
    monkeypatch.setattr(scaf, "CLAIMS", ())
    fixed = {"scaf-start": 0.09, "scaf-50": 0.08, "scaf-all": 0.05, "scaf-nnm10-50": 0.065, "scaf-nnm-tenth": 0.095}
    monkeypatch.setattr(wflw, "estimate", lambda row, metric: Estimate(fixed[row], 0, 1, ()))
    frame = scaf_chosen.labels_saved(wflw).set_index("function")
    needed = (5 * 24) ** 0.5  # half way from 8 to 5 %
    assert frame.loc["NNM10", ["labels", "network"]].tolist() == [5, "scaf"] and len(frame) == 2
    assert np.allclose(frame.loc["NNM10", ["nme", "needed", "saved"]].tolist(), [6.5, needed, needed - 5])
    assert np.isclose(frame.loc["NNM10", "saved_share"], 100 * (1 - 5 / needed))
    assert pd.isna(frame.loc["NNM", "needed"]) and frame.loc["NNM", "labels"] == 2


def test_the_paper_has_four_figures():
    assert list(scaf.figures()) == [1, 2, 3, 4]
