"""The private test set of 300-W, Masked 300W, and the content of 300-W's pictures, from small trees in the official form."""

import hashlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from fa_lib.data import manifests
from fa_lib.data.manifests import load, verify
from fa_lib.data.readers import READERS, files, w300

POINTS = np.random.default_rng(3).uniform(1, 60, (68, 2)).round(6)
PICTURE = cv2.imencode(".png", np.zeros((4, 5, 3), np.uint8))[1].tobytes()


def pts(points: np.ndarray = POINTS) -> str:
    """One blank after n_points:, as in the private set; the public one has two."""
    return "\r\n".join(["version: 1", f"n_points: {len(points)}", "{", *(f"{x:.6f} {y:.6f}" for x, y in points), "}"])


def put(root: Path, *names: str, suffix: str = ".png") -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / f"{name}{suffix}").write_bytes(PICTURE)
        (root / f"{name}.pts").write_text(pts())


def private_names(count: int = 300) -> list[str]:
    kinds = (("01_Indoor", "indoor"), ("02_Outdoor", "outdoor"))
    return [f"{folder}/{kind}_{i:03}" for folder, kind in kinds for i in range(1, count + 1)]


@pytest.mark.parametrize("parent", ["", "300W", "Test", "300W/300W"])
def test_private_set_is_read_below_every_name_of_its_parent(tmp_path: Path, parent: str):
    put(tmp_path / parent, *private_names(2))
    samples = READERS["300w_private"].read(tmp_path, "test")
    assert [sample.name for sample in samples] == private_names(2)
    assert [sample.subset for sample in samples] == ["indoor", "indoor", "outdoor", "outdoor"]
    assert np.allclose(samples[0].landmarks, POINTS - 1) and len({sample.group for sample in samples}) == 4
    assert [sample.name for sample in w300.read_private(tmp_path, "outdoor")] == private_names(2)[2:]


def test_private_folder_is_02_outdoor_not_01_outdoor(tmp_path: Path, refusal: Callable):
    put(tmp_path, "02_Outdoor/outdoor_001")
    assert len(w300.read_private(tmp_path, "test")) == 1
    (tmp_path / "02_Outdoor").rename(tmp_path / "01_Outdoor")
    assert "02_Outdoor/" in refusal(tmp_path, w300.read_private, tmp_path, "test")


def test_private_set_complete_and_partial(tmp_path: Path):
    put(tmp_path, *private_names())
    report = verify("300w_private", tmp_path)
    assert report.state == "complete" and [part.present for part in report.parts] == [300, 300]
    for suffix in (".png", ".pts"):
        (tmp_path / f"02_Outdoor/outdoor_044{suffix}").unlink()
    put(tmp_path, "01_Indoor/indoor_301")
    report = verify("300w_private", tmp_path)
    assert report.state == "partial" and report.parts[1].missing == ("02_Outdoor/outdoor_044",)
    assert report.parts[0].unexpected == ("01_Indoor/indoor_301",)


def test_private_set_is_not_in_the_folder_of_the_public_one(tmp_path: Path, refusal: Callable):
    put(tmp_path, "afw/5452623_1", "ibug/image_006")
    assert "holds no 01_Indoor" in refusal(tmp_path, w300.read_private, tmp_path, "test")
    assert "indoor, outdoor" in refusal("common", w300.read_private, tmp_path, "common")


@pytest.mark.parametrize("parent", ["", "Masked_300W", "Masked 300W", "databases/Masked_300W"])
def test_masked_faces_are_read_by_300w_names(tmp_path: Path, parent: str):
    put(tmp_path / parent, "ibug/image_003_1", "ibug/image_09", "ibug/image_092 _01", suffix=".jpg")
    samples = READERS["masked_300w"].read(tmp_path, "challenging")
    assert [sample.name for sample in samples] == ["ibug/image_003_1", "ibug/image_09", "ibug/image_092 _01"]
    assert {sample.subset for sample in samples} == {"challenging"} and samples[2].group == "ibug/image_092"
    assert np.allclose(samples[0].landmarks, POINTS - 1)
    report = verify("masked_300w", tmp_path)
    part = next(part for part in report.parts if part.name == "ibug")
    assert (part.present, part.expected) == (3, 135) and not part.unexpected and report.state == "partial"


def test_folder_of_300w_itself_is_not_taken_for_the_masked_one(tmp_path: Path, refusal: Callable):
    put(tmp_path, "afw/5452623_1", "ibug/image_006")
    for call in (lambda root: w300.read_masked(root, "full"), lambda root: verify("masked_300w", root)):
        assert "it is 300-W itself" in refusal(tmp_path, call, tmp_path)


def test_pictures_of_300w_itself_are_not_taken_for_masked_ones(tmp_path: Path):
    name = "lfpw/testset/image_0001"
    put(tmp_path, "ibug/image_006", name)
    size = w300.official_faces()[name]
    assert verify("masked_300w", tmp_path).state == "partial"
    (tmp_path / f"{name}.png").write_bytes(PICTURE[:-12] + bytes(0) + PICTURE[-12:] + bytes(size - len(PICTURE)))
    assert any("1 pictures have the size of 300-W's own" in fault for fault in verify("masked_300w", tmp_path).faults)


def test_boxes_of_four_corners_are_not_taken_for_landmarks(tmp_path: Path, refusal: Callable):
    put(tmp_path, "ibug/image_006")
    (tmp_path / "ibug/image_006.pts").write_text(pts(POINTS[:4]))
    assert "has 4 points, but 68" in refusal("image_006.pts", w300.read_masked, tmp_path, "challenging")


def test_link_out_of_the_root_is_refused(tmp_path: Path, refusal: Callable):
    root = tmp_path / "300w"
    put(root, "ibug/image_006", "ibug/image_007")
    put(tmp_path, "secret")
    (root / "ibug/image_007.png").unlink()
    (root / "ibug/image_007.png").symlink_to(tmp_path / "secret.png")
    assert "leads out of" in refusal("image_007.png", w300.read_300w, root, "challenging")
    assert any("leads out of" in fault for fault in verify("300w", root).faults)
    (tmp_path / "lfpw/testset").mkdir(parents=True)
    (root / "lfpw").symlink_to(tmp_path / "lfpw")
    assert "leads out of" in refusal("lfpw", w300.read_300w, root, "common")


@pytest.fixture
def known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of 300-W with three faces, whose sums are in a table of the official form."""
    put(tmp_path / "300w", "ibug/image_006", "ibug/image_007", "ibug/image_092 _01")
    rows = [f"{name}.png\t{hashlib.sha256(PICTURE).hexdigest()}\t{len(PICTURE)}" for name in ("ibug/image_006", "ibug/image_007")]
    (tmp_path / "sums.tsv").write_text("\n".join(["# sums", *rows, f"ibug/image_008_1.jpg\t{'0' * 64}\t9", ""]))
    monkeypatch.setattr(files, "MANIFESTS", tmp_path)
    return tmp_path / "300w"


def test_checksums_are_compared_where_the_size_is_the_official_one(known: Path):
    manifest = replace(load("300w"), checksums="sums.tsv")
    found = w300.check_content(known, manifest)
    assert not found.faults and "2 of 3 known pictures are the official files, 1 are absent" in found.notes[0]
    (known / "ibug/image_006.png").write_bytes(PICTURE[:50] + bytes([PICTURE[50] ^ 1]) + PICTURE[51:])
    (known / "ibug/image_007.png").write_bytes(PICTURE + b"x")
    found = w300.check_content(known, manifest)
    assert len(found.faults) == 1 and "image_006.png: has the official size, but other content" in found.faults[0]
    assert "0 of 3 known pictures are the official files, 2 are absent or of another size" in found.notes[0]


def test_table_of_checksums_agrees_with_the_list_of_faces():
    sizes = w300.official_faces()
    lines = (manifests.FOLDER / load("300w").checksums).read_text().splitlines()
    rows = [line.split("\t") for line in lines if not line.startswith("#")]
    assert len(rows) == 2566 == sum(size is not None for size in sizes.values())
    for name, sha256, size in rows:
        assert sizes[name.rpartition(".")[0]] == int(size) and len(sha256) == 64


def test_checksums_are_asked_for(tmp_path: Path, refusal: Callable):
    put(tmp_path, "ibug/image_006", *private_names(1))
    assert not any("sha256" in note for note in verify("300w", tmp_path).notes)
    assert any("sha256" in note for note in verify("300w", tmp_path, checksums=True).notes)
    assert "knows no checksums" in refusal("300w_private", lambda: verify("300w_private", tmp_path, checksums=True))


@pytest.mark.parametrize("name", ["300w", "300w_private", "masked_300w", "wflw", "cofw", "cofw68", "aflw"])
def test_reader_has_the_splits_of_its_manifest(name: str):
    assert READERS[name].splits == tuple(load(name).splits)
