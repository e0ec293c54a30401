"""`fa reproduce`: trains what is missing, writes tables, figures and claims, and executes the notebooks."""

import hashlib
import json
import time
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pandas as pd

from fa_lib import plots, redraw, results, runs, storage
from fa_lib.data.readers.own import is_manifest
from fa_lib.errors import KILLED, InputError, suggest
from fa_lib.papers import PAPERS
from fa_lib.workers import Training, Workers


def reproduce(
    slugs: list[str], profile: str, root: str | None, jobs: int | None, parameters: dict[str, str], tables_only: bool = False
) -> None:
    """All tables, figures, claims and notebooks of some papers (all: empty list) at a profile; or their tables alone."""
    if profile not in runs.PROFILES:
        hint = suggest(profile, runs.PROFILES)
        raise InputError(f"--profile {profile}: there is no such profile{hint}; there are: {', '.join(runs.PROFILES)}")
    chosen = chosen_papers(slugs, root)
    given = {"profile": profile, "data": str(Path(root).resolve()) if root else "synthetic", **parameters}
    for book in _books(chosen):
        check_parameters(book, given)
    with Workers(jobs) as workers:
        sheets = None if slugs or tables_only else workers.submit(_write_sheets, storage.PROJECT / "figures" / profile / "data")
        begun = []
        for paper in chosen:  # all at once: faces are rendered here while workers train the paper before
            study = results.Study(paper, profile, root)
            parts = [part for part in study.all() if not (tables_only and _stands_in(study, part.dataset))]
            rows = [(part, part.shown if tables_only else part.rows) for part in parts]
            begun.append((study, workers.train(rows)))
        notebooks = []
        for study, training in begun:
            target = storage.PROJECT / "figures" / results.folder(study.paper, profile, study.source.dataset)
            if tables_only:
                training.finish()
                write_tables(study, target)
            else:
                notebooks += _reproduce_paper(study, training, target, workers, given)
        for target, stamp, executed in notebooks:
            executed.result()
            storage.write_json(target / "stamp.json", stamp)
            print(f"done: {target} holds {', '.join(file.name for file in sorted(target.iterdir()))}")
        if sheets:
            sheets.result()


def _write_sheets(target: Path) -> None:
    """Contact sheets of all rendered sets, where the renderer has changed since they were drawn."""
    from fa_lib.data import rendered, sheets  # the renderer paints its textures on import

    wanted, stamp = {"code": rendered.code_hash()}, target / "stamp.json"
    if stamp.exists() and json.loads(stamp.read_text()) == wanted:
        return
    print("drawing contact sheets of the rendered data sets ...", flush=True)
    print(f"{target} holds {', '.join(file.name for file in sheets.write_all(target))}")
    storage.write_json(stamp, wanted)


def _reproduce_paper(
    study: results.Study, training: Training, target: Path, workers: Workers, parameters: dict[str, str]
) -> list[tuple[Path, dict[str, str], Future]]:
    """Waits for a paper's runs and writes its tables, claims and figures; folder, stamp and job of its notebook if due."""
    begin = time.monotonic()
    book = _books([study.paper])[0]
    training.finish()
    wanted = _stamp(study)
    stamp = target / "stamp.json"
    if stamp.exists() and json.loads(stamp.read_text()) == wanted:
        print(f"{study.paper.SLUG}: nothing to do, {target} is up to date")
        return []
    executed = workers.submit(execute, book, target / book.name, parameters)  # needs the runs alone, none of the files below
    write_tables(study, target)
    write_claims_and_figures(study, target)
    print(f"{study.paper.SLUG}: tables and figures in {(time.monotonic() - begin) / 60:.1f} minutes, in {target}", flush=True)
    return [(target, wanted, executed)]


def chosen_papers(slugs: list[str], root: str | None) -> list[ModuleType]:
    """The papers of these names, or all that can work with the data; InputError for a name that there is not."""
    suitable = [paper for paper in PAPERS.values() if paper.OWN_DATA or not is_manifest(root)]
    return [paper_named(slug) for slug in slugs] or suitable


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


def write_tables(study: results.Study, target: Path) -> None:
    """Writes tabNN.csv of a study into the folder `target`, and prints the tables.

    Beside real faces, test sets of a data set that is not at hand are left out: rendered faces have tables of their own.
    """
    for table in study.tables:
        print(f"table {table.number}: {table.title}")
        if not table.costs:
            missing = [dataset for dataset in table.datasets if _stands_in(study, dataset)]
            for dataset in missing:
                print(f"left out: of {dataset} there are no real faces in {study.source.root}")
            table = replace(table, split=tuple(s for s in table.splits if table.locate(s)[0] not in missing))
        if table.splits:
            _write_csv(results.measure(study, table), target / f"tab{table.number:02d}.csv")
            print(results.table(study, table).to_string())
            print(results.about(study, table))
        print()


def write_claims_and_figures(study: results.Study, target: Path) -> None:
    """Writes claims.csv with claims.svg, and figNN.svg|png with figNN.csv, of a study into the folder `target`."""
    _write_csv(results.claims(study), target / "claims.csv")
    draw_claims(target / "claims.csv", study.profile.name == "smoke")
    for number, figure in study.paper.figures().items():
        plots.save(*figure(study), target / f"fig{number:02d}")


def draw_claims(file: Path, smoke: bool = False) -> pd.DataFrame:
    """Draws what a claims.csv says beside it, as claims.svg, and prints the verdicts; returns the claims."""
    found = pd.read_csv(file)
    print(found[["claim", "paper", "here", "low", "high", "verdict"]].round(2).to_string(index=False))
    redraw.save_picture(plots.claims(found, smoke), file.with_suffix(""))
    return found


def _stands_in(study: results.Study, dataset: str | None) -> bool:
    """Whether rendered faces stand in for those of a data set, beside real ones of the first."""
    return study.source.root is not None and study.on(dataset).source.root is None


def _write_csv(frame: pd.DataFrame, file: Path) -> None:
    with storage.new_file(file) as part:
        part.write_bytes(plots.csv_bytes(frame))


def execute(book: Path, target: Path, parameters: dict[str, str]) -> None:
    """Executes a notebook into `target`; a notebook that fails leaves no file of that name."""
    import papermill
    from nbclient.exceptions import DeadKernelError

    print(f"executing {book.name} ...", flush=True)
    with storage.new_file(target) as part:
        try:
            papermill.execute_notebook(
                str(book), str(part), parameters, kernel_name="python3", cwd=str(book.parent), progress_bar=False
            )
        except papermill.PapermillExecutionError as error:
            raise InputError(f"{book.name} failed in cell {error.exec_count}: {error.ename}: {error.evalue}") from error
        except DeadKernelError as error:
            raise InputError(f"{book.name}: its kernel {KILLED}") from error


def wish_of(study: results.Study) -> dict[str, str]:
    """What the outputs of a study are to show: its runs, the notebook, and the code that draws."""
    package = storage.PROJECT / "fa_lib"
    files = sorted([*_books([study.paper]), *package.glob("*.py"), *(package / "papers").glob("*.py")])
    digest = hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()
    return {"code": digest, "runs": hashlib.sha256(" ".join(run.hash for run in study.named()).encode()).hexdigest()}


def _stamp(study: results.Study) -> dict[str, str]:
    """What outputs depend on: the wish, how each run was trained, and what code would train it now (else it shows as stale)."""
    named = study.named()
    trained = [*runs.versions(named).values(), *(runs.code_hash(run.config.code) for run in named)]
    return wish_of(study) | {"trained": hashlib.sha256(" ".join(trained).encode()).hexdigest()}


def named(name: str, root: str | None, data: str) -> runs.Run:
    """The run that a name means: one of a paper's rows, or one that these start from; `data` is what named `root`.

    Raises InputError for what is no run's name, and for another data set than the one that `data` makes.
    """
    parts = name.split("/")
    if len(parts) != 5 or not parts[4].isdigit():
        raise InputError(
            f"{name!r} is no run: write paper/row/dataset/profile/seed, as self_distillation/fan2-all/synthetic-300w/quick/0"
        )
    slug, row, dataset, profile, seed = parts
    if slug not in PAPERS:
        raise InputError(f"there is no paper {slug!r}{suggest(slug, PAPERS)}; there are: {', '.join(PAPERS)}")
    study = results.Study(PAPERS[slug], profile, root)
    if dataset != study.source.dataset.replace("/", "-"):  # one of the paper's others, which are looked for only now
        study = next((part for part in study.all() if dataset == part.source.dataset.replace("/", "-")), study)
    if row not in study.paper.ROWS:
        for run in study.wanted():
            if run.id == name:
                return run
    run = study.run(row, int(seed))
    if dataset != run.id.split("/")[2]:
        raise InputError(f"{name}: --data {data} makes the data set {run.id.split('/')[2]!r}, not {dataset!r}")
    return run
