"""The jobs of a reproduction: every run once, after what it needs; a changed file is felt by its runs alone."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from fa_lib import jobs, reproduce, results, runs, storage
from fa_lib.__main__ import main
from fa_lib.papers import PAPERS

SLUGS = ["kd_loss", "rendered_to_real"]


@pytest.fixture
def planned(store: Path) -> list[jobs.Job]:
    return jobs.plan(SLUGS, "smoke", None)


def test_every_run_is_in_one_job(planned: list[jobs.Job]):
    wanted = [run.id for slug in SLUGS for run in results.Study(PAPERS[slug], "smoke").wanted()]
    assert sorted(name for job in planned for name in job.runs) == sorted(wanted)
    assert len({job.mark for job in planned}) == len(planned)
    assert [job.mark.split("-")[0] for job in planned if not job.runs] == [f"{slug}/write" for slug in SLUGS]


def test_jobs_come_after_what_they_need(planned: list[jobs.Job]):
    every = {run.id: run for slug in SLUGS for run in results.Study(PAPERS[slug], "smoke").wanted()}
    trained: set[str] = set()
    for number, job in enumerate(planned):
        before = [earlier for earlier in planned[:number] if earlier.mark in job.after]
        assert len(before) == len(job.after)
        for run in (every[name] for name in job.runs):
            there = {name for earlier in before for name in earlier.runs}
            assert {one.id for one in runs.needed(run)[:-1]} <= there <= trained
        trained |= set(job.runs)
    assert max(len(job.after) for job in planned if job.runs) > 0  # students of KD-Loss wait for their teachers
    last = planned[-1]
    assert {name for job in planned if job.mark in last.after for name in job.runs} >= {
        run.id for run in results.Study(PAPERS[SLUGS[1]], "smoke").wanted()
    }


def test_a_long_run_is_a_job_of_its_own(store: Path):
    study = results.Study(PAPERS["kd_loss"], "smoke")
    assert [len(some) for some in jobs._batches(study.wanted(), 1)] == [1] * len(study.wanted())


def test_a_changed_loss_gives_its_jobs_other_marks(planned: list[jobs.Job], tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Paper 2's loss is read by paper 2 alone; a comment changes nothing."""
    copy = tmp_path / "project"
    shutil.copytree(storage.PROJECT / "fa_lib", copy / "fa_lib", ignore=shutil.ignore_patterns("__pycache__"))
    (copy / "notebooks").symlink_to(storage.PROJECT / "notebooks")
    monkeypatch.setattr(storage, "PROJECT", copy)

    def marks() -> set[str]:
        runs.code_hash.cache_clear()
        return {job.mark for job in jobs.plan(SLUGS, "smoke", None)}

    before, loss = marks(), copy / "fa_lib" / "losses" / "knowledge_distillation.py"
    assert before == {job.mark for job in planned}
    loss.write_text(loss.read_text() + "# a comment\n")
    assert marks() == before
    loss.write_text(loss.read_text() + "CHANGED = 1\n")
    gone = before - marks()
    runs.code_hash.cache_clear()
    assert gone == {job.mark for job in planned if job.mark.startswith("kd_loss/")}


def test_every_run_is_found_by_its_name(store: Path):
    """Also those that are no row of a table, as the networks that the scoreboard measures."""
    wanted = results.Study(PAPERS["scoreboard"], "smoke").wanted()
    helper, row = (next(run for run in wanted if run.row == name) for name in ("net-mobilenet_v2-kd-1", "resnet18"))
    for run in (helper, row):
        assert reproduce.named(run.id, None, "synthetic") == run


def test_marks_lie_where_no_run_is_looked_for(store: Path):
    mark = jobs.marks_folder() / "kd_loss" / "train-0123456789ab"
    mark.parent.mkdir(parents=True)
    mark.touch()
    assert list(runs.stored()) == []


def test_snakemake_prints_valid_jobs_for_slurm(store: Path, rendered_cache: Path):
    command = [sys.executable, "-m", "fa_lib", "reproduce", "rendered_to_real", "--profile", "smoke", "--executor", "slurm"]
    done = subprocess.run([*command, "--dry-run"], cwd=storage.PROJECT, env=dict(os.environ), capture_output=True, text=True)
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    assert re.findall(r"^(train|write|all|total) +(\d+)$", said, re.M)[:4] == [
        ("train", "2"),
        ("write", "1"),
        ("all", "1"),
        ("total", "4"),
    ]
    assert said.count("mem_mb=16000") >= 3 and said.count("runtime=20") == 2
    assert not list(store.rglob("provenance.json")) and not list(store.glob(".jobs/*/train-*"))  # nothing was trained
    plan = json.loads(jobs.plan_file(["rendered_to_real"], "smoke", "synthetic").read_text())
    assert set(plan) == {job.mark for job in jobs.plan(["rendered_to_real"], "smoke", None)}


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["--executor", "slurn"], ["slurn", "did you mean 'slurm'"]),
        (["kd_los", "--executor", "local"], ["kd_los", "'kd_loss'"]),
        (["--executor", "local", "-p", "seeds", "1"], ["leave out -p"]),
        (["--profile", "papper", "--dry-run"], ["papper", "'paper'"]),
    ],
)
def test_wrong_wishes_are_refused(given: list[str], said: list[str], store: Path, capsys: pytest.CaptureFixture):
    assert main(["reproduce", *given]) == 2
    shown = capsys.readouterr()
    assert all(part in shown.err for part in said) and shown.err.count("\n") == 1 and not shown.out
