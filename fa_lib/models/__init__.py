"""Networks. One file an architecture; `create` builds one by its name.

Two kinds: **coordinate nets** map pictures (B, 3, H, H), values in [0, 1], to landmarks (B, K, 2) in input pixels;
**heatmap nets** map them to a list of heatmaps (B, K, h, h), one entry a stage, the last the best. `landmarks_of` reads both.
One is neither: `convlstm` maps heatmaps of successive frames to heatmaps; `stable.Stable` makes it and a heatmap net one.
"""

from collections.abc import Callable, Collection
from typing import Any

import torch
from torch import Tensor, nn

from fa_lib import heatmaps
from fa_lib.errors import InputError

Output = Tensor | list[Tensor]


def _builders() -> dict[str, Callable[..., nn.Module]]:
    # imported here because timm alone takes seconds to import, and most commands build no network
    from fa_lib.models import asmnet, awing, convlstm, cpm, efficientnet, fan, hourglass, hrnet, hrsupernet, mobilenet, resnet
    from fa_lib.models.fabrec import AutoEncoder, FabRec

    def fabrec_with(skips: bool) -> Callable[..., nn.Module]:
        return lambda landmarks, **options: FabRec(AutoEncoder(**options), landmarks, skips)

    return {
        "resnet18": resnet.ResNet18,
        "fan2": lambda **options: fan.FAN(stacks=2, **options),
        "fan4": lambda **options: fan.FAN(stacks=4, **options),
        "hrnet_w18": hrnet.HRNet,
        "mobilenet_v2": mobilenet.MobileNetV2,
        "efficientnet_b3": efficientnet.EfficientNetB3,
        "asmnet": asmnet.ASMNet,
        "cpm": cpm.CPM,
        "lab": hourglass.StackedHourglass,
        "awing": awing.AWing,
        "hrsupernet": hrsupernet.HRSuperNet,
        "convlstm": convlstm.ConvLSTM,
        "fabrec": fabrec_with(skips=False),
        "scaf": fabrec_with(skips=True),
    }


def create(name: str, landmarks: int = 68, **options: Any) -> nn.Module:
    """A network with random weights, drawn from torch's global generator. Names: resnet18, fan2, fan4, hrnet_w18,
    mobilenet_v2, efficientnet_b3, asmnet, cpm, lab, awing, hrsupernet, convlstm, fabrec, scaf.

    `options` go to the architecture (each but convlstm has a `width` that makes it narrow for small machines).

    >>> count_parameters(create("fan2", landmarks=68))
    12106504
    """
    builders = _builders()
    if name not in builders:
        raise InputError(f"there is no network {name!r}: choose one of {', '.join(builders)}")
    return builders[name](landmarks=landmarks, **options)


def landmarks_of(output: Output, size: int, method: heatmaps.Method = "centroid") -> Tensor:
    """Landmarks (B, K, 2) in pixels of the `size` x `size` input, from what either kind of network returns."""
    if isinstance(output, Tensor):
        return output
    return heatmaps.to_input(heatmaps.decode(output[-1], method), size / output[-1].shape[-1])


def standardise(images: Tensor) -> Tensor:
    """Pictures in [0, 1] -> about zero mean, unit variance; every network does this first.

    Differs from the papers: fixed numbers instead of a data set's mean and variance; the first batch norm absorbs the rest.
    """
    return (images - 0.5) * 4


class Pointwise(nn.Conv2d):
    """A 1 x 1 convolution with a stride: maps (B, inputs, h, w) -> (B, outputs, ceil(h / stride), ceil(w / stride)).

    For few channels it leaves out cells itself, which gives the same numbers (with AVX-512 bit by bit): torch leaves that to
    oneDNN, whose gradient for the weights then writes beyond its memory (its issue 6035): with several threads, and without
    AVX-512 with one as well. A training then crashes sooner or later.
    """

    FEW = 16  # those of a vector of AVX-512

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__(inputs, outputs, 1, stride=stride, bias=False)

    def forward(self, maps: Tensor) -> Tensor:
        if self.in_channels >= self.FEW:
            return super().forward(maps)
        return nn.functional.conv2d(maps[..., :: self.stride[0], :: self.stride[1]], self.weight)


def shortcut(inputs: int, outputs: int, stride: int) -> nn.Sequential:
    """Past a residual block that halves maps: 1 x 1 convolution with that stride, batch norm."""
    return nn.Sequential(Pointwise(inputs, outputs, stride), nn.BatchNorm2d(outputs))


def freeze(net: nn.Module) -> Callable[[Tensor], Output]:
    """A teacher: `net` in evaluation mode, without gradient, as a plain function.

    A function cannot be put back into training mode by a student's `train()`, and has no parameters to optimise.
    """
    net = net.eval().requires_grad_(False)

    def teacher(images: Tensor) -> Output:
        net.eval()  # whoever holds the module may have switched it
        with torch.no_grad():
            return net(images)

    return teacher


def count_parameters(net: nn.Module, without: Collection[str] = ()) -> int:
    """Number of trainable parameters, but for those of the parts named in `without`: attributes of `net`, as "head"."""
    named = ((name.split(".")[0], parameter) for name, parameter in net.named_parameters())
    return sum(parameter.numel() for part, parameter in named if parameter.requires_grad and part not in without)


def count_macs(net: nn.Module, size: int = 256, without: Collection[str] = ()) -> int:
    """Multiply-adds of one forward pass on one `size` x `size` picture (what many papers call FLOPs), biases apart.

    `without`: parts of `net` that are not counted, as in `count_parameters`.
    """
    from torch.utils.flop_counter import FlopCounterMode

    training = net.training
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        net.eval()(next(net.parameters()).new_zeros(1, 3, size, size))
    net.train(training)
    counts, name = counter.get_flop_counts(), type(net).__name__
    return (counter.get_total_flops() - sum(sum(counts.get(f"{name}.{part}", {}).values()) for part in without)) // 2
