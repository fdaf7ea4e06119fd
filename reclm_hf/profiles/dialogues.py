"""Two-turn dialogues about a person and similar people (RecLM eq. 3-4).

The first turn shows what each of them chose and asks for every profile; the second asks whether the person would choose
one more thing. The wording is ours and names no domain. Answers begin with "Yes" or "No" in every language: what a
model thinks of a candidate is read off these two words.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from .prompts import ItemLine, Message, PromptStyle, in_language

DIALOGUE_VERSION = "dialogue-1"

SYSTEM = (
    "You describe the taste of people by the things that they chose, and tell what else they would choose. A profile "
    'is one line, "User identity: a, b, c; User interests: x, y, z": three short identities and three short interests.'
)
PERSON_LABEL = "The person"
"""What the person is called, in what is shown and in replies."""

_SIMILAR = "Similar person"
_ASK_ONE = "What kind of enthusiast is the person, and what does the person enjoy? Answer with one line."
_ASK_ALL = (
    "What kind of enthusiast is each of them, and what does each of them enjoy? Answer with one line for each, the "
    "person first."
)
_WORDS = ("Yes", "No")
_REPLY_LINE = re.compile(
    rf"^[ \t*•-]*(?:{PERSON_LABEL}|{_SIMILAR} (\d{{1,2}}))[ \t*]*:(.*)$", re.IGNORECASE | re.MULTILINE
)


def first_turn(
    target: Sequence[ItemLine],
    neighbors: Sequence[Sequence[ItemLine]],
    style: PromptStyle | None = None,
    *,
    ask_all: bool = True,
) -> list[Message]:
    """System message and request: what the person and each neighbour chose, and the question for all profiles.

    Args:
        target: the person's own items, most recent first. neighbors: those of each similar person; there may be none.
        style: names the language of the answers; how items look is in the lines already.
        ask_all: False asks for the person's profile alone, as at inference (eq. 5).
    """
    system = in_language({"role": "system", "content": SYSTEM}, (style or PromptStyle()).language)
    people = (target, *neighbors)
    blocks = [
        "\n".join([f"{name} chose:", *map(str, lines)])
        for name, lines in zip(_labels(len(people)), people, strict=True)
    ]
    question = _ASK_ALL if neighbors and ask_all else _ASK_ONE
    return [system, {"role": "user", "content": "\n\n".join([*blocks, question])}]


def first_reply(profiles: Sequence[str]) -> Message:
    """The answer to the first turn: one labelled line a profile, the person's first, then the neighbours' in order."""
    lines = [f"{name}: {profile}" for name, profile in zip(_labels(len(profiles)), profiles, strict=True)]
    return {"role": "assistant", "content": "\n".join(lines)}


def parse_first_reply(text: str) -> list[str]:
    """The profiles of a first reply, the person's first.

    Labels in other capitals and list markers before them are read too. A neighbour who was left out has an empty text;
    a reply without any label is one profile, the person's.
    """
    found: dict[int, str] = {}
    for number, profile in _REPLY_LINE.findall(text):
        found.setdefault(int(number or 0), profile.strip())
    if not found:
        return [text.strip()] if text.strip() else []
    return [found.get(place, "") for place in range(max(found) + 1)]


def persons_part(text: str) -> str:
    """What a first reply says of the person: without the label, and without what follows about similar people."""
    found = list(_REPLY_LINE.finditer(text))
    own = next((line for line in found if line[1] is None), None)
    start = 0 if own is None else own.start(2)
    end = next((line.start() for line in found if line[1] is not None and line.start() >= start), len(text))
    return text[start:end].strip()


def second_turn(candidate: ItemLine) -> Message:
    """Would the person choose this thing?"""
    return {"role": "user", "content": f"Would the person choose this too?\n{candidate}\nAnswer Yes or No."}


def second_reply(label: bool) -> Message:
    """The answer to the second turn: one of `answer_words`, alone."""
    return {"role": "assistant", "content": _WORDS[0] if label else _WORDS[1]}


def answer_words() -> tuple[str, str]:
    """The words for yes and for no; the logits of their first tokens tell a model's opinion."""
    return _WORDS


def _labels(count: int) -> list[str]:
    """What the people are called: the person first."""
    return [PERSON_LABEL, *(f"{_SIMILAR} {number}" for number in range(1, count))]
