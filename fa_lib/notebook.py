"""What the notebooks use besides the package: checked parameters, source listings, pictures, things to play with, exercises."""

import inspect
import io
import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure

from fa_lib import alt_text, heatmaps, losses, plots, storage
from fa_lib.data import manifests
from fa_lib.data.readers import own
from fa_lib.errors import InputError
from fa_lib.exercises import check as check
from fa_lib.exercises import check_again as check_again
from fa_lib.exercises import run_cell as run_cell


def settings(**parameters: Any) -> Any:
    """The notebook's parameters, checked: an unknown profile, a folder that is not there or a misspelt name is refused.

    Returns an object with `profile`, `root` (folder or manifest of real data, or None), `own` (it is a manifest) and `seeds`
    (None: all of the profile).
    `$FA_PROFILE` replaces the profile "quick", so that the test suite can run the notebooks as they are, only smaller. From here
    on, figures that the notebook shows carry an alternative text.

    >>> settings(profile="smoke", data="synthetic").root is None
    True
    """
    from pydantic import BaseModel, ConfigDict, Field, ValidationError

    from fa_lib.runs import PROFILES

    class Parameters(BaseModel):
        model_config = ConfigDict(extra="forbid", strict=True)
        profile: str = "quick"
        data: str = "synthetic"  # or the folder of 300-W, or a user's own manifest
        seeds: int = Field(0, ge=0, description="how many seeds; 0: all of the profile")

    try:
        given = Parameters(**parameters)
    except ValidationError as error:
        first = error.errors()[0]
        raise InputError(f"parameter {first['loc'][0]!r}: {first['msg'].lower()}; there are profile, data and seeds") from error
    profile = os.environ.get("FA_PROFILE", given.profile) if given.profile == "quick" else given.profile
    if profile not in PROFILES:
        raise InputError(f"profile={profile!r}: choose one of {', '.join(PROFILES)}")
    root = None if given.data == "synthetic" else str(Path(given.data).expanduser())
    if root is not None and not (Path(root).is_file() if own.is_manifest(root) else Path(root).is_dir()):
        raise InputError(
            f"data={given.data!r}: there is no such folder or manifest; give the folder of 300-W, a .yaml file that describes "
            "faces of your own, or 'synthetic'"
        )
    alt_text.tell_figures()
    return _Settings(profile, root, given.seeds or None)


class _Settings:
    """Checked parameters of a notebook."""

    def __init__(self, profile: str, root: str | None, seeds: int | None) -> None:
        self.profile, self.root, self.seeds, self.own = profile, root, seeds, own.is_manifest(root)


def show_source(thing: Callable | type, doc: bool = False) -> Any:
    """The source of a function or class of the package, with its file; without the docstring unless `doc`.

    The notebooks argue, the package defines: what is shown is what runs.
    """
    from IPython.display import Code

    source = inspect.getsource(thing)
    if not doc and (text := thing.__doc__):
        quoted = f'"""{text}"""'
        source = source.replace(quoted, '"""..."""', 1) if quoted in source else source
    place = Path(inspect.getsourcefile(thing) or "").relative_to(storage.PROJECT)
    return Code(f"# {place}\n{source}", language="python")


def photo(figure: Figure) -> Any:
    """A figure that holds many pictures, to be shown as JPEG: a fifth of the bytes, so that a notebook stays small."""
    from IPython.display import Image

    buffer = io.BytesIO()
    with plots.style():
        plots.settle(figure)
        figure.savefig(buffer, format="jpeg", dpi=110, pil_kwargs={"quality": 82})
    return Image(data=buffer.getvalue(), format="jpeg", alt=alt_text.of(figure))


WHO = {"open link": "anyone, by link", "form": "on request, by form", "local": "nobody any more"}


def data_sets() -> pd.DataFrame:
    """What the manifests say of every real data set, a line each; "–" where it is not known, or not there.

    Columns: points a face; faces (or clips) of each split; who may download it; size of its archives; terms, in short;
    imitation, the rendered set that stands in for it.
    """
    lines, every = {}, manifests.names()
    for name in every:
        one = manifests.load(name)
        if one.get == "rendered":
            continue
        counts = [f"{split} {part.expected:,}" for split, part in one.splits.items() if part.expected]
        sizes = dict.fromkeys(archive.size for archive in one.archives if archive.size)
        lines[name] = {
            "points": one.scheme or "–",
            "faces" if one.unit == "faces" else "clips": ", ".join(counts),
            "who may download it": WHO[one.get],
            "size": " + ".join(sizes) or "–",
            "terms": re.sub(r" \(.*?\)", "", one.terms).split(". ")[0].rstrip("."),
            "imitation": f"synthetic/{name}" if f"synthetic/{name}" in every else "–",
        }
    found = pd.DataFrame.from_dict(lines, orient="index").fillna("–")
    return found[["points", "faces", "clips", "who may download it", "size", "terms", "imitation"]]


KNOBS = {  # what turns at a head: an array of its parameters, a column by number or name; least and greatest value
    "yaw [degrees]": ("pose", 0, -90, 90),
    "pitch [degrees]": ("pose", 1, -30, 30),
    "smile": ("expression", "smile", -0.3, 1.3),
    "open mouth": ("expression", "jaw_open", 0.0, 1.6),
    "shut eyes": ("expression", ("left_eye_close", "right_eye_close"), -0.3, 1.0),
    "light from the side [degrees]": ("light", 0, -100, 100),
}


def posed(values: dict[str, float], person: int = 0, size: int = 192, points: int = 68) -> tuple[np.ndarray, np.ndarray]:
    """A rendered person, number `person`, with some of KNOBS set: picture (size, size, 3) and landmarks (points, 2) in it."""
    from fa_lib.data.synthetic import people  # it paints its textures on import, which the other notebooks need not wait for
    from fa_lib.data.synthetic.deform import EXPRESSION_NAMES
    from fa_lib.data.synthetic.render import render

    one = people.sample(1, np.random.default_rng(person), difficulty="clip")
    arrays = {"pose": 0 * one.pose, "expression": 0 * one.expression, "light": one.light.copy()}
    for name, value in values.items():
        array, column, *_ = KNOBS[name]
        named = (column,) if isinstance(column, str) else column
        arrays[array][:, [EXPRESSION_NAMES.index(n) for n in named] if array == "expression" else column] = value
    images, landmarks, _ = render(one.change(**arrays), size, points=points)
    return images[0], landmarks[0]


def head_explorer(person: int = 4, values: int = 5) -> Any:
    """A rendered head with a slider for each of KNOBS, where a person runs the notebook; elsewhere a picture of some values."""
    if not _somebody_is_there():
        return photo(_head_sheet(person, values))
    import ipywidgets
    from IPython.display import display

    sliders = {
        name: ipywidgets.FloatSlider(0, min=low, max=high, step=(high - low) / 40, description=name.split(" [")[0])
        for name, (_, _, low, high) in KNOBS.items()
    }
    sliders["person"] = ipywidgets.IntSlider(person, 0, 30)

    def draw(person: int, **values: float) -> None:
        picture, landmarks = posed(values, person)
        display(photo(plots.grid_of_faces(picture[None], landmarks[None], columns=2)))

    return ipywidgets.HBox([ipywidgets.VBox(list(sliders.values())), ipywidgets.interactive_output(draw, sliders)])


def _somebody_is_there() -> bool:
    """Whether the cell's request says that it can answer questions, as notebook programs do for their users.

    papermill and nbconvert do not.
    """
    from IPython import get_ipython

    request = getattr(get_ipython(), "get_parent", dict)()
    return bool(request.get("content", {}).get("allow_stdin"))


TINY = {"color": "white", "markersize": 1.1, "markeredgewidth": 0}


def _head_sheet(person: int, values: int) -> Figure:
    """Each knob a row, from its least value to its greatest."""
    with plots.style():
        figure = Figure(figsize=(plots.WIDTH, 1.12 * plots.WIDTH / values * len(KNOBS)))
        figure.get_layout_engine().set(w_pad=0.01, h_pad=0.01, wspace=0.01, hspace=0.01)
        for axes, (name, (_, _, low, high)) in zip(figure.subplots(len(KNOBS), values), KNOBS.items()):
            for one, value in zip(axes, np.linspace(low, high, values)):
                plots.faces(one, *posed({name: value}, person, 144), styles=[TINY])
                one.set_title(f"{name.split(' [')[0]} {value:.3g}", fontsize=6.5, loc="center")
        plots.settle(figure)
    return figure


def assistance(student: Sequence[float] | np.ndarray, teacher: float, sigma: float = 0.4) -> pd.DataFrame:
    """What a teacher does to a student, one line for each place of the student; the truth is at 0 (paper 2, Eqs. 4-14).

    `student` (N,) and `teacher` are one coordinate of a landmark, in shares of the picture, with the truth at 0. Columns:
    student; region; weight, omega of Eq. 6; loss, ALoss of Eq. 10, and its slope; kd_loss and kd_slope, KD-Loss with two such
    teachers. A slope above 0 moves the student towards lower values.

    >>> assistance([0.08, 0.3, 0.5], teacher=0.4)[["region", "weight", "loss", "slope"]].round(3).to_numpy().tolist()
    [['low influence', -0.25, -0.08, -0.75], ['negative', -0.5, -0.05, 0.5], ['positive', 1.0, 0.1, 1.0]]
    """
    pred = torch.tensor(np.asarray(student, float), requires_grad=True)
    truth, taught = torch.zeros_like(pred), torch.full_like(pred, teacher).detach()
    weight = losses.weight(pred, truth, taught, sigma=sigma).detach()
    alone = losses.assistive(pred, truth, taught, sigma=sigma)
    both = 2 * losses.main_loss(pred, truth) + 2 * alone
    slope, kd_slope = (torch.autograd.grad(loss.sum(), pred, retain_graph=True)[0] for loss in (alone, both))
    region = np.select([weight == 1, weight == -0.5], ["positive", "negative"], "low influence")
    columns = {"weight": weight, "loss": alone, "slope": slope, "kd_loss": both, "kd_slope": kd_slope}
    return pd.DataFrame(
        {"student": pred.detach().numpy(), "region": region, **{n: c.detach().numpy() for n, c in columns.items()}}
    )


SPOTS = ((0.3, 0.4, 0.4), (0.08, 0.4, 0.4), (-0.3, 0.2, 0.8))  # student, teacher, sigma: a picture of each where nobody plays


def loss_explorer() -> Any:
    """Sliders for student, teacher and sigma of the assistive loss, where a person runs the notebook; elsewhere SPOTS.

    Shows the regions, and in them weight, loss and slope.
    """
    ranges = {"student": (-0.5, 0.5, 0.3), "teacher": (-0.5, 0.5, 0.4), "sigma": (0.05, 1.0, 0.4)}
    return _played(_assistance_figure, ranges, 0.01) if _somebody_is_there() else _assistance_figure(*SPOTS)


def _played(draw: Callable[[tuple], Figure], ranges: dict[str, tuple[float, float, float]], step: float) -> Any:
    """What `draw` makes of the values of some sliders, below them; `ranges`: name -> least, greatest, first value."""
    import ipywidgets
    from IPython.display import display

    sliders = {
        name: ipywidgets.FloatSlider(start, min=low, max=high, step=step, description=name, continuous_update=False)
        for name, (low, high, start) in ranges.items()
    }

    def show(**values: float) -> None:
        display(draw(tuple(values[name] for name in ranges)))

    return ipywidgets.VBox([ipywidgets.HBox(list(sliders.values())), ipywidgets.interactive_output(show, sliders)])


SHADES = {"positive": plots.SKY, "negative": plots.ORANGE, "low influence": "white"}


def _assistance_figure(*spots: tuple[float, float, float]) -> Figure:
    """A line of three panels for each (student, teacher, sigma): weight, losses and slopes against the student's place."""
    at = np.linspace(-0.5, 0.5, 500)  # none of them on a border of the regions, where the slope is a matter of taste
    panels = {"weight": {"weight": "weight"}, "loss": {"loss": "ALoss", "kd_loss": "KD-Loss of two such teachers"},
              "slope": {"slope": "ALoss", "kd_slope": "KD-Loss of two such teachers"}}  # fmt: skip
    with plots.style():
        figure = Figure(figsize=(plots.WIDTH, 0.35 + 1.6 * len(spots)))
        for row, (student, teacher, sigma) in zip(figure.subplots(len(spots), 3, squeeze=False), spots):
            curve, here = assistance(at, teacher, sigma), assistance([student], teacher, sigma).iloc[0]
            for axes, (name, curves) in zip(row, panels.items()):
                for region, colour in SHADES.items():
                    inside = (curve["region"] == region).to_numpy()
                    axes.fill_between(
                        at, 0, 1, where=inside, transform=axes.get_xaxis_transform(), color=colour, alpha=0.25, linewidth=0
                    )
                for column, label in curves.items():
                    colour = plots.BLACK if column.startswith("kd") else plots.BLUE
                    axes.plot(at, curve[column], color=colour, label=label, linewidth=1.1)
                    axes.plot(student, here[column], "o", color=colour)
                axes.axvline(teacher, color=plots.RED, linewidth=0.8, linestyle="--")
                axes.set(title=f"{name} {here[name]:.2f}", xlabel="student")
            row[0].set(title=f"{here['region']}: weight {here['weight']:.2f}", ylabel=f"sigma {sigma:g}")
        figure.legend(*figure.axes[1].get_legend_handles_labels(), loc="outside lower center", ncols=2)
        plots.settle(figure)
    return figure


def steadiness(
    error: Sequence[float] | np.ndarray, previous: float, offset: float, theta: float = 1.0, xi: float = 0.25
) -> pd.DataFrame:
    """What the Jitter loss says of a landmark found `error` (N,) right of the truth, `previous` in the frame before (paper 3).

    All in heatmap pixels along x; `offset` is how far the face really moved. The maps are Gaussians of sigma 1. Columns: error;
    psi, Eq. 4; pixel, the sum of Eq. 7 over a map; loss, their product, and its slope: above 0 it moves the landmark to the left.

    >>> steadiness([0.5, -0.5], previous=-0.5, offset=1.0, xi=1.0)[["psi", "loss"]].round(3).to_numpy().tolist()
    [[0.5, 0.171], [0.0, 0.0]]
    """
    e = torch.tensor(np.asarray(error, float), requires_grad=True)
    middle = torch.full((len(e), 1, 2), 8.0, dtype=e.dtype)
    beside, still = torch.stack([e, torch.zeros_like(e)], -1), torch.zeros_like(middle[:, 0])
    maps, target = (heatmaps.draw(at, 17, 1.0, variance="s2") for at in (middle + beside[:, None], middle))
    along = still.new_tensor([1.0, 0.0])
    psi = losses.modulation(beside, still + previous * along, still + offset * along, theta=theta, xi=xi)
    pixel = losses.geman_mcclure(maps, target, theta).sum((1, 2, 3))
    (slope,) = torch.autograd.grad((psi * pixel).sum(), e)
    columns = {"error": e, "psi": psi, "pixel": pixel, "loss": psi * pixel, "slope": slope}
    return pd.DataFrame({name: column.detach().numpy() for name, column in columns.items()})


TREMBLES = ((0.8, -0.8, 0.0, 1.0, 0.25), (0.8, 0.6, 0.0, 1.0, 0.25), (0.8, -0.8, 2.0, 1.0, 0.25))  # error ... xi, as above


def jitter_explorer() -> Any:
    """Sliders for what `steadiness` takes, where a person runs the notebook; elsewhere a picture of TREMBLES."""
    ranges = {"error": (-2, 2, 0.8), "previous": (-2, 2, -0.8), "offset": (0, 4, 0), "theta": (0.1, 3, 1), "xi": (0.05, 2, 0.25)}
    return _played(_steadiness_figure, ranges, 0.05) if _somebody_is_there() else _steadiness_figure(*TREMBLES)


def _steadiness_figure(*spots: tuple[float, float, float, float, float]) -> Figure:
    """A line of three panels for each (error, previous, offset, theta, xi): Psi, loss and slope against the error."""
    at = np.linspace(-2, 2, 400)
    with plots.style():
        figure = Figure(figsize=(plots.WIDTH, 0.2 + 1.6 * len(spots)))
        for row, (error, *rest) in zip(figure.subplots(len(spots), 3, squeeze=False), spots):
            curve, here = steadiness(at, *rest), steadiness([error], *rest).iloc[0]
            for axes, name in zip(row, ("psi", "loss", "slope")):
                axes.plot(at, curve[name], color=plots.BLUE)
                axes.plot(error, here[name], "o", color=plots.BLUE)
                axes.axvline(0, color=plots.BLACK, linewidth=0.7)
                axes.axvline(rest[0], color=plots.RED, linewidth=0.8, linestyle="--")
                axes.set(title=f"{name} {here[name]:.2f}", xlabel="error $e_t$ [heatmap px]")
            row[0].set_ylabel(f"c {rest[1]:g}, $\\Theta$ {rest[2]:g}, $\\xi$ {rest[3]:g}")
        plots.settle(figure)
    return figure
