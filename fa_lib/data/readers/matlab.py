"""Variables of Matlab files, of version 5 and of version 7.3 (HDF5), in Matlab's own order: rows first, then columns.

HDF5 stores Matlab's arrays transposed and the cells of a cell array as references; both are undone here.
"""

import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import numpy as np

from fa_lib.errors import InputError


def read_table(path: Path, name: str, rows: int | None, columns: int) -> np.ndarray:
    """The numbers of a matrix variable as (rows, columns) float64; `rows` None: any number.

    Raises InputError for a file that is missing, cut off or no Matlab file, for another shape, and for numbers that are not
    finite.
    """
    values = _numbers(path, name)
    if values.ndim != 2 or values.shape[1] != columns or values.shape[0] != (values.shape[0] if rows is None else rows):
        shape = " x ".join(map(str, values.shape))
        raise InputError(
            f"{path}: {name} is {shape}, but {'any number of' if rows is None else rows} rows of {columns} are expected"
        )
    if not np.isfinite(values).all():
        bad = int(np.flatnonzero(~np.isfinite(values).all(1))[0]) + 1
        raise InputError(f"{path}: row {bad} of {name} holds a number that is not finite")
    return values


def read_texts(path: Path, name: str) -> list[str]:
    """The texts of a cell array; InputErrors as `read_table`."""
    if not _is_hdf5(path):
        return [str(cell.item()) if cell.size else "" for cell in _version_5(path, name).ravel()]
    with _hdf5(path, name) as (file, variable):
        return ["".join(map(chr, file[reference][()].ravel())) for reference in variable[()].ravel()]


def cell_shapes(path: Path, name: str) -> list[tuple[int, ...]]:
    """The shapes of the arrays in a cell array of a v7.3 file, without reading them; InputErrors as `read_table`."""
    with _hdf5(path, name) as (file, variable):
        return [file[reference].shape[::-1] for reference in variable[()].ravel()]


def read_cell(path: Path, name: str, index: int) -> np.ndarray:
    """One array of a cell array of a v7.3 file, `index` 0-based; opens and closes the file; InputErrors as `read_table`."""
    with _hdf5(path, name) as (file, variable):
        return file[variable[()].ravel()[index]][()].transpose()


def _numbers(path: Path, name: str) -> np.ndarray:
    if _is_hdf5(path):
        with _hdf5(path, name) as (_, variable):
            values = variable[()].transpose()
    else:
        values = _version_5(path, name)
    try:
        return values.astype(np.float64)
    except (TypeError, ValueError):
        raise InputError(f"{path}: {name} does not hold numbers") from None


def _is_hdf5(path: Path) -> bool:
    import h5py

    if not path.is_file():
        raise InputError(f"{path}: there is no such file")
    return h5py.is_hdf5(path)


def _version_5(path: Path, name: str) -> np.ndarray:
    import scipy.io

    try:
        _check_elements(path.read_bytes())
        found = scipy.io.loadmat(path, variable_names=[name])
    except Exception as error:  # damage makes scipy raise whatever it meets first
        raise InputError(f"{path}: is cut off or no Matlab file ({str(error).rstrip('.') or type(error).__name__})") from None
    if name not in found:
        raise InputError(f"{path}: holds no variable {name}, so it is cut off or another file")
    return found[name]


_NUMBERS = frozenset((1, 2, 3, 4, 5, 6, 7, 9, 12, 13, 16, 17, 18))  # types of elements of version 5; with two more:
_MATRIX, _COMPRESSED = 14, 15
_HOLDERS = frozenset((1, 2, 3, 16, 17))  # classes of matrices that hold others: cells, structures, objects


def _check_elements(content: bytes) -> None:
    """Raises ValueError where an element's type or size cannot be: scipy trusts both, and ends the whole process."""
    if content[126:128] not in (b"IM", b"MI"):
        raise ValueError("it is of another version than 5")
    order: Literal["little", "big"] = "big" if content[126:128] == b"MI" else "little"
    pending = [(content, 128, len(content), True)]
    while pending:
        data, at, end, nested = pending.pop()
        while at < end:
            kind, size = (int.from_bytes(data[place : place + 4], order) for place in (at, at + 4))
            body, small = at + 8, kind >> 16  # a small element: size, type and content share eight bytes
            if small:
                kind, size, body = kind & 0xFFFF, small, at + 4
            after = body + size
            allowed = kind in _NUMBERS or (nested and not small and kind in (_MATRIX, _COMPRESSED))
            if not allowed or after > end or (small and size > 4):
                raise ValueError(f"an element at byte {at} is of type {kind} and {size:,} bytes long")
            if kind == _COMPRESSED:
                inner = zlib.decompress(data[body:after])
                pending.append((inner, 0, len(inner), True))
            elif kind == _MATRIX:
                flags = int.from_bytes(data[body + 8 : body + 12], order)
                pending.append((data, body, after, flags & 0xFF in _HOLDERS))
            at = at + 8 if small else after if kind == _COMPRESSED else after + -after % 8


@contextmanager
def _hdf5(path: Path, name: str) -> Iterator[tuple[Any, Any]]:
    """An open v7.3 file and its variable `name`."""
    import h5py

    try:
        with h5py.File(path, "r", locking=False) as file:  # clusters mount data sets read-only, where locks fail
            if name not in file:
                raise InputError(f"{path}: holds no variable {name}, so it is cut off or another file")
            yield file, file[name]
    except InputError:
        raise
    except Exception as error:  # as above
        raise InputError(f"{path}: is cut off or no Matlab file of version 7.3 ({error})") from None
