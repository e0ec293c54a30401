"""The numbers that the papers print, as digits: where the true number behind each lies, and over how many faces it is taken."""

from functools import cache
from types import ModuleType

import pandas as pd

from fa_lib import storage
from fa_lib.data import manifests

Key = tuple[int, str, str, str]  # table, label, split, metric
Range = tuple[float, float]


class Printed:
    """The numbers that a paper prints, as the texts they are: (table, label, split, metric) -> digits."""

    def __init__(self, paper: ModuleType) -> None:
        self.paper, self.tables = paper, {table.number: table for table in paper.TABLES}
        frame = pd.read_csv(storage.PROJECT / "figures" / "published" / f"{paper.SLUG}.csv", comment="#", dtype=str)
        frame["table"] = frame["table"].astype(int)
        if "split" not in frame:
            frame["split"] = [self.tables[number].split for number in frame["table"]]
        self.text: dict[Key, str] = frame.set_index(["table", "label", "split", "metric"])["value"].to_dict()

    def span(self, key: Key, cut: bool = False) -> Range:
        """Where the true number of a cell lies."""
        return span(self.text[key], cut)

    def where(self, key: Key) -> tuple[str, str]:
        """Data set and part of a cell."""
        dataset, part = self.tables[key[0]].locate(key[2])
        return dataset or "300w", part


def span(text: str, cut: bool = False) -> Range:
    """The numbers that round to printed digits, or that begin with them (`cut`: the rest was cut off).

    >>> span("3.5"), span("3.5", cut=True), span("-12", cut=True)
    ((3.45, 3.55), (3.5, 3.6), (-13.0, -12.0))
    """
    value, step = float(text), 10.0 ** -len(text.partition(".")[2])
    if cut:
        return (value, value + step) if value >= 0 else (value - step, value)
    return value - step / 2, value + step / 2


def meet(one: Range, other: Range) -> bool:
    """Whether two ranges have more than an end in common; a single number may lie on an end.

    >>> meet((3.45, 3.55), (3.55, 3.65)), meet((3.45, 3.55), (3.5, 4.0)), meet((3.45, 3.55), (3.55, 3.55))
    (False, True, True)
    """
    common = min(one[1], other[1]) - max(one[0], other[0])
    # half a digit is not exact in binary
    return common > 1e-9 or (common > -1e-9 and (one[0] == one[1] or other[0] == other[1]))


@cache
def faces(dataset: str, part: str) -> int:
    """How many faces a part of an official test set has.

    >>> faces("300w", "masked challenging"), faces("cofw", "test"), faces("wflw", "pose")
    (135, 507, 326)
    """
    manifest, part = manifests.load(dataset), part.removeprefix("masked").strip() or "test"
    whole = manifest.splits["full" if dataset == "300w" else "test"].expected
    return whole if part == "test" else manifest.subsets[part]


def least(printed: Printed, keys: list[Key]) -> Range:
    """Where the least of some cells lies."""
    spans = [printed.span(key) for key in keys]
    return min(low for low, _ in spans), min(high for _, high in spans)


def change(printed: Printed, key: Key, others: list[Key]) -> Range:
    """By how many per cent a cell is greater than the least of others."""
    new, old = printed.span(key), least(printed, others)
    return 100 * (new[0] / old[1] - 1), 100 * (new[1] / old[0] - 1)
