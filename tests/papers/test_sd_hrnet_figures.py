"""The figures of paper 4: what is drawn follows from topologies, modules and scores; times are measured, and never checked."""

import itertools
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure

from fa_lib import models
from fa_lib.models.hrsupernet import HRSuperNet
from fa_lib.models.topology import PUBLISHED, Topology
from fa_lib.papers import sd_hrnet
from fa_lib.papers import sd_hrnet_drawings as drawings
from fa_lib.papers import sd_hrnet_figures as figures
from fa_lib.study import Study

WHOLE = Topology.full()
CHAIN = Topology(((2, 0, 1), *((stage, 1, 1) for stage in range(3, 10)), (10, 1, 3), (10, 1, 1)))


@pytest.fixture(scope="module")
def study(stores) -> Study:
    return Study(sd_hrnet, "smoke", seeds=1)


@pytest.fixture
def brief(monkeypatch: pytest.MonkeyPatch):
    """Times are measured on two sizes of batches."""
    monkeypatch.setattr(figures, "BATCHES", (1, 4))
    monkeypatch.setattr(figures, "TIMED", 2)
    figures.speeds.cache_clear()


def drawn(topology: Topology, factors: list[float] | None = None):
    axes = Figure().subplots()
    drawings.draw_topology(axes, topology, factors)
    return axes


@pytest.mark.parametrize(
    "topology", [*PUBLISHED.values(), WHOLE, Topology.hrnet(), CHAIN], ids=[*PUBLISHED, "full", "hrnet", "chain"]
)
def test_every_operation_is_a_line_and_every_block_a_box(topology: Topology):
    axes = drawn(topology)
    pale, dark, joined = axes.collections
    last = [branch for stage, branch in topology.blocks if stage == 10]
    assert [len(lines.get_segments()) for lines in (pale, dark, joined)] == [
        132 - len(topology.edges),
        len(topology.edges),
        len(last),
    ]
    *boxes, head = axes.patches
    white = [box for box in boxes if box.get_facecolor() == to_rgba("white")]
    assert len(boxes) == 37 and len(white) == 36 - len(topology.blocks)
    assert np.allclose(head.get_y() + np.array([0, head.get_height()]), [-max(last) - 0.26, -min(last) + 0.26])


def test_lines_join_the_boxes_of_their_operation():
    lines = drawn(CHAIN).collections[1].get_segments()
    assert np.allclose(lines[0], [[1.17, 0], [1.83, -1]])  # from the right side of a block to the left side of the next
    assert np.allclose(lines[-1], [[9.17, -1], [9.83, -3]]) and np.allclose(lines[3], [[4.17, -1], [4.83, -1]])
    assert {(i, round(-b)) for i, (_, (_, b)) in zip((e[0] for e in CHAIN.edges), lines)} == set(CHAIN.blocks)


def test_lines_are_as_wide_as_factors_are_large():
    factors = [1.0, -2.0, 0.1, *[0.5] * 7]
    widths = drawn(CHAIN, factors).collections[1].get_linewidths()
    assert widths[1] == max(widths) and np.isclose(widths[0] / widths[1], 0.5) and np.isclose(widths[2] / widths[1], 0.25 / 1.2)


def test_a_table_lists_132_operations_and_counts_those_kept():
    factors = np.linspace(-1, 1, len(CHAIN.edges))
    table = drawings.table_of("a", "b", CHAIN, factors)
    kept = table[table["kept"]]
    assert len(table) == 132 and tuple(zip(kept["stage"], kept["source"], kept["target"])) == CHAIN.edges
    assert np.allclose(kept["factor"], factors) and table.loc[~table["kept"], "factor"].isna().all()
    assert table["blocks"].unique() == [10] and table["operations"].unique() == [10]


def test_operations_are_told_as_the_paper_tells_them():
    with torch.device("meta"):
        net = HRSuperNet()
    told = {name: drawings.layers_of(layer) for name, layer in net.stages[1].transforms.items()}
    for j, k in itertools.product(range(4), range(4)):
        down = ", ".join(["3 x 3, stride 2"] * (k - j))
        assert told[f"{j}_{k}"] == (down if k > j else "as it is" if k == j else f"1 x 1, {2 ** (j - k)} x larger")
    first = [drawings.layers_of(layer) for layer in net.stages[0].transforms.values()]
    assert first == ["3 x 3", "3 x 3, stride 2", ", ".join(["3 x 3, stride 2"] * 2), ", ".join(["3 x 3, stride 2"] * 3)]


def test_a_block_is_read_from_its_module():
    with torch.device("meta"):
        stage = HRSuperNet(unit="residual", blocks=3, topology=PUBLISHED["300w"]).stages[1]  # 300-W: branch 1 from 0, 1 and 3
    boxes, arrows = drawings.block_of(stage, 1)
    assert {a for a, *_ in arrows} | {b for _, b, *_ in arrows} == set(boxes)
    assert [a for a, b, *_ in arrows if b == "sum"] == ["factor 0", "factor 1", "factor 3"]
    assert boxes["units"][0] == "3 x Residual" and "31" in boxes["factor 3"][0]


def test_costs_are_those_of_the_network_without_factors():
    net = HRSuperNet(landmarks=29, topology=PUBLISHED["cofw"])
    net.alphas().requires_grad_(False)
    found = drawings.costs(net, 256)
    biases = 4096 * (18 + 36 + 72 + 29)  # of the head, which the authors count
    assert found["parameters"] == 1_074_637 and round((found["macs"] + biases) / 1e9, 4) == 0.6849  # their own class
    assert drawings.costs(net.requires_grad_(False), 256) == found


def test_a_cut_is_counted_and_measured(by_hand: Callable):
    torch.manual_seed(0)
    net = HRSuperNet(landmarks=68, width=2, blocks=1, momentum=0.1)
    with torch.no_grad():
        net.alphas().uniform_(0.1, 1)
    faces = by_hand(np.random.default_rng(0).uniform(10, 50, (3, 68, 2)))
    slim, found = drawings.cut_to(net, 60, faces)
    pictures, truth = faces.crops()
    with torch.no_grad():
        maps = slim.cpu()(torch.from_numpy(pictures.copy()).permute(0, 3, 1, 2) / 255)
    away = np.linalg.norm(models.landmarks_of(maps, 64, "quarter").numpy() - truth, axis=-1).mean(-1)
    assert np.isclose(found["nme"], 100 * (away / np.linalg.norm(truth[:, 36] - truth[:, 45], axis=-1)).mean(), rtol=1e-4)
    assert found["operations"] == len(slim.topology.edges) >= 60 and found["blocks"] == len(slim.topology.blocks)
    assert found["parameters"] == sum(p.numel() for p in slim.weights())
    assert drawings.cut_to(net, 132, faces)[1]["operations"] == 132


def test_printed_numbers_of_the_paper(study: Study):
    frame = figures.as_printed(study).set_index("label")
    assert frame.loc["SD-HRNet", ["parameters", "macs", "nme"]].tolist() == [0.98, 0.59, 3.40]
    assert frame.loc["S-HRNet", "nme"] == 3.50 and frame.loc["HRNet"].tolist() == [4.3, 9.3, 3.32]
    assert frame.loc["mnv2_KD", "macs"] == 0.3  # the one row that counts two for a multiply-add
    assert not {"GlomFace", "SRN", "ODN", "DVLN"} & set(frame.index) and len(frame) == 14


def test_figure_1_has_printed_and_measured_networks(study: Study, brief: None):
    figure, frame = figures.figure1(study)
    ours = frame[frame["from"] == "ours"].set_index("row")
    assert list(ours.index) == ["hrnet", "super", "slim", "sd"] and (frame["from"] == "paper").sum() == 14
    assert np.isclose(ours.loc["sd", "nme"], 100 * study.estimate("sd", "nme", "test").value)
    assert ours.loc["sd", ["parameters", "macs", "ms"]].equals(ours.loc["slim", ["parameters", "macs", "ms"]])
    assert ours.loc["super", "macs"] > ours.loc["sd", "macs"] and ours["ms"].gt(0).all()
    left, right = figure.axes
    areas = [bubble.get_sizes()[0] for bubble in left.collections]
    assert np.allclose(areas, figures.AREA * frame["parameters"]) and len(right.collections) == 4
    for axes, part in ((left, frame), (right, ours)):
        texts = [text for text in axes.texts if text.get_text()]
        assert sorted(text.get_text() for text in texts) == sorted(part["label"])
        boxes = [text.get_window_extent() for text in texts]
        assert not any(one.overlaps(other) for one, other in itertools.combinations(boxes, 2))


@pytest.mark.parametrize("number", [1, 2, 4])
def test_figures_are_drawn_anew_from_their_csv(study: Study, brief: None, same_from_file, number: int):
    same_from_file(figures.FIGURES[number], study)


def test_figure_4_has_faces_a_second_of_each_batch(study: Study, brief: None):
    threads = torch.get_num_threads()
    figure, frame = figures.figure4(study)
    assert torch.get_num_threads() == threads
    assert set(itertools.product(("hrnet", "super", "sd"), figures.BATCHES)) <= set(zip(frame["row"], frame["batch"]))
    assert np.allclose(frame["fps"], 1000 * frame["batch"] / frame["ms"]) and (frame["low"] <= frame["high"]).all()
    assert len(figure.axes[0].containers) == 3


def test_figure_5_shows_rendered_faces_from_easy_to_hard(study: Study, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(figures, "POINTS", {"300w": 68})
    figure, frame = figures.figure5(study)
    assert len(frame) == 6 * 2 * 68 and len([axes for axes in figure.axes if axes.images]) == 6
    assert frame.drop_duplicates("quantile")["nme"].is_monotonic_increasing
    found, truth = study.trained("sd")[0].predictions["test"], study.test.crops()[1]
    face = frame[frame["quantile"] == 0.5]
    index = list(study.test.names).index(face["face"].iloc[0])
    for kind, points in (("found", found), ("truth", truth)):
        assert np.allclose(face.loc[face["kind"] == kind, ["x", "y"]], points[index])
    length = np.linalg.norm(truth[index, 36] - truth[index, 45])
    assert np.isclose(face["nme"].iloc[0], 100 * np.linalg.norm(found[index] - truth[index], axis=-1).mean() / length)


def test_rendered_faces_stand_in_for_photographs(study: Study):
    real = Study(sd_hrnet, "smoke", seeds=1)
    real.source = replace(study.source, root="no such folder")  # of the same runs: where faces lie is no part of a run
    real.test = None  # the photographs: nothing may touch them
    faces, found = figures.shown_faces(real)
    assert np.array_equal(faces.names, study.test.names)
    assert np.allclose(found, study.trained("sd")[0].predictions["test"], atol=1e-3)


def test_figure_6_cuts_from_all_operations_down(study: Study, monkeypatch: pytest.MonkeyPatch, same_from_file):
    monkeypatch.setattr(figures, "PANELS", {"MBConv": {"super": "HRSuperNet"}, "residual": {}})
    monkeypatch.setattr(figures, "STEPS", 3)
    frame = figures.figure6(study)[1]
    assert frame["operations"].iloc[0] == 132 and frame["operations"].is_monotonic_decreasing and len(frame) == 3
    same_from_file(figures.figure6, study)
    assert (frame["operations"] >= [132, 81, 30]).all() and frame["macs"].is_monotonic_decreasing
    assert np.isclose(frame["nme"].iloc[0], 100 * study.estimate("super", "nme", "test").value, rtol=1e-3)


def test_figures_2_3_and_7_list_what_they_draw(study: Study, monkeypatch: pytest.MonkeyPatch, same_from_file):
    names = {box for arrow in (*drawings.ARROWS, *drawings.COMPARED) for box in arrow[:2]}
    assert names == set(drawings.STUDENTS)
    told = {loss: sorted(a for a, b, *_ in (*drawings.ARROWS, *drawings.COMPARED) if b == loss) for loss in ("taught", "truth")}
    assert told == {"taught": ["maps 1", "maps 2", "told"], "truth": ["maps 1", "maps 2"]}
    slim = study.trained("cut")[0].network().topology
    counts = drawings.figure2(study)[1].query("kept == True").groupby("network")["operations"].agg(["first", "size"])
    assert counts.to_numpy().tolist() == [[n, n] for n in (len(slim.edges), 50, 132)]
    third = drawings.figure3(study)[1]
    assert third[third["kept"] == True].groupby("network").size().tolist() == [95, 132]  # noqa: E712
    searched = drawings.searched
    monkeypatch.setattr(drawings, "searched", lambda one, row: searched(one.on(None), row))  # one search instead of three
    same_from_file(drawings.figure7, study)
    frame = drawings.figure7(study)[1].groupby(["network", "dataset"])[["blocks", "operations"]].first()
    assert frame.loc["released"].T.to_dict("list") == {"300-W": [25, 50], "COFW": [27, 42], "WFLW": [23, 40]}
    assert frame.loc["any released", "blocks"].item() == 35
    assert frame.loc[("ours", "COFW"), "operations"] == len(searched(study, "slim")[0].topology.edges)


def test_the_explorer_is_a_picture_where_nobody_plays(study: Study):
    figure = drawings.pruning_explorer(study, faces=4)
    net = study.trained("super")[0].network()
    _, found = drawings.cut_to(net, 50, study.test.select(np.arange(4)))
    assert len(figure.axes) == len(drawings.SHOWN)
    assert f"{found['operations']} operations" in figure.axes[2].get_title(loc="left")
    assert f"NME {found['nme']:.2f} %" in figure.axes[2].get_title(loc="left")


def test_the_paper_has_seven_figures():
    assert list(sd_hrnet.figures()) == [1, 2, 3, 4, 5, 6, 7]
