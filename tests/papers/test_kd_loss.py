"""KD-Loss: rows learn what they say from whom they say, teachers stay as they are, tables and claims name what there is."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from fa_lib import losses, metrics, models, results, runs
from fa_lib.data import Augment, Batch
from fa_lib.data.crops import EXPAND
from fa_lib.papers import kd_loss as paper
from fa_lib.papers import kd_loss_training as training
from fa_lib.study import Study, at_hand


@pytest.fixture(scope="module")
def study(stores) -> Study:
    return Study(paper, "smoke", seeds=1)


def config(study: Study, row: str) -> training.Stage:
    return study.run(row, 0).config


def test_students_have_the_teachers_of_their_name_and_seed(study: Study):
    tough, tolerant = study.run("efn", 0), study.run("efn-soft", 0)
    teachers = {row: (config(study, row).tough, config(study, row).tolerant) for row in paper.ROWS}
    both = {"mnv2_kd", "mnv2_kd-official", "mnv2_kd-half"}
    expected = dict.fromkeys(paper.ROWS, (None, None)) | {"mnv2_tou": (tough, None), "mnv2_tol": (None, tolerant)}
    assert teachers == expected | dict.fromkeys(both, (tough, tolerant))
    assert [row for row in paper.ROWS if config(study, row).soft] == ["efn-soft"]
    assert len({study.run(row, 0).hash for row in paper.ROWS}) == len(paper.ROWS)


def test_tolerant_teacher_learns_softer_faces_of_the_same_pictures(study: Study):
    hard, soft = (config(study, row).learned_from() for row in ("efn", "efn-soft"))
    assert np.array_equal(hard.images, soft.images)
    assert soft.landmarks.dtype == hard.landmarks.dtype and not np.allclose(hard.landmarks, soft.landmarks, atol=0.1)
    kept = soft.landmarks.var(0).sum() / hard.landmarks.var(0).sum()
    assert 0.85 < kept < 1  # 90 % of the variance, a little less for what lies beyond three standard deviations
    assert np.allclose(soft.landmarks.mean(0), hard.landmarks.mean(0), atol=0.5)


def test_training_leaves_the_teachers_as_they_are(study: Study):
    teachers = [runs.get(study.run(row, 0)).folder / "model.safetensors" for row in ("efn", "efn-soft")]
    before = [file.read_bytes() for file in teachers]
    student = runs.get(study.run("mnv2_kd", 0))
    assert [file.read_bytes() for file in teachers] == before
    assert list(student.log.columns) == ["epoch", "seconds", "main", "tough", "tolerant", "total"]
    assert set(student.predictions) == {"test", "learned", "learned_target"}


def test_step_leaves_weights_and_statistics_of_its_teachers(study: Study):
    nets = {name: runs.get(study.run(row, 0)).network() for name, row in (("tough", "efn"), ("tolerant", "efn-soft"))}
    before = {name: {k: v.clone() for k, v in net.state_dict().items()} for name, net in nets.items()}
    stage = config(study, "mnv2_kd")
    student = stage.build().train()
    optimiser = torch.optim.AdamW([*student.parameters()], lr=0.1)
    faces = study.test.crops()[1][:4]
    batch = Batch(torch.rand(4, 3, 64, 64), torch.from_numpy(faces), torch.arange(4))
    training.Step(stage, {name: models.freeze(net) for name, net in nets.items()})(student, batch)["total"].backward()
    optimiser.step()
    for name, net in nets.items():
        assert all(torch.equal(value, before[name][key]) for key, value in net.state_dict().items())
        assert all(parameter.grad is None for parameter in net.parameters())


def test_step_is_kd_loss_of_what_all_three_see_in_the_same_pictures(study: Study):
    truth, images = torch.rand(2, 68, 2) * 63, torch.rand(2, 3, 64, 64)

    def sees(shift: float):
        return lambda pictures: truth + shift + pictures.mean()

    stage, batch = config(study, "mnv2_kd-half"), Batch(images, truth, torch.arange(2))
    found = training.Step(stage, {"tough": sees(1), "tolerant": sees(2)})(sees(0.5), batch)
    centred = [(truth + shift + images.mean() + 0.5) / 64 - 0.5 for shift in (0.5, 1, 2)]
    expected = losses.kd_loss(centred[0], (truth + 0.5) / 64 - 0.5, *centred[1:], sigma=0.5)
    assert {k: v.item() for k, v in found.items()} == pytest.approx({k: v.item() for k, v in expected.items()})


@pytest.mark.parametrize(("row", "loss"), [("mnv2", losses.l2), ("mnv2_l1", losses.l1), ("mnv2_smooth_l1", losses.smooth_l1)])
def test_plain_students_have_the_loss_of_their_name(study: Study, row: str, loss):
    pred, truth = torch.rand(2, 68, 2) * 63, torch.rand(2, 68, 2) * 63
    found = training.Step(config(study, row), {})(lambda _: pred, Batch(torch.rand(2, 3, 64, 64), truth, torch.arange(2)))
    assert found["total"].item() == pytest.approx(loss(pred / 64, truth / 64).item(), rel=1e-5)


def test_wrong_teachers_are_refused(study: Study, refusal):
    stage = config(study, "mnv2_kd")
    refusal("a tough teacher learns hard landmarks", replace, stage, tough=stage.tolerant, tolerant=stage.tough)
    refusal("learned from teachers", replace, stage, tough=study.run("mnv2_kd", 0))
    fewer = study.on("cofw").run("efn", 0)
    refusal("finds 29 landmarks, its student 68", replace, stage, tough=fewer)
    refusal("needs a teacher", replace, stage, tough=None, tolerant=None)
    refusal("needs a teacher", replace, stage, loss="l2")
    refusal("mnv2_dk", study.run, "mnv2_dk", 0)


@pytest.mark.parametrize("augment", [training.AUGMENT, *(s.augment for s in paper.SETTINGS.values())])
def test_no_augmentation_moves_a_landmark_out_of_the_picture(augment: Augment):
    size, count = 64, 4000
    reach = size / EXPAND / 2  # half the side of the landmark box
    middle = (size - 1) / 2
    corners = middle + reach * torch.tensor([[-1.0, -1], [-1, 1], [1, -1], [1, 1]]).expand(count, 4, 2)
    affine, _ = augment.affine(count, size, torch.Generator().manual_seed(0))
    moved = training.centred(torch.einsum("bij,bkj->bki", affine.matrix[:, :, :2], corners) + affine.matrix[:, None, :, 2], size)
    assert moved.abs().max() <= 0.5
    assert moved.abs().max() > 0.34  # and it does move them


def test_data_sets_have_their_points_and_their_own_faces(study: Study):
    assert [part.source.landmarks for part in study.all()] == [68, 29, 98]
    assert [part.source.dataset for part in study.all()] == ["synthetic/300w", "synthetic/cofw", "synthetic/wflw"]
    assert set(study.on("cofw").rows) == {"mnv2", "mnv2_kd", "efn"} and study.rows == paper.ROWS


def test_real_faces_are_looked_for_by_name(tmp_path: Path):
    (tmp_path / "all" / "cofw").mkdir(parents=True)
    (tmp_path / "300w").mkdir()
    assert at_hand(str(tmp_path / "all"), "cofw") == str(tmp_path / "all" / "cofw")
    assert at_hand(str(tmp_path / "all"), "wflw") is None  # rendered instead
    assert at_hand(str(tmp_path / "300w"), "300w") == str(tmp_path / "300w")


def test_tables_and_claims_name_rows_and_parts_that_there_are(study: Study):
    for item in (*paper.TABLES, *paper.CLAIMS):
        part = study.on(item.dataset)
        rows = item.rows.values() if isinstance(item, results.Table) else (item.ours, item.other)
        assert {row for row in rows if row} <= set(paper.ROWS)
        splits = item.splits if isinstance(item, results.Table) else (item.split,)
        assert getattr(item, "costs", None) or set(splits) <= {"test", "learned", *part.test.parts()}


def test_printed_numbers_agree_with_each_other():
    printed = results.published(paper)
    assert not printed.duplicated(["table", "label", "split", "metric"]).any()
    for table in paper.TABLES:
        mine = printed[printed["table"] == table.number]
        assert set(mine["label"]) <= set(table.rows) and set(mine["metric"]) <= set(table.columns)
        assert {label for label, row in table.rows.items() if row is None} <= set(mine["label"])
    wide = printed[printed["table"].isin([2, 3, 8])].pivot_table(
        index=["table", "label", "metric"], columns="split", values="value"
    )
    off = ((554 * wide["common"] + 135 * wide["challenging"]) / 689 - wide["test"]).dropna()
    # the paper's own row over the pupils is one that does not add up: 5.74, not 5.66
    assert off.loc[3, "mnv2_KD", "nme_pupil"] == pytest.approx(0.08, abs=0.01)
    ours = off[[label.startswith("mnv2") or label in ("efn", "L2", "L1", "smooth L1") for _, label, _ in off.index]]
    assert (ours.drop((3, "mnv2_KD", "nme_pupil")).abs() < 0.011).all()


def test_errors_on_what_was_learned_are_those_of_the_target(study: Study):
    trained = study.trained("efn-soft")[0].predictions
    lengths = study.learned.lengths()
    expected = metrics.nme(trained["learned"], trained["learned_target"], lengths).mean()
    assert study.estimate("efn-soft", "nme", "learned").value == pytest.approx(expected, rel=1e-6)
    on_hard = metrics.nme(trained["learned"], study.learned.crops()[1], lengths).mean()
    assert abs(expected - on_hard) > 1e-4


def test_table_of_costs_has_the_published_sizes(study: Study):
    full = SimpleNamespace(profile=runs.PROFILES["quick"])
    counted = {row: paper._counted(full, row) for row in ("mnv2_kd", "asmnet")}
    assert counted["mnv2_kd"]["parameters"] == pytest.approx(2.398088) and counted["mnv2_kd"]["macs"] == pytest.approx(
        0.2997, rel=0.01
    )
    assert counted["asmnet"]["flops"] == pytest.approx(0.51, abs=0.01)  # the paper's number: two operations a multiply-add
    assert paper._counted(study, "mnv2_kd")["parameters"] < 1  # smoke has small networks
