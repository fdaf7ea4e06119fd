"""What the handlers of a request have at hand, and the checks that come before each of them.

All of these are `async`, though they wait for nothing: others would be run in threads, and a repository could change
between the check that reads it and the handler that saves it.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from dataclasses import dataclass, field
from typing import Annotated
from urllib.parse import unquote

from fastapi import Depends, Request

from tests.hubserver import errors
from tests.hubserver.accounts import Account, Accounts
from tests.hubserver.storage import Repo, Storage


@dataclass
class State:
    """One Hub: where it is, what it holds, and the sizes from which it splits lists and uploads."""

    storage: Storage
    endpoint: str
    cdn: str
    accounts: Accounts = field(default_factory=Accounts)
    page_size: int = 1000
    part_size: int = 64 * 1024 * 1024  # bytes; a larger file is uploaded in parts of this size
    bugs: list[str] = field(default_factory=list)
    key: bytes = field(default_factory=lambda: secrets.token_bytes(16))

    def signed(self, base: str, path: str) -> str:
        """An address that works without a token, as those of a storage service do. `path` begins with a slash."""
        return f"{base}{path}?signature={self.signature(path)}"

    def signature(self, path: str) -> str:
        return hmac.new(self.key, path.encode(), hashlib.sha256).hexdigest()


def state_from(request: Request) -> State:
    state = request.app.state.hub
    assert isinstance(state, State)
    return state


async def state_of(request: Request) -> State:
    return state_from(request)


async def account_of(request: Request) -> Account | None:
    """Who asks; None without a token. A token that nobody has is refused whatever is asked for."""
    header = request.headers.get("authorization")
    if header is None:
        return None
    account = state_from(request).accounts.find(header)
    if account is None:
        raise errors.bad_credentials()
    return account


async def known_account_of(account: Caller) -> Account:
    if account is None:
        raise errors.who_are_you()
    return account


async def writer_of(account: Known) -> Account:
    check_role(account)
    return account


def check_role(account: Account) -> None:
    if account.role != "write":
        raise errors.forbidden("Your token is read-only: a token with write access is needed")


def visible_repo(state: State, account: Account | None, kind: str, repo_id: str) -> Repo:
    """The repository, if `account` may know of it. One that he may not know of is answered like one that is not."""
    if account is None:
        if not state.storage.exists(kind, repo_id) or state.storage.get(kind, repo_id).private:
            raise errors.who_are_you()
        return state.storage.get(kind, repo_id)
    repo = state.storage.get(kind, repo_id)
    if repo.private and repo.namespace not in account.namespaces:
        raise errors.no_repo()
    return repo


def check_gate(repo: Repo, account: Account | None) -> None:
    """Of a gated repository everybody sees what is in it; the files are for those who were granted access."""
    allowed = account is not None and (repo.namespace in account.namespaces or account.name in repo.granted)
    if repo.gated and not allowed:
        raise errors.gated(401 if account is None else 403, repo.repo_id)


def check_write(repo: Repo, account: Account | None) -> Account:
    if account is None:
        raise errors.who_are_you()
    if repo.namespace not in account.namespaces:
        raise errors.forbidden(f"You have no write access to {repo.repo_id}")
    check_role(account)
    return account


async def repo_of(request: Request, account: Caller) -> Repo:
    """The repository that the address names: /api/KIND/NAMESPACE/NAME… or /[datasets/|spaces/]NAMESPACE/NAME…"""
    names = request.path_params
    repo_id = f"{unquote(names['namespace'])}/{unquote(names['name'])}"
    return visible_repo(state_from(request), account, names.get("kind", "models"), repo_id)


async def writable_repo_of(repo: Visible, account: Caller) -> Repo:
    check_write(repo, account)
    return repo


async def open_repo_of(repo: Visible, account: Caller) -> Repo:
    check_gate(repo, account)
    return repo


async def revision_of(request: Request) -> str:
    """The revision in the address. It is quoted there: `dev/x` is one part, `dev%2Fx`."""
    return unquote(request.path_params["revision"])


async def path_of(request: Request) -> str:
    """The path of a file or folder in the address; empty for the root."""
    return unquote(request.path_params.get("path", "")).strip("/")


Hub = Annotated[State, Depends(state_of)]
Caller = Annotated[Account | None, Depends(account_of)]
Known = Annotated[Account, Depends(known_account_of)]
Writer = Annotated[Account, Depends(writer_of)]
Visible = Annotated[Repo, Depends(repo_of)]
Open = Annotated[Repo, Depends(open_repo_of)]
Writable = Annotated[Repo, Depends(writable_repo_of)]
Revision = Annotated[str, Depends(revision_of)]
EntryPath = Annotated[str, Depends(path_of)]
