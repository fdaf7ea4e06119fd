"""Fixtures: a Hub for this process, and for each test a place of its own on it.

Loaded as a plugin (`pytest_plugins` in tests/conftest.py), so nothing heavy is imported before a test asks for it.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.hubserver.loopback import LoopbackHub
    from tests.hubserver.server import HubServer

_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def hub_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HubServer]:
    """The server; each process of pytest-xdist has its own."""
    from tests.hubserver.server import HubServer

    with HubServer(tmp_path_factory.mktemp("hub")) as server:
        yield server


@pytest.fixture
def remote_hub(hub_server: HubServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LoopbackHub]:
    """The Hub with a namespace for this test, and the libraries of this process left alone.

    Fails where the server met a bug of its own: the clients would only tell of something that took long.
    """
    from tests.hubserver.loopback import LoopbackHub

    number = next(_numbers)
    namespace, other = f"ada-{number}", f"bob-{number}"
    add = hub_server.state.accounts.add
    hub_server.log.clear()
    yield LoopbackHub(
        server=hub_server,
        endpoint=hub_server.state.endpoint,
        namespace=namespace,
        other_namespace=other,
        token=add(namespace),
        read_token=add(namespace, "read"),
        other_token=add(other),
        cache=tmp_path_factory.mktemp("hf-home"),
    )
    bugs = "\n".join(hub_server.state.bugs)
    hub_server.state.bugs.clear()
    if bugs:
        pytest.fail(f"bugs of the test Hub:\n{bugs}")


@pytest.fixture
def hub(remote_hub: LoopbackHub) -> Iterator[LoopbackHub]:
    """The Hub, and every client library of this process pointed at it until the test ends.

    Fails where anything in this process went to another host.
    """
    from tests.hubserver.libraries import pointed_at
    from tests.hubserver.watch import other_hosts

    with other_hosts() as others, pointed_at(remote_hub.endpoint, remote_hub.cache, remote_hub.token):
        yield remote_hub
    if others:
        pytest.fail(f"asked for hosts besides the test Hub: {sorted(set(others))}")
