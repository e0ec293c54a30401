"""The notebooks of the site: which there are, and what is done to them before they become pages."""

import json
import re
from dataclasses import dataclass
from pathlib import Path

from fa_lib import storage
from fa_lib.errors import InputError
from fa_lib.papers import PAPERS


@dataclass(frozen=True)
class Book:
    """A notebook of the project and, where `fa reproduce` has executed it, the file that it left (else None)."""

    source: Path
    slug: str
    executed: Path | None


def find(profile: str, figures: Path) -> list[Book]:
    """The notebooks in order, each with its execution at a profile; InputError where none has one."""
    slugs = {paper.NOTEBOOK: slug for slug, paper in PAPERS.items()}
    found = []
    for source in sorted((storage.PROJECT / "notebooks").glob("*.ipynb")):
        slug = slugs.get(source.stem, "")
        file = figures / profile / slug / source.name
        found.append(Book(source, slug, file if slug and file.exists() else None))
    if not any(book.executed for book in found):
        raise InputError(f"{figures / profile} holds no executed notebook; `fa reproduce --profile {profile}` writes them")
    return found


def missing(found: list[Book], profile: str) -> list[str]:
    """One sentence on the notebooks that were not executed; none where all were."""
    names = [book for book in found if not book.executed]
    if not names:
        return []
    slugs = " ".join(book.slug for book in names if book.slug)
    listed = ", ".join(book.source.stem for book in names)
    return [f"not executed at {profile} yet, so shown as committed: {listed} (fa reproduce {slugs} --profile {profile})"]


def left_out(profile: str, figures: Path) -> list[str]:
    """One sentence on the executed notebooks of real faces; none where there are none."""
    real = sorted(str(file.relative_to(figures)) for file in (figures / profile).glob("*/*/*.ipynb"))
    why = "their data sets are not rendered, and only rendered faces may be shown"
    return [f"left out, since {why}: {', '.join(real)}"] if real else []


def write(book: Book, target: Path, stale: bool = False) -> None:
    """Writes a notebook as a page of the site: with alternative texts, and a note where its numbers are none or stale."""
    import nbformat

    notebook = nbformat.read(book.executed or book.source, as_version=4)
    if book.executed:
        _refuse_photographs(book.executed, notebook.metadata)
    _describe(notebook)
    if note := _note(book, stale):
        notebook.cells.insert(1, nbformat.v4.new_markdown_cell(note))
    nbformat.write(nbformat.from_dict(notebook), target)


def write_solutions(folder: Path) -> list[str]:
    """Writes the solutions of the exercises, their code folded; returns the names of their pages."""
    import nbformat

    folder.mkdir()
    files = sorted((storage.PROJECT / "notebooks" / "solutions").glob("*.ipynb"))
    for file in files:
        notebook = nbformat.read(file, as_version=4)
        _describe(notebook)
        for cell in notebook.cells:
            if cell.cell_type == "code":
                cell.metadata["tags"] = [*cell.metadata.get("tags", []), "hide-cell"]
        nbformat.write(notebook, folder / file.name)
    return [f"{folder.name}/{file.stem}" for file in files]


def _describe(notebook: dict) -> None:
    """Gives every picture of a notebook an alternative text."""
    caption = ""
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            caption = caption_of(cell.source) or caption
        elif alt := _alt(cell, caption):
            cell.metadata["mystnb"] = {"image": {"alt": alt}}


def _refuse_photographs(file: Path, metadata: dict) -> None:
    data = metadata.get("papermill", {}).get("parameters", {}).get("data", "synthetic")
    if data != "synthetic":
        raise InputError(f"{file}: was executed on {data}, and only rendered faces may be shown; execute it without --data")


def caption_of(text: str) -> str:
    """What stands for a figure in words where it has none of its own: the last paragraph before it, without its marks.

    >>> caption_of("One.\\n\\n**Figure 1**: all\\nlandmarks, as `dots`. Look!")
    'Figure 1: all landmarks, as dots. Look!'
    """
    last = re.sub(r"<[^>]*>", "", text).strip().split("\n\n")[-1]
    plain = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", last)  # links
    return " ".join(re.sub(r"[*`$\\#|]", "", plain).split())


def _alt(cell: dict, caption: str) -> str:
    """The alternative text of the pictures that a cell shows: their own, else the caption; "" where it shows none."""
    for output in cell.get("outputs", []):
        for kind in output.get("data", {}):
            if kind.startswith("image/"):
                about = output.get("metadata", {})
                own = about.get("alt") or about.get(kind, {}).get("alt")
                return " ".join((own or caption or "a figure").split())
    return ""


def _note(book: Book, stale: bool) -> str:
    command = f"`fa reproduce {book.slug}`"
    if not book.executed:
        return f":::{{note}}\nNot executed yet: outputs are those that do not depend on training. {command} executes it.\n:::"
    if stale:
        return f":::{{warning}}\n**Stale**: code behind numbers on this page has changed since. {command} trains anew.\n:::"
    return ""


def title_of(book: Book) -> str:
    """The first heading of a notebook."""
    cells = json.loads(book.source.read_text(encoding="utf-8"))["cells"]
    text = "".join(next(cell["source"] for cell in cells if cell["cell_type"] == "markdown"))
    return text.split("\n")[0].lstrip("# ")
