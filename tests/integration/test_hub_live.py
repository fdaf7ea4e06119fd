"""The same as between two processes on the test Hub, on the real one: `HF_TOKEN=... pytest -m hub_live`.

The token needs the role write. Repositories are private, named at random below the token's user, and deleted after.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from huggingface_hub import HfApi

from tests.integration.hub_user import REPOSITORIES
from tests.integration.test_hub_two_processes import check_equal, run

HUB = "https://huggingface.co"
DATASETS = ("toy-tables", "toy-results")
OFFLINE = ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE", "TRANSFORMERS_OFFLINE")

pytestmark = pytest.mark.hub_live


@pytest.fixture
def environment(child_environment: dict[str, str]) -> dict[str, str]:
    """Of a child process that talks to the real Hub; skips without a token."""
    if not os.environ.get("HF_TOKEN"):
        pytest.skip("talks to the real Hub: set HF_TOKEN to a token with the role write")
    return {name: value for name, value in child_environment.items() if name not in (*OFFLINE, "HF_ENDPOINT")}


@pytest.fixture
def prefix(environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """What the names of the repositories begin with; all of them are deleted in the end."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    api = HfApi(endpoint=HUB, token=environment["HF_TOKEN"])
    prefix = f"{api.whoami()['name']}/reclm-hf-live-{uuid.uuid4().hex[:8]}-"
    yield prefix
    for name in REPOSITORIES:
        kind = "dataset" if name in DATASETS else "model"
        api.delete_repo(f"{prefix}{name}", repo_type=kind, missing_ok=True)


def test_what_one_pushes_another_uses(environment: dict[str, str], prefix: str, tmp_path: Path) -> None:
    made = run(environment, "hub_maker.py", tmp_path / "a", str(tmp_path / "a"), prefix)
    used = run(environment, "hub_user.py", tmp_path / "b", prefix)
    check_equal(made, used)
