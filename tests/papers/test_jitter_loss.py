"""Paper 3: rows start from whom they say, backbones stay as they are, the loss is the paper's, readings read what there is."""

import dataclasses

import numpy as np
import pytest
import torch

from fa_lib import filters, heatmaps, models, results, runs
from fa_lib.data import Batch
from fa_lib.heatmaps import draw
from fa_lib.models.convlstm import ConvLSTM
from fa_lib.models.stable import Stable
from fa_lib.papers import jitter_loss as paper
from fa_lib.papers import jitter_loss_registration as registration
from fa_lib.papers import jitter_loss_training as training
from fa_lib.study import Study


@pytest.fixture(scope="module")
def study(stores) -> Study:
    return Study(paper, "smoke", seeds=1)


@pytest.fixture
def net() -> Stable:
    torch.manual_seed(0)
    found = Stable(models.create("fan2", landmarks=4, width=16, mass=3.0), ConvLSTM(4, 3))
    torch.nn.init.normal_(found.convlstm.correction.weight, std=0.3)
    return found.eval()


@pytest.fixture
def crops() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (7, 64, 64, 3), dtype=np.uint8)


def test_rows_start_from_the_rows_of_their_name(study: Study):
    for row in paper.ROWS:
        config, first = study.run(row, 0).config, row.split("-")[0]
        assert paper.base(study.run(row, 0)).row == first
        if isinstance(config, training.FineTune):
            assert config.clips == ("video" in row) and config.backbone.row == ("cpm-sbr" if first == "cpm" else first)
    assert study.run("awing-pdc-euro-equal", 0).config.late_as.row == "awing-video"
    thetas = {study.run(f"hrnet-video{end}", 0).config.theta for end in ("", *(f"-{theta:g}" for theta in paper.THETAS))}
    assert thetas == {0, 0.5, 1, 1.5, 2}
    assert len({study.run(row, 0).hash for row in paper.ROWS}) == len(paper.ROWS)


def test_tables_have_every_number_that_the_paper_prints():
    printed = results.published(paper)
    for table in paper.TABLES:
        known = {(label, split, metric) for label in table.rows for split in table.splits for metric in table.columns}
        numbers = printed[(printed.table == table.number) & ~printed.metric.str.contains("change")]
        assert set(numbers[["label", "split", "metric"]].itertuples(index=False, name=None)) <= known
        assert len(numbers) > 8


def test_data_sets_have_their_points(study: Study):
    assert {part.dataset: part.source.landmarks for part in study.all()} == {None: 68, "aflw": 19, "cofw": 29, "wflw": 98}
    shown = {name: {f"{row}{end}" for row in rows for end in ("", "-ft")} for name, rows in
             {"aflw": ("hrnet", "awing", "lab", "cpm-sbr"), "cofw": ("hrnet", "awing", "lab")}.items()}  # fmt: skip
    assert {name: set(study.on(name).rows) for name in shown} == shown


def test_fine_tuning_leaves_the_backbone_as_it_is(study: Study):
    backbone, tuned = (runs.get(study.run(row, 0)) for row in ("awing", "awing-video"))
    before, after = backbone.network().state_dict(), tuned.network().state_dict()
    assert all(torch.equal(after[f"backbone.{key}"], value) for key, value in before.items())
    assert tuned.network().convlstm.correction.weight.abs().max() > 0
    assert np.isfinite(tuned.log["total"]).all() and set(tuned.log.columns) >= {"pixel", "psi", "total"}


def test_theta_0_learns_nothing(study: Study):
    backbone, same = (runs.get(study.run(row, 0)) for row in ("cpm-sbr", "cpm-sbr-video-0"))
    assert np.array_equal(same.predictions["video"], backbone.predictions["video pdc 0.2"])


def test_loss_is_that_of_equations_2_to_4_frame_by_frame(study: Study, net: Stable):
    stage = study.run("hrnet-video-1.5", 0).config
    images, landmarks = torch.rand(2, 3, 3, 64, 64), torch.rand(2, 3, 4, 2) * 40 + 10
    maps = net.sequence(images)[0].detach().double()
    cells, theta, total = maps.shape[-1], 1.5, 0.0
    at = (landmarks.double() + 0.5) / (64 / cells) - 0.5
    for b in range(2):
        for t in range(3):
            target = draw(at[b, t][None], cells, 1.0, variance="s2")[0]
            for k in range(4):
                error = heatmaps.decode(maps[b, t][None], "pdc", 0.2)[0, k] - at[b, t, k]
                psi = 1.0
                if t:
                    before = heatmaps.decode(maps[b, t - 1][None], "pdc", 0.2)[0, k] - at[b, t - 1, k]
                    moved = torch.linalg.norm(at[b, t, k] - at[b, t - 1, k])
                    psi = min(float(torch.linalg.norm(error - before) / (moved + training.XI)), theta)
                square = (maps[b, t, k] - target[k]) ** 2
                total += psi * float((square / (square + theta**2)).mean())
    found = stage.step(net, Batch(images, landmarks, torch.zeros(2, 3)))
    assert found["total"].item() == pytest.approx(total / 24, rel=1e-4)


def test_untrained_fine_tuning_starts_at_the_backbone(study: Study, crops: np.ndarray):
    net = study.run("lab-ft", 0).config.build().eval()
    clips = np.array(["a"] * 7)
    steadied, plain = (training.read(n, crops, training.DECODERS, clips) for n in (net, net.backbone))
    assert all(np.array_equal(steadied[name], plain[name]) for name in plain) and set(plain) >= {"pdc 0.2", "argmax"}


def test_a_clip_carries_its_state_and_a_photograph_none(net: Stable, crops: np.ndarray):
    by, name = (training.Decoder("local"),), "local"
    clips = np.array(["a"] * 4 + ["b"] * 3)
    together = training.read(net, crops, by, clips)[name]
    alone = [training.read(net, crops[part], by, clips[part])[name] for part in (slice(0, 4), slice(4, 7))]
    assert np.allclose(together, np.concatenate(alone), atol=1e-5)
    photographs = training.read(net, crops, by)[name]
    assert np.allclose(photographs[[0, 4]], together[[0, 4]], atol=1e-4)  # the first frame of a clip has no past
    assert np.abs(photographs - together)[[1, 2, 3, 5, 6]].max() > 1e-3
    assert np.allclose(training.read(net, crops[::-1], by)[name], photographs[::-1], atol=1e-5)


def test_long_clips_are_read_in_parts(net: Stable):
    crops = np.random.default_rng(1).integers(0, 256, (40, 64, 64, 3), dtype=np.uint8)
    found = training.read(net, crops, (training.Decoder("local"),), np.array(["a"] * 40))["local"]
    with torch.no_grad():
        maps = net.sequence(torch.from_numpy(crops).permute(0, 3, 1, 2)[None].float() / 255)[0][0]
    assert np.allclose(found, training.Decoder("local")(maps, 64).numpy(), atol=1e-3)


def test_maps_that_are_kept_are_those_of_the_backbone(study: Study):
    run = study.run("lab-video", 0)
    net, source = run.config.build(), run.config.source
    torch.nn.init.normal_(net.convlstm.correction.weight, std=0.3)
    net.backbone.load_state_dict(runs.get(run.config.backbone).network().state_dict())
    kept = training.frozen_maps(run.config.backbone, source, "video")
    pictures, by, clips = source.video().crops()[0], (training.PDC, training.Decoder("local")), source.video().group
    for group in (clips, None):
        computed, looked_up = (training.read(net, pictures, by, group, frozen) for frozen in (None, kept))
        assert all(np.allclose(computed[name], looked_up[name], atol=1e-4) for name in computed)
    index = torch.tensor([[0, 1, 2], [5, 6, 7]])
    images = torch.from_numpy(np.array(pictures))[index].permute(0, 1, 4, 2, 3).float() / 255
    batch = Batch(images, torch.from_numpy(source.video().landmarks)[index].float(), index)
    assert torch.allclose(*(run.config.step(net, batch, frozen)["total"] for frozen in (None, kept)), rtol=1e-5)
    assert training.frozen_maps(run.config.backbone, dataclasses.replace(source, size=256), "video") is None


def test_readings_are_other_decoders_and_filters_of_one_run(study: Study):
    awing, average, pdc = (runs.get(study.run(row, 0)) for row in ("awing", "awing-pdc-average", "awing-pdc"))
    assert np.array_equal(pdc.predictions["test"], awing.predictions["test pdc 0.2"])
    assert np.array_equal(awing.predictions["video"], awing.predictions["video quarter"])
    expected = filters.smooth(filters.MovingAverage(3), pdc.predictions["video"], study.video.group)
    assert np.allclose(average.predictions["video"], expected, atol=1e-3)


@pytest.mark.parametrize("cutoff", [1.5, 6.0])
def test_equally_late_filters_are_found(cutoff: float):
    time = np.arange(80)[:, None, None]
    truth = np.sin(time / 8 + np.arange(3)[:, None]) * 20 + 40 + np.zeros((1, 1, 2))
    clips = np.repeat(["a", "b"], 40)
    noisy = truth + np.random.default_rng(0).normal(0, 0.3, truth.shape)
    late = filters.smooth(filters.OneEuro(cutoff, beta=0.0), noisy, clips)
    found = training.equally_late(noisy, truth, clips, training._mean_lag(late, truth, clips))
    assert found.min_cutoff == pytest.approx(cutoff, rel=0.05)
    assert training.equally_late(noisy, truth, clips, -1.0).min_cutoff > 900


def test_flow_follows_pictures_that_move(study: Study, by_hand):
    face = np.array(study.test.images[0])
    moved = np.stack([np.roll(face, (t, 2 * t), (0, 1)) for t in (0, 1, 2)])
    start = np.repeat(study.test.landmarks[:1], 3, 0) - study.test.offset
    clips = by_hand(start, 64, moved, group=["a", "a", "b"])
    found = registration.flow(clips, start)
    inner = slice(27, 48)  # nose and eyes: there is something to follow
    assert np.isnan(found[[0, 2]]).all()
    assert np.abs(np.nanmedian(found[1, inner], 0) - [2, 1]).max() < 0.1


def test_registration_asks_landmarks_to_move_as_flow_does():
    before, moved = torch.rand(2, 5, 2) * 60, torch.randn(2, 5, 2)
    assert registration.registration(before, before + moved, moved).item() == pytest.approx(0, abs=1e-5)
    lost = torch.full_like(moved, torch.nan)
    found = before.clone().requires_grad_()
    loss = registration.registration(before, found, lost)
    loss.backward()
    assert loss.item() == 0 and (found.grad == 0).all()


def test_registered_networks_go_on_from_their_base(study: Study):
    log = runs.get(study.run("cpm-sbr", 0)).log
    assert set(log.columns) >= {"heatmaps", "registration", "total"} and np.isfinite(log["total"]).all()
    row = log.iloc[0]
    assert row["total"] == pytest.approx(row["heatmaps"] + 0.5 * row["registration"], rel=1e-5)


def test_unknown_rows_are_refused(study: Study, refusal):
    refusal("awing-vidoe", study.run, "awing-vidoe", 0)
