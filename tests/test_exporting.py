"""`fa export`: the file of a run finds what torch finds, says what it is, and 8 bits are laid over the run's own faces."""

import json
from pathlib import Path

import numpy as np
import pytest

from fa_lib import export, exporting, restoring, runs, training
from fa_lib.__main__ import main
from fa_lib.errors import InputError
from fa_lib.models.convlstm import ConvLSTM
from fa_lib.models.stable import Stable
from fa_lib.papers.self_distillation_training import Stage
from fa_lib.training import Plan


@pytest.fixture
def trained(source) -> runs.Run:
    """A run of a tiny heatmap net on rendered faces."""
    stage = Stage("fan2", (("width", 8), ("stride", 4), ("depth", 1)), source, Plan(epochs=1))
    return runs.get(runs.Run("self_distillation", "tiny", "synthetic/300w", "smoke", 0, stage)).run


def stored() -> dict:
    """The only finished run."""
    return next(runs.stored())


def test_file_of_a_run_finds_what_torch_finds(trained: runs.Run, tmp_path: Path, capsys) -> None:
    import onnxruntime

    file = tmp_path / "net.onnx"
    assert main(["export", trained.id, str(file), "--decoder", "quarter", "--int8"]) == 0
    shown = capsys.readouterr().out.splitlines()
    assert "differ from torch's by" in shown[0] and "on 3 faces" in shown[0]
    assert "before" in shown[1] and "after" in shown[1] and "on 3 test faces of synthetic/300w" in shown[1]
    assert list(tmp_path.glob("*.onnx")) == [file]
    notes = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"]).get_modelmeta().custom_metadata_map
    assert notes["decoder"] == "quarter" and notes["precision"] == "int8" and trained.hash in notes["model"]
    assert "1.4 x" in notes["crop"] and "[0, 1]" in notes["input"]

    assert main(["export", trained.hash, str(file), "--decoder", "quarter"]) == 0
    net, size = restoring.restore(stored())
    crops = exporting.source(stored(), None).test().crops()[0]
    expected = training.predict(net, crops, "quarter")
    assert size == 32 and np.ptp(expected, axis=0).max() > 1
    np.testing.assert_allclose(export.run(file, exporting.as_input(crops)), expected, atol=1e-4)
    np.testing.assert_allclose(export.run(file, exporting.as_input(crops[:1])), expected[:1], atol=1e-4)


def test_faces_are_those_of_the_run(trained: runs.Run) -> None:
    faces = exporting.source(stored(), None)
    assert (faces.dataset, faces.size, faces.train_faces, faces.test_faces, faces.there) == ("synthetic/300w", 32, 4, 3, True)
    assert np.array_equal(faces.test().landmarks, trained.config.source.test().landmarks)
    assert sorted(faces.train().names) == sorted(trained.config.source.train().names)


def test_what_differs_from_torch_is_not_written(trained: runs.Run, tmp_path: Path, monkeypatch, capsys) -> None:
    predicted = training.predict
    monkeypatch.setattr(training, "predict", lambda net, crops, method: predicted(net, crops, method) + 0.5)
    assert main(["export", trained.id, str(tmp_path / "net.onnx")]) == 2
    said = capsys.readouterr().err
    assert "differ by 0.5 pixels" in said and said.count("\n") == 1 and not list(tmp_path.glob("*.onnx"))


def test_int8_tells_the_loss(trained: runs.Run, tmp_path: Path) -> None:
    """The sentence's numbers, computed once more from the two files."""
    faces, net = exporting.source(stored(), None), restoring.restore(stored())[0]
    exact = export.to_onnx(net, tmp_path / "exact.onnx", 32)
    small = export.shrink(exact, tmp_path / "small.onnx", "int8", exporting.as_input(faces.train().crops()[0]))
    tested = faces.test()
    crops, target = tested.crops()
    errors = []
    for file in (exact, small):
        apart = np.linalg.norm(export.run(file, exporting.as_input(crops)).numpy() - target, axis=-1).mean(1)
        errors.append(100 * (apart / np.linalg.norm(target[:, 36] - target[:, 45], axis=-1)).mean())
    said = exporting.loss(exact, small, tested)
    assert f"NME {errors[0]:.3f} % before, {errors[1]:.3f} % after, {errors[1] - errors[0]:+.3f} [" in said
    assert errors[0] != errors[1]


@pytest.mark.parametrize(
    ("file", "options", "says"),
    [
        ("net.onxx", [], "ends in .onnx"),
        ("nowhere/net.onnx", [], "no folder"),
        ("net.onnx", ["--decoder", "best"], "best"),
        ("net.onnx", ["--data", "nowhere"], "nowhere"),
    ],
)
def test_wrong_input_is_refused(trained: runs.Run, tmp_path: Path, capsys, file: str, options: list[str], says: str) -> None:
    assert main(["export", trained.id, str(tmp_path / file), *options]) == 2
    said = capsys.readouterr().err
    assert says in said and said.count("\n") == 1 and not list(tmp_path.glob("*.onnx"))


def test_photographs_that_are_not_at_hand_are_asked_for(trained: runs.Run, tmp_path: Path) -> None:
    config = Path(stored()["folder"]) / "config.json"
    content = json.loads(config.read_text())
    content["config"]["source"]["dataset"] = "300w"
    config.write_text(json.dumps(content))
    with pytest.raises(InputError, match="where 300w lies with --data"):
        list(exporting.write(stored(), str(tmp_path / "net.onnx"), int8=True))
    assert not list(tmp_path.glob("*.onnx"))


def test_network_for_clips_is_refused(trained: runs.Run, tmp_path: Path, monkeypatch) -> None:
    net = restoring.restore(stored())[0]
    monkeypatch.setattr(restoring, "restore", lambda found: (Stable(net, ConvLSTM(68)), 32))
    with pytest.raises(InputError, match="steadies clips"):
        list(exporting.write(stored(), str(tmp_path / "net.onnx")))
