"""What one process makes and pushes, another one uses that knows nothing but the names; each has its own cache."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from huggingface_hub import HfApi

from reclm_hf.hub.cards import card_figures
from reclm_hf.hub.verify import verify
from tests.hub.small_tables import USERS
from tests.hubserver.loopback import LoopbackHub

FOLDER = Path(__file__).parent


def run(environment: Mapping[str, str], program: str, place: Path, *words: str) -> dict[str, Any]:
    """Run one of the programs with caches of its own, and in a folder that holds nothing of the other's.

    Args:
        environment: names the Hub and the token. place: a folder to be made.
    """
    place.mkdir()
    token, home = environment["HF_TOKEN"], place / "hf-home"
    environment = {**environment, "HF_HOME": str(home), "RECLM_CACHE": str(place / "cache")}
    command = [sys.executable, str(FOLDER / program), *words]
    done = subprocess.run(command, env=environment, cwd=place, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr[-6000:]
    assert token not in done.stdout + done.stderr
    assert not list(home.rglob("*.bin"))
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


@pytest.mark.slow
def test_what_one_pushes_another_uses(hub: LoopbackHub, tmp_path: Path) -> None:
    prefix, home = f"{hub.namespace}/", tmp_path / "b" / "hf-home"
    made = run(
        hub.environment(home=tmp_path / "a" / "hf-home"), "hub_maker.py", tmp_path / "a", str(tmp_path / "a"), prefix
    )
    used = run(hub.environment(home=home, token=hub.read_token), "hub_user.py", tmp_path / "b", prefix)
    check_equal(made, used)
    _check_pins(hub)
    _check_a_changed_card(hub, tmp_path)


def check_equal(made: dict[str, Any], used: dict[str, Any]) -> None:
    """What the second process got is what the first one had, and every repository was verified."""
    assert used["lists"] == made["lists"]
    np.testing.assert_allclose(used["scores"], made["scores"], atol=1e-6)
    np.testing.assert_allclose(used["logits"], made["logits"], atol=1e-5)
    assert used["splits"] == ["test", "validation"]
    assert used["users"] == used["streamed"] == list(USERS)
    assert {"popularity", "toy", "toy (mean user)"} <= set(used["rows"])
    assert set(used["verified"].values()) == {0}


def _check_pins(hub: LoopbackHub) -> None:
    """The recommender names the commit of its tables, and figures of its own beside those of the floors."""
    api = HfApi()
    manifest = _manifest(f"{hub.namespace}/toy")
    (tables,) = (entry for entry in manifest["inputs"] if entry["role"] == "tables")
    assert tables["revision"] == api.repo_info(f"{hub.namespace}/toy-tables", repo_type="dataset").sha
    assert {figure["kind"] for figure in manifest["figures"]} == {"model", "mean_user", "floor"}
    assert manifest["data"]["fingerprint"]
    for name, repo_type in (("toy", "model"), ("toy-tables", "dataset")):
        assert api.repo_info(f"{hub.namespace}/{name}", repo_type=repo_type).private, "it holds ids of users"


def _check_a_changed_card(hub: LoopbackHub, tmp_path: Path) -> None:
    api, repo_id = HfApi(), f"{hub.namespace}/toy"
    card = Path(api.hf_hub_download(repo_id, "README.md")).read_text(encoding="utf-8")
    figure = next(line["value"] for line in _manifest(repo_id)["figures"] if line["kind"] == "model" and line["value"])
    shown = f"{figure:.4f}"
    assert any(shown in value for value in card_figures(card).values())
    better = card.replace(shown, f"{figure + 0.1:.4f}")
    api.upload_file(path_or_fileobj=better.encode(), path_in_repo="README.md", repo_id=repo_id)
    failed = [check for check in verify(repo_id, cache=tmp_path / "verified") if not check.passed]
    assert [check.name for check in failed] == ["card"]
    assert f"{figure + 0.1:.4f}" in failed[0].detail


def _manifest(repo_id: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(Path(HfApi().hf_hub_download(repo_id, "manifest.json")).read_text())
    return found
