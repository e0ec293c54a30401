"""From predictions to numbers: the same values as metrics.py, honest intervals, verdicts, tables with the papers' numbers."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import ClassVar

import numpy as np
import pandas as pd
import pytest
from torch import nn

from fa_lib import metrics, results, runs
from fa_lib.data import Faces, no_faces
from fa_lib.data.twice import Twice, nothing
from fa_lib.errors import InputError
from fa_lib.geometry import Affine
from fa_lib.papers import self_distillation
from fa_lib.results import Claim, Table, verdict
from fa_lib.scores import FIELDS, METRICS, OF_CLIP, Estimate, estimate, features


def random_faces(count: int, spread: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Predictions and targets (M, 68, 2); errors of some landmarks exceed 5 %, of some faces 10 % of the eye distance."""
    random = np.random.default_rng(seed)
    target = random.uniform(10, 50, (count, 68, 2))
    target[:, 36], target[:, 45] = (12, 20), (52, 20)
    target[:, 45, 1] += random.uniform(-10, 10, count)
    error = random.normal(size=target.shape) * spread * random.uniform(0.1, 3, (count, 1, 1))
    return target + error + [0.4, -0.2], target


def score(scores: np.ndarray, metric: str) -> float:
    return float(METRICS[metric](scores.sum(0)))


def test_pooled_sums_give_the_metrics():
    pred, target = random_faces(40, 1.2)
    lengths, scores = metrics.lengths(target), features(pred, target)
    expected = metrics.bias_std_nrmse(pred, target, lengths)
    errors = metrics.nme(pred, target, lengths)
    expected |= {"nme": errors.mean(), "fr": metrics.failure_rate(errors), "auc": metrics.auc(errors)}
    assert 0.05 < expected["fr"] < 0.95 and 0.1 < expected["kept"] < 0.95  # nothing is tested at its end of the scale
    assert {name: score(scores, name) for name in expected} == pytest.approx(expected, rel=1e-9)


def test_scale_is_one_for_the_truth_and_follows_the_face():
    _, target = random_faces(5, 1.0)
    smaller = 0.9 * target + 3
    assert score(features(target, target), "scale") == pytest.approx(1)
    assert score(features(smaller, target), "scale") == pytest.approx(0.9)


def test_jitter_is_that_of_the_metrics_for_clips_of_one_length():
    pred, target = random_faces(24, 1.0)
    clips = np.repeat(["a", "b", "c"], 8)
    expected = metrics.jitter_residual(*([part[clips == c] for c in "abc"] for part in (pred, target, metrics.lengths(target))))
    assert score(features(pred, target, clips), "jitter") == pytest.approx(expected)


def test_steps_from_clip_to_clip_do_not_count():
    target = np.repeat(random_faces(1, 1.0)[1], 6, axis=0)
    moved = target + np.repeat([0.0, 9.0], 3)[:, None, None]  # each clip has its own constant error
    assert score(features(moved, target, np.repeat(["a", "b"], 3)), "jitter") == pytest.approx(0, abs=1e-12)
    assert score(features(moved, target, np.repeat(["a"], 6)), "jitter") > 0.01


def test_nrmse_all_rejects_nothing():
    pred, target = random_faces(40, 1.2)
    expected = metrics.bias_std_nrmse(pred, target, metrics.lengths(target), reject=None)["nrmse"]
    assert score(features(pred, target), "nrmse_all") == pytest.approx(expected, rel=1e-12)
    assert expected > 1.5 * score(features(pred, target), "nrmse")


def some_clips() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Predictions, truth and names of the clips of 60 frames: c rests, d has a single frame."""
    names = np.repeat(["a", "b", "c", "d"], [30, 20, 9, 1])
    target = np.repeat(random_faces(1, 1.0)[1], 60, axis=0)
    target[:50] += 8 * np.sin(np.arange(50) / 4)[:, None, None]
    pred = target + np.random.default_rng(1).normal(0, 0.5, target.shape)
    pred[2:30] = pred[:28].copy()  # a is two frames late
    return pred, target, names


def test_scores_of_clips_are_those_of_the_metrics():
    """Means over clips, however long; a single frame is no clip, and one where nothing moves has no lag."""
    pred, target, names = some_clips()
    parts = [[array[names == name] for name in "abc"] for array in (pred, target, metrics.lengths(target))]
    found = features(pred, target, names)
    expected = {
        "mcv": metrics.mcv(parts[0]),
        "mav": metrics.mav(parts[0]),
        "spread": metrics.spread_residual(*parts),
        "lag": (metrics.lag(parts[0][0], parts[1][0]) + metrics.lag(parts[0][1], parts[1][1])) / 2,
    }
    assert expected["lag"] == pytest.approx(1, abs=0.1) and np.isnan(metrics.lag(parts[0][2], parts[1][2]))
    assert {name: score(found, name) for name in expected} == pytest.approx(expected, rel=1e-9)
    columns = [FIELDS.index(name) for name in OF_CLIP]
    assert np.flatnonzero(found[:, columns].any(1)).tolist() == [0, 30, 50]
    assert found[[0, 30, 50]][:, columns[-1]].tolist() == [1, 1, 0] and np.isfinite(found[:, columns]).all()


def test_mav_is_in_pixels_of_crops_of_256():
    pred, target, names = some_clips()
    one, four = (score(features(pred, target, names, size=size), "mav") for size in (256, 64))
    assert one == score(features(pred, target, names), "mav") and four == pytest.approx(16 * one)


def test_scores_of_clips_are_drawn_by_the_clip():
    """Every sample of clips is a mean of their values, and a clip without lag is never a late one."""
    pred, target, names = some_clips()
    scores = features(pred, target, names)[None]
    by_clip = [score(scores[0, names == name], "mcv") for name in "abc"]
    found = estimate(scores[:, :59], "mcv", names[:59])
    assert found.value == pytest.approx(np.mean(by_clip))
    assert min(by_clip) <= found.low < found.value < found.high <= max(by_clip)
    with np.errstate(invalid="ignore"):
        none = score(features(pred, target), "mcv"), score(features(pred[50:59], target[50:59], names[50:59]), "lag")
    assert np.isnan(none).all()


def test_inconsistency_is_the_distance_of_two_looks():
    pred, target = random_faces(6, 1.0)
    again = pred + [3.0, 4.0]
    expected = (5 / metrics.lengths(target)).mean()
    assert score(features(pred, target, again=again), "inconsistency") == pytest.approx(expected)


def some_scores(seeds: int = 3, faces: int = 60, spread: float = 1.5) -> np.ndarray:
    return np.stack([features(*random_faces(faces, spread, seed)) for seed in range(seeds)])


@pytest.mark.parametrize("metric", ["bias", "std", "nrmse", "kept", "nme", "fr", "auc", "scale"])
def test_interval_holds_the_value(metric: str):
    found = estimate(some_scores(), metric, np.arange(60))
    assert found.low < found.value < found.high
    assert found.value == pytest.approx(np.mean(found.per_seed)) and len(found.per_seed) == 3


def test_interval_is_as_wide_as_theory_says():
    """For a mean of independent faces with one seed: 2 x 1.96 standard errors."""
    scores = some_scores(seeds=1, faces=400)
    found = estimate(scores, "nme", np.arange(400))
    errors = scores[0, :, FIELDS.index("nme")]
    assert found.high - found.low == pytest.approx(2 * 1.96 * errors.std() / 20, rel=0.15)


def test_row_minus_itself_is_exactly_zero():
    scores = some_scores()
    assert estimate(scores, "std", np.arange(60), minus=scores) == Estimate(0, 0, 0, (0, 0, 0))


def test_differences_are_paired():
    """Faces differ much, the two rows little and always the same way: the interval of the difference must not notice."""
    scores = some_scores()
    better = scores.copy()
    better[..., FIELDS.index("nme")] *= 0.95
    found = estimate(better, "nme", np.arange(60), minus=scores)
    alone = estimate(scores, "nme", np.arange(60))
    assert found.high < 0 and found.high - found.low < 0.1 * (alone.high - alone.low)
    assert found.value == pytest.approx(-0.05 * alone.value)


def test_duplicates_of_a_photograph_are_drawn_together():
    """Every face four times over says nothing new; only a grouped bootstrap knows."""
    scores = some_scores(seeds=1)
    four = np.repeat(scores, 4, axis=1)
    once, grouped = estimate(scores, "nme", np.arange(60)), estimate(four, "nme", np.repeat(np.arange(60), 4))
    ungrouped = estimate(four, "nme", np.arange(240))
    assert grouped.value == pytest.approx(once.value)
    assert grouped.high - grouped.low == pytest.approx(once.high - once.low, rel=1e-6)
    assert ungrouped.high - ungrouped.low < 0.65 * (grouped.high - grouped.low)


def test_seeds_that_disagree_widen_the_interval():
    scores = np.repeat(some_scores(seeds=1), 3, axis=0)
    apart = scores.copy()
    apart[..., FIELDS.index("nme")] *= np.array([0.5, 1.0, 1.5])[:, None]
    same, other = (estimate(s, "nme", np.arange(60)) for s in (scores, apart))
    assert other.high - other.low > 2 * (same.high - same.low)


def test_names_of_groups_do_not_matter():
    scores = some_scores()
    letters = np.array([f"photo {i // 2}" for i in range(60)])
    assert estimate(scores, "nme", letters).value == pytest.approx(estimate(scores, "nme", np.arange(60) // 2).value)


def test_estimate_without_enough_faces_has_no_interval():
    one = estimate(some_scores(faces=4), "nme", ["a"] * 4)
    none = estimate(some_scores()[:, :0], "nme", [])
    assert np.isfinite(one.value) and np.isnan([one.low, one.high, none.value, none.low, none.high]).all()
    assert verdict(one, "lower") == verdict(none, "lower") == "undecided" and len(none.per_seed) == 3


def test_row_that_keeps_no_landmark_has_no_bias():
    pred, target = random_faces(10, 1.0)
    with np.errstate(invalid="ignore"):
        found = estimate(features(pred + 30, target)[None], "bias", np.arange(10))
    assert np.isnan([found.value, found.low]).all()


@pytest.mark.parametrize(
    ("low", "high", "direction", "expected"),
    [
        (-3, -1, "lower", "reproduced"),
        (-3, -1, "higher", "not reproduced"),
        (1, 3, "lower", "not reproduced"),
        (1, 3, "higher", "reproduced"),
        (-1, 3, "lower", "undecided"),
        (-3, 1, "higher", "undecided"),
        (0, 3, "higher", "undecided"),
        (0, 0, "lower", "undecided"),
        (np.nan, np.nan, "lower", "undecided"),
    ],
)
def test_verdict(low: float, high: float, direction: str, expected: str):
    assert verdict(Estimate((low + high) / 2, low, high, ()), direction) == expected


def test_printed_rows_are_all_there_and_fit_together():
    printed = results.published(self_distillation).pivot(index=["table", "label"], columns="metric", values="value")
    assert len(printed) == 15 and not printed.isna().any(axis=None)
    bad = []
    for place, row in printed.iterrows():
        step = [10.0 ** -len(f"{row[m]:g}".partition(".")[2]) / 2 for m in ("bias", "std", "nrmse")]
        low = np.hypot(row["bias"] - step[0], row["std"] - 0.05) - 0.05
        high = np.hypot(row["bias"] + step[0], row["std"] + 0.05) + 0.05
        bad += [] if low <= row["nrmse"] <= high else [place]
    assert bad == [(1, "SAN")]  # a misprint in the paper


@dataclass(frozen=True)
class Guess:
    """A row that finds its landmarks by adding noise to the truth."""

    spread: float
    look: Callable = field(compare=False)
    faces: int = 30
    code: ClassVar[tuple[str, ...]] = ("metrics",)

    def build(self) -> nn.Module:
        return nn.Linear(1, 1)

    def train(self, run: runs.Run, folder: Path) -> tuple[nn.Module, pd.DataFrame, dict[str, np.ndarray]]:
        random, faces = np.random.default_rng(run.seed), self.look()
        looks = [faces.crops()[1] + random.normal(size=faces.landmarks.shape) * self.spread for _ in range(2)]
        found = {"test": looks[0], "video": looks[0], "twice_first": looks[0], "twice_second": looks[1]}
        return self.build(), pd.DataFrame({"epoch": [0], "seconds": [36.0], "total": [1.0]}), found


@pytest.fixture
def study(store: Path, by_hand: Callable) -> results.Study:
    """A paper of three rows that differ in precision, on 30 faces of 15 photographs."""
    faces: Faces = by_hand(random_faces(30, 1.0)[1], group=[f"photo {i // 2}" for i in range(30)])
    labels, annotators = faces.crops()[1], np.random.default_rng(9).normal(size=(30, 68, 2))
    pairs = Twice(faces.crops()[0], faces.crops()[0], labels, labels + annotators, Affine.identity(30), faces.group)
    source = SimpleNamespace(
        test=lambda: faces, video=lambda: faces, twice=lambda: pairs, dataset="synthetic/300w", size=64, root=None, faces=30
    )
    spread = {"plain": 1.0, "better": 0.5, "same": 1.0}
    claims = (
        Claim("Better lowers the std", "better", "plain", "std", "test", paper=-5.1),
        Claim("Plain is better", "plain", "better", "nme", "test"),
        Claim("A row beats itself", "same", "same", "nme", "common"),
        Claim("Outputs agree more than labels", "better", "labels", "inconsistency", "twice"),
    )
    paper = SimpleNamespace(
        SLUG="self_distillation",
        ROWS=tuple(spread),
        source=lambda profile, root: source,
        run=lambda row, profile, seed, _: runs.Run(
            "guess", row, "synthetic/300w", profile, seed, Guess(spread[row], source.test)
        ),
        TABLES=(Table(1, "A table", {"SAN": None, "ResNet18": "plain", "FAN2HG": "better"}, ("bias", "std"), "test", 1000),),
        CLAIMS=claims,
    )
    Path(store).mkdir()
    return results.Study(paper, "smoke")


def test_table_shows_paper_and_this_run(study: results.Study):
    table = results.table(study, 1)
    assert list(table.index) == ["SAN", "ResNet18", "FAN2HG"]
    assert table.loc["SAN", ("bias", "paper")] == "0.87" and table.loc["SAN", ("bias", "this run")] == "–"
    assert table.loc["ResNet18", ("std", "paper")] == "25.4"
    value, low, high = (float(v.strip("[],")) for v in table.loc["FAN2HG", ("std", "this run")].split())
    found = study.estimate("better", "std")
    assert [value, low, high] == pytest.approx([1000 * found.value, 1000 * found.low, 1000 * found.high], rel=0.01)


def test_tidy_table_has_units_and_provenance(study: results.Study):
    tidy = results.measure(study, study.paper.TABLES[0])
    assert list(tidy["label"].unique()) == ["ResNet18", "FAN2HG"]
    assert list(tidy["metric"].unique()) == ["bias", "std", "kept", "nme"]
    line = tidy.set_index(["label", "metric"]).loc[("ResNet18", "nme")]
    expected = np.mean(
        [
            100 * metrics.nme(t.predictions["test"], study.test.crops()[1], metrics.lengths(study.test.landmarks)).mean()
            for t in study.trained("plain")
        ]
    )
    assert line["value"] == pytest.approx(expected, rel=1e-6)  # per cent
    assert line["seeds"] == 2 and line["hours"] == 0.02 and line["code"] == runs.code_hash(("metrics",))


def test_stale_number_says_so(study: results.Study):
    frame = results.measure(study, study.paper.TABLES[0]).set_index(["label", "split", "metric"])
    current, at = runs.code_hash(("metrics",)), ("ResNet18", "test", "std")
    assert "stale" not in results._cell(frame, at, current)
    assert results._cell(frame, at, "of other code").endswith("(stale)")
    assert results._cell(None, at) == results._cell(frame, ("SAN", "test", "std")) == "–"


def test_table_of_several_test_sets_has_a_column_for_each(study: results.Study):
    splits = ("common", "challenging", "test")
    study.paper.TABLES = (Table(1, "Parts", {"SAN": None, "FAN2HG": "better"}, ("nme", "fr"), splits, extra=()),)
    table = results.table(study, 1)
    assert list(table.columns) == list(splits) and list(table.index.get_level_values(0).unique()) == ["nme", "fr"]
    assert ("nme", "SAN", "this run") not in table.index  # not trained here
    tidy = results.measure(study, study.paper.TABLES[0]).set_index(["label", "split", "metric"])["value"]
    parts = [100 * study.estimate("better", "nme", split).value for split in splits]
    assert [tidy["FAN2HG", split, "nme"] for split in splits] == pytest.approx(parts)
    shown = [float(table.loc[("nme", "FAN2HG", "this run"), split].split()[0]) for split in splits]
    assert shown == pytest.approx(parts, rel=0.01) and np.mean(shown[:2]) == pytest.approx(shown[2], rel=0.02)


def test_errors_over_the_distance_of_the_pupils(study: results.Study):
    faces, pred = study.test, study.trained("plain")[0].predictions["test"]
    target = faces.crops()[1]
    expected = metrics.nme(pred, target, metrics.lengths(target, "inter_pupil")).mean()
    assert study.estimate("plain", "nme_pupil").per_seed[0] == pytest.approx(expected, rel=1e-6)
    assert expected > study.estimate("plain", "nme").per_seed[0]  # pupils are nearer to each other than the outer corners


def test_what_networks_cost_needs_no_run(study: results.Study):
    costs = {"plain": 2.0, "better": 0.5}
    table = Table(3, "Sizes", {"A": "plain", "B": "better"}, ("mb",), "size", extra=(), costs=lambda _, row: {"mb": costs[row]})
    study.paper.TABLES, study.trained = (table,), None
    assert list(results.table(study, 3)["mb", "this run"]) == ["2", "0.5"]


def test_claim_may_compare_a_difference_on_two_parts(study: results.Study):
    here, there = (study.estimate("better", "nme", split, minus="plain") for split in ("challenging", "common"))
    claim = Claim("Most on hard faces", "better", "plain", "nme", "challenging", than=(None, "common"))
    study.paper.CLAIMS = (claim,)
    line = results.claims(study).iloc[0]
    assert line["here"] == pytest.approx(100 * (here.value - there.value)) and line["split"] == "challenging - common"
    assert line["low"] < line["here"] < line["high"]
    # samples are independent: the variances add
    spread = [np.var(one.resampled) for one in (here, there)]
    assert (line["high"] - line["low"]) / 3.92 == pytest.approx(100 * np.sqrt(sum(spread)), rel=0.15)
    study.paper.CLAIMS = (replace(claim, than=(None, "challenging")),)
    assert results.claims(study).loc[0, "verdict"] == "undecided"


def test_study_goes_from_one_data_set_to_another(study: results.Study):
    elsewhere = Claim("Also there", "better", "plain", "nme", "test", dataset="other")
    study.paper.CLAIMS, first = (elsewhere,), study.paper.source
    study.paper.source = lambda profile, root, dataset="first": SimpleNamespace(**{**vars(first(profile, root)), "name": dataset})
    found = study.on("other")
    assert found.source.name == "other" and found.seeds == study.seeds and found.profile == study.profile
    assert found.on(None) is study and study.on("other") is found and study.all() == [study, found]
    assert study.rows == study.paper.ROWS and found.rows == ("plain", "better") and found.shown == ()


def test_claims_get_their_verdicts(study: results.Study):
    found = results.claims(study)
    assert list(found["verdict"]) == ["reproduced", "not reproduced", "undecided", "reproduced"]
    assert found.loc[0, "here"] < 0 and found.loc[0, "paper"] == -5.1
    assert found.loc[2, ["here", "low", "high"]].tolist() == [0, 0, 0]


def test_claims_say_where_they_come_from(study: results.Study):
    """One line a claim, with all that is needed to see later that its code has changed; annotators were not trained."""
    found = results.claims(study)
    assert list(found.columns[:10]) == "claim comparison metric split expected paper here low high verdict".split()
    trained = {row: study.trained(row) for row in study.paper.ROWS}
    first, last = found.iloc[0], found.iloc[-1]
    assert first["files"] == "metrics" and first["code"] == runs.code_hash(("metrics",)) == last["code"]
    assert first["runs"].split() == [t.run.hash for row in ("better", "plain") for t in trained[row]]
    assert last["runs"].split() == [t.run.hash for t in trained["better"]] and last["comparison"] == "better - labels"
    known = {"dataset": "synthetic/300w", "title": "made by hand", "profile": "smoke", "size": 64, "seeds": 2}
    assert first[list(known)].to_dict() == known and first["device"] == trained["plain"][0].provenance["device"]


def test_claims_on_rows_of_different_code_name_both(study: results.Study):
    file = study.trained("better")[1].folder / "provenance.json"
    told = {**json.loads(file.read_text()), "code": "0123456789ab", "files": ["metrics", "scores"], "device": "a GPU"}
    file.write_text(json.dumps(told))
    first, second = results.claims(study).iloc[:2].to_dict("records")
    current = runs.code_hash(("metrics",))
    assert first["code"] == f"{current} 0123456789ab" and first["files"] == "metrics metrics,scores"
    assert second["code"] == first["code"] and first["device"].endswith("; a GPU")


def test_splits_are_parts_of_the_test_set(study: results.Study):
    every, common, hard = (study.scores("plain", split) for split in ("test", "common", "challenging"))
    assert every.shape == (2, 30, len(FIELDS)) and common.shape[1] == hard.shape[1] == 15
    assert np.allclose(common.sum(1) + hard.sum(1), every.sum(1))
    assert len(study.groups("common")) == 15 and len(study.groups("twice")) == 30


def test_scenarios_are_parts_of_the_clips(study: results.Study):
    """Fifteen clips of two frames, half of them in the first scenario, half in the third; crops of 64 pixels."""
    clips = study.video
    study.video = replace(clips, subset=np.repeat(np.array(["scenario 1", "scenario 3"]), [16, 14]))
    assert [study.has(f"scenario {i}") for i in (1, 2, 3)] == [True, False, True]
    assert len(study.groups("scenario 3")) == 14 and len(set(study.groups("scenario 3"))) == 7
    pred = [t.predictions["video"][16:] for t in study.trained("plain")]
    expected = [16 * metrics.mav(list(p.reshape(7, 2, 68, 2))) for p in pred]
    assert study.estimate("plain", "mav", "scenario 3").per_seed == pytest.approx(expected, rel=1e-6)
    every, first, third = (study.scores("plain", split).sum(1) for split in ("video", "scenario 1", "scenario 3"))
    at = FIELDS.index("clips")
    assert every[0, at] == 15 and first[0, at] == 8 and np.allclose(first[:, :13] + third[:, :13], every[:, :13])
    assert np.isnan(study.estimate("plain", "mcv", "scenario 2").value) and "(scenario 2)" in study.about("video", "scenario 2")


def test_smoke_results_are_watermarked(study: results.Study):
    said = study.about("common")
    assert (
        "SMOKE RUN" in said
        and "learned from 30 faces" in said
        and "common: 15 faces" in said
        and "2 seeds" in said
        and "64 px" in said
    )


@pytest.mark.parametrize(
    ("ask", "complaint"),
    [
        (lambda study: results.table(study, 9), "has no table 9"),
        (lambda study: results.Study(study.paper, "smokey"), "there is no profile 'smokey'"),
    ],
)
def test_wrong_questions_are_refused(study: results.Study, ask: Callable, complaint: str):
    with pytest.raises(InputError, match=complaint):
        ask(study)


def test_real_and_rendered_results_lie_apart():
    assert results.folder(self_distillation, "desk", "synthetic/300w") == "desk/self_distillation"
    assert results.folder(self_distillation, "desk", "300w") == "desk/self_distillation/300w"


@pytest.fixture
def bare(study: results.Study, by_hand: Callable) -> results.Study:
    """The same paper on a data set without clips and without faces that were labelled twice."""
    study.source.video = lambda: no_faces(64, study.test.scheme, "mine has no clips")
    study.source.twice = lambda: nothing(64, 68)
    claims = (Claim("Steadier on video", "better", "plain", "std", "video"), *study.paper.CLAIMS)
    tables = (Table(2, "On video", {"SAN": None, "FAN2HG": "better"}, ("bias",), "video", 1000), *study.paper.TABLES)
    study.paper.CLAIMS, study.paper.TABLES = claims, tables
    for row in study.paper.ROWS:  # what such a study predicts: nothing where there is nothing
        for trained in study.trained(row):
            found = {key: value if key == "test" else value[:0] for key, value in trained.predictions.items()}
            np.savez(trained.folder / "predictions.npz", **found)
    return study


def test_what_a_set_has_not_got_is_called_so_and_the_rest_is_measured(bare: results.Study):
    found = results.claims(bare)
    assert list(found["verdict"]) == ["no such data", "reproduced", "not reproduced", "undecided", "no such data"]
    table = results.table(bare, 2)
    assert table.loc["FAN2HG", ("bias", "this run")] == "no such data" and table.loc["SAN", ("bias", "this run")] == "–"
    assert "no such data" not in results.table(bare, 1).to_string()
    assert bare.about("video") == "mine has no clips: no such data (video)." and "inter-ocular distance" in bare.about("test")
    assert bare.has("test") and not bare.has("video") and not bare.has("twice")
    assert results.measure(bare, bare.paper.TABLES[0])["value"].isna().all()


def test_errors_are_divided_by_the_normaliser_of_the_faces(study: results.Study):
    """The faces' own lengths, twice the distance of the eyes, halve every error; tables and captions say what was used."""
    plain = study.estimate("plain", "nme").value
    faces = study.test
    box = replace(faces, length=(2 * faces.lengths()).astype(np.float32), scheme=replace(faces.scheme, normaliser="box"))
    study.source.test = lambda: box
    other = results.Study(study.paper, "smoke")
    assert other.estimate("plain", "nme").value == pytest.approx(plain / 2, rel=1e-5)
    assert "size of the face box" in other.about("test")
    assert set(results.measure(other, other.paper.TABLES[0])["normaliser"]) == {"box"}


def test_unknown_split_is_refused(study: results.Study):
    with pytest.raises(InputError, match="has no part 'comon'; its parts are common, challenging"):
        study.estimate("plain", "nme", "comon")
