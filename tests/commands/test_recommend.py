"""`reclm recommend`: users, everybody, filters; what cannot be done is one clear line."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

from reclm_hf.commands.main import main
from reclm_hf.recommender.modeling_reclm_recommender import RecLMRecommender
from tests.checkerboard import N_USERS
from tests.recommender.models import untrained


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The folder of a recommender; even items are of the category alpha, odd ones of beta."""
    folder = tmp_path_factory.mktemp("model")
    untrained("bias_mf", "standard", "none").save_pretrained(folder)
    return str(folder)


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, object]:
    assert main(["recommend", *words, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def items_of(found: dict[str, object]) -> list[str]:
    rows = found["recommendations"]
    assert isinstance(rows, list)
    return [row["item_id"] for row in rows]


def test_all_users_go_to_a_file(model: str, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = run(capsys, model, "--all", "--output", "lists/all.parquet", "--k", "3")
    assert (found["output"], found["users"], found["rows"], found["empty"]) == ("lists/all.parquet", 50, 150, 0)
    table = pd.read_parquet(here / "lists" / "all.parquet")
    expected = RecLMRecommender.from_pretrained(model).recommend(["user-07"], k=3)
    assert table.loc[table["user_id"] == "user-07", "item_id"].tolist() == expected.item_ids[0]
    run(capsys, model, "user-07", "--output", "lists/one.parquet", "--k", "3")
    one = pd.read_parquet(here / "lists" / "one.parquet")
    pd.testing.assert_frame_equal(one, table[table["user_id"] == "user-07"].reset_index(drop=True))


def test_what_was_written_is_said(model: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["recommend", model, "--all", "--output", "all.parquet", "--allow", "048", "--category", "alpha"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"all.parquet: {N_USERS} recommendations for {N_USERS} users"
    assert lines[-1].startswith("Next: pandas.read_parquet('all.parquet')")
    # Some have seen item 000.
    assert main(["recommend", model, "--all", "--output", "all.parquet", "--allow", "000"]) == 0
    table = pd.read_parquet("all.parquet")
    assert f"{N_USERS - len(table)} users have no row" in capsys.readouterr().out
    assert 0 < len(table) < N_USERS


def test_filters_by_category_id_and_file(model: str, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert {int(item) % 2 for item in items_of(run(capsys, model, "user-00", "--category", "beta"))} == {1}
    both = items_of(run(capsys, model, "user-00", "--category", "beta", "--category", "alpha", "--k", "50"))
    assert both == items_of(run(capsys, model, "user-00", "--k", "50"))
    (here / "allowed.txt").write_text("\ufeff047\r\n  049 \r\n\r\n", encoding="utf-8")
    (here / "048").write_text("047\n")  # an id of the catalogue is an id, whatever files there are
    assert set(items_of(run(capsys, model, "user-00", "--allow", "allowed.txt", "--allow", "048"))) == {
        "047",
        "048",
        "049",
    }
    (here / "withdrawn.txt").write_text("")
    denied = run(capsys, model, "user-00", "--allow", "allowed.txt", "--deny", "047", "--deny", "withdrawn.txt")
    assert items_of(denied) == ["049"]


def test_an_empty_list_is_said(model: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["recommend", model, "user-00", "--allow", "047", "--deny", "047"]) == 0
    assert capsys.readouterr().out.startswith("user-00:\n  nothing is left to recommend\n")


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([], "one of the four"),
        (["user-00", "--all", "--output", "x.parquet"], "one of the four"),
        (["user-00", "--profile", "User identity: a"], "one of the four"),
        (["--all"], "add --output FILE.parquet"),
        (["--history", "000", "--explain"], "--explain goes with user ids"),
        (["--similar", "900"], "unknown item '900'"),
        (["--history", "900"], "--history '900': neither an item of the catalogue nor a file"),
        (["user-00", "--category", "Alpha"], "unknown category 'Alpha': did you mean 'alpha'?"),
        (["user-00", "--deny", "900"], "--deny '900': neither an item of the catalogue nor a file of item ids"),
        (
            ["user-00", "--deny", "bad.txt"],
            "--deny bad.txt: not in the catalogue: line 2: '900', line 3: '901', line 5: 'x' and 1 more",
        ),
        (["user-00", "--allow", "empty.txt"], "--allow empty.txt: no id in it"),
        (["user-00", "--allow", "binary"], "--allow binary: not a text file"),
        (["user-99"], "unknown user 'user-99': for somebody who was not in the training data"),
    ],
)
def test_what_cannot_be_done_is_one_line(
    model: str, here: Path, capsys: pytest.CaptureFixture[str], words: list[str], expected: str
) -> None:
    (here / "bad.txt").write_text("001\n900\n901\n\nx\ny\n")
    (here / "empty.txt").write_text("\n \n")
    (here / "binary").write_bytes(b"PAR1\xff\xfe")
    assert main(["recommend", model, *words]) == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("reclm: error: ")
    assert expected in last
    assert not (here / "x.parquet").exists()


def test_somebody_new_is_a_history(model: str, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "mine.txt").write_text("000\n002\n")
    found = items_of(run(capsys, model, "--history", "mine.txt", "--history", "004", "--k", "3", "--category", "alpha"))
    loaded = RecLMRecommender.from_pretrained(model)
    expected = loaded.recommend_for_history(["000", "002", "004"], k=3, categories=["alpha"])
    assert found == expected.item_ids[0]


def test_similar_items_and_explanations(model: str, capsys: pytest.CaptureFixture[str]) -> None:
    loaded = RecLMRecommender.from_pretrained(model)
    found = run(capsys, model, "--similar", "000", "--k", "3", "--deny", "002")
    expected = loaded.similar_items(["000"], k=3, deny=["002"]).to_frame()
    assert pd.DataFrame(found["similar"])["similar_id"].tolist() == expected["similar_id"].tolist()
    assert main(["recommend", model, "user-07", "--k", "2", "--explain"]) == 0
    lines = capsys.readouterr().out.splitlines()
    best = loaded.recommend(["user-07"], k=2).item_ids[0]
    for item in best:
        assert str(loaded.explain("user-07", item)).splitlines()[0] in "\n".join(lines)
    explained = run(capsys, model, "user-07", "--k", "2", "--explain")["explanations"]
    assert isinstance(explained, list)
    assert [entry["item_id"] for entry in explained] == best
    assert set(explained[0]["parts"]) == {"id", "text", "profile", "bias"}
