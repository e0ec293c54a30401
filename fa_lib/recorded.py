"""`fa reproduce --from-recorded`: recorded tables, claims and figures, printed and drawn from their CSVs, without any run."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

import pandas as pd

from fa_lib import reproduce, results, runs, storage, verdicts
from fa_lib.errors import InputError
from fa_lib.papers import PAPERS
from fa_lib.redraw import FromFrame, Incomplete, save_picture

TOLD = ("split", "normaliser", "box", "profile", "size", "seeds", "device")  # columns that say where numbers come from
WORDS = ("code", "runs")  # columns of hashes, some of which may have digits alone


def redraw(slugs: list[str]) -> None:
    """Prints the recorded tables and verdicts of some papers (all: empty list), and draws their claims and figures anew.

    The same files give the same bytes. Raises InputError for an unknown paper, one of which nothing is recorded, and a CSV that
    is missing or damaged.
    """
    chosen = [reproduce.paper_named(slug) for slug in slugs] or list(PAPERS.values())
    recorded = {paper.SLUG: list(_folders(paper)) for paper in chosen}
    for slug in slugs:
        if not recorded[slug]:
            raise InputError(f"nothing of {slug} is recorded; there are: {', '.join(_every())}")
    for paper in chosen:
        for folder in recorded[paper.SLUG]:
            print(f"{paper.SLUG}, from {folder.relative_to(storage.PROJECT)}\n")
            _redraw(paper, folder)


def _every() -> list[str]:
    return [slug for slug, paper in PAPERS.items() if any(_folders(paper))]


def _folders(paper: ModuleType) -> Iterator[Path]:
    """The folders that hold recorded files of a paper: see `results.folder`."""
    for profile in (name for name, profile in runs.PROFILES.items() if profile.recorded):
        top = storage.PROJECT / "figures" / profile / paper.SLUG
        yield from (folder for folder in (top, *sorted(top.glob("*/"))) if any(folder.glob("*.*")))


def _redraw(paper: ModuleType, folder: Path) -> None:
    for picture in sorted((*folder.glob("*.svg"), *folder.glob("*.png"))):
        if not picture.with_suffix(".csv").exists():
            raise InputError(f"{picture.with_suffix('.csv')} is missing: {picture.name} is drawn from it")
    codes = _present_codes(folder)
    for file in sorted(folder.glob("tab*.csv")):
        with _named(file):
            _print_table(paper, file, codes)
    if (folder / "claims.csv").exists():
        with _named(folder / "claims.csv"):
            _print_claims(folder / "claims.csv")
    for file in sorted(folder.glob("fig*.csv")):
        with _named(file):
            print(f"{file.stem}: {_draw(paper, file)}")
    print()


@contextmanager
def _named(file: Path) -> Iterator[None]:
    """Whatever goes wrong in the block, in a sentence that names the file."""
    try:
        yield
    except InputError as error:
        raise InputError(f"{file}: {error}") from error
    except Exception as error:  # damage makes pandas and matplotlib raise whatever they meet first
        reason = (str(error).splitlines() or [type(error).__name__])[0].replace(". ", ", ")
        raise InputError(f"{file} is damaged ({reason}); `git checkout {file}` brings back what was recorded") from error


def _read(file: Path) -> pd.DataFrame:
    """A recorded CSV. Raises ValueError where it ends in the middle of a line, or where words stand among numbers.

    Matplotlib would draw these as if they were categories.
    """
    if not file.read_bytes().endswith(b"\n"):
        raise ValueError("it ends in the middle of a line")
    found = pd.read_csv(file)
    for name, column in found.select_dtypes(exclude=["number", "bool"]).items():
        numbers = pd.to_numeric(column.dropna(), errors="coerce")
        if numbers.notna().any() and numbers.isna().any() and name not in WORDS:
            raise ValueError(f"in column {name} words stand among numbers")
    return found


def _present_codes(folder: Path) -> dict[str, str]:
    """What the hashes of recorded code are now, where the claims of a folder, or proofs that code is equal, name its files."""
    files = {code: files for (files, _), code in runs.equal_code().items()}
    if (folder / "claims.csv").exists():
        with _named(folder / "claims.csv"):
            for line in _read(folder / "claims.csv").to_dict("records"):
                files |= {code: tuple(names.split(",")) for code, names in zip(line["code"].split(), line["files"].split())}
    return {code: runs.code_hash(names) for code, names in files.items()}


def _print_table(paper: ModuleType, file: Path, codes: dict[str, str]) -> None:
    found, number = _read(file), int(file.stem.removeprefix("tab"))
    print(f"table {number}: {results.numbered(paper, number).title}")
    print(results.recorded_table(paper, number, found, codes).to_string())
    print(*_origins(found), sep="\n", end="\n\n")


def _print_claims(file: Path) -> None:
    found = reproduce.draw_claims(file)
    stale = [line["claim"] for line in found.to_dict("records") if verdicts.state(line) == "stale"]
    print(*_origins(found), *(f"stale: {claim}" for claim in stale), sep="\n", end="\n\n")


def _origins(found: pd.DataFrame) -> list[str]:
    """Where the numbers of a recorded file come from: a line for each title of faces; one where there are none, for costs.

    >>> _origins(pd.DataFrame({"title": "300-W", "split": ["common", "full"], "seeds": 3}))
    ['300-W; split: common, full; seeds: 3']
    """
    lines = []
    for title, part in found.fillna({"title": ""}).groupby("title" if "title" in found else lambda _: "counted", sort=False):
        values = {name: ", ".join(map(str, part[name].dropna().unique())) for name in TOLD if name in part}
        lines.append("; ".join([title, *(f"{name}: {text}" for name, text in values.items())]))
    return lines


def _draw(paper: ModuleType, file: Path) -> str:
    """Draws a figure of numbers beside its CSV; says which file that is, or why it stays as it is."""
    number = int(file.stem.removeprefix("fig"))
    figure = paper.figures().get(number)
    if figure is None:
        raise InputError(f"{paper.SLUG} has no figure {number}")
    if not isinstance(figure, FromFrame):
        return "not drawn, since it shows faces or what networks see in them, which its CSV does not hold"
    try:
        return str(save_picture(figure.redraw(_read(file)), file.with_suffix("")).relative_to(storage.PROJECT))
    except Incomplete as reason:
        return f"not drawn, since {reason}"
