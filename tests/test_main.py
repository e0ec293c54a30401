"""The command line refuses what is wrong in one sentence with exit code 2, and leaves nothing half-written."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from fa_lib import runs
from fa_lib.__main__ import main
from fa_lib.data import manifests
from fa_lib.landmarks import SCHEMES
from fa_lib.papers.self_distillation_training import Stage
from fa_lib.storage import PROJECT
from fa_lib.training import Plan

RUN = "self_distillation/hrnet_w18-gt/300w/smoke/0"
FOLDERS = {"afw": ".jpg", "lfpw/trainset": ".png", "lfpw/testset": ".png"}


@pytest.fixture
def photographs(tmp_path: Path, rendered_cache: Path) -> Path:
    """A small folder in 300-W's layout, its photographs rendered faces."""
    from fa_lib.data.synthetic.sets import make

    root = tmp_path / "300w"
    drawn = make("300w", "common", 6, 120)
    for i, (picture, points) in enumerate(zip(drawn.images, drawn.landmarks, strict=True)):
        folder, suffix = list(FOLDERS.items())[i // 2]
        (root / folder).mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(root / folder / f"image_{i:04d}{suffix}"), picture[:, :, ::-1])
        write_pts(root / folder / f"image_{i:04d}.pts", points + 1)
    return root


def write_pts(file: Path, points: np.ndarray) -> None:
    rows = "\n".join(f"{x:.3f} {y:.3f}" for x, y in points)
    file.write_text(f"version: 1\nn_points:  {len(points)}\n{{\n{rows}\n}}\n")


def refused(capsys: pytest.CaptureFixture, *arguments: str) -> str:
    """Runs `fa` and returns its one line of complaint."""
    assert main(list(arguments)) == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("fa: ")]
    assert len(lines) == 1
    return lines[0]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["reproduce", "--profle", "quick"], ["--profle", "--profile"]),
        (["reproduce", "--profile", "quik"], ["quik", "quick"]),
        (["reproduce", "self_destillation"], ["self_destillation", "'self_distillation'"]),
        (["reproduce", "-p", "profil", "smoke"], ["profil", "'profile'"]),
        (["reproduce", "--jobs", "0"], ["--jobs", "above 0"]),
        (["reproduce", "--data", "/no/such/folder"], ["/no/such/folder", "afw/"]),
        (["train", "self_distillation/fan2-al/synthetic-300w/smoke/0"], ["fan2-al", "'fan2-all'"]),
        (["train", "fan2-all"], ["paper/row/dataset/profile/seed"]),
        (["train", "self_distillation/fan2-all/300w/smoke/0"], ["300w", "synthetic"]),
        (["runs", "show", "nothing"], ["nothing", "fa runs list"]),
        (["predict", "nothing", "clip.mp4"], ["nothing", "fa runs list"]),
        (["predict", "nothing"], ["nothing", "fa runs list"]),
        (["predict"], ["FILE", "--camera"]),
        (["predict", "--camera", "one"], ["--camera", "from 0"]),
        (["predict", "--camera", "97"], ["--camera 97", "no camera"]),
        (["predict", "a/b/c/d/0", "clip.mp4"], ["clip.mp4"]),
        (["predict", "nothing", "clip.mp4", "--box", "1", "2", "3"], ["--box"]),
        (["predict", "nothing", "clip.mp4", "--decoder", "pcd"], ["pcd", "pdc"]),
        (["suggest", "nothing", "folder"], ["nothing", "fa runs list"]),
        (["suggest", "nothing"], ["FOLDER"]),
        (["data", "show", "300x"], ["300x"]),
        (["data", "show", "wlfw"], ["'wlfw'", "did you mean 'wflw'"]),
        (["data", "verify"], ["300w"]),
        (["data", "verify", "300w"], ["--root"]),
        (["data", "list", "--root", "/no/such/folder"], ["/no/such/folder"]),
        (["data", "prepare", "synthetic/300w", "--split", "trian"], ["trian", "'train'"]),
        (["data", "prepare", "300w", "--skipbad"], ["--skipbad", "--skip-bad"]),
        (["data", "prepare", "mine.yaml"], ["mine.yaml", "template.yaml"]),
        (["data", "fetch", "synthetic/300w"], ["rendered"]),
        (["data", "fetch", "300vw"], ["300-VW", "after a request", "https://ibug.doc.ic.ac.uk/resources/300-VW/"]),
        (["data", "fetch", "300w"], ["--root", "FA_DATA"]),
        (["train", "self_distillation/fan2-all/300w/smoke/0", "--data", "mine.yaml"], ["mine.yaml", "template.yaml"]),
        (["reproduce", "--data", "mine.txt"], ["mine.txt", ".yaml"]),
        ([], ["COMMAND"]),
    ],
)
def test_wrong_words_are_refused_with_the_right_ones(arguments: list[str], words: list[str], store: Path, capsys) -> None:
    said = refused(capsys, *arguments)
    assert all(word in said for word in words), said


def _empty(root: Path) -> str:
    for file in root.rglob("*.*"):
        file.unlink()
    return "300w"


def _one_point_short(root: Path) -> str:
    write_pts(root / "afw" / "image_0000.pts", np.ones((67, 2)))
    return "image_0000.pts"


def _not_a_number(root: Path) -> str:
    file = root / "afw" / "image_0000.pts"
    file.write_text(file.read_text().replace("{\n", "{\nnan 1.0\n", 1).replace("68", "69"))
    return "image_0000.pts"


def _cut_off(root: Path) -> str:
    file = root / "afw" / "image_0001.jpg"
    file.write_bytes(file.read_bytes()[:-900])
    return "image_0001.jpg"


@pytest.mark.faults("picture or annotation damaged")
@pytest.mark.parametrize("spoil", [_empty, _one_point_short, _not_a_number, _cut_off])
def test_broken_data_are_named_and_nothing_stays(
    spoil: Callable[[Path], str], photographs: Path, store, cache, capsys, injected
) -> None:
    name = spoil(photographs)
    injected()
    assert name in refused(capsys, "train", RUN, "--data", str(photographs))
    assert not [file for file in (*store.rglob("*"), *cache.rglob("*")) if file.is_file() and file.suffix != ".lock"]


def test_train_works_on_a_folder_of_photographs(photographs: Path, store: Path, cache: Path, capsys) -> None:
    assert main(["train", RUN, "--data", str(photographs)]) == 0
    folder = Path(capsys.readouterr().out.strip().splitlines()[-1])
    assert json.loads((folder / "provenance.json").read_text())["id"] == RUN
    assert main(["runs", "list"]) == 0
    assert "1 runs, 0 stale" in capsys.readouterr().out


def test_train_starts_without_jupyter(store: Path) -> None:
    """As on a machine that has torch and lightning only: a training needs none of the notebook tools."""
    absent = "papermill pydantic pooch snakemake nbformat nbclient nbconvert IPython ipywidgets jupyterlab".split()
    program = (
        f"import sys\nfor name in {absent}: sys.modules[name] = None\n"
        "from fa_lib.__main__ import main\n"
        "sys.exit(main(['train', 'self_distillation/resnet18-gt/synthetic-300w/smoke/0']))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert (Path(done.stdout.strip().splitlines()[-1]) / "model.safetensors").exists()


def test_data_list_shows_every_set_with_its_state(photographs: Path, tmp_path: Path, monkeypatch, capsys) -> None:
    """The photographs are a partial 300-W; a folder with something else in it is wrong; a hidden file is nothing."""
    for name in ("wflw/something", "aflw/.hidden"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).touch()
    monkeypatch.setenv("FA_DATA", str(tmp_path))
    assert main(["data", "list"]) == 0
    shown = dict(line.split()[:2] for line in capsys.readouterr().out.splitlines())
    assert list(shown) == manifests.names()
    assert {state for name, state in shown.items() if name.startswith("synthetic/")} == {"rendered"}
    others = {name: state for name, state in shown.items() if "/" not in name}
    assert others == dict.fromkeys(others, "absent") | {"300w": "partial", "wflw": "wrong"}
    monkeypatch.delenv("FA_DATA")
    assert main(["data", "list"]) == 0
    assert "not looked for; set FA_DATA" in capsys.readouterr().out


def test_data_verify_says_what_is_missing(photographs: Path, capsys) -> None:
    assert main(["data", "verify", "300w", "--root", str(photographs)]) == 0
    shown = capsys.readouterr().out
    assert "partial" in shown
    assert "0 of   135" in shown
    assert "and 125 more" in shown


def test_data_verify_prints_every_name_when_asked(photographs: Path, capsys) -> None:
    assert main(["data", "verify", "300w", "--all-names", "--root", str(photographs)]) == 0
    shown = capsys.readouterr().out
    assert "more" not in shown
    assert "ibug/image_092 _01" in shown


def test_data_verify_refuses_another_set(photographs: Path, capsys) -> None:
    for name in manifests.names():
        if name != "300w" and manifests.load(name).get != "rendered":
            assert str(photographs) in refused(capsys, "data", "verify", name, "--root", str(photographs))


def test_data_prepare_cuts_the_splits(photographs: Path, cache: Path, capsys) -> None:
    assert main(["data", "prepare", "300w", "--root", str(photographs), "--size", "32"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(" of ")[0] for line in lines] == ["train: 4 faces", "full: 2 faces"]
    assert all("300-W, partial" in line for line in lines)
    assert main(["data", "prepare", "300w", "--root", str(photographs), "--size", "32", "--split", "common"]) == 0
    assert capsys.readouterr().out.startswith("common: 2 faces")


def test_bad_picture_is_named_and_left_out_only_when_asked(photographs: Path, cache: Path, capsys) -> None:
    _cut_off(photographs)
    prepare = ["data", "prepare", "300w", "--root", str(photographs), "--size", "32"]
    assert "image_0001.jpg" in refused(capsys, *prepare)
    assert main([*prepare, "--skip-bad"]) == 0
    shown = capsys.readouterr()
    assert shown.err.count("image_0001.jpg") == 1
    assert "train: 3 faces" in shown.out
    assert "1 that cannot be read left out" in shown.out
    assert "image_0001.jpg" in refused(capsys, *prepare)  # what was left out once is not left out silently


def test_data_of_ones_own_are_shown_and_prepared(photographs: Path, tmp_path: Path, cache: Path, capsys) -> None:
    described = (PROJECT / "data_manifests/template.yaml").read_text()
    changes = {"format: coco": "format: pts", "pictures: images": "pictures: 300w/lfpw", "landmarks: 5": "landmarks: 68"}
    changes |= {"{train: train.json, test: test.json}": "{train: trainset, test: testset}", "index_base: 0": "index_base: 1"}
    changes |= {"flip: [[0, 1], [3, 4]]": f"flip: {list(SCHEMES[68].flip)}", "normaliser: [0, 1]": "normaliser: [36, 45]"}
    for old, new in changes.items():
        assert old in described
        described = described.replace(old, new)
    (tmp_path / "mine.yaml").write_text(described)
    assert main(["data", "show", str(tmp_path / "mine.yaml")]) == 0
    assert "My faces (my_faces), 68 points, 1-based: 2 train, 2 test" in capsys.readouterr().out
    assert main(["data", "prepare", str(tmp_path / "mine.yaml"), "--size", "32"]) == 0
    assert [line[:14] for line in capsys.readouterr().out.splitlines()] == ["train: 2 faces", "test: 2 faces "]


def test_crops_that_the_disk_cannot_hold_are_refused_before_they_are_cut(photographs, cache, monkeypatch, capsys) -> None:
    usage = shutil.disk_usage(photographs)._replace(free=4 * 44 * 44 * 3 - 1)  # a byte less than four crops of 32 px take
    monkeypatch.setattr(shutil, "disk_usage", lambda place: usage)
    prepare = ["data", "prepare", "300w", "--root", str(photographs), "--size", "32"]
    assert "4 crops: needs 0.0 GiB" in refused(capsys, *prepare)
    assert main([*prepare, "--split", "full"]) == 0  # two crops


def test_predict_uses_a_run_of_the_store(source, tmp_path: Path, capsys) -> None:
    """A run by its name and by its hash, the box in pixels; a clip that is cut off keeps the frames before, and exits with 2."""
    stage = Stage("fan2", (("width", 8), ("stride", 4), ("depth", 2)), source, Plan(epochs=1))
    run = runs.get(runs.Run("self_distillation", "tiny", "synthetic/300w", "smoke", 0, stage)).run
    clip, size = tmp_path / "clip.avi", (80, 64)
    writer = cv2.VideoWriter(str(clip), cv2.VideoWriter_fourcc(*"MJPG"), 25, size)
    for frame in np.random.default_rng(0).integers(0, 256, (12, size[1], size[0], 3), dtype=np.uint8):
        writer.write(frame)
    writer.release()
    written = tmp_path / "out" / "clip.csv"
    predict = ["predict", run.id, str(clip), "--box", "20", "12", "40", "40", "--out", str(tmp_path / "out")]
    assert main(predict) == 0
    assert f"{written} and {written.with_suffix('.mp4')}: landmarks in" in capsys.readouterr().out
    lines = written.read_text().splitlines()
    first = np.array([line.split(",") for line in lines[1:69]], float)
    assert lines[0] == "frame,point,x,y" and set(first[:, 0]) == {0} and list(first[:, 1]) == list(range(68))
    assert np.abs(first[:, 2:].mean(0) - (39.5, 31.5)).max() < 14  # about the middle of the box: half a crop is 28 pixels
    clip.write_bytes(clip.read_bytes()[: clip.stat().st_size * 2 // 3])
    predict[1] = run.hash
    said = refused(capsys, *predict)
    assert "is cut off" in said
    kept = round(cv2.VideoCapture(str(written.with_suffix(".mp4"))).get(cv2.CAP_PROP_FRAME_COUNT))
    assert 0 < kept < 12 and f"the {kept} frames before are kept in {written}" in said
