"""The crop store: built once, reused, damaged stores built again, and nothing half-written after a fault."""

import json
import os
import resource
import shutil
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from fa_lib import metrics
from fa_lib.data import Faces, faces, load, manifests
from fa_lib.data.crops import EXPAND, cut_face, stored_size
from fa_lib.data.readers import READERS, Reader, Sample
from fa_lib.errors import InputError
from fa_lib.landmarks import SCHEMES

NAMES = ("lfpw/testset/image_0001", "lfpw/testset/image_0002", "helen/testset/30427236_1", "ibug/image_003_1")

# builds the store named by argv[2] from chunks that leave a mark per build, and prints a checksum of what it opened
BUILD = """
import sys, time
from pathlib import Path
import numpy as np
from fa_lib.data import faces

def build():
    with open(sys.argv[1], "a") as marks:
        marks.write("built\\n")
    for start in (0, 2):
        print("chunk", flush=True)
        time.sleep(float(sys.argv[3]))
        yield {
            "images": np.full((2, 44, 44, 3), start, np.uint8), "landmarks": np.zeros((2, 68, 2), np.float32),
            "matrix": np.tile(np.eye(2, 3), (2, 1, 1)), "names": [f"f{start}", f"f{start + 1}"], "subset": ["common"] * 2,
            "group": ["a", "b"], "size": 32, "title": "test", "progress": (start + 2, 4),
        }

print("sum", int(faces._open(sys.argv[2], build)[0].images.sum(dtype=int)), flush=True)
"""
SUM = f"sum {2 * 2 * 44 * 44 * 3}"


def official_points(seed: int) -> np.ndarray:
    """A 68-point face of about 80 x 80 pixels, 1-based."""
    return np.random.default_rng(seed).uniform(20, 100, (68, 2)).round(3)


def write_points(path: Path, points: np.ndarray) -> None:
    rows = "\n".join(f"{x} {y}" for x, y in points)
    path.write_text(f"version: 1\nn_points: {len(points)}\n{{\n{rows}\n}}\n")


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A tiny real 300-W: smooth pictures of 120 x 140 with their points."""
    for number, name in enumerate(NAMES):
        path = tmp_path / "300w" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        y, x = np.mgrid[0:120, 0:140]
        picture = np.stack([x, y, np.full_like(x, 10 * number)], -1).astype(np.uint8)  # red is x, green is y
        suffix = ".jpg" if number == 1 else ".png"
        cv2.imwrite(f"{path}{suffix}", picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 100])
        write_points(path.with_suffix(".pts"), official_points(number))
    return tmp_path / "300w"


def left_in(cache: Path) -> list[str]:
    """What the crop store holds but for locks."""
    return [name for name in os.listdir(cache) if not name.endswith(".lock")] if cache.exists() else []


@pytest.mark.faults("two or eight processes want the same")
def test_two_processes_build_a_store_once(cache: Path, tmp_path: Path, start: Callable, injected):
    asked = [start(BUILD, tmp_path / "marks", "both", 0.1) for _ in range(2)]
    injected()
    answers = [process.communicate(timeout=60)[0].splitlines()[-1] for process in asked]
    assert answers == [SUM, SUM]
    assert (tmp_path / "marks").read_text() == "built\n"


@pytest.mark.faults("killed (SIGKILL) while writing")
def test_killed_build_leaves_nothing_that_is_read(cache: Path, tmp_path: Path, start: Callable, injected):
    process = start(BUILD, tmp_path / "marks", "killed", 30)
    assert process.stdout.readline() == "chunk\n"
    process.kill()
    injected()
    process.wait()
    assert not (cache / "killed").exists()
    chunk = {"images": np.full((1, 44, 44, 3), 7, np.uint8), "landmarks": np.zeros((1, 68, 2)), "matrix": np.zeros((1, 2, 3))}
    chunk |= {"names": ["a"], "subset": ["b"], "group": ["c"], "size": 32, "title": "", "progress": (1, 1)}
    assert (faces._open("killed", lambda: iter([chunk]))[0].images == 7).all()
    assert left_in(cache) == ["killed"]  # what the killed one left is gone


def test_second_call_reuses_the_store(cache: Path):
    first = load("synthetic/300w", "train", None, 32, 2)
    stamps = {path: path.stat().st_mtime_ns for path in cache.rglob("*.*")}
    second = load("synthetic/300w", "train", None, 32, 2)
    assert {path: path.stat().st_mtime_ns for path in cache.rglob("*.*")} == stamps
    assert first.fingerprint == second.fingerprint and (first.images == second.images).all()


@pytest.mark.faults("crop store damaged")
@pytest.mark.parametrize(
    "damage",
    [
        lambda folder: (folder / "meta.json").unlink(),
        lambda folder: (folder / "meta.json").write_text('{"size": 3'),
        lambda folder: (folder / "meta.json").write_bytes(bytes(100)),
        lambda folder: (folder / "meta.json").write_text("{}"),
        lambda folder: (folder / "images.bin").write_bytes(b"short"),
        lambda folder: (folder / "images.bin").unlink(),
        lambda folder: (folder / "index.npz").write_bytes((folder / "index.npz").read_bytes()[:-50]),
        lambda folder: (folder / "index.npz").write_bytes(b""),
    ],
)
def test_damaged_store_is_built_again(cache: Path, damage: Callable, injected):
    expected = load("synthetic/300w", "train", None, 32, 2)
    (folder,) = (cache / name for name in left_in(cache))
    damage(folder)
    injected()
    found = load("synthetic/300w", "train", None, 32, 2)
    assert found.fingerprint == expected.fingerprint and len(left_in(cache)) == 1


def test_rendered_faces_have_truth_and_a_second_annotation(source):
    train = source.train()
    assert train.images.shape == (4, 44, 44, 3) and train.images.dtype == np.uint8
    assert train.landmarks.shape == train.truth.shape == train.second.shape == (4, 68, 2)
    assert train.still is None and set(source.test().subset) == {"common", "challenging"}


def test_clips_have_groups_and_still_frames(source):
    video = source.video()
    assert len(video) == 6 and len(set(video.group)) == 3 and video.still.dtype == bool
    assert list(video.names[:2]) == [f"{video.group[0]}/000001", f"{video.group[0]}/000002"]
    assert video.second is None and video.truth.shape == (6, 68, 2)


def test_pictures_are_a_read_only_map(source):
    with pytest.raises(ValueError, match="read-only"):
        source.train().images[0] = 0


def test_real_tree_is_read(cache: Path, tree: Path):
    found = load("300w", "full", tree, 32)
    assert list(found.names) == [NAMES[2], NAMES[0], NAMES[1], NAMES[3]]  # helen, lfpw, ibug
    assert list(found.subset) == ["common", "common", "common", "challenging"]
    assert list(found.group) == ["helen/testset/30427236", *NAMES[:2], "ibug/image_003"]
    assert found.truth is None and found.second is None and found.size == 32
    assert found.title.startswith("300-W, partial: no training faces; test: ")


def test_convention_crop_coordinates_go_back_to_the_photo(cache: Path, tree: Path):
    found = load("300w", "common", tree, 64)
    back = found.to_photo(found.crops()[1])
    for row, number in enumerate((2, 0, 1)):
        assert np.allclose(back[row], official_points(number) - 1, atol=1e-3)


def test_crops_show_the_photo_where_the_matrix_says(cache: Path, tree: Path):
    """Red is x and green is y in these pictures, so a crop's colours tell its place in the photo."""
    found = load("300w", "common", tree, 32)
    pictures, _ = found.crops()
    grid = np.stack(np.meshgrid(np.arange(32), np.arange(32)), -1).reshape(1, -1, 2)
    place = found.to_photo(np.repeat(grid, len(found), 0)).reshape(len(found), 32, 32, 2)
    inside = (place > 3).all(-1) & (place < (136, 116)).all(-1)
    assert inside.mean() > 0.3
    assert np.abs(pictures[..., :2] - place)[inside].max() < 2.5  # grey values are pixels, and JPEG loses some


def test_crop_is_the_middle_of_what_is_stored(source):
    train = source.train()
    pictures, landmarks = train.crops()
    assert train.offset == 6 and (pictures == train.images[:, 6:38, 6:38]).all()
    assert np.allclose(landmarks, train.landmarks - 6)


def test_crop_is_the_landmark_box_by_1_4():
    photo, points = np.zeros((200, 200, 3), np.uint8), official_points(0)
    _, landmarks, matrix = cut_face(photo, points, stored_size(64), EXPAND * stored_size(64) / 64)
    assert np.ptp(landmarks, axis=0).max() == pytest.approx(64 / EXPAND, rel=1e-5)
    assert np.allclose(points @ matrix[:, :2].T + matrix[:, 2], landmarks, atol=1e-3)


def test_select_keeps_everything_together(source):
    test = source.test()
    chosen = test.select(np.array([2, 0]))
    assert len(chosen) == 2 and list(chosen.names) == [test.names[2], test.names[0]]
    for name in ("images", "landmarks", "truth", "second", "matrix", "group", "subset"):
        assert (getattr(chosen, name) == getattr(test, name)[[2, 0]]).all()
    assert len(test.select(test.subset == "challenging")) == (test.subset == "challenging").sum()


def test_count_draws_the_same_real_faces_each_time(cache: Path, tree: Path):
    few, again = (load("300w", "full", tree, 32, 2) for _ in range(2))
    assert list(few.names) == list(again.names) and len(few) == 2 and "; 2 of them" in few.title
    assert few.fingerprint != load("300w", "full", tree, 32).fingerprint


def test_changed_points_are_cut_anew(cache: Path, tree: Path):
    before = load("300w", "challenging", tree, 32)
    write_points(tree / f"{NAMES[3]}.pts", official_points(9))
    after = load("300w", "challenging", tree, 32)
    assert after.fingerprint != before.fingerprint
    assert np.allclose(after.to_photo(after.crops()[1])[0], official_points(9) - 1, atol=1e-3)


def sixty_seven(tree: Path) -> Path:
    write_points(tree / f"{NAMES[0]}.pts", official_points(0)[:67])
    return tree / f"{NAMES[0]}.pts"


def not_a_number(tree: Path) -> Path:
    write_points(tree / f"{NAMES[0]}.pts", np.where(np.arange(136).reshape(68, 2) == 7, np.nan, official_points(0)))
    return tree / f"{NAMES[0]}.pts"


def cut_picture(tree: Path) -> Path:
    path = tree / f"{NAMES[1]}.jpg"
    path.write_bytes(path.read_bytes()[:-700])
    return path


@pytest.mark.faults("picture or annotation damaged")
@pytest.mark.parametrize("fault", [sixty_seven, not_a_number, cut_picture])
def test_fault_of_a_file_ends_in_one_sentence_and_leaves_nothing(cache: Path, tree: Path, fault: Callable, injected):
    path = fault(tree)
    injected()
    with pytest.raises(InputError) as caught:
        load("300w", "common", tree, 32)
    assert path.name in str(caught.value) and "\n" not in str(caught.value)
    assert left_in(cache) == []


@pytest.mark.faults("file larger than allowed (ulimit -f)")
def test_disk_without_room_ends_in_one_sentence_and_leaves_nothing(cache: Path, injected):
    """The kernel refuses files beyond 20,000 bytes here, as it refuses them on a full disk; twelve faces need 70,000."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))
    injected()
    try:
        with pytest.raises(InputError, match=r"synthetic-300w-train-32-\w+ cannot be written: .*FA_CACHE") as caught:
            load("synthetic/300w", "train", None, 32, 12)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert "\n" not in str(caught.value) and left_in(cache) == []
    assert len(load("synthetic/300w", "train", None, 32, 12)) == 12  # with room again


def test_cache_that_is_a_file_is_refused(cache: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    (tmp_path / "file").touch()
    monkeypatch.setenv("FA_CACHE", str(tmp_path / "file"))
    with pytest.raises(InputError, match="a file stands where a folder is needed"):
        load("synthetic/300w", "train", None, 32, 1)


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("300w", "train"), "give --data FOLDER"),
        (("300x", "train"), "data set '300x' cannot be loaded"),
        (("synthetic/300w", "test"), "train, common, challenging, full"),
        (("synthetic/300vw", "4"), "1, 2, 3, test"),
        (("synthetic/lfpw", "train"), "there is synthetic/300w"),
        (("synthetic/300w", "train", None, 40), "multiple of 16"),
        (("synthetic/300w", "train", None, 16), "at least 32"),
        (("300w", "train", "nowhere"), "there is no such folder"),
    ],
)
def test_wrong_questions_are_refused(cache: Path, arguments: tuple, complaint: str):
    with pytest.raises(InputError, match=complaint):
        load(*arguments)
    assert left_in(cache) == []


def test_store_says_which_version_of_the_faces_it_holds(cache: Path):
    """The fingerprint, part of every run's identity, changes with pictures, names and landmarks."""
    whole = load("synthetic/300w", "train", None, 32, 2)
    assert isinstance(whole, Faces) and whole.fingerprint != load("synthetic/300w", "train", None, 32, 2, seed=1).fingerprint
    (folder, *_) = (cache / name for name in left_in(cache))
    assert json.loads((folder / "meta.json").read_text())["shape"] == [2, 44, 44, 3]
    shutil.rmtree(folder)
    assert faces._read(folder) is None


def sample(root: Path, number: int, landmarks: np.ndarray | None = None, **more: object) -> Sample:
    """A face of 40 x 40 pixels in a picture of 120 x 140 whose red is x and whose green is y."""
    root.mkdir(exist_ok=True)
    path = root / f"{number}.png"
    y, x = np.mgrid[0:120, 0:140]
    cv2.imwrite(str(path), np.stack([np.full_like(x, number), y, x], -1).astype(np.uint8))
    if landmarks is None:
        landmarks = np.random.default_rng(number).uniform(0, 40, (19, 2)) + [50, 40]
    return Sample(path, landmarks, f"face {number}", "train", f"photo {number}", **more)


@pytest.fixture
def known(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable:
    """Makes samples a data set that `load` reads, under the name of AFLW; returns the folder to give as root."""

    def make(samples: list[Sample]) -> Path:
        monkeypatch.setitem(READERS, "aflw", Reader(("train",), lambda root, split: samples, lambda root, manifest: None))
        return tmp_path

    return make


def test_flags_attributes_and_boxes_are_kept(cache: Path, known: Callable, tmp_path: Path):
    """Errors on AFLW are divided by the side of its own face box: here 50 x 32 pixels, the geometric mean is 40."""
    flags = np.random.default_rng(0).random((5, 19)) < 0.5
    told = ("frontal",), (), ("frontal", "blur"), (), ("blur",)
    box = np.array([40.0, 35, 90, 67])
    samples = [sample(tmp_path / "p", i, visible=flags[i], attributes=told[i], box=box) for i in range(5)]
    root = known(samples)
    for found in (load("aflw", "train", root, 32), load("aflw", "train", root, 32)):  # built, and read again
        assert (found.visible == flags).all() and found.scheme is SCHEMES[19]
        assert np.allclose(found.lengths(), 40 * found.matrix[:, 0, 0], rtol=1e-5)
        assert np.allclose(found.select(np.array([3, 0])).length, found.length[[3, 0]])
        assert found.parts() == ["train", "blur", "frontal"]
        assert found.part("frontal").tolist() == [True, False, True, False, False]
        assert found.part("blur").tolist() == [False, False, True, False, True] and found.part("train").all()
        with pytest.raises(InputError, match="has no part 'front'; its parts are train, blur, frontal"):
            found.part("front")
    other = [sample(tmp_path / "p", i, visible=~flags[i], attributes=told[i], box=box) for i in range(5)]
    assert load("aflw", "train", known(other), 32).fingerprint != found.fingerprint


def test_lengths_follow_the_scheme_where_the_set_has_no_boxes(cache: Path, known: Callable, tmp_path: Path):
    faces = load("aflw", "train", known([sample(tmp_path / "p", i) for i in range(2)]), 32)
    assert faces.length is None and faces.visible is None and faces.attributes.tolist() == ["", ""]
    assert np.allclose(faces.lengths(), metrics.lengths(faces.landmarks, "box"), rtol=1e-5)
    eyes = [sample(tmp_path / "q", i, official_points(i)) for i in range(2)]
    faces = load("aflw", "train", known(eyes), 32)
    target = faces.crops()[1]
    assert np.array_equal(faces.lengths(), metrics.lengths(target, "inter_ocular"))
    assert np.array_equal(faces.lengths(2 * target), metrics.lengths(2 * target, "inter_ocular"))


def colours(faces: Faces, where: np.ndarray) -> np.ndarray:
    """The place in the photograph (x, y) that each stored picture shows at `where` (x, y): its red and green."""
    x, y = where + faces.offset
    return faces.images[:, y, x, :2]


def test_unlabelled_faces_are_cut_about_their_box_or_are_the_whole_picture(cache: Path, known: Callable, tmp_path: Path):
    none = np.zeros((0, 2))
    boxed = load(
        "aflw", "train", known([sample(tmp_path / "p", i, none, box=np.array([40.0, 30, 90, 70])) for i in range(2)]), 64
    )
    assert boxed.scheme is None and boxed.landmarks.shape == (2, 0, 2) and boxed.length is None
    for at, place in ((31, 65), (63, 65 + 35), (0, 65 - 35)):  # a square of 1.4 times the longer side about (65, 50)
        assert np.allclose(colours(boxed, np.array([at, 31]))[:, 0], place, atol=1.5)
    with pytest.raises(InputError, match="no length that errors could be divided by"):
        boxed.lengths()
    whole = load("aflw", "train", known([sample(tmp_path / "q", i, none) for i in range(2)]), 64)
    assert np.allclose(whole.matrix[:, 0, 0], 64 / 140)
    assert np.allclose(colours(whole, np.array([0, 31])), [0.6, 59], atol=1.5)


def test_landmarks_without_extent_need_a_box(cache: Path, known: Callable, tmp_path: Path):
    one = np.array([[65.0, 50.0]])
    with pytest.raises(InputError, match=r"0.png: its landmarks have no extent"):
        load("aflw", "train", known([sample(tmp_path / "p", 0, one)]), 32)
    faces = load("aflw", "train", known([sample(tmp_path / "p", 0, one, box=np.array([40.0, 30, 90, 70]))]), 32)
    assert np.allclose(faces.crops()[1], 15.5)


def test_bad_picture_is_named_and_skipped_and_counted_only_where_asked(cache: Path, tree: Path, capsys):
    path = cut_picture(tree)
    faces = load("300w", "full", tree, 32, skip_bad=True)
    said = capsys.readouterr().err
    assert f"left out: {path}" in said and len(said.splitlines()) == 1
    assert len(faces) == 3 and Path(NAMES[1]).name not in " ".join(faces.names)
    assert faces.title.endswith("; 1 that cannot be read left out")
    assert load("300w", "full", tree, 32, skip_bad=True).title == faces.title  # from the store as well
    with pytest.raises(InputError, match=f"{path.name}: the picture is cut off.*--skip-bad"):  # which is no way round the fault
        load("300w", "full", tree, 32)
    assert "left out" not in load("300w", "challenging", tree, 32, skip_bad=True).title


def test_set_of_bad_pictures_is_refused(cache: Path, known: Callable, tmp_path: Path, capsys):
    samples = [sample(tmp_path / "p", i) for i in range(2)]
    for one in samples:
        one.path.write_bytes(b"no picture")
    with pytest.raises(InputError, match=r"none of its 2 pictures can be read, the first because: .*0.png"):
        load("aflw", "train", known(samples), 32, skip_bad=True)
    assert left_in(cache) == []


def test_skipping_works_across_chunks(cache: Path, known: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys):
    monkeypatch.setattr(faces, "CHUNK", 2)
    samples = [sample(tmp_path / "p", i, visible=np.ones(19, bool)) for i in range(6)]
    for i in (2, 3, 5):  # a whole chunk, and half of one
        samples[i].path.write_bytes(b"no picture")
    found = load("aflw", "train", known(samples), 32, skip_bad=True)
    assert list(found.names) == ["face 0", "face 1", "face 4"] and found.visible.shape == (3, 19)
    assert "3 that cannot be read left out" in found.title


def test_title_says_how_much_of_a_set_is_there(cache: Path, known: Callable, tmp_path: Path):
    expected = manifests.load("aflw").splits["train"].expected
    assert load("aflw", "train", known([sample(tmp_path / "p", i) for i in range(2)]), 32).title == (
        f"{manifests.load('aflw').title}, partial: 2 of {expected:,} train faces"
    )


def test_no_faces_have_the_shape_of_faces():
    none = faces.no_faces(64, SCHEMES[98], "nothing")
    assert len(none) == 0 and none.crops()[0].shape == (0, 64, 64, 3) and none.crops()[1].shape == (0, 98, 2)
    assert none.parts() == [] and none.lengths().shape == (0,) and none.offset == 12
