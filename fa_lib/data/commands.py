"""What `fa data` does: list, show, verify, prepare and fetch data sets."""

import argparse
import os
import time
from pathlib import Path

from fa_lib.data import manifests
from fa_lib.data.readers.own import is_manifest
from fa_lib.errors import InputError, suggest


def run(arguments: argparse.Namespace) -> None:
    """Does what the arguments of `fa data` ask for; InputError where that is impossible."""
    if arguments.what == "list":
        return _list(arguments.root or os.environ.get("FA_DATA"))
    if not arguments.name:
        raise InputError(f"fa data {arguments.what} needs a data set: {', '.join(manifests.names())}")
    if is_manifest(arguments.name):
        return _own(arguments)
    if arguments.name not in manifests.names():
        near = suggest(arguments.name, manifests.names())
        raise InputError(f"there is no data set {arguments.name!r}{near}; there are {', '.join(manifests.names())}")
    root = arguments.root
    if root is None and (base := os.environ.get("FA_DATA")):
        root = os.path.join(base, arguments.name)
    actions = {"show": _show, "verify": _verify, "prepare": _prepare, "fetch": _fetch}
    actions[arguments.what](arguments, root)


def _list(base: str | None) -> None:
    """Every set with its state: absent, partial, complete or wrong by its folder below `base`, or rendered."""
    if base is not None and not Path(base).expanduser().is_dir():
        raise InputError(f"{base}: there is no such folder; name the one that holds a folder for each data set")
    for name in manifests.names():
        manifest = manifests.load(name)
        print(f"{name:22} {_state(manifest, base):9} {manifest.get:10} {manifest.title}", flush=True)
    if base is None:
        print("absent: not looked for; set FA_DATA (or give --root) to the folder that holds a folder for each data set")


def _state(manifest: manifests.Manifest, base: str | None) -> str:
    folder = Path(base, manifest.name).expanduser() if base else None
    if manifest.get == "rendered":
        return "rendered"
    if folder is None or not folder.is_dir() or not any(not entry.name.startswith(".") for entry in folder.iterdir()):
        return "absent"
    try:
        return manifests.verify(manifest.name, folder).state
    except InputError:
        return "wrong"


def _show(arguments: argparse.Namespace, root: str | None) -> None:
    print(manifests.load(arguments.name).text())


def _verify(arguments: argparse.Namespace, root: str | None) -> None:
    report = manifests.verify(arguments.name, root, checksums=arguments.checksums)
    print(report.text(None if arguments.all_names else 10))
    if report.state == "wrong":
        raise InputError(f"{arguments.name} in {root} is not usable as it is: see above")


def _fetch(arguments: argparse.Namespace, root: str | None) -> None:
    from fa_lib.data import download

    if root is None and manifests.load(arguments.name).get == "open link":
        raise InputError(f"{arguments.name}: give --root, the folder to put it into, or set FA_DATA")
    download.fetch(arguments.name, root or arguments.name, mirror=arguments.mirror)
    print(manifests.verify(arguments.name, root).text())


def _prepare(arguments: argparse.Namespace, root: str | None) -> None:
    from fa_lib.data.readers import READERS

    manifest = manifests.load(arguments.name)
    known = READERS[arguments.name].splits if arguments.name in READERS else tuple(manifest.splits)
    # parts of the test set, as 300-W's common and challenging, are cut with the split that holds them
    _cut(arguments, root, known, tuple(split for split in known if split not in manifest.subsets) or known)


def _cut(arguments: argparse.Namespace, root: str | None, known: tuple[str, ...], usual: tuple[str, ...]) -> None:
    from fa_lib.data import load

    for split in arguments.split or usual:
        if split not in known:
            raise InputError(f"--split {split}: {arguments.name} has {', '.join(known)}{suggest(split, known)}")
        begin = time.monotonic()
        faces = load(arguments.name, split, root, arguments.size, skip_bad=arguments.skip_bad)
        took = time.monotonic() - begin
        print(f"{split}: {len(faces):,} faces of {arguments.size} px in {took:.1f} s, {faces.title}", flush=True)


def _own(arguments: argparse.Namespace) -> None:
    """A user's own faces, described by a manifest of theirs."""
    from fa_lib.data.readers import own

    described = own.describe(arguments.name)
    if arguments.what == "prepare":
        return _cut(arguments, None, own.SPLITS, own.SPLITS)
    if arguments.what == "fetch":
        raise InputError(f"{arguments.name}: describes faces of your own, which nobody can fetch")
    counts = ", ".join(f"{len(own.read(described, split)):,} {split}" for split in own.SPLITS)
    print(f"{described.title} ({described.name}), {described.scheme.count} points, {described.index_base}-based: {counts}")
