"""`fa predict` on pictures whose landmarks are known exactly, and on everything that is none; nothing half-written stays."""

import csv
import json
import os
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from torch import nn

import fa_lib
from fa_lib import predicting, pretrained
from fa_lib.__main__ import main
from fa_lib.confidence import Calibration
from fa_lib.finding import Judge

FACE = np.array([[-10.0, -8], [10, -8], [0, 12]])  # a red, a green and a blue spot about the middle
JUDGE = Judge(Calibration((0, 1), (0, 0.5)), least=0.35)


class Spots(nn.Module):
    """Heatmaps of the three landmarks: the colours. Where a colour is missing, its map is flat."""

    def forward(self, images: torch.Tensor) -> list[torch.Tensor]:
        return [(images - 0.08).clamp(min=0) + 0.003]


@pytest.fixture(autouse=True)
def shipped(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The shipped network is one that finds coloured spots, and files are written below the test's folder."""
    monkeypatch.setattr(pretrained, "load", lambda: pretrained.Shipped(Spots(), 32, JUDGE, "spots", "5b075b07"))
    monkeypatch.chdir(tmp_path)


def picture_of(*faces: tuple[float, float], size: tuple[int, int] = (120, 90)) -> np.ndarray:
    """A picture (H, W, 3) RGB with a face of 20 pixels at each (x, y)."""
    x, y = np.meshgrid(np.arange(size[0]), np.arange(size[1]))
    picture = np.zeros((size[1], size[0], 3))
    for face in faces:
        for colour, (px, py) in enumerate(FACE + face):
            picture[..., colour] += 250 * np.exp(-((x - px) ** 2 + (y - py) ** 2) / 2)
    return picture.clip(0, 255).round().astype(np.uint8)


def write(path: Path | str, picture: np.ndarray) -> Path:
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), picture[..., ::-1])
    return path


def predicted(*words: str) -> int:
    return main(["predict", *map(str, words)])


def complaints(capsys: pytest.CaptureFixture) -> list[str]:
    """The lines that say what is wrong."""
    return [line for line in capsys.readouterr().err.splitlines() if line.startswith("fa: ")]


def rows(file: str) -> np.ndarray:
    """Lines (N, 5) of a CSV: face, point, x, y, confidence."""
    return np.loadtxt(file, delimiter=",", skiprows=1, ndmin=2)


def written() -> list[str]:
    return sorted(str(path.relative_to("landmarks")) for path in Path("landmarks").rglob("*") if path.is_file())


def test_picture_becomes_a_table_a_record_and_a_drawing(capsys):
    write("a.png", picture_of((70, 50)))
    assert predicted("a.png") == 0
    assert capsys.readouterr().out.startswith("landmarks/a.csv: 1 face, mean confidence 0.")
    assert written() == ["a.csv", "a.jpg", "a.json"]
    assert Path("landmarks/a.csv").read_text().splitlines()[0] == "face,point,x,y,confidence"
    found = rows("landmarks/a.csv")
    assert np.array_equal(found[:, :2], [(0, 0), (0, 1), (0, 2)]) and np.abs(found[:, 2:4] - FACE - (70, 50)).max() < 0.15
    record = json.loads(Path("landmarks/a.json").read_text())
    assert (record["width"], record["height"], record["version"]) == (120, 90, fa_lib.__version__)
    assert record["model"] == {"name": "spots", "hash": "5b075b07"} and record["scheme"]["points"] == 3
    (face,) = record["faces"]
    assert face["landmarks"] == found[:, 2:4].tolist() and face["confidence"] == found[:, 4].tolist()
    assert face["box"] == pytest.approx((60, 42, 80, 62), abs=0.15) and 0.1 < min(face["confidence"]) < 0.5
    shown = cv2.imread("landmarks/a.jpg")
    assert shown.shape == (90, 120, 3) and shown[62, 70, 1:].max() > 120 > 60 > shown[20, 20].max()  # chin, and nothing


def test_run_that_is_not_calibrated_says_no_confidence(monkeypatch):
    monkeypatch.setattr(predicting, "_model", lambda name: predicting.Model(Spots(), 32, None, name, "12345678"))
    write("a.png", picture_of((70, 50)))
    assert predicted("12345678", "a.png") == 0
    with open("landmarks/a.csv") as file:
        assert [row["confidence"] for row in csv.DictReader(file)] == [""] * 3
    record = json.loads(Path("landmarks/a.json").read_text())
    assert record["faces"][0]["confidence"] is None and record["model"] == {"name": "12345678", "hash": "12345678"}


def test_several_inputs_go_on_where_one_fails(capsys):
    write("in/good.png", picture_of((70, 50)))
    write("in/more/empty.png", picture_of())
    write("in/dot.png", np.zeros((1, 1, 3), np.uint8))
    Path("in/text.jpg").write_text("no picture")
    assert predicted("in") == 1
    out, err = capsys.readouterr()
    assert out.splitlines() == [line for line in out.splitlines() if line.startswith("landmarks/good.csv")]
    assert [line.split(":")[1].strip() for line in err.splitlines() if line.startswith("fa: ")] == [
        "in/dot.png", "in/more/empty.png", "in/text.jpg",
    ]  # fmt: skip
    assert "3 of 4 inputs" in err and written() == ["good.csv", "good.jpg", "good.json"]


def huge(path: Path) -> None:
    """A PNG of 400 megapixels, in its head: 60 bytes that nobody should decode."""
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", 20_000, 20_000, 8, 2, 0, 0, 0)), (b"IDAT", zlib.compress(b"")), (b"IEND", b"")]
    body = b"".join(struct.pack(">I", len(d)) + k + d + struct.pack(">I", zlib.crc32(k + d)) for k, d in chunks)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + body)


@pytest.mark.parametrize(
    ("name", "make", "said"),
    [
        ("a.jpg", lambda path: path.write_text("hello"), "is not a picture"),
        ("a.jpg", Path.touch, "is empty"),
        ("a.png", lambda path: write(path, picture_of()), "no face is found"),
        ("a.png", lambda path: write(path, np.zeros((1, 1, 3), np.uint8)), "no face is found"),
        ("a.png", lambda path: write(path, np.zeros((2, 5000, 3), np.uint8)), "no face is found"),
        ("a.png", huge, "more than 120 million pixels"),
        ("folder", Path.mkdir, "holds no picture"),
        ("a.mp4", lambda path: path.write_text("hello"), "a.mp4"),
        ("a.txt", lambda path: path.write_text("hello"), "is not a video"),
        ("none.jpg", lambda path: None, "fa runs list"),
    ],
)
def test_what_has_no_face_is_one_sentence_and_leaves_nothing(name: str, make: Callable[[Path], None], said: str, capsys):
    make(Path(name))
    assert predicted(name) == 2
    (sentence,) = complaints(capsys)
    assert name in sentence and said in sentence and not any(Path("landmarks").glob("**/*.*"))


def test_all_failed_is_exit_code_2(capsys):
    for name in ("a.png", "b.png"):
        write(name, picture_of())
    assert predicted("a.png", "b.png") == 2
    assert ["a.png" in complaints(capsys)[0]] == [True]


def test_boxes_say_where_faces_are(capsys):
    write("in/a.png", picture_of((30, 40), (90, 45)))
    Path("boxes.csv").write_text("file,x,y,width,height\na.png,82,38,18,22\nin/a.png,20,32,21,21\n")
    assert predicted("in", "--boxes", "boxes.csv") == 0
    found = rows("landmarks/a.csv")
    expected = np.concatenate([FACE + (90, 45), FACE + (30, 40)])
    assert found[:, 0].tolist() == [0, 0, 0, 1, 1, 1] and np.abs(found[:, 2:4] - expected).max() < 0.15
    assert predicted("in/a.png", "--box", "20", "32", "21", "21") == 0
    assert np.abs(rows("landmarks/a.csv")[:, 2:4] - FACE - (30, 40)).max() < 0.15


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a,b\n", "file,x,y,width,height"),
        ("file,x,y,width,height\nb.png,1,2,3,4\n", "b.png"),
        ("file,x,y,width,height\na.png,1,2,3\n", "line 2"),
        ("file,x,y,width,height\na.png,1,2,3,4\na.png,1,2,3,x\n", "line 3"),
        ("file,x,y,width,height\na.png,1,2,0,4\n", "no area"),
        ("file,x,y,width,height\na.png,1,2,nan,4\n", "no area"),
        ("file,x,y,width,height\na.png,500,2,9,9\n", "outside"),
        ("", "is empty"),
    ],
)
def test_wrong_boxes_are_refused(text: str, said: str, capsys):
    write("a.png", picture_of((70, 50)))
    Path("boxes.csv").write_text(text)
    assert predicted("a.png", "--boxes", "boxes.csv") == 2
    (sentence,) = complaints(capsys)
    assert said in sentence and not any(Path("landmarks").glob("**/*.*"))


def test_one_box_is_not_of_several_pictures(capsys):
    for name in ("a.png", "b.png"):
        write(name, picture_of((70, 50)))
    assert predicted("a.png", "b.png", "--box", "1", "1", "9", "9") == 2
    assert "--boxes" in complaints(capsys)[0]


def test_picture_is_read_as_it_is_shown():
    """EXIF 6: stored lying on its left side. Landmarks are those of the upright picture."""
    from PIL import Image

    upright = picture_of((70, 50))
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(np.rot90(upright).copy()).save("a.jpg", exif=exif, quality=98)
    assert np.abs(predicting.read_upright(Path("a.jpg")).astype(int) - upright).mean() < 4
    assert predicted("a.jpg") == 0
    assert np.abs(rows("landmarks/a.csv")[:, 2:4] - FACE - (70, 50)).max() < 0.4


def test_names_that_meet_keep_their_suffix_or_are_refused(capsys):
    for name in ("in/a.png", "in/a.bmp", "in/sub/a.png", "other/a.png"):
        write(name, picture_of((70, 50)))
    assert predicted("in") == 0
    assert {name for name in written() if name.endswith(".csv")} == {"a.png.csv", "a.bmp.csv", "sub/a.csv"}
    capsys.readouterr()
    assert predicted("in/a.png", "other/a.png") == 2
    assert "another input" in complaints(capsys)[0]


def test_picture_is_not_replaced_by_its_drawing(capsys):
    before = write("a.jpg", picture_of((70, 50), size=(120, 100))).read_bytes()
    assert predicted("a.jpg", "--out", ".") == 2
    assert "--out" in complaints(capsys)[0] and Path("a.jpg").read_bytes() == before and os.listdir() == ["a.jpg"]


def test_error_on_the_way_leaves_nothing(monkeypatch):
    write("a.png", picture_of((70, 50)))
    monkeypatch.setattr(Path, "write_bytes", lambda path, data: (_ for _ in ()).throw(MemoryError))
    with pytest.raises(MemoryError):
        predicted("a.png")
    assert written() == []


def test_large_pictures_are_drawn_small():
    shown = predicting.drawn(np.zeros((1000, 5000, 3), np.uint8), [])
    assert shown.shape == (410, 2048, 3)


class FakeCamera:
    """What cv2 would open: frames of a face that moves, as many as are there."""

    def __init__(self, count: int) -> None:
        self.left, self.opened = count, True

    def isOpened(self) -> bool:
        return self.opened

    def get(self, what: int) -> float:
        return 20.0

    def read(self) -> tuple[bool, np.ndarray | None]:
        self.left -= 1
        return (True, np.ascontiguousarray(picture_of((60 + self.left, 50))[..., ::-1])) if self.left >= 0 else (False, None)

    def release(self) -> None:
        self.opened = False


def test_camera_is_looked_at(monkeypatch, capsys):
    real = cv2.VideoCapture
    monkeypatch.setattr(cv2, "VideoCapture", lambda what: FakeCamera(6) if what == 3 else real(what))
    assert predicted("--camera", "3") == 0
    assert "landmarks in 6 of 6 frames" in capsys.readouterr().out and written() == ["camera3.csv", "camera3.mp4"]
    found = np.loadtxt("landmarks/camera3.csv", delimiter=",", skiprows=1)
    expected = np.concatenate([FACE + (65 - frame, 50) for frame in range(6)])
    assert np.abs(found[:, 2:] - expected).max() < 0.5


def test_camera_without_a_picture_is_refused(monkeypatch, capsys):
    monkeypatch.setattr(cv2, "VideoCapture", lambda what: FakeCamera(0))
    assert predicted("--camera", "0") == 2
    assert "camera 0 gives no picture" in complaints(capsys)[0] and written() == []


def test_video_needs_no_run(capsys):
    writer = cv2.VideoWriter("clip.avi", cv2.VideoWriter_fourcc(*"MJPG"), 25, (120, 90))
    for i in range(4):
        writer.write(np.ascontiguousarray(picture_of((60 + i, 50))[..., ::-1]))
    writer.release()
    assert predicted("clip.avi") == 0
    assert "landmarks in 4 of 4 frames" in capsys.readouterr().out and written() == ["clip.csv", "clip.mp4"]
    assert predicted("clip.avi", "--stable") == 2
    assert "finished run" in complaints(capsys)[0]
