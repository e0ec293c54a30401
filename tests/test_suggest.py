"""Which pictures to annotate next: an order known by hand, what is refused, and a page that a browser reads as it was meant."""

import base64
import csv
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor, nn

from fa_lib import acquisition, data, models, runs
from fa_lib.__main__ import main
from fa_lib.heatmaps import decode
from fa_lib.papers.self_distillation_training import DataSource, Stage
from fa_lib.suggest import PAGE, SHOWN, SIDE, TABLE, Wish, pictures, suggest
from fa_lib.training import Plan

SIZE = 32
NAMES = ["""a<b>&"c'.png""", "two  blanks.jpg", "лицо 顔.webp", "sub/{{ name }} 100%.bmp", "sub/=1+1,2.PNG"]


class Bright(nn.Module):
    """Two heatmaps with one lit cell, as high as the picture is bright, on a floor."""

    def __init__(self, floor: float = 0.0) -> None:
        super().__init__()
        self.floor = floor

    def forward(self, images: Tensor) -> list[Tensor]:
        maps = torch.zeros(len(images), 2, 16, 16)
        maps[:, 0, 4, 4] = maps[:, 1, 11, 4] = images.mean((1, 2, 3))
        return [maps + self.floor]


class Spots(nn.Module):
    """Heatmaps of three landmarks: the colours."""

    def forward(self, images: Tensor) -> list[Tensor]:
        return [images]


class Reader(HTMLParser):
    """What a browser would show: the tags with their attributes, and the text of each figure's caption and list item."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict]] = []
        self.open: list[str] = []
        self.captions: list[str] = []
        self.items: list[str] = []
        self.text = ""
        self.feed(page)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in ("meta", "img"):
            self.open.append(tag)
        self.captions += [""] if tag == "figcaption" else []
        self.items += [""] if tag == "li" else []

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data
        if "figcaption" in self.open:
            self.captions[-1] += data
        if "li" in self.open:
            self.items[-1] += data

    def all(self, tag: str) -> list[dict]:
        return [attributes for name, attributes in self.tags if name == tag]


def paint(path: Path, picture: np.ndarray | int, size: int = SIZE) -> Path:
    """Writes an RGB picture, or a grey one of one brightness."""
    picture = np.full((size, size, 3), picture, np.uint8) if isinstance(picture, int) else picture
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(cv2.imencode(path.suffix.lower(), np.ascontiguousarray(picture[..., ::-1]))[1].tobytes())
    return path


@pytest.fixture
def greys(tmp_path: Path) -> Path:
    """Ten pictures named by their brightness, whose order by name is another."""
    for value in (200, 30, 90, 10, 250, 120, 60, 150, 5, 180):
        paint(tmp_path / "greys" / f"{value}.png", value)
    return tmp_path / "greys"


def rows(out: Path) -> list[dict]:
    with (out / TABLE).open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def files(out: Path) -> list[str]:
    return [row["file"] for row in rows(out)]


def brightness(names: list[str]) -> list[int]:
    return [int(Path(name).stem) for name in names]


# -- the order --


@pytest.mark.parametrize(
    ("discard", "expected"), [(0.0, [5, 10, 30]), (0.1, [10, 30, 60]), (0.29, [30, 60, 90]), (0.7, [180, 200, 250])]
)
@pytest.mark.parametrize("function", ["nnm", "entropy"])
def test_dark_pictures_come_first_after_the_darkest(function, discard: float, expected: list, greys: Path, tmp_path: Path):
    wish = Wish(3, function, discard, crops=True)
    said = suggest(Bright(0.001 if function == "entropy" else 0.0), SIZE, "bright", greys, tmp_path / "out", wish)
    assert brightness(files(tmp_path / "out")) == expected
    assert "3 of 10 pictures" in said and said.endswith("no face found: 0")
    assert (f"discarded as hardest: {int(discard * 10)}" in said) == (discard > 0)


def test_table_has_rank_score_and_box(greys: Path, tmp_path: Path):
    suggest(Bright(), SIZE, "bright", greys, tmp_path / "out", Wish(10, discard=0, crops=True))
    found = rows(tmp_path / "out")
    assert [int(row["rank"]) for row in found] == list(range(1, 11))
    assert [float(row["score"]) for row in found] == pytest.approx(
        [-2 * v / 255 for v in brightness(files(tmp_path / "out"))], rel=1e-5
    )
    assert {tuple(float(row[edge]) for edge in ("x0", "y0", "x1", "y1")) for row in found} == {(-0.5, -0.5, 31.5, 31.5)}


def test_equally_unsure_pictures_come_in_the_order_of_their_names(tmp_path: Path):
    for i, name in enumerate("dbca"):
        picture = np.zeros((SIZE, SIZE, 3), np.uint8)
        picture[i, i] = 255  # other pixels, as bright
        paint(tmp_path / "in" / f"{name}.png", picture)
    suggest(Bright(), SIZE, "bright", tmp_path / "in", tmp_path / "out", Wish(3, discard=0.25, crops=True))
    assert files(tmp_path / "out") == ["b.png", "c.png", "d.png"]


def test_scores_do_not_depend_on_the_batches(tmp_path: Path):
    """More pictures than go through the network at once, at the crops' size: each scores as its pixels do alone."""
    noise = np.random.default_rng(0).integers(0, 256, (70, SIZE, SIZE, 3), dtype=np.uint8)
    crops = noise // np.arange(1, 71, dtype=np.uint8).reshape(-1, 1, 1, 1)
    for i, crop in enumerate(crops):
        paint(tmp_path / "in" / f"{i:02d}.png", crop)
    suggest(Bright(), SIZE, "bright", tmp_path / "in", tmp_path / "out", Wish(70, discard=0, crops=True))
    found = {row["file"]: float(row["score"]) for row in rows(tmp_path / "out")}
    expected = acquisition.unsureness(Bright(), crops, "nnm").tolist()
    assert [found[f"{i:02d}.png"] for i in range(70)] == pytest.approx(expected, rel=1e-4)


def test_face_is_searched_where_pictures_are_no_crops(tmp_path: Path):
    x, y = np.meshgrid(np.arange(120), np.arange(90))
    for name, (cx, cy) in {"left": (40, 40), "right": (80, 50)}.items():
        spots = ((-10, -8), (10, -8), (0, 12))
        picture = np.stack([np.exp(-((x - cx - dx) ** 2 + (y - cy - dy) ** 2) / 2) for dx, dy in spots], -1)
        paint(tmp_path / "in" / f"{name}.png", (250 * picture).round().astype(np.uint8))
    paint(tmp_path / "in" / "z <none>.png", 0, 90)
    said = suggest(Spots(), SIZE, "spots", tmp_path / "in", tmp_path / "out", Wish(2))
    boxes = {row["file"]: [float(row[edge]) for edge in ("x0", "y0", "x1", "y1")] for row in rows(tmp_path / "out")}
    assert boxes["left.png"] == pytest.approx([26, 28, 54, 56], abs=0.7)  # 1.4 x 20 about the middle of the spots' box
    assert boxes["right.png"] == pytest.approx([66, 38, 94, 66], abs=0.7)
    assert said.endswith("no face found: 1 (z <none>.png)") and "2 of 2 pictures" in said
    assert Reader((tmp_path / "out" / PAGE).read_text()).items == ["z <none>.png"]


# -- the files --


def test_pictures_are_found_below_without_hidden_ones_and_other_files(tmp_path: Path):
    for name in ("b/x.JPG", "a.png", "b.webp", ".hidden/x.png", "b/._x.jpg", "notes.txt", "c.jpeg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "folder.png").mkdir()
    assert [path.relative_to(tmp_path).as_posix() for path in pictures(tmp_path)] == ["a.png", "b/x.JPG", "b.webp", "c.jpeg"]


def test_the_first_of_equal_pictures_is_kept_and_the_others_are_named(greys: Path, tmp_path: Path):
    paint(greys / "5.bmp", 5)
    paint(greys / "z" / "5.png", 5)
    paint(greys / "5 wide.png", 5, SIZE + 1)  # other pixels
    said = suggest(Bright(), SIZE, "bright", greys, tmp_path / "out", Wish(3, discard=0, crops=True))
    assert files(tmp_path / "out") == ["5 wide.png", "5.bmp", "10.png"]
    assert "duplicates left out: 2 (5.png = 5.bmp, z/5.png = 5.bmp)" in said.splitlines() and "of 11 pictures" in said


def test_name_that_is_no_text_is_kept_in_the_table(greys: Path, tmp_path: Path):
    name = b"\xff\n.png".decode(errors="surrogateescape")
    paint(greys / name, 0)
    said = suggest(Bright(), SIZE, "bright", greys, tmp_path / "out", Wish(1, discard=0, crops=True))
    assert b'1,"\xff\n.png",' in (tmp_path / "out" / TABLE).read_bytes()
    said.encode()
    assert Reader((tmp_path / "out" / PAGE).read_text()).captions[0].startswith(r"1 \udcff\n.png")


def test_page_shows_what_was_discarded(tmp_path: Path):
    for value in range(60):
        paint(tmp_path / "in" / f"{value}.png", 4 * value)
    suggest(Bright(), SIZE, "<bright>", tmp_path / "in", tmp_path / "out", Wish(4, discard=0.5, crops=True))
    page = Reader((tmp_path / "out" / PAGE).read_text())
    shown = brightness([caption.split()[1] for caption in page.captions])
    assert shown == [30, 31, 32, 33, *range(SHOWN)] and len(page.all("details")) == 1
    text = " ".join(page.text.split())
    assert "The 4 of 60 pictures of which the network <bright> is the least sure" in text
    assert "The 30 hardest (50 %) are discarded" in text and "Discarded as hardest: 30, the first 20" in text
    suggest(Bright(), SIZE, "<bright>", tmp_path / "in", tmp_path / "out", Wish(4, discard=0, crops=True))
    page = Reader((tmp_path / "out" / PAGE).read_text())
    assert not page.all("details") and len(page.all("img")) == 4 and "None is discarded" in page.text


def test_thumbnail_shows_landmarks_where_they_are(tmp_path: Path):
    picture = np.zeros((SIZE, SIZE, 3), np.uint8)
    for colour, (x, y) in enumerate(((8, 8), (24, 8), (16, 24))):
        picture[y - 1 : y + 2, x - 1 : x + 2, colour] = 255
    paint(tmp_path / "in" / "a.png", picture)
    suggest(Spots(), SIZE, "spots", tmp_path / "in", tmp_path / "out", Wish(1, discard=0, crops=True))
    shown = thumbnails(tmp_path / "out")[0].astype(int)
    for x, y in decode(torch.from_numpy(picture).permute(2, 0, 1)[None] / 255, "local")[0].tolist():
        red, green, blue = shown[round((y + 0.5) * SIDE / SIZE - 0.5), round((x + 0.5) * SIDE / SIZE - 0.5)]
        assert green > max(red, blue) + 60


def thumbnails(out: Path) -> list[np.ndarray]:
    coded = [image["src"].removeprefix("data:image/jpeg;base64,") for image in Reader((out / PAGE).read_text()).all("img")]
    read = [cv2.imdecode(np.frombuffer(base64.b64decode(one, validate=True), np.uint8), cv2.IMREAD_COLOR) for one in coded]
    return [cv2.cvtColor(one, cv2.COLOR_BGR2RGB) for one in read]


# -- what is refused --


@pytest.mark.parametrize(
    ("wish", "words"),
    [
        (Wish(11, discard=0, crops=True), "-n 11: {folder} holds 10 different pictures; ask"),
        (Wish(10, discard=0.1, crops=True), "10 different pictures, 9 without the hardest (--discard 0.1)"),
        (Wish(1), "-n 1: a face is found in 0 of 10 pictures of {folder}"),
    ],
)
def test_pool_that_is_too_small_is_refused(wish: Wish, words: str, greys: Path, tmp_path: Path, refusal):
    refusal(words.format(folder=greys), suggest, Spots(), SIZE, "spots", greys, tmp_path / "out", wish)
    assert not (tmp_path / "out").exists()


def test_network_of_coordinates_is_refused(greys: Path, tmp_path: Path, refusal):
    net = models.create("resnet18", landmarks=5, size=SIZE)
    said = refusal("resnet18/x", suggest, net, SIZE, "resnet18/x", greys, tmp_path / "out", Wish(1, crops=True))
    assert "nnm and entropy need" in said and "fan2" in said
    assert not (tmp_path / "out").exists()


def test_place_that_is_taken_is_refused_before_anything_is_read(greys: Path, tmp_path: Path, refusal):
    (greys / "bad.png").write_text("no picture")
    (tmp_path / "out" / PAGE).mkdir(parents=True)
    for out, named in ((tmp_path / "out", tmp_path / "out" / PAGE), (greys / "5.png" / "out", greys / "5.png")):
        assert "is in the way" in refusal(named, suggest, Bright(), SIZE, "bright", greys, out, Wish(1, crops=True))
    assert [path.name for path in (tmp_path / "out").iterdir()] == [PAGE]


def test_earlier_suggestions_stay_where_new_ones_fail(greys: Path, tmp_path: Path, refusal):
    suggest(Bright(), SIZE, "bright", greys, tmp_path / "out", Wish(1, crops=True))
    before = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    paint(greys / "bad.png", 7).write_bytes((greys / "5.png").read_bytes()[:-20])
    refusal(greys / "bad.png", suggest, Bright(), SIZE, "bright", greys, tmp_path / "out", Wish(2, crops=True))
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()} == before


# -- the command --


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, rendered_cache: Path) -> Iterator[runs.Run]:
    """A network that has seen four rendered faces, in a store of its own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FA_RUNS", str(tmp_path_factory.mktemp("runs")))
        patch.setenv("FA_CACHE", str(rendered_cache))
        source = DataSource("synthetic/300w", SIZE, 4, 3, 1, 2, faces=4, fingerprint="tiny")
        stage = Stage("fan2", (("width", 8), ("stride", 4), ("depth", 2)), source, Plan(epochs=1))
        yield runs.get(runs.Run("self_distillation", "tiny", "synthetic/300w", "smoke", 0, stage)).run


@pytest.fixture
def faces(trained: runs.Run, tmp_path: Path) -> Path:
    """Rendered faces under names that a page and a table must quote."""
    crops = data.load("synthetic/300w", "train", None, SIZE, len(NAMES)).crops()[0]
    for name, crop in zip(NAMES, crops, strict=True):
        paint(tmp_path / "my faces" / name, crop)
    return tmp_path / "my faces"


@pytest.mark.faults("markup in what a page shows", "file name with blanks, quotes, line breaks, other letters")
def test_command_writes_a_table_and_a_page_that_needs_no_other_file(
    trained: runs.Run, faces: Path, tmp_path: Path, capsys, injected
):
    injected("markup in what a page shows")
    for _ in NAMES:
        injected("file name with blanks, quotes, line breaks, other letters")
    written = []
    for name in (trained.id, trained.hash):
        out = tmp_path / name.replace("/", "-")
        assert main(["suggest", name, str(faces), "-n", "4", "--discard", "0.2", "--crops", "--out", str(out)]) == 0
        assert f"{out / TABLE} and {out / PAGE}: 4 of 5 pictures" in capsys.readouterr().out
        written.append({path.name: path.read_bytes() for path in out.iterdir()})
    assert written[0] == written[1] and set(written[0]) == {TABLE, PAGE}
    scores = [float(row["score"]) for row in rows(out)]
    assert set(files(out)) < set(NAMES) and scores == sorted(scores, reverse=True)
    page = Reader((out / PAGE).read_text(encoding="utf-8"))
    assert [caption.rsplit(" ", 1)[0] for caption in page.captions[:4]] == [f"{i} {n}" for i, n in enumerate(files(out), 1)]
    assert {caption.split(" ", 1)[1].rsplit(" ", 1)[0] for caption in page.captions} == set(NAMES)
    assert f"{trained.id} ({trained.hash})" in page.text
    images = page.all("img")
    assert len(images) == 5 and all(name in image["alt"] for name, image in zip(files(out), images))  # then the discarded one
    assert all(picture.shape == (SIDE, SIDE, 3) for picture in thumbnails(out))
    assert {"name": "viewport", "content": "width=device-width, initial-scale=1"} in page.all("meta")
    assert not {"script", "link", "iframe"} & {tag for tag, _ in page.tags} and "://" not in page.text
    assert not [value for _, attributes in page.tags for value in attributes.values() if value and "://" in value]


def test_bad_picture_is_named_and_left_out_only_when_asked(trained: runs.Run, faces: Path, tmp_path: Path, capsys):
    (faces / "bad.jpg").write_bytes((faces / NAMES[1]).read_bytes()[:-200])
    command = ["suggest", trained.id, str(faces), "-n", "5", "--discard", "0", "--crops", "--out", str(tmp_path / "out")]
    assert main(command) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and f"{faces / 'bad.jpg'}: the picture is cut off" in said and "--skip-bad" in said
    assert not (tmp_path / "out").exists()
    assert main([*command, "--skip-bad"]) == 0
    shown = capsys.readouterr()
    assert shown.err.count("bad.jpg") == 1 and "cannot be read, left out: 1" in shown.out.splitlines()
    assert sorted(files(tmp_path / "out")) == sorted(NAMES)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["-n", "0"], ["-n", "above 0"]),
        (["-n", "6", "--discard", "0"], ["-n 6", "5 different pictures"]),
        (["--discard", "1"], ["--discard", "'1'", "below 1"]),
        (["--discard", "nan"], ["--discard", "below 1"]),
        (["--function", "nmn"], ["nmn", "nnm"]),
        (["--skipbad"], ["--skipbad", "--skip-bad"]),
    ],
)
def test_wrong_options_are_refused(options: list, words: list, trained: runs.Run, faces: Path, tmp_path: Path, capsys):
    assert main(["suggest", trained.id, str(faces), "--crops", "--out", str(tmp_path / "out"), *options]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and all(word in said for word in words), said
    assert not (tmp_path / "out").exists()


def test_wrong_places_are_refused(trained: runs.Run, tmp_path: Path, capsys):
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").touch()
    for model, folder, words in (
        ("nothing", "empty", "fa runs list"),
        (trained.id, "empty", "0 different pictures"),
        (trained.id, "file", "is a file"),
        (trained.id, "absent", "there is no such folder"),
    ):
        assert main(["suggest", model, str(tmp_path / folder), "--out", str(tmp_path / "out")]) == 2
        said = capsys.readouterr().err
        assert said.count("\n") == 1 and words in said, said
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty", "file"]
