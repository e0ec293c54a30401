"""`fa suggest MODEL FOLDER`: which of a user's unlabelled pictures to annotate next, as a table and as a page to look at.

This is a round of paper 5's active learning (section 3.2) on pictures of one's own: all of them are scored by how unsure the
network is (`acquisition.nnm` or `spatial_entropy`), the hardest tenth is discarded, and the next `count` are suggested.
Everything happens on this machine. EXIF rotation is ignored, as everywhere in the project: boxes are in pixels as stored.
The search of faces (`tracking.Tracker.search`) is as good as the network and misses hard faces first; crops need none.
"""

import base64
import csv
import hashlib
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
import torch
from torch import Tensor, nn

from fa_lib import storage
from fa_lib.acquisition import choose, discard_hardest, in_batches, unsureness
from fa_lib.data.crops import cut_face
from fa_lib.data.faces import Progress
from fa_lib.data.readers.files import PICTURES, read_image
from fa_lib.errors import InputError
from fa_lib.heatmaps import decode, to_input
from fa_lib.tracking import Tracker

SUFFIXES = (*PICTURES, ".webp")
BATCH = 64  # crops that go through the network at once: memory does not grow with the folder
SHOWN, NAMED = 20, 10  # thumbnails of discarded faces, names in a line of the report
SIDE = 192  # thumbnails, in pixels
TABLE, PAGE = "suggestions.csv", "suggestions.html"


@dataclass(frozen=True)
class Wish:
    """What is asked for: `count` pictures, by `function`, after the `discard` share of hardest faces is left out.

    `crops`: the pictures are crops already, a face's tight box x 1.4; else the network searches the face. `skip_bad`: a picture
    that cannot be read is named and left out, instead of ending everything.
    """

    count: int = 50
    function: Literal["nnm", "entropy"] = "nnm"
    discard: float = 0.1
    crops: bool = False
    skip_bad: bool = False


@dataclass
class Pool:
    """The pictures of a folder: `files` with a face in `boxes` (N, 4) x0 y0 x1 y1 and its scores (N,), and those without."""

    files: list[Path] = field(default_factory=list)
    boxes: list[np.ndarray] = field(default_factory=list)
    scores: Tensor = field(default_factory=lambda: torch.zeros(0))
    faceless: list[Path] = field(default_factory=list)
    twins: list[tuple[Path, Path]] = field(default_factory=list)  # a picture, and the earlier one with the same pixels
    bad: int = 0


def suggest(net: nn.Module, size: int, model: str, folder: Path, out: Path, wish: Wish) -> str:
    """Writes `suggestions.csv` and `suggestions.html` into `out`, both or none; returns what to tell the user, in lines.

    `net` is a heatmap network that learned crops of `size` pixels, `model` its name. The table has a line for each suggestion,
    the least sure first: rank from 1, file (below `folder`), score (greater is less sure), and the crop's x0, y0, x1, y1 in
    pixels of the picture, whose first pixel reaches from -0.5 to 0.5. The order is the same each time: of equally unsure
    faces the first file comes first.

    Raises InputError for a network without heatmaps, a picture that cannot be read, and fewer pictures than asked for.
    """
    _check_places(folder, out)
    if isinstance(_output(net, np.zeros((1, size, size, 3), np.uint8)), Tensor):
        raise InputError(
            f"{model}: finds coordinates without heatmaps, which both --function nnm and entropy need; choose a run of a "
            "heatmap network, such as fan2 or hrnet_w18"
        )
    pool = Pool()
    files = _distinct(folder, pool, wish)
    _check_count(len(files), f"{folder} holds {len(files)} different pictures", wish)
    _score(net, size, folder, files, pool, wish)
    _check_count(len(pool.files), f"a face is found in {len(pool.files)} of {len(files)} pictures of {folder}", wish)
    chosen = choose(pool.scores, wish.count, wish.discard)
    hardest = len(pool.files) - len(discard_hardest(pool.scores, wish.discard))
    discarded = choose(pool.scores, hardest) if hardest else []
    page = _page(net, size, model, folder, pool, chosen, discarded, wish)
    with storage.new_file(out / TABLE) as table_part, storage.new_file(out / PAGE) as page_part:
        with table_part.open("w", newline="", encoding="utf-8", errors="surrogateescape") as file:  # names are bytes on Linux
            rows = csv.writer(file, lineterminator="\n")
            rows.writerow(["rank", "file", "score", "x0", "y0", "x1", "y1"])
            for rank, i in enumerate(chosen, 1):
                box = [f"{edge:.2f}" for edge in pool.boxes[i]]
                rows.writerow([rank, pool.files[i].relative_to(folder).as_posix(), f"{pool.scores[i]:.6g}", *box])
        page_part.write_text(page, encoding="utf-8")
    return _report(folder, out, pool, len(chosen), hardest)


def pictures(folder: Path) -> list[Path]:
    """The pictures in a folder and those below it, in the order of their names; hidden ones are none (macOS leaves `._a.jpg`)."""
    found = (path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES and not path.is_dir())
    return sorted(path for path in found if not any(part.startswith(".") for part in path.relative_to(folder).parts))


def _check_places(folder: Path, out: Path) -> None:
    if not folder.is_dir():
        what = "is a file" if folder.exists() else "there is no such folder"
        raise InputError(f"{folder}: {what}; give the folder that holds your pictures")
    there = next(place for place in (out, *out.absolute().parents) if place.exists())
    taken = [place for place in (out / TABLE, out / PAGE) if place.is_dir()]
    if taken or not there.is_dir():
        raise InputError(f"--out {out}: {(taken or [there])[0]} is in the way; choose another folder")


def _check_count(pool: int, counted: str, wish: Wish) -> None:
    left = len(discard_hardest(torch.zeros(pool), wish.discard))
    if wish.count > left:
        after = f", {left} without the hardest (--discard {wish.discard:g})" if left < pool else ""
        crops = "" if wish.crops else ", or crops of faces with --crops, which need no search"
        raise InputError(f"-n {wish.count}: {counted}{after}; ask for fewer, or give more pictures{crops}")


def _output(net: nn.Module, crops: np.ndarray) -> Tensor | list[Tensor]:
    with torch.no_grad():
        return net(next(in_batches(net, crops, BATCH)))


def _distinct(folder: Path, pool: Pool, wish: Wish) -> list[Path]:
    """The pictures that differ in their pixels; all are read before the network starts, which takes longer."""
    found, first, report = pictures(folder), {}, Progress(f"reading {folder}", "pictures")
    for done, path in enumerate(found, 1):
        try:
            picture = read_image(path)
        except InputError as error:
            if not wish.skip_bad:
                raise InputError(f"{error}; --skip-bad leaves out what cannot be read") from error
            print(f"left out: {error}", file=sys.stderr)
            pool.bad += 1
        else:
            pixels = hashlib.sha256(str(picture.shape).encode() + picture.tobytes()).digest()
            if first.setdefault(pixels, path) != path:
                pool.twins.append((path, first[pixels]))
        report(done, len(found))
    return list(first.values())


def _score(net: nn.Module, size: int, folder: Path, files: list[Path], pool: Pool, wish: Wish) -> None:
    """Fills the pool: where the face is in each picture, and how unsure the network is of it."""
    tracker, report, crops, scores = Tracker(net, size), Progress(f"scoring {folder}", "pictures"), [], []
    for done, path in enumerate(files, 1):
        picture = read_image(path)
        box = np.array([0, 0, *picture.shape[1::-1]]) - 0.5 if wish.crops else tracker.search(picture)
        if box is None:
            pool.faceless.append(path)
        else:
            pool.files.append(path)
            pool.boxes.append(box)
            crops.append(_cut(picture, box, size))
        if crops and (len(crops) == BATCH or done == len(files)):
            scores.append(unsureness(net, np.stack(crops), wish.function, BATCH))
            crops = []
        report(done, len(files))
    pool.scores = torch.cat(scores) if scores else pool.scores


def _cut(picture: np.ndarray, box: np.ndarray, side: int) -> np.ndarray:
    """What a box shows, (side, side, 3); where the box is not square or leaves the picture, the rest is black."""
    return cut_face(picture, np.zeros((1, 2)), side, 1.0, box)[0]


def _thumbnails(net: nn.Module, size: int, pool: Pool, chosen: list[int]) -> Iterator[str]:
    """Faces with their landmarks, as data URIs of JPEGs."""
    for start in range(0, len(chosen), BATCH):
        read = [(read_image(pool.files[i]), pool.boxes[i]) for i in chosen[start : start + BATCH]]
        maps = _output(net, np.stack([_cut(picture, box, size) for picture, box in read]))[-1].float()
        landmarks = to_input(decode(maps, "local"), size / maps.shape[-1])
        for (picture, box), points in zip(read, ((landmarks.cpu().numpy() + 0.5) * SIDE / size - 0.5), strict=True):
            face = cv2.cvtColor(_cut(picture, box, SIDE), cv2.COLOR_RGB2BGR)
            for radius, colour in ((2.5, (0, 0, 0)), (1.5, (80, 255, 80))):  # seen on light and on dark skin
                for x, y in np.round(points * 16).astype(int).tolist():  # in sixteenths of a pixel
                    cv2.circle(face, (x, y), round(radius * 16), colour, -1, cv2.LINE_AA, shift=4)
            coded = cv2.imencode(".jpg", face, [cv2.IMWRITE_JPEG_QUALITY, 85])[1]
            yield "data:image/jpeg;base64," + base64.b64encode(coded.tobytes()).decode()


def _name(folder: Path, path: Path) -> str:
    """A file's name as it can be shown in a line: what cannot be printed is escaped."""
    name = path.relative_to(folder).as_posix()
    return name if name.isprintable() else ascii(name)[1:-1]


def _named(names: list[str]) -> str:
    more = f" and {len(names) - NAMED:,} more" if len(names) > NAMED else ""
    return f"{len(names):,}" + (f" ({', '.join(names[:NAMED])}{more})" if names else "")


def _report(folder: Path, out: Path, pool: Pool, count: int, hardest: int) -> str:
    twins = [f"{_name(folder, path)} = {_name(folder, first)}" for path, first in pool.twins]
    lines = [f"{out / TABLE} and {out / PAGE}: {count:,} of {len(pool.files):,} pictures to annotate next"]
    lines += [f"discarded as hardest: {hardest:,}"] if hardest else []
    lines += [f"cannot be read, left out: {pool.bad:,}"] if pool.bad else []
    lines += [f"duplicates left out: {_named(twins)}"] if twins else []
    return "\n".join([*lines, f"no face found: {_named([_name(folder, path) for path in pool.faceless])}"])


def _page(
    net: nn.Module, size: int, model: str, folder: Path, pool: Pool, chosen: list[int], discarded: list[int], wish: Wish
) -> str:
    """The page: HTML that needs no other file."""
    from jinja2 import Environment  # comes with torch

    shown = discarded[:SHOWN]
    rows = [
        {"file": _name(folder, pool.files[i]), "score": f"{pool.scores[i]:.4g}", "picture": picture}
        for i, picture in zip(chosen + shown, _thumbnails(net, size, pool, chosen + shown), strict=True)
    ]
    function = {"nnm": "negative neighbourhood magnitude (NNM)", "entropy": "spatial entropy"}[wish.function]
    return Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True).from_string(TEMPLATE).render(
        suggested=rows[: len(chosen)], shown=rows[len(chosen) :], discarded=len(discarded), pool=pool, model=model,
        function=function, wish=wish, faceless=[_name(folder, path) for path in pool.faceless],
    )  # fmt: skip


TEMPLATE = """\
{% macro grid(faces, alt) %}
<div class="grid">
{% for face in faces %}
<figure>
<img src="{{ face.picture }}" alt="{{ alt }} {{ loop.index }}: {{ face.file }}, with the landmarks that the network finds">
<figcaption><b>{{ loop.index }}</b> {{ face.file }} <small>{{ face.score }}</small></figcaption>
</figure>
{% endfor %}
</div>
{% endmacro %}
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<title>Pictures to annotate next</title>
<style>
:root { color-scheme: light dark; }
body { font: 1rem/1.5 system-ui, sans-serif; max-width: 70rem; margin: 0 auto; padding: 1rem; }
p { max-width: 45rem; }
.grid { display: grid; grid-template-columns: repeat(auto-fill, minmax(8.5rem, 1fr)); gap: 1rem; margin: 1rem 0; }
figure { margin: 0; }
img { width: 100%; aspect-ratio: 1; display: block; border-radius: 0.25rem; }
figcaption, li, p { overflow-wrap: anywhere; }
figcaption { line-height: 1.3; margin-top: 0.25rem; }
small { opacity: 0.75; white-space: nowrap; }
summary { cursor: pointer; padding: 0.5rem 0; }
</style>
</head>
<body>
<main>
<h1>Pictures to annotate next</h1>
<p>The {{ suggested | length }} of {{ pool.files | length }} pictures of which the network {{ model }} is the least sure, the
least sure first, by its {{ function }}: the greater the number beside a name, the less sure it is (active learning, SCAF, section
3.2). {% if discarded %}The {{ discarded }} hardest ({{ "%g" % (100 * wish.discard) }} %) are discarded before, since a face
that is hidden almost wholly teaches nothing.{% else %}None is discarded as too hard.{% endif %}

{{ "The pictures are taken as crops of one face each." if wish.crops else "The network itself has searched the faces." }}
{% if pool.twins %}Left out with the same pixels as another: {{ pool.twins | length }}.{% endif %}

{% if pool.bad %}Left out since they cannot be read: {{ pool.bad }}.{% endif %}
</p>
{{ grid(suggested, "Rank") }}
{% if discarded %}
<details>
<summary>Discarded as hardest: {{ discarded }}
{%- if shown | length < discarded %}, the first {{ shown | length }}{% endif %}</summary>
{{ grid(shown, "Discarded") }}
</details>
{% endif %}
{% if faceless %}
<details>
<summary>No face found: {{ faceless | length }}; the network may miss the very faces that it should learn</summary>
<ul>
{% for name in faceless %}
<li>{{ name }}</li>
{% endfor %}
</ul>
</details>
{% endif %}
</main>
</body>
</html>
"""
