"""`fa reproduce`: trains what is missing, writes tables, figures and claims, and executes the notebooks."""

import contextlib
import hashlib
import json
import multiprocessing
import os
import sys
import time
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pandas as pd
import torch

from fa_lib import plots, results, runs, storage
from fa_lib.data.readers.own import is_manifest
from fa_lib.errors import InputError, suggest
from fa_lib.papers import PAPERS


def reproduce(
    slugs: list[str], profile: str, root: str | None, jobs: int | None, parameters: dict[str, str], tables_only: bool = False
) -> None:
    """All tables, figures, claims and notebooks of some papers (all: empty list) at a profile; or their tables alone."""
    if profile not in runs.PROFILES:
        hint = suggest(profile, runs.PROFILES)
        raise InputError(f"--profile {profile}: there is no such profile{hint}; there are: {', '.join(runs.PROFILES)}")
    suitable = [paper for paper in PAPERS.values() if paper.OWN_DATA or not is_manifest(root)]
    chosen = [paper_named(slug) for slug in slugs] or suitable
    given = {"profile": profile, "data": str(Path(root).resolve()) if root else "synthetic", **parameters}
    for book in _books(chosen):
        check_parameters(book, given)
    if not slugs and not tables_only:
        _write_sheets(storage.PROJECT / "figures" / profile / "data")
    for paper in chosen:
        study = results.Study(paper, profile, root)
        target = storage.PROJECT / "figures" / results.folder(paper, profile, study.source.dataset)
        if tables_only:
            train_all([(part, part.shown) for part in study.all()], jobs)
            write_tables(study, target)
        else:
            _reproduce_paper(study, target, jobs, given)


def _write_sheets(target: Path) -> None:
    """Contact sheets of all rendered sets, where the renderer has changed since they were drawn."""
    from fa_lib.data import rendered, sheets  # the renderer paints its textures on import

    wanted, stamp = {"code": rendered.code_hash()}, target / "stamp.json"
    if stamp.exists() and json.loads(stamp.read_text()) == wanted:
        return
    print("drawing contact sheets of the rendered data sets ...", flush=True)
    print(f"{target} holds {', '.join(file.name for file in sheets.write_all(target))}")
    storage.write_json(stamp, wanted)


def _reproduce_paper(study: results.Study, target: Path, jobs: int | None, parameters: dict[str, str]) -> None:
    begin = time.monotonic()
    books = _books([study.paper])
    train_all([(part, part.rows) for part in study.all()], jobs)
    wanted = _stamp(study, books)
    stamp = target / "stamp.json"
    if stamp.exists() and json.loads(stamp.read_text()) == wanted:
        print(f"{study.paper.SLUG}: nothing to do, {target} is up to date")
        return
    # notebooks need the runs alone, so each is executed while tables and figures are written
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        executed = [pool.submit(execute, book, target / book.name, parameters) for book in books]
        write_tables(study, target)
        write_claims_and_figures(study, target)
        for one in executed:
            one.result()
    storage.write_json(stamp, wanted)
    names = ", ".join(file.name for file in sorted(target.iterdir()))
    print(f"done in {(time.monotonic() - begin) / 60:.1f} minutes; {target} holds {names}")


def paper_named(slug: str) -> ModuleType:
    """The paper's module; InputError with the nearest name where there is none."""
    if slug not in PAPERS:
        raise InputError(f"there is no paper {slug!r}{suggest(slug, PAPERS)}; there are: {', '.join(PAPERS)}")
    return PAPERS[slug]


def _books(papers: list[ModuleType]) -> list[Path]:
    return [storage.PROJECT / "notebooks" / f"{name}.ipynb" for name in dict.fromkeys(paper.NOTEBOOK for paper in papers)]


def check_parameters(book: Path, given: dict[str, str]) -> None:
    """Refuses a parameter that the notebook does not have, before a kernel starts: papermill itself would only log it."""
    cells = json.loads(book.read_text())["cells"]
    tagged = next((c for c in cells if "parameters" in c["metadata"].get("tags", [])), None)
    known = [line.split("=")[0].strip() for line in "".join(tagged["source"] if tagged else []).splitlines() if "=" in line]
    for name in given:
        if name not in known:
            hint = suggest(name, known)
            raise InputError(f"{book.name} has no parameter {name!r}{hint}; it has: {', '.join(known)}")


def train_all(parts: list[tuple[results.Study, tuple[str, ...]]], jobs: int | None) -> None:
    """Trains the missing runs of some studies' rows, `jobs` at a time (default: one a core without a GPU, one with)."""
    missing = []
    for study, rows in parts:
        wanted = list(dict.fromkeys(study.run(row, seed) for row in rows for seed in study.seeds_of(row)))
        found = [run for run in wanted if not run.folder.exists()]
        print(f"{study.paper.SLUG}, {study.profile.name}, {study.test.title}: {len(found)} of {len(wanted)} runs to train")
        if found:
            _build_test_sets(study)
        missing += found
    if not missing:
        return
    storage.runs_folder().mkdir(parents=True, exist_ok=True)
    jobs = jobs or (1 if torch.cuda.is_available() else min(os.cpu_count() or 1, 8))
    threads = max(1, (os.cpu_count() or 1) // jobs)
    # read by glibc and OpenMP when a worker starts: keeping freed pages makes training on a CPU up to 1.3 times as fast
    os.environ |= {
        "OMP_NUM_THREADS": str(threads),
        "MALLOC_MMAP_THRESHOLD_": "1000000000",
        "MALLOC_TRIM_THRESHOLD_": "1000000000",
    }
    with ProcessPoolExecutor(jobs, multiprocessing.get_context("spawn")) as pool:
        futures = [
            pool.submit(_train_chain, study.paper.SLUG, study.profile.name, study.root, study.dataset, rows, seed)
            for study, chain in _chains(parts)
            for seed, rows in _by_seed(study, chain)
        ]
        paper, profile, root = parts[0][0].paper, parts[0][0].profile.name, parts[0][0].root
        futures += [
            pool.submit(_measure_costs, paper.SLUG, profile, root, table.number, row)
            for table in paper.TABLES
            for row in table.rows.values()
            if table.costs and row
        ]
        try:
            _watch(futures, missing)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            for process in multiprocessing.active_children():
                process.terminate()
            raise


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
    splits = {split for table in study.paper.TABLES for split in table.splits} | {claim.split for claim in study.paper.CLAIMS}
    if splits & {"video", "still"}:
        study.video  # noqa: B018 - a property that builds
    if "twice" in splits:
        study.twice  # noqa: B018 - a property that builds


def _train_chain(slug: str, profile: str, root: str | None, dataset: str | None, rows: list[str], seed: int) -> None:
    # the epochs of several workers at once are no use to anybody who watches; the log is for those who wonder
    with open(storage.runs_folder() / "workers.log", "a") as log, contextlib.redirect_stderr(log):
        study = results.Study(PAPERS[slug], profile, root, dataset=dataset)
        for row in rows:
            runs.get(study.run(row, seed))


def _measure_costs(slug: str, profile: str, root: str | None, number: int, row: str) -> None:
    """What a network costs, for what that leaves in the cache: a table measures it again."""
    paper = PAPERS[slug]
    results.numbered(paper, number).costs(results.Study(paper, profile, root), row)


def _watch(futures: list[Future], missing: list[runs.Run]) -> None:
    """Reports finished runs and the time left until all are there; raises what a worker raised."""
    begin, shown = time.monotonic(), 0.0
    weights = {run: PAPERS[run.paper].cost(run) for run in missing}
    pending = set(futures)
    while pending:
        done, pending = wait(pending, timeout=1, return_when=FIRST_COMPLETED)
        for future in done:
            future.result()
        finished = [run for run in missing if run.folder.exists()]
        share = sum(weights[run] for run in finished) / sum(weights.values())
        now = time.monotonic() - begin
        watched = sys.stderr.isatty()
        if share and (now - shown > (1 if watched else 15) or not pending):
            shown = now
            left = now * (1 - share) / share
            text = f"trained {len(finished)} of {len(missing)} runs in {now:.0f} s, about {left:.0f} s left"
            print(f"\r{text}\033[K" if watched else text, end="" if watched and pending else "\n", file=sys.stderr, flush=True)


def write_tables(study: results.Study, target: Path) -> None:
    """Writes tabNN.csv of a study into the folder `target`, and prints the tables.

    Beside real faces, test sets of a data set that is not at hand are left out: rendered faces have tables of their own.
    """
    for table in study.paper.TABLES:
        print(f"table {table.number}: {table.title}")
        if not table.costs:
            missing = [d for d in table.datasets if study.source.root is not None and study.on(d).source.root is None]
            for dataset in missing:
                print(f"left out: of {dataset} there are no real faces in {study.source.root}")
            table = replace(table, split=tuple(s for s in table.splits if table.locate(s)[0] not in missing))
        if table.splits:
            _write_csv(results.measure(study, table), target / f"tab{table.number:02d}.csv")
            print(results.table(study, table).to_string())
            print(results.about(study, table))
        print()


def write_claims_and_figures(study: results.Study, target: Path) -> None:
    """Writes claims.csv and figNN.svg|png with figNN.csv of a study into the folder `target`."""
    found = results.claims(study)
    _write_csv(found, target / "claims.csv")
    print(found[["claim", "paper", "here", "low", "high", "verdict"]].round(2).to_string(index=False))
    for number, figure in study.paper.figures().items():
        plots.save(*figure(study), target / f"fig{number:02d}")


def _write_csv(frame: pd.DataFrame, file: Path) -> None:
    with storage.new_file(file) as part:
        frame.to_csv(part, index=False, float_format="%.6g")


def execute(book: Path, target: Path, parameters: dict[str, str]) -> None:
    """Executes a notebook into `target`; a notebook that fails leaves no file of that name."""
    import papermill

    print(f"executing {book.name} ...", flush=True)
    with storage.new_file(target) as part:
        try:
            papermill.execute_notebook(
                str(book), str(part), parameters, kernel_name="python3", cwd=str(book.parent), progress_bar=False
            )
        except papermill.PapermillExecutionError as error:
            raise InputError(f"{book.name} failed in cell {error.exec_count}: {error.ename}: {error.evalue}") from error


def _stamp(study: results.Study, books: list[Path]) -> dict[str, str]:
    """What the outputs of a study depend on: its runs, the notebooks, and the code that draws."""
    package = storage.PROJECT / "fa_lib"
    files = sorted([*books, *package.glob("*.py"), *(package / "papers").glob("*.py")])
    digest = hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()
    wanted = [part.run(row, seed).hash for part in study.all() for row in part.rows for seed in part.seeds_of(row)]
    return {"code": digest, "runs": hashlib.sha256(" ".join(wanted).encode()).hexdigest()}
