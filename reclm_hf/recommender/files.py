"""Files of a recommender: written whole or not at all, and read with errors that name what is missing or broken."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from safetensors import SafetensorError

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq


LONGEST_TEXT = 100_000
"""Characters of an id, a title or a category: nobody shows a longer one, and a broken table may hold one."""


def require_short(what: str, texts: Sequence[str]) -> None:
    """Raise ValueError, naming position and length, where a text is longer than `LONGEST_TEXT`."""
    lengths = list(map(len, texts))
    if lengths and max(lengths) > LONGEST_TEXT:
        position = lengths.index(max(lengths))
        raise ValueError(
            f"{what} {position + 1} has {lengths[position]:,} characters, more than {LONGEST_TEXT:,}: it begins with "
            f"{texts[position][:40]!r}; shorten it"
        )


def write_atomically(path: Path, write: Callable[[str], Any]) -> None:
    """Call `write` with the name of a file beside `path`, then move it there whole; an OSError names `path`."""
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
    os.close(handle)
    try:
        write(temporary)
        with open(temporary, "rb+") as stream:
            os.fsync(stream.fileno())
        umask = os.umask(0)  # mkstemp makes private files; others may read this one as far as the umask lets them
        os.umask(umask)
        os.chmod(temporary, 0o666 & ~umask)
        os.replace(temporary, path)
    except (OSError, SafetensorError) as error:
        raise OSError(f"{path} could not be written ({error}): free some space and try again") from error
    finally:
        Path(temporary).unlink(missing_ok=True)


def read_tensors(path: Path, names: Sequence[str] | None = None) -> dict[str, np.ndarray]:
    """Arrays of a safetensors file. Raises FileNotFoundError, or ValueError naming a broken file or missing arrays."""
    from safetensors.numpy import load_file

    _require(path)
    try:
        tensors = load_file(path)
    except SafetensorError as error:
        raise ValueError(f"{path} is not a readable safetensors file ({error}): save or fetch it again") from error
    missing = [name for name in names or () if name not in tensors]
    if missing:
        raise ValueError(f"{path} lacks {', '.join(missing)}: save or fetch it again")
    return tensors


def write_strings(
    path: Path, columns: Mapping[str, list[str]], lists: Mapping[str, list[list[str]]] | None = None
) -> None:
    """Write a Parquet table of string columns and, after them, of columns that hold lists of strings."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    arrays = {name: pa.array(values, type=pa.string()) for name, values in columns.items()}
    arrays |= {name: pa.array(values, type=pa.list_(pa.string())) for name, values in (lists or {}).items()}
    write_atomically(path, lambda temporary: pq.write_table(pa.table(arrays), temporary))


def read_strings(path: Path, columns: Sequence[str]) -> dict[str, list[str]]:
    """String columns of a Parquet table. Raises FileNotFoundError, or ValueError where it is broken or lacks one."""
    import pyarrow as pa

    return _read(path, columns, pa.string())


def read_string_lists(path: Path, column: str) -> list[list[str]]:
    """A column of lists of strings: empty where a row has none, or where the file is older and lacks the column.

    Raises as `read_strings` does.
    """
    import pyarrow as pa

    file = _open(path)
    if column not in file.schema_arrow.names:
        return [[] for _ in range(file.metadata.num_rows)]
    return [names or [] for names in _read(path, (column,), pa.list_(pa.string()))[column]]


def _read(path: Path, columns: Sequence[str], kind: pa.DataType) -> dict[str, list[Any]]:
    import pyarrow as pa

    file = _open(path)
    try:
        table = file.read()
        found = {name: table.column(name).cast(kind) for name in columns}
        for name, column in found.items():
            _require_present(path, name, column)
        return {name: column.to_pylist() for name, column in found.items()}
    except (pa.ArrowException, KeyError) as error:
        raise ValueError(f"{path} is not a readable table of {', '.join(columns)} ({error}): fetch it again") from error


def _require_present(path: Path, name: str, column: pa.ChunkedArray) -> None:
    import pyarrow as pa
    import pyarrow.compute as pc

    listed = pa.types.is_list(column.type)
    texts = pc.list_flatten(column) if listed else column  # a row without a list has none of them
    if texts.null_count:
        row = "" if listed else f" in row {texts.is_null().index(True).as_py() + 1}"
        raise ValueError(f"{path}: {name} is missing{row}: write the table again")


def _open(path: Path) -> pq.ParquetFile:
    import pyarrow as pa
    import pyarrow.parquet as pq

    _require(path)
    try:
        return pq.ParquetFile(path)
    except pa.ArrowException as error:
        raise ValueError(f"{path} is not a readable Parquet file ({error}): save or fetch it again") from error


def _require(path: Path) -> None:
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing: the folder does not hold a whole saved recommender")
