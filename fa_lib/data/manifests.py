"""What the project knows about each data set, and whether a folder on disk agrees with it.

A manifest is `data_manifests/<name>.yaml`, a slash in the name written as an underscore (`synthetic/300w` is
`synthetic_300w.yaml`). An unknown key is an error. Required: title, home, terms, get, scheme, index_base, splits, normaliser.

    title        what tables call the set
    home         address of its page; "" for rendered sets
    terms        what its licence asks
    get          open link | form | local | rendered: how to come by it (local: only from a copy that you have)
    archives     list of {url, holds, checksum, size, into, mirror}; checksum is "sha1:...", "sha256:..." or "md5:...", left out
                 where not published; `fa data fetch` unpacks it into the folder `into`; a mirror is fetched only when asked for
    layout       the folders below the root, as text
    files        a list of the official faces beside the manifest: `folder/name`, then a tab and the size of the picture in
                 bytes where it is known
    checksums    a table beside the manifest, for `fa data verify --checksums`: path, sha256 and size in bytes of pictures
    scheme       number of landmarks a face, 0 where the set is used without any
    index_base   what its files call the first pixel, 0 or 1; readers return 0-based points
    splits       name -> {expected, folders} for faces, {expected, clips} for videos; nothing inside for rendered sets
    unit         faces | clips: what `expected` counts
    subsets      name -> number of faces or clips: parts of the test set that are reported apart
    normaliser   inter_ocular | inter_pupil | box | none (no landmarks)
    crop         the box that papers cut by, and the project's
    traps        sentences: what goes wrong with these files
    unverified   sentences known from the literature alone
"""

from dataclasses import MISSING, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

import yaml

from fa_lib.errors import InputError

FOLDER = Path(__file__).resolve().parents[2] / "data_manifests"
_TYPES = {str: "text", int: "a whole number", bool: "true or false", list: "a list", dict: "a mapping of names to values"}
_CHOICES = {
    "get": ("open link", "form", "local", "rendered"),
    "index_base": (0, 1),
    "unit": ("faces", "clips"),
    "normaliser": ("inter_ocular", "inter_pupil", "box", "none"),
}


@dataclass(frozen=True)
class Archive:
    """One file to download: where, what it holds, and checksum and size where somebody published them."""

    url: str
    holds: str
    checksum: str = ""
    size: str = ""
    into: str = ""
    mirror: bool = False


@dataclass(frozen=True)
class Split:
    """One split: how many faces or clips it should have (None: as many as the profile asks for) and where they are."""

    expected: int | None = None
    folders: tuple[str, ...] = ()
    clips: tuple[str, ...] = ()


@dataclass(frozen=True)
class Manifest:
    """What is known about a data set; the keys are explained at the top of this file."""

    name: str
    title: str
    home: str
    terms: str
    get: str
    scheme: int
    index_base: int
    splits: dict[str, Split]
    normaliser: str
    archives: tuple[Archive, ...] = ()
    layout: str = ""
    files: str = ""
    unit: str = "faces"
    checksums: str = ""
    subsets: dict[str, int] = field(default_factory=dict)
    crop: str = ""
    traps: tuple[str, ...] = ()
    unverified: tuple[str, ...] = ()

    def text(self) -> str:
        """The manifest as a person reads it."""
        counts = ", ".join(name + (f" {split.expected:,}" if split.expected else "") for name, split in self.splits.items())
        points = f"{self.scheme} points, {self.index_base}-based" if self.scheme else "no landmarks"
        lines = [f"{self.title} ({self.name}), {points}: {counts}"]
        lines += [f"{self.get}: {self.home}" if self.home else self.get, f"terms: {self.terms}"]
        for archive in self.archives:
            known = " ".join(part for part in (archive.size, archive.checksum) if part)
            lines.append(f"  {archive.url}  ({archive.holds}{'; ' + known if known else ''})")
        lines += ["layout:", *(f"  {line}" for line in self.layout.splitlines())] if self.layout else []
        lines += [f"normaliser: {self.normaliser}", f"crop: {self.crop}"]
        lines += [f"mind: {trap}" for trap in self.traps] + [f"not verified: {fact}" for fact in self.unverified]
        return "\n".join(lines)


def names() -> list[str]:
    """Names of all data sets that have a manifest.

    >>> names()[:2]
    ['300vw', '300w']
    """
    stems = sorted(path.stem for path in FOLDER.glob("*.yaml") if path.stem != "template")  # the form for own data
    if not stems:
        raise InputError(f"{FOLDER}: holds no manifest; install the package from its clone with pip install -e")
    return [stem.replace("synthetic_", "synthetic/") for stem in stems]


def load(name: str) -> Manifest:
    """The manifest of a data set; InputError for an unknown name or a manifest that breaks the format.

    >>> load("300w").splits["train"].expected
    3148
    """
    if name not in names():
        raise InputError(f"data set {name!r}: no such manifest; there are {', '.join(names())}")
    path = FOLDER / f"{name.replace('/', '_')}.yaml"
    return parse(path.read_text(encoding="utf-8"), name, path.name)


def parse(text: str, name: str, source: str) -> Manifest:
    """A manifest from YAML text; InputErrors begin with `source`, the file's name."""
    found = _checked(
        parse_yaml(text, source), source, Manifest, {"archives": list, "traps": list, "unverified": list, "splits": dict}
    )
    for key, choices in _CHOICES.items():
        if key in found and found[key] not in choices:
            raise InputError(f"{source}: {key} is {found[key]!r}; choose {' or '.join(map(str, choices))}")
    archives = [_checked(item, f"{source}: archives", Archive, {}) for item in found.get("archives", [])]
    splits = {str(key): _split(item, f"{source}: splits: {key}") for key, item in found["splits"].items()}
    for key in ("traps", "unverified"):
        found[key] = _texts(found.get(key, []), f"{source}: {key}")
    for key, count in found.get("subsets", {}).items():
        if type(count) is not int:
            raise InputError(f"{source}: subsets: {key} is {count!r}, but must be a whole number")
    found |= {"archives": tuple(Archive(**item) for item in archives), "splits": splits}
    return Manifest(name=name, **found)


def parse_yaml(text: str, source: str) -> Any:
    """What YAML text says; InputErrors begin with `source`."""
    try:
        return yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # ValueError: a date such as 2021-99-99, 5,000 digits
        mark = getattr(error, "problem_mark", None)
        where = f" in line {mark.line + 1}" if mark else ""
        raise InputError(f"{source}: is not YAML ({getattr(error, 'problem', None) or 'cannot be read'}{where})") from None


def _split(item: Any, where: str) -> Split:
    found = _checked(item, where, Split, {"expected": int, "folders": list, "clips": list})
    found |= {key: _texts(found.get(key, []), f"{where}: {key}") for key in ("folders", "clips")}
    if found["clips"] and len(found["clips"]) != found.get("expected"):
        raise InputError(f"{where}: expected is {found.get('expected')}, but {len(found['clips'])} clips are listed")
    return Split(**found)


def _texts(items: list[Any], where: str) -> tuple[str, ...]:
    for item in items:
        if not isinstance(item, str):
            raise InputError(f"{where}: {item!r} must be text; put it in quotes")
    return tuple(items)


def _checked(found: Any, where: str, target: type, types: dict[str, type]) -> dict[str, Any]:
    """`found` as a dict whose keys and types suit the dataclass `target`; `types` says where YAML's type is another one."""
    if not isinstance(found, dict):
        raise InputError(f"{where}: must be {_TYPES[dict]}, not {found!r}")
    known = {item.name: item for item in fields(target) if (target, item.name) != (Manifest, "name")}
    for key in found:
        if key not in known:
            raise InputError(f"{where}: unknown key {key!r}; known are {', '.join(known)}")
    for key, item in known.items():
        kind = types.get(key) or getattr(item.type, "__origin__", item.type)
        if key not in found and item.default is MISSING and item.default_factory is MISSING:
            raise InputError(f"{where}: the key {key!r} is missing")
        if key in found and type(found[key]) is not kind:
            raise InputError(f"{where}: {key} is {found[key]!r}, but must be {_TYPES[kind]}")
    return dict(found)


@dataclass(frozen=True)
class Part:
    """One folder of faces, or one split of clips: official items present and expected, official names missing, other names."""

    name: str
    present: int
    expected: int
    missing: tuple[str, ...] = ()
    unexpected: tuple[str, ...] = ()


@dataclass(frozen=True)
class Inspection:
    """What a reader sees in a folder. `faults` are sentences about files that it would refuse; `notes` are for the report."""

    parts: tuple[Part, ...]
    faults: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Report:
    """How a folder compares with its manifest. `faults` are sentences about files that readers would refuse.

    `state` is "wrong" where there are faults or nothing of the set, otherwise "partial" or "complete"; "rendered" for sets
    that have no files.
    """

    name: str
    root: str
    state: Literal["complete", "partial", "wrong", "rendered"]
    parts: tuple[Part, ...] = ()
    faults: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def text(self, limit: int | None = 10) -> str:
        """The report for a terminal, at most `limit` names a list (None: all of them).

        >>> print(Report("300w", "data", "partial", (Part("ibug", 134, 135, ("ibug/image_006",)),)).text())
        300w in data: partial
          ibug               134 of   135
            missing: ibug/image_006
        """
        lines = [f"{self.name} in {self.root}: {self.state}" if self.root else f"{self.name}: {self.state}"]
        for part in self.parts:
            lines.append(f"  {part.name:<16} {part.present:5,} of {part.expected:5,}")
            for label, items in (("missing", part.missing), ("not in the official list", part.unexpected)):
                lines += [f"    {label}: {_first(items, limit)}"] if items else []
        shown = self.faults[:limit]
        lines += [f"  wrong: {fault}" for fault in shown]
        lines += [f"  wrong: {len(self.faults) - len(shown):,} more such files"] if len(shown) < len(self.faults) else []
        return "\n".join(lines + [f"  {note}" for note in self.notes])


def _first(items: tuple[str, ...], limit: int | None) -> str:
    shown = items[:limit]
    return ", ".join(shown) + (f" and {len(items) - len(shown):,} more" if len(shown) < len(items) else "")


def verify(name: str, root: str | Path | None = None, *, checksums: bool = False) -> Report:
    """Compares the folder `root` with the manifest of the data set `name`: counts, names, points and ends of pictures.

    Reads every list and annotation and a few bytes of every picture: seconds for 300-W. `checksums` also compares the content
    of the pictures with the published or measured sums, where the project has them, and reads every byte for that. Raises
    InputError for an unknown set and a folder that is missing, empty or something else altogether.
    """
    from fa_lib.data.readers import READERS  # which need the manifests

    manifest = load(name)
    if manifest.get == "rendered":
        return Report(name, "", "rendered", notes=("rendered by the project from a seed: nothing to download or compare",))
    if root is None:
        raise InputError(f"{name}: give --root, the folder that holds the data set")
    reader = READERS[name]
    if checksums and reader.checksums is None:
        raise InputError(f"{name}: the project knows no checksums of its files; leave --checksums out")
    found = reader.inspect(Path(root).expanduser(), manifest)
    sums = reader.checksums(Path(root).expanduser(), manifest) if checksums and reader.checksums else Inspection(())
    faults = found.faults + sums.faults
    return Report(name, str(root), _state(found.parts, faults), found.parts, faults, found.notes + sums.notes)


def _state(parts: tuple[Part, ...], faults: tuple[str, ...]) -> Literal["complete", "partial", "wrong"]:
    if faults or not any(part.present for part in parts):
        return "wrong"
    return "partial" if any(part.present < part.expected for part in parts) else "complete"
