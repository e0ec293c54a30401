"""COFW from small v7.3 files in the official form (references, transposed arrays), COFW-68 from its small Matlab files."""

import pickle
import shutil
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
import scipy.io

from fa_lib.data.manifests import verify
from fa_lib.data.readers import READERS, cofw

RANDOM = np.random.default_rng(7)
COLOUR = RANDOM.integers(0, 256, (6, 9, 3), np.uint8)  # higher than wide or wider than high would hide a transposition
GREY = RANDOM.integers(0, 256, (7, 5), np.uint8)
POINTS = RANDOM.uniform(1, 9, (2, 29, 2)).round(3)
HIDDEN = RANDOM.random((2, 29)) < 0.23
POINTS_68 = RANDOM.uniform(1, 9, (68, 2)).round(3)
END = {"train": "Tr", "test": "T"}


def put(root: Path, split: str, *pictures: np.ndarray, change: dict[str, np.ndarray | None] | None = None) -> Path:
    """A file as Matlab writes it: a header of 512 bytes, arrays transposed, pictures behind references."""
    root.mkdir(parents=True, exist_ok=True)
    path, end, count = root / f"COFW_{split}_color.mat", END[split], len(pictures)
    rows = [np.concatenate([POINTS[i % 2, :, 0], POINTS[i % 2, :, 1], HIDDEN[i % 2]]) for i in range(count)]
    arrays = {f"phis{end}": np.reshape(rows, (-1, 87)), f"bboxes{end}": np.tile([2.0, 3, 4, 5], (count, 1))} | (change or {})
    with h5py.File(path, "w", userblock_size=512) as file:
        cells = [file.create_dataset(f"#refs#/{i}", data=picture.T) for i, picture in enumerate(pictures)]
        file.create_dataset(f"Is{end}", data=np.array([[cell.ref for cell in cells]], h5py.ref_dtype))
        for name, values in arrays.items():
            if values is not None:
                file.create_dataset(name, data=values.T)
    with path.open("r+b") as file:
        file.write(b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(116))
    return path


def put_68(root: Path, *numbers: int, points: np.ndarray = POINTS_68, hidden: np.ndarray | None = None) -> Path:
    """Points of the pictures with these numbers, from 1; each number is added to the points."""
    folder = root / "COFW68_Data/test_annotations"
    folder.mkdir(parents=True, exist_ok=True)
    occluded = np.zeros((1, 68), np.uint8) if hidden is None else hidden
    for number in numbers:
        scipy.io.savemat(folder / f"{number}_points.mat", {"Points": points + number, "Occ": occluded})
    return folder


@pytest.mark.parametrize("split", ["train", "test"])
def test_faces_are_in_the_order_of_the_file(tmp_path: Path, split: str):
    path = put(tmp_path, split, COLOUR, GREY, COLOUR)
    samples = READERS["cofw"].read(tmp_path, split)
    assert [sample.name for sample in samples] == [f"{split}/0001", f"{split}/0002", f"{split}/0003"]
    assert {sample.subset for sample in samples} == {split} and {sample.path for sample in samples} == {path}
    assert len({sample.group for sample in samples}) == 3


def test_convention_points_count_from_one_and_are_all_x_then_all_y(tmp_path: Path):
    put(tmp_path, "test", COLOUR, COLOUR)
    for sample, points in zip(cofw.read(tmp_path, "test"), POINTS):
        assert np.array_equal(sample.landmarks, points - 1) and sample.landmarks.shape == (29, 2)


def test_flag_of_one_says_occluded(tmp_path: Path):
    put(tmp_path, "test", COLOUR, COLOUR)
    for sample, hidden in zip(cofw.read(tmp_path, "test"), HIDDEN):
        assert sample.visible.dtype == bool and np.array_equal(sample.visible, ~hidden)


def test_box_is_x_y_width_height_from_one(tmp_path: Path):
    put(tmp_path, "test", COLOUR)
    assert cofw.read(tmp_path, "test")[0].box.tolist() == [1, 2, 5, 7]


def test_pictures_are_transposed_back_and_stay_rgb(tmp_path: Path):
    put(tmp_path, "train", GREY, COLOUR)
    image = cofw.read(tmp_path, "train")[1].read()
    assert image.dtype == np.uint8 and np.array_equal(image, COLOUR) and image.flags.c_contiguous


def test_grey_pictures_get_three_channels(tmp_path: Path):
    put(tmp_path, "train", COLOUR, GREY)
    assert np.array_equal(cofw.read(tmp_path, "train")[1].read(), np.stack([GREY] * 3, 2))


def test_pictures_are_read_when_they_are_needed(tmp_path: Path, refusal: Callable):
    """Not before, and by a process that got the sample from another."""
    path = put(tmp_path, "train", COLOUR, GREY)
    sample = pickle.loads(pickle.dumps(cofw.read(tmp_path, "train")[0]))
    assert np.array_equal(sample.read(), COLOUR)
    path.unlink()
    assert "no Matlab file" in refusal(path, sample.read)


@pytest.mark.parametrize("parent", ["", "COFW_color", "a/b"])
def test_files_may_lie_below_the_root(tmp_path: Path, parent: str):
    put(tmp_path / parent, "test", COLOUR)
    assert len(cofw.read(tmp_path, "test")) == 1


def test_file_cut_off_is_refused(tmp_path: Path, refusal: Callable):
    path = put(tmp_path, "test", COLOUR, GREY)
    data = path.read_bytes()
    for length in (0, 100, 512, 600, len(data) // 2, len(data) - 1):
        path.write_bytes(data[:length])
        refusal(path, cofw.read, tmp_path, "test")


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"phisT": None}, "no variable phisT"),
        ({"phisT": np.ones((1, 58))}, "phisT is 1 x 58, but 1 rows of 87"),
        ({"phisT": np.ones((2, 87))}, "phisT is 2 x 87, but 1 rows of 87"),
        ({"phisT": np.full((1, 87), 0.5)}, "flags of phisT must be 0 or 1"),
        ({"phisT": np.full((1, 87), np.nan)}, "row 1 of phisT"),
        ({"bboxesT": np.ones((1, 5))}, "bboxesT is 1 x 5"),
    ],
)
def test_other_variables_are_refused(tmp_path: Path, change: dict, complaint: str, refusal: Callable):
    path = put(tmp_path, "test", COLOUR, change=change)
    assert complaint in refusal(path, cofw.read, tmp_path, "test")


def test_cells_that_are_no_pictures_are_refused(tmp_path: Path, refusal: Callable):
    path = put(tmp_path, "test", COLOUR, np.zeros((6, 9, 4), np.uint8))
    assert "cell 2 of IsT is 6 x 9 x 4" in refusal(path, cofw.read, tmp_path, "test")
    path = put(tmp_path, "test", COLOUR.astype(np.float64))
    assert "float64, but a picture in uint8" in refusal(path, cofw.read(tmp_path, "test")[0].read)


def test_file_of_an_older_version_is_refused(tmp_path: Path, refusal: Callable):
    scipy.io.savemat(tmp_path / "COFW_test_color.mat", {"IsT": np.array([COLOUR, GREY], object)})
    assert "version 7.3" in refusal("COFW_test_color.mat", cofw.read, tmp_path, "test")


def test_training_file_under_the_name_of_the_test_file_is_refused(tmp_path: Path, refusal: Callable):
    shutil.copy(put(tmp_path, "train", COLOUR), tmp_path / "COFW_test_color.mat")
    assert "no variable IsT" in refusal("COFW_test_color.mat", cofw.read, tmp_path, "test")


def test_link_out_of_the_root_is_refused(tmp_path: Path, refusal: Callable):
    path = put(tmp_path / "elsewhere", "test", COLOUR)
    (tmp_path / "cofw").mkdir()
    (tmp_path / "cofw" / path.name).symlink_to(path)
    assert "leads out of" in refusal(path.name, cofw.read, tmp_path / "cofw", "test")


@pytest.mark.parametrize(("name", "read"), [("cofw", cofw.read), ("cofw68", cofw.read_68)])
def test_wrong_folders_are_refused(tmp_path: Path, name: str, read, refusal: Callable):
    assert "no such folder" in refusal(tmp_path / "none", read, tmp_path / "none", "test")
    (tmp_path / "COFW_test.mat").write_bytes(b"x")  # the grey archive
    for call in (lambda root: read(root, "test"), lambda root: verify(name, root)):
        assert "_color.mat; give the folder that holds" in refusal(tmp_path, call, tmp_path)
    assert "test" in refusal("full", read, tmp_path, "full")


def test_complete_set_and_what_is_missing(tmp_path: Path):
    put(tmp_path, "test", *[GREY[:2, :3]] * 507)
    report = verify("cofw", tmp_path)
    assert report.state == "partial" and report.parts[0].missing == ("COFW_train_color.mat",) and report.parts[1].present == 507
    path = put(tmp_path, "train", *[GREY[:2, :3]] * 1345)
    assert verify("cofw", tmp_path).state == "complete"
    path.write_bytes(path.read_bytes()[:-5])
    report = verify("cofw", tmp_path)
    assert report.state == "wrong" and "COFW_train_color.mat" in report.faults[0] and report.parts[1].present == 507
    put(tmp_path, "train", COLOUR)
    assert "holds 1 faces, but the official file has 1,345" in verify("cofw", tmp_path).faults[0]


def test_68_points_count_from_one_and_belong_to_the_picture_of_their_number(tmp_path: Path):
    """By number, not by name: 10_points.mat stands before 2_points.mat."""
    put(tmp_path, "test", COLOUR, *[GREY] * 10)
    put_68(tmp_path, *range(1, 12))
    samples = READERS["cofw68"].read(tmp_path, "test")
    assert [sample.name for sample in samples] == [f"test/{i:04}" for i in range(1, 12)]
    for number, sample in enumerate(samples, start=1):
        assert np.allclose(sample.landmarks, POINTS_68 + number - 1) and sample.landmarks.shape == (68, 2)
    assert np.array_equal(samples[0].read(), COLOUR) and samples[0].box is None


def test_68_flags_and_boxes(tmp_path: Path):
    hidden = (RANDOM.random((1, 68)) < 0.2).astype(np.uint8)
    put(tmp_path, "test", COLOUR)
    folder = put_68(tmp_path, 1, hidden=hidden)
    scipy.io.savemat(folder.parent / "cofw68_test_bboxes.mat", {"bboxes": np.array([[2.0, 3, 4, 5]])})
    [sample] = cofw.read_68(tmp_path, "test")
    assert np.array_equal(sample.visible, hidden[0] == 0) and sample.box.tolist() == [1, 2, 5, 7]


def test_68_points_without_picture_and_picture_without_points_are_refused(tmp_path: Path, refusal: Callable):
    put(tmp_path, "test", COLOUR, GREY)
    put_68(tmp_path, 1, 3)
    assert "has 2 pictures" in refusal("3_points.mat", cofw.read_68, tmp_path, "test")
    (tmp_path / "COFW68_Data/test_annotations/3_points.mat").unlink()
    assert "no such file" in refusal("2_points.mat", cofw.read_68, tmp_path, "test")


def test_68_points_of_another_kind_are_refused(tmp_path: Path, refusal: Callable):
    put(tmp_path, "test", COLOUR)
    put_68(tmp_path, 1, points=POINTS_68[:29])
    assert "Points is 29 x 2" in refusal("1_points.mat", cofw.read_68, tmp_path, "test")
    put_68(tmp_path, 1, hidden=np.full((1, 68), 2))
    assert "must be 0 or 1" in refusal("1_points.mat", cofw.read_68, tmp_path, "test")


def test_68_complete_set_and_what_is_missing(tmp_path: Path):
    put(tmp_path, "test", *[GREY[:2, :3]] * 507)
    folder = put_68(tmp_path, *range(1, 508))
    assert verify("cofw68", tmp_path).state == "complete"
    (folder / "44_points.mat").unlink()
    (folder / "10_points.mat").write_bytes((folder / "10_points.mat").read_bytes()[:300])
    put_68(tmp_path, 508)
    report = verify("cofw68", tmp_path)
    assert report.state == "wrong" and report.parts[0].missing == ("44_points.mat",)
    assert report.parts[0].unexpected == ("508_points.mat",) and "10_points.mat" in report.faults[0]
