"""What is taken for a Hub id; the rest is tested over HTTP in tests/integration."""

from __future__ import annotations

from pathlib import Path

import pytest

from reclm_hf.data.hub_tables import hub_id
from reclm_hf.data.load import load_info, load_interactions
from reclm_hf.data.tables import TableError


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("org/name", ("org/name", None)),
        ("org/name@v1.0", ("org/name", "v1.0")),
        ("org/na.me-2@refs/pr/1", ("org/na.me-2", "refs/pr/1")),
        *(
            (other, None)
            for other in ("name", "./org/name", "../name", "/org/name", "~/name", "a/b/c", "org/", "/name")
        ),
        *((other, None) for other in ("org/name@", "org/..", "org name/x", "org\\name", "org/name.", "", "@main")),
    ],
)
def test_what_is_a_hub_id(source: str, expected: tuple[str, str | None] | None) -> None:
    assert hub_id(source) == expected


def test_a_folder_is_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "org" / "name").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    assert hub_id("org/name") is None
    assert hub_id("org/other") == ("org/other", None)


def test_neither_folder_nor_reachable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(TableError, match=r"runs/toy: there is no folder of that name, and from the Hub"):
        load_interactions("runs/toy")
    with pytest.raises(TableError, match="toy: neither a bundled data set"):
        load_info("toy")
    (tmp_path / "toy").mkdir()
    assert load_info("toy") == {}
