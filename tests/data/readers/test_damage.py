"""Damaged files never crash a reader: what it cannot read, it refuses in one sentence.

Each of the WHOLE files is damaged by hypothesis, here and there, and read by what reads such files. `FA_FUZZ=10000 pytest
tests/data/readers/test_damage.py` tries so many of each.
"""

import io
import json
import os
import tarfile
import tempfile
import zipfile
from functools import partial
from pathlib import Path

import cv2
import h5py
import numpy as np
import pytest
import scipy.io
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save

from fa_lib import restoring
from fa_lib.__main__ import main
from fa_lib.data import manifests, unpacking
from fa_lib.data.readers import files, matlab, own, unlabelled, video, wflw
from fa_lib.errors import InputError
from fa_lib.models import create

TRIES = int(os.environ.get("FA_FUZZ", "25"))
LONGEST = 1000  # characters of a sentence

# what trips parsers: numbers that are none or too long, deep nesting, other alphabets, dates, references, paths, line ends
TOKENS = [
    b"9" * 5000, b"-1", b"1e999", b"nan", b"1_0", b"0x1", "\u0661\u00b2".encode(), b"[" * 3000, b"{", b"}", b"]", b'"', b"'",
    b"\\", b"\\ud800", b"2021-99-99", b"12:30:45", b"&a", b"*a", b"<<: ", b"? ", b"- ", b": ", b"|", b"~", b"true",
    b"!!python/object:os.system x", b",", b";", b"\t", b"\r", b"\n", b"\n\n", b"\x00", b"\xff", b"\xef\xbb\xbf", b"../", b"/",
    b"C:", b"x" * 300, b"#",
]  # fmt: skip


@st.composite
def damaged(draw: st.DrawFn, whole: list[bytes]) -> bytes:
    """One of the files with one to four places overwritten, cut out, doubled, or filled with what trips parsers."""
    content = draw(st.sampled_from(whole))
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(content)))
        end = min(len(content), at + draw(st.integers(0, 40)))
        new = draw(
            st.one_of(st.sampled_from(TOKENS), st.binary(max_size=4), st.just(content[at:end] * 2), st.just(content[:at][-8:]))
        )
        content = content[:at] if draw(st.integers(0, 15)) == 0 else content[:at] + new + content[end:]
    return content


def picture(suffix: str) -> bytes:
    return cv2.imencode(suffix, (np.indices((24, 20)).sum(0)[..., None] * np.array([3, 5, 7])).astype(np.uint8))[1].tobytes()


def read_points(content: bytes, folder: Path) -> None:
    (folder / "a.pts").write_bytes(content)
    files.read_pts(folder / "a.pts", 3)


def read_picture(content: bytes, folder: Path) -> None:
    (folder / "a.png").write_bytes(content)
    files.check_picture(folder / "a.png")
    files.read_image(folder / "a.png")


WFLW = (" ".join(f"{1.5 * value:.3f}" for value in range(196)) + " 1 2 30 40 0 1 0 0 0 1 a/b_1.jpg\n").encode() * 2


def read_wflw(content: bytes, folder: Path) -> None:
    place = folder / "WFLW_annotations" / "list_98pt_rect_attr_train_test" / "list_98pt_rect_attr_train.txt"
    for made in (place.parent, folder / "WFLW_images"):
        made.mkdir(parents=True, exist_ok=True)
    place.write_bytes(content)
    wflw.listed(folder, "train")


def matlab_5(compressed: bool) -> bytes:
    file = io.BytesIO()
    variables = {"table": np.arange(12.0).reshape(3, 4), "names": np.array(["ab", "cd"], object), "more": {"a": 1, "b": "x"}}
    scipy.io.savemat(file, variables, do_compression=compressed)
    return file.getvalue()


def matlab_7() -> bytes:
    memory = io.BytesIO()
    with h5py.File(memory, "w") as file:
        file["table"] = np.arange(12.0).reshape(4, 3)
        names = file.create_dataset("names", (1,), dtype=h5py.ref_dtype)
        names[0] = file.create_dataset("first", data=np.array([97, 98], np.uint16)).ref
    return memory.getvalue()


def read_matlab(content: bytes, folder: Path) -> None:
    path = folder / "a.mat"
    path.write_bytes(content)
    files.faults_of(matlab.read_table, path, "table", None, 4)
    files.faults_of(matlab.read_texts, path, "names")
    if content.startswith(b"\x89HDF"):
        files.faults_of(matlab.cell_shapes, path, "names")
        files.faults_of(matlab.read_cell, path, "names", 0)


POINT_NAMES = "lefteye_x lefteye_y righteye_x righteye_y nose_x nose_y leftmouth_x leftmouth_y rightmouth_x rightmouth_y"
ROWS = "".join(f"{number:06d}.jpg  69 109 106 113 77 142 73 152 108 154\r\n" for number in (1, 2))
CELEBA = {
    "list_landmarks_align_celeba.txt": f"2\r\n{POINT_NAMES}\r\n{ROWS}".encode(),
    "list_eval_partition.txt": b"000001.jpg 0\n000002.jpg 0\n",
    "identity_CelebA.txt": b"000001.jpg 2880\n000002.jpg 2937\n",
}


def put_pictures(folder: Path, *names: str) -> None:
    for name in names:
        if not (folder / name).exists():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(picture(".png"))


def read_celeba(name: str, content: bytes, folder: Path) -> None:
    put_pictures(folder / "img_align_celeba", "000001.jpg")
    for file, lines in {**CELEBA, name: content}.items():
        (folder / file).write_bytes(lines)
    unlabelled.read_celeba(folder, "train")


AFFECTNET = f"1/a.jpg,134,132,900,900,{';'.join(['61.03', '181.76'] * 68)},1,-0.5,0.3\n".encode() * 2


def read_affectnet(content: bytes, folder: Path) -> None:
    put_pictures(folder / "Manually_Annotated_Images", "1/a.jpg")
    (folder / "training.csv").write_bytes(content)
    unlabelled.read_affectnet(folder, "train")


def read_vggface2(content: bytes, folder: Path) -> None:
    put_pictures(folder / "train", "n1/1_01.jpg")
    (folder / "bb_landmark").mkdir(exist_ok=True)
    (folder / "bb_landmark" / "loose_bb_train.csv").write_bytes(content)
    unlabelled.read_vggface2(folder, "train")


def clip() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        writer = cv2.VideoWriter(f"{folder}/a.avi", cv2.VideoWriter_fourcc(*"MJPG"), 25, (24, 20))
        for number in range(3):
            writer.write(np.full((20, 24, 3), 50 * number, np.uint8))
        writer.release()
        return Path(folder, "a.avi").read_bytes()


def read_clip(content: bytes, folder: Path) -> None:
    (folder / "a.avi").write_bytes(content)
    for number in range(1, min(4, 1 + video.count_frames(folder / "a.avi", 3))):
        video.read_frame(folder / "a.avi", number)


OWN = b"""name: mine
title: My faces
format: csv
pictures: pictures
annotations: faces
test_share: 0.3
landmarks: 3
flip: [[0, 1]]
normaliser: [0, 1]
index_base: 0
regions: {eyes: [0, 1]}
"""
FACES = b"image,x0,y0,x1,y1,x2,y2\na.png,1,2,30,2,15,30\nb.png,2,2,30,3,15,31\nc.png,1,3,31,2,14,30\n"


def coco() -> bytes:
    images = [{"id": number, "file_name": f"{name}.png"} for number, name in enumerate("abc")]
    points = [1, 2, 2, 30, 2, 2, 15, 30, 1]
    faces = [{"id": n, "image_id": n, "keypoints": [points[0] + n, *points[1:]], "bbox": [1, 1, 30, 30]} for n in range(3)]
    return json.dumps({"images": images, "annotations": faces}).encode()


def read_own(manifest: bytes, content: bytes, folder: Path) -> None:
    put_pictures(folder / "pictures", "a.png", "b.png", "c.png")
    (folder / "mine.yaml").write_bytes(manifest)
    (folder / "faces").write_bytes(content)
    own.read(own.describe(folder / "mine.yaml"), "train")


def read_own_manifest(content: bytes, folder: Path) -> None:
    read_own(content, FACES, folder)


def read_manifest(content: bytes, folder: Path) -> None:
    manifests.parse(content.decode(errors="replace"), "300w", "300w.yaml")


def archive(kind: str) -> bytes:
    file = io.BytesIO()
    if kind == "zip":
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as packed:
            packed.writestr("faces/a.txt", "a" * 100)
    else:
        with tarfile.open(fileobj=file, mode=kind) as packed:
            member = tarfile.TarInfo("faces/a.txt")
            member.size = 100
            packed.addfile(member, io.BytesIO(b"a" * 100))
    return file.getvalue()


def unpack(content: bytes, folder: Path) -> None:
    (folder / "a.zip").write_bytes(content)
    unpacking.unpack(folder / "a.zip", folder / "unpacked")
    assert {entry.name for entry in folder.iterdir()} == {"a.zip", "unpacked"}  # nothing beside


def predictions() -> bytes:
    file = io.BytesIO()
    np.savez(file, test=np.zeros((2, 5, 2), np.float32))
    return file.getvalue()


OPTIONS = {"width": 4, "size": 32}
RUN = {
    "config.json": json.dumps({"config": {"network": "resnet18", "options": [["width", 4]], "source": {"size": 32}}}).encode(),
    "model.safetensors": save(create("resnet18", landmarks=5, **OPTIONS).state_dict()),
    "predictions.npz": predictions(),
}


def read_run(name: str, content: bytes, folder: Path) -> None:
    for file, part in {**RUN, name: content}.items():
        (folder / file).write_bytes(part)
    restoring.restore({"folder": str(folder), "id": "a run", "hash": "0"})


def read_store(content: bytes, folder: Path) -> None:
    place = folder / "runs" / "paper" / "row" / "data" / "quick" / "s0-0"
    place.mkdir(parents=True, exist_ok=True)
    (place / "provenance.json").write_bytes(content)
    assert main(["runs", "list"]) in (0, 2)


def read_name(content: bytes, folder: Path) -> None:
    """A run's name on the command line; nothing is trained, since there is no such profile and seed."""
    name = content.decode(errors="replace").replace("\0", "")
    assert main(["train", f"{name}/none/x"]) == 2 and main(["runs", "show", f"-{name}"]) == 2


PROVENANCE = b'{"id": "a/b/c/quick/0", "hash": "0", "code": "1", "files": ["geometry"], "seconds": 1.5, "device": "CPU"}'
WHOLE = {
    "points": (read_points, [b"version: 1\nn_points:  3\n{\n1.0 1.0\n12.5 3.0\n4 5\n}\n"]),
    "pictures": (read_picture, [picture(".png"), picture(".jpg"), picture(".bmp")]),
    "WFLW's list": (read_wflw, [WFLW]),
    "Matlab 5": (read_matlab, [matlab_5(compressed=False), matlab_5(compressed=True)]),
    "Matlab 7.3": (read_matlab, [matlab_7()]),
    **{f"CelebA: {name}": (partial(read_celeba, name), [content]) for name, content in CELEBA.items()},
    "AffectNet's list": (read_affectnet, [AFFECTNET]),
    "VGGFace2's list": (read_vggface2, [b'NAME_ID,X,Y,W,H\n"n1/1_01",159,60,161,140\n"n1/2_01",159,60,161,140\n']),
    "clips": (read_clip, [clip()]),
    "manifests": (read_manifest, [(manifests.FOLDER / f"{name}.yaml").read_bytes() for name in ("300w", "celeba", "300vw")]),
    "own manifests": (read_own_manifest, [OWN]),
    "own CSV": (partial(read_own, OWN), [FACES]),
    "own COCO": (partial(read_own, OWN.replace(b"csv", b"coco")), [coco()]),
    "archives": (unpack, [archive(kind) for kind in ("zip", "w", "w:gz", "w:xz")]),
    **{f"a run's {name}": (partial(read_run, name), [content]) for name, content in RUN.items()},
    "provenance": (read_store, [PROVENANCE]),
    "names of runs": (read_name, [b"self_distillation/fan2-gt/synthetic-300w/quick/0", b"scaf"]),
}  # fmt: skip


@pytest.mark.parametrize("what", WHOLE)
def test_whole_files_are_read(what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    reader, whole = WHOLE[what]
    monkeypatch.setenv("FA_RUNS", str(tmp_path / "runs"))
    for content in whole:
        reader(content, tmp_path)


@pytest.mark.parametrize("what", WHOLE)
def test_damaged_files_are_read_or_refused_in_a_sentence(what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    reader, whole = WHOLE[what]
    monkeypatch.setenv("FA_RUNS", str(tmp_path / "runs"))

    @settings(max_examples=TRIES, suppress_health_check=list(HealthCheck))
    @given(damaged(whole))
    def check(content: bytes) -> None:
        try:
            reader(content, tmp_path)
        except InputError as error:
            assert str(error).strip() and "\n" not in str(error) and len(str(error)) <= LONGEST

    check()
