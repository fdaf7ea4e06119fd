"""`report.html`: its numbers are those of the tables, it asks nobody for anything, and texts of data stay texts."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from reclm_hf.data.folder import file_sha256, write_json
from reclm_hf.data.tables import read_parquet
from reclm_hf.evaluation.report import write_files
from reclm_hf.evaluation.report_format import SHORT, TITLES
from reclm_hf.pipeline.published import CAVEATS
from reclm_hf.report import page, sections
from reclm_hf.report.extras import Extras
from reclm_hf.report.own import own_record
from reclm_hf.report.page import write_html
from reclm_hf.report.published_section import TITLE
from tests.report.tables import MANIFEST, SCRIPT, extras, read_page, write_tables


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report with everything in it. Each plot can be made, or this raises."""
    found = write_tables(tmp_path_factory.mktemp("report"))
    write_html(found, extras(), strict=True)
    return found


def bracket(low: float, high: float, form: str) -> str:
    return "" if np.isnan(low) else f"[{low:{form}}, {high:{form}}]"


def expected_results(results: pd.DataFrame) -> dict[str, dict[str, list[str]]]:
    """Caption -> row -> the cells after its name, written down without the package's own functions."""
    found: dict[str, dict[str, list[str]]] = {}
    for (setting, row), lines in results.groupby(["setting", "row"], sort=False):
        values = lines.set_index("metric")
        first = values.loc["recall@20"]
        found.setdefault(TITLES[setting], {})[row] = [
            f"{first['value']:.4f} {bracket(first['low'], first['high'], '.4f')}",
            first["interval"],
            *(f"{values.loc[metric, 'value']:.4f}" for metric in ("ndcg@20", "recall@40")),
            str(first["n_seeds"]),
            f"{first['seconds']:.1f}",
        ]
    return found


def test_every_number_of_the_results_is_that_of_the_table(folder: Path) -> None:
    tables = read_page(folder).tables
    for caption, rows in expected_results(read_parquet(folder / "results.parquet")).items():
        head, *lines = tables[caption]
        assert head[2:] == ["recall@20 [95 %]", "wider over", "ndcg@20", "recall@40", "seeds", "seconds"]
        assert {line[1]: line[2:] for line in lines} == rows


def test_every_number_of_the_comparisons_is_that_of_the_table(folder: Path) -> None:
    tables = read_page(folder).tables
    comparisons = read_parquet(folder / "comparisons.parquet")
    assert len(comparisons) == 4
    for family, members in comparisons.groupby("family"):
        assert tables[f"Comparisons: {family}"][1:] == [
            [
                SHORT[line.setting],
                line.metric,
                line.a,
                line.b,
                f"{line.difference:+.4f}",
                bracket(line.low_users, line.high_users, "+.4f"),
                bracket(line.low_items, line.high_items, "+.4f"),
                f"{line.p:.4f}",
                f"{line.p_holm:.4f}",
                f"{line.minimal_detectable_effect:.4f}",
                line.verdict,
            ]
            for line in members.itertuples()
        ]


def test_every_number_of_strata_and_lists_is_that_of_the_table(folder: Path) -> None:
    tables = read_page(folder).tables
    strata, beyond = (read_parquet(folder / f"{name}.parquet") for name in ("strata", "beyond"))
    captions = {"history": "user's history", "popularity": "target item in the history"}
    for by, members in strata.groupby("by"):
        caption = next(name for name in tables if name.startswith("By ") and f"{captions[by]}:" in name)
        head, line = tables[caption]
        assert head[3:] == [
            f"{part.stratum} ({part.n_users} users, {part.n_items} items, {100 * part.share:.0f} %)"
            for part in members.itertuples()
        ]
        cells = [f"{part.difference:+.4f} {bracket(part.low, part.high, '+.4f')}" for part in members.itertuples()]
        assert line[2:] == [f"{members['contribution'].sum():+.4f}", *cells]
    head, *lines = tables["Beyond accuracy, lists of catalogue"]
    assert len(lines) == beyond["row"].nunique()
    forms = dict(zip(head[2:], (".4f", ".4f", ".2f", ".1f", "+.2f", ".4f"), strict=True))
    found = beyond.set_index(["row", "metric"])
    for line in lines:
        for cell, (name, form) in zip(line[2:], forms.items(), strict=True):
            value = found.loc[(line[1], name.removesuffix(" [95 %]"))]
            assert cell == f"{value['value']:{form}} {bracket(value['low'], value['high'], form)}".strip()


def test_a_value_that_moves_in_the_table_moves_in_tables_and_plots(folder: Path, tmp_path: Path) -> None:
    results = read_parquet(folder / "results.parquet")
    chosen = (results["row"] == "popularity") & (results["setting"] == "catalogue") & (results["metric"] == "recall@20")
    assert chosen.sum() == 1
    before = f"{results[chosen]['value'].iloc[0]:.4f} ["
    results.loc[chosen, "value"] = 0.9182
    results.to_parquet(tmp_path / "results.parquet")
    write_html(tmp_path, strict=True)
    old, new = ((place / "report.html").read_text(encoding="utf-8") for place in (folder, tmp_path))
    # The table of all rows, the best row of each kind, and the tooltip of the point.
    assert new.count("0.9182 [") == old.count(before) == 3
    assert before not in new


def test_the_page_asks_nobody_for_anything(folder: Path) -> None:
    found = read_page(folder)
    names = {tag for tag, _ in found.elements}
    assert not names & {"script", "iframe", "object", "embed", "base", "form", "video", "audio", "img"}
    for tag, attributes in found.elements:
        for name, value in attributes.items():
            assert not name.startswith("on"), (tag, name)
            if name in ("src", "href", "xlink:href", "srcset", "data", "action"):
                assert (value or "").startswith(("#", "data:")), (tag, name, value)
            if name == "style":
                assert not re.search(r"url\((?!#)", value or "")
    policies = [
        attributes["content"]
        for tag, attributes in found.elements
        if tag == "meta" and attributes.get("http-equiv") == "Content-Security-Policy"
    ]
    assert policies == ["default-src 'none'; img-src data:; style-src 'unsafe-inline'"]
    text = (folder / "report.html").read_text(encoding="utf-8")
    assert "@import" not in text
    assert not re.search(r"url\((?!#|\"?data:)", text)


def test_every_plot_is_there_and_described(folder: Path) -> None:
    found = read_page(folder)
    pictures = [attributes for tag, attributes in found.elements if tag == "svg"]
    # Four settings, two families in two settings, a pair by strata, a backbone's training, three views of the map.
    assert len(pictures) == 4 + 4 + 1 + 1 + 3
    assert all(picture["role"] == "img" and len(picture["aria-label"] or "") > 40 for picture in pictures)
    assert "could not be made" not in found.text
    ids = [attributes["id"] for _, attributes in found.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    targets = [attributes.get("href") or "" for _, attributes in found.elements]
    used = {target[1:] for target in targets if target.startswith("#")}
    assert used <= set(ids)


def test_cost_certificates_training_and_samples_are_told(folder: Path) -> None:
    found = read_page(folder)
    assert found.tables["Cost"][1:] == [
        ["the last call of the command", "12.3", "1,234", "-", "-"],
        ["60 profiles of the test cut, when they were written", "-", "-", "12,345", "678"],
    ]
    certificate = ["test", "2013-07-31 00:12 UTC", "60", "60", "55", "0", "3 of 200", "no leak found"]
    assert found.tables["Leak certificates"][1:] == [certificate]
    chosen = found.tables["Chosen epochs, with the value on validation"]
    assert chosen[1] == ["lightgcn-standard-none", "0", "4", "2", "0.1000", "0.3000"]
    assert "User identity: A title Written from 5 items, as of 2013-07-31: A title B and 3 more" in found.text
    assert "A word more: A title." in found.text
    assert "37.5 % of the variance" in found.text
    assert "had other calls before, which are not counted here" in found.text


def test_texts_of_data_are_text(tmp_path: Path) -> None:
    """Labels, titles, profiles and user ids that are HTML, formulas or control characters."""
    folder = write_tables(tmp_path, label=f"{SCRIPT} llm")
    found = extras(f"{SCRIPT}\x00\x0b ]]> <svg onload=alert(1)> {{{{ 7*7 }}}}")
    write_html(folder, found, strict=True)
    text = (folder / "report.html").read_text(encoding="utf-8")
    parsed = read_page(folder)
    assert not [tag for tag, attributes in parsed.elements if tag == "script" or "onload" in attributes]
    assert "<script" not in text
    assert "{{ 7*7 }}" in parsed.text
    assert not set(text) & set("\x00\x0b\u202e")
    shown = '<script>alert(1)</script> "$\\frac{1}$" &'
    assert f"User identity: {shown}" in parsed.text
    lines = parsed.tables[TITLES["catalogue"]]
    assert f"{shown} llm" in [line[1] for line in lines]


def test_equal_tables_give_equal_bytes(folder: Path, tmp_path: Path) -> None:
    before = (folder / "report.html").read_bytes()
    write_html(folder, extras(), strict=True)
    assert (folder / "report.html").read_bytes() == before


def test_without_the_optional_tables_each_section_says_so(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "results.parquet").write_bytes((folder / "results.parquet").read_bytes())
    missing = Extras(missing={"map": "could not be made, this backbone has no space"})
    write_html(tmp_path, missing, strict=True)
    found = read_page(tmp_path)
    for sentence in (
        "Comparisons: not kept by this run.",
        "Differences by history length and item popularity were not computed for this run.",
        "Coverage, novelty and popularity of the lists were not computed for this run.",
        "Training curves: not kept by this run.",
        "The map: could not be made, this backbone has no space.",
        "Sample profiles: not kept by this run.",
        "The cost of the run: not kept by this run.",
        "Leak certificates: not kept by this run.",
    ):
        assert sentence in found.text
    assert sum(tag == "svg" for tag, _ in found.elements) == 4
    with pytest.raises(FileNotFoundError, match=r"has no results\.parquet: run `reclm evaluate`"):
        write_html(tmp_path / "elsewhere")


def test_what_another_run_left_in_the_folder_is_not_shown(folder: Path, tmp_path: Path) -> None:
    """Results that were written into the folder of a run: its manifest, lists, strata and notes are of other rows."""
    write_tables(tmp_path, label="another-model")
    results = read_parquet(tmp_path / "results.parquet")
    for name in ("beyond", "strata", "comparisons"):
        (tmp_path / f"{name}.parquet").write_bytes((folder / f"{name}.parquet").read_bytes())
    stale = MANIFEST | {"results_sha256": file_sha256(folder / "results.parquet")}
    write_json(stale, tmp_path / "manifest.json")
    write_html(tmp_path, strict=True)
    found = read_page(tmp_path)
    assert "lightgcn-standard-llm" not in found.text
    for sentence in ("Comparisons", "The cost of the run", "Leak certificates"):
        assert f"{sentence}: not kept by this run." in found.text
    assert "Licence of the data" not in found.text
    # The same manifest where it is of these results, or of a time at which none was named.
    for fitting in ({"results_sha256": file_sha256(tmp_path / "results.parquet")}, {"fingerprint": "0123abcd"}):
        assert own_record(tmp_path, MANIFEST | fitting, results) == MANIFEST | fitting
    assert own_record(tmp_path, MANIFEST | {"fingerprint": "of other data"}, results) == {}


def test_notes_are_kept_beside_the_report(folder: Path, tmp_path: Path) -> None:
    for name in ("results", "comparisons"):
        (tmp_path / f"{name}.parquet").write_bytes((folder / f"{name}.parquet").read_bytes())
    results, comparisons = (read_parquet(tmp_path / f"{name}.parquet") for name in ("results", "comparisons"))
    write_files(tmp_path, results, comparisons, notes=["Nothing was chosen & so on."], draws=10)
    write_html(tmp_path, Extras(missing={"map": "left out"}), strict=True)
    assert "Nothing was chosen & so on." in read_page(tmp_path).text
    (tmp_path / "notes.json").write_text('{"notes": 3}')
    with pytest.raises(ValueError, match=r"notes\.json does not hold the notes"):
        write_html(tmp_path)


def test_ours_stand_beside_the_published_figures(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "results.parquet").write_bytes((folder / "results.parquet").read_bytes())
    results = read_parquet(tmp_path / "results.parquet")
    chosen = results[(results["kind"] == "model") & (results["setting"] == "zero_shot")]
    chosen = chosen[chosen["metric"].isin(["recall@20", "ndcg@20"])]
    known = {"paper": 0.0683, "authors_code": np.nan, "ratio": 1.25, "verdict": "above", "source": "a paper, Table 1"}
    published = chosen[["row", "setting", "metric"]].assign(ours=chosen["value"], low=0.1, high=0.2, seeds=2, **known)
    published.to_parquet(tmp_path / "published.parquet")
    write_html(tmp_path, strict=True)
    found = read_page(tmp_path)
    head, *lines = found.tables[TITLE]
    assert head[3:6] == ["ours [least, greatest seed]", "seeds", "paper"]
    assert lines == [
        [line.row, "zero-shot", line.metric, f"{line.value:.4f} [0.1000, 0.2000]", "2", "0.0683", "-", "1.25", "above"]
        for line in chosen.itertuples()
    ]
    assert "Source of figures: a paper, Table 1." in found.text
    assert CAVEATS[0] in found.text
    # Where no figure is known, nothing is said of any.
    nothing = published.assign(seeds=1, paper=np.nan, ratio=np.nan, verdict="no figure known", source="")
    nothing.to_parquet(tmp_path / "published.parquet")
    write_html(tmp_path, strict=True)
    found = read_page(tmp_path)
    assert found.tables[TITLE][1][3:] == [f"{chosen['value'].iloc[0]:.4f}", "1", "-", "-", "-", "no figure known"]
    assert "No published figure is known" in found.text
    assert CAVEATS[0] not in found.text
    # Of another run: the same rows, other figures.
    published.assign(ours=published["ours"] + 0.01).to_parquet(tmp_path / "published.parquet")
    write_html(tmp_path, strict=True)
    assert TITLE not in read_page(tmp_path).text


def test_training_without_validation_claims_no_choice(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "results.parquet").write_bytes((folder / "results.parquet").read_bytes())
    curves = extras().curves
    assert curves is not None
    unmeasured = curves[curves["epoch"] > 0].assign(value=np.nan)
    write_html(tmp_path, Extras(curves=unmeasured), strict=True)
    found = read_page(tmp_path)
    assert "a number of epochs that was fixed beforehand" in found.text
    assert "Chosen epochs, with the value on validation" not in found.tables
    shown = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "ring marks" not in shown
    # One row of several was measured: only that one has chosen epochs.
    one = curves[curves["row"] == "lightgcn-standard-llm"]
    others = unmeasured[unmeasured["row"] != "lightgcn-standard-llm"]
    write_html(tmp_path, Extras(curves=pd.concat([one, others])), strict=True)
    lines = read_page(tmp_path).tables["Chosen epochs, with the value on validation"]
    assert [line[0] for line in lines[1:]] == ["lightgcn-standard-llm"]


def test_the_words_fit_the_plots(folder: Path) -> None:
    """What marks mean, whose map it is, which view strata are of, and which pictures share a scale."""
    found = read_page(folder)
    for sentence in (
        "Hollow triangles are placebos, profiles that carry less than the real ones",
        "filled triangles mark better and worse",
        "Of lightgcn-standard-llm: principal components of what is compared",
        "parts of the people and of the items (catalogue)",
        "Each picture has its own scale",
        "difference in recall@20, catalogue",
        "% of the weight",
    ):
        assert sentence in found.text, sentence
    assert "say nothing of the person" not in found.text
    maps = [attributes["aria-label"] or "" for tag, attributes in found.elements if tag == "svg"][-3:]
    assert all(label.startswith("Map of lightgcn-standard-llm: ") for label in maps)


def test_a_plot_that_fails_is_named_and_the_rest_stands(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> str:
        raise RuntimeError("no font <here>")

    monkeypatch.setattr(sections, "comparison_svg", broken)
    with pytest.raises(RuntimeError, match="no font"):
        write_html(folder, strict=True)
    for name in ("results", "comparisons"):
        (tmp_path / f"{name}.parquet").write_bytes((folder / f"{name}.parquet").read_bytes())
    write_html(tmp_path)
    found = read_page(tmp_path)
    assert "The plot of profile, catalogue could not be made: no font <here>" in found.text
    assert "Comparisons: profile" in found.tables
    assert sum(tag == "svg" for tag, _ in found.elements) == 4


def test_a_page_that_cannot_be_rendered_leaves_the_old_one(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = (folder / "report.html").read_bytes()
    monkeypatch.setattr(page, "results_section", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        write_html(folder)
    assert (folder / "report.html").read_bytes() == before
    assert list(folder.glob(".*")) == []
