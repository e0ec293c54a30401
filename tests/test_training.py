"""Training: the same seed gives the same weights, also after a kill; what is not a number is refused."""

import math
import signal
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Generator, Tensor, nn

from fa_lib import losses, models, training
from fa_lib.data import Augment, Batch, Batches, Faces
from fa_lib.errors import InputError
from fa_lib.training import Plan

PLAN = Plan(epochs=12, batch_size=3, lr=1e-3)
# A network with everything that has state: batch norm, and dropout, which draws from torch's global generator.
PROGRAM = """
import sys
import numpy as np
import torch
from pathlib import Path
from torch import Generator, nn
from fa_lib import training
from fa_lib.data import Augment, Batches, Faces
from fa_lib.landmarks import SCHEMES

def make(landmarks, images):
    n = len(landmarks)
    text = np.array([str(i) for i in range(n)])
    nothing = np.full(n, "")
    return Faces(
        images, landmarks, None, None, None, np.zeros((n, 2, 3)), text, text, text, 32, "made by hand", "0",
        visible=None, attributes=nothing, length=None, scheme=SCHEMES.get(landmarks.shape[1]),
    )  # fmt: skip

def network(seed):
    torch.manual_seed(seed)
    layers = [nn.Conv2d(3, 4, 5, stride=4), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(0.2), nn.Flatten()]
    return nn.Sequential(*layers, nn.Linear(196, 136), nn.Unflatten(1, (68, 2)))

def loss_of(net, batch):
    fit = (net(batch.images) * 8 + 16 - batch.landmarks).square().mean()
    return {"fit": fit, "total": 2 * fit}

def train(folder, seed=0, plan=None, loss_of=loss_of):
    random = np.random.default_rng(0)
    landmarks = random.uniform(8, 36, (7, 68, 2)).astype(np.float32)
    images = random.integers(0, 256, (7, 44, 44, 3), dtype=np.uint8)
    augment = Augment(flip=0.5, degrees=20, noise=0.1)
    batches = Batches(make(landmarks, images), augment, 3, generator=Generator().manual_seed(seed))
    net = network(seed)
    torch.seed()  # whatever else draws from the global generator must not matter
    log = training.fit(net, batches, loss_of, plan or training.Plan(epochs=12, batch_size=3, lr=1e-3), Path(folder))
    return net, log
"""
KILLED = (
    PROGRAM
    + """
training.CHECKPOINT_EVERY = 0
epochs = []

def slow(net, batch):
    if len(epochs) == 8:  # in the middle of an epoch
        print("epoch", flush=True)
        sys.stdin.read()
    epochs.append(0)
    return loss_of(net, batch)

train(sys.argv[1], loss_of=slow)
"""
)
made: dict = {}
exec(PROGRAM, made)  # here and in the process that is killed: the very same training
train: Callable[..., tuple[nn.Module, pd.DataFrame]] = made["train"]


def same_weights(first: nn.Module, second: nn.Module) -> bool:
    a, b = first.state_dict(), second.state_dict()
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[nn.Module, pd.DataFrame]:
    """An uninterrupted training."""
    return train(tmp_path_factory.mktemp("whole"))


def test_same_seed_same_weights(tmp_path: Path, whole: tuple):
    net, log = train(tmp_path)
    assert same_weights(net, whole[0])
    assert log.drop(columns="seconds").equals(whole[1].drop(columns="seconds"))
    assert not same_weights(train(tmp_path, seed=1)[0], net)


def test_log_has_a_row_an_epoch_and_the_loss_falls(whole: tuple):
    log = whole[1]
    assert list(log.columns) == ["epoch", "seconds", "fit", "total"] and list(log["epoch"]) == list(range(12))
    assert np.allclose(log["total"], 2 * log["fit"]) and log["total"].iloc[-1] < log["total"].iloc[0]


@pytest.mark.faults("killed (SIGKILL) while training")
def test_killed_training_goes_on_to_the_same_weights(tmp_path: Path, whole: tuple, start: Callable, injected):
    process = start(KILLED, tmp_path)
    assert process.stdout.readline() == "epoch\n", process.stderr.read()
    process.send_signal(signal.SIGKILL)
    injected()
    process.wait()
    epochs: list[int] = []

    def counted(net: nn.Module, batch: Batch) -> dict[str, Tensor]:
        epochs.append(1)
        return made["loss_of"](net, batch)

    net, log = train(tmp_path, loss_of=counted)
    assert len(epochs) == (12 - 4) * 2  # four epochs of two batches were done
    assert same_weights(net, whole[0])
    assert log.drop(columns="seconds").equals(whole[1].drop(columns="seconds"))


@pytest.fixture
def checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The checkpoint of a training that is cut off after three epochs."""
    monkeypatch.setattr(training, "CHECKPOINT_EVERY", 0.0)
    steps: list[int] = []

    def stop(net: nn.Module, batch: Batch) -> dict[str, Tensor]:
        steps.append(1)
        if len(steps) > 6:
            raise KeyboardInterrupt
        return made["loss_of"](net, batch)

    with pytest.raises(KeyboardInterrupt):
        train(tmp_path, loss_of=stop)
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint.pt"]
    return tmp_path / "checkpoint.pt"


def test_interrupted_training_goes_on_to_the_same_weights(checkpoint: Path, whole: tuple):
    assert same_weights(train(checkpoint.parent)[0], whole[0])


@pytest.mark.faults("checkpoint cut short or damaged")
@pytest.mark.parametrize("left", [0, 3, 100, 0.5, 0.99, "zeros", "text"])
def test_damaged_checkpoint_is_noticed_and_training_starts_again(
    checkpoint: Path, whole: tuple, left: float | str, capsys: pytest.CaptureFixture, injected
):
    data = checkpoint.read_bytes()
    broken = {"zeros": bytes(len(data)), "text": b"not a checkpoint"}
    keep = left if isinstance(left, str) else int(left * len(data)) if isinstance(left, float) else left
    checkpoint.write_bytes(broken[left] if isinstance(left, str) else data[:keep])
    injected()
    net, _ = train(checkpoint.parent)
    assert "training starts again" in capsys.readouterr().err
    assert same_weights(net, whole[0])


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_loss_that_is_no_number_is_refused(tmp_path: Path, bad: float):
    def loss_of(net: nn.Module, batch: Batch) -> dict[str, Tensor]:
        return {"total": made["loss_of"](net, batch)["total"] * bad}

    with pytest.raises(InputError, match=r"the loss is (nan|inf) after epoch 0; a smaller learning rate"):
        train(tmp_path, loss_of=loss_of)


def test_learning_rate_falls_at_each_drop():
    plan = Plan(epochs=10, lr=1.0, drops=(0.6, 0.92))
    assert [round(plan.lr_at(share), 6) for share in (0, 0.59, 0.6, 0.9, 0.92, 1)] == [1, 1, 0.1, 0.1, 0.01, 0.01]
    assert Plan(epochs=10, lr=0.5, drops=()).lr_at(0.99) == 0.5


def test_optimiser_takes_the_planned_rates(tmp_path: Path):
    """One weight with a constant gradient: Adam moves it by the learning rate in every step."""
    places: list[float] = []

    class Point(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.place = nn.Parameter(torch.zeros(1))

        def forward(self, images: Tensor) -> Tensor:
            return self.place

    def loss_of(net: nn.Module, batch: Batch) -> dict[str, Tensor]:
        places.append(net(batch.images).item())
        return {"total": -net(batch.images).sum()}

    random = np.random.default_rng(0)
    faces = made["make"](np.zeros((4, 68, 2), np.float32), random.integers(0, 9, (4, 44, 44, 3), dtype=np.uint8))
    plan = Plan(epochs=5, batch_size=2, lr=0.1, drops=(0.5, 0.8), weight_decay=0.0)
    training.fit(Point(), Batches(faces, Augment(), 2), loss_of, plan, tmp_path)
    assert np.allclose(np.diff(places), [0.1] * 5 + [0.01] * 3 + [0.001], rtol=1e-3)


@pytest.mark.parametrize("name", ["resnet18", "fan2"])
def test_predictions_do_not_depend_on_the_batch(name: str):
    options = {"width": 8, "size": 64} if name == "resnet18" else {"width": 16, "mass": 3.0}
    torch.manual_seed(0)
    net = models.create(name, landmarks=5, **options)
    crops = np.random.default_rng(0).integers(0, 256, (7, 64, 64, 3), dtype=np.uint8)
    net.train()
    whole, parts, one = (training.predict(net, crops, batch_size=size) for size in (64, 3, 1))
    assert whole.shape == (7, 5, 2) and whole.dtype == np.float32
    assert np.allclose(whole, parts, atol=1e-3) and np.allclose(whole, one, atol=1e-3)
    assert training.predict(net, crops[:0]).shape == (0, 5, 2)


def test_evaluate_looks_at_the_crops(by_hand: Callable):
    """A network that measures the mean grey value tells which pixels it was shown."""

    class Grey(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.factor = nn.Parameter(torch.ones(1))

        def forward(self, images: Tensor) -> Tensor:
            return (self.factor * images.mean((1, 2, 3)))[:, None, None].expand(-1, 68, 2)

    faces: Faces = by_hand(np.full((3, 68, 2), 30.0))
    expected = faces.crops()[0].mean((1, 2, 3)) / 255
    assert np.allclose(training.evaluate(Grey(), faces)[:, 5, 1], expected, atol=1e-5)


def test_generator_of_the_batches_moves_on_while_training(tmp_path: Path, by_hand: Callable):
    """Whoever shares the generator, as ELT's transforms do, is part of the state that a checkpoint holds."""
    generator = Generator().manual_seed(0)
    batches = Batches(by_hand(np.full((4, 68, 2), 30.0)), Augment(), 2, generator=generator)
    net, before = models.create("resnet18", size=64, width=8), generator.get_state()
    everywhere = torch.get_rng_state()
    plan = Plan(epochs=1, batch_size=2)
    training.fit(net, batches, lambda n, b: {"total": losses.l2(n(b.images), b.landmarks)}, plan, tmp_path)
    assert batches.generator is generator and not torch.equal(generator.get_state(), before)
    assert torch.equal(torch.get_rng_state(), everywhere)  # while torch's global one stays where it was
