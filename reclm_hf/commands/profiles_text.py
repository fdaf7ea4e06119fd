"""What `reclm profiles show` prints: a profile and its evidence as lines for a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .terminal import cells, cut, padded, plain, wrapped

_OWN_ITEMS, _NEIGHBOR_ITEMS = 10, 5  # listed at most
_LEAST_ROOM = 24  # columns
_SOURCED = {
    "interactions": "own history",
    "stated": "what the user said to like",
    "prior": "what is popular: there is no history, and nothing was stated",
}


def user_lines(found: Mapping[str, Any], width: int) -> list[str]:
    """A user's profile with its evidence, the neighbours, and the sources of its phrases."""
    own = [one for one in found["own"] if one["shown"]]
    older = len(found["own"]) - len(own)
    found_by = {"none": "no neighbours"}.get(found["neighbors_by"], f"neighbours by {found['neighbors_by']}")
    lines = _head(
        f"User {plain(found['user_id'])}", found, f"{_SOURCED.get(found['source'], found['source'])}; {found_by}", width
    )
    if found["history"]:
        lines += ["", f"Own history: {len(own)} of {found['history']} items listed in the request, most recent first"]
        lines += _items(own, _OWN_ITEMS, 2, width)
        lines += [f"  {older} older not listed"] if older else []
    else:
        lines += ["", "No history before this time"]
    if found["others"]:
        heading = "Chosen by most people" if found["source"] == "prior" else "Evidence of nobody named here"
        lines += ["", heading, *_items(found["others"], _OWN_ITEMS, 2, width)]
    if found["neighbors"]:
        lines += ["", "Neighbours, and what they chose that this user has not"]
    for other in found["neighbors"]:
        cosine = "" if other["similarity"] is None else f", cosine {other['similarity']:.2f}"
        lines.append(f"  {plain(other['user_id'])}{cosine}")
        lines += wrapped(plain(other["profile"] or "no profile in this table"), 4, width)
        lines += _items(other["items"], _NEIGHBOR_ITEMS, 6, width)
    lines += _phrase_lines(found, "own", width)
    if found["source"] == "stated":
        lines.append("  What the user said is not kept in the table: a phrase of nobody's may come from it.")
    return lines


def item_lines(found: Mapping[str, Any], width: int) -> list[str]:
    """An item's profile with the profiles that it was written from, and the sources of its phrases."""
    by = "profiles of users who chose it" if found["phase"] == "interactions" else "similar items: nobody had chosen it"
    lines = _head(f"Item {plain(found['item_id'])}, {plain(found['title'])}", found, by, width)
    categories = ", ".join(map(plain, found["categories"]))
    lines += [f"  categories  {categories}"] if categories else []
    for title, key, entries in (("Users", "user_id", found["readers"]), ("Similar items", "title", found["similar"])):
        lines += ["", f"{title} whose profiles were read"] if entries else []
        for entry in entries:
            lines.append(f"  {plain(entry[key])}")
            lines += wrapped(plain(entry["profile"] or "no profile in this table"), 4, width)
    return lines + _phrase_lines(found, "the item's", width)


def _head(who: str, found: Mapping[str, Any], written_from: str, width: int) -> list[str]:
    shape = "well-formed" if found["format_score"] == 1 else f"malformed, format score {found['format_score']:.2f}"
    same = found["as_of"] == found["cut_at"]
    cut_at = f"{found['cut']} cut" if same else f"{found['cut']} cut: {(found['cut_at'] or 'no date')[:19]}"
    tokens = f"{found['tokens_in']} tokens read, {found['tokens_out']} written"
    entries = {
        "identities": ", ".join(found["identities"]) or "none",
        "interests": ", ".join(found["interests"]) or "none",
        "written by": found["generator"],
        "from": written_from,
        "prompt": f"{found['prompt_version']}, {tokens}, {shape}",
    }
    lines = [f"{who}, as of {(found['as_of'] or 'no date')[:19]} ({cut_at})"]
    column = max(map(len, entries)) + 4
    for name, text in entries.items():
        lines += wrapped(plain(text), column, width, f"  {name:<{column - 2}}")
    return lines


def _phrase_lines(found: Mapping[str, Any], own: str, width: int) -> list[str]:
    """The table of phrases: whose, and which items share which words."""
    phrases = found["phrases"]
    if not phrases:
        return ["", "No phrase to trace: the profile is malformed."]
    whose = [_whose(one, own) for one in phrases]
    first = max(cells(plain(one["phrase"])) for one in phrases)
    second = max(map(len, whose))
    lines = ["", "Whose history each phrase comes from"]
    for one, origin in zip(phrases, whose, strict=True):
        start = f"  {padded(plain(one['phrase']), first)}  {origin:<{second}}  "
        room = max(width - cells(start), _LEAST_ROOM)
        for text, end in _sources(one):
            lines.append(start + cut(text, room - len(end)) + end)
            start = " " * cells(start)
    return lines


def _whose(phrase: Mapping[str, Any], own: str) -> str:
    if phrase["origin"] == "none":
        return "nobody's"
    others = [plain(other) for other in phrase["neighbors"]]
    names = [own] if phrase["origin"] in ("own", "both") else []
    names += others[:1] if phrase["origin"] in ("neighbour", "both") else []
    text = " + ".join(names) or "others'"
    return text + (f" +{len(others) - 1}" if len(others) > 1 else "")


def _sources(phrase: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Lines, each with an end that is never cut: an own item and another's with most of the words, and what is left."""
    cosine = "" if phrase["similarity"] is None else f" cosine {phrase['similarity']:.2f}"
    if phrase["how"] == "none":
        return [("no word in common" + (f", nearest in meaning:{cosine}" if cosine else ""), "")]
    if phrase["how"] == "meaning":
        return [(f"by meaning: {plain(phrase['items'][0]['title'])}", cosine)]
    items = phrase["items"]
    found = [
        (f"{', '.join(one['words'])}: {plain(one['title'])}", f" +{count - 1}" if count > 1 else "")
        for side in (True, False)
        if (count := sum(one["own"] is side for one in items))
        for one in [next(one for one in items if one["own"] is side)]
    ]
    return found + ([(f"{', '.join(phrase['unsourced'])}: nobody's", "")] if phrase["unsourced"] else [])


def _items(items: Sequence[Mapping[str, Any]], most: int, indent: int, width: int) -> list[str]:
    """Titles and categories in two columns, cut to the width."""
    shown = items[:most]
    titles = [cut(plain(one["title"]), (width - indent) * 3 // 5) for one in shown]
    column = max(map(cells, titles), default=0)
    lines = []
    for title, one in zip(titles, shown, strict=True):
        categories = ", ".join(map(plain, one["categories"]))
        line = f"{' ' * indent}{padded(title, column)}  {categories}"
        lines.append(cut(line.rstrip(), width))
    if len(items) > most:
        lines.append(f"{' ' * indent}and {len(items) - most} more")
    return lines
