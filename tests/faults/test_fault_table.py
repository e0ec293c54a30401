"""The table of faults: it counts what was injected, and the README's has every fault that a test names."""

import ast
import re
from pathlib import Path

import pytest

pytest_plugins = ["pytester"]
HERE = Path(__file__).parent
README = (HERE.parent / "README.md").read_text()
SOURCES = [path.read_text() for path in sorted(HERE.parent.rglob("test_*.py")) if path != Path(__file__)]
ROWS = re.findall(r"^\| ([^|]+) \| (\d+) \| (\d+) \| (\d+) \|$", README, re.MULTILINE)
TESTS = """
import pytest

@pytest.mark.faults("one", "two")
def test_survives(injected):
    injected("one"), injected("two"), injected()

@pytest.mark.faults("one")
def test_loses(injected):
    injected()
    assert False

@pytest.mark.faults("three")
def test_injects_nothing():
    pass

def test_has_no_mark(injected):
    injected()
"""


@pytest.mark.parametrize("options", [[], ["-n", "2"]])
def test_table_counts_what_was_injected_and_what_was_lost(pytester: pytest.Pytester, options: list[str]):
    pytester.makeconftest((HERE.parent / "conftest.py").read_text())
    pytester.makeini("[pytest]\nmarkers = faults(*names): faults\n")
    pytester.makepyfile(TESTS)
    found = pytester.runpytest_subprocess("-m", "faults", "-p", "no:cacheprovider", *options)
    found.assert_outcomes(passed=1, failed=2, deselected=0 if options else 1)
    expected = ["| one | 3 | 2 | 1 |", "| two | 1 | 1 | 0 |", "| all | 4 | 3 | 1 |"]
    assert [line for line in found.outlines if line.startswith("| ")][2:] == expected
    assert "marked as a test of faults, but has injected none" in found.stdout.str()


def test_injection_needs_the_mark(pytester: pytest.Pytester):
    pytester.makeconftest((HERE.parent / "conftest.py").read_text())
    pytester.makeini("[pytest]\nmarkers = faults(*names): faults\n")
    pytester.makepyfile(TESTS)
    found = pytester.runpytest_inprocess("-p", "no:cacheprovider", "-k", "no_mark")
    found.assert_outcomes(failed=1, deselected=3)
    assert not [line for line in found.outlines if line.startswith("| ")]


def named(source: str) -> set[str]:
    """The faults that the marks on a file's tests name."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        for mark in getattr(node, "decorator_list", []):
            if isinstance(mark, ast.Call) and getattr(mark.func, "attr", "") == "faults":
                found |= {ast.literal_eval(name) for name in mark.args}
    return found


def test_readme_has_every_fault_that_a_test_names():
    faults = set().union(*map(named, SOURCES))
    assert [row[0] for row in ROWS[:-1]] == sorted(faults) and len(faults) > 20


def test_readme_adds_up_and_nothing_is_lost():
    numbers = [[int(number) for number in row[1:]] for row in ROWS]
    assert ROWS[-1][0] == "all" and numbers[-1] == [sum(column) for column in zip(*numbers[:-1])]
    assert all(injected == survived > 0 and lost == 0 for injected, survived, lost in numbers)
