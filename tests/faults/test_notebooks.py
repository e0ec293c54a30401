"""Notebooks whose kernel is killed, and parameters that would rather be programs."""

import os
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import nbformat
import pytest

from fa_lib import reproduce

TRAIN = """
import os, signal, sys
sys.path.insert(0, folder)
import tiny
tiny.at_step.append(lambda step: step == kill and os.kill(os.getpid(), signal.SIGKILL))
tiny.ask(store)
"""
# what would leave a file named `evil` if it were evaluated, in Python, in a shell, or in a template
PROGRAMS = [
    '"; open("evil", "w").close(); "',
    "'; open('evil', 'w').close(); '",
    '\\"); open("evil", "w").close(); ("',
    "\n\nopen('evil', 'w').close()\n",
    '"""\nopen("evil", "w").close()\n"""',
    "{open('evil', 'w').close()}",
    "$(touch evil) `touch evil`",
    "{{ self.__init__.__globals__ }}",
    "__import__('os').mkdir('evil')",
]


def book(folder: Path, parameters: str, *cells: str) -> Path:
    """A notebook whose first cell holds its parameters."""
    tagged = nbformat.v4.new_code_cell(parameters, metadata={"tags": ["parameters"]})
    metadata = {"kernelspec": {"name": "python3", "display_name": "Python 3"}, "language_info": {"name": "python"}}
    made = nbformat.v4.new_notebook(cells=[tagged, *map(nbformat.v4.new_code_cell, cells)], metadata=metadata)
    nbformat.write(made, folder / "book.ipynb")
    return folder / "book.ipynb"


@pytest.mark.faults("notebook kernel killed in mid-cell")
def test_killed_kernel_ends_in_advice_and_the_next_call_goes_on(
    tmp_path: Path, tiny: ModuleType, whole: bytes, weights_in: Callable, refusal: Callable, injected
):
    """In the middle of a training: no notebook of that name is left, and the run is gone on from its checkpoint."""
    written = book(tmp_path, "folder = store = ''\nkill = -1", TRAIN)
    given = {"folder": str(Path(tiny.__file__).parent), "store": str(tmp_path / "store")}
    target = tmp_path / "out" / "book.ipynb"
    injected()
    said = refusal("book.ipynb", reproduce.execute, written, target, {**given, "kill": 7})
    assert "its kernel was killed, most likely since memory ran out" in said and "the same command goes on" in said
    assert os.listdir(target.parent) == [] and list((tmp_path / "store").rglob("checkpoint.pt"))
    reproduce.execute(written, target, given)
    assert target.exists() and weights_in(tmp_path / "store") == whole
    assert len((tmp_path / "store" / "begun").read_text().splitlines()) == 2


@pytest.mark.faults("program as a notebook's parameter")
def test_values_of_parameters_are_text_and_never_run(tmp_path: Path, injected):
    """All of them in one notebook, which writes down what it got."""
    names = [f"p{number}" for number in range(len(PROGRAMS))]
    says = f"from pathlib import Path\nPath('got').write_text(repr([{', '.join(names)}]))"
    written = book(tmp_path, "\n".join(f"{name} = ''" for name in names), says)
    for _ in PROGRAMS:
        injected()
    reproduce.execute(written, tmp_path / "out.ipynb", dict(zip(names, PROGRAMS)))
    assert (tmp_path / "got").read_text() == repr(PROGRAMS)
    assert not list(tmp_path.rglob("evil"))


@pytest.mark.faults("program as a notebook's parameter")
@pytest.mark.parametrize("name", ["p0 = 1; import os", "p0\nimport os", "__builtins__", "os", "", "p0,p1"])
def test_names_of_parameters_are_those_of_the_notebook(tmp_path: Path, refusal: Callable, injected, name: str):
    """They become the left side of an assignment."""
    injected()
    assert "book.ipynb has no parameter" in refusal("", reproduce.check_parameters, book(tmp_path, "p0 = ''"), {name: "1"})
