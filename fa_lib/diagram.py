"""Drawings of methods: boxes for what is trained, frozen and compared, and arrows between them."""

from collections.abc import Mapping, Sequence

import matplotlib.path
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

from fa_lib.plots import BLACK, BLUE, GREY, RED

Box = tuple[str, float, float, float, str]  # text, x and y of the middle, width, kind
LOOKS = {
    "data": {"facecolor": "white", "edgecolor": GREY, "linewidth": 0.7},
    "frozen": {"facecolor": "#e9e9e9", "edgecolor": GREY, "linewidth": 1.0, "linestyle": "--"},
    "trained": {"facecolor": "#cfe3f3", "edgecolor": BLUE, "linewidth": 1.8},
    "loss": {"facecolor": "#fbe3cf", "edgecolor": RED, "linewidth": 1.0},
}
TALL = 0.72  # height of a box


def draw(axes: Axes, boxes: Mapping[str, Box], arrows: Sequence[tuple[str, str, str, str]], fork: float, bus: float) -> None:
    """Boxes of the kinds of LOOKS, and arrows (from, to, text, kind): "flow", "copy" (dashed), "same" (dotted, no head), "bus".

    Arrows run along the axes, from right to left side or from bottom to top; those that change height turn at x = `fork`;
    those of kind "bus" go round, up or down at x = `bus`, into the right side.
    """
    axes.set_axis_off()
    for text, x, y, width, kind in boxes.values():
        corner = (x - width / 2, y - TALL / 2)
        axes.add_patch(FancyBboxPatch(corner, width, TALL, boxstyle="round,pad=0,rounding_size=0.12", **LOOKS[kind]))
        note = f"\n{kind}" if kind in ("frozen", "trained") else ""
        axes.text(x, y, text + note, ha="center", va="center", linespacing=1.25)
    for start, end, text, kind in arrows:
        way = _way(boxes[start], boxes[end], fork, bus if kind == "bus" else None)
        look = {"linestyle": {"same": ":", "copy": "--"}.get(kind, "-"), "linewidth": 0.9, "color": BLACK, "joinstyle": "miter"}
        head = {"arrowstyle": "-" if kind == "same" else "-|>", "mutation_scale": 8, "shrinkA": 0, "shrinkB": 0}
        axes.add_patch(FancyArrowPatch(path=matplotlib.path.Path(way), **head, **look))
        (x0, y0), (x1, y1) = way[0], way[-1]
        side = {"ha": "left", "va": "center"} if x0 == x1 else {"ha": "center", "va": "bottom"}
        axes.text((x0 + x1) / 2 + 0.1 * (x0 == x1), (y0 + y1) / 2 + 0.06 * (x0 != x1), text, fontsize=7.5, **side)


def _way(start: Box, end: Box, fork: float, bus: float | None) -> list[tuple[float, float]]:
    """The corners of an arrow between two boxes."""
    (_, x0, y0, w0, _), (_, x1, y1, w1, _) = start, end
    if bus is not None:
        return [(x0 + w0 / 2, y0), (bus, y0), (bus, y1), (x1 + w1 / 2, y1)]
    if x0 == x1:
        return [(x0, y0 - TALL / 2), (x1, y1 + TALL / 2)]
    return [(x0 + w0 / 2, y0), *([(fork, y0), (fork, y1)] if y0 != y1 else []), (x1 - w1 / 2, y1)]


def table(boxes: Mapping[str, Box], arrows: Sequence[tuple[str, str, str, str]]) -> pd.DataFrame:
    """What `draw` draws, as the tidy data of a figure: a line a box, then a line an arrow."""
    drawn = [{"kind": k, "name": name, "text": t, "x": x, "y": y, "width": w} for name, (t, x, y, w, k) in boxes.items()]
    links = [{"kind": f"arrow ({k})", "name": f"{a} -> {b}", "text": t, "from": a, "to": b} for a, b, t, k in arrows]
    return pd.DataFrame(drawn + links)
