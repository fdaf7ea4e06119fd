"""The case study (RecLM section 3.7, figure 4): some users, their profile after each stage, and whose words it uses.

The users are not picked by hand: they are those whose profile became least like their neighbours'.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from reclm_hf.data.splits import Split
from reclm_hf.evaluation.report_format import markdown_table, number
from reclm_hf.profiles.profile import well_formed
from reclm_hf.profiles.trace import PhraseSource, Tracer, listed

if TYPE_CHECKING:
    import pandas as pd

CASES = 3
SHOWN_ITEMS = 10
_SHOWN_SOURCES = 2
_ORIGINS = {"own": "own history", "neighbour": "neighbours' only", "both": "own and neighbours'", "none": "nobody's"}
# Brackets, emphasis, cells and HTML; what sites make links of without brackets.
_MARKUP = re.compile(r"[\\`*_{}\[\]#!|~<>&$@]|:(?=//)|(?<=www)\.", re.IGNORECASE)

CASE_COLUMNS = {
    "user_id": "string",
    "stage": "string",
    "over_smoothing": "double",
    "profile": "string",
    "section": "string",
    "phrase": "string",
    "origin": "string",
    "how": "string",
    "words": "list<string>",
    "sources": "list<string>",
    "neighbors": "list<string>",
}


def choose_cases(
    user_ids: Sequence[str],
    before: np.ndarray,
    after: np.ndarray,
    n: int = CASES,
    seed: int = 0,
    well_formed: np.ndarray | None = None,
) -> list[int]:
    """The `n` rows with the largest drop of over-smoothing, the largest first; equal ones by a seeded hash of the id.

    Args:
        user_ids: [u] of the measured users. before, after: float [u], over-smoothing at the first and at the last
            stage; users who lack one of the two (NaN) are passed over.
        well_formed: [u] bool, users who come before all others: a profile that says nothing is like nobody's, too, and
            would win. None: everybody alike.

    Raises:
        ValueError: arrays of different length.
    """
    if not len(user_ids) == len(before) == len(after):
        raise ValueError(f"{len(user_ids)} users, {len(before)} and {len(after)} values: give one of each for a user.")
    drop = np.asarray(before, dtype=np.float64) - np.asarray(after, dtype=np.float64)
    first = np.ones(len(drop), dtype=bool) if well_formed is None else np.asarray(well_formed, dtype=bool)
    rows = np.flatnonzero(~np.isnan(drop)).tolist()

    def rank(row: int) -> tuple[bool, float, str]:
        # Rounded, since equal sums may differ in their last bits, and then no hash would decide.
        return not first[row], -round(float(drop[row]), 9), _hash(str(user_ids[row]), seed)

    return sorted(rows, key=rank)[:n]


def _hash(user: str, seed: int) -> str:
    return hashlib.sha256(f"{seed}\x00{user}".encode()).hexdigest()


def case_study(
    tables: Mapping[str, pd.DataFrame],
    over_smoothing: Mapping[str, np.ndarray],
    user_ids: Sequence[str],
    split: Split,
    items: pd.DataFrame,
    *,
    n: int = CASES,
    seed: int = 0,
    encoder: Any = None,
) -> list[dict[str, Any]]:
    """The users with the largest drop from the first to the last stage, and everything that is shown of them.

    Args:
        tables: stage -> `user_profiles` as of the cut of `split`, in the order of the stages.
        over_smoothing: stage -> float [u], see `tuning.measures`, in the order of `user_ids`.
        items: the item table in the order of the split's item rows.
        encoder: traces phrases without a common word by meaning, too; None: by words only.

    Returns:
        One object a user: `user_id`, `drop`, `history` (titles, latest first), `history_length`, `neighbors` (id and
        the titles that the profile was written from), and `stages` with profile, over-smoothing and traced phrases.

    Raises:
        ValueError: fewer than two stages: there is nothing to compare.
    """
    stages = list(tables)
    if len(stages) < 2:
        raise ValueError(f"a case study compares stages, and there is only {stages}: tune one first (`reclm sft`).")
    first, last = over_smoothing[stages[0]], over_smoothing[stages[-1]]
    tracer = Tracer(split, items, encoder)
    titles = {str(item): title or str(item) for item, title in zip(items["item_id"], items["title"], strict=True)}
    rows = {stage: {str(row["user_id"]): row for row in table.to_dict("records")} for stage, table in tables.items()}
    whole = np.array(
        [all(well_formed(str(table[str(user)]["profile"])) for table in rows.values()) for user in user_ids], dtype=bool
    )
    found = []
    for place in choose_cases(user_ids, first, last, n, seed, whole):
        user = str(user_ids[place])
        history = tracer.history(user)
        found.append(
            {
                "user_id": user,
                "drop": float(first[place] - last[place]),
                "history": [titles[item] for item in history[:SHOWN_ITEMS]],
                "history_length": len(history),
                "neighbors": _neighbors(tracer, rows[stages[0]][user], titles),
                "stages": [
                    _stage(stage, rows[stage][user], float(over_smoothing[stage][place]), tracer, titles)
                    for stage in stages
                ],
            }
        )
    return found


def _neighbors(tracer: Tracer, row: Mapping[str, Any], titles: Mapping[str, str]) -> list[dict[str, Any]]:
    sources = tracer.sources(row)
    return [
        {"user_id": other, "items": [titles.get(source.id, source.id) for source in sources if other in source.owners]}
        for other in listed(row["neighbors"])
    ]


def _stage(
    stage: str, row: Mapping[str, Any], value: float, tracer: Tracer, titles: Mapping[str, str]
) -> dict[str, Any]:
    return {
        "stage": stage,
        "profile": row["profile"] or "",
        "over_smoothing": value,
        "phrases": [_phrase(result, titles) for result in tracer.trace(row)],
    }


def _phrase(result: PhraseSource, titles: Mapping[str, str]) -> dict[str, Any]:
    return {
        "section": result.section,
        "phrase": result.phrase,
        "origin": result.origin,
        "how": result.how,
        "words": list(dict.fromkeys(word for match in result.items for word in match.words)),
        "sources": [titles.get(match.source.id, match.source.id) for match in result.items],
        "neighbors": list(result.neighbors),
    }


def case_table(cases: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """One row for each user, stage and phrase, columns `CASE_COLUMNS`; a profile without phrases has one without."""
    import pandas as pd

    lines = []
    for case in cases:
        for stage in case["stages"]:
            shared = {
                "user_id": case["user_id"],
                **{name: stage[name] for name in ("stage", "over_smoothing", "profile")},
            }
            nothing = {
                "section": "",
                "phrase": "",
                "origin": "",
                "how": "",
                "words": [],
                "sources": [],
                "neighbors": [],
            }
            lines += [shared | phrase for phrase in stage["phrases"] or [nothing]]
    return pd.DataFrame(lines, columns=list(CASE_COLUMNS))


def case_section(cases: Sequence[Mapping[str, Any]], cut: str, seed: int = 0) -> str:
    """The case study as a section of a report in Markdown. What users and strangers wrote is shown as plain text."""
    stages = [stage["stage"] for stage in cases[0]["stages"]] if cases else []
    parts = ["## Case study\n"]
    if not cases:
        return parts[0] + "\nNobody could be compared: no measured user has a neighbour among the measured ones.\n"
    parts.append(
        f"The {len(cases)} measured users whose over-smoothing fell most from `{stages[0]}` to `{stages[-1]}`, those "
        f"with a well-formed profile at every stage before others, equal ones by a hash with seed {seed}; as of the "
        f"{cut} cut. Being chosen for the largest drop, they show "
        "what it looks like, not how large it usually is. A phrase comes from a history when the two share a word.\n"
    )
    return "\n".join([*parts, *map(_case, cases)])


def _case(case: Mapping[str, Any]) -> str:
    lines = [
        f"### User {plain(case['user_id'])}\n",
        f"Chose, latest first: {_titles(case['history'], case['history_length'])}.\n",
    ]
    for near in case["neighbors"]:
        shown = _titles(near["items"], len(near["items"])) if near["items"] else "nothing else"
        lines.append(f"- similar user {plain(near['user_id'])} chose {shown}")
    table = [["stage", "over-smoothing", "profile"]]
    table += [
        [plain(stage["stage"]), number(stage["over_smoothing"], "+.3f"), plain(stage["profile"])]
        for stage in case["stages"]
    ]
    traced = [["stage", "phrase", "from", "words", "items"]]
    traced += [
        [
            plain(stage["stage"]),
            plain(phrase["phrase"]),
            _ORIGINS[phrase["origin"]] + (" (by meaning)" if phrase["how"] == "meaning" else ""),
            plain(", ".join(phrase["words"])) if phrase["words"] else "-",
            _titles(phrase["sources"][:_SHOWN_SOURCES], len(phrase["sources"])) if phrase["sources"] else "-",
        ]
        for stage in case["stages"]
        for phrase in stage["phrases"]
    ]
    return "\n".join([*lines, "", markdown_table(table), markdown_table(traced)])


def _titles(titles: Sequence[str], count: int) -> str:
    more = f" and {count - len(titles)} more" if count > len(titles) else ""
    return "; ".join(plain(title) for title in titles) + more


def plain(text: object) -> str:
    """Text of strangers on one line of Markdown, where it means nothing but itself: no markup, link, HTML or cell."""
    said = " ".join(text.split()) if isinstance(text, str) else ""
    said = "".join(letter for letter in said if letter.isprintable())
    return _MARKUP.sub(r"\\\g<0>", said) if said else "(nothing)"
