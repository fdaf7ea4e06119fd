"""Data sets as folders: what is written is read back, and a full disk loses nothing that was finished."""

from __future__ import annotations

import errno
import json
import logging
import os
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from reclm_hf.data.folder import read_dataset, write_dataset, write_json, write_text
from reclm_hf.data.interactions import Interactions
from reclm_hf.data.load import load_interactions, load_splits
from reclm_hf.data.tables import TableError


def small(times: bool = True, name: str = "small") -> Interactions:
    """Three users, four items; ids with leading zeros."""
    items = pd.DataFrame(
        {"item_id": ["00", "01", "02", "03"], "title": ["A", "B", "C", "D"], "categories": [["x"], [], [], []]}
    )
    rows = pd.DataFrame({"user_id": list("ababca"), "item_id": ["00", "01", "01", "02", "00", "03"]})
    if times:
        rows["timestamp"] = pd.to_datetime(range(6), unit="D", utc=True)
    return Interactions.from_tables(items, rows, name)


@pytest.mark.parametrize("times", [True, False])
def test_round_trip(tmp_path: Path, times: bool) -> None:
    data = small(times)
    info = write_dataset(data, tmp_path / "out", {"licence": "CC0", "test_cut": None})
    again, read = read_dataset(tmp_path / "out")
    assert again.fingerprint() == data.fingerprint() == info["fingerprint"]
    assert again.items["categories"].map(list).tolist() == [["x"], [], [], []]
    assert read == info
    assert info["counts"] == {"users": 3, "items": 4, "interactions": 6}
    assert sorted(os.listdir(tmp_path / "out")) == ["dataset.json", "interactions.parquet", "items.parquet"]


def test_the_rating_rule_stays_in_the_fingerprint(tmp_path: Path) -> None:
    data = replace(small(), min_rating=3.0)
    write_dataset(data, tmp_path)
    assert load_interactions(str(tmp_path)).fingerprint() == data.fingerprint() != small().fingerprint()


def test_the_cut_of_the_folder_is_used(tmp_path: Path) -> None:
    cut = 4 * 86_400_000_000
    write_dataset(small(), tmp_path, {"test_cut": cut})
    assert load_splits(str(tmp_path)).test.cut == cut


def test_without_dataset_json(tmp_path: Path) -> None:
    write_dataset(small(), tmp_path / "mine")
    (tmp_path / "mine" / "dataset.json").unlink()
    assert load_interactions(str(tmp_path / "mine")).name == "mine"
    (tmp_path / "mine" / "items.parquet").unlink()
    with pytest.raises(TableError, match=r"items\.parquet: there is no such file"):
        load_interactions(str(tmp_path / "mine"))


@pytest.mark.parametrize("content", ["{", "[]", "\udcff"])
def test_broken_dataset_json(tmp_path: Path, content: str) -> None:
    write_dataset(small(), tmp_path)
    (tmp_path / "dataset.json").write_bytes(content.encode(errors="surrogateescape"))
    with pytest.raises(TableError, match=r"dataset\.json"):
        load_interactions(str(tmp_path))


def test_a_changed_table_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_dataset(small(), tmp_path)
    info = json.loads((tmp_path / "dataset.json").read_text())
    info["sha256"]["items.parquet"] = "0" * 64
    (tmp_path / "dataset.json").write_text(json.dumps(info))
    with caplog.at_level(logging.WARNING):
        load_interactions(str(tmp_path))
    assert "items.parquet: differs" in caplog.text


@pytest.mark.parametrize("full_after", [0, 1, 2])
def test_disk_full_leaves_the_finished_files_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, full_after: int
) -> None:
    """The disk fills while file number `full_after` is flushed: older files keep their old or new content."""
    write_dataset(small(name="old"), tmp_path)
    flushes = 0

    def fsync(descriptor: int) -> None:
        nonlocal flushes
        flushes += 1
        if flushes > full_after:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", fsync)
    name = ("items.parquet", "interactions.parquet", "dataset.json")[full_after]
    with pytest.raises(TableError, match=rf"{name}: could not be written \(No space left on device\)"):
        write_dataset(small(name="new"), tmp_path)
    monkeypatch.undo()
    assert sorted(os.listdir(tmp_path)) == ["dataset.json", "interactions.parquet", "items.parquet"]
    assert load_interactions(str(tmp_path)).name == "old"


def test_text_is_written_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "new" / "words.csv"
    write_text("\ufeffä,b\r\n1,2\r\n", path)
    assert path.read_bytes() == "\ufeffä,b\r\n1,2\r\n".encode()
    write_json({"where": Path("a"), "ä": 1}, tmp_path / "words.json")
    assert (tmp_path / "words.json").read_bytes() == '{\n  "where": "a",\n  "ä": 1\n}\n'.encode()

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(TableError, match=r"words\.csv: could not be written \(No space left on device\)"):
        write_text("other", path)
    assert path.read_bytes().endswith(b"1,2\r\n")
    assert os.listdir(path.parent) == ["words.csv"]


def test_disk_full_for_real(tmp_path: Path) -> None:
    """/dev/full refuses every write, as a full disk does; here through the function that writes all Parquet files."""
    from reclm_hf.data import tables

    if not Path("/dev/full").exists():
        pytest.skip("this system has no /dev/full")
    folder = tmp_path / "out"
    folder.mkdir()
    (folder / f".items.parquet.{os.getpid()}.tmp").symlink_to("/dev/full")
    with pytest.raises(TableError, match="No space left on device"):
        tables.write_parquet(small().items, folder / "items.parquet", tables.ITEM_COLUMNS)
    assert os.listdir(folder) == []
