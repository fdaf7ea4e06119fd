"""`reclm data` as a person runs it: a child process, files in, files and messages out."""

from __future__ import annotations

import json
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


def test_without_a_command_the_usage_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main([])
    assert caught.value.code == 2
    assert "COMMAND" in capsys.readouterr().err
