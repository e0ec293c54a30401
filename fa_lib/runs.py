"""Runs: what was trained, with which settings, from which code. `get` loads a run, or trains it where it is missing.

A run's folder, runs/<paper>/<row>/<dataset>/<profile>/s<seed>-<hash>/, holds config.json, log.csv, model.safetensors,
predictions.npz and provenance.json. It appears when all of it is there; until then the checkpoint lies in a folder whose name
starts with a dot. Two processes that ask for one run train it once.
"""

import ast
import dataclasses
import datetime
import hashlib
import json
import platform
import shutil
import subprocess
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any, ClassVar, Protocol

import numpy as np
import pandas as pd
import torch
from filelock import FileLock
from safetensors import SafetensorError
from torch import nn

from fa_lib import processes, storage
from fa_lib.errors import InputError, memory_errors


@dataclass(frozen=True)
class Profile:
    """How large everything is. `recorded` profiles are committed under figures/; `smoke` results are watermarked."""

    name: str
    size: int
    train_faces: int | None
    test_faces: int | None
    clips: int
    frames: int
    seeds: tuple[int, ...]
    recorded: bool = False


PROFILES = {
    p.name: p
    for p in (
        Profile("smoke", 64, train_faces=24, test_faces=16, clips=1, frames=12, seeds=(0, 1)),
        Profile("quick", 64, train_faces=500, test_faces=200, clips=2, frames=40, seeds=(0, 1)),
        Profile("desk", 96, train_faces=2000, test_faces=689, clips=4, frames=50, seeds=(0, 1, 2), recorded=True),
        Profile("full", 256, train_faces=3148, test_faces=689, clips=8, frames=150, seeds=(0, 1, 2), recorded=True),
        Profile("paper", 256, train_faces=3148, test_faces=689, clips=16, frames=250, seeds=(0, 1, 2, 3, 4), recorded=True),
    )
}


class Config(Protocol):
    """What a paper's run needs to know: a frozen dataclass that can train itself. `code`: see `code_hash`."""

    code: ClassVar[tuple[str, ...]]

    @property
    def faces(self) -> int:
        """How many faces it learns from."""

    def build(self) -> nn.Module:
        """The untrained network, in the shape that the saved weights have."""

    def train(self, run: "Run", folder: Path) -> tuple[nn.Module, pd.DataFrame, dict[str, np.ndarray]]:
        """The trained network, its log, and its predictions by name. `folder` is for checkpoints."""


@dataclass(frozen=True)
class Run:
    """One training: paper, row of its tables, data set, profile, seed, and everything else in `config`."""

    paper: str
    row: str
    dataset: str
    profile: str
    seed: int
    config: Any

    @property
    def id(self) -> str:
        """The name users give: paper/row/dataset/profile/seed."""
        return f"{self.paper}/{self.row}/{self.dataset.replace('/', '-')}/{self.profile}/{self.seed}"

    @cached_property
    def hash(self) -> str:
        """Eight letters that change with any setting, including those of the runs this one starts from."""
        return hashlib.sha256(json.dumps(self.describe(), sort_keys=True).encode()).hexdigest()[:8]

    def describe(self) -> dict:
        """The configuration as plain data; a run it depends on stands as its id and hash."""
        return {"id": self.id, "config": _plain(self.config)}

    @property
    def folder(self) -> Path:
        """Where the finished run lies."""
        return storage.runs_folder() / Path(self.id).parent / f"s{self.seed}-{self.hash}"


def needed(run: Run) -> list[Run]:
    """A run and all that it starts from, learns from or measures, each once; those that others need come first."""
    before = [one for each in _inside(run.config) for one in needed(each)]
    return list(dict.fromkeys([*before, run]))


def _inside(value: Any) -> Iterator[Run]:
    if isinstance(value, Run):
        yield value
    elif dataclasses.is_dataclass(value) or isinstance(value, tuple):
        parts = value if isinstance(value, tuple) else (getattr(value, field.name) for field in dataclasses.fields(value))
        for part in parts:
            yield from _inside(part)


def _plain(value: Any) -> Any:
    if isinstance(value, Run):
        return f"{value.id}-{value.hash}"
    if dataclasses.is_dataclass(value):
        # fields without comparison (where the data lie on this machine) are no part of what was computed
        return {f.name: _plain(getattr(value, f.name)) for f in dataclasses.fields(value) if f.compare}
    return [_plain(v) for v in value] if isinstance(value, tuple) else value


@dataclass(frozen=True)
class Trained:
    """A finished run, read from its folder."""

    run: Run
    folder: Path

    def network(self) -> nn.Module:
        """The trained network, in evaluation mode, on the CPU."""
        from safetensors.torch import load_file

        net = self.run.config.build()
        with self._readable():
            net.load_state_dict(load_file(self.folder / "model.safetensors"))
        return net.eval()

    @cached_property
    def predictions(self) -> dict[str, np.ndarray]:
        """Landmarks (N, K, 2) by name of the test set."""
        with self._readable(), np.load(self.folder / "predictions.npz", allow_pickle=False) as archive:
            if not all(isinstance(array, np.ndarray) for array in archive.values()):
                raise ValueError("files that are no arrays")
            return dict(archive)

    @contextmanager
    def _readable(self) -> Iterator[None]:
        try:
            yield
        except (SafetensorError, FileNotFoundError, ValueError, EOFError, KeyError, zipfile.BadZipFile) as error:
            # numpy's own words advise to unpickle
            raise InputError(f"{self.folder} is damaged ({type(error).__name__}); remove it, to train the run again") from error

    @property
    def log(self) -> pd.DataFrame:
        """One row an epoch."""
        return pd.read_csv(self.folder / "log.csv")

    @property
    def provenance(self) -> dict:
        """Commit, code, device, duration and date of the training."""
        return json.loads((self.folder / "provenance.json").read_text())


def get(run: Run, again: bool = False) -> Trained:
    """The finished run: loaded, or trained first (or waited for, while another process trains it).

    `again`: trained anew where the code has changed that computed it, or a run that it starts from was trained anew.
    """
    if again:
        for before in needed(run)[:-1]:
            get(before, again)

    def there() -> bool:
        return is_current(run) if again else run.folder.exists()

    if not processes.decide(there):
        with storage.disk_errors(str(run.folder)):
            run.folder.parent.mkdir(parents=True, exist_ok=True)
            lock = FileLock(run.folder.parent / f".{run.folder.name}.lock")
            with lock if processes.first() else nullcontext():
                if not processes.decide(there):
                    _train(run)
    return Trained(run, run.folder)


def is_current(run: Run) -> bool:
    """Whether a finished run is what the present code computes, and started from what the runs before it are now."""
    if not run.folder.exists():
        return False
    origin, before = Trained(run, run.folder).provenance, list(dict.fromkeys(_inside(run.config)))
    if origin["code"] != code_hash(run.config.code) or not all(map(is_current, before)):
        return False
    now = versions(before)
    return origin.get("started_from", now) == now  # runs of old do not say


def versions(several: list[Run]) -> dict[str, str]:
    """Which training of each run the finished one is, by the run's name: its code and date."""
    origins = {run.id: Trained(run, run.folder).provenance for run in several}
    return {name: f"{origin['code']} {origin['date']}" for name, origin in origins.items()}


def _train(run: Run) -> None:
    origin = {"code": code_hash(run.config.code), "files": list(run.config.code)}  # now, not after an hour of editing
    # a checkpoint of other code is not gone on from: the result would be of neither
    checkpoints = run.folder.parent / f".{run.folder.name}.{origin['code']}.part"
    checkpoints.mkdir(exist_ok=True)
    begin = time.monotonic()
    with memory_errors(run.id):
        net, log, predictions = run.config.train(run, checkpoints)
    origin |= provenance(next(net.parameters()).device)
    seconds = max(time.monotonic() - begin, float(log["seconds"].sum()))  # a resumed run counts its first part, too
    if processes.first():
        before = [one for one in dict.fromkeys(_inside(run.config)) if one.folder.exists()]
        origin |= {"id": run.id, "hash": run.hash, "seconds": round(seconds, 1), "started_from": versions(before)}
        _keep(run, net, log, predictions, origin)
    processes.wait()


def _keep(run: Run, net: nn.Module, log: pd.DataFrame, predictions: dict[str, np.ndarray], origin: dict) -> None:
    from safetensors.torch import save

    with storage.new_folder(run.folder) as fresh:
        weights = {key: value.cpu().contiguous() for key, value in net.state_dict().items()}
        (fresh / "model.safetensors").write_bytes(save(weights))
        log.to_csv(fresh / "log.csv", index=False)
        np.savez(fresh / "predictions.npz", **predictions)
        storage.write_json(fresh / "config.json", run.describe())
        storage.write_json(fresh / "provenance.json", origin)
    for folder in run.folder.parent.glob(f".{run.folder.name}.*.part"):
        shutil.rmtree(folder)


def provenance(where: torch.device | str = "cpu") -> dict:
    """Where a number comes from: commit, versions, device, date."""
    gpu = torch.device(where).type == "cuda"
    return {
        "commit": _commit(),
        "torch": torch.__version__,
        "python": platform.python_version(),
        "device": _device(gpu),
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds"),  # two trainings of a second are two
    }


def _device(gpu: bool) -> str:
    several = processes.count()
    if gpu:
        return f"{several} x " * (several > 1) + torch.cuda.get_device_name()
    return "CPU, " + f"{several} processes x " * (several > 1) + f"{torch.get_num_threads()} threads"


def _commit() -> str:
    git = ["git", "-C", str(storage.PROJECT)]
    try:
        commit = subprocess.run([*git, "rev-parse", "--short=12", "HEAD"], capture_output=True, text=True, check=True).stdout
        dirty = subprocess.run([*git, "status", "--porcelain", "-uno"], capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return "unknown"  # not a checkout, or no git: the code hash still says which code it was
    return commit.strip() + ("+changes" if dirty.strip() else "")


@cache
def code_hash(files: tuple[str, ...]) -> str:
    """Hash of the code that decides a paper's results. Comments, docstrings and layout do not count; arithmetic does.

    `files`: paths below fa_lib without suffix, such as "losses/landmark". Code that gives the same numbers bit for bit as earlier
    code did, which `fa runs equal` has proved and noted in figures/equal_code.csv, has the hash of that earlier code.
    """
    present = present_hash(files)
    return equal_code().get((files, present), present)


def equal_code() -> dict[tuple[tuple[str, ...], str], str]:
    """(files, hash of their code) -> hash of the earlier code that was proved to give the same numbers."""
    noted = storage.PROJECT / "figures" / "equal_code.csv"
    if not noted.exists():
        return {}
    lines = pd.read_csv(noted, dtype=str).to_dict("records")
    return {(tuple(line["files"].split()), line["code"]): line["as"] for line in lines}


def present_hash(files: tuple[str, ...]) -> str:
    """Hash of the code as it is now, whatever is known to be equal to it."""
    digest = hashlib.sha256()
    for name in files:
        file = storage.PROJECT / "fa_lib" / f"{name}.py"
        digest.update(_meaning(file).encode() if file.exists() else b"gone")
    return digest.hexdigest()[:12]


def _meaning(file: Path) -> str:
    tree = ast.parse(file.read_text())
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list) and body and isinstance(body[0], ast.Expr) and isinstance(body[0].value, ast.Constant):
            del body[0]  # a docstring
    return ast.dump(tree)


def stored(paper: str | None = None) -> Iterator[dict]:
    """Provenance of every finished run in the store, with `folder` and `stale` (its code has changed since)."""
    root = storage.runs_folder()
    for file in sorted(root.glob(f"{paper or '*'}/*/*/*/s*/provenance.json")):
        try:
            content = json.loads(file.read_text())
            stale = content.get("code") != code_hash(tuple(content.get("files", ())))
            for key, kind in {"id": str, "hash": str, "seconds": float, "device": str}.items():
                if not isinstance(content.get(key), kind):
                    raise ValueError(f"{key} is {content.get(key)!r}")
        except (OSError, ValueError, TypeError, AttributeError, RecursionError) as error:
            raise InputError(f"{file} does not say what the run is ({error}); remove its folder, to train it again") from error
        yield {**content, "folder": str(file.parent), "stale": stale}
