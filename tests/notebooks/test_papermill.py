"""Every notebook, small, as a papermill user runs it; and then once more, to see that it says the same twice.

A cell whose output may differ from run to run (a time, a progress line, a trained number) carries the tag
`nbval-ignore-output`; every other cell is compared word for word, with the output that is committed where it has the tag
`nbval-check-output`.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import nbformat
import pytest

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
PAPERMILL, FA = (Path(sys.executable).with_name(name) for name in ("papermill", "fa"))
LIMIT = 900  # seconds a notebook; one or two minutes on a quiet machine
# all tests of a notebook by one worker, which has executed it
every_notebook = pytest.mark.parametrize(
    "notebook", [pytest.param(path, id=path.stem, marks=pytest.mark.xdist_group(path.stem)) for path in NOTEBOOKS]
)


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("smoke")


@pytest.fixture(scope="session")
def environment() -> dict[str, str]:
    """As in a fresh shell, with the checkout's store: what is trained here, `make test-solutions` finds.

    A set MPLBACKEND would keep figures out of the notebook.
    """
    inherited = {name: value for name, value in os.environ.items() if name != "MPLBACKEND"}
    return inherited | {"OMP_NUM_THREADS": "1"}


def call(*command: str | Path, cwd: Path, environment: dict[str, str]) -> str:
    """Runs a command within LIMIT; what it says. Its exit code alone is trusted: a dead kernel leaves a file that looks whole."""
    done = subprocess.run(command, cwd=cwd, env=environment, timeout=LIMIT, capture_output=True, text=True)
    assert done.returncode == 0, f"exit {done.returncode}\n{done.stdout[-6000:]}\n{done.stderr[-6000:]}"
    return done.stdout


@pytest.fixture(scope="session")
def executed(folder: Path, environment: dict[str, str]) -> Callable[[Path], Path]:
    """A function that executes a notebook from the command line, once a session, and returns what papermill wrote."""

    def execute(notebook: Path) -> Path:
        target = folder / notebook.name
        if not target.exists():
            part = target.with_suffix(".part.ipynb")
            call(PAPERMILL, notebook, part, "-p", "profile", "smoke", cwd=ROOT, environment=environment)
            part.rename(target)
        return target

    return execute


def test_there_are_notebooks():
    assert NOTEBOOKS


@every_notebook
def test_notebook_runs_at_profile_smoke(notebook: Path, executed):
    cells = nbformat.read(executed(notebook), as_version=4).cells
    injected = [cell for cell in cells if "injected-parameters" in cell.metadata.get("tags", [])]
    assert [cell.source.splitlines()[-1] for cell in injected] == ['profile = "smoke"']


@every_notebook
def test_notebook_runs_on_faces_of_ones_own(notebook: Path, own_data: Path, folder: Path, environment: dict[str, str]):
    """Five landmarks in COCO JSON, without a change in code."""
    out = folder / f"{notebook.stem}.own.ipynb"
    parameters = ("-p", "profile", "smoke", "-p", "data", own_data, "-p", "seeds", "1")
    call(PAPERMILL, notebook, out, *parameters, "--cwd", notebook.parent, cwd=ROOT, environment=environment)
    said = out.read_text()
    assert "My faces" in said and "distance of points 0 and 1" in said


@every_notebook
def test_notebook_gives_the_same_output_twice_and_where_checked_the_committed_one(
    notebook: Path, executed, environment: dict[str, str]
):
    book, committed = (nbformat.read(path, as_version=4) for path in (executed(notebook), notebook))
    checked = {cell.id: cell.outputs for cell in committed.cells if "nbval-check-output" in cell.metadata.get("tags", [])}
    for cell in book.cells:
        if cell.id in checked:
            cell.outputs = checked.pop(cell.id)
    assert not checked
    target = executed(notebook).with_suffix(".again.ipynb")
    nbformat.write(book, target)
    options = ["-q", "-p", "no:cacheprovider", "--nbval", "--nbval-current-env", "--nbval-cell-timeout", "300"]
    call(sys.executable, "-m", "pytest", *options, target.name, cwd=target.parent, environment=environment)


@pytest.mark.xdist_group("00_start_here")
def test_reproduce_writes_everything_and_then_has_nothing_to_do(environment: dict[str, str]):
    folder = ROOT / "figures" / "smoke" / "rendered_to_real"
    shutil.rmtree(folder, ignore_errors=True)
    command = FA, "reproduce", "rendered_to_real", "--profile", "smoke"
    first, second = (call(*command, cwd=ROOT, environment=environment) for _ in range(2))
    assert "Learned from rendered faces alone" in first and f"done: {folder} holds 00_start_here.ipynb, claims.csv" in first
    assert {"claims.csv", "fig01.svg", "stamp.json", "tab01.csv"} <= {file.name for file in folder.iterdir()}
    assert "0 of 14 runs to train" in second and "rendered_to_real: nothing to do" in second and "table 1" not in second
