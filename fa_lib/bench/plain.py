"""The plain way of this field, to compare with: a face at a time in numpy and OpenCV, a map at a time in a loop.

Written from the papers' equations in the form that published training code shares: a data set that decodes a JPEG, warps it
and draws its heatmaps one by one, workers that do so, a loop that waits for the loss of each step and decodes each map. It
computes what the package computes, which tests check; only so do ratios of times mean anything.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor, nn

from fa_lib.data.crops import EXPAND
from fa_lib.heatmaps import Method


@dataclass
class Photos(torch.utils.data.Dataset):
    """Faces as a DataLoader's workers prepare them: item i is picture (3, size, size), maps (K, h, h) and landmarks (K, 2).

    Each time a file is decoded, moved by a random map, and its maps of `side` cells are drawn. `landmarks` (N, K, 2) are in
    pixels of the files, `matrices` (N, 2, 3) lead from there to the crop; `flip`: the points that change places in a mirror.
    """

    files: Sequence[Path]
    landmarks: np.ndarray
    matrices: np.ndarray
    flip: Sequence[int]
    size: int
    side: int
    scale: tuple[float, float]
    degrees: float

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, i: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        photo = cv2.cvtColor(cv2.imread(str(self.files[i])), cv2.COLOR_BGR2RGB)
        mirrored, middle = np.random.rand() < 0.5, (self.size - 1) / 2  # noqa: NPY002 - what workers seed
        scale, degrees = np.random.uniform(*self.scale), np.random.uniform(-self.degrees, self.degrees)  # noqa: NPY002
        turn = np.vstack([cv2.getRotationMatrix2D((middle, middle), degrees, scale), [0, 0, 1]])
        mirror = np.array([[-1, 0, 2 * middle], [0, 1, 0], [0, 0, 1]]) if mirrored else np.eye(3)
        crop = np.vstack([self.matrices[i], [0, 0, 1]])
        picture, points = moved(photo, self.landmarks[i], (turn @ mirror @ crop)[:2], self.size)
        if mirrored:
            points = points[list(self.flip)]
        return picture, drawn((points + 0.5) * self.side / self.size - 0.5, self.side), points


def moved(photo: np.ndarray, landmarks: np.ndarray, matrix: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """A picture (H, W, 3) uint8 with landmarks (K, 2), both moved by `matrix` (2, 3): (3, size, size) in [0, 1], and (K, 2).

    >>> moved(np.full((4, 4, 3), 255, np.uint8), np.array([[1.0, 2.0]]), np.array([[1.0, 0, 1], [0, 1, 0]]), 4)[1].tolist()
    [[2.0, 2.0]]
    """
    picture = cv2.warpAffine(photo, matrix, (size, size), flags=cv2.INTER_LINEAR)
    points = np.array([matrix[:, :2] @ point + matrix[:, 2] for point in landmarks], np.float32)
    return (picture.astype(np.float32) / 255).transpose(2, 0, 1).copy(), points


def drawn(landmarks: np.ndarray, side: int, sigma: float = 1.0) -> np.ndarray:
    """Gaussian maps (K, side, side), landmark after landmark (K, 2) in cells; as usual 0 beyond 3 `sigma` of the nearest cell.

    >>> drawn(np.array([[2.0, 1.0]]), 4)[0, 1].astype(float).round(4).tolist()
    [0.1353, 0.6065, 1.0, 0.6065]
    """
    maps, reach = np.zeros((len(landmarks), side, side), np.float32), int(3 * sigma)
    for one, (x, y) in zip(maps, landmarks):
        left, top = round(x) - reach, round(y) - reach
        columns = np.arange(max(left, 0), min(left + 2 * reach + 1, side))
        rows = np.arange(max(top, 0), min(top + 2 * reach + 1, side))
        if len(columns) and len(rows):
            square = (columns - x) ** 2 + (rows[:, None] - y) ** 2
            one[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1] = np.exp(-square / (2 * sigma**2))
    return maps


def decoded(heatmaps: np.ndarray, method: Method, threshold: float = 0.2, radius: int = 4, window: int = 9) -> np.ndarray:
    """`heatmaps.decode` of maps (B, K, H, W), a map at a time: landmarks (B, K, 2), (x, y) in cells.

    >>> decoded(np.eye(3)[None, None], "centroid").tolist()
    [[[1.0, 1.0]]]
    """
    found = [[_one(one, method, threshold, radius, window) for one in face] for face in heatmaps]
    return np.array(found, np.float32)


def _one(one: np.ndarray, method: Method, threshold: float, radius: int, window: int) -> tuple[float, float]:
    if method == "box_blur":
        one = cv2.blur(one, (window, window), borderType=cv2.BORDER_CONSTANT)
    y, x = np.unravel_index(one.argmax(), one.shape)
    if method == "quarter":
        right = np.sign(one[y, x + 1] - one[y, x - 1]) if 0 < x < one.shape[1] - 1 else 0.0
        down = np.sign(one[y + 1, x] - one[y - 1, x]) if 0 < y < one.shape[0] - 1 else 0.0
        return x + 0.25 * right, y + 0.25 * down
    if method in ("argmax", "box_blur"):
        return x, y
    top = left = 0
    if method == "local":
        top, left = max(y - radius, 0), max(x - radius, 0)
        one = one[top : y + radius + 1, left : x + radius + 1]
    mass = np.where(one >= threshold, one, 0) if method == "pdc" else np.maximum(one, 0)
    if mass.sum() <= 0:
        return x, y
    rows, columns = np.mgrid[: mass.shape[0], : mass.shape[1]]
    return left + (mass * columns).sum() / mass.sum(), top + (mass * rows).sum() / mass.sum()


def nnm(heatmaps: np.ndarray, landmarks: np.ndarray, window: int = 9) -> list[float]:
    """Equation 1 of paper 5 of maps (B, K, H, W) about landmarks (B, K, 2), as it stands there: cell by cell.

    >>> nnm(np.ones((1, 2, 5, 5)), np.array([[[2.0, 2.0], [0.0, 0.0]]]), window=3)  # 9 cells; 4, as it lies in a corner
    [-13.0]
    """
    scores, reach = [], window // 2
    for face, points in zip(heatmaps, landmarks):
        total = 0.0
        for one, (x, y) in zip(face, points):
            for v in range(round(float(y)) - reach, round(float(y)) + reach + 1):
                for u in range(round(float(x)) - reach, round(float(x)) + reach + 1):
                    if 0 <= v < one.shape[0] and 0 <= u < one.shape[1]:
                        total += float(one[v, u])
        scores.append(-total)
    return scores


def entropy(heatmaps: np.ndarray) -> list[float]:
    """The mean entropy of a face's maps (B, K, H, W), in nats, as its formula stands there: cell by cell.

    >>> [round(value, 4) for value in entropy(np.ones((1, 3, 2, 2)))]  # log 4
    [1.3863]
    """
    scores = []
    for face in heatmaps:
        total = 0.0
        for one in face:
            mass = [max(float(value), 1e-30) for row in one for value in row]
            whole = sum(mass)
            total -= sum(value / whole * math.log(value / whole) for value in mass)
        scores.append(total / len(face))
    return scores


def train(net: nn.Module, batches: Iterable, optimiser: torch.optim.Optimizer, where: torch.device) -> tuple[float, float]:
    """One epoch of heatmap regression as it is usually written; returns the mean loss, and distance of the landmarks in cells.

    `batches` gives pictures, maps and landmarks. Each step waits for its loss, and for the landmarks of its maps.
    """
    net.train()
    losses, errors = [], []
    for pictures, maps, _ in batches:
        pictures, maps = pictures.to(where), maps.to(where)
        found = net(pictures)[-1]
        loss = nn.functional.mse_loss(found, maps)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
        here, there = decoded(found.detach().cpu().numpy(), "quarter"), decoded(maps.cpu().numpy(), "quarter")
        errors.append(np.linalg.norm(here - there, axis=-1).mean())
    return float(np.mean(losses)), float(np.mean(errors))


class Follower:
    """`tracking.Tracker` of one face as a script has it: call it with frames (H, W, 3); landmarks (K, 2) in their pixels."""

    def __init__(self, net: nn.Module, size: int, box: tuple[float, float, float, float]) -> None:
        self.net, self.size, self.box = net.eval(), size, _square(np.reshape(box, (2, 2)))

    def __call__(self, frame: np.ndarray) -> np.ndarray:
        x, y, side = self.box
        scale = self.size / side
        matrix = np.array([[scale, 0, -0.5 - x * scale], [0, scale, -0.5 - y * scale]])
        picture, _ = moved(frame, np.zeros((0, 2)), matrix, self.size)
        with torch.no_grad():
            found: Tensor = self.net(torch.from_numpy(picture)[None].to(next(self.net.parameters()).device))
        landmarks = (found[0].double().cpu().numpy() - matrix[:, 2]) / scale
        self.box = 0.5 * (self.box + _square(landmarks))
        return landmarks


def _square(landmarks: np.ndarray) -> np.ndarray:
    """Left edge, upper edge and side of the crop about landmarks (K, 2)."""
    low, high = landmarks.min(0), landmarks.max(0)
    side = EXPAND * (high - low).max()
    return np.array([*((low + high) / 2 - side / 2), side])
