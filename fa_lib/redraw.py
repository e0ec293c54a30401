"""Figures that can be drawn anew from the CSV beside them, without the study that they were measured in."""

import functools
import io
from collections.abc import Callable
from pathlib import Path
from typing import Self

import pandas as pd
from matplotlib.figure import Figure

from fa_lib import plots, storage
from fa_lib.errors import InputError
from fa_lib.study import Study


class Incomplete(InputError):
    """A CSV was recorded before it held all that its figure shows."""


class FromFrame:
    """A figure in two steps: `measure` makes a frame of a study, `draw` makes a figure of that frame alone.

    What is drawn is what the frame's CSV says, also where the frame is at hand: so a file gives the same figure, byte for byte.

    >>> from types import SimpleNamespace
    >>> third = FromFrame(lambda study: pd.DataFrame({"wide": [1 / 3]}), lambda frame: Figure(figsize=(frame["wide"][0], 1)))
    >>> third(SimpleNamespace(profile=SimpleNamespace(name="quick")))[0].get_figwidth().item()
    0.333333
    """

    def __init__(self, measure: Callable[[Study], pd.DataFrame], draw: Callable[[pd.DataFrame], Figure]) -> None:
        self.measure, self.draw = measure, draw
        functools.update_wrapper(self, draw)

    @classmethod
    def of(cls, measure: Callable[[Study], pd.DataFrame]) -> Callable[[Callable[[pd.DataFrame], Figure]], Self]:
        """A decorator for the function that draws what `measure` finds."""
        return functools.partial(cls, measure)

    def __call__(self, study: Study) -> tuple[Figure, pd.DataFrame]:
        """The figure of a study, as functions under `plots.drawn` make it: at profile smoke it is marked as no result."""
        frame = self.measure(study)
        written = pd.read_csv(io.BytesIO(plots.csv_bytes(frame)))
        return self.redraw(written, study.profile.name == "smoke"), frame

    def redraw(self, frame: pd.DataFrame, smoke: bool = False) -> Figure:
        """The figure of a frame that was read from a CSV. Raises Incomplete where that lacks what the figure shows."""
        with plots.style():
            figure = plots.no_data(frame[plots.NO_DATA][0])[0] if plots.NO_DATA in frame else self.draw(frame)
            if smoke:
                plots.watermark(figure)
            plots.settle(figure)
        return figure


def save_picture(figure: Figure, target: Path) -> Path:
    """Writes a figure alone, where `plots.save` writes it beside its CSV; returns its path."""
    suffix, content = plots.rendered(figure)
    path = target.with_name(target.name + suffix)
    with storage.new_file(path) as part:
        part.write_bytes(content)
    return path
