"""Paper 1 on a made-up data set of five landmarks in COCO JSON: it trains, and says what such a set has not got."""

from pathlib import Path

import numpy as np
import pytest

from fa_lib import data, plots, runs
from fa_lib.__main__ import main
from fa_lib.errors import InputError
from fa_lib.notebook import settings
from fa_lib.papers import sd_hrnet, self_distillation
from fa_lib.papers import self_distillation_figures as figures
from fa_lib.results import Study, folder


@pytest.fixture(scope="module")
def study(own_data: Path, tmp_path_factory: pytest.TempPathFactory, rendered_cache: Path):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FA_RUNS", str(tmp_path_factory.mktemp("runs")))
        patch.setenv("FA_CACHE", str(rendered_cache))
        yield Study(self_distillation, "smoke", str(own_data), seeds=1)


@pytest.mark.parametrize("row", ["resnet18-gt", "fan2-all"])
def test_row_trains_on_five_landmarks(study: Study, row: str):
    run = study.run(row, 0)
    assert run.id == f"self_distillation/{row}/mydata/smoke/0"
    found = runs.get(run).predictions
    assert {name: points.shape for name, points in found.items()} == {
        "test": (12, 5, 2), "video": (0, 5, 2), "twice_first": (0, 5, 2), "twice_second": (0, 5, 2),
    }  # fmt: skip
    errors = np.linalg.norm(found["test"] - study.test.crops()[1], axis=-1).mean(1)
    assert study.estimate(row, "nme").value == pytest.approx((errors / study.test.lengths()).mean())


def test_command_line_trains_on_it(own_data: Path, study: Study, capsys: pytest.CaptureFixture):
    assert main(["train", "self_distillation/resnet18-gt/mydata/smoke/0", "--data", str(own_data)]) == 0
    assert Path(capsys.readouterr().out.strip()) == study.run("resnet18-gt", 0).folder
    assert main(["train", "self_distillation/resnet18-gt/300w/smoke/0", "--data", str(own_data)]) == 2
    assert "makes the data set 'mydata', not '300w'" in capsys.readouterr().err


def test_where_the_data_lie_is_no_part_of_a_run(study: Study, own_data: Path, tmp_path: Path):
    for name in ("images", "train.json", "test.json"):
        (tmp_path / name).symlink_to(own_data.parent / name)
    # links of the folder's own are not followed out of it
    (tmp_path / "mydata.yaml").write_text(own_data.read_text())
    with pytest.raises(InputError, match="is a link that leads out of"):
        self_distillation.source("smoke", str(tmp_path / "mydata.yaml"))
    described = study.run("resnet18-gt", 0).describe()
    assert str(own_data.parent) not in str(described) and "'landmarks'" not in str(described)


def test_set_has_no_video_and_no_pairs_and_says_so(study: Study):
    assert not study.has("video") and not study.has("still") and not study.has("twice") and study.has("test")
    assert study.about("video") == "mydata has no clips: no such data (video)."
    assert np.isnan(study.estimate("resnet18-gt", "jitter", "still").value)
    assert study.test.parts() == ["test"] and len(study.test) == 12 and study.source.faces == 24
    assert folder(self_distillation, "smoke", study.source.dataset) == "smoke/self_distillation/mydata"


def test_set_has_no_faces_behind_masks_and_says_so(own_data: Path, study: Study):
    slim = Study(sd_hrnet, "smoke", str(own_data), seeds=1)
    assert not slim.has("masked") and not slim.has("masked common") and slim.has("test")
    assert slim.about("masked") == "mydata has no masked faces: no such data (masked)."
    found = slim.estimate("hrnet", "nme", "masked common")
    assert np.isnan([found.value, found.low, found.high]).all() and slim.estimate("hrnet", "nme", "test").value > 0


@pytest.mark.parametrize("number", [2, 4])
def test_figure_that_needs_68_points_or_video_is_a_sentence(study: Study, number: int, tmp_path: Path):
    figure, frame = figures.FIGURES[number](study)
    assert "no such data" in frame.iloc[0, 0] and not figure.axes
    assert plots.save(figure, frame, tmp_path / "fig")[0].suffix == ".svg"


def test_figure_1_shows_rendered_faces_and_what_is_known_of_photographs(study: Study):
    _, frame = figures.figure1(study)
    assert len(frame[frame["panel"] == "faces"]) == 3 * 2 * 68
    assert set(frame[frame["faces"] == "300-W photographs annotated twice"]["region"]) == {"all"}


def test_figure_5_takes_test_faces_where_there_is_no_video(study: Study, monkeypatch: pytest.MonkeyPatch):
    asked = []
    monkeypatch.setattr(self_distillation, "ITERATIONS", {"resnet18": 0, "fan2": 0})
    monkeypatch.setattr(figures, "ARMS", {"gt": "only GT"})
    plain = figures.by_iteration
    monkeypatch.setattr(figures, "by_iteration", lambda *given: asked.append(given[2]) or plain(*given))
    figure, frame = figures.figure5(study)
    assert set(asked) == set(frame["split"]) == {"test"}
    assert "distance of points 0 and 1 x 1000" in figure.axes[0].get_ylabel()


def test_trap_wrong_flip_is_refused_before_anything_is_trained(own_data: Path, store: Path):
    path = own_data.with_name("wrong.yaml")
    path.write_text(own_data.read_text().replace("[[0, 1], [3, 4]]", "[[0, 3], [1, 4]]"))
    with (
        pytest.warns(UserWarning, match="flip says"),
        pytest.raises(InputError, match=r"wrong.yaml: flip says that points \d and"),
    ):
        Study(self_distillation, "smoke", str(path))
    with pytest.warns(UserWarning, match="flip says"):
        shown = plots.flip_check(data.load(path, "train", size=32))  # and can be looked at all the same
    assert "wrong flip" in shown.axes[0].get_title("left") and not store.exists()


def test_notebooks_take_a_manifest(own_data: Path):
    found = settings(profile="smoke", data=str(own_data))
    assert found.own and found.root == str(own_data) and not settings(profile="smoke").own
    with pytest.raises(InputError, match="no such folder or manifest"):
        settings(profile="smoke", data=str(own_data.with_name("gone.yaml")))
