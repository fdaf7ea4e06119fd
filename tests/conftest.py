"""What every test relies on: no network, one thread, and the real data sets where they are."""

from __future__ import annotations

import gc
import os
import signal
from pathlib import Path

# Before any test module imports a library that reads them, once, at import. One thread each (torch and BLAS alike):
# several test processes with several threads each would fight for the same cores, and sums would differ in order.
os.environ.update(
    OMP_NUM_THREADS="1",
    HF_HUB_OFFLINE="1",
    HF_DATASETS_OFFLINE="1",
    HF_HUB_DISABLE_TELEMETRY="1",
    TOKENIZERS_PARALLELISM="false",
)

# A shell starts what runs in its background with Ctrl-C ignored, and children inherit that: the tests that send it
# would wait for what never comes.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

import hypothesis
import pytest

# Each test module imports libraries of hundreds of thousands of objects. The collector would walk them again and again
# while they are loaded, and again whenever a test collects; see `collector`.
gc.disable()

# A busy machine is no failure: how long one example takes says nothing.
hypothesis.settings.register_profile("reclm", deadline=None)
hypothesis.settings.load_profile("reclm")

REPOSITORY = Path(__file__).parents[1]
pytest_plugins = ["tests.hubserver.fixtures"]


def pytest_collection_finish() -> None:
    """The modules are loaded: from here on garbage is collected as ever."""
    gc.enable()


@pytest.fixture(scope="module", autouse=True)
def collector() -> None:
    """What is alive between two files stays so, libraries mostly: it is not looked at while garbage is collected."""
    gc.collect()
    gc.freeze()


@pytest.fixture
def brief_floors(monkeypatch: pytest.MonkeyPatch) -> None:
    """Floors that learn by gradient take few steps: for tests that ask for their rows, not for their worth."""
    from reclm_hf.baselines import clcrec, dropoutnet

    batches = dropoutnet._batches
    monkeypatch.setattr(clcrec, "LEAST_STEPS", 10)
    monkeypatch.setattr(dropoutnet, "_batches", lambda split, steps, rng: batches(split, min(steps, 10), rng))


@pytest.fixture(scope="session")
def repository() -> Path:
    """The root of the repository."""
    return REPOSITORY


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder with the real data sets; tests that use it carry the marker `shared_data`."""
    folder = Path(os.environ.get("RECLM_SHARED_DATA", REPOSITORY.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"the data sets are not at {folder}; set RECLM_SHARED_DATA to their folder")
    return folder


@pytest.fixture(scope="session")
def child_environment() -> dict[str, str]:
    """The environment for a child process that imports reclm_hf from this repository."""
    path = os.pathsep.join(filter(None, [str(REPOSITORY), os.environ.get("PYTHONPATH", "")]))
    return {**os.environ, "PYTHONPATH": path}
