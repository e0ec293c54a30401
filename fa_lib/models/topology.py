"""Which operations of the supernetwork of paper 4 (SD-HRNet) are left: its search space, and what remains of it.

An operation is an edge (stage, source, target): it brings branch `source` of the stage before to the size and width of branch
`target` of `stage`. Branches 0 ... 3 have 1, 1/2, 1/4 and 1/8 of the finest size. Stage 1 has branch 0 alone; stages 2 ... 10
have up to four. A block is (stage, branch); those of stages 2 ... 10 are the paper's LSFF blocks.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import torch

from fa_lib.errors import InputError

Edge = tuple[int, int, int]
Block = tuple[int, int]
STAGES = range(2, 11)  # those that begin with operations
BRANCHES = range(4)


@dataclass(frozen=True)
class Topology:
    """The operations that are left, sorted: by stage, then source, then target.

    An operation is dropped if no path leads through it from stage 1 to a block of stage 10. This is where dropping dead blocks
    (without input, or none of whose outputs is used) again and again comes to rest. The head joins the blocks left in stage 10.

    `edges` may be nested lists, as JSON has them. Raises InputError for an edge that is not in the search space, and where a
    stage has no operation or no path is left.

    >>> Topology([[2, 0, 1], *((stage, 1, 1) for stage in range(3, 11)), (3, 0, 1)]).blocks[:3]  # (3, 0, 1) starts at no block
    ((2, 1), (3, 1), (4, 1))
    """

    edges: tuple[Edge, ...]

    def __post_init__(self) -> None:
        edges = {tuple(edge) for edge in self.edges}
        for edge in edges - set(_ALL):
            raise InputError(
                f"{edge} is no operation: write (stage 2 to 10, source 0 to 3, target 0 to 3), stage 2 from source 0"
            )
        for stage in STAGES:
            if not any(edge[0] == stage for edge in edges):
                raise InputError(f"no operation is left in stage {stage}, so nothing reaches the head: keep at least one a stage")
        fed: set[Block] = {(STAGES[0] - 1, 0)}
        for stage, source, target in sorted(edges):
            if (stage - 1, source) in fed:
                fed.add((stage, target))
        used: set[Block] = {(STAGES[-1], branch) for branch in BRANCHES}
        for stage, source, target in sorted(edges, reverse=True):
            if (stage, target) in used:
                used.add((stage - 1, source))
        alive = tuple(e for e in sorted(edges) if (e[0] - 1, e[1]) in fed and (e[0], e[2]) in used)
        if not alive:
            raise InputError("no path of operations leads from stage 1 to the head: keep one through all of stages 2 to 10")
        object.__setattr__(self, "edges", alive)

    @property
    def blocks(self) -> tuple[Block, ...]:
        """The blocks of stages 2 ... 10 that are left, sorted; 36 in the full network. That of stage 1 always is."""
        return tuple(sorted({(stage, target) for stage, _, target in self.edges}))

    def at(self, stage: int) -> tuple[Edge, ...]:
        """The operations with which `stage` begins."""
        return tuple(edge for edge in self.edges if edge[0] == stage)

    @classmethod
    def full(cls) -> "Topology":
        """All 132 operations between 33 source blocks and four branches each.

        >>> len(Topology.full().edges), len(Topology.full().blocks)
        (132, 36)
        """
        return cls(_ALL)

    @classmethod
    def hrnet(cls) -> "Topology":
        """Between the branches that HRNet has: two in stage 2, three in stages 3 to 6, four from stage 7 on (paper, Figure 3).

        Differs from the paper: a new branch of HRNet starts from the sum that its coarsest one has become; here it starts from
        each of them, as every block does.

        >>> len(Topology.hrnet().edges), len(Topology.hrnet().blocks)
        (95, 30)
        """
        last = {1: 0, 2: 1, **dict.fromkeys(range(3, 7), 2), **dict.fromkeys(range(7, 11), 3)}
        return cls(tuple(e for e in _ALL if e[1] <= last[e[0] - 1] and e[2] <= last[e[0]]))

    def pruned(self, alphas: Iterable[float] | torch.Tensor, threshold: float) -> "Topology":
        """Without the operations whose importance factor is smaller than `threshold`, and without what is dead then.

        `alphas` has one number an edge, in their order. Differs from the paper: magnitudes are compared, as a factor of -1 is
        as important as one of 1. Raises InputError as the class does, and where `threshold` is above every factor.

        >>> Topology.full().pruned([1.0] * 131 + [1e-4], threshold=0.0017).edges == Topology.full().edges[:-1]
        True
        """
        sizes = [abs(alpha) for alpha in (alphas.tolist() if isinstance(alphas, torch.Tensor) else alphas)]
        if len(sizes) != len(self.edges):
            raise InputError(f"{len(sizes)} importance factors for {len(self.edges)} operations: give one an operation")
        if not max(sizes) >= threshold:
            raise InputError(f"threshold={threshold} is above every importance factor: the greatest is {max(sizes):.3g}")
        return Topology(tuple(edge for edge, size in zip(self.edges, sizes, strict=True) if size >= threshold))


_ALL = tuple((i, j, k) for i in STAGES for j in (BRANCHES if i > STAGES[0] else BRANCHES[:1]) for k in BRANCHES)


def _read(rows: str) -> Topology:
    """A line a stage, a word a target branch: the digits of its sources, `-` where there is no block."""
    edges = []
    for stage, row in zip(STAGES, rows.strip().splitlines(), strict=True):
        edges += [(stage, int(j), k) for k, sources in enumerate(row.split()) for j in sources if j != "-"]
    return Topology(tuple(edges))


# What the authors released, found by the search on each data set. That of 300-W is not the one that they counted for Table 1.
PUBLISHED = {
    "300w": _read("""
        0 0 - 0
        03 013 - 13
        01 013 - -
        0 1 - -
        01 1 - -
        01 01 1 -
        012 012 2 -
        012 012 012 -
        012 012 02 2"""),
    "cofw": _read("""
        0 0 0 -
        0 - 1 12
        0 03 2 -
        01 2 - 1
        0 03 13 -
        012 2 - 1
        3 013 3 -
        012 012 2 -
        0 012 2 -"""),
    "wflw": _read("""
        0 0 0 -
        - 01 1 012
        13 23 - 3
        - 01 03 -
        2 - - 12
        - - 03 -
        2 - 2 2
        02 03 3 -
        012 012 012 -"""),
}
