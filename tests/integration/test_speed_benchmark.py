"""The speed benchmark: that it runs and writes what it says, and that the authors' way computes what ours computes."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from reclm_hf.data.splits import Split
from reclm_hf.evaluation.protocol import evaluate
from reclm_hf.recommender.build import build_recommender
from reclm_hf.recommender.configuration_reclm_recommender import BACKBONE_NAMES, RecLMRecommenderConfig
from reclm_hf.recommender.modeling_reclm_recommender import RecLMRecommender
from tests.checkerboard import checkerboard

sys.path.insert(0, str(Path(__file__).parents[2] / "training" / "benchmarks"))

import authors_way
import speed
import speed_data
import speed_markdown
import speed_rows

CHEAP = ["negatives", "evaluation"]


@pytest.fixture(scope="module")
def quick(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """What the quick mode writes for two rows."""
    path = tmp_path_factory.mktemp("speed") / "speed.json"
    assert speed.main(["--quick", "--rows", ",".join(CHEAP), "--repeats", "2", "--json", str(path)]) == 0
    return path, json.loads(path.read_text())


def test_the_quick_mode_measures(quick: tuple[Path, dict[str, Any]]) -> None:
    _, found = quick
    assert found["kind"] == "speed"
    assert found["failed"] == []
    assert list(found["rows"]) == CHEAP
    for row in found["rows"].values():
        for way in ("now", "authors"):
            assert len(row[way]["cpu"]["all"]) == 2
            assert 0 < row[way]["cpu"]["min"] <= row[way]["cpu"]["median"]
            assert row[way]["peak_mib"] > 0
        assert row["ratios"]["authors"] > 0
    assert found["rows"]["evaluation"]["disagreement"]["authors"] < 1e-9
    assert {"cpu", "cores", "threads", "load", "versions"} <= set(found["machine"])


def test_tiny_data_meet_no_target(quick: tuple[Path, dict[str, Any]]) -> None:
    rows = quick[1]["rows"]
    assert {speed_rows.verdict(speed_rows.BY_NAME[name], rows[name]) for name in rows} == {""}


def test_the_page_comes_from_the_files(quick: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    section = {"kind": "section", "title": "Memory", "columns": ["backbone", "MiB"], "rows": [["bias_mf", 12]]}
    other, page, plot = (tmp_path / name for name in ("memory.json", "BENCHMARKS.md", "speed.png"))
    other.write_text(json.dumps({**section, "command": "make it"}))
    paths = ["--from", str(quick[0]), str(other), "--markdown", str(page), "--plot", str(plot)]
    assert speed.main(paths) == 0
    text = page.read_text()
    median = quick[1]["rows"]["negatives"]["now"]["cpu"]["median"]
    assert f"**{speed_rows.seconds_text(median)}**" in text
    assert "| bias_mf | 12 |" in text
    assert "    make it" in text
    assert "tiny data" in text
    assert int.from_bytes(plot.read_bytes()[16:20], "big") == 1280  # the width in a PNG's header


def test_peers_stand_beside_the_row_that_they_belong_to(quick: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    figures = {name: {"median": 0.25, "min": 0.2, "all": [0.2, 0.3]} for name in ("cpu", "wall", "load")}
    peer = {"peer": "Other 1.0", "model": "BPR", "row": "negatives", "settings": "SGD", "ratio": 4.0, **figures}
    peer |= {"now": figures, "versions": {"numpy": "2", "torch": None}, "python": "3.12"}
    part = {"kind": "peers", "peers": [peer], "missing": {"another": "not installed"}, "data": "made here"}
    page = tmp_path / "page.md"
    speed_markdown.write_markdown([quick[1], {**part, "machine": "a CPU", "threads": 1, "command": "peers"}], page)
    lines = page.read_text().splitlines()
    assert any(line.startswith("| negatives") and line.endswith("| Other 1.0 0.25 s |") for line in lines)
    assert "| Other 1.0 | BPR | SGD | 0.25 s | 0.2 s | 0.25 s | 0.25 s | 4.00 x | 2 | 0.3 |" in lines
    assert "- another: not measured, not installed." in lines


def test_a_file_of_another_kind_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="unknown kind"):
        speed_markdown.write_markdown([{"kind": "poem"}], tmp_path / "page.md")


@pytest.mark.parametrize(
    ("name", "figures", "expected"),
    [
        ("bias_mf", {"cpu": 0.181}, "not met"),
        ("bias_mf", {"cpu": 0.18}, "met"),
        ("bias_mf", {"cpu": 0.12}, "stretch"),
        ("encoding", {"cpu": 1 / 77}, "not met"),
        ("encoding", {"cpu": 1 / 79}, "met"),
        ("sgl", {"cpu": 1.0, "ratio": 1.6, "peak": 900}, "met"),
        ("sgl", {"cpu": 1.0, "ratio": 2.6, "peak": 1100}, "not met"),
        ("sgl", {"cpu": 1.0}, ""),
        ("sgl", {}, ""),
    ],
)
def test_a_row_is_judged_by_its_target(name: str, figures: dict[str, float], expected: str) -> None:
    found: dict[str, Any] = {"ratios": {"authors": figures["ratio"]} if "ratio" in figures else {}}
    if "cpu" in figures:
        found["now"] = {"cpu": {"median": figures["cpu"]}, "peak_mib": figures.get("peak", 0)}
    assert speed_rows.verdict(speed_rows.BY_NAME[name], found) == expected


def test_made_data_have_the_asked_size() -> None:
    made = speed_data.made(speed_data.TINY)
    sizes, split = speed_data.TINY, made.split
    assert (split.n_users, split.n_items) == (sizes.users, sizes.warm + sizes.new)
    assert len(split.history_user) == sizes.history
    assert split.warm.sum() == sizes.warm
    assert (np.bincount(split.history_user, minlength=split.n_users) > 0).all()
    assert not (split.warm & split.cold).any()


# -- the authors' way -------------------------------------------------------------------------------------------------


def reference(backbone: str) -> tuple[RecLMRecommender, Split]:
    """A model whose views are not random: nothing is dropped, and no noise is added."""
    splits, text = checkerboard()
    config = RecLMRecommenderConfig(
        backbone=backbone, preset="reference", embedding_dim=8, drop_rate=0.0, noise=0.0, seed=3
    )
    return build_recommender(config, splits.data, splits.test, text), splits.test


@pytest.mark.parametrize("backbone", BACKBONE_NAMES)
def test_the_loss_of_a_batch_is_ours(backbone: str) -> None:
    model, split = reference(backbone)
    triples = authors_way.Triples(split)
    np.random.seed(0)
    triples.draw()
    rows = np.random.default_rng(0).permutation(len(triples))[:200]
    batch = [torch.from_numpy(column[rows]) for column in (triples.user, triples.positive, triples.negative)]
    ours = model.train()(
        user_index=batch[0],
        positive_index=torch.from_numpy(triples.items)[batch[1]],
        negative_index=torch.from_numpy(triples.items)[batch[2]],
    )
    theirs = authors_way.AuthorsModel(model, split).loss(*batch)
    assert theirs.item() == pytest.approx(ours.loss.item(), rel=1e-5)


def test_negatives_are_new_to_the_user() -> None:
    _, split = reference("bias_mf")
    triples = authors_way.Triples(split)
    triples.draw()
    history = split.history_matrix()
    assert not history[triples.user, triples.items[triples.negative]].any()


@pytest.mark.parametrize("backbone", BACKBONE_NAMES)
def test_scores_and_metrics_are_ours(backbone: str) -> None:
    model, split = reference(backbone)
    theirs = authors_way.AuthorsModel(model, split)
    users, items = np.arange(split.n_users), np.arange(split.n_items)
    scores = theirs.all_scores(torch.from_numpy(users), torch.from_numpy(items)).numpy()
    own = model.eval().score(users, items)
    if backbone == "bias_mf":
        scores = scores - theirs.named["user_bias.weight"].detach().numpy()  # it cancels in every ranking
    np.testing.assert_allclose(scores, own, rtol=1e-4, atol=1e-5)
    for setting in ("test_items", "zero_shot"):
        ours = evaluate(model, split, settings=(setting,), ks=(1, 3)).summary()[setting]
        found = authors_way.evaluate(theirs, split, setting, ks=(1, 3))
        assert found == pytest.approx({name: ours[name] for name in found}, abs=1e-9)


def test_steps_of_the_authors_way_learn() -> None:
    model, split = reference("lightgcn")
    theirs, triples = authors_way.AuthorsModel(model, split), authors_way.Triples(split)
    optimizer = authors_way.make_optimizer(theirs, 1e-2)
    losses = [authors_way.train_epoch(theirs, optimizer, triples, 256) for _ in range(8)]
    assert losses[-1] < losses[0]


def test_a_catalogue_without_the_release_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(speed_data, "MIND", replace(speed_data.TINY, users=700))
    assert speed_data.load(tmp_path / "nothing", quick=False).name.startswith("made here: 700 users")
