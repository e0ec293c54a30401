"""One training loop for all papers, over Lightning Fabric: fit, with checkpoints and resume, and predict.

Same seed, same machine: same result, bit for bit on a CPU, also when a run was killed in the middle and started again.
"""

import io
import math
import pickle
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from fa_lib import models, processes, storage
from fa_lib.data import Batch, Batches, Faces
from fa_lib.errors import InputError
from fa_lib.heatmaps import Method

CHECKPOINT_EVERY = 20.0  # seconds: costs nothing measurable, loses little


@dataclass(frozen=True)
class Plan:
    """How long and how fast to train. The learning rate falls to a tenth at each share of `drops` of all steps."""

    epochs: int
    batch_size: int = 12
    lr: float = 1e-3
    drops: tuple[float, ...] = (0.6, 0.92)
    weight_decay: float = 5e-4

    def lr_at(self, progress: float) -> float:
        """The learning rate when a share `progress` of all steps is done.

        >>> [round(Plan(epochs=10, lr=1.0, drops=(0.5,)).lr_at(p), 3) for p in (0, 0.49, 0.5)]
        [1.0, 1.0, 0.1]
        """
        return self.lr * 0.1 ** sum(progress >= drop for drop in self.drops)


def device() -> torch.device:
    """The GPU where there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def fit(
    net: nn.Module,
    batches: Batches,
    loss_of: Callable[[nn.Module, Batch], dict[str, Tensor]],
    plan: Plan,
    folder: Path,
    title: str = "",
) -> pd.DataFrame:
    """Trains `net` in place with AdamW; returns the log, one row an epoch: epoch, seconds, mean of each loss part.

    `loss_of(net, batch)` returns the parts of the loss with "total". A checkpoint goes to `folder` every 20 seconds; a later
    call with the same arguments goes on from it. bf16 on a GPU that has it, fp32 on a CPU (where bf16 is slower). Inside
    `processes.joined` several processes learn from a share of each batch: `loss_of` must be a mean over its faces.
    Raises InputError where the loss is no longer a number.
    """
    on_gpu = batches.device.type == "cuda"
    half = on_gpu and torch.cuda.is_bf16_supported()
    fabric = processes.fabric("cuda" if on_gpu else "cpu", "bf16-mixed" if half else "32-true")
    loss_of = processes.on_share(loss_of)
    net.to(batches.device, memory_format=torch.channels_last)
    optimiser = torch.optim.AdamW(net.parameters(), lr=plan.lr, weight_decay=plan.weight_decay)
    wrapped, optimiser = fabric.setup(net, optimiser)
    checkpoint = folder / "checkpoint.pt"
    log = _resume(checkpoint, net, optimiser, batches)
    processes.agree(len(log), f"{folder}: not all processes find the checkpoint there; FA_RUNS must be a folder that all share")
    saved = time.monotonic()
    report = _Report(title if processes.first() else "", plan.epochs, len(log))
    for epoch in range(len(log), plan.epochs):
        begin = time.monotonic()
        parts = _epoch(wrapped, batches, loss_of, fabric, optimiser, lambda share, e=epoch: plan.lr_at((e + share) / plan.epochs))
        if not math.isfinite(parts["total"]):
            raise InputError(f"{title}: the loss is {parts['total']} after epoch {epoch}; a smaller learning rate is needed")
        log.append({"epoch": epoch, "seconds": time.monotonic() - begin, **parts})
        report(log[-1])
        if processes.first() and time.monotonic() - saved > CHECKPOINT_EVERY and epoch + 1 < plan.epochs:
            _save(checkpoint, net, optimiser, batches, log)
            saved = time.monotonic()
    return pd.DataFrame(log)


def _epoch(
    net: nn.Module, batches: Batches, loss_of: Callable, fabric, optimiser, lr_at: Callable[[float], float]
) -> dict[str, float]:
    """One pass; the mean of each part of the loss. The parts stay on the device until the end, so nothing waits for it."""
    net.train()
    sums: dict[str, Tensor] = {}
    # whatever draws from torch's global generator (dropout) is tied to the stream of batches, which a checkpoint holds
    with torch.random.fork_rng():
        torch.manual_seed(int(torch.randint(2**31, (), generator=batches.generator)))
        for step, batch in enumerate(batches):
            for group in optimiser.param_groups:
                group["lr"] = lr_at(step / len(batches))
            with fabric.autocast():
                parts = loss_of(net, batch)
            optimiser.zero_grad()
            fabric.backward(parts["total"])
            optimiser.step()
            for key, value in parts.items():
                sums[key] = sums.get(key, 0) + value.detach()
    return processes.mean({key: float(value) / len(batches) for key, value in sums.items()})


def _save(checkpoint: Path, net: nn.Module, optimiser, batches: Batches, log: list[dict]) -> None:
    state = {"net": net.state_dict(), "optimiser": optimiser.state_dict(), "log": log}
    buffer = io.BytesIO()  # in memory first: on a full disk torch.save to a file raises an error that names no reason
    torch.save({**state, "stream": batches.generator.get_state()}, buffer)
    with storage.new_file(checkpoint) as part:
        part.write_bytes(buffer.getbuffer())


def _resume(checkpoint: Path, net: nn.Module, optimiser, batches: Batches) -> list[dict]:
    if not checkpoint.exists():
        return []
    try:
        state = torch.load(checkpoint, map_location=batches.device, weights_only=True)
    except (RuntimeError, EOFError, ValueError, OSError, pickle.UnpicklingError) as error:  # cut short by a crash of the machine
        print(f"{checkpoint} cannot be read ({error}); training starts again", file=sys.stderr)
        return []
    net.load_state_dict(state["net"])
    optimiser.load_state_dict(state["optimiser"])
    batches.generator.set_state(state["stream"].cpu())
    return state["log"]


class _Report:
    """Progress with the time left: a line that moves where a person watches, one line an epoch where nobody does.

    At most one line every five seconds, so that hundreds of tiny epochs do not fill a log.
    """

    def __init__(self, title: str, epochs: int, done: int) -> None:
        self.title, self.epochs, self.done = title, epochs, done
        self.begin = self.last = time.monotonic()

    def __call__(self, row: dict) -> None:
        now, epoch = time.monotonic(), row["epoch"] + 1
        watched, end = sys.stderr.isatty(), epoch == self.epochs
        if not self.title or (now - self.last < (0.2 if watched else 5) and not end):
            return
        self.last = now
        left = (now - self.begin) / (epoch - self.done) * (self.epochs - epoch)
        text = f"{self.title}: epoch {epoch} of {self.epochs}, loss {row['total']:.4g}, {left:.0f} s left"
        print(f"\r{text}\033[K" if watched else text, end="\n" if end or not watched else "", file=sys.stderr, flush=True)


@torch.no_grad()
def predict(net: nn.Module, crops: np.ndarray, method: Method = "centroid", batch_size: int = 64) -> np.ndarray:
    """Landmarks (N, K, 2) float32 in crop pixels, for crops (N, size, size, 3) uint8; in fp32, in evaluation mode."""
    where = next(net.parameters()).device
    net.eval()
    found = []
    for start in range(0, max(1, len(crops)), batch_size):  # no picture is one empty batch: (0, K, 2)
        pictures = torch.from_numpy(np.array(crops[start : start + batch_size])).to(where)
        output = net(pictures.permute(0, 3, 1, 2).float() / 255)
        found.append(models.landmarks_of(output, crops.shape[1], method).float().cpu())
    return torch.cat(found).numpy()


def evaluate(net: nn.Module, faces: Faces, method: Method = "centroid") -> np.ndarray:
    """Landmarks (N, K, 2) found on the crops of `faces`, in crop pixels."""
    return predict(net, faces.crops()[0], method)
