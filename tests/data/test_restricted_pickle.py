"""Pickles that hold tables are read, pickles that name anything else are refused before it runs."""

from __future__ import annotations

import os
import pickle
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.sparse import coo_matrix

from reclm_hf.data.importers.restricted_pickle import read_dictionary, read_matrix
from reclm_hf.data.tables import TableError


class Call:
    """Pickles as a call: what a malicious file is made of."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return self.call


def dump(folder: Path, content: object, protocol: int = 4) -> Path:
    path = folder / "table.pkl"
    path.write_bytes(pickle.dumps(content, protocol=protocol))
    return path


def matrix(dtype: str = "<f8") -> coo_matrix:
    return coo_matrix((np.array([1, 2, 3], dtype=dtype), ([0, 2, 2], [4, 0, 1])), shape=(3, 5))


@pytest.mark.parametrize("protocol", [0, 2, 3, 4, 5])
def test_a_call_to_the_system_is_refused_and_not_run(tmp_path: Path, protocol: int) -> None:
    marker = tmp_path / "was-here"
    command = f"{sys.executable} -c \"open('{marker}', 'w')\""
    path = dump(tmp_path, {1: [Call(os.system, command)]}, protocol)
    for read in (read_dictionary, read_matrix):
        with pytest.raises(TableError, match=rf"table\.pkl: asks for {os.system.__module__}\.system") as caught:
            read(path)
        assert "nothing was run" in str(caught.value)
    assert not marker.exists()
    pickle.loads(path.read_bytes())  # noqa: S301 - the file is what it claims to be: without the restriction it runs
    assert marker.exists()


@pytest.mark.parametrize(
    ("content", "named"),
    [
        (Call(eval, "1 + 1"), r"builtins\.eval"),
        (Call(getattr, {}, "clear"), r"builtins\.getattr"),
        (Path("x"), "pathlib.*Path"),
        (types.SimpleNamespace(a=1), r"types\.SimpleNamespace"),
        (pickle.Unpickler, r"_pickle\.Unpickler"),
    ],
)
def test_every_other_name_is_refused(tmp_path: Path, content: object, named: str) -> None:
    with pytest.raises(TableError, match=rf"asks for {named}, which no table needs"):
        read_dictionary(dump(tmp_path, {"k": content}))


def test_names_below_an_allowed_one_are_refused(tmp_path: Path) -> None:
    # Protocol 4 may name attributes by dots: `ndarray.tofile` of `numpy`.
    path = tmp_path / "table.pkl"
    path.write_bytes(b"\x80\x04\x8c\x05numpy\x8c\x0endarray.tofile\x93.")
    with pytest.raises(TableError, match=r"asks for numpy\.ndarray\.tofile"):
        read_dictionary(path)


@pytest.mark.parametrize("dtype", ["<f8", "<f4", "<i4", "u1", "?"])
def test_a_matrix_of_this_scipy_is_read(tmp_path: Path, dtype: str) -> None:
    read = read_matrix(dump(tmp_path, matrix(dtype)))
    np.testing.assert_array_equal(read.toarray(), matrix(dtype).toarray())
    assert read.shape == (3, 5)
    assert read.dtype == np.dtype(dtype)


def test_a_matrix_of_old_versions_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`scipy.sparse.coo`, `row` and `col` instead of `coords`, `numpy.core`: what SciPy and NumPy wrote in 2021."""
    module = types.ModuleType("scipy.sparse.coo")
    old = type("coo_matrix", (), {"__module__": "scipy.sparse.coo"})
    module.coo_matrix = old  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "scipy.sparse.coo", module)
    monkeypatch.setattr("scipy.sparse.coo", module, raising=False)
    instance = old()
    new = matrix()
    vars(instance).update(_shape=new.shape, maxprint=50, row=new.row, col=new.col, data=new.data)
    # Protocol 3 has no frames, so that a module path may become shorter.
    raw = pickle.dumps(instance, protocol=3).replace(b"numpy._core.multiarray\n", b"numpy.core.multiarray\n")
    assert b"cnumpy.core.multiarray\n_reconstruct\n" in raw
    path = tmp_path / "table.pkl"
    path.write_bytes(raw)
    np.testing.assert_array_equal(read_matrix(path).toarray(), new.toarray())


def test_plain_dictionaries_are_read(tmp_path: Path) -> None:
    content = {3: {"title": "Amélie", "year": 2001}, "x": [1, (2.5, None, True)]}
    assert read_dictionary(dump(tmp_path, content)) == content


def outside() -> coo_matrix:
    broken = matrix()
    broken.coords[0][0] = 7
    return broken


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ({"a": 1}, "holds dict, not a COO matrix"),
        (np.array([{}], dtype=object), "ValueError: an array of type 'O8'"),
        (outside(), "is no usable matrix"),
    ],
)
def test_other_content_is_said(tmp_path: Path, content: object, expected: str) -> None:
    with pytest.raises(TableError, match=rf"table\.pkl: .*{expected}"):
        read_matrix(dump(tmp_path, content))


def test_broken_files(tmp_path: Path) -> None:
    path = dump(tmp_path, {"a": [1, 2, 3]})
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(TableError, match=r"table\.pkl: cannot be read as a pickle"):
        read_dictionary(path)
    path.write_bytes(b"")
    with pytest.raises(TableError, match=r"table\.pkl: cannot be read as a pickle"):
        read_dictionary(path)
    with pytest.raises(TableError, match=r"gone\.pkl: there is no such file"):
        read_dictionary(tmp_path / "gone.pkl")
    path.write_bytes(b"\x80\x02cscipy.sparse._coo\ncoo_matrix\n)\x81.")  # a matrix that is made but never filled
    with pytest.raises(TableError, match=r"table\.pkl: is no usable matrix"):
        read_matrix(path)
    with pytest.raises(TableError, match="holds list, not a dictionary"):
        read_dictionary(dump(tmp_path, [1]))


def test_a_file_cannot_change_the_reader(tmp_path: Path) -> None:
    """BUILD with a pair of states sets attributes on whatever lies on the stack, a class included."""
    path = tmp_path / "table.pkl"
    path.write_bytes(b"\x80\x02cnumpy\nndarray\n(N}X\x06\x00\x00\x00valuesK\x01stb.")
    with pytest.raises(TableError, match="cannot be read"):
        read_dictionary(path)
    np.testing.assert_array_equal(read_matrix(dump(tmp_path, matrix())).toarray(), matrix().toarray())


@pytest.mark.parametrize("value", [7, -2.5, True], ids=str)
def test_numpy_numbers_become_plain_ones(tmp_path: Path, value: object) -> None:
    read = read_dictionary(dump(tmp_path, {"a": [np.array([value])[0]]}))["a"]
    assert read == [value]
    assert type(read[0]) is type(value)


@pytest.mark.parametrize(
    "raw",
    [
        b"\x80\x02cnumpy.core.multiarray\nscalar\n(N}X\x07\x00\x00\x00__new__K\x01stb.",  # BUILD upon the class
        b"\x80\x03cnumpy.core.multiarray\nscalar\ncnumpy\ndtype\nX\x02\x00\x00\x00O8\x85RC\x08" + bytes(8) + b"\x86R.",
        b"\x80\x03cnumpy.core.multiarray\nscalar\ncnumpy\ndtype\nX\x02\x00\x00\x00i8\x85RC\x10" + bytes(16) + b"\x86R.",
    ],
    ids=["class changed", "object", "two numbers"],
)
def test_other_uses_of_a_number_are_refused(tmp_path: Path, raw: bytes) -> None:
    path = tmp_path / "table.pkl"
    path.write_bytes(raw)
    with pytest.raises(TableError, match="cannot be read as a pickle"):
        read_dictionary(path)
    assert read_dictionary(dump(tmp_path, {"a": np.int64(3)})) == {"a": 3}


@pytest.mark.shared_data
def test_the_release_is_read(shared_data: Path) -> None:
    folder = shared_data / "reclm-release" / "mind"
    assert read_matrix(folder / "trnMat_zero.pkl").shape == (57_128, 2_386)
    assert len(read_dictionary(folder / "item_info_dict.pkl")) == 3_827
    similar = read_dictionary(folder / "self_instruction_dict_item.pkl")
    assert len(similar) == 892
    assert similar[0] == [3192, 2500, 2166, 279, 3735]
