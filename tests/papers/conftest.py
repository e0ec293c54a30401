"""What the tests of papers share."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pandas as pd
import pytest

from fa_lib import plots
from fa_lib.redraw import FromFrame
from fa_lib.study import Study


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory, rendered_cache: Path) -> Iterator[None]:
    """One store of runs for a file: each row is trained once."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FA_RUNS", str(tmp_path_factory.mktemp("runs")))
        patch.setenv("FA_CACHE", str(rendered_cache))
        yield


@pytest.fixture
def same_from_file(tmp_path: Path) -> Callable[[FromFrame, Study], None]:
    """Draws a figure of a study, and anew from the CSV that is saved beside it: the same bytes, each time."""

    def check(make: FromFrame, study: Study) -> None:
        picture, table = plots.save(*make(study), tmp_path / "drawn")
        for _ in range(2):
            again = make.redraw(pd.read_csv(table), study.profile.name == "smoke")
            assert plots.rendered(again) == (picture.suffix, picture.read_bytes())

    return check
