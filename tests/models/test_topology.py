"""The search space of paper 4: its size, the published topologies, and what dropping dead blocks leaves."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fa_lib.errors import InputError
from fa_lib.models.topology import PUBLISHED, Topology

FULL = Topology.full()
ROW = tuple((stage, 0, 0) for stage in range(2, 11))  # the finest branch alone


def literal(edges: set) -> set:
    """Drops blocks without input, and blocks none of whose outputs is used, until nothing changes."""
    while True:
        fed = {(1, 0)} | {(stage, target) for stage, _, target in edges}
        used = {(10, branch) for branch in range(4)} | {(stage - 1, source) for stage, source, _ in edges}
        left = {e for e in edges if (e[0] - 1, e[1]) in fed and (e[0], e[2]) in used}
        if left == edges:
            return edges
        edges = left


def test_full_space_is_as_large_as_published():
    assert len(FULL.edges) == 132 and len({(stage, source) for stage, source, _ in FULL.edges}) == 33
    assert FULL.blocks == tuple((stage, branch) for stage in range(2, 11) for branch in range(4))
    assert [len(FULL.at(stage)) for stage in range(1, 12)] == [0, 4, *[16] * 8, 0]


def test_hrnet_opens_its_branches_one_by_one():
    hrnet = Topology.hrnet()
    assert [sum(block[0] == stage for block in hrnet.blocks) for stage in range(2, 11)] == [2, 3, 3, 3, 3, 4, 4, 4, 4]
    assert [len(hrnet.at(stage)) for stage in range(2, 11)] == [2, 6, 9, 9, 9, 12, 16, 16, 16]


@pytest.mark.parametrize(("name", "operations", "blocks"), [("300w", 50, 25), ("cofw", 42, 27), ("wflw", 40, 23)])
def test_published_topologies_have_the_published_size(name: str, operations: int, blocks: int):
    assert (len(PUBLISHED[name].edges), len(PUBLISHED[name].blocks)) == (operations, blocks)


def test_published_topologies_say_what_was_released():
    """Spot checks in channels: stage 10 of 300-W, stage 4 of COFW and stage 3 of WFLW, target <- sources."""

    def stage(name: str, number: int) -> dict[int, list[int]]:
        edges, found = PUBLISHED[name].at(number), {}
        for _, source, target in edges:
            found.setdefault(18 * 2**target, []).append(18 * 2**source)
        return found

    assert stage("300w", 10) == {18: [18, 36, 72], 36: [18, 36, 72], 72: [18, 72], 144: [72]}
    assert stage("cofw", 4) == {18: [18], 36: [18, 144], 72: [72]}
    assert stage("wflw", 3) == {36: [18, 36], 72: [36], 144: [18, 36, 72]}


def test_published_topologies_use_all_blocks_but_one():
    """More than 94 % of the blocks are used somewhere, the paper says."""
    used = {block for topology in PUBLISHED.values() for block in topology.blocks}
    assert set(FULL.blocks) - used == {(9, 3)} and len(used) == 35


@settings(max_examples=60)
@given(st.sets(st.sampled_from(FULL.edges), min_size=20, max_size=132))
def test_dead_blocks_are_dropped_to_a_fixed_point(chosen: set):
    chosen |= set(ROW)
    topology = Topology(tuple(chosen))
    assert set(topology.edges) == literal(chosen) and topology.edges == tuple(sorted(topology.edges))
    assert Topology(topology.edges) == topology


def test_dead_blocks_are_dropped_in_both_directions():
    unfed = ((5, 2, 0), (6, 2, 1), (6, 1, 2))  # nothing makes (4, 2) or (5, 2), (5, 1)
    unused = ((3, 0, 3), (4, 3, 3), (5, 3, 3))  # nobody reads (5, 3)
    assert Topology(ROW + unfed + unused).edges == ROW
    assert Topology((*ROW, *unused, (6, 3, 0))).edges == tuple(sorted((*ROW, *unused, (6, 3, 0))))


def test_pruned_keeps_what_reaches_the_threshold_by_magnitude():
    topology = Topology((*ROW, (3, 0, 1), (4, 1, 0), (10, 0, 2)))
    alphas = dict.fromkeys(topology.edges, 1.0) | {(3, 0, 1): 0.01, (4, 1, 0): 0.009, (10, 0, 2): -0.01}
    assert topology.pruned(alphas.values(), 0.01).edges == (*ROW, (10, 0, 2))  # (3, 0, 1) is kept, but nobody reads it then
    assert topology.pruned(alphas.values(), 0.009) == topology


def test_topology_is_a_key_and_survives_json():
    for topology in (FULL, Topology.hrnet(), *PUBLISHED.values()):
        again = Topology(json.loads(json.dumps(topology.edges)))
        assert again == topology and hash(again) == hash(topology)


def test_stage_without_operations_is_refused(refusal):
    alphas = [0.0 if edge[0] == 7 else 1.0 for edge in FULL.edges]
    assert "at least one a stage" in refusal("stage 7", FULL.pruned, alphas, 0.5)


def test_threshold_above_every_factor_is_refused(refusal):
    assert "the greatest is 0.3" in refusal("threshold=0.5", FULL.pruned, [-0.3, *[0.1] * 131], 0.5)
    assert "the greatest is nan" in refusal("threshold=0.5", FULL.pruned, [float("nan")] * 132, 0.5)


def test_unreachable_head_is_refused(refusal):
    broken = tuple(edge for edge in FULL.edges if edge[0] != 6 or edge[1] == 3)
    broken = tuple(edge for edge in broken if edge[0] != 5 or edge[2] != 3)
    assert "from stage 1 to the head" in refusal("no path", Topology, broken)


def test_wrong_number_of_factors_is_refused(refusal):
    refusal("131 importance factors", FULL.pruned, [1.0] * 131, 0.5)


@pytest.mark.parametrize("edge", [(2, 1, 0), (1, 0, 0), (11, 0, 0), (3, 0, 4), (3, 0)])
def test_operation_outside_the_space_is_refused(edge: tuple):
    with pytest.raises(InputError, match="stage 2 to 10"):
        Topology((*ROW, edge))
