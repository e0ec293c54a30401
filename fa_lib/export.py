"""Networks as ONNX files, for programs without torch: their size on disk (paper 2, Table 6) and their speed (its Figure 13).

A file holds everything from a picture to its landmarks: the standardising of the picture, the network, and for heatmap nets the
decoding. Only the layers and what lies between them are made smaller by `fp16` and `int8`; the picture, the output of the last
layer and what is computed from it stay in float32, since a float16 tells places apart to a tenth of a pixel of 224, and 8 bits
to nearly a pixel.
"""

import copy
import logging
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from fa_lib import models, storage
from fa_lib.errors import InputError, suggest
from fa_lib.heatmaps import Method

Model = Any  # an onnx.ModelProto; only functions import onnx
Precision = Literal["fp32", "fp16", "int8"]
PRECISIONS = ("fp32", "fp16", "int8")
WEIGHTED = ("Conv", "ConvTranspose", "Gemm", "MatMul")  # ONNX's names of the layers that hold nearly all weights
ABOUT = {
    "input": "pictures (N, 3, size, size), float32, RGB, values in [0, 1]; mean and variance are handled inside",
    "output": "landmarks (N, K, 2), float32, x before y, in pixels of the input; centres of pixels are whole numbers, from 0",
}


@dataclass(frozen=True)
class Latency:
    """Milliseconds a call: the median, and the quartiles below and above it.

    >>> Latency(median_ms=4.0, low_ms=3.5, high_ms=5.0).fps
    250.0
    """

    median_ms: float
    low_ms: float
    high_ms: float

    @property
    def fps(self) -> float:
        """Calls a second, by the median: frames a second where a call is a picture."""
        return 1000 / self.median_ms


class _Locator(nn.Module):
    """A network of either kind with what turns its output into landmarks, as one graph."""

    def __init__(self, net: nn.Module, size: int, method: Method) -> None:
        super().__init__()
        self.net, self.size, self.method = net, size, method

    def forward(self, pictures: Tensor) -> Tensor:
        return models.landmarks_of(self.net(pictures), self.size, self.method)


def to_onnx(
    net: nn.Module,
    file: str | Path,
    size: int = 224,
    precision: Precision = "fp32",
    pictures: Tensor | None = None,
    method: Method = "centroid",
    notes: Mapping[str, str] | None = None,
) -> Path:
    """Writes `net` as one ONNX file: pictures (N, 3, size, size), in [0, 1] -> landmarks (N, K, 2) in input pixels, any N.

    Heatmaps are decoded inside, by `method`; `notes` join what the file says of itself. The network is left as it is.

    `precision`:
    - `fp32`: 4 bytes a weight; differs from torch by rounding alone;
    - `fp16`: 2 bytes a weight, half the file. Most CPUs compute it in float32 all the same, so it saves no time there;
    - `int8`: 1 byte a weight; activations are 8 bits too, in the ranges that `pictures` (M, 3, size, size) reach, so a hundred
      faces like those to come are needed. `run` tells what it costs in accuracy.

    Raises InputError for another precision, a folder that is not there, a size that the network does not take, and for int8
    without pictures.

    >>> to_onnx(models.create("mobilenet_v2"), "net.onnx", precision="int8")
    Traceback (most recent call last):
    fa_lib.errors.InputError: int8 needs pictures (M, 3, 224, 224) to see which values occur: a hundred faces like those to come
    """
    target = _check(file, precision, pictures, size)
    with storage.new_file(target) as part:
        _save(_graph(net, size, method), part, precision, pictures, {"decoder": method, **(notes or {})})
    return target


def shrink(source: str | Path, file: str | Path, precision: Precision, pictures: Tensor | None = None) -> Path:
    """Writes the fp32 ONNX file `source` of `to_onnx` again, as another precision: what to_onnx would write, but sooner."""
    runner, size = _load(source)
    target = _check(file, precision, pictures, size)
    notes = runner.get_modelmeta().custom_metadata_map
    if (found := notes.get("precision")) != "fp32":
        raise InputError(f"{source} is {found or 'not by to_onnx'}: shrink takes the fp32 file that to_onnx writes")
    import onnx

    with storage.new_file(target) as part:
        _save(onnx.load(source), part, precision, pictures, notes)
    return target


def run(file: str | Path, pictures: Tensor, threads: int = 1) -> Tensor:
    """Landmarks (N, K, 2) in pixels that the ONNX `file` finds in `pictures` (N, 3, size, size), on the CPU."""
    return session(file, threads)(pictures)


def session(file: str | Path, threads: int = 1) -> Callable[[Tensor], Tensor]:
    """The ONNX `file` as a function like a network: pictures (N, 3, size, size) -> landmarks (N, K, 2), on the CPU.

    Raises InputError for what is no ONNX file; the function does for pictures of another size than the file's.
    """
    runner, size = _load(file, threads)

    def locate(pictures: Tensor) -> Tensor:
        _check_pictures(pictures, size)
        batches = pictures.detach().cpu().split(64)  # many at a time need much memory and are no faster
        return torch.cat([torch.from_numpy(runner.run(None, {"pictures": batch.numpy()})[0]) for batch in batches])

    return locate


def write_all(net: nn.Module, folder: str | Path, size: int = 224) -> dict[Precision, Path]:
    """Writes `net` to `folder` in each precision: for sizes on disk and response times, paper 2, Table 6 and Figure 13.

    The ranges of int8 are those of noise, which changes neither. The paper does not say what it measured; 4 bytes a parameter
    explain none of its numbers.
    """
    noise = torch.rand(2, 3, size, size, generator=torch.Generator().manual_seed(0))
    exact = to_onnx(net, Path(folder) / "fp32.onnx", size)
    smaller = {name: shrink(exact, Path(folder) / f"{name}.onnx", name, noise) for name in PRECISIONS[1:]}
    return {"fp32": exact, **smaller}


def latency(call: Callable[[], Any], repeats: int = 100, warm_up: int = 10) -> Latency:
    """How long `call()` takes, over `repeats` calls after `warm_up` that do not count: paper 2, Figure 13.

    A GPU is waited for, before and after each call. Fix the threads first (torch.set_num_threads, `session`), and compare what
    was measured in one process, on a machine that does nothing else. Differs from the paper: it gives the mean, which one
    interruption moves; here it is the median with its quartiles.

    >>> locate = session("net.onnx")  # doctest: +SKIP
    >>> latency(lambda: locate(picture)).fps  # doctest: +SKIP
    """
    if repeats < 1:
        raise InputError(f"repeats={repeats}: measure at least one call")
    wait = torch.cuda.synchronize if torch.cuda.is_available() else lambda: None
    taken = []
    for _ in range(warm_up + repeats):
        wait()
        begin = time.perf_counter()
        call()
        wait()
        taken.append(1000 * (time.perf_counter() - begin))
    low, median, high = np.percentile(taken[warm_up:], [25, 50, 75])
    return Latency(float(median), float(low), float(high))


def checked_target(file: str | Path) -> Path:
    """The file to write; InputError where its folder is not there or its name does not say what it is."""
    target = Path(file)
    if not target.absolute().parent.is_dir():
        raise InputError(f"{file} cannot be written: there is no folder {target.parent}; make it first, or name another")
    if target.suffix != ".onnx" or target.is_dir():
        raise InputError(f"{file}: name a file that ends in .onnx, by which other programs know what it is")
    return target


def _check(file: str | Path, precision: str, pictures: Tensor | None, size: int) -> Path:
    """The file to write; refuses all that can be seen to be wrong before minutes of work."""
    if precision not in PRECISIONS:
        raise InputError(f"precision={precision!r}{suggest(str(precision), PRECISIONS)}: choose one of {', '.join(PRECISIONS)}")
    target = checked_target(file)
    if precision == "int8" and (pictures is None or len(pictures) == 0):
        raise InputError(
            f"int8 needs pictures (M, 3, {size}, {size}) to see which values occur: a hundred faces like those to come"
        )
    if pictures is not None:
        _check_pictures(pictures, size)
    return target


def _check_pictures(pictures: Tensor, size: int) -> None:
    if pictures.ndim != 4 or pictures.shape[1:] != (3, size, size):
        raise InputError(f"pictures must be (N, 3, {size}, {size}), not {tuple(pictures.shape)}")
    if pictures.dtype != torch.float32:
        raise InputError(f"pictures must be float32 in [0, 1], not {pictures.dtype}: divide bytes by 255")
    if len(pictures) and not (pictures.min() >= 0 and pictures.max() <= 1):
        low, high = pictures.min().item(), pictures.max().item()
        raise InputError(f"pictures must be in [0, 1], not from {low:g} to {high:g}: divide bytes by 255, and do nothing else")


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the warnings and log lines of the exporter and the quantiser, on things that are as they should be."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


def _graph(net: nn.Module, size: int, method: Method) -> Model:
    """The ONNX graph of `net`, of a copy on the CPU, in evaluation mode; its batch may have any length."""
    locator = _Locator(copy.deepcopy(net).cpu().float(), size, method).eval().requires_grad_(False)
    for module in locator.modules():  # gradients and work in place say nothing to ONNX, and double the time of the export
        if hasattr(module, "inplace"):
            module.inplace = False
    example = torch.zeros(2, 3, size, size)  # two, as a batch of one may be taken for a constant
    try:
        locator(example)
    except RuntimeError as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"the network does not take pictures of {size} x {size} pixels ({reason}): give its own size") from error
    batch = {"pictures": {0: torch.export.Dim("batch")}}
    names = {"input_names": ["pictures"], "output_names": ["landmarks"], "dynamic_shapes": batch}
    with _quiet():
        model = torch.onnx.export(locator, (example,), dynamo=True, verbose=False, **names).model_proto
    for part in (*model.graph.node, *model.graph.value_info, *model.graph.input, *model.graph.output):
        # where in the source each node comes from: half a megabyte, with the paths of this machine
        del part.metadata_props[:]
        part.doc_string = ""
    return model


def _parts(model: Model) -> tuple[list, list, Any, list]:
    """The nodes before the first that holds weights, those up to the last that does, this last one, and those after it."""
    nodes = list(model.graph.node)  # ONNX lists them in the order of computation
    weighted = [place for place, node in enumerate(nodes) if node.op_type in WEIGHTED]
    first, last = weighted[0], weighted[-1]
    return nodes[:first], nodes[first:last], nodes[last], nodes[last + 1 :]


def _save(model: Model, file: Path, precision: str, pictures: Tensor | None, notes: Mapping[str, str]) -> None:
    import onnx

    del model.metadata_props[:]
    for key, value in {**notes, **ABOUT, "precision": precision}.items():
        model.metadata_props.add(key=key, value=value)
    if precision == "int8":
        with _quiet():
            _quantise(model, file, pictures)
        return
    if precision == "fp16":
        _halve(model)
    onnx.save(model, file)


def _halve(model: Model) -> None:
    """Makes the layers float16: each float tensor `x` that they touch gets a twin `x_half`, which they use instead.

    The last layer keeps float16 weights, but computes in float32: else its output would be rounded to a tenth of a pixel.
    """
    from onnx import TensorProto, helper, numpy_helper

    graph = model.graph
    before, middle, last, after = _parts(model)
    types = {v.name: v.type.tensor_type.elem_type for v in (*graph.input, *graph.output, *graph.value_info)}
    weights = {tensor.name: tensor for tensor in graph.initializer}
    types |= {name: tensor.data_type for name, tensor in weights.items()}
    made, used = {}, {}
    for node in middle:
        for names, seen in ((node.input, used), (node.output, made)):
            for place, name in enumerate(names):
                fixed = node.op_type == "Resize" and place > 0  # its scales are float32 whatever it resizes
                if types.get(name) == TensorProto.FLOAT and not fixed:
                    names[place] = seen[name] = f"{name}_half"
        for attribute in node.attribute:
            if node.op_type == "Cast" and attribute.i == TensorProto.FLOAT:
                attribute.i = TensorProto.FLOAT16
    widened = {name: f"{name}_half" for name in last.input if name in weights}
    twins = {name: twin for name, twin in (used | widened).items() if name in weights}
    needed = {name for node in (*before, last, *after) for name in node.input}
    enter = [(name, twin) for name, twin in used.items() if name not in weights and name not in made]
    leave = [(twin, name) for name, twin in (made | widened).items() if name in needed]

    def casts(pairs: list[tuple[str, str]], kind: int) -> list:
        return [helper.make_node("Cast", [source], [target], f"to_{target}", to=kind) for source, target in pairs]

    nodes = [*before, *casts(enter, TensorProto.FLOAT16), *middle, *casts(leave, TensorProto.FLOAT), last, *after]
    inputs = {name for node in nodes for name in node.input}
    kept = [tensor for name, tensor in weights.items() if name in inputs and name not in widened]
    halves = [(numpy_helper.to_array(weights[name]).astype(np.float16), twin) for name, twin in twins.items()]
    kept += [numpy_helper.from_array(half, twin) for half, twin in halves]
    del graph.node[:], graph.initializer[:], graph.value_info[:]  # whoever reads the file infers the types in between
    graph.node.extend(nodes)
    graph.initializer.extend(kept)


def _quantise(model: Model, file: Path, pictures: Tensor) -> None:
    """8 bits for weights (a scale each channel) and activations, as QuantizeLinear and DequantizeLinear about each layer.

    Weights are unsigned: with signed ones onnxruntime adds two products up in 16 bits wherever the processor has no VNNI, and
    what does not fit in is cut off (measured: 16 pixels of 224 instead of 6, random weights). Unsigned ones are right everywhere.
    """
    from onnxruntime import quantization

    class Pictures(quantization.CalibrationDataReader):
        """Hands out the pictures in batches, then None."""

        def __init__(self) -> None:
            self.batches = iter(pictures.detach().cpu().split(16))

        def get_next(self) -> dict[str, np.ndarray] | None:
            batch = next(self.batches, None)
            return None if batch is None else {"pictures": batch.numpy()}

    before, _, last, after = _parts(model)
    convolution = [last] if last.op_type == "Conv" else []  # has few weights; there is no way to keep its output alone
    quantization.quantize_static(
        model,
        file,
        Pictures(),
        activation_type=quantization.QuantType.QUInt8,  # with signed ones onnxruntime computes some layers in float32 after all
        weight_type=quantization.QuantType.QUInt8,
        per_channel=True,
        nodes_to_exclude=[node.name for node in (*before, *convolution, *after)],
        # the landmarks themselves: 8 bits would know 256 places
        extra_options={"OpTypesToExcludeOutputQuantization": ["Gemm", "MatMul"]},
    )


def _load(file: str | Path, threads: int = 1) -> tuple[Any, int]:
    """An onnxruntime session of `file`, and the side of its pictures."""
    import onnxruntime

    if not Path(file).is_file():
        raise InputError(f"there is no file {file}; `to_onnx` writes one")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = 3  # errors
    options.add_session_config_entry("session.force_spinning_stop", "1")  # idle threads would take the cores of torch's
    try:
        runner = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's own exceptions share no other class
        raise InputError(f"{file} is no ONNX file that onnxruntime can run: {str(error).splitlines()[0]}") from error
    return runner, runner.get_inputs()[0].shape[-1]
