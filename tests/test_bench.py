"""`fa bench` compares equal work: the plain way computes what the package does. Its times are not tested; its table is."""

import dataclasses
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor, nn

from fa_lib import acquisition, bench, losses, storage, training
from fa_lib.__main__ import main
from fa_lib.bench import measure, plain, report, works
from fa_lib.data import Augment, Batches
from fa_lib.heatmaps import decode, draw, to_map
from fa_lib.papers import scaf_chosen
from fa_lib.tracking import Tracker

CPU = torch.device("cpu")


def clouds(count: int, side: int) -> np.ndarray:
    """Smooth pictures (count, side, side, 3): OpenCV rounds positions to a 32nd of a pixel, which noise would blow up."""
    coarse = np.random.default_rng(0).integers(0, 256, (count, 6, 6, 3), np.uint8)
    return np.stack([cv2.resize(one, (side, side), interpolation=cv2.INTER_CUBIC) for one in coarse])


@pytest.fixture
def faces(by_hand: Callable):
    """Four faces of 64 pixels with 68 points, in smooth pictures."""
    return by_hand(np.random.default_rng(1).uniform(12, 52, (4, 68, 2)), 64, clouds(4, 88))


def test_plain_warp_is_ours(faces) -> None:
    augment, (images, points) = works.AUGMENT, (faces.images, faces.landmarks)
    seed = torch.Generator().manual_seed
    stored = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255
    ours, moved, _ = augment(stored, torch.from_numpy(points), 64, seed(5), faces.scheme)
    affine, mirrored = augment.affine(4, 64, seed(5))
    assert mirrored.any() and not mirrored.all()
    for i, matrix in enumerate(affine.matrix.double().numpy()):
        matrix[:, 2] -= matrix[:, :2] @ [faces.offset, faces.offset]
        picture, landmarks = plain.moved(images[i], points[i], matrix, 64)
        landmarks = landmarks[list(faces.scheme.flip)] if mirrored[i] else landmarks
        np.testing.assert_allclose(picture, ours[i], atol=3 / 255)
        np.testing.assert_allclose(landmarks, moved[i], atol=1e-3)


@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("side", [88, 200])  # the stored crops, and larger photographs
def test_plain_data_set_is_ours(faces, tmp_path: Path, monkeypatch, mirrored: bool, side: int) -> None:
    photos = works.Stage(CPU, tmp_path).photos(faces, side, 16)
    photos = dataclasses.replace(photos, scale=(0.9, 0.9), degrees=0.0)
    monkeypatch.setattr(np.random, "rand", lambda: 0.1 if mirrored else 0.9)
    augment = Augment(flip=float(mirrored), scale=(0.9, 0.9))
    batch = next(iter(Batches(faces, augment, 4)))
    maps = draw(to_map(batch.landmarks, 4), 16)
    for place, i in enumerate(batch.index.tolist()):
        picture, drawn, landmarks = photos[i]
        np.testing.assert_allclose(landmarks, batch.landmarks[place], atol=1e-3)
        np.testing.assert_allclose(drawn, maps[place], atol=0.0112)  # exp(-9 / 2): what 3 sigma leave out
        assert np.abs(picture - batch.images[place].numpy()).mean() < 2 / 255  # JPEG, and enlarged
        assert np.abs(drawn - maps[place].numpy())[drawn > 0].max() < 1e-4


def test_plain_maps_end_three_sigma_from_a_landmark() -> None:
    points = np.array([[5.3, 4.8], [0.2, 11.4], [-9.0, 3.0]])
    drawn, ours = plain.drawn(points, 12), draw(torch.from_numpy(points)[None], 12)[0].numpy()
    near = np.abs(np.indices((12, 12))[None, ::-1] - points.round()[:, :, None, None]).max(1) <= 3
    np.testing.assert_allclose(drawn, np.where(near, ours, 0), atol=1e-6)
    assert near.sum((1, 2)).tolist() == [49, 16, 0]


@pytest.mark.parametrize("method", works.DECODERS)
def test_plain_decoders_are_ours(method: str) -> None:
    maps = works.maps_of_faces(2, 24, CPU)
    maps[0, 0] = 0  # nothing there
    maps[0, 1, 0, 23] = maps[0, 2, 23, 5] = 3.0  # at the border
    np.testing.assert_allclose(plain.decoded(maps.numpy(), method), decode(maps, method), atol=1e-3)


def test_plain_acquisition_is_ours() -> None:
    maps = works.maps_of_faces(3, 20, CPU)
    maps[0, 0] = 0
    found = decode(maps, "local")
    pairs = list(zip(maps.numpy(), found.numpy()))
    scored = {
        acquisition.nnm(maps, landmarks=found): (
            plain.nnm(maps.numpy(), found.numpy()),
            [scaf_chosen.nnm_by_loops(*pair) for pair in pairs],
        ),
        acquisition.spatial_entropy(maps): (
            plain.entropy(maps.numpy()),
            [scaf_chosen.entropy_by_loops(face) for face, _ in pairs],
        ),
    }
    for ours, ways in scored.items():
        assert ours.std() > 1e-3
        for way in ways:
            np.testing.assert_allclose(way, ours, rtol=1e-4)


class Maps(nn.Module):
    """A heatmap net of a few weights."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.norm = nn.Conv2d(3, 68, 5, stride=4, padding=2), nn.BatchNorm2d(68)

    def forward(self, images: Tensor) -> list[Tensor]:
        return [self.norm(self.conv(images))]


def test_plain_training_learns_what_ours_learns(faces, tmp_path: Path) -> None:
    def loss_of(net: nn.Module, batch) -> dict[str, Tensor]:
        return {"total": losses.heatmap_mse(net(batch.images)[-1], draw(to_map(batch.landmarks, 4), 16))}

    batches, plan = Batches(faces, Augment(), 4), training.Plan(epochs=3, drops=())
    ours = training.fit(Maps(), batches, loss_of, plan, tmp_path / "none")["total"]
    net, batch = Maps(), next(iter(batches))
    optimiser = torch.optim.AdamW(net.parameters(), lr=plan.lr, weight_decay=plan.weight_decay)
    given = [(batch.images, draw(to_map(batch.landmarks, 4), 16), batch.landmarks)]
    found = [plain.train(net, given, optimiser, CPU)[0] for _ in range(3)]
    assert found[0] > 1.001 * found[2]
    np.testing.assert_allclose(found, ours, rtol=1e-4)


def test_plain_follower_is_the_tracker() -> None:
    class Bright(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            corners = torch.tensor([[9.0, 10.0], [44.0, 12.0], [30.0, 55.0]])
            return corners + 6 * images.mean((1, 2, 3))[:, None, None]

    class WithDevice(Bright):
        def __init__(self) -> None:
            super().__init__()
            self.none = nn.Parameter(torch.zeros(1))

    frames, box = clouds(4, 120), (40.2, 31.0, 70.0, 75.0)
    tracker, follower = Tracker(WithDevice(), 64, box=box), plain.Follower(WithDevice(), 64, box)
    found = np.stack([tracker(frame) for frame in frames])
    assert np.ptp(found, axis=0).max() > 1
    np.testing.assert_allclose(np.stack([follower(frame) for frame in frames]), found, atol=0.02)


def limits() -> dict:
    """Ceilings by hand: 2 x 10^9 operations and 4 x 10^9 bytes a second."""
    names = [("float32", 2.0), ("convolution", 1.0), ("int8", 8.0), ("copy", 4.0)]
    return {(name, 2): measure.Ceiling(name, (rate, rate, rate), "Gop/s", 2) for name, rate in names}


def a_line(monkeypatch, target: works.Target, **options) -> dict:
    """The line of a work of two faces a call, of which ours takes 2, 4 and 6 ms and the plain way ten times as long."""
    times = {"ours": np.array([2.0, 4.0, 6.0]), "plain": np.array([20.0, 40.0, 60.0])}
    monkeypatch.setattr(measure, "paired", lambda calls, seconds, where: {name: times[name] for name in calls})
    calls = works.Calls(lambda: None, lambda: None, 2, 4, 2, **options)
    work = works.Work("pipeline", "a work", "face", "a loop", lambda stage: calls, target)
    return bench.line(work, works.Stage(CPU, Path()), limits())


def test_line_counts_by_the_face(monkeypatch) -> None:
    row = a_line(monkeypatch, works.Target(2.0), flops=1e6, moved=2e6)
    assert [row[key] for key in ("value", "low", "high", "plain_value")] == [2.0, 1.5, 2.5, 10.0]
    assert [row[key] for key in ("ratio", "ratio_low", "ratio_high")] == [5.0, 5.0, 5.0]
    # 10^6 operations at 2 x 10^9 a second take 0.5 ms, 2 x 10^6 bytes at 4 x 10^9 a second as well
    assert row["ceiling"] == pytest.approx(0.5) and row["reached"] == pytest.approx(0.25)
    assert (row["target"], row["verdict"]) == ("<= 2 ms", "met")


@pytest.mark.parametrize(
    ("options", "least"), [({"flops": 8e6}, 4.0), ({"flops": 8e6, "rate": "int8"}, 1.0), ({"moved": 8e6}, 2.0)]
)
def test_ceiling_is_that_of_the_work(monkeypatch, options: dict, least: float) -> None:
    row = a_line(monkeypatch, works.Target(20, factor=True), **options)
    assert row["ceiling"] == pytest.approx(least) and row["verdict"] == "missed"


def missing(stage: works.Stage) -> works.Calls:
    """A work whose library is not there."""
    raise ModuleNotFoundError("No module named 'onnxruntime'", name="onnxruntime")


def test_missing_library_is_named_and_the_table_goes_on(monkeypatch, tmp_path: Path) -> None:
    work = works.Work("inference", "a net, int8", "face", "a loop", missing, works.Target(1.0))
    lines = [a_line(monkeypatch, works.Target(1.0), flops=1e6), bench.line(work, works.Stage(CPU, tmp_path), limits())]
    frame = report.joined(limits(), lines)
    text = report.table(frame, "a machine")
    assert "inference: a net, int8" in text and "not measured: onnxruntime is not installed" in text and "missed" in text
    figure = report.draw(frame, "a machine")
    axes = figure.axes[0]
    assert [tick.get_text() for tick in axes.get_yticklabels()] == ["pipeline: a work"] and "[ms]" in axes.get_xlabel()
    svg, csv = report.save(frame, "a machine", tmp_path / "new" / "bench")
    assert svg.suffix == ".svg" and svg.stat().st_size > 5000
    read = pd.read_csv(csv)
    assert tuple(read.columns) == report.COLUMNS
    assert read["group"].tolist() == ["ceiling"] * 4 + ["pipeline", "inference"] and read["value"].notna().sum() == 5


def test_all_is_measured_and_written(monkeypatch, tmp_path: Path, capsys) -> None:
    """The whole way through one cheap group; `--only` writes nothing, all of it does, to the folder of the device."""
    monkeypatch.setattr(storage, "PROJECT", tmp_path)
    monkeypatch.setattr(measure, "ceilings", lambda where: {(n, measure.cores()): c for (n, _), c in limits().items()})
    monkeypatch.setattr(training, "device", lambda: CPU)
    cheap = tuple(dataclasses.replace(work, seconds=0.0) for work in works.WORKS if work.name == "argmax")
    monkeypatch.setattr(works, "WORKS", cheap)
    assert main(["bench", "--only", "decoding"]) == 0
    assert "decoding: argmax" in capsys.readouterr().out and not list(tmp_path.iterdir())
    assert main(["bench"]) == 0
    shown = capsys.readouterr()
    folder = tmp_path / "figures" / "bench" / measure.folder_name(measure.device_name(CPU))
    assert sorted(file.name for file in folder.iterdir()) == ["bench.csv", "bench.svg"] and str(folder) in shown.out
    read = pd.read_csv(folder / "bench.csv")
    assert read.loc[read["work"] == "argmax", "rounds"].item() >= 3
    assert set(read["device"]) == {measure.device_name(CPU)} and {"torch", "commit", "date"} <= set(read.columns)
    assert "s left" in shown.err


def test_unknown_group_is_refused(capsys) -> None:
    assert main(["bench", "--only", "decodin"]) == 2
    said = capsys.readouterr().err
    assert "'decodin', did you mean 'decoding'" in said and said.count("\n") == 1


def test_every_group_of_the_help_is_there() -> None:
    assert bench.GROUPS == ("pipeline", "training", "inference", "decoding", "acquisition", "rendering", "video")
    names = [(work.group, work.name) for work in works.WORKS]
    assert len(set(names)) == len(names)
