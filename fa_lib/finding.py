"""Faces in single pictures: where they are, their landmarks, and how sure each of these is.

    finder = finding.Finder(*pretrained.load())
    for face in finder(read_image("group.jpg")):  # (H, W, 3) uint8 RGB; the largest face first
        face.landmarks, face.chances  # (K, 2) in pixels of the picture, (K,)

The network finds the faces itself, as OpenCV 5 comes with no detector: a crop shows a face where its heatmaps are sharp.
"""

from dataclasses import dataclass

import cv2
import numpy as np
import torch
from torch import nn

from fa_lib.confidence import Calibration, peak_share
from fa_lib.data.crops import EXPAND, cut_face
from fa_lib.geometry import crop_box
from fa_lib.heatmaps import Method, decode, to_input
from fa_lib.tracking import CHUNK, LEAST, NEAREST, SMALLEST, Tracker, windows

FIRST = 0.6  # windows rarely hold a face well: those with this share of the sharpness that is asked for are looked at again
AGAIN = 24  # but no more than the sharpest so many
SAME = 0.3  # two findings are one face where their boxes share more than this of what they cover together


@dataclass(frozen=True)
class Judge:
    """When a face is one: `calibration` of the landmarks' chances, and the `least` mean share of a face's heatmaps."""

    calibration: Calibration
    least: float


@dataclass(frozen=True, eq=False)
class Face:
    """`landmarks` (K, 2) in pixels of the picture, (x, y), from 0; `box` (4,) x0 y0 x1 y1, tight about them.

    `shares` (K,): how much of each heatmap lies at its peak, None for networks without heatmaps; `chances` (K,): the probability
    that a landmark's error is below 5 % of the inter-ocular distance, None for networks that are not calibrated.
    """

    landmarks: np.ndarray
    shares: np.ndarray | None
    chances: np.ndarray | None

    @property
    def box(self) -> np.ndarray:
        """The landmarks' tight box (4,)."""
        return np.concatenate([self.landmarks.min(0), self.landmarks.max(0)])

    @property
    def score(self) -> float | None:
        """The mean share: near 0 where there is no face; None for networks without heatmaps."""
        return None if self.shares is None else float(self.shares.mean())


class Finder:
    """Finds faces in a picture (H, W, 3) uint8 RGB: call it, with the faces' boxes where they are known.

    `net` is any network of `fa_lib.models` that learned crops of `size` pixels. With a `judge` it finds every face whose crop is
    at least a fifth of the picture's shorter side: where heatmaps are sharp. Without, it finds the largest alone, where windows
    agree about it (`tracking.Tracker.search`). Either way, and for boxes (N, 4) x0 y0 x1 y1 that are given, the first landmarks
    say where the crop should have been, and the network is applied once more: what is left of a box that was off is little.

    >>> class Corners(nn.Module):  # of a crop of 28 pixels: where a box of 20 stood
    ...     def forward(self, images):
    ...         return torch.tensor([[[3.5, 3.5], [23.5, 23.5]]])
    >>> face, = Finder(Corners(), size=28)(np.zeros((60, 80, 3), np.uint8), np.array([[9.5, 19.5, 29.5, 39.5]]))
    >>> face.landmarks.tolist(), face.box.tolist(), face.chances
    ([[9.5, 19.5], [29.5, 39.5]], [9.5, 19.5, 29.5, 39.5], None)
    """

    def __init__(self, net: nn.Module, size: int, judge: Judge | None = None, method: Method = "local") -> None:
        self.net, self.size, self.judge, self.method = net.eval(), size, judge, method

    def __call__(self, picture: np.ndarray, boxes: np.ndarray | None = None) -> list[Face]:
        """The faces of a picture, the largest first; of given boxes (N, 4) one each, in their order."""
        if boxes is not None:
            return self._refined(picture, around(np.reshape(boxes, (-1, 2, 2)).astype(np.float64)))
        faces = self._refined(picture, self.search(picture))
        if self.judge is not None:
            faces = [face for face in faces if face.score >= self.judge.least]
            kept = distinct(np.reshape([face.box for face in faces], (-1, 4)), np.array([face.score for face in faces]))
            faces = [faces[i] for i in kept]  # two crops that each held half of a face have become one
        return sorted(faces, key=lambda face: -np.ptp(face.landmarks, axis=0).max())

    def search(self, picture: np.ndarray) -> np.ndarray:
        """Crops (N, 4) that may hold a face: 1.4 x the box of its landmarks."""
        if min(picture.shape[:2]) < SMALLEST:  # of a strip of 2 x 300 pixels there would be 50,000 windows
            return np.zeros((0, 4))
        if self.judge is None:
            crop = Tracker(self.net, self.size, self.method).search(picture)
            return np.zeros((0, 4)) if crop is None else crop[None]
        small, ratio = shrunk(picture, self.size / (NEAREST * min(picture.shape[:2])))
        crops = windows(*small.shape[:2])
        for _ in range(2):  # the second look is closer to the face
            landmarks, shares = self._look(small, crops)
            sharp = np.where(like_faces(landmarks, crops), shares.mean(1), 0)
            first = [i for i in np.argsort(-sharp)[:AGAIN] if sharp[i] >= FIRST * self.judge.least]
            if not first:
                return np.zeros((0, 4))
            landmarks, sharp = landmarks[first], sharp[first]
            crops = around(landmarks)
        kept = distinct(np.concatenate([landmarks.min(1), landmarks.max(1)], 1), sharp)
        return (crops[kept] + 0.5) * np.tile(ratio, 2) - 0.5

    def _refined(self, picture: np.ndarray, crops: np.ndarray) -> list[Face]:
        """What two looks at crops (N, 4) find: the second at where the first has found the face."""
        if not len(crops):
            return []
        first = self._look(picture, crops)[0]
        landmarks, shares = self._look(picture, np.where(like_faces(first, crops)[:, None], around(first), crops))
        chances = None if self.judge is None or shares is None else self.judge.calibration(shares)
        parts = [[None] * len(landmarks) if part is None else part for part in (shares, chances)]
        return [Face(*one) for one in zip(landmarks, *parts, strict=True)]

    @torch.no_grad()
    def _look(self, picture: np.ndarray, crops: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        """Landmarks (N, K, 2) in pixels of the picture, and shares (N, K), None for networks without heatmaps."""
        where = next((p.device for p in self.net.parameters()), torch.device("cpu"))
        found, shares = [], []
        for start in range(0, len(crops), CHUNK):
            cuts = [_cut(picture, crop, self.size) for crop in crops[start : start + CHUNK]]
            output = self.net(torch.from_numpy(np.stack([cut[0] for cut in cuts])).to(where).permute(0, 3, 1, 2).float() / 255)
            if not isinstance(output, torch.Tensor):
                maps, stride = output[-1].float(), self.size / output[-1].shape[-1]
                places = decode(maps, self.method)
                shares.append(peak_share(maps, places).cpu().numpy())
                output = to_input(places, stride)
            scale, offset = np.stack([cut[1] for cut in cuts])[:, None, None], np.stack([cut[2] for cut in cuts])[:, None]
            found.append((output.double().cpu().numpy() - offset) / scale)
        return np.concatenate(found), np.concatenate(shares) if shares else None


def around(landmarks: np.ndarray) -> np.ndarray:
    """Crops (N, 4) about landmarks (N, K, 2) as networks learned them: squares of 1.4 x the longer side of the tight box."""
    return crop_box(torch.from_numpy(np.asarray(landmarks, np.float64)), EXPAND).numpy()


def shrunk(picture: np.ndarray, scale: float) -> tuple[np.ndarray, np.ndarray]:
    """A picture at `scale`, if that is below 1, and how many of its pixels (2,), in x and y, are one of the smaller one's."""
    height, width = picture.shape[:2]
    small = tuple(max(1, round(side * min(1.0, scale))) for side in (width, height))
    return cv2.resize(picture, small, interpolation=cv2.INTER_AREA), np.array([width / small[0], height / small[1]])


def like_faces(landmarks: np.ndarray, crops: np.ndarray) -> np.ndarray:
    """Which landmarks (N, K, 2) are as large as those of a face in its crop (N, 4) must be; False where they are no numbers."""
    return np.ptp(landmarks, axis=1).max(-1) >= LEAST * (crops[:, 2] - crops[:, 0])


def distinct(boxes: np.ndarray, scores: np.ndarray) -> list[int]:
    """Which boxes (N, 4) are those of different faces, best score (N,) first: of those that overlap, only the best.

    >>> distinct(np.array([[0, 0, 9, 9], [0, 0, 8, 9], [20, 0, 29, 9.0]]), np.array([0.5, 0.6, 0.1]))
    [1, 2]
    """
    kept: list[int] = []
    for i in np.argsort(-scores, kind="stable").tolist():
        if all(overlap(boxes[i], boxes[j]) <= SAME for j in kept):
            kept.append(i)
    return kept


def overlap(one: np.ndarray, other: np.ndarray) -> float:
    """What two boxes (4,) have in common, as a share of what they cover together: intersection over union.

    >>> overlap(np.array([0, 0, 2, 2.0]), np.array([1, 0, 3, 2.0])) == 2 / 6
    True
    """
    sides = np.minimum(one[2:], other[2:]) - np.maximum(one[:2], other[:2])
    common = float(np.clip(sides, 0, None).prod())
    whole = float((one[2:] - one[:2]).prod() + (other[2:] - other[:2]).prod()) - common
    return common / whole if whole > 0 else 0.0


def _cut(picture: np.ndarray, crop: np.ndarray, size: int) -> tuple[np.ndarray, float, np.ndarray]:
    """The crop (size, size, 3), and its scale and offset (2,): in the crop is scale * (x, y) + offset.

    Only what the crop shows is resampled: `cut_face` alone would shrink all of a large picture for each face.
    """
    if not np.isfinite(crop).all():  # a network that was trained badly may find anything
        return np.zeros((size, size, 3), np.uint8), 1.0, np.zeros(2)
    margin = 2 + 2 * (crop[2] - crop[0]) / size
    low = np.clip(np.floor(crop[:2] - margin), 0, None).astype(int)
    high = np.clip(np.ceil(crop[2:] + margin) + 1, 0, picture.shape[1::-1]).astype(int)
    if (high <= low).any():
        part, low = np.zeros((1, 1, 3), np.uint8), np.floor(crop[:2]).astype(int) - 9
    else:
        part = picture[low[1] : high[1], low[0] : high[0]]
    cut, _, matrix = cut_face(part, np.zeros((1, 2)), size, 1.0, crop - np.tile(low, 2))
    return cut, float(matrix[0, 0]), matrix[:, 2] - matrix[0, 0] * low
