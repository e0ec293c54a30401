"""Readers of the real data sets where they lie on disk; `READERS` has one for every manifest of real faces."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from fa_lib.data.manifests import Manifest
from fa_lib.data.readers import aflw, clips, cofw, unlabelled, w300, wflw
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
    is there; `checksums(root, manifest)` compares the content of files, where there is a table of sums.
    """

    splits: tuple[str, ...]
    read: Callable[[Path, str], list[Sample]]
    inspect: Callable[[Path, Manifest], Inspection]
    checksums: Callable[[Path, Manifest], Inspection] | None = None


READERS = {
    "300w": Reader(tuple(w300.SPLITS), w300.read_300w, w300.inspect, w300.check_content),
    "300w_private": Reader(tuple(w300.PRIVATE), w300.read_private, w300.inspect_private),
    "masked_300w": Reader(tuple(w300.MASKED), w300.read_masked, w300.inspect_masked),
    "wflw": Reader(wflw.SPLITS, wflw.read, wflw.inspect),
    "cofw": Reader(cofw.SPLITS, cofw.read, cofw.inspect),
    "cofw68": Reader(("test",), cofw.read_68, cofw.inspect_68),
    "aflw": Reader(aflw.SPLITS, aflw.read, aflw.inspect),
    "300vw": Reader(tuple(clips.SPLITS_300VW), clips.read_300vw, clips.inspect_300vw),
    "ddd": Reader(clips.SPLITS_DDD, clips.read_ddd, clips.inspect_ddd),
    "celeba": Reader(unlabelled.SPLITS_CELEBA, unlabelled.read_celeba, unlabelled.inspect_celeba, unlabelled.check_lists_celeba),
    "affectnet": Reader(unlabelled.SPLITS_AFFECTNET, unlabelled.read_affectnet, unlabelled.inspect_affectnet),
    "vggface2": Reader(unlabelled.SPLITS_VGGFACE2, unlabelled.read_vggface2, unlabelled.inspect_vggface2),
}
