"""What a refinement reads: prompts to answer, a reward model, and the histories that rewards and alarms look at."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ...data.tables import TableError
from ...profiler.files import read_json
from ..arguments import RefineArguments
from ..inputs import held_out, read_instructions, read_preferences
from ..measures.measures import free_watch
from ..rewards.configuration import require_accuracy
from ..rewards.model import RewardModel, encode_chat
from ..rewards.verifiable import VerifiableReward
from .alarms import Watch

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from ...data.splits import Split
    from ...profiles.prompts import Message

logger = logging.getLogger(__name__)

HELD_OUT = 0.1
JUDGED = 32
"""Prompts of held-out users that are answered before and after."""

_FEWEST = 2


@dataclass(frozen=True)
class Prompts:
    """Chats that end with the user's turn; row by row whom each is about."""

    users: list[str]
    messages: list[list[Message]]

    def token_ids(self, tokenizer: PreTrainedTokenizerBase) -> list[list[int]]:
        """Each prompt by the tokenizer's template, up to where the reply begins."""
        return [encode_chat(tokenizer, chat, reply=True) for chat in self.messages]

    def take(self, rows: Sequence[int] | np.ndarray) -> Prompts:
        """Some of them, in the order of `rows`."""
        return Prompts([self.users[row] for row in rows], [self.messages[row] for row in rows])


@dataclass(frozen=True)
class Origin:
    """What the file beside a table says of its chats.

    Attributes:
        form: in which they ask, see `reclm_hf.profiles.forms`. cut: int64 microseconds UTC, as of which they were made.
        max_tokens: that they were cut to. None where nothing is said.
    """

    form: str
    cut: int | None = None
    max_tokens: int | None = None


def read_prompts(source: str) -> tuple[Prompts, Origin]:
    """The prompts of a table, the first of each user, and what is known of them.

    Args:
        source: preferences, or instructions of one turn (`distill`): a file, a folder, or a Hub id.

    Raises:
        OSError, TableError: neither is there, or it cannot be used.
    """
    try:
        table, form, beside = read_preferences(source), "plain", "preferences.json"
        chats = table["prompt"].tolist()
    except (TableError, OSError) as error:
        try:
            table, form, beside = read_instructions(source, "distill"), "own", "instructions.json"
        except (TableError, OSError):
            raise error from None
        chats = [list(messages)[:-1] for messages in table["messages"]]
    found: dict[str, list[Message]] = {}
    for user, chat in zip(table["user_id"].astype(str), chats, strict=True):
        found.setdefault(user, [{"role": message["role"], "content": message["content"]} for message in chat])
    return Prompts(list(found), list(found.values())), _origin(source, beside, form)


def _origin(source: str, beside: str, form: str) -> Origin:
    path = Path(source).expanduser()
    file = (path if path.is_dir() else path.parent) / beside
    said = read_json(file) if file.is_file() else {}
    return Origin(str(said.get("form") or form), said.get("cut"), said.get("max_tokens"))


@dataclass(frozen=True)
class Sides:
    """Prompts to learn from and prompts to judge by; `apart` says that they are of different users."""

    learn: Prompts
    judge: Prompts
    apart: bool
    left_out: dict[str, int]


def divide(prompts: Prompts, args: RefineArguments, excluded: frozenset[str], tokenizer: Any) -> Sides:
    """Leave out what must not or cannot be answered, and keep a tenth of the users to judge by.

    Of fewer than two such users no figure could be made: then all prompts are learnt from and judged by.

    Raises:
        ValueError: no prompt is left.
    """
    allowed = prompts.take([row for row, user in enumerate(prompts.users) if user not in excluded])
    lengths = np.array([len(ids) for ids in allowed.token_ids(tokenizer)], dtype=int)
    fitting = allowed.take(np.flatnonzero(lengths <= args.max_prompt_tokens))
    left_out = {
        "user left out": len(prompts.users) - len(allowed.users),
        "longer than max_prompt_tokens": len(allowed.users) - len(fitting.users),
    }
    if not fitting.users:
        raise ValueError(
            f"{args.preferences}: no prompt is left of {len(prompts.users)}; {left_out}. The longest has "
            f"{lengths.max(initial=0)} tokens, max_prompt_tokens is {args.max_prompt_tokens}."
        )
    judged = held_out(fitting.users, HELD_OUT, args.seed)
    left_out = {reason: count for reason, count in left_out.items() if count}
    if judged.sum() < _FEWEST or judged.all():
        return Sides(fitting, fitting, False, left_out)
    return Sides(fitting.take(np.flatnonzero(~judged)), fitting.take(np.flatnonzero(judged)), True, left_out)


def load_reward(args: RefineArguments) -> RewardModel | None:
    """The reward model that is named, if any; one that is learnt from must be good enough.

    Raises:
        OSError: it is not there. ValueError: its accuracy is too low, see `require_accuracy`.
    """
    if args.reward_model is None:
        return None
    reward = RewardModel.from_pretrained(args.reward_model, dtype=args.dtype)
    if args.reward != "verifiable":
        require_accuracy(reward.config, args.reward_floor, args.accept_weak_reward)
    return reward


@dataclass(frozen=True)
class Histories:
    """What rewards and alarms know of users, all from before the cut."""

    split: Split
    fingerprint: str
    item_vectors: np.ndarray
    neighbors: np.ndarray
    profiles: list[str]
    encoder: Any

    def verifiable(self, replies: Any, seed: int) -> VerifiableReward:
        """The verifiable reward; `replies` encodes what is written."""
        return VerifiableReward(
            self.split, self.item_vectors, self.neighbors, replies, references=self.profiles, seed=seed
        )

    def watch(self, prompts: Prompts, count: int) -> Watch | None:
        """The alarm's measures of the first `count` people with history; None for fewer than two."""
        rows = {str(user): row for row, user in enumerate(self.split.user_ids)}
        known = np.bincount(self.split.history_user, minlength=self.split.n_users) > 0
        places = [place for place, user in enumerate(prompts.users) if user in rows and known[rows[user]]][:count]
        if len(places) < _FEWEST:
            logger.warning("fewer than two of the judged users have a history: nothing watches for a gamed reward")
            return None
        chosen = prompts.take(places)
        users = np.array([rows[user] for user in chosen.users])
        return free_watch(self.split, self.item_vectors, users, chosen.messages, self.encoder)


def load_histories(args: RefineArguments, encoder: Any = None, cut: int | None = None) -> Histories | None:
    """The data of `args.data` as of its cut; None where none is named.

    Args:
        encoder: of texts; None: the package's own.

    Raises:
        TableError: data or profiles that are not there, cannot be used, or were written after the cut.
    """
    if args.data is None:
        return None
    from ...data.load import load_splits
    from ...data.profile_tables import read_profiles
    from ...profiles.instructions import neighbor_rows, readable_profiles
    from ...recommender.text_encoder import TextEncoder

    splits = load_splits(args.data)
    split = {"validation": splits.validation, "test": splits.test}[args.cut]
    if cut is not None and cut != split.cut:
        raise ValueError(
            f"{args.preferences} was made as of another time than the {args.cut} cut of {args.data}: build it with "
            f"--cut {args.cut}, or name its cut."
        )
    table = read_profiles(profiles_file(args))
    texts = readable_profiles(table, split)
    neighbors = neighbor_rows(table, split)
    encoder = Quiet(TextEncoder()) if encoder is None else encoder
    vectors = encoder.encode(splits.data.items["text"].tolist())
    return Histories(split, splits.fingerprint, vectors, neighbors, [texts[row] for row in sorted(texts)], encoder)


class Quiet:
    """A text encoder without a progress bar."""

    def __init__(self, encoder: Any) -> None:
        self.encoder = encoder

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        """[n, d] float32."""
        vectors: np.ndarray = self.encoder.encode(texts, progress=False)
        return vectors


def profiles_file(args: RefineArguments) -> Path:
    """The file of the user profiles as of the cut.

    Raises:
        TableError: none is named, and the data come without.
    """
    from ...data.bundled import bundled_names, bundled_profiles_path
    from ...data.hub_tables import profiles_beside

    if args.profiles is not None:
        path = Path(args.profiles).expanduser()
        return path if path.is_file() else profiles_beside(str(path), args.cut, "user")
    if args.data in bundled_names():
        return bundled_profiles_path(str(args.data), args.cut, "user")
    beside = profiles_beside(str(args.data), args.cut, "user")
    if beside.is_file():
        return beside
    raise TableError(
        f"{args.data} comes without profiles: run `reclm profiles build {args.data}` and give its folder as --profiles."
    )
