"""Runs: identity, load or train, kills, two at once, provenance, and what makes a result stale."""

import dataclasses
import json
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from fa_lib import runs, storage
from fa_lib.errors import InputError
from fa_lib.papers import self_distillation as paper
from fa_lib.papers.self_distillation_training import DataSource, Stage
from fa_lib.runs import Run

FIVE = ["config.json", "log.csv", "model.safetensors", "predictions.npz", "provenance.json"]
ASK = """
import sys
from fa_lib import runs, training
from fa_lib.papers import self_distillation as paper
from fa_lib.papers.self_distillation_training import DataSource, Step

training.CHECKPOINT_EVERY = 0
batches = []
whole = Step.__call__

def slow(step, net, batch):
    batches.append(0)
    if sys.argv[2] == "stop" and len(batches) == 4:
        print("in the middle", flush=True)
        sys.stdin.read()
    return whole(step, net, batch)

Step.__call__ = slow
source = DataSource("synthetic/300w", 32, 4, 3, 1, 2, faces=4, fingerprint="tiny")
print("asking", flush=True)
if sys.argv[2] == "go":
    sys.stdin.readline()
runs.get(paper.run(sys.argv[1], "smoke", 0, source))
print("batches", len(batches), flush=True)
"""


@dataclass(frozen=True)
class Toy:
    """A run that is trained in no time: its weights are its seed and what its teacher has."""

    size: int = 3
    root: str | None = field(default=None, compare=False)
    teacher: Run | None = None
    code: ClassVar[tuple[str, ...]] = ("losses/landmark",)

    def build(self) -> nn.Module:
        return nn.Linear(self.size, 1)

    def train(self, run: Run, folder: Path) -> tuple[nn.Module, pd.DataFrame, dict[str, np.ndarray]]:
        (folder / "checkpoint.pt").touch()
        with (storage.runs_folder() / "trained").open("a") as marks:
            marks.write(run.row + "\n")
        net = self.build()
        taught = runs.get(self.teacher).network().weight.detach() if self.teacher else 0
        with torch.no_grad():
            net.weight.fill_(run.seed + 1).add_(taught)
        log = pd.DataFrame({"epoch": [0], "seconds": [100.0], "total": [1.0]})
        return net, log, {"test": np.full((2, 68, 2), float(run.seed))}


@dataclass(frozen=True)
class Shared(Toy):
    """One that other code computes."""

    code: ClassVar[tuple[str, ...]] = ("losses/heatmap",)


def toy(row: str = "row", seed: int = 0, **options) -> Run:
    return Run("toy", row, "synthetic/300w", "smoke", seed, Toy(**options))


def different(value: object) -> object:
    """Another value of the same kind."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int | float):
        return value + 1
    if isinstance(value, tuple):
        return (*value, 9)
    return f"{value}-other"


def test_identity_changes_with_every_setting(source: DataSource):
    run = paper.run("fan2-all-sd2", "smoke", 0, source)
    stage, changed = run.config, {}
    for owner in ("source", "plan"):
        part = getattr(stage, owner)
        for one in dataclasses.fields(part):
            other = dataclasses.replace(part, **{one.name: different(getattr(part, one.name))})
            changed[f"{owner}.{one.name}"] = dataclasses.replace(stage, **{owner: other})
    for one in dataclasses.fields(Stage):
        if one.name not in ("source", "plan", "teacher", "base"):
            changed[one.name] = dataclasses.replace(stage, **{one.name: different(getattr(stage, one.name))})
    hashes = {name: dataclasses.replace(run, config=config).hash for name, config in changed.items()}
    assert hashes.pop("source.root") == run.hash  # where the data lie on this machine
    assert hashes.pop("source.landmarks") == run.hash  # follows from the data, whose fingerprint counts
    assert len({run.hash, *hashes.values()}) == len(hashes) + 1


def test_identity_changes_with_the_teachers(source: DataSource):
    run = paper.run("fan2-all-sd2", "smoke", 0, source)
    for name in ("teacher", "base"):
        previous = getattr(run.config, name)
        longer = dataclasses.replace(previous.config, plan=dataclasses.replace(previous.config.plan, epochs=99))
        other = dataclasses.replace(run.config, **{name: dataclasses.replace(previous, config=longer)})
        assert dataclasses.replace(run, config=other).hash != run.hash


@pytest.mark.parametrize("change", [{"paper": "a"}, {"row": "a"}, {"dataset": "a"}, {"profile": "a"}, {"seed": 5}])
def test_identity_changes_with_the_place_in_the_table(change: dict):
    assert dataclasses.replace(toy(), **change).hash != toy().hash


def test_identity_is_the_same_tomorrow(source: DataSource):
    """Written down once: a change here trains everything anew, and must be meant."""
    assert toy().hash == runs.Run("toy", "row", "synthetic/300w", "smoke", 0, Toy()).hash == "c7a839ba"


def test_name_and_folder(store: Path):
    run = toy(seed=2)
    assert run.id == "toy/row/synthetic-300w/smoke/2"
    assert run.folder == store / "toy" / "row" / "synthetic-300w" / "smoke" / f"s2-{run.hash}"


def test_run_is_trained_once_with_its_teacher_first(store: Path):
    store.mkdir()
    student = toy("student", teacher=toy("teacher"))
    first, again = runs.get(student), runs.get(student)
    assert (store / "trained").read_text() == "student\nteacher\n"  # the student began, and asked for its teacher
    assert first.network().weight.tolist() == again.network().weight.tolist() == [[2.0] * 3]
    assert not first.network().training
    assert (first.predictions["test"] == 0).all() and list(first.log["total"]) == [1.0]


def test_folder_holds_five_files(store: Path):
    store.mkdir()
    run = toy()
    assert sorted(os.listdir(runs.get(run).folder)) == FIVE
    assert sorted(os.listdir(run.folder.parent)) == [f".{run.folder.name}.lock", run.folder.name]
    assert json.loads((run.folder / "config.json").read_text()) == run.describe()


def test_provenance_says_where_a_number_comes_from(store: Path):
    store.mkdir()
    found = runs.get(toy()).provenance
    assert set(found) == {"code", "commit", "date", "device", "files", "hash", "id", "python", "seconds", "started_from", "torch"}
    assert found["id"] == "toy/row/synthetic-300w/smoke/0" and found["hash"] == toy().hash
    assert found["seconds"] == 100  # a resumed run counts what was trained before
    assert found["device"].startswith("CPU") and found["torch"] == torch.__version__
    assert found["code"] == runs.code_hash(("losses/landmark",)) and found["files"] == ["losses/landmark"]


def test_checkpoints_of_other_code_are_not_gone_on_from(store: Path):
    run = toy()
    other = run.folder.parent / f".{run.folder.name}.aaaaaaaaaaaa.part"
    other.mkdir(parents=True)
    (other / "checkpoint.pt").write_text("from other code")
    runs.get(run)
    assert not other.exists() and run.folder.exists()


def test_again_trains_what_changed_and_what_starts_from_that(store: Path, monkeypatch: pytest.MonkeyPatch):
    """A changed loss: its runs and their students once more, all others stay; without `again` nothing is trained."""
    store.mkdir()
    teacher, other = toy("teacher"), toy("other")
    student, pupil = toy("student", teacher=teacher), toy("pupil", teacher=toy("student", teacher=teacher))
    mine = Run("toy", "mine", "synthetic/300w", "smoke", 0, Shared())
    every = [pupil, other, mine]
    for run in every:
        runs.get(run, again=True)
    first = (store / "trained").read_text().split()
    assert sorted(first) == ["mine", "other", "pupil", "student", "teacher"]
    assert all(runs.is_current(run) for run in [*every, student])
    hashed = runs.code_hash
    monkeypatch.setattr(runs, "code_hash", lambda files: "changed" if files == Shared.code else hashed(files))
    assert [runs.is_current(run) for run in (mine, pupil, other)] == [False, True, True]
    for run in every:
        runs.get(run)
    assert (store / "trained").read_text().split() == first
    for _ in range(2):  # the second time there is nothing to do
        for run in every:
            runs.get(run, again=True)
    assert (store / "trained").read_text().split() == [*first, "mine"]
    shutil.rmtree(teacher.folder)  # trained anew by somebody, so its students are not what they would be
    runs.get(teacher)
    assert not runs.is_current(student) and not runs.is_current(pupil)
    runs.get(pupil, again=True)
    assert (store / "trained").read_text().split() == [*first, "mine", "teacher", "student", "pupil"]


def test_needed_runs_are_listed_once_and_first():
    teacher = toy("teacher")
    student = toy("student", teacher=teacher)
    assert runs.needed(toy("pupil", teacher=student)) == [teacher, student, toy("pupil", teacher=student)]


def test_run_that_fails_leaves_no_folder(store: Path, monkeypatch: pytest.MonkeyPatch):
    def fail(self: Toy, run: Run, folder: Path) -> None:
        raise InputError("the loss is nan")

    with monkeypatch.context() as patch:
        patch.setattr(Toy, "train", fail)
        with pytest.raises(InputError):
            runs.get(toy())
    assert not toy().folder.exists()
    assert runs.get(toy()).folder.exists()


@pytest.mark.faults("killed (SIGKILL) while training", "two or eight processes want the same")
def test_killed_run_asked_for_by_two_is_trained_once_to_the_same_weights(
    store: Path, source: DataSource, start: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, injected
):
    """The acceptance test as a whole: kill -9 in the middle, then two processes ask at once for the same run."""
    row = "resnet18-all"
    run = paper.run(row, "smoke", 0, source)
    epochs = run.config.plan.epochs
    killed = start(ASK, row, "stop")
    assert [killed.stdout.readline() for _ in range(2)] == ["asking\n", "in the middle\n"], killed.stderr.read()
    asked = start(ASK, row, "go")
    killed.kill()
    injected("killed (SIGKILL) while training")
    killed.wait()
    assert not run.folder.exists()
    assert asked.stdout.readline() == "asking\n"  # both are ready now
    asked.stdin.write("\n")
    asked.stdin.flush()
    injected("two or eight processes want the same")
    monkeypatch.setattr("fa_lib.training.CHECKPOINT_EVERY", 0)
    mine: list[int] = []
    whole = Stage.train
    monkeypatch.setattr(Stage, "train", lambda *arguments: mine.append(1) or whole(*arguments))
    finished = runs.get(run)
    trained_there = int(asked.communicate(timeout=120)[0].split()[-1])
    assert trained_there == (0 if mine else epochs - 3)  # three epochs of one batch were done before the kill
    assert sorted(os.listdir(run.folder)) == FIVE and list(finished.log["epoch"]) == list(range(epochs))

    monkeypatch.setenv("FA_RUNS", str(tmp_path / "uninterrupted"))
    other = runs.get(run)
    assert other.folder != finished.folder
    assert (other.folder / "model.safetensors").read_bytes() == (finished.folder / "model.safetensors").read_bytes()
    assert all((other.predictions[key] == value).all() for key, value in finished.predictions.items())


def meaning(tmp_path: Path, text: str) -> str:
    (tmp_path / "code.py").write_text(text)
    return runs._meaning(tmp_path / "code.py")


def test_meaning_is_arithmetic_not_words(tmp_path: Path):
    plain = meaning(tmp_path, '"""A."""\nx = 1\n\n\ndef f(a):\n    """Adds."""\n    return a + 1\n')
    assert plain == meaning(tmp_path, '"""B."""\nx = 1  # one\ndef f(a):\n    """Says\n    more."""\n\n    return (a + 1)\n')
    assert plain == meaning(tmp_path, "x = 1\ndef f(a):\n    return a + 1\n")
    for other in ("a - 1", "a + 2", "1 + a", "-a + 1"):
        assert plain != meaning(tmp_path, f"x = 1\ndef f(a):\n    return {other}\n")
    assert plain != meaning(tmp_path, "x = 2\ndef f(a):\n    return a + 1\n")


def test_text_that_is_computed_with_counts(tmp_path: Path):
    assert meaning(tmp_path, "def f(a):\n    return 'b'\n") != meaning(tmp_path, "def f(a):\n    return 'c'\n")


def test_code_hash_covers_every_named_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "fa_lib" / "losses").mkdir(parents=True)
    monkeypatch.setattr(storage, "PROJECT", tmp_path)
    found = set()
    for one, two in (("x = 1", "y = 1"), ("x = 2", "y = 1"), ("x = 1", "y = 2")):
        (tmp_path / "fa_lib" / "training.py").write_text(one)
        (tmp_path / "fa_lib" / "losses" / "landmark.py").write_text(two)
        found.add(runs.code_hash.__wrapped__(("training", "losses/landmark")))
    found.add(runs.code_hash.__wrapped__(("training", "losses/gone")))
    assert len(found) == 4


def test_files_that_decide_results_exist():
    assert len(set(Stage.code)) == len(Stage.code) > 5
    assert all((storage.PROJECT / "fa_lib" / f"{name}.py").exists() for name in Stage.code)


def test_stored_marks_what_other_code_computed(store: Path):
    store.mkdir()
    folders = [runs.get(toy(seed=seed)).folder for seed in (0, 1)]
    assert [entry["stale"] for entry in runs.stored()] == [False, False]
    content = json.loads((folders[1] / "provenance.json").read_text())
    (folders[1] / "provenance.json").write_text(json.dumps({**content, "code": "000000000000"}))
    found = {entry["folder"]: entry["stale"] for entry in runs.stored("toy")}
    assert found == {str(folders[0]): False, str(folders[1]): True}
    assert list(runs.stored("other")) == []


def test_damaged_provenance_is_named(store: Path):
    store.mkdir()
    file = runs.get(toy()).folder / "provenance.json"
    file.write_text("{")
    with pytest.raises(InputError, match=r"provenance\.json does not say what the run is"):
        list(runs.stored())


def test_store_without_room_ends_in_one_sentence(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    (tmp_path / "file").touch()
    monkeypatch.setenv("FA_RUNS", str(tmp_path / "file"))
    with pytest.raises(InputError, match="cannot be written: a file stands where a folder is needed"):
        runs.get(toy())


@pytest.mark.parametrize("profile", runs.PROFILES.values())
def test_profiles_keep_what_they_promise(profile: runs.Profile):
    assert profile.size % 16 == 0 and profile.size >= 32 and len(profile.seeds) >= (3 if profile.recorded else 2)
    assert profile.recorded == (profile.name in ("desk", "full", "paper"))
