"""A run of a tenth of a second, with everything that has state, for processes that are killed, stopped and starved.

Not a test: what processes beside the test import. The network has batch norm and dropout, which draws from torch's generator.
"""

import os
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import torch
from torch import Generator, Tensor, nn

from fa_lib import runs, storage, training
from fa_lib.data import Augment, Batch, Batches, Faces
from fa_lib.landmarks import SCHEMES

EPOCHS, BATCHES = 8, 2
at_step: list[Callable[[int], Any]] = []  # called in every step with its number, which counts from 0


@dataclass(frozen=True)
class Tiny:
    """Eight epochs of two batches of noise."""

    code: ClassVar[tuple[str, ...]] = ("losses/landmark",)

    def build(self) -> nn.Module:
        """28,000 weights; a checkpoint has 330 kB."""
        torch.manual_seed(0)
        layers = [nn.Conv2d(3, 4, 5, stride=4), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(0.2), nn.Flatten()]
        return nn.Sequential(*layers, nn.Linear(196, 136), nn.Unflatten(1, (68, 2)))

    def train(self, run: runs.Run, folder: Path) -> tuple[nn.Module, pd.DataFrame, dict[str, np.ndarray]]:
        """Trains, and leaves a line in the store for each time that it begins."""
        with (storage.runs_folder() / "begun").open("a") as marks:
            marks.write(f"{os.getpid()}\n")
        steps: list[int] = []

        def loss_of(net: nn.Module, batch: Batch) -> dict[str, Tensor]:
            for call in at_step:
                call(len(steps))
            steps.append(0)
            return {"total": (net(batch.images) * 8 + 16 - batch.landmarks).square().mean()}

        random = np.random.default_rng(0)
        landmarks = random.uniform(8, 36, (6, 68, 2)).astype(np.float32)
        images = random.integers(0, 256, (6, 44, 44, 3), dtype=np.uint8)
        text, zeros = np.array(list("abcdef")), np.zeros((6, 2, 3))
        faces = Faces(
            images, landmarks, None, None, None, zeros, text, text, text, 32, "noise", "0", None, text, None, SCHEMES[68]
        )  # fmt: skip
        batches = Batches(faces, Augment(flip=0.5, degrees=20, noise=0.1), 3, generator=Generator().manual_seed(0))
        net = self.build()
        torch.seed()  # whatever else draws from the global generator must not matter
        log = training.fit(net, batches, loss_of, training.Plan(epochs=EPOCHS, batch_size=3), folder)
        return net, log, {"test": np.zeros((1, 68, 2), np.float32)}


RUN = runs.Run("tiny", "row", "noise", "smoke", 0, Tiny())


def ask(store: Path, every: float = 0.0) -> runs.Trained:
    """The run from a store, with a checkpoint every so many seconds: after each epoch."""
    os.environ["FA_RUNS"] = str(store)
    torch.set_num_threads(1)
    training.CHECKPOINT_EVERY = every
    found = runs.get(RUN)
    found.network()
    return found


def ask_and_tell(store: Path, pipe: Any) -> None:
    """A process that tells the number of every step as it begins."""
    at_step.append(pipe.send)
    ask(store)


def ask_with_others(store: Path, barrier: Any) -> None:
    """A process that asks at the same moment as others."""
    barrier.wait()
    ask(store)


def ask_with_clock_set_back(store: Path) -> None:
    """A process in whose middle it is ten years earlier."""
    real = time.time
    at_step.append(lambda step: setattr(time, "time", lambda: real() - 3e8 * (step > 2)))
    ask(store)


def ask_with_little_memory(store: Path, kind: str, said: Path) -> None:
    """A process that the kernel gives 100 MB more, and that asks for 8 GB in the middle; what it says is written to `said`."""
    import resource

    def starve(step: int) -> None:
        if step == 5:
            have = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
            resource.setrlimit(resource.RLIMIT_AS, (have + 100 * 2**20, resource.RLIM_INFINITY))
            torch.zeros(2**31) if kind == "torch" else np.ones(2**30)

    at_step.append(starve)
    try:
        ask(store)
    except ValueError as error:
        said.write_text(f"{type(error).__name__}: {error}")


def hold(lock: Path, pipe: Any) -> None:
    """A process that holds a lock until it is killed."""
    from filelock import FileLock

    with FileLock(lock):
        pipe.send("held")
        time.sleep(600)


def fa(environment: dict[str, str], arguments: list[str], said: Path, pipe: Any) -> None:
    """`fa` with these arguments, in a session of its own as in a terminal; tells when it is in its last batch, and waits."""
    from fa_lib.__main__ import main

    os.setsid()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.environ |= environment
    with said.open("w") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    sys.stdout, sys.stderr = (open(number, "w", buffering=1) for number in (1, 2))
    torch.set_num_threads(1)
    training.CHECKPOINT_EVERY = 0.0
    whole, seen = Batches.__iter__, []

    def told(batches: Batches) -> Any:
        for batch in whole(batches):
            seen.append(0)
            if pipe is not None and len(seen) == 2:
                pipe.send("last")
                time.sleep(60)
            yield batch

    Batches.__iter__ = told
    sys.exit(main(arguments))


def reproduce(environment: dict[str, str], project: Path, said: Path) -> None:
    """`fa reproduce` of the smallest paper with one worker, whose figures would go into `project`."""
    project.mkdir()
    (project / "notebooks").symlink_to(storage.PROJECT / "notebooks")
    storage.PROJECT = project
    fa(environment, ["reproduce", "rendered_to_real", "--profile", "smoke", "--jobs", "1"], said, None)
