from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from reclm_hf.baselines import FLOORS
from reclm_hf.data.interactions import Interactions
from reclm_hf.data.splits import Split, temporal_split
from reclm_hf.data.tables import TableError
from reclm_hf.evaluation.protocol import evaluate
from reclm_hf.pipeline import model_stage, selection
from reclm_hf.pipeline.comparison import DemoPlan
from reclm_hf.pipeline.evaluate_stage import saved_model_rows
from reclm_hf.pipeline.floor_stage import fit_floors
from reclm_hf.pipeline.model_stage import (
    Inputs,
    ModelSpec,
    choose_cold_offset,
    recall_at_20,
    selection_value,
    train_fixed,
    train_model,
)
from reclm_hf.pipeline.selection import warm_only
from tests.checkerboard import N_ITEMS, N_USERS, checkerboard
from tests.recommender.models import OPTIONS, profiles, trained

USERS, ITEMS = np.arange(N_USERS), np.arange(N_ITEMS)


@pytest.fixture(scope="module")
def inputs() -> Inputs:
    splits, vectors = checkerboard()
    return Inputs(splits, vectors, {"validation": profiles(), "test": profiles()})


@pytest.mark.parametrize("preset", ["standard", "floor_residual"])
def test_training_chooses_refits_saves_and_is_loaded_the_second_time(
    preset: str, inputs: Inputs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = ModelSpec("bias_mf", preset, "llm")
    model = train_model(spec, inputs, OPTIONS, tmp_path)
    choice = json.loads((tmp_path / "choice.json").read_text())
    assert choice["history"][0]["epoch"] == 0
    assert choice["best_value"] == max(entry["value"] for entry in choice["history"] if entry.get("value") is not None)
    assert ("cold_offset" in choice) == (preset == "floor_residual")
    done = json.loads((tmp_path / "done.json").read_text())
    assert done["fingerprint"] == inputs.splits.fingerprint
    assert done["best_epoch"] == choice["best_epoch"]
    # The refit knows the validation period: its items are warm.
    assert model.item_warm.numpy().astype(bool).tolist() == inputs.splits.test.warm.tolist()

    monkeypatch.setattr(model_stage, "fit", lambda *_, **__: pytest.fail("a finished model must not be trained again"))
    again = train_model(spec, inputs, OPTIONS, tmp_path)
    np.testing.assert_allclose(again.score(USERS, ITEMS), model.score(USERS, ITEMS), atol=1e-6)
    assert again.config.cold_offset == choice.get("cold_offset", again.config.cold_offset)


def test_a_run_stopped_between_choice_and_refit_keeps_its_choice(
    inputs: Inputs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = ModelSpec("bias_mf", "standard", "none")
    with monkeypatch.context() as patch:

        def killed(*_: object, **__: object) -> None:
            raise KeyboardInterrupt

        patch.setattr(model_stage, "fit", killed)
        with pytest.raises(KeyboardInterrupt):
            train_model(spec, inputs, OPTIONS, tmp_path)
    monkeypatch.setattr(model_stage, "choose_epochs", lambda *_, **__: pytest.fail("the choice is there already"))
    train_model(spec, inputs, OPTIONS, tmp_path)
    assert (tmp_path / "model" / "model.safetensors").is_file()


def test_a_run_goes_on_with_other_threads_and_no_other_method(inputs: Inputs, tmp_path: Path) -> None:
    spec = ModelSpec("bias_mf", "standard", "none")
    train_fixed(spec, inputs, OPTIONS, tmp_path, 1)
    run = json.loads((tmp_path / "run.json").read_text())
    assert not {"threads", "optimizer", "precision"} & set(run["options"]), "as in folders that are older than these"
    train_fixed(spec, inputs, replace(OPTIONS, threads=2), tmp_path, 1)
    for other in ({"optimizer": "row_sparse_adam"}, {"precision": "bfloat16"}):
        options = replace(OPTIONS, **other)
        with pytest.raises(ValueError, match="other options"):
            train_fixed(spec, inputs, options, tmp_path, 1)
        folder = tmp_path / "".join(other)
        train_fixed(spec, inputs, options, folder, 1)
        assert json.loads((folder / "done.json").read_text())["options"] == asdict(options)
        with pytest.raises(ValueError, match="other options"):
            train_fixed(spec, inputs, OPTIONS, folder, 1)


@pytest.mark.parametrize(
    ("backbone", "preset", "why"),
    [("lightgcn", "standard", "propagates"), ("bias_mf", "floor_residual", "softmax"), ("ncf", "reference", "L2 term")],
)
def test_what_no_optimizer_fits_is_refused_before_a_folder_is_claimed(
    backbone: str, preset: str, why: str, inputs: Inputs, tmp_path: Path
) -> None:
    spec, options = ModelSpec(backbone, preset, "none"), replace(OPTIONS, optimizer="row_sparse_adam")
    for train in (train_model, lambda *given: train_fixed(*given, 1)):
        with pytest.raises(ValueError, match=f"row_sparse_adam.*{why}"):
            train(spec, inputs, options, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_choosing_looks_at_no_test_target(inputs: Inputs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = set()
    original = selection.evaluate

    def spy(model: object, split: object, **options: object) -> object:
        seen.add(split.name)  # type: ignore[attr-defined]
        return original(model, split, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(selection, "evaluate", spy)
    train_model(ModelSpec("bias_mf", "floor_residual", "llm"), inputs, OPTIONS, tmp_path)
    fit_floors(inputs, tmp_path / "floors", ["popularity_decayed", "text_cosine"])
    assert seen == {"validation"}


class _Levelled:
    """Scores that know the answers but for the level of cold items, which is right at about -9."""

    def __init__(self, split: Split) -> None:
        self.config = SimpleNamespace(cold_offset=0.0)
        rng = np.random.default_rng(0)
        self.scores = rng.normal(-7.0, 2.0, (split.n_users, split.n_items)).astype(np.float32)
        self.scores[split.target_user, split.target_item] += 1.5
        self.scores[:, split.cold] += 9.0 - 2.0  # cold items are shown at the level -2 + cold_offset + 9
        self.cold = split.cold

    def score(self, users: np.ndarray, items: np.ndarray) -> np.ndarray:
        return self.scores[np.ix_(users, items)] + np.where(self.cold[items], self.config.cold_offset, 0.0)


def test_the_level_of_cold_items_is_the_lowest_within_one_standard_error() -> None:
    rng = np.random.default_rng(1)
    rows = [(user, int(item), 0) for user in range(60) for item in rng.choice(100, 5, replace=False)]
    rows += [(user, int(item), 1) for user in range(60) for item in rng.choice(100, 2, replace=False)]
    rows += [(user, 100 + int(item), 1) for user in range(60) for item in rng.choice(60, 2, replace=False)]
    rows += [(user, 0, 2) for user in range(60)]
    frame = pd.DataFrame(rows, columns=["user_id", "item_id", "day"]).astype({"user_id": str, "item_id": str})
    frame["timestamp"] = pd.Timestamp("2020-01-01", tz="UTC") + pd.to_timedelta(frame["day"], unit="D")
    items = pd.DataFrame({"item_id": [str(item) for item in range(160)], "title": "x"})
    data = Interactions.from_tables(items, frame, "levels")
    cut = int(pd.Timestamp("2020-01-03", tz="UTC").value // 1000)
    split = temporal_split(data, cut=cut, validation_fraction=0.4).validation
    assert split.cold.sum() > 40
    model = _Levelled(split)
    tried = choose_cold_offset(model, split)  # type: ignore[arg-type]
    chosen = model.config.cold_offset
    model.config.cold_offset = best = max(tried, key=lambda offset: tried[offset])
    users = evaluate(model, split, settings=("catalogue",), ks=(20,))["catalogue"].metrics["recall@20"]
    assert tried[best] > tried[-14.0]
    assert tried[best] > tried[-5.0]
    assert chosen == min(o for o in tried if tried[o] >= tried[best] - users.std() / len(users) ** 0.5)
    assert choose_cold_offset(model, warm_only(split)) == {}  # type: ignore[arg-type]


def test_selection_without_cold_items_uses_the_catalogue_alone(inputs: Inputs) -> None:
    split = warm_only(inputs.splits.validation)
    assert not split.cold.any()
    assert len(split.target_item) < len(inputs.splits.validation.target_item)
    model = trained("bias_mf", "standard", "none")
    assert selection_value(model, split) == recall_at_20(model, split, ("catalogue",))["catalogue"]


@pytest.mark.parametrize("plan", [DemoPlan.short(), DemoPlan.everything(7)])
def test_every_pair_of_the_demo_names_rows_of_the_demo(plan: DemoPlan) -> None:
    rows = plan.by_row()
    labels = {*FLOORS, *rows, *(f"{row} (mean user)" for row, specs in rows.items() if specs[0].profile_mode == "llm")}
    for pair in [pair for pairs in plan.pairs().values() for pair in pairs] + plan.strata_pairs():
        assert set(pair) <= labels
    assert sorted(spec.label for specs in rows.values() for spec in specs) == sorted(s.label for s in plan.specs())
    assert len({spec.label for spec in plan.specs()}) == len(plan.backbones) * len(plan.seeds) * 7
    assert plan.shown in plan.specs()


def test_the_profile_is_asked_about_in_ten_cells() -> None:
    pairs = DemoPlan.everything().pairs()
    for preset in ("standard", "floor_residual"):
        family = pairs[f"profile, {preset}"]
        assert len(family) * len(("catalogue", "zero_shot")) == 10
        assert all(b == a.removesuffix("llm") + "constant" for a, b in family)


def test_floors_are_loaded_the_second_time(inputs: Inputs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = fit_floors(inputs, tmp_path, ["popularity_decayed"])
    monkeypatch.setattr(
        "reclm_hf.pipeline.floor_stage.select_floor", lambda *_, **__: pytest.fail("nothing is left to choose")
    )
    second = fit_floors(inputs, tmp_path, ["popularity_decayed"])
    np.testing.assert_array_equal(
        first["popularity_decayed"].score(USERS, ITEMS), second["popularity_decayed"].score(USERS, ITEMS)
    )


def test_a_folder_of_another_run_is_refused(inputs: Inputs, tmp_path: Path) -> None:
    train_model(ModelSpec("bias_mf", "standard", "llm"), inputs, OPTIONS, tmp_path)
    with pytest.raises(ValueError, match="other spec"):
        train_model(ModelSpec("lightgcn", "standard", "llm"), inputs, OPTIONS, tmp_path)
    with pytest.raises(ValueError, match="other options"):
        train_model(ModelSpec("bias_mf", "standard", "llm"), inputs, replace(OPTIONS, learning_rate=0.5), tmp_path)
    changed = replace(inputs, profiles={name: -vectors for name, vectors in inputs.profiles.items()})
    with pytest.raises(ValueError, match="other vectors"):
        train_model(ModelSpec("bias_mf", "standard", "llm"), changed, OPTIONS, tmp_path)


def test_floors_of_other_data_are_fitted_again(inputs: Inputs, tmp_path: Path) -> None:
    fit_floors(inputs, tmp_path, ["text_cosine"])
    rotated = replace(inputs, item_vectors=np.roll(inputs.item_vectors, 1, axis=0))
    again = fit_floors(rotated, tmp_path, ["text_cosine"])["text_cosine"]
    fresh = fit_floors(rotated, tmp_path / "fresh", ["text_cosine"])["text_cosine"]
    np.testing.assert_array_equal(again.score(USERS, ITEMS), fresh.score(USERS, ITEMS))


def test_a_model_that_knows_the_answers_is_refused(inputs: Inputs, tmp_path: Path) -> None:
    trained("bias_mf", "standard", "none").save_pretrained(tmp_path)
    assert saved_model_rows(str(tmp_path), inputs.splits.test)[0].kind == "model"
    with pytest.raises(TableError, match="another cut"):
        saved_model_rows(str(tmp_path), inputs.splits.validation)
