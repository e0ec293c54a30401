"""Videos in the exact official formats of 300-VW and NTHU-DDD, written by the tests, and every trap of theirs."""

import pickle
import re
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from fa_lib.data import load, manifests
from fa_lib.data.manifests import verify
from fa_lib.data.readers import clips, video
from fa_lib.data.readers.clips import read_300vw, read_ddd

WIDTH, HEIGHT = 96, 64
POINTS = np.random.default_rng(5).uniform(1, 60, (68, 2)).round(3)


def shade(number: int) -> int:
    """The grey of frame `number`, by which it is known again after compression."""
    return 20 + 9 * number


def seen(frame: np.ndarray) -> int:
    """The number of the frame that a picture shows."""
    assert frame.shape == (HEIGHT, WIDTH, 3) and frame.dtype == np.uint8
    return round((float(frame.mean()) - 20) / 9)


def write_video(path: Path, frames: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 25, (WIDTH, HEIGHT))
    for number in range(1, frames + 1):
        writer.write(np.full((HEIGHT, WIDTH, 3), shade(number), np.uint8))
    writer.release()


def pts(number: int, *, version: str = "1", end: str = "\r\n", digits: int = 3) -> bytes:
    """Points of a frame, shifted by its number, as clip 001 writes them: one blank after n_points:, CRLF, three decimals."""
    rows = [f"{x:.{digits}f} {y:.{digits}f}" for x, y in POINTS + number]
    return end.join([f"version: {version}", "n_points: 68", "{", *rows, "}", ""]).encode()


def put_clip(root: Path, clip: str, frames: int = 4, annotated: int | None = None, **style) -> Path:
    write_video(root / clip / "vid.avi", frames)
    (root / clip / "annot").mkdir()
    for number in range(1, (annotated or frames) + 1):
        (root / clip / "annot" / f"{number:06d}.pts").write_bytes(pts(number, **style))
    return root / clip


# frames of a video


def test_frames_are_counted_from_one_in_any_order(tmp_path: Path):
    write_video(tmp_path / "a.avi", 8)
    write_video(tmp_path / "b.avi", 8)
    asked = [1, 2, 2, 5, 8, 3, 1, 7]
    assert [seen(video.read_frame(tmp_path / "a.avi", number)) for number in asked] == asked
    both = [(tmp_path / name, number) for number in (2, 4) for name in ("a.avi", "b.avi")]
    assert [seen(video.read_frame(*one)) for one in both] == [2, 2, 4, 4]


def test_frames_in_order_cost_one_decoding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    write_video(tmp_path / "a.avi", 12)
    opened = []
    monkeypatch.setattr(video, "_Decoder", lambda path, real=video._Decoder: opened.append(path) or real(path))
    monkeypatch.setattr(video, "_open", None)
    for number in (1, 2, 4, 9, 12):
        video.read_frame(tmp_path / "a.avi", number)
    assert len(opened) == 1


def test_frame_is_rgb(tmp_path: Path):
    writer = cv2.VideoWriter(str(tmp_path / "a.avi"), cv2.VideoWriter_fourcc(*"MJPG"), 25, (WIDTH, HEIGHT))
    writer.write(np.full((HEIGHT, WIDTH, 3), (0, 0, 255), np.uint8))  # red, as OpenCV writes it
    writer.release()
    red, green, blue = video.read_frame(tmp_path / "a.avi", 1).mean((0, 1))
    assert red > 240 and max(green, blue) < 15


def test_video_that_ends_early_names_the_frame(tmp_path: Path, refusal: Callable):
    write_video(tmp_path / "a.avi", 3)
    assert "after frame 3, but frame 4" in refusal("", video.read_frame, tmp_path / "a.avi", 4)
    assert seen(video.read_frame(tmp_path / "a.avi", 3)) == 3


def test_truncated_video_is_refused(tmp_path: Path, refusal: Callable):
    clip = put_clip(tmp_path, "001", 6)
    whole = (clip / "vid.avi").read_bytes()
    (clip / "vid.avi").write_bytes(whole[: len(whole) // 2])
    assert "vid.avi: is cut off" in refusal("", read_300vw, tmp_path, "train")
    assert verify("300vw", tmp_path).state == "wrong"


@pytest.mark.parametrize(("content", "said"), [(b"", "is empty"), (b"<html>" * 50, "is not a video")])
def test_file_that_is_no_video_is_refused(tmp_path: Path, content: bytes, said: str, refusal: Callable):
    clip = put_clip(tmp_path, "001")
    (clip / "vid.avi").write_bytes(content)
    assert said in refusal("", read_300vw, tmp_path, "train")


# 300-VW


def test_frame_k_belongs_to_annotation_k_and_the_first_is_000001(tmp_path: Path):
    put_clip(tmp_path, "001", 5)
    samples = read_300vw(tmp_path, "train")
    assert [sample.name for sample in samples] == [f"001/{number:06d}" for number in range(1, 6)]
    for number, sample in enumerate(samples, start=1):
        assert seen(sample.read()) == number
        assert np.allclose(sample.landmarks, POINTS + number - 1)  # from 1-based to 0-based
    assert {(sample.subset, sample.group) for sample in samples} == {("train", "001")}


def test_samples_of_clips_can_be_sent_to_another_process(tmp_path: Path):
    put_clip(tmp_path, "001", 3)
    assert seen(pickle.loads(pickle.dumps(read_300vw(tmp_path, "train")[1])).read()) == 2


def test_annotation_000000_is_refused(tmp_path: Path, refusal: Callable):
    clip = put_clip(tmp_path, "001", 3, annotated=2)
    (clip / "annot" / "000000.pts").write_bytes(pts(0))
    assert "from 000001, but 000003.pts is missing" in refusal("", read_300vw, tmp_path, "train")


def test_gap_in_the_annotations_is_named(tmp_path: Path, refusal: Callable):
    clip = put_clip(tmp_path, "001", 4)
    (clip / "annot" / "000002.pts").unlink()
    assert "000002.pts is missing" in refusal("", read_300vw, tmp_path, "train")


def test_both_headers_line_ends_and_decimals_are_read(tmp_path: Path):
    put_clip(tmp_path, "001", 2)
    put_clip(tmp_path, "401", 2, version="1.0", end="\n", digits=6)
    first, second = read_300vw(tmp_path, "train"), read_300vw(tmp_path, "1")
    assert all(np.allclose(a.landmarks, b.landmarks) for a, b in zip(first, second, strict=True))


@pytest.mark.parametrize(("annotated", "said"), [(5, "off by one"), (3, "off by one"), (7, "4 frames can be decoded")])
def test_frames_that_differ_from_the_annotations_are_refused(tmp_path: Path, annotated: int, said: str, refusal: Callable):
    put_clip(tmp_path, "001", 4, annotated=annotated)
    sentence = refusal("", read_300vw, tmp_path, "train")
    assert said in sentence and f"{annotated} .pts" in sentence and ("off by one" in sentence) == (annotated != 7)
    assert verify("300vw", tmp_path).faults == (sentence,)


def test_header_with_a_wrong_number_of_frames_does_not_matter(tmp_path: Path):
    clip = put_clip(tmp_path, "001", 4)
    data = bytearray((clip / "vid.avi").read_bytes())
    for match in re.finditer(rb"avih|strh", data):  # the number of frames in the main header and in that of the stream
        place = match.start() + 8 + (16 if match[0] == b"avih" else 32)
        data[place : place + 4] = (9).to_bytes(4, "little")
    (clip / "vid.avi").write_bytes(data)
    assert len(read_300vw(tmp_path, "train")) == 4


def test_excluded_frames_are_those_of_the_official_list():
    excluded = clips.excluded_frames()
    counts = dict(zip("401 402 410 411 508 518 529 530 531 533 540 547 548 551 553 557".split(),
                      (120, 109, 148, 316, 99, 208, 134, 109, 14, 234, 6, 30, 139, 36, 31, 394)))  # fmt: skip
    assert {clip: len(numbers) for clip, numbers in excluded.items()} == counts
    ranges = [(min(excluded[clip]), max(excluded[clip])) for clip in ("401", "540", "557")]
    assert ranges == [(722, 1618), (744, 750), (22, 1715)]
    splits = manifests.load("300vw").splits
    assert [sum(counts.get(clip, 0) for clip in splits[name].clips) for name in ("train", "1", "2", "3")] == [0, 711, 67, 1349]


def test_excluded_frames_are_left_out_unless_asked_for(tmp_path: Path):
    put_clip(tmp_path, "557", 24)  # 22 is the first that is excluded
    excluded = clips.excluded_frames()["557"]
    kept = [number for number in range(1, 25) if number not in excluded]
    samples = read_300vw(tmp_path, "3")
    assert 22 in excluded and [int(sample.name[-6:]) for sample in samples] == kept
    assert [seen(sample.read()) for sample in samples] == kept and np.allclose(samples[-1].landmarks, POINTS + kept[-1] - 1)
    assert len(read_300vw(tmp_path, "3", broken=True)) == 24
    assert f"3: 24 annotated frames, {24 - len(kept)} of them officially excluded" in verify("300vw", tmp_path).text()
    assert "without its excluded frames" in manifests.load("300vw").title


def test_test_split_is_the_three_scenarios(tmp_path: Path):
    for clip in ("001", "114", "203", "410"):
        put_clip(tmp_path, clip, 2)
    found = {split: [sample.name for sample in read_300vw(tmp_path, split)] for split in clips.SPLITS_300VW}
    assert found["test"] == found["1"] + found["2"] + found["3"] and len(found["test"]) == 6
    assert [s.subset for s in read_300vw(tmp_path, "test")[::2]] == ["scenario 1", "scenario 2", "scenario 3"]


def test_clips_are_compared_by_name(tmp_path: Path):
    place = tmp_path / "300VW_Dataset_2015_12_14"
    for clip in ("001", "114", "401"):
        put_clip(place, clip, 2)
    report = verify("300vw", tmp_path)
    assert report.state == "partial" and [part.present for part in report.parts] == [1, 2, 0, 0]
    assert "002" in report.parts[0].missing and report.parts == verify("300vw", place).parts
    (place / "401" / "vid.avi").unlink()
    for path in (place / "114" / "annot").glob("*.pts"):
        path.unlink()
    (place / "001" / "annot" / "000002.pts").write_text("version: 1")
    report = verify("300vw", tmp_path)
    assert report.state == "wrong"
    assert [sentence in fault for sentence, fault in zip(("000002.pts", "no annot", "no vid.avi"), report.faults, strict=True)]


def test_wrong_folders_and_splits_of_300vw_are_refused(tmp_path: Path, refusal: Callable):
    assert "no such folder" in refusal("", read_300vw, tmp_path / "none", "train")
    (tmp_path / "afw").mkdir()
    assert "holds no clip of 300-VW" in refusal("", read_300vw, tmp_path, "train")
    put_clip(tmp_path, "001", 2)
    assert "holds no clip of split 2; unpack 203 and others" in refusal("", read_300vw, tmp_path, "2")
    assert "train, 1, 2, 3, test" in refusal("", read_300vw, tmp_path, "4")


def test_links_out_of_the_folder_are_refused(tmp_path: Path, refusal: Callable):
    put_clip(tmp_path / "other", "001", 2)
    put_drive(tmp_path / "other", "001/glasses/yawning.avi", "001_yawning")
    (tmp_path / "root/glasses").mkdir(parents=True)
    (tmp_path / "root/001").symlink_to(tmp_path / "other/001")
    assert "leads out of" in refusal("", read_300vw, tmp_path / "root", "train")
    (tmp_path / "root/004_glasses_mix.avi").symlink_to(tmp_path / "other/001/glasses/yawning.avi")
    assert "leads out of" in refusal("", read_ddd, tmp_path / "root", "evaluation")


# NTHU-DDD


def put_drive(root: Path, name: str, labels: str, frames: int = 5, **digits: str) -> Path:
    """A video by its path below root; `labels`, the start of its label files; digits by kind."""
    write_video(root / name, frames)
    for kind, text in ({"drowsiness": "0" * frames} | digits).items():
        (root / name).with_name(f"{labels}_{kind}.txt").write_text(text)
    return root / name


def test_frames_of_ddd_carry_their_labels(tmp_path: Path):
    kinds = {"drowsiness": "00111", "head": "01200", "mouth": "00012", "eye": "00110"}
    put_drive(tmp_path, "Training Dataset/001/glasses/yawning.avi", "001_yawning", **kinds)
    samples = read_ddd(tmp_path, "train")
    assert [sample.attributes[0] for sample in samples] == ["alert", "alert", "drowsy", "drowsy", "drowsy"]
    assert samples[1].attributes == ("alert", "nodding", "mouth still", "eyes still")
    assert samples[2].attributes == ("drowsy", "looking aside", "mouth still", "sleepy eyes")
    assert samples[4].attributes == ("drowsy", "head still", "talking", "eyes still")
    assert [seen(sample.read()) for sample in samples] == [1, 2, 3, 4, 5]
    assert samples[0].name == "001/glasses/yawning/000001" and samples[0].group == "001/glasses/yawning"


def test_ddd_has_no_landmarks_and_its_box_is_the_middle_or_the_users(tmp_path: Path, refusal: Callable):
    put_drive(tmp_path, "001/glasses/yawning.avi", "001_yawning")
    sample = read_ddd(tmp_path, "train")[0]
    assert sample.landmarks.shape == (0, 2)
    x0, y0, x1, y1 = sample.box
    assert np.isclose(x1 - x0, y1 - y0) and np.isclose(1.4 * (y1 - y0), HEIGHT)
    assert np.allclose([(x0 + x1) / 2, (y0 + y1) / 2], [(WIDTH - 1) / 2, (HEIGHT - 1) / 2])
    assert "boxes.csv gives those of 0 of 1 videos" in verify("ddd", tmp_path).text()
    (tmp_path / "boxes.csv").write_text("video,x0,y0,x1,y1\n001/glasses/yawning,10,12,40.5,44\n")
    assert read_ddd(tmp_path, "train")[0].box.tolist() == [10, 12, 40.5, 44]
    (tmp_path / "boxes.csv").write_text("video,x0,y0,x1,y1\n001/glasses/yawning,10,12,5,44\n")
    assert "line 2 is no box" in refusal("", read_ddd, tmp_path, "train")


@pytest.mark.parametrize("labelled", [3, 4, 6, 7])
def test_labels_may_be_two_digits_shorter_or_longer(tmp_path: Path, labelled: int):
    put_drive(tmp_path, "001/glasses/yawning.avi", "001_yawning", drowsiness="1" * labelled)
    found = [sample.attributes for sample in read_ddd(tmp_path, "train")]
    assert found == [("drowsy",)] * min(labelled, 5) + [()] * (5 - min(labelled, 5))


@pytest.mark.parametrize("labelled", [2, 8])
def test_labels_three_digits_off_are_refused(tmp_path: Path, labelled: int, refusal: Callable):
    put_drive(tmp_path, "001/glasses/yawning.avi", "001_yawning", drowsiness="1" * labelled)
    sentence = refusal("", read_ddd, tmp_path, "train")
    assert f"has 5 frames, but 001_yawning_drowsiness.txt labels {labelled}" in sentence
    assert verify("ddd", tmp_path).faults == (sentence,)


def test_wrong_digit_is_named(tmp_path: Path, refusal: Callable):
    put_drive(tmp_path, "001/glasses/yawning.avi", "001_yawning", drowsiness="00200")
    assert "001_yawning_drowsiness.txt: digit 3 is '2', but drowsiness is 0 to 1" in refusal("", read_ddd, tmp_path, "train")


def test_labels_must_lie_beside_the_video(tmp_path: Path, refusal: Callable):
    put_drive(tmp_path, "001/glasses/yawning.avi", "001_yawning").with_name("001_yawning_drowsiness.txt").unlink()
    assert "001_yawning_drowsiness.txt: cannot be read" in refusal("", read_ddd, tmp_path, "train")


@pytest.mark.parametrize("spelling", ["nightglasses", "night_glasses", "night_noglasses", "nightnoglasses"])
def test_both_spellings_of_the_night_scenarios_are_read(tmp_path: Path, spelling: str):
    put_drive(tmp_path, f"001/{spelling}/yawning.avi", "001_yawning")
    put_drive(tmp_path, f"004_{spelling}_mix.avi", f"004_{spelling}_mixing")
    official = "night_noglasses" if "no" in spelling else "nightglasses"
    assert {sample.subset for split in clips.SPLITS_DDD for sample in read_ddd(tmp_path, split)} == {official}


def test_evaluation_videos_are_called_mix_and_their_labels_mixing(tmp_path: Path):
    put_drive(tmp_path, "Evaluation Dataset/004/004_noglasses_mix.avi", "004_noglasses_mixing", drowsiness="10101")
    samples = read_ddd(tmp_path, "evaluation")
    assert [sample.attributes for sample in samples] == [("drowsy",), ("alert",)] * 2 + [("drowsy",)]
    assert samples[0].name == "004/noglasses/mix/000001" and samples[0].subset == "noglasses"
    report = verify("ddd", tmp_path)
    assert report.state == "partial" and [(part.present, part.expected) for part in report.parts] == [(0, 360), (1, 20)]
    assert "036/night_noglasses/yawning" in report.parts[0].missing


def test_other_sets_of_the_name_and_foreign_videos_are_refused(tmp_path: Path, refusal: Callable):
    write_video(tmp_path / "Drowsy" / "a.avi", 2)
    assert "holds no video of NTHU-DDD" in refusal("", read_ddd, tmp_path, "train")
    put_drive(tmp_path, "001/glasses/yawning.avi", "001_yawning")
    assert "holds no video of split evaluation" in refusal("", read_ddd, tmp_path, "evaluation")
    assert "train, evaluation" in refusal("", read_ddd, tmp_path, "test")
    put_drive(tmp_path, "copy/001/glasses/yawning.avi", "001_yawning")
    assert "the same video" in refusal("", read_ddd, tmp_path, "train")


def test_frames_become_crops_and_titles_count_clips(tmp_path: Path, cache: Path):
    put_clip(tmp_path / "300vw", "001", 3)
    put_drive(tmp_path / "ddd", "001/glasses/yawning.avi", "001_yawning")
    frames = load("300vw", "train", tmp_path / "300vw", 32)
    assert len(frames) == 3 and frames.title == "300-VW without its excluded frames, partial: 1 of 50 train clips"
    drive = load("ddd", "train", tmp_path / "ddd", 32)
    assert drive.landmarks.shape == (5, 0, 2) and drive.title == "NTHU-DDD, partial: 1 of 360 train clips"
    for faces in (frames, drive):  # the middle pixel, known by its grey
        shades = faces.crops()[0][:, 16, 16].mean(1)
        assert [round((grey - 20) / 9) for grey in shades] == list(range(1, len(faces) + 1))
