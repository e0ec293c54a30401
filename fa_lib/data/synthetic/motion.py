"""Imitations of video clips: one person moves, talks and blinks at 25 frames a second before a camera that stays put."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fa_lib.data.synthetic import deform, head, people
from fa_lib.data.synthetic.annotators import STRANDS, is_contour, smooth, tangents
from fa_lib.data.synthetic.head import HeadParameters
from fa_lib.data.synthetic.render import render
from fa_lib.data.synthetic.sets import face_rng
from fa_lib.data.synthetic.threads import one_thread
from fa_lib.errors import InputError

RATE = 25.0  # frames per second
WINDOW = 1.3 * 1.925  # side of the picture over the larger side of the landmarks' box in the first frame
# Clips of each part as the real sets have them. 300-VW's test set has three scenarios: well lit and mostly frontal, changing
# light, arbitrary; its training clips here take turns. NTHU-DDD shows drivers, who nearly hold still, some of them at night.
PARTS = {"300vw": {"train": 50, "1": 31, "2": 19, "3": 14}, "ddd": {"train": 360, "evaluation": 20}}
DRIVER = 0  # stands for a scenario where the clip shows a driver
# How far pose (degrees of yaw, pitch, roll) and place (times a common measure) wander.
_SPREAD = {DRIVER: (2.5, 2, 1.2), 1: (7, 4, 3), 2: (11, 6, 5), 3: (26, 10, 9)}
_DRIFT = {DRIVER: 0.25, 1: 1.0, 2: 1.0, 3: 1.5}
STILL = (0.35, 0.65)  # between these parts of a clip the face holds still


@dataclass(frozen=True)
class Clip:
    """T frames. Landmarks are 0-based pixels, order (x, y), pixel centres at integers."""

    images: np.ndarray  # (T, size, size, 3) uint8 RGB
    truth: np.ndarray  # (T, 68, 2) float32, exact
    landmarks: np.ndarray  # (T, 68, 2) float32, annotation: smooth in time, a little off, as 300-VW's semi-automatic one;
    # (T, 0, 2) for clips of ddd, which has none
    still: np.ndarray  # (T,) bool, frames in which the face does not move
    name: str
    scenario: int  # DRIVER for clips of ddd


def _wander(frames: int, rng: np.random.Generator, count: int, fastest: float) -> np.ndarray:
    """Smooth random curves (frames, count) of about unit spread; no part of them is faster than `fastest` hertz."""
    time = np.arange(frames) / RATE
    rate = rng.uniform(0.05, fastest, (8, count))
    size = 1 / (1 + (rate / 0.35) ** 2)
    size = size / np.sqrt((size**2).sum(0) / 2)
    return (size * np.sin(2 * np.pi * rate * time[:, None, None] + rng.uniform(0, 2 * np.pi, (8, count)))).sum(1)


def _hold(frames: int) -> tuple[np.ndarray, np.ndarray]:
    """A warped time (frames,) that stops smoothly during the still stretch, and the mask of that stretch."""
    part = np.arange(frames) / max(frames - 1, 1)
    speed = np.clip(np.maximum((STILL[0] - part) / 0.08, (part - STILL[1]) / 0.08), 0, 1)
    speed = speed * speed * (3 - 2 * speed)
    return np.concatenate([[0.0], np.cumsum(speed)[:-1]]), speed == 0


def _blinks(time: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """How far the lids are shut (T,): a blink of 0.3 s every few seconds of moving time."""
    shut = np.zeros(len(time))
    at = rng.uniform(0.3, 2.0) * RATE
    while at < time[-1]:
        shut = np.maximum(shut, np.exp(-0.5 * ((time - at) / (0.085 * RATE)) ** 2))
        at += rng.uniform(1.2, 4.5) * RATE
    return shut


def _script(
    one: HeadParameters, scenario: int, frames: int, rng: np.random.Generator
) -> tuple[HeadParameters, np.ndarray, np.ndarray]:
    """Parameters of every frame, where the face is (T, 3: x, y in face widths, log size) and the still mask."""
    time, still = _hold(frames)
    long = int(np.ceil(time[-1])) + 3

    def follow(count: int, fastest: float) -> np.ndarray:
        curve = _wander(long, rng, count, fastest)
        low = np.floor(time).astype(int)
        part = (time - low)[:, None]
        a, b, c, d = (curve[np.clip(low + k, 0, long - 1)] for k in (-1, 0, 1, 2))
        return b + 0.5 * part * (c - a + part * (2 * a - 5 * b + 4 * c - d + part * (3 * (b - c) + d - a)))

    pose = np.clip(0.5 * one.pose + follow(3, 0.4) * _SPREAD[scenario], (-62, -28, -40), (62, 30, 40))
    names = deform.EXPRESSION_NAMES
    expression = np.repeat(one.expression, frames, 0) * 0.5
    slow, talk = follow(6, 0.5), follow(3, 3.2)
    mouth = np.clip(0.25 + 0.35 * talk[:, 0] * np.clip(0.6 + slow[:, 0], 0, 1.3), 0, 1.6)
    if scenario == DRIVER:  # shut, but for a yawn
        mouth = np.clip(1.9 * slow[:, 0] - 2.2, 0, 1.6)
    expression[:, names.index("jaw_open")] = mouth
    expression[:, names.index("lips_close")] = np.clip(0.95 - 3.0 * mouth, -0.1, 1)
    expression[:, names.index("pucker")] = np.clip(0.22 * talk[:, 1], 0, 0.8)
    expression[:, names.index("smile")] = np.clip(0.25 + 0.35 * slow[:, 1], 0, 1.1)
    expression[:, names.index("brow_raise")] = np.clip(0.4 * slow[:, 2], -0.2, 1)
    shut = np.clip(_blinks(time, rng), 0, 1)
    for side in ("left_eye_close", "right_eye_close"):
        expression[:, names.index(side)] = np.clip(
            np.clip(one.expression[0, names.index(side)], -0.3, 0.35) * (1 - shut) + shut, -0.4, 1
        )
    gaze = np.clip(one.gaze + 6 * slow[:, 4:6], -22, 22)
    light = np.repeat(one.light, frames, 0)
    if scenario == 2:
        glow = np.exp(0.28 * follow(2, 0.8))
        light[:, 0] += 30 * follow(1, 0.4)[:, 0]
        light[:, 2:5] *= glow[:, :1]
        light[:, 5:8] *= glow[:, 1:]
    path = np.stack([*(0.07 * follow(2, 0.5).T), 0.05 * follow(1, 0.3)[:, 0]], -1) * _DRIFT[scenario]
    moving = one[np.zeros(frames, int)].change(pose=pose, expression=expression, gaze=gaze, light=light)
    return moving, path, still


def _windows(moving: HeadParameters, path: np.ndarray) -> np.ndarray:
    """Windows (T, 4) in head millimetres that let the face wander along `path` in a camera that stays put."""
    flat = head.project(head.turn(head.rest_surface(moving[:1]), moving.pose[:1]), moving.distance[:1])
    box = head.square_boxes(head.landmarks(flat), WINDOW)[0]
    side = box[2] - box[0]
    centre = (box[:2] + box[2:]) / 2 + side / WINDOW * -path[:, :2]
    half = side / 2 * np.exp(-path[:, 2:])
    return np.concatenate([centre - half, centre + half], -1)


def _filmed(moving: HeadParameters, truth: np.ndarray, size: int, rng: np.random.Generator) -> HeadParameters:
    """Scenario 3's camera: motion blur by the real speed of the face, and one strong compression of the whole clip."""
    camera = moving.camera.copy()
    speed = np.gradient(truth.mean(1), axis=0) if len(truth) > 1 else np.zeros((1, 2))
    camera[:, 1] = np.clip(0.6 * np.linalg.norm(speed, axis=-1) / size * 100, 0, 6)
    camera[:, 2] = np.degrees(np.arctan2(speed[:, 1], speed[:, 0]))
    camera[:, 4] = rng.uniform(12, 40)
    return moving.change(camera=camera)


def follow_by_hand(truth: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A semi-automatic annotation (T, 68, 2): a fixed habit and a slow drift, about 1 % of the inter-ocular
    distance."""
    points = np.asarray(truth, float)
    frames = len(points)
    length = np.linalg.norm(points[:, 45] - points[:, 36], axis=-1).mean()
    along = tangents(points)
    across = np.stack([-along[..., 1], along[..., 0]], -1)
    offset = np.zeros((frames, 68, 2))
    for strand in STRANDS[68]:
        jaw = is_contour(strand, 68)
        for axis, spread in ((0, 1.3 if jaw else 0.45), (1, 0.5 if jaw else 0.45)):
            drift = _wander(frames, rng, 2, 0.25)
            shapes = smooth(len(strand), rng, (3,))
            offset[:, strand, axis] = spread * (0.8 * shapes[0] + 0.4 * drift[:, :1] * shapes[1] + 0.4 * drift[:, 1:] * shapes[2])
    step = offset / 100 * length
    return (points + step[..., :1] * along + step[..., 1:] * across).astype(np.float32)


@one_thread
def draw_clip(name: str, part: str, number: int, frames: int, size: int, seed: int = 0) -> Clip:
    """Clip `number` of a part of an imitated set, see PARTS; it depends on name, part, frames, seed and number alone.

    Person, hair, clothes and background stay the same within a clip; the window is about 1.3 times as wide as a face
    crop. In the middle third of a clip the face holds still. Scenario 3 has motion blur and strong compression.

    Raises: InputError for a set or part that does not exist, or fewer than one frame.
    """
    if name not in PARTS or part not in PARTS[name]:
        every = "; ".join(f"{known} with {', '.join(parts)}" for known, parts in PARTS.items())
        raise InputError(f"there are no rendered clips of {name!r}, part {part!r}; there is {every}")
    if frames < 1:
        raise InputError(f"frames is {frames}; a clip has at least 1")
    scenario = DRIVER if name == "ddd" else number % 3 + 1 if part == "train" else int(part)
    label = f"scenario{part}" if part.isdigit() else part
    rng = face_rng(name, label, seed, number)
    one = people.sample(1, rng, difficulty="challenging" if scenario == 3 else "clip")
    if scenario == DRIVER and rng.random() < 0.4:  # an infrared camera at night
        look = one.look.copy()
        look[:, people.LOOK_NAMES.index("grey")] = 1
        one = one.change(look=look)
    moving, path, still = _script(one, scenario, frames, rng)
    view = _windows(moving, path)
    if scenario == 3:
        moving = _filmed(moving, _truth(moving, view, size), size, rng)
    images, truth, _ = render(moving, size, view=view, frame=np.arange(frames))
    landmarks = np.zeros((frames, 0, 2), np.float32) if name == "ddd" else follow_by_hand(truth, rng)
    return Clip(images, truth, landmarks, still, f"{name}_{label}_s{seed}_{number:03d}", scenario)


def make_300vw(scenario: int, clips: int, frames: int, size: int, seed: int = 0) -> list[Clip]:
    """The first clips of a scenario of the imitated 300-VW, see `draw_clip`.

    Raises: InputError for another scenario than 1, 2 and 3, or fewer than one clip or frame.
    """
    if scenario not in (1, 2, 3):
        raise InputError(f"scenario is {scenario!r}; 300-VW has 1, 2 and 3")
    if clips < 1 or frames < 1:
        raise InputError(f"clips is {clips} and frames is {frames}; both must be at least 1")
    return [draw_clip("300vw", str(scenario), i, frames, size, seed) for i in range(clips)]


def _truth(moving: HeadParameters, view: np.ndarray, size: int) -> np.ndarray:
    flat = head.project(head.turn(head.rest_surface(moving), moving.pose), moving.distance)
    return (head.landmarks(flat) - view[:, None, :2]) / (view[:, None, 2:3] - view[:, None, :1]) * size - 0.5
