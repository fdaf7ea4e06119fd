"""The usual wordings by which a text gives a language model orders: "ignore all previous instructions", and kin.

No list of these can be complete, and nothing relies on it: a prompt keeps its shape because `untrusted` leaves no
character that could break it. What is found here is only kept from being read.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

_STOP = r"(?:ignore|disregard|forget|override|bypass|neglect|dismiss|do not follow|don'?t follow|stop following)"
_EARLIER = r"(?:all|any|every|each|previous|prior|preceding|earlier|above|former|initial|original|system|your|these)"
_TOLD = r"(?:instruction|prompt|rule|message|direction|directive|command|guideline|constraint|order)s?"
_FEW_WORDS = r"(?:[\w']+\W+){0,3}?"

_LATIN = re.compile(
    # "ignore the above instructions", "disregard any earlier rules", "forget everything before"
    rf"\b{_STOP}\W+{_FEW_WORDS}(?:{_EARLIER}\W+{_FEW_WORDS}{_TOLD}|instructions?|the rules)\b"
    rf"|\b{_STOP}\W+{_FEW_WORDS}(?:everything|anything|all|what)\W+{_FEW_WORDS}(?:above|before|previously|so far)\b"
    # a new role, a new task
    r"|\byou are now (?:an?|the|my|in|going to|free|no longer)\b|\bpretend (?:that )?you are\b"
    r"|\bfrom now on,? (?:you|respond|reply|answer|only|always|write)\b"
    r"|\b(?:new|updated|real|actual|secret) (?:system )?(?:instructions?|prompts?)\b"
    r"|\b(?:respond|reply|answer) (?:only|exactly|exclusively) (?:with|in)\b|\b(?:your|the) system prompt\b"
    # Spanish, Portuguese, Italian, French
    rf"|\b(?:ignor(?:a|ar|are|e|ez|er)|olvid[ae]n?|esque[cs]\w{{1,3}}|dimentica\w{{0,2}}|oublie[rz]?)\W+{_FEW_WORDS}"
    r"(?:instruccion(?:es)?|instruc(?:ao|oes)|istruzion[ei]|instructions|consignes|reglas|regras|regole)\b"
    # German, Dutch, Polish
    rf"|\b(?:ignorier\w{{0,3}}|vergiss|vergessen sie|missachte\w?|negeer|vergeet)\W+{_FEW_WORDS}"
    r"(?:anweisung(?:en)?|instruktion(?:en)?|instructies?|vorgaben|regeln|regels|opdracht(?:en)?)\b"
    rf"|\b(?:z?ignoruj|zapomnij)\w{{0,2}}\W+{_FEW_WORDS}(?:instrukcj\w|polecen\w{{1,2}})\b"
)
_OTHER_SCRIPTS = re.compile(
    # Russian, Arabic
    rf"\b(?:про)?(?:игнорируй|забудь)(?:те)?\W+{_FEW_WORDS}(?:инструкци\w|указани\w|команды|правила)\b"
    rf"|تجاهل\W+{_FEW_WORDS}(?:ال)?(?:تعليمات|أوامر)"
    # Chinese, Japanese, Korean
    r"|(?:忽略|无视|無視|忘记|忘記|忽視)[^。.!?]{0,12}(?:指令|指示|提示|规则|規則|内容)"
    r"|(?:指示|命令|指令|プロンプト)[はをに]{1,2}(?:すべて|全て|全部)?(?:無視|忘れ)"
    r"|(?:지시|명령|프롬프트)\w{0,3}\s*(?:모두\s*)?(?:무시|잊)",
    re.IGNORECASE,
)
_BEFORE = r"(?:all|any|previous|prior|preceding|earlier|above|system)"
_RUN_TOGETHER = re.compile(
    rf"(?:ignore|disregard|forget|override)(?:the|my|your|of|these)*{_BEFORE}(?:{_BEFORE}|the|my|your|of|these)*"
    r"(?:instruction|prompt|rule|message)"
)
# Letters of other scripts that look like Latin ones.
_LOOKALIKES = str.maketrans(
    "авеікмнорстухѕјһԁԛԝαβεικνορτυχ",
    "abeikmhopctyxsjhdqwabeikvoptux",
)
_LEET = str.maketrans("013457@$", "oieastas")


def first_order(text: str) -> int | None:
    """Where in a text the first order to a model begins, or None.

    Also found: look-alike letters of other scripts, digits for letters, words taken apart by spaces or marks.
    """
    latin = "".join(map(skeleton, text)).translate(_LEET)
    places = [place for place, letter in enumerate(latin) if letter.isalpha()]
    together = _RUN_TOGETHER.search("".join(latin[place] for place in places))
    starts = [match.start() for match in (_LATIN.search(latin), _OTHER_SCRIPTS.search(text)) if match]
    if together:
        starts.append(places[together.start()])
    return min(starts, default=None)


@lru_cache(maxsize=4096)
def skeleton(letter: str) -> str:
    """A letter as one lower-case letter, Latin where it looks so, without accents; other characters as they are."""
    small = letter.lower()
    plain = unicodedata.normalize("NFKD", small if len(small) == 1 else letter)[:1]
    return (plain if plain.isascii() else small[:1]).translate(_LOOKALIKES)
