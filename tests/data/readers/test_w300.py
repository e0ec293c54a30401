"""300-W from small trees in the exact official formats: every trap of the real files, and every fault in one sentence."""

import struct
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from fa_lib.data.readers import w300
from fa_lib.data.readers.files import Sample, check_picture, parse_pts, read_image, read_pts
from fa_lib.data.readers.w300 import coverage, read_300w, second_annotations

POINTS = np.random.default_rng(3).uniform(1, 60, (68, 2)).round(6)
NOISE = np.random.default_rng(4).integers(0, 256, (48, 64, 3), dtype=np.uint8)


def pts_text(points: np.ndarray = POINTS, blanks: str = "  ", version: str = "1", end: str = "\n") -> str:
    rows = [f"{x:.6f} {y:.6f}" for x, y in points]
    return end.join([f"version: {version}", f"n_points:{blanks}{len(points)}", "{", *rows, "}", ""])


def picture(suffix: str = ".jpg", pixels: np.ndarray = NOISE) -> bytes:
    return cv2.imencode(suffix, pixels)[1].tobytes()


def put(root: Path, *names: str, suffix: str = ".jpg", text: str | None = None) -> Path:
    """Writes faces by their official names; returns the last picture's path."""
    for name in names:
        path = root / f"{name}{suffix}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(picture(suffix.lower()))
        (root / f"{name}.pts").write_bytes((text or pts_text()).encode())
    return path


def names(samples: list[Sample]) -> list[str]:
    return [sample.name for sample in samples]


def with_segment(jpeg: bytes, payload: bytes) -> bytes:
    """A JPEG with one more APP1 segment, where cameras keep orientation and thumbnail."""
    return jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(payload) + 2) + payload + jpeg[2:]


def test_convention_points_of_files_count_from_one_and_are_shifted(tmp_path: Path):
    put(tmp_path, "ibug/image_006")
    assert np.allclose(read_pts(tmp_path / "ibug/image_006.pts"), POINTS - 1, atol=1e-9)
    assert read_300w(tmp_path, "challenging")[0].landmarks.dtype == np.float64


def test_convention_points_are_x_then_y():
    assert parse_pts("n_points: 1\n{\n11 3\n}", expected=1).tolist() == [[10.0, 2.0]]


@pytest.mark.parametrize(
    "text",
    [
        pts_text(end="\r\n"),
        pts_text(blanks=" "),
        pts_text(blanks="  "),
        pts_text(blanks=""),
        pts_text(version="1.0"),
        "\ufeff" + pts_text(),
        pts_text().replace("{", "\n{\n").replace("}", "\n\n}") + "\n\n",
        pts_text().replace("{\n", "{ \n  ").replace("\n", " \n"),
        pts_text().rstrip(),
    ],
    ids=["CRLF", "one-blank", "two-blanks", "no-blank", "version-1.0", "byte-order-mark", "padding", "indented", "no-last-line"],
)
def test_read_pts_accepts_every_spelling_of_the_official_files(tmp_path: Path, text: str):
    (tmp_path / "a.pts").write_bytes(text.encode())
    assert np.allclose(read_pts(tmp_path / "a.pts"), POINTS - 1, atol=1e-9)


def test_points_on_and_beyond_the_border_are_kept(tmp_path: Path):
    points = POINTS.copy()
    points[:4] = (1, 1), (64, 48), (-3, 20), (70, 20)
    put(tmp_path, "afw/5452623_1", text=pts_text(points))
    assert read_300w(tmp_path, "train")[0].landmarks[:4].tolist() == [[0, 0], [63, 47], [-4, 19], [69, 19]]


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (pts_text(POINTS[:67]), "has 67 points, but 68 are expected"),
        (pts_text().replace("  68", "  67"), "n_points says 67, but 68 points follow"),
        (pts_text().replace("n_points:  68\n", ""), "'n_points: 68' is missing"),
        (pts_text().replace("{", ""), "between one { and one }"),
        (pts_text().replace("}", ""), "between one { and one }"),
        (pts_text() + pts_text(), "between one { and one }"),
        (pts_text(np.where(np.arange(136).reshape(68, 2) == 8, np.nan, POINTS)), "point 5 is nan"),
        (pts_text(np.where(np.arange(136).reshape(68, 2) == 9, np.inf, POINTS)), "point 5 is "),
        (pts_text().replace(f"{POINTS[1, 0]:.6f}", "left"), "not a number"),
        (pts_text().replace(f"{POINTS[1, 0]:.6f} ", ""), "point 2 has 1 numbers"),
        ("", "is empty"),
        ("\x00\x01", "no .pts file"),
    ],
)
def test_read_pts_refuses_in_one_sentence(tmp_path: Path, text: str, complaint: str, refusal: Callable):
    path = tmp_path / "image_0001.pts"
    path.write_text(text)
    assert complaint in refusal(path, read_pts, path)


def test_read_pts_refuses_a_file_cut_off_anywhere(tmp_path: Path, refusal: Callable):
    path = tmp_path / "cut.pts"
    whole = pts_text()
    for length in range(0, whole.index("}"), 7):
        path.write_text(whole[:length])
        refusal(path, read_pts, path)


def test_read_pts_refuses_what_is_not_a_readable_text(tmp_path: Path, refusal: Callable):
    (tmp_path / "picture.pts").write_bytes(picture())
    assert "not a text file" in refusal(tmp_path / "picture.pts", read_pts, tmp_path / "picture.pts")
    assert "cannot be read" in refusal(tmp_path / "none.pts", read_pts, tmp_path / "none.pts")
    assert "cannot be read" in refusal(tmp_path, read_pts, tmp_path)


def test_convention_pictures_are_rgb(tmp_path: Path):
    pixels = NOISE.copy()
    pixels[...] = (10, 100, 200)  # blue, green, red, as cv2 writes them
    (tmp_path / "a.png").write_bytes(picture(".png", pixels))
    image = read_image(tmp_path / "a.png")
    assert image.dtype == np.uint8 and image.shape == (48, 64, 3) and image[5, 7].tolist() == [200, 100, 10]


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".jpeg", ".bmp", ".PNG", ".JPG"])
def test_read_image_takes_every_suffix_and_name(tmp_path: Path, suffix: str):
    path = tmp_path / f"portrait ÿ 顔{suffix}"
    path.write_bytes(picture(suffix.lower()))
    assert read_image(path).shape == (48, 64, 3)


def test_single_channel_png_has_three_channels(tmp_path: Path):
    (tmp_path / "a.png").write_bytes(picture(".png", NOISE[..., 0]))
    assert (read_image(tmp_path / "a.png") == NOISE[..., :1]).all()


def test_16_bit_png_is_scaled_to_8_bits(tmp_path: Path):
    (tmp_path / "a.png").write_bytes(picture(".png", NOISE[..., 0].astype(np.uint16) * 256 + 255))
    assert (read_image(tmp_path / "a.png") == NOISE[..., :1]).all()


def test_transparent_png_loses_its_fourth_channel(tmp_path: Path):
    (tmp_path / "a.png").write_bytes(picture(".png", np.dstack([NOISE, NOISE[..., 0]])))
    assert (read_image(tmp_path / "a.png") == NOISE[..., ::-1]).all()


def test_convention_exif_rotation_is_ignored(tmp_path: Path):
    turned = b"Exif\0\0II*\0\x08\0\0\0\x01\0" + struct.pack("<HHIHH", 0x0112, 3, 1, 6, 0) + bytes(4)
    data = with_segment(picture(), turned)
    (tmp_path / "a.jpg").write_bytes(data)
    assert cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR).shape == (64, 48, 3)  # what would go wrong
    assert read_image(tmp_path / "a.jpg").shape == (48, 64, 3)


@pytest.mark.parametrize("check", [read_image, check_picture])
@pytest.mark.parametrize("suffix", [".jpg", ".png", ".bmp"])
def test_picture_cut_off_at_any_length_is_refused(tmp_path: Path, suffix: str, check, refusal: Callable):
    path, data = tmp_path / f"image_0001{suffix}", picture(suffix)
    for length in sorted({0, 1, 2, 3, 8, 30, len(data) // 4, len(data) // 2, *range(len(data) - 14, len(data))}):
        path.write_bytes(data[:length])
        refusal(path, check, path)
    path.write_bytes(data)
    check(path)


@pytest.mark.parametrize("check", [read_image, check_picture])
def test_jpeg_padded_after_the_cut_is_refused(tmp_path: Path, check, refusal: Callable):
    """As an interrupted download leaves it: the decoder fills the rest with grey and only warns."""
    data = picture()
    path = tmp_path / "a.jpg"
    path.write_bytes(data[: len(data) // 2] + bytes(len(data) - len(data) // 2))
    assert "cut off" in refusal(path, check, path)


def test_progressive_jpeg_and_bytes_after_the_end_are_fine(tmp_path: Path):
    data = cv2.imencode(".jpg", NOISE, [cv2.IMWRITE_JPEG_PROGRESSIVE, 1, cv2.IMWRITE_JPEG_RST_INTERVAL, 2])[1].tobytes()
    for number, whole in enumerate((data, data + bytes(5000), picture(".png") + bytes(5000))):
        path = tmp_path / f"{number}.jpg"
        path.write_bytes(whole)
        check_picture(path)
        assert read_image(path).shape == (48, 64, 3)


def test_thumbnail_does_not_hide_that_a_jpeg_is_cut_off(tmp_path: Path, refusal: Callable):
    data = with_segment(picture(), b"Exif\0\0" + picture(pixels=NOISE[:8, :8]))
    path = tmp_path / "a.jpg"
    path.write_bytes(data)
    assert read_image(path).shape == (48, 64, 3)
    path.write_bytes(data[:-2])
    assert "cut off" in refusal(path, read_image, path)


@pytest.mark.parametrize("check", [read_image, check_picture])
def test_text_named_jpg_is_refused(tmp_path: Path, check, refusal: Callable):
    path = tmp_path / "a.jpg"
    path.write_text("<html>404 not found</html>")
    assert "not a picture" in refusal(path, check, path)
    assert "cannot be read" in refusal("none.jpg", check, tmp_path / "none.jpg")


def test_train_is_read_in_the_official_order(tmp_path: Path):
    put(tmp_path, "lfpw/trainset/image_0002", "lfpw/trainset/image_0001", suffix=".png")
    put(tmp_path, "helen/trainset/100032540_1", "afw/5452623_1", "afw/1051618982_1", "helen/testset/296814969_3")
    expected = ["afw/1051618982_1", "afw/5452623_1", "helen/trainset/100032540_1"]
    samples = read_300w(tmp_path, "train")
    assert names(samples) == [*expected, "lfpw/trainset/image_0001", "lfpw/trainset/image_0002"]
    assert {sample.subset for sample in samples} == {"train"}
    assert samples[0].path == tmp_path / "afw/1051618982_1.jpg"


def test_full_is_common_and_challenging(tmp_path: Path):
    put(tmp_path, "ibug/image_006", "lfpw/testset/image_0001", "helen/testset/296814969_3", "afw/5452623_1")
    full = read_300w(str(tmp_path), "full")
    assert names(full) == ["helen/testset/296814969_3", "lfpw/testset/image_0001", "ibug/image_006"]
    assert [sample.subset for sample in full] == ["common", "common", "challenging"]
    assert names(full) == names(read_300w(tmp_path, "common") + read_300w(tmp_path, "challenging"))


def test_root_may_be_the_parent_of_300W(tmp_path: Path):
    put(tmp_path / "300W", "ibug/image_006")
    assert names(read_300w(tmp_path, "full")) == names(read_300w(tmp_path / "300W", "full")) == ["ibug/image_006"]


def test_suffixes_and_their_case_do_not_matter(tmp_path: Path):
    for number, suffix in enumerate((".png", ".PNG", ".jpg", ".JPG", ".Jpeg", ".bmp"), start=1):
        put(tmp_path, f"lfpw/testset/image_000{number}", suffix=suffix)
    (tmp_path / "lfpw/testset/image_0001.pts").rename(tmp_path / "lfpw/testset/image_0001.PTS")
    samples = read_300w(tmp_path, "common")
    assert len(samples) == 6 and all(read_image(sample.path).shape == (48, 64, 3) for sample in samples)


@pytest.mark.parametrize("name", ["ibug/image_092 _01", "ibug/image_092_01"], ids=["official", "renamed"])
def test_blank_in_the_name_of_an_ibug_face(tmp_path: Path, name: str):
    put(tmp_path, name, "ibug/image_092")
    found = {sample.name: sample.group for sample in read_300w(tmp_path, "challenging")}
    assert found == {name: "ibug/image_092", "ibug/image_092": "ibug/image_092"}
    assert coverage(tmp_path).folders["ibug"] == (2, 135) and coverage(tmp_path).others == 0


def test_faces_of_one_photograph_share_a_group(tmp_path: Path):
    put(
        tmp_path,
        "afw/111076519_1",
        "afw/111076519_2",
        "afw/5452623_1",
        "helen/trainset/100040721_1",
        "helen/trainset/100040721_2",
    )
    put(tmp_path, "lfpw/trainset/image_0001", "lfpw/trainset/image_0002", suffix=".png")
    groups = [sample.group for sample in read_300w(tmp_path, "train")]
    assert groups[0] == groups[1] and groups[3] == groups[4] and len(set(groups)) == 5


def test_near_duplicate_photographs_share_a_group(tmp_path: Path):
    """0003 = 0052 by one pair; 0683 and 0695 only through 0712 and 0730, which are not here."""
    numbers = ("0003", "0052", "0683", "0695", "0004")
    put(tmp_path, *(f"lfpw/trainset/image_{number}" for number in numbers), suffix=".png")
    group = {sample.name[-4:]: sample.group for sample in read_300w(tmp_path, "train")}
    assert group["0003"] == group["0052"] and group["0683"] == group["0695"] and len(set(group.values())) == 3


def test_official_groups_are_the_photographs():
    """AFW: 337 faces on 185 photographs, no pair of it among the near-duplicates."""
    afw = {w300.photograph(name) for name in w300.official_faces() if name.startswith("afw/")}
    assert len(afw) == 185


def test_faces_that_leak_into_the_test_set_are_left_out_of_training(tmp_path: Path):
    leaks = {"0862": "0007", "0828": "0096", "0215": "0066"}
    put(tmp_path, *(f"lfpw/trainset/image_{number}" for number in (*leaks, "0066", "0007")), suffix=".png")
    put(tmp_path, *(f"lfpw/testset/image_{number}" for number in leaks.values()), suffix=".png")
    assert names(read_300w(tmp_path, "train")) == ["lfpw/trainset/image_0007", "lfpw/trainset/image_0066"]
    assert len(read_300w(tmp_path, "common")) == 3
    pairs = {(a.name[-4:], b.name[-4:]) for a, b in second_annotations(tmp_path)}
    assert pairs == {(test, train) for train, test in leaks.items()}
    assert coverage(tmp_path).count("train") == (5, 3148)  # the title counts what is on disk


def test_second_annotations_are_pairs_of_whole_faces(tmp_path: Path):
    put(tmp_path, "lfpw/trainset/image_0003", suffix=".png", text=pts_text(POINTS + 2))
    put(tmp_path, "lfpw/trainset/image_0052", "lfpw/trainset/image_0345", suffix=".png")
    put(tmp_path, "lfpw/trainset/image_0636", "lfpw/trainset/image_0641", suffix=".png")  # ECC 0.84: another shot
    [(a, b)] = second_annotations(tmp_path)
    assert a.group == b.group and np.allclose(a.landmarks - b.landmarks, 2)
    assert len(second_annotations(tmp_path, least=0.8)) == 2


def test_pairs_and_groups_on_the_complete_list():
    pairs = [(a, b) for a, b, ecc in w300._annotated_twice() if ecc >= 0.995]
    faces = {name for pair in pairs for name in pair}
    assert len(pairs) == 71 and len(faces) == 91 and faces <= set(w300.official_faces())


@pytest.mark.parametrize(
    ("names_on_disk", "complaint"),
    [
        (["image_0001.png"], "no .pts of that name"),
        (["image_0001.pts"], "no picture of that name"),
        (["image_0001.png", "image_0001.jpg", "image_0001.pts"], "the same name"),
    ],
)
def test_lone_and_double_files_are_named(tmp_path: Path, names_on_disk: list[str], complaint: str, refusal: Callable):
    folder = tmp_path / "lfpw/testset"
    folder.mkdir(parents=True)
    for name in names_on_disk:
        (folder / name).write_bytes(b"x")
    assert complaint in refusal(folder / names_on_disk[0].split(".")[0], read_300w, tmp_path, "common")


def test_hidden_and_foreign_files_are_passed_over(tmp_path: Path):
    put(tmp_path, "ibug/image_006")
    for name in ("._image_006.jpg", "._image_006.pts", "Thumbs.db", "readme.txt"):
        (tmp_path / "ibug" / name).write_bytes(b"x")
    assert names(read_300w(tmp_path, "challenging")) == ["ibug/image_006"]


def test_bad_points_are_named_when_a_split_is_read(tmp_path: Path, refusal: Callable):
    put(tmp_path, "afw/111076519_1", "afw/111076519_2", text=pts_text(POINTS[:67]))
    assert "67 points" in refusal(tmp_path / "afw/111076519_1.pts", read_300w, tmp_path, "train")


@pytest.mark.parametrize("call", [lambda root: read_300w(root, "train"), coverage, second_annotations])
def test_wrong_folders_are_refused(tmp_path: Path, call, refusal: Callable):
    assert "no such folder" in refusal(tmp_path / "none", call, tmp_path / "none")
    assert "empty folder" in refusal(tmp_path, call, tmp_path)
    (tmp_path / "notes.txt").write_text("x")
    assert "holds none of afw/" in refusal(tmp_path, call, tmp_path)
    assert "is a file" in refusal(tmp_path / "notes.txt", call, tmp_path / "notes.txt")


def test_split_without_faces_and_unknown_split_are_refused(tmp_path: Path, refusal: Callable):
    put(tmp_path, "lfpw/testset/image_0001")
    assert "put pictures and .pts into ibug" in refusal(tmp_path, read_300w, tmp_path, "challenging")
    assert "train, common, challenging, full" in refusal("test", read_300w, tmp_path, "test")
