"""Nothing half-written is ever found: after an error, after a kill, on a full disk."""

import errno
import json
import os
import resource
from collections.abc import Callable
from pathlib import Path

import pytest

from fa_lib import storage
from fa_lib.errors import InputError

HANG = """
import sys, time
from pathlib import Path
from fa_lib import storage
with getattr(storage, sys.argv[1])(Path(sys.argv[2])) as fresh:
    (fresh / "half" if sys.argv[1] == "new_folder" else fresh).write_text("half")
    print("inside", flush=True)
    time.sleep(60)
"""


def fill(name: str, fresh: Path, text: str) -> None:
    (fresh / "content" if name == "new_folder" else fresh).write_text(text)


def content(name: str, target: Path) -> str:
    return (target / "content" if name == "new_folder" else target).read_text()


@pytest.fixture(params=["new_folder", "new_file"])
def name(request: pytest.FixtureRequest) -> str:
    """Both writers keep the same promises."""
    return request.param


def test_target_appears_whole_and_replaces_what_was_there(tmp_path: Path, name: str):
    target = tmp_path / "deep" / "target.txt"
    for text in ("first", "second"):
        with getattr(storage, name)(target) as fresh:
            fill(name, fresh, text)
            assert not target.exists() or content(name, target) == "first"
        assert content(name, target) == text
    assert os.listdir(target.parent) == ["target.txt"]


def test_error_inside_leaves_nothing_and_keeps_what_was_there(tmp_path: Path, name: str):
    target = tmp_path / "target.txt"

    def write(text: str, error: bool) -> None:
        with getattr(storage, name)(target) as fresh:
            fill(name, fresh, text)
            if error:
                raise KeyError("stop")

    with pytest.raises(KeyError):
        write("half", error=True)
    assert os.listdir(tmp_path) == []
    write("whole", error=False)
    with pytest.raises(KeyError):
        write("half", error=True)
    assert os.listdir(tmp_path) == ["target.txt"] and content(name, target) == "whole"


@pytest.mark.faults("killed (SIGKILL) while writing")
def test_kill_inside_leaves_no_target(tmp_path: Path, name: str, start: Callable, injected):
    process = start(HANG, name, tmp_path / "target")
    assert process.stdout.readline() == "inside\n"
    process.kill()
    injected()
    process.wait()
    assert not (tmp_path / "target").exists()
    assert all(entry.startswith(".target") for entry in os.listdir(tmp_path))
    with getattr(storage, name)(tmp_path / "target") as fresh:  # what the killed one left is in nobody's way
        fill(name, fresh, "whole")
    assert content(name, tmp_path / "target") == "whole"


def test_file_keeps_its_suffix_while_it_is_written(tmp_path: Path):
    with storage.new_file(tmp_path / "a.npz") as part:
        assert part.suffix == ".npz" and part.parent == tmp_path
        part.touch()


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EFBIG])
def test_disk_errors_become_one_sentence(code: int):
    with pytest.raises(InputError) as caught, storage.disk_errors("the folder cache/x"):
        raise OSError(code, os.strerror(code))
    sentence = str(caught.value)
    assert "the folder cache/x cannot be written" in sentence and "FA_CACHE" in sentence and "\n" not in sentence


def test_other_errors_of_the_system_pass():
    with pytest.raises(FileNotFoundError), storage.disk_errors("x"):
        raise FileNotFoundError(errno.ENOENT, "no such file")


@pytest.mark.faults("file larger than allowed (ulimit -f)")
def test_file_size_limit_ends_in_one_sentence_and_leaves_nothing(tmp_path: Path, injected):
    """A real refusal of the kernel, without needing a full disk: no file may grow beyond 1,000 bytes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        for name in ("new_folder", "new_file"):
            injected()
            with pytest.raises(InputError, match="cannot be written"), getattr(storage, name)(tmp_path / "target") as fresh:
                fill(name, fresh, "x" * 5000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert os.listdir(tmp_path) == []


def test_write_json_is_the_same_text_for_the_same_content(tmp_path: Path):
    storage.write_json(tmp_path / "a.json", {"b": 1, "a": [2, None]})
    storage.write_json(tmp_path / "b.json", {"a": [2, None], "b": 1})
    assert (tmp_path / "a.json").read_bytes() == (tmp_path / "b.json").read_bytes()
    assert json.loads((tmp_path / "a.json").read_text()) == {"a": [2, None], "b": 1}


def test_folders_follow_the_environment(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("FA_RUNS", "/elsewhere/runs")
    monkeypatch.setenv("FA_CACHE", "/elsewhere/cache")
    assert storage.runs_folder() == Path("/elsewhere/runs") and storage.cache_folder() == Path("/elsewhere/cache")
    monkeypatch.delenv("FA_RUNS")
    monkeypatch.delenv("FA_CACHE")
    assert storage.runs_folder() == storage.PROJECT / "runs" and storage.cache_folder() == storage.PROJECT / "cache"
