"""Landmarks in video: frames in, one at a time, landmarks out; from Python, or as `fa predict MODEL clip.mp4`.

    net, size = restoring.restore(next(run for run in runs.stored() if run["hash"] == "670435d7"))
    tracker = tracking.Tracker(net, size)
    for frame in tracking.Video(Path("clip.mp4")):  # (H, W, 3) uint8 RGB
        landmarks = tracker(frame)  # (K, 2) in pixels of the frame, or None where there is no face

Nothing grows with the length of a clip but the index of its frames that the decoder and the writer of files keep.
"""

import sys
import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor, nn

from fa_lib import models, storage
from fa_lib.data.crops import EXPAND, cut_face
from fa_lib.data.readers.video import check_video
from fa_lib.errors import InputError
from fa_lib.geometry import crop_box
from fa_lib.heatmaps import Method, decode, to_input
from fa_lib.models.stable import Stable

FOLLOW = 0.5  # share of its way that the crop goes in a frame: a third of the variance of the landmarks' own box is left
SMALLEST, LEAST = 12.0, 0.3  # a face whose landmarks have a smaller box counts as lost: in pixels, and as a share of the crop
# A face is where windows agree: the mean distance of their landmarks is below AGREE of a face's box, and VOTES or more do so.
AGREE, VOTES = 0.08, 5
NEAREST, STEP, RATIO = 0.2, 1 / 3, 1.5  # windows: smallest side as a share of the frame's, how far apart, how much larger
PAUSE = 25  # frames until a face is looked for again after it was not found: a search costs some 300 crops
CHUNK = 32  # windows that go through the network at once


class Tracker:
    """Finds the landmarks of one face, frame by frame: call it with each frame (H, W, 3) uint8 RGB of one clip in its order.

    A call returns landmarks (K, 2) in pixels of the frame, (x, y), 0-based, or None where there is no face. `net` is any
    network of `fa_lib.models` that learned crops of `size` pixels; a `Stable` keeps its state from frame to frame, until the
    face is lost. `method` and `threshold` say how heatmaps are decoded (`heatmaps.decode`); coordinate nets need neither.

    `box` (x0, y0, x1, y1) is the face's tight box in the first frame, chin to brows; without it the face is searched with `net`
    itself: of windows all over the frame those that agree about the landmarks have found a face, the largest of several. A face
    whose crop is below a fifth of the frame's shorter side is missed, and coordinate nets rarely agree: these need the box. Later
    crops follow the landmarks: each goes half of the way to their box x 1.4. A face is lost where more than half of its
    landmarks are outside the frame or its box is below 12 pixels, or below 0.3 of the crop; it is searched in the next frame,
    then in every 25th. A cut to another scene is not noticed while the network still sees something like a face.

    Raises InputError for a box without area or outside the frame, and for a frame of another shape or type.

    >>> class Corners(nn.Module):  # of a crop of 28 pixels: where the box stood, since 28 = 1.4 * 20
    ...     def forward(self, images):
    ...         return torch.tensor([[[3.5, 3.5], [23.5, 23.5]]])
    >>> Tracker(Corners(), size=28, box=(9.5, 19.5, 29.5, 39.5))(np.zeros((60, 80, 3), np.uint8)).tolist()
    [[9.5, 19.5], [29.5, 39.5]]
    """

    def __init__(
        self,
        net: nn.Module,
        size: int,
        method: Method = "local",
        threshold: float = 0.2,
        box: tuple[float, float, float, float] | None = None,
    ) -> None:
        if box is not None and not (np.isfinite(box).all() and box[0] < box[2] and box[1] < box[3]):
            raise InputError(f"the box {_text(box)} has no area: its right and lower edge must lie behind the left and upper one")
        self.net, self.size, self.method, self.threshold, self.box = net.eval(), size, method, threshold, box
        self.crop = None if box is None else _around(np.reshape(box, (1, 2, 2)))[0]  # (4,) x0 y0 x1 y1
        self.state, self.pause = None, 0

    def __call__(self, frame: np.ndarray) -> np.ndarray | None:
        """Landmarks (K, 2) of one frame, or None."""
        if frame.ndim != 3 or frame.shape[2] != 3 or frame.dtype != np.uint8:
            raise InputError(f"a frame must be (H, W, 3) uint8 RGB, not {frame.shape} {frame.dtype}")
        if self.box is not None:
            (x0, y0, x1, y1), self.box = self.box, None
            if x1 < 0 or y1 < 0 or x0 > frame.shape[1] - 1 or y0 > frame.shape[0] - 1:
                raise InputError(f"the box {_text((x0, y0, x1, y1))} lies outside the frame, {frame.shape[1]} x {frame.shape[0]}")
        if self.crop is None:
            if self.pause:
                self.pause -= 1
                return None
            self.crop = self.search(frame)
            if self.crop is None:
                self.pause = PAUSE - 1
                return None
        landmarks = self._find(frame, self.crop[None], follow=True)[0]
        if not self._plausible(landmarks, frame):
            self.crop = self.state = None
            return None
        self.crop = self.crop + FOLLOW * (_around(landmarks[None])[0] - self.crop)
        return landmarks

    def search(self, frame: np.ndarray) -> np.ndarray | None:
        """The crop (4,) of the largest face of a frame: 1.4 x the box of its landmarks; None where windows do not agree."""
        shrink = min(1.0, self.size / (NEAREST * min(frame.shape[:2])))  # the smallest windows have the size of a crop
        width, height = (max(1, round(side * shrink)) for side in frame.shape[1::-1])
        ratio = np.array([frame.shape[1] / width, frame.shape[0] / height])
        small = cv2.resize(frame, (width, height), interpolation=cv2.INTER_AREA)
        crops = windows(height, width)
        for _ in range(2):  # the second look is closer to the face: those that saw one agree better
            found = self._find(small, crops)
            side = np.ptp(found, axis=1).max(-1)
            like_faces = side >= LEAST * (crops[:, 2] - crops[:, 0])  # False where it is no number
            found, side = found[like_faces], side[like_faces]
            if not len(found):
                return None
            crops = _around(found)
        apart = np.stack([np.linalg.norm(found - one, axis=-1).mean(-1) for one in found])
        agree = apart < AGREE * np.minimum(side, side[:, None])
        faces, enough = [], max(VOTES, agree.sum(1).max() / 2)  # by chance fewer agree than about a face, whatever its size
        while (votes := agree.sum(1)).max() >= enough:
            same = agree[votes.argmax()].copy()
            faces.append((np.median(found[same], axis=0) + 0.5) * ratio - 0.5)
            agree[same] = False
            agree[:, same] = False
        crops = _around(np.stack(faces)) if faces else np.zeros((0, 4))
        return max(crops, key=lambda crop: crop[2] - crop[0], default=None)

    @torch.no_grad()
    def _find(self, frame: np.ndarray, boxes: np.ndarray, follow: bool = False) -> np.ndarray:
        """Landmarks (N, K, 2) in pixels of the frame, of crops that show `boxes` (N, 4); `follow` keeps the state of video."""
        where = next((p.device for p in self.net.parameters()), torch.device("cpu"))
        found = []
        for start in range(0, len(boxes), CHUNK):
            cuts = [cut_face(frame, np.zeros((1, 2)), self.size, 1.0, box) for box in boxes[start : start + CHUNK]]
            pictures = torch.from_numpy(np.stack([cut[0] for cut in cuts])).to(where).permute(0, 3, 1, 2).float() / 255
            if follow and isinstance(self.net, Stable):
                maps, self.state = self.net.sequence(pictures[:, None], self.state)
                output = [maps[:, 0]]
            else:
                output = self.net(pictures)
            landmarks = self._landmarks(output).double().cpu().numpy()
            found += [(one - matrix[:, 2]) / matrix[0, 0] for one, (_, _, matrix) in zip(landmarks, cuts, strict=True)]
        return np.stack(found)

    def _landmarks(self, output: models.Output) -> Tensor:
        if isinstance(output, Tensor):
            return output
        return to_input(decode(output[-1], self.method, self.threshold), self.size / output[-1].shape[-1])

    def _plausible(self, landmarks: np.ndarray, frame: np.ndarray) -> bool:
        if not np.isfinite(landmarks).all():
            return False
        inside = ((landmarks > -0.5) & (landmarks < np.array(frame.shape[1::-1]) - 0.5)).all(-1)
        return inside.mean() >= 0.5 and np.ptp(landmarks, axis=0).max() >= max(SMALLEST, LEAST * (self.crop[2] - self.crop[0]))


def windows(height: int, width: int) -> np.ndarray:
    """Square boxes (N, 4) all over a frame, from its shorter side down to a fifth of it, each 1.5 times the next.

    >>> windows(30, 30)[0].tolist(), len(windows(480, 640))
    ([-0.5, -0.5, 29.5, 29.5], 160)
    """
    boxes, side = [], float(min(height, width))
    while side >= NEAREST * min(height, width):
        steps = [int(np.ceil((whole - side) / (STEP * side))) + 1 for whole in (width, height)]
        x, y = (np.linspace(0, whole - side, count) - 0.5 for whole, count in zip((width, height), steps, strict=True))
        corner = np.stack(np.meshgrid(x, y), -1).reshape(-1, 2)
        boxes.append(np.concatenate([corner, corner + side], 1))
        side /= RATIO
    return np.concatenate(boxes)


def _around(landmarks: np.ndarray) -> np.ndarray:
    """Crops (N, 4) about landmarks (N, K, 2) as networks learned them."""
    return crop_box(torch.from_numpy(np.asarray(landmarks, np.float64)), EXPAND).numpy()


def _text(box: tuple[float, ...]) -> str:
    return "(" + ", ".join(f"{edge:g}" for edge in box) + ")"


class Video:
    """The frames of a file in their order, each (H, W, 3) uint8 RGB; only one is in memory.

    `rate` is in frames a second, `count` what the header says, 0 where it does not. `damage`: after the last frame, a sentence
    that says why there are no more where there should be, else None. OpenCV scales frames to the size of the first one where
    it can (MJPEG); where it does not, a frame of another size is such a damage.

    Raises InputError for a file that is missing, no video, or has no frame that can be decoded.
    """

    def __init__(self, path: Path) -> None:
        self.path, self.damage = path, None
        try:
            check_video(path)
        except InputError as error:  # an AVI that is cut off still has its first frames
            self.damage = str(error)
        self.capture = cv2.VideoCapture(str(path)) if path.is_file() else None
        if self.capture is None or not self.capture.isOpened():
            raise InputError(self.damage or f"{path}: is not a video that OpenCV can decode, or its end is missing")
        rate, count = self.capture.get(cv2.CAP_PROP_FPS), self.capture.get(cv2.CAP_PROP_FRAME_COUNT)
        self.rate = rate if 0 < rate <= 1000 else 25.0
        self.count = int(count) if 0 < count < 1e9 else 0

    def __iter__(self) -> Iterator[np.ndarray]:
        done, shape, last = 0, None, 0.0
        while True:
            found, frame = self.capture.read()
            if not found:
                break
            if shape not in (None, frame.shape):
                self.damage = f"{self.path}: frame {done:,} is {_size(frame.shape)} pixels, those before are {_size(shape)}"
                return
            done, shape, last = done + 1, frame.shape, self.capture.get(cv2.CAP_PROP_POS_MSEC)
            yield cv2.cvtColor(frame, cv2.COLOR_BGR2RGB)
        if not done:
            raise InputError(self.damage or f"{self.path}: has no frame that can be decoded")
        # headers count the frames of videos with a changing rate by their duration: what counts is where in time the last is
        reached = max(done, round(last / 1000 * self.rate) + 1)
        if self.damage is None and reached < self.count:
            self.damage = f"{self.path}: ends or is damaged after {done:,} of {self.count:,} frames"


def _size(shape: tuple[int, ...]) -> str:
    return f"{shape[1]} x {shape[0]}"


class _Film:
    """A video to write, mp4v in an MP4 file; OpenCV would drop the last column or row of odd sizes, here one is added."""

    def __init__(self, path: Path, rate: float, shape: tuple[int, ...]) -> None:
        height, width = shape[0] + shape[0] % 2, shape[1] + shape[1] % 2
        self.odd = shape[0] % 2, shape[1] % 2
        self.writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"mp4v"), rate, (width, height))
        if not self.writer.isOpened():
            raise InputError(f"OpenCV cannot write a video of {width} x {height} pixels to {path.parent}")

    def write(self, frame: np.ndarray, landmarks: np.ndarray | None) -> None:
        """Adds a frame (H, W, 3) RGB with its landmarks drawn."""
        picture = cv2.cvtColor(frame, cv2.COLOR_RGB2BGR)
        if landmarks is not None:
            radius = max(1.0, np.ptp(landmarks, axis=0).max() / 100)
            for x, y in np.round(landmarks * 16).astype(int).tolist():  # in sixteenths of a pixel
                cv2.circle(picture, (x, y), round(radius * 16), (80, 255, 80), -1, cv2.LINE_AA, shift=4)
        self.writer.write(cv2.copyMakeBorder(picture, 0, self.odd[0], 0, self.odd[1], cv2.BORDER_REPLICATE))


def predict(clip: Path, tracker: Tracker, folder: Path, frames: Video | None = None) -> str:
    """Writes <clip>.csv (frame, point, x, y; all from 0, no line where there is no face) and <clip>.mp4, landmarks drawn.

    `frames`: those of the clip where it is no file, as a camera's. Returns a line that says what was written. Raises
    InputError for a clip that cannot be read; where that turns out on the way, the files stay, with the frames up to there,
    and the error says how many these are.
    """
    table, film = folder / f"{clip.stem}.csv", folder / f"{clip.stem}.mp4"
    if film.resolve() == clip.resolve():
        raise InputError(f"{film} would replace the clip itself; choose another folder with --out")
    video = Video(clip) if frames is None else frames
    progress, done, seen, out = _Progress(clip.name, video.count), 0, 0, None
    with storage.new_file(table) as rows_part, storage.new_file(film) as film_part:
        try:
            with rows_part.open("w") as rows:
                rows.write("frame,point,x,y\n")
                for frame in video:
                    landmarks = tracker(frame)
                    out = out or _Film(film_part, video.rate, frame.shape)
                    out.write(frame, landmarks)
                    if landmarks is not None:
                        rows.writelines(f"{done},{k},{x:.3f},{y:.3f}\n" for k, (x, y) in enumerate(landmarks.tolist()))
                    done, seen = done + 1, seen + (landmarks is not None)
                    progress(done)
        finally:
            progress.end()
            if out is not None:
                out.writer.release()
        written = cv2.VideoCapture(str(film_part)).get(cv2.CAP_PROP_FRAME_COUNT)
        if round(written) != done:  # OpenCV does not say so
            raise InputError(f"{film} cannot be written: {written:.0f} of {done:,} frames are in it, so the disk may be full")
    if video.damage:
        raise InputError(f"{video.damage}; the {done:,} frames before are kept in {table} and {film}")
    hint = "" if seen else " (--box X Y W H says where the face is)"
    return f"{table} and {film}: landmarks in {seen:,} of {done:,} frames{hint}"


class _Progress:
    """A line with the time left: it moves where a person watches, else there is one every five seconds."""

    def __init__(self, title: str, count: int) -> None:
        self.title, self.count, self.watched = title, count, sys.stderr.isatty()
        self.begin = self.last = time.monotonic()

    def __call__(self, done: int) -> None:
        now = time.monotonic()
        if now - self.last < (0.2 if self.watched else 5):
            return
        self.last = now
        left = (now - self.begin) / done * (self.count - done)
        text = f"{self.title}: frame {done:,}" + (f" of {self.count:,}, {left:.0f} s left" if self.count >= done else "")
        print(f"\r{text}\033[K" if self.watched else text, end="" if self.watched else "\n", file=sys.stderr, flush=True)

    def end(self) -> None:
        if self.watched and self.last > self.begin:
            print(file=sys.stderr)
