"""Figure 1 of paper 5, its architecture and its two stages, drawn from the modules of the published size."""

import functools
import math

import pandas as pd
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, Patch, Rectangle
from torch import nn

from fa_lib import plots
from fa_lib.diagram import LOOKS
from fa_lib.models.fabrec import FabRec
from fa_lib.papers.scaf_training import Adversaries
from fa_lib.plots import BLACK, GREEN, GREY, WIDTH
from fa_lib.results import Study

SIZE, LATENT, LANDMARKS = 256, 99, 68  # as published
KINDS = {
    "trained": LOOKS["trained"] | {"linewidth": 1.0},
    "new": {"facecolor": "#cdeadf", "edgecolor": GREEN, "linewidth": 1.0},
    "frozen": LOOKS["frozen"] | {"hatch": "////", "linestyle": "-", "linewidth": 0.7},
    "critic": LOOKS["loss"],
    "data": LOOKS["data"],
}
ENCODER = ("encoder.stem", *(f"encoder.layers.{i}" for i in range(5)), "encoder.code")
GENERATOR = ("decoder.start", *(f"decoder.layers.{i}" for i in range(5)), "decoder.picture")
SHORT = {"encoder.stem": "stem", "encoder.code": "$z$", "decoder.start": "start", "decoder.picture": "face", "heatmaps": "maps"}
GROUPS = {"encoder": "encoder", "decoder": "generator", "transfers": "transfer", "heatmaps": "transfer", "skips": "skips"}


@functools.cache
def architecture() -> pd.DataFrame:
    """A line a module of the auto-encoder, its critics and SCAF, of the published size (256 pixels, 68 landmarks).

    Columns: name; group (encoder, generator, transfer, skips, critics); parameters; channels and side of its output (side 1: a
    vector); stage: in which of the two it runs; frozen: whether it does not learn in the second. All from the modules, which
    run once without numbers.

    >>> table = architecture()
    >>> table.groupby("group", sort=False)["parameters"].sum().to_dict()
    {'encoder': 11379491, 'generator': 10868096, 'critics': 2845745, 'transfer': 880640, 'skips': 559360}
    """
    with torch.device("meta"):
        first = Adversaries(64, LATENT, SIZE)
        second = FabRec(first.autoencoder, LANDMARKS)
        face = torch.empty(1, 3, SIZE, SIZE)
        code = torch.empty(1, LATENT)
    seen = {
        1: _outputs(first, lambda: (first(face), first.latent_critic(code), first.image_critic(face))),
        2: _outputs(second, lambda: second(face)),
    }
    modules = dict(first.named_modules()) | dict(second.named_modules())  # the second's encoder is a copy that learns on
    names = [*(f"autoencoder.{name}" for name in (*ENCODER, *GENERATOR)), "latent_critic", "image_critic",
             *(f"{kind}.{i}" for kind in ("transfers", "skips") for i in range(4)), "heatmaps"]  # fmt: skip
    lines = []
    for name in names:
        module, stages = modules[name], [stage for stage, shapes in seen.items() if name in shapes]
        _, channels, *sides = seen[stages[0]][name]
        short = name.removeprefix("autoencoder.")
        lines.append({
            "name": short, "group": GROUPS.get(short.split(".")[0], "critics"), "parameters": _count(module),
            "channels": channels, "side": (*sides, 1)[0], "stage": " and ".join(map(str, stages)),
            "frozen": not any(p.requires_grad for p in module.parameters()),
        })  # fmt: skip
    return pd.DataFrame(lines)


def _count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def _outputs(net: nn.Module, call) -> dict[str, tuple[int, ...]]:
    """Module name -> shape of what it returns while `call()` runs, of those that run."""
    found, hooks = {}, []
    for name, module in net.named_modules():

        def note(_module: nn.Module, _inputs: tuple, output: object, name: str = name) -> None:
            if isinstance(output, torch.Tensor):
                found[name] = tuple(output.shape)

        hooks.append(module.register_forward_hook(note))
    net.eval()
    with torch.no_grad():
        call()
    return found


WIDE, BESIDE = 0.58, 0.72  # width of a block; from a block to the sum behind it, in columns
DEEP = {"layer": -1.3, "channels": -1.68, "side [px]": -2.06}  # where the three lines under the blocks are
ARROW = {"arrowstyle": "-|>", "mutation_scale": 5, "linewidth": 0.7, "shrinkA": 0, "shrinkB": 0, "color": BLACK}


def _tall(side: int) -> float:
    """Half of a block's height: of 256 cells 1, with each halving less."""
    return 0.12 + 0.11 * math.log2(side)


def _block(axes: Axes, x: float, side: int, kind: str, *lines: object) -> None:
    """A block as high as its maps are large, with layer, channels and side under it; a vector (side 1) is a narrow one."""
    wide = WIDE if side > 1 else WIDE / 3
    tall = _tall(side) if side > 1 else 0.4
    axes.add_patch(Rectangle((x - wide / 2, -tall), wide, 2 * tall, zorder=3, **KINDS[kind]))
    for y, text in zip(DEEP.values(), lines):
        axes.text(x, y, text, fontsize=6, ha="center", va="center")


def _number(name: str) -> str:
    """The paper counts the encoder's layers from 0, the generator's and the transfer layers between them from 1."""
    number = int(name[-1])
    return str(number) if name.startswith("enc") else f"$t_{number + 1}$" if name.startswith("t") else str(number + 1)


def _arrow(axes: Axes, start: tuple[float, float], end: tuple[float, float], **more: object) -> None:
    axes.add_patch(FancyArrowPatch(start, end, **(ARROW | more)))


def _chain(axes: Axes, table: pd.DataFrame, names: tuple[str, ...], xs: list[float], kind: str) -> None:
    """Blocks side by side, an arrow from each to the next, and one into the first."""
    for name, x in zip(names, xs):
        one = table.loc[name]
        layer = SHORT.get(name) or _number(name)
        side = one["side"] if one["side"] > 1 else "-"
        _block(axes, x, one["side"], kind, layer, one["channels"], side)


def _follow(axes: Axes, xs: list[float], half: list[float]) -> None:
    """Arrows along the middle, from each of the places to the next; `half`: how wide what stands there is to each side."""
    for (x0, w0), (x1, w1) in zip(zip(xs, half), zip(xs[1:], half[1:])):
        _arrow(axes, (x0 + w0, 0), (x1 - w1, 0))


def _half(names: tuple[str, ...]) -> list[float]:
    return [WIDE / 6 if name == "encoder.code" else WIDE / 2 for name in names]


def _critic(axes: Axes, x: float, text: str, above: float) -> None:
    axes.add_patch(Rectangle((x - 1.1, 1.2), 2.2, 0.5, zorder=3, **KINDS["critic"]))
    axes.text(x, 1.45, text, fontsize=6.5, ha="center", va="center", zorder=4)
    _arrow(axes, (x, above), (x, 1.2))


def _unsupervised(axes: Axes, table: pd.DataFrame) -> None:
    """Stage 1: the auto-encoder, its two critics, and what its drawing is compared with."""
    names = (*ENCODER, *GENERATOR)
    xs = [1.0 + i for i in range(len(names))]
    _block(axes, 0, SIZE, "data", "face", 3, SIZE)
    _chain(axes, table, names, xs, "trained")
    _follow(axes, [0.0, *xs], [WIDE / 2, *_half(names)])
    _critic(axes, xs[len(ENCODER) - 1], "critic of codes", 0.4)
    _critic(axes, xs[-1], "critic of faces", _tall(SIZE))
    high = 2.05
    axes.plot([0, 0, xs[-1] + 1.5, xs[-1] + 1.5, xs[-1] + WIDE / 2], [_tall(SIZE), high, high, 0, 0], color=GREY, linewidth=0.7,
              linestyle=(0, (3, 2)))  # fmt: skip
    axes.text(xs[3] + 0.5, high, "compared: pixels, structure", fontsize=6.5, color=GREY, ha="center", va="center",
              bbox={"facecolor": "white", "edgecolor": "none", "pad": 1})  # fmt: skip


def _supervised(axes: Axes, table: pd.DataFrame) -> None:
    """Stage 2: from encoder and code through frozen layers and new ones to heatmaps; skips add the encoder's maps."""
    kept = tuple(name for name in GENERATOR if "2" in table.loc[name, "stage"])  # the rest draws colours: not needed here
    xs = [1.0 + i for i in range(len(ENCODER) + 1)]
    _block(axes, 0, SIZE, "data", "face", 3, SIZE)
    _chain(axes, table, ENCODER, xs, "trained")
    _chain(axes, table, kept[:1], xs[len(ENCODER) :], "frozen")
    _follow(axes, [0.0, *xs], [WIDE / 2, *_half((*ENCODER, kept[0]))])
    x, before = xs[-1] + 1, xs[-1]
    for i, name in enumerate(kept[1:]):
        _chain(axes, table, (name,), [x], "frozen")
        _chain(axes, table, (f"transfers.{i}",), [x + 2 * BESIDE], "new")
        _follow(axes, [before, x, x + BESIDE, x + 2 * BESIDE], [WIDE / 2, WIDE / 2, 0.14, WIDE / 2])
        axes.plot(x + BESIDE, 0, "o", color="white", markeredgecolor=BLACK, markeredgewidth=0.7, markersize=6.5, zorder=3)
        axes.text(x + BESIDE, -0.01, "+", fontsize=7, ha="center", va="center", zorder=4)
        _skip(axes, table.loc[f"skips.{i}"], xs[4 - i], x + BESIDE, 1.18 + 0.46 * i)
        before, x = x + 2 * BESIDE, x + 2 * BESIDE + 1
    _chain(axes, table, ("heatmaps",), [x], "new")
    _follow(axes, [before, x], [WIDE / 2, WIDE / 2])


def _skip(axes: Axes, one: pd.Series, start: float, end: float, high: float) -> None:
    """A bridge from a layer of the encoder to a sum behind one of the generator, through a FAN block."""
    axes.plot([start, start, end], [_tall(one["side"]), high, high], color=BLACK, linewidth=0.7, zorder=1)
    _arrow(axes, (end, high), (end, 0.13), zorder=1)
    middle = 7.4
    axes.add_patch(Rectangle((middle - 1.9, high - 0.18), 3.8, 0.36, zorder=3, **KINDS["new"]))
    axes.text(middle, high - 0.01, f"FAN block, {one['parameters']:,}", fontsize=6, ha="center", va="center", zorder=4)


@plots.drawn
def figure1(study: Study) -> tuple[Figure, pd.DataFrame]:
    """The auto-encoder with its critics, which learns without labels, and SCAF, which takes it over; of the published size.

    Numbers are parameters, channels and sides of maps, all read from the modules. The generator's layer 5 and the one behind
    it, which draw colours, have no place in the second stage.
    """
    table = architecture().set_index("name")
    total = table.groupby("group")["parameters"].sum()
    figure = Figure(figsize=(WIDTH, 4.5))
    titles = {"1. without labels: an auto-encoder learns to draw faces": _unsupervised,
              "2. with few labels: SCAF learns to draw heatmaps": _supervised}  # fmt: skip
    for axes, (title, draw), top in zip(figure.subplots(2, 1, height_ratios=[4.5, 5.1]), titles.items(), (2.2, 2.8)):
        draw(axes, table)
        axes.set(xlim=(-1.9, 19.6), ylim=(-2.3, top), title=title)
        axes.set_axis_off()
        for text, y in DEEP.items():
            axes.text(-0.55, y, text, fontsize=6, color=GREY, ha="right", va="center")
    critics = " and ".join(f"{table.loc[name, 'parameters']:,}" for name in ("latent_critic", "image_critic"))
    texts = {
        "trained": f"learns: encoder, {total['encoder']:,} parameters; in stage 1 also the generator",
        "frozen": f"the generator, {total['generator']:,}, frozen in stage 2",
        "new": f"learns anew: transfer layers $t$ and maps, {total['transfer']:,}; skips, {total['skips']:,}",
        "critic": f"critics of codes and of faces, {critics}",
    }
    handles = [Patch(**KINDS[kind]) for kind in texts]
    figure.legend(handles, texts.values(), loc="outside lower center", ncols=1, fontsize=7, handleheight=0.9)
    return figure, table.reset_index()
