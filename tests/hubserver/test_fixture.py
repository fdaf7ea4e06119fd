"""The fixture `hub`: what it points at the Hub, that it takes all of it back, and how it breaks connections."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from huggingface_hub import HfApi, constants, create_repo, hf_hub_download
from huggingface_hub.errors import OfflineModeIsEnabled
from huggingface_hub.utils import httpx

from tests.hubserver.libraries import library_modules
from tests.hubserver.loopback import LoopbackHub
from tests.hubserver.watch import other_hosts

_past: list[LoopbackHub] = []


def test_every_call_reaches_the_server(hub: LoopbackHub) -> None:
    """Plain functions, which take the endpoint from a module variable, and the token from the environment."""
    _past.append(hub)
    repo = create_repo("first").repo_id
    assert repo == f"{hub.namespace}/first"
    HfApi().upload_file(path_or_fileobj=b"{}", path_in_repo="config.json", repo_id=repo)
    path = Path(hf_hub_download(repo, "config.json"))
    assert path.is_relative_to(hub.cache)
    assert ("POST", "/api/repos/create", 200) in [(each.method, each.path, each.status) for each in hub.requests]
    assert hub.files(repo).keys() == {".gitattributes", "config.json"}
    assert len(hub.history(repo)) == 2


def test_all_is_as_before_after_it() -> None:
    """Comes after a test with the fixture: the process is offline, and nowhere a trace of the Hub is left."""
    if not _past:
        pytest.skip("runs after the test above")
    traces = (_past[-1].endpoint, str(_past[-1].cache), _past[-1].token)
    assert os.environ["HF_HUB_OFFLINE"] == "1"
    assert "HF_TOKEN" not in os.environ
    assert constants.HF_HUB_OFFLINE
    with pytest.raises(OfflineModeIsEnabled):
        HfApi().whoami(token="hf_no")
    left = [
        f"{name}.{variable} = {value!r}"
        for name, module in library_modules().items()
        for variable, value in list(vars(module).items())
        if isinstance(value, (str, Path, frozenset, dict, list)) and any(trace in str(value) for trace in traces)
    ]
    assert left == []
    assert not [place for place in sys.path if any(trace in place for trace in traces)]


def test_namespaces_differ(hub: LoopbackHub) -> None:
    assert hub.namespace not in [past.namespace for past in _past]
    assert hub.cache not in [past.cache for past in _past]
    assert hub.requests == []


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
