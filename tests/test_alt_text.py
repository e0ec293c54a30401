"""What is said of a figure that cannot be seen."""

from types import SimpleNamespace

import IPython
import pytest
from IPython.core.formatters import DisplayFormatter
from matplotlib.figure import Figure

from fa_lib import alt_text, notebook


def test_alternative_text_has_titles_axes_and_curves():
    figure = Figure()
    left, right, third = figure.subplots(1, 3)
    left.plot([0, 1], label="teacher")
    left.plot([1, 0], label="student")
    left.set(title="$\\Psi$ of a step", xlabel="epoch")
    for axes in (right, third):
        axes.imshow([[0, 1]])
    said = "Figure of 3 panels. Psi of a step: epoch: teacher, student; picture (2 times)"
    assert alt_text.of(figure) == said
    third.plot(0, 0, "o")
    assert alt_text.of(figure).endswith("student; picture; picture with points")


def test_alternative_text_has_ticks_that_are_words():
    figure = Figure()
    figure.subplots().set(yticks=[0, 1, 2], yticklabels=["PDC is steadier", "3", "It is late"], xlabel="difference")
    assert alt_text.of(figure) == "Figure of 1 panel. difference: PDC is steadier, It is late"


def test_alternative_text_of_a_drawing_is_the_words_in_it_and_short():
    figure = Figure()
    axes = figure.subplots()
    for word in ("picture", "network", "picture"):
        axes.text(0, 0, word)
    assert alt_text.of(figure) == "Figure of 1 panel. picture: network"
    assert alt_text.of(figure, most=30) == "Figure of 1 panel. picture: …"


def test_photo_carries_the_text():
    figure = Figure(figsize=(1, 1))
    figure.subplots().set_title("one face")
    assert notebook.photo(figure)._repr_jpeg_()[1]["alt"] == "Figure of 1 panel. one face"


@pytest.mark.parametrize("before", ["data", ("data", {"width": 3})])
def test_figures_of_a_notebook_carry_the_text(before, monkeypatch: pytest.MonkeyPatch):
    shell = SimpleNamespace(display_formatter=DisplayFormatter())
    monkeypatch.setattr(IPython, "get_ipython", lambda: shell)
    alt_text.tell_figures()  # a notebook that shows no figures has nothing to tell
    shell.display_formatter.formatters["image/png"].for_type(Figure, lambda figure: before)
    alt_text.tell_figures()
    data, metadata = shell.display_formatter.format(Figure())
    assert data["image/png"] == "data"
    assert metadata["image/png"] == {"alt": "Figure of 0 panels. "} | ({} if before == "data" else before[1])
