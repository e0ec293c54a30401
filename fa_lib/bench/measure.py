"""How `fa bench` takes a time: pairs of calls in turn, in one process, with fixed threads; and what a machine does at most."""

import ctypes
import os
import platform
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
import torch.nn.functional as F

LEAST, MOST = 3, 60  # rounds: below three there is no spread
SHORTEST = 0.03  # seconds: what is shorter is called several times for one time, as the other way's threads rest after a while
Spread = tuple[float, float, float]  # the median, the quartile below and the quartile above


def spread(values: np.ndarray) -> Spread:
    """Median and quartiles.

    >>> spread(np.array([1.0, 2.0, 3.0, 4.0, 9.0]))
    (3.0, 2.0, 4.0)
    """
    low, median, high = np.percentile(values, [25, 50, 75])
    return float(median), float(low), float(high)


@contextmanager
def threads(count: int) -> Iterator[None]:
    """A block in which torch and OpenCV use `count` threads."""
    before = torch.get_num_threads(), cv2.getNumThreads()
    torch.set_num_threads(count)
    cv2.setNumThreads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before[0])
        cv2.setNumThreads(before[1])


def cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def device_name(where: torch.device) -> str:
    """What is measured, for people: the GPU's name, or the processor's with its number of cores."""
    if where.type == "cuda":
        return torch.cuda.get_device_name(where)
    info = Path("/proc/cpuinfo")
    models = (
        [line.split(":")[1].strip() for line in info.read_text().splitlines() if line[:10] == "model name"]
        if info.exists()
        else []
    )
    name = (models or [platform.processor() or platform.machine()])[0].replace("(R)", "").replace("(TM)", "")
    return f"{' '.join(name.split())}, {cores()} cores"


def folder_name(device: str) -> str:
    """A device's name as a folder's.

    >>> folder_name("Intel Xeon Processor @ 2.10GHz, 2 cores")
    'intel-xeon-processor-2.10ghz-2-cores'
    """
    return "-".join("".join(c if c.isalnum() or c == "." else " " for c in device.lower()).split())


def settle(where: torch.device) -> None:
    """Waits until a GPU has done what it was told."""
    if where.type == "cuda":
        torch.cuda.synchronize(where)


def paired(calls: Mapping[str, Callable[[], Any]], seconds: float, where: torch.device) -> dict[str, np.ndarray]:
    """Milliseconds a call of each of `calls`, (rounds,) by name, for about `seconds` after a warm-up that does not count.

    A round is one time of each, in turns forwards and backwards, so that what slows the machine for a while slows all of them;
    the ratio of two is then taken round by round. "ours" runs as `fa reproduce` trains: freed memory is kept (`keep_pages`).
    A loop of our own, since torch.utils.benchmark warms up anew for each time, which a step of ten seconds cannot afford.

    >>> found = paired({"ours": lambda: None, "plain": lambda: time.sleep(0.004)}, 0.05, torch.device("cpu"))
    >>> bool(np.median(found["plain"] / found["ours"]) > 10)
    True
    """

    def timed(name: str, number: int) -> float:
        keep_pages(name == "ours")
        settle(where)
        begin = time.perf_counter()
        for _ in range(number):
            calls[name]()
        settle(where)
        return (time.perf_counter() - begin) / number

    first = {name: timed(name, 1) for name in calls}
    first = {name: timed(name, 1) if taken < 1 else taken for name, taken in first.items()}  # the first one may set up much
    numbers = {name: int(np.clip(SHORTEST / taken, 1, 10_000)) for name, taken in first.items()}
    taken: dict[str, list[float]] = {name: [] for name in calls}
    begin, done = time.monotonic(), 0
    while done < LEAST or (done < MOST and time.monotonic() - begin < seconds):
        for name in list(calls)[:: 1 if done % 2 else -1]:
            taken[name].append(1000 * timed(name, numbers[name]))
        done += 1
    return {name: np.array(values) for name, values in taken.items()}


def keep_pages(keep: bool) -> None:
    """Has glibc keep the memory that is freed, as it does in the workers of `fa reproduce`; or return it, as it does elsewhere.

    What torch allocates for a batch would else be fetched from the system anew for every batch, page by page. glibc's own
    thresholds grow with what is freed, up to the ones set here for False; other libraries of C are left alone.
    """
    if platform.libc_ver()[0] == "glibc":
        libc = ctypes.CDLL(None)
        libc.mallopt(-3, 1_000_000_000 if keep else 32 << 20)  # M_MMAP_THRESHOLD
        libc.mallopt(-1, 1_000_000_000 if keep else 64 << 20)  # M_TRIM_THRESHOLD


@dataclass(frozen=True)
class Ceiling:
    """What this machine does at most: `rate` with its quartiles in `unit`, on `threads` threads of the processor, 0 on a GPU."""

    name: str
    rate: Spread
    unit: str
    threads: int


def ceilings(where: torch.device, seconds: float = 1.0) -> dict[tuple[str, int], Ceiling]:
    """The rates of matrix products, of a convolution and of copying memory, by name and threads: one, all, and 0 for a GPU.

    Names: "float32", "bfloat16" (on a GPU) and "int8" (by ONNX Runtime, where it is installed) for the products, "convolution",
    "copy". Rates are in
    10^9 operations a second, where a multiply-add counts as two, and in 10^9 bytes that are read or written a second.
    """
    cpu, found = torch.device("cpu"), {}
    for number in dict.fromkeys((1, cores())):
        with threads(number):
            found |= {(one.name, number): one for one in _of(cpu, number, seconds)}
    if where.type == "cuda":
        found |= {(one.name, 0): one for one in _of(where, 0, seconds)}
    return found


def _int8_product(side: int, number: int) -> Callable[[], Any] | None:
    """A product of matrices of 8 bits by ONNX Runtime, which runs such networks; torch's own is no ceiling on every processor."""
    try:
        import onnxruntime
        from onnx import TensorProto, helper, numpy_helper
    except ImportError:
        return None
    values = np.random.default_rng(0).integers(0, 256, (side, side), np.uint8)
    given = helper.make_tensor_value_info("a", TensorProto.UINT8, [side, side])
    found = helper.make_tensor_value_info("c", TensorProto.INT32, [side, side])
    product = helper.make_node("MatMulInteger", ["a", "b"], ["c"])
    graph = helper.make_graph([product], "product", [given], [found], [numpy_helper.from_array(values, "b")])
    model = helper.make_model(graph, ir_version=10, opset_imports=[helper.make_opsetid("", 21)])
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = number
    runner = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return lambda: runner.run(None, {"a": values})


def _of(where: torch.device, number: int, seconds: float) -> Iterator[Ceiling]:
    gpu = where.type == "cuda"
    side, faces, cells = (8192, 64, 1 << 28) if gpu else (2048, 8, 1 << 25)
    half = torch.bfloat16 if gpu else torch.float32
    a = torch.randn(side, side, device=where)
    works = {"float32": (lambda: a @ a, 2 * side**3)}
    if gpu:
        b = a.bfloat16()
        works["bfloat16"] = lambda: b @ b, 2 * side**3
    elif product := _int8_product(side, number):
        works["int8"] = product, 2 * side**3
    images = torch.randn(faces, 128, 64, 64, device=where, dtype=half).to(memory_format=torch.channels_last)
    weight = torch.randn(128, 128, 3, 3, device=where, dtype=half).to(memory_format=torch.channels_last)
    works["convolution"] = lambda: F.conv2d(images, weight, padding=1), 2 * faces * 64 * 64 * 9 * 128 * 128
    memory = torch.ones(cells, device=where)
    other = torch.empty_like(memory)
    works["copy"] = lambda: other.copy_(memory), 8 * cells
    with torch.inference_mode():
        for name, (call, amount) in works.items():
            taken = paired({"ours": call}, seconds / len(works), where)["ours"]
            rate = spread(amount / taken / 1e6)
            yield Ceiling(name, rate, "GB/s" if name == "copy" else "Gop/s", number)
