"""The processes of `fa reproduce`: what they train, in which order, and how they end."""

import multiprocessing
import os
import signal
import time
from pathlib import Path

import pytest
import torch

from fa_lib.errors import InputError
from fa_lib.papers import rendered_to_real
from fa_lib.results import Study
from fa_lib.workers import Training, Workers


def note(file: Path, text: str) -> None:
    """A job: adds a line to a file."""
    with open(file, "a") as log:
        log.write(f"{text}\n")


def refuse() -> None:
    """A job that fails."""
    raise InputError("this cannot be")


def test_jobs_are_done_in_the_order_they_were_asked_for(tmp_path: Path):
    file = tmp_path / "log"
    with Workers(jobs=1) as workers:
        for number in range(4):
            workers.submit(note, file, str(number))
    assert file.read_text().split() == ["0", "1", "2", "3"]  # the block has waited for them


def test_a_failed_job_ends_the_block_and_all_processes(tmp_path: Path):
    before = set(multiprocessing.active_children())
    begin = time.monotonic()
    with pytest.raises(InputError, match="this cannot be"), Workers(jobs=2) as workers:
        jobs = [workers.submit(refuse), workers.submit(time.sleep, 600)]
        Training([], jobs).finish()
    assert time.monotonic() - begin < 300
    for process in set(multiprocessing.active_children()) - before:
        process.join(30)
        assert process.exitcode == -signal.SIGTERM


def test_missing_runs_are_trained_once_and_their_count_is_told(store: Path, capfd: pytest.CaptureFixture):
    study = Study(rendered_to_real, "smoke", seeds=1)
    rows = ("fan2-own", "mobilenet_v2-wild")
    before = torch.get_num_threads(), dict(os.environ)
    with Workers(jobs=2) as workers:
        assert os.environ["OMP_NUM_THREADS"] == str(torch.get_num_threads()) == str(max(1, (os.cpu_count() or 1) // 2))
        training = workers.train([(study, rows)])
        assert [run.row for run in training.missing] == list(rows)
        training.finish()
    out, err = capfd.readouterr()
    assert "2 of 2 runs to train" in out and "trained 2 of 2 runs" in err and "about 0 s left" in err
    assert all(run.folder.exists() for run in training.missing)
    assert (torch.get_num_threads(), dict(os.environ)) == before
    with Workers(jobs=1) as workers:
        again = workers.train([(study, rows)])
        again.finish()
        assert again.missing == [] == again.jobs and not workers._pool._processes  # nothing is started for nothing
