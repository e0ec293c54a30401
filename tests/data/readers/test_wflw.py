"""WFLW from small trees in the official format: lines of 207 fields, subset files, progressive pictures."""

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from fa_lib.data.manifests import verify
from fa_lib.data.readers import READERS, wflw
from fa_lib.data.readers.files import Sample

LISTS = "WFLW_annotations/list_98pt_rect_attr_train_test"
POINTS = np.random.default_rng(5).uniform(0, 60, (98, 2)).round(6)
NAME = "36--Football/36_Football_americanfootball_ball_36_415.jpg"
PICTURE = cv2.imencode(".jpg", np.full((48, 64, 3), 90, np.uint8), [cv2.IMWRITE_JPEG_PROGRESSIVE, 1])[1].tobytes()


def line(name: str = NAME, points: np.ndarray = POINTS, box: tuple = (3, 4, 50, 60), flags: str = "0 0 0 0 0 0") -> str:
    return " ".join([*(f"{value:.6f}" for value in points.ravel()), *map(str, box), flags, name])


def put(root: Path, split: str, *lines: str, end: str = "\n", pictures: bool = True) -> None:
    """Writes a split's list and the pictures that it names."""
    (root / LISTS).mkdir(parents=True, exist_ok=True)
    (root / LISTS / f"list_98pt_rect_attr_{split}.txt").write_bytes((end.join(lines) + end).encode())
    (root / "WFLW_images").mkdir(exist_ok=True)
    for name in {text.split()[-1] for text in lines if pictures}:
        path = root / "WFLW_images" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(PICTURE)


def put_subset(root: Path, file: str, *keys: tuple[np.ndarray, str]) -> None:
    path = root / "WFLW_annotations/list_98pt_test" / f"list_98pt_test_{file}.txt"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(" ".join([*(f"{value:.6f}" for value in points.ravel()), name]) + "\n" for points, name in keys))


def only(samples: list[Sample]) -> Sample:
    [sample] = samples
    return sample


def test_line_of_207_fields_is_points_box_attributes_and_name(tmp_path: Path):
    put(tmp_path, "test", line())
    sample = only(wflw.read(tmp_path, "test"))
    assert len(line().split()) == 207
    assert np.array_equal(sample.landmarks, POINTS) and sample.landmarks.dtype == np.float64
    assert sample.box.tolist() == [3, 4, 50, 60] and sample.attributes == () and sample.visible is None
    assert sample.path == tmp_path / "WFLW_images" / NAME and sample.name == NAME.removesuffix(".jpg") == sample.group
    assert sample.subset == "test" and sample.read().shape == (48, 64, 3)


def test_convention_points_are_x_then_y_and_not_shifted(tmp_path: Path):
    put(tmp_path, "train", line(points=np.arange(196.0).reshape(98, 2)))
    assert only(wflw.read(tmp_path, "train")).landmarks[[0, 97]].tolist() == [[0, 1], [194, 195]]


@pytest.mark.parametrize("place", range(6))
def test_attributes_stand_in_their_order_pose_first_illumination_third(tmp_path: Path, place: int):
    put(tmp_path, "test", line(flags=" ".join("1" if i == place else "0" for i in range(6))))
    expected = ("pose", "expression", "illumination", "makeup", "occlusion", "blur")[place]
    assert only(wflw.read(tmp_path, "test")).attributes == (expected,)


def test_subsets_overlap(tmp_path: Path):
    put(tmp_path, "test", line(flags="1 0 0 0 1 1"))
    assert only(wflw.read(tmp_path, "test")).attributes == ("pose", "occlusion", "blur")


def test_several_faces_of_one_photograph_are_one_group_and_have_names_of_their_own(tmp_path: Path):
    put(tmp_path, "train", line(), line(points=POINTS + 5), line("0--Parade/0_Parade_a.jpg"), line(points=POINTS + 9))
    samples = wflw.read(tmp_path, "train")
    stem = NAME.removesuffix(".jpg")
    assert [sample.name for sample in samples] == [stem, f"{stem}#2", "0--Parade/0_Parade_a", f"{stem}#3"]
    assert [sample.group for sample in samples] == [stem, stem, "0--Parade/0_Parade_a", stem]
    assert [sample.path == samples[0].path for sample in samples] == [True, True, False, True]


def test_faces_of_subset_files_are_found_by_first_coordinate_and_name(tmp_path: Path):
    """The name alone would put both faces of the photograph into the subset."""
    put(tmp_path, "train", line())
    put(tmp_path, "test", line(), line(points=POINTS + 5, flags="1 0 0 0 0 0"))
    put_subset(tmp_path, "largepose", (POINTS + 5, NAME))
    assert wflw.subset_keys(tmp_path, "pose") == {(POINTS[0, 0] + 5, NAME.removesuffix(".jpg"))}
    assert not [fault for fault in verify("wflw", tmp_path).faults if "subset" in fault]
    put_subset(tmp_path, "largepose", (POINTS, NAME))
    faults = verify("wflw", tmp_path).faults
    assert any("subset pose names 1 faces that the test list does not flag, and leaves out 1" in fault for fault in faults)


def test_useless_boxes_do_not_matter(tmp_path: Path):
    put(tmp_path, "train", line(box=(900, 900, 901, 905)))
    assert np.array_equal(only(wflw.read(tmp_path, "train")).landmarks, POINTS)


def test_points_outside_the_picture_are_kept(tmp_path: Path):
    points = POINTS.copy()
    points[:2] = (-7.5, 20), (70, 51.25)
    put(tmp_path, "train", line(points=points))
    assert only(wflw.read(tmp_path, "train")).landmarks[:2].tolist() == [[-7.5, 20], [70, 51.25]]


def test_lists_may_have_carriage_returns_and_no_last_line_end(tmp_path: Path):
    put(tmp_path, "train", line(), line(points=POINTS + 1), end="\r\n")
    assert len(wflw.read(tmp_path, "train")) == 2
    path = tmp_path / LISTS / "list_98pt_rect_attr_train.txt"
    path.write_bytes(path.read_bytes().rstrip())
    assert len(wflw.read(tmp_path, "train")) == 2


@pytest.mark.parametrize("parent", ["", "WFLW"])
def test_root_may_be_the_parent_folder(tmp_path: Path, parent: str):
    put(tmp_path / parent, "train", line())
    assert len(wflw.read(tmp_path, "train")) == len(READERS["wflw"].read(tmp_path, "train")) == 1


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (line()[:500], "fields, but 207 are expected"),
        (line() + " x.jpg", "208 fields"),
        (line(NAME[:-6]), "the list is cut off"),
        (line(flags="0 0 2 0 0 0"), "each must be 0 or 1"),
        (line().replace(f"{POINTS[3, 1]:.6f}", "left"), "not a number"),
        (line().replace(f"{POINTS[3, 1]:.6f}", "nan"), "not finite"),
        (line("../../secret.jpg"), "without '..'"),
        (line("0--Parade/../../../secret.jpg"), "without '..'"),
        (line("/etc/secret.jpg"), "outside"),
        (line("C:/secret.jpg"), "outside"),
        (line("..\\secret.jpg"), "without '..'"),
    ],
)
def test_bad_line_is_refused_in_one_sentence(tmp_path: Path, text: str, complaint: str, refusal: Callable):
    put(tmp_path, "test", line(), text, pictures=False)
    sentence = refusal("", wflw.read, tmp_path, "test")
    assert complaint in sentence and ("line 2" in sentence or "secret" in sentence)


def test_link_out_of_the_root_is_refused(tmp_path: Path, refusal: Callable):
    root = tmp_path / "wflw"
    put(root, "train", line())
    (tmp_path / "secret.jpg").write_bytes(PICTURE)
    (root / "WFLW_images" / NAME).unlink()
    (root / "WFLW_images" / NAME).symlink_to(tmp_path / "secret.jpg")
    assert "leads out of" in refusal(NAME, wflw.read, root, "train")
    (root / "WFLW_images" / NAME).unlink()
    (root / "WFLW_images" / "real.jpg").write_bytes(PICTURE)
    (root / "WFLW_images" / NAME).symlink_to(root / "WFLW_images" / "real.jpg")
    assert len(wflw.read(root, "train")) == 1


def test_linked_folder_out_of_the_root_is_refused(tmp_path: Path, refusal: Callable):
    put(tmp_path / "elsewhere", "train", line())
    put(tmp_path / "wflw", "train", line(), pictures=False)
    (tmp_path / "wflw/WFLW_images").rmdir()
    (tmp_path / "wflw/WFLW_images").symlink_to(tmp_path / "elsewhere/WFLW_images")
    assert "leads out of" in refusal("WFLW_images", wflw.read, tmp_path / "wflw", "train")


def test_wrong_folders_are_refused(tmp_path: Path, refusal: Callable):
    assert "no such folder" in refusal(tmp_path / "none", wflw.read, tmp_path / "none", "train")
    assert "empty folder" in refusal(tmp_path, wflw.read, tmp_path, "train")
    (tmp_path / "afw").mkdir()
    for call in (lambda root: wflw.read(root, "train"), lambda root: verify("wflw", root)):
        assert "holds no WFLW_images; give the folder that holds WFLW_images/" in refusal(tmp_path, call, tmp_path)
    assert "train, test" in refusal("full", wflw.read, tmp_path, "full")
    put(tmp_path, "train", line(), pictures=False)
    assert "holds no picture of split train" in refusal(tmp_path, wflw.read, tmp_path, "train")
    assert "list_98pt_rect_attr_test.txt" in refusal("cannot be read", wflw.read, tmp_path, "test")


def test_absent_pictures_are_left_out_and_named(tmp_path: Path):
    put(tmp_path, "train", line(), line("0--Parade/0_Parade_a.jpg"))
    put(tmp_path, "test", line())
    (tmp_path / "WFLW_images/0--Parade/0_Parade_a.jpg").unlink()
    assert only(wflw.read(tmp_path, "train")).group == NAME.removesuffix(".jpg")
    report = verify("wflw", tmp_path)
    assert report.parts[0].missing == ("0--Parade/0_Parade_a",) and report.parts[0].present == 1
    assert any("split train has 2 faces, but the official one has 7,500" in fault for fault in report.faults)


def test_complete_set(tmp_path: Path):
    subsets = {"pose": 326, "expression": 314, "illumination": 698, "makeup": 206, "occlusion": 736, "blur": 773}
    body = " ".join(f"{value:.1f}" for value in POINTS.ravel()[1:])
    for split, count in (("train", 7500), ("test", 2500)):
        flags = [" ".join(str(int(i < bound)) for bound in subsets.values()) for i in range(count)]
        put(tmp_path, split, *[f"{i} {body} 1 2 3 4 {flags[i]} {i % 7}--A/{split}.jpg" for i in range(count)])
    report = verify("wflw", tmp_path)
    assert report.state == "complete" and [part.present for part in report.parts] == [7500, 2500, *subsets.values()]


def test_cut_off_picture_is_named_once(tmp_path: Path):
    put(tmp_path, "test", line(), line(points=POINTS + 1))
    put(tmp_path, "train", line())
    (tmp_path / "WFLW_images" / NAME).write_bytes(PICTURE[: len(PICTURE) // 2])
    report = verify("wflw", tmp_path)
    assert report.state == "wrong" and sum(NAME in fault for fault in report.faults) == 1
