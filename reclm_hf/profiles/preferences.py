"""Pairs of a profile and a worse one for the same request: what a reward model is trained on (RecLM eq. 6).

Each kind of mistake is made on purpose, in a given share. Three kinds keep the format and are wrong in content only
(`neighbor`, `diluted`, `weak_prompt`), so that a reward model cannot get by on the format.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..data.splits import Split
from ..data.tables import PREFERENCE_COLUMNS, TableError, require_columns
from .engines import Engine, ProfileRequest
from .evidence import UserEvidence, histories
from .forms import CHAT_TOKENS, EXAMPLES_FORM, ask, form_version, require_form
from .generate import MASKED, user_requests
from .profile import USER_ITEMS, Profile, parse, well_formed
from .prompts import Message, PromptStyle, item_lines
from .rejected import KINDS, WEAK_PROMPT, can_reject, reject, same_profile
from .weak_profiles import weak_texts

if TYPE_CHECKING:
    import pandas as pd
    from transformers import PreTrainedTokenizerBase

PLAIN_FORM = "plain"

DEFAULT_SHARES: Mapping[str, float] = {
    "neighbor": 0.30,
    "diluted": 0.25,
    "missing_section": 0.15,
    "repetition": 0.10,
    "empty": 0.05,
    "weak_prompt": 0.15,
}
"""70 % are wrong in content only: a missing section is seen without reading."""


@dataclass(frozen=True)
class Preferences:
    """Pairs, and what could not be made.

    Attributes:
        table: columns `PREFERENCE_COLUMNS`, sorted by user and kind; nobody has judged them: `accepted` is None.
        skipped: reason -> profiles or pairs left out for it.
    """

    table: pd.DataFrame
    skipped: dict[str, int]

    @property
    def counts(self) -> dict[str, int]:
        """Pairs of each kind."""
        found = self.table["rejected_kind"].value_counts()
        return {kind: int(found.get(kind, 0)) for kind in KINDS}


@dataclass(frozen=True)
class _Case:
    """One user's profile with everything that a worse one is made of."""

    user_id: str
    request: ProfileRequest
    weak_request: ProfileRequest | None
    text: str
    neighbors: list[Profile]

    @property
    def own(self) -> Profile:
        return parse(self.text)


def build_preferences(
    profiles: pd.DataFrame,
    split: Split,
    items: pd.DataFrame,
    shares: Mapping[str, float] = DEFAULT_SHARES,
    seed: int = 0,
    *,
    pairs_per_user: int = 1,
    weak: Engine | Mapping[str, str] | None = None,
    weak_folder: Path | None = None,
    style: PromptStyle | None = None,
    form: str = PLAIN_FORM,
    tokenizer: PreTrainedTokenizerBase | None = None,
    max_tokens: int = CHAT_TOKENS,
) -> Preferences:
    """Pair every well-formed profile with a worse one.

    A prompt is the request for the profile in the given form, rebuilt from the row's evidence and neighbours: what a
    policy of that form will be asked, so that the reward model is taught on what it will have to judge. Replies are
    plain profiles; in a dialogue they begin as the policy's do, with "The person: ". A pair depends on the seed, the
    user and the tables alone, not on the order of rows. How many pairs a kind gets is exact to rounding (largest
    remainder), as long as there are users for it.

    Args:
        profiles: `user_profiles` as of the cut of `split`.
        items: the item table in the order of the split's item rows.
        shares: kind -> share of the pairs; they sum to 1. Kinds: `KINDS`.
        pairs_per_user: of different kinds each.
        weak: where the profiles of kind `weak_prompt` come from: an engine, which is asked without the user's own
            history, or user_id -> profile.
        weak_folder: keeps what the engine writes, so that a second call goes on from it.
        style: that the profiles were written with.
        form: of `reclm_hf.profiles.forms.FORMS`; "plain" has no worked examples, which are the same everywhere.
        tokenizer, max_tokens: see `reclm_hf.profiles.forms.ask`; for the forms "own" and "dialogue".

    Raises:
        ValueError: shares that do not sum to 1, an unknown kind or form, more pairs of a kind than users, no source for
            `weak_prompt`, no tokenizer where the form needs one.
        TableError: a missing column, a user twice, an unknown user or item, no profile written with this prompt.
    """
    import pandas as pd

    _check(shares, pairs_per_user)
    require_form(form)
    if shares.get(WEAK_PROMPT, 0) > 0 and weak is None:
        raise ValueError("Pairs of kind 'weak_prompt' need an engine or a table of weak profiles, or a share of 0.")
    skipped: Counter[str] = Counter()
    style = style or PromptStyle()
    texts = _well_formed(profiles)
    usable = _usable(profiles, texts, form, style, skipped)
    masked = bool(usable["prompt_version"].str.endswith(MASKED).any())
    lines, evidence = item_lines(items, style, masked=masked), _evidence(usable, split)
    asked = [one.request for one in ask(evidence, split, lines, form, style, tokenizer, max_tokens)]
    blind = [replace(part, whole=[], history=[]) for part in evidence]
    cases = _cases(usable, texts, asked, user_requests(blind, split, lines, style), evidence)
    eligible = {kind: [key for key, case in cases.items() if _can(kind, case, weak)] for kind in KINDS}
    planned = _assign(list(cases), eligible, shares, pairs_per_user, seed, skipped)
    written = weak_texts({key: cases[key].weak_request for key in planned[WEAK_PROMPT]}, weak, weak_folder, split)
    rows = []
    for kind, users in planned.items():
        for user in users:
            case = cases[user]
            text = (
                written[user] if kind == WEAK_PROMPT else reject(kind, case.own, case.neighbors, _rng(seed, user, kind))
            )
            if same_profile(parse(text), case.own):
                skipped[f"{kind}: the same profile came out"] += 1
                continue
            rows.append(_row(case, kind, text))
    rows.sort(key=lambda row: (row["user_id"], row["rejected_kind"]))
    return Preferences(pd.DataFrame(rows, columns=list(PREFERENCE_COLUMNS)), dict(skipped))


def _check(shares: Mapping[str, float], pairs_per_user: int) -> None:
    unknown = sorted(set(shares) - set(KINDS))
    if unknown:
        raise ValueError(f"Unknown kind {unknown[0]!r}: choose from {', '.join(KINDS)}.")
    if any(share < 0 for share in shares.values()) or abs(sum(shares.values()) - 1) > 1e-6:
        raise ValueError(f"The shares must be 0 or more and sum to 1; they sum to {sum(shares.values()):g}.")
    if pairs_per_user < 1:
        raise ValueError(f"pairs_per_user={pairs_per_user}: give 1 or more.")
    crowded = [kind for kind, share in shares.items() if share * pairs_per_user > 1 + 1e-9]
    if crowded:
        raise ValueError(
            f"{pairs_per_user} pairs a user with a share of {shares[crowded[0]]:g} for {crowded[0]!r} would be more "
            "than one of that kind for a user: lower the share or the number of pairs."
        )


def _well_formed(table: pd.DataFrame) -> dict[str, str]:
    """user_id -> profile, where it is well-formed."""
    require_columns(table, ["user_id", "profile", "evidence", "neighbors", "prompt_version"], "profiles")
    repeated = table["user_id"][table["user_id"].duplicated()]
    if len(repeated):
        raise TableError(f"profiles: user {repeated.iloc[0]!r} has two profiles; keep one row for a user.")
    return {
        str(user): text
        for user, text in zip(table["user_id"], table["profile"], strict=True)
        if isinstance(text, str) and well_formed(text, USER_ITEMS)
    }


def _usable(
    table: pd.DataFrame, texts: Mapping[str, str], form: str, style: PromptStyle, skipped: Counter[str]
) -> pd.DataFrame:
    """The rows whose profile can be a chosen one and whose request can be rebuilt, in the order of user ids."""
    skipped.update({"malformed profile": len(table) - len(texts)} if len(texts) < len(table) else {})
    usable = table[table["user_id"].isin(set(texts))]
    if "source" in table.columns:
        other = ~usable["source"].isin(["interactions"])
        skipped.update({"not written from a history": int(other.sum())} if other.any() else {})
        usable = usable[~other]
    wanted = form_version(EXAMPLES_FORM, style)
    # The same evidence stands behind a request with and without worked examples.
    versions = {wanted, form_version(PLAIN_FORM, style), form_version(form, style)}
    current = usable["prompt_version"].isin({*versions, *(version + MASKED for version in versions)})
    skipped.update({"written with another prompt": int((~current).sum())} if not current.all() else {})
    usable = usable[current].sort_values("user_id")
    if not len(usable):
        raise TableError(
            f"profiles: none is well-formed, written from a history and with the prompt {wanted!r}, whose requests can "
            "be rebuilt. Write them again with `reclm profiles build`."
        )
    masked = usable["prompt_version"].str.endswith(MASKED)
    if masked.any() and not masked.all():
        raise TableError("profiles: some were written with titles and some without; give one table at a time.")
    return usable


def _cases(
    usable: pd.DataFrame,
    texts: Mapping[str, str],
    requests: Sequence[ProfileRequest],
    weak_requests: Sequence[ProfileRequest],
    evidence: Sequence[UserEvidence],
) -> dict[str, _Case]:
    """user_id -> case of every row of `_usable`, in its order."""
    return {
        request.key: _Case(
            request.key,
            request,
            weak_request if part.similar else None,
            texts[request.key],
            [parse(texts[str(other)]) for other in near if str(other) in texts],
        )
        for part, request, weak_request, near in zip(
            evidence, requests, weak_requests, usable["neighbors"], strict=True
        )
    }


def _evidence(table: pd.DataFrame, split: Split) -> list[UserEvidence]:
    """What each row says that it was written from, as rows of items and users."""
    users = {str(user): row for row, user in enumerate(split.user_ids)}
    item_rows = {str(item): row for row, item in enumerate(split.item_ids)}
    known = histories(split)
    found = []
    for user, shown, near in zip(table["user_id"], table["evidence"], table["neighbors"], strict=True):
        unknown = [repr(item) for item in shown if item not in item_rows]
        if user not in users or unknown:
            what = f"evidence {unknown[0]}" if unknown else "user"
            raise TableError(f"profiles: {what} of {user!r} is not in the data. Is it a table of another data set?")
        whole = known[users[user]]
        rows = [item_rows[item] for item in shown]
        own = set(whole)
        found.append(
            UserEvidence(
                users[user],
                whole,
                [item for item in rows if item in own],
                [item for item in rows if item not in own],
                [users[other] for other in near if other in users],
            )
        )
    return found


def _can(kind: str, case: _Case, weak: Engine | Mapping[str, str] | None) -> bool:
    """Whether a pair of that kind can be made of a case."""
    if kind == WEAK_PROMPT:
        return case.user_id in weak if isinstance(weak, Mapping) else case.weak_request is not None
    return can_reject(kind, case.own, case.neighbors)


def _assign(
    users: Sequence[str],
    eligible: Mapping[str, Sequence[str]],
    shares: Mapping[str, float],
    pairs_per_user: int,
    seed: int,
    skipped: Counter[str],
) -> dict[str, list[str]]:
    """kind -> users who get a pair of it; the kinds that the fewest users can have choose first."""
    quotas = _quotas(shares, len(users) * pairs_per_user)
    load = dict.fromkeys(users, 0)
    planned: dict[str, list[str]] = {}
    for kind in sorted(KINDS, key=lambda kind: (len(eligible[kind]), KINDS.index(kind))):
        free = [user for user in eligible[kind] if load[user] < pairs_per_user]
        # The least busy first: so everybody has room for the kinds to come.
        free.sort(key=lambda user: (load[user], _number(seed, user, kind)))
        planned[kind] = free[: quotas[kind]]
        if len(free) < quotas[kind]:
            skipped[f"{kind}: no user left whom it fits"] += quotas[kind] - len(free)
        for user in planned[kind]:
            load[user] += 1
    return planned


def _quotas(shares: Mapping[str, float], total: int) -> dict[str, int]:
    """Whole numbers that sum to `total`, each within one of its share (largest remainder)."""
    exact = {kind: shares.get(kind, 0.0) * total for kind in KINDS}
    quotas = {kind: int(value + 1e-9) for kind, value in exact.items()}
    by_remainder = sorted(KINDS, key=lambda kind: (quotas[kind] - exact[kind], KINDS.index(kind)))
    for kind in by_remainder[: total - sum(quotas.values())]:
        quotas[kind] += 1
    return quotas


def _row(case: _Case, kind: str, rejected: str) -> dict[str, Any]:
    def reply(text: str) -> list[Message]:
        return [{"role": "assistant", "content": (case.request.begin + text).rstrip() if case.request.begin else text}]

    return {
        "prompt": [*case.request.examples, *case.request.messages],
        "chosen": reply(case.text),
        "rejected": reply(rejected),
        "rejected_kind": kind,
        "user_id": case.user_id,
        "accepted": None,
    }


def _rng(seed: int, user: str, kind: str) -> np.random.Generator:
    return np.random.default_rng(_number(seed, user, kind))


def _number(seed: int, user: str, kind: str) -> int:
    return int.from_bytes(hashlib.sha256(f"{seed}\x00{user}\x00{kind}".encode()).digest()[:8], "big")
