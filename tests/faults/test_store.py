"""Disks that are full or read-only, and crop stores that are damaged: noticed, told, and mended."""

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from fa_lib import runs, storage, training, workers
from fa_lib.data import faces, intact
from fa_lib.errors import InputError

SPARE = b"\x5a"


def chunks(value: int = 7) -> Iterator[dict]:
    """Three faces whose pictures have one value."""
    yield {
        "images": np.full((3, 44, 44, 3), value, np.uint8), "landmarks": np.arange(408.0).reshape(3, 68, 2),
        "matrix": np.tile(np.eye(2, 3), (3, 1, 1)), "names": ["one", "two", "drei ü"], "subset": ["common"] * 3,
        "group": ["a", "b", "c"], "attributes": ["blur", "", ""], "size": 32, "title": "A set", "progress": (3, 3),
    }  # fmt: skip


def opened(builds: list[int] | None = None) -> faces.Faces:
    """The store of those faces; counts in `builds` how often it was built."""

    def build() -> Iterator[dict]:
        (builds if builds is not None else []).append(0)
        return chunks()

    found = faces._open("three", build)[0]
    return replace(found, images=found.images.copy())  # a map would change with the file


def alike(one: faces.Faces, other: faces.Faces) -> bool:
    """Whether two sets of faces are the same in everything that is stored."""
    arrays = ("images", "landmarks", "matrix", "names", "subset", "group", "attributes")
    same = all(np.array_equal(getattr(one, name), getattr(other, name)) for name in arrays)
    return same and (one.size, one.title, one.fingerprint) == (other.size, other.title, other.fingerprint)


@pytest.fixture
def filled(disk: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Leaves so many bytes free on the small disk, which holds runs and crops."""
    monkeypatch.setenv("FA_RUNS", str(disk / "runs"))
    monkeypatch.setenv("FA_CACHE", str(disk / "cache"))

    def fill(free: int) -> None:
        (disk / "filler").unlink(missing_ok=True)
        (disk / "filler").write_bytes(SPARE * (shutil.disk_usage(disk).free - free))

    return fill


@pytest.mark.faults("disk full")
@pytest.mark.parametrize(("free", "every", "kept"), [(100_000, 0.0, 0), (500_000, 0.0, 1), (60_000, 99.0, 0)])
def test_training_on_a_full_disk_ends_in_a_sentence_and_goes_on(
    disk: Path, filled: Callable, tiny: ModuleType, whole: bytes, weights_in: Callable, refusal: Callable, injected,
    monkeypatch: pytest.MonkeyPatch, free: int, every: float, kept: int,
):  # fmt: skip
    """With room for no checkpoint, for one but not for the next beside it, and for none of the weights at the end."""
    monkeypatch.setattr(training, "CHECKPOINT_EVERY", every)
    filled(free)
    injected()
    assert "the disk is full; free space there, or set FA_RUNS" in refusal(disk, runs.get, tiny.RUN)
    left = [path.name for path in disk.rglob("*") if path.is_file() and path.name != "begun" and path.suffix != ".lock"]
    assert sorted(left) == sorted(["filler", *["checkpoint.pt"] * kept])
    (disk / "filler").unlink()
    runs.get(tiny.RUN)
    assert weights_in(disk / "runs") == whole


@pytest.mark.faults("disk full")
def test_crops_and_files_on_a_full_disk_leave_nothing(disk: Path, filled: Callable, refusal: Callable, injected):
    """Nothing half-written is there, and what was there before stays."""
    storage.write_json(disk / "old.json", {"old": 1})
    filled(12_000)
    injected()
    assert "the disk is full" in refusal(disk, opened)
    assert not [path for path in (disk / "cache").rglob("*") if path.suffix != ".lock"]
    injected()
    assert "the disk is full" in refusal(disk, storage.write_json, disk / "old.json", list(range(9999)))
    assert sorted(os.listdir(disk)) == ["cache", "filler", "old.json"] and "old" in (disk / "old.json").read_text()
    filled(200_000)
    assert (opened().images == 7).all()


@pytest.mark.faults("read-only store")
def test_read_only_store_is_read_and_says_what_it_cannot_take(
    disk: Path, filled: Callable, tiny: ModuleType, whole: bytes, weights_in: Callable, refusal: Callable, injected
):
    """Finished runs and crops are used as ever; what is missing is refused, also by the workers of `fa reproduce`."""
    runs.get(tiny.RUN)
    before = opened()
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    injected()
    found = runs.get(tiny.RUN)
    assert weights_in(disk / "runs") == whole and found.network() and [run["id"] for run in runs.stored()] == [tiny.RUN.id]
    assert alike(opened(), before)
    other = runs.Run("tiny", "other", "noise", "smoke", 0, tiny.Tiny())
    for call in (
        lambda: runs.get(other),
        lambda: faces._open("other", chunks),
        lambda: storage.write_json(disk / "a.json", {}),
        lambda: workers._train_chain("scaf", "smoke", None, None, [], 0),
    ):
        injected()
        assert "cannot be written: the disk is read-only" in refusal(disk, call)


@pytest.mark.faults("crop store damaged")
@pytest.mark.parametrize("name", ["images.bin", "index.npz", "meta.json"])
@pytest.mark.parametrize("damage", ["bit", "cut", "longer", "zeros", "gone"])
def test_damaged_crop_store_is_built_again(cache: Path, capsys: pytest.CaptureFixture, injected, name: str, damage: str):
    """A bit that has flipped anywhere, an end that is missing: the same faces, from a store that was built twice."""
    builds: list[int] = []
    before = opened(builds)
    file, data = cache / "three" / name, (cache / "three" / name).read_bytes()
    places = np.random.default_rng(0).integers(0, len(data), 20) if damage == "bit" else [len(data) // 2]
    for place in map(int, places):
        flipped = data[:place] + bytes([data[place] ^ 1 << place % 8]) + data[place + 1 :]
        changed = {"bit": flipped, "cut": data[:place], "longer": data + b"\n}", "zeros": bytes(len(data)), "gone": b""}[damage]
        known = file.stat()
        file.write_bytes(changed)
        os.utime(file, ns=(known.st_atime_ns, known.st_mtime_ns + 1))  # written a moment later
        if damage == "gone":
            file.unlink()
        injected()
        count = len(builds)
        assert alike(opened(builds), before)
        if len(builds) == count:  # read as it is: then it holds the same
            assert name != "images.bin" and damage in ("bit", "longer")
            file.write_bytes(data)
        elif damage != "gone":
            assert "three cannot be read (" in capsys.readouterr().err
        assert file.read_bytes() != changed and sorted(os.listdir(cache)) == ["three", "three.lock"]


@pytest.mark.faults("crop store damaged")
def test_large_crop_store_is_hashed_only_where_it_was_written_to(
    cache: Path, monkeypatch: pytest.MonkeyPatch, injected, tmp_path: Path
):
    """A copy is hashed once and then known; a picture that changed is noticed, and another size at any time."""
    monkeypatch.setattr(intact, "ALWAYS", 1000)
    hashed, builds, whole = [], [], intact._sha256
    monkeypatch.setattr(intact, "_sha256", lambda *arguments: hashed.append(0) or whole(*arguments))
    before, file = opened(builds), cache / "three" / "images.bin"
    opened(builds)
    assert len(hashed) == 0 and len(builds) == 1
    os.utime(file, (1e9, 1e9))  # as a copy is: another time, the same bytes
    for _ in range(2):
        assert alike(opened(builds), before)
    assert len(hashed) == 1 and len(builds) == 1
    with file.open("r+b") as opened_file:
        opened_file.write(SPARE)
    os.utime(file, (2e9, 2e9))
    injected()
    assert alike(opened(builds), before) and len(builds) == 2
    written = file.stat().st_mtime_ns
    with file.open("r+b") as opened_file:
        opened_file.truncate(file.stat().st_size + 1)  # a map of fewer bytes than there are would open
    os.utime(file, ns=(written, written))
    injected()
    assert alike(opened(builds), before) and len(builds) == 3


@pytest.mark.faults("clock set back")
def test_crop_store_of_the_future_is_opened_as_ever(cache: Path, injected):
    """Times are compared for being the same, never for being later."""
    builds: list[int] = []
    before = opened(builds)
    for when in (4e9, 1.0):
        for path in [cache, *cache.rglob("*")]:
            os.utime(path, (when, when))
        injected()
        assert alike(opened(builds), before)
    assert len(builds) == 1


def test_stores_of_old_have_no_seal_and_are_read(cache: Path):
    """Such as were built before pictures were checked."""
    import json

    builds: list[int] = []
    before, file = opened(builds), cache / "three" / "meta.json"
    meta = json.loads(file.read_text())
    file.write_text(json.dumps({key: meta[key] for key in ("size", "title", "shape", "fingerprint")}))
    assert alike(opened(builds), before) and len(builds) == 1


@pytest.mark.parametrize("error", [InputError("no"), KeyError("no")])
def test_other_errors_of_workers_pass_as_they_are(error: Exception):
    with pytest.raises(type(error), match="no"), workers.Workers(jobs=1):
        raise error
