"""Files and Hub data sets as frames in which nothing has been guessed: every CSV field stays the text it was."""

from __future__ import annotations

import codecs
import csv
import gzip
import re
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING

from ..tables import TableError, read_parquet

if TYPE_CHECKING:
    import pandas as pd

_HUB_NAME = re.compile(r"(?:hub://)?([\w.-]+/[\w.-]+)(?::([\w.-]+))?(?::([\w.-]+))?(?:@([\w./-]+))?")
_FILE_SUFFIXES = {".csv", ".tsv", ".tab", ".txt", ".dat", ".parquet", ".gz"}
_CHUNK = 1 << 20


def read_table(
    source: str, *, encoding: str = "utf-8", delimiter: str | None = None, quoted: bool = True
) -> pd.DataFrame:
    """Read a CSV, TSV (both also as .gz) or Parquet file, or a data set of the Hub.

    Args:
        source: a path, or `org/name[:config[:split]][@revision]` with or without `hub://` before it.
        encoding: of a CSV file.
        delimiter: of a CSV file; the default is a tab for .tsv and .tab, else a comma.
        quoted: whether quotation marks in a CSV file hold a field together; where not, they are text.

    Returns:
        A frame with columns as in the source. CSV columns are text, missing fields are empty strings, so that ids
        such as "007" and "NA" survive.

    Raises:
        TableError: absent, empty, of another encoding, or malformed.
    """
    path = Path(source)
    hub = _HUB_NAME.fullmatch(source)
    if source.startswith("hub://") or (hub and not path.exists() and path.suffix.lower() not in _FILE_SUFFIXES):
        if hub is None:
            raise TableError(f"{source}: not a data set name; write hub://org/name[:config[:split]][@revision].")
        return _read_hub(source, *hub.groups())
    if path.suffix.lower() == ".parquet":
        return read_parquet(path)
    return _read_csv(path, encoding, delimiter, quoted)


def require_files(folder: Path, names: Iterable[str], documented: str) -> None:
    """Raise `TableError` for the first of `names` that `folder` does not have; `documented` says where to read on."""
    for name in names:
        if not (folder / name).is_file():
            raise TableError(f"{folder / name}: there is no such file. The format is described at {documented}.")


def numbered_lines(path: Path, encoding: str = "utf-8") -> Iterator[tuple[int, str]]:
    """The lines of a text file that are not empty, each with its number (the first line is 1).

    Raises:
        TableError: absent, empty, or not in `encoding`.
    """
    _require_content(path)
    # Read as bytes, so that only "\n" ends a line: titles may hold the other line ends that Python knows.
    with open(path, "rb") as file:
        offset = 0
        for number, raw in enumerate(file, start=1):
            try:
                line = raw.decode(_with_mark(encoding) if number == 1 else encoding)
            except UnicodeDecodeError as error:
                raise _wrong_encoding(path, encoding, offset + error.start) from error
            offset += len(raw)
            if line.strip():
                yield number, line.rstrip("\r\n")


def utf8_or_latin1(path: Path) -> str:
    """The encoding of a text file that is known to be in one of the two.

    Raises:
        TableError: absent or empty.
    """
    _require_content(path)
    try:
        path.read_bytes().decode()
    except UnicodeDecodeError:
        return "latin-1"
    return "utf-8"


def bad_line(path: Path, number: int, line: str, expected: str) -> TableError:
    """The error for one line that is not as the format has it."""
    return TableError(f"{path}: row {number} is {line[:80]!r}, expected {expected!r}. Repair or remove it.")


def _read_csv(path: Path, encoding: str, delimiter: str | None, quoted: bool) -> pd.DataFrame:
    import pandas as pd

    _require_content(path)
    if delimiter is None:
        delimiter = "\t" if {".tsv", ".tab"} & {suffix.lower() for suffix in path.suffixes} else ","
    try:
        with warnings.catch_warnings():
            # pandas drops surplus fields with a warning only; a shifted table must not pass.
            warnings.simplefilter("error", pd.errors.ParserWarning)
            frame = pd.read_csv(
                path,
                dtype=str,
                keep_default_na=False,
                index_col=False,
                sep=delimiter,
                encoding=_with_mark(encoding),
                quoting=csv.QUOTE_MINIMAL if quoted else csv.QUOTE_NONE,
                engine="c" if len(delimiter) == 1 else "python",
            )
    except UnicodeDecodeError as error:
        raise _wrong_encoding(path, encoding, _first_bad_byte(path, encoding)) from error
    except LookupError as error:
        raise TableError(
            f"{path}: {encoding!r} is not an encoding that Python knows; try `--encoding cp1252`."
        ) from error
    except (pd.errors.ParserError, pd.errors.ParserWarning, pd.errors.EmptyDataError) as error:
        raise TableError(
            f"{path}: cannot be read as a table separated by {delimiter!r} ({str(error).strip()}). "
            "Name the separator with `--delimiter`, or quote fields that contain it."
        ) from error
    except (EOFError, gzip.BadGzipFile) as error:
        raise TableError(f"{path}: is not a whole gzip file ({error}). Copy or download it again.") from error
    return frame.fillna("")


def _read_hub(source: str, name: str, config: str | None, split: str | None, revision: str | None) -> pd.DataFrame:
    import datasets

    try:
        loaded = datasets.load_dataset(name, config, split=split or "train", revision=revision)
    except Exception as error:  # the client raises many kinds; all mean that there is no table
        raise TableError(
            f"{source}: could not be loaded from the Hub ({type(error).__name__}: {error}). Check the name, config and "
            "split (org/name:config:split), your network and your token, or give a local file."
        ) from error
    return loaded.to_pandas()


def _require_content(path: Path) -> None:
    if not path.is_file():
        raise TableError(f"{path}: there is no such file.")
    if path.stat().st_size == 0:
        raise TableError(f"{path}: the file is empty (0 bytes). Copy or download it again.")


def _with_mark(encoding: str) -> str:
    return "utf-8-sig" if encoding.lower().replace("_", "-") in {"utf-8", "utf8"} else encoding


def _first_bad_byte(path: Path, encoding: str) -> int:
    decoder = codecs.getincrementaldecoder(encoding)()
    start = 0
    opened: IO[bytes] = gzip.open(path, "rb") if path.suffix.lower() == ".gz" else open(path, "rb")  # type: ignore[assignment]  # noqa: SIM115
    with opened as file:
        while True:
            chunk = file.read(_CHUNK)
            pending = len(decoder.getstate()[0])
            try:
                decoder.decode(chunk, final=not chunk)
            except UnicodeDecodeError as error:
                return start - pending + error.start
            if not chunk:
                return start
            start += len(chunk)


def _wrong_encoding(path: Path, encoding: str, offset: int) -> TableError:
    opened: IO[bytes] = gzip.open(path, "rb") if path.suffix.lower() == ".gz" else open(path, "rb")  # type: ignore[assignment]  # noqa: SIM115
    with opened as file:
        start = file.read(2)
        file.seek(offset)
        byte = file.read(1)
    guess = "utf-16" if start in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE) else "cp1252"
    return TableError(
        f"{path}: byte {offset} (0x{byte.hex()}) is not {encoding}. Name the file's encoding with `--encoding`, "
        f"for instance `--encoding {guess}`."
    )
