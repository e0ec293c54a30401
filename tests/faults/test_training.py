"""Trainings that are killed, stopped, starved, asked for by many, or whose clock runs backwards: nothing is lost."""

import os
import signal
import time
from collections.abc import Callable
from multiprocessing.context import ForkServerContext
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from fa_lib.errors import InputError
from fa_lib.workers import Workers

FUTURE = 4e9  # the year 2096
COMMAND = ["train", "self_distillation/resnet18-gt/synthetic-300w/smoke/0"]
STOPPED = "fa: stopped; what is finished is kept, and the same command goes on from there\n"


def begun(store: Path) -> int:
    """How often a training was begun in a store."""
    return len((store / "begun").read_text().splitlines())


@pytest.mark.faults("killed (SIGKILL) at a random step")
def test_killed_at_a_random_step_goes_on_to_the_same_weights(
    tmp_path: Path, tiny: ModuleType, whole: bytes, server: ForkServerContext, fork: Callable, weights_in: Callable, injected
):
    """The signal comes from another process, so it also hits what a step ends with, as the writing of a checkpoint."""
    for repetition, step in enumerate(np.random.default_rng(20).integers(0, tiny.EPOCHS * tiny.BATCHES - 1, 20)):
        store, (mine, theirs) = tmp_path / str(repetition), server.Pipe(duplex=False)
        process = fork(tiny.ask_and_tell, store, theirs)
        theirs.close()
        while mine.recv() < step:
            pass
        process.kill()
        injected()
        process.join()
        assert process.exitcode == -signal.SIGKILL and not list(store.glob("*/*/*/*/s*"))
        again = fork(tiny.ask, store)
        again.join()
        assert again.exitcode == 0 and begun(store) == 2 and weights_in(store) == whole, f"killed in step {step}"


@pytest.mark.faults("stopped politely (SIGTERM)", "stopped by Ctrl-C (SIGINT)")
@pytest.mark.parametrize(
    ("number", "name"), [(signal.SIGTERM, "stopped politely (SIGTERM)"), (signal.SIGINT, "stopped by Ctrl-C (SIGINT)")]
)
def test_stopped_command_says_so_and_the_same_command_goes_on(
    tmp_path: Path, tiny: ModuleType, server: ForkServerContext, fork: Callable, rendered_cache: Path, weights_in: Callable,
    injected, number: signal.Signals, name: str,
):  # fmt: skip
    """`fa train` in the last of its two batches."""
    stores = {where: {"FA_RUNS": str(tmp_path / where), "FA_CACHE": str(rendered_cache)} for where in ("stopped", "whole")}
    mine, theirs = server.Pipe(duplex=False)
    process = fork(tiny.fa, stores["stopped"], COMMAND, tmp_path / "said", theirs)
    assert mine.poll(60) and mine.recv() == "last", (tmp_path / "said").read_text()
    os.kill(process.pid, number)
    injected(name)
    process.join(20)
    assert process.exitcode == 128 + number and (tmp_path / "said").read_text().endswith(STOPPED)
    left = [path.name for path in (tmp_path / "stopped").rglob("*") if path.is_file()]
    assert [Path(name).suffix for name in left] == [".lock"]
    for environment in stores.values():
        again = fork(tiny.fa, environment, COMMAND, tmp_path / "said", None)
        again.join(120)
        assert again.exitcode == 0, (tmp_path / "said").read_text()
    assert weights_in(tmp_path / "stopped") == weights_in(tmp_path / "whole")


def alive(process: int) -> bool:
    """Whether a process runs; one that nobody has asked for its end does not."""
    status = Path(f"/proc/{process}/stat")
    return status.exists() and status.read_text().rsplit(")", 1)[1].split()[0] != "Z"


@pytest.mark.faults("stopped politely (SIGTERM)", "stopped by Ctrl-C (SIGINT)")
@pytest.mark.parametrize(
    ("number", "name"), [(signal.SIGTERM, "stopped politely (SIGTERM)"), (signal.SIGINT, "stopped by Ctrl-C (SIGINT)")]
)
def test_stopped_reproduction_ends_its_workers_and_says_one_sentence(
    tmp_path: Path, tiny: ModuleType, fork: Callable, rendered_cache: Path, injected, number: signal.Signals, name: str
):
    """Ctrl-C goes to all processes of a terminal, SIGTERM to the first one."""
    environment = {"FA_RUNS": str(tmp_path / "runs"), "FA_CACHE": str(rendered_cache)}
    process = fork(tiny.reproduce, environment, tmp_path / "project", tmp_path / "said")
    limit = time.monotonic() + 120
    while not list((tmp_path / "runs").glob("*/*/*/*/.s*.part")) and process.is_alive() and time.monotonic() < limit:
        time.sleep(0.05)
    workers = list(map(int, Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()))
    assert workers and all(map(alive, workers)), (tmp_path / "said").read_text()
    (os.killpg if number == signal.SIGINT else os.kill)(process.pid, number)
    injected(name)
    process.join(20)
    said = (tmp_path / "said").read_text()
    assert process.exitcode == 128 + number and said.endswith(STOPPED) and "Traceback" not in said, said
    while any(map(alive, workers)) and time.monotonic() < limit:
        time.sleep(0.05)
    assert not any(map(alive, workers))
    assert not [
        path
        for path in (tmp_path / "project").rglob("*")
        if path.is_file() and not path.is_relative_to(tmp_path / "project" / "notebooks")
    ]


@pytest.mark.faults("two or eight processes want the same")
@pytest.mark.parametrize("count", [2, 2, 2, 8, 8])
def test_run_wanted_by_many_is_trained_once(
    tmp_path: Path,
    tiny: ModuleType,
    whole: bytes,
    server: ForkServerContext,
    fork: Callable,
    weights_in: Callable,
    injected,
    count,
):
    """All of them get it, and one has trained it."""
    barrier = server.Barrier(count)
    asked = [fork(tiny.ask_with_others, tmp_path / "store", barrier) for _ in range(count)]
    injected()
    for process in asked:
        process.join(60)
    assert [process.exitcode for process in asked] == [0] * count
    assert begun(tmp_path / "store") == 1 and weights_in(tmp_path / "store") == whole


@pytest.mark.faults("stale lock of a dead process")
@pytest.mark.parametrize("when", [None, FUTURE, 1.0])
def test_lock_of_a_dead_process_is_in_nobodys_way(
    tmp_path: Path,
    tiny: ModuleType,
    whole: bytes,
    server: ForkServerContext,
    fork: Callable,
    weights_in: Callable,
    injected,
    when,
):
    """Whether the lock's file seems to be new, of the future, or of 1970."""
    place = tmp_path / "tiny/row/noise/smoke"
    place.mkdir(parents=True)
    lock = place / f".s0-{tiny.RUN.hash}.lock"
    mine, theirs = server.Pipe(duplex=False)
    process = fork(tiny.hold, lock, theirs)
    assert mine.recv() == "held"
    waiting = fork(tiny.ask, tmp_path)
    waiting.join(1)
    assert waiting.exitcode is None and not (tmp_path / "begun").exists()  # it is a lock
    process.kill()
    process.join()
    injected()
    assert lock.exists()
    if when is not None:
        os.utime(lock, (when, when))
    waiting.join(60)
    assert waiting.exitcode == 0 and weights_in(tmp_path) == whole


@pytest.mark.faults("clock set back")
def test_clock_that_is_set_back_changes_nothing(
    tmp_path: Path, tiny: ModuleType, whole: bytes, server: ForkServerContext, fork: Callable, weights_in: Callable, injected
):
    """In the middle of a training; and between two parts of one, so that checkpoint and lock come from the future."""
    process = fork(tiny.ask_with_clock_set_back, tmp_path / "within")
    injected()
    process.join(60)
    assert process.exitcode == 0 and weights_in(tmp_path / "within") == whole
    mine, theirs = server.Pipe(duplex=False)
    process = fork(tiny.ask_and_tell, tmp_path / "between", theirs)
    while mine.recv() < 6:
        pass
    process.kill()
    process.join()
    for path in [tmp_path / "between", *(tmp_path / "between").rglob("*")]:
        os.utime(path, (FUTURE, FUTURE))
    injected()
    again = fork(tiny.ask_with_clock_set_back, tmp_path / "between")
    again.join(60)
    assert again.exitcode == 0 and weights_in(tmp_path / "between") == whole


@pytest.mark.faults("memory used up")
@pytest.mark.parametrize("kind", ["torch", "numpy"])
def test_training_without_memory_gives_advice_and_goes_on_later(
    tmp_path: Path, tiny: ModuleType, whole: bytes, fork: Callable, weights_in: Callable, injected, kind: str
):
    """The kernel refuses 8 GB in the middle of the third epoch."""
    store, said = tmp_path / "store", tmp_path / "said"
    process = fork(tiny.ask_with_little_memory, store, kind, said)
    injected()
    process.join(60)
    assert process.exitcode == 0 and said.exists()
    sentence = said.read_text()
    assert sentence.startswith("InputError: tiny/row/noise/smoke/0: there is not enough memory; train fewer runs at a time")
    assert "smaller batch_size" in sentence and not list(store.glob("*/*/*/*/s*")) and list(store.rglob("checkpoint.pt"))
    again = fork(tiny.ask, store)
    again.join(60)
    assert again.exitcode == 0 and weights_in(store) == whole


@pytest.mark.faults("worker killed for its memory (SIGKILL)")
def test_killed_worker_ends_in_advice_and_keeps_what_is_finished(tmp_path: Path, injected):
    """As Linux does when memory runs out; the jobs before it are done."""
    with pytest.raises(InputError, match="a worker was killed, most likely since memory ran out; give fewer --jobs"):
        with Workers(jobs=1) as workers:
            workers.submit(os.mkdir, tmp_path / "finished")
            killed = workers.submit(signal.raise_signal, signal.SIGKILL)
            workers.submit(time.sleep, 0)
            injected()
            killed.result()
    assert (tmp_path / "finished").is_dir()
