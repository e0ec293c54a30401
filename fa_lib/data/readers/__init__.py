"""Readers of the real data sets where they lie on disk; `READERS` has one for every manifest of real faces."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from fa_lib.data.manifests import Manifest
from fa_lib.data.readers import clips, unlabelled, w300
from fa_lib.data.readers.files import MANIFESTS, Inspection, Part, Sample, check_picture, parse_pts, read_image, read_pts
from fa_lib.data.readers.w300 import coverage, read_300w, second_annotations

__all__ = [
    "MANIFESTS", "READERS", "Inspection", "Part", "Reader", "Sample", "check_picture", "coverage", "parse_pts", "read_300w",
    "read_image", "read_pts", "second_annotations",
]  # fmt: skip


@dataclass(frozen=True)
class Reader:
    """How the faces of one data set are read and its folder is compared with the manifest.

    `read(root, split)` gives the faces of one of `splits`, or raises InputError; `inspect(root, manifest)` says what of the set
    is there; `checksums(root)` compares the content of files, where there is a table of sums.
    """

    splits: tuple[str, ...]
    read: Callable[[Path, str], list[Sample]]
    inspect: Callable[[Path, Manifest], Inspection]
    checksums: Callable[[Path], Inspection] | None = None


READERS = {
    "300w": Reader(tuple(w300.SPLITS), w300.read_300w, w300.inspect),
    "300vw": Reader(tuple(clips.SPLITS_300VW), clips.read_300vw, clips.inspect_300vw),
    "ddd": Reader(clips.SPLITS_DDD, clips.read_ddd, clips.inspect_ddd),
    "celeba": Reader(unlabelled.SPLITS_CELEBA, unlabelled.read_celeba, unlabelled.inspect_celeba),
    "affectnet": Reader(unlabelled.SPLITS_AFFECTNET, unlabelled.read_affectnet, unlabelled.inspect_affectnet),
    "vggface2": Reader(unlabelled.SPLITS_VGGFACE2, unlabelled.read_vggface2, unlabelled.inspect_vggface2),
}
