"""A face of three coloured spots, whose landmarks are known exactly, is followed through clips, whole and broken."""

import tracemalloc
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from torch import nn

from fa_lib import models
from fa_lib.data.crops import cut_face
from fa_lib.models.convlstm import ConvLSTM
from fa_lib.models.stable import Stable
from fa_lib.tracking import PAUSE, Tracker, Video, predict

SIZE = 32  # crops
FACE = np.array([[-10.0, -8], [10, -8], [0, 12]])  # a red, a green and a blue spot about the middle; tight box 20 x 20


class Spots(nn.Module):
    """Heatmaps of the three landmarks: the colours."""

    def forward(self, images: torch.Tensor) -> list[torch.Tensor]:
        return [images]


def frame_of(*faces: tuple[float, float, float], size: tuple[int, int] = (120, 90)) -> np.ndarray:
    """A frame (H, W, 3) with a face at each (x, y, scale); `size` is width, height."""
    x, y = np.meshgrid(np.arange(size[0]), np.arange(size[1]))
    frame = np.zeros((size[1], size[0], 3))
    for cx, cy, scale in faces:
        for colour, (px, py) in enumerate(FACE * scale + (cx, cy)):
            frame[..., colour] += 250 * np.exp(-((x - px) ** 2 + (y - py) ** 2) / (2 * scale**2))
    return frame.clip(0, 255).round().astype(np.uint8)


def box_of(x: float, y: float) -> tuple[float, float, float, float]:
    return (x - 10, y - 8, x + 10, y + 12)


def film(path: Path, frames: list[np.ndarray], codec: str = "MJPG") -> Path:
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*codec), 25, frames[0].shape[1::-1])
    for frame in frames:
        writer.write(frame[..., ::-1])
    writer.release()
    return path


def moving(count: int) -> list[np.ndarray]:
    return [frame_of((30 + i, 40, 1)) for i in range(count)]


def rows(folder: Path, name: str = "clip") -> np.ndarray:
    """Lines (N, 4) of a CSV that was written: frame, point, x, y."""
    return np.loadtxt(folder / f"{name}.csv", delimiter=",", skiprows=1, ndmin=2)


def test_tracker_follows_a_moving_face():
    tracker = Tracker(Spots(), SIZE, box=box_of(30, 40))
    for i in range(20):
        found = tracker(frame_of((30 + 0.5 * i, 40 + 0.2 * i, 1)))
        assert np.abs(found - FACE - (30 + 0.5 * i, 40 + 0.2 * i)).max() < 0.15  # of 8 bits and resampling


def test_tracker_searches_the_face_by_itself():
    tracker = Tracker(Spots(), SIZE)
    assert np.abs(tracker(frame_of((70, 50, 1))) - FACE - (70, 50)).max() < 0.5


def test_search_meets_the_crops_that_networks_learn():
    crop = Tracker(Spots(), SIZE).search(frame_of((70, 50, 1)))
    assert crop == pytest.approx((70 - 14, 52 - 14, 70 + 14, 52 + 14), abs=0.7)  # 1.4 x 20 about the middle of the box


def test_search_works_in_large_frames():
    crop = Tracker(Spots(), SIZE).search(frame_of((400, 300, 10), size=(800, 600)))
    assert crop == pytest.approx((260, 180, 540, 460), abs=1.5)


@pytest.mark.parametrize("faces", [[(35, 60, 1), (100, 45, 2)], [(100, 45, 2), (30, 60, 1)]])
def test_search_takes_the_largest_face(faces: list):
    crop = Tracker(Spots(), SIZE).search(frame_of(*faces, size=(160, 100)))
    assert (crop[0] + crop[2]) / 2 == pytest.approx(100, abs=1.5)
    assert crop[2] - crop[0] == pytest.approx(56, abs=3)


def test_search_finds_nothing_where_nothing_is():
    assert Tracker(Spots(), SIZE).search(frame_of()) is None
    noise = np.random.default_rng(0).integers(0, 256, (90, 120, 3), dtype=np.uint8)
    assert Tracker(Spots(), SIZE).search(noise) is None


def test_lost_face_is_found_again_elsewhere():
    tracker = Tracker(Spots(), SIZE, box=box_of(30, 40))
    assert tracker(frame_of((30, 40, 1))) is not None
    empty, back = frame_of(), frame_of((90, 50, 1))
    assert tracker(empty) is None and tracker.crop is None
    assert tracker(empty) is None  # searched, not found
    waited = [tracker(back) for _ in range(PAUSE)]
    assert [found is None for found in waited] == [True] * (PAUSE - 1) + [False]
    assert np.abs(waited[-1] - FACE - (90, 50)).max() < 0.5


@pytest.mark.parametrize("at", [(-40.0, 40.0), (30.0, 200.0)])
def test_landmarks_outside_the_frame_are_no_face(at: tuple[float, float]):
    class Fixed(nn.Module):
        """Landmarks at one place of the crop."""

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return torch.tensor([[[4.0, 4], [27, 4], [15, 27]]])

    tracker = Tracker(Fixed(), SIZE, box=box_of(30, 40))
    assert tracker(frame_of()) is not None
    tracker.crop = np.array([at[0] - 14, at[1] - 14, at[0] + 14, at[1] + 14])
    assert tracker(frame_of()) is None


def test_small_and_collapsed_faces_are_no_faces():
    assert Tracker(Spots(), SIZE, box=(30, 40, 42, 52))(frame_of((36, 45, 0.65))) is not None  # 13 px
    assert Tracker(Spots(), SIZE, box=(30, 40, 40, 50))(frame_of((35, 44, 0.5))) is None  # 10 px
    assert Tracker(Spots(), SIZE, box=(0, 0, 80, 80))(frame_of((40, 40, 1))) is None  # 20 of 112 px


def test_crop_goes_half_of_the_way():
    tracker = Tracker(Spots(), SIZE, box=box_of(40, 40))
    tracker(frame_of((40, 40, 1)))
    before = tracker.crop.copy()
    tracker(frame_of((42, 40, 1)))
    assert tracker.crop - before == pytest.approx((1, 0, 1, 0), abs=0.1)
    tracker(frame_of((42, 40, 1)))
    assert tracker.crop - before == pytest.approx((1.5, 0, 1.5, 0), abs=0.1)


def stable() -> Stable:
    """A ConvLSTM with random weights on the spots."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        lstm = ConvLSTM(3, residual=True)
        for weights in lstm.parameters():
            nn.init.normal_(weights, std=0.1)
    return Stable(Spots(), lstm).eval()


def test_state_goes_from_frame_to_frame():
    """Frame by frame is what the whole clip at once is, and not what frames without a past are."""
    net, frames = stable(), moving(5)
    tracker, found, cuts = Tracker(net, SIZE, box=box_of(30, 40)), [], []
    for frame in frames:
        cuts.append(cut_face(frame, np.zeros((1, 2)), SIZE, 1.0, tracker.crop))
        found.append(tracker(frame))
    clip = torch.from_numpy(np.stack([cut[0] for cut in cuts])).permute(0, 3, 1, 2)[None].float() / 255
    with torch.no_grad():
        batch = models.landmarks_of([net.sequence(clip)[0][0]], SIZE, "local").numpy()
        alone = models.landmarks_of(net(clip[0]), SIZE, "local").numpy()
    expected = [(points - cut[2][:, 2]) / cut[2][0, 0] for points, cut in zip(batch, cuts, strict=True)]
    assert np.abs(np.stack(found) - expected).max() < 1e-4
    assert np.abs(batch - alone)[1:].max() > 1e-3


def test_state_starts_anew_when_the_face_was_lost():
    tracker = Tracker(stable(), SIZE, "argmax", box=(30, 40, 40, 50))
    assert tracker(frame_of((35, 44, 0.4))) is None
    assert tracker.state is None


@pytest.mark.parametrize(
    ("box", "words"), [((5, 5, 5, 9), "no area"), ((9, 9, 5, 5), "no area"), ((0, 0, float("nan"), 5), "no area")]
)
def test_box_without_area_is_refused(box: tuple, words: str, refusal: Callable):
    refusal(words, Tracker, Spots(), SIZE, box=box)


def test_box_outside_and_other_frames_are_refused(refusal: Callable):
    refusal("outside", Tracker(Spots(), SIZE, box=(200, 10, 230, 40)), frame_of())
    refusal("(H, W, 3)", Tracker(Spots(), SIZE), np.zeros((20, 20, 3)))
    refusal("(20, 20)", Tracker(Spots(), SIZE), np.zeros((20, 20), np.uint8))


def test_predict_writes_what_the_tracker_finds(tmp_path: Path):
    clip = film(tmp_path / "clip.avi", moving(12))
    tracker, again = (Tracker(Spots(), SIZE, box=box_of(30, 40)) for _ in range(2))
    assert "12 of 12 frames" in predict(clip, tracker, tmp_path / "out")
    found = rows(tmp_path / "out")
    assert np.array_equal(found[:, :2], [(frame, point) for frame in range(12) for point in range(3)])
    expected = np.concatenate([again(frame) for frame in Video(clip)])
    assert np.abs(found[:, 2:] - expected).max() < 6e-4  # three decimals
    assert {p.name for p in (tmp_path / "out").iterdir()} == {"clip.csv", "clip.mp4"}


@pytest.mark.parametrize(("width", "height"), [(64, 48), (65, 49)])
def test_video_with_landmarks_reads_back(width: int, height: int, tmp_path: Path):
    frames = [np.full((height, width, 3), 40, np.uint8)] * 5

    def tracker(frame: np.ndarray) -> np.ndarray:
        assert frame.shape == (height, width, 3)
        return np.array([[20.0, 12.0], [220.0, 30.0], [44.0, 30.0], [-150.0, 30.0]])

    out = film(tmp_path / "in.mp4", frames, "mp4v")
    cv2.imwrite(str(tmp_path / "in.png"), frames[0])  # one frame, and of the odd size, which mp4v has not
    for clip, count in ((out, 5), (tmp_path / "in.png", 1)):
        if clip.suffix == ".mp4" and width % 2:
            continue
        predict(clip, tracker, tmp_path / clip.suffix[1:])
        shown = list(Video(tmp_path / clip.suffix[1:] / "in.mp4"))
        assert len(shown) == count and shown[0].shape == (height + height % 2, width + width % 2, 3)
        assert shown[0][12, 20, 1] > 150 > 80 > shown[0][40, 10, 1]


def cut(clip: Path) -> str:
    clip.write_bytes(clip.read_bytes()[: clip.stat().st_size // 2])
    return "cut off"


def spoil(clip: Path) -> str:
    raw = bytearray(film(clip, moving(20), "mp4v").read_bytes())
    raw[len(raw) // 3 : len(raw) // 3 + 200] = bytes(200)  # the index is at the end
    clip.write_bytes(raw)
    return "of 20 frames"


@pytest.mark.parametrize(("name", "harm"), [("clip.avi", cut), ("clip.mp4", spoil)])
def test_damaged_video_keeps_the_frames_before(name: str, harm: Callable[[Path], str], tmp_path: Path, refusal: Callable):
    clip = film(tmp_path / name, moving(20))
    said = harm(clip)
    sentence = refusal(clip, predict, clip, Tracker(Spots(), SIZE, box=box_of(30, 40)), tmp_path / "out")
    kept = len(np.unique(rows(tmp_path / "out")[:, 0]))
    assert 2 < kept < 20
    assert said in sentence and f"the {kept} frames before are kept" in sentence
    assert len(list(Video(tmp_path / "out" / "clip.mp4"))) == kept
    assert len(list((tmp_path / "out").iterdir())) == 2


def test_frames_of_another_size_end_the_video(tmp_path: Path):
    """Of numbered pictures OpenCV hands out each as it is."""
    for i in range(5):
        cv2.imwrite(str(tmp_path / f"f{i}.png"), np.zeros((40, 60 if i < 3 else 64, 3), np.uint8))
    video = Video(tmp_path / "f0.png")
    video.capture = cv2.VideoCapture(str(tmp_path / "f%01d.png"), cv2.CAP_IMAGES)
    assert len(list(video)) == 3
    assert "frame 3 is 64 x 40 pixels, those before are 60 x 40" in video.damage


def test_frames_that_opencv_scales_have_one_size(tmp_path: Path):
    """MJPEG whose pictures grow in mid-stream: OpenCV scales them, so that landmarks stay in pixels of the first frame."""
    pictures = [np.full((40, 60) if i < 3 else (80, 120), 90, np.uint8) for i in range(6)]
    (tmp_path / "clip.mjpg").write_bytes(b"".join(cv2.imencode(".jpg", p)[1].tobytes() for p in pictures))
    video = Video(tmp_path / "clip.mjpg")
    assert {frame.shape for frame in video} == {(40, 60, 3)}
    assert video.damage is None and video.count == 0  # such a file has no header


def no_video(path: Path) -> None:
    path.write_text("hello " * 100)


def no_frames(path: Path) -> None:
    cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 25, (64, 64)).release()


def no_end(path: Path) -> None:
    raw = film(path.with_suffix(".mp4"), moving(5), "mp4v").read_bytes()
    path.write_bytes(raw[: len(raw) // 2])


@pytest.mark.parametrize("make", [no_video, no_frames, no_end, Path.touch, Path.mkdir, lambda path: None])
def test_what_is_no_video_leaves_nothing(make: Callable[[Path], None], tmp_path: Path, refusal: Callable):
    make(tmp_path / "clip.avi")
    refusal(tmp_path / "clip.avi", predict, tmp_path / "clip.avi", Tracker(Spots(), SIZE), tmp_path / "out")
    assert not list((tmp_path / "out").glob("*")) if (tmp_path / "out").exists() else True


def test_error_on_the_way_leaves_nothing(tmp_path: Path):
    def tracker(frame: np.ndarray) -> None:
        raise MemoryError

    with pytest.raises(MemoryError):
        predict(film(tmp_path / "clip.avi", moving(3)), tracker, tmp_path / "out")
    assert not list((tmp_path / "out").iterdir())


def test_clip_is_not_replaced_by_its_landmarks(tmp_path: Path, refusal: Callable):
    clip = film(tmp_path / "clip.mp4", moving(3), "mp4v")
    before = clip.read_bytes()
    refusal("--out", predict, clip, Tracker(Spots(), SIZE), tmp_path)
    assert clip.read_bytes() == before


def test_memory_does_not_grow_with_the_clip(tmp_path: Path):
    """What Python holds: 120 frames more, each of 32 kB, need no room for seven of them."""
    peaks = []
    for count in (40, 40, 160):  # the first to fill every cache
        clip = film(tmp_path / "clip.avi", [frame_of((60, 40, 1))] * count)
        tracker = Tracker(Stable(Spots(), ConvLSTM(3)), SIZE, box=box_of(60, 40))
        tracemalloc.start()
        predict(clip, tracker, tmp_path / "out")
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert len(rows(tmp_path / "out")) == 3 * count
    assert peaks[2] < peaks[1] + 200_000
