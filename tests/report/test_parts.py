"""What a page shows beside the tables: training curves, the map, samples, and what is said where one fails."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest
import torch

from reclm_hf.evaluation.plots import drawing, plain, to_svg
from reclm_hf.pipeline.model_stage import Inputs, train_model
from reclm_hf.pipeline.specs import ModelSpec
from reclm_hf.report.curves import CURVE_COLUMNS, read_curves
from reclm_hf.report.extras import gather
from reclm_hf.report.figure_curves import curves_svg
from reclm_hf.report.figure_differences import comparison_svg, strata_svg
from reclm_hf.report.people_map import MOST, map_points
from reclm_hf.report.samples import SHOWN_EVIDENCE, sample_profiles
from tests.checkerboard import checkerboard
from tests.recommender.models import OPTIONS, profiles, untrained

QUICK = type(OPTIONS)(batch_size=256, learning_rate=1e-2, max_epochs=2, evaluate_every=2, n_blocks=6)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run with one trained model."""
    splits, vectors = checkerboard()
    folder = tmp_path_factory.mktemp("models")
    spec = ModelSpec("bias_mf", "standard", "llm", seed=3)
    inputs = Inputs(splits, vectors, {split.name: profiles() for split in (splits.validation, splits.test)})
    train_model(spec, inputs, QUICK, folder / spec.label)
    return folder


def test_curves_are_what_training_recorded(run: Path) -> None:
    curves = read_curves(run)
    assert curves is not None
    assert tuple(curves.columns) == CURVE_COLUMNS
    assert curves["epoch"].tolist() == [0, 1, 2]
    assert curves["loss"].isna().tolist() == [True, False, False]
    assert curves["value"].isna().tolist() == [False, True, False]
    assert set(curves["row"]) == {"bias_mf-standard-llm"}
    assert set(curves["seed"]) == {3}
    choice = json.loads((run / "bias_mf-standard-llm-seed3" / "choice.json").read_text())
    assert curves["value"].iloc[2] == choice["history"][2]["value"]
    assert set(curves["best_epoch"]) == {choice["best_epoch"]}


def test_folders_without_a_record_have_no_curves_and_a_broken_one_is_named(run: Path, tmp_path: Path) -> None:
    assert read_curves(tmp_path) is None
    broken = tmp_path / "model"
    broken.mkdir()
    (broken / "choice.json").write_text("{}")
    (broken / "run.json").write_text(next(run.glob("*/run.json")).read_text())
    with pytest.raises(ValueError, match=r"model: choice\.json or run\.json is no record of training"):
        read_curves(tmp_path)


def test_training_in_which_nothing_was_chosen_has_a_picture_too() -> None:
    line = {"row": "a", "backbone": "ncf", "preset": "reference", "profile_mode": "none", "seed": 0, "best_epoch": 2}
    curves = pd.DataFrame([line | {"epoch": epoch, "loss": 1.0 / epoch, "value": np.nan} for epoch in (1, 2)])
    svg = curves_svg(curves, "curves")
    assert "nothing was chosen on validation" in svg
    assert "ring marks" not in svg


def test_pairs_by_strata_have_one_scale_and_say_which_view() -> None:
    ends = {
        f"{end}{over}": value for over in ("", "_users", "_items") for end, value in (("low", 0.01), ("high", 0.02))
    }
    line = {"setting": "catalogue", "metric": "recall@20", "by": "history", "stratum": "68+", "place": 0, **ends}
    line |= {"n_users": 1053, "share": 0.34, "a": "first", "b": "second", "difference": 0.015}
    wide = line | {"a": "third", "difference": 0.5, "high_users": 0.9}
    alone, both = (strata_svg(pd.DataFrame(lines), "first", "second", "s") for lines in ([line], [line, wide]))
    texts = [text.text for text in ElementTree.fromstring(both).iter("{http://www.w3.org/2000/svg}text")]
    assert "68+: 1,053 users, 34 % of the weight" in texts
    assert "difference in recall@20, catalogue" in texts
    assert "+0.8" in texts
    assert "+0.8" not in alone


@pytest.mark.parametrize(
    ("backbone", "preset", "mode", "space"),
    [
        ("lightgcn", "floor_residual", "llm", "whose inner product is the personal part of the model's score"),
        ("lightgcn", "standard", "none", "whose inner product is the model's score"),
        ("ncf", "standard", "llm", "profiles and item texts"),
    ],
)
def test_the_map_holds_users_items_and_new_items(backbone: str, preset: str, mode: str, space: str) -> None:
    model = untrained(backbone, preset, mode)
    found = map_points(model, name="mine")
    assert space in found.space
    assert found.model == "mine"
    counts = found.points["kind"].value_counts().to_dict()
    assert counts == {kind: min(total, MOST[kind]) for kind, total in found.totals.items()}
    assert sum(found.totals.values()) == model.config.n_users + model.config.n_items
    assert 0 < found.shares[1] <= found.shares[0] < 1
    # The plane is the best one: its variance is the share that is told.
    assert found.points[["x", "y"]].to_numpy().var(axis=0)[0] >= found.points["y"].var(ddof=0)
    pd.testing.assert_frame_equal(found.points, map_points(model).points)


@pytest.mark.parametrize("preset", ["standard", "floor_residual"])
def test_what_is_said_of_the_inner_product_is_so(preset: str) -> None:
    """Of the score of a model as it ranks; told apart by whether something of the item is added for everybody."""
    model = untrained("lightgcn", preset, "none")
    served = model.served()
    users = torch.arange(3)
    product = served.user[users] @ served.item.T
    added = served.scores(model.backbone, users, slice(None)) - product
    torch.testing.assert_close(added, added[:1].expand_as(added), atol=1e-5, rtol=0)
    constant = bool(torch.allclose(added, added[:, :1].expand_as(added), atol=1e-5))
    assert constant == ("personal part" not in map_points(model).space)


def test_a_model_without_a_common_space_has_no_map() -> None:
    model = untrained("ncf", "standard", "none")
    with pytest.raises(ValueError, match="no space holds users and items"):
        map_points(model)


def test_samples_are_drawn_by_the_seed_and_not_by_the_order_of_the_table() -> None:
    table = pd.DataFrame(
        {
            "user_id": [f"{user:02d}" for user in range(30)],
            "profile": [f"profile {user}" for user in range(30)],
            "evidence": [[f"item-{item}" for item in range(12)]] * 30,
            "generator": "test",
            "as_of": pd.Timestamp("2013-07-31", tz="UTC"),
        }
    )
    titles = {"item-0": "First"}
    samples = sample_profiles(table, titles, seed=5)
    assert len({sample.user_id for sample in samples}) == 3
    assert sample_profiles(table.sample(frac=1, random_state=1), titles, seed=5) == samples
    assert sample_profiles(table, titles, seed=6) != samples
    assert samples[0].profile == f"profile {int(samples[0].user_id)}"
    assert samples[0].evidence == ["First", *(f"item-{item}" for item in range(1, SHOWN_EVIDENCE))]
    assert (samples[0].n_evidence, samples[0].as_of) == (12, "2013-07-31")
    assert len(sample_profiles(table.head(2), titles)) == 2


def test_a_part_that_fails_is_named_and_the_others_stand() -> None:
    found = gather(["a note"], curves=lambda: None, map=lambda: 1 / 0, samples=list)
    assert found.missing == {"map": "could not be made, division by zero"}
    assert (found.map, found.samples, found.notes) == (None, [], ["a note"])


def test_labels_are_plain_and_short() -> None:
    assert plain("a\u202e\x00b\n c\ufffe") == "ab c"
    assert plain("x" * 90) == "x" * 79 + "…"
    assert plain("👩\u200d🚀 שלום") == "👩\u200d🚀 שלום"


def test_a_figure_holds_nothing_from_outside_and_no_formula() -> None:
    with drawing(100, 50) as figure:
        axes = figure.add_axes((0, 0, 1, 1))
        axes.text(0.5, 0.5, "$\\frac{1}{$ ]]> <b> 日本", gid="formula")
        axes.plot([0, 1], [0, 1], "o", gid="line")
        svg = to_svg(figure, "mine", "<what> it & is", {"line": "<tip>"})
    root = ElementTree.fromstring(svg)
    assert root.attrib["aria-label"] == "<what> it & is"
    texts = [text.text for text in root.iter("{http://www.w3.org/2000/svg}text")]
    assert "$\\frac{1}{$ ]]> <b> 日本" in texts
    assert [title.text for title in root.iter("{http://www.w3.org/2000/svg}title")] == ["<tip>"]
    names = {element.tag.rpartition("}")[2] for element in root.iter()}
    assert not names & {"style", "metadata", "script", "image"}
    assert all(element.attrib["id"].startswith("mine-") for element in root.iter() if "id" in element.attrib)
    assert svg.replace('xmlns="http://www.w3.org/2000/svg"', "").find("http") == -1


def test_differences_name_both_rows_in_full_where_one_points() -> None:
    a, b = "lightgcn-standard-llm", "lightgcn-standard-constant"
    ends = {f"{end}{over}": value for over in ("", "_users", "_items") for end, value in (("low", 0.01), ("high", 0.2))}
    line = {"family": "f", "setting": "catalogue", "metric": "recall@20", "a": a, "b": b, "difference": 0.1, **ends}
    svg = comparison_svg(pd.DataFrame([line | {"verdict": "better"}]), "f", "catalogue", "one")
    root = ElementTree.fromstring(svg)
    [tooltip] = root.iter("{http://www.w3.org/2000/svg}title")
    assert tooltip.text == f"{a} − {b}: +0.1000 [+0.0100, +0.2000]"
    texts = [text.text for text in root.iter("{http://www.w3.org/2000/svg}text")]
    assert f"{a} − …constant" in texts
    assert {"better", "over users", "over items", "difference in recall@20"} <= set(texts)
