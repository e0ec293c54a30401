"""Which faces a paper of several data sets learns from and is tested on, by profile: one rule for all such papers."""

from collections.abc import Sequence
from dataclasses import replace
from typing import TypeVar

from fa_lib import runs
from fa_lib.data import symmetry
from fa_lib.data.readers import own
from fa_lib.papers.self_distillation_training import DataSource

S = TypeVar("S", bound=DataSource)


def prepared(
    kind: type[S],
    profile: str,
    root: str | None,
    dataset: str,
    official: tuple[int, int],
    tested: Sequence[str],
    size: int | None = None,
    faces: int | None = None,
) -> S:
    """A source of `kind`: faces of `dataset`, rendered, or real where `root` is its folder, or a user's own by their manifest.

    `official` counts the training and test faces of the real set, which a rendered one never exceeds. Of real faces all are
    tested, and learned from where time allows. `tested` names methods of `kind`: a run holds predictions on these, so it is
    another run when any of them changes. `size` of the crops and training `faces`: by default those of the profile.

    Raises InputError where the flip of a user's own scheme is wrong: training would mirror faces by it.
    """
    p, name = runs.PROFILES[profile], f"synthetic/{dataset}" if root is None else dataset
    if own.is_manifest(root):
        name = own.describe(root).name
    train, test = official
    small = root is None or profile in ("smoke", "quick")
    counts = (min(faces or p.train_faces, train) if small else None, min(p.test_faces, test) if root is None else None)
    unseen = kind(name, size or p.size, *counts, p.clips, p.frames, faces=0, fingerprint="", root=root)
    faces = unseen.train()
    if unseen.own:
        symmetry.check(faces.landmarks, faces.scheme, root)
    unseen = replace(unseen, faces=len(faces), landmarks=faces.landmarks.shape[1])
    prints = [part.fingerprint for part in (faces, *(getattr(unseen, split)() for split in tested))]
    return replace(unseen, fingerprint="-".join(prints))
