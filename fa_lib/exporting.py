"""`fa export`: the network of a finished run as an ONNX file that finds what torch finds; what 8 bits cost on its test faces."""

import json
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from fa_lib import export, restoring, scores, storage, training
from fa_lib.data import Faces, load
from fa_lib.data.crops import EXPAND
from fa_lib.data.readers import own
from fa_lib.errors import InputError
from fa_lib.heatmaps import Method
from fa_lib.models.stable import Stable
from fa_lib.study import at_hand

EQUAL = 1e-4  # pixels: what rounding may move
CHECKED, CALIBRATED = 32, 128  # faces on which torch and the file are compared; faces over whose values the 8 bits are laid


@dataclass(frozen=True)
class Source:
    """The faces that a run learned from and is tested on, as its folder names them; `root` is where real ones lie, if at hand."""

    dataset: str
    size: int
    train_faces: int | None
    test_faces: int | None
    root: str | None

    @property
    def there(self) -> bool:
        """Whether they can be loaded."""
        return self.dataset.startswith("synthetic/") or self.root is not None

    def train(self) -> Faces:
        """CALIBRATED of the training faces, always the same."""
        faces = self._load("train", self.train_faces)
        return faces.select(np.sort(np.random.default_rng(0).permutation(len(faces))[:CALIBRATED]))

    def test(self) -> Faces:
        """The test faces that the run's tables speak of."""
        whole = self.dataset.endswith(("300w", "aflw")) and not own.is_manifest(self.root)
        return self._load("full" if whole else "test", self.test_faces)

    def _load(self, split: str, count: int | None) -> Faces:
        if self.dataset.startswith("synthetic/"):
            return load(self.dataset, split, None, self.size, count)
        return load(self.root if own.is_manifest(self.root) else self.dataset, split, self.root, self.size, count)


def source(found: dict, root: str | None) -> Source:
    """The faces of a finished run, one of `runs.stored()`; `root`: as `--data` names it, None for rendered faces."""
    config = json.loads((Path(found["folder"]) / "config.json").read_text())["config"]
    while "source" not in config:
        config = json.loads((restoring.start(config) / "config.json").read_text())["config"]
    kept = {key: config["source"][key] for key in ("dataset", "size", "train_faces", "test_faces")}
    if own.is_manifest(root):
        return Source(**kept, root=root if own.describe(root).name == kept["dataset"] else None)
    return Source(**kept, root=at_hand(root, kept["dataset"]))


def write(found: dict, file: str, int8: bool = False, decoder: Method = "local", root: str | None = None) -> Iterator[str]:
    """Writes the network of a finished run (one of `runs.stored()`) to `file`; yields sentences that say what came of it.

    Landmarks of the file and of torch are compared on test faces, rendered ones where the run's own are not at hand. `int8`:
    weights and activations of 8 bits, laid over the values that the run's training faces reach, and the error on its test faces
    before and after. `root`: the folder of real faces, None for rendered ones.

    Raises InputError for a network that needs a clip, a file that cannot be written, a file that differs from torch by more than
    EQUAL pixels, and where 8 bits need faces that are not at hand. Then nothing is written.
    """
    target = export.checked_target(file)
    net, size = restoring.restore(found)
    if isinstance(net, Stable):
        raise InputError(f"{found['id']} steadies clips, but an ONNX file sees one picture at a time; export what it starts from")
    faces = source(found, root)
    if int8 and not faces.there:
        raise InputError(f"--int8 needs the faces of {found['id']}: say where {faces.dataset} lies with --data")
    tested = faces.test() if faces.there else load("synthetic/300w", "full", None, size, CHECKED)
    notes = {"model": f"{found['id']} ({found['hash']})", "crop": f"a square, {EXPAND} x the longer side of the landmarks' box"}
    with tempfile.TemporaryDirectory() as folder:
        exact = export.to_onnx(net, Path(folder) / "exact.onnx", size, method=decoder, notes=notes)
        pictures = tested.crops()[0][:CHECKED]
        apart = difference(net, exact, pictures, decoder)
        if apart > EQUAL:
            raise InputError(f"{file} is not written: its landmarks differ by {apart:.2g} pixels from torch's, {EQUAL:g} at most")
        yield f"in float32 its landmarks differ from torch's by {apart:.1g} pixels at most, on {len(pictures)} faces"
        made = exact
        if int8:
            made = export.shrink(exact, Path(folder) / "int8.onnx", "int8", as_input(faces.train().crops()[0]))
            yield loss(exact, made, tested)
        with storage.new_file(target) as part:
            shutil.copyfile(made, part)
    yield f"{target}: {target.stat().st_size / 1e6:.2f} MB, pictures (N, 3, {size}, {size}) -> landmarks (N, K, 2)"


def as_input(crops: np.ndarray) -> Tensor:
    """Crops (N, size, size, 3) uint8 as a file takes them, (N, 3, size, size) in [0, 1].

    >>> as_input(np.full((1, 1, 1, 3), 51, np.uint8)).flatten().tolist() == [float(np.float32(0.2))] * 3
    True
    """
    return torch.from_numpy(np.array(crops)).permute(0, 3, 1, 2).contiguous().float() / 255


def difference(net: nn.Module, file: Path, crops: np.ndarray, decoder: Method) -> float:
    """How far, in pixels, a landmark of the ONNX `file` is at most from torch's, on crops (N, size, size, 3)."""
    found = export.run(file, as_input(crops)).numpy()
    return float(np.abs(found - training.predict(net, crops, decoder)).max())


def loss(exact: Path, small: Path, faces: Faces) -> str:
    """A sentence: the error of both files on `faces` in per cent, and the difference with its 95 % interval."""
    crops, target = faces.crops()
    measured = []
    for file in (exact, small):
        found = export.run(file, as_input(crops)).numpy()
        measured.append(scores.features(found, target, lengths=faces.lengths())[None])
    before, after = (100 * scores.estimate(one, "nme", faces.group).value for one in measured)
    more = scores.estimate(measured[1], "nme", faces.group, minus=measured[0])
    interval = f"{100 * more.value:+.3f} [{100 * more.low:+.3f}, {100 * more.high:+.3f}]"
    return f"int8: NME {before:.3f} % before, {after:.3f} % after, {interval} on {len(faces)} test faces of {faces.title}"
