"""What `fa bench` measures: each piece of work of the package beside the plain way, on the same rendered faces."""

import copy
import itertools
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import nn

from fa_lib import acquisition, data, export, losses, models, training
from fa_lib.bench import measure, plain
from fa_lib.data import Augment, Batch, Batches, Faces
from fa_lib.data.crops import stored_size
from fa_lib.data.synthetic import motion, sets
from fa_lib.geometry import normalise
from fa_lib.heatmaps import decode, draw, to_map
from fa_lib.models.from_mean import FromMean
from fa_lib.papers import scaf_chosen
from fa_lib.tracking import Tracker

BATCH, FACES = 16, 64  # faces a batch, and in all
CROP, PHOTO = stored_size(256), 1024  # pixels: side of the stored crops, and of what stands for a photograph
AUGMENT = Augment(flip=0.5, scale=(0.75, 1.25), degrees=30)
DECODERS = ("argmax", "quarter", "centroid", "local", "pdc", "box_blur")


@dataclass(frozen=True)
class Calls:
    """One piece of work, ready to be called: by the package, and the plain way, None where there is none.

    A call of ours is `count` units of work, a plain one `plain_count`. `flops` and `moved` are the arithmetic and the bytes that
    a unit needs at least, `rate` the ceiling for the first; `threads` is 0 where it is all done on a GPU.
    """

    ours: Callable[[], object]
    plain: Callable[[], object] | None
    count: int
    plain_count: int
    threads: int
    flops: float = 0.0
    moved: float = 0.0
    rate: str = "float32"


@dataclass(frozen=True)
class Target:
    """What is to be reached: at most `limit` milliseconds a unit, or where `factor`, `limit` times as fast as the plain way."""

    limit: float
    factor: bool = False

    def __str__(self) -> str:
        return f">= {self.limit:g} x" if self.factor else f"<= {self.limit:g} ms"

    def met(self, milliseconds: float, ratio: float) -> bool:
        """Whether it is reached.

        >>> Target(0.8).met(0.7, 2.0), Target(10, factor=True).met(0.7, 2.0)
        (True, False)
        """
        return ratio >= self.limit if self.factor else milliseconds <= self.limit


@dataclass(frozen=True)
class Stage:
    """Where all is measured: the device, a folder for files that vanish, and rendered faces."""

    where: torch.device
    folder: Path
    nets: dict[str, Path] = field(default_factory=dict)

    @property
    def threads(self) -> int:
        """Threads of what runs on the device: 0 on a GPU."""
        return 0 if self.where.type == "cuda" else measure.cores()

    @cached_property
    def faces(self) -> Faces:
        """Rendered faces at 256 pixels."""
        return data.load("synthetic/300w", "train", None, 256, FACES)

    def photos(self, faces: Faces, side: int, cells: int) -> plain.Photos:
        """The faces as JPEG files of `side` pixels, for maps of `cells`."""
        shrink, files = faces.images.shape[1] / side, []
        for i, image in enumerate(faces.images):
            files.append(self.folder / f"{faces.size}-{side}-{i}.jpg")
            if not files[-1].exists():
                large = cv2.resize(np.array(image), (side, side), interpolation=cv2.INTER_LINEAR)
                cv2.imwrite(str(files[-1]), large[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, 95])
        offset = 0.5 * shrink - 0.5 - faces.offset
        matrices = np.tile(np.array([[shrink, 0, offset], [0, shrink, offset]]), (len(faces), 1, 1))
        points = (faces.landmarks + 0.5) / shrink - 0.5
        return plain.Photos(
            files, points, matrices, faces.scheme.flip, faces.size, cells, AUGMENT.scale, AUGMENT.degrees
        )  # fmt: skip

    def onnx(self, name: str, precision: export.Precision) -> Path:
        """The network `name` as an ONNX file for pictures of 224 pixels; the exact one is written once."""
        exact = self.nets.get(name) or export.to_onnx(models.create(name), self.folder / f"{name}.onnx")
        self.nets[name] = exact
        if precision == "fp32":
            return exact
        noise = torch.rand(2, 3, 224, 224, generator=torch.Generator().manual_seed(0))  # the time does not depend on ranges
        return export.shrink(exact, self.folder / f"{name}-{precision}.onnx", precision, noise)


@dataclass(frozen=True)
class Work:
    """A line of the table: its group, name and unit, the plain way in words, what prepares it, and for how long it is timed."""

    group: str
    name: str
    unit: str
    plain: str
    make: Callable[[Stage], Calls]
    target: Target | None = None
    on_gpu: Target | None = None  # instead of `target` where there is a GPU
    seconds: float = 3.0

    def aim(self, gpu: bool) -> Target | None:
        """The target that holds on this device."""
        return self.on_gpu if gpu and self.on_gpu else self.target


def _quiet(_: int) -> None:
    cv2.setNumThreads(0)  # each worker has a core


def _loader(photos: plain.Photos, where: torch.device) -> torch.utils.data.DataLoader:
    options = {"num_workers": measure.cores(), "persistent_workers": True, "worker_init_fn": _quiet}
    return torch.utils.data.DataLoader(
        photos, BATCH, shuffle=True, drop_last=True, pin_memory=where.type == "cuda", **options
    )  # fmt: skip


def _pipeline(stage: Stage, side: int, threads: int, workers: bool) -> Calls:
    faces, size, cells = stage.faces, 256, 64
    where = stage.where if workers else torch.device("cpu")
    batches, photos = Batches(faces, AUGMENT, BATCH, where), stage.photos(faces, side, cells)

    def ours() -> None:
        for batch in batches:
            draw(to_map(batch.landmarks, size / cells), cells)

    loader = _loader(photos, where) if workers else None

    def usual() -> None:
        for batch in loader if workers else (photos[i] for i in range(len(photos))):
            if workers:
                [part.to(where) for part in batch]

    moved = faces.images[0].nbytes + 4 * (3 * size**2 + len(faces.landmarks[0]) * cells**2)
    return Calls(ours, usual, FACES, FACES, threads, moved=moved)


def arithmetic(net: nn.Module, size: int, learns: bool = False) -> float:
    """Operations of one picture, a multiply-add as two: forward, and where it `learns` backward as well."""
    from torch.utils.flop_counter import FlopCounterMode

    empty = copy.deepcopy(net).to("meta").train(learns)
    with FlopCounterMode(display=False) as counter, torch.set_grad_enabled(learns):
        output = empty(torch.zeros(2, 3, size, size, device="meta"))
        if learns:
            (output if isinstance(output, torch.Tensor) else output[-1]).sum().backward()
    return counter.get_total_flops() / 2


def _training(stage: Stage, name: str, size: int, **options: float) -> Calls:
    gpu = stage.where.type == "cuda"
    torch.manual_seed(0)
    net = models.create(name, **options)
    other = copy.deepcopy(net).to(stage.where)
    faces = stage.faces if size == 256 else data.load("synthetic/300w", "train", None, size, FACES)
    faces = faces if gpu or size < 256 else faces.select(np.arange(BATCH))  # a step of seconds is enough
    flops, cells = arithmetic(net, size, learns=True), size // 4
    batches = Batches(faces, AUGMENT, BATCH, stage.where)
    loader = _loader(stage.photos(faces, stored_size(size), cells), stage.where)
    plan = training.Plan(epochs=1, batch_size=BATCH)
    optimiser = torch.optim.AdamW(other.parameters(), lr=plan.lr, weight_decay=plan.weight_decay)

    def loss_of(net: nn.Module, batch: Batch) -> dict[str, torch.Tensor]:
        return {"total": losses.heatmap_mse(net(batch.images)[-1], draw(to_map(batch.landmarks, 4), cells))}

    return Calls(
        lambda: training.fit(net, batches, loss_of, plan, stage.folder / "none"),
        lambda: plain.train(other, loader, optimiser, stage.where),
        len(faces), len(faces), stage.threads, flops=flops, rate="bfloat16" if gpu else "float32",
    )  # fmt: skip


def _inference(stage: Stage, name: str, runner: str) -> Calls:
    if runner != "torch":
        import onnx  # noqa: F401 - where one of them is missing, this is known before an export of half a minute
        import onnxruntime  # noqa: F401
        import onnxscript  # noqa: F401
    torch.manual_seed(0)
    net = models.create(name).eval()
    picture = torch.rand(1, 3, 224, 224)
    flops, where = arithmetic(net, 224), stage.where if runner == "torch" else torch.device("cpu")
    gpu = where.type == "cuda"
    other, given = copy.deepcopy(net).to(where), picture.to(where)

    def usual() -> None:
        with torch.no_grad():
            other(given)

    if runner != "torch":
        locate = export.session(stage.onnx(name, runner), measure.cores())
        rate = "int8" if runner == "int8" else "float32"
        return Calls(lambda: locate(picture), usual, 1, 1, measure.cores(), flops=flops, rate=rate)
    net, mine = net.to(where, memory_format=torch.channels_last), given.to(memory_format=torch.channels_last)

    def ours() -> None:
        with torch.inference_mode(), torch.autocast("cuda", torch.bfloat16, enabled=gpu):
            net(mine)

    return Calls(ours, usual, 1, 1, stage.threads, flops=flops, rate="bfloat16" if gpu else "float32")


def maps_of_faces(count: int, side: int, where: torch.device) -> torch.Tensor:
    """Noisy Gaussian maps (count, 68, side, side) about random landmarks, as a network might give them."""
    random = torch.Generator().manual_seed(0)
    maps = draw(side * torch.rand(count, 68, 2, generator=random), side, side / 64)
    return (maps + 0.01 * torch.randn(maps.shape, generator=random)).to(where)


def _decoder(stage: Stage, method: str, tensors: bool = False) -> Calls:
    """Decoding of maps; the plain way takes one after another: as an array, or as one of torch's `tensors`."""
    maps = maps_of_faces(BATCH, 64, stage.where)
    return Calls(
        lambda: decode(maps, method),
        (lambda: [decode(one[None, None], method) for face in maps for one in face])
        if tensors
        else (lambda: plain.decoded(maps.cpu().numpy(), method)),
        BATCH, BATCH, stage.threads, moved=maps[0].nbytes,
    )  # fmt: skip


def _acquisition(stage: Stage, function: str, cells: bool) -> Calls:
    """NNM and entropy of maps of the published size; `cells`: the plain way goes cell by cell, of two faces, else map by map."""
    maps = maps_of_faces(BATCH, 128, stage.where)
    found, few = decode(maps, "local"), 2 if cells else BATCH
    here, points = maps[:few].cpu().numpy(), found[:few].cpu().numpy()
    plain_ways = {
        ("nnm", True): lambda: plain.nnm(here, points),
        ("nnm", False): lambda: [scaf_chosen.nnm_by_loops(face, at) for face, at in zip(here, points)],
        ("entropy", True): lambda: plain.entropy(here),
        ("entropy", False): lambda: [scaf_chosen.entropy_by_loops(face) for face in here],
        ("against entropy", False): lambda: acquisition.spatial_entropy(maps),
    }
    ours = acquisition.spatial_entropy if function == "entropy" else partial(acquisition.nnm, landmarks=found)
    moved = maps[0].nbytes if function == "entropy" else 4 * 68 * 81
    return Calls(lambda: ours(maps), plain_ways[function, cells], BATCH, few, stage.threads, moved=moved)


def _rendering(stage: Stage) -> Calls:
    numbers = itertools.count(0, 4)

    def ours() -> None:
        start = next(numbers)
        sets.make("300w", "train", 3148, 352, part=slice(start, start + 4))

    return Calls(ours, None, 4, 4, measure.cores(), moved=3 * 352**2)


def _follower(stage: Stage) -> tuple[nn.Module, tuple[float, float, float, float], np.ndarray]:
    """A network of MobileNetV2's cost that stays at a face without having learned, the face's box, and a clip (T, H, W, 3)."""
    clip = motion.draw_clip(
        "300vw", "1", 0, 8, 280
    )  # crops of 216 pixels: of larger ones only the tracker smooths what it shrinks
    points = clip.truth[0]
    torch.manual_seed(0)
    net = FromMean(models.create("mobilenet_v2"), 68, gain=0.01)
    crops, landmarks = stage.faces.crops()
    net.mean.copy_(normalise(torch.from_numpy(landmarks), crops.shape[1]).mean(0))
    return net.eval(), (*points.min(0).tolist(), *points.max(0).tolist()), clip.images


def _video(stage: Stage) -> Calls:
    net, box, clip = _follower(stage)
    other, ours = copy.deepcopy(net).to(stage.where), net.to(stage.where)

    def track(make: Callable) -> None:
        one = make()
        for frame in clip:
            one(frame)

    return Calls(
        partial(track, lambda: Tracker(ours, 224, box=box)),
        partial(track, lambda: plain.Follower(other, 224, box)),
        len(clip), len(clip), stage.threads, flops=arithmetic(net, 224),
    )  # fmt: skip


_CROPS = "decode a JPEG of the crop, warp, draw maps in a loop"
_EAGER = "torch as it comes"
WORKS = (
    Work("pipeline", "stored crops, one core", "face", _CROPS, lambda s: _pipeline(s, CROP, 1, False), Target(0.8), seconds=8),
    Work(
        "pipeline", "against photographs, one core", "face", f"the same from a JPEG of {PHOTO} px",
        lambda s: _pipeline(s, PHOTO, 1, False), seconds=8,
    ),
    Work(
        "pipeline", "stored crops, whole machine", "face", f"{_CROPS}, a DataLoader worker a core",
        lambda s: _pipeline(s, CROP, s.threads, True), seconds=8,
    ),
    Work(
        "training", "HRNetV2-W18, 256 px", "face", "NCHW, float32, workers, waits for loss and landmarks",
        lambda s: _training(s, "hrnet_w18", 256), Target(2, True), Target(10, True), 60,
    ),
    Work(
        "training", "FAN of `quick`, 64 px", "face", "NCHW, float32, workers, waits for loss and landmarks",
        lambda s: _training(s, "fan2", 64, width=32, depth=2), Target(2, True), Target(10, True), 10,
    ),
    *(
        Work("inference", f"{title}, {words}", "face", _EAGER, partial(_inference, name=name, runner=runner), limit, seconds=4)
        for name, title, most in (("mobilenet_v2", "MobileNetV2", 3.95), ("efficientnet_b3", "EfficientNet-B3", 10.0))
        for runner, words, limit in (
            ("torch", "torch", None), ("fp32", "ONNX Runtime", None), ("int8", "8 bits", Target(most))
        )
    ),
    *(
        Work("decoding", method, "face", "numpy, a map at a time", partial(_decoder, method=method), Target(20, True))
        for method in DECODERS
    ),
    Work(
        "decoding", "quarter, by tensors", "face", "torch, a map at a time",
        partial(_decoder, method="quarter", tensors=True), Target(20, True),
    ),
    *(
        Work("acquisition", f"{title}, {words}", "face", f"numpy, a {way}" * (not cells) + f"Python, a {way}" * cells,
             partial(_acquisition, function=function, cells=cells), Target(10, True))
        for function, title in (("nnm", "NNM"), ("entropy", "spatial entropy"))
        for cells, words, way in ((False, "by maps", "map at a time"), (True, "by cells", "cell at a time"))
    ),
    Work(
        "acquisition", "NNM against entropy", "face", "our spatial entropy",
        partial(_acquisition, function="against entropy", cells=False), Target(5, True),
    ),
    Work("rendering", "300-W imitation, 352 px", "face", "", _rendering, seconds=5),
    Work("video", "tracker, MobileNetV2 at 224 px", "frame", "warp, torch as it comes, a frame at a time", _video, seconds=5),
)  # fmt: skip
