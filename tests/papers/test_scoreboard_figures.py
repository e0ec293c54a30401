"""The scoreboard's figures: the front is that of all pairs, and what is drawn is what the tables say."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from fa_lib import models, plots, runs
from fa_lib.papers import scoreboard
from fa_lib.papers import scoreboard_figures as figures
from fa_lib.papers.scoreboard_training import Source
from fa_lib.study import Study

TRAINED = {"MobileNetV2": "mnv2", "MobileNetV2, self-distilled": "mnv2-self", "FAN2HG": "fan2"}
points = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), min_size=1, max_size=12)


@example([(1, 2), (1, 1), (1, 1), (0, 1)])
@settings(max_examples=200)
@given(points)
def test_front_is_who_no_other_beats_in_both(pairs: list[tuple[int, int]]):
    cost, error = np.array(pairs, float).T
    found = figures.front(cost, error)

    def beaten(i: int) -> bool:
        return any(
            cost[j] <= cost[i] and error[j] <= error[i] and (cost[j] < cost[i] or error[j] < error[i] or j < i)
            for j in range(len(pairs)) if j != i
        )  # fmt: skip

    assert sorted(found) == [i for i in range(len(pairs)) if not beaten(i)]
    assert (np.diff(cost[found]) > 0).all() and (np.diff(error[found]) < 0).all()


@pytest.fixture(scope="module")
def study(stores):
    unseen = Source("synthetic/300w", 64, 12, 8, 1, 4, faces=0, fingerprint="")
    few = replace(unseen, faces=12, fingerprint=unseen.train().fingerprint)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scoreboard, "source", lambda *_: few)
        patch.setattr(figures, "TABLES", tuple(replace(table, rows=TRAINED) for table in scoreboard.TABLES))
        yield Study(scoreboard, "smoke", seeds=1)


def test_every_row_has_a_look():
    assert all(figures.family(row)[0] in label for label, row in scoreboard.TABLES[0].rows.items())


def test_figure_1_shows_what_rows_cost_and_who_is_on_the_front(study: Study):
    figure, frame = figures.figure1(study)
    assert frame["row"].tolist() == list(TRAINED.values()) and "not a result" in figure.texts[0].get_text()
    net = study.trained("mnv2")[0].network()
    one = frame.set_index("row").loc["mnv2"]
    assert one["parameters"] == models.count_parameters(net) / 1e6 and one["flops"] == models.count_macs(net, 64) / 1e6
    assert one["nme"] == pytest.approx(100 * study.estimate("mnv2", "nme").value) and one["low"] <= one["nme"] <= one["high"]
    spent = sum(runs.get(each).provenance["seconds"] for each in runs.needed(study.run("mnv2-self", 0)))
    assert frame.set_index("row").loc["mnv2-self", "training"] == pytest.approx(spent / 60)
    for axes, column in zip(figure.axes, ("flops", "latency", "training"), strict=True):
        best = figures.front(frame[column].to_numpy(), frame["nme"].to_numpy())
        assert frame.index[frame[f"front by {column}"]].tolist() == sorted(best)
        (line,) = [line for line in axes.lines if line.get_zorder() == 0]
        assert line.get_xydata() == pytest.approx(frame.loc[best, [column, "nme"]].to_numpy(), rel=1e-5)
    assert plots.rendered(figure)[0] == ".svg"


@pytest.mark.parametrize("make", [figures.figure1, figures.figure2])
def test_figures_are_drawn_anew_from_their_csv(study: Study, same_from_file, make):
    same_from_file(make, study)


def test_figure_2_shows_the_estimates_of_each_set(study: Study):
    figure, frame = figures.figure2(study)
    assert len(frame) == len(TRAINED) * (len(figures.SETS) + 1)
    for line in frame.itertuples():
        found, unit = study.estimate(line.row, line.metric, line.split), 100 if line.metric == "nme" else 1000
        assert (line.value, line.low, line.high) == tuple(unit * value for value in (found.value, found.low, found.high))
    left, right = figure.axes
    drawn = {line.get_label(): line.get_xdata().tolist() for line in left.lines}
    of_split = frame.groupby("split")["value"].agg(list)
    assert drawn == {text: pytest.approx(of_split[split], rel=1e-5) for split, (text, *_) in figures.SETS.items()}
    assert right.lines[0].get_xdata() == pytest.approx(of_split["video"], rel=1e-5)
    assert [label.get_text() for label in left.get_yticklabels()] == list(TRAINED)
