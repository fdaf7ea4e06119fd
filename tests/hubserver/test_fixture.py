"""The fixture `hub`: what it points at the Hub, that it takes all of it back, and how it breaks connections."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
from huggingface_hub import HfApi, constants, create_repo, hf_hub_download
from huggingface_hub.errors import OfflineModeIsEnabled
from huggingface_hub.utils import httpx

from tests.hubserver.late import when_loaded
from tests.hubserver.libraries import library_modules, pointed_at
from tests.hubserver.loopback import LoopbackHub
from tests.hubserver.raw import call
from tests.hubserver.server import HubServer
from tests.hubserver.watch import other_hosts


def test_every_call_reaches_the_server(hub: LoopbackHub) -> None:
    """Plain functions, which take the endpoint from a module variable, and the token from the environment."""
    repo = create_repo("first").repo_id
    assert repo == f"{hub.namespace}/first"
    HfApi().upload_file(path_or_fileobj=b"{}", path_in_repo="config.json", repo_id=repo)
    path = Path(hf_hub_download(repo, "config.json"))
    assert path.is_relative_to(hub.cache)
    assert [(each.method, each.path, each.status) for each in hub.requests] == [
        ("POST", "/api/repos/create", 200),
        ("POST", f"/api/models/{repo}/preupload/main", 200),
        ("POST", f"/api/models/{repo}/commit/main", 200),
        ("HEAD", f"/{repo}/resolve/main/config.json", 200),
        ("GET", f"/{repo}/resolve/main/config.json", 200),
    ]
    assert hub.files(repo).keys() == {".gitattributes", "config.json"}
    assert len(hub.history(repo)) == 2


def test_all_is_as_before_after_it(remote_hub: LoopbackHub, monkeypatch: pytest.MonkeyPatch) -> None:
    """The process is offline again, and nowhere in the libraries is a trace of the Hub left."""

    def traces() -> list[str]:
        words = (remote_hub.endpoint, str(remote_hub.cache), remote_hub.token)
        return [
            f"{name}.{variable}"
            for name, module in library_modules().items()
            for variable, value in list(vars(module).items())
            if isinstance(value, (str, Path, frozenset, dict, list)) and any(word in str(value) for word in words)
        ]

    token = os.environ.get("HF_TOKEN")  # of whoever runs the tests, perhaps
    with pointed_at(remote_hub.endpoint, remote_hub.cache, remote_hub.token):
        HfApi().create_repo("first")
        late = ModuleType("huggingface_hub.imported_late")  # as one that copies a variable at its first import
        vars(late)["ENDPOINT"] = constants.ENDPOINT
        monkeypatch.setitem(sys.modules, late.__name__, late)
        assert not constants.HF_HUB_OFFLINE
        assert "HF_HUB_OFFLINE" not in os.environ
        wanted = (
            "huggingface_hub.constants.ENDPOINT",
            "datasets.config.HF_ENDPOINT",
            "transformers.utils.HF_MODULES_CACHE",
        )
        assert set(wanted) <= set(traces())
    before = len(remote_hub.requests)
    assert traces() == []
    assert os.environ["HF_HUB_OFFLINE"] == "1"
    assert os.environ.get("HF_TOKEN") == token
    with pytest.raises(OfflineModeIsEnabled):
        HfApi().whoami(token=remote_hub.token)
    assert len(remote_hub.requests) == before


def test_namespaces_differ(hub: LoopbackHub, hub_server: HubServer) -> None:
    owners = {account.name for account in hub_server.state.accounts.tokens.values()}
    assert hub.namespace in owners
    assert not list(hub_server.state.storage.root.glob(f"*/{hub.namespace}"))
    assert (hub.requests, list(hub.cache.iterdir())) == ([], [])


def test_when_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A module loaded later is changed before anybody copies from it."""
    (tmp_path / "late_settings.py").write_text("PLACE = 'far'\n")
    monkeypatch.syspath_prepend(tmp_path)
    with when_loaded("late_settings", lambda module: setattr(module, "PLACE", "near")):
        settings = importlib.import_module("late_settings")
    assert settings.PLACE == "near"
    assert importlib.reload(settings).PLACE == "far"
    assert not [finder for finder in sys.meta_path if type(finder).__module__.startswith("tests.hubserver")]
    del sys.modules["late_settings"]


def test_other_hosts_are_noticed() -> None:
    import socket

    with other_hosts() as seen, socket.socket() as plain:
        plain.settimeout(0.01)
        with pytest.raises(OSError):
            plain.connect(("192.0.2.1", 9))  # an address kept for documentation: nobody is there
    assert seen == ["192.0.2.1"]


def test_break(hub: LoopbackHub) -> None:
    """Cut before anything is done, cut after all is done; both look alike to the client."""
    api = HfApi()
    repo = api.create_repo("broken").repo_id
    hub.break_at(1, "/commit/")
    with pytest.raises(httpx.RemoteProtocolError):
        api.upload_file(path_or_fileobj=b"1", path_in_repo="a.txt", repo_id=repo)
    assert "a.txt" not in hub.files(repo)
    hub.break_at(1, "/commit/", after=True)
    with pytest.raises(httpx.RemoteProtocolError):
        api.upload_file(path_or_fileobj=b"1", path_in_repo="a.txt", repo_id=repo)
    assert "a.txt" in hub.files(repo)
    assert [each.status for each in hub.requests if "/commit/" in each.path] == [0, 0]
    api.upload_file(path_or_fileobj=b"2", path_in_repo="a.txt", repo_id=repo)
    assert len(hub.history(repo)) == 3


def test_break_in_a_large_upload(hub: LoopbackHub) -> None:
    """The client tries again by itself; no half of a file is left."""
    repo = HfApi().create_repo("large").repo_id
    hub.break_at(1, "/storage/")
    HfApi().upload_file(path_or_fileobj=b"\0" * 3_000_000, path_in_repo="a.bin", repo_id=repo)
    assert [each.status for each in hub.requests if each.method == "PUT"] == [0, 200]
    store = hub.server.state.storage.get("models", repo).folder / "lfs"
    assert [path.name for path in store.iterdir()] == [hub.files(repo)["a.bin"]]


def test_child_process(hub: LoopbackHub, tmp_path: Path) -> None:
    program = "from huggingface_hub import HfApi, constants; print(HfApi().whoami()['name'], constants.HF_HOME)"
    environment = hub.environment(home=tmp_path, token=hub.other_token)
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.split() == [hub.other_namespace, str(tmp_path)]


def test_a_bug_of_the_server_is_kept(hub_server: HubServer) -> None:
    """It answers 500, and what went wrong is there to be told when the test ends."""
    token = hub_server.state.accounts.add("broken")
    url = f"{hub_server.state.endpoint}/api/models/broken"
    repo = hub_server.state.storage.create("models", "broken/repo", private=False, sdk=None)
    repo.save()
    (repo.folder / "repo.json").write_text("{}")
    answer = call(f"{url}/repo", headers={"Authorization": f"Bearer {token}"})
    assert answer.status == 500
    assert "TypeError" in hub_server.state.bugs.pop()
    hub_server.state.storage.delete(repo)
