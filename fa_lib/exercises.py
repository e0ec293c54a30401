"""Exercises of the notebooks: an answer beside the package's own function, and a hint at what went wrong."""

import ast
import inspect
import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch

from fa_lib import storage
from fa_lib.errors import InputError

SHOWN = 8  # numbers of a result that are printed; of larger ones the worst is named


def check(answer: Callable, reference: Callable, cases: Sequence[tuple], tolerance: float = 1e-6, hint: str = "") -> bool:
    """Tries an exercise's answer on `cases` (argument tuples) against the package's own function; says what differs, and why.

    An answer that still returns None counts as not yet written, which is no error: a notebook runs from top to bottom
    before its reader has solved anything. A wrong one gets a hint if it is right but for a common slip (a factor, a sign, x and
    y, a sum for a mean, half a pixel, the order of arguments), and then the exercise's own `hint`. Returns whether all cases
    agree.

    >>> check(lambda x: x + x, lambda x: 2 * x, [(1.0,), (3.0,)])
    correct: 2 of 2 cases agree
    True
    >>> check(lambda x: x, lambda x: 2 * x, [(0.0,), (3.0,)])
    case 2: got 3.0, expected 6.0
    right: 1 of 2 cases (1)
    hint: it is half of what is expected
    False
    """
    pairs = []
    for case in cases:
        wanted, found = _array(reference(*case)), answer(*case)
        if found is None:
            print("not written yet: the function returns None")
            return False
        pairs.append((_array(found), wanted))
    right = [number for number, pair in enumerate(pairs, 1) if _same(*pair, tolerance)]
    if len(right) == len(cases):
        print(f"correct: {len(cases)} of {len(cases)} cases agree")
        return True
    wrong = [number for number in range(1, len(cases) + 1) if number not in right]
    print(f"case {wrong[0]}: {_difference(*pairs[wrong[0] - 1], tolerance)}")
    if right:
        print(f"right: {len(right)} of {len(cases)} cases ({', '.join(map(str, right))})")
    found = _reasons(answer, [cases[n - 1] for n in wrong], [pairs[n - 1] for n in wrong], tolerance)
    for sentence in filter(None, (next(found, ""), hint)):
        print(f"hint: {sentence}")
    return False


def check_again(answer: Callable, notebook: str, names: dict[str, Any]) -> bool:
    """Runs the cell of notebooks/`notebook`.ipynb that checks `answer`, with `answer` in the place of the cell's own stub.

    So solutions pass the very check that readers see. `names` are the globals of the caller, which must hold what earlier cells
    of the notebook define, and this one uses.
    """
    run_cell(notebook, f"def {answer.__name__}(", names, without=answer.__name__)
    return names["solved"]


def run_cell(notebook: str, holds: str, names: dict[str, Any], without: str = "") -> None:
    """Runs in `names` the imports of notebooks/`notebook`.ipynb, and its one cell that `holds` a text.

    `without` names a function that the cell defines and `names` already has.
    """
    text = (storage.PROJECT / "notebooks" / f"{notebook}.ipynb").read_text()
    cells = ["".join(cell["source"]) for cell in json.loads(text)["cells"] if cell["cell_type"] == "code"]
    found = [cell for cell in cells if holds in cell]
    if len(found) != 1:
        raise InputError(f"{notebook}.ipynb has {len(found)} code cells that hold {holds!r}, and should have one")
    plain = "\n".join(line for cell in cells for line in cell.splitlines() if not line.startswith(("%", "!")))
    body = [node for node in ast.parse(plain).body if isinstance(node, ast.Import | ast.ImportFrom)]
    body += [node for node in ast.parse(found[0]).body if not without or getattr(node, "name", "") != without]
    exec(compile(ast.Module(body, []), f"{notebook}.ipynb", "exec"), names)


def _array(found: Any) -> np.ndarray:
    return torch.as_tensor(found).detach().double().numpy()


def _same(got: np.ndarray, wanted: np.ndarray, tolerance: float) -> bool:
    return got.shape == wanted.shape and np.allclose(got, wanted, rtol=tolerance, atol=tolerance)


def _difference(got: np.ndarray, wanted: np.ndarray, tolerance: float) -> str:
    """One sentence on a wrong result."""
    if got.shape != wanted.shape:
        return f"the result has shape {got.shape}, expected {wanted.shape}"
    if got.size <= SHOWN:
        return f"got {np.round(got, 6).tolist()}, expected {np.round(wanted, 6).tolist()}"
    off = np.abs(np.nan_to_num(got, nan=np.inf) - wanted)
    worst = tuple(map(int, np.unravel_index(off.argmax(), off.shape)))
    agree = int(np.isclose(got, wanted, rtol=tolerance, atol=tolerance).sum())
    return f"at {list(worst)} got {got[worst]:.6g}, expected {wanted[worst]:.6g}; {agree} of {got.size} numbers agree"


def _exchanged(array: np.ndarray) -> np.ndarray:
    return array[..., ::-1] if array.ndim and array.shape[-1] == 2 else array


# What turns a wrong result into the right one -> what the slip was
SLIPS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "the sign is the other way round": np.negative,
    "x and y are exchanged: x comes first": _exchanged,
    "rows and columns are exchanged: the transpose is right": np.transpose,
    "it is the square of what is expected: a root is missing": lambda got: np.sqrt(np.abs(got)),
    "it is the root of what is expected: a square is missing": np.square,
    "it is what is expected, and 1 minus that is what you return": lambda got: 1 - got,
}
TIMES = {2.0: "twice what is expected", 0.5: "half of what is expected", 100.0: "in per cent: expected is a share"}
TIMES |= {0.01: "a share: expected are per cent"}
STEPS = {0.5: "half a pixel: centres of pixels lie at integers", 1.0: "one: the first is 0, and the last of W is W - 1"}


def _reasons(answer: Callable, cases: list[tuple], pairs: list[tuple], tolerance: float) -> Iterator[str]:
    """Sentences that each explain all wrong results, the most telling first."""

    def explained(correct: Callable[[np.ndarray], np.ndarray]) -> bool:
        return all(_same(correct(got), wanted, tolerance) for got, wanted in pairs)

    if any(not np.isfinite(got).all() and np.isfinite(wanted).all() for got, wanted in pairs):
        yield "the result is not finite: is something divided by 0?"
        return
    yield from _of_axes(pairs, tolerance)
    if all(_swappable(case) for case in cases):
        swapped = [(_array(answer(case[1], case[0], *case[2:])), wanted) for case, (_, wanted) in zip(cases, pairs)]
        if all(_same(*pair, tolerance) for pair in swapped):
            yield "it is right with the first two arguments exchanged"
    yield from (sentence for sentence, correct in SLIPS.items() if explained(correct))
    if all(_same(np.abs(got), np.abs(wanted), tolerance) for got, wanted in pairs):
        yield "the size is right, and the sign not everywhere: is an absolute value missing, or one too many?"
    if all(got.shape == wanted.shape for got, wanted in pairs):
        yield from _of_factors(answer, cases, pairs, tolerance)
        yield from _of_offsets(pairs, tolerance)
        if pairs[0][0].size > 2 and all(_same(np.sort(g, None), np.sort(w, None), tolerance) for g, w in pairs):
            yield "these are the right numbers in other places: in which order are they asked for?"


def _swappable(case: tuple) -> bool:
    shapes = [one.shape for one in case[:2] if isinstance(one, torch.Tensor | np.ndarray)]
    return len(shapes) == 2 and shapes[0] == shapes[1]


def _of_axes(pairs: list[tuple], tolerance: float) -> Iterator[str]:
    """A mean or a sum that was not taken."""
    for name, take in {"mean": np.mean, "sum": np.sum}.items():
        for axes in ((-1,), (-2, -1), None, (0,)):
            fits = [got.ndim >= max(1, len(axes or ())) and _same(take(got, axes), wanted, tolerance) for got, wanted in pairs]
            if all(got.shape != wanted.shape for got, wanted in pairs) and all(fits):
                yield f"a {name} is missing, over {'everything' if axes is None else f'axes {axes}'}"


def _of_factors(answer: Callable, cases: list[tuple], pairs: list[tuple], tolerance: float) -> Iterator[str]:
    """A factor that is the same everywhere, or that is an argument, or the length of one of its axes."""
    ratios = np.concatenate([(got[wanted != 0] / wanted[wanted != 0]).ravel() for got, wanted in pairs])
    if not ratios.any() or any((got[wanted == 0] != 0).any() for got, wanted in pairs):
        return
    arguments, lengths = [], []
    for place, name in enumerate(inspect.signature(answer).parameters):
        given = [case[place] for case in cases if place < len(case)]
        if len(given) != len(cases) or not all(isinstance(one, torch.Tensor | np.ndarray | float | int) for one in given):
            continue
        values = [_array(one) for one in given]
        if all(_is_times(*pair, value, tolerance) for pair, value in zip(pairs, values)):
            arguments.append(f"it is `{name}` times what is expected: divide by it")
        for axis in range(-1, -1 - min(value.ndim for value in values), -1):
            if all(_is_times(*pair, np.asarray(value.shape[axis]), tolerance) for pair, value in zip(pairs, values)):
                lengths.append(f"a sum for a mean, over axis {axis} of `{name}`?")
    times = float(np.round(np.median(ratios), 12))
    if np.allclose(ratios, times, rtol=10 * tolerance) and (len(ratios) > 1 or times in TIMES):
        name = TIMES.get(times, f"{times:.4g} times what is expected, everywhere")
        yield f"it is {': '.join([name, *lengths[:1]])}"
    yield from arguments
    yield from (f"it is as many times too large as an axis is long: {length}" for length in lengths)


def _is_times(got: np.ndarray, wanted: np.ndarray, factor: np.ndarray, tolerance: float) -> bool:
    """Whether got = factor * wanted, a factor of shape (B, ...) for the first axes of got, and not 1 everywhere."""
    if factor.shape != got.shape[: factor.ndim] or np.allclose(factor, 1):
        return False
    return _same(factor.reshape(factor.shape + (1,) * (got.ndim - factor.ndim)) * wanted, got, tolerance)


def _of_offsets(pairs: list[tuple], tolerance: float) -> Iterator[str]:
    """Something added that is the same everywhere, or the same for all x and for all y."""
    apart = [np.atleast_1d(got - wanted) for got, wanted in pairs]
    columns = 2 if all(one.shape[-1] == 2 for one in apart) else 1
    flat = np.concatenate([one.reshape(-1, columns) for one in apart])
    shift = np.median(flat, 0)
    if np.allclose(flat, shift, rtol=0, atol=10 * tolerance):
        known = float(np.round(np.abs(shift).max(), 6))
        if len(flat) > 1 or known in STEPS:
            where = f"{shift[0]:+.4g} in x and {shift[1]:+.4g} in y" if columns == 2 else f"{shift[0]:+.4g}"
            yield f"it is off by {where} everywhere" + (f", {STEPS[known]}" if known in STEPS else "")
