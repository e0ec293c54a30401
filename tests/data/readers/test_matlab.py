"""Variables of Matlab files of both versions, whole and damaged."""

from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
import scipy.io
from hypothesis import given
from hypothesis import strategies as st

from fa_lib.data.readers import matlab

VALUES = np.arange(12.0).reshape(3, 4) + 0.25


def write_73(path: Path, variables: dict[str, np.ndarray | list]) -> Path:
    """A file as Matlab writes it with -v7.3: a header of 512 bytes, arrays transposed, cells and texts behind references."""
    with h5py.File(path, "w", userblock_size=512) as file:
        for name, value in variables.items():
            if isinstance(value, list):
                cells = [np.array([[ord(c)] for c in cell], np.uint16) if isinstance(cell, str) else cell.T for cell in value]
                stored = [file.create_dataset(f"#refs#/{name}{i}", data=cell) for i, cell in enumerate(cells)]
                file.create_dataset(name, data=np.array([[cell.ref for cell in stored]], h5py.ref_dtype))
            else:
                file.create_dataset(name, data=np.asarray(value).T)
    with path.open("r+b") as file:
        file.write(b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(116))
    return path


def write(path: Path, version: str, **variables) -> Path:
    if version == "7.3":
        return write_73(path, variables)
    cells = {name: np.array(v, object).reshape(-1, 1) if isinstance(v, list) else v for name, v in variables.items()}
    scipy.io.savemat(path, cells)
    return path


@pytest.mark.parametrize("version", ["5", "7.3"])
def test_rows_come_first_in_both_versions(tmp_path: Path, version: str):
    path = write(tmp_path / "a.mat", version, other=VALUES + 1, values=VALUES)
    assert np.array_equal(matlab.read_table(path, "values", 3, 4), VALUES)
    assert np.array_equal(matlab.read_table(path, "other", None, 4), VALUES + 1)
    assert matlab.read_table(path, "values", 3, 4).dtype == np.float64


@pytest.mark.parametrize("version", ["5", "7.3"])
def test_texts_of_a_cell_array(tmp_path: Path, version: str):
    path = write(tmp_path / "a.mat", version, names=["0/image00002.jpg", "2/b.png"])
    assert matlab.read_texts(path, "names") == ["0/image00002.jpg", "2/b.png"]


@pytest.mark.parametrize("version", ["5", "7.3"])
@pytest.mark.parametrize(("rows", "columns"), [(4, 4), (3, 3), (4, 3), (None, 3)])
def test_another_shape_is_refused(tmp_path: Path, version: str, rows: int | None, columns: int, refusal: Callable):
    path = write(tmp_path / "a.mat", version, values=VALUES)
    assert "values is 3 x 4, but" in refusal(path, matlab.read_table, path, "values", rows, columns)


@pytest.mark.parametrize("version", ["5", "7.3"])
def test_what_is_not_there_or_no_number_is_refused(tmp_path: Path, version: str, refusal: Callable):
    path = write(tmp_path / "a.mat", version, values=np.where(VALUES == 5.25, np.nan, VALUES), names=["a", "b"])
    assert "no variable data" in refusal(path, matlab.read_table, path, "data", 3, 4)
    assert "row 2 of values" in refusal(path, matlab.read_table, path, "values", 3, 4)
    assert "names" in refusal(path, matlab.read_table, path, "names", 2, 1)
    assert "no such file" in refusal("none.mat", matlab.read_table, tmp_path / "none.mat", "values", 3, 4)


@pytest.mark.parametrize("version", ["5", "7.3"])
def test_file_cut_off_at_any_length_is_refused(tmp_path: Path, version: str, refusal: Callable):
    path = write(tmp_path / "a.mat", version, values=VALUES, other=VALUES)
    data = path.read_bytes()
    for length in (0, 1, 60, 130, *range(200, len(data) - 1, max(1, len(data) // 40)), len(data) - 1):
        path.write_bytes(data[:length])
        refusal(path, lambda: [matlab.read_table(path, name, 3, 4) for name in ("values", "other")])


def test_text_file_is_refused(tmp_path: Path, refusal: Callable):
    path = tmp_path / "a.mat"
    path.write_text("<html>404 not found</html>" * 100)
    assert "no Matlab file" in refusal(path, matlab.read_table, path, "values", 3, 4)
    assert "no Matlab file" in refusal(path, matlab.cell_shapes, path, "values")


@given(st.integers(1, 5), st.integers(1, 5), st.randoms(use_true_random=False))
def test_both_versions_hold_the_same_numbers(tmp_path_factory: pytest.TempPathFactory, rows: int, columns: int, random):
    values = np.array([[random.uniform(-1e6, 1e6) for _ in range(columns)] for _ in range(rows)])
    folder = tmp_path_factory.mktemp("mat")
    for version in ("5", "7.3"):
        found = matlab.read_table(write(folder / f"{version}.mat", version, values=values), "values", rows, columns)
        assert np.array_equal(found, values)
