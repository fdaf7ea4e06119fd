"""Preference pairs as token ids, every one checked before training; and how often the better reply scored higher."""

from __future__ import annotations

import logging
import math
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ...data.tables import TableError
from ...profiles.prompts import Message
from ..chat_templates import end_token_ids
from .model import encode_chat

if TYPE_CHECKING:
    import datasets
    import pandas as pd
    from transformers import PreTrainedTokenizerBase

logger = logging.getLogger(__name__)

_NAMED = 3


@dataclass(frozen=True)
class Pairs:
    """Pairs that a reward model reads.

    Attributes:
        users, kinds: of each pair: whose it is, and what is wrong with the worse reply.
        chosen, rejected: token ids of the prompt with the better and with the worse reply.
    """

    users: list[str]
    kinds: list[str]
    chosen: list[list[int]]
    rejected: list[list[int]]

    def __len__(self) -> int:
        return len(self.users)

    def rows(self, keep: np.ndarray) -> Pairs:
        """Those of some row numbers."""
        places = [int(place) for place in keep]
        return Pairs(
            [self.users[place] for place in places],
            [self.kinds[place] for place in places],
            [self.chosen[place] for place in places],
            [self.rejected[place] for place in places],
        )

    def dataset(self) -> datasets.Dataset:
        """As `trl.RewardTrainer` takes pairs that are token ids already."""
        import datasets

        return datasets.Dataset.from_dict({"chosen_ids": self.chosen, "rejected_ids": self.rejected})


def encode_pairs(
    table: pd.DataFrame, tokenizer: PreTrainedTokenizerBase, max_tokens: int, source: str
) -> tuple[Pairs, dict[str, int]]:
    """Token ids of every pair, each looked at: what is scored must be the whole reply, and only that may differ.

    A trainer would leave out long pairs in silence; here they are counted and named in the log.

    Args:
        table: columns `PREFERENCE_COLUMNS`. tokenizer: with the template that replies are scored under.
        max_tokens: of a prompt with a reply.

    Returns:
        The pairs in the order of the table, and reason -> pairs left out.

    Raises:
        TableError: a reply that does not end with its end token, is not the text of the table, or prompts of a pair
            that differ; names the row.
    """
    ends = end_token_ids(tokenizer)
    pairs, long, same = Pairs([], [], [], []), [], []
    for row, record in enumerate(table.to_dict("records")):
        name = f"row {row} (user {record['user_id']!r}, {record['rejected_kind']})"
        prompt = list(record["prompt"])
        context = encode_chat(tokenizer, prompt, reply=True)
        chats = []
        for side in ("chosen", "rejected"):
            reply = list(record[side])
            chat = encode_chat(tokenizer, [*prompt, *reply])
            _check(tokenizer, chat, context, reply, ends, f"{source}: {name}, {side}")
            chats.append(chat)
        if max(map(len, chats)) > max_tokens:
            long.append(f"{name} with {max(map(len, chats))}")
        elif chats[0] == chats[1]:
            same.append(name)
        else:
            pairs.users.append(str(record["user_id"]))
            pairs.kinds.append(str(record["rejected_kind"]))
            pairs.chosen.append(chats[0])
            pairs.rejected.append(chats[1])
    left_out = {f"more than {max_tokens} tokens": long, "the same reply twice": same}
    for reason, named in left_out.items():
        if named:
            shown = "; ".join(named[:_NAMED])
            logger.warning("%s: %d pairs are left out: %s: %s", source, len(named), reason, shown)
    return pairs, {reason: len(named) for reason, named in left_out.items() if named}


def _check(
    tokenizer: PreTrainedTokenizerBase,
    chat: list[int],
    context: list[int],
    reply: Sequence[Message],
    ends: frozenset[int],
    name: str,
) -> None:
    """One chat begins with its prompt, goes on with the whole reply and ends with one end token."""
    if len(reply) != 1 or reply[0]["role"] != "assistant":
        raise TableError(f"{name}: is {len(reply)} messages, not one reply of the assistant.")
    if chat[: len(context)] != context:
        raise TableError(
            f"{name}: does not begin with the tokens of its prompt; a reply that is drawn by the policy would be read "
            "after other tokens than this one. Use a model whose chat template only adds behind the prompt."
        )
    if chat[-1] not in ends or len(chat) == len(context):
        raise TableError(
            f"{name}: ends with {tokenizer.decode(chat[-3:])!r}, not with an end token; it would be scored there. The "
            "chat template must write nothing behind the last reply's end token."
        )
    said = tokenizer.decode(chat[len(context) : -1], clean_up_tokenization_spaces=False)
    if _plain(str(said)) != _plain(reply[0]["content"]):
        raise TableError(f"{name}: {reply[0]['content']!r} comes out of the chat template as {said!r}.")


def _plain(text: str) -> str:
    # Some tokenizers write characters in another normal form; no word is lost by that.
    return " ".join(unicodedata.normalize("NFKC", text).split())


def accuracy_figures(pairs: Pairs, chosen: np.ndarray, rejected: np.ndarray) -> dict[str, Any]:
    """How well scores tell the replies of pairs apart; a tie counts half.

    Args:
        chosen, rejected: float [n] scores.

    Returns:
        accuracy with its 95 % interval (`low`, `high`), mean margin and number of pairs; the same by kind; and what
        the number of tokens alone would tell: `longer_is_chosen`, the share of pairs whose better reply is the longer.
    """
    margins = np.asarray(chosen, dtype=np.float64) - np.asarray(rejected, dtype=np.float64)
    if not len(margins):
        return {"accuracy": None, "low": None, "high": None, "margin": None, "pairs": 0, "users": 0,
                "longer_is_chosen": None, "accuracy_by_kind": {}}  # fmt: skip
    lengths = np.array([len(one) - len(other) for one, other in zip(pairs.chosen, pairs.rejected, strict=True)])
    users, kinds = np.array(pairs.users), np.array(pairs.kinds)
    by_kind = {str(kind): _share(margins[kinds == kind], users[kinds == kind]) for kind in np.unique(kinds)}
    counted = sorted(by_kind.items(), key=lambda entry: (-entry[1]["pairs"], entry[0]))
    return {**_share(margins, users), "longer_is_chosen": _wins(lengths), "accuracy_by_kind": dict(counted)}


def _share(margins: np.ndarray, users: np.ndarray) -> dict[str, Any]:
    accuracy, people = _wins(margins), len(set(users.tolist()))
    low, high = wilson(accuracy, people)
    return {
        "accuracy": accuracy,
        "low": low,
        "high": high,
        "margin": float(margins.mean()),
        "pairs": len(margins),
        "users": people,
    }


def _wins(differences: np.ndarray) -> float:
    return float((differences > 0).mean() + (differences == 0).mean() / 2)


def wilson(share: float, count: int, z: float = 1.959964) -> tuple[float, float]:
    """The 95 % interval of a share (Wilson 1927). `count` is users, not pairs: pairs of one user hang together."""
    middle = (share + z * z / (2 * count)) / (1 + z * z / count)
    half = z / (1 + z * z / count) * math.sqrt(share * (1 - share) / count + z * z / (4 * count * count))
    return max(0.0, round(middle - half, 12)), min(1.0, round(middle + half, 12))


def without_rejected(table: pd.DataFrame, excluded: frozenset[str]) -> tuple[pd.DataFrame, dict[str, int]]:
    """The pairs that may be learnt from, and reason -> pairs left out.

    Left out are pairs of excluded users, and those of which a person said that the better reply is not better (or that
    neither is good): learnt as they stand they would teach the opposite.
    """
    foreign = table["user_id"].astype(str).isin(excluded).to_numpy()
    verdicts = zip(table["accepted"], table["accepted"].isna(), strict=True)
    refused = np.array([not unknown and not value for value, unknown in verdicts], dtype=bool) & ~foreign
    counts = {"users left out": int(foreign.sum()), "not accepted by a person": int(refused.sum())}
    kept = table[~(foreign | refused)].reset_index(drop=True)
    return kept, {reason: count for reason, count in counts.items() if count}
