"""A user's own faces: one manifest, three formats, and every way in which they can be wrong refused in one sentence."""

import json
import warnings
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml

from fa_lib import training
from fa_lib.data import Augment, Batches, load, manifests
from fa_lib.data.readers import MANIFESTS, own
from fa_lib.errors import InputError
from fa_lib.landmarks import Scheme

FACE = np.array([[30.0, 40.0], [70.0, 40.0], [50.0, 60.0], [35.0, 80.0], [65.0, 80.0]])
KEYS = {
    "name": "mine", "title": "Mine", "format": "coco", "pictures": "images", "annotations": "all.json", "test_share": 0.25,
    "landmarks": 5, "flip": [[0, 1], [3, 4]], "normaliser": [0, 1], "index_base": 0,
}  # fmt: skip


def points_of(i: int) -> np.ndarray:
    """Face i: a little to the right of the one before; every second head turns to the other side."""
    return (FACE + [0.25 * i, (-1) ** i]).round(2)


def picture(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    y, x = np.mgrid[0:120, 0:140]
    cv2.imwrite(str(path), np.stack([np.full_like(x, 7), y, x], -1).astype(np.uint8))  # red is x, green is y


def manifest(root: Path, **change: object) -> Path:
    """Writes the manifest; a change to None takes the key out."""
    keys = {key: value for key, value in {**KEYS, **change}.items() if value is not None}
    (root / "mine.yaml").write_text(yaml.safe_dump(keys))
    return root / "mine.yaml"


def coco(root: Path, name: str = "all.json", count: int = 8, spoil: Callable[[dict], object] = lambda content: None) -> None:
    content: dict = {"images": [], "annotations": []}
    for i in range(count):
        picture(root / "images" / f"a {i}.png")
        content["images"].append({"id": 100 + i, "file_name": f"a {i}.png"})
        keypoints = np.concatenate([points_of(i), np.full((5, 1), 2 - (np.arange(5)[:, None] == 1))], 1)  # point 1 is hidden
        bbox = [20.0, 30.0, 60.0, 64.0]
        content["annotations"].append({"id": i, "image_id": 100 + i, "keypoints": keypoints.ravel().tolist(), "bbox": bbox})
    spoil(content)
    (root / name).write_text(json.dumps(content))


def every(path: Path) -> dict[str, own.Sample]:
    """All faces of both splits by name."""
    described = own.describe(path)
    return {s.name: s for split in own.SPLITS for s in own.read(described, split)}


def test_coco_points_flags_and_boxes(tmp_path: Path):
    coco(tmp_path)
    found = every(manifest(tmp_path))
    assert sorted(found) == [f"a {i}" for i in range(8)]
    for i in range(8):
        one = found[f"a {i}"]
        assert np.array_equal(one.landmarks, points_of(i)) and one.visible.tolist() == [True, False, True, True, True]
        assert one.group == f"a {i}.png" and one.path == tmp_path / "images" / f"a {i}.png"


def test_trap_coco_boxes_count_from_the_corner_and_points_from_the_centre(tmp_path: Path):
    """A box from 20 over 60 pixels holds the pixels 20 to 79, whose edges are 19.5 and 79.5 where centres are at integers."""
    coco(tmp_path)
    assert every(manifest(tmp_path))["a 0"].box.tolist() == [19.5, 29.5, 79.5, 93.5]


def test_trap_index_base_moves_points_by_one(tmp_path: Path):
    coco(tmp_path)
    one = every(manifest(tmp_path, index_base=1))["a 3"]
    assert np.array_equal(one.landmarks, points_of(3) - 1) and one.box.tolist() == [18.5, 28.5, 78.5, 92.5]


def table(root: Path, header: str, lines: list[str], name: str = "all.csv", start: str = "") -> None:
    for i in range(8):
        picture(root / "images" / f"a {i}.png")
    (root / name).write_bytes((start + "\r\n".join([header, *lines, ""])).encode())


HEADER = "image,x0,y0,x1,y1,x2,y2,x3,y3,x4,y4"


def line(i: int, name: str = "") -> str:
    return ",".join([name or f"a {i}.png", *map(str, points_of(i).ravel())])


def test_csv_with_the_usual_header_line_ends_of_windows_and_a_mark_at_the_start(tmp_path: Path):
    table(tmp_path, HEADER, [line(i) for i in range(8)] + [",,,"[:0]], start="\ufeff")
    found = every(manifest(tmp_path, format="csv", annotations="all.csv"))
    assert all(np.array_equal(found[f"a {i}"].landmarks, points_of(i)) for i in range(8)) and found["a 0"].visible is None


def test_csv_columns_by_name_in_any_order_beside_others(tmp_path: Path):
    names = ["file", *(f"{axis} of {p}" for p in "abcde" for axis in "xy")]
    rows = [[f"a {i}.png", *map(str, points_of(i).ravel())] for i in range(8)]
    table(tmp_path, ",".join(["note", *names[::-1]]), [",".join(["n", *row[::-1]]) for row in rows])
    found = every(manifest(tmp_path, format="csv", annotations="all.csv", columns=names))
    assert all(np.array_equal(found[f"a {i}"].landmarks, points_of(i)) for i in range(8))


def pts(root: Path, folder: str = "", count: int = 8) -> None:
    for i in range(count):
        picture(root / "images" / folder / f"a {i}.png")
        rows = "\n".join(f"{x} {y}" for x, y in points_of(i) + 1)
        (root / "images" / folder / f"a {i}.pts").write_text(f"version: 1\nn_points: 5\n{{\n{rows}\n}}\n")


def test_pts_beside_their_pictures(tmp_path: Path):
    pts(tmp_path)
    found = every(manifest(tmp_path, format="pts", annotations=None, index_base=1))
    assert all(np.allclose(found[f"a {i}"].landmarks, points_of(i)) for i in range(8)) and len(found) == 8
    shifted = every(manifest(tmp_path, format="pts", annotations=None, index_base=0))  # files that count from 0
    assert np.allclose(shifted["a 2"].landmarks, points_of(2) + 1)


def test_pts_in_a_folder_for_each_split(tmp_path: Path):
    pts(tmp_path, "one", 6), pts(tmp_path, "two/deep", 3)
    described = own.describe(
        manifest(tmp_path, format="pts", index_base=1, annotations={"train": "one", "test": "two"}, test_share=None)
    )
    assert [len(own.read(described, split)) for split in own.SPLITS] == [6, 3]
    assert own.read(described, "test")[0].name == "two/deep/a 0"


def test_trap_faces_of_one_picture_stay_on_one_side_of_the_split(tmp_path: Path):
    table(tmp_path, HEADER, [line(i, f"a {i // 4}.png") for i in range(32)])
    described = own.describe(manifest(tmp_path, format="csv", annotations="all.csv"))
    train, test = (own.read(described, split) for split in own.SPLITS)
    assert len(train) == 24 and len(test) == 8 and not {s.group for s in train} & {s.group for s in test}
    assert {s.subset for s in train} == {"train"} and {s.subset for s in test} == {"test"}
    assert len({s.name for s in [*train, *test]}) == 32


def test_split_by_share_does_not_depend_on_the_order_of_the_file(tmp_path: Path):
    sides = []
    for order in (range(8), range(7, -1, -1)):
        table(tmp_path, HEADER, [line(i) for i in order])
        described = own.describe(manifest(tmp_path, format="csv", annotations="all.csv"))
        sides.append({s.name for s in own.read(described, "test")})
    assert sides[0] == sides[1] and len(sides[0]) == 2


def test_flip_as_pairs_and_as_a_list_are_the_same(tmp_path: Path):
    coco(tmp_path)
    expected = Scheme(5, (1, 0, 2, 4, 3), (0, 1), None, {"eyes": (0, 1), "other": (2, 3, 4)})
    for flip in ([[0, 1], [3, 4]], [1, 0, 2, 4, 3]):
        assert own.describe(manifest(tmp_path, flip=flip, regions={"eyes": [0, 1]})).scheme == expected
    box = own.describe(manifest(tmp_path, flip=[[0, 1], [3, 4]], normaliser="box")).scheme
    assert (box.outer_eyes, box.normaliser, box.regions) == (None, "box", {"points": (0, 1, 2, 3, 4)})


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"colour": 3}, "unknown key 'colour'"),
        ({"normalizer": [0, 1]}, "did you mean 'normaliser'"),
        ({"flip": None}, "the key 'flip' is missing"),
        ({"landmarks": "five"}, "landmarks is 'five', but must be a whole number"),
        ({"landmarks": True}, "landmarks is True"),
        ({"landmarks": 0}, "a face has at least 1"),
        ({"format": "xml"}, "format is 'xml'; choose pts or csv or coco"),
        ({"index_base": 2}, "index_base is 2; choose 0 or 1"),
        ({"name": "../mine"}, "name is '../mine'"),
        ({"pictures": "photos"}, "there is no such folder"),
        ({"pictures": "../images"}, "outside"),
        ({"annotations": "../all.json"}, "outside"),
        ({"annotations": "none.json"}, "there is no such file"),
        ({"annotations": None}, "the key 'annotations' is missing"),
        ({"annotations": {"train": "all.json"}, "test_share": None}, "must name train and test"),
        ({"annotations": {"train": "all.json", "test": "all.json"}, "test_share": None}, "the same file"),
        ({"test_share": 1.5}, "test_share is 1.5"),
        ({"test_share": None}, "test_share is None"),
        ({"flip": [1, 2, 0, 4, 3]}, "flip sends point 0 to 1, but 1 to 2; mirrored twice"),
        ({"flip": [1, 0, 2]}, "must be a list of 5 points"),
        ({"flip": [[0, 1], [3, 5]]}, "names point 5, but points are numbered from 0 to 4"),
        ({"flip": [[0, 1], [1, 2]]}, "names point 1 in two pairs"),
        ({"flip": [[0, 1, 2]]}, "must be a list of 2 points"),
        ({"normaliser": [0, 5]}, "normaliser: names point 5"),
        ({"normaliser": [2, 2]}, "two different points"),
        ({"normaliser": "eyes"}, "write box, or two points"),
        ({"regions": {"eyes": [0, -1]}}, "regions: eyes: names point -1"),
        ({"regions": {"eyes": [0, 1], "mouth": [1, 3]}}, "name point 1 more than once"),
        ({"columns": ["file", "x"]}, "columns has 2 names, but 1 picture and 5 points need 11"),
    ],
)
def test_wrong_manifest_is_refused_in_one_sentence(tmp_path: Path, change: dict, complaint: str):
    coco(tmp_path)
    with pytest.raises(InputError, match=complaint) as caught:
        own.describe(manifest(tmp_path, **change))
    assert "\n" not in str(caught.value)


def first(content: dict) -> dict:
    return content["annotations"][0]


@pytest.mark.parametrize(
    ("spoil", "complaint"),
    [
        (
            lambda c: first(c).update(keypoints=first(c)["keypoints"][:-3]),
            "annotation 0 of a 0.png: keypoints must be 15 numbers",
        ),
        (lambda c: first(c)["keypoints"].__setitem__(4, float("nan")), "point 1 is not a number"),
        (lambda c: first(c)["keypoints"].__setitem__(4, "x"), "not a number"),
        (lambda c: first(c)["keypoints"].__setitem__(8, 0), r"keypoint 2 is not labelled \(v is 0\)"),
        (lambda c: first(c)["keypoints"].__setitem__(8, 7), "flag v is not 0, 1 or 2"),
        (lambda c: first(c).update(bbox=[1, 2, 0, 5]), "bbox is"),
        (lambda c: first(c).update(bbox=[1, 2, 3, 4, 5]), "bbox is"),
        (lambda c: first(c).update(bbox=[1, 2, 3, 10**400]), "not a number"),
        (lambda c: first(c).update(image_id=5), "no COCO keypoint file"),
        (lambda c: first(c).pop("keypoints"), "no COCO keypoint file"),
        (lambda c: c.pop("images"), "no COCO keypoint file"),
        (lambda c: c["images"][0].update(file_name=3), "no COCO keypoint file"),
        (lambda c: c["images"][0].update(id=101), "same id or file_name"),
        (lambda c: c["images"][0].update(file_name="a 1.png"), "same id or file_name"),
        (lambda c: c["images"][0].update(file_name="gone.png"), "annotation 0 of gone.png: there is no picture"),
        (lambda c: c["images"][0].update(file_name="../mine.yaml"), "outside"),
        (lambda c: c["images"][0].update(file_name="link.png"), "is a link that leads out of"),
        (lambda c: c["annotations"].append({**first(c), "id": 77}), "annotation 77 of a 0.png: is the same face as"),
        (lambda c: c.update(annotations=[]), "holds no face"),
        (lambda c: first(c).update(keypoints=[v for x, y in FACE / 100 for v in (x, y, 2)]), "points must be in pixels"),
        (lambda c: first(c)["keypoints"].__setitem__(slice(0, 2), first(c)["keypoints"][3:5]), "points 0 and 1, the normaliser"),
    ],
)
def test_wrong_coco_is_refused_in_one_sentence(tmp_path: Path, spoil: Callable, complaint: str):
    picture(tmp_path / "elsewhere.png")
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "link.png").symlink_to(tmp_path / "elsewhere.png")
    coco(tmp_path, spoil=spoil)
    with pytest.raises(InputError, match=complaint) as caught:
        every(manifest(tmp_path))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("header", "changed", "complaint"),
    [
        (HEADER.replace("x3", "u3"), line(0), "has no column 'x3'"),
        (HEADER, line(0).replace("30.0", "thirty"), "line 2: a coordinate is not a number"),
        (HEADER, line(0).replace("30.0", "nan"), "line 2: point 0 is not a number"),
        (HEADER, line(0) + ",1", "line 2: has 12 values, but the header names 11"),
        (HEADER, line(1), "line 3: is the same face as .*line 2"),
        (HEADER, line(0, "b.png"), "line 2: there is no picture"),
        (HEADER, line(0, "/etc/passwd"), "outside"),
    ],
)
def test_wrong_csv_is_refused_in_one_sentence(tmp_path: Path, header: str, changed: str, complaint: str):
    table(tmp_path, header, [changed, *(line(i) for i in range(1, 8))])
    with pytest.raises(InputError, match=complaint) as caught:
        every(manifest(tmp_path, format="csv", annotations="all.csv"))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("spoil", "complaint"),
    [
        (lambda folder: (folder / "a 0.pts").unlink(), "a 0.png: there is no .pts of that name"),
        (lambda folder: (folder / "a 0.png").unlink(), "a 0.pts: there is no picture of that name"),
        (lambda folder: picture(folder / "a 0.bmp"), "has the same name; keep one"),
        (lambda folder: (folder / "a 0.pts").write_text("n_points: 1\n{\n1 1\n}"), "has 1 points, but 5 are expected"),
    ],
)
def test_wrong_pts_is_refused_in_one_sentence(tmp_path: Path, spoil: Callable, complaint: str):
    pts(tmp_path)
    spoil(tmp_path / "images")
    with pytest.raises(InputError, match=complaint):
        every(manifest(tmp_path, format="pts", annotations=None))


@pytest.mark.parametrize(
    ("text", "complaint"),
    [("{: x", "is not YAML .* in line 1"), ("- a\n", "must be a mapping"), (None, "there is no such manifest"), ("", "is empty")],
)
def test_what_is_no_manifest_is_refused(tmp_path: Path, text: str | None, complaint: str):
    if text is not None:
        (tmp_path / "mine.yaml").write_text(text)
    with pytest.raises(InputError, match=complaint):
        own.describe(tmp_path / "mine.yaml")


@pytest.mark.parametrize(("content", "complaint"), [(b"{", "is not JSON"), (b"\xff\xfe\x00", "not a text file in UTF-8")])
def test_what_is_no_json_is_refused(tmp_path: Path, content: bytes, complaint: str):
    coco(tmp_path)
    (tmp_path / "all.json").write_bytes(content)
    with pytest.raises(InputError, match=complaint):
        every(manifest(tmp_path))


def test_trap_picture_in_train_and_in_test_is_refused(tmp_path: Path):
    coco(tmp_path, "train.json")
    coco(tmp_path, "test.json", 1)
    path = manifest(tmp_path, annotations={"train": "train.json", "test": "test.json"}, test_share=None)
    with pytest.raises(InputError, match=r"a 0.png: is in train and in test"):
        own.read(own.describe(path), "train")
    with pytest.raises(InputError, match="has train and test"):
        own.read(own.describe(path), "full")


@pytest.mark.filterwarnings("error")
def test_faces_are_loaded_cut_and_mirrored_by_their_own_scheme(tmp_path: Path, cache: Path):
    coco(tmp_path)
    faces = load(manifest(tmp_path), "train", size=32)
    assert faces.title == "Mine" and faces.scheme.count == 5 and len(faces) == 6 and faces.length is None
    photo = faces.to_photo(faces.crops()[1])
    assert np.allclose(photo, np.stack([points_of(int(name[2:])) for name in faces.names]), atol=1e-3)
    x, y = np.meshgrid(np.arange(44), np.arange(44))
    for i in range(len(faces)):  # red is x of the photograph, green is y
        a, b = faces.matrix[i, 0, 0], faces.matrix[i, :, 2]
        shown = faces.images[i][..., :2].astype(float)
        inside = (shown.sum(-1) > 0) & (x > 4) & (x < 40) & (y > 4) & (y < 40)
        assert (
            np.abs(shown[..., 0] - (x - b[0]) / a)[inside].max() < 2 and np.abs(shown[..., 1] - (y - b[1]) / a)[inside].max() < 2
        )
    assert faces.lengths() == pytest.approx(40 * faces.matrix[:, 0, 0], rel=1e-5)
    batch = next(iter(Batches(faces, Augment(flip=1.0), 6)))
    mirrored = faces.crops()[1][batch.index][:, [1, 0, 2, 4, 3]] * [-1, 1] + [31, 0]
    assert np.allclose(batch.landmarks, mirrored, atol=1e-3) and batch.visible[:, 0].sum() == 0 and batch.visible[:, 1:].all()


def test_errors_over_the_box_take_the_box_of_the_set(tmp_path: Path, cache: Path):
    coco(tmp_path)
    faces = load(manifest(tmp_path, normaliser="box"), "test", size=32)
    assert np.allclose(faces.lengths(), np.sqrt(60 * 64) * faces.matrix[:, 0, 0])


def test_one_landmark_is_enough_where_there_is_a_box(tmp_path: Path, cache: Path):
    coco(tmp_path, spoil=lambda c: [a.update(keypoints=a["keypoints"][6:9]) for a in c["annotations"]])
    path = manifest(tmp_path, landmarks=1, flip=[0], normaliser="box")
    faces = load(path, "train", size=32)
    middle = (np.array([19.5, 29.5]) + [79.5, 93.5]) / 2
    assert faces.landmarks.shape == (6, 1, 2)
    assert np.allclose(faces.to_photo(np.full((6, 1, 2), 15.5)), middle)  # the box is in the middle of the crop
    net = training.models.create("resnet18", landmarks=1, size=32, width=8)
    assert training.evaluate(net, faces).shape == (6, 1, 2)
    coco(tmp_path, spoil=lambda c: [(a.update(keypoints=a["keypoints"][6:9]), a.pop("bbox")) for a in c["annotations"]])
    with pytest.raises(InputError, match="have no extent, so the set must give a face box"):
        load(path, "train", size=32)


def test_wrong_flip_warns_with_the_worst_pair_and_a_right_one_does_not(tmp_path: Path, cache: Path):
    coco(tmp_path)
    with pytest.warns(UserWarning, match=r"flip says that points \d and \d are mirror images"):
        load(manifest(tmp_path, flip=[[0, 3], [1, 4]]), "train", size=32)
    with pytest.warns(UserWarning, match="flip says that point 3 is its own mirror image.*belongs to point 4"):
        load(manifest(tmp_path, flip=[1, 0, 2, 3, 4]), "train", size=32)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        load(manifest(tmp_path), "train", size=32)


def test_trap_another_flip_is_another_set_for_training(tmp_path: Path, cache: Path):
    """Pictures and points are the same, but a network that learned with the wrong flip must not be taken for the right one."""
    coco(tmp_path)
    one, again, other = (load(manifest(tmp_path, flip=flip), "test", size=32) for flip in ([[0, 1], [3, 4]],) * 2 + ([[0, 1]],))
    assert one.fingerprint == again.fingerprint != other.fingerprint


def test_template_is_a_manifest_that_works_and_no_data_set(tmp_path: Path):
    for split, number in (("train", 6), ("test", 2)):
        coco(tmp_path, f"{split}.json", number)
    given = yaml.safe_load((MANIFESTS / "template.yaml").read_text())
    (tmp_path / "my.yaml").write_text((MANIFESTS / "template.yaml").read_text())
    described = own.describe(tmp_path / "my.yaml")
    assert described.name == "my_faces" and set(given) <= set(own.KEYS) and "template" not in manifests.names()
    assert all(key in (MANIFESTS / "template.yaml").read_text() for key in own.KEYS)
