"""All claims of all papers in one frame, from the recorded claims.csv: corrected for how many they are, current or stale.

A verdict of `results.claims` may err in one claim of twenty by chance; in a list of a hundred claims a few are certain to. So the
verdicts are corrected for the length of the list: of those that are left, at most one in twenty is expected to be by chance.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pandas as pd
from scipy import stats

from fa_lib import results, runs, storage
from fa_lib.papers import PAPERS

LEVEL = 0.05  # share of false ones among the verdicts that stand
RENDERED, PHOTOGRAPHS = "rendered", "300w"
NOT_MEASURED, NO_DATA = "not measured here", "no such data"
VERDICTS = ("reproduced", "not reproduced", "undecided", NO_DATA, NOT_MEASURED)
KEYS = ["claim", "comparison", "metric", "expected"]  # what makes a claim the same claim


def collect(profile: str = "desk", papers: Iterable[ModuleType] | None = None, figures: Path | None = None) -> pd.DataFrame:
    """One line a claim, for each paper and kind of faces: what figures/<profile>/ holds of it, corrected by `correct`.

    `papers` are by default all; `figures` the folder of that name. To the columns of `results.claims` come `slug` of the paper,
    `faces` ("rendered", or the name of the real ones that the networks learned, such as "300w", which even then may be tested on
    rendered clips: `title` says on what), `p`, `adjusted`, `corrected`, and `state`: "current", "stale" where the code of a row
    has changed since (`runs.code_hash`), "unknown" where the file does not name its code, "" where nothing was measured.

    Every claim has a line for rendered faces and one for 300-W's: its verdict is "not measured here" where no file has it. In a
    study of photographs, COFW and WFLW may be rendered after all. Such a line repeats what the file of rendered faces says, or
    compares photographs with rendered faces; it is no verdict on photographs, so it is "no such data" there.

    >>> collect("paper", papers=[PAPERS["scaf"]])["verdict"].unique().tolist()
    ['not measured here']
    """
    root = (figures or storage.PROJECT / "figures") / profile
    lines = []
    for paper in PAPERS.values() if papers is None else papers:
        files = {faces: file for faces, file in _files(root / paper.SLUG) if file.exists()}
        for faces in dict.fromkeys((RENDERED, PHOTOGRAPHS, *files)):
            found = _recorded(files[faces], faces) if faces in files else None
            lines.append(_of(paper, found).assign(slug=paper.SLUG, faces=faces))
    frame = correct(pd.concat(lines, ignore_index=True))
    return frame[["slug", "faces", *(name for name in frame if name not in ("slug", "faces"))]]


def _files(folder: Path) -> Iterator[tuple[str, Path]]:
    """The faces and the file of each data set of a paper: see `results.folder`."""
    yield RENDERED, folder / "claims.csv"
    for file in sorted(folder.glob("*/claims.csv")):
        yield file.parent.name, file


def _recorded(file: Path, faces: str) -> pd.DataFrame:
    """A claims.csv with its states; lines that are not of `faces` alone hold nothing."""
    found = pd.read_csv(file)
    found["state"] = [state(line) for line in found.to_dict("records")]
    if faces != RENDERED and "dataset" in found:
        foreign = found["dataset"].str.contains("synthetic/")
        found.loc[foreign, ["here", "low", "high"]] = np.nan
        found.loc[foreign, "verdict"] = NO_DATA
    return found


def _of(paper: ModuleType, found: pd.DataFrame | None) -> pd.DataFrame:
    """The claims of a paper as they are now, with what was found on each of them."""
    claims = pd.DataFrame(
        [(c.text, results.comparison(c), c.metric, c.direction, c.split, c.paper) for c in paper.CLAIMS],
        columns=[*KEYS, "split", "paper"],
    ).astype({"paper": float})
    if found is None:
        merged = claims.assign(here=np.nan, low=np.nan, high=np.nan, verdict=NOT_MEASURED, state="")
    else:
        merged = claims.drop(columns=["split", "paper"]).merge(found, on=KEYS, how="left", validate="one_to_one")
        merged[["split", "paper"]] = merged[["split", "paper"]].fillna(claims[["split", "paper"]])
    return merged.fillna({"verdict": NOT_MEASURED, "state": ""})


def state(line: dict) -> str:
    """Whether the code that a line was made by is the code that is there."""
    if "files" not in line:
        return "unknown"
    pairs = zip(line["code"].split(), line["files"].split(), strict=True)
    return "current" if all(runs.code_hash(tuple(files.split(","))) == code for code, files in pairs) else "stale"


def two_sided(here: pd.Series, low: pd.Series, high: pd.Series) -> pd.Series:
    """How often a difference as large as `here`, either way, comes by chance where there is none (p value).

    By the normal approximation: the 95 % interval from `low` to `high` of the bootstrap is taken for 2 x 1.96 standard errors
    (Altman and Bland, "How to obtain the P value from a confidence interval", BMJ 2011). It asks of the interval nothing but its
    width, so it may differ a little from whether a lopsided interval holds 0. 1 for rows without any difference; NaN where there
    is no interval.

    >>> two_sided(*(pd.Series([value]) for value in (1.96, 0.0, 3.92))).round(3).tolist()
    [0.05]
    """
    error = (high - low) / (2 * 1.96)
    with np.errstate(divide="ignore", invalid="ignore"):
        found = 2 * stats.norm.sf(np.abs(here / error))
    return pd.Series(np.where((error == 0) & (here == 0), 1.0, found), here.index)


def correct(frame: pd.DataFrame) -> pd.DataFrame:
    """Adds `p`, `adjusted` and `corrected` to claims with `faces`, `here`, `low`, `high` and `verdict`.

    `adjusted` is the false discovery rate at which a claim would just be decided (Benjamini and Hochberg, "Controlling the False
    Discovery Rate", 1995, equation 1): of the claims with `adjusted` up to q, a share q at most is expected to be decided by
    chance. They prove it for independent claims and those that depend positively; claims that share a row are of either kind.
    `corrected` keeps a verdict with `adjusted` below 0.05 and calls others undecided; so it only ever takes verdicts away.

    A family, the claims that are counted together, is all measured claims of all papers on one kind of faces: that is the list
    which is read as one answer to "what holds?". Rendered faces and photographs are two questions with an answer each, so that
    recording the one does not change the verdicts on the other.
    """
    p = two_sided(frame["here"], frame["low"], frame["high"])
    adjusted = pd.Series(np.nan, frame.index)
    for _, family in p.dropna().groupby(frame["faces"]):
        adjusted[family.index] = stats.false_discovery_control(family, method="bh")
    decided = frame["verdict"].isin(VERDICTS[:2])
    corrected = frame["verdict"].where(~decided | (adjusted < LEVEL), "undecided")
    return frame.assign(p=p, adjusted=adjusted, corrected=corrected)


def counts(frame: pd.DataFrame) -> pd.DataFrame:
    """How many claims of `collect` got which verdict: a line a kind of faces and paper; before and after correction.

    >>> int(counts(collect("paper", papers=[PAPERS["scaf"]])).loc[("rendered", "scaf"), ("corrected", "undecided")])
    0
    """
    places = [frame["faces"], frame["slug"]]
    lines = frame[["faces", "slug"]].drop_duplicates()
    order = pd.MultiIndex.from_frame(lines.sort_values("faces", kind="stable", key=lambda faces: pd.factorize(faces)[0]))
    parts = {name: pd.crosstab(places, frame[name]).reindex(order, columns=VERDICTS) for name in ("verdict", "corrected")}
    return pd.concat(parts, axis=1).fillna(0).astype(int)
