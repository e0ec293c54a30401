"""Drawings of methods: arrows end where their boxes do."""

from matplotlib.figure import Figure

from fa_lib import diagram


def test_diagram_arrows_join_the_edges_of_their_boxes():
    axes = Figure().subplots()
    boxes = {"a": ("A", 1, 3, 1.0, "data"), "b": ("B", 4, 3, 1.0, "trained"), "c": ("C", 4, 1, 1.0, "loss")}
    arrows = [("a", "b", "", "flow"), ("a", "c", "", "flow"), ("b", "c", "same", "same"), ("b", "c", "", "bus")]
    diagram.draw(axes, boxes, arrows, fork=2, bus=6)
    ways = [patch._path_original.vertices.tolist() for patch in axes.patches[3:]]
    half = diagram.TALL / 2
    assert ways[0] == [[1.5, 3], [3.5, 3]] and ways[1] == [[1.5, 3], [2, 3], [2, 1], [3.5, 1]]
    assert ways[2] == [[4, 3 - half], [4, 1 + half]] and ways[3] == [[4.5, 3], [6, 3], [6, 1], [4.5, 1]]
    assert [text.get_text() for text in axes.texts if text.get_text()] == ["A", "B\ntrained", "C", "same"]
