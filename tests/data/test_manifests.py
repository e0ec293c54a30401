"""Manifests are checked word by word, and folders are compared with them by name."""

from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from fa_lib.data import manifests
from fa_lib.data.manifests import load, parse, verify
from fa_lib.data.readers import w300
from fa_lib.data.readers.w300 import coverage
from fa_lib.landmarks import SCHEMES

CROPS = Path(__file__).resolve().parents[3] / "shared" / "real_faces" / "300w_crops"
POINTS = "version: 1\nn_points:  68\n{\n" + "10.5 20.25\n" * 68 + "}\n"
PIXEL = b"BM" + (58).to_bytes(4, "little") + bytes(4) + b"\x36\0\0\0\x28\0\0\0\1\0\0\0\1\0\0\0\1\0\x18\0" + bytes(28)
SMALL = {
    "title": "A set",
    "home": "https://example.org",
    "terms": "none",
    "get": "local",
    "scheme": 68,
    "index_base": 1,
    "splits": {"train": {"expected": 2, "clips": ["001", "002"]}},
    "normaliser": "inter_ocular",
}


def put(root: Path, *names: str) -> None:
    """Whole faces under the given names: a picture of one pixel and 68 points."""
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / f"{name}.bmp").write_bytes(PIXEL)
        (root / f"{name}.pts").write_text(POINTS)


# the format


@pytest.mark.parametrize("name", manifests.names())
def test_every_manifest_is_whole(name: str):
    manifest = load(name)
    assert manifest.title in manifest.text() and manifest.scheme in {0, *SCHEMES}
    assert (manifest.get == "rendered") == name.startswith("synthetic/") == (not manifest.home)
    counts = {split: item.expected for split, item in manifest.splits.items()}
    assert all(counts.get(subset, count) == count for subset, count in manifest.subsets.items())  # others are flags of faces


def test_manifest_of_300w_agrees_with_its_list_and_reader():
    manifest = load("300w")
    assert {split: item.folders for split, item in manifest.splits.items()} == w300.SPLITS
    for split in manifest.splits.values():
        listed = [name for name in w300.official_faces(manifest.files) if name.rpartition("/")[0] in split.folders]
        assert len(listed) == split.expected
    assert all(name.split("/")[-1] in " ".join(manifest.traps) for name in w300.leaked())


def test_synthetic_sets_have_the_splits_of_the_real_ones():
    assert list(load("synthetic/300w").splits) == list(load("300w").splits)
    assert list(load("synthetic/300vw").splits)[1:] == ["1", "2", "3"] == list(load("300vw").subsets)


def test_clips_of_300vw_are_in_one_split_each():
    clips = [clip for split in load("300vw").splits.values() for clip in split.clips]
    assert len(clips) == len(set(clips)) == 114


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"spilts": {}}, "unknown key 'spilts'"),
        ({"name": "x"}, "unknown key 'name'"),
        ({"title": None}, "title is None, but must be text"),
        ({"scheme": "68"}, "scheme is '68', but must be a whole number"),
        ({"scheme": True}, "scheme is True, but must be a whole number"),
        ({"get": "ftp"}, "get is 'ftp'; choose open link or form or local or rendered"),
        ({"index_base": 2}, "index_base is 2; choose 0 or 1"),
        ({"normaliser": "iod"}, "normaliser is 'iod'"),
        ({"traps": "one"}, "traps is 'one', but must be a list"),
        ({"traps": [1]}, "traps: 1 must be text"),
        ({"splits": ["train"]}, "splits is ['train'], but must be a mapping"),
        ({"splits": {"train": 3148}}, "splits: train: must be a mapping"),
        ({"splits": {"train": {"expected": "many"}}}, "splits: train: expected is 'many'"),
        ({"splits": {"train": {"count": 1}}}, "splits: train: unknown key 'count'"),
        ({"splits": {"train": {"expected": 2, "clips": [401, 402]}}}, "splits: train: clips: 401 must be text"),
        ({"splits": {"train": {"expected": 3, "clips": ["001"]}}}, "expected is 3, but 1 clips are listed"),
        ({"archives": [{"url": "https://example.org"}]}, "archives: the key 'holds' is missing"),
        ({"archives": ["https://example.org"]}, "archives: must be a mapping"),
        ({"subsets": {"common": "554"}}, "subsets: common is '554'"),
    ],
)
def test_manifest_that_breaks_the_format_is_refused(change: dict, complaint: str, refusal: Callable):
    assert parse(yaml.safe_dump(SMALL), "small", "small.yaml").splits["train"].clips == ("001", "002")
    sentence = refusal("", parse, yaml.safe_dump(SMALL | change), "small", "small.yaml")
    assert sentence.startswith("small.yaml: ") and complaint in sentence


@pytest.mark.parametrize("key", SMALL)
def test_missing_key_is_named(key: str, refusal: Callable):
    text = yaml.safe_dump({name: value for name, value in SMALL.items() if name != key})
    assert f"the key '{key}' is missing" in refusal("", parse, text, "small", "small.yaml")


@pytest.mark.parametrize("text", ["title: [1", "", "- a\n- b", "a: !!python/object:os.system {}", "\tb"])
def test_text_that_is_no_manifest_is_refused(text: str, refusal: Callable):
    assert refusal("", parse, text, "small", "small.yaml").startswith("small.yaml: ")


def test_unknown_set_is_refused_with_the_known_ones(refusal: Callable):
    assert "synthetic/300w" in refusal("", load, "300ww") and "'300ww'" in refusal("", verify, "300ww", ".")


# comparing folders


def test_rendered_set_needs_no_folder():
    report = verify("synthetic/300w")
    assert report.state == "rendered" and "nothing to download" in report.text()


def test_partial_set_names_what_is_missing_and_what_is_foreign(tmp_path: Path):
    put(tmp_path, "ibug/image_006", "ibug/image_092_01", "ibug/my own face", "lfpw/testset/image_0001")
    report = verify("300w", tmp_path)
    parts = {part.name: part for part in report.parts}
    assert report.state == "partial" and not report.faults
    assert (parts["ibug"].present, parts["ibug"].expected) == (2, 135) and parts["ibug"].unexpected == ("ibug/my own face",)
    assert "ibug/image_007" in parts["ibug"].missing and "ibug/image_092 _01" not in parts["ibug"].missing
    text = report.text(limit=None)
    assert all(name in text for part in report.parts for name in (*part.missing, *part.unexpected))
    assert "partial: no training faces; test: 1 of 554 common faces and 2 of 135 challenging faces; plus 1 other face" in text
    assert "1 of 1 pictures differ in size" in text  # the size of image_0001 is known, those of ibug are not
    assert "and 335 more" in report.text(limit=2)


def test_faults_are_named_and_make_a_folder_wrong(tmp_path: Path):
    put(tmp_path, *(f"ibug/image_{number}" for number in ("006", "007", "012", "013", "018")))
    (tmp_path / "ibug/image_006.pts").write_text(POINTS.replace("68", "67").replace("10.5 20.25\n", "", 1))
    (tmp_path / "ibug/image_007.pts").write_text(POINTS[:100])
    (tmp_path / "ibug/image_012.bmp").write_bytes(PIXEL[:40])
    (tmp_path / "ibug/image_013.bmp").write_text("<html>")
    (tmp_path / "ibug/image_018.bmp").unlink()
    report = verify("300w", tmp_path)
    assert report.state == "wrong" and len(report.faults) == 5
    for name in ("image_006.pts: has 67", "image_007.pts: is cut", "image_012.bmp: ", "image_013.bmp: ", "image_018.pts: "):
        assert any(name in fault for fault in report.faults) and name in report.text()
    assert "4 more such files" in report.text(limit=1)


def test_folders_that_hold_none_of_the_set(tmp_path: Path, refusal: Callable):
    assert "give --root" in refusal("", verify, "300w")
    for name in ("300w", "300vw"):
        assert "no such folder" in refusal("", verify, name, tmp_path / "none")
        assert str(tmp_path) in refusal("", verify, name, tmp_path)
    (tmp_path / "ibug").mkdir()
    assert verify("300w", tmp_path).state == "wrong"


# coverage


@pytest.fixture
def crops(tmp_path: Path) -> Path:
    """The real faces beside this clone where they are, else a tree with as many of the official names in every folder."""
    if CROPS.is_dir():
        return CROPS
    for folder, count in {"afw": 337, "helen/trainset": 870, "lfpw/trainset": 805, "lfpw/testset": 224}.items():
        put(tmp_path, *[name for name in w300.official_faces() if name.rpartition("/")[0] == folder][:count])
    return tmp_path


def test_coverage_of_the_crops(crops: Path):
    found = coverage(crops)
    counts = [found.folders[folder] for folder in ("afw", "helen/trainset", "lfpw/trainset", "lfpw/testset")]
    assert counts == [(337, 337), (870, 2000), (805, 811), (224, 224)]
    assert found.title() == "300-W, partial: 2,012 of 3,148 training faces; test: LFPW half of common"


def test_complete_set_is_called_by_its_name(tmp_path: Path):
    put(tmp_path, *w300.official_faces())
    found = coverage(tmp_path)
    assert found.title() == "300-W" and found.count("train") == (3148, 3148) and found.count("full") == (689, 689)
    assert verify("300w", tmp_path).state == "complete"
    put(tmp_path, "ibug/my_own_face")
    assert coverage(tmp_path).title() == "300-W, plus 1 other face"


@pytest.mark.parametrize(
    ("present", "title"),
    [
        ((337, 2000, 811, 330, 224, 134), "all training faces; test: common and 134 of 135 challenging faces"),
        ((337, 2000, 811, 330, 0, 135), "all training faces; test: HELEN half of common and challenging"),
        ((337, 0, 0, 330, 224, 0), "337 of 3,148 training faces; test: common"),
        ((337, 0, 0, 329, 224, 0), "337 of 3,148 training faces; test: 553 of 554 common faces"),
        ((0, 0, 0, 10, 0, 0), "no training faces; test: 10 of 554 common faces"),
        ((0, 1, 0, 0, 0, 0), "1 of 3,148 training faces; test: none"),
    ],
)
def test_partial_sets_say_what_is_there(present: tuple[int, ...], title: str):
    expected = {"afw": 337, "helen/trainset": 2000, "lfpw/trainset": 811, "helen/testset": 330, "lfpw/testset": 224, "ibug": 135}
    found = w300.Coverage(dict(zip(expected, zip(present, expected.values()))))
    assert found.title() == f"300-W, partial: {title}"
