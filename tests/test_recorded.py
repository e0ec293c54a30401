"""`fa reproduce --from-recorded`: recorded results are drawn anew from their CSVs as committed; wrong files are refused."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from fa_lib import plots, recorded, results, runs, storage
from fa_lib.__main__ import main
from fa_lib.papers import PAPERS

ROOT = Path(__file__).resolve().parents[1]
STEADY = Path("figures/desk/jitter_loss")


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of what is recorded, with the sources that stale marks ask for."""
    for name in ("figures/desk", "figures/published", "fa_lib"):
        shutil.copytree(ROOT / name, tmp_path / name)
    shutil.copy(ROOT / "figures" / "equal_code.csv", tmp_path / "figures")
    monkeypatch.setattr(storage, "PROJECT", tmp_path)
    return tmp_path


def contents(root: Path) -> dict[str, bytes]:
    return {str(file.relative_to(root)): file.read_bytes() for file in (root / "figures" / "desk").rglob("*.*")}


NUMBER = re.compile(rb"-?\d+\.\d+")


def same(one: bytes, other: bytes) -> bool:
    """Whether two files are the same but for last digits of numbers, which another processor may round otherwise."""
    if NUMBER.split(one) != NUMBER.split(other):
        return one == other
    return np.allclose(*(np.array(NUMBER.findall(text), float) for text in (one, other)), rtol=0, atol=0.02)


def test_same_sees_a_moved_point_and_another_word():
    assert same(b"<a x='1.234567'/>", b"<a x='1.234568'/>")
    assert not same(b"<a x='1.2'/>", b"<a x='1.3'/>") and not same(b"<a x='1.2'/>", b"<b x='1.2'/>")


def test_what_is_committed_is_what_the_files_say_and_nothing_else_is_written(project: Path, capsys: pytest.CaptureFixture):
    tracked = subprocess.run(["git", "ls-files", "figures/desk"], cwd=ROOT, check=True, capture_output=True, text=True)
    before = contents(project)
    drawn = [name for name in before if name.endswith("svg") and not name.endswith("jitter_loss/fig07.svg")]
    for name in drawn:
        (project / name).write_bytes(b"")
    recorded.redraw([])
    after = contents(project)
    assert set(after) == set(before) == set(tracked.stdout.split())
    assert not [name for name in before if not same(before[name], after[name])]
    said = capsys.readouterr().out
    tables = [name for name in before if "/tab" in name]
    assert len(tables) == said.count("\ntable ") and len(drawn) == said.count(".svg") + sum(
        "claims.svg" in name for name in drawn
    )
    assert said.count("not drawn") == sum(f"fig{n}.csv" in name for name in before for n in (11, 12, 14)) + 1
    assert "fig07: not drawn, since it was recorded before" in said


def test_the_command_leaves_a_clean_tree_and_needs_no_run(tmp_path: Path):
    surroundings = {
        **os.environ,
        "FA_RUNS": str(tmp_path / "runs"),
        "FA_CACHE": str(tmp_path / "cache"),
        "CUDA_VISIBLE_DEVICES": "",
    }
    before = contents(ROOT)
    command = [sys.executable, "-m", "fa_lib", "reproduce", "--from-recorded", "rendered_to_real"]
    done = subprocess.run(command, cwd=ROOT, env=surroundings, capture_output=True, text=True)
    assert done.returncode == 0 and "6.27 [5.98, 6.58]" in done.stdout, done.stderr
    after = contents(ROOT)
    for name in before:
        if after[name] != before[name]:  # on another processor than the recorded files'
            (ROOT / name).write_bytes(before[name])
    assert set(after) == set(before) and all(same(before[name], after[name]) for name in before)
    assert not (tmp_path / "runs").exists() and not (tmp_path / "cache").exists()


def test_an_edited_number_changes_the_figure(project: Path):
    file = project / STEADY / "fig06.csv"
    recorded.redraw(["jitter_loss"])
    before = contents(project)
    recorded.redraw(["jitter_loss"])
    assert contents(project) == before, "drawn twice, another picture"
    file.write_text(file.read_text().replace("lab,nme,13.3305", "lab,nme,13.9305"))
    before |= {str(file.relative_to(project)): file.read_bytes()}
    recorded.redraw(["jitter_loss"])
    after = contents(project)
    assert [name for name in before if after[name] != before[name]] == [str(STEADY / "fig06.svg")]


def test_recorded_numbers_stand_beside_the_papers_and_say_where_they_come_from(project: Path, capsys: pytest.CaptureFixture):
    recorded.redraw(["self_distillation"])
    said = capsys.readouterr().out
    line = next(line for line in said.splitlines() if line.startswith("FAN2HG + loss + SD"))
    assert line.split()[5:10] == ["4", "4.37", "[2.88,", "5.84]", "18.7"]
    assert (
        "300-W, partial: 2,012 of 3,148 training faces; test: LFPW half of common; split: test; normaliser: inter_ocular; "
        "box: landmarks x 1.4; profile: desk; size: 96; seeds: 3; device: CPU, 1 threads"
    ) in said
    assert "stale" not in said


def test_numbers_of_other_code_are_marked(project: Path, capsys: pytest.CaptureFixture):
    file = project / "fa_lib" / "papers" / "jitter_loss_registration.py"
    file.write_text(file.read_text() + "\nCHANGED = True\n")
    runs.code_hash.cache_clear()
    recorded.redraw(["jitter_loss"])
    runs.code_hash.cache_clear()
    said = capsys.readouterr().out
    assert "(stale)" in said and "stale: Fine-tuning CPM+SBR lowers the NME on 300-W" in said
    assert "stale: Fine-tuning AWing lowers the NME on 300-W" not in said


def test_what_is_unknown_is_taken_for_current():
    found = pd.read_csv(ROOT / "figures/desk/self_distillation/300w/tab01.csv")
    shown = [
        results.recorded_table(PAPERS["self_distillation"], 1, found, codes).to_string()
        for codes in ({}, {"4815abaff332": "new"})
    ]
    assert ["(stale)" in text for text in shown] == [False, True]


def _cut(file: Path) -> None:
    file.write_text(file.read_text()[:70])


def _emptied(file: Path) -> None:
    file.write_text("")


def _in_words(file: Path) -> None:
    file.write_text(file.read_text().replace("3", "three", 40))


def _binary(file: Path) -> None:
    file.write_bytes(b"\xff\x00" + file.read_bytes())


@pytest.mark.parametrize("name", ["tab01.csv", "claims.csv", "fig04.csv", "fig06.csv", "fig08.csv"])
@pytest.mark.parametrize("damage", [_cut, _emptied, _in_words, _binary])
def test_a_damaged_file_is_named(project: Path, refusal, name: str, damage):
    damage(project / STEADY / name)
    assert "damaged" in refusal(str(project / STEADY / name), recorded.redraw, ["jitter_loss"])


@pytest.mark.parametrize("name", ["claims.csv", "fig04.csv"])
def test_a_missing_file_is_named(project: Path, refusal, name: str):
    (project / STEADY / name).unlink()
    assert "missing" in refusal(str(project / STEADY / name), recorded.redraw, ["jitter_loss"])


def test_a_number_that_the_paper_has_not_is_refused(project: Path, refusal):
    for kind in ("tab", "fig"):
        file = shutil.copy(project / STEADY / f"{kind}04.csv", project / STEADY / f"{kind}09.csv")
        refusal(file, recorded.redraw, ["jitter_loss"])
        file.unlink()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["self_destillation"], ["self_destillation", "'self_distillation'"]),
        (["scoreboard"], ["nothing of scoreboard", "kd_loss"]),
        (["--profile", "desk"], ["leave out --profile"]),
        (["--data", "synthetic", "--jobs", "2"], ["leave out --data, --jobs"]),
        (["--tables-only", "--dry-run"], ["leave out --tables-only, --dry-run"]),
        (["-p", "seeds", "1"], ["leave out --parameter"]),
        (["--executor", "local"], ["leave out --executor"]),
    ],
)
def test_what_makes_no_sense_with_it_is_refused(words: list[str], told: list[str], capsys: pytest.CaptureFixture):
    assert main(["reproduce", "--from-recorded", *words]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("fa: ") and all(word in line for word in told)


def test_claims_are_drawn_by_reproduce_as_well(project: Path):
    from fa_lib import reproduce

    file = project / "figures/desk/scaf/300w/claims.csv"
    picture = file.with_suffix(".svg").read_bytes()
    reproduce.draw_claims(file)
    assert file.with_suffix(".svg").read_bytes() == picture
    reproduce.draw_claims(file, smoke=True)
    assert file.with_suffix(".svg").read_bytes() != picture == plots.rendered(plots.claims(pd.read_csv(file)))[1]
