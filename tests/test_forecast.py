"""What a profile would take: what was recorded is foretold as it was, and nothing is drawn or trained to say so."""

from pathlib import Path

import pytest

from fa_lib import forecast, models, results
from fa_lib.__main__ import main
from fa_lib.data import counted, load
from fa_lib.data.crops import stored_size
from fa_lib.papers import PAPERS


def test_recorded_hours_are_foretold_as_they_were(store: Path):
    slug = "kd_loss"
    recorded, twins = forecast._recorded(slug), forecast._twins(slug)
    known = [row for row in recorded if (row, None) in twins]
    assert len(known) > 3
    assert sum(forecast.hours(twins[row, None]) for row in known) == pytest.approx(sum(recorded[row] for row in known))


def test_hours_grow_with_pictures_and_with_what_each_costs(store: Path):
    with counted.counting():
        small, large = (results.Study(PAPERS["kd_loss"], profile).run("mnv2", 0) for profile in ("desk", "full"))
    pictures = PAPERS["kd_loss"].cost(large) / PAPERS["kd_loss"].cost(small)
    costs = [models.count_macs(run.config.build(), run.config.source.size) for run in (small, large)]
    assert forecast.hours(large) == pytest.approx(forecast.hours(small) * pictures * costs[1] / costs[0])


def test_counted_faces_are_as_many_as_drawn_ones(cache: Path):
    drawn = load("synthetic/300w", "train", None, 32, 5)
    with counted.counting() as stores:
        faces = load("synthetic/300w", "train", None, 32, 5)
        many = load("synthetic/wild", "train", None, 256, 200_000)
        clips = load("synthetic/300vw", "test", None, 32, 2, frames=7)
    assert (faces.images.shape, faces.landmarks.shape) == (drawn.images.shape, drawn.landmarks.shape)
    assert (faces.landmarks[1:] == faces.landmarks[:1]).all() and (faces.landmarks[0] == drawn.landmarks[0]).all()
    assert len(many) == 200_000 and sum(file.stat().st_size for file in cache.rglob("*")) < 10**7
    assert len(clips) == 2 * 3 * 7 == len(load("synthetic/300vw", "test", None, 32, 2, frames=7))
    assert sorted(stores.values()) == sorted(
        count * stored_size(size) ** 2 * 3 for count, size in ((5, 32), (42, 32), (200_000, 256))
    )


def test_dry_run_says_it_all_and_trains_nothing(store: Path, capsys: pytest.CaptureFixture):
    assert main(["reproduce", "rendered_to_real", "--profile", "paper", "--dry-run"]) == 0
    lines = capsys.readouterr().out.splitlines()
    runs, hours = lines[1].split()[1:3]
    assert lines[1].startswith("rendered_to_real") and int(runs) == 35 and float(hours.replace(",", "")) > 100
    assert "GiB" in lines[-2] and "nothing has been recorded on a GPU" in lines[-1]
    assert not store.exists() or not list(store.rglob("provenance.json"))
