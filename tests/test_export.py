"""An exported file finds what torch finds; smaller precisions cost what their rounding must cost, and no more."""

import logging
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from fa_lib import export, models
from fa_lib.errors import InputError
from fa_lib.geometry import denormalise
from fa_lib.heatmaps import with_mass
from fa_lib.models.hrsupernet import HRSuperNet
from fa_lib.models.topology import PUBLISHED

SIDE, FRAME = 8, 224  # the plain net sees 8 x 8 pixels and answers in a frame of 224, where rounding hurts


class Plain(nn.Module):
    """Landmarks that are a linear function of the pixels: how far rounding can move them is a sum that can be written down."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 2, 1)
        self.head = nn.Linear(2 * SIDE * SIDE, 2 * 5)
        self.drop = nn.Dropout(0.5)  # does nothing in evaluation mode
        nn.init.constant_(self.head.bias, 0.75)

    def forward(self, images: Tensor) -> Tensor:
        return denormalise(self.head(self.drop(self.conv(images)).flatten(1)).unflatten(1, (-1, 2)), FRAME)


class Maps(nn.Module):
    """A heatmap net with what hourglasses are made of: two sizes that meet again, and batch norm before a convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.inner = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 8, 3, padding=1)
        self.norm, self.act, self.top = nn.BatchNorm2d(16), nn.ReLU(inplace=True), nn.Conv2d(16, 5, 1)

    def forward(self, images: Tensor) -> list[Tensor]:
        x = self.stem(images)
        low = nn.functional.interpolate(self.inner(nn.functional.avg_pool2d(x, 2)), scale_factor=2)
        return [with_mass(5 * self.top(self.act(self.norm(torch.cat([x, low], 1)))), 1.0)]


def pictures(count: int, side: int) -> Tensor:
    """Coloured clouds, in [0, 1]: more like photographs than noise is, whose mean hardly differs from picture to picture."""
    coarse = torch.rand(count, 3, 4, 4, generator=torch.Generator().manual_seed(count))
    return nn.functional.interpolate(coarse, size=side, mode="bicubic").clamp(0, 1)


def located(net: nn.Module, images: Tensor) -> Tensor:
    with torch.no_grad():
        return models.landmarks_of(net.eval()(images), images.shape[-1])


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[nn.Module, Path, int]]:
    """Networks in training mode, their fp32 files, and the side of their pictures."""
    torch.manual_seed(0)
    nets = {
        "plain": (Plain(), SIDE),
        "mobilenet_v2": (models.create("mobilenet_v2", landmarks=5, width=0.35), 64),
        "maps": (Maps(), 16),
        "slim": (HRSuperNet(landmarks=5, width=4, blocks=1, topology=PUBLISHED["cofw"], momentum=0.1), 64),
    }
    folder = tmp_path_factory.mktemp("onnx")
    found = {}
    for name, (net, side) in nets.items():
        net.train()
        with torch.no_grad():
            for _ in range(20):  # batch norm sees what will come, as after a training
                net(pictures(16, side))
        found[name] = net, export.to_onnx(net, folder / f"{name}.onnx", side), side
    return found


@pytest.fixture(scope="module")
def plain(exported: dict) -> tuple[Plain, Path]:
    return exported["plain"][:2]


@pytest.mark.parametrize("name", ["plain", "mobilenet_v2", "maps", "slim"])
@pytest.mark.parametrize("count", [1, 3, 70])  # 70 are computed in two batches
def test_fp32_equals_torch(exported: dict, name: str, count: int):
    net, file, side = exported[name]
    images = pictures(count, side)
    expected = located(net, images)
    assert count == 1 or expected.std(0).mean() > 0.3  # places that differ from picture to picture
    # measured: 2e-5, 2e-4 (random weights amplify what trained ones do not: there it is 6e-5), 1e-6 and 5e-4 px (the slim
    # network's untrained maps have both signs, and the sum of what is left divides the centre of mass)
    torch.testing.assert_close(export.run(file, images), expected, atol=1e-4 if name in ("plain", "maps") else 1e-3, rtol=0)


@pytest.mark.parametrize("method", ["argmax", "quarter", "local", "pdc", "box_blur"])
def test_every_decoder_fits_into_a_file(exported: dict, tmp_path: Path, method: str):
    net, _, side = exported["maps"]
    images = pictures(5, side)
    with torch.no_grad():
        expected = models.landmarks_of(net.eval()(images), side, method)
    found = export.run(export.to_onnx(net, tmp_path / "net.onnx", side, method=method), images)
    assert expected.std(0).mean() > 0.1
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=0)


def test_network_is_left_as_it_was(exported: dict, tmp_path: Path):
    net = exported["maps"][0].train()
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    export.to_onnx(net, tmp_path / "net.onnx", 16)
    assert all(torch.equal(tensor, before[name]) for name, tensor in net.state_dict().items())
    assert net.training and net.act.inplace and all(p.requires_grad for p in net.parameters())


def test_fp16_and_int8_stay_within_their_steps(plain: tuple[Plain, Path], tmp_path: Path):
    """|error| <= the sum over all inputs of |weight| x rounding of the input + |input| x rounding of the weight."""
    net, file = plain
    images = pictures(300, SIDE)

    k, w, x = net.conv.weight.detach()[..., 0, 0], net.head.weight.detach(), images.flatten(2)
    values = net.conv(images).detach().flatten(1)

    def bound(dx: Tensor, dk: Tensor, dv: Tensor, dw: Tensor) -> Tensor:
        """In pixels (N, 10), from how much pictures, kernel, the values between the layers and weights are rounded at most."""
        after_conv = torch.einsum("oc,ncp->nop", k.abs(), dx) + torch.einsum("oc,ncp->nop", dk, x + dx)
        return FRAME * ((after_conv.flatten(1) + dv) @ (w.abs() + dw).T + values.abs() @ dw.T)

    half = [2.0**-11 * tensor.abs() for tensor in (x, k, values, w)]  # a float16 has 11 binary digits
    reach = values.max().clamp(min=0) - values.min().clamp(max=0)
    step = torch.tensor(1 / 255), k.abs().amax(1, keepdim=True) / 127, reach / 255, w.abs().max() / 127
    eight = [(0.5 * s).expand_as(tensor) for s, tensor in zip(step, (x, k, values, w))]
    bounds = {"fp16": bound(*half), "int8": bound(*eight)}
    for precision, limit in bounds.items():
        small = export.shrink(file, tmp_path / f"{precision}.onnx", precision, images)
        error = (export.run(small, images) - located(net, images)).abs().flatten(1)
        assert 0 < error.max() and (error <= limit + 1e-3).all()  # 1e-3: biases and float32 have steps as well
        assert error.max() > 0.01 * limit.max(), "the bound says nothing"


def test_smaller_files_do_not_round_the_landmarks(plain: tuple[Plain, Path], tmp_path: Path):
    """What the last layer gives is float32: no eight-bit grid, and no steps of a float16 (0.11 px, a 2048th of 224)."""
    import onnx.reference

    images = pictures(300, SIDE)
    int8 = export.shrink(plain[1], tmp_path / "int8.onnx", "int8", images)
    assert len(np.unique(export.run(int8, images))) > 1000  # of 3000
    fp16 = export.shrink(plain[1], tmp_path / "fp16.onnx", "fp16")
    # onnxruntime computes float16 in float32 on most CPUs; ONNX's own evaluator does what the file says
    landmarks = onnx.reference.ReferenceEvaluator(str(fp16)).run(None, {"pictures": images.numpy()})[0]
    steps = (landmarks + 0.5) / FRAME * 2048
    assert landmarks.dtype == np.float32 and np.abs(steps - steps.round()).mean() > 0.2
    np.testing.assert_allclose(landmarks, located(plain[0], images), atol=0.2)


def test_heatmaps_are_decoded_in_float32(exported: dict, tmp_path: Path):
    net, file, side = exported["maps"]
    images = pictures(40, side)
    for precision, most in (("fp16", 0.01), ("int8", 0.2)):  # measured: 0.001 and 0.02 px of 16
        small = export.shrink(file, tmp_path / f"{precision}.onnx", precision, images)
        assert 0 < (export.run(small, images) - located(net, images)).abs().max() < most


def test_files_are_as_large_as_their_weights(exported: dict, tmp_path: Path):
    net, file, side = exported["mobilenet_v2"]
    small = [export.shrink(file, tmp_path / f"{p}.onnx", p, pictures(4, side)) for p in ("fp16", "int8")]
    fp32, fp16, int8 = (path.stat().st_size for path in (file, *small))
    assert abs(fp32 / (4 * models.count_parameters(net)) - 1) < 0.05
    assert 0.5 < fp16 / fp32 < 0.56 and int8 < 0.85 * fp16  # a narrow net has much that is no weight
    assert set(tmp_path.iterdir()) == set(small)  # each file holds all that it needs


def test_int8_is_computed_in_int8(exported: dict, tmp_path: Path):
    import onnx
    import onnxruntime

    file, side = exported["mobilenet_v2"][1:]
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "as_run.onnx")
    options.log_severity_level = 3
    onnxruntime.InferenceSession(export.shrink(file, tmp_path / "int8.onnx", "int8", pictures(4, side)), options)
    as_run = Counter(node.op_type for node in onnx.load(tmp_path / "as_run.onnx").graph.node)
    assert as_run["QLinearConv"] == 52 and not {"Conv", "FusedConv"} & set(as_run)


def test_a_file_of_each_precision(plain: tuple[Plain, Path], tmp_path: Path):
    found = export.write_all(plain[0], tmp_path, SIDE)
    assert list(found) == ["fp32", "fp16", "int8"] == [file.stem for file in found.values()]
    assert found["fp32"].stat().st_size == plain[1].stat().st_size


@pytest.mark.parametrize("precision", export.PRECISIONS)
def test_file_says_what_it_takes_and_not_where_it_was_made(plain: tuple[Plain, Path], tmp_path: Path, precision: str):
    import onnx

    file = export.shrink(plain[1], tmp_path / "net.onnx", precision, pictures(4, SIDE))
    notes = {entry.key: entry.value for entry in onnx.load(file).metadata_props}
    assert "[0, 1]" in notes["input"] and "x before y" in notes["output"] and notes["precision"] == precision
    assert not [word for word in (b"fa_lib", b".py", str(tmp_path).encode()) if word in file.read_bytes()]
    onnx.checker.check_model(onnx.load(file), full_check=True)


def test_to_onnx_writes_small_files_itself_and_says_nothing(plain: tuple[Plain, Path], tmp_path: Path, capfd, recwarn, caplog):
    file = export.to_onnx(plain[0], tmp_path / "net.onnx", SIDE, "int8", pictures(8, SIDE))
    again = export.shrink(plain[1], tmp_path / "again.onnx", "int8", pictures(8, SIDE))
    assert torch.equal(export.run(file, pictures(3, SIDE)), export.run(again, pictures(3, SIDE)))
    assert capfd.readouterr() == ("", "") and not recwarn.list
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


def test_failing_export_speaks_and_leaves_nothing(tmp_path: Path):
    class Branching(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            return images[:, :2, :, 0].mT if images.mean() > 0 else images[:, :2, 0].mT

    with pytest.raises(torch.onnx.OnnxExporterError):
        export.to_onnx(Branching(), tmp_path / "net.onnx", SIDE)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"precision": "fp8"}, "fp16"),
        ({"file": "nowhere/net.onnx"}, "no folder"),
        ({"file": "net.onxx"}, "ends in .onnx"),
        ({"size": 9}, "9 x 9"),
        ({"precision": "int8"}, "int8 needs pictures"),
        ({"precision": "int8", "pictures": pictures(0, SIDE)}, "int8 needs pictures"),
        ({"precision": "int8", "pictures": pictures(2, 9)}, r"\(N, 3, 8, 8\), not \(2, 3, 9, 9\)"),
        ({"precision": "int8", "pictures": 255 * pictures(2, SIDE)}, "divide bytes by 255"),
        ({"precision": "int8", "pictures": pictures(2, SIDE).byte()}, "divide bytes by 255"),
        ({"precision": "int8", "pictures": torch.full((2, 3, SIDE, SIDE), float("nan"))}, "in \\[0, 1\\]"),
    ],
)
def test_wrong_input_is_refused(tmp_path: Path, change: dict, says: str):
    arguments = {"file": "net.onnx", "size": SIDE} | change
    arguments["file"] = tmp_path / arguments["file"]
    with pytest.raises(InputError, match=says):
        export.to_onnx(Plain(), **arguments)
    assert not list(tmp_path.iterdir())


def test_wrong_files_are_refused(plain: tuple[Plain, Path], tmp_path: Path):
    with pytest.raises(InputError, match="there is no file"):
        export.session(tmp_path / "net.onnx")
    (tmp_path / "text.onnx").write_text("no network")
    with pytest.raises(InputError, match="is no ONNX file"):
        export.run(tmp_path / "text.onnx", pictures(1, SIDE))
    with pytest.raises(InputError, match=r"\(N, 3, 8, 8\)"):
        export.run(plain[1], pictures(1, 9))
    fp16 = export.shrink(plain[1], tmp_path / "fp16.onnx", "fp16")
    with pytest.raises(InputError, match="is fp16"):
        export.shrink(fp16, tmp_path / "net.onnx", "int8", pictures(2, SIDE))


def test_latency_counts_its_calls_and_orders_its_quartiles():
    calls = []

    def call() -> None:
        time.sleep(0.002 if calls else 0.6)  # the first is slow, as it is
        calls.append(1)

    assert export.latency(call, repeats=1, warm_up=1).high_ms < 300
    found = export.latency(call, repeats=7, warm_up=2)
    assert len(calls) == 2 + 9
    assert 2 <= found.low_ms <= found.median_ms <= found.high_ms
    assert found.fps == pytest.approx(1000 / found.median_ms) and found.fps <= 500
    with pytest.raises(InputError, match="at least one"):
        export.latency(call, repeats=0)
