"""Words told apart by their stems: a rule for English, no dictionary."""

from __future__ import annotations

from functools import lru_cache

from .profile import content_words

_ENDINGS = ("ical", "tic", "ful", "ous", "ing", "ion", "al", "ce", "ed", "er", "ic", "e", "y")
_STEM = 4  # letters that remain at least


@lru_cache(maxsize=65536)
def stem(word: str) -> str:
    """A lower-case word without plural and the common endings, at least four letters of it.

    `comedy`, `comedies`, `comedic` are one; so are `thriller` and `thrilling`, `animation` and `animated`.
    """
    if len(word) > _STEM + 2 and word.endswith("ies"):  # stories, but not movies
        word = word[:-3] + "y"
    elif len(word) >= _STEM and word.endswith("s") and not word.endswith(("ss", "us", "is")):
        word = word[:-2] if word.endswith(("xes", "ches", "shes", "sses", "zes")) else word[:-1]
    while ending := next((end for end in _ENDINGS if word.endswith(end) and len(word) - len(end) >= _STEM), ""):
        word = word[: -len(ending)]
    return word


@lru_cache(maxsize=65536)
def phrase_stems(phrase: str) -> frozenset[str]:
    """The stems of a phrase's content words; the parts of hyphenated words count as words."""
    return frozenset(stem(word.casefold()) for word in content_words(phrase.replace("-", " ")))
