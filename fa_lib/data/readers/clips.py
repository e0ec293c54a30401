"""300-VW: clips with the 68 points of every frame."""

from pathlib import Path

from fa_lib.data.manifests import Manifest
from fa_lib.data.readers.files import Inspection, Part
from fa_lib.errors import InputError


def inspect(root: Path, manifest: Manifest) -> Inspection:
    """Compares the clips below `root` with those of the manifest: folders, videos and annotations by name."""
    if not root.is_dir():
        raise InputError(f"{root}: there is no such folder; give the folder that holds the clips")
    clips = {clip for split in manifest.splits.values() for clip in split.clips}
    places = [root, *sorted(entry for entry in root.iterdir() if entry.is_dir() and entry.name not in clips)]
    place = next((place for place in places if any((place / clip).is_dir() for clip in clips)), None)
    if place is None:
        raise InputError(f"{root}: holds no clip of {manifest.title}; give the folder that holds 001/, 002/, ...")
    parts, faults = [], []
    for name, split in manifest.splits.items():
        missing = tuple(clip for clip in split.clips if not (place / clip).is_dir())
        parts.append(Part(name, len(split.clips) - len(missing), len(split.clips), missing))
        for clip in (place / clip for clip in split.clips if clip not in missing):
            faults += [] if (clip / "vid.avi").is_file() else [f"{clip}: holds no vid.avi"]
            faults += [] if next(clip.glob("annot/*.pts"), None) else [f"{clip}: holds no annot/*.pts"]
    return Inspection(tuple(parts), tuple(faults))
