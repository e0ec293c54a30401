"""AFLW from the official annotation file, 24,386 faces of it made up, over a few pictures."""

import shutil
from collections.abc import Callable
from functools import cache
from pathlib import Path

import cv2
import numpy as np
import pytest
import scipy.io

from fa_lib.data.manifests import verify
from fa_lib.data.readers import READERS, aflw
from fa_lib.data.readers.files import Sample

PICTURE = cv2.imencode(".jpg", np.full((48, 64, 3), 90, np.uint8))[1].tobytes()


@cache
def variables(count: int, train: int) -> dict[str, np.ndarray]:
    """Variables in the official form: a photograph has 30 faces; three tenths of the test faces have all points visible."""
    random = np.random.default_rng(6)
    order = random.permutation(count) + 1
    mask = np.ones((count, 19), np.uint8)
    mask[np.arange(count), random.integers(0, 19, count)] = 0
    mask[order[train : train + round((count - train) * 0.2996)] - 1] = 1
    mask[order[: train // 3] - 1] = 1  # and of the training faces, too
    names = np.array([f"{(0, 2, 3)[i // 30 % 3]}/image{i // 30:05}.jpg" for i in range(count)], object)
    return {
        "nameList": names.reshape(-1, 1),
        "bbox": np.tile([10.0, 50, 20, 80], (count, 1)) + np.arange(count)[:, None],
        "data": np.arange(38.0) + np.arange(count)[:, None] / 4,
        "mask_new": mask,
        "ra": order[None],
    }


COUNT, TRAIN = 480, 400


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A set of 480 faces, the last 80 for tests, and the first three of its 16 photographs."""
    monkeypatch.setattr(aflw, "FACES", COUNT)
    monkeypatch.setattr(aflw, "TRAIN", TRAIN)
    change(tmp_path)
    for name in ("0/image00000.jpg", "2/image00001.jpg", "3/image00002.jpg"):
        put(tmp_path, name)
    return tmp_path


def put(root: Path, name: str) -> Path:
    path = root / "aflw/data/flickr" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(PICTURE)
    return path


def change(root: Path, **others: np.ndarray | None) -> None:
    """Writes the annotation file with other variables, None: without it."""
    values = {key: value for key, value in (variables(COUNT, TRAIN) | others).items() if value is not None}
    scipy.io.savemat(root / "AFLWinfo_release.mat", values)


def face(samples: list[Sample], row: int) -> Sample:
    """The sample of a row of the annotation file, by its first coordinate."""
    return next(sample for sample in samples if sample.landmarks[0, 0] == row / 4)


def all_faces(root: Path) -> list[Sample]:
    return aflw.listed(root, "train") + aflw.listed(root, "full")


def test_complete_set_has_the_official_counts_and_order(tmp_path: Path):
    made = variables(24386, 20000)
    scipy.io.savemat(tmp_path / "AFLWinfo_release.mat", made)
    for name in dict.fromkeys(made["nameList"].ravel()):
        put(tmp_path, name)
    report = verify("aflw", tmp_path)
    assert report.state == "complete" and [part.present for part in report.parts] == [20000, 4386, 1314]
    full = aflw.read(tmp_path, "full")
    assert [sample.landmarks[0, 0] * 4 for sample in full] == (made["ra"][0, 20000:] - 1).tolist()
    assert {sample.subset for sample in full} == {"full"}


def test_training_faces_are_the_first_of_ra(root: Path):
    train = aflw.listed(root, "train")
    assert [sample.landmarks[0, 0] * 4 for sample in train] == (variables(COUNT, TRAIN)["ra"][0, :TRAIN] - 1).tolist()
    assert {sample.subset for sample in train} == {"train"}


def test_ra_counts_from_one(root: Path, refusal: Callable):
    order = np.arange(1, COUNT + 1)[None]
    change(root, ra=order)
    assert aflw.listed(root, "train")[0].landmarks[0, 0] == 0 and aflw.listed(root, "full")[0].landmarks[0, 0] == 100
    change(root, ra=order - 1)
    assert "ra is not an order of the faces 1 to 480" in refusal("AFLWinfo_release.mat", aflw.read, root, "train")


def test_frontal_is_the_test_faces_with_all_points_visible(root: Path):
    """Not those that lie inside their box as well: the first point of these faces never does, so that rule would leave none."""
    frontal, full = aflw.listed(root, "frontal"), aflw.listed(root, "full")
    assert len(frontal) == 24 and all(sample.visible.all() for sample in frontal)
    assert [s.name for s in full if "frontal" in s.attributes] == [s.name for s in frontal]
    assert not any(sample.attributes for sample in aflw.listed(root, "train"))


def test_box_is_x1_x2_y1_y2_in_the_file(root: Path):
    assert face(all_faces(root), 7).box.tolist() == [17, 27, 57, 87]


def test_convention_points_are_all_x_then_all_y_and_not_shifted(root: Path):
    sample = face(all_faces(root), 40)
    assert sample.landmarks[[0, 18]].tolist() == [[10, 29], [28, 47]] and sample.landmarks.shape == (19, 2)


def test_mask_is_one_for_visible_points(root: Path):
    assert face(all_faces(root), 40).visible.tolist() == (variables(COUNT, TRAIN)["mask_new"][40] == 1).tolist()


def test_name_that_ends_in_png_finds_the_jpg(root: Path):
    names = variables(COUNT, TRAIN)["nameList"].copy()
    names[:30] = "0/image00000.png"
    change(root, nameList=names)
    paths = {sample.path.name for sample in all_faces(root) if sample.group == "0/image00000" and sample.path.is_file()}
    assert paths == {"image00000.jpg"}
    put(root, "0/image00000.png")  # where both are there, the name in the list counts
    assert {s.path.name for s in all_faces(root) if s.group == "0/image00000"} == {"image00000.png"}


def test_faces_of_one_photograph_share_a_group(root: Path):
    groups = [sample.group for sample in all_faces(root)]
    assert len(set(groups)) == 16 and groups.count("0/image00000") == 30
    assert len({sample.name for sample in all_faces(root)}) == COUNT
    assert face(all_faces(root), 0).name == "0/image00000" and face(all_faces(root), 29).name == "0/image00000#30"


def test_faces_without_a_picture_are_left_out_and_named(root: Path, refusal: Callable):
    read = [sample for split in ("train", "full") for sample in READERS["aflw"].read(root, split)]
    assert len(read) == 90 and {sample.read().shape for sample in read[:2]} == {(48, 64, 3)}
    report = verify("aflw", root)
    assert sum(part.present for part in report.parts[:2]) == 90
    assert "3/image00005" in report.parts[0].missing and "0/image00000" not in report.parts[0].missing
    shutil.rmtree(root / "aflw/data/flickr/0")
    shutil.rmtree(root / "aflw/data/flickr/2")
    shutil.rmtree(root / "aflw/data/flickr/3")
    assert "holds no picture of split full" in refusal("flickr", aflw.read, root, "full")


def test_cut_off_picture_is_named_once(root: Path):
    put(root, "2/image00001.jpg").write_bytes(PICTURE[:100])
    report = verify("aflw", root)
    assert report.state == "wrong" and sum("image00001" in fault for fault in report.faults) == 1


@pytest.mark.parametrize(
    ("name", "complaint"),
    [("../../secret.jpg", "without '..'"), ("/etc/secret.jpg", "outside"), ("0/link.jpg", "leads out of")],
)
def test_names_that_leave_the_folder_are_refused(root: Path, name: str, complaint: str, refusal: Callable):
    (root / "secret.jpg").write_bytes(PICTURE)
    (root / "aflw/data/flickr/0/link.jpg").symlink_to(root / "secret.jpg")
    names = variables(COUNT, TRAIN)["nameList"].copy()
    names[3] = name
    change(root, nameList=names)
    split = "train" if 4 in variables(COUNT, TRAIN)["ra"][0, :20000] else "full"
    assert complaint in refusal(name, aflw.read, root, split)


@pytest.mark.parametrize(
    ("others", "complaint"),
    [
        ({"mask_new": None}, "no variable mask_new"),
        ({"data": np.zeros((COUNT, 42))}, "data is 480 x 42, but 480 rows of 38"),
        ({"bbox": np.zeros((211, 4))}, "bbox is 211 x 4"),
        ({"nameList": np.array([["0/a.jpg"]] * 20, object)}, "has 20 faces, but the official file has 480"),
        ({"mask_new": np.full((COUNT, 19), 2)}, "must hold 0 and 1"),
        ({"data": np.full((COUNT, 38), np.nan)}, "row 1 of data"),
    ],
)
def test_another_annotation_file_is_refused(root: Path, others: dict, complaint: str, refusal: Callable):
    change(root, **others)
    assert complaint in refusal("AFLWinfo_release.mat", aflw.read, root, "train")


def test_annotation_file_cut_off_is_refused(root: Path, refusal: Callable):
    path = root / "AFLWinfo_release.mat"
    data = path.read_bytes()
    for length in (0, 100, 500, len(data) // 2, len(data) - 1000):
        path.write_bytes(data[:length])
        refusal(path, aflw.read, root, "train")


def test_wrong_folders_are_refused(tmp_path: Path, refusal: Callable):
    assert "no such folder" in refusal(tmp_path / "none", aflw.read, tmp_path / "none", "train")
    (tmp_path / "WFLW_images").mkdir()
    for call in (lambda root: aflw.read(root, "full"), lambda root: verify("aflw", root)):
        assert "holds no AFLWinfo_release.mat; give the folder that holds" in refusal(tmp_path, call, tmp_path)
    change(tmp_path)
    assert "holds no flickr" in refusal(tmp_path, aflw.read, tmp_path, "full")
    assert "train, full, frontal" in refusal("test", aflw.read, tmp_path, "test")
