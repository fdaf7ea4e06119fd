"""How well a model tells what a user chose from what only the neighbours chose: AUC of its Yes against its No.

Rows are two-turn dialogues of users whom no stage was tuned on. All dialogues of a user begin alike, with the histories
and the profiles; that part goes through the model once, and each question is read on top of it.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ...data.tables import TableError, require_columns
from ...profiler.answers import AnswerPair as Parting
from ...profiler.answers import first_answer_probabilities
from ...profiles.dialogues import answer_words
from ...profiles.prompts import Message

if TYPE_CHECKING:
    import pandas as pd

    from ...profiler.processing_reclm_profiler import RecLMProfilerProcessor

logger = logging.getLogger(__name__)

DRAWS = 2000
_LEVEL = 0.95
_BLOCK = 2**22  # comparisons of a Yes with a No at a time


def questions(table: pd.DataFrame, source: str = "instructions") -> tuple[pd.DataFrame, list[list[Message]]]:
    """The rows of an instruction table that ask about an item, and their chats up to that question.

    Returns:
        Columns `user_id`, `item_id`, `label` (bool), one row a dialogue; and as many chats without the last reply.

    Raises:
        TableError: missing columns, no such rows, or a chat that does not end with a question and its answer.
    """
    require_columns(table, ["messages", "user_id", "candidate_item_id", "label"], source)
    asked = table[table["candidate_item_id"].notna() & table["label"].notna()]
    if not len(asked):
        raise TableError(f"{source}: no row asks about an item; give dialogues of two turns (mask or naive).")
    chats = []
    for number, messages in enumerate(asked["messages"]):
        chat: list[Message] = [{"role": message["role"], "content": message["content"]} for message in messages]
        if len(chat) < 2 or chat[-1]["role"] != "assistant" or chat[-2]["role"] != "user":
            raise TableError(
                f"{source}: the dialogue of user {asked['user_id'].iloc[number]!r} about item "
                f"{asked['candidate_item_id'].iloc[number]!r} does not end with a question and its answer."
            )
        chats.append(chat[:-1])
    rows = asked[["user_id", "candidate_item_id", "label"]].rename(columns={"candidate_item_id": "item_id"})
    rows = rows.astype({"user_id": str, "item_id": str, "label": bool}).reset_index(drop=True)
    return rows, chats


def yes_probabilities(
    model: Any,
    processor: RecLMProfilerProcessor,
    chats: Sequence[Sequence[Message]],
    *,
    batch_size: int = 8,
    progress: bool = False,
) -> np.ndarray:
    """float64 [n]: the probability of Yes after each chat, Yes and No together making 1.

    The same as `first_answer_probabilities`, with what chats have in common read once: chats that agree in everything
    but the last message share their first tokens.

    Args:
        chats: messages that end with the question. batch_size: questions about one beginning that are read together.

    Raises:
        ValueError: a chat is longer than the model can read.
    """
    from tqdm.auto import tqdm

    limit = getattr(model.config, "max_position_embeddings", None)
    found = np.empty(len(chats))
    with tqdm(total=len(chats), desc="answers", unit="answer", disable=not progress) as bar:
        for rows in _alike(chats):
            parts = [Parting.of(processor, chats[row], answer_words()) for row in rows]
            for row, part in zip(rows, parts, strict=True):
                if limit is not None and part.length > limit:
                    raise ValueError(f"chat {row} has {part.length} tokens, the model reads {limit}: show fewer items")
            if len(rows) == 1 or any(part.same_start for part in parts):
                found[rows] = first_answer_probabilities(
                    model, processor, [chats[row] for row in rows], answer_words(), batch_size=batch_size
                )
            else:
                found[rows] = _on_one_prefix(model, processor.tokenizer.pad_token_id, parts, batch_size)
            bar.update(len(rows))
    return found


def _alike(chats: Sequence[Sequence[Message]]) -> list[list[int]]:
    """Rows of chats that agree in all messages but the last."""
    groups: dict[str, list[int]] = {}
    for row, chat in enumerate(chats):
        groups.setdefault(json.dumps([dict(message) for message in chat[:-1]]), []).append(row)
    return list(groups.values())


def _on_one_prefix(model: Any, pad: Any, parts: Sequence[Parting], batch_size: int) -> np.ndarray:
    import torch

    from ...profiles.decoding import SharedPrefix

    texts = [part.shared for part in parts]
    # Each text keeps one token of its own at least: its logits are wanted.
    longest = min(map(len, texts)) - 1
    first = texts[0]
    common = next((at for at in range(longest) if any(text[at] != first[at] for text in texts)), longest)
    prefix = SharedPrefix(model, first[:common])
    found = []
    for start in range(0, len(parts), batch_size):
        batch = parts[start : start + batch_size]
        logits = prefix.batch([part.shared[common:] for part in batch], int(pad), room=0).logits
        tokens = torch.tensor([[rest[0] for rest in part.rests] for part in batch], device=logits.device)
        found.append(logits.gather(1, tokens).double().softmax(1)[:, 0].cpu().numpy())
    return np.concatenate(found)


@dataclass(frozen=True)
class Auc:
    """An area under the ROC curve, or a difference of two, with its 95 % interval over users drawn with replacement.

    Attributes:
        value, low, high: NaN without a Yes and a No (or, for the interval, without two users). rows, users: how many.
    """

    value: float
    low: float
    high: float
    rows: int
    users: int


def auc(labels: np.ndarray, scores: np.ndarray, users: Sequence[object], draws: int = DRAWS, seed: int = 0) -> Auc:
    """The probability that a Yes row scores above a No row, ties counting half, over all rows.

    Rows of one user are not independent: whole users are drawn.

    Args:
        labels: [n] bool. scores: [n] float. users: [n], whose rows they are.

    Raises:
        ValueError: arrays of different lengths, or scores that are NaN.
    """
    return _auc(labels, (scores,), users, draws, seed)


def auc_difference(
    labels: np.ndarray,
    scores: np.ndarray,
    others: np.ndarray,
    users: Sequence[object],
    draws: int = DRAWS,
    seed: int = 0,
) -> Auc:
    """The AUC of `scores` less that of `others` on the same rows, paired: the same users are drawn for both.

    Raises:
        ValueError: as `auc`.
    """
    return _auc(labels, (scores, others), users, draws, seed)


def _auc(labels: np.ndarray, scores: Sequence[np.ndarray], users: Sequence[object], draws: int, seed: int) -> Auc:
    labels = np.asarray(labels, dtype=bool)
    columns = [np.asarray(column, dtype=np.float64) for column in scores]
    if len({len(labels), len(users), *map(len, columns)}) > 1 or any(np.isnan(column).any() for column in columns):
        raise ValueError("labels, scores and users must be of one length, and no score may be NaN.")
    names, code = np.unique(np.asarray(users, dtype=str), return_inverse=True)
    won = _won(labels, columns[0], code, len(names))
    if len(columns) > 1:
        won = won - _won(labels, columns[1], code, len(names))
    yes = np.bincount(code[labels], minlength=len(names)).astype(np.float64)
    no = np.bincount(code[~labels], minlength=len(names)).astype(np.float64)
    value = won.sum() / (yes.sum() * no.sum()) if labels.any() and not labels.all() else float("nan")
    if len(names) < 2 or np.isnan(value):
        return Auc(float(value), float("nan"), float("nan"), len(labels), len(names))
    rng = np.random.default_rng(seed)
    counts = rng.multinomial(len(names), np.full(len(names), 1 / len(names)), size=draws).astype(np.float64)
    pairs = (counts @ yes) * (counts @ no)
    drawn = ((counts @ won) * counts).sum(axis=1)[pairs > 0] / pairs[pairs > 0]
    low, high = np.quantile(drawn, [(1 - _LEVEL) / 2, (1 + _LEVEL) / 2])
    return Auc(float(value), float(low), float(high), len(labels), len(names))


def _won(labels: np.ndarray, scores: np.ndarray, code: np.ndarray, n_users: int) -> np.ndarray:
    """[U, U] float64: how many (Yes row of user u, No row of user v) have the Yes above, ties counting half.

    With it, the AUC of any draw of users is one quadratic form.
    """
    from scipy.sparse import csr_array

    yes, no = np.flatnonzero(labels), np.flatnonzero(~labels)
    owners = csr_array((np.ones(len(no)), (np.arange(len(no)), code[no])), shape=(len(no), n_users))
    won = np.zeros((n_users, n_users))
    step = max(1, _BLOCK // max(len(no), 1))
    for start in range(0, len(yes), step):
        rows = yes[start : start + step]
        above = np.sign(scores[rows][:, None] - scores[no][None, :]) / 2 + 0.5
        np.add.at(won, code[rows], above @ owners)
    return won
