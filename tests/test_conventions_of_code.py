"""The rules that keep the package readable: floors, sizes, docstrings, and what may never be committed.

Each rule is a function that takes text and returns complaints; the tests named `..._is_caught` show that it bites.
"""

import ast
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FLOORS = {
    1: "errors storage processes whole_batch landmarks geometry heatmaps shape_model metrics scores filters boundary confidence",
    2: "models losses acquisition",
    3: "data",
    4: "training",
    5: "study results plots redraw runs sensitivity diagram export restoring tracking suggest printed exporting finding",
    6: "papers pretrained",
    7: "workers reproduce recorded equal notebook exercises alt_text verdicts consistency bench predicting",
    8: "report forecast jobs",
    9: "__main__",
}
FLOOR_OF = {name: floor for floor, names in FLOORS.items() for name in names.split()}
# 780 lines of 9,780 are what reads all papers together: verdicts, printed tables against themselves, and the exercises' hints and
# alternative texts of the course; 500 more make the site, and 100 train all papers side by side; 500 train a run in several
# processes and prove that code is equal, 350 plan for clusters, 120 notice and explain what machines do to files; 950
# measure speed beside the plain way of this field, and 150 export runs; 1,200
# find faces in pictures of one's own and say how sure they are, with the training and measuring of the network that is shipped;
# 180 draw what is recorded anew from its files
MAX_PACKAGE, MAX_PAPER, MAX_FILE, MAX_FUNCTION = 13980, 1400, 350, 60
# A training on a cluster node starts without these, so only the function that needs one imports it.
LAZY = set("papermill pydantic pooch torchvision snakemake nbformat nbclient nbconvert IPython ipywidgets".split())
LAZY |= set("onnx onnxruntime onnxscript sklearn".split())
MACHINE_PATH = re.compile(r"(?<![\w.~-])/(work|root|tmp/bash\w*)/")
PICTURE = re.compile(r"\.(png|svg|gif|webp|bmp|tiff?|pdf|ppm)$", re.IGNORECASE)
PHOTOGRAPH = re.compile(r"\.jpe?g$", re.IGNORECASE)

SOURCES = {str(path.relative_to(ROOT)): path.read_text() for path in sorted((ROOT / "fa_lib").rglob("*.py"))}
MODULES = {name.removesuffix(".py").removesuffix("/__init__").replace("/", "."): name for name in SOURCES}
PAPERS = [p.stem for p in (ROOT / "fa_lib" / "papers").glob("[a-z]*.py") if re.search(r"^CLAIMS = ", p.read_text(), re.MULTILINE)]
COMMITTED = subprocess.run(["git", "ls-files"], cwd=ROOT, check=True, capture_output=True, text=True).stdout.splitlines()
REQUIREMENTS = sorted(path.name for path in (ROOT / "requirements").glob("*.txt"))


def imported(source: str, module: str, modules: dict[str, str], is_package: bool = False, eager: bool = False) -> set[str]:
    """The modules of `modules` that `source`, the text of `module`, imports: anywhere, or (`eager`) on import."""
    found = set()
    tree = ast.parse(source)
    for node in module_level(tree) if eager else ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            here = module.split(".")[: len(module.split(".")) - node.level + is_package] if node.level else []
            base = ".".join([*here, *([node.module] if node.module else [])])
            names = [f"{base}.{alias.name}" for alias in node.names]
            names = [name if name in modules else base for name in names]  # a module, or a name inside one
        else:
            continue
        found.update(name for name in names if name in modules)
    return found - {module}


def floor_of(module: str) -> tuple[int, str]:
    """Floor and package of a module; `fa_lib` itself is below everything."""
    parts = module.split(".")
    if len(parts) == 1:
        return 0, ""
    package = parts[1] if len(parts) > 2 or f"fa_lib/{parts[1]}/__init__.py" in SOURCES else ""
    return FLOOR_OF[parts[1]], package


def floor_complaints(graph: dict[str, set[str]]) -> list[str]:
    """Imports that go up, or sideways out of a package; one inside a function counts as well."""
    complaints = []
    for module, targets in graph.items():
        floor, package = floor_of(module)
        for target in sorted(targets):
            below, package_below = floor_of(target)
            if below > floor or (below == floor and package != package_below):
                complaints.append(f"{module} (floor {floor}) imports {target} (floor {below})")
    return complaints


def circle_complaints(graph: dict[str, set[str]]) -> list[str]:
    """Modules that need each other to be there first. An import inside a function runs later: it closes no circle."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return [f"circle: {' -> '.join(error.args[1])}"]
    return []


def size_complaints(name: str, source: str) -> list[str]:
    """Files and functions that are too long to be read at one sitting."""
    lines = source.count("\n")
    complaints = [f"{name}: {lines} lines, at most {MAX_FILE}"] if lines > MAX_FILE else []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = node.end_lineno - node.lineno + 1
            if length > MAX_FUNCTION:
                complaints.append(f"{name}:{node.lineno} {node.name}: {length} lines, at most {MAX_FUNCTION}, aim at 40")
    return complaints


def module_level(tree: ast.Module) -> Iterator[ast.stmt]:
    """Statements that run on import: those of the module, and those inside its ifs, tries and classes."""
    pending = list(tree.body)
    while pending:
        node = pending.pop()
        yield node
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            pending += [child for child in ast.walk(node) if isinstance(child, ast.stmt) and child is not node]


def eager_complaints(name: str, source: str) -> list[str]:
    """Imports on module level of what must be imported lazily."""
    complaints = []
    for node in module_level(ast.parse(source)):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        names += [node.module] if isinstance(node, ast.ImportFrom) and node.module else []
        complaints += [f"{name}:{node.lineno} imports {n} on module level" for n in names if n.split(".")[0] in LAZY]
    return complaints


def docstring_complaints(name: str, source: str) -> list[str]:
    """Public functions, classes and methods that do not say what they do."""
    bodies = [("", ast.parse(source).body)]
    complaints = []
    while bodies:
        prefix, body = bodies.pop()
        for node in body:
            if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) or node.name.startswith("_"):
                continue
            if ast.get_docstring(node) is None and node.name != "forward":  # the class says what its forward does
                complaints.append(f"{name}:{node.lineno} {prefix}{node.name} has no docstring")
            if isinstance(node, ast.ClassDef):
                bodies.append((f"{node.name}.", node.body))
    return complaints


def requirement_complaints(text: str) -> list[str]:
    """Requirements without a hash, or with a place to fetch from."""
    entries = [line.strip() for line in text.replace("\\\n", " ").splitlines()]
    entries = [line for line in entries if line and not line.startswith("#")]
    no_hash = [f"no hash: {line[:60]}" for line in entries if "--hash=sha256:" not in line]
    place = re.compile(r"://| @ |--(extra-)?index|--find")
    return no_hash + [f"names a place: {line[:60]}" for line in entries if place.search(line)]


def picture_complaints(names: list[str]) -> list[str]:
    """Committed photographs, and pictures that the project did not draw into figures/."""
    return [name for name in names if PHOTOGRAPH.search(name) or (PICTURE.search(name) and not name.startswith("figures/"))]


def path_complaints(name: str, text: str) -> list[str]:
    """Paths that exist only where this was written."""
    return [f"{name}: {match.group()}" for match in MACHINE_PATH.finditer(text)]


@pytest.mark.parametrize(("complain", "eager"), [(floor_complaints, False), (circle_complaints, True)])
def test_imports_go_down_the_floors(complain: Callable[[dict[str, set[str]]], list[str]], eager: bool):
    packages = {module for module, name in MODULES.items() if name.endswith("__init__.py")}
    assert not complain({m: imported(SOURCES[f], m, MODULES, m in packages, eager) for m, f in MODULES.items()})


def test_every_module_stands_on_a_floor():
    strangers = {module.split(".")[1] for module in MODULES if "." in module} - set(FLOOR_OF)
    assert not strangers, f"give {strangers} a floor in FLOORS"


@pytest.mark.parametrize("name", SOURCES)
def test_file_is_short_and_says_what_it_does(name: str):
    source = SOURCES[name]
    complaints = size_complaints(name, source) + docstring_complaints(name, source)
    assert not complaints + ([] if name == "fa_lib/notebook.py" else eager_complaints(name, source))


def test_package_is_small():
    # without the renderer, the readers of files and the papers, each of which is read alone: no other needs it to be understood
    apart = ("data/synthetic/", "data/readers/", "papers/")
    counted = {name: source.count("\n") for name, source in SOURCES.items() if not any(part in name for part in apart)}
    assert sum(counted.values()) <= MAX_PACKAGE


@pytest.mark.parametrize("slug", PAPERS)
def test_paper_is_small(slug: str):
    mine = [source for name, source in SOURCES.items() if name.startswith(f"fa_lib/papers/{slug}")]
    assert sum(source.count("\n") for source in mine) <= MAX_PAPER


def test_package_has_no_drawer_for_odds_and_ends():
    assert not [name for name in SOURCES if re.search(r"(utils?|helpers?|misc)\.py$", name)]


def test_package_imports_without_the_notebook_tools():
    """As on a cluster node: everything but notebook.py must import where the tools of LAZY and Jupyter are absent.

    torchvision alone may come with a single network, as timm needs it: never with `fa_lib.models` or a public module.
    """
    absent = sorted(LAZY | {"jupyterlab", "jupyter_client"})
    wanted = sorted((m for m in MODULES if m != "fa_lib.notebook"), key=lambda m: m.count("."))
    program = (
        "import importlib, sys\n"
        f"for name in {absent}: sys.modules[name] = None\n"
        f"for name in {[m for m in wanted if not m.startswith('fa_lib.models.')]}: importlib.import_module(name)\n"
        "del sys.modules['torchvision']\n"
        f"for name in {wanted}: importlib.import_module(name)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]


@pytest.mark.parametrize("name", REQUIREMENTS)
def test_requirements_are_hashes_only(name: str):
    assert not requirement_complaints((ROOT / "requirements" / name).read_text())


def test_headless_build_is_the_same_version():
    lock, headless = ((ROOT / "requirements" / name).read_text() for name in ("lock.txt", "headless.txt"))
    version = re.compile(r"^opencv-python(?:-headless)?==(\S+)", re.MULTILINE)
    assert version.findall(lock) == version.findall(headless) != []


def test_no_photograph_is_committed():
    assert not picture_complaints(COMMITTED)


def test_no_path_of_one_machine_is_committed():
    complaints = []
    for name in COMMITTED:
        raw = (ROOT / name).read_bytes() if (ROOT / name).is_file() else b""
        if b"\0" not in raw:
            complaints += path_complaints(name, raw.decode(errors="replace"))
    assert not complaints


def test_ruff_is_content():
    done = subprocess.run([sys.executable, "-m", "ruff", "check", "."], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-3000:]


@pytest.mark.parametrize(
    "graph",
    [
        {"fa_lib.metrics": {"fa_lib.models.fan"}},
        {"fa_lib.losses.elt": {"fa_lib.models.fan"}},
    ],
    ids=["up", "sideways"],
)
def test_wrong_import_is_caught(graph: dict[str, set[str]]):
    assert floor_complaints(graph)


def test_circle_is_caught():
    assert circle_complaints({"fa_lib.heatmaps": {"fa_lib.geometry"}, "fa_lib.geometry": {"fa_lib.heatmaps"}})
    assert not circle_complaints({"fa_lib.heatmaps": {"fa_lib.geometry"}, "fa_lib.geometry": {"fa_lib.errors"}})


def test_imports_are_read_in_every_spelling():
    modules = dict.fromkeys(["fa_lib", "fa_lib.metrics", "fa_lib.losses", "fa_lib.losses.elt", "fa_lib.geometry"], "")
    source = "import fa_lib.metrics\nfrom . import elt\nfrom ..geometry import Affine\ndef f(): from fa_lib import losses"
    expected = {"fa_lib.metrics", "fa_lib.losses.elt", "fa_lib.geometry", "fa_lib.losses"}
    assert imported(source, "fa_lib.losses.sct", modules) == expected
    assert imported(source, "fa_lib.losses.sct", modules, eager=True) == expected - {"fa_lib.losses"}
    assert imported("from . import elt", "fa_lib.losses", modules, is_package=True) == {"fa_lib.losses.elt"}


def test_wrong_text_is_caught():
    long_function = "def f():\n" + "    x = 1\n" * 60
    assert size_complaints("a.py", long_function)
    assert not size_complaints("a.py", long_function.replace("    x = 1\n", "", 1))
    assert size_complaints("a.py", "x = 1\n" * 351) and not size_complaints("a.py", "x = 1\n" * 350)
    assert eager_complaints("a.py", "try:\n    from pooch import retrieve\nexcept ImportError:\n    pass")
    assert not eager_complaints("a.py", "def f():\n    import pooch")
    assert docstring_complaints("a.py", "class A:\n    '''Is.'''\n    def b(self): pass")
    assert not docstring_complaints("a.py", "def _a(): pass")
    assert requirement_complaints("numpy==2.4.6\n")
    assert requirement_complaints("a @ https://x.org/a.whl --hash=sha256:00\n")
    assert not requirement_complaints("numpy==2.4.6 \\\n    --hash=sha256:00\n")
    assert picture_complaints(["figures/a.jpg", "a.JPEG", "docs/a.png"]) == ["figures/a.jpg", "a.JPEG", "docs/a.png"]
    assert not picture_complaints(["figures/full/fig1.png", "fa_lib/png.py"])
    assert path_complaints("a", "cd " + "/work" + "/main")
    assert not path_complaints("a", "see ../root/main and http://x.org/root/a")
