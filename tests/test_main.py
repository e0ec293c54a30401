"""The command line refuses what is wrong in one sentence with exit code 2, and leaves nothing half-written."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from fa_lib.__main__ import main

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
        (["data", "show", "300x"], ["300x"]),
        (["data", "verify"], ["300w"]),
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


@pytest.mark.parametrize("spoil", [_empty, _one_point_short, _not_a_number, _cut_off])
def test_broken_data_are_named_and_nothing_stays(spoil: Callable[[Path], str], photographs: Path, store, cache, capsys) -> None:
    name = spoil(photographs)
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


def test_data_list_shows_every_set(capsys) -> None:
    assert main(["data", "list"]) == 0
    shown = capsys.readouterr().out
    assert all(name in shown for name in ("300w", "synthetic/300w", "synthetic/300vw"))


def test_data_verify_says_what_is_missing(photographs: Path, capsys) -> None:
    assert main(["data", "verify", "300w", "--root", str(photographs)]) == 0
    shown = capsys.readouterr().out
    assert "partial" in shown
    assert "0 of   135" in shown
