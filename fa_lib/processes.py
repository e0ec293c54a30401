"""One training in several processes: who starts them, who writes, what all of them have to agree on.

`launch` starts them by torchrun, `joined` makes each a member of the group. Every process then runs the same program: it draws
the same batches from the same stream of random numbers, learns from its share of each (`on_share`), and takes the same step, by
the mean of all gradients (`fabric`). So neither the stream nor a checkpoint depends on how many there are: what two began, one
goes on with. Only the first writes; where the program asks the disk, the first looks, and tells the others (`decide`).

Batch norm takes its statistics over the whole batch, and what a loss draws for each face is drawn for the whole batch
(`whole_batch`): the number of processes changes a result by no more than rounding. That may be much: gradients of HRNet on faces
of 64 pixels differ by 3 % between float32 and float64 in one process, and as much between one process and two.
"""

import dataclasses
import os
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import torch
from torch import Tensor, distributed

from fa_lib.errors import InputError

STEP, TALK = timedelta(hours=1), timedelta(days=7)  # the first may wait for long while another program trains the run
_talk: list = []  # the group for a few numbers on the CPU, whatever the gradients travel by


def launch(devices: int, nodes: int, command: list[str]) -> None:
    """Runs `fa` with `command` in `devices` processes on each of `nodes` machines, by torchrun: GPUs where there are any.

    On several machines it is called on each, with one `FA_RUNS` for all. Where one process ends badly, all end; SystemExit then
    has its exit code. Raises InputError for more processes than GPUs, and where machines are not told of one another.
    """
    gpus = torch.cuda.device_count()
    if gpus and devices > gpus:
        raise InputError(
            f"--devices {devices}: this machine has {gpus} GPUs, give at most as many; CUDA_VISIBLE_DEVICES= takes CPUs instead"
        )
    meeting = _meeting(nodes)
    # glibc's and OpenMP's threads of several processes would wait for one another's cores
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // devices)))
    os.environ.setdefault("LOGLEVEL", "CRITICAL")  # torchrun's own: what a process says is enough
    from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs, SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    with tempfile.TemporaryDirectory(prefix="fa-") as notes:  # torchrun leaves its own behind
        specs = DefaultLogsSpecs(log_dir=notes)
        # each process sees its own GPU alone: some of torch's functions, as fork_rng, begin to work on every one that they see
        config = LaunchConfig(nodes, nodes, devices, specs, max_restarts=0, virtual_local_rank=gpus > 0, **meeting)
        try:
            elastic_launch(config, sys.executable)("-m", "fa_lib", *command)
        except ChildFailedError as error:
            rank, failure = error.get_first_failure()
            if failure.exitcode < 0:
                name = signal.Signals(-failure.exitcode).name
                print(f"fa: {name} ended process {rank}, and with it all others; the same command goes on", file=sys.stderr)
            sys.exit(failure.exitcode if failure.exitcode > 0 else 1)
        except SignalException as error:
            if error.sigval == signal.SIGINT:
                raise KeyboardInterrupt from error
            sys.exit(128 + error.sigval)


def _meeting(nodes: int) -> dict[str, Any]:
    """Where the processes find one another, as torchrun wants it told."""
    if nodes == 1:
        return {"rdzv_backend": "c10d", "rdzv_endpoint": "localhost:0", "run_id": "fa", "local_addr": "localhost"}
    told = dict(os.environ)
    if "SLURM_NODEID" in told and "SLURM_JOB_NODELIST" in told:
        from lightning.fabric.plugins.environments import SLURMEnvironment

        address = SLURMEnvironment.resolve_root_node_address(told["SLURM_JOB_NODELIST"])
        port = str(15000 + int(told.get("SLURM_JOB_ID", "0")[-4:]))
        told = {"MASTER_ADDR": address, "MASTER_PORT": port, "NODE_RANK": told["SLURM_NODEID"]} | told
    missing = [name for name in ("MASTER_ADDR", "MASTER_PORT", "NODE_RANK") if not told.get(name)]
    if missing:
        raise InputError(
            f"--nodes {nodes}: {' and '.join(missing)} {'is' if len(missing) == 1 else 'are'} not set; give the first machine's "
            "address, a free port of it, and this machine's number from 0 on, or start one `fa train` on each node by srun"
        )
    if not (told["MASTER_PORT"].isdigit() and told["NODE_RANK"].isdigit() and int(told["NODE_RANK"]) < nodes):
        raise InputError(
            f"MASTER_PORT={told['MASTER_PORT']}, NODE_RANK={told['NODE_RANK']}: give a port, and a number from 0 to {nodes - 1}"
        )
    where = f"{told['MASTER_ADDR']}:{told['MASTER_PORT']}"
    rank = {"rank": int(told["NODE_RANK"])}
    return {"rdzv_backend": "static", "rdzv_endpoint": where, "rdzv_configs": rank, "run_id": "fa"}


def count() -> int:
    """How many processes train together: 1 outside `joined`."""
    return distributed.get_world_size() if distributed.is_available() and distributed.is_initialized() else 1


def first() -> bool:
    """Whether this process is the one that writes and reports."""
    return count() == 1 or distributed.get_rank() == 0


def started() -> bool:
    """Whether torchrun started this process."""
    return distributed.is_available() and distributed.is_torchelastic_launched()


@contextmanager
def joined() -> Iterator[None]:
    """Makes this process one of those that torchrun started together; nothing where it did not.

    A process whose launcher is gone ends at once. What all of them refuse is said by the first alone.
    """
    if not started():
        yield
        return
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # the launcher says that it was stopped, once
    threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()
    on_gpu = torch.cuda.is_available()
    if on_gpu:
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    distributed.init_process_group("nccl" if on_gpu else "gloo", timeout=STEP)
    _talk.append(distributed.new_group(backend="gloo", timeout=TALK))
    try:
        yield
        wait()
    except InputError:
        if not first():
            time.sleep(3)  # the first, which refuses it as well, has ended all of them by then
        raise
    distributed.destroy_process_group()
    _talk.clear()


def _end_with(launcher: int) -> None:
    while os.getppid() == launcher:
        time.sleep(0.5)
    os._exit(1)  # killed, it could not tell its processes, and these are in sessions of their own


def decide(question: Callable[[], bool]) -> bool:
    """What the first process finds: files may appear between its look and that of another."""
    if count() == 1:
        return question()
    return bool(_reduced([float(question())] if first() else [0.0])[0])


def wait() -> None:
    """Until all processes have come here."""
    if count() > 1:
        _reduced([0.0])


def agree(value: float, sentence: str) -> None:
    """Raises InputError with `sentence` unless all processes have the same value."""
    if count() > 1 and _reduced([value, -value], "MAX").sum() != 0:
        raise InputError(sentence)


def mean(parts: dict[str, float]) -> dict[str, float]:
    """The mean of each number over all processes."""
    if count() == 1:
        return parts
    return dict(zip(parts, (_reduced(list(parts.values())) / count()).tolist()))


def _reduced(values: list[float], by: str = "SUM") -> Tensor:
    given = torch.tensor(values, dtype=torch.float64)
    distributed.all_reduce(given, getattr(distributed.ReduceOp, by), group=_talk[0])
    return given


def on_share(loss_of: Callable) -> Callable:
    """The loss, `loss_of(net, batch)`, of this process's share of a batch; of all of it where there is one process."""
    if count() == 1:
        return loss_of
    from fa_lib.whole_batch import WholeBatch

    def of_share(net: torch.nn.Module, batch: Any) -> dict[str, Tensor]:
        mine, size = share(batch, distributed.get_rank(), count())
        with WholeBatch(size, distributed.get_rank(), count()):
            return loss_of(net, mine)

    return of_share


def share(batch: Any, rank: int, processes: int) -> tuple[Any, int]:
    """The faces of a batch, a dataclass of tensors (B, ...), that a process learns from; and how many these are.

    Raises InputError where there are not as many for each.

    >>> from fa_lib.data import Batch
    >>> mine, size = share(Batch(torch.zeros(4, 3, 8, 8), torch.zeros(4, 5, 2), torch.arange(4)), 1, 2)
    >>> mine.images.shape, mine.index.tolist(), mine.visible, size
    (torch.Size([2, 3, 8, 8]), [2, 3], None, 2)
    """
    tensors = {f.name: v for f in dataclasses.fields(batch) if isinstance(v := getattr(batch, f.name), Tensor)}
    faces = len(next(iter(tensors.values())))
    if faces % processes:
        fitting = max(n for n in range(1, processes) if faces % n == 0)
        raise InputError(
            f"a batch of {faces} cannot be shared evenly by {processes} processes; {fitting} would fit (--devices times --nodes)"
        )
    size = faces // processes
    return dataclasses.replace(batch, **{k: v[rank * size : (rank + 1) * size] for k, v in tensors.items()}), size


def fabric(accelerator: str, precision: str) -> Any:
    """Lightning Fabric for this process: alone on its device, or one of several that step together.

    Several have copies of the network and of the optimiser, and average gradients before each step. Differs from Fabric's "ddp":
    the network is not wrapped, so that a loss may call any of its methods, several times, and any parameters may rest.
    """
    from lightning.fabric import Fabric  # takes seconds to import, and only training needs it

    if count() == 1:
        return Fabric(accelerator=accelerator, devices=1, precision=precision)
    from lightning.fabric.strategies import DDPStrategy

    class Copies(DDPStrategy):
        @property
        def root_device(self) -> torch.device:
            return torch.device(accelerator, torch.cuda.current_device()) if accelerator == "cuda" else torch.device("cpu")

        def setup_module(self, module: torch.nn.Module) -> torch.nn.Module:
            for tensor in module.state_dict().values():
                begin = tensor.detach().contiguous()
                distributed.broadcast(begin, 0)
                tensor.copy_(begin)
            return module

        def optimizer_step(self, optimizer: torch.optim.Optimizer, **kwargs: Any) -> Any:
            average([p.grad for group in optimizer.param_groups for p in group["params"] if p.grad is not None])
            return super().optimizer_step(optimizer, **kwargs)

    # a device for each, on whatever machine: where it is, `joined` knows
    made = Fabric(accelerator=accelerator, devices=1, num_nodes=count(), strategy=Copies(), precision=precision)
    made.launch()
    return made


def average(gradients: list[Tensor]) -> None:
    """Replaces gradients by their means over all processes, in one message."""
    if not gradients:
        return
    together = torch.cat([gradient.reshape(-1) for gradient in gradients])
    distributed.all_reduce(together)
    for gradient, part in zip(gradients, (together / count()).split([gradient.numel() for gradient in gradients])):
        gradient.copy_(part.view(gradient.shape))
