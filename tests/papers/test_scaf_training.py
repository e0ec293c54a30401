"""Paper 5: an auto-encoder learns without labels, a detector from few, and no label is read before it is asked for."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from fa_lib import runs
from fa_lib.data import Augment
from fa_lib.errors import InputError
from fa_lib.models.fabrec import AutoEncoder, FabRec
from fa_lib.papers import scaf_training as stages
from fa_lib.training import Plan

SLOWER = 0.02
PLAN = Plan(epochs=1, batch_size=8, lr=1e-3)


@pytest.fixture(scope="module")
def source(stores) -> stages.Source:
    unseen = stages.Source("synthetic/300w", 32, 12, 6, 1, 2, faces=0, fingerprint="")
    return dataclasses.replace(unseen, faces=12, fingerprint=unseen.train().fingerprint)


def run(row: str, config: object, seed: int = 0) -> runs.Run:
    return runs.Run("scaf", row, "synthetic/300w", "smoke", seed, config)


@pytest.fixture(scope="module")
def encoder(source: stages.Source) -> runs.Run:
    pool = stages.Pool(16, 32, faces=16)
    return run("autoencoder", stages.Unsupervised(4, 6, pool, PLAN, Augment(flip=0.5)))


def detector(encoder: runs.Run, source: stages.Source, labels: object, skips: bool = True, two: bool = False) -> runs.Run:
    config = stages.FineTune(encoder, skips, two, labels, source, 24, 8, 1e-2, SLOWER, Augment(flip=0.5))
    return run(f"scaf-{skips}-{two}", config)


def test_auto_encoder_learns_in_three_stages_and_finds_nothing(encoder: runs.Run):
    trained = runs.get(encoder)
    assert trained.log["stage"].tolist() == [1, 2, 3] and not trained.predictions
    assert (
        set(stages.Unsupervised.stages[2]) < set(trained.log) and trained.log["pixels"].iloc[-1] < trained.log["pixels"].iloc[0]
    )
    assert trained.log.loc[0].isna()["realism"] and not trained.log.loc[2].isna().any()
    pool = encoder.config.pool.load()
    assert len(pool) == 16 and pool.landmarks.shape == (16, 0, 2)


def test_pool_of_photographs_has_no_labels(source: stages.Source):
    pool = stages.Pool(4, 32, source).load()
    assert len(pool) == 16 and pool.landmarks.shape == (16, 0, 2) and pool.images.shape[0] == 16
    assert np.array_equal(pool.images[4:], source.train().images) and pool.select(np.arange(3, 6)).names.shape == (3,)


@pytest.mark.parametrize("two", [False, True])
def test_generator_stays_and_encoder_goes_slowly(encoder: runs.Run, source: stages.Source, two: bool):
    labels = stages.Labels(8)
    trained = runs.get(detector(encoder, source, labels, two=two))
    before, after = runs.get(encoder).network().autoencoder, trained.network().autoencoder
    assert all(torch.equal(a, b) for a, b in zip(before.decoder.state_dict().values(), after.decoder.state_dict().values()))
    moved = [(a - b).abs().max().item() for a, b in zip(before.encoder.parameters(), after.encoder.parameters())]
    steps = 3 if not two else 2  # of 24 pictures, 8 at a time; half of the time, rounded up
    assert 0 < max(moved) <= 1.1 * steps * 1e-2 * SLOWER
    assert trained.predictions["test"].shape == (6, 68, 2) and len(trained.predictions["labelled"]) == 8
    assert trained.log["stage"].unique().tolist() == (["head", "all"] if two else ["all"])


def test_slowed_parameters_step_as_adam_at_a_lower_rate():
    torch.manual_seed(0)
    net = FabRec(AutoEncoder(width=4, size=32, latent=5), landmarks=5).eval()
    other = FabRec(net.autoencoder, landmarks=5).eval()
    other.load_state_dict(net.state_dict())
    seen = torch.rand(2, 3, 32, 32)
    stages.slow_down(net, 0.1)
    encoder = other.autoencoder.encoder.parameters()
    for one, groups in (
        (net, net.parameters()),
        (other, [{"params": [*encoder], "lr": 1e-3}, {"params": other.groups()["head"]}]),
    ):
        adam = torch.optim.Adam(groups, lr=1e-2, eps=1e-30)
        for _ in range(3):
            adam.zero_grad()
            one(seen)[0].square().sum().backward()
            adam.step()
    stages.settle(net)
    assert {name for name, _ in net.named_parameters()} == {name for name, _ in other.named_parameters()}
    for (name, a), b in zip(net.named_parameters(), other.parameters()):
        assert torch.allclose(a, b, atol=2e-4), name


@pytest.mark.parametrize("function", ["nnm", "entropy", "k-center"])
def test_no_label_is_read_before_it_is_asked_for(
    encoder: runs.Run, source: stages.Source, function: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    first = detector(encoder, source, stages.Labels(4))
    second = detector(encoder, source, stages.Acquired(first, function, 3, share=0.2 * (function != "k-center")))
    labelled = runs.get(second).predictions["labelled"]
    assert len(labelled) == 7 and set(runs.get(first).predictions["labelled"]) < set(labelled)
    expected = runs.get(second).predictions["test"]
    whole = stages.Source.train

    def hidden(self: stages.Source):
        faces = whole(self)
        known = np.isin(np.arange(len(faces)), labelled)[:, None, None]
        return dataclasses.replace(faces, landmarks=np.where(known, faces.landmarks, np.nan).astype(np.float32))

    monkeypatch.setattr(stages.Source, "train", hidden)
    monkeypatch.setenv("FA_RUNS", str(tmp_path))
    again = runs.get(second).predictions
    assert np.array_equal(again["labelled"], labelled) and np.array_equal(again["test"], expected)


def test_labels_are_random_by_seed_or_the_first():
    one, other = (stages.Labels(5).pick(run("x", None, seed), 100) for seed in (0, 1))
    assert len(set(one)) == len(set(other)) == 5 and set(one) != set(other) and max(*one, *other) < 100
    assert stages.Labels(3, first=True).pick(run("x", None), 9).tolist() == [0, 1, 2]
    assert stages.Labels().pick(run("x", None), 4).tolist() == [0, 1, 2, 3]
    for count in (0, 5):
        with pytest.raises(InputError, match=f"{count} labels of 4 training faces: ask for 1 to 4"):
            stages.Labels(count).pick(run("x", None), 4)
