"""The networks: sizes as published, shapes, reading landmarks from outputs, and teachers that stay as they are."""

import subprocess
import sys

import pytest
import torch
from torch import Tensor, nn

from fa_lib import models
from fa_lib.errors import InputError
from fa_lib.models.fan import FAN

SMALL = {
    "resnet18": {"width": 8},
    "fan2": {"width": 16},
    "fan4": {"width": 16},
    "hrnet_w18": {"width": 3},
    "mobilenet_v2": {"width": 0.35},
    "efficientnet_b3": {"width": 0.35, "depth": 0.5},
    "asmnet": {"width": 0.35},
    "cpm": {"width": 4, "stride": 4},
    "lab": {"width": 16},
    "awing": {"width": 16},
    "hrsupernet": {"width": 2, "blocks": 1},
}
STACKS = {"fan2": 2, "fan4": 4, "hrnet_w18": 1, "cpm": 3, "lab": 4, "awing": 4, "hrsupernet": 1}
HEATMAP_NETS = tuple(STACKS)


def on_paper(name: str, landmarks: int = 68, **options) -> nn.Module:
    """A network of full size without memory: only shapes, which is all that counting needs."""
    with torch.device("meta"):
        return models.create(name, landmarks, **options)


@pytest.mark.parametrize(
    ("name", "landmarks", "parameters"),
    [
        ("resnet18", 68, 15_633_096),
        ("fan2", 68, 12_106_504),
        ("fan4", 68, 23_820_176),
        ("hrnet_w18", 68, 9_654_398),
        ("hrnet_w18", 98, 9_662_528),
        ("hrnet_w18", 29, 9_643_829),
        ("hrnet_w18", 19, 9_641_119),
        ("mobilenet_v2", 68, 2_398_088),
        ("mobilenet_v2", 29, 2_298_170),
        ("mobilenet_v2", 98, 2_474_948),
        ("efficientnet_b3", 68, 10_905_264),
        ("asmnet with pose", 68, 1_412_435),
        ("asmnet with pose", 98, 1_444_655),
        ("cpm", 68, 16_709_516),
        ("lab", 68, 12_951_696),
        ("awing", 98, 23_885_260),
    ],
)
def test_number_of_parameters(name: str, landmarks: int, parameters: int):
    options = {"pose": True} if "pose" in name else {}
    assert models.count_parameters(on_paper(name.split()[0], landmarks, **options)) == parameters


def test_one_hourglass_has_the_published_size():
    with torch.device("meta"):
        assert models.count_parameters(FAN(stacks=1)) == 6_249_668


@pytest.mark.parametrize(("name", "billions"), [("fan2", 13.92), ("fan4", 25.24), ("hrnet_w18", 4.660)])
def test_multiply_adds_at_256_pixels(name: str, billions: float):
    assert models.count_macs(on_paper(name)) / 1e9 == pytest.approx(billions, rel=0.005)


@pytest.mark.parametrize(
    ("name", "size", "billions"),
    [("mobilenet_v2", 224, 0.2997), ("efficientnet_b3", 224, 0.961), ("efficientnet_b3", 300, 1.826), ("asmnet", 224, 0.2564)],
)
def test_nets_of_paper_2_count_as_published(name: str, size: int, billions: float):
    assert models.count_macs(on_paper(name), size) / 1e9 == pytest.approx(billions, rel=0.002)


def test_width_and_depth_shrink_an_efficientnet():
    whole, narrow, shallow, small = (
        models.count_parameters(on_paper("efficientnet_b3", width=width, depth=depth))
        for width, depth in ((1.0, 1.0), (0.5, 1.0), (1.0, 0.5), (0.5, 0.5))
    )
    assert small < narrow < 0.3 * whole  # parameters go with the square of the width
    assert 0.3 * whole < shallow < 0.7 * whole


@pytest.mark.parametrize("stride", [16, 8])
@pytest.mark.parametrize("name", ["mobilenet_v2", "efficientnet_b3", "asmnet"])
def test_a_finer_map_has_the_same_weights_and_another_output(name: str, stride: int):
    torch.manual_seed(0)
    options = SMALL[name] if name == "mobilenet_v2" else {**SMALL[name], "dropout": 0.0}
    plain, fine = models.create(name, **options), models.create(name, stride=stride, **options)
    fine.load_state_dict(plain.state_dict())
    pictures = torch.rand(2, 3, 96, 96)
    with torch.no_grad():  # in training mode: untrained running averages make an EfficientNet's features vanish
        assert torch.equal(plain(pictures), plain(pictures))
        assert not torch.allclose(plain(pictures), fine(pictures))


def test_counting_leaves_the_mode_as_it_was():
    net = models.create("resnet18", size=32, width=8)
    assert net.training
    models.count_macs(net, 32)
    assert net.training


def test_frozen_parameters_are_not_counted():
    net = models.create("resnet18", size=32, width=8)
    models.freeze(net)
    assert models.count_parameters(net) == 0


@pytest.mark.parametrize("size", [64, 96, 128])
@pytest.mark.parametrize("name", SMALL)
def test_shape_of_the_output(name: str, size: int):
    options = {"size": size} if name == "resnet18" else {}
    if name in ("fan2", "fan4", "lab", "awing") and size == 96:
        options["depth"] = 3  # 24 cells can be halved three times
    net = models.create(name, landmarks=19, **SMALL[name], **options)
    output = net(torch.rand(2, 3, size, size))
    if name in HEATMAP_NETS:
        assert [tuple(maps.shape) for maps in output] == [(2, 19, size // 4, size // 4)] * STACKS[name]
    assert models.landmarks_of(output, size).shape == (2, 19, 2)


@pytest.mark.parametrize("name", ["fan2", "cpm", "lab", "awing"])
def test_stride_2_gives_larger_heatmaps(name: str):
    output = models.create(name, landmarks=5, **{**SMALL[name], "stride": 2})(torch.rand(1, 3, 64, 64))
    assert output[-1].shape == (1, 5, 32, 32)


@pytest.mark.parametrize("name", HEATMAP_NETS)
def test_heatmaps_with_mass_are_positive_and_sum_to_it(name: str):
    with torch.no_grad():
        output = models.create(name, landmarks=5, **SMALL[name], mass=3.0)(torch.rand(2, 3, 64, 64))
    for maps in output:
        assert (maps > 0).all() and torch.allclose(maps.sum((2, 3)), torch.tensor(3.0), rtol=1e-4)


@pytest.mark.parametrize("inputs", [4, 15, 16])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_leaving_out_cells_is_a_strided_convolution(inputs: int, layout: torch.memory_format):
    """That of float64: it is torch's own, as oneDNN's in float32 writes beyond its memory, which crashed tests to come."""
    torch.manual_seed(0)
    ours = models.Pointwise(inputs, 8, 2).to(memory_format=layout)
    maps = torch.randn(4, inputs, 16, 16).to(memory_format=layout)
    found = []
    for call in (ours, lambda given: nn.functional.conv2d(given.double(), ours.weight.double(), stride=2)):
        given = maps.clone().requires_grad_()
        out = call(given)
        (gradient,) = torch.autograd.grad(out.square().sum(), ours.weight, retain_graph=True)
        found.append((out, gradient, torch.autograd.grad(out.square().sum(), given)[0]))
    for one, other in zip(*found):
        torch.testing.assert_close(one.double(), other.double(), rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("name", [*SMALL, "fabrec", "scaf"])
def test_no_strided_1_x_1_convolution_is_left_to_onednn(name: str):
    """Its gradient of few channels writes beyond its memory: with several threads a training ends in a crash."""
    options = SMALL.get(name, {"width": 8})
    convolutions = [m for m in models.create(name, **options).modules() if isinstance(m, nn.Conv2d)]
    assert not [m for m in convolutions if m.kernel_size == (1, 1) and m.stride != (1, 1) and not isinstance(m, models.Pointwise)]


def test_narrow_network_learns_on_two_threads():
    """The gradient of five faces, an odd number, crashed; that of two threads is that of one."""
    program = """
import torch
from fa_lib import models
found = []
for threads in (1, 2, 2, 2, 2):
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    net = models.shortcut(8, 8, 2).to(memory_format=torch.channels_last)
    net(torch.randn(5, 8, 16, 16).to(memory_format=torch.channels_last)).pow(3).sum().backward()
    found.append(net[0].weight.grad.clone())
assert all(torch.allclose(one, found[0], rtol=1e-3, atol=1e-3 * found[0].abs().max().item()) for one in found)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, f"{done.returncode} {done.stderr[-2000:]}"


def test_untrained_coordinates_start_near_the_centre():
    torch.manual_seed(0)
    with torch.no_grad():
        found = models.create("resnet18", size=64, width=8)(torch.rand(4, 3, 64, 64))
    assert (found - 31.5).abs().mean() < 16


@pytest.mark.parametrize("name", ["mobilenet_v2", "efficientnet_b3", "asmnet"])
def test_untrained_students_and_teachers_start_near_the_centre_whatever_the_size(name: str):
    torch.manual_seed(0)
    net = models.create(name, **SMALL[name])
    for size in (64, 96):
        with torch.no_grad():
            assert (net(torch.rand(4, 3, size, size)) - (size - 1) / 2).abs().mean() < size / 10


def test_dropout_acts_on_the_features_in_training_only():
    pictures = torch.rand(2, 3, 64, 64)
    for name in ("efficientnet_b3", "asmnet"):
        net = models.create(name, landmarks=5, **SMALL[name])
        for module in net.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.momentum = 0.0  # statistics of the batch change nothing between the looks
        assert not torch.equal(net(pictures), net(pictures))
        assert torch.equal(net.eval()(pictures), net(pictures))
        still = models.create(name, landmarks=5, dropout=0.0, **SMALL[name])
        assert torch.equal(still(pictures), still(pictures))


def test_asmnet_reads_six_maps_side_by_side():
    """The averages are those of the blocks that Keras calls 1, 3, 6, 10, 13 and 15."""
    net, seen = models.create("asmnet", landmarks=5, dropout=0.0).eval(), []
    blocks = [block for stage in net.stages for block in stage]
    assert len(blocks) == 16
    for number in (1, 3, 6, 10, 13, 15):
        blocks[number].register_forward_hook(lambda module, inputs, output: seen.append(output))
    pictures = torch.rand(2, 3, 64, 64)
    with torch.no_grad():
        found = net(pictures)
        side_by_side = torch.cat([maps.mean((2, 3)) for maps in seen], 1)
        assert [maps.shape[1] for maps in seen] == [24, 32, 64, 96, 160, 160] and side_by_side.shape == (2, 536)
        assert torch.allclose(found, (64 * net.landmarks(side_by_side) - 0.5).reshape(2, 5, 2), atol=1e-4)


def test_asmnet_gives_pose_beside_the_same_landmarks():
    torch.manual_seed(0)
    net, pictures = models.create("asmnet", landmarks=5, pose=True, **SMALL["asmnet"]).eval(), torch.rand(2, 3, 64, 64)
    with torch.no_grad():
        landmarks, pose = net.with_pose(pictures)
        assert torch.equal(landmarks, net(pictures)) and pose.shape == (2, 3)
    with pytest.raises(InputError, match="pose=True"):
        models.create("asmnet", **SMALL["asmnet"]).with_pose(pictures)


@pytest.mark.parametrize("name", ["efficientnet_b3", "asmnet"])
def test_learns_two_faces_by_heart(name: str):
    torch.manual_seed(0)
    pictures, truth = torch.rand(2, 3, 32, 32), 8 + 16 * torch.rand(2, 5, 2)
    net = models.create(name, landmarks=5, stride=8, dropout=0.0, **SMALL[name]).train()
    optimiser = torch.optim.Adam(net.parameters(), lr=3e-3)
    errors = []
    for _ in range(30):
        loss = (net(pictures) - truth).abs().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        errors.append(loss.item())
    assert errors[-1] < 0.5 * errors[0]
    with torch.no_grad():  # it tells one from the other
        assert (net(pictures.flip(0)) - truth).abs().mean() > 2 * errors[-1]


@pytest.mark.parametrize("name", ["resnet", "FAN2", "", "hrnet", "efficientnet"])
def test_unknown_network_is_refused(name: str):
    with pytest.raises(
        InputError,
        match=r"resnet18, fan2, fan4, hrnet_w18, mobilenet_v2, efficientnet_b3, asmnet, cpm, lab, awing, hrsupernet, "
        r"convlstm, fabrec, scaf$",
    ):
        models.create(name)


@pytest.mark.parametrize("method", ["argmax", "centroid", "local", "pdc"])
def test_convention_cell_i_of_a_heatmap_is_the_middle_of_its_pixels(method: str):
    """Map 16, input 64: cell 5 sees pixels 20 ... 23, whose middle is 21.5."""
    maps = torch.zeros(1, 1, 16, 16)
    maps[0, 0, 7, 5] = 1
    assert models.landmarks_of([torch.rand(1, 1, 16, 16), maps], 64, method).tolist() == [[[21.5, 29.5]]]


def test_landmarks_of_coordinates_are_the_coordinates():
    found = torch.rand(2, 5, 2)
    assert models.landmarks_of(found, 64) is found


def train_one_step(student: nn.Module, target: Tensor, images: Tensor) -> None:
    optimiser = torch.optim.AdamW(student.parameters(), lr=0.1)
    student.train()
    (models.landmarks_of(student(images), 64) - target).square().mean().backward()
    optimiser.step()


@pytest.mark.parametrize("name", ["resnet18", "fan2"])
def test_teacher_stays_bitwise_the_same(name: str):
    options = {**SMALL[name], **({"size": 64} if name == "resnet18" else {})}
    net, student = (models.create(name, landmarks=5, **options) for _ in range(2))
    student.load_state_dict(net.state_dict())
    teacher, images = models.freeze(net), torch.rand(3, 3, 64, 64)
    before = {key: value.clone() for key, value in net.state_dict().items()}
    answer = models.landmarks_of(teacher(images), 64)
    net.train()  # somebody forgets that this one is frozen
    train_one_step(student, answer, images)
    assert torch.equal(models.landmarks_of(teacher(images), 64), answer)
    assert all(torch.equal(value, before[key]) for key, value in net.state_dict().items())
    assert not torch.equal(models.landmarks_of(student(images), 64), answer)


def test_teacher_has_no_parameters_and_no_gradient():
    teacher = models.freeze(models.create("resnet18", landmarks=5, size=64, width=8))
    assert not isinstance(teacher, nn.Module)
    assert not teacher(torch.rand(1, 3, 64, 64).requires_grad_()).requires_grad
