"""Paths from lists stay below their root, and files are found where archives unpack to."""

from pathlib import Path

import pytest

from fa_lib.data.readers.files import find, inside
from fa_lib.errors import InputError


@pytest.mark.parametrize(
    "relative",
    [
        "../a.jpg",
        "b/../../a.jpg",
        "..",
        "b/..",
        "/a.jpg",
        "//a/b.jpg",
        "\\a.jpg",
        "..\\a.jpg",
        "b\\..\\..\\a.jpg",
        "C:\\a.jpg",
        "c:a.jpg",
        "",
    ],
)
def test_path_out_of_the_root_is_refused(tmp_path: Path, relative: str):
    with pytest.raises(InputError, match="must lie below it") as caught:
        inside(tmp_path, relative)
    assert repr(relative) in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("relative", ["a.jpg", "b/a.jpg", "image_092 _01.jpg", "a..b/c.jpg", "b\\a.jpg", "顔.jpg"])
def test_path_below_the_root_is_kept(tmp_path: Path, relative: str):
    assert inside(tmp_path, relative) == tmp_path / relative.replace("\\", "/")


def test_link_is_followed_only_below_the_root(tmp_path: Path):
    root = tmp_path / "root"
    (root / "b").mkdir(parents=True)
    (tmp_path / "out").mkdir()
    (root / "loose").symlink_to(tmp_path / "nowhere")
    (root / "away").symlink_to(tmp_path / "out")
    (root / "near").symlink_to(root / "b")
    assert inside(root, "near/a.jpg") == root / "near/a.jpg"
    for relative in ("away/a.jpg", "away", "loose"):
        with pytest.raises(InputError, match="leads out of"):
            inside(root, relative)


def test_root_may_itself_be_a_link(tmp_path: Path):
    (tmp_path / "disk/b").mkdir(parents=True)
    (tmp_path / "root").symlink_to(tmp_path / "disk")
    assert inside(tmp_path / "root", "b/a.jpg") == tmp_path / "root/b/a.jpg"
    assert find(tmp_path / "root", "b", "b/") == tmp_path / "root/b"


def test_topmost_is_found(tmp_path: Path):
    (tmp_path / "a/b/c/list.txt").mkdir(parents=True)
    with pytest.raises(InputError, match=r"holds no list\.txt; give the folder that holds a list"):
        find(tmp_path, "list.txt", "a list")
    (tmp_path / "a/b/list.txt").touch()
    assert find(tmp_path, "list.txt", "a list") == tmp_path / "a/b/list.txt"
    (tmp_path / "z").mkdir()
    (tmp_path / "z/list.txt").touch()
    assert find(tmp_path, "list.txt", "a list") == tmp_path / "z/list.txt"
