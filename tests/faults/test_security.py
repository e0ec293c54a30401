"""Files that would rather be programs, names that nobody expects, markup in what pages show, and a network that is not there."""

import io
import json
import os
import pickle
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

from fa_lib import runs
from fa_lib.data import load, manifests
from fa_lib.data.readers import own
from fa_lib.data.unpacking import unpack
from fa_lib.report import pages

NAMES = ["two  blanks", """quotes " ' `""", "line\nbreak", "лицо 顔 وجه", "-rf", "$(touch evil); *?[a]", "%s{0} #1"]
MARKUP = ["<script>alert(1)</script>", "<img src=x onerror=alert(1)>", "a | b <b>c</b>", "</table><iframe src='//x.org'>"]
# each would make the folder `evil` if the loader ran it
YAML_PROGRAMS = [
    "!!python/object/apply:os.mkdir [evil]",
    "!!python/object/new:os.mkdir [evil]",
    "!!python/name:os.mkdir evil",
    '!!python/object/apply:subprocess.check_call [["mkdir", "evil"]]',
]
NETWORK = """
import contextlib, io, os, socket, sys, time
tried = []

def refuse(event, arguments):
    if event in ("socket.connect", "socket.sendto", "socket.getaddrinfo", "socket.gethostbyname"):
        if event.startswith("socket.get") or arguments[0].family != socket.AF_UNIX:
            tried.append((event, str(arguments[-1])))
            raise socket.gaierror("the network is gone")

sys.addaudithook(refuse)
from fa_lib.__main__ import main
time.sleep = lambda seconds: None
for command in sys.argv[1:]:
    with contextlib.redirect_stdout(io.StringIO()):
        code = main(command.split())
    print(code, len(tried), flush=True)
"""


class Program:
    """Makes the folder `evil` of where the test runs when it is unpickled."""

    def __init__(self, place: Path) -> None:
        self.place = place

    def __reduce__(self) -> tuple:
        return os.mkdir, (str(self.place / "evil"),)


def pickled(kind: str, place: Path) -> bytes:
    """A file that holds the program, in the ways in which checkpoints and arrays hold objects."""
    data = io.BytesIO()
    if kind == "torch":
        torch.save({"net": Program(place), "log": []}, data)
    elif kind == "old torch":
        torch.save({"net": Program(place), "log": []}, data, _use_new_zipfile_serialization=False)
    elif kind == "numpy":
        np.savez(data, test=np.array([Program(place)], object), landmarks=np.array([Program(place)], object))
    else:
        pickle.dump(Program(place), data)
    return data.getvalue()


@pytest.fixture
def trained(tiny: ModuleType, store: Path) -> runs.Trained:
    """The tiny run, in a store of its own."""
    store.mkdir()
    return runs.get(tiny.RUN)


def test_the_program_would_run(tmp_path: Path):
    """Else the tests below would prove nothing."""
    pickle.loads(pickled("plain", tmp_path))
    assert (tmp_path / "evil").is_dir()


@pytest.mark.faults("program in a pickle")
@pytest.mark.parametrize("kind", ["torch", "old torch", "plain", "numpy"])
def test_checkpoint_with_a_program_is_refused(
    tiny: ModuleType, store: Path, whole: bytes, weights_in: Callable, injected, tmp_path: Path, capfd, kind: str
):
    """Training says so and starts again."""
    code = runs.code_hash(tiny.RUN.config.code)
    place = tiny.RUN.folder.parent / f".{tiny.RUN.folder.name}.{code}.part" / "checkpoint.pt"
    place.parent.mkdir(parents=True)
    place.write_bytes(pickled(kind, tmp_path))
    injected()
    runs.get(tiny.RUN)
    assert not (tmp_path / "evil").exists() and weights_in(store) == whole
    assert "cannot be read" in (said := capfd.readouterr().err) and "training starts again" in said


@pytest.mark.faults("program in a pickle")
@pytest.mark.parametrize("kind", ["torch", "old torch", "plain", "numpy"])
def test_results_with_a_program_are_refused(
    trained: runs.Trained, kind: str, tmp_path: Path, refusal: Callable, injected
):  # fmt: skip
    """Weights and predictions of a run; the sentence says how to get them back."""
    for name, read in {"model.safetensors": trained.network, "predictions.npz": lambda: trained.predictions}.items():
        (trained.folder / name).write_bytes(pickled(kind, tmp_path))
        injected()
        assert "remove it, to train the run again" in refusal(trained.folder, read)
    assert not (tmp_path / "evil").exists()


@pytest.mark.faults("program in a pickle")
@pytest.mark.parametrize("kind", ["plain", "numpy"])
def test_crop_store_with_a_program_is_built_again(cache: Path, tmp_path: Path, kind: str, injected):
    """Its index is never unpickled."""
    before = load("synthetic/300w", "train", None, 32, 2)
    (index,) = cache.glob("*/index.npz")
    index.write_bytes(pickled(kind, tmp_path))
    injected()
    assert load("synthetic/300w", "train", None, 32, 2).fingerprint == before.fingerprint
    assert not (tmp_path / "evil").exists()


@pytest.mark.faults("program in YAML")
@pytest.mark.parametrize("program", YAML_PROGRAMS)
def test_manifest_with_a_program_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refusal: Callable, injected, program: str
):
    """A user's own manifest, and one of the project."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.yaml").write_text(f"name: {program}\ntitle: A set\n")
    injected()
    assert "is not YAML" in refusal("mine.yaml", own.describe, tmp_path / "mine.yaml")
    injected()
    assert "is not YAML" in refusal("set", manifests.parse_yaml, f"- {program}", "set")
    assert os.listdir(tmp_path) == ["mine.yaml"]


@pytest.mark.faults("file name with blanks, quotes, line breaks, other letters")
@pytest.mark.parametrize("name", NAMES)
def test_stores_and_pictures_of_any_name_are_used(
    own_data: Path, tiny: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, whole: bytes, weights_in: Callable,
    injected, name: str,
):  # fmt: skip
    """The folder of everything, the pictures in it, and an archive's files are called so."""
    root = tmp_path / name
    shutil.copytree(own_data.parent, root)
    content = json.loads((root / "test.json").read_text())
    renamed = {picture["file_name"]: f"{name} {number}.png" for number, picture in enumerate(content["images"])}
    for picture in content["images"]:
        os.rename(root / "images" / picture["file_name"], root / "images" / renamed[picture["file_name"]])
        picture["file_name"] = renamed[picture["file_name"]]
    (root / "test.json").write_text(json.dumps(content))
    monkeypatch.setenv("FA_RUNS", str(root / "runs"))
    monkeypatch.setenv("FA_CACHE", str(root / "cache"))
    injected()
    found = load(root / "mydata.yaml", "test", None, 32)
    assert len(found) == len(renamed) and all(name in one for one in found.names)
    assert load(root / "mydata.yaml", "test", None, 32).fingerprint == found.fingerprint  # now from the crop store
    (root / "runs").mkdir()
    runs.get(tiny.RUN)
    assert weights_in(root / "runs") == whole and len(list(runs.stored())) == 1
    with zipfile.ZipFile(root / "set.zip", "w") as archive:
        archive.writestr(f"{name}/{name}.txt", b"1")
    injected()
    assert unpack(root / "set.zip", root / "out") == 1 and (root / "out" / name / f"{name}.txt").read_bytes() == b"1"
    assert not list(Path.cwd().glob("evil")) and not list(tmp_path.rglob("evil"))


@pytest.mark.faults("markup in what a page shows")
@pytest.mark.parametrize("markup", MARKUP)
def test_markup_in_a_table_of_the_site_is_text(markup: str, injected):
    """Sphinx reads Markdown, which would let it through."""
    from docutils.core import publish_parts
    from myst_parser.docutils_ import Parser  # which reads the site's Markdown

    injected()
    text = pages.table(["claim", markup], [[markup, 1]])
    page = publish_parts(f"{text}\n", writer_name="html5", parser=Parser())["html_body"]
    assert page.count("<td") == 2 and page.count("<th ") == 2
    assert not [tag for tag in ("<script", "<img", "<iframe", "<b>") if tag in page] and "&lt;" in page


@pytest.mark.faults("network gone")
def test_network_is_asked_for_nothing_but_a_download(start: Callable, store: Path, injected):
    """Every command works without it; a download, asked for, says that the server cannot be reached."""
    train = "train self_distillation/resnet18-gt/synthetic-300w/smoke/0"
    commands = ["data list", "data show wflw", train, "runs list"]
    fetch = f"data fetch cofw --root {store / 'cofw'}"
    for _ in [*commands, fetch]:
        injected()
    out, err = start(NETWORK, *commands, fetch).communicate(timeout=120)
    *others, last = [tuple(map(int, line.split())) for line in out.splitlines()]
    assert others == [(0, 0)] * len(commands), err
    assert last[0] == 2 and last[1] > 0 and "the server cannot be reached" in err.splitlines()[-1]
