"""A Sphinx extension: docstrings of this package as reStructuredText, which they are not quite; formulas as Jupyter sets them."""

import re
from typing import Any

ITEM = re.compile(r"(- |\d+\. )")
SIGNS = re.compile(r"(`[^`]*`|\*\*\w[^*]*\*\*)|([|*])")  # what is quoted or bold; else signs that mean something there


def readable(lines: list[str]) -> list[str]:
    """A docstring's lines with `|` and `*` as mere signs, and what is indented set as it stands, columns and all.

    >>> readable(["Mean |e| * 2:", "    a   first", "", ">>> 2 * 3", "6"])
    ['Mean \\\\|e\\\\| \\\\* 2:', '', '::', '', '    a   first', '', '>>> 2 * 3', '6']
    """
    found: list[str] = []
    literal, example, item = False, False, False
    for line in lines:
        blank, indented = not line.strip(), line.startswith(" ")
        example = not blank and (example or line.startswith(">>> "))
        starts, item = bool(ITEM.match(line)) and not item, bool(ITEM.match(line)) or (item and (indented or blank))
        if indented and not (item or literal or example):
            found += ["", "::", ""]
        elif (starts or literal) and not (indented or blank) and found and found[-1]:
            found.append("")
        literal = (literal and (indented or blank)) or (indented and not (item or example))
        found.append(line if literal or example else SIGNS.sub(lambda found: found[1] or "\\" + found[2], line))
    return found


def leave_formulas(app: Any, page: Any) -> None:
    """Hands formulas to MathJax as they are: Sphinx would split those of several lines, where a number such as (6) is refused."""
    from docutils import nodes

    for formula in page.findall(nodes.math_block):
        formula.children = [nodes.Text(rf"\[{formula.astext()}\]")]
        formula["nowrap"] = True


def setup(app: Any) -> dict[str, bool]:
    """Registers the extension."""

    def process(app: Any, what: str, name: str, thing: object, options: object, lines: list[str]) -> None:
        lines[:] = readable(lines)

    app.connect("autodoc-process-docstring", process)
    app.connect("doctree-read", leave_formulas)
    return {"parallel_read_safe": True}
