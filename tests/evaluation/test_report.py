"""The tables of a report, and the files rendered from them, on tiny data."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from reclm_hf.data.splits import Split
from reclm_hf.data.tables import read_parquet
from reclm_hf.evaluation import (
    Row,
    beyond_accuracy,
    beyond_table,
    comparisons_table,
    evaluate,
    render_terminal,
    results_table,
    strata_table,
    write_report,
)
from reclm_hf.evaluation.beyond import BEYOND_COLUMNS
from reclm_hf.evaluation.comparisons import COMPARISON_COLUMNS, verdict
from reclm_hf.evaluation.report import read_notes, write_files
from reclm_hf.evaluation.report_text import render_markdown
from reclm_hf.evaluation.rows import RESULT_COLUMNS
from reclm_hf.evaluation.strata import STRATA_COLUMNS
from tests.evaluation.planted import FixedScores, make_split, random_scores, random_split

NAMES = {"dataset": "tiny", "fingerprint": "0123abcd"}
DRAWS = 300


@pytest.fixture(scope="module")
def split() -> Split:
    return random_split(n_users=80, n_items=400, n_cold=80)


def row(split: Split, label: str, kind: str, quality: float, mode: str = "", seeds: Sequence[int] = (0,)) -> Row:
    """A row whose scores are noise, plus `quality` for the targets."""
    wanted = split.targets_matrix("catalogue").toarray()
    evaluations = [evaluate(FixedScores(random_scores(split, seed) + quality * wanted, label), split) for seed in seeds]
    backbone = "" if kind == "floor" else "lightgcn"
    return Row(label, kind, evaluations, backbone=backbone, profile_mode=mode, fit_seconds=1.5)


@pytest.fixture(scope="module")
def rows(split: Split) -> list[Row]:
    return [
        row(split, "lightgcn | constant", "model", 1.0, "constant", (4, 5)),
        row(split, "popularity", "floor", 0.5),
        row(split, "lightgcn", "model", 2.5, "llm", (1, 2, 3)),
        row(split, "random", "floor", 0.0),
        row(split, "lightgcn (mean user)", "mean_user", 0.6, "llm"),
    ]


PAIRS = [("lightgcn", "popularity"), ("popularity", "lightgcn"), ("random", "random")]


def test_the_results_hold_every_setting_row_and_metric(rows: list[Row]) -> None:
    table = results_table(rows, **NAMES, draws=DRAWS)
    assert tuple(table.columns) == RESULT_COLUMNS
    assert len(table) == 4 * 5 * 3
    assert table["setting"].unique().tolist() == ["catalogue", "catalogue_warm", "catalogue_cold", "zero_shot"]
    assert (table["low"] <= table["value"]).all()
    assert (table["value"] <= table["high"]).all()
    wider = np.where(
        table["high_items"] - table["low_items"] > table["high_users"] - table["low_users"], "items", "users"
    )
    assert table["interval"].tolist() == wider.tolist()
    line = table.iloc[0]
    assert (line["dataset"], line["fingerprint"], line["split"]) == ("tiny", "0123abcd", "test")
    assert line["seconds"] >= 1.5


def test_values_are_means_over_seeds_and_users(rows: list[Row]) -> None:
    table = results_table(rows, **NAMES, draws=10).set_index(["setting", "row", "metric"])
    for setting, metric in (("catalogue", "recall@20"), ("zero_shot", "ndcg@20"), ("catalogue_warm", "recall@40")):
        values = [evaluation[setting].metrics[metric] for evaluation in rows[2].evaluations]
        assert len(values) == 3
        line = table.loc[setting, "lightgcn", metric]
        assert line["value"] == pytest.approx(np.mean(values))
        assert (line["n_seeds"], line["n_users"]) == (3, len(values[0]))


def test_a_perfect_row_is_perfect_whichever_users_and_items_are_drawn() -> None:
    # Users with one to four targets, items 4 to 6 are cold; every target stands among the first twenty of seven.
    split = make_split(
        history=[(user, user) for user in range(4)],
        targets=[(0, 1), (1, 0), (1, 4), (2, 0), (2, 1), (2, 5), (3, 0), (3, 4), (3, 5), (3, 6)],
        n_users=4,
        n_items=7,
    )
    table = results_table([row(split, "oracle", "floor", 9.0)], **NAMES, draws=50)
    recall = table[table["metric"] == "recall@20"]
    assert recall["n_targets"].tolist() == [10, 5, 5, 5]
    np.testing.assert_allclose(recall[["value", "low_users", "high_users", "low_items", "high_items"]], 1)


def test_the_comparison_is_paired_within_users(rows: list[Row]) -> None:
    table = comparisons_table(rows, PAIRS, **NAMES, draws=DRAWS)
    assert tuple(table.columns) == COMPARISON_COLUMNS
    assert len(table) == 2 * 3
    forward, backward, itself = (table.iloc[number] for number in range(3))
    assert forward["verdict"] == "better"
    assert backward["verdict"] == "worse"
    assert itself["verdict"] == "not shown"
    assert forward["difference"] == pytest.approx(-backward["difference"])
    assert (forward["low"], forward["high"]) == pytest.approx((-backward["high"], -backward["low"]))
    assert (itself["difference"], itself["p"], itself["minimal_detectable_effect"]) == (0, 1, 0)
    assert forward["p"] == pytest.approx(1 / (DRAWS + 1))
    # Six comparisons of one metric are one family where none is named.
    assert forward["p_holm"] == pytest.approx(6 / (DRAWS + 1))
    assert set(table["family"]) == {"all"}


def test_holm_is_applied_within_each_family_over_all_settings(rows: list[Row]) -> None:
    families = {"asked once": PAIRS[:1], "asked twice": [PAIRS[0], ("lightgcn", "random")]}
    metrics = ("recall@20", "ndcg@20")
    table = comparisons_table(rows, families, **NAMES, metrics=metrics, draws=DRAWS)
    assert len(table) == 2 * 2 * 3
    least = 1 / (DRAWS + 1)
    assert table["p"].tolist() == pytest.approx([least] * 12)
    # Two settings times the pairs of the family; neither the other family nor the other metric counts.
    factors = table.groupby(["metric", "family"])["p_holm"].agg(lambda adjusted: set((adjusted / least).round(9)))
    assert factors.to_dict() == {
        (metric, family): {count} for metric in metrics for family, count in (("asked once", 2), ("asked twice", 4))
    }
    everything = comparisons_table(rows, [PAIRS[0], *families["asked twice"]], **NAMES, metrics=metrics, draws=DRAWS)
    assert set((everything["p_holm"] / least).round(9)) == {6}
    unadjusted = [name for name in COMPARISON_COLUMNS if name not in ("family", "p_holm")]
    assert table[unadjusted].equals(everything[unadjusted])
    with pytest.raises(ValueError, match="'ease' cannot be compared"):
        comparisons_table(rows, {"family": [("lightgcn", "ease")]}, **NAMES)


def test_ten_cells_are_one_family_and_need_both_intervals_as_well(rows: list[Row]) -> None:
    pairs = {"five backbones": [("random", "random")] * 4 + [("lightgcn", "popularity")]}
    table = comparisons_table(rows, pairs, **NAMES, draws=DRAWS)
    assert len(table) == 10
    shown = table[table["a"] == "lightgcn"]
    assert shown["p_holm"].max() == pytest.approx(10 / (DRAWS + 1))
    assert shown["verdict"].tolist() == ["better", "better"]
    assert set(table[table["a"] == "random"]["verdict"]) == {"not shown"}


@pytest.mark.parametrize(
    ("users", "items", "p", "word"),
    [
        ((0.1, 0.2), (0.05, 0.3), 0.01, "better"),
        ((-0.2, -0.1), (-0.3, -0.05), 0.01, "worse"),
        ((0.1, 0.2), (-0.05, 0.3), 0.01, "not shown"),
        ((-0.1, 0.2), (0.05, 0.1), 0.01, "not shown"),
        ((0.1, 0.2), (0.05, 0.3), 0.05, "not shown"),
        ((0.1, 0.2), (-0.3, -0.1), 0.01, "not shown"),
        ((0.1, 0.2), (np.nan, np.nan), 0.01, "not shown"),
        ((0.1, 0.2), (0.05, 0.3), np.nan, "not shown"),
    ],
)
def test_a_verdict_needs_both_intervals_and_the_test(
    users: tuple[float, float], items: tuple[float, float], p: float, word: str
) -> None:
    assert verdict(*users, *items, p) == word


def test_the_report_reads_as_it_should(rows: list[Row], tmp_path: Path) -> None:
    results, comparisons = write_report(tmp_path / "new", rows, PAIRS, **NAMES, notes=["A word more."], draws=DRAWS)
    text = (tmp_path / "new" / "report.md").read_text(encoding="utf-8")
    users, targets = results.iloc[0][["n_users", "n_targets"]]
    for fragment in (
        "# Results on tiny, test split\n\nData fingerprint `0123abcd`.\n",
        "![recall@20 of every row with its 95 % interval](report.svg)",
        f"## Catalogue: warm and new items ranked together\n\n{users:,} users, {targets:,} targets, 400 candidates.\n",
        "| kind | row | recall@20 [95 %] | wider over | ndcg@20 | recall@40 | seeds | seconds |\n|---|---|",
        "## Catalogue, warm targets only",
        "## Catalogue, new targets only",
        "## Zero-shot: new items only",
        "## Comparisons\n\n6 comparisons: 2 better, 2 worse, 2 not shown.",
        "| catalogue | recall@20 | popularity | lightgcn | -",
        "- A mean-user row is the model with every user vector replaced by the mean",
        "- `constant`: everybody gets the mean profile.",
        "- Intervals: 300 paired bootstraps over users and, separately, over test items",
        "- Seeds per row: 1, 2, 3.",
        "- A word more.\n",
    ):
        assert fragment in text
    assert "`shuffled`" not in text
    assert comparisons["verdict"].value_counts().to_dict() == {"better": 2, "worse": 2, "not shown": 2}
    line = results[(results["row"] == "lightgcn") & (results["setting"] == "zero_shot")].iloc[0]
    cells = f"| model | lightgcn | {line['value']:.4f} [{line['low']:.4f}, {line['high']:.4f}] | {line['interval']} | "
    assert cells in text
    section = text[text.index("## Zero-shot") : text.index("## Comparisons")]
    order = re.findall(r"^\| (floor|model|mean user|placebo) \| ((?:[^|\\]|\\\|)+) \|", section, flags=re.MULTILINE)
    assert order == [
        ("floor", "popularity"),
        ("floor", "random"),
        ("model", "lightgcn"),
        ("mean user", "lightgcn (mean user)"),
        ("placebo", r"lightgcn \| constant"),
    ]


def test_the_files_hold_the_tables_and_give_the_same_report_again(rows: list[Row], tmp_path: Path) -> None:
    write_report(tmp_path, rows, PAIRS, **NAMES, draws=DRAWS)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "comparisons.parquet",
        "report.md",
        "report.svg",
        "results.parquet",
    ]
    results, comparisons = (read_parquet(tmp_path / f"{name}.parquet") for name in ("results", "comparisons"))
    assert tuple(results.columns) == RESULT_COLUMNS
    assert tuple(comparisons.columns) == COMPARISON_COLUMNS
    assert render_markdown(results, comparisons, draws=DRAWS) == (tmp_path / "report.md").read_text(encoding="utf-8")
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    write_files(tmp_path, results, comparisons, draws=DRAWS)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_what_an_earlier_report_left_and_this_one_lacks_is_removed(
    rows: list[Row], split: Split, tmp_path: Path
) -> None:
    beyond = beyond_table({"popularity": [beyond_accuracy(FixedScores(random_scores(split, 1)), split)]}, **NAMES)
    strata = strata_table(rows, PAIRS[:1], split, **NAMES, draws=DRAWS)
    write_report(tmp_path, rows, PAIRS, **NAMES, beyond=beyond, strata=strata, notes=["Of the first."], draws=DRAWS)
    (tmp_path / "mine.parquet").write_bytes(b"not of a report")
    assert read_notes(tmp_path) == ["Of the first."]
    write_report(tmp_path, rows, PAIRS, **NAMES, draws=DRAWS)
    left = {"comparisons.parquet", "results.parquet", "report.md", "report.svg", "mine.parquet"}
    assert {path.name for path in tmp_path.iterdir()} == left
    assert read_notes(tmp_path) == []


def test_beyond_strata_and_families_are_written_and_shown(rows: list[Row], split: Split, tmp_path: Path) -> None:
    model = FixedScores(random_scores(split, 1))
    lists = [beyond_accuracy(model, split, setting=setting) for setting in ("catalogue", "zero_shot")]
    beyond = beyond_table({"lightgcn | constant": lists, "popularity": lists}, **NAMES, draws=DRAWS)
    strata = strata_table(rows, PAIRS[:1], split, **NAMES, draws=DRAWS)
    pairs = {"against a floor": PAIRS[:1], "against itself": PAIRS[2:]}
    results, comparisons = write_report(tmp_path, rows, pairs, **NAMES, beyond=beyond, strata=strata, draws=DRAWS)
    text = (tmp_path / "report.md").read_text(encoding="utf-8")
    headings = [line.lstrip("# ") for line in text.splitlines() if line.startswith("#")]
    assert headings[5:] == [
        "Comparisons",
        "against a floor",
        "against itself",
        "Where the difference comes from",
        "By the number of interactions in the user's history: recall@20, catalogue",
        "By the number of interactions of the target item in the history: recall@20, catalogue",
        "Beyond accuracy",
        "Notes",
    ]
    line = comparisons.iloc[0]
    assert "2 comparisons: 2 better, 0 worse, 0 not shown.\n\n| setting" in text
    # The strata of one kind add up to what the comparison shows, in the table and in the text.
    sums = strata.groupby("by")["contribution"].sum()
    assert sums.tolist() == pytest.approx([line["difference"]] * 2)
    section = text[text.index("## Where") :]
    assert section.count(f"| lightgcn | popularity | {line['difference']:+.4f} | ") == 2
    cold = strata[strata["stratum"] == "cold"].iloc[0]
    head = f"cold ({cold['n_users']} users, {cold['n_items']} items, {100 * cold['share']:.0f} %)"
    assert f"| first | second | all | {head} | " in text
    assert f"| {cold['difference']:+.4f} [{cold['low']:+.4f}, {cold['high']:+.4f}] |" in text
    values = beyond[(beyond["setting"] == "catalogue") & (beyond["row"] == "popularity")].set_index("metric")
    novelty, coverage, gini = (values.loc[f"{name}@20"] for name in ("novelty", "coverage", "gini"))
    assert (
        f"| placebo | lightgcn \\| constant | {coverage['value']:.4f} | {gini['value']:.4f} | "
        f"{novelty['value']:.2f} [{novelty['low']:.2f}, {novelty['high']:.2f}] | "
    ) in text
    assert f"Lists of catalogue: {values['n_users'].iloc[0]} users, 400 candidates.\n" in text
    assert re.search(r"^Lists of zero-shot: \d+ users, 80 candidates\.$", text, re.M)
    read = {name: read_parquet(tmp_path / f"{name}.parquet") for name in ("comparisons", "beyond", "strata")}
    for name, columns in (("comparisons", COMPARISON_COLUMNS), ("beyond", BEYOND_COLUMNS), ("strata", STRATA_COLUMNS)):
        assert tuple(read[name].columns) == columns
    again = render_markdown(results, read["comparisons"], beyond=read["beyond"], strata=read["strata"], draws=DRAWS)
    assert again == text


def test_lists_of_a_row_that_is_not_reported_are_refused(rows: list[Row], split: Split, tmp_path: Path) -> None:
    lists = [beyond_accuracy(FixedScores(random_scores(split)), split)]
    beyond = beyond_table({"elsewhere": lists}, **NAMES, draws=10)
    with pytest.raises(ValueError, match="'elsewhere' is no row of the results"):
        write_report(tmp_path / "new", rows, [], **NAMES, beyond=beyond, draws=10)
    assert not (tmp_path / "new").exists()


def test_sections_without_content_say_why(tmp_path: Path) -> None:
    split = make_split([(0, 0), (1, 1), (2, 2)], [(0, 1), (1, 2), (2, 0)], n_users=3, n_items=3)
    model = FixedScores(np.zeros((3, 3)))
    only = Row("floor", "floor", [evaluate(model, split)])
    beyond = beyond_table({"floor": [beyond_accuracy(model, split, setting="zero_shot")]}, **NAMES, draws=10)
    strata = strata_table([only], [("floor", "floor")], split, **NAMES, setting="zero_shot", draws=10)
    write_report(tmp_path, [only], [], **NAMES, beyond=beyond, strata=strata, draws=10)
    text = (tmp_path / "report.md").read_text(encoding="utf-8")
    assert "Lists of zero-shot: none, no cold items: every target of the test split has history.\n" in text
    assert "## Where the difference comes from\n\nNo comparison was asked for, or the setting had no targets.\n" in text
    assert len(read_parquet(tmp_path / "beyond.parquet")) == 6
    assert tuple(read_parquet(tmp_path / "strata.parquet").columns) == STRATA_COLUMNS


def test_a_failing_write_leaves_the_old_report(
    rows: list[Row], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_report(tmp_path, rows, [], **NAMES, draws=10)
    before = {path.name: path.read_bytes() for path in tmp_path.glob("report.*")}

    def full(self: Path, text: str, encoding: str) -> int:
        self.write_bytes(text.encode(encoding)[:100])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(OSError, match="No space left"):
        write_report(tmp_path, rows[:3], [], **NAMES, draws=10)
    assert {path.name: path.read_bytes() for path in tmp_path.glob("report.*")} == before
    assert list(tmp_path.glob(".*")) == []


def test_the_terminal_table_fits_and_keeps_the_order(rows: list[Row], split: Split) -> None:
    long = row(split, "a floor with a name that is far too long for any terminal, as names sometimes are", "floor", 0.1)
    text = render_terminal(results_table([*rows, long], **NAMES, draws=DRAWS))
    lines = text.splitlines()
    assert max(map(len, lines)) <= 106
    assert lines[0].split() == ["recall@20", "catalogue", "warm", "cold", "zero-shot"]
    labels = [line[:20].split("  ")[0].strip() for line in lines[2:] if line]
    assert labels == [
        "popularity",
        "a floor with a name",
        "random",
        "lightgcn",
        "lightgcn (mean user)",
        "lightgcn | constant",
    ]
    assert re.search(r"^lightgcn +\d\.\d{4} \[\d\.\d{4}, \d\.\d{4}\] +\d\.\d{4} +\d\.\d{4} +\d\.\d{4} \[", text, re.M)
    assert "…" in text


def test_a_setting_without_cold_items_says_why(tmp_path: Path) -> None:
    split = make_split([(0, 0), (1, 1), (2, 2)], [(0, 1), (1, 2), (2, 0)], n_users=3, n_items=3)
    only = Row("floor", "floor", [evaluate(FixedScores(np.zeros((3, 3))), split)])
    results, comparisons = write_report(tmp_path, [only], [("floor", "floor")], **NAMES, draws=10)
    text = (tmp_path / "report.md").read_text(encoding="utf-8")
    reason = "no cold items: every target of the test split has history"
    assert f"## Zero-shot: new items only\n\nNot evaluated: {reason}.\n" in text
    empty = read_parquet(tmp_path / "results.parquet").query("setting == 'zero_shot'")
    assert empty[["value", "low", "high"]].isna().all(axis=None)
    assert (empty["interval"].tolist(), empty["n_users"].tolist()) == ([""] * 3, [0] * 3)
    assert comparisons["setting"].tolist() == ["catalogue"]
    assert render_terminal(results).splitlines()[2].split()[-2:] == ["-", "-"]
    svg = (tmp_path / "report.svg").read_text(encoding="utf-8")
    assert "Zero-shot" not in svg
    assert "Catalogue: warm" in svg


def test_without_comparisons_the_report_says_so(rows: list[Row], tmp_path: Path) -> None:
    _, comparisons = write_report(tmp_path, rows, [], **NAMES, draws=10)
    assert comparisons.empty
    assert "No comparison was asked for" in (tmp_path / "report.md").read_text(encoding="utf-8")
    assert tuple(read_parquet(tmp_path / "comparisons.parquet").columns) == COMPARISON_COLUMNS


def test_rows_that_do_not_belong_together_are_refused(rows: list[Row], split: Split) -> None:
    with pytest.raises(ValueError, match="'popularity' names two rows"):
        results_table([rows[1], rows[1]], **NAMES)
    with pytest.raises(ValueError, match="'ease' cannot be compared"):
        comparisons_table(rows, [("lightgcn", "ease")], **NAMES)
    with pytest.raises(ValueError, match="at least one row"):
        results_table([], **NAMES)
    with pytest.raises(ValueError, match="unknown kind 'baseline'"):
        Row("x", "baseline", rows[0].evaluations)
    with pytest.raises(ValueError, match="at least one evaluation"):
        Row("x", "floor", [])
    other = random_split(seed=9, n_users=80, n_items=400, n_cold=80)
    with pytest.raises(ValueError, match="targets in catalogue differ"):
        results_table([rows[0], row(other, "elsewhere", "floor", 0)], **NAMES)
    fewer = evaluate(FixedScores(random_scores(split)), split, settings=("catalogue",))
    with pytest.raises(ValueError, match="Evaluate all rows alike"):
        results_table([rows[0], Row("fewer", "floor", [fewer])], **NAMES)
