"""The ablation from end to end on the checkerboard with chat models of a few thousand weights: two stages, and on."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml

from reclm_hf.data.folder import write_dataset
from reclm_hf.data.load import load_splits
from reclm_hf.data.tables import PROFILE_COLUMNS, TableError, read_parquet, write_parquet
from reclm_hf.pipeline import model_stage, runs
from reclm_hf.pipeline.ablation import run_ablation, with_measured
from reclm_hf.pipeline.ablation_options import AblationOptions, read_options
from reclm_hf.pipeline.ablation_profiles import Stage, StageProfiles, find_stages, write_stage_profiles
from reclm_hf.pipeline.ablation_recommender import AblationPlan, restrict_users
from reclm_hf.pipeline.ablation_report import cost_lines
from reclm_hf.profiler.modeling_reclm_profiler import RecLMProfiler
from reclm_hf.profiles.generate import generate_user_profiles
from reclm_hf.profiles.instructions import neighbor_rows
from reclm_hf.profiles.shards import ShardStore
from reclm_hf.tuning.measures.compare import Measured
from reclm_hf.tuning.measures.floors import FLOORS
from reclm_hf.tuning.measures.stage import save_measured
from reclm_hf.tuning.outputs import input_digest
from tests.checkerboard import N_USERS, checkerboard
from tests.profiler.models import save_base
from tests.profiles.tiny import WordEngine
from tests.recommender.models import OPTIONS

QUICK = replace(OPTIONS, batch_size=256, max_epochs=2, evaluate_every=1)
USERS = [f"user-{number:02d}" for number in (*range(0, 32, 2), 1, 3, 5, 7)]


class WordVectors:
    """Sentence vectors from words: texts with words in common are alike."""

    model_id, revision, max_length, dimension = "words", None, 8, 16

    def encode(self, texts: list[str], progress: bool = True) -> np.ndarray:
        vectors = np.zeros((len(texts), self.dimension), dtype=np.float32)
        for row, text in enumerate(texts):
            for word in str(text).lower().split():
                seed = int.from_bytes(hashlib.sha256(word.encode()).digest()[:4], "big")
                vectors[row] += np.random.default_rng(seed).standard_normal(self.dimension).astype(np.float32)
        return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Data with profiles that name neighbours, two profilers, and the users who are measured."""
    folder = tmp_path_factory.mktemp("ablation")
    splits, _ = checkerboard()
    write_dataset(splits.data, folder / "data", {"test_cut": splits.test.cut})
    near = np.array([[(user + 2) % N_USERS, (user + 4) % N_USERS] for user in range(N_USERS)], dtype=np.int32)
    for split in (splits.validation, splits.test):
        table = generate_user_profiles(split, splits.data.items, near, WordEngine(), folder / split.name / "shards")
        write_parquet(table, folder / "profiles" / split.name / "user_profiles.parquet", PROFILE_COLUMNS)
    (folder / "users.txt").write_text("\n".join(USERS) + "\n", encoding="utf-8")
    save_base(folder / "plain", seed=0)
    save_base(folder / "tuned", seed=3)
    manifest = {
        "stage": "sft",
        "inputs": {"without_users": input_digest(str(folder / "users.txt"))},
        "cost": {"wall_s": 1234.5, "cpu_s": 999.0, "peak_rss_mib": 10},
        "figures": {"steps": 77, "tokens_read": 4321},
    }
    (folder / "tuned" / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    recipe = {
        "data": str(folder / "data"),
        "profiles": str(folder / "profiles"),
        "users": str(folder / "users.txt"),
        "model": str(folder / "plain"),
        "stages": {"mask": str(folder / "tuned"), "mask+ppo": str(folder / "absent")},
        "recommenders": ["bias_mf/standard"],
        "seeds": [0, 1],
        "floors": ["popularity"],
        "cases": 2,
    }
    (folder / "recipe.yaml").write_text(yaml.safe_dump(recipe), encoding="utf-8")
    return {"folder": folder, "splits": splits, "recipe": folder / "recipe.yaml"}


@pytest.fixture(scope="module")
def finished(world: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str], dict[str, Any]]:
    output = tmp_path_factory.mktemp("run") / "two"
    said: list[str] = []
    with pytest.MonkeyPatch.context() as patch:
        quick(patch)
        manifest = run_ablation(read_options(world["recipe"], output=str(output)), said.append, WordVectors())
    return output, said, manifest


def quick(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(runs, "trainer_options", lambda spec, threads: replace(QUICK, seed=spec.seed, threads=threads))


def test_two_stages_become_one_table(finished: tuple[Path, list[str], dict[str, Any]]) -> None:
    output, said, manifest = finished
    table = read_parquet(output / "ablation.parquet")
    assert set(table[table["part"] == "recommender"]["stage"]) >= {"raw", "mask", "base"}
    values = table[(table["part"] == "recommender") & (table["against"] == "") & (table["name"] == "recall@20")]
    name = "bias_mf-standard"
    assert {f"{name}-{last}" for last in ("none", "constant", "raw", "mask")} < set(values["row"])
    assert {"popularity", f"{name}-mask (mean user)"} < set(values["row"])
    asked = values[values["setting"].isin(["catalogue", "zero_shot"])]
    assert (asked["low"] <= asked["value"]).all()
    assert (asked["value"] <= asked["high"]).all()
    gains = table[(table["against"] == f"{name}-constant")]
    assert set(gains["row"]) == {f"{name}-raw", f"{name}-mask"}
    assert gains["p_holm"].notna().all()
    assert set(gains["verdict"]) <= {"better", "worse", "not shown"}
    assert len(table[(table["row"] == f"{name}-mask") & (table["against"] == f"{name}-raw")]) == 2
    results = read_parquet(output / "recommenders" / "results.parquet")
    assert set(results[results["kind"] == "model"]["n_seeds"]) == {2}
    assert any("reclm refine --algorithm ppo" in line for line in said)
    assert manifest["test_opened"] == [["raw", "mask"]]


def test_the_report_has_cost_intervals_and_the_subset(finished: tuple[Path, list[str], dict[str, Any]]) -> None:
    output, _, _ = finished
    table, text = read_parquet(output / "ablation.parquet"), (output / "report.md").read_text(encoding="utf-8")
    cost = table[table["part"] == "cost"].set_index(["stage", "name"])["value"]
    assert cost["mask", "tuning_wall_s"] == 1234.5
    assert cost["mask", "steps"] == 77
    written = [
        read_parquet(output / "profiles" / "mask" / cut / "user_profiles.parquet") for cut in ("validation", "test")
    ]
    assert cost["mask", "profile_tokens_out"] == sum(part["tokens_out"].sum() for part in written) > 0
    for stage in ("raw", "mask"):
        assert cost[stage, "profile_wall_s"] > 0
        assert cost[stage, "recommender_s"] > 0
    assert ("raw", "tuning_wall_s") not in cost.index
    assert "20 of the 50 users" in text
    assert "1,234" in text
    assert "mask+ppo is left out" in text
    assert "## Case study" in text
    change = table[(table["part"] == "profiles") & (table["name"] == "over_smoothing") & (table["against"] == "raw")]
    line = change.iloc[0]
    assert line["low"] < line["value"] < line["high"]
    assert f"change {line['value']:+.3f} [{line['low']:+.3f}, {line['high']:+.3f}]" in text
    assert (output / "recommenders" / "report.svg").is_file()
    assert "may have been tuned on" not in text


def test_profiles_of_a_stage_are_of_the_measured_users_and_its_own(
    finished: tuple[Path, list[str], dict[str, Any]],
) -> None:
    output, _, _ = finished
    tables = {
        (stage, cut): read_parquet(output / "profiles" / stage / cut / "user_profiles.parquet")
        for stage in ("raw", "mask")
        for cut in ("validation", "test")
    }
    for table in tables.values():
        assert sorted(table["user_id"]) == sorted(USERS)
    assert tables["raw", "test"]["generator"].iloc[0] != tables["mask", "test"]["generator"].iloc[0]
    assert (tables["raw", "test"]["profile"].to_numpy() != tables["mask", "test"]["profile"].to_numpy()).any()
    assert tables["raw", "validation"]["as_of"].max() < tables["raw", "test"]["as_of"].min()
    cases = read_parquet(output / "case_study.parquet")
    assert cases["user_id"].nunique() == 2
    assert set(cases["stage"]) == {"raw", "mask"}


def never(*_: object, **__: object) -> None:
    pytest.fail("this is finished already")


def test_a_second_run_computes_nothing(
    world: dict[str, Any], finished: tuple[Path, list[str], dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    output, _, manifest = finished
    before = {path: path.stat().st_mtime_ns for path in output.rglob("*") if path.is_file()}
    monkeypatch.setattr(RecLMProfiler, "from_pretrained", never)
    monkeypatch.setattr(model_stage, "fit", never)
    monkeypatch.setattr("reclm_hf.pipeline.ablation.encode_items", never)
    assert run_ablation(read_options(world["recipe"], output=str(output)), print, WordVectors()) == manifest
    assert {path: path.stat().st_mtime_ns for path in output.rglob("*") if path.is_file()} == before


def test_what_is_lost_alone_is_done_again(
    world: dict[str, Any],
    finished: tuple[Path, list[str], dict[str, Any]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    output = tmp_path / "copy"
    shutil.copytree(finished[0], output)
    shutil.rmtree(output / "models" / "mask" / "bias_mf-standard-llm-seed1")
    quick(monkeypatch)
    monkeypatch.setattr(RecLMProfiler, "from_pretrained", never)
    fitted = []
    original = model_stage.fit
    monkeypatch.setattr(
        model_stage, "fit", lambda model, *rest, **more: (fitted.append(1), original(model, *rest, **more))[1]
    )
    manifest = run_ablation(read_options(world["recipe"], output=str(output)), print, WordVectors())
    assert fitted == [1]
    assert manifest["test_opened"] == [["raw", "mask"]] * 2  # it was looked at again, and that is said
    for name in ("ablation.parquet", "recommenders/comparisons.parquet", "case_study.parquet"):
        left, right = read_parquet(finished[0] / name), read_parquet(output / name)
        kept = ~left["name"].str.endswith("_s") if "name" in left else np.ones(len(left), dtype=bool)
        pd.testing.assert_frame_equal(left[kept], right[kept])


def test_profiles_go_on_where_they_were_killed_and_a_stage_is_added(
    world: dict[str, Any],
    finished: tuple[Path, list[str], dict[str, Any]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    output = tmp_path / "copy"
    shutil.copytree(finished[0], output)
    place = output / "profiles" / "mask" / "test"
    before = read_parquet(place / "user_profiles.parquet")
    (place / "user_profiles.parquet").unlink()  # killed after the shards were written
    quick(monkeypatch)
    monkeypatch.setattr("reclm_hf.profiles.engine_transformers.TransformersEngine.generate", never)
    monkeypatch.setattr(model_stage, "fit", never)
    run_ablation(read_options(world["recipe"], output=str(output)), print, WordVectors())
    pd.testing.assert_frame_equal(read_parquet(place / "user_profiles.parquet"), before)
    monkeypatch.undo()
    quick(monkeypatch)
    options = read_options(world["recipe"], output=str(output))
    save_base(tmp_path / "third", seed=5)
    options = replace(options, stages={**options.stages, "naive": str(tmp_path / "third")})
    manifest = run_ablation(options, print, WordVectors())
    assert list(manifest["key"]["stages"]) == ["raw", "naive", "mask"]
    table, text = read_parquet(output / "ablation.parquet"), (output / "report.md").read_text(encoding="utf-8")
    name = "bias_mf-standard"
    assert len(table[(table["row"] == f"{name}-mask") & (table["against"] == f"{name}-naive")]) == 2
    assert "`naive` may have been tuned on users who are measured here" in text


def test_profiles_that_were_written_before_are_taken(
    world: dict[str, Any],
    finished: tuple[Path, list[str], dict[str, Any]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    splits = load_splits(str(world["folder"] / "data"))
    known = {
        cut: read_parquet(finished[0] / "profiles" / "raw" / cut / "user_profiles.parquet")
        for cut in ("validation", "test")
    }
    near = {cut: neighbor_rows(table, getattr(splits, cut)) for cut, table in known.items()}
    monkeypatch.setattr("reclm_hf.profiles.engine_transformers.TransformersEngine.generate", never)
    stage = Stage("raw", str(world["folder"] / "plain"))
    found = write_stage_profiles(stage, splits, sorted(USERS), near, tmp_path, known=known)
    assert found.cost["taken"] == 2 * len(USERS)
    assert found.cost["wall_s"] == 0
    for cut, table in known.items():
        assert found.tables[cut]["profile"].tolist() == table["profile"].tolist()


def test_what_a_stage_was_measured_by_is_not_written_again(
    world: dict[str, Any],
    finished: tuple[Path, list[str], dict[str, Any]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    splits = load_splits(str(world["folder"] / "data"))
    place = finished[0] / "profiles"
    mine = {cut: read_parquet(place / "mask" / cut / "user_profiles.parquet") for cut in ("validation", "test")}
    shipped = read_parquet(place / "raw" / "validation" / "user_profiles.parquet")
    measured = ShardStore(tmp_path / "measured" / "shards", PROFILE_COLUMNS, splits.validation.cut)
    measured.write(mine["validation"].to_dict("records"))
    known = with_measured({"validation": shipped, "test": mine["test"]}, str(tmp_path / "measured"), splits)
    near = {cut: neighbor_rows(table, getattr(splits, cut)) for cut, table in mine.items()}
    monkeypatch.setattr("reclm_hf.profiles.engine_transformers.TransformersEngine.generate", never)
    stage = Stage("mask", str(world["folder"] / "tuned"))
    found = write_stage_profiles(stage, splits, sorted(USERS), near, tmp_path / "out", known=known)
    assert found.tables["validation"]["profile"].tolist() == mine["validation"]["profile"].tolist()
    assert with_measured(known, None, splits) == known
    assert with_measured(known, str(tmp_path / "nothing"), splits) == known


def test_measures_of_the_stages_are_joined_and_others_refused(
    world: dict[str, Any],
    finished: tuple[Path, list[str], dict[str, Any]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    quick(monkeypatch)
    output = tmp_path / "copy"
    shutil.copytree(finished[0], output)
    rng = np.random.default_rng(0)
    for stage, gain in (("raw", 0.0), ("mask", 0.2)):
        users = pd.DataFrame({"user_id": USERS, "free_format": rng.uniform(0.4, 0.6, len(USERS)) + gain})
        asked = [(user, f"{item:03d}", item % 2 == 0) for user in USERS for item in range(4)]
        answers = pd.DataFrame(asked, columns=["user_id", "item_id", "label"])
        answers["probability"] = np.where(answers["label"], 0.5 + gain, 0.5) + rng.uniform(0, 0.1, len(answers))
        found = Measured(stage, users, answers.assign(**dict.fromkeys(FLOORS, 0.5)))
        save_measured(found, tmp_path / stage, {})
    options = read_options(world["recipe"], output=str(output))
    options = replace(options, measures={stage: str(tmp_path / stage) for stage in ("raw", "mask", "naive")})
    manifest = run_ablation(options, print, WordVectors())
    assert manifest["test_opened"] == [["raw", "mask"]]  # the report of the recommenders is the one before
    table = read_parquet(output / "ablation.parquet")
    change = table[(table["part"] == "measures") & (table["against"] == "raw")].set_index("name")
    assert change.loc["free_format", "value"] == pytest.approx(0.2, abs=0.06)
    assert change.loc["free_format", "low"] > 0.1
    assert change.loc["yes_no_auc", "low"] > 0
    assert "| free_format |" in (output / "report.md").read_text(encoding="utf-8")
    others = Measured("mask", pd.DataFrame({"user_id": ["somebody"], "free_format": [1.0]}))
    save_measured(others, tmp_path / "mask", {})
    with pytest.raises(TableError, match="different users"):
        run_ablation(options, print, WordVectors())


def test_the_command_says_what_to_do_next(
    world: dict[str, Any], finished: tuple[Path, list[str], dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    path = Path(__file__).parents[2] / "training" / "ablation.py"
    spec = importlib.util.spec_from_file_location("training_ablation", path)
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    argv = [str(world["recipe"]), "--output", str(finished[0])]
    assert script.main([*argv, "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["next"] == f"read {finished[0] / 'report.md'}"
    assert said["verdicts"] == finished[2]["verdicts"]
    assert script.main(argv) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1] == f"Next: read {finished[0] / 'report.md'}"
    assert any("reclm refine" in line for line in lines)
    assert script.main([*argv, "--jobs", "0"]) == 2
    assert "jobs" in capsys.readouterr().err


def test_a_folder_of_another_ablation_is_refused(
    world: dict[str, Any], finished: tuple[Path, list[str], dict[str, Any]], tmp_path: Path
) -> None:
    output = str(finished[0])
    (tmp_path / "users.txt").write_text("\n".join(USERS[:-1]), encoding="utf-8")
    with pytest.raises(ValueError, match="other data or users"):
        run_ablation(read_options(world["recipe"], output=output, users=str(tmp_path / "users.txt")), print)
    other = read_options(world["recipe"], output=output)
    changed = replace(other, stages={"mask": str(world["folder"] / "plain")})
    with pytest.raises(ValueError, match="other profiler"):
        run_ablation(changed, print, WordVectors())
    with pytest.raises(TableError, match="no such file"):
        run_ablation(replace(other, users=str(tmp_path / "none.txt")), print)


def test_a_subset_holds_nothing_of_anybody_else() -> None:
    splits, _ = checkerboard()
    small = restrict_users(splits, USERS)
    assert small.data.user_ids.tolist() == sorted(USERS)
    assert small.fingerprint != splits.fingerprint
    for name in ("validation", "test"):
        whole, part = getattr(splits, name), getattr(small, name)
        assert part.cut == whole.cut
        assert part.item_ids is whole.item_ids
        chosen = np.isin(whole.user_ids[whole.history_user], USERS)
        assert part.user_ids[part.history_user].tolist() == whole.user_ids[whole.history_user][chosen].tolist()
        assert part.history_item.tolist() == whole.history_item[chosen].tolist()
        assert part.history_time.tolist() == whole.history_time[chosen].tolist()
        assert set(part.user_ids[part.target_user]) <= set(USERS)
        assert set(np.flatnonzero(part.warm)) == set(part.history_item)
        assert not (part.cold & ~whole.cold).any()
        assert set(np.flatnonzero(part.cold)) <= set(part.target_item)
        assert set(part.target_item) <= set(np.flatnonzero(part.warm | part.cold))


def test_an_item_that_only_others_know_is_not_new() -> None:
    splits, _ = checkerboard()
    user = "user-00"
    small = restrict_users(splits, [user]).test
    own = {int(item) for item in splits.test.target_item[splits.test.user_ids[splits.test.target_user] == user]}
    assert {int(item) for item in small.target_item} == {item for item in own if splits.test.cold[item]} != own
    assert small.cold.sum() == len(small.target_item)


@pytest.mark.parametrize(("users", "error"), [(["user-00", "nobody"], KeyError), (["user-00", "user-00"], ValueError)])
def test_a_subset_of_unknown_or_repeated_users_is_refused(users: list[str], error: type[Exception]) -> None:
    with pytest.raises(error):
        restrict_users(checkerboard()[0], users)


def test_what_a_refined_stage_cost_holds_all_that_it_came_from_and_no_more(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text('{"cost": {"wall_s": 100.0}}', encoding="utf-8")
    mask = Stage("mask", "m", manifest={"cost": {"wall_s": 10.0}})
    written = StageProfiles({}, dict.fromkeys(("wall_s", "taken", "tokens_in", "tokens_out"), 0.0))

    def total(reward: str, *before: Stage) -> float:
        stage = Stage("mask+rloo", "r", manifest={"cost": {"wall_s": 1.0}, "settings": {"reward": reward}})
        lines = cost_lines([*before, stage], dict.fromkeys(("mask", "mask+rloo"), written), {}, str(tmp_path))
        return next(line["value"] for line in lines if line["name"] == "tuning_total_wall_s")

    assert total("model", mask) == 111.0
    assert total("verifiable", mask) == 11.0, "no reward model was needed"
    assert np.isnan(total("verifiable")), "what the stage before cost is not known"


def test_stages_are_found_or_named_with_their_command(tmp_path: Path) -> None:
    save_base(tmp_path / "mask")
    folders = {"mask+rloo": str(tmp_path / "no"), "mask": str(tmp_path / "mask"), "distill": str(tmp_path / "none")}
    found, absent = find_stages("somebody/chat", None, folders, "users.txt")
    assert [stage.name for stage in found] == ["raw", "mask"]
    assert found[1].signature() != replace(found[1], source="somebody/chat").signature()
    assert "reclm sft --variant distill" in absent[0]
    assert f"reclm refine --algorithm rloo --model {tmp_path / 'mask'}" in absent[1]
    assert "--without-users users.txt" in absent[1]
    with pytest.raises(ValueError, match=r"stages: 'masks'"):
        find_stages("somebody/chat", None, {"masks": "x"}, "users.txt")


def test_a_plan_compares_each_stage_with_what_it_came_from() -> None:
    plan = AblationPlan((("lightgcn", "standard"),), ("raw", "mask", "mask+ppo"), (0, 1))
    assert plan.pairs()["stages"] == [
        ("lightgcn-standard-mask", "lightgcn-standard-raw"),
        ("lightgcn-standard-mask+ppo", "lightgcn-standard-mask"),
    ]
    assert set(plan.members()) >= {row for pairs in plan.pairs().values() for pair in pairs for row in pair}
    assert all(len(members) == 2 for members in plan.members().values())


def test_recipes_are_checked(tmp_path: Path) -> None:
    shipped = read_options(Path(__file__).parents[2] / "training" / "configs" / "ablation.yaml", output="elsewhere")
    assert shipped.output == "elsewhere"
    assert set(shipped.stages) == {"distill", "naive", "mask", "mask+ppo", "mask+rloo"}
    path = tmp_path / "recipe.yaml"
    for text, message in (("stage: {}", "'stage'"), ("[1]", "no names"), ("a: [", "not YAML"), ("seeds: []", "seeds")):
        path.write_text(text, encoding="utf-8")
        with pytest.raises(ValueError, match=message):
            read_options(path)
    with pytest.raises(ValueError, match="recommenders"):
        AblationOptions(recommenders=["lightgcn"])
    with pytest.raises(ValueError, match="floors"):
        AblationOptions(floors=["nothing"])
