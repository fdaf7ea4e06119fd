"""Profiles a second at prompts of one length: our engine, and one user at a time as in `profile_throughput.py`."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
from profile_throughput import OneAtATime
from speed_ours import Cost, once

from reclm_hf.bundles import load_causal_lm
from reclm_hf.data.bundled import bundled_profiles, bundled_splits
from reclm_hf.pipeline.memory import keep_freed_memory
from reclm_hf.profiles.engine_transformers import TransformersEngine
from reclm_hf.profiles.engines import DEFAULT_MODEL, ProfileRequest
from reclm_hf.profiles.evidence import collect_evidence
from reclm_hf.profiles.generate import user_requests
from reclm_hf.profiles.prompts import PromptStyle, item_lines

TOKENS = 650
TOGETHER, ALONE = 16, 2  # users of a sample: decoded together, and one after the other
_SHORTEST, _LONGEST = 10, 40  # items of a history shown


class Writers:
    """Both ways on the same users. A sample takes the same users every time; nothing is kept between samples."""

    def __init__(self, quick: bool) -> None:
        keep_freed_memory()  # as the commands do; it holds for both ways
        self.count = 2 if quick else TOGETHER
        self.engine = TransformersEngine.from_model_id(DEFAULT_MODEL, batch_size=self.count)
        self.requests = _requests(self.engine, self.count)
        lengths = [_tokens(self.engine, request) for request in self.requests]
        self.facts: dict[str, Any] = {
            "data": "bundled with the package, as of the validation cut",
            "model": self.engine.generator,
            "batch": self.count,
            "prompt_tokens": float(np.mean(lengths)),
            "prompt_tokens_from": min(lengths),
            "prompt_tokens_to": max(lengths),
        }

    def ours(self) -> Cost:
        """One batch."""
        return once(lambda: self.engine.generate(self.requests), len(self.requests))

    def alone(self) -> Cost:
        """As many new tokens for each user as the finished profile has; see `profile_throughput.py`."""
        other, tokens = self._other
        return once(lambda: other.write(self.requests[: len(tokens)], tokens), len(tokens))

    @cached_property
    def _other(self) -> tuple[OneAtATime, list[int]]:
        tokenizer = self.engine.tokenizer
        written = self.engine.generate(self.requests[: min(ALONE, self.count)])
        tokens = [len(tokenizer.encode(result.text, add_special_tokens=False)) for result in written]
        return OneAtATime(load_causal_lm(DEFAULT_MODEL, dtype="float32")[0], tokenizer), tokens


def _tokens(engine: TransformersEngine, request: ProfileRequest) -> int:
    return int(OneAtATime(engine.model, engine.tokenizer).prompt(request).shape[1])


def _requests(engine: TransformersEngine, count: int) -> list[ProfileRequest]:
    """Of users of the bundled data, each with so much of the history that the prompt comes nearest to `TOKENS`."""
    split, style = bundled_splits().validation, PromptStyle()
    lines = item_lines(bundled_splits().data.items, style)
    table = bundled_profiles(which="validation").sample(frac=1.0, random_state=0)
    rows = {str(user): row for row, user in enumerate(split.user_ids)}
    lengths = np.bincount(split.history_user, minlength=split.n_users)
    found = []
    for user, near in zip(table["user_id"], table["neighbors"], strict=True):
        row = rows[user]
        if lengths[row] < _LONGEST:
            continue
        neighbors = np.full((split.n_users, len(near)), -1, dtype=np.int32)
        neighbors[row] = [rows[other] for other in near]
        tried = []
        for shown in range(_SHORTEST, _LONGEST, 2):
            evidence = collect_evidence(split, neighbors, [row], history_items=shown)
            tried += user_requests(evidence, split, lines, style)
            if _tokens(engine, tried[-1]) > TOKENS:
                break
        found.append(min(tried, key=lambda request: abs(_tokens(engine, request) - TOKENS)))
        if len(found) == count:
            break
    return found
