"""How long a profile would train and how much it would store, from recorded trainings: `fa reproduce --dry-run`."""

import functools
from dataclasses import astuple, dataclass, fields
from types import ModuleType

import pandas as pd

from fa_lib import models, reproduce, results, runs
from fa_lib.data import counted
from fa_lib.errors import InputError
from fa_lib.papers import PAPERS

BASE = "desk"  # the profile of which every paper has recorded hours


@dataclass(frozen=True)
class Amount:
    """What a paper would take: runs, hours of a CPU core, bytes of weights."""

    runs: int
    hours: float
    weights: int


def expect(papers: list[ModuleType], profile: str, root: str | None) -> tuple[dict[str, Amount], dict[str, int]]:
    """What papers would take at a profile from an empty store, and the bytes of each data set's crops.

    Rendered sets are counted and not drawn; nothing is trained.
    """
    amounts: dict[str, Amount] = {}
    with counted.counting() as stores:
        for paper in papers:
            own = [run for run in results.Study(paper, profile, root).wanted() if run.paper == paper.SLUG]
            weights = sum(4 * _network(run)[0] for run in own)
            amounts[paper.SLUG] = Amount(len(own), sum(map(hours, own)), weights)
    return amounts, stores


def text(slugs: list[str], profile: str, root: str | None) -> str:
    """The same as a table with sums; InputError for an unknown paper or profile."""
    amounts, stores = expect(reproduce.chosen_papers(slugs, root), profile, root)
    total = Amount(*(sum(values) for values in zip(*map(astuple, amounts.values()), strict=True)))
    lines = [f"{'paper':20} {'runs':>6} {'CPU hours':>12} {'weights':>11}"]
    lines += [f"{n:20} {a.runs:6,} {a.hours:12,.1f} {a.weights / 2**30:7.2f} GiB" for n, a in {**amounts, "all": total}.items()]
    lines.append(f"crops and rendered faces: {len(stores)} sets, {sum(stores.values()) / 2**30:,.1f} GiB")
    lines.append(f"hours: of one core, from what was recorded at {BASE} on a CPU; nothing has been recorded on a GPU")
    return "\n".join(lines)


def hours(run: runs.Run) -> float:
    """Hours of one CPU core that a run would take, without those that it starts from.

    As many times what was recorded at `desk` as it has more pictures and more multiply-adds for each. Nothing has been recorded
    on a GPU, so there are no hours of one.
    """
    twins = _twins(run.paper)
    twin = twins.get((run.row, run.dataset)) or twins.get((run.row, None))
    more = 1.0 if twin is None else _network(run)[1] / _network(twin)[1]
    return PAPERS[run.paper].cost(run) * _hours_per_cost(run.paper) * more


@functools.cache
def _twins(slug: str) -> dict[tuple[str, str | None], runs.Run]:
    """The runs of a paper at `desk` by row and data set, and by row alone."""
    with counted.counting():
        found = results.Study(PAPERS[slug], BASE).wanted()
    return {(run.row, None): run for run in reversed(found)} | {(run.row, run.dataset): run for run in found}


@functools.cache
def _hours_per_cost(slug: str) -> float:
    """Recorded hours of one seed over the paper's own weights of its runs, summed over the rows that were recorded.

    Of a paper without recorded hours it is the mean of the others.
    """
    recorded = _recorded(slug)
    twins = [(_twins(slug)[row, None], each) for row, each in recorded.items() if (row, None) in _twins(slug)]
    if not twins:
        others = [_hours_per_cost(other) for other in PAPERS if other != slug and _recorded(other)]
        return sum(others) / len(others)
    return sum(each for _, each in twins) / sum(PAPERS[slug].cost(run) for run, _ in twins)


@functools.cache
def _recorded(slug: str) -> dict[str, float]:
    """Hours of one seed of each row in the recorded tables."""
    tables = [results.recorded(PAPERS[slug], t.number, d) for t in PAPERS[slug].TABLES for d in ("synthetic/300w", "300w")]
    frames = [frame for frame in tables if frame is not None and "hours" in frame]
    if not frames:
        return {}
    every = pd.concat(frames).dropna(subset="hours").drop_duplicates("row")
    return dict(zip(every["row"], every["hours"] / every["seeds"], strict=True))


def _network(run: runs.Run) -> tuple[int, int]:
    """Parameters of a run's network, and multiply-adds of one picture.

    One that is made of another run's network (cut from it, put behind it) cannot be built before that is trained: it counts as
    that network itself, which is the larger one or nearly so.
    """
    start = runs.needed(run)[0] if not hasattr(run.config, "network") else run
    kind = _kind(start)
    if kind not in _networks:
        net = start.config.build()
        _networks[kind] = models.count_parameters(net), models.count_macs(net, _size(start))
    return _networks[kind]


_networks: dict[tuple, tuple[int, int]] = {}  # hundreds of runs share a dozen networks


def _kind(run: runs.Run) -> tuple:
    """What decides a run's network: its kind, and the settings that are names or options of layers."""
    values = [getattr(run.config, field.name) for field in fields(run.config)]
    return type(run.config).__name__, _size(run), *(value for value in values if isinstance(value, str | tuple))


def _size(run: runs.Run) -> int:
    """The side of a run's pictures: those it learns from itself, else of what it starts from."""
    for one in reversed(runs.needed(run)):
        for faces in ("source", "pool"):
            if hasattr(one.config, faces):
                return getattr(one.config, faces).size
    raise InputError(f"{run.id}: nothing that it starts from has pictures")
