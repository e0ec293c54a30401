"""What several tests share: stores that vanish, tiny rendered faces, faces made by hand, other processes."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[1]
SIZE = 32  # the smallest crops there are


@pytest.fixture(scope="session")
def rendered_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One crop store for all tests that only read it, so that each tiny set is drawn once."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rendered_cache: Path) -> Path:
    """An empty store of runs; the crop store is the session's."""
    monkeypatch.setenv("FA_RUNS", str(tmp_path / "runs"))
    monkeypatch.setenv("FA_CACHE", str(rendered_cache))
    return tmp_path / "runs"


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty crop store."""
    monkeypatch.setenv("FA_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def source(store: Path):
    """Four rendered faces to learn from, three to test, three clips of two frames; 32 px."""
    from fa_lib.papers.self_distillation_training import DataSource

    return DataSource("synthetic/300w", SIZE, 4, 3, 1, 2, faces=4, fingerprint="tiny")


@pytest.fixture
def by_hand() -> Callable:
    """Makes `Faces` from landmarks (N, K, 2) in crop pixels, and pictures in the stored frame (default: noise)."""
    from fa_lib.data import Faces
    from fa_lib.data.crops import stored_size
    from fa_lib.landmarks import SCHEMES

    def make(landmarks: np.ndarray, size: int = 64, images: np.ndarray | None = None, group: list[str] | None = None) -> Faces:
        count, side = len(landmarks), stored_size(size)
        if images is None:
            images = np.random.default_rng(0).integers(0, 256, (count, side, side, 3), dtype=np.uint8)
        stored = np.asarray(landmarks, np.float32) + (side - size) // 2
        names = np.array([f"face {i}" for i in range(count)])
        matrix = np.tile(np.eye(2, 3), (count, 1, 1))
        subset = np.array(["common", "challenging"])[np.arange(count) % 2]
        groups = names if group is None else np.array(group)
        told, scheme = np.full(count, ""), SCHEMES.get(stored.shape[1])
        return Faces(
            images, stored, None, None, None, matrix, names, subset, groups, size, "made by hand", "0", None, told, None, scheme
        )

    return make


@pytest.fixture
def start() -> Iterator[Callable[..., subprocess.Popen]]:
    """Starts a Python program in a process of its own; what still runs at the end is killed."""
    started: list[subprocess.Popen] = []

    def run(program: str, *arguments: object) -> subprocess.Popen:
        command = [sys.executable, "-c", program, *map(str, arguments)]
        streams = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        started.append(subprocess.Popen(command, cwd=ROOT, env=dict(os.environ), **streams))
        return started[-1]

    yield run
    for process in started:
        process.kill()
        process.communicate()
