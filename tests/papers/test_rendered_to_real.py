"""From rendered faces to photographs: its rows learn from what they say, and are tested on the same faces."""

import numpy as np
import pytest
import torch

from fa_lib import metrics, results, runs
from fa_lib.data import Batch
from fa_lib.errors import InputError
from fa_lib.papers import rendered_to_real as paper
from fa_lib.papers import rendered_to_real_figures as figures
from fa_lib.papers import rendered_to_real_training as training


@pytest.fixture(scope="module")
def study(stores) -> results.Study:
    return results.Study(paper, "smoke", seeds=1)


def test_rows_learn_from_what_they_say(study: results.Study):
    learned = {row: study.run(row, 0).config for row in paper.ROWS}
    assert {row for row, one in learned.items() if one.dataset == "synthetic/wild"} == {
        row for row in paper.ROWS if "wild" in row
    }
    own = learned["fan2-own"]
    assert own.dataset == study.source.dataset and own.fingerprint == study.source.train().fingerprint
    few, many = paper.SETTINGS["smoke"].faces
    assert learned["fan2-wild-few"].faces == few and learned["fan2-wild"].faces == many == learned["mobilenet_v2-wild"].faces
    assert len({study.run(row, 0).hash for row in paper.ROWS}) == len(paper.ROWS)


def test_no_row_learns_from_a_face_it_is_tested_on(study: results.Study):
    tested = {picture.tobytes() for picture in study.test.images}
    for row in paper.ROWS:
        assert not tested & {picture.tobytes() for picture in study.run(row, 0).config.learned_from().images}


def test_unknown_row_is_refused(study: results.Study):
    with pytest.raises(InputError, match="'fan2-wilde'"):
        study.run("fan2-wilde", 0)


def test_own_faces_of_another_scheme_are_refused():
    with pytest.raises(InputError, match="68 points"):
        paper.source("smoke", "mine.yaml")


@pytest.mark.parametrize("profile", runs.PROFILES)
def test_every_profile_has_its_settings(profile: str):
    few, many = paper.SETTINGS[profile].faces
    assert few <= many and min(paper.SETTINGS[profile].seen) >= few


def test_loss_is_zero_for_a_coordinate_net_that_knows_the_answer():
    truth = torch.rand(2, 68, 2) * 64
    batch = Batch(torch.rand(2, 3, 64, 64), truth, torch.arange(2))
    assert training.step(lambda _: truth, batch)["total"] == 0  # what it returns does not depend on the picture
    off = training.step(lambda _: truth + torch.tensor([3.0, 4.0]), batch)  # 5 px of 64 are 20 of 256
    assert off["total"].item() == pytest.approx(400, rel=1e-5)


def test_table_and_claims_speak_of_rows_that_exist():
    assert set(paper.TABLES[0].rows.values()) == set(paper.ROWS)
    assert {row for claim in paper.CLAIMS for row in (claim.ours, claim.other)} <= set(paper.ROWS)


def test_table_has_no_column_of_a_paper_that_there_is_not(study: results.Study):
    table = results.table(study, 1)
    assert list(table.index) == list(paper.TABLES[0].rows) and not any(source == "paper" for _, source in table.columns)


def test_figure_is_drawn_anew_from_its_csv(study: results.Study, same_from_file):
    same_from_file(figures.figure1, study)


def test_figure_shows_every_row_and_the_mean_shape(study: results.Study):
    figure, frame = figures.figure1(study)
    rows = frame[frame["panel"] == "rows"].set_index("label")
    for label, row in paper.TABLES[0].rows.items():
        assert rows.loc[label, "nme"] == pytest.approx(100 * study.estimate(row, "nme").value)
    _, target = study.test.crops()
    guess = study.source.train().crops()[1].mean(0)
    by_hand = np.mean([metrics.nme(guess[None], one[None], metrics.lengths(one[None]))[0] for one in target])
    assert frame.set_index("label").loc["mean shape", "nme"] == pytest.approx(100 * by_hand)
    assert not any(axes.images for axes in figure.axes)
