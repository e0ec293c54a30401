"""The scoreboard: all rows learn alike and equally long, what teaches itself starts where it was, and all are measured alike."""

import dataclasses

import numpy as np
import pytest
import torch

from fa_lib import results, runs, storage
from fa_lib.data import Augment
from fa_lib.errors import InputError
from fa_lib.papers import scoreboard, self_distillation
from fa_lib.papers import scoreboard_training as stages
from fa_lib.papers.jitter_loss_training import Decoder, FineTune
from fa_lib.papers.kd_loss_training import Stage as Mobile
from fa_lib.papers.scaf_training import FineTune as FewLabels
from fa_lib.papers.sd_hrnet_training import Distilled, Search, Slim
from fa_lib.papers.self_distillation_training import Stage
from fa_lib.training import Plan

FACES = {"quick": 120, "desk": 2000, "full": 3148, "paper": 3148}  # of the profiles' sources
STARTS = ("of", "slim", "search", "backbone")  # what a run goes on from, by the name of its field; others teach
MOBILE = (("width", 0.35), ("stride", 16))


def source(faces: int) -> stages.Source:
    return stages.Source("synthetic/300w", 64, None, None, 1, 12, faces=faces, fingerprint="0")


def started_from(run: runs.Run) -> list[runs.Run]:
    """A run and those whose weights it goes on from, without teachers."""
    on = [getattr(run.config, name) for name in STARTS if hasattr(run.config, name)]
    return [run, *(one for start in on for one in started_from(start))]


def updates(run: runs.Run) -> int:
    """Steps of an optimiser in a run of its own; a ConvLSTM's are on clips and stand apart."""
    config = run.config
    if isinstance(config, stages.Measured | FineTune) or (isinstance(config, Slim) and config.plan is None):
        return 0
    if isinstance(config, FewLabels):
        return round(config.seen / config.faces) * (config.faces // config.batch)
    return config.plan.epochs * (config.faces // config.plan.batch_size) * (2 if isinstance(config, Search) else 1)


@pytest.mark.parametrize(
    ("profile", "budget", "rounding"), [("quick", 40, 0), ("desk", 664, 0), ("full", 9956, 2), ("paper", 65_500, 2)]
)
def test_all_rows_share_one_budget_of_updates(profile: str, budget: int, rounding: int):
    faces = FACES[profile]
    for row in scoreboard.ROWS:
        found = sum(map(updates, started_from(scoreboard.run(row, profile, 0, source(faces)))))
        assert abs(found - budget) <= rounding * (faces // scoreboard.BATCH), row  # whole epochs, in a half and in a quarter


@pytest.mark.parametrize("profile", FACES)
def test_all_rows_see_the_same_faces_through_the_same_augmentation(profile: str):
    for row in scoreboard.ROWS:
        for run in started_from(scoreboard.run(row, profile, 0, source(FACES[profile]))):
            assert run.config.source == source(FACES[profile])
            if isinstance(run.config, Stage | stages.SelfTaught):
                assert Augment(flip=0.5, scale=run.config.scale) == scoreboard.AUGMENT
            elif not isinstance(run.config, stages.Measured | FineTune | Slim | Distilled):
                assert run.config.augment == scoreboard.AUGMENT
        assert run.seed == 0  # the first of all


def test_runs_before_are_listed_once():
    there = source(300)
    names = {row: [one.row for one in runs.needed(scoreboard.run(row, "quick", 0, there))] for row in scoreboard.ROWS}
    assert all(len(set(some)) == len(some) for some in names.values()) and names["fan2"] == ["net-fan2-1", "fan2"]
    assert sorted(names["sd"]) == ["net-cut", "net-hrnet", "net-sd-0.5", "net-search", "sd"]
    assert sorted(names["mnv2-kd-self"]) == [
        "mnv2-kd-self", "net-efficientnet_b3-0.5", "net-efficientnet_b3-self", "net-efficientnet_b3-soft-1",
        "net-mobilenet_v2-kd-self-1",
    ]  # fmt: skip
    assert sorted(names["scaf"]) == ["autoencoder", "net-scaf", "scaf"]
    cut, slim = (scoreboard.run(row, "quick", 0, there).config.of for row in ("sd", "slim"))
    twice = dataclasses.replace(cut, config=dataclasses.replace(cut.config, teacher=slim))  # both begin with one search
    assert sorted(one.row for one in runs.needed(twice)) == ["net-cut", "net-sd-0.5", "net-search", "net-slim-0.5"]


def test_unknown_row_is_refused_with_those_there_are():
    with pytest.raises(InputError, match="scoreboard has no row 'mnv2-selv', did you mean 'mnv2-self'"):
        scoreboard.run("mnv2-selv", "quick", 0, source(300))


def test_tables_chains_and_claims_name_the_rows_there_are():
    assert sorted(row for chain in scoreboard.chains() for row in chain) == sorted(scoreboard.ROWS)
    for table in scoreboard.TABLES:
        assert sorted(table.rows.values()) == sorted(scoreboard.ROWS)
    assert {row for claim in scoreboard.CLAIMS for row in (claim.ours, claim.other)} <= set(scoreboard.ROWS)
    assert results.published(scoreboard).empty
    files = {name for config in (stages.Measured, stages.SelfTaught) for name in config.code}
    assert all((storage.PROJECT / "fa_lib" / f"{name}.py").exists() for name in files)


@pytest.fixture(scope="module")
def tiny(stores) -> stages.Source:
    unseen = stages.Source("synthetic/300w", 64, 12, 6, 1, 4, faces=0, fingerprint="")
    return dataclasses.replace(unseen, faces=12, fingerprint=unseen.train().fingerprint)


def test_budgets_are_counted_as_training_counts_them(tiny: stages.Source, monkeypatch: pytest.MonkeyPatch):
    steps, whole = [], torch.optim.AdamW.step
    monkeypatch.setattr(torch.optim.AdamW, "step", lambda self, *given, **more: (steps.append(1), whole(self, *given, **more))[1])
    run = scoreboard.run("mnv2-self", "smoke", 0, tiny)
    runs.get(run)
    assert len(steps) == sum(map(updates, started_from(run))) == 2


def run(row: str, config: object) -> runs.Run:
    return runs.Run("scoreboard", row, "synthetic/300w", "smoke", 0, config)


@pytest.fixture(scope="module")
def mobile(tiny: stages.Source) -> runs.Run:
    return run("net-mobile", Mobile("mobilenet_v2", MOBILE, tiny, Plan(1, 6, 1e-3), scoreboard.AUGMENT))


@pytest.fixture(scope="module")
def fan(tiny: stages.Source) -> runs.Run:
    options = self_distillation.SETTINGS["smoke"].options["fan2"]
    return run("net-fan", Stage("fan2", options, tiny, Plan(1, 6, 1e-3), scoreboard.SCALE))


@pytest.mark.parametrize("rate", [0.0, 1e-3])
def test_what_teaches_itself_starts_where_it_was_and_leaves_its_teacher(
    mobile: runs.Run, tiny: stages.Source, rate: float, monkeypatch: pytest.MonkeyPatch
):
    kept, made = runs.get(mobile).network().state_dict(), []
    frozen = stages.models.freeze
    monkeypatch.setattr(stages.models, "freeze", lambda net: (made.append(net), frozen(net))[1])
    taught = stages.SelfTaught(mobile, tiny, Plan(1, 6, rate), scoreboard.SCALE)
    net, log, found = taught.train(run("net-self", taught), storage.runs_folder())
    moved = [name for name, value in net.named_parameters() if not torch.equal(value.cpu(), kept[name])]
    assert bool(moved) == bool(rate) and all(value.requires_grad for value in net.parameters())
    (teacher,) = made
    assert all(torch.equal(value.cpu(), kept[name]) for name, value in teacher.state_dict().items())
    assert {"total", "elt", "sct"} <= set(log) and found["test"].shape == (6, 68, 2)


@pytest.mark.parametrize(("name", "decoder"), [("mobile", None), ("fan", Decoder("centroid"))])
def test_what_is_measured_is_what_the_run_itself_finds(
    name: str, decoder: Decoder | None, tiny: stages.Source, request: pytest.FixtureRequest
):
    of = request.getfixturevalue(name)
    found = runs.get(run(name, stages.Measured(of, tiny, decoder)))
    own = runs.get(of).predictions
    assert np.abs(found.predictions["test"] - own["test"]).max() < 1e-3
    shapes = {name: value.shape for name, value in found.predictions.items()}
    assert shapes == {**dict.fromkeys(("test", "blurred", "shifted", "masked"), (6, 68, 2)), "video": (12, 68, 2)}
    if name == "fan":  # its run has the same clips; a network of pictures sees each frame alone
        assert np.abs(found.predictions["video"] - own["video"]).max() < 1e-3
    before, after = (runs.get(one).network().state_dict() for one in (of, found.run))
    assert all(torch.equal(before[key], after[key]) for key in before)


def test_blur_spreads_a_point_by_a_gaussian_of_a_64th_of_the_side():
    crops = np.zeros((2, 128, 128, 3), np.uint8)
    crops[0, 64, 60] = 255
    found = stages.blurred(crops)
    y, x = np.mgrid[:128, :128]
    expected = 255 / (2 * np.pi * 2**2) * np.exp(-((x - 60) ** 2 + (y - 64) ** 2) / (2 * 2**2))  # 128 / 64 pixels
    assert found.dtype == np.uint8 and np.abs(found[0].astype(float) - expected[..., None]).max() < 1
    assert found[0].any() and not found[1].any() and crops[0].sum() == 3 * 255
