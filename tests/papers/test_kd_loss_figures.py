"""The figures of paper 2 at profile smoke: what they say is what the study and the losses say, and no photograph is in them."""

from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
import torch

from fa_lib import diagram, losses, metrics, plots, training
from fa_lib.papers import kd_loss, kd_loss_curves, kd_loss_drawings, kd_loss_figures
from fa_lib.plots import GREEN, RED
from fa_lib.results import Study
from fa_lib.shape_model import ShapeModel

PICTURES = (1, 2, 3, 11, 12, 14)


@pytest.fixture(scope="module")
def study(stores) -> Study:
    return Study(kd_loss, "smoke", seeds=1)


@pytest.fixture(scope="module")
def drawn(study: Study) -> dict:
    """Every figure with its data, drawn once."""
    return {number: draw(study) for number, draw in kd_loss.figures().items()}


def pictures_of(figure) -> list[np.ndarray]:
    return [np.asarray(picture.get_array()) for axes in figure.axes for picture in axes.images]


@pytest.mark.parametrize("number", range(1, 15))
def test_figure_is_marked_and_saved_with_its_data(drawn: dict, number: int, tmp_path: Path):
    figure, frame = drawn[number]
    assert len(frame) and [text for text in figure.texts if "not a result" in text.get_text()]
    picture, table = plots.save(figure, frame, tmp_path / f"fig{number:02d}")
    assert picture.suffix == (".png" if number in PICTURES else ".svg")
    assert len(pd.read_csv(table)) == len(frame)


@pytest.mark.parametrize("number", [9, 12, 13])
def test_figure_is_the_same_when_drawn_again(study: Study, drawn: dict, number: int):
    assert plots.rendered(kd_loss.figures()[number](study)[0]) == plots.rendered(drawn[number][0])


def test_figure_1_softens_the_face_of_median_distance_from_the_mean_less_and_less(study: Study, drawn: dict):
    frame = drawn[1][1]
    mean, hard = (frame[frame["panel"] == panel][["x", "y"]].to_numpy() for panel in ("mean", "hard"))
    faces = study.source.train()
    expected = (faces.crops()[1].mean(0) + 0.5) / faces.size * 256 - 0.5
    assert np.allclose(mean, expected, atol=1e-3)
    away = metrics.nme(faces.crops()[1][:9], faces.crops()[1].mean(0)[None].repeat(9, 0), faces.lengths()[:9])
    assert np.allclose(hard, (faces.crops()[1][away.argsort()[4]] + 0.5) / faces.size * 256 - 0.5, atol=1e-3)
    distance = frame[frame["panel"] == "soft"].groupby("keep")["apart"].first()
    assert distance.is_monotonic_decreasing and distance[1.0] < 0.05 < distance[0.9]
    curve = frame[frame["panel"] == "curve"].pivot(index="keep", columns="reading", values="apart")
    assert (curve["components"][:0.95] < 0.25 * curve["variance"][:0.95]).all()


def test_figure_2_shows_what_the_shape_model_makes_of_each_face(study: Study, drawn: dict):
    frame, every = drawn[2][1], study.source.train().crops()[1]
    every = (every + 0.5) / 64 * 256 - 0.5  # the same faces, as large as they are shown
    for reading, part in frame.groupby("reading"):
        hard, soft = (part[part["kind"] == kind][["x", "y"]].to_numpy().reshape(5, 68, 2) for kind in ("hard", "soft"))
        assert np.allclose(hard, every[:5], atol=1e-3)
        assert np.allclose(soft, ShapeModel.fit(every, 0.9, by=reading).soften(hard), atol=0.02)
    apart = frame[frame["kind"] == "soft"].groupby("reading")["apart"].mean()
    assert apart["components"] < 0.1 * apart["variance"]


def test_figure_3_shows_less_variation_in_soft_landmarks(study: Study, drawn: dict):
    frame = drawn[3][1]
    assert np.allclose(frame.groupby(["panel", "kind"])["share"].sum(), 1)
    spread = frame.dropna(subset="spread").pivot(index=["panel", "landmark"], columns="kind", values="spread")
    assert len(spread) == 98 + 33 and (spread["soft"] <= spread["hard"] + 1e-9).all()
    square = (spread.loc["(a) all points"] ** 2).sum()
    assert 0.9 <= square["soft"] / square["hard"] < 1  # 90 % of the variance, and the component that reaches it
    faces = study.on("wflw").source.train()
    assert np.isclose(spread["hard"].iloc[0], 100 * np.sqrt((faces.landmarks[:, 0] / faces.size).var(0).sum()), atol=1e-4)


def test_figures_4_and_5_join_what_they_name_and_train_what_is_trained():
    for boxes, arrows in (
        (kd_loss_drawings.PHASE1, kd_loss_drawings.ARROWS1),
        (kd_loss_drawings.PHASE2, kd_loss_drawings.ARROWS2),
    ):
        assert {name for a, b, *_ in arrows for name in (a, b)} == set(boxes)
        assert {kind for *_, kind in boxes.values()} <= set(diagram.LOOKS)
    kinds = [{name: box[-1] for name, box in boxes.items()} for boxes in (kd_loss_drawings.PHASE1, kd_loss_drawings.PHASE2)]
    assert [n for n, k in kinds[0].items() if k == "trained"] == ["tough", "tolerant"]
    assert [n for n, k in kinds[1].items() if k == "trained"] == ["student"]
    assert [n for n, k in kinds[1].items() if k == "frozen"] == ["tough", "tolerant"]
    into = {loss: sorted(a for a, b, *_ in kd_loss_drawings.ARROWS2 if b == loss) for loss in ("aloss tough", "main")}
    assert into == {"aloss tough": ["accurate", "hard", "pred"], "main": ["hard", "pred"]}


def test_figure_6_shows_the_assistants_of_the_papers_caption(drawn: dict):
    frame = drawn[6][1].set_index(["example", "point"])
    assert frame["region"].dropna().to_dict() == {
        ("A", "tough"): "positive", ("A", "tolerant"): "negative", ("B", "tough"): "positive", ("B", "tolerant"): "positive",
    }  # fmt: skip
    assert (frame["slope"].dropna() > 0).all()  # whatever the region: downhill is towards the truth, on the left
    assert frame["x"]["B", "tough"] < 0 < frame["used"]["B", "tough"] == -frame["x"]["B", "tough"]  # equation 4
    between = [frame["x"]["A", point] for point in ("truth", "tough", "pred", "tolerant")]
    assert between == sorted(between)
    assert np.allclose(frame["loss"].dropna(), [0.10, -0.5 * 0.16, 0.22, 0.12])


def test_figure_7_hits_the_numbers_of_equation_10(drawn: dict):
    frame = drawn[7][1].set_index(["variant", "role", "x"]).sort_index()
    loss = frame["loss"]["paper", "tough"]
    assert np.allclose(loss[[0, 0.08, 0.16, 0.3, 0.4, 0.5]], [0, -0.08, -0.12, -0.05, 0, 0.1])
    assert np.allclose(loss[-0.3], loss[0.3])
    official = frame["loss"]["official"]
    assert np.allclose(official["tough"][[0.05, 0.3, 0.5]], [0, -0.045, 0.19])
    assert np.allclose(official["tolerant"][[0.05, 0.3, 0.5]], [0, -0.04, 0.18])
    assert set(frame["weight"]["paper", "tough"][[0.3, 0.45]]) == {-0.5, 1.0}


def test_a_line_has_a_gap_where_its_values_jump():
    assert np.isnan(kd_loss_curves._broken(np.array([0.0, 0.05, 0.5, 0.5]), 0.1)).tolist() == [False, False, True, False]


def test_figure_8_draws_equation_13(drawn: dict):
    loss = drawn[8][1].set_index(["panel", "curve", "x"])["loss"]
    paper = loss["(a) the paper's"]
    assert np.allclose(paper["$Loss_{Main}$"][[-0.5, 0.25, 1.0]], [0.5, 0.25, 1.25])
    assert np.allclose([paper["L1"][-0.5], paper["L2"][-0.5]], [0.5, 0.25])
    assert np.allclose(loss["(b) the authors' code"]["t = 0.1"][[0.05, 0.1, 0.5]], [0.15, 0.3, 0.54])


def test_figure_9_is_negative_and_least_beside_the_truth(drawn: dict):
    frame = drawn[9][1]
    for (_, sigma), part in frame.groupby(["panel", "sigma"]):
        least = part.loc[part["total"].idxmin()]
        if sigma == 0.5:
            assert least["x"] == 0 and least["total"] == 0
            continue
        d = 2 / (1 / least["tough_at"] + 1 / least["tolerant_at"])
        assert np.isclose(abs(least["x"]), 0.1 * d, atol=3e-4) and np.isclose(least["total"], -0.025 * d, rtol=1e-3)
        assert np.allclose(kd_loss_curves.minimum(least["tough_at"], least["tolerant_at"]), (0.1 * d, -0.025 * d))
        pred = torch.tensor([[[least["x"], least["x"]]]])
        teachers = [torch.full_like(pred, least[f"{name}_at"]) for name in ("tough", "tolerant")]
        assert np.isclose(losses.kd_loss(pred, torch.zeros_like(pred), *teachers)["total"].item(), least["total"])


def test_the_least_kd_loss_of_equal_teachers_is_at_a_tenth_of_their_error():
    fine = np.linspace(0, 0.5, 5001)
    total = kd_loss_curves.parts(fine, 0.3, -0.3)["total"]
    assert np.isclose(fine[total.argmin()], 0.03) and np.isclose(total.min(), -0.025 * 0.3)


def test_figure_10_ends_where_the_failure_rate_says(study: Study, drawn: dict):
    frame = drawn[10][1]
    assert len(frame.groupby(["dataset", "row"])) == 9
    end = frame[np.isclose(frame["nme"], 10)]
    assert np.allclose(end["faces"], 100 - end["fr"])
    for (name, row), part in frame.groupby(["dataset", "row"]):
        one = study.on({"COFW (rendered)": "cofw", "300-W (rendered)": None, "WFLW (rendered)": "wflw"}[name])
        assert np.isclose(part["fr"].iloc[0], 100 * one.estimate(row, "fr").value)
        assert np.isclose(part["auc"].iloc[0], one.estimate(row, "auc").value)
        assert (part["low"] <= part["faces"] + 1e-9).all() and (part["faces"] <= part["high"] + 1e-9).all()


@pytest.mark.parametrize("number", [10, 13])
def test_figures_are_drawn_anew_from_their_csv(study: Study, drawn: dict, same_from_file, number: int):
    same_from_file(kd_loss.figures()[number], study)


def test_error_curves_count_faces_up_to_each_error():
    errors = np.array([[0.01, 0.02, 0.30], [0.02, 0.05, 0.10]])
    share = kd_loss_figures.within(errors, np.array([0.0, 0.02, 0.1]))
    assert np.allclose(share, [[0, 2 / 3, 2 / 3], [0, 1 / 3, 1]])


@pytest.mark.parametrize(("number", "dataset"), [(11, "cofw"), (12, None), (14, "wflw")])
def test_red_points_are_those_beyond_a_tenth_of_the_normaliser(study: Study, drawn: dict, number: int, dataset: str | None):
    figure, frame = drawn[number]
    faces = study.on(dataset).test
    target = faces.crops()[1]
    for (row, name), part in frame.groupby(["row", "face"]):
        i = list(faces.names).index(name)
        pred = study.on(dataset).trained(row)[0].predictions["test"][i]
        assert np.allclose(part[["x", "y"]], pred)
        distance = np.linalg.norm(pred - target[i], axis=-1) / faces.lengths()[i]
        assert (part["failed"].to_numpy() == (distance > 0.1)).all()
        assert np.isclose(part["nme"].iloc[0], 100 * distance.mean(), rtol=1e-4)
    red, green = (
        sum(len(line.get_xdata()) for axes in figure.axes for line in axes.lines if (line.get_color(), line.get_marker()) == look)
        for look in ((RED, "X"), (GREEN, "o"))
    )
    assert (red, green) == (frame["failed"].sum(), (~frame["failed"]).sum()) and red


def test_shown_faces_are_at_quantiles_of_both_networks_error(study: Study, drawn: dict):
    frame, test = drawn[12][1], study.test
    errors = [
        metrics.nme(study.trained(row)[0].predictions["test"], test.crops()[1], test.lengths()) for row in ("mnv2", "mnv2_kd")
    ]
    rank = np.mean(errors, 0).argsort().argsort()
    shown = frame.drop_duplicates("quantile")
    places = [rank[list(test.names).index(name)] / (len(test) - 1) for name in shown["face"]]
    assert np.allclose(places, shown["quantile"], atol=0.5 / (len(test) - 1) + 1e-9)


def test_figure_13_measures_three_networks_beside_the_papers_times(drawn: dict):
    frame = drawn[13][1]
    printed = frame[frame["way"] == "paper, CPU"].set_index("row")["ms"].to_dict()
    assert printed == {"mnv2_kd": 3.95, "efn": 9.44, "asmnet": 2.38}
    here = frame[~frame["way"].str.startswith("paper")]
    assert len(here) == 3 * here["way"].nunique() and {"torch", "ONNX, fp32", "ONNX, int8"} <= set(here["way"])
    assert (here["low"] <= here["ms"]).all() and (here["ms"] <= here["high"]).all() and (here["low"] > 0).all()
    assert np.allclose(frame["fps"] * frame["ms"], 1000)
    assert np.isclose(frame["fps"][frame["way"] == "paper, GPU"].item(), 417)


@pytest.fixture(scope="module")
def real_study(stores, tmp_path_factory: pytest.TempPathFactory) -> Study:
    """Photographs without any green, as no rendered face is, with 68 points each."""
    root, rng = tmp_path_factory.mktemp("photographs"), np.random.default_rng(0)
    for name in (*(f"lfpw/trainset/image_000{i}" for i in (1, 2, 3)), "lfpw/testset/image_0001", "ibug/image_003"):
        smooth = cv2.GaussianBlur(rng.random((160, 160)).astype(np.float32), (0, 0), 5)
        pixels = np.zeros((160, 160, 3), np.uint8)
        pixels[..., 0] = pixels[..., 2] = cv2.normalize(smooth, None, 100, 255, cv2.NORM_MINMAX)
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(root / f"{name}.png"), pixels)
        rows = "\n".join(f"{x:.3f} {y:.3f}" for x, y in rng.uniform(40, 120, (68, 2)))
        (root / f"{name}.pts").write_text(f"version: 1\nn_points: 68\n{{\n{rows}\n}}\n")
    return Study(kd_loss, "smoke", str(root), seeds=1)


@pytest.mark.parametrize("number", [1, 2, 12])
def test_no_figure_of_real_data_shows_a_photograph(real_study: Study, number: int):
    photographs = np.concatenate([real_study.test.crops()[0], real_study.source.train().crops()[0]])
    assert (photographs[..., 1] == 0).all()  # so that a photograph is known where it is seen
    shown = pictures_of(kd_loss.figures()[number](real_study)[0])
    assert shown and all((picture[..., 1] == 0).mean() < 0.5 for picture in shown)


def test_networks_of_real_data_are_shown_at_work_on_rendered_faces(real_study: Study):
    faces, found = kd_loss_figures.shown_faces(real_study)
    assert "rendered" in faces.title and len(real_study.test) == 2
    again = training.predict(real_study.trained("mnv2_kd")[0].network(), faces.crops()[0])
    assert np.array_equal(found["mnv2_kd"], again) and not np.array_equal(found["mnv2"], again)


def test_a_scheme_of_ones_own_has_no_rendered_faces(stores, own_data: Path):
    own = Study(kd_loss, "smoke", str(own_data), seeds=1)
    figure, frame = kd_loss_figures.figure12(own)
    assert "no such data" in figure.texts[0].get_text() and list(frame.columns) == ["no such data"]
    for number in (1, 2):
        assert pictures_of(kd_loss.figures()[number](own)[0])
