"""Claims of all papers in one frame: p values and corrections by hand, chance that does not decide, stale and missing lines."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fa_lib import results, runs, verdicts
from fa_lib.papers import PAPERS
from fa_lib.results import Claim
from fa_lib.scores import Estimate

CODE = runs.code_hash(("metrics",))


def line(text: str, here: float, error: float = 1.0, faces: str = "rendered") -> dict:
    """A measured claim, expected to be lower, with a standard error."""
    low, high = here - 1.96 * error, here + 1.96 * error
    verdict = results.verdict(Estimate(here, low, high, ()), "lower")
    return {"claim": text, "here": here, "low": low, "high": high, "verdict": verdict, "faces": faces}


def test_p_is_that_of_the_normal_distribution():
    here, low, high = (pd.Series(values) for values in zip((1.96, 0, 3.92), (-5.15166, -9.07166, -1.23166), (0, -1.96, 1.96)))
    assert verdicts.two_sided(here, low, high).tolist() == pytest.approx([0.05, 0.01, 1], abs=1e-4)  # tables of z: 1.96 and 2.576


def test_rows_without_any_difference_are_no_evidence_and_no_interval_has_no_p():
    here, low, high = (pd.Series(values) for values in zip((0, 0, 0), (2, 2, 2), (1, np.nan, np.nan)))
    found = verdicts.two_sided(here, low, high)
    assert found[0] == 1 and found[1] == 0 and np.isnan(found[2])


def test_adjusted_is_benjamini_and_hochberg_by_hand():
    """4 p / rank: 4 x 0.01 / 1, 4 x 0.04 / 3 = 0.0533, 4 x 0.03 / 2 = 0.06 but no more than the next, 4 x 0.5 / 4."""
    z = [2.575829, 2.053749, 2.170090, 0.674490]
    found = verdicts.correct(pd.DataFrame([line(f"{i}", -value) for i, value in enumerate(z)]))
    assert found["p"].tolist() == pytest.approx([0.01, 0.04, 0.03, 0.5], abs=1e-5)
    assert found["adjusted"].tolist() == pytest.approx([0.04, 0.16 / 3, 0.16 / 3, 0.5], abs=1e-4)
    assert found["verdict"].tolist() == ["reproduced"] * 3 + ["undecided"]
    assert found["corrected"].tolist() == ["reproduced"] + ["undecided"] * 3


def test_rendered_faces_and_photographs_are_corrected_apart():
    strong = [line(f"{i}", -5.0) for i in range(3)]
    alone = verdicts.correct(pd.DataFrame([*strong, line("weak", 2.1)]))
    beside = verdicts.correct(pd.DataFrame([*strong, line("weak", 2.1), *(line(f"{i}", 0.1, faces="300w") for i in range(40))]))
    assert alone["adjusted"].tolist() == beside["adjusted"][:4].tolist()
    assert alone["corrected"].tolist() == ["reproduced"] * 3 + ["not reproduced"]
    together = verdicts.correct(beside.assign(faces="rendered"))
    assert together.loc[3, "corrected"] == "undecided"


def test_what_was_not_measured_is_no_member_of_the_family():
    measured = pd.DataFrame([line("a", -2.2), line("b", -2.3)])
    none = pd.DataFrame({"claim": ["c", "d"], "verdict": ["no such data", "not measured here"], "faces": "rendered"})
    found = verdicts.correct(pd.concat([measured, none], ignore_index=True))
    assert found["adjusted"][:2].tolist() == verdicts.correct(measured)["adjusted"].tolist()
    assert found[["p", "adjusted"]][2:].isna().all(axis=None)
    assert found["corrected"].tolist() == ["reproduced", "reproduced", "no such data", "not measured here"]


def test_chance_alone_decides_next_to_nothing_after_correction():
    """1,000 families of 50 claims without any effect: one claim in twenty is decided, after correction one family in twenty."""
    random = np.random.default_rng(0)
    here = random.normal(size=50_000)
    frame = pd.DataFrame({"here": here, "low": here - 1.96, "high": here + 1.96, "faces": np.repeat(np.arange(1000), 50)})
    frame["verdict"] = np.select([frame["high"] < 0, frame["low"] > 0], verdicts.VERDICTS[:2], "undecided")
    found = verdicts.correct(frame)
    false = {name: found[name] != "undecided" for name in ("verdict", "corrected")}
    assert false["verdict"].mean() == pytest.approx(0.05, abs=0.003)
    assert false["corrected"].mean() < 0.002 and 0.03 < false["corrected"].groupby(found["faces"]).any().mean() < 0.07


@given(st.lists(st.floats(-8, 8), min_size=1, max_size=12))
@settings(max_examples=50)
def test_correction_only_takes_verdicts_away(values: list[float]):
    found = verdicts.correct(pd.DataFrame([line(f"{i}", value) for i, value in enumerate(values)]))
    changed = found["verdict"] != found["corrected"]
    assert (found["adjusted"] >= found["p"] - 1e-12).all() and set(found["corrected"][changed]) <= {"undecided"}


CLAIMS = (
    Claim("One", "a", "b", "nme", "test", paper=-0.5),
    Claim("Two", "a", "b", "nme", "test", "higher", dataset="cofw", share=1.02),
    Claim("Three", "a", "b", "std", "test"),
)
PAPER = SimpleNamespace(SLUG="one", CLAIMS=CLAIMS)


def record(folder: Path, claims: tuple[Claim, ...] = CLAIMS, code: str = CODE, dataset: str = "synthetic/300w", **more) -> None:
    """A claims.csv as `fa reproduce` writes it."""
    lines = [
        {
            "claim": c.text, "comparison": results.comparison(c), "metric": c.metric, "split": c.split, "expected": c.direction,
            "paper": c.paper, "here": -3.0, "low": -4.0, "high": -2.0,
            "verdict": "reproduced" if c.direction == "lower" else "not reproduced",
            "dataset": "synthetic/cofw" if c.dataset else dataset, "code": f"{CODE} {code}", "files": "metrics metrics", **more,
        }
        for c in claims
    ]  # fmt: skip
    folder.mkdir(parents=True, exist_ok=True)
    pd.DataFrame(lines).to_csv(folder / "claims.csv", index=False)


def collected(figures: Path, paper: SimpleNamespace = PAPER) -> pd.DataFrame:
    return verdicts.collect("desk", papers=[paper], figures=figures).set_index(["faces", "claim"])


def test_claims_of_a_paper_are_collected(tmp_path: Path):
    record(tmp_path / "desk" / "one", title="rendered ones")
    found = collected(tmp_path).loc["rendered"]
    assert found["verdict"].tolist() == found["corrected"].tolist() == ["reproduced", "not reproduced", "reproduced"]
    assert found["adjusted"].max() < 1e-8 and set(found["state"]) == {"current"} and set(found["title"]) == {"rendered ones"}
    assert found["paper"].tolist()[:1] == [-0.5] and set(found["slug"]) == {"one"}


def test_paper_without_a_file_was_not_measured(tmp_path: Path):
    found = collected(tmp_path)
    assert found["verdict"].tolist() == found["corrected"].tolist() == ["not measured here"] * 6
    assert found["p"].isna().all() and set(found["state"]) == {""} and found.loc[("300w", "One"), "paper"] == -0.5


def test_line_of_other_code_is_stale(tmp_path: Path):
    record(tmp_path / "desk" / "one", code="0123456789ab")
    assert set(collected(tmp_path).loc["rendered", "state"]) == {"stale"}


def test_code_that_is_gone_is_stale_and_a_file_without_code_is_unknown(tmp_path: Path):
    record(tmp_path / "desk" / "one", files="metrics no_such_file")
    assert set(collected(tmp_path).loc["rendered", "state"]) == {"stale"}
    file = tmp_path / "desk" / "one" / "claims.csv"
    pd.read_csv(file).drop(columns=["code", "files"]).to_csv(file, index=False)
    assert set(collected(tmp_path).loc["rendered", "state"]) == {"unknown"}


def test_claim_that_is_another_one_now_was_not_measured(tmp_path: Path):
    record(tmp_path / "desk" / "one")
    changed = SimpleNamespace(
        SLUG="one", CLAIMS=(replace(CLAIMS[0], other="c"), *CLAIMS[1:2], Claim("New", "a", "b", "nme", "test"))
    )
    found = collected(tmp_path, changed).loc["rendered"]
    assert found["verdict"].to_dict() == {"One": "not measured here", "Two": "not reproduced", "New": "not measured here"}
    assert found.loc["One", "split"] == "test" and found.loc["One", "paper"] == -0.5


def test_rendered_faces_are_no_photographs(tmp_path: Path):
    record(tmp_path / "desk" / "one" / "300w", dataset="300w")
    found = collected(tmp_path).loc["300w"]
    assert found["verdict"].tolist() == ["reproduced", "no such data", "reproduced"] and np.isnan(found.loc["Two", "p"])


def test_own_faces_are_a_kind_of_their_own(tmp_path: Path):
    record(tmp_path / "desk" / "one" / "mine", claims=CLAIMS[:1], dataset="mine")
    found = collected(tmp_path)
    assert list(dict.fromkeys(found.index.get_level_values(0))) == ["rendered", "300w", "mine"]
    assert found.loc[("mine", "One"), "corrected"] == "reproduced"


def test_counts_are_of_every_verdict_before_and_after(tmp_path: Path):
    record(tmp_path / "desk" / "one")
    frame = verdicts.collect("desk", papers=[PAPER, SimpleNamespace(SLUG="other", CLAIMS=CLAIMS[:1])], figures=tmp_path)
    frame.loc[0, "corrected"] = "undecided"
    found = verdicts.counts(frame)
    assert found.index.tolist() == [("rendered", "one"), ("rendered", "other"), ("300w", "one"), ("300w", "other")]
    assert found.loc[("rendered", "one")].tolist() == [2, 1, 0, 0, 0, 1, 1, 1, 0, 0]
    assert found.loc[("300w", "other")].tolist() == [0, 0, 0, 0, 1] * 2 and found.to_numpy().sum() == 2 * len(frame)


def test_every_claim_of_every_paper_has_a_verdict():
    found = verdicts.collect()
    assert found["verdict"].isin(verdicts.VERDICTS).all() and found["corrected"].isin(verdicts.VERDICTS).all()
    for slug, paper in PAPERS.items():
        for faces in (verdicts.RENDERED, verdicts.PHOTOGRAPHS):
            lines = found.query("slug == @slug and faces == @faces")
            assert lines["claim"].tolist() == [claim.text for claim in paper.CLAIMS], (slug, faces)
    assert "unknown" not in set(found["state"])  # recorded files say which code they are of
    assert found.query("verdict in ['reproduced', 'not reproduced']")["p"].lt(0.2).all()
