"""A reproduction as jobs that need each other: what `workflow/Snakefile` schedules on a laptop, a Slurm cluster or Kubernetes.

The jobs follow from the papers' own rows. A training job is one run (at smoke and quick, whose runs take seconds, a few that
do not need each other); a paper's last job writes its tables and figures and executes its notebook.

A job is done when its mark is there, an empty file in `.jobs` of the run store. The mark's name holds a hash of settings and
code of all that the job depends on: what has changed since has no mark, and everything else is left as it is.
"""

import hashlib
import math
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from urllib.parse import quote

from fa_lib import forecast, reproduce, results, runs, storage
from fa_lib.errors import InputError, suggest

EXECUTORS = ("local", "slurm", "kubernetes")
TOGETHER = {"smoke": 12, "quick": 4}  # runs a job: to start a process takes longer than such a run
MARGIN = 2.0  # a job may take so many times what is expected of it
LEAST = 20  # minutes: what a busy file system may need before anything is trained


@dataclass(frozen=True)
class Job:
    """What one process does. `mark`: paper/kind-hash; `runs`: their names, none for a paper's last job; `after`: marks."""

    mark: str
    runs: tuple[str, ...]
    after: tuple[str, ...]
    minutes: int
    gpus: int


def plan(slugs: list[str], profile: str, root: str | None) -> list[Job]:
    """The jobs of some papers (all: empty list) at a profile, each after those that it needs.

    Raises InputError for an unknown paper or profile.
    """
    jobs: list[Job] = []
    marks: dict[runs.Run, str] = {}
    large = profile in ("full", "paper")
    for paper in reproduce.chosen_papers(slugs, root):
        study = results.Study(paper, profile, root)
        wanted = study.wanted()
        for some in _batches([run for run in wanted if run not in marks], TOGETHER.get(profile, 1)):
            code = [file for run in some for one in runs.needed(run) for file in one.config.code]
            mark = _mark(some[0].paper, "train", *(run.hash for run in some), runs.code_hash(tuple(sorted(set(code)))))
            after = dict.fromkeys(marks[one] for run in some for one in runs.needed(run)[:-1])
            hours = sum(map(forecast.hours, some)) if large else 0.0
            minutes = max(LEAST, math.ceil(MARGIN * hours * 60))
            jobs.append(Job(mark, tuple(run.id for run in some), tuple(after), minutes, int(large)))
            marks |= dict.fromkeys(some, mark)
        trained = tuple(dict.fromkeys(marks[run] for run in wanted))
        mark = _mark(paper.SLUG, "write", *reproduce.wish_of(study).values(), *trained)
        jobs.append(Job(mark, (), trained, 3 * LEAST, 0))
    return jobs


def _batches(wanted: list[runs.Run], most: int) -> Iterator[list[runs.Run]]:
    """Up to `most` runs of one paper that need equally many runs one after another, so that none needs another of its batch."""
    levels: dict[tuple[int, str], list[runs.Run]] = {}
    for run in wanted:
        levels.setdefault((_depth(run), run.paper), []).append(run)
    for _, level in sorted(levels.items(), key=lambda item: item[0][0]):
        yield from (level[start : start + most] for start in range(0, len(level), most))


def _depth(run: runs.Run) -> int:
    return max((1 + _depth(one) for one in runs.needed(run)[:-1]), default=0)


def _mark(paper: str, kind: str, *parts: str) -> str:
    return f"{paper}/{kind}-{hashlib.sha256(' '.join(parts).encode()).hexdigest()[:12]}"


def marks_folder() -> Path:
    """Where the marks lie."""
    return storage.runs_folder().resolve() / ".jobs"


def write_plan(slugs: list[str], profile: str, data: str) -> Path:
    """Writes the jobs for `workflow/Snakefile`, which reads them again in each process of a job without asking anew."""
    target = plan_file(slugs, profile, data)
    jobs = plan(slugs, profile, None if data == "synthetic" else data)
    storage.write_json(target, {job.mark: asdict(job) for job in jobs})
    return target


def plan_file(slugs: list[str], profile: str, data: str) -> Path:
    """The file of a plan; one for each choice of papers, profile and data."""
    return marks_folder() / f"{'-'.join([profile, *sorted(slugs)])}-{quote(data, safe='')}.json"


def submit(slugs: list[str], profile: str, data: str, executor: str, jobs: int | None, dry: bool) -> None:
    """Calls Snakemake with the profile of an executor, workflow/profiles/NAME; `dry` prints the jobs and starts none.

    Raises InputError where a job failed: the others are done then, and the same call goes on from there.
    """
    if executor not in EXECUTORS:
        raise InputError(
            f"--executor {executor}: there is no such one{suggest(executor, EXECUTORS)}; there are: {', '.join(EXECUTORS)}"
        )
    reproduce.chosen_papers(slugs, None if data == "synthetic" else data)  # a wrong name is refused in one sentence
    folder, cores = storage.PROJECT / "workflow", os.cpu_count() or 1
    command = [sys.executable, "-m", "snakemake", "--snakefile", folder / "Snakefile", "--directory", storage.PROJECT]
    command += ["--workflow-profile", folder / "profiles" / executor]
    command += ["--cores" if executor == "local" else "--jobs", str(jobs or cores)]
    command += ["--config", f"papers={' '.join(slugs)}", f"profile={profile}", f"data={data}", *(["--dry-run"] if dry else [])]
    done = subprocess.run([str(part) for part in command])
    if done.returncode:
        raise InputError(
            "a job of the workflow failed, as its log above says; what is done is kept, and the same command goes on from there"
        )
