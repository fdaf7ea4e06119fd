"""Proof, before training starts, of what the loss is taken on: decoded from the very labels that the trainer gets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ..data.tables import TableError
from ..profiles.prompts import Message
from .chat_templates import encode_with_marks

if TYPE_CHECKING:
    import pandas as pd
    from transformers import PreTrainedTokenizerBase

IGNORED = -100
_NAMED = 3


def replies_to_learn(messages: Sequence[Message], variant: str) -> list[str]:
    """What a variant learns of a chat (RecLM section 6.4): both replies for `mask`, the last one otherwise."""
    replies = [message["content"] for message in messages if message["role"] == "assistant"]
    return replies if variant == "mask" else replies[-1:]


def row_name(table: pd.DataFrame, row: int) -> str:
    """What a row is called in errors."""
    candidate = table["candidate_item_id"].iloc[row] if "candidate_item_id" in table.columns else None
    about = "" if candidate is None or candidate != candidate else f", item {candidate!r}"
    return f"row {row} (user {table['user_id'].iloc[row]!r}{about})"


def require_fitting(
    table: pd.DataFrame, tokenizer: PreTrainedTokenizerBase, template: str, max_tokens: int, source: str
) -> list[int]:
    """Tokens of every chat; refuses what a trainer would cut in silence.

    Raises:
        TableError: chats with more than `max_tokens` tokens, or without any reply that the template marks; names rows.
    """
    lengths, long, empty = [], [], []
    for row, messages in enumerate(table["messages"]):
        tokens, marks = encode_with_marks(tokenizer, messages, template)
        lengths.append(len(tokens))
        if len(tokens) > max_tokens:
            long.append(row)
        if not any(marks):
            empty.append(row)
    if empty:
        raise TableError(f"{source}: {row_name(table, empty[0])} has no token to learn: its replies are not marked.")
    if long:
        named = "; ".join(row_name(table, row) for row in long[:_NAMED])
        raise TableError(
            f"{source}: {len(long)} chats have more than max_tokens={max_tokens} tokens (up to {max(lengths)}): "
            f"{named}. Their last reply would be cut. Build the table with a smaller --max-tokens, or raise max_tokens."
        )
    return lengths


def check_labels(
    table: pd.DataFrame,
    batches: Sequence[Mapping[str, Any]],
    tokenizer: PreTrainedTokenizerBase,
    variant: str,
    frame: tuple[str, str],
    source: str,
) -> int:
    """Check that the loss of every row is taken on its replies with their end tokens, and on nothing else.

    Args:
        batches: what the trainer's collator makes of each row alone, in the order of the table; `labels` [1, L].
        frame: what belongs to a reply in front of its text and behind it; see `reply_frame`.

    Returns:
        The number of tokens that are learnt.

    Raises:
        TableError: a row of which more or less is learnt; says what was found and expected.
    """
    if len(batches) != len(table):
        raise TableError(f"{source}: the trainer kept {len(batches)} of {len(table)} rows: some had nothing to learn.")
    count = 0
    for row, batch in enumerate(batches):
        wanted = replies_to_learn(table["messages"].iloc[row], variant)
        parts = _segments([int(label) for label in batch["labels"][0]])
        count += sum(map(len, parts))
        found = [_text(tokenizer, part) for part in parts]
        if found != [frame[0] + reply + frame[1] for reply in wanted]:
            raise TableError(
                f"{source}: {row_name(table, row)} would learn {found!r}, not the {len(wanted)} replies {wanted!r} "
                f"with their end tokens ({variant})."
            )
    return count


def _text(tokenizer: PreTrainedTokenizerBase, tokens: Sequence[int]) -> str:
    return str(tokenizer.decode(list(tokens), clean_up_tokenization_spaces=False))


def _segments(labels: Sequence[int]) -> list[list[int]]:
    """Runs of tokens that are learnt."""
    parts: list[list[int]] = []
    inside = False
    for label in labels:
        if label == IGNORED:
            inside = False
        elif inside:
            parts[-1].append(label)
        else:
            parts.append([label])
            inside = True
    return parts
