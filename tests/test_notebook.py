"""What the notebooks use besides the package: the table of data sets, pictures, and what there is to play with."""

import io

import jupyter_client
import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from PIL import Image

from fa_lib import losses, notebook
from fa_lib.data import manifests
from fa_lib.heatmaps import draw


def test_table_of_data_sets_has_a_line_for_every_real_set():
    found = notebook.data_sets()
    assert list(found.index) == [name for name in manifests.names() if not name.startswith("synthetic/")]
    assert found.loc["wflw"].to_dict() | {"terms": ""} == {
        "points": 98, "faces": "train 7,500, test 2,500", "clips": "–", "who may download it": "anyone, by link", "size": "–",
        "terms": "", "imitation": "synthetic/wflw",
    }  # fmt: skip
    assert found.loc["300vw", "clips"].startswith("train 50") and found.loc["300vw", "faces"] == "–"
    assert found.loc["vggface2", ["points", "who may download it", "imitation"]].tolist() == ["–", "nobody any more", "–"]
    assert found["terms"].str.len().between(5, 100).all()


def test_photo_is_a_small_jpeg_of_the_figure():
    figure = Figure(figsize=(2, 1))
    figure.subplots().imshow(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8))
    shown = Image.open(io.BytesIO(notebook.photo(figure).data))
    assert shown.format == "JPEG" and shown.size == (220, 110)


@pytest.mark.parametrize("name", notebook.KNOBS)
def test_every_knob_moves_the_picture_and_light_alone_leaves_the_landmarks(name: str):
    low, high = notebook.KNOBS[name][2:]
    (dark, first), (bright, second) = (notebook.posed({name: value}, person=4, size=64) for value in (low, high))
    assert dark.shape == (64, 64, 3) and first.shape == (68, 2)
    assert not np.array_equal(dark, bright)
    assert np.allclose(first, second, atol=1e-3) == name.startswith("light")


def test_yaw_turns_the_nose_to_the_right_of_the_picture():
    (_, left), (_, right) = (notebook.posed({"yaw [degrees]": value}, size=64) for value in (-40, 40))
    assert left[30, 0] < left[27, 0] and right[30, 0] > right[27, 0]


@pytest.fixture
def kernel():
    """A function that runs code in a kernel, for a person or not, and returns the kinds of what it shows."""
    manager, client = jupyter_client.manager.start_new_kernel(kernel_name="python3")

    def run(code: str, person: bool) -> set[str]:
        kinds: set[str] = set()
        reply = client.execute_interactive(
            code, allow_stdin=person, timeout=300, output_hook=lambda message: kinds.update(message["content"].get("data", ()))
        )
        assert reply["content"]["status"] == "ok", reply["content"]
        return kinds

    yield run
    client.stop_channels()
    manager.shutdown_kernel(now=True)


@pytest.mark.parametrize("teacher", [0.4, -0.4])
def test_assistance_is_that_of_equations_4_to_10_on_both_sides_of_the_truth(teacher: float):
    places = np.array([0.0, 0.08, 0.16, 0.3, 0.4, 0.5])
    right, left = notebook.assistance(places, teacher), notebook.assistance(-places, teacher)
    assert np.allclose(right["loss"], [0, -0.08, -0.12, -0.05, 0, 0.1])
    assert np.allclose(left["loss"], right["loss"])
    inside = [1, 3, 5]  # region and slope have no value on a border
    assert list(right["region"][inside]) == list(left["region"][inside]) == ["low influence", "negative", "positive"]
    assert np.allclose(right["slope"][inside], [-0.75, 0.5, 1]) and np.allclose(left["slope"], -right["slope"])


@pytest.mark.parametrize(("sigma", "negative"), [(0.4, True), (0.5, False)])
def test_assistance_of_two_teachers_is_kd_loss(sigma: float, negative: bool):
    places = np.linspace(0.001, 0.5, 100)
    found = notebook.assistance(places, 0.4, sigma)
    truth, teacher = torch.zeros(100, 1, 1).double(), torch.full((100, 1, 1), 0.4).double()
    pred = torch.tensor(places).view(100, 1, 1)
    one_by_one = [losses.kd_loss(*landmarks, sigma=sigma)["total"].item() for landmarks in zip(pred, truth, teacher, teacher)]
    assert np.allclose(found["kd_loss"], one_by_one)
    assert (found["kd_loss"].min() < 0) == negative
    steps, slopes = np.diff(found["kd_loss"]) / np.diff(places), found["kd_slope"].to_numpy()
    ends = np.sort(
        [slopes[:-1], slopes[1:]], 0
    )  # right of the truth the slope only grows: between two places it is between theirs
    assert ((steps > ends[0] - 1e-9) & (steps < ends[1] + 1e-9)).all()


def test_head_explorer_has_sliders_for_a_person_and_a_picture_elsewhere(kernel):
    """papermill, nbval and nbconvert say in each request that nobody is there to answer."""
    code = "from fa_lib import notebook\nnotebook.head_explorer(values=2)"
    sliders = "application/vnd.jupyter.widget-view+json"
    assert {sliders, "image/jpeg"} & kernel(code, person=False) == {"image/jpeg"}
    assert {sliders, "image/jpeg"} <= kernel(code, person=True)  # the first head is drawn at once


def test_loss_explorer_has_sliders_for_a_person_and_a_picture_elsewhere(kernel):
    code = "%matplotlib inline\nfrom fa_lib import notebook\nnotebook.loss_explorer()"
    sliders = "application/vnd.jupyter.widget-view+json"
    assert {sliders, "image/png"} & kernel(code, person=False) == {"image/png"}
    assert {sliders, "image/png"} <= kernel(code, person=True)


def test_jitter_explorer_has_sliders_for_a_person_and_a_picture_elsewhere(kernel):
    code = "%matplotlib inline\nfrom fa_lib import notebook\nnotebook.jitter_explorer()"
    sliders = "application/vnd.jupyter.widget-view+json"
    assert {sliders, "image/png"} & kernel(code, person=False) == {"image/png"}
    assert {sliders, "image/png"} <= kernel(code, person=True)


def test_steadiness_is_the_jitter_loss_and_0_at_the_truth_and_at_the_error_before():
    places = np.array([-0.4, 0.0, 0.7])
    found = notebook.steadiness(places, previous=-0.4, offset=0.5, theta=1.0, xi=0.25)
    assert np.allclose(found["loss"][:2], 0) and found["loss"][2] > 0
    assert np.allclose(found["psi"], [0, 0.4 / 0.75, 1])
    maps, target = (draw(torch.tensor([[[x, 8.0]]]).double(), 17, 1.0, variance="s2") for x in (8.7, 8.0))
    error, before, offset = (torch.tensor([[[x, 0.0]]]).double() for x in (0.7, -0.4, 0.5))
    loss = losses.jitter(maps, target, error, before, offset, theta=1.0, xi=0.25)
    assert np.isclose(found["loss"][2], 17 * 17 * loss["total"].item())


def test_steadiness_has_the_slope_of_its_loss():
    places = np.linspace(-1, 1, 41) + 0.013
    found = notebook.steadiness(np.stack([places - 1e-5, places, places + 1e-5]).ravel(), previous=0.3, offset=3.0)
    low, middle, high = found["loss"].to_numpy().reshape(3, -1)
    assert np.allclose((high - low) / 2e-5, found["slope"].to_numpy().reshape(3, -1)[1], atol=1e-4)
