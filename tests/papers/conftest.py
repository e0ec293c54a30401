"""What the tests of papers share."""

from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory, rendered_cache: Path) -> Iterator[None]:
    """One store of runs for a file: each row is trained once."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FA_RUNS", str(tmp_path_factory.mktemp("runs")))
        patch.setenv("FA_CACHE", str(rendered_cache))
        yield
