"""Imitations of the 300-VW video clips: one person moves, talks and blinks at 25 frames a second before a camera that
stays put."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fa_lib.data.synthetic import deform, head, people
from fa_lib.data.synthetic.head import HeadParameters
from fa_lib.data.synthetic.render import render
from fa_lib.data.synthetic.sets import STRANDS, _smooth, _tangents, face_rng
from fa_lib.errors import InputError

RATE = 25.0  # frames per second
WINDOW = 1.3 * 1.925  # side of the picture over the larger side of the landmarks' box in the first frame
STILL = (0.35, 0.65)  # between these parts of a clip the face holds still


@dataclass(frozen=True)
class Clip:
    """T frames. Landmarks are 0-based pixels, order (x, y), pixel centres at integers."""

    images: np.ndarray  # (T, size, size, 3) uint8 RGB
    truth: np.ndarray  # (T, 68, 2) float32, exact
    landmarks: np.ndarray  # (T, 68, 2) float32, annotation: smooth in time, a little off, as 300-VW's semi-automatic one
    still: np.ndarray  # (T,) bool, frames in which the face does not move
    name: str
    scenario: int


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

    spread = {1: (7, 4, 3), 2: (11, 6, 5), 3: (26, 10, 9)}[scenario]
    pose = np.clip(0.5 * one.pose + follow(3, 0.4) * spread, (-62, -28, -40), (62, 30, 40))
    names = deform.EXPRESSION_NAMES
    expression = np.repeat(one.expression, frames, 0) * 0.5
    slow, talk = follow(6, 0.5), follow(3, 3.2)
    mouth = np.clip(0.25 + 0.35 * talk[:, 0] * np.clip(0.6 + slow[:, 0], 0, 1.3), 0, 1.6)
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
    path = np.stack([*(0.07 * follow(2, 0.5).T), 0.05 * follow(1, 0.3)[:, 0]], -1) * (1.5 if scenario == 3 else 1.0)
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


def _blurred(moving: HeadParameters, truth: np.ndarray, size: int) -> HeadParameters:
    """Motion blur of scenario 3 by the real speed of the face, and fresh sensor noise in every frame."""
    camera = moving.camera.copy()
    speed = np.gradient(truth.mean(1), axis=0) if len(truth) > 1 else np.zeros((1, 2))
    camera[:, 1] = np.clip(0.6 * np.linalg.norm(speed, axis=-1) / size * 100, 0, 6)
    camera[:, 2] = np.degrees(np.arctan2(speed[:, 1], speed[:, 0]))
    return moving.change(camera=camera)


def follow_by_hand(truth: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A semi-automatic annotation (T, 68, 2): a fixed habit and a slow drift, about 1 % of the inter-ocular
    distance."""
    points = np.asarray(truth, float)
    frames = len(points)
    length = np.linalg.norm(points[:, 45] - points[:, 36], axis=-1).mean()
    along = _tangents(points)
    across = np.stack([-along[..., 1], along[..., 0]], -1)
    offset = np.zeros((frames, 68, 2))
    for strand in STRANDS:
        jaw = len(strand) == 17
        for axis, spread in ((0, 1.3 if jaw else 0.45), (1, 0.5 if jaw else 0.45)):
            drift = _wander(frames, rng, 2, 0.25)
            shapes = _smooth(len(strand), rng, (3,))
            offset[:, strand, axis] = spread * (0.8 * shapes[0] + 0.4 * drift[:, :1] * shapes[1] + 0.4 * drift[:, 1:] * shapes[2])
    step = offset / 100 * length
    return (points + step[..., :1] * along + step[..., 1:] * across).astype(np.float32)


def make_300vw(scenario: int, clips: int, frames: int, size: int, seed: int = 0) -> list[Clip]:
    """Imitations of 300-VW: scenario 1 well lit and mostly frontal, 2 changing light, 3 arbitrary.

    Clip i depends on scenario, frames, seed and i alone. Person, hair, clothes and background stay the same within a
    clip; the window is about 1.3 times as wide as a face crop. In the middle third of a clip the face holds still.

    Raises: InputError for another scenario, or fewer than one clip or frame.
    """
    if scenario not in (1, 2, 3):
        raise InputError(f"scenario is {scenario!r}; 300-VW has 1, 2 and 3")
    if clips < 1 or frames < 1:
        raise InputError(f"clips is {clips} and frames is {frames}; both must be at least 1")
    result = []
    for i in range(clips):
        rng = face_rng("300vw", f"scenario{scenario}", seed, i)
        one = people.sample(1, rng, difficulty="challenging" if scenario == 3 else "clip")
        moving, path, still = _script(one, scenario, frames, rng)
        view = _windows(moving, path)
        if scenario == 3:
            moving = _blurred(moving, _truth(moving, view, size), size)
        images, truth, _ = render(moving, size, view=view, frame=np.arange(frames))
        name = f"300vw_scenario{scenario}_s{seed}_{i:03d}"
        result.append(Clip(images, truth, follow_by_hand(truth, rng), still, name, scenario))
    return result


def _truth(moving: HeadParameters, view: np.ndarray, size: int) -> np.ndarray:
    flat = head.project(head.turn(head.rest_surface(moving), moving.pose), moving.distance)
    return (head.landmarks(flat) - view[:, None, :2]) / (view[:, None, 2:3] - view[:, None, :1]) * size - 0.5
