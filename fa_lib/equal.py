"""`fa runs equal COMMIT`: proves that the present code computes what the code of a commit did, so that its results stay current.

A result is stale when the code that computed it has changed (`runs.code_hash`). But some changes leave every number as it was: a
new option that is off, a function that moved. They should not send weeks of results to be repeated; and nobody should have to
believe that they are such changes. So both codes train the same runs, and only where these are equal bit for bit
figures/equal_code.csv notes that the present code stands for the earlier one. With the next change of these files the lines no
longer apply, and a test asks for them to be removed or proved anew.

What is compared: of each paper, at profile smoke, the first row of each kind of configuration with seed 0, and what these start
from; on the CPU, in one process. What a GPU does in half precision is not.
"""

import datetime
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd

from fa_lib import runs, storage
from fa_lib.errors import InputError

# what runs in both checkouts: only names that have been there for long
TRAIN = """
from fa_lib import results, runs
from fa_lib.papers import PAPERS

for paper in PAPERS.values():
    study, firsts = results.Study(paper, "smoke"), {}
    for row in paper.ROWS:
        run = study.run(row, 0)
        firsts.setdefault(type(run.config), run)
    for run in firsts.values():
        runs.get(run)
"""


def prove(commit: str | None) -> str:
    """Trains with both codes and notes that they are equal; returns a sentence. InputError: what differs, and nothing noted."""
    commit = _commit(commit)
    noted = storage.PROJECT / "figures" / "equal_code.csv"
    with tempfile.TemporaryDirectory(prefix="fa-equal-") as place, _checkout(commit, Path(place) / "code") as old:
        stores = {old: Path(place) / "old", storage.PROJECT: Path(place) / "new"}
        _train(stores)
        before, now = map(_finished, stores.values())
        if before.keys() != now.keys():
            one = sorted(before.keys() ^ now.keys())[0]
            raise InputError(f"{one}: only {'the commit' if one in before else 'the present code'} trains this run")
        for name, folder in before.items():
            if found := difference(folder, now[name]):
                raise InputError(f"{name}: {found} differs from that of {commit}; results of that code are rightly stale")
        codes = {tuple(told["files"]): told["code"] for told in map(_provenance, before.values())}
    checked = f"{len(before)} runs of {commit}, {datetime.datetime.now(datetime.UTC).date()}"
    lines = [line for line in _lines(noted) if tuple(line["files"].split()) not in codes and not needless(line)]
    for files, code in sorted(codes.items()):
        if (present := runs.present_hash(files)) != code:
            lines.append({"files": " ".join(files), "code": present, "as": code, "checked": checked})
    with storage.new_file(noted) as part:
        pd.DataFrame(lines, columns=["files", "code", "as", "checked"]).to_csv(part, index=False)
    return f"equal bit for bit: {checked}; {len(lines)} lines in {noted}"


def needless(line: dict[str, str]) -> bool:
    """Whether a line of figures/equal_code.csv is about code that is not there (any more)."""
    return runs.present_hash(tuple(line["files"].split())) != line["code"]


def difference(before: Path, now: Path) -> str | None:
    """The first file of two runs' folders that tells another result: log.csv (but for the seconds), predictions or weights."""
    if not _log(before).equals(_log(now)):
        return "log.csv"
    with np.load(before / "predictions.npz") as one, np.load(now / "predictions.npz") as other:
        if one.keys() != other.keys() or any(_bits(one[name]) != _bits(other[name]) for name in one):
            return "predictions.npz"
    same = (before / "model.safetensors").read_bytes() == (now / "model.safetensors").read_bytes()
    return None if same else "model.safetensors"


def _finished(store: Path) -> dict[str, Path]:
    return {str(file.parent.relative_to(store)): file.parent for file in store.glob("*/*/*/*/s*/config.json")}


def _log(folder: Path) -> pd.DataFrame:
    return pd.read_csv(folder / "log.csv", dtype=str).drop(columns="seconds")


def _bits(values: np.ndarray) -> tuple:
    return values.dtype, values.shape, values.tobytes()


def _lines(noted: Path) -> list[dict[str, str]]:
    return pd.read_csv(noted, dtype=str).to_dict("records") if noted.exists() else []


def _provenance(folder: Path) -> dict:
    return json.loads((folder / "provenance.json").read_text())


def _git(*arguments: str) -> str:
    git = ["git", "-C", str(storage.PROJECT), *arguments]
    return subprocess.run(git, capture_output=True, text=True, check=True).stdout.strip()


def _commit(name: str | None) -> str:
    if not name:
        raise InputError("fa runs equal: name the commit before the change, as in `fa runs equal HEAD~1`")
    try:
        return _git("rev-parse", "--verify", "--short=12", f"{name}^{{commit}}")
    except (OSError, subprocess.CalledProcessError) as error:
        raise InputError(f"fa runs equal {name}: there is no such commit in {storage.PROJECT}, or no git") from error


@contextmanager
def _checkout(commit: str, folder: Path) -> Iterator[Path]:
    _git("worktree", "add", "--detach", str(folder), commit)
    try:
        yield folder
    finally:
        _git("worktree", "remove", "--force", str(folder))


def _train(stores: dict[Path, Path]) -> None:
    """Both at once, each in a process with one thread, as sums in several threads may differ in their last bits."""
    same = {"FA_CACHE": str(storage.cache_folder()), "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    started = []
    try:
        for code, store in stores.items():
            told = os.environ | same | {"FA_RUNS": str(store), "PYTHONPATH": str(code)}
            output = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
            started.append((code, subprocess.Popen([sys.executable, "-c", TRAIN], cwd=code, env=told, **output)))
        for code, process in started:
            said = process.communicate()[0].strip()
            if process.returncode:
                raise InputError(f"the code in {code} does not train its smoke runs: {said[-300:]}")
    finally:
        for _, process in started:
            if process.poll() is None:
                process.kill()
                process.wait()
