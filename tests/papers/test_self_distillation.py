"""Paper 1: its rows and chains, and the stages of iterative self-distillation."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Generator, Tensor, nn

from fa_lib import losses, models, runs, training
from fa_lib.data import Augment, Batch, Batches
from fa_lib.errors import InputError
from fa_lib.geometry import apply_to_landmarks, warp_images
from fa_lib.heatmaps import draw, to_map
from fa_lib.papers import self_distillation as paper
from fa_lib.papers import self_distillation_training as stages
from fa_lib.papers.self_distillation_training import DataSource, Step

EVERYWHERE = DataSource("synthetic/300w", 64, 600, 300, 3, 50, faces=600, fingerprint="none")
SMALL = DataSource("synthetic/300w", 64, 3, 2, 1, 2, faces=3, fingerprint="tiny")


@pytest.mark.parametrize("profile", runs.PROFILES)
def test_every_row_is_a_run_of_its_own(profile: str):
    found = [paper.run(row, profile, 0, EVERYWHERE) for row in paper.ROWS]
    assert len({run.hash for run in found}) == len({run.id for run in found}) == len(paper.ROWS)
    for run in found:
        assert run.config.plan.epochs >= 1 and run.row in run.id and run.describe()["id"] == run.id
    for network in paper.SETTINGS[profile].options:
        with torch.device("meta"):
            net = paper.run(f"{network}-gt", profile, 0, EVERYWHERE).config.build()
        assert models.count_parameters(net) > 1000


def test_rows_are_those_of_the_issue():
    assert len(paper.ROWS) == len(set(paper.ROWS)) == 1 + 4 * (1 + 6) + 1 + 4 * (1 + 3) + 1
    for network, iterations in (("resnet18", 6), ("fan2", 3)):
        for arm in ("gt", "elt", "sct", "all"):
            assert {f"{network}-{arm}", *(f"{network}-{arm}-sd{i + 1}" for i in range(iterations))} <= set(paper.ROWS)
    assert {"hrnet_w18-gt", "fan2-all-sd1-random", "resnet18-all-sd1-random"} <= set(paper.ROWS)


def test_unknown_row_is_refused():
    with pytest.raises(InputError, match="'fan2-al'"):
        paper.run("fan2-al", "smoke", 0, EVERYWHERE)


def test_tables_and_claims_speak_of_rows_that_exist():
    for table in paper.TABLES:
        assert {row for row in table.rows.values() if row} <= set(paper.ROWS)
    for claim in paper.CLAIMS:
        allowed = {*paper.ROWS, "labels"} if claim.split == "twice" else set(paper.ROWS)
        assert {claim.ours, claim.other} <= allowed and claim.ours != claim.other and claim.metric in paper_metrics()


def paper_metrics() -> set[str]:
    from fa_lib.scores import METRICS

    return set(METRICS)


def test_claims_quote_the_differences_of_the_printed_tables():
    from fa_lib.results import published

    printed = published(paper).set_index(["table", "label", "metric"])["value"]
    label = {row: name for table in paper.TABLES for name, row in table.rows.items() if row}
    quoted = 0
    for claim in paper.CLAIMS:
        number = {"test": 1, "video": 2}.get(claim.split)
        if claim.paper is not None:
            ours, other = (printed[number, label[row], claim.metric] for row in (claim.ours, claim.other))
            assert ours - other == pytest.approx(claim.paper, abs=1e-6), claim.text
            quoted += 1
    assert quoted >= 10


def test_chains_hold_every_row_once_with_teachers_first():
    chains = paper.chains()
    rows = [row for chain in chains for row in chain]
    assert sorted(rows) == sorted(paper.ROWS)
    for chain in chains:
        for place, row in enumerate(chain):
            stage = paper.run(row, "smoke", 0, EVERYWHERE).config
            assert {run.row for run in (stage.teacher, stage.base) if run} <= set(chain[:place])


@pytest.mark.parametrize(("network", "arm"), [("resnet18", "all"), ("fan2", "elt")])
def test_student_i_learns_from_i_minus_1_and_keeps_the_size_of_0(network: str, arm: str):
    for i in range(1, paper.ITERATIONS[network] + 1):
        run = paper.run(f"{network}-{arm}-sd{i}", "quick", 3, EVERYWHERE)
        stage = run.config
        assert stage.iteration == i and stage.warm and run.seed == stage.teacher.seed == stage.base.seed == 3
        assert stage.teacher.row == f"{network}-{arm}" + (f"-sd{i - 1}" if i > 1 else "")
        assert stage.base.row == f"{network}-{arm}"
        assert (stage.elt, stage.sct) == (stage.base.config.elt, stage.base.config.sct)


def test_random_student_is_the_same_but_for_its_start_and_length():
    warm, cold = (paper.run(f"fan2-all-sd1{end}", "quick", 0, EVERYWHERE).config for end in ("", "-random"))
    assert warm.warm and not cold.warm and cold.teacher == warm.teacher and cold.base == warm.base
    assert cold.plan.epochs == cold.base.config.plan.epochs > warm.plan.epochs


@pytest.fixture
def batch(store: Path) -> Batch:
    return next(iter(Batches(SMALL.train(), Augment(), 3)))


def network(name: str, seed: int) -> nn.Module:
    torch.manual_seed(seed)
    size = {"size": 64} if name == "resnet18" else {}
    options = dict(paper.SETTINGS["smoke"].options[name])
    return models.create(name, **size, **options).eval()  # no running statistics: looks can be repeated


def by_hand(net: nn.Module, batch: Batch, target: Tensor, maps: Tensor, reference: Tensor, weight: float) -> dict[str, float]:
    """Equations 5 and 8, term by term, in pixels of a 256-pixel crop: 4 x those of these 64."""
    affine = stages.TRANSFORM.affine(3, 64, Generator().manual_seed(5))[0]
    pred = models.landmarks_of(net(batch.images), 64)
    moved = models.landmarks_of(net(warp_images(batch.images, affine)), 64)
    back = apply_to_landmarks(affine.inverse(), moved)
    parts = {"fit": ((pred - target) * 4).square().sum((1, 2)).mean(), "elt": ((pred - back) * 4).square().sum((1, 2)).mean()}
    parts["sct"] = 4 * (losses.scale(pred) - losses.scale(reference)).abs().mean()
    total = parts["fit"] + weight * (parts["elt"] + parts["sct"])
    output = net(batch.images)
    if isinstance(output, list):
        parts["heatmaps"] = 4096**2 * sum((one - maps).square().mean() for one in output)
        total = total + parts["heatmaps"]
    return {key: float(value) for key, value in (parts | {"total": total}).items()}


@pytest.mark.parametrize("name", ["resnet18", "fan2"])
def test_loss_of_the_supervised_stage_is_equation_5(name: str, batch: Batch):
    stage, net = paper.run(f"{name}-all", "smoke", 0, SMALL).config, network(name, 0)
    maps = draw(to_map(batch.landmarks, 4), 16, sigma=1.0, variance="s2")
    with torch.no_grad():
        found = Step(stage, None, None, Generator().manual_seed(5))(net, batch)
        expected = by_hand(net, batch, batch.landmarks, maps, batch.landmarks, weight=1.0)
    assert {key: float(value) for key, value in found.items()} == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("name", ["resnet18", "fan2"])
@pytest.mark.parametrize("iteration", [1, 3])
def test_loss_of_a_student_is_equation_8_with_weight_i_plus_1(name: str, iteration: int, batch: Batch):
    stage = paper.run(f"{name}-all-sd{iteration}", "smoke", 0, SMALL).config
    net, first, last = (network(name, seed) for seed in (0, 1, 2))
    base = models.freeze(first)
    teacher = base if iteration == 1 else models.freeze(last)
    with torch.no_grad():
        found = Step(stage, teacher, base, Generator().manual_seed(5))(net, batch)
        taught, reference = teacher(batch.images), models.landmarks_of(base(batch.images), 64)
        maps = taught[-1] if isinstance(taught, list) else taught
        expected = by_hand(net, batch, models.landmarks_of(taught, 64), maps, reference, weight=iteration + 1.0)
    assert {key: float(value) for key, value in found.items()} == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize(("arm", "terms"), [("gt", set()), ("elt", {"elt"}), ("sct", {"sct"}), ("all", {"elt", "sct"})])
def test_arms_differ_in_their_terms(arm: str, terms: set[str], batch: Batch):
    stage = paper.run(f"resnet18-{arm}", "smoke", 0, SMALL).config
    assert set(Step(stage, None, None, Generator())(network("resnet18", 0), batch)) == {"fit", "total"} | terms


def test_transform_is_that_of_section_4_3():
    assert stages.TRANSFORM == Augment(scale=(0.8, 1.0), degrees=30, shift=8 / 256)
    assert (stages.AMPLITUDE, stages.SIGMA, stages.UNIT) == (4096, 1.0, 256)


@pytest.fixture
def starts(monkeypatch: pytest.MonkeyPatch) -> dict[str, dict[str, Tensor]]:
    """The weights with which each training of the test began, by run."""
    seen: dict[str, dict[str, Tensor]] = {}
    whole = training.fit

    def fit(net: nn.Module, *arguments, title: str = ""):
        seen[title] = {key: value.clone() for key, value in net.state_dict().items()}
        return whole(net, *arguments, title=title)

    monkeypatch.setattr(training, "fit", fit)
    return seen


def test_students_start_from_their_teacher_or_from_random_weights(source: DataSource, starts: dict):
    rows = ("resnet18-all", "resnet18-all-sd1", "resnet18-all-sd2", "resnet18-all-sd1-random")
    trained = {row: runs.get(paper.run(row, "smoke", 0, source)) for row in rows}
    begin = {row: starts[trained[row].run.id] for row in rows}
    for student, teacher in (("resnet18-all-sd1", "resnet18-all"), ("resnet18-all-sd2", "resnet18-all-sd1")):
        taught = trained[teacher].network().state_dict()
        assert all(torch.equal(begin[student][key], taught[key]) for key in taught)
    random = begin["resnet18-all-sd1-random"]
    assert not torch.equal(random["head.weight"], begin["resnet18-all-sd1"]["head.weight"])
    assert torch.equal(random["head.weight"], begin["resnet18-all"]["head.weight"])  # the seed's own random weights
    assert len(starts) == 4


def test_predictions_of_a_run_cover_every_test_set(source: DataSource):
    found = runs.get(paper.run("resnet18-gt", "smoke", 0, source))
    shapes = {name: value.shape for name, value in found.predictions.items()}
    assert shapes == {"test": (3, 68, 2), "video": (6, 68, 2), "twice_first": (3, 68, 2), "twice_second": (3, 68, 2)}
    assert all(np.isfinite(value).all() for value in found.predictions.values())
    expected = training.evaluate(found.network(), source.test())
    assert np.allclose(found.predictions["test"], expected, atol=1e-4)  # the saved weights are those that predicted


def test_source_of_a_profile_knows_its_faces(store: Path):
    found = paper.source("smoke")
    profile = runs.PROFILES["smoke"]
    assert found.faces == len(found.train()) == profile.train_faces and len(found.test()) == profile.test_faces
    assert found.dataset == "synthetic/300w" and found.size == profile.size and found.root is None
    assert found.train().fingerprint in found.fingerprint and found.test().fingerprint in found.fingerprint
