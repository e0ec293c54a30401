"""Code that is proved to compute the same: when its results stay current, and when they do not."""

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from fa_lib import equal, runs, storage
from fa_lib.errors import InputError

ROOT = Path(__file__).resolve().parents[1]
NOTED = ROOT / "figures" / "equal_code.csv"
FILES = ("training", "losses/landmark")
ONE_RUN = """
from fa_lib import runs
from fa_lib.papers import self_distillation as paper

runs.get(paper.run("resnet18-gt", "smoke", 0, paper.source("smoke")))
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project of two files, the code of which is known to be equal to that of the hash "aaaaaaaaaaaa"."""
    (tmp_path / "figures").mkdir()
    (tmp_path / "fa_lib" / "losses").mkdir(parents=True)
    for name in FILES:
        (tmp_path / "fa_lib" / f"{name}.py").write_text("x = 1\n")
    monkeypatch.setattr(storage, "PROJECT", tmp_path)
    line = {"files": " ".join(FILES), "code": runs.present_hash(FILES), "as": "aaaaaaaaaaaa", "checked": "by hand"}
    pd.DataFrame([line]).to_csv(tmp_path / "figures" / "equal_code.csv", index=False)
    return tmp_path


def test_equal_code_has_the_hash_of_the_earlier_one(project: Path):
    assert runs.code_hash.__wrapped__(FILES) == "aaaaaaaaaaaa" != runs.present_hash(FILES)
    assert runs.code_hash.__wrapped__(FILES[:1]) == runs.present_hash(FILES[:1])  # nothing is known of these files


def test_code_that_changed_after_the_proof_has_its_own_hash(project: Path):
    (project / "fa_lib" / "training.py").write_text("x = 2\n")
    assert runs.code_hash.__wrapped__(FILES) == runs.present_hash(FILES) != "aaaaaaaaaaaa"
    assert equal.needless(pd.read_csv(project / "figures" / "equal_code.csv").to_dict("records")[0])


def test_every_line_is_about_code_that_is_there():
    """A line that this refuses is of code that has changed since: remove it, or prove the change by `fa runs equal COMMIT`."""
    lines = pd.read_csv(NOTED, dtype=str).to_dict("records")
    assert [line["files"] for line in lines if equal.needless(line)] == []
    assert len({line["files"] for line in lines}) == len(lines) and all(line["checked"] for line in lines)


def folder(place: Path, seconds: float = 1.0, total: float = 0.5, found: float = 2.0, weights: bytes = b"w") -> Path:
    place.mkdir()
    pd.DataFrame({"epoch": [0], "seconds": [seconds], "total": [total]}).to_csv(place / "log.csv", index=False)
    np.savez(place / "predictions.npz", test=np.full((2, 5, 2), found, np.float32))
    (place / "model.safetensors").write_bytes(weights)
    return place


@pytest.mark.parametrize(
    ("change", "file"),
    [
        ({"seconds": 9.0}, None),
        ({"total": np.nextafter(0.5, 1)}, "log.csv"),
        ({"found": np.nextafter(np.float32(2), np.float32(3))}, "predictions.npz"),
        ({"weights": b"v"}, "model.safetensors"),
    ],
)
def test_one_bit_is_a_difference_and_time_is_none(tmp_path: Path, change: dict, file: str | None):
    assert equal.difference(folder(tmp_path / "a"), folder(tmp_path / "b", **change)) == file


def test_predictions_of_another_name_are_a_difference(tmp_path: Path):
    one, other = folder(tmp_path / "a"), folder(tmp_path / "b")
    np.savez(other / "predictions.npz", test=np.full((2, 5, 2), 2.0, np.float32), video=np.zeros(1))
    assert equal.difference(one, other) == equal.difference(other, one) == "predictions.npz"


@pytest.mark.parametrize("commit", [None, "no-such-commit"])
def test_commit_that_is_not_there_is_refused(commit: str | None):
    with pytest.raises(InputError, match="fa runs equal"):
        equal.prove(commit)


def test_proof_with_two_checkouts(tmp_path: Path, store: Path, monkeypatch: pytest.MonkeyPatch):
    """One run, twice: `fit` in other words is equal, and noted; with another decay it is not, and nothing is noted."""
    clone = tmp_path / "clone"
    subprocess.run(["git", "clone", "--quiet", "--shared", ROOT, clone], check=True, capture_output=True)
    for file in (ROOT / "fa_lib").rglob("*.py"):  # what is not committed yet, too
        shutil.copy(file, clone / file.relative_to(ROOT))
    git = ["git", "-C", clone, "-c", "user.name=a", "-c", "user.email=a@b"]
    subprocess.run([*git, "add", "-A"], check=True)
    subprocess.run([*git, "commit", "--quiet", "--allow-empty", "-m", "before"], check=True)
    monkeypatch.setattr(storage, "PROJECT", clone)
    monkeypatch.setattr(equal, "TRAIN", ONE_RUN)
    code, noted = clone / "fa_lib" / "training.py", clone / "figures" / "equal_code.csv"
    noted.unlink(missing_ok=True)
    text = code.read_text()
    assert "lr=plan.lr, weight_decay=plan.weight_decay" in text
    code.write_text(text.replace("lr=plan.lr, weight_decay=plan.weight_decay", "weight_decay=plan.weight_decay, lr=plan.lr"))
    assert equal.prove("HEAD").startswith("equal bit for bit: 1 runs of ")
    (line,) = pd.read_csv(noted, dtype=str).to_dict("records")
    files = tuple(line["files"].split())
    assert line["code"] == runs.present_hash(files) != line["as"] == runs.code_hash.__wrapped__(files)
    code.write_text(text.replace("weight_decay=plan.weight_decay", "weight_decay=10 * plan.weight_decay"))
    before = noted.read_text()
    with pytest.raises(InputError, match=r"resnet18-gt/synthetic-300w/smoke/s0-\w+: \S+ differs from that of"):
        equal.prove("HEAD")
    assert noted.read_text() == before
    assert len(list((clone / ".git").glob("worktrees/*"))) == 0
