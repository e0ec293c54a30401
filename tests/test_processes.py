"""Several processes: real ones, over gloo, started by torchrun as users start them."""

import dataclasses
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Generator
from torch.nn import functional as F

from fa_lib import processes, runs
from fa_lib.__main__ import main
from fa_lib.data import Augment, Batches, Faces
from fa_lib.data.masked import MASKS, MaskedBatches
from fa_lib.data.sequences import Sequences
from fa_lib.errors import InputError
from fa_lib.papers import self_distillation as paper
from fa_lib.papers.sd_hrnet_training import Turns
from fa_lib.whole_batch import WholeBatch

ROOT = Path(__file__).resolve().parents[1]
# A network and a loss with all that looks at a whole batch: batch norm, dropout, a random number for each face.
PROGRAM = """
import json, os, sys
from pathlib import Path

import numpy as np
import torch
from torch import Generator, nn
from fa_lib import processes, training
from fa_lib.data import Augment, Batches, Faces
from fa_lib.errors import InputError
from fa_lib.landmarks import SCHEMES

EPOCHS = 12

def faces(n=9):
    random, text = np.random.default_rng(0), np.array([str(i) for i in range(n)])
    landmarks = random.uniform(8, 36, (n, 68, 2)).astype(np.float32)
    images = random.integers(0, 256, (n, 44, 44, 3), dtype=np.uint8)
    return Faces(
        images, landmarks, None, None, None, np.zeros((n, 2, 3)), text, text, text, 32, "made by hand", "0",
        visible=None, attributes=np.full(n, ""), length=None, scheme=SCHEMES[68],
    )  # fmt: skip

def network():
    torch.manual_seed(0)
    # no bias before batch norm: it changes nothing, so that its gradient is rounding, of which Adam makes whole steps
    layers = [nn.Conv2d(3, 4, 5, stride=4, bias=False), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(0.2), nn.Flatten()]
    return nn.Sequential(*layers, nn.Linear(196, 136), nn.Unflatten(1, (68, 2)))

class Loss:
    def __init__(self, generator):
        self.generator, self.seen = generator, []

    def __call__(self, net, batch):
        self.seen.append(batch.index.tolist())
        light = 0.5 + torch.rand(len(batch.images), generator=self.generator)[:, None, None, None]
        both = [(net(images) * 8 + 16 - batch.landmarks).square().mean() for images in (batch.images, light * batch.images)]
        return {"fit": both[0], "light": both[1], "total": both[0] + both[1]}

def train(folder, loss=Loss, batch=4):
    batches = Batches(faces(), Augment(flip=0.5, degrees=20, noise=0.1), batch, generator=Generator().manual_seed(0))
    net, step = network(), loss(batches.generator)
    log = training.fit(net, batches, step, training.Plan(EPOCHS, batch, lr=1e-3), Path(folder))
    return {"net": net.state_dict(), "log": log.to_dict("list"), "seen": getattr(step, "seen", None)}
"""
TWO = (
    PROGRAM
    + """
from dataclasses import dataclass
from typing import ClassVar

import pandas as pd
from fa_lib import runs, storage

@dataclass(frozen=True)
class Toy:
    teacher: runs.Run | None = None
    code: ClassVar[tuple[str, ...]] = ("losses/landmark",)

    def build(self):
        return nn.Linear(1, 1)

    def train(self, run, folder):
        trained.append(run.row)
        net = runs.get(self.teacher).network() if self.teacher else self.build()
        return net, pd.DataFrame({"epoch": [0], "seconds": [1.0], "total": [1.0]}), {}

out, training.CHECKPOINT_EVERY, trained, kept = Path(sys.argv[1]), 0, [], []
os.environ["FA_RUNS"], new_folder = str(out / "runs"), storage.new_folder
storage.new_folder = lambda target: kept.append(target.parts[-4]) or new_folder(target)
with processes.joined():
    torch.manual_seed(int(os.environ["RANK"]))
    teacher = runs.Run("toy", "teacher", "made", "smoke", 0, Toy())
    student = runs.get(runs.Run("toy", "student", "made", "smoke", 0, Toy(teacher)))
    assert student.network().weight == runs.get(teacher).network().weight
    here = out / os.environ["RANK"]
    here.mkdir()
    found = train(here)
    found |= {"files": sorted(os.listdir(here)), "trained": trained, "kept": kept}
    (here / "new").mkdir()
    for given in ({"batch": 3, "folder": here / "new"}, {"folder": here}):
        try:
            train(**given)
        except InputError as error:
            found.setdefault("refused", []).append(str(error))
    torch.save(found, out / f"{os.environ['RANK']}.pt")
"""
)
STOPS = (
    PROGRAM
    + """
folder, training.CHECKPOINT_EVERY = Path(sys.argv[1]), 0

class Slow(Loss):
    def __call__(self, net, batch):
        if len(self.seen) == 9:  # in the middle of the fifth epoch
            print(os.getpid(), flush=True)
            os.read(os.pipe()[0], 1)
        return super().__call__(net, batch)

with processes.joined():
    train(folder, Slow)
"""
)
made: dict = {}
exec(PROGRAM, made)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict:
    """What one process finds."""
    return made["train"](tmp_path_factory.mktemp("whole"))


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> list[dict]:
    """What each of two processes finds."""
    folder = tmp_path_factory.mktemp("two")
    (folder / "program.py").write_text(TWO)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", folder / "program.py", folder]
    told = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=folder, env=told, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-3000:]
    return [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in (0, 1)]


def furthest(one: dict, other: dict) -> float:
    """The largest difference of two networks' weights."""
    assert one.keys() == other.keys()
    return max((one[name].double() - other[name].double()).abs().max().item() for name in one)


def test_two_processes_find_the_curve_and_the_weights_of_one(whole: dict, two: list[dict]):
    for found in two:
        for part in ("fit", "light", "total"):
            np.testing.assert_allclose(found["log"][part], whole["log"][part], rtol=1e-5)
        assert furthest(found["net"], whole["net"]) < 1e-5
    assert furthest(two[0]["net"], two[1]["net"]) == 0  # they took the very same steps


def test_every_face_is_seen_once_an_epoch(whole: dict, two: list[dict]):
    for step, all_of_it in enumerate(whole["seen"]):
        shares = [found["seen"][step] for found in two]
        assert [len(share) for share in shares] == [2, 2] and shares[0] + shares[1] == all_of_it
    for begin in range(0, len(whole["seen"]), 2):
        seen = [face for found in two for share in found["seen"][begin : begin + 2] for face in share]
        assert len(set(seen)) == len(seen) == 8  # of nine, in batches of four


def test_only_the_first_writes(two: list[dict]):
    assert [found["files"] for found in two] == [["checkpoint.pt"], []]
    assert [found["kept"] for found in two] == [["teacher", "student"], []]


def test_run_that_another_starts_from_is_trained_by_all(two: list[dict]):
    assert [found["trained"] for found in two] == [["student", "teacher"]] * 2


def test_batch_that_cannot_be_shared_is_refused(two: list[dict]):
    sentence = "a batch of 3 cannot be shared evenly by 2 processes; 1 would fit (--devices times --nodes)"
    assert [found["refused"][0] for found in two] == [sentence] * 2


def test_checkpoint_that_only_one_finds_is_refused(two: list[dict]):
    assert all("not all processes find the checkpoint there" in found["refused"][1] for found in two)


def alive(process: int) -> bool:
    stat = Path(f"/proc/{process}/stat")
    return stat.exists() and stat.read_text().rsplit(")", 1)[1].split()[0] != "Z"


def test_killed_with_two_goes_on_with_one(tmp_path: Path, whole: dict, start: Callable, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    command = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", str(tmp_path / "program.py"), str(tmp_path)]
    (tmp_path / "program.py").write_text(STOPS)
    launcher = start(f"import os, sys; os.execv(sys.executable, [sys.executable, *{command!r}])")
    workers = [int(launcher.stdout.readline() or 0) for _ in range(2)]
    assert all(workers), launcher.stderr.read()[-3000:]
    assert all(map(alive, workers)) and (tmp_path / "checkpoint.pt").exists()
    launcher.send_signal(signal.SIGKILL)  # it cannot tell them
    launcher.wait()
    until = time.monotonic() + 10
    while any(map(alive, workers)) and time.monotonic() < until:
        time.sleep(0.1)
    assert not any(map(alive, workers))
    found = made["train"](tmp_path)
    assert len(found["seen"]) == (made["EPOCHS"] - 4) * 2  # four epochs were done
    np.testing.assert_allclose(found["log"]["total"], whole["log"]["total"], rtol=1e-5)
    assert furthest(found["net"], whole["net"]) < 1e-5


def test_fa_train_in_two_processes_makes_the_run_once(store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    name = "self_distillation/resnet18-all/synthetic-300w/smoke/0"
    command = [sys.executable, "-m", "fa_lib", "train", name, "--devices", "2"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-3000:]
    folder = Path(done.stdout.strip())
    assert [path for path in folder.parent.iterdir() if not path.name.endswith(".lock")] == [folder]
    assert len(re.findall(r"epoch (\d+) of \1, loss", done.stderr)) == 1, done.stderr  # one of the two reports
    told = json.loads((folder / "provenance.json").read_text())
    assert re.fullmatch(r"CPU, 2 processes x \d+ threads", told["device"])
    monkeypatch.setenv("FA_RUNS", str(tmp_path / "one"))
    alone = runs.get(paper.run("resnet18-all", "smoke", 0, paper.source("smoke")))
    both = runs.Trained(alone.run, folder)
    assert folder.name == alone.folder.name
    np.testing.assert_allclose(both.log["total"], alone.log["total"], rtol=1e-4)
    for split, found in alone.predictions.items():
        np.testing.assert_allclose(both.predictions[split], found, atol=0.02)  # pixels
    assert main(["train", name, "--devices", "2"]) == 0  # it is there now: nothing is started


@pytest.mark.parametrize("masked", [False, True], ids=["turns", "masks"])
def test_shares_of_a_batch_make_the_batch(masked: bool):
    faces: Faces = made["faces"](8)
    batches = MaskedBatches(faces, Augment(), 4, masks=MASKS["large"]) if masked else Turns(Batches(faces, Augment(), 4), "batch")
    for batch in batches:
        shares = [processes.share(batch, rank, 2) for rank in (0, 1)]
        assert [size for _, size in shares] == [2, 2] and {type(share) for share, _ in shares} == {type(batch)}
        for field in dataclasses.fields(batch):
            parts, all_of_it = [getattr(share, field.name) for share, _ in shares], getattr(batch, field.name)
            assert torch.equal(torch.cat(parts), all_of_it) if torch.is_tensor(all_of_it) else parts == [all_of_it] * 2


def test_shares_of_sequences_are_whole_sequences():
    batch = next(iter(Sequences(made["faces"](8), Augment(), 4, jitter=0.1)))
    shares = [processes.share(batch, rank, 4)[0] for rank in range(4)]
    assert all(share.images.shape[0] == 1 and share.images.shape[1] == batch.images.shape[1] for share in shares)
    assert torch.equal(torch.cat([share.landmarks for share in shares]), batch.landmarks)


def test_draws_for_faces_are_those_of_the_whole_batch():
    def drawn(size: int) -> list[torch.Tensor]:
        generator = Generator().manual_seed(0)
        torch.manual_seed(0)
        rows = [torch.rand(size, generator=generator), torch.randn((size, 3), generator=generator)]
        rows += [torch.randn(size, 2, generator=generator), F.dropout(torch.ones(size, 5), 0.5)]
        maps = torch.ones(size, 3, 4, 4).contiguous(memory_format=torch.channels_last)
        return [*rows, F.dropout(maps, 0.5), F.dropout(maps, 0.5, training=False), torch.randint(9, (8,), generator=generator)]

    whole = drawn(6)
    shares = []
    for rank in range(3):
        with WholeBatch(2, rank, 3):
            shares.append(drawn(2))
    for number, values in enumerate(whole[:-1]):
        assert torch.equal(torch.cat([share[number] for share in shares]), values)
    assert all(torch.equal(share[-1], whole[-1]) for share in shares)  # what is not for faces is the same for all


@pytest.mark.parametrize(
    ("told", "sentence"),
    [
        ({}, r"--nodes 2: MASTER_ADDR and MASTER_PORT and NODE_RANK are not set; give the first machine's address"),
        ({"MASTER_ADDR": "a", "MASTER_PORT": "1234"}, r"--nodes 2: NODE_RANK is not set"),
        ({"MASTER_ADDR": "a", "MASTER_PORT": "1234", "NODE_RANK": "2"}, r"NODE_RANK=2: give a port, and a number from 0 to 1"),
    ],
)
def test_machines_that_are_not_told_of_one_another_are_refused(
    told: dict[str, str], sentence: str, monkeypatch: pytest.MonkeyPatch
):
    for name in ("MASTER_ADDR", "MASTER_PORT", "NODE_RANK", "SLURM_NODEID"):
        monkeypatch.delenv(name, raising=False)
    for name, value in told.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(InputError, match=sentence):
        processes.launch(1, 2, [])


def test_slurm_tells_where_to_meet(monkeypatch: pytest.MonkeyPatch):
    for name, value in {"SLURM_NODEID": "1", "SLURM_JOB_NODELIST": "node[07-08]", "SLURM_JOB_ID": "123456"}.items():
        monkeypatch.setenv(name, value)
    found = processes._meeting(2)
    assert found["rdzv_endpoint"] == "node07:18456" and found["rdzv_configs"] == {"rank": 1}


def test_more_processes_than_gpus_are_refused(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(InputError, match="--devices 2: this machine has 1 GPUs, give at most as many"):
        processes.launch(2, 1, [])
