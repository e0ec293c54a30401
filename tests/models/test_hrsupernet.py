"""HRSuperNet and its slim networks: sizes as published, equation 1 in plain words, pruned = masked, refusals."""

import json
from functools import cache

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from fa_lib import models
from fa_lib.models.hrsupernet import HRSuperNet, Residual, cut, prune
from fa_lib.models.topology import PUBLISHED, Topology

FULL = Topology.full()


@cache
def on_paper(**options) -> HRSuperNet:
    """A network of full size without memory: only shapes, which is all that counting needs."""
    with torch.device("meta"):
        return models.create("hrsupernet", **options)


def small(seed: int = 0, width: int = 2, **options) -> HRSuperNet:
    """A narrow network whose norms have all had one look, without which an untrained net's features vanish."""
    torch.manual_seed(seed)
    net = models.create("hrsupernet", landmarks=5, **{"width": width, "blocks": 1, **options})
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 1.0
            nn.init.normal_(module.bias, std=0.5)
    with torch.no_grad():
        net(torch.rand(4, 3, 64, 64))
    return net.eval()


def masked(net: HRSuperNet, topology: Topology) -> HRSuperNet:
    """The same network, with every factor at 0 that is not of `topology`."""
    again = HRSuperNet(**net.options).eval()
    again.load_state_dict(net.state_dict())
    with torch.no_grad():
        again.alphas().mul_(torch.tensor([float(edge in topology.edges) for edge in net.topology.edges]))
    return again


@pytest.mark.parametrize(
    ("options", "total", "without_head", "without_both"),
    [
        ({"landmarks": 68}, 3_403_430, 3_311_292, 3_272_444),
        ({"landmarks": 17}, 3_389_609, 3_311_292, 3_272_444),
        ({"landmarks": 68, "topology": PUBLISHED["300w"]}, 961_134, 868_996, 830_148),
        ({"landmarks": 29, "topology": PUBLISHED["cofw"]}, 1_074_637, 1_054_700, 1_015_852),
        ({"landmarks": 98, "topology": PUBLISHED["wflw"]}, 1_351_348, 1_322_648, 1_283_800),
    ],
)
def test_number_of_parameters(options: dict, total: int, without_head: int, without_both: int):
    """Of the weights; the factors, one an operation, come on top."""
    net = on_paper(**options)
    counts = [models.count_parameters(net, ("alpha", *parts)) for parts in ((), ("head",), ("head", "stem"))]
    assert counts == [total, without_head, without_both] and total == sum(weights.numel() for weights in net.weights())
    assert models.count_parameters(net) - total == len(net.alphas()) == len(net.topology.edges)


def test_number_of_parameters_part_by_part():
    net = on_paper()
    operations = [models.count_parameters(stage.transforms) for stage in net.stages]
    encoders = [models.count_parameters(stage.encoders) for stage in net.stages]
    assert [models.count_parameters(part) for part in (net.stem, net.stage1, net.head)] == [38_848, 19_712, 92_138]
    assert (operations[0], sum(operations[1:8]), operations[8]) == (267_036, 1_743_084, 249_012)
    assert sum(encoders) == 993_600 and encoders[8] == 0


@pytest.mark.parametrize(
    ("options", "total", "without_head"),
    [
        ({"landmarks": 68}, 1.3085, 0.9333),
        ({"landmarks": 17}, 1.2519, 0.9333),
        ({"landmarks": 68, "topology": PUBLISHED["300w"]}, 0.9727, 0.5975),
        ({"landmarks": 29, "topology": PUBLISHED["cofw"]}, 0.6849, 0.6043),
        ({"landmarks": 98, "topology": PUBLISHED["wflw"]}, 0.7115, 0.5949),
    ],
)
def test_multiply_adds_at_256_pixels(options: dict, total: float, without_head: float):
    """The authors' tool also counts the two biases of the head, one addition a cell and channel."""
    net = on_paper(**options)
    found, channels = models.count_macs(net, without=("head",)), net.options["hidden"]
    head = 64 * 64 * (channels * channels + channels * net.options["landmarks"])
    biases = 64 * 64 * (channels + net.options["landmarks"])
    assert [round(count / 1e9, 4) for count in (found + head + biases, found)] == [total, without_head]


def test_hrnet_is_counted_without_its_head():
    with torch.device("meta"):
        net = models.create("hrnet_w18")
    assert models.count_parameters(net, ("head",)) == 9_562_260
    assert models.count_macs(net, 64) - models.count_macs(net, 64, without=("head",)) == 16 * 16 * (270 * 270 + 270 * 68)
    assert round(models.count_macs(net, without=("head",)) / 1e9, 3) == 4.287


def test_residual_units_on_hrnets_branches_are_nearly_hrnet():
    """9.65 million parameters and 4.66 G are HRNet's, whose first stage is made otherwise."""
    net = on_paper(unit="residual", topology=Topology.hrnet())
    assert models.count_parameters(net) / 9_654_398 == pytest.approx(1, abs=0.01)
    assert models.count_macs(net) / 4.660e9 == pytest.approx(1, abs=0.03)


@pytest.mark.parametrize("unit", ["mbconv", "residual"])
@pytest.mark.parametrize("size", [32, 96])
def test_shape_of_the_output(unit: str, size: int):
    for topology in (None, PUBLISHED["cofw"], PUBLISHED["wflw"].edges):
        net = models.create("hrsupernet", landmarks=7, width=3, unit=unit, blocks=1, topology=topology)
        assert [tuple(maps.shape) for maps in net(torch.rand(2, 3, size, size))] == [(2, 7, size // 4, size // 4)]


def test_all_norms_follow_the_authors():
    norms = [module.momentum for module in HRSuperNet(width=2).modules() if isinstance(module, nn.BatchNorm2d)]
    assert len(norms) > 300 and set(norms) == {0.01}


def literal_sum(stage: nn.Module, branches: dict[int, Tensor], alphas: dict[str, float], target: int) -> Tensor:
    """Equation 1 within its brackets, with the layers of each operation called one by one."""
    total = 0
    for (source, k, name), alpha in zip(stage.paths, alphas, strict=True):
        if k != target:
            continue
        maps = branches[source]
        for layer in [] if source == k else stage.transforms[name]:
            if not isinstance(layer, nn.Upsample):
                maps = layer(maps)
        if source > k:
            maps = F.interpolate(maps, size=branches[target].shape[-2:], mode="bilinear", align_corners=False)
        total = total + alpha * maps
    return total


def test_stage_is_equation_1():
    net = small(3)
    stage = net.stages[4].eval()
    branches = {j: torch.randn(2, 2 * 2**j, 16 // 2**j, 16 // 2**j) for j in range(4)}
    alphas = torch.randn(16)
    with torch.no_grad():
        found = stage(branches, alphas.unbind())
        for target in range(4):
            summed = F.relu(literal_sum(stage, branches, alphas, target))
            unit = stage.encoders[str(target)][0]
            conv, norm, _, point, last = unit.body
            expected = summed + last(point(norm(conv(summed)).clamp(0, 6)))
            assert torch.allclose(found[target], expected, atol=1e-5)


def test_operations_are_made_as_published():
    """Kernel, stride and channels of each convolution: 144 to 18, 18 to 144, stage 1 to 18; a branch itself is left as it is."""

    def layers(stage: int, name: str) -> list[tuple]:
        found = (module for module in net.stages[stage].transforms[name].modules() if isinstance(module, nn.Conv2d))
        return [(c.kernel_size[0], c.stride[0], c.in_channels, c.out_channels, c.bias is None) for c in found]

    net = on_paper()
    assert layers(1, "3_0") == [(1, 1, 144, 18, True)]
    assert layers(1, "0_3") == [(3, 2, 18, 18, True)] * 2 + [(3, 2, 18, 144, True)]
    assert layers(0, "0_0") == [(3, 1, 64, 18, True)] and layers(1, "2_2") == []
    assert [type(layer) for layer in net.stages[1].transforms["0_2"]] == [
        nn.Conv2d, nn.BatchNorm2d, nn.ReLU, nn.Conv2d, nn.BatchNorm2d
    ]  # fmt: skip


def test_residual_unit_without_its_body_is_a_relu():
    unit, x = Residual(4), torch.randn(2, 4, 8, 8)
    nn.init.zeros_(unit.body[-1].weight)
    assert torch.equal(unit(x), F.relu(x))


def test_factors_start_at_1_and_are_apart_from_the_weights():
    net = small()
    weights = net.weights()
    assert torch.equal(net.alphas(), torch.ones(132)) and not any(weight is net.alphas() for weight in weights)
    assert len(weights) + 1 == len(list(net.parameters()))


@pytest.mark.parametrize("unit", ["mbconv", "residual"])
def test_gradient_reaches_every_parameter(unit: str):
    net = small(unit=unit).train()
    maps = net(torch.rand(2, 3, 64, 64))[0]
    (maps * torch.randn_like(maps)).sum().backward()
    assert net.alphas().grad.shape == (132,) and (net.alphas().grad != 0).all()
    for name, parameter in net.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all(), name
        if name.endswith("weight"):
            assert parameter.grad.abs().sum() > 0, name


def test_each_factor_belongs_to_its_operation():
    """An operation whose last norm gives 0 has no slope: exactly one factor, at the place of its edge."""
    net = small()
    for edge in ((2, 0, 3), (5, 3, 1), (10, 0, 2)):
        norm = [m for m in net.stages[edge[0] - 2].transforms[f"{edge[1]}_{edge[2]}"] if isinstance(m, nn.BatchNorm2d)][-1]
        kept = norm.weight.detach().clone(), norm.bias.detach().clone()
        nn.init.zeros_(norm.weight), nn.init.zeros_(norm.bias)
        net.zero_grad()
        net(torch.rand(2, 3, 64, 64))[0].square().sum().backward()
        assert [FULL.edges[i] for i in (net.alphas().grad == 0).nonzero().flatten()] == [edge]
        norm.weight.data, norm.bias.data = kept


@settings(max_examples=6)
@given(seed=st.integers(0, 1000), unit=st.sampled_from(["mbconv", "residual"]), share=st.sampled_from([0.3, 0.6, 0.8]))
def test_pruned_is_the_masked_supernet(seed: int, unit: str, share: float):
    net = small(seed, unit=unit)
    with torch.no_grad():
        net.alphas().copy_(torch.randn(132))
        net.alphas()[[FULL.edges.index((stage, 0, 0)) for stage in range(2, 11)]] += 5  # one path stays
        slim, pictures = prune(net, net.alphas().abs().quantile(share).item()), torch.rand(2, 3, 64, 64)
        expected = masked(net, slim.topology)(pictures)[0]
        assert len(slim.alphas()) < 132 and not slim.training
        assert torch.allclose(slim(pictures)[0], expected, atol=1e-5, rtol=1e-5)
        assert not torch.allclose(net(pictures)[0], expected, atol=1e-2)  # what was dropped had counted


@pytest.mark.parametrize("name", PUBLISHED)
def test_cut_to_a_published_topology_is_the_masked_supernet(name: str):
    """They have blocks whose only input is the unchanged branch before, stages of one block, and heads of three branches."""
    net, pictures = small(7), torch.rand(2, 3, 64, 64)
    with torch.no_grad():
        net.alphas().uniform_(-1, 1)
        slim, expected = cut(net, PUBLISHED[name]), masked(net, PUBLISHED[name])(pictures)[0]
        assert torch.allclose(slim(pictures)[0], expected, atol=1e-5, rtol=1e-5)
        assert expected.std() > 0.01


def test_cut_is_a_plain_smaller_module_of_its_own():
    net = small().train()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    state = torch.get_rng_state()
    slim = cut(net, PUBLISHED["cofw"])
    assert torch.equal(torch.get_rng_state(), state) and slim.training  # nothing was drawn
    assert len(slim.alphas()) == 42 and slim.alphas().requires_grad and slim.alphas().is_leaf
    names = {f"stages.{i - 2}.transforms.{j}_{k}" for i, j, k in PUBLISHED["cofw"].edges}
    assert {".".join(name.split(".")[:4]) for name in slim.state_dict() if "transforms" in name} <= names
    slim(torch.rand(2, 3, 64, 64))[0].sum().backward()
    torch.optim.SGD(slim.parameters(), 0.1).step()
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())


def test_options_build_the_network_again():
    slim = cut(small(mass=2.0), PUBLISHED["wflw"])
    again = models.create("hrsupernet", **json.loads(json.dumps(slim.options))).eval()
    again.load_state_dict(slim.state_dict())
    pictures = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        assert torch.equal(again(pictures)[0], slim(pictures)[0])


def test_cut_keeps_the_inner_channels_of_the_head():
    """Else it could not give the same heatmaps; networks built from a topology alone have as many as the head joins."""
    assert cut(small(), PUBLISHED["cofw"]).head[0].weight.shape[:2] == (30, 14)
    assert small(topology=PUBLISHED["cofw"]).head[0].weight.shape[:2] == (14, 14)


def test_learns_two_faces_by_heart():
    torch.manual_seed(0)
    net, pictures = models.create("hrsupernet", landmarks=3, width=3, blocks=1), torch.rand(2, 3, 32, 32)
    target = torch.rand(2, 3, 8, 8)
    optimiser, errors = torch.optim.Adam(net.parameters(), lr=3e-3), []
    for _ in range(12):
        loss = F.mse_loss(net(pictures)[0], target)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        errors.append(loss.item())
    assert errors[-1] < 0.5 * errors[0] and (net.alphas() != 1).all()


def test_wrong_input_is_refused(refusal):
    net = small()
    assert "divisible by 32" in refusal("48 x 64", net, torch.rand(1, 3, 64, 48))
    assert "'residual'" in refusal("unit='bottleneck'", HRSuperNet, unit="bottleneck")
    assert "does not have it" in refusal("(2, 0, 1)", cut, cut(net, Topology([(i, 0, 0) for i in range(2, 11)])), FULL)
    assert "above every" in refusal("threshold=2", prune, net, 2)
    with torch.no_grad():
        net.alphas()[-16:] = 0
    assert "keep at least one" in refusal("stage 10", prune, net, 0.1)
