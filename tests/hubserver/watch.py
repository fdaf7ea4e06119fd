"""Every host that this process looks up or connects to, as Python itself reports it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_HERE = ("127.0.0.1", "::1", "localhost", "", None)
_watching: list[list[str]] = []
_installed = False


@contextmanager
def other_hosts() -> Iterator[list[str]]:
    """The hosts besides this machine that are looked up or connected to until the end of the `with`, by any thread."""
    global _installed
    if not _installed:  # an audit hook stays until the process ends
        sys.addaudithook(_hook)
        _installed = True
    found: list[str] = []
    _watching.append(found)
    try:
        yield found
    finally:
        _watching.remove(found)


def _hook(event: str, arguments: tuple[Any, ...]) -> None:
    if not _watching or event not in ("socket.connect", "socket.getaddrinfo"):
        return
    address = arguments[1] if event == "socket.connect" else arguments[0]
    host = address[0] if isinstance(address, tuple) else address
    # A path is a socket of this machine.
    if host not in _HERE and not (event == "socket.connect" and isinstance(address, (str, bytes))):
        for found in _watching:
            found.append(str(host))
