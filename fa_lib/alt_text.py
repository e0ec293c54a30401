"""The words that stand for a figure where it cannot be seen: read by screen readers, kept in a notebook beside the picture."""

import re
from typing import Any

from matplotlib.figure import Figure


def of(figure: Figure, most: int = 600) -> str:
    """What a screen reader says instead of a figure: of each panel title, axes, curves and named ticks, or the words in it.

    >>> figure = Figure()
    >>> axes = figure.subplots()
    >>> _ = axes.plot([1, 2], label="network"), axes.set(title="Error", xlabel="epoch", ylabel="NME [%]")
    >>> of(figure)
    'Figure of 1 panel. Error: NME [%] against epoch: network'
    """
    panels = []
    for axes in figure.axes:
        labels = [axes.get_ylabel(), axes.get_xlabel()]
        words = [*(axes.get_title(where) for where in ("left", "center", "right")), " against ".join(filter(None, labels))]
        words += [", ".join(dict.fromkeys(axes.get_legend_handles_labels()[1]))]
        ticks = [tick.get_text() for tick in (*axes.get_xticklabels(), *axes.get_yticklabels())]
        words += [", ".join(tick for tick in ticks if re.search("[A-Za-z]{2}", tick))]
        words = [word for word in words if word] or list(dict.fromkeys(text.get_text() for text in axes.texts))
        panels.append(": ".join(words) or (f"picture{' with points' * bool(axes.lines)}" if axes.images else "drawing"))
    text = "; ".join(f"{one} ({panels.count(one)} times)" if panels.count(one) > 1 else one for one in dict.fromkeys(panels))
    text = re.sub(r"\s+", " ", text.replace("$", "").replace("\\", ""))
    text = f"Figure of {len(panels)} panel{'s' * (len(panels) != 1)}. {text}"
    return text if len(text) <= most else text[: most - 1].rsplit(" ", 1)[0] + " …"


def tell_figures() -> None:
    """In a notebook, has figures shown with their alternative text from now on; nbconvert hands it on to web pages."""
    from IPython import get_ipython

    shell = get_ipython()
    form = shell.display_formatter.formatters["image/png"] if shell else {}
    if Figure not in form:
        return  # no notebook, or one that shows no figures
    draw = form.lookup_by_type(Figure)

    def drawn(figure: Figure) -> tuple[Any, dict]:
        found = draw(figure)
        data, metadata = found if isinstance(found, tuple) else (found, {})
        return data, metadata | {"alt": of(figure)}

    form.for_type(Figure, drawn)
