"""Contact sheets: every rendered set has one, and hidden points look different."""

import cv2
import numpy as np

from fa_lib.data import rendered, sheets


def test_every_rendered_set_has_a_sheet():
    names = {name.removeprefix(rendered.PREFIX) for name in rendered.splits()}
    assert set(sheets.sheets()) == names | {"poses", "overview"}


def test_mark_draws_seen_and_hidden_points_where_they_are_and_leaves_the_picture_alone():
    picture = np.zeros((40, 60, 3), np.uint8)
    shown = sheets.mark(picture, np.array([[10.0, 20.0], [50.0, 5.0]]), np.array([True, False]))
    assert tuple(shown[20, 10]) == sheets.SEEN and tuple(shown[5, 50]) == sheets.HIDDEN
    assert picture.sum() == 0 and (shown > 0).any(2).sum() < 30


def test_sheets_are_grids_of_faces_with_points(monkeypatch):
    monkeypatch.setattr(sheets, "FRAMES", sheets.COLUMNS)
    stills, clips = sheets.of_stills("cofw", tile=24), sheets.of_clips("ddd", tile=24)
    assert stills.shape == clips.shape == (sheets.ROWS * 24, sheets.COLUMNS * 24, 3)
    assert (stills == sheets.SEEN).all(2).sum() > 200 and (stills == sheets.HIDDEN).all(2).sum() > 20


def test_sheets_are_written_as_pictures(tmp_path, monkeypatch):
    picture = np.arange(48, dtype=np.uint8).reshape(4, 4, 3) * 5
    monkeypatch.setattr(sheets, "sheets", lambda: {"some": lambda: picture})
    (file,) = sheets.write_all(tmp_path / "data")
    assert file.name == "some.png"
    assert np.abs(cv2.imread(str(file))[..., ::-1].astype(int) - picture).max() <= 4
