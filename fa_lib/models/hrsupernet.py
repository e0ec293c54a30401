"""HRSuperNet, the supernetwork of paper 4 (SD-HRNet, Lin et al., 2023), and the slim networks that are cut out of it."""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from fa_lib.errors import InputError
from fa_lib.heatmaps import with_mass
from fa_lib.models import standardise
from fa_lib.models.topology import STAGES, Edge, Topology

Unit = Literal["mbconv", "residual"]


def _conv(inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1) -> list[nn.Module]:
    """Convolution without bias, batch norm."""
    return [nn.Conv2d(inputs, outputs, kernel, stride, padding=kernel // 2, groups=groups, bias=False), nn.BatchNorm2d(outputs)]


class MBConv(nn.Module):
    """Mobile inverted bottleneck without expansion: 3 x 3 convolution of each channel, ReLU6, 1 x 1, plus the input.

    >>> sum(p.numel() for p in MBConv(64).parameters())  # 9 * 64 + 64 * 64, two norms
    4928
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.body = nn.Sequential(*_conv(width, width, 3, groups=width), nn.ReLU6(inplace=True), *_conv(width, width, 1))

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x) + x


class Residual(nn.Module):
    """HRNet's unit: two 3 x 3 convolutions plus the input, then ReLU.

    >>> sum(p.numel() for p in Residual(64).parameters())  # 2 * 9 * 64 * 64, two norms
    73984
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.body = nn.Sequential(*_conv(width, width, 3), nn.ReLU(inplace=True), *_conv(width, width, 3))

    def forward(self, x: Tensor) -> Tensor:
        return (self.body(x) + x).relu_()


UNITS = {"mbconv": MBConv, "residual": Residual}


def _larger(branch: int) -> nn.Module:
    """From the size of `branch` to that of branch 0."""
    return nn.Upsample(scale_factor=2**branch, mode="bilinear", align_corners=False) if branch else nn.Identity()


def _transform(inputs: int, outputs: int, source: int, target: int) -> nn.Module:
    """T of equation 1: 1 x 1 convolution and enlarging, nothing, or 3 x 3 convolutions of which each halves the size."""
    if source > target:
        return nn.Sequential(*_conv(inputs, outputs, 1), _larger(source - target))
    if source == target:  # stage 1 alone has another width
        return nn.Identity() if inputs == outputs else nn.Sequential(*_conv(inputs, outputs, 3))
    layers: list[nn.Module] = []
    for _ in range(target - source - 1):
        layers += [*_conv(inputs, inputs, 3, stride=2), nn.ReLU(inplace=True)]
    return nn.Sequential(*layers, *_conv(inputs, outputs, 3, stride=2))


class Stage(nn.Module):
    """The LSFF blocks of one stage: branches (B, C_j, h_j, h_j) of the stage before -> its own, both as {branch: maps}.

    Equation 1, `Y_k = E(sum_j alpha_jk T(X_j))`, for the operations `edges`; `encoders` is E by target. A ReLU follows the sum.

    Differs from the authors' code: there the slim network leaves the ReLU out where the only input is the unchanged branch
    before, which the supernetwork never does. Here it always follows, so that a cut leaves the outputs as they were.
    """

    def __init__(self, edges: Sequence[Edge], before: Sequence[int], widths: Sequence[int], unit: Unit, blocks: int) -> None:
        super().__init__()
        self.paths = [(source, target, f"{source}_{target}") for _, source, target in edges]
        self.transforms = nn.ModuleDict({name: _transform(before[j], widths[k], j, k) for j, k, name in self.paths})
        targets = sorted({target for _, target, _ in self.paths})
        self.encoders = nn.ModuleDict({str(k): nn.Sequential(*(UNITS[unit](widths[k]) for _ in range(blocks))) for k in targets})

    def forward(self, branches: dict[int, Tensor], alphas: Sequence[Tensor]) -> dict[int, Tensor]:
        sums: dict[int, Tensor] = {}
        for (source, target, name), alpha in zip(self.paths, alphas, strict=True):
            maps = self.transforms[name](branches[source])
            sums[target] = torch.addcmul(sums[target], maps, alpha) if target in sums else maps * alpha
        return {int(name): encode(sums[int(name)].relu_()) for name, encode in self.encoders.items()}


class HRSuperNet(nn.Module):
    """Pictures (B, 3, H, H), H divisible by 32 -> a list of one: heatmaps (B, K, H / 4, H / 4).

    Two convolutions bring the picture to a quarter of its size. Stage 1 is one block of `blocks` units, stages 2 ... 10 are
    `Stage`s with branches of `width` * (1, 2, 4, 8) channels, the last without units. The head enlarges the branches left in
    stage 10, joins them and reads them by two 1 x 1 convolutions. `unit`: "mbconv", or "residual", HRNet's, for Figure 6.
    `topology` (or its edges): the operations to build, all if None. `hidden`: channels within the head, None for as many as it
    joins, as the slim networks of the authors have it. `momentum` of the batch norms: at 0.01, as published, their averages need
    some 300 steps before they can be used. `mass`: see heatmaps.with_mass.

    Importance factors start at 1 (the paper does not say); they are used as they are, without softmax or sigmoid.

    >>> net = HRSuperNet(landmarks=68)
    >>> sum(p.numel() for p in net.weights()), len(net.alphas())
    (3403430, 132)
    """

    def __init__(
        self,
        landmarks: int = 68,
        width: int = 18,
        unit: Unit = "mbconv",
        blocks: int = 4,
        topology: Topology | Sequence[Edge] | None = None,
        hidden: int | None = None,
        momentum: float = 0.01,
        mass: float | None = None,
    ) -> None:
        super().__init__()
        if unit not in UNITS:
            raise InputError(f"unit={unit!r}: a block is made of 'mbconv' or 'residual'")
        if topology is None:
            topology = Topology.full()
        self.topology = topology if isinstance(topology, Topology) else Topology(tuple(topology))
        stem, widths = 64 * width // 18, [width * 2**branch for branch in range(4)]
        self.stem = nn.Sequential(
            *_conv(3, stem, 3, stride=2), nn.ReLU(inplace=True), *_conv(stem, stem, 3, stride=2), nn.ReLU(inplace=True)
        )
        self.stage1 = nn.Sequential(*(UNITS[unit](stem) for _ in range(blocks)))
        self.alpha = nn.Parameter(torch.ones(len(self.topology.edges)))
        self.stages = nn.ModuleList(
            Stage(
                self.topology.at(stage),
                [stem] if stage == STAGES[0] else widths,
                widths,
                unit,
                blocks if stage < STAGES[-1] else 0,
            )
            for stage in STAGES
        )
        self.joined = [branch for stage, branch in self.topology.blocks if stage == STAGES[-1]]
        self.enlarge = nn.ModuleList(_larger(branch) for branch in self.joined)
        channels = sum(widths[branch] for branch in self.joined)
        hidden = hidden or channels
        options = {"landmarks": landmarks, "width": width, "unit": unit, "blocks": blocks, "momentum": momentum, "mass": mass}
        self.options = {**options, "topology": self.topology.edges, "hidden": hidden}  # HRSuperNet(**options) builds it again
        self.head = nn.Sequential(
            nn.Conv2d(channels, hidden, 1),
            nn.BatchNorm2d(hidden),
            nn.ReLU(inplace=True),
            nn.Conv2d(hidden, landmarks, 1),
        )
        for module in self.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.momentum = momentum

    def alphas(self) -> nn.Parameter:
        """The importance factors, one number for each of `self.topology.edges`, in their order."""
        return self.alpha

    def weights(self) -> list[nn.Parameter]:
        """All other parameters, which the search of the paper optimises in turn with the factors."""
        return [parameter for parameter in self.parameters() if parameter is not self.alpha]

    def forward(self, images: Tensor) -> list[Tensor]:
        if images.shape[-1] % 32 or images.shape[-2] % 32:
            raise InputError(
                f"pictures of {images.shape[-1]} x {images.shape[-2]} pixels: HRSuperNet needs sides divisible by 32"
            )
        branches = {0: self.stage1(self.stem(standardise(images)))}
        alphas = iter(self.alpha.clone().unbind())  # torch's counter of operations takes no views of a parameter
        for stage in self.stages:
            branches = stage(branches, [next(alphas) for _ in stage.paths])
        joined = [enlarge(branches[branch]) for enlarge, branch in zip(self.enlarge, self.joined, strict=True)]
        maps = self.head(torch.cat(joined, 1))
        mass = self.options["mass"]
        return [maps if mass is None else with_mass(maps, mass)]


def prune(net: HRSuperNet, threshold: float) -> HRSuperNet:
    """The slim network of paper 4: `net` without the operations whose factor is below `threshold`; see Topology.pruned and `cut`.

    >>> net = HRSuperNet(landmarks=5, width=2, blocks=1)
    >>> with torch.no_grad():
    ...     net.alphas()[-4:] = 0.001  # stage 10, from branch 3: what feeds that branch alone is dead as well
    >>> slim = prune(net, threshold=0.0017)
    >>> len(slim.alphas()), (9, 3) in slim.topology.blocks
    (124, False)
    """
    return cut(net, net.topology.pruned(net.alphas(), threshold))


def cut(net: HRSuperNet, topology: Topology) -> HRSuperNet:
    """A smaller network of the operations `topology`, with the weights, factors and running averages of `net`.

    In evaluation mode its heatmaps are those of `net` with all other factors at 0. For this the head keeps its inner channels,
    also where stage 10 loses branches. Raises InputError for an operation that `net` does not have.
    """
    for edge in sorted(set(topology.edges) - set(net.topology.edges)):
        raise InputError(f"operation {edge} cannot be kept: the network does not have it")
    with torch.device("meta"):  # no weights are drawn only to be replaced
        slim = HRSuperNet(**{**net.options, "topology": topology})
    place = {edge: index for index, edge in enumerate(net.topology.edges)}
    parts = net.head[0].weight.split([net.options["width"] * 2**branch for branch in net.joined], 1)
    columns = dict(zip(net.joined, parts, strict=True))
    state = net.state_dict()
    state["alpha"] = net.alpha[[place[edge] for edge in topology.edges]]
    state["head.0.weight"] = torch.cat([columns[branch] for branch in slim.joined], 1)
    slim.load_state_dict({name: state[name].detach().clone() for name in slim.state_dict()}, assign=True)
    return slim.train(net.training)
