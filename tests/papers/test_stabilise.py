"""Networks of any paper become steady ones with one call: trained once, the paper's own where it has them, refused where none is.

At profile smoke: real trainings of seconds.
"""

import json
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from fa_lib import data, models, restoring, runs
from fa_lib.__main__ import main
from fa_lib.data import Augment
from fa_lib.models.stable import Stable
from fa_lib.papers import jitter_loss, rendered_to_real, self_distillation
from fa_lib.papers.jitter_loss_training import Backbone, FineTune
from fa_lib.papers.self_distillation_training import Stage
from fa_lib.papers.stabilise import stabilised
from fa_lib.storage import runs_folder
from fa_lib.training import Plan

FAN = (("width", 16), ("stride", 4), ("depth", 2))


def trained(row: str, paper=self_distillation) -> dict:
    """A smoke run of a paper, as `runs.stored` tells of it."""
    return told(runs.get(paper.run(row, "smoke", 0, paper.source("smoke"))).run)


def told(run: runs.Run) -> dict:
    return next(found for found in runs.stored() if found["hash"] == run.hash)


def tuned() -> list[Path]:
    """Folders of all finished runs of paper 3."""
    return sorted(runs_folder().glob("jitter_loss/*/*/*/s*"))


@pytest.fixture(scope="module")
def clip(stores, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve frames of a rendered face."""
    path = tmp_path_factory.mktemp("clips") / "clip.avi"
    frames = data.load("synthetic/300vw", "test", None, 64, 1, frames=12).images[:12]
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 25, frames.shape[1:3])
    for frame in frames:
        writer.write(np.ascontiguousarray(frame[..., ::-1]))
    writer.release()
    return path


def predicted(run: str, clip: Path, out: Path, *options: str) -> np.ndarray:
    """What `fa predict` writes: lines (N, 4), frame, point, x, y."""
    assert main(["predict", run, str(clip), "--box", "14", "14", "64", "64", "--out", str(out), *options]) == 0
    assert sorted(path.name for path in out.iterdir()) == ["clip.csv", "clip.mp4"]
    return np.loadtxt(out / "clip.csv", delimiter=",", skiprows=1, ndmin=2)


def test_any_heatmap_net_becomes_steady_with_one_call(clip: Path, tmp_path: Path, capsys):
    """The second call trains nothing, and the ConvLSTM is all that makes a difference: without its correction there is none."""
    backbone = trained("fan2-gt")
    name, before = backbone["id"], tuned()
    steady = predicted(name, clip, tmp_path / "steady", "--stable")
    assert "is trained now" in capsys.readouterr().err
    (folder,) = set(tuned()) - set(before)
    assert folder.relative_to(runs_folder()).parts[:2] == ("jitter_loss", "self_distillation-fan2-gt-video")
    times = {path: path.stat().st_mtime_ns for path in (folder, *folder.iterdir())}
    assert np.array_equal(predicted(name, clip, tmp_path / "again", "--stable"), steady)
    assert "is in the store" in capsys.readouterr().err
    assert times == {path: path.stat().st_mtime_ns for path in (folder, *folder.iterdir())} and len(tuned()) == len(before) + 1

    plain = predicted(name, clip, tmp_path / "plain")
    assert len(plain) == len(steady) == 12 * 68 and np.abs(steady - plain).max() > 0.1
    weights, learned = (load_file(Path(f) / "model.safetensors") for f in (folder, backbone["folder"]))
    assert all(torch.equal(weights[f"backbone.{key}"], value) for key, value in learned.items())
    for key in ("weight", "bias"):
        weights[f"convlstm.correction.{key}"].zero_()
    save_file(weights, folder / "model.safetensors")
    zero = predicted(name, clip, tmp_path / "zero", "--stable")
    assert np.abs(zero - plain).max() < 0.005  # rounded to three decimals


def test_stable_network_is_used_as_it_is(clip: Path, tmp_path: Path, capsys):
    run = told(runs.get(stabilised(trained("fan2-gt"))).run)
    before = tuned()
    as_it_is = predicted(run["id"], clip, tmp_path / "plain")
    assert np.array_equal(predicted(run["id"], clip, tmp_path / "stable", "--stable"), as_it_is)
    assert "is stable already" in capsys.readouterr().err and tuned() == before


@pytest.mark.parametrize("row", ["hrnet", "cpm-sbr"])
def test_networks_of_paper_3_share_its_runs(row: str, stores):
    """The run asked for is that of the paper, of the same hash, and training it gives the same weights."""
    theirs = jitter_loss.run(f"{row}-video", "smoke", 0, jitter_loss.source("smoke"))
    ours = stabilised(told(runs.get(theirs.config.backbone).run))
    assert ours.id == theirs.id and ours.hash == theirs.hash and ours.folder == theirs.folder
    expected = runs.get(theirs).network().state_dict()
    theirs.folder.rename(theirs.folder.with_name("theirs"))
    found = runs.get(ours).network().state_dict()
    assert found.keys() == expected.keys() and all(torch.equal(found[key], expected[key]) for key in found)


def test_seed_network_and_paper_make_another_run(stores):
    found = trained("fan2-gt"), trained("hrnet_w18-gt"), trained("fan2-imitation", rendered_to_real)
    steady = [stabilised(one) for one in found]
    assert len({run.folder for run in steady}) == 3
    for one, run in zip(found, steady, strict=True):
        paper, row, *rest = one["id"].split("/")
        assert run.id == "/".join(["jitter_loss", f"{paper}-{row}-video", *rest])
        assert run.config.clips and run.config.source.size == 64 and run.config.faces == 24
        assert run.describe()["config"]["backbone"] == f"{one['id']}-{one['hash']}"
        pictures = torch.rand(2, 3, 64, 64)
        with torch.no_grad():
            expected, built = (net(pictures)[-1] for net in (restoring.restore(one)[0], run.config.build().eval()))
        assert torch.equal(built, expected)  # an untrained ConvLSTM corrects nothing


def keep(network: str, dataset: str, points: int, paper: str = "jitter_loss") -> dict:
    """A run, untrained, put into the store."""
    source = jitter_loss.Source(dataset, 64, 4, 3, 1, 12, faces=4, fingerprint="tiny", landmarks=points)
    options, plan = FAN if network == "fan2" else (("width", 8),), Plan(epochs=1)
    augment = Augment(flip=0.5, scale=(0.9, 1.0))
    config = Stage(network, options, source, plan) if network == "resnet18" else Backbone(network, options, source, plan, augment)
    run = runs.Run(paper, "row", dataset, "smoke", 0, config)
    run.folder.mkdir(parents=True, exist_ok=True)
    save_file({key: value.contiguous() for key, value in config.build().state_dict().items()}, run.folder / "model.safetensors")
    (run.folder / "config.json").write_text(json.dumps(run.describe()))
    origin = {"id": run.id, "hash": run.hash, "code": "", "files": [], "seconds": 0.0, "device": "none", "date": ""}
    (run.folder / "provenance.json").write_text(json.dumps(origin))
    np.savez(run.folder / "predictions.npz", test=np.zeros((2, points, 2)))
    return told(run)


def test_photographs_are_not_needed(store: Path):
    """A network of 68 points that learned photographs, of which there are none here, is steadied on rendered clips."""
    run = stabilised(keep("fan2", "300w", 68))
    assert run.id == "jitter_loss/row-video/300w/smoke/0"
    assert run.config.clips and run.config.source.dataset == "synthetic/300w" and run.config.source.root is None


def test_other_points_learn_shifted_faces(store: Path):
    """There are no clips of 29 points; faces and their changes are those that the network learned."""
    run = stabilised(keep("fan2", "synthetic/cofw", 29, "kd_loss"))
    config = run.config
    assert isinstance(config, FineTune) and not config.clips and config.source.landmarks == 29
    assert config.backbone.config.augment == Augment(flip=0.5, scale=(0.9, 1.0))
    net = runs.get(run).network()
    assert isinstance(net, Stable) and models.landmarks_of(net(torch.rand(1, 3, 64, 64)), 64).shape == (1, 29, 2)


def test_what_cannot_be_steadied_is_refused_and_leaves_nothing(
    store: Path, clip: Path, tmp_path: Path, capsys, refusal: Callable
):
    coordinates = keep("resnet18", "synthetic/300w", 68, "self_distillation")
    refusal("without heatmaps", stabilised, coordinates)
    refusal("29 points", stabilised, keep("fan2", "cofw", 29))
    heatmaps = keep("fan2", "synthetic/300w", 68)
    there = sorted(store.rglob("*"))
    no_clip, no_area = tmp_path / "none.mp4", ("--box", "1", "1", "0", "0")
    for arguments, words in (
        ([coordinates["id"], str(clip)], "without heatmaps"),
        ([heatmaps["id"], str(no_clip)], "none.mp4"),
        ([heatmaps["id"], str(clip), *no_area], "no area"),
    ):
        assert main(["predict", *arguments, "--stable", "--out", str(tmp_path / "out")]) == 2
        said = capsys.readouterr().err
        assert said.count("\n") == 1 and words in said
        assert sorted(store.rglob("*")) == there and not (tmp_path / "out").exists()
