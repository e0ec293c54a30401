"""What a small site is built of: a notebook with every kind of output, and claims of which most are stale."""

from pathlib import Path

import nbformat
import pandas as pd
import pytest

from fa_lib import results, runs
from fa_lib.papers import self_distillation

CELLS = {
    "title": "# Iterative self-distillation: every kind of output\nShort, for tests.",
    "parameters": 'profile = "quick"\ndata = "synthetic"\nseeds = 0',
    "setup": "import sys\nimport numpy as np\nimport pandas as pd\nfrom matplotlib.figure import Figure\n"
    "from IPython.display import Math, Markdown, display\nfrom fa_lib import notebook, plots\n"
    'chosen = notebook.settings(profile=profile, data=data, seeds=seeds)\nprint("progress", file=sys.stderr)',
    "words": "## 1 Formulas\n$$\\sigma(l) = \\sum_i \\|l_i - \\overline{l}\\|_1 \\tag{3}$$\n\n**Figure 1**: a `curve`, $y$.",
    "figure": "figure = Figure()\nfigure.subplots().plot([1, 2])\nfigure",
    "photo": "notebook.photo(plots.grid_of_faces(np.full((2, 32, 32, 3), 99, np.uint8)))",
    "wide": 'pd.DataFrame({f"a long column name {i}": ["1.23 [1.11, 1.35] (stale)"] for i in range(30)})',
    "shown": 'display(Markdown("$a^2$ and **more**"), Math("b^2"))\nprint("x" * 400)',
    "answer": "<details><summary>Answer</summary>\n\n42, by $6 \\cdot 7$\n\n</details>",
    "hidden": "print(6 * 7)",
}
TAGS = {"parameters": ["parameters"], "hidden": ["hide-cell"]}


def claims(code: str) -> pd.DataFrame:
    """A claims.csv of paper 1 whose numbers were made by code of this hash."""
    lines = [
        {"claim": c.text, "comparison": results.comparison(c), "metric": c.metric, "split": c.split, "expected": c.direction,
         "paper": c.paper, "here": -2.0, "low": -3.0, "high": -1.0, "verdict": "reproduced", "dataset": "synthetic/300w",
         "code": code, "files": "losses/landmark"}
        for c in self_distillation.CLAIMS
    ]  # fmt: skip
    return pd.DataFrame(lines)


def notebook() -> nbformat.NotebookNode:
    """A short notebook that shows every kind of output once it is executed."""
    kinds = {True: nbformat.v4.new_markdown_cell, False: nbformat.v4.new_code_cell}
    words = ("title", "words", "answer")
    cells = [kinds[name in words](text, metadata={"tags": TAGS.get(name, [])}) for name, text in CELLS.items()]
    metadata = {"kernelspec": {"name": "python3", "display_name": "Python 3"}, "language_info": {"name": "python"}}
    return nbformat.v4.new_notebook(cells=cells, metadata=metadata)


@pytest.fixture(scope="session")
def figures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as `fa reproduce` leaves it: one paper at profile smoke, all but five of its claims by code that is gone."""
    root = tmp_path_factory.mktemp("figures")
    target = root / "smoke" / "self_distillation"
    target.mkdir(parents=True)
    book = notebook()
    book.metadata["papermill"] = {"parameters": {"profile": "smoke", "data": "synthetic"}}
    nbformat.write(book, target / "01_self_distillation.ipynb")
    now, old = claims(runs.code_hash(("losses/landmark",))), claims("0" * 12)
    pd.concat([now[:5], old[5:]]).to_csv(target / "claims.csv", index=False)
    return root
