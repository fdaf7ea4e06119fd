"""`reclm measure` from end to end, on the checkerboard and a model of random weights."""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from reclm_hf.commands import measure
from reclm_hf.data.tables import INSTRUCTION_COLUMNS, TableError, read_parquet, write_parquet
from reclm_hf.profiler.configuration_reclm_profiler import RecLMProfilerConfig
from reclm_hf.profiler.modeling_reclm_profiler import RecLMProfiler
from reclm_hf.profiles.generate import generate_user_profiles
from reclm_hf.profiles.instructions import build_instructions
from reclm_hf.profiles.neighbors import top_neighbors
from reclm_hf.tuning.held_out import draw_users, measured
from reclm_hf.tuning.measures.compare import MEASURE_COLUMNS, compare
from reclm_hf.tuning.measures.measures import Reference
from reclm_hf.tuning.measures.stage import FREE, MANIFEST, TABLE, Subjects, load_measured, measure_profiler
from tests.checkerboard import checkerboard
from tests.profiler.models import BASE, base_model, lean_towards_words, tokenizer
from tests.profiles.tiny import WordEngine


class LetterEncoder:
    """Counts letters; enough to tell texts apart."""

    def encode(self, texts: list[str]) -> np.ndarray:
        vectors = np.array([[text.count(chr(97 + letter)) for letter in range(16)] for text in texts], dtype=np.float32)
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True).clip(1e-9)


@pytest.fixture(scope="module")
def subjects(tmp_path_factory: pytest.TempPathFactory) -> Subjects:
    splits, _ = checkerboard()
    split, items, encoder = splits.validation, splits.data.items, LetterEncoder()
    vectors = encoder.encode(items["text"].tolist())
    near = top_neighbors(split.history_matrix().toarray(), 2)
    table = generate_user_profiles(split, items, near, WordEngine(), tmp_path_factory.mktemp("words"), progress=False)
    users = draw_users(split, near, 9)
    made = build_instructions(split, items, near, table, tokenizer(), max_tokens=1500).table
    reference = Reference.of(split, vectors, table, near, encoder)
    return Subjects(reference, items, users, measured(split, users, near, 6), made)


def a_profiler(seed: int = 0) -> RecLMProfiler:
    model = base_model(seed)
    lean_towards_words(model)
    return RecLMProfiler(model, tokenizer(), RecLMProfilerConfig(BASE, neighbors=2))


def count_calls(profiler: RecLMProfiler) -> list[int]:
    calls: list[int] = []
    profiler.model.register_forward_hook(lambda module, args, out: calls.append(1))
    return calls


def test_a_second_call_runs_no_model_and_a_kill_loses_little(
    subjects: Subjects, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from reclm_hf.tuning.measures import stage as measure_stage

    monkeypatch.setattr(measure_stage, "_KEPT_AT_ONCE", 4)
    whole = tmp_path / "whole"
    profiler = a_profiler()
    calls = count_calls(profiler)
    found = measure_profiler(profiler, subjects, whole, "base", progress=False)
    assert len(found.users) == 6
    assert found.answers is not None
    assert set(found.answers["user_id"]) <= {str(subjects.reference.split.user_ids[row]) for row in subjects.drawn}
    assert len(calls) > 0
    first = len(calls)
    again = measure_profiler(profiler, subjects, whole, "base", progress=False)
    assert len(calls) == first, "everything was kept"
    pd.testing.assert_frame_equal(found.users, again.users)
    pd.testing.assert_frame_equal(found.answers, again.answers)

    cut = tmp_path / "cut"
    other = a_profiler()
    real, done = measure_stage.write_free, []

    def killed(*args: Any, **options: Any) -> list[str]:
        if done:
            raise KeyboardInterrupt
        done.append(1)
        return real(*args, **options)

    monkeypatch.setattr(measure_stage, "write_free", killed)
    with pytest.raises(KeyboardInterrupt):
        measure_profiler(other, subjects, cut, "base", progress=False)
    assert len(read_parquet(cut / FREE)) == 4
    with pytest.raises(TableError, match=MANIFEST):
        load_measured(cut)
    monkeypatch.setattr(measure_stage, "write_free", real)
    resumed = measure_profiler(other, subjects, cut, "base", progress=False)
    pd.testing.assert_frame_equal(found.users, resumed.users)
    loaded = load_measured(cut)
    pd.testing.assert_frame_equal(compare(None, loaded), compare(None, found))


def test_another_model_is_measured_anew_and_compared(subjects: Subjects, tmp_path: Path) -> None:
    one = measure_profiler(a_profiler(0), subjects, tmp_path / "one", "one", progress=False)
    two = measure_profiler(a_profiler(1), subjects, tmp_path / "two", "two", progress=False)
    table = compare(one, two).set_index("measure")
    assert table.loc["forced_format", "mean"] > 0.8
    assert table.loc["free_format", "mean"] == 0.0, "random weights keep no format unless they are forced"
    assert table.loc["forced_distinct_1", "difference"] != 0
    assert table.loc["yes_no_auc", "n_paired"] > 1
    assert table.loc[["yes_no_auc of popularity", "yes_no_auc of combined"], "n"].min() > 1


def test_the_profilers_own_form_is_asked_in(subjects: Subjects) -> None:
    from reclm_hf.tuning.measures.stage import _asked, profile_requests

    profiler = a_profiler()
    assert _asked(profiler)["form"] == "examples"
    profiler.config = replace(profiler.config, form="dialogue", max_tokens=600)
    assert profile_requests(profiler, subjects)[0].begin
    assert _asked(profiler)["max_tokens"] == profiler.engine().max_tokens == 600, "as long as it was tuned with"


def test_the_command_draws_measures_and_compares(
    subjects: Subjects, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    profiler = a_profiler()
    model = tmp_path / "model"
    profiler.save_pretrained(model)
    instructions = tmp_path / "instructions.parquet"
    write_parquet(subjects.instructions, instructions, INSTRUCTION_COLUMNS)
    monkeypatch.setattr(measure, "_subjects", lambda args, splits, split, folder: subjects)
    monkeypatch.chdir(tmp_path)

    def run(*words: str) -> str:
        parser = argparse.ArgumentParser()
        measure.add_parser(parser.add_subparsers())
        args = parser.parse_args(["measure", str(model), "--instructions", str(instructions), *words])
        args.json = False
        assert args.run(args) == 0
        return capsys.readouterr().out

    assert "yes_no_auc" in run("--stage", "base", "--output", "one")
    said = run("--stage", "tuned", "--output", "two", "--against", "one", "--no-free")
    assert "against" in said
    assert "free_format" not in said
    table = read_parquet(tmp_path / "two" / TABLE)
    assert list(table.columns) == list(MEASURE_COLUMNS)
    assert set(table["against"]) == {"base"}
    assert (table["difference"].dropna() == 0).all(), "the same model"
    assert json.loads((tmp_path / "two" / MANIFEST).read_text())["stage"] == "tuned"
    with pytest.raises(TableError, match="give the output of a finished"):
        run("--against", "nowhere")
