"""Profiles a second: our engine at several batch sizes, against the same model one user at a time.

    python training/benchmarks/profile_throughput.py --users 24             # minutes, one thread
    python training/benchmarks/profile_throughput.py --users 32 --rounds 3 --json throughput.json

The other way is how the paper's authors generate: one user at a time, here in float32 by `model.generate` on the whole
prompt, greedy. It gets the same prompt, and for each user exactly as many new tokens as the finished profile of that
user has, so that it is not charged for running on. Ours writes fewer tokens, since labels are put in and not generated,
and reads the part of the prompt that all users share once.

Users of the bundled data, with their shipped neighbours, as of the validation cut. Everything is timed in pairs on the
same users: eight users by the other way, then the same eight by ours at batch 1 and 8, the order turned round every
time; batch 32 after each 32 users, or all users at once where there are fewer. A ratio is one of seconds on the same
users, and the median over the pairs counts: a claim about batch 32 needs several rounds. The first profile of either
way is not timed, nor is the shared part of the prompt, which is read once for thousands of users. On a busy machine
look at the ratio of CPU seconds.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from tqdm.auto import tqdm

from reclm_hf.bundles import load_causal_lm
from reclm_hf.data.bundled import bundled_profiles, bundled_splits
from reclm_hf.pipeline.memory import keep_freed_memory
from reclm_hf.profiles.engine_transformers import TransformersEngine
from reclm_hf.profiles.engines import DEFAULT_MODEL, GeneratedProfile, ProfileRequest
from reclm_hf.profiles.evidence import collect_evidence
from reclm_hf.profiles.generate import user_requests
from reclm_hf.profiles.profile import well_formed
from reclm_hf.profiles.prompts import PromptStyle, item_lines

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

GROUP = 8
LARGEST = 32
ALONE = "one at a time"


@dataclass(frozen=True)
class Timing:
    """Seconds for some users by one way; `cpu` counts all threads."""

    way: str
    batch: int
    users: int
    wall: float
    cpu: float


@dataclass(frozen=True)
class Summary:
    """One way: users a second over everything, and over the pairs how much longer the other way took.

    `ratio` and `ratio_cpu` are medians, `lowest` and `highest` the range of the former.
    """

    way: str
    batch: int
    pairs: int
    per_second: float
    ratio: float
    lowest: float
    highest: float
    ratio_cpu: float


class OneAtATime:
    """The other way: whole prompts, one by one, in float32."""

    def __init__(self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
        self.model, self.tokenizer = model, tokenizer

    def prompt(self, request: ProfileRequest) -> torch.Tensor:
        """int64 [1, L]."""
        messages = [{"role": m["role"], "content": m["content"]} for m in (*request.examples, *request.messages)]
        whole = self.tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
        return self.tokenizer(str(whole), return_tensors="pt", add_special_tokens=False)["input_ids"]

    def write(self, requests: Sequence[ProfileRequest], tokens: Sequence[int]) -> None:
        """So many new tokens for each request, no fewer and no more."""
        for request, count in zip(requests, tokens, strict=True):
            ids = self.prompt(request).to(self.model.device)
            out = self.model.generate(  # type: ignore[operator]
                input_ids=ids,
                attention_mask=torch.ones_like(ids),
                do_sample=False,
                min_new_tokens=count,
                max_new_tokens=count,
                pad_token_id=self.tokenizer.pad_token_id,
            )
            assert out.shape[1] == ids.shape[1] + count


def bundled_requests(count: int, seed: int = 0) -> list[ProfileRequest]:
    """The requests for the profiles of `count` users, drawn at random, as of the validation cut."""
    splits = bundled_splits()
    split = splits.validation
    table = bundled_profiles(which="validation").sample(count, random_state=seed)
    rows = {str(user): row for row, user in enumerate(split.user_ids)}
    users = [rows[user] for user in table["user_id"]]
    neighbors = np.full((split.n_users, max(map(len, table["neighbors"]))), -1, dtype=np.int32)
    for user, near in zip(users, table["neighbors"], strict=True):
        neighbors[user, : len(near)] = [rows[other] for other in near]
    style = PromptStyle()
    lines = item_lines(splits.data.items, style)
    return user_requests(collect_evidence(split, neighbors, users), split, lines, style)


def timed(way: str, batch: int, users: int, work: Callable[[], object]) -> Timing:
    """Run once."""
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    return Timing(way, batch, users, time.perf_counter() - wall, time.process_time() - cpu)


def measure(
    engine: TransformersEngine, other: OneAtATime, requests: Sequence[ProfileRequest], rounds: int
) -> tuple[list[tuple[Timing, Timing]], list[GeneratedProfile], list[int]]:
    """Pairs (other way, ours) on the same users, our profiles, and the tokens that the other way wrote for each."""

    def ours(part: Sequence[ProfileRequest], batch: int) -> Timing:
        engine.batch_size = batch
        return timed("ours", min(batch, len(part)), len(part), partial(engine.generate, part))

    def alone(part: Sequence[ProfileRequest], counts: Sequence[int]) -> Timing:
        return timed(ALONE, 1, len(part), partial(other.write, part, counts))

    engine.batch_size = LARGEST
    written = engine.generate(requests)  # also reads the shared part of the prompts
    tokens = [len(engine.tokenizer.encode(result.text, add_special_tokens=False)) for result in written]
    other.write(requests[:1], tokens[:1])
    pairs: list[tuple[Timing, Timing]] = []
    for number in tqdm(range(rounds), desc="rounds", disable=rounds == 1):
        singles: list[Timing] = []
        for place, start in enumerate(tqdm(range(0, len(requests), GROUP), desc="groups of users")):
            stop = min(start + GROUP, len(requests))
            part = requests[start:stop]
            steps = [partial(alone, part, tokens[start:stop]), partial(ours, part, 1), partial(ours, part, GROUP)]
            turn = 1 if (place + number) % 2 == 0 else -1
            single, one, eight = [step() for step in steps[::turn]][::turn]
            pairs += [(single, one), (single, eight)]
            singles.append(single)
            if stop % LARGEST == 0 or GROUP < stop == len(requests) < LARGEST:
                whole = requests[stop - sum(timing.users for timing in singles) : stop]
                pairs.append((_sum(singles), ours(whole, LARGEST)))
                singles = []
    return pairs, written, tokens


def _sum(timings: Sequence[Timing]) -> Timing:
    users, wall, cpu = (sum(getattr(one, name) for one in timings) for name in ("users", "wall", "cpu"))
    return Timing(ALONE, 1, int(users), float(wall), float(cpu))


def summarise(pairs: Sequence[tuple[Timing, Timing]]) -> list[Summary]:
    """One row for the other way and one for each batch size."""
    singles = [other for other, own in pairs if own.batch == 1]
    rows = [Summary(ALONE, 1, len(singles), _per_second(singles), 1.0, 1.0, 1.0, 1.0)]
    for batch in sorted({own.batch for _, own in pairs}):
        chosen = [(other, own) for other, own in pairs if own.batch == batch]
        ratios = [other.wall / own.wall for other, own in chosen]
        by_cpu = median(other.cpu / own.cpu for other, own in chosen)
        speed = _per_second([own for _, own in chosen])
        rows.append(
            Summary("ours", batch, len(chosen), speed, median(ratios), min(ratios), max(ratios), ratio_cpu=by_cpu)
        )
    return rows


def _per_second(timings: Sequence[Timing]) -> float:
    return sum(one.users for one in timings) / sum(one.wall for one in timings)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--users", type=int, default=24)
    parser.add_argument("--rounds", type=int, default=1, help="of everything")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--model", default=DEFAULT_MODEL, help="Hub id or folder of a chat model")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write timings and summary to this file")
    args = parser.parse_args()
    if args.users < GROUP or args.users % GROUP:
        parser.error(f"--users must be a multiple of {GROUP}")
    keep_freed_memory()  # as the commands do; it holds for both ways
    torch.set_num_threads(args.threads)
    engine = TransformersEngine.from_model_id(args.model)
    same = engine.model.dtype == torch.float32
    other = OneAtATime(engine.model if same else load_causal_lm(args.model, dtype="float32")[0], engine.tokenizer)
    requests = bundled_requests(args.users)
    pairs, written, tokens = measure(engine, other, requests, args.rounds)
    rows = summarise(pairs)
    facts = {
        "model": engine.generator,
        "device": str(engine.model.device),
        "threads": args.threads,
        "users": len(requests),
        "prompt_tokens": float(np.mean([other.prompt(request).shape[1] for request in requests])),
        "shared_tokens": len(next(iter(engine._prefixes.values())).tokens),
        "tokens_ours": float(np.mean([result.tokens_out for result in written])),
        "tokens_other": float(np.mean(tokens)),
        "well_formed": float(np.mean([well_formed(result.text) for result in written])),
    }
    report(rows, facts)
    if args.json:
        timings = [{"other": asdict(one), "ours": asdict(own)} for one, own in pairs]
        found = {**facts, "summary": [asdict(row) for row in rows], "pairs": timings}
        args.json.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


def report(rows: Sequence[Summary], facts: dict[str, Any]) -> None:
    """The table, and the ratio in one line."""
    print(f"{facts['model']}, {facts['device']}, {facts['threads']} thread(s), {facts['users']} users")
    print(
        f"prompts of {facts['prompt_tokens']:.0f} tokens on average, {facts['shared_tokens']} of them shared; "
        f"new tokens: ours {facts['tokens_ours']:.1f}, the other way {facts['tokens_other']:.1f}"
    )
    print(f"{'way':<16}{'batch':>6}{'pairs':>7}{'profiles/s':>12}{'times faster':>14}{'by CPU s':>10}")
    for row in rows:
        print(
            f"{row.way:<16}{row.batch:>6}{row.pairs:>7}{row.per_second:>12.3f}{row.ratio:>14.2f}{row.ratio_cpu:>10.2f}"
        )
    largest = rows[-1]
    print(
        f"{largest.ratio:.2f} times the profiles a second of one user at a time in float32 (batch {largest.batch}, "
        f"{largest.pairs} pair(s), {largest.lowest:.2f} to {largest.highest:.2f}; by CPU s {largest.ratio_cpu:.2f})"
    )


if __name__ == "__main__":
    main()
