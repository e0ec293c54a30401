"""What a committed notebook must look like, so that it can be parametrised, compared, read in a diff and trusted.

`complaints` holds the rules; the second half of the file shows that each of them bites, on a notebook made for it.
"""

import ast
import copy
import json
import re
from collections.abc import Callable, Iterable
from pathlib import Path

import nbformat
import pytest
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOKS = sorted(path for folder in ("notebooks", "notebooks/solutions") for path in (ROOT / folder).glob("*.ipynb"))
MAX_PARAMETERS, MAX_LINES, MAX_FILE, MAX_PICTURE = 10, 25, 1_500_000, 600_000
UNEXPLAINED = 3  # parameters, imports and versions may follow each other at the top
MACHINE_PATH = re.compile(r"(?<![\w.~-])/(work|root|home|Users|tmp)/")
PUBLIC = {
    node.name
    for path in (ROOT / "fa_lib").rglob("*.py")
    for node in ast.parse(path.read_text()).body
    if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_")
}


def tags(cell: NotebookNode) -> set[str]:
    return set(cell.metadata.get("tags", []))


def code_cells(notebook: NotebookNode) -> list[NotebookNode]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def tree(cell: NotebookNode) -> ast.Module:
    """The cell as Python, without the magics that only IPython understands."""
    return ast.parse("\n".join(line for line in cell.source.splitlines() if not line.startswith(("%", "!"))))


def is_literal_assignment(node: ast.stmt) -> bool:
    if not isinstance(node, ast.Assign | ast.AnnAssign) or node.value is None:
        return False
    try:
        ast.literal_eval(node.value)
    except ValueError:
        return False
    return True


def parameter_complaints(notebook: NotebookNode) -> Iterable[str]:
    """papermill overwrites what it does not recognise as a parameter, and says nothing."""
    cells = [cell for cell in code_cells(notebook) if "parameters" in tags(cell)]
    if len(cells) != 1:
        yield f"{len(cells)} cells tagged parameters, not 1"
    for cell in cells:
        body = tree(cell).body
        if not all(map(is_literal_assignment, body)):
            yield "the parameters cell holds more than assignments of literals"
        if len(body) > MAX_PARAMETERS:
            yield f"{len(body)} parameters, at most {MAX_PARAMETERS}"
        hidden = [line for line in cell.source.splitlines() if line.count("=") > 1]
        yield from (f"a second = hides this parameter: {line}" for line in hidden)
    if any("injected-parameters" in tags(cell) for cell in notebook.cells):
        yield "this is what papermill wrote, not what it reads: a cell is tagged injected-parameters"


def output_complaints(notebook: NotebookNode) -> Iterable[str]:
    """nbval skips a cell without execution count, and a checked cell without output checks nothing."""
    cells = code_cells(notebook)
    counts = [cell.execution_count for cell in cells]
    if counts != list(range(1, len(cells) + 1)):
        yield f"executed in the order {counts}: restart the kernel and run all cells"
    for number, cell in enumerate(cells, 1):
        checked, kept = "nbval-check-output" in tags(cell), "keep_output" in tags(cell)
        if checked and not kept:
            yield f"cell [{number}] is tagged nbval-check-output but not keep_output: nbstripout would empty it"
        if checked and not cell.outputs:
            yield f"cell [{number}] is to be checked but has no output"
        if cell.outputs and not kept:
            yield f"cell [{number}] has output but is not tagged keep_output: run nbstripout --keep-count"
        if any(output.output_type == "error" for output in cell.outputs):
            yield f"cell [{number}] ended in an error"
        sizes = [len(str(data)) for output in cell.outputs for data in output.get("data", {}).values()]
        if max(sizes, default=0) > MAX_PICTURE:
            yield f"cell [{number}] holds an output of {max(sizes)} bytes, at most {MAX_PICTURE}"
        shown = {kind: o.metadata.get(kind, {}) for o in cell.outputs for kind in o.get("data", {}) if kind.startswith("image/")}
        yield from (f"cell [{number}]: no alt stands for its {kind}" for kind, about in shown.items() if not about.get("alt"))


def text_complaints(notebook: NotebookNode) -> Iterable[str]:
    """A cell that cannot be read at a glance, that comes without a reason, or that hides what the package does."""
    previous = "markdown"
    for number, cell in enumerate(code_cells(notebook), 1):
        lines = len(cell.source.splitlines())
        if lines > MAX_LINES:
            yield f"cell [{number}]: {lines} lines, at most {MAX_LINES}"
        defined = {node.name for node in tree(cell).body if isinstance(node, ast.FunctionDef | ast.ClassDef)}
        calls = [node for node in ast.walk(tree(cell)) if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "Image"]
        if any("alt" not in {keyword.arg for keyword in call.keywords} for call in calls):
            yield f"cell [{number}] shows an Image without alt, the words that stand for it"
        if defined & PUBLIC:
            yield f"cell [{number}] defines {sorted(defined & PUBLIC)} again: import it, show it with show_source"
    number = 0
    for cell in notebook.cells:
        number += cell.cell_type == "code"
        if cell.cell_type == previous == "code" and number > UNEXPLAINED:
            yield f"cell [{number}]: no markdown cell before it says why"
        previous = cell.cell_type


def file_complaints(notebook: NotebookNode) -> Iterable[str]:
    """What a stranger's machine or a diff would choke on."""
    text = json.dumps(notebook)
    if len(text) > MAX_FILE:
        yield f"{len(text)} bytes, at most {MAX_FILE}"
    if notebook.metadata.get("kernelspec", {}).get("name") != "python3":
        yield "the kernel is not named python3"
    yield from (f"path of one machine: {match.group()}" for match in MACHINE_PATH.finditer(text))


def complaints(notebook: NotebookNode) -> list[str]:
    rules = (parameter_complaints, output_complaints, text_complaints, file_complaints)
    return [complaint for rule in rules for complaint in rule(notebook)]


def test_there_are_notebooks():
    assert [path.name for path in NOTEBOOKS][:2] == ["00_start_here.ipynb", "01_self_distillation.ipynb"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_notebook_is_clean(path: Path):
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    assert not complaints(notebook)


@pytest.fixture
def good() -> NotebookNode:
    parameters, checked = {"tags": ["parameters"]}, {"tags": ["keep_output", "nbval-check-output"]}
    two = new_output("execute_result", {"text/plain": "2"})
    return new_notebook(
        metadata={"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}},
        cells=[
            new_markdown_cell("# Title"),
            new_code_cell('profile = "quick"  # size\nseeds: int = 2', execution_count=1, metadata=parameters),
            new_code_cell("import fa_lib", execution_count=2),
            new_code_cell("print(fa_lib)", execution_count=3),
            new_markdown_cell("Why"),
            new_code_cell("1 + 1", execution_count=4, metadata=checked, outputs=[two]),
        ],
    )


def bad_cell(index: int, **change) -> Callable[[NotebookNode], None]:
    return lambda notebook: notebook.cells[index].update(change)


def tagged(index: int, *names: str) -> Callable[[NotebookNode], None]:
    return lambda notebook: notebook.cells[index].metadata.update(tags=list(names))


PICTURE = [new_output("display_data", {"image/png": "A" * 600_001})]
BAD = {
    "0 cells tagged parameters": tagged(1),
    "2 cells tagged parameters": tagged(2, "parameters"),
    "more than assignments": bad_cell(1, source="profile = str(1)"),
    "11 parameters": bad_cell(1, source="\n".join(f"p{i} = {i}" for i in range(11))),
    "a second = hides": bad_cell(1, source="profile = 'quick'  # sizes=small"),
    "what papermill wrote": tagged(3, "injected-parameters"),
    "executed in the order [2, 2": bad_cell(1, execution_count=2),
    "executed in the order [1, 2, None": bad_cell(3, execution_count=None),
    "but not keep_output": tagged(5, "nbval-check-output"),
    "has no output": bad_cell(5, outputs=[]),
    "is not tagged keep_output": tagged(5),
    "ended in an error": bad_cell(5, outputs=[new_output("error", ename="E", evalue="", traceback=[])]),
    "an output of 600001 bytes": bad_cell(5, outputs=PICTURE),
    "no alt stands for its image/png": bad_cell(5, outputs=[new_output("display_data", {"image/png": "A"})]),
    "shows an Image without alt": bad_cell(5, source="Image(b'', format='png')"),
    "26 lines": bad_cell(5, source="1\n" * 25 + "1"),
    "no markdown cell before": lambda notebook: notebook.cells.append(new_code_cell("2", execution_count=5)),
    "again: import it": bad_cell(5, source="class InputError(Exception): pass"),
    "bytes, at most 1500000": bad_cell(4, source="x" * 1_500_000),
    "not named python3": lambda notebook: notebook.metadata.kernelspec.update(name="conda-env"),
    "path of one machine": bad_cell(5, source="open('" + "/home" + "/me/300w')"),
}


def test_good_notebook_is_accepted(good: NotebookNode):
    nbformat.validate(good)
    assert complaints(good) == []


@pytest.mark.parametrize("expected", BAD)
def test_bad_notebook_is_caught(expected: str, good: NotebookNode):
    notebook = copy.deepcopy(good)
    BAD[expected](notebook)
    assert any(expected in complaint for complaint in complaints(notebook)), complaints(notebook)
