"""The processes of `fa reproduce`: they train missing runs, measure costs and execute notebooks, in the order asked for."""

import contextlib
import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field

import torch

from fa_lib import results, runs, storage
from fa_lib.errors import KILLED, InputError
from fa_lib.papers import PAPERS


@dataclass
class Training:
    """The runs of a paper that were missing, and the jobs that train them."""

    missing: list[runs.Run]
    jobs: list[Future] = field(default_factory=list)

    def finish(self) -> None:
        """Waits, reporting finished runs and the time left; raises what a worker raised."""
        watched = sys.stderr.isatty()
        begin, shown, pending = time.monotonic(), 0.0, set(self.jobs)
        weights = {run: PAPERS[run.paper].cost(run) for run in self.missing}
        before = self._done(weights)  # while another paper was waited for
        while pending:
            done, pending = wait(pending, timeout=1, return_when=FIRST_COMPLETED)
            for job in done:
                job.result()
            now, here = time.monotonic() - begin, self._done(weights)
            if here > before and (now - shown > (1 if watched else 15) or not pending):
                shown = now
                left = now * (sum(weights.values()) - here) / (here - before)
                count = sum(run.folder.exists() for run in self.missing)
                text = f"trained {count} of {len(self.missing)} runs in {now:.0f} s, about {left:.0f} s left"
                end = "" if watched and pending else "\n"
                print(f"\r{text}\033[K" if watched else text, end=end, file=sys.stderr, flush=True)

    def _done(self, weights: dict[runs.Run, float]) -> float:
        return sum(weights[run] for run in self.missing if run.folder.exists())


class Workers:
    """A pool of processes for all papers, `jobs` at a time (default: one a core without a GPU, one with); a context manager.

    One for all: each start costs some ten seconds of imports, and a paper's last runs keep one worker busy while the next
    paper's begin beside them. The first job starts them. A block that ends with an exception ends them at once. Inside the
    block this process has no more threads than a worker, after it those that it had.
    """

    def __init__(self, jobs: int | None = None) -> None:
        jobs = jobs or (1 if torch.cuda.is_available() else min(os.cpu_count() or 1, 8))
        self._threads = max(1, (os.cpu_count() or 1) // jobs)
        # Ctrl-C reaches workers, too, and would make each of them print a traceback: this process alone ends them
        quiet = signal.signal, (signal.SIGINT, signal.SIG_IGN)
        self._pool = ProcessPoolExecutor(jobs, multiprocessing.get_context("spawn"), *quiet)

    def __enter__(self) -> "Workers":
        # read by glibc and OpenMP when a worker starts: keeping freed pages makes training on a CPU up to 1.3 times as fast
        given = {
            "OMP_NUM_THREADS": str(self._threads),
            "MALLOC_MMAP_THRESHOLD_": "1000000000",
            "MALLOC_TRIM_THRESHOLD_": "1000000000",
        }
        self._before = torch.get_num_threads(), {name: os.environ.get(name) for name in given}
        os.environ |= given
        torch.set_num_threads(self._threads)  # more would wait for cores that workers have
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._pool.shutdown(wait=kind is None, cancel_futures=kind is not None)
        threads, environment = self._before
        torch.set_num_threads(threads)
        for name, value in environment.items():
            os.environ.pop(name)
            os.environ |= {} if value is None else {name: value}
        if kind is not None:
            for process in multiprocessing.active_children():
                process.terminate()
        if kind is BrokenProcessPool:
            raise InputError(f"a worker {KILLED}")

    def submit(self, function: Callable[..., object], *given: object) -> Future:
        """A job after those before it."""
        return self._pool.submit(function, *given)

    def train(self, parts: list[tuple[results.Study, tuple[str, ...]]]) -> Training:
        """Begins to train the missing runs of some rows of a paper's studies, and to measure what its tables say of costs."""
        training = Training([])
        for study, rows in parts:
            wanted = list(dict.fromkeys(study.run(row, seed) for row in rows for seed in study.seeds_of(row)))
            found = [run for run in wanted if not run.folder.exists()]
            print(f"{study.paper.SLUG}, {study.profile.name}, {study.test.title}: {len(found)} of {len(wanted)} runs to train")
            if found:
                _build_test_sets(study)
            training.missing += found
        if not training.missing:
            return training
        with storage.disk_errors(str(storage.runs_folder())):
            storage.runs_folder().mkdir(parents=True, exist_ok=True)
        training.jobs = [
            self.submit(_train_chain, study.paper.SLUG, study.profile.name, study.root, study.dataset, rows, seed)
            for study, chain in _chains(parts)
            for seed, rows in _by_seed(study, chain)
        ]
        paper, profile, root = parts[0][0].paper, parts[0][0].profile.name, parts[0][0].root
        training.jobs += [
            self.submit(_measure_costs, paper.SLUG, profile, root, table.number, row)
            for table in paper.TABLES
            for row in table.rows.values()
            if table.costs and row
        ]
        return training


def _chains(parts: list[tuple[results.Study, tuple[str, ...]]]) -> list[tuple[results.Study, list[str]]]:
    """The rows to train one after another: first those of every study that the paper names first, which others wait for."""
    chains = [[(study, [row for row in chain if row in rows]) for chain in study.paper.chains()] for study, rows in parts]
    return [(study, chain) for abreast in zip(*chains, strict=True) for study, chain in abreast if chain]


def _by_seed(study: results.Study, chain: list[str]) -> list[tuple[int, list[str]]]:
    """The rows of a chain for each seed that any of them has."""
    every = dict.fromkeys(seed for row in chain for seed in study.seeds_of(row))
    return [(seed, [row for row in chain if seed in study.seeds_of(row)]) for seed in every]


def _build_test_sets(study: results.Study) -> None:
    """Draws or cuts once, here, what every worker will read besides the test faces."""
    splits = {split for table in study.tables for split in table.splits} | {claim.split for claim in study.paper.CLAIMS}
    if splits & {"video", "still"}:
        study.video  # noqa: B018 - a property that builds
    if "twice" in splits:
        study.twice  # noqa: B018 - a property that builds


def _train_chain(slug: str, profile: str, root: str | None, dataset: str | None, rows: list[str], seed: int) -> None:
    # the epochs of several workers at once are no use to anybody who watches; the log is for those who wonder
    place = storage.runs_folder() / "workers.log"
    with storage.disk_errors(str(place)), open(place, "a") as log, contextlib.redirect_stderr(log):
        study = results.Study(PAPERS[slug], profile, root, dataset=dataset)
        for row in rows:
            runs.get(study.run(row, seed))


def _measure_costs(slug: str, profile: str, root: str | None, number: int, row: str) -> None:
    """What a network costs, for what that leaves in the cache: a table measures it again."""
    paper = PAPERS[slug]
    results.numbered(paper, number).costs(results.Study(paper, profile, root), row)
