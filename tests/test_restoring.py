"""What is restored from the store is the network that was trained, for every way in which a paper builds one."""

import json
from collections.abc import Callable, Iterator

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from fa_lib import restoring, runs
from fa_lib.data import Augment
from fa_lib.papers import (
    jitter_loss_registration,
    jitter_loss_training,
    kd_loss_training,
    scaf_training,
    sd_hrnet_training,
    self_distillation_training,
)
from fa_lib.training import Plan

PLAN, NARROW = Plan(epochs=1), (("width", 8), ("stride", 4), ("depth", 2))


def run(row: str, config: runs.Config) -> runs.Run:
    return runs.Run("paper", row, "synthetic/300w", "smoke", 0, config)


def simple(source) -> Iterator[runs.Config]:
    """Networks of papers 1 to 3, one of each kind that is built in a way of its own."""
    yield self_distillation_training.Stage("resnet18", (), source, PLAN)
    yield self_distillation_training.Stage("fan2", NARROW, source, PLAN)
    yield kd_loss_training.Stage("mobilenet_v2", (("width", 0.35),), source, PLAN, gain=0.1)
    backbone = jitter_loss_training.Backbone("fan2", NARROW, source, PLAN, self_distillation_training.AUGMENT)
    below = run("hrnet", backbone)
    yield jitter_loss_registration.Registered(below, PLAN)
    yield jitter_loss_training.FineTune(below, source, PLAN)
    yield jitter_loss_training.FineTune(below, source, PLAN, residual=False)
    tuned = run("hrnet-ft", jitter_loss_training.FineTune(below, source, PLAN))
    yield jitter_loss_training.Reading(tuned, jitter_loss_training.PDC)


def slimmed(source) -> Iterator[runs.Config]:
    """Networks of paper 4: searched for, cut, and one of two that learned together."""
    search = sd_hrnet_training.Search((("width", 4), ("blocks", 1)), source, PLAN, Augment(), "pass")
    cut = run("cut", sd_hrnet_training.Slim(run("search", search), 50))
    pair = sd_hrnet_training.Distilled(cut, None, PLAN, lambda1=4, lambda2=0)
    yield from (search, cut.config, pair, sd_hrnet_training.Second(run("pair", pair)))


def learned_from_few(source) -> Iterator[runs.Config]:
    """Networks of paper 5, without skips and with them."""
    pool = scaf_training.Pool(4, 32)
    encoder = run("autoencoder", scaf_training.Unsupervised(4, 7, pool, PLAN, Augment()))
    for skips in (False, True):
        labels = scaf_training.Labels(2)
        yield scaf_training.FineTune(encoder, skips, False, labels, source, 4, 2, 1e-3, 0.1, Augment())


def keep(kept: runs.Run, net: nn.Module, **predictions: np.ndarray) -> dict:
    """Puts a run into the store; returns what `runs.stored` would say of it."""
    kept.folder.mkdir(parents=True)
    save_file({key: value.contiguous() for key, value in net.state_dict().items()}, kept.folder / "model.safetensors")
    (kept.folder / "config.json").write_text(json.dumps(kept.describe()))
    np.savez(kept.folder / "predictions.npz", **(predictions or {"test": np.zeros((2, 68, 2))}))
    return {"id": kept.id, "hash": kept.hash, "folder": str(kept.folder)}


def keep_below(config: runs.Config) -> None:
    """Puts the runs that a configuration starts from into the store, the first one first."""
    for below in [value for value in vars(config).values() if isinstance(value, runs.Run)]:
        if not below.folder.exists():
            keep_below(below.config)
            net = below.config.build()
            if isinstance(below.config, sd_hrnet_training.Search):
                net.alphas().data.uniform_(-1, 1)
            keep(below, net)


@pytest.mark.parametrize("kinds", [simple, slimmed, learned_from_few])
def test_restored_network_is_the_trained_one(kinds: Callable, source):
    pictures = torch.rand(2, 3, 32, 32)
    for number, config in enumerate(kinds(source)):
        keep_below(config)
        net = config.build().eval()
        for name, weights in net.state_dict().items():  # other ones than a new network has, but for factors, which stay
            weights += 0.01 * torch.rand(weights.shape) if weights.is_floating_point() and not name.endswith("alpha") else 0
        restored, size = restoring.restore(keep(run(f"row{number}", config), net))
        assert size == 32 and type(restored) is type(getattr(net, "first", net))
        with torch.no_grad():
            expected, found = net(pictures), restored(pictures)
        for one, other in zip(*((maps,) if torch.is_tensor(maps) else maps for maps in (expected, found)), strict=True):
            assert torch.equal(one, other)


def test_run_of_other_code_is_refused(source, refusal: Callable):
    other = run("row", next(simple(source)))
    refusal(other.hash, restoring.restore, keep(other, nn.Linear(2, 2)))
    (other.folder / "model.safetensors").unlink()
    refusal("model.safetensors", restoring.restore, {"id": other.id, "hash": other.hash, "folder": str(other.folder)})


def test_cut_network_without_its_search_is_refused(source, refusal: Callable):
    config = list(slimmed(source))[1]
    keep_below(config)
    found = keep(run("slim", config), config.build())
    (config.search.folder / "model.safetensors").unlink()
    refusal(config.search.hash, restoring.restore, found)


def test_run_that_finds_no_landmarks_is_refused(source, refusal: Callable):
    encoder = next(learned_from_few(source)).autoencoder
    said = refusal(encoder.hash, restoring.restore, keep(encoder, encoder.config.build(), labelled=np.arange(2)))
    assert "no landmarks" in said
