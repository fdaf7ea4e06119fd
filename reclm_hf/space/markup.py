"""Answers as HTML. Everything that comes from tables, models or visitors passes through `shown`, which escapes it."""

from __future__ import annotations

import html
from collections.abc import Iterable, Mapping, Sequence

from .comparing import AS_WRITTEN, NOBODY_KNOWN, WHOLE_HISTORY, WITHOUT_PROFILE
from .shapes import PARTS, ItemAnswer, Listed, Neighbour, Person, Phrase, Reader, Similar, UserAnswer

PART_WORDS = {
    "id": ("Who chose what", "what users and items have learned by who chose what"),
    "text": ("Text", "the texts of the item and of the history"),
    "profile": ("Profile", "the profiles of user and item"),
    "bias": ("Popularity", "the item's own level, the same for everybody"),
}
ORIGIN_WORDS = {
    "own": "shares words with the user's own history",
    "both": "shares words with the user's own history and a neighbour's",
    "neighbour": "shares words with a neighbour's history",
    "none": "shares words with neither this history nor a neighbour's",
}
_SHOWN_HISTORY = 100


def shown(text: object) -> str:
    """Escaped, and in a direction of its own, so that right-to-left text cannot turn what stands around it."""
    return f"<bdi>{html.escape(str(text))}</bdi>"


def page(*parts: str) -> str:
    """Parts as one block that our styles apply to."""
    return f'<div class="rl">{"".join(parts)}</div>'


def table(head: Sequence[tuple[str, str]], rows: Iterable[str], label: str, body_class: str = "") -> str:
    """A table in a box of its own, which scrolls where the page is narrower. head: (markup, class of the column)."""
    cells = "".join(f'<th scope="col" class="{kind}">{name}</th>' for name, kind in head)
    # A box that scrolls must be reachable by keyboard.
    return (
        f'<div class="box {body_class}" tabindex="0" role="region" aria-label="{html.escape(label)}"><table><thead>'
        f"<tr>{cells}</tr></thead><tbody>{''.join(rows)}</tbody></table></div>"
    )


def share_bar(value: float, most: float) -> str:
    """A bar from the left: value of most."""
    width = 100 * min(1.0, max(0.0, value / most)) if most > 0 else 0.0
    return f'<span class="bar" aria-hidden="true"><i style="left:0;width:{width:.1f}%"></i></span>'


def signed_bar(value: float, most: float) -> str:
    """A bar to the right of the middle for a positive value, hatched to the left of it for a negative one."""
    width = 50 * min(1.0, abs(value) / most) if most > 0 else 0.0
    left, kind = (50.0, "plus") if value >= 0 else (50.0 - width, "minus")
    return (
        f'<span class="bar" aria-hidden="true"><i class="{kind}" style="left:{left:.1f}%;width:{width:.1f}%"></i>'
        '<b style="left:50%"></b></span>'
    )


def signed(value: float, plus: str = "+", digits: int = 3) -> str:
    """A number with a minus as wide as a plus."""
    return f"{value:{plus}.{digits}f}".replace("-", "−")


def user_answer(answer: UserAnswer, heading: str = "") -> str:
    """What changed, both lists side by side (`heading` over the first), and what the scores are made of."""
    first, second = _headings(answer.compared_with)
    return page(
        f'<p class="says">{shown(answer.changed)}</p>' if answer.changed else "",
        '<div class="two">',
        _ranked(heading or first, answer.listed, "From #"),
        _ranked(second, answer.other, "To #") if answer.other else "",
        "</div>",
        _parts(answer.listed),
    )


def _headings(compared_with: str) -> tuple[str, str]:
    """Headings of the list and of the one that it is compared with."""
    heading = {
        WITHOUT_PROFILE: ("With the profile", "Without the profile"),
        AS_WRITTEN: ("With the profile as you changed it", "With the profile as written"),
        WHOLE_HISTORY: ("Without this choice", "With the whole history"),
        NOBODY_KNOWN: ("For what you chose", "For somebody of whom nothing is known"),
    }
    return heading.get(compared_with, ("Recommended", compared_with.capitalize()))


def _ranked(heading: str, listed: Sequence[Listed], way: str) -> str:
    """One list. way: "From #" where the ranks of the other list are the older ones, "To #" in the other list itself."""
    compared = any(line.was is not None for line in listed)
    head = [("#", "n"), ("Title", ""), *([(way, "n")] if compared else [])]
    rows = []
    for line in listed:
        new = ' <span class="chip" title="Nobody had chosen it when the model was trained">new</span>'
        said = "".join(f"<small>{part}</small>" for part in (_categories(line), shown(line.why)) if part != shown(""))
        moved = f'<td class="n">{_moved(line, way)}</td>' if compared else ""
        title = f'<td class="title">{shown(line.title)}{new if line.new else ""}{said}</td>'
        rows.append(f'<tr><td class="n">{line.rank}</td>{title}{moved}</tr>')
    return f"<section><h2>{html.escape(heading)}</h2>{table(head, rows, heading)}</section>"


def _categories(line: Listed) -> str:
    return shown(", ".join(line.categories))


def _moved(line: Listed, way: str) -> str:
    """The rank in the other list with the arrow of the move."""
    if line.was is None:
        return "not ranked"
    if line.was == line.rank:
        return f"= {line.was}"
    rises = (line.was > line.rank) == (way == "From #")
    arrow, word = ("▲", "up") if rises else ("▼", "down")
    places = abs(line.was - line.rank)
    return (
        f'<b aria-hidden="true" title="{word} {places:,}">{arrow}</b><span class="unseen">{word} </span> {line.was:,}'
    )


def _parts(listed: Sequence[Listed]) -> str:
    """The score parts of each item as bars on one scale, one column a part, with the numbers."""
    if not listed:
        return ""
    most = max(abs(line.parts[part]) for line in listed for part in PARTS)
    head = [("Title", ""), *((PART_WORDS[part][0], "") for part in PARTS), ("Score", "n")]
    rows = []
    for line in listed:
        cells = (
            f"<td>{signed_bar(line.parts[part], most)}<small>{signed(line.parts[part])}</small></td>" for part in PARTS
        )
        rows.append(
            f'<tr><td class="title">{line.rank}. {shown(line.title)}</td>{"".join(cells)}'
            f'<td class="n">{signed(line.score, "")}</td></tr>'
        )
    said = "; ".join(f"{name}: {meaning}" for name, meaning in PART_WORDS.values())
    return (
        f"<h2>What the scores are made of</h2>{table(head, rows, 'Score parts', 'parts')}"
        '<p class="quiet">The parts add up to the score, all bars have one scale, negative ones are hatched. '
        f"{said}.</p>"
    )


def person_card(person: Person | None) -> str:
    """History, neighbours and profile with its evidence."""
    if person is None:
        return page()
    return page(
        '<div class="two">',
        f"<section><h2>Profile</h2>{_profile(person)}</section>",
        f"<section><h2>History ({len(person.history):,})</h2>{_history(person)}"
        f"<h2>Neighbours</h2>{_neighbours(person.neighbours)}</section></div>",
    )


def _profile(person: Person) -> str:
    if not person.profile:
        return '<p class="quiet">No text of a profile of this user came with the tables.</p>'
    parts = []
    for section, name in (("identities", "Identity"), ("interests", "Interests")):
        phrases = [phrase for phrase in person.phrases if phrase.section == section]
        if phrases:
            parts.append(f'<h3>{name}</h3><ul class="phrases">{"".join(map(_phrase, phrases))}</ul>')
    written = " ".join(
        part for part in (f"as of {person.as_of[:10]}" if person.as_of else "", f"by {person.generator}") if part
    )
    return "".join(parts or [f"<p>{shown(person.profile)}</p>"]) + (
        f'<p class="quiet">Written {shown(written)}.</p>' if person.generator else ""
    )


def _phrase(phrase: Phrase) -> str:
    titles = f": {'; '.join(map(shown, phrase.titles))}" if phrase.titles else ""
    return f'<li class="{phrase.origin}">{shown(phrase.text)}<small>{ORIGIN_WORDS[phrase.origin]}{titles}</small></li>'


def _history(person: Person) -> str:
    if not person.history:
        return '<p class="quiet">Nothing that the model knows of.</p>'
    lines = "".join(f"<li>{shown(title)}</li>" for _, title in person.history[:_SHOWN_HISTORY])
    more = len(person.history) - _SHOWN_HISTORY
    rest = f'<p class="quiet">and {more:,} more</p>' if more > 0 else ""
    box = '<div class="box tall" tabindex="0" role="region" aria-label="History">'
    return f'{box}<ul class="plain">{lines}</ul>{rest}</div>'


def _neighbours(neighbours: Sequence[Neighbour]) -> str:
    if not neighbours:
        return '<p class="quiet">None known.</p>'
    rows = (
        f'<tr><td>{shown(near.user_id)}</td><td class="n">{signed(near.similarity, "", 2)}</td>'
        f'<td class="title">{"; ".join(map(shown, near.shared)) or "nothing"}</td></tr>'
        for near in neighbours
    )
    return table([("User", ""), ("Cosine", "n"), ("Both chose", "")], rows, "Neighbours")


def item_answer(answer: ItemAnswer) -> str:
    """What a new item resembles, its profile, who would like it, and where it stands among the cold ones."""
    note = f'<p class="says">{shown(answer.note)}</p>' if answer.note else ""
    profile = f"<p>{shown(answer.profile)}</p>" if answer.profile else ""
    return page(
        f"<h2>{shown(answer.title)}</h2>",
        note,
        _cold_rank(answer.rank_among_cold),
        '<div class="two"><section><h2>What it resembles</h2>',
        _resembling(answer.resembles),
        f'<h2>Its profile</h2>{profile}<p class="quiet">{shown(answer.profile_from)}</p></section>',
        f"<section><h2>Who would like it</h2>{_readers(answer.readers)}</section></div>",
    )


def _cold_rank(rank: Mapping[str, float | int | None]) -> str:
    median, low, high = (rank[name] for name in ("median", "low", "high"))
    count, users = rank["of"] or 0, rank["users"] or 0
    if median is None or low is None or high is None:
        return ""
    said = (
        f"Among the {count:,} new items of the catalogue, itself included, it stands at place "
        f"<strong>{median:,.0f}</strong> for the middle one of {users:,} users "
        f"(for half of them between {low:,.0f} and {high:,.0f})."
    )
    left, right = (100 * (value - 1) / max(1, count - 1) for value in (low, high))
    middle = 100 * (median - 1) / max(1, count - 1)
    return (
        f'<p class="says">{said}</p><span class="bar" role="img" '
        f'aria-label="Places 1 to {count}, best on the left: quartiles and median">'
        f'<i style="left:{left:.1f}%;width:{max(1.0, right - left):.1f}%"></i>'
        f'<b style="left:{min(99.0, middle):.1f}%"></b></span>'
        f'<p class="quiet">Place 1 on the left, {count:,} on the right; the bar is the middle half of the users.</p>'
    )


def _resembling(resembles: Sequence[Similar]) -> str:
    rows = (
        f'<tr><td class="title">{shown(like.title)}</td><td>{share_bar(like.cosine, 1.0)}</td>'
        f'<td class="n">{like.cosine:.2f}</td></tr>'
        for like in resembles
    )
    return table([("Title", ""), ("Likeness of the texts", ""), ("Cosine", "n")], rows, "What it resembles")


def _readers(readers: Sequence[Reader]) -> str:
    rows = (
        f"<tr><td>{shown(reader.user_id)}<small>{shown(reader.profile)}</small></td>"
        f'<td class="n">{reader.rank:,}</td></tr>'
        for reader in readers
    )
    return table([("User", ""), ("Its rank there", "n")], rows, "Who would like it")
