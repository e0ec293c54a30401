"""The pages of the site that are no notebooks: start, recorded verdicts, papers, data sets, the package by its docstrings."""

import ast
from collections.abc import Iterable, Sequence
from pathlib import Path

import pandas as pd
import yaml

from fa_lib import storage, verdicts
from fa_lib.data import manifests
from fa_lib.papers import PAPERS
from fa_lib.report import books

RECORDED = "desk"  # the profile whose results are committed
FACES = {"rendered": "rendered faces", "300w": "photographs of 300-W"}
WHO = {
    "open link": "anyone, by link",
    "form": "on request, by form",
    "local": "only from a copy that you have",
    "rendered": "drawn here",
}
AGES = {"stale": " (stale)", "unknown": " (age unknown)"}


def table(head: Sequence[str], lines: Iterable[Sequence[object]]) -> str:
    """A table in Markdown, in which markup that a cell holds is only text.

    >>> print(table(["a", "b"], [[1, "x|y"]]))
    | a | b |
    |---|---|
    | 1 | x\\|y |
    """
    rows = [[str(cell).replace("|", "\\|").replace("<", "&lt;").replace("\n", " ") for cell in line] for line in (head, *lines)]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows).replace("\n", f"\n|{'---|' * len(head)}\n", 1)


def start(profile: str, found: list[books.Book], claims: pd.DataFrame) -> str:
    """The first page: what this is, the notebooks, and every claim with its verdict at this profile."""
    readme = (storage.PROJECT / "README.md").read_text(encoding="utf-8")
    intro = readme.split("\n## ")[0].replace("figures/rendered_faces.png", "rendered_faces.png")
    said = readme.split("\n## Profiles\n")[1].split("\n## ")[0].strip()
    lines = [
        [f"[{books.title_of(book)}]({book.source.name})", f"executed at `{profile}`" if book.executed else "as committed"]
        for book in found
    ]
    return f"""{intro}

## Notebooks
{table(["notebook", "numbers"], lines)}

{said}

## Claims at profile {profile}
Each claim is a difference between two rows of a paper's tables. **Here** is that difference, with its 95 % interval over faces
and seeds, in the unit of the paper's table; the verdict is corrected for the number of claims. Stale: the code behind it has
changed since. Age unknown: computed before claims recorded their code.

{claims_of(claims)}
"""


def recorded(claims: pd.DataFrame) -> str:
    """The verdicts of the committed results."""
    return f"""# Recorded verdicts
Profile `{RECORDED}`, committed with the project: networks trained longer than at `quick`, on rendered faces and on the
photographs that were at hand. Numbers alone are kept of photographs.

## How many
{claims_of(claims)}
"""


def claims_of(claims: pd.DataFrame) -> str:
    """How many claims of `verdicts.collect` got which verdict, then all of them, a table a paper and kind of faces."""
    measured = claims[claims["verdict"] != verdicts.NOT_MEASURED]
    groups = sorted(measured.groupby(["slug", "faces"]), key=lambda group: list(PAPERS).index(group[0][0]))
    words = [word for word in verdicts.VERDICTS if word in set(measured["corrected"])]
    lines = [
        [f"`{slug}`", FACES.get(faces, faces), *((part["corrected"] == word).sum() for word in words)]
        for (slug, faces), part in groups
    ]
    parts = [table(["paper", "faces", *words], lines)]
    if others := [f"`{slug}`" for slug in dict.fromkeys(claims["slug"]) if slug not in set(measured["slug"])]:
        parts.append(f"Not measured at this profile yet: {', '.join(others)}.")
    for (slug, faces), part in groups:
        rows = [
            [one.claim, one.corrected + AGES.get(one.state, ""), _interval(one), _number(one.paper), f"{one.metric}, {one.split}"]
            for one in part.itertuples()
        ]
        parts.append(
            f"### `{slug}`, {FACES.get(faces, faces)}\n{table(['claim', 'verdict', 'here', 'paper', 'measured by'], rows)}"
        )
    return "\n\n".join(parts)


def _number(value: float) -> str:
    return "–" if pd.isna(value) else f"{value:.3g}"


def _interval(one) -> str:
    return "–" if pd.isna(one.here) else f"{one.here:.3g} [{one.low:.3g}, {one.high:.3g}]"


def papers(found: list[books.Book]) -> str:
    """The five papers with their notebooks, and the bibliography."""
    names = {book.slug: book.source for book in found}
    cited = (storage.PROJECT / "fa_lib" / "report" / "book" / "references.bib").read_text(encoding="utf-8")
    lines = [
        [f"{{cite:t}}`{slug}`", paper.TITLE, f"[{names[slug].stem}]({names[slug].name})"]
        for slug, paper in PAPERS.items()
        if f"{{{slug}," in cited
    ]
    return f"""# Papers
{table(["paper", "title", "notebook"], lines)}

```{{bibliography}}
:all:
```
"""


def course() -> str:
    """The course: how the notebooks are taught."""
    text = (storage.PROJECT / "notebooks" / "README.md").read_text(encoding="utf-8")
    return text.replace("(solutions)", "(solutions/00_start_here.ipynb)").replace(
        "(../data_manifests/template.yaml)", "(data.md)"
    )


def data() -> str:
    """Every data set by its manifest: what it is, who may have it, its terms and its traps."""
    parts = ["# Data sets", "No photograph comes with the project, and none is on this site. From `data_manifests/`."]
    for name in manifests.names():
        one = manifests.load(name)
        counts = ", ".join(f"{split} {part.expected:,}" if part.expected else split for split, part in one.splits.items())
        facts = {
            "name": f"`{name}`", "page": one.home and f"[{one.home}]({one.home})", "terms": one.terms, "to be had": WHO[one.get],
            "points": f"{one.scheme}, {one.index_base}-based" if one.scheme else "none", one.unit: counts,
            "normaliser": one.normaliser.replace("_", "-"), "crop": one.crop,
        }  # fmt: skip
        parts.append(f"## {one.title}\n{table(['', ''], [[key, value] for key, value in facts.items() if value])}")
        parts += [
            f"**{title}**\n\n{_list(said)}" for title, said in (("Traps", one.traps), ("Not verified", one.unverified)) if said
        ]
    return "\n\n".join(parts) + "\n"


def _list(items: Iterable[str]) -> str:
    return "\n".join(f"- {item}" for item in items)


def package() -> dict[str, str]:
    """Pages of the package by name: an index, and one for each module or package directly below fa_lib."""
    root = storage.PROJECT / "fa_lib"
    pages: dict[str, list[tuple[str, str]]] = {}
    for file in sorted(root.rglob("*.py")):
        parts = file.relative_to(root).with_suffix("").parts
        parts = parts[:-1] if parts[-1] == "__init__" else parts
        if parts and parts[-1] != "__main__":
            said = ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or ""
            pages.setdefault(parts[0], []).append((".".join(("fa_lib", *parts)), " ".join(said.split("\n\n")[0].split())))
    texts = {f"fa_lib.{name}": _modules(f"fa_lib.{name}", modules) for name, modules in pages.items()}
    lines = [[f"[`{name}`]({name}.md)", dict(pages[name.removeprefix("fa_lib.")])[name]] for name in texts]
    index = f"# The package\nFrom its docstrings.\n\n{table(['module', 'what it is'], lines)}\n"
    return {"fa_lib": index, **texts}


def _modules(name: str, modules: list[tuple[str, str]]) -> str:
    parts = [f"# {name}"]
    for module, _ in modules:
        parts += [] if module == name else [f"## {module.removeprefix(name + '.')}"]
        parts.append(f"```{{eval-rst}}\n.. automodule:: {module}\n   :members:\n   :ignore-module-all:\n```")
    return "\n\n".join(parts) + "\n"


def write_contents(target: Path, parts: dict[str, list[str]]) -> None:
    """The table of contents, as jupyter-book reads it: the pages of each part; where there are many, below the first of them."""

    def chapters(first: str, *names: str) -> list[dict]:
        others = [{"file": name} for name in names]
        return [{"file": first, "sections": others}] if len(others) > 10 else [{"file": first}, *others]

    content = {"format": "jb-book", "root": "index"}
    content["parts"] = [{"caption": caption, "chapters": chapters(*names)} for caption, names in parts.items() if names]
    target.write_text(yaml.safe_dump(content, sort_keys=False))
