"""CelebA, AffectNet and VGGFace2 as small trees in their exact official formats, and every trap of theirs."""

import hashlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fa_lib.data import load, manifests
from fa_lib.data.manifests import verify
from fa_lib.data.readers import READERS, unlabelled
from fa_lib.data.readers.unlabelled import box_of_five_points, read_affectnet, read_celeba, read_vggface2

JPEG = cv2.imencode(".jpg", np.random.default_rng(6).integers(0, 256, (24, 20, 3), dtype=np.uint8))[1].tobytes()
FIVE = "69 109 106 113 77 142 73 152 108 154"  # the first row of the official list


def put(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(JPEG)


def celeba(root: Path, *, splits: str = "000122", folders: tuple[str, str, str] = ("", "", ""), points: str = FIVE) -> Path:
    """As many pictures as `splits` has digits, with the official lists; `folders` of pictures, points and partition."""
    pictures, points_at, partition_at = (root / folder for folder in folders)
    names = [f"{number:06d}.jpg" for number in range(1, len(splits) + 1)]
    put(pictures / "img_align_celeba", *names)
    points_at.mkdir(parents=True, exist_ok=True)
    partition_at.mkdir(parents=True, exist_ok=True)
    header = "lefteye_x lefteye_y righteye_x righteye_y nose_x nose_y leftmouth_x leftmouth_y rightmouth_x rightmouth_y"
    rows = [f"{name} {'  '.join(points.split())} " for name in names]  # padded with blanks, as the official file
    (points_at / "list_landmarks_align_celeba.txt").write_text("\r\n".join([str(len(names)), header, *rows, ""]))
    (partition_at / "list_eval_partition.txt").write_text("".join(f"{name} {d}\n" for name, d in zip(names, splits)))
    return root


AFFECTNET = "subDirectory_filePath,face_x,face_y,face_width,face_height,facial_landmarks,expression,valence,arousal\n"
MANY = ";".join(["61.03", "181.76"] * 68)


def affectnet(root: Path, rows: list[tuple[str, int, int]], name: str = "training.csv", header: str = AFFECTNET) -> Path:
    """Rows are file, face_width, expression."""
    lines = [f"{file},134,132,{width},900,{MANY},{expression},-0.5,0.3\n" for file, width, expression in rows]
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    (root / name).write_text(header + "".join(lines))
    put(root / "Manually_Annotated_Images", *(file for file, _, _ in rows if ".." not in file and file[:1] != "/"))
    return root


def vggface2(root: Path, rows: dict[str, tuple[int, int, int, int]], split: str = "train") -> Path:
    (root / "bb_landmark").mkdir(parents=True, exist_ok=True)
    lines = [f'"{name}",{",".join(map(str, box))}\n' for name, box in rows.items()]
    (root / "bb_landmark" / f"loose_bb_{split}.csv").write_text("NAME_ID,X,Y,W,H\n" + "".join(lines))
    put(root / split, *(f"{name}.jpg" for name in rows))
    return root


def any_set(name: str, root: Path) -> Callable[[Path, str], list]:
    """A set of three training faces below root, and its reader."""
    if name == "celeba":
        celeba(root, splits="000")
    elif name == "affectnet":
        affectnet(root, [("1/a.jpg", 900, 0), ("1/b.jpg", 900, 1), ("2/c.jpg", 900, 7)])
    else:
        vggface2(root, {f"n000002/000{i}_01": (161, 140, 224, 324) for i in (1, 2, 3)})
    return READERS[name].read


SETS = pytest.mark.parametrize("name", ["celeba", "affectnet", "vggface2"])


# what the three share


@SETS
def test_samples_have_a_box_and_no_landmarks(tmp_path: Path, name: str):
    samples = any_set(name, tmp_path)(tmp_path, "train")
    assert len(samples) == 3 and manifests.load(name).scheme == 0
    for sample in samples:
        assert sample.landmarks.shape == (0, 2) and sample.box.shape == (4,) and sample.subset == "train"
        assert sample.read().shape == (24, 20, 3) and sample.path.suffix == ".jpg"
        assert not sample.name.endswith(".jpg")


@SETS
def test_missing_pictures_are_passed_over_and_named_by_verify(tmp_path: Path, name: str):
    read = any_set(name, tmp_path)
    gone = read(tmp_path, "train")[1]
    gone.path.unlink()
    assert gone.name not in [sample.name for sample in read(tmp_path, "train")]
    part = verify(name, tmp_path).parts[0]
    assert (part.present, part.expected, part.missing) == (2, 3, (gone.name,))
    assert verify(name, tmp_path).state == "partial"


@SETS
def test_truncated_picture_makes_the_folder_wrong(tmp_path: Path, name: str):
    path = any_set(name, tmp_path)(tmp_path, "train")[2].path
    path.write_bytes(JPEG[:-60])
    assert str(path) in " ".join(verify(name, tmp_path).faults)


@SETS
def test_link_out_of_the_folder_is_refused(tmp_path: Path, name: str, refusal: Callable):
    read = any_set(name, tmp_path / "root")
    path = read(tmp_path / "root", "train")[0].path
    path.rename(tmp_path / "elsewhere.jpg")
    path.symlink_to(tmp_path / "elsewhere.jpg")
    assert "leads out of" in refusal("", read, tmp_path / "root", "train")
    path.unlink()
    path.parent.rename(tmp_path / "elsewhere")
    path.parent.symlink_to(tmp_path / "elsewhere")
    assert "leads out of" in refusal("", read, tmp_path / "root", "train")


@SETS
def test_wrong_folders_and_splits_are_refused(tmp_path: Path, name: str, refusal: Callable):
    read = any_set(name, tmp_path / "root")
    assert "no such folder" in refusal("", read, tmp_path / "none", "train")
    assert "split='all'" in refusal("", read, tmp_path / "root", "all")
    (tmp_path / "wrong" / "afw").mkdir(parents=True)
    assert "holds neither" in refusal("", read, tmp_path / "wrong", "train")
    assert "holds neither" in refusal("", verify, name, tmp_path / "wrong")
    for sample in read(tmp_path / "root", "train"):
        sample.path.unlink()
    assert "holds none of the 3 listed" in refusal("", read, tmp_path / "root", "train")


@SETS
def test_crops_are_cut_about_the_box(tmp_path: Path, cache: Path, name: str):
    samples = any_set(name, tmp_path)(tmp_path, "train")
    faces = load(name, "train", tmp_path, 32)
    assert faces.landmarks.shape == (3, 0, 2) and f"{manifests.load(name).title}, partial: 3 of" in faces.title
    box = np.array([sample.box for sample in samples]).reshape(3, 2, 2)
    middle = np.einsum("nij,nj->ni", faces.matrix[:, :, :2], box.mean(1)) + faces.matrix[:, :, 2]
    assert np.allclose(middle, (faces.images.shape[1] - 1) / 2)
    assert np.allclose(faces.matrix[:, 0, 0] * np.ptp(box, axis=1).max(1) * 1.4, 32)


# CelebA


def test_partition_of_celeba_is_0_1_2(tmp_path: Path):
    celeba(tmp_path, splits="002012")
    found = {split: [sample.name for sample in read_celeba(tmp_path, split)] for split in unlabelled.SPLITS_CELEBA}
    assert found == {"train": ["000001", "000002", "000004"], "valid": ["000005"], "test": ["000003", "000006"]}


@pytest.mark.parametrize("folders", [("Img", "Anno", "Eval"), ("", "Anno", "")])
def test_official_folders_of_celeba_are_found(tmp_path: Path, folders: tuple[str, str, str]):
    assert len(read_celeba(celeba(tmp_path, folders=folders), "test")) == 2


def test_box_of_celeba_comes_from_its_aligned_points_not_from_list_bbox(tmp_path: Path):
    celeba(tmp_path)
    (tmp_path / "list_bbox_celeba.txt").write_text("6\nimage_id x_1 y_1 width height\n000001.jpg    95  71 226 313\n")
    box = read_celeba(tmp_path, "train")[0].box
    assert np.allclose(box, box_of_five_points(np.array(FIVE.split(), float).reshape(1, 5, 2))[0])
    assert 0 < box[0] < 69 and 108 < box[2] < 178 and 60 < box[1] < 109 and 154 < box[3] < 218


def test_points_of_the_pictures_in_the_wild_are_refused(tmp_path: Path, refusal: Callable):
    celeba(tmp_path, points="165 184 244 176 196 249 194 271 266 260")
    assert "list_landmarks_align_celeba.txt" in refusal("", read_celeba, tmp_path, "train")


def test_mafl_test_faces_are_left_out_of_training(tmp_path: Path):
    celeba(tmp_path)
    (tmp_path / "MAFL").mkdir()
    (tmp_path / "MAFL/testing.txt").write_text("000002.jpg\n000005.jpg\n")
    assert [sample.name for sample in read_celeba(tmp_path, "train")] == ["000001", "000003"]
    assert [sample.name for sample in read_celeba(tmp_path, "test")] == ["000005", "000006"]
    assert "1 of the training pictures are test faces of MAFL" in verify("celeba", tmp_path).text()


def test_pictures_of_one_person_share_a_group(tmp_path: Path):
    celeba(tmp_path)
    assert len({sample.group for sample in read_celeba(tmp_path, "train")}) == 3
    (tmp_path / "identity_CelebA.txt").write_text("000001.jpg 2880\n000002.jpg 2937\n000003.jpg 2880\n")
    first, second, third = (sample.group for sample in read_celeba(tmp_path, "train"))
    assert first == third != second


def test_truncated_and_other_lists_of_celeba_are_refused(tmp_path: Path, refusal: Callable):
    points = celeba(tmp_path) / "list_landmarks_align_celeba.txt"
    whole = points.read_text()
    points.write_text(whole.replace("6\n", "7\n", 1))
    assert "says that it lists 7 pictures, but 6 follow" in refusal("", read_celeba, tmp_path, "train")
    points.write_text(whole[:-30])
    assert "list_landmarks_align_celeba.txt" in refusal("", read_celeba, tmp_path, "train")
    points.write_text(whole.replace("000003", "000009"))
    assert "name other pictures" in refusal("", read_celeba, tmp_path, "train")


def test_md5_of_the_lists_is_compared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    celeba(tmp_path, splits="000122")
    wrong = verify("celeba", tmp_path, checksums=True)
    assert wrong.state == "wrong" and len(wrong.faults) == 2 and "md5:cc24ecafdb5b50baae59b03474781f8c" in wrong.text()
    official = tmp_path / "list_eval_partition.txt"
    digest = hashlib.md5(official.read_bytes()).hexdigest()
    real = manifests.load("celeba")
    archives = [a if a.holds != official.name else replace(a, checksum=f"md5:{digest}") for a in real.archives]
    monkeypatch.setattr(manifests, "load", lambda name: replace(real, archives=tuple(archives)))
    assert "md5: 1 lists are the official" in verify("celeba", tmp_path, checksums=True).text()


@given(
    st.floats(0, 2 * np.pi),
    st.floats(0.5, 20),
    st.tuples(st.floats(-99, 99), st.floats(-99, 99)),
    st.lists(st.tuples(st.floats(-20, 20), st.floats(-20, 20)), min_size=5, max_size=5),
)
def test_box_of_five_points_moves_and_grows_with_the_face(angle: float, scale: float, shift: tuple, points: list):
    points = np.array(points)[None]
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])

    def frame(box: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return (box[0, :2] + box[0, 2:]) / 2, box[0, 2:] - box[0, :2]

    centre, side = frame(box_of_five_points(points))
    moved_centre, moved_side = frame(box_of_five_points(scale * points @ turn.T + np.array(shift)))
    assert np.allclose(moved_centre, scale * turn @ centre + shift, atol=1e-8) and np.allclose(
        moved_side, scale * side, atol=1e-8
    )


# AffectNet


def test_only_faces_of_affectnet_are_read(tmp_path: Path):
    """8 is none, 9 uncertain, 10 no face; a width of 0 is no face either."""
    rows = [(f"{i}/{i}.jpg", 0 if i == 3 else 900, expression) for i, expression in enumerate((0, 7, 8, 1, 9, 10, 2))]
    affectnet(tmp_path, rows)
    samples = read_affectnet(tmp_path, "train")
    assert [sample.name for sample in samples] == ["0/0", "1/1", "6/6"]
    assert samples[0].box.tolist() == [134, 132, 1034, 1032]
    assert "4 of 7 rows are no faces" in verify("affectnet", tmp_path).text()


def test_points_of_affectnet_are_no_ground_truth(tmp_path: Path):
    assert read_affectnet(affectnet(tmp_path, [("1/a.jpg", 9, 0)]), "train")[0].landmarks.size == 0


def test_list_without_column_names_is_read(tmp_path: Path):
    rows = [("1/a.jpg", 900, 0), ("1/b.jpg", 900, 9)]
    affectnet(tmp_path, rows, "Manually_Annotated_file_lists/validation.csv", header="")
    assert [sample.name for sample in read_affectnet(tmp_path, "validation")] == ["1/a"]


def test_bad_number_in_the_list_is_named_by_line(tmp_path: Path, refusal: Callable):
    path = affectnet(tmp_path, [("1/a.jpg", 900, 0), ("1/b.jpg", 900, 1)]) / "training.csv"
    path.write_text(path.read_text().replace("1/b.jpg,134", "1/b.jpg,NULL"))
    assert "training.csv: line 3 has no number" in refusal("", read_affectnet, tmp_path, "train")


@pytest.mark.parametrize("path", ["../../secret.jpg", "1/../../../secret.jpg", "/etc/secret.jpg", "..\\secret.jpg"])
def test_path_that_leaves_the_folder_is_refused(tmp_path: Path, path: str, refusal: Callable):
    affectnet(tmp_path, [("1/a.jpg", 900, 0), (path, 900, 0)])
    assert "secret.jpg" in refusal("", read_affectnet, tmp_path, "train")


# VGGFace2


def test_box_of_vggface2_is_extended_above_and_below(tmp_path: Path):
    vggface2(tmp_path, {"n000002/0001_01": (161, 140, 224, 400)})
    [sample] = read_vggface2(tmp_path, "train")
    assert np.allclose(sample.box, [161, 120, 385, 580])  # 5 % of 400 above, 10 % below


def test_faces_of_100_px_and_less_are_not_read(tmp_path: Path):
    vggface2(tmp_path, {f"n000002/{height:04d}_01": (10, 10, 80, height) for height in (99, 100, 101, 300)})
    assert [sample.name for sample in read_vggface2(tmp_path, "train")] == ["n000002/0101_01", "n000002/0300_01"]
    assert "2 of 4 boxes are not higher than 100 px" in verify("vggface2", tmp_path).text()


def test_a_number_of_400_digits_is_none(tmp_path: Path, refusal: Callable):
    vggface2(tmp_path, {"n000002/0001_01": (161, 140, 224, 400), "n000002/0002_01": (161, 140, 224, 10**400)})
    assert "line 3 has no number" in refusal("", read_vggface2, tmp_path, "train")


def test_names_of_vggface2_have_no_suffix_and_their_folder_is_the_person(tmp_path: Path):
    vggface2(tmp_path, {"n000002/0001_01": (0, 0, 200, 200), "n000002/0002_01": (0, 0, 200, 200)})
    vggface2(tmp_path, {"n000001/0001_01": (0, 0, 200, 200)}, "test")
    first, second = read_vggface2(tmp_path, "train")
    assert first.path == tmp_path / "train/n000002/0001_01.jpg" and first.name == "n000002/0001_01"
    assert first.group == second.group == "n000002" and read_vggface2(tmp_path, "test")[0].group == "n000001"


def test_list_of_another_set_is_refused(tmp_path: Path, refusal: Callable):
    path = vggface2(tmp_path, {"n000002/0001_01": (0, 0, 200, 200)}) / "bb_landmark/loose_bb_train.csv"
    path.write_text("NAME_ID,P1X,P1Y\nn000002/0001_01,1,2\n")
    assert "cannot be read as a list of this set" in refusal("", read_vggface2, tmp_path, "train")
