"""`fa reproduce` without notebooks; tests/notebooks/test_papermill.py runs it with them."""

from pathlib import Path

import pytest

from fa_lib import reproduce, runs, storage


def test_tables_beside_real_faces_need_no_rendered_ones(
    store: Path, own_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
):
    """Of COFW and WFLW there are none, and the tables of rendered ones are written by another call."""
    (tmp_path / "notebooks").symlink_to(storage.PROJECT / "notebooks")
    monkeypatch.setattr(storage, "PROJECT", tmp_path)
    reproduce.reproduce(["kd_loss"], "smoke", str(own_data), 2, {"seeds": "1"}, tables_only=True)
    assert {run["id"].split("/")[2] for run in runs.stored()} == {"mydata"}
    assert {file.name for file in (tmp_path / "figures" / "smoke" / "kd_loss" / "mydata").iterdir()} >= {"tab07.csv"}
    assert "left out: of cofw there are no real faces" in capsys.readouterr().out
