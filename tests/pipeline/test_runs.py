"""Training many rows: the same models with one process and with several, and what is finished is left alone."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from reclm_hf.pipeline import runs
from reclm_hf.pipeline.model_stage import Inputs, train_model
from reclm_hf.pipeline.runs import train_all
from reclm_hf.pipeline.specs import ModelSpec
from reclm_hf.pipeline.threads import LIBRARIES
from reclm_hf.recommender.configuration_reclm_recommender import PRESETS
from reclm_hf.recommender.modeling_reclm_recommender import RecLMRecommender
from reclm_hf.recommender.trainer import TrainerOptions
from tests.checkerboard import N_ITEMS, N_USERS, checkerboard
from tests.recommender.models import OPTIONS, profiles

USERS, ITEMS = np.arange(N_USERS), np.arange(N_ITEMS)
EPOCHS_OF_A_MINUTE = 20_000
SPECS = [ModelSpec("bias_mf", "standard", mode, seed) for mode, seed in (("none", 0), ("llm", 0), ("llm", 1))]


@pytest.fixture(scope="module")
def inputs() -> Inputs:
    splits, vectors = checkerboard()
    return Inputs(splits, vectors, {"validation": profiles(), "test": profiles()})


class _PoolOfOne:
    """A pool that works in this process, and keeps what new ones would have been started with."""

    started: ClassVar[list[tuple[int, int]]] = []

    def __init__(self, jobs: int, initargs: tuple[Any, ...], **_: Any) -> None:
        self.started.append((jobs, initargs[-1]))

    def submit(self, work: Callable[..., float], *given: Any) -> Future[float]:
        future: Future[float] = Future()
        future.set_result(work(*given))
        return future

    def shutdown(self, **_: Any) -> None:
        pass


def test_every_process_gets_the_threads_that_are_asked_for(
    inputs: Inputs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in LIBRARIES:
        monkeypatch.setenv(name, "1")  # new processes get two, and other tests one again
    monkeypatch.setattr(runs, "ProcessPoolExecutor", _PoolOfOne)
    monkeypatch.setattr(runs, "_inputs", inputs)
    train_all(SPECS[:1], inputs, tmp_path, jobs=3, epochs=1, threads=2)
    assert _PoolOfOne.started == [(3, 2)]
    assert {os.environ[name] for name in LIBRARIES} == {"2"}
    assert json.loads((tmp_path / SPECS[0].label / "done.json").read_text())["options"]["threads"] == 2


def test_two_processes_train_what_one_trains(inputs: Inputs, tmp_path: Path) -> None:
    done: list[str] = []
    seconds = train_all(SPECS, inputs, tmp_path / "two", jobs=2, on_done=lambda spec: done.append(spec.label))
    assert sorted(done) == sorted(seconds) == sorted(spec.label for spec in SPECS)
    train_all(SPECS, inputs, tmp_path / "one", jobs=1)
    for spec in SPECS:
        models = [RecLMRecommender.from_pretrained(tmp_path / jobs / spec.label / "model") for jobs in ("one", "two")]
        np.testing.assert_allclose(*(model.score(USERS, ITEMS) for model in models), atol=1e-6)


def test_an_error_names_the_row_at_once_and_keeps_what_is_finished(inputs: Inputs, tmp_path: Path) -> None:
    train_all(SPECS[:1], inputs, tmp_path, epochs=2)
    (tmp_path / SPECS[1].label).mkdir()
    (tmp_path / SPECS[1].label / "run.json").write_text("{}")
    others = set(multiprocessing.active_children())
    with pytest.raises(ValueError, match=f"{SPECS[1].label} holds a run with other"):
        train_all(SPECS[1:3], inputs, tmp_path, jobs=2, epochs=EPOCHS_OF_A_MINUTE)
    assert (tmp_path / SPECS[0].label / "done.json").is_file()
    assert not (tmp_path / SPECS[2].label / "done.json").exists(), "the other process was waited for"
    assert set(multiprocessing.active_children()) == others


@pytest.mark.skipif(os.name != "posix", reason="masks are POSIX's")
@pytest.mark.parametrize("where", ["here", "in another thread"])
def test_ctrl_c_while_processes_start_is_delayed_and_not_lost(where: str) -> None:
    found: list[str] = []
    asks = "import signal; print(signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, ()))"
    other = threading.Event()

    def interrupt() -> None:
        other.wait()
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()

    def start() -> None:
        with runs._interrupts_later():
            if where == "here":
                os.kill(os.getpid(), signal.SIGINT)
            other.set()
            thread.join()
            found.append(subprocess.run([sys.executable, "-c", asks], capture_output=True, text=True).stdout)

    with pytest.raises(KeyboardInterrupt):
        start()
    assert found == ["True\n"], "the start was cut in two, or the terminal's Ctrl-C would reach the new process"
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, ())
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


@pytest.mark.parametrize("preset", PRESETS)
def test_every_preset_has_a_training_budget(preset: str) -> None:
    options = [runs.trainer_options(ModelSpec("bias_mf", preset, mode, 3)) for mode in ("none", "llm", "constant")]
    assert len(set(options)) == 1, "the same for base, augmented and placebo"
    assert isinstance(options[0], TrainerOptions)
    assert options[0].seed == 3
    assert (options[0].threads, options[0].optimizer, options[0].precision) == (1, "adam", "float32")
    given = runs.trainer_options(ModelSpec("bias_mf", preset, "none", 3), 2, "row_sparse_adam", "bfloat16")
    assert given == replace(options[0], threads=2, optimizer="row_sparse_adam", precision="bfloat16")


def test_a_search_tries_the_same_settings_for_base_and_augmented(inputs: Inputs, tmp_path: Path) -> None:
    tried = []
    for mode in ("none", "llm"):
        folder = tmp_path / mode
        model = train_model(ModelSpec("bias_mf", "standard", mode), inputs, OPTIONS, folder, budget=3)
        trials = json.loads((folder / "search.json").read_text())["trials"]
        best = max(trials, key=lambda trial: trial["value"])["settings"]
        done = json.loads((folder / "done.json").read_text())
        assert done["settings"] == best
        assert model.config.l2 == best.get("l2", PRESETS["standard"]["l2"])
        tried.append([trial["settings"] for trial in trials])
    assert tried[0] == tried[1]
    assert len(tried[0]) == 3
