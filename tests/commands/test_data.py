"""`reclm data` as a person runs it: a child process, files in, files and messages out."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from reclm_hf.commands.main import build_parser, main

RATINGS = "userId,movieId,when\n" + "".join(
    f"{user:03},{movie},{1_365_000_000 + 1000 * step}\n"
    for step, (user, movie) in enumerate(
        (user, movie) for movie in range(12) for user in range(1, 6) if (user + movie) % 4
    )
)
MOVIES = "movieId,name,genres\n" + "".join(f"{movie},Film {movie},Crime|Drama\n" for movie in range(12))
COLUMNS = "--user-column userId --item-column movieId --time-column when --title-column name --categories-column genres"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with both files in it."""
    (tmp_path / "ratings.csv").write_text(RATINGS)
    (tmp_path / "movies.csv").write_text(MOVIES)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_import_then_describe(folder: Path, child_environment: dict[str, str]) -> None:
    def reclm(arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "reclm_hf.commands.main", *arguments.split()]
        return subprocess.run(command, env=child_environment, capture_output=True, text=True, timeout=120, check=False)

    done = reclm(f"data import ratings.csv --items movies.csv {COLUMNS}")
    assert done.returncode == 0, done.stderr
    assert "5 users, 12 items, 45 interactions" in done.stdout
    assert done.stdout.splitlines()[-1] == "Next: reclm data describe runs/ratings/data"
    assert pd.read_parquet("runs/ratings/data/interactions.parquet")["user_id"].min() == "001"

    done = reclm("data describe runs/ratings/data --no-text-signal --json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["name"] == "ratings"
    assert found["train"]["users"] == 5
    assert found["next"].startswith("reclm profiles build")

    done = reclm(f"data import ratings.csv --items movies.csv {COLUMNS.replace('userId', 'userid')}")
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("reclm: error: ratings.csv: there is no column 'userid'")
    assert "Did you mean 'userId'" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of a command run in this process."""
    code = main(arguments)
    printed = capsys.readouterr()
    return code, printed.out, printed.err


def test_import_as_json(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = f"data import ratings.csv --items movies.csv {COLUMNS} --output out --name mine --json"
    code, out, _ = run(capsys, *arguments.split())
    info = json.loads(out)
    assert code == 0
    assert info["counts"] == {"users": 5, "items": 12, "interactions": 45}
    assert info["output"] == "out"
    assert info["next"] == "reclm data describe out"
    written = json.loads(Path("out/dataset.json").read_text())
    assert written["name"] == "mine"
    assert written["source"] == "ratings.csv"


def test_movietweetings(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "movies.dat").write_text("0000007::Heat (1995)::Crime\n")
    (folder / "ratings.dat").write_text("1::0000007::8::1365029107\n2::0000007::3::1365029107\n")
    code, out, _ = run(capsys, "data", "import", str(folder), "--format", "movietweetings", "--name", "mt")
    assert code == 0
    assert "mt: 2 users, 1 items, 2 interactions" in out
    assert pd.read_parquet("runs/mt/data/items.parquet")["item_id"].tolist() == ["0000007"]


NEWS_LOG = "".join(
    f"{day}\tU{user}\t11/{day}/2019 {user}:00:00 AM\t\tN{user}-1 N{day}-1 N9-0\n"
    for day in (13, 14)
    for user in (1, 2, 3)
)
FORMATS = {
    "movielens": {
        "ratings.csv": "userId,movieId,rating,timestamp\n1,1,4,881250949\n2,1,2,881250949\n",
        "movies.csv": "movieId,title,genres\n1,Heat (1995),Crime\n",
    },
    "mind": {
        "behaviors.tsv": NEWS_LOG,
        "news.tsv": "".join(f"N{n}\tsports\tgolf\tTitle {n}\t\turl\t[]\t[]\n" for n in (1, 2, 3, 9, 13, 14)),
    },
    "netflix": {
        "combined_data_1.txt": "1:\n7,3,2004-09-06\n2:\n7,4,2005-01-01\n",
        "movie_titles.csv": "1,1995,Dragons\n2,2004,Lost, and Found\n",
    },
}


@pytest.mark.parametrize(
    ("form", "options", "counts", "cut"),
    [
        ("movielens", "", "2 users, 1 items, 2 interactions", None),
        ("movielens", "--min-rating 3", "1 users, 1 items, 1 interactions", None),
        ("mind", "", "3 users, 5 items, 9 interactions", 1_573_689_600_000_000),
        ("mind", "--train-period 2019-11-13 --max-users 2", "2 users, 4 items, 6 interactions", 1_573_689_600_000_000),
        ("netflix", "--test-period 2005", "1 users, 2 items, 2 interactions", 1_104_537_600_000_000),
    ],
)
def test_formats(
    folder: Path, capsys: pytest.CaptureFixture[str], form: str, options: str, counts: str, cut: int | None
) -> None:
    (folder / "raw").mkdir()
    for name, content in FORMATS[form].items():
        (folder / "raw" / name).write_text(content)
    code, out, err = run(capsys, "data", "import", "raw", "--format", form, *options.split())
    assert code == 0, err
    assert f"raw: {counts}" in out
    info = json.loads(Path("runs/raw/data/dataset.json").read_text())
    assert info["source"] == "raw"
    assert info["licence"]
    assert info["attribution"]
    assert info.get("test_cut") == cut


def test_online_retail(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    header = "InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country\n"
    row = "536365,71053,LANTERN,6,7/1/2011 8:26,3.39,17850,United Kingdom\n"
    (folder / "retail.csv").write_text(header + row + row + row.replace("536365", "C36365"))
    command = ["data", "import", "retail.csv", "--format", "online-retail"]
    code, _, err = run(capsys, *command)
    assert (code, "--time-format" in err) == (2, True)
    code, out, err = run(capsys, *command, "--time-format", "%m/%d/%Y %H:%M", "--json")
    assert code == 0, err
    info = json.loads(out)
    assert info["licence"] == "CC BY 4.0"
    assert info["counts"] == {"users": 1, "items": 1, "interactions": 1}
    assert [note[:10] for note in info["notes"]] == ["1 rows lef", "0 rows lef", "0 rows lef", "1 repeated"]


def test_reclm_release(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    contents = {
        "item_info_dict": {0: {"year": 1990, "title": "A"}, 1: {"year": 1991, "title": "B"}},
        "item_id_map_zero": {1: 0},
        "user_item_dict_test": {0: [0, 1], 1: [0]},
    }
    (folder / "netflix").mkdir()
    for name, content in contents.items():
        (folder / "netflix" / f"{name}.pkl").write_bytes(pickle.dumps(content))
    code, out, err = run(capsys, "data", "import", "netflix", "--format", "reclm-release")
    assert code == 0, err
    assert "Not the paper's protocol" in out
    rows = pd.read_parquet("runs/netflix/data/interactions.parquet")
    assert rows.values.tolist() == [["0", "0", "train"], ["0", "1", "test"], ["1", "0", "train"]]


def test_options_of_another_format_are_refused(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = run(capsys, "data", "import", "ratings.csv", "--test-period", "2005")
    assert code == 2
    assert "--train-period, --test-period and --max-users belong to --format mind and netflix, not to columns" in err


def test_unknown_items_of_a_format(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "movies.dat").write_text("7::Heat (1995)::Crime\n")
    (folder / "ratings.dat").write_text("1::7::8::1365029107\n2::8::3::1365029107\n")
    command = ["data", "import", str(folder), "--format", "movielens", "--output", "out"]
    code, _, err = run(capsys, *command)
    assert (code, "--drop-unknown-items" in err) == (2, True)
    code, out, err = run(capsys, *command, "--drop-unknown-items")
    assert code == 0, err
    assert "1 interactions with unknown items were left out." in out


def test_encoding_and_zone_options_reach_the_importer(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("movies.csv").write_bytes(MOVIES.replace("Film 3", "Amélie").encode("cp1252"))
    code, _, err = run(capsys, *f"data import ratings.csv --items movies.csv {COLUMNS}".split())
    assert (code, "--encoding cp1252" in err) == (2, True)
    options = "--encoding cp1252 --timezone Europe/Brussels --output out"
    code, _, err = run(capsys, *f"data import ratings.csv --items movies.csv {COLUMNS} {options}".split())
    assert code == 0, err
    assert "Amélie" in pd.read_parquet("out/items.parquet")["title"].tolist()


def test_describe_encodes_the_texts(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from reclm_hf.recommender import text_encoder

    class Encoder:
        def __init__(self, model_id: str = "standard") -> None:
            self.model_id = model_id

        def encode(self, texts: list[str]):
            assert texts[0] == "Film 0"
            assert self.model_id == "org/model"
            return pd.get_dummies(pd.Series(texts)).to_numpy(dtype="float32")

    monkeypatch.setattr(text_encoder, "TextEncoder", Encoder)
    run(capsys, *f"data import ratings.csv --items movies.csv {COLUMNS} --output out".split())
    code, out, err = run(capsys, *["data", "describe", "out", "--encoder", "org/model", "--permutations", "5"])
    assert code == 0, err
    assert "text signal     no measurable text signal" in out


def test_debug_shows_the_traceback(folder: Path) -> None:
    with pytest.raises(ValueError, match="neither a bundled data set"):
        main(["data", "describe", "nowhere", "--debug"])


def test_every_leaf_has_the_common_options(capsys: pytest.CaptureFixture[str]) -> None:
    for leaf in (["data", "import"], ["data", "describe"]):
        with pytest.raises(SystemExit):
            build_parser().parse_args([*leaf, "--help"])
        assert {"--json", "--debug"} <= set(capsys.readouterr().out.replace("[", " ").replace("]", " ").split())
