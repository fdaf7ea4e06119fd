"""Pickles of other people, read without running anything that they name.

A pickle is a program that may call any function it can import. Here every name that it asks for is looked up in a short
table of inert classes of this file: they take the recorded state and hold it, so that not even NumPy or SciPy code is
called by the file. A name outside the table ends the reading.
"""

from __future__ import annotations

import re
from pathlib import Path
from pickle import Unpickler
from typing import TYPE_CHECKING, Any

import numpy as np

from ..tables import TableError

if TYPE_CHECKING:
    from scipy.sparse import coo_array

# Booleans, whole numbers and floats of fixed size; never objects, whose bytes would be pointers.
_PLAIN_DTYPE = re.compile(r"b1|[iuf][1248]")


class _Dtype:
    """What `numpy.dtype(code, align, copy)` was asked for, and its byte order."""

    def __init__(self, code: str, *_: object) -> None:
        if not isinstance(code, str) or not _PLAIN_DTYPE.fullmatch(code):
            raise ValueError(f"an array of type {code!r}")
        self.dtype = np.dtype(code)

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.dtype = self.dtype.newbyteorder(state[1])


class _Array:
    """A NumPy array: both the class and the function that rebuilds it, whose arguments say nothing."""

    def __init__(self, *_: object) -> None:
        self.values = np.zeros(0)

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, shape, dtype, fortran, raw = state
        self.values = np.frombuffer(raw, dtype.dtype).reshape(shape, order="F" if fortran else "C")


class _Scalar:
    """One NumPy number: `numpy.core.multiarray.scalar(dtype, bytes)`. What comes out is a plain Python number."""

    def __new__(cls, dtype: _Dtype, raw: bytes) -> Any:
        (value,) = np.frombuffer(raw, dtype.dtype).tolist()
        return value

    def __setstate__(self, state: object) -> None:
        # Without this method a file could set attributes of the class itself.
        raise ValueError("a number has no state")


class _CooMatrix:
    """A SciPy COO matrix, of the releases that keep `row` and `col` and of those that keep `coords`."""

    def __setstate__(self, state: dict[str, Any]) -> None:
        row, col = state["coords"] if "coords" in state else (state["row"], state["col"])
        self.shape = tuple(map(int, state["_shape"]))
        self.row, self.col, self.data = row.values, col.values, state["data"].values


# Old and new module paths of the same things.
_ALLOWED: dict[str, type] = {
    "numpy.dtype": _Dtype,
    "numpy.ndarray": _Array,
    "numpy.core.multiarray._reconstruct": _Array,
    "numpy._core.multiarray._reconstruct": _Array,
    "numpy.core.multiarray.scalar": _Scalar,
    "numpy._core.multiarray.scalar": _Scalar,
    "scipy.sparse.coo.coo_matrix": _CooMatrix,
    "scipy.sparse._coo.coo_matrix": _CooMatrix,
}


class _Restricted(Unpickler):
    path: Path

    def find_class(self, module: str, name: str) -> type:
        asked = f"{module}.{name}"
        if asked not in _ALLOWED:
            raise TableError(
                f"{self.path}: asks for {asked}, which no table needs; nothing was run. Allowed are dictionaries, "
                f"lists, texts, numbers and {', '.join(_ALLOWED)}. Do not open the file by other means unless you "
                "know who wrote it."
            )
        return _ALLOWED[asked]


def read_dictionary(path: Path) -> dict[Any, Any]:
    """A pickled dictionary of texts, numbers, lists and dictionaries.

    Raises:
        TableError: absent, broken, something else, or the file asks for a class or function that is not allowed.
    """
    loaded = _load(path)
    if not isinstance(loaded, dict):
        raise TableError(f"{path}: holds {_kind(loaded)}, not a dictionary. Is it another file of the release?")
    return loaded


def read_matrix(path: Path) -> coo_array:
    """A pickled SciPy COO matrix.

    Raises:
        TableError: as `read_dictionary`; also entries outside the matrix.
    """
    from scipy.sparse import coo_array

    loaded = _load(path)
    if not isinstance(loaded, _CooMatrix):
        raise TableError(f"{path}: holds {_kind(loaded)}, not a COO matrix. Is it another file of the release?")
    try:
        return coo_array((loaded.data, (loaded.row, loaded.col)), shape=loaded.shape)
    except (AttributeError, TypeError, ValueError) as error:
        raise TableError(f"{path}: is no usable matrix ({error}). Download it again.") from error


def _kind(loaded: object) -> str:
    return type(loaded).__name__.lstrip("_")


def _load(path: Path) -> object:
    if not path.is_file():
        raise TableError(f"{path}: there is no such file.")
    with open(path, "rb") as file:
        reader = _Restricted(file)
        reader.path = path
        try:
            return reader.load()
        except TableError:
            raise
        except Exception as error:  # a broken pickle fails in many ways: all mean that there is no table
            raise TableError(
                f"{path}: cannot be read as a pickle of plain tables ({type(error).__name__}: {error}). "
                "Download it again."
            ) from error
