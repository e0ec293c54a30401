"""What a loss would see of the whole batch, for a process that has a share of it: statistics, and random numbers."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, distributed
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode


class WholeBatch(TorchFunctionMode):
    """While it is active, three things that depend on the other faces of a batch are as if no process had only a share of it.

    Batch norm that is training takes mean and variance over the faces of all processes, with their gradients, as torch's
    SyncBatchNorm does. That one needs a GPU, and modules of its own in the network; here they stay what they are, and a saved
    network is the same as ever. Dropout, and torch.rand and torch.randn of as many rows as there are faces, draw for the whole
    batch and take the share's rows: all processes draw alike, so the stream of random numbers is that of one process.

    `size`: faces of the share; `rank` of `processes`: whose share it is. A loss may draw for something else than faces, by
    torch.randint or with another number of rows: then each process has the same draws, as one process has.
    """

    def __init__(self, size: int, rank: int, processes: int) -> None:
        super().__init__()
        self.size, self.rank, self.processes = size, rank, processes

    def __torch_function__(self, function: Callable, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        """Calls a function of torch, or what stands for it here."""
        kwargs = kwargs or {}
        if function is F.batch_norm and kwargs["training"]:
            return batch_norm(*args, kwargs["weight"], kwargs["bias"], kwargs["momentum"], kwargs["eps"], self.processes)
        if function is F.dropout and kwargs["training"] and kwargs["p"] and len(args[0]) % self.size == 0:
            return args[0] * self._kept(args[0], kwargs["p"])
        if function in (torch.rand, torch.randn) and args:
            shape = args[0] if isinstance(args[0], tuple | list) else args
            if shape and shape[0] == self.size:
                return self._mine(function((self.size * self.processes, *shape[1:]), **kwargs))
        return function(*args, **kwargs)

    def _kept(self, values: Tensor, p: float) -> Tensor:
        """Dropout's factors for a share (n, ...); the layout in memory decides which of them is drawn when."""
        last = values.dim() == 4 and values.is_contiguous(memory_format=torch.channels_last)
        layout = torch.channels_last if last else torch.contiguous_format
        whole = (len(values) * self.processes, *values.shape[1:])
        ones = torch.empty(whole, dtype=values.dtype, device=values.device, memory_format=layout).fill_(1)
        return self._mine(F.dropout(ones, p))

    def _mine(self, whole: Tensor) -> Tensor:
        return whole.chunk(self.processes)[self.rank]


class _Sum(torch.autograd.Function):
    """The sum of a tensor over all processes; its gradient is the sum of theirs, as all of them use it."""

    @staticmethod
    def forward(context: Any, values: Tensor) -> Tensor:
        total = values.clone()
        distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> Tensor:
        total = gradient.clone()
        distributed.all_reduce(total)
        return total


def batch_norm(
    values: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None,
    bias: Tensor | None,
    momentum: float,
    eps: float,
    processes: int,
) -> Tensor:
    """F.batch_norm in training of (B, C, ...) with statistics over all processes, each of which has as many values.

    In two messages, mean and then variance: the difference of squares, in one, would lose the digits of both.
    """
    dims, shape = [0, *range(2, values.dim())], [1, -1] + [1] * (values.dim() - 2)
    precise = values.to(torch.promote_types(values.dtype, torch.float32))
    count = processes * values.numel() // values.shape[1]
    mean = _Sum.apply(precise.sum(dims)) / count
    centred = precise - mean.view(shape)
    variance = _Sum.apply(centred.square().sum(dims)) / count
    if running_mean is not None and running_var is not None:
        with torch.no_grad():
            running_mean.lerp_(mean.to(running_mean.dtype), momentum)
            running_var.lerp_((variance * count / (count - 1)).to(running_var.dtype), momentum)
    result = centred * (variance + eps).rsqrt().view(shape)
    if weight is not None:
        result = result * weight.view(shape)
    return (result if bias is None else result + bias.view(shape)).to(values.dtype)
