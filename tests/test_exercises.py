"""Answers to exercises: which are right, and what a wrong one is told."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from fa_lib import exercises, storage
from fa_lib.exercises import check

generator = torch.Generator().manual_seed(0)
FACES = [tuple(10 + 90 * torch.rand(3, 5, 2, generator=generator, dtype=torch.float64).unsqueeze(0)) for _ in range(3)]
PAIRS = [tuple(torch.rand(2, 4, 5, generator=generator, dtype=torch.float64)) for _ in range(3)]


def itself(landmarks: torch.Tensor) -> torch.Tensor:
    return landmarks


def difference(one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    return one - 2 * other


def mean_distance(pred: torch.Tensor) -> torch.Tensor:
    return pred.norm(dim=-1).mean(-1)


def nme(pred: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
    return pred.norm(dim=-1) / lengths[:, None]


SLIPS: dict[str, tuple[Callable, Callable, list]] = {  # what is said -> an answer, the package's function, the cases
    "it is twice what is expected": (lambda x: 2 * x, itself, FACES),
    "it is half of what is expected": (lambda x: x / 2, itself, FACES),
    "in per cent": (lambda x: 100 * x, itself, [(0.5,)]),
    "it is 7 times what is expected, everywhere": (lambda x: 7 * x, itself, FACES),
    "the sign is the other way round": (lambda x: -x, itself, FACES),
    "x and y are exchanged": (lambda x: x.flip(-1), itself, FACES),
    "the transpose is right": (lambda one, other: (one - 2 * other).T, difference, PAIRS),
    "a root is missing": (lambda x: x**2, itself, FACES),
    "a square is missing": (lambda x: x.sqrt(), itself, FACES),
    "1 minus that": (lambda x: 1 - x, itself, FACES),
    "the sign not everywhere": (lambda one, other: (one - 2 * other).abs(), difference, PAIRS),
    "the first two arguments exchanged": (lambda one, other: other - 2 * one, difference, PAIRS),
    "a mean is missing, over axes (-1,)": (lambda pred: pred.norm(dim=-1), mean_distance, FACES),
    "a sum is missing, over everything": (lambda x: x, lambda x: x.sum(), FACES),
    "it is 5 times what is expected, everywhere: a sum for a mean, over axis -2 of `pred`?": (
        lambda pred: pred.norm(dim=-1).sum(-1),
        mean_distance,
        FACES,
    ),
    "as an axis is long: a sum for a mean, over axis -2 of `pred`?": (
        lambda pred: pred.norm(dim=-1).sum(-1),
        mean_distance,
        [(face[:, :count],) for count, (face,) in zip((2, 3, 5), FACES)],
    ),
    "it is `lengths` times what is expected": (
        lambda pred, lengths: pred.norm(dim=-1),
        nme,
        [(face, torch.tensor([40.0, 50.0, 70.0]).double()) for (face,) in FACES],
    ),
    "it is `rate` times what is expected": (
        lambda late, rate: rate / late,
        lambda late, rate: 1 / late,
        [(2.0, 30.0), (0.3, 25.0)],
    ),
    "it is off by +0.5 in x and +0.5 in y everywhere, half a pixel": (lambda x: x + 0.5, itself, FACES),
    "it is off by +1 in x and +0 in y everywhere, one": (lambda x: x + torch.tensor([1.0, 0.0]), itself, FACES),
    "it is off by -0.5 everywhere, half a pixel": (lambda x: x - 0.5, itself, [(3.0,)]),
    "it is off by +3 everywhere": (lambda x: x + 3, itself, [(3.0,), (5.0,)]),
    "in other places": (lambda x: x[:, [1, 0, 2, 4, 3]], itself, FACES),
    "not finite": (lambda x: x / 0, itself, FACES),
}


@pytest.mark.parametrize("said", SLIPS)
def test_check_names_the_slip(said: str, capsys: pytest.CaptureFixture[str]):
    answer, reference, cases = SLIPS[said]
    assert not check(answer, reference, cases)
    hints = [line for line in capsys.readouterr().out.splitlines() if line.startswith("hint: ")]
    assert len(hints) == 1 and said in hints[0]
    assert check(reference, reference, cases)


def test_check_has_no_hint_for_what_it_does_not_know(capsys: pytest.CaptureFixture[str]):
    assert not check(lambda x: x + torch.arange(5.0)[:, None] ** 2, itself, FACES)
    assert "hint" not in capsys.readouterr().out


def test_one_number_is_not_called_a_multiple_of_another(capsys: pytest.CaptureFixture[str]):
    """Every number is one, and is as far from it as it is."""
    assert not check(lambda x: 7 * x, itself, [(3.0,)])
    assert "hint" not in capsys.readouterr().out


def test_check_says_which_cases_are_right_and_ends_with_the_exercises_own_hint(capsys: pytest.CaptureFixture[str]):
    assert not check(lambda x: max(x, 0.0), lambda x: x, [(1.0,), (-2.0,), (3.0,), (-5.0,)], hint="what of numbers below 0?")
    said = capsys.readouterr().out.splitlines()
    assert said == ["case 2: got 0.0, expected -2.0", "right: 2 of 4 cases (1, 3)", "hint: what of numbers below 0?"]


def test_check_names_the_worst_number_of_a_large_result(capsys: pytest.CaptureFixture[str]):
    def off(landmarks: torch.Tensor) -> torch.Tensor:
        landmarks = landmarks.clone()
        landmarks[1, 3, 0] += 5
        return landmarks

    assert not check(off, itself, [(torch.zeros(2, 5, 2),)])
    assert capsys.readouterr().out.startswith("case 1: at [1, 3, 0] got 5, expected 0; 19 of 20 numbers agree")


def test_check_says_that_nothing_is_written_yet(capsys: pytest.CaptureFixture[str]):
    assert not check(lambda x: None, itself, FACES)
    assert capsys.readouterr().out == "not written yet: the function returns None\n"


def test_check_accepts_numbers_arrays_and_tensors_that_learn():
    grows = torch.ones(3, requires_grad=True)
    assert check(lambda x: np.asarray(3.0), lambda x: 3 * x.mean(), [(grows,)])


CELL = """def my_double(x):
    return None


cases = [(1.0,), (factor,)]
solved = check(my_double, lambda x: 2 * x, cases)
"""


@pytest.fixture
def written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A notebook with one exercise, by its name."""
    (tmp_path / "notebooks").mkdir()
    cells = [{"cell_type": "markdown", "source": ["def my_double("]}, {"cell_type": "code", "source": CELL.splitlines(True)}]
    (tmp_path / "notebooks" / "one.ipynb").write_text(json.dumps({"cells": cells}))
    monkeypatch.setattr(storage, "PROJECT", tmp_path)
    return "one"


def test_solution_meets_the_readers_own_check(written: str, capsys: pytest.CaptureFixture[str]):
    def my_double(x):
        return x + x

    names = {"check": check, "factor": 3.0, "my_double": my_double}
    assert exercises.check_again(my_double, written, names)
    assert capsys.readouterr().out == "correct: 2 of 2 cases agree\n" and names["cases"] == [(1.0,), (3.0,)]
    exercises.run_cell(written, "def my_double", names)
    assert names["solved"] is False and "not written yet" in capsys.readouterr().out


def test_cell_that_is_not_there_is_refused(written: str, refusal: Callable):
    refusal("def my_other(", exercises.run_cell, written, "def my_other(", {})
