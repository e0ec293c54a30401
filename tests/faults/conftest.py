"""What tests of faults share: processes that start in no time, a small disk, and the result of a training that nothing hit."""

import multiprocessing
import subprocess
import sys
from collections.abc import Callable, Iterator
from multiprocessing.process import BaseProcess
from pathlib import Path
from types import ModuleType

import pytest

HERE = Path(__file__).parent
# imported once by the process that the others are forked from; torch imports its compiler when the first optimiser is made
PRELOADED = ["fa_lib.training", "fa_lib.__main__", "fa_lib.results", "lightning.fabric", "safetensors.torch", "torch._dynamo"]


@pytest.fixture(scope="session")
def tiny() -> Iterator[ModuleType]:
    """The module of the tiny run, which other processes find by the same name."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(HERE))
        import tiny

        yield tiny
        sys.modules.pop("tiny")


@pytest.fixture(scope="session")
def server(tiny: ModuleType) -> multiprocessing.context.ForkServerContext:
    """Starts processes from one that has imported everything, so that each costs no ten seconds."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([*PRELOADED, "pytest"])
    return context


@pytest.fixture
def fork(server: multiprocessing.context.ForkServerContext) -> Iterator[Callable[..., BaseProcess]]:
    """Starts a function of `tiny` in a process of its own; what still runs at the end is killed."""
    started: list[BaseProcess] = []

    def run(function: Callable, *arguments: object) -> BaseProcess:
        started.append(server.Process(target=function, args=arguments))
        started[-1].start()
        return started[-1]

    yield run
    for process in started:
        process.kill()
        process.join()


@pytest.fixture(scope="session")
def whole(tiny: ModuleType, server: multiprocessing.context.ForkServerContext, tmp_path_factory) -> bytes:
    """The weights of the tiny run, trained without a fault and in one piece."""
    store = tmp_path_factory.mktemp("whole")
    process = server.Process(target=tiny.ask, args=(store, 99.0))
    process.start()
    process.join()
    assert process.exitcode == 0
    return weights(store)


@pytest.fixture
def weights_in() -> Callable[[Path], bytes]:
    """Reads the weights of the one run in a store."""
    return weights


def weights(store: Path) -> bytes:
    """The weights of the one run in a store."""
    (file,) = store.glob("*/*/*/*/s*/model.safetensors")
    return file.read_bytes()


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """An empty disk of two million bytes of its own, in memory."""
    place = tmp_path / "disk"
    place.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2000k", "none", str(place)], capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"only root can mount a disk: {done.stderr.strip()}")
    yield place
    subprocess.run(["umount", "--lazy", str(place)], check=True)  # lazy: a memory map of a test may still be open
