from __future__ import annotations

import csv
import os
from pathlib import Path

import pandas as pd
import pytest

from reclm_hf.data.tables import PREFERENCE_COLUMNS, TableError, read_parquet, write_parquet
from reclm_hf.profiles.review import REVIEW_COLUMNS, carry_verdicts, export_review, import_review, row_ids

N = 40


def message(role: str, content: str) -> dict[str, str]:
    return {"role": role, "content": content}


@pytest.fixture
def table() -> pd.DataFrame:
    """Pairs with texts of the kinds that spreadsheets and CSV readers stumble over."""
    rows = []
    for number in range(N):
        chosen = f"User identity: fan {number}, owl, bird; User interests: \"x\", ünï, 'z'"
        rejected = f"User identity: other {number}"
        if number == 0:
            rejected = ""
        elif number == 1:
            rejected = '=HYPERLINK("http://example.org"; "x")'
        elif number == 2:
            chosen, rejected = '-2+3 lines\nof text, quoted "so"', "@SUM(A1)"
        elif number == 3:
            rejected = "'quoted from the start"
        prompt = [
            message("system", "SYSTEM"),
            message("user", f"This person chose:\n- =Title {number}, (drama)\nWhat?"),
        ]
        rows.append(
            {
                "prompt": prompt,
                "chosen": [message("assistant", chosen)],
                "rejected": [message("assistant", rejected)],
                "rejected_kind": "empty" if number == 0 else "neighbor",
                "user_id": f"+user;{number}",
                "accepted": None,
            }
        )
    return pd.DataFrame(rows)


def rows_of(path: Path) -> list[dict[str, str]]:
    with open(path, encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


def save(rows: list[dict[str, str]], path: Path, delimiter: str = ",", encoding: str = "utf-8-sig") -> Path:
    with open(path, "w", encoding=encoding, newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), delimiter=delimiter)
        writer.writeheader()
        writer.writerows(rows)
    return path


def side_of_chosen(row: dict[str, str], table: pd.DataFrame) -> str:
    number = row_ids(table).index(row["row"])
    return "A" if row["A"].lstrip("'") == table["chosen"].iloc[number][0]["content"] else "B"


def fill(path: Path, table: pd.DataFrame, verdicts: dict[int, str]) -> list[dict[str, str]]:
    """Verdicts ("chosen" and "rejected" turned into the side that the pair is shown on) by row of the table."""
    rows, identities = rows_of(path), row_ids(table)
    for row in rows:
        verdict = verdicts.get(identities.index(row["row"]), "")
        chosen = side_of_chosen(row, table)
        sides = {"chosen": chosen, "rejected": "B" if chosen == "A" else "A"}
        row["verdict"] = sides.get(verdict, verdict)
    return rows


@pytest.fixture
def exported(table: pd.DataFrame, tmp_path: Path) -> Path:
    assert export_review(table, tmp_path / "review.csv") == N
    return tmp_path / "review.csv"


def test_the_reviewer_is_blind(table: pd.DataFrame, exported: Path) -> None:
    rows = rows_of(exported)
    assert list(rows[0]) == list(REVIEW_COLUMNS)
    sides = [side_of_chosen(row, table) for row in rows]
    assert 8 < sides.count("A") < 32, "both sides, about equally often"
    text = exported.read_text(encoding="utf-8")
    for given_away in ("chosen", "rejected", "neighbor", "empty", "SYSTEM"):
        assert given_away not in text
    assert all(row["verdict"] == "" for row in rows)
    assert rows[0]["written_from"].startswith("This person chose: | - =Title")
    assert [row_ids(table).index(row["row"]) for row in rows] != list(range(N)), "nor does the order tell"


def test_cells_are_no_formulas(exported: Path) -> None:
    cells = [cell for row in rows_of(exported) for cell in row.values()]
    assert not [cell for cell in cells if cell.lstrip(" ").startswith(("=", "+", "-", "@", "\t", "\r", "\n"))]
    assert sum(cell.startswith(("'=", "'+", "'-", "'@")) for cell in cells) == N + 3


def test_the_sample_depends_on_the_seed_alone(table: pd.DataFrame, tmp_path: Path) -> None:
    for name, frame, seed in (("a", table, 1), ("b", table.sample(frac=1, random_state=0), 1), ("c", table, 2)):
        assert export_review(frame, tmp_path / name, sample=10, seed=seed) == 10
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert (tmp_path / "a").read_bytes() != (tmp_path / "c").read_bytes()
    assert export_review(table, tmp_path / "d", sample=1000) == N
    with pytest.raises(ValueError, match="sample=0"):
        export_review(table, tmp_path / "e", sample=0)


def test_verdicts_come_back(table: pd.DataFrame, exported: Path) -> None:
    given = {0: "chosen", 1: "rejected", 2: "chosen", 3: "neither", 4: "skip", 5: "rejected"}
    save(fill(exported, table, given), exported)
    found = import_review(table, exported)
    assert found.table["accepted"].tolist()[:7] == [True, False, True, False, None, False, None]
    assert found.verdicts == {"chosen": 2, "rejected": 2, "neither": 1, "skip": 1, "empty": N - 6}
    assert found.conflicts == []
    assert table["accepted"].isna().all(), "the table that was given is left as it was"


@pytest.mark.parametrize(("delimiter", "encoding"), [(";", "utf-8-sig"), ("\t", "utf-8"), (",", "utf-8")])
def test_what_spreadsheets_do_to_a_file_is_understood(
    table: pd.DataFrame, exported: Path, delimiter: str, encoding: str
) -> None:
    rows = fill(exported, table, {0: "chosen", 1: "chosen", 2: "rejected"})
    for row in rows:
        row["A"], row["B"] = row["A"].lstrip("'") + " ", row["B"].replace("\n", "\r\n")  # opened and saved
        row["verdict"] = f" {row['verdict'].lower()} "
        row["user_id"] = "1E+05"
        row["my remark"] = "hm, yes; no"
    save(list(reversed(rows)), exported, delimiter, encoding)
    with open(exported, "a", encoding="utf-8") as file:
        file.write(delimiter * 6 + "\n\n")
    found = import_review(table, exported)
    assert found.table["accepted"].tolist()[:4] == [True, True, False, None]


def test_reading_back_survives_parquet_and_merges(table: pd.DataFrame, tmp_path: Path) -> None:
    store = tmp_path / "preferences.parquet"
    write_parquet(table, store, PREFERENCE_COLUMNS)
    for name, given in (("one.csv", {0: "chosen", 1: "rejected"}), ("two.csv", {2: "neither", 5: "chosen"})):
        kept = read_parquet(store)
        assert row_ids(kept) == row_ids(table), "ids do not depend on how lists are held in memory"
        export_review(kept, tmp_path / name)
        save(fill(tmp_path / name, table, given), tmp_path / name)
        write_parquet(import_review(kept, tmp_path / name).table, store, PREFERENCE_COLUMNS)
    assert [value if value is None else bool(value) for value in read_parquet(store)["accepted"]][:6] == [
        True,
        False,
        False,
        None,
        None,
        True,
    ]
    assert export_review(read_parquet(store), tmp_path / "three.csv") == N - 4, "what is judged is not asked again"


def test_empty_and_skip_take_nothing_back(table: pd.DataFrame, exported: Path) -> None:
    save(fill(exported, table, {0: "chosen", 1: "rejected"}), exported)
    judged = import_review(table, exported).table
    save(fill(exported, table, {1: "skip"}), exported)
    again = import_review(judged, exported)
    assert again.table["accepted"].tolist()[:2] == [True, False]
    assert again.conflicts == []


def test_conflicts_are_reported_and_the_earlier_verdict_stays(table: pd.DataFrame, exported: Path) -> None:
    save(fill(exported, table, {0: "chosen", 1: "rejected"}), exported)
    judged = import_review(table, exported).table
    save(fill(exported, table, {0: "neither", 1: "neither", 2: "chosen"}), exported)
    again = import_review(judged, exported)
    assert again.table["accepted"].tolist()[:3] == [True, False, True]
    assert len(again.conflicts) == 1, "rejected and neither both mean: not accepted"
    assert "'+user;0'" in again.conflicts[0]
    assert "kept" in again.conflicts[0]
    replaced = import_review(judged, exported, replace=True)
    assert replaced.table["accepted"].tolist()[:3] == [False, False, True]
    assert "replaced" in replaced.conflicts[0]


def test_bad_files_are_refused_with_their_line(table: pd.DataFrame, exported: Path) -> None:
    good = fill(exported, table, dict.fromkeys(range(N), "chosen"))
    # A cell with a line break makes later lines of the file more than one off.
    lines, line = [], 2
    for row in good:
        lines.append(line)
        line += 1 + sum(cell.count("\n") for cell in row.values())

    def refused(place: int, **changes: str) -> str:
        rows = [dict(row) for row in good]
        rows[place].update(changes)
        save(rows, exported)
        with pytest.raises(TableError) as error:
            import_review(table, exported)
        assert f"{exported}, line {lines[place]}:" in str(error.value)
        return str(error.value)

    assert "'maybe' is no verdict. Write A, B, neither, skip" in refused(N - 1, verdict="maybe")
    assert "not the two profiles" in refused(5, A="User identity: somebody else")
    assert "not the two profiles" in refused(6, A=good[6]["B"])
    assert "'r123' is not in the preferences" in refused(7, row="r123")
    twice = {key: good[3][key] for key in ("row", "A", "B")}
    assert f"another verdict in line {lines[3]}" in refused(8, **twice, verdict="neither")
    save([*good, good[0], {**good[1], "verdict": ""}], exported)
    assert import_review(table, exported).verdicts == {"chosen": N + 1, "empty": 1}, "saying it twice does no harm"


def test_files_that_are_no_reviews_are_refused(table: pd.DataFrame, exported: Path, tmp_path: Path) -> None:
    with pytest.raises(TableError, match="there is no such file"):
        import_review(table, tmp_path / "none.csv")
    rows = rows_of(exported)
    for row in rows:
        del row["verdict"]
    with pytest.raises(TableError, match="must name the columns row, A, B, verdict"):
        import_review(table, save(rows, tmp_path / "columns.csv"))
    (tmp_path / "latin.csv").write_bytes("row,A,B,verdict\nü".encode("latin-1"))
    with pytest.raises(TableError, match="CSV UTF-8"):
        import_review(table, tmp_path / "latin.csv")
    (tmp_path / "short.csv").write_text("row,A,B,verdict\nr1,x\n")
    with pytest.raises(TableError, match="line 2: 2 cells for 4 columns"):
        import_review(table, tmp_path / "short.csv")
    (tmp_path / "empty.csv").write_text("")
    with pytest.raises(TableError, match="first line"):
        import_review(table, tmp_path / "empty.csv")


def test_a_file_with_work_in_it_is_not_overwritten(table: pd.DataFrame, exported: Path) -> None:
    before = exported.read_bytes()
    with pytest.raises(TableError, match="may hold verdicts"):
        export_review(table, exported)
    assert exported.read_bytes() == before


def test_a_full_disk_leaves_nothing_behind(
    table: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(TableError, match="No space left"):
        export_review(table, tmp_path / "out" / "review.csv")
    assert list((tmp_path / "out").iterdir()) == []


def test_nothing_left_to_judge_is_said(table: pd.DataFrame, tmp_path: Path) -> None:
    with pytest.raises(TableError, match="no pair is left"):
        export_review(table.assign(accepted=True), tmp_path / "review.csv")


def test_verdicts_move_to_a_new_table(table: pd.DataFrame) -> None:
    old = table.assign(accepted=[True, False] + [None] * (N - 2))
    same, lost = carry_verdicts(table.iloc[::-1].reset_index(drop=True), old)
    assert lost == 0
    assert same["accepted"].tolist()[-2:] == [False, True]
    assert carry_verdicts(table.iloc[1:], old)[1] == 1
