"""The course: goals and times of each notebook, exercises of four kinds, solutions that pass the readers' own checks."""

import re
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import nbformat
import pytest

FOLDER = Path(__file__).resolve().parents[2] / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
README = (FOLDER / "README.md").read_text()
KINDS = ("predict", "derive", "code", "experiment")
EXERCISE = re.compile(r"\bExercise (\d+) · (\w+)(?: · (\d+) min)?")
CHECKED, CHECKED_AGAIN = (re.compile(rf"notebook\.{name}\(\s*(\w+)") for name in ("check", "check_again"))
every_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


class Exercise(NamedTuple):
    number: int
    kind: str
    minutes: int


def text(path: Path, kind: str) -> str:
    return "\n\n".join(cell.source for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == kind)


def exercises(path: Path) -> list[Exercise]:
    found = EXERCISE.findall(text(path, "markdown"))
    return [Exercise(int(number), kind, int(minutes or 0)) for number, kind, minutes in found]


def times(path: Path) -> tuple[int, int, int]:
    """What the first cell says: minutes to read, number of exercises, and their minutes."""
    first = nbformat.read(path, as_version=4).cells[0].source
    found = re.findall(r"\*\*Time\.\*\* Reading (\d+) minutes, its (\d+) exercises (\d+) more", first)
    assert len(found) == 1, "the first cell must hold: **Time.** Reading N minutes, its N exercises N more"
    return tuple(map(int, found[0]))


@every_notebook
def test_notebook_begins_with_goals_and_prerequisites(path: Path):
    first = nbformat.read(path, as_version=4).cells[0].source
    goals, _, rest = first.partition("**Learning goals.**")[2].partition("**Prerequisites.**")
    assert len(re.findall(r"^\d\. ", goals, re.MULTILINE)) >= 3 and rest
    assert f"`solutions/{path.stem}.ipynb`" in rest


@every_notebook
def test_exercises_are_numbered_of_all_kinds_and_as_long_as_said(path: Path):
    found = exercises(path)
    assert [one.number for one in found] == list(range(1, len(found) + 1))
    assert {one.kind for one in found} == set(KINDS) and min(one.minutes for one in found) > 0
    assert times(path)[1:] == (len(found), sum(one.minutes for one in found))


@every_notebook
def test_notebook_gives_no_answer_away(path: Path):
    assert "<details>" not in text(path, "markdown")
    for stub in CHECKED.findall(text(path, "code")):
        assert re.search(rf'^def {stub}\(.*\n    """.*"""\n    return None  # your code', text(path, "code"), re.MULTILINE)


@every_notebook
def test_every_exercise_has_a_solution_and_code_passes_the_notebooks_own_check(path: Path):
    solution = FOLDER / "solutions" / path.name
    wanted = [(one.number, one.kind) for one in exercises(path)]
    assert [(one.number, one.kind) for one in exercises(solution)] == wanted
    checked, again = CHECKED.findall(text(path, "code")), CHECKED_AGAIN.findall(text(solution, "code"))
    assert text(solution, "code").count(f', "{path.stem}", globals())') >= len(again)
    assert again == checked and len(checked) >= sum(one.kind == "code" for one in exercises(path))


def test_there_is_no_solution_without_a_notebook():
    assert {path.name for path in (FOLDER / "solutions").glob("*")} <= {path.name for path in NOTEBOOKS} | {".ipynb_checkpoints"}


@every_notebook
def test_the_courses_table_has_the_notebooks_times_and_exercises(path: Path):
    counts = Counter(one.kind for one in exercises(path))
    reading, number, minutes = times(path)
    kinds = ", ".join(f"{counts[kind]} {kind}" for kind in KINDS)
    (row,) = [line for line in README.splitlines() if line.startswith(f"| [`{path.stem}`]({path.name}) |")]
    assert row.endswith(f"| {reading} min | {number}: {kinds} | {minutes} min |")


def test_links_and_exercises_that_the_course_names_exist():
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        assert (FOLDER / target).exists(), target
    for name, numbers in re.findall(r"`(\d\d_\w+)`, exercises? ([\d, and]+)", README):
        known = {one.number for one in exercises(FOLDER / f"{name}.ipynb")}
        assert set(map(int, re.findall(r"\d+", numbers))) <= known, (name, numbers)


def test_lab_opens_on_the_first_notebook():
    (opened,) = re.findall(r"jupyter lab .*default_url=/lab/tree/(\S+)", (FOLDER.parent / "Makefile").read_text())
    assert FOLDER.parent / opened == NOTEBOOKS[0]
