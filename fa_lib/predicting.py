"""`fa predict [MODEL] FILE...`: the faces in pictures, folders of pictures, videos and a camera.

Of each picture three files are written, all or none: `NAME.csv` (face,point,x,y,confidence), `NAME.json` (the same with box,
scheme, model and version) and `NAME.jpg` (drawn). Coordinates are in pixels of the picture as it is shown, that is, upright:
unlike data sets, whose points belong to the pixels as stored, pictures of one's own are turned as their EXIF says, since a face
that lies on its side is not found. Videos are `tracking`'s.
"""

import argparse
import csv
import io
import json
import re
import sys
import time
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from torch import nn

from fa_lib import __version__, pretrained, restoring, storage, tracking, training
from fa_lib.data.readers.files import read_bytes, read_image, read_lines
from fa_lib.errors import InputError
from fa_lib.finding import Face, Finder, Judge, around
from fa_lib.landmarks import SCHEMES
from fa_lib.suggest import SUFFIXES, pictures

MODEL = re.compile(r"[0-9a-f]{8}|([^/]+/){4}\d+")  # what names a run: its hash, or paper/row/dataset/profile/seed
LARGEST = 120_000_000  # pixels of a picture: it and a copy take 720 MB
SHOWN = 2048  # longer side of drawn pictures at most
COLUMNS = ["file", "x", "y", "width", "height"]
SURE, UNSURE = np.array([80, 255, 80]), np.array([60, 60, 255])  # BGR of landmarks


@dataclass(frozen=True, eq=False)
class Model:
    """A network as a user knows it: `name`, and the `hash` of the training that made it; `judge` where it has been calibrated."""

    net: nn.Module
    size: int
    judge: Judge | None
    name: str
    hash: str


@dataclass(frozen=True)
class Job:
    """A picture or video to be read, the `stem` of what is written of it, and for pictures the `boxes` (N, 4) that are known."""

    path: Path
    stem: Path
    video: bool
    boxes: np.ndarray | None = None


class SureTracker(tracking.Tracker):
    """A tracker that looks for faces as pictures are searched: the network tells itself whether it sees one."""

    finder: Finder

    def search(self, frame: np.ndarray) -> np.ndarray | None:
        """The crop (4,) of the largest face of a frame (H, W, 3), or None."""
        faces = self.finder(frame)
        return around(faces[0].landmarks[None])[0] if faces else None


class Camera:
    """The frames of camera `number` for some seconds, like a `tracking.Video`. InputError where there is no such camera."""

    def __init__(self, number: int, seconds: int) -> None:
        self.name, self.seconds, self.damage = f"camera {number}", seconds, None
        level = cv2.utils.logging.getLogLevel()
        cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)  # what is wrong is said here, in one sentence
        try:
            self.capture = cv2.VideoCapture(number)
        finally:
            cv2.utils.logging.setLogLevel(level)
        if not self.capture.isOpened():
            raise InputError(f"--camera {number}: there is no camera of this number that OpenCV can open; give a video instead")
        rate = self.capture.get(cv2.CAP_PROP_FPS)
        self.rate = rate if 0 < rate <= 1000 else 25.0
        self.count = round(self.rate * seconds)

    def __iter__(self) -> Iterator[np.ndarray]:
        begin, done = time.monotonic(), 0
        while time.monotonic() < begin + self.seconds:
            found, frame = self.capture.read()
            if not found:
                break
            done += 1
            yield cv2.cvtColor(frame, cv2.COLOR_BGR2RGB)
        self.capture.release()
        if not done:
            raise InputError(f"{self.name} gives no picture; another program may be using it")


def command(arguments: argparse.Namespace) -> int:
    """What `fa predict` does; returns its exit code: 0, or 1 where some inputs have failed and are named on stderr."""
    words = list(arguments.files)
    name = words.pop(0) if words and MODEL.fullmatch(words[0]) and not Path(words[0]).exists() else None
    if arguments.camera is None and not words:
        raise InputError("FILE is missing: give pictures, folders of pictures, videos, or --camera N (see fa predict --help)")
    jobs, out = _jobs([Path(word) for word in words], arguments), Path(arguments.out)
    model = _model(name)
    steady = _steadied(name, jobs, arguments) if arguments.stable else None
    finder = Finder(model.net.to(training.device()), model.size, model.judge, arguments.decoder)
    tasks = [lambda job=job: _do(job, finder, model, arguments, steady) for job in jobs]
    if arguments.camera is not None:
        camera = Camera(arguments.camera, arguments.seconds)
        place = Path(f"camera{arguments.camera}")
        tasks.append(lambda: tracking.predict(place, _tracker(finder, arguments, steady), out, camera))
    failed = 0
    for task in tasks:
        try:
            print(task(), flush=True)
        except InputError as error:
            if len(tasks) == 1:
                raise
            print(f"fa: {error}", file=sys.stderr, flush=True)
            failed += 1
    if failed == len(tasks):
        raise InputError(f"none of {failed:,} inputs gave landmarks; why is said above of each")
    if failed:
        print(f"{failed:,} of {len(tasks):,} inputs gave no landmarks; why is said above of each", file=sys.stderr)
    return 1 if failed else 0


def _model(name: str | None) -> Model:
    if name is None:
        shipped = pretrained.load()
        return Model(shipped.net, shipped.size, shipped.judge, shipped.name, shipped.hash)
    found = restoring.stored(name)
    net, size = restoring.restore(found)
    return Model(net, size, None, found["id"], found["hash"])


def _steadied(name: str | None, jobs: list[Job], arguments: argparse.Namespace) -> nn.Module:
    if name is None:
        raise InputError(
            "--stable trains upon a finished run: give its name or hash before the video, as `fa runs list` prints it"
        )
    if still := [job.path for job in jobs if not job.video]:
        raise InputError(f"--stable steadies videos, but {still[0]} is a picture")
    from fa_lib.papers.stabilise import steadied

    if arguments.box is not None:
        _edges(*arguments.box)  # what is no box, or no video, is refused before anything is trained
    for job in jobs:
        tracking.Video(job.path)
    return steadied(restoring.stored(name))


def _tracker(finder: Finder, arguments: argparse.Namespace, steady: nn.Module | None) -> tracking.Tracker:
    kind = SureTracker if finder.judge is not None else tracking.Tracker
    box = None if arguments.box is None else tuple(_edges(*arguments.box))
    tracker = kind((steady or finder.net).to(training.device()), finder.size, finder.method, box=box)
    if finder.judge is not None:
        tracker.finder = finder
    return tracker


def _do(job: Job, finder: Finder, model: Model, arguments: argparse.Namespace, steady: nn.Module | None) -> str:
    if job.video:
        return tracking.predict(job.path, _tracker(finder, arguments, steady), job.stem.parent)
    return picture(job, finder, model)


def _edges(x: float, y: float, width: float, height: float) -> np.ndarray:
    """A box as users give it, first pixel and size, as edges (4,)."""
    box = np.array([x, y, x + width, y + height]) - 0.5
    if not (np.isfinite(box).all() and width > 0 and height > 0):
        raise InputError(f"the box {x:g} {y:g} {width:g} {height:g} has no area: its width and height must be above 0")
    return box


def _jobs(inputs: list[Path], arguments: argparse.Namespace) -> list[Job]:
    """What there is to do, refused as a whole where a path is wrong: before anything is written."""
    found: list[tuple[Path, Path]] = []  # a file, and where it lies below what was given
    for given in inputs:
        if given.is_dir():
            inside = pictures(given)
            if not inside:
                raise InputError(f"{given}: holds no picture ({', '.join(SUFFIXES)})")
            found += [(path, path.relative_to(given)) for path in inside]
        elif given.exists():
            found.append((given, Path(given.name)))
        else:
            raise InputError(
                f"{given}: is no file or folder, nor the name or hash of a finished run; `fa runs list` prints those there are"
            )
    boxes = _boxes(Path(arguments.boxes)) if arguments.boxes else {}
    stems = [place.with_suffix("") for _, place in found]
    jobs, used = [], set()
    for path, place in found:
        # a.jpg and a.png of one folder both keep their suffix
        stem = Path(arguments.out) / (place if stems.count(place.with_suffix("")) > 1 else place.with_suffix(""))
        if stem in (job.stem for job in jobs):
            raise InputError(
                f"{path}: what is written of it, {stem}.csv, is that of another input; predict it into another --out"
            )
        names = [name for name in boxes if path.as_posix() == name or path.as_posix().endswith(f"/{name}")]
        used |= set(names)
        known = [box for name in names for box in boxes[name]]
        video = path.suffix.lower() not in (*SUFFIXES, ".tif", ".tiff")
        if arguments.box and not video:
            if len(found) > 1:
                raise InputError("--box says where the face in one picture is; of several --boxes FILE.csv does")
            known = [_edges(*arguments.box)]
        jobs.append(Job(path, stem, video, np.stack(known) if known and not video else None))
    if strangers := [name for name in boxes if name not in used]:
        raise InputError(f"{arguments.boxes}: has a box for {strangers[0]}, which is none of the pictures that are given")
    return jobs


def _boxes(file: Path) -> dict[str, list[np.ndarray]]:
    """The boxes (4,) of each picture that a table names."""
    rows = list(csv.reader(read_lines(file)))
    if rows[0] != COLUMNS:
        raise InputError(f"{file}: must begin with the line {','.join(COLUMNS)}, not {','.join(rows[0])[:80]}")
    found: dict[str, list[np.ndarray]] = {}
    for number, row in enumerate(rows[1:], 2):
        try:
            name, *numbers = row
            found.setdefault(Path(name).as_posix(), []).append(_edges(*map(float, numbers)))
        except (ValueError, TypeError) as error:
            reason = error if isinstance(error, InputError) else f"{','.join(row)[:80]} is no file name and four numbers"
            raise InputError(f"{file}, line {number}: {reason}") from None
    return found


def read_upright(path: Path) -> np.ndarray:
    """A picture (H, W, 3) uint8 RGB, turned as its EXIF says. InputError for what is none, or has more than 120 million pixels.

    The size is read from the file's head first: decoding a small file may ask for more memory than there is.
    """
    from PIL import Image  # comes with matplotlib

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of more than 89 million pixels
        try:
            width, height = Image.open(io.BytesIO(read_bytes(path))).size
        except Image.DecompressionBombError:
            width, height = LARGEST, 2
        except InputError:
            raise
        except Exception:  # damage makes its readers raise whatever they meet first
            width, height = 1, 1  # read_image says what is wrong
    if width * height > LARGEST:
        raise InputError(f"{path}: has more than {LARGEST // 10**6} million pixels; shrink it first")
    return read_image(path, upright=True)


def picture(job: Job, finder: Finder, model: Model) -> str:
    """Writes what is found in a picture; returns a line that says so. InputError where it has no face or cannot be read."""
    shown = read_upright(job.path)
    height, width = shown.shape[:2]
    if job.boxes is not None:
        outside = [box for box in job.boxes if box[2] < 0 or box[3] < 0 or box[0] > width - 1 or box[1] > height - 1]
        if outside:
            raise InputError(f"{job.path}: a box lies outside of its {width} x {height} pixels")
    faces = finder(shown, job.boxes)
    if not faces:
        raise InputError(f"{job.path}: no face is found; --box X Y W H says where one is")
    names = [job.stem.with_name(job.stem.name + suffix) for suffix in (".csv", ".json", ".jpg")]
    if job.path.resolve() in [name.resolve() for name in names]:
        raise InputError(f"{job.path}: would be replaced by its own landmarks; choose another folder with --out")
    coded = cv2.imencode(".jpg", drawn(shown, faces), [cv2.IMWRITE_JPEG_QUALITY, 90])[1].tobytes()
    texts = [_table(faces), json.dumps(_record(job.path, shown, faces, model), indent=1) + "\n"]
    with storage.new_file(names[0]) as table, storage.new_file(names[1]) as record, storage.new_file(names[2]) as image:
        table.write_text(texts[0])
        record.write_text(texts[1], encoding="utf-8", errors="surrogateescape")
        image.write_bytes(coded)
    sure = "" if faces[0].chances is None else f", mean confidence {np.mean([face.chances.mean() for face in faces]):.2f}"
    return f"{names[0]}: {len(faces)} face{'s' * (len(faces) > 1)}{sure}"


def _table(faces: list[Face]) -> str:
    lines = ["face,point,x,y,confidence"]
    for number, face in enumerate(faces):
        sure = [""] * len(face.landmarks) if face.chances is None else [f"{chance:.3f}" for chance in face.chances]
        lines += [f"{number},{k},{x:.3f},{y:.3f},{sure[k]}" for k, (x, y) in enumerate(face.landmarks.tolist())]
    return "\n".join(lines) + "\n"


def _record(path: Path, shown: np.ndarray, faces: list[Face], model: Model) -> dict:
    """What is known of a picture, as plain data."""
    points = len(faces[0].landmarks)
    return {
        "picture": str(path),
        "width": shown.shape[1],
        "height": shown.shape[0],
        "model": {"name": model.name, "hash": model.hash},
        "version": __version__,
        "scheme": {"points": points, "regions": SCHEMES[points].regions if points in SCHEMES else {}},
        "faces": [
            {
                "box": face.box.round(3).tolist(),  # x0 y0 x1 y1, tight about the landmarks
                "landmarks": face.landmarks.round(3).tolist(),
                "confidence": None if face.chances is None else face.chances.round(3).tolist(),
            }
            for face in faces
        ],
    }


def drawn(shown: np.ndarray, faces: list[Face]) -> np.ndarray:
    """A picture (H, W, 3) RGB with its faces, (h, w, 3) BGR, at most 2048 pixels a side: green where sure, red where not."""
    scale = min(1.0, SHOWN / max(shown.shape[:2]))
    size = tuple(max(1, round(side * scale)) for side in shown.shape[1::-1])
    canvas = cv2.cvtColor(cv2.resize(shown, size, interpolation=cv2.INTER_AREA), cv2.COLOR_RGB2BGR)
    for face in faces:
        points = (face.landmarks + 0.5) * scale - 0.5
        radius = max(1.0, np.ptp(points, axis=0).max() / 100)
        chances = np.ones(len(points)) if face.chances is None else face.chances
        for (x, y), chance in zip(np.round(points * 16).astype(int).tolist(), chances, strict=True):  # sixteenths of a pixel
            colour = (UNSURE + chance * (SURE - UNSURE)).tolist()
            cv2.circle(canvas, (x, y), round(radius * 16), colour, -1, cv2.LINE_AA, shift=4)
    return canvas
