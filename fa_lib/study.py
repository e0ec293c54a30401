"""A study: the finished runs of a paper at one profile and on one data set, with the scores of every face."""

from functools import cached_property
from pathlib import Path
from types import ModuleType

import numpy as np

from fa_lib import data, metrics, runs
from fa_lib.data import Faces
from fa_lib.data.twice import Twice
from fa_lib.errors import InputError, suggest
from fa_lib.scores import Estimate, estimate, features

SCENARIOS = ("scenario 1", "scenario 2", "scenario 3")  # of 300-VW's test clips


def at_hand(root: str | None, dataset: str) -> str | None:
    """Where the real faces of a data set lie; None where they are not at hand, and rendered ones take their place.

    `root` is the folder of 300-W, or one that holds a folder for each data set, such as `300w` and `cofw`, or the manifest of a
    user's own faces, which take the place of 300-W's.

    >>> at_hand(None, "300w"), at_hand("mine.yaml", "300w"), at_hand("mine.yaml", "cofw")
    (None, 'mine.yaml', None)
    """
    if root is not None and (Path(root) / dataset).is_dir():
        return str(Path(root) / dataset)
    return root if dataset == "300w" else None


class Study:
    """The finished runs of a paper at one profile and on one data set, and what follows from them.

    `paper` is a module of fa_lib.papers; `root` the folder of real data (see `at_hand`), None for rendered faces; `dataset` one
    of the paper's data sets, None for its first (`on` goes to another). Missing runs are trained.
    """

    def __init__(
        self,
        paper: ModuleType,
        profile: str = "quick",
        root: str | None = None,
        seeds: int | None = None,
        dataset: str | None = None,
    ) -> None:
        if profile not in runs.PROFILES:
            hint = suggest(profile, runs.PROFILES)
            raise InputError(f"there is no profile {profile!r}{hint}; there are: {', '.join(runs.PROFILES)}")
        self.paper, self.profile = paper, runs.PROFILES[profile]
        self.root, self.dataset = root, dataset
        self.source = paper.source(profile, at_hand(root, dataset or "300w"), *([dataset] if dataset else []))
        self.seeds, self._limit = self.profile.seeds[:seeds], seeds
        self._scores: dict[tuple[str, str], np.ndarray] = {}
        self._estimates: dict[tuple[str, str, str, str | None, float], Estimate] = {}
        self._studies: dict[str | None, Study] = {dataset: self}

    def on(self, dataset: str | None) -> "Study":
        """The same study on another of the paper's data sets; None is its first."""
        if dataset not in self._studies:
            other = Study(self.paper, self.profile.name, self.root, self._limit, dataset)
            other._studies = self._studies
            self._studies[dataset] = other
        return self._studies[dataset]

    def all(self) -> list["Study"]:
        """This study on each of the data sets that the paper's tables and claims name."""
        return [self.on(dataset) for dataset in self._datasets()]

    @property
    def tables(self) -> tuple:
        """The paper's tables (results.Table); those for photographs alone only where there are any."""
        return tuple(table for table in self.paper.TABLES if self.root is not None or not table.photographs)

    @property
    def rows(self) -> tuple[str, ...]:
        """The rows trained on this data set: those of its tables and claims, and on the first those of figures alone."""
        named = {dataset: {*self._tabulated(dataset), *self._compared(dataset)} for dataset in self._datasets()}
        elsewhere = set().union(*(rows for dataset, rows in named.items() if dataset != self.dataset))
        here = named.get(self.dataset, set())
        return tuple(row for row in self.paper.ROWS if row in here or (self.dataset is None and row not in elsewhere))

    @property
    def shown(self) -> tuple[str, ...]:
        """The rows of this data set's tables."""
        return tuple(row for row in self.paper.ROWS if row in self._tabulated(self.dataset))

    def seeds_of(self, row: str) -> tuple[int, ...]:
        """The seeds of a row: those of the profile, and more where the paper has `seeds` for rows that need them."""
        more = getattr(self.paper, "seeds", lambda row, profile: 0)(row, self.profile.name)
        return self.seeds if self._limit else tuple(range(max(len(self.seeds), more)))

    def _datasets(self) -> list[str | None]:
        named = [dataset for table in self.tables for dataset in table.datasets]
        return list(dict.fromkeys((None, *named, *(claim.dataset for claim in self.paper.CLAIMS))))

    def _tabulated(self, dataset: str | None) -> set[str | None]:
        tables = [table for table in self.tables if dataset in table.datasets and table.costs is None]
        return {row for table in tables for row in table.rows.values() if (row, dataset) not in table.gaps}

    def _compared(self, dataset: str | None) -> set[str]:
        return {row for claim in self.paper.CLAIMS if claim.dataset == dataset for row in (claim.ours, claim.other)}

    def run(self, row: str, seed: int) -> runs.Run:
        """The run of a row and seed; InputError names the rows there are."""
        return self.paper.run(row, self.profile.name, seed, self.source)

    def named(self) -> list[runs.Run]:
        """The runs of all rows and seeds on all the paper's data sets."""
        return [part.run(row, seed) for part in self.all() for row in part.rows for seed in part.seeds_of(row)]

    def wanted(self) -> list[runs.Run]:
        """The same, with all that they start from, each once and after those that it needs."""
        return list(dict.fromkeys(one for run in self.named() for one in runs.needed(run)))

    def trained(self, row: str) -> list[runs.Trained]:
        """The finished runs of a row, one a seed."""
        return [runs.get(self.run(row, seed)) for seed in self.seeds_of(row)]

    @cached_property
    def test(self) -> Faces:
        """Test faces."""
        return self.source.test()

    @cached_property
    def masked(self) -> Faces:
        """The test faces behind face masks; none for own faces."""
        if self.source.own:
            return data.no_faces(self.source.size, self.test.scheme, f"{self.source.dataset} has no masked faces")
        return self.source.masked()

    @cached_property
    def learned(self) -> Faces:
        """The training faces on which networks were measured against what they were to learn: the first ones."""
        count = len(self.trained(self.paper.ROWS[0])[0].predictions["learned"])
        return self.source.train().select(np.arange(count))

    @cached_property
    def video(self) -> Faces:
        """Frames of the test clips."""
        return self.source.video()

    @cached_property
    def twice(self) -> Twice:
        """Faces that were annotated twice."""
        return self.source.twice()

    def _faces(self, split: str) -> tuple[str, Faces, np.ndarray]:
        """The predictions' name, the faces, and the mask of a split."""
        if split in SCENARIOS:
            return "video", self.video, self.video.subset == split
        if split in ("video", "still"):
            every = np.ones(len(self.video), bool)
            return "video", self.video, every if split == "video" or self.video.still is None else self.video.still
        if split.startswith("masked"):
            part = split.removeprefix("masked").strip()
            every = np.ones(len(self.masked), bool)  # own faces have none, and no parts
            return "masked", self.masked, self.masked.part(part) if part and len(every) else every
        if split == "learned":
            return "learned", self.learned, np.ones(len(self.learned), bool)
        every = np.ones(len(self.test), bool)
        if split in ("test", "truth", "twice"):
            return "test", self.test, every
        if split in ("blurred", "shifted"):  # the test faces out of focus, or in a box that is moved
            return split, self.test, every
        named = {name for table in self.tables for name in table.splits} | {claim.split for claim in self.paper.CLAIMS}
        if split in named and split not in self.test.parts():
            return "test", self.test, ~every  # a partial set may have no face of a part
        return "test", self.test, self.test.part(split)

    def has(self, split: str) -> bool:
        """Whether there is anything to measure on a split: many data sets have no clips, and no face that was labelled twice."""
        return len(self.groups(split)) > 0

    def groups(self, split: str) -> np.ndarray:
        """What belongs together in a split: photographs, clips."""
        _, faces, mask = self._faces(split)
        return self.twice.group if split == "twice" else faces.group[mask]

    def scores(self, row: str, split: str) -> np.ndarray:
        """(S, M, fields) of a row on `test` or a part of it such as `common`; `masked` or `masked common`, behind masks; `video`
        (all clips), one of SCENARIOS, `still` (frames without motion); `truth` (exact landmarks, rendered only); `learned`
        (training faces, against what the row was to learn); `twice` (faces annotated twice, where the row may be "labels": the
        annotators themselves).
        """
        if (row, split) not in self._scores:
            self._scores[row, split] = np.stack(self._twice(row) if split == "twice" else self._once(row, split))
        return self._scores[row, split]

    def _once(self, row: str, split: str) -> list[np.ndarray]:
        name, faces, mask = self._faces(split)
        exact = split in ("truth", "still") and faces.truth is not None
        target = (faces.truth if exact else faces.landmarks) - faces.offset
        clips = faces.group[mask] if name == "video" else None
        lengths = faces.lengths(target)[mask]
        found = [t.predictions for t in self.trained(row)]
        targets = [f["learned_target"] if name == "learned" else target[mask] for f in found]
        told = {"lengths": lengths, "scheme": faces.scheme, "size": faces.size}
        return [features(f[name][mask] if mask.any() else goal, goal, clips, **told) for f, goal in zip(found, targets)]

    def _twice(self, row: str) -> list[np.ndarray]:
        labels = self.twice.first_labels
        lengths = metrics.lengths(labels, scheme=self.test.scheme)
        if row == "labels":
            return [features(labels, labels, again=self.twice.second_labels, lengths=lengths)] * len(self.seeds)
        found = [t.predictions for t in self.trained(row)]
        return [features(f["twice_first"], labels, again=f["twice_second"], lengths=lengths) for f in found]

    def estimate(self, row: str, metric: str, split: str = "test", minus: str | None = None, share: float = 1.0) -> Estimate:
        """A metric of a row, or its paired difference to `share` of that of the row `minus`, with interval (seeds of both)."""
        asked = row, metric, split, minus, share
        if asked not in self._estimates:  # a table shows what its file holds, and claims share rows
            ours, other = self.scores(row, split), self.scores(minus, split) if minus else None
            both = slice(None) if other is None else slice(min(len(ours), len(other)))  # the seeds that both rows have
            apart = None if other is None else other[both]
            self._estimates[asked] = estimate(ours[both], metric, self.groups(split), apart, share=share)
        return self._estimates[asked]

    def about(self, *splits: str) -> str:
        """One line under a table: data set, splits, normaliser, box, profile, seeds, device."""
        measured = [split for split in splits if self.has(split)]
        missing = [f"{self._faces(split)[1].title}: no such data ({split})." for split in splits if split not in measured]
        if not measured:
            return " ".join(missing)
        faces = self._faces(measured[0])[1]
        trained = [t for row in self.shown for t in self.trained(row)]
        devices = sorted({t.provenance["device"] for t in trained})
        seeds = " or ".join(str(count) for count in sorted({len(self.seeds_of(row)) for row in self.shown}))
        learned = " or ".join(f"{faces:,}" for faces in sorted({t.run.config.faces for t in trained}))
        watermark = ["SMOKE RUN: sizes are too small for the numbers to mean anything."] if self.profile.name == "smoke" else []
        parts = (
            faces.title, f"learned from {learned} faces",
            ", ".join(f"{split}: {self._faces(split)[2].sum():,} faces" for split in measured),
            f"errors over the {faces.scheme.ruler}",
            f"landmark box x 1.4; {self.source.size} px; profile {self.profile.name}; {seeds} seeds", *devices,
        )  # fmt: skip
        return " ".join(["; ".join(parts) + ".", *missing, *watermark])
