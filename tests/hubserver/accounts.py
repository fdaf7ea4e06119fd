"""Who may do what: users, their tokens, and the roles of tokens."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from typing import Literal

Role = Literal["read", "write"]


@dataclass(frozen=True)
class Account:
    """A user as seen through one of his tokens."""

    name: str
    role: Role
    organizations: tuple[str, ...] = ()

    @property
    def namespaces(self) -> tuple[str, ...]:
        """Where he may have repositories."""
        return (self.name, *self.organizations)


@dataclass
class Accounts:
    """All tokens. They look like the Hub's, so that a search for leaked tokens finds them."""

    tokens: dict[str, Account] = field(default_factory=dict)

    def add(self, name: str, role: Role = "write", organizations: tuple[str, ...] = ()) -> str:
        """A new token of the user `name`, who need not be known before."""
        token = f"hf_{secrets.token_hex(17)}"
        self.tokens[token] = Account(name, role, organizations)
        return token

    def find(self, authorization: str) -> Account | None:
        """Whose token an `Authorization` header carries; None where it is nobody's."""
        scheme, _, token = authorization.partition(" ")
        return self.tokens.get(token.strip()) if scheme.lower() == "bearer" else None

    def user_exists(self, name: str) -> bool:
        return any(account.name == name for account in self.tokens.values())
