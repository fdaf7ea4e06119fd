"""A push that is killed anywhere and repeated leaves what one push would have left; then the way back."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest
from huggingface_hub import HfApi

from reclm_hf.hub.manifest import check_files, read_manifest
from reclm_hf.hub.publish import Pushed, push
from reclm_hf.hub.pull import pull
from reclm_hf.hub.staging import PushOptions
from tests.hub.artefacts import run_folder
from tests.hubserver.loopback import LoopbackHub

COMMAND = "import sys; from reclm_hf.commands.main import main; sys.exit(main(sys.argv[1:]))"
TIRED = 6  # so often in a row is a request cut that the client gives up; before that it waits and tries again
PATIENCE = 120  # seconds


def pushed(model: Path, repo: str, **options: object) -> Pushed:
    found = push(model, repo, PushOptions(**options), progress=False)  # type: ignore[arg-type]
    assert isinstance(found, Pushed)
    return found


def large_files(hub: LoopbackHub, repo: str) -> set[str]:
    """What the Hub keeps of large files, in a commit or not."""
    folder = hub.server.state.storage.get("models", repo).folder
    return {path.name for path in (folder / "lfs").iterdir()}


def kill_at(hub: LoopbackHub, match: str, *command: str, after: bool = False) -> str:
    """Run a command in a process of its own and kill it when a request of it was cut; returns what it had said."""
    hub.break_at(1, match, times=TIRED, after=after)
    seen = len(hub.requests)
    with subprocess.Popen(
        [sys.executable, "-c", COMMAND, *command],
        env=hub.environment() | {"TMPDIR": str(hub.cache)},  # a killed process leaves its own files behind
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        until = time.monotonic() + PATIENCE
        while not any(request.status == 0 for request in hub.requests[seen:]):
            assert time.monotonic() < until, "no request was cut"
            assert process.poll() is None or any(request.status == 0 for request in hub.requests[seen:])
            time.sleep(0.01)
        process.kill()
        said = process.communicate()[0]
    hub.server.log.breaks.clear()
    assert hub.token not in said
    return said


def test_killed_at_three_requests_and_repeated(hub: LoopbackHub, tmp_path: Path) -> None:
    """Looking up what to upload, uploading, and the commit itself, whose answer may be all that is lost."""
    model, repo = run_folder(tmp_path / "run"), f"{hub.namespace}/mine"
    pushed(model, repo)
    expected = (hub.files(repo), hub.history(repo), large_files(hub, repo))
    for match, after in (("/preupload/", False), ("/storage/", False), ("/commit/", False), ("/commit/", True)):
        HfApi().delete_repo(repo)
        kill_at(hub, match, "push", str(model), repo, after=after)
        assert set(hub.files(repo)) == (set(expected[0]) if after else {".gitattributes"}), match
        assert pushed(model, repo).changed is not after
        assert (hub.files(repo), hub.history(repo), large_files(hub, repo)) == expected, match


def test_an_update_that_breaks_off_leaves_the_old_one_whole(hub: LoopbackHub, tmp_path: Path) -> None:
    model, repo = run_folder(tmp_path / "run"), f"{hub.namespace}/mine"
    pushed(model, repo, code=True)
    before = hub.files(repo)
    hub.break_at(1, "/commit/")
    with pytest.raises(OSError, match=r"pushing to .*/mine: the Hub could not be reached or broke off.*Repeat"):
        pushed(model, repo)
    assert hub.files(repo) == before
    pull(repo, tmp_path / "old", code=True)
    assert pushed(model, repo).changed
    assert len(hub.history(repo)) == 3


def test_a_pull_that_is_killed_goes_on(hub: LoopbackHub, tmp_path: Path) -> None:
    model, repo, folder = run_folder(tmp_path / "run"), f"{hub.namespace}/mine", tmp_path / "pulled" / "mine"
    pushed(model, repo)
    kill_at(hub, "/storage/", "pull", repo, "--output", str(folder))
    assert not folder.exists()
    seen = len(hub.requests)
    assert pull(repo, folder) == folder
    asked = [request.path for request in hub.requests[seen:] if request.method == "GET" and "/resolve/" in request.path]
    assert not [path for path in asked if path.endswith("manifest.json")]  # it was there already
    check_files(folder, read_manifest(folder))
    assert [path.name for path in folder.parent.iterdir()] == ["mine"]
