"""A small table of chats, a tiny model on disk, and settings for both."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from reclm_hf.data.tables import INSTRUCTION_COLUMNS, write_parquet
from reclm_hf.profiles.dialogues import first_reply, first_turn, second_reply, second_turn
from reclm_hf.profiles.instructions import instruction_table
from reclm_hf.profiles.prompts import ItemLine
from reclm_hf.tuning.arguments import SftArguments
from tests.profiler.models import save_base

KINDS = ("comedy", "horror", "western", "musical")


def profile(kind: str) -> str:
    """A well-formed profile."""
    items = [f"{kind} {word}" for word in ("fans", "lovers", "nights")]
    return f"User identity: {', '.join(items)}; User interests: {', '.join(reversed(items))}"


def line(user: int, item: int) -> ItemLine:
    kind = KINDS[user % len(KINDS)]
    return ItemLine(f"The {kind} number {item}", (kind,))


def chats(n_users: int, variant: str = "mask") -> pd.DataFrame:
    """Two dialogues about each user, a Yes about the own kind and a No; one chat of one turn for `distill`."""
    rows: list[dict[str, Any]] = []
    for user in range(n_users):
        own = [line(user, item) for item in range(3)]
        near = [line(user + 1, item) for item in range(2)]
        mine, theirs = profile(KINDS[user % 4]), profile(KINDS[(user + 1) % 4])
        if variant == "distill":
            reply = {"role": "assistant", "content": mine}
            rows.append({"variant": variant, "user_id": f"u{user}", "messages": [*first_turn(own, []), reply]})
            continue
        for label in (True, False):
            candidate = line(user if label else user + 2, 7)
            chat = [*first_turn(own, [near]), first_reply([mine, theirs]), second_turn(candidate), second_reply(label)]
            rows.append(
                {
                    "variant": variant,
                    "user_id": f"u{user}",
                    "messages": chat,
                    "candidate_item_id": f"i{user}",
                    "label": label,
                }
            )
    return instruction_table(rows)


def write_chats(path: Path, n_users: int = 8, variant: str = "mask") -> Path:
    """A table on disk."""
    write_parquet(chats(n_users, variant), path, INSTRUCTION_COLUMNS)
    return path


def settings(folder: Path, **changes: Any) -> SftArguments:
    """A few steps on a tiny model; `folder` receives model, table and output."""
    model = folder / "base"
    if not model.is_dir():
        save_base(model)
    variant, n_users = changes.pop("table_variant", "mask"), changes.pop("n_users", 8)
    table = folder / f"{variant}.parquet"
    if not table.is_file():
        write_chats(table, n_users, variant)
    given = {
        "model": str(model),
        "output": str(folder / "out"),
        "instructions": str(table),
        "autocast": False,
        "use_cpu": True,
        "max_steps": 4,
        "batch_size": 2,
        "learning_rate": 1e-2,
        "holdout": 0.0,
        "max_tokens": 1024,
    }
    return SftArguments(**(given | changes))
