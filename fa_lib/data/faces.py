"""The crop store: every face of a data set, cropped once, as one `uint8` memory map with its landmarks.

Built once, under a lock, into a temporary folder that gets its name when all of it is there.
"""

import functools
import hashlib
import json
import sys
import time
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields, replace
from pathlib import Path

import numpy as np
import torch
from filelock import FileLock

from fa_lib import storage
from fa_lib.data import readers
from fa_lib.data.crops import EXPAND, cut_face, stored_size
from fa_lib.errors import InputError
from fa_lib.geometry import Affine, apply_to_landmarks

VERSION = 1  # raise when what is stored changes, so that old stores are built anew


@dataclass(frozen=True)
class Faces:
    """N faces. Pictures and landmarks are in the stored frame (M x M); `crops` shows them as a network sees them.

    images (N, M, M, 3) uint8 RGB, a read-only memory map; landmarks (N, K, 2), the annotation; truth (N, K, 2), exact, and
    second (N, K, 2), another annotator, for rendered faces only, else None; still (N,), frames of rendered clips in which the
    face does not move, else None; matrix (N, 2, 3), photo -> stored frame; names, subset, group (N,) text: the file, the subset
    ("common", ...), the photograph or clip it comes from; `fingerprint`: hash of pictures, names and landmarks.
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


def load(
    name: str,
    split: str,
    root: str | Path | None = None,
    size: int = 256,
    count: int | None = None,
    *,
    frames: int = 50,
    seed: int = 0,
) -> Faces:
    """The faces of a data set, from the crop store, which is built on the first call.

    Args: `name`: "300w" (needs `root`, the folder that holds afw/, helen/, lfpw/, ibug/), "synthetic/300w" or
    "synthetic/300vw" (rendered from `seed`: `count` faces, or `count` clips a scenario of `frames` each); `split`: "train",
    "common", "challenging", "full"; for clips "1", "2", "3" (the scenarios) or "test" (all). For real faces `count` draws a
    random subset, always the same one.

    Raises InputError for unknown names, missing folders, and pictures or annotations that cannot be read.
    """
    if size < 32 or size % 16:
        raise InputError(f"size={size}: crops have a side of at least 32 pixels that is a multiple of 16")
    if name.startswith("synthetic/"):
        return _load_rendered(name, split, size, count, frames, seed)
    if name != "300w":
        raise InputError(f"data set {name!r} cannot be loaded: choose 300w, synthetic/300w or synthetic/300vw")
    if root is None:
        raise InputError("data set 300w needs the folder of its files: give --data FOLDER (or root=...)")
    samples = readers.read_300w(Path(root), split)
    stats = [(s.name, s.path.stat().st_size, s.path.stat().st_mtime_ns) for s in samples]
    landmarks = np.stack([s.landmarks for s in samples])
    key = _digest([VERSION, name, split, size, stats], landmarks)
    faces = _open(f"300w-{split}-{size}-{key}", functools.partial(_cut, samples, size))
    faces = replace(faces, title=readers.coverage(Path(root)).title())
    if count is not None and count < len(faces):
        chosen = np.sort(np.random.default_rng(seed).permutation(len(faces))[:count])
        faces = replace(faces.select(chosen), title=f"{faces.title}; {count} of them", fingerprint=f"{faces.fingerprint}-{count}")
    return faces


def _load_rendered(name: str, split: str, size: int, count: int | None, frames: int, seed: int) -> Faces:
    from fa_lib.data import rendered  # the renderer paints its textures on import, which real data need not wait for

    chunks = rendered.plan(name, split, size, count, frames, seed)
    key = _digest([VERSION, name, split, size, count, frames, seed, rendered.code_hash()])
    return _open(f"{name.replace('/', '-')}-{split}-{size}-{key}", chunks)


def _digest(parts: list, *arrays: np.ndarray) -> str:
    digest = hashlib.sha256(json.dumps(parts).encode())
    for array in arrays:
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()[:12]


def _cut(samples: list["readers.Sample"], size: int) -> Iterator[dict]:
    """Crops of real photographs, in chunks for the store."""
    side = stored_size(size)
    for start in range(0, len(samples), 64):
        part = samples[start : start + 64]
        cut = [cut_face(readers.read_image(s.path), s.landmarks, side, EXPAND * side / size) for s in part]
        yield {
            "images": np.stack([c[0] for c in cut]),
            "landmarks": np.stack([c[1] for c in cut]),
            "matrix": np.stack([c[2] for c in cut]),
            "names": [s.name for s in part],
            "subset": [s.subset for s in part],
            "group": [s.group for s in part],
            "size": size,
            "title": "",
            "progress": (start + len(part), len(samples)),
        }


def _open(name: str, build: Callable[[], Iterator[dict]]) -> Faces:
    """The store `name`, built under a lock if it is not there: two processes that ask at once build it once."""
    folder = storage.cache_folder() / name
    faces = _read(folder)
    if faces is None:
        with storage.disk_errors(str(folder)):
            folder.parent.mkdir(parents=True, exist_ok=True)
            with FileLock(f"{folder}.lock"):
                faces = _read(folder)
                if faces is None:
                    with storage.new_folder(folder) as fresh:
                        _write(fresh, name, build())
                    faces = _read(folder)
    assert faces is not None
    return faces


def _read(folder: Path) -> Faces | None:
    """The faces of a store, None where it is not there, or was damaged, as when the machine lost power."""
    try:
        meta = json.loads((folder / "meta.json").read_text())
        with np.load(folder / "index.npz", allow_pickle=False) as index:
            arrays = {key: index[key] if key in index else None for key in ("landmarks", "truth", "second", "still", "matrix")}
            texts = {key: index[key] for key in ("names", "subset", "group")}
        images = np.memmap(folder / "images.bin", np.uint8, "r", shape=tuple(meta["shape"]))
        return Faces(images, **arrays, **texts, size=meta["size"], title=meta["title"], fingerprint=meta["fingerprint"])
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        print(f"{folder} cannot be read ({error}); it is built again", file=sys.stderr)
        return None


def _write(folder: Path, name: str, chunks: Iterator[dict]) -> None:
    # plain writes, not a writable memory map: on a full disk a map kills the process instead of raising
    columns: dict[str, list] = {}
    report, digest = _Progress(name), hashlib.sha256()
    with open(folder / "images.bin", "wb") as file:
        for chunk in chunks:
            pictures = np.ascontiguousarray(chunk.pop("images")).tobytes()
            file.write(pictures)
            digest.update(pictures)
            report(*chunk.pop("progress"))
            meta = {key: chunk.pop(key) for key in ("size", "title")}
            for key, value in chunk.items():
                columns.setdefault(key, []).append(np.asarray(value))
    index = {key: np.concatenate(parts) for key, parts in columns.items()}
    side = stored_size(meta["size"])
    np.savez(folder / "index.npz", **index)
    fingerprint = _digest([digest.hexdigest(), list(map(str, index["names"]))], index["landmarks"])
    shape = (len(index["names"]), side, side, 3)
    storage.write_json(folder / "meta.json", {**meta, "shape": shape, "fingerprint": fingerprint})


class _Progress:
    """One line that moves where a person watches, one line every ten seconds where nobody does."""

    def __init__(self, title: str) -> None:
        self.title, self.begin, self.last = title, time.monotonic(), 0.0

    def __call__(self, done: int, total: int) -> None:
        now = time.monotonic() - self.begin
        watched = sys.stderr.isatty()
        if total < 32 or (done < total and now - self.last < (0.2 if watched else 10)):
            return
        self.last = now
        text = f"{self.title}: {done} of {total} faces, {now * (total - done) / done:.0f} s left"
        print(f"\r{text}" if watched else text, end="\n" if done == total or not watched else "", file=sys.stderr, flush=True)
