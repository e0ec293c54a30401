"""Figures 2, 3 and 7 of paper 4, its architectures, drawn from topologies and modules; and an explorer of cuts.

Every box and line is a block or an operation of a `Topology`, so that a drawing cannot differ from the network.
"""

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from torch import nn

from fa_lib import diagram, metrics, models, plots, training
from fa_lib.data import Faces
from fa_lib.models.hrsupernet import HRSuperNet, Stage, cut
from fa_lib.models.topology import BRANCHES, PUBLISHED, STAGES, Topology
from fa_lib.papers.sd_hrnet_training import kept
from fa_lib.plots import BLACK, BLUE, GREEN, GREY, ORANGE, SKY, WIDTH
from fa_lib.redraw import FromFrame
from fa_lib.results import Study

COLOURS = (BLUE, SKY, GREEN, ORANGE)  # of the branches, from the finest
NAMES = {"300w": "300-W", "cofw": "COFW", "wflw": "WFLW"}
WIDE, TALL = 0.34, 0.52  # of a block, in stages and branches


def draw_topology(axes: Axes, topology: Topology, factors: Sequence[float] | None = None, dropped: bool = True) -> None:
    """Stages from left to right, branches from the finest at the top: blocks as boxes, operations as lines between them.

    `factors`: importance of each operation, by which lines are the wider. `dropped`: what the full supernetwork has beside, pale.
    The last column is the head, which joins the blocks that are left in stage 10.
    """
    gone = set(Topology.full().edges) - set(topology.edges)
    sizes = np.ones(len(topology.edges)) if factors is None else np.abs(np.asarray(factors, float))
    lines = [[(i - 1 + WIDE / 2, -j), (i - WIDE / 2, -k)] for i, j, k in topology.edges]
    joined = [[(STAGES[-1] + WIDE / 2, -k), (STAGES[-1] + 1 - WIDE / 2, -k)] for i, k in topology.blocks if i == STAGES[-1]]
    if dropped:
        pale = [[(i - 1 + WIDE / 2, -j), (i - WIDE / 2, -k)] for i, j, k in sorted(gone)]
        axes.add_collection(LineCollection(pale, colors=plots.PALE, linewidths=0.35, zorder=1))
    many = 0.9 if len(topology.edges) <= 60 else 0.5
    widths = many * np.clip(sizes / sizes.max() * 1.2, 0.25, None)
    axes.add_collection(LineCollection(lines, colors=BLACK, linewidths=widths, zorder=2))
    axes.add_collection(LineCollection(joined, colors=BLACK, linewidths=many, zorder=2))
    blocks = {(1, 0), *topology.blocks}
    for stage, branch in [(1, 0), *((stage, branch) for stage in STAGES for branch in BRANCHES)]:
        alive = (stage, branch) in blocks
        look = {"facecolor": COLOURS[branch], "edgecolor": BLACK} if alive else {"facecolor": "white", "edgecolor": plots.PALE}
        if alive or dropped:
            corner = (stage - WIDE / 2, -branch - TALL / 2)
            axes.add_patch(Rectangle(corner, WIDE, TALL, linewidth=0.6, zorder=3, **look))
    last = [branch for stage, branch in blocks if stage == STAGES[-1]]
    head = {"facecolor": "#fbe3cf", "edgecolor": BLACK, "linewidth": 0.6, "zorder": 3}
    low, high = -max(last) - TALL / 2, -min(last) + TALL / 2
    axes.add_patch(Rectangle((STAGES[-1] + 1 - WIDE / 2, low), WIDE, high - low, **head))
    axes.set(xlim=(0.6, STAGES[-1] + 1.4), ylim=(-3.5, 0.5), xlabel="stage")
    axes.text(STAGES[-1] + 1, (low + high) / 2, "head", fontsize=5.5, rotation=90, ha="center", va="center", zorder=4)
    axes.set_xticks([1, *STAGES], [str(stage) for stage in (1, *STAGES)], fontsize=6)
    axes.set_yticks([-branch for branch in BRANCHES], [f"1/{4 * 2**branch}" for branch in BRANCHES], fontsize=6)
    axes.tick_params(length=0, pad=1)
    axes.grid(False)
    axes.spines[:].set_visible(False)


def table_of(name: str, dataset: str, topology: Topology, factors: Sequence[float] | None = None) -> pd.DataFrame:
    """What `draw_topology` draws: a line an operation of the full supernetwork, whether it is kept, and its factor.

    Columns `blocks` and `operations` count those of the whole topology.

    >>> table = table_of("released", "COFW", PUBLISHED["cofw"])
    >>> len(table), int(table["kept"].sum()), table["blocks"].unique().tolist(), table["operations"].unique().tolist()
    (132, 42, [27], [42])
    """
    known = dict(zip(topology.edges, [float("nan")] * len(topology.edges) if factors is None else map(float, factors)))
    lines = [
        {"network": name, "dataset": dataset, "stage": i, "source": j, "target": k, "kept": (i, j, k) in known,
         "factor": known.get((i, j, k), float("nan"))}
        for i, j, k in Topology.full().edges
    ]  # fmt: skip
    return pd.DataFrame(lines).assign(blocks=len(topology.blocks), operations=len(topology.edges))


def drawn_in(table: pd.DataFrame) -> tuple[Topology, list[float] | None]:
    """The topology and the factors of a `table_of`, which may come from a CSV, where words and truth are both text.

    >>> topology, factors = drawn_in(table_of("released", "COFW", PUBLISHED["cofw"]))
    >>> topology == PUBLISHED["cofw"], factors
    (True, None)
    """
    kept = table[table["kept"].astype(bool)].sort_values(["stage", "source", "target"])
    edges = kept[["stage", "source", "target"]].astype(int).itertuples(index=False, name=None)
    return Topology(tuple(edges)), None if kept["factor"].isna().any() else kept["factor"].tolist()


def _counted(topology: Topology) -> str:
    return f"{len(topology.blocks)} blocks, {len(topology.edges)} operations"


def searched(study: Study, row: str) -> tuple[HRSuperNet, list[float]]:
    """The network of a row (`super`, `slim` or another with a topology), of the first seed, and its factors."""
    net = study.trained(row)[0].network()
    return net, net.alphas().detach().tolist()


STUDENTS = {  # name: text, x and y of the middle, width, kind
    "picture": ("face", 0.6, 1.5, 1.0, "data"), "teacher": ("HRNet", 4.5, 3.5, 1.9, "frozen"),
    "mask 1": ("mask 1", 2.4, 2.0, 1.2, "data"), "mask 2": ("mask 2", 2.4, 1.0, 1.2, "data"),
    "student 1": ("slim network", 4.5, 2.0, 1.9, "trained"), "student 2": ("slim network", 4.5, 1.0, 1.9, "trained"),
    "maps 1": ("heatmaps $P^{S_1}$", 7.0, 2.0, 1.9, "data"), "maps 2": ("heatmaps $P^{S_2}$", 7.0, 1.0, 1.9, "data"),
    "told": ("heatmaps $P^T$", 10.3, 3.5, 1.9, "data"), "taught": ("KL to the teacher's", 10.3, 2.4, 2.7, "loss"),
    "peers": ("KL to the mean of both", 10.3, 1.5, 2.7, "loss"), "truth": ("MSE to the truth", 10.3, 0.6, 2.7, "loss"),
}  # fmt: skip
ARROWS = (  # from, to, text, kind
    ("picture", "mask 1", "", "flow"), ("picture", "mask 2", "", "flow"), ("picture", "teacher", "", "flow"),
    ("mask 1", "student 1", "", "flow"), ("mask 2", "student 2", "", "flow"), ("student 1", "maps 1", "", "flow"),
    ("student 2", "maps 2", "", "flow"), ("teacher", "told", "", "flow"), ("told", "taught", "", "flow"),
)  # fmt: skip
COMPARED = tuple((maps, loss, "", "flow") for maps in ("maps 1", "maps 2") for loss in ("truth", "peers", "taught"))


def method(study: Study) -> pd.DataFrame:
    """The topologies of figure 2, as `table_of` has them, and its diagram."""
    (whole, first), (slim, left) = searched(study, "super"), searched(study, "cut")
    shown = {"searched": (whole.topology, first), "cut": (slim.topology, left), "released": (PUBLISHED["300w"], None)}
    frames = [table_of(name, "300-W", *one) for name, one in shown.items()]
    return pd.concat([*frames, diagram.table(STUDENTS, (*ARROWS, *COMPARED))], ignore_index=True)


@FromFrame.of(method)
def figure2(frame: pd.DataFrame) -> Figure:
    """The method: the supernetwork of this study's search, what is cut out of it, and two copies that learn with a teacher.

    Lines are as wide as their importance factors. Beside ours: the network that the authors released for 300-W.
    """
    figure = Figure(figsize=(WIDTH, 3.9))
    top, bottom = figure.subfigures(2, 1, height_ratios=[1, 1.25])
    titles = {"searched": "1. search", "cut": "2. cut", "released": "released by the authors"}
    for axes, (name, title) in zip(top.subplots(1, 3, sharey=True), titles.items()):
        topology, factors = drawn_in(frame[frame["network"] == name])
        draw_topology(axes, topology, factors)
        axes.set_title(f"{title}\n{_counted(topology)}", fontsize=7.5)
    top.axes[0].set_ylabel("side of the maps\n[of the picture's]", fontsize=7)
    for axes in top.axes[1:]:
        axes.tick_params(labelleft=False)
    axes = bottom.subplots()
    axes.set_title("3. distil: both students are cut from one search, the first is kept", fontsize=7.5)
    axes.set(xlim=(0, 12), ylim=(0.2, 3.9))
    diagram.draw(axes, STUDENTS, ARROWS, fork=1.45, bus=0)
    diagram.draw(axes, STUDENTS, COMPARED, fork=8.45, bus=0)
    return figure


def layers_of(transform: nn.Module) -> str:
    """An operation in words: its convolutions, halvings and enlargement, as they come.

    >>> layers_of(HRSuperNet(landmarks=5, width=2, blocks=1).stages[1].transforms["2_0"])
    '1 x 1, 4 x larger'
    """
    words = []
    for layer in transform.modules():
        if isinstance(layer, nn.Conv2d):
            words.append(f"{layer.kernel_size[0]} x {layer.kernel_size[0]}" + (", stride 2" if layer.stride[0] == 2 else ""))
        elif isinstance(layer, nn.Upsample):
            words.append(f"{layer.scale_factor:g} x larger")
    return ", ".join(words) or "as it is"


def block_of(stage: Stage, branch: int) -> tuple[dict[str, diagram.Box], tuple]:
    """Boxes and arrows of one LSFF block, read from the module."""
    boxes: dict[str, diagram.Box] = {}
    arrows = []
    for source, target, name in stage.paths:
        if target == branch:
            way = f"in {source}", f"T {source}", f"factor {source}", "sum"
            boxes |= {
                way[0]: (f"$X_{source}$", 0.6, 3 - source, 0.8, "data"),
                way[1]: (layers_of(stage.transforms[name]), 2.9, 3 - source, 2.5, "data"),
                way[2]: (f"$\\times\\,\\alpha_{{{source}{branch}}}$", 5.3, 3 - source, 1.2, "data"),
            }
            arrows += [(start, end, "", "flow") for start, end in itertools.pairwise(way)]
    boxes["sum"] = ("sum, ReLU", 7.5, 1.5, 1.5, "data")
    units = stage.encoders[str(branch)]
    boxes["units"] = (f"{len(units)} x {type(units[0]).__name__}", 9.6, 1.5, 1.7, "data")
    boxes["out"] = (f"$Y_{branch}$", 11.4, 1.5, 0.8, "data")
    return boxes, (*arrows, ("sum", "units", "", "flow"), ("units", "out", "", "flow"))


@plots.drawn
def figure3(study: Study) -> tuple[Figure, pd.DataFrame]:
    """HRNet's connections and those of the supernetwork; below, one of its blocks, read from the module of the published size."""
    figure = Figure(figsize=(WIDTH, 3.9))
    top, bottom = figure.subfigures(2, 1, height_ratios=[1, 1.1])
    frames = []
    for axes, (name, topology) in zip(
        top.subplots(1, 2, sharey=True), {"HRNet": Topology.hrnet(), "HRSuperNet": Topology.full()}.items()
    ):
        draw_topology(axes, topology)
        axes.set_title(f"{name}: {_counted(topology)}")
        frames.append(table_of(name, "", topology))
    top.axes[0].set_ylabel("side of the maps\n[of the picture's]", fontsize=7)
    top.axes[1].tick_params(labelleft=False)
    with torch.device("meta"):
        net = HRSuperNet()
    boxes, arrows = block_of(net.stages[1], 1)
    axes = bottom.subplots()
    axes.set_title("a block: branch 1 of stage 3 (convolutions with batch norm)")
    axes.set(xlim=(0, 12), ylim=(-0.5, 3.6))
    diagram.draw(axes, boxes, arrows, fork=6.3, bus=0)
    return figure, pd.concat([*frames, diagram.table(boxes, arrows)], ignore_index=True)


def slim_networks(study: Study) -> pd.DataFrame:
    """The topologies of figure 7, as `table_of` has them: those released, with 300-W's, and ours.

    "any released" are the operations and blocks that at least one of the three released has.
    """
    frames = [table_of("released", NAMES[name], topology) for name, topology in PUBLISHED.items()]
    union = Topology(tuple({edge for topology in PUBLISHED.values() for edge in topology.edges}))
    frames.append(table_of("any released", "", union))
    for name in ("cofw", "wflw"):
        net, factors = searched(study.on(name), "slim")
        frames.append(table_of("ours", NAMES[name], net.topology, factors))
    return pd.concat(frames, ignore_index=True)


@FromFrame.of(slim_networks)
def figure7(frame: pd.DataFrame) -> Figure:
    """Slim networks of COFW and WFLW: those that the authors released, and those that this study's searches led to."""
    figure = Figure(figsize=(WIDTH, 3.6))
    for panels, dataset in zip(figure.subplots(2, 2, sharex=True, sharey=True), (NAMES["cofw"], NAMES["wflw"])):
        for axes, name in zip(panels, ("released", "ours")):
            topology, factors = drawn_in(frame[(frame["network"] == name) & (frame["dataset"] == dataset)])
            draw_topology(axes, topology, factors)
            axes.set_title(f"{dataset}, {name}: {_counted(topology)}")
        panels[0].set_ylabel("side of the maps\n[of the picture's]", fontsize=7)
        panels[1].tick_params(labelleft=False)
    for axes in figure.axes[:2]:
        axes.set_xlabel("")
    blocks = frame.loc[frame["network"] == "any released", "blocks"].iloc[0]
    used = f"{blocks} of {len(Topology.full().blocks)} blocks are in at least one network released (with 300-W's)"
    figure.supxlabel(used, fontsize=7.5, color=GREY)
    return figure


def costs(net: nn.Module, size: int) -> dict[str, int]:
    """Parameters, importance factors apart, and multiply-adds of one `size` x `size` picture."""
    net.requires_grad_(True)  # a cut network's factors are fixed, its weights are counted wherever it comes from
    return {"parameters": models.count_parameters(net, ("alpha",)), "macs": models.count_macs(net, size)}


def cut_to(net: HRSuperNet, operations: int, faces: Faces) -> tuple[HRSuperNet, dict[str, float]]:
    """The network cut to its most important `operations`, and what it costs and finds, without training on.

    Keys: operations (fewer than asked for where some lead nowhere, more where too few leave no path), blocks, parameters, macs,
    nme in %.
    """
    slim = cut(net, kept(net, operations)).eval()
    counted = {"operations": len(slim.topology.edges), "blocks": len(slim.topology.blocks), **costs(slim.cpu(), faces.size)}
    found = training.evaluate(slim.to(training.device()), faces, "quarter")
    return slim, {**counted, "nme": 100 * metrics.nme(found, faces.crops()[1], faces.lengths()).mean()}


SHOWN = (132, 90, 50, 30)  # operations: a picture of each where nobody plays


def cuts_figure(net: HRSuperNet, faces: Faces, *operations: int) -> Figure:
    """The network cut to each number of operations: architecture, and what it costs and finds."""
    with plots.style():
        columns = min(2, len(operations))
        figure = Figure(figsize=(WIDTH, 1.9 * -(-len(operations) // columns)))
        for axes, count in zip(figure.subplots(-(-len(operations) // columns), columns, squeeze=False).flat, operations):
            slim, found = cut_to(net, count, faces)
            draw_topology(axes, slim.topology, slim.alphas().detach().tolist())
            axes.set_title(
                f"{_counted(slim.topology)}\n{found['parameters'] / 1e3:,.1f} k parameters, {found['macs'] / 1e6:,.1f} M MACs, "
                f"NME {found['nme']:.2f} %",
                fontsize=7.5,
            )
        plots.settle(figure)
    return figure


def pruning_explorer(study: Study, faces: int = 100) -> Any:
    """A slider for how many operations are left of the first search, where a person runs the notebook; elsewhere SHOWN.

    Shows the architecture, parameters, multiply-adds, and the NME of the cut network on the first `faces` test faces, without
    training on.
    """
    from IPython import get_ipython

    net, seen = searched(study, "super")[0], study.test.select(np.arange(min(faces, len(study.test))))
    request = getattr(get_ipython(), "get_parent", dict)()  # papermill and nbconvert say that nobody can answer
    if not request.get("content", {}).get("allow_stdin"):
        return cuts_figure(net, seen, *SHOWN)
    import ipywidgets
    from IPython.display import display

    most = len(net.topology.edges)
    slider = ipywidgets.IntSlider(SHOWN[2], min=9, max=most, description="operations", continuous_update=False)
    draw = {"operations": slider}
    return ipywidgets.VBox(
        [slider, ipywidgets.interactive_output(lambda operations: display(cuts_figure(net, seen, operations)), draw)]
    )


FIGURES = {2: figure2, 3: figure3, 7: figure7}
