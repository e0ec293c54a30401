"""What the shipped network can do, in numbers: on rendered faces, on pictures without any, and on photographs.

Rendered pictures are drawn here, wider than crops are, so that faces have to be found in them; nothing is read but photographs.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch

from fa_lib import metrics
from fa_lib.confidence import RIGHT, reliability
from fa_lib.data.readers import read_300w
from fa_lib.data.synthetic import scenery, sets
from fa_lib.finding import Face, Finder, overlap
from fa_lib.pretrained.learning import scenes

SIDE = 240  # of rendered pictures
WIDTHS = (1.5, 2.0, 2.8, 3.8)  # how many times as wide as its face's box a picture is: each for a quarter of the faces
FOUND = 0.5  # a face counts as found where the boxes of found and true landmarks have this intersection over union


def faces(name: str, split: str, count: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Rendered pictures (240, 240, 3) with one face each, of four sizes, and its annotation (68, 2)."""
    for index in range(count):
        drawn = sets.make(name, split, count, SIDE, expand=WIDTHS[index % len(WIDTHS)], part=slice(index, index + 1))
        yield drawn.images[0], drawn.landmarks[0]


def blanks(kind: str, count: int, seed: int) -> Iterator[np.ndarray]:
    """Pictures (240, 240, 3) uint8 without a face, of one of the kinds of `BLANKS`."""
    for index in range(count):
        yield BLANKS[kind](np.random.default_rng([11, seed, index]))


def _scene(rng: np.random.Generator) -> np.ndarray:
    return scenes(1, SIDE, int(rng.integers(1 << 30)) + 1_000_000)[0].permute(1, 2, 0).numpy()  # far from those of the training


def _noise(rng: np.random.Generator) -> np.ndarray:
    side = int(rng.integers(3, SIDE))
    return cv2.resize(rng.integers(0, 256, (side, side, 3), dtype=np.uint8), (SIDE, SIDE), interpolation=cv2.INTER_LINEAR)


def _gradient(rng: np.random.Generator) -> np.ndarray:
    return cv2.resize(rng.integers(0, 256, (2, 2, 3), dtype=np.uint8), (SIDE, SIDE), interpolation=cv2.INTER_LINEAR)


def _texture(rng: np.random.Generator) -> np.ndarray:
    return scenery.texture(SIDE, rng)


def _blots(rng: np.random.Generator) -> np.ndarray:
    picture = np.full((SIDE, SIDE, 3), rng.integers(0, 256, 3), np.uint8)
    for _ in range(int(rng.integers(2, 12))):  # ovals of any colour, as heads and eyes are
        place, axes = rng.integers(0, SIDE, 2).tolist(), rng.integers(4, 90, 2).tolist()
        cv2.ellipse(picture, place, axes, float(rng.integers(0, 180)), 0, 360, rng.integers(0, 256, 3).tolist(), -1, cv2.LINE_AA)
    return cv2.GaussianBlur(picture, (0, 0), float(rng.uniform(0.5, 6)))


def _part(rng: np.random.Generator) -> np.ndarray:
    """A part of a rendered face, at most a third of its box wide: an eye, a cheek, hair."""
    drawn = sets.make("wild", "test", 1000, 3 * SIDE, expand=1.3, part=slice(i := int(rng.integers(500, 1000)), i + 1)).images[0]
    part = int(rng.uniform(0.15, 0.3) * len(drawn))
    x, y = rng.integers(0, len(drawn) - part, 2)
    return cv2.resize(drawn[y : y + part, x : x + part], (SIDE, SIDE), interpolation=cv2.INTER_LINEAR)


BLANKS: dict[str, Callable[[np.random.Generator], np.ndarray]] = {
    "rendered scene": _scene, "noise": _noise, "gradient": _gradient, "texture": _texture, "blurred ovals": _blots,
    "part of a face": _part,
}  # fmt: skip


@dataclass(frozen=True)
class Known:
    """Landmarks at known boxes: `shares` and `errors` (N, K), errors as fractions of the inter-ocular distance."""

    shares: np.ndarray
    errors: np.ndarray


def at_boxes(finder: Finder, pairs: list[tuple[np.ndarray, np.ndarray]]) -> Known:
    """What is found in pictures where the box of the true landmarks (68, 2) is given: it is refined like any other."""
    shares, errors = [], []
    for picture, truth in pairs:
        (face,) = finder(picture, _tight(truth)[None])
        shares.append(face.shares)
        errors.append(np.linalg.norm(face.landmarks - truth, axis=-1) / metrics.lengths(truth[None])[0])
    return Known(np.stack(shares), np.stack(errors))


def found(finder: Finder, pairs: list[tuple[np.ndarray, np.ndarray]]) -> dict[str, float]:
    """What the finder makes of pictures with one known face each, without and with its box; rates and errors are fractions.

    `detected`: share of pictures whose largest face found overlaps the true one by half (intersection over union of the boxes
    of landmarks); `more`: further faces found, a picture; `nme_found`: error of detected faces; `nme_box`, `nme_box_detected`:
    error with the box of the true landmarks, of all and of the detected; `ece` of the chances and `right`, both at true boxes;
    `faces_a_second` with search and `boxes_a_second` without, on as many threads as torch has.
    """
    begin = time.perf_counter()
    several = [finder(picture) for picture, _ in pairs]
    seconds = time.perf_counter() - begin
    truths = np.stack([truth for _, truth in pairs])
    lengths = metrics.lengths(truths)
    hits = np.array([bool(every) and _hit(every[0], truth) for every, truth in zip(several, truths, strict=True)])
    begin = time.perf_counter()
    known = at_boxes(finder, pairs)
    at_box = time.perf_counter() - begin
    by_box = known.errors.mean(1)
    report = {
        "pictures": len(pairs),
        "detected": hits.mean(),
        "more": float(np.mean([max(0, len(every) - 1) for every in several])),
        "nme_box": by_box.mean(),
        "right": (known.errors < RIGHT).mean(),
        "faces_a_second": len(pairs) / seconds,
        "boxes_a_second": len(pairs) / at_box,
        "threads": torch.get_num_threads(),
    }
    if finder.judge is not None:
        report["ece"] = reliability(finder.judge.calibration(known.shares), known.errors).ece
    if hits.any():
        pred = np.stack([every[0].landmarks for every, hit in zip(several, hits, strict=True) if hit])
        report["nme_found"] = metrics.nme(pred, truths[hits], lengths[hits]).mean()
        report["nme_box_detected"] = by_box[hits].mean()
    return {key: float(value) for key, value in report.items()}


def false_alarms(finder: Finder, count: int, seed: int) -> dict[str, float]:
    """By kind of picture without a face, the share of `count` in which one is found all the same."""
    return {kind: float(np.mean([bool(finder(one)) for one in blanks(kind, count, seed)])) for kind in BLANKS}


def photographs(root: str | Path) -> list[tuple[np.ndarray, np.ndarray]]:
    """The photographs of 300-W's common set that lie below `root`, and their landmarks (68, 2)."""
    return [(sample.read(), sample.landmarks) for sample in read_300w(root, "common")]


def beside_faces(pairs: list[tuple[np.ndarray, np.ndarray]], least: int = 40) -> list[np.ndarray]:
    """What photographs show beside their face: of each the largest square that no landmark reaches, where it is `least` wide.

    The face's box is widened by a tenth to each side, and by a third above, where the brows end and the forehead goes on.
    """
    pieces = []
    for picture, truth in pairs:
        x0, y0, x1, y1 = _tight(truth)
        width, height = x1 - x0, y1 - y0
        left, right = max(0, int(x0 - width / 10)), int(x1 + width / 10) + 1
        top, bottom = max(0, int(y0 - height / 3)), int(y1 + height / 10) + 1
        strips = [picture[:, :left], picture[:, right:], picture[:top], picture[bottom:]]
        best = max(strips, key=lambda strip: min(strip.shape[:2]))
        if (side := min(best.shape[:2])) >= least:
            y, x = ((whole - side) // 2 for whole in best.shape[:2])
            pieces.append(best[y : y + side, x : x + side])
    return pieces


def _tight(landmarks: np.ndarray) -> np.ndarray:
    return np.concatenate([landmarks.min(0), landmarks.max(0)]).astype(np.float64)


def _hit(face: Face, truth: np.ndarray) -> bool:
    return overlap(face.box, _tight(truth)) >= FOUND
