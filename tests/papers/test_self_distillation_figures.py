"""The figures of paper 1 at profile smoke: what they say is what the study says, and no photograph is in them."""

from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest

from fa_lib import metrics, plots
from fa_lib.papers import self_distillation
from fa_lib.papers import self_distillation_figures as figures
from fa_lib.papers.self_distillation_training import TRANSFORM
from fa_lib.results import Study

TWICE = ("lfpw/trainset/image_0623", "lfpw/trainset/image_0633")  # one photograph, annotated twice


@pytest.fixture(scope="module")
def study(stores) -> Study:
    return Study(self_distillation, "smoke", seeds=1)


def write_face(root: Path, name: str, seed: int) -> None:
    """A picture without any green, as no rendered face is, and 68 points."""
    rng = np.random.default_rng(0 if name in TWICE else seed)
    smooth = cv2.GaussianBlur(rng.random((160, 160)).astype(np.float32), (0, 0), 5)
    pixels = np.zeros((160, 160, 3), np.uint8)
    pixels[..., 0] = pixels[..., 2] = cv2.normalize(smooth, None, 100, 255, cv2.NORM_MINMAX)
    points = np.random.default_rng(0).uniform(40, 120, (68, 2)) + (3 if name == TWICE[1] else 0)
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(root / f"{name}.png"), pixels)
    rows = "\n".join(f"{x:.3f} {y:.3f}" for x, y in points + 1)
    (root / f"{name}.pts").write_text(f"version: 1\nn_points: 68\n{{\n{rows}\n}}\n")


@pytest.fixture(scope="module")
def real_study(stores, tmp_path_factory: pytest.TempPathFactory) -> Study:
    root = tmp_path_factory.mktemp("photographs")
    for seed, name in enumerate([*TWICE, *(f"lfpw/testset/image_{i:04d}" for i in (1, 2, 3)), "ibug/image_003"]):
        write_face(root, name, seed)
    return Study(self_distillation, "smoke", str(root), seeds=1)


def shown(figure) -> list[np.ndarray]:
    return [np.asarray(picture.get_array()) for axes in figure.axes for picture in axes.images]


@pytest.mark.parametrize("number", figures.FIGURES)
def test_figure_is_drawn_marked_and_saved_with_its_data(study: Study, number: int, tmp_path: Path):
    figure, frame = figures.FIGURES[number](study)
    assert len(frame) and [text for text in figure.texts if "not a result" in text.get_text()]
    written = plots.save(figure, frame, tmp_path / f"fig{number:02d}")
    assert written[0].suffix == (".png" if number in (1, 2, 4) else ".svg")
    assert len(pd.read_csv(written[1])) == len(frame)
    plots.save(*figures.FIGURES[number](study), tmp_path / "again")
    assert written[0].read_bytes() == (tmp_path / "again").with_suffix(written[0].suffix).read_bytes()


def test_figure_1_counts_the_annotators_apart(study: Study):
    _, frame = figures.figure1(study)
    value = frame[frame["panel"] == "distance"].set_index(["faces", "region"])["value"]
    test = study.test
    apart = 100 * metrics.nme(test.second, test.landmarks, metrics.lengths(test.landmarks)).mean()
    assert np.isclose(value["rendered faces, two annotators", "all"], apart)
    assert np.isclose(value["300-W photographs annotated twice", "all"], 2.52, atol=0.03)  # 39 groups, measured apart from this
    points = frame[frame["panel"] == "faces"]
    assert len(points) == 3 * 2 * 68 and points["x"].between(0, 256).all()


def test_distance_by_region_is_a_mean_over_groups():
    first = np.zeros((3, 68, 2))
    first[:, 45] = (100, 0)  # inter-ocular 100
    second = first.copy()
    second[:, :17, 1] += np.array([1, 3, 8])[:, None]
    found = figures.by_region(first, second, ["a", "a", "b"])
    assert np.isclose(found["jaw"], 5.0) and found["eyes"] == 0  # (mean of 1 and 3, and 8) / 2
    assert np.isclose(found["all"], 5.0 * 17 / 68)


def test_regions_are_all_points_once():
    assert sorted(i for ids in figures.INDEX.values() for i in ids) == list(range(68))


def test_figure_2_brings_landmarks_back_by_the_inverse_map(study: Study):
    _, frame = figures.figure2(study)
    size = study.source.size
    shift = np.array(figures.TURN["shift"]) * size
    angle, middle = np.deg2rad(figures.TURN["degrees"]), (size - 1) / 2
    turn = figures.TURN["scale"] * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    length = metrics.lengths(study.test.landmarks[:1])[0]
    for _, one in frame.groupby("row"):
        pred, there, back = (one[one["landmarks"] == k][["x", "y"]].to_numpy() for k in ("f(I)", "f(TI)", "T^-1 f(TI)"))
        assert np.allclose((back - middle) @ turn.T + middle + shift, there, atol=1e-3)
        apart = 100 * np.linalg.norm(pred - back, axis=-1) / length
        assert np.allclose(one["apart"].to_numpy().reshape(3, 68), apart, atol=1e-4)
    pred = study.trained("fan2-gt")[0].predictions["test"][0]
    mine = frame[(frame["row"] == "fan2-gt") & (frame["landmarks"] == "f(I)")][["x", "y"]].to_numpy()
    assert np.allclose(mine, pred, atol=0.01)


def test_the_turn_of_figure_2_is_one_that_training_draws():
    assert TRANSFORM.scale[0] <= figures.TURN["scale"] <= TRANSFORM.scale[1]
    assert abs(figures.TURN["degrees"]) <= TRANSFORM.degrees and max(map(abs, figures.TURN["shift"])) <= TRANSFORM.shift


def test_figure_3_joins_what_it_names():
    assert {name for a, b, *_ in figures.ARROWS for name in (a, b)} == set(figures.BOXES)
    into = {loss: sorted(a for a, b, *_ in figures.ARROWS if b == loss) for loss in ("sct", "sd", "elt")}
    assert into == {
        "sct": ["base out", "student out"], "sd": ["student out", "teacher out"], "elt": ["back", "student out"],
    }  # fmt: skip


def test_figure_4_shows_the_networks_own_landmarks(study: Study):
    _, frame = figures.figure4(study)
    tracks, spreads = (frame[frame["panel"] == panel] for panel in ("track", "spread"))
    first = next(iter(figures.still_frames(study.video).values()))
    assert study.video.still[first].all() and tracks["frame"].nunique() == len(first)
    row = self_distillation.last("fan2")
    assert set(tracks["row"]) == set(spreads["row"]) == {"fan2-gt", row}
    middle, found = len(first) // 2, study.trained(row)[0].predictions["video"]
    one = tracks[(tracks["row"] == row) & (tracks["frame"] == middle)]
    assert np.allclose(one[["x", "y"]], found[first[middle]][one["landmark"].astype(int)], atol=1e-3)
    value = spreads[spreads["row"] == row].sort_values("landmark")["value"]
    assert np.allclose(value, figures.spread(study.video, found))


def test_spread_is_measured_in_the_video_and_not_in_crops_that_move(study: Study):
    """A point that keeps its place in the video has no spread; one that keeps its place in the crop does."""
    video = study.video
    there = np.full((len(video), 68, 2), 60.0)
    matrix = video.matrix.astype(float)
    in_crop = there @ matrix[:, :, :2].swapaxes(1, 2) + matrix[:, None, :, 2] - video.offset
    assert figures.spread(video, in_crop).max() < 1e-6
    moved = in_crop + (np.arange(len(video)) % 2)[:, None, None]
    assert figures.spread(video, moved).min() > 0.1


def test_at_most_one_second_of_each_clip_is_used(by_hand):
    faces = by_hand(np.zeros((60, 68, 2)), group=["a"] * 40 + ["b"] * 20)
    frames = figures.still_frames(faces)
    assert [frames["a"].tolist(), frames["b"].tolist()] == [list(range(25)), list(range(40, 60))]


@pytest.mark.parametrize("make", [figures.figure5, figures.scale_figure])
def test_ablation_figures_say_what_the_study_says(study: Study, make):
    _, frame = make(study)
    for line in frame.itertuples():
        with np.errstate(invalid="ignore"):
            found = study.estimate(line.row, line.metric, line.split)
        factor = 100 if line.metric == "scale" else 1000
        assert np.allclose(
            [line.value, line.low, line.high], factor * np.array([found.value, found.low, found.high]), equal_nan=True
        )
    count = frame.groupby(["network", "metric"]).size()
    assert set(count["FAN2HG"]) == {4 * 4} and set(count["ResNet18"]) == {4 * 7}


def test_figure_5_is_drawn_anew_from_its_csv(study: Study, same_from_file):
    same_from_file(figures.figure5, study)


def test_learning_curves_hold_every_epoch_of_every_row(study: Study):
    rows = ("fan2-gt", "fan2-all")
    _, frame = figures.learning_curves(study, rows)
    assert list(frame["row"].unique()) == list(rows)
    assert len(frame) == sum(len(study.trained(row)[0].log) for row in rows)


@pytest.mark.parametrize("number", [1, 2, 4])
def test_no_figure_of_real_data_shows_a_photograph(real_study: Study, number: int):
    photographs = np.concatenate([real_study.test.crops()[0], real_study.twice.first])
    assert (photographs[..., 1] == 0).all()  # so that a photograph is known where it is seen
    pictures = shown(figures.FIGURES[number](real_study)[0])
    assert pictures
    for picture in pictures:
        colour = picture if picture.ndim == 3 else real_study.video.crops()[0]
        assert (colour[..., 1] == 0).mean() < 0.5
        if picture.ndim == 2:
            assert (np.asarray(colour).mean(-1) == picture).all((1, 2)).any()


def test_real_pairs_are_told_apart_by_region(real_study: Study):
    _, frame = figures.figure1(real_study)
    value = frame[frame["panel"] == "distance"].set_index(["faces", "region"])["value"]["300-W photographs annotated twice"]
    assert set(value.index) == {*figures.PARTS, "all"} and len(real_study.twice.group) == 1
    assert (value > 0).all() and np.isclose(
        value["all"], np.average(value[[*figures.PARTS]], weights=list(map(len, figures.INDEX.values())))
    )
