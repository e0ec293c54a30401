"""`fa report`: executed notebooks, verdicts, data sets and the package as a static site, to read without installing.

jupyter-book builds it. Neither that nor a browser that shows the site asks any other host for anything: MathJax comes from
sphinx-mathjax-offline. Pictures are of rendered faces alone.
"""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from fa_lib import storage, verdicts
from fa_lib.errors import InputError, suggest
from fa_lib.report import books, links, pages
from fa_lib.runs import PROFILES

BOOK = Path(__file__).with_name("book")  # what does not depend on results
DOTS = ((9, 12), (23, 12), (16, 18), (10, 24), (16, 26), (22, 24))  # eyes, nose and mouth
ICON = "".join(f'<circle cx="{x}" cy="{y}" r="2.6" fill="#0072b2"/>' for x, y in DOTS)
ICON = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32">{ICON}</svg>'


def report(profile: str = "quick", output: str | Path = "site", figures: Path | None = None) -> list[str]:
    """Builds the site of a profile into the folder `output`, which it replaces; returns sentences on what is not in it.

    `figures` is the folder that `fa reproduce` fills (default: that of the project). Raises InputError for an unknown profile,
    one without executed notebook, a notebook that could show photographs, an `output` that is no site, and a broken link.
    """
    if profile not in PROFILES:
        hint = suggest(profile, PROFILES)
        raise InputError(f"--profile {profile}: there is no such profile{hint}; there are: {', '.join(PROFILES)}")
    target, figures = Path(output).absolute(), figures or storage.PROJECT / "figures"
    if target.exists() and not (target / "objects.inv").is_file() and (not target.is_dir() or any(target.iterdir())):
        raise InputError(f"--output {output}: is there and is no site, so it is not replaced; name a new folder")
    found = books.find(profile, figures)
    with storage.new_folder(target) as new, tempfile.TemporaryDirectory() as folder:
        sources = Path(folder) / "book"
        _write_sources(sources, profile, found, figures)
        _build(sources, new)
        if broken := links.broken(new):
            raise InputError(f"the site has {len(broken)} broken links, so it is not kept; the first is {broken[0]}")
    return [*books.missing(found, profile), *books.left_out(profile, figures)]


def _write_sources(sources: Path, profile: str, found: list[books.Book], figures: Path) -> None:
    """Everything that jupyter-book reads: text, notebooks, table of contents."""
    shutil.copytree(BOOK, sources)
    (sources / "_static").mkdir()
    (sources / "site.css").rename(sources / "_static" / "site.css")
    (sources / "_static" / "icon.svg").write_text(ICON)
    shutil.copy(storage.PROJECT / "figures" / "rendered_faces.png", sources)
    claims = verdicts.collect(profile, figures=figures)
    stale = set(claims.query("state == 'stale'")["slug"])
    for book in found:
        books.write(book, sources / book.source.name, stale=book.slug in stale)
    solutions = books.write_solutions(sources / "solutions")
    texts = {} if profile == pages.RECORDED else {"recorded": pages.recorded(verdicts.collect(pages.RECORDED, figures=figures))}
    texts |= {"papers": pages.papers(found), "data": pages.data(), "course": pages.course()}
    package = pages.package()
    for name, text in {"index": pages.start(profile, found, claims), **texts, **package}.items():
        (sources / f"{name}.md").write_text(text, encoding="utf-8")
    parts = {"Notebooks": [book.source.stem for book in found], "Results, data, course": list(texts), "Solutions": solutions}
    pages.write_contents(sources / "_toc.yml", {**parts, "Package": list(package)})


def _build(sources: Path, target: Path) -> None:
    """Runs jupyter-book, in a process of its own: Sphinx changes much of the one that it runs in."""
    command = [sys.executable, "-c", "from jupyter_book.cli.main import main; main()", "build", "--quiet", "--builder", "html"]
    options = ["--path-output", str(sources.parent), str(sources)]
    done = subprocess.run([*command, *options], capture_output=True, text=True, cwd=sources)
    log = sources.parent / "_build" / "html"
    if done.returncode or not (log / "index.html").exists():
        said = [line for line in done.stderr.splitlines() if line.strip()] or ["nothing"]
        raise InputError(f"jupyter-book could not build the site (`make .venv/.installed` installs it) and said: {said[-1]}")
    sys.stderr.write(done.stderr)
    shutil.copytree(log, target, dirs_exist_ok=True)
