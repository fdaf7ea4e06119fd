"""What `verify` passes around: an artefact to check, and what was found of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .kinds import KINDS, Kind


@dataclass(frozen=True)
class Check:
    """One thing that was looked at.

    Attributes:
        name: what. passed: whether it is as the repository says; True where it was `skipped`.
        detail: what was compared, or what differs. skipped: it could not be checked, and `detail` says why.
    """

    name: str
    passed: bool
    detail: str
    skipped: bool = False


@dataclass(frozen=True)
class Artefact:
    """A pulled repository: its files, its manifest, and how others are reached that it names."""

    folder: Path
    manifest: dict[str, Any]
    scratch: Path
    endpoint: str | None = None
    token: str | bool | None = None
    floors: bool = False

    @property
    def kind(self) -> Kind:
        return KINDS[self.manifest["kind"]]

    @property
    def library_token(self) -> str | bool | None:
        """For libraries that fetch from an endpoint of their own: a token for another one must not go there."""
        from huggingface_hub import constants

        theirs = self.endpoint is None or self.endpoint.rstrip("/") == constants.ENDPOINT.rstrip("/")
        return self.token if theirs else False
