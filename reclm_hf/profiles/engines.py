"""What writes profiles: requests in, texts out. The engines stand beside this file, one each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from .profile import USER_ITEMS
from .prompts import Message

DEFAULT_MODEL = "HuggingFaceTB/SmolLM2-135M-Instruct"


@dataclass(frozen=True)
class ProfileRequest:
    """One profile to write.

    Attributes:
        key: what it is about; it seeds every draw, so that results do not depend on the order of requests.
        examples: the messages that all requests of a kind share. messages: the request itself.
        size: identities, and interests, to write. sample: 0 asks for the greedy profile, k > 0 for the k-th draw.
        language: of the profile, as the examples name it.
        begin: what the reply says before the profile, as a model was tuned to; no part of the profile.
    """

    key: str
    examples: tuple[Message, ...]
    messages: tuple[Message, ...]
    size: int = USER_ITEMS
    sample: int = 0
    language: str = "English"
    begin: str = ""


@dataclass(frozen=True)
class GeneratedProfile:
    """A profile's text, well-formed or not and without the request's `begin`, and the tokens read and written."""

    text: str
    tokens_in: int
    tokens_out: int


class UnfinishedError(Exception):
    """An engine had to stop; `finished` holds what it had written by then, by position of the request."""

    finished: Mapping[int, GeneratedProfile]


class Engine(Protocol):
    """Whatever can write profiles. `generator` names model and revision, or the bundle that stood in for it."""

    generator: str

    def generate(self, requests: Sequence[ProfileRequest]) -> list[GeneratedProfile]:
        """One profile for every request, in the order of the requests; malformed ones are retried, then returned."""
        ...
