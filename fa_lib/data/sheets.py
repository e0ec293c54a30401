"""Contact sheets of the rendered sets: many faces in one picture, each with its points, so that a person can look them over."""

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

from fa_lib import storage
from fa_lib.data.crops import EXPAND
from fa_lib.data.synthetic import motion, people, sets
from fa_lib.data.synthetic.render import render

SEEN, HIDDEN = (90, 255, 90), (255, 60, 60)
COLUMNS, ROWS = 8, 4
TILE = 160  # pixels
FRAMES = 60  # of a clip, of which COLUMNS are shown
EXPAND_SHOWN = 1.15 * EXPAND  # a little of the surroundings besides the crop


def mark(picture: np.ndarray, points: np.ndarray, visible: np.ndarray | None = None) -> np.ndarray:
    """A copy of a picture (H, W, 3) with points (K, 2) drawn: green dots, red crosses where visible (K,) says hidden."""
    shown = picture.copy()
    size = max(1, round(len(picture) / 160))
    for i, point in enumerate(points):
        x, y = np.round(point).astype(int).tolist()
        if visible is None or visible[i]:
            cv2.circle(shown, (x, y), size, SEEN, -1, cv2.LINE_AA)
        else:
            cv2.drawMarker(shown, (x, y), HIDDEN, cv2.MARKER_TILTED_CROSS, 3 * size, 1)
    return shown


def grid(pictures: list[np.ndarray], columns: int = COLUMNS) -> np.ndarray:
    """Pictures of one size (H, W, 3), row after row; the last row is filled up with black.

    >>> grid([np.zeros((2, 3, 3), np.uint8)] * 3, 2).shape
    (4, 6, 3)
    """
    filled = pictures + [np.zeros_like(pictures[0])] * (-len(pictures) % columns)
    return np.concatenate([np.concatenate(filled[i : i + columns], 1) for i in range(0, len(filled), columns)])


def of_stills(name: str, seed: int = 0, tile: int = TILE) -> np.ndarray:
    """A sheet of the first faces of a rendered set ("wflw"), of its test split where it has one; unlabelled faces too."""
    split = list(sets.SETS[name].splits)[-1]
    count = sets.SETS[name].splits[split]
    last = slice(count - ROWS * COLUMNS // 2, count)  # the end of a set whose parts follow one another is its other part
    halves = [sets.make(name, split, count, tile, seed, EXPAND_SHOWN, part) for part in (slice(0, ROWS * COLUMNS // 2), last)]
    return grid([mark(*face) for drawn in halves for face in zip(drawn.images, drawn.truth, drawn.visible, strict=True)])


def of_clips(name: str, seed: int = 0, tile: int = TILE) -> np.ndarray:
    """A sheet of the clips of a rendered set ("300vw"): a clip a row, time to the right."""
    parts = list(motion.PARTS[name])
    rows = []
    for row in range(ROWS):
        clip = motion.draw_clip(name, parts[row % len(parts)], row // len(parts), FRAMES, tile, seed)
        chosen = np.linspace(0, FRAMES - 1, COLUMNS).astype(int)
        rows += [mark(clip.images[t], clip.truth[t]) for t in chosen]
    return grid(rows)


def of_poses(seed: int = 0, tile: int = TILE) -> np.ndarray:
    """A sheet of people turned from -90 to 90 degrees: a person and a scheme of 68, 98, 29 and 19 points a row."""
    rng = np.random.default_rng([seed, 90])
    yaw = np.linspace(-90, 90, COLUMNS)
    rows = []
    for points, pitch in ((68, 0), (98, -15), (29, 10), (19, 20)):
        one = people.sample(1, rng, difficulty="clip")
        if pitch:
            one = people.with_attribute(one, "expression", rng)
        turned = one[np.zeros(COLUMNS, int)].change(pose=np.stack([yaw, np.full(COLUMNS, pitch), 0 * yaw], -1))
        rows += [mark(*face) for face in zip(*render(turned, tile, expand=EXPAND_SHOWN, points=points), strict=True)]
    return grid(rows)


def overview(seed: int = 0, tile: int = TILE) -> np.ndarray:
    """A row of faces of each labelled set: what there is, at a glance."""
    rows = []
    for name in ("300w", "wflw", "cofw", "aflw", "masked_300w", "wild"):
        split, count = list(sets.SETS[name].splits.items())[-1]
        drawn = sets.make(name, split, count, tile, seed, EXPAND_SHOWN, slice(count - COLUMNS, count))
        rows += [mark(*face) for face in zip(drawn.images, drawn.truth, drawn.visible, strict=True)]
    return grid(rows)


def sheets() -> dict[str, Callable[[], np.ndarray]]:
    """What draws each sheet, by its name: one for every rendered set, one of all poses and schemes, one of all sets."""
    drawers = {name: lambda name=name: of_stills(name) for name in sets.SETS}
    drawers |= {name: lambda name=name: of_clips(name) for name in motion.PARTS}
    return drawers | {"poses": of_poses, "overview": overview}


def write_all(folder: str | Path) -> list[Path]:
    """Draw all sheets into a folder as PNG pictures, with 32 shades a colour, which keeps them small; returns the files."""
    folder = Path(folder)
    written = []
    with storage.disk_errors(str(folder)):
        folder.mkdir(parents=True, exist_ok=True)
        for name, draw in sheets().items():
            written.append(folder / f"{name}.png")
            shades = draw() // 8 * 8 + 4
            stored = cv2.imencode(".png", cv2.cvtColor(shades, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_PNG_COMPRESSION, 9])[1]
            written[-1].write_bytes(stored.tobytes())
    return written
