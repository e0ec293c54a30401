"""Which notebooks become pages, which never do, and what is written beside their numbers."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import nbformat
import pytest

from fa_lib.report import books, report

PICTURE = {"output_type": "display_data", "data": {"image/png": "aGVsbG8="}, "metadata": {}}


def described(tmp_path: Path, *cells: nbformat.NotebookNode) -> list[str | None]:
    """The alternative texts that code cells get."""
    file = tmp_path / "00_start_here.ipynb"
    nbformat.write(nbformat.v4.new_notebook(cells=list(cells)), file)
    books.write(books.Book(file, "rendered_to_real", file), tmp_path / "page.ipynb")
    found = nbformat.read(tmp_path / "page.ipynb", as_version=4).cells
    return [c.metadata.get("mystnb", {}).get("image", {}).get("alt") for c in found if c.cell_type == "code"]


def code(*outputs: dict) -> nbformat.NotebookNode:
    return nbformat.v4.new_code_cell("", outputs=[nbformat.from_dict(output) for output in outputs])


def test_pictures_are_described_by_themselves_else_by_what_stands_before(tmp_path: Path) -> None:
    words = nbformat.v4.new_markdown_cell("# Title\n\nText.\n\n**Figure 2**: what\n`is` [seen](a.md).")
    own = {**PICTURE, "metadata": {"image/png": {"alt": "Figure of\n1 panel"}}}
    told = {"output_type": "stream", "name": "stdout", "text": "no picture"}
    assert described(tmp_path, code(PICTURE), words, code(PICTURE), code(own), code(told)) == [
        "a figure", "Figure 2: what is seen.", "Figure of 1 panel", None,
    ]  # fmt: skip


def test_missing_notebooks_are_named_in_one_sentence(figures: Path) -> None:
    found = books.find("smoke", figures)
    assert [book.source.stem for book in found if book.executed] == ["01_self_distillation"]
    (sentence,) = books.missing(found, "smoke")
    assert sentence.startswith("not executed at smoke yet") and "00_start_here" in sentence and "01_" not in sentence
    assert books.missing([book for book in found if book.executed], "smoke") == []


def test_notebooks_of_real_faces_are_left_out(tmp_path: Path) -> None:
    assert books.left_out("quick", tmp_path) == []
    real = tmp_path / "quick" / "scaf" / "300w"
    real.mkdir(parents=True)
    (real / "05_scaf.ipynb").write_text("{}")
    (sentence,) = books.left_out("quick", tmp_path)
    assert "quick/scaf/300w/05_scaf.ipynb" in sentence and "rendered faces" in sentence


def test_a_notebook_executed_on_photographs_is_refused(figures: Path, tmp_path: Path, refusal: Callable[..., str]) -> None:
    shutil.copytree(figures / "smoke", tmp_path / "smoke")
    file = tmp_path / "smoke" / "self_distillation" / "01_self_distillation.ipynb"
    content = json.loads(file.read_text())
    content["metadata"]["papermill"]["parameters"]["data"] = "photos/300w"
    file.write_text(json.dumps(content))
    assert "photos/300w" in refusal(file, report, "smoke", tmp_path / "site", tmp_path)
    assert not (tmp_path / "site").exists()


@pytest.mark.parametrize(
    ("profile", "named"), [("quik", "did you mean 'quick'"), ("full", "fa reproduce --profile full")], ids=["unknown", "empty"]
)
def test_a_profile_without_notebooks_is_refused(profile: str, named: str, figures: Path, tmp_path: Path, refusal) -> None:
    assert named in refusal(profile, report, profile, tmp_path / "site", figures)


def test_a_folder_that_is_no_site_is_not_replaced(figures: Path, tmp_path: Path, refusal: Callable[..., str]) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    assert "no site" in refusal(tmp_path, report, "smoke", tmp_path, figures)
    assert (tmp_path / "thesis.txt").read_text() == "years of work"
