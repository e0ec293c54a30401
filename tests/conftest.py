"""What several tests share: stores that vanish, tiny rendered faces, faces made by hand, other processes."""

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings

# The same examples in every run: what fails, fails for everybody. `pytest --hypothesis-profile search` looks for others.
settings.register_profile("search", deadline=None)
settings.register_profile("same", derandomize=True, database=None, deadline=None)
settings.load_profile("same")

ROOT = Path(__file__).resolve().parents[1]
SIZE = 32  # the smallest crops there are


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """A test that is marked with faults, and passes without having injected any, is no proof: it fails."""
    report = yield
    marked = item.get_closest_marker("faults") and report.when == "call" and report.passed
    if marked and not any(key == "fault" for key, _ in item.user_properties):
        report.outcome, report.longrepr = "failed", "marked as a test of faults, but has injected none"
    return report


def pytest_terminal_summary(terminalreporter) -> None:
    """After `pytest -m faults`, the table of all faults, in Markdown; the reports come from other processes with pytest-xdist."""
    found: dict[str, Counter[bool]] = {}
    for report in (one for several in terminalreporter.stats.values() for one in several):
        if getattr(report, "when", None) == "call":
            for key, value in report.user_properties:
                if key == "fault":
                    found.setdefault(value, Counter())[report.passed] += 1
    if not found or "faults" not in terminalreporter.config.option.markexpr:
        return
    terminalreporter.section("faults")
    rows = [(name, count.total(), count[True], count[False]) for name, count in sorted(found.items())]
    rows.append(("all", *(sum(row[column] for row in rows) for column in (1, 2, 3))))
    for row in (("fault", "injected", "survived", "lost"), ("---",) * 4, *rows):
        terminalreporter.write_line(f"| {' | '.join(map(str, row))} |")


@pytest.fixture
def injected(request: pytest.FixtureRequest) -> Callable[..., None]:
    """Counts one injection of a fault that the test is marked with; called where it is injected, once each time."""
    known = [name for mark in request.node.iter_markers("faults") for name in mark.args]

    def count(name: str | None = None) -> None:
        assert known and (name or known[0]) in known, "write the mark `faults` with the name of the fault on the test"
        request.node.user_properties.append(("fault", name or known[0]))

    return count


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


FIVE = ((36, 39), (42, 45), (30,), (48,), (54,))  # of the 68: centres of the eyes, tip of the nose, corners of the mouth
MANIFEST = """
name: mydata
title: My faces
format: coco
pictures: images
annotations: {train: train.json, test: test.json}
landmarks: 5
index_base: 0
flip: [[0, 1], [3, 4]]
normaliser: [0, 1]
regions: {eyes: [0, 1], nose: [2], mouth: [3, 4]}
"""


@pytest.fixture(scope="session")
def own_data(tmp_path_factory: pytest.TempPathFactory, rendered_cache: Path) -> Path:
    """The manifest of a made-up data set: 40 rendered faces with five landmarks in COCO JSON, 28 of them to learn from."""
    import cv2

    from fa_lib.data import load

    root = tmp_path_factory.mktemp("own")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FA_CACHE", str(rendered_cache))
        faces = load("synthetic/300w", "train", None, 64, 40)
    points = np.stack([faces.truth[:, list(ids)].mean(1) for ids in FIVE], 1)
    (root / "images").mkdir()
    for split, part in {"train": range(28), "test": range(28, 40)}.items():
        content = {"images": [{"id": i, "file_name": f"face {i}.png"} for i in part], "annotations": []}
        for i in part:
            cv2.imwrite(str(root / "images" / f"face {i}.png"), np.ascontiguousarray(faces.images[i][..., ::-1]))
            keypoints = [value for x, y in points[i].tolist() for value in (x, y, 2)]
            content["annotations"].append({"id": i, "image_id": i, "keypoints": keypoints})
        (root / f"{split}.json").write_text(json.dumps(content))
    (root / "mydata.yaml").write_text(MANIFEST)
    return root / "mydata.yaml"


@pytest.fixture
def refusal() -> Callable[..., str]:
    """Calls what must be refused; returns the one sentence of the refusal, which names what it was given as `named`."""
    from fa_lib.errors import InputError

    def refused(named: Path | str, call: Callable, *arguments, **options) -> str:
        with pytest.raises(InputError) as caught:
            call(*arguments, **options)
        sentence = str(caught.value)
        assert str(named) in sentence and "\n" not in sentence and ". " not in sentence
        return sentence

    return refused


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
