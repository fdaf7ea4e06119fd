"""What a test sees of the Hub."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tests.hubserver.libraries import child_variables

if TYPE_CHECKING:
    from tests.hubserver.server import HubServer
    from tests.hubserver.wire import Request

REPOSITORY = Path(__file__).parents[2]


@dataclass(frozen=True)
class LoopbackHub:
    """A Hub on this machine with a namespace of the test's own.

    Attributes:
        endpoint: its address.
        namespace: the user of `token` and `read_token`; no other test has the same.
        token: may write there; `read_token` may not; `other_token` is another user's, `other_namespace`.
        cache: `HF_HOME` of this test.
    """

    server: HubServer
    endpoint: str
    namespace: str
    other_namespace: str
    token: str
    read_token: str
    other_token: str
    cache: Path

    @property
    def requests(self) -> list[Request]:
        """What was asked of the Hub and of its storage (paths that begin with /storage/) since the test began."""
        return list(self.server.log.requests)

    def environment(self, *, home: Path | None = None, token: str | None = None) -> dict[str, str]:
        """The whole environment for a child process: this one's, the Hub instead of offline, this repository on the
        path. `home` and `token` are there for a second one with caches or rights of its own."""
        path = os.pathsep.join(filter(None, [str(REPOSITORY), os.environ.get("PYTHONPATH", "")]))
        own = child_variables(self.endpoint, home or self.cache, token or self.token)
        return {**os.environ, **own, "PYTHONPATH": path}

    def break_at(self, number: int, match: str = "", *, times: int = 1, after: bool = False) -> None:
        """Cut the connection of the `number`-th next request (from 1) whose path contains `match`.

        Nothing of such a request is done; with `after`, all of it is done and only the answer is lost. `times` cuts
        so many in a row: the libraries try some requests up to five times more, after 1, 2, 4, 8 and 8 seconds.
        """
        from tests.hubserver.wire import Break

        self.server.log.breaks.append(Break(number, match, times, after))

    def files(self, repo_id: str, repo_type: str = "model", revision: str = "main") -> dict[str, str]:
        """path -> hash of the content (sha256 of a large file, git's of any other); asks the disk, not the server."""
        commit = self.server.state.storage.get(f"{repo_type}s", repo_id).resolve(revision)
        return {path: entry.etag for path, entry in commit.tree.items()}

    def history(self, repo_id: str, repo_type: str = "model", revision: str = "main") -> list[str]:
        """The titles of the commits, latest first; asks the disk, not the server."""
        repo = self.server.state.storage.get(f"{repo_type}s", repo_id)
        return [commit.title for commit in repo.history(repo.resolve(revision))]
