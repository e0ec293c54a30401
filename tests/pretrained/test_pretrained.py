"""The network that comes with the package: whole, small, of the training that the code describes, and of some use."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from fa_lib import models, pretrained
from fa_lib.confidence import Calibration
from fa_lib.data import Augment
from fa_lib.finding import Face, Finder, Judge, overlap
from fa_lib.pretrained import learning, measuring

CARD = (pretrained.FOLDER / "MODEL_CARD.md").read_text()
SCORES = json.loads((pretrained.FOLDER / "scores.json").read_text())


@pytest.fixture(scope="module")
def finder() -> Finder:
    return Finder(*pretrained.load().parts)


def test_network_is_small_and_whole():
    shipped = pretrained.load()
    assert sum((pretrained.FOLDER / name).stat().st_size for name in (pretrained.WEIGHTS, pretrained.ABOUT)) <= 6 * 2**20
    assert all(value.dtype != torch.float16 and value.isfinite().all() for value in shipped.net.state_dict().values())
    assert not shipped.net.training and 0 < shipped.judge.least < 1
    assert f"{models.count_parameters(shipped.net):,} weights" in CARD and shipped.hash in CARD


def test_wide_picture_shows_one_face_and_scenery_none(finder: Finder):
    (picture, truth) = list(measuring.faces("300w", "common", 2))[1]
    (face,) = finder(picture)
    assert overlap(face.box, measuring._tight(truth)) > 0.6
    error = np.linalg.norm(face.landmarks - truth, axis=-1) / np.linalg.norm(truth[45] - truth[36])
    assert error.mean() < 0.12 and ((face.chances >= 0) & (face.chances <= 1)).all()
    assert finder(next(measuring.blanks("gradient", 1, seed=5))) == []


def test_box_may_be_off(finder: Finder):
    """A box moved by a tenth of the face and 15 % too large leads to nearly the same landmarks, since it is refined."""
    (picture, truth) = next(measuring.faces("300w", "common", 1))
    tight = measuring._tight(truth)
    side = (tight[2:] - tight[:2]).max()
    moved = tight + side * np.array([0.1 - 0.075, 0.1 - 0.075, 0.1 + 0.075, 0.1 + 0.075])
    (right,), (wrong,) = (finder(picture, box[None]) for box in (tight, moved))
    assert np.linalg.norm(right.landmarks - wrong.landmarks, axis=-1).mean() < 0.02 * side


def test_damage_is_one_sentence(tmp_path: Path, refusal: Callable):
    for name in (pretrained.WEIGHTS, pretrained.ABOUT):
        shutil.copytree(pretrained.FOLDER, tmp_path / name, ignore=shutil.ignore_patterns("*.py", "__pycache__"))
        file = tmp_path / name / name
        file.write_bytes(file.read_bytes()[:-100])
        refusal(tmp_path / name, pretrained.load, tmp_path / name)


def as_markdown(scores: dict) -> str:
    """Scores as the card shows them."""
    lines = ["| | rendered faces | photographs |", "|---|---|---|"]
    for key, words, factor, digits in (
        ("pictures", "pictures", 1, 0),
        ("detected", "detected, %", 100, 1),
        ("more", "further faces found, a picture", 1, 3),
        ("nme_found", "NME of the detected, found box, %", 100, 2),
        ("nme_box_detected", "NME of the detected, landmark box, %", 100, 2),
        ("nme_box", "NME of all, landmark box, %", 100, 2),
        ("right", "landmarks below 5 %, landmark box, %", 100, 1),
        ("ece", "expected calibration error", 1, 3),
        ("faces_a_second", "faces a second, searched, one thread", 1, 2),
        ("boxes_a_second", "faces a second, box given, one thread", 1, 1),
    ):
        lines.append(
            f"| {words} | " + " | ".join(f"{factor * scores[k][key]:.{digits}f}" for k in ("rendered", "photographs")) + " |"
        )
    lines += ["", "| pictures without a face | of them with one found, % |", "|---|---|"]
    beside = scores["beside faces"]
    lines += [f"| {kind} | {100 * share:.1f} |" for kind, share in scores["false alarms"].items()]
    lines.append(f"| beside the face in {beside['pictures']} photographs | {100 * beside['false alarms']:.1f} |")
    return "\n".join(lines)


def test_card_says_what_was_measured():
    assert as_markdown(SCORES) in CARD
    assert "300-W common, LFPW half (partial)" in CARD and SCORES["photographs"]["pictures"] == 224
    assert SCORES["photographs"]["threads"] == SCORES["rendered"]["threads"] == 1


def test_smoke_training_makes_files_that_load(store, tmp_path: Path, monkeypatch):
    judge = Judge(Calibration((0.1, 0.9), (0.0, 1.0)), 0.5)
    monkeypatch.setattr(pretrained, "judged", lambda net, size, count: judge)
    assert pretrained.make(tmp_path, "smoke") == tmp_path / pretrained.WEIGHTS
    made = pretrained.load(tmp_path)
    assert made.judge == judge and made.size == 64 and made.name == "pretrained/fan2/synthetic-wild/smoke/0"
    with torch.no_grad():
        assert made.net(torch.zeros(1, 3, 64, 64))[-1].sum().item() == pytest.approx(68 * np.pi, rel=1e-3)


class Told:
    """A finder whose faces have the scores that it is told, one a picture."""

    def __init__(self, scores: list[float]) -> None:
        self.scores = iter(scores)

    def __call__(self, picture: np.ndarray, boxes: np.ndarray | None = None) -> list[Face]:
        score = next(self.scores)
        return [Face(np.zeros((68, 2)), np.full(68, score), None)] if score else []


def test_threshold_lets_one_in_a_hundred_through(monkeypatch):
    """Of 102 pictures without a face, with scores 0.00 to 1.01, the greatest alone is above it."""
    monkeypatch.setattr(measuring, "faces", lambda *_: iter(()))
    monkeypatch.setattr(measuring, "blanks", lambda kind, count, seed: range(count))
    monkeypatch.setattr(measuring, "at_boxes", lambda *_: measuring.Known(np.linspace(0, 1, 680), np.linspace(1, 0, 680)))
    told = Told([i / 101 for i in range(102)])
    monkeypatch.setattr(pretrained, "Finder", lambda *_: told)
    judge = pretrained.judged(torch.nn.Identity(), 64, 102)
    assert 100 / 101 <= judge.least < 1


def test_found_counts_by_hand(monkeypatch):
    """Three pictures: one face found where it is, one elsewhere, one not at all."""
    truth = np.zeros((68, 2))
    truth[36], truth[45], truth[8] = (10, 10), (30, 10), (20, 30)
    near, far = truth + (1, 0), truth + (50, 0)
    answers = iter([[near, far], [far], [], [truth], [truth], [near]])

    class Known:
        judge = None

        def __call__(self, picture: np.ndarray, boxes: np.ndarray | None = None) -> list[Face]:
            return [Face(landmarks, np.ones(68), None) for landmarks in next(answers)]

    report = measuring.found(Known(), [(np.zeros((40, 90, 3), np.uint8), truth)] * 3)
    assert report["detected"] == pytest.approx(1 / 3) and report["more"] == pytest.approx(1 / 3)
    assert report["nme_found"] == pytest.approx(0.05) and report["nme_box_detected"] == 0
    assert report["nme_box"] == pytest.approx(0.05 / 3) and report["pictures"] == 3


@pytest.mark.parametrize("kind", measuring.BLANKS)
def test_blanks_are_the_same_each_time_and_differ_by_seed(kind: str):
    one, again, other = (list(measuring.blanks(kind, 2, seed)) for seed in (0, 0, 1))
    assert one[0].shape == (measuring.SIDE, measuring.SIDE, 3) and one[0].dtype == np.uint8
    assert all(map(np.array_equal, one, again)) and not np.array_equal(one[0], one[1]) and not np.array_equal(one[0], other[0])


def test_training_blanks_are_as_many_as_asked_for_and_come_from_the_stream():
    generator = torch.Generator().manual_seed(3)
    state = generator.get_state()
    blanks = learning.Blanks(learning.scenes(4, 32, seed=0), Augment(noise=0.1), generator)
    faces = torch.rand(6, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    first = blanks(faces, 24)
    generator.set_state(state)
    assert first.shape == (24, 3, 32, 32) and torch.equal(blanks(faces, 24), first) and not torch.equal(blanks(faces, 24), first)
    assert first.min() >= 0 and first.max() <= 1


def test_flat_maps_are_what_a_blank_costs_nothing_for():
    class Flat(torch.nn.Module):
        def forward(self, images: torch.Tensor) -> list[torch.Tensor]:
            return [torch.full((len(images), 68, 8, 8), 3.0 / 64)]

    learner = learning.Learner("fan2", (("mass", 3.0),), None, Augment(), None, blank=5)
    batch = type("Batch", (), {"images": torch.rand(2, 3, 32, 32), "landmarks": torch.full((2, 68, 2), 15.5)})
    parts = learning.Step(learner, lambda images, count: images[:1].expand(count, -1, -1, -1))(Flat(), batch)
    assert parts["blank"].item() == 0 < parts["heatmaps"].item() and parts["landmarks"].item() == pytest.approx(0, abs=1e-6)


def test_parts_beside_faces_hold_no_landmark():
    truth = np.array([[40.0, 40], [80, 80], [60, 60]])
    picture = np.zeros((120, 160, 3), np.uint8)
    picture[40:81, 40:81] = 255
    (piece,) = measuring.beside_faces([(picture, truth)])
    assert piece.shape == (75, 75, 3) and not piece.any()
    assert measuring.beside_faces([(picture[30:90, 30:90], truth - 30)]) == []
