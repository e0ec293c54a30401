"""The crop store: every face of a data set, cropped once, as one `uint8` memory map with its landmarks.

Built once, under a lock, into a temporary folder that gets its name when all of it is there.
"""

import functools
import hashlib
import json
import shutil
import sys
import time
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path

import numpy as np
import torch
from filelock import FileLock

from fa_lib import metrics, storage
from fa_lib.data import intact, manifests, readers
from fa_lib.data.crops import EXPAND, cut_face, stored_size
from fa_lib.data.readers import own
from fa_lib.errors import InputError
from fa_lib.geometry import Affine, apply_to_landmarks
from fa_lib.landmarks import SCHEMES, Scheme

VERSION = 1  # raise when what is stored changes, so that old stores are built anew
CHUNK = 64  # photographs cut at once: bounds memory, and shows progress
ARRAYS = ("landmarks", "truth", "second", "still", "matrix", "visible", "length")
TEXTS = ("names", "subset", "group", "attributes")


@dataclass(frozen=True)
class Faces:
    """N faces. Pictures and landmarks are in the stored frame (M x M); `crops` shows them as a network sees them.

    images (N, M, M, 3) uint8 RGB, a read-only memory map; landmarks (N, K, 2), the annotation, K = 0 for unlabelled sets; truth
    (N, K, 2), exact, and second (N, K, 2), another annotator, for rendered faces only, else None; still (N,), frames of rendered
    clips in which the face does not move, else None; matrix (N, 2, 3), photo -> stored frame; names, subset, group (N,) text:
    the file, the subset ("common", ...), the photograph or clip it comes from; `fingerprint`: hash of pictures, names and
    landmarks. visible (N, K) bool, where the set says which points are hidden, else None; attributes (N,) text, the overlapping
    subsets that hold the face, joined by commas; length (N,), side of the set's own face box in stored pixels, only where errors
    are divided by it, else None; scheme: the points' meaning, None for unlabelled sets.
    """

    images: np.ndarray
    landmarks: np.ndarray
    truth: np.ndarray | None
    second: np.ndarray | None
    still: np.ndarray | None
    matrix: np.ndarray
    names: np.ndarray
    subset: np.ndarray
    group: np.ndarray
    size: int
    title: str
    fingerprint: str
    visible: np.ndarray | None
    attributes: np.ndarray
    length: np.ndarray | None
    scheme: Scheme | None

    def __len__(self) -> int:
        return len(self.landmarks)

    @property
    def offset(self) -> int:
        """Pixels of margin between the stored frame and the crop, on each side."""
        return (self.images.shape[1] - self.size) // 2

    def crops(self) -> tuple[np.ndarray, np.ndarray]:
        """Pictures (N, size, size, 3) and annotations (N, K, 2) in the crop frame, not augmented."""
        inner = slice(self.offset, self.offset + self.size)
        return self.images[:, inner, inner], self.landmarks - self.offset

    def to_photo(self, landmarks: np.ndarray) -> np.ndarray:
        """Landmarks (N, K, 2) of the crop frame -> pixels of each face's photo (float64)."""
        back = Affine(torch.from_numpy(self.matrix).double()).inverse()
        return apply_to_landmarks(back, torch.from_numpy(np.asarray(landmarks, np.float64) + self.offset)).numpy()

    def select(self, index: np.ndarray) -> "Faces":
        """The faces of an index or mask, in its order."""
        chosen = {f.name: value[index] for f in fields(self) if isinstance(value := getattr(self, f.name), np.ndarray)}
        return replace(self, **chosen)

    def parts(self) -> list[str]:
        """Names of the subsets and attributes that hold at least one of the faces."""
        attributes = {name for joined in np.unique(self.attributes) for name in str(joined).split(",") if name}
        return [*dict.fromkeys(map(str, self.subset)), *sorted(attributes)]

    def part(self, name: str) -> np.ndarray:
        """Which faces (N,) belong to a subset or have an attribute; InputError lists the names there are."""
        if name not in self.parts():
            raise InputError(f"{self.title} has no part {name!r}; its parts are {', '.join(self.parts()) or 'none'}")
        return (self.subset == name) | np.array([name in str(joined).split(",") for joined in self.attributes], bool)

    def lengths(self, landmarks: np.ndarray | None = None) -> np.ndarray:
        """What errors on each face (N,) are divided by, in pixels: side of the set's face box, else by the scheme's normaliser.

        From the annotation, or from other `landmarks` (N, K, 2) of the same faces, such as the exact truth.
        """
        if self.scheme is None:
            raise InputError(f"{self.title}: has no landmarks, so no length that errors could be divided by")
        if self.length is not None:
            return self.length.astype(np.float64)
        return metrics.lengths(self.crops()[1] if landmarks is None else landmarks, scheme=self.scheme)


def no_faces(size: int, scheme: Scheme | None, title: str) -> Faces:
    """No faces at all, in the shape of faces: what a data set without clips has for video."""
    count, side = (scheme.count if scheme else 0), stored_size(size)
    pictures, points, texts = np.zeros((0, side, side, 3), np.uint8), np.zeros((0, count, 2), np.float32), np.zeros(0, str)
    matrix = np.zeros((0, 2, 3))
    return Faces(
        pictures, points, None, None, None, matrix, texts, texts, texts, size, title, "", None, texts, None, scheme
    )  # fmt: skip


def load(
    name: str | Path,
    split: str,
    root: str | Path | None = None,
    size: int = 256,
    count: int | None = None,
    *,
    frames: int = 50,
    seed: int = 0,
    skip_bad: bool = False,
) -> Faces:
    """The faces of a data set, from the crop store, which is built on the first call.

    Args: `name`: a manifest's ("300w", which needs `root`, the folder of its files), a rendered set's ("synthetic/300w": `count`
    faces drawn from `seed`; for clips `count` a scenario of `frames` each), or the path of a user's own manifest, a .yaml file;
    `split`: as the set names them ("train", "common", "challenging", "full" of 300-W; "test" for all clips). For real faces
    `count` draws a random subset, always the same one. `skip_bad`: a picture that cannot be read is named on stderr and left
    out, and the title counts it, instead of ending everything.

    Raises InputError for unknown names, missing folders, and pictures or annotations that cannot be read.
    """
    if size < 32 or size % 16:
        raise InputError(f"size={size}: crops have a side of at least 32 pixels that is a multiple of 16")
    name, points = str(name), ""
    if name.startswith("synthetic/"):
        return _load_rendered(name, split, size, count, frames, seed)
    if own.is_manifest(name):
        described = own.describe(name)
        samples, scheme, title, short = own.read(described, split), described.scheme, described.title, described.name
        points = "-" + intact.digest([asdict(scheme)])  # trained with another flip, it is another run
    elif name not in readers.READERS:
        known = [*readers.READERS, *(rendered for rendered in manifests.names() if rendered.startswith("synthetic/"))]
        raise InputError(f"data set {name!r} cannot be loaded: choose {', '.join(known)} or a manifest of your own, a .yaml file")
    elif root is None:
        raise InputError(f"data set {name} needs the folder of its files: give --data FOLDER (or root=...)")
    else:
        samples = readers.READERS[name].read(Path(root), split)
        scheme, short = SCHEMES.get(len(samples[0].landmarks)), name
        title = readers.coverage(Path(root)).title() if name == "300w" else _title(manifests.load(name), split, samples)
    faces = _store_samples(samples, scheme, f"{short}-{split}-{size}", [VERSION, short, split, size], size, skip_bad)
    faces = replace(faces, title=title + faces.title, fingerprint=faces.fingerprint + points)
    if count is not None and count < len(faces):
        chosen = np.sort(np.random.default_rng(seed).permutation(len(faces))[:count])
        faces = replace(faces.select(chosen), title=f"{faces.title}; {count} of them", fingerprint=f"{faces.fingerprint}-{count}")
    return faces


def _title(manifest: manifests.Manifest, split: str, samples: list["readers.Sample"]) -> str:
    """What tables call the faces of a split: the set's title where all expected ones are there, else how many are."""
    part = manifest.splits.get(split)
    present = len({s.group for s in samples}) if manifest.unit == "clips" else len(samples)
    expected = part.expected if part else manifest.subsets.get(split)
    if expected in (None, present):
        return manifest.title
    return f"{manifest.title}, partial: {present:,} of {expected:,} {split} {manifest.unit}"


def _load_rendered(name: str, split: str, size: int, count: int | None, frames: int, seed: int) -> Faces:
    from fa_lib.data import counted, rendered  # the renderer paints its textures on import, which real data need not wait for

    number = rendered.count(name, split, count, frames)
    if counted.active():
        count, frames = 1, 1
    chunks = rendered.plan(name, split, size, count, frames, seed)
    key = intact.digest([VERSION, name, split, size, count, frames, seed, rendered.code_hash()])
    faces = _open(f"{name.replace('/', '-')}-{split}-{size}-{key}", chunks)[0]
    return counted.repeated(faces, number, f"{name} {split} {size} {number} {seed}") if counted.active() else faces


def _store_samples(
    samples: list["readers.Sample"], scheme: Scheme | None, name: str, parts: list, size: int, skip_bad: bool
) -> Faces:
    """Samples as faces of the store; the title holds nothing but how many were left out."""
    stat = functools.cache(Path.stat)
    stats = [(s.name, stat(s.path).st_size, stat(s.path).st_mtime_ns) for s in samples]
    extra = [array for s in samples for array in (s.visible, s.box) if array is not None]
    told = [",".join(s.attributes) for s in samples]
    key = intact.digest([*parts, stats, *([told] if any(told) else [])], np.stack([s.landmarks for s in samples]), *extra)
    if not (storage.cache_folder() / f"{name}-{key}").is_dir():
        storage.require_space(storage.cache_folder(), len(samples) * stored_size(size) ** 2 * 3, f"{len(samples):,} crops")
    faces, skipped = _open(f"{name}-{key}", functools.partial(_cut, samples, scheme, size, skip_bad))
    if skipped and not skip_bad:
        more = f" (and {len(skipped) - 1:,} more such pictures)" if len(skipped) > 1 else ""
        raise InputError(f"{skipped[0]}{more}; --skip-bad (skip_bad=True) leaves them out")
    left_out = f"; {len(skipped):,} that cannot be read left out" if skipped else ""
    return replace(faces, scheme=scheme, title=left_out)


def _cut(samples: list["readers.Sample"], scheme: Scheme | None, size: int, skip_bad: bool) -> Iterator[dict]:
    """Crops of real photographs, in chunks for the store."""
    side = stored_size(size)
    by_box = scheme is not None and scheme.normaliser == "box" and all(s.box is not None for s in samples)
    flags = all(s.visible is not None for s in samples)
    for start in range(0, len(samples), CHUNK):
        part, cut, skipped = [], [], []
        for sample in samples[start : start + CHUNK]:
            try:
                cut.append(_cut_one(sample, side, EXPAND * side / size))
            except InputError as error:
                if not skip_bad:
                    raise
                print(f"left out: {error}", file=sys.stderr)
                skipped.append(str(error))
            else:
                part.append(sample)
        count = len(samples[0].landmarks)
        matrix = np.array([c[2] for c in cut], float).reshape(len(cut), 2, 3)
        chunk = {
            "images": np.array([c[0] for c in cut], np.uint8).reshape(len(cut), side, side, 3),
            "landmarks": np.array([c[1] for c in cut], np.float32).reshape(len(cut), count, 2),
            "matrix": matrix,
            "names": [s.name for s in part],
            "subset": [s.subset for s in part],
            "group": [s.group for s in part],
            "attributes": [",".join(s.attributes) for s in part],
            "size": size,
            "title": "",
            "progress": (min(start + CHUNK, len(samples)), len(samples)),
            "skipped": skipped,
        }
        if flags:
            chunk["visible"] = np.array([s.visible for s in part], bool).reshape(len(cut), count)
        if by_box:
            sides = np.array([s.box for s in part], float).reshape(len(cut), 2, 2)
            chunk["length"] = (np.sqrt(np.ptp(sides, axis=1).prod(-1)) * matrix[:, 0, 0]).astype(np.float32)
        yield chunk


def _cut_one(sample: "readers.Sample", side: int, expand: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """One crop: about the landmarks, or about the set's face box where they have no extent; without either, the whole picture."""
    photo = sample.read()
    if len(sample.landmarks) and np.ptp(sample.landmarks, axis=0).max() > 0:
        return cut_face(photo, sample.landmarks, side, expand)
    box = sample.box
    if box is None and len(sample.landmarks):
        raise InputError(f"{sample.path}: its landmarks have no extent, so the set must give a face box to crop by")
    if box is None:
        middle = (np.array(photo.shape[1::-1]) - 1) / 2
        reach = max(photo.shape[:2]) / EXPAND / 2
        box = np.concatenate([middle - reach, middle + reach])
    return cut_face(photo, sample.landmarks, side, expand, box)


def _open(name: str, build: Callable[[], Iterator[dict]]) -> tuple[Faces, list[str]]:
    """The store `name` and what was left out of it, built under a lock if it is not there, once by two processes that ask."""
    folder = storage.cache_folder() / name
    found = _read(folder)
    if found is None:
        with storage.disk_errors(str(folder)):
            folder.parent.mkdir(parents=True, exist_ok=True)
            with FileLock(f"{folder}.lock"):
                found = _read(folder)
                if found is None:
                    for left in folder.parent.glob(f".{name}.????????"):  # by a build that was killed: 37 GB may lie there
                        shutil.rmtree(left)
                    with storage.new_folder(folder) as fresh:
                        _write(fresh, name, build())
                    found = _read(folder)
    assert found is not None
    return found


def _read(folder: Path) -> tuple[Faces, list[str]] | None:
    """The faces of a store and what was left out of it; None where it is not there, or was damaged, as by a loss of power."""
    try:
        meta = json.loads((folder / "meta.json").read_text())
        with np.load(folder / "index.npz", allow_pickle=False) as index:
            arrays = {key: index[key] if key in index else None for key in ARRAYS}
            texts = {key: index[key] for key in TEXTS if key in index}
        texts = {"attributes": np.full(meta["shape"][0], ""), **texts}  # stores of old have none
        intact.check(folder / "images.bin", meta, {**arrays, **texts})
        images = np.memmap(folder / "images.bin", np.uint8, "r", shape=tuple(meta["shape"]))
        scheme = SCHEMES.get(arrays["landmarks"].shape[1])
        kept = {key: meta[key] for key in ("size", "title", "fingerprint")}
        return Faces(images, **arrays, **texts, **kept, scheme=scheme), meta.get("skipped", [])
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (ValueError, TypeError, AttributeError, LookupError, RuntimeError, EOFError, zipfile.BadZipFile) as error:
        print(f"{folder} cannot be read ({error}); it is built again", file=sys.stderr)
        return None


def _write(folder: Path, name: str, chunks: Iterator[dict]) -> None:
    # plain writes, not a writable memory map: on a full disk a map kills the process instead of raising
    columns: dict[str, list] = {}
    report, digest, skipped = Progress(name), hashlib.sha256(), []
    with open(folder / "images.bin", "wb") as file:
        for chunk in chunks:
            pictures = np.ascontiguousarray(chunk.pop("images")).tobytes()
            file.write(pictures)
            digest.update(pictures)
            report(*chunk.pop("progress"))
            skipped += chunk.pop("skipped", [])
            meta = {key: chunk.pop(key) for key in ("size", "title")}
            for key, value in chunk.items():
                columns.setdefault(key, []).append(np.asarray(value, str if key in TEXTS else None))
    index = {key: np.concatenate(parts) for key, parts in columns.items()}
    if skipped and not len(index["names"]):
        raise InputError(f"{name}: none of its {len(skipped):,} pictures can be read, the first because: {skipped[0]}")
    side = stored_size(meta["size"])
    np.savez(folder / "index.npz", **index)
    meta |= {"skipped": skipped} if skipped else {}
    meta |= {"shape": [len(index["names"]), side, side, 3], "fingerprint": intact.fingerprint(digest.hexdigest(), index)}
    written = (folder / "images.bin").stat().st_mtime_ns
    storage.write_json(folder / "meta.json", intact.sealed({**meta, "written": written}))


class Progress:
    """One line that moves where a person watches, one line every ten seconds where nobody does; nothing for fewer than 32."""

    def __init__(self, title: str, unit: str = "faces") -> None:
        self.title, self.unit, self.begin, self.last = title, unit, time.monotonic(), 0.0

    def __call__(self, done: int, total: int) -> None:
        now = time.monotonic() - self.begin
        watched = sys.stderr.isatty()
        if total < 32 or (done < total and now - self.last < (0.2 if watched else 10)):
            return
        self.last = now
        text = f"{self.title}: {done} of {total} {self.unit}, {now * (total - done) / done:.0f} s left"
        print(f"\r{text}" if watched else text, end="\n" if done == total or not watched else "", file=sys.stderr, flush=True)
