"""What the notebooks use besides the package: checked parameters, source listings, exercises."""

import inspect
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from fa_lib import storage
from fa_lib.data.readers import own
from fa_lib.errors import InputError


def settings(**parameters: Any) -> Any:
    """The notebook's parameters, checked: an unknown profile, a folder that is not there or a misspelt name is refused.

    Returns an object with `profile`, `root` (folder or manifest of real data, or None), `own` (it is a manifest) and `seeds`
    (None: all of the profile).
    `$FA_PROFILE` replaces the profile "quick", so that the test suite can run the notebooks as they are, only smaller.

    >>> settings(profile="smoke", data="synthetic").root is None
    True
    """
    from pydantic import BaseModel, ConfigDict, Field, ValidationError

    from fa_lib.runs import PROFILES

    class Parameters(BaseModel):
        model_config = ConfigDict(extra="forbid", strict=True)
        profile: str = "quick"
        data: str = "synthetic"  # or the folder of 300-W, or a user's own manifest
        seeds: int = Field(0, ge=0, description="how many seeds; 0: all of the profile")

    try:
        given = Parameters(**parameters)
    except ValidationError as error:
        first = error.errors()[0]
        raise InputError(f"parameter {first['loc'][0]!r}: {first['msg'].lower()}; there are profile, data and seeds") from error
    profile = os.environ.get("FA_PROFILE", given.profile) if given.profile == "quick" else given.profile
    if profile not in PROFILES:
        raise InputError(f"profile={profile!r}: choose one of {', '.join(PROFILES)}")
    root = None if given.data == "synthetic" else str(Path(given.data).expanduser())
    if root is not None and not (Path(root).is_file() if own.is_manifest(root) else Path(root).is_dir()):
        raise InputError(
            f"data={given.data!r}: there is no such folder or manifest; give the folder of 300-W, a .yaml file that describes "
            "faces of your own, or 'synthetic'"
        )
    return _Settings(profile, root, given.seeds or None)


class _Settings:
    """Checked parameters of a notebook."""

    def __init__(self, profile: str, root: str | None, seeds: int | None) -> None:
        self.profile, self.root, self.seeds, self.own = profile, root, seeds, own.is_manifest(root)


def show_source(thing: Callable | type, doc: bool = False) -> Any:
    """The source of a function or class of the package, with its file; without the docstring unless `doc`.

    The notebooks argue, the package defines: what is shown is what runs.
    """
    from IPython.display import Code

    source = inspect.getsource(thing)
    if not doc and (text := thing.__doc__):
        quoted = f'"""{text}"""'
        source = source.replace(quoted, '"""..."""', 1) if quoted in source else source
    place = Path(inspect.getsourcefile(thing) or "").relative_to(storage.PROJECT)
    return Code(f"# {place}\n{source}", language="python")


def check(answer: Callable, reference: Callable, cases: Sequence[tuple], tolerance: float = 1e-6) -> bool:
    """Tries an exercise's answer on `cases` (argument tuples) against the package's own function; says what differs.

    An answer that still returns None counts as not yet written, which is no error: a notebook runs from top to bottom
    before its reader has solved anything. Returns whether all cases agree.

    >>> check(lambda x: x + x, lambda x: 2 * x, [(1.0,), (3.0,)])
    correct: 2 of 2 cases agree
    True
    """
    for number, case in enumerate(cases, 1):
        found = answer(*case)
        if found is None:
            print("not written yet: the function returns None")
            return False
        wanted = np.asarray(torch.as_tensor(reference(*case)).detach())
        got = np.asarray(torch.as_tensor(found).detach())
        if got.shape != wanted.shape:
            print(f"case {number}: the result has shape {got.shape}, expected {wanted.shape}")
            return False
        if not np.allclose(got, wanted, rtol=tolerance, atol=tolerance):
            print(f"case {number}: got {np.round(got, 6).tolist()}, expected {np.round(wanted, 6).tolist()}")
            return False
    print(f"correct: {len(cases)} of {len(cases)} cases agree")
    return True
